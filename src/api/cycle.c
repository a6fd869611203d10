/* SPDX-License-Identifier: Apache-2.0
 * cycle.c - `ferry bench --cycle`: sizes of one axis by turns. Three passes: each shape for the first time; all by turns; each several times in a row. */
#include "api/timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 1024                        /* shapes */
#define FEWEST 3                         /* rounds by turns, and runs in a row */
#define MOST_ROUNDS 64

typedef struct shape { ferry_values *values; ferry_tensor *in; double first; } shape;

/* "seq=4..256:4": the name's length, and the numbers. */
static fy_status read_cycle(const char *what, int *name, int64_t *from, int64_t *to, int64_t *step, ferry_error *e) {
    long long a = 0, b = 0, by = 1;
    int end = 0;
    const char *eq = strchr(what, '=');
    bool ok = eq && eq > what && sscanf(eq, "=%lld..%lld%n", &a, &b, &end) == 2 && end;
    if (ok && eq[end] == ':') {
        const char *rest = eq + end;
        end = 0;
        ok = sscanf(rest, ":%lld%n", &by, &end) == 1 && end && !rest[end];
    } else ok = ok && !eq[end];
    FY_NEED(e, ok && a >= 0 && b >= a && by > 0 && b <= 1 << 30 && (b - a) / by < MOST, USAGE, "cycle: '%.80s' is not SYMBOL=FROM..TO:STEP of at most %d sizes", what, MOST);
    *name = (int)(eq - what);
    *from = a;
    *to = b;
    *step = by;
    return FY_OK;
}

static fy_status open_shape(fy_timing *r, shape *s, const char *what, int name, int64_t size, ferry_error *e) {
    char one[200];
    FY_NEED(e, snprintf(one, sizeof one, "%.*s=%lld", name, what, (long long)size) < (int)sizeof one, USAGE, "cycle: the name is too long");
    s->values = ferry_values_new();
    s->in = FY_NEWN(&r->arena, ferry_tensor, (int64_t)r->nin + 1);
    FY_NOMEM(e, s->values && s->in);
    return fy_timing_inputs(r, s->values, s->in, one, e);
}

static fy_status run(fy_timing *r, const shape *s, double *seconds, ferry_error *e) {
    r->in = s->in;
    return fy_timing_run(r, seconds, e);
}

/* Of every n-th of the times. */
static double median(const double *all, int64_t rounds, int64_t n, double *column) {
    fy_summary s;
    for (int64_t k = 0; k < rounds; k++) column[k] = all[k * n];
    fy_summarise(&s, column, rounds);
    return s.median;
}

/* turns, rows: times by round and shape. */
static fy_status measure(fy_timing *r, fy_bench *b, shape *s, int64_t n, double *turns, double *rows, int64_t *rounds, ferry_error *e) {
    double spent = 0, once;
    fy_timing_progress(r, "new shapes", -1);
    for (int64_t i = 0; i < n; i++) FY_TRY(run(r, &s[i], &s[i].first, e));
    b->first = s[0].first;
    fy_memory_sample(&b->memory);
    fy_timing_progress(r, "by turns", 0.3);
    for (*rounds = 0; *rounds < MOST_ROUNDS && (*rounds < FEWEST || spent < r->seconds / 2); ++*rounds)
        for (int64_t i = 0; i < n; i++) {
            double *one = &turns[*rounds * n + i];
            FY_TRY(run(r, &s[i], one, e));
            spent += *one;
        }
    fy_timing_progress(r, "in a row", 0.6);
    for (int64_t i = 0; i < n; i++) {
        FY_TRY(run(r, &s[i], &once, e));
        for (int64_t k = 0; k < *rounds; k++) FY_TRY(run(r, &s[i], &rows[k * n + i], e));
    }
    fy_memory_sample(&b->memory);
    return FY_OK;
}

static fy_status cycle(fy_timing *r, fy_bench *b, shape *s, int64_t n, ferry_error *e) {
    int64_t rounds = 0;
    double *turns = FY_NEWN(&r->arena, double, 2 * n * MOST_ROUNDS), *rows = turns ? turns + n * MOST_ROUNDS : NULL, by_turns = 0, in_row = 0;
    double *column = FY_NEWN(&r->arena, double, MOST_ROUNDS + n);
    FY_NOMEM(e, turns && column);
    FY_TRY(measure(r, b, s, n, turns, rows, &rounds, e));
    for (int64_t i = 0; i < n; i++) {
        double usual = median(turns + i, rounds, n, column);
        by_turns += usual;
        in_row += median(rows + i, rounds, n, column);
        s[i].first -= usual;
    }
    for (int64_t i = 0; i < n; i++) column[i] = s[i].first;
    fy_summary fresh;
    fy_summarise(&fresh, column, n);
    fy_summarise(&b->s, turns, rounds * n);
    b->fresh = fresh.median;
    b->alternating = in_row > 0 ? by_turns / in_row - 1 : 0;
    b->shapes = n;
    b->warmups = n;
    return FY_OK;
}

fy_status fy_timing_cycle(fy_timing *r, fy_bench *b, const char *what, ferry_error *e) {
    int64_t from = 0, to = 0, step = 1, n;
    int name = 0;
    FY_TRY(read_cycle(what, &name, &from, &to, &step, e));
    n = (to - from) / step + 1;
    shape *s = FY_NEWN(&r->arena, shape, n);
    FY_NOMEM(e, s);
    ferry_tensor *own = r->in;
    fy_status st = FY_OK;
    for (int64_t i = 0; !st && i < n; i++) st = open_shape(r, &s[i], what, name, from + i * step, e);
    if (!st) st = cycle(r, b, s, n, e);
    r->in = own;
    for (int64_t i = 0; i < n; i++) ferry_values_free(s[i].values);
    return st;
}
