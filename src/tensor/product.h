/* SPDX-License-Identifier: Apache-2.0
 * product.h - what fy_gemm and fy_conv share: the tiles of a matrix product over packed panels of doubles.
 *
 * A tile of C is MC x NC sums in double. For each block of at most KC of the reduced length, A is packed in panels of FY_MR
 * rows (dst[k*rows + i]) and B in panels of FY_NR columns (dst[k*FY_NR + j], missing columns are 0); the micro-kernel adds
 * one panel times one panel to the sums, which it loads first: so the order of summation is that of k, without blocks. */
#ifndef FY_PRODUCT_H
#define FY_PRODUCT_H

#include "base/cpu.h"
#include "tensor/gemm.h"

#define FY_MR 6
#define FY_NR 8
#define FY_KC 240
#define FY_COLS 256

/* One level of instruction set. */
typedef struct fy_gemm_kernels {
    /* c[rows, FY_NR] (row stride ld) = (first ? 0 : c) + a b, over kc; rows is 1..FY_MR */
    void (*tile)(int rows, int64_t kc, const double *a, const double *b, double *c, int64_t ld, bool first);
    /* dst[k*width + i] = src[i*outer + k*step] for i < count, 0 for count <= i < width; width is FY_NR or count */
    void (*pack_f32)(double *dst, int width, const float *src, int64_t outer, int64_t step, int count, int64_t kc);
    void (*pack_f64)(double *dst, int width, const double *src, int64_t outer, int64_t step, int count, int64_t kc);
    /* acc[i] += w * x[i*step] */
    void (*axpy_f32)(double *acc, double w, const float *x, int64_t step, int64_t n);
    void (*axpy_f64)(double *acc, double w, const double *x, int64_t step, int64_t n);
    /* sums[j] = sum over k, in order, of a[k] * b[j*outer + k*step]; j < count, at most FY_COLS: a product with one row */
    void (*row_f32)(double *sums, const double *a, const float *b, int64_t outer, int64_t step, int count, int64_t k);
    void (*row_f64)(double *sums, const double *a, const double *b, int64_t outer, int64_t step, int count, int64_t k);
} fy_gemm_kernels;

extern const fy_gemm_kernels fy_gemm_kernels_generic;
#if defined(__x86_64__)
extern const fy_gemm_kernels fy_gemm_kernels_avx2;
#endif
const fy_gemm_kernels *fy_gemm_kernels_for(fy_isa isa);      /* the best of at most this level */

typedef struct fy_product fy_product;
struct fy_product {
    const fy_gemm_kernels *kernels;
    int64_t batch, m, n, k;              /* `batch` independent products */
    int64_t mc, nc;                      /* filled in by fy_product_run */
    const void *args;
    void (*pack_a)(const fy_product *p, double *dst, int64_t batch, int64_t row, int rows, int64_t k0, int64_t kc);
    void (*pack_b)(const fy_product *p, double *dst, int64_t batch, int64_t col, int64_t cols, int64_t k0, int64_t kc);
    void (*store)(const fy_product *p, const double *sums, int64_t ld, int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols);
};
FY_CHECKED fy_status fy_product_run(fy_product *p, fy_pool *pool, ferry_error *e);

/* fy_gemm and fy_conv with the kernels chosen by the caller: for tests. */
FY_CHECKED fy_status fy_gemm_with(const fy_gemm_kernels *kernels, fy_mat c, fy_mat a, fy_mat b, int64_t m, int64_t n, int64_t k,
                                  double alpha, double beta, fy_pool *pool, ferry_error *e);
FY_CHECKED fy_status fy_conv_with(const fy_gemm_kernels *kernels, const fy_conv_args *c, fy_pool *pool, ferry_error *e);

#endif
