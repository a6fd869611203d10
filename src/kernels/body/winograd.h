/* SPDX-License-Identifier: Apache-2.0
 * winograd.h - the transforms of Winograd's F(4x4, 3x3) in the c16 layout (body, compiled once for each instruction set).
 * Interpolation points 0, +-a, +-b and infinity with a = 3/4, b = 3/2: four to five times less error than the usual 1 and 2 at the same
 * arithmetic, since their powers stay near 1. With even and odd parts apart, along one axis:
 *   data     v0 = d4 - (a2 + b2) d2 + a2 b2 d0,  v+-a = (d4 - b2 d2) +- a (d3 - b2 d1),  v+-b = (d4 - a2 d2) +- b (d3 - a2 d1),
 *            voo = d5 - (a2 + b2) d3 + a2 b2 d1
 *   result   y0 = m0 + (ma + m-a) + (mb + m-b),  y1 = a (ma - m-a) + b (mb - m-b),  y2 = a2 (ma + m-a) + b2 (mb + m-b),
 *            y3 = a3 (ma - m-a) + b3 (mb - m-b) + moo
 * Sources: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; Barabasz et al., "Error Analysis and Improving the
 * Accuracy of Winograd Convolution for Deep Neural Networks", 2020. */

#define WA 0.75f
#define WB 1.5f
#define WA2 (WA * WA)
#define WB2 (WB * WB)

FY_INLINE void winograd_data(fv *v, int step, const fv *d, int d_step) {
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

FY_INLINE void winograd_result(fv *y, int y_step, const fv *m, int step) {
    fv sa = fv_add(m[step], m[2 * step]), da = fv_sub(m[step], m[2 * step]), sb = fv_add(m[3 * step], m[4 * step]), db = fv_sub(m[3 * step], m[4 * step]);
    y[0] = fv_add(m[0], fv_add(sa, sb));
    y[y_step] = fv_fma(fv_set1(WA), da, fv_mul(fv_set1(WB), db));
    y[2 * y_step] = fv_fma(fv_set1(WA2), sa, fv_mul(fv_set1(WB2), sb));
    y[3 * y_step] = fv_fma(fv_set1(WA2 * WA), da, fv_fma(fv_set1(WB2 * WB), db, m[5 * step]));
}

/* A 6 x 6 patch of 16 channels whose corner is at (top, left) of an h x w image, zeros outside, to v[36], `apart` floats from each other. */
static void winograd_in_c16(float *v, int64_t apart, const float *x, int64_t h, int64_t w, int64_t top, int64_t left) {
    fv d[36], t[36];
    bool inside = top >= 0 && left >= 0 && top + 6 <= h && left + 6 <= w;
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
            int64_t r = top + i, c = left + j;
            d[6 * i + j] = inside || (r >= 0 && r < h && c >= 0 && c < w) ? fv_load(x + (r * w + c) * 16) : fv_zero();
        }
    for (int i = 0; i < 6; i++) winograd_data(t + 6 * i, 1, d + 6 * i, 1);
    for (int j = 0; j < 6; j++) winograd_data(d + j, 6, t + j, 6);
    for (int i = 0; i < 36; i++) fv_store(v + i * apart, d[i]);
}

/* m[36], `apart` floats from each other, to a 4 x 4 patch of 16 channels of y (h x w, cut off outside), with the epilogue. */
static void winograd_out_c16(float *y, const float *add, const float *m, int64_t apart, int64_t h, int64_t w, int64_t top, int64_t left, const float *bias, const fy_epilogue *e) {
    fv d[36], t[24], o[16];
    for (int i = 0; i < 36; i++) d[i] = fv_load(m + i * apart);
    for (int j = 0; j < 6; j++) winograd_result(t + j, 6, d + j, 6);
    for (int i = 0; i < 4; i++) winograd_result(o + 4 * i, 1, t + 6 * i, 1);
    for (int i = 0; i < 4 && top + i < h; i++)
        for (int j = 0; j < 4 && left + j < w; j++) {
            int64_t at = ((top + i) * w + left + j) * 16;
            fv x = o[4 * i + j];
            if (bias) x = fv_add(x, fv_load(bias));
            if (add) x = fv_add(x, fv_load(add + at));
            if (e->act == FY_ACT_CLAMP) x = fv_min(fv_set1(e->p[1]), fv_max(fv_set1(e->p[0]), x));
            fv_store(y + at, x);
        }
}
