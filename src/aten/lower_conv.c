/* SPDX-License-Identifier: Apache-2.0
 * lower_conv.c - convolutions: conv1d..3d, conv_transpose1d..3d, convolution; im2col and col2im.
 *
 * Weights have one layout in both worlds: [out, in/groups, k...], transposed [in, out/groups, k...]. */
#include "aten/lower.h"

#include <string.h>

/* x with a batch axis: torch also takes [C, spatial...]. */
static fy_value *with_batch(fy_lower *l, fy_value *x, int nd, bool *added) {
    int rank = fy_rank(l, x);
    *added = l->b.status == FY_OK && rank == nd + 1;
    if (l->b.status == FY_OK && rank != nd + 2 && rank != nd + 1) (void)fy_l_fail(l, FY_E_SHAPE, "%s of a tensor of rank %d", l->n->op, rank);
    return *added ? fy_b_unsqueeze(&l->b, x, 0) : x;
}

static fy_value *without_batch(fy_lower *l, fy_value *y, bool added) { return added && y ? fy_b_squeeze(&l->b, y, 0) : y; }

fy_status fy_lower_conv(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "input"), *w = fy_l_tensor(l, "weight"), *bias = fy_l_tensor(l, "bias");
    int nd = fy_rank(l, w) - 2;
    FY_L_OK(l);
    if (!x || !w || nd < 1 || nd > 3) return fy_l_fail(l, FY_E_SHAPE, "%s with a weight of rank %d", l->n->op, nd + 2);
    int64_t stride[3], dilation[3], pad[6], out_pad[3] = {0, 0, 0}, kernel[3];
    fy_l_ints_n(l, "stride", nd, 1, stride);
    fy_l_ints_n(l, "dilation", nd, 1, dilation);
    bool transposed = fy_l_named(l, "aten.convolution") ? fy_l_bool(l, "transposed") : strncmp(l->n->op, "aten.conv_transpose", 19) == 0;
    for (int i = 0; i < nd; i++)
        if (!fy_const_dim(w, i + 2, &kernel[i]) || kernel[i] > (1 << 28)) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s: the size of the kernel is not constant", l->n->op);
    const char *how = fy_l_str(l, "padding");
    if (how)                                                                 /* "same": the odd one goes after, as in torch */
        for (int i = 0; i < nd; i++) {
            int64_t total = strcmp(how, "same") == 0 ? dilation[i] * (kernel[i] - 1) : 0;
            pad[i] = total / 2;
            pad[nd + i] = total - total / 2;
        }
    else {
        fy_l_ints_n(l, "padding", nd, 0, pad);
        for (int i = 0; i < nd; i++) pad[nd + i] = pad[i];
    }
    if (transposed) fy_l_ints_n(l, "output_padding", nd, 0, out_pad);
    int64_t groups = fy_l_int(l, "groups");
    FY_L_OK(l);
    bool added;
    x = with_batch(l, x, nd, &added);
    fy_value *y;
    if (transposed)
        y = fy_emit(&l->b, "ConvTranspose", FY_V(x, w, bias), FY_A(fy_ints("kernel_shape", nd, kernel), fy_ints("strides", nd, stride), fy_ints("pads", 2 * nd, pad),
                    fy_ints("dilations", nd, dilation), fy_ints("output_padding", nd, out_pad), fy_int("group", groups)));
    else
        y = fy_emit(&l->b, "Conv", FY_V(x, w, bias), FY_A(fy_ints("kernel_shape", nd, kernel), fy_ints("strides", nd, stride), fy_ints("pads", 2 * nd, pad),
                    fy_ints("dilations", nd, dilation), fy_int("group", groups)));
    return fy_l_ret(l, without_batch(l, y, added));
}

/* col2im [N, C*kh*kw, L] -> [N, C, h, w]: ONNX Col2Im */
fy_status fy_lower_col2im(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    const fy_dim *size[2];
    int64_t kernel[2], dilation[2], pad[4], stride[2];
    if (fy_l_dims(l, "output_size", size, 2) != 2) return fy_l_fail(l, FY_E_ATTR, "%s needs two sizes", l->n->op);
    fy_l_ints_n(l, "kernel_size", 2, 1, kernel);
    fy_l_ints_n(l, "dilation", 2, 1, dilation);
    fy_l_ints_n(l, "padding", 2, 0, pad);
    fy_l_ints_n(l, "stride", 2, 1, stride);
    pad[2] = pad[0];
    pad[3] = pad[1];
    FY_L_OK(l);
    bool added = fy_rank(l, x) == 2;
    if (added) x = fy_b_unsqueeze(&l->b, x, 0);
    fy_value *y = fy_emit(&l->b, "Col2Im", FY_V(x, fy_l_sizes(l, 2, size), fy_k_ints(&l->b, 2, kernel)),
                          FY_A(fy_ints("dilations", 2, dilation), fy_ints("pads", 4, pad), fy_ints("strides", 2, stride)));
    return fy_l_ret(l, without_batch(l, y, added));
}

/* im2col [N, C, h, w] -> [N, C*kh*kw, L]: a convolution whose weight picks one pixel of the window for each output channel,
 * on the channels as batch. */
fy_status fy_lower_im2col(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int64_t kernel[2], dilation[2], pad[4], stride[2];
    fy_l_ints_n(l, "kernel_size", 2, 1, kernel);
    fy_l_ints_n(l, "dilation", 2, 1, dilation);
    fy_l_ints_n(l, "padding", 2, 0, pad);
    fy_l_ints_n(l, "stride", 2, 1, stride);
    pad[2] = pad[0];
    pad[3] = pad[1];
    bool added = false;
    x = with_batch(l, x, 2, &added);
    FY_L_OK(l);
    int64_t n = kernel[0] * kernel[1], dim[4] = {n, 1, kernel[0], kernel[1]};
    if (kernel[0] < 1 || n < 1 || n > 1024) return fy_l_fail(l, FY_E_LIMIT, "im2col with a window of %lld", (long long)n);
    float *pick = FY_NEWN(&l->tmp, float, n * n);
    if (!pick) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) pick[i * n + i] = 1;
    fy_const *c = fy_const_copy(&l->m->arena, FERRY_FLOAT, 4, dim, pick);
    if (!c) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    fy_value *w = fy_b_cast(&l->b, fy_k_const(&l->b, c, NULL), x->type.dtype);
    const fy_dim *N = fy_dim_of(l, x, 0), *C = fy_dim_of(l, x, 1), *h = fy_dim_of(l, x, 2), *wd = fy_dim_of(l, x, 3);
    fy_dims *p = l->m->dims;
    fy_value *flat = fy_l_reshape(l, x, 4, (const fy_dim *[]){fy_dim_mul(p, N, C), fy_l_k(l, 1), h, wd});
    fy_value *y = flat ? fy_emit(&l->b, "Conv", FY_V(flat, w), FY_A(fy_ints("kernel_shape", 2, kernel), fy_ints("strides", 2, stride), fy_ints("pads", 4, pad),
                                 fy_ints("dilations", 2, dilation))) : NULL;
    FY_L_OK(l);
    const fy_dim *L = fy_dim_mul(p, fy_dim_of(l, y, 2), fy_dim_of(l, y, 3));
    y = fy_l_reshape(l, y, 3, (const fy_dim *[]){N, fy_dim_muli(p, C, n), L});
    return fy_l_ret(l, without_batch(l, y, added));
}
