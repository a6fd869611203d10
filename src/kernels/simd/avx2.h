/* SPDX-License-Identifier: Apache-2.0
 * avx2.h - a vector of 16 floats for the body files, as two of AVX2; with FMA. */
#include <immintrin.h>

#define ISA avx2
#define GEMM_NV 1                        /* vectors in a panel */
#define GEMM_MR 6                        /* rows of a tile: 12 sums, 2 of b, one of a */

typedef struct fv { __m256 l, h; } fv;
typedef struct iv { __m256i l, h; } iv;
typedef fv mv;

#define PAIR(T, lo, hi) ((T){lo, hi})
FY_INLINE fv fv_zero(void) { return PAIR(fv, _mm256_setzero_ps(), _mm256_setzero_ps()); }
FY_INLINE fv fv_set1(float x) { return PAIR(fv, _mm256_set1_ps(x), _mm256_set1_ps(x)); }
FY_INLINE fv fv_load(const float *p) { return PAIR(fv, _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
FY_INLINE void fv_store(float *p, fv x) { _mm256_storeu_ps(p, x.l); _mm256_storeu_ps(p + 8, x.h); }
FY_INLINE iv iv_first(int n) {                                                  /* ones in the first n lanes */
    const __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), v = _mm256_set1_epi32(n);
    return PAIR(iv, _mm256_cmpgt_epi32(v, at), _mm256_cmpgt_epi32(v, _mm256_add_epi32(at, _mm256_set1_epi32(8))));
}
FY_INLINE fv fv_load_n(const float *p, int n) { iv m = iv_first(n); return PAIR(fv, _mm256_maskload_ps(p, m.l), n > 8 ? _mm256_maskload_ps(p + 8, m.h) : _mm256_setzero_ps()); }
FY_INLINE void fv_store_n(float *p, fv x, int n) { iv m = iv_first(n); _mm256_maskstore_ps(p, m.l, x.l); if (n > 8) _mm256_maskstore_ps(p + 8, m.h, x.h); }
FY_INLINE fv fv_add(fv a, fv b) { return PAIR(fv, _mm256_add_ps(a.l, b.l), _mm256_add_ps(a.h, b.h)); }
FY_INLINE fv fv_sub(fv a, fv b) { return PAIR(fv, _mm256_sub_ps(a.l, b.l), _mm256_sub_ps(a.h, b.h)); }
FY_INLINE fv fv_mul(fv a, fv b) { return PAIR(fv, _mm256_mul_ps(a.l, b.l), _mm256_mul_ps(a.h, b.h)); }
FY_INLINE fv fv_div(fv a, fv b) { return PAIR(fv, _mm256_div_ps(a.l, b.l), _mm256_div_ps(a.h, b.h)); }
FY_INLINE fv fv_fma(fv a, fv b, fv c) { return PAIR(fv, _mm256_fmadd_ps(a.l, b.l, c.l), _mm256_fmadd_ps(a.h, b.h, c.h)); }
#define fv_fmx fv_fma
FY_INLINE fv fv_max(fv a, fv b) { return PAIR(fv, _mm256_max_ps(a.l, b.l), _mm256_max_ps(a.h, b.h)); }
FY_INLINE fv fv_min(fv a, fv b) { return PAIR(fv, _mm256_min_ps(a.l, b.l), _mm256_min_ps(a.h, b.h)); }
FY_INLINE fv fv_sqrt(fv a) { return PAIR(fv, _mm256_sqrt_ps(a.l), _mm256_sqrt_ps(a.h)); }
FY_INLINE fv fv_abs(fv a) { __m256 m = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)); return PAIR(fv, _mm256_and_ps(a.l, m), _mm256_and_ps(a.h, m)); }
FY_INLINE fv fv_neg(fv a) { __m256 m = _mm256_set1_ps(-0.0f); return PAIR(fv, _mm256_xor_ps(a.l, m), _mm256_xor_ps(a.h, m)); }
#define ROUND2(a, how) PAIR(fv, _mm256_round_ps((a).l, (how) | _MM_FROUND_NO_EXC), _mm256_round_ps((a).h, (how) | _MM_FROUND_NO_EXC))
FY_INLINE fv fv_floor(fv a) { return ROUND2(a, _MM_FROUND_TO_NEG_INF); }
FY_INLINE fv fv_ceil(fv a) { return ROUND2(a, _MM_FROUND_TO_POS_INF); }
FY_INLINE fv fv_round(fv a) { return ROUND2(a, _MM_FROUND_TO_NEAREST_INT); }
#define CMP2(a, b, how) PAIR(mv, _mm256_cmp_ps((a).l, (b).l, how), _mm256_cmp_ps((a).h, (b).h, how))
FY_INLINE mv fv_lt(fv a, fv b) { return CMP2(a, b, _CMP_LT_OQ); }
FY_INLINE mv fv_le(fv a, fv b) { return CMP2(a, b, _CMP_LE_OQ); }
FY_INLINE mv fv_ge(fv a, fv b) { return CMP2(a, b, _CMP_GE_OQ); }
FY_INLINE mv fv_isnan(fv a) { return CMP2(a, a, _CMP_UNORD_Q); }
FY_INLINE bool mv_any(mv m) { return _mm256_movemask_ps(_mm256_or_ps(m.l, m.h)) != 0; }
FY_INLINE fv fv_select(mv m, fv yes, fv no) { return PAIR(fv, _mm256_blendv_ps(no.l, yes.l, m.l), _mm256_blendv_ps(no.h, yes.h, m.h)); }
FY_INLINE iv fv_bits(fv a) { return PAIR(iv, _mm256_castps_si256(a.l), _mm256_castps_si256(a.h)); }
FY_INLINE fv iv_bits(iv a) { return PAIR(fv, _mm256_castsi256_ps(a.l), _mm256_castsi256_ps(a.h)); }
FY_INLINE iv fv_to_int(fv a) { return PAIR(iv, _mm256_cvtps_epi32(a.l), _mm256_cvtps_epi32(a.h)); }
FY_INLINE fv iv_to_float(iv a) { return PAIR(fv, _mm256_cvtepi32_ps(a.l), _mm256_cvtepi32_ps(a.h)); }
FY_INLINE iv iv_set1(int x) { return PAIR(iv, _mm256_set1_epi32(x), _mm256_set1_epi32(x)); }
FY_INLINE iv iv_add(iv a, iv b) { return PAIR(iv, _mm256_add_epi32(a.l, b.l), _mm256_add_epi32(a.h, b.h)); }
FY_INLINE iv iv_sub(iv a, iv b) { return PAIR(iv, _mm256_sub_epi32(a.l, b.l), _mm256_sub_epi32(a.h, b.h)); }
FY_INLINE iv iv_and(iv a, iv b) { return PAIR(iv, _mm256_and_si256(a.l, b.l), _mm256_and_si256(a.h, b.h)); }
FY_INLINE iv iv_or(iv a, iv b) { return PAIR(iv, _mm256_or_si256(a.l, b.l), _mm256_or_si256(a.h, b.h)); }
FY_INLINE iv iv_xor(iv a, iv b) { return PAIR(iv, _mm256_xor_si256(a.l, b.l), _mm256_xor_si256(a.h, b.h)); }
#define iv_shl(a, n) PAIR(iv, _mm256_slli_epi32((a).l, n), _mm256_slli_epi32((a).h, n))
#define iv_shr(a, n) PAIR(iv, _mm256_srli_epi32((a).l, n), _mm256_srli_epi32((a).h, n))
#define iv_sar(a, n) PAIR(iv, _mm256_srai_epi32((a).l, n), _mm256_srai_epi32((a).h, n))
FY_INLINE float fv_sum(fv a) {
    __m256 s = _mm256_add_ps(a.l, a.h);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}
FY_INLINE float fv_hmax(fv a) {
    __m256 s = _mm256_max_ps(a.l, a.h);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
}
FY_INLINE mv mv_bytes(const unsigned char *p) {                                  /* which of 16 bytes are not 0 */
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m256i zero = _mm256_setzero_si256();
    return PAIR(mv, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_cvtepu8_epi32(b), zero)), _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_cvtepu8_epi32(_mm_srli_si128(b, 8)), zero)));
}
typedef iv fp;                           /* from which lane each comes; below 0: from none, and is 0 */
FY_INLINE fp fv_places(const int32_t *p) { return PAIR(fp, _mm256_loadu_si256((const __m256i *)(const void *)p), _mm256_loadu_si256((const __m256i *)(const void *)(p + 8))); }
#define FV_NEAR                          /* all come from one of the same eight: much less work here */
FY_INLINE fv fv_near(fv x, fp at) { return PAIR(fv, _mm256_permutevar8x32_ps(x.l, at.l), _mm256_permutevar8x32_ps(x.h, at.h)); }
FY_INLINE __m256 half_pick(fv x, __m256i at) {
    __m256 high = _mm256_castsi256_ps(_mm256_slli_epi32(at, 28));                /* bit 3 as the sign */
    __m256 v = _mm256_blendv_ps(_mm256_permutevar8x32_ps(x.l, at), _mm256_permutevar8x32_ps(x.h, at), high);
    return _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_srai_epi32(at, 31)), v);
}
FY_INLINE fv fv_pick(fv x, fp at) { return PAIR(fv, half_pick(x, at.l), half_pick(x, at.h)); }
