/* SPDX-License-Identifier: Apache-2.0
 * tensor.h - typed n-dimensional arrays: dtypes, views with strides, element access, owned storage.
 *
 * Reference kernels and the ATen evaluator compute in one of five wide types and convert at the edge: double (floats),
 * int64_t (signed integers and bool), uint64_t (unsigned), complex double, string. */
#ifndef FY_TENSOR_H
#define FY_TENSOR_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/os.h"
#include "base/threads.h"

#define FY_MAX_RANK FERRY_MAX_RANK

typedef ferry_dtype fy_dtype;
typedef enum fy_class { FY_CLASS_NONE, FY_CLASS_F, FY_CLASS_I, FY_CLASS_U, FY_CLASS_B, FY_CLASS_C, FY_CLASS_S } fy_class;

const char *fy_dtype_name(fy_dtype t);                       /* "f32"; "?" if unknown */
const char *fy_dtype_onnx(fy_dtype t);                       /* "FLOAT" */
fy_dtype    fy_dtype_find(const char *name, size_t n);       /* either name, or numpy's ("float32"); 0 if unknown */
fy_class    fy_dtype_class(fy_dtype t);
int         fy_dtype_bits(fy_dtype t);                       /* 0 for strings and unknown */
bool        fy_dtype_float(fy_dtype t);
bool        fy_dtype_int(fy_dtype t);                        /* signed or unsigned, not bool */
size_t      fy_dtype_bytes(fy_dtype t, int64_t count);       /* packed; 0 for strings */
int         fy_elem_bytes(fy_dtype t);                       /* in tensors in memory: sub-byte types take one byte an element;
                                                                strings sizeof(fy_str) */

/* A string element: borrowed or arena-owned bytes, no terminating 0 needed. */
typedef struct fy_str { const char *at; size_t n; } fy_str;
bool fy_str_equal(const fy_str *a, const fy_str *b);
int  fy_str_order(const fy_str *a, const fy_str *b);         /* by bytes: for UTF-8, by code points */

/* Shared, counted memory behind tensors. Not thread safe: one run uses it. */
typedef struct fy_spares fy_spares;
typedef struct fy_storage fy_storage;
struct fy_storage { void *at; size_t bytes; int64_t refs; bool borrowed, guarded; fy_spares *home; fy_storage *next; };     /* home: where it goes after its last reader */
fy_storage *fy_storage_new(size_t bytes);                    /* refs = 1; 64-byte aligned, not zeroed; NULL: out of memory */
fy_storage *fy_storage_borrow(const void *at, size_t bytes); /* never written, never freed */
fy_storage *fy_storage_ref(fy_storage *s);                   /* NULL is fine */
void        fy_storage_unref(fy_storage *s);

/* Storage without readers, by size, for those who make tensors of the same sizes again and again. One thread's; {0} at first. What is kept is at
 * most as much as was ever in use at once. */
#define FY_SPARE_SIZES 160
struct fy_spares { fy_storage *first[FY_SPARE_SIZES]; size_t kept, used, most; };
void        fy_spares_free(fy_spares *p);                    /* nothing of it may be in use */
void        fy_storage_leave(fy_storage *s);                 /* does not come back any more; NULL is fine */
void        fy_storage_return(fy_storage *s, fy_spares *p);  /* what left spares goes to p after its last reader, if there is but one; NULL is fine */

/* In memory every element of a sub-byte dtype takes one byte (fy_elem_bytes); files pack them. */
typedef struct fy_tensor {
    fy_dtype    dtype;
    int         rank;
    int64_t     dim[FY_MAX_RANK];
    int64_t     stride[FY_MAX_RANK];     /* in elements; may be 0 or negative */
    void       *data;                    /* element [0,...,0]; aligned for the dtype; NULL only if count is 0 or unset */
    fy_storage *own;                     /* what keeps data alive, or NULL */
} fy_tensor;

int64_t fy_count(const fy_tensor *t);                        /* number of elements; 1 for rank 0 */
bool    fy_contiguous(const fy_tensor *t);                   /* row-major without gaps */
void    fy_strides(int rank, const int64_t *dim, int64_t *stride);    /* row-major */
bool    fy_same_dims(const fy_tensor *a, const fy_tensor *b);

/* A new contiguous tensor with its own storage (not zeroed; strings are empty). LIMIT if it is too large to address. */
FY_CHECKED fy_status fy_tensor_new(fy_tensor *t, fy_dtype dtype, int rank, const int64_t *dim, ferry_error *e);
/* The same with storage from `p` (NULL: fy_tensor_new), in which there may be room for more. */
FY_CHECKED fy_status fy_tensor_take(fy_tensor *t, fy_spares *p, fy_dtype dtype, int rank, const int64_t *dim, ferry_error *e);
/* View of memory that outlives it; contiguous. */
fy_tensor fy_tensor_view(fy_dtype dtype, int rank, const int64_t *dim, const void *data);
/* A complex tensor as the real one that it is in memory, both parts on a last axis, and such a dense pair as complex. Both share t's memory and hold
 * no reference; the rank has room. */
fy_tensor fy_tensor_pairs(const fy_tensor *t);
fy_tensor fy_tensor_complex(const fy_tensor *t);
fy_tensor fy_tensor_ref(const fy_tensor *t);                 /* same view, one more reference */
void      fy_tensor_free(fy_tensor *t);                      /* drops the reference, zeroes the struct */
/* dst gets dtype and dims of src, contiguous, own storage. */
FY_CHECKED fy_status fy_tensor_clone(fy_tensor *dst, const fy_tensor *src, ferry_error *e);
/* Converts every element as ONNX Cast does (float to int truncates, out of range saturates, NaN gives 0; bool is != 0),
 * complex to its real part; strings only to strings, else TYPE. */
FY_CHECKED fy_status fy_tensor_cast(fy_tensor *dst, const fy_tensor *src, fy_dtype dtype, ferry_error *e);
/* A tensor of strings gets memory of its own with the bytes behind the elements. */
FY_CHECKED fy_status fy_tensor_own_strings(fy_tensor *t, ferry_error *e);
/* Element-wise copy between any two views of equal dims; dtypes may differ (then as fy_tensor_cast). */
void      fy_tensor_copy(fy_tensor *dst, const fy_tensor *src);

/* Wide access. `i` is the row-major index of the element (strides are followed). Loads convert any numeric class. */
double   fy_get_f64(const fy_tensor *t, int64_t i);
int64_t  fy_get_i64(const fy_tensor *t, int64_t i);
uint64_t fy_get_u64(const fy_tensor *t, int64_t i);
void     fy_put_f64(fy_tensor *t, int64_t i, double v);      /* rounds to the dtype; ints as Cast */
void     fy_put_i64(fy_tensor *t, int64_t i, int64_t v);     /* wraps to the dtype, as two's complement */
void     fy_put_u64(fy_tensor *t, int64_t i, uint64_t v);
/* n elements from row-major index `first` to or from a dense array; much faster than one at a time. */
void     fy_load_f64(double *dst, const fy_tensor *t, int64_t first, int64_t n);
void     fy_load_i64(int64_t *dst, const fy_tensor *t, int64_t first, int64_t n);
void     fy_load_u64(uint64_t *dst, const fy_tensor *t, int64_t first, int64_t n);
void     fy_load_c128(double *dst_re_im, const fy_tensor *t, int64_t first, int64_t n);
void     fy_store_f64(fy_tensor *t, int64_t first, int64_t n, const double *src);
void     fy_store_i64(fy_tensor *t, int64_t first, int64_t n, const int64_t *src);
void     fy_store_u64(fy_tensor *t, int64_t first, int64_t n, const uint64_t *src);
void     fy_store_c128(fy_tensor *t, int64_t first, int64_t n, const double *src_re_im);
double   fy_round_to(fy_dtype t, double v);                  /* v as the float dtype t would hold it */

/* Sub-byte dtypes between files (packed, the first element in the low bits) and memory (one byte an element, signed ones
 * sign-extended): n elements from element `first` of `packed`. For pack, bits of other elements in shared bytes are kept. */
void     fy_unpack_bits(fy_dtype t, void *dst, const void *packed, int64_t first, int64_t n);
void     fy_pack_bits(fy_dtype t, void *packed, int64_t first, const void *src, int64_t n);

/* "f32[1,3,224,224]"; with `values`, also up to `max` elements. */
void fy_tensor_print(fy_buf *out, const fy_tensor *t, int64_t max_values);

#endif
