/* SPDX-License-Identifier: Apache-2.0
 * lower_pool.c - pooling. Adaptive pooling to sizes that do not divide the input is a product with a matrix of averaging
 * weights for each axis: cell i holds 1/(end - start) on [floor(i*in/out), ceil((i+1)*in/out)). */
#include "aten/lower.h"

#include <string.h>

static int spatial(const fy_lower *l) {
    const char *op = l->n->op;
    return strstr(op, "1d") ? 1 : strstr(op, "2d") ? 2 : 3;
}

static fy_value *with_batch(fy_lower *l, fy_value *x, int nd, bool *added) {
    *added = fy_rank(l, x) == nd + 1;
    return *added ? fy_b_unsqueeze(&l->b, x, 0) : x;
}

static fy_value *without_batch(fy_lower *l, fy_value *y, bool added) { return added && y ? fy_b_squeeze(&l->b, y, 0) : y; }

/* torch counts positions within one plane, ONNX within the whole tensor */
static fy_value *plane_index(fy_lower *l, fy_value *index, const fy_value *x, int nd) {
    const fy_dim *plane = fy_l_k(l, 1);
    for (int i = 0; i < nd; i++) plane = fy_dim_mul(l->m->dims, plane, fy_dim_of(l, x, i + 2));
    return index && plane ? fy_l_binary(l, "Mod", index, fy_l_size_scalar(l, plane)) : NULL;
}

fy_status fy_lower_max_pool(fy_lower *l) {
    int nd = spatial(l);
    int64_t kernel[3], stride[3], pad[6], dilation[3];
    fy_value *x = fy_l_tensor(l, "self");
    fy_l_ints_n(l, "kernel_size", nd, 1, kernel);
    fy_l_ints_n(l, "padding", nd, 0, pad);
    fy_l_ints_n(l, "dilation", nd, 1, dilation);
    fy_l_ints_n(l, "stride", nd, 0, stride);
    for (int i = 0; i < nd; i++) {
        if (stride[i] == 0) stride[i] = kernel[i];       /* an empty stride means the kernel's size */
        pad[nd + i] = pad[i];
    }
    bool added, ceil = fy_l_bool(l, "ceil_mode"), indices = strstr(l->n->op, "with_indices") && fy_l_wanted(l, 1);
    x = with_batch(l, x, nd, &added);
    FY_L_OK(l);
    fy_node *n = fy_emit_n(&l->b, "MaxPool", indices ? 2 : 1, FY_V(x), FY_A(fy_ints("kernel_shape", nd, kernel), fy_ints("strides", nd, stride),
                           fy_ints("pads", 2 * nd, pad), fy_ints("dilations", nd, dilation), fy_int("ceil_mode", ceil)));
    if (!n) return l->b.status;
    if (indices) fy_l_out(l, 1, without_batch(l, plane_index(l, n->out[1], x, nd), added));
    return fy_l_ret(l, without_batch(l, n->out[0], added));
}

fy_status fy_lower_avg_pool(fy_lower *l) {
    int nd = spatial(l);
    int64_t kernel[3], stride[3], pad[6], area = 1;
    fy_value *x = fy_l_tensor(l, "self");
    fy_l_ints_n(l, "kernel_size", nd, 1, kernel);
    fy_l_ints_n(l, "padding", nd, 0, pad);
    fy_l_ints_n(l, "stride", nd, 0, stride);
    for (int i = 0; i < nd; i++) {
        if (stride[i] == 0) stride[i] = kernel[i];
        pad[nd + i] = pad[i];
        if (kernel[i] < 1 || kernel[i] > (1 << 20)) return fy_l_fail(l, FY_E_VALUE, "%s with a window of %lld", l->n->op, (long long)kernel[i]);
        area *= kernel[i];
    }
    bool added, ceil = fy_l_bool(l, "ceil_mode"), count_pad = fy_l_bool(l, "count_include_pad");
    bool override = fy_l_has(l, "divisor_override");
    x = with_batch(l, x, nd, &added);
    FY_L_OK(l);
    if (override && ceil) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s: divisor_override together with ceil_mode", l->n->op);
    fy_value *y = fy_emit(&l->b, "AveragePool", FY_V(x), FY_A(fy_ints("kernel_shape", nd, kernel), fy_ints("strides", nd, stride), fy_ints("pads", 2 * nd, pad),
                          fy_int("ceil_mode", ceil), fy_int("count_include_pad", count_pad || override)));
    if (override && y) y = fy_l_binary(l, "Mul", y, fy_k_scalar(&l->b, y->type.dtype, (double)area / (double)fy_l_int(l, "divisor_override")));
    return fy_l_ret(l, without_batch(l, y, added));
}

/* Averaging weights, [out, in] or, `turned`, [in, out]; `in` may be symbolic. Cell i of m covers pixel j of n where i n < m (j + 1) and
 * m j < (i + 1) n, that is where |m (2j + 1) - n (2i + 1)| < n + m. */
static fy_value *averaging(fy_lower *l, const fy_dim *in, int64_t out, fy_dtype t, bool turned) {
    fy_build *b = &l->b;
    int64_t *odd = FY_NEWN(&l->tmp, int64_t, out);
    if (!odd) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return NULL; }
    for (int64_t i = 0; i < out; i++) odd[i] = 2 * i + 1;
    fy_value *n = fy_l_size_scalar(l, in), *m = fy_k_i64(b, out), *step = fy_k_i64(b, 2 * out), *end = fy_l_binary(l, "Mul", n, step);
    fy_value *pixel = end ? fy_emit(b, "Range", FY_V(m, end, step), FY_NOATTR) : NULL, *cell = fy_l_binary(l, "Mul", n, fy_k_ints(b, (int)out, odd));
    FY_L_OK_OR(l, NULL);
    if (turned) pixel = fy_b_unsqueeze(b, pixel, 1);
    else cell = fy_b_unsqueeze(b, cell, 1);
    fy_value *inside = fy_l_binary(l, "Less", fy_l_named_op(l, "Abs", fy_l_binary(l, "Sub", pixel, cell)), fy_l_binary(l, "Add", n, m));
    return inside ? fy_emit(b, "LpNormalization", FY_V(fy_b_cast(b, inside, t)), FY_A(fy_int("axis", turned ? 0 : 1), fy_int("p", 1))) : NULL;
}

/* adaptive_avg_pool, adaptive_max_pool */
fy_status fy_lower_adaptive_pool(fy_lower *l) {
    int nd = spatial(l);
    bool max = strstr(l->n->op, "max") != NULL, added;
    fy_value *x = with_batch(l, fy_l_tensor(l, "self"), nd, &added);
    const fy_dim *size[3];
    int given = fy_l_dims(l, "output_size", size, 3);
    FY_L_OK(l);
    if (given != 1 && given != nd) return fy_l_fail(l, FY_E_ATTR, "%s: %d sizes", l->n->op, given);
    int64_t out[3], in[3], kernel[3];
    bool all_one = true, divides = true, same = true;
    for (int i = 0; i < nd; i++) {
        const fy_dim *want = size[given == 1 ? 0 : i], *have = fy_dim_of(l, x, i + 2);
        bool known = fy_dim_known(want, &out[i]);
        if (known && (out[i] < 1 || out[i] > (1 << 28))) return fy_l_fail(l, FY_E_VALUE, "%s to the size %lld", l->n->op, (long long)out[i]);
        same = same && want == have;
        all_one = all_one && known && out[i] == 1;
        divides = divides && known && fy_dim_known(have, &in[i]) && out[i] > 0 && in[i] % out[i] == 0;
        kernel[i] = divides ? in[i] / out[i] : 0;
        if (!known && want != have) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s to a dynamic size", l->n->op);
    }
    if (max && fy_l_wanted(l, 1) && l->n->nout > 1) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s: its indices are used", l->n->op);
    fy_value *y = x;
    if (all_one) y = fy_l_named_op(l, max ? "GlobalMaxPool" : "GlobalAveragePool", x);
    else if (divides) y = fy_emit(&l->b, max ? "MaxPool" : "AveragePool", FY_V(x), FY_A(fy_ints("kernel_shape", nd, kernel), fy_ints("strides", nd, kernel)));
    else if (max && !same) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s to a size that does not divide the input's", l->n->op);
    else if (!same)
        for (int i = 0; i < nd && y; i++) {
            const fy_dim *have = fy_dim_of(l, x, i + 2);
            if (have == size[given == 1 ? 0 : i]) continue;
            int perm[5];
            for (int k = 0; k < nd + 2; k++) perm[k] = k;
            perm[i + 2] = nd + 1;
            perm[nd + 1] = i + 2;
            bool left = i == nd - 2, away = i < nd - 2;      /* the last axis but one: from the left; those before it change places with the last */
            fy_value *m = averaging(l, have, out[i], x->type.dtype, !left);
            if (away) y = fy_b_transpose(&l->b, y, perm);
            y = left ? fy_l_binary(l, "MatMul", m, y) : fy_l_binary(l, "MatMul", y, m);
            if (away && y) y = fy_b_transpose(&l->b, y, perm);
        }
    return fy_l_ret(l, without_batch(l, y, added));
}
