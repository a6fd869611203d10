/* SPDX-License-Identifier: Apache-2.0
 * loops_avx512.c - the loops compiled for avx512. */
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define ISA avx512
#define LOOP_GROUPS
#include "kernels/body/loops.h"
#else
typedef int fy_loops_none;
#endif
