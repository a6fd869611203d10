/* SPDX-License-Identifier: Apache-2.0
 * body/loops.h - the loops of loops.def and the conversions between all numbers, compiled once for each instruction set (ISA is its name) by a file
 * that needs nothing else. Where a quotient of integers is wanted, no divisor is 0.
 * LOOP_GROUPS: numbers are taken in groups of FY_LOOP_GROUP, a constant that the compiler makes whole vectors of and nothing besides; loops.c sees to what
 * is less than a group, by the generic loops: those are compiled without LOOP_GROUPS and take one number after the other.
 * LOOPS_OVER(X): a set whose loops come in place of a lesser one's: X(slot, OP, NUMBER, loop) for each, and conversions from and to floats. */
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
#ifdef LOOPS_OVER
#pragma GCC diagnostic ignored "-Wunused-function"   /* those that stay the lesser set's */
#endif
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

/* What the expression of a loop over one operand may name. */
#define SINGLE_NAMES(R_, T_, W_) typedef T_ T; typedef W_ W; R_ *y = y_; const T *from = x_; const double p0 = p[0], p1 = p[1]; (void)sizeof(W), (void)p0, (void)p1;

#ifdef LOOP_GROUPS
#define IN_GROUPS(...) for (; n > 0; n -= FY_LOOP_GROUP, __VA_ARGS__) SAME for (int i = 0; i < FY_LOOP_GROUP; i++)
#define PAIR_LOOP(OP, name, NAME, R_, T_, W_, ...) \
    static void groups_##OP##_##name(void *y_, const void *a_, const void *b_, int64_t n, int64_t p_step, int64_t q_step) { \
        typedef T_ T; \
        typedef W_ W; \
        R_ *y = y_; \
        const T *p = a_, *q = b_; \
        (void)sizeof(W); \
        IN_GROUPS(y += FY_LOOP_GROUP, p += p_step, q += q_step) { const T a = p[i], b = q[i]; y[i] = (R_)(__VA_ARGS__); } \
    } \
    static void OP##_##name(void *y, const void *a, const void *b, int64_t n, int one) { \
        static const fy_groups2 how = {groups_##OP##_##name, FY_LOOP_##OP, FY_NUMBER_##NAME, sizeof(T_), sizeof(R_)}; \
        fy_pair_in_groups(y, a, b, n, one, &how); \
    }
#define SINGLE_LOOP(OP, name, NAME, R_, T_, W_, ...) \
    static void groups_##OP##_##name(void *y_, const void *x_, int64_t n, const double *p) { \
        SINGLE_NAMES(R_, T_, W_) \
        IN_GROUPS(y += FY_LOOP_GROUP, from += FY_LOOP_GROUP) { const T x = from[i]; y[i] = (R_)(__VA_ARGS__); } \
    } \
    static void OP##_##name(void *y, const void *x, int64_t n, const double *p) { \
        static const fy_groups1 how = {groups_##OP##_##name, FY_LOOP_##OP, FY_NUMBER_##NAME, sizeof(T_), sizeof(R_)}; \
        fy_single_in_groups(y, x, n, p, &how); \
    }
#else
#define PAIR_LOOP(OP, name, NAME, R_, T_, W_, ...) \
    static void OP##_##name(void *y_, const void *a_, const void *b_, int64_t n, int one) { \
        typedef T_ T; \
        typedef W_ W; \
        R_ *y = y_; \
        const T *p = a_, *q = b_, still = one == 1 ? *p : one == 2 ? *q : 0;     /* y may be where it is */ \
        (void)sizeof(W); \
        if (one == 1) p = &still; \
        if (one == 2) q = &still; \
        for (; n > 0; n--, p += one != 1, q += one != 2) { const T a = *p, b = *q; *y++ = (R_)(__VA_ARGS__); } \
    }
#define SINGLE_LOOP(OP, name, NAME, R_, T_, W_, ...) \
    static void OP##_##name(void *y_, const void *x_, int64_t n, const double *p) { \
        SINGLE_NAMES(R_, T_, W_) \
        for (int64_t i = 0; i < n; i++) { const T x = from[i]; y[i] = (R_)(__VA_ARGS__); } \
    }
#endif
#define EXCHANGED(OP, OTHER, name) static void OP##_##name(void *y, const void *a, const void *b, int64_t n, int one) { OTHER##_##name(y, b, a, n, one ? 3 - one : 0); }

/* Quotients of up to 32 bits by division of floats that hold them: what a rounding adds is less than the distance to the next integer. */
#define by_one(b) ((T)-1 < 0 && (b) == (T)-1)                   /* -1, by which the least number has no quotient: as 1, and turned */
#define turned(q, b) (by_one(b) ? (T)((W)0 - (W)(q)) : (q))
#define SAFE(b) (by_one(b) ? (T)1 : (b))
#define Q(a, b) turned((sizeof(T) == 8 ? (T)((a) / SAFE(b)) : sizeof(T) == 4 ? (T)((double)(a) / (double)SAFE(b)) : (T)((float)(a) / (float)SAFE(b))), b)
/* The remainder that has the divisor's sign. */
#define REST(a, b) floored((T)((W)(a) - (W)Q(a, b) * (W)(b)), b)
#define floored(r, b) ((r) != 0 && ((r) < 0) != ((b) < 0) ? (T)((W)(r) + (W)(b)) : (r))
#define WITHIN(v) ((v) < 0 ? (T)0 : (v) > 1 ? (T)1 : (v))
#define FLOATS(of, x) (sizeof(T) == 4 ? (T)of##f((float)(x)) : (T)of((double)(x)))
#define SIZE(x) FLOATS(fabs, x)
#define ROOT(x) FLOATS(sqrt, x)
#define DOWN(x) FLOATS(floor, x)
#define UP(x)   FLOATS(ceil, x)
#define NEAR(x) FLOATS(rint, x)
#define LARGEST ((T)(sizeof(T) == 4 ? (double)FLT_MAX : DBL_MAX))

#define OF_FLOATS(LOOP, OP, R4, R8, ...) LOOP(OP, f32, F32, R4, float, float, __VA_ARGS__) LOOP(OP, f64, F64, R8, double, double, __VA_ARGS__)
#define OF_UNSIGNED(LOOP, OP, R8, R4, R2, R1, ...) \
    LOOP(OP, u64, U64, R8, uint64_t, uint64_t, __VA_ARGS__) LOOP(OP, u32, U32, R4, uint32_t, uint32_t, __VA_ARGS__) \
    LOOP(OP, u16, U16, R2, uint16_t, uint32_t, __VA_ARGS__) LOOP(OP, u8, U8, R1, uint8_t, uint32_t, __VA_ARGS__)
#define OF_SIGNED(LOOP, OP, R8, R4, R2, R1, ...) \
    LOOP(OP, i64, I64, R8, int64_t, uint64_t, __VA_ARGS__) LOOP(OP, i32, I32, R4, int32_t, uint32_t, __VA_ARGS__) \
    LOOP(OP, i16, I16, R2, int16_t, uint32_t, __VA_ARGS__) LOOP(OP, i8, I8, R1, int8_t, uint32_t, __VA_ARGS__)

#define PAIR(OP)
#define SINGLE(OP)
#define PAIR_FLOAT(OP, ...)   OF_FLOATS(PAIR_LOOP, OP, float, double, __VA_ARGS__)
#define PAIR_BITS(OP, ...)    OF_UNSIGNED(PAIR_LOOP, OP, uint64_t, uint32_t, uint16_t, uint8_t, __VA_ARGS__)
#define PAIR_INT(OP, ...)     PAIR_BITS(OP, __VA_ARGS__) OF_SIGNED(PAIR_LOOP, OP, int64_t, int32_t, int16_t, int8_t, __VA_ARGS__)
#define PAIR_AS(OP, OTHER)
#define TEST_FLOAT(OP, ...)   OF_FLOATS(PAIR_LOOP, OP, uint8_t, uint8_t, __VA_ARGS__)
#define TEST_BITS(OP, ...)    OF_UNSIGNED(PAIR_LOOP, OP, uint8_t, uint8_t, uint8_t, uint8_t, __VA_ARGS__)
#define TEST_INT(OP, ...)     TEST_BITS(OP, __VA_ARGS__) OF_SIGNED(PAIR_LOOP, OP, uint8_t, uint8_t, uint8_t, uint8_t, __VA_ARGS__)
#define TEST_SWAP(OP, OTHER) \
    EXCHANGED(OP, OTHER, f32) EXCHANGED(OP, OTHER, f64) EXCHANGED(OP, OTHER, i64) EXCHANGED(OP, OTHER, i32) EXCHANGED(OP, OTHER, i16) EXCHANGED(OP, OTHER, i8) \
    EXCHANGED(OP, OTHER, u64) EXCHANGED(OP, OTHER, u32) EXCHANGED(OP, OTHER, u16) EXCHANGED(OP, OTHER, u8)
#define SINGLE_FLOAT(OP, ...) OF_FLOATS(SINGLE_LOOP, OP, float, double, __VA_ARGS__)
#define SINGLE_BITS(OP, ...)  OF_UNSIGNED(SINGLE_LOOP, OP, uint64_t, uint32_t, uint16_t, uint8_t, __VA_ARGS__)
#define SINGLE_INT(OP, ...)   SINGLE_BITS(OP, __VA_ARGS__) OF_SIGNED(SINGLE_LOOP, OP, int64_t, int32_t, int16_t, int8_t, __VA_ARGS__)
#define SINGLE_TEST(OP, ...)  OF_FLOATS(SINGLE_LOOP, OP, uint8_t, uint8_t, __VA_ARGS__)
#include "kernels/loops.def"
#undef PAIR_FLOAT
#undef PAIR_BITS
#undef PAIR_INT
#undef PAIR_AS
#undef TEST_FLOAT
#undef TEST_BITS
#undef TEST_INT
#undef TEST_SWAP
#undef SINGLE_FLOAT
#undef SINGLE_BITS
#undef SINGLE_INT
#undef SINGLE_TEST

/* ---- conversions ----------------------------------------------------------------------------------------------------------- */

/* Floats that become integers of few bits are held to their range first, which in one loop with the conversion makes bad vectors. V: the float that x is. */
#define HOLD(V, low, most) (x != x ? (V)0 : x > (V)(most) ? (V)(most) : x < (V)(low) ? (V)(low) : x)
#ifdef LOOP_GROUPS
#define CAST_BY_GROUPS(from, to, FROM, TO, F, T) \
    static void cast_##from##_##to(void *y, const void *x, int64_t n) { \
        static const fy_groups1 how = {groups_##from##_##to, FY_NUMBER_##FROM, FY_NUMBER_##TO, sizeof(F), sizeof(T)}; \
        fy_cast_in_groups(y, x, n, &how); \
    }
#define CAST_LOOP(from, to, FROM, TO, F, T, ...) \
    static void groups_##from##_##to(void *y_, const void *x_, int64_t n, const double *none) { \
        T *y = y_; \
        const F *p = x_; \
        (void)none; \
        IN_GROUPS(y += FY_LOOP_GROUP, p += FY_LOOP_GROUP) { const F x = p[i]; y[i] = (T)(__VA_ARGS__); } \
    } \
    CAST_BY_GROUPS(from, to, FROM, TO, F, T)
#define CAST_HELD(from, to, FROM, TO, V, T, low, most) \
    static void groups_##from##_##to(void *y_, const void *x_, int64_t n, const double *none) { \
        T *y = y_; \
        const V *p = x_; \
        (void)none; \
        for (; n > 0; n -= FY_LOOP_GROUP, y += FY_LOOP_GROUP, p += FY_LOOP_GROUP) { \
            V held[FY_LOOP_GROUP]; \
            SAME for (int i = 0; i < FY_LOOP_GROUP; i++) { const V x = p[i]; held[i] = HOLD(V, low, most); } \
            SAME for (int i = 0; i < FY_LOOP_GROUP; i++) y[i] = (T)(int32_t)held[i]; \
        } \
    } \
    CAST_BY_GROUPS(from, to, FROM, TO, V, T)
#else
#define CAST_LOOP(from, to, FROM, TO, F, T, ...) \
    static void cast_##from##_##to(void *y_, const void *x_, int64_t n) { \
        T *y = y_; \
        const F *p = x_; \
        for (int64_t i = 0; i < n; i++) { const F x = p[i]; y[i] = (T)(__VA_ARGS__); } \
    }
#define CAST_HELD(from, to, FROM, TO, V, T, low, most) CAST_LOOP(from, to, FROM, TO, V, T, (int32_t)HOLD(V, low, most))
#endif

/* Of integers the size counts, and to what is wider the sign. */
CAST_LOOP(u64, u64, U64, U64, uint64_t, uint64_t, x)
CAST_LOOP(u64, u32, U64, U32, uint64_t, uint32_t, x)
CAST_LOOP(u64, u16, U64, U16, uint64_t, uint16_t, x)
CAST_LOOP(u64, u8, U64, U8, uint64_t, uint8_t, x)
CAST_LOOP(u32, u32, U32, U32, uint32_t, uint32_t, x)
CAST_LOOP(u32, u16, U32, U16, uint32_t, uint16_t, x)
CAST_LOOP(u32, u8, U32, U8, uint32_t, uint8_t, x)
CAST_LOOP(u16, u16, U16, U16, uint16_t, uint16_t, x)
CAST_LOOP(u16, u8, U16, U8, uint16_t, uint8_t, x)
CAST_LOOP(u8, u8, U8, U8, uint8_t, uint8_t, x)
CAST_LOOP(u32, u64, U32, U64, uint32_t, uint64_t, x)
CAST_LOOP(u16, u64, U16, U64, uint16_t, uint64_t, x)
CAST_LOOP(u16, u32, U16, U32, uint16_t, uint32_t, x)
CAST_LOOP(u8, u64, U8, U64, uint8_t, uint64_t, x)
CAST_LOOP(u8, u32, U8, U32, uint8_t, uint32_t, x)
CAST_LOOP(u8, u16, U8, U16, uint8_t, uint16_t, x)
CAST_LOOP(i32, u64, I32, U64, int32_t, uint64_t, x)
CAST_LOOP(i16, u64, I16, U64, int16_t, uint64_t, x)
CAST_LOOP(i16, u32, I16, U32, int16_t, uint32_t, x)
CAST_LOOP(i8, u64, I8, U64, int8_t, uint64_t, x)
CAST_LOOP(i8, u32, I8, U32, int8_t, uint32_t, x)
CAST_LOOP(i8, u16, I8, U16, int8_t, uint16_t, x)
#define cast_i32_u32 cast_u32_u32
#define cast_i16_u16 cast_u16_u16
#define cast_i8_u8   cast_u8_u8
#define cast_i64_u64 cast_u64_u64
#define cast_i64_u32 cast_u64_u32
#define cast_i64_u16 cast_u64_u16
#define cast_i64_u8  cast_u64_u8
#define cast_i32_u16 cast_u32_u16
#define cast_i32_u8  cast_u32_u8
#define cast_i16_u8  cast_u16_u8

/* The limits of integers as powers of two, which floats hold. */
#define SATURATE(V, T, low, high, least, most) x != x ? (T)0 : x >= (V)(high) ? (T)(most) : x < (V)(low) ? (T)(least) : (T)x
#define TRUTH(from, FROM, F) CAST_LOOP(from, truth, FROM, BOOL, F, uint8_t, x != 0)
#define REAL(from, FROM, V) TRUTH(from, FROM, V) \
    CAST_LOOP(from, i64, FROM, I64, V, int64_t, SATURATE(V, int64_t, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX)) CAST_LOOP(from, i32, FROM, I32, V, int32_t, SATURATE(V, int32_t, -0x1p31, 0x1p31, INT32_MIN, INT32_MAX)) \
    CAST_HELD(from, i16, FROM, I16, V, int16_t, INT16_MIN, INT16_MAX) CAST_HELD(from, i8, FROM, I8, V, int8_t, INT8_MIN, INT8_MAX) \
    CAST_LOOP(from, u64, FROM, U64, V, uint64_t, SATURATE(V, uint64_t, 0, 0x1p64, 0, UINT64_MAX)) CAST_LOOP(from, u32, FROM, U32, V, uint32_t, SATURATE(V, uint32_t, 0, 0x1p32, 0, UINT32_MAX)) \
    CAST_HELD(from, u16, FROM, U16, V, uint16_t, 0, UINT16_MAX) CAST_HELD(from, u8, FROM, U8, V, uint8_t, 0, UINT8_MAX)
#define WHOLE(from, FROM, F) CAST_LOOP(from, f32, FROM, F32, F, float, x) CAST_LOOP(from, f64, FROM, F64, F, double, x)
REAL(f32, F32, float)
REAL(f64, F64, double)
TRUTH(u64, U64, uint64_t)
TRUTH(u32, U32, uint32_t)
TRUTH(u16, U16, uint16_t)
TRUTH(u8, U8, uint8_t)
WHOLE(i64, I64, int64_t)
WHOLE(i32, I32, int32_t)
WHOLE(i16, I16, int16_t)
WHOLE(i8, I8, int8_t)
WHOLE(u64, U64, uint64_t)
WHOLE(u32, U32, uint32_t)
WHOLE(u16, U16, uint16_t)
WHOLE(u8, U8, uint8_t)
CAST_LOOP(truth, u64, BOOL, U64, uint8_t, uint64_t, x != 0)
CAST_LOOP(truth, u32, BOOL, U32, uint8_t, uint32_t, x != 0)
CAST_LOOP(truth, u16, BOOL, U16, uint8_t, uint16_t, x != 0)
CAST_LOOP(truth, f32, BOOL, F32, uint8_t, float, x != 0 ? 1.0f : 0.0f)
CAST_LOOP(truth, f64, BOOL, F64, uint8_t, double, x != 0 ? 1.0 : 0.0)
CAST_LOOP(truth, f16, BOOL, F16, uint8_t, uint16_t, x ? 0x3c00 : 0)
CAST_LOOP(truth, bf16, BOOL, BF16, uint8_t, uint16_t, x ? 0x3f80 : 0)
CAST_LOOP(f32, f64, F32, F64, float, double, x)
CAST_LOOP(f64, f32, F64, F32, double, float, x)
CAST_LOOP(f32, f16, F32, F16, float, uint16_t, half_of(x))
CAST_LOOP(f32, bf16, F32, BF16, float, uint16_t, bf16_of(x))
CAST_LOOP(f16, f32, F16, F32, uint16_t, float, half_f32(x))
CAST_LOOP(bf16, f32, BF16, F32, uint16_t, float, bf16_f32(x))
#define cast_f32_f32   cast_u32_u32
#define cast_f64_f64   cast_u64_u64
#define cast_i64_truth cast_u64_truth
#define cast_i32_truth cast_u32_truth
#define cast_i16_truth cast_u16_truth
#define cast_i8_truth  cast_u8_truth
#define cast_truth_truth cast_u8_truth
#define cast_truth_u8  cast_u8_truth

/* The others go by way of a number between. */
static FY_NOINLINE void through(char *y, const char *x, int64_t n, fy_loop_cast *first, fy_loop_cast *then, int64_t from_bytes, int64_t to_bytes) {
    enum { ROOM = 256 };
    double room[ROOM];
    for (; n > 0; n -= ROOM, x += ROOM * from_bytes, y += ROOM * to_bytes) {
        first(room, x, n < ROOM ? n : ROOM);
        then(y, room, n < ROOM ? n : ROOM);
    }
}
#define THROUGH(name, first, then, F, T) static void name(void *y, const void *x, int64_t n) { through(y, x, n, first, then, sizeof(F), sizeof(T)); }
#define ODD(from, to, F, T, ...) \
    static void odd_##from##_##to(void *y_, const void *x_, int64_t n) { \
        T *y = y_; \
        const F *p = x_; \
        SAME for (int64_t i = 0; i < n; i++) { const F x = p[i]; y[i] = __VA_ARGS__; } \
    }
ODD(i64, f64, int64_t, double, odd_i64(x))
ODD(u64, f64, uint64_t, double, odd_u64(x))
ODD(f64, f32, double, float, odd_f32(x))
THROUGH(odd_i64_f32, odd_i64_f64, odd_f64_f32, int64_t, float)
THROUGH(odd_u64_f32, odd_u64_f64, odd_f64_f32, uint64_t, float)
THROUGH(odd_i32_f32, cast_i32_f64, odd_f64_f32, int32_t, float)
THROUGH(odd_u32_f32, cast_u32_f64, odd_f64_f32, uint32_t, float)
#define TO_HALVES(from, how, F) THROUGH(cast_##from##_f16, how##_##from##_f32, cast_f32_f16, F, uint16_t) THROUGH(cast_##from##_bf16, how##_##from##_f32, cast_f32_bf16, F, uint16_t)
TO_HALVES(f64, odd, double) TO_HALVES(i64, odd, int64_t) TO_HALVES(u64, odd, uint64_t) TO_HALVES(i32, odd, int32_t) TO_HALVES(u32, odd, uint32_t)
TO_HALVES(i16, cast, int16_t) TO_HALVES(u16, cast, uint16_t) TO_HALVES(i8, cast, int8_t) TO_HALVES(u8, cast, uint8_t)
TO_HALVES(f16, cast, uint16_t) TO_HALVES(bf16, cast, uint16_t)
#define OF_HALVES(to, T) THROUGH(cast_f16_##to, cast_f16_f32, cast_f32_##to, uint16_t, T) THROUGH(cast_bf16_##to, cast_bf16_f32, cast_f32_##to, uint16_t, T)
OF_HALVES(f64, double) OF_HALVES(i64, int64_t) OF_HALVES(i32, int32_t) OF_HALVES(i16, int16_t) OF_HALVES(i8, int8_t)
OF_HALVES(u64, uint64_t) OF_HALVES(u32, uint32_t) OF_HALVES(u16, uint16_t) OF_HALVES(u8, uint8_t) OF_HALVES(truth, uint8_t)

/* ---- the table ------------------------------------------------------------------------------------------------------------- */

#define AT(slot, OP, NUMBER, name) .slot[FY_LOOP_##OP][FY_NUMBER_##NUMBER] = name,
#ifdef LOOPS_OVER
#define CAST(FROM, TO, name) [FY_NUMBER_##FROM][FY_NUMBER_##TO] = cast_##name,
#else
#define CAST(FROM, TO, name) .cast[FY_NUMBER_##FROM][FY_NUMBER_##TO] = cast_##name,
#endif
#define AT_FLOATS(slot, OP) AT(slot, OP, F32, OP##_f32) AT(slot, OP, F64, OP##_f64)
#define AT_UNSIGNED(slot, OP, as) AT(slot, OP, U64, as##_u64) AT(slot, OP, U32, as##_u32) AT(slot, OP, U16, as##_u16) AT(slot, OP, U8, as##_u8) AT(slot, OP, BOOL, as##_u8)
#define AT_BITS(slot, OP) AT_UNSIGNED(slot, OP, OP) AT(slot, OP, I64, OP##_u64) AT(slot, OP, I32, OP##_u32) AT(slot, OP, I16, OP##_u16) AT(slot, OP, I8, OP##_u8)
#define AT_INTS(slot, OP, as) AT_UNSIGNED(slot, OP, as) AT(slot, OP, I64, as##_i64) AT(slot, OP, I32, as##_i32) AT(slot, OP, I16, as##_i16) AT(slot, OP, I8, as##_i8)
#define PAIR_FLOAT(OP, ...)   AT_FLOATS(pair, OP)
#define PAIR_BITS(OP, ...)    AT_BITS(pair, OP)
#define PAIR_INT(OP, ...)     AT_INTS(pair, OP, OP)
#define PAIR_AS(OP, OTHER)    AT_INTS(pair, OP, OTHER)
#define TEST_FLOAT            PAIR_FLOAT
#define TEST_BITS             PAIR_BITS
#define TEST_INT              PAIR_INT
#define TEST_SWAP(OP, OTHER)  AT_FLOATS(pair, OP) AT_INTS(pair, OP, OP)
#define SINGLE_FLOAT(OP, ...) AT_FLOATS(single, OP)
#define SINGLE_BITS(OP, ...)  AT_BITS(single, OP)
#define SINGLE_INT(OP, ...)   AT_INTS(single, OP, OP)
#define SINGLE_TEST           SINGLE_FLOAT
#define CASTS_FLOAT(FROM, from) CAST(FROM, F32, from##_f32) CAST(FROM, F64, from##_f64) CAST(FROM, F16, from##_f16) CAST(FROM, BF16, from##_bf16)
#define CASTS(FROM, from) CASTS_FLOAT(FROM, from) CAST(FROM, BOOL, from##_truth) \
    CAST(FROM, U64, from##_u64) CAST(FROM, U32, from##_u32) CAST(FROM, U16, from##_u16) CAST(FROM, U8, from##_u8)
#define CASTS_INT(FROM, from) CASTS(FROM, from) CAST(FROM, I64, from##_u64) CAST(FROM, I32, from##_u32) CAST(FROM, I16, from##_u16) CAST(FROM, I8, from##_u8)
#define CASTS_REAL(FROM, from) CASTS(FROM, from) CAST(FROM, I64, from##_i64) CAST(FROM, I32, from##_i32) CAST(FROM, I16, from##_i16) CAST(FROM, I8, from##_i8)

#define FY_LOOPS2(name, isa) fy_loops_##name##isa
#define FY_LOOPS(name, isa) FY_LOOPS2(name, isa)
#ifdef LOOPS_OVER
static fy_loop_cast *const casts[FY_NUMBER_COUNT][FY_NUMBER_COUNT] = {
    CASTS_REAL(F32, f32) CASTS_REAL(F64, f64) CASTS_REAL(F16, f16) CASTS_REAL(BF16, bf16) CASTS_FLOAT(I64, i64) CASTS_FLOAT(I32, i32) CASTS_FLOAT(I16, i16) CASTS_FLOAT(I8, i8)
    CASTS_FLOAT(U64, u64) CASTS_FLOAT(U32, u32) CASTS_FLOAT(U16, u16) CASTS_FLOAT(U8, u8)
};

void FY_LOOPS(over_, ISA)(fy_loops *l) {
#define PUT_OVER(slot, OP, NUMBER, name) l->slot[FY_LOOP_##OP][FY_NUMBER_##NUMBER] = name;
    LOOPS_OVER(PUT_OVER)
    for (int from = 0; from < FY_NUMBER_COUNT; from++)
        for (int to = 0; to < FY_NUMBER_COUNT; to++)
            if (casts[from][to]) l->cast[from][to] = casts[from][to];
}
#else
const fy_loops FY_LOOPS(, ISA) = {
#include "kernels/loops.def"
    CASTS_REAL(F32, f32) CASTS_REAL(F64, f64) CASTS_REAL(F16, f16) CASTS_REAL(BF16, bf16) CASTS_INT(I64, i64) CASTS_INT(I32, i32) CASTS_INT(I16, i16) CASTS_INT(I8, i8)
    CASTS_INT(U64, u64) CASTS_INT(U32, u32) CASTS_INT(U16, u16) CASTS_INT(U8, u8) CASTS_INT(BOOL, truth)
};
#endif
