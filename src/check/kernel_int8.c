/* SPDX-License-Identifier: Apache-2.0
 * kernel_int8.c - checkers of the kernels over bytes: every one gives exactly what its definition says, any part of the result alone as well. */
#include "check/kernels.h"

#include <math.h>
#include <string.h>

/* n bytes in room i, at its end. */
static uint8_t *bytes_place(fy_trial *t, int i, int64_t n) { return (uint8_t *)(fy_room_place(t, i, (n + 3) / 4, false) + (n + 3) / 4) - n; }

static uint8_t *bytes_random(fy_trial *t, int i, int64_t n) {
    uint8_t *p = bytes_place(t, i, n);
    for (int64_t k = 0; k < n; k++) p[k] = (uint8_t)(fy_trial_next(t) >> 40);
    if (n > 3) p[fy_trial_pick(t, 0, n - 1)] = 255;              /* the ends of both ranges */
    if (n > 3) p[fy_trial_pick(t, 0, n - 1)] = 128;
    return p;
}

/* ---- sums of products -------------------------------------------------------------------------------------------------------- */

/* usual: what most layers do with their sums, which kernels have code of its own for. */
typedef struct layer { fy_product_u8s8 p; int64_t groups, nr, y_size; bool depthwise, usual; } layer;

static int64_t weight_bytes(const layer *l) { return l->groups * l->p.w_group; }

static int32_t sum_of(const layer *l, int64_t pixel, int64_t column) {
    const fy_product_u8s8 *p = &l->p;
    const int64_t fours = l->depthwise ? (p->kernel[1] + 3) / 4 : (p->lanes + 3) / 4, r = pixel / p->out[1], q = pixel % p->out[1];
    const uint8_t *x0 = p->x + r * p->x_step[0] + q * p->x_step[1];
    const int8_t *w = p->w + column / l->nr * p->w_group + column % l->nr * 4;
    int32_t sum = 0;
    if (l->depthwise) {
        for (int64_t i = 0; i < p->kernel[0]; i++)
            for (int64_t j = 0; j < p->kernel[1]; j++)
                sum += x0[column / 16 * p->x_block + i * p->tap[0] + j * p->tap[1] + column % 16] * w[(i * fours + j / 4) * 64 + j % 4];
        return sum;
    }
    for (int64_t b = 0; b < p->in_blocks; b++)
        for (int64_t i = 0; i < p->kernel[0]; i++)
            for (int64_t j = 0; j < p->kernel[1]; j++, w += fours * 4 * l->nr)
                for (int64_t k = 0; k < p->lanes; k++) sum += x0[b * p->x_block + i * p->tap[0] + j * p->tap[1] + k] * w[k / 4 * 4 * l->nr + k % 4];
    return sum;
}

static float clamped(float x, float lo, float hi) { return x < lo ? lo : x > hi ? hi : x; }

static bool layer_value(fy_trial *t, const layer *l, int64_t pixel, int64_t column) {
    const fy_product_u8s8 *p = &l->p;
    const fy_requant *q = &p->q;
    const int64_t at = pixel * p->y_pixel + column / 16 * p->y_block + column % 16;
    const int32_t sum = sum_of(l, pixel, column) + q->start[column] + (p->row ? p->row[pixel] : 0);
    float x = (float)sum * q->scale[column];
    if (q->bias) x += q->bias[column];
    if (q->put == FY_PUT_I32) {
        int32_t got = ((const int32_t *)p->y)[at];
        return got == sum || fy_trial_fail(t, "pixel %lld, column %lld: %d, not %d", (long long)pixel, (long long)column, got, sum);
    }
    if (q->put == FY_PUT_F32) {
        float got = ((const float *)p->y)[at];
        if (q->add) x += ((const float *)q->add)[at];
        x = clamped(x, q->lo, q->hi);
        return fy_same_bits(&got, &x, 1) || fy_trial_fail(t, "pixel %lld, column %lld: %.9g, not %.9g", (long long)pixel, (long long)column, (double)got, (double)x);
    }
    float r = rintf(clamped(x, q->lo, q->hi));
    int32_t want = (int32_t)r + q->zero;
    if (q->again) {
        x = r * q->k;
        if (q->add) x += (float)((((const uint8_t *)q->add)[at] ^ q->add_flip) - q->add_zero) * q->k_add;
        if (q->add_row) x += q->add_row[column];
        want = (int32_t)rintf(clamped(x, q->lo2, q->hi2)) + q->zero2;
    }
    uint8_t got = ((const uint8_t *)p->y)[at];
    return got == (uint8_t)want || fy_trial_fail(t, "pixel %lld, column %lld: byte %d, not %d", (long long)pixel, (long long)column, got, (uint8_t)want);
}

static fy_kernel_product *kernel_of(const fy_trial *t, const layer *l) { return l->depthwise ? t->k->depthwise_u8s8 : t->k->product_u8s8; }

static bool layer_run(fy_trial *t, layer *l) {
    fy_product_u8s8 *p = &l->p;
    const int64_t padded = l->groups * l->nr;
    int32_t start[512], row[256];
    float scale[512], bias[512], add_row[512];
    for (int64_t i = 0; i < padded; i++) {
        start[i] = (int32_t)fy_trial_pick(t, -100000, 100000);
        scale[i] = 0.003f * fy_trial_value(t);
        bias[i] = 50 * fy_trial_value(t);
        add_row[i] = 50 * fy_trial_value(t);
    }
    for (int64_t i = 0; i < p->pixels; i++) row[i] = (int32_t)fy_trial_pick(t, -1000, 1000);
    const int zero = l->usual && fy_trial_pick(t, 0, 1) ? 0 : (int)fy_trial_pick(t, 0, 255), zero2 = (int)fy_trial_pick(t, 0, 255);
    p->q = (fy_requant){.put = (fy_put)fy_trial_pick(t, 0, 2), .start = start, .scale = scale, .lo = (float)-zero, .hi = (float)(255 - zero), .zero = zero, .lo2 = (float)-zero2, .hi2 = (float)(255 - zero2),
                        .zero2 = zero2, .k = 0.7f, .k_add = 0.9f, .add_zero = (int32_t)fy_trial_pick(t, 0, 255)};
    if (fy_trial_pick(t, 0, 1)) p->q.bias = bias;
    if (!l->depthwise && fy_trial_pick(t, 0, 1)) p->row = row;
    if (fy_trial_pick(t, 0, 1)) p->q.lo = 0;
    p->q.small = !p->q.bias && fy_trial_pick(t, 0, 1);
    if (l->usual) {
        p->q.put = FY_PUT_BYTE;
        p->q.bias = NULL;
        p->row = NULL;
        p->q.small = true;
    }
    const int64_t size = p->q.put == FY_PUT_BYTE ? 1 : 4;
    if (p->q.put == FY_PUT_BYTE && fy_trial_pick(t, 0, 1)) {
        p->q.again = true;
        if (fy_trial_pick(t, 0, 1)) p->q.add_row = add_row;
        p->q.add_flip = fy_trial_pick(t, 0, 1) ? 0x80 : 0;
    }
    if ((p->q.again || p->q.put == FY_PUT_F32) && fy_trial_pick(t, 0, 1)) {
        if (size == 1) p->q.add = bytes_random(t, 2, l->y_size);
        else {
            float *add = fy_room_place(t, 2, l->y_size, false);
            fy_trial_values(t, add, l->y_size);
            p->q.add = add;
        }
    }
    p->y = bytes_place(t, 3, l->y_size * size);
    for (int64_t g = 0; g < l->groups; g++) kernel_of(t, l)(p, g, 0, p->out[0]);
    t->cases++;
    if (!fy_room_intact(t, 3)) return fy_trial_fail(t, "wrote outside of its result");
    for (int64_t i = 0; i < p->pixels; i++)
        for (int64_t c = 0; c < p->columns; c++)
            if (!layer_value(t, l, i, c)) return false;
    layer again = *l;
    again.p.y = bytes_place(t, 4, l->y_size * size);
    for (int64_t g = l->groups - 1; g >= 0; g--)
        for (int64_t r = p->out[0] - 1; r >= 0; r--) kernel_of(t, l)(&again.p, g, r, r + 1);
    return !memcmp(again.p.y, p->y, (size_t)(l->y_size * size)) || fy_trial_fail(t, "bits depend on which rows are computed together");
}

/* A product of matrices. */
static bool matrix(fy_trial *t, int64_t m, int64_t n, int64_t k) {
    const int nr = t->k->int8_nr;
    layer l = {.p = {.lanes = k, .in_blocks = 1, .kernel = {1, 1}, .out = {1, m}, .pixels = m, .columns = n, .y_pixel = n, .y_block = 16}, .groups = (n + nr - 1) / nr, .nr = nr, .y_size = m * n};
    int32_t sums[512];
    if (m > 1 && fy_trial_pick(t, 0, 1)) {                       /* in pieces, the last one shorter */
        l.p.out[1] = (m + 1) / 2;
        l.p.out[0] = 2;
    }
    l.p.x_step[1] = k;
    l.p.x_step[0] = l.p.out[1] * k;
    l.p.w_group = (k + 3) / 4 * 4 * nr;
    l.p.x = bytes_random(t, 0, m * k);
    int8_t *w = (int8_t *)bytes_place(t, 1, weight_bytes(&l));
    const uint8_t *b = bytes_random(t, 5, k * n);
    fy_pack_s8(w, sums, b, 0, k, n, n, 1, nr, 0, l.groups);
    for (int64_t j = 0; j < n; j++) {
        int32_t sum = 0;
        for (int64_t i = 0; i < k; i++) sum += (int8_t)b[i * n + j];
        if (sum != sums[j]) return fy_trial_fail(t, "packing %lldx%lld: the sum of column %lld", (long long)k, (long long)n, (long long)j);
    }
    l.p.w = w;
    return layer_run(t, &l);
}

/* A convolution; `lanes` other than 16: few channels. taps: of a square kernel, without dilation; 0: any. */
static bool convolution(fy_trial *t, int64_t wide, bool depthwise, int taps) {
    const int64_t nr = depthwise ? 16 : t->k->int8_nr, stride = fy_trial_pick(t, 1, 2), dilation = !taps && fy_trial_pick(t, 1, 3) == 1 ? 2 : 1, blocks = fy_trial_pick(t, 1, 3);
    const int64_t columns = 16 * fy_trial_pick(t, 1, 4), lanes = depthwise || fy_trial_pick(t, 0, 3) ? 16 : 4 * fy_trial_pick(t, 1, 7);
    layer l = {.p = {.lanes = lanes, .in_blocks = lanes == 16 ? blocks : 1, .kernel = {fy_trial_pick(t, 1, 5), fy_trial_pick(t, 1, 5)}, .out = {fy_trial_pick(t, 1, 3), wide}, .columns = columns, .y_pixel = 16},
               .groups = (columns + nr - 1) / nr, .nr = nr, .depthwise = depthwise};
    fy_product_u8s8 *p = &l.p;
    if (taps) {
        l.usual = fy_trial_pick(t, 0, 1);
        p->kernel[0] = p->kernel[1] = taps;
        p->out[0] += fy_trial_pick(t, 0, 4);
    }
    const int64_t w = (wide - 1) * stride + (p->kernel[1] - 1) * dilation + 1, h = (p->out[0] - 1) * stride + (p->kernel[0] - 1) * dilation + 1;
    p->pixels = p->out[0] * wide;
    if (!depthwise && wide > 1) p->pixels -= fy_trial_pick(t, 0, wide - 1);
    p->y_block = p->out[0] * wide * 16;
    l.y_size = (columns + 15) / 16 * p->y_block;
    p->x_block = h * w * lanes;
    p->x_step[0] = stride * w * lanes;
    p->x_step[1] = stride * lanes;
    p->tap[0] = dilation * w * lanes;
    p->tap[1] = dilation * lanes;
    p->w_group = depthwise ? p->kernel[0] * ((p->kernel[1] + 3) / 4) * 64 : p->in_blocks * p->kernel[0] * p->kernel[1] * lanes * nr;
    int8_t *weights = (int8_t *)bytes_random(t, 1, weight_bytes(&l));
    for (int64_t i = 0; depthwise && i < weight_bytes(&l); i++)
        if (i / 64 % ((p->kernel[1] + 3) / 4) * 4 + i % 4 >= p->kernel[1]) weights[i] = 0;
    if (!depthwise && lanes == 16 && fy_trial_pick(t, 0, 1)) {
        const int64_t last = (p->in_blocks - 1) * p->kernel[0] * p->kernel[1] * lanes * nr;
        p->last = 4 * fy_trial_pick(t, 1, 4);
        for (int64_t i = 0; i < weight_bytes(&l); i++)
            if (i % p->w_group >= last && i % p->w_group / (4 * nr) % 4 * 4 >= p->last) weights[i] = 0;
    }
    p->w = weights;
    p->x = bytes_random(t, 0, (depthwise ? l.groups : p->in_blocks) * p->x_block + (depthwise ? 64 : 0));
    return layer_run(t, &l);
}

bool fy_check_product(fy_trial *t) {
    static const int64_t ks[] = {1, 2, 3, 4, 5, 7, 8, 31, 64, 127, 512, 1027};
    const int64_t mr = t->k->int8_mr, nr = t->k->int8_nr;
    for (int64_t m = 1; m <= 2 * mr + 1; m++)
        if (!matrix(t, m, 1 + m * 7 % (2 * nr + 1), 1 + m * 5 % 37)) return false;
    for (int64_t n = 1; n <= 2 * nr + 1; n++)
        if (!matrix(t, 1 + n % (mr + 2), n, 1 + n * 3 % 29)) return false;
    for (int i = 0; i < FY_COUNT(ks); i++)
        for (int k = 0; k < 4; k++)
            if (!matrix(t, fy_trial_pick(t, 1, mr + 1), fy_trial_pick(t, 1, nr + 1), ks[i])) return false;
    for (int64_t i = 0; i < 4 * mr + 80; i++)
        if (!convolution(t, 1 + i % (2 * mr + 1), false, (int)(i % 2))) return false;
    for (int i = 0; i < 48; i++)
        if (!convolution(t, (1 + i % 2) * mr, false, 1 + i / 2 % 3)) return false;
    return true;
}

bool fy_check_product_depthwise(fy_trial *t) {
    for (int64_t i = 0; i < 240; i++)
        if (!convolution(t, 1 + i % 19, true, (int)(i % 2 * 3))) return false;
    return true;
}

/* ---- byte by byte ------------------------------------------------------------------------------------------------------------ */

static fy_bytes some_bytes(fy_trial *t) {
    bool s8 = fy_trial_pick(t, 0, 1);
    static const float scales[] = {0.5f, 1.0f / 255, 0.0235f, 3.1f, 1e-20f};
    return (fy_bytes){.scale = scales[fy_trial_pick(t, 0, 4)], .zero = (int32_t)fy_trial_pick(t, 0, 255), .flip = s8 ? 0x80 : 0};
}

bool fy_check_quantize(fy_trial *t) {
    for (int64_t n = 0; n < 150; n++) {
        fy_bytes q = some_bytes(t);
        float *x = fy_room_place(t, 0, n, n & 1);
        uint8_t *y = bytes_place(t, 1, n);
        for (int64_t i = 0; i < n; i++) {
            x[i] = fy_trial_value(t) * 300 * q.scale;
            if (i % 3 == 0) x[i] = ((float)fy_trial_pick(t, -300, 300) + 0.5f) * q.scale;        /* the middle of two steps, or next to it */
            if (i % 7 == 5) x[i] = fy_special_floats[fy_trial_pick(t, 0, fy_special_count - 1)];
        }
        t->k->quantize_bytes(y, x, n, &q);
        t->cases++;
        if (!fy_room_intact(t, 1)) return fy_trial_fail(t, "%lld: wrote outside of its result", (long long)n);
        for (int64_t i = 0; i < n; i++) {
            float v = rintf(x[i] / q.scale);
            int want = (v >= (float)-q.zero ? v > (float)(255 - q.zero) ? 255 : (int)v + q.zero : 0) ^ q.flip;
            if (y[i] != want) return fy_trial_fail(t, "%.9g / %.9g + %d: %d, not %d", (double)x[i], (double)q.scale, q.zero, y[i], want);
        }
    }
    return true;
}

bool fy_check_dequantize(fy_trial *t) {
    for (int64_t n = 0; n < 100; n++) {
        fy_bytes q = some_bytes(t);
        const uint8_t *x = bytes_random(t, 0, n);
        float *y = fy_room_place(t, 1, n, n & 1);
        t->k->dequantize_bytes(y, x, n, &q);
        t->cases++;
        if (!fy_room_intact(t, 1)) return fy_trial_fail(t, "%lld: wrote outside of its result", (long long)n);
        for (int64_t i = 0; i < n; i++) {
            float want = (float)((x[i] ^ q.flip) - q.zero) * q.scale;
            if (y[i] != want) return fy_trial_fail(t, "%d: %.9g, not %.9g", x[i], (double)y[i], (double)want);
        }
    }
    return true;
}

bool fy_check_byte_binary(fy_trial *t) {
    for (int64_t n = 1; n < 200; n++) {
        fy_byte_binary q = {.a = some_bytes(t), .b = some_bytes(t), .zero = (int32_t)fy_trial_pick(t, 0, 255), .product = n & 1, .one = (int)fy_trial_pick(t, 0, 2)};
        q.a.scale = q.product ? 0.01f : 0.37f;
        q.b.scale = 0.61f;
        q.lo = (float)-q.zero;
        q.hi = (float)(255 - q.zero);
        const uint8_t *a = bytes_random(t, 0, q.one == 1 ? 1 : n), *b = bytes_random(t, 1, q.one == 2 ? 1 : n);
        uint8_t *y = bytes_place(t, 2, n);
        t->k->byte_binary(y, a, b, n, &q);
        t->cases++;
        if (!fy_room_intact(t, 2)) return fy_trial_fail(t, "%lld: wrote outside of its result", (long long)n);
        for (int64_t i = 0; i < n; i++) {
            float va = (float)((a[q.one == 1 ? 0 : i] ^ q.a.flip) - q.a.zero), vb = (float)((b[q.one == 2 ? 0 : i] ^ q.b.flip) - q.b.zero);
            float v = q.product ? va * vb * q.a.scale : va * q.a.scale + vb * q.b.scale;
            int want = (int)rintf(clamped(v, q.lo, q.hi)) + q.zero;
            if (y[i] != (uint8_t)want) return fy_trial_fail(t, "of %g and %g: %d, not %d", (double)va, (double)vb, y[i], want);
        }
    }
    return true;
}

bool fy_check_dot_peak(fy_trial *t) {
    t->cases++;
    return t->k->dot_peak(10) > 0;
}
