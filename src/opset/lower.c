/* SPDX-License-Identifier: Apache-2.0
 * lower.c - adapters to older forms where the operator stays or becomes a few data movements. */
#include "opset/internal.h"

#include <string.h>

#define TOP INT64_MAX                    /* as an end of a slice: to the end */

static fy_value *slice1(fy_build *b, fy_value *x, int axis, int64_t begin, int64_t end) {
    return fy_b_slice(b, x, axis, fy_k_ints(b, 1, &begin), fy_k_ints(b, 1, &end), NULL);
}

fy_status fy_lower_batch_norm14(fy_step_ctx *x) {
    FY_STEP_NEED(x, !fy_step_int(x, "training_mode", 0) && !fy_outv(x->n, 1) && !fy_outv(x->n, 2), "training mode came with opset 14");
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "training_mode");
    return FY_OK;
}

/* Shape(start, end) -> Slice(Shape) */
fy_status fy_lower_shape15(fy_step_ctx *x) {
    int64_t start = fy_step_int(x, "start", 0), end = fy_step_int(x, "end", TOP);
    if (!start && end == TOP) {
        if (!x->dry) fy_node_del_attr(x->n, "start");
        return FY_OK;
    }
    FY_OPSET_REPLACES(x);
    fy_value *s = fy_emit(&x->b, "Shape", FY_V(fy_in(x->n, 0)), FY_NOATTR);
    return fy_step_replace(x, slice1(&x->b, s, 0, start, end));
}

/* num_outputs -> sizes, unless the axis divides evenly */
fy_status fy_lower_split18(fy_step_ctx *x) {
    int64_t axis = fy_step_int(x, "axis", 0), n = x->n->nout;
    if (!fy_attr_get(x->n, "num_outputs")) return FY_OK;
    const fy_dim *d = fy_step_dim(x, 0, (int)axis);
    FY_STEP_NEED(x, d, "num_outputs came with opset 18, and the size of axis %lld is not known", (long long)axis);
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "num_outputs");
    if (fy_step_has(x, 1) || n < 1 || fy_dim_divisible(d, n)) return FY_OK;
    const fy_dim *part = fy_dim_ceildiv(x->m->dims, d, fy_dim_const(x->m->dims, n));
    const fy_dim *last = fy_dim_sub(x->m->dims, d, fy_dim_muli(x->m->dims, part, n - 1));
    const fy_dim **dim = FY_NEWN(&x->m->arena, const fy_dim *, n);
    FY_NEED(x->e, part && last && dim, NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) dim[i] = i < n - 1 ? part : last;
    return fy_step_set_in(x, 1, fy_b_dims(&x->b, (int)n, dim));
}

/* Reduce*: axes as an input -> as an attribute */
fy_status fy_lower_axes18(fy_step_ctx *x) {
    int64_t axes[FY_MAX_RANK], n = 0;
    bool noop = fy_step_int(x, "noop_with_empty_axes", 0);
    FY_STEP_NEED(x, !fy_step_has(x, 1) || fy_step_ints(x, 1, axes, FY_MAX_RANK, &n), "axes that are computed came with opset 18");
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

/* Pad with an axes input -> pads for every axis */
fy_status fy_lower_pad18(fy_step_ctx *x) {
    int64_t axes[FY_MAX_RANK], n = 0, pads[2 * FY_MAX_RANK], np = 0, full[2 * FY_MAX_RANK] = {0};
    int rank = fy_step_rank(x, 0);
    if (!fy_step_has(x, 3)) return FY_OK;
    FY_STEP_NEED(x, rank >= 0 && fy_step_ints(x, 3, axes, FY_MAX_RANK, &n), "axes of Pad came with opset 18, and rank or axes are not known");
    for (int64_t i = 0; i < n; i++) {
        if (axes[i] < 0) axes[i] += rank;
        FY_NEED(x->e, axes[i] >= 0 && axes[i] < rank, AXIS, "Pad: axis %lld of rank %d", (long long)axes[i], rank);
    }
    bool known = fy_step_ints(x, 1, pads, 2 * FY_MAX_RANK, &np);
    FY_NEED(x->e, !known || np == 2 * n, SHAPE, "Pad: %lld pads for %lld axes", (long long)np, (long long)n);
    FY_OPSET_CHECKED(x);
    fy_value *v;
    fy_build *b = &x->b;
    if (known) {
        for (int64_t i = 0; i < n; i++) full[axes[i]] = pads[i], full[axes[i] + rank] = pads[n + i];
        v = fy_k_ints(b, 2 * rank, full);
    } else {
        for (int64_t i = 0; i < n; i++) pads[i] = axes[i], pads[n + i] = axes[i] + rank;
        v = fy_emit(b, "ScatterElements", FY_V(fy_k_ints(b, 2 * rank, full), fy_k_ints(b, 2 * n, pads), fy_in(x->n, 1)), FY_NOATTR);
    }
    FY_TRY(fy_step_set_in(x, 3, NULL));
    return fy_step_set_in(x, 1, v);
}

/* mode wrap -> the end, all, the beginning, axis by axis */
fy_status fy_lower_pad19(fy_step_ctx *x) {
    int64_t pads[2 * FY_MAX_RANK], axes[FY_MAX_RANK], n = 0, na = 0;
    int rank = fy_step_rank(x, 0);
    if (!fy_step_text(x, "mode", "wrap", "constant")) return FY_OK;
    FY_STEP_NEED(x, rank >= 0 && fy_step_ints(x, 1, pads, 2 * FY_MAX_RANK, &n), "mode wrap came with opset 19, and the pads are not constant");
    FY_STEP_NEED(x, !fy_step_has(x, 3) || fy_step_ints(x, 3, axes, FY_MAX_RANK, &na), "mode wrap came with opset 19, and the axes are not constant");
    if (!fy_step_has(x, 3)) for (na = 0; na < rank; na++) axes[na] = na;
    FY_NEED(x->e, n == 2 * na, SHAPE, "Pad: %lld pads for %lld axes", (long long)n, (long long)na);
    for (int64_t i = 0; i < n; i++) FY_STEP_NEED(x, pads[i] >= 0, "mode wrap with negative pads came with opset 19");
    FY_OPSET_REPLACES(x);
    fy_value *v = fy_in(x->n, 0);
    for (int64_t i = 0; i < na; i++) {
        fy_value *part[3];
        int k = 0;
        if (pads[i]) part[k++] = slice1(&x->b, v, (int)axes[i], -pads[i], TOP);
        part[k++] = v;
        if (pads[na + i]) part[k++] = slice1(&x->b, v, (int)axes[i], 0, pads[na + i]);
        if (k > 1) v = fy_b_concat(&x->b, k, part, (int)axes[i]);
    }
    if (v == fy_in(x->n, 0)) v = fy_emit(&x->b, "Identity", FY_V(v), FY_NOATTR);
    return fy_step_replace(x, v);
}

/* Resize with axes -> scales or sizes for every axis */
fy_status fy_lower_resize18(fy_step_ctx *x) {
    int rank = fy_step_rank(x, 0);
    int64_t n;
    const int64_t *axes = fy_attr_ints(x->n, "axes", &n);
    if (!axes) return FY_OK;
    FY_STEP_NEED(x, rank > 0 && !fy_step_has(x, 1), "axes of Resize came with opset 18, and %s", rank > 0 ? "roi is given" : "the rank is not known");
    int at[FY_MAX_RANK];
    for (int i = 0; i < rank; i++) at[i] = -1;
    for (int64_t i = 0; i < n; i++) {
        int64_t a = axes[i] < 0 ? axes[i] + rank : axes[i];
        FY_NEED(x->e, a >= 0 && a < rank, AXIS, "Resize: axis %lld of rank %d", (long long)axes[i], rank);
        at[a] = (int)i;
    }
    FY_OPSET_CHECKED(x);
    fy_build *b = &x->b;
    bool sizes = fy_step_has(x, 3);
    fy_value *from = fy_in(x->n, sizes ? 3 : 2), *part[FY_MAX_RANK], *shape = NULL;
    fy_value *one = sizes ? NULL : fy_b_unsqueeze(b, fy_k_scalar(b, FERRY_FLOAT, 1), 0);
    if (sizes) shape = fy_emit(b, "Shape", FY_V(fy_in(x->n, 0)), FY_NOATTR);
    for (int i = 0; i < rank; i++) part[i] = at[i] >= 0 ? slice1(b, from, 0, at[i], at[i] + 1) : sizes ? slice1(b, shape, 0, i, i + 1) : one;
    fy_value *full = fy_b_concat(b, rank, part, 0);
    fy_node_del_attr(x->n, "axes");
    return fy_step_set_in(x, sizes ? 3 : 2, full);
}

fy_status fy_lower_resize19(fy_step_ctx *x) {
    FY_STEP_NEED(x, !fy_step_text(x, "coordinate_transformation_mode", "half_pixel_symmetric", "half_pixel"), "mode half_pixel_symmetric came with opset 19");
    return FY_OK;
}

/* allowzero: a 0 in the shape means 0, not "copy". Where the shape holds no 0 both agree. */
fy_status fy_lower_reshape14(fy_step_ctx *x) {
    if (fy_step_int(x, "allowzero", 0)) {
        int64_t v[FY_MAX_RANK], n = 0;
        const fy_value *s = fy_in(x->n, 1);
        bool known = fy_step_ints(x, 1, v, FY_MAX_RANK, &n);
        FY_STEP_NEED(x, known || (s && s->elem), "allowzero came with opset 14, and the shape is computed");
        for (int64_t i = 0; i < (known ? n : s->nelem); i++) {
            bool zero = known ? v[i] == 0 : s->elem[i] && fy_dim_is(s->elem[i], 0);
            const fy_dim *same = fy_step_dim(x, 0, (int)i);
            FY_STEP_NEED(x, !zero || (same && fy_dim_is(same, 0)), "allowzero with a size of 0 came with opset 14");
        }
    }
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "allowzero");
    return FY_OK;
}

fy_status fy_lower_scatter18(fy_step_ctx *x) {
    FY_STEP_NEED(x, !fy_step_text(x, "reduction", "max", "none") && !fy_step_text(x, "reduction", "min", "none"), "reductions max and min came with opset 18");
    return FY_OK;
}

fy_status fy_lower_grid_sample20(fy_step_ctx *x) {
    FY_STEP_NEED(x, fy_step_rank(x, 0) == 4, "inputs of other than 4 dimensions came with opset 20");
    FY_OPSET_CHECKED(x);
    if (fy_step_text(x, "mode", "linear", "linear")) return fy_step_set_attr(x, fy_text("mode", "bilinear"));
    if (fy_step_text(x, "mode", "cubic", "linear")) return fy_step_set_attr(x, fy_text("mode", "bicubic"));
    return FY_OK;
}

fy_status fy_lower_roi_align16(fy_step_ctx *x) {
    FY_STEP_NEED(x, fy_step_text(x, "coordinate_transformation_mode", "output_half_pixel", "half_pixel"), "coordinate mode half_pixel came with opset 16");
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "coordinate_transformation_mode");
    return FY_OK;
}

fy_status fy_lower_dft20(fy_step_ctx *x) {
    int64_t axis = -2, n = 1;
    FY_STEP_NEED(x, !fy_step_has(x, 2) || (fy_step_ints(x, 2, &axis, 1, &n) && n == 1), "an axis that is computed came with opset 20");
    int rank = fy_step_rank(x, 0);
    FY_STEP_NEED(x, axis >= 0 || rank > 0, "the axis counts from the end, which came with opset 20, and the rank is not known");
    FY_OPSET_CHECKED(x);
    FY_TRY(fy_step_set_in(x, 2, NULL));
    return fy_step_set_attr(x, fy_int("axis", axis < 0 ? axis + rank : axis));
}

fy_status fy_lower_cast_like15(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 1);
    FY_STEP_NEED(x, t, "CastLike came with opset 15, and the type to cast to is not known");
    FY_OPSET_REPLACES(x);
    return fy_step_replace(x, fy_emit(&x->b, "Cast", FY_V(fy_in(x->n, 0)), FY_A(fy_int("to", t))));
}

/* A 0-d value with the size of an axis. */
static fy_value *size_of(fy_step_ctx *x, fy_value *v, int axis) {
    int64_t known;
    if (v->type.kind == FY_TENSOR && v->type.rank >= 0) {
        int a = axis < 0 ? axis + v->type.rank : axis;
        if (a >= 0 && a < v->type.rank && fy_dim_known(v->type.dim[a], &known)) return fy_k_i64(&x->b, known);
    }
    return fy_emit(&x->b, "Gather", FY_V(fy_emit(&x->b, "Shape", FY_V(v), FY_NOATTR), fy_k_i64(&x->b, axis)), FY_A(fy_int("axis", 0)));
}

/* x where the column is on the wanted side of row + k, else 0 */
fy_status fy_lower_trilu14(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0);
    FY_STEP_NEED(x, t && t != FERRY_STRING, "Trilu came with opset 14, and the type is not known");
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_value *v = fy_in(x->n, 0), *k = fy_in(x->n, 1), *zero = fy_k_i64(b, 0), *one = fy_k_i64(b, 1);
    fy_value *row = fy_b_unsqueeze(b, fy_emit(b, "Range", FY_V(zero, size_of(x, v, -2), one), FY_NOATTR), 1);
    fy_value *col = fy_emit(b, "Range", FY_V(zero, size_of(x, v, -1), one), FY_NOATTR);
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
    fy_value *u = fy_b_unsqueeze(b, fy_b_cast(b, fy_b_cast(b, v, FERRY_INT64), FERRY_UINT64), -1);
    fy_value *s = fy_emit(b, "BitShift", FY_V(u, shift), FY_A(fy_text("direction", "RIGHT")));
    fy_value *h = fy_emit(b, "BitShift", FY_V(s, one), FY_A(fy_text("direction", "RIGHT")));
    s = fy_b_cast(b, s, FERRY_INT64);
    h = fy_b_cast(b, h, FERRY_INT64);
    return fy_emit(b, "Sub", FY_V(s, fy_emit(b, "Add", FY_V(h, h), FY_NOATTR)), FY_NOATTR);
}

/* And = pq, Or = p + q - pq, Xor = p + q - 2pq of single bits, put together again. */
fy_status fy_lower_bitwise18(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0);
    FY_STEP_NEED(x, fy_dtype_int(t) && t != FERRY_UINT64, "%s of %s came with opset 18", x->n->op->name, t ? fy_dtype_name(t) : "an unknown type");
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    int64_t weight[64];
    uint64_t index[64];
    int bits = t == FERRY_UINT32 || t == FERRY_INT64 ? 64 : fy_dtype_bits(t) > 16 ? 32 : fy_dtype_bits(t);
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

fy_status fy_lower_rnn14(fy_step_ctx *x) {
    FY_STEP_NEED(x, !fy_step_int(x, "layout", 0), "layout 1 came with opset 14");
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "layout");
    return FY_OK;
}

/* output_dtype -> a zero point of that type */
fy_status fy_lower_quantize21(fy_step_ctx *x) {
    fy_dtype t = (fy_dtype)fy_step_int(x, "output_dtype", 0);
    if (!fy_attr_get(x->n, "output_dtype")) return FY_OK;
    const fy_value *scale = fy_in(x->n, 1);
    bool need = t && !fy_step_has(x, 2) && t != FERRY_UINT8;
    int64_t dim[FY_MAX_RANK];
    if (need) {
        FY_STEP_NEED(x, scale && scale->type.kind == FY_TENSOR && scale->type.rank >= 0, "output_dtype came with opset 21, and the shape of the scale is not known");
        for (int i = 0; i < scale->type.rank; i++)
            FY_STEP_NEED(x, fy_dim_known(scale->type.dim[i], &dim[i]), "output_dtype came with opset 21, and the shape of the scale is not known");
    }
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "output_dtype");
    if (!need) return FY_OK;
    const fy_const *zero = fy_const_splat(&x->m->arena, t, scale->type.rank, dim, 0);
    FY_NOMEM(x->e, zero);
    return fy_step_set_in(x, 2, fy_k_const(&x->b, zero, NULL));
}
