/* SPDX-License-Identifier: Apache-2.0
 * conv.c - Conv ConvTranspose ConvInteger QLinearConv: x [N,C,d1..dn], w [M, C/group, k1..kn] (transposed: [C, M/group, k..]), n 1 to 3.
 * Conv is tensor/'s implicit GEMM, one call for each group; ConvTranspose is GEMM and scattering into double sums. */
#include "ops/quant.h"
#include "ops/window.h"

#include "tensor/gemm.h"

#include <string.h>

/* The window over `nd` axes; the kernel's sizes are those of the attribute, else of the type of the weight, input wi, symbols included.
 * *known is false where neither tells them. */
static fy_status kernel_sizes(fy_infer *f, int wi, int nd, fy_window *w, bool *known, ferry_error *e) {
    int64_t kernel[FY_MAX_SPATIAL];
    const fy_dim *sym[FY_MAX_SPATIAL] = {NULL};
    int64_t n;
    const int64_t *a = fy_attr_ints(f->node, "kernel_shape", &n);
    FY_NEED(e, nd >= 1 && nd <= FY_MAX_SPATIAL, UNSUPPORTED, "%d spatial axes; 1 to %d are supported", nd, FY_MAX_SPATIAL);
    *known = true;
    for (int i = 0; i < nd; i++) {
        const fy_dim *d = fy_in_rank(f, wi) == nd + 2 ? fy_in_dim(f, wi, i + 2) : NULL;
        if (d && fy_dim_known(d, &kernel[i])) continue;
        if (a && n == nd) kernel[i] = a[i];
        else if (d) {
            kernel[i] = 1;
            sym[i] = d;
        } else *known = false;
    }
    if (*known) FY_TRY(fy_window_read(w, f->node, nd, kernel, e));
    for (int i = 0; i < nd; i++) w->extent[i] = sym[i];
    return FY_OK;
}

fy_status fy_conv_infer(fy_infer *f, int wi, fy_dtype t) {
    int rx, rw, rank;
    bool known = true;
    int64_t group = fy_attr_i(f->node, "group"), cin, cw, m, all;
    fy_window w = {0};
    FY_TRY(fy_k_rank(f, 0, 3, 2 + FY_MAX_SPATIAL, &rx));
    FY_TRY(fy_k_rank(f, wi, 3, 2 + FY_MAX_SPATIAL, &rw));
    FY_NEED(f->e, rx < 0 || rw < 0 || rx == rw, SHAPE, "x has rank %d, the weight %d", rx, rw);
    FY_NEED(f->e, group >= 1 && group <= INT32_MAX, ATTR, "group is %lld", (long long)group);
    rank = rx < 0 ? rw : rx;
    if (rank < 0) return fy_out_set(f, 0, t, -1, NULL);
    const fy_dim *dim[FY_MAX_RANK], *c = fy_in_dim(f, 0, 1), *o = fy_in_dim(f, wi, 0), *ci = fy_in_dim(f, wi, 1);
    if (c && ci && fy_dim_known(c, &cin) && fy_dim_known(ci, &cw))
        FY_NEED(f->e, fy_mul_i64(&all, cw, group) && cin == all, SHAPE, "x has %lld channels; the weight takes %lld in %lld groups", (long long)cin, (long long)cw, (long long)group);
    if (o && fy_dim_known(o, &m)) FY_NEED(f->e, m % group == 0, SHAPE, "%lld output channels in %lld groups", (long long)m, (long long)group);
    FY_TRY(kernel_sizes(f, wi, rank - 2, &w, &known, f->e));
    dim[0] = rx < 0 ? fy_dim_opaque(f->dims, "batch") : fy_in_dim(f, 0, 0);
    dim[1] = o ? o : fy_dim_opaque(f->dims, "channels");
    for (int i = 2; i < rank; i++) {
        if (known && rx >= 0) FY_TRY(fy_window_out(f, &w, i - 2, fy_in_dim(f, 0, i), &dim[i]));
        else dim[i] = fy_dim_opaque(f->dims, "conv");
    }
    return fy_out_set(f, 0, t, rank, dim);
}

fy_status fy_conv_bias(fy_infer *f, int i, const fy_dim *channels) {
    int rb;
    if (!fy_in_has(f, i)) return FY_OK;
    FY_TRY(fy_k_rank(f, i, 1, 1, &rb));
    return rb == 1 ? fy_k_agree(f, fy_in_dim(f, i, 0), channels, "output channels and bias") : FY_OK;
}

static fy_status infer_conv(fy_infer *f) {
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(fy_conv_bias(f, 2, fy_in_dim(f, 1, 0)));
    return fy_conv_infer(f, 1, fy_in_dtype(f, 0));
}

/* y = conv(x, w) + bias with x, w, y f32 or f64 in any strides; y's dtype may be wider. */
static fy_status convolve(const fy_call *c, const fy_tensor *x, const fy_tensor *w, const fy_tensor *bias, fy_tensor *y, const fy_window *win, int64_t group) {
    int nd = win->nd;
    fy_conv_args a = {.nd = nd, .batch = x->dim[0], .cin = x->dim[1] / group, .cout = w->dim[0] / group, .x_dtype = x->dtype, .w_dtype = w->dtype,
                      .y_dtype = y->dtype, .x_batch = x->stride[0], .x_channel = x->stride[1], .w_out = w->stride[0], .w_in = w->stride[1],
                      .y_batch = y->stride[0], .y_channel = y->stride[1]};
    for (int i = 0; i < nd; i++) {
        a.in[i] = x->dim[2 + i];
        a.out[i] = y->dim[2 + i];
        a.kernel[i] = win->kernel[i];
        a.step[i] = win->stride[i];
        a.dilation[i] = win->dilation[i];
        a.pad[i] = win->pad[i];
        a.x_dim[i] = x->stride[2 + i];
        a.w_dim[i] = w->stride[2 + i];
        a.y_dim[i] = y->stride[2 + i];
    }
    for (int64_t g = 0; g < group; g++) {
        a.x = fy_k_at(x, g * a.cin * a.x_channel);
        a.w = fy_k_at(w, g * a.cout * a.w_out);
        a.y = fy_k_at(y, g * a.cout * a.y_channel);
        a.bias = bias ? fy_k_at(bias, g * a.cout) : NULL;
        a.bias_dtype = bias ? bias->dtype : 0;
        FY_TRY(fy_conv(&a, c->pool, c->e));
    }
    return FY_OK;
}

/* f32 and f64 results are written in place; others are summed in double and rounded once. */
static fy_status wide_output(const fy_call *c, fy_tensor *y, fy_tensor *sum) {
    *sum = *y;
    if (y->dtype == FERRY_FLOAT || y->dtype == FERRY_DOUBLE) return FY_OK;
    void *p = FY_NEWN(c->scratch, double, fy_count(y));
    FY_NOMEM(c->e, p);
    *sum = fy_tensor_view(FERRY_DOUBLE, y->rank, y->dim, p);
    return FY_OK;
}

static fy_status ref_conv(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), x, w, b, sum;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 0), false, &x));
    FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 1), false, &w));
    if (fy_arg(c, 2)) FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 2), true, &b));
    fy_window win;
    FY_TRY(fy_window_read(&win, c->node, x.rank - 2, w.dim + 2, c->e));
    fy_window_place(&win, x.dim + 2, y->dim + 2);
    FY_TRY(wide_output(c, y, &sum));
    FY_TRY(convolve(c, &x, &w, fy_arg(c, 2) ? &b : NULL, &sum, &win, fy_attr_i(c->node, "group")));
    if (sum.dtype != y->dtype) fy_tensor_copy(y, &sum);
    return FY_OK;
}

#define CONV_ATTRS                                                                                                       \
    {"kernel_shape", FY_ATTR_INTS, NULL}, {"strides", FY_ATTR_INTS, NULL},                                               \
    {"dilations", FY_ATTR_INTS, NULL}, {"pads", FY_ATTR_INTS, NULL},                                                     \
    {"auto_pad", FY_ATTR_STRING, "NOTSET"}, {"group", FY_ATTR_INT, "1"}
static const fy_attr_spec conv_attrs[] = {CONV_ATTRS, {0}};
const fy_op fy_op_conv = {.name = "Conv", .domain = "", .attrs = conv_attrs, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1, .first = 1, .since = 1,
    .types = "T=" FY_T_FLOAT "|T,T,T|T", .infer = infer_conv, .ref = ref_conv, .flags = FY_PURE};

/* ---- integers ------------------------------------------------------------------------------------------------------ */

static fy_status infer_conv_integer(fy_infer *f) { return fy_conv_infer(f, 1, FERRY_INT32); }

/* x or w less its zero point: one for all, or one for each index of axis 0. */
static fy_status centred(const fy_call *c, const fy_tensor *x, const fy_tensor *zero, fy_tensor *out) {
    fy_tensor z = {0};
    if (zero) {
        int64_t n = fy_count(zero), rows = x->rank ? x->dim[0] : 1;
        FY_NEED(c->e, n == 1 || (zero->rank == 1 && n == rows), SHAPE, "%lld zero points for %lld rows", (long long)n, (long long)rows);
        z = *zero;
        z.rank = x->rank;
        for (int i = 0; i < x->rank; i++) {
            z.dim[i] = x->dim[i];
            z.stride[i] = i == 0 && n > 1 ? zero->stride[0] : 0;
        }
    }
    return fy_quant_centred(c, x, zero ? &z : NULL, out);
}

static fy_status ref_conv_integer(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), x, w, sum;
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, fy_dtype_bits(fy_arg(c, 0)->dtype) == 8 && fy_dtype_bits(fy_arg(c, 1)->dtype) == 8, TYPE, "ConvInteger takes 8-bit integers");
    FY_NEED(c->e, !fy_arg(c, 2) || fy_count(fy_arg(c, 2)) == 1, SHAPE, "x_zero_point is not a scalar");
    FY_TRY(centred(c, fy_arg(c, 0), fy_arg(c, 2), &x));
    FY_TRY(centred(c, fy_arg(c, 1), fy_arg(c, 3), &w));
    fy_window win;
    FY_TRY(fy_window_read(&win, c->node, x.rank - 2, w.dim + 2, c->e));
    fy_window_place(&win, x.dim + 2, y->dim + 2);
    FY_TRY(wide_output(c, y, &sum));
    FY_TRY(convolve(c, &x, &w, NULL, &sum, &win, fy_attr_i(c->node, "group")));
    fy_tensor_copy(y, &sum);
    return FY_OK;
}
const fy_op fy_op_conv_integer = {.name = "ConvInteger", .domain = "", .attrs = conv_attrs, .min_in = 2, .max_in = 4, .min_out = 1, .max_out = 1, .first = 10,
    .since = 10, .types = "T=i8,u8;U=i8,u8|T,U,T,U|i32", .infer = infer_conv_integer, .ref = ref_conv_integer, .flags = FY_PURE};

/* ---- quantised ----------------------------------------------------------------------------------------------------- */

/* x, its scale and zero point; w, its scale and zero point; scale and zero point of y; bias, quantised with x's scale times w's. */
enum { QX, QXS, QXZ, QW, QWS, QWZ, QYS, QYZ, QB };

static fy_status infer_qlinear_conv(fy_infer *f) {
    static const int8_t of_x[] = {QXS, QXZ, QYS, QYZ}, of_w[] = {QWS, QWZ};
    int rank;
    for (int i = 0; i < 6; i++) {
        int at = i < 4 ? of_x[i] : of_w[i - 4];
        const fy_dim *m = fy_in_dim(f, QW, 0);
        FY_TRY(fy_k_rank(f, at, 0, 1, &rank));
        int64_t n, want;
        if (rank != 1 || !fy_dim_known(fy_in_dim(f, at, 0), &n) || n == 1) continue;
        FY_NEED(f->e, i >= 4, SHAPE, "input %d has %lld elements; it must be a scalar", at, (long long)n);
        FY_NEED(f->e, !m || !fy_dim_known(m, &want) || n == want, SHAPE, "input %d has %lld elements; it must have one, or one for each of %lld channels", at, (long long)n,
                (long long)want);
    }
    FY_TRY(fy_conv_bias(f, QB, fy_in_dim(f, QW, 0)));
    return fy_conv_infer(f, QW, fy_in_dtype(f, QYZ));
}

static fy_status ref_qlinear_conv(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), x, w, sum;
    if (!y || !fy_count(y)) return FY_OK;
    for (int i = 0; i <= QYZ; i++)
        FY_NEED(c->e, i == QX || i == QW || fy_count(fy_arg(c, i)) == 1 || ((i == QWS || i == QWZ) && fy_count(fy_arg(c, i)) == y->dim[1]), SHAPE, "input %d has %lld elements", i,
                (long long)fy_count(fy_arg(c, i)));
    FY_TRY(centred(c, fy_arg(c, QX), fy_arg(c, QXZ), &x));
    FY_TRY(centred(c, fy_arg(c, QW), fy_arg(c, QWZ), &w));
    double *wide = FY_NEWN(c->scratch, double, fy_count(y)), *scale = fy_k_as_f64(c, fy_arg(c, QWS)), *bias = fy_arg(c, QB) ? fy_k_as_f64(c, fy_arg(c, QB)) : NULL;
    FY_NOMEM(c->e, wide && scale && (bias || !fy_arg(c, QB)));
    sum = fy_tensor_view(FERRY_DOUBLE, y->rank, y->dim, wide);
    fy_window win;
    FY_TRY(fy_window_read(&win, c->node, x.rank - 2, w.dim + 2, c->e));
    fy_window_place(&win, x.dim + 2, y->dim + 2);
    FY_TRY(convolve(c, &x, &w, NULL, &sum, &win, fy_attr_i(c->node, "group")));
    double xs = fy_get_f64(fy_arg(c, QXS), 0), ys = fy_get_f64(fy_arg(c, QYS), 0), zero[FY_K_BLOCK];
    for (int64_t i = 0; i < FY_K_BLOCK; i++) zero[i] = fy_get_f64(fy_arg(c, QYZ), 0);
    int64_t channels = y->dim[1], points = fy_count(y) / (y->dim[0] * channels);
    for (int64_t r = 0; r < y->dim[0] * channels; r++) {
        int64_t m = r % channels;
        double s = fy_quant_scale(xs, scale[fy_count(fy_arg(c, QWS)) == 1 ? 0 : m], ys);
        for (int64_t at = 0; at < points; at += FY_K_BLOCK) {
            int64_t n = points - at < FY_K_BLOCK ? points - at : FY_K_BLOCK;
            double *v = wide + r * points + at;
            for (int64_t i = 0; i < n; i++) v[i] = fy_round_to(FERRY_FLOAT, (v[i] + (bias ? bias[m] : 0)) * s);
            fy_quant_to(y->dtype, v, zero, n);
            fy_store_f64(y, r * points + at, n, v);
        }
    }
    return FY_OK;
}
const fy_op fy_op_qlinear_conv = {.name = "QLinearConv", .domain = "", .attrs = conv_attrs, .min_in = 8, .max_in = 9, .min_out = 1, .max_out = 1, .first = 10,
    .since = 10, .types = "T=i8,u8;U=i8,u8;V=i8,u8|T,f32,T,U,f32,U,f32,V,i32|V", .infer = infer_qlinear_conv, .ref = ref_qlinear_conv, .flags = FY_PURE};

/* ---- transposed ---------------------------------------------------------------------------------------------------- */

/* Attributes that only ConvTranspose has: extra sizes after, or the whole output size (then pads follow from it). */
typedef struct extra { int64_t out_pad[FY_MAX_SPATIAL], shape[FY_MAX_SPATIAL]; bool given; } extra;

static fy_status read_extra(extra *x, const fy_node *n, int nd, ferry_error *e) {
    int64_t np, ns;
    const int64_t *p = fy_attr_ints(n, "output_padding", &np), *s = fy_attr_ints(n, "output_shape", &ns);
    FY_NEED(e, !p || !np || np == nd, ATTR, "output_padding has %lld values; %d are needed", (long long)np, nd);
    FY_NEED(e, !s || !ns || ns == nd || ns == nd + 2, ATTR, "output_shape has %lld values; %d are needed", (long long)ns, nd);
    x->given = s && ns;
    for (int i = 0; i < nd; i++) {
        x->out_pad[i] = p && np ? p[i] : 0;
        x->shape[i] = x->given ? s[ns - nd + i] : 0;
        FY_NEED(e, x->out_pad[i] >= 0 && x->out_pad[i] <= INT32_MAX && x->shape[i] >= 0 && x->shape[i] <= INT32_MAX, ATTR, "output_padding or output_shape is negative");
    }
    return FY_OK;
}

fy_status fy_transpose_place(fy_window *w, const fy_node *n, const int64_t *in, const int64_t *out, ferry_error *e) {
    extra x;
    FY_TRY(read_extra(&x, n, w->nd, e));
    if (!x.given && w->auto_pad != FY_PAD_SAME_UPPER && w->auto_pad != FY_PAD_SAME_LOWER) return FY_OK;
    for (int i = 0; i < w->nd; i++) {
        int64_t total = w->stride[i] * (in[i] - 1) + x.out_pad[i] + (w->kernel[i] - 1) * w->dilation[i] + 1 - out[i];
        if (total < 0 && !x.given) total = 0;
        int64_t half = (total - (total & 1)) / 2;                        /* rounded down, also below 0 */
        w->pad[i] = w->auto_pad == FY_PAD_SAME_UPPER ? half : total - half;
    }
    return FY_OK;
}

static fy_status infer_transpose(fy_infer *f) {
    int rx, rw, rank;
    bool known = true, same;
    int64_t group = fy_attr_i(f->node, "group");
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(fy_k_rank(f, 0, 3, 2 + FY_MAX_SPATIAL, &rx));
    FY_TRY(fy_k_rank(f, 1, 3, 2 + FY_MAX_SPATIAL, &rw));
    FY_NEED(f->e, rx < 0 || rw < 0 || rx == rw, SHAPE, "x has rank %d, the weight %d", rx, rw);
    FY_NEED(f->e, group >= 1 && group <= INT32_MAX, ATTR, "group is %lld", (long long)group);
    rank = rx < 0 ? rw : rx;
    if (rank < 0) return fy_out_set(f, 0, fy_in_dtype(f, 0), -1, NULL);
    const fy_dim *dim[FY_MAX_RANK];
    int64_t cin;
    FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 1), fy_in_dim(f, 1, 0), "input channels of x and weight"));
    if (fy_in_dim(f, 1, 0) && fy_dim_known(fy_in_dim(f, 1, 0), &cin)) FY_NEED(f->e, cin % group == 0, SHAPE, "%lld channels in %lld groups", (long long)cin, (long long)group);
    fy_window w = {0};
    FY_TRY(kernel_sizes(f, 1, rank - 2, &w, &known, f->e));
    extra x;
    FY_TRY(read_extra(&x, f->node, rank - 2, f->e));
    same = w.auto_pad == FY_PAD_SAME_UPPER || w.auto_pad == FY_PAD_SAME_LOWER;
    dim[0] = rx < 0 ? fy_dim_opaque(f->dims, "batch") : fy_in_dim(f, 0, 0);
    dim[1] = fy_in_dim(f, 1, 1) ? fy_dim_muli(f->dims, fy_in_dim(f, 1, 1), group) : fy_dim_opaque(f->dims, "channels");
    for (int i = 0; i < rank - 2; i++) {
        const fy_dim *in = fy_in_dim(f, 0, i + 2);
        int64_t v;
        if (x.given) dim[i + 2] = fy_dim_const(f->dims, x.shape[i]);
        else if (!known || rx < 0) dim[i + 2] = fy_dim_opaque(f->dims, "conv");
        else if (same) dim[i + 2] = fy_dim_muli(f->dims, in, w.stride[i]);
        else if (w.extent[i])
            dim[i + 2] = fy_dim_add(f->dims, fy_dim_addi(f->dims, fy_dim_muli(f->dims, fy_dim_addi(f->dims, in, -1), w.stride[i]),
                                                         x.out_pad[i] - w.dilation[i] + 1 - w.pad[i] - w.pad_end[i]),
                                    fy_dim_muli(f->dims, w.extent[i], w.dilation[i]));
        else
            dim[i + 2] = fy_dim_addi(f->dims, fy_dim_muli(f->dims, fy_dim_addi(f->dims, in, -1), w.stride[i]),
                                     x.out_pad[i] + (w.kernel[i] - 1) * w.dilation[i] + 1 - w.pad[i] - w.pad_end[i]);
        if (dim[i + 2] && fy_dim_known(dim[i + 2], &v)) FY_NEED(f->e, v >= 0, SHAPE, "the output would have size %lld on spatial axis %d", (long long)v, i);
    }
    FY_TRY(fy_conv_bias(f, 2, dim[1]));
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank, dim);
}

typedef struct scatter {
    const double *col;
    double       *out;
    int64_t       in[3], size[3], kernel[3], stride[3], dilation[3], pad[3], points, taps, plane;
} scatter;

/* Rows of col are (output channel, tap), columns are input points; each channel is one thread's. */
static void scatter_channels(void *arg, int64_t begin, int64_t end) {
    const scatter *s = arg;
    for (int64_t m = begin; m < end; m++)
        for (int64_t k0 = 0; k0 < s->kernel[0]; k0++)
            for (int64_t k1 = 0; k1 < s->kernel[1]; k1++)
                for (int64_t k2 = 0; k2 < s->kernel[2]; k2++) {
                    const double *from = s->col + (m * s->taps + (k0 * s->kernel[1] + k1) * s->kernel[2] + k2) * s->points;
                    for (int64_t i0 = 0; i0 < s->in[0]; i0++) {
                        int64_t o0 = i0 * s->stride[0] - s->pad[0] + k0 * s->dilation[0];
                        if (o0 < 0 || o0 >= s->size[0]) continue;
                        for (int64_t i1 = 0; i1 < s->in[1]; i1++) {
                            int64_t o1 = i1 * s->stride[1] - s->pad[1] + k1 * s->dilation[1];
                            if (o1 < 0 || o1 >= s->size[1]) continue;
                            const double *row = from + (i0 * s->in[1] + i1) * s->in[2];
                            double *to = s->out + m * s->plane + (o0 * s->size[1] + o1) * s->size[2];
                            for (int64_t i2 = 0; i2 < s->in[2]; i2++) {
                                int64_t o2 = i2 * s->stride[2] - s->pad[2] + k2 * s->dilation[2];
                                if (o2 >= 0 && o2 < s->size[2]) to[o2] += row[i2];
                            }
                        }
                    }
                }
}

static fy_status ref_transpose(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), x, w;
    const fy_tensor *bias = fy_arg(c, 2);
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 0), true, &x));
    FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 1), true, &w));
    int nd = x.rank - 2;
    int64_t group = fy_attr_i(c->node, "group"), cin = x.dim[1] / group, cout = w.dim[1];
    fy_window win;
    FY_TRY(fy_window_read(&win, c->node, nd, w.dim + 2, c->e));
    FY_TRY(fy_transpose_place(&win, c->node, x.dim + 2, y->dim + 2, c->e));
    scatter s = {.points = 1, .taps = 1, .plane = 1};
    for (int i = 0; i < 3; i++) {
        int k = i - (3 - nd);
        s.in[i] = k < 0 ? 1 : x.dim[2 + k];
        s.size[i] = k < 0 ? 1 : y->dim[2 + k];
        s.kernel[i] = k < 0 ? 1 : win.kernel[k];
        s.stride[i] = k < 0 ? 1 : win.stride[k];
        s.dilation[i] = k < 0 ? 1 : win.dilation[k];
        s.pad[i] = k < 0 ? 0 : win.pad[k];
        s.points *= s.in[i];
        s.taps *= s.kernel[i];
        s.plane *= s.size[i];
    }
    int64_t ncol, nout;
    FY_NEED(c->e, fy_mul_i64(&ncol, cout * s.taps, s.points) && fy_mul_i64(&nout, cout, s.plane) && ncol <= c->max_bytes / 8, LIMIT, "the patch matrix is too large");
    double *col = FY_NEWN(c->scratch, double, ncol), *out = FY_NEWN(c->scratch, double, nout);
    FY_NOMEM(c->e, col && out);
    s.col = col;
    s.out = out;
    for (int64_t n = 0; n < x.dim[0]; n++)
        for (int64_t g = 0; g < group; g++) {
            fy_mat a = {fy_k_at(&w, g * cin * cout * s.taps), w.dtype, 1, cout * s.taps};
            fy_mat b = {fy_k_at(&x, (n * x.dim[1] + g * cin) * s.points), x.dtype, s.points, 1};
            FY_TRY(fy_gemm((fy_mat){col, FERRY_DOUBLE, s.points, 1}, a, b, cout * s.taps, s.points, cin, 1, 0, c->pool, c->e));
            for (int64_t m = 0; m < cout; m++) {
                double v = bias ? fy_get_f64(bias, g * cout + m) : 0;
                for (int64_t i = 0; i < s.plane; i++) out[m * s.plane + i] = v;
            }
            fy_k_for(c, cout, 1, scatter_channels, &s);
            fy_store_f64(y, (n * group + g) * nout, nout, out);
        }
    return FY_OK;
}

static const fy_attr_spec transpose_attrs[] = {CONV_ATTRS, {"output_padding", FY_ATTR_INTS, NULL}, {"output_shape", FY_ATTR_INTS, NULL}, {0}};
const fy_op fy_op_conv_transpose = {.name = "ConvTranspose", .domain = "", .attrs = transpose_attrs, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1,
    .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T,T,T|T", .infer = infer_transpose, .ref = ref_transpose, .flags = FY_PURE};
