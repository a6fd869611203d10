/* SPDX-License-Identifier: Apache-2.0
 * unary.h - y = f(x) over dense runs (body, compiled once for each instruction set). p: parameters as fy_epilogue has them. */

/* One text for whole vectors and for what is left, as some functions are long. */
#define UNARY_BODY(name, ...) \
    static void name(float *y, const float *x_, int64_t n, const float *p) { \
        (void)p; \
        for (; n > 0; n -= FV_LANES, x_ += FV_LANES, y += FV_LANES) { \
            const bool whole_ = FV_LANES == 1 || n >= FV_LANES; \
            fv x = whole_ ? fv_load(x_) : fv_load_n(x_, (int)n); \
            x = __VA_ARGS__; \
            if (whole_) fv_store(y, x); \
            else fv_store_n(y, x, (int)n); \
        } \
    }

#define ONE fv_set1(1.0f)
#define HALF fv_set1(0.5f)
/* min(1, max(0, a x + b)) */
#define HARD(x, a, b) fv_min(ONE, fv_max(fv_zero(), fv_fma(x, a, b)))

UNARY_BODY(unary_none, x)
UNARY_BODY(unary_clamp, fv_min(fv_set1(p[1]), fv_max(fv_set1(p[0]), x)))
UNARY_BODY(unary_leaky, fv_select(fv_lt(x, fv_zero()), fv_mul(x, fv_set1(p[0])), x))
UNARY_BODY(unary_sigmoid, fv_sigmoid(x))
UNARY_BODY(unary_tanh, fv_tanh(x))
#define LOGISTIC(x, t) fv_over(x, fv_add(ONE, fv_exp_minus(t)))             /* x / (1 + e^-t) */
UNARY_BODY(unary_silu, LOGISTIC(x, x))
UNARY_BODY(unary_swish_by, LOGISTIC(x, fv_mul(fv_set1(p[0]), x)))
static void unary_swish(float *y, const float *x, int64_t n, const float *p) {
    if (p[0] == 1) unary_silu(y, x, n, p);
    else unary_swish_by(y, x, n, p);
}
UNARY_BODY(unary_hard_swish, fv_mul(x, HARD(x, fv_set1(1.0f / 6), HALF)))
UNARY_BODY(unary_hard_sigmoid, HARD(x, fv_set1(p[0]), fv_set1(p[1])))
UNARY_BODY(unary_gelu, fv_gelu(x))
/* x (1 + tanh(u)) / 2 = x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3) */
UNARY_BODY(unary_gelu_tanh, LOGISTIC(x, fv_mul(fv_set1(1.59576912160573071f), fv_fmx(fv_mul(fv_set1(0.044715f), x), fv_mul(x, x), x))))
UNARY_BODY(unary_elu, fv_select(fv_lt(x, fv_zero()), fv_mul(fv_set1(p[0]), fv_expm1_below(x)), x))
UNARY_BODY(unary_erf, fv_erf(x))
UNARY_BODY(unary_exp, fv_exp(x))
UNARY_BODY(unary_log, fv_log(x))
UNARY_BODY(unary_sqrt, fv_sqrt(x))
UNARY_BODY(unary_recip, fv_div(ONE, x))
UNARY_BODY(unary_abs, fv_abs(x))
UNARY_BODY(unary_neg, fv_neg(x))
UNARY_BODY(unary_square, fv_mul(x, x))
UNARY_BODY(unary_ceil, fv_ceil(x))
UNARY_BODY(unary_floor, fv_floor(x))
UNARY_BODY(unary_round, fv_round(x))
UNARY_BODY(unary_sin, fv_sin(x))
UNARY_BODY(unary_cos, fv_cos(x))
/* One loop for all three, whose kind is p. */
FY_NOINLINE UNARY_BODY(unary_arc, fv_arc(x, (int)p[0]))
#define ARC(name, kind) static void name(float *y, const float *x, int64_t n, const float *p) { (void)p; unary_arc(y, x, n, &(const float){kind}); }
ARC(unary_asin, ARC_SIN)
ARC(unary_acos, ARC_COS)
ARC(unary_atan, ARC_TAN)
UNARY_BODY(unary_rsqrt, fv_rsqrt(x))
UNARY_BODY(unary_softplus, fv_softplus(x))
UNARY_BODY(unary_mish, fv_mish(x))
