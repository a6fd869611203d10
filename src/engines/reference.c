/* SPDX-License-Identifier: Apache-2.0
 * reference.c - the graph run by the reference kernels, matrix products and convolutions through tensor/gemm.h.
 * A compiled model is the graph, its pool of threads and nothing else; a session holds the declared state between runs. */
#include "engines/engine.h"

#include <stdatomic.h>
#include <stdio.h>

extern const fy_engine fy_engine_reference;

struct fy_compiled { const fy_model *model; fy_pool *pool; int64_t max_steps; };
struct fy_session { const fy_compiled *compiled; fy_rval *state; atomic_bool stopped; };

static const char *missing(char *buf, size_t n) { (void)buf; (void)n; return NULL; }

static fy_status describe(char *buf, size_t n, ferry_error *e) {
    (void)e;
    snprintf(buf, n, "ferry %s", ferry_version());
    return FY_OK;
}

static fy_status compile(fy_compiled **out, const fy_model *m, const fy_engine_options *o, ferry_error *e) {
    *out = NULL;
    FY_TRY(fy_engine_kernels(m, e));
    fy_compiled *c = fy_calloc(1, sizeof *c);
    FY_NOMEM(e, c);
    c->model = m;
    c->max_steps = o ? o->max_steps : 0;
    c->pool = fy_pool_new(o ? o->threads : 0);
    if (!c->pool) {
        fy_free(c);
        return fy_nomem(e);
    }
    *out = c;
    return FY_OK;
}

static void compiled_free(fy_compiled *c) {
    if (!c) return;
    fy_pool_free(c->pool);
    fy_free(c);
}

static fy_status session(fy_session **out, fy_compiled *c, ferry_error *e) {
    fy_session *s = fy_calloc(1, sizeof *s);
    *out = NULL;
    FY_NOMEM(e, s);
    s->compiled = c;
    if (c->model->graph->state.n) {
        s->state = fy_calloc((size_t)c->model->graph->state.n, sizeof *s->state);
        if (!s->state) {
            fy_free(s);
            return fy_nomem(e);
        }
    }
    *out = s;
    return FY_OK;
}

static void session_free(fy_session *s) {
    if (!s) return;
    for (int64_t i = 0; s->state && i < s->compiled->model->graph->state.n; i++) fy_rval_free(&s->state[i]);
    fy_free(s->state);
    fy_free(s);
}

static bool stopped(void *ctx) { return atomic_load_explicit(&((fy_session *)ctx)->stopped, memory_order_relaxed); }

static void stop(fy_session *s) { atomic_store(&s->stopped, true); }

static fy_status run(fy_session *s, fy_rval *const *in, fy_rval *out, ferry_error *e) {
    fy_interp it = {.pool = s->compiled->pool, .state = s->state, .hooks = fy_hooks_builtin(), .max_steps = s->compiled->max_steps, .stop = stopped, .ctx = s};
    fy_status st = fy_interp_run(&it, s->compiled->model->graph, in, out, e);
    atomic_store(&s->stopped, false);
    return st;
}

const fy_engine fy_engine_reference = {
    .name = "reference", .doc = "ferry's reference kernels alone: the meaning, not the speed", .missing = missing, .describe = describe, .compile = compile,
    .compiled_free = compiled_free, .session = session, .session_free = session_free, .run = run, .stop = stop,
};
