/* SPDX-License-Identifier: Apache-2.0
 * ms_qlinear.c - com.microsoft: QLinearAdd QLinearMul QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QLinearAveragePool
 * QLinearGlobalAveragePool QLinearConcat QLinearWhere QLinearReduceMean ReduceSumInteger.
 * y = quantise(f(dequantise(x))) with one scale and zero point for a whole tensor, f an operator of ai.onnx in double. onnxruntime
 * computes in float: where that falls on the other side of a tie, results differ by one step; scales that are powers of two give the
 * same bits. (QLinearConv is beside NhwcMaxPool in ms_misc.c: it is ai.onnx's with another layout.)
 * Source: onnxruntime docs/ContribOperators.md. DIFF: QLinearSoftmax of i8 saturates where onnxruntime's wraps. */
#include "ops/ms_quant.h"
#include "ops/quant.h"

#include <math.h>
#include <string.h>

#define MS "com.microsoft"

/* ---- shared -------------------------------------------------------------------------------------------------------- */

fy_status fy_ms_dequantise(const fy_call *c, int x, int scale, int zero, int axis, fy_tensor *t) {
    static const fy_node bare = {.nattr = 0};
    const fy_tensor *in[3] = {fy_arg(c, x), fy_arg(c, scale), zero < 0 ? NULL : fy_arg(c, zero)};
    fy_sub s;
    FY_NEED(c->e, axis >= 0 || (fy_count(in[1]) == 1 && (!in[2] || fy_count(in[2]) == 1)), SHAPE, "scale or zero point of input %d is not one number", x);
    FY_TRY(fy_sub_room(c, t, FERRY_DOUBLE, in[0]->rank, in[0]->dim));
    fy_sub_begin(&s, &fy_op_dequantize_linear, &bare);
    if (axis >= 0) fy_sub_int(&s, "axis", axis);
    return fy_sub_run(c, &s, 3, in, 1, &t);
}

fy_status fy_ms_quantise(const fy_call *c, const fy_tensor *t, int scale, int zero, fy_tensor *y) {
    const fy_tensor *in[3] = {t, fy_arg(c, scale), zero < 0 ? NULL : fy_arg(c, zero)};
    FY_NEED(c->e, fy_count(in[1]) == 1 && (!in[2] || fy_count(in[2]) == 1), SHAPE, "scale or zero point of the output is not one number");
    return fy_sub_apply(c, &fy_op_quantize_linear, 3, in, y);
}

fy_status fy_ms_one(fy_infer *f, int i, const char *what) {
    int r;
    FY_TRY(fy_k_rank(f, i, 0, FY_MAX_RANK, &r));
    for (int k = 0; k < r; k++) FY_TRY(fy_k_agree(f, fy_in_dim(f, i, k), fy_dim_const(f->dims, 1), what));
    return FY_OK;
}

/* Inputs first..last with scales at `first`, `first + 1` each: all scalars. */
static fy_status scalars(fy_infer *f, int n, const int *at) {
    for (int i = 0; i < n; i++) FY_TRY(fy_ms_one(f, at[i], "1 and sizes of a scale or zero point"));
    return FY_OK;
}

/* ---- Add, Mul ------------------------------------------------------------------------------------------------------ */

static const fy_op *pair_of(const fy_node *n) { return strcmp(n->op->name, "QLinearMul") ? &fy_op_add : &fy_op_mul; }

static fy_status infer_pair(fy_infer *f) {
    static const int ones[] = {1, 2, 4, 5, 6, 7}, both[] = {0, 3};
    int rank;
    const fy_dim *dim[FY_MAX_RANK];
    for (int i = 0; i < 7; i++) FY_NEED(f->e, fy_in_has(f, i) || i == 2 || i == 5, GRAPH, "input %d is left out", i);
    FY_TRY(scalars(f, FY_COUNT(ones), ones));
    FY_TRY(fy_broadcast(f, 2, both, &rank, dim));
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank, dim);
}

static fy_status ref_pair(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), a, b, wide;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_ms_dequantise(c, 0, 1, 2, -1, &a));
    FY_TRY(fy_ms_dequantise(c, 3, 4, 5, -1, &b));
    FY_TRY(fy_sub_room(c, &wide, FERRY_DOUBLE, y->rank, y->dim));
    const fy_tensor *in[2] = {&a, &b};
    FY_TRY(fy_sub_apply(c, pair_of(c->node), 2, in, &wide));
    /* here the zero point is added before the rounding: ties go to even results */
    double *v = wide.data, zero = fy_arg(c, 7) ? fy_get_f64(fy_arg(c, 7), 0) * fy_get_f64(fy_arg(c, 6), 0) : 0;
    for (int64_t i = 0, n = fy_count(&wide); i < n; i++) v[i] += zero;
    return fy_ms_quantise(c, &wide, 6, -1, y);
}
#define PAIR(var, Name)                                                                                                  \
    const fy_op fy_op_##var = {.name = Name, .domain = MS, .min_in = 1, .max_in = 8, .min_out = 1, .max_out = 1, .first = 1, .since = 1, \
        .types = "Q=i8,u8|Q,f32,Q,Q,f32,Q,f32,Q|Q", .infer = infer_pair, .ref = ref_pair, .flags = FY_PURE};
PAIR(ms_q_linear_add, "QLinearAdd")
PAIR(ms_q_linear_mul, "QLinearMul")

/* ---- one input: X, X_scale, X_zero, Y_scale, Y_zero ----------------------------------------------------------------- */

static fy_status need_four(fy_infer *f) {
    static const int ones[] = {1, 2, 3, 4};
    for (int i = 0; i < 4; i++) FY_NEED(f->e, fy_in_has(f, i) || i == 2, GRAPH, "input %d is left out", i);
    return scalars(f, FY_COUNT(ones), ones);
}

static fy_status infer_one(fy_infer *f) {
    FY_TRY(need_four(f));
    return fy_k_like(f);
}

/* X seen with channels first where the node says that they are last. */
static bool channels_last(const fy_node *n) {
    const fy_attr *a = fy_attr_get(n, "channels_last");
    return a && a->kind == FY_ATTR_INT && a->i != 0;
}

static fy_status ref_one(const fy_call *c, const fy_op *op) {
    fy_tensor *y = fy_res(c, 0), x, seen, wide, to, *out = &to;
    const fy_tensor *in = &seen;
    int perm[FY_MAX_RANK];
    fy_sub s;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_ms_dequantise(c, 0, 1, 2, -1, &x));
    FY_TRY(fy_sub_room(c, &wide, FERRY_DOUBLE, y->rank, y->dim));
    seen = x;
    to = wide;
    if (channels_last(c->node)) {
        fy_sub_channels_first(perm, x.rank);
        seen = fy_sub_permute(&x, perm);
        to = fy_sub_permute(&wide, perm);
    }
    fy_sub_begin(&s, op, c->node);
    FY_TRY(fy_sub_run(c, &s, 1, &in, 1, &out));
    return fy_ms_quantise(c, &wide, 3, 4, y);
}

static fy_status ref_leaky(const fy_call *c) { return ref_one(c, &fy_op_leaky_relu); }
static fy_status ref_sigmoid(const fy_call *c) { return ref_one(c, &fy_op_sigmoid); }
static fy_status ref_average(const fy_call *c) { return ref_one(c, &fy_op_average_pool); }
static fy_status ref_global(const fy_call *c) { return ref_one(c, &fy_op_global_average_pool); }

static fy_status infer_pool(fy_infer *f, const fy_op *op) {
    int r, perm[FY_MAX_RANK];
    fy_sub s;
    fy_fact in = fy_sub_fact(f, 0, FERRY_FLOAT), out;
    FY_TRY(need_four(f));
    FY_TRY(fy_k_rank(f, 0, 3, FY_MAX_RANK, &r));
    if (channels_last(f->node) && r > 0) {
        fy_sub_channels_first(perm, r);
        FY_TRY(fy_sub_permute_fact(f, &in, perm));
    }
    fy_sub_begin(&s, op, f->node);
    FY_TRY(fy_sub_infer(f, &s, 1, &in, 1, &out));
    if (channels_last(f->node) && r > 0) {
        fy_sub_channels_last(perm, r);
        FY_TRY(fy_sub_permute_fact(f, &out, perm));
    }
    return fy_out_set(f, 0, fy_in_dtype(f, 0), out.type.rank, out.type.dim);
}

static fy_status infer_average(fy_infer *f) { return infer_pool(f, &fy_op_average_pool); }
static fy_status infer_global(fy_infer *f) { return infer_pool(f, &fy_op_global_average_pool); }

#define LAST {"channels_last", FY_ATTR_INT, "0"}
static const fy_attr_spec leaky_attrs[] = {{"alpha", FY_ATTR_FLOAT, "0.01"}, {0}};
static const fy_attr_spec average_attrs[] = {{"kernel_shape", FY_ATTR_INTS, FY_REQUIRED}, {"strides", FY_ATTR_INTS, NULL}, {"pads", FY_ATTR_INTS, NULL},
    {"auto_pad", FY_ATTR_STRING, "NOTSET"}, {"ceil_mode", FY_ATTR_INT, "0"}, {"count_include_pad", FY_ATTR_INT, "0"}, LAST, {0}};
static const fy_attr_spec global_attrs[] = {LAST, {0}};
#define ONE(var, Name, attrs_, infer_, ref_)                                                                             \
    const fy_op fy_op_##var = {.name = Name, .domain = MS, .attrs = attrs_, .min_in = 1, .max_in = 5, .min_out = 1, .max_out = 1, .first = 1, \
        .since = 1, .types = "Q=i8,u8|Q,f32,Q,f32,Q|Q", .infer = infer_, .ref = ref_, .flags = FY_PURE};
ONE(ms_q_linear_leaky_relu, "QLinearLeakyRelu", leaky_attrs, infer_one, ref_leaky)
ONE(ms_q_linear_sigmoid, "QLinearSigmoid", NULL, infer_one, ref_sigmoid)
ONE(ms_q_linear_average_pool, "QLinearAveragePool", average_attrs, infer_average, ref_average)
ONE(ms_q_linear_global_average_pool, "QLinearGlobalAveragePool", global_attrs, infer_global, ref_global)

/* ---- Softmax ------------------------------------------------------------------------------------------------------- */

static fy_status infer_softmax(fy_infer *f) {
    int axis, r = fy_in_rank(f, 0);
    FY_TRY(need_four(f));
    if (r >= 0) FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), r, f->e));
    return fy_k_like(f);
}

/* Probabilities times 1 / scale rounded down, as onnxruntime's table does it; before opset 13 over everything from the axis on. */
static fy_status ref_softmax(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), x, p, *to = &p;
    int axis;
    fy_sub s;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), y->rank, c->e));
    FY_TRY(fy_ms_dequantise(c, 0, 1, 2, -1, &x));
    const fy_tensor *in = &x, *zero = fy_arg(c, 4);
    fy_sub_begin(&s, &fy_op_softmax, c->node);
    fy_sub_int(&s, "axis", axis);
    if (fy_attr_i(c->node, "opset") < 13) {
        int64_t rows[2] = {1, 1};
        for (int i = 0; i < y->rank; i++) rows[i >= axis] *= y->dim[i];
        x = fy_tensor_view(FERRY_DOUBLE, 2, rows, x.data);
        fy_sub_int(&s, "axis", 1);
    }
    FY_TRY(fy_sub_room(c, &p, FERRY_DOUBLE, x.rank, x.dim));
    FY_TRY(fy_sub_run(c, &s, 1, &in, 1, &to));
    double scale = fy_get_f64(fy_arg(c, 3), 0), steps = floor(fy_round_to(FERRY_FLOAT, 1 / scale)), z = zero ? fy_get_f64(zero, 0) : 0, *v = p.data;
    FY_NEED(c->e, scale > 0, VALUE, "the scale is %g", scale);
    for (int64_t i = 0, n = fy_count(y); i < n; i++) {
        v[i] *= steps;
        fy_quant_to(y->dtype, &v[i], &z, 1);
    }
    fy_store_f64(y, 0, fy_count(y), v);
    return FY_OK;
}
static const fy_attr_spec softmax_attrs[] = {{"axis", FY_ATTR_INT, "-1"}, {"opset", FY_ATTR_INT, FY_REQUIRED}, {0}};
ONE(ms_q_linear_softmax, "QLinearSoftmax", softmax_attrs, infer_softmax, ref_softmax)

/* ---- ReduceMean ---------------------------------------------------------------------------------------------------- */

/* The axes of the attribute as the input that ReduceMean and ReduceSum take; `list` holds them. */
static fy_tensor axes_of(const fy_node *n, int64_t *count) {
    const int64_t *axes = fy_attr_ints(n, "axes", count);
    return fy_tensor_view(FERRY_INT64, 1, count, axes);
}

static fy_status infer_reduce(fy_infer *f, const fy_op *op, fy_dtype t) {
    int64_t n;
    fy_tensor axes = axes_of(f->node, &n);
    const fy_dim *len = fy_dim_const(f->dims, n);
    FY_NOMEM(f->e, len);
    fy_fact in[2] = {fy_sub_fact(f, 0, t), {.type = {FY_TENSOR, FERRY_INT64, 1, &len, NULL}, .data = &axes}}, out;
    fy_sub s;
    fy_sub_begin(&s, op, f->node);
    FY_TRY(fy_sub_infer(f, &s, 2, in, 1, &out));
    return fy_out_set(f, 0, out.type.dtype, out.type.rank, out.type.dim);
}

static fy_status reduce(const fy_call *c, const fy_op *op, const fy_tensor *x, fy_tensor *y) {
    int64_t n;
    fy_tensor axes = axes_of(c->node, &n);
    const fy_tensor *in[2] = {x, &axes};
    fy_sub s;
    fy_sub_begin(&s, op, c->node);
    return fy_sub_run(c, &s, 2, in, 1, &y);
}

static fy_status infer_mean(fy_infer *f) {
    FY_TRY(need_four(f));
    FY_TRY(infer_reduce(f, &fy_op_reduce_mean, FERRY_FLOAT));
    f->out[0].type.dtype = fy_in_dtype(f, 0);
    return FY_OK;
}

static fy_status ref_mean(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), x, wide;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_ms_dequantise(c, 0, 1, 2, -1, &x));
    FY_TRY(fy_sub_room(c, &wide, FERRY_DOUBLE, y->rank, y->dim));
    FY_TRY(reduce(c, &fy_op_reduce_mean, &x, &wide));
    return fy_ms_quantise(c, &wide, 3, 4, y);
}
static const fy_attr_spec reduce_attrs[] = {{"axes", FY_ATTR_INTS, FY_REQUIRED}, {"keepdims", FY_ATTR_INT, FY_REQUIRED}, {0}};
ONE(ms_q_linear_reduce_mean, "QLinearReduceMean", reduce_attrs, infer_mean, ref_mean)

static fy_status infer_sum(fy_infer *f) {
    fy_dtype t = fy_in_dtype(f, 0);
    return infer_reduce(f, &fy_op_reduce_sum, !t ? 0 : t == FERRY_UINT8 ? FERRY_UINT32 : FERRY_INT32);
}

static fy_status ref_sum(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), x;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_sub_room(c, &x, y->dtype, fy_arg(c, 0)->rank, fy_arg(c, 0)->dim));
    fy_tensor_copy(&x, fy_arg(c, 0));
    return reduce(c, &fy_op_reduce_sum, &x, y);
}
const fy_op fy_op_ms_reduce_sum_integer = {.name = "ReduceSumInteger", .domain = MS, .attrs = reduce_attrs, .min_in = 1, .max_in = 1, .min_out = 1,
    .max_out = 1, .first = 1, .since = 1, .types = "Q=i8,u8;R=i32,u32|Q|R", .infer = infer_sum, .ref = ref_sum, .flags = FY_PURE};

/* ---- Concat: Y_scale, Y_zero, then X, scale, zero of each ----------------------------------------------------------- */

static fy_status infer_concat(fy_infer *f) {
    fy_sub s;
    fy_fact *in, out;
    fy_dtype t = fy_in_dtype(f, 1);
    int n = (f->nin - 2) / 3;
    FY_NEED(f->e, f->nin >= 5 && (f->nin - 2) % 3 == 0, GRAPH, "%d inputs are not a scale, a zero point and three for each tensor", f->nin);
    for (int i = 0; i < f->nin; i++) {
        bool scale = i == 0 || (i > 1 && i % 3 == 0);
        FY_NEED(f->e, fy_in_has(f, i), GRAPH, "input %d is left out", i);
        FY_NEED(f->e, !fy_in_dtype(f, i) || (scale ? fy_in_dtype(f, i) == FERRY_FLOAT : !t || fy_in_dtype(f, i) == t), TYPE, "input %d is %s", i,
                fy_dtype_name(fy_in_dtype(f, i)));
        if (i < 2 || i % 3 != 2) FY_TRY(fy_ms_one(f, i, "1 and sizes of a scale or zero point"));
    }
    FY_NOMEM(f->e, in = FY_NEWN(f->arena, fy_fact, n));
    for (int i = 0; i < n; i++) in[i] = fy_sub_fact(f, 2 + 3 * i, 0);
    fy_sub_begin(&s, &fy_op_concat, f->node);
    FY_TRY(fy_sub_infer(f, &s, n, in, 1, &out));
    return fy_out_set(f, 0, t, out.type.rank, out.type.dim);
}

static fy_status ref_concat(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), part, wide;
    int64_t at = 0;
    int axis;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), y->rank, c->e));
    for (int i = 2; i + 2 < c->nin; i += 3) {
        const fy_tensor *x = fy_arg(c, i);
        fy_tensor q;
        if (!fy_count(x)) continue;
        FY_TRY(fy_ms_dequantise(c, i, i + 1, i + 2, -1, &wide));
        FY_TRY(fy_sub_room(c, &q, y->dtype, x->rank, x->dim));
        FY_TRY(fy_ms_quantise(c, &wide, 0, 1, &q));
        part = *y;
        part.own = NULL;
        part.dim[axis] = x->dim[axis];
        part.data = fy_k_at(y, at * y->stride[axis]);
        fy_tensor_copy(&part, &q);
        at += x->dim[axis];
    }
    return FY_OK;
}
static const fy_attr_spec concat_attrs[] = {{"axis", FY_ATTR_INT, FY_REQUIRED}, {0}};
const fy_op fy_op_ms_q_linear_concat = {.name = "QLinearConcat", .domain = MS, .attrs = concat_attrs, .min_in = 5, .max_in = -1, .min_out = 1, .max_out = 1,
    .first = 1, .since = 1, .types = "Q=i8,u8|f32,Q,*,...|Q", .infer = infer_concat, .ref = ref_concat, .flags = FY_PURE};

/* ---- Where: condition, X, scale, zero, Y, scale, zero, Z_scale, Z_zero ---------------------------------------------- */

static fy_status infer_where(fy_infer *f) {
    static const int ones[] = {2, 3, 5, 6, 7, 8}, three[] = {0, 1, 4};
    int rank;
    const fy_dim *dim[FY_MAX_RANK];
    FY_TRY(scalars(f, FY_COUNT(ones), ones));
    FY_TRY(fy_broadcast(f, 3, three, &rank, dim));
    return fy_out_set(f, 0, fy_in_dtype(f, 1), rank, dim);
}

static fy_status ref_where(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), x[2], wide;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_ms_dequantise(c, 1, 2, 3, -1, &x[0]));
    FY_TRY(fy_ms_dequantise(c, 4, 5, 6, -1, &x[1]));
    FY_TRY(fy_sub_room(c, &wide, FERRY_DOUBLE, y->rank, y->dim));
    const fy_tensor *in[3] = {fy_arg(c, 0), &x[0], &x[1]};
    FY_TRY(fy_sub_apply(c, &fy_op_where, 3, in, &wide));
    return fy_ms_quantise(c, &wide, 7, 8, y);
}
const fy_op fy_op_ms_q_linear_where = {.name = "QLinearWhere", .domain = MS, .min_in = 9, .max_in = 9, .min_out = 1, .max_out = 1, .first = 1, .since = 1,
    .types = "Q=i8,u8|bool,Q,f32,Q,Q,f32,Q,f32,Q|Q", .infer = infer_where, .ref = ref_where, .flags = FY_PURE};
