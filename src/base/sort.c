/* SPDX-License-Identifier: Apache-2.0
 * sort.c - a stable merge sort of indices; see sort.h. */
#include "base/sort.h"

#include <string.h>

void fy_sort(int64_t *index, int64_t *tmp, int64_t n, int (*cmp)(const void *ctx, int64_t a, int64_t b), const void *ctx) {
    int64_t *src = index, *dst = tmp;
    for (int64_t w = 1; w < n; w *= 2) {
        for (int64_t lo = 0; lo < n; lo += 2 * w) {
            int64_t mid = lo + w < n ? lo + w : n, hi = mid + w < n ? mid + w : n, i = lo, j = mid;
            for (int64_t k = lo; k < hi; k++) dst[k] = i < mid && (j >= hi || cmp(ctx, src[i], src[j]) <= 0) ? src[i++] : src[j++];
        }
        int64_t *t = src;
        src = dst;
        dst = t;
    }
    if (src != index) memcpy(index, src, (size_t)n * sizeof *index);
}
