/* SPDX-License-Identifier: Apache-2.0
 * eval.h - the evaluation in progress: what the families eval_<family>.c read arguments and give results with.
 *
 * A value has torch's dtype (`dtype`) and is held wide: floats in double (fp16 and bf16 rounded to their type after each
 * node, f32 not, but for single numbers, which sizes may be made of), integers in int64 wrapped to their width, bool in
 * bytes. Only constants may stay f32 (fy_ev_raw).
 * Views share storage, so that an in-place write is seen through all of them. */
#ifndef FY_ATEN_EVAL_H
#define FY_ATEN_EVAL_H

#include "aten/aten.h"

#include <string.h>

typedef struct fy_et { fy_tensor t; fy_dtype dtype; bool number; } fy_et;     /* number: a Python scalar, weakest in promotion */

typedef struct fy_eslot {
    bool    set;
    fy_et   t;                           /* tensors */
    int64_t i;                           /* symbolic ints and bools */
    double  f;                           /* symbolic floats */
    int64_t uses, left;
    const fy_pgraph *home;               /* the graph that defines it */
    const fy_const  *data;               /* a parameter or buffer not read yet */
    bool    written;                     /* some node writes to it or a view of it */
} fy_eslot;

struct fy_eval {
    const fy_program *p;
    const fy_pnode   *node;
    int               k;                 /* which of the operators that share the function: eval.def */
    bool              inplace;           /* result 0 is written into argument `target` */
    const char       *target;
    fy_pool          *pool;
    ferry_error      *e;
    const fy_eval_options *o;
    fy_arena          scratch;           /* freed after each node */
    FY_VEC(fy_tensor) temps;             /* the same, for tensors */
    fy_eslot         *slot;
    uint32_t          nslot;
    FY_VEC(struct { const fy_dim *sym; int64_t v; }) bound;
    int               depth;
    bool              planes;            /* eval_complex.c: the operator runs on one part of its complex arguments, ... */
    unsigned          plane;             /* ... bit i: the imaginary one of argument i; all bits: of all, real ones having none */
    fy_et             got;               /* its result then */
    bool              meta_off;          /* recorded metadata was seen to be wrong */
};

/* ---- arguments. A missing or None argument leaves *r as it is, so r starts as the default. --------------------------- */

FY_CHECKED fy_status fy_ev_in(fy_eval *v, const char *name, fy_et *a);                       /* required; wide; numbers as rank 0 */
FY_CHECKED fy_status fy_ev_raw(fy_eval *v, const char *name, fy_et *a);                      /* required; may be f32 */
FY_CHECKED fy_status fy_ev_opt(fy_eval *v, const char *name, fy_et *a, bool *has);           /* wide */
FY_CHECKED fy_status fy_ev_opt_raw(fy_eval *v, const char *name, fy_et *a, bool *has);
FY_CHECKED fy_status fy_ev_list(fy_eval *v, const char *name, fy_et **a, int *n);            /* wide; dtype 0 for None entries */
FY_CHECKED fy_status fy_ev_list_raw(fy_eval *v, const char *name, fy_et **a, int *n);
FY_CHECKED fy_status fy_ev_int(fy_eval *v, const char *name, int64_t *r);
FY_CHECKED fy_status fy_ev_ints(fy_eval *v, const char *name, int64_t *r, int max, int *n);  /* n = -1 when missing; a single int is one */
FY_CHECKED fy_status fy_ev_floats(fy_eval *v, const char *name, double *r, int max, int *n);
FY_CHECKED fy_status fy_ev_f64(fy_eval *v, const char *name, double *r);
FY_CHECKED fy_status fy_ev_bool(fy_eval *v, const char *name, bool *r);
FY_CHECKED fy_status fy_ev_dtype(fy_eval *v, const char *name, fy_dtype *r);
FY_CHECKED fy_status fy_ev_number(fy_eval *v, const char *name, fy_et *a, bool *has);        /* a Scalar as a rank-0 number */
const char *fy_ev_str(fy_eval *v, const char *name, const char *def);
/* int[nd] filled up from a single int; error SHAPE if another count. Missing: `def` everywhere. */
FY_CHECKED fy_status fy_ev_intn(fy_eval *v, const char *name, int nd, int64_t *r, int64_t def);
FY_CHECKED fy_status fy_ev_axis(fy_eval *v, const char *name, int rank, int64_t def, int *axis);      /* rank 0 counts as 1 */

/* ---- contents ------------------------------------------------------------------------------------------------------ */

/* Dense row-major elements, converted; in scratch where the tensor is not that already. NULL: out of memory, error set. */
const double  *fy_ev_dense(fy_eval *v, const fy_et *a);
const int64_t *fy_ev_dense_i(fy_eval *v, const fy_et *a);
FY_CHECKED fy_status fy_ev_expand(fy_eval *v, fy_et *a, int rank, const int64_t *dim);       /* broadcast view, in place in *a */
FY_CHECKED fy_status fy_ev_broadcast(fy_eval *v, int n, const fy_et *const *a, int *rank, int64_t *dim);
FY_CHECKED fy_status fy_ev_widen(fy_eval *v, fy_et *a);                                      /* to the dtype its own is held in (temporary) */
FY_CHECKED fy_status fy_ev_cast(fy_eval *v, fy_et *a, fy_dtype to);                          /* a new tensor in *a (temporary) unless it is that */
FY_CHECKED fy_status fy_ev_temp(fy_eval *v, fy_et *o, fy_dtype dtype, int rank, const int64_t *dim);
fy_dtype fy_ev_wide(fy_dtype dtype);                         /* dtype it is held in */
fy_dtype fy_ev_promote(int n, const fy_et *const *a);        /* torch.result_type */
int64_t  fy_ev_wrap(fy_dtype t, int64_t i);
double  *fy_ev_at(const fy_et *a);                           /* data of a new tensor held in double */
int64_t *fy_ev_at_i(const fy_et *a);
uint8_t *fy_ev_at_b(const fy_et *a);

/* ---- results --------------------------------------------------------------------------------------------------------- */

/* A new contiguous tensor, zeroed. Owned by *o: hand it to fy_ev_out at once or add it to the temporaries. */
FY_CHECKED fy_status fy_ev_new(fy_eval *v, fy_et *o, fy_dtype dtype, int rank, const int64_t *dim);
FY_CHECKED fy_status fy_ev_out(fy_eval *v, int slot, fy_et *o);              /* takes *o over; rounds; writes in place if asked */
FY_CHECKED fy_status fy_ev_view(fy_eval *v, int slot, const fy_et *o);       /* o shares storage with an argument */
FY_CHECKED fy_status fy_ev_out_list(fy_eval *v, int n, fy_et *o);            /* Tensor[] of views (shared, not taken over) */
FY_CHECKED fy_status fy_ev_out_int(fy_eval *v, int slot, int64_t i);
FY_CHECKED fy_status fy_ev_out_f64(fy_eval *v, int slot, double f);
/* A fresh dense copy of a, in its dtype, owned by *o. */
FY_CHECKED fy_status fy_ev_copy(fy_eval *v, fy_et *o, const fy_et *a);

/* ---- the driver ------------------------------------------------------------------------------------------------------ */

typedef fy_status (*fy_ev_fn)(fy_eval *v);
FY_CHECKED fy_status fy_ev_complex(fy_eval *v, fy_ev_fn run);                /* eval_complex.c: the node, of function `run`, reads complex numbers */
FY_CHECKED fy_status fy_ev_plane(fy_eval *v, const fy_pvalue *p, fy_et *a);  /* the part of argument *a that v->plane says */
FY_CHECKED fy_status fy_ev_graph(fy_eval *v, const fy_pgraph *g);            /* its nodes, in order */
FY_CHECKED fy_status fy_ev_arg_slot(fy_eval *v, const fy_parg *a, int64_t i, fy_eslot *r);   /* entry i of an argument, shared */
FY_CHECKED fy_status fy_ev_set(fy_eval *v, fy_pvalue *to, fy_eslot *from);   /* takes over */
void fy_ev_drop(fy_eslot *s);

/* ---- shared by families ---------------------------------------------------------------------------------------------- */

/* A view of *a as rank, dim; when strides do not allow it, a copy. */
FY_CHECKED fy_status fy_ev_reshape(fy_eval *v, fy_et *a, int rank, const int64_t *dim);
/* The tensors one after another along `axis`, in their common dtype: a new tensor, owned by *o. */
FY_CHECKED fy_status fy_ev_joined(fy_eval *v, fy_et *o, int n, const fy_et *in, int rank, int axis);
/* A new tensor, owned by *o. */
FY_CHECKED fy_status fy_ev_einsum(fy_eval *v, fy_et *o, const char *eq, int n, const fy_et *in);
/* y = act(x) in double: what unary, glu, rnn and gelu variants share. */
double fy_ev_sigmoid(double x);
double fy_ev_overlap(const double *a, const double *b);      /* of two boxes [x0,y0,x1,y1]: intersection over union */
FY_CHECKED fy_status fy_ev_steps(fy_eval *v, const fy_tensor *theirs, bool *open);           /* of a node that quantises: does rounding alone part us? */
FY_CHECKED fy_status fy_ev_follow(fy_eval *v, const fy_pvalue *to, fy_et *o);                /* eval_ties.c: *o as a model has it, where rounding decides */

enum {
    EV_0,
    /* unary */
    EV_ABS, EV_ACOS, EV_ACOSH, EV_ASIN, EV_ASINH, EV_ATAN, EV_ATANH, EV_CEIL, EV_COS, EV_COSH, EV_ERF, EV_ERFC, EV_EXP, EV_EXPM1, EV_FLOOR,
    EV_LOG, EV_LOG10, EV_LOG1P, EV_LOG2, EV_NEG, EV_RECIP, EV_RELU, EV_RELU6, EV_ROUND, EV_RSQRT, EV_SIGMOID, EV_SIGN, EV_SILU, EV_SIN, EV_SINH,
    EV_SQRT, EV_TAN, EV_TANH, EV_TRUNC, EV_HARDSIGMOID, EV_HARDSWISH, EV_MISH, EV_SQUARE, EV_FRAC, EV_LOGSIGMOID, EV_SELU, EV_SOFTSIGN,
    EV_ISNAN, EV_ISINF, EV_ISFINITE, EV_NOT, EV_BITNOT, EV_EXP2, EV_POS, EV_DEG2RAD, EV_RAD2DEG, EV_LOGIT, EV_SINC, EV_ISPOSINF, EV_ISNEGINF,
    /* unary with parameters */
    EV_LEAKY, EV_ELU, EV_CELU, EV_HARDTANH, EV_SOFTPLUS, EV_GELU, EV_THRESHOLD, EV_NANTONUM, EV_HARDSHRINK, EV_SOFTSHRINK, EV_ROUND_DECIMALS,
    /* binary */
    EV_ADD, EV_SUB, EV_RSUB, EV_MUL, EV_DIV, EV_DIVMODE, EV_FLOORDIV, EV_FMOD, EV_REM, EV_POW, EV_ATAN2, EV_MAX, EV_MIN, EV_HYPOT, EV_FMAX, EV_FMIN,
    EV_BITAND, EV_BITOR, EV_BITXOR, EV_SHL, EV_SHR, EV_XLOGY, EV_COPYSIGN, EV_LOGADDEXP,
    EV_EQ, EV_NE, EV_LT, EV_LE, EV_GT, EV_GE, EV_AND, EV_OR, EV_XOR,
    /* reductions */
    EV_SUM, EV_MEAN, EV_PROD, EV_AMAX, EV_AMIN, EV_ANY, EV_ALL, EV_VAR, EV_STD, EV_NORM, EV_LSE, EV_ARGMAX, EV_ARGMIN, EV_CUMSUM, EV_CUMPROD, EV_NANSUM,
    /* the rest: numbered by their own file */
    EV_LAST
};

#define EVAL(name, fn, k) fy_status fy_at_##fn(fy_eval *v);
#include "aten/eval.def"
#undef EVAL

#endif
