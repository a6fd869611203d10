/* SPDX-License-Identifier: Apache-2.0
 * int8_avx2.h - dot products of 4 bytes for 16 columns: widened to 16 bits, where no sum of two products saturates. */
#define DOT_NV 1
#define DOT_MR 3                         /* 12 sums of 4 columns each, in pairs */

typedef struct qa { __m256i v[4]; } qa;  /* of each column two sums side by side */
typedef __m256i qx;
typedef struct qw { __m256i v[4]; } qw;

FY_INLINE iv iv_load(const int32_t *p) { return PAIR(iv, _mm256_loadu_si256((const __m256i *)(const void *)p), _mm256_loadu_si256((const __m256i *)(const void *)(p + 8))); }
FY_INLINE void iv_store(int32_t *p, iv a) { _mm256_storeu_si256((__m256i *)(void *)p, a.l); _mm256_storeu_si256((__m256i *)(void *)(p + 8), a.h); }
FY_INLINE void iv_store_n(int32_t *p, iv a, int n) {
    iv m = iv_first(n);
    _mm256_maskstore_epi32(p, m.l, a.l);
    if (n > 8) _mm256_maskstore_epi32(p + 8, m.h, a.h);
}
FY_INLINE iv iv_of_bytes(__m128i b) { return PAIR(iv, _mm256_cvtepu8_epi32(b), _mm256_cvtepu8_epi32(_mm_srli_si128(b, 8))); }
FY_INLINE iv iv_load_u8(const uint8_t *p) { return iv_of_bytes(_mm_loadu_si128((const __m128i *)(const void *)p)); }
FY_INLINE iv iv_load_u8_n(const uint8_t *p, int n) {
    uint8_t b[16] = {0};
    __builtin_memcpy(b, p, (size_t)n);
    return iv_load_u8(b);
}
FY_INLINE __m128i iv_bytes(iv a) {                                              /* the lowest byte of each */
    const __m256i low = _mm256_set1_epi32(255);
    __m256i w = _mm256_packus_epi32(_mm256_and_si256(a.l, low), _mm256_and_si256(a.h, low));
    w = _mm256_permute4x64_epi64(w, 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
}
FY_INLINE void iv_store_u8(uint8_t *p, iv a) { _mm_storeu_si128((__m128i *)(void *)p, iv_bytes(a)); }
FY_INLINE void iv_store_u8_n(uint8_t *p, iv a, int n) {
    uint8_t b[16];
    iv_store_u8(b, a);
    __builtin_memcpy(p, b, (size_t)n);
}
FY_INLINE iv iv_mul16(iv x, iv w) { return PAIR(iv, _mm256_madd_epi16(x.l, w.l), _mm256_madd_epi16(x.h, w.h)); }         /* the upper half of x is 0 */
FY_INLINE qa qa_zero(void) { __m256i z = _mm256_setzero_si256(); return (qa){{z, z, z, z}}; }
FY_INLINE qx qx_set(uint32_t x) { return _mm256_cvtepu8_epi16(_mm_set1_epi32((int)x)); }
FY_INLINE qw qw_load(const int8_t *p) {
    const __m128i *b = (const __m128i *)(const void *)p;
    return (qw){{_mm256_cvtepi8_epi16(_mm_loadu_si128(b)), _mm256_cvtepi8_epi16(_mm_loadu_si128(b + 1)), _mm256_cvtepi8_epi16(_mm_loadu_si128(b + 2)), _mm256_cvtepi8_epi16(_mm_loadu_si128(b + 3))}};
}
#define QA_PART(i) _mm256_add_epi32(s.v[i], _mm256_madd_epi16(x, w.v[i]))
FY_INLINE qa qa_dot(qa s, qx x, qw w) { return (qa){{QA_PART(0), QA_PART(1), QA_PART(2), QA_PART(3)}}; }
FY_INLINE iv qa_sum(qa s) {
    return PAIR(iv, _mm256_permute4x64_epi64(_mm256_hadd_epi32(s.v[0], s.v[1]), 0xd8), _mm256_permute4x64_epi64(_mm256_hadd_epi32(s.v[2], s.v[3]), 0xd8));
}
