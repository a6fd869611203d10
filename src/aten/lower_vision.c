/* SPDX-License-Identifier: Apache-2.0
 * lower_vision.c - torchvision's operators: boxes that are kept, windows of regions, deformable convolution. */
#include "aten/lower.h"

/* nms(dets [n,4], scores [n], iou) -> indices by falling score. NonMaxSuppression wants a batch and a class, and gives
 * rows (batch, class, box). */
fy_status fy_lower_nms(fy_lower *l) {
    fy_value *boxes = fy_l_tensor(l, "dets"), *scores = fy_l_tensor(l, "scores");
    double iou = fy_l_float(l, "iou_threshold");
    if (!boxes || !scores) return fy_l_ret(l, NULL);
    fy_build *b = &l->b;
    fy_operand box = fy_op_value(boxes), score = fy_op_value(scores);
    boxes = fy_b_unsqueeze(b, fy_l_as(l, &box, FERRY_FLOAT), 0);
    scores = fy_l_as(l, &score, FERRY_FLOAT);
    scores = scores ? fy_b_unsqueeze(b, fy_b_unsqueeze(b, scores, 0), 0) : NULL;
    FY_L_OK(l);
    fy_value *rows = fy_emit(b, "NonMaxSuppression",
                             FY_V(boxes, scores, fy_k_ints(b, 1, (int64_t[]){INT32_MAX}),
                                  fy_l_reshape(l, fy_k_scalar(b, FERRY_FLOAT, iou), 1, (const fy_dim *[]){fy_l_k(l, 1)})),
                             FY_NOATTR);
    return fy_l_ret(l, rows ? fy_emit(b, "Gather", FY_V(rows, fy_k_i64(b, 2)), FY_A(fy_int("axis", 1))) : NULL);
}

/* The pictures' numbers in the batch: column 0 of regions [n,5]. */
static fy_value *which_picture(fy_lower *l, fy_value *rois) {
    fy_value *which = rois ? fy_emit(&l->b, "Gather", FY_V(rois, fy_k_i64(&l->b, 0)), FY_A(fy_int("axis", 1))) : NULL;
    return which ? fy_b_cast(&l->b, which, FERRY_INT64) : NULL;
}

static fy_value *roi_align(fy_lower *l, bool aligned) {
    fy_value *x = fy_l_tensor(l, "input"), *rois = fy_l_tensor(l, "rois"), *which = which_picture(l, rois);
    int64_t h = fy_l_int(l, "pooled_height"), w = fy_l_int(l, "pooled_width"), ratio = fy_l_int(l, "sampling_ratio");
    fy_operand given = fy_l_operand(l, "spatial_scale");
    bool late = given.v && !given.v->constant;              /* known when the model runs */
    double scale = late ? 1 : fy_l_float(l, "spatial_scale");
    fy_value *box = rois ? fy_l_slice(l, rois, 1, fy_l_k(l, 1), fy_l_k(l, 5), 1) : NULL;
    if (box && late) box = fy_l_binary(l, "Mul", box, fy_l_as(l, &given, box->type.dtype));
    if (!x || !which || !box) return NULL;
    return fy_emit(&l->b, "RoiAlign", FY_V(x, box, which),
                   FY_A(fy_text("coordinate_transformation_mode", aligned ? "half_pixel" : "output_half_pixel"), fy_int("output_height", h),
                        fy_int("output_width", w), fy_int("sampling_ratio", ratio > 0 ? ratio : 0), fy_float("spatial_scale", scale)));
}

fy_status fy_lower_roi_align(fy_lower *l) { return fy_l_ret(l, roi_align(l, fy_l_bool(l, "aligned"))); }

/* Position-sensitive pooling: cell p of channel c comes from channel c * cells + p. */
typedef struct cells {
    int64_t h, w;
    const fy_dim *regions, *channels; /* of the result */
} cells;

static fy_status read_cells(fy_lower *l, cells *c) {
    fy_value *x = fy_l_tensor(l, "input"), *rois = fy_l_tensor(l, "rois");
    c->h = fy_l_int(l, "pooled_height");
    c->w = fy_l_int(l, "pooled_width");
    FY_L_OK(l);
    FY_NEED(l->b.e, fy_rank(l, x) == 4 && fy_rank(l, rois) == 2 && c->h > 0 && c->w > 0 && c->h <= 1024 && c->w <= 1024, SHAPE, "%s of regions of rank %d", l->n->op, fy_rank(l, rois));
    c->regions = fy_dim_of(l, rois, 0);
    c->channels = fy_dim_divi(l->m->dims, fy_dim_of(l, x, 1), c->h * c->w);
    FY_NOMEM(l->b.e, c->channels);
    return FY_OK;
}

/* The second result of both: the number of the channel that a cell came from. */
static void give_channels(fy_lower *l, const cells *c) {
    if (!fy_l_wanted(l, 1)) return;
    fy_build *b = &l->b;
    const fy_dim *all[4] = {c->regions, c->channels, fy_l_k(l, c->h), fy_l_k(l, c->w)};
    fy_value *number = fy_emit(b, "Range", FY_V(fy_k_i64(b, 0), fy_l_size_scalar(l, fy_dim_muli(l->m->dims, c->channels, c->h * c->w)), fy_k_i64(b, 1)), FY_NOATTR);
    number = number ? fy_l_reshape(l, fy_b_cast(b, number, FERRY_INT32), 3, all + 1) : NULL;
    fy_l_out(l, 1, number ? fy_l_expand(l, number, 4, all) : NULL);
}

/* Every cell of every channel, then of those the ones that are meant: p of c * cells + p. */
fy_status fy_lower_ps_roi_align(fy_lower *l) {
    cells c;
    FY_TRY(read_cells(l, &c));
    fy_value *y = roi_align(l, true);
    int64_t n = c.h * c.w, *at = FY_NEWN(&l->tmp, int64_t, n);
    FY_NOMEM(l->b.e, at);
    for (int64_t i = 0; i < n; i++) at[i] = i * (n + 1);
    give_channels(l, &c);
    y = y ? fy_l_reshape(l, y, 3, (const fy_dim *[]){c.regions, c.channels, fy_l_k(l, n * n)}) : NULL;
    y = y ? fy_emit(&l->b, "Gather", FY_V(y, fy_k_ints(&l->b, (int)n, at)), FY_A(fy_int("axis", 2))) : NULL;
    return fy_l_ret(l, y ? fy_l_reshape(l, y, 4, (const fy_dim *[]){c.regions, c.channels, fy_l_k(l, c.h), fy_l_k(l, c.w)}) : NULL);
}

/* Half away from zero, as C's round(). */
static fy_value *rounded(fy_lower *l, fy_value *x) {
    fy_value *size = fy_l_binary(l, "Add", fy_l_named_op(l, "Abs", x), x ? fy_k_scalar(&l->b, x->type.dtype, 0.5) : NULL);
    return fy_l_binary(l, "Mul", fy_l_named_op(l, "Sign", x), fy_l_named_op(l, "Floor", size));
}

/* [n, cells, pixels]: which pixels of an axis each cell of each region covers. first, last: [n,1]; the last pixel counts for none. */
static fy_value *covered(fy_lower *l, fy_value *first, fy_value *last, int64_t count, const fy_dim *pixels) {
    fy_build *b = &l->b;
    FY_L_OK_OR(l, NULL);
    fy_dtype t = first->type.dtype;
    fy_value *zero = fy_k_scalar(b, t, 0), *one = fy_k_scalar(b, t, 1);
    fy_value *size = fy_l_binary(l, "Max", fy_l_binary(l, "Sub", last, first), one);
    fy_value *width = fy_l_binary(l, "Div", size, fy_k_scalar(b, t, (double)count));
    fy_value *p = fy_emit(b, "Range", FY_V(zero, fy_k_scalar(b, t, (double)count), one), FY_NOATTR), *end = fy_b_cast(b, fy_l_size_scalar(l, fy_dim_addi(l->m->dims, pixels, -1)), t);
    fy_value *from = fy_l_named_op(l, "Floor", fy_l_binary(l, "Mul", p, width)), *to = fy_l_named_op(l, "Ceil", fy_l_binary(l, "Mul", fy_l_binary(l, "Add", p, one), width));
    from = fy_l_binary(l, "Add", from, first);
    to = fy_l_binary(l, "Min", fy_l_binary(l, "Add", to, first), end);
    fy_value *pixel = fy_emit(b, "Range", FY_V(zero, end, one), FY_NOATTR);
    FY_L_OK_OR(l, NULL);
    fy_value *in = fy_l_binary(l, "And", fy_l_binary(l, "GreaterOrEqual", pixel, fy_b_unsqueeze(b, from, 2)), fy_l_binary(l, "Less", pixel, fy_b_unsqueeze(b, to, 2)));
    return in ? fy_b_cast(b, in, t) : NULL;
}

/* Means over whole pixels: a product with what each axis covers, over how much that is. */
fy_status fy_lower_ps_roi_pool(fy_lower *l) {
    cells c;
    FY_TRY(read_cells(l, &c));
    fy_build *b = &l->b;
    fy_value *x = fy_l_tensor(l, "input"), *rois = fy_l_tensor(l, "rois"), *edge[4];
    fy_dtype t = x->type.dtype;
    int64_t last = -1;
    const fy_dim *one = fy_l_k(l, 1), *h = fy_dim_of(l, x, 2), *w = fy_dim_of(l, x, 3), *ch = fy_l_k(l, c.h), *cw = fy_l_k(l, c.w);
    fy_value *box = rounded(l, fy_l_binary(l, "Mul", fy_b_cast(b, rois, t), fy_k_scalar(b, t, fy_l_float(l, "spatial_scale"))));
    for (int i = 0; i < 4; i++) edge[i] = box ? fy_l_slice(l, box, 1, fy_l_k(l, i + 1), fy_l_k(l, i + 2), 1) : NULL;
    fy_value *rows = covered(l, edge[1], edge[3], c.h, h), *columns = covered(l, edge[0], edge[2], c.w, w), *which = which_picture(l, rois);
    FY_L_OK(l);
    give_channels(l, &c);
    const fy_dim *pixels_h = rows->type.dim[2], *pixels_w = columns->type.dim[2];
    fy_value *y = fy_emit(b, "Gather", FY_V(fy_l_slice(l, fy_l_slice(l, x, 2, fy_l_k(l, 0), fy_l_k(l, -1), 1), 3, fy_l_k(l, 0), fy_l_k(l, -1), 1), which), FY_A(fy_int("axis", 0)));
    y = y ? fy_l_reshape(l, y, 6, (const fy_dim *[]){c.regions, c.channels, ch, cw, fy_dim_addi(l->m->dims, h, -1), fy_dim_addi(l->m->dims, w, -1)}) : NULL;
    fy_value *across = fy_l_reshape(l, columns, 6, (const fy_dim *[]){c.regions, one, one, cw, pixels_w, one}), *down = fy_l_reshape(l, rows, 6, (const fy_dim *[]){c.regions, one, ch, one, one, pixels_h});
    y = fy_l_binary(l, "MatMul", down, fy_l_binary(l, "MatMul", y, across));
    fy_value *high = fy_l_reduce(l, "ReduceSum", rows, 1, &last, true), *wide = fy_l_reduce(l, "ReduceSum", columns, 1, &last, false);
    fy_value *area = fy_l_binary(l, "Mul", high, wide ? fy_b_unsqueeze(b, wide, 1) : NULL);
    FY_L_OK(l);
    area = fy_l_binary(l, "Max", fy_b_unsqueeze(b, area, 1), fy_k_scalar(b, t, 1));                  /* nothing covered: 0 */
    return fy_l_ret(l, y ? fy_l_binary(l, "Div", fy_l_reshape(l, y, 4, (const fy_dim *[]){c.regions, c.channels, ch, cw}), area) : NULL);
}

fy_status fy_lower_roi_pool(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "input"), *rois = fy_l_tensor(l, "rois");
    int64_t size[2] = {fy_l_int(l, "pooled_height"), fy_l_int(l, "pooled_width")};
    double scale = fy_l_float(l, "spatial_scale");
    if (fy_l_wanted(l, 1)) return fy_l_fail(l, FY_E_UNSUPPORTED, "roi_pool: ONNX does not give the places of the maxima");
    return fy_l_ret(
        l, x && rois ? fy_emit(&l->b, "MaxRoiPool", FY_V(x, rois), FY_A(fy_ints("pooled_shape", 2, size), fy_float("spatial_scale", scale)))
                     : NULL);
}

fy_status fy_lower_deform_conv(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "input"), *w = fy_l_tensor(l, "weight"), *offset = fy_l_tensor(l, "offset"),
             *bias = fy_l_tensor(l, "bias"), *mask = fy_l_bool(l, "use_mask") ? fy_l_tensor(l, "mask") : NULL;
    int64_t ph = fy_l_int(l, "pad_h"), pw = fy_l_int(l, "pad_w"), pads[4] = {ph, pw, ph, pw},
            strides[2] = {fy_l_int(l, "stride_h"), fy_l_int(l, "stride_w")},
            dilations[2] = {fy_l_int(l, "dilation_h"), fy_l_int(l, "dilation_w")};
    if (!x || !w || !offset) return fy_l_ret(l, NULL);
    return fy_l_ret(l, fy_emit(&l->b, "DeformConv", FY_V(x, w, offset, bias, mask),
                               FY_A(fy_ints("pads", 4, pads), fy_ints("strides", 2, strides), fy_ints("dilations", 2, dilations),
                                    fy_int("group", fy_l_int(l, "groups")), fy_int("offset_group", fy_l_int(l, "offset_groups")))));
}
