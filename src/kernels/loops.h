/* SPDX-License-Identifier: Apache-2.0
 * loops.h - elementwise loops over dense runs of every dtype: what the compiler makes vectors of, once for each instruction set. Integers wrap as
 * two's complement does, floats are rounded once; a conversion gives what tensor/element.c gives (floats saturate to integers, NaN gives 0). */
#ifndef FY_LOOPS_H
#define FY_LOOPS_H

#include "base/compiler.h"

/* X(name, storage, dtype of ONNX). Halves are only converted: they are computed in f32. */
#define FY_NUMBERS(X) \
    X(F32, float, FLOAT) X(F64, double, DOUBLE) X(I64, int64_t, INT64) X(I32, int32_t, INT32) X(I16, int16_t, INT16) X(I8, int8_t, INT8) \
    X(U64, uint64_t, UINT64) X(U32, uint32_t, UINT32) X(U16, uint16_t, UINT16) X(U8, uint8_t, UINT8) X(BOOL, uint8_t, BOOL) X(F16, uint16_t, FLOAT16) X(BF16, uint16_t, BFLOAT16)

typedef enum fy_number {
#define NUMBER(name, T, dtype) FY_NUMBER_##name,
    FY_NUMBERS(NUMBER)
#undef NUMBER
    FY_NUMBER_COUNT
} fy_number;

typedef enum fy_loop2 {
#define PAIR(OP) FY_LOOP_##OP,
#define SINGLE(OP)
#include "kernels/loops.def"
    FY_LOOP2_COUNT
} fy_loop2;

typedef enum fy_loop1 {
#undef PAIR
#undef SINGLE
#define PAIR(OP)
#define SINGLE(OP) FY_LOOP_##OP,
#include "kernels/loops.def"
#undef PAIR
#undef SINGLE
    FY_LOOP1_COUNT
} fy_loop1;

/* one: 0 both operands have n values, 1 (2) the first (second) has one. y may be an operand of its own element size. */
typedef void fy_loop_pair(void *y, const void *a, const void *b, int64_t n, int one);
typedef void fy_loop_single(void *y, const void *x, int64_t n, const double *p);
typedef void fy_loop_cast(void *y, const void *x, int64_t n);

/* NULL: not for this dtype. */
typedef struct fy_loops {
    fy_loop_pair   *pair[FY_LOOP2_COUNT][FY_NUMBER_COUNT];
    fy_loop_single *single[FY_LOOP1_COUNT][FY_NUMBER_COUNT];
    fy_loop_cast   *cast[FY_NUMBER_COUNT][FY_NUMBER_COUNT];      /* [from][to] */
} fy_loops;

/* As the compiler made them for each instruction set; fy_loops_init adds the loops that are calls of libm. */
extern const fy_loops fy_loops_generic, fy_loops_avx2, fy_loops_neon;
void fy_loops_over_avx512(fy_loops *l);        /* over those of AVX2 */

/* What the vectors of a loop are made of: groups of numbers, n a multiple of FY_LOOP_GROUP; from one group of an operand to the next it is a_step, b_step
 * numbers, 0 where one number is all of it. slot, number (of a conversion: from, to): where the generic loop for the rest is. */
#define FY_LOOP_GROUP 32
typedef struct fy_groups2 { void (*run)(void *y, const void *a, const void *b, int64_t n, int64_t a_step, int64_t b_step); int16_t slot; int8_t number, bytes, y_bytes; } fy_groups2;
typedef struct fy_groups1 { void (*run)(void *y, const void *x, int64_t n, const double *p); int16_t slot; int8_t number, bytes, y_bytes; } fy_groups1;
void fy_pair_in_groups(void *y, const void *a, const void *b, int64_t n, int one, const fy_groups2 *how);
void fy_single_in_groups(void *y, const void *x, int64_t n, const double *p, const fy_groups1 *how);
void fy_cast_in_groups(void *y, const void *x, int64_t n, const fy_groups1 *how);

#endif
