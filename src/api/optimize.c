/* SPDX-License-Identifier: Apache-2.0
 * optimize.c - ferry_optimize: a .onnx made simpler. The frame of rewrite.h with the passes in it: at the canonical opset, where operators are
 * recognised as far as the opset to be written has them, and once more on what lowering wrote out. */
#include "api/rewrite.h"
#include "base/knobs.h"
#include "formats/onnx.h"
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

typedef struct optimizing {
    fy_pass_options passes;
    fy_op_count    *before, *after;
    int64_t         nbefore, nafter, bytes;
    int64_t        *done;                /* changes by pass */
    int             npass;
} optimizing;

/* "64K", "1M", "2G", or a number of bytes */
static fy_status size_option(const fy_rewrite *w, const char *key, int64_t *v, ferry_error *e) {
    const char *text = fy_opt(w->job, key);
    if (!text) return FY_OK;
    char *end = NULL;
    long long n = *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : -1;
    int shift = !end || !*end ? 0 : *end == 'K' || *end == 'k' ? 10 : *end == 'M' || *end == 'm' ? 20 : *end == 'G' || *end == 'g' ? 30 : -1;
    FY_NEED(e, n >= 0 && n <= INT64_MAX >> 30 && shift >= 0 && (!shift || !end[1]), USAGE, "%s: '%s' is no size (1048576, 64K, 1M)", key, text);
    *v = n ? (int64_t)n << shift : 1;                        /* 0 would mean the default */
    return FY_OK;
}

static fy_status options(fy_rewrite *w, ferry_error *e) {
    optimizing *x = w->ctx;
    const char *level = fy_opt(w->job, "level"), *dump = fy_opt(w->job, "dump");
    FY_NEED(e, !level || !strcmp(level, "basic") || !strcmp(level, "extended"), USAGE, "level: '%s' is neither basic nor extended", level);
    if (!dump && *fy_knob_str("FERRY_DUMP")) dump = fy_knob_str("FERRY_DUMP");
    (void)fy_passes(&x->npass);
    x->done = FY_NEWN(&w->arena, int64_t, x->npass);
    FY_NOMEM(e, x->done);
    x->passes = (fy_pass_options){.fold = !fy_opt_has(w->job, "no-fold"), .fold_bn = !fy_opt_has(w->job, "no-fold-bn"), .reweigh = !fy_opt_has(w->job, "keep-weights"), .rare = true, .stop_after = fy_opt(w->job, "stop-after"),
        .skip = fy_opt(w->job, "skip-pass"), .dump = dump, .hooks = fy_hooks_builtin(), .done = x->done, .level = level && *level == 'b' ? FY_PASS_BASIC : FY_PASS_EXTENDED};
    x->bytes = fy_file_bytes(w->source);
    return size_option(w, "fold-budget", &x->passes.fold_bytes, e);
}

/* Passes go by the names of ONNX's operators. */
static fy_status own_meaning(const fy_rewrite *w, ferry_error *e) {
    const fy_registry *r = fy_registry_of(w->registry);
    for (int i = 0; w->registry && i < r->n; i++)
        if (!*r->op[i]->domain)
            return fy_help(e, fy_fail(e, FY_E_UNSUPPORTED, "a plugin takes the place of ONNX's %s, whose own meaning the passes rely on", r->op[i]->name),
                           "Leave that plugin out: operators of other domains need theirs, ONNX's do not.");
    return FY_OK;
}

static fy_status change(fy_rewrite *w, ferry_error *e) {
    optimizing *x = w->ctx;
    FY_TRY(own_meaning(w, e));
    x->nbefore = fy_count_operators(&x->before, w->model);
    x->passes.opset = w->opset_written;
    return fy_passes_run(w->model, &x->passes, e);
}

static fy_status lowered_to(fy_rewrite *w, ferry_error *e) {
    optimizing *x = w->ctx;
    x->passes.lowered = true;
    x->passes.dump = NULL;
    if (!x->passes.stop_after) FY_TRY(fy_passes_run(w->model, &x->passes, e));
    return FY_OK;
}

static fy_status count_after(fy_rewrite *w, ferry_error *e) {
    optimizing *x = w->ctx;
    FY_TRY(lowered_to(w, e));
    x->nafter = fy_count_operators(&x->after, w->model);
    return FY_OK;
}

/* Count of one operator after; both lists are short. */
static int64_t now(const optimizing *x, const char *name) {
    for (int64_t i = 0; i < x->nafter; i++)
        if (!strcmp(x->after[i].name, name)) return x->after[i].n;
    return 0;
}

static bool known_before(const optimizing *x, const char *name) {
    for (int64_t i = 0; i < x->nbefore; i++)
        if (!strcmp(x->before[i].name, name)) return true;
    return false;
}

static void print(fy_buf *t, const fy_rewrite *w) {
    const optimizing *x = w->ctx;
    int n;
    const fy_pass *pass = fy_passes(&n);
    bool any = false;
    fy_buf_fmt(t, "  operators");
    for (int64_t i = 0; i < x->nbefore; i++) {
        int64_t after = now(x, x->before[i].name);
        if (after == x->before[i].n) continue;
        fy_buf_fmt(t, "%s %s %lld -> %lld", any ? "," : "", x->before[i].name, (long long)x->before[i].n, (long long)after);
        any = true;
    }
    for (int64_t i = 0; i < x->nafter; i++) {
        if (known_before(x, x->after[i].name)) continue;
        fy_buf_fmt(t, "%s %s 0 -> %lld", any ? "," : "", x->after[i].name, (long long)x->after[i].n);
        any = true;
    }
    fy_buf_fmt(t, "%s\n", any ? "" : " as they were");
    for (int i = 0; i < n; i++)
        if (x->done[i]) fy_buf_fmt(t, "    %-14s %6lld  %s\n", pass[i].name, (long long)x->done[i], pass[i].doc);
}

static void json(fy_jsonw *j, const fy_rewrite *w) {
    const optimizing *x = w->ctx;
    int n;
    const fy_pass *pass = fy_passes(&n);
    fy_jsonw_int(j, "bytes_before", x->bytes);
    fy_jsonw_object(j, "operators_before");
    for (int64_t i = 0; i < x->nbefore; i++) fy_jsonw_int(j, x->before[i].name, x->before[i].n);
    fy_jsonw_end_object(j);
    fy_jsonw_object(j, "operators");
    for (int64_t i = 0; i < x->nafter; i++) fy_jsonw_int(j, x->after[i].name, x->after[i].n);
    fy_jsonw_end_object(j);
    fy_jsonw_object(j, "passes");
    for (int i = 0; i < n; i++)
        if (x->done[i]) fy_jsonw_int(j, pass[i].name, x->done[i]);
    fy_jsonw_end_object(j);
}

int ferry_optimize(const char *onnx, const char *to, const ferry_job *job, ferry_report **r, ferry_error *e) {
    static const char *const keys[] = {"level", "fold-budget", "no-fold", "no-fold-bn", "keep-weights", "stop-after", "skip-pass", "dump", NULL};
    optimizing x = {0};
    fy_rewrite w = {.command = "optimize", .source = onnx, .target = to, .job = job, .keys = keys, .options = options, .change = change, .lowered_to = count_after,
        .print = print, .json = json, .ctx = &x};
    int kind = fy_rewrite_run(&w, r, e);
    fy_free(x.before);
    fy_free(x.after);
    return kind;
}
