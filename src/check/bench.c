/* SPDX-License-Identifier: Apache-2.0
 * bench.c - order statistics, the verdict, and the report of `ferry bench`, and reading that report back. */
#include "check/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- statistics ------------------------------------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double fy_quantile(const double *sorted, int64_t n, double share) {
    if (n <= 0) return 0;
    double at = share * (double)(n - 1);
    int64_t i = (int64_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

void fy_summarise(fy_summary *s, double *seconds, int64_t n) {
    *s = (fy_summary){.runs = n};
    if (n <= 0) return;
    qsort(seconds, (size_t)n, sizeof *seconds, by_value);
    for (int64_t i = 0; i < n; i++) s->mean += seconds[i] / (double)n;
    s->min = seconds[0];
    s->q1 = fy_quantile(seconds, n, 0.25);
    s->median = fy_quantile(seconds, n, 0.5);
    s->q3 = fy_quantile(seconds, n, 0.75);
    s->p90 = fy_quantile(seconds, n, 0.9);
    s->p99 = fy_quantile(seconds, n, 0.99);
    s->noise = s->median > 0 ? (s->q3 - s->q1) / 2 / s->median : 0;
}

fy_bench_verdict fy_bench_judge(const fy_summary *then, const fy_summary *now, double *change, double *threshold) {
    *threshold = fmax(FY_BENCH_FLOOR, then->noise + now->noise);
    *change = then->median > 0 ? now->median / then->median - 1 : 0;
    return *change > *threshold ? FY_BENCH_SLOWER : *change < -*threshold ? FY_BENCH_FASTER : FY_BENCH_SAME;
}

const char *fy_bench_word(fy_bench_verdict v) { return v == FY_BENCH_SLOWER ? "slower" : v == FY_BENCH_FASTER ? "faster" : "same"; }

void fy_print_seconds(fy_buf *b, double s) {
    if (s >= 1) fy_buf_fmt(b, "%.3g s", s);
    else if (s >= 1e-3) fy_buf_fmt(b, s >= 0.1 ? "%.0f ms" : s >= 0.01 ? "%.1f ms" : "%.2f ms", s * 1e3);
    else fy_buf_fmt(b, s >= 1e-4 ? "%.0f us" : s >= 1e-5 ? "%.1f us" : "%.2f us", s * 1e6);
}

/* ---- the report ------------------------------------------------------------------------------------------------------------ */

static void json_summary(fy_jsonw *w, const fy_summary *s) {
    fy_jsonw_int(w, "runs", s->runs);
    fy_jsonw_object(w, "seconds");
    fy_jsonw_num(w, "min", s->min);
    fy_jsonw_num(w, "q1", s->q1);
    fy_jsonw_num(w, "median", s->median);
    fy_jsonw_num(w, "q3", s->q3);
    fy_jsonw_num(w, "p90", s->p90);
    fy_jsonw_num(w, "p99", s->p99);
    fy_jsonw_num(w, "mean", s->mean);
    fy_jsonw_end_object(w);
    fy_jsonw_num(w, "noise", s->noise);
}

/* What makes a comparison say less than it seems to. */
static bool same_text(const char *a, const char *b) { return !a || !b || !strcmp(a, b); }

static void notes(const fy_bench *b, const fy_bench *then, void (*note)(void *ctx, const char *what, const char *was, const char *is), void *ctx) {
    char was[32], is[32];
    if (!same_text(b->cpu, then->cpu)) note(ctx, "machine", then->cpu, b->cpu);
    if (!same_text(b->isa, then->isa)) note(ctx, "instruction set", then->isa, b->isa);
    if (!same_text(b->model, then->model)) note(ctx, "model", then->model, b->model);
    if (!same_text(b->about, then->about)) note(ctx, "engine", then->about, b->about);
    if (b->exact != then->exact) note(ctx, "exact", then->exact ? "yes" : "no", b->exact ? "yes" : "no");
    if (b->threads != then->threads || b->batch != then->batch) {
        (void)snprintf(was, sizeof was, "%d, %lld", then->threads, (long long)then->batch);
        (void)snprintf(is, sizeof is, "%d, %lld", b->threads, (long long)b->batch);
        note(ctx, "threads, batch", was, is);
    }
}

typedef struct telling { fy_buf *text; fy_jsonw *w; } telling;

static void tell_difference(void *ctx, const char *what, const char *was, const char *is) {
    telling *t = ctx;
    fy_buf_fmt(t->text, "           " FY_AMBER "another %s" FY_OFF ": %s then, %s now\n", what, was, is);
    fy_jsonw_object(t->w, NULL);
    fy_jsonw_str(t->w, "what", what);
    fy_jsonw_str(t->w, "then", was);
    fy_jsonw_str(t->w, "now", is);
    fy_jsonw_end_object(t->w);
}

static void compare(fy_report *r, fy_jsonw *w, const fy_bench *b, const fy_bench *then, const char *path) {
    double change, threshold;
    fy_bench_verdict v = fy_bench_judge(&then->s, &b->s, &change, &threshold);
    telling t = {&r->text, w};
    r->verdict = v == FY_BENCH_SLOWER ? FERRY_NO : FERRY_OK;
    fy_buf_str(&r->text, "  against  ");
    fy_buf_fmt(&r->text, "%s: median ", path);
    fy_print_seconds(&r->text, then->s.median);
    fy_buf_str(&r->text, " then, ");
    fy_print_seconds(&r->text, b->s.median);
    fy_buf_fmt(&r->text, " now, %+.1f %%: %s%s" FY_OFF "\n", change * 100, v == FY_BENCH_SLOWER ? FY_RED : v == FY_BENCH_FASTER ? FY_GREEN : FY_BOLD, fy_bench_word(v));
    fy_buf_fmt(&r->text, "           same is within %.1f %%: the noise of both runs (%.1f %% and %.1f %%), at least %.0f %%\n", threshold * 100, then->s.noise * 100,
               b->s.noise * 100, FY_BENCH_FLOOR * 100);
    fy_jsonw_object(w, "against");
    fy_jsonw_str(w, "file", path);
    fy_jsonw_num(w, "median", then->s.median);
    fy_jsonw_num(w, "noise", then->s.noise);
    fy_jsonw_num(w, "change", change);
    fy_jsonw_num(w, "threshold", threshold);
    fy_jsonw_str(w, "verdict", fy_bench_word(v));
    fy_jsonw_array(w, "differences");
    notes(b, then, tell_difference, &t);
    fy_jsonw_end_array(w);
    fy_jsonw_end_object(w);
}

static void json(fy_jsonw *w, const fy_bench *b) {
    double rate = b->s.median > 0 ? 1 / b->s.median : 0, gflops = 2e-9 * (double)b->macs * rate;
    fy_jsonw_str(w, "model", b->model);
    fy_jsonw_str(w, "engine", b->engine);
    fy_jsonw_str(w, "about", b->about);
    fy_jsonw_str(w, "cpu", b->cpu);
    fy_jsonw_str(w, "isa", b->isa);
    fy_jsonw_int(w, "threads", b->threads);
    fy_jsonw_bool(w, "exact", b->exact);
    fy_jsonw_int(w, "batch", b->batch);
    fy_jsonw_array(w, "inputs");
    for (int i = 0; i < b->ninputs; i++) {
        fy_jsonw_object(w, NULL);
        fy_jsonw_str(w, "name", b->input[i].name);
        fy_jsonw_str(w, "type", b->input[i].type);
        fy_jsonw_end_object(w);
    }
    fy_jsonw_end_array(w);
    fy_jsonw_num(w, "load_seconds", b->load);
    fy_jsonw_num(w, "compile_seconds", b->compile);
    fy_jsonw_num(w, "first_run_seconds", b->first);
    fy_jsonw_int(w, "warmup_runs", b->warmups);
    json_summary(w, &b->s);
    if (b->cycle) {
        fy_jsonw_object(w, "cycle");
        fy_jsonw_str(w, "sizes", b->cycle);
        fy_jsonw_int(w, "shapes", b->shapes);
        fy_jsonw_num(w, "new_shape_seconds", b->fresh);
        fy_jsonw_num(w, "alternating_share", b->alternating);
        fy_jsonw_end_object(w);
    }
    fy_jsonw_num(w, "runs_per_second", rate);
    fy_jsonw_num(w, "samples_per_second", rate * (double)b->batch);
    fy_jsonw_int(w, "macs", b->macs);
    fy_jsonw_int(w, "nodes_of_unknown_size", b->macs_unknown);
    fy_jsonw_num(w, "gflops", gflops);
    fy_jsonw_num(w, "peak_gflops", b->flops * 1e-9);
    fy_jsonw_num(w, "share_of_peak", b->flops > 0 ? gflops * 1e9 / b->flops : 0);
    fy_jsonw_object(w, "memory");
    if (b->cache) fy_jsonw_str(w, "cache", b->cache);
    fy_jsonw_num(w, "private_bytes", b->memory.own);
    fy_jsonw_num(w, "mapped_bytes", b->memory.mapped);
    fy_jsonw_num(w, "peak_resident_bytes", b->memory.resident);
    fy_jsonw_end_object(w);
}

static void print_time(fy_buf *t, const char *what, double s) {
    fy_buf_fmt(t, "%s ", what);
    fy_print_seconds(t, s);
}

static void text(fy_buf *t, const fy_bench *b) {
    double rate = b->s.median > 0 ? 1 / b->s.median : 0, flops = 2 * (double)b->macs * rate;
    fy_buf_fmt(t, FY_BOLD "%s" FY_OFF "  %s%s, %d thread%s\n", b->model, b->about, b->exact ? ", exact" : "", b->threads, b->threads == 1 ? "" : "s");
    fy_buf_fmt(t, "  machine  %s\n", b->cpu);
    for (int i = 0; i < b->ninputs; i++) fy_buf_fmt(t, "  %-8s %s %s\n", i ? "" : "inputs", b->input[i].name, b->input[i].type);
    print_time(t, "  start    load", b->load);
    print_time(t, ", compile", b->compile);
    print_time(t, ", first run", b->first);
    fy_buf_fmt(t, "\n  runs     %lld, after %lld to warm up\n", (long long)b->s.runs, (long long)b->warmups);
    print_time(t, "  time     " FY_BOLD "median", b->s.median);
    print_time(t, FY_OFF "  min", b->s.min);
    print_time(t, "  mean", b->s.mean);
    print_time(t, "  p90", b->s.p90);
    print_time(t, "  p99", b->s.p99);
    fy_buf_fmt(t, "  noise %.1f %%\n  rate     %.4g runs/s", b->s.noise * 100, rate);
    if (b->batch != 1) fy_buf_fmt(t, ", %.4g samples/s", rate * (double)b->batch);
    fy_buf_char(t, '\n');
    if (b->cycle) {
        fy_buf_fmt(t, "  cycle    %s: %lld shapes; a new one costs", b->cycle, (long long)b->shapes);
        print_time(t, "", b->fresh);
        fy_buf_fmt(t, " once, another one each time %+.1f %%\n", 100 * b->alternating);
    }
    if (b->macs) {
        fy_buf_fmt(t, "  work     %.4g GMAC: %.4g GFLOP/s", 1e-9 * (double)b->macs, flops * 1e-9);
        if (b->flops > 0) fy_buf_fmt(t, ", %.0f %% of the %.4g that an FMA loop (%s) does here on %d thread%s", 100 * flops / b->flops, b->flops * 1e-9, b->isa, b->threads,
                                     b->threads == 1 ? "" : "s");
        if (b->macs_unknown) fy_buf_fmt(t, "; %lld nodes of unknown size not counted", (long long)b->macs_unknown);
        fy_buf_char(t, '\n');
    }
    if (b->cache) fy_buf_fmt(t, "  cache    %s\n", b->cache);
    if (b->memory.own > 0)
        fy_buf_fmt(t, "  memory   %.4g MB private, %.4g MB of mapped files, %.4g MB resident at most\n", b->memory.own * 1e-6, b->memory.mapped * 1e-6, b->memory.resident * 1e-6);
}

fy_status fy_bench_report(fy_report *r, const fy_bench *b, const fy_bench *then, const char *path, ferry_error *e) {
    fy_jsonw w = {.out = &r->json, .first = true};
    (void)e;
    fy_jsonw_object(&w, NULL);
    json(&w, b);
    text(&r->text, b);
    if (then) compare(r, &w, b, then, path);
    fy_jsonw_end_object(&w);
    fy_buf_char(&r->json, '\n');
    return FY_OK;
}

/* ---- reading it back ------------------------------------------------------------------------------------------------------- */

static bool number(const fy_json *o, const char *key, double *v) {
    const fy_json *j = fy_json_get(o, key);
    if (!j || (j->kind != FY_JSON_INT && j->kind != FY_JSON_NUMBER)) return false;
    *v = j->kind == FY_JSON_INT ? (double)j->i : j->f;
    return isfinite(*v);
}

static const char *string(const fy_json *o, const char *key, fy_arena *a) {
    const fy_json *j = fy_json_get(o, key);
    return j && j->kind == FY_JSON_STRING ? fy_arena_strn(a, j->s, j->n) : NULL;
}

static int64_t whole(const fy_json *o, const char *key, int64_t none) {
    const fy_json *j = fy_json_get(o, key);
    return j && j->kind == FY_JSON_INT ? j->i : none;
}

fy_status fy_bench_read(fy_bench *b, fy_arena *a, const char *text_of, size_t n, ferry_error *e) {
    const fy_json *doc, *exact;
    *b = (fy_bench){0};
    FY_TRY(fy_json_parse(&doc, a, text_of, n, e));
    const fy_json *seconds = fy_json_get(doc, "seconds");
    FY_NEED(e, number(seconds, "median", &b->s.median) && number(doc, "noise", &b->s.noise) && b->s.median > 0 && b->s.noise >= 0, CORRUPT,
            "this is no report of `ferry bench --json` or --save: seconds.median and noise are missing");
    (void)(number(seconds, "min", &b->s.min) && number(seconds, "mean", &b->s.mean));
    b->s.runs = whole(doc, "runs", 0);
    b->model = string(doc, "model", a);
    b->engine = string(doc, "engine", a);
    b->about = string(doc, "about", a);
    b->cpu = string(doc, "cpu", a);
    b->isa = string(doc, "isa", a);
    b->batch = whole(doc, "batch", 1);
    int64_t threads = whole(doc, "threads", 0);
    b->threads = threads > 0 && threads < 1 << 20 ? (int)threads : 0;
    exact = fy_json_get(doc, "exact");
    b->exact = exact && exact->kind == FY_JSON_BOOL && exact->b;
    return FY_OK;
}
