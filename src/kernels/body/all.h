/* SPDX-License-Identifier: Apache-2.0
 * all.h - the bodies in order, and the function that puts them into a table: included once for each instruction set, after its simd header. */
#ifndef FV_LANES
#define FV_LANES 16
#endif
#include "kernels/body/tile.h"
#include "kernels/body/gemm.h"
#include "kernels/body/bf16.h"
#include "kernels/body/conv.h"
#include "kernels/body/conv_pick.h"
#include "kernels/body/winograd.h"
#include "kernels/body/order.h"
#ifdef FV_EACH                           /* where a vector is no register: one number after the other, compiled by kernels_one.c */
FV_EACH(exp_below)
FV_EACH(log)
FV_EACH(tanh)
#define elementwise_fill fy_one_fill
#else
#include "kernels/body/math.h"
#include "kernels/body/trig.h"
#include "kernels/body/arc.h"
#include "kernels/body/elementwise.h"
#endif
#include "kernels/body/pool.h"
#include "kernels/body/rows.h"
#include "kernels/body/peak.h"
#include "kernels/body/attention.h"
#include "kernels/body/reduce.h"
#include "kernels/body/int8.h"
#include "kernels/body/row8.h"
#include "kernels/body/bytes.h"
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
#define BINARY(OP, name)
#define UNARY(ACT, name, ulps, floor)
#include "kernels/kernels.def"
#undef KERNEL
#undef BINARY
#undef UNARY
    elementwise_fill(k);
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
