/* SPDX-License-Identifier: Apache-2.0
 * bench.c - ferry_bench: runs a model for a while and says how long it took; against an earlier report, whether that is another speed. */
#include "api/timing.h"
#include "base/file.h"
#include "check/check.h"
#include "ir/copy.h"

#include <string.h>

#define WARM_SHARE 0.2                   /* of the time to measure, spent before it */
#define FEWEST 5                         /* runs that are measured at least, unless they take very long */
#define MOST 1000000

typedef struct times { FY_VEC(double) runs; double spent; } times;

static bool enough(const times *t, double seconds) {
    if (t->runs.n >= MOST) return true;
    return t->spent >= seconds && (t->runs.n >= FEWEST || (t->runs.n && t->spent >= 4 * seconds + 1));
}

static fy_status measure(fy_timing *r, fy_bench *b, ferry_error *e) {
    times t = {0};
    double warm = 0, one;
    fy_timing_progress(r, "warming up", -1);
    FY_TRY(fy_timing_run(r, &b->first, e));
    fy_memory_sample(&b->memory);
    for (; warm < WARM_SHARE * r->seconds || b->warmups < 1; b->warmups++, warm += one) FY_TRY(fy_timing_run(r, &one, e));
    fy_status s = FY_OK;
    for (double told = -1; !s && !enough(&t, r->seconds);) {
        s = fy_timing_run(r, &one, e);
        if (!s && !FY_RESERVE(t.runs, t.runs.n + 1)) s = fy_nomem(e);
        if (s) break;
        t.runs.at[t.runs.n++] = one;
        t.spent += one;
        if (t.spent - told < 0.1) continue;                  /* talk costs time between runs, not in them */
        told = t.spent;
        fy_timing_progress(r, "measuring", t.spent < r->seconds ? t.spent / r->seconds : 0.99);
    }
    fy_memory_sample(&b->memory);
    if (!s) fy_summarise(&b->s, t.runs.at, t.runs.n);
    fy_free(t.runs.at);
    return s;
}

/* A copy of the graph with these inputs' sizes, so that all others are numbers: constants are shared, nothing is run. */
static fy_status sized_copy(fy_model **copy, const fy_timing *r, ferry_error *e) {
    FY_TRY(fy_model_copy(copy, fy_model_of(r->model), e));
    fy_model *m = *copy;
    for (int64_t i = 0; i < m->graph->in.n; i++) {
        fy_value *v = m->graph->in.at[i];
        const fy_dim *dim[FY_MAX_RANK];
        int at = v->name ? ferry_find_input(r->model, v->name) : -1;
        if (at < 0 || v->type.kind != FY_TENSOR) continue;
        for (int k = 0; k < r->in[at].rank; k++) FY_NOMEM(e, (dim[k] = fy_dim_const(m->dims, r->in[at].dim[k])));
        v->type = fy_tensor_type(m, v->type.dtype, r->in[at].rank, dim);
    }
    return fy_infer_model(m, e);
}

static fy_status count_macs(fy_bench *b, const fy_timing *r, ferry_error *e) {
    fy_model *m = NULL;
    fy_status s = sized_copy(&m, r, e);
    for (const fy_node *n = s ? NULL : m->graph->first; n; n = n->next) {
        int64_t macs = fy_node_macs(n);
        if (macs < 0) b->macs_unknown++;
        else if (b->macs <= INT64_MAX - macs) b->macs += macs;
    }
    fy_model_free(m);
    return s;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static fy_status bench(fy_report *out, fy_timing *r, const char *path, const fy_bench *then, const char *against, ferry_error *e) {
    fy_bench b = {.model = base_name(path), .isa = fy_isa_name(fy_cpu_isa())};
    FY_TRY(fy_timing_open(r, path, r->job, e));
    b.engine = fy_engine_of(r->model)->name;
    b.about = r->about;
    b.cpu = r->cpu;
    b.input = r->input;
    b.ninputs = (int)r->nin;
    b.threads = r->threads;
    b.exact = r->exact;
    b.batch = r->batch;
    fy_open_seconds(r->model, &b.load, &b.compile);
    const char *why;
    static const char *const words[] = {NULL, "used", "made", NULL};
    int cache = ferry_cache_state(r->model, &why);
    b.cache = cache == FERRY_CACHE_FAILED ? why : words[cache];
    fy_memory_sample(&b.memory);
    b.cycle = fy_opt(r->job, "cycle");
    if (!b.cycle) FY_TRY(count_macs(&b, r, e));
    FY_TRY(b.cycle ? fy_timing_cycle(r, &b, b.cycle, e) : measure(r, &b, e));
    fy_pool *pool = fy_pool_new(r->threads);
    b.flops = fy_machine_flops(pool);
    fy_pool_free(pool);
    fy_timing_progress(r, "measuring", 1);
    return fy_bench_report(out, &b, then, against, e);
}

static fy_status read_earlier(fy_bench *then, const char *path, fy_arena *a, ferry_error *e) {
    fy_map_file f;
    FY_TRY(fy_file_open(&f, path, e));
    const char *text = fy_arena_strn(a, (const char *)f.at, f.n);
    fy_status s = text ? fy_bench_read(then, a, text, f.n, e) : fy_nomem(e);
    fy_file_close(&f);
    return s ? fy_frame(e, s, "file %s", path) : FY_OK;
}

fy_status fy_write_text(const char *path, const fy_buf *text, ferry_error *e) {
    fy_out o;
    FY_NOMEM(e, !text->oom);
    FY_TRY(fy_out_open(&o, path, e));
    fy_status s = fy_out_write(&o, text->at, text->n, e);
    if (!s) s = fy_out_commit(&o, e);
    fy_out_abort(&o);
    return s;
}

int ferry_bench(const char *path, const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const char *const keys[] = {FY_TIMING_KEYS, "cycle", "save", "against", NULL};
    ferry_error own;
    if (!e) e = &own;
    fy_timing r = {.job = job};
    fy_arena a = {0};
    fy_bench then = {0};
    const char *against = fy_opt(job, "against"), *save = fy_opt(job, "save");
    *out = NULL;
    fy_error_clear(e);
    fy_report *report = fy_report_new(e);
    fy_status s = report ? fy_opt_known(job, keys, e) : FY_E_NOMEM;
    if (!s && against) s = read_earlier(&then, against, &a, e);
    if (!s) s = bench(report, &r, path, against ? &then : NULL, against, e);
    if (!s) s = fy_report_finish(report, e);
    if (!s && save) s = fy_write_text(save, &report->json, e);
    fy_timing_close(&r);
    fy_arena_free(&a);
    if (s) {
        fy_report_free(report);
        return fy_kind_of(s);
    }
    *out = report;
    return report->verdict;
}
