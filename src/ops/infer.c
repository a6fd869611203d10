/* SPDX-License-Identifier: Apache-2.0
 * infer.c - types over a whole graph: node by node in order; control operators infer their bodies through fy_infer_graph. And of one node on
 * the sizes and contents of a run. */
#include "ops/ops.h"

#include <string.h>

fy_status fy_infer_from(fy_graph *g, fy_node **at, ferry_error *e) {
    int depth = 0;
    for (const fy_graph *p = g; p; p = p->parent) depth++;
    FY_NEED(e, depth <= FY_MAX_NESTING, LIMIT, "graphs nest deeper than %d", FY_MAX_NESTING);
    for (; *at; *at = (*at)->next) {
        fy_status s = fy_infer_node(*at, e);
        if (s != FY_OK) {
            char where[180];
            fy_node_describe(where, sizeof where, *at);
            return fy_frame(e, s, "%s", where);
        }
    }
    return FY_OK;
}

fy_status fy_infer_graph(fy_graph *g, ferry_error *e) {
    fy_node *n = g->first;
    return fy_infer_from(g, &n, e);
}

/* The sizes under the equalities that were found on the way. */
static fy_status settle_dims(fy_model *m, const fy_dim *const **list, int64_t n, ferry_error *e) {
    const fy_dim **fresh = NULL;
    for (int64_t i = 0; i < n; i++) {
        const fy_dim *d = fy_dim_resolve(m->dims, (*list)[i]);
        FY_NOMEM(e, d);
        if (d == (*list)[i] || (d->kind != FY_DIM_CONST && d->hi < 0)) continue;
        if (!fresh) FY_NOMEM(e, fresh = fy_arena_copy(&m->arena, *list, (size_t)n, sizeof **list));
        fresh[i] = d;
    }
    if (fresh) *list = fresh;
    return FY_OK;
}

static fy_status settle(fy_model *m, fy_value *v, ferry_error *e) {
    if (v && v->type.kind == FY_TENSOR && v->type.rank > 0) FY_TRY(settle_dims(m, &v->type.dim, v->type.rank, e));
    return v && v->elem ? settle_dims(m, &v->elem, v->nelem, e) : FY_OK;
}

fy_status fy_infer_model(fy_model *m, ferry_error *e) {
    FY_TRY(fy_infer_graph(m->graph, e));
    if (!fy_dims_equalities(m->dims)) return FY_OK;
    for (fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g)) {
        for (int64_t i = 0; i < g->in.n; i++) FY_TRY(settle(m, g->in.at[i], e));
        for (fy_node *n = g->first; n; n = n->next)
            for (int i = 0; i < n->nout; i++) FY_TRY(settle(m, n->out[i], e));
    }
    return FY_OK;
}

/* ---- in a run -------------------------------------------------------------------------------------------------------------- */

/* The type of a value, from its first items. */
static fy_status type_of(fy_type *t, const fy_rval *v, int depth, fy_arena *a, ferry_error *e) {
    *t = (fy_type){.kind = v->kind, .rank = -1};
    if (v->kind == FY_TENSOR) { t->dtype = v->t.dtype; return FY_OK; }
    FY_NEED(e, depth < FY_MAX_NESTING, LIMIT, "a value nests deeper than %d", FY_MAX_NESTING);
    fy_type *el = FY_NEW(a, fy_type);
    FY_NOMEM(e, el);
    t->elem = el;
    *el = (fy_type){.kind = FY_TENSOR, .dtype = v->elem_dtype, .rank = -1};
    if (v->kind != FY_MAP) return v->n > 0 ? type_of(el, &v->item[0], depth + 1, a, e) : FY_OK;
    FY_NEED(e, v->item, VALUE, "a map has neither keys nor values");
    const fy_rval *values = &v->item[1];
    int64_t nkeys = fy_count(&v->item[0].t), nvalues = values->kind == FY_TENSOR ? fy_count(&values->t) : values->n;
    FY_NEED(e, v->item[0].t.rank == 1 && (values->kind != FY_TENSOR || values->t.rank == 1), SHAPE, "the keys and values of a map must be lists");
    FY_NEED(e, nkeys == nvalues, VALUE, "a map has %lld keys and %lld values", (long long)nkeys, (long long)nvalues);      /* kernels walk both by one count */
    t->dtype = v->item[0].t.dtype;
    if (values->kind == FY_TENSOR) *el = (fy_type){.kind = FY_TENSOR, .dtype = values->t.dtype, .rank = 0};
    else if (values->n > 0) return type_of(el, &values->item[0], depth + 1, a, e);
    return FY_OK;
}

static fy_status describe(fy_fact *f, const fy_rval *v, fy_dims *dims, fy_arena *a, ferry_error *e) {
    if (v->kind != FY_TENSOR) return type_of(&f->type, v, 0, a, e);
    const fy_dim **d = FY_NEWN(a, const fy_dim *, v->t.rank);
    FY_NOMEM(e, d);
    bool empty = false;                  /* not by the count: sizes of what has no data yet may be any */
    for (int i = 0; i < v->t.rank; i++) {
        FY_NOMEM(e, d[i] = fy_dim_const(dims, v->t.dim[i]));
        empty |= v->t.dim[i] == 0;
    }
    f->type = (fy_type){.kind = FY_TENSOR, .dtype = v->t.dtype, .rank = v->t.rank, .dim = d};
    if (v->t.data || empty) f->data = &v->t;
    return FY_OK;
}

#define RESET_SIZES 4096                 /* nodes after which the pool of sizes starts anew: loops and sessions may make ever new ones */

fy_status fy_infer_real(fy_fact **out, fy_run_dims *z, const fy_node *n, int nin, fy_rval *const *in, int nout, fy_arena *a, ferry_error *e) {
    if (z->dims && ++z->used > RESET_SIZES) fy_run_dims_free(z);
    if (!z->dims) FY_NOMEM(e, z->dims = fy_dims_new());
    bool oom = false;
    fy_fact *fact = FY_NEWN(a, fy_fact, nin + nout);
    FY_NOMEM(e, fact);
    for (int i = 0; i < nin; i++)
        if (in[i]) FY_TRY(describe(&fact[i], in[i], z->dims, a, e));
    for (int i = 0; i < nout; i++) fact[nin + i].type.rank = -1;
    fy_infer f = {.node = n, .dims = z->dims, .arena = a, .e = e, .nin = nin, .nout = nout, .in = fact, .out = fact + nin, .oom = &oom};
    fy_status s = n->op->infer(&f);
    oom |= fy_dims_oom(z->dims);
    FY_NOMEM(e, !oom);
    *out = fact + nin;
    return s;
}

void fy_run_dims_free(fy_run_dims *z) {
    fy_dims_free(z->dims);
    *z = (fy_run_dims){0};
}
