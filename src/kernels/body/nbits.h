/* SPDX-License-Identifier: Apache-2.0
 * nbits.h - a panel of weights of few bits with a scale and a zero point for each block of a column: its product with one row, and the panel in f32 for products
 * with many. In the product whole blocks are summed before they are scaled:  y += scale (Sum x q - zero Sum x). */

/* Values k and k + 1 of 16 columns. */
FY_INLINE void nbits_pair(const fy_nbits *w, const uint8_t *p, int64_t k, fv *even, fv *odd) {
    iv b = iv_load_u8(w->halves ? p + k / 2 * GEMM_NR : p + k * GEMM_NR);
    *even = iv_to_float(w->halves ? iv_and(b, iv_set1(15)) : b);
    *odd = w->halves ? iv_to_float(iv_shr(b, 4)) : k + 1 < w->k ? iv_to_float(iv_load_u8(p + (k + 1) * GEMM_NR)) : fv_zero();
}

static void nbits_dot(float *y, const float *x, const fy_nbits *w) {
    fv sum[GEMM_NV];
    for (int v = 0; v < GEMM_NV; v++) sum[v] = fv_zero();
    for (int64_t from = 0, g = 0; from < w->k; from += w->block, g++) {
        const int64_t end = from + w->block < w->k ? from + w->block : w->k;
        fv even[GEMM_NV], odd[GEMM_NV], all = fv_zero(), a, b;
        int64_t k = from;
        for (int v = 0; v < GEMM_NV; v++) even[v] = odd[v] = fv_zero();
        for (; k + 1 < end; k += 2)
            for (int v = 0; v < GEMM_NV; v++) {
                nbits_pair(w, w->w + 16 * v, k, &a, &b);
                even[v] = fv_fma(fv_set1(x[k]), a, even[v]);
                odd[v] = fv_fma(fv_set1(x[k + 1]), b, odd[v]);
            }
        for (int v = 0; v < GEMM_NV && k < end; v++) {
            nbits_pair(w, w->w + 16 * v, k, &a, &b);
            even[v] = fv_fma(fv_set1(x[k]), a, even[v]);
        }
        for (k = from; k + 16 <= end; k += 16) all = fv_add(all, fv_load(x + k));
        if (k < end) all = fv_add(all, fv_load_n(x + k, (int)(end - k)));
        all = fv_set1(fv_sum(all));
        for (int v = 0; v < GEMM_NV; v++) {
            const int64_t at = g * GEMM_NR + 16 * v;
            sum[v] = fv_fma(fv_load(w->scale + at), fv_sub(fv_add(even[v], odd[v]), fv_mul(fv_load(w->zero + at), all)), sum[v]);
        }
    }
    for (int v = 0; v < GEMM_NV; v++) fv_store(y + 16 * v, sum[v]);
}

static void nbits_panel(float *to, const fy_nbits *w) {
    for (int64_t k = 0; k < w->k; k += 2)
        for (int v = 0; v < GEMM_NV; v++) {
            const int64_t at = k / w->block * GEMM_NR + 16 * v;
            const fv zero = fv_load(w->zero + at), scale = fv_load(w->scale + at);
            fv a, b;
            nbits_pair(w, w->w + 16 * v, k, &a, &b);
            fv_store(to + k * GEMM_NR + 16 * v, fv_mul(fv_sub(a, zero), scale));
            if (k + 1 < w->k) fv_store(to + (k + 1) * GEMM_NR + 16 * v, fv_mul(fv_sub(b, zero), scale));
        }
}
