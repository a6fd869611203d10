/* SPDX-License-Identifier: Apache-2.0
 * gemm.h - the reference matrix product: blocked, threaded, sums in double.
 *
 * C[m,n] = alpha * sum_k A[m,k] B[k,n] + beta * C[m,n]. A, B, C are f32 or f64 each, any strides (in elements), so that
 * transposes are free. Every element is summed in the order of k, one after the other, whatever m, n, threads or
 * alignment. The product of two f32 values is exact in double, so f32 results are the same bits on every machine. Packing
 * follows Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008. */
#ifndef FY_GEMM_H
#define FY_GEMM_H

#include "tensor/tensor.h"

typedef struct fy_mat { void *at; fy_dtype dtype; int64_t row, col; } fy_mat;   /* element [i,j] = at[i*row + j*col] */

/* NOMEM is the only failure. pool may be NULL. */
FY_CHECKED fy_status fy_gemm(fy_mat c, fy_mat a, fy_mat b, int64_t m, int64_t n, int64_t k, double alpha, double beta,
                             fy_pool *pool, ferry_error *e);

/* Convolution of one group as implicit GEMM: the patch matrix is packed from x on the fly, never stored.
 * x [batch, cin, in[0..nd)], w [cout, cin, kernel], y [batch, cout, out]; strides of x, w and y in elements, channels
 * first; bias [cout] or NULL (dtype bias_dtype). nd is 1..3; pads may be negative. */
typedef struct fy_conv_args {
    int            nd;
    int64_t        batch, cin, cout, in[3], out[3], kernel[3], step[3], dilation[3], pad[3];    /* pad: before */
    const void    *x, *w, *bias;
    void          *y;
    fy_dtype       x_dtype, w_dtype, bias_dtype, y_dtype;
    int64_t        x_batch, x_channel, x_dim[3], w_out, w_in, w_dim[3], y_batch, y_channel, y_dim[3];
    int64_t        groups;               /* 0 or 1: one group. Else cin and cout are those of one group, and group g begins at
                                            channel g*cin of x, row g*cout of w, channel g*cout of y, element g*cout of bias */
} fy_conv_args;
FY_CHECKED fy_status fy_conv(const fy_conv_args *c, fy_pool *pool, ferry_error *e);

#endif
