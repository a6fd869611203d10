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

/* Regions [n,5]: column 0 is the picture's number in the batch. */
fy_status fy_lower_roi_align(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "input"), *rois = fy_l_tensor(l, "rois");
    int64_t h = fy_l_int(l, "pooled_height"), w = fy_l_int(l, "pooled_width"), ratio = fy_l_int(l, "sampling_ratio");
    double scale = fy_l_float(l, "spatial_scale");
    bool aligned = fy_l_bool(l, "aligned");
    if (!x || !rois) return fy_l_ret(l, NULL);
    fy_build *b = &l->b;
    fy_value *which = fy_emit(b, "Gather", FY_V(rois, fy_k_i64(b, 0)), FY_A(fy_int("axis", 1)));
    fy_value *box = fy_l_slice(l, rois, 1, fy_l_k(l, 1), fy_l_k(l, 5), 1);
    which = which ? fy_b_cast(b, which, FERRY_INT64) : NULL;
    return fy_l_ret(l, which && box ? fy_emit(b, "RoiAlign", FY_V(x, box, which),
                                              FY_A(fy_text("coordinate_transformation_mode", aligned ? "half_pixel" : "output_half_pixel"),
                                                   fy_int("output_height", h), fy_int("output_width", w),
                                                   fy_int("sampling_ratio", ratio > 0 ? ratio : 0), fy_float("spatial_scale", scale)))
                                    : NULL);
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
