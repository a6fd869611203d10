/* SPDX-License-Identifier: Apache-2.0
 * arc.h - asin, acos and atan over vectors of 16 floats (body, compiled once for each instruction set). At most 1 ULP: they share what comes
 * after the polynomial, a quarter turn less a part, in two parts. */

enum { ARC_TAN, ARC_SIN, ARC_COS };

/* |x| is small, or `large`: then what is taken from pi / 2 is the arc of 1 / |x|, or twice that of sqrt((1 - |x|) / 2). The part is r + w. */
FV_MATH fv fv_arc(fv x, int kind) {
    const fv a = fv_abs(x), one = fv_set1(1.0f), low = fv_set1(-4.371138829e-08f), quarter = fv_set1(1.570796371f);
    mv large = fv_lt(fv_set1(kind == ARC_TAN ? 1.0f : 0.5f), a);
    fv r, w;
    if (kind == ARC_TAN) {
        fv n = fv_select(large, one, a), d = fv_select(large, fv_min(fv_set1(3.4028235e38f), a), one);
        r = fv_div(n, d);
        fv z = fv_mul(r, r), u = fv_sub(z, fv_set1(0.75f));          /* around where the result is largest next to its unit: small summands there */
        fv p = POLY(u, 1.488691934e-03f, 9.040408188e-04f, 1.583234311e-03f, -2.131656330e-03f, 4.032737572e-03f, -8.342828693e-03f, 1.740866776e-02f, -3.784485456e-02f, 8.801312361e-02f);
        w = fv_mul(fv_mul(r, z), fv_fmx(p, u, fv_set1(-2.344827679e-01f)));
        w = fv_fmx(fv_mul(fv_fmx(fv_neg(r), d, n), r), fv_fmx(z, fv_set1(-0.5f), one), w);      /* what the quotient lacks, times about 1 / (1 + z) */
    } else {
        fv z = fv_select(large, fv_mul(fv_sub(one, a), fv_set1(0.5f)), fv_mul(a, a)), s = fv_sqrt(z), t = fv_add(s, s);
        fv lost = fv_div(fv_fmx(fv_neg(s), s, z), fv_max(fv_set1(1e-30f), s));       /* twice what the root lacks */
        r = fv_select(large, t, a);
        w = fv_fmx(fv_mul(r, z), POLY(z, 3.369084729e-02f, 1.714923830e-02f, 3.110066275e-02f, 4.459940153e-02f, 7.500094544e-02f, 1.666666634e-01f), fv_select(large, lost, fv_zero()));
    }
    fv2 y = fv_fast_sum(fv_select(large, quarter, fv_zero()), fv_select(large, fv_neg(r), r));
    y.l = fv_select(large, fv_sub(fv_add(y.l, low), w), w);
    if (kind != ARC_COS) return fv_copysign(fv_add(y.h, y.l), x);
    mv minus = fv_lt(x, fv_zero());
    fv2 rest = fv_fast_sum(quarter, fv_select(minus, y.h, fv_neg(y.h)));
    return fv_add(rest.h, fv_add(rest.l, fv_add(low, fv_select(minus, y.l, fv_neg(y.l)))));
}
