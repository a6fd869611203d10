/* SPDX-License-Identifier: Apache-2.0
 * rows.h - softmax and normalisation of rows (body, compiled once for each instruction set). */

/* y = e^(x - max) / sum of it, over rows of n; a row of -inf alone gives NaN, as in NumPy. */
static void softmax_rows(float *y, const float *x, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; r++, x += n, y += n) {
        fv m = fv_set1(-__builtin_inff()), s = fv_zero();
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) m = fv_nan_max(fv_load(x + i), m);
        float top = fv_hmax(m);
        for (int64_t k = i; k < n; k++) top = x[k] > top || x[k] != x[k] ? x[k] : top;
        fv mm = fv_set1(top);
        for (i = 0; i + 16 <= n; i += 16) {
            fv e = fv_exp_below(fv_sub(fv_load(x + i), mm));
            s = fv_add(s, e);
            fv_store(y + i, e);
        }
        float sum = fv_sum(s);
        if (i < n) {
            int left = (int)(n - i);
            float last[16];
            fv_store_n(y + i, fv_exp_below(fv_sub(fv_load_n(x + i, left), mm)), left);
            fv_store(last, fv_load_n(y + i, left));
            sum += fv_sum(fv_load(last));
        }
        fv scale = fv_set1(1.0f / sum);
        for (i = 0; i + 16 <= n; i += 16) fv_store(y + i, fv_mul(fv_load(y + i), scale));
        if (i < n) fv_store_n(y + i, fv_mul(fv_load_n(y + i, (int)(n - i)), scale), (int)(n - i));
    }
}

/* y = (x - mean) / sqrt(var + eps) * scale + bias over rows of n; `rms`: no mean. scale, bias: n values, or NULL. mean, inv: one for each
 * row, or NULL. The variance is that of the differences, not of squares minus a square. */
static void norm_rows(float *y, const float *x, int64_t rows, int64_t n, const float *scale, const float *bias, float eps, bool rms, float *mean_out, float *inv_out) {
    for (int64_t r = 0; r < rows; r++, x += n, y += n) {
        fv s0 = fv_zero(), s1 = fv_zero();
        float mean = 0, var = 0;
        int64_t i = 0;
        if (!rms) {
            for (; i + 32 <= n; i += 32) {
                s0 = fv_add(s0, fv_load(x + i));
                s1 = fv_add(s1, fv_load(x + i + 16));
            }
            mean = fv_sum(fv_add(s0, s1));
            for (; i < n; i++) mean += x[i];
            mean /= (float)n;
        }
        fv m = fv_set1(mean);
        s0 = s1 = fv_zero();
        for (i = 0; i + 32 <= n; i += 32) {
            fv a = fv_sub(fv_load(x + i), m), b = fv_sub(fv_load(x + i + 16), m);
            s0 = fv_fma(a, a, s0);
            s1 = fv_fma(b, b, s1);
        }
        var = fv_sum(fv_add(s0, s1));
        for (; i < n; i++) var += (x[i] - mean) * (x[i] - mean);
        float inv = 1.0f / __builtin_sqrtf(var / (float)n + eps);
        fv k = fv_set1(inv);
        for (i = 0; i < n; i += 16) {
            int left = n - i < 16 ? (int)(n - i) : 16;
            fv v = fv_mul(fv_sub(left == 16 ? fv_load(x + i) : fv_load_n(x + i, left), m), k);
            if (scale) v = fv_mul(v, left == 16 ? fv_load(scale + i) : fv_load_n(scale + i, left));
            if (bias) v = fv_add(v, left == 16 ? fv_load(bias + i) : fv_load_n(bias + i, left));
            if (left == 16) fv_store(y + i, v);
            else fv_store_n(y + i, v, left);
        }
        if (mean_out) mean_out[r] = mean;
        if (inv_out) inv_out[r] = inv;
    }
}
