/* SPDX-License-Identifier: Apache-2.0
 * rewrite.c - one .onnx from another, as rewrite.h says. The original is read a second time for the comparison, so that the model that
 * was changed cannot be its own judge. */
#include "api/rewrite.h"
#include "api/weights.h"
#include "base/file.h"
#include "formats/onnx.h"
#include "passes/pass.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#define OLDEST_WRITTEN 13

const char *fy_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int64_t fy_file_bytes(const char *path) {
    fy_map_file f;
    if (fy_file_open(&f, path, NULL)) return 0;
    int64_t n = (int64_t)f.n;
    fy_file_close(&f);
    return n;
}

/* ---- options ------------------------------------------------------------------------------------------------------- */

static fy_status known_options(const fy_rewrite *w, fy_arena *a, ferry_error *e) {
    static const char *const shared[] = {"output", "no-verify", "tolerance", "relative-to-range", "seed", "sizes", "engine", "threads", "external-data", "plugin"};
    int own = 0, n = 0;
    while (w->keys && w->keys[own]) own++;
    const char **all = FY_NEWN(a, const char *, own + FY_COUNT(shared) + 1);
    FY_NOMEM(e, all);
    for (int i = 0; i < own; i++) all[n++] = w->keys[i];
    for (int i = 0; i < FY_COUNT(shared); i++) all[n++] = shared[i];
    all[n] = NULL;
    return fy_opt_known(w->job, all, e);
}

static fy_status read_options(fy_rewrite *w, ferry_error *e) {
    FY_TRY(known_options(w, &w->arena, e));
    if (!w->target) w->target = fy_opt(w->job, "output");
    FY_NEED(e, w->target && *w->target, USAGE, "%s: where to write? Give a second path or -o OUT.onnx", w->command);
    FY_NEED(e, !fy_os_same_file(w->target, w->source), USAGE, "%s: the output would overwrite its input", w->target);
    if (!(w->tolerance > 0)) w->tolerance = 1e-4;
    w->seed = 1;
    w->sizes = 1;
    if (w->options) FY_TRY(w->options(w, e));
    FY_TRY(fy_opt_num(w->job, "tolerance", &w->tolerance, e));
    if (!(w->tolerance > 0)) w->tolerance = DBL_MIN;         /* 0 would mean the default */
    FY_TRY(fy_opt_int(w->job, "seed", 0, INT64_MAX, &w->seed, e));
    FY_TRY(fy_opt_int(w->job, "sizes", 0, 64, &w->sizes, e));
    FY_TRY(fy_opt_int(w->job, "threads", 1, 1024, &w->threads, e));
    w->engine = fy_engine_judge();
    FY_TRY(fy_opt_engine(w->job, "engine", &w->engine, e));
    w->verify = !fy_opt_has(w->job, "no-verify");
    FY_TRY(fy_opt_plugins(w->job, &w->registry, e));
    return FY_OK;
}

/* ---- the model ----------------------------------------------------------------------------------------------------- */

static int64_t count_nodes(const fy_model *m) {
    int64_t n = 0;
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g)) n += g->nnodes;
    for (int64_t i = 0; i < m->functions.n; i++)
        for (const fy_graph *g = m->functions.at[i].body; g; g = fy_graph_next(NULL, g)) n += g->nnodes;
    return n;
}

static fy_status change_and_lower(fy_rewrite *w, ferry_error *e) {
    fy_model *m = w->model;
    int64_t changes = 0;
    FY_TRY(fy_opset_raise_logged(m, &w->raised, e));
    FY_TRY(fy_infer_model(m, e));
    if (w->change) FY_TRY(w->change(w, e));
    FY_TRY(fy_opset_lower_logged(m, w->opset_written, &w->lowered, e));
    if (w->lowered_to) FY_TRY(w->lowered_to(w, e));
    return fy_pass_dead(m, NULL, &changes, e);               /* constants that became attributes, sizes that nobody reads any more */
}

/* Weights keep their names as far as they are what they were; the record says of the others what became of them. */
static fy_status recorded(fy_rewrite *w, ferry_error *e) {
    fy_record before;
    fy_origin *at;
    int64_t n;
    FY_TRY(fy_record_read(&before, w->model, e));
    fy_status s = fy_record_origins(&at, &n, &before, w->model, e);
    if (!s) s = fy_folds_find(&before, w->model, e);
    if (!s) s = change_and_lower(w, e);
    if (!s) s = fy_record_make(w->model, at, n, &before, e);
    fy_record_free(&before);
    return s;
}

static fy_status make(fy_rewrite *w, ferry_error *e) {
    FY_TRY(fy_onnx_read(&w->model, w->source, fy_registry_of(w->registry), e));
    fy_model *m = w->model;
    w->file_opset = m->opset;
    w->nodes_before = count_nodes(m);
    if (w->as_read) FY_TRY(w->as_read(w, m, false, e));
    if (w->as_it_is) {
        w->opset_written = m->opset;
        w->nodes_after = w->nodes_before;
        return FY_OK;
    }
    w->opset_written = w->opset ? w->opset : m->opset < OLDEST_WRITTEN ? OLDEST_WRITTEN : m->opset;
    FY_TRY(recorded(w, e));
    w->nodes_after = count_nodes(m);
    char opset[24];
    snprintf(opset, sizeof opset, "%lld", (long long)w->opset_written);
    if (fy_model_meta(m, "ferry.opset")) FY_TRY(fy_model_set_meta(m, "ferry.opset", opset, e));      /* what export notes of itself */
    return fy_model_name_all(m, e);
}

/* ---- verification -------------------------------------------------------------------------------------------------- */

/* The first operator without a kernel here, or NULL. */
static const fy_node *without_kernel(const fy_model *m) {
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *n = g->first; n; n = n->next)
            if (!n->op->ref) return n;
    return NULL;
}

static fy_status open_original(fy_model **m, fy_rewrite *w, ferry_error *e) {
    FY_TRY(fy_onnx_read(m, w->source, fy_registry_of(w->registry), e));
    if (w->as_read) FY_TRY(w->as_read(w, *m, true, e));
    FY_TRY(fy_opset_raise(*m, e));
    return fy_infer_model(*m, e);
}

/* The original runs on the reference kernels; where those lack an operator, on the engine asked for as well. */
static fy_status compare(fy_rewrite *w, const fy_model *written, const fy_model *original, const char *tmp, ferry_error *e) {
    fy_verify_options o = {.engine = w->engine, .model_path = tmp, .ref_path = w->source, .threads = (int)w->threads, .tolerance = w->tolerance,
        .relative_to_range = fy_opt_has(w->job, "relative-to-range"), .seed = (uint64_t)w->seed, .sizes = (int)w->sizes, .progress = w->job->progress, .ctx = w->job->ctx};
    const fy_node *gap = without_kernel(original);
    const fy_engine *reference = fy_engine_judge();
    if (gap && w->engine == reference) {
        char node[160];
        fy_node_describe(node, sizeof node, gap);
        fy_status s = fy_fail(e, FY_E_OP, "%s: ferry has no kernel for %s%s%s, so it cannot compare the result with the original", node, gap->op->domain,
                              *gap->op->domain ? "." : "", gap->op->name);
        return fy_help(e, s, "--engine onnxruntime runs both where it knows the operator; --no-verify writes without comparing.");
    }
    fy_status s = fy_verify_model(&w->verdict, written, original, gap ? w->engine : reference, &o, e);
    w->verified = !s;
    if (s == FY_E_UNSUPPORTED) return fy_help(e, s, "The result cannot be compared with made-up inputs; --no-verify writes it without.");
    return s;
}

/* The temporary file is read back, so that the writer is judged as well. With weights in a second file, which still waits for its name,
 * the graph in memory is judged: it is not needed any more. */
static fy_status before_commit(void *ctx, const char *tmp, fy_onnx_more *more, ferry_error *e) {
    fy_rewrite *w = ctx;
    fy_model *back = tmp ? NULL : w->model, *original = NULL;
    (void)more;
    if (!w->verify) return FY_OK;
    fy_status s = tmp ? fy_onnx_read(&back, tmp, fy_registry_of(w->registry), e) : FY_OK;
    if (!s) s = fy_opset_raise(back, e);
    if (!s) s = fy_infer_model(back, e);
    if (!s) s = open_original(&original, w, e);
    if (!s) s = compare(w, back, original, tmp, e);
    fy_model_free(original);
    if (tmp) fy_model_free(back);
    FY_TRY(s);
    if (w->verdict.verdict == FY_VERDICT_FAIL)
        return fy_fail(e, FY_E_GATE, "%s is not what %s computes: max abs error %.3g, tolerance %.0e", fy_base_name(w->target), fy_base_name(w->source), w->verdict.worst_abs,
                       w->verdict.tolerance);
    return FY_OK;
}

static fy_status run(fy_rewrite *w, ferry_error *e) {
    FY_TRY(read_options(w, e));
    fy_status s = make(w, e);
    if (s) return fy_frame(e, s, "file %s", w->source);
    fy_onnx_options o = {.external_data = fy_opt_has(w->job, "external-data"), .traces = true, .before_commit = before_commit, .ctx = w};
    return fy_onnx_write(w->model, w->target, &o, e);
}

/* ---- the report ---------------------------------------------------------------------------------------------------- */

static void print_log(fy_buf *t, const char *title, const fy_opset_log *log) {
    if (log->n) fy_buf_fmt(t, "  %s\n", title);
    for (int64_t i = 0; i < log->n; i++) {
        const fy_opset_count *c = &log->at[i];
        fy_buf_fmt(t, "    %-24s", c->op);
        if (c->adapted) fy_buf_fmt(t, " %lld adapted", (long long)c->adapted);
        if (c->replaced) fy_buf_fmt(t, " %lld written out", (long long)c->replaced);
        if (c->cast) fy_buf_fmt(t, " %lld with casts", (long long)c->cast);
        fy_buf_char(t, '\n');
    }
}

static void print_text(fy_buf *t, const fy_rewrite *w, bool no) {
    fy_buf_fmt(t, FY_BOLD "%s" FY_OFF " -> " FY_BOLD "%s" FY_OFF "  opset %lld -> %lld, %lld -> %lld nodes", fy_base_name(w->source), w->target, (long long)w->file_opset,
               (long long)w->opset_written, (long long)w->nodes_before, (long long)w->nodes_after);
    if (!no) fy_buf_fmt(t, ", %.1f MB", (double)fy_file_bytes(w->target) / 1e6);
    fy_buf_char(t, '\n');
    if (w->print) w->print(t, w);
    print_log(t, "read as", &w->raised);
    print_log(t, "written as", &w->lowered);
    if (w->verified) fy_verify_print(t, &w->verdict, true);
    else fy_buf_fmt(t, FY_AMBER "  not verified" FY_OFF " (--no-verify)\n");
    if (no) fy_buf_fmt(t, FY_RED "nothing was written" FY_OFF ": %s would not compute what %s computes. --no-verify writes it all the same.\n", w->target, w->source);
}

static void json_log(fy_jsonw *j, const char *key, const fy_opset_log *log) {
    fy_jsonw_array(j, key);
    for (int64_t i = 0; i < log->n; i++) {
        fy_jsonw_object(j, NULL);
        fy_jsonw_str(j, "operator", log->at[i].op);
        fy_jsonw_int(j, "adapted", log->at[i].adapted);
        fy_jsonw_int(j, "written_out", log->at[i].replaced);
        fy_jsonw_int(j, "cast", log->at[i].cast);
        fy_jsonw_end_object(j);
    }
    fy_jsonw_end_array(j);
}

static void print_json(fy_report *r, const fy_rewrite *w, bool no) {
    fy_jsonw j = {.out = &r->json, .first = true};
    fy_jsonw_object(&j, NULL);
    fy_jsonw_str(&j, "ferry", FERRY_VERSION);
    fy_jsonw_str(&j, "command", w->command);
    fy_jsonw_str(&j, "source", w->source);
    fy_jsonw_str(&j, "output", w->target);
    fy_jsonw_bool(&j, "written", !no);
    fy_jsonw_int(&j, "bytes", no ? 0 : fy_file_bytes(w->target));
    fy_jsonw_int(&j, "opset_before", w->file_opset);
    fy_jsonw_int(&j, "opset", w->opset_written);
    fy_jsonw_int(&j, "nodes_before", w->nodes_before);
    fy_jsonw_int(&j, "nodes", w->nodes_after);
    json_log(&j, "read_as", &w->raised);
    json_log(&j, "written_as", &w->lowered);
    if (w->json) w->json(&j, w);
    if (w->verified) fy_verify_json(&j, &w->verdict);
    else fy_jsonw_str(&j, "verdict", "none");
    fy_jsonw_end_object(&j);
    fy_buf_char(&r->json, '\n');
}

/* A gate that said no still has a report: the figures are what the user needs. */
static fy_status finish(const fy_rewrite *w, fy_status s, ferry_report **out, ferry_error *e) {
    bool no = s == FY_E_GATE && w->verified;
    if (s && !no) return s;
    fy_report *r = fy_report_new(e);
    fy_status f = r ? FY_OK : FY_E_NOMEM;
    if (!f) {
        print_text(&r->text, w, no);
        print_json(r, w, no);
        r->verdict = no ? FERRY_NO : FERRY_OK;
        f = fy_report_finish(r, e);
    }
    if (f) {
        fy_report_free(r);
        return no ? f : fy_fail(e, f, "'%s' is written, but there was no memory for the report", w->target);
    }
    *out = r;
    return s;
}

int fy_rewrite_run(fy_rewrite *w, ferry_report **out, ferry_error *e) {
    static const ferry_job none;
    if (!w->job) w->job = &none;
    *out = NULL;
    fy_error_clear(e);
    fy_status s = finish(w, run(w, e), out, e);
    fy_verify_report_free(&w->verdict);
    fy_free(w->raised.at);
    fy_free(w->lowered.at);
    fy_model_free(w->model);
    ferry_registry_free(w->registry);
    fy_arena_free(&w->arena);
    return fy_kind_of(s);
}
