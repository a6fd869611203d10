/* SPDX-License-Identifier: Apache-2.0
 * int8.h - products and convolutions of bytes (body, compiled once for each instruction set, and once more with VNNI).
 * A tile is up to DOT_MR pixels by DOT_NV vectors of 16 columns, its sums in registers over the whole reduction; four neighbouring lanes of x
 * are one dword, spread to all columns, as the dot products of VNNI take them. No sum saturates on any instruction set. */

#include "kernels/body/called.h"

#if DOT_MR == 14
#define DOT_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#elif DOT_MR == 8
#define DOT_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#elif DOT_MR == 3
#define DOT_ROWS(X) X(0) X(1) X(2)
#else
#define DOT_ROWS(X) X(0)
#endif
#if DOT_NV == 2
#define DOT_SECOND(x) x
#else
#define DOT_SECOND(x)
#endif
#define DOT_NR (16 * DOT_NV)

FY_INLINE fv dot_clamp(fv x, float lo, float hi) { return fv_min(fv_set1(hi), fv_max(fv_set1(lo), x)); }

/* Sums of 16 columns from `column` on, at element `at` of y; of the pixel with this addend. */
FV_CALLED void dot_put(const fy_product_u8s8 *p, iv sum, int64_t column, int64_t at, int32_t row) {
    const fy_requant *q = &p->q;
    int64_t left = p->columns - column;
    int n = left < 16 ? (int)left : 16;
    if (n <= 0) return;
    sum = iv_add(iv_add(sum, iv_load(q->start + column)), iv_set1(row));
    if (q->put == FY_PUT_I32) {
        iv_store_n((int32_t *)p->y + at, sum, n);
        return;
    }
    fv x = fv_mul(iv_to_float(sum), fv_load(q->scale + column));
    if (q->bias) x = fv_add(x, fv_load(q->bias + column));
    if (q->put == FY_PUT_F32) {
        const float *add = q->add;
        if (add) x = fv_add(x, n < 16 ? fv_load_n(add + at, n) : fv_load(add + at));
        x = dot_clamp(x, q->lo, q->hi);
        if (n < 16) fv_store_n((float *)p->y + at, x, n);
        else fv_store((float *)p->y + at, x);
        return;
    }
    iv r = fv_to_int(dot_clamp(x, q->lo, q->hi));
    if (q->again) {
        const uint8_t *add = q->add;
        x = fv_mul(iv_to_float(r), fv_set1(q->k));
        if (add) {
            iv b = iv_xor(n < 16 ? iv_load_u8_n(add + at, n) : iv_load_u8(add + at), iv_set1(q->add_flip));
            x = fv_add(x, fv_mul(iv_to_float(iv_sub(b, iv_set1(q->add_zero))), fv_set1(q->k_add)));
        }
        if (q->add_row) x = fv_add(x, fv_load(q->add_row + column));
        r = iv_add(fv_to_int(dot_clamp(x, q->lo2, q->hi2)), iv_set1(q->zero2));
    } else r = iv_add(r, iv_set1(q->zero));
    if (n < 16) iv_store_u8_n((uint8_t *)p->y + at, r, n);
    else iv_store_u8((uint8_t *)p->y + at, r);
}

/* ahead: weights of the next group, fetched meanwhile a line for each step; they are read once in a run and come from far away. loops, by: over blocks,
 * rows and columns of taps, and how far apart they are; the innermost goes over blocks where there is one tap. last: steps in the last block, if fewer. */
typedef struct dot_place { const uint8_t *x; const int8_t *w, *ahead; int64_t apart, column, pixel, y, loops[3], by[3], last; } dot_place;

FY_INLINE uint32_t dot_lanes(const uint8_t *x, int n) {
    uint32_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint32_t)x[i] << 8 * i;
    return v;
}
FY_INLINE uint32_t dot_four(const uint8_t *x) { uint32_t v; __builtin_memcpy(&v, x, sizeof v); return v; }

#ifdef DOT_STORE_4
/* How four vectors of sums become 64 bytes: cut to a byte's own limits, then to narrower ones; what is stored as s8 is u8 until its highest bit is turned over. */
typedef struct dot_store { __m512i zero, lo, hi, flip; bool plain; } dot_store;

FY_INLINE dot_store dot_store_of(const fy_requant *q) {
    const int zero = q->again ? q->zero2 : q->zero, lo = zero + iv_of_float(q->again ? q->lo2 : q->lo), hi = zero + iv_of_float(q->again ? q->hi2 : q->hi), flip = lo < 0 ? 128 : 0;
    return (dot_store){.zero = _mm512_set1_epi16((short)(zero + flip)), .lo = _mm512_set1_epi8((char)(lo + flip)), .hi = _mm512_set1_epi8((char)(hi + flip)),
                       .flip = _mm512_set1_epi8((char)flip), .plain = !zero && !lo && hi == 255};
}

/* The usual one, whose sums by its factors stay within 32 bits. */
FY_INLINE bool dot_residual_is(const fy_requant *q) { return q->add && !q->add_flip && !q->add_row && q->small && q->k < 0x1p20f && q->k_add < 0x1p20f; }

FY_INLINE __m512i dot_store_4(const dot_store *d, iv a, iv b, iv c, iv e) {
    if (d->plain) return iv_pack_4(a, b, c, e);
    return _mm512_xor_si512(_mm512_min_epu8(_mm512_max_epu8(iv_pack_4_to(a, b, c, e, d->zero), d->lo), d->hi), d->flip);
}
#endif

/* Whole vectors stored as bytes: what dot_put does, with what does not change from pixel to pixel held in registers. */
#ifdef DOT_STORE_4
#define DOT_FOUR(x, f, by) x##0 = f(x##0, by); x##1 = f(x##1, by); x##2 = f(x##2, by); x##3 = f(x##3, by);
#define DOT_EACH(x, f, y) x##0 = f(x##0, y##0); x##1 = f(x##1, y##1); x##2 = f(x##2, y##2); x##3 = f(x##3, y##3);
#define DOT_TURN(x, f, y) x##0 = f(y##0); x##1 = f(y##1); x##2 = f(y##2); x##3 = f(y##3);
#define DOT_SCALE(biased, near)                                                                                             \
    DOT_TURN(x, iv_to_float, r)                                                                                             \
    DOT_FOUR(x, fv_mul, scale)                                                                                              \
    if (biased) { DOT_FOUR(x, fv_add, fv_load(q->bias + column)) }                                                          \
    if (!(near)) DOT_CLAMP(x, q->lo, q->hi);                                                                                \
    DOT_TURN(r, fv_to_int, x)
#define DOT_CLAMP(x, lo, hi) do { DOT_FOUR(x, fv_max, fv_set1(lo)) DOT_FOUR(x, fv_min, fv_set1(hi)) } while (0)

/* Four pixels at a time; near: no value leaves 32 bits, so that they are clamped as whole numbers, where that costs less. RESIDUAL: of u8 in blocks, and
 * nothing else that is rare. */
FY_INLINE void dot_fours(const bool RESIDUAL, const fy_product_u8s8 *p, int64_t pixel, int64_t column, int64_t at, int rows, const int32_t *sums) {
    const fy_requant *q = &p->q;
    const dot_store store = dot_store_of(q);
    const bool again = RESIDUAL || q->again, near = RESIDUAL || q->small, near2 = RESIDUAL || (near && !q->add_row && q->k < 0x1p20f && q->k_add < 0x1p20f);
    const iv start = iv_load(q->start + column), least = fv_to_int(fv_set1(q->lo)), most = fv_to_int(fv_set1(q->hi));
    const iv flip = iv_set1(q->add_flip), add_zero = iv_set1(q->add_zero);
    const fv scale = fv_load(q->scale + column), k = fv_set1(q->k), k_add = fv_set1(q->k_add);
    const int64_t by = RESIDUAL ? 16 : p->y_pixel;
    for (int i = 0; i < rows; i += 4, sums += 4 * DOT_NR, at += 4 * by) {
        const int n = rows - i < 4 ? rows - i : 4, i1 = n > 1 ? 1 : 0, i2 = n > 2 ? 2 : 0, i3 = n > 3 ? 3 : 0;      /* fewer: the first pixel again */
        iv r0 = iv_load(sums), r1 = iv_load(sums + i1 * DOT_NR), r2 = iv_load(sums + i2 * DOT_NR), r3 = iv_load(sums + i3 * DOT_NR);
        fv x0, x1, x2, x3;
        DOT_FOUR(r, iv_add, start)
        if (!RESIDUAL && p->row) {
            const int32_t *row = p->row + pixel + i;
            const iv row0 = iv_set1(row[0]), row1 = iv_set1(row[i1]), row2 = iv_set1(row[i2]), row3 = iv_set1(row[i3]);
            DOT_EACH(r, iv_add, row)
        }
        DOT_SCALE(!RESIDUAL && q->bias, near)
        if (again) {
            DOT_FOUR(r, _mm512_max_epi32, least)
            DOT_FOUR(r, _mm512_min_epi32, most)
            DOT_TURN(x, iv_to_float, r)
            DOT_FOUR(x, fv_mul, k)
            if (RESIDUAL || q->add) {
                const uint8_t *add = (const uint8_t *)q->add + at;
                iv b0 = iv_load_u8(add), b1 = iv_load_u8(add + i1 * by), b2 = iv_load_u8(add + i2 * by), b3 = iv_load_u8(add + i3 * by);
                fv a0, a1, a2, a3;
                if (!RESIDUAL) { DOT_FOUR(b, iv_xor, flip) }
                DOT_FOUR(b, iv_sub, add_zero)
                DOT_TURN(a, iv_to_float, b)
                DOT_FOUR(a, fv_mul, k_add)
                DOT_EACH(x, fv_add, a)
            }
            if (!RESIDUAL && q->add_row) { DOT_FOUR(x, fv_add, fv_load(q->add_row + column)) }
            if (!near2) DOT_CLAMP(x, q->lo2, q->hi2);
            DOT_TURN(r, fv_to_int, x)
        }
        const __m512i v = _mm512_permutexvar_epi32(dot_dwords(), dot_store_4(&store, r0, r1, r2, r3));
        if (by == 16 && n == 4) _mm512_storeu_si512((uint8_t *)p->y + at, v);
        else iv_scatter_4((uint8_t *)p->y + at, by, n, v);
    }
}

FY_NOINLINE static void dot_residual(const fy_product_u8s8 *p, int64_t column, int64_t at, int rows, const int32_t *sums) { dot_fours(true, p, 0, column, at, rows, sums); }

FY_NOINLINE static void dot_bytes(const fy_product_u8s8 *p, int64_t pixel, int64_t column, int64_t at, int rows, const int32_t *sums) {
    const fy_requant *q = &p->q;
    if (q->again && dot_residual_is(q) && !p->row && p->y_pixel == 16) dot_residual(p, column, at, rows, sums);
    else dot_fours(false, p, pixel, column, at, rows, sums);
}
#else
FY_NOINLINE static void dot_bytes(const fy_product_u8s8 *p, int64_t pixel, int64_t column, int64_t at, int rows, const int32_t *sums) {
    const fy_requant *q = &p->q;
    const iv start = iv_load(q->start + column), zero = iv_set1(q->again ? q->zero2 : q->zero), flip = iv_set1(q->add_flip), add_zero = iv_set1(q->add_zero);
    const fv scale = fv_load(q->scale + column), lo = fv_set1(q->lo), hi = fv_set1(q->hi), lo2 = fv_set1(q->lo2), hi2 = fv_set1(q->hi2), k = fv_set1(q->k), k_add = fv_set1(q->k_add);
    const uint8_t *add = q->add;
    for (int i = 0; i < rows; i++) {
        const int64_t to = at + i * p->y_pixel;
        iv r = iv_add(iv_load(sums + i * DOT_NR), start);
        if (p->row) r = iv_add(r, iv_set1(p->row[pixel + i]));
        fv x = fv_mul(iv_to_float(r), scale);
        if (q->bias) x = fv_add(x, fv_load(q->bias + column));
        x = fv_min(hi, fv_max(lo, x));
        if (q->again) {
            x = fv_mul(fv_round(x), k);
            if (add) x = fv_add(x, fv_mul(iv_to_float(iv_sub(iv_xor(iv_load_u8(add + to), flip), add_zero)), k_add));
            if (q->add_row) x = fv_add(x, fv_load(q->add_row + column));
            x = fv_min(hi2, fv_max(lo2, x));
        }
        iv_store_u8((uint8_t *)p->y + to, iv_add(fv_to_int(x), zero));
    }
}
#endif

/* The sums of a tile, whose pixels follow each other in y. */
FY_NOINLINE static void dot_finish(const fy_product_u8s8 *p, const dot_place *at, int rows, const int32_t *sums) {
    for (int v = 0; v < DOT_NV; v++, sums += 16) {
        const int64_t column = at->column + 16 * v, y = at->y + v * p->y_block;
        if (p->q.put == FY_PUT_BYTE && column + 16 <= p->columns) dot_bytes(p, at->pixel, column, y, rows, sums);
        else
            for (int i = 0; i < rows; i++) dot_put(p, iv_load(sums + i * DOT_NR), column, y + i * p->y_pixel, p->row ? p->row[at->pixel + i] : 0);
    }
}

#ifdef DOT_NOW
/* What makes bytes of the sums of a tile while they are in registers, which they fill: constants lie in memory. Pixels follow each other by 16 bytes in a
 * block, or columns do in a row: two pixels are stored as two halves. */
typedef struct dot_now {
    iv start[2], order;
    fv scale[2];
    dot_store store;
    int64_t pixel, half, block;
    const uint8_t *add;                  /* from y to the residual */
    bool    again;
    int32_t least, most, add_zero;
    float   k, k_add;
} dot_now;

/* half: of 16 columns, the last ones. */
static bool dot_now_begin(dot_now *d, const fy_product_u8s8 *p, int64_t column, bool half) {
    const fy_requant *q = &p->q;
    const bool blocks = p->y_pixel == 16;
    if (q->put != FY_PUT_BYTE || !q->small || p->row || column + DOT_NR > p->columns + (half ? 16 : 0) || (!blocks && p->y_block != 16) || (q->again && !dot_residual_is(q))) return false;
    for (int v = 0; v < 2; v++) {
        d->start[v] = iv_load(q->start + column + 16 * v);
        d->scale[v] = fv_load(q->scale + column + 16 * v);
    }
    d->order = blocks ? dot_dwords() : _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15);
    d->store = dot_store_of(q);
    d->pixel = p->y_pixel;
    d->half = blocks ? p->y_block : p->y_pixel;
    d->block = p->y_block;
    d->again = q->again;
    d->add = q->add;
    d->least = iv_of_float(q->lo);
    d->most = iv_of_float(q->hi);
    d->add_zero = q->add_zero;
    d->k = q->k;
    d->k_add = q->k_add;
    return true;
}

FY_INLINE iv dot_now_16(const dot_now *d, iv sum, int v) { return fv_to_int(fv_mul(iv_to_float(sum), d->scale[v])); }
FY_INLINE void dot_now_two(const dot_now *d, uint8_t *y, iv s0, iv t0, iv s1, iv t1) {
    const __m512i v = _mm512_permutexvar_epi32(d->order, dot_store_4(&d->store, dot_now_16(d, s0, 0), dot_now_16(d, s1, 0), dot_now_16(d, t0, 1), dot_now_16(d, t1, 1)));
    _mm256_storeu_si256((__m256i *)(void *)y, _mm512_castsi512_si256(v));
    _mm256_storeu_si256((__m256i *)(void *)(y + d->half), _mm512_extracti64x4_epi64(v, 1));
}
FY_INLINE void dot_now_one(const dot_now *d, uint8_t *y, iv s, iv t) {
    const iv a = dot_now_16(d, s, 0), b = dot_now_16(d, t, 1);
    const __m512i v = _mm512_permutexvar_epi32(dot_dwords(), dot_store_4(&d->store, a, b, a, b));
    _mm_storeu_si128((__m128i *)(void *)y, _mm512_castsi512_si128(v));
    _mm_storeu_si128((__m128i *)(void *)(y + d->block), _mm512_extracti32x4_epi32(v, 1));
}
FY_INLINE void dot_now_four(const dot_now *d, uint8_t *y, int n, iv a, iv b, iv c, iv e) {
    const __m512i v = _mm512_permutexvar_epi32(dot_dwords(), dot_store_4(&d->store, dot_now_16(d, a, 0), dot_now_16(d, b, 0), dot_now_16(d, c, 0), dot_now_16(d, e, 0)));
    if (n == 4) _mm512_storeu_si512(y, v);
    else iv_scatter_4(y, 16, n, v);
}
FY_INLINE iv dot_now_again(const dot_now *d, iv sum, int v, const uint8_t *add) {
    const iv r = _mm512_min_epi32(_mm512_max_epi32(dot_now_16(d, sum, v), iv_set1(d->least)), iv_set1(d->most));
    const fv a = fv_mul(iv_to_float(iv_sub(iv_load_u8(add), iv_set1(d->add_zero))), fv_set1(d->k_add));
    return fv_to_int(fv_add(fv_mul(iv_to_float(r), fv_set1(d->k)), a));
}
FY_INLINE void dot_again_two(const dot_now *d, uint8_t *y, const uint8_t *add, iv s0, iv t0, iv s1, iv t1) {
    const iv a = dot_now_again(d, s0, 0, add), b = dot_now_again(d, s1, 0, add + d->pixel);
    const iv c = dot_now_again(d, t0, 1, add + d->block), e = dot_now_again(d, t1, 1, add + d->block + d->pixel);
    const __m512i v = _mm512_permutexvar_epi32(d->order, dot_store_4(&d->store, a, b, c, e));
    _mm256_storeu_si256((__m256i *)(void *)y, _mm512_castsi512_si256(v));
    _mm256_storeu_si256((__m256i *)(void *)(y + d->half), _mm512_extracti64x4_epi64(v, 1));
}
FY_INLINE void dot_again_one(const dot_now *d, uint8_t *y, const uint8_t *add, iv s, iv t) {
    const iv a = dot_now_again(d, s, 0, add), b = dot_now_again(d, t, 1, add + d->block);
    const __m512i v = _mm512_permutexvar_epi32(dot_dwords(), dot_store_4(&d->store, a, b, a, b));
    _mm_storeu_si128((__m128i *)(void *)y, _mm512_castsi512_si128(v));
    _mm_storeu_si128((__m128i *)(void *)(y + d->block), _mm512_extracti32x4_epi32(v, 1));
}
#define DOT_AGAIN_LEAST 12               /* rows of tiles whose residuals are added in registers */
#define DOT_AGAIN_TWO(i, j)                                                                                                 \
    if (ROWS > j) dot_again_two(now, y, add, s##i, t##i, s##j, t##j);                                                       \
    else if (ROWS > i) dot_again_one(now, y, add, s##i, t##i);                                                              \
    y += two;                                                                                                               \
    add += two;
#define DOT_NOW_TWO(i, j)                                                                                                   \
    if (ROWS > j) dot_now_two(now, y, s##i, t##i, s##j, t##j);                                                              \
    else if (ROWS > i) dot_now_one(now, y, s##i, t##i);                                                                     \
    y += two;
#define DOT_NOW_FOUR(i, j, k, l) dot_now_four(now, y + i * 16, DOT_MR - i < 4 ? DOT_MR - i : 4, s##i, s##j, s##k, s##l);
#define DOT_FOURS(X) X(0, 1, 2, 3) X(4, 5, 6, 7) X(8, 9, 10, 11) X(12, 13, 13, 13)
#define DOT_PAIRS(X) X(0, 1) X(2, 3) X(4, 5) X(6, 7) X(8, 9) X(10, 11) X(12, 13)
#define DOT_NOW_START(v) now ? now->start[v] : qa_zero()
#else
typedef struct dot_now dot_now;
#define DOT_NOW_START(v) qa_zero()
#endif

#define DOT_BEGIN(i) qa s##i = begin; DOT_SECOND(qa t##i = begin2;)
#define DOT_STEP(i)                                                                                                         \
    if (ROWS > i) {                                                                                                         \
        qx a = qx_set(dot_four((i < MID ? x : second) + (i < MID ? i : i - MID) * step));                                  \
        s##i = qa_dot(s##i, a, w0);                                                                                         \
        DOT_SECOND(if (!NARROW) t##i = qa_dot(t##i, a, w1);)                                                                  \
    }
#define DOT_END(i) if (ROWS > i) { iv_store(sums + i * DOT_NR, qa_sum(s##i)); DOT_SECOND(iv_store(sums + i * DOT_NR + 16, qa_sum(t##i));) }
#define DOT_MID(rows) (((rows) + 1) / 2)

/* A tile of ROWS pixels, the second half of them `apart` from the first. The last lanes, fewer than four, are a step of their own. NARROW: of 16 columns. */
FY_INLINE void dot_rows(const int ROWS, const bool NARROW, const fy_product_u8s8 *p, const dot_place *at, const dot_now *now) {
#ifdef DOT_NOW
    if (ROWS < DOT_AGAIN_LEAST && now && now->again) now = NULL;
#endif
    const int MID = DOT_MID(ROWS);
    const qa begin = DOT_NOW_START(0);
    DOT_SECOND(const qa begin2 = DOT_NOW_START(1);)
    DOT_ROWS(DOT_BEGIN)
    const int8_t *w = at->w, *ahead = at->ahead ? at->ahead : w;
    const int64_t line = at->ahead ? 64 : 0;
    const uint8_t *from = at->x;
    int64_t apart = at->apart, step = p->x_step[1], four = p->lanes / 4, last = at->last, inner = at->loops[2];
    uint32_t ends[DOT_MR];
    for (int rest = (int)(p->lanes % 4);;) {
        const uint8_t *block = from;
        for (int64_t b = at->loops[0]; b > 0; b--, block += at->by[0]) {
            const uint8_t *row = block;
            for (int64_t i = at->loops[1]; i > 0; i--, row += at->by[1]) {
                const uint8_t *tap = row;
                for (int64_t j = inner; j > 0; j--, tap += at->by[2]) {
                    const uint8_t *x = tap, *second = tap + apart;
                    for (int64_t k = 0; k < four; k++, x += 4, second += 4, w += 4 * DOT_NR, ahead += line) {
                        __builtin_prefetch(ahead, 0, 2);
                        qw w0 = qw_load(w);
                        DOT_SECOND(qw w1 = NARROW ? w0 : qw_load(w + 64);)
                        DOT_ROWS(DOT_STEP)
                    }
                }
            }
        }
        if (last) {
            from += inner * at->by[2];
            inner = 1;
            four = last;
            last = 0;
            continue;
        }
        if (!rest) break;                /* there is one tap then */
        for (int r = 0; r < ROWS; r++) ends[r] = dot_lanes(from + four * 4 + (r < MID ? r * step : apart + (r - MID) * step), rest);
        from = (const uint8_t *)ends;
        apart = 4 * MID;
        step = 4;
        four = 1;
        rest = 0;
    }
#ifdef DOT_NOW
    uint8_t *y = (uint8_t *)p->y + at->y;
    if (NARROW) {
        DOT_FOURS(DOT_NOW_FOUR)
        return;
    }
    if (now) {
        const int64_t two = 2 * now->pixel;
        if (ROWS >= DOT_AGAIN_LEAST && now->again) {
            const uint8_t *add = now->add + at->y;
            DOT_PAIRS(DOT_AGAIN_TWO)
        } else { DOT_PAIRS(DOT_NOW_TWO) }
        return;
    }
#else
    (void)now;
    (void)NARROW;
#endif
    int32_t sums[DOT_MR * DOT_NR];
    DOT_ROWS(DOT_END)
    dot_finish(p, at, ROWS, sums);
}

#define DOT_CASE(i) case i + 1: dot_rows(i + 1, false, p, at, now); break;
static void dot_tile(int rows, const fy_product_u8s8 *p, const dot_place *at, const dot_now *now) {
    switch (rows) { DOT_ROWS(DOT_CASE) default: break; }
}
#ifdef DOT_NOW
FY_NOINLINE static void dot_half(const fy_product_u8s8 *p, const dot_place *at, const dot_now *now) { dot_rows(DOT_MR, true, p, at, now); }
#endif

static void product_u8s8(const fy_product_u8s8 *p, int64_t group, int64_t row, int64_t row_end) {
    dot_place at = {.w = p->w + group * p->w_group, .column = group * DOT_NR, .loops = {p->in_blocks, p->kernel[0], p->kernel[1]}, .by = {p->x_block, p->tap[0], p->tap[1]}};
    if (p->kernel[0] * p->kernel[1] == 1) {
        at.loops[0] = 1;
        at.loops[2] = p->in_blocks;
        at.by[2] = p->x_block;
        if (p->last && p->last < p->lanes && p->in_blocks > 1) {
            at.loops[2]--;
            at.last = p->last / 4;
        }
    }
    const int8_t *next = (group + 1) * DOT_NR < p->columns ? at.w + p->w_group : NULL;
    int64_t begun = 0;                                           /* tiles; each of the first DOT_NV fetches its share of the next group */
    const dot_now *now = NULL;
#ifdef DOT_NOW
    dot_now room;
    const bool half = at.column + 16 == p->columns && p->y_pixel == 16 && !p->q.again;
    if (dot_now_begin(&room, p, at.column, half)) now = &room;
#endif
    for (int64_t r = row; r < row_end; r++) {
        const int64_t first = r * p->out[1], wide = p->pixels - first < p->out[1] ? p->pixels - first : p->out[1], tiles = (wide + DOT_MR - 1) / DOT_MR;
        const bool two = 2 * wide <= DOT_MR && r + 1 < row_end && first + 2 * wide <= p->pixels;      /* short rows of the result: two as one tile */
        const int64_t least = two ? 2 * wide : tiles > 0 ? wide / tiles : 0, more = two ? 0 : wide - least * tiles;      /* so many tiles have a pixel more */
        for (int64_t t = 0, done = 0, n; t < tiles; t++, done += n) {
            n = least + (t < more);
            at.x = p->x + r * p->x_step[0] + done * p->x_step[1];
            at.apart = two ? p->x_step[0] : DOT_MID(n) * p->x_step[1];
            at.pixel = first + done;
            at.y = group * DOT_NV * p->y_block + at.pixel * p->y_pixel;
            at.ahead = next && begun < DOT_NV ? next + begun * (p->w_group / DOT_NV) : NULL;
            begun++;
#ifdef DOT_NOW
            if (half) {
                if (now && n == DOT_MR) dot_half(p, &at, now);
                else dot_tile((int)n, p, &at, NULL);
                continue;
            }
#endif
            dot_tile((int)n, p, &at, now);
        }
        r += two;
    }
}

/* ---- one filter for each channel -------------------------------------------------------------------------------------------- */

#ifdef DOT_QUADS
#define DOT_APART 14                     /* sums that wait to be stored together */
FY_NOINLINE static void depthwise_finish(const fy_product_u8s8 *p, const dot_place *at, int n, const int32_t *sums) {
    if (p->q.put == FY_PUT_BYTE) dot_bytes(p, at->pixel, at->column, at->y, n, sums);
    else
        for (int i = 0; i < n; i++) dot_put(p, iv_load(sums + i * DOT_NR), at->column, at->y + i * p->y_pixel, 0);
}

/* Three rows of up to 3 taps, stored as bytes: down a column of four results, so that each row of pixels is turned into quads once. `STEP`: from one result
 * to the next; where it is 1, a quad serves two of them, the weights moved by one. */
typedef struct depth_quads { __m512i a, b, c, d; } depth_quads;

FY_INLINE depth_quads depth_load(const int STEP, const uint8_t *x, const int64_t *at) {
    const __m512i a = quad_load(x), b = quad_load(x + at[0]);
    return STEP == 1 ? (depth_quads){.a = a, .b = b} : (depth_quads){a, b, quad_load(x + at[1]), quad_load(x + at[2])};
}

#define DEPTH_DOT(v, w, moved) do {                                                                                         \
        r0 = _mm512_dpbusd_epi32(r0, (v).a, w);                                                                             \
        r1 = STEP == 1 ? _mm512_dpbusd_epi32(r1, (v).a, moved) : _mm512_dpbusd_epi32(r1, (v).b, w);                         \
        r2 = _mm512_dpbusd_epi32(r2, STEP == 1 ? (v).b : (v).c, w);                                                         \
        r3 = STEP == 1 ? _mm512_dpbusd_epi32(r3, (v).b, moved) : _mm512_dpbusd_epi32(r3, (v).d, w);                         \
    } while (0)

FY_INLINE void depthwise_columns(const int STEP, const fy_product_u8s8 *p, const int8_t *w, int64_t column, int64_t row, int64_t row_end) {
    const fy_requant *q = &p->q;
    const dot_store store = dot_store_of(q);
    const bool biased = q->bias, near = q->small;
    const iv start = iv_load(q->start + column);
    const fv scale = fv_load(q->scale + column);
    const __m512i f0 = _mm512_loadu_si512(w), f1 = _mm512_loadu_si512(w + 64), f2 = _mm512_loadu_si512(w + 128);
    const __m512i s0 = _mm512_slli_epi32(f0, 8), s1 = _mm512_slli_epi32(f1, 8), s2 = _mm512_slli_epi32(f2, 8);
    for (int64_t i = 0; i < p->out[1]; i += 4) {
        const int n = p->out[1] - i < 4 ? (int)(p->out[1] - i) : 4;                    /* fewer: quads of results that are there */
        const int64_t at[3] = {STEP == 1 ? n > 2 ? 32 : 0 : n > 1 ? 32 : 0, n > 2 ? 64 : 0, n > 3 ? 96 : 0}, down = p->tap[0];
        const uint8_t *x = p->x + column / 16 * p->x_block + row * p->x_step[0] + i * STEP * 16;
        uint8_t *y = (uint8_t *)p->y + column / 16 * p->y_block + (row * p->out[1] + i) * 16;
        depth_quads v0 = depth_load(STEP, x, at), v1 = v0;
        if (STEP == 1) v1 = depth_load(STEP, x + down, at);
        for (int64_t r = row; r < row_end; r++, x += STEP * down, y += p->out[1] * 16) {
            iv r0 = start, r1 = start, r2 = start, r3 = start;
            fv x0, x1, x2, x3;
            DEPTH_DOT(v0, f0, s0);
            if (STEP == 2) v1 = depth_load(STEP, x + down, at);
            DEPTH_DOT(v1, f1, s1);
            v0 = v1;
            v1 = depth_load(STEP, x + 2 * down, at);
            DEPTH_DOT(v1, f2, s2);
            if (STEP == 2) v0 = v1;
            DOT_SCALE(biased, near)
            const __m512i bytes = _mm512_permutexvar_epi32(dot_dwords(), dot_store_4(&store, r0, r1, r2, r3));
            if (n == 4) _mm512_storeu_si512(y, bytes);
            else iv_scatter_4(y, 16, n, bytes);
        }
    }
}

FY_INLINE iv depthwise_pixel(const fy_product_u8s8 *p, const uint8_t *x, const int8_t *w) {
    iv s = iv_set1(0);
    if (p->kernel[0] == 3 && p->kernel[1] <= 4) {
        s = _mm512_dpbusd_epi32(s, quad_load(x), _mm512_loadu_si512(w));
        s = _mm512_dpbusd_epi32(s, quad_load(x + p->tap[0]), _mm512_loadu_si512(w + 64));
        return _mm512_dpbusd_epi32(s, quad_load(x + 2 * p->tap[0]), _mm512_loadu_si512(w + 128));
    }
    for (int64_t i = 0; i < p->kernel[0]; i++)
        for (int64_t j = 0; j < p->kernel[1]; j += 4, w += 64) s = _mm512_dpbusd_epi32(s, quad_load(x + i * p->tap[0] + j * 16), _mm512_loadu_si512(w));
    return s;
}
#endif

/* The weights of tap t of a four, one for each lane. */
FY_INLINE iv depthwise_tap(const int8_t *w, int t) {
    iv v = iv_load((const int32_t *)(const void *)w);
    switch (t) {
    case 0: return iv_sar(iv_shl(v, 24), 24);
    case 1: return iv_sar(iv_shl(v, 16), 24);
    case 2: return iv_sar(iv_shl(v, 8), 24);
    default: return iv_sar(v, 24);
    }
}

#define DOT_DEPTH_STEP(i) s##i = iv_add(s##i, iv_mul16(iv_load_u8(from + i * step), k));
#define DOT_DEPTH_END(i) iv_store(sums + i * 16, s##i);
FY_INLINE void depthwise_four(const fy_product_u8s8 *p, const uint8_t *x, const int8_t *w, int64_t block, int64_t y, int n) {
    const int64_t step = n == 4 ? p->x_step[1] : 0, fours = (p->kernel[1] + 3) / 4;           /* fewer: the first pixel four times */
    iv s0 = iv_set1(0), s1 = s0, s2 = s0, s3 = s0;
    for (int64_t i = 0; i < p->kernel[0]; i++)
        for (int64_t j = 0; j < p->kernel[1]; j++) {
            iv k = depthwise_tap(w + (i * fours + j / 4) * 64, (int)(j % 4));
            const uint8_t *from = x + i * p->tap[0] + j * p->tap[1];
            DOT_DEPTH_STEP(0) DOT_DEPTH_STEP(1) DOT_DEPTH_STEP(2) DOT_DEPTH_STEP(3)
        }
    int32_t sums[4 * 16];
    DOT_DEPTH_END(0) DOT_DEPTH_END(1) DOT_DEPTH_END(2) DOT_DEPTH_END(3)
    for (int i = 0; i < n; i++) dot_put(p, iv_load(sums + i * 16), block * 16, y + i * p->y_pixel, 0);
}

static void depthwise_u8s8(const fy_product_u8s8 *p, int64_t block, int64_t row, int64_t row_end) {
    const int8_t *w = p->w + block * p->w_group;
#ifdef DOT_QUADS
    const int64_t step = p->x_step[1] / 16;
    if (p->q.put == FY_PUT_BYTE && !p->q.again && p->kernel[0] == 3 && p->kernel[1] <= 3 && p->tap[1] == 16 && p->x_step[0] == step * p->tap[0] && p->y_pixel == 16 && (step == 1 || step == 2)) {
        if (step == 1) depthwise_columns(1, p, w, block * 16, row, row_end);
        else depthwise_columns(2, p, w, block * 16, row, row_end);
        return;
    }
#endif
    for (int64_t r = row; r < row_end; r++) {
        const uint8_t *x = p->x + block * p->x_block + r * p->x_step[0];
        int64_t pixel = r * p->out[1], wide = p->out[1], q = 0;
#ifdef DOT_QUADS
        if (p->tap[1] == 16 || p->kernel[1] == 1) {
            int32_t sums[DOT_APART * DOT_NR];
            dot_place at = {.column = block * 16, .pixel = pixel, .y = block * p->y_block + pixel * p->y_pixel};
            for (; q < wide; q += DOT_APART, at.y += DOT_APART * p->y_pixel) {
                const int n = wide - q < DOT_APART ? (int)(wide - q) : DOT_APART;
                for (int i = 0; i < n; i++) iv_store(sums + i * DOT_NR, depthwise_pixel(p, x + (q + i) * p->x_step[1], w));
                depthwise_finish(p, &at, n, sums);
            }
            continue;
        }
#endif
        for (; q < wide; q += q + 4 <= wide ? 4 : 1)
            depthwise_four(p, x + q * p->x_step[1], w, block, block * p->y_block + (pixel + q) * p->y_pixel, q + 4 <= wide ? 4 : 1);
    }
}

/* ---- the roof --------------------------------------------------------------------------------------------------------------- */

#if DOT_MR == 14
#define DOT_PEAK(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define DOT_SUMS 12
#else
#define DOT_PEAK(X) X(0) X(1) X(2)
#define DOT_SUMS 3
#endif
#define DOT_PEAK_BEGIN(i) qa s##i = qa_dot(qa_zero(), qx_set((uint32_t)bytes[0] + i), w);
#define DOT_PEAK_STEP(i) s##i = qa_dot(s##i, x, w);
#define DOT_PEAK_END(i) all = iv_add(all, qa_sum(s##i));

static double dot_peak(int64_t n) {
    volatile int8_t one = 1;                                     /* no constant: nothing is worked out beforehand */
    int8_t bytes[64];
    int32_t out[16];
    for (int i = 0; i < 64; i++) bytes[i] = (int8_t)(one * (i % 3 - 1));
    qw w = qw_load(bytes);
    qx x = qx_set((uint32_t)one * 0x01020304u);
    iv all = iv_set1(0);
    DOT_PEAK(DOT_PEAK_BEGIN)
    for (int64_t i = 0; i < n; i++) { DOT_PEAK(DOT_PEAK_STEP) }
    DOT_PEAK(DOT_PEAK_END)
    iv_store_n(out, all, 16);
    return out[0] != INT32_MIN ? (double)n * 2 * 64 * DOT_SUMS : 0;
}
