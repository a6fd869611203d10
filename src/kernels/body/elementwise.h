/* SPDX-License-Identifier: Apache-2.0
 * elementwise.h - functions of one and of two numbers, and what puts them into a table (body). */
#include "kernels/body/binary.h"
#include "kernels/body/unary.h"

static void elementwise_fill(fy_kernels *k) {
#define KERNEL(slot, signature, ulps, floor)
#define BINARY(OP, name) k->binary[FY_##OP] = binary_##name;
#define UNARY(ACT, name, ulps, floor) k->unary[FY_ACT_##ACT] = unary_##name;
#include "kernels/kernels.def"
#undef KERNEL
#undef BINARY
#undef UNARY
}
