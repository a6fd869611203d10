/* SPDX-License-Identifier: Apache-2.0
 * functions.c - model-local functions: a call is replaced by a copy of the body, attributes of the call put where the body refers to them
 * (onnx.proto FunctionProto, AttributeProto.ref_attr_name). Raising does this, since a body is written against opsets of its own. */
#include "opset/internal.h"

#include <string.h>

typedef struct copy {
    fy_model          *m;
    const fy_node     *call;
    const fy_function *f;
    uint32_t           low, high;        /* ids of the body's values: one range, since a body is read in one go */
    fy_value         **at;               /* what stands for each */
    ferry_error       *e;
} copy;

static fy_value **slot(copy *c, const fy_value *v) { return v->id >= c->low && v->id <= c->high ? &c->at[v->id - c->low] : NULL; }

/* A value of the body as it is in the caller; values from outside, and arguments left out, stay what they are. */
static fy_value *here(copy *c, fy_value *v) {
    fy_value **s = v ? slot(c, v) : NULL;
    return s ? *s : v;
}

static void widen(copy *c, const fy_value *v) {
    if (!v) return;
    if (v->id < c->low) c->low = v->id;
    if (v->id > c->high) c->high = v->id;
}

static void range_of(copy *c) {
    c->low = UINT32_MAX;
    c->high = 0;
    for (const fy_graph *g = c->f->body; g; g = fy_graph_next(NULL, g)) {
        for (int64_t i = 0; i < g->in.n; i++) widen(c, g->in.at[i]);
        for (int64_t i = 0; i < g->constants.n; i++) widen(c, g->constants.at[i]);
        for (const fy_node *n = g->first; n; n = n->next)
            for (int i = 0; i < n->nout; i++) widen(c, n->out[i]);
    }
}

/* The attribute as the caller sees it: *out NULL where it is a reference to something that the call leaves out. */
static const fy_attr *resolved(const copy *c, const fy_attr *a) {
    if (!a->ref) return a;
    const fy_attr *given = fy_attr_get(c->call, a->ref);
    for (int64_t i = 0; !given && i < c->f->defaults.n; i++)
        if (!strcmp(c->f->defaults.at[i].name, a->ref)) given = &c->f->defaults.at[i];
    return given;
}

static fy_status copy_nodes(copy *c, fy_graph *to, fy_node *before, const fy_graph *from, int depth);

static fy_status copy_graph(copy *c, fy_graph **out, const fy_graph *from, fy_graph *parent, int depth) {
    FY_NEED(c->e, depth < FY_MAX_NESTING, LIMIT, "graphs nest deeper than %d", FY_MAX_NESTING);
    fy_graph *g = fy_graph_new(c->m, parent);
    FY_NOMEM(c->e, g);
    g->name = from->name;
    for (int64_t i = 0; i < from->in.n; i++) {
        fy_value *v = fy_graph_add_input(g, from->in.at[i]->name, &from->in.at[i]->type);
        FY_NOMEM(c->e, v);
        *slot(c, from->in.at[i]) = v;
    }
    FY_TRY(copy_nodes(c, g, NULL, from, depth));
    for (int64_t i = 0; i < from->out.n; i++) FY_NEED(c->e, fy_graph_add_output(g, here(c, from->out.at[i])), NOMEM, "out of memory");
    *out = g;
    return FY_OK;
}

static fy_status copy_attr(copy *c, fy_node *to, const fy_attr *from, int depth) {
    const fy_attr *a = resolved(c, from);
    if (!a) return FY_OK;
    fy_attr own = *a;
    own.name = from->name;
    if (a->kind == FY_ATTR_GRAPH && !from->ref) FY_TRY(copy_graph(c, &own.graph, a->graph, to->graph, depth + 1));
    if (a->kind == FY_ATTR_GRAPHS && !from->ref) {
        own.graphs = FY_NEWN(&c->m->arena, fy_graph *, a->n);
        FY_NOMEM(c->e, own.graphs);
        for (int64_t i = 0; i < a->n; i++) FY_TRY(copy_graph(c, &own.graphs[i], a->graphs[i], to->graph, depth + 1));
    }
    FY_NEED(c->e, !from->ref || (a->kind != FY_ATTR_GRAPH && a->kind != FY_ATTR_GRAPHS), UNSUPPORTED, "function \"%.80s\" takes a graph as attribute", c->f->name);
    FY_NEED(c->e, fy_node_set_attr(to, &own), NOMEM, "out of memory");
    return FY_OK;
}

static const char *name_in(copy *c, const char *inner) {
    const char *outer = c->call->name && *c->call->name ? c->call->name : c->f->name;
    return inner && *inner ? fy_arena_fmt(&c->m->arena, "%s/%s", outer, inner) : inner;
}

static fy_status copy_node(copy *c, fy_graph *to, fy_node *before, const fy_node *from, int depth) {
    fy_value *few[8], **in = from->nin > 8 ? FY_NEWN(&c->m->arena, fy_value *, from->nin) : few;
    FY_NOMEM(c->e, in);
    for (int i = 0; i < from->nin; i++) in[i] = here(c, from->in[i].value);
    fy_node *n = fy_node_new(to, before, from->op, from->nin, in, from->nout);
    FY_NOMEM(c->e, n);
    n->name = name_in(c, from->name);
    n->scope = c->call->scope ? c->call->scope : from->scope;
    n->source = from->source ? from->source : c->call->source;
    n->doc = from->doc;
    for (int i = 0; i < from->nout; i++) {
        if (!from->out[i]) { n->out[i] = NULL; continue; }
        *slot(c, from->out[i]) = n->out[i];
        n->out[i]->name = to == c->call->graph ? name_in(c, from->out[i]->name) : from->out[i]->name;
        n->out[i]->type = from->out[i]->type;
    }
    for (int i = 0; i < from->nattr; i++) FY_TRY(copy_attr(c, n, &from->attr[i], depth));
    return FY_OK;
}

static fy_status copy_nodes(copy *c, fy_graph *to, fy_node *before, const fy_graph *from, int depth) {
    for (int64_t i = 0; i < from->constants.n; i++) {
        fy_value *k = fy_graph_add_const(to, NULL, from->constants.at[i]->constant);
        FY_NOMEM(c->e, k);
        *slot(c, from->constants.at[i]) = k;
    }
    for (const fy_node *n = from->first; n; n = n->next) FY_TRY(copy_node(c, to, before, n, depth));
    return FY_OK;
}

fy_status fy_function_inline(fy_step_ctx *x, const fy_function *f) {
    copy c = {.m = x->m, .call = x->n, .f = f, .e = x->e};
    fy_arena scratch = {0};
    FY_NEED(x->e, x->n->nin <= f->body->in.n && x->n->nout <= f->body->out.n, GRAPH, "function \"%.80s\" has %lld inputs and %lld outputs; the call has %d and %d", f->name,
            (long long)f->body->in.n, (long long)f->body->out.n, x->n->nin, x->n->nout);
    range_of(&c);
    c.at = c.low > c.high ? NULL : FY_NEWN(&scratch, fy_value *, (int64_t)c.high - c.low + 1);
    fy_status s = c.at || c.low > c.high ? FY_OK : fy_fail(x->e, FY_E_NOMEM, "out of memory");
    for (int64_t i = 0; !s && i < f->body->in.n; i++) *slot(&c, f->body->in.at[i]) = fy_in(x->n, (int)i);
    if (!s) s = copy_nodes(&c, x->n->graph, x->n, f->body, 0);
    for (int i = 0; !s && i < x->n->nout; i++) {
        if (!x->n->out[i]) continue;
        fy_value *v = here(&c, f->body->out.at[i]);
        if (!v) s = fy_fail(x->e, FY_E_GRAPH, "function \"%.80s\": output %d is an input that the call leaves out", f->name, i);
        else s = fy_step_put(x, i, v);
    }
    fy_arena_free(&scratch);
    return s ? s : fy_step_done(x);
}
