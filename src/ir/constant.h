/* SPDX-License-Identifier: Apache-2.0
 * constant.h - constant tensors that may be huge, mapped, unaligned, strided, or not computed yet.
 *
 * A constant is raw bytes somewhere (a mapped range or a small arena copy) seen through strides, or a recipe over other
 * constants. Nothing is computed before someone reads elements, and readers read in pieces. Immutable once made. */
#ifndef FY_CONSTANT_H
#define FY_CONSTANT_H

#include "tensor/tensor.h"

typedef enum fy_const_kind {
    FY_CONST_BYTES,                      /* packed little-endian elements as files hold them (sub-byte types packed) */
    FY_CONST_CAST,                       /* src[0] converted to dtype */
    FY_CONST_SCALE,                      /* src[0] * factor[index along axis], product in double, rounded once */
    FY_CONST_STRIDED,                    /* src[0] (contiguous view of it) seen through dims, strides, offset */
    FY_CONST_CONCAT                      /* along axis */
} fy_const_kind;

typedef struct fy_const fy_const;
struct fy_const {
    fy_const_kind  kind;
    fy_dtype       dtype;
    int            rank;
    const int64_t *dim;
    int64_t        count;
    const unsigned char *bytes;          /* BYTES: may be unaligned */
    size_t         nbytes;
    fy_tensor     *strings;              /* BYTES of FERRY_STRING: the elements */
    int            nsrc, axis;
    const fy_const *const *src;
    const double  *factor;               /* SCALE: dim[axis] of them */
    const int64_t *stride;               /* STRIDED: in elements of src[0] */
    int64_t        offset;
    int            depth;                /* of the recipe, 1 for BYTES; never above 16 */
};

/* All allocate in `a` and return NULL when out of memory. Checked sizes are the caller's business. */
fy_const *fy_const_bytes(fy_arena *a, fy_dtype t, int rank, const int64_t *dim, const void *bytes, size_t n);   /* borrowed */
fy_const *fy_const_copy(fy_arena *a, fy_dtype t, int rank, const int64_t *dim, const void *elements);           /* dense elements, one byte each for sub-byte types */
fy_const *fy_const_from(fy_arena *a, const fy_tensor *t);                                                       /* copies */
fy_const *fy_const_splat(fy_arena *a, fy_dtype t, int rank, const int64_t *dim, double v);                      /* a strided view of one element */
fy_const *fy_const_cast(fy_arena *a, const fy_const *c, fy_dtype t);
fy_const *fy_const_scale(fy_arena *a, const fy_const *c, int axis, const double *factor);                       /* copies factor */
fy_const *fy_const_strided(fy_arena *a, const fy_const *c, int rank, const int64_t *dim, const int64_t *stride, int64_t offset);
fy_const *fy_const_reshape(fy_arena *a, const fy_const *c, int rank, const int64_t *dim);
fy_const *fy_const_transpose(fy_arena *a, const fy_const *c, const int *perm);
fy_const *fy_const_concat(fy_arena *a, int n, const fy_const *const *c, int axis);

/* Elements [first, first + n) in row-major order into dense, aligned memory (fy_elem_bytes each). NOMEM only. */
FY_CHECKED fy_status fy_const_read(const fy_const *c, int64_t first, int64_t n, void *dst, ferry_error *e);
/* The whole as a tensor: a view when the bytes are there, aligned and dense, else computed into own storage. */
FY_CHECKED fy_status fy_const_tensor(fy_tensor *t, const fy_const *c, ferry_error *e);
/* Address of the packed bytes if the constant is just that, else NULL: for writers that copy. */
const void *fy_const_direct(const fy_const *c);
/* Are both the same view of the same bytes (or one recipe)? Contents are not looked at. */
bool fy_const_same(const fy_const *a, const fy_const *b);
/* One element, wide; for scalars and short vectors. */
bool fy_const_f64(const fy_const *c, int64_t i, double *v);
bool fy_const_i64(const fy_const *c, int64_t i, int64_t *v);

#endif
