/* SPDX-License-Identifier: Apache-2.0
 * verify.c - ferry_verify: finds the reference (named, or the .pt2 whose hash the model carries) and hands both to verify/. */
#include "api/api.h"
#include "base/file.h"
#include "formats/hash.h"
#include "formats/npz.h"
#include "formats/onnx.h"
#include "formats/pt2.h"
#include "opset/opset.h"
#include "verify/torch.h"
#include "verify/verify.h"

#include <dirent.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

typedef struct tolerances { const char **name; double *value; int n; double all; } tolerances;

/* Of the output's range: an operand rounded to 8 bits is off by 2^-9 at most, and errors of layers add up. */
#define FY_BF16_TOLERANCE 2e-2

/* "X" for all outputs, "NAME:X" for one. */
static fy_status parse_tolerances(tolerances *t, const ferry_job *job, bool bf16, fy_arena *a, ferry_error *e) {
    t->name = FY_NEWN(a, const char *, job->noption + 1);
    t->value = FY_NEWN(a, double, job->noption + 1);
    t->all = bf16 ? FY_BF16_TOLERANCE : 1e-4;
    FY_NOMEM(e, t->name && t->value);
    for (size_t i = 0; i < job->noption; i++) {
        if (strcmp(job->option[i].key, "tolerance")) continue;
        const char *s = job->option[i].value ? job->option[i].value : "", *colon = strrchr(s, ':'), *number = colon ? colon + 1 : s;
        char *end;
        double v = strtod(number, &end);
        FY_NEED(e, *number && !*end && v >= 0 && v < 1e30, USAGE, "tolerance: '%s' is neither X nor NAME:X", s);
        if (!colon) { t->all = v; continue; }
        const char *name = fy_arena_strn(a, s, (size_t)(colon - s));
        FY_NOMEM(e, name);
        int at = 0;
        while (at < t->n && strcmp(t->name[at], name)) at++;             /* the last one counts */
        t->name[at] = name;
        t->value[at] = v;
        t->n += at == t->n;
    }
    return FY_OK;
}

/* NAME, with the nearest, if a tolerance is for no output of the model. */
static fy_status check_tolerances(const tolerances *t, const fy_model *m, ferry_error *e) {
    const char *names[64];
    int n = 0;
    for (int64_t i = 0; i < m->graph->out.n && n < FY_COUNT(names); i++) names[n++] = m->graph->out.at[i]->name;
    for (int k = 0; k < t->n; k++) {
        bool found = false;
        for (int64_t i = 0; i < m->graph->out.n && !found; i++) found = !strcmp(m->graph->out.at[i]->name, t->name[k]);
        if (found) continue;
        const char *near = fy_nearest(t->name[k], names, n);
        return fy_fail(e, FY_E_NAME, "tolerance: there is no output '%s'%s%s%s", t->name[k], near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return FY_OK;
}

static bool is_pt2(const char *name) {
    size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, ".pt2");
}

/* The .pt2 in the model's folder whose sha256 the model carries: the recorded name first, then every other. */
static fy_status find_reference(const char **found, const char *model_path, const fy_model *m, fy_arena *a, ferry_error *e) {
    const char *want = fy_model_meta(m, "ferry.source_sha256"), *name = fy_model_meta(m, "ferry.source"), *slash = strrchr(model_path, '/');
    const char *dir = slash ? fy_arena_strn(a, model_path, (size_t)(slash - model_path) + 1) : "";
    char hex[65];
    FY_NEED(e, want, USAGE, "%s does not say what it was made from: name the reference with --against", model_path);
    const char *path = name && !strchr(name, '/') ? fy_arena_fmt(a, "%s%s", dir, name) : NULL;
    if (path && !fy_sha256_file(hex, path, NULL) && !strcmp(hex, want)) { *found = path; return FY_OK; }
    DIR *d = opendir(*dir ? dir : ".");
    for (struct dirent *f; d && (f = readdir(d));) {
        if (!is_pt2(f->d_name)) continue;
        path = fy_arena_fmt(a, "%s%s", dir, f->d_name);
        if (path && !fy_sha256_file(hex, path, NULL) && !strcmp(hex, want)) { *found = path; break; }
    }
    if (d) closedir(d);
    if (*found) return FY_OK;
    fy_status s = fy_fail(e, FY_E_NOFILE, "no .pt2 beside %s has the sha256 %.12s... of its source%s%s", model_path, want, name ? ", " : "", name ? name : "");
    return fy_help(e, s, "ferry verify %s --against PATH.pt2", model_path);
}

/* Axes that the export opened: recorded as "x:0=batch, ..." in the model; those which the program has fixed. */
static int opened_axes(fy_axis_name *axes, int max, const fy_model *m, const fy_program *p) {
    int n = 0;
    int64_t at = 0, fixed;
    for (int i = 0; i < p->nin; i++) {
        if (p->in[i].kind != FY_PIN_USER || !p->in[i].value) continue;
        if (at >= m->graph->in.n) break;
        const fy_value *v = m->graph->in.at[at++];
        const fy_pvalue *pv = p->in[i].value;
        for (int k = 0; k < v->type.rank && k < pv->rank; k++) {
            const fy_dim *d = v->type.dim[k];
            if (fy_dim_known(d, &fixed) || !fy_dim_known(pv->dim[k], &fixed) || n == max || d->kind != FY_DIM_SYM) continue;
            axes[n++] = (fy_axis_name){p->in[i].user_name ? p->in[i].user_name : v->name, k, d->name};
        }
    }
    return n;
}

static fy_status against_pt2(fy_verify_report *r, const fy_model *m, const ferry_registry *reg, const char *path, const ferry_job *job, const fy_verify_options *o, ferry_error *e) {
    fy_program *p = NULL;
    fy_axis_name axes[64];
    const char *reference = fy_opt(job, "reference");
    FY_NEED(e, !reference || !strcmp(reference, "torch"), USAGE, "reference: there is 'torch', not '%s'", reference);
    fy_status s = fy_read_source(&p, path, &(fy_source_options){.job = job, .registry = reg}, e);
    if (!s && reference) s = fy_verify_torch(r, m, p, path, o, e);
    else if (!s) s = fy_verify_program(r, m, p, opened_axes(axes, FY_COUNT(axes), m, p), axes, o, e);
    fy_program_free(p);
    return s;
}

static fy_status against_npz(fy_verify_report *r, const fy_model *m, const char *path, const fy_verify_options *o, ferry_error *e) {
    fy_named_list list = {0};
    fy_status s = fy_npz_read(&list, path, e);
    if (!s) s = fy_verify_recorded(r, m, &list, o, e);
    fy_named_free(&list);
    return s;
}

static fy_status against_onnx(fy_verify_report *r, const fy_model *m, const char *path, const ferry_job *job, const fy_verify_options *o, ferry_error *e) {
    fy_loaded ref = {0};
    const fy_engine *engine = fy_engine_judge();
    FY_TRY(fy_opt_engine(job, "reference-engine", &engine, e));
    FY_TRY(fy_load(&ref, path, job, e));
    fy_status s = fy_verify_model(r, m, ref.model, engine, o, e);
    fy_unload(&ref);
    return s;
}

static fy_status compare(fy_verify_report *r, const fy_loaded *l, const char *path, const ferry_job *job, fy_arena *a, ferry_error *e) {
    fy_verify_options o = {.engine = fy_engine_judge(), .model_path = l->program ? NULL : path, .relative_to_range = fy_opt_has(job, "relative-to-range"), .sizes = 2, .nodes = true,
        .progress = job->progress, .ctx = job->ctx};
    tolerances tol = {0};
    int64_t seed = 1, sizes = 2, threads = 0;
    const char *ref = fy_opt(job, "against");
    fy_map_file f;
    FY_TRY(fy_opt_engine(job, "engine", &o.engine, e));
    FY_TRY(fy_opt_precision(job, o.engine, &o.bf16, e));
    o.relative_to_range |= o.bf16 && !fy_opt_has(job, "tolerance");
    FY_TRY(parse_tolerances(&tol, job, o.bf16, a, e));
    FY_TRY(check_tolerances(&tol, l->model, e));
    FY_TRY(fy_opt_int(job, "seed", 0, INT64_MAX, &seed, e));
    FY_TRY(fy_opt_int(job, "sizes", 0, 64, &sizes, e));
    FY_TRY(fy_opt_int(job, "threads", 1, 1024, &threads, e));
    o.tolerance = tol.all > 0 ? tol.all : DBL_MIN;           /* 0 would mean the default */
    o.ntol = tol.n;
    o.tol_name = tol.name;
    o.tol = tol.value;
    o.seed = (uint64_t)seed;
    o.sizes = (int)sizes;
    o.threads = (int)threads;
    o.cache = fy_opt(job, "cache");
    if (!ref) FY_TRY(find_reference(&ref, path, l->model, a, e));
    FY_TRY(fy_file_open(&f, ref, e));
    fy_filetype type = fy_file_sniff(f.at, f.n);
    fy_file_close(&f);
    if (type == FY_FILE_NPZ) return against_npz(r, l->model, ref, &o, e);
    if (type == FY_FILE_ONNX) return against_onnx(r, l->model, ref, job, &o, e);
    return against_pt2(r, l->model, l->registry, ref, job, &o, e);
}

int ferry_verify(const char *model, const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const char *const keys[] = {"against", "reference", "engine", "reference-engine", "precision", "tolerance", "relative-to-range", "seed", "sizes", "threads", "junit", "shape", "plugin", "cache", NULL};
    static const ferry_job none;
    fy_verify_report verdict = {0};
    fy_loaded l = {0};
    fy_arena a = {0};
    *out = NULL;
    fy_error_clear(e);
    if (!job) job = &none;
    fy_report *r = fy_report_new(e);
    fy_status s = r ? fy_opt_known(job, keys, e) : FY_E_NOMEM;
    if (!s) s = fy_load(&l, model, job, e);
    if (!s) s = compare(&verdict, &l, model, job, &a, e);
    if (!s) {
        fy_jsonw w = {.out = &r->json, .first = true};
        fy_jsonw_object(&w, NULL);
        fy_jsonw_str(&w, "model", model);
        fy_verify_json(&w, &verdict);
        fy_jsonw_end_object(&w);
        fy_buf_char(&r->json, '\n');
        fy_buf_fmt(&r->text, FY_BOLD "%s" FY_OFF "\n", model);
        fy_verify_print(&r->text, &verdict, true);
        fy_verify_junit(&r->junit, &verdict, model);
        r->verdict = verdict.verdict == FY_VERDICT_FAIL ? FERRY_NO : FERRY_OK;
        s = fy_report_finish(r, e);
    }
    if (!s && fy_opt(job, "junit")) s = fy_write_text(fy_opt(job, "junit"), &r->junit, e);
    fy_verify_report_free(&verdict);
    fy_unload(&l);
    fy_arena_free(&a);
    if (s) {
        fy_report_free(r);
        return fy_kind_of(s);
    }
    *out = r;
    return r->verdict;
}
