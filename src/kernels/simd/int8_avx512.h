/* SPDX-License-Identifier: Apache-2.0
 * int8_avx512.h - dot products of 4 bytes for 16 columns: one instruction with VNNI; without it widened to 16 bits, where no sum of two products
 * saturates. */

FY_INLINE iv iv_load(const int32_t *p) { return _mm512_loadu_si512(p); }
FY_INLINE void iv_store(int32_t *p, iv a) { _mm512_storeu_si512(p, a); }
FY_INLINE void iv_store_n(int32_t *p, iv a, int n) { _mm512_mask_storeu_epi32(p, (__mmask16)((1u << n) - 1), a); }
FY_INLINE iv iv_load_u8(const uint8_t *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)); }
FY_INLINE iv iv_load_u8_n(const uint8_t *p, int n) { return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1), p)); }
FY_INLINE void iv_store_u8(uint8_t *p, iv a) { _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(a)); }      /* the lowest byte of each */
FY_INLINE void iv_store_u8_n(uint8_t *p, iv a, int n) { _mm_mask_storeu_epi8(p, (__mmask16)((1u << n) - 1), _mm512_cvtepi32_epi8(a)); }
FY_INLINE iv iv_mul16(iv x, iv w) { return _mm512_madd_epi16(x, w); }                                                  /* the upper half of x is 0 */

/* Of 4 pixels of 16 channels: dwords of one pixel one after another, from those of four pixels side by side, and back. */
#define DOT_STORE_4
FY_INLINE int iv_of_float(float x) { return _mm_cvtss_si32(_mm_set_ss(x)); }        /* rounded to nearest */
FY_INLINE __m512i dot_dwords(void) { return _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15); }

/* Cut to 0..255, dwords of the four side by side; plus `zero` before. Saturating at every step: any 32-bit values. */
FY_INLINE __m512i iv_pack_4(iv a, iv b, iv c, iv d) { return _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)); }
FY_INLINE __m512i iv_pack_4_to(iv a, iv b, iv c, iv d, __m512i zero) {
    return _mm512_packus_epi16(_mm512_adds_epi16(_mm512_packs_epi32(a, b), zero), _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero));
}

/* Sixteen bytes each, `by` apart, for n of four pixels. */
FY_INLINE void iv_scatter_4(uint8_t *p, int64_t by, int n, __m512i v) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_castsi512_si128(v));
    if (n > 1) _mm_storeu_si128((__m128i *)(void *)(p + by), _mm512_extracti32x4_epi32(v, 1));
    if (n > 2) _mm_storeu_si128((__m128i *)(void *)(p + 2 * by), _mm512_extracti32x4_epi32(v, 2));
    if (n > 3) _mm_storeu_si128((__m128i *)(void *)(p + 3 * by), _mm512_extracti32x4_epi32(v, 3));
}

#ifdef __AVX512VNNI__
#define DOT_NV 2
#define DOT_MR 14                        /* 28 sums, 2 of w, one of x */
#define DOT_NOW                          /* bytes are made of sums while these are in registers */

typedef __m512i qa;
typedef __m512i qx;
typedef __m512i qw;
FY_INLINE qa qa_zero(void) { return _mm512_setzero_si512(); }
FY_INLINE qx qx_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
FY_INLINE qw qw_load(const int8_t *p) { return _mm512_loadu_si512(p); }
FY_INLINE qa qa_dot(qa s, qx x, qw w) { return _mm512_dpbusd_epi32(s, x, w); }
FY_INLINE iv qa_sum(qa s) { return s; }

/* 4 pixels of 16 channels as 16 channels of 4 pixels: what a row of taps of one channel needs, side by side. */
#define DOT_QUADS
FY_INLINE __m512i quad_load(const uint8_t *p) {
    const __m512i dwords = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(dwords, _mm512_loadu_si512(p)), bytes);
}
#else
#define DOT_NV 1
#define DOT_MR 8                         /* 16 sums of 8 columns each, in pairs: widening w is shared by them; 12 rows gain 2 % more, in 9 KB more */

typedef struct qa { __m512i l, h; } qa;  /* of each column two sums side by side */
typedef __m512i qx;
typedef struct qw { __m512i l, h; } qw;
FY_INLINE qa qa_zero(void) { return (qa){_mm512_setzero_si512(), _mm512_setzero_si512()}; }
FY_INLINE qx qx_set(uint32_t x) { return _mm512_cvtepu8_epi16(_mm256_set1_epi32((int)x)); }
FY_INLINE qw qw_load(const int8_t *p) {
    const __m256i *b = (const __m256i *)(const void *)p;
    return (qw){_mm512_cvtepi8_epi16(_mm256_loadu_si256(b)), _mm512_cvtepi8_epi16(_mm256_loadu_si256(b + 1))};
}
FY_INLINE qa qa_dot(qa s, qx x, qw w) { return (qa){_mm512_add_epi32(s.l, _mm512_madd_epi16(x, w.l)), _mm512_add_epi32(s.h, _mm512_madd_epi16(x, w.h))}; }
FY_INLINE iv qa_sum(qa s) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
    return _mm512_add_epi32(_mm512_permutex2var_epi32(s.l, even, s.h), _mm512_permutex2var_epi32(s.l, odd, s.h));
}
#endif
