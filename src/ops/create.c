/* SPDX-License-Identifier: Apache-2.0
 * create.c - tensors from little: Constant ConstantOfShape Range EyeLike. */
#include "ops/move.h"

#include <math.h>
#include <string.h>

/* ---- Constant ------------------------------------------------------------------------------------------------------ */

static const char *const constant_forms[] = {"value", "value_float", "value_floats", "value_int", "value_ints", "value_string",
        "value_strings"};

static fy_status constant_form(const fy_attr **a, const fy_node *n, ferry_error *e) {
    *a = NULL;
    for (int i = 0; i < FY_COUNT(constant_forms); i++) {
        const fy_attr *x = fy_attr_get(n, constant_forms[i]);
        if (!x) continue;
        FY_NEED(e, !*a, ATTR, "both %s and %s are given", (*a)->name, x->name);
        *a = x;
    }
    FY_NEED(e, *a || !fy_attr_get(n, "sparse_value"), UNSUPPORTED, "sparse constants are not supported");
    FY_NEED(e, *a, ATTR, "no value is given");
    FY_NEED(e, (*a)->kind != FY_ATTR_TENSOR || (*a)->tensor, ATTR, "%s is empty", (*a)->name);
    return FY_OK;
}

static fy_status infer_constant(fy_infer *f) {
    const fy_attr *a;
    FY_TRY(constant_form(&a, f->node, f->e));
    const fy_const *t = a->kind == FY_ATTR_TENSOR ? a->tensor : NULL;
    bool ints = a->kind == FY_ATTR_INT || a->kind == FY_ATTR_INTS, list = a->kind >= FY_ATTR_FLOATS;
    fy_dtype dtype = t ? t->dtype : ints ? FERRY_INT64 : a->kind == FY_ATTR_FLOAT || a->kind == FY_ATTR_FLOATS ? FERRY_FLOAT : FERRY_STRING;
    const fy_dim *d[FY_MAX_RANK];
    int rank = t ? t->rank : list;
    FY_NEED(f->e, rank <= FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported", rank, FY_MAX_RANK);
    for (int i = 0; i < rank; i++) d[i] = fy_mv_const(f, t ? t->dim[i] : a->n);
    FY_TRY(fy_out_set(f, 0, dtype, rank, d));
    int64_t n = t ? t->count : list ? a->n : 1, v;
    if ((t ? !fy_dtype_int(dtype) && dtype != FERRY_BOOL : !ints) || n > FY_MAX_ELEM) return FY_OK;
    const fy_dim **e = FY_NEWN(f->arena, const fy_dim *, n);
    FY_NOMEM(f->e, e);
    for (int64_t i = 0; i < n; i++) {
        if (t && !fy_const_i64(t, i, &v)) return FY_OK;
        if (!t) v = list ? a->ints[i] : a->i;
        e[i] = fy_mv_const(f, v);
    }
    return fy_out_elems(f, 0, n, e);
}

static fy_status ref_constant(const fy_call *c) {
    const fy_attr *a;
    fy_tensor *y;
    FY_TRY(constant_form(&a, c->node, c->e));
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    if (a->kind == FY_ATTR_TENSOR) {
        const fy_const *t = a->tensor;
        FY_NEED(c->e, fy_count(y) == t->count && y->dtype == t->dtype, INTERNAL, "a constant of %lld elements", (long long)t->count);
        return fy_const_read(t, 0, t->count, y->data, c->e);
    }
    if (a->kind == FY_ATTR_INT) fy_store_i64(y, 0, 1, &a->i);
    else if (a->kind == FY_ATTR_INTS) fy_store_i64(y, 0, a->n, a->ints);
    else if (a->kind == FY_ATTR_FLOAT) fy_store_f64(y, 0, 1, &a->f);
    else if (a->kind == FY_ATTR_FLOATS) fy_store_f64(y, 0, a->n, a->floats);
    else if (a->kind == FY_ATTR_STRING) memcpy(y->data, &a->s, sizeof(fy_str));
    else if (a->n) memcpy(y->data, a->strings, (size_t)a->n * sizeof(fy_str));
    return FY_OK;
}

static const fy_attr_spec constant_attrs[] = { {"value", FY_ATTR_TENSOR, NULL}, {"sparse_value", FY_ATTR_SPARSE, NULL}, {"value_float", FY_ATTR_FLOAT, NULL},
    {"value_floats", FY_ATTR_FLOATS, NULL}, {"value_int", FY_ATTR_INT, NULL}, {"value_ints", FY_ATTR_INTS, NULL}, {"value_string", FY_ATTR_STRING, NULL},
    {"value_strings", FY_ATTR_STRINGS, NULL}, {0}};
const fy_op fy_op_constant = {.name = "Constant", .domain = "", .attrs = constant_attrs, .min_in = 0, .max_in = 0, .min_out = 1, .max_out = 1, .since = 25,
    .first = 1, .infer = infer_constant, .ref = ref_constant, .flags = FY_PURE};

/* ---- ConstantOfShape ----------------------------------------------------------------------------------------------- */

static fy_status infer_constant_of_shape(fy_infer *f) {
    const fy_attr *a = fy_attr_get(f->node, "value");
    fy_dtype t = a && a->tensor ? a->tensor->dtype : FERRY_FLOAT;
    int64_t n, v, total = 1;
    bool fixed = true;
    const fy_dim *const *e = fy_in_elems(f, 0, &n), *len = fy_in_dim(f, 0, 0);
    FY_NEED(f->e, !a || (a->tensor && a->tensor->count == 1), ATTR, "value must be a tensor of one element");
    FY_NEED(f->e, fy_in_rank(f, 0) == 1 || fy_in_rank(f, 0) < 0, SHAPE, "the shape input has rank %d; it must have rank 1", fy_in_rank(f,
            0));
    if (!e) return fy_mv_unknown(f, 0, t, len && fy_dim_known(len, &n) && n <= FY_MAX_RANK ? (int)n : -1);
    FY_NEED(f->e, n <= FY_MAX_RANK, LIMIT, "a rank of %lld; at most %d is supported", (long long)n, FY_MAX_RANK);
    for (int i = 0; i < n; i++) {
        bool known = fy_dim_known(e[i], &v);
        FY_NEED(f->e, !known || v >= 0, VALUE, "size %d is %lld", i, (long long)v);
        fixed = fixed && known && fy_mul_i64(&total, total, v);
    }
    FY_TRY(fy_out_set(f, 0, t, (int)n, e));
    if (!fixed || total > FY_MAX_ELEM || !(fy_dtype_int(t) || t == FERRY_BOOL) || !fy_const_i64(a->tensor, 0, &v)) return FY_OK;
    const fy_dim **d = FY_NEWN(f->arena, const fy_dim *, total);
    FY_NOMEM(f->e, d);
    for (int64_t i = 0; i < total; i++) d[i] = fy_mv_const(f, v);
    return fy_out_elems(f, 0, total, d);
}

static fy_status ref_constant_of_shape(const fy_call *c) {
    const fy_attr *a = fy_attr_get(c->node, "value");
    fy_tensor *y, one = {0};
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    if (!a || !a->tensor) { fy_mv_zero(y); return FY_OK; }
    FY_TRY(fy_const_tensor(&one, a->tensor, c->e));
    fy_mv_fill(y, one.data);
    fy_tensor_free(&one);
    return FY_OK;
}

static const fy_attr_spec constant_of_shape_attrs[] = {{"value", FY_ATTR_TENSOR, NULL}, {0}};
const fy_op fy_op_constant_of_shape = {.name = "ConstantOfShape", .domain = "", .attrs = constant_of_shape_attrs, .min_in = 1, .max_in = 1, .min_out = 1,
    .max_out = 1, .since = 25, .first = 9, .types = "T=*|i64|T", .infer = infer_constant_of_shape, .ref = ref_constant_of_shape, .flags = FY_PURE};

/* ---- Range --------------------------------------------------------------------------------------------------------- */

/* max(ceil((limit - start) / delta), 0) for integers, without leaving 64 bits. */
static int64_t range_count(int64_t start, int64_t limit, int64_t delta) {
    if (delta > 0 ? limit <= start : limit >= start) return 0;
    uint64_t span = delta > 0 ? (uint64_t)limit - (uint64_t)start : (uint64_t)start - (uint64_t)limit;
    uint64_t step = delta > 0 ? (uint64_t)delta : 0 - (uint64_t)delta;
    uint64_t n = (span - 1) / step + 1;
    return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

static fy_status infer_range_float(fy_infer *f, fy_dtype t) {
    double start, limit, delta;
    const fy_dim *n;
    if (!fy_in_f64(f, 0, 0, &start) || !fy_in_f64(f, 1, 0, &limit) || !fy_in_f64(f, 2, 0, &delta)) return fy_mv_unknown(f, 0, t, 1);
    FY_NEED(f->e, delta != 0 && isfinite(start) && isfinite(limit) && !isnan(delta), VALUE, "a range from %g to %g by %g", start, limit,
            delta);
    double count = ceil((limit - start) / delta);
    FY_NEED(f->e, count < 0x1p48, LIMIT, "a range of %g elements", count);
    n = fy_mv_const(f, count > 0 ? (int64_t)count : 0);
    return fy_out_set(f, 0, t, 1, &n);
}

static fy_status infer_range(fy_infer *f) {
    fy_dtype t = fy_in_dtype(f, 0) ? fy_in_dtype(f, 0) : fy_in_dtype(f, 1);
    const fy_dim *const *s, *const *l, *const *d, *n;
    int64_t ns, nl, nd, start, limit, delta, count;
    for (int i = 0; i < 3; i++)
        FY_NEED(f->e, fy_in_rank(f, i) <= 1, SHAPE, "input %d has rank %d; it must be a scalar", i, fy_in_rank(f, i));
    if (fy_dtype_float(t)) return infer_range_float(f, t);
    s = fy_in_elems(f, 0, &ns);
    l = fy_in_elems(f, 1, &nl);
    d = fy_in_elems(f, 2, &nd);
    FY_NEED(f->e, (!s || ns == 1) && (!l || nl == 1) && (!d || nd == 1), SHAPE, "start, limit and delta must have one element");
    if (!d || !fy_dim_known(d[0], &delta) || !s || !l) return fy_mv_unknown(f, 0, t, 1);
    FY_NEED(f->e, delta, VALUE, "delta is 0");
    bool ks = fy_dim_known(s[0], &start);
    if (ks && fy_dim_known(l[0], &limit)) {
        count = range_count(start, limit, delta);
        FY_NEED(f->e, count <= (int64_t)1 << 48, LIMIT, "a range of %lld elements", (long long)count);
        n = fy_mv_const(f, count);
    } else if (delta > 0) n = fy_mv_clamp0(f, fy_dim_ceildiv(f->dims, fy_dim_sub(f->dims, l[0], s[0]), d[0]));
    else if (delta > INT64_MIN) n = fy_mv_clamp0(f, fy_dim_ceildiv(f->dims, fy_dim_sub(f->dims, s[0], l[0]), fy_mv_const(f, -delta)));
    else n = fy_mv_opaque(f);
    FY_TRY(fy_out_set(f, 0, t, 1, &n));
    if (!fy_dim_known(n, &count) || count > FY_MAX_ELEM) return FY_OK;
    const fy_dim **e = FY_NEWN(f->arena, const fy_dim *, count);
    FY_NOMEM(f->e, e);
    for (int64_t i = 0; i < count; i++) e[i] = i ? fy_dim_addi(f->dims, e[i - 1], delta) : s[0];
    return fy_out_elems(f, 0, count, e);
}

static fy_status ref_range(const fy_call *c) {
    fy_tensor *y;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    int64_t n = fy_count(y);
    if (fy_dtype_float(y->dtype)) {
        double start = fy_get_f64(fy_arg(c, 0), 0), delta = fy_get_f64(fy_arg(c, 2), 0);
        for (int64_t i = 0; i < n; i++) fy_put_f64(y, i, start + (double)i * delta);
        return FY_OK;
    }
    uint64_t at = (uint64_t)fy_get_i64(fy_arg(c, 0), 0), delta = (uint64_t)fy_get_i64(fy_arg(c, 2), 0);
    for (int64_t i = 0; i < n; i++, at += delta) fy_put_i64(y, i, (int64_t)at);
    return FY_OK;
}

static const fy_attr_spec range_attrs[] = {{"stash_type", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_range = {.name = "Range", .domain = "", .attrs = range_attrs, .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1, .since = 27,
    .first = 11, .types = "T=f32,f64,f16,bf16,i16,i32,i64|T,T,T|T", .infer = infer_range, .ref = ref_range, .flags = FY_PURE};

/* ---- EyeLike ------------------------------------------------------------------------------------------------------- */

static fy_status infer_eye_like(fy_infer *f) {
    const fy_attr *a = fy_attr_get(f->node, "dtype");
    fy_dtype t = a ? (fy_dtype)a->i : fy_in_dtype(f, 0);
    FY_NEED(f->e, !a || (a->i > 0 && a->i <= FERRY_FLOAT6E3M2 && fy_dtype_class((fy_dtype)a->i) != FY_CLASS_S &&
            fy_dtype_class((fy_dtype)a->i) != FY_CLASS_C), ATTR, "dtype is %lld", (long long)a->i);
    FY_NEED(f->e, fy_in_rank(f, 0) == 2 || fy_in_rank(f, 0) < 0, SHAPE, "the input has rank %d; it must be a matrix", fy_in_rank(f, 0));
    FY_NEED(f->e, !t || (fy_dtype_class(t) != FY_CLASS_S && fy_dtype_class(t) != FY_CLASS_C), TYPE, "EyeLike makes numbers, not %s",
            fy_dtype_name(t));
    return fy_in_rank(f, 0) < 0 ? fy_mv_unknown(f, 0, t, 2) : fy_out_set(f, 0, t, 2, fy_in_dims(f, 0));
}

static fy_status ref_eye_like(const fy_call *c) {
    fy_tensor *y;
    int64_t k = fy_attr_i(c->node, "k");
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    fy_mv_zero(y);
    for (int64_t i = 0; i < y->dim[0]; i++) {
        int64_t j;
        if (fy_add_i64(&j, i, k) && j >= 0 && j < y->dim[1]) fy_put_f64(y, i * y->dim[1] + j, 1);
    }
    return FY_OK;
}

static const fy_attr_spec eye_like_attrs[] = { {"dtype", FY_ATTR_INT, NULL}, {"k", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_eye_like = {.name = "EyeLike", .domain = "", .attrs = eye_like_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 22,
    .first = 9, .infer = infer_eye_like, .ref = ref_eye_like, .flags = FY_PURE};
