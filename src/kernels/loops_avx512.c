/* SPDX-License-Identifier: Apache-2.0
 * loops_avx512.c - the loops compiled for avx512: those that it makes faster. */
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define ISA avx512
#define LOOP_GROUPS
/* What AVX2 has no instructions for, or half as many numbers a cycle from the first cache in loops of our engine: elsewhere its loops are as fast. */
#define LOOPS_OVER(X) \
    X(pair, ADD, I64, ADD_u64) X(pair, ADD, U64, ADD_u64) X(pair, ADD, I32, ADD_u32) X(pair, ADD, U32, ADD_u32) X(pair, ADD, F64, ADD_f64) X(pair, ADD, F32, ADD_f32) \
    X(pair, MUL, I64, MUL_u64) X(pair, MUL, U64, MUL_u64) X(pair, MUL, I32, MUL_u32) X(pair, MUL, U32, MUL_u32) X(pair, MUL, F64, MUL_f64) X(pair, MUL, F32, MUL_f32) \
    X(pair, MIN, I64, MIN_i64) X(pair, MIN, U64, MIN_u64) X(pair, CLIP_HIGH, I64, MIN_i64) X(pair, CLIP_HIGH, U64, MIN_u64) \
    X(pair, MAX, I64, MAX_i64) X(pair, MAX, U64, MAX_u64) X(pair, CLIP_LOW, I64, MAX_i64) X(pair, CLIP_LOW, U64, MAX_u64)
#include "kernels/body/loops.h"
#else
typedef int fy_loops_none;
#endif
