/* SPDX-License-Identifier: Apache-2.0
 * gemm.h - C = act(A B + bias + add) over packed panels of B (body, compiled once for each instruction set).
 * Tiles of up to GEMM_MR rows by GEMM_NV vectors stay in registers over a piece of k; A is read in place, one value broadcast at a time.
 * Rows are split into tiles of nearly equal height, so that 49 rows are 13 + 12 + 12 + 12 and not 14 + 14 + 14 + 7.
 * Source: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008; Van Zee and van de Geijn, "BLIS", 2015. */

#if GEMM_MR == 14
#define GEMM_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#elif GEMM_MR == 6
#define GEMM_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5)
#else
#define GEMM_ROWS(X) X(0) X(1) X(2) X(3)
#endif
#define GEMM_NR (16 * GEMM_NV)

/* What a tile needs besides its place. `cols` < GEMM_NR in the last panel. */
typedef struct gemm_place { const float *a, *b, *bias, *add; float *c; int64_t a_row, c_row, kc; int cols; bool first, last, clamp; float lo, hi; } gemm_place;

#if GEMM_NV == 2
#define GEMM_SECOND(x) x
#else
#define GEMM_SECOND(x)
#endif

FY_INLINE fv gemm_partial(const float *c, int at, int cols, bool first) {
    return first || cols <= at ? fv_zero() : cols >= at + 16 ? fv_load(c + at) : fv_load_n(c + at, cols - at);
}

FY_INLINE void gemm_put(const gemm_place *p, float *c, const float *add, fv x, int at) {
    int n = p->cols - at;
    if (n <= 0) return;
    if (p->last) {
        if (p->bias) x = fv_add(x, n >= 16 ? fv_load(p->bias + at) : fv_load_n(p->bias + at, n));
        if (add) x = fv_add(x, n >= 16 ? fv_load(add + at) : fv_load_n(add + at, n));
        if (p->clamp) x = fv_min(fv_set1(p->hi), fv_max(fv_set1(p->lo), x));    /* NaN stays: it is the second operand each time */
    }
    if (n >= 16) fv_store(c + at, x);
    else fv_store_n(c + at, x, n);
}

#define GEMM_BEGIN(i) fv s##i = fv_zero(); GEMM_SECOND(fv t##i = fv_zero();) \
    if (ROWS > i && !p->first) { s##i = gemm_partial(p->c + i * p->c_row, 0, p->cols, false); GEMM_SECOND(t##i = gemm_partial(p->c + i * p->c_row, 16, p->cols, false);) }
#define GEMM_STEP(i) if (ROWS > i) { fv w = fv_set1(a[i * row]); s##i = fv_fma(w, x, s##i); GEMM_SECOND(t##i = fv_fma(w, y, t##i);) }
#define GEMM_END(i) if (ROWS > i) { gemm_put(p, p->c + i * p->c_row, p->add ? p->add + i * p->c_row : NULL, s##i, 0); \
    GEMM_SECOND(gemm_put(p, p->c + i * p->c_row, p->add ? p->add + i * p->c_row : NULL, t##i, 16);) }

FY_INLINE void gemm_rows(const int ROWS, const gemm_place *p) {
    GEMM_ROWS(GEMM_BEGIN)
    const float *a = p->a, *b = p->b;
    const int64_t row = p->a_row;
    for (int64_t k = 0; k < p->kc; k++, a++, b += GEMM_NR) {
        fv x = fv_load(b);
        GEMM_SECOND(fv y = fv_load(b + 16);)
        GEMM_ROWS(GEMM_STEP)
    }
    GEMM_ROWS(GEMM_END)
}

#define GEMM_CASE(i) case i + 1: gemm_rows(i + 1, p); break;
static void gemm_tile(int rows, const gemm_place *p) {
    switch (rows) { GEMM_ROWS(GEMM_CASE) default: break; }
}

#define GEMM_CHUNK (256 / GEMM_NR)        /* panels that stay in the second-level cache while rows pass by: 512 KiB */
#define GEMM_APART (FY_GEMM_KC + 16)      /* rows of A in the first-level cache: not a multiple of its 4 KiB ways apart */

/* Rows whose distance maps them onto few sets of the cache, or that are read more than a few times, are copied together first. */
FY_INLINE void gemm_copy(float *to, const float *from, int64_t row, int rows, int64_t kc) {
    for (int i = 0; i < rows; i++) __builtin_memcpy(to + i * GEMM_APART, from + i * row, (size_t)kc * sizeof *to);
}

static void gemm_chunk(const fy_gemm_f32 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end, int64_t k, int64_t kc) {
    float room[GEMM_MR * GEMM_APART];
    int64_t tiles = (row_end - row + GEMM_MR - 1) / GEMM_MR;
    bool copies = panel_end - panel > 1 && g->a_row % 1024 == 0;
    gemm_place p = {.a_row = copies ? GEMM_APART : g->a_row, .c_row = g->c_row, .kc = kc, .first = k == 0, .last = k + kc >= g->k, .clamp = g->e.act == FY_ACT_CLAMP,
                    .lo = g->e.p[0], .hi = g->e.p[1]};
    for (int64_t t = 0, r = row; t < tiles; t++) {
        int rows = (int)((row_end - r) / (tiles - t) + ((row_end - r) % (tiles - t) != 0));
        p.a = g->a + r * g->a_row + k;
        if (copies) {
            gemm_copy(room, p.a, g->a_row, rows, kc);
            p.a = room;
        }
        for (int64_t j = panel; j < panel_end; j++) {
            int64_t at = j * GEMM_NR;
            p.b = g->b + at * g->k + k * GEMM_NR;
            p.bias = g->e.bias ? g->e.bias + at : NULL;
            p.cols = g->n - at < GEMM_NR ? (int)(g->n - at) : GEMM_NR;
            p.c = g->c + r * g->c_row + at;
            p.add = g->e.add ? g->e.add + r * g->c_row + at : NULL;
            gemm_tile(rows, &p);
        }
        r += rows;
    }
}

static void gemm_f32(const fy_gemm_f32 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end) {
    for (int64_t k = 0; k < g->k || (k == 0 && g->k == 0); k += FY_GEMM_KC)
        for (int64_t j = panel; j < panel_end; j += GEMM_CHUNK)
            gemm_chunk(g, row, row_end, j, panel_end - j < GEMM_CHUNK ? panel_end : j + GEMM_CHUNK, k, g->k - k < FY_GEMM_KC ? g->k - k : FY_GEMM_KC);
}
