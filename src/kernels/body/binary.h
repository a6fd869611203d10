/* SPDX-License-Identifier: Apache-2.0
 * binary.h - y = a op b over dense runs, either operand one value (body). */

#define BINARY_BODY(name, expr) \
    static void name(float *y, const float *a, const float *b, int64_t n, int one) { \
        int64_t i = 0; \
        fv p = one == 1 ? fv_set1(*a) : fv_zero(), q = one == 2 ? fv_set1(*b) : fv_zero(); \
        for (; i + FV_LANES <= n; i += FV_LANES) { \
            if (one != 1) p = fv_load(a + i); \
            if (one != 2) q = fv_load(b + i); \
            fv_store(y + i, expr); \
        } \
        if (FV_LANES == 1 || i == n) return; \
        int left = (int)(n - i); \
        if (one != 1) p = fv_load_n(a + i, left); \
        if (one != 2) q = fv_load_n(b + i, left); \
        fv_store_n(y + i, expr, left); \
    }

BINARY_BODY(binary_add, fv_add(p, q))
BINARY_BODY(binary_sub, fv_sub(p, q))
BINARY_BODY(binary_mul, fv_mul(p, q))
BINARY_BODY(binary_div, fv_div(p, q))
BINARY_BODY(binary_max, fv_nan_max(p, q))
BINARY_BODY(binary_min, fv_nan_min(p, q))
