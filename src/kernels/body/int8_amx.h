/* SPDX-License-Identifier: Apache-2.0
 * int8_amx.h - the product of bytes in tiles of AMX: up to 16 pixels by 16 columns, two by two of them. Sums are exact: what tiles suit badly goes
 * the way of VNNI, for the same bits. */
#include "kernels/body/amx.h"

#define AMX_FEW 4                        /* pixels below which weights take longer to load than to use */

FY_INLINE void amx_pixels(const bool TWO, const fy_product_u8s8 *p, const dot_place *at, int rows, int step, int32_t *sums) {
    const int64_t apart = p->x_step[1];
    const int8_t *w = at->w;
    amx_begin(TWO);
    for (int64_t b = 0; b < p->in_blocks; b++)
        for (int64_t i = 0; i < p->kernel[0]; i++)
            for (int64_t j = 0; j < p->kernel[1]; j++) {
                const int64_t tap = b * p->x_block + i * p->tap[0] + j * p->tap[1];
                for (int64_t k = 0; k < p->lanes; k += step, w += step * DOT_NR) AMX_STEP("tdpbusd", TWO, at[0].x + tap + k, at[1].x + tap + k, apart, w);
            }
    amx_end(TWO, sums);
    for (int t = 0; t < 1 + TWO; t++) dot_finish(p, at + t, rows, sums + t * AMX_ROWS * DOT_NR, rows, 0);
}

/* The tiles of `rows` pixels among those that rows of the result are cut into, each `most` wide but the last. */
static void amx_tiles(const fy_product_u8s8 *p, int64_t group, int64_t row, int64_t row_end, int rows, int most, int step) {
    int32_t sums[2 * AMX_ROWS * DOT_NR] __attribute__((aligned(64)));
    dot_place at[2];
    int n = 0;
    amx_shape(rows, step);
    for (int64_t r = row; r < row_end; r++) {
        const int64_t first = r * p->out[1], wide = p->pixels - first < p->out[1] ? p->pixels - first : p->out[1];
        for (int64_t done = 0; done < wide; done += most) {
            if ((wide - done < most ? wide - done : most) != rows) continue;
            at[n] = (dot_place){.x = p->x + r * p->x_step[0] + done * p->x_step[1], .w = p->w + group * p->w_group, .column = group * DOT_NR, .pixel = first + done};
            at[n].y = group * DOT_NV * p->y_block + at[n].pixel * p->y_pixel;
            if (++n < 2) continue;
            amx_pixels(true, p, at, rows, step, sums);
            n = 0;
        }
    }
    if (n) {
        at[1] = at[0];
        amx_pixels(false, p, at, rows, step, sums);
    }
}

static void amx_product_u8s8(const fy_product_u8s8 *p, int64_t group, int64_t row, int64_t row_end) {
    const int step = amx_step(p->lanes);
    const int64_t tiles = (p->out[1] + AMX_ROWS - 1) / AMX_ROWS, most = (p->out[1] + tiles - 1) / tiles;
    int64_t rest[3] = {most, p->out[1] - (tiles - 1) * most, (p->pixels - 1) % p->out[1] % most + 1};              /* of the last tiles: of a row, of the last row */
    if (step < 8 || p->out[1] < AMX_FEW) {
        product_u8s8(p, group, row, row_end);
        return;
    }
    for (int i = 0; i < 3; i++) {
        bool done = false;
        for (int k = 0; k < i; k++) done = done || rest[k] == rest[i];
        if (!done && (i < 2 || row_end * p->out[1] > p->pixels - p->out[1])) amx_tiles(p, group, row, row_end, (int)rest[i], (int)most, step);
    }
    amx_release();
}

#define AMX_PEAK 4                       /* products in flight */
static double amx_dot_peak(int64_t n) {
    int8_t zero[AMX_ROWS * AMX_BYTES] = {0};
    amx_shape(AMX_ROWS, AMX_BYTES);
    amx_begin(true);
    AMX_LOAD(4, zero, AMX_BYTES);
    AMX_LOAD(6, zero, AMX_BYTES);
    for (int64_t i = 0; i < n / 4; i++) {
        AMX_DOT("tdpbusd", 0, 4, 6);
        AMX_DOT("tdpbusd", 1, 4, 6);
        AMX_DOT("tdpbusd", 2, 4, 6);
        AMX_DOT("tdpbusd", 3, 4, 6);
    }
    amx_release();
    return (double)(n / 4) * AMX_PEAK * 2 * AMX_ROWS * AMX_ROWS * AMX_BYTES;
}
