/* SPDX-License-Identifier: Apache-2.0
 * qdq.h - QuantizeLinear and DequantizeLinear between bytes and f32, one scale for all, as implementations over bytes look at them. */
#ifndef FY_CPU_QDQ_H
#define FY_CPU_QDQ_H

#include "engines/cpu/cpu.h"

bool fy_qdq_is(const fy_node *n, const char *op);            /* of the domain "" */
/* A byte tensor of known rank. */
bool fy_qdq_bytes(const fy_value *v);
/* The numbers of a QuantizeLinear or DequantizeLinear with constant scale and zero point between f32 and bytes; false if n is none. */
bool fy_qdq_params(const fy_node *n, fy_bytes *q);
/* The DequantizeLinear that makes v for this reader alone, or NULL. */
const fy_node *fy_qdq_from(const fy_value *v, fy_bytes *q);
/* The QuantizeLinear that alone reads v, perhaps after limits: those become e's (FY_ACT_CLAMP or NONE), in *limits. NULL: none. */
const fy_node *fy_qdq_into(const fy_value *v, const fy_node **limits);
/* Lowest and highest quantised value less the zero point, within limits of what is quantised (e: CLAMP, or NONE). */
void fy_qdq_range(const fy_bytes *q, const fy_epilogue *e, float *lo, float *hi);
bool fy_qdq_cover(fy_cover *c, const fy_node *n);            /* one more node that the step computes; false: too many */

/* Weights of Conv (axis 0), or of a product (axis of n): a constant of bytes, symmetric, scales for all or for each column. */
typedef struct fy_weights8 { const fy_node *dq; const fy_value *w, *scale; uint8_t flip; } fy_weights8;
const char *fy_qdq_weights(const fy_value *v, int axis, fy_weights8 *w);     /* NULL, or why not */

/* A product or convolution over bytes from its DequantizeLinears to its QuantizeLinear, perhaps with a residual or a row added and
 * quantised once more. */
typedef struct fy_layer8 {
    const fy_node  *core, *root;         /* root: the last QuantizeLinear; NULL: the result is f32 */
    fy_bytes        x, y, add, y2;
    fy_weights8     w;
    const fy_value *bias;                /* f32, or i32 before its DequantizeLinear (bias_dq) */
    const fy_node  *bias_dq;
    fy_epilogue     limits, limits2;
    bool            again;
    int             add_in;              /* input of the step that holds the residual; -1: none */
    const fy_value *add_row;
    /* packed by prepare */
    int8_t         *packed;
    int32_t        *start;
    float          *scale, *bias_f, *row;
    bool            small;
    void           *data;
} fy_layer8;

typedef const char *fy_layer8_can(const fy_node *core, fy_bytes *x, fy_weights8 *w);
/* Covers from the QuantizeLinear `n` (or, where n is the product itself, from it, if no QuantizeLinear will) back to the bytes. */
bool fy_layer8_cover(const fy_node *n, const char *const *ops, fy_layer8_can *can, fy_cover *c, fy_arena *a);
/* Memory for the packed weights, in d->packed, and behind them for the sums of their columns, which it returns; *filled as fy_plan_packed has it.
 * NULL: out of memory. */
int32_t *fy_layer8_room(fy_layer8 *d, fy_plan *p, int64_t bytes, int64_t sums, bool *filled);
/* Scales, first summands and bias for `columns`, of which sums[] are the sums of the weights; padded with zeros. */
FY_CHECKED fy_status fy_layer8_pack(fy_layer8 *d, const int32_t *sums, int64_t columns, int64_t padded, fy_arena *a, ferry_error *e);
fy_requant fy_layer8_requant(const fy_layer8 *d, const fy_epilogue *after);
/* Why a product is not computed over bytes; NULL: it can be. */
const char *fy_conv8_can(const fy_node *n, fy_bytes *x, fy_weights8 *w);
const char *fy_gemm8_can(const fy_node *n, fy_bytes *x, fy_weights8 *w);

/* The bytes u8 that DynamicQuantizeLinear makes of values between lo <= 0 and hi >= 0; scale 0: all are the zero point. */
fy_bytes fy_qdq_own_range(float lo, float hi);

/* Before planning: a DequantizeLinear for each reader, moved behind operators that only move elements, gone where a QuantizeLinear undoes it;
 * those of constants that nothing reads as bytes become constants. */
FY_CHECKED fy_status fy_qdq_prepare(fy_model *m, fy_pool *pool, ferry_error *e);

#endif
