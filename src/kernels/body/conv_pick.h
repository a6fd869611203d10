/* SPDX-License-Identifier: Apache-2.0
 * conv_pick.h - convolution in groups of any number of channels, in the c16 layout (body, compiled once for each instruction set).
 * The lanes of an output block belong to several groups, so that each reads other input channels: a table says which lane of an input block each
 * takes at each step of the reduction, and pixels are permuted by it on their way to the product. */

#if GEMM_MR == 14
#define PICK_EACH GEMM_ROWS
#define PICK_SIZES(X) X(14) X(7) X(4) X(2) X(1)      /* pixels of a tile: not one for each number, as they are large */
#elif GEMM_MR == 6
#define PICK_EACH DEPTH_EACH             /* the table takes registers, too */
#define PICK_SIZES(X) X(5) X(2) X(1)
#else
#define PICK_EACH GEMM_ROWS
#define PICK_SIZES(X) X(1)
#endif
#ifdef FV_NEAR
#define PICK_IS_NEAR p->near
#else
#define PICK_IS_NEAR false
#define fv_near fv_pick
#endif
#define PICK_BEGIN(i) fv s##i = fv_zero();
#define PICK_STEP(i) if (PIXELS > i) s##i = fv_fma(NEAR ? fv_near(fv_load(x + i * step), at) : fv_pick(fv_load(x + i * step), at), k, s##i);
#define PICK_END(i) if (PIXELS > i) conv_put(c, y + i * 16, add ? add + i * 16 : NULL, c->e.bias, s##i); else (void)s##i;

FY_INLINE void pick_pixels(const int PIXELS, const bool NEAR, const fy_pick_c16 *p, const float *x0, float *y, const float *add) {
    const fy_conv_c16 *c = &p->c;
    const int64_t step = c->x_step[1];
    const float *w = c->w;
    PICK_EACH(PICK_BEGIN)
    for (int64_t d = 0; d < c->in_blocks; d++) {
        const int32_t *lane = p->lane;
        for (int64_t r = 0; r < p->runs; r++) {
            const int64_t n = p->run[r].n;
            for (int64_t i = 0; i < c->kernel[0]; i++)
                for (int64_t j = 0; j < c->kernel[1]; j++) {
                    const float *x = x0 + d * p->x_depth + p->run[r].block * c->x_block + i * c->tap[0] + j * c->tap[1];
                    for (int64_t e = 0; e < n; e++, w += 16) {
                        fv k = fv_load(w);
                        fp at = fv_places(lane + e * 16);
                        PICK_EACH(PICK_STEP)
                    }
                }
            lane += n * 16;
        }
    }
    PICK_EACH(PICK_END)
}

#define PICK_TILE(n) if (left >= n) { if (PICK_IS_NEAR) pick_pixels(n, true, p, x, y, add); else pick_pixels(n, false, p, x, y, add); at += n; continue; }
static void conv_pick_c16(const fy_pick_c16 *p, int64_t row, int64_t row_end) {
    const fy_conv_c16 *c = &p->c;
    for (int64_t r = row; r < row_end; r++)
        for (int64_t at = 0; at < c->out[1];) {
            const int64_t left = c->out[1] - at, to = (r * c->out[1] + at) * 16;
            const float *x = c->x + r * c->x_step[0] + at * c->x_step[1], *add = c->e.add ? c->e.add + to : NULL;
            float *y = c->y + to;
            PICK_SIZES(PICK_TILE)
        }
}
