/* SPDX-License-Identifier: Apache-2.0
 * copy.c - copies nodes with their bodies, values mapped by id; whole models with sizes made anew in the copy's own pool. */
#include "ir/copy.h"

#include <string.h>

#define MAX_NESTING 64

static fy_value **slot(const fy_copy *c, const fy_value *v) { return v->id >= c->low && v->id <= c->high ? &c->at[v->id - c->low] : NULL; }

static void widen(fy_copy *c, const fy_value *v) {
    if (!v) return;
    if (v->id < c->low) c->low = v->id;
    if (v->id > c->high) c->high = v->id;
}

static fy_status begin(fy_copy *c, const fy_graph *root, const fy_node *owner) {
    c->low = UINT32_MAX;
    c->high = 0;
    for (int i = 0; owner && i < owner->ncap; i++) widen(c, owner->cap[i]->value);
    for (const fy_graph *g = root; g; g = fy_graph_next(owner, g)) {
        for (int64_t i = 0; i < g->in.n; i++) widen(c, g->in.at[i]);
        for (int64_t i = 0; i < g->constants.n; i++) widen(c, g->constants.at[i]);
        for (int64_t i = 0; i < g->state.n; i++) widen(c, g->state.at[i].in);
        for (const fy_node *n = g->first; n; n = n->next)
            for (int i = 0; i < n->nout; i++) widen(c, n->out[i]);
    }
    if (c->low > c->high) return FY_OK;
    c->at = FY_NEWN(&c->scratch, fy_value *, (int64_t)c->high - c->low + 1);
    FY_NOMEM(c->e, c->at);
    return FY_OK;
}

fy_status fy_copy_begin(fy_copy *c, const fy_graph *root) { return begin(c, root, NULL); }

void fy_copy_end(fy_copy *c) { fy_arena_free(&c->scratch); }

void fy_copy_set(fy_copy *c, const fy_value *v, fy_value *as) {
    fy_value **s = slot(c, v);
    FY_ASSERT(s);
    *s = as;
}

fy_value *fy_copy_of(const fy_copy *c, fy_value *v) {
    fy_value **s = v ? slot(c, v) : NULL;
    return s ? *s : v;
}

/* ---- types: sizes in the pool of the copy ------------------------------------------------------------------------------- */

static const fy_dim *symbol(void *ctx, const fy_dim *d) {
    const fy_copy *c = ctx;
    fy_buf text = {0};
    fy_dim_print(&text, d);
    const fy_dim *as = text.oom ? NULL : fy_dim_sym(c->m->dims, text.at);
    fy_buf_free(&text);
    if (as) fy_dim_bound(c->m->dims, as, d->lo, d->hi);
    return as;
}

static fy_status copy_type(fy_copy *c, fy_type *to, const fy_type *from) {
    *to = *from;
    if ((from->kind == FY_TENSOR || from->kind == FY_SPARSE) && from->rank > 0) {
        const fy_dim **d = FY_NEWN(&c->m->arena, const fy_dim *, from->rank);
        FY_NOMEM(c->e, d);
        for (int i = 0; i < from->rank; i++) FY_NOMEM(c->e, d[i] = fy_dim_subst(c->m->dims, from->dim[i], symbol, c));
        to->dim = d;
    }
    if (!from->elem) return FY_OK;
    fy_type *inner = FY_NEW(&c->m->arena, fy_type);
    FY_NOMEM(c->e, inner);
    to->elem = inner;
    return copy_type(c, inner, from->elem);
}

/* ---- nodes -------------------------------------------------------------------------------------------------------------- */

static fy_status copy_nodes(fy_copy *c, fy_graph *to, fy_node *before, const fy_graph *from, int depth);

static fy_status copy_input(fy_copy *c, fy_graph *to, const fy_value *old) {
    fy_value *v = fy_graph_add_input(to, old->name, NULL);
    FY_NOMEM(c->e, v);
    if (old->graph->model == c->m) v->type = old->type;
    else FY_TRY(copy_type(c, &v->type, &old->type));
    v->constant = old->constant;
    v->doc = old->doc;
    fy_copy_set(c, old, v);
    return FY_OK;
}

static fy_status copy_inputs(fy_copy *c, fy_graph *to, const fy_graph *from) {
    for (int64_t i = 0; i < from->in.n; i++) FY_TRY(copy_input(c, to, from->in.at[i]));
    return FY_OK;
}

static fy_status copy_outputs(fy_copy *c, fy_graph *to, const fy_graph *from) {
    for (int64_t i = 0; i < from->out.n; i++) FY_NOMEM(c->e, fy_graph_add_output(to, fy_copy_of(c, from->out.at[i])));
    return FY_OK;
}

static fy_status copy_body(fy_copy *c, fy_graph **out, const fy_graph *from, fy_graph *parent, int depth) {
    FY_NEED(c->e, depth < MAX_NESTING, LIMIT, "graphs nest deeper than %d", MAX_NESTING);
    fy_graph *g = fy_graph_new(c->m, parent);
    FY_NOMEM(c->e, g);
    g->name = from->name;
    FY_TRY(copy_inputs(c, g, from));
    FY_TRY(copy_nodes(c, g, NULL, from, depth));
    FY_TRY(copy_outputs(c, g, from));
    *out = g;
    return FY_OK;
}

static fy_status copy_attr(fy_copy *c, fy_node *to, const fy_attr *from, int depth) {
    const fy_attr *a = c->attr ? c->attr(c->ctx, from) : from;
    if (!a) return FY_OK;
    fy_attr own = *a;
    own.name = from->name;
    bool graphs = a->kind == FY_ATTR_GRAPH || a->kind == FY_ATTR_GRAPHS;
    FY_NEED(c->e, a == from || !graphs, UNSUPPORTED, "attribute \"%.80s\" stands for a graph", from->name);
    if (a->kind == FY_ATTR_GRAPH) FY_TRY(copy_body(c, &own.graph, a->graph, to->graph, depth + 1));
    if (a->kind == FY_ATTR_GRAPHS) {
        own.graphs = FY_NEWN(&c->m->arena, fy_graph *, a->n);
        FY_NOMEM(c->e, own.graphs);
        for (int64_t i = 0; i < a->n; i++) FY_TRY(copy_body(c, &own.graphs[i], a->graphs[i], to->graph, depth + 1));
    }
    FY_NOMEM(c->e, fy_node_set_attr(to, &own));
    return FY_OK;
}

static fy_status copy_node(fy_copy *c, fy_graph *to, fy_node *before, const fy_node *from, int depth) {
    fy_value *few[8], **in = from->nin > 8 ? FY_NEWN(&c->scratch, fy_value *, from->nin) : few;
    FY_NOMEM(c->e, in);
    for (int i = 0; i < from->nin; i++) in[i] = fy_copy_of(c, from->in[i].value);
    fy_node *n = fy_node_new(to, before, from->op, from->nin, in, from->nout);
    FY_NOMEM(c->e, n);
    n->name = c->name ? c->name(c->ctx, from->name) : from->name;
    n->scope = from->scope;
    n->source = from->source;
    n->doc = from->doc;
    n->head = from->head;
    for (int i = 0; i < from->nout; i++) {
        const fy_value *old = from->out[i];
        if (!old) { n->out[i] = NULL; continue; }
        fy_copy_set(c, old, n->out[i]);
        n->out[i]->name = c->name && depth == 0 ? c->name(c->ctx, old->name) : old->name;
        n->out[i]->doc = old->doc;
        if (from->graph->model == c->m) n->out[i]->type = old->type;
    }
    for (int i = 0; i < from->nattr; i++) FY_TRY(copy_attr(c, n, &from->attr[i], depth));
    if (c->node) c->node(c->ctx, n);
    return FY_OK;
}

static fy_status copy_nodes(fy_copy *c, fy_graph *to, fy_node *before, const fy_graph *from, int depth) {
    for (int64_t i = 0; i < from->constants.n; i++) {
        const fy_value *old = from->constants.at[i];
        if (old->is_input) continue;
        fy_value *k = fy_graph_add_const(to, c->name ? NULL : old->name, old->constant);
        FY_NOMEM(c->e, k);
        fy_copy_set(c, old, k);
    }
    for (const fy_node *n = from->first; n; n = n->next) FY_TRY(copy_node(c, to, before, n, depth));
    return FY_OK;
}

fy_status fy_copy_nodes(fy_copy *c, fy_graph *to, fy_node *before, const fy_graph *from) { return copy_nodes(c, to, before, from, 0); }

/* ---- a model ------------------------------------------------------------------------------------------------------------ */

static fy_status copy_main(fy_copy *c, const fy_model *m) {
    fy_graph *to = c->m->graph;
    const fy_graph *from = m->graph;
    to->name = from->name;
    c->m->opset = m->opset;
    c->m->ir_version = m->ir_version;
    FY_TRY(fy_copy_begin(c, from));
    FY_TRY(copy_inputs(c, to, from));
    FY_TRY(copy_nodes(c, to, NULL, from, 0));
    FY_TRY(copy_outputs(c, to, from));
    for (int64_t i = 0; i < from->state.n; i++) {
        fy_state s = from->state.at[i];
        s.in = fy_copy_of(c, s.in);
        s.out = fy_copy_of(c, s.out);
        FY_PUSH(c->e, to->state, s);
    }
    for (int64_t i = 0; i < m->imports.n; i++) FY_PUSH(c->e, c->m->imports, m->imports.at[i]);
    return FY_OK;
}

fy_status fy_model_copy(fy_model **copy, const fy_model *m, ferry_error *e) {
    *copy = fy_model_new(m->registry);
    FY_NOMEM(e, *copy);
    (*copy)->imports.n = 0;
    fy_copy c = {.m = *copy, .e = e};
    fy_status s = copy_main(&c, m);
    fy_copy_end(&c);
    if (s) {
        fy_model_free(*copy);
        *copy = NULL;
    }
    return s;
}

/* ---- a body ------------------------------------------------------------------------------------------------------------- */

static fy_status copy_constant(fy_copy *c, const fy_value *v) {
    fy_value *k = fy_graph_add_const(c->m->graph, v->name, v->constant);
    FY_NOMEM(c->e, k);
    fy_copy_set(c, v, k);
    return FY_OK;
}

/* All that the owner's bodies read from outside is there; what this one does not need goes. */
static fy_status copy_outer(fy_copy *c, const fy_graph *body, const fy_value **outer, int *nouter) {
    fy_graph *to = c->m->graph;
    const fy_node *owner = body->owner;
    int64_t first = to->in.n, kept = first;
    for (int i = 0; i < owner->ncap; i++) {
        const fy_value *v = owner->cap[i]->value;
        if (fy_copy_of(c, owner->cap[i]->value)) continue;
        if (v->constant && !v->is_input) FY_TRY(copy_constant(c, v));
        else {
            FY_TRY(copy_input(c, to, v));
            outer[(*nouter)++] = v;
        }
    }
    FY_TRY(copy_nodes(c, to, NULL, body, 0));
    FY_TRY(copy_outputs(c, to, body));
    for (int64_t i = first; i < to->in.n; i++) {
        if (!to->in.at[i]->nuses) continue;
        outer[kept - first] = outer[i - first];
        to->in.at[kept++] = to->in.at[i];
    }
    to->in.n = kept;
    *nouter = (int)(kept - first);
    return FY_OK;
}

fy_status fy_body_copy(fy_model **copy, const fy_graph *body, const fy_value *const **outer, int *nouter, ferry_error *e) {
    *copy = fy_model_new(body->model->registry);
    *nouter = 0;
    FY_NOMEM(e, *copy);
    fy_copy c = {.m = *copy, .e = e};
    const fy_value **out = FY_NEWN(&c.m->arena, const fy_value *, body->owner->ncap + 1);
    fy_status s = out ? begin(&c, body, body->owner) : fy_nomem(e);
    c.m->opset = body->model->opset;
    c.m->ir_version = body->model->ir_version;
    if (!s) s = copy_inputs(&c, c.m->graph, body);
    if (!s) s = copy_outer(&c, body, out, nouter);
    *outer = out;
    fy_copy_end(&c);
    if (s) {
        fy_model_free(*copy);
        *copy = NULL;
    }
    return s;
}
