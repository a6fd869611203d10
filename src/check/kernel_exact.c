/* SPDX-License-Identifier: Apache-2.0
 * kernel_exact.c - what the functions of kernels.def are by definition, in double, and how far kernels are from it. An error is counted in
 * units in the last place of the float nearest to the exact value; below the normal numbers a unit is 2^-149. */
#include "check/kernels.h"

#include <math.h>
#include <string.h>

#define EXACT(name, expr) static double exact_##name(double x, const float *p) { (void)p; return (expr); }
#define P0 ((double)p[0])
#define P1 ((double)p[1])

static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double softplus(double x) { return x < 0 ? log1p(exp(x)) : x + log1p(exp(-x)); }
static double within(double x, double lo, double hi) { return x < lo ? lo : x > hi ? hi : x; }
static double rounded(double x) { return (double)(float)x; }             /* a product that the kernel rounds by definition */

EXACT(none, x)
EXACT(clamp, within(x, P0, P1))
EXACT(leaky, x < 0 ? P0 * x : x)
EXACT(sigmoid, sigmoid(x))
EXACT(tanh, tanh(x))
EXACT(swish, isinf(x) && x * P0 < 0 ? (double)NAN : x * sigmoid(rounded(P0 * x)))
EXACT(hard_swish, x * within(x / 6 + 0.5, 0, 1))
EXACT(hard_sigmoid, within(P0 * x + P1, 0, 1))
EXACT(gelu, isinf(x) && x < 0 ? (double)NAN : 0.5 * x * erfc(-x * 0.70710678118654752440))
EXACT(gelu_tanh, isinf(x) && x < 0 ? (double)NAN : x * sigmoid(2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x)))
EXACT(elu, x < 0 ? P0 * expm1(x) : x)
EXACT(erf, erf(x))
EXACT(exp, exp(x))
EXACT(log, log(x))
EXACT(sqrt, sqrt(x))
EXACT(recip, 1 / x)
EXACT(abs, fabs(x))
EXACT(neg, -x)
EXACT(square, x * x)
EXACT(ceil, ceil(x))
EXACT(floor, floor(x))
EXACT(round, rint(x))
EXACT(sin, sin(x))
EXACT(cos, cos(x))
EXACT(asin, asin(x))
EXACT(acos, acos(x))
EXACT(atan, atan(x))
EXACT(rsqrt, 1 / sqrt(x))
EXACT(softplus, softplus(x))
EXACT(mish, isinf(x) && x < 0 ? (double)NAN : x * tanh(softplus(x)))

fy_exact *fy_exact_of(fy_act act) {
    static fy_exact *const all[FY_ACT_COUNT] = {
#define KERNEL(slot, signature, ulps, floor)
#define BINARY(OP, name)
#define UNARY(ACT, name, ulps, floor) [FY_ACT_##ACT] = exact_##name,
#include "kernels/kernels.def"
#undef KERNEL
#undef BINARY
#undef UNARY
    };
    return all[act];
}

/* Where functions overflow, vanish or change their way; multiples of pi / 2 that floats come closest to. */
const float fy_special_floats[] = {
    0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-45f, -1e-45f, 1.17549421e-38f, -1.17549421e-38f, 1.17549435e-38f, -1.17549435e-38f, 3.4028235e38f, -3.4028235e38f, 1, -1, 2, -2,
    0.5f, -0.5f, 1.5f, -1.5f, 2.5f, -2.5f, 88.7228394f, 88.7228317f, -103.972076f, -103.972084f, -87.3365479f, -88.7228394f, 0.75f, 0.749999940f, -0.75f, 0.92f, 0.4f, 0.399999976f, 30,
    30.0000019f, -110, -18, 18, 4, 9.01091290f, 3, -3, 8388607.5f, 8388608, -8388607.5f, 16777216, 2147483648.0f, -2147483648.0f, 30000, 30000.0020f, -30000.0020f, 1.57079637f,
    3.14159274f, 6.28318548f, 0.785398185f, 2.35619450f, 16367173.0f, 5.3199653e+36f, 1.6471575e+35f, 2.0117756e+19f, 4.57239e+23f, 1e-4f, 9.99999975e-5f, 1.70141173e38f,
    1.9721523e-31f, 2.93873588e-39f,
};
const int fy_special_count = FY_COUNT(fy_special_floats);

double fy_ulp(double x) {
    int power = -125;
    if (x != 0) frexp(x, &power);
    return ldexp(1, (power < -125 ? -125 : power) - 24);
}

double fy_ulps_apart(float got, double want) {
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got) ? 0 : 1e30;
    if (want == 0 && got == 0 && !signbit(want) != !signbit(got)) return 1e30;
    if (isinf((float)want)) return got == (float)want ? 0 : 1e30;
    double at = isinf(got) ? copysign(0x1p128, (double)got) : (double)got;       /* where rounding goes after the largest float */
    return fabs(at - want) / fy_ulp(want);
}

enum { BATCH = 1024 };

static void measure(double *worst, float *at, const float *y, const double *want, const float *x, int n) {
    for (int i = 0; i < n; i++) {
        double e = fy_ulps_apart(y[i], want[i]);
        if (e > *worst) {
            *worst = e;
            *at = x[i];
        }
    }
}

static void batch(double *worst, float *at, const fy_kernels *k, int n, fy_act act, const float *x, int count) {
    static const float p[2] = {1, 0};
    float first[BATCH], y[BATCH];
    double want[BATCH], most = 0;
    float where = 0;
    fy_exact *exact = fy_exact_of(act);
    for (int i = 0; i < count; i++) want[i] = exact((double)x[i], p);
    for (int t = 0; t < n; t++) {
        k[t].unary[act](t ? y : first, x, count, p);
        if (!t) measure(&most, &where, first, want, x, count);
        if (!t || !memcmp(first, y, sizeof *y * (size_t)count)) {               /* the same bits, the same errors */
            if (most > worst[t]) {
                worst[t] = most;
                at[t] = where;
            }
        } else
            measure(&worst[t], &at[t], y, want, x, count);
    }
}

void fy_kernel_accuracy(double *worst, float *at, const fy_kernels *k, int n, fy_act act, int64_t stride) {
    float x[BATCH];
    int count = 0;
    for (int t = 0; t < n; t++) {
        worst[t] = 0;
        at[t] = 0;
    }
    for (int i = 0; i < fy_special_count; i++) x[count++] = fy_special_floats[i];
    for (int64_t bits = 0; bits < (int64_t)1 << 32; bits += stride) {
        uint32_t b = (uint32_t)bits;
        if (count == BATCH) {
            batch(worst, at, k, n, act, x, count);
            count = 0;
        }
        memcpy(&x[count++], &b, sizeof b);
    }
    batch(worst, at, k, n, act, x, count);
}
