/* SPDX-License-Identifier: Apache-2.0
 * bench.h - what a measurement says: order statistics of run times, the machine's peak, the verdict of one measurement against another, and
 * the report of `ferry bench`. Nothing here but fy_machine_* and fy_memory_sample reads a clock or the system. */
#ifndef FY_BENCH_H
#define FY_BENCH_H

#include "base/report.h"
#include "base/threads.h"
#include "formats/json.h"

/* Quantiles by linear interpolation between ranks. noise: half the distance between the quartiles, as a share of the median. */
typedef struct fy_summary { int64_t runs; double min, q1, median, q3, p90, p99, mean, noise; } fy_summary;
void fy_summarise(fy_summary *s, double *seconds, int64_t n);            /* sorts `seconds`; n = 0 gives zeros */
double fy_quantile(const double *sorted, int64_t n, double share);

/* THE RULE. Two medians are the same unless they differ by more than both runs' noise together, and by 2 % at least, of the older one. */
#define FY_BENCH_FLOOR 0.02
typedef enum fy_bench_verdict { FY_BENCH_SAME, FY_BENCH_FASTER, FY_BENCH_SLOWER } fy_bench_verdict;
fy_bench_verdict fy_bench_judge(const fy_summary *then, const fy_summary *now, double *change, double *threshold);     /* change: now / then - 1 */
const char *fy_bench_word(fy_bench_verdict v);

/* Bytes; 0 where the system does not say. Largest of the samples; resident: largest ever, by the system's own count. */
typedef struct fy_memory { double own, mapped, resident; } fy_memory;
void fy_memory_sample(fy_memory *m);
void fy_memory_read(fy_memory *m, const char *smaps_rollup, const char *status);       /* the texts of those files of /proc/self */

/* Operations a second that an FMA loop of the instruction set in use does, in registers alone, on every thread of the pool at the same time; */
double fy_machine_flops(fy_pool *pool);
/* and bytes a second (read and written) that a copy far larger than the caches moves; 0: out of memory. */
double fy_machine_bytes(fy_pool *pool);

typedef struct fy_bench_input { const char *name, *type; } fy_bench_input;      /* "x", "f32[1,3,224,224]" */
typedef struct fy_bench {
    const char *model, *engine, *about, *cpu, *isa;          /* about: the engine's description */
    const fy_bench_input *input;
    int         ninputs, threads;
    bool        exact;
    const char *cache;                                       /* what became of it, in words; NULL: none */
    int64_t     batch, warmups, macs, macs_unknown;          /* macs: of all nodes with known sizes; macs_unknown: nodes without */
    double      load, compile, first;                        /* seconds */
    fy_summary  s;
    fy_memory   memory;
    const char *cycle;                                       /* "seq=16..256:16", or NULL: one combination of sizes; with it: */
    int64_t     shapes;
    double      fresh, alternating;                          /* seconds that a shape's first run takes more, median; what a run takes more behind one of another shape, as a share */
    double      flops;                                       /* the machine's peak; 0: not measured */
} fy_bench;

/* The document of an earlier fy_bench_report: what a verdict needs of it. Texts point into the arena. CORRUPT if it is none. */
FY_CHECKED fy_status fy_bench_read(fy_bench *b, fy_arena *a, const char *text, size_t n, ferry_error *e);
/* `then` may be NULL; with it, r->verdict is FERRY_NO if this run is slower. `path`: where `then` was read. */
FY_CHECKED fy_status fy_bench_report(fy_report *r, const fy_bench *b, const fy_bench *then, const char *path, ferry_error *e);

void fy_print_seconds(fy_buf *b, double s);                  /* "1.23 s", "4.56 ms", "7.89 us" */

#endif
