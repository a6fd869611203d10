/* SPDX-License-Identifier: Apache-2.0
 * program.c - making, changing, indexing and freeing an ATen program. */
#include "program/program.h"

#include "base/file.h"

#include <string.h>

#define MAX_NESTING 64                   /* graphs within graphs; the reader refuses deeper ones */

fy_program *fy_program_new(void) {
    fy_program *p = fy_calloc(1, sizeof *p);
    if (!p) return NULL;
    p->dims = fy_dims_new();
    if (!p->dims) { fy_free(p); return NULL; }
    return p;
}

void fy_program_free(fy_program *p) {
    if (!p) return;
    for (int64_t i = 0; i < p->sample.n; i++) fy_tensor_free(&p->sample.at[i].t);
    fy_free(p->sample.at);
    fy_free(p->remark.at);
    fy_dims_free(p->dims);
    if (p->file) { fy_file_close(p->file); fy_free(p->file); }
    fy_arena_free(&p->arena);
    fy_free(p);
}

fy_dtype fy_c10_dtype(int64_t c10) {
    static const fy_dtype table[] = {FERRY_UINT8, FERRY_INT8, FERRY_INT16, FERRY_INT32, FERRY_INT64, FERRY_FLOAT16, FERRY_FLOAT,
                                     FERRY_DOUBLE, FERRY_UNDEFINED, FERRY_COMPLEX64, FERRY_COMPLEX128, FERRY_BOOL};
    return c10 == 15 ? FERRY_BFLOAT16 : c10 >= 0 && c10 < FY_COUNT(table) ? table[c10] : FERRY_UNDEFINED;
}

fy_pvalue *fy_pvalue_new(fy_program *p, fy_pvalue_kind kind, const char *name) {
    fy_pvalue *v = FY_NEW(&p->arena, fy_pvalue);
    if (!v) return NULL;
    v->kind = kind;
    v->id = p->nvalues++;
    v->name = fy_arena_str(&p->arena, name);
    return name && !v->name ? NULL : v;
}

fy_pnode *fy_pnode_new(fy_pgraph *g, fy_pnode *before, const char *op, int narg, int nout) {
    fy_arena *a = &g->program->arena;
    fy_pnode *n = FY_NEW(a, fy_pnode);
    if (!n) return NULL;
    n->op = n->target = fy_arena_str(a, op);
    n->arg = FY_NEWN(a, fy_parg, narg);
    n->out = FY_NEWN(a, fy_parg, nout);
    if ((op && !n->op) || !n->arg || !n->out) return NULL;
    n->narg = narg; n->nout = nout;
    n->graph = g;
    n->id = g->program->nnodes++;
    n->next = before;
    n->prev = before ? before->prev : g->last;
    if (n->prev) n->prev->next = n; else g->first = n;
    if (before) before->prev = n; else g->last = n;
    g->nnodes++;
    return n;
}

void fy_pnode_remove(fy_pnode *n) {
    fy_pgraph *g = n->graph;
    if (n->prev) n->prev->next = n->next; else g->first = n->next;
    if (n->next) n->next->prev = n->prev; else g->last = n->prev;
    n->prev = n->next = NULL;
    g->nnodes--;
}

const fy_parg *fy_pnode_arg(const fy_pnode *n, const char *name) {
    for (int i = 0; i < n->narg; i++)
        if (n->arg[i].name && !strcmp(n->arg[i].name, name)) return &n->arg[i];
    return NULL;
}

/* ---- index ------------------------------------------------------------------------------------------------------------ */

/* Calls fn for each value that an argument names; stops at its first failure. */
static fy_status each_value(fy_parg *a, fy_status (*fn)(void *ctx, fy_pvalue *v), void *ctx) {
    if (a->value) FY_TRY(fn(ctx, a->value));
    if (a->values)
        for (int64_t i = 0; i < a->n; i++)
            if (a->values[i]) FY_TRY(fn(ctx, a->values[i]));
    if (a->sym.value) FY_TRY(fn(ctx, a->sym.value));
    if (a->syms)
        for (int64_t i = 0; i < a->n; i++)
            if (a->syms[i].value) FY_TRY(fn(ctx, a->syms[i].value));
    return FY_OK;
}

typedef struct index { fy_program *p; ferry_error *e; fy_pnode *node; int slot; } index;

static fy_status forget(void *ctx, fy_pvalue *v) {
    (void)ctx;
    v->id = UINT32_MAX;
    v->nuses = 0;
    v->def = NULL;
    return FY_OK;
}

static fy_status define(void *ctx, fy_pvalue *v) {
    index *x = ctx;
    FY_NEED(x->e, v->id == UINT32_MAX, GRAPH, "the value %s is made twice", v->name ? v->name : "?");
    v->id = x->p->nvalues++;
    v->def = x->node;
    v->def_slot = x->slot;
    return FY_OK;
}

static fy_status use(void *ctx, fy_pvalue *v) {
    index *x = ctx;
    FY_NEED(x->e, v->id != UINT32_MAX, GRAPH, "the value %s is used before it is made", v->name ? v->name : "?");
    v->nuses++;
    return FY_OK;
}

/* Visits a graph and those inside it, in order: inputs, then for each node its arguments, subgraphs and outputs. */
static fy_status visit(index *x, fy_pgraph *g, bool reset, int depth) {
    FY_NEED(x->e, depth <= MAX_NESTING, LIMIT, "graphs are nested deeper than %d", MAX_NESTING);
    x->node = NULL;
    for (int i = 0; i < g->nin; i++) { x->slot = i; FY_TRY(each_value(&g->in[i], reset ? forget : define, x)); }
    for (fy_pnode *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->narg; i++) {
            FY_TRY(each_value(&n->arg[i], reset ? forget : use, x));
            if (n->arg[i].graph) FY_TRY(visit(x, n->arg[i].graph, reset, depth + 1));
        }
        if (!reset) n->id = x->p->nnodes++;
        x->node = n;
        for (int i = 0; i < n->nout; i++) { x->slot = i; FY_TRY(each_value(&n->out[i], reset ? forget : define, x)); }
    }
    for (int i = 0; i < g->nout; i++) FY_TRY(each_value(&g->out[i], reset ? forget : use, x));
    return FY_OK;
}

fy_status fy_program_index(fy_program *p, ferry_error *e) {
    index x = { .p = p, .e = e };
    FY_TRY(visit(&x, p->graph, true, 0));
    p->nvalues = p->nnodes = 0;
    return visit(&x, p->graph, false, 0);
}

