/* SPDX-License-Identifier: Apache-2.0
 * int8_generic.h - dot products of 4 bytes for 16 columns, in plain C. */
#define DOT_NV 1
#define DOT_MR 1

typedef iv qa;                           /* 16 sums */
typedef struct qx { int32_t v[4]; } qx;  /* 4 values of x for all columns */
typedef const int8_t *qw;                /* [16][4] */

FY_INLINE iv iv_load(const int32_t *p) { iv r; memcpy(&r, p, sizeof r); return r; }
FY_INLINE void iv_store(int32_t *p, iv a) { memcpy(p, &a, sizeof a); }
FY_INLINE void iv_store_n(int32_t *p, iv a, int n) { memcpy(p, &a, (size_t)n * sizeof *p); }
FY_INLINE iv iv_load_u8(const uint8_t *p) { EACH16(iv, p[i]); }
FY_INLINE iv iv_load_u8_n(const uint8_t *p, int n) { EACH16(iv, i < n ? p[i] : 0); }
FY_INLINE void iv_store_u8_n(uint8_t *p, iv a, int n) { for (int i = 0; i < n; i++) p[i] = (uint8_t)a.v[i]; }
FY_INLINE void iv_store_u8(uint8_t *p, iv a) { iv_store_u8_n(p, a, 16); }
FY_INLINE iv iv_mul16(iv x, iv w) { EACH16(iv, x.v[i] * w.v[i]); }                       /* x in 0..255, w in -128..127 */
FY_INLINE qa qa_zero(void) { return iv_set1(0); }
FY_INLINE qx qx_set(uint32_t x) { return (qx){{(int32_t)(x & 255), (int32_t)(x >> 8 & 255), (int32_t)(x >> 16 & 255), (int32_t)(x >> 24)}}; }
FY_INLINE qw qw_load(const int8_t *p) { return p; }
FY_INLINE qa qa_dot(qa s, qx x, qw w) { EACH16(qa, s.v[i] + x.v[0] * w[4 * i] + x.v[1] * w[4 * i + 1] + x.v[2] * w[4 * i + 2] + x.v[3] * w[4 * i + 3]); }
FY_INLINE iv qa_sum(qa s) { return s; }
