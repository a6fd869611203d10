/* SPDX-License-Identifier: Apache-2.0
 * loops_avx2.c - the loops compiled for avx2. */
#if defined(__AVX2__)
#define ISA avx2
#define LOOP_GROUPS
#include "kernels/body/loops.h"
#else
typedef int fy_loops_none;
#endif
