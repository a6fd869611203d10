/* SPDX-License-Identifier: Apache-2.0
 * move.h - what the data-movement families share: sizes as dims, contents through views, dense copies of arguments.
 *
 * Most of these operators are a view: the output is the input seen through other dims, strides and an offset. The reference
 * kernel copies through it, and inference carries the contents of shape arithmetic through the same view. */
#ifndef FY_OPS_MOVE_H
#define FY_OPS_MOVE_H

#include "base/checked.h"
#include "ir/op.h"

/* A rearrangement of a dense row-major array: element [i...] of the result is at offset + sum i*stride. */
typedef struct fy_view { int rank; int64_t dim[FY_MAX_RANK], stride[FY_MAX_RANK], offset; } fy_view;

/* ---- inference ----------------------------------------------------------------------------------------------------- */

const fy_dim *fy_mv_const(fy_infer *f, int64_t v);
const fy_dim *fy_mv_opaque(fy_infer *f);                                /* a fresh unknown size, >= 0, named after the operator */
const fy_dim *fy_mv_upto(fy_infer *f, const fy_dim *most);              /* the same, at most this (NULL: no bound known) */
const fy_dim *fy_mv_element(fy_infer *f, int64_t lo, int64_t hi);       /* a fresh unknown element of contents */
const fy_dim *fy_mv_product(fy_infer *f, int64_t n, const fy_dim *const *d);
const fy_dim *fy_mv_min(fy_infer *f, const fy_dim *a, const fy_dim *b); /* the smaller one itself where the bounds prove it */
const fy_dim *fy_mv_max(fy_infer *f, const fy_dim *a, const fy_dim *b);
const fy_dim *fy_mv_clamp0(fy_infer *f, const fy_dim *d);               /* max(d, 0) */
/* Sizes that must be equal: the better known one; SHAPE if they are different constants. */
FY_CHECKED fy_status fy_mv_same(fy_infer *f, const fy_dim **r, const fy_dim *a, const fy_dim *b, const char *what);
bool fy_mv_sizes(const fy_infer *f, int in, int64_t *dim);              /* rank and all sizes constant? at most FY_MAX_RANK */
/* Types of items: what holds of one item of a sequence (sizes that vary from item to item become fresh ones), and what holds of
 * all items where each may be an a or a b (r may be a). What is made lives in `arena`. */
FY_CHECKED fy_status fy_mv_item(fy_infer *f, fy_arena *arena, fy_type *t);
FY_CHECKED fy_status fy_mv_items(fy_infer *f, fy_arena *arena, fy_type *r, const fy_type *a, const fy_type *b);
int  fy_mv_rank(const fy_infer *f, int in);                             /* -1 if unknown; never beyond FY_MAX_RANK */
/* Output with this dtype and nothing known of its shape; or rank known and every size opaque. */
FY_CHECKED fy_status fy_mv_unknown(fy_infer *f, int out, fy_dtype t, int rank);
/* Contents of output `out` (already set) are those of input `in` through the view. Nothing happens if they are unknown. */
FY_CHECKED fy_status fy_mv_elems_view(fy_infer *f, int out, int in, const fy_view *v);
FY_CHECKED fy_status fy_mv_elems_same(fy_infer *f, int out, int in);    /* the same in the same order */
/* Axes given as an integer input (or attribute values): checked, made >= 0, no repetition. */
FY_CHECKED fy_status fy_mv_axes(int *axis, int64_t n, const int64_t *given, int rank, ferry_error *e);
fy_status fy_mv_oom(const fy_infer *f);                                 /* the NOMEM failure */

/* ---- running ------------------------------------------------------------------------------------------------------- */

/* The output as inference has shaped it; SHAPE if it could not. *y is NULL where it is not wanted. */
FY_CHECKED fy_status fy_mv_out(const fy_call *c, int i, fy_tensor **y);
/* An argument as dense row-major memory: itself, or a copy in scratch. */
FY_CHECKED fy_status fy_mv_dense(const fy_call *c, int i, fy_tensor *t);
FY_CHECKED fy_status fy_mv_dense_of(const fy_call *c, const fy_tensor *x, fy_tensor *t);
/* A borrowed view; strides in elements, offset too. */
fy_tensor fy_mv_see(const fy_tensor *t, const fy_view *v);
fy_view   fy_mv_view_of(const fy_tensor *t);                            /* its dims and strides, offset 0 */
void      fy_mv_zero(fy_tensor *t);                                     /* contiguous: every element 0, false or "" */
void      fy_mv_fill(fy_tensor *t, const void *element);                /* contiguous */
/* y[i0, i1, ...] = x[map[0][i0], map[1][i1], ...], or `fill` where one of them is negative. x, y dense, equal ranks >= 0. */
void      fy_mv_mapped(fy_tensor *y, const fy_tensor *x, const int64_t *const *map, const void *fill);
/* Moves a value to output i (frees what was there); frees it where the output is not wanted. */
void      fy_mv_give(const fy_call *c, int i, fy_rval *v);

static inline char *fy_mv_at(const fy_tensor *t, int64_t i) { return (char *)t->data + i * fy_elem_bytes(t->dtype); }

#endif
