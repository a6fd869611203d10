/* SPDX-License-Identifier: Apache-2.0
 * ms_activation.c - com.microsoft: Gelu FastGelu QuickGelu BiasGelu BiasSplitGelu BiasAdd BiasSoftmax.
 * x [.., D], bias [D] -> y like x (BiasSplitGelu: [.., D/2]). Made of Add, Gelu, Swish, Mul and Softmax, rounded once.
 * Source: onnxruntime docs/ContribOperators.md. FastGelu is the tanh formula with its constants exact; theirs are rounded to six
 * digits in the text and to float in the code. */
#include "ops/sub.h"

#include <math.h>
#include <string.h>

#define MS "com.microsoft"

/* Input 1, where given, is a vector as long as the last axis of input 0. */
static fy_status infer_bias(fy_infer *f, int bias) {
    int r, rb;
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(fy_k_rank(f, 0, fy_in_has(f, bias) ? 1 : 0, FY_MAX_RANK, &r));
    if (!fy_in_has(f, bias)) return FY_OK;
    FY_TRY(fy_k_rank(f, bias, 1, 1, &rb));
    return r > 0 && rb == 1 ? fy_k_agree(f, fy_in_dim(f, 0, r - 1), fy_in_dim(f, bias, 0), "the last axis and the bias") : FY_OK;
}

static fy_status infer_like(fy_infer *f) {
    FY_TRY(infer_bias(f, 1));
    return fy_k_like(f);
}

/* x, or x + bias in double. */
static fy_status with_bias(const fy_call *c, fy_tensor *sum) {
    const fy_tensor *in[2] = {fy_arg(c, 0), fy_arg(c, 1)};
    FY_NEED(c->e, fy_dtype_float(in[0]->dtype), TYPE, "not defined on %s", fy_dtype_name(in[0]->dtype));
    if (!in[1]) {
        *sum = *in[0];
        return FY_OK;
    }
    FY_TRY(fy_sub_room(c, sum, FERRY_DOUBLE, in[0]->rank, in[0]->dim));
    return fy_sub_apply(c, &fy_op_add, 2, in, sum);
}

static fy_status ref_gelu(const fy_call *c, const char *approximate) {
    fy_tensor *y = fy_res(c, 0), sum;
    const fy_tensor *in = &sum;
    fy_sub s;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(with_bias(c, &sum));
    fy_sub_begin(&s, &fy_op_gelu, c->node);
    fy_sub_text(&s, "approximate", approximate);
    return fy_sub_run(c, &s, 1, &in, 1, &y);
}

static fy_status ref_exact(const fy_call *c) { return ref_gelu(c, "none"); }
static fy_status ref_fast(const fy_call *c) { return ref_gelu(c, "tanh"); }

static fy_status ref_quick(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0);
    const fy_tensor *x = fy_arg(c, 0);
    fy_sub s;
    if (!y || !fy_count(y)) return FY_OK;
    fy_sub_begin(&s, &fy_op_swish, c->node);
    fy_sub_float(&s, "alpha", fy_attr_f(c->node, "alpha"));
    return fy_sub_run(c, &s, 1, &x, 1, &y);
}

#define ELEMENTWISE(var, Name, attrs_, least, most, T, infer_, ref_)                                                     \
    const fy_op fy_op_##var = {.name = Name, .domain = MS, .attrs = attrs_, .min_in = least, .max_in = most, .min_out = 1, .max_out = 1, \
        .first = 1, .since = 1, .types = T, .infer = infer_, .ref = ref_, .flags = FY_PURE};
static const fy_attr_spec quick_attrs[] = {{"alpha", FY_ATTR_FLOAT, "1.702"}, {0}};
ELEMENTWISE(ms_gelu, "Gelu", NULL, 1, 1, "T=" FY_T_FLOAT "|T|T", infer_like, ref_exact)
ELEMENTWISE(ms_fast_gelu, "FastGelu", NULL, 1, 2, "T=" FY_T_FLOAT "|T,T|T", infer_like, ref_fast)
ELEMENTWISE(ms_quick_gelu, "QuickGelu", quick_attrs, 1, 1, "T=" FY_T_FLOAT "|T|T", fy_k_like, ref_quick)
ELEMENTWISE(ms_bias_gelu, "BiasGelu", NULL, 2, 2, "T=" FY_T_FLOAT "|T,T|T", infer_like, ref_exact)

/* ---- BiasSplitGelu ------------------------------------------------------------------------------------------------- */

static fy_status infer_split(fy_infer *f) {
    int r = fy_in_rank(f, 0);
    int64_t d;
    const fy_dim *dim[FY_MAX_RANK];
    FY_TRY(infer_bias(f, 1));
    if (r < 1) return fy_out_set(f, 0, fy_in_dtype(f, 0), -1, NULL);
    for (int i = 0; i < r; i++) dim[i] = fy_in_dim(f, 0, i);
    if (fy_dim_known(dim[r - 1], &d)) FY_NEED(f->e, d % 2 == 0, SHAPE, "the last axis has size %lld, which is odd", (long long)d);
    dim[r - 1] = fy_dim_divi(f->dims, dim[r - 1], 2);
    return fy_out_set(f, 0, fy_in_dtype(f, 0), r, dim);
}

static fy_status ref_split(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), sum, half[2], gate;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(with_bias(c, &sum));
    for (int i = 0; i < 2; i++) {
        half[i] = sum;
        half[i].dim[sum.rank - 1] = sum.dim[sum.rank - 1] / 2;
    }
    half[1].data = fy_k_at(&sum, half[1].dim[sum.rank - 1] * sum.stride[sum.rank - 1]);
    FY_TRY(fy_sub_room(c, &gate, FERRY_DOUBLE, y->rank, y->dim));
    const fy_tensor *right = &half[1], *both[2] = {&half[0], &gate};
    FY_TRY(fy_sub_apply(c, &fy_op_gelu, 1, &right, &gate));
    return fy_sub_apply(c, &fy_op_mul, 2, both, y);
}
ELEMENTWISE(ms_bias_split_gelu, "BiasSplitGelu", NULL, 2, 2, "T=" FY_T_FLOAT "|T,T|T", infer_split, ref_split)

/* ---- BiasAdd ------------------------------------------------------------------------------------------------------- */

static fy_status infer_add(fy_infer *f) {
    int rs, r = fy_in_rank(f, 0);
    FY_TRY(infer_bias(f, 1));
    FY_TRY(fy_k_rank(f, 2, r < 0 ? 0 : r, r < 0 ? FY_MAX_RANK : r, &rs));
    for (int i = 0; i < r && rs == r; i++) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, i), fy_in_dim(f, 2, i), "sizes of x and skip"));
    return fy_k_like(f);
}

static fy_status ref_add(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), sum;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(with_bias(c, &sum));
    const fy_tensor *both[2] = {&sum, fy_arg(c, 2)};
    return fy_sub_apply(c, &fy_op_add, 2, both, y);
}
ELEMENTWISE(ms_bias_add, "BiasAdd", NULL, 3, 3, "T=" FY_T_FLOAT "|T,T,T|T", infer_add, ref_add)

/* ---- BiasSoftmax: over everything from `axis` on, as Softmax was before opset 13 ------------------------------------ */

static fy_status infer_softmax(fy_infer *f) {
    int axis, r = fy_in_rank(f, 0);
    FY_TRY(fy_k_same_dtype(f));
    if (r >= 0) FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), r, f->e));
    return fy_k_like(f);
}

/* The bias has x's rank and size 1 where it is broadcast; the attribute says which side of the axis that is. */
static fy_status ref_softmax(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), sum;
    const fy_tensor *in[2] = {fy_arg(c, 0), fy_arg(c, 1)}, *flat = &sum;
    int axis;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), in[0]->rank, c->e));
    for (int i = 1; i <= in[1]->rank; i++) {
        int64_t b = in[1]->dim[in[1]->rank - i];
        FY_NEED(c->e, i <= in[0]->rank && (b == 1 || b == in[0]->dim[in[0]->rank - i]), SHAPE, "the bias does not broadcast to the scores");
    }
    FY_TRY(fy_sub_room(c, &sum, FERRY_DOUBLE, in[0]->rank, in[0]->dim));
    FY_TRY(fy_sub_apply(c, &fy_op_add, 2, in, &sum));
    int64_t rows[2] = {1, 1};
    for (int i = 0; i < in[0]->rank; i++) rows[i >= axis] *= in[0]->dim[i];
    sum = fy_tensor_view(FERRY_DOUBLE, 2, rows, sum.data);
    fy_tensor to = fy_tensor_view(y->dtype, 2, rows, y->data), *out = &to;
    fy_sub s;
    fy_sub_begin(&s, &fy_op_softmax, c->node);
    fy_sub_int(&s, "axis", 1);
    return fy_sub_run(c, &s, 1, &flat, 1, &out);
}
static const fy_attr_spec softmax_attrs[] = {{"axis", FY_ATTR_INT, "1"}, {"is_inner_broadcast", FY_ATTR_INT, FY_REQUIRED}, {0}};
ELEMENTWISE(ms_bias_softmax, "BiasSoftmax", softmax_attrs, 2, 2, "T=" FY_T_FLOAT "|T,T|T", infer_softmax, ref_softmax)
