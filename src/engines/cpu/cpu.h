/* SPDX-License-Identifier: Apache-2.0
 * cpu.h - the implementations of our engine, family by family: each file has a NULL-terminated table, in order of preference. */
#ifndef FY_CPU_ENGINE_H
#define FY_CPU_ENGINE_H

#include "plan/plan.h"

extern const fy_impl *const fy_cpu_view[], *const fy_cpu_attention[], *const fy_cpu_matmul[], *const fy_cpu_conv[], *const fy_cpu_pool[], *const fy_cpu_elementwise[], *const fy_cpu_binary[], *const fy_cpu_rows[],
                            *const fy_cpu_move[], *const fy_cpu_blocks[], *const fy_cpu_parts[], *const fy_cpu_select[], *const fy_cpu_map[], *const fy_cpu_quantize[], *const fy_cpu_top[], *const fy_cpu_place[],
                            *const fy_cpu_regroup[], *const fy_cpu_resize[], *const fy_cpu_reduce[], *const fy_cpu_fold[], *const fy_cpu_norm[], *const fy_cpu_rnn[];
extern const fy_impl *const fy_cpu_conv8[], *const fy_cpu_gemm8[], *const fy_cpu_pool8[], *const fy_cpu_bytes[];

/* Known sizes of a value, -1 each where symbolic; false if the rank is not known. */
bool fy_cpu_dims(const fy_value *v, int64_t *dim);
bool fy_cpu_f32(const fy_value *v);                          /* a float tensor of known rank */
/* Sets the epilogue of a step from a following node that is an activation; false if it is none that kernels know. */
bool fy_cpu_activation(fy_epilogue *e, const fy_node *n);
bool fy_cpu_keeps_padding(fy_act a);                         /* finite at zero: the lanes that pad channels stay harmless */
/* y = act(x) for activations that are not done inside kernels (anything but NONE and CLAMP), over n values in place. */
void fy_cpu_finish(const fy_step *s, const fy_exec *x, float *y, int64_t n);

#endif
