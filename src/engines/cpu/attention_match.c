/* SPDX-License-Identifier: Apache-2.0
 * attention_match.c - finds attention: the operator, or softmax(scale Q K^T + mask) V spelled out, and what leads to it without computing:
 * transposes of heads, and Split of one product into Q, K and V. Everything found is inside the step; nothing is moved for it. */
#include "engines/cpu/attention.h"

#include <string.h>

static bool is(const fy_node *n, const char *op) { return n && !*n->op->domain && !strcmp(n->op->name, op); }
static const fy_node *made(const fy_value *v, const char *op) { return v && is(v->def, op) ? v->def : NULL; }

static bool take(fy_cover *c, const fy_node *n) {
    if (c->n == FY_COVER) return false;
    c->node[c->n++] = n;
    return true;
}

static int input(fy_cover *c, const fy_value *v) {
    if (!v || c->nin == FY_COVER) return -1;
    c->in[c->nin++] = v;
    return c->nin - 1;
}

static bool scalar(const fy_value *v, double *x) { return v && v->constant && v->constant->count == 1 && fy_const_f64(v->constant, 0, x); }

/* v / scale, through a product with a number. */
static const fy_value *unscaled(fy_cover *c, const fy_value *v, double *scale) {
    double x;
    while (v && fy_cpu_inner(v) && v->def && (is(v->def, "Mul") || is(v->def, "Div"))) {
        const fy_node *n = v->def;
        bool div = is(n, "Div");
        int by = scalar(fy_in(n, 1), &x) ? 1 : !div && scalar(fy_in(n, 0), &x) ? 0 : -1;
        if (by < 0 || x == 0 || fy_in(n, 1 - by)->type.rank != v->type.rank || !fy_cpu_f32(fy_in(n, 1 - by))) return v;
        *scale *= div ? 1 / x : x;
        if (!take(c, n)) return v;
        v = fy_in(n, 1 - by);
    }
    return v;
}

/* Through a transpose that only this step reads. */
static const fy_value *moved(fy_cover *c, const fy_value *v, fy_operand *o, bool last_stays) {
    const fy_node *t = fy_cpu_inner(v) ? made(v, "Transpose") : NULL;
    int64_t n = 0;
    const int64_t *p = t ? fy_attr_ints(t, "perm", &n) : NULL;
    if (!p || n != o->rank || (last_stays && p[o->perm[o->rank - 1]] != n - 1) || !take(c, t)) return v;
    for (int i = 0; i < o->rank; i++) o->perm[i] = (int)p[o->perm[i]];
    return fy_in(t, 0);
}

static void start(fy_operand *o, const fy_value *v) {
    *o = (fy_operand){.rank = v->type.rank};
    for (int i = 0; i < 4; i++) o->perm[i] = i;
}

/* Where heads come from: a part of a Split along the last axis, perhaps with the heads made an axis of their own. */
static const fy_node *part_of(const fy_value *v, int rank, int *slot) {
    int64_t h, d, w, axis;
    if (!fy_cpu_inner(v)) return NULL;
    if (rank == 4) {
        const fy_node *r = made(v, "Reshape");
        if (!r || v->type.rank != 4 || !fy_cpu_f32(fy_in(r, 0)) || fy_in(r, 0)->type.rank != 3) return NULL;
        if (!fy_dim_known(v->type.dim[2], &h) || !fy_dim_known(v->type.dim[3], &d) || !fy_dim_known(fy_in(r, 0)->type.dim[2], &w) || h * d != w) return NULL;
        v = fy_in(r, 0);
        if (!fy_cpu_inner(v)) return NULL;
    }
    const fy_node *s = made(v, "Split");
    if (!s || v->type.rank != 3 || !fy_cpu_f32(fy_in(s, 0))) return NULL;
    axis = fy_attr_i(s, "axis");
    *slot = v->def_slot;
    return axis == 2 || axis == -1 ? s : NULL;
}

static bool whole(const fy_value *v, int64_t *w) { return v && v->type.rank == 3 && fy_dim_known(v->type.dim[2], w); }

/* Q, K and V as parts of one value: nobody else may read the parts. */
static void split_apart(fy_cover *c, fy_operand *const *o) {
    const fy_node *s = NULL;
    int slot[3];
    bool used[3] = {false, false, false};
    int64_t total, w[3], at = 0;
    for (int i = 0; i < 3; i++) {
        const fy_node *from = part_of(o[i]->seen, o[i]->heads ? 3 : o[i]->rank, &slot[i]);
        if (!from || (s && from != s) || from->nout != 3 || slot[i] > 2 || used[slot[i]]) return;
        used[slot[i]] = true;
        s = from;
    }
    for (int i = 0; i < 3; i++)
        if (!whole(s->out[i], &w[i])) return;
    if (!whole(fy_in(s, 0), &total) || w[0] + w[1] + w[2] != total || c->n + 4 > FY_COVER) return;
    for (int i = 0; i < 3; i++)
        if (is(o[i]->seen->def, "Reshape")) (void)take(c, o[i]->seen->def);
    (void)take(c, s);
    int in = input(c, fy_in(s, 0));
    int64_t start_of[3];
    for (int i = 0; i < 3; at += w[i++]) start_of[i] = at;
    for (int i = 0; i < 3; i++) {
        o[i]->in = in;
        o[i]->row = total;
        o[i]->offset = start_of[slot[i]];
    }
}

static bool operands(fy_cover *c, fy_attention *t) {
    fy_operand *const all[3] = {&t->q, &t->k, &t->v};
    for (int i = 0; i < 3; i++) all[i]->in = -1;
    split_apart(c, all);
    for (int i = 0; i < 3; i++)
        if (all[i]->in < 0 && (all[i]->in = input(c, all[i]->seen)) < 0) return false;
    return true;
}

static bool optional(fy_cover *c, const fy_value *v, int *in) {
    *in = -1;
    return !v || (*in = input(c, v)) >= 0;
}

static bool cover_operator(const fy_node *n, fy_cover *c, fy_attention *t) {
    const fy_value *v[7];
    for (int i = 0; i < 7; i++) v[i] = fy_in(n, i);
    for (int i = 0; i < 3; i++)
        if (!fy_cpu_f32(v[i]) || v[i]->type.rank != v[0]->type.rank) return false;
    if ((v[0]->type.rank != 3 && v[0]->type.rank != 4) || (n->nout > 3 && n->out[3]) || !fy_outv(n, 0)) return false;
    if (v[3] && (v[3]->type.kind != FY_TENSOR || v[3]->type.rank < 0 || (v[3]->type.dtype != FERRY_FLOAT && v[3]->type.dtype != FERRY_BOOL))) return false;
    if ((v[4] || v[5]) && !(fy_cpu_f32(v[4]) && fy_cpu_f32(v[5]) && v[4]->type.rank == 4 && v[5]->type.rank == 4)) return false;
    bool present = (n->nout > 1 && n->out[1]) || (n->nout > 2 && n->out[2]);
    for (int i = 1; i < 3 && i < n->nout; i++)
        if (n->out[i] && !fy_cpu_f32(n->out[i])) return false;
    const fy_attr *scale = fy_attr_get(n, "scale");
    fy_operand *const all[3] = {&t->q, &t->k, &t->v};
    for (int i = 0; i < 3; i++) {
        fy_operand *o = all[i];
        start(o, v[i]);
        o->seen = v[i];
        if (o->rank == 3) {
            const fy_attr *heads = fy_attr_get(n, i ? "kv_num_heads" : "q_num_heads");
            if (!heads || heads->i < 1) return false;
            o->heads = heads->i;
        }
        else if (!present && !v[4]) o->seen = moved(c, v[i], o, i != 1);
    }
    t->scale = scale ? scale->f : 0;
    if (scale && scale->f == 0) return false;
    t->cap = fy_attr_f(n, "softcap");
    t->causal = fy_attr_i(n, "is_causal") != 0;
    t->left = fy_attr_i(n, "left_window_size");
    t->right = fy_attr_i(n, "right_window_size");
    t->grouped = true;
    t->fill = -(double)__builtin_inff();
    t->out_heads = v[0]->type.rank == 3;
    t->out_rank = t->out_heads ? 3 : 4;
    if (!operands(c, t)) return false;
    return optional(c, v[3], &t->mask) && optional(c, v[4], &t->past_k) && optional(c, v[5], &t->past_v) && optional(c, v[6], &t->valid);
}

/* The softmax that p is, perhaps with 0 for rows that see nothing. */
static const fy_node *softmax_of(fy_cover *c, const fy_value *p, fy_attention *t) {
    double x;
    const fy_node *w = made(p, "Where"), *nan = w ? made(fy_in(w, 0), "IsNaN") : NULL;
    t->empty_nan = true;
    if (nan && fy_cpu_inner(p) && fy_cpu_inner(fy_in(w, 0)) && fy_in(nan, 0) == fy_in(w, 2) && scalar(fy_in(w, 1), &x) && x == 0 && fy_in(w, 2)->nuses == 2 && !fy_in(w, 2)->is_output) {
        if (!take(c, w) || !take(c, nan)) return NULL;
        p = fy_in(w, 2);
        t->empty_nan = false;
    } else if (!fy_cpu_inner(p)) return NULL;
    const fy_node *s = made(p, "Softmax");
    int64_t axis = s ? fy_attr_i(s, "axis") : 0;
    return s && fy_cpu_f32(p) && (axis == -1 || axis == p->type.rank - 1) && take(c, s) ? s : NULL;
}

/* The mask between product and softmax: added, or a choice. */
static const fy_value *masked(fy_cover *c, const fy_value *x, fy_attention *t, const fy_value **mask) {
    *mask = NULL;
    if (!fy_cpu_inner(x) || !x->def) return x;
    const fy_node *n = x->def;
    double fill;
    if (is(n, "Where") && scalar(fy_in(n, 2), &fill) && fy_in(n, 2)->type.rank <= x->type.rank && fy_in(n, 0)->type.dtype == FERRY_BOOL) {
        *mask = fy_in(n, 0);
        t->fill = fill;
        return take(c, n) ? fy_in(n, 1) : NULL;
    }
    if (!is(n, "Add")) return x;
    for (int i = 0; i < 2; i++) {
        const fy_value *u = fy_in(n, i), *m = fy_in(n, 1 - i);
        if (!fy_cpu_inner(u) || !u->def || (!is(u->def, "MatMul") && !is(u->def, "Mul") && !is(u->def, "Div")) || !fy_cpu_f32(m)) continue;
        *mask = m;
        return take(c, n) ? u : NULL;
    }
    return x;
}

static bool cover_product(const fy_node *n, fy_cover *c, fy_attention *t) {
    const fy_value *v = fy_in(n, 1), *mask;
    double scale = 1;
    if (!fy_cpu_f32(fy_in(n, 0)) || !fy_cpu_f32(v) || !fy_outv(n, 0) || v->constant) return false;
    t->fill = -(double)__builtin_inff();
    const fy_node *s = softmax_of(c, fy_in(n, 0), t);
    const fy_value *x = s ? fy_in(s, 0) : NULL;
    int rank = x ? x->type.rank : 0;
    if (rank < 3 || rank > 4 || v->type.rank != rank) return false;
    x = masked(c, x, t, &mask);
    if (!x || !fy_cpu_f32(x) || x->type.rank != rank || (mask && (mask->type.kind != FY_TENSOR || mask->type.rank < 0 || mask->type.rank > rank))) return false;
    x = unscaled(c, x, &scale);
    if (!fy_cpu_inner(x) || !is(x->def, "MatMul")) return false;
    const fy_node *qk = x->def;
    const fy_value *q = fy_in(qk, 0), *k = fy_in(qk, 1);
    if (!fy_cpu_f32(q) || !fy_cpu_f32(k) || q->type.rank != rank || k->type.rank != rank || k->constant || !take(c, qk)) return false;
    q = unscaled(c, q, &scale);
    k = unscaled(c, k, &scale);
    start(&t->q, q);
    start(&t->k, k);
    start(&t->v, v);
    t->k.perm[rank - 2] = rank - 1;      /* K, not its transpose */
    t->k.perm[rank - 1] = rank - 2;
    q = moved(c, q, &t->q, true);
    k = moved(c, k, &t->k, false);
    double more = 1;
    const fy_value *u = unscaled(c, k, &more);
    if (u != k) {
        scale *= more;
        k = moved(c, u, &t->k, false);
    }
    t->q.seen = q;
    t->k.seen = k;
    t->v.seen = moved(c, v, &t->v, true);
    if (!(scale > 1e-30 && scale < 1e30)) return false;
    t->scale = scale;
    t->left = t->right = t->past_k = t->past_v = t->valid = -1;
    t->out_rank = rank;
    return operands(c, t) && optional(c, mask, &t->mask);
}

bool fy_attention_cover(const fy_node *n, fy_cover *c, fy_arena *a) {
    fy_attention t = {.scale = 0};
    for (int i = 0; i < 4; i++) t.out[i] = i;
    if (!(is(n, "MatMul") ? cover_product(n, c, &t) : cover_operator(n, c, &t))) return false;
    c->data = fy_arena_copy(a, &t, 1, sizeof t);
    return c->data != NULL;
}
