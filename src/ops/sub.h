/* SPDX-License-Identifier: Apache-2.0
 * sub.h - operators made of other operators: a node on the spot whose inference and reference kernel are called directly, on
 * facts and tensors of the caller's. A fused operator (com.microsoft.FusedConv = Conv, Add, Relu) then has the meaning of its
 * parts by construction. Tensors between the parts are double, so that there is still one rounding, at the end. */
#ifndef FY_OPS_SUB_H
#define FY_OPS_SUB_H

#include "ops/common.h"

#define OP(name) extern const fy_op fy_op_##name;
#include "ops/ops.def"
#undef OP
/* LSTM of com.microsoft.DynamicQuantizeLSTM (rnn.c): no operator of the list. */
extern const fy_op fy_op_lstm_requantised;

#define FY_SUB_ATTRS 12
typedef struct fy_sub { fy_node node; fy_attr attr[FY_SUB_ATTRS]; } fy_sub;    /* must not move: node points into it */

/* A node of `op` that takes over those attributes of `outer`, given or by default, that op's table knows as well. */
void fy_sub_begin(fy_sub *s, const fy_op *op, const fy_node *outer);
/* Sets or replaces one attribute. */
void fy_sub_int(fy_sub *s, const char *name, int64_t v);
void fy_sub_float(fy_sub *s, const char *name, double v);
void fy_sub_text(fy_sub *s, const char *name, const char *text);
void fy_sub_ints(fy_sub *s, const char *name, const int64_t *v, int64_t n);            /* v is borrowed */

/* Inference of the node over other facts: `in` holds nin of them, results go to `out`. */
FY_CHECKED fy_status fy_sub_infer(fy_infer *f, const fy_sub *s, int nin, const fy_fact *in, int nout, fy_fact *out);
/* What is known of input i: of kind FY_NOTYPE where it is left out, a tensor of unknown rank where nothing is known; with `t` as its
 * dtype and its contents forgotten if t is not 0. */
fy_fact fy_sub_fact(const fy_infer *f, int i, fy_dtype t);
/* The fact with its axes in another order: axis k of the result is axis perm[k]. Nothing happens to an unknown rank. */
FY_CHECKED fy_status fy_sub_permute_fact(fy_infer *f, fy_fact *x, const int *perm);

/* Runs the node's kernel. in: NULL where left out; out: tensors with memory (fy_sub_room), of any dtype that the kernel stores. */
FY_CHECKED fy_status fy_sub_run(const fy_call *c, const fy_sub *s, int nin, const fy_tensor *const *in, int nout, fy_tensor *const *out);
/* The same without attributes, for operators of one result. */
FY_CHECKED fy_status fy_sub_apply(const fy_call *c, const fy_op *op, int nin, const fy_tensor *const *in, fy_tensor *out);

/* A dense tensor in scratch, not zeroed. LIMIT beyond the call's budget. */
FY_CHECKED fy_status fy_sub_room(const fy_call *c, fy_tensor *t, fy_dtype dtype, int rank, const int64_t *dim);
/* A dense copy of x in double. */
FY_CHECKED fy_status fy_sub_wide(const fy_call *c, fy_tensor *t, const fy_tensor *x);
/* Borrowed view of t whose axis k is t's axis perm[k]. */
fy_tensor fy_sub_permute(const fy_tensor *t, const int *perm);
/* perm for [N, C, d..] seen in a tensor stored as [N, d.., C], and back. */
void fy_sub_channels_first(int *perm, int rank);
void fy_sub_channels_last(int *perm, int rank);

#endif
