/* SPDX-License-Identifier: Apache-2.0
 * window.h - sliding windows, shared by convolutions and pools: kernel, strides, dilations, pads, auto_pad, ceil_mode. */
#ifndef FY_OPS_WINDOW_H
#define FY_OPS_WINDOW_H

#include "ops/common.h"

#define FY_MAX_SPATIAL 3

typedef enum fy_auto_pad { FY_PAD_NOTSET, FY_PAD_VALID, FY_PAD_SAME_UPPER, FY_PAD_SAME_LOWER } fy_auto_pad;
typedef struct fy_window {
    int         nd;
    int64_t     kernel[FY_MAX_SPATIAL], stride[FY_MAX_SPATIAL], dilation[FY_MAX_SPATIAL], pad[FY_MAX_SPATIAL], pad_end[FY_MAX_SPATIAL];
    fy_auto_pad auto_pad;
    bool        ceil;
    const fy_dim *extent[FY_MAX_SPATIAL];                /* kernel sizes that are symbols, in inference; NULL: kernel[] holds it */
} fy_window;

/* From the attributes of a node over `nd` spatial axes. kernel: sizes from the weight, or NULL: the attribute. ATTR if a value
 * is out of range; UNSUPPORTED if nd is over FY_MAX_SPATIAL. Operators that lack an attribute get its default. */
FY_CHECKED fy_status fy_window_read(fy_window *w, const fy_node *n, int nd, const int64_t *kernel, ferry_error *e);
/* Size of the output along axis i; SHAPE if a constant input is too small. NULL in *out: out of memory. */
FY_CHECKED fy_status fy_window_out(fy_infer *f, const fy_window *w, int i, const fy_dim *in, const fy_dim **out);
/* Fixes auto_pad for constant sizes: pad[] then hold the padding before each axis. */
void fy_window_place(fy_window *w, const int64_t *in, const int64_t *out);

/* The same for a transposed convolution, whose pads follow from output_shape as well. */
FY_CHECKED fy_status fy_transpose_place(fy_window *w, const fy_node *n, const int64_t *in, const int64_t *out, ferry_error *e);

/* What convolutions share (conv.c). Output 0 [n, m, o1..] of x (input 0) and w (input wi) in `group`s, dtype t. */
FY_CHECKED fy_status fy_conv_infer(fy_infer *f, int wi, fy_dtype t);
/* The optional bias, input i, has one element for each of the channels. */
FY_CHECKED fy_status fy_conv_bias(fy_infer *f, int i, const fy_dim *channels);

#endif
