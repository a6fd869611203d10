/* SPDX-License-Identifier: Apache-2.0
 * loops.c - the table of loops for an instruction set; the loops that are calls of libm. */
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

#define LIBM(name, T, ...) \
    static void name(void *y_, const void *a_, const void *b_, int64_t n, int one) { \
        T *y = y_; \
        const T *p = a_, *q = b_, still = one == 1 ? *p : one == 2 ? *q : 0;     /* y may be where it is */ \
        for (int64_t i = 0; i < n; i++) { \
            T a = one == 1 ? still : p[i], b = one == 2 ? still : q[i]; \
            y[i] = (__VA_ARGS__); \
        } \
    }

/* The remainder that has the divisor's sign, 0 included. */
static double rest(double a, double b) {
    double r = fmod(a, b);
    if (r == 0) return copysign(0.0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}
static float rest_f32(float a, float b) {
    float r = fmodf(a, b);
    if (r == 0) return copysignf(0.0f, b);
    return (r < 0) != (b < 0) ? r + b : r;
}
LIBM(pow_f32, float, b == 2 ? a * a : powf(a, b))
LIBM(pow_f64, double, b == 2 ? a * a : pow(a, b))
LIBM(fmod_f32, float, fmodf(a, b))
LIBM(fmod_f64, double, fmod(a, b))
LIBM(mod_f32, float, rest_f32(a, b))
LIBM(mod_f64, double, rest(a, b))

/* A group of the one number at x (little-endian: as all that have vectors here). */
static void hold(uint64_t *still, const void *x, int bytes) {
    uint64_t v = 0;
    switch (bytes) {
    case 1: memcpy(&v, x, 1); v *= UINT64_C(0x0101010101010101); break;
    case 2: memcpy(&v, x, 2); v *= UINT64_C(0x0001000100010001); break;
    case 4: memcpy(&v, x, 4); v *= UINT64_C(0x0000000100000001); break;
    default: memcpy(&v, x, 8); break;
    }
    for (int i = 0; i < FY_LOOP_GROUP * bytes / 8; i++) still[i] = v;
}

void fy_pair_in_groups(void *y, const void *a, const void *b, int64_t n, int one, const fy_groups2 *how) {
    const int64_t whole = n & -FY_LOOP_GROUP, done = whole * how->bytes;
    uint64_t still[FY_LOOP_GROUP];                  /* y may be where the one number is */
    if (whole) {
        if (one) hold(still, one == 1 ? a : b, how->bytes);
        if (one == 1) a = still;
        if (one == 2) b = still;
        how->run(y, a, b, whole, one == 1 ? 0 : FY_LOOP_GROUP, one == 2 ? 0 : FY_LOOP_GROUP);
    }
    if (whole < n)
        fy_loops_generic.pair[how->slot][how->number]((char *)y + whole * how->y_bytes, (const char *)a + (one == 1 ? 0 : done), (const char *)b + (one == 2 ? 0 : done), n - whole, one);
}

void fy_single_in_groups(void *y, const void *x, int64_t n, const double *p, const fy_groups1 *how) {
    const int64_t whole = n & -FY_LOOP_GROUP;
    if (whole) how->run(y, x, whole, p);
    if (whole < n) fy_loops_generic.single[how->slot][how->number]((char *)y + whole * how->y_bytes, (const char *)x + whole * how->bytes, n - whole, p);
}

void fy_cast_in_groups(void *y, const void *x, int64_t n, const fy_groups1 *how) {
    const int64_t whole = n & -FY_LOOP_GROUP;
    if (whole) how->run(y, x, whole, NULL);
    if (whole < n) fy_loops_generic.cast[how->slot][how->number]((char *)y + whole * how->y_bytes, (const char *)x + whole * how->bytes, n - whole);
}

void fy_loops_init(fy_loops *l, fy_isa isa) {
    *l = fy_loops_generic;
#if defined(__x86_64__)
    if (isa >= FY_ISA_AVX2) *l = fy_loops_avx2;
    if (isa >= FY_ISA_AVX512) fy_loops_over_avx512(l);
#elif defined(__aarch64__)
    if (isa >= FY_ISA_NEON) *l = fy_loops_neon;
#else
    (void)isa;
#endif
    l->pair[FY_LOOP_POW][FY_NUMBER_F32] = pow_f32;
    l->pair[FY_LOOP_POW][FY_NUMBER_F64] = pow_f64;
    l->pair[FY_LOOP_FMOD][FY_NUMBER_F32] = fmod_f32;
    l->pair[FY_LOOP_FMOD][FY_NUMBER_F64] = fmod_f64;
    l->pair[FY_LOOP_MOD][FY_NUMBER_F32] = mod_f32;
    l->pair[FY_LOOP_MOD][FY_NUMBER_F64] = mod_f64;
}
