/* SPDX-License-Identifier: Apache-2.0
 * lower_quant.c - quantized_decomposed.* (PT2E) -> QuantizeLinear, DequantizeLinear. A range narrower than the dtype's is a
 * Clip after the former; what ONNX cannot quantise to (32 bit integers) is spelled out. */
#include "aten/lower.h"

#include <string.h>

/* The least and greatest value of what ONNX quantises to; false for other dtypes. */
static bool dtype_range(fy_dtype t, int64_t *lo, int64_t *hi) {
    switch ((int)t) {
    case FERRY_INT8:
        *lo = -128;
        *hi = 127;
        return true;
    case FERRY_UINT8:
        *lo = 0;
        *hi = 255;
        return true;
    case FERRY_INT16:
        *lo = -32768;
        *hi = 32767;
        return true;
    case FERRY_UINT16:
        *lo = 0;
        *hi = 65535;
        return true;
    default: return false;
    }
}

typedef struct quant {
    fy_value *x, *scale, *zero;
    int64_t lo, hi;
    fy_dtype t;
    int axis, rank;
} quant;

/* One scale, or one for each channel along `axis`. Per token: [.., 1] against x, which broadcasts. */
static fy_value *one_or_many(fy_lower *l, fy_value *v, bool many) {
    if (!v || many || fy_rank(l, v) == 0) return v;
    return fy_l_reshape(l, v, 0, NULL);
}

static fy_status read(fy_lower *l, quant *q) {
    bool channels = strstr(l->n->op, "_per_channel") != NULL, token = strstr(l->n->op, "_per_token") != NULL;
    const char *scale = channels || token ? "scales" : "scale", *zero = channels || token ? "zero_points" : "zero_point";
    q->x = fy_l_tensor(l, "input");
    q->rank = fy_rank(l, q->x);
    q->t = fy_l_dtype(l, "dtype", FERRY_INT8);
    q->lo = fy_l_int(l, "quant_min");
    q->hi = fy_l_int(l, "quant_max");
    q->axis = channels ? fy_l_axis(l, "axis", q->rank) : token ? -1 : 0;
    fy_operand s = fy_l_operand(l, scale), z = {.number = true, .dtype = FERRY_INT64};
    if (fy_l_has(l, zero)) z = fy_l_operand(l, zero);
    q->scale = one_or_many(l, fy_l_as(l, &s, FERRY_FLOAT), channels || token);
    q->zero = one_or_many(l, fy_l_as(l, &z, token ? FERRY_FLOAT : q->t), channels || token);
    if (q->zero && fy_rank(l, q->zero) == 0 && fy_rank(l, q->scale) == 1) /* no zero points: one for each scale */
        q->zero = fy_l_full(l, 1, q->scale->type.dim, q->zero);
    return l->b.status;
}

/* Along the channels' axis: [n] -> [n,1,..]. */
static fy_value *spread(fy_lower *l, const quant *q, fy_value *v) {
    if (q->axis < 0 || !v || fy_rank(l, v) != 1) return v;
    for (int i = q->axis + 1; i < q->rank && v; i++) v = fy_b_unsqueeze(&l->b, v, fy_rank(l, v));
    return v;
}

fy_status fy_lower_quantize(fy_lower *l) {
    quant q;
    int64_t lo, hi;
    fy_build *b = &l->b;
    FY_TRY(read(l, &q));
    if (q.axis >= 0 && dtype_range(q.t, &lo, &hi)) {
        fy_value *y = fy_emit(b, "QuantizeLinear", FY_V(q.x, q.scale, q.zero), FY_A(fy_int("axis", q.axis)));
        if (q.lo > lo || q.hi < hi)
            y = y ? fy_emit(b, "Clip", FY_V(y, fy_k_scalar_i(b, q.t, q.lo), fy_k_scalar_i(b, q.t, q.hi)), FY_NOATTR) : NULL;
        return fy_l_ret(l, y);
    }
    fy_value *y = fy_l_named_op(l, "Round", fy_l_binary(l, "Div", q.x, spread(l, &q, q.scale)));
    y = fy_l_binary(l, "Add", y, q.zero ? fy_b_cast(b, spread(l, &q, q.zero), FERRY_FLOAT) : NULL);
    y = y ? fy_emit(b, "Clip", FY_V(y, fy_k_scalar(b, FERRY_FLOAT, (double)q.lo), fy_k_scalar(b, FERRY_FLOAT, (double)q.hi)), FY_NOATTR)
          : NULL;
    return fy_l_ret(l, y ? fy_b_cast(b, y, q.t) : NULL);
}

fy_status fy_lower_dequantize(fy_lower *l) {
    quant q;
    fy_build *b = &l->b;
    FY_TRY(read(l, &q));
    fy_dtype to = fy_l_dtype(l, strstr(l->n->op, "_per_token") ? "output_dtype" : "out_dtype", FERRY_FLOAT);
    fy_value *y;
    if (q.axis >= 0)
        y = fy_emit(b, "DequantizeLinear", FY_V(q.x, q.scale, q.zero), FY_A(fy_int("axis", q.axis)));
    else
        y = fy_l_binary(l, "Mul", fy_l_binary(l, "Sub", q.x ? fy_b_cast(b, q.x, FERRY_FLOAT) : NULL, q.zero), q.scale);
    return fy_l_ret(l, y ? fy_b_cast(b, y, to) : NULL);
}

/* choose_qparams: scale and zero point of the tensor's range, which includes 0. */
fy_status fy_lower_choose_qparams(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "input");
    int64_t lo = fy_l_int(l, "quant_min"), hi = fy_l_int(l, "quant_max"), axes[FY_MAX_RANK];
    double eps = fy_l_float(l, "eps");
    fy_build *b = &l->b;
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    for (int i = 0; i < rank; i++) axes[i] = i;
    fy_value *zero = fy_k_scalar(b, FERRY_FLOAT, 0);
    fy_value *low = fy_l_binary(l, "Min", fy_l_reduce(l, "ReduceMin", x, rank, axes, false), zero),
             *high = fy_l_binary(l, "Max", fy_l_reduce(l, "ReduceMax", x, rank, axes, false), zero);
    fy_value *scale = fy_l_binary(l, "Div", fy_l_binary(l, "Sub", high, low), fy_k_scalar(b, FERRY_FLOAT, (double)(hi - lo)));
    scale = fy_l_binary(l, "Max", scale, fy_k_scalar(b, FERRY_FLOAT, eps));
    fy_value *at =
        fy_l_binary(l, "Sub", fy_k_scalar(b, FERRY_FLOAT, (double)lo), fy_l_named_op(l, "Round", fy_l_binary(l, "Div", low, scale)));
    at = at ? fy_emit(b, "Clip", FY_V(at, fy_k_scalar(b, FERRY_FLOAT, (double)lo), fy_k_scalar(b, FERRY_FLOAT, (double)hi)), FY_NOATTR)
            : NULL;
    scale = scale ? fy_b_cast(b, scale, FERRY_DOUBLE) : NULL; /* which torch gives */
    fy_l_out(l, 0, scale ? fy_l_reshape(l, scale, 1, (const fy_dim *[]){fy_l_k(l, 1)}) : NULL);
    fy_l_out(l, 1, at ? fy_b_cast(b, fy_l_reshape(l, at, 1, (const fy_dim *[]){fy_l_k(l, 1)}), FERRY_INT64) : NULL);
    return l->b.status;
}
