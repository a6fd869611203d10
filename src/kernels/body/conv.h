/* SPDX-License-Identifier: Apache-2.0
 * conv.h - direct convolution in the c16 layout (body, compiled once for each instruction set).
 * A tile is up to GEMM_MR neighbouring pixels of an output row by GEMM_NV blocks of 16 output channels, in registers over the whole
 * reduction; weights are packed in the order in which it goes: group of output blocks, input block, tap, input channel, output lane.
 * Source of the scheme: Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures", 2018. */

typedef struct conv_place { const float *x, *w, *bias, *add; float *y; int64_t step; bool second; } conv_place;

#define CONV_BEGIN(i) fv s##i = fv_zero(); GEMM_SECOND(fv t##i = fv_zero();)
#define CONV_STEP(i) if (ROWS > i) { fv a = fv_set1(x[i * step]); s##i = fv_fma(a, w0, s##i); GEMM_SECOND(t##i = fv_fma(a, w1, t##i);) }
#define CONV_END(i) if (ROWS > i) { conv_put(c, p->y + i * 16, p->add ? p->add + i * 16 : NULL, p->bias, s##i); \
    GEMM_SECOND(if (p->second) conv_put(c, p->y + c->y_block + i * 16, p->add ? p->add + c->y_block + i * 16 : NULL, p->bias ? p->bias + 16 : NULL, t##i);) }

FY_INLINE void conv_put(const fy_conv_c16 *c, float *y, const float *add, const float *bias, fv x) {
    if (bias) x = fv_add(x, fv_load(bias));
    if (add) x = fv_add(x, fv_load(add));
    if (c->e.act == FY_ACT_CLAMP) x = fv_min(fv_set1(c->e.p[1]), fv_max(fv_set1(c->e.p[0]), x));
    fv_store(y, x);
}

FY_INLINE void conv_rows(const int ROWS, const fy_conv_c16 *c, const conv_place *p) {
    GEMM_ROWS(CONV_BEGIN)
    const float *w = p->w;
    const int64_t step = p->step;
    for (int64_t b = 0; b < c->in_blocks; b++)
        for (int64_t i = 0; i < c->kernel[0]; i++)
            for (int64_t j = 0; j < c->kernel[1]; j++) {
                const float *x = p->x + b * c->x_block + i * c->tap[0] + j * c->tap[1];
                for (int64_t k = 0; k < c->lanes; k++, x++, w += GEMM_NR) {
                    fv w0 = fv_load(w);
                    GEMM_SECOND(fv w1 = fv_load(w + 16);)
                    GEMM_ROWS(CONV_STEP)
                }
            }
    GEMM_ROWS(CONV_END)
}

#define CONV_CASE(i) case i + 1: conv_rows(i + 1, c, p); break;
static void conv_tile(int rows, const fy_conv_c16 *c, const conv_place *p) {
    switch (rows) { GEMM_ROWS(CONV_CASE) default: break; }
}

static void conv_c16(const fy_conv_c16 *c, int64_t group, int64_t row, int64_t row_end) {
    int64_t first = group * GEMM_NV;
    conv_place p = {.w = c->w + group * c->w_group, .bias = c->e.bias ? c->e.bias + group * GEMM_NR : NULL, .step = c->x_step[1], .second = first + 1 < c->out_blocks};
    for (int64_t r = row; r < row_end; r++) {
        int64_t at = 0, wide = c->pixels - r * c->out[1] < c->out[1] ? c->pixels - r * c->out[1] : c->out[1], tiles = (wide + GEMM_MR - 1) / GEMM_MR;
        for (int64_t t = 0; t < tiles; t++) {
            int n = (int)((wide - at) / (tiles - t) + ((wide - at) % (tiles - t) != 0));
            int64_t y = first * c->y_block + (r * c->out[1] + at) * 16;
            p.x = c->x + r * c->x_step[0] + at * c->x_step[1];
            p.y = c->y + y;
            p.add = c->e.add ? c->e.add + y : NULL;
            conv_tile(n, c, &p);
            at += n;
        }
    }
}

/* One filter for each channel. A tile is 4 pixels of one block; taps run over rows and columns. */
static void depthwise_c16(const fy_conv_c16 *c, int64_t block, int64_t row, int64_t row_end) {
    const float *w = c->w + block * c->w_group;
    const int64_t step = c->x_step[1];
    fv bias = c->e.bias ? fv_load(c->e.bias + block * 16) : fv_zero();
    for (int64_t r = row; r < row_end; r++) {
        const float *x0 = c->x + block * c->x_block + r * c->x_step[0];
        float *y = c->y + block * c->y_block + r * c->out[1] * 16;
        const float *add = c->e.add ? c->e.add + block * c->y_block + r * c->out[1] * 16 : NULL;
        int64_t q = 0;
        for (; q + 4 <= c->out[1]; q += 4) {
            fv a = bias, b = bias, d = bias, e = bias;
            for (int64_t i = 0; i < c->kernel[0]; i++)
                for (int64_t j = 0; j < c->kernel[1]; j++) {
                    const float *x = x0 + q * step + i * c->tap[0] + j * c->tap[1];
                    fv k = fv_load(w + (i * c->kernel[1] + j) * 16);
                    a = fv_fma(fv_load(x), k, a);
                    b = fv_fma(fv_load(x + step), k, b);
                    d = fv_fma(fv_load(x + 2 * step), k, d);
                    e = fv_fma(fv_load(x + 3 * step), k, e);
                }
            conv_put(c, y + q * 16, add ? add + q * 16 : NULL, NULL, a);
            conv_put(c, y + q * 16 + 16, add ? add + q * 16 + 16 : NULL, NULL, b);
            conv_put(c, y + q * 16 + 32, add ? add + q * 16 + 32 : NULL, NULL, d);
            conv_put(c, y + q * 16 + 48, add ? add + q * 16 + 48 : NULL, NULL, e);
        }
        for (; q < c->out[1]; q++) {
            fv a = bias;
            for (int64_t i = 0; i < c->kernel[0]; i++)
                for (int64_t j = 0; j < c->kernel[1]; j++)
                    a = fv_fma(fv_load(x0 + q * step + i * c->tap[0] + j * c->tap[1]), fv_load(w + (i * c->kernel[1] + j) * 16), a);
            conv_put(c, y + q * 16, add ? add + q * 16 : NULL, NULL, a);
        }
    }
}
