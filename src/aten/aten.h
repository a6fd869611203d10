/* SPDX-License-Identifier: Apache-2.0
 * aten.h - from an ATen program to the graph, and the evaluator that checks it.
 *
 *     fy_pt2_read -> fy_aten_inline -> fy_aten_functionalise -> fy_aten_lower -> model at the canonical opset
 *               \-> fy_aten_eval: the program as read, in double, with real views and in-place writes */
#ifndef FY_ATEN_H
#define FY_ATEN_H

#include "ops/ops.h"
#include "program/program.h"

/* ---- schemas (aten.def) ------------------------------------------------------------------------------------------- */

typedef enum fy_schema_type { FY_ST_TENSOR, FY_ST_TENSORS, FY_ST_INT, FY_ST_INTS, FY_ST_FLOAT, FY_ST_FLOATS, FY_ST_BOOL, FY_ST_BOOLS,
    FY_ST_SCALAR, FY_ST_SCALARS, FY_ST_STRING, FY_ST_DTYPE, FY_ST_LAYOUT, FY_ST_DEVICE, FY_ST_MEMORY_FORMAT, FY_ST_OTHER } fy_schema_type;
typedef struct fy_schema_arg {
    const char    *name;
    fy_schema_type type;
    bool           optional, has_default, keyword_only;
    fy_parg        def;                  /* the default, if any */
    char           alias;                /* 'a'.. of Tensor(a), 0: none */
    bool           written;              /* Tensor(a!) */
    bool           alias_list;           /* Tensor(a -> *) */
    int            fixed_n;              /* int[2]: 2, so that a single int stands for both */
} fy_schema_arg;
typedef struct fy_schema { const char *name /* "aten.add.Tensor" */; int narg, nret; const fy_schema_arg *arg, *ret; } fy_schema;

/* ---- one operator -------------------------------------------------------------------------------------------------- */

typedef struct fy_lower fy_lower;        /* aten/lower.h: the lowering in progress */
typedef struct fy_eval  fy_eval;         /* aten/eval.h: the evaluation in progress */

typedef struct fy_aten_op {
    const char *schema;                  /* "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor" */
    fy_status (*lower)(fy_lower *l);     /* NULL: only functionalise may meet it */
    fy_status (*eval)(fy_eval *v);       /* NULL: cannot be verified */
} fy_aten_op;
const fy_aten_op *fy_aten_find(const char *op);              /* "aten.add.Tensor"; NULL if unknown */
int               fy_aten_count(void);
const fy_aten_op *fy_aten_at(int i);
/* Parses schema text; allocates in `a`. */
FY_CHECKED fy_status fy_schema_parse(const fy_schema **s, fy_arena *a, const char *text, ferry_error *e);
/* Resolves every node of the program to its schema (node->schema); unknown ones stay NULL. One int where the schema has a
 * list becomes a list. */
FY_CHECKED fy_status fy_aten_resolve(fy_program *p, ferry_error *e);
/* One node; `seen` (op -> schema, or NULL) saves parsing twice. */
FY_CHECKED fy_status fy_aten_resolve_node(fy_pnode *n, fy_map *seen, ferry_error *e);
/* The argument as written, or the schema's default; FY_ARG_NONE if neither. Never NULL. */
const fy_parg *fy_aten_arg(const fy_pnode *n, const char *name);

/* ---- program -> program --------------------------------------------------------------------------------------------- */

FY_CHECKED fy_status fy_aten_inline(fy_program *p, ferry_error *e);          /* no_grad and autocast blocks */
/* Rewrites in-place operators and writes through views into functional form; buffer mutations become BUFFER_MUTATION
 * outputs. ALIAS if a write has no such form. */
FY_CHECKED fy_status fy_aten_functionalise(fy_program *p, ferry_error *e);

/* Makes axes of user inputs symbolic where the sample froze them (functionalises first). Lowering then puts the symbol
 * where literals of the program hold the sample's size; FROZEN, with node and literal, where that has no sound form.
 * NAME, AXIS: no such input or axis. */
typedef struct fy_axis_name { const char *input; int axis; const char *symbol; } fy_axis_name;
FY_CHECKED fy_status fy_aten_symbolise(fy_program *p, int n, const fy_axis_name *axes, ferry_error *e);

/* ---- program -> graph ------------------------------------------------------------------------------------------------ */

typedef enum fy_note_kind { FY_NOTE_FIXED_AXIS, FY_NOTE_LITERAL, FY_NOTE_ASSERT, FY_NOTE_MUTATION, FY_NOTE_TRAINING, FY_NOTE_DTYPE, FY_NOTE_LEAK, FY_NOTE_OTHER } fy_note_kind;
typedef struct fy_note { fy_note_kind kind; char *text; char *where; } fy_note;
typedef struct fy_notes { fy_note *at; int64_t n, cap; } fy_notes;
void fy_notes_free(fy_notes *n);
void fy_notes_add(fy_notes *n, fy_note_kind kind, const char *where, const char *fmt, ...) FY_PRINTF(4, 5);   /* drops on no memory */

typedef struct fy_mappings fy_mappings;  /* aten/mapping.h: what custom operators become */

#define FY_ASSERT_KEY "ferry.assert:"  /* and the output's name: what the program says if that is false */

typedef struct fy_lower_options {
    const fy_registry *registry;         /* operators of the model; NULL: the built-in ones */
    const fy_mappings *mappings;         /* may be NULL; outlives the model */
    bool         training;               /* allow layers in training mode */
    bool         asserts;                /* the program's own checks become outputs of bool, named in the metadata (FY_ASSERT_KEY) */
    int          ninput_names, noutput_names;
    const char *const *input_names;      /* NULL: from the program */
    const char *const *output_names;
    int          ndim_names;             /* pairs torch symbol or "input:axis" -> name */
    const fy_axis_name *dim_names;
    fy_notes    *notes;                  /* for the report; may be NULL */
} fy_lower_options;

/* Every operator without a lowering is listed in one ATEN error. The model is at the canonical opset, inferred, and
 * shares the program's mapped weights: free the program after it. */
FY_CHECKED fy_status fy_aten_lower(fy_model **m, fy_program *p, const fy_lower_options *o, ferry_error *e);

/* ATEN, listing every operator of the program without a lowering; FY_OK if there is none. */
FY_CHECKED fy_status fy_aten_missing(const fy_program *p, const fy_lower_options *o, ferry_error *e);

/* ---- evaluation ------------------------------------------------------------------------------------------------------ */

/* Runs the program as read. Floating point is computed in double; fp16 and bf16 values are rounded to their type at each
 * node. in: one for each USER input (tensors; literals as rank-0 tensors); out: one for each USER output, in double for
 * float outputs, owned by the caller. `seen` is shown each tensor value.
 * state: one for each input of the program, all inputs counted (p->nin), or NULL. A buffer or parameter starts from state[i]
 * where that has a dtype, and state[i] is replaced by what a written one holds at the end; the caller frees them. */
typedef struct fy_eval_options {
    fy_pool *pool;
    void   (*seen)(void *ctx, const fy_pvalue *v, const fy_tensor *t);
    void    *ctx;
    fy_tensor *state;
    const fy_tensor *(*follow)(void *ctx, const fy_pvalue *v);   /* or NULL. What a model made of a result of a node that decides; NULL: unknown */
    double   tolerance;                  /* of what leaves a decision open, which is then taken from `follow` (eval_ties.c) */
    int64_t *followed;                   /* how many nodes were decided so */
} fy_eval_options;
bool fy_aten_decides(const fy_pnode *n);                     /* topk, sort, nms, floor, quantize and their kin */
fy_status (*fy_eval_find(const char *op))(fy_eval *v);       /* what evaluates "aten.add_.Tensor", or NULL */
FY_CHECKED fy_status fy_aten_eval(const fy_program *p, const fy_tensor *in, int nin, fy_tensor *out, int nout, const fy_eval_options *o, ferry_error *e);

#endif
