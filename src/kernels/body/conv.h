/* SPDX-License-Identifier: Apache-2.0
 * conv.h - direct convolution in the c16 layout (body, compiled once for each instruction set).
 * A tile is up to GEMM_MR neighbouring pixels of an output row by GEMM_NV blocks of 16 output channels, in registers over the whole
 * reduction; weights are packed in the order in which it goes: group of output blocks, input block, tap, input channel, output lane.
 * Source of the scheme: Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures", 2018. */

/* What a tile needs besides its place. It goes over `blocks` input blocks; sums of a part of the reduction wait in y (first, last: is it the
 * first, the last part?). skip: what lies in y between the rows of a tile that is half in the next one. `ahead`: weights of the next part, fetched
 * on the way by `ahead_step` for each input channel. hop: from the last input block to what the next tile reads first. */
typedef struct conv_place { const float *x, *w, *bias, *add, *ahead; float *y; int64_t step, skip, hop, ahead_step, blocks; bool first, last; } conv_place;

#if GEMM_NV == 2
#define CONV_SECOND(x) if (TWO) { x }
#else
#define CONV_SECOND(x)
#endif
#define CONV_AT(i) (i * 16 + (i < HALF ? 0 : p->skip))
#define CONV_BEGIN(i) fv s##i = fv_zero(), t##i = s##i;
#define CONV_STEP(i) if (ROWS > i) { fv a = fv_set1((i < HALF ? x : below)[i * gap]); s##i = fv_fma(a, w0, s##i); CONV_SECOND(t##i = fv_fma(a, w1, t##i);) }
/* Sums leave a tile by steps that all of them take: what a step depends on is asked once, and a tile's code stays short. */
#define CONV_BIAS(i) if (ROWS > i) { s##i = fv_add(s##i, u); CONV_SECOND(t##i = fv_add(t##i, v);) }
#define CONV_ADD(i) if (ROWS > i) { s##i = fv_add(s##i, fv_load(from + CONV_AT(i))); CONV_SECOND(t##i = fv_add(t##i, fv_load(from + c->y_block + CONV_AT(i)));) }
#define CONV_CLAMP(i) if (ROWS > i) { s##i = fv_min(hi, fv_max(lo, s##i)); CONV_SECOND(t##i = fv_min(hi, fv_max(lo, t##i));) }
#define CONV_STORE(i) if (ROWS > i) { fv_store(p->y + CONV_AT(i), s##i); CONV_SECOND(fv_store(p->y + c->y_block + CONV_AT(i), t##i);) } (void)t##i;

FY_INLINE void conv_put(const fy_conv_c16 *c, float *y, const float *add, const float *bias, fv x) {
    if (bias) x = fv_add(x, fv_load(bias));
    if (add) x = fv_add(x, fv_load(add));
    if (c->e.act == FY_ACT_CLAMP) x = fv_min(fv_set1(c->e.p[1]), fv_max(fv_set1(c->e.p[0]), x));
    fv_store(y, x);
}

/* Floats of weights of a part, nine blocks of input channels or a block of nine taps: they stay in the cache from tile to tile, and come into the
 * first level before they are used. */
#define CONV_PART 4700
#define CONV_AHEAD (32 * GEMM_NR)

/* The channels of a tap, for pixels `apart` from each other: where that is known beforehand it needs no registers, and there are none to spare. Each
 * channel fetches one of the pixels of the input block behind this one: from block to block they are too far apart for the CPU to see them coming. */
#define CONV_LANES(apart, fetch) { \
    const int64_t gap = apart; \
    for (int64_t k = 0; k < lanes; k++, x++, below++, w += GEMM_NR, ahead += ahead_step, soon += gap) { \
        fv w0 = fv_load(w), w1 = w0; \
        CONV_SECOND(w1 = fv_load(w + 16);) \
        __builtin_prefetch(w + CONV_AHEAD); \
        CONV_SECOND(__builtin_prefetch(w + CONV_AHEAD + 16);) \
        __builtin_prefetch(ahead, 0, 2); \
        if (fetch) __builtin_prefetch(soon); \
        GEMM_ROWS(CONV_STEP) \
        (void)w1; \
    } }

/* TWO: both blocks of the group are there. From pixel HALF on a tile goes on in the next row. */
FY_INLINE void conv_rows(const int ROWS, const int HALF, const bool TWO, const fy_conv_c16 *c, const conv_place *p) {
    GEMM_ROWS(CONV_BEGIN)
    const float *w = p->w, *ahead = p->ahead;
    const int64_t step = p->step, ahead_step = p->ahead_step;
    (void)TWO;
    for (int64_t b = 0; b < p->blocks; b++) {
        const int64_t lanes = c->last && p->last && b == p->blocks - 1 ? c->last : c->lanes;
        const int64_t hop = b + 1 < p->blocks ? c->x_block : p->hop;
        for (int64_t i = 0; i < c->kernel[0]; i++)
            for (int64_t j = 0; j < c->kernel[1]; j++, w += (c->lanes - lanes) * GEMM_NR) {
                const float *x = p->x + b * c->x_block + i * c->tap[0] + j * c->tap[1], *below = HALF < ROWS ? x + c->x_step[0] - HALF * step : x, *soon = j ? x : x + hop;
#if GEMM_MR > 1
                if (step == 16) CONV_LANES(16, true) else
#endif
#ifdef FV_MANY
                if (ROWS > GEMM_MR - 3 && step == 2) CONV_LANES(2, false) else      /* a first layer that halves: its rows are long, and cut into tiles of nearly full size */
#endif
                CONV_LANES(step, true)
            }
    }
    const float *from = p->first ? NULL : p->y;
    for (int pass = 0; pass < 2; pass++, from = p->last ? p->add : NULL) {       /* sums of earlier parts and the bias, then what is added: one code */
        if (from) { GEMM_ROWS(CONV_ADD) }
        if (pass || !p->last || !p->bias) continue;
        const fv u = fv_load(p->bias), v = TWO ? fv_load(p->bias + 16) : u;
        GEMM_ROWS(CONV_BIAS)
        (void)v;
    }
    if (p->last && c->e.act == FY_ACT_CLAMP) {
        const fv lo = fv_set1(c->e.p[0]), hi = fv_set1(c->e.p[1]);
        GEMM_ROWS(CONV_CLAMP)
    }
    GEMM_ROWS(CONV_STORE)
}

#define CONV_ONE(i) case i + 1: conv_rows(i + 1, i + 1, false, c, p); break;
#define CONV_TWO(i) case i + 1: conv_rows(i + 1, i + 1, true, c, p); break;
#define CONV_HALF (GEMM_MR / 2)          /* two rows of as many pixels are one tile */
static void conv_tile(int rows, bool two, const fy_conv_c16 *c, const conv_place *p) {
    if (rows > GEMM_MR) conv_rows(2 * CONV_HALF, CONV_HALF, GEMM_NV == 2, c, p);
    else if (GEMM_NV == 2 && two)
        switch (rows) { GEMM_ROWS(CONV_TWO) default: break; }
    else
        switch (rows) { GEMM_ROWS(CONV_ONE) default: break; }
}

/* The reduction goes in parts whose weights stay in the cache from tile to tile, and the next part is fetched meanwhile: a layer with few pixels and
 * many weights waits for memory otherwise. A part is a sum of its own, as sums of sums lose less to rounding. Nothing but the numbers of channels and
 * taps says where it ends: a pixel's sum is the same in any tile. */
static void conv_c16(const fy_conv_c16 *c, int64_t group, int64_t row, int64_t row_end) {
    int64_t first = group * GEMM_NV, each = c->kernel[0] * c->kernel[1] * c->lanes * GEMM_NR, tiles_row = (c->out[1] + GEMM_MR - 1) / GEMM_MR, all = tiles_row * (row_end - row);
    const int64_t y_row = c->y_row ? c->y_row : c->out[1] * 16;
    bool two = first + 1 < c->out_blocks, pairs = c->out[1] == CONV_HALF && (two || GEMM_NV == 1);
    if (pairs) all = (all + 1) / 2;
    int64_t part = each > 0 && each < CONV_PART ? CONV_PART / each : 1;
    const int64_t parts = (c->in_blocks + part - 1) / part;
    part = parts > 1 ? (c->in_blocks + parts - 1) / parts : c->in_blocks > 0 ? c->in_blocks : 1;         /* no blocks: zeros and the epilogue */
    conv_place p = {.bias = c->e.bias ? c->e.bias + group * GEMM_NR : NULL, .step = c->x_step[1], .skip = y_row - c->out[1] * 16};
    for (int64_t b = 0; b < c->in_blocks || b == 0; b += part) {
        p.w = c->w + group * c->w_group + b * each;
        p.blocks = c->in_blocks - b < part ? c->in_blocks - b : part;
        p.first = b == 0;
        p.last = b + p.blocks >= c->in_blocks;
        p.ahead_step = all <= 16 ? (GEMM_NR + all - 1) / all : 0;
        for (int64_t r = row, seen = 0; r < row_end; r++) {
            int64_t at = 0, wide = c->pixels - r * c->out[1] < c->out[1] ? c->pixels - r * c->out[1] : c->out[1], tiles = (wide + GEMM_MR - 1) / GEMM_MR;
            bool both = pairs && r + 1 < row_end && (r + 2) * c->out[1] <= c->pixels;
            for (int64_t t = 0; t < tiles; t++, seen++) {
                int n = both ? GEMM_MR + 1 : (int)((wide - at) / (tiles - t) + ((wide - at) % (tiles - t) != 0));
                int64_t y = first * c->y_block + r * y_row + at * 16;
                p.x = c->x + b * c->x_block + r * c->x_step[0] + at * c->x_step[1];
                p.y = c->y + y;
                p.add = c->e.add ? c->e.add + y : NULL;
                p.hop = (at + n < wide ? n * c->x_step[1] : (1 + both) * c->x_step[0] - at * c->x_step[1]) - (p.blocks - 1) * c->x_block;
                p.ahead = p.ahead_step ? p.w + p.blocks * each + seen * (p.blocks * each / GEMM_NR) * p.ahead_step : p.w;
                conv_tile(n, two, c, &p);
                at += n;
            }
            r += both;
        }
    }
}

/* ---- one filter for each channel ---- */

#if GEMM_MR == 14
#define DEPTH_EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define DEPTH_MR 8                       /* pixels of a tile: as many sums wait for themselves as it takes to be busy */
#elif GEMM_MR == 6
#define DEPTH_EACH(X) X(0) X(1) X(2) X(3) X(4)
#define DEPTH_MR 5
#else
#define DEPTH_EACH(X) X(0)
#define DEPTH_MR 1
#endif
#define DEPTH_BEGIN(i) fv s##i = bias;
#define DEPTH_STEP(i) if (PIXELS > i) s##i = fv_fma(fv_load(x + i * step), k, s##i);
#define DEPTH_END(i) if (PIXELS > i) conv_put(c, y + i * 16, add ? add + i * 16 : NULL, NULL, s##i); else (void)s##i;

/* Pixels of one block and row, from pixel `at` on. rows: of x; x0: the first one where those are NULL. */
FY_INLINE void depth_pixels(const int PIXELS, const fy_conv_c16 *c, const float *w, fv bias, const float *const *rows, const float *x0, int64_t at, float *y, const float *add) {
    const int64_t step = c->x_step[1];
    DEPTH_EACH(DEPTH_BEGIN)
    for (int64_t i = 0; i < c->kernel[0]; i++) {
        const float *x = (rows ? rows[i] : x0 + i * c->tap[0]) + at * step;
        for (int64_t j = 0; j < c->kernel[1]; j++, x += c->tap[1], w += 16) {
            fv k = fv_load(w);
            DEPTH_EACH(DEPTH_STEP)
        }
    }
    DEPTH_EACH(DEPTH_END)
}

/* The same for a width of five and a step known beforehand: neighbouring pixels share what was loaded. */
#ifdef FV_MANY
#define DEPTH_TAP(i) if (PIXELS > i) s##i = fv_fma(fv_load(x + i * STEP), k, s##i);
#define DEPTH_NEXT { fv k = fv_load(w); DEPTH_EACH(DEPTH_TAP) w += 16; x += 16; }
FY_INLINE void depth_near(const int PIXELS, const int STEP, const fy_conv_c16 *c, const float *w, fv bias, const float *const *rows, const float *x0, int64_t at, float *y, const float *add) {
    DEPTH_EACH(DEPTH_BEGIN)
    for (int64_t i = 0; i < c->kernel[0]; i++) {
        const float *x = (rows ? rows[i] : x0 + i * c->tap[0]) + at * STEP;
        DEPTH_NEXT DEPTH_NEXT DEPTH_NEXT DEPTH_NEXT DEPTH_NEXT
    }
    DEPTH_EACH(DEPTH_END)
}

/* Is there such a loop for these pixels? Then they are done. */
static bool depth_shared(int n, const fy_conv_c16 *c, const float *w, fv bias, const float *const *rows, const float *x0, int64_t at, float *y, const float *add) {
    const int64_t step = c->x_step[1];
    if (n < 7 || c->tap[1] != 16 || (step != 16 && step != 32) || c->kernel[1] != 5) return false;
    switch ((n == 8) + 2 * (step == 32)) {
    case 0: depth_near(7, 16, c, w, bias, rows, x0, at, y, add); break;
    case 1: depth_near(8, 16, c, w, bias, rows, x0, at, y, add); break;
    case 2: depth_near(7, 32, c, w, bias, rows, x0, at, y, add); break;
    default: depth_near(8, 32, c, w, bias, rows, x0, at, y, add); break;
    }
    return true;
}

/* A row of three by three: the weights stay in registers, and a column of three pixels is loaded once. It ends the sum s0 of one output and goes
 * into those of the next, s1 and s2. */
#define DEPTH_THREE(X) X(0) X(1) X(2)
#define DEPTH_ROW(i) const fv k##i##0 = fv_load(w + i * 48), k##i##1 = fv_load(w + i * 48 + 16), k##i##2 = fv_load(w + i * 48 + 32); const float *x##i = rows ? rows[i] : from + i * c->tap[0];
#define DEPTH_COLUMN(i) { fv v = fv_load(x##i); s0 = fv_fma(v, k##i##2, s0); s1 = fv_fma(v, k##i##1, s1); s2 = fv_fma(v, k##i##0, s2); x##i += 16; }
#define DEPTH_EVEN(i) { fv v = fv_load(x##i); s0 = fv_fma(v, k##i##2, s0); s1 = fv_fma(v, k##i##0, s1); }
#define DEPTH_ODD(i) { s1 = fv_fma(fv_load(x##i + 16), k##i##1, s1); x##i += 32; }
FY_INLINE void depth_three(const int STEP, const fy_conv_c16 *c, const float *w, fv bias, const float *const *rows, const float *from, float *y, const float *add) {
    const fv lo = fv_set1(c->e.p[0]), hi = fv_set1(c->e.p[1]);
    const bool clamp = c->e.act == FY_ACT_CLAMP;
    const int64_t n = c->out[1];
    fv s0 = bias, s1 = bias, s2;
    DEPTH_THREE(DEPTH_ROW)
    for (int64_t i = STEP == 16 ? -2 : -1;; i++) {
        s2 = bias;
        if (STEP == 16) { DEPTH_THREE(DEPTH_COLUMN) }
        else {
            s1 = bias;
            DEPTH_THREE(DEPTH_EVEN)
        }
        if (i >= 0) {
            if (add) s0 = fv_add(s0, fv_load(add + i * 16));
            if (clamp) s0 = fv_min(hi, fv_max(lo, s0));
            fv_store(y + i * 16, s0);
            if (i == n - 1) break;
        }
        if (STEP == 32) { DEPTH_THREE(DEPTH_ODD) }
        s0 = s1;
        s1 = s2;
    }
}

/* Is it such a row? Then it is done. */
static bool depth_row(const fy_conv_c16 *c, const float *w, fv bias, const float *const *rows, const float *x0, float *y, const float *add) {
    if (c->kernel[0] != 3 || c->kernel[1] != 3 || c->tap[1] != 16 || c->out[1] <= 0) return false;
    if (c->x_step[1] == 16) depth_three(16, c, w, bias, rows, x0, y, add);
    else if (c->x_step[1] == 32) depth_three(32, c, w, bias, rows, x0, y, add);
    else return false;
    return true;
}
#else
#define depth_shared(n, c, w, bias, rows, x0, at, y, add) false
#define depth_row(c, w, bias, rows, x0, y, add) false
#endif

#define DEPTH_CASE(i) case i + 1: depth_pixels(i + 1, c, w, bias, rows, x0, at, y + at * 16, add ? add + at * 16 : NULL); break;
static void depthwise_c16(const fy_conv_c16 *c, int64_t block, int64_t row, int64_t row_end) {
    const float *w = c->w + block * c->w_group;
    fv bias = c->e.bias ? fv_load(c->e.bias + block * 16) : fv_zero();
    const int64_t tiles = (c->out[1] + DEPTH_MR - 1) / DEPTH_MR, y_row = c->y_row ? c->y_row : c->out[1] * 16;
    for (int64_t r = row; r < row_end; r++) {
        const float *const *rows = c->rows ? c->rows + r * c->x_step[0] : NULL;
        const float *x0 = rows ? NULL : c->x + block * c->x_block + r * c->x_step[0];
        float *y = c->y + block * c->y_block + r * y_row;
        const float *add = c->e.add ? c->e.add + block * c->y_block + r * y_row : NULL;
        if (depth_row(c, w, bias, rows, x0, y, add)) continue;
        for (int64_t t = 0, at = 0; t < tiles; t++) {
            int n = (int)((c->out[1] - at + tiles - t - 1) / (tiles - t));
            if (!depth_shared(n, c, w, bias, rows, x0, at, y + at * 16, add ? add + at * 16 : NULL))
                switch (n) { DEPTH_EACH(DEPTH_CASE) default: break; }
            at += n;
        }
    }
}
