/* SPDX-License-Identifier: Apache-2.0
 * cast.c - Cast CastLike BitCast. Numbers are converted as tensor/ does (floats truncate and saturate to integers, integers
 * wrap); here are the rest: float8 without saturation, float8e8m0's rounding, and strings. */
#include "ops/strings.h"

#include "base/half.h"
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---------------------------------------------------------------------------------------------------------- */

static fy_status parse(const fy_str *s, fy_tensor *y, int64_t i, ferry_error *e) {
    fy_class k = fy_dtype_class(y->dtype);
    int64_t whole;
    uint64_t natural;
    double v;
    if (k == FY_CLASS_B && s->n == 4 && (!memcmp(s->at, "True", 4) || !memcmp(s->at, "true", 4))) fy_put_i64(y, i, 1);
    else if (k == FY_CLASS_B && s->n == 5 && (!memcmp(s->at, "False", 5) || !memcmp(s->at, "false", 5))) fy_put_i64(y, i, 0);
    else if (k == FY_CLASS_U && fy_read_u64(s->at, s->n, &natural)) fy_put_u64(y, i, natural);
    else if ((k == FY_CLASS_I || k == FY_CLASS_B) && fy_read_i64(s->at, s->n, &whole)) fy_put_i64(y, i, whole);
    else {
        FY_NEED(e, fy_read_f64(s->at, s->n, &v), VALUE, "element %lld is no number: \"%.*s\"", (long long)i, (int)(s->n < 40 ? s->n : 40), s->n ? s->at : "");
        fy_put_f64(y, i, v);
    }
    return FY_OK;
}

/* The shortest digits that give the value back in its dtype, written as NumPy does: 1.0, 0.25, 1e-05, 1e+16, nan. */
static void print(char *text, size_t room, const fy_tensor *x, int64_t i) {
    fy_class k = fy_dtype_class(x->dtype);
    double v = fy_get_f64(x, i), back = 0;
    if (k == FY_CLASS_B) snprintf(text, room, "%s", fy_get_i64(x, i) ? "True" : "False");
    else if (k == FY_CLASS_I) snprintf(text, room, "%lld", (long long)fy_get_i64(x, i));
    else if (k == FY_CLASS_U) snprintf(text, room, "%llu", (unsigned long long)fy_get_u64(x, i));
    else if (v != v) snprintf(text, room, "nan");
    else if (fabs(v) == HUGE_VAL) snprintf(text, room, v < 0 ? "-inf" : "inf");
    else {
        int digits = 1;
        for (; digits <= 17; digits++) {
            snprintf(text, room, "%.*e", digits - 1, v);
            fy_plain_point(text);
            if (digits == 17 || (fy_read_f64(text, strlen(text), &back) && fy_round_to(x->dtype, back) == v)) break;
        }
        int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
        if (v != 0 && (exponent < -4 || exponent >= 16)) return;
        int decimals = digits - 1 - exponent;
        snprintf(text, room, "%.*f", decimals < 1 ? 1 : decimals, v);
        fy_plain_point(text);
    }
}

static fy_status to_strings(const fy_call *c, const fy_tensor *x, fy_tensor *y) {
    int64_t n = fy_count(x);
    fy_buf all = {0};
    size_t *end = FY_NEWN(c->scratch, size_t, n);
    FY_NOMEM(c->e, end);
    for (int64_t i = 0; i < n; i++) {
        char text[64];
        print(text, sizeof text, x, i);
        fy_buf_str(&all, text);
        end[i] = all.n;
    }
    return fy_strings_give(y, &all, end, c->e);
}

/* ---- Cast ---------------------------------------------------------------------------------------------------------- */

static bool is_f8(fy_dtype t) { return t >= FERRY_FLOAT8E4M3FN && t <= FERRY_FLOAT8E5M2FNUZ; }

/* Floats to types below a byte, as the standard's cases have it where its text leaves it open: integers wrap, and NaN, which
 * float4 and float6 have not, becomes -0. */
static void narrow(const fy_tensor *x, fy_tensor *y) {
    for (int64_t i = 0; i < fy_count(x); i++) {
        double v = fy_get_f64(x, i);
        if (fy_dtype_float(y->dtype)) ((uint8_t *)y->data)[i] = (uint8_t)(v != v ? 1 << (fy_dtype_bits(y->dtype) - 1) : fy_f8_from_f64((int32_t)y->dtype, v, true));
        else fy_put_i64(y, i, fy_get_i64(x, i));
    }
}

static fy_status convert(const fy_call *c, const fy_tensor *x, fy_tensor *y) {
    int64_t n = fy_count(x);
    bool saturate = fy_attr_i(c->node, "saturate") != 0;
    if (!n) return FY_OK;
    if (x->dtype == y->dtype) fy_tensor_copy(y, x);
    else if (x->dtype == FERRY_STRING) {
        fy_tensor flat = fy_k_spread(x, x->rank, x->dim);
        for (int64_t i = 0; i < n; i++) FY_TRY(parse(fy_k_str(&flat, i), y, i, c->e));
    } else if (y->dtype == FERRY_STRING) {
        FY_NEED(c->e, fy_k_numeric(x), TYPE, "%s has no text form", fy_dtype_name(x->dtype));
        return to_strings(c, x, y);
    } else if (y->dtype == FERRY_FLOAT8E8M0) {
        fy_str mode = fy_attr_s(c->node, "round_mode");
        for (int64_t i = 0; i < n; i++) ((uint8_t *)y->data)[i] = fy_e8m0_from_f64(fy_get_f64(x, i), mode.n ? mode.at[0] : 'u', saturate);
    } else if (is_f8(y->dtype) && !saturate) {
        for (int64_t i = 0; i < n; i++) ((uint8_t *)y->data)[i] = fy_f8_from_f64((int32_t)y->dtype, fy_get_f64(x, i), false);
    } else if (fy_dtype_bits(y->dtype) < 8 && fy_dtype_float(x->dtype)) narrow(x, y);
    else fy_tensor_copy(y, x);
    return FY_OK;
}

static fy_status ref_cast(const fy_call *c) { return fy_res(c, 0) ? convert(c, fy_arg(c, 0), fy_res(c, 0)) : FY_OK; }

static const fy_dim *elem_same(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    int64_t v;
    (void)b;
    if (f->out[0].type.dtype != FERRY_BOOL) return a;
    return fy_dim_known(a, &v) ? fy_dim_const(f->dims, v != 0) : fy_dim_ge(a, 1) ? fy_dim_const(f->dims, 1) : NULL;
}

static fy_status infer_to(fy_infer *f, fy_dtype t) {
    fy_dtype from = fy_in_dtype(f, 0);
    FY_TRY(fy_out_set(f, 0, t, fy_in_rank(f, 0), fy_in_dims(f, 0)));
    bool source = from == FERRY_INT64 || from == FERRY_INT32 || from == FERRY_BOOL;
    if (!source || (t != FERRY_INT64 && t != FERRY_INT32 && t != FERRY_BOOL)) return FY_OK;
    int64_t n;
    const fy_dim *const *x = fy_in_elems(f, 0, &n), **y;
    if (!x || n > FY_MAX_ELEM) return FY_OK;
    FY_NOMEM(f->e, y = FY_NEWN(f->arena, const fy_dim *, n));
    for (int64_t i = 0; i < n; i++)
        if (!(y[i] = elem_same(f, x[i], NULL))) return FY_OK;
    return fy_out_elems(f, 0, n, y);
}

static fy_status infer_cast(fy_infer *f) {
    int64_t to = fy_attr_i(f->node, "to");
    FY_NEED(f->e, to > 0 && to <= FERRY_FLOAT6E3M2 && fy_elem_bytes((fy_dtype)to) > 0, ATTR, "to is %lld, no element type", (long long)to);
    return infer_to(f, (fy_dtype)to);
}
static fy_status infer_cast_like(fy_infer *f) { return infer_to(f, fy_in_dtype(f, 1)); }

static fy_value *simplify_cast(fy_node *n) {
    const fy_value *x = fy_in(n, 0), *y = fy_outv(n, 0);
    return x && y && x->type.kind == FY_TENSOR && x->type.dtype && x->type.dtype == y->type.dtype ? fy_in(n, 0) : NULL;
}

#define SATURATE {"saturate", FY_ATTR_INT, "1"}
#define ROUND {"round_mode", FY_ATTR_STRING, "up"}
static const fy_attr_spec cast_attrs[] = {{"to", FY_ATTR_INT, FY_REQUIRED}, SATURATE, ROUND, {0}};
static const fy_attr_spec like_attrs[] = {SATURATE, ROUND, {0}};
const fy_op fy_op_cast = {.name = "Cast", .domain = "", .attrs = cast_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .first = 1, .since = 6,
    .infer = infer_cast, .ref = ref_cast, .simplify = simplify_cast, .flags = FY_PURE | FY_ELEMENTWISE};
const fy_op fy_op_cast_like = {.name = "CastLike", .domain = "", .attrs = like_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .first = 15,
    .since = 15, .infer = infer_cast_like, .ref = ref_cast, .simplify = simplify_cast, .flags = FY_PURE};

/* ---- BitCast ------------------------------------------------------------------------------------------------------- */

static fy_status infer_bit_cast(fy_infer *f) {
    int64_t to = fy_attr_i(f->node, "to");
    fy_dtype from = fy_in_dtype(f, 0);
    FY_NEED(f->e, to > 0 && to <= FERRY_FLOAT6E3M2 && to != FERRY_STRING, ATTR, "to is %lld, no element type of bits", (long long)to);
    FY_NEED(f->e, !from || fy_dtype_bits(from) == fy_dtype_bits((fy_dtype)to), TYPE, "%s and %s differ in width", fy_dtype_name(from), fy_dtype_name((fy_dtype)to));
    return fy_out_set(f, 0, (fy_dtype)to, fy_in_rank(f, 0), fy_in_dims(f, 0));
}

static fy_status ref_bit_cast(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y = fy_res(c, 0), as_x;
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, x->dtype != FERRY_STRING, TYPE, "strings have no bits");
    as_x = *y;
    as_x.dtype = x->dtype;
    fy_tensor_copy(&as_x, x);
    int bits = fy_dtype_bits(y->dtype);
    if (bits >= 8) return FY_OK;
    uint8_t *b = y->data, mask = (uint8_t)((1 << bits) - 1), sign = (uint8_t)(1 << (bits - 1));
    bool extend = fy_dtype_class(y->dtype) == FY_CLASS_I;                /* in memory small signed integers fill their byte */
    for (int64_t i = 0; i < fy_count(y); i++) {
        uint8_t v = b[i] & mask;
        b[i] = extend && (v & sign) ? (uint8_t)(v | (uint8_t)~mask) : v;
    }
    return FY_OK;
}
static const fy_attr_spec bit_attrs[] = {{"to", FY_ATTR_INT, FY_REQUIRED}, {0}};
const fy_op fy_op_bit_cast = {.name = "BitCast", .domain = "", .attrs = bit_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .first = 26,
    .since = 26, .infer = infer_bit_cast, .ref = ref_bit_cast, .flags = FY_PURE | FY_ELEMENTWISE};
