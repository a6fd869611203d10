/* SPDX-License-Identifier: Apache-2.0
 * bf16_dot.h - the same product where the CPU multiplies pairs of bfloat16 (body, for AVX-512 BF16): A is held as pairs as well, one broadcast
 * to all columns at a time. The instruction rounds each pair's sum as its maker likes and takes what is below the normal numbers for 0.
 * Source: Intel Architecture Instruction Set Extensions Reference, VDPBF16PS, VCVTNEPS2BF16. */

static void dot_bf16_rows(void *to, const float *x, int64_t n) {
    char *y = to;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256bh v = _mm512_cvtneps_pbh(fv_load(x + i));
        __builtin_memcpy(y + 2 * i, &v, 32);
    }
    if (i < n) {
        __m256bh v = _mm512_cvtneps_pbh(fv_load_n(x + i, (int)(n - i)));
        __builtin_memcpy(y + 2 * i, &v, (size_t)(n - i + 1) / 2 * 4);            /* a pair with 0 */
    }
}

#define DOT_KC 1024                       /* as many bytes of a row and of a panel as FY_GEMM_KC floats */
#define DOT_BLOCK 16                      /* values of k after which the next chunk is asked for */
#define DOT_AHEAD (32 * GEMM_NR)          /* b comes into the first-level cache this many pairs before it is used */
#define DOT_CHUNK (128 / GEMM_NR)         /* panels that stay in the second-level cache while rows pass by: 256 KiB */

typedef struct dot_place { gemm_place p; const char *a; int64_t a_row; } dot_place;

FY_INLINE __m512bh dot_pair(const char *a) {
    int x;
    __builtin_memcpy(&x, a, sizeof x);
    return (__m512bh)_mm512_set1_epi32(x);
}

#define DOT_BEGIN(i) fv s##i = fv_zero(), t##i = fv_zero();
#define DOT_A(i) (i < 3 ? a0 : i < 6 ? a1 : i < 9 ? a2 : i < 12 ? a3 : a4) + i % 3 * row
#define DOT_STEP(i) if (ROWS > i) { __m512bh w = dot_pair(DOT_A(i)); s##i = _mm512_dpbf16_ps(s##i, w, x); t##i = _mm512_dpbf16_ps(t##i, w, y); }

FY_INLINE void dot_rows(const int ROWS, const dot_place *d) {
    GEMM_ROWS(DOT_BEGIN)
    const gemm_place *p = &d->p;
    const int64_t row = d->a_row;
    const float *b = p->b;
    const char *a0 = d->a, *a1 = a0 + 3 * row, *a2 = a1 + 3 * row, *a3 = a2 + 3 * row, *a4 = a3 + 3 * row;
    const float *next = p->next;
    for (int64_t k = 0; k < p->kc;) {
        const int64_t end = p->kc - k < DOT_BLOCK ? p->kc : k + DOT_BLOCK;
        for (int i = 0; i < p->ahead; i++, next += 16) __builtin_prefetch(next, 0, 2);
        for (; k < end; k += 2, b += GEMM_NR) {
            __m512bh x = (__m512bh)fv_load(b), y = (__m512bh)fv_load(b + 16);
            __builtin_prefetch(b + DOT_AHEAD);
            __builtin_prefetch(b + DOT_AHEAD + 16);
            GEMM_ROWS(DOT_STEP)
            a0 += 4, a1 += 4, a2 += 4, a3 += 4, a4 += 4;
            FY_KEEP(a0); FY_KEEP(a1); FY_KEEP(a2); FY_KEEP(a3); FY_KEEP(a4);
        }
    }
    float sums[GEMM_MR * GEMM_NR];
    GEMM_ROWS(GEMM_KEEP)
    gemm_put_rows(p, ROWS, sums);
}

#define DOT_CASE(i) case i + 1: dot_rows(i + 1, d); break;
static void dot_tile(int rows, const dot_place *d) {
    for (int i = 0; i < rows; i++)           /* what the sums go to is on its way meanwhile */
        for (int at = 0; at < GEMM_NR; at += 16) __builtin_prefetch(d->p.c + i * d->p.c_row + at, 1, 3);
    switch (rows) { GEMM_ROWS(DOT_CASE) default: break; }
}

static void dot_gemm_bf16(const fy_gemm_bf16 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end) {
    const int64_t tiles = (row_end - row + GEMM_MR - 1) / GEMM_MR;
    for (int64_t k = 0; k < g->k || (k == 0 && g->k == 0); k += DOT_KC) {
        const int64_t kc = g->k - k < DOT_KC ? g->k - k : DOT_KC, lines = tiles ? (kc + tiles - 1) / tiles : 0, blocks = (kc + DOT_BLOCK - 1) / DOT_BLOCK;
        dot_place d = {.a_row = g->a_row, .p = {.c_row = g->c_row, .kc = kc, .first = k == 0, .last = k + kc >= g->k, .clamp = g->e.act == FY_ACT_CLAMP, .lo = g->e.p[0], .hi = g->e.p[1]}};
        for (int64_t chunk = panel; chunk < panel_end; chunk += DOT_CHUNK) {
            /* the next chunk, or the first one of the next piece of k */
            const bool more = chunk + DOT_CHUNK < panel_end;
            const int64_t next = more ? chunk + DOT_CHUNK : panel, next_k = more ? k : k + kc, next_end = tiles > 1 && next_k < g->k ? panel_end : next;
            for (int64_t t = 0, r = row; t < tiles; t++) {
                int rows = (int)((row_end - r) / (tiles - t) + ((row_end - r) % (tiles - t) != 0));
                d.a = (const char *)g->a + r * g->a_row + 2 * k;
                for (int64_t j = chunk; j < panel_end && j < chunk + DOT_CHUNK; j++) {
                    int64_t at = j * GEMM_NR, then = next + j - chunk;
                    d.p.b = (const float *)(const void *)(g->b + at * g->k + k * GEMM_NR);
                    d.p.ahead = then < next_end ? (int)((lines + blocks - 1) / blocks) : 0;
                    d.p.next = (const float *)(const void *)(g->b + then * GEMM_NR * g->k + next_k * GEMM_NR) + t * lines * 16;
                    d.p.bias = g->e.bias ? g->e.bias + at : NULL;
                    d.p.cols = g->n - at < GEMM_NR ? (int)(g->n - at) : GEMM_NR;
                    d.p.c = g->c + r * g->c_row + at;
                    d.p.add = g->e.add ? g->e.add + r * g->c_row + at : NULL;
                    dot_tile(rows, &d);
                }
                r += rows;
            }
        }
    }
}
