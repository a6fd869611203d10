/* SPDX-License-Identifier: Apache-2.0
 * functions.c - model-local functions: a call is replaced by a copy of the body, attributes of the call put where the body refers to them
 * (onnx.proto FunctionProto, AttributeProto.ref_attr_name). Raising does this, since a body is written against opsets of its own. */
#include "ir/copy.h"
#include "opset/internal.h"

#include <string.h>

typedef struct inlining { fy_model *m; const fy_node *call; const fy_function *f; } inlining;

/* A reference stands for the call's attribute, else for the function's default, else for nothing. */
static const fy_attr *resolved(void *ctx, const fy_attr *a) {
    const inlining *in = ctx;
    if (!a->ref) return a;
    const fy_attr *given = fy_attr_get(in->call, a->ref);
    for (int64_t i = 0; !given && i < in->f->defaults.n; i++)
        if (!strcmp(in->f->defaults.at[i].name, a->ref)) given = &in->f->defaults.at[i];
    return given;
}

static const char *name_in(void *ctx, const char *inner) {
    const inlining *in = ctx;
    const char *outer = in->call->name && *in->call->name ? in->call->name : in->f->name;
    return inner && *inner ? fy_arena_fmt(&in->m->arena, "%s/%s", outer, inner) : inner;
}

static void origin(void *ctx, fy_node *copy) {
    const inlining *in = ctx;
    if (in->call->scope) copy->scope = in->call->scope;
    if (!copy->source) copy->source = in->call->source;
}

static fy_status put_body(fy_copy *c, fy_step_ctx *x, const fy_function *f) {
    FY_TRY(fy_copy_begin(c, f->body));
    for (int64_t i = 0; i < f->body->in.n; i++) fy_copy_set(c, f->body->in.at[i], fy_in(x->n, (int)i));
    FY_TRY(fy_copy_nodes(c, x->n->graph, x->n, f->body));
    for (int i = 0; i < x->n->nout; i++) {
        fy_value *v = fy_copy_of(c, f->body->out.at[i]);
        FY_NEED(x->e, v, GRAPH, "function \"%.80s\": output %d is an input that the call leaves out", f->name, i);
        FY_TRY(fy_step_put(x, i, v));
    }
    return fy_step_done(x);
}

fy_status fy_function_inline(fy_step_ctx *x, const fy_function *f) {
    inlining in = {x->m, x->n, f};
    fy_copy c = {.m = x->m, .e = x->e, .ctx = &in, .attr = resolved, .name = name_in, .node = origin};
    FY_NEED(x->e, x->n->nin <= f->body->in.n && x->n->nout <= f->body->out.n, GRAPH, "function \"%.80s\" has %lld inputs and %lld outputs; the call has %d and %d", f->name,
            (long long)f->body->in.n, (long long)f->body->out.n, x->n->nin, x->n->nout);
    fy_status s = put_body(&c, x, f);
    fy_copy_end(&c);
    return s;
}
