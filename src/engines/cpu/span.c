/* SPDX-License-Identifier: Apache-2.0
 * span.c - loops over an output and operands broadcast to it, as runs along the last axis after merging. */
#include "engines/cpu/move.h"

bool fy_span_make(fy_span *s, const fy_tensor *y, int n, const fy_tensor *const *x) {
    s->n = n;
    s->rank = 0;
    for (int i = 0; i < y->rank; i++) {
        int64_t step[FY_SPAN] = {0};
        bool joins = s->rank > 0;
        for (int k = 0; k < n; k++) {
            int at = i - (y->rank - x[k]->rank);
            int64_t d = at >= 0 ? x[k]->dim[at] : 1;
            if (d != 1 && d != y->dim[i]) return false;
            step[k] = d == 1 ? 0 : x[k]->stride[at];
            if (x[k]->rank > y->rank) return false;
        }
        if (y->dim[i] == 1) continue;
        for (int k = 0; k < n && joins; k++) joins = s->step[k][s->rank - 1] == y->dim[i] * step[k];
        if (!joins) s->dim[s->rank++] = 1;
        s->dim[s->rank - 1] *= y->dim[i];
        for (int k = 0; k < n; k++) s->step[k][s->rank - 1] = step[k];
    }
    if (!s->rank) {
        s->dim[s->rank++] = 1;
        for (int k = 0; k < n; k++) s->step[k][0] = 0;
    }
    s->run = s->dim[s->rank - 1];
    s->outer = 1;
    for (int i = 0; i + 1 < s->rank; i++) s->outer *= s->dim[i];
    for (int k = 0; k < n; k++) {
        s->moves[k] = s->step[k][s->rank - 1] != 0;
        if (s->moves[k] && s->step[k][s->rank - 1] != 1) return false;
    }
    return true;
}

static void runs(void *arg, int64_t begin, int64_t end) {
    const fy_span *s = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t rest = i, at[FY_SPAN] = {0};
        for (int r = s->rank - 2; r >= 0; r--) {
            int64_t p = rest % s->dim[r];
            rest /= s->dim[r];
            for (int k = 0; k < s->n; k++) at[k] += p * s->step[k][r];
        }
        s->fn(s->ctx, s, i * s->run, at, s->run);
    }
}

static void parts(void *arg, int64_t begin, int64_t end) {
    const fy_span *s = arg;
    int64_t at[FY_SPAN];
    for (int k = 0; k < s->n; k++) at[k] = s->moves[k] ? begin : 0;
    s->fn(s->ctx, s, begin, at, end - begin);
}

void fy_span_run(fy_span *s, fy_pool *pool) {
    if (!s->run || !s->outer) return;
    if (s->outer == 1) fy_for(pool, s->run, 16384, parts, s);
    else fy_for(pool, s->outer, 1 + 16384 / s->run, runs, s);
}
