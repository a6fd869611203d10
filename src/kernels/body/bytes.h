/* SPDX-License-Identifier: Apache-2.0
 * bytes.h - byte by byte: to bytes, from bytes, and two of them as one (body, compiled once for each instruction set). */

/* The product with 1 / scale, unless that is so near to the middle of two steps that the quotient may round to the other. */
FV_CALLED iv quantize_16(fv x, fv scale, fv inverse, float lo, float hi) {
    fv y = fv_mul(x, inverse), d = fv_abs(fv_sub(y, fv_round(y)));
    fv margin = fv_sub(fv_set1(0.5f), fv_mul(fv_abs(y), fv_set1(0x1p-21f)));
    if (mv_any(fv_le(margin, d))) y = fv_div(x, scale);
    y = fv_select(fv_isnan(y), fv_set1(lo), y);
    return fv_to_int(dot_clamp(y, lo, hi));
}

static void quantize_bytes(uint8_t *y, const float *x, int64_t n, const fy_bytes *q) {
    const fv scale = fv_set1(q->scale), inverse = fv_set1(1 / q->scale);
    const float lo = (float)-q->zero, hi = (float)(255 - q->zero);
    const iv zero = iv_set1(q->zero), flip = iv_set1(q->flip);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) iv_store_u8(y + i, iv_xor(iv_add(quantize_16(fv_load(x + i), scale, inverse, lo, hi), zero), flip));
    if (i < n) iv_store_u8_n(y + i, iv_xor(iv_add(quantize_16(fv_load_n(x + i, (int)(n - i)), scale, inverse, lo, hi), zero), flip), (int)(n - i));
}

FY_INLINE fv bytes_less_zero(iv b, const fy_bytes *q) { return iv_to_float(iv_sub(iv_xor(b, iv_set1(q->flip)), iv_set1(q->zero))); }
FY_INLINE fv bytes_16(iv b, const fy_bytes *q) { return fv_mul(bytes_less_zero(b, q), fv_set1(q->scale)); }

static void dequantize_bytes(float *y, const uint8_t *x, int64_t n, const fy_bytes *q) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) fv_store(y + i, bytes_16(iv_load_u8(x + i), q));
    if (i < n) fv_store_n(y + i, bytes_16(iv_load_u8_n(x + i, (int)(n - i)), q), (int)(n - i));
}

FV_CALLED iv byte_binary_16(iv a, iv b, const fy_byte_binary *q) {
    fv x = q->product ? fv_mul(fv_mul(bytes_less_zero(a, &q->a), bytes_less_zero(b, &q->b)), fv_set1(q->a.scale)) : fv_add(bytes_16(a, &q->a), bytes_16(b, &q->b));
    return iv_add(fv_to_int(dot_clamp(x, q->lo, q->hi)), iv_set1(q->zero));
}

static void byte_binary(uint8_t *y, const uint8_t *a, const uint8_t *b, int64_t n, const fy_byte_binary *q) {
    const iv one_a = iv_set1(q->one == 1 ? *a : 0), one_b = iv_set1(q->one == 2 ? *b : 0);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) iv_store_u8(y + i, byte_binary_16(q->one == 1 ? one_a : iv_load_u8(a + i), q->one == 2 ? one_b : iv_load_u8(b + i), q));
    if (i == n) return;
    int left = (int)(n - i);
    iv_store_u8_n(y + i, byte_binary_16(q->one == 1 ? one_a : iv_load_u8_n(a + i, left), q->one == 2 ? one_b : iv_load_u8_n(b + i, left), q), left);
}
