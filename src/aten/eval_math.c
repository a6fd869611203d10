/* SPDX-License-Identifier: Apache-2.0
 * eval_math.c - element by element: unary, binary, comparisons, where, clamp, masked fill, with torch's type promotion.
 * Floats are computed in double, integers in int64 and wrapped to their width. */
#include "aten/eval.h"

#include <math.h>

double fy_ev_sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }

enum { GRAIN = 1 << 13 };

/* ---- unary ------------------------------------------------------------------------------------------------------------ */

typedef struct unary { int k; double *y; const double *x; double a, b, c; int64_t n; } unary;

static double nearest_even(double x) { return nearbyint(x); }

#define EACH(expr) for (int64_t i = i0; i < i1; i++) { double x = u->x[i]; u->y[i] = (expr); } break

static void unary_run(void *arg, int64_t i0, int64_t i1) {
    const unary *u = arg;
    double       a = u->a, b = u->b, c = u->c;
    switch (u->k) {
    case EV_ABS: EACH(fabs(x));
    case EV_ACOS: EACH(acos(x));
    case EV_ACOSH: EACH(acosh(x));
    case EV_ASIN: EACH(asin(x));
    case EV_ASINH: EACH(asinh(x));
    case EV_ATAN: EACH(atan(x));
    case EV_ATANH: EACH(atanh(x));
    case EV_CEIL: EACH(ceil(x));
    case EV_COS: EACH(cos(x));
    case EV_COSH: EACH(cosh(x));
    case EV_ERF: EACH(erf(x));
    case EV_ERFC: EACH(erfc(x));
    case EV_EXP: EACH(exp(x));
    case EV_EXP2: EACH(exp2(x));
    case EV_EXPM1: EACH(expm1(x));
    case EV_FLOOR: EACH(floor(x));
    case EV_LOG: EACH(log(x));
    case EV_LOG10: EACH(log10(x));
    case EV_LOG1P: EACH(log1p(x));
    case EV_LOG2: EACH(log2(x));
    case EV_NEG: EACH(-x);
    case EV_POS: EACH(x);
    case EV_DEG2RAD: EACH(x * (3.14159265358979323846 / 180));
    case EV_RAD2DEG: EACH(x * (180 / 3.14159265358979323846));
    case EV_SINC: EACH(x == 0 ? 1 : sin(3.14159265358979323846 * x) / (3.14159265358979323846 * x));
    case EV_LOGIT: EACH(a >= 0 ? log(fmin(fmax(x, a), 1 - a) / (1 - fmin(fmax(x, a), 1 - a))) : log(x / (1 - x)));
    case EV_RECIP: EACH(1 / x);
    case EV_RELU: EACH(x > 0 || isnan(x) ? x : 0);
    case EV_RELU6: EACH(isnan(x) ? x : x < 0 ? 0 : x > 6 ? 6 : x);
    case EV_ROUND: EACH(nearest_even(x));
    case EV_ROUND_DECIMALS: EACH(a >= 0 ? nearest_even(x * b) / b : nearest_even(x / b) * b);
    case EV_RSQRT: EACH(1 / sqrt(x));
    case EV_SIGMOID: EACH(fy_ev_sigmoid(x));
    case EV_SIGN: EACH(isnan(x) ? x : (double)((x > 0) - (x < 0)));
    case EV_SILU: EACH(x * fy_ev_sigmoid(x));
    case EV_SIN: EACH(sin(x));
    case EV_SINH: EACH(sinh(x));
    case EV_SQRT: EACH(sqrt(x));
    case EV_TAN: EACH(tan(x));
    case EV_TANH: EACH(tanh(x));
    case EV_TRUNC: EACH(trunc(x));
    case EV_FRAC: EACH(x - trunc(x));
    case EV_SQUARE: EACH(x * x);
    case EV_HARDSIGMOID: EACH(isnan(x) ? x : fmin(fmax(x + 3, 0), 6) / 6);
    case EV_HARDSWISH: EACH(isnan(x) ? x : x * fmin(fmax(x + 3, 0), 6) / 6);
    case EV_MISH: EACH(x * tanh(x > 20 ? x : log1p(exp(x))));
    case EV_LOGSIGMOID: EACH(fmin(x, 0) - log1p(exp(-fabs(x))));
    case EV_SELU: EACH(1.0507009873554804934193349852946 * (x > 0 ? x : 1.6732632423543772848170429916717 * expm1(x)));
    case EV_SOFTSIGN: EACH(x / (1 + fabs(x)));
    case EV_LEAKY: EACH(x > 0 ? x : x * a);
    case EV_ELU: EACH(x > 0 ? x * b : a * b * expm1(x * c));
    case EV_CELU: EACH(x > 0 ? x : a * expm1(x / a));
    case EV_HARDTANH: EACH(isnan(x) ? x : x < a ? a : x > b ? b : x);
    case EV_SOFTPLUS: EACH(x * a > b ? x : log1p(exp(x * a)) / a);
    case EV_GELU:
        if (a != 0) {
            EACH(0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))));
        }
        EACH(0.5 * x * (1 + erf(x * 0.70710678118654752440)));
    case EV_THRESHOLD: EACH(x <= a ? b : x);
    case EV_NANTONUM: EACH(isnan(x) ? a : isinf(x) ? (x > 0 ? b : c) : x);
    case EV_HARDSHRINK: EACH(x >= -a && x <= a ? 0 : x);
    case EV_SOFTSHRINK: EACH(x > a ? x - a : x < -a ? x + a : x * 0);
    default: break;
    }
}

#undef EACH

static bool keeps_int(int k) {
    return k == EV_ABS || k == EV_NEG || k == EV_RELU || k == EV_RELU6 || k == EV_SIGN || k == EV_SQUARE || k == EV_CEIL || k == EV_FLOOR || k == EV_ROUND || k == EV_TRUNC ||
           k == EV_HARDTANH || k == EV_POS || k == EV_THRESHOLD || k == EV_NANTONUM;
}

static fy_status unary_int(fy_eval *v, const fy_et *a, double p, double q) {
    fy_et o;
    FY_TRY(fy_ev_new(v, &o, a->dtype, a->t.rank, a->t.dim));
    const int64_t *x = fy_ev_dense_i(v, a);
    if (!x) { fy_tensor_free(&o.t); return FY_E_NOMEM; }
    int64_t n = fy_count(&o.t), *y = o.t.dtype == FERRY_INT64 ? fy_ev_at_i(&o) : NULL;
    for (int64_t i = 0; i < n; i++) {
        int64_t r = x[i];
        switch (v->k) {
        case EV_ABS: r = r < 0 ? (int64_t)(0 - (uint64_t)r) : r; break;
        case EV_NEG: r = (int64_t)(0 - (uint64_t)r); break;
        case EV_RELU: r = r < 0 ? 0 : r; break;
        case EV_RELU6: r = r < 0 ? 0 : r > 6 ? 6 : r; break;
        case EV_SIGN: r = (r > 0) - (r < 0); break;
        case EV_SQUARE: r = (int64_t)((uint64_t)r * (uint64_t)r); break;
        case EV_HARDTANH: r = (double)r < p ? (int64_t)p : (double)r > q ? (int64_t)q : r; break;
        case EV_THRESHOLD: r = (double)r <= p ? (int64_t)q : r; break;
        default: break;
        }
        if (y) y[i] = r;
        else fy_ev_at_b(&o)[i] = r != 0;
    }
    return fy_ev_out(v, 0, &o);
}

static fy_status unary_params(fy_eval *v, const fy_et *x, double *a, double *b, double *c) {
    int64_t n = 0;
    switch (v->k) {
    case EV_LEAKY: *a = 0.01; FY_TRY(fy_ev_f64(v, "negative_slope", a)); break;
    case EV_ELU:
        *a = *b = *c = 1;
        FY_TRY(fy_ev_f64(v, "alpha", a));
        FY_TRY(fy_ev_f64(v, "scale", b));
        FY_TRY(fy_ev_f64(v, "input_scale", c));
        break;
    case EV_CELU: *a = 1; FY_TRY(fy_ev_f64(v, "alpha", a)); break;
    case EV_HARDTANH:
        *a = -1, *b = 1;
        FY_TRY(fy_ev_f64(v, "min_val", a));
        FY_TRY(fy_ev_f64(v, "max_val", b));
        break;
    case EV_SOFTPLUS:
        *a = 1, *b = 20;
        FY_TRY(fy_ev_f64(v, "beta", a));
        FY_TRY(fy_ev_f64(v, "threshold", b));
        break;
    case EV_GELU: *a = !strcmp(fy_ev_str(v, "approximate", "none"), "tanh"); break;
    case EV_THRESHOLD:
        FY_TRY(fy_ev_f64(v, "threshold", a));
        FY_TRY(fy_ev_f64(v, "value", b));
        break;
    case EV_NANTONUM:
        *a = 0;
        *b = x->dtype == FERRY_DOUBLE ? 1.7976931348623157e308 : x->dtype == FERRY_FLOAT16 ? 65504 : x->dtype == FERRY_BFLOAT16 ? 3.3895313892515355e38 : 3.4028234663852886e38;
        *c = -*b;
        FY_TRY(fy_ev_f64(v, "nan", a));
        FY_TRY(fy_ev_f64(v, "posinf", b));
        FY_TRY(fy_ev_f64(v, "neginf", c));
        break;
    case EV_LOGIT: *a = -1; FY_TRY(fy_ev_f64(v, "eps", a)); break;
    case EV_HARDSHRINK: case EV_SOFTSHRINK: *a = 0.5; FY_TRY(fy_ev_f64(v, "lambd", a)); break;
    case EV_ROUND_DECIMALS:
        FY_TRY(fy_ev_int(v, "decimals", &n));
        *a = (double)n;
        *b = pow(10, fabs(*a));
        break;
    default: break;
    }
    return FY_OK;
}

fy_status fy_at_unary(fy_eval *v) {
    fy_et  x, o;
    double a = 0, b = 0, c = 0;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(unary_params(v, &x, &a, &b, &c));
    bool is_float = fy_dtype_class(x.dtype) == FY_CLASS_F;
    FY_NEED(v->e, fy_dtype_class(x.dtype) != FY_CLASS_C, UNSUPPORTED, "%s of complex numbers", v->node->op);
    if (!is_float && keeps_int(v->k)) return unary_int(v, &x, a, b);
    FY_TRY(fy_ev_new(v, &o, is_float ? x.dtype : FERRY_FLOAT, x.t.rank, x.t.dim));
    unary u = {.k = v->k, .y = fy_ev_at(&o), .x = fy_ev_dense(v, &x), .a = a, .b = b, .c = c};
    if (!u.x) { fy_tensor_free(&o.t); return FY_E_NOMEM; }
    fy_for(v->pool, fy_count(&o.t), GRAIN, unary_run, &u);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_test(fy_eval *v) {                           /* isnan, isinf, isfinite, logical_not, bitwise_not */
    fy_et x, o;
    FY_TRY(fy_ev_in(v, "self", &x));
    bool is_float = fy_dtype_class(x.dtype) == FY_CLASS_F;
    if (v->k == EV_BITNOT && x.dtype != FERRY_BOOL) {
        FY_NEED(v->e, !is_float, TYPE, "bitwise_not of floats");
        FY_TRY(fy_ev_copy(v, &o, &x));
        int64_t *y = fy_ev_at_i(&o);
        for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) y[i] = ~y[i];
        return fy_ev_out(v, 0, &o);
    }
    FY_TRY(fy_ev_new(v, &o, FERRY_BOOL, x.t.rank, x.t.dim));
    int64_t  n = fy_count(&o.t);
    uint8_t *y = fy_ev_at_b(&o);
    if (is_float) {
        const double *p = fy_ev_dense(v, &x);
        if (!p) { fy_tensor_free(&o.t); return FY_E_NOMEM; }
        for (int64_t i = 0; i < n; i++)
            y[i] = (uint8_t)(v->k == EV_ISNAN ? isnan(p[i]) != 0 : v->k == EV_ISINF ? isinf(p[i]) != 0 : v->k == EV_ISPOSINF ? p[i] == (double)INFINITY : v->k == EV_ISNEGINF ? p[i] == -(double)INFINITY : v->k == EV_ISFINITE ? isfinite(p[i]) != 0 : p[i] == 0);
    } else {
        const int64_t *p = fy_ev_dense_i(v, &x);
        if (!p) { fy_tensor_free(&o.t); return FY_E_NOMEM; }
        for (int64_t i = 0; i < n; i++) y[i] = (uint8_t)(v->k == EV_ISFINITE ? 1 : v->k == EV_ISNAN || v->k == EV_ISINF || v->k == EV_ISPOSINF || v->k == EV_ISNEGINF ? 0 : p[i] == 0);
    }
    return fy_ev_out(v, 0, &o);
}

/* ---- binary ------------------------------------------------------------------------------------------------------------- */

/* Two operands broadcast to one shape, axes merged where strides allow; rows of the last axis are the unit of work. */
typedef struct pair {
    int         k, rank;
    int64_t     dim[FY_MAX_RANK], sa[FY_MAX_RANK], sb[FY_MAX_RANK];
    int64_t     rows, inner;
    const void *a, *b;
    void       *y;
    double      alpha;
    int64_t     alpha_i;
    bool        fail;
} pair;

static double floor_mod(double a, double b) {
    double r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static double floor_div(double a, double b) {
    if (b == 0) return a / b;
    double m = fmod(a, b), d = (a - m) / b;
    if (m != 0 && (b < 0) != (m < 0)) d -= 1;
    if (d == 0) return copysign(0, a / b);
    double f = floor(d);
    return d - f > 0.5 ? f + 1 : f;
}

static double log_add_exp(double a, double b) {
    double m = fmax(a, b);
    return isinf(m) ? m : m + log(exp(a - m) + exp(b - m));
}

#define LOOP(T, expr) for (int64_t i = 0; i < n; i++) { T x = a[i * sa], z = b[i * sb]; y[i] = (expr); } break
#define LOOPS(T, expr) \
    if (sa == 1 && sb == 1) { for (int64_t i = 0; i < n; i++) { T x = a[i], z = b[i]; y[i] = (expr); } } \
    else if (sa == 1 && sb == 0) { T z = b[0]; for (int64_t i = 0; i < n; i++) { T x = a[i]; y[i] = (expr); } } \
    else for (int64_t i = 0; i < n; i++) { T x = a[i * sa], z = b[i * sb]; y[i] = (expr); } \
    break

static void row_f64(int k, int64_t n, double *restrict y, const double *a, int64_t sa, const double *b, int64_t sb, double alpha) {
    switch (k) {
    case EV_ADD: LOOPS(double, x + alpha * z);
    case EV_SUB: LOOPS(double, x - alpha * z);
    case EV_RSUB: LOOPS(double, z - alpha * x);
    case EV_MUL: LOOPS(double, x * z);
    case EV_DIV: LOOPS(double, x / z);
    case EV_DIVMODE: LOOP(double, trunc(x / z));
    case EV_FLOORDIV: LOOP(double, floor_div(x, z));
    case EV_FMOD: LOOP(double, fmod(x, z));
    case EV_REM: LOOP(double, floor_mod(x, z));
    case EV_POW: LOOP(double, z == 2 ? x * x : z == 0.5 ? sqrt(x) : z == 3 ? x * x * x : pow(x, z));
    case EV_ATAN2: LOOP(double, atan2(x, z));
    case EV_MAX: LOOP(double, isnan(x) || isnan(z) ? (double)NAN : x > z ? x : z);
    case EV_MIN: LOOP(double, isnan(x) || isnan(z) ? (double)NAN : x < z ? x : z);
    case EV_FMAX: LOOP(double, fmax(x, z));
    case EV_FMIN: LOOP(double, fmin(x, z));
    case EV_HYPOT: LOOP(double, hypot(x, z));
    case EV_COPYSIGN: LOOP(double, copysign(x, z));
    case EV_XLOGY: LOOP(double, isnan(z) ? (double)NAN : x == 0 ? 0 : x * log(z));
    case EV_LOGADDEXP: LOOP(double, log_add_exp(x, z));
    default: break;
    }
}

static void row_cmp_f64(int k, int64_t n, uint8_t *restrict y, const double *a, int64_t sa, const double *b, int64_t sb) {
    switch (k) {
    case EV_EQ: LOOP(double, x == z);
    case EV_NE: LOOP(double, x != z);
    case EV_LT: LOOP(double, x < z);
    case EV_LE: LOOP(double, x <= z);
    case EV_GT: LOOP(double, x > z);
    case EV_GE: LOOP(double, x >= z);
    case EV_AND: LOOP(double, x != 0 && z != 0);
    case EV_OR: LOOP(double, x != 0 || z != 0);
    case EV_XOR: LOOP(double, (x != 0) != (z != 0));
    default: break;
    }
}

static void row_cmp_i64(int k, int64_t n, uint8_t *restrict y, const int64_t *a, int64_t sa, const int64_t *b, int64_t sb) {
    switch (k) {
    case EV_EQ: LOOP(int64_t, x == z);
    case EV_NE: LOOP(int64_t, x != z);
    case EV_LT: LOOP(int64_t, x < z);
    case EV_LE: LOOP(int64_t, x <= z);
    case EV_GT: LOOP(int64_t, x > z);
    case EV_GE: LOOP(int64_t, x >= z);
    case EV_AND: LOOP(int64_t, x != 0 && z != 0);
    case EV_OR: LOOP(int64_t, x != 0 || z != 0);
    case EV_XOR: LOOP(int64_t, (x != 0) != (z != 0));
    default: break;
    }
}

static int64_t ipow(int64_t base, int64_t n) {
    if (n < 0) return base == 1 ? 1 : base == -1 ? (n & 1 ? -1 : 1) : 0;
    uint64_t r = 1, b = (uint64_t)base;
    for (; n; n >>= 1, b *= b)
        if (n & 1) r *= b;
    return (int64_t)r;
}

static int64_t idiv(int64_t x, int64_t z, bool floored) {
    if (z == -1) return (int64_t)(0 - (uint64_t)x);
    int64_t q = x / z;
    return floored && x % z != 0 && (x < 0) != (z < 0) ? q - 1 : q;
}

static int64_t imod(int64_t x, int64_t z, bool floored) {
    if (z == -1) return 0;
    int64_t r = x % z;
    return floored && r != 0 && (r < 0) != (z < 0) ? r + z : r;
}

static bool row_i64(int k, int64_t n, int64_t *restrict y, const int64_t *a, int64_t sa, const int64_t *b, int64_t sb, int64_t alpha) {
    if (k == EV_DIVMODE || k == EV_FLOORDIV || k == EV_FMOD || k == EV_REM)
        for (int64_t i = 0; i < n; i++)
            if (b[i * sb] == 0) return false;
    switch (k) {
    case EV_ADD: LOOPS(int64_t, (int64_t)((uint64_t)x + (uint64_t)alpha * (uint64_t)z));
    case EV_SUB: LOOPS(int64_t, (int64_t)((uint64_t)x - (uint64_t)alpha * (uint64_t)z));
    case EV_RSUB: LOOP(int64_t, (int64_t)((uint64_t)z - (uint64_t)alpha * (uint64_t)x));
    case EV_MUL: LOOPS(int64_t, (int64_t)((uint64_t)x * (uint64_t)z));
    case EV_DIVMODE: LOOP(int64_t, idiv(x, z, false));
    case EV_FLOORDIV: LOOP(int64_t, idiv(x, z, true));
    case EV_FMOD: LOOP(int64_t, imod(x, z, false));
    case EV_REM: LOOP(int64_t, imod(x, z, true));
    case EV_POW: LOOP(int64_t, ipow(x, z));
    case EV_MAX: case EV_FMAX: LOOP(int64_t, x > z ? x : z);
    case EV_MIN: case EV_FMIN: LOOP(int64_t, x < z ? x : z);
    case EV_BITAND: LOOP(int64_t, x & z);
    case EV_BITOR: LOOP(int64_t, x | z);
    case EV_BITXOR: LOOP(int64_t, x ^ z);
    case EV_SHL: LOOP(int64_t, z < 0 || z > 63 ? 0 : (int64_t)((uint64_t)x << z));
    case EV_SHR: LOOP(int64_t, z < 0 || z > 63 ? (x < 0 ? -1 : 0) : x >> z);
    default: break;
    }
    return true;
}

#undef LOOP
#undef LOOPS

enum { F64 = 0, I64 = 1000, CMP_F64 = 2000, CMP_I64 = 3000 };

static void pair_rows(void *arg, int64_t r0, int64_t r1) {
    pair   *p = arg;
    int     last = p->rank - 1;
    int64_t oa, ob, i0 = 0, n = p->inner, sa = p->sa[last], sb = p->sb[last];
    if (p->rows == 1) { i0 = r0; n = r1 - r0; r0 = 0; r1 = 1; }          /* one row: split within it */
    for (int64_t r = r0; r < r1; r++) {
        oa = i0 * sa;
        ob = i0 * sb;
        for (int64_t q = r, d = last - 1; d >= 0; d--) {
            oa += q % p->dim[d] * p->sa[d];
            ob += q % p->dim[d] * p->sb[d];
            q /= p->dim[d];
        }
        int64_t at = r * p->inner + i0;
        if (p->k >= CMP_I64) row_cmp_i64(p->k - CMP_I64, n, (uint8_t *)p->y + at, (const int64_t *)p->a + oa, sa, (const int64_t *)p->b + ob, sb);
        else if (p->k >= CMP_F64) row_cmp_f64(p->k - CMP_F64, n, (uint8_t *)p->y + at, (const double *)p->a + oa, sa, (const double *)p->b + ob, sb);
        else if (p->k >= I64) {
            if (!row_i64(p->k - I64, n, (int64_t *)p->y + at, (const int64_t *)p->a + oa, sa, (const int64_t *)p->b + ob, sb, p->alpha_i)) p->fail = true;
        } else row_f64(p->k, n, (double *)p->y + at, (const double *)p->a + oa, sa, (const double *)p->b + ob, sb, p->alpha);
    }
}

/* The tensor as elements of `want`, strides kept where it is that already. */
static fy_status held_as(fy_eval *v, fy_et *a, fy_dtype want) {
    if (a->t.dtype == want) return FY_OK;
    const void *at = want == FERRY_DOUBLE ? (const void *)fy_ev_dense(v, a) : (const void *)fy_ev_dense_i(v, a);
    if (!at) return FY_E_NOMEM;
    a->t = fy_tensor_view(want, a->t.rank, a->t.dim, at);
    return FY_OK;
}

/* o = a op b, o allocated with the broadcast shape. */
static fy_status run_pair(fy_eval *v, int k, fy_et *o, fy_et a, fy_et b, double alpha, int64_t alpha_i) {
    bool     cmp = o->dtype == FERRY_BOOL && k >= EV_EQ, ints = fy_dtype_class(a.dtype) != FY_CLASS_F;
    fy_dtype want = ints ? FERRY_INT64 : FERRY_DOUBLE;
    FY_TRY(held_as(v, &a, want));
    FY_TRY(held_as(v, &b, want));
    FY_TRY(fy_ev_expand(v, &a, o->t.rank, o->t.dim));
    FY_TRY(fy_ev_expand(v, &b, o->t.rank, o->t.dim));
    pair p = {.a = a.t.data, .b = b.t.data, .alpha = alpha, .alpha_i = alpha_i, .k = k + (cmp ? (ints ? CMP_I64 : CMP_F64) : ints ? I64 : F64), .y = o->t.data};
    if (fy_count(&o->t) == 0) return FY_OK;
    for (int i = 0; i < o->t.rank; i++) {
        if (o->t.dim[i] == 1) continue;
        int l = p.rank - 1;
        if (l >= 0 && p.sa[l] == a.t.stride[i] * a.t.dim[i] && p.sb[l] == b.t.stride[i] * b.t.dim[i]) {
            p.dim[l] *= o->t.dim[i];
            p.sa[l] = a.t.stride[i];
            p.sb[l] = b.t.stride[i];
        } else {
            p.dim[p.rank] = o->t.dim[i];
            p.sa[p.rank] = a.t.stride[i];
            p.sb[p.rank++] = b.t.stride[i];
        }
    }
    if (!p.rank) p.dim[p.rank++] = 1;
    p.inner = p.dim[p.rank - 1];
    p.rows = fy_count(&o->t) / p.inner;
    if (p.rows == 1) fy_for(v->pool, p.inner, GRAIN, pair_rows, &p);
    else fy_for(v->pool, p.rows, p.inner >= GRAIN ? 1 : GRAIN / p.inner, pair_rows, &p);
    FY_NEED(v->e, !p.fail, VALUE, "integer division by zero");
    return FY_OK;
}

/* A Python float beside fp32 or narrower tensors acts as that type's value. */
static fy_status to_common(fy_eval *v, fy_et *a, fy_dtype common) {
    bool number = a->number;
    if (a->dtype == common && number && fy_dtype_class(common) == FY_CLASS_F) {
        double x = fy_round_to(common, fy_get_f64(&a->t, 0));
        FY_TRY(fy_ev_temp(v, a, common, 0, NULL));
        *fy_ev_at(a) = x;
        return FY_OK;
    }
    if (a->dtype != common) FY_TRY(fy_ev_cast(v, a, common));
    return FY_OK;
}

static fy_status binary(fy_eval *v, int k, fy_et a, fy_et b, double alpha, int64_t alpha_i) {
    const fy_et *both[] = {&a, &b};
    fy_et        o;
    int          rank;
    int64_t      dim[FY_MAX_RANK];
    fy_dtype     common = fy_ev_promote(2, both), result;
    if ((k == EV_DIV || k == EV_ATAN2 || k == EV_XLOGY || k == EV_LOGADDEXP || k == EV_HYPOT || k == EV_COPYSIGN) && fy_dtype_class(common) != FY_CLASS_F) common = FERRY_FLOAT;
    FY_NEED(v->e, fy_dtype_class(common) != FY_CLASS_C, UNSUPPORTED, "%s of complex numbers", v->node->op);
    bool bits = k >= EV_BITAND && k <= EV_SHR;
    FY_NEED(v->e, !bits || fy_dtype_class(common) != FY_CLASS_F, TYPE, "%s of floats", v->node->op);
    FY_TRY(fy_ev_broadcast(v, 2, both, &rank, dim));
    if (k >= EV_AND && k <= EV_XOR && fy_dtype_class(a.dtype) != fy_dtype_class(b.dtype)) common = FERRY_DOUBLE;
    FY_TRY(to_common(v, &a, common));
    FY_TRY(to_common(v, &b, common));
    result = k >= EV_EQ && k <= EV_XOR ? FERRY_BOOL : common;
    if (result == FERRY_BOOL && k < EV_EQ) {                             /* arithmetic on bools: as or, and, ... */
        fy_et i;
        FY_TRY(fy_ev_temp(v, &i, FERRY_INT64, rank, dim));
        FY_TRY(fy_ev_cast(v, &a, FERRY_INT64));
        FY_TRY(fy_ev_cast(v, &b, FERRY_INT64));
        FY_TRY(run_pair(v, k, &i, a, b, alpha, alpha_i));
        FY_TRY(fy_ev_new(v, &o, FERRY_BOOL, rank, dim));
        for (int64_t j = 0, n = fy_count(&o.t); j < n; j++) fy_ev_at_b(&o)[j] = fy_ev_at_i(&i)[j] != 0;
        return fy_ev_out(v, 0, &o);
    }
    FY_TRY(fy_ev_new(v, &o, result, rank, dim));
    fy_status s = run_pair(v, k, &o, a, b, alpha, alpha_i);
    if (s != FY_OK) { fy_tensor_free(&o.t); return s; }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_binary(fy_eval *v) {
    fy_et a, b, alpha;
    bool  has = false, other = fy_pnode_arg(v->node, "other") != NULL;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_in(v, other ? "other" : "exponent", &b));
    int k = v->k;
    if (k == EV_DIVMODE) {
        const char *mode = fy_ev_str(v, "rounding_mode", NULL);
        k = !mode ? EV_DIV : !strcmp(mode, "floor") ? EV_FLOORDIV : EV_DIVMODE;
    }
    if (k == EV_ADD || k == EV_SUB || k == EV_RSUB) FY_TRY(fy_ev_number(v, "alpha", &alpha, &has));
    return binary(v, k, a, b, has ? fy_get_f64(&alpha.t, 0) : 1, has ? fy_get_i64(&alpha.t, 0) : 1);
}

/* self + value * t1 op t2 */
fy_status fy_at_addc(fy_eval *v) {                           /* addcmul, addcdiv */
    fy_et        a, b, c, o;
    double       value = 1;
    int          rank;
    int64_t      dim[FY_MAX_RANK];
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_in(v, "tensor1", &b));
    FY_TRY(fy_ev_in(v, "tensor2", &c));
    FY_TRY(fy_ev_f64(v, "value", &value));
    const fy_et *all[] = {&a, &b, &c};
    fy_dtype     common = fy_ev_promote(3, all);
    FY_TRY(fy_ev_broadcast(v, 3, all, &rank, dim));
    FY_TRY(fy_ev_expand(v, &a, rank, dim));
    FY_TRY(fy_ev_expand(v, &b, rank, dim));
    FY_TRY(fy_ev_expand(v, &c, rank, dim));
    const double *x = fy_ev_dense(v, &a), *y = fy_ev_dense(v, &b), *z = fy_ev_dense(v, &c);
    if (!x || !y || !z) return FY_E_NOMEM;
    FY_NEED(v->e, fy_dtype_class(common) == FY_CLASS_F, UNSUPPORTED, "%s of integers", v->node->op);
    FY_TRY(fy_ev_new(v, &o, common, rank, dim));
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) fy_ev_at(&o)[i] = x[i] + (v->k ? value * y[i] / z[i] : value * y[i] * z[i]);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_lerp(fy_eval *v) {
    fy_et        a, b, w, o;
    int          rank;
    int64_t      dim[FY_MAX_RANK];
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_in(v, "end", &b));
    FY_TRY(fy_ev_in(v, "weight", &w));
    const fy_et *all[] = {&a, &b, &w};
    FY_TRY(fy_ev_broadcast(v, 3, all, &rank, dim));
    FY_TRY(fy_ev_expand(v, &a, rank, dim));
    FY_TRY(fy_ev_expand(v, &b, rank, dim));
    FY_TRY(fy_ev_expand(v, &w, rank, dim));
    const double *x = fy_ev_dense(v, &a), *y = fy_ev_dense(v, &b), *z = fy_ev_dense(v, &w);
    if (!x || !y || !z) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, a.dtype, rank, dim));
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) fy_ev_at(&o)[i] = x[i] + z[i] * (y[i] - x[i]);
    return fy_ev_out(v, 0, &o);
}

/* ---- choosing ------------------------------------------------------------------------------------------------------------ */

/* y = mask ? a : b, all of y's dtype already. */
static fy_status choose(fy_eval *v, const fy_et *mask, fy_et a, fy_et b, fy_dtype dtype) {
    const fy_et *all[] = {mask, &a, &b};
    fy_et        m = *mask, o;
    int          rank;
    int64_t      dim[FY_MAX_RANK];
    FY_TRY(fy_ev_broadcast(v, 3, all, &rank, dim));
    FY_TRY(to_common(v, &a, dtype));
    FY_TRY(to_common(v, &b, dtype));
    FY_TRY(fy_ev_expand(v, &m, rank, dim));
    FY_TRY(fy_ev_expand(v, &a, rank, dim));
    FY_TRY(fy_ev_expand(v, &b, rank, dim));
    const int64_t *c = fy_ev_dense_i(v, &m);
    bool           is_float = fy_dtype_class(dtype) == FY_CLASS_F;
    const double  *x = is_float ? fy_ev_dense(v, &a) : NULL, *y = is_float ? fy_ev_dense(v, &b) : NULL;
    const int64_t *xi = is_float ? NULL : fy_ev_dense_i(v, &a), *yi = is_float ? NULL : fy_ev_dense_i(v, &b);
    if (!c || (is_float ? !x || !y : !xi || !yi)) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, dtype, rank, dim));
    int64_t n = fy_count(&o.t);
    for (int64_t i = 0; i < n; i++) {
        if (is_float) fy_ev_at(&o)[i] = c[i] ? x[i] : y[i];
        else if (dtype == FERRY_BOOL) fy_ev_at_b(&o)[i] = (c[i] ? xi[i] : yi[i]) != 0;
        else fy_ev_at_i(&o)[i] = c[i] ? xi[i] : yi[i];
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_where(fy_eval *v) {
    fy_et m, a, b;
    FY_TRY(fy_ev_in(v, "condition", &m));
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_in(v, "other", &b));
    const fy_et *both[] = {&a, &b};
    return choose(v, &m, a, b, fy_ev_promote(2, both));
}

fy_status fy_at_masked_fill(fy_eval *v) {
    fy_et a, m, x;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_in(v, "mask", &m));
    FY_TRY(fy_ev_in(v, "value", &x));
    return choose(v, &m, x, a, a.dtype);
}

fy_status fy_at_clamp(fy_eval *v) {                          /* clamp, clamp.Tensor; 1: clamp_min, 2: clamp_max */
    fy_et a, lo, hi, o;
    bool  has_lo = false, has_hi = false;
    int   rank;
    int64_t dim[FY_MAX_RANK];
    FY_TRY(fy_ev_in(v, "self", &a));
    if (v->k != 2) FY_TRY(fy_ev_opt(v, "min", &lo, &has_lo));
    if (v->k != 1) FY_TRY(fy_ev_opt(v, "max", &hi, &has_hi));
    const fy_et *all[3] = {&a};
    int          n = 1;
    if (has_lo) all[n++] = &lo;
    if (has_hi) all[n++] = &hi;
    fy_dtype dtype = fy_ev_promote(n, all);
    FY_TRY(fy_ev_broadcast(v, n, all, &rank, dim));
    FY_TRY(to_common(v, &a, dtype));
    FY_TRY(fy_ev_expand(v, &a, rank, dim));
    FY_TRY(fy_ev_temp(v, &o, dtype, rank, dim));
    fy_tensor_copy(&o.t, &a.t);
    for (int i = 0; i < 2; i++) {
        fy_et *l = i ? &hi : &lo;
        if (!(i ? has_hi : has_lo)) continue;
        fy_et r;
        FY_TRY(to_common(v, l, dtype));
        FY_TRY(fy_ev_temp(v, &r, dtype, rank, dim));
        FY_TRY(run_pair(v, i ? EV_MIN : EV_MAX, &r, o, *l, 1, 1));
        o = r;
    }
    fy_et keep;
    FY_TRY(fy_ev_copy(v, &keep, &o));
    return fy_ev_out(v, 0, &keep);
}

fy_status fy_at_prelu(fy_eval *v) {
    fy_et a, w, o;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_in(v, "weight", &w));
    int64_t nw = fy_count(&w.t), c = a.t.rank >= 2 ? a.t.dim[1] : 1, per = 1;
    FY_NEED(v->e, nw == 1 || (nw == c && nw), SHAPE, "prelu with %lld weights for %lld channels", (long long)nw, (long long)c);
    for (int i = 2; i < a.t.rank; i++) per *= a.t.dim[i];
    const double *x = fy_ev_dense(v, &a), *p = fy_ev_dense(v, &w);
    if (!x || !p) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, a.dtype, a.t.rank, a.t.dim));
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) fy_ev_at(&o)[i] = x[i] > 0 ? x[i] : x[i] * p[nw == 1 ? 0 : i / per % c];
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_glu(fy_eval *v) {
    fy_et a, o;
    int   axis;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_axis(v, "dim", a.t.rank, -1, &axis));
    FY_NEED(v->e, a.t.rank && a.t.dim[axis] % 2 == 0, SHAPE, "glu needs an even size");
    int64_t dim[FY_MAX_RANK], inner = 1, half = a.t.dim[axis] / 2;
    memcpy(dim, a.t.dim, sizeof dim);
    dim[axis] = half;
    for (int i = axis + 1; i < a.t.rank; i++) inner *= dim[i];
    const double *x = fy_ev_dense(v, &a);
    if (!x) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, a.dtype, a.t.rank, dim));
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) {
        int64_t block = i / (half * inner), at = block * 2 * half * inner + i % (half * inner);
        fy_ev_at(&o)[i] = x[at] * fy_ev_sigmoid(x[at + half * inner]);
    }
    return fy_ev_out(v, 0, &o);
}

/* |a - b| <= atol + rtol |b|; equal infinities are close. */
fy_status fy_at_isclose(fy_eval *v) {
    fy_et   a, b, o;
    double  rtol = 1e-5, atol = 1e-8;
    bool    nan = false;
    int     rank;
    int64_t dim[FY_MAX_RANK];
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_in(v, "other", &b));
    FY_TRY(fy_ev_f64(v, "rtol", &rtol));
    FY_TRY(fy_ev_f64(v, "atol", &atol));
    FY_TRY(fy_ev_bool(v, "equal_nan", &nan));
    FY_TRY(fy_ev_broadcast(v, 2, (const fy_et *[]){&a, &b}, &rank, dim));
    FY_TRY(fy_ev_expand(v, &a, rank, dim));
    FY_TRY(fy_ev_expand(v, &b, rank, dim));
    const double *x = fy_ev_dense(v, &a), *y = fy_ev_dense(v, &b);
    if (!x || !y) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, FERRY_BOOL, rank, dim));
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++)
        fy_ev_at_b(&o)[i] = x[i] == y[i] || (nan && isnan(x[i]) && isnan(y[i])) || (isfinite(x[i]) && isfinite(y[i]) && fabs(x[i] - y[i]) <= atol + rtol * fabs(y[i]));
    return fy_ev_out(v, 0, &o);
}
