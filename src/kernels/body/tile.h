/* SPDX-License-Identifier: Apache-2.0
 * tile.h - what products of any type share: the names of a tile's rows, where it lies, how sums leave it (body, compiled once for each
 * instruction set). */

#include "kernels/body/called.h"

#if GEMM_MR == 14
#define GEMM_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#elif GEMM_MR == 6
#define GEMM_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5)
#else
#define GEMM_ROWS(X) X(0)
#endif
#define GEMM_NR (16 * GEMM_NV)

/* What a tile needs besides its place. `cols` < GEMM_NR in the last panel. next: what the second-level cache
 * is to have soon; `ahead` lines of it each 8 steps. */
typedef struct gemm_place { const float *a, *b, *bias, *add, *next; float *c; int64_t a_row, c_row, kc; int cols, ahead; bool first, last, clamp; float lo, hi; } gemm_place;

#if GEMM_NV == 2
#define GEMM_SECOND(x) x
#else
#define GEMM_SECOND(x)
#endif

FY_INLINE void gemm_put(const gemm_place *p, float *c, const float *add, fv x, int at) {
    int n = p->cols - at;
    if (n <= 0) return;
    if (!p->first) x = fv_add(n >= 16 ? fv_load(c + at) : fv_load_n(c + at, n), x);
    if (p->last) {
        if (p->bias) x = fv_add(x, n >= 16 ? fv_load(p->bias + at) : fv_load_n(p->bias + at, n));
        if (add) x = fv_add(x, n >= 16 ? fv_load(add + at) : fv_load_n(add + at, n));
        if (p->clamp) x = fv_min(fv_set1(p->hi), fv_max(fv_set1(p->lo), x));    /* NaN stays: it is the second operand each time */
    }
    if (n >= 16) fv_store(c + at, x);
    else fv_store_n(c + at, x, n);
}

/* Rows of sums, GEMM_NR each, leave their tile: out of line, as each number of rows has a tile of its own. */
FY_NOINLINE static void gemm_put_rows(const gemm_place *p, int rows, const float *sums) {
    for (int i = 0; i < rows; i++)
        for (int at = 0; at < GEMM_NR; at += 16) gemm_put(p, p->c + i * p->c_row, p->add ? p->add + i * p->c_row : NULL, fv_load(sums + i * GEMM_NR + at), at);
}
#define GEMM_KEEP(i) if (ROWS > i) { fv_store(sums + i * GEMM_NR, s##i); GEMM_SECOND(fv_store(sums + i * GEMM_NR + 16, t##i);) }
