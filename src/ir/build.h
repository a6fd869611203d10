/* SPDX-License-Identifier: Apache-2.0
 * build.h - emitting nodes. Failure is sticky: after the first, every call gives NULL and the reason is in b->status and
 * the error, so lowerings read as formulas:
 *
 *     fy_value *y = fy_emit(b, "MatMul", FY_V(x, w), FY_NOATTR);
 *     y = fy_emit(b, "Softmax", FY_V(y), FY_A(fy_int("axis", -1)));
 *     if (!y) return b->status;
 *
 * Each node is inferred as it is emitted: rank and dtype of what was built can be read at once. */
#ifndef FY_BUILD_H
#define FY_BUILD_H

#include "ir/op.h"

typedef struct fy_build {
    fy_graph    *g;
    fy_node     *before;                 /* NULL: append */
    fy_status    status;
    ferry_error *e;
    const char  *scope, *source;         /* given to every node */
} fy_build;

#define FY_V(...)  (int)(sizeof((fy_value *[]){__VA_ARGS__}) / sizeof(fy_value *)), (fy_value *[]){__VA_ARGS__}
#define FY_A(...)  (int)(sizeof((fy_attr[]){__VA_ARGS__}) / sizeof(fy_attr)), (fy_attr[]){__VA_ARGS__}
#define FY_NOATTR  0, NULL

static inline fy_attr fy_int(const char *name, int64_t v) { return (fy_attr){.name = name, .kind = FY_ATTR_INT, .n = 1, .i = v}; }
static inline fy_attr fy_float(const char *name, double v) { return (fy_attr){.name = name, .kind = FY_ATTR_FLOAT, .n = 1, .f = v}; }
static inline fy_attr fy_ints(const char *name, int64_t n, const int64_t *v) { return (fy_attr){.name = name, .kind = FY_ATTR_INTS, .n = n, .ints = v}; }
static inline fy_attr fy_floats(const char *name, int64_t n, const double *v) { return (fy_attr){.name = name, .kind = FY_ATTR_FLOATS, .n = n, .floats = v}; }
fy_attr fy_text(const char *name, const char *v);

/* One output. Trailing NULL inputs are dropped; a NULL input in the middle is an optional one left out... so a NULL that
 * comes from an earlier failure is told apart by b->status. */
fy_value *fy_emit(fy_build *b, const char *op, int nin, fy_value *const *in, int nattr, const fy_attr *attr);
/* Several outputs; returns the node. */
fy_node  *fy_emit_n(fy_build *b, const char *op, int nout, int nin, fy_value *const *in, int nattr, const fy_attr *attr);
fy_value *fy_fail_value(fy_build *b, fy_code code, const char *fmt, ...) FY_PRINTF(3, 4);   /* sets the error, gives NULL */

/* Constants (merged when equal and small). */
fy_value *fy_k_i64(fy_build *b, int64_t v);                              /* scalar i64 */
fy_value *fy_k_ints(fy_build *b, int64_t n, const int64_t *v);           /* i64[n] */
fy_value *fy_k_scalar(fy_build *b, fy_dtype t, double v);                /* scalar of any numeric dtype */
fy_value *fy_k_scalar_i(fy_build *b, fy_dtype t, int64_t v);             /* the same, exact for 64-bit integers */
fy_value *fy_k_const(fy_build *b, const fy_const *c, const char *name);

/* A symbolic size as an i64[1] value: folds to a constant, or Shape/Gather and arithmetic from the graph inputs that carry
 * its symbols. `dims` as one i64[n] value. GRAPH error if no input carries a symbol. */
fy_value *fy_b_dim(fy_build *b, const fy_dim *d);
fy_value *fy_b_dims(fy_build *b, int n, const fy_dim *const *d);

/* Everyday nodes (return x itself where nothing is to be done). */
fy_value *fy_b_cast(fy_build *b, fy_value *x, fy_dtype t);
fy_value *fy_b_reshape(fy_build *b, fy_value *x, int rank, const fy_dim *const *dim);
fy_value *fy_b_transpose(fy_build *b, fy_value *x, const int *perm);
fy_value *fy_b_unsqueeze(fy_build *b, fy_value *x, int axis);
fy_value *fy_b_squeeze(fy_build *b, fy_value *x, int axis);
fy_value *fy_b_slice(fy_build *b, fy_value *x, int axis, fy_value *begin, fy_value *end, fy_value *step);   /* i64[1] each */
fy_value *fy_b_expand(fy_build *b, fy_value *x, int rank, const fy_dim *const *dim);
fy_value *fy_b_concat(fy_build *b, int n, fy_value *const *v, int axis);

#endif
