/* SPDX-License-Identifier: Apache-2.0
 * checked.h - size arithmetic that cannot wrap. Each returns false on overflow and leaves *r alone. */
#ifndef FY_CHECKED_H
#define FY_CHECKED_H

#include "base/compiler.h"

static inline bool fy_mul_size(size_t *r, size_t a, size_t b) { size_t t; if (__builtin_mul_overflow(a, b, &t)) return false; *r = t; return true; }
static inline bool fy_add_size(size_t *r, size_t a, size_t b) { size_t t; if (__builtin_add_overflow(a, b, &t)) return false; *r = t; return true; }
static inline bool fy_mul_i64(int64_t *r, int64_t a, int64_t b) { int64_t t; if (__builtin_mul_overflow(a, b, &t)) return false; *r = t; return true; }
static inline bool fy_add_i64(int64_t *r, int64_t a, int64_t b) { int64_t t; if (__builtin_add_overflow(a, b, &t)) return false; *r = t; return true; }
static inline bool fy_sub_i64(int64_t *r, int64_t a, int64_t b) { int64_t t; if (__builtin_sub_overflow(a, b, &t)) return false; *r = t; return true; }

/* Product of dims (each >= 0); false if one is negative or the product passes 2^48 elements. */
static inline bool fy_count_dims(int64_t *r, int rank, const int64_t *dim) {
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        if (dim[i] < 0 || !fy_mul_i64(&n, n, dim[i]) || n > ((int64_t)1 << 48)) return false;
    *r = n;
    return true;
}

/* a / b rounded down; b is not 0, nor -1 for the least a. */
static inline int64_t fy_floor_div(int64_t a, int64_t b) {
    int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

#endif
