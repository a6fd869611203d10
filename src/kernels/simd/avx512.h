/* SPDX-License-Identifier: Apache-2.0
 * avx512.h - a vector of 16 floats for the body files: AVX-512 F, BW, DQ, VL. */
#include <immintrin.h>

#define ISA avx512
#define GEMM_NV 2                        /* vectors in a panel */
#define GEMM_MR 14                       /* rows of a tile: 28 sums, 2 of b, one of a */

#define FV_MANY                          /* 32 vectors fit into registers */

typedef __m512 fv;
typedef __m512i iv;                      /* 16 ints */
typedef __mmask16 mv;

FY_INLINE fv fv_zero(void) { return _mm512_setzero_ps(); }
FY_INLINE fv fv_set1(float x) { return _mm512_set1_ps(x); }
FY_INLINE fv fv_load(const float *p) { return _mm512_loadu_ps(p); }
FY_INLINE void fv_store(float *p, fv x) { _mm512_storeu_ps(p, x); }
FY_INLINE fv fv_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }       /* n in 1..16; the rest 0 */
FY_INLINE void fv_store_n(float *p, fv x, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x); }
FY_INLINE fv fv_add(fv a, fv b) { return _mm512_add_ps(a, b); }
FY_INLINE fv fv_sub(fv a, fv b) { return _mm512_sub_ps(a, b); }
FY_INLINE fv fv_mul(fv a, fv b) { return _mm512_mul_ps(a, b); }
FY_INLINE fv fv_div(fv a, fv b) { return _mm512_div_ps(a, b); }
FY_INLINE fv fv_fma(fv a, fv b, fv c) { return _mm512_fmadd_ps(a, b, c); }       /* a * b + c */
#define fv_fmx fv_fma                 /* rounded once */
#define FV_SCALE(y, n) _mm512_scalef_ps(y, n)       /* y 2^n, rounded once; the others do without */
#define FV_LOOKUP(a, t) _mm512_permutex2var_ps(fv_load(a), _mm512_castps_si512(t), fv_load(a + 16))  /* of 32 values those that the low five bits of t name */
#define FV_LOOKUP16(a, t) _mm512_permutexvar_ps(_mm512_castps_si512(t), fv_load(a))              /* of 16 those that the low four bits name */
#define FV_WITHIN(x, limit) _mm512_range_ps(x, _mm512_set1_ps(limit), 2)            /* the smaller absolute value, x's sign */
FY_INLINE fv fv_reciprocal(fv d) {                                               /* of d >= 1 within 1 ulp, 0 of infinity: an estimate of 14 bits and one of Newton's steps */
    fv r = _mm512_rcp14_ps(d);
    return _mm512_maskz_fmadd_ps(_mm512_cmp_ps_mask(d, _mm512_set1_ps(3.40282347e38f), _CMP_NGT_UQ), r, _mm512_fnmadd_ps(d, r, _mm512_set1_ps(1.0f)), r);
}
#define FV_RECIPROCAL fv_reciprocal
FY_INLINE fv fv_max(fv a, fv b) { return _mm512_max_ps(a, b); }                  /* b where one is NaN */
FY_INLINE fv fv_min(fv a, fv b) { return _mm512_min_ps(a, b); }
FY_INLINE fv fv_sqrt(fv a) { return _mm512_sqrt_ps(a); }
FY_INLINE fv fv_abs(fv a) { return _mm512_abs_ps(a); }
FY_INLINE fv fv_neg(fv a) { return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), _mm512_set1_epi32((int)0x80000000u))); }
FY_INLINE fv fv_floor(fv a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
FY_INLINE fv fv_ceil(fv a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
FY_INLINE fv fv_round(fv a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
FY_INLINE mv fv_lt(fv a, fv b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FY_INLINE mv fv_le(fv a, fv b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
FY_INLINE mv fv_ge(fv a, fv b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
FY_INLINE mv fv_isnan(fv a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
FY_INLINE bool mv_any(mv m) { return m != 0; }
FY_INLINE fv fv_select(mv m, fv yes, fv no) { return _mm512_mask_blend_ps(m, no, yes); }
FY_INLINE iv fv_bits(fv a) { return _mm512_castps_si512(a); }
FY_INLINE fv iv_bits(iv a) { return _mm512_castsi512_ps(a); }
FY_INLINE iv fv_to_int(fv a) { return _mm512_cvtps_epi32(a); }                  /* rounds to nearest */
FY_INLINE fv iv_to_float(iv a) { return _mm512_cvtepi32_ps(a); }
FY_INLINE iv iv_set1(int x) { return _mm512_set1_epi32(x); }
FY_INLINE iv iv_add(iv a, iv b) { return _mm512_add_epi32(a, b); }
FY_INLINE iv iv_sub(iv a, iv b) { return _mm512_sub_epi32(a, b); }
FY_INLINE iv iv_and(iv a, iv b) { return _mm512_and_si512(a, b); }
FY_INLINE iv iv_or(iv a, iv b) { return _mm512_or_si512(a, b); }
FY_INLINE iv iv_xor(iv a, iv b) { return _mm512_xor_si512(a, b); }
#define iv_shl(a, n) _mm512_slli_epi32(a, n)
#define iv_shr(a, n) _mm512_srli_epi32(a, n)        /* logical */
#define iv_sar(a, n) _mm512_srai_epi32(a, n)        /* arithmetic */
FY_INLINE float fv_sum(fv a) { return _mm512_reduce_add_ps(a); }                /* a tree: lanes 8 apart, 4, 2, 1 */
FY_INLINE float fv_hmax(fv a) { return _mm512_reduce_max_ps(a); }
FY_INLINE mv mv_bytes(const unsigned char *p) {                                  /* which of 16 bytes are not 0 */
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm_test_epi8_mask(b, b);
}
typedef struct fp { iv at; mv there; } fp;                                       /* from which lane each comes; below 0: from none, and is 0 */
FY_INLINE fp fv_places(const int32_t *p) {
    iv at = _mm512_loadu_si512(p);
    return (fp){at, _mm512_cmpge_epi32_mask(at, _mm512_setzero_si512())};
}
FY_INLINE fv fv_pick(fv x, fp at) { return _mm512_maskz_permutexvar_ps(at.there, at.at, x); }
