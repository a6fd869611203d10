/* SPDX-License-Identifier: Apache-2.0
 * selftest.c - ferry_selftest: finds the suite, hands over the report. */
#include "api/api.h"
#include "check/conform.h"
#include "check/hostile.h"
#include "check/kernels.h"
#include "ferry/tools.h"

#include <string.h>

static fy_status suite_onnx(fy_report *r, const char *const *paths, size_t n, const ferry_job *job, ferry_error *e) {
    static const char *const keys[] = {"strict", "exceptions", "engine", "threads", NULL};
    fy_conform_options o = {.strict = fy_opt_has(job, "strict")};
    const char *lists[8];
    int64_t threads = 0;
    FY_TRY(fy_opt_known(job, keys, e));
    FY_TRY(fy_opt_engine(job, "engine", &o.engine, e));
    FY_TRY(fy_opt_int(job, "threads", 1, 4096, &threads, e));
    FY_NEED(e, n, USAGE, "selftest onnx: no folder of cases is given");
    for (size_t i = 0; job && i < job->noption; i++) {
        if (strcmp(job->option[i].key, "exceptions")) continue;
        FY_NEED(e, o.nexceptions < FY_COUNT(lists), USAGE, "exceptions: at most %d files", FY_COUNT(lists));
        lists[o.nexceptions++] = job->option[i].value;
    }
    o.exceptions = lists;
    o.threads = (int)threads;
    o.progress = job ? job->progress : NULL;
    o.ctx = job ? job->ctx : NULL;
    return fy_conform_report(r, paths, n, &o, e);
}

static fy_status suite_hostile(fy_report *r, const char *const *paths, size_t n, const ferry_job *job, ferry_error *e) {
    static const char *const keys[] = {"op", "seed", "trials", "plugin", NULL};
    int64_t seed = 1, trials = 100;
    ferry_registry *registry = NULL;
    FY_TRY(fy_opt_known(job, keys, e));
    FY_TRY(fy_opt_int(job, "seed", 0, INT64_MAX, &seed, e));
    FY_TRY(fy_opt_int(job, "trials", 0, 1 << 30, &trials, e));
    FY_NEED(e, n <= 1, USAGE, "selftest hostile: one folder of cases at most");
    FY_TRY(fy_opt_plugins(job, &registry, e));
    fy_hostile h = {.registry = fy_registry_of(registry), .only = fy_opt(job, "op"), .folder = n ? paths[0] : NULL, .seed = (uint64_t)seed, .trials = trials, .guard = true};
    fy_status s = fy_hostile_report(r, &h, job ? job->progress : NULL, job ? job->ctx : NULL, e);
    ferry_registry_free(registry);
    return s;
}

static fy_status suite_kernels(fy_report *r, const char *const *paths, size_t n, const ferry_job *job, ferry_error *e) {
    static const char *const keys[] = {"isa", "kernel", "bench", "stride", NULL};
    fy_kernel_options o = {.isa = fy_opt(job, "isa"), .only = fy_opt(job, "kernel"), .bench = fy_opt_has(job, "bench")};
    (void)paths;
    FY_TRY(fy_opt_known(job, keys, e));
    FY_TRY(fy_opt_int(job, "stride", 1, (int64_t)1 << 32, &o.stride, e));
    FY_NEED(e, !n, USAGE, "selftest kernels takes no paths");
    o.progress = job ? job->progress : NULL;
    o.ctx = job ? job->ctx : NULL;
    return fy_kernels_report(r, &o, e);
}

static const struct { const char *name; fy_status (*run)(fy_report *r, const char *const *paths, size_t n, const ferry_job *job, ferry_error *e); } suites[] = {
    {"onnx", suite_onnx},
    {"hostile", suite_hostile},
    {"kernels", suite_kernels},
};

static fy_status run_suite(fy_report *r, const char *suite, const char *const *paths, size_t n, const ferry_job *job, ferry_error *e) {
    const char *names[FY_COUNT(suites)];
    for (int i = 0; i < FY_COUNT(suites); i++) {
        if (!strcmp(suites[i].name, suite)) return suites[i].run(r, paths, n, job, e);
        names[i] = suites[i].name;
    }
    const char *near = fy_nearest(suite, names, FY_COUNT(suites));
    return fy_fail(e, FY_E_USAGE, "selftest: there is no suite '%s'%s%s%s", suite, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

int ferry_selftest(const char *suite, const char *const *paths, size_t n, const ferry_job *job, ferry_report **out, ferry_error *e) {
    *out = NULL;
    fy_report *r = fy_report_new(e);
    fy_status s = r ? run_suite(r, suite, paths, n, job, e) : FY_E_NOMEM;
    if (!s) s = fy_report_finish(r, e);
    if (s) {
        fy_report_free(r);
        return fy_kind_of(s);
    }
    *out = r;
    return r->verdict;
}
