/* SPDX-License-Identifier: Apache-2.0
 * gradient.c - Gradient (ai.onnx.preview.training): a node that names tensors of its graph, y and xs, and means dy/dx at the values it is
 * fed. It is written out while a model is raised, before anything renames or removes a tensor: the nodes between xs and y are walked backwards
 * by the rules of ops/grad.h. Where other values are fed than the tensors named, those nodes are first copied with the fed ones in place.
 *
 * What y depends on through zs, constants or other inputs is held still. The gradient of a tensor y is that of the sum of its elements.
 * Later Gradient nodes may differentiate what earlier ones became. With FERRY_RUN_ONLY (libferry-run) there are no rules: such a model is refused. */
#include "opset/internal.h"

#include "ops/grad.h"
#include "ops/ops.h"

#include <string.h>

#define DOMAIN "ai.onnx.preview.training"
static bool is_gradient(const fy_node *n) { return !strcmp(n->op->name, "Gradient") && !strcmp(n->op->domain, DOMAIN); }

#ifdef FERRY_RUN_ONLY
fy_status fy_gradients(fy_model *m, ferry_error *e) {
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *n = g->first; n; n = n->next)
            if (is_gradient(n)) return fy_help(e, fy_fail(e, FY_E_UNSUPPORTED, "Gradient is not in libferry-run"), "`ferry optimize` writes gradients out as other operators.");
    return FY_OK;
}
#else
#define MAX_NODES (1 << 20)              /* that all gradients of a model come to: gradients of gradients grow fast */
#define MAX_GRADIENTS 1024

typedef struct walk {
    fy_step_ctx  x;
    fy_node     *n;                      /* the Gradient node */
    fy_value    *y;
    int64_t      nx, nz;
    fy_value   **named;                  /* xs, then zs */
    fy_value   **grad;                   /* by value id, as far as ids went at the start */
    fy_value   **copy;                   /* by value id: what stands for it */
    uint8_t     *flags;
    uint32_t     nvalues, nnodes;        /* when this node was met; when the first one was */
    fy_arena    *scratch;
} walk;
enum { NEEDED = 1, ACTIVE = 2, NAMED = 4 };

static bool is_name(const char *have, fy_str want) { return have && strlen(have) == want.n && !memcmp(have, want.at, want.n); }

/* The tensor of that name that the node can see. */
static fy_status find(fy_value **v, const fy_node *n, fy_str name, ferry_error *e) {
    *v = NULL;
    for (const fy_graph *g = n->graph; g && !*v; g = g->parent) {
        for (int64_t i = 0; i < g->in.n && !*v; i++)
            if (is_name(g->in.at[i]->name, name)) *v = g->in.at[i];
        for (int64_t i = 0; i < g->constants.n && !*v; i++)
            if (is_name(g->constants.at[i]->name, name)) *v = g->constants.at[i];
        for (const fy_node *k = g->first; k && !*v; k = k->next)
            for (int i = 0; i < k->nout && !*v; i++)
                if (k->out[i] && is_name(k->out[i]->name, name)) *v = k->out[i];
    }
    FY_NEED(e, *v, GRAPH, "Gradient names \"%.*s\", which is no tensor here", (int)(name.n < 60 ? name.n : 60), name.at ? name.at : "");
    return FY_OK;
}

static uint8_t flags_of(const walk *w, const fy_value *v) { return v && v->id < w->nvalues ? w->flags[v->id] : 0; }

static fy_status read_node(walk *w) {
    fy_node *n = w->n;
    ferry_error *e = w->x.e;
    const fy_attr *xs = fy_attr_get(n, "xs"), *zs = fy_attr_get(n, "zs"), *y = fy_attr_get(n, "y");
    FY_NEED(e, xs && xs->kind == FY_ATTR_STRINGS && xs->n >= 1 && y && y->kind == FY_ATTR_STRING && (!zs || zs->kind == FY_ATTR_STRINGS), ATTR,
            "Gradient needs xs and y");
    w->nx = xs->n;
    w->nz = zs ? zs->n : 0;
    FY_NEED(e, w->nx + w->nz == n->nin && n->nout <= w->nx, GRAPH, "Gradient of %lld tensors has %d inputs and %d outputs", (long long)(w->nx + w->nz),
            n->nin, n->nout);
    FY_NOMEM(e, w->named = FY_NEWN(w->scratch, fy_value *, n->nin));
    FY_TRY(find(&w->y, n, y->s, e));
    FY_NEED(e, w->y->graph == n->graph, UNSUPPORTED, "Gradient of \"%s\", which is made in a graph around this one", w->y->name);
    FY_NEED(e, fy_dtype_float(w->y->type.dtype), TYPE, "Gradient of \"%s\", which is %s", w->y->name, fy_dtype_name(w->y->type.dtype));
    for (int i = 0; i < n->nin; i++) {
        FY_TRY(find(&w->named[i], n, i < w->nx ? xs->strings[i] : zs->strings[i - w->nx], e));
        FY_NEED(e, fy_in(n, i), GRAPH, "input %d of Gradient is left out", i);
    }
    return FY_OK;
}

/* Marks what y needs back to the tensors named, and of that what depends on xs; nodes that stand behind this one come before it. */
static fy_status mark(walk *w) {
    fy_graph *g = w->n->graph;
    for (int i = 0; i < w->n->nin; i++) w->flags[w->named[i]->id] |= NAMED | (i < w->nx ? ACTIVE : 0);
    w->flags[w->y->id] |= NEEDED;
    for (fy_node *k = g->last; k; k = k->prev) {
        bool needed = false;
        for (int i = 0; i < k->nout; i++) needed |= k->out[i] && (flags_of(w, k->out[i]) & NEEDED) && !(flags_of(w, k->out[i]) & NAMED);
        if (!needed) continue;
        FY_NEED(w->x.e, k != w->n, GRAPH, "Gradient differentiates what its own outputs lead to");
        for (int i = 0; i < k->nin; i++)
            if (k->in[i].value) w->flags[k->in[i].value->id] |= NEEDED;
        for (int i = 0; i < k->ncap; i++)
            if (k->cap[i]->value) w->flags[k->cap[i]->value->id] |= NEEDED;
        k->mark = 1;
    }
    for (fy_node *k = w->n->next, *next; k; k = next) {
        next = k->next;
        if (k->mark == 1) fy_node_move(k, w->n);
    }
    for (fy_node *k = g->first; k != w->n; k = k->next) {
        bool active = false;
        if (k->mark != 1) continue;
        for (int i = 0; i < k->nin; i++) active |= (flags_of(w, k->in[i].value) & ACTIVE) != 0;
        for (int i = 0; i < k->ncap; i++) active |= (flags_of(w, k->cap[i]->value) & ACTIVE) != 0;     /* then there is no rule for k */
        for (int i = 0; active && i < k->nout; i++)
            if (k->out[i] && !(flags_of(w, k->out[i]) & NAMED) &&
                    (!k->out[i]->type.dtype || fy_dtype_float(k->out[i]->type.dtype))) w->flags[k->out[i]->id] |= ACTIVE;
    }
    return FY_OK;
}

static fy_value *now(const walk *w, fy_value *v) { return v && v->id < w->nvalues && w->copy[v->id] ? w->copy[v->id] : v; }

/* A copy of the marked nodes over the values fed, if those are not the tensors named. */
static fy_status feed(walk *w) {
    bool same = true;
    for (int i = 0; i < w->n->nin; i++) same &= w->named[i] == fy_in(w->n, i);
    if (same) return FY_OK;
    for (int i = 0; i < w->n->nin; i++) w->copy[w->named[i]->id] = fy_in(w->n, i);
    for (fy_node *k = w->n->graph->first; k != w->n; k = k->next) {
        if (k->mark != 1) continue;
        bool moved = false;
        for (int i = 0; i < k->nin; i++) moved |= now(w, k->in[i].value) != k->in[i].value;
        for (int i = 0; i < k->ncap; i++) moved |= now(w, k->cap[i]->value) != k->cap[i]->value;
        if (!moved) continue;
        FY_NEED(w->x.e, !fy_node_body(k, 0), UNSUPPORTED, "Gradient at other values than the tensors named, through %s", k->op->name);
        fy_node *c = fy_node_new(k->graph, w->n, k->op, k->nin, NULL, k->nout);
        FY_NOMEM(w->x.e, c);
        for (int i = 0; i < k->nin; i++) fy_node_set_input(c, i, now(w, k->in[i].value));
        for (int i = 0; i < k->nattr; i++) FY_NOMEM(w->x.e, fy_node_set_attr(c, &k->attr[i]));
        for (int i = 0; i < k->nout; i++)
            if (k->out[i] && !(flags_of(w, k->out[i]) & NAMED)) w->copy[k->out[i]->id] = c->out[i];
        c->scope = k->scope;
        FY_TRY(fy_infer_node(c, w->x.e));
        k->mark = 2;                     /* its copy is differentiated in its place */
        c->mark = 3;
    }
    return FY_OK;
}

static fy_status add_to(walk *w, const fy_value *v, fy_value *d) {
    fy_value **at = &w->grad[v->id];
    *at = *at ? fy_emit(&w->x.b, "Add", FY_V(*at, d), FY_NOATTR) : d;
    return w->x.b.status;
}

static fy_status back(walk *w, fy_node *k) {
    fy_arena *a = w->scratch;
    /* the copy of k, if there is one, has k's outputs under other names */
    fy_node *real = k;
    for (int i = 0; i < k->nout; i++)
        if (k->out[i] && k->mark == 2 && now(w, k->out[i])->def) real = now(w, k->out[i])->def;
    fy_value **dy = FY_NEWN(a, fy_value *, k->nout + 1), **dx = FY_NEWN(a, fy_value *, k->nin + 1);
    bool *want = FY_NEWN(a, bool, k->nin + 1), any = false;
    FY_NOMEM(w->x.e, dy && dx && want);
    memset(dx, 0, ((size_t)k->nin + 1) * sizeof *dx);
    for (int i = 0; i < k->nout; i++) any |= (dy[i] = k->out[i] && !(flags_of(w, k->out[i]) & NAMED) ? w->grad[k->out[i]->id] : NULL) != NULL;
    for (int i = 0; i < k->nin; i++) want[i] = (flags_of(w, k->in[i].value) & ACTIVE) != 0;
    if (!any) return FY_OK;
    bool all = !strcmp(k->op->name, "Split") || !strcmp(k->op->name, "SoftmaxCrossEntropyLoss");
    for (int i = 1; i < k->nout && !all; i++) FY_NEED(w->x.e, !dy[i], UNSUPPORTED, "the gradient of %s by an output other than the first", k->op->name);
    for (int i = 0; i < k->nin; i++)
        FY_NEED(w->x.e, !want[i] || k->in[i].value->type.dtype, UNSUPPORTED, "the gradient of %s, whose input %d has no known element type", k->op->name, i);
    FY_NEED(w->x.e, w->x.m->nnodes - w->nnodes < MAX_NODES, LIMIT, "the gradients come to more than %d nodes", MAX_NODES);
    fy_grad g = {.b = &w->x.b, .n = real, .dy = dy, .dx = dx, .want = want};
    FY_TRY(fy_grad_node(&g));
    for (int i = 0; i < k->nin; i++)
        if (want[i] && dx[i]) FY_TRY(add_to(w, k->in[i].value, dx[i]));
    return FY_OK;
}

static fy_value *like(walk *w, fy_value *v, double x) {
    fy_build *b = &w->x.b;
    return fy_emit(b, "Expand", FY_V(fy_k_scalar(b, v->type.dtype, x), fy_emit(b, "Shape", FY_V(v), FY_NOATTR)), FY_NOATTR);
}

static fy_status expand(walk *w) {
    FY_TRY(read_node(w));
    size_t n = w->nvalues = w->x.m->nvalues;
    w->grad = FY_NEWN(w->scratch, fy_value *, n);
    w->copy = FY_NEWN(w->scratch, fy_value *, n);
    w->flags = FY_NEWN(w->scratch, uint8_t, n);
    FY_NOMEM(w->x.e, w->grad && w->copy && w->flags);
    memset(w->grad, 0, n * sizeof *w->grad);
    memset(w->copy, 0, n * sizeof *w->copy);
    memset(w->flags, 0, n);
    for (fy_node *k = w->n->graph->first; k; k = k->next) k->mark = 0;
    FY_TRY(mark(w));
    FY_TRY(feed(w));
    FY_NOMEM(w->x.e, w->grad[w->y->id] = like(w, now(w, w->y), 1));
    fy_node *first_new = w->grad[w->y->id]->def;
    for (fy_node *k = first_new, *prev; k; k = prev) {
        prev = k->prev;
        if (k->mark == 1 || k->mark == 2) FY_TRY(back(w, k));
    }
    for (int i = 0; i < w->n->nout; i++) {
        if (!w->n->out[i]) continue;
        fy_value *d = w->grad[w->named[i]->id];
        if (!d) d = like(w, fy_in(w->n, i), 0);
        FY_TRY(w->x.b.status);
        FY_TRY(fy_step_put(&w->x, i, d));
    }
    return fy_step_done(&w->x);
}

fy_status fy_gradients(fy_model *m, ferry_error *e) {
    int count = 0;
    uint32_t nnodes = m->nnodes;
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *n = g->first; n; n = n->next) count += is_gradient(n);
    if (!count) return FY_OK;
    FY_NEED(e, count <= MAX_GRADIENTS, LIMIT, "%d Gradient nodes; at most %d are supported", count, MAX_GRADIENTS);
    FY_TRY(fy_infer_model(m, e));
    for (fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g))
        for (fy_node *n = g->first, *next; n; n = next) {
            next = n->next;
            if (!is_gradient(n)) continue;
            fy_arena scratch = {0};
            fy_node *before = n->prev;
            walk w = {.n = n, .nnodes = nnodes, .scratch = &scratch,
                      .x = {.m = m, .n = n, .e = e, .target = FY_CANONICAL_OPSET, .b = {.g = g, .before = n, .e = e, .scope = n->scope, .source = n->source}}};
            fy_status s = expand(&w);
            fy_arena_free(&scratch);
            if (s != FY_OK) {
                char where[180];
                fy_node_describe(where, sizeof where, n);
                return fy_frame(e, s, "%s", where);
            }
            next = before ? before->next : g->first;             /* nodes may have been moved: what follows is looked at again */
        }
    return FY_OK;
}
#endif
