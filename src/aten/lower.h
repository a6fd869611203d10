/* SPDX-License-Identifier: Apache-2.0
 * lower.h - the lowering in progress: what a lowering function may ask and must answer.
 *
 * A function reads its node's arguments by schema name, emits ONNX nodes, and gives one value for each output:
 *
 *     fy_status fy_lower_relu(fy_lower *l) { return fy_l_ret(l, fy_emit(&l->b, "Relu", FY_V(fy_l_tensor(l, "self")), FY_NOATTR)); }
 *
 * Failure is sticky in l->b.status, as in ir/build.h: readers then give NULL or 0 and fy_l_ret returns the first fault.
 * Rank, dtype and dims are those of the ONNX values being built, never the recorded ones. */
#ifndef FY_LOWER_H
#define FY_LOWER_H

#include "aten/mapping.h"

#define LOWER(op, fn) fy_status fy_##fn(fy_lower *l);
#include "aten/lower.def"
#undef LOWER

/* What a program value has become: a tensor, or a number known as a dim, or both. */
typedef struct fy_lval { fy_value *v; const fy_dim *dim; fy_value *im; } fy_lval;      /* complex: v is the real plane, im the other */

/* Where the value of a data-dependent dim can be read: axis of a tensor, (axis -1) an integer scalar, or (FY_L_ELEMENT - i) element i of a small tensor. */
enum { FY_L_ELEMENT = -2 };
typedef struct fy_lsource { const fy_dim *dim; fy_value *v; int axis; } fy_lsource;

typedef struct fy_lcheck { fy_value *v; const char *said; } fy_lcheck;

#define FY_ALL_PLANES (~0u)

struct fy_lower {
    fy_build       b;
    fy_program    *p;
    fy_model      *m;
    const fy_lower_options *o;
    fy_notes      *notes;
    const fy_pnode *n;                   /* being lowered */
    fy_arena       tmp;                  /* freed with the lowering */
    fy_lval       *val;                  /* by program value id */
    uint32_t       nval;
    const fy_pinput **input;             /* by value id: the parameter or buffer that becomes a constant when first read */
    FY_VEC(fy_value *) weights;          /* constants made so far: tied ones are found here */
    int            depth;                /* of nested subgraphs */
    fy_map         symbol;               /* program symbol -> its dim in the model */
    FY_VEC(fy_lsource) source;
    fy_map         names;                /* taken value names */
    fy_map         transposed;           /* constant's name -> its transposed constant */
    bool           planes;               /* lower_complex.c: this lowering reads one plane of complex tensors, ... */
    unsigned       plane;                /* ... bit i: the imaginary one of its tensor i; all bits: a linear operator's imaginary plane */
    fy_map         dropped;              /* operator -> count of asserts left out */
    FY_VEC(fy_lcheck) checks;            /* asserts that are kept */
};

/* ---- arguments of the node -------------------------------------------------------------------------------------------- */

bool        fy_l_is(const fy_lower *l, const char *op);               /* "aten.add.Tensor" */
bool        fy_l_named(const fy_lower *l, const char *base);          /* "aten.add" whatever the overload */
bool        fy_l_has(const fy_lower *l, const char *name);            /* neither None nor left out without default */
fy_value   *fy_l_tensor(fy_lower *l, const char *name);               /* NULL for None; a number becomes a scalar tensor */
fy_value   *fy_l_value(fy_lower *l, const fy_pvalue *v);
int         fy_l_tensors(fy_lower *l, const char *name, fy_value ***list);   /* entries may be NULL */
int64_t     fy_l_int(fy_lower *l, const char *name);
bool        fy_l_bool(fy_lower *l, const char *name);
double      fy_l_float(fy_lower *l, const char *name);
const char *fy_l_str(fy_lower *l, const char *name);                  /* NULL for None */
fy_dtype    fy_l_dtype(fy_lower *l, const char *name, fy_dtype otherwise);
/* Constant ints, at most `max`; -1 for None. UNSUPPORTED if one depends on a symbol. */
int         fy_l_ints(fy_lower *l, const char *name, int64_t *dst, int max);
/* The same, one entry repeated to `n`; an empty list gives `otherwise`. */
void        fy_l_ints_n(fy_lower *l, const char *name, int n, int64_t otherwise, int64_t *dst);
const fy_dim *fy_l_dim(fy_lower *l, const char *name);                /* NULL for None */
int         fy_l_dims(fy_lower *l, const char *name, const fy_dim **dst, int max);   /* -1 for None */
/* [0, rank) from an argument that counts from either end; rank 0 counts as 1. */
int         fy_l_axis(fy_lower *l, const char *name, int rank);
int         fy_l_axis_in(fy_lower *l, const char *name, int rank);    /* the same, and rank 0 fails */
int         fy_l_axis_of(fy_lower *l, int64_t given, int rank);
/* A list of axes as set: none given -> all. Returns count; `axes` sorted. */
int         fy_l_axes(fy_lower *l, const char *name, int rank, int64_t *axes);

/* ---- numbers and promotion -------------------------------------------------------------------------------------------- */

/* An operand: a tensor, or a Python number (which weighs less in promotion). */
typedef struct fy_operand { fy_value *v; bool number; fy_dtype dtype; double f; int64_t i; const fy_dim *dim; } fy_operand;
fy_operand  fy_l_operand(fy_lower *l, const char *name);
fy_operand  fy_l_operand_of(fy_lower *l, const fy_parg *a);
fy_operand  fy_op_value(fy_value *v);
fy_dtype    fy_promote2(fy_dtype a, fy_dtype b);                      /* torch.promote_types */
fy_dtype    fy_promote(int n, const fy_operand *o);                   /* torch.result_type */
fy_value   *fy_l_as(fy_lower *l, const fy_operand *o, fy_dtype t);    /* as a tensor of dtype t (numbers: rank 0) */
fy_dtype    fy_to_float(fy_dtype t);                                  /* integers and bool compute in f32 */

/* ---- shapes ------------------------------------------------------------------------------------------------------------ */

int         fy_rank(fy_lower *l, const fy_value *v);                  /* fails with SHAPE if unknown; 0 after a failure */
const fy_dim *fy_dim_of(fy_lower *l, const fy_value *v, int axis);    /* never NULL unless failed */
bool        fy_const_dim(const fy_value *v, int axis, int64_t *n);
const fy_dim *fy_l_k(fy_lower *l, int64_t v);
const fy_dim *fy_l_import(fy_lower *l, const fy_dim *program_dim);    /* NULL if it has a symbol without a meaning yet */
/* A size as i64[1], several as i64[n], one as i64 scalar: from graph inputs, or from where a data-dependent one is made. */
bool        fy_l_carried(const fy_lower *l, const fy_dim *d, int depth);       /* can fy_l_size read all that the data decide of it? depth 0 */
fy_value   *fy_l_size(fy_lower *l, const fy_dim *d);
fy_value   *fy_l_sizes(fy_lower *l, int n, const fy_dim *const *d);
fy_value   *fy_l_size_scalar(fy_lower *l, const fy_dim *d);
fy_value   *fy_l_truth(fy_lower *l, fy_value *v);                     /* a test as a bool of rank 0 */
fy_value   *fy_l_reshape(fy_lower *l, fy_value *x, int rank, const fy_dim *const *dim);
fy_value   *fy_l_expand(fy_lower *l, fy_value *x, int rank, const fy_dim *const *dim);
fy_value   *fy_l_slice(fy_lower *l, fy_value *x, int axis, const fy_dim *begin, const fy_dim *end, int64_t step);
fy_value   *fy_l_full(fy_lower *l, int rank, const fy_dim *const *dim, fy_value *scalar);   /* a scalar spread to a shape */
fy_value   *fy_l_unsqueeze_to(fy_lower *l, fy_value *x, int rank);    /* leading ones until it has `rank` axes */

/* ---- opened axes (symbolise.c) ---------------------------------------------------------------------------------------- */

/* Where an axis was opened after export, the program's literals still hold the sample's sizes. These put the symbol where
 * it belongs; they do nothing in other programs. */
void        fy_l_fit_view(fy_lower *l, int rank, const fy_dim *const *x, int n, const fy_dim **size);
const fy_dim *fy_l_fit_size(fy_lower *l, int axis, const fy_dim *size);      /* of a tensor made from nothing, or spread from 1 */
const fy_dim *fy_l_fit_range(fy_lower *l, int64_t end);               /* the symbol that arange(end) counts, or NULL */
const fy_dim *fy_l_fit_end(fy_lower *l, const fy_dim *end, const fy_dim *size);  /* the end of a slice */
void        fy_l_fit_same(fy_lower *l, const fy_dim *a, const fy_dim *b);   /* FROZEN if only one of two that must be equal was opened */
fy_value   *fy_l_fit_like(fy_lower *l, fy_value *v, int axis, const fy_dim *size);   /* equal slices along axis: as many as `size` */

/* ---- results ------------------------------------------------------------------------------------------------------------ */

void        fy_l_out(fy_lower *l, int i, fy_value *v);                /* output number i (lists count singly) */
int         fy_l_nout(const fy_lower *l);
bool        fy_l_wanted(const fy_lower *l, int i);                    /* does anyone read output i? */
FY_CHECKED fy_status fy_l_ret(fy_lower *l, fy_value *v);              /* output 0 and the status */
fy_status   fy_l_fail(fy_lower *l, fy_code code, const char *fmt, ...) FY_PRINTF(3, 4);
fy_value   *fy_l_named_op(fy_lower *l, const char *op, fy_value *x);  /* one input, no attributes */
#define FY_L_OK_OR(l, r) do { if ((l)->b.status != FY_OK) return r; } while (0)
#define FY_L_OK(l) do { if ((l)->b.status != FY_OK) return (l)->b.status; } while (0)

/* Shared between families. */
fy_value   *fy_l_binary(fy_lower *l, const char *op, fy_value *a, fy_value *b);
fy_value   *fy_l_reduce(fy_lower *l, const char *op, fy_value *x, int n, const int64_t *axes, bool keep);
fy_value   *fy_l_where(fy_lower *l, fy_value *mask, fy_value *yes, fy_value *no);
fy_status   fy_lower_graph(fy_lower *l, const fy_pgraph *g);           /* nodes of one graph, in order */
fy_status   fy_lower_node(fy_lower *l);                               /* l->n; its outputs are checked */
fy_status   fy_lower_cond(fy_lower *l);
fy_status   fy_lower_while(fy_lower *l);
fy_status   fy_lower_scan(fy_lower *l);
fy_status   fy_lower_associative_scan(fy_lower *l);
fy_pvalue  *fy_l_out_value(const fy_lower *l, int i);                 /* output number i; NULL if it is none */
fy_value   *fy_l_atan2(fy_lower *l, fy_value *y, fy_value *x);
bool        fy_l_complex(const fy_lower *l);                          /* does the node read or make complex numbers? */
bool        fy_l_is_complex(const fy_pvalue *v);
fy_value   *fy_l_plane(fy_lower *l, const fy_pvalue *v, int which);
fy_value   *fy_l_complex_pair(fy_lower *l, const fy_pvalue *v);       /* both planes on a last axis */
FY_CHECKED fy_status fy_l_complex_const(fy_lower *l, const fy_const *c, const char *name, fy_lval *to);
fy_status   fy_lower_complex(fy_lower *l);
fy_status   fy_lower_mapped(fy_lower *l, const fy_mapping *m);        /* a custom operator */
fy_status   fy_lower_symbolic(fy_lower *l);                           /* sym.* */
void        fy_lower_done(fy_lower *l);                               /* frees what it holds, but for the model */
void        fy_l_report(fy_lower *l);                                 /* notes about the whole program */

#endif
