/* SPDX-License-Identifier: Apache-2.0
 * half.c - small floats by their bits, each narrowing with one rounding from double.
 *
 * Sources  IEEE 754-2008 (binary16); ONNX "Float stored in 8 bits" (float8e4m3fn .. e5m2fnuz, Cast-25's tables);
 *          OCP Microscaling Formats 1.0 (float4e2m1, float6e2m3, float6e3m2, float8e8m0). */
#include "base/half.h"

#include "ferry/run.h"

#include <math.h>
#include <string.h>

/* The code of |v| in a format of `mbits` fraction bits whose least normal exponent is `emin`, as if the exponent had no
 * upper end: fraction and exponent are one integer, so that a carry out of the fraction is right by itself. */
static uint64_t magnitude(double v, int mbits, int emin) {
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    u &= ~((uint64_t)1 << 63);
    int exponent = (int)(u >> 52) - 1023;
    uint64_t fraction = (u & (((uint64_t)1 << 52) - 1)) | (uint64_t)1 << 52;
    if (exponent == -1023) return 0;                   /* 0 and subnormal doubles are below half of any step here */
    int shift = 52 - mbits + (exponent < emin ? emin - exponent : 0);
    if (shift > 54) return 0;
    uint64_t q = fraction >> shift, rest = fraction & (((uint64_t)1 << shift) - 1), half = (uint64_t)1 << (shift - 1);
    if (rest > half || (rest == half && (q & 1))) q++;
    return exponent < emin ? q : ((uint64_t)(exponent - emin) << mbits) + q;
}

/* The value of a code whose sign is in bit `bits`-1. Special codes are the caller's. */
static float value(unsigned code, int bits, int mbits, int emin) {
    unsigned mag = code & ((1u << (bits - 1)) - 1), fraction = mag & ((1u << mbits) - 1), exponent = mag >> mbits;
    float v = exponent ? ldexpf((float)(fraction | 1u << mbits), (int)exponent - 1 + emin - mbits) : ldexpf((float)fraction, emin - mbits);
    return code >> (bits - 1) & 1 ? -v : v;
}

float fy_half_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, f = h & 1023, u;
    float r;
    if (e == 31) u = sign | 0x7F800000u | f << 13;
    else if (e) u = sign | (e + 112) << 23 | f << 13;
    else {                                             /* zero or subnormal: exact in float */
        r = (float)f * 0x1p-24f;
        return sign ? -r : r;
    }
    memcpy(&r, &u, sizeof r);
    return r;
}

/* Where v is normal in the format: its bits, rounded; least, above: the exponents, biased, from which and below which that is so. */
static bool normal(uint16_t *r, double v, int mbits, uint64_t least, uint64_t above) {
    uint64_t u, m;
    memcpy(&u, &v, sizeof u);
    m = u & ~((uint64_t)1 << 63);
    if (m < least << 52 || m >= above << 52) return false;
    m += ((uint64_t)1 << (51 - mbits)) - 1 + (m >> (52 - mbits) & 1);
    *r = (uint16_t)((u >> 48 & 0x8000) | ((m >> (52 - mbits)) - ((least - 1) << mbits)));
    return true;
}

uint16_t fy_half_from_f64(double v) {
    uint16_t r;
    if (normal(&r, v, 10, 1009, 1039)) return r;
    uint16_t sign = signbit(v) ? 0x8000 : 0;
    if (isnan(v)) return sign | 0x7E00;
    uint64_t m = isinf(v) ? 0x7C00 : magnitude(v, 10, -14);
    return (uint16_t)(sign | (m > 0x7C00 ? 0x7C00 : m));
}

float fy_bf16_to_f32(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float r;
    memcpy(&r, &u, sizeof r);
    return r;
}

uint16_t fy_bf16_from_f64(double v) {
    uint16_t r;
    if (normal(&r, v, 7, 897, 1151)) return r;
    uint16_t sign = signbit(v) ? 0x8000 : 0;
    if (isnan(v)) return sign | 0x7FC0;
    uint64_t m = isinf(v) ? 0x7F80 : magnitude(v, 7, -126);
    return (uint16_t)(sign | (m > 0x7F80 ? 0x7F80 : m));
}

/* One line per format: fraction bits, least exponent, largest finite code, code of infinity (0: none) and of NaN (0: none);
 * `zero`: there is only one zero, and the code of -0 is NaN. */
typedef struct kind { int bits, mbits, emin; unsigned max, inf, nan; bool zero; } kind;

static kind kind_of(int32_t dtype) {
    switch (dtype) {
    case FERRY_FLOAT8E4M3FN:   return (kind){ 8, 3, -6, 0x7E, 0, 0x7F, false };
    case FERRY_FLOAT8E4M3FNUZ: return (kind){ 8, 3, -7, 0x7F, 0, 0x80, true };
    case FERRY_FLOAT8E5M2:     return (kind){ 8, 2, -14, 0x7B, 0x7C, 0x7F, false };
    case FERRY_FLOAT8E5M2FNUZ: return (kind){ 8, 2, -15, 0x7F, 0, 0x80, true };
    case FERRY_FLOAT6E2M3:     return (kind){ 6, 3, 0, 0x1F, 0, 0, false };
    case FERRY_FLOAT6E3M2:     return (kind){ 6, 2, -2, 0x1F, 0, 0, false };
    default:                   return (kind){ 4, 1, 0, 7, 0, 0, false };               /* float4e2m1 */
    }
}

float fy_f8_to_f32(int32_t dtype, uint8_t bits) {
    if (dtype == FERRY_FLOAT8E8M0) return bits == 255 ? NAN : ldexpf(1.0f, bits - 127);
    kind k = kind_of(dtype);
    if (k.bits < 8) return value(bits & ((1u << k.bits) - 1), k.bits, k.mbits, k.emin);
    unsigned mag = bits & 0x7Fu;
    if (k.zero ? bits == k.nan : mag > (k.inf ? k.inf : k.max)) return k.zero || !(bits & 0x80) ? NAN : -NAN;
    if (k.inf && mag == k.inf) return bits & 0x80 ? -INFINITY : INFINITY;
    return value(bits, 8, k.mbits, k.emin);
}

uint8_t fy_f8_from_f64(int32_t dtype, double v, bool sat) {
    if (dtype == FERRY_FLOAT8E8M0) return fy_e8m0_from_f64(v, sat ? 'u' : 'n', sat);
    kind k = kind_of(dtype);
    unsigned sign = signbit(v) ? 1u << (k.bits - 1) : 0;
    if (k.bits < 8 && isnan(v)) return (uint8_t)k.max;                                /* it has no NaN: the largest value */
    if (isnan(v)) return (uint8_t)(k.zero ? k.nan : sign | k.nan);
    uint64_t m = isinf(v) ? UINT64_MAX : magnitude(v, k.mbits, k.emin);
    if (m > k.max) {
        if (sat || k.bits < 8) m = k.max;
        else if (k.inf) m = k.inf;
        else return (uint8_t)(k.zero ? k.nan : sign | k.nan);
    }
    if (k.zero && m == 0) return 0;
    return (uint8_t)(sign | m);
}

uint8_t fy_e8m0_from_f64(double v, char mode, bool sat) {
    if (isnan(v) || v < 0) return 255;
    if (isinf(v)) return sat ? 254 : 255;
    if (v == 0) return sat ? 0 : 255;
    int e;
    double f = frexp(v, &e);                           /* v = f 2^e, f in [1/2, 1) */
    e -= 1;
    if (mode == 'u' ? f > 0.5 : mode == 'n' && f >= 0.75) e++;
    if (e > 127) return sat ? 254 : 255;
    if (e < -127) return sat ? 0 : 255;
    return (uint8_t)(e + 127);
}
