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

/* An operand as it lies there, [batch, heads, length, size]. */
typedef struct fy_heads { const float *data; int64_t dim[4], step[4]; } fy_heads;

typedef struct fy_attending {
    const fy_kernels   *k;
    const fy_attention *t;
    const fy_tensor    *mask;
    int64_t  mask_step[4];
    fy_heads q, key, v;
    float   *y;
    int64_t  y_step[4], batch, heads, rows, keys, size, width, past, tile, each, slots;
    const int64_t *valid, *first;        /* of each of the batch: keys that are there; the place of its first row among them. NULL: all; `past`, or the last ones */
    float   *room;
    float    scale;
} fy_attending;
/* Memory, once the sizes are set: `caches` floats of the caller's, then for each slot K and V packed and a tile of scores. */
FY_CHECKED fy_status fy_attention_room(fy_attending *w, fy_exec *x, int64_t caches, float **cache, ferry_error *e);
void fy_attention_heads(const fy_attending *w, fy_pool *pool);

/* y = x turned by an angle for each pair of its first 2 * half elements, neighbours or halves; the others as they are. y may be x. */
void fy_cpu_turn(const fy_kernels *k, float *y, const float *x, const float *cosine, const float *sine, int64_t half, int64_t size, bool neighbours);
extern const fy_impl fy_cpu_attention_cached, fy_cpu_rotary;

bool fy_attention_cover(const fy_node *n, fy_cover *c, fy_arena *a);

#endif
