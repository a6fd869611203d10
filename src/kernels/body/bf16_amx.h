/* SPDX-License-Identifier: Apache-2.0
 * bf16_amx.h - the product of bfloat16 in tiles of AMX, over all of k at once: 16 rows by 16 columns, two by two of them. Lengths that tiles suit
 * badly go the way of the dot product; that depends on k alone, so that a result's bits do. */
#include "kernels/body/amx.h"

/* fetch: B comes from far away, and is asked for AMX_AHEAD bytes before it is used. */
#define AMX_AHEAD 4096
FY_INLINE void amx_rows(const bool TWO, const fy_gemm_bf16 *g, int64_t row, int rows, int64_t panel, int step, bool fetch) {
    float sums[2 * AMX_ROWS * GEMM_NR] __attribute__((aligned(64)));
    const char *a = (const char *)g->a + row * g->a_row, *second = a + rows * g->a_row, *b = (const char *)(g->b + panel * GEMM_NR * g->k);
    amx_begin(TWO);
    for (int64_t k = 0; k < 2 * g->k; k += step, b += step / 4 * 2 * AMX_BYTES) {
        for (int l = 0; fetch && l < step / 2; l++) __builtin_prefetch(b + AMX_AHEAD + l * 64, 0, 2);
        AMX_STEP("tdpbf16ps", TWO, a + k, second + k, g->a_row, b);
    }
    amx_end(TWO, sums, rows);
    const int64_t at = panel * GEMM_NR, to = row * g->c_row + at;
    gemm_place p = {.c = g->c + to, .add = g->e.add ? g->e.add + to : NULL, .bias = g->e.bias ? g->e.bias + at : NULL, .c_row = g->c_row, .cols = g->n - at < GEMM_NR ? (int)(g->n - at) : GEMM_NR,
                    .first = true, .last = true, .clamp = g->e.act == FY_ACT_CLAMP, .lo = g->e.p[0], .hi = g->e.p[1]};
    gemm_put_rows(&p, rows, sums);
    if (!TWO) return;
    p.c += rows * g->c_row;
    if (p.add) p.add += rows * g->c_row;
    gemm_put_rows(&p, rows, sums + rows * GEMM_NR);
}

/* Rows [row, row_end) of the panels, `rows` to a tile. */
static void amx_panels(const fy_gemm_bf16 *g, int64_t row, int64_t row_end, int rows, int64_t panel, int64_t panel_end, int step, bool fetch) {
    if (row == row_end) return;
    amx_shape(rows, step);
    for (int64_t r = row; r < row_end; r += 2 * rows)
        for (int64_t j = panel; j < panel_end; j++) {
            if (r + rows < row_end) amx_rows(true, g, r, rows, j, step, fetch && r == row);
            else amx_rows(false, g, r, rows, j, step, fetch && r == row);
        }
}

static void amx_gemm_bf16(const fy_gemm_bf16 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end) {
    const int step = amx_step(2 * g->k);
    if (step < 32) {
        dot_gemm_bf16(g, row, row_end, panel, panel_end);
        return;
    }
    const int64_t n = row_end - row, tiles = (n + AMX_ROWS - 1) / AMX_ROWS, most = tiles ? (n + tiles - 1) / tiles : 1, whole = n / most * most;
    const int64_t stay = 1 + (1 << 19) / (g->k * GEMM_NR * 2);               /* panels in the second-level cache while rows pass by */
    for (int64_t chunk = panel; chunk < panel_end; chunk += stay) {
        const int64_t end = chunk + stay < panel_end ? chunk + stay : panel_end;
        amx_panels(g, row, row + whole, (int)most, chunk, end, step, true);
        amx_panels(g, row + whole, row_end, (int)(n - whole), chunk, end, step, false);
    }
    amx_release();
}
