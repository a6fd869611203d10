/* SPDX-License-Identifier: Apache-2.0
 * interp.c - runs a graph with reference kernels only: the meaning of a model, not its speed.
 *
 * One table of slots, indexed by value id, serves the main graph and all bodies (ids are dense in a model, and no body runs
 * inside itself). A graph counts the uses that its own nodes (captures included) make of its own values; a value goes when
 * its count is 0. Constants are views made at their first use and dropped after their last. */
#include "base/checked.h"
#include "ops/ops.h"

#include <string.h>

typedef struct slot { fy_rval *v; int64_t uses; bool owned; } slot;

typedef struct run {
    const fy_interp *it;
    fy_run_dims      sizes;
    int64_t          max_bytes, steps;
    int              depth;
    slot            *slot;
    uint32_t         nslots;
    fy_rval         *spare;              /* freed rvals, linked through item */
    FY_VEC(fy_storage *) strings;        /* storage of string tensors: elements point into what made them, so all stay to the end */
    ferry_error     *e;
} run;

static fy_status run_graph(run *r, const fy_graph *g, int nin, fy_rval *const *in, int nout, fy_rval *out, bool own_memory);

/* ---- slots --------------------------------------------------------------------------------------------------------- */

static fy_rval *new_rval(run *r) {
    fy_rval *v = r->spare;
    if (v) {
        r->spare = v->item;
        memset(v, 0, sizeof *v);
        return v;
    }
    return fy_calloc(1, sizeof *v);
}

static void keep_strings(run *r, fy_rval *v) {
    if (v->kind == FY_TENSOR && v->t.dtype == FERRY_STRING && v->t.own && FY_RESERVE(r->strings, r->strings.n + 1))
        r->strings.at[r->strings.n++] = fy_storage_ref(v->t.own);
    for (int64_t i = 0; i < fy_rval_items(v); i++) keep_strings(r, &v->item[i]);
}

static void drop_rval(run *r, fy_rval *v) {
    if (!v) return;
    keep_strings(r, v);
    fy_rval_free(v);
    v->item = r->spare;
    r->spare = v;
}

static void clear(run *r, const fy_value *v) {
    slot *s = &r->slot[v->id];
    if (s->owned) drop_rval(r, s->v);
    s->v = NULL;
    s->owned = false;
}

static void used(run *r, const fy_graph *g, const fy_value *v) {
    if (v && v->graph == g && --r->slot[v->id].uses == 0) clear(r, v);
}

/* The value as it is now: made, or a constant seen for the first time. */
static fy_status fetch(run *r, const fy_value *v, fy_rval **val) {
    slot *s = &r->slot[v->id];
    if (!s->v && v->constant) {
        fy_rval *c = new_rval(r);
        FY_NOMEM(r->e, c);
        c->kind = FY_TENSOR;
        fy_status st = fy_const_tensor(&c->t, v->constant, r->e);
        if (st != FY_OK) {
            drop_rval(r, c);
            return st;
        }
        s->v = c;
        s->owned = true;
    }
    FY_NEED(r->e, s->v, GRAPH, "value \"%s\" is used before it is made", v->name ? v->name : "");
    *val = s->v;
    return FY_OK;
}

/* Before each node and body: may the run go on? */
static fy_status step(run *r) {
    const fy_interp *it = r->it;
    FY_NEED(r->e, !it->max_steps || ++r->steps <= it->max_steps, LIMIT, "more than %lld steps", (long long)it->max_steps);
    FY_NEED(r->e, !it->stop || !it->stop(it->ctx), STOPPED, "the run was stopped");
    return FY_OK;
}

/* ---- one node ------------------------------------------------------------------------------------------------------ */

static fy_status body(fy_call *c, const fy_graph *g, int nin, fy_rval *const *in, int nout, fy_rval *out) {
    run *r = c->engine;
    return run_graph(r, g, nin, in, nout, out, false);
}

/* Output i gets its memory where inference tells its shape; the kernel allocates the others. */
static fy_status allocate(run *r, const fy_fact *f, int i, fy_rval *v) {
    int64_t dim[FY_MAX_RANK], count;
    v->kind = f->type.kind == FY_NOTYPE ? FY_TENSOR : f->type.kind;
    if (f->type.kind != FY_TENSOR || !f->type.dtype || f->type.rank < 0) return FY_OK;
    FY_NEED(r->e, f->type.rank <= FY_MAX_RANK, LIMIT, "output %d has rank %d; most is %d", i, f->type.rank, FY_MAX_RANK);
    for (int k = 0; k < f->type.rank; k++)
        if (!fy_dim_known(f->type.dim[k], &dim[k])) return FY_OK;
    for (int k = 0; k < f->type.rank; k++) FY_NEED(r->e, dim[k] >= 0, SHAPE, "output %d has size %lld on axis %d", i, (long long)dim[k], k);
    FY_NEED(r->e, fy_count_dims(&count, f->type.rank, dim) && count <= r->max_bytes / fy_elem_bytes(f->type.dtype), LIMIT,
            "output %d would take more than %lld bytes", i, (long long)r->max_bytes);
    return fy_tensor_new(&v->t, f->type.dtype, f->type.rank, dim, r->e);
}

static fy_status call_node(run *r, const fy_node *n, int nin, fy_rval *const *in, int nout, fy_rval **out, fy_arena *scratch) {
    const fy_op *op = n->op;
    FY_NEED(r->e, op->ref, OP, "there is no kernel for operator %s%s%s", op->domain, *op->domain ? "." : "", op->name);
    FY_NEED(r->e, nin >= op->min_in && (op->max_in < 0 || nin <= op->max_in), GRAPH, "%s has %d inputs", op->name, nin);
    for (int i = 0; i < op->min_in; i++) FY_NEED(r->e, in[i], GRAPH, "%s: input %d is left out", op->name, i);
    if (op->infer && !(op->flags & FY_CONTROL)) {
        fy_fact *fact;
        FY_TRY(fy_infer_real(&fact, &r->sizes, n, nin, in, nout, scratch, r->e));
        for (int i = 0; i < nout; i++)
            if (out[i]) FY_TRY(allocate(r, &fact[i], i, out[i]));
    } else {
        for (int i = 0; i < nout; i++)
            if (out[i]) out[i]->kind = FY_TENSOR;
    }
    fy_call c = {.node = n, .e = r->e, .pool = r->it->pool, .scratch = scratch, .nin = nin, .nout = nout, .in = in, .out = out,
                 .run_graph = body, .engine = r, .max_bytes = r->max_bytes, .hooks = r->it->hooks,
                 .stop = r->it->stop, .stop_ctx = r->it->ctx};
    FY_TRY(op->ref(&c));
    FY_NEED(r->e, !fy_stopped(&c), STOPPED, "the run was stopped");        /* pieces of the result may be missing */
    return FY_OK;
}

fy_status fy_frame_inputs(ferry_error *e, fy_status s, const fy_node *n, int nin, fy_rval *const *in) {
    char where[180];
    fy_buf b = {0};
    for (int i = 0; i < nin && b.n < 150; i++) {
        fy_buf_str(&b, i ? ", " : "");
        if (!in[i]) fy_buf_str(&b, "-");
        else if (in[i]->kind == FY_TENSOR) fy_tensor_print(&b, &in[i]->t, 0);
        else fy_buf_str(&b, in[i]->kind == FY_SEQUENCE ? "sequence" : in[i]->kind == FY_OPTIONAL ? "optional" : "map");
    }
    fy_node_describe(where, sizeof where, n);
    fy_frame(e, s, "%s", where);
    if (b.n && !b.oom) fy_frame(e, s, "inputs %.170s", b.at);
    fy_buf_free(&b);
    return s;
}

static fy_status run_node(run *r, const fy_graph *g, const fy_node *n) {
    fy_arena scratch = {0};
    fy_rval *few_in[8], *few_out[4], **in = few_in, **out = few_out, *unused;
    fy_status s = FY_OK;
    if (n->nin > 8) in = FY_NEWN(&scratch, fy_rval *, n->nin);
    if (n->nout > 4) out = FY_NEWN(&scratch, fy_rval *, n->nout);
    if (!in || !out) {
        fy_arena_free(&scratch);
        return fy_nomem(r->e);
    }
    memset(in, 0, (size_t)n->nin * sizeof *in);
    memset(out, 0, (size_t)n->nout * sizeof *out);
    for (int i = 0; i < n->nin && s == FY_OK; i++)
        if (n->in[i].value) s = fetch(r, n->in[i].value, &in[i]);
    for (int i = 0; i < n->ncap && s == FY_OK; i++)
        if (n->cap[i]->value) s = fetch(r, n->cap[i]->value, &unused);
    for (int i = 0; i < n->nout && s == FY_OK; i++)
        if (n->out[i] && !(out[i] = new_rval(r))) s = fy_nomem(r->e);
    if (s == FY_OK) s = step(r);
    if (s == FY_OK) s = call_node(r, n, n->nin, in, n->nout, out, &scratch);
    for (int i = 0; i < n->nout && s == FY_OK; i++)
        if (out[i] && out[i]->kind == FY_TENSOR && !out[i]->t.dtype) s = fy_fail(r->e, FY_E_INTERNAL, "%s made no output %d", n->op->name, i);
    if (s != FY_OK) {
        fy_frame_inputs(r->e, s, n, n->nin, in);
        for (int i = 0; i < n->nout; i++) drop_rval(r, out[i]);
        fy_arena_free(&scratch);
        return s;
    }
    for (int i = 0; i < n->nout; i++) {
        if (!out[i]) continue;
        slot *sl = &r->slot[n->out[i]->id];
        if (sl->owned) drop_rval(r, sl->v);
        sl->v = out[i];
        sl->owned = true;
        if (r->it->seen) r->it->seen(r->it->ctx, n->out[i], out[i]);
    }
    for (int i = 0; i < n->nin; i++) used(r, g, n->in[i].value);
    for (int i = 0; i < n->ncap; i++) used(r, g, n->cap[i]->value);
    for (int i = 0; i < n->nout; i++)
        if (out[i] && r->slot[n->out[i]->id].uses == 0) clear(r, n->out[i]);
    fy_arena_free(&scratch);
    return FY_OK;
}

/* ---- a graph ------------------------------------------------------------------------------------------------------- */

static void count(run *r, const fy_graph *g, const fy_value *v, int64_t by) {
    if (v && v->graph == g) r->slot[v->id].uses += by;
}

/* Counts start at 0 whatever an earlier run of the same body left behind. */
static void count_uses(run *r, const fy_graph *g) {
    for (int64_t i = 0; i < g->in.n; i++) r->slot[g->in.at[i]->id].uses = 0;
    for (int64_t i = 0; i < g->constants.n; i++) r->slot[g->constants.at[i]->id].uses = 0;
    for (const fy_node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->nout; i++)
            if (n->out[i]) r->slot[n->out[i]->id].uses = 0;
    for (const fy_node *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->nin; i++) count(r, g, n->in[i].value, 1);
        for (int i = 0; i < n->ncap; i++) count(r, g, n->cap[i]->value, 1);
    }
    for (int64_t i = 0; i < g->out.n; i++) count(r, g, g->out.at[i], 1);
    for (int64_t i = 0; i < g->state.n; i++) count(r, g, g->state.at[i].out, 1);
}

static void clear_graph(run *r, const fy_graph *g) {
    for (int64_t i = 0; i < g->in.n; i++) clear(r, g->in.at[i]);
    for (int64_t i = 0; i < g->constants.n; i++) clear(r, g->constants.at[i]);
    for (int64_t i = 0; i < g->state.n; i++)
        if (g->state.at[i].in) clear(r, g->state.at[i].in);
    for (const fy_node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->nout; i++)
            if (n->out[i]) clear(r, n->out[i]);
}

/* Declared state: from the caller's store, else from its initial constant. */
static fy_status load_state(run *r, const fy_graph *g) {
    for (int64_t i = 0; i < g->state.n; i++) {
        const fy_state *st = &g->state.at[i];
        fy_rval *kept = r->it->state && r->it->state[i].kind ? &r->it->state[i] : NULL, *v;
        if (!st->in || r->slot[st->in->id].v || (!kept && !st->init)) continue;
        FY_NOMEM(r->e, v = new_rval(r));
        r->slot[st->in->id].v = v;
        r->slot[st->in->id].owned = true;
        v->kind = FY_TENSOR;
        FY_TRY(kept ? fy_rval_copy(v, kept, r->e) : fy_const_tensor(&v->t, st->init, r->e));
    }
    return FY_OK;
}

static fy_status store_state(run *r, const fy_graph *g) {
    for (int64_t i = 0; i < g->state.n && r->it->state; i++) {
        fy_rval *v, next = {0};
        if (!g->state.at[i].out) continue;
        FY_TRY(fetch(r, g->state.at[i].out, &v));
        fy_status s = fy_rval_copy(&next, v, r->e);
        if (s == FY_OK) s = fy_rval_own(&next, r->e);
        if (s != FY_OK) {
            fy_rval_free(&next);
            return s;
        }
        fy_rval_free(&r->it->state[i]);
        r->it->state[i] = next;
    }
    return FY_OK;
}

/* What leaves the interpreter must not point into the caller's inputs. */
fy_status fy_rval_own(fy_rval *v, ferry_error *e) {
    if (v->kind == FY_TENSOR && v->t.dtype == FERRY_STRING) return fy_tensor_own_strings(&v->t, e);
    if (v->kind == FY_TENSOR && v->t.dtype && (!v->t.own || v->t.own->borrowed || !fy_contiguous(&v->t))) {
        fy_tensor t;
        FY_TRY(fy_tensor_clone(&t, &v->t, e));
        fy_tensor_free(&v->t);
        v->t = t;
    }
    const void *keys = NULL;             /* of the map before: the maps of a sequence often share theirs */
    for (int64_t i = 0; i < fy_rval_items(v); i++) {
        fy_rval *x = &v->item[i], *before = i ? x - 1 : NULL;
        const void *now = x->kind == FY_MAP && x->item[0].t.dtype == FERRY_STRING ? x->item[0].t.data : NULL;
        if (now && now == keys && x->n == before->n) {
            fy_tensor_free(&x->item[0].t);
            x->item[0].t = fy_tensor_ref(&before->item[0].t);
            FY_TRY(fy_rval_own(&x->item[1], e));
        } else FY_TRY(fy_rval_own(x, e));
        keys = now;
    }
    return FY_OK;
}

static fy_status run_body(run *r, const fy_graph *g, int nin, fy_rval *const *in, int nout, fy_rval *out, bool own_memory) {
    fy_rval *v;
    FY_NEED(r->e, nin == g->in.n, GRAPH, "graph \"%s\" takes %lld inputs, not %d", g->name ? g->name : "", (long long)g->in.n, nin);
    FY_NEED(r->e, nout == g->out.n, GRAPH, "graph \"%s\" has %lld outputs, not %d", g->name ? g->name : "", (long long)g->out.n, nout);
    count_uses(r, g);
    for (int i = 0; i < nin; i++)
        if (in[i]) r->slot[g->in.at[i]->id].v = in[i];
    FY_TRY(load_state(r, g));
    for (int i = 0; i < nin; i++)
        FY_NEED(r->e, r->slot[g->in.at[i]->id].v || g->in.at[i]->constant || !g->in.at[i]->nuses, GRAPH, "input \"%s\" is not given",
                g->in.at[i]->name ? g->in.at[i]->name : "");
    for (int i = 0; i < nin && g->owner && r->it->seen; i++)
        if (in[i]) r->it->seen(r->it->ctx, g->in.at[i], in[i]);
    for (const fy_node *n = g->first; n; n = n->next) FY_TRY(run_node(r, g, n));
    for (int i = 0; i < nout; i++) {
        FY_NEED(r->e, g->out.at[i], GRAPH, "graph \"%s\" lacks its output %d", g->name ? g->name : "", i);
        FY_TRY(fetch(r, g->out.at[i], &v));
        FY_TRY(fy_rval_copy(&out[i], v, r->e));
        if (own_memory) FY_TRY(fy_rval_own(&out[i], r->e));
    }
    return store_state(r, g);
}

static fy_status run_graph(run *r, const fy_graph *g, int nin, fy_rval *const *in, int nout, fy_rval *out, bool own_memory) {
    FY_NEED(r->e, r->depth < FY_MAX_NESTING, LIMIT, "graphs nest deeper than %d", FY_MAX_NESTING);
    memset(out, 0, (size_t)nout * sizeof *out);
    FY_TRY(step(r));
    r->depth++;
    fy_status s = run_body(r, g, nin, in, nout, out, own_memory);
    if (s != FY_OK)
        for (int i = 0; i < nout; i++) fy_rval_free(&out[i]);
    clear_graph(r, g);
    r->depth--;
    return s;
}

static fy_status begin(run *r, const fy_interp *it, const fy_model *m, ferry_error *e) {
    *r = (run){.it = it, .e = e, .nslots = m->nvalues, .max_bytes = it->max_bytes > 0 ? it->max_bytes : (int64_t)1 << 36};
    r->slot = fy_calloc((size_t)m->nvalues + 1, sizeof *r->slot);
    FY_NOMEM(e, r->slot);
    return FY_OK;
}

static void end(run *r) {
    while (r->spare) {
        fy_rval *next = r->spare->item;
        fy_free(r->spare);
        r->spare = next;
    }
    for (int64_t i = 0; i < r->strings.n; i++) fy_storage_unref(r->strings.at[i]);
    fy_free(r->strings.at);
    fy_run_dims_free(&r->sizes);
    fy_free(r->slot);
}

fy_status fy_interp_run(const fy_interp *it, const fy_graph *g, fy_rval *const *in, fy_rval *out, ferry_error *e) {
    run r;
    fy_status s = begin(&r, it, g->model, e);
    if (s == FY_OK) s = run_graph(&r, g, (int)g->in.n, in, (int)g->out.n, out, true);
    end(&r);
    return s;
}

fy_status fy_interp_node(const fy_interp *it, const fy_node *n, fy_rval *const *in, fy_rval *out, ferry_error *e) {
    run r;
    fy_arena scratch = {0};
    fy_rval *unused, **at = NULL;
    memset(out, 0, (size_t)n->nout * sizeof *out);
    fy_status s = begin(&r, it, n->graph->model, e);
    if (s == FY_OK && !(at = FY_NEWN(&scratch, fy_rval *, n->nout))) s = fy_nomem(e);
    for (int i = 0; s == FY_OK && i < n->ncap; i++)
        if (n->cap[i]->value) s = fetch(&r, n->cap[i]->value, &unused);
    for (int i = 0; s == FY_OK && i < n->nout; i++) at[i] = n->out[i] ? &out[i] : NULL;
    if (s == FY_OK) s = call_node(&r, n, n->nin, in, n->nout, at, &scratch);
    for (int i = 0; s == FY_OK && i < n->nout; i++)
        if (at[i]) s = fy_rval_own(&out[i], e);
    if (s != FY_OK) {
        fy_frame_inputs(e, s, n, n->nin, in);
        for (int i = 0; i < n->nout; i++) fy_rval_free(&out[i]);
    }
    for (int i = 0; i < n->ncap; i++)
        if (r.slot && n->cap[i]->value) clear(&r, n->cap[i]->value);
    fy_arena_free(&scratch);
    end(&r);
    return s;
}
