/* SPDX-License-Identifier: Apache-2.0
 * name.c - gives every value and node of a model a name that is unique: names given stay, a repeated one gets "_2", "_3" ...;
 * inputs and outputs choose first, then constants, then what nodes make. */
#include "ir/op.h"

#include <string.h>

typedef struct naming { fy_model *m; fy_map taken, next; ferry_error *e; } naming;

/* A name not yet taken: `want` itself, or with a number behind it. The number goes on where it stopped for this name. */
static const char *fresh(naming *n, const char *want) {
    if (!fy_map_has(&n->taken, want, strlen(want))) return want;
    uint64_t *count = fy_map_gets(&n->next, want);
    if (!count) {
        count = FY_NEW(&n->m->arena, uint64_t);
        if (!count || !fy_map_puts(&n->next, want, count)) return NULL;
        *count = 1;
    }
    for (;;) {
        const char *s = fy_arena_fmt(&n->m->arena, "%s_%llu", want, (unsigned long long)++*count);
        if (!s || !fy_map_has(&n->taken, s, strlen(s))) return s;
    }
}

static fy_status name_value(naming *n, fy_value *v, const char *fallback) {
    if (v->name && fy_map_gets(&n->taken, v->name) == v) return FY_OK;           /* named by an earlier visit */
    const char *s = fresh(n, v->name && *v->name ? v->name : fallback);
    FY_NEED(n->e, s && fy_map_puts(&n->taken, s, v), NOMEM, "out of memory");
    v->name = s;
    return FY_OK;
}

/* "layer1.0.conv1" + "Conv" -> "layer1.0.conv1.Conv"; without a scope the operator's name alone. */
static const char *derived(naming *n, const fy_node *node) {
    return node->scope && *node->scope ? fy_arena_fmt(&n->m->arena, "%s.%s", node->scope, node->op->name) : node->op->name;
}

static fy_status name_graph(naming *n, fy_graph *g, fy_map *nodes) {
    for (fy_node *node = g->first; node; node = node->next) {
        const char *base = derived(n, node);
        FY_NOMEM(n->e, base);
        for (int i = 0; i < node->nout; i++)
            if (node->out[i]) FY_TRY(name_value(n, node->out[i], base));
        naming own = {n->m, *nodes, n->next, n->e};          /* nodes have a name space of their own */
        const char *s = fresh(&own, node->name && *node->name ? node->name : base);
        n->next = own.next;
        FY_NEED(n->e, s && fy_map_puts(nodes, s, node), NOMEM, "out of memory");
        node->name = s;
    }
    return FY_OK;
}

static fy_status name_ports(naming *n, fy_graph *g) {
    for (int64_t i = 0; i < g->in.n; i++) FY_TRY(name_value(n, g->in.at[i], "input"));
    for (int64_t i = 0; i < g->out.n; i++) FY_TRY(name_value(n, g->out.at[i], "output"));
    return FY_OK;
}

fy_status fy_model_name_all(fy_model *m, ferry_error *e) {
    naming n = {.m = m, .e = e};
    fy_map nodes = {0};
    fy_status s = name_ports(&n, m->graph);
    for (fy_graph *g = m->graph; g && !s; g = fy_graph_next(NULL, g)) {
        s = name_ports(&n, g);
        for (int64_t i = 0; i < g->constants.n && !s; i++) s = name_value(&n, g->constants.at[i], "constant");
    }
    for (fy_graph *g = m->graph; g && !s; g = fy_graph_next(NULL, g)) s = name_graph(&n, g, &nodes);
    fy_map_free(&n.taken);
    fy_map_free(&n.next);
    fy_map_free(&nodes);
    return s;
}
