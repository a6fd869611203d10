/* SPDX-License-Identifier: Apache-2.0
 * verify.c - is the graph well formed? Order, use lists both ways, arity, captures, types of constants. Linear in nodes and uses. */
#include "ir/op.h"

#include <stdio.h>

static fy_status node_fault(const fy_node *n, ferry_error *e, fy_code code, const char *text) {
    char who[200];
    fy_node_describe(who, sizeof who, n);
    return fy_fail(e, code, "%s: %s", who, text);
}

/* Is this use in the list of its value? Neighbours agree, and a head is the list's head. */
static bool linked(const fy_use *u) {
    const fy_value *v = u->value;
    return !v || ((u->prev ? u->prev->next == u : v->uses == u) && (!u->next || u->next->prev == u));
}

/* Made before `n` in its own graph, or visible from around it. `seen` marks values made so far. */
static bool available(const fy_value *v, const fy_node *n, const unsigned char *seen) {
    return v->id < n->graph->model->nvalues && seen[v->id] && fy_value_visible(v, n->graph);
}

static fy_status check_arity(const fy_node *n, ferry_error *e) {
    const fy_op *op = n->op;
    char text[160];
    int given = n->nin;
    if (op->flags & FY_OPAQUE_OP) return FY_OK;
    while (given && !fy_in(n, given - 1)) given--;
    if (given < op->min_in || (op->max_in >= 0 && given > op->max_in)) {
        snprintf(text, sizeof text, "%d inputs; %s takes %d to %d", given, op->name, op->min_in, op->max_in);
        return node_fault(n, e, FY_E_GRAPH, text);
    }
    if (n->nout < op->min_out || (op->max_out >= 0 && n->nout > op->max_out)) {
        snprintf(text, sizeof text, "%d outputs; %s gives %d to %d", n->nout, op->name, op->min_out, op->max_out);
        return node_fault(n, e, FY_E_GRAPH, text);
    }
    return FY_OK;
}

static fy_status check_node(const fy_node *n, unsigned char *seen, ferry_error *e) {
    if (n->next && n->next->prev != n) return node_fault(n, e, FY_E_INTERNAL, "the list of nodes is broken");
    FY_TRY(check_arity(n, e));
    for (int i = 0; i < n->nin; i++) {
        const fy_value *v = fy_in(n, i);
        if (!v) continue;
        if (n->in[i].user != n || n->in[i].slot != i || !linked(&n->in[i])) return node_fault(n, e, FY_E_INTERNAL, "a use is not in its value's list");
        if (available(v, n, seen)) continue;
        char text[300];
        snprintf(text, sizeof text, "input %d, '%.200s', is used before it is made", i, v->name ? v->name : "");
        return node_fault(n, e, FY_E_GRAPH, text);
    }
    for (int i = 0; i < n->ncap; i++) {
        const fy_value *v = n->cap[i]->value;
        if (!v || !available(v, n, seen)) return node_fault(n, e, FY_E_GRAPH, "a captured value is used before it is made");
    }
    for (int i = 0; i < n->nout; i++) {
        fy_value *v = n->out[i];
        if (!v) continue;
        if (v->def != n || v->def_slot != i || v->graph != n->graph) return node_fault(n, e, FY_E_INTERNAL, "an output does not know its node");
        if (seen[v->id]) return node_fault(n, e, FY_E_GRAPH, "an output is made twice");
        seen[v->id] = 1;
    }
    return FY_OK;
}

static fy_status check_constant(const fy_value *v, ferry_error *e) {
    const fy_const *c = v->constant;
    const char *name = v->name ? v->name : "";
    FY_NEED(e, c && !v->def, INTERNAL, "constant '%s' has no data, or a producer", name);
    if (v->type.kind != FY_TENSOR) return FY_OK;
    FY_NEED(e, v->type.dtype == c->dtype, TYPE, "constant '%s' is declared %s and holds %s", name, fy_dtype_name(v->type.dtype), fy_dtype_name(c->dtype));
    FY_NEED(e, v->type.rank < 0 || v->type.rank == c->rank, SHAPE, "constant '%s' is declared of rank %d and has rank %d", name, v->type.rank, c->rank);
    for (int k = 0; k < v->type.rank; k++) {
        int64_t d;
        FY_NEED(e, !fy_dim_known(v->type.dim[k], &d) || d == c->dim[k], SHAPE, "constant '%s': axis %d is declared %lld and is %lld", name, k, (long long)d, (long long)c->dim[k]);
    }
    return FY_OK;
}

static void begin_graph(const fy_graph *g, unsigned char *seen) {
    for (int64_t i = 0; i < g->in.n; i++) seen[g->in.at[i]->id] = 1;
    for (int64_t i = 0; i < g->constants.n; i++) seen[g->constants.at[i]->id] = 1;
}

/* Nodes of one graph in order; bodies are separate graphs and are checked when their turn comes: their owner's outputs and what
 * follows it are then marked as well, so order across a body's border rests on the owner's captures, which are checked above. */
static fy_status check_graph(const fy_graph *g, unsigned char *seen, ferry_error *e) {
    int64_t count = 0;
    for (int64_t i = 0; i < g->constants.n; i++) FY_TRY(check_constant(g->constants.at[i], e));
    for (const fy_node *n = g->first; n; n = n->next, count++) {
        FY_NEED(e, n->graph == g, INTERNAL, "a node is listed in a graph that is not its own");
        FY_TRY(check_node(n, seen, e));
    }
    FY_NEED(e, count == g->nnodes, INTERNAL, "a graph counts %lld nodes and lists %lld", (long long)g->nnodes, (long long)count);
    for (int64_t i = 0; i < g->out.n; i++) {
        const fy_value *v = g->out.at[i];
        FY_NEED(e, v && seen[v->id], GRAPH, "output %lld ('%s') is never made", (long long)i, v && v->name ? v->name : "");
        FY_NEED(e, v->is_output, INTERNAL, "output '%s' does not know that it is one", v->name ? v->name : "");
    }
    return FY_OK;
}

fy_status fy_model_verify(const fy_model *m, ferry_error *e) {
    unsigned char *seen = fy_calloc((size_t)m->nvalues + 1, 1);
    FY_NOMEM(e, seen);
    fy_status s = FY_OK;
    begin_graph(m->graph, seen);
    for (const fy_graph *g = m->graph; g && !s; g = fy_graph_next(NULL, g)) {
        begin_graph(g, seen);
        s = check_graph(g, seen, e);
    }
    fy_free(seen);
    return s;
}
