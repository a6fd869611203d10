/* SPDX-License-Identifier: Apache-2.0
 * lower_quant.c - QuantizeLinear and DequantizeLinear: blocks, 16-bit and narrower integers, other types of scale and result, written out as
 * their formulas. A type that the older opset lacks altogether can be the type of a constant only, which is widened here. */
#include "opset/internal.h"

#include <string.h>

static bool narrow(fy_dtype t) { return fy_dtype_bits(t) < 8 || (t >= FERRY_FLOAT8E4M3FN && t <= FERRY_FLOAT8E5M2FNUZ) || t == FERRY_FLOAT8E8M0; }

/* May the input be read as f32 there? Constants can always be. */
static bool readable(const fy_step_ctx *x, int i) {
    const fy_value *v = fy_in(x->n, i);
    return !v || v->constant || (v->type.kind == FY_TENSOR && v->type.dtype && fy_types_cast(v->type.dtype, x->target));
}

static fy_value *as_float(fy_step_ctx *x, int i) {
    fy_value *v = fy_in(x->n, i);
    if (!v || !v->constant) return v ? fy_b_cast(&x->b, v, FERRY_FLOAT) : NULL;
    const fy_const *c = fy_const_cast(&x->m->arena, v->constant, FERRY_FLOAT);
    return c ? fy_k_const(&x->b, c, NULL) : fy_fail_value(&x->b, FY_E_NOMEM, "out of memory");
}

static fy_status can(fy_step_ctx *x) {
    const fy_value *s = fy_in(x->n, 1);
    FY_STEP_NEED(x, fy_step_rank(x, 0) >= 0 && s && s->type.kind == FY_TENSOR && s->type.rank >= 0, "it must be written out for this opset, and ranks are not known");
    int rank = fy_step_rank(x, 0);
    if (rank > 1) FY_TRY(fy_step_axis(x, fy_step_int(x, "axis", 1), rank));
    FY_NEED(x->e, fy_step_int(x, "block_size", 0) >= 0, ATTR, "%s: blocks of %lld", x->n->op->name, (long long)fy_step_int(x, "block_size", 0));
    for (int i = 0; i < 3; i++)
        FY_STEP_NEED(x, readable(x, i), "%s of %s is not possible there: input %d is computed", x->n->op->name, fy_dtype_name(fy_step_dtype(x, i)), i);
    return FY_OK;
}

/* Scales or zero points in the shape of x, as far as broadcasting needs it: one for all, one for each index of the axis, one for each block. */
static fy_value *spread(fy_step_ctx *x, fy_value *v) {
    int rank = fy_step_rank(x, 0), n = 0;
    int64_t axis = fy_step_int(x, "axis", 1), block = fy_step_int(x, "block_size", 0), more[FY_MAX_RANK];
    if (!v || v->type.rank == 0 || rank < 1) return v;
    if (axis < 0) axis += rank;
    if (rank == 1) axis = 0;
    if (block) {
        fy_value *at = fy_x2(x, "Div", fy_step_iota(&x->b, fy_step_size(&x->b, fy_in(x->n, 0), axis)), fy_k_i64(&x->b, block));
        return fy_emit(&x->b, "Gather", FY_V(v, at), FY_A(fy_int("axis", axis)));
    }
    if (fy_step_known(v, 0) == 1 && v->type.rank == 1) return v;
    for (int64_t a = axis + 1; a < rank; a++, n++) more[n] = n + 1;
    return n ? fy_x2(x, "Unsqueeze", v, fy_k_ints(&x->b, n, more)) : v;
}

/* (x - zero) * scale */
static fy_status dequantize(fy_step_ctx *x) {
    fy_dtype s = fy_step_dtype(x, 1), t = (fy_dtype)fy_step_int(x, "output_dtype", 0);
    FY_TRY(can(x));
    if (!t) t = s == FERRY_FLOAT8E8M0 || !s ? FERRY_FLOAT : s;
    FY_OPSET_REPLACES(x);
    fy_value *v = as_float(x, 0), *zero = spread(x, as_float(x, 2));
    if (zero) v = fy_x2(x, "Sub", v, zero);
    return fy_step_replace(x, fy_b_cast(&x->b, fy_x2(x, "Mul", v, spread(x, as_float(x, 1))), t));
}

/* saturate(round(x / scale) + zero), the quotient in the type of the scale */
static fy_status quantize(fy_step_ctx *x) {
    fy_build *b = &x->b;
    const fy_value *y = fy_outv(x->n, 0);
    fy_dtype t = y && y->type.kind == FY_TENSOR ? y->type.dtype : FERRY_UNDEFINED, s = fy_step_dtype(x, 1), p = (fy_dtype)fy_step_int(x, "precision", 0);
    FY_TRY(can(x));
    FY_STEP_NEED(x, fy_dtype_int(t) && fy_types_cast(t, x->target), "QuantizeLinear to %s is not possible there", t ? fy_dtype_name(t) : "an unknown type");
    FY_OPSET_REPLACES(x);
    if (!p) p = fy_dtype_float(s) && s != FERRY_FLOAT8E8M0 ? s : FERRY_FLOAT;
    bool sign = fy_dtype_class(t) == FY_CLASS_I;
    int bits = fy_dtype_bits(t);
    double lo = sign ? -(double)((int64_t)1 << (bits - 1)) : 0, hi = (double)((int64_t)1 << (sign ? bits - 1 : bits)) - 1;
    fy_value *v = fy_x2(x, "Div", as_float(x, 0), spread(x, as_float(x, 1))), *zero = spread(x, as_float(x, 2));
    v = fy_x1(x, "Round", fy_b_cast(b, fy_b_cast(b, v, p), FERRY_FLOAT));
    if (zero) v = fy_x2(x, "Add", v, zero);
    v = fy_x3(x, "Clip", v, fy_k_scalar(b, FERRY_FLOAT, lo), fy_k_scalar(b, FERRY_FLOAT, hi));
    return fy_step_replace(x, fy_b_cast(b, v, t));
}

static bool drop_if(fy_step_ctx *x, const char *attr, int64_t a, int64_t b) {
    int64_t v = fy_step_int(x, attr, 0);
    if (v != a && v != b) return false;
    if (!x->dry) fy_node_del_attr(x->n, attr);
    return true;
}

static bool sixteen(fy_dtype t) { return t == FERRY_INT16 || t == FERRY_UINT16; }

/* 19 to 25 widened what x may be, step by step; 24 the scale: f8e8m0. */
fy_status fy_lower_dequantize_types(fy_step_ctx *x) {
    return narrow(fy_step_dtype(x, 0)) || fy_step_dtype(x, 1) == FERRY_FLOAT8E8M0 ? dequantize(x) : FY_OK;
}
fy_status fy_lower_dequantize25(fy_step_ctx *x) { return fy_dtype_bits(fy_step_dtype(x, 0)) == 2 ? dequantize(x) : FY_OK; }
fy_status fy_lower_dequantize24(fy_step_ctx *x) { return fy_step_dtype(x, 1) == FERRY_FLOAT8E8M0 ? dequantize(x) : FY_OK; }
fy_status fy_lower_dequantize23(fy_step_ctx *x) {
    if (fy_step_dtype(x, 0) == FERRY_FLOAT4E2M1) return dequantize(x);
    return drop_if(x, "output_dtype", 0, fy_step_dtype(x, 1)) ? FY_OK : dequantize(x);
}
fy_status fy_lower_dequantize21(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0);
    if (sixteen(t) || fy_dtype_bits(t) == 4) return dequantize(x);
    return drop_if(x, "block_size", 0, 0) ? FY_OK : dequantize(x);
}

fy_status fy_lower_quantize23(fy_step_ctx *x) { return drop_if(x, "precision", 0, fy_step_dtype(x, 1)) ? FY_OK : quantize(x); }

/* output_dtype -> a zero point of that type */
fy_status fy_lower_quantize21(fy_step_ctx *x) {
    fy_dtype t = (fy_dtype)fy_step_int(x, "output_dtype", 0);
    const fy_value *scale = fy_in(x->n, 1), *y = fy_outv(x->n, 0);
    int64_t dim[FY_MAX_RANK];
    bool need = t && !fy_step_has(x, 2) && t != FERRY_UINT8, known = scale && scale->type.kind == FY_TENSOR && scale->type.rank >= 0;
    FY_STEP_NEED(x, !t || (fy_dtype_bits(t) && fy_dtype_class(t) != FY_CLASS_C), "output_dtype is %lld, which is none", (long long)fy_step_int(x, "output_dtype", 0));
    if (fy_step_int(x, "block_size", 0) || (y && y->type.kind == FY_TENSOR && sixteen(y->type.dtype))) return quantize(x);
    for (int i = 0; need && known && i < scale->type.rank; i++) known = fy_dim_known(scale->type.dim[i], &dim[i]);
    if (need && !known) return quantize(x);
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "output_dtype");
    fy_node_del_attr(x->n, "block_size");
    if (!need) return FY_OK;
    const fy_const *zero = fy_const_splat(&x->m->arena, t, scale->type.rank, dim, 0);
    FY_NOMEM(x->e, zero);
    return fy_step_set_in(x, 2, fy_k_const(&x->b, zero, NULL));
}
