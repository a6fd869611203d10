/* SPDX-License-Identifier: Apache-2.0
 * gemm_generic.c - the micro-kernels in plain C: multiply, then add. */
#include "tensor/product.h"

#include <string.h>

static void tile(int rows, int64_t kc, const double *a, const double *b, double *c, int64_t ld, bool first) {
    double sum[FY_NR];
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < FY_NR; j++) sum[j] = first ? 0.0 : c[i * ld + j];
        for (int64_t k = 0; k < kc; k++) {
            double w = a[k * rows + i];
            const double *x = b + k * FY_NR;
            sum[0] += w * x[0]; sum[1] += w * x[1]; sum[2] += w * x[2]; sum[3] += w * x[3];
            sum[4] += w * x[4]; sum[5] += w * x[5]; sum[6] += w * x[6]; sum[7] += w * x[7];
        }
        memcpy(c + i * ld, sum, sizeof sum);
    }
}

#define KERNELS(T, name) \
    static void pack_##name(double *dst, int width, const T *src, int64_t outer, int64_t step, int count, int64_t kc) { \
        for (int i = 0; i < width; i++) { \
            const T *s = src + i * outer; \
            if (i < count) for (int64_t k = 0; k < kc; k++) dst[k * width + i] = (double)s[k * step]; \
            else for (int64_t k = 0; k < kc; k++) dst[k * width + i] = 0.0; \
        } \
    } \
    static void axpy_##name(double *acc, double w, const T *x, int64_t step, int64_t n) { \
        for (int64_t i = 0; i < n; i++) acc[i] += w * (double)x[i * step]; \
    } \
    static void row_##name(double *sums, const double *a, const T *b, int64_t outer, int64_t step, int count, int64_t k) { \
        memset(sums, 0, (size_t)count * sizeof *sums); \
        if (outer == 1) for (int64_t i = 0; i < k; i++) axpy_##name(sums, a[i], b + i * step, 1, count); \
        else for (int j = 0; j < count; j++) for (int64_t i = 0; i < k; i++) sums[j] += a[i] * (double)b[j * outer + i * step]; \
    }
KERNELS(float, f32)
KERNELS(double, f64)

const fy_gemm_kernels fy_gemm_kernels_generic = { tile, pack_f32, pack_f64, axpy_f32, axpy_f64, row_f32, row_f64 };
