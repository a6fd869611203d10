/* SPDX-License-Identifier: Apache-2.0
 * kernel_bf16.c - checkers of bfloat16: rounding against the definition, products against sums in double of the rounded operands, any part alone
 * against the whole, nothing written outside of the result. */
#include "check/kernels.h"

#include <math.h>
#include <string.h>

#define ROOT 0x1p-24

/* To nearest even; below the normal numbers 0; NaN stays one. */
static float rounded(float x) {
    uint32_t u, low;
    float y;
    if (isnan(x)) return x;
    if (fabsf(x) < 0x1p-126f) return copysignf(0.0f, x);
    memcpy(&u, &x, sizeof u);
    low = u & 0xffffu;
    u -= low;
    if (low > 0x8000u || (low == 0x8000u && u & 0x10000u)) u += 0x10000u;
    memcpy(&y, &u, sizeof y);
    return y;
}

/* Value i of a row as bf16_rows makes it. */
static float held(const fy_kernels *k, const void *row, int64_t i) {
    float y;
    if (k->bf16_bytes == sizeof y) memcpy(&y, (const char *)row + 4 * i, sizeof y);
    else {
        uint16_t h;
        memcpy(&h, (const char *)row + 2 * i, sizeof h);
        uint32_t u = (uint32_t)h << 16;
        memcpy(&y, &u, sizeof y);
    }
    return y;
}

static int64_t floats_of(const fy_kernels *k, int64_t n) { return ((n + 1) / 2 * 2 * k->bf16_bytes + 3) / 4; }

static bool rows_once(fy_trial *t, int64_t n, bool low) {
    float *x = fy_room_place(t, 0, n, low), *y = fy_room_place(t, 1, floats_of(t->k, n), !low);
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = (uint32_t)fy_trial_next(t);
        memcpy(&x[i], &u, sizeof u);                             /* any bits at all */
        if (fy_trial_pick(t, 0, 3) == 0) x[i] = fy_special_floats[fy_trial_pick(t, 0, fy_special_count - 1)];
        else if (fy_trial_pick(t, 0, 3) == 0) { u = (u & 0xffff0000u) | 0x8000u; memcpy(&x[i], &u, sizeof u); }       /* a tie */
    }
    t->k->bf16_rows(y, x, n);
    t->cases++;
    if (!fy_room_intact(t, 1)) return fy_trial_fail(t, "n=%lld: wrote outside of its row", (long long)n);
    for (int64_t i = 0; i < (n + 1) / 2 * 2; i++) {
        float got = held(t->k, y, i), want = i < n ? rounded(x[i]) : 0;
        if (!(isnan(got) && isnan(want)) && memcmp(&got, &want, sizeof got)) return fy_trial_fail(t, "n=%lld: %.9g becomes %.9g, not %.9g", (long long)n, i < n ? (double)x[i] : 0.0, (double)got, (double)want);
    }
    return true;
}

bool fy_check_bf16_rows(fy_trial *t) {
    for (int64_t n = 0; n < 70; n++)
        if (!rows_once(t, n, n % 2) || !rows_once(t, n, n % 2 == 0)) return false;
    for (int i = 0; i < 40; i++)
        if (!rows_once(t, fy_trial_pick(t, 1, 2000), i % 2)) return false;
    return true;
}

static bool product_once(fy_trial *t, int64_t m, int64_t n, int64_t k, int how) {
    int nr = t->k->gemm_nr;
    const int64_t even = (k + 1) / 2 * 2, panels = (n + nr - 1) / nr, apart = floats_of(t->k, k) + (how & 1 ? 5 : 0), c_row = n + (how & 2 ? 3 : 0), bs = panels * nr * even / 2;
    float *x = fy_room_place(t, 0, m * k, how & 4), *b = fy_room_place(t, 1, k * n, how & 4), *pairs = fy_room_place(t, 2, bs, how & 4);
    float *c = fy_room_place(t, 3, (m - 1) * c_row + n, !(how & 4)), *more = fy_room_place(t, 4, (m - 1) * c_row + n, how & 4), *bias = fy_room_place(t, 6, n, how & 4);
    float *a = fy_room_place(t, 7, (m - 1) * apart + floats_of(t->k, k), how & 4);
    fy_trial_values(t, x, m * k);
    fy_trial_values(t, b, k * n);
    fy_trial_values(t, bias, n);
    for (int64_t i = 0; i < m; i++) fy_trial_values(t, more + i * c_row, n);
    for (int64_t i = 0; i < m; i++) t->k->bf16_rows(a + i * apart, x + i * k, k);
    if (how & 64 && k) b[fy_trial_pick(t, 0, k * n - 1)] = how & 16 ? -INFINITY : NAN;
    fy_gemm_pack_bf16((uint16_t *)(void *)pairs, b, k, n, n, 1, nr, 0, panels);
    if (!fy_room_intact(t, 2)) return fy_trial_fail(t, "%lldx%lld: packing wrote outside of its panels", (long long)k, (long long)n);
    fy_gemm_bf16 g = {.a = a, .b = (const uint16_t *)(const void *)pairs, .c = c, .m = m, .n = n, .k = even, .a_row = apart * 4, .c_row = c_row};
    if (how & 8) g.e.bias = bias;
    if (how & 16) g.e.add = more;
    if (how & 32) { g.e.act = FY_ACT_CLAMP; g.e.p[1] = 6; }
    t->k->gemm_bf16(&g, 0, m, 0, panels);
    t->cases++;
    if (!fy_room_intact(t, 3)) return fy_trial_fail(t, "%lldx%lldx%lld: wrote outside of its result", (long long)m, (long long)n, (long long)k);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = n; j < c_row && i + 1 < m; j++)
            if (!fy_is_pattern(c[i * c_row + j])) return fy_trial_fail(t, "%lldx%lldx%lld: wrote between rows", (long long)m, (long long)n, (long long)k);
        for (int64_t j = 0; j < n; j++) {
            double sum = 0, size = 0, by = g.e.bias ? (double)bias[j] : 0, add = g.e.add ? (double)more[i * c_row + j] : 0;
            for (int64_t q = 0; q < k; q++) {
                double v = (double)rounded(x[i * k + q]) * (double)rounded(b[q * n + j]);
                sum += v;
                size += fabs(v);
            }
            double want = sum + by + add, allowed = t->ulps * ROOT * sqrt((double)k + 4) * (size + fabs(by) + fabs(add));
            if (how & 32 && !isnan(want)) want = want < 0 ? 0 : want > 6 ? 6 : want;
            if (!fy_trial_near(t, c[i * c_row + j], want, allowed))
                return fy_trial_fail(t, "%lldx%lldx%lld: %.9g at (%lld, %lld), not %.9g", (long long)m, (long long)n, (long long)k, (double)c[i * c_row + j], (long long)i, (long long)j, want);
        }
    }
    g.c = fy_room_place(t, 5, (m - 1) * c_row + n, false);
    for (int64_t r = 0, r_end; r < m; r = r_end) {
        r_end = r + fy_trial_pick(t, 1, 1 + (m - r) / 2);
        for (int64_t j = 0, j_end; j < panels; j = j_end) {
            j_end = j + fy_trial_pick(t, 1, panels - j);
            t->k->gemm_bf16(&g, r, r_end, j, j_end);
        }
    }
    if (!fy_room_intact(t, 5)) return fy_trial_fail(t, "%lldx%lldx%lld: a piece wrote outside of the result", (long long)m, (long long)n, (long long)k);
    return fy_same_bits(g.c, c, (m - 1) * c_row + n) || fy_trial_fail(t, "%lldx%lldx%lld: bits depend on how rows and columns are split", (long long)m, (long long)n, (long long)k);
}

bool fy_check_gemm_bf16(fy_trial *t) {
    const int64_t mr = t->k->gemm_mr, nr = t->k->gemm_nr;
    return fy_trial_products(t, product_once) && product_once(t, 3 * mr + 1, 34 * nr + 5, 64, 24);       /* several chunks; more tiles than are looked ahead for */
}
