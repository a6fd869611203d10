/* SPDX-License-Identifier: Apache-2.0
 * compare.c - ferry_diff: two models loaded, at the canonical opset, and compared. */
#include "api/api.h"
#include "check/diff.h"

static fy_status compare(fy_report *r, fy_loaded *l, const char *a, const char *b, const ferry_job *job, ferry_error *e) {
    static const char *const keys[] = {"no-weights", "no-metadata", "tolerance", "threads", "plugin", NULL};
    fy_diff_options o = {.weights = !fy_opt_has(job, "no-weights"), .metadata = !fy_opt_has(job, "no-metadata")};
    int64_t threads = 0;
    FY_TRY(fy_opt_known(job, keys, e));
    FY_TRY(fy_opt_num(job, "tolerance", &o.tolerance, e));
    FY_TRY(fy_opt_int(job, "threads", 1, 1024, &threads, e));
    FY_TRY(fy_load(&l[0], a, job, e));
    FY_TRY(fy_load(&l[1], b, job, e));
    o.threads = (int)threads;
    fy_diff_side x = {a, l[0].program ? "pt2" : "onnx", l[0].file_opset, l[0].model}, y = {b, l[1].program ? "pt2" : "onnx", l[1].file_opset, l[1].model};
    return fy_diff_report(r, &x, &y, &o, e);
}

int ferry_diff(const char *a, const char *b, const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const ferry_job none;
    fy_loaded l[2] = {0};
    *out = NULL;
    fy_error_clear(e);
    fy_report *r = fy_report_new(e);
    fy_status s = r ? compare(r, l, a, b, job ? job : &none, e) : FY_E_NOMEM;
    if (!s) s = fy_report_finish(r, e);
    fy_unload(&l[0]);
    fy_unload(&l[1]);
    if (s) {
        fy_report_free(r);
        return fy_kind_of(s);
    }
    *out = r;
    return r->verdict;
}
