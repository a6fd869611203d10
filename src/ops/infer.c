/* SPDX-License-Identifier: Apache-2.0
 * infer.c - types over a whole graph: node by node in order; control operators infer their bodies through fy_infer_graph. */
#include "ops/ops.h"

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
