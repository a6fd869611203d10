/* SPDX-License-Identifier: Apache-2.0
 * ms_misc.c - com.microsoft's own forms of operators that ai.onnx has too: QuantizeLinear DequantizeLinear Pad Trilu Unique Range
 * ExpandDims GatherND GridSample NhwcMaxPool QLinearConv ConvTransposeWithDynamicPads; and two of its own: Inverse, CropAndResize.
 * Source: onnxruntime docs/ContribOperators.md; CropAndResize: TensorFlow's crop_and_resize, with channels first. */
#include "ops/move.h"
#include "ops/ms_quant.h"

#include <math.h>
#include <string.h>

#define MS "com.microsoft"
#define ALIAS(var, Name, attrs_, least, most, outs, T, infer_, ref_)                                                     \
    const fy_op fy_op_##var = {.name = Name, .domain = MS, .attrs = attrs_, .min_in = least, .max_in = most, .min_out = outs, .max_out = outs, \
        .first = 1, .since = 1, .types = T, .infer = infer_, .ref = ref_, .flags = FY_PURE};

/* The same operator, inputs one to one. */
static fy_status infer_same(fy_infer *f, const fy_op *op) {
    fy_fact in[4];
    fy_sub s;
    for (int i = 0; i < f->nin && i < 4; i++) in[i] = fy_sub_fact(f, i, 0);
    fy_sub_begin(&s, op, f->node);
    return fy_sub_infer(f, &s, f->nin < 4 ? f->nin : 4, in, f->nout, f->out);
}

static fy_status ref_same(const fy_call *c, const fy_op *op) {
    fy_sub s;
    fy_call k = *c;
    fy_sub_begin(&s, op, c->node);
    k.node = &s.node;
    return op->ref(&k);
}

#define SAME(name)                                                                                                       \
    static fy_status infer_##name(fy_infer *f) { return infer_same(f, &fy_op_##name); }                                  \
    static fy_status ref_##name(const fy_call *c) { return ref_same(c, &fy_op_##name); }
SAME(quantize_linear)
SAME(dequantize_linear)
SAME(trilu)
SAME(gather_nd)

static const fy_attr_spec axis_attrs[] = {{"axis", FY_ATTR_INT, "1"}, {0}};
ALIAS(ms_quantize_linear, "QuantizeLinear", axis_attrs, 2, 3, 1,
      "T=f32,f16,bf16;Q=i8,u8,i16,u16,i4,u4|T,T,Q|Q", infer_quantize_linear, ref_quantize_linear)
ALIAS(ms_dequantize_linear, "DequantizeLinear", axis_attrs, 2, 3, 1, "T=f32,f16,bf16;Q=i8,u8,i16,u16,i32,i4,u4|Q,T,Q|T",
      infer_dequantize_linear, ref_dequantize_linear)
static const fy_attr_spec trilu_attrs[] = {{"upper", FY_ATTR_INT, "1"}, {0}};
ALIAS(ms_trilu, "Trilu", trilu_attrs, 1, 2, 1, "T=" FY_T_NUM ",bool|T,i64|T", infer_trilu, ref_trilu)
ALIAS(ms_gather_nd, "GatherND", NULL, 2, 2, 1, "T=*;I=i32,i64|T,I|T", infer_gather_nd, ref_gather_nd)

/* ---- Range: scalars or vectors of one element; delta 1 if left out --------------------------------------------------- */

static const fy_tensor *unit(fy_tensor *room, fy_dtype t, char memory[8]) {
    *room = fy_tensor_view(t, 0, NULL, memory);
    fy_put_f64(room, 0, 1);
    return room;
}

static fy_status infer_range(fy_infer *f) {
    fy_fact in[3];
    fy_sub s;
    fy_tensor delta;
    _Alignas(8) char memory[8] = {0};
    fy_dtype t = fy_in_dtype(f, 0) ? fy_in_dtype(f, 0) : fy_in_dtype(f, 1);
    for (int i = 0; i < 3; i++) {
        FY_TRY(fy_ms_one(f, i, "1 and sizes of start, limit or delta"));
        in[i] = fy_sub_fact(f, i, 0);
        if (in[i].type.rank > 0) in[i].type.rank = 0;
    }
    if (!fy_in_has(f, 2)) {
        in[2] = (fy_fact){.type = {.kind = FY_TENSOR, .dtype = t, .rank = t ? 0 : -1}};
        if (t) in[2].data = unit(&delta, t, memory);
    }
    fy_sub_begin(&s, &fy_op_range, f->node);
    return fy_sub_infer(f, &s, 3, in, f->nout, f->out);
}

static fy_status ref_range(const fy_call *c) {
    fy_tensor delta;
    _Alignas(8) char memory[8] = {0};
    const fy_tensor *in[3] = {fy_arg(c, 0), fy_arg(c, 1), fy_arg(c, 2)};
    if (!in[2]) in[2] = unit(&delta, in[0]->dtype, memory);
    return fy_res(c, 0) ? fy_sub_apply(c, &fy_op_range, 3, in, fy_res(c, 0)) : FY_OK;
}
ALIAS(ms_range, "Range", NULL, 2, 3, 1, "T=f32,f64,i16,i32,i64|T,T,T|T", infer_range, ref_range)

/* ---- ExpandDims ---------------------------------------------------------------------------------------------------- */

static fy_status infer_expand(fy_infer *f) {
    fy_fact in[2] = {fy_sub_fact(f, 0, 0), fy_sub_fact(f, 1, 0)};
    const fy_dim *one = fy_dim_const(f->dims, 1);
    fy_sub s;
    FY_NOMEM(f->e, one);
    FY_TRY(fy_ms_one(f, 1, "1 and sizes of axis"));
    in[1].type.rank = 1;
    in[1].type.dim = &one;
    fy_sub_begin(&s, &fy_op_unsqueeze, f->node);
    return fy_sub_infer(f, &s, 2, in, f->nout, f->out);
}

static fy_status ref_expand(const fy_call *c) { return ref_same(c, &fy_op_unsqueeze); }
ALIAS(ms_expand_dims, "ExpandDims", NULL, 2, 2, 1, "T=*|T,i32|T", infer_expand, ref_expand)

/* ---- Unique: in order of first occurrence --------------------------------------------------------------------------- */

static fy_status infer_unique(fy_infer *f) {
    fy_fact in = fy_sub_fact(f, 0, 0), out[4];
    int r;
    fy_sub s;
    static const int from[] = {0, 2, 3};
    FY_TRY(fy_k_rank(f, 0, 1, 1, &r));
    fy_sub_begin(&s, &fy_op_unique, f->node);
    FY_TRY(fy_sub_infer(f, &s, 1, &in, 4, out));
    for (int i = 0; i < f->nout && i < 3; i++) f->out[i] = out[from[i]];
    return FY_OK;
}

static fy_status ref_unique(const fy_call *c) {
    fy_rval *out[4] = {c->out[0], NULL, c->out[1], c->out[2]};
    fy_sub s;
    fy_call k = *c;
    fy_sub_begin(&s, &fy_op_unique, c->node);
    fy_sub_int(&s, "sorted", 0);
    k.node = &s.node;
    k.nout = 4;
    k.out = out;
    return fy_op_unique.ref(&k);
}
ALIAS(ms_unique, "Unique", NULL, 1, 1, 3, "T=*|T|T,i64,i64", infer_unique, ref_unique)

/* ---- Pad: pads [2r] or [1, 2r]; value a scalar or [1] ----------------------------------------------------------------- */

static fy_status infer_pad(fy_infer *f) {
    fy_fact in[3] = {fy_sub_fact(f, 0, 0), fy_sub_fact(f, 1, 0), fy_sub_fact(f, 2, 0)};
    int r;
    fy_sub s;
    FY_TRY(fy_k_rank(f, 1, 1, 2, &r));
    if (r == 2) {
        FY_TRY(fy_k_agree(f, fy_in_dim(f, 1, 0), fy_dim_const(f->dims, 1), "1 and axis 0 of pads"));
        in[1].type.rank = 1;
        in[1].type.dim++;
    }
    FY_TRY(fy_ms_one(f, 2, "1 and sizes of the pad value"));
    fy_sub_begin(&s, &fy_op_pad, f->node);
    return fy_sub_infer(f, &s, 3, in, f->nout, f->out);
}

static fy_status ref_pad(const fy_call *c) { return ref_same(c, &fy_op_pad); }
static const fy_attr_spec pad_attrs[] = {{"mode", FY_ATTR_STRING, "constant"}, {0}};
ALIAS(ms_pad, "Pad", pad_attrs, 2, 3, 1, "T=" FY_T_FLOAT "|T,i64,T|T", infer_pad, ref_pad)

/* ---- GridSample: its modes have PyTorch's names ----------------------------------------------------------------------- */

static fy_status sample_mode(fy_sub *s, const fy_node *n, ferry_error *e) {
    static const char *const names[][2] = {{"bilinear", "linear"}, {"nearest", "nearest"}, {"bicubic", "cubic"}};
    fy_sub_begin(s, &fy_op_grid_sample, n);
    for (int i = 0; i < FY_COUNT(names); i++)
        if (fy_attr_is(n, "mode", names[i][0])) {
            fy_sub_text(s, "mode", names[i][1]);
            return FY_OK;
        }
    return fy_fail(e, FY_E_ATTR, "mode must be bilinear, nearest or bicubic");
}

static fy_status infer_sample(fy_infer *f) {
    fy_fact in[2] = {fy_sub_fact(f, 0, 0), fy_sub_fact(f, 1, 0)};
    int r;
    fy_sub s;
    FY_TRY(fy_k_rank(f, 0, 4, 4, &r));
    FY_TRY(sample_mode(&s, f->node, f->e));
    return fy_sub_infer(f, &s, 2, in, f->nout, f->out);
}

static fy_status ref_sample(const fy_call *c) {
    const fy_tensor *in[2] = {fy_arg(c, 0), fy_arg(c, 1)};
    fy_tensor *y = fy_res(c, 0);
    fy_sub s;
    FY_TRY(sample_mode(&s, c->node, c->e));
    return y ? fy_sub_run(c, &s, 2, in, 1, &y) : FY_OK;
}
static const fy_attr_spec sample_attrs[] = {{"mode", FY_ATTR_STRING, "bilinear"}, {"padding_mode", FY_ATTR_STRING, "zeros"},
    {"align_corners", FY_ATTR_INT, "0"}, {0}};
ALIAS(ms_grid_sample, "GridSample", sample_attrs, 2, 2, 1, "T=" FY_T_FLOAT ";G=" FY_T_FLOAT "|T,G|T", infer_sample,
      ref_sample)

/* ---- NhwcMaxPool, QLinearConv: input 0 and the output with channels last ---------------------------------------------- */

static bool channels_last(const fy_node *n) { return n->op->name[0] == 'N' || fy_attr_i(n, "channels_last") != 0; }
static const fy_op *channels_first_op(const fy_node *n) { return n->op->name[0] == 'N' ? &fy_op_max_pool : &fy_op_qlinear_conv; }

static fy_status infer_layout(fy_infer *f) {
    fy_fact in[9], out;
    int r, perm[FY_MAX_RANK];
    bool last = channels_last(f->node);
    fy_sub s;
    FY_TRY(fy_k_rank(f, 0, 3, FY_MAX_RANK, &r));
    for (int i = 0; i < f->nin && i < 9; i++) in[i] = fy_sub_fact(f, i, 0);
    if (last && r > 0) {
        fy_sub_channels_first(perm, r);
        FY_TRY(fy_sub_permute_fact(f, &in[0], perm));
    }
    fy_sub_begin(&s, channels_first_op(f->node), f->node);
    FY_TRY(fy_sub_infer(f, &s, f->nin < 9 ? f->nin : 9, in, 1, &out));
    if (last && out.type.rank > 0) {
        fy_sub_channels_last(perm, out.type.rank);
        FY_TRY(fy_sub_permute_fact(f, &out, perm));
    }
    return fy_out_set(f, 0, out.type.dtype, out.type.rank, out.type.dim);
}

static fy_status ref_layout(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), x, to, *out = &to;
    const fy_tensor *in[9];
    int perm[FY_MAX_RANK], nin = c->nin < 9 ? c->nin : 9;
    fy_sub s;
    if (!y || !fy_count(y)) return FY_OK;
    x = *fy_arg(c, 0);
    to = *y;
    if (channels_last(c->node)) {
        fy_sub_channels_first(perm, y->rank);
        x = fy_sub_permute(&x, perm);
        to = fy_sub_permute(y, perm);
    }
    for (int i = 0; i < nin; i++) in[i] = i ? fy_arg(c, i) : &x;
    fy_sub_begin(&s, channels_first_op(c->node), c->node);
    return fy_sub_run(c, &s, nin, in, 1, &out);
}
static const fy_attr_spec pool_attrs[] = {{"kernel_shape", FY_ATTR_INTS, FY_REQUIRED}, {"strides", FY_ATTR_INTS, NULL}, {"dilations", FY_ATTR_INTS, NULL},
    {"pads", FY_ATTR_INTS, NULL}, {"auto_pad", FY_ATTR_STRING, "NOTSET"}, {"ceil_mode", FY_ATTR_INT, "0"}, {0}};
ALIAS(ms_nhwc_max_pool, "NhwcMaxPool", pool_attrs, 1, 1, 1, "T=i8,u8|T|T", infer_layout, ref_layout)
static const fy_attr_spec conv_attrs[] = {{"kernel_shape", FY_ATTR_INTS, NULL}, {"strides", FY_ATTR_INTS, NULL}, {"dilations", FY_ATTR_INTS, NULL},
    {"pads", FY_ATTR_INTS, NULL}, {"auto_pad", FY_ATTR_STRING, "NOTSET"}, {"group", FY_ATTR_INT, "1"}, {"channels_last", FY_ATTR_INT, "0"}, {0}};
ALIAS(ms_q_linear_conv, "QLinearConv", conv_attrs, 8, 9, 1,
      "A=i8,u8;B=i8,u8;C=i8,u8|A,f32,A,B,f32,B,f32,C,i32|C", infer_layout, ref_layout)

/* ---- ConvTransposeWithDynamicPads: X, W, Pads, B ---------------------------------------------------------------------- */

static fy_status infer_transpose(fy_infer *f) {
    fy_fact in[3] = {fy_sub_fact(f, 0, 0), fy_sub_fact(f, 1, 0), fy_sub_fact(f, 3, 0)};
    int64_t pads[FY_MAX_RANK], n = 0;
    int r, rx;
    fy_sub s;
    FY_TRY(fy_k_rank(f, 2, 1, 1, &r));
    FY_TRY(fy_k_rank(f, 0, 3, FY_MAX_RANK, &rx));
    fy_sub_begin(&s, &fy_op_conv_transpose, f->node);
    if (fy_in_has(f, 2)) {
        if (!fy_in_ints(f, 2, pads, FY_MAX_RANK, &n)) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), rx);
        fy_sub_ints(&s, "pads", pads, n);
    }
    return fy_sub_infer(f, &s, 3, in, f->nout, f->out);
}

static fy_status ref_transpose(const fy_call *c) {
    const fy_tensor *in[3] = {fy_arg(c, 0), fy_arg(c, 1), fy_arg(c, 3)}, *pads = fy_arg(c, 2);
    fy_tensor *y = fy_res(c, 0);
    fy_sub s;
    if (!y) return FY_OK;
    fy_sub_begin(&s, &fy_op_conv_transpose, c->node);
    if (pads) {
        int64_t *v = fy_k_as_i64(c, pads);
        FY_NOMEM(c->e, v);
        fy_sub_ints(&s, "pads", v, fy_count(pads));
    }
    return fy_sub_run(c, &s, in[2] ? 3 : 2, in, 1, &y);
}
static const fy_attr_spec transpose_attrs[] = {{"kernel_shape", FY_ATTR_INTS, NULL}, {"strides", FY_ATTR_INTS, NULL}, {"dilations", FY_ATTR_INTS, NULL},
    {"auto_pad", FY_ATTR_STRING, "NOTSET"}, {"group", FY_ATTR_INT, "1"}, {"output_padding", FY_ATTR_INTS, NULL}, {0}};
ALIAS(ms_conv_transpose_with_dynamic_pads, "ConvTransposeWithDynamicPads", transpose_attrs, 2, 4, 1,
      "T=" FY_T_FLOAT "|T,T,i64,T|T", infer_transpose, ref_transpose)

/* ---- Inverse ------------------------------------------------------------------------------------------------------- */

static fy_status infer_inverse(fy_infer *f) {
    int r;
    FY_TRY(fy_k_rank(f, 0, 2, FY_MAX_RANK, &r));
    if (r > 0) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, r - 2), fy_in_dim(f, 0, r - 1), "rows and columns"));
    return fy_k_like(f);
}

/* Gauss-Jordan with row pivots: [a | y] becomes [1 | a^-1]. A singular matrix divides by 0, as it may. */
static void invert(double *a, double *y, int64_t n) {
    for (int64_t i = 0; i < n * n; i++) y[i] = i % (n + 1) == 0;
    for (int64_t k = 0; k < n; k++) {
        int64_t p = k;
        for (int64_t i = k + 1; i < n; i++) if (fabs(a[i * n + k]) > fabs(a[p * n + k])) p = i;
        for (int64_t j = 0; j < n && p != k; j++) {
            double t = a[k * n + j], u = y[k * n + j];
            a[k * n + j] = a[p * n + j];
            a[p * n + j] = t;
            y[k * n + j] = y[p * n + j];
            y[p * n + j] = u;
        }
        double pivot = a[k * n + k];
        for (int64_t j = 0; j < n; j++) { a[k * n + j] /= pivot; y[k * n + j] /= pivot; }
        for (int64_t i = 0; i < n; i++) {
            double m = a[i * n + k];
            for (int64_t j = 0; j < n && i != k && m != 0; j++) { a[i * n + j] -= m * a[k * n + j]; y[i * n + j] -= m * y[k * n + j]; }
        }
    }
}

static fy_status ref_inverse(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y = fy_res(c, 0);
    if (!y || !fy_count(y)) return FY_OK;
    int64_t n = y->dim[y->rank - 1], each = n * n;
    double *a = FY_NEWN(c->scratch, double, each), *out = FY_NEWN(c->scratch, double, each);
    FY_NOMEM(c->e, a && out);
    for (int64_t i = 0; i < fy_count(y); i += each) {
        fy_load_f64(a, x, i, each);
        invert(a, out, n);
        fy_store_f64(y, i, each, out);
    }
    return FY_OK;
}
ALIAS(ms_inverse, "Inverse", NULL, 1, 1, 1, "T=f32,f64,f16|T|T", infer_inverse, ref_inverse)

/* ---- CropAndResize ------------------------------------------------------------------------------------------------- */

static fy_status infer_crop(fy_infer *f) {
    int r, rr, ri, rs;
    const fy_dim *const *size;
    int64_t n, h, w;
    FY_TRY(fy_k_rank(f, 0, 4, 4, &r));
    FY_TRY(fy_k_rank(f, 1, 2, 2, &rr));
    FY_TRY(fy_k_rank(f, 2, 1, 1, &ri));
    FY_TRY(fy_k_rank(f, 3, 1, 1, &rs));
    if (rr == 2) FY_TRY(fy_k_agree(f, fy_in_dim(f, 1, 1), fy_dim_const(f->dims, 4), "4 and the numbers of a box"));
    if (rr == 2 && ri == 1) FY_TRY(fy_k_agree(f, fy_in_dim(f, 1, 0), fy_in_dim(f, 2, 0), "boxes and their images"));
    if (rs == 1) FY_TRY(fy_k_agree(f, fy_in_dim(f, 3, 0), fy_dim_const(f->dims, 2), "2 and the numbers of crop_size"));
    FY_NEED(f->e, fy_attr_is(f->node, "mode", "bilinear") || fy_attr_is(f->node, "mode", "nearest"), ATTR, "mode must be bilinear or nearest");
    size = fy_in_elems(f, 3, &n);
    if (size && n == 2)
        FY_NEED(f->e, (!fy_dim_known(size[0], &h) || h > 0) && (!fy_dim_known(size[1], &w) || w > 0), VALUE, "crop_size must be positive");
    const fy_dim *dim[4] = {rr == 2 ? fy_in_dim(f, 1, 0) : fy_mv_opaque(f), r == 4 ? fy_in_dim(f, 0, 1) : fy_mv_opaque(f), size && n == 2 ? size[0] : fy_mv_opaque(f),
                            size && n == 2 ? size[1] : fy_mv_opaque(f)};
    return fy_out_set(f, 0, fy_in_dtype(f, 0), 4, dim);
}

/* Where sample i of `count` lies on an axis of n elements, of which the box takes [lo, hi] (1: the last element). */
static double sample_at(double lo, double hi, int64_t i, int64_t count, int64_t n) {
    double last = (double)(n - 1);
    return count > 1 ? lo * last + (double)i * (hi - lo) * last / (double)(count - 1) : 0.5 * (lo + hi) * last;
}

static fy_status ref_crop(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *image = fy_arg(c, 2);
    fy_tensor *y = fy_res(c, 0);
    if (!y || !fy_count(y)) return FY_OK;
    bool nearest = fy_attr_is(c->node, "mode", "nearest");
    double outside = fy_attr_f(c->node, "extrapolation_value"), *box = fy_k_as_f64(c, fy_arg(c, 1)), *p = fy_k_as_f64(c, x);
    FY_NOMEM(c->e, box && p);
    int64_t C = x->dim[1], H = x->dim[2], W = x->dim[3], h = y->dim[2], w = y->dim[3], at = 0;
    for (int64_t r = 0; r < y->dim[0]; r++) {
        int64_t b = fy_get_i64(image, r);
        FY_NEED(c->e, b >= 0 && b < x->dim[0], INDEX, "box %lld is of image %lld of %lld", (long long)r, (long long)b, (long long)x->dim[0]);
        for (int64_t ch = 0; ch < C; ch++) {
            const double *plane = p + (b * C + ch) * H * W;
            for (int64_t i = 0; i < h; i++)
                for (int64_t j = 0; j < w; j++, at++) {
                    double fy = sample_at(box[4 * r], box[4 * r + 2], i, h, H), fx = sample_at(box[4 * r + 1], box[4 * r + 3], j, w, W), v = outside;
                    if (fy >= 0 && fy <= (double)(H - 1) && fx >= 0 && fx <= (double)(W - 1)) {         /* also: a number, and there is an image */
                        int64_t y0 = (int64_t)(nearest ? round(fy) : floor(fy)), x0 = (int64_t)(nearest ? round(fx) : floor(fx));
                        int64_t y1 = (int64_t)ceil(fy), x1 = (int64_t)ceil(fx);
                        double dy = fy - (double)y0, dx = fx - (double)x0;
                        if (nearest) v = plane[y0 * W + x0];
                        else
                            v = (plane[y0 * W + x0] * (1 - dx) + plane[y0 * W + x1] * dx) * (1 - dy) + (plane[y1 * W + x0] * (1 - dx) + plane[y1 * W + x1] * dx) * dy;
                    }
                    fy_put_f64(y, at, v);
                }
        }
    }
    return FY_OK;
}
static const fy_attr_spec crop_attrs[] = {{"mode", FY_ATTR_STRING, "bilinear"}, {"extrapolation_value", FY_ATTR_FLOAT, "0"}, {0}};
ALIAS(ms_crop_and_resize, "CropAndResize", crop_attrs, 4, 4, 1, "T=f32,f64,f16|T,T,i32,i32|T", infer_crop, ref_crop)
