/* SPDX-License-Identifier: Apache-2.0
 * exec.c - runs a plan: values are tensors over the session's arena, over the caller's inputs, over constants, or over memory of their own
 * (graph outputs, and whatever has sizes that only the run tells). Also the two implementations that every engine has: the reference
 * kernel, and the conversion between layouts. */
#include "plan/plan.h"

#include "base/os.h"

#include <string.h>

void *fy_exec_scratch(fy_exec *x, size_t bytes) {
    if (x->scratch_bytes >= bytes) return x->scratch;
    fy_free_aligned(x->scratch);
    x->scratch = fy_malloc_aligned(bytes);
    x->scratch_bytes = x->scratch ? bytes : 0;
    fy_os_populate_write(x->scratch, x->scratch_bytes);
    return x->scratch;
}

/* Is a value that a kernel made what inference before the run took it for? What follows relies on it. */
static fy_status check_made(const fy_exec *x, const fy_value *v, ferry_error *e) {
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
    fy_arena scratch = {0};
    fy_rval *few_in[16], *few_out[8], **in = few_in, **out = few_out;
    if (s->nin > 16) in = FY_NEWN(&scratch, fy_rval *, s->nin);
    if (s->nout > 8) out = FY_NEWN(&scratch, fy_rval *, s->nout);
    fy_status st = in && out ? FY_OK : fy_fail(e, FY_E_NOMEM, "out of memory");
    for (int i = 0; !st && i < s->nin; i++) in[i] = s->in[i] ? &x->value[s->in[i]->id] : NULL;
    for (int i = 0; !st && i < s->nout; i++) out[i] = s->out[i] ? &x->value[s->out[i]->id] : NULL;
    fy_call c = {.node = n, .e = e, .pool = x->pool, .scratch = &scratch, .nin = s->nin, .nout = s->nout, .in = in, .out = out, .max_bytes = x->max_bytes, .hooks = x->hooks,
                 .stop = x->stop, .stop_ctx = x->stop_ctx};
    fy_fact *unused;
    if (!st && n->op->infer) st = fy_infer_real(&unused, x->sizes, n, s->nin, in, s->nout, &scratch, e);
    if (!st) st = n->op->ref(&c);
    for (int i = 0; !st && i < s->nout; i++)
        if (s->out[i]) st = check_made(x, s->out[i], e);
    fy_arena_free(&scratch);
    return st;
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

static fy_status run_reorder(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *from = fy_step_in(s, x, 0);
    fy_tensor *to = fy_step_out(s, x, 0);
    reorder r = {.from = from->data, .to = to->data, .channels = from->dim[1], .blocks = (from->dim[1] + FY_LANES - 1) / FY_LANES, .area = 1, .block = s->out_layout == FY_C16};
    (void)e;
    for (int i = 2; i < from->rank; i++) r.area *= from->dim[i];
    fy_for(x->pool, from->dim[0] * r.blocks, 1 + 16384 / (r.area * FY_LANES + 1), fy_elem_bytes(from->dtype) == 1 ? reorder_bytes : reorder_blocks, &r);
    return FY_OK;
}

const fy_impl fy_impl_reorder = {.name = "reorder", .run = run_reorder};

/* ---- running ------------------------------------------------------------------------------------------------------------- */

typedef struct running {
    fy_exec          x;
    const fy_plan_run *r;
    char            *arena;
    int64_t          steps;
    fy_rval *const  *in;
    ferry_error     *e;
} running;

static fy_rval *outer(void *ctx, const fy_value *v) {
    running *k = ctx;
    return v->id < k->x.plan->nvalues && k->x.value[v->id].kind ? &k->x.value[v->id] : NULL;
}

static bool stopped(void *ctx) { running *k = ctx; return k->r->stop && k->r->stop(k->r->stop_ctx); }

static fy_status may_go_on(running *k) {
    FY_NEED(k->e, !k->r->max_steps || ++k->steps <= k->r->max_steps, LIMIT, "more than %lld steps", (long long)k->r->max_steps);
    FY_NEED(k->e, !stopped(k), STOPPED, "the run was stopped");
    return FY_OK;
}

/* Memory for an output of known sizes: in the arena, or of its own where it leaves the run. */
static fy_status place_output(running *k, const fy_value *v) {
    fy_rval *out = &k->x.value[v->id];
    const int64_t *dim = k->x.spec->dim[v->id];
    fy_rval_free(out);
    *out = (fy_rval){.kind = FY_TENSOR};
    if (k->x.spec->offset[v->id] == FY_NOWHERE) return fy_tensor_new(&out->t, v->type.dtype, v->type.rank, dim, k->e);
    out->t = fy_tensor_view(v->type.dtype, v->type.rank, dim, k->arena + k->x.spec->offset[v->id]);
    return FY_OK;
}

static fy_status run_alias(running *k, const fy_step *s) {
    const fy_tensor *from = fy_step_in(s, &k->x, 0);
    const fy_value *v = s->out[0];
    char *data = from->data;
    if (s->part) {
        fy_tensor seen = fy_tensor_view(v->type.dtype, v->type.rank, k->x.spec->dim[v->id], data);
        int64_t each = fy_count(&seen), parts = each ? fy_count(from) / each : 0, part = s->part < 0 ? s->part + parts : s->part;
        FY_NEED(k->e, !each || (part >= 0 && part < parts), INDEX, "index %lld of %lld", (long long)s->part, (long long)parts);
        if (each) data += part * each * fy_elem_bytes(v->type.dtype);
    }
    if (k->x.plan->last[v->id] != INT32_MAX) {
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

/* Sizes that only contents tell: the interpreter infers, allocates and runs, and knows no layouts. Constants that were packed are read anew. */
static fy_status run_dynamic_node(running *k, const fy_node *n, fy_arena *a) {
    fy_interp it = {.pool = k->x.pool, .max_bytes = k->x.max_bytes, .hooks = k->x.hooks, .outer = outer, .stop = stopped, .ctx = k,
                    .max_steps = k->r->max_steps ? k->r->max_steps - k->steps + 2 : 0};
    fy_rval **in = FY_NEWN(a, fy_rval *, n->nin), *out = FY_NEWN(a, fy_rval, n->nout), *own = FY_NEWN(a, fy_rval, n->nin);
    fy_status st = in && out && own ? FY_OK : fy_fail(k->e, FY_E_NOMEM, "out of memory");
    for (int i = 0; !st && i < n->nin; i++) {
        const fy_value *v = n->in[i].value;
        if (v && k->x.plan->layout[v->id] != FY_PLAIN) v = k->x.plan->converted[v->id];
        if (!v) continue;
        in[i] = &k->x.value[v->id];
        bool anywhere = in[i]->kind == FY_TENSOR && v->constant && (uintptr_t)in[i]->t.data % 16;      /* where only a reader of bytes may look */
        if ((in[i]->kind && !anywhere) || !v->constant) continue;
        in[i] = &own[i];
        own[i].kind = FY_TENSOR;
        st = fy_const_tensor(&own[i].t, v->constant, k->e);
    }
    if (!st) st = fy_interp_node(&it, n, in, out, k->e);
    for (int i = 0; !st && i < n->nout; i++) {
        if (!n->out[i]) continue;
        fy_rval_free(&k->x.value[n->out[i]->id]);
        k->x.value[n->out[i]->id] = out[i];
        st = check_made(&k->x, n->out[i], k->e);
    }
    for (int i = 0; own && i < n->nin; i++) fy_rval_free(&own[i]);
    return st;
}

/* What nodes inside a step made. */
static void drop_inner(running *k, const fy_node *n) {
    for (int i = 0; i < n->nout; i++) {
        if (!n->out[i]) continue;
        fy_rval_free(&k->x.value[n->out[i]->id]);
        k->x.value[n->out[i]->id] = (fy_rval){0};
    }
}

static fy_status run_dynamic(running *k, const fy_step *s) {
    fy_arena a = {0};
    FY_NEED(k->e, s->node, INTERNAL, "a conversion of layouts is to make sizes that are not known");
    fy_status st = FY_OK;
    for (int c = 0; !st && s->cover && c < s->cover->n; c++) st = run_dynamic_node(k, s->cover->node[c], &a);
    if (!st) st = run_dynamic_node(k, s->node, &a);
    for (int f = 0; !st && f < s->nfused; f++) st = run_dynamic_node(k, s->fused[f], &a);
    for (int c = 0; s->cover && c < s->cover->n; c++) drop_inner(k, s->cover->node[c]);
    for (int f = 0; f < s->nfused; f++) drop_inner(k, f ? s->fused[f - 1] : s->node);
    fy_arena_free(&a);
    return st;
}

static fy_status run_step(running *k, const fy_step *s) {
    if (k->x.spec->skip[s->index]) {
        for (int i = 0; i < s->nout; i++)
            if (s->out[i]) {
                fy_rval_free(&k->x.value[s->out[i]->id]);
                k->x.value[s->out[i]->id] = k->x.spec->fixed[s->out[i]->id];
            }
        return FY_OK;
    }
    if (k->x.spec->dynamic[s->index]) return run_dynamic(k, s);
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

static fy_status load(running *k) {
    const fy_plan *p = k->x.plan;
    const fy_graph *g = p->m->graph;
    memcpy(k->x.value, p->constant, (size_t)p->nvalues * sizeof *k->x.value);          /* borrowed: freed by nobody here */
    for (int64_t i = 0; i < g->in.n; i++) {
        fy_rval *v = &k->x.value[g->in.at[i]->id];
        if (k->in[i]) {
            fy_dtype want = g->in.at[i]->type.kind == FY_TENSOR ? g->in.at[i]->type.dtype : FERRY_UNDEFINED;
            *v = *k->in[i];
            if (v->kind == FY_TENSOR) fy_strides(v->t.rank, v->t.dim, v->t.stride);        /* dense, but axes of one element may say anything */
            FY_NEED(k->e, !want || (v->kind == FY_TENSOR && v->t.dtype == want), TYPE, "input \"%s\" is no %s", g->in.at[i]->name, fy_dtype_name(want));
            continue;
        }
        FY_NEED(k->e, v->kind || !g->in.at[i]->nuses, GRAPH, "input \"%s\" is not given", g->in.at[i]->name ? g->in.at[i]->name : "");
    }
    return FY_OK;
}

/* What an output holds, as the caller's own. */
static fy_status hand_out(running *k, const fy_value *v, fy_rval *out) {
    fy_rval *have = &k->x.value[v->id];
    FY_NEED(k->e, have->kind, GRAPH, "output \"%s\" is never made", v->name ? v->name : "");
    if (have->kind != FY_TENSOR || have->t.dtype == FERRY_STRING) {
        FY_TRY(fy_rval_copy(out, have, k->e));
        return fy_rval_own(out, k->e);
    }
    *out = (fy_rval){.kind = FY_TENSOR};
    if (have->t.own && !have->t.own->borrowed && fy_contiguous(&have->t) && !v->constant && !v->is_input) out->t = fy_tensor_ref(&have->t);
    else FY_TRY(fy_tensor_clone(&out->t, &have->t, k->e));
    return FY_OK;
}

static fy_status run_all(running *k, fy_rval *out) {
    const fy_plan *p = k->x.plan;
    const fy_graph *g = p->m->graph;
    FY_TRY(load(k));
    for (int64_t i = 0; i < p->steps.n; i++) {
        const fy_step *s = p->steps.at[i];
        if (k->r->seen) k->r->seen(k->r->ctx, s, &k->x, false);
        fy_status st = may_go_on(k);
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
            if (r->kind && !(k->x.spec->fixed[v->id].kind)) fy_rval_free(r);
            *r = (fy_rval){0};
        }
}

/* `own`: what is not the caller's: initial state, and inputs with strides made dense, as implementations take them. */
static fy_status inputs(fy_rval **at, const fy_plan *p, const fy_plan_run *r, fy_rval *const *in, fy_rval *own, ferry_error *e) {
    const fy_graph *g = p->m->graph;
    for (int64_t i = 0; i < g->in.n; i++) {
        at[i] = in[i];
        if (!in[i] || in[i]->kind != FY_TENSOR || fy_contiguous(&in[i]->t)) continue;
        own[i].kind = FY_TENSOR;
        FY_TRY(fy_tensor_clone(&own[i].t, &in[i]->t, e));
        at[i] = &own[i];
    }
    for (int64_t s = 0; s < g->state.n; s++)
        for (int64_t i = 0; i < g->in.n; i++) {
            if (g->state.at[s].in != g->in.at[i] || at[i]) continue;
            if (r->state && r->state[s].kind) { at[i] = &r->state[s]; continue; }
            if (!g->state.at[s].init) continue;
            own[i].kind = FY_TENSOR;
            FY_TRY(fy_const_tensor(&own[i].t, g->state.at[s].init, e));
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

static fy_status with_memory(running *k, fy_plan_memory *mem, fy_rval *out) {
    const fy_plan *p = k->x.plan;
    FY_TRY(within_budget(k));
    if (mem->arena_bytes < k->x.spec->bytes) {
        fy_free_aligned(mem->arena);
        mem->arena = fy_malloc_aligned(k->x.spec->bytes);
        mem->arena_bytes = mem->arena ? k->x.spec->bytes : 0;
        FY_NOMEM(k->e, mem->arena);
        fy_os_populate_write(mem->arena, mem->arena_bytes);                            /* all of it will be written: one call for its pages */
    }
    if (!mem->value) mem->value = fy_calloc(p->nvalues + 1, sizeof *mem->value);
    FY_NOMEM(k->e, mem->value);
    k->arena = mem->arena;
    k->x.value = mem->value;
    k->x.sizes = &mem->sizes;
    k->x.scratch = mem->scratch;
    k->x.scratch_bytes = mem->scratch_bytes;
    fy_status s = run_all(k, out);
    clear(k);
    mem->scratch = k->x.scratch;
    mem->scratch_bytes = k->x.scratch_bytes;
    return s;
}

fy_status fy_plan_execute(const fy_plan *p, fy_plan_memory *mem, const fy_plan_run *r, fy_rval *const *in, fy_rval *out, ferry_error *e) {
    const fy_graph *g = p->m->graph;
    running k = {.x = {.plan = p, .k = p->o.kernels, .pool = r->pool, .max_bytes = r->max_bytes > 0 ? r->max_bytes : (int64_t)1 << 36, .hooks = p->o.hooks,
                       .stop = r->stop, .stop_ctx = r->stop_ctx}, .r = r, .e = e};
    fy_arena a = {0};
    fy_rval **at = FY_NEWN(&a, fy_rval *, g->in.n), *own = FY_NEWN(&a, fy_rval, g->in.n);
    memset(out, 0, (size_t)g->out.n * sizeof *out);
    fy_status s = at && own ? inputs(at, p, r, in, own, e) : fy_fail(e, FY_E_NOMEM, "out of memory");
    k.in = at;
    if (!s) s = fy_spec_get(&k.x.spec, p, at, e);
    if (!s) {
        s = with_memory(&k, mem, out);
        fy_spec_release(p, k.x.spec);
    }
    for (int64_t i = 0; own && i < g->in.n; i++) fy_rval_free(&own[i]);
    for (int64_t i = 0; s && i < g->out.n; i++) fy_rval_free(&out[i]);
    fy_arena_free(&a);
    return s;
}

void fy_plan_memory_free(fy_plan_memory *mem) {
    fy_run_dims_free(&mem->sizes);
    fy_free_aligned(mem->arena);
    fy_free_aligned(mem->scratch);
    fy_free(mem->value);
    *mem = (fy_plan_memory){0};
}
