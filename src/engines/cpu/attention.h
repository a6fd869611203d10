/* SPDX-License-Identifier: Apache-2.0
 * attention.h - what attention_match.c finds in the graph and attention.c runs. */
#ifndef FY_CPU_ATTENTION_H
#define FY_CPU_ATTENTION_H

#include "engines/cpu/cpu.h"

/* Q, K or V: `seen`, of rank 2 to 4, perhaps a part of rows of another value, with its axes moved. */
typedef struct fy_operand {
    const fy_value *seen;                /* whose sizes they are */
    int      in;                         /* the step's input that holds it */
    int64_t  offset, row;                /* row > 0: rows of `row` values, of which it has those from `offset` on */
    int      perm[4];                    /* axis i of the operand is axis perm[i] of `seen` */
    int      rank;
    int64_t  heads;                      /* > 0: seen is [batch, length, heads * size] */
} fy_operand;

typedef struct fy_attention {
    fy_operand q, k, v;
    int        mask, past_k, past_v, valid;          /* inputs of the step, -1: none */
    int        out[4];                   /* axis i of what is written is axis out[i] of [batch, heads, length, size] */
    int        out_rank;
    bool       out_heads;                /* written as [batch, length, heads * size] */
    bool       grouped, causal, empty_nan;
    int64_t    left, right;              /* windows; -1: none */
    double     scale, cap, fill;         /* scale 0: 1 / sqrt(size) */
} fy_attention;

bool fy_attention_cover(const fy_node *n, fy_cover *c, fy_arena *a);

#endif
