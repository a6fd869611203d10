/* SPDX-License-Identifier: Apache-2.0
 * neon.h - a vector of 16 floats for the body files, as four of AArch64's Advanced SIMD, which every such CPU has; with FMA. */
#include <arm_neon.h>

#define ISA neon
#define GEMM_NV 1                        /* vectors in a panel */
#define GEMM_MR 6                        /* rows of a tile: 24 sums, 4 of b, one of a; of 32 registers */

typedef struct fv { float32x4_t v[4]; } fv;
typedef struct iv { int32x4_t v[4]; } iv;
typedef struct mv { uint32x4_t v[4]; } mv;

/* f of each quarter: written out, since a loop over them would stay a loop, and its vectors in memory. */
#define MAP1(T, f, a) (T){{f((a).v[0]), f((a).v[1]), f((a).v[2]), f((a).v[3])}}
#define MAP2(T, f, a, b) (T){{f((a).v[0], (b).v[0]), f((a).v[1], (b).v[1]), f((a).v[2], (b).v[2]), f((a).v[3], (b).v[3])}}
#define MAP3(T, f, a, b, c) (T){{f((a).v[0], (b).v[0], (c).v[0]), f((a).v[1], (b).v[1], (c).v[1]), f((a).v[2], (b).v[2], (c).v[2]), f((a).v[3], (b).v[3], (c).v[3])}}
FY_INLINE fv fv_set1(float x) { float32x4_t q = vdupq_n_f32(x); return (fv){{q, q, q, q}}; }
FY_INLINE fv fv_zero(void) { return fv_set1(0); }
FY_INLINE fv fv_load(const float *p) { return (fv){{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}}; }
FY_INLINE void fv_store(float *p, fv x) { vst1q_f32(p, x.v[0]); vst1q_f32(p + 4, x.v[1]); vst1q_f32(p + 8, x.v[2]); vst1q_f32(p + 12, x.v[3]); }
FY_INLINE fv fv_load_n(const float *p, int n) { float t[16] = {0}; __builtin_memcpy(t, p, (size_t)n * sizeof *p); return fv_load(t); }
FY_INLINE void fv_store_n(float *p, fv x, int n) { float t[16]; fv_store(t, x); __builtin_memcpy(p, t, (size_t)n * sizeof *p); }
FY_INLINE fv fv_add(fv a, fv b) { return MAP2(fv, vaddq_f32, a, b); }
FY_INLINE fv fv_sub(fv a, fv b) { return MAP2(fv, vsubq_f32, a, b); }
FY_INLINE fv fv_mul(fv a, fv b) { return MAP2(fv, vmulq_f32, a, b); }
FY_INLINE fv fv_div(fv a, fv b) { return MAP2(fv, vdivq_f32, a, b); }
FY_INLINE fv fv_fma(fv a, fv b, fv c) { return MAP3(fv, vfmaq_f32, c, a, b); }
#define fv_fmx fv_fma
/* The second operand where one is NaN, as elsewhere: FMAX would give NaN. */
FY_INLINE float32x4_t quarter_max(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
FY_INLINE float32x4_t quarter_min(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
FY_INLINE fv fv_max(fv a, fv b) { return MAP2(fv, quarter_max, a, b); }
FY_INLINE fv fv_min(fv a, fv b) { return MAP2(fv, quarter_min, a, b); }
FY_INLINE fv fv_sqrt(fv a) { return MAP1(fv, vsqrtq_f32, a); }
FY_INLINE fv fv_abs(fv a) { return MAP1(fv, vabsq_f32, a); }
FY_INLINE fv fv_neg(fv a) { return MAP1(fv, vnegq_f32, a); }
FY_INLINE fv fv_floor(fv a) { return MAP1(fv, vrndmq_f32, a); }
FY_INLINE fv fv_ceil(fv a) { return MAP1(fv, vrndpq_f32, a); }
FY_INLINE fv fv_round(fv a) { return MAP1(fv, vrndnq_f32, a); }
FY_INLINE mv fv_lt(fv a, fv b) { return MAP2(mv, vcltq_f32, a, b); }
FY_INLINE mv fv_le(fv a, fv b) { return MAP2(mv, vcleq_f32, a, b); }
FY_INLINE mv fv_ge(fv a, fv b) { return MAP2(mv, vcgeq_f32, a, b); }
FY_INLINE mv fv_isnan(fv a) { mv same = MAP2(mv, vceqq_f32, a, a); return MAP1(mv, vmvnq_u32, same); }
FY_INLINE bool mv_any(mv m) { return vmaxvq_u32(vorrq_u32(vorrq_u32(m.v[0], m.v[1]), vorrq_u32(m.v[2], m.v[3]))) != 0; }
FY_INLINE fv fv_select(mv m, fv yes, fv no) { return MAP3(fv, vbslq_f32, m, yes, no); }
FY_INLINE iv fv_bits(fv a) { return MAP1(iv, vreinterpretq_s32_f32, a); }
FY_INLINE fv iv_bits(iv a) { return MAP1(fv, vreinterpretq_f32_s32, a); }
FY_INLINE iv fv_to_int(fv a) { return MAP1(iv, vcvtnq_s32_f32, a); }                       /* beyond the range: the end of it */
FY_INLINE fv iv_to_float(iv a) { return MAP1(fv, vcvtq_f32_s32, a); }
FY_INLINE iv iv_set1(int x) { int32x4_t q = vdupq_n_s32(x); return (iv){{q, q, q, q}}; }
FY_INLINE iv iv_add(iv a, iv b) { return MAP2(iv, vaddq_s32, a, b); }
FY_INLINE iv iv_sub(iv a, iv b) { return MAP2(iv, vsubq_s32, a, b); }
FY_INLINE iv iv_and(iv a, iv b) { return MAP2(iv, vandq_s32, a, b); }
FY_INLINE iv iv_or(iv a, iv b) { return MAP2(iv, vorrq_s32, a, b); }
FY_INLINE iv iv_xor(iv a, iv b) { return MAP2(iv, veorq_s32, a, b); }
FY_INLINE iv iv_shl(iv a, int n) { iv by = iv_set1(n); return MAP2(iv, vshlq_s32, a, by); }
FY_INLINE iv iv_sar(iv a, int n) { iv by = iv_set1(-n); return MAP2(iv, vshlq_s32, a, by); }
FY_INLINE int32x4_t quarter_shr(int32x4_t a, int32x4_t by) { return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), by)); }
FY_INLINE iv iv_shr(iv a, int n) { iv by = iv_set1(-n); return MAP2(iv, quarter_shr, a, by); }
/* Halves upon halves, as the other instruction sets do. */
FY_INLINE float fv_sum(fv a) {
    float32x4_t q = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
    float32x2_t d = vadd_f32(vget_low_f32(q), vget_high_f32(q));
    return vget_lane_f32(d, 0) + vget_lane_f32(d, 1);
}
FY_INLINE float fv_hmax(fv a) {
    fv h = {{a.v[0], a.v[1], a.v[0], a.v[1]}}, l = {{a.v[2], a.v[3], a.v[2], a.v[3]}};
    float t[16], m;
    fv_store(t, fv_max(h, l));
    m = t[0];
    for (int i = 1; i < 8; i++) m = m > t[i] ? m : t[i];
    return m;
}
FY_INLINE mv mv_bytes(const unsigned char *p) {                                  /* which of 16 bytes are not 0 */
    uint8x16_t b = vld1q_u8(p);
    uint16x8_t l = vmovl_u8(vget_low_u8(b)), h = vmovl_u8(vget_high_u8(b));
    uint32x4_t zero = vdupq_n_u32(0);
    return (mv){{vcgtq_u32(vmovl_u16(vget_low_u16(l)), zero), vcgtq_u32(vmovl_u16(vget_high_u16(l)), zero), vcgtq_u32(vmovl_u16(vget_low_u16(h)), zero),
                 vcgtq_u32(vmovl_u16(vget_high_u16(h)), zero)}};
}
typedef struct fp { uint8x16_t v[4]; } fp;       /* from which lane each comes, as places of bytes; below 0: from none, and is 0 */
FY_INLINE uint8x16_t quarter_places(const int32_t *p) {
    int32x4_t at = vld1q_s32(p);
    uint32x4_t byte = vbslq_u32(vcltzq_s32(at), vdupq_n_u32(0x80), vreinterpretq_u32_s32(vshlq_n_s32(at, 2)));
    return vreinterpretq_u8_u32(vaddq_u32(vmulq_n_u32(byte, 0x01010101), vdupq_n_u32(0x03020100)));
}
FY_INLINE fp fv_places(const int32_t *p) { return (fp){{quarter_places(p), quarter_places(p + 4), quarter_places(p + 8), quarter_places(p + 12)}}; }
FY_INLINE fv fv_pick(fv x, fp at) {
    uint8x16x4_t t = {{vreinterpretq_u8_f32(x.v[0]), vreinterpretq_u8_f32(x.v[1]), vreinterpretq_u8_f32(x.v[2]), vreinterpretq_u8_f32(x.v[3])}};
    return (fv){{vreinterpretq_f32_u8(vqtbl4q_u8(t, at.v[0])), vreinterpretq_f32_u8(vqtbl4q_u8(t, at.v[1])), vreinterpretq_f32_u8(vqtbl4q_u8(t, at.v[2])),
                 vreinterpretq_f32_u8(vqtbl4q_u8(t, at.v[3]))}};
}
