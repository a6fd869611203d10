/* SPDX-License-Identifier: Apache-2.0
 * dynamic.c - steps whose sizes are not known before the run, because they follow from contents or because operators around them do not tell. When such
 * a step is reached, inference looks at what is there, as the interpreter would; results get memory that an earlier one gave back, and the step's
 * implementation runs as any other. Where values are not what the plan took them for (of another rank, or of sizes that were to be equal and are not), or
 * sizes inside a step depend on contents inside it, its nodes are run one by one by reference kernels. */
#include "plan/run.h"

#include "base/checked.h"

#include <string.h>

fy_call fy_run_call(running *k) {
    return (fy_call){.e = k->e, .pool = k->x.pool, .scratch = &k->mem->work, .spares = k->whole->spares, .run_graph = fy_run_body, .engine = k, .max_bytes = k->x.max_bytes,
                     .hooks = k->x.hooks, .stop = k->x.stop, .stop_ctx = k->x.stop_ctx};
}

static void drop(running *k, const fy_value *v) {
    fy_rval_free(&k->x.value[v->id]);
    k->x.value[v->id] = (fy_rval){0};
}

/* ---- what values turn out to be -------------------------------------------------------------------------------------------- */

/* Is v of the type that the plan knows, its sizes equal where they were to be? A symbol that has no value yet gets one. */
static fy_status look_at(running *k, const fy_value *v, const fy_tensor *t, bool *fits) {
    *fits = v->type.kind == FY_TENSOR && v->type.dtype == t->dtype && v->type.rank == t->rank;
    for (int i = 0; *fits && i < t->rank; i++) {
        if (v->type.dim[i]->kind == FY_DIM_CONST) *fits = v->type.dim[i]->value == t->dim[i];
        else FY_NOMEM(k->e, fy_bounds_solve(&k->mem->bounds, v->type.dim[i], t->dim[i], fits));
    }
    return FY_OK;
}

static fy_status note(running *k, const fy_value *v) {
    const fy_rval *r = &k->x.value[v->id];
    bool fits = false;
    if (r->kind == FY_TENSOR) FY_TRY(look_at(k, v, &r->t, &fits));
    k->mem->odd[v->id] = !fits;
    return FY_OK;
}

static fy_status begin(running *k) {
    const fy_graph *g = k->x.plan->m->graph;
    if (k->bounded) return FY_OK;
    k->bounded = true;
    FY_NOMEM(k->e, fy_bounds_set(&k->mem->bounds, &k->x.spec->bounds));
    if (!k->mem->odd) k->mem->odd = fy_malloc((size_t)k->x.plan->nvalues + 1, sizeof *k->mem->odd);
    FY_NOMEM(k->e, k->mem->odd);
    memset(k->mem->odd, 0, (size_t)k->x.plan->nvalues * sizeof *k->mem->odd);
    for (int64_t i = 0; i < g->in.n; i++)
        if (k->x.value[g->in.at[i]->id].kind) FY_TRY(note(k, g->in.at[i]));
    return FY_OK;
}

/* ---- memory ---------------------------------------------------------------------------------------------------------------- */

static fy_status take(running *k, fy_tensor *t, fy_layout layout, fy_dtype dtype, int rank, const int64_t *dim, int number) {
    int64_t count, held[FY_MAX_RANK];
    for (int i = 0; i < rank; i++) held[i] = layout == FY_C16 && i == 1 ? (dim[i] + FY_LANES - 1) / FY_LANES * FY_LANES : dim[i];
    FY_NEED(k->e, fy_count_dims(&count, rank, held) && count <= k->x.max_bytes / fy_elem_bytes(dtype), LIMIT, "output %d would take more than %lld bytes", number, (long long)k->x.max_bytes);
    FY_TRY(fy_tensor_take(t, k->whole->spares, dtype, rank, held, k->e));
    if (rank) memcpy(t->dim, dim, (size_t)rank * sizeof *dim);
    fy_strides(rank, t->dim, t->stride);
    return FY_OK;
}

static fy_status convert(running *k, const fy_tensor *from, const fy_tensor *to, fy_layout layout) {
    FY_NEED(k->e, (from->dtype == FERRY_FLOAT || fy_elem_bytes(from->dtype) == 1) && from->rank >= 2, INTERNAL, "a value in blocks of channels is not of the type that inference gave");
    fy_run_reorder(from, to, layout, k->x.pool);
    return FY_OK;
}

/* The value, or itself in the other layout where only that is there still. */
static const fy_value *held(const running *k, const fy_value *v) {
    const fy_value *other = k->x.plan->converted[v->id];
    return !k->x.value[v->id].kind && other && k->x.value[other->id].kind ? other : v;
}

/* ---- a node by its reference kernel ---------------------------------------------------------------------------------------- */

/* The value as kernels take it. Constants that were packed are read anew, blocked values copied where nobody had them plain; both into *own. */
static fy_status plain(running *k, const fy_value *v, fy_rval **at, fy_rval *own) {
    const fy_plan *p = k->x.plan;
    v = p->layout[v->id] != FY_PLAIN && p->converted[v->id] && k->x.value[p->converted[v->id]->id].kind ? p->converted[v->id] : held(k, v);
    fy_rval *r = *at = &k->x.value[v->id];
    if (!r->kind && v->constant) {
        own->kind = FY_TENSOR;
        *at = own;
        return fy_const_tensor(&own->t, v->constant, k->e);
    }
    FY_NEED(k->e, r->kind, GRAPH, "value \"%s\" is used before it is made", v->name ? v->name : "");
    if (p->layout[v->id] == FY_PLAIN) return FY_OK;
    own->kind = FY_TENSOR;
    *at = own;
    FY_TRY(take(k, &own->t, FY_PLAIN, r->t.dtype, r->t.rank, r->t.dim, 0));
    return convert(k, &r->t, &own->t, FY_PLAIN);
}

static fy_status allocate(running *k, const fy_fact *f, int i, fy_rval *v) {
    int64_t dim[FY_MAX_RANK];
    v->kind = f->type.kind == FY_NOTYPE ? FY_TENSOR : f->type.kind;
    if (f->type.kind != FY_TENSOR || !f->type.dtype || f->type.rank < 0) return FY_OK;
    FY_NEED(k->e, f->type.rank <= FY_MAX_RANK, LIMIT, "output %d has rank %d; most is %d", i, f->type.rank, FY_MAX_RANK);
    for (int d = 0; d < f->type.rank; d++)
        if (!fy_dim_known(f->type.dim[d], &dim[d])) return FY_OK;
    for (int d = 0; d < f->type.rank; d++) FY_NEED(k->e, dim[d] >= 0, SHAPE, "output %d has size %lld on axis %d", i, (long long)dim[d], d);
    return take(k, &v->t, FY_PLAIN, f->type.dtype, f->type.rank, dim, i);
}

static fy_status call_kernel(running *k, const fy_node *n, fy_rval **in, fy_rval **out) {
    const fy_op *op = n->op;
    fy_call c = fy_run_call(k);
    FY_NEED(k->e, op->ref, OP, "there is no kernel for operator %s%s%s", op->domain, *op->domain ? "." : "", op->name);
    for (int i = 0; i < op->min_in; i++) FY_NEED(k->e, i < n->nin && in[i], GRAPH, "%s: input %d is left out", op->name, i);
    fy_fact *fact = NULL;
    if (op->infer && !(op->flags & FY_CONTROL)) FY_TRY(fy_infer_real(&fact, &k->mem->sizes, n, n->nin, in, n->nout, &k->mem->work, k->e));
    for (int i = 0; i < n->nout; i++) {
        if (!out[i]) continue;
        out[i]->kind = FY_TENSOR;
        if (fact) FY_TRY(allocate(k, &fact[i], i, out[i]));
    }
    c.node = n;
    c.nin = n->nin;
    c.nout = n->nout;
    c.in = in;
    c.out = out;
    FY_TRY(op->ref(&c));
    FY_NEED(k->e, !fy_stopped(&c), STOPPED, "the run was stopped");        /* pieces of the result may be missing */
    for (int i = 0; i < n->nout; i++) {
        if (!out[i]) continue;
        FY_NEED(k->e, out[i]->kind != FY_TENSOR || out[i]->t.dtype, INTERNAL, "%s made no output %d", op->name, i);
        FY_TRY(fy_rval_own(out[i], k->e));
    }
    return FY_OK;
}

static fy_status run_node(running *k, const fy_node *n) {
    fy_arena *a = &k->mem->work;
    fy_rval **in = FY_NEWN(a, fy_rval *, n->nin), *own = FY_NEWN(a, fy_rval, n->nin), **out = FY_NEWN(a, fy_rval *, n->nout), *made = FY_NEWN(a, fy_rval, n->nout);
    fy_status st = in && own && out && made ? FY_OK : fy_nomem(k->e);
    for (int i = 0; !st && i < n->nin; i++)
        if (n->in[i].value) st = plain(k, n->in[i].value, &in[i], &own[i]);
    for (int i = 0; !st && i < n->nout; i++)
        if (n->out[i]) out[i] = &made[i];
    if (!st) st = call_kernel(k, n, in, out);
    if (st && in) fy_frame_inputs(k->e, st, n, n->nin, in);
    for (int i = 0; own && i < n->nin; i++) fy_rval_free(&own[i]);
    for (int i = 0; made && i < n->nout; i++) {
        const fy_value *v = n->out[i];
        if (!v || st) { fy_rval_free(&made[i]); continue; }
        drop(k, v);
        k->x.value[v->id] = made[i];
        made[i] = (fy_rval){0};
        st = note(k, v);
        if (!st) st = fy_run_check_made(&k->x, v, k->e);
    }
    return st;
}

/* ---- a step by its implementation ------------------------------------------------------------------------------------------ */

/* A value as inference sees it: contents only where they are plain. */
static fy_status facts_of(running *k, const fy_value *v, fy_rval **at, fy_rval *own) {
    v = held(k, v);
    fy_rval *r = &k->x.value[v->id];
    if (r->kind && k->x.plan->layout[v->id] == FY_PLAIN) { *at = r; return FY_OK; }
    *at = own;
    own->kind = FY_TENSOR;
    if (r->kind) own->t = fy_tensor_view(r->t.dtype, r->t.rank, r->t.dim, NULL);
    else {
        FY_NEED(k->e, v->constant, GRAPH, "value \"%s\" is used before it is made", v->name ? v->name : "");
        if (v->constant->count <= FY_MAX_ELEM) return fy_const_tensor(&own->t, v->constant, k->e);
        own->t = fy_tensor_view(v->constant->dtype, v->constant->rank, v->constant->dim, NULL);
    }
    return FY_OK;
}

/* Sizes of what n makes, as values without contents; *known: all of them, as the plan took them to be. */
static fy_status infer_node(running *k, const fy_node *n, bool *known) {
    fy_arena *a = &k->mem->work;
    fy_rval **in = FY_NEWN(a, fy_rval *, n->nin), *own = FY_NEWN(a, fy_rval, n->nin);
    fy_fact *out = NULL;
    fy_status st = in && own ? FY_OK : fy_nomem(k->e);
    for (int i = 0; !st && i < n->nin; i++)
        if (n->in[i].value) st = facts_of(k, n->in[i].value, &in[i], &own[i]);
    if (!st) st = fy_infer_real(&out, &k->mem->sizes, n, n->nin, in, n->nout, a, k->e);
    if (st && in) fy_frame_inputs(k->e, st, n, n->nin, in);
    for (int i = 0; own && i < n->nin; i++) fy_rval_free(&own[i]);
    for (int i = 0; !st && *known && i < n->nout; i++) {
        const fy_value *v = n->out[i];
        const fy_type *t = &out[i].type;
        int64_t dim[FY_MAX_RANK];
        if (!v) continue;
        *known = t->kind == FY_TENSOR && t->dtype && t->rank >= 0 && t->rank <= FY_MAX_RANK;
        for (int d = 0; *known && d < t->rank; d++) *known = fy_dim_known(t->dim[d], &dim[d]) && dim[d] >= 0;
        if (!*known) break;
        drop(k, v);
        k->x.value[v->id] = (fy_rval){.kind = FY_TENSOR, .t = fy_tensor_view(t->dtype, t->rank, dim, NULL)};
        st = look_at(k, v, &k->x.value[v->id].t, known);
    }
    return st;
}

static const fy_node *node_of(const fy_step *s, int i) {
    int covered = s->cover ? s->cover->n : 0;
    return i < covered ? s->cover->node[i] : i == covered ? s->node : s->fused[i - covered - 1];
}

static int nodes_of(const fy_step *s) { return s->node ? (s->cover ? s->cover->n : 0) + 1 + s->nfused : 0; }

/* Values inside the step, and those of its outputs that another step will make of this one's. */
static void drop_inner(running *k, const fy_step *s) {
    for (int i = 0; i < nodes_of(s); i++)
        for (int o = 0; o < node_of(s, i)->nout; o++) {
            const fy_value *v = node_of(s, i)->out[o];
            bool outside = !v;
            for (int q = 0; v && q < s->nout; q++) outside |= s->out[q] == v;
            if (!outside) drop(k, v);
        }
}

/* Sizes of all that the step makes and holds; *known: its implementation can run on them. */
static fy_status infer_step(running *k, const fy_step *s, bool *known) {
    *known = s->impl != &fy_impl_reference;
    for (int i = 0; *known && i < s->nin; i++) {
        const fy_value *v = s->in[i];
        if (!v || v->constant) continue;
        *known = k->x.value[v->id].kind == FY_TENSOR && (!k->mem->odd[v->id] || !s->node);
    }
    for (int i = 0; *known && i < nodes_of(s); i++) FY_TRY(infer_node(k, node_of(s, i), known));
    return FY_OK;
}

static fy_status give_memory(running *k, const fy_step *s) {
    const fy_node *maker = s->nfused ? s->fused[s->nfused - 1] : s->node;
    for (int i = 0; i < s->nout; i++) {
        const fy_value *v = s->out[i];
        if (!v) continue;
        fy_tensor t = k->x.value[maker ? maker->out[i]->id : s->in[0]->id].t, *to = &k->x.value[v->id].t;
        drop(k, v);
        k->x.value[v->id].kind = FY_TENSOR;
        FY_TRY(take(k, to, k->x.plan->layout[v->id], t.dtype, t.rank, t.dim, i));
        FY_TRY(note(k, v));
        FY_TRY(fy_run_check_made(&k->x, v, k->e));
    }
    return FY_OK;
}

/* Output 0 is input 0 with the sizes found: its memory as well, unless it leaves the run. */
static fy_status run_alias(running *k, const fy_step *s) {
    const fy_value *v = s->out[0];
    const fy_tensor *from = fy_step_in(s, &k->x, 0);
    fy_rval *r = &k->x.value[v->id];
    char *data;
    FY_TRY(fy_run_part(&data, s, from, r->t.dtype, r->t.rank, r->t.dim, k->e));
    fy_tensor seen = fy_tensor_view(r->t.dtype, r->t.rank, r->t.dim, data);
    bool leaves = k->x.plan->last[v->id] == INT32_MAX, shares = !leaves || (k->x.plan->inner && from->own && !from->own->borrowed);
    if (shares) {
        seen.own = fy_storage_ref(from->own);
        r->t = seen;
    } else {
        FY_TRY(take(k, &r->t, FY_PLAIN, seen.dtype, seen.rank, seen.dim, 0));
        fy_tensor_copy(&r->t, &seen);
    }
    FY_TRY(note(k, v));
    return fy_run_check_made(&k->x, v, k->e);
}

static fy_status run_fast(running *k, const fy_step *s) {
    fy_status st;
    if (s->impl->flags & FY_IMPL_ALIAS) st = run_alias(k, s);
    else {
        st = give_memory(k, s);
        if (!st && !s->node) return convert(k, fy_step_in(s, &k->x, 0), fy_step_out(s, &k->x, 0), s->out_layout);
        if (!st) st = s->impl->run(s, &k->x, k->e);
    }
    if (!st || !s->node) return st;
    char where[180];
    fy_node_describe(where, sizeof where, s->node);
    return fy_frame(k->e, st, "%s", where);
}

/* What a node made, plain, as the step's result v in blocks. */
static fy_status block_result(running *k, const fy_value *made, const fy_value *v) {
    fy_tensor t = k->x.value[made->id].t;
    k->x.value[made->id] = (fy_rval){0};
    drop(k, v);
    fy_rval *to = &k->x.value[v->id];
    to->kind = FY_TENSOR;
    fy_status st = take(k, &to->t, FY_C16, t.dtype, t.rank, t.dim, 0);
    if (!st) st = convert(k, &t, &to->t, FY_C16);
    fy_tensor_free(&t);
    return st ? st : note(k, v);
}

/* Node by node. Blocked results are made from plain ones. */
static fy_status run_nodes(running *k, const fy_step *s) {
    FY_NEED(k->e, s->node, INTERNAL, "a conversion of layouts is to make sizes that are not known");
    for (int i = 0; i < nodes_of(s); i++) FY_TRY(run_node(k, node_of(s, i)));
    const fy_node *last = s->nfused ? s->fused[s->nfused - 1] : s->node;
    for (int i = 0; i < s->nout; i++)
        if (s->out[i] && k->x.plan->layout[s->out[i]->id] != FY_PLAIN) FY_TRY(block_result(k, last->out[i], s->out[i]));
    return FY_OK;
}

fy_status fy_run_dynamic(running *k, const fy_step *s) {
    bool fast;
    fy_arena_reset(&k->mem->work);
    FY_TRY(begin(k));
    fy_status st = infer_step(k, s, &fast);
    if (!st) st = fast ? run_fast(k, s) : run_nodes(k, s);
    drop_inner(k, s);
    return st;
}
