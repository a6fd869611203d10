/* SPDX-License-Identifier: Apache-2.0
 * pool.h - c16 pixels: scaled, blended, and a pooling window over them (body). */

static void scale_c16(float *y, const float *x, const float *scale, int64_t n) {
    fv s = fv_load(scale);
    for (int64_t i = 0; i < n; i++) fv_store(y + i * 16, fv_mul(fv_load(x + i * 16), s));
}

/* y = sum of n pixels times w, for blocks of 16 channels */
static void blend_c16(float *y, int64_t y_block, const float *const *x, int64_t x_block, const float *w, int n, int64_t blocks) {
    for (int64_t b = 0; b < blocks; b++) {
        fv s = fv_zero();
        for (int i = 0; i < n; i++) s = fv_fma(fv_load(x[i] + b * x_block), fv_set1(w[i]), s);
        fv_store(y + b * y_block, s);
    }
}

#define POOL_EACH for (int64_t h = 0; h < w->n[0]; h++) for (int64_t i = 0; i < w->n[1]; i++) for (int64_t j = 0; j < w->n[2]; j++)
#define POOL_AT fv_load(x + h * w->step[0] + i * w->step[1] + j * w->step[2])
static void pool_max_c16(float *y, const float *x, const fy_pool_c16 *w) {
    for (int64_t o = 0; o < w->pixels; o++, x += w->next, y += 16) {
        fv m = fv_set1(-__builtin_inff());
        POOL_EACH m = fv_nan_max(POOL_AT, m);
        fv_store(y, m);
    }
}

static void pool_sum_c16(float *y, const float *x, const fy_pool_c16 *w, float scale, int p) {
    for (int64_t o = 0; o < w->pixels; o++, x += w->next, y += 16) {
        fv s = fv_zero();
        if (p == 2) POOL_EACH { fv v = POOL_AT; s = fv_fma(v, v, s); }
        else if (p == 1) POOL_EACH s = fv_add(s, fv_abs(POOL_AT));
        else {                           /* in four chains: one would wait for itself */
            fv t = s, u = s, v = s;
            const int64_t next = w->step[2], wide = w->n[2];
            for (int64_t i = 0; i < w->n[0] * w->n[1]; i++) {
                const float *at = x + i / w->n[1] * w->step[0] + i % w->n[1] * w->step[1], *rest = at + wide / 4 * 4 * next;
                for (; at < rest; at += 4 * next) {
                    s = fv_add(s, fv_load(at));
                    t = fv_add(t, fv_load(at + next));
                    u = fv_add(u, fv_load(at + 2 * next));
                    v = fv_add(v, fv_load(at + 3 * next));
                }
                if (wide % 4 > 0) s = fv_add(s, fv_load(at));
                if (wide % 4 > 1) t = fv_add(t, fv_load(at + next));
                if (wide % 4 > 2) u = fv_add(u, fv_load(at + 2 * next));
            }
            s = fv_add(fv_add(s, t), fv_add(u, v));
        }
        fv_store(y, fv_mul(s, fv_set1(scale)));
    }
}
