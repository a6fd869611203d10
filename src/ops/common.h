/* SPDX-License-Identifier: Apache-2.0
 * common.h - what the computing families share: type lists, broadcasting views, kernels written once over blocks of wide
 * elements (double, int64, uint64) and parallel over fixed pieces, small helpers for inference. */
#ifndef FY_OPS_COMMON_H
#define FY_OPS_COMMON_H

#include "base/checked.h"
#include "ir/op.h"

/* For fy_op.types (grammar: README.md). */
#define FY_T_FLOAT "f32,f64,f16,bf16"
#define FY_T_UINT  "u8,u16,u32,u64"
#define FY_T_SINT  "i8,i16,i32,i64"
#define FY_T_INT   FY_T_SINT "," FY_T_UINT
#define FY_T_NUM   FY_T_FLOAT "," FY_T_INT
#define FY_T_WIDE  FY_T_FLOAT ",i32,i64,u32,u64"                 /* what MatMul, Gemm and most reductions take */
#define FY_T_F8    "f8e4m3,f8e4m3uz,f8e5m2,f8e5m2uz"

/* ---- inference ----------------------------------------------------------------------------------------------------- */

FY_CHECKED fy_status fy_k_like(fy_infer *f);                            /* output 0 as input 0 */
FY_CHECKED fy_status fy_k_same_dtype(fy_infer *f);                      /* TYPE unless all known inputs have one dtype */
/* Output 0: the inputs broadcast, dtype `t` (0: that of input 0; then all inputs must have it). */
FY_CHECKED fy_status fy_k_broadcast(fy_infer *f, fy_dtype t);
/* Rank of input i; RANK mismatch is a SHAPE error naming the input; an unknown rank passes (and *rank is -1). */
FY_CHECKED fy_status fy_k_rank(fy_infer *f, int i, int least, int most, int *rank);
/* Two sizes that must agree: SHAPE if they are different constants. `what` names them. */
FY_CHECKED fy_status fy_k_agree(const fy_infer *f, const fy_dim *a, const fy_dim *b, const char *what);
/* Output 0, already set, holds g(element of input 0, element of input 1) where both contents are known and every g gives a
 * dim (NULL: not decidable). Sizes of one broadcast. Only for integers and bool. */
typedef const fy_dim *fy_k_elem(fy_infer *f, const fy_dim *a, const fy_dim *b);
FY_CHECKED fy_status fy_k_elems(fy_infer *f, fy_k_elem *g);
/* -1: a < b proved; 0: equal proved; 1: a > b proved; 2: not known. *ge, *le (may be NULL): whether a >= b, a <= b is. */
int fy_k_order(fy_infer *f, const fy_dim *a, const fy_dim *b, bool *ge, bool *le);
/* `simplify` helpers: does constant v hold x only (up to a million elements)? Has the node's output 0 the type of value x? */
bool fy_k_all(const fy_value *v, double x);
bool fy_k_keeps(const fy_node *n, const fy_value *x);

/* ---- running ------------------------------------------------------------------------------------------------------- */

#define FY_K_BLOCK 1024                  /* elements in a block: two or three of them sit in the first-level cache */
#define FY_K_GRAIN 16384                 /* elements in a piece of parallel work */

/* fy_for, without waking anyone for a single piece. */
void fy_k_for(const fy_call *c, int64_t n, int64_t grain, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg);
/* z[m, n] = a[m, k] b[k, n] of integers, which wrap; rows of a and b that many elements apart. */
void fy_k_multiply_integers(const fy_call *c, void *z, const void *a, int64_t a_row, const void *b, int64_t b_row, int64_t m, int64_t n, int64_t k);
/* x as if it had these dims (stride 0 where it is broadcast), neighbouring axes merged: its row-major order is that of the
 * dims, its rank may be less. The dims must be broadcastable, which inference has checked. */
fy_tensor fy_k_spread(const fy_tensor *x, int rank, const int64_t *dim);

/* Kernels over dense blocks. `b` is NULL for unary ones; y may be a. */
typedef struct fy_maps {
    void (*f)(double *y, const double *a, const double *b, int64_t n, const double *par);
    void (*i)(int64_t *y, const int64_t *a, const int64_t *b, int64_t n, const double *par);
    void (*u)(uint64_t *y, const uint64_t *a, const uint64_t *b, int64_t n, const double *par);
} fy_maps;
/* Output 0 = m(input 0), or m(...m(m(input 0, input 1), input 2)...), broadcast; with `each`, m[k - 1] joins input k. Inputs
 * left out are passed over. `last`, if given, is applied to the result with b NULL. TYPE where the class has no kernel. */
FY_CHECKED fy_status fy_k_fold(const fy_call *c, const fy_maps *m, bool each, const fy_maps *last, const double *par);
FY_CHECKED fy_status fy_k_unary(const fy_call *c, const fy_maps *m);    /* par: the float attributes in the table's order */

/* The whole of a tensor in scratch as dense f32 or f64 (what fy_gemm takes): itself where it is that already (`dense`: also
 * contiguous). f16, bf16 and integers of up to 24 bits become f32, which holds them exactly. */
FY_CHECKED fy_status fy_k_gemm_ready(const fy_call *c, const fy_tensor *x, bool dense, fy_tensor *out);
/* n elements of a tensor of any numeric dtype, dense, in scratch. NULL: out of memory. */
double  *fy_k_as_f64(const fy_call *c, const fy_tensor *x);
int64_t *fy_k_as_i64(const fy_call *c, const fy_tensor *x);
/* Elements [first, first + n) of t as their bytes: in place where they follow each other, else gathered into `room`. */
const void *fy_k_bytes(const fy_tensor *t, int64_t first, int64_t n, void *room);
const fy_str *fy_k_str(const fy_tensor *t, int64_t i);                  /* element of a string tensor by row-major index */
bool fy_k_numeric(const fy_tensor *t);                                  /* float, integer or bool */
/* Borrowed copy of t with the axes moved so that `axis` is last. */
fy_tensor fy_k_axis_last(const fy_tensor *t, int axis);
char *fy_k_at(const fy_tensor *t, int64_t element_offset);              /* data + offset elements */

#endif
