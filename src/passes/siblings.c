/* SPDX-License-Identifier: Apache-2.0
 * siblings.c - products of one value with several constant matrices (queries, keys and values of attention) -> one product with the
 * matrices side by side, and Split. Weights and biases are concatenated as recipes, so nothing is copied. Done where nodes become fewer:
 * two products with biases, or three without. */
#include "passes/match.h"

#define MAX_SIBLINGS 16

typedef struct sibling { fy_node *product, *add; const fy_const *bias; int64_t n; } sibling;

/* Weights that only p reads, [k, n] or with transB [n, k]; and the Add with a constant vector after it, if there is one. */
static bool sibling_of(fy_node *p, const fy_node *first, sibling *s) {
    const fy_const *w = fy_fixed(fy_in(p, 1)), *w0 = fy_fixed(fy_in(first, 1));
    bool gemm = fy_is(p, "Gemm");
    if (p->op != first->op || p->graph != first->graph || !w || w->rank != 2 || fy_in(p, 1)->nuses != 1 || w->dtype != w0->dtype || p->out[0]->is_output || !p->out[0]->nuses)
        return false;
    bool rows = gemm && fy_attr_i(p, "transB");
    if (gemm && (fy_attr_i(p, "transA") || fy_attr_i(first, "transA") || rows != (fy_attr_i(first, "transB") != 0) || fy_attr_f(p, "alpha") != 1 || fy_attr_f(p, "beta") != 1)) return false;
    if (w->dim[rows] != w0->dim[rows]) return false;
    *s = (sibling){.product = p, .n = w->dim[!rows]};
    if (gemm) {
        s->bias = fy_fixed(fy_in(p, 2));
        return fy_in(p, 2) ? s->bias && s->bias->rank == 1 && s->bias->count == s->n && s->bias->dtype == w->dtype : true;
    }
    fy_node *add = fy_sole(p->out[0]) && fy_is(p->out[0]->uses->user, "Add") ? p->out[0]->uses->user : NULL;
    const fy_const *b = add ? fy_fixed(fy_other(add, p->out[0])) : NULL;
    if (b && b->rank == 1 && b->count == s->n && b->dtype == w->dtype && !add->out[0]->is_output && fy_v_rank(add->out[0]) == fy_v_rank(p->out[0])) {
        if (!add->out[0]->nuses) return false;
        s->add = add;
        s->bias = b;
    }
    return true;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    sibling s[MAX_SIBLINGS];
    const fy_const *w[MAX_SIBLINGS], *b[MAX_SIBLINGS];
    int64_t size[MAX_SIBLINGS];
    fy_value *x = fy_in(n, 0);
    bool gemm = fy_is(n, "Gemm");
    int k = 0, biased = 0;
    if ((!gemm && !fy_is(n, "MatMul")) || !n->out[0] || !x || x->nuses < 2 || x->nuses > 64 || fy_v_rank(x) < 2 || !fy_fixed(fy_in(n, 1)) || !fy_is_float(n->out[0])) return false;
    for (const fy_use *u = x->uses; u && k < MAX_SIBLINGS; u = u->next)
        if (u->user && u->slot == 0 && !u->capture && sibling_of(u->user, n, &s[k])) biased += s[k++].bias != NULL;
    if (k < 2 || (biased && biased != k) || (gemm || !biased ? k < 3 : false)) return false;
    bool rows = gemm && fy_attr_i(n, "transB");
    for (int i = 0; i < k; i++) {        /* uses are listed last first */
        const sibling *q = &s[k - 1 - i];
        w[i] = fy_in(q->product, 1)->constant;
        b[i] = q->bias;
        size[i] = q->n;
    }
    fy_arena *a = &r->m->arena;
    fy_node *first = x->def && x->graph == n->graph ? x->def->next : n->graph->first;
    fy_build bld = fy_before(r, n);
    bld.before = first;
    fy_value *vw = fy_k_const(&bld, fy_const_concat(a, k, w, !rows), NULL), *vb = biased ? fy_k_const(&bld, fy_const_concat(a, k, b, 0), NULL) : NULL, *y;
    if (gemm) y = fy_emit(&bld, "Gemm", FY_V(x, vw, vb), FY_A(fy_int("transB", rows)));
    else y = fy_emit(&bld, "MatMul", FY_V(x, vw), FY_NOATTR);
    if (!gemm && vb && y) y = fy_emit(&bld, "Add", FY_V(y, vb), FY_NOATTR);
    fy_node *cut = y ? fy_emit_n(&bld, "Split", k, FY_V(y, fy_k_ints(&bld, k, size)), FY_A(fy_int("axis", -1))) : NULL;
    if (!cut) return fy_unmade(r, &bld);
    for (int i = 0; i < k; i++) {
        const sibling *q = &s[k - 1 - i];
        fy_value *v = q->add ? q->add->out[0] : q->product->out[0];
        cut->out[i]->name = v->name;
        v->name = NULL;
        fy_value_replace(v, cut->out[i]);    /* the old ones are dead now */
    }
    return true;
}

fy_status fy_pass_siblings(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return o->reweigh ? fy_each_node(m, o, changes, e, rewrite) : FY_OK; }
