/* SPDX-License-Identifier: Apache-2.0
 * bf16.h - C = act(A B + bias + add) of operands rounded to bfloat16, sums in f32 (body, compiled once for each instruction set): for CPUs
 * without a fast dot product of bfloat16. The product of two bfloat16 is exact in f32, so this is the f32 product of rounded operands.
 * B comes as pairs (k, k + 1) of a column in 32 bits and is widened by a shift and a mask: in place for a few rows, which wait for memory,
 * else a piece of a panel once for all rows. A is held as floats that were rounded. */

/* To nearest even. As the instructions of AVX-512 BF16 do: NaN becomes quiet, what is below the normal numbers becomes 0. */
FV_CALLED fv bf16_round(fv x) {
    iv b = fv_bits(x), top = iv_set1((int)0xffff0000u);
    iv near = iv_and(iv_add(b, iv_add(iv_set1(0x7fff), iv_and(iv_shr(b, 16), iv_set1(1)))), top);
    fv y = fv_select(fv_isnan(x), iv_bits(iv_and(iv_or(b, iv_set1(0x400000)), top)), iv_bits(near));
    return fv_select(fv_lt(fv_abs(x), fv_set1(0x1p-126f)), iv_bits(iv_and(b, iv_set1((int)0x80000000u))), y);
}

static void bf16_rows(void *to, const float *x, int64_t n) {
    float *y = to;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) fv_store(y + i, bf16_round(fv_load(x + i)));
    if (i < n) fv_store_n(y + i, bf16_round(fv_load_n(x + i, (int)(n - i))), (int)(n - i));
    if (n % 2) y[n] = 0;
}

#if GEMM_MR == 1
#define BF16_FEW 1                        /* rows up to which B is widened where it is used */
#define BF16_ROWS(X) X(0)
#else
#define BF16_FEW 4
#define BF16_ROWS(X) X(0) X(1) X(2) X(3)
#endif
#define BF16_LOW(x) iv_bits(iv_shl(fv_bits(x), 16))
#define BF16_HIGH(x) iv_bits(iv_and(fv_bits(x), mask))
#define BF16_BEGIN(i) fv s##i = fv_zero(); GEMM_SECOND(fv t##i = fv_zero();)
#define BF16_STEP(i) if (ROWS > i) { fv w = fv_set1(a[i * row]), z = fv_set1(a[i * row + 1]); s##i = fv_fma(z, x1, fv_fma(w, x0, s##i)); GEMM_SECOND(t##i = fv_fma(z, y1, fv_fma(w, y0, t##i));) }

FY_INLINE void bf16_few(const int ROWS, const gemm_place *p) {
    BF16_ROWS(BF16_BEGIN)
    const iv mask = iv_set1((int)0xffff0000u);
    const float *a = p->a, *b = p->b;
    const int64_t row = p->a_row;
    for (int64_t k = 0; k < p->kc; k += 2, a += 2, b += GEMM_NR) {
        fv x = fv_load(b), x0 = BF16_LOW(x), x1 = BF16_HIGH(x);
        GEMM_SECOND(fv y = fv_load(b + 16); fv y0 = BF16_LOW(y); fv y1 = BF16_HIGH(y);)
        __builtin_prefetch(b + GEMM_AHEAD);
        GEMM_SECOND(__builtin_prefetch(b + GEMM_AHEAD + 16);)
        BF16_ROWS(BF16_STEP)
    }
    float sums[BF16_FEW * GEMM_NR];
    BF16_ROWS(GEMM_KEEP)
    gemm_put_rows(p, ROWS, sums);
}

#define BF16_CASE(i) case i + 1: bf16_few(i + 1, p); break;
static void bf16_few_rows(int rows, const gemm_place *p) {
    switch (rows) { BF16_ROWS(BF16_CASE) default: break; }
}

static void bf16_widen(float *to, const float *b, int64_t kc) {
    const iv mask = iv_set1((int)0xffff0000u);
    for (int64_t k = 0; k < kc; k += 2, b += GEMM_NR, to += 2 * GEMM_NR)
        for (int i = 0; i < GEMM_NR; i += 16) {
            fv x = fv_load(b + i);
            fv_store(to + i, BF16_LOW(x));
            fv_store(to + GEMM_NR + i, BF16_HIGH(x));
        }
}

/* Rows of one panel, a piece of k. */
static void bf16_panel(const fy_gemm_bf16 *g, gemm_place *p, int64_t row, int64_t row_end, int64_t at, int64_t k, float *room) {
    int64_t tiles = row_end - row <= BF16_FEW ? 1 : (row_end - row + GEMM_MR - 1) / GEMM_MR, lines = (p->kc / 2 * GEMM_NV + tiles - 1) / tiles, blocks = (p->kc + GEMM_BLOCK - 1) / GEMM_BLOCK;
    const float *pairs = (const float *)(const void *)(g->b + at * g->k + k * GEMM_NR), *next = pairs + g->k / 2 * GEMM_NR;
    p->b = pairs;
    p->bias = g->e.bias ? g->e.bias + at : NULL;
    p->cols = g->n - at < GEMM_NR ? (int)(g->n - at) : GEMM_NR;
    p->ahead = tiles > 2 && at + GEMM_NR < g->n ? (int)((lines + blocks - 1) / blocks) : 0;
    if (row_end - row > BF16_FEW) {
        bf16_widen(room, pairs, p->kc);
        p->b = room;
    }
    for (int64_t t = 0, r = row; t < tiles; t++) {
        int rows = (int)((row_end - r) / (tiles - t) + ((row_end - r) % (tiles - t) != 0));
        p->a = (const float *)(const void *)((const char *)g->a + r * g->a_row) + k;
        p->c = g->c + r * g->c_row + at;
        p->add = g->e.add ? g->e.add + r * g->c_row + at : NULL;
        p->next = p->ahead ? next + t * lines * 16 : NULL;
        if (p->b == room) gemm_tile(rows, p);
        else bf16_few_rows(rows, p);
        r += rows;
    }
}

static void gemm_bf16(const fy_gemm_bf16 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end) {
    float room[FY_GEMM_KC * GEMM_NR];
    for (int64_t k = 0; k < g->k || (k == 0 && g->k == 0); k += FY_GEMM_KC) {
        int64_t kc = g->k - k < FY_GEMM_KC ? g->k - k : FY_GEMM_KC;
        gemm_place p = {.a_row = g->a_row / (int64_t)sizeof(float), .c_row = g->c_row, .kc = kc, .first = k == 0, .last = k + kc >= g->k, .clamp = g->e.act == FY_ACT_CLAMP,
                        .lo = g->e.p[0], .hi = g->e.p[1]};
        for (int64_t j = panel; j < panel_end; j++) bf16_panel(g, &p, row, row_end, j * GEMM_NR, k, room);
    }
}
