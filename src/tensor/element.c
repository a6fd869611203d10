/* SPDX-License-Identifier: Apache-2.0
 * element.c - loads and stores between the stored dtypes and the wide types.
 *
 * A range of row-major indices is a sequence of runs along one dimension (dimensions that follow each other in memory
 * count as one); each run is one loop over one dtype. Rules (ONNX Cast-25): a float goes to an integer by truncation,
 * saturated, NaN gives 0; integers wrap; bool is != 0; a real from a complex is its real part. */
#include "base/half.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

/* ---- runs --------------------------------------------------------------------------------------------------------- */

typedef struct walk { int rank; int64_t dim[FY_MAX_RANK], stride[FY_MAX_RANK], at[FY_MAX_RANK], offset; } walk;

static void walk_init(walk *w, const fy_tensor *t, int64_t first) {
    w->rank = 0;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] == 1) continue;
        if (w->rank && w->stride[w->rank - 1] == t->stride[i] * t->dim[i]) {
            w->dim[w->rank - 1] *= t->dim[i];
            w->stride[w->rank - 1] = t->stride[i];
        } else {
            w->dim[w->rank] = t->dim[i];
            w->stride[w->rank++] = t->stride[i];
        }
    }
    if (w->rank == 0) { w->dim[0] = 1; w->stride[0] = 1; w->rank = 1; }
    w->offset = 0;
    for (int i = w->rank - 1; i >= 0; i--) {
        w->at[i] = i && w->dim[i] ? first % w->dim[i] : first;       /* an empty axis: nothing will be read */
        first = i && w->dim[i] ? first / w->dim[i] : 0;
        w->offset += w->at[i] * w->stride[i];
    }
}

/* The length of the next run, at most n. Its elements are at offset, offset + step, ... */
static int64_t walk_run(const walk *w, int64_t n) {
    int64_t left = w->dim[w->rank - 1] - w->at[w->rank - 1];
    return left < n ? left : n;
}

static void walk_next(walk *w, int64_t run) {
    int i = w->rank - 1;
    w->at[i] += run;
    w->offset += run * w->stride[i];
    for (; i > 0 && w->at[i] == w->dim[i]; i--) {
        w->offset += w->stride[i - 1] - w->at[i] * w->stride[i];
        w->at[i] = 0;
        w->at[i - 1]++;
    }
}

static int64_t offset_of(const fy_tensor *t, int64_t i) {
    if (t->rank <= 1) return t->rank ? i * t->stride[0] : 0;
    if (fy_contiguous(t)) return i;
    int64_t offset = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        int64_t rest = i / t->dim[d];
        offset += (i - rest * t->dim[d]) * t->stride[d];
        i = rest;
    }
    return offset;
}

/* ---- conversions of one value ------------------------------------------------------------------------------------- */

static int64_t to_i64(double v) { return v >= 0x1p63 ? INT64_MAX : v < -0x1p63 ? INT64_MIN : v == v ? (int64_t)v : 0; }
static uint64_t to_u64(double v) { return v >= 0x1p64 ? UINT64_MAX : v > 0 ? (uint64_t)v : 0; }
static int64_t clamp_i64(double v, int64_t lo, int64_t hi) { int64_t i = to_i64(v); return i < lo ? lo : i > hi ? hi : i; }
static uint64_t clamp_u64(double v, uint64_t hi) { uint64_t i = to_u64(v); return i > hi ? hi : i; }

/* Integers over 2^53 as doubles whose last bit says that more follows: a later rounding to few bits is then the only one. */
static double sticky_u64(uint64_t v) { return v >> 53 ? (double)(v >> 11 | ((v & 2047) != 0)) * 2048.0 : (double)v; }
static double sticky_i64(int64_t v) { return v < 0 ? -sticky_u64(0 - (uint64_t)v) : sticky_u64((uint64_t)v); }

static int64_t extend(uint8_t v, int bits) { return (int64_t)((v & ((1 << bits) - 1)) ^ (1 << (bits - 1))) - (1 << (bits - 1)); }

/* X(ONNX name, storage type, family): all numeric dtypes but complex. */
#define TYPES(X) X(FLOAT, float, P) X(DOUBLE, double, P) X(INT64, int64_t, I) X(INT32, int32_t, I) X(UINT8, uint8_t, U) X(INT8, int8_t, I) \
    X(UINT16, uint16_t, U) X(INT16, int16_t, I) X(UINT32, uint32_t, U) X(UINT64, uint64_t, U) X(BOOL, uint8_t, B) X(FLOAT16, uint16_t, H) \
    X(BFLOAT16, uint16_t, G) X(FLOAT8E4M3FN, uint8_t, E) X(FLOAT8E4M3FNUZ, uint8_t, E) X(FLOAT8E5M2, uint8_t, E) \
    X(FLOAT8E5M2FNUZ, uint8_t, E) X(FLOAT4E2M1, uint8_t, E) X(FLOAT8E8M0, uint8_t, E) X(UINT4, uint8_t, U4) X(INT4, uint8_t, I4) \
    X(UINT2, uint8_t, U2) X(INT2, uint8_t, I2) X(FLOAT6E2M3, uint8_t, E) X(FLOAT6E3M2, uint8_t, E)

/* value v of dtype t, family by the last letters: as double, int64, uint64 */
#define F64_P(t, v) ((double)(v))
#define F64_I(t, v) ((double)(v))
#define F64_U(t, v) ((double)(v))
#define F64_B(t, v) ((v) ? 1.0 : 0.0)
#define F64_H(t, v) ((double)fy_half_to_f32(v))
#define F64_G(t, v) ((double)fy_bf16_to_f32(v))
#define F64_E(t, v) ((double)fy_f8_to_f32(t, v))
#define F64_U4(t, v) ((double)((v) & 15))
#define F64_U2(t, v) ((double)((v) & 3))
#define F64_I4(t, v) ((double)extend(v, 4))
#define F64_I2(t, v) ((double)extend(v, 2))
#define I64_P(t, v) to_i64((double)(v))
#define I64_I(t, v) ((int64_t)(v))
#define I64_U(t, v) ((int64_t)(v))
#define I64_B(t, v) ((int64_t)((v) != 0))
#define I64_H(t, v) to_i64(F64_H(t, v))
#define I64_G(t, v) to_i64(F64_G(t, v))
#define I64_E(t, v) to_i64(F64_E(t, v))
#define I64_U4(t, v) ((int64_t)((v) & 15))
#define I64_U2(t, v) ((int64_t)((v) & 3))
#define I64_I4(t, v) extend(v, 4)
#define I64_I2(t, v) extend(v, 2)
#define U64_P(t, v) to_u64((double)(v))
#define U64_H(t, v) to_u64(F64_H(t, v))
#define U64_G(t, v) to_u64(F64_G(t, v))
#define U64_E(t, v) to_u64(F64_E(t, v))
#define U64_I(t, v) ((uint64_t)(int64_t)(v))
#define U64_U(t, v) ((uint64_t)(v))
#define U64_B(t, v) ((uint64_t)((v) != 0))
#define U64_U4(t, v) ((uint64_t)((v) & 15))
#define U64_U2(t, v) ((uint64_t)((v) & 3))
#define U64_I4(t, v) ((uint64_t)extend(v, 4))
#define U64_I2(t, v) ((uint64_t)extend(v, 2))

/* a wide v into dtype t stored as T; integer limits follow from T */
#define SIGNED_MAX(T) ((int64_t)(((uint64_t)1 << (sizeof(T) * 8 - 1)) - 1))
#define UNSIGNED_MAX(T) (UINT64_MAX >> (64 - sizeof(T) * 8))
#define NIBBLE(v, bits) ((uint8_t)extend((uint8_t)(v), bits))
#define PUT_F64_P(t, T, v) ((T)(v))
#define PUT_F64_I(t, T, v) ((T)clamp_i64(v, -SIGNED_MAX(T) - 1, SIGNED_MAX(T)))
#define PUT_F64_U(t, T, v) ((T)clamp_u64(v, UNSIGNED_MAX(T)))
#define PUT_F64_B(t, T, v) ((T)((v) != 0))
#define PUT_F64_H(t, T, v) fy_half_from_f64(v)
#define PUT_F64_G(t, T, v) fy_bf16_from_f64(v)
#define PUT_F64_E(t, T, v) fy_f8_from_f64(t, v, true)
#define PUT_F64_U4(t, T, v) ((uint8_t)clamp_u64(v, 15))
#define PUT_F64_U2(t, T, v) ((uint8_t)clamp_u64(v, 3))
#define PUT_F64_I4(t, T, v) ((uint8_t)clamp_i64(v, -8, 7))
#define PUT_F64_I2(t, T, v) ((uint8_t)clamp_i64(v, -2, 1))
#define PUT_I64_P(t, T, v) ((T)(v))
#define PUT_I64_I(t, T, v) ((T)(v))
#define PUT_I64_U(t, T, v) ((T)(v))
#define PUT_I64_B(t, T, v) ((T)((v) != 0))
#define PUT_I64_H(t, T, v) fy_half_from_f64(sticky_i64(v))
#define PUT_I64_G(t, T, v) fy_bf16_from_f64(sticky_i64(v))
#define PUT_I64_E(t, T, v) fy_f8_from_f64(t, sticky_i64(v), true)
#define PUT_I64_U4(t, T, v) ((uint8_t)((v) & 15))
#define PUT_I64_U2(t, T, v) ((uint8_t)((v) & 3))
#define PUT_I64_I4(t, T, v) NIBBLE(v, 4)
#define PUT_I64_I2(t, T, v) NIBBLE(v, 2)
#define PUT_U64_P(t, T, v) ((T)(v))
#define PUT_U64_I(t, T, v) ((T)(v))
#define PUT_U64_U(t, T, v) ((T)(v))
#define PUT_U64_B(t, T, v) ((T)((v) != 0))
#define PUT_U64_H(t, T, v) fy_half_from_f64(sticky_u64(v))
#define PUT_U64_G(t, T, v) fy_bf16_from_f64(sticky_u64(v))
#define PUT_U64_E(t, T, v) fy_f8_from_f64(t, sticky_u64(v), true)
#define PUT_U64_U4(t, T, v) ((uint8_t)((v) & 15))
#define PUT_U64_U2(t, T, v) ((uint8_t)((v) & 3))
#define PUT_U64_I4(t, T, v) NIBBLE(v, 4)
#define PUT_U64_I2(t, T, v) NIBBLE(v, 2)

/* ---- one run ------------------------------------------------------------------------------------------------------ */

#define LOAD_CASE(WIDE, t, T, fam) case FERRY_##t: { \
        const T *src = (const T *)base + offset; \
        if (step == 1) for (int64_t i = 0; i < n; i++) dst[i] = WIDE##_##fam(FERRY_##t, src[i]); \
        else for (int64_t i = 0; i < n; i++) dst[i] = WIDE##_##fam(FERRY_##t, src[i * step]); \
        return; }
#define LOAD_F64(t, T, fam) LOAD_CASE(F64, t, T, fam)
#define LOAD_I64(t, T, fam) LOAD_CASE(I64, t, T, fam)
#define LOAD_U64(t, T, fam) LOAD_CASE(U64, t, T, fam)
#define LOADER(name, wide, CASE, of_real) \
    static void name(wide *dst, fy_dtype t, const void *base, int64_t offset, int64_t step, int64_t n) { \
        switch ((int)t) { \
        TYPES(CASE) \
        case FERRY_COMPLEX64:  { const float *src = (const float *)base + 2 * offset; \
                                 for (int64_t i = 0; i < n; i++) dst[i] = of_real((double)src[2 * i * step]); \
                                 return; } \
        case FERRY_COMPLEX128: { const double *src = (const double *)base + 2 * offset; \
                                 for (int64_t i = 0; i < n; i++) dst[i] = of_real(src[2 * i * step]); \
                                 return; } \
        default: FY_ASSERT(t == FERRY_UNDEFINED); memset(dst, 0, (size_t)n * sizeof *dst); \
        } \
    }
#define AS_IS(v) (v)
LOADER(run_f64, double, LOAD_F64, AS_IS)
LOADER(run_i64, int64_t, LOAD_I64, to_i64)
LOADER(run_u64, uint64_t, LOAD_U64, to_u64)

#define STORE_CASE(WIDE, t, T, fam) case FERRY_##t: { \
        T *dst = (T *)base + offset; \
        if (step == 1) for (int64_t i = 0; i < n; i++) dst[i] = PUT_##WIDE##_##fam(FERRY_##t, T, src[i]); \
        else for (int64_t i = 0; i < n; i++) dst[i * step] = PUT_##WIDE##_##fam(FERRY_##t, T, src[i]); \
        return; }
#define STORE_F64(t, T, fam) STORE_CASE(F64, t, T, fam)
#define STORE_I64(t, T, fam) STORE_CASE(I64, t, T, fam)
#define STORE_U64(t, T, fam) STORE_CASE(U64, t, T, fam)
#define STORER(name, wide, CASE) \
    static void name(const wide *src, fy_dtype t, void *base, int64_t offset, int64_t step, int64_t n) { \
        switch ((int)t) { \
        TYPES(CASE) \
        case FERRY_COMPLEX64:  { float *dst = (float *)base + 2 * offset; \
                                 for (int64_t i = 0; i < n; i++) { dst[2 * i * step] = (float)src[i]; dst[2 * i * step + 1] = 0; } \
                                 return; } \
        case FERRY_COMPLEX128: { double *dst = (double *)base + 2 * offset; \
                                 for (int64_t i = 0; i < n; i++) { dst[2 * i * step] = (double)src[i]; dst[2 * i * step + 1] = 0; } \
                                 return; } \
        default: FY_ASSERT(t == FERRY_UNDEFINED); \
        } \
    }
STORER(put_run_f64, double, STORE_F64)
STORER(put_run_i64, int64_t, STORE_I64)
STORER(put_run_u64, uint64_t, STORE_U64)

/* ---- ranges and single elements ----------------------------------------------------------------------------------- */

#define RANGE(dst_or_src, t, first, n, run_fn, width) do { \
        walk w; \
        walk_init(&w, t, first); \
        for (int64_t done = 0; done < (n); ) { \
            int64_t run = walk_run(&w, (n) - done); \
            run_fn((dst_or_src) + done * (width), (t)->dtype, (t)->data, w.offset, w.stride[w.rank - 1], run); \
            walk_next(&w, run); \
            done += run; \
        } } while (0)

void fy_load_f64(double *dst, const fy_tensor *t, int64_t first, int64_t n) { RANGE(dst, t, first, n, run_f64, 1); }
void fy_load_i64(int64_t *dst, const fy_tensor *t, int64_t first, int64_t n) { RANGE(dst, t, first, n, run_i64, 1); }
void fy_load_u64(uint64_t *dst, const fy_tensor *t, int64_t first, int64_t n) { RANGE(dst, t, first, n, run_u64, 1); }
void fy_store_f64(fy_tensor *t, int64_t first, int64_t n, const double *src) { RANGE(src, t, first, n, put_run_f64, 1); }
void fy_store_i64(fy_tensor *t, int64_t first, int64_t n, const int64_t *src) { RANGE(src, t, first, n, put_run_i64, 1); }
void fy_store_u64(fy_tensor *t, int64_t first, int64_t n, const uint64_t *src) { RANGE(src, t, first, n, put_run_u64, 1); }

static void run_c128(double *dst, fy_dtype t, const void *base, int64_t offset, int64_t step, int64_t n) {
    if (t == FERRY_COMPLEX64) {
        const float *src = (const float *)base + 2 * offset;
        for (int64_t i = 0; i < n; i++) { dst[2 * i] = (double)src[2 * i * step]; dst[2 * i + 1] = (double)src[2 * i * step + 1]; }
    } else if (t == FERRY_COMPLEX128) {
        const double *src = (const double *)base + 2 * offset;
        for (int64_t i = 0; i < n; i++) { dst[2 * i] = src[2 * i * step]; dst[2 * i + 1] = src[2 * i * step + 1]; }
    } else {
        run_f64(dst, t, base, offset, step, n);        /* then spread, from the end */
        for (int64_t i = n - 1; i >= 0; i--) { dst[2 * i] = dst[i]; dst[2 * i + 1] = 0; }
    }
}

static void put_run_c128(const double *src, fy_dtype t, void *base, int64_t offset, int64_t step, int64_t n) {
    if (t == FERRY_COMPLEX64) {
        float *dst = (float *)base + 2 * offset;
        for (int64_t i = 0; i < n; i++) { dst[2 * i * step] = (float)src[2 * i]; dst[2 * i * step + 1] = (float)src[2 * i + 1]; }
    } else if (t == FERRY_COMPLEX128) {
        double *dst = (double *)base + 2 * offset;
        for (int64_t i = 0; i < n; i++) { dst[2 * i * step] = src[2 * i]; dst[2 * i * step + 1] = src[2 * i + 1]; }
    } else {
        for (int64_t i = 0; i < n; i++) put_run_f64(src + 2 * i, t, base, offset + i * step, 1, 1);
    }
}

void fy_load_c128(double *dst_re_im, const fy_tensor *t, int64_t first, int64_t n) { RANGE(dst_re_im, t, first, n, run_c128, 2); }
void fy_store_c128(fy_tensor *t, int64_t first, int64_t n, const double *src_re_im) { RANGE(src_re_im, t, first, n, put_run_c128, 2); }

double fy_get_f64(const fy_tensor *t, int64_t i) {
    double v;
    int64_t at = offset_of(t, i);
    if (t->dtype == FERRY_FLOAT) return (double)((const float *)t->data)[at];
    run_f64(&v, t->dtype, t->data, at, 1, 1);
    return v;
}

int64_t fy_get_i64(const fy_tensor *t, int64_t i) {
    int64_t v;
    int64_t at = offset_of(t, i);
    if (t->dtype == FERRY_INT64) return ((const int64_t *)t->data)[at];
    run_i64(&v, t->dtype, t->data, at, 1, 1);
    return v;
}

uint64_t fy_get_u64(const fy_tensor *t, int64_t i) {
    uint64_t v;
    run_u64(&v, t->dtype, t->data, offset_of(t, i), 1, 1);
    return v;
}

void fy_put_f64(fy_tensor *t, int64_t i, double v) {
    int64_t at = offset_of(t, i);
    if (t->dtype == FERRY_FLOAT) ((float *)t->data)[at] = (float)v;
    else if (t->dtype == FERRY_DOUBLE) ((double *)t->data)[at] = v;
    else put_run_f64(&v, t->dtype, t->data, at, 1, 1);
}
void fy_put_i64(fy_tensor *t, int64_t i, int64_t v) { put_run_i64(&v, t->dtype, t->data, offset_of(t, i), 1, 1); }
void fy_put_u64(fy_tensor *t, int64_t i, uint64_t v) { put_run_u64(&v, t->dtype, t->data, offset_of(t, i), 1, 1); }

double fy_round_to(fy_dtype t, double v) {
    switch ((int)t) {
    case FERRY_DOUBLE: case FERRY_COMPLEX128: return v;
    case FERRY_FLOAT: case FERRY_COMPLEX64:   return (double)(float)v;
    case FERRY_FLOAT16:                       return (double)fy_half_to_f32(fy_half_from_f64(v));
    case FERRY_BFLOAT16:                      return (double)fy_bf16_to_f32(fy_bf16_from_f64(v));
    default:                                  return fy_dtype_float(t) ? (double)fy_f8_to_f32(t, fy_f8_from_f64(t, v, true)) : v;
    }
}

/* Element i begins at bit i * bits; one of 6 bits may go on in the next byte. */
void fy_unpack_bits(fy_dtype t, void *dst, const void *packed, int64_t first, int64_t n) {
    int bits = fy_dtype_bits(t), mask = (1 << bits) - 1;
    uint8_t *d = dst;
    const uint8_t *p = packed;
    bool sign = fy_dtype_class(t) == FY_CLASS_I;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = (first + i) * bits;
        int shift = (int)(at % 8), v = p[at / 8] >> shift;
        if (shift + bits > 8) v |= p[at / 8 + 1] << (8 - shift);
        d[i] = (uint8_t)(sign ? NIBBLE(v & mask, bits) : (uint8_t)(v & mask));
    }
}

void fy_pack_bits(fy_dtype t, void *packed, int64_t first, const void *src, int64_t n) {
    int bits = fy_dtype_bits(t), mask = (1 << bits) - 1;
    uint8_t *p = packed;
    const uint8_t *s = src;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = (first + i) * bits;
        int shift = (int)(at % 8), v = (s[i] & mask) << shift, keep = ~(mask << shift);
        p[at / 8] = (uint8_t)((p[at / 8] & keep) | v);
        if (shift + bits > 8) p[at / 8 + 1] = (uint8_t)((p[at / 8 + 1] & keep >> 8) | v >> 8);
    }
}
