/* SPDX-License-Identifier: Apache-2.0
 * conv.h - what the ways to convolve share. */
#ifndef FY_CPU_CONV_H
#define FY_CPU_CONV_H

#include "engines/cpu/cpu.h"
#include "ops/window.h"

/* NULL, with the sizes of the weight, where x is f32 of two spatial axes and known sizes, and weights and bias are constants. */
const char *fy_cpu_conv_can(const fy_site *s, int64_t *wd);
/* Is it a convolution of points: one group, no strides, no padding, constant weights? */
bool fy_cpu_pointwise(const fy_node *n);
/* Takes in a residual of the result's type, then an activation. */
bool fy_cpu_conv_fuse(fy_step *s, const fy_node *next, const fy_value **other);
/* 64-byte aligned floats of the plan. */
float *fy_cpu_floats(fy_arena *a, int64_t n);
/* The bias as `padded` floats, zeros behind it; NULL for none. */
FY_CHECKED fy_status fy_cpu_pack_bias(float **bias, const fy_value *b, int64_t padded, fy_arena *a, ferry_error *e);

/* Winograd's F(4x4, 3x3), or F(2x2, 3x3) for small images, over the last two axes, of two or three. tile: results of a tile along an axis; products: 36, or
 * 16. u: for each position, panels of it as fy_gemm_pack_f32 makes them, `each` floats, whose rows go by tap of the first of three axes and by channel.
 * row: summands of a product. */
#define FY_WINOGRAD 36
typedef struct fy_winograd { fy_window win; float *u, *bias; int64_t tile, products, cin, cout, in_blocks, out_blocks, panels, row, each; } fy_winograd;
FY_CHECKED fy_status fy_winograd_prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e);       /* fy_impl's prepare; s->data becomes an fy_winograd */

extern const fy_impl fy_cpu_winograd3, fy_cpu_winograd, fy_cpu_conv_pair, fy_cpu_conv_rows;

#endif
