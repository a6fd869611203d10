/* SPDX-License-Identifier: Apache-2.0
 * gemm_avx2.c - the micro-kernels for AVX2 and FMA: 6 x 8 doubles in 12 registers. */
#include "tensor/product.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

/* ROWS is a constant at each call: rows beyond it vanish. */
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define LOAD(i)  __m256d l##i = _mm256_setzero_pd(), h##i = l##i; \
                 if (ROWS > i && !first) { l##i = _mm256_loadu_pd(c + i * ld); h##i = _mm256_loadu_pd(c + i * ld + 4); }
#define STEP(i)  if (ROWS > i) { __m256d w = _mm256_broadcast_sd(a + i); \
                                 l##i = _mm256_fmadd_pd(w, x, l##i); h##i = _mm256_fmadd_pd(w, y, h##i); }
#define STORE(i) if (ROWS > i) { _mm256_storeu_pd(c + i * ld, l##i); _mm256_storeu_pd(c + i * ld + 4, h##i); }
FY_INLINE void rows_n(const int ROWS, int64_t kc, const double *a, const double *b, double *c, int64_t ld, bool first) {
    EACH(LOAD)
    for (int64_t k = 0; k < kc; k++, a += ROWS, b += FY_NR) {
        __m256d x = _mm256_load_pd(b), y = _mm256_load_pd(b + 4);
        EACH(STEP)
    }
    EACH(STORE)
}

static void tile(int rows, int64_t kc, const double *a, const double *b, double *c, int64_t ld, bool first) {
    switch (rows) {
    case 1: rows_n(1, kc, a, b, c, ld, first); break;
    case 2: rows_n(2, kc, a, b, c, ld, first); break;
    case 3: rows_n(3, kc, a, b, c, ld, first); break;
    case 4: rows_n(4, kc, a, b, c, ld, first); break;
    case 5: rows_n(5, kc, a, b, c, ld, first); break;
    default: rows_n(6, kc, a, b, c, ld, first); break;
    }
}

FY_INLINE __m256d four_f32(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
FY_INLINE __m256d four_f64(const double *p) { return _mm256_loadu_pd(p); }

/* Four rows of four become four columns, `width` apart. */
FY_INLINE void transpose(double *dst, int width, __m256d a, __m256d b, __m256d c, __m256d d) {
    __m256d ab0 = _mm256_unpacklo_pd(a, b), ab1 = _mm256_unpackhi_pd(a, b), cd0 = _mm256_unpacklo_pd(c, d), cd1 = _mm256_unpackhi_pd(c, d);
    _mm256_storeu_pd(dst, _mm256_permute2f128_pd(ab0, cd0, 0x20));
    _mm256_storeu_pd(dst + width, _mm256_permute2f128_pd(ab1, cd1, 0x20));
    _mm256_storeu_pd(dst + 2 * width, _mm256_permute2f128_pd(ab0, cd0, 0x31));
    _mm256_storeu_pd(dst + 3 * width, _mm256_permute2f128_pd(ab1, cd1, 0x31));
}

/* The same four columns of four elements, each times its a[k], onto the sums. */
FY_INLINE __m256d four_steps(__m256d sum, const double *w, __m256d a, __m256d b, __m256d c, __m256d d) {
    __m256d ab0 = _mm256_unpacklo_pd(a, b), ab1 = _mm256_unpackhi_pd(a, b), cd0 = _mm256_unpacklo_pd(c, d), cd1 = _mm256_unpackhi_pd(c, d);
    sum = _mm256_fmadd_pd(_mm256_broadcast_sd(w), _mm256_permute2f128_pd(ab0, cd0, 0x20), sum);
    sum = _mm256_fmadd_pd(_mm256_broadcast_sd(w + 1), _mm256_permute2f128_pd(ab1, cd1, 0x20), sum);
    sum = _mm256_fmadd_pd(_mm256_broadcast_sd(w + 2), _mm256_permute2f128_pd(ab0, cd0, 0x31), sum);
    return _mm256_fmadd_pd(_mm256_broadcast_sd(w + 3), _mm256_permute2f128_pd(ab1, cd1, 0x31), sum);
}

/* Panels of eight full columns have two quick ways: columns side by side, and k side by side. Panels of rows (width 6 or
 * less) take the first four by fours. The rest goes one by one. */
#define KERNELS(T, name) \
    static void pack_##name(double *dst, int width, const T *src, int64_t outer, int64_t step, int count, int64_t kc) { \
        int done = 0; \
        if (width == FY_NR && count == FY_NR && outer == 1) { \
            for (int64_t k = 0; k < kc; k++) { \
                _mm256_store_pd(dst + k * FY_NR, four_##name(src + k * step)); \
                _mm256_store_pd(dst + k * FY_NR + 4, four_##name(src + k * step + 4)); \
            } \
            return; \
        } \
        for (; step == 1 && done + 4 <= count; done += 4) { \
            const T *s = src + done * outer; \
            int64_t k = 0; \
            for (; k + 4 <= kc; k += 4) \
                transpose(dst + k * width + done, width, four_##name(s + k), four_##name(s + outer + k), four_##name(s + 2 * outer + k), \
                          four_##name(s + 3 * outer + k)); \
            for (; k < kc; k++) \
                for (int i = 0; i < 4; i++) dst[k * width + done + i] = (double)s[i * outer + k]; \
        } \
        for (; done < width; done++) { \
            const T *s = src + done * outer; \
            if (done < count) for (int64_t k = 0; k < kc; k++) dst[k * width + done] = (double)s[k * step]; \
            else for (int64_t k = 0; k < kc; k++) dst[k * width + done] = 0.0; \
        } \
    } \
    static void axpy_##name(double *acc, double w, const T *x, int64_t step, int64_t n) { \
        int64_t i = 0; \
        __m256d v = _mm256_set1_pd(w); \
        for (; step == 1 && i + 4 <= n; i += 4) \
            _mm256_storeu_pd(acc + i, _mm256_fmadd_pd(v, four_##name(x + i), _mm256_loadu_pd(acc + i))); \
        for (; i < n; i++) acc[i] = __builtin_fma(w, (double)x[i * step], acc[i]); \
    } \
    /* Columns side by side: four rows of b at a time onto the sums. Rows side by side (a column is a run): sixteen columns, \
     * then four, at a time. */ \
    static void row_##name(double *sums, const double *a, const T *b, int64_t outer, int64_t step, int count, int64_t k) { \
        int j = 0; \
        for (int i = 0; i < count; i++) sums[i] = 0; \
        if (outer == 1) { \
            int64_t i = 0; \
            for (; i + 4 <= k; i += 4) { \
                const T *p = b + i * step, *q = p + step, *r = q + step, *s = r + step; \
                __m256d v = _mm256_set1_pd(a[i]), w = _mm256_set1_pd(a[i + 1]), x = _mm256_set1_pd(a[i + 2]), \
                    y = _mm256_set1_pd(a[i + 3]); \
                for (j = 0; j + 4 <= count; j += 4) { \
                    __m256d t = _mm256_fmadd_pd(v, four_##name(p + j), _mm256_loadu_pd(sums + j)); \
                    t = _mm256_fmadd_pd(w, four_##name(q + j), t); \
                    t = _mm256_fmadd_pd(x, four_##name(r + j), t); \
                    _mm256_storeu_pd(sums + j, _mm256_fmadd_pd(y, four_##name(s + j), t)); \
                } \
                for (; j < count; j++) \
                    for (int64_t n = 0; n < 4; n++) sums[j] = __builtin_fma(a[i + n], (double)p[n * step + j], sums[j]); \
            } \
            for (; i < k; i++) axpy_##name(sums, a[i], b + i * step, 1, count); \
            return; \
        } \
        for (int wide = 16; step == 1 && wide >= 4; wide -= 12) \
            for (; j + wide <= count; j += wide) { \
                const T *s = b + j * outer; \
                __m256d t[4] = { _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd() }; \
                int64_t i = 0; \
                for (; i + 16 <= k; i += 16) /* whole cache lines: columns a page apart share few places in the cache */ \
                    for (int g = 0; 4 * g < wide; g++) \
                        for (int64_t n = i; n < i + 16; n += 4) { \
                            const T *p = s + 4 * g * outer + n; \
                            t[g] = four_steps(t[g], a + n, four_##name(p), four_##name(p + outer), four_##name(p + 2 * outer), \
                                four_##name(p + 3 * outer)); \
                        } \
                for (int g = 0; 4 * g < wide; g++) _mm256_storeu_pd(sums + j + 4 * g, t[g]); \
                for (; i < k; i++) \
                    for (int g = 0; g < wide; g++) sums[j + g] = __builtin_fma(a[i], (double)s[g * outer + i], sums[j + g]); \
            } \
        for (; j < count; j++) \
            for (int64_t i = 0; i < k; i++) sums[j] = __builtin_fma(a[i], (double)b[j * outer + i * step], sums[j]); \
    }
KERNELS(float, f32)
KERNELS(double, f64)

const fy_gemm_kernels fy_gemm_kernels_avx2 = { tile, pack_f32, pack_f64, axpy_f32, axpy_f64, row_f32, row_f64 };
#endif
