/* SPDX-License-Identifier: Apache-2.0
 * attention.c - softmax(scale * Q K^T + mask) V -> Attention (opset 23), on [batch, heads, length, size]. The scale may be spread over Q, K and
 * the product; the mask is added, or chosen by Where against -infinity. Heads that are only reshaped and transposed into place, and back, stay
 * where they are: [batch, length, heads * size]. Source: Vaswani et al., "Attention Is All You Need", 2017. */
#include "passes/match.h"

#include <math.h>
#include <string.h>

/* v / scale, through factors that only it needs. */
static fy_value *unscaled(fy_value *v, double *scale) {
    double a, b;
    fy_value *u = fy_sole(v) ? fy_affine(v, &a, &b) : v;
    if (!u || u == v || a != 0 || fy_v_rank(u) != fy_v_rank(v)) return v;
    *scale *= b;
    return u;
}

/* K of a K^T: with the last axes in place, made anew where the transpose did more. */
static fy_value *keys(fy_rewriting *r, fy_build *b, fy_value *v, double *scale, bool *same) {
    v = unscaled(v, scale);
    fy_node *t = fy_made(v, "Transpose");
    int64_t n;
    const int64_t *p = t ? fy_attr_ints(t, "perm", &n) : NULL;
    *same = false;
    if (!p || n != 4 || !fy_sole(v)) return NULL;
    fy_value *u = unscaled(fy_in(t, 0), scale);
    if (p[0] == 0 && p[1] == 1 && p[2] == 3) return u;
    *same = true;                        /* a transpose stays in the transpose's place */
    int64_t back[4] = {p[0], p[1], p[3], p[2]};
    (void)r;
    return fy_emit(b, "Transpose", FY_V(u), FY_A(fy_ints("perm", 4, back)));
}

static bool minus_infinity(const fy_value *v) {
    double c;
    return fy_splat(v, &c) && c < -1e30;
}

static bool mask_fits(const fy_value *mask, const fy_value *scores) {
    int rank = fy_v_rank(mask);
    if (rank < 2 || rank > 4 || (fy_dtype_of(mask) != FERRY_BOOL && fy_dtype_of(mask) != fy_dtype_of(scores))) return false;
    for (int i = 0; i < rank; i++) {
        const fy_dim *d = mask->type.dim[i], *s = scores->type.dim[4 - rank + i];
        if (d != s && (i == rank - 1 || !fy_dim_is(d, 1))) return false;
    }
    return true;
}

/* The softmax that p is, perhaps with 0 for rows that see nothing. */
static fy_node *softmax_of(fy_value *p) {
    double c;
    fy_node *w = fy_made(p, "Where"), *nan = w ? fy_from(w, 0, "IsNaN") : NULL;
    if (nan && fy_sole(p) && fy_in(nan, 0) == fy_in(w, 2) && fy_splat(fy_in(w, 1), &c) && c == 0 && fy_in(w, 2)->nuses == 2 && !fy_in(w, 2)->is_output) p = fy_in(w, 2);
    else if (!fy_sole(p)) return NULL;
    fy_node *s = fy_made(p, "Softmax");
    int64_t axis = s ? fy_attr_i(s, "axis") : 0;
    return s && fy_v_rank(p) == 4 && (axis == -1 || axis == 3) ? s : NULL;
}

static bool swaps_middle(const fy_node *t) {
    int64_t n;
    const int64_t *p = t ? fy_attr_ints(t, "perm", &n) : NULL;
    return p && n == 4 && p[0] == 0 && p[1] == 2 && p[2] == 1 && p[3] == 3;
}

/* The [batch, length, heads * size] that v, [batch, heads, length, size], was made of. */
static fy_value *flat(const fy_value *v) {
    fy_node *t = fy_made(v, "Transpose"), *s = swaps_middle(t) ? fy_from(t, 0, "Reshape") : NULL;
    fy_value *x = s ? fy_in(s, 0) : NULL;
    int64_t heads, size, width;
    if (!x || fy_v_rank(x) != 3 || fy_v_rank(v) != 4 || x->type.dim[0] != v->type.dim[0] || x->type.dim[1] != v->type.dim[2]) return NULL;
    return fy_dim_at(v, 1, &heads) && fy_dim_at(v, 3, &size) && fy_dim_at(x, 2, &width) && heads > 0 && width == heads * size ? x : NULL;
}

static bool three_axes(fy_rewriting *r, fy_node *n) {
    fy_node *t = fy_from(n, 0, "Transpose"), *a = swaps_middle(t) && fy_sole(fy_in(n, 0)) ? fy_from(t, 0, "Attention") : NULL;
    fy_value *in[4], *y = n->out[0];
    int64_t heads[2];
    fy_attr attr[12];
    int na = 0;
    if (!a || !y || a->nin < 3 || a->nin > 4 || !fy_sole(fy_in(t, 0)) || fy_v_rank(y) != 3 || fy_v_rank(fy_in(a, 0)) != 4 || a->nattr > 9) return false;
    for (int i = 1; i < a->nout; i++)
        if (a->out[i] && a->out[i]->nuses) return false;
    for (int i = 0; i < 3; i++)
        if (!(in[i] = flat(fy_in(a, i)))) return false;
    in[3] = fy_in(a, 3);
    const fy_value *z = fy_in(n, 0);     /* [batch, length, heads, size] */
    if (!fy_dim_at(fy_in(a, 0), 1, &heads[0]) || !fy_dim_at(fy_in(a, 1), 1, &heads[1]) || y->type.dim[0] != z->type.dim[0] || y->type.dim[1] != z->type.dim[1]) return false;
    for (int i = 0; i < a->nattr; i++)
        if (strcmp(a->attr[i].name, "q_num_heads") && strcmp(a->attr[i].name, "kv_num_heads")) attr[na++] = a->attr[i];
    attr[na++] = fy_int("q_num_heads", heads[0]);
    attr[na++] = fy_int("kv_num_heads", heads[1]);
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, fy_emit(&b, "Attention", 4, in, na, attr));
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (fy_is(n, "Reshape")) return three_axes(r, n);
    if (r->opset < 23 || !fy_is(n, "MatMul") || !n->out[0] || !fy_is_float(n->out[0])) return false;
    fy_node *s = softmax_of(fy_in(n, 0));
    fy_value *x = s ? fy_in(s, 0) : NULL, *mask = NULL, *v = fy_in(n, 1);
    if (!x || !fy_sole(x) || fy_v_rank(v) != 4) return false;
    double scale = 1;
    if (fy_is(x->def, "Where") && minus_infinity(fy_in(x->def, 2))) {
        mask = fy_in(x->def, 0);
        x = fy_in(x->def, 1);
    } else if (fy_is(x->def, "Add")) {
        for (int i = 0; i < 2 && !mask; i++) {
            double none = 1;
            fy_value *u = fy_in(x->def, i);
            if (!fy_sole(u) || !fy_is(unscaled(u, &none)->def, "MatMul")) continue;
            mask = fy_in(x->def, 1 - i);
            x = u;
        }
    }
    if (!fy_sole(x) || (mask && !mask_fits(mask, x))) return false;
    x = unscaled(x, &scale);
    fy_node *qk = fy_made(x, "MatMul");
    if (!qk || !fy_sole(x) || fy_v_rank(x) != 4) return false;
    fy_value *q = unscaled(fy_in(qk, 0), &scale), *kt = fy_in(qk, 1);
    if (fy_v_rank(q) != 4 || fy_v_rank(kt) != 4) return false;
    for (int i = 0; i < 2; i++)
        if (q->type.dim[i] != kt->type.dim[i] || q->type.dim[i] != v->type.dim[i]) return false;
    int64_t heads, size;
    if (!fy_dim_at(q, 1, &heads) || !fy_dim_at(q, 3, &size) || !isfinite(scale) || !(scale > 0)) return false;
    fy_build b = fy_before(r, n);
    bool same;
    fy_value *k = keys(r, &b, kt, &scale, &same);
    if (!k) return b.status ? fy_unmade(r, &b) : false;
    return fy_became(r, &b, n, fy_emit(&b, "Attention", FY_V(q, k, v, mask), FY_A(fy_float("scale", scale))));
}

fy_status fy_pass_attention(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
