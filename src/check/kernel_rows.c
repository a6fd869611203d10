/* SPDX-License-Identifier: Apache-2.0
 * kernel_rows.c - checkers of the kernels over rows, pooling windows and Winograd's transforms: against sums in double, a row alone against
 * the same row in a batch, nothing written or read outside. */
#include "check/kernels.h"

#include <math.h>
#include <string.h>

#define ROOT 0x1p-24                     /* half a unit in the last place of 1: what one rounding loses at most, as a share */

static const int64_t lengths[] = {1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 197, 768, 1000};

/* ---- softmax --------------------------------------------------------------------------------------------------------------- */

/* y of one row, x - max rounded as the kernel does. */
static bool softmax_row(fy_trial *t, const float *y, const float *x, int64_t n) {
    float top = -INFINITY;
    double sum = 0;
    bool nan = false;
    for (int64_t i = 0; i < n; i++) {
        nan |= isnan(x[i]);
        if (x[i] > top) top = x[i];
    }
    for (int64_t i = 0; i < n; i++) sum += exp((double)(x[i] - top));
    for (int64_t i = 0; i < n; i++) {
        double want = nan ? (double)NAN : exp((double)(x[i] - top)) / sum, allowed = (t->ulps + sqrt((double)n) / 4) * fy_ulp(want);
        if (!fy_trial_near(t, y[i], want, allowed)) return fy_trial_fail(t, "n=%lld: %.9g at %lld, not %.9g", (long long)n, (double)y[i], (long long)i, want);
    }
    return true;
}

bool fy_check_softmax(fy_trial *t) {
    for (int l = 0; l < FY_COUNT(lengths); l++)
        for (int how = 0; how < 6; how++) {
            int64_t n = lengths[l], rows = how < 2 ? 5 : 3;
            float *x = fy_room_place(t, 0, rows * n, how & 1), *y = how & 2 ? x : fy_room_place(t, 1, rows * n, !(how & 1)), *kept = fy_room_place(t, 2, rows * n, true), *one;
            for (int64_t i = 0; i < rows * n; i++) x[i] = fy_trial_value(t) * (how < 4 ? 20 : 300);
            if (how == 4) x[fy_trial_pick(t, 0, n - 1)] = -INFINITY;
            if (how == 5) x[fy_trial_pick(t, 0, n - 1)] = fy_trial_pick(t, 0, 1) ? NAN : INFINITY;
            if (how == 5)
                for (int64_t i = 0; i < n; i++) x[n + i] = -INFINITY;
            memcpy(kept, x, (size_t)(rows * n) * sizeof *x);
            t->k->softmax_rows(y, x, rows, n);
            t->cases++;
            if (!fy_room_intact(t, 0) || !fy_room_intact(t, 1)) return fy_trial_fail(t, "n=%lld: wrote outside of its result", (long long)n);
            for (int64_t r = 0; r < rows; r++) {
                if (!softmax_row(t, y + r * n, kept + r * n, n)) return false;
                one = fy_room_place(t, 3, n, false);
                t->k->softmax_rows(one, kept + r * n, 1, n);
                if (how < 4 && !fy_same_bits(one, y + r * n, n)) return fy_trial_fail(t, "n=%lld: row %lld alone differs from the same row among others", (long long)n, (long long)r);
            }
        }
    return true;
}

/* ---- layer and RMS normalization ------------------------------------------------------------------------------------------- */

typedef struct norm { int64_t n; const float *scale, *bias; float eps; bool rms; } norm;

static bool norm_row(fy_trial *t, const norm *k, const float *y, const float *x, float got_mean, float got_inv) {
    double mean = 0, var = 0, size = 0;
    for (int64_t i = 0; i < k->n; i++) {
        mean += (double)x[i] / (double)k->n;
        if (fabs((double)x[i]) > size) size = fabs((double)x[i]);
    }
    if (k->rms) mean = 0;
    for (int64_t i = 0; i < k->n; i++) var += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)k->n;
    double inv = 1 / sqrt(var + (double)k->eps), grow = ROOT * sqrt((double)k->n + 4);
    if (!fy_trial_near(t, got_mean, mean, t->ulps * grow * size)) return fy_trial_fail(t, "n=%lld: mean %.9g, not %.9g", (long long)k->n, (double)got_mean, mean);
    /* An error of the mean adds its square to the variance; a constant row leaves nothing else. */
    double inv_allowed = inv * (t->ulps * grow + pow(t->ulps * grow * size * inv, 2));
    if (!fy_trial_near(t, got_inv, inv, inv_allowed)) return fy_trial_fail(t, "n=%lld: 1 / deviation %.9g, not %.9g", (long long)k->n, (double)got_inv, inv);
    for (int64_t i = 0; i < k->n; i++) {
        double s = k->scale ? (double)k->scale[i] : 1, b = k->bias ? (double)k->bias[i] : 0, z = ((double)x[i] - mean) * inv, want = z * s + b;
        double allowed = fabs(s) * (t->ulps * grow * size * inv + fabs(z) * inv_allowed / inv) + t->ulps * ROOT * (fabs(z * s) + fabs(b));
        if (!fy_trial_near(t, y[i], want, allowed)) return fy_trial_fail(t, "n=%lld%s: %.9g at %lld, not %.9g", (long long)k->n, k->rms ? " rms" : "", (double)y[i], (long long)i, want);
    }
    return true;
}

static bool norm_once(fy_trial *t, int64_t n, int how) {
    int64_t rows = 4;
    bool low = how & 1;
    norm k = {.n = n, .eps = how & 16 ? 1e-12f : 1e-5f, .rms = how & 2};
    float *x = fy_room_place(t, 0, rows * n, low), *y = fy_room_place(t, 1, rows * n, !low), *mean = fy_room_place(t, 2, rows, low), *inv = fy_room_place(t, 3, rows, low);
    float *scale = fy_room_place(t, 4, n, low), *bias = fy_room_place(t, 5, n, low), *one = fy_room_place(t, 6, n, low), alone[2];
    fy_trial_values(t, x, rows * n);
    fy_trial_values(t, scale, n);
    fy_trial_values(t, bias, n);
    for (int64_t i = 0; i < n; i++) {
        x[i] = how & 8 ? 100 + x[i] : x[i];                      /* far from 0 */
        x[n + i] = 3;                                            /* no deviation at all */
    }
    if (how & 4) k.scale = scale;
    if (how & 8) k.bias = bias;
    t->k->norm_rows(y, x, rows, n, k.scale, k.bias, k.eps, k.rms, mean, inv);
    t->cases++;
    for (int i = 0; i < 6; i++)
        if (!fy_room_intact(t, i)) return fy_trial_fail(t, "n=%lld: wrote outside of its result", (long long)n);
    for (int64_t r = 0; r < rows; r++) {
        if (!norm_row(t, &k, y + r * n, x + r * n, mean[r], inv[r])) return false;
        t->k->norm_rows(one, x + r * n, 1, n, k.scale, k.bias, k.eps, k.rms, NULL, NULL);
        if (!fy_same_bits(one, y + r * n, n)) return fy_trial_fail(t, "n=%lld: row %lld alone differs from the same row among others", (long long)n, (long long)r);
        t->k->norm_rows(one, x + r * n, 1, n, k.scale, k.bias, k.eps, k.rms, &alone[0], &alone[1]);
        if (!fy_same_bits(&alone[0], &mean[r], 1) || !fy_same_bits(&alone[1], &inv[r], 1)) return fy_trial_fail(t, "n=%lld: statistics depend on the other rows", (long long)n);
    }
    return true;
}

bool fy_check_norm(fy_trial *t) {
    for (int l = 0; l < FY_COUNT(lengths); l++)
        for (int how = 0; how < 32; how++)
            if (!norm_once(t, lengths[l], how)) return false;
    return true;
}

/* ---- pooling windows of c16 pixels ----------------------------------------------------------------------------------------- */

static bool pool(fy_trial *t, bool sums) {
    for (int i = 0; i < 200; i++) {
        fy_pool_c16 w = {.n = {fy_trial_pick(t, i % 7 ? 1 : 0, 3), fy_trial_pick(t, 1, 7), fy_trial_pick(t, 1, 7)}};
        int p = (int)fy_trial_pick(t, 0, 2);
        w.step[2] = fy_trial_pick(t, 1, 2) * FY_LANES;
        w.step[1] = w.n[2] * w.step[2] + fy_trial_pick(t, 0, 3) * FY_LANES;
        w.step[0] = w.n[1] * w.step[1];
        w.pixels = fy_trial_pick(t, 1, 4);
        w.next = fy_trial_pick(t, 1, 2) * FY_LANES;
        int64_t taps = w.n[0] * w.n[1] * w.n[2], floats = (w.pixels - 1) * w.next + (taps ? (w.n[0] - 1) * w.step[0] + (w.n[1] - 1) * w.step[1] + (w.n[2] - 1) * w.step[2] + FY_LANES : FY_LANES);
        float *x = fy_room_place(t, 0, floats, i & 1), *y = fy_room_place(t, 1, w.pixels * FY_LANES, i & 2), scale = 1.0f / (float)(taps + 1);
        fy_trial_values(t, x, floats);
        if (i % 5 == 0) x[fy_trial_pick(t, 0, FY_LANES - 1)] = i % 10 ? NAN : INFINITY;
        if (sums) t->k->pool_sum_c16(y, x, &w, scale, p);
        else t->k->pool_max_c16(y, x, &w);
        t->cases++;
        if (!fy_room_intact(t, 1)) return fy_trial_fail(t, "%lld pixels: wrote outside of its result", (long long)taps);
        for (int64_t c = 0; c < w.pixels * FY_LANES; c++) {
            double sum = 0, size = 0, top = -(double)INFINITY;
            for (int64_t q = 0; q < taps; q++) {
                double v = (double)x[c / FY_LANES * w.next + q / w.n[2] / w.n[1] * w.step[0] + q / w.n[2] % w.n[1] * w.step[1] + q % w.n[2] * w.step[2] + c % FY_LANES], term = p == 2 ? v * v : p == 1 ? fabs(v) : v;
                sum += term * (double)scale;
                size += fabs(term) * (double)scale;
                top = isnan(v) || isnan(top) ? (double)NAN : v > top ? v : top;
            }
            if (!fy_trial_near(t, y[c], sums ? sum : top, sums ? t->ulps * ROOT * size * sqrt((double)taps) : 0))
                return fy_trial_fail(t, "%lld pixels, p %d: %.9g at %lld, not %.9g", (long long)taps, p, (double)y[c], (long long)c, sums ? sum : top);
        }
    }
    return true;
}

bool fy_check_pool_max(fy_trial *t) { return pool(t, false); }
bool fy_check_pool_sum(fy_trial *t) { return pool(t, true); }

/* ---- Winograd -------------------------------------------------------------------------------------------------------------- */

#define A 0.75
#define B 1.5
static const double data_rows[6][6] = {
    {A * A * B * B, 0, -(A * A + B * B), 0, 1, 0}, {0, -A * B * B, -B * B, A, 1, 0}, {0, A * B * B, -B * B, -A, 1, 0}, {0, -B * A * A, -A * A, B, 1, 0}, {0, B * A * A, -A * A, -B, 1, 0},
    {0, A * A * B * B, 0, -(A * A + B * B), 0, 1}};
static const double result_rows[6][6] = {{1, 1, 1, 1, 1, 0}, {0, A, -A, B, -B, 0}, {0, A * A, A * A, B * B, B * B, 0}, {0, A * A * A, -A * A * A, B * B * B, -B * B * B, 1}};

static const double data_rows2[6][6] = {{-1, 0, 1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}}, result_rows2[6][6] = {{1, 1, 1, 0}, {0, 1, -1, 1}};

/* y[i][j] of rows d rows', d n x n; *size: the sum of the sizes of its summands. */
static double sandwich(const double (*rows)[6], int n, int i, int j, const double d[36], double *size) {
    double y = 0;
    *size = 0;
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++) {
            double v = rows[i][a] * rows[j][b] * d[n * a + b];
            y += v;
            *size += fabs(v);
        }
    return y;
}

static bool winograd_in(fy_trial *t, fy_kernel_winograd_in *kernel, int n, const double (*rows)[6]) {
    for (int i = 0; i < 150; i++) {
        int64_t h = fy_trial_pick(t, 1, 9), w = fy_trial_pick(t, 1, 9), top = fy_trial_pick(t, -2, h), left = fy_trial_pick(t, -2, w), apart = FY_LANES * fy_trial_pick(t, 1, 3);
        float *x = fy_room_place(t, 0, h * w * FY_LANES, i & 1), *v = fy_room_place(t, 1, (n * n - 1) * apart + FY_LANES, i & 2);
        fy_trial_values(t, x, h * w * FY_LANES);
        kernel(v, apart, x, h, w, top, left);
        t->cases++;
        if (!fy_room_intact(t, 0) || !fy_room_intact(t, 1)) return fy_trial_fail(t, "%lldx%lld: wrote outside of its result", (long long)h, (long long)w);
        for (int64_t k = 0; k < (n * n - 1) * apart; k++)
            if (k % apart >= FY_LANES && !fy_is_pattern(v[k])) return fy_trial_fail(t, "%lldx%lld: wrote between its results", (long long)h, (long long)w);
        for (int c = 0; c < FY_LANES; c++) {
            double d[36], size;
            for (int64_t k = 0; k < n * n; k++) {
                int64_t r = top + k / n, q = left + k % n;
                d[k] = r >= 0 && r < h && q >= 0 && q < w ? (double)x[(r * w + q) * FY_LANES + c] : 0;
            }
            for (int k = 0; k < n * n; k++) {
                double want = sandwich(rows, n, k / n, k % n, d, &size);
                if (!fy_trial_near(t, v[k * apart + c], want, t->ulps * ROOT * 3 * size))
                    return fy_trial_fail(t, "%lldx%lld at (%lld, %lld): %.9g at %d, not %.9g", (long long)h, (long long)w, (long long)top, (long long)left, (double)v[k * apart + c], k, want);
            }
        }
    }
    return true;
}

static bool winograd_out(fy_trial *t, fy_kernel_winograd_out *kernel, int n, const double (*rows)[6]) {
    for (int i = 0; i < 150; i++) {
        int64_t h = fy_trial_pick(t, 1, 9), w = fy_trial_pick(t, 1, 9), top = fy_trial_pick(t, 0, h - 1), left = fy_trial_pick(t, 0, w - 1), apart = FY_LANES * fy_trial_pick(t, 1, 3);
        float *m = fy_room_place(t, 0, (n * n - 1) * apart + FY_LANES, i & 1), *y = fy_room_place(t, 1, h * w * FY_LANES, i & 2), *add = fy_room_place(t, 2, h * w * FY_LANES, i & 1);
        float *bias = fy_room_place(t, 3, FY_LANES, i & 1);
        fy_epilogue e = {.act = i % 3 ? FY_ACT_NONE : FY_ACT_CLAMP, .p = {-0.5f, 4}};
        for (int64_t k = 0; k < n * n; k++) fy_trial_values(t, m + k * apart, FY_LANES);
        fy_trial_values(t, add, h * w * FY_LANES);
        fy_trial_values(t, bias, FY_LANES);
        kernel(y, i & 4 ? add : NULL, m, apart, h, w, top, left, i & 8 ? bias : NULL, &e);
        t->cases++;
        if (!fy_room_intact(t, 1)) return fy_trial_fail(t, "%lldx%lld: wrote outside of its result", (long long)h, (long long)w);
        for (int64_t k = 0; k < h * w * FY_LANES; k++) {
            int64_t r = k / FY_LANES / w - top, q = k / FY_LANES % w - left, c = k % FY_LANES;
            if (r < 0 || r >= n - 2 || q < 0 || q >= n - 2) {
                if (!fy_is_pattern(y[k])) return fy_trial_fail(t, "%lldx%lld: wrote outside of its patch", (long long)h, (long long)w);
                continue;
            }
            double d[36], size;
            for (int64_t j = 0; j < n * n; j++) d[j] = (double)m[j * apart + c];
            double want = sandwich(rows, n, (int)r, (int)q, d, &size) + (i & 4 ? (double)add[k] : 0) + (i & 8 ? (double)bias[c] : 0);
            if (e.act) want = want < (double)e.p[0] ? (double)e.p[0] : want > (double)e.p[1] ? (double)e.p[1] : want;
            if (!fy_trial_near(t, y[k], want, t->ulps * ROOT * 3 * (size + 2))) return fy_trial_fail(t, "%lldx%lld: %.9g at %lld, not %.9g", (long long)h, (long long)w, (double)y[k], (long long)k, want);
        }
    }
    return true;
}

bool fy_check_winograd_in(fy_trial *t) { return winograd_in(t, t->k->winograd_in_c16, 6, data_rows); }
bool fy_check_winograd2_in(fy_trial *t) { return winograd_in(t, t->k->winograd2_in_c16, 4, data_rows2); }
bool fy_check_winograd_out(fy_trial *t) { return winograd_out(t, t->k->winograd_out_c16, 6, result_rows); }
bool fy_check_winograd2_out(fy_trial *t) { return winograd_out(t, t->k->winograd2_out_c16, 4, result_rows2); }
