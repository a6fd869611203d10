/* SPDX-License-Identifier: Apache-2.0
 * profile.c - a profile in text, as JSON, and as a trace. Source of the trace: "Trace Event Format" (complete events, "ph": "X"). */
#include "check/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double fy_profile_total(const fy_profile *p) {
    double sum = 0;
    for (int i = 0; i < p->nsteps; i++) sum += p->step[i].seconds;
    return sum;
}

static double best_seconds(const fy_profile *p, int64_t macs, double bytes) {
    double compute = p->flops > 0 && macs > 0 ? 2 * (double)macs / p->flops : 0, move = p->bytes > 0 ? bytes / p->bytes : 0;
    return fmax(compute, move);
}

double fy_profile_roof(const fy_profile *p, const fy_profile_step *s) { return s->seconds > 0 ? best_seconds(p, s->macs, s->bytes) / s->seconds : 0; }

/* ---- sums ------------------------------------------------------------------------------------------------------------------ */

static int by_seconds(const void *a, const void *b) {
    const fy_profile_op *x = a, *y = b;
    int c = (x->seconds < y->seconds) - (x->seconds > y->seconds);
    return c ? c : strcmp(x->op, y->op);
}

fy_status fy_profile_ops(fy_profile_op **ops, int *n, fy_arena *a, const fy_profile *p, ferry_error *e) {
    fy_profile_op *at = FY_NEWN(a, fy_profile_op, p->nsteps + 1);
    FY_NOMEM(e, at);
    *n = 0;
    for (int i = 0; i < p->nsteps; i++) {
        const fy_profile_step *s = &p->step[i];
        int k = 0;
        while (k < *n && strcmp(at[k].op, s->op)) k++;
        if (k == *n) at[(*n)++].op = s->op;
        at[k].steps++;
        at[k].seconds += s->seconds;
        at[k].bytes += s->bytes;
        if (s->macs > 0 && at[k].macs <= INT64_MAX - s->macs) at[k].macs += s->macs;
    }
    qsort(at, (size_t)*n, sizeof *at, by_seconds);
    *ops = at;
    return FY_OK;
}

typedef struct ranked { double seconds; int step; } ranked;

static int by_rank(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    int c = (x->seconds < y->seconds) - (x->seconds > y->seconds);
    return c ? c : (x->step > y->step) - (x->step < y->step);
}

fy_status fy_profile_order(int **order, fy_arena *a, const fy_profile *p, ferry_error *e) {
    ranked *r = FY_NEWN(a, ranked, p->nsteps + 1);
    int *at = FY_NEWN(a, int, p->nsteps + 1);
    FY_NOMEM(e, r && at);
    for (int i = 0; i < p->nsteps; i++) r[i] = (ranked){p->step[i].seconds, i};
    qsort(r, (size_t)p->nsteps, sizeof *r, by_rank);
    for (int i = 0; i < p->nsteps; i++) at[i] = r[i].step;
    *order = at;
    return FY_OK;
}

/* ---- text ------------------------------------------------------------------------------------------------------------------ */

static size_t line_start(const fy_buf *t) {
    size_t at = t->n;
    while (at && t->at[at - 1] != '\n') at--;
    return at;
}

/* Right-aligned at a column. */
static void right(fy_buf *t, size_t column, int decimals, double v, const char *unit) {
    fy_buf one = {0};
    size_t width = t->at ? t->n - line_start(t) : 0;
    fy_buf_fmt(&one, "%.*f%s", decimals, v, unit);
    if (width + one.n < column) fy_buf_pad(t, column - one.n);
    else fy_buf_char(t, ' ');
    fy_buf_str(t, one.at ? one.at : "");
    t->oom |= one.oom;
    fy_buf_free(&one);
}

static void right_rate(fy_buf *t, size_t column, double amount, double seconds) {
    double rate = seconds > 0 ? amount / seconds * 1e-9 : 0;
    if (rate > 0) right(t, column, rate < 10 ? 2 : 0, rate, "");
    else fy_buf_pad(t, column);
}

static void print_ops(fy_buf *t, const fy_profile *p, const fy_profile_op *ops, int n, double total) {
    fy_buf_str(t, "\n" FY_BOLD "by operator" FY_OFF "\n   share        ms  steps   GFLOP/s    GB/s    roof  operator\n");
    for (int i = 0; i < n; i++) {
        double best = best_seconds(p, ops[i].macs, ops[i].bytes);
        right(t, 8, 1, total > 0 ? 100 * ops[i].seconds / total : 0, " %");
        right(t, 18, 3, ops[i].seconds * 1e3, "");
        right(t, 25, 0, ops[i].steps, "");
        right_rate(t, 35, 2 * (double)ops[i].macs, ops[i].seconds);
        right_rate(t, 43, ops[i].bytes, ops[i].seconds);
        if (best > 0 && ops[i].seconds > 0) right(t, 51, 0, 100 * best / ops[i].seconds, " %");
        fy_buf_pad(t, 53);
        fy_buf_fmt(t, "%s\n", ops[i].op);
    }
}

static void print_step(fy_buf *t, const fy_profile *p, int i, double total) {
    const fy_profile_step *s = &p->step[i];
    double roof = fy_profile_roof(p, s);
    right(t, 5, 0, i, "");
    right(t, 14, 1, total > 0 ? 100 * s->seconds / total : 0, " %");
    right(t, 24, 3, s->seconds * 1e3, "");
    right_rate(t, 34, s->macs > 0 ? 2 * (double)s->macs : 0, s->seconds);
    right_rate(t, 42, s->bytes, s->seconds);
    if (roof > 0) right(t, 50, 0, 100 * roof, " %");
    fy_buf_pad(t, 52);
    fy_buf_str(t, s->impl);
    fy_buf_pad(t, 70);
    fy_buf_fmt(t, " %s\n", s->nodes);
    fy_buf_pad(t, 71);
    fy_buf_fmt(t, "%s%s%s\n", s->types, *s->source ? "  from " : "", s->source);
}

#define SHOWN 20

static void print_head(fy_buf *t, const fy_profile *p, double total) {
    fy_buf_fmt(t, FY_BOLD "%s" FY_OFF "  %s, %d thread%s; %lld runs, median ", p->model, p->about, p->threads, p->threads == 1 ? "" : "s", (long long)p->s.runs);
    fy_print_seconds(t, p->s.median);
    fy_buf_str(t, ", steps together ");
    fy_print_seconds(t, total);
    fy_buf_fmt(t, "\nmachine  %s", p->cpu);
    if (p->flops > 0) fy_buf_fmt(t, ": %.4g GFLOP/s by FMA in registers (%s)", p->flops * 1e-9, p->isa);
    if (p->bytes > 0) fy_buf_fmt(t, ", %.3g GB/s by a copy", p->bytes * 1e-9);
    fy_buf_str(t, "\nroof: the time that these allow, as a share of the time taken; over 100 %: from caches, or fewer operations (Winograd)\n");
}

static void print(fy_buf *t, const fy_profile *p, const fy_profile_op *ops, int nops, const int *order, bool all) {
    double total = fy_profile_total(p);
    print_head(t, p, total);
    print_ops(t, p, ops, nops, total);
    int n = all || p->nsteps < SHOWN ? p->nsteps : SHOWN;
    fy_buf_fmt(t, "\n" FY_BOLD "by node" FY_OFF "%s\n step    share        ms   GFLOP/s    GB/s    roof  implementation     nodes, types\n", n < p->nsteps ? ", the slowest (--verbose: all)" : "");
    for (int i = 0; i < n; i++) print_step(t, p, all ? i : order[i], total);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------ */

static void json_step(fy_jsonw *w, const fy_profile *p, int i, double total) {
    const fy_profile_step *s = &p->step[i];
    fy_jsonw_object(w, NULL);
    fy_jsonw_int(w, "step", i);
    fy_jsonw_str(w, "op", s->op);
    fy_jsonw_str(w, "implementation", s->impl);
    fy_jsonw_str(w, "name", s->name);
    fy_jsonw_str(w, "nodes", s->nodes);
    fy_jsonw_str(w, "source", s->source);
    fy_jsonw_str(w, "types", s->types);
    fy_jsonw_num(w, "seconds", s->seconds);
    fy_jsonw_num(w, "share", total > 0 ? s->seconds / total : 0);
    fy_jsonw_int(w, "macs", s->macs);
    fy_jsonw_num(w, "bytes", s->bytes);
    fy_jsonw_num(w, "roof", fy_profile_roof(p, s));
    fy_jsonw_array(w, "from");
    for (int k = 0; k < s->nfrom; k++) fy_jsonw_int(w, NULL, s->from[k]);
    fy_jsonw_end_array(w);
    fy_jsonw_end_object(w);
}

static void json(fy_jsonw *w, const fy_profile *p, const fy_profile_op *ops, int nops) {
    double total = fy_profile_total(p);
    fy_jsonw_object(w, NULL);
    fy_jsonw_str(w, "model", p->model);
    fy_jsonw_str(w, "engine", p->about);
    fy_jsonw_str(w, "cpu", p->cpu);
    fy_jsonw_str(w, "isa", p->isa);
    fy_jsonw_int(w, "threads", p->threads);
    fy_jsonw_int(w, "runs", p->s.runs);
    fy_jsonw_num(w, "median_seconds", p->s.median);
    fy_jsonw_num(w, "steps_seconds", total);
    fy_jsonw_num(w, "peak_gflops", p->flops * 1e-9);
    fy_jsonw_num(w, "copy_gbytes", p->bytes * 1e-9);
    fy_jsonw_array(w, "operators");
    for (int i = 0; i < nops; i++) {
        fy_jsonw_object(w, NULL);
        fy_jsonw_str(w, "op", ops[i].op);
        fy_jsonw_int(w, "steps", ops[i].steps);
        fy_jsonw_num(w, "seconds", ops[i].seconds);
        fy_jsonw_num(w, "share", total > 0 ? ops[i].seconds / total : 0);
        fy_jsonw_int(w, "macs", ops[i].macs);
        fy_jsonw_num(w, "bytes", ops[i].bytes);
        fy_jsonw_end_object(w);
    }
    fy_jsonw_end_array(w);
    fy_jsonw_array(w, "steps");
    for (int i = 0; i < p->nsteps; i++) json_step(w, p, i, total);
    fy_jsonw_end_array(w);
    fy_jsonw_end_object(w);
}

fy_status fy_profile_report(fy_report *r, const fy_profile *p, ferry_error *e) {
    fy_jsonw w = {.out = &r->json, .first = true};
    fy_arena a = {0};
    fy_buf all = {0};
    fy_profile_op *ops = NULL;
    int nops = 0, *order = NULL;
    fy_status s = fy_profile_ops(&ops, &nops, &a, p, e);
    if (!s) s = fy_profile_order(&order, &a, p, e);
    if (!s) {
        json(&w, p, ops, nops);
        fy_buf_char(&r->json, '\n');
        print(&r->text, p, ops, nops, order, false);
        print(&all, p, ops, nops, order, true);
        if (!all.oom) fy_strip_styles(&r->full, all.at);
        r->full.oom |= all.oom;
    }
    fy_buf_free(&all);
    fy_arena_free(&a);
    return s;
}

/* ---- trace ----------------------------------------------------------------------------------------------------------------- */

static void trace_name(fy_jsonw *w, const char *what, const char *name) {
    fy_jsonw_object(w, NULL);
    fy_jsonw_str(w, "name", what);
    fy_jsonw_str(w, "ph", "M");
    fy_jsonw_int(w, "pid", 1);
    fy_jsonw_int(w, "tid", 1);
    fy_jsonw_object(w, "args");
    fy_jsonw_str(w, "name", name);
    fy_jsonw_end_object(w);
    fy_jsonw_end_object(w);
}

void fy_profile_trace(fy_buf *out, const fy_profile *p) {
    fy_jsonw w = {.out = out, .first = true};
    fy_jsonw_object(&w, NULL);
    fy_jsonw_str(&w, "displayTimeUnit", "ms");
    fy_jsonw_array(&w, "traceEvents");
    trace_name(&w, "process_name", p->model);
    trace_name(&w, "thread_name", p->about);
    for (int i = 0; i < p->nsteps; i++) {
        const fy_profile_step *s = &p->step[i];
        fy_jsonw_object(&w, NULL);
        fy_jsonw_str(&w, "name", *s->name ? s->name : s->op);
        fy_jsonw_str(&w, "cat", s->op);
        fy_jsonw_str(&w, "ph", "X");
        fy_jsonw_num(&w, "ts", s->begin * 1e6);
        fy_jsonw_num(&w, "dur", s->took * 1e6);
        fy_jsonw_int(&w, "pid", 1);
        fy_jsonw_int(&w, "tid", 1);
        fy_jsonw_object(&w, "args");
        fy_jsonw_int(&w, "step", i);
        fy_jsonw_str(&w, "implementation", s->impl);
        fy_jsonw_str(&w, "nodes", s->nodes);
        fy_jsonw_str(&w, "types", s->types);
        fy_jsonw_end_object(&w);
        fy_jsonw_end_object(&w);
    }
    fy_jsonw_end_array(&w);
    fy_jsonw_end_object(&w);
    fy_buf_char(out, '\n');
}
