/* SPDX-License-Identifier: Apache-2.0
 * machine.c - what this machine can do at most, measured: operations a second by FMA in registers, bytes a second by a copy; and the memory
 * that this process has. Source: proc(5), Documentation/ABI/testing/procfs-smaps_rollup. */
#include "base/os.h"
#include "check/bench.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- operations ------------------------------------------------------------------------------------------------------------ */

typedef struct peak { const fy_kernels *k; int64_t rounds; double done; } peak;

static void run_peak(void *arg, int64_t begin, int64_t end) {
    peak *p = arg;
    for (int64_t i = begin; i < end; i++) {
        double done = p->k->fma_peak(p->rounds);
        if (i == 0) p->done = done;
    }
}

double fy_machine_flops(fy_pool *pool) {
    fy_kernels k;
    int threads = fy_pool_threads(pool);
    fy_kernels_init(&k, fy_cpu_isa());
    peak p = {&k, 1000, 0};
    double best = 0, spent = 0;
    while (spent < 0.1) {
        double begin = fy_os_seconds();
        fy_for(pool, threads, 1, run_peak, &p);
        double took = fy_os_seconds() - begin;
        if (took < 2e-3 && p.rounds < INT64_MAX / 4) { p.rounds *= 2; continue; }          /* too short to be told by a clock */
        best = fmax(best, p.done * threads / took);
        spent += took;
    }
    return best;
}

/* ---- bytes ----------------------------------------------------------------------------------------------------------------- */

#define COPIED ((int64_t)96 << 20)       /* far beyond any cache */
#define PIECE  ((int64_t)1 << 20)

typedef struct copying { char *to; const char *from; } copying;

static void copy_pieces(void *arg, int64_t begin, int64_t end) {
    const copying *c = arg;
    for (int64_t i = begin; i < end; i++) memcpy(c->to + i * PIECE, c->from + i * PIECE, (size_t)PIECE);
}

double fy_machine_bytes(fy_pool *pool) {
    char *from = fy_malloc_aligned((size_t)COPIED), *to = fy_malloc_aligned((size_t)COPIED);
    double best = 0;
    if (from && to) {
        copying c = {to, from};
        memset(from, 1, (size_t)COPIED);
        for (int i = 0; i < 4; i++) {    /* the first one pays for the pages */
            double begin = fy_os_seconds();
            fy_for(pool, COPIED / PIECE, 1, copy_pieces, &c);
            double took = fy_os_seconds() - begin;
            if (i && took > 0) best = fmax(best, 2 * (double)COPIED / took);
        }
    }
    fy_free_aligned(from);
    fy_free_aligned(to);
    return best;
}

/* ---- memory ---------------------------------------------------------------------------------------------------------------- */

/* "Rss:     1234 kB" at the start of a line; bytes. */
static double line_bytes(const char *text, const char *key) {
    size_t n = strlen(key);
    for (const char *p = text; p && *p; p = strchr(p, '\n'), p += p != NULL)
        if (!strncmp(p, key, n) && p[n] == ':') return fmax(0, strtod(p + n + 1, NULL)) * 1024;
    return 0;
}

void fy_memory_read(fy_memory *m, const char *smaps_rollup, const char *status) {
    double rss = line_bytes(smaps_rollup, "Rss"), own = line_bytes(smaps_rollup, "Anonymous");
    m->own = fmax(m->own, own);
    m->mapped = fmax(m->mapped, rss - own);
    m->resident = fmax(m->resident, line_bytes(status, "VmHWM"));
}

static void slurp(char *buf, size_t n, const char *path) {
    FILE *f = fopen(path, "r");
    buf[f ? fread(buf, 1, n - 1, f) : 0] = 0;
    if (f) (void)fclose(f);
}

void fy_memory_sample(fy_memory *m) {
    char maps[4096], status[8192];
    slurp(maps, sizeof maps, "/proc/self/smaps_rollup");
    slurp(status, sizeof status, "/proc/self/status");
    fy_memory_read(m, maps, status);
}
