/* SPDX-License-Identifier: Apache-2.0
 * math.h - exp, log, erf, tanh and their kin over vectors of 16 floats (body, compiled once for each instruction set). At most 1 ULP
 * from the exact value each (`ferry selftest kernels` measures it); where one rounding after the other would be more than that, the part
 * that a sum or quotient loses is carried along. Arguments are reduced as in Cody and Waite, "Software Manual for the Elementary
 * Functions", 1980; tools/kernel_polynomials.py makes the polynomials. NaN gives NaN. fv_fmx is a * b + c rounded once on every
 * instruction set, which fv_fma is not on the generic one. */

/* A polynomial, highest power first, in two chains of every other coefficient: half as long to wait for as one. Written out, since a loop over
 * so few would stay a loop. */
#define POLY(x, a, b, ...) POLY_OF(__VA_ARGS__, 8, 7, 6, 5, 4, 3, 2, 1)(x, fv_mul(x, x), fv_set1(a), fv_set1(b), __VA_ARGS__)
#define POLY_OF(a, b, c, d, e, f, g, h, n, ...) POLY_##n
#define POLY_1(x, t, p, q, a)         fv_fmx(q, x, fv_fmx(p, t, fv_set1(a)))
#define POLY_2(x, t, p, q, a, b)      fv_fmx(fv_fmx(p, t, fv_set1(a)), x, fv_fmx(q, t, fv_set1(b)))
#define POLY_3(x, t, p, q, a, b, ...) POLY_1(x, t, fv_fmx(p, t, fv_set1(a)), fv_fmx(q, t, fv_set1(b)), __VA_ARGS__)
#define POLY_4(x, t, p, q, a, b, ...) POLY_2(x, t, fv_fmx(p, t, fv_set1(a)), fv_fmx(q, t, fv_set1(b)), __VA_ARGS__)
#define POLY_5(x, t, p, q, a, b, ...) POLY_3(x, t, fv_fmx(p, t, fv_set1(a)), fv_fmx(q, t, fv_set1(b)), __VA_ARGS__)
#define POLY_6(x, t, p, q, a, b, ...) POLY_4(x, t, fv_fmx(p, t, fv_set1(a)), fv_fmx(q, t, fv_set1(b)), __VA_ARGS__)
#define POLY_7(x, t, p, q, a, b, ...) POLY_5(x, t, fv_fmx(p, t, fv_set1(a)), fv_fmx(q, t, fv_set1(b)), __VA_ARGS__)
#define POLY_8(x, t, p, q, a, b, ...) POLY_6(x, t, fv_fmx(p, t, fv_set1(a)), fv_fmx(q, t, fv_set1(b)), __VA_ARGS__)

/* Inlined where a vector is a register; once, and called, where it is one number. */
#ifndef FV_MATH
#define FV_MATH FY_INLINE
#endif

/* x cut off at +-limit; NaN gives NaN or a limit. */
FY_INLINE fv fv_within(fv x, float limit) {
#ifdef FV_WITHIN
    return FV_WITHIN(x, limit);
#else
    return fv_min(fv_set1(limit), fv_max(fv_set1(-limit), x));
#endif
}

/* 2^n for n in [-126, 127]. */
FY_INLINE fv fv_pow2(iv n) { return iv_bits(iv_shl(iv_add(n, iv_set1(127)), 23)); }

/* A value in two parts, h + l, |l| at most about half a unit in the last place of h. */
typedef struct fv2 { fv h, l; } fv2;
FY_INLINE fv2 fv_two_sum(fv a, fv b) {                           /* a + b, nothing lost */
    fv h = fv_add(a, b), c = fv_sub(h, a);
    return (fv2){h, fv_add(fv_sub(a, fv_sub(h, c)), fv_sub(b, c))};
}
FY_INLINE fv2 fv_fast_sum(fv a, fv b) { fv h = fv_add(a, b); return (fv2){h, fv_sub(b, fv_sub(h, a))}; }     /* the same where |a| >= |b| */

/* x = n ln 2 + r; e^x = 2^n (1 + r + r^2 p(r)). */
FV_MATH fv2 fv_exp_reduce(fv x, fv *n) {
    const fv low = fv_set1(-1.42860682030941723e-6f);
    *n = fv_round(fv_mul(x, fv_set1(1.44269504088896341f)));
    fv part = fv_fmx(*n, fv_set1(-0.693145751953125f), x), r = fv_fmx(*n, low, part);     /* part is exact */
    return (fv2){r, fv_fmx(*n, low, fv_sub(part, r))};
}
FY_INLINE fv fv_exp_poly(fv r) { return POLY(r, 1.989098087e-04f, 1.393364103e-03f, 8.333310934e-03f, 4.166646501e-02f, 1.666666668e-01f, 5.000000013e-01f); }
/* y 2^n for whole n, in two factors, so that results near both ends of the range are right: the first is exact. */
FY_INLINE fv fv_scale(fv y, fv n) {
#ifdef FV_SCALE
    return FV_SCALE(y, n);
#else
    iv k = fv_to_int(n), half = iv_sar(k, 1);
    return fv_mul(fv_mul(y, fv_pow2(half)), fv_pow2(iv_sub(k, half)));
#endif
}

/* e^x for x in [-80, 80]. */
FV_MATH fv fv_exp_middle(fv x) {
    fv n, r = fv_exp_reduce(x, &n).h;
    return fv_mul(fv_add(fv_fmx(fv_mul(r, r), fv_exp_poly(r), r), fv_set1(1.0f)), fv_pow2(fv_to_int(n)));
}

/* e^x for x up to 89, what a softmax takes; NaN gives NaN. What gives 0 goes through as e^0: a CPU that stops for results below the normal numbers
 * would stop for every key that a mask has taken out (160 cycles for 16 of them on Sapphire Rapids, where the rest of this takes 12). */
FV_MATH fv fv_exp_below(fv x) {
    const mv zero = fv_lt(x, fv_set1(-103.972084f));
    fv n;
    fv2 r = fv_exp_reduce(fv_select(zero, fv_zero(), x), &n);
    fv p = fv_add(fv_add(fv_fmx(fv_mul(r.h, r.h), fv_exp_poly(r.h), r.l), r.h), fv_set1(1.0f));
    return fv_select(zero, fv_zero(), fv_scale(p, n));
}

FV_MATH fv fv_exp(fv x) {
    fv y = fv_exp_below(fv_min(fv_set1(89.0f), x));
    y = fv_select(fv_lt(fv_set1(88.7228394f), x), fv_set1(__builtin_inff()), y);
    return fv_select(fv_isnan(x), x, y);
}

/* e^-x within 3 ulp, for what adds something larger to it or can do with less: x = r - n ln 2. A chain as short in operations as it gets:
 * there are always other vectors to work on. With a table of 2^(j / 32), n is a multiple of 1/32, the last bits of a sum, and a square is enough
 * for what is left: |r| <= ln 2 / 64. */
#ifdef FV_LOOKUP
static const float fv_powers[32] = {
    1.0f, 1.0218972f, 1.04427373f, 1.06714046f, 1.09050775f, 1.1143868f, 1.13878858f, 1.1637249f,
    1.18920708f, 1.21524739f, 1.24185777f, 1.26905096f, 1.29683959f, 1.32523668f, 1.35425556f, 1.38390994f,
    1.41421354f, 1.44518077f, 1.47682619f, 1.50916445f, 1.54221082f, 1.5759809f, 1.61049032f, 1.64575553f,
    1.68179286f, 1.71861935f, 1.75625217f, 1.79470909f, 1.8340081f, 1.87416768f, 1.91520655f, 1.95714414f};
FY_INLINE fv fv_exp_minus(fv x) {
    const fv c = fv_within(x, 104.0f), last = fv_set1(393216.0f), t = fv_fmx(c, fv_set1(-1.44269504088896341f), last), n = fv_sub(t, last);
    const fv r = fv_fmx(n, fv_set1(1.42860682030941723e-6f), fv_fmx(n, fv_set1(0.693145751953125f), c));
    const fv power = FV_LOOKUP(fv_powers, t);
    return FV_SCALE(fv_fmx(fv_mul(power, r), fv_fmx(fv_set1(0.5f), r, fv_set1(-1.00001466f)), power), n);
}
#else
FY_INLINE fv fv_exp_minus(fv x) {
    const fv c = fv_within(x, 104.0f), n = fv_round(fv_mul(c, fv_set1(-1.44269504088896341f)));
    const fv r = fv_fmx(n, fv_set1(1.42860682030941723e-6f), fv_fmx(n, fv_set1(0.693145751953125f), c));
    fv p = fv_fmx(fv_set1(1.393364103e-03f), r, fv_set1(-8.369148491e-03f));
    p = fv_fmx(p, r, fv_set1(4.166646501e-02f));
    p = fv_fmx(p, r, fv_set1(-1.666650526e-01f));
    p = fv_fmx(p, r, fv_set1(5.000000013e-01f));
    return fv_scale(fv_fmx(fv_fmx(p, r, fv_set1(-1.000000011f)), r, fv_set1(1.0f)), n);
}
#endif

#ifdef FV_LOOKUP
/* As fv_exp_below within 2 ulp, for what is summed and divided. */
FY_INLINE fv fv_exp_score(fv x) {
    const mv zero = fv_lt(x, fv_set1(-103.972084f));
    const fv c = fv_select(zero, fv_zero(), x), last = fv_set1(393216.0f), t = fv_fmx(c, fv_set1(1.44269504088896341f), last), n = fv_sub(t, last);
    const fv r = fv_fmx(n, fv_set1(-1.42860682030941723e-6f), fv_fmx(n, fv_set1(-0.693145751953125f), c));
    const fv power = FV_LOOKUP(fv_powers, t), p = fv_fmx(fv_fmx(fv_set1(1.0f / 6), r, fv_set1(0.5f)), r, fv_set1(1.0f));
    return fv_select(zero, fv_zero(), FV_SCALE(fv_fmx(fv_mul(power, r), p, power), n));
}
#endif

/* x / d for d >= 1 or infinite, within 2 ulp. */
FY_INLINE fv fv_over(fv x, fv d) {
#ifdef FV_RECIPROCAL
    return fv_mul(x, FV_RECIPROCAL(d));
#else
    return fv_div(x, d);
#endif
}

/* e^x - 1 = u 2^n + (2^n - 1), u = r + r^2 p(r), and n. */
FV_MATH fv2 fv_exp_less_one(fv x, fv *n) {
    fv2 r = fv_exp_reduce(x, n);
    return fv_fast_sum(r.h, fv_fmx(fv_mul(r.h, r.h), fv_exp_poly(r.h), r.l));
}
/* e^-|x| = (h + l) 2^n for any x: below e^-110 what gives 0 when it is scaled. */
FV_MATH fv2 fv_exp_parts(fv x, fv *n) {
    fv2 u = fv_exp_less_one(fv_max(fv_set1(-110.0f), fv_neg(fv_abs(x))), n), s = fv_fast_sum(fv_set1(1.0f), u.h);
    return (fv2){s.h, fv_add(s.l, u.l)};
}

/* (n + nl) / (d + dl) in two parts; `about` is 1 / d to some percent. */
FV_MATH fv2 fv_quotient(fv2 n, fv2 d, fv about) {
    fv q = fv_div(n.h, d.h), rest = fv_add(fv_fmx(fv_neg(q), d.h, n.h), fv_fmx(fv_neg(q), d.l, n.l));
    return (fv2){q, fv_mul(rest, about)};
}

/* x = 2^n (1 + f), 1 + f in [sqrt(1/2), sqrt(2)). */
FV_MATH fv fv_log(fv x) {
    mv tiny = fv_lt(x, fv_set1(1.17549435e-38f));
    fv s = fv_select(tiny, fv_mul(x, fv_set1(8388608.0f)), x);
    iv bits = iv_sub(fv_bits(s), iv_set1(0x3f3504f3));
    fv n = iv_to_float(iv_sar(bits, 23));
    n = fv_sub(n, fv_select(tiny, fv_set1(23.0f), fv_zero()));
    fv f = fv_sub(iv_bits(iv_add(iv_and(bits, iv_set1(0x007fffff)), iv_set1(0x3f3504f3))), fv_set1(1.0f)), q = fv_mul(f, f);
    fv p = POLY(f, 6.971611471e-02f, -1.147973385e-01f, 1.168541992e-01f, -1.242568733e-01f, 1.424905765e-01f, -1.666780232e-01f, 2.000071575e-01f, -2.499999696e-01f,
                3.333333118e-01f);
    fv y = fv_fmx(n, fv_set1(-2.12194440e-4f), fv_mul(fv_mul(f, q), p));
    y = fv_add(fv_fmx(q, fv_set1(-0.5f), y), f);
    y = fv_fmx(n, fv_set1(0.693359375f), y);
    y = fv_select(fv_lt(fv_set1(3.4028235e38f), x), x, y);
    y = fv_select(fv_le(x, fv_zero()), fv_select(fv_lt(x, fv_zero()), fv_set1(__builtin_nanf("")), fv_set1(-__builtin_inff())), y);
    return fv_select(fv_isnan(x), x, y);
}

FY_INLINE fv fv_copysign(fv size, fv sign) {
    return iv_bits(iv_or(iv_and(fv_bits(size), iv_set1(0x7fffffff)), iv_and(fv_bits(sign), iv_set1((int)0x80000000u))));
}

/* Below 0.75 an odd polynomial; above, 1 - e^-q(x), where 1 - erf is small against 1. q = c0 + b (c1 + b p(b)), in two parts where 1 ulp is
 * asked for; what takes 1 + erf does not need that. */
FV_MATH fv fv_erf_as(fv x, const bool near) {
    fv a = fv_abs(x), t = fv_mul(a, a);
    fv small = POLY(t, -6.735570362e-04f, 5.112662986e-03f, -2.683393617e-02f, 1.128336562e-01f, -3.761261819e-01f, 1.283791655e-01f);
    small = fv_fmx(a, small, a);
    fv b = fv_min(fv_set1(4.0f), a);
    fv p = POLY(b, 7.762434160e-08f, -1.883718323e-06f, 1.849706250e-05f, -7.862244374e-05f, -1.019969586e-04f, 3.445968985e-03f, -2.406071323e-02f, 1.072477304e-01f, 6.339967171e-01f);
    fv2 c = fv_fast_sum(fv_set1(1.1292744875f), fv_mul(b, p));    /* the float nearest to c1; what it lacks comes with c.l */
    c.l = fv_add(c.l, fv_set1(-4.729422206e-08f));
    if (!near) {
        fv rough = fv_sub(fv_set1(1.0f), fv_exp_middle(fv_fmx(fv_neg(c.h), b, fv_set1(1.347133424e-04f))));
        return fv_select(fv_isnan(x), x, fv_copysign(fv_select(fv_lt(a, fv_set1(0.75f)), small, rough), x));
    }
    fv m = fv_mul(c.h, b), ml = fv_fmx(c.l, b, fv_fmx(c.h, b, fv_neg(m)));
    fv2 q = fv_fast_sum(m, fv_set1(-1.347133424e-04f));
    fv n;
    fv2 w = fv_exp_parts(q.h, &n);
    fv wh = fv_scale(w.h, n), wl = fv_scale(fv_fmx(fv_neg(w.h), fv_add(q.l, ml), w.l), n);
    fv2 y = fv_fast_sum(fv_set1(1.0f), fv_neg(wh));
    fv large = fv_add(y.h, fv_sub(y.l, wl));
    return fv_select(fv_isnan(x), x, fv_copysign(fv_select(fv_lt(a, fv_set1(0.75f)), small, large), x));
}

FY_INLINE fv fv_erf(fv x) { return fv_erf_as(x, true); }

/* x (1 + erf(x / sqrt(2))) / 2. With tables, x / 2 + |x| h, h = erf(|x| / sqrt(2)) / 2 within 3.1e-8: a polynomial of its own around each multiple of
 * 1 / 2.625, and exactly a half from 5.53 on. */
#ifdef FV_LOOKUP
static const float fv_gelu_pieces[6][16] = {
    {7.8090561e-05f, 5.30607369e-05f, -2.75268843e-06f, -4.30966657e-05f, -4.60524672e-05f, -2.43776118e-05f, -2.1760235e-06f, 8.21354647e-06f, 8.57538005e-06f, 5.28603234e-06f, 2.39509976e-06f, 8.53239774e-07f, 2.46481827e-07f, 5.87402882e-08f, 1.16734315e-08f, 0.0f},
    {1.43514663e-06f, 0.000351061534f, 0.000479348732f, 0.00035134734f, 0.000114122727f, -6.66758297e-05f, -0.000129543505f, -0.00010936525f, -6.46890392e-05f, -2.9658754e-05f, -1.09737119e-05f, -3.3452783e-06f, -8.50594914e-07f, -1.81840006e-07f, -3.28647636e-08f, 0.0f},
    {-0.00367637532f, -0.00292251201f, -0.00115360192f, 0.000585625241f, 0.00152187801f, 0.00157463584f, 0.00113937273f, 0.000641709971f, 0.000293065179f, 0.000110763118f, 3.50547927e-05f, 9.35992072e-06f, 2.11922774e-06f, 4.08355769e-07f, 6.71462219e-08f, 0.0f},
    {5.11423338e-08f, -0.0102557321f, -0.0164990882f, -0.01721826f, -0.0138146448f, -0.00898738959f, -0.00485477078f, -0.00220514439f, -0.000848623638f, -0.000278044928f, -7.78174553e-05f, -1.86477749e-05f, -3.83283939e-06f, -6.76596766e-07f, -1.02682815e-07f, 0.0f},
    {0.151978009f, 0.141340728f, 0.113691247f, 0.079096975f, 0.0475954955f, 0.0247710812f, 0.0111505736f, 0.00434132789f, 0.0014619116f, 0.000425787386f, 0.000107259964f, 2.33698386e-05f, 4.40399718e-06f, 7.17813577e-07f, 1.01192821e-07f, 0.0f},
    {1.56641252e-11f, 0.148380704f, 0.276941572f, 0.373451044f, 0.436221851f, 0.471594488f, 0.488864512f, 0.49616962f, 0.498846689f, 0.499696616f, 0.499930382f, 0.499986081f, 0.499997578f, 0.499999633f, 0.499999952f, 0.5f}};
#define FV_GELU(j) FV_LOOKUP16(fv_gelu_pieces[j], t)
FY_INLINE fv fv_gelu(fv x) {
    const fv a = fv_abs(x), c = fv_min(fv_set1(15 / 2.625f), a), step = fv_set1(2.625f), last = fv_set1(12582912.0f), t = fv_fmx(c, step, last);
    const fv u = fv_fmx(c, step, fv_sub(last, t));
    fv h = fv_fmx(FV_GELU(0), u, FV_GELU(1));
    h = fv_fmx(h, u, FV_GELU(2));
    h = fv_fmx(h, u, FV_GELU(3));
    h = fv_fmx(h, u, FV_GELU(4));
    return fv_fmx(a, fv_fmx(h, u, FV_GELU(5)), fv_mul(x, fv_set1(0.5f)));
}
#else
FY_INLINE fv fv_gelu(fv x) { return fv_mul(fv_mul(x, fv_set1(0.5f)), fv_add(fv_set1(1.0f), fv_erf_as(fv_mul(x, fv_set1(0.70710678118654752f)), false))); }
#endif

/* Below 0.4 an odd polynomial; above, (1 - w) / (1 + w), w = e^-2|x|. */
FV_MATH fv fv_tanh(fv x) {
    fv a = fv_abs(x), t = fv_mul(a, a);
    fv small = POLY(t, 2.269501684e-03f, -8.323187058e-03f, 2.176250291e-02f, -5.395846163e-02f, 1.333330015e-01f, -3.333333315e-01f);
    small = fv_fmx(fv_mul(a, t), small, a);
    fv k;
    fv2 w = fv_exp_parts(fv_add(a, a), &k);
    w = (fv2){fv_scale(w.h, k), fv_scale(w.l, k)};
    fv2 n = fv_fast_sum(fv_set1(1.0f), fv_neg(w.h)), d = fv_fast_sum(fv_set1(1.0f), w.h);
    n.l = fv_sub(n.l, w.l);
    d.l = fv_add(d.l, w.l);
    fv2 q = fv_quotient(n, d, fv_fmx(d.h, fv_set1(-0.5f), fv_set1(1.457f)));
    fv y = fv_select(fv_lt(a, fv_set1(0.4f)), small, fv_add(q.h, q.l));
    return fv_select(fv_isnan(x), x, fv_copysign(y, x));
}

/* 1 / (1 + w) or w / (1 + w), w = e^-|x|. */
FV_MATH fv fv_sigmoid(fv x) {
    fv k;
    fv2 w = fv_exp_parts(x, &k);
    w = (fv2){fv_scale(w.h, k), fv_scale(w.l, k)};
    fv2 d = fv_fast_sum(fv_set1(1.0f), w.h);
    mv minus = fv_lt(x, fv_zero());
    d.l = fv_add(d.l, w.l);
    fv2 q = fv_quotient((fv2){fv_select(minus, w.h, fv_set1(1.0f)), fv_select(minus, w.l, fv_zero())}, d, fv_fmx(d.h, fv_set1(-0.5f), fv_set1(1.457f)));
    return fv_select(fv_isnan(x), x, fv_add(q.h, q.l));
}

/* e^x - 1 for x <= 0. */
FV_MATH fv fv_expm1_below(fv x) {
    fv n;
    fv c = fv_max(fv_set1(-18.0f), x);                           /* -1 from there on */
    fv2 u = fv_exp_less_one(c, &n);
    fv p = fv_pow2(fv_to_int(n)), a = fv_sub(p, fv_set1(1.0f)), s = fv_fmx(p, u.h, a), lost = fv_fmx(p, u.h, fv_sub(a, s));
    return fv_select(fv_isnan(x), x, fv_add(s, fv_fmx(p, u.l, lost)));
}

/* ln(1 + e^x) = max(x, 0) + ln(1 + w), w = e^-|x|; with q = 2 w / (2 + w), ln(1 + w) = 2 artanh(q / 2) = q + q^3 p(q^2). */
FV_MATH fv fv_softplus(fv x) {
    fv k;
    fv2 w = fv_exp_parts(x, &k);
    w = (fv2){fv_scale(w.h, k), fv_scale(w.l, k)};
    fv2 d = fv_fast_sum(fv_set1(2.0f), w.h);
    d.l = fv_add(d.l, w.l);
    fv2 q = fv_quotient((fv2){fv_add(w.h, w.h), fv_add(w.l, w.l)}, d, fv_fmx(d.h, fv_set1(-1.0f / 6), fv_set1(0.825f)));
    fv t = fv_mul(q.h, q.h), p = POLY(t, 1.134000451e-04f, 4.239565585e-04f, 2.233777968e-03f, 1.249990823e-02f, 8.333333415e-02f);
    fv rest = fv_fmx(fv_mul(t, q.h), p, q.l);
    fv2 s = fv_two_sum(fv_max(fv_zero(), x), q.h);
    fv y = fv_add(s.h, fv_add(s.l, rest));
    return fv_select(fv_isnan(x), x, fv_select(fv_lt(fv_set1(30.0f), x), x, y));
}

/* x tanh(softplus(x)) = x (2 w + w^2) / (2 + 2 w + w^2), w = e^x; above 0 with v = e^-x: x (1 + 2 v) / (1 + 2 v + 2 v^2). Below, x w is
 * scaled last of all: it reaches down to where w alone is 0. */
FV_MATH fv fv_mish(fv x) {
    fv k;
    const fv one = fv_set1(1.0f), two = fv_set1(2.0f);
    mv minus = fv_lt(x, fv_zero());
    fv2 m = fv_exp_parts(x, &k), w = {fv_scale(m.h, k), fv_scale(m.l, k)};
    fv z = fv_mul(w.h, w.h);                                     /* w^2 = z + zl */
    fv zl = fv_add(fv_fmx(w.h, w.h, fv_neg(z)), fv_mul(fv_add(w.h, w.h), w.l));
    fv a = fv_select(minus, w.h, fv_add(w.h, w.h)), al = fv_select(minus, w.l, fv_add(w.l, w.l));
    fv b = fv_select(minus, fv_add(w.h, z), fv_add(z, z));       /* the denominator less the numerator: w + w^2 or 2 v^2 */
    fv bl = fv_select(minus, fv_add(fv_add(fv_sub(w.h, b), z), fv_add(w.l, zl)), fv_add(zl, zl));
    fv2 n = fv_two_sum(fv_select(minus, two, one), a);
    n.l = fv_add(n.l, al);
    fv2 d = fv_fast_sum(n.h, b);
    d.l = fv_add(d.l, fv_add(n.l, bl));
    fv2 q = fv_quotient(n, d, fv_div(one, d.h));
    fv c = fv_max(fv_set1(-110.0f), x), p = fv_mul(c, q.h), pl = fv_fmx(c, q.l, fv_fmx(c, q.h, fv_neg(p)));
    fv below = fv_scale(fv_fmx(p, m.h, fv_fmx(p, m.l, fv_mul(pl, m.h))), k);
    fv y = fv_select(minus, below, fv_select(fv_lt(fv_set1(30.0f), x), x, fv_add(p, pl)));
    y = fv_select(fv_lt(x, fv_set1(-3.4028235e38f)), fv_set1(__builtin_nanf("")), y);        /* -inf * 0 */
    y = fv_select(fv_le(fv_abs(x), fv_zero()), x, y);            /* -0 stays -0 */
    return fv_select(fv_isnan(x), x, y);
}

/* One step of Newton's method after the quotient. */
FV_MATH fv fv_rsqrt(fv x) {
    fv y = fv_div(fv_set1(1.0f), fv_sqrt(x)), t = fv_mul(x, y);
    fv rest = fv_sub(fv_fmx(fv_neg(t), y, fv_set1(1.0f)), fv_mul(fv_fmx(x, y, fv_neg(t)), y));
    fv z = fv_fmx(fv_mul(y, fv_set1(0.5f)), rest, y);
    return fv_select(fv_isnan(z), y, z);                         /* 0, infinity, below 0: the quotient says it */
}
