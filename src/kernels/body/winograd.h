/* SPDX-License-Identifier: Apache-2.0
 * winograd.h - the transforms of Winograd's F(4x4, 3x3) and F(2x2, 3x3) in the c16 layout (body, compiled once for each instruction set).
 * Interpolation points 0, +-a, +-b and infinity with a = 3/4, b = 3/2: four to five times less error than the usual 1 and 2 at the same
 * arithmetic, since their powers stay near 1. With even and odd parts apart, along one axis:
 *   data     v0 = d4 - (a2 + b2) d2 + a2 b2 d0,  v+-a = (d4 - b2 d2) +- a (d3 - b2 d1),  v+-b = (d4 - a2 d2) +- b (d3 - a2 d1),
 *            voo = d5 - (a2 + b2) d3 + a2 b2 d1
 *   result   y0 = m0 + (ma + m-a) + (mb + m-b),  y1 = a (ma - m-a) + b (mb - m-b),  y2 = a2 (ma + m-a) + b2 (mb + m-b),
 *            y3 = a3 (ma - m-a) + b3 (mb - m-b) + moo
 * F(2x2, 3x3) has the points 0, +-1 and infinity, all of whose factors are 1:
 *   data     v0 = d2 - d0,  v+-1 = d2 +- d1,  voo = d3 - d1;      result   y0 = m0 + m1 + m-1,  y1 = m1 - m-1 + moo
 * Sources: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; Barabasz et al., "Error Analysis and Improving the
 * Accuracy of Winograd Convolution for Deep Neural Networks", 2020. */

/* Where few vectors fit into registers a patch lies in memory anyway: one loop for its rows, one for patches of either size. */
#ifdef FV_MANY
#define WINOGRAD_PART FY_INLINE
#else
#define WINOGRAD_PART FY_NOINLINE static
#endif

#define WA 0.75f
#define WB 1.5f
#define WA2 (WA * WA)
#define WB2 (WB * WB)

WINOGRAD_PART void winograd_data(fv *v, int step, const fv *d, int d_step) {
    fv d0 = d[0], d1 = d[d_step], d2 = d[2 * d_step], d3 = d[3 * d_step], d4 = d[4 * d_step], d5 = d[5 * d_step];
    fv ea = fv_fma(fv_set1(-WB2), d2, d4), oa = fv_mul(fv_set1(WA), fv_fma(fv_set1(-WB2), d1, d3));
    fv eb = fv_fma(fv_set1(-WA2), d2, d4), ob = fv_mul(fv_set1(WB), fv_fma(fv_set1(-WA2), d1, d3));
    v[0] = fv_fma(fv_set1(WA2 * WB2), d0, fv_fma(fv_set1(-(WA2 + WB2)), d2, d4));
    v[step] = fv_add(ea, oa);
    v[2 * step] = fv_sub(ea, oa);
    v[3 * step] = fv_add(eb, ob);
    v[4 * step] = fv_sub(eb, ob);
    v[5 * step] = fv_fma(fv_set1(WA2 * WB2), d1, fv_fma(fv_set1(-(WA2 + WB2)), d3, d5));
}

WINOGRAD_PART void winograd_result(fv *y, int y_step, const fv *m, int step) {
    fv sa = fv_add(m[step], m[2 * step]), da = fv_sub(m[step], m[2 * step]), sb = fv_add(m[3 * step], m[4 * step]), db = fv_sub(m[3 * step], m[4 * step]);
    y[0] = fv_add(m[0], fv_add(sa, sb));
    y[y_step] = fv_fma(fv_set1(WA), da, fv_mul(fv_set1(WB), db));
    y[2 * y_step] = fv_fma(fv_set1(WA2), sa, fv_mul(fv_set1(WB2), sb));
    y[3 * y_step] = fv_fma(fv_set1(WA2 * WA), da, fv_fma(fv_set1(WB2 * WB), db, m[5 * step]));
}

WINOGRAD_PART void winograd_data2(fv *v, int step, const fv *d, int d_step) {
    fv d0 = d[0], d1 = d[d_step], d2 = d[2 * d_step], d3 = d[3 * d_step];
    v[0] = fv_sub(d2, d0);
    v[step] = fv_add(d2, d1);
    v[2 * step] = fv_sub(d2, d1);
    v[3 * step] = fv_sub(d3, d1);
}

WINOGRAD_PART void winograd_result2(fv *y, int y_step, const fv *m, int step) {
    y[0] = fv_add(m[0], fv_add(m[step], m[2 * step]));
    y[y_step] = fv_add(fv_sub(m[step], m[2 * step]), m[3 * step]);
}

/* An N x N patch of 16 channels whose corner is at (top, left) of an h x w image, zeros outside, to v[N * N], `apart` floats from each other. */
WINOGRAD_PART void winograd_in(const int N, float *v, int64_t apart, const float *x, int64_t h, int64_t w, int64_t top, int64_t left) {
    fv d[36], t[36];
    bool inside = top >= 0 && left >= 0 && top + N <= h && left + N <= w;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            int64_t r = top + i, c = left + j;
            d[N * i + j] = inside || (r >= 0 && r < h && c >= 0 && c < w) ? fv_load(x + (r * w + c) * 16) : fv_zero();
        }
    for (int i = 0; i < N; i++) (N == 6 ? winograd_data : winograd_data2)(t + N * i, 1, d + N * i, 1);
    for (int j = 0; j < N; j++) (N == 6 ? winograd_data : winograd_data2)(d + j, N, t + j, N);
    for (int i = 0; i < N * N; i++) {
        fv_store(v + i * apart, d[i]);
        __builtin_prefetch(v + i * apart + 16, 1);           /* where the next patch goes */
    }
}

/* m[N * N], `apart` floats from each other, to an (N - 2) x (N - 2) patch of 16 channels of y (h x w, cut off outside), with the epilogue. */
WINOGRAD_PART void winograd_out(const int N, float *y, const float *add, const float *m, int64_t apart, int64_t h, int64_t w, int64_t top, int64_t left, const float *bias, const fy_epilogue *e) {
    const int M = N - 2;
    fv d[36], t[24], o[16];
    for (int i = 0; i < N * N; i++) {
        d[i] = fv_load(m + i * apart);
        __builtin_prefetch(m + i * apart + 16);              /* where the next patch comes from */
    }
    for (int j = 0; j < N; j++) (N == 6 ? winograd_result : winograd_result2)(t + j, N, d + j, N);
    for (int i = 0; i < M; i++) (N == 6 ? winograd_result : winograd_result2)(o + M * i, 1, t + N * i, 1);
    for (int i = 0; i < M && top + i < h; i++)
        for (int j = 0; j < M && left + j < w; j++) {
            int64_t at = ((top + i) * w + left + j) * 16;
            fv x = o[M * i + j];
            if (bias) x = fv_add(x, fv_load(bias));
            if (add) x = fv_add(x, fv_load(add + at));
            if (e->act == FY_ACT_CLAMP) x = fv_min(fv_set1(e->p[1]), fv_max(fv_set1(e->p[0]), x));
            fv_store(y + at, x);
        }
}

#define WINOGRAD_IN(name, n) \
    static void name(float *v, int64_t apart, const float *x, int64_t h, int64_t w, int64_t top, int64_t left) { winograd_in(n, v, apart, x, h, w, top, left); }
#define WINOGRAD_OUT(name, n) \
    static void name(float *y, const float *add, const float *m, int64_t apart, int64_t h, int64_t w, int64_t top, int64_t left, const float *bias, const fy_epilogue *e) { \
        winograd_out(n, y, add, m, apart, h, w, top, left, bias, e); \
    }
WINOGRAD_IN(winograd_in_c16, 6)
WINOGRAD_OUT(winograd_out_c16, 6)
WINOGRAD_IN(winograd2_in_c16, 4)
WINOGRAD_OUT(winograd2_out_c16, 4)
