/* SPDX-License-Identifier: Apache-2.0
 * all.h - the bodies in order, and the function that puts them into a table: included once for each instruction set, after its simd header. */
#include "kernels/body/tile.h"
#include "kernels/body/gemm.h"
#include "kernels/body/bf16.h"
#include "kernels/body/conv.h"
#include "kernels/body/conv_pick.h"
#include "kernels/body/winograd.h"
#include "kernels/body/math.h"
#include "kernels/body/trig.h"
#include "kernels/body/binary.h"
#include "kernels/body/unary.h"
#include "kernels/body/peak.h"
#include "kernels/body/attention.h"
#include "kernels/body/reduce.h"
#include "kernels/body/int8.h"
#include "kernels/body/row8.h"
#include "kernels/body/nbits.h"

#define FY_FILL2(isa) fy_kernels_fill_##isa
#define FY_FILL(isa) FY_FILL2(isa)
void FY_FILL(ISA)(fy_kernels *k);
void FY_FILL(ISA)(fy_kernels *k) {
    k->gemm_nr = GEMM_NR;
    k->gemm_mr = GEMM_MR;
    k->bf16_bytes = sizeof(float);
    k->int8_nr = DOT_NR;
    k->int8_mr = DOT_MR;
#define KERNEL(slot, signature, ulps, floor) k->slot = slot;
#define BINARY(OP, name) k->binary[FY_##OP] = binary_##name;
#define UNARY(ACT, name, ulps, floor) k->unary[FY_ACT_##ACT] = unary_##name;
#include "kernels/kernels.def"
#undef KERNEL
#undef BINARY
#undef UNARY
    k->attention_row = attention_row;
    k->attention_sum = attention_sum;
    k->reduce_rows = reduce_rows;
    k->reduce_cols = reduce_cols;
    k->log_softmax_rows = log_softmax_rows;
    k->scale_c16 = scale_c16;
    k->blend_c16 = blend_c16;
    k->affine = affine;
    k->row_u8s8 = row_u8s8;
    k->nbits_dot = nbits_dot;
    k->nbits_panel = nbits_panel;
}
