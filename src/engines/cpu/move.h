/* SPDX-License-Identifier: Apache-2.0
 * move.h - strided copies of elements of 1, 2, 4 or 8 bytes, and loops over broadcast operands. */
#ifndef FY_CPU_MOVE_H
#define FY_CPU_MOVE_H

#include "engines/cpu/cpu.h"

/* y at `to` = x at `from`, steps in elements, over `rank` axes. Changed by the call. */
typedef struct fy_moving { const char *x; char *y; int rank; int64_t dim[FY_MAX_RANK], from[FY_MAX_RANK], to[FY_MAX_RANK]; int bytes; int64_t cut, parts; } fy_moving;       /* cut, parts: the call's own */
void fy_move(fy_moving *m, fy_pool *pool);
/* n elements of `bytes` bytes set to the one at x. */
void fy_fill(void *y, const void *x, int64_t n, int bytes);
int fy_cpu_number(fy_dtype t);           /* its place in the table of loops; -1: none */
bool fy_movable(const fy_value *v);      /* elements of 1, 2, 4 or 8 bytes, no strings */

/* An output and up to 8 operands broadcast to it: neighbouring axes merged; along the last one each operand steps by 0 or 1. */
#define FY_SPAN 8
typedef struct fy_span {
    int     n, rank;
    int64_t dim[FY_MAX_RANK], step[FY_SPAN][FY_MAX_RANK];
    int64_t run, outer;                  /* length of the last axis; product of the others */
    bool    moves[FY_SPAN];              /* does it step along the last axis? */
    void  (*fn)(void *ctx, const struct fy_span *s, int64_t y, const int64_t *at, int64_t n);       /* n elements from y on; operands at at[i] */
    void   *ctx;
} fy_span;
/* false: sizes that cannot be broadcast. */
bool fy_span_make(fy_span *s, const fy_tensor *y, int n, const fy_tensor *const *x);
void fy_span_run(fy_span *s, fy_pool *pool);

#endif
