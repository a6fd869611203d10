/* SPDX-License-Identifier: Apache-2.0
 * loops_neon.c - the loops compiled for neon. */
#if defined(__aarch64__)
#define ISA neon
#define LOOP_GROUPS
#include "kernels/body/loops.h"
#else
typedef int fy_loops_none;
#endif
