/* SPDX-License-Identifier: Apache-2.0
 * exec.c - runs a plan: values are tensors over the session's arena, over the caller's inputs, over constants, or over memory of their own
 * (graph outputs, and whatever has sizes that only the run tells). Also the two implementations that every engine has: the reference
 * kernel, and the conversion between layouts. */
#include "plan/run.h"

#include "base/os.h"

#include <string.h>

/* Where sizes go up from run to run, not every one of them is to cost fresh pages. */
static bool grow(void **p, size_t *have, size_t need) {
    if (*have >= need) return true;
    size_t room = *have && *have / 4 <= SIZE_MAX - need && need < *have + *have / 4 ? *have + *have / 4 : need;
    fy_free_aligned(*p);
    *p = fy_malloc_aligned(room);
    *have = *p ? room : 0;
    fy_os_populate_write(*p, *have);         /* all of it will be written: one call for its pages */
    return *p != NULL;
}

void *fy_exec_scratch(fy_exec *x, size_t bytes) { return grow(&x->scratch, &x->scratch_bytes, bytes ? bytes : 1) ? x->scratch : NULL; }

const int64_t *fy_exec_dims(const fy_exec *x, const fy_value *v) {
    const int64_t *dim = x->spec->dim[v->id];
    return dim || x->value[v->id].kind != FY_TENSOR ? dim : x->value[v->id].t.dim;
}

/* Is a value that a kernel made what inference before the run took it for? What follows relies on it. */
fy_status fy_run_check_made(const fy_exec *x, const fy_value *v, ferry_error *e) {
    const int64_t *want = x->spec->dim[v->id];
    const fy_rval *r = &x->value[v->id];
    bool same = v->type.kind != FY_TENSOR || (r->kind == FY_TENSOR && (!v->type.dtype || r->t.dtype == v->type.dtype));
    if (want) same = same && r->t.rank == v->type.rank && !memcmp(r->t.dim, want, (size_t)r->t.rank * sizeof *want);
    FY_NEED(e, same, INTERNAL, "\"%.80s\" is not of the type and sizes that inference gave", v->name ? v->name : "");
    return FY_OK;
}

/* ---- the reference kernel ------------------------------------------------------------------------------------------------ */

/* Sizes are known and outputs have their memory: inference looks at the contents, then the kernel is called as the interpreter would. A kernel
 * that put its result elsewhere is followed. */
static fy_status run_reference(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_node *n = s->node;
    running *k = fy_running_of(x);
    fy_arena *a = &k->mem->work;
    fy_rval *few_in[16], *few_out[8], **in = few_in, **out = few_out;
    fy_arena_reset(a);
    if (n->nin > 16) in = FY_NEWN(a, fy_rval *, n->nin);
    if (n->nout > 8) out = FY_NEWN(a, fy_rval *, n->nout);
    FY_NOMEM(e, in && out);
    for (int i = 0; i < n->nin; i++) in[i] = s->in[i] ? &x->value[s->in[i]->id] : NULL;
    for (int i = 0; i < n->nout; i++) out[i] = s->out[i] ? &x->value[s->out[i]->id] : NULL;
    fy_call c = fy_run_call(k);
    c.node = n;
    c.nin = n->nin;
    c.nout = n->nout;
    c.in = in;
    c.out = out;
    fy_fact *unused;
    if (n->op->infer) FY_TRY(fy_infer_real(&unused, x->sizes, n, n->nin, in, n->nout, a, e));
    FY_TRY(n->op->ref(&c));
    for (int i = 0; i < n->nout; i++)
        if (s->out[i]) FY_TRY(fy_run_check_made(x, s->out[i], e));
    return FY_OK;
}

const fy_impl fy_impl_reference = {.name = "reference", .run = run_reference};

/* ---- conversion ---------------------------------------------------------------------------------------------------------- */

typedef struct reorder { const float *from; float *to; int64_t channels, blocks, area; bool block; } reorder;

/* One block of 16 channels of one sample. */
static void reorder_blocks(void *arg, int64_t begin, int64_t end) {
    const reorder *r = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t sample = i / r->blocks, b = i % r->blocks, left = r->channels - b * FY_LANES;
        int lanes = left < FY_LANES ? (int)left : FY_LANES;
        int64_t plain = (sample * r->channels + b * FY_LANES) * r->area, blocked = i * r->area * FY_LANES;
        if (r->block)
            for (int64_t p = 0; p < r->area; p++) {
                float *to = r->to + blocked + p * FY_LANES;
                for (int l = 0; l < lanes; l++) to[l] = r->from[plain + l * r->area + p];
                for (int l = lanes; l < FY_LANES; l++) to[l] = 0;
            }
        else
            for (int l = 0; l < lanes; l++)
                for (int64_t p = 0; p < r->area; p++) r->to[plain + l * r->area + p] = r->from[blocked + p * FY_LANES + l];
    }
}

/* The same for elements of one byte. */
static void reorder_bytes(void *arg, int64_t begin, int64_t end) {
    const reorder *r = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t sample = i / r->blocks, b = i % r->blocks, left = r->channels - b * FY_LANES;
        int lanes = left < FY_LANES ? (int)left : FY_LANES;
        const uint8_t *from = (const uint8_t *)r->from + (r->block ? (sample * r->channels + b * FY_LANES) * r->area : i * r->area * FY_LANES);
        uint8_t *to = (uint8_t *)r->to + (r->block ? i * r->area * FY_LANES : (sample * r->channels + b * FY_LANES) * r->area);
        if (r->block)
            for (int64_t p = 0; p < r->area; p++, to += FY_LANES) {
                for (int l = 0; l < lanes; l++) to[l] = from[l * r->area + p];
                for (int l = lanes; l < FY_LANES; l++) to[l] = 0;
            }
        else
            for (int l = 0; l < lanes; l++)
                for (int64_t p = 0; p < r->area; p++) to[l * r->area + p] = from[p * FY_LANES + l];
    }
}

void fy_run_reorder(const fy_tensor *from, const fy_tensor *to, fy_layout layout, fy_pool *pool) {
    reorder r = {.from = from->data, .to = to->data, .channels = from->dim[1], .blocks = (from->dim[1] + FY_LANES - 1) / FY_LANES, .area = 1, .block = layout == FY_C16};
    for (int i = 2; i < from->rank; i++) r.area *= from->dim[i];
    fy_for(pool, from->dim[0] * r.blocks, 1 + 16384 / (r.area * FY_LANES + 1), fy_elem_bytes(from->dtype) == 1 ? reorder_bytes : reorder_blocks, &r);
}

static fy_status run_reorder(const fy_step *s, fy_exec *x, ferry_error *e) {
    (void)e;
    fy_run_reorder(fy_step_in(s, x, 0), fy_step_out(s, x, 0), s->out_layout, x->pool);
    return FY_OK;
}

const fy_impl fy_impl_reorder = {.name = "reorder", .run = run_reorder};

/* ---- running ------------------------------------------------------------------------------------------------------------- */

static bool stopped(const running *k) { return k->r->stop && k->r->stop(k->r->stop_ctx); }

fy_status fy_run_may_go_on(running *k) {
    FY_NEED(k->e, !k->r->max_steps || ++k->whole->steps <= k->r->max_steps, LIMIT, "more than %lld steps", (long long)k->r->max_steps);
    FY_NEED(k->e, !stopped(k), STOPPED, "the run was stopped");
    return FY_OK;
}

/* Memory for an output of known sizes: in the arena, or of its own where it leaves the plan; that has it from its first part on. */
static fy_status place_output(running *k, const fy_value *v) {
    fy_rval *out = &k->x.value[v->id];
    const int64_t *dim = k->x.spec->dim[v->id];
    const fy_value *whole = k->x.spec->within[v->id];
    if (whole == v && out->kind) return FY_OK;
    if (whole && whole != v) FY_TRY(place_output(k, whole));
    fy_rval_free(out);
    *out = (fy_rval){.kind = FY_TENSOR};
    if (k->x.spec->offset[v->id] == FY_NOWHERE) return fy_tensor_take(&out->t, k->whole->spares, v->type.dtype, v->type.rank, dim, k->e);
    char *base = whole ? k->x.value[whole->id].t.data : k->mem->arena;
    out->t = fy_tensor_view(v->type.dtype, v->type.rank, dim, base + k->x.spec->offset[v->id]);
    return FY_OK;
}

/* Where in `from` the result lies: at its beginning, or at the part that the step says. */
fy_status fy_run_part(char **data, const fy_step *s, const fy_tensor *from, fy_dtype t, int rank, const int64_t *dim, ferry_error *e) {
    fy_tensor seen = fy_tensor_view(t, rank, dim, from->data);
    *data = from->data;
    if (!s->part) return FY_OK;
    int64_t each = fy_count(&seen), parts = each ? fy_count(from) / each : 0, part = s->part < 0 ? s->part + parts : s->part;
    FY_NEED(e, !each || (part >= 0 && part < parts), INDEX, "index %lld of %lld", (long long)s->part, (long long)parts);
    if (each) *data += part * each * fy_elem_bytes(t);
    return FY_OK;
}

static fy_status run_alias(running *k, const fy_step *s) {
    const fy_tensor *from = fy_step_in(s, &k->x, 0);
    const fy_value *v = s->out[0];
    char *data;
    FY_TRY(fy_run_part(&data, s, from, v->type.dtype, v->type.rank, k->x.spec->dim[v->id], k->e));
    bool shares = k->x.plan->inner && from->own && !from->own->borrowed;             /* what leaves a body may be what came in */
    if (shares || k->x.plan->last[v->id] != INT32_MAX) {
        fy_rval *out = &k->x.value[v->id];
        fy_rval_free(out);
        *out = (fy_rval){.kind = FY_TENSOR, .t = fy_tensor_view(v->type.dtype, v->type.rank, k->x.spec->dim[v->id], data)};
        out->t.own = fy_storage_ref(from->own);              /* memory of its own goes with its last reader, not before */
        return FY_OK;
    }
    FY_TRY(place_output(k, v));
    fy_tensor seen = fy_tensor_view(v->type.dtype, v->type.rank, k->x.spec->dim[v->id], data);
    fy_tensor_copy(&k->x.value[v->id].t, &seen);
    return FY_OK;
}

static fy_status run_step(running *k, const fy_step *s) {
    if (k->x.spec->skip[s->index]) {
        for (int i = 0; i < s->nout; i++)
            if (s->out[i]) {
                fy_rval_free(&k->x.value[s->out[i]->id]);
                const fy_rval *fixed = k->x.spec->fixed[s->out[i]->id];
                k->x.value[s->out[i]->id] = fixed ? *fixed : (fy_rval){0};
            }
        return FY_OK;
    }
    if (k->x.spec->dynamic[s->index]) return fy_run_dynamic(k, s);
    if (s->impl->flags & FY_IMPL_ALIAS) return run_alias(k, s);
    for (int i = 0; i < s->nout; i++)
        if (s->out[i]) FY_TRY(place_output(k, s->out[i]));
    return s->impl->run(s, &k->x, k->e);
}

static void drop_dead(running *k, const fy_step *s) {
    for (int i = 0; i < s->nin; i++)
        if (s->in[i] && k->x.plan->last[s->in[i]->id] == s->index && !s->in[i]->constant && !s->in[i]->is_input) {
            fy_rval_free(&k->x.value[s->in[i]->id]);
            k->x.value[s->in[i]->id] = (fy_rval){0};
        }
}

/* Constants stay in the table from run to run; inputs are each run's. */
static fy_status load(running *k, fy_rval *const *in) {
    const fy_plan *p = k->x.plan;
    const fy_graph *g = p->m->graph;
    for (int64_t i = 0; i < g->in.n; i++) {
        const fy_value *x = g->in.at[i];
        fy_rval *v = &k->x.value[x->id];
        *v = in[i] ? *in[i] : p->constant[x->id];                                          /* borrowed: freed by nobody here */
        if (!in[i]) {
            FY_NEED(k->e, v->kind || !x->nuses, GRAPH, "input \"%s\" is not given", x->name ? x->name : "");
            continue;
        }
        fy_dtype want = x->type.kind == FY_TENSOR && !p->inner ? x->type.dtype : FERRY_UNDEFINED;
        if (v->kind == FY_TENSOR) fy_strides(v->t.rank, v->t.dim, v->t.stride);        /* dense, but axes of one element may say anything */
        FY_NEED(k->e, !want || (v->kind == FY_TENSOR && v->t.dtype == want), TYPE, "input \"%s\" is no %s", x->name, fy_dtype_name(want));
    }
    return FY_OK;
}

static void leave(fy_rval *v) {
    if (v->kind == FY_TENSOR) fy_storage_leave(v->t.own);
    for (int64_t i = 0; i < fy_rval_items(v); i++) leave(&v->item[i]);
}

/* What an output of a body holds. What came in may go out as it is: the owner of the body, who lent it, sees to the rest. */
static fy_status hand_on(running *k, const fy_value *v, fy_rval *out) {
    fy_rval *have = &k->x.value[v->id];
    FY_NEED(k->e, have->kind, GRAPH, "output \"%s\" is never made", v->name ? v->name : "");
    bool in_memory = have->kind == FY_TENSOR && !v->is_input && (!have->t.own || have->t.own->borrowed || v->constant);
    if (in_memory) {
        out->kind = FY_TENSOR;
        FY_TRY(fy_tensor_take(&out->t, k->whole->spares, have->t.dtype, have->t.rank, have->t.dim, k->e));
        fy_tensor_copy(&out->t, &have->t);
        return FY_OK;
    }
    FY_TRY(fy_rval_copy(out, have, k->e));
    return have->kind == FY_TENSOR ? FY_OK : fy_rval_own(out, k->e);
}

/* What an output holds, as the caller's own. */
static fy_status hand_out(running *k, const fy_value *v, fy_rval *out) {
    if (k->x.plan->inner) return hand_on(k, v, out);
    fy_rval *have = &k->x.value[v->id];
    FY_NEED(k->e, have->kind, GRAPH, "output \"%s\" is never made", v->name ? v->name : "");
    if (have->kind != FY_TENSOR || have->t.dtype == FERRY_STRING) {
        FY_TRY(fy_rval_copy(out, have, k->e));
        FY_TRY(fy_rval_own(out, k->e));
        leave(out);
        return FY_OK;
    }
    *out = (fy_rval){.kind = FY_TENSOR};
    if (have->t.own && !have->t.own->borrowed && fy_contiguous(&have->t) && !v->constant && !v->is_input) out->t = fy_tensor_ref(&have->t);
    else FY_TRY(fy_tensor_clone(&out->t, &have->t, k->e));
    leave(out);
    return FY_OK;
}

static fy_status run_all(running *k, fy_rval *const *in, fy_rval *out) {
    const fy_plan *p = k->x.plan;
    const fy_graph *g = p->m->graph;
    FY_TRY(load(k, in));
    for (int64_t i = 0; i < p->steps.n; i++) {
        const fy_step *s = p->steps.at[i];
        if (k->r->seen) k->r->seen(k->r->ctx, s, &k->x, false);
        k->now = s;
        fy_status st = fy_run_may_go_on(k);
        if (!st) st = run_step(k, s);
        if (!st && stopped(k)) st = fy_fail(k->e, FY_E_STOPPED, "the run was stopped");       /* pieces of the result may be missing */
        if (k->r->seen) k->r->seen(k->r->ctx, s, &k->x, true);
        if (st) {
            char where[180] = "";
            if (s->node && !k->x.spec->dynamic[i]) fy_node_describe(where, sizeof where, s->node);
            return *where ? fy_frame(k->e, st, "%s", where) : st;
        }
        drop_dead(k, s);
    }
    for (int64_t i = 0; i < g->out.n; i++) FY_TRY(hand_out(k, g->out.at[i], &out[i]));
    for (int64_t i = 0; k->r->state && i < g->state.n; i++) {
        fy_rval next = {0};
        if (!g->state.at[i].out) continue;
        FY_TRY(hand_out(k, g->state.at[i].out, &next));
        fy_rval_free(&k->r->state[i]);
        k->r->state[i] = next;
    }
    return FY_OK;
}

/* Values that the run made and did not hand out. */
static void clear(running *k) {
    const fy_plan *p = k->x.plan;
    for (int64_t i = 0; i < p->steps.n; i++)
        for (int o = 0; o < p->steps.at[i]->nout; o++) {
            const fy_value *v = p->steps.at[i]->out[o];
            if (!v) continue;
            fy_rval *r = &k->x.value[v->id];
            fy_rval_free(r);
            *r = (fy_rval){0};
        }
}

/* Inputs with strides made dense, as implementations take them, and initial state, in mem->own. */
static fy_status inputs(running *k, fy_rval *const *in) {
    const fy_graph *g = k->x.plan->m->graph;
    fy_rval **at = k->mem->in, *own = k->mem->own;
    for (int64_t i = 0; i < g->in.n; i++) {
        at[i] = in[i];
        if (!in[i] || in[i]->kind != FY_TENSOR || fy_contiguous(&in[i]->t)) continue;
        own[i].kind = FY_TENSOR;
        FY_TRY(fy_tensor_take(&own[i].t, k->whole->spares, in[i]->t.dtype, in[i]->t.rank, in[i]->t.dim, k->e));
        fy_tensor_copy(&own[i].t, &in[i]->t);
        at[i] = &own[i];
    }
    for (int64_t s = 0; s < g->state.n; s++)
        for (int64_t i = 0; i < g->in.n; i++) {
            if (g->state.at[s].in != g->in.at[i] || at[i]) continue;
            if (k->r->state && k->r->state[s].kind) { at[i] = &k->r->state[s]; continue; }
            if (!g->state.at[s].init) continue;
            own[i].kind = FY_TENSOR;
            FY_TRY(fy_const_tensor(&own[i].t, g->state.at[s].init, k->e));
            at[i] = &own[i];
        }
    return FY_OK;
}

static fy_status within_budget(const running *k) {
    const fy_value *v = k->x.spec->largest;
    if (k->x.spec->most <= k->x.max_bytes) return FY_OK;
    fy_status s = fy_fail(k->e, FY_E_LIMIT, "\"%.80s\" would take more than %lld bytes", v->name ? v->name : "", (long long)k->x.max_bytes);
    if (!v->def) return s;
    char where[180];
    fy_node_describe(where, sizeof where, v->def);
    return fy_frame(k->e, s, "%s", where);
}

/* Memory that depends on the plan alone. */
static fy_status prepare(running *k) {
    const fy_plan *p = k->x.plan;
    fy_plan_memory *mem = k->mem;
    if (!mem->value) {
        mem->value = fy_calloc((size_t)p->nvalues + 1, sizeof *mem->value);
        FY_NOMEM(k->e, mem->value);
        memcpy(mem->value, p->constant, (size_t)p->nvalues * sizeof *mem->value);          /* borrowed */
    }
    if (!mem->in) mem->in = fy_calloc((size_t)p->m->graph->in.n + 1, sizeof *mem->in);
    if (!mem->own) mem->own = fy_calloc((size_t)p->m->graph->in.n + 1, sizeof *mem->own);
    FY_NOMEM(k->e, mem->in && mem->own);
    k->x.value = mem->value;
    k->x.sizes = &mem->sizes;
    return FY_OK;
}

static fy_status with_sizes(running *k, fy_rval *out) {
    fy_plan_memory *mem = k->mem;
    FY_TRY(within_budget(k));
    FY_NOMEM(k->e, grow(&mem->arena, &mem->arena_bytes, k->x.spec->bytes));
    k->x.scratch = mem->scratch;
    k->x.scratch_bytes = mem->scratch_bytes;
    fy_status s = run_all(k, mem->in, out);
    clear(k);
    mem->scratch = k->x.scratch;
    mem->scratch_bytes = k->x.scratch_bytes;
    return s;
}

fy_status fy_run_plan(running *k, fy_rval *const *in, fy_rval *out) {
    const fy_graph *g = k->x.plan->m->graph;
    FY_TRY(prepare(k));
    fy_status s = inputs(k, in);
    if (!s) s = fy_spec_get(&k->x.spec, k->x.plan, k->mem->in, k->e);
    if (!s) {
        s = with_sizes(k, out);
        fy_spec_release(k->x.plan, k->x.spec);
    }
    for (int64_t i = 0; i < g->in.n; i++) fy_rval_free(&k->mem->own[i]);
    return s;
}

fy_status fy_plan_execute(const fy_plan *p, fy_plan_memory *mem, const fy_plan_run *r, fy_rval *const *in, fy_rval *out, ferry_error *e) {
    fy_run_whole whole = {.spares = &mem->spares};
    running k = {.x = {.plan = p, .k = p->o.kernels, .pool = r->pool, .max_bytes = r->max_bytes > 0 ? r->max_bytes : (int64_t)1 << 36, .hooks = p->o.hooks,
                       .stop = r->stop, .stop_ctx = r->stop_ctx}, .r = r, .mem = mem, .whole = &whole, .e = e};
    memset(out, 0, (size_t)p->m->graph->out.n * sizeof *out);
    fy_status s = fy_run_plan(&k, in, out);
    for (int64_t i = 0; s && i < p->m->graph->out.n; i++) fy_rval_free(&out[i]);
    for (int64_t i = 0; i < whole.strings.n; i++) fy_storage_unref(whole.strings.at[i]);
    fy_free(whole.strings.at);
    return s;
}

void fy_plan_recycle(fy_plan_memory *mem, const fy_plan *p, fy_rval *out) {
    for (int64_t i = 0; i < p->m->graph->out.n; i++) {
        if (!p->o.lean && out[i].kind == FY_TENSOR && out[i].t.dtype != FERRY_STRING) fy_storage_return(out[i].t.own, &mem->spares);
        fy_rval_free(&out[i]);
    }
}

static void memory_free(fy_plan_memory *mem) {
    fy_run_dims_free(&mem->sizes);
    fy_bounds_free(&mem->bounds);
    fy_arena_free(&mem->work);
    fy_spares_free(&mem->spares);
    fy_free_aligned(mem->arena);
    fy_free_aligned(mem->scratch);
    fy_free(mem->value);
    fy_free(mem->in);
    fy_free(mem->own);
    fy_free(mem->given);
    fy_free(mem->odd);
}

void fy_plan_memory_free(fy_plan_memory *mem) {
    for (int64_t i = 0; i < mem->nbodies; i++) {
        if (!mem->body[i]) continue;
        fy_plan_memory_free(mem->body[i]);
        fy_free(mem->body[i]);
    }
    fy_free(mem->body);
    memory_free(mem);
    *mem = (fy_plan_memory){0};
}
