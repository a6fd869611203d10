/* SPDX-License-Identifier: Apache-2.0
 * body/loops.h - the loops of loops.def and the conversions between all numbers, compiled once for each instruction set (ISA is its name) by a file
 * that needs nothing else. Where a quotient of integers is wanted, no divisor is 0. */
#include "kernels/loops.h"

#include "base/half.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#define SAME _Pragma("GCC ivdep")        /* y may be an operand: the same element then */
#else
#define SAME
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wtype-limits"       /* one text for signed and unsigned numbers */
#endif

/* ---- numbers --------------------------------------------------------------------------------------------------------------- */

FY_INLINE float of_bits(uint32_t u) { float f; memcpy(&f, &u, sizeof f); return f; }
FY_INLINE uint32_t bits_of(float f) { uint32_t u; memcpy(&u, &f, sizeof u); return u; }

FY_INLINE float half_f32(uint16_t h) {
    uint32_t m = (uint32_t)(h & 0x7fff) << 13, s = (uint32_t)(h & 0x8000) << 16;
    uint32_t small = bits_of(of_bits(m) * 0x1p112f), large = m | 0x7f800000;                    /* the exponent is 112 less; 31 is infinity or NaN */
    return of_bits(s | (m >= 0x0f800000 ? large : small));
}
FY_INLINE float bf16_f32(uint16_t h) { return of_bits((uint32_t)h << 16); }

/* To nearest, ties to even. Below 2^-14 the sum with 1/2 has the bits of the subnormal at its end. */
FY_INLINE uint16_t half_of(float f) {
    uint32_t u = bits_of(f), s = u >> 16 & 0x8000, m = u & 0x7fffffff;
    uint32_t tiny = bits_of(of_bits(m) + 0.5f) - 0x3f000000, normal = (m + 0xc8000fff + (m >> 13 & 1)) >> 13;
    uint32_t special = m > 0x7f800000 ? 0x7e00 : 0x7c00, r = m < 0x38800000 ? tiny : normal;
    return (uint16_t)(s | (m >= 0x47800000 ? special : r));
}
FY_INLINE uint16_t bf16_of(float f) {
    uint32_t u = bits_of(f), r = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? (u >> 16 & 0x8000) | 0x7fc0 : r);
}

/* A double as a float whose last bit says whether something was cut off: a rounding to fewer bits then rounds as from the double. Boldo and
 * Melquiond, "When double rounding is odd", 2005. */
FY_INLINE float odd_f32(double v) {
    float c = (float)v;
    double d = (double)c, size = d < 0 ? -d : d, of = v < 0 ? -v : v;
    uint32_t u = bits_of(c), cut = (u - (size > of)) | 1;
    return of_bits(d == v ? u : cut);
}
/* The same of 64-bit integers as doubles. */
FY_INLINE double odd_u64(uint64_t v) { return v >> 53 ? (double)(v >> 11 | ((v & 2047) != 0)) * 2048.0 : (double)v; }
FY_INLINE double odd_i64(int64_t v) { return v < 0 ? -odd_u64(0 - (uint64_t)v) : odd_u64((uint64_t)v); }

/* ---- the loops of loops.def ------------------------------------------------------------------------------------------------ */

#define PAIR_LOOP(name, R, T_, W_, ...) \
    static void name(void *y_, const void *a_, const void *b_, int64_t n, int one) { \
        typedef T_ T; \
        typedef W_ W; \
        R *y = y_; \
        const T *p = a_, *q = b_; \
        (void)sizeof(W); \
        if (one == 1) { const T a = *p; SAME for (int64_t i = 0; i < n; i++) { const T b = q[i]; y[i] = (R)(__VA_ARGS__); } } \
        else if (one == 2) { const T b = *q; SAME for (int64_t i = 0; i < n; i++) { const T a = p[i]; y[i] = (R)(__VA_ARGS__); } } \
        else { SAME for (int64_t i = 0; i < n; i++) { const T a = p[i], b = q[i]; y[i] = (R)(__VA_ARGS__); } } \
    }
#define SINGLE_LOOP(name, R, T_, W_, ...) \
    static void name(void *y_, const void *x_, int64_t n, const double *p) { \
        typedef T_ T; \
        typedef W_ W; \
        R *y = y_; \
        const T *from = x_; \
        const double p0 = p[0], p1 = p[1]; \
        (void)sizeof(W); \
        (void)p0; \
        (void)p1; \
        SAME for (int64_t i = 0; i < n; i++) { const T x = from[i]; y[i] = (R)(__VA_ARGS__); } \
    }

/* Quotients of up to 32 bits by division of floats that hold them: what a rounding adds is less than the distance to the next integer. */
#define Q_AS(F, a, b) turned((T)((F)(a) / (F)(by_one(b) ? 1 : (b))), b)
#define by_one(b) ((T)-1 < 0 && (b) == (T)-1)                   /* -1, by which the least number has no quotient: as 1, and turned */
#define turned(q, b) (by_one(b) ? (T)((W)0 - (W)(q)) : (q))
#define Q_I64(a, b) ((b) == -1 ? (int64_t)(0 - (uint64_t)(a)) : (a) / (b))
#define Q_U64(a, b) ((a) / (b))
#define Q_I32(a, b) Q_AS(double, a, b)
#define Q_U32(a, b) Q_AS(double, a, b)
#define Q_I16(a, b) Q_AS(float, a, b)
#define Q_U16(a, b) Q_AS(float, a, b)
#define Q_I8(a, b)  Q_AS(float, a, b)
#define Q_U8(a, b)  Q_AS(float, a, b)
/* The remainder that has the divisor's sign. */
#define REST(a, b) floored((T)((W)(a) - (W)Q(a, b) * (W)(b)), b)
#define floored(r, b) ((r) != 0 && ((r) < 0) != ((b) < 0) ? (T)((W)(r) + (W)(b)) : (r))
#define WITHIN(v) ((v) < 0 ? (T)0 : (v) > 1 ? (T)1 : (v))

#define PAIR(OP)
#define SINGLE(OP)

/* floats */
#define PAIR_INT(OP, ...)
#define SINGLE_INT(OP, ...)
#define PAIR_FLOAT(OP, ...)   PAIR_LOOP(OP##_f32, float, float, float, __VA_ARGS__)
#define PAIR_TEST(OP, ...)    PAIR_LOOP(OP##_f32, uint8_t, float, float, __VA_ARGS__)
#define SINGLE_FLOAT(OP, ...) SINGLE_LOOP(OP##_f32, float, float, float, __VA_ARGS__)
#define SINGLE_TEST(OP, ...)  SINGLE_LOOP(OP##_f32, uint8_t, float, float, __VA_ARGS__)
#define SIZE(x) fabsf(x)
#define ROOT(x) sqrtf(x)
#define DOWN(x) floorf(x)
#define UP(x)   ceilf(x)
#define NEAR(x) rintf(x)
#define LARGEST FLT_MAX
#include "kernels/loops.def"
#undef PAIR_FLOAT
#undef PAIR_TEST
#undef SINGLE_FLOAT
#undef SINGLE_TEST
#undef SIZE
#undef ROOT
#undef DOWN
#undef UP
#undef NEAR
#undef LARGEST
#define PAIR_FLOAT(OP, ...)   PAIR_LOOP(OP##_f64, double, double, double, __VA_ARGS__)
#define PAIR_TEST(OP, ...)    PAIR_LOOP(OP##_f64, uint8_t, double, double, __VA_ARGS__)
#define SINGLE_FLOAT(OP, ...) SINGLE_LOOP(OP##_f64, double, double, double, __VA_ARGS__)
#define SINGLE_TEST(OP, ...)  SINGLE_LOOP(OP##_f64, uint8_t, double, double, __VA_ARGS__)
#define SIZE(x) fabs(x)
#define ROOT(x) sqrt(x)
#define DOWN(x) floor(x)
#define UP(x)   ceil(x)
#define NEAR(x) rint(x)
#define LARGEST DBL_MAX
#include "kernels/loops.def"
#undef PAIR_FLOAT
#undef PAIR_INT
#undef PAIR_TEST
#undef SINGLE_FLOAT
#undef SINGLE_INT
#undef SINGLE_TEST

/* integers */
#define PAIR_FLOAT(OP, ...)
#define SINGLE_FLOAT(OP, ...)
#define SINGLE_TEST(OP, ...)
#define PAIR_INT(OP, ...)   PAIR_LOOP(OP##_i64, int64_t, int64_t, uint64_t, __VA_ARGS__)
#define PAIR_TEST(OP, ...)  PAIR_LOOP(OP##_i64, uint8_t, int64_t, uint64_t, __VA_ARGS__)
#define SINGLE_INT(OP, ...) SINGLE_LOOP(OP##_i64, int64_t, int64_t, uint64_t, __VA_ARGS__)
#define Q Q_I64
#include "kernels/loops.def"
#undef PAIR_INT
#undef PAIR_TEST
#undef SINGLE_INT
#undef Q
#define PAIR_INT(OP, ...)   PAIR_LOOP(OP##_i32, int32_t, int32_t, uint32_t, __VA_ARGS__)
#define PAIR_TEST(OP, ...)  PAIR_LOOP(OP##_i32, uint8_t, int32_t, uint32_t, __VA_ARGS__)
#define SINGLE_INT(OP, ...) SINGLE_LOOP(OP##_i32, int32_t, int32_t, uint32_t, __VA_ARGS__)
#define Q Q_I32
#include "kernels/loops.def"
#undef PAIR_INT
#undef PAIR_TEST
#undef SINGLE_INT
#undef Q
#define PAIR_INT(OP, ...)   PAIR_LOOP(OP##_i16, int16_t, int16_t, uint32_t, __VA_ARGS__)
#define PAIR_TEST(OP, ...)  PAIR_LOOP(OP##_i16, uint8_t, int16_t, uint32_t, __VA_ARGS__)
#define SINGLE_INT(OP, ...) SINGLE_LOOP(OP##_i16, int16_t, int16_t, uint32_t, __VA_ARGS__)
#define Q Q_I16
#include "kernels/loops.def"
#undef PAIR_INT
#undef PAIR_TEST
#undef SINGLE_INT
#undef Q
#define PAIR_INT(OP, ...)   PAIR_LOOP(OP##_i8, int8_t, int8_t, uint32_t, __VA_ARGS__)
#define PAIR_TEST(OP, ...)  PAIR_LOOP(OP##_i8, uint8_t, int8_t, uint32_t, __VA_ARGS__)
#define SINGLE_INT(OP, ...) SINGLE_LOOP(OP##_i8, int8_t, int8_t, uint32_t, __VA_ARGS__)
#define Q Q_I8
#include "kernels/loops.def"
#undef PAIR_INT
#undef PAIR_TEST
#undef SINGLE_INT
#undef Q
#define PAIR_INT(OP, ...)   PAIR_LOOP(OP##_u64, uint64_t, uint64_t, uint64_t, __VA_ARGS__)
#define PAIR_TEST(OP, ...)  PAIR_LOOP(OP##_u64, uint8_t, uint64_t, uint64_t, __VA_ARGS__)
#define SINGLE_INT(OP, ...) SINGLE_LOOP(OP##_u64, uint64_t, uint64_t, uint64_t, __VA_ARGS__)
#define Q Q_U64
#include "kernels/loops.def"
#undef PAIR_INT
#undef PAIR_TEST
#undef SINGLE_INT
#undef Q
#define PAIR_INT(OP, ...)   PAIR_LOOP(OP##_u32, uint32_t, uint32_t, uint32_t, __VA_ARGS__)
#define PAIR_TEST(OP, ...)  PAIR_LOOP(OP##_u32, uint8_t, uint32_t, uint32_t, __VA_ARGS__)
#define SINGLE_INT(OP, ...) SINGLE_LOOP(OP##_u32, uint32_t, uint32_t, uint32_t, __VA_ARGS__)
#define Q Q_U32
#include "kernels/loops.def"
#undef PAIR_INT
#undef PAIR_TEST
#undef SINGLE_INT
#undef Q
#define PAIR_INT(OP, ...)   PAIR_LOOP(OP##_u16, uint16_t, uint16_t, uint32_t, __VA_ARGS__)
#define PAIR_TEST(OP, ...)  PAIR_LOOP(OP##_u16, uint8_t, uint16_t, uint32_t, __VA_ARGS__)
#define SINGLE_INT(OP, ...) SINGLE_LOOP(OP##_u16, uint16_t, uint16_t, uint32_t, __VA_ARGS__)
#define Q Q_U16
#include "kernels/loops.def"
#undef PAIR_INT
#undef PAIR_TEST
#undef SINGLE_INT
#undef Q
#define PAIR_INT(OP, ...)   PAIR_LOOP(OP##_u8, uint8_t, uint8_t, uint32_t, __VA_ARGS__)
#define PAIR_TEST(OP, ...)  PAIR_LOOP(OP##_u8, uint8_t, uint8_t, uint32_t, __VA_ARGS__)
#define SINGLE_INT(OP, ...) SINGLE_LOOP(OP##_u8, uint8_t, uint8_t, uint32_t, __VA_ARGS__)
#define Q Q_U8
#include "kernels/loops.def"
#undef PAIR_INT
#undef PAIR_TEST
#undef SINGLE_INT
#undef Q
#undef PAIR_FLOAT
#undef SINGLE_FLOAT
#undef SINGLE_TEST

/* ---- conversions ----------------------------------------------------------------------------------------------------------- */

/* The limits of integers as powers of two, which floats hold. V: the float that v is. */
#define SATURATE(V, v, T, low, high, least, most) ((v) != (v) ? (T)0 : (v) >= (V)(high) ? (T)(most) : (v) < (V)(low) ? (T)(least) : (T)(v))
#define SAT_I64(V, v) SATURATE(V, v, int64_t, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX)
#define SAT_I32(V, v) SATURATE(V, v, int32_t, -0x1p31, 0x1p31, INT32_MIN, INT32_MAX)
#define SAT_I16(V, v) SATURATE(V, v, int16_t, -0x1p15, 0x1p15, INT16_MIN, INT16_MAX)
#define SAT_I8(V, v)  SATURATE(V, v, int8_t, -0x1p7, 0x1p7, INT8_MIN, INT8_MAX)
#define SAT_U64(V, v) SATURATE(V, v, uint64_t, 0, 0x1p64, 0, UINT64_MAX)
#define SAT_U32(V, v) SATURATE(V, v, uint32_t, 0, 0x1p32, 0, UINT32_MAX)
#define SAT_U16(V, v) SATURATE(V, v, uint16_t, 0, 0x1p16, 0, UINT16_MAX)
#define SAT_U8(V, v)  SATURATE(V, v, uint8_t, 0, 0x1p8, 0, UINT8_MAX)

#define CAST_LOOP(from, to, F, T, ...) \
    static void cast_##from##_##to(void *y_, const void *x_, int64_t n) { \
        T *y = y_; \
        const F *p = x_; \
        SAME for (int64_t i = 0; i < n; i++) { const F x = p[i]; y[i] = (T)(__VA_ARGS__); } \
    }
#define TO_INTS(from, F, V, v) \
    CAST_LOOP(from, i64, F, int64_t, SAT_I64(V, v)) CAST_LOOP(from, i32, F, int32_t, SAT_I32(V, v)) CAST_LOOP(from, i16, F, int16_t, SAT_I16(V, v)) CAST_LOOP(from, i8, F, int8_t, SAT_I8(V, v)) \
    CAST_LOOP(from, u64, F, uint64_t, SAT_U64(V, v)) CAST_LOOP(from, u32, F, uint32_t, SAT_U32(V, v)) CAST_LOOP(from, u16, F, uint16_t, SAT_U16(V, v)) CAST_LOOP(from, u8, F, uint8_t, SAT_U8(V, v)) \
    CAST_LOOP(from, truth, F, uint8_t, (v) != 0)
#define FROM_INT(from, F, v, exact) \
    CAST_LOOP(from, f32, F, float, v) CAST_LOOP(from, f64, F, double, v) CAST_LOOP(from, f16, F, uint16_t, half_of(odd_f32(exact))) CAST_LOOP(from, bf16, F, uint16_t, bf16_of(odd_f32(exact))) \
    CAST_LOOP(from, i64, F, int64_t, v) CAST_LOOP(from, i32, F, int32_t, v) CAST_LOOP(from, i16, F, int16_t, v) CAST_LOOP(from, i8, F, int8_t, v) \
    CAST_LOOP(from, u64, F, uint64_t, v) CAST_LOOP(from, u32, F, uint32_t, v) CAST_LOOP(from, u16, F, uint16_t, v) CAST_LOOP(from, u8, F, uint8_t, v) \
    CAST_LOOP(from, truth, F, uint8_t, (v) != 0)
#define FROM_FLOAT(from, F, v) \
    CAST_LOOP(from, f32, F, float, v) CAST_LOOP(from, f64, F, double, v) CAST_LOOP(from, f16, F, uint16_t, half_of(v)) CAST_LOOP(from, bf16, F, uint16_t, bf16_of(v)) TO_INTS(from, F, float, v)

FROM_FLOAT(f32, float, x)
FROM_FLOAT(f16, uint16_t, half_f32(x))
FROM_FLOAT(bf16, uint16_t, bf16_f32(x))
CAST_LOOP(f64, f32, double, float, x)
CAST_LOOP(f64, f64, double, double, x)
CAST_LOOP(f64, f16, double, uint16_t, half_of(odd_f32(x)))
CAST_LOOP(f64, bf16, double, uint16_t, bf16_of(odd_f32(x)))
TO_INTS(f64, double, double, x)
FROM_INT(i64, int64_t, x, odd_i64(x))
FROM_INT(u64, uint64_t, x, odd_u64(x))
FROM_INT(i32, int32_t, x, (double)x)
FROM_INT(u32, uint32_t, x, (double)x)
FROM_INT(i16, int16_t, x, (double)x)
FROM_INT(u16, uint16_t, x, (double)x)
FROM_INT(i8, int8_t, x, (double)x)
FROM_INT(u8, uint8_t, x, (double)x)
FROM_INT(truth, uint8_t, x != 0, (double)(x != 0))

/* ---- the table ------------------------------------------------------------------------------------------------------------- */

#define CASTS(FROM, from) \
    l->cast[FY_NUMBER_##FROM][FY_NUMBER_F32] = cast_##from##_f32; l->cast[FY_NUMBER_##FROM][FY_NUMBER_F64] = cast_##from##_f64; \
    l->cast[FY_NUMBER_##FROM][FY_NUMBER_I64] = cast_##from##_i64; l->cast[FY_NUMBER_##FROM][FY_NUMBER_I32] = cast_##from##_i32; \
    l->cast[FY_NUMBER_##FROM][FY_NUMBER_I16] = cast_##from##_i16; l->cast[FY_NUMBER_##FROM][FY_NUMBER_I8] = cast_##from##_i8; \
    l->cast[FY_NUMBER_##FROM][FY_NUMBER_U64] = cast_##from##_u64; l->cast[FY_NUMBER_##FROM][FY_NUMBER_U32] = cast_##from##_u32; \
    l->cast[FY_NUMBER_##FROM][FY_NUMBER_U16] = cast_##from##_u16; l->cast[FY_NUMBER_##FROM][FY_NUMBER_U8] = cast_##from##_u8; \
    l->cast[FY_NUMBER_##FROM][FY_NUMBER_BOOL] = cast_##from##_truth; l->cast[FY_NUMBER_##FROM][FY_NUMBER_F16] = cast_##from##_f16; \
    l->cast[FY_NUMBER_##FROM][FY_NUMBER_BF16] = cast_##from##_bf16;

#define FY_LOOPS_FILL2(isa) fy_loops_fill_##isa
#define FY_LOOPS_FILL(isa) FY_LOOPS_FILL2(isa)
void FY_LOOPS_FILL(ISA)(fy_loops *l);
void FY_LOOPS_FILL(ISA)(fy_loops *l) {
#define PUT_INTS(slot, OP) \
    l->slot[FY_LOOP_##OP][FY_NUMBER_I64] = OP##_i64; l->slot[FY_LOOP_##OP][FY_NUMBER_I32] = OP##_i32; l->slot[FY_LOOP_##OP][FY_NUMBER_I16] = OP##_i16; \
    l->slot[FY_LOOP_##OP][FY_NUMBER_I8] = OP##_i8; l->slot[FY_LOOP_##OP][FY_NUMBER_U64] = OP##_u64; l->slot[FY_LOOP_##OP][FY_NUMBER_U32] = OP##_u32; \
    l->slot[FY_LOOP_##OP][FY_NUMBER_U16] = OP##_u16; l->slot[FY_LOOP_##OP][FY_NUMBER_U8] = l->slot[FY_LOOP_##OP][FY_NUMBER_BOOL] = OP##_u8;
#define PUT_FLOATS(slot, OP) l->slot[FY_LOOP_##OP][FY_NUMBER_F32] = OP##_f32; l->slot[FY_LOOP_##OP][FY_NUMBER_F64] = OP##_f64;
#define PAIR_FLOAT(OP, ...)   PUT_FLOATS(pair, OP)
#define PAIR_INT(OP, ...)     PUT_INTS(pair, OP)
#define PAIR_TEST(OP, ...)    PUT_FLOATS(pair, OP) PUT_INTS(pair, OP)
#define SINGLE_FLOAT(OP, ...) PUT_FLOATS(single, OP)
#define SINGLE_INT(OP, ...)   PUT_INTS(single, OP)
#define SINGLE_TEST(OP, ...)  PUT_FLOATS(single, OP)
#include "kernels/loops.def"
    CASTS(F32, f32) CASTS(F64, f64) CASTS(I64, i64) CASTS(I32, i32) CASTS(I16, i16) CASTS(I8, i8) CASTS(U64, u64) CASTS(U32, u32) CASTS(U16, u16) CASTS(U8, u8)
    CASTS(BOOL, truth) CASTS(F16, f16) CASTS(BF16, bf16)
}
