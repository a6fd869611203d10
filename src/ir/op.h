/* SPDX-License-Identifier: Apache-2.0
 * op.h - what an operator is: one struct that says its attributes, types, shape inference, reference kernel, gradient and
 * local simplification. A node holds `const fy_op *`, found through a registry (built-in table + the caller's additions). */
#ifndef FY_OP_H
#define FY_OP_H

#include "ir/graph.h"

/* ---- the attribute table ----------------------------------------------------------------------------------------- */

/* `def` is the default in text ("1", "0.01", "constant", "[1, 1]"); NULL: no default; FY_REQUIRED: must be given. */
#define FY_REQUIRED "\001required"
typedef struct fy_attr_spec { const char *name; fy_attr_kind kind; const char *def; } fy_attr_spec;

/* ---- inference --------------------------------------------------------------------------------------------------- */

/* What is known of a value before it is computed. At run time every dim is constant and data is there. */
typedef struct fy_fact {
    fy_type          type;
    const fy_const  *constant;           /* whole contents, or NULL */
    const fy_tensor *data;               /* whole contents at run time, or NULL */
    const fy_dim *const *elem;           /* contents as dims (integer tensors of up to FY_MAX_ELEM elements), or NULL */
    int64_t          nelem;
} fy_fact;
#define FY_MAX_ELEM 1024

typedef struct fy_infer {
    const fy_node  *node;                /* attributes */
    fy_dims        *dims;
    fy_arena       *arena;               /* what inference makes lives here */
    ferry_error    *e;
    int             nin, nout;
    const fy_fact  *in;                  /* kind FY_NOTYPE where an optional input is left out or nothing is known */
    fy_fact        *out;
    bool           *oom;                 /* set when a reader below answers "unknown" for want of memory; whoever asks checks it */
} fy_infer;

/* Readers: safe for any i (beyond nin: absent / unknown). */
bool          fy_in_has(const fy_infer *f, int i);                      /* is the optional input there? */
fy_dtype      fy_in_dtype(const fy_infer *f, int i);                    /* 0 unknown */
int           fy_in_rank(const fy_infer *f, int i);                     /* -1 unknown */
const fy_dim *fy_in_dim(const fy_infer *f, int i, int axis);            /* axis in [0, rank) or negative; NULL unknown */
const fy_dim *const *fy_in_dims(const fy_infer *f, int i);              /* NULL unknown */
/* Contents of an integer input as dims: from a constant, run-time data or shape arithmetic. NULL if unknown. */
const fy_dim *const *fy_in_elems(const fy_infer *f, int i, int64_t *n);
bool          fy_in_ints(const fy_infer *f, int i, int64_t *dst, int64_t max, int64_t *n);  /* all constant? */
bool          fy_in_f64(const fy_infer *f, int i, int64_t k, double *v);                    /* element k of a float input */
/* Axis as written -> [0, rank); error AXIS. */
FY_CHECKED fy_status fy_axis(int *axis, int64_t given, int rank, ferry_error *e);

/* Sizes that must be equal in every run that succeeds. Where one is a data-dependent size and the node is in the main graph, so that it
 * runs in each of them, the two become one. */
void fy_in_equal(const fy_infer *f, const fy_dim *a, const fy_dim *b);

/* Writers. A NULL dim among them means out of memory. rank -1: unknown. */
FY_CHECKED fy_status fy_out_set(fy_infer *f, int i, fy_dtype t, int rank, const fy_dim *const *dim);
FY_CHECKED fy_status fy_out_like(fy_infer *f, int i, int in);           /* dtype and shape of an input */
FY_CHECKED fy_status fy_out_elems(fy_infer *f, int i, int64_t n, const fy_dim *const *elem);   /* contents, after fy_out_set */
/* Two sizes that meet in a broadcast. NULL: out of memory, or *bad: they cannot. */
const fy_dim *fy_meet(fy_infer *f, const fy_dim *a, const fy_dim *b, bool *bad);
/* The shape of a multidirectional (NumPy) broadcast of `n` inputs; SHAPE error if they cannot. rank -1 if unknown. */
FY_CHECKED fy_status fy_broadcast(fy_infer *f, int n, const int *inputs, int *rank, const fy_dim **dim);

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* A run-time value. Items of sequences (and the pairs of maps) are owned by it. */
typedef struct fy_rval fy_rval;
/* OPTIONAL: n is 0 or 1. MAP: n pairs; item[0] is the tensor [n] of keys, ascending (strings by bytes) and all different, item[1]
 * their values: a tensor [n] where each is a scalar, else a sequence. elem_dtype: of the tensors in a sequence, 0 for others. */
struct fy_rval { fy_kind kind; fy_tensor t; int64_t n; fy_rval *item; fy_dtype elem_dtype; };
static inline int64_t fy_rval_items(const fy_rval *v) { return !v->item || v->kind == FY_TENSOR ? 0 : v->kind == FY_MAP ? 2 : v->n; }
/* A map of n keys in any order: sorts keys and values into a new value. VALUE if two keys are equal. */
FY_CHECKED fy_status fy_rval_map(fy_rval *map, const fy_tensor *keys, const fy_rval *values, ferry_error *e);
void fy_rval_free(fy_rval *v);
FY_CHECKED fy_status fy_rval_copy(fy_rval *dst, const fy_rval *src, ferry_error *e);    /* shares storage */

/* What a few operators need beyond libc. Whoever runs a graph passes the table in (fy_interp.hooks; engines/hooks.c has the one of
 * this build); a slot that a part left out of the build would fill is NULL, and the operator says so. */
typedef struct fy_hooks {
    /* An encoded image of any format as u8 [height, width, 3] (RGB), with `gray` [height, width, 1]: a new tensor, the caller's.
     * LIMIT where the pixels would take more than max_bytes. */
    fy_status (*image_decode)(fy_tensor *out, const void *bytes, size_t n, bool gray, int64_t max_bytes, ferry_error *e);
    /* match[i] = does the whole of text[i] match the regular expression, in time linear in the text? VALUE if it is none. */
    fy_status (*regex_full_match)(bool *match, const fy_str *text, int64_t n, fy_str pattern, ferry_error *e);
} fy_hooks;

typedef struct fy_call {
    const fy_node *node;
    ferry_error   *e;
    fy_pool       *pool;
    fy_arena      *scratch;              /* freed after the call */
    fy_spares     *spares;               /* NULL, or where outputs get their memory */
    int            nin, nout;
    fy_rval *const *in;                  /* NULL where left out */
    fy_rval      **out;                  /* NULL where not wanted */
    /* runs a subgraph of this node (If, Loop, Scan): inputs are borrowed, outputs owned by the caller */
    fy_status    (*run_graph)(struct fy_call *c, const fy_graph *g, int nin, fy_rval *const *in, int nout, fy_rval *out);
    void          *engine;               /* whoever runs: for run_graph */
    int64_t        max_bytes;            /* budget for one output; LIMIT beyond */
    const fy_hooks *hooks;               /* NULL: none is there */
    bool         (*stop)(void *ctx);     /* NULL, or asked between pieces of long work: true when the result is not wanted any more */
    void          *stop_ctx;
} fy_call;

static inline bool fy_stopped(const fy_call *c) { return c->stop && c->stop(c->stop_ctx); }

static inline const fy_tensor *fy_arg(const fy_call *c, int i) { return i < c->nin && c->in[i] ? &c->in[i]->t : NULL; }
static inline fy_tensor *fy_res(const fy_call *c, int i) { return i < c->nout && c->out[i] ? &c->out[i]->t : NULL; }
/* Outputs whose shape inference could tell are allocated (contiguous) before ref is called; for the others ref calls this. */
FY_CHECKED fy_status fy_alloc_out(const fy_call *c, int i, fy_dtype t, int rank, const int64_t *dim);
/* Dense wide copies of an argument in scratch (or the data itself where that is it already). NULL: out of memory, or absent. */
const double  *fy_arg_f64(const fy_call *c, int i);
const int64_t *fy_arg_i64(const fy_call *c, int i);

/* ---- the operator ------------------------------------------------------------------------------------------------ */

enum {
    FY_PURE = 1,                         /* same inputs, same outputs, no effect: may be folded, merged, removed */
    FY_INPLACE = 2,                      /* output 0 may use the buffer of input 0 if dtype and shape agree */
    FY_RANDOM = 4, FY_CONTROL = 8, FY_ELEMENTWISE = 16, FY_COMMUTES = 32, FY_OPAQUE_OP = 64
};

struct fy_op {
    const char *name;                    /* "Conv" */
    const char *domain;                  /* "" is ai.onnx */
    const fy_attr_spec *attrs;           /* ends with {0}; NULL: none */
    int8_t      min_in, max_in;          /* max -1: any number */
    int8_t      min_out, max_out;
    int16_t     since;                   /* opset that introduced the canonical form (no adapter needed at or above) */
    int16_t     first;                   /* opset in which the operator first appeared */
    const char *types;                   /* allowed dtypes, or NULL: any. "T=f32,f64;I=i64,i32|T,I,...|T": variables with their
                                            short dtype names ("*": all), then one entry for each input, then for each output. An
                                            entry is a variable (one dtype for all its places), a dtype, or "*"; "..." repeats the
                                            last one. Only tensors of known dtype are looked at. */
    fy_status (*infer)(fy_infer *f);
    fy_status (*ref)(const fy_call *c);
    fy_value *(*simplify)(fy_node *n);   /* an existing value that output 0 equals, or NULL */
    uint32_t    flags;
};

/* The registry: built-in operators (ops/ops.c) and additions. Immutable once models use it. `base` (may be NULL) is asked
 * for names that `op` has not, so that additions can replace. */
struct fy_registry { const fy_registry *base; const fy_op *const *op; int n; };
const fy_op *fy_op_find(const fy_registry *r, const char *domain, const char *name);   /* NULL if unknown */
/* An opaque operator for an unknown name, made once per model: attributes, arity and types are unchecked. */
const fy_op *fy_op_opaque(fy_model *m, const char *domain, const char *name);
int          fy_registry_count(const fy_registry *r);
const fy_op *fy_registry_at(const fy_registry *r, int i);

/* Infers the types (and small integer contents) of one node's outputs from its inputs' values, writes them into the output
 * values (keeping what was known and is more exact; TYPE or SHAPE if they contradict). */
FY_CHECKED fy_status fy_infer_node(fy_node *n, ferry_error *e);
/* One node as it stands against its operator's table: arity, required inputs and attributes, attribute kinds, dtypes. */
FY_CHECKED fy_status fy_node_check(const fy_node *n, ferry_error *e);

#endif
