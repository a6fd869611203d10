/* SPDX-License-Identifier: Apache-2.0
 * trig.h - sin and cos over vectors of 16 floats, for every float (body, compiled once for each instruction set). At most 1 ULP.
 * x = n pi/2 + r, |r| <= pi/4 and a bit. Up to 30000, n pi/2 is taken away in pieces of 24 bits; beyond, a lane is reduced by itself with
 * as many bits of 2/pi as its exponent asks for: Payne and Hanek, "Radian Reduction for Trigonometric Functions", 1983. A lane's bits do
 * not depend on its neighbours. */

/* r = h + l and n of one x, finite and above 2^13 in size. */
static void trig_reduce_one(float x, float *h, float *l, float *n) {
    static const uint32_t two_over_pi[] = {0, 0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};     /* word 0: before the point */
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    /* x = m 2^(e - 150). Of the bits of 2/pi those count that weigh 2 and less after the product, 96 of them; the others are turns. */
    uint32_t m = (bits & 0x7fffff) | 0x800000, from = (bits >> 23 & 255) - 120, word = from / 32, shift = from % 32, a[3];
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t both = (uint64_t)two_over_pi[word + i] << 32 | two_over_pi[word + i + 1];
        a[i] = (uint32_t)(both >> (32 - shift));
    }
    uint64_t p = ((uint64_t)m * a[0] << 32) + (uint64_t)m * a[1] + ((uint64_t)m * a[2] >> 32), turn = (p + ((uint64_t)1 << 61)) >> 62;
    double r = (double)(int64_t)(p - (turn << 62)) * (1.57079632679489661923 / 4611686018427387904.0);
    int quarter = (int)(turn & 3);
    if (x < 0) { r = -r; quarter = -quarter; }
    *h = (float)r;
    *l = (float)(r - (double)*h);
    *n = (float)quarter;
}

FV_MATH fv2 fv_trig_reduce(fv x, iv *n) {
    const fv most = fv_set1(30000.0f), inf = fv_set1(__builtin_inff());
    mv far = fv_lt(most, fv_abs(x));
    fv k = fv_round(fv_mul(x, fv_set1(0.636619772f))), minus = fv_neg(k);
    fv r = fv_fmx(minus, fv_set1(1.570796371f), x);              /* exact: k has 15 bits at most, r is a multiple of 2^-24 */
    fv p = fv_mul(minus, fv_set1(-4.371138829e-08f)), pl = fv_fmx(minus, fv_set1(-4.371138829e-08f), fv_neg(p));
    fv2 s = fv_two_sum(r, p);
    s.l = fv_add(s.l, fv_fmx(minus, fv_set1(-1.715124510e-15f), pl));
    if (mv_any(far)) {
        float at[FV_LANES], h[FV_LANES], l[FV_LANES], q[FV_LANES];
        fv_store(at, x);
        fv_store(h, s.h);
        fv_store(l, s.l);
        fv_store(q, k);
        for (int i = 0; i < FV_LANES; i++)
            if (at[i] > 30000.0f || at[i] < -30000.0f) {
                if (at[i] - at[i] == 0) trig_reduce_one(at[i], &h[i], &l[i], &q[i]);
                else h[i] = l[i] = q[i] = 0;
            }
        s = (fv2){fv_load(h), fv_load(l)};
        k = fv_load(q);
    }
    s.h = fv_select(fv_lt(fv_abs(x), inf), s.h, fv_set1(__builtin_nanf("")));
    *n = fv_to_int(k);
    return s;
}

/* sin(x + `ahead` pi / 2) */
FV_MATH fv fv_trig(fv x, int ahead) {
    iv n;
    fv2 r = fv_trig_reduce(x, &n);
    n = iv_add(n, iv_set1(ahead));
    fv z = fv_mul(r.h, r.h), zl = fv_fmx(r.h, r.h, fv_neg(z)), half = fv_mul(z, fv_set1(0.5f));
    fv s = POLY(z, 2.724992580e-06f, -1.984008674e-04f, 8.333331875e-03f, -1.666666666e-01f);
    fv c = POLY(z, -2.730095879e-07f, 2.480060037e-05f, -1.388888767e-03f, 4.166666666e-02f);
    s = fv_add(fv_fmx(fv_mul(z, r.h), s, r.l), r.h);
    fv w = fv_sub(fv_set1(1.0f), half), lost = fv_sub(fv_sub(fv_set1(1.0f), w), half);
    c = fv_add(w, fv_add(fv_fmx(fv_mul(z, z), c, lost), fv_fmx(fv_neg(r.h), r.l, fv_mul(zl, fv_set1(-0.5f)))));
    fv odd = iv_to_float(iv_and(n, iv_set1(1)));
    fv y = fv_select(fv_lt(fv_zero(), odd), c, s);
    y = iv_bits(iv_xor(fv_bits(y), iv_shl(iv_and(n, iv_set1(2)), 30)));
    return fv_select(fv_isnan(x), x, y);
}

FY_INLINE fv fv_sin(fv x) { return fv_select(fv_lt(fv_abs(x), fv_set1(1e-4f)), x, fv_trig(x, 0)); }       /* -0 stays -0 */
FY_INLINE fv fv_cos(fv x) { return fv_trig(x, 1); }
