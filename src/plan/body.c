/* SPDX-License-Identifier: Apache-2.0
 * body.c - the graphs that If, Loop, Scan, SequenceMap and others own: planned by themselves over a copy, in which what they read from around them
 * are inputs, and run for the reference kernel of the operator, which knows what iterations, conditions and rows mean. A body keeps its memory from
 * one iteration to the next; what leaves it has memory of its own, which comes back with its last reader. */
#include "plan/run.h"

#include "ir/copy.h"

#include <string.h>

/* ---- planning -------------------------------------------------------------------------------------------------------------- */

static fy_status plan_body(fy_plan *p, fy_body *b, const fy_step *s, int first, const fy_value *const *captures, ferry_error *e) {
    const fy_value *const *outer;
    FY_TRY(fy_body_copy(&b->model, b->graph, &outer, &b->nouter, e));
    b->outer = FY_NEWN(&p->arena, int, b->nouter + 1);
    FY_NOMEM(e, b->outer);
    for (int i = 0; i < b->nouter; i++)
        for (int k = first; k < s->nin; k++)
            if (captures[k - first] == outer[i]) b->outer[i] = k;
    FY_TRY(fy_infer_model(b->model, e));
    return fy_plan_new_inner(&b->plan, b->model, &p->o, e);
}

fy_status fy_bodies_new(fy_plan *p, fy_step *s, int first, const fy_value *const *captures, ferry_error *e) {
    while (fy_node_body(s->node, s->nbodies)) s->nbodies++;
    s->body = FY_NEWN(&p->arena, fy_body *, s->nbodies + 1);
    FY_NOMEM(e, s->body);
    for (int i = 0; i < s->nbodies; i++) {
        fy_body *b = s->body[i] = FY_NEW(&p->arena, fy_body);
        FY_NOMEM(e, b);
        b->graph = fy_node_body(s->node, i);
        b->number = (int)p->bodies.n;
        FY_PUSH(e, p->bodies, b);
        FY_TRY(plan_body(p, b, s, first, captures, e));
    }
    return FY_OK;
}

void fy_bodies_free(fy_plan *p) {
    for (int64_t i = 0; i < p->bodies.n; i++) {
        fy_plan_free(p->bodies.at[i]->plan);
        fy_model_free(p->bodies.at[i]->model);
    }
    fy_free(p->bodies.at);
}

/* ---- running --------------------------------------------------------------------------------------------------------------- */

static fy_status memory_of(running *k, const fy_body *b, fy_plan_memory **mem) {
    fy_plan_memory *own = k->mem;
    if (!own->body) {
        own->body = fy_calloc((size_t)k->x.plan->bodies.n, sizeof *own->body);
        FY_NOMEM(k->e, own->body);
        own->nbodies = k->x.plan->bodies.n;
    }
    fy_plan_memory **at = &own->body[b->number];
    if (!*at) *at = fy_calloc(1, sizeof **at);
    FY_NOMEM(k->e, *at);
    *mem = *at;
    if (!(*mem)->given) (*mem)->given = fy_calloc((size_t)b->model->graph->in.n + 1, sizeof *(*mem)->given);
    FY_NOMEM(k->e, (*mem)->given);
    return FY_OK;
}

/* Strings point into what made them, which the caller may let go. */
static fy_status keep_strings(running *k, const fy_rval *v) {
    if (v->kind == FY_TENSOR && v->t.dtype == FERRY_STRING && v->t.own) {
        FY_PUSH(k->e, k->whole->strings, v->t.own);
        (void)fy_storage_ref(v->t.own);
    }
    for (int64_t i = 0; i < fy_rval_items(v); i++) FY_TRY(keep_strings(k, &v->item[i]));
    return FY_OK;
}

fy_status fy_run_body(fy_call *c, const fy_graph *g, int nin, fy_rval *const *in, int nout, fy_rval *out) {
    running *k = c->engine;
    const fy_body *b = NULL;
    fy_plan_memory *mem = NULL;
    memset(out, 0, (size_t)nout * sizeof *out);
    for (int i = 0; i < k->now->nbodies; i++)
        if (k->now->body[i]->graph == g) b = k->now->body[i];
    FY_NEED(k->e, b, INTERNAL, "a graph that its node does not own is to be run");
    FY_NEED(k->e, nin == g->in.n, GRAPH, "graph \"%s\" takes %lld inputs, not %d", g->name ? g->name : "", (long long)g->in.n, nin);
    FY_NEED(k->e, nout == g->out.n, GRAPH, "graph \"%s\" has %lld outputs, not %d", g->name ? g->name : "", (long long)g->out.n, nout);
    FY_TRY(memory_of(k, b, &mem));
    FY_TRY(fy_run_may_go_on(k));
    for (int i = 0; i < nin; i++) mem->given[i] = in[i];
    for (int i = 0; i < b->nouter; i++) {
        fy_rval *v = &k->x.value[k->now->in[b->outer[i]]->id];
        mem->given[nin + i] = v->kind ? v : NULL;
    }
    fy_plan_run r = *k->r;
    r.state = NULL;
    r.seen = NULL;
    running inner = {.x = k->x, .r = &r, .mem = mem, .whole = k->whole, .e = k->e};
    inner.x.plan = b->plan;
    fy_status s = fy_run_plan(&inner, mem->given, out);
    for (int i = 0; !s && i < nout; i++) s = keep_strings(k, &out[i]);
    for (int i = 0; s && i < nout; i++) fy_rval_free(&out[i]);
    return s;
}
