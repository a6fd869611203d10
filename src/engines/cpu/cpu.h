/* SPDX-License-Identifier: Apache-2.0
 * cpu.h - the implementations of our engine, family by family: each file has a NULL-terminated table, in order of preference. */
#ifndef FY_CPU_ENGINE_H
#define FY_CPU_ENGINE_H

#include "plan/plan.h"

extern const fy_impl *const fy_cpu_view[], *const fy_cpu_attention[], *const fy_cpu_matmul[], *const fy_cpu_conv[], *const fy_cpu_conv_any[], *const fy_cpu_pool[], *const fy_cpu_elementwise[], *const fy_cpu_binary[], *const fy_cpu_rows[],
                            *const fy_cpu_move[], *const fy_cpu_blocks[], *const fy_cpu_parts[], *const fy_cpu_select[], *const fy_cpu_map[], *const fy_cpu_quantize[], *const fy_cpu_top[], *const fy_cpu_place[],
                            *const fy_cpu_regroup[], *const fy_cpu_resize[], *const fy_cpu_reduce[], *const fy_cpu_fold[], *const fy_cpu_norm[], *const fy_cpu_rnn[];
extern const fy_impl *const fy_cpu_conv8[], *const fy_cpu_gemm8[], *const fy_cpu_pool8[], *const fy_cpu_bytes[], *const fy_cpu_integer[], *const fy_cpu_nbits[], *const fy_cpu_along[], *const fy_cpu_grid[];

/* Known sizes of a value, -1 each where symbolic; false if the rank is not known. */
bool fy_cpu_dims(const fy_value *v, int64_t *dim);
bool fy_cpu_f32(const fy_value *v);                          /* a float tensor of known rank */
bool fy_cpu_inner(const fy_value *v);                        /* read once, by a node of its own graph */
/* Sets the epilogue of a step from a following node that is an activation; false if it is none that kernels know. */
bool fy_cpu_activation(fy_epilogue *e, const fy_node *n);
bool fy_cpu_keeps_padding(fy_act a);                         /* finite at zero: the lanes that pad channels stay harmless */
/* y = act(x) for activations that are not done inside kernels (anything but NONE and CLAMP), over n values in place. */
void fy_cpu_finish(const fy_step *s, const fy_exec *x, float *y, int64_t n);

/* ---- packing (pack.c): what prepare() keeps of weights is asked for here -------------------------------------------------------- */

/* n floats of packed weights, 64-byte aligned, for the life of the plan. *filled: they are packed already, in the cache's file, and must not be
 * written; ask before the constant is read, so that this saves reading it. NULL: out of memory. Packed bytes may depend on nothing but the graph,
 * the step, the constants of its nodes and the kernels: that is what the file goes by. For other than floats: fy_plan_packed. */
float *fy_cpu_packed(fy_plan *p, int64_t n, bool *filled);
/* fn(ctx, rows, begin, end) for pieces of at most `rows` of the first axis of an f32 constant, from any thread: rows is c[begin .. end, ...], dense. */
typedef void fy_cpu_pack_fn(void *ctx, const float *rows, int64_t begin, int64_t end);
FY_CHECKED fy_status fy_cpu_pack_rows(const fy_plan *p, const fy_const *c, int64_t rows, fy_cpu_pack_fn *fn, void *ctx, ferry_error *e);
/* Panels of a matrix [k, n] (of one [n, k], if trans), as kernels want them: ceil(n / gemm_nr) * gemm_nr * k floats. */
FY_CHECKED fy_status fy_cpu_pack_matrix(const fy_plan *p, float *to, const fy_const *c, bool trans, ferry_error *e);
void fy_cpu_pack_panels(const fy_plan *p, float *to, const float *from, int64_t k, int64_t n, int64_t row, int64_t col);
/* An f32 constant where it is, seen through its strides; false if it would have to be computed, or where `aligned` is asked for
 * and files have it at any byte (as protobuf does). Nothing is to be freed. */
bool fy_cpu_const_view(fy_tensor *t, const fy_const *c, bool aligned);

/* Scratch of the product of n numbers in bytes, and a vector beyond it for kernels that read ahead. LIMIT where the run may not take as much. */
FY_CHECKED fy_status fy_cpu_room(void **room, fy_exec *x, const int64_t *factor, int n, ferry_error *e);

#endif
