/* SPDX-License-Identifier: Apache-2.0
 * quant.h - the last step of operators that give quantised tensors. */
#ifndef FY_OPS_QUANT_H
#define FY_OPS_QUANT_H

#include "ops/common.h"

/* v[i] = what element type t (an integer type, or a float8) stores for v[i] + zero[i]: integers are rounded to nearest, ties to even, before the
 * zero point is added, then saturated; float8 is rounded and saturated as it is stored. */
void fy_quant_to(fy_dtype t, double *v, const double *zero, int64_t n);
/* A scale that is multiplied with another and divided by a third, in f32 at each step, as every runtime does it. */
double fy_quant_scale(double a, double b, double y);
/* x less its zero point (a view of x's shape, or NULL) in scratch: f32, where 9 bits hold the difference of 8-bit integers, f64 for
 * float8. Products are then exact in double, and so are sums of integers up to 2^35 terms. */
FY_CHECKED fy_status fy_quant_centred(const fy_call *c, const fy_tensor *x, const fy_tensor *zero, fy_tensor *out);

#endif
