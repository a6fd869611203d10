/* SPDX-License-Identifier: Apache-2.0
 * kernels_one.c - mathematics and elementwise kernels compiled over one number. */
#include "kernels/one.h"

#define FV_LANES 1
#include "kernels/simd/generic.h"

#include "kernels/body/order.h"

#include "kernels/body/math.h"

#include "kernels/body/trig.h"

#include "kernels/body/arc.h"

#include "kernels/body/elementwise.h"

float fy_one_exp_below(float x) { return fv_exp_below(x); }
float fy_one_log(float x) { return fv_log(x); }
float fy_one_tanh(float x) { return fv_tanh(x); }
void fy_one_fill(fy_kernels *k) { elementwise_fill(k); }
