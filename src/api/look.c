/* SPDX-License-Identifier: Apache-2.0
 * look.c - ferry_info, ferry_check, ferry_ops, ferry_doctor, ferry_explain: load, ask check/, hand over the report. */
#include "api/weights.h"
#include "check/check.h"

/* Ends a command: hands the report over, or drops it after a failure. */
static int finish(fy_report *r, fy_status s, ferry_report **out, ferry_error *e) {
    if (!s) s = fy_report_finish(r, e);
    if (s) {
        fy_report_free(r);
        return fy_kind_of(s);
    }
    *out = r;
    return r->verdict;
}

static fy_report *begin(ferry_report **out, const ferry_job *job, const char *const *keys, ferry_error *e, fy_status *s) {
    *out = NULL;
    *s = fy_opt_known(job, keys, e);
    fy_report *r = *s ? NULL : fy_report_new(e);
    if (!*s && !r) *s = FY_E_NOMEM;
    return r;
}

/* A file of weights alone? */
static bool only_weights(const char *path) {
    fy_map_file f;
    if (fy_file_open(&f, path, NULL)) return false;
    bool yes = fy_weights_is(f.at, f.n, path);
    fy_file_close(&f);
    return yes;
}

static fy_status info_of_weights(fy_report *r, const char *path, const ferry_job *job, ferry_error *e) {
    fy_weights w;
    FY_TRY(fy_weights_open(&w, path, fy_opt(job, "section"), e));
    fy_status s = fy_weights_report(r, path, &w, fy_opt_has(job, "shapes"), e);
    fy_weights_free(&w);
    return s;
}

int ferry_info(const char *path, const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const char *const keys[] = {"shapes", "shape", "section", "plugin", NULL};
    fy_loaded l = {0};
    fy_status s;
    fy_report *r = begin(out, job, keys, e, &s);
    bool weights = !s && only_weights(path);
    if (weights) s = info_of_weights(r, path, job, e);
    if (!s && !weights) s = fy_load(&l, path, job, e);
    if (!s && !weights) s = fy_info_report(r, path, l.model, l.file_opset, l.program, fy_opt_has(job, "shapes"), e);
    fy_unload(&l);
    return finish(r, s, out, e);
}

int ferry_check(const char *path, const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const char *const keys[] = {"strict", "shape", "plugin", NULL};
    fy_loaded l = {0};
    fy_findings f = {0};
    fy_status s;
    fy_report *r = begin(out, job, keys, e, &s);
    if (!s) s = fy_load(&l, path, job, e);
    if (!s) s = fy_lint(&f, l.model, l.file_opset, e);
    if (!s) s = fy_check_report(r, path, &f, fy_opt_has(job, "strict"), e);
    fy_free(f.at);
    fy_unload(&l);
    return finish(r, s, out, e);
}

int ferry_ops(const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const char *const keys[] = {"onnx", "aten", NULL};
    fy_status s;
    fy_report *r = begin(out, job, keys, e, &s);
    bool onnx = fy_opt_has(job, "onnx"), aten = fy_opt_has(job, "aten");
    if (!s) s = fy_ops_report(r, onnx || !aten, aten || !onnx, e);
    return finish(r, s, out, e);
}

int ferry_doctor(const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const char *const keys[] = {"require", NULL};
    fy_status s;
    fy_report *r = begin(out, job, keys, e, &s);
    if (!s) s = fy_doctor_report(r, fy_opt(job, "require"), e);
    return finish(r, s, out, e);
}

static fy_status explain_node(fy_report *r, const char *path, const char *node, const ferry_job *job, ferry_error *e) {
    const fy_engine *engine = NULL;
    fy_loaded l = {0};
    fy_compiled *c = NULL;
    fy_engine_options o = {.threads = 1, .exact = fy_opt_has(job, "exact")};
    FY_TRY(fy_opt_engine(job, "engine", &engine, e));
    FY_TRY(fy_opt_precision(job, engine, &o.bf16, e));
    FY_NEED(e, engine->plan, USAGE, "the engine %s does not tell how it runs a node", engine->name);
    fy_status s = fy_load(&l, path, job, e);
    if (!s) s = engine->compile(&c, l.model, &o, e);
    if (!s) s = fy_explain_node(r, engine->plan(c), l.model, node, e);
    if (c) engine->compiled_free(c);
    fy_unload(&l);
    return s;
}

int ferry_explain(const char *topic, const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const char *const keys[] = {"node", "engine", "exact", "precision", "shape", "plugin", NULL};
    fy_status s;
    fy_report *r = begin(out, job, keys, e, &s);
    const char *node = fy_opt(job, "node");
    if (!s && node && !(topic && *topic)) s = fy_fail(e, FY_E_USAGE, "node: of which model?");
    else if (!s) s = node ? explain_node(r, topic, node, job, e) : fy_explain_report(r, topic, e);
    return finish(r, s, out, e);
}
