/* SPDX-License-Identifier: Apache-2.0
 * generic.h - a vector of 16 floats for the body files, in plain C; with FV_LANES 1, of one, for bodies that work element by element. The compiler may
 * use whatever the baseline has. Sixteen numbers in memory make long code: functions of one number are compiled over one (kernels_one.c). */
#include "kernels/one.h"

#include <math.h>
#include <string.h>

#if FV_LANES == 1
typedef float fv;
typedef int32_t iv;
#define AT(x) (x)
#define EACH16(T, expr) return (T)(expr)
#define FV_MATH static FY_NOINLINE FY_UNUSED
#else
#define ISA generic
#define GEMM_NV 1
#define GEMM_MR 1                        /* in memory, no row's sums could wait for those of another */
typedef struct fv { float v[16]; } fv;
typedef struct iv { int32_t v[16]; } iv;
#define AT(x) x.v[i]
#define EACH16(T, expr) T r_; for (int i = 0; i < 16; i++) r_.v[i] = (expr); return r_
#define FV_CALLED static FY_NOINLINE FY_UNUSED
#define FV_EACH(name) static FY_NOINLINE fv fv_##name(fv x) { EACH16(fv, fy_one_##name(AT(x))); }
#endif
typedef iv mv;                           /* -1 or 0 */

FY_INLINE fv fv_set1(float x) { EACH16(fv, x); }
FY_INLINE fv fv_zero(void) { return fv_set1(0); }
FY_INLINE fv fv_add(fv a, fv b) { EACH16(fv, AT(a) + AT(b)); }
FY_INLINE fv fv_sub(fv a, fv b) { EACH16(fv, AT(a) - AT(b)); }
FY_INLINE fv fv_mul(fv a, fv b) { EACH16(fv, AT(a) * AT(b)); }
FY_INLINE fv fv_div(fv a, fv b) { EACH16(fv, AT(a) / AT(b)); }
FY_INLINE fv fv_fma(fv a, fv b, fv c) { EACH16(fv, AT(a) * AT(b) + AT(c)); }     /* two roundings: a call for each would be too slow */
FY_INLINE fv fv_fmx(fv a, fv b, fv c) { EACH16(fv, (float)((double)AT(a) * (double)AT(b) + (double)AT(c))); }   /* the product is exact */
FY_INLINE fv fv_max(fv a, fv b) { EACH16(fv, AT(a) > AT(b) ? AT(a) : AT(b)); }
FY_INLINE fv fv_min(fv a, fv b) { EACH16(fv, AT(a) < AT(b) ? AT(a) : AT(b)); }
FY_INLINE fv fv_sqrt(fv a) { EACH16(fv, sqrtf(AT(a))); }
FY_INLINE fv fv_abs(fv a) { EACH16(fv, fabsf(AT(a))); }
FY_INLINE fv fv_neg(fv a) { EACH16(fv, -AT(a)); }
FY_INLINE fv fv_floor(fv a) { EACH16(fv, floorf(AT(a))); }
FY_INLINE fv fv_ceil(fv a) { EACH16(fv, ceilf(AT(a))); }
FY_INLINE fv fv_round(fv a) { EACH16(fv, rintf(AT(a))); }
FY_INLINE mv fv_lt(fv a, fv b) { EACH16(mv, -(AT(a) < AT(b))); }
FY_INLINE mv fv_le(fv a, fv b) { EACH16(mv, -(AT(a) <= AT(b))); }
FY_INLINE mv fv_ge(fv a, fv b) { EACH16(mv, -(AT(a) >= AT(b))); }
FY_INLINE mv fv_isnan(fv a) { EACH16(mv, -(AT(a) != AT(a))); }
FY_INLINE fv fv_select(mv m, fv yes, fv no) { EACH16(fv, AT(m) ? AT(yes) : AT(no)); }
FY_INLINE iv fv_bits(fv a) { iv r; memcpy(&r, &a, sizeof r); return r; }
FY_INLINE fv iv_bits(iv a) { fv r; memcpy(&r, &a, sizeof r); return r; }
FY_INLINE iv fv_to_int(fv a) { EACH16(iv, AT(a) > -2147483648.f && AT(a) < 2147483648.f ? (int32_t)rintf(AT(a)) : INT32_MIN); }
FY_INLINE fv iv_to_float(iv a) { EACH16(fv, (float)AT(a)); }
FY_INLINE iv iv_set1(int x) { EACH16(iv, x); }
FY_INLINE iv iv_add(iv a, iv b) { EACH16(iv, (int32_t)((uint32_t)AT(a) + (uint32_t)AT(b))); }
FY_INLINE iv iv_sub(iv a, iv b) { EACH16(iv, (int32_t)((uint32_t)AT(a) - (uint32_t)AT(b))); }
FY_INLINE iv iv_and(iv a, iv b) { EACH16(iv, AT(a) & AT(b)); }
FY_INLINE iv iv_or(iv a, iv b) { EACH16(iv, AT(a) | AT(b)); }
FY_INLINE iv iv_xor(iv a, iv b) { EACH16(iv, AT(a) ^ AT(b)); }
FY_INLINE iv iv_shl(iv a, int n) { EACH16(iv, (int32_t)((uint32_t)AT(a) << n)); }
FY_INLINE iv iv_shr(iv a, int n) { EACH16(iv, (int32_t)((uint32_t)AT(a) >> n)); }
FY_INLINE iv iv_sar(iv a, int n) { EACH16(iv, AT(a) >> n); }

#if FV_LANES == 1
FY_INLINE fv fv_load(const float *p) { return *p; }
FY_INLINE void fv_store(float *p, fv x) { *p = x; }
FY_INLINE fv fv_load_n(const float *p, int n) { return n ? *p : 0; }
FY_INLINE void fv_store_n(float *p, fv x, int n) { if (n) *p = x; }
FY_INLINE bool mv_any(mv m) { return m != 0; }
#else
FY_INLINE fv fv_load(const float *p) { fv r; memcpy(&r, p, sizeof r); return r; }
FY_INLINE void fv_store(float *p, fv x) { memcpy(p, &x, sizeof x); }
FV_CALLED fv fv_load_n(const float *p, int n) { fv r = fv_zero(); memcpy(&r, p, (size_t)n * sizeof *p); return r; }
FV_CALLED void fv_store_n(float *p, fv x, int n) { memcpy(p, &x, (size_t)n * sizeof *p); }
FY_INLINE bool mv_any(mv m) {
    int32_t any = 0;
    for (int i = 0; i < 16; i++) any |= m.v[i];
    return any != 0;
}
FV_CALLED float fv_sum(fv a) {
    for (int step = 8; step; step /= 2)
        for (int i = 0; i < step; i++) a.v[i] += a.v[i + step];
    return a.v[0];
}
FV_CALLED float fv_hmax(fv a) {
    for (int step = 8; step; step /= 2)
        for (int i = 0; i < step; i++) a.v[i] = a.v[i] > a.v[i + step] ? a.v[i] : a.v[i + step];
    return a.v[0];
}
FY_INLINE mv mv_bytes(const unsigned char *p) { EACH16(mv, -(p[i] != 0)); }
typedef iv fp;                           /* from which lane each comes; below 0: from none, and is 0 */
FY_INLINE fp fv_places(const int32_t *p) { EACH16(iv, p[i]); }
FY_INLINE fv fv_pick(fv x, fp at) { EACH16(fv, at.v[i] < 0 ? 0 : x.v[at.v[i] & 15]); }
#endif
