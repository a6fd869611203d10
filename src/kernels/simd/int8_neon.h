/* SPDX-License-Identifier: Apache-2.0
 * int8_neon.h - dot products of 4 bytes for 16 columns with the widening additions that every AArch64 CPU has. */
#define DOT_NV 1
#define DOT_MR 3

typedef iv qa;                           /* 16 sums */
typedef struct qx { int32_t v[4]; } qx;  /* 4 values of x for all columns */
typedef struct qw { iv v[4]; } qw;       /* row i: byte i of each column */

FY_INLINE iv iv_load(const int32_t *p) { return (iv){{vld1q_s32(p), vld1q_s32(p + 4), vld1q_s32(p + 8), vld1q_s32(p + 12)}}; }
FY_INLINE void iv_store(int32_t *p, iv a) { vst1q_s32(p, a.v[0]); vst1q_s32(p + 4, a.v[1]); vst1q_s32(p + 8, a.v[2]); vst1q_s32(p + 12, a.v[3]); }
FY_INLINE void iv_store_n(int32_t *p, iv a, int n) { int32_t t[16]; iv_store(t, a); __builtin_memcpy(p, t, (size_t)n * sizeof *p); }
FY_INLINE iv iv_load_u8(const uint8_t *p) {
    uint8x16_t b = vld1q_u8(p);
    uint16x8_t l = vmovl_u8(vget_low_u8(b)), h = vmovl_u8(vget_high_u8(b));
    return (iv){{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(l))), vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(l))), vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(h))),
                 vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(h)))}};
}
FY_INLINE iv iv_load_u8_n(const uint8_t *p, int n) { uint8_t t[16] = {0}; __builtin_memcpy(t, p, (size_t)n); return iv_load_u8(t); }
FY_INLINE void iv_store_u8_n(uint8_t *p, iv a, int n) { int32_t t[16]; iv_store(t, a); for (int i = 0; i < n; i++) p[i] = (uint8_t)t[i]; }
FY_INLINE void iv_store_u8(uint8_t *p, iv a) {                                   /* the low bytes */
    int16x8_t l = vcombine_s16(vmovn_s32(a.v[0]), vmovn_s32(a.v[1])), h = vcombine_s16(vmovn_s32(a.v[2]), vmovn_s32(a.v[3]));
    vst1q_u8(p, vreinterpretq_u8_s8(vcombine_s8(vmovn_s16(l), vmovn_s16(h))));
}
FY_INLINE iv iv_mul16(iv x, iv w) { return MAP2(iv, vmulq_s32, x, w); }                   /* x in 0..255, w in -128..127 */
FY_INLINE qa qa_zero(void) { return iv_set1(0); }
FY_INLINE qx qx_set(uint32_t x) { return (qx){{(int32_t)(x & 255), (int32_t)(x >> 8 & 255), (int32_t)(x >> 16 & 255), (int32_t)(x >> 24)}}; }
FY_INLINE iv iv_widen(int8x16_t b) {
    int16x8_t l = vmovl_s8(vget_low_s8(b)), h = vmovl_s8(vget_high_s8(b));
    return (iv){{vmovl_s16(vget_low_s16(l)), vmovl_s16(vget_high_s16(l)), vmovl_s16(vget_low_s16(h)), vmovl_s16(vget_high_s16(h))}};
}
FY_INLINE qw qw_load(const int8_t *p) { int8x16x4_t b = vld4q_s8(p); return (qw){{iv_widen(b.val[0]), iv_widen(b.val[1]), iv_widen(b.val[2]), iv_widen(b.val[3])}}; }
FY_INLINE iv iv_fma1(iv s, iv w, int32_t x) { return (iv){{vmlaq_n_s32(s.v[0], w.v[0], x), vmlaq_n_s32(s.v[1], w.v[1], x), vmlaq_n_s32(s.v[2], w.v[2], x), vmlaq_n_s32(s.v[3], w.v[3], x)}}; }
FY_INLINE qa qa_dot(qa s, qx x, qw w) { return iv_fma1(iv_fma1(iv_fma1(iv_fma1(s, w.v[0], x.v[0]), w.v[1], x.v[1]), w.v[2], x.v[2]), w.v[3], x.v[3]); }
FY_INLINE iv qa_sum(qa s) { return s; }
