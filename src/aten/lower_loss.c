/* SPDX-License-Identifier: Apache-2.0
 * lower_loss.c - losses that programs give as outputs: an error for each element, then mean, sum or neither (torch's
 * reduction 1, 2, 0). */
#include "aten/lower.h"

#include <string.h>

static fy_status reduced(fy_lower *l, fy_value *x) {
    int64_t how = fy_l_int(l, "reduction"), axes[FY_MAX_RANK];
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    for (int i = 0; i < rank; i++) axes[i] = i;
    return fy_l_ret(l, how == 0 ? x : fy_l_reduce(l, how == 1 ? "ReduceMean" : "ReduceSum", x, rank, axes, false));
}

/* mse, l1, smooth_l1, huber */
fy_status fy_lower_regression_loss(fy_lower *l) {
    fy_value *d = fy_l_binary(l, "Sub", fy_l_tensor(l, "self"), fy_l_tensor(l, "target"));
    if (!d) return fy_l_ret(l, NULL);
    if (fy_l_named(l, "aten.mse_loss")) return reduced(l, fy_l_binary(l, "Mul", d, d));
    fy_value *a = fy_l_named_op(l, "Abs", d);
    if (fy_l_named(l, "aten.l1_loss")) return reduced(l, a);
    /* quadratic below `k`: smooth_l1 0.5 d^2 / k, else |d| - k/2; huber is k times that */
    bool huber = fy_l_named(l, "aten.huber_loss");
    double k = fy_l_float(l, huber ? "delta" : "beta");
    fy_build *b = &l->b;
    fy_dtype t = d->type.dtype;
    if (k == 0) return reduced(l, a);
    fy_value *near = fy_l_binary(l, "Mul", fy_l_binary(l, "Mul", d, d), fy_k_scalar(b, t, huber ? 0.5 : 0.5 / k));
    fy_value *far = fy_l_binary(l, "Sub", a, fy_k_scalar(b, t, k / 2));
    if (huber) far = fy_l_binary(l, "Mul", far, fy_k_scalar(b, t, k));
    return reduced(l, fy_l_where(l, fy_l_binary(l, "Less", a, fy_k_scalar(b, t, k)), near, far));
}

/* binary_cross_entropy (logarithms kept above -100, as torch), and with logits: max(x,0) - x*y + log(1 + exp(-|x|)) */
fy_status fy_lower_bce(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *y = fy_l_tensor(l, "target"), *w = fy_l_tensor(l, "weight");
    if (!x || !y) return fy_l_ret(l, NULL);
    fy_build *b = &l->b;
    fy_dtype t = x->type.dtype;
    fy_value *one = fy_k_scalar(b, t, 1), *loss;
    if (fy_l_named(l, "aten.binary_cross_entropy_with_logits")) {
        if (fy_l_has(l, "pos_weight")) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s with pos_weight", l->n->op);
        fy_value *soft = fy_l_named_op(l, "Softplus", fy_l_named_op(l, "Neg", fy_l_named_op(l, "Abs", x)));
        loss = fy_l_binary(l, "Add", fy_l_binary(l, "Sub", fy_l_named_op(l, "Relu", x), fy_l_binary(l, "Mul", x, y)), soft);
    } else {
        fy_value *floor = fy_k_scalar(b, t, -100);
        fy_value *p = fy_l_binary(l, "Max", fy_l_named_op(l, "Log", x), floor), *q = fy_l_binary(l, "Max", fy_l_named_op(l, "Log", fy_l_binary(l, "Sub", one, x)), floor);
        loss = fy_l_named_op(l, "Neg", fy_l_binary(l, "Add", fy_l_binary(l, "Mul", y, p), fy_l_binary(l, "Mul", fy_l_binary(l, "Sub", one, y), q)));
    }
    return reduced(l, w ? fy_l_binary(l, "Mul", loss, w) : loss);
}

/* cross_entropy_loss, nll_loss_nd with class indices [N, d..] and scores [N, C, d..]: minus the (log) score of the class,
 * times its weight; classes equal to ignore_index count nothing. The mean divides by the sum of weights. */
fy_status fy_lower_cross_entropy(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *y = fy_l_tensor(l, "target"), *w = fy_l_tensor(l, "weight");
    int64_t how = fy_l_int(l, "reduction"), ignore = fy_l_int(l, "ignore_index"), axes[FY_MAX_RANK];
    bool soft = fy_l_named(l, "aten.cross_entropy_loss");
    FY_L_OK(l);
    if (how < 0 || how > 2 || !fy_dtype_int(y->type.dtype) || (soft && fy_l_float(l, "label_smoothing") != 0))
        return fy_l_fail(l, FY_E_UNSUPPORTED, "%s with class probabilities or label smoothing", l->n->op);
    fy_build *b = &l->b;
    int rank = fy_rank(l, x), axis = rank == 1 ? 0 : 1;
    fy_dtype t = x->type.dtype;
    if (soft) x = fy_emit(b, "LogSoftmax", FY_V(x), FY_A(fy_int("axis", axis)));
    y = fy_b_cast(b, y, FERRY_INT64);
    fy_value *kept = fy_l_named_op(l, "Not", fy_l_binary(l, "Equal", y, fy_k_i64(b, ignore))), *class = fy_l_where(l, kept, y, fy_k_i64(b, 0));
    FY_L_OK(l);
    fy_value *score = fy_emit(b, "GatherElements", FY_V(x, fy_b_unsqueeze(b, class, axis)), FY_A(fy_int("axis", axis)));
    fy_value *each = fy_b_cast(b, kept, t);
    if (w) each = fy_l_binary(l, "Mul", each, fy_emit(b, "Gather", FY_V(w, class), FY_A(fy_int("axis", 0))));
    fy_value *loss = fy_l_named_op(l, "Neg", fy_l_binary(l, "Mul", score ? fy_b_squeeze(b, score, axis) : NULL, each));
    int n = fy_rank(l, y);
    for (int i = 0; i < n; i++) axes[i] = i;
    if (how == 0) return fy_l_ret(l, loss);
    fy_value *sum = fy_l_reduce(l, "ReduceSum", loss, n, axes, false);
    return fy_l_ret(l, how == 2 ? sum : fy_l_binary(l, "Div", sum, fy_l_reduce(l, "ReduceSum", each, n, axes, false)));
}
