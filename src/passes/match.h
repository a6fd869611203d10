/* SPDX-License-Identifier: Apache-2.0
 * match.h - what the rewriting passes share: questions about a node and its neighbours, and putting a new value in an old one's place.
 * A pass is a rewrite of one node, the last of its pattern; the walk over all graphs is fy_each_node's. */
#ifndef FY_MATCH_H
#define FY_MATCH_H

#include "passes/pass.h"

/* Calls `rewrite` for every node of the main graph and of all bodies. It may remove the node and any before it. */
typedef struct fy_rewriting {
    fy_model    *m;
    const fy_pass_options *o;
    int64_t      opset;                  /* to be written: new operators must exist there */
    fy_status    status;                 /* sticky; set by what fails below */
    int64_t      changes;
    ferry_error *e;
} fy_rewriting;
FY_CHECKED fy_status fy_each_node(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e, bool (*rewrite)(fy_rewriting *r, fy_node *n));

/* ---- questions ------------------------------------------------------------------------------------------------------ */

bool fy_is(const fy_node *n, const char *op);                            /* of ai.onnx; false for NULL */
fy_node *fy_from(const fy_node *n, int i, const char *op);               /* what made input i, if it is such a node; NULL */
fy_node *fy_made(const fy_value *v, const char *op);                     /* the same for a value */
/* Read once, by one node of its own graph, and no output: when its reader goes, so does it. */
bool fy_sole(const fy_value *v);
const fy_const *fy_fixed(const fy_value *v);                             /* a constant that no caller can override, or NULL */
int fy_v_rank(const fy_value *v);                                          /* -1 unknown */
fy_dtype fy_dtype_of(const fy_value *v);
bool fy_is_float(const fy_value *v);
bool fy_waits(const fy_rewriting *r, const fy_value *v);                 /* of halves, and f32 later (widen.c): weights are not to be rounded to halves once more before that */
bool fy_same_type(const fy_value *a, const fy_value *b);                 /* dtype and every size, proved */
bool fy_dim_at(const fy_value *v, int axis, int64_t *d);                 /* is the size a known constant? axis may be negative */
/* All elements of a fixed constant (up to 4096) are the same number. */
bool fy_splat(const fy_value *v, double *x);
/* The same for one element of a rank that cannot widen `beside`. */
bool fy_scalar(const fy_value *v, const fy_value *beside, double *x);
/* a is x within what the dtype can hold and exporters write. */
bool fy_about(fy_dtype t, double a, double x);
/* The constant integers of input i; false if not all known. */
bool fy_ints_of(const fy_node *n, int i, int64_t *v, int64_t max, int64_t *count);
/* The axes of a Reduce, Squeeze or Unsqueeze in [0, rank), sorted; false if unknown. None given: count 0. */
bool fy_axes_of(const fy_node *n, int input, int rank, int64_t *axes, int *count);
/* One operand of a two-input node is a scalar constant: the other in *x. Sub, Div and Pow: the second only. */
bool fy_with_scalar(const fy_node *n, const char *op, fy_value **x, double *c);
/* The other operand where one is v; NULL. */
fy_value *fy_other(const fy_node *n, const fy_value *v);
/* v = a + b * base, through Add, Sub, Mul, Div and Neg with scalar constants, each read once from v on down. */
fy_value *fy_affine(fy_value *v, double *a, double *b);

/* Constant sizes that make Reshape give `dim`: 0 as x has it, at most one -1. layout.c */
bool fy_view_target(const fy_value *x, int rank, const fy_dim *const *dim, int64_t *shape);

/* ---- changes -------------------------------------------------------------------------------------------------------- */

/* A builder before n, with its scope and source. */
fy_build fy_before(fy_rewriting *r, fy_node *n);
/* Output 0 of n is `by`, made in its graph (b->status: any earlier failure); n and what only it needed go. */
bool fy_became(fy_rewriting *r, const fy_build *b, fy_node *n, fy_value *by);
/* The same for an existing value; false where an output's name forbids. */
bool fy_is_value(fy_rewriting *r, fy_node *n, fy_value *by);
/* Input i of n is v; what only the old one needed goes. */
void fy_reroute(fy_rewriting *r, fy_node *n, int i, fy_value *v);
bool fy_set(fy_rewriting *r, fy_node *n, fy_attr a);
/* Removes a node without uses and then those before it that only it needed. */
void fy_drop(fy_node *n);
/* affine.c: output channels of a Conv, ConvTranspose, Gemm or MatMul with a constant weight, or -1; y = n(x) * scale + shift, made by
 * `after`, goes into n where that can be (both arrays are used up). */
int64_t fy_channels(const fy_node *n);
bool fy_fold_channels(fy_rewriting *r, fy_node *n, fy_node *after, double *scale, double *shift);
int fy_channel_axis(const fy_node *n);                                   /* of its constant weight, or -1 */
double *fy_const_vector(fy_arena *a, const fy_const *c, int64_t n);      /* as doubles; NULL: no constant of n elements, or out of memory */
/* bias = bias * scale + shift; false if one is not finite. As a constant of one rounding; NULL: out of memory. */
bool fy_affine_bias(double *bias, const double *scale, const double *shift, int64_t n);
const fy_const *fy_bias_const(fy_arena *a, double *bias, int64_t n, fy_dtype dtype);
/* batch_norm.c: scale, shift, mean and variance of a norm; the first two become those of y = x * scale + shift. */
void fy_norm_affine(double *const v[4], int64_t n, double eps);
/* Nothing was changed but for nodes without a use: false, and only want of memory is a failure. */
bool fy_unmade(fy_rewriting *r, const fy_build *b);
bool fy_no_memory(fy_rewriting *r);                                      /* false, with the status set */

#endif
