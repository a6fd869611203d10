/* SPDX-License-Identifier: Apache-2.0
 * sort.h - stable ascending order of index[0..n): a bottom-up merge sort, O(n log n), no recursion, no memory but tmp's n elements. */
#ifndef FY_SORT_H
#define FY_SORT_H

#include "base/compiler.h"

void fy_sort(int64_t *index, int64_t *tmp, int64_t n, int (*cmp)(const void *ctx, int64_t a, int64_t b), const void *ctx);

#endif
