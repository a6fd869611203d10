/* SPDX-License-Identifier: Apache-2.0
 * elementwise.c - one result for each element: arithmetic, functions of one variable, activations, logic, bits.
 *
 * Kernels are loops over dense blocks in double, int64 or uint64 (common.h); integer results wrap to their dtype. Add, Sub,
 * Mul, Div, Mod, Min, Max, Neg, Abs carry the contents of shape arithmetic as dims. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

#define EW (FY_PURE | FY_INPLACE | FY_ELEMENTWISE)
#define T_FLOAT "T=" FY_T_FLOAT
#define T_NUM   "T=" FY_T_NUM
#define T_INT   "T=" FY_T_INT

/* A block kernel: `x`, `z` are the operands, the expression gives the result. */
#define MAP(name, T, expr)                                                                                             \
    static void name(T *y, const T *a, const T *b, int64_t n, const double *p) {                                       \
        (void)p;                                                                                                       \
        (void)b;                                                                                                       \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            T x = a[i];                                                                                                \
            y[i] = (expr);                                                                                             \
        }                                                                                                              \
    }
#define MAP2(name, T, expr)                                                                                            \
    static void name(T *y, const T *a, const T *b, int64_t n, const double *p) {                                       \
        (void)p;                                                                                                       \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            T x = a[i], z = b[i];                                                                                      \
            y[i] = (expr);                                                                                             \
        }                                                                                                              \
    }

/* ---- two operands -------------------------------------------------------------------------------------------------- */

static fy_status infer_binary(fy_infer *f) { return fy_k_broadcast(f, 0); }

/* Contents as dims are kept for the two widths that shape arithmetic uses; narrower ones could wrap. */
static bool carries(const fy_infer *f) { return f->out[0].type.dtype == FERRY_INT64 || f->out[0].type.dtype == FERRY_INT32; }
#define INFER_CARRY(name, broadcast, g)                                                                                \
    static fy_status name(fy_infer *f) {                                                                               \
        FY_TRY(broadcast);                                                                                             \
        return carries(f) ? fy_k_elems(f, g) : FY_OK;                                                                  \
    }

static const fy_dim *elem_add(fy_infer *f, const fy_dim *a, const fy_dim *b) { return fy_dim_add(f->dims, a, b); }
static const fy_dim *elem_sub(fy_infer *f, const fy_dim *a, const fy_dim *b) { return fy_dim_sub(f->dims, a, b); }
static const fy_dim *elem_mul(fy_infer *f, const fy_dim *a, const fy_dim *b) { return fy_dim_mul(f->dims, a, b); }
/* The operator truncates and the dim floors: the same where neither is negative. */
static const fy_dim *elem_div(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    int64_t x, y;
    if (fy_dim_known(a, &x) && fy_dim_known(b, &y)) return y == 0 || y == -1 ? NULL : fy_dim_const(f->dims, x / y);
    return fy_dim_ge(a, 0) && fy_dim_ge(b, 1) ? fy_dim_floordiv(f->dims, a, b) : NULL;
}
static const fy_dim *elem_mod(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    if (!fy_dim_ge(b, 1) || (fy_attr_i(f->node, "fmod") && !fy_dim_ge(a, 0))) return NULL;
    return fy_dim_mod(f->dims, a, b);
}
static const fy_dim *elem_min(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    bool ge, le;
    fy_k_order(f, a, b, &ge, &le);
    return le ? a : ge ? b : fy_dim_min(f->dims, a, b);
}
static const fy_dim *elem_max(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    bool ge, le;
    fy_k_order(f, a, b, &ge, &le);
    return ge ? a : le ? b : fy_dim_max(f->dims, a, b);
}
static const fy_dim *elem_neg(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    (void)b;
    return fy_dim_muli(f->dims, a, -1);
}
static const fy_dim *elem_abs(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    int64_t v;
    (void)b;
    return fy_dim_ge(a, 0) ? a : fy_dim_known(a, &v) && v != INT64_MIN ? fy_dim_const(f->dims, -v) : NULL;
}

/* Overflow wraps, as two's complement does. */
#define WRAP(x, op, z) ((int64_t)((uint64_t)(x)op(uint64_t)(z)))
MAP2(add_f, double, x + z)
MAP2(add_i, int64_t, WRAP(x, +, z))
MAP2(add_u, uint64_t, x + z)
MAP2(sub_f, double, x - z)
MAP2(sub_i, int64_t, WRAP(x, -, z))
MAP2(sub_u, uint64_t, x - z)
MAP2(mul_f, double, x *z)
MAP2(mul_i, int64_t, WRAP(x, *, z))
MAP2(mul_u, uint64_t, x *z)
MAP2(div_f, double, x / z)
MAP2(div_i, int64_t, z == -1 ? WRAP(0, -, x) : x / z)
MAP2(div_u, uint64_t, x / z)
MAP2(min_f, double, x < z || x != x ? x : z)
MAP2(min_i, int64_t, x < z ? x : z)
MAP2(min_u, uint64_t, x < z ? x : z)
MAP2(max_f, double, x > z || x != x ? x : z)
MAP2(max_i, int64_t, x > z ? x : z)
MAP2(max_u, uint64_t, x > z ? x : z)
static const fy_maps add = {add_f, add_i, add_u}, sub = {sub_f, sub_i, sub_u}, mul = {mul_f, mul_i, mul_u}, div_ = {div_f, div_i, div_u};
static const fy_maps least = {min_f, min_i, min_u}, most = {max_f, max_i, max_u};

static fy_status ref_add(const fy_call *c) { return fy_k_fold(c, &add, false, NULL, NULL); }
static fy_status ref_sub(const fy_call *c) { return fy_k_fold(c, &sub, false, NULL, NULL); }
static fy_status ref_mul(const fy_call *c) { return fy_k_fold(c, &mul, false, NULL, NULL); }

/* Integers have no answer to a division by zero; floats have. */
static fy_status no_zero(const fy_call *c) {
    const fy_tensor *b = fy_arg(c, 1);
    if (!b || fy_dtype_float(b->dtype)) return FY_OK;
    int64_t n = fy_count(b), block[FY_K_BLOCK];
    for (int64_t at = 0; at < n; at += FY_K_BLOCK) {
        int64_t k = n - at < FY_K_BLOCK ? n - at : FY_K_BLOCK;
        fy_load_i64(block, b, at, k);
        for (int64_t i = 0; i < k; i++) FY_NEED(c->e, block[i] != 0, VALUE, "division by zero: the divisor's element %lld is 0", (long long)(at + i));
    }
    return FY_OK;
}

static fy_status ref_div(const fy_call *c) {
    FY_TRY(no_zero(c));
    return fy_k_fold(c, &div_, false, NULL, NULL);
}

static double floor_mod(double x, double z) {
    double r = fmod(x, z);
    if (r == 0) return copysign(0.0, z);
    return (r < 0) != (z < 0) ? r + z : r;
}
static int64_t floor_mod_i(int64_t x, int64_t z) {
    int64_t r = z == -1 ? 0 : x % z;
    return r && (r < 0) != (z < 0) ? r + z : r;
}
MAP2(mod_f, double, floor_mod(x, z))
MAP2(mod_i, int64_t, floor_mod_i(x, z))
MAP2(mod_u, uint64_t, x % z)
MAP2(fmod_f, double, fmod(x, z))
MAP2(fmod_i, int64_t, z == -1 ? 0 : x % z)
static const fy_maps mod = {mod_f, mod_i, mod_u}, fmod_ = {fmod_f, fmod_i, mod_u};
static fy_status ref_mod(const fy_call *c) {
    FY_TRY(no_zero(c));
    return fy_k_fold(c, fy_attr_i(c->node, "fmod") ? &fmod_ : &mod, false, NULL, NULL);
}

static uint64_t power_u(uint64_t x, uint64_t z) {
    uint64_t r = 1;
    for (; z; z >>= 1, x *= x)
        if (z & 1) r *= x;
    return r;
}
static int64_t power_i(int64_t x, int64_t z) {
    if (z < 0) return x == 1 ? 1 : x == -1 ? (z & 1 ? -1 : 1) : 0;
    return (int64_t)power_u((uint64_t)x, (uint64_t)z);
}
/* Squares are what exporters write most, and pow is slow. */
MAP2(pow_f, double, z == 2 ? x *x : pow(x, z))
MAP2(pow_i, int64_t, power_i(x, z))
MAP2(pow_u, uint64_t, power_u(x, z))
static const fy_maps power = {pow_f, pow_i, pow_u};
static fy_status ref_pow(const fy_call *c) { return fy_k_fold(c, &power, false, NULL, NULL); }
static fy_status infer_pow(fy_infer *f) { return fy_k_broadcast(f, fy_in_dtype(f, 0)); }

INFER_CARRY(infer_add, infer_binary(f), elem_add)
INFER_CARRY(infer_sub, infer_binary(f), elem_sub)
INFER_CARRY(infer_mul, infer_binary(f), elem_mul)
INFER_CARRY(infer_div, infer_binary(f), elem_div)
INFER_CARRY(infer_mod, infer_binary(f), elem_mod)
INFER_CARRY(infer_neg, fy_k_like(f), elem_neg)
INFER_CARRY(infer_abs, fy_k_like(f), elem_abs)

static fy_value *keep_if(fy_node *n, int kept, int other, double neutral) {
    return fy_k_all(fy_in(n, other), neutral) && fy_k_keeps(n, fy_in(n, kept)) ? fy_in(n, kept) : NULL;
}
static fy_value *simplify_add(fy_node *n) {
    fy_value *v = keep_if(n, 0, 1, 0);
    return v ? v : keep_if(n, 1, 0, 0);
}
static fy_value *simplify_sub(fy_node *n) { return keep_if(n, 0, 1, 0); }
static fy_value *simplify_mul(fy_node *n) {
    fy_value *v = keep_if(n, 0, 1, 1);
    return v ? v : keep_if(n, 1, 0, 1);
}
static fy_value *simplify_by_one(fy_node *n) { return keep_if(n, 0, 1, 1); }

static const fy_attr_spec mod_attrs[] = {{"fmod", FY_ATTR_INT, "0"}, {0}};

#define BINARY(var, Name, first_, since_, T, flags_, infer_, ref_, simplify_)                                          \
    const fy_op fy_op_##var = {.name = Name, .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,       \
        .first = first_, .since = since_, .types = T "|T,T|T", .infer = infer_, .ref = ref_, .simplify = simplify_, .flags = EW | (flags_)};
BINARY(add, "Add", 1, 7, T_NUM, FY_COMMUTES, infer_add, ref_add, simplify_add)
BINARY(sub, "Sub", 1, 7, T_NUM, 0, infer_sub, ref_sub, simplify_sub)
BINARY(mul, "Mul", 1, 7, T_NUM, FY_COMMUTES, infer_mul, ref_mul, simplify_mul)
BINARY(div, "Div", 1, 7, T_NUM, 0, infer_div, ref_div, simplify_by_one)
const fy_op fy_op_mod = {.name = "Mod", .domain = "", .attrs = mod_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .first = 10, .since = 10,
    .types = T_NUM "|T,T|T", .infer = infer_mod, .ref = ref_mod, .flags = EW};
const fy_op fy_op_pow = {.name = "Pow", .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .first = 1, .since = 12,
    .types = "T=" FY_T_FLOAT ",i32,i64;U=" FY_T_NUM "|T,U|T", .infer = infer_pow, .ref = ref_pow, .simplify = simplify_by_one, .flags = EW};

/* ---- any number of operands ---------------------------------------------------------------------------------------- */

static fy_status ref_min(const fy_call *c) { return fy_k_fold(c, &least, false, NULL, NULL); }
static fy_status ref_max(const fy_call *c) { return fy_k_fold(c, &most, false, NULL, NULL); }
static fy_status ref_sum(const fy_call *c) { return fy_k_fold(c, &add, false, NULL, NULL); }
MAP(over_f, double, x / p[0])
static const fy_maps over = {over_f, NULL, NULL};
static fy_status ref_mean(const fy_call *c) {
    double n = c->nin;
    return fy_k_fold(c, &add, false, &over, &n);
}
static fy_status infer_min(fy_infer *f) {
    FY_TRY(fy_k_broadcast(f, 0));
    return carries(f) && f->nin == 2 ? fy_k_elems(f, elem_min) : FY_OK;
}
static fy_status infer_max(fy_infer *f) {
    FY_TRY(fy_k_broadcast(f, 0));
    return carries(f) && f->nin == 2 ? fy_k_elems(f, elem_max) : FY_OK;
}
static fy_value *simplify_one(fy_node *n) { return n->nin == 1 && fy_k_keeps(n, fy_in(n, 0)) ? fy_in(n, 0) : NULL; }

#define VARIADIC(var, Name, since_, T, infer_, ref_)                                                                   \
    const fy_op fy_op_##var = {.name = Name, .domain = "", .min_in = 1, .max_in = -1, .min_out = 1, .max_out = 1, .first = 1, \
        .since = since_, .types = T "|T,...|T", .infer = infer_, .ref = ref_, .simplify = simplify_one, .flags = FY_PURE | FY_ELEMENTWISE};
VARIADIC(min, "Min", 8, T_NUM, infer_min, ref_min)
VARIADIC(max, "Max", 8, T_NUM, infer_max, ref_max)
VARIADIC(sum, "Sum", 8, T_FLOAT, infer_binary, ref_sum)
VARIADIC(mean, "Mean", 8, T_FLOAT, infer_binary, ref_mean)

/* y = min(max(x, low), high): where low > high everything becomes high. */
MAP2(clip_lo_f, double, x < z ? z : x)
MAP2(clip_hi_f, double, x > z ? z : x)
static const fy_maps clip_maps[] = {{clip_lo_f, max_i, max_u}, {clip_hi_f, min_i, min_u}};
static fy_status ref_clip(const fy_call *c) { return fy_k_fold(c, clip_maps, true, NULL, NULL); }
static fy_status infer_clip(fy_infer *f) {
    FY_TRY(fy_k_same_dtype(f));
    for (int i = 1; i < 3; i++) {
        int64_t d;
        int r = fy_in_rank(f, i);
        for (int k = 0; k < r; k++)
            FY_NEED(f->e, !fy_dim_known(fy_in_dim(f, i, k), &d) || d == 1, SHAPE, "%s is not a scalar: size %lld", i == 1 ? "min" : "max", (long long)d);
        FY_NEED(f->e, r <= 0 || fy_in_rank(f, 0) < 0 || r <= fy_in_rank(f, 0), SHAPE, "%s is not a scalar: rank %d", i == 1 ? "min" : "max", r);
    }
    FY_TRY(fy_k_like(f));
    int64_t n, nl = 1, nh = 1;
    const fy_dim *const *x = fy_in_elems(f, 0, &n);
    const fy_dim *const *lo = fy_in_has(f, 1) ? fy_in_elems(f, 1, &nl) : NULL, *const *hi = fy_in_has(f, 2) ? fy_in_elems(f, 2, &nh) : NULL;
    if (!carries(f) || !x || (fy_in_has(f, 1) && (!lo || nl != 1)) || (fy_in_has(f, 2) && (!hi || nh != 1))) return FY_OK;
    const fy_dim **y = FY_NEWN(f->arena, const fy_dim *, n);
    FY_NOMEM(f->e, y);
    for (int64_t i = 0; i < n; i++) {
        y[i] = lo ? elem_max(f, x[i], lo[0]) : x[i];
        y[i] = hi ? elem_min(f, y[i], hi[0]) : y[i];
    }
    return fy_out_elems(f, 0, n, y);
}
static fy_value *simplify_clip(fy_node *n) { return !fy_in(n, 1) && !fy_in(n, 2) ? fy_in(n, 0) : NULL; }
const fy_op fy_op_clip = {.name = "Clip", .domain = "", .min_in = 1, .max_in = 3, .min_out = 1, .max_out = 1, .first = 1, .since = 11,
    .types = T_NUM "|T,T,T|T", .infer = infer_clip, .ref = ref_clip, .simplify = simplify_clip, .flags = EW};

/* ---- one operand --------------------------------------------------------------------------------------------------- */

static const fy_attr_spec no_attrs[] = {{0}};
#define UNARY(var, Name, first_, since_, T, infer_, attrs_)                                                            \
    static fy_status ref_##var(const fy_call *c) { return fy_k_unary(c, &var##_maps); }                                \
    const fy_op fy_op_##var = {.name = Name, .domain = "", .attrs = attrs_, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, \
        .first = first_, .since = since_, .types = T "|T|T", .infer = infer_, .ref = ref_##var, .flags = EW};
#define UNARY_FLOAT(var, Name, first_, since_, expr, attrs_)                                                           \
    MAP(var##_f, double, expr)                                                                                         \
    static const fy_maps var##_maps = {var##_f, NULL, NULL};                                                           \
    UNARY(var, Name, first_, since_, T_FLOAT, fy_k_like, attrs_)

static double logistic(double x) { return 1 / (1 + exp(-x)); }
static double softplus_of(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double clamp01(double x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

#define ATTR_ALPHA(name, def) static const fy_attr_spec name[] = {{"alpha", FY_ATTR_FLOAT, def}, {0}};
ATTR_ALPHA(alpha_001, "0.01")
ATTR_ALPHA(alpha_1, "1")
static const fy_attr_spec selu_attrs[] = {{"alpha", FY_ATTR_FLOAT, "1.6732631921768188"}, {"gamma", FY_ATTR_FLOAT, "1.0507010221481323"}, {0}};
static const fy_attr_spec hard_attrs[] = {{"alpha", FY_ATTR_FLOAT, "0.2"}, {"beta", FY_ATTR_FLOAT, "0.5"}, {0}};
static const fy_attr_spec shrink_attrs[] = {{"bias", FY_ATTR_FLOAT, "0"}, {"lambd", FY_ATTR_FLOAT, "0.5"}, {0}};

UNARY_FLOAT(sqrt, "Sqrt", 1, 6, sqrt(x), no_attrs)
UNARY_FLOAT(reciprocal, "Reciprocal", 1, 6, 1 / x, no_attrs)
UNARY_FLOAT(exp, "Exp", 1, 6, exp(x), no_attrs)
UNARY_FLOAT(log, "Log", 1, 6, log(x), no_attrs)
UNARY_FLOAT(erf, "Erf", 9, 9, erf(x), no_attrs)
UNARY_FLOAT(sin, "Sin", 7, 7, sin(x), no_attrs)
UNARY_FLOAT(cos, "Cos", 7, 7, cos(x), no_attrs)
UNARY_FLOAT(tan, "Tan", 7, 7, tan(x), no_attrs)
UNARY_FLOAT(asin, "Asin", 7, 7, asin(x), no_attrs)
UNARY_FLOAT(acos, "Acos", 7, 7, acos(x), no_attrs)
UNARY_FLOAT(atan, "Atan", 7, 7, atan(x), no_attrs)
UNARY_FLOAT(sinh, "Sinh", 9, 9, sinh(x), no_attrs)
UNARY_FLOAT(cosh, "Cosh", 9, 9, cosh(x), no_attrs)
UNARY_FLOAT(asinh, "Asinh", 9, 9, asinh(x), no_attrs)
UNARY_FLOAT(acosh, "Acosh", 9, 9, acosh(x), no_attrs)
UNARY_FLOAT(atanh, "Atanh", 9, 9, atanh(x), no_attrs)
UNARY_FLOAT(tanh, "Tanh", 1, 6, tanh(x), no_attrs)
UNARY_FLOAT(sigmoid, "Sigmoid", 1, 6, logistic(x), no_attrs)
UNARY_FLOAT(leaky_relu, "LeakyRelu", 1, 6, x < 0 ? p[0] * x : x, alpha_001)
UNARY_FLOAT(elu, "Elu", 1, 6, x < 0 ? p[0] * expm1(x) : x, alpha_1)
UNARY_FLOAT(selu, "Selu", 1, 6, p[1] * (x <= 0 ? p[0] * expm1(x) : x), selu_attrs)
UNARY_FLOAT(celu, "Celu", 12, 12, x < 0 ? p[0] * expm1(x / p[0]) : x, alpha_1)
UNARY_FLOAT(hard_sigmoid, "HardSigmoid", 1, 6, clamp01(p[0] * x + p[1]), hard_attrs)
UNARY_FLOAT(hard_swish, "HardSwish", 14, 14, x *clamp01(x / 6 + 0.5), no_attrs)
UNARY_FLOAT(mish, "Mish", 18, 18, x *tanh(softplus_of(x)), no_attrs)
UNARY_FLOAT(softplus, "Softplus", 1, 1, softplus_of(x), no_attrs)
UNARY_FLOAT(softsign, "Softsign", 1, 1, x / (1 + fabs(x)), no_attrs)
UNARY_FLOAT(thresholded_relu, "ThresholdedRelu", 10, 10, x > p[0] ? x : 0, alpha_1)
UNARY_FLOAT(swish, "Swish", 24, 24, x *logistic(p[0] * x), alpha_1)
UNARY_FLOAT(floor, "Floor", 1, 6, floor(x), no_attrs)
UNARY_FLOAT(ceil, "Ceil", 1, 6, ceil(x), no_attrs)
UNARY_FLOAT(round, "Round", 11, 11, rint(x), no_attrs)

MAP(neg_f, double, -x)
MAP(neg_i, int64_t, WRAP(0, -, x))
static const fy_maps neg_maps = {neg_f, neg_i, NULL};
UNARY(neg, "Neg", 1, 6, "T=" FY_T_FLOAT "," FY_T_SINT, infer_neg, no_attrs)

MAP(abs_f, double, fabs(x))
MAP(abs_i, int64_t, x < 0 ? WRAP(0, -, x) : x)
MAP(abs_u, uint64_t, x)
static const fy_maps abs_maps = {abs_f, abs_i, abs_u};
UNARY(abs, "Abs", 1, 6, T_NUM, infer_abs, no_attrs)

MAP(relu_f, double, x < 0 ? 0 : x)
MAP(relu_i, int64_t, x < 0 ? 0 : x)
static const fy_maps relu_maps = {relu_f, relu_i, NULL};
UNARY(relu, "Relu", 1, 6, "T=" FY_T_FLOAT "," FY_T_SINT, fy_k_like, no_attrs)

MAP(sign_f, double, x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x)
MAP(sign_i, int64_t, (x > 0) - (x < 0))
MAP(sign_u, uint64_t, x > 0)
static const fy_maps sign_maps = {sign_f, sign_i, sign_u};
UNARY(sign, "Sign", 9, 9, T_NUM, fy_k_like, no_attrs)

/* Integers: the formula in double, then truncated as Cast does. */
static double shrunk(double x, const double *p) { return x < -p[1] ? x + p[0] : x > p[1] ? x - p[0] : 0; }
static int64_t saturated(double v) { return v >= 0x1p63 ? INT64_MAX : v <= -0x1p63 ? INT64_MIN : (int64_t)v; }
MAP(shrink_f, double, shrunk(x, p))
MAP(shrink_i, int64_t, saturated(shrunk((double)x, p)))
MAP(shrink_u, uint64_t, (uint64_t)saturated(shrunk((double)x, p)))
static const fy_maps shrink_maps = {shrink_f, shrink_i, shrink_u};
UNARY(shrink, "Shrink", 9, 9, "T=f32,f64,f16," FY_T_INT, fy_k_like, shrink_attrs)

MAP(gelu_f, double, 0.5 * x * (1 + erf(x * 0.70710678118654752440)))
MAP(gelu_tanh_f, double, 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))))
static const fy_maps gelu_maps = {gelu_f, NULL, NULL}, gelu_tanh_maps = {gelu_tanh_f, NULL, NULL};
static fy_status ref_gelu(const fy_call *c) { return fy_k_unary(c, fy_attr_is(c->node, "approximate", "tanh") ? &gelu_tanh_maps : &gelu_maps); }
static fy_status infer_gelu(fy_infer *f) {
    FY_NEED(f->e, fy_attr_is(f->node, "approximate", "none") || fy_attr_is(f->node, "approximate", "tanh"), ATTR, "approximate is neither none nor tanh");
    return fy_k_like(f);
}
static const fy_attr_spec gelu_attrs[] = {{"approximate", FY_ATTR_STRING, "none"}, {0}};
const fy_op fy_op_gelu = {.name = "Gelu", .domain = "", .attrs = gelu_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .first = 20, .since = 20,
    .types = T_FLOAT "|T|T", .infer = infer_gelu, .ref = ref_gelu, .flags = EW};

/* slope broadcasts to x, never the other way round */
MAP2(prelu_f, double, x < 0 ? z * x : x)
MAP2(prelu_i, int64_t, x < 0 ? WRAP(z, *, x) : x)
MAP2(prelu_u, uint64_t, z == z ? x : 0)
static const fy_maps prelu_maps = {prelu_f, prelu_i, prelu_u};
static fy_status ref_prelu(const fy_call *c) { return fy_k_fold(c, &prelu_maps, false, NULL, NULL); }
static fy_status infer_prelu(fy_infer *f) {
    int rx = fy_in_rank(f, 0), rs = fy_in_rank(f, 1);
    FY_TRY(fy_k_same_dtype(f));
    FY_NEED(f->e, rx < 0 || rs <= rx, SHAPE, "slope has rank %d, x only %d", rs, rx);
    for (int i = 1; rx >= 0 && i <= rs; i++) {
        int64_t d;
        if (!fy_dim_known(fy_in_dim(f, 1, rs - i), &d) || d != 1) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, rx - i), fy_in_dim(f, 1, rs - i), "sizes of x and slope"));
    }
    return fy_k_like(f);
}
const fy_op fy_op_prelu = {.name = "PRelu", .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .first = 1, .since = 9,
    .types = "T=" FY_T_FLOAT ",i32,i64,u32,u64|T,T|T", .infer = infer_prelu, .ref = ref_prelu, .flags = EW};

/* ---- logic and bits ------------------------------------------------------------------------------------------------ */

MAP2(and_i, int64_t, x &z)
MAP2(and_u, uint64_t, x &z)
MAP2(or_i, int64_t, x | z)
MAP2(or_u, uint64_t, x | z)
MAP2(xor_i, int64_t, x ^ z)
MAP2(xor_u, uint64_t, x ^ z)
MAP2(land_i, int64_t, x && z)
MAP2(lor_i, int64_t, x || z)
MAP2(lxor_i, int64_t, !x != !z)
static const fy_maps and_maps = {NULL, and_i, and_u}, or_maps = {NULL, or_i, or_u}, xor_maps = {NULL, xor_i, xor_u};
static const fy_maps land_maps = {NULL, land_i, NULL}, lor_maps = {NULL, lor_i, NULL}, lxor_maps = {NULL, lxor_i, NULL};
static fy_status ref_bitand(const fy_call *c) { return fy_k_fold(c, &and_maps, false, NULL, NULL); }
static fy_status ref_bitor(const fy_call *c) { return fy_k_fold(c, &or_maps, false, NULL, NULL); }
static fy_status ref_bitxor(const fy_call *c) { return fy_k_fold(c, &xor_maps, false, NULL, NULL); }
static fy_status ref_and(const fy_call *c) { return fy_k_fold(c, &land_maps, false, NULL, NULL); }
static fy_status ref_or(const fy_call *c) { return fy_k_fold(c, &lor_maps, false, NULL, NULL); }
static fy_status ref_xor(const fy_call *c) { return fy_k_fold(c, &lxor_maps, false, NULL, NULL); }

static const fy_dim *elem_and(fy_infer *f, const fy_dim *a, const fy_dim *b) { (void)f; return fy_dim_is(a, 0) ? a : fy_dim_is(b, 0) ? b : fy_dim_is(a, 1) ? b : NULL; }
static const fy_dim *elem_or(fy_infer *f, const fy_dim *a, const fy_dim *b) { (void)f; return fy_dim_is(a, 1) ? a : fy_dim_is(b, 1) ? b : fy_dim_is(a, 0) ? b : NULL; }
static const fy_dim *elem_not(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    int64_t v;
    (void)b;
    return fy_dim_known(a, &v) ? fy_dim_const(f->dims, !v) : NULL;
}
static fy_status infer_and(fy_infer *f) { FY_TRY(fy_k_broadcast(f, 0)); return fy_k_elems(f, elem_and); }
static fy_status infer_or(fy_infer *f) { FY_TRY(fy_k_broadcast(f, 0)); return fy_k_elems(f, elem_or); }
static fy_status infer_not(fy_infer *f) { FY_TRY(fy_k_like(f)); return fy_k_elems(f, elem_not); }

BINARY(and, "And", 1, 7, "T=bool", FY_COMMUTES, infer_and, ref_and, simplify_mul)
BINARY(or, "Or", 1, 7, "T=bool", FY_COMMUTES, infer_or, ref_or, simplify_add)
BINARY(xor, "Xor", 1, 7, "T=bool", FY_COMMUTES, infer_binary, ref_xor, simplify_add)
BINARY(bitwise_and, "BitwiseAnd", 18, 18, T_INT, FY_COMMUTES, infer_binary, ref_bitand, NULL)
BINARY(bitwise_or, "BitwiseOr", 18, 18, T_INT, FY_COMMUTES, infer_binary, ref_bitor, NULL)
BINARY(bitwise_xor, "BitwiseXor", 18, 18, T_INT, FY_COMMUTES, infer_binary, ref_bitxor, NULL)

MAP(not_i, int64_t, !x)
static const fy_maps not_maps = {NULL, not_i, NULL};
UNARY(not, "Not", 1, 1, "T=bool", infer_not, no_attrs)
MAP(bitnot_i, int64_t, ~x)
MAP(bitnot_u, uint64_t, ~x)
static const fy_maps bitwise_not_maps = {NULL, bitnot_i, bitnot_u};
UNARY(bitwise_not, "BitwiseNot", 18, 18, T_INT, fy_k_like, no_attrs)

/* p[0]: bits of the dtype. An amount outside of it leaves what the sign alone makes. */
#define INSIDE(z) ((z) >= 0 && (double)(z) < p[0])
MAP2(shl_i, int64_t, INSIDE(z) ? (int64_t)((uint64_t)x << z) : 0)
MAP2(shr_i, int64_t, INSIDE(z) ? x >> z : x < 0 ? -1 : 0)
MAP2(shl_u, uint64_t, (double)z < p[0] ? x << z : 0)
MAP2(shr_u, uint64_t, (double)z < p[0] ? x >> z : 0)
static const fy_maps shl = {NULL, shl_i, shl_u}, shr = {NULL, shr_i, shr_u};
static fy_status ref_bit_shift(const fy_call *c) {
    double bits = fy_arg(c, 0) ? fy_dtype_bits(fy_arg(c, 0)->dtype) : 0;
    return fy_k_fold(c, fy_attr_is(c->node, "direction", "LEFT") ? &shl : &shr, false, NULL, &bits);
}
static fy_status infer_bit_shift(fy_infer *f) {
    FY_NEED(f->e, fy_attr_is(f->node, "direction", "LEFT") || fy_attr_is(f->node, "direction", "RIGHT"), ATTR, "direction is neither LEFT nor RIGHT");
    return fy_k_broadcast(f, 0);
}
static const fy_attr_spec shift_attrs[] = {{"direction", FY_ATTR_STRING, FY_REQUIRED}, {0}};
const fy_op fy_op_bit_shift = {.name = "BitShift", .domain = "", .attrs = shift_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .first = 11,
    .since = 11, .types = T_INT "|T,T|T", .infer = infer_bit_shift, .ref = ref_bit_shift, .flags = EW};

/* ---- SwiGLU -------------------------------------------------------------------------------------------------------- */

/* Unlike the other operators of two operands, this one does not broadcast. */
static fy_status infer_swiglu(fy_infer *f) {
    int ra = fy_in_rank(f, 0), rb = fy_in_rank(f, 1);
    const fy_dim *dim[FY_MAX_RANK];
    int64_t v;
    FY_TRY(fy_k_same_dtype(f));
    FY_NEED(f->e, ra < 0 || rb < 0 || ra == rb, SHAPE, "the gate has rank %d, the value %d", ra, rb);
    if (ra < 0 || rb < 0) return fy_out_like(f, 0, ra < 0 ? 1 : 0);
    for (int i = 0; i < ra; i++) {
        const fy_dim *a = fy_in_dim(f, 0, i), *b = fy_in_dim(f, 1, i);
        FY_TRY(fy_k_agree(f, a, b, "sizes of gate and value"));
        dim[i] = fy_dim_known(b, &v) ? b : a;
    }
    return fy_out_set(f, 0, fy_in_dtype(f, 0) ? fy_in_dtype(f, 0) : fy_in_dtype(f, 1), ra, dim);
}
MAP2(swiglu_f, double, x *logistic(p[0] * x) * z)
static fy_status ref_swiglu(const fy_call *c) {
    double alpha = fy_attr_f(c->node, "alpha");
    return fy_k_fold(c, &(fy_maps){swiglu_f, NULL, NULL}, false, NULL, &alpha);
}
const fy_op fy_op_swiglu = {.name = "SwiGLU", .domain = "", .attrs = alpha_1, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .first = 28, .since = 28,
    .types = T_FLOAT "|T,T|T", .infer = infer_swiglu, .ref = ref_swiglu, .flags = EW};

/* ---- Identity -------------------------------------------------------------------------------------------------- */

static fy_status infer_identity(fy_infer *f) {
    if (!fy_in_has(f, 0)) return FY_OK;
    f->out[0] = f->in[0];                                               /* type of any kind, contents */
    f->out[0].data = NULL;
    return FY_OK;
}
static fy_status ref_identity(const fy_call *c) {
    if (!c->out[0] || !c->in[0]) return FY_OK;
    if (c->in[0]->kind != FY_TENSOR) {
        fy_rval_free(c->out[0]);
        return fy_rval_copy(c->out[0], c->in[0], c->e);
    }
    fy_tensor_copy(fy_res(c, 0), fy_arg(c, 0));
    return FY_OK;
}
static fy_value *simplify_identity(fy_node *n) { return fy_in(n, 0); }
const fy_op fy_op_identity = {.name = "Identity", .domain = "", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .first = 1, .since = 1,
    .infer = infer_identity, .ref = ref_identity, .simplify = simplify_identity, .flags = FY_PURE | FY_INPLACE | FY_ELEMENTWISE};

