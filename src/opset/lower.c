/* SPDX-License-Identifier: Apache-2.0
 * lower.c - adapters to older forms where the operator stays or becomes a few data movements. */
#include "opset/internal.h"

#include <string.h>

#define TOP INT64_MAX                    /* as an end of a slice: to the end */

/* Shape(start, end) -> Slice(Shape) */
fy_status fy_lower_shape15(fy_step_ctx *x) {
    int64_t start = fy_step_int(x, "start", 0), end = fy_step_int(x, "end", TOP);
    if (!start && end == TOP) {
        if (!x->dry) fy_node_del_attr(x->n, "start");
        return FY_OK;
    }
    FY_OPSET_REPLACES(x);
    fy_value *s = fy_emit(&x->b, "Shape", FY_V(fy_in(x->n, 0)), FY_NOATTR);
    return fy_step_replace(x, fy_step_slice(&x->b, s, 0, start, end));
}

/* Reduce*: axes as an input -> as an attribute */
fy_status fy_lower_axes18(fy_step_ctx *x) {
    int64_t axes[FY_MAX_RANK], n = 0;
    bool noop = fy_step_int(x, "noop_with_empty_axes", 0);
    if (fy_step_has(x, 1) && !fy_step_ints(x, 1, axes, FY_MAX_RANK, &n) && fy_step_known(fy_in(x->n, 1), 0) != 0) return fy_step_reduce_computed(x);
    if (!n && noop) {
        static const char *const same[] = {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"};
        bool plain = false;
        for (int i = 0; i < FY_COUNT(same); i++) plain |= !strcmp(x->n->op->name, same[i]);
        FY_STEP_NEED(x, plain, "noop_with_empty_axes came with opset 18");
        FY_OPSET_REPLACES(x);
        return fy_step_replace(x, fy_emit(&x->b, "Identity", FY_V(fy_in(x->n, 0)), FY_NOATTR));
    }
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "noop_with_empty_axes");
    FY_TRY(fy_step_set_in(x, 1, NULL));
    return n ? fy_step_set_attr(x, fy_ints("axes", n, axes)) : FY_OK;
}

fy_status fy_lower_roi_align16(fy_step_ctx *x) {
    FY_STEP_NEED(x, fy_step_text(x, "coordinate_transformation_mode", "output_half_pixel", "half_pixel"), "coordinate mode half_pixel came with opset 16");
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "coordinate_transformation_mode");
    return FY_OK;
}

fy_status fy_lower_cast_like15(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 1);
    FY_STEP_NEED(x, t, "CastLike came with opset 15, and the type to cast to is not known");
    FY_OPSET_REPLACES(x);
    return fy_step_replace(x, fy_emit(&x->b, "Cast", FY_V(fy_in(x->n, 0)), FY_A(fy_int("to", t))));
}

/* x where the column is on the wanted side of row + k, else 0 */
fy_status fy_lower_trilu14(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0);
    FY_STEP_NEED(x, t && t != FERRY_STRING, "Trilu came with opset 14, and the type is not known");
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_value *v = fy_in(x->n, 0), *k = fy_in(x->n, 1), *zero = fy_k_i64(b, 0), *one = fy_k_i64(b, 1);
    fy_value *row = fy_b_unsqueeze(b, fy_emit(b, "Range", FY_V(zero, fy_step_size(b, v, -2), one), FY_NOATTR), 1);
    fy_value *col = fy_emit(b, "Range", FY_V(zero, fy_step_size(b, v, -1), one), FY_NOATTR);
    if (k) row = fy_emit(b, "Add", FY_V(row, fy_emit(b, "Reshape", FY_V(k, fy_k_ints(b, 0, NULL)), FY_NOATTR)), FY_NOATTR);
    fy_value *keep = fy_emit(b, fy_step_int(x, "upper", 1) ? "GreaterOrEqual" : "LessOrEqual", FY_V(col, row), FY_NOATTR);
    return fy_step_replace(x, t == FERRY_BOOL ? fy_emit(b, "And", FY_V(keep, v), FY_NOATTR)
                                              : fy_emit(b, "Where", FY_V(keep, v, fy_k_scalar_i(b, t, 0)), FY_NOATTR));
}

/* ~x = -1 - x; of unsigned numbers: greatest - x */
fy_status fy_lower_bitwise_not18(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0);
    FY_STEP_NEED(x, fy_dtype_int(t), "BitwiseNot came with opset 18, and the type is not known");
    FY_OPSET_REPLACES(x);
    return fy_step_replace(x, fy_emit(&x->b, "Sub", FY_V(fy_k_scalar_i(&x->b, t, -1), fy_in(x->n, 0)), FY_NOATTR));
}

/* 0 or 1 for each of the low `bits` bits along a new last axis: s - 2 * (s >> 1) with s = x >> k, all modulo 2^64. */
static fy_value *bits_of(fy_step_ctx *x, fy_value *v, fy_value *shift, fy_value *one) {
    fy_build *b = &x->b;
    if (v->type.dtype != FERRY_UINT64) v = fy_b_cast(b, fy_b_cast(b, v, FERRY_INT64), FERRY_UINT64);      /* the sign in all higher bits */
    fy_value *u = fy_b_unsqueeze(b, v, -1);
    fy_value *s = fy_emit(b, "BitShift", FY_V(u, shift), FY_A(fy_text("direction", "RIGHT")));
    fy_value *h = fy_emit(b, "BitShift", FY_V(s, one), FY_A(fy_text("direction", "RIGHT")));
    s = fy_b_cast(b, s, FERRY_INT64);
    h = fy_b_cast(b, h, FERRY_INT64);
    return fy_emit(b, "Sub", FY_V(s, fy_emit(b, "Add", FY_V(h, h), FY_NOATTR)), FY_NOATTR);
}

/* And = pq, Or = p + q - pq, Xor = p + q - 2pq of single bits, put together again. */
fy_status fy_lower_bitwise18(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0);
    FY_STEP_NEED(x, fy_dtype_int(t), "%s of %s came with opset 18", x->n->op->name, t ? fy_dtype_name(t) : "an unknown type");
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    int64_t weight[64];
    uint64_t index[64];
    int bits = t == FERRY_UINT32 || t == FERRY_INT64 || t == FERRY_UINT64 ? 64 : fy_dtype_bits(t) > 16 ? 32 : fy_dtype_bits(t);
    int64_t n = bits;
    for (int i = 0; i < bits; i++) index[i] = (uint64_t)i, weight[i] = (int64_t)((uint64_t)1 << i);
    if (fy_dtype_class(t) == FY_CLASS_I && bits < 64) weight[bits - 1] = -weight[bits - 1];     /* the sign */
    const fy_const *k = fy_const_copy(&x->m->arena, FERRY_UINT64, 1, &n, index);
    FY_NOMEM(x->e, k);
    fy_value *shift = fy_k_const(b, k, NULL), *one = fy_k_scalar_i(b, FERRY_UINT64, 1);
    fy_value *p = bits_of(x, fy_in(x->n, 0), shift, one), *q = bits_of(x, fy_in(x->n, 1), shift, one);
    fy_value *r = fy_emit(b, "Mul", FY_V(p, q), FY_NOATTR);
    if (strcmp(x->n->op->name, "BitwiseAnd")) {
        fy_value *both = strcmp(x->n->op->name, "BitwiseOr") ? fy_emit(b, "Add", FY_V(r, r), FY_NOATTR) : r;
        r = fy_emit(b, "Sub", FY_V(fy_emit(b, "Add", FY_V(p, q), FY_NOATTR), both), FY_NOATTR);
    }
    r = fy_emit(b, "Mul", FY_V(r, fy_k_ints(b, n, weight)), FY_NOATTR);
    int64_t last = -1;
    r = fy_emit(b, "ReduceSum", FY_V(r, fy_k_ints(b, 1, &last)), FY_A(fy_int("keepdims", 0)));
    return fy_step_replace(x, fy_b_cast(b, r, t));
}

/* Since 28 a float remainder may have the sign of the divisor: what fmod leaves, moved by one divisor where the signs differ. */
fy_status fy_lower_mod28(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0);
    if (fy_step_int(x, "fmod", 0) || !fy_dtype_float(t)) return FY_OK;
    FY_OPSET_REPLACES(x);
    fy_value *q = fy_in(x->n, 1), *zero = fy_k_scalar(&x->b, t, 0), *r = fy_emit(&x->b, "Mod", FY_V(fy_in(x->n, 0), q), FY_A(fy_int("fmod", 1)));
    fy_value *apart = fy_x2(x, "Xor", fy_x2(x, "Less", r, zero), fy_x2(x, "Less", q, zero));
    apart = fy_x2(x, "And", apart, fy_x1(x, "Not", fy_x2(x, "Equal", r, zero)));
    return fy_step_replace(x, fy_x3(x, "Where", apart, fy_x2(x, "Add", r, q), r));
}
