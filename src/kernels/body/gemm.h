/* SPDX-License-Identifier: Apache-2.0
 * gemm.h - C = act(A B + bias + add) over packed panels of B (body, compiled once for each instruction set).
 * Tiles of up to GEMM_MR rows by GEMM_NV vectors stay in registers over a piece of k; A is read in place, one value broadcast at a time.
 * Rows are split into tiles of nearly equal height, so that 49 rows are 13 + 12 + 12 + 12 and not 14 + 14 + 14 + 7.
 * Source: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008; Van Zee and van de Geijn, "BLIS", 2015. */

/* Sums of earlier pieces are added behind: they are on their way while the tile is worked on. */
#define GEMM_BEGIN(i) fv s##i = fv_zero(); GEMM_SECOND(fv t##i = fv_zero();) \
    if (ROWS > i) { __builtin_prefetch(p->c + i * p->c_row, 1, 3); GEMM_SECOND(__builtin_prefetch(p->c + i * p->c_row + 16, 1, 3);) }
#define GEMM_A(i) (i < 3 ? a0 : i < 6 ? a1 : i < 9 ? a2 : i < 12 ? a3 : a4)[i % 3 * row]
#define GEMM_STEP(i) if (ROWS > i) { fv w = fv_set1(GEMM_A(i)); s##i = fv_fma(w, x, s##i); GEMM_SECOND(t##i = fv_fma(w, y, t##i);) }
/* A whole tile's sums leave it by steps that all of them take: what a step depends on is asked once, and a tile's code stays short. */
#define GEMM_BIAS(i) if (ROWS > i) { s##i = fv_add(s##i, u); GEMM_SECOND(t##i = fv_add(t##i, v);) }
#define GEMM_ADD(i) if (ROWS > i) { s##i = fv_add(s##i, fv_load(from)); GEMM_SECOND(t##i = fv_add(t##i, fv_load(from + 16));) from += p->c_row; }
#define GEMM_CLAMP(i) if (ROWS > i) { s##i = fv_min(hi, fv_max(lo, s##i)); GEMM_SECOND(t##i = fv_min(hi, fv_max(lo, t##i));) }
#define GEMM_STORE(i) if (ROWS > i) { fv_store(to, s##i); GEMM_SECOND(fv_store(to + 16, t##i);) to += p->c_row; }

#define GEMM_AHEAD (32 * GEMM_NR)         /* b comes into the first-level cache this many floats before it is used */
#define GEMM_BLOCK 8

/* Rows of A are addressed from every third: five pointers and two steps, which stay in registers because FY_KEEP hides that they are related. */
FY_INLINE void gemm_rows(const int ROWS, const gemm_place *p) {
    GEMM_ROWS(GEMM_BEGIN)
    const int64_t row = p->a_row;
    const float *b = p->b, *a0 = p->a, *a1 = a0 + 3 * row, *a2 = a1 + 3 * row, *a3 = a2 + 3 * row, *a4 = a3 + 3 * row, *next = p->next;
    for (int64_t k = 0; k < p->kc;) {
        int64_t end = p->kc - k < GEMM_BLOCK ? p->kc : k + GEMM_BLOCK;
        for (int i = 0; i < p->ahead; i++, next += 16) __builtin_prefetch(next, 0, 2);
        for (; k < end; k++, b += GEMM_NR) {
            fv x = fv_load(b);
            GEMM_SECOND(fv y = fv_load(b + 16);)
            __builtin_prefetch(b + GEMM_AHEAD);
            GEMM_SECOND(__builtin_prefetch(b + GEMM_AHEAD + 16);)
            GEMM_ROWS(GEMM_STEP)
            a0++; FY_KEEP(a0);
            if (ROWS > 3) { a1++; FY_KEEP(a1); }
            if (ROWS > 6) { a2++; FY_KEEP(a2); }
            if (ROWS > 9) { a3++; FY_KEEP(a3); }
            if (ROWS > 12) { a4++; FY_KEEP(a4); }
        }
    }
    if (p->cols < GEMM_NR) {
        float sums[GEMM_MR * GEMM_NR];
        GEMM_ROWS(GEMM_KEEP)
        gemm_put_rows(p, ROWS, sums);
        return;
    }
    const float *from = p->first ? NULL : p->c;
    for (int pass = 0; pass < 2; pass++, from = p->last ? p->add : NULL) {       /* sums of earlier pieces and the bias, then what is added: one code */
        if (from) { GEMM_ROWS(GEMM_ADD) }
        if (pass || !p->last || !p->bias) continue;
        const fv u = fv_load(p->bias);
        GEMM_SECOND(const fv v = fv_load(p->bias + 16);)
        GEMM_ROWS(GEMM_BIAS)
    }
    if (p->last && p->clamp) {
        const fv lo = fv_set1(p->lo), hi = fv_set1(p->hi);
        GEMM_ROWS(GEMM_CLAMP)
    }
    float *to = p->c;
    GEMM_ROWS(GEMM_STORE)
}

#define GEMM_CASE(i) case i + 1: gemm_rows(i + 1, p); break;
static void gemm_tile(int rows, const gemm_place *p) {
    switch (rows) { GEMM_ROWS(GEMM_CASE) default: break; }
}

/* One row by several panels: a sum waits for the one before it, so that some go side by side, and memory gives more where more are asked for. What
 * lies `near`, in a cache, is there in time by itself. */
#if defined(FV_MANY) && GEMM_NV == 2
#define GEMM_WIDE 8
#define GEMM_BESIDE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#else
#define GEMM_WIDE 4
#define GEMM_BESIDE(X) X(0) X(1) X(2) X(3)
#endif
#define GEMV_BEGIN(i) fv s##i = fv_zero(); GEMM_SECOND(fv t##i = fv_zero();) const float *b##i = p->b + i * panel;
#define GEMV_AHEAD 512                   /* floats: 2 KiB of each stream are on their way to the second-level cache */
#define GEMV_STEP(i) if (WIDE > i) { \
    if (FETCH) { __builtin_prefetch(b##i + GEMV_AHEAD, 0, 2); GEMM_SECOND(__builtin_prefetch(b##i + GEMV_AHEAD + 16, 0, 2);) } \
    s##i = fv_fma(a, fv_load(b##i), s##i); GEMM_SECOND(t##i = fv_fma(a, fv_load(b##i + 16), t##i);) b##i += GEMM_NR; }
#define GEMV_END(i) if (WIDE > i) { fv_store(sums + i * GEMM_NR, s##i); GEMM_SECOND(fv_store(sums + i * GEMM_NR + 16, t##i);) }

FY_INLINE void gemm_beside(const int WIDE, const bool FETCH, const gemm_place *p, int64_t panel) {
    GEMM_BESIDE(GEMV_BEGIN)
    for (int64_t k = 0; k < p->kc; k++) {
        fv a = fv_set1(p->a[k]);
        GEMM_BESIDE(GEMV_STEP)
    }
    float sums[GEMM_WIDE * GEMM_NR];
    GEMM_BESIDE(GEMV_END)
    gemm_place q = *p;
    for (int i = 0; i < WIDE; i++) {
        gemm_put_rows(&q, 1, sums + i * GEMM_NR);
        q.c += GEMM_NR;
        if (q.add) q.add += GEMM_NR;
        if (q.bias) q.bias += GEMM_NR;
    }
}

/* How many of `left` whole panels were done. */
static int gemm_row(const gemm_place *p, int64_t panel, bool near, int64_t left) {
    const bool wide = GEMM_WIDE > 4 && !near && left >= GEMM_WIDE;
    if (wide) gemm_beside(GEMM_WIDE, true, p, panel);
    else if (left >= 4) gemm_beside(4, GEMM_WIDE == 4, p, panel);
    else return 0;
    return wide ? GEMM_WIDE : 4;
}

/* Panels that stay in the second-level cache while rows pass by, 256 KiB; where rows are copied for each chunk, 1 MiB. */
#define GEMM_CHUNK(copies) ((copies ? 512 : 128) / GEMM_NR)
#define GEMM_APART (FY_GEMM_KC + 16)      /* rows of A in the first-level cache: not a multiple of its 4 KiB ways apart */

/* Rows whose distance maps them onto few sets of the cache are copied together first. */
FY_INLINE void gemm_copy(float *to, const float *from, int64_t row, int rows, int64_t kc) {
    for (int64_t k = 0; k < kc; k += 16)
        for (int i = 0; i < rows; i++) {
            int n = kc - k < 16 ? (int)(kc - k) : 16;
            if (n == 16) fv_store(to + i * GEMM_APART + k, fv_load(from + i * row + k));
            else fv_store_n(to + i * GEMM_APART + k, fv_load_n(from + i * row + k, n), n);
        }
}

/* `next`: the piece of a panel that is wanted after these, of `next_panels` whose rows are k long; NULL: none. */
static void gemm_chunk(const fy_gemm_f32 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end, int64_t k, int64_t kc, const float *next, int64_t next_panels, bool copies) {
    float room[GEMM_MR * GEMM_APART];
    int64_t tiles = (row_end - row + GEMM_MR - 1) / GEMM_MR, lines = (kc * GEMM_NV + tiles - 1) / tiles, blocks = (kc + GEMM_BLOCK - 1) / GEMM_BLOCK;
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
            p.ahead = tiles > 1 && next && j - panel < next_panels ? (int)((lines + blocks - 1) / blocks) : 0;
            p.next = p.ahead ? next + (j - panel) * GEMM_NR * g->k + t * lines * 16 : NULL;
            int beside = rows == 1 ? gemm_row(&p, GEMM_NR * g->k, g->near, (panel_end < g->n / GEMM_NR ? panel_end : g->n / GEMM_NR) - j) : 0;
            if (beside) j += beside - 1;
            else gemm_tile(rows, &p);
        }
        r += rows;
    }
}

static void gemm_f32(const fy_gemm_f32 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end) {
    const bool copies = panel_end - panel > 1 && g->a_row % 1024 == 0 && row_end - row > 1;
    const int64_t chunk = GEMM_CHUNK(copies);
    if (row_end - row == 1) {                /* each panel from its beginning to its end */
        for (int64_t j = panel; j < panel_end; j += GEMM_WIDE)
            for (int64_t k = 0; k < g->k || (k == 0 && g->k == 0); k += FY_GEMM_KC)
                gemm_chunk(g, row, row_end, j, j + GEMM_WIDE < panel_end ? j + GEMM_WIDE : panel_end, k, g->k - k < FY_GEMM_KC ? g->k - k : FY_GEMM_KC, NULL, 0, false);
        return;
    }
    for (int64_t k = 0; k < g->k || (k == 0 && g->k == 0); k += FY_GEMM_KC)
        for (int64_t j = panel; j < panel_end; j += chunk) {
            int64_t after = j + chunk, kc = g->k - k < FY_GEMM_KC ? g->k - k : FY_GEMM_KC, left = panel_end - after;
            const float *next = left > 0 ? g->b + after * GEMM_NR * g->k + k * GEMM_NR : k + kc < g->k ? g->b + panel * GEMM_NR * g->k + (k + kc) * GEMM_NR : NULL;
            gemm_chunk(g, row, row_end, j, left > 0 ? after : panel_end, k, kc, next, left > 0 ? left : panel_end - panel, copies);
        }
}
