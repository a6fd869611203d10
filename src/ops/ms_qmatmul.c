/* SPDX-License-Identifier: Apache-2.0
 * ms_qmatmul.c - com.microsoft: QGemm MatMulIntegerToFloat DynamicQuantizeMatMul MatMulInteger16 DynamicQuantizeLSTM.
 * Products of integers are MatMulInteger's; one factor, the product of the scales in float, brings them back.
 * Shapes  A [.., m, k], B [.., k, n], scale and zero point of A scalars, those of B scalars or [n] (or any shape that broadcasts to the
 *         result), bias [n]; QGemm: A, B of rank 2, either transposed, C i32 that broadcasts to [m, n].
 * Source  onnxruntime docs/ContribOperators.md. */
#include "ops/ms_quant.h"
#include "ops/quant.h"

#include <string.h>

#define MS "com.microsoft"

/* The shape of MatMul of inputs a and b, or of Gemm with c, with dtype t. */
static fy_status infer_as(fy_infer *f, const fy_op *op, int a, int b, int add, fy_dtype t) {
    fy_fact in[3] = {fy_sub_fact(f, a, FERRY_FLOAT), fy_sub_fact(f, b, FERRY_FLOAT), {.type = {.rank = -1}}}, out;
    fy_sub s;
    if (add >= 0) in[2] = fy_sub_fact(f, add, FERRY_FLOAT);
    fy_sub_begin(&s, op, f->node);
    FY_TRY(fy_sub_infer(f, &s, add < 0 ? 2 : 3, in, 1, &out));
    return fy_out_set(f, 0, t, out.type.rank, out.type.dim);
}

/* Input `bias` is a vector as long as the last axis of the result. */
static fy_status check_bias(fy_infer *f, int bias) {
    int r;
    FY_TRY(fy_k_rank(f, bias, 1, 1, &r));
    if (r == 1 && f->out[0].type.rank > 0) FY_TRY(fy_k_agree(f, f->out[0].type.dim[f->out[0].type.rank - 1], fy_in_dim(f, bias, 0), "columns and bias"));
    return FY_OK;
}

/* y = acc * (a_scale * b_scale) + bias, rounded once. */
static fy_status scaled(const fy_call *c, const fy_tensor *a, double a_scale, const fy_tensor *a_zero, int b, int b_scale, int b_zero, int bias) {
    fy_tensor *y = fy_res(c, 0), acc, wide;
    const fy_tensor *in[4] = {a, fy_arg(c, b), a_zero, fy_arg(c, b_zero)}, *add = fy_arg(c, bias), *scale = fy_arg(c, b_scale);
    FY_TRY(fy_sub_room(c, &acc, FERRY_INT32, y->rank, y->dim));
    FY_TRY(fy_sub_apply(c, &fy_op_mat_mul_integer, 4, in, &acc));
    FY_TRY(fy_sub_wide(c, &wide, &acc));
    int64_t n = fy_count(y), cols = y->rank ? y->dim[y->rank - 1] : 1;
    for (int i = 1; i <= scale->rank && fy_count(scale) != 1; i++)
        FY_NEED(c->e, i <= y->rank && (scale->dim[scale->rank - i] == 1 || scale->dim[scale->rank - i] == y->dim[y->rank - i]), SHAPE, "b_scale does not broadcast to the result");
    fy_tensor one = {.dtype = scale->dtype, .rank = 0, .data = scale->data}, by = fy_k_spread(fy_count(scale) == 1 ? &one : scale, y->rank, y->dim);
    double *v = wide.data, step[FY_K_BLOCK];
    for (int64_t at = 0; at < n; at += FY_K_BLOCK) {
        int64_t m = n - at < FY_K_BLOCK ? n - at : FY_K_BLOCK;
        fy_load_f64(step, &by, at, m);
        for (int64_t i = 0; i < m; i++) v[at + i] = v[at + i] * fy_round_to(FERRY_FLOAT, a_scale * step[i]) + (add ? fy_get_f64(add, (at + i) % cols) : 0);
    }
    fy_store_f64(y, 0, n, v);
    return FY_OK;
}

/* ---- MatMulIntegerToFloat: A, B, a_scale, b_scale, a_zero, b_zero, bias ---------------------------------------------- */

static fy_status infer_to_float(fy_infer *f) {
    FY_TRY(fy_ms_one(f, 2, "1 and sizes of a_scale"));
    FY_TRY(fy_ms_one(f, 4, "1 and sizes of a_zero_point"));
    FY_TRY(infer_as(f, &fy_op_mat_mul, 0, 1, -1, fy_in_dtype(f, 2)));
    return check_bias(f, 6);
}

static fy_status ref_to_float(const fy_call *c) {
    if (!fy_res(c, 0) || !fy_count(fy_res(c, 0))) return FY_OK;
    return scaled(c, fy_arg(c, 0), fy_get_f64(fy_arg(c, 2), 0), fy_arg(c, 4), 1, 3, 5, 6);
}
const fy_op fy_op_ms_mat_mul_integer_to_float = {.name = "MatMulIntegerToFloat", .domain = MS, .min_in = 4, .max_in = 7, .min_out = 1, .max_out = 1,
    .first = 1, .since = 1, .types = "A=i8,u8;B=i8,u8;T=" FY_T_FLOAT "|A,B,T,T,A,B,T|T", .infer = infer_to_float, .ref = ref_to_float, .flags = FY_PURE};

/* ---- DynamicQuantizeMatMul: A, B, b_scale, b_zero, bias -------------------------------------------------------------- */

static fy_status infer_dynamic(fy_infer *f) {
    FY_TRY(infer_as(f, &fy_op_mat_mul, 0, 1, -1, FERRY_FLOAT));
    return check_bias(f, 4);
}

/* A quantised to u8 over its own range. */
static fy_status quantise_u8(const fy_call *c, const fy_tensor *x, fy_tensor *q, double *scale, fy_tensor *zero) {
    static const fy_node bare = {.nattr = 0};
    fy_tensor s, *out[3] = {q, &s, zero};
    fy_sub sub;
    FY_TRY(fy_sub_room(c, q, FERRY_UINT8, x->rank, x->dim));
    FY_TRY(fy_sub_room(c, &s, FERRY_FLOAT, 0, NULL));
    FY_TRY(fy_sub_room(c, zero, FERRY_UINT8, 0, NULL));
    fy_sub_begin(&sub, &fy_op_dynamic_quantize_linear, &bare);
    FY_TRY(fy_sub_run(c, &sub, 1, &x, 3, out));
    *scale = fy_get_f64(&s, 0);
    return FY_OK;
}

static fy_status ref_dynamic(const fy_call *c) {
    fy_tensor q, zero;
    double scale;
    if (!fy_res(c, 0) || !fy_count(fy_res(c, 0))) return FY_OK;
    FY_TRY(quantise_u8(c, fy_arg(c, 0), &q, &scale, &zero));
    return scaled(c, &q, scale, &zero, 1, 2, 3, 4);
}
const fy_op fy_op_ms_dynamic_quantize_mat_mul = {.name = "DynamicQuantizeMatMul", .domain = MS, .min_in = 3, .max_in = 5, .min_out = 1, .max_out = 1,
    .first = 1, .since = 1, .types = "B=i8,u8|f32,B,f32,B,f32|f32", .infer = infer_dynamic, .ref = ref_dynamic, .flags = FY_PURE};

/* ---- MatMulInteger16 ----------------------------------------------------------------------------------------------- */

static fy_status infer_16(fy_infer *f) {
    bool both = fy_in_dtype(f, 0) == FERRY_UINT16 && fy_in_dtype(f, 1) == FERRY_UINT16;
    return infer_as(f, &fy_op_mat_mul, 0, 1, -1, both ? FERRY_UINT32 : FERRY_INT32);
}

static fy_status ref_16(const fy_call *c) {
    const fy_tensor *in[2] = {fy_arg(c, 0), fy_arg(c, 1)};
    return fy_res(c, 0) ? fy_sub_apply(c, &fy_op_mat_mul_integer, 2, in, fy_res(c, 0)) : FY_OK;
}
const fy_op fy_op_ms_mat_mul_integer16 = {.name = "MatMulInteger16", .domain = MS, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .first = 1,
    .since = 1, .types = "A=i16,u16;B=i16,u16;R=i32,u32|A,B|R", .infer = infer_16, .ref = ref_16, .flags = FY_PURE};

/* ---- QGemm: A, a_scale, a_zero, B, b_scale, b_zero, C, y_scale, y_zero ----------------------------------------------- */

static fy_status infer_gemm(fy_infer *f) {
    static const int ones[] = {1, 2, 7, 8};
    for (int i = 0; i < 6; i++) FY_NEED(f->e, fy_in_has(f, i), GRAPH, "input %d is left out", i);
    for (int i = 0; i < FY_COUNT(ones); i++) FY_TRY(fy_ms_one(f, ones[i], "1 and sizes of a scale or zero point"));
    FY_NEED(f->e, fy_in_has(f, 7) == fy_in_has(f, 8), GRAPH, "y_scale and y_zero_point go together");
    return infer_as(f, &fy_op_gemm, 0, 3, 6, fy_in_has(f, 8) ? fy_in_dtype(f, 8) : FERRY_FLOAT);
}

static fy_status ref_gemm(const fy_call *c) {
    static const int swap[2] = {1, 0};
    fy_tensor *y = fy_res(c, 0), a = *fy_arg(c, 0), b = *fy_arg(c, 3), acc;
    const fy_tensor *add = fy_arg(c, 6), *bs = fy_arg(c, 4), *bz = fy_arg(c, 5), *ys = fy_arg(c, 7), *yz = fy_arg(c, 8);
    if (!y || !fy_count(y)) return FY_OK;
    if (fy_attr_i(c->node, "transA")) a = fy_sub_permute(&a, swap);
    if (fy_attr_i(c->node, "transB")) b = fy_sub_permute(&b, swap);
    int64_t m = y->dim[0], n = y->dim[1], scales = fy_count(bs);
    FY_NEED(c->e, scales == 1 || scales == n, SHAPE, "%lld scales for %lld columns", (long long)scales, (long long)n);
    FY_NEED(c->e, fy_count(bz) == 1 || fy_count(bz) == n, SHAPE, "%lld zero points for %lld columns", (long long)fy_count(bz), (long long)n);
    const fy_tensor *in[4] = {&a, &b, fy_arg(c, 2), bz}, *both[2] = {&acc, add};
    FY_TRY(fy_sub_room(c, &acc, FERRY_INT32, 2, y->dim));
    FY_TRY(fy_sub_apply(c, &fy_op_mat_mul_integer, 4, in, &acc));
    if (add) FY_TRY(fy_sub_apply(c, &fy_op_add, 2, both, &acc));
    /* the factor, and its product with the sum, in float as onnxruntime has them: the same ties */
    double alpha = fy_attr_f(c->node, "alpha"), as = fy_get_f64(fy_arg(c, 1), 0), z = yz ? fy_get_f64(yz, 0) : 0, *row = FY_NEWN(c->scratch, double, 3 * n), *f = row + n, *zero = f + n;
    FY_NOMEM(c->e, row);
    for (int64_t j = 0; j < n; j++) {
        zero[j] = z;
        f[j] = fy_round_to(FERRY_FLOAT, fy_round_to(FERRY_FLOAT, alpha * as) * fy_get_f64(bs, scales == 1 ? 0 : j));
        if (ys) f[j] = fy_round_to(FERRY_FLOAT, f[j] / fy_get_f64(ys, 0));
    }
    for (int64_t i = 0; i < m; i++) {
        fy_load_f64(row, &acc, i * n, n);
        for (int64_t j = 0; j < n; j++) row[j] = fy_round_to(FERRY_FLOAT, fy_round_to(FERRY_FLOAT, row[j]) * f[j]);
        if (ys) fy_quant_to(y->dtype, row, zero, n);
        fy_store_f64(y, i * n, n, row);
    }
    return FY_OK;
}
static const fy_attr_spec gemm_attrs[] = {{"alpha", FY_ATTR_FLOAT, "1"}, {"transA", FY_ATTR_INT, "0"}, {"transB", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_ms_q_gemm = {.name = "QGemm", .domain = MS, .attrs = gemm_attrs, .min_in = 6, .max_in = 9, .min_out = 1, .max_out = 1, .first = 1,
    .since = 1, .types = "A=i8,u8;B=i8,u8;Y=i8,u8,f32|A,f32,A,B,f32,B,i32,f32,Y|Y", .infer = infer_gemm, .ref = ref_gemm, .flags = FY_PURE};

/* ---- DynamicQuantizeLSTM: LSTM whose inputs and states are quantised step by step ------------------------------------- */

/* W [D, I, 4H] and R [D, H, 4H]: transposed with respect to LSTM's. */
static const int turned[3] = {0, 2, 1};

static fy_status infer_lstm(fy_infer *f) {
    fy_fact in[8];
    fy_sub s;
    int r;
    for (int i = 0; i < 12; i++) FY_NEED(f->e, fy_in_has(f, i) || (i > 2 && i < 8), GRAPH, "input %d is left out", i);
    for (int i = 0; i < 8; i++) in[i] = fy_sub_fact(f, i, i == 1 || i == 2 ? FERRY_FLOAT : 0);
    for (int i = 1; i < 3; i++) {
        FY_TRY(fy_k_rank(f, i, 3, 3, &r));
        if (r == 3) FY_TRY(fy_sub_permute_fact(f, &in[i], turned));
    }
    for (int i = 8; i < 12; i++) {
        FY_TRY(fy_k_rank(f, i, 1, 2, &r));
        if (r > 0 && fy_in_rank(f, i < 10 ? 1 : 2) == 3) FY_TRY(fy_k_agree(f, fy_in_dim(f, i, 0), fy_in_dim(f, i < 10 ? 1 : 2, 0), "directions of weights and their scales"));
        if (r == 2 && fy_in_rank(f, i < 10 ? 1 : 2) == 3) FY_TRY(fy_k_agree(f, fy_in_dim(f, i, 1), fy_in_dim(f, i < 10 ? 1 : 2, 2), "gates and their scales"));
    }
    fy_sub_begin(&s, &fy_op_lstm, f->node);
    return fy_sub_infer(f, &s, 8, in, f->nout, f->out);
}

/* Weights [D, K, 4H] as numbers, one scale for each direction or each gate of it. */
static fy_status weights(const fy_call *c, int w, int scale, int zero, fy_tensor *t) {
    const fy_tensor *s = fy_arg(c, scale), *z = fy_arg(c, zero);
    FY_TRY(fy_sub_wide(c, t, fy_arg(c, w)));
    int64_t D = t->dim[0], K = t->dim[1], G = t->dim[2], ns = fy_count(s), nz = fy_count(z);
    FY_NEED(c->e, (ns == D || ns == D * G) && (nz == D || nz == D * G), SHAPE, "%lld scales and %lld zero points for %lld directions of %lld gates", (long long)ns, (long long)nz,
            (long long)D, (long long)G);
    double *v = t->data;
    for (int64_t d = 0; d < D; d++)
        for (int64_t i = 0; i < K * G; i++, v++) *v = (*v - fy_get_f64(z, nz == D ? d : d * G + i % G)) * fy_get_f64(s, ns == D ? d : d * G + i % G);
    return FY_OK;
}

static fy_status ref_lstm(const fy_call *c) {
    fy_tensor w[2], *out[3] = {fy_res(c, 0), fy_res(c, 1), fy_res(c, 2)};
    const fy_tensor *in[8];
    fy_sub s;
    for (int i = 0; i < 8; i++) in[i] = fy_arg(c, i);
    for (int i = 0; i < 2; i++) {
        FY_TRY(weights(c, 1 + i, 8 + 2 * i, 9 + 2 * i, &w[i]));
        w[i] = fy_sub_permute(&w[i], turned);
        in[1 + i] = &w[i];
    }
    fy_sub_begin(&s, &fy_op_lstm_requantised, c->node);
    return fy_sub_run(c, &s, 8, in, 3, out);
}

static const fy_attr_spec lstm_attrs[] = {{"activation_alpha", FY_ATTR_FLOATS, NULL}, {"activation_beta", FY_ATTR_FLOATS, NULL},
    {"activations", FY_ATTR_STRINGS, NULL}, {"clip", FY_ATTR_FLOAT, NULL}, {"direction", FY_ATTR_STRING, "forward"}, {"hidden_size", FY_ATTR_INT, NULL},
    {"input_forget", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_ms_dynamic_quantize_lstm = {.name = "DynamicQuantizeLSTM", .domain = MS, .attrs = lstm_attrs, .min_in = 3, .max_in = 12, .min_out = 0,
    .max_out = 3, .first = 1, .since = 1, .types = "Q=i8,u8|f32,Q,Q,f32,i32,f32,f32,f32,f32,Q,f32,Q|f32,f32,f32", .infer = infer_lstm, .ref = ref_lstm,
    .flags = FY_PURE};
