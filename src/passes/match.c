/* SPDX-License-Identifier: Apache-2.0
 * match.c - questions about nodes and changes to them, as the rewriting passes ask and make them. */
#include "passes/match.h"

#include <math.h>
#include <string.h>

fy_status fy_each_node(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e, bool (*rewrite)(fy_rewriting *r, fy_node *n)) {
    fy_rewriting r = {.m = m, .o = o, .opset = o->opset ? o->opset : FY_CANONICAL_OPSET, .e = e};
    fy_graph_list all = {0};
    r.status = fy_all_graphs(&all, m, e);
    for (int64_t i = 0; !r.status && i < all.n; i++)
        for (fy_node *n = all.at[i]->first, *next; !r.status && n; n = next) {
            next = n->next;
            r.changes += rewrite(&r, n);
        }
    for (int64_t i = all.n - 1; !r.status && r.changes && i > 0; i--)        /* what bodies read may be something else now */
        if (all.at[i]->owner && !fy_node_collect_captures(all.at[i]->owner)) r.status = fy_nomem(e);
    fy_free(all.at);
    *changes += r.changes;
    return r.status;
}

/* ---- questions ------------------------------------------------------------------------------------------------------ */

bool fy_is(const fy_node *n, const char *op) { return n && !*n->op->domain && !strcmp(n->op->name, op); }
fy_node *fy_made(const fy_value *v, const char *op) { return v && v->def && v->def_slot == 0 && fy_is(v->def, op) ? v->def : NULL; }
fy_node *fy_from(const fy_node *n, int i, const char *op) { return n ? fy_made(fy_in(n, i), op) : NULL; }
bool fy_sole(const fy_value *v) { return v && v->def && v->nuses == 1 && !v->is_output && v->uses->user && v->uses->user->graph == v->graph; }
const fy_const *fy_fixed(const fy_value *v) { return v && v->constant && !v->is_input ? v->constant : NULL; }
int fy_v_rank(const fy_value *v) { return v && v->type.kind == FY_TENSOR ? v->type.rank : -1; }
fy_dtype fy_dtype_of(const fy_value *v) { return v && v->type.kind == FY_TENSOR ? v->type.dtype : FERRY_UNDEFINED; }
bool fy_is_float(const fy_value *v) {
    fy_dtype t = fy_dtype_of(v);
    return t == FERRY_FLOAT || t == FERRY_DOUBLE || t == FERRY_FLOAT16 || t == FERRY_BFLOAT16;
}

bool fy_waits(const fy_rewriting *r, const fy_value *v) { return r->o->halves && (fy_dtype_of(v) == FERRY_FLOAT16 || fy_dtype_of(v) == FERRY_BFLOAT16); }

bool fy_same_type(const fy_value *a, const fy_value *b) {
    return a && b && a->type.kind == FY_TENSOR && a->type.dtype && a->type.rank >= 0 && fy_type_equal(&a->type, &b->type);
}

bool fy_dim_at(const fy_value *v, int axis, int64_t *d) {
    int rank = fy_v_rank(v);
    if (axis < 0) axis += rank;
    return axis >= 0 && axis < rank && fy_dim_known(v->type.dim[axis], d);
}

bool fy_splat(const fy_value *v, double *x) {
    const fy_const *c = fy_fixed(v);
    double other;
    if (!c || c->count < 1 || c->count > 4096 || !fy_const_f64(c, 0, x)) return false;
    for (int64_t i = 1; i < c->count; i++)
        if (!fy_const_f64(c, i, &other) || !(other == *x)) return false;
    return true;
}

bool fy_scalar(const fy_value *v, const fy_value *beside, double *x) {
    const fy_const *c = fy_fixed(v);
    return c && c->count == 1 && (c->rank == 0 || fy_v_rank(beside) >= c->rank) && fy_const_f64(c, 0, x);
}

bool fy_about(fy_dtype t, double a, double x) {
    double eps = t == FERRY_DOUBLE ? 1e-7 : t == FERRY_FLOAT16 ? 1e-3 : t == FERRY_BFLOAT16 ? 8e-3 : 1e-6;
    return fabs(a - x) <= eps * fabs(x);
}

bool fy_ints_of(const fy_node *n, int i, int64_t *v, int64_t max, int64_t *count) {
    const fy_value *x = fy_in(n, i);
    const fy_const *c = fy_fixed(x);
    if (c) {
        if (c->count > max || c->rank > 1) return false;
        for (int64_t k = 0; k < c->count; k++)
            if (!fy_const_i64(c, k, &v[k])) return false;
        *count = c->count;
        return true;
    }
    if (!x || x->constant || !x->elem || x->nelem > max) return false;
    for (int64_t k = 0; k < x->nelem; k++)
        if (!fy_dim_known(x->elem[k], &v[k])) return false;
    *count = x->nelem;
    return true;
}

bool fy_axes_of(const fy_node *n, int input, int rank, int64_t *axes, int *count) {
    int64_t given[FY_MAX_RANK], k = 0;
    bool on[FY_MAX_RANK] = {false};
    *count = 0;
    if (rank < 0 || rank > FY_MAX_RANK) return false;
    if (!fy_in(n, input)) return true;
    if (!fy_ints_of(n, input, given, FY_MAX_RANK, &k)) return false;
    for (int64_t i = 0; i < k; i++) {
        int64_t a = given[i] < 0 ? given[i] + rank : given[i];
        if (a < 0 || a >= rank || on[a]) return false;
        on[a] = true;
    }
    for (int i = 0; i < rank; i++)
        if (on[i]) axes[(*count)++] = i;
    return true;
}

bool fy_with_scalar(const fy_node *n, const char *op, fy_value **x, double *c) {
    if (!fy_is(n, op) || n->nin != 2) return false;
    fy_value *a = fy_in(n, 0), *b = fy_in(n, 1);
    if (!a || !b) return false;
    if (fy_scalar(b, a, c)) { *x = a; return true; }
    if (((n->op->flags & FY_COMMUTES) || fy_is(n, "Max") || fy_is(n, "Min")) && fy_scalar(a, b, c)) { *x = b; return true; }
    return false;
}

fy_value *fy_other(const fy_node *n, const fy_value *v) {
    if (!n || n->nin != 2) return NULL;
    return fy_in(n, 0) == v ? fy_in(n, 1) : fy_in(n, 1) == v ? fy_in(n, 0) : NULL;
}

fy_value *fy_affine(fy_value *v, double *a, double *b) {
    double s = 1, t = 0, c;                                  /* what was asked for is s * v + t */
    fy_value *x;
    for (int steps = 0; v && v->def && steps < 8; steps++) {
        fy_node *n = v->def;
        if (steps && !fy_sole(v)) break;
        if (fy_with_scalar(n, "Mul", &x, &c)) s *= c;
        else if (fy_with_scalar(n, "Div", &x, &c)) s /= c;
        else if (fy_with_scalar(n, "Add", &x, &c)) t += s * c;
        else if (fy_with_scalar(n, "Sub", &x, &c)) t -= s * c;
        else if (fy_is(n, "Sub") && fy_scalar(fy_in(n, 0), fy_in(n, 1), &c)) { x = fy_in(n, 1); t += s * c; s = -s; }
        else if (fy_is(n, "Neg")) { x = fy_in(n, 0); s = -s; }
        else break;
        v = x;
    }
    *a = t;
    *b = s;
    return v;
}

/* ---- changes -------------------------------------------------------------------------------------------------------- */

bool fy_no_memory(fy_rewriting *r) {
    r->status = fy_nomem(r->e);
    return false;
}

bool fy_unmade(fy_rewriting *r, const fy_build *b) { return b->status == FY_E_NOMEM || !b->status ? fy_no_memory(r) : false; }

fy_build fy_before(fy_rewriting *r, fy_node *n) {
    return (fy_build){.g = n->graph, .before = n, .e = r->e, .scope = n->scope, .source = n->source};
}

static bool needless(const fy_node *n) {
    if (!(n->op->flags & FY_PURE) || (n->op->flags & FY_CONTROL) || n->ncap) return false;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && (n->out[i]->nuses || n->out[i]->is_output)) return false;
    return true;
}

/* The nodes to remove are a stack linked by their marks; a node gets there once, when its last use goes. */
void fy_drop(fy_node *n) {
    fy_node *top = n;
    n->mark = 0;
    while (top) {
        n = top;
        top = (fy_node *)(uintptr_t)n->mark;
        n->mark = 0;
        for (int i = 0; i < n->nin; i++) {
            fy_value *x = fy_in(n, i);
            if (!x) continue;
            fy_node_set_input(n, i, NULL);
            if (!x->def || x->nuses || !needless(x->def)) continue;
            x->def->mark = (uint64_t)(uintptr_t)top;
            top = x->def;
        }
        fy_node_remove(n);
    }
}

/* What was emitted before one failed has no use, and goes with the dead. */
bool fy_became(fy_rewriting *r, const fy_build *b, fy_node *n, fy_value *by) {
    if (b->status || !by) return fy_unmade(r, b);            /* a dtype that the new operator does not take, say */
    fy_value *v = n->out[0];
    bool output = v->is_output;
    if (!fy_replace_output(v, by)) return false;
    if (!output && !by->name) {
        by->name = v->name;
        v->name = NULL;
    }
    if (!by->doc) by->doc = v->doc;
    fy_drop(n);
    return true;
}

bool fy_is_value(fy_rewriting *r, fy_node *n, fy_value *by) {
    (void)r;
    if (!fy_replace_output(n->out[0], by)) return false;
    fy_drop(n);
    return true;
}

void fy_reroute(fy_rewriting *r, fy_node *n, int i, fy_value *v) {
    (void)r;
    fy_value *old = fy_in(n, i);
    fy_node_set_input(n, i, v);
    if (old && old->def && old->def != n && !old->nuses && needless(old->def)) fy_drop(old->def);
}

bool fy_set(fy_rewriting *r, fy_node *n, fy_attr a) { return fy_node_set_attr(n, &a) || fy_no_memory(r); }
