/* SPDX-License-Identifier: Apache-2.0
 * ms_gemm.c - com.microsoft: FusedConv NhwcFusedConv FusedGemm FusedMatMul TransposeMatMul FusedMatMulActivation.
 * y = activation(conv(x, w) + b + z), activation(alpha A B + beta C), activation(alpha op(A) op(B)): Conv, Gemm and MatMul of
 * ai.onnx into double, then what is fused to them, rounded once.
 * Source: onnxruntime docs/ContribOperators.md; names and parameters of activations: its conv and gemm activation fusions. */
#include "ops/sub.h"

#include <string.h>

#define MS "com.microsoft"

/* ---- activations --------------------------------------------------------------------------------------------------- */

/* Which attributes of the operator the parameters of `activation_params` are, in order. */
static const struct { const char *name; const fy_op *op; const char *par[2]; } activations[] = {
    {"Relu", &fy_op_relu, {NULL, NULL}}, {"Tanh", &fy_op_tanh, {NULL, NULL}}, {"Sigmoid", &fy_op_sigmoid, {NULL, NULL}},
    {"LeakyRelu", &fy_op_leaky_relu, {"alpha", NULL}}, {"HardSigmoid", &fy_op_hard_sigmoid, {"alpha", "beta"}}, {"Clip", &fy_op_clip, {NULL, NULL}},
    {"Elu", &fy_op_elu, {"alpha", NULL}}, {"Selu", &fy_op_selu, {"alpha", "gamma"}}, {"Softplus", &fy_op_softplus, {NULL, NULL}},
    {"Softsign", &fy_op_softsign, {NULL, NULL}}, {"ThresholdedRelu", &fy_op_thresholded_relu, {"alpha", NULL}}, {"HardSwish", &fy_op_hard_swish, {NULL, NULL}}};

/* Which row of the table; -1: no activation. */
static fy_status activation_of(int *at, const fy_node *n, ferry_error *e) {
    const fy_attr *a = fy_attr_get(n, "activation");
    *at = -1;
    if (!a || a->s.n == 0) return FY_OK;
    for (int i = 0; i < FY_COUNT(activations); i++)
        if (a->s.n == strlen(activations[i].name) && !memcmp(a->s.at, activations[i].name, a->s.n)) *at = i;
    FY_NEED(e, *at >= 0, ATTR, "activation \"%.*s\" is not known", a->s.n < 60 ? (int)a->s.n : 60, a->s.at);
    const fy_attr *p = fy_attr_get(n, "activation_params");
    if (p && activations[*at].op == &fy_op_clip) FY_NEED(e, p->n == 2, ATTR, "activation_params has %lld values; Clip takes 2", (long long)p->n);
    return FY_OK;
}

/* t = activation(t), in place. Integers only where the operator has them (Relu). */
static fy_status activate(const fy_call *c, fy_tensor *t) {
    static const char *const each[] = {"activation_alpha", "activation_gamma", "activation_beta"};
    static const char *const as[] = {"alpha", "gamma", "beta"};
    const fy_attr *p = fy_attr_get(c->node, "activation_params"), *one;
    double limit[2];
    int k;
    FY_TRY(activation_of(&k, c->node, c->e));
    if (k < 0) return FY_OK;
    const fy_op *op = activations[k].op;
    const fy_tensor *in[3] = {t, NULL, NULL};
    fy_tensor bound[2];
    static const fy_node bare = {.nattr = 0};
    fy_sub s;
    fy_sub_begin(&s, op, &bare);
    for (int i = 0; i < FY_COUNT(each); i++)
        for (const fy_attr_spec *a = op->attrs; a && a->name; a++)
            if (!strcmp(a->name, as[i]) && (one = fy_attr_get(c->node, each[i])) && one->kind == FY_ATTR_FLOAT) fy_sub_float(&s, as[i], one->f);
    for (int i = 0; p && i < 2 && i < p->n; i++) {
        if (activations[k].par[i]) fy_sub_float(&s, activations[k].par[i], p->floats[i]);
        if (op != &fy_op_clip) continue;
        limit[i] = p->floats[i];
        bound[i] = fy_tensor_view(FERRY_DOUBLE, 0, NULL, &limit[i]);
        in[1 + i] = &bound[i];
    }
    return fy_sub_run(c, &s, op == &fy_op_clip ? 3 : 1, in, 1, &t);
}

/* Where a result that more is done to is kept: y itself if it is wide enough, else doubles. */
static fy_status wide_of(const fy_call *c, const fy_tensor *y, fy_tensor *wide) {
    *wide = *y;
    wide->own = NULL;
    if (y->dtype == FERRY_DOUBLE || !fy_dtype_float(y->dtype)) return FY_OK;
    return fy_sub_room(c, wide, FERRY_DOUBLE, y->rank, y->dim);
}

static void narrow(fy_tensor *y, const fy_tensor *wide) {
    if (y->data != wide->data) fy_store_f64(y, 0, fy_count(y), wide->data);
}

/* ---- FusedConv ----------------------------------------------------------------------------------------------------- */

static fy_status infer_conv_as(fy_infer *f, bool channels_last) {
    int k, r, rz, perm[FY_MAX_RANK];
    fy_sub s;
    fy_fact in[3] = {fy_sub_fact(f, 0, 0), fy_sub_fact(f, 1, 0), fy_sub_fact(f, 2, 0)}, out;
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(activation_of(&k, f->node, f->e));
    FY_TRY(fy_k_rank(f, 0, 3, FY_MAX_RANK, &r));
    if (channels_last && r > 0) {
        fy_sub_channels_first(perm, r);
        FY_TRY(fy_sub_permute_fact(f, &in[0], perm));
    }
    fy_sub_begin(&s, &fy_op_conv, f->node);
    FY_TRY(fy_sub_infer(f, &s, 3, in, 1, &out));
    r = out.type.rank;
    if (channels_last && r > 0) {
        fy_sub_channels_last(perm, r);
        FY_TRY(fy_sub_permute_fact(f, &out, perm));
    }
    if (fy_in_has(f, 3)) {
        FY_TRY(fy_k_rank(f, 3, r < 0 ? 0 : r, r < 0 ? FY_MAX_RANK : r, &rz));
        for (int i = 0; i < r && rz == r; i++) FY_TRY(fy_k_agree(f, out.type.dim[i], fy_in_dim(f, 3, i), "sizes of z and the result"));
    }
    return fy_out_set(f, 0, out.type.dtype, r, out.type.dim);
}

static fy_status infer_conv(fy_infer *f) { return infer_conv_as(f, false); }
static fy_status infer_nhwc_conv(fy_infer *f) { return infer_conv_as(f, true); }

static fy_status ref_conv_as(const fy_call *c, bool channels_last) {
    fy_tensor *y = fy_res(c, 0), wide, x = *fy_arg(c, 0), seen, *to = &seen;
    int perm[FY_MAX_RANK];
    fy_sub s;
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, fy_dtype_float(y->dtype), TYPE, "no convolution of %s", fy_dtype_name(y->dtype));
    FY_TRY(wide_of(c, y, &wide));
    seen = wide;
    if (channels_last) {
        fy_sub_channels_first(perm, x.rank);
        x = fy_sub_permute(&x, perm);
        seen = fy_sub_permute(&wide, perm);
    }
    const fy_tensor *in[3] = {&x, fy_arg(c, 1), fy_arg(c, 2)}, *both[2] = {&wide, fy_arg(c, 3)};
    fy_sub_begin(&s, &fy_op_conv, c->node);
    FY_TRY(fy_sub_run(c, &s, in[2] ? 3 : 2, in, 1, &to));
    if (both[1]) FY_TRY(fy_sub_apply(c, &fy_op_add, 2, both, &wide));
    FY_TRY(activate(c, &wide));
    narrow(y, &wide);
    return FY_OK;
}

static fy_status ref_conv(const fy_call *c) { return ref_conv_as(c, false); }
static fy_status ref_nhwc_conv(const fy_call *c) { return ref_conv_as(c, true); }

#define ACTIVATION {"activation", FY_ATTR_STRING, ""}
static const fy_attr_spec conv_attrs[] = {ACTIVATION, {"activation_params", FY_ATTR_FLOATS, NULL}, {"kernel_shape", FY_ATTR_INTS, NULL},
    {"strides", FY_ATTR_INTS, NULL}, {"dilations", FY_ATTR_INTS, NULL}, {"pads", FY_ATTR_INTS, NULL}, {"auto_pad", FY_ATTR_STRING, "NOTSET"},
    {"group", FY_ATTR_INT, "1"}, {0}};
#define CONV(var, Name, infer_, ref_)                                                                                    \
    const fy_op fy_op_##var = {.name = Name, .domain = MS, .attrs = conv_attrs, .min_in = 2, .max_in = 4, .min_out = 1, .max_out = 1, \
        .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T,T,T,T|T", .infer = infer_, .ref = ref_, .flags = FY_PURE};
CONV(ms_fused_conv, "FusedConv", infer_conv, ref_conv)
CONV(ms_nhwc_fused_conv, "NhwcFusedConv", infer_nhwc_conv, ref_nhwc_conv)

/* ---- FusedGemm ----------------------------------------------------------------------------------------------------- */

static fy_status infer_gemm(fy_infer *f) {
    int k;
    fy_sub s;
    FY_TRY(activation_of(&k, f->node, f->e));
    fy_fact in[3] = {fy_sub_fact(f, 0, 0), fy_sub_fact(f, 1, 0), fy_sub_fact(f, 2, 0)};
    fy_sub_begin(&s, &fy_op_gemm, f->node);
    return fy_sub_infer(f, &s, 3, in, f->nout, f->out);
}

static fy_status ref_gemm(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), wide, *to = &wide;
    const fy_tensor *in[3] = {fy_arg(c, 0), fy_arg(c, 1), fy_arg(c, 2)};
    fy_sub s;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(wide_of(c, y, &wide));
    fy_sub_begin(&s, &fy_op_gemm, c->node);
    FY_TRY(fy_sub_run(c, &s, in[2] ? 3 : 2, in, 1, &to));
    FY_TRY(activate(c, &wide));
    narrow(y, &wide);
    return FY_OK;
}

#define EACH_PARAMETER {"activation_alpha", FY_ATTR_FLOAT, NULL}, {"activation_beta", FY_ATTR_FLOAT, NULL}, \
    {"activation_gamma", FY_ATTR_FLOAT, NULL}
static const fy_attr_spec gemm_attrs[] = {ACTIVATION, EACH_PARAMETER, {"alpha", FY_ATTR_FLOAT, "1"}, {"beta", FY_ATTR_FLOAT, "1"},
    {"transA", FY_ATTR_INT, "0"}, {"transB", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_ms_fused_gemm = {.name = "FusedGemm", .domain = MS, .attrs = gemm_attrs, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1, .first = 1,
    .since = 1, .types = "T=" FY_T_WIDE "|T,T,T|T", .infer = infer_gemm, .ref = ref_gemm, .flags = FY_PURE};

/* ---- FusedMatMul --------------------------------------------------------------------------------------------------- */

static bool flag(const fy_node *n, const char *name) {
    const fy_attr *a = fy_attr_get(n, name);
    return a && a->kind == FY_ATTR_INT && a->i != 0;
}

/* The order of the axes of an operand as MatMul is to see them: the first axis of a batch-transposed one (its rows, or its
 * columns if it is transposed too) goes behind the batch; then rows and columns change places. Vectors stay. */
static void order(int *perm, int rank, bool batch, bool transposed) {
    for (int i = 0; i < rank; i++) perm[i] = i;
    for (int i = 0; batch && i + 1 < rank; i++) perm[i] = i + 2 < rank ? i + 1 : 0;
    if (!transposed || rank < 2) return;
    int t = perm[rank - 1];
    perm[rank - 1] = perm[rank - 2];
    perm[rank - 2] = t;
}

static fy_status infer_matmul(fy_infer *f) {
    fy_fact in[2];
    int k, perm[FY_MAX_RANK];
    fy_sub s;
    FY_TRY(activation_of(&k, f->node, f->e));
    for (int i = 0; i < 2; i++) {
        in[i] = fy_sub_fact(f, i, 0);
        if (in[i].type.rank < 1) continue;
        order(perm, in[i].type.rank, flag(f->node, i ? "transBatchB" : "transBatchA"), flag(f->node, i ? "transB" : "transA"));
        FY_TRY(fy_sub_permute_fact(f, &in[i], perm));
    }
    fy_sub_begin(&s, &fy_op_mat_mul, f->node);
    return fy_sub_infer(f, &s, 2, in, f->nout, f->out);
}

static fy_status ref_matmul(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), wide, side[2];
    int k, perm[FY_MAX_RANK];
    if (!y || !fy_count(y)) return FY_OK;
    for (int i = 0; i < 2; i++) {
        const fy_tensor *x = fy_arg(c, i);
        order(perm, x->rank, flag(c->node, i ? "transBatchB" : "transBatchA"), flag(c->node, i ? "transB" : "transA"));
        side[i] = fy_sub_permute(x, perm);
    }
    const fy_tensor *in[2] = {&side[0], &side[1]};
    double alpha = fy_attr_f(c->node, "alpha");
    FY_TRY(activation_of(&k, c->node, c->e));
    if (alpha == 1 && k < 0) return fy_sub_apply(c, &fy_op_mat_mul, 2, in, y);
    FY_TRY(wide_of(c, y, &wide));
    FY_TRY(fy_sub_apply(c, &fy_op_mat_mul, 2, in, &wide));
    double *p = wide.data;
    for (int64_t i = 0, n = fy_count(&wide); i < n; i++) p[i] *= alpha;
    FY_TRY(activate(c, &wide));
    narrow(y, &wide);
    return FY_OK;
}

#define MATMUL_ATTRS {"alpha", FY_ATTR_FLOAT, "1"}, {"transA", FY_ATTR_INT, "0"}, \
    {"transB", FY_ATTR_INT, "0"}
#define BATCH_ATTRS {"transBatchA", FY_ATTR_INT, "0"}, {"transBatchB", FY_ATTR_INT, "0"}
static const fy_attr_spec transpose_attrs[] = {MATMUL_ATTRS, {0}};
static const fy_attr_spec matmul_attrs[] = {MATMUL_ATTRS, BATCH_ATTRS, {0}};
static const fy_attr_spec matmul_activation_attrs[] = {{"activation", FY_ATTR_STRING, FY_REQUIRED}, EACH_PARAMETER, {"activation_axis", FY_ATTR_INT, NULL},
    MATMUL_ATTRS, BATCH_ATTRS, {0}};
#define MATMUL(var, Name, attrs_)                                                                                        \
    const fy_op fy_op_##var = {.name = Name, .domain = MS, .attrs = attrs_, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, \
        .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T,T|T", .infer = infer_matmul, .ref = ref_matmul, .flags = FY_PURE};
MATMUL(ms_fused_mat_mul, "FusedMatMul", matmul_attrs)
MATMUL(ms_transpose_mat_mul, "TransposeMatMul", transpose_attrs)
MATMUL(ms_fused_mat_mul_activation, "FusedMatMulActivation", matmul_activation_attrs)
