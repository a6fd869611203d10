/* SPDX-License-Identifier: Apache-2.0
 * qlinear.c - operators on quantised numbers with QuantizeLinear and DequantizeLinear around the operator on floats, for an engine that computes over bytes
 * from there: QLinearConv and QLinearMatMul by constant symmetric weights; of com.microsoft QLinearAdd, QLinearMul, QLinearLeakyRelu, QLinearSigmoid,
 * QLinearSoftmax, QLinearAveragePool, QLinearGlobalAveragePool, QLinearReduceMean, QLinearConcat, QLinearWhere, QGemm, QLinearConv. Scales and zero points
 * must be constants. Also DynamicQuantizeMatMul as DynamicQuantizeLinear and MatMulIntegerToFloat, ReduceSumInteger as ReduceSum.
 * Results may be one step off where they stand next to the middle of two: the operators scale sums by one rounded factor. */
#include "passes/match.h"

#include <math.h>
#include <string.h>

static bool ms(const fy_node *n, const char *op) { return !strcmp(n->op->domain, "com.microsoft") && !strcmp(n->op->name, op); }

/* A scale and a zero point (that may be left out) of one element. */
static bool fixed(const fy_node *n, int scale, int zero) {
    const fy_const *s = fy_fixed(fy_in(n, scale)), *z = fy_fixed(fy_in(n, zero));
    return s && s->count == 1 && s->dtype == FERRY_FLOAT && (z ? z->count == 1 : !fy_in(n, zero));
}

static fy_value *up_along(fy_build *b, fy_value *x, fy_value *scale, fy_value *zero, int64_t axis) {
    return fy_emit(b, "DequantizeLinear", FY_V(x, scale, zero), FY_A(fy_int("axis", axis)));
}
static fy_value *up(fy_build *b, const fy_node *n, int x, int scale, int zero) { return fy_emit(b, "DequantizeLinear", FY_V(fy_in(n, x), fy_in(n, scale), fy_in(n, zero)), FY_NOATTR); }

static fy_value *down(fy_build *b, const fy_node *n, fy_value *x, int scale, int zero) {
    return fy_emit(b, "QuantizeLinear", FY_V(x, fy_in(n, scale), fy_in(n, zero)), FY_A(fy_int("output_dtype", n->out[0]->type.dtype)));
}

/* ---- products by weights ---------------------------------------------------------------------------------------------------- */

/* Symmetric weights with a scale for all or for each of n: their zero point as DequantizeLinear takes it, beside that scale; false: they are not. */
static bool weights(fy_rewriting *r, const fy_node *n, int w, int scale, int zero, int64_t count, const fy_const **z) {
    const fy_const *c = fy_fixed(fy_in(n, w)), *s = fy_fixed(fy_in(n, scale)), *given = fy_fixed(fy_in(n, zero));
    if (!c || !s || s->dtype != FERRY_FLOAT || s->rank > 1 || (s->count != 1 && s->count != count) || (c->dtype != FERRY_UINT8 && c->dtype != FERRY_INT8) || (fy_in(n, zero) && !given)) return false;
    const double middle = c->dtype == FERRY_UINT8 ? 128 : 0;
    for (int64_t i = 0; given && i < given->count; i++) {
        double v;
        if (!fy_const_f64(given, i, &v) || v != middle) return false;
    }
    if (!given && middle != 0) return false;
    *z = fy_const_splat(&r->m->arena, c->dtype, s->rank, s->dim, middle);
    return *z || fy_no_memory(r);
}

/* x_scale times w_scale: the scale of a bias. */
static fy_value *scale_of_bias(fy_rewriting *r, fy_build *b, const fy_node *n, int xs, int ws, double more) {
    const fy_const *w = fy_fixed(fy_in(n, ws));
    double x, v;
    float *f = FY_NEWN(&r->m->arena, float, w->count + 1);
    for (int64_t i = 0; f && i < w->count; i++) {
        if (!fy_const_f64(fy_fixed(fy_in(n, xs)), 0, &x) || !fy_const_f64(w, i, &v)) return NULL;
        f[i] = (float)(more * x) * (float)v;
    }
    return fy_k_const(b, f ? fy_const_copy(&r->m->arena, FERRY_FLOAT, w->rank, w->dim, f) : NULL, NULL);
}

static bool conv(fy_rewriting *r, fy_node *n) {
    const fy_const *z;
    int64_t m;
    if (!fy_dim_at(fy_in(n, 3), 0, &m) || fy_v_rank(fy_in(n, 3)) != 4 || !fixed(n, 1, 2) || !fixed(n, 6, 7) || !weights(r, n, 3, 4, 5, m, &z)) return false;
    if (fy_in(n, 8) && !fy_fixed(fy_in(n, 8))) return false;
    fy_build b = fy_before(r, n);
    fy_value *bias = fy_in(n, 8) ? up_along(&b, fy_in(n, 8), scale_of_bias(r, &b, n, 1, 4, 1), NULL, 0) : NULL;
    fy_value *w = up_along(&b, fy_in(n, 3), fy_in(n, 4), fy_k_const(&b, z, NULL), 0);
    fy_value *y = fy_emit(&b, "Conv", FY_V(up(&b, n, 0, 1, 2), w, bias), n->nattr, n->attr);
    return fy_became(r, &b, n, down(&b, n, y, 6, 7));
}

static bool matmul(fy_rewriting *r, fy_node *n) {
    const fy_const *z;
    int64_t columns;
    if (!fixed(n, 1, 2) || !fixed(n, 6, 7) || fy_v_rank(fy_in(n, 0)) < 2) return false;
    fy_build b = fy_before(r, n);
    fy_value *w;
    if (fy_v_rank(fy_in(n, 3)) == 2 && fy_dim_at(fy_in(n, 3), 1, &columns) && weights(r, n, 3, 4, 5, columns, &z)) w = up_along(&b, fy_in(n, 3), fy_in(n, 4), fy_k_const(&b, z, NULL), 1);
    else if (!fy_fixed(fy_in(n, 3)) && fixed(n, 4, 5) && fy_v_rank(fy_in(n, 3)) >= 2) w = up(&b, n, 3, 4, 5);
    else return false;
    return fy_became(r, &b, n, down(&b, n, fy_emit(&b, "MatMul", FY_V(up(&b, n, 0, 1, 2), w), FY_NOATTR), 6, 7));
}

/* The summand is scaled as the sums are, alpha and all. */
static bool gemm(fy_rewriting *r, fy_node *n) {
    const fy_const *z;
    int64_t columns, trans = fy_attr_i(n, "transB");
    double x, alpha = fy_attr_f(n, "alpha");
    if (!fy_dim_at(fy_in(n, 3), trans ? 0 : 1, &columns) || !fixed(n, 1, 2) || (fy_in(n, 7) && !fixed(n, 7, 8)) || !weights(r, n, 3, 4, 5, columns, &z)) return false;
    if (fy_in(n, 6) && (!fy_fixed(fy_in(n, 6)) || fy_v_rank(fy_in(n, 6)) != 1 || !fy_dim_is(fy_in(n, 6)->type.dim[0], columns))) return false;
    if (!fy_const_f64(fy_fixed(fy_in(n, 1)), 0, &x)) return false;
    fy_build b = fy_before(r, n);
    fy_value *a = fy_in(n, 0), *c = NULL;
    if (fy_attr_i(n, "transA")) a = fy_b_transpose(&b, a, (const int[]){1, 0});
    if (fy_in(n, 6)) c = up_along(&b, fy_in(n, 6), scale_of_bias(r, &b, n, 1, 4, alpha), NULL, 0);
    a = fy_emit(&b, "DequantizeLinear", FY_V(a, fy_k_scalar(&b, FERRY_FLOAT, alpha * x), fy_in(n, 2)), FY_NOATTR);
    fy_value *w = up_along(&b, fy_in(n, 3), fy_in(n, 4), fy_k_const(&b, z, NULL), trans ? 0 : 1);
    fy_value *y = fy_emit(&b, "Gemm", FY_V(a, w, c), FY_A(fy_int("transB", trans)));
    return fy_became(r, &b, n, fy_in(n, 7) ? down(&b, n, y, 7, 8) : y);
}

static bool dynamic(fy_rewriting *r, fy_node *n) {
    fy_build b = fy_before(r, n);
    fy_node *q = fy_emit_n(&b, "DynamicQuantizeLinear", 3, FY_V(fy_in(n, 0)), FY_NOATTR);
    fy_value *y = q ? fy_emit(&b, "com.microsoft::MatMulIntegerToFloat", FY_V(q->out[0], fy_in(n, 1), q->out[1], fy_in(n, 2), q->out[2], fy_in(n, 3), fy_in(n, 4)), FY_NOATTR) : NULL;
    return fy_became(r, &b, n, y);
}

/* ---- with the channels last ----------------------------------------------------------------------------------------------------- */

static fy_value *turned(fy_build *b, fy_value *x, bool first) {
    int perm[FY_MAX_RANK], rank = fy_v_rank(x);
    if (rank < 3) return x;
    for (int i = 0; i < rank; i++) perm[i] = first ? (i == 0 ? 0 : i == 1 ? rank - 1 : i - 1) : (i == 0 ? 0 : i == rank - 1 ? 1 : i + 1);
    return fy_b_transpose(b, x, perm);
}

/* The attributes but one. */
static int others(const fy_node *n, const char *but, fy_attr *to, int most) {
    int k = 0;
    for (int i = 0; i < n->nattr && k < most; i++)
        if (strcmp(n->attr[i].name, but)) to[k++] = n->attr[i];
    return k;
}

/* com.microsoft's QLinearConv is ai.onnx's, seen otherwise. */
static bool conv_last(fy_rewriting *r, fy_node *n) {
    fy_attr attr[8];
    fy_value *in[9];
    fy_build b = fy_before(r, n);
    if (n->nin > 9 || fy_v_rank(fy_in(n, 0)) < 3) return false;
    const bool last = fy_attr_i(n, "channels_last") != 0;
    for (int i = 0; i < n->nin; i++) in[i] = i || !last ? fy_in(n, i) : turned(&b, fy_in(n, 0), true);
    fy_value *y = fy_emit(&b, "QLinearConv", n->nin, in, others(n, "channels_last", attr, 8), attr);
    return fy_became(r, &b, n, y && last ? turned(&b, y, false) : y);
}

/* ---- the rest of com.microsoft's ------------------------------------------------------------------------------------------------ */

static bool of_two(fy_rewriting *r, fy_node *n, const char *op) {
    if (!fixed(n, 1, 2) || !fixed(n, 4, 5) || !fixed(n, 6, 7)) return false;
    fy_build b = fy_before(r, n);
    fy_value *x = up(&b, n, 0, 1, 2), *z = up(&b, n, 3, 4, 5);
    return fy_became(r, &b, n, down(&b, n, fy_emit(&b, op, FY_V(x, z), FY_NOATTR), 6, 7));
}

static bool of_one(fy_rewriting *r, fy_node *n, const char *op) {
    fy_attr attr[8];
    if (!fixed(n, 1, 2) || !fixed(n, 3, 4)) return false;
    fy_build b = fy_before(r, n);
    const fy_attr *last = fy_attr_get(n, "channels_last");
    const bool turn = last && last->i;
    fy_value *x = fy_in(n, 0);
    if (turn) x = turned(&b, x, true);
    fy_value *y = fy_emit(&b, op, FY_V(fy_emit(&b, "DequantizeLinear", FY_V(x, fy_in(n, 1), fy_in(n, 2)), FY_NOATTR)), others(n, "channels_last", attr, 8), attr);
    y = y ? down(&b, n, y, 3, 4) : NULL;
    return fy_became(r, &b, n, y && turn ? turned(&b, y, false) : y);
}

/* Its steps are whole: 1 / scale rounded down. Before opset 13 it went over all axes from the first on. */
static bool softmax(fy_rewriting *r, fy_node *n) {
    double scale;
    int64_t axis = fy_attr_i(n, "axis");
    int rank = fy_v_rank(fy_in(n, 0));
    if (!fixed(n, 1, 2) || !fixed(n, 3, 4) || !fy_const_f64(fy_fixed(fy_in(n, 3)), 0, &scale) || rank < 1) return false;
    const float steps = 1 / (float)scale;
    if (!(scale > 0) || floorf(steps) != steps || (fy_attr_i(n, "opset") < 13 && axis != -1 && axis != rank - 1)) return false;
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, down(&b, n, fy_emit(&b, "Softmax", FY_V(up(&b, n, 0, 1, 2)), FY_A(fy_int("axis", axis))), 3, 4));
}

static fy_value *over_axes(fy_build *b, const fy_node *n, const char *op, fy_value *x) {
    int64_t count;
    const int64_t *axes = fy_attr_ints(n, "axes", &count);
    return x ? fy_emit(b, op, FY_V(x, fy_k_ints(b, count, axes)), FY_A(fy_int("keepdims", fy_attr_i(n, "keepdims")))) : NULL;
}

static bool mean(fy_rewriting *r, fy_node *n) {
    if (!fixed(n, 1, 2) || !fixed(n, 3, 4)) return false;
    fy_build b = fy_before(r, n);
    fy_value *y = over_axes(&b, n, "ReduceMean", up(&b, n, 0, 1, 2));
    return fy_became(r, &b, n, y ? down(&b, n, y, 3, 4) : NULL);
}

static bool sum(fy_rewriting *r, fy_node *n) {
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, over_axes(&b, n, "ReduceSum", fy_b_cast(&b, fy_in(n, 0), n->out[0]->type.dtype)));
}

/* Each tensor is brought to the one quantisation, then moved as bytes. */
static fy_value *again(fy_build *b, const fy_node *n, int x, int scale, int zero, int to, int to_zero) {
    fy_value *v = up(b, n, x, scale, zero);
    return v ? down(b, n, v, to, to_zero) : NULL;
}

static bool concat(fy_rewriting *r, fy_node *n) {
    fy_value *in[16];
    int count = (n->nin - 2) / 3;
    if (count < 1 || count > FY_COUNT(in) || !fixed(n, 0, 1)) return false;
    for (int i = 0; i < count; i++)
        if (!fixed(n, 3 + 3 * i, 4 + 3 * i)) return false;
    fy_build b = fy_before(r, n);
    for (int i = 0; i < count; i++) in[i] = again(&b, n, 2 + 3 * i, 3 + 3 * i, 4 + 3 * i, 0, 1);
    return fy_became(r, &b, n, b.status ? NULL : fy_b_concat(&b, count, in, (int)fy_attr_i(n, "axis")));
}

static bool where(fy_rewriting *r, fy_node *n) {
    if (!fixed(n, 2, 3) || !fixed(n, 5, 6) || !fixed(n, 7, 8)) return false;
    fy_build b = fy_before(r, n);
    fy_value *x = again(&b, n, 1, 2, 3, 7, 8), *z = again(&b, n, 4, 5, 6, 7, 8);
    return fy_became(r, &b, n, x && z ? fy_emit(&b, "Where", FY_V(fy_in(n, 0), x, z), FY_NOATTR) : NULL);
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    static const struct { const char *name; bool (*whole)(fy_rewriting *, fy_node *), (*by)(fy_rewriting *, fy_node *, const char *); const char *op; } table[] = {
        {"QLinearAdd", NULL, of_two, "Add"}, {"QLinearMul", NULL, of_two, "Mul"}, {"QLinearLeakyRelu", NULL, of_one, "LeakyRelu"}, {"QLinearSigmoid", NULL, of_one, "Sigmoid"},
        {"QLinearAveragePool", NULL, of_one, "AveragePool"}, {"QLinearGlobalAveragePool", NULL, of_one, "GlobalAveragePool"}, {"QLinearSoftmax", softmax, NULL, NULL},
        {"QLinearReduceMean", mean, NULL, NULL}, {"QLinearConcat", concat, NULL, NULL}, {"QLinearWhere", where, NULL, NULL}, {"QGemm", gemm, NULL, NULL}, {"QLinearConv", conv_last, NULL, NULL},
        {"DynamicQuantizeMatMul", dynamic, NULL, NULL}, {"ReduceSumInteger", sum, NULL, NULL},
    };
    if (!n->out[0] || !n->out[0]->type.dtype) return false;
    if (fy_is(n, "QLinearConv")) return conv(r, n);
    if (fy_is(n, "QLinearMatMul")) return matmul(r, n);
    for (int i = 0; i < FY_COUNT(table); i++)
        if (ms(n, table[i].name)) return table[i].whole ? table[i].whole(r, n) : table[i].by(r, n, table[i].op);
    return false;
}

fy_status fy_pass_qlinear(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return o->bytes ? fy_each_node(m, o, changes, e, rewrite) : FY_OK; }
