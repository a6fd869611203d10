/* SPDX-License-Identifier: Apache-2.0
 * kernel_products.c - checkers of the products and convolutions: against sums in double, any part of the result alone against the whole,
 * nothing written outside of the result's rows and columns, nothing read that is not the operands'. */
#include "check/kernels.h"

#include <math.h>
#include <string.h>

#define ROOT 0x1p-24

static double clamped(const fy_epilogue *e, double x) {
    if (e->act != FY_ACT_CLAMP || isnan(x)) return x;
    return x < (double)e->p[0] ? (double)e->p[0] : x > (double)e->p[1] ? (double)e->p[1] : x;
}

/* ---- C = A B --------------------------------------------------------------------------------------------------------------- */

typedef struct product { int64_t m, n, k, a_row, c_row, panels; const float *a, *b, *bias, *add; fy_epilogue e; } product;

static bool product_value(fy_trial *t, const product *p, int64_t i, int64_t j, float got) {
    double sum = 0, size = 0, bias = p->bias ? (double)p->bias[j] : 0, add = p->add ? (double)p->add[i * p->c_row + j] : 0;
    for (int64_t k = 0; k < p->k; k++) {
        double v = (double)p->a[i * p->a_row + k] * (double)p->b[k * p->n + j];
        sum += v;
        size += fabs(v);
    }
    double want = clamped(&p->e, sum + bias + add), allowed = t->ulps * ROOT * sqrt((double)p->k + 4) * (size + fabs(bias) + fabs(add));
    return fy_trial_near(t, got, want, allowed) ||
           fy_trial_fail(t, "%lldx%lldx%lld: %.9g at (%lld, %lld), not %.9g", (long long)p->m, (long long)p->n, (long long)p->k, (double)got, (long long)i, (long long)j, want);
}

static bool product_gaps(fy_trial *t, const product *p, const float *c) {
    for (int64_t i = 0; i + 1 < p->m; i++)
        for (int64_t j = p->n; j < p->c_row; j++)
            if (!fy_is_pattern(c[i * p->c_row + j])) return fy_trial_fail(t, "%lldx%lldx%lld: wrote between rows", (long long)p->m, (long long)p->n, (long long)p->k);
    return true;
}

/* The whole once more in random pieces of rows and panels. */
static bool product_pieces(fy_trial *t, const product *p, const fy_gemm_f32 *whole) {
    fy_gemm_f32 g = *whole;
    int64_t n = (p->m - 1) * p->c_row + p->n;
    g.c = fy_room_place(t, 5, n, false);
    for (int64_t r = 0, r_end; r < p->m; r = r_end) {
        r_end = r + fy_trial_pick(t, 1, 1 + (p->m - r) / 2);
        for (int64_t j = 0, j_end; j < p->panels; j = j_end) {
            j_end = j + fy_trial_pick(t, 1, p->panels - j);
            t->k->gemm_f32(&g, r, r_end, j, j_end);
        }
    }
    if (!fy_room_intact(t, 5)) return fy_trial_fail(t, "%lldx%lldx%lld: a piece wrote outside of the result", (long long)p->m, (long long)p->n, (long long)p->k);
    if (!fy_same_bits(g.c, whole->c, n)) return fy_trial_fail(t, "%lldx%lldx%lld: bits depend on how rows and columns are split", (long long)p->m, (long long)p->n, (long long)p->k);
    return true;
}

static bool product_once(fy_trial *t, int64_t m, int64_t n, int64_t k, int how) {
    int nr = t->k->gemm_nr;
    product p = {.m = m, .n = n, .k = k, .a_row = k + (how & 1 ? fy_trial_pick(t, 0, 9) : 0), .c_row = n + (how & 2 ? fy_trial_pick(t, 0, 9) : 0), .panels = (n + nr - 1) / nr};
    bool low = how & 4;
    float *a = fy_room_place(t, 0, (m - 1) * p.a_row + k, low), *b = fy_room_place(t, 1, k * n, low), *packed = fy_room_place(t, 2, p.panels * nr * k, low);
    float *c = fy_room_place(t, 3, (m - 1) * p.c_row + n, !low), *more = fy_room_place(t, 4, (m - 1) * p.c_row + n, low), *bias = fy_room_place(t, 6, n, low);
    for (int64_t i = 0; i < m; i++) {
        fy_trial_values(t, a + i * p.a_row, k);
        fy_trial_values(t, more + i * p.c_row, n);
    }
    fy_trial_values(t, b, k * n);
    fy_trial_values(t, bias, n);
    if (how & 64 && k) {                                         /* NaN and infinity stay in their row and column */
        a[fy_trial_pick(t, 0, m - 1) * p.a_row + fy_trial_pick(t, 0, k - 1)] = how & 8 ? NAN : INFINITY;
        b[fy_trial_pick(t, 0, k * n - 1)] = how & 16 ? -INFINITY : NAN;
    }
    fy_gemm_pack_f32(packed, b, k, n, n, 1, nr, 0, p.panels);
    if (!fy_room_intact(t, 2)) return fy_trial_fail(t, "%lldx%lld: packing wrote outside of its panels", (long long)k, (long long)n);
    if (how & 8) p.bias = bias;
    if (how & 16) p.add = more;
    if (how & 32) p.e = (fy_epilogue){.act = FY_ACT_CLAMP, .p = {0, how & 64 ? INFINITY : 6}};
    p.a = a;
    p.b = b;
    fy_gemm_f32 g = {.a = a, .b = packed, .c = c, .m = m, .n = n, .k = k, .a_row = p.a_row, .c_row = p.c_row, .e = p.e};
    g.e.bias = p.bias;
    g.e.add = p.add;
    t->k->gemm_f32(&g, 0, m, 0, p.panels);
    t->cases++;
    if (!fy_room_intact(t, 3)) return fy_trial_fail(t, "%lldx%lldx%lld: wrote outside of its result", (long long)m, (long long)n, (long long)k);
    if (!product_gaps(t, &p, c)) return false;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            if (!product_value(t, &p, i, j, c[i * p.c_row + j])) return false;
    return product_pieces(t, &p, &g);
}

bool fy_trial_products(fy_trial *t, fy_product_once *once) {
    static const int64_t ks[] = {0, 1, 2, 3, 7, 16, 61, FY_GEMM_KC - 1, FY_GEMM_KC, FY_GEMM_KC + 1, 2 * FY_GEMM_KC + 17};
    const int64_t mr = t->k->gemm_mr, nr = t->k->gemm_nr;
    for (int64_t m = 1; m <= 2 * mr + 1; m++)                    /* every height of a tile */
        if (!once(t, m, 1 + (m * 7) % (2 * nr + 1), 1 + m * 5 % 37, (int)(m % 64))) return false;
    for (int64_t n = 1; n <= 2 * nr + 1; n++)                    /* every width of a panel */
        if (!once(t, 1 + n % (mr + 2), n, 1 + n * 3 % 29, (int)(n * 5 % 128))) return false;
    for (int i = 0; i < FY_COUNT(ks); i++)
        for (int how = 0; how < 128; how += 11)
            if (!once(t, fy_trial_pick(t, 1, mr + 1), fy_trial_pick(t, 1, nr + 1), ks[i], how)) return false;
    return true;
}

bool fy_check_gemm(fy_trial *t) {
    const int64_t mr = t->k->gemm_mr, nr = t->k->gemm_nr;
    if (!fy_trial_products(t, product_once)) return false;
    for (int how = 0; how < 3; how++)                            /* more panels than stay in the cache; rows that are copied together */
        if (!product_once(t, mr + 3, (256 / nr + 1) * nr + 5, 256, 32 * how)) return false;
    return true;
}

/* ---- convolution ----------------------------------------------------------------------------------------------------------- */

typedef struct layer { fy_conv_c16 c; int64_t blocks, groups, nr, x_size, y_size, w_size; bool depthwise; } layer;

/* Where a pixel lies in y. */
static int64_t pixel_at(const fy_conv_c16 *c, int64_t block, int64_t pixel) { return block * c->y_block + pixel / c->out[1] * c->y_row + pixel % c->out[1] * FY_LANES; }

static double conv_value(const layer *d, int64_t block, int64_t pixel, int lane, double *size) {
    const fy_conv_c16 *c = &d->c;
    int64_t r = pixel / c->out[1], q = pixel % c->out[1], group = d->depthwise ? block : block * FY_LANES / d->nr, column = d->depthwise ? lane : block * FY_LANES % d->nr + lane;
    const float *x0 = c->x + r * c->x_step[0] + q * c->x_step[1], *w = c->w + group * c->w_group;
    double sum = 0;
    *size = 0;
    for (int64_t b = 0; b < (d->depthwise ? 1 : c->in_blocks); b++)
        for (int64_t i = 0; i < c->kernel[0]; i++)
            for (int64_t j = 0; j < c->kernel[1]; j++)
                for (int64_t l = 0; l < (d->depthwise ? 1 : c->lanes); l++, w += d->nr) {
                    const float *x = x0 + (d->depthwise ? block : b) * c->x_block + i * c->tap[0] + j * c->tap[1] + (d->depthwise ? lane : l);
                    double v = c->last && b == c->in_blocks - 1 && l >= c->last ? 0 : (double)*x * (double)w[column];
                    sum += v;
                    *size += fabs(v);
                }
    double bias = c->e.bias ? (double)c->e.bias[block * FY_LANES + lane] : 0, add = c->e.add ? (double)c->e.add[pixel_at(c, block, pixel) + lane] : 0;
    *size += fabs(bias) + fabs(add);
    return clamped(&c->e, sum + bias + add);
}

static bool conv_pieces(fy_trial *t, const layer *d, fy_kernel_conv *f) {
    fy_conv_c16 c = d->c;
    c.y = fy_room_place(t, 5, d->y_size, false);
    for (int64_t g = d->groups - 1; g >= 0; g--)
        for (int64_t r = c.out[0] - 1; r >= 0; r--) f(&c, g, r, r + 1);
    if (!fy_same_bits(c.y, d->c.y, d->y_size)) return fy_trial_fail(t, "bits depend on which rows are computed together");
    return true;
}

static bool conv_run(fy_trial *t, layer *d, fy_kernel_conv *f) {
    fy_conv_c16 *c = &d->c;
    int64_t taps = c->kernel[0] * c->kernel[1] * (d->depthwise ? 1 : c->in_blocks * c->lanes), pixels = d->depthwise ? c->out[0] * c->out[1] : c->pixels;
    float *x = fy_room_place(t, 0, d->x_size, false), *w = fy_room_place(t, 1, d->w_size, false), *bias = fy_room_place(t, 2, d->groups * d->nr, false);
    float *add = fy_room_place(t, 4, d->y_size, false);
    fy_trial_values(t, x, d->x_size);
    fy_trial_values(t, w, d->w_size);
    fy_trial_values(t, bias, d->groups * d->nr);
    fy_trial_values(t, add, d->y_size);
    c->x = x;
    c->w = w;
    c->y = fy_room_place(t, 3, d->y_size, fy_trial_pick(t, 0, 1));
    if (fy_trial_pick(t, 0, 1)) c->e.bias = bias;
    if (fy_trial_pick(t, 0, 1)) c->e.add = add;
    if (fy_trial_pick(t, 0, 1)) { c->e.act = FY_ACT_CLAMP; c->e.p[1] = 6; }
    for (int64_t g = 0; g < d->groups; g++) f(c, g, 0, c->out[0]);
    t->cases++;
    if (!fy_room_intact(t, 3)) return fy_trial_fail(t, "wrote outside of its result (%lldx%lld pixels, %lld blocks)", (long long)c->out[0], (long long)c->out[1], (long long)d->blocks);
    for (int64_t b = 0; b < d->blocks; b++)
        for (int64_t p = 0; p < c->out[0] * c->out[1]; p++)
            for (int l = 0; l < FY_LANES; l++) {
                float got = c->y[pixel_at(c, b, p) + l];
                double size, want;
                if (p >= pixels) {
                    if (!fy_is_pattern(got)) return fy_trial_fail(t, "wrote past the last pixel");
                    continue;
                }
                want = conv_value(d, b, p, l, &size);
                if (!fy_trial_near(t, got, want, t->ulps * ROOT * size * sqrt((double)taps + 4)))
                    return fy_trial_fail(t, "%lldx%lld kernel, %lldx%lld pixels: %.9g in block %lld at %lld, lane %d, not %.9g", (long long)c->kernel[0], (long long)c->kernel[1], (long long)c->out[0],
                                         (long long)c->out[1], (double)got, (long long)b, (long long)p, l, want);
            }
    for (int64_t i = 0; i < d->y_size; i++)
        if (i % c->y_block % c->y_row >= c->out[1] * FY_LANES && !fy_is_pattern(c->y[i])) return fy_trial_fail(t, "wrote between rows");
    return conv_pieces(t, d, f);
}

/* Sizes of an input that holds exactly what is read; rows of the output are `gap` pixels apart. */
static void conv_place(layer *d, int64_t in_blocks, int64_t stride, int64_t dilation, int64_t gap) {
    fy_conv_c16 *c = &d->c;
    int64_t w = (c->out[1] - 1) * stride + (c->kernel[1] - 1) * dilation + 1, h = (c->out[0] - 1) * stride + (c->kernel[0] - 1) * dilation + 1;
    c->x_block = h * w * FY_LANES;
    c->y_row = (c->out[1] + gap) * FY_LANES;
    c->y_block = c->out[0] * c->y_row;
    c->x_step[0] = stride * w * FY_LANES;
    c->x_step[1] = stride * FY_LANES;
    c->tap[0] = dilation * w * FY_LANES;
    c->tap[1] = dilation * FY_LANES;
    c->pixels = c->out[0] * c->out[1];
    d->x_size = in_blocks * c->x_block;
    d->y_size = d->blocks * c->y_block;
}

bool fy_check_conv(fy_trial *t) {
    const int64_t mr = t->k->gemm_mr, nr = t->k->gemm_nr;
    for (int64_t i = 0; i < 4 * mr + 20; i++) {
        int64_t k = fy_trial_pick(t, 1, 3), stride = fy_trial_pick(t, 1, 2), in_blocks = fy_trial_pick(t, 1, 3);
        layer d = {.c = {.lanes = FY_LANES, .in_blocks = in_blocks, .kernel = {k, fy_trial_pick(t, 1, 3)}, .out = {fy_trial_pick(t, 1, 3), 1 + i % (2 * mr + 1)}}, .blocks = fy_trial_pick(t, 1, 4), .nr = nr};
        d.groups = (d.blocks * FY_LANES + nr - 1) / nr;
        conv_place(&d, in_blocks, stride, fy_trial_pick(t, 1, 2), i % 5 == 2 ? fy_trial_pick(t, 1, 3) : 0);
        if (i % 2 == 0) d.c.last = fy_trial_pick(t, 1, FY_LANES);
        if (i % 3 == 0) d.c.pixels -= fy_trial_pick(t, 0, d.c.out[1] - 1);
        if (i % 4 == 1) {                                        /* the first layer: a row of taps times few channels is one tap */
            int64_t channels = fy_trial_pick(t, 1, 4), columns = fy_trial_pick(t, 1, 7), w = (d.c.out[1] - 1) * stride + columns, h = (d.c.out[0] - 1) * stride + k;
            d.c.in_blocks = 1;
            d.c.kernel[1] = 1;
            d.c.lanes = columns * channels;
            d.c.last = 0;
            d.c.x_step[0] = stride * w * channels;
            d.c.x_step[1] = stride * channels;
            d.c.tap[0] = w * channels;
            d.c.tap[1] = 0;
            d.x_size = h * w * channels;
        }
        d.c.out_blocks = d.blocks;
        d.c.w_group = d.c.in_blocks * d.c.kernel[0] * d.c.kernel[1] * d.c.lanes * nr;
        d.w_size = d.groups * d.c.w_group;
        if (!conv_run(t, &d, t->k->conv_c16)) return false;
    }
    return true;
}

/* Rows by pointers, some output rows at a time: the same bits. */
static bool depthwise_rows(fy_trial *t, const layer *d) {
    const float *rows[16];
    float *y = fy_room_place(t, 5, d->y_size, false);
    const int64_t step = fy_trial_pick(t, 1, 3);
    for (int64_t b = 0; b < d->blocks; b++)
        for (int64_t r = 0, n; r < d->c.out[0]; r += n) {
            fy_conv_c16 c = d->c;
            n = fy_trial_pick(t, 1, c.out[0] - r < 2 ? 1 : 2);
            for (int64_t j = 0; j < n; j++)
                for (int64_t i = 0; i < c.kernel[0]; i++) rows[j * (c.kernel[0] + step) + i] = c.x + b * c.x_block + (r + j) * c.x_step[0] + i * c.tap[0];
            int64_t at = b * c.y_block + r * c.y_row;
            c.rows = rows;
            c.x = NULL;
            c.x_step[0] = c.kernel[0] + step;
            c.w += b * c.w_group;
            c.y = y + at;
            if (c.e.bias) c.e.bias += b * FY_LANES;
            if (c.e.add) c.e.add += at;
            t->k->depthwise_c16(&c, 0, 0, n);
        }
    if (!fy_same_bits(y, d->c.y, d->y_size)) return fy_trial_fail(t, "bits depend on where rows are");
    return true;
}

bool fy_check_depthwise(fy_trial *t) {
    for (int64_t i = 0; i < 120; i++) {
        bool usual = i % 2;                                      /* kernels that have loops of their own */
        layer d = {.c = {.kernel = {fy_trial_pick(t, 1, 5), usual ? 3 + 2 * fy_trial_pick(t, 0, 1) : fy_trial_pick(t, 1, 5)}, .out = {fy_trial_pick(t, 1, 4), 1 + i % 19}},
                   .blocks = fy_trial_pick(t, 1, 3), .nr = FY_LANES, .depthwise = true};
        d.groups = d.c.in_blocks = d.c.out_blocks = d.blocks;
        conv_place(&d, d.blocks, fy_trial_pick(t, 1, 2), usual ? 1 : fy_trial_pick(t, 1, 2), i % 5 == 2 ? fy_trial_pick(t, 1, 3) : 0);
        d.c.w_group = d.c.kernel[0] * d.c.kernel[1] * FY_LANES;
        d.w_size = d.groups * d.c.w_group;
        if (!conv_run(t, &d, t->k->depthwise_c16) || !depthwise_rows(t, &d)) return false;
    }
    return true;
}

/* Blocks of lanes that take what a random table says, over depth taps, runs, taps and steps. */
static double pick_value(const fy_pick_c16 *p, int64_t pixel, int lane, double *size) {
    const fy_conv_c16 *c = &p->c;
    const float *x0 = c->x + pixel / c->out[1] * c->x_step[0] + pixel % c->out[1] * c->x_step[1], *w = c->w;
    double sum = c->e.bias ? (double)c->e.bias[lane] : 0, add = c->e.add ? (double)c->e.add[pixel * FY_LANES + lane] : 0;
    *size = fabs(sum) + fabs(add);
    for (int64_t d = 0; d < c->in_blocks; d++) {
        const int32_t *at = p->lane;
        for (int64_t r = 0; r < p->runs; at += p->run[r++].n * FY_LANES)
            for (int64_t t = 0; t < c->kernel[0] * c->kernel[1]; t++)
                for (int64_t s = 0; s < p->run[r].n; s++, w += FY_LANES) {
                    int32_t from = at[s * FY_LANES + lane];
                    const float *x = x0 + d * p->x_depth + p->run[r].block * c->x_block + t / c->kernel[1] * c->tap[0] + t % c->kernel[1] * c->tap[1];
                    double v = from < 0 ? 0 : (double)x[from] * (double)w[lane];
                    sum += v;
                    *size += fabs(v);
                }
    }
    return clamped(&c->e, sum + add);
}

static bool pick_once(fy_trial *t, layer *l, fy_pick_c16 *p, int64_t steps) {
    fy_conv_c16 *c = &p->c;
    const int64_t summands = steps * c->in_blocks * c->kernel[0] * c->kernel[1];
    float *x = fy_room_place(t, 0, l->x_size, false), *w = fy_room_place(t, 1, summands * FY_LANES, false), *bias = fy_room_place(t, 2, FY_LANES, false), *add = fy_room_place(t, 4, l->y_size, false);
    fy_trial_values(t, x, l->x_size);
    fy_trial_values(t, w, summands * FY_LANES);
    fy_trial_values(t, bias, FY_LANES);
    fy_trial_values(t, add, l->y_size);
    c->x = x;
    c->w = w;
    c->y = fy_room_place(t, 3, l->y_size, fy_trial_pick(t, 0, 1));
    if (fy_trial_pick(t, 0, 1)) c->e.bias = bias;
    if (fy_trial_pick(t, 0, 1)) c->e.add = add;
    if (fy_trial_pick(t, 0, 1)) { c->e.act = FY_ACT_CLAMP; c->e.p[1] = 6; }
    t->k->conv_pick_c16(p, 0, c->out[0]);
    t->cases++;
    if (!fy_room_intact(t, 3)) return fy_trial_fail(t, "wrote outside of its result (%lldx%lld pixels)", (long long)c->out[0], (long long)c->out[1]);
    for (int64_t i = 0; i < l->y_size; i++) {
        double size, want = pick_value(p, i / FY_LANES, (int)(i % FY_LANES), &size);
        if (!fy_trial_near(t, c->y[i], want, t->ulps * ROOT * size * sqrt((double)summands + 4)))
            return fy_trial_fail(t, "%lld runs, %lld steps, %s: %.9g at %lld, not %.9g", (long long)p->runs, (long long)steps, p->near ? "near" : "far", (double)c->y[i], (long long)i, want);
    }
    float *whole = c->y;
    c->y = fy_room_place(t, 5, l->y_size, false);
    for (int64_t r = c->out[0] - 1; r >= 0; r--) t->k->conv_pick_c16(p, r, r + 1);
    return fy_same_bits(c->y, whole, l->y_size) || fy_trial_fail(t, "bits depend on which rows are computed together");
}

bool fy_check_conv_pick(fy_trial *t) {
    for (int64_t i = 0; i < 3 * t->k->gemm_mr + 30; i++) {
        fy_pick_run run[3];
        int32_t lane[3 * 20 * FY_LANES];
        int64_t steps = 0, depth = fy_trial_pick(t, 1, 3), blocks = 4;
        layer l = {.c = {.kernel = {fy_trial_pick(t, 1, 3), fy_trial_pick(t, 1, 3)}, .out = {fy_trial_pick(t, 1, 3), 1 + i % (2 * t->k->gemm_mr + 1)}}, .blocks = 1};
        fy_pick_c16 p = {.runs = fy_trial_pick(t, 1, 3), .run = run, .lane = lane, .near = i % 2 == 0};
        conv_place(&l, depth * blocks, fy_trial_pick(t, 1, 2), fy_trial_pick(t, 1, 2), 0);
        for (int64_t r = 0; r < p.runs; r++) {
            run[r] = (fy_pick_run){fy_trial_pick(t, 0, blocks - 1), fy_trial_pick(t, 1, 20)};
            steps += run[r].n;
        }
        for (int64_t s = 0; s < steps * FY_LANES; s++) lane[s] = p.near ? (int32_t)(s % FY_LANES / 8 * 8 + fy_trial_pick(t, 0, 7)) : (int32_t)fy_trial_pick(t, -1, FY_LANES - 1);
        p.c = l.c;
        p.c.in_blocks = depth;
        p.x_depth = blocks * l.c.x_block;
        if (!pick_once(t, &l, &p, steps)) return false;
    }
    return true;
}
