/* SPDX-License-Identifier: Apache-2.0
 * half.h - the small floats, by bits: IEEE half, bfloat16, the float8, float6 and float4 kinds (ONNX "float stored in 8 bits").
 * Narrowing rounds to nearest, ties to even. `sat` chooses, for float8, saturation instead of inf/NaN. */
#ifndef FY_HALF_H
#define FY_HALF_H

#include "base/compiler.h"

float    fy_half_to_f32(uint16_t h);
uint16_t fy_half_from_f64(double v);                        /* one rounding, also from double */
float    fy_bf16_to_f32(uint16_t h);
uint16_t fy_bf16_from_f64(double v);
/* `dtype` is a ferry_dtype of the float8 / float6 / float4 family; the value sits in the low bits. */
float    fy_f8_to_f32(int32_t dtype, uint8_t bits);
uint8_t  fy_f8_from_f64(int32_t dtype, double v, bool sat);
/* float8e8m0 (a power of two, no sign): `mode` is 'u' (up), 'd' (down) or 'n' (nearest, ties up). fy_f8_from_f64 rounds
 * up when it saturates and to nearest when it does not. Negative values give NaN. */
uint8_t  fy_e8m0_from_f64(double v, char mode, bool sat);

#endif
