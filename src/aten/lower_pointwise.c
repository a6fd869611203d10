/* SPDX-License-Identifier: Apache-2.0
 * lower_pointwise.c - element by element: arithmetic, comparison, logic, rounding, functions of one number, where, casts.
 *
 * Operands are brought to torch's result type first; ONNX operators then agree with ATen's, except where written here:
 * integer division, remainders, powers of integers. */
#include "aten/lower.h"

#include <math.h>
#include <string.h>

/* Two operands in their common type. */
typedef struct pair { fy_value *a, *b; fy_dtype t; } pair;

static pair promoted(fy_lower *l, const char *first, const char *second) {
    fy_operand o[2] = {fy_l_operand(l, first), fy_l_operand(l, second)};
    fy_dtype t = fy_promote(2, o);
    return (pair){fy_l_as(l, &o[0], t), fy_l_as(l, &o[1], t), t};
}

static fy_value *number_of(fy_lower *l, const fy_operand *o, fy_dtype t) { return fy_l_as(l, o, t); }

static bool is_one(const fy_operand *o) { return o->number && !o->v && !o->dim && o->f == 1; }

/* ---- arithmetic -------------------------------------------------------------------------------------------------------- */

/* add, sub, rsub: self +- alpha * other */
fy_status fy_lower_add(fy_lower *l) {
    bool reversed = fy_l_named(l, "aten.rsub");
    fy_operand o[2] = {fy_l_operand(l, reversed ? "other" : "self"), fy_l_operand(l, reversed ? "self" : "other")};
    fy_operand alpha = fy_l_has(l, "alpha") ? fy_l_operand(l, "alpha") : (fy_operand){.number = true, .dtype = FERRY_INT64, .i = 1, .f = 1};
    fy_dtype t = fy_promote(2, o);
    fy_value *a = fy_l_as(l, &o[0], t), *b = fy_l_as(l, &o[1], t);
    if (!is_one(&alpha)) {
        fy_value **scaled = reversed ? &b : &b;
        *scaled = fy_l_binary(l, "Mul", *scaled, number_of(l, &alpha, t));
    }
    bool sub = reversed || fy_l_named(l, "aten.sub") || fy_l_named(l, "aten.subtract");
    if (t == FERRY_BOOL && !sub) return fy_l_ret(l, fy_l_binary(l, "Or", a, b));
    return fy_l_ret(l, fy_l_binary(l, sub ? "Sub" : "Add", a, b));
}

fy_status fy_lower_mul(fy_lower *l) {
    pair p = promoted(l, "self", "other");
    return fy_l_ret(l, fy_l_binary(l, p.t == FERRY_BOOL ? "And" : "Mul", p.a, p.b));
}

/* floor(a / b) of integers: ONNX Div truncates, so one less where the signs differ and something is left over. */
static fy_value *floor_div_int(fy_lower *l, fy_value *a, fy_value *b, fy_dtype t) {
    fy_value *q = fy_l_binary(l, "Div", a, b);
    if (fy_dtype_class(t) == FY_CLASS_U) return q;
    fy_value *zero = fy_k_scalar_i(&l->b, t, 0);
    fy_value *rem = fy_l_binary(l, "Sub", a, fy_l_binary(l, "Mul", q, b));
    fy_value *left = fy_l_named_op(l, "Not", fy_l_binary(l, "Equal", rem, zero));
    fy_value *opposite = fy_l_binary(l, "Xor", fy_l_binary(l, "Less", rem, zero), fy_l_binary(l, "Less", b, zero));
    return fy_l_binary(l, "Sub", q, fy_b_cast(&l->b, fy_l_binary(l, "And", left, opposite), t));
}

/* A divisor that is one positive number needs no sign handling: floor(a/b) = (a - mod(a,b)) / b with Mod as Python's. */
static fy_value *floor_div(fy_lower *l, fy_value *a, fy_value *b, fy_dtype t) {
    return fy_dtype_float(t) ? fy_l_named_op(l, "Floor", fy_l_binary(l, "Div", a, b)) : floor_div_int(l, a, b, t);
}

static fy_value *truncate(fy_lower *l, fy_value *x) {                        /* towards zero; ONNX has no Trunc */
    return fy_l_binary(l, "Mul", fy_l_named_op(l, "Sign", x), fy_l_named_op(l, "Floor", fy_l_named_op(l, "Abs", x)));
}

fy_status fy_lower_div(fy_lower *l) {
    const char *mode = fy_l_str(l, "rounding_mode");
    bool floor_mode = fy_l_named(l, "aten.floor_divide") || (mode && strcmp(mode, "floor") == 0), trunc_mode = mode && strcmp(mode, "trunc") == 0;
    fy_operand o[2] = {fy_l_operand(l, "self"), fy_l_operand(l, "other")};
    fy_dtype t = fy_promote(2, o);
    if (!floor_mode && !trunc_mode) t = fy_to_float(t);
    fy_value *a = fy_l_as(l, &o[0], t), *b = fy_l_as(l, &o[1], t);
    if (floor_mode) return fy_l_ret(l, floor_div(l, a, b, t));
    fy_value *q = fy_l_binary(l, "Div", a, b);
    return fy_l_ret(l, trunc_mode && fy_dtype_float(t) ? truncate(l, q) : q);
}

/* remainder has the divisor's sign, fmod the dividend's. */
fy_status fy_lower_mod(fy_lower *l) {
    pair p = promoted(l, "self", "other");
    if (!p.a || !p.b) return fy_l_ret(l, NULL);
    if (fy_l_named(l, "aten.fmod")) return fy_l_ret(l, fy_emit(&l->b, "Mod", FY_V(p.a, p.b), FY_A(fy_int("fmod", 1))));
    if (!fy_dtype_float(p.t)) return fy_l_ret(l, fy_emit(&l->b, "Mod", FY_V(p.a, p.b), FY_NOATTR));
    fy_value *q = fy_l_named_op(l, "Floor", fy_l_binary(l, "Div", p.a, p.b));
    return fy_l_ret(l, fy_l_binary(l, "Sub", p.a, fy_l_binary(l, "Mul", q, p.b)));
}

fy_status fy_lower_pow(fy_lower *l) {
    fy_operand o[2] = {fy_l_operand(l, "self"), fy_l_operand(l, "exponent")};
    fy_dtype t = fy_promote(2, o);
    fy_value *x = fy_l_as(l, &o[0], t);
    if (o[1].number && !o[1].v && !o[1].dim && fy_dtype_float(t)) {          /* exact forms of the usual exponents */
        double p = o[1].f;
        if (p == 1) return fy_l_ret(l, x);
        if (p == 2) return fy_l_ret(l, fy_l_binary(l, "Mul", x, x));
        if (p == 3) return fy_l_ret(l, fy_l_binary(l, "Mul", fy_l_binary(l, "Mul", x, x), x));
        if (p == 0.5) return fy_l_ret(l, fy_l_named_op(l, "Sqrt", x));
        if (p == -0.5) return fy_l_ret(l, fy_l_named_op(l, "Reciprocal", fy_l_named_op(l, "Sqrt", x)));
        if (p == -1) return fy_l_ret(l, fy_l_named_op(l, "Reciprocal", x));
    }
    fy_value *y = fy_l_as(l, &o[1], t);
    if (fy_dtype_float(t) || t == FERRY_INT32 || t == FERRY_INT64) return fy_l_ret(l, fy_l_binary(l, "Pow", x, y));
    fy_value *wide = fy_l_binary(l, "Pow", fy_b_cast(&l->b, x, FERRY_INT64), fy_b_cast(&l->b, y, FERRY_INT64));    /* Pow has no narrow integers */
    return fy_l_ret(l, fy_b_cast(&l->b, wide, t));
}

/* addcmul, addcdiv: self + value * tensor1 (*|/) tensor2 */
fy_status fy_lower_addc(fy_lower *l) {
    fy_operand o[3] = {fy_l_operand(l, "self"), fy_l_operand(l, "tensor1"), fy_l_operand(l, "tensor2")}, value = fy_l_operand(l, "value");
    fy_dtype t = fy_promote(3, o);
    bool div = fy_l_named(l, "aten.addcdiv");
    if (div) t = fy_to_float(t);
    fy_value *p = fy_l_binary(l, div ? "Div" : "Mul", fy_l_as(l, &o[1], t), fy_l_as(l, &o[2], t));
    if (!is_one(&value)) p = fy_l_binary(l, "Mul", p, number_of(l, &value, t));
    return fy_l_ret(l, fy_l_binary(l, "Add", fy_l_as(l, &o[0], t), p));
}

/* lerp: self + weight * (end - self) */
fy_status fy_lower_lerp(fy_lower *l) {
    fy_operand o[3] = {fy_l_operand(l, "self"), fy_l_operand(l, "end"), fy_l_operand(l, "weight")};
    fy_dtype t = fy_promote(2, o);
    fy_value *a = fy_l_as(l, &o[0], t);
    return fy_l_ret(l, fy_l_binary(l, "Add", a, fy_l_binary(l, "Mul", fy_l_as(l, &o[2], t), fy_l_binary(l, "Sub", fy_l_as(l, &o[1], t), a))));
}

/* maximum, minimum, max.other, fmax ...: NaN wins as in ONNX Max and Min */
fy_status fy_lower_maximum(fy_lower *l) {
    pair p = promoted(l, "self", "other");
    bool max = strstr(l->n->op, "max") != NULL;
    if (p.t == FERRY_BOOL) return fy_l_ret(l, fy_l_binary(l, max ? "Or" : "And", p.a, p.b));
    return fy_l_ret(l, fy_l_binary(l, max ? "Max" : "Min", p.a, p.b));
}

static const char *which(const fy_lower *l, const char *const (*table)[2], int n) {
    for (int i = 0; i < n; i++)
        if (fy_l_named(l, table[i][0])) return table[i][1];
    return NULL;
}

fy_status fy_lower_compare(fy_lower *l) {
    static const char *const table[][2] = {
        {"aten.eq", "Equal"}, {"aten.ne", "Equal"}, {"aten.not_equal", "Equal"}, {"aten.gt", "Greater"}, {"aten.greater", "Greater"}, {"aten.lt", "Less"},
        {"aten.less", "Less"}, {"aten.ge", "GreaterOrEqual"}, {"aten.greater_equal", "GreaterOrEqual"}, {"aten.le", "LessOrEqual"}, {"aten.less_equal", "LessOrEqual"}};
    const char *op = which(l, table, FY_COUNT(table));
    bool ne = fy_l_named(l, "aten.ne") || fy_l_named(l, "aten.not_equal");
    fy_operand o[2] = {fy_l_operand(l, "self"), fy_l_operand(l, "other")};
    fy_dtype t = fy_promote(2, o);
    if (t == FERRY_BOOL && strcmp(op, "Equal") != 0) t = FERRY_INT32;        /* no order on bool in ONNX */
    fy_value *y = fy_l_binary(l, op, fy_l_as(l, &o[0], t), fy_l_as(l, &o[1], t));
    return fy_l_ret(l, ne ? fy_l_named_op(l, "Not", y) : y);
}

/* ---- bits and truth ------------------------------------------------------------------------------------------------------ */

fy_status fy_lower_bitwise(fy_lower *l) {
    static const char *const table[][2] = {
        {"aten.bitwise_and", "And"}, {"aten.__and__", "And"}, {"aten.bitwise_or", "Or"}, {"aten.__or__", "Or"}, {"aten.bitwise_xor", "Xor"}, {"aten.__xor__", "Xor"}};
    const char *op = which(l, table, FY_COUNT(table));
    pair p = promoted(l, "self", "other");
    if (p.t == FERRY_BOOL) return fy_l_ret(l, fy_l_binary(l, op, p.a, p.b));
    return fy_l_ret(l, fy_l_binary(l, op[0] == 'A' ? "BitwiseAnd" : op[0] == 'O' ? "BitwiseOr" : "BitwiseXor", p.a, p.b));
}

fy_status fy_lower_bitwise_not(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    return fy_l_ret(l, fy_l_named_op(l, x && x->type.dtype == FERRY_BOOL ? "Not" : "BitwiseNot", x));
}

/* Shifts: by multiplication with a power of two to the left, floor division to the right, since ONNX shifts unsigned only. */
fy_status fy_lower_shift(fy_lower *l) {
    pair p = promoted(l, "self", "other");
    fy_value *two = fy_l_binary(l, "Pow", fy_k_scalar_i(&l->b, FERRY_INT64, 2), fy_b_cast(&l->b, p.b, FERRY_INT64));
    fy_value *by = fy_b_cast(&l->b, two, p.t);
    bool left = strstr(l->n->op, "left") || strstr(l->n->op, "lshift");
    return fy_l_ret(l, left ? fy_l_binary(l, "Mul", p.a, by) : floor_div_int(l, p.a, by, p.t));
}

static fy_value *truth(fy_lower *l, fy_value *x) { return fy_b_cast(&l->b, x, FERRY_BOOL); }

fy_status fy_lower_logical(fy_lower *l) {
    fy_operand a = fy_l_operand(l, "self");
    if (fy_l_named(l, "aten.logical_not")) return fy_l_ret(l, fy_l_named_op(l, "Not", truth(l, fy_l_as(l, &a, a.dtype))));
    fy_operand b = fy_l_operand(l, "other");
    const char *op = fy_l_named(l, "aten.logical_and") ? "And" : fy_l_named(l, "aten.logical_or") ? "Or" : "Xor";
    return fy_l_ret(l, fy_l_binary(l, op, truth(l, fy_l_as(l, &a, a.dtype)), truth(l, fy_l_as(l, &b, b.dtype))));
}

/* ---- functions of one number ------------------------------------------------------------------------------------------------ */

/* One ONNX operator; integers go through f32 as in torch. */
fy_status fy_lower_unary_float(fy_lower *l) {
    static const char *const table[][2] = {
        {"aten.exp", "Exp"}, {"aten.log", "Log"}, {"aten.sqrt", "Sqrt"}, {"aten.sin", "Sin"}, {"aten.cos", "Cos"}, {"aten.tan", "Tan"}, {"aten.sinh", "Sinh"},
        {"aten.cosh", "Cosh"}, {"aten.tanh", "Tanh"}, {"aten.asin", "Asin"}, {"aten.acos", "Acos"}, {"aten.atan", "Atan"}, {"aten.asinh", "Asinh"},
        {"aten.acosh", "Acosh"}, {"aten.atanh", "Atanh"}, {"aten.erf", "Erf"}, {"aten.special_erf", "Erf"}, {"aten.sigmoid", "Sigmoid"},
        {"aten.special_expit", "Sigmoid"}, {"aten.arcsin", "Asin"}, {"aten.arccos", "Acos"}, {"aten.arctan", "Atan"}, {"aten.reciprocal", "Reciprocal"}};
    fy_value *x = fy_l_tensor(l, "self");
    return fy_l_ret(l, x ? fy_l_named_op(l, which(l, table, FY_COUNT(table)), fy_b_cast(&l->b, x, fy_to_float(x->type.dtype))) : NULL);
}

/* Compositions of float operators. */
fy_status fy_lower_unary_formula(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    fy_build *b = &l->b;
    fy_dtype t = fy_to_float(x->type.dtype);
    x = fy_b_cast(b, x, t);
    fy_value *one = fy_k_scalar(b, t, 1), *y = NULL;
    if (fy_l_named(l, "aten.rsqrt")) y = fy_l_named_op(l, "Reciprocal", fy_l_named_op(l, "Sqrt", x));
    else if (fy_l_named(l, "aten.log2")) y = fy_l_binary(l, "Div", fy_l_named_op(l, "Log", x), fy_k_scalar(b, t, log(2)));
    else if (fy_l_named(l, "aten.log10")) y = fy_l_binary(l, "Div", fy_l_named_op(l, "Log", x), fy_k_scalar(b, t, log(10)));
    else if (fy_l_named(l, "aten.log1p")) y = fy_l_named_op(l, "Log", fy_l_binary(l, "Add", x, one));
    else if (fy_l_named(l, "aten.expm1")) y = fy_l_binary(l, "Sub", fy_l_named_op(l, "Exp", x), one);
    else if (fy_l_named(l, "aten.exp2")) y = fy_l_binary(l, "Pow", fy_k_scalar(b, t, 2), x);
    else if (fy_l_named(l, "aten.erfc")) y = fy_l_binary(l, "Sub", one, fy_l_named_op(l, "Erf", x));
    else if (fy_l_named(l, "aten.deg2rad")) y = fy_l_binary(l, "Mul", x, fy_k_scalar(b, t, acos(-1) / 180));
    else if (fy_l_named(l, "aten.rad2deg")) y = fy_l_binary(l, "Mul", x, fy_k_scalar(b, t, 180 / acos(-1)));
    else if (fy_l_named(l, "aten.logit")) {
        if (fy_l_has(l, "eps")) {
            double eps = fy_l_float(l, "eps");
            x = fy_emit(b, "Clip", FY_V(x, fy_k_scalar(b, t, eps), fy_k_scalar(b, t, 1 - eps)), FY_NOATTR);
        }
        y = fy_l_named_op(l, "Log", fy_l_binary(l, "Div", x, fy_l_binary(l, "Sub", one, x)));
    }
    return fy_l_ret(l, y);
}

/* abs, neg, sign, rounding, square: the dtype stays; rounding leaves integers as they are. */
fy_status fy_lower_unary_same(fy_lower *l) {
    static const char *const table[][2] = {
        {"aten.abs", "Abs"}, {"aten.absolute", "Abs"}, {"aten.neg", "Neg"}, {"aten.negative", "Neg"}, {"aten.sign", "Sign"}, {"aten.sgn", "Sign"},
        {"aten.floor", "Floor"}, {"aten.ceil", "Ceil"}, {"aten.round", "Round"}, {"aten.trunc", "Trunc"}, {"aten.fix", "Trunc"}, {"aten.square", "Square"},
        {"aten.frac", "Frac"}, {"aten.positive", "Same"}};
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    const char *op = which(l, table, FY_COUNT(table));
    bool is_float = fy_dtype_float(x->type.dtype), is_bool = x->type.dtype == FERRY_BOOL, rounding = strchr("FCRT", op[0]) && strcmp(op, "Frac") != 0;
    if (strcmp(op, "Same") == 0 || (rounding && !is_float) || (is_bool && (op[0] == 'A' || op[1] == 'i'))) return fy_l_ret(l, x);
    if (strcmp(op, "Square") == 0) return fy_l_ret(l, fy_l_binary(l, is_bool ? "And" : "Mul", x, x));
    if (strcmp(op, "Trunc") == 0) return fy_l_ret(l, truncate(l, x));
    if (strcmp(op, "Frac") == 0) return fy_l_ret(l, fy_l_binary(l, "Sub", x, truncate(l, x)));
    if (fy_l_is(l, "aten.round.decimals") && fy_l_int(l, "decimals") != 0) {
        fy_value *scale = fy_k_scalar(&l->b, x->type.dtype, pow(10, (double)fy_l_int(l, "decimals")));
        return fy_l_ret(l, fy_l_binary(l, "Div", fy_l_named_op(l, "Round", fy_l_binary(l, "Mul", x, scale)), scale));
    }
    return fy_l_ret(l, fy_l_named_op(l, op, x));
}

/* isnan, isinf, isfinite, isposinf, isneginf: constants for integers */
fy_status fy_lower_isnan(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    bool finite = fy_l_named(l, "aten.isfinite");
    if (!fy_dtype_float(x->type.dtype)) {
        fy_value *zero = fy_b_cast(&l->b, fy_k_i64(&l->b, 0), x->type.dtype), *same = fy_l_binary(l, "Equal", x, x);
        (void)zero;
        return fy_l_ret(l, finite ? same : fy_l_named_op(l, "Not", same));
    }
    /* IsInf takes f32 and f64; a narrower float is exact in f32 */
    if (x->type.dtype != FERRY_DOUBLE && !fy_l_named(l, "aten.isnan")) x = fy_b_cast(&l->b, x, FERRY_FLOAT);
    if (fy_l_named(l, "aten.isnan")) return fy_l_ret(l, fy_l_named_op(l, "IsNaN", x));
    if (fy_l_named(l, "aten.isinf")) return fy_l_ret(l, fy_l_named_op(l, "IsInf", x));
    if (!finite) return fy_l_ret(l, fy_emit(&l->b, "IsInf", FY_V(x), FY_A(fy_int(fy_l_named(l, "aten.isposinf") ? "detect_negative" : "detect_positive", 0))));
    fy_value *bad = fy_l_binary(l, "Or", fy_l_named_op(l, "IsNaN", x), fy_l_named_op(l, "IsInf", x));
    return fy_l_ret(l, fy_l_named_op(l, "Not", bad));
}

fy_status fy_lower_nan_to_num(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x || !fy_dtype_float(x->type.dtype)) return fy_l_ret(l, x);
    fy_dtype t = x->type.dtype;
    double most = t == FERRY_DOUBLE ? 1.7976931348623157e308 : t == FERRY_FLOAT16 ? 65504 : t == FERRY_BFLOAT16 ? 3.3895313892515355e38 : 3.4028234663852886e38;
    double nan = fy_l_has(l, "nan") ? fy_l_float(l, "nan") : 0;
    double hi = fy_l_has(l, "posinf") ? fy_l_float(l, "posinf") : most, lo = fy_l_has(l, "neginf") ? fy_l_float(l, "neginf") : -most;
    fy_build *b = &l->b;
    fy_value *inf = fy_k_scalar(b, t, (double)INFINITY), *minus = fy_k_scalar(b, t, -(double)INFINITY);
    fy_value *y = fy_l_where(l, fy_l_named_op(l, "IsNaN", x), fy_k_scalar(b, t, nan), x);
    y = fy_l_where(l, fy_l_binary(l, "Equal", y, inf), fy_k_scalar(b, t, hi), y);
    return fy_l_ret(l, fy_l_where(l, fy_l_binary(l, "Equal", y, minus), fy_k_scalar(b, t, lo), y));
}

/* atan2(y, x) from Atan of the quotient, moved into the right quadrant. */
fy_value *fy_l_atan2(fy_lower *l, fy_value *y, fy_value *x) {
    FY_L_OK_OR(l, NULL);
    fy_build *b = &l->b;
    fy_dtype t = y->type.dtype;
    fy_value *zero = fy_k_scalar(b, t, 0), *pi = fy_k_scalar(b, t, acos(-1));
    fy_value *x_zero = fy_l_binary(l, "Equal", x, zero), *y_neg = fy_l_binary(l, "Less", y, zero);
    fy_value *half = fy_l_binary(l, "Mul", fy_l_named_op(l, "Sign", y), fy_k_scalar(b, t, acos(-1) / 2));
    fy_value *safe = fy_l_where(l, x_zero, fy_k_scalar(b, t, 1), x);
    fy_value *at = fy_l_named_op(l, "Atan", fy_l_binary(l, "Div", y, safe));
    fy_value *turn = fy_l_where(l, y_neg, fy_l_named_op(l, "Neg", pi), pi);
    at = fy_l_where(l, fy_l_binary(l, "Less", x, zero), fy_l_binary(l, "Add", at, turn), at);
    return fy_l_where(l, x_zero, half, at);
}

fy_status fy_lower_atan2(fy_lower *l) {
    fy_operand o[2] = {fy_l_operand(l, "self"), fy_l_operand(l, "other")};
    fy_dtype t = fy_to_float(fy_promote(2, o));
    fy_value *y = fy_l_as(l, &o[0], t), *x = fy_l_as(l, &o[1], t);
    return fy_l_ret(l, fy_l_atan2(l, y, x));
}

/* logaddexp, hypot, xlogy, isclose and the like */
fy_status fy_lower_binary_formula(fy_lower *l) {
    fy_operand o[2] = {fy_l_operand(l, "self"), fy_l_operand(l, "other")};
    fy_dtype t = fy_to_float(fy_promote(2, o));
    fy_value *a = fy_l_as(l, &o[0], t), *c = fy_l_as(l, &o[1], t), *y = NULL;
    if (fy_l_named(l, "aten.hypot")) y = fy_l_named_op(l, "Sqrt", fy_l_binary(l, "Add", fy_l_binary(l, "Mul", a, a), fy_l_binary(l, "Mul", c, c)));
    else if (fy_l_named(l, "aten.logaddexp")) {
        fy_value *most = fy_l_binary(l, "Max", a, c), *gap = fy_l_named_op(l, "Neg", fy_l_named_op(l, "Abs", fy_l_binary(l, "Sub", a, c)));
        y = fy_l_binary(l, "Add", most, fy_l_named_op(l, "Log", fy_l_binary(l, "Add", fy_l_named_op(l, "Exp", gap), fy_k_scalar(&l->b, t, 1))));
    } else if (fy_l_named(l, "aten.xlogy")) {
        fy_value *zero = fy_k_scalar(&l->b, t, 0);
        y = fy_l_where(l, fy_l_binary(l, "Equal", a, zero), zero, fy_l_binary(l, "Mul", a, fy_l_named_op(l, "Log", c)));
    }
    return fy_l_ret(l, y);
}

/* |a - b| <= atol + rtol * |b|, or equal */
fy_status fy_lower_isclose(fy_lower *l) {
    pair p = promoted(l, "self", "other");
    if (!fy_dtype_float(p.t)) return fy_l_ret(l, fy_l_binary(l, "Equal", p.a, p.b));
    if (fy_l_bool(l, "equal_nan")) return fy_l_fail(l, FY_E_UNSUPPORTED, "isclose with equal_nan");
    fy_value *room = fy_l_binary(l, "Add", fy_l_binary(l, "Mul", fy_l_named_op(l, "Abs", p.b), fy_k_scalar(&l->b, p.t, fy_l_float(l, "rtol"))), fy_k_scalar(&l->b, p.t, fy_l_float(l, "atol")));
    fy_value *near = fy_l_binary(l, "LessOrEqual", fy_l_named_op(l, "Abs", fy_l_binary(l, "Sub", p.a, p.b)), room);
    return fy_l_ret(l, fy_l_binary(l, "Or", near, fy_l_binary(l, "Equal", p.a, p.b)));
}

/* ---- clamp, where, casts ------------------------------------------------------------------------------------------------------ */

fy_status fy_lower_clamp(fy_lower *l) {
    fy_operand o[3] = {fy_l_operand(l, "self")};
    const char *name[3] = {"self", "min", "max"};
    int n = 1, at[3] = {0, 0, 0};
    for (int i = 1; i < 3; i++)
        if (fy_l_has(l, name[i])) { at[i] = n; o[n++] = fy_l_operand(l, name[i]); }
    fy_dtype t = fy_promote(n, o);
    fy_value *x = fy_l_as(l, &o[0], t), *lo = at[1] ? fy_l_as(l, &o[at[1]], t) : NULL, *hi = at[2] ? fy_l_as(l, &o[at[2]], t) : NULL;
    bool scalars = (!lo || lo->type.rank == 0) && (!hi || hi->type.rank == 0);
    if (scalars) return fy_l_ret(l, x ? fy_emit(&l->b, "Clip", FY_V(x, lo, hi), FY_NOATTR) : NULL);
    if (lo) x = fy_l_binary(l, "Max", x, lo);
    return fy_l_ret(l, hi ? fy_l_binary(l, "Min", x, hi) : x);
}

fy_status fy_lower_where(fy_lower *l) {
    fy_value *mask = fy_l_tensor(l, "condition");
    fy_operand o[2] = {fy_l_operand(l, "self"), fy_l_operand(l, "other")};
    fy_dtype t = fy_promote(2, o);
    return fy_l_ret(l, fy_l_where(l, fy_b_cast(&l->b, mask, FERRY_BOOL), fy_l_as(l, &o[0], t), fy_l_as(l, &o[1], t)));
}

/* masked_fill keeps the dtype of self; the mask may have fewer axes, never more */
fy_status fy_lower_masked_fill(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *mask = fy_l_tensor(l, "mask");
    fy_operand v = fy_l_operand(l, "value");
    if (!x || !mask) return fy_l_ret(l, NULL);
    return fy_l_ret(l, fy_l_where(l, fy_b_cast(&l->b, mask, FERRY_BOOL), fy_l_as(l, &v, x->type.dtype), x));
}

/* to.*, _to_copy, type_as, float and the like: device, layout and memory format mean nothing in a file */
fy_status fy_lower_to(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    fy_dtype t = fy_l_dtype(l, "dtype", x->type.dtype);
    if (fy_l_named(l, "aten.type_as") || fy_l_is(l, "aten.to.other")) {
        fy_value *other = fy_l_tensor(l, "other");
        if (other) t = other->type.dtype;
    }
    if (fy_l_named(l, "aten._cast_Float")) t = FERRY_FLOAT;
    return fy_l_ret(l, fy_b_cast(&l->b, x, t));
}

/* alias, detach, clone, contiguous, lift ...: the same values */
fy_status fy_lower_same(fy_lower *l) {
    const fy_schema *s = l->n->schema;
    return fy_l_ret(l, s && s->narg > 0 ? fy_l_tensor(l, s->arg[0].name) : NULL);
}

/* dropout is the identity outside training */
fy_status fy_lower_dropout(fy_lower *l) {
    bool native = fy_l_named(l, "aten.native_dropout"), train = native ? !fy_l_has(l, "train") || fy_l_bool(l, "train") : fy_l_bool(l, "train");
    fy_value *x = fy_l_tensor(l, native || !fy_l_named(l, "aten.dropout_") ? "input" : "self");
    double p = fy_l_float(l, "p");
    if (!x) return fy_l_ret(l, NULL);
    if (train && p > 0) {
        fy_build *b = &l->b;
        fy_node *n = fy_emit_n(b, "Dropout", 2, FY_V(x, fy_k_scalar(b, FERRY_FLOAT, p), fy_k_scalar_i(b, FERRY_BOOL, 1)), FY_NOATTR);
        if (n && native) fy_l_out(l, 1, n->out[1]);
        return fy_l_ret(l, n ? n->out[0] : NULL);
    }
    if (native && fy_l_wanted(l, 1)) fy_l_out(l, 1, fy_l_binary(l, "Equal", x, x));
    return fy_l_ret(l, x);
}

/* copy(self, src): src in self's dtype and shape */
fy_status fy_lower_copy(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *src = fy_l_tensor(l, "src");
    if (!x || !src) return fy_l_ret(l, NULL);
    src = fy_b_cast(&l->b, src, x->type.dtype);
    return fy_l_ret(l, fy_l_expand(l, src, fy_rank(l, x), x->type.dim));
}
