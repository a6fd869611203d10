/* SPDX-License-Identifier: Apache-2.0
 * lower_norm.c - normalisation: batch, layer, group, instance, RMS; weight_norm. ONNX wants scale and bias where torch lets
 * them out: ones and zeros then. */
#include "aten/lower.h"

#include <float.h>
#include <string.h>

static fy_value *fill(fy_lower *l, int rank, const fy_dim *const *dim, fy_dtype t, double v) { return fy_l_full(l, rank, dim, fy_k_scalar(&l->b, t, v)); }

/* a per-channel [C] tensor seen as [1,C,1,...] */
static fy_value *per_channel(fy_lower *l, fy_value *v, int rank) {
    const fy_dim *dim[FY_MAX_RANK];
    if (!v) return NULL;
    for (int i = 0; i < rank; i++) dim[i] = fy_l_k(l, 1);
    if (rank > 1) dim[1] = fy_dim_of(l, v, 0);
    return fy_l_reshape(l, v, rank, dim);
}

/* With the statistics of the batch itself. */
static fy_value *batch_statistics(fy_lower *l, fy_value *x, fy_value *w, fy_value *bias, double eps) {
    int rank = fy_rank(l, x), n = 0;
    int64_t axes[FY_MAX_RANK];
    if (l->b.status != FY_OK) return NULL;
    for (int i = 0; i < rank; i++)
        if (i != 1) axes[n++] = i;
    fy_value *mean = fy_l_reduce(l, "ReduceMean", x, n, axes, true), *d = fy_l_binary(l, "Sub", x, mean);
    fy_value *var = fy_l_reduce(l, "ReduceMean", fy_l_binary(l, "Mul", d, d), n, axes, true);
    fy_value *y = fy_l_binary(l, "Div", d, fy_l_named_op(l, "Sqrt", fy_l_binary(l, "Add", var, fy_k_scalar(&l->b, x->type.dtype, eps))));
    if (w) y = fy_l_binary(l, "Mul", y, per_channel(l, w, rank));
    return bias ? fy_l_binary(l, "Add", y, per_channel(l, bias, rank)) : y;
}

fy_status fy_lower_batch_norm(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "input"), *w = fy_l_tensor(l, "weight"), *bias = fy_l_tensor(l, "bias");
    fy_value *mean = fy_l_tensor(l, "running_mean"), *var = fy_l_tensor(l, "running_var");
    double eps = fy_l_has(l, "eps") ? fy_l_float(l, "eps") : fy_l_float(l, "epsilon");
    bool training = fy_l_bool(l, "training") || (fy_l_named(l, "aten.instance_norm") && fy_l_bool(l, "use_input_stats"));
    if (!x) return fy_l_ret(l, NULL);
    if (training || !mean || !var) return fy_l_ret(l, batch_statistics(l, x, w, bias, eps));
    const fy_dim *c = fy_dim_of(l, mean, 0);
    if (!w) w = fill(l, 1, &c, mean->type.dtype, 1);
    if (!bias) bias = fill(l, 1, &c, mean->type.dtype, 0);
    return fy_l_ret(l, fy_emit(&l->b, "BatchNormalization", FY_V(x, w, bias, mean, var), FY_A(fy_float("epsilon", eps))));
}

fy_status fy_lower_instance_norm(fy_lower *l) {
    if (!fy_l_bool(l, "use_input_stats")) return fy_lower_batch_norm(l);
    fy_value *x = fy_l_tensor(l, "input"), *w = fy_l_tensor(l, "weight"), *bias = fy_l_tensor(l, "bias");
    if (!x) return fy_l_ret(l, NULL);
    const fy_dim *c = fy_dim_of(l, x, 1);
    if (!w) w = fill(l, 1, &c, x->type.dtype, 1);
    if (!bias) bias = fill(l, 1, &c, x->type.dtype, 0);
    return fy_l_ret(l, fy_emit(&l->b, "InstanceNormalization", FY_V(x, w, bias), FY_A(fy_float("epsilon", fy_l_float(l, "eps")))));
}

fy_status fy_lower_layer_norm(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "input"), *w = fy_l_tensor(l, "weight"), *bias = fy_l_tensor(l, "bias");
    const fy_dim *shape[FY_MAX_RANK];
    int n = fy_l_dims(l, "normalized_shape", shape, FY_MAX_RANK), rank = fy_rank(l, x);
    FY_L_OK(l);
    if (!w) w = fill(l, n, shape, x->type.dtype, 1);
    bool native = fy_l_named(l, "aten.native_layer_norm");
    int nout = native && fy_l_wanted(l, 2) ? 3 : native && fy_l_wanted(l, 1) ? 2 : 1;
    fy_node *y = fy_emit_n(&l->b, "LayerNormalization", nout, FY_V(x, w, bias), FY_A(fy_int("axis", rank - n), fy_float("epsilon", fy_l_float(l, "eps"))));
    if (!y) return l->b.status;
    if (nout > 1) fy_l_out(l, 1, y->out[1]);
    if (nout > 2) fy_l_out(l, 2, y->out[2]);
    return fy_l_ret(l, y->out[0]);
}

fy_status fy_lower_rms_norm(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "input"), *w = fy_l_tensor(l, "weight");
    const fy_dim *shape[FY_MAX_RANK];
    int n = fy_l_dims(l, "normalized_shape", shape, FY_MAX_RANK), rank = fy_rank(l, x);
    FY_L_OK(l);
    fy_dtype t = x->type.dtype;
    double eps = fy_l_has(l, "eps") ? fy_l_float(l, "eps") : t == FERRY_DOUBLE ? DBL_EPSILON : t == FERRY_FLOAT16 ? 0.0009765625 : t == FERRY_BFLOAT16 ? 0.0078125 : (double)FLT_EPSILON;
    if (!w) w = fill(l, n, shape, t, 1);
    return fy_l_ret(l, fy_emit(&l->b, "RMSNormalization", FY_V(x, w), FY_A(fy_int("axis", rank - n), fy_float("epsilon", eps))));
}

fy_status fy_lower_group_norm(fy_lower *l) {
    bool native = fy_l_named(l, "aten.native_group_norm");
    fy_value *x = fy_l_tensor(l, "input"), *w = fy_l_tensor(l, "weight"), *bias = fy_l_tensor(l, "bias");
    int64_t groups = fy_l_int(l, native ? "group" : "num_groups");
    if (!x) return fy_l_ret(l, NULL);
    if (native && (fy_l_wanted(l, 1) || fy_l_wanted(l, 2))) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s: its mean and deviation are used", l->n->op);
    const fy_dim *c = fy_dim_of(l, x, 1);
    if (!w) w = fill(l, 1, &c, x->type.dtype, 1);
    if (!bias) bias = fill(l, 1, &c, x->type.dtype, 0);
    return fy_l_ret(l, fy_emit(&l->b, "GroupNormalization", FY_V(x, w, bias), FY_A(fy_int("num_groups", groups), fy_float("epsilon", fy_l_float(l, "eps")))));
}

/* w = v * g / |v|, the norm over all axes but `dim` */
fy_status fy_lower_weight_norm(fy_lower *l) {
    fy_value *v = fy_l_tensor(l, "v"), *g = fy_l_tensor(l, "g");
    int rank = fy_rank(l, v), n = 0;
    int64_t dim = fy_l_int(l, "dim"), axes[FY_MAX_RANK];
    FY_L_OK(l);
    for (int i = 0; i < rank; i++)
        if (i != (dim < -1 ? dim + rank : dim)) axes[n++] = i;       /* -1: over all of them */
    fy_value *norm = fy_l_reduce(l, "ReduceL2", v, n, axes, true);
    return fy_l_ret(l, fy_l_binary(l, "Mul", v, fy_l_binary(l, "Div", g, norm)));
}
