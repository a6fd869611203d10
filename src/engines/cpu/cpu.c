/* SPDX-License-Identifier: Apache-2.0
 * cpu.c - our engine: a private copy of the graph is optimised and planned once; a session owns memory and declared state. */
#include "engines/cpu/cpu.h"

#include "base/knobs.h"
#include "engines/cpu/qdq.h"
#include "engines/engine.h"
#include "ir/copy.h"
#include "passes/passes.h"

#include <stdatomic.h>
#include <stdio.h>

extern const fy_engine fy_engine_ferry;

struct fy_compiled { fy_model *model; fy_plan *plan; fy_pool *pool; const fy_impl **impl; fy_kernels kernels; int64_t max_steps; };
struct fy_session { const fy_compiled *compiled; fy_plan_memory memory; fy_rval *state; atomic_bool stopped; fy_seen *seen; void *ctx; };

static const char *missing(char *buf, size_t n) { (void)buf; (void)n; return NULL; }

static fy_status describe(char *buf, size_t n, ferry_error *e) {
    (void)e;
    snprintf(buf, n, "ferry %s, kernels for %s", ferry_version(), fy_isa_name(fy_cpu_isa()));
    return FY_OK;
}

/* The families' tables, one after the other. */
static const fy_impl **all_impls(void) {
    static const fy_impl *const *const family[] = {fy_cpu_view, fy_cpu_conv8, fy_cpu_gemm8, fy_cpu_pool8, fy_cpu_bytes, fy_cpu_integer, fy_cpu_attention, fy_cpu_matmul, fy_cpu_conv, fy_cpu_conv_any, fy_cpu_pool, fy_cpu_elementwise, fy_cpu_binary, fy_cpu_rows, fy_cpu_move, fy_cpu_blocks, fy_cpu_parts, fy_cpu_select,
                                                   fy_cpu_map, fy_cpu_quantize, fy_cpu_top, fy_cpu_place, fy_cpu_regroup, fy_cpu_resize, fy_cpu_reduce, fy_cpu_fold, fy_cpu_norm, fy_cpu_rnn, fy_cpu_nbits, fy_cpu_along, fy_cpu_grid};
    int n = 0;
    for (int f = 0; f < FY_COUNT(family); f++)
        for (int i = 0; family[f][i]; i++) n++;
    const fy_impl **all = fy_calloc((size_t)n + 1, sizeof *all);
    n = 0;
    for (int f = 0; all && f < FY_COUNT(family); f++)
        for (int i = 0; family[f][i]; i++) all[n++] = family[f][i];
    return all;
}

static void compiled_free(fy_compiled *c) {
    if (!c) return;
    fy_plan_free(c->plan);
    fy_model_free(c->model);
    fy_pool_free(c->pool);
    fy_free(c->impl);
    fy_free(c);
}

static fy_status make(fy_compiled *c, const fy_model *m, const fy_engine_options *o, ferry_error *e) {
    FY_TRY(fy_engine_kernels(m, e));
    c->pool = fy_pool_new(o ? o->threads : 0);
    c->max_steps = o ? o->max_steps : 0;
    c->impl = all_impls();
    FY_NOMEM(e, c->pool && c->impl);
    fy_isa isa = fy_cpu_isa();
    if (isa == FY_ISA_AVX512_BF16 && !fy_cpu_bf16_pays()) isa = FY_ISA_AVX512_VNNI;          /* all but the dot products of bfloat16 */
    fy_kernels_init(&c->kernels, isa);
    FY_TRY(fy_model_copy(&c->model, m, e));
    FY_TRY(fy_infer_model(c->model, e));
    bool own = m->registry == fy_registry_builtin();         /* passes go by the names of operators: not where they mean something else */
    fy_pass_options passes = {.fold = true, .fold_bn = true, .reweigh = true, .rare = true, .bytes = true, .views = true, .halves = o && o->exact ? FY_HALVES_NODES : FY_HALVES_REGIONS, .pool = c->pool, .hooks = fy_hooks_builtin()};
    if (own) FY_TRY(fy_passes_run(c->model, &passes, e));
    if (own) FY_TRY(fy_qdq_prepare(c->model, c->pool, e));
    fy_plan_options plan = {.impl = c->impl, .kernels = &c->kernels, .hooks = fy_hooks_builtin(), .pool = c->pool, .exact = o && o->exact, .bf16 = o && o->bf16, .lean = o && o->low_memory,
                            .cache = o && o->cache ? o->cache : fy_knob_str("FERRY_CACHE"), .source = m};
    return fy_plan_new(&c->plan, c->model, &plan, e);
}

static fy_status compile(fy_compiled **out, const fy_model *m, const fy_engine_options *o, ferry_error *e) {
    *out = NULL;
    fy_compiled *c = fy_calloc(1, sizeof *c);
    FY_NOMEM(e, c);
    fy_status s = make(c, m, o, e);
    if (s) compiled_free(c);
    else *out = c;
    return s;
}

static fy_status session(fy_session **out, fy_compiled *c, ferry_error *e) {
    fy_session *s = fy_calloc(1, sizeof *s);
    *out = NULL;
    FY_NOMEM(e, s);
    s->compiled = c;
    s->state = fy_calloc((size_t)c->model->graph->state.n + 1, sizeof *s->state);
    if (!s->state) {
        fy_free(s);
        return fy_nomem(e);
    }
    *out = s;
    return FY_OK;
}

static void session_free(fy_session *s) {
    if (!s) return;
    for (int64_t i = 0; i < s->compiled->model->graph->state.n; i++) fy_rval_free(&s->state[i]);
    fy_plan_memory_free(&s->memory);
    fy_free(s->state);
    fy_free(s);
}

static bool stopped(void *ctx) { return atomic_load_explicit(&((fy_session *)ctx)->stopped, memory_order_relaxed); }

static void stop(fy_session *s) { atomic_store(&s->stopped, true); }

static fy_status run(fy_session *s, fy_rval *const *in, fy_rval *out, ferry_error *e) {
    fy_plan_run r = {.pool = s->compiled->pool, .state = s->state, .max_steps = s->compiled->max_steps, .stop = stopped, .stop_ctx = s, .seen = s->seen, .ctx = s->ctx};
    fy_status st = fy_plan_execute(s->compiled->plan, &s->memory, &r, in, out, e);
    atomic_store(&s->stopped, false);
    return st;
}

static void recycle(fy_session *s, fy_rval *out) { fy_plan_recycle(&s->memory, s->compiled->plan, out); }

static const fy_plan *plan(const fy_compiled *c) { return c->plan; }

static void watch(fy_session *s, fy_seen *seen, void *ctx) {
    s->seen = seen;
    s->ctx = ctx;
}

const fy_engine fy_engine_ferry = {
    .name = "ferry", .doc = "our own engine", .missing = missing, .describe = describe, .compile = compile,
    .compiled_free = compiled_free, .session = session, .session_free = session_free, .run = run, .recycle = recycle, .stop = stop, .plan = plan, .watch = watch,
};
