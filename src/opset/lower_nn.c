/* SPDX-License-Identifier: Apache-2.0
 * lower_nn.c - layers that older opsets lack, written out in operators that opset 13 has. The order of operations is that
 * of PyTorch's own kernels, so that results agree to the last bits. */
#include "opset/internal.h"

#include <math.h>
#include <string.h>

static fy_value *k(fy_step_ctx *x, fy_dtype t, double v) { return fy_k_scalar(&x->b, t, v); }

static fy_status need_float(fy_step_ctx *x, fy_dtype *t) {
    *t = fy_step_dtype(x, 0);
    FY_STEP_NEED(x, fy_dtype_float(*t), "%s must be written out for this opset, and its type is not known", x->n->op->name);
    return FY_OK;
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

/* x/2 * (1 + erf(x / sqrt 2)), or x/2 * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
fy_status fy_lower_gelu20(fy_step_ctx *x) {
    fy_dtype t;
    FY_TRY(need_float(x, &t));
    FY_OPSET_REPLACES(x);
    fy_value *v = fy_in(x->n, 0), *in;
    if (fy_step_text(x, "approximate", "tanh", "none")) {
        fy_value *cube = fy_x2(x, "Mul", fy_x2(x, "Mul", v, v), v);
        in = fy_x1(x, "Tanh", fy_x2(x, "Mul", fy_x2(x, "Add", v, fy_x2(x, "Mul", cube, k(x, t, 0.044715))), k(x, t, 0.79788456080286535588)));
    } else in = fy_x1(x, "Erf", fy_x2(x, "Mul", v, k(x, t, 0.70710678118654752440)));
    return fy_step_replace(x, fy_x2(x, "Mul", fy_x2(x, "Mul", v, k(x, t, 0.5)), fy_x2(x, "Add", in, k(x, t, 1))));
}

fy_status fy_lower_mish18(fy_step_ctx *x) {
    FY_OPSET_REPLACES(x);
    fy_value *v = fy_in(x->n, 0);
    return fy_step_replace(x, fy_x2(x, "Mul", v, fy_x1(x, "Tanh", fy_x1(x, "Softplus", v))));
}

fy_status fy_lower_swish24(fy_step_ctx *x) {
    fy_dtype t;
    FY_TRY(need_float(x, &t));
    FY_OPSET_REPLACES(x);
    fy_value *v = fy_in(x->n, 0);
    double alpha = fy_step_float(x, "alpha", 1);
    return fy_step_replace(x, fy_x2(x, "Mul", v, fy_x1(x, "Sigmoid", alpha == 1 ? v : fy_x2(x, "Mul", v, k(x, t, alpha)))));
}

fy_status fy_lower_swiglu28(fy_step_ctx *x) {
    FY_OPSET_REPLACES(x);
    fy_value *gate = fy_emit(&x->b, "Swish", FY_V(fy_in(x->n, 0)), FY_A(fy_float("alpha", fy_step_float(x, "alpha", 1))));
    return fy_step_replace(x, fy_x2(x, "Mul", gate, fy_in(x->n, 1)));
}

fy_status fy_lower_hard_swish14(fy_step_ctx *x) {
    FY_OPSET_REPLACES(x);
    fy_value *v = fy_in(x->n, 0);
    return fy_step_replace(x, fy_x2(x, "Mul", v, fy_emit(&x->b, "HardSigmoid", FY_V(v), FY_A(fy_float("alpha", 1.0 / 6), fy_float("beta", 0.5)))));
}

/* ---- normalisation ----------------------------------------------------------------------------------------------- */

/* axis .. last as a constant. */
static fy_status trailing(fy_step_ctx *x, int64_t axes[FY_MAX_RANK], int64_t *n) {
    int64_t axis = fy_step_int(x, "axis", -1);
    int rank = fy_step_rank(x, 0);
    FY_STEP_NEED(x, axis < 0 || rank >= 0, "%s must be written out for this opset, and the rank is not known", x->n->op->name);
    if (axis >= 0) axis -= rank;
    FY_NEED(x->e, axis < 0 && axis >= -FY_MAX_RANK, AXIS, "%s: axis %lld is out of range", x->n->op->name, (long long)axis);
    for (*n = 0; axis < 0; axis++) axes[(*n)++] = axis;
    return FY_OK;
}

/* The type to compute in: stash_type 1 means f32 for the half types. */
static fy_dtype stash(fy_step_ctx *x, fy_dtype t) {
    return fy_step_int(x, "stash_type", 1) == FERRY_FLOAT && (t == FERRY_FLOAT16 || t == FERRY_BFLOAT16) ? FERRY_FLOAT : t;
}

static fy_value *mean(fy_step_ctx *x, fy_value *v, fy_value *axes) { return fy_emit(&x->b, "ReduceMean", FY_V(v, axes), FY_A(fy_int("keepdims", 1))); }

/* (x - mean) / sqrt(mean((x - mean)^2) + eps) * scale + bias */
fy_status fy_lower_layer_norm17(fy_step_ctx *x) {
    fy_dtype t;
    int64_t list[FY_MAX_RANK], n;
    FY_TRY(need_float(x, &t));
    FY_TRY(trailing(x, list, &n));
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_dtype s = stash(x, t);
    fy_value *axes = fy_k_ints(b, n, list), *v = fy_b_cast(b, fy_in(x->n, 0), s), *m = mean(x, v, axes), *d = fy_x2(x, "Sub", v, m);
    fy_value *dev = fy_x1(x, "Sqrt", fy_x2(x, "Add", mean(x, fy_x2(x, "Mul", d, d), axes), k(x, s, fy_step_float(x, "epsilon", 1e-5))));
    fy_value *y = fy_b_cast(b, fy_x2(x, "Div", d, dev), t);
    if (fy_step_has(x, 1)) y = fy_x2(x, "Mul", y, fy_in(x->n, 1));
    if (fy_step_has(x, 2)) y = fy_x2(x, "Add", y, fy_in(x->n, 2));
    fy_dtype u = fy_step_int(x, "stash_type", 1) == FERRY_BFLOAT16 ? FERRY_BFLOAT16 : FERRY_FLOAT;      /* of Mean and InvStdDev, whatever the sums ran in */
    if (fy_outv(x->n, 1)) FY_TRY(fy_step_put(x, 1, fy_b_cast(b, m, u)));
    if (fy_outv(x->n, 2)) FY_TRY(fy_step_put(x, 2, fy_b_cast(b, fy_x1(x, "Reciprocal", dev), u)));
    return fy_step_replace(x, y);
}

/* x / sqrt(mean(x^2) + eps) * scale */
fy_status fy_lower_rms_norm23(fy_step_ctx *x) {
    fy_dtype t;
    int64_t list[FY_MAX_RANK], n;
    FY_TRY(need_float(x, &t));
    FY_TRY(trailing(x, list, &n));
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_dtype s = stash(x, t), out = fy_step_dtype(x, 1) ? fy_step_dtype(x, 1) : t;
    fy_value *v = fy_b_cast(b, fy_in(x->n, 0), s), *ms = mean(x, fy_x2(x, "Mul", v, v), fy_k_ints(b, n, list));
    fy_value *rms = fy_x1(x, "Sqrt", fy_x2(x, "Add", ms, k(x, s, fy_step_float(x, "epsilon", 1e-5))));
    fy_value *y = fy_b_cast(b, fy_x2(x, "Div", v, rms), out);
    return fy_step_replace(x, fy_step_has(x, 1) ? fy_x2(x, "Mul", y, fy_in(x->n, 1)) : y);
}

/* Groups as the channels of an InstanceNormalization, then scale and bias of each channel. */
fy_status fy_lower_group_norm21(fy_step_ctx *x) {
    fy_dtype t;
    FY_TRY(need_float(x, &t));
    int64_t groups = fy_step_int(x, "num_groups", 0), axes[FY_MAX_RANK], n = 0;
    int rank = fy_step_rank(x, 0);
    FY_STEP_NEED(x, rank >= 2, "GroupNormalization must be written out for this opset, and the rank is not known");
    FY_NEED(x->e, groups > 0, ATTR, "GroupNormalization with %lld groups", (long long)groups);
    for (int i = 1; i < rank - 1; i++) axes[n++] = i;
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_dtype s = stash(x, t);
    const fy_const *one = fy_const_splat(&x->m->arena, s, 1, &groups, 1), *zero = fy_const_splat(&x->m->arena, s, 1, &groups, 0);
    FY_NOMEM(x->e, one && zero);
    fy_value *in = fy_in(x->n, 0), *split = fy_k_ints(b, 3, (int64_t[]){0, groups, -1});
    fy_value *v = fy_b_cast(b, fy_x2(x, "Reshape", in, split), s);
    v = fy_emit(b, "InstanceNormalization", FY_V(v, fy_k_const(b, one, NULL), fy_k_const(b, zero, NULL)), FY_A(fy_float("epsilon", fy_step_float(x, "epsilon", 1e-5))));
    v = fy_x2(x, "Reshape", fy_b_cast(b, v, t), fy_x1(x, "Shape", in));
    fy_value *w[2];
    for (int i = 0; i < 2; i++) w[i] = n ? fy_x2(x, "Unsqueeze", fy_in(x->n, i + 1), fy_k_ints(b, n, axes)) : fy_in(x->n, i + 1);
    return fy_step_replace(x, fy_x2(x, "Add", fy_x2(x, "Mul", v, w[0]), w[1]));
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

typedef struct attention {
    fy_dtype t;
    int      rank;
    int64_t  q_heads, kv_heads, head;    /* head: size of one; -1 unknown */
    int64_t  left, right;                /* window; -1: open */
    bool     causal;
} attention;

static int64_t known(const fy_dim *d) { int64_t v; return d && fy_dim_known(d, &v) ? v : -1; }

static fy_status attention_facts(fy_step_ctx *x, attention *a) {
    FY_TRY(need_float(x, &a->t));
    a->rank = fy_step_rank(x, 0);
    FY_STEP_NEED(x, a->rank == 4 || a->rank == 3, "Attention must be written out for this opset, and the rank is not known");
    a->causal = fy_step_int(x, "is_causal", 0);
    a->left = fy_step_int(x, "left_window_size", -1);
    a->right = fy_step_int(x, "right_window_size", -1);
    int64_t last = known(fy_step_dim(x, 0, -1));
    if (a->rank == 3) {
        a->q_heads = fy_step_int(x, "q_num_heads", 0);
        a->kv_heads = fy_step_int(x, "kv_num_heads", a->q_heads);
        FY_NEED(x->e, a->q_heads > 0 && a->kv_heads > 0, ATTR, "Attention on 3-D inputs without q_num_heads");
        a->head = last > 0 ? last / a->q_heads : -1;
    } else {
        const fy_dim *q = fy_step_dim(x, 0, 1), *kv = fy_step_dim(x, 1, 1);
        a->q_heads = known(q);
        a->kv_heads = q == kv ? a->q_heads : known(kv);
        a->head = last;
        FY_STEP_NEED(x, q == kv || (a->q_heads > 0 && a->kv_heads > 0), "Attention must be written out for this opset, and the number of heads is not known");
    }
    FY_NEED(x->e, a->q_heads == a->kv_heads || (a->kv_heads > 0 && a->q_heads % a->kv_heads == 0), SHAPE, "Attention: %lld query heads for %lld key heads",
            (long long)a->q_heads, (long long)a->kv_heads);
    FY_STEP_NEED(x, a->head > 0, "Attention must be written out for this opset, and the head size is not known");
    return FY_OK;
}

/* [B, S, H*D] -> [B, H, S, D] */
static fy_value *heads(fy_step_ctx *x, const attention *a, fy_value *v, int64_t n) {
    if (a->rank == 4) return v;
    return fy_b_transpose(&x->b, fy_x2(x, "Reshape", v, fy_k_ints(&x->b, 4, (int64_t[]){0, 0, n, -1})), (int[]){0, 2, 1, 3});
}

/* [B, Hkv, T, D] -> [B, Hq, T, D]: each head repeated. */
static fy_value *repeat(fy_step_ctx *x, const attention *a, fy_value *v, int64_t size) {
    if (a->q_heads == a->kv_heads) return v;
    fy_build *b = &x->b;
    v = fy_x2(x, "Expand", fy_b_unsqueeze(b, v, 2), fy_k_ints(b, 5, (int64_t[]){1, 1, a->q_heads / a->kv_heads, 1, 1}));
    return fy_x2(x, "Reshape", v, fy_k_ints(b, 4, (int64_t[]){0, a->q_heads, -1, size}));
}

static fy_value *length(fy_step_ctx *x, fy_value *v) {
    int64_t n = v && v->type.kind == FY_TENSOR && v->type.rank == 4 ? known(v->type.dim[2]) : -1;
    return n >= 0 ? fy_k_i64(&x->b, n) : fy_x2(x, "Gather", fy_x1(x, "Shape", v), fy_k_i64(&x->b, 2));
}

/* bool [S, T]: may query i see key j? j - (i + past) within the window and, when causal, not ahead. NULL: all may. With the lengths of an
 * outer cache, nonpad [B], it is [B, 1, S, T]: keys beyond the length are not seen, and the last query stands at its end. */
static fy_value *visible(fy_step_ctx *x, const attention *a, fy_value *q, fy_value *kk, fy_value *past, fy_value *nonpad) {
    fy_build *b = &x->b;
    int64_t right = a->causal ? 0 : a->right;
    if (right < 0 && a->left < 0 && !nonpad) return NULL;
    int64_t s = q && q->type.rank == 4 ? known(q->type.dim[2]) : -1, t = kk && kk->type.rank == 4 ? known(kk->type.dim[2]) : -1;
    int64_t p = !past ? 0 : past->type.rank == 4 ? known(past->type.dim[2]) : -1;
    if (s >= 0 && t >= 0 && p >= 0 && s * t <= 1 << 20 && !nonpad) {    /* sizes are constant: so is the mask */
        bool *m = FY_NEWN(&x->m->arena, bool, s * t);
        if (!m) return fy_fail_value(b, FY_E_NOMEM, "out of memory");
        for (int64_t i = 0; i < s; i++)
            for (int64_t j = 0; j < t; j++) m[i * t + j] = (right < 0 || j - i - p <= right) && (a->left < 0 || i + p - j <= a->left);
        const fy_const *c = fy_const_bytes(&x->m->arena, FERRY_BOOL, 2, (int64_t[]){s, t}, m, (size_t)(s * t));
        return c ? fy_k_const(b, c, NULL) : fy_fail_value(b, FY_E_NOMEM, "out of memory");
    }
    fy_value *zero = fy_k_i64(b, 0), *one = fy_k_i64(b, 1);
    fy_value *row = fy_emit(b, "Range", FY_V(zero, length(x, q), one), FY_NOATTR), *col = fy_emit(b, "Range", FY_V(zero, length(x, kk), one), FY_NOATTR), *m = NULL;
    if (past) row = fy_x2(x, "Add", row, length(x, past));
    row = fy_b_unsqueeze(b, row, 1);
    if (nonpad) {
        nonpad = fy_x2(x, "Reshape", nonpad, fy_k_ints(b, 4, (int64_t[]){-1, 1, 1, 1}));
        m = fy_x2(x, "Less", col, nonpad);
        if (!past) row = fy_x2(x, "Add", row, fy_x2(x, "Sub", nonpad, length(x, q)));
    }
    if (right >= 0) {
        fy_value *r = fy_x2(x, "LessOrEqual", col, right ? fy_x2(x, "Add", row, fy_k_i64(b, right)) : row);
        m = m ? fy_x2(x, "And", m, r) : r;
    }
    if (a->left >= 0) {
        fy_value *l = fy_x2(x, "GreaterOrEqual", col, fy_x2(x, "Sub", row, fy_k_i64(b, a->left)));
        m = m ? fy_x2(x, "And", m, l) : l;
    }
    return m;
}

static fy_status attention_body(fy_step_ctx *x) {
    attention a;
    FY_TRY(attention_facts(x, &a));
    int64_t vsize = known(fy_step_dim(x, 2, -1));
    if (a.rank == 3 && vsize > 0) vsize /= a.kv_heads;
    FY_STEP_NEED(x, a.q_heads == a.kv_heads || vsize > 0, "Attention must be written out for this opset, and the size of a value head is not known");
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_value *q = heads(x, &a, fy_in(x->n, 0), a.q_heads), *kk = heads(x, &a, fy_in(x->n, 1), a.kv_heads), *v = heads(x, &a, fy_in(x->n, 2), a.kv_heads);
    fy_value *mask = fy_in(x->n, 3), *past = fy_in(x->n, 4);
    if (past) kk = fy_b_concat(b, 2, (fy_value *[]){past, kk}, 2);
    if (fy_in(x->n, 5)) v = fy_b_concat(b, 2, (fy_value *[]){fy_in(x->n, 5), v}, 2);
    fy_value *present[2] = {kk, v};
    int64_t keys = fy_step_known(kk, 2), width = fy_step_known(mask, -1);
    if (mask && keys >= 0 && width > 1 && width < keys) {      /* what a short mask does not say is not seen */
        fy_value *fill = mask->type.dtype == FERRY_BOOL ? NULL : k(x, mask->type.dtype, -(double)INFINITY);
        int64_t pads[2 * FY_MAX_RANK] = {0};
        pads[2 * mask->type.rank - 1] = keys - width;
        mask = fy_x3(x, "Pad", mask, fy_k_ints(b, 2 * mask->type.rank, pads), fill);
    }
    kk = repeat(x, &a, kk, a.head);
    v = repeat(x, &a, v, vsize);
    double scale = fy_step_float(x, "scale", 0), cap = fy_step_float(x, "softcap", 0);
    if (!fy_attr_get(x->n, "scale")) scale = 1 / sqrt((double)a.head);
    int64_t mode = fy_step_int(x, "qk_matmul_output_mode", 0);
    double root = sqrt(scale > 0 ? scale : 1);               /* on both sides, as PyTorch does: half the range for each product */
    fy_value *p, *shown[4];
    if (scale > 0) {
        p = fy_b_transpose(b, fy_x2(x, "Mul", kk, k(x, a.t, root)), (int[]){0, 1, 3, 2});
        p = fy_x2(x, "MatMul", fy_x2(x, "Mul", q, k(x, a.t, root)), p);
    } else p = fy_x2(x, "MatMul", fy_x2(x, "Mul", q, k(x, a.t, scale)), fy_b_transpose(b, kk, (int[]){0, 1, 3, 2}));
    shown[0] = p;
    if (cap != 0) p = fy_x2(x, "Mul", fy_x1(x, "Tanh", fy_x2(x, "Div", p, k(x, a.t, cap))), k(x, a.t, cap));
    shown[1] = p;
    fy_value *seen = visible(x, &a, q, kk, past, fy_in(x->n, 6)), *none = k(x, a.t, -(double)INFINITY);
    bool boolean = mask && mask->type.dtype == FERRY_BOOL;
    if (mask && !boolean) p = fy_x2(x, "Add", p, fy_b_cast(b, mask, a.t));
    if (boolean) seen = seen ? fy_x2(x, "And", mask, seen) : mask;
    if (seen) p = fy_emit(b, "Where", FY_V(seen, p, none), FY_NOATTR);
    shown[2] = p;
    fy_dtype st = (fy_dtype)fy_step_int(x, "softmax_precision", a.t);
    p = fy_emit(b, "Softmax", FY_V(fy_b_cast(b, p, st)), FY_A(fy_int("axis", -1)));
    if (mask || a.left >= 0 || fy_step_has(x, 6)) p = fy_emit(b, "Where", FY_V(fy_x1(x, "IsNaN", p), k(x, st, 0), p), FY_NOATTR);      /* a query that may see nothing gives 0 */
    p = fy_b_cast(b, p, a.t);
    shown[3] = p;
    fy_value *y = fy_x2(x, "MatMul", fy_b_cast(b, p, fy_step_dtype(x, 2) ? fy_step_dtype(x, 2) : a.t), v);
    if (a.rank == 3) y = fy_x2(x, "Reshape", fy_b_transpose(b, y, (int[]){0, 2, 1, 3}), fy_k_ints(b, 3, (int64_t[]){0, 0, -1}));
    y = fy_b_cast(b, y, a.t);
    for (int i = 0; i < 2; i++)
        if (fy_outv(x->n, i + 1)) FY_TRY(fy_step_put(x, i + 1, fy_x1(x, "Identity", present[i])));
    if (fy_outv(x->n, 3)) FY_TRY(fy_step_put(x, 3, fy_x1(x, "Identity", shown[mode & 3])));
    return fy_step_replace(x, y);
}

fy_status fy_lower_attention23(fy_step_ctx *x) { return attention_body(x); }

fy_status fy_lower_attention24(fy_step_ctx *x) {
    return fy_step_has(x, 6) ? attention_body(x) : FY_OK;
}

fy_status fy_lower_attention25(fy_step_ctx *x) {
    if (fy_step_int(x, "left_window_size", -1) >= 0 || fy_step_int(x, "right_window_size", -1) >= 0) return attention_body(x);
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "left_window_size");
    fy_node_del_attr(x->n, "right_window_size");
    return FY_OK;
}

/* Pairs (x1, x2) turned by an angle: (x1 cos - x2 sin, x1 sin + x2 cos); halves of the head, or neighbours if interleaved. */
fy_status fy_lower_rotary23(fy_step_ctx *x) {
    int rank = fy_step_rank(x, 0);
    int64_t n = fy_step_int(x, "num_heads", 0), part = fy_step_int(x, "rotary_embedding_dim", 0), head = known(fy_step_dim(x, 0, -1));
    FY_STEP_NEED(x, rank == 4 || (rank == 3 && n > 0), "RotaryEmbedding must be written out for this opset, and rank or num_heads are not known");
    if (rank == 3 && head > 0) head /= n;
    FY_STEP_NEED(x, head > 0, "RotaryEmbedding must be written out for this opset, and the head size is not known");
    int64_t rot = part ? part : head, half = rot / 2;
    FY_NEED(x->e, rot > 0 && rot <= head && rot % 2 == 0, ATTR, "RotaryEmbedding of %lld out of %lld", (long long)rot, (long long)head);
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    bool pairs = fy_step_int(x, "interleaved", 0);
    fy_value *v = fy_in(x->n, 0), *cs[2], *y[2], *rest = NULL;
    if (rank == 3) v = fy_x2(x, "Reshape", v, fy_k_ints(b, 4, (int64_t[]){0, 0, n, head}));    /* [B, S, H, D]; 4-D inputs are [B, H, S, D] */
    for (int i = 0; i < 2; i++) {
        cs[i] = fy_in(x->n, i + 1);
        if (fy_step_has(x, 3)) cs[i] = fy_emit(b, "Gather", FY_V(cs[i], fy_in(x->n, 3)), FY_A(fy_int("axis", 0)));
        cs[i] = fy_b_unsqueeze(b, cs[i], rank == 3 ? 2 : 1);
    }
#define CUT(from, to, step) fy_b_slice(b, v, 3, fy_k_ints(b, 1, (int64_t[]){from}), fy_k_ints(b, 1, (int64_t[]){to}), fy_k_ints(b, 1, (int64_t[]){step}))
    if (rot < head) rest = CUT(rot, head, 1);
    fy_value *x1 = pairs ? CUT(0, rot, 2) : CUT(0, half, 1), *x2 = pairs ? CUT(1, rot, 2) : CUT(half, rot, 1);
#undef CUT
    y[0] = fy_x2(x, "Sub", fy_x2(x, "Mul", cs[0], x1), fy_x2(x, "Mul", cs[1], x2));
    y[1] = fy_x2(x, "Add", fy_x2(x, "Mul", cs[1], x1), fy_x2(x, "Mul", cs[0], x2));
    if (pairs) for (int i = 0; i < 2; i++) y[i] = fy_b_unsqueeze(b, y[i], 4);
    v = fy_b_concat(b, 2, y, pairs ? 4 : 3);
    if (pairs) v = fy_x2(x, "Reshape", v, fy_k_ints(b, 4, (int64_t[]){0, 0, 0, rot}));
    if (rest) v = fy_b_concat(b, 2, (fy_value *[]){v, rest}, 3);
    if (rank == 3) v = fy_x2(x, "Reshape", v, fy_k_ints(b, 3, (int64_t[]){0, 0, n * head}));
    return fy_step_replace(x, v);
}

/* ---- others ------------------------------------------------------------------------------------------------------ */

/* The axis is computed, or counts from an end that is not known: as the middle one of three. */
static fy_status cumprod_anywhere(fy_step_ctx *x) {
    FY_STEP_NEED(x, fy_step_dtype(x, 0), "CumProd must be written out for this opset, and its type is not known");
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_value *v = fy_in(x->n, 0), *shape = fy_x1(x, "Shape", v), *rank = fy_x1(x, "Shape", shape), *top = fy_k_ints(b, 1, (int64_t[]){INT64_MAX}), *part[3];
    fy_value *at = fy_x2(x, "Reshape", fy_b_cast(b, fy_in(x->n, 1), FERRY_INT64), fy_k_ints(b, 1, (int64_t[]){1})), *one = fy_k_ints(b, 1, (int64_t[]){1});
    at = fy_x3(x, "Where", fy_x2(x, "Less", at, fy_k_i64(b, 0)), fy_x2(x, "Add", at, rank), at);
    part[0] = fy_emit(b, "ReduceProd", FY_V(fy_b_slice(b, shape, 0, fy_k_ints(b, 1, (int64_t[]){0}), at, NULL)), FY_A(fy_int("keepdims", 1)));
    part[1] = fy_x2(x, "Gather", shape, at);
    part[2] = fy_emit(b, "ReduceProd", FY_V(fy_b_slice(b, shape, 0, fy_x2(x, "Add", at, one), top, NULL)), FY_A(fy_int("keepdims", 1)));
    v = fy_x2(x, "Reshape", v, fy_b_concat(b, 3, part, 0));
    v = fy_emit(b, "CumProd", FY_V(v, fy_k_i64(b, 1)), FY_A(fy_int("exclusive", fy_step_int(x, "exclusive", 0)), fy_int("reverse", fy_step_int(x, "reverse", 0))));
    return fy_step_replace(x, fy_x2(x, "Reshape", v, shape));
}

/* Products of prefixes: x along a second copy of the axis, 1 where an element is not in the prefix, reduced. */
fy_status fy_lower_cumprod26(fy_step_ctx *x) {
    int64_t axis = 0, n = 0;
    int rank = fy_step_rank(x, 0);
    fy_dtype t = fy_step_dtype(x, 0);
    if (!t || rank < 1 || rank >= FY_MAX_RANK || !fy_step_ints(x, 1, &axis, 1, &n) || n != 1) return cumprod_anywhere(x);
    if (axis < 0) axis += rank;
    FY_NEED(x->e, axis >= 0 && axis < rank, AXIS, "CumProd: axis %lld of rank %d", (long long)axis, rank);
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    bool back = fy_step_int(x, "reverse", 0), excl = fy_step_int(x, "exclusive", 0);
    int64_t size = known(fy_step_dim(x, 0, axis)), ones[FY_MAX_RANK], red = axis + 1;
    fy_value *v = fy_in(x->n, 0), *count = size >= 0 ? fy_k_i64(b, size) : fy_x2(x, "Gather", fy_x1(x, "Shape", v), fy_k_i64(b, axis));
    fy_value *at = fy_emit(b, "Range", FY_V(fy_k_i64(b, 0), count, fy_k_i64(b, 1)), FY_NOATTR), *to = fy_b_unsqueeze(b, at, 1);
    fy_value *in = fy_x2(x, back ? (excl ? "Greater" : "GreaterOrEqual") : excl ? "Less" : "LessOrEqual", at, to);
    for (n = 0; axis + 1 + n < rank; n++) ones[n] = 2 + n;
    if (n) in = fy_x2(x, "Unsqueeze", in, fy_k_ints(b, n, ones));
    v = fy_emit(b, "Where", FY_V(in, fy_b_unsqueeze(b, v, (int)axis), fy_k_scalar_i(b, t, 1)), FY_NOATTR);
    return fy_step_replace(x, fy_emit(b, "ReduceProd", FY_V(v, fy_k_ints(b, 1, &red)), FY_A(fy_int("keepdims", 0))));
}

/* Columns back into an image is a transposed convolution of each channel with the unit vectors of the block. */
fy_status fy_lower_col2im18(fy_step_ctx *x) {
    int64_t image[FY_MAX_RANK], block[FY_MAX_RANK], n = 0, nb = 0, count;
    fy_dtype t;
    FY_TRY(need_float(x, &t));
    FY_STEP_NEED(x, fy_step_ints(x, 1, image, FY_MAX_RANK - 2, &n) && fy_step_ints(x, 2, block, FY_MAX_RANK - 2, &nb) && n == nb && n >= 1,
                 "Col2Im came with opset 18, and image or block are not constant");
    const int64_t *given[3];             /* strides, dilations, pads */
    static const char *const names[] = {"strides", "dilations", "pads"};
    for (int i = 0; i < 3; i++) {
        given[i] = fy_attr_ints(x->n, names[i], &count);
        FY_NEED(x->e, !given[i] || count == (i == 2 ? 2 * n : n), ATTR, "Col2Im: %s has %lld values for %lld axes", names[i], (long long)count, (long long)n);
    }
    int64_t shape[FY_MAX_RANK] = {0}, extra[FY_MAX_RANK], cells = 1, columns = known(fy_step_dim(x, 0, 1));
    for (int64_t i = 0; i < n; i++) {
        int64_t s = given[0] ? given[0][i] : 1, d = given[1] ? given[1][i] : 1, p = given[2] ? given[2][i] + given[2][n + i] : 0;
        FY_NEED(x->e, s > 0 && d > 0 && block[i] > 0 && block[i] <= 1 << 20 && cells <= 1 << 20 && image[i] > 0 && image[i] < INT32_MAX && s < INT32_MAX && d < 1 << 20 &&
                p >= 0 && p < INT32_MAX, ATTR, "Col2Im: sizes are out of range");
        int64_t room = image[i] + p - d * (block[i] - 1) - 1;
        FY_NEED(x->e, room >= 0, SHAPE, "Col2Im: the block is larger than the image");
        cells *= block[i];
        shape[2 + i] = room / s + 1;
        extra[i] = room % s;
    }
    int64_t channels = columns > 0 ? columns / cells : 0;
    FY_STEP_NEED(x, channels > 0 && channels * cells == columns && cells <= 4096 && columns <= (16 << 20) / cells, "Col2Im came with opset 18, and it is too large or its size not known");
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_dtype s = t == FERRY_BFLOAT16 ? FERRY_FLOAT : t;
    int64_t wdim[FY_MAX_RANK] = {columns, 1};
    for (int64_t i = 0; i < n; i++) wdim[2 + i] = block[i];
    unsigned char *bits = FY_NEWN(&x->m->arena, unsigned char, columns * cells);
    FY_NOMEM(x->e, bits);
    for (int64_t i = 0; i < columns; i++) bits[i * cells + i % cells] = 1;
    const fy_const *w = fy_const_bytes(&x->m->arena, FERRY_UINT8, 2 + (int)n, wdim, bits, (size_t)(columns * cells));
    w = w ? fy_const_cast(&x->m->arena, w, s) : NULL;
    FY_NOMEM(x->e, w);
    shape[1] = columns;
    fy_value *v = fy_b_cast(b, fy_x2(x, "Reshape", fy_in(x->n, 0), fy_k_ints(b, 2 + n, shape)), s);
    fy_attr a[6] = {fy_int("group", channels), fy_ints("kernel_shape", n, block), fy_ints("output_padding", n, extra)};
    int na = 3;
    for (int i = 0; i < 3; i++)
        if (given[i]) a[na++] = fy_ints(names[i], i == 2 ? 2 * n : n, given[i]);
    v = fy_emit(b, "ConvTranspose", 2, (fy_value *[]){v, fy_k_const(b, w, NULL)}, na, a);
    return fy_step_replace(x, fy_b_cast(b, v, t));
}
