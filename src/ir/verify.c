/* SPDX-License-Identifier: Apache-2.0
 * verify.c - is the graph what everyone takes it for? Single definition, order, use lists, captures, operator tables.
 *
 * Order across bodies is decided by climbing from the reader to the node, in the graph where the value was made, that holds
 * it; so one numbering of the nodes is enough and nothing recurses. */
#include "ir/op.h"

#include <string.h>

#define MAX_CLIMB 64

typedef struct verifier {
    const fy_model *m;
    ferry_error    *e;
    fy_arena        arena;
    int64_t        *place;               /* by node id: position, 0: not in a graph */
    unsigned char  *made;                /* by value id */
    fy_map          caps;                /* (owner id, value id) of every capture */
} verifier;

typedef struct pair { uint32_t owner, value; } pair;

static const char *name_of(const fy_value *v) { return v->name && *v->name ? v->name : "(nameless)"; }

static fy_status make(verifier *x, const fy_value *v, const fy_graph *g, const fy_node *def) {
    FY_NEED(x->e, v->id < x->m->nvalues, GRAPH, "value %u has an id beyond the model's", (unsigned)v->id);
    FY_NEED(x->e, !x->made[v->id], GRAPH, "value %u \"%.80s\" is made twice", (unsigned)v->id, name_of(v));
    FY_NEED(x->e, v->graph == g && v->def == def, GRAPH, "value %u \"%.80s\" does not know its producer", (unsigned)v->id, name_of(v));
    x->made[v->id] = 1;
    return FY_OK;
}

static fy_status collect(verifier *x, const fy_graph *g) {
    int64_t n = 0, count = 0;
    for (int64_t i = 0; i < g->in.n; i++) FY_TRY(make(x, g->in.at[i], g, NULL));
    for (int64_t i = 0; i < g->constants.n; i++)
        if (!g->constants.at[i]->is_input) FY_TRY(make(x, g->constants.at[i], g, NULL));
    const fy_node *prev = NULL;
    for (const fy_node *k = g->first; k; prev = k, k = k->next) {
        FY_NEED(x->e, k->graph == g && k->prev == prev && k->id < x->m->nnodes && !x->place[k->id], GRAPH, "the node list is broken at node %u", (unsigned)k->id);
        x->place[k->id] = ++n;
        count++;
        for (int i = 0; i < k->nout; i++)
            if (k->out[i]) {
                FY_TRY(make(x, k->out[i], g, k));
                FY_NEED(x->e, k->out[i]->def_slot == i, GRAPH, "output %d of node %u has another number", i, (unsigned)k->id);
            }
        for (int i = 0; i < k->ncap; i++) {
            if (!k->cap[i]->value) continue;
            pair *p = FY_NEW(&x->arena, pair);
            FY_NOMEM(x->e, p);
            *p = (pair){ k->id, k->cap[i]->value->id };
            FY_NOMEM(x->e, fy_map_put(&x->caps, (const char *)p, sizeof *p, p) ? p : NULL);
        }
    }
    FY_NEED(x->e, g->last == prev && g->nnodes == count, GRAPH, "the node list has %lld nodes instead of %lld", (long long)count, (long long)g->nnodes);
    return FY_OK;
}

static bool linked(const fy_use *u) {
    return u->value && (u->prev ? u->prev->next == u : u->value->uses == u) && (!u->next || u->next->prev == u);
}

/* May something in graph g, at node `at` (NULL: g's outputs), read v? Bodies in between must list it as a capture. */
static fy_status reads(verifier *x, const fy_value *v, const fy_graph *g, const fy_node *at) {
    FY_NEED(x->e, v->id < x->m->nvalues && x->made[v->id], GRAPH, "value \"%.80s\" is used but never made", name_of(v));
    for (int climb = 0; g != v->graph; climb++) {
        at = g->owner;
        FY_NEED(x->e, at && climb < MAX_CLIMB, GRAPH, "value \"%.80s\" is not visible where it is used", name_of(v));
        pair p = { at->id, v->id };
        FY_NEED(x->e, fy_map_has(&x->caps, (const char *)&p, sizeof p), GRAPH, "value \"%.80s\" is read in a body but is no capture of node %u", name_of(v),
                (unsigned)at->id);
        g = at->graph;
    }
    FY_NEED(x->e, !v->def || !at || x->place[v->def->id] < x->place[at->id], GRAPH, "value \"%.80s\" is used before it is made", name_of(v));
    return FY_OK;
}

static fy_status check_node(verifier *x, const fy_node *n) {
    for (int i = 0; i < n->nin; i++) {
        const fy_use *u = &n->in[i];
        if (!u->value) continue;
        FY_NEED(x->e, linked(u) && u->user == n && u->slot == i, GRAPH, "input %d is not among the uses of its value", i);
        FY_TRY(reads(x, u->value, n->graph, n));
    }
    for (int i = 0; i < n->ncap; i++) {
        const fy_use *u = n->cap[i];
        if (!u->value) continue;
        FY_NEED(x->e, linked(u) && u->user == n && u->slot == i && u->capture, GRAPH, "capture %d is not among the uses of its value", i);
        FY_TRY(reads(x, u->value, n->graph, n));
    }
    for (int64_t k = 0;; k++) {
        const fy_graph *b = fy_node_body(n, k);
        if (!b) break;
        FY_NEED(x->e, b->owner == n && b->parent == n->graph, GRAPH, "a body does not know its node");
    }
    for (int i = 0; i < n->nattr; i++)
        for (int j = 0; j < i; j++) FY_NEED(x->e, strcmp(n->attr[i].name, n->attr[j].name) != 0, ATTR, "attribute %.80s is set twice", n->attr[i].name);
    return fy_node_check(n, x->e);
}

static fy_status check_graph(verifier *x, const fy_graph *g) {
    for (const fy_node *n = g->first; n; n = n->next) {
        fy_status s = check_node(x, n);
        if (s != FY_OK) {
            char where[180];
            fy_node_describe(where, sizeof where, n);
            return fy_frame(x->e, s, "%s", where);
        }
    }
    FY_NEED(x->e, g->out_use.n == g->out.n, GRAPH, "outputs were changed behind their use lists");
    for (int64_t i = 0; i < g->out.n; i++) {
        const fy_use *u = g->out_use.at[i];
        FY_NEED(x->e, u->value == g->out.at[i] && linked(u) && !u->user && u->slot == i && u->graph == g && u->value->is_output, GRAPH,
                "output %lld is not among the uses of its value", (long long)i);
        FY_TRY(reads(x, g->out.at[i], g, NULL));
    }
    return FY_OK;
}

static fy_status verify(verifier *x) {
    const fy_model *m = x->m;
    x->place = FY_NEWN(&x->arena, int64_t, m->nnodes);
    x->made = FY_NEWN(&x->arena, unsigned char, m->nvalues);
    FY_NOMEM(x->e, x->place);
    FY_NOMEM(x->e, x->made);
    for (int64_t f = -1; f < m->functions.n; f++)
        for (const fy_graph *g = f < 0 ? m->graph : m->functions.at[f].body; g; g = fy_graph_next(NULL, g)) FY_TRY(collect(x, g));
    for (int64_t f = -1; f < m->functions.n; f++)
        for (const fy_graph *g = f < 0 ? m->graph : m->functions.at[f].body; g; g = fy_graph_next(NULL, g)) FY_TRY(check_graph(x, g));
    for (int64_t i = 0; i < m->graph->state.n; i++) {
        const fy_state *s = &m->graph->state.at[i];
        FY_NEED(x->e, s->in && s->out && s->in->is_input && s->out->is_output, GRAPH, "state %lld is not a pair of an input and an output", (long long)i);
    }
    return FY_OK;
}

fy_status fy_model_verify(const fy_model *m, ferry_error *e) {
    verifier x = { .m = m, .e = e };
    fy_status s = verify(&x);
    fy_map_free(&x.caps);
    fy_arena_free(&x.arena);
    return s;
}
