/* SPDX-License-Identifier: Apache-2.0
 * timing.c - opens a model, makes inputs, runs it by the clock. */
#include "api/timing.h"

#include <stdio.h>
#include <string.h>

/* A lone symbol, not an expression: what sizes= can set. */
static bool is_name(const char *s) {
    if (!s || !*s) return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '_')) return false;
    return true;
}

static bool listed(const char *sizes, const char *name) {
    size_t n = strlen(name);
    for (const char *p = sizes; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (!strncmp(p, name, n) && p[n] == '=') return true;
    return false;
}

/* --batch N as --sizes: first axes that are symbols. */
static fy_status add_batch(fy_buf *sizes, const ferry_model *m, int64_t batch, ferry_error *e) {
    bool any = false;
    for (size_t i = 0; i < ferry_inputs(m); i++) {
        const ferry_port *p = ferry_input(m, i);
        if (p->rank < 1) continue;
        FY_NEED(e, p->dim[0] < 0 || p->dim[0] == batch, SHAPE, "batch: axis 0 of input '%s' is fixed at %lld", p->name, (long long)p->dim[0]);
        any |= p->dim[0] >= 0;
        if (p->dim[0] >= 0 || !is_name(p->sym[0])) continue;
        any = true;
        if (!listed(sizes->at, p->sym[0])) fy_buf_fmt(sizes, "%s%s=%lld", sizes->n ? "," : "", p->sym[0], (long long)batch);
    }
    FY_NEED(e, any, SHAPE, "batch: no input has a first axis that can be set");
    return FY_OK;
}

/* `one`: "seq=16", before what the job says; may be NULL. */
static fy_status make_inputs(fy_timing *r, ferry_values *values, const char *one, ferry_error *e) {
    fy_buf sizes = {0};
    int64_t batch = 0;
    const char *given = fy_opt(r->job, "sizes"), *seed = fy_opt(r->job, "seed");
    if (one) fy_buf_str(&sizes, one);
    if (given) fy_buf_fmt(&sizes, "%s%s", one ? "," : "", given);
    fy_status s = fy_opt_int(r->job, "batch", 1, 1 << 20, &batch, e);
    if (!s && batch) s = add_batch(&sizes, r->model, batch, e);
    if (!s && sizes.oom) s = fy_nomem(e);
    ferry_option option[2] = {{"seed", seed ? seed : "1"}, {"sizes", sizes.at}};
    ferry_job job = {option, sizes.n ? 2 : 1, NULL, NULL};
    if (!s && ferry_values_random(values, r->model, &job, e)) s = fy_code_find(e->code);
    fy_buf_free(&sizes);
    return s;
}

static fy_status bind(fy_timing *r, ferry_error *e) {
    r->nin = ferry_inputs(r->model);
    r->nout = ferry_outputs(r->model);
    r->in = FY_NEWN(&r->arena, ferry_tensor, (int64_t)r->nin);
    r->out = FY_NEWN(&r->arena, ferry_tensor, (int64_t)r->nout);
    r->input = FY_NEWN(&r->arena, fy_bench_input, (int64_t)r->nin);
    FY_NOMEM(e, r->in && r->out && r->input);
    r->batch = 0;
    for (size_t i = 0; i < r->nin; i++) {
        const char *name = ferry_input(r->model, i)->name;
        fy_buf type = {0};
        int at = ferry_values_find(r->values, name);
        FY_NEED(e, at >= 0, UNSUPPORTED, "input '%s' cannot be made up", name);
        if (ferry_values_get(r->values, (size_t)at, &r->in[i], e)) return fy_code_find(e->code);
        fy_buf_fmt(&type, "%s[", ferry_dtype_name(r->in[i].dtype));
        for (int k = 0; k < r->in[i].rank; k++) fy_buf_fmt(&type, "%s%lld", k ? "," : "", (long long)r->in[i].dim[k]);
        fy_buf_char(&type, ']');
        r->input[i] = (fy_bench_input){name, type.oom ? NULL : fy_arena_str(&r->arena, type.at)};
        fy_buf_free(&type);
        FY_NOMEM(e, r->input[i].type);
        if (!r->batch && r->in[i].rank > 0) r->batch = r->in[i].dim[0];
    }
    if (!r->batch) r->batch = 1;
    return FY_OK;
}

static fy_status open_model(fy_timing *r, const char *path, ferry_error *e) {
    char options[4600], about[1400];
    const char *cache = fy_opt(r->job, "cache"), *memory = fy_opt(r->job, "memory");
    const fy_engine *engine = NULL;
    int64_t threads = 0;
    FY_TRY(fy_opt_engine(r->job, "engine", &engine, e));
    FY_TRY(fy_opt_int(r->job, "threads", 1, 1024, &threads, e));
    fy_pool *pool = threads ? NULL : fy_pool_new(0);         /* what a session would take */
    r->threads = threads ? (int)threads : fy_pool_threads(pool);
    fy_pool_free(pool);
    r->exact = fy_opt_has(r->job, "exact");
    FY_TRY(fy_opt_precision(r->job, engine, &r->bf16, e));
    int n = snprintf(options, sizeof options, "engine=%s threads=%d%s%s%s%s%s%s%s", engine->name, r->threads, r->exact ? " exact" : "", r->bf16 ? " precision=bf16" : "",
                     memory ? " memory=" : "", memory ? memory : "", cache ? " cache='" : "", cache ? cache : "", cache ? "'" : "");
    FY_NEED(e, n > 0 && (size_t)n < sizeof options, USAGE, "cache: the path is too long");
    fy_timing_progress(r, "loading", -1);
    ferry_registry *plugins = NULL;
    FY_TRY(fy_opt_plugins(r->job, &plugins, e));
    r->model = ferry_open_with(path, options, plugins, e);
    ferry_registry_free(plugins);        /* the model has its own hold */
    if (!r->model) return fy_code_find(e->code);
    FY_TRY(engine->describe(about, sizeof about, e));
    r->about = fy_arena_fmt(&r->arena, "%s%s", about, r->bf16 ? ", precision bf16" : "");
    r->values = ferry_values_new();
    FY_NOMEM(e, r->about && r->values);
    r->session = ferry_session_new(r->model, e);
    return r->session ? FY_OK : fy_code_find(e->code);
}

fy_status fy_timing_open(fy_timing *r, const char *path, const ferry_job *job, ferry_error *e) {
    *r = (fy_timing){.job = job, .seconds = 2};
    fy_cpu_name(r->cpu);
    FY_TRY(fy_opt_num(job, "seconds", &r->seconds, e));
    FY_NEED(e, r->seconds <= 3600, USAGE, "seconds: %g is more than an hour", r->seconds);
    FY_TRY(open_model(r, path, e));
    FY_TRY(make_inputs(r, r->values, NULL, e));
    return bind(r, e);
}

fy_status fy_timing_inputs(fy_timing *r, ferry_values *values, ferry_tensor *in, const char *one, ferry_error *e) {
    FY_TRY(make_inputs(r, values, one, e));
    for (size_t i = 0; i < r->nin; i++) {
        int at = ferry_values_find(values, ferry_input(r->model, i)->name);
        FY_NEED(e, at >= 0, UNSUPPORTED, "input '%s' cannot be made up", ferry_input(r->model, i)->name);
        if (ferry_values_get(values, (size_t)at, &in[i], e)) return fy_code_find(e->code);
    }
    return FY_OK;
}

void fy_timing_close(fy_timing *r) {
    ferry_session_free(r->session);
    ferry_values_free(r->values);
    ferry_close(r->model);
    fy_arena_free(&r->arena);
}

fy_status fy_timing_run(fy_timing *r, double *seconds, ferry_error *e) {
    double begin = fy_os_seconds();
    int kind = ferry_run(r->session, r->in, r->nin, r->out, r->nout, e);
    *seconds = fy_os_seconds() - begin;
    return kind ? fy_code_find(e->code) : FY_OK;
}

void fy_timing_progress(const fy_timing *r, const char *what, double share) {
    if (r->job && r->job->progress) r->job->progress(r->job->ctx, what, share);
}
