/* SPDX-License-Identifier: Apache-2.0
 * name.c - a unique name for every value and node. Inputs and outputs of the main graph choose first, then whoever comes
 * first in order. A node without a name is called after its place in the source module and its operator. */
#include "ir/op.h"

#include <string.h>

typedef struct namer { fy_model *m; fy_map taken, next; } namer;   /* next: base -> highest suffix given out */

/* A name like `want` that is not taken: itself, else want_2, want_3 ... NULL: out of memory. */
static const char *unique(namer *x, const char *want) {
    fy_arena *a = &x->m->arena;
    const char *name = want;
    if (fy_map_has(&x->taken, want, strlen(want))) {
        uintptr_t k = (uintptr_t)fy_map_gets(&x->next, want);
        if (k < 1) k = 1;
        do {
            name = fy_arena_fmt(a, "%s_%llu", want, (unsigned long long)++k);
            if (!name) return NULL;
        } while (fy_map_has(&x->taken, name, strlen(name)));
        if (!fy_map_puts(&x->next, want, (void *)k)) return NULL;
    }
    return fy_map_puts(&x->taken, name, x) ? name : NULL;
}

static bool named(const char *s) { return s && *s; }

/* The first to carry a name owns it. */
static fy_status claim(namer *x, const fy_value *v, ferry_error *e) {
    if (v && named(v->name) && !fy_map_has(&x->taken, v->name, strlen(v->name)))
        FY_NOMEM(e, fy_map_put(&x->taken, v->name, strlen(v->name), (void *)(uintptr_t)v));
    return FY_OK;
}

static fy_status settle(namer *x, fy_value *v, const char *otherwise, ferry_error *e) {
    if (named(v->name) && fy_map_gets(&x->taken, v->name) == (void *)v) return FY_OK;
    const char *name = unique(x, named(v->name) ? v->name : otherwise);
    FY_NOMEM(e, name);
    v->name = name;
    return FY_OK;
}

#define EACH_GRAPH(m, g) for (int64_t f_ = -1; f_ < (m)->functions.n; f_++) \
    for (fy_graph *g = f_ < 0 ? (m)->graph : (m)->functions.at[f_].body; g; g = fy_graph_next(NULL, g))

static fy_status name_values(namer *x, ferry_error *e) {
    fy_model *m = x->m;
    for (int64_t i = 0; i < m->graph->in.n; i++) FY_TRY(claim(x, m->graph->in.at[i], e));
    for (int64_t i = 0; i < m->graph->out.n; i++) FY_TRY(claim(x, m->graph->out.at[i], e));
    EACH_GRAPH(m, g) {
        for (int64_t i = 0; i < g->in.n; i++) FY_TRY(claim(x, g->in.at[i], e));
        for (int64_t i = 0; i < g->constants.n; i++) FY_TRY(claim(x, g->constants.at[i], e));
        for (fy_node *n = g->first; n; n = n->next)
            for (int i = 0; i < n->nout; i++) FY_TRY(claim(x, n->out[i], e));
    }
    EACH_GRAPH(m, g) {
        for (int64_t i = 0; i < g->in.n; i++) FY_TRY(settle(x, g->in.at[i], "input", e));
        for (int64_t i = 0; i < g->constants.n; i++) FY_TRY(settle(x, g->constants.at[i], "const", e));
        for (fy_node *n = g->first; n; n = n->next)
            for (int i = 0; i < n->nout; i++) {
                if (!n->out[i]) continue;
                const char *from = named(n->out[i]->name) ? "" : n->nout == 1 ? fy_arena_fmt(&m->arena, "%s_out", n->name) : fy_arena_fmt(&m->arena, "%s_out%d", n->name, i);
                FY_NOMEM(e, from);
                FY_TRY(settle(x, n->out[i], from, e));
            }
    }
    return FY_OK;
}

static fy_status name_nodes(namer *x, ferry_error *e) {
    fy_model *m = x->m;
    EACH_GRAPH(m, g)
        for (fy_node *n = g->first; n; n = n->next)
            if (named(n->name) && !fy_map_has(&x->taken, n->name, strlen(n->name)))
                FY_NOMEM(e, fy_map_put(&x->taken, n->name, strlen(n->name), n));
    EACH_GRAPH(m, g)
        for (fy_node *n = g->first; n; n = n->next) {
            if (named(n->name) && fy_map_gets(&x->taken, n->name) == (void *)n) continue;
            const char *want = named(n->name) ? n->name : named(n->scope) ? fy_arena_fmt(&m->arena, "%s/%s", n->scope, n->op->name) : n->op->name;
            FY_NOMEM(e, want);
            FY_NOMEM(e, n->name = unique(x, want));
        }
    return FY_OK;
}

fy_status fy_model_name_all(fy_model *m, ferry_error *e) {
    namer x = { .m = m }, y = { .m = m };
    fy_status s = name_nodes(&x, e);
    if (s == FY_OK) s = name_values(&y, e);
    fy_map_free(&x.taken);
    fy_map_free(&x.next);
    fy_map_free(&y.taken);
    fy_map_free(&y.next);
    return s;
}
