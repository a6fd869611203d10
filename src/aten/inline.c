/* SPDX-License-Identifier: Apache-2.0
 * inline.c - blocks that mean nothing to inference become plain nodes: no_grad (wrap_with_set_grad_enabled) and switched
 * off autocast (wrap_with_autocast). Nodes of the block move in front of it, its formal inputs and outputs are renamed. */
#include "aten/aten.h"

#include <string.h>

typedef struct inliner { fy_program *p; fy_pvalue **by; uint32_t n; ferry_error *e; int64_t budget; } inliner;

/* The value that stands for v now. Chains are as long as blocks are nested. */
static fy_pvalue *now(const inliner *in, fy_pvalue *v) {
    while (v && v->id < in->n && in->by[v->id]) v = in->by[v->id];
    return v;
}

static fy_status rename_arg(const inliner *in, fy_parg *a) {
    a->value = now(in, a->value);
    a->sym.value = now(in, a->sym.value);
    if (a->kind == FY_ARG_TENSORS && a->n > 0) {
        fy_pvalue **v = fy_arena_copy(&in->p->arena, a->values, (size_t)a->n, sizeof *v);
        FY_NOMEM(in->e, v);
        for (int64_t i = 0; i < a->n; i++) v[i] = now(in, v[i]);
        a->values = v;
    }
    if (a->kind == FY_ARG_SYMS && a->n > 0) {
        fy_psym *s = fy_arena_copy(&in->p->arena, a->syms, (size_t)a->n, sizeof *s);
        FY_NOMEM(in->e, s);
        for (int64_t i = 0; i < a->n; i++) s[i].value = now(in, s[i].value);
        a->syms = s;
    }
    return FY_OK;
}

/* One operand or output after another, lists opened. */
static int64_t flat_count(int n, const fy_parg *a) {
    int64_t k = 0;
    for (int i = 0; i < n; i++) k += a[i].kind == FY_ARG_TENSORS ? a[i].n : 1;
    return k;
}

static fy_pvalue *flat_at(int n, const fy_parg *a, int64_t at) {
    for (int i = 0; i < n; i++) {
        if (a[i].kind == FY_ARG_TENSORS) {
            if (at < a[i].n) return a[i].values[at];
            at -= a[i].n;
        } else if (at-- == 0) return a[i].kind == FY_ARG_SYM ? a[i].sym.value : a[i].value;
    }
    return NULL;
}

/* The block's nodes in front of it; returns the first of them (or what follows the block). */
static fy_status splice(inliner *in, fy_pnode *block, int body_at, fy_pnode **next) {
    fy_pgraph *body = block->arg[body_at].graph, *outer = block->graph;
    ferry_error *e = in->e;
    int nop = block->narg - body_at - 1;
    const fy_parg *op = block->arg + body_at + 1;
    FY_NEED(e, body && body != outer, GRAPH, "%s has no body", block->op);
    FY_NEED(e, flat_count(nop, op) == flat_count(body->nin, body->in), GRAPH, "%s: %lld operands for %lld inputs", block->op, (long long)flat_count(nop, op), (long long)flat_count(body->nin, body->in));
    FY_NEED(e, flat_count(block->nout, block->out) == flat_count(body->nout, body->out), GRAPH, "%s gives %lld values, its body %lld", block->op,
            (long long)flat_count(block->nout, block->out), (long long)flat_count(body->nout, body->out));
    for (int64_t i = 0; i < flat_count(body->nin, body->in); i++) {
        fy_pvalue *formal = flat_at(body->nin, body->in, i), *actual = now(in, flat_at(nop, op, i));
        if (formal && actual && formal != actual) in->by[formal->id] = actual;
    }
    *next = body->first ? body->first : block->next;
    for (fy_pnode *n = body->first; n;) {
        fy_pnode *after = n->next;
        FY_NEED(e, in->budget-- > 0, LIMIT, "blocks hold each other");
        n->graph = outer;
        n->prev = block->prev;
        n->next = block;
        if (block->prev) block->prev->next = n;
        else outer->first = n;
        block->prev = n;
        outer->nnodes++;
        n = after;
    }
    body->first = body->last = NULL;
    body->nnodes = 0;
    for (int64_t i = 0; i < flat_count(block->nout, block->out); i++) {
        fy_pvalue *out = flat_at(block->nout, block->out, i), *made = now(in, flat_at(body->nout, body->out, i));
        if (out && made && out != made) in->by[out->id] = made;
    }
    fy_pnode_remove(block);
    return FY_OK;
}

static fy_status inline_graph(inliner *in, fy_pgraph *g) {
    ferry_error *e = in->e;
    for (fy_pnode *n = g->first, *next; n; n = next) {
        next = n->next;
        for (int i = 0; i < n->narg; i++) FY_TRY(rename_arg(in, &n->arg[i]));
        int body = 0;
        while (body < n->narg && n->arg[body].kind != FY_ARG_GRAPH) body++;
        if (strcmp(n->op, "hop.wrap_with_set_grad_enabled") == 0 && body < n->narg) FY_TRY(splice(in, n, body, &next));
        else if (strcmp(n->op, "hop.wrap_with_autocast") == 0 && body < n->narg) {
            bool enabled = n->narg > 2 && n->arg[2].kind == FY_ARG_BOOL && n->arg[2].i;
            if (enabled) {
                fy_status s = fy_fail(e, FY_E_UNSUPPORTED, "a torch.autocast block is switched on%s%s", n->source ? " at " : "", n->source ? n->source : "");
                return fy_help(e, s, "its casts are not recorded in the archive: export without autocast and convert afterwards, or export model.half()");
            }
            FY_TRY(splice(in, n, body, &next));
        }
    }
    for (int i = 0; i < g->nout; i++) FY_TRY(rename_arg(in, &g->out[i]));
    return FY_OK;
}

typedef FY_VEC(fy_pgraph *) graph_list;

static fy_status inline_all(inliner *in, graph_list *todo) {
    FY_PUSH(in->e, *todo, in->p->graph);
    for (int64_t k = 0; k < todo->n; k++) {
        fy_pgraph *g = todo->at[k];
        FY_TRY(inline_graph(in, g));
        for (const fy_pnode *n = g->first; n; n = n->next)
            for (int i = 0; i < n->narg; i++)
                if (n->arg[i].kind == FY_ARG_GRAPH && n->arg[i].graph) FY_PUSH(in->e, *todo, n->arg[i].graph);
    }
    for (int i = 0; i < in->p->nout; i++) FY_TRY(rename_arg(in, &in->p->out[i].arg));
    return FY_OK;
}

fy_status fy_aten_inline(fy_program *p, ferry_error *e) {
    inliner in = {.p = p, .n = p->nvalues, .e = e, .budget = (int64_t)p->nnodes + 1};
    in.budget *= 64;                                     /* a node moves once for each level that it is nested in */
    in.by = fy_calloc(p->nvalues + 1, sizeof *in.by);
    FY_NOMEM(e, in.by);
    graph_list todo = {0};
    fy_status s = inline_all(&in, &todo);
    fy_free(in.by);
    fy_free(todo.at);
    return s == FY_OK ? fy_program_index(p, e) : s;
}
