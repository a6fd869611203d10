/* SPDX-License-Identifier: Apache-2.0
 * fft.h - the discrete Fourier transform of any length in double: X[k] = sum_j x[j] e^(-2 pi i j k / n), in O(n log n).
 *
 * Lengths whose prime factors are at most FY_FFT_RADIX run as a mixed-radix Stockham transform (sorted output, no recursion);
 * others are turned into a convolution of a power of two (Bluestein, "A linear filtering approach to the computation of the
 * discrete Fourier transform", 1970). Roots of unity are computed in the first octant, so symmetries hold exactly. */
#ifndef FY_OPS_FFT_H
#define FY_OPS_FFT_H

#include "base/arena.h"
#include "base/status.h"

#define FY_FFT_RADIX 31

typedef struct fy_cplx { double re, im; } fy_cplx;

typedef struct fy_fft fy_fft;
struct fy_fft {
    int64_t       n, work;               /* length; fy_cplx of scratch that fy_fft_run takes */
    int           nradix, radix[64];
    fy_cplx      *root;                  /* [n]: e^(-2 pi i k / n); Bluestein: the chirp e^(-pi i k^2 / n) */
    const fy_fft *inner;                 /* Bluestein: the transform of a power of two, else NULL */
    fy_cplx      *filter;                /* Bluestein: spectrum of the conjugate chirp, over the inner length */
};

/* A plan for length n >= 1, in `a`; immutable, any number of threads share it. LIMIT if plan and scratch take over max_bytes. */
FY_CHECKED fy_status fy_fft_plan(const fy_fft **plan, int64_t n, fy_arena *a, int64_t max_bytes, ferry_error *e);
/* x[n] is replaced by its transform. The inverse is the same between two exchanges of real and imaginary parts, over n. */
void fy_fft_run(const fy_fft *p, fy_cplx *x, fy_cplx *work);

#endif
