/* SPDX-License-Identifier: Apache-2.0
 * rotary.c - x * cos + rotate(x) * sin with rotate(x) = concat(-x2, x1) of the halves of the last axis -> RotaryEmbedding (opset 23), where cos and
 * sin are proved to repeat their first half: they come from concat(f, f). Source: Su et al., "RoFormer", 2021. */
#include "passes/match.h"

/* Does v repeat the first half of its last axis, by the way it is made? */
static bool repeats(const fy_value *v) {
    for (int steps = 0; v && v->def && steps < 8; steps++) {
        const fy_node *n = v->def;
        if (fy_is(n, "Concat")) {
            int64_t axis = fy_attr_i(n, "axis");
            return n->nin == 2 && fy_in(n, 0) == fy_in(n, 1) && (axis == -1 || axis == fy_v_rank(v) - 1);
        }
        double c;
        fy_value *x;
        if (fy_is(n, "Cos") || fy_is(n, "Sin") || fy_is(n, "Cast")) v = fy_in(n, 0);
        else if (fy_with_scalar(n, "Mul", &x, &c)) v = x;
        else return false;
    }
    return false;
}

/* The [batch, length, size] that v has one more axis of 1 in place 1 than. */
static fy_value *cache_of(const fy_value *v, const fy_value *x) {
    fy_node *n = fy_made(v, "Unsqueeze");
    int64_t axis, k;
    fy_value *c = n ? fy_in(n, 0) : NULL;
    if (!n || fy_v_rank(c) != 3 || !fy_ints_of(n, 1, &axis, 1, &k) || k != 1 || (axis != 1 && axis != -3)) return NULL;
    if (c->type.dim[0] != x->type.dim[0] || c->type.dim[1] != x->type.dim[2] || c->type.dim[2] != x->type.dim[3]) return NULL;
    return repeats(c) ? c : NULL;
}

/* Half k of x along its last axis. */
static bool is_half(const fy_value *v, const fy_value *x, int k, int64_t size) {
    if (!v || !v->def || fy_in(v->def, 0) != x) return false;
    const fy_node *n = v->def;
    int64_t b, e, a = 0, s = 1, count;
    if (fy_is(n, "Split")) {
        a = fy_attr_i(n, "axis");
        return n->nout == 2 && n->out[k] == v && (a == -1 || a == 3) && fy_dim_is(v->type.dim[3], size / 2);
    }
    if (!fy_is(n, "Slice") || !fy_ints_of(n, 1, &b, 1, &count) || !fy_ints_of(n, 2, &e, 1, &count) || !fy_in(n, 3) || !fy_ints_of(n, 3, &a, 1, &count)) return false;
    if ((a != -1 && a != 3) || (fy_in(n, 4) && (!fy_ints_of(n, 4, &s, 1, &count) || s != 1))) return false;
    if (b < 0) b += size;
    return b == k * (size / 2) && fy_dim_is(v->type.dim[3], size / 2);
}

static bool turned(const fy_value *v, const fy_value *x, int64_t size) {
    fy_node *n = fy_made(v, "Concat"), *neg = n && n->nin == 2 ? fy_from(n, 0, "Neg") : NULL;
    int64_t axis = n ? fy_attr_i(n, "axis") : 0;
    return neg && fy_sole(v) && (axis == -1 || axis == 3) && is_half(fy_in(neg, 0), x, 1, size) && is_half(fy_in(n, 1), x, 0, size);
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (r->opset < 23 || !fy_is(n, "Add") || !n->out[0] || !fy_is_float(n->out[0]) || fy_dtype_of(n->out[0]) == FERRY_DOUBLE) return false;
    for (int i = 0; i < 2; i++) {
        fy_node *a = fy_from(n, i, "Mul"), *b = fy_from(n, 1 - i, "Mul");
        if (!a || !b || !fy_sole(fy_in(n, i)) || !fy_sole(fy_in(n, 1 - i))) return false;
        for (int k = 0; k < 4; k++) {
            fy_value *x = fy_in(a, k & 1), *cos_ = fy_in(a, 1 - (k & 1)), *t = fy_in(b, k >> 1), *sin_ = fy_in(b, 1 - (k >> 1)), *half[2];
            int64_t size;
            if (fy_v_rank(x) != 4 || !fy_dim_at(x, 3, &size) || size < 2 || size % 2 || !turned(t, x, size) || !fy_same_type(x, n->out[0])) continue;
            half[0] = cache_of(cos_, x);
            half[1] = cache_of(sin_, x);
            if (!half[0] || !half[1]) continue;
            fy_build w = fy_before(r, n);
            int64_t zero = 0, mid = size / 2;
            for (int h = 0; h < 2; h++) half[h] = fy_b_slice(&w, half[h], 2, fy_k_ints(&w, 1, &zero), fy_k_ints(&w, 1, &mid), NULL);
            return fy_became(r, &w, n, fy_emit(&w, "RotaryEmbedding", FY_V(x, half[0], half[1]), FY_NOATTR));
        }
    }
    return false;
}

fy_status fy_pass_rotary(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
