/* SPDX-License-Identifier: Apache-2.0
 * loops.c - fills the table of loops level by level; the loops that are calls of libm. */
#include "kernels/kernels.h"

#include <math.h>

void fy_loops_fill_generic(fy_loops *l);
void fy_loops_fill_avx2(fy_loops *l);
void fy_loops_fill_avx512(fy_loops *l);

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

void fy_loops_init(fy_loops *l, fy_isa isa) {
    fy_loops_fill_generic(l);
#if defined(__x86_64__)
    if (isa >= FY_ISA_AVX2) fy_loops_fill_avx2(l);
    if (isa >= FY_ISA_AVX512) fy_loops_fill_avx512(l);
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
