/* SPDX-License-Identifier: Apache-2.0
 * timing.h - a model opened with a job's options, seeded inputs, a session: what bench and profile run. */
#ifndef FY_TIMING_H
#define FY_TIMING_H

#include "api/api.h"
#include "check/bench.h"

/* Options that timing_open reads: add those of the command. */
#define FY_TIMING_KEYS "engine", "threads", "batch", "sizes", "seed", "exact", "precision", "seconds", "plugin", "cache", "memory"

typedef struct fy_timing {
    const ferry_job *job;
    ferry_model     *model;
    ferry_session   *session;
    ferry_values    *values;
    ferry_tensor    *in, *out;
    size_t           nin, nout;
    fy_arena         arena;
    int64_t          batch;              /* the first axis of the first input that has axes */
    int              threads;
    bool             exact, bf16;
    double           seconds;            /* how long to measure */
    fy_bench_input  *input;
    const char      *about;              /* the engine, in words */
    char             cpu[64];
} fy_timing;
FY_CHECKED fy_status fy_timing_open(fy_timing *r, const char *path, const ferry_job *job, ferry_error *e);
/* Other inputs, with one size set: "seq=16". They live in `values`; in: r->nin of them. */
FY_CHECKED fy_status fy_timing_inputs(fy_timing *r, ferry_values *values, ferry_tensor *in, const char *one, ferry_error *e);
/* cycle.c: `ferry bench --cycle`. */
FY_CHECKED fy_status fy_timing_cycle(fy_timing *r, fy_bench *b, const char *what, ferry_error *e);
void fy_timing_close(fy_timing *r);
FY_CHECKED fy_status fy_timing_run(fy_timing *r, double *seconds, ferry_error *e);           /* one run, timed */
void fy_timing_progress(const fy_timing *r, const char *what, double share);

#endif
