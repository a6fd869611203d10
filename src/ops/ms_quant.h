/* SPDX-License-Identifier: Apache-2.0
 * ms_quant.h - what the quantised operators of com.microsoft share: an input as the numbers that it stands for, and numbers as an
 * output stands for them, by the kernels of DequantizeLinear and QuantizeLinear. */
#ifndef FY_OPS_MS_QUANT_H
#define FY_OPS_MS_QUANT_H

#include "ops/sub.h"

/* t = (x - zero) * scale in double, x, scale, zero the inputs of these numbers (zero: -1 or left out: 0). axis: of scales and zero
 * points that are vectors; -1: they must be scalars. */
FY_CHECKED fy_status fy_ms_dequantise(const fy_call *c, int x, int scale, int zero, int axis, fy_tensor *t);
/* y = saturate(round(t / scale) + zero); scale and zero point are scalars. */
FY_CHECKED fy_status fy_ms_quantise(const fy_call *c, const fy_tensor *t, int scale, int zero, fy_tensor *y);
/* Input i, if there, is a scalar or holds one element? SHAPE if it is known not to. */
FY_CHECKED fy_status fy_ms_one(fy_infer *f, int i, const char *what);

#endif
