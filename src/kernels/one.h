/* SPDX-License-Identifier: Apache-2.0
 * one.h - the mathematics and elementwise kernels over one number after the other: what the generic kernels use. */
#ifndef FY_KERNELS_ONE_H
#define FY_KERNELS_ONE_H

#include "kernels/kernels.h"

float fy_one_exp_below(float x);
float fy_one_log(float x);
float fy_one_tanh(float x);
void fy_one_fill(fy_kernels *k);         /* the unary and binary slots */

#endif
