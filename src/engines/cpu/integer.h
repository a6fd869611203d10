/* SPDX-License-Identifier: Apache-2.0
 * integer.h - what products and convolutions of bytes share whose scales and zero points are inputs, known when they run: where the inputs are, and what
 * becomes of a row of sums. Weights between a DequantizeLinear and a product are layer8.c's. */
#ifndef FY_CPU_INTEGER_H
#define FY_CPU_INTEGER_H

#include "engines/cpu/qdq.h"

/* What an input is for; zero points of bytes, scales of what they stand for. */
typedef enum fy_role { FY_X, FY_X_SCALE, FY_X_ZERO, FY_W, FY_W_SCALE, FY_W_ZERO, FY_BIAS, FY_Y_SCALE, FY_Y_ZERO, FY_ROLES } fy_role;

/* at[role]: input of the step, or -1. packed, sums: of constant weights, and the sums of their columns or rows. */
typedef struct fy_integer { int8_t at[FY_ROLES]; fy_put put; int8_t *packed; int32_t *sums; } fy_integer;

/* An operator whose inputs have fixed places. */
typedef struct fy_integer_form { const char *op, *domain; int8_t at[FY_ROLES]; fy_put put; } fy_integer_form;
const fy_integer_form *fy_integer_form_of(const fy_node *n);

/* What dynamic quantisation makes of an operator over integers:  Cast -> Mul (by a scale, or by the product of two)  behind it. n is the Mul: covers all
 * of it; what it reads is in c->in. false: n is something else. */
bool fy_integer_chain(const fy_node *n, const char *op, fy_cover *c);
extern const int8_t fy_integer_chain_at[FY_ROLES];           /* where it has what */

static inline const fy_tensor *fy_integer_in(const fy_step *s, const fy_exec *x, fy_role r) {
    const fy_integer *d = s->data;
    return d->at[r] < 0 ? NULL : fy_step_in(s, x, d->at[r]);
}
static inline const fy_value *fy_integer_value(const fy_integer_form *f, const fy_node *n, fy_role r) { return f->at[r] < 0 ? NULL : fy_in(n, f->at[r]); }

bool fy_integer_one(const fy_value *v);                      /* left out, or of one element whatever its rank */
int32_t fy_integer_zero(const fy_tensor *zero, int64_t i);   /* element i, or the only one; NULL: 0 */
/* The factor of sums in column (channel) i, in f32 at each step. */
float fy_integer_scale(const fy_step *s, const fy_exec *x, int64_t i);

/* A row of sums as they are stored:  sums[c] - by[c] times  as i32, times scale plus bias as f32, or quantised. y may be sums where it has 4 bytes. */
typedef struct fy_sums8 {
    const fy_kernels *k;
    fy_put         put;
    const int32_t *by;                   /* or NULL */
    const float   *scale, *bias, *add;   /* one for each column, or `one`; bias, add: or NULL */
    bool           one;
    float          zero, lo, hi;         /* of the byte; limits of f32 */
    bool           s8;
} fy_sums8;
void fy_sums8_put(const fy_sums8 *q, void *y, const int32_t *sums, int64_t n, int32_t times);

/* Memory of a run, cut into parts of whole lines: once to see how much it is, once more with the memory in `at`. */
typedef struct fy_cut { char *at; int64_t used; } fy_cut;
void *fy_cut_take(fy_cut *c, int64_t bytes);

extern const fy_impl fy_cpu_integer_conv, fy_cpu_qlinear_conv, fy_cpu_integer_conv_chain;

#endif
