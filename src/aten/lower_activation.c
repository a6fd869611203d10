/* SPDX-License-Identifier: Apache-2.0
 * lower_activation.c - activations and softmax, by the ONNX operator of the same formula where there is one. */
#include "aten/lower.h"

#include <math.h>
#include <string.h>

fy_status fy_lower_relu(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (fy_l_named(l, "aten.relu6")) return fy_l_ret(l, x ? fy_emit(&l->b, "Clip", FY_V(x, fy_k_scalar(&l->b, x->type.dtype, 0), fy_k_scalar(&l->b, x->type.dtype, 6)), FY_NOATTR) : NULL);
    return fy_l_ret(l, fy_l_named_op(l, "Relu", x));
}

/* hardtanh: Clip */
fy_status fy_lower_hardtanh(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    fy_dtype t = x->type.dtype;
    return fy_l_ret(l, fy_emit(&l->b, "Clip", FY_V(x, fy_k_scalar(&l->b, t, fy_l_float(l, "min_val")), fy_k_scalar(&l->b, t, fy_l_float(l, "max_val"))), FY_NOATTR));
}

fy_status fy_lower_gelu(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    const char *how = fy_l_str(l, "approximate");
    return fy_l_ret(l, x ? fy_emit(&l->b, "Gelu", FY_V(x), FY_A(fy_text("approximate", how ? how : "none"))) : NULL);
}

/* x * sigmoid(x), not Swish: engines that read opset 24 do not all have that operator. */
fy_status fy_lower_silu(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    return fy_l_ret(l, x ? fy_emit(&l->b, "Mul", FY_V(x, fy_emit(&l->b, "Sigmoid", FY_V(x), FY_NOATTR)), FY_NOATTR) : NULL);
}
fy_status fy_lower_mish(fy_lower *l) { return fy_l_ret(l, fy_l_named_op(l, "Mish", fy_l_tensor(l, "self"))); }
fy_status fy_lower_hardswish(fy_lower *l) { return fy_l_ret(l, fy_l_named_op(l, "HardSwish", fy_l_tensor(l, "self"))); }

/* torch: relu6(x + 3) / 6; ONNX HardSigmoid: clip(alpha * x + beta) with alpha 1/6, beta 1/2 */
fy_status fy_lower_hardsigmoid(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    return fy_l_ret(l, x ? fy_emit(&l->b, "HardSigmoid", FY_V(x), FY_A(fy_float("alpha", 1.0 / 6), fy_float("beta", 0.5))) : NULL);
}

fy_status fy_lower_leaky_relu(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    return fy_l_ret(l, x ? fy_emit(&l->b, "LeakyRelu", FY_V(x), FY_A(fy_float("alpha", fy_l_float(l, "negative_slope")))) : NULL);
}

/* elu(x) = scale * (x > 0 ? x : alpha * (exp(input_scale * x) - 1)); selu and celu are cases of it */
fy_status fy_lower_elu(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    fy_build *b = &l->b;
    fy_dtype t = x->type.dtype;
    if (fy_l_named(l, "aten.selu")) return fy_l_ret(l, fy_l_named_op(l, "Selu", x));
    double alpha = fy_l_float(l, "alpha");
    if (fy_l_named(l, "aten.celu")) return fy_l_ret(l, fy_emit(b, "Celu", FY_V(x), FY_A(fy_float("alpha", alpha))));
    double scale = fy_l_float(l, "scale"), inner = fy_l_float(l, "input_scale");
    fy_value *y;
    if (inner == 1) y = fy_emit(b, "Elu", FY_V(x), FY_A(fy_float("alpha", alpha)));
    else {
        fy_value *zero = fy_k_scalar(b, t, 0);
        fy_value *neg = fy_l_binary(l, "Sub", fy_l_named_op(l, "Exp", fy_l_binary(l, "Mul", x, fy_k_scalar(b, t, inner))), fy_k_scalar(b, t, 1));
        y = fy_l_where(l, fy_l_binary(l, "Greater", x, zero), x, fy_l_binary(l, "Mul", neg, fy_k_scalar(b, t, alpha)));
    }
    return fy_l_ret(l, scale == 1 ? y : fy_l_binary(l, "Mul", y, fy_k_scalar(b, t, scale)));
}

/* softplus(x) = log(1 + exp(beta x)) / beta, and x itself where beta x > threshold */
fy_status fy_lower_softplus(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    fy_build *b = &l->b;
    fy_dtype t = x->type.dtype;
    double beta = fy_l_float(l, "beta"), threshold = fy_l_float(l, "threshold");
    fy_value *k = fy_k_scalar(b, t, beta), *bx = beta == 1 ? x : fy_l_binary(l, "Mul", x, k), *y = fy_l_named_op(l, "Softplus", bx);
    if (beta != 1) y = fy_l_binary(l, "Div", y, k);
    if (threshold >= 20) return fy_l_ret(l, y);          /* beyond 20 log(1 + exp(x)) - x is below 3e-9: the branch changes nothing in f32 */
    return fy_l_ret(l, fy_l_where(l, fy_l_binary(l, "Greater", bx, fy_k_scalar(b, t, threshold)), x, y));
}

/* log_sigmoid(x) = -softplus(-x) */
fy_status fy_lower_log_sigmoid(fy_lower *l) {
    return fy_l_ret(l, fy_l_named_op(l, "Neg", fy_l_named_op(l, "Softplus", fy_l_named_op(l, "Neg", fy_l_tensor(l, "self")))));
}

/* hardshrink, softshrink: ONNX Shrink with bias 0 or lambda; threshold */
fy_status fy_lower_shrink(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    if (fy_l_named(l, "aten.threshold")) {
        fy_value *over = fy_l_binary(l, "Greater", x, fy_k_scalar(&l->b, x->type.dtype, fy_l_float(l, "threshold")));
        return fy_l_ret(l, fy_l_where(l, over, x, fy_k_scalar(&l->b, x->type.dtype, fy_l_float(l, "value"))));
    }
    double lambd = fy_l_float(l, "lambd");
    return fy_l_ret(l, fy_emit(&l->b, "Shrink", FY_V(x), FY_A(fy_float("lambd", lambd), fy_float("bias", fy_l_named(l, "aten.softshrink") ? lambd : 0))));
}

/* torch's weight is per channel (axis 1); ONNX broadcasts the slope from the right, so it becomes [C,1,...] */
fy_status fy_lower_prelu(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *w = fy_l_tensor(l, "weight");
    int rank = fy_rank(l, x);
    int64_t n;
    if (!x || !w) return fy_l_ret(l, NULL);
    if (rank > 2 && fy_const_dim(w, 0, &n) && n > 1) {
        const fy_dim *dim[FY_MAX_RANK];
        dim[0] = fy_dim_of(l, w, 0);
        for (int i = 1; i < rank - 1; i++) dim[i] = fy_l_k(l, 1);
        w = fy_l_reshape(l, w, rank - 1, dim);
    }
    return fy_l_ret(l, fy_l_binary(l, "PRelu", x, w));
}

/* glu(x) = a * sigmoid(b), the halves of an axis */
fy_status fy_lower_glu(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    int axis = fy_l_axis(l, "dim", fy_rank(l, x));
    fy_node *n = fy_emit_n(&l->b, "Split", 2, FY_V(x), FY_A(fy_int("axis", axis), fy_int("num_outputs", 2)));
    return fy_l_ret(l, n ? fy_l_binary(l, "Mul", n->out[0], fy_l_named_op(l, "Sigmoid", n->out[1])) : NULL);
}

/* softmax, log_softmax, _softmax, _log_softmax; a dtype argument casts first */
fy_status fy_lower_softmax(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    fy_dtype t = fy_to_float(x->type.dtype);
    bool internal = strncmp(l->n->op, "aten._", 6) == 0;
    if (internal ? fy_l_bool(l, "half_to_float") : false) t = FERRY_FLOAT;
    if (!internal) t = fy_l_dtype(l, "dtype", t);
    x = fy_b_cast(&l->b, x, t);
    int rank = fy_rank(l, x), axis = fy_l_axis(l, "dim", rank);
    const char *op = strstr(l->n->op, "log_softmax") ? "LogSoftmax" : "Softmax";
    if (rank == 0) {                                     /* one number: 1, or 0 as logarithm */
        fy_value *zero = fy_l_binary(l, "Sub", x, x);
        return fy_l_ret(l, op[0] == 'L' ? zero : fy_l_named_op(l, "Exp", zero));
    }
    return fy_l_ret(l, x ? fy_emit(&l->b, op, FY_V(x), FY_A(fy_int("axis", axis))) : NULL);
}
