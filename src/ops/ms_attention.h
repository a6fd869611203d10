/* SPDX-License-Identifier: Apache-2.0
 * ms_attention.h - what the attentions of com.microsoft share: heads as views, their masks and caches brought to the form of
 * ai.onnx's Attention, which does the work. */
#ifndef FY_OPS_MS_ATTENTION_H
#define FY_OPS_MS_ATTENTION_H

#include "ops/sub.h"

/* [B, S, D] as [B, n, S, size]: heads that begin at column `from`. */
fy_tensor fy_ms_heads(const fy_tensor *x, int64_t from, int64_t n, int64_t size);
/* [B, S, n, parts, size], part number `part`, as [B, n, S, size]. */
fy_tensor fy_ms_packed(const fy_tensor *x, int64_t part);

/* One attention over heads [B, N, S, H]. mask: added to the scores, [B or 1, N or 1, S, T] in double, or NULL. past_k, past_v [B,
 * N, P, H] stand before k, v; present_k, present_v get both. qk: scores [B, N, S, T] at the stage of Attention's
 * qk_matmul_output_mode. y [B, S, N * Hv]. All but q, k, v, y may be NULL. */
typedef struct fy_ms_core {
    const fy_tensor *q, *k, *v, *past_k, *past_v, *mask;
    fy_tensor       *y, *present_k, *present_v, *qk;
    double           scale, softcap;     /* scale 0: 1 / sqrt(head size) */
    int              qk_mode;
} fy_ms_core;
FY_CHECKED fy_status fy_ms_attend(const fy_call *c, const fy_ms_core *a);
/* bias [B or 1, N or 1, S, T] fits scores of these sizes? SHAPE if not. */
FY_CHECKED fy_status fy_ms_check_bias(const fy_call *c, const fy_tensor *bias, int64_t B, int64_t N, int64_t S, int64_t T);
/* Reads a scalar of an integer input in [lo, hi]; SHAPE if it is not one number, VALUE outside. */
FY_CHECKED fy_status fy_ms_scalar(const fy_call *c, int input, int64_t lo, int64_t hi, int64_t *v, const char *what);

#endif
