/* SPDX-License-Identifier: Apache-2.0
 * program.h - an ATen program: what torch.export (or TorchScript) wrote, as plain structs.
 *
 * Filled by formats/pt2, changed by aten/ (inline, functionalise), read by aten/ (lowering, evaluator). Everything lives
 * in the program's arena; values have dense ids. Sizes that are symbolic are fy_dims of the program's own pool: symbol
 * names are torch's ("s77", "u0") until names are given. */
#ifndef FY_PROGRAM_H
#define FY_PROGRAM_H

#include "base/map.h"
#include "ir/constant.h"
#include "ir/dim.h"

typedef struct fy_pvalue fy_pvalue;      /* a tensor, symbolic int/float/bool, or list of tensors by name */
typedef struct fy_pnode  fy_pnode;
typedef struct fy_pgraph fy_pgraph;
typedef struct fy_program fy_program;

typedef enum fy_arg_kind {
    FY_ARG_NONE, FY_ARG_TENSOR, FY_ARG_TENSORS,      /* TENSORS: list; entries may be NULL (optional tensors) */
    FY_ARG_INT, FY_ARG_INTS, FY_ARG_FLOAT, FY_ARG_FLOATS, FY_ARG_BOOL, FY_ARG_BOOLS, FY_ARG_STRING, FY_ARG_STRINGS,
    FY_ARG_SYM, FY_ARG_SYMS,                         /* ints of which some are named values: see fy_parg.sym */
    FY_ARG_SYMBOOL, FY_ARG_SYMFLOAT,
    FY_ARG_DTYPE, FY_ARG_MEMORY_FORMAT, FY_ARG_LAYOUT, FY_ARG_DEVICE, FY_ARG_GRAPH, FY_ARG_COMPLEX, FY_ARG_OPERATOR,
    FY_ARG_CUSTOM                                    /* a script object: its class name in s */
} fy_arg_kind;

/* An int that is a literal (value == NULL) or the value of a symbolic int. */
typedef struct fy_psym { fy_pvalue *value; int64_t i; } fy_psym;

typedef struct fy_parg {
    const char  *name;                   /* schema argument name; "" for higher-order operators */
    fy_arg_kind  kind;
    fy_pvalue   *value;                  /* TENSOR, SYMBOOL, SYMFLOAT */
    fy_pvalue  **values;                 /* TENSORS */
    int64_t      n;                      /* of lists */
    int64_t      i;                      /* INT, BOOL, DTYPE (a ferry_dtype), MEMORY_FORMAT/LAYOUT (schema numbers) */
    double       f, im;
    const int64_t *ints;                 /* INTS, BOOLS */
    const double *floats;
    const char  *s;                      /* STRING, DEVICE, OPERATOR, CUSTOM */
    const char *const *strings;
    fy_psym      sym;                    /* SYM */
    const fy_psym *syms;                 /* SYMS */
    fy_pgraph   *graph;
} fy_parg;

typedef enum fy_pvalue_kind { FY_PV_TENSOR, FY_PV_SYMINT, FY_PV_SYMFLOAT, FY_PV_SYMBOOL, FY_PV_OTHER } fy_pvalue_kind;

/* Recorded metadata is a cross-check and may be missing (has_meta false). */
struct fy_pvalue {
    uint32_t       id;
    const char    *name;
    fy_pvalue_kind kind;
    bool           has_meta;
    fy_dtype       dtype;                /* complex kinds as ferry_dtype */
    int            rank;
    const fy_dim *const *dim;            /* NULL dim entries do not occur */
    const fy_dim *const *stride;         /* NULL if not recorded */
    const fy_dim  *sym;                  /* SYMINT: its expression, if recorded */
    fy_pnode      *def;                  /* NULL for graph inputs */
    int            def_slot;
    int64_t        nuses;                /* kept by the reader; recount with fy_program_index after changes */
};

struct fy_pnode {
    uint32_t     id;
    const char  *target;                 /* as written: "torch.ops.aten.linear.default", "_operator.mul", "torch.ops.higher_order.cond" */
    const char  *op;                     /* "aten.linear.default", "sym.mul", "hop.cond", "torchvision.nms.default": normalised */
    int          narg;
    fy_parg     *arg;                    /* as written: defaults are left out */
    int          nout;
    fy_parg     *out;                    /* kinds TENSOR, TENSORS, SYM, SYMBOOL, SYMFLOAT, NONE */
    const char  *scope;                  /* "layer1.0.conv1" from nn_module_stack, or NULL */
    const char  *source;                 /* "model.py:57 in forward" from stack_trace: the innermost line of user code; folders removed */
    const char  *source_full;            /* with folders */
    fy_pnode    *prev, *next;
    fy_pgraph   *graph;
    const void  *schema;                 /* aten/: resolved schema, or NULL */
};

struct fy_pgraph {
    fy_program  *program;
    const char  *name;
    int          nin;
    fy_parg     *in;                     /* TENSOR, SYM(value), or a bare constant */
    int          nout;
    fy_parg     *out;
    fy_pnode    *first, *last;
    int64_t      nnodes;
};

typedef enum fy_input_kind {
    FY_PIN_USER,
    FY_PIN_PARAMETER,
    FY_PIN_BUFFER,
    FY_PIN_CONSTANT,
    FY_PIN_LITERAL,
    FY_PIN_CUSTOM,
    FY_PIN_TOKEN
} fy_input_kind;
typedef struct fy_pinput {
    fy_input_kind  kind;
    fy_pvalue     *value;                /* NULL for literals without a name */
    const char    *fqn;                  /* "layer1.0.conv1.weight": parameters, buffers, constants */
    const char    *user_name;            /* USER: "input_ids", from forward's signature; "x.k" inside dicts, "x.0" in lists */
    bool           persistent;
    const fy_const *data;                /* parameters, buffers, constants: contents (zero-copy); NULL for the others */
    fy_parg        literal;              /* LITERAL */
} fy_pinput;

typedef enum fy_output_kind {
    FY_POUT_USER,
    FY_POUT_BUFFER_MUTATION,
    FY_POUT_INPUT_MUTATION,
    FY_POUT_PARAMETER_MUTATION,
    FY_POUT_LOSS,
    FY_POUT_OTHER
} fy_output_kind;
typedef struct fy_poutput {
    fy_output_kind kind;
    fy_parg        arg;
    const char    *target;               /* mutations: buffer fqn or input name */
    const char    *user_name;            /* USER: "logits", "output" ...; from out_spec */
} fy_poutput;

/* A symbol's range as torch recorded it. */
typedef struct fy_prange { const char *symbol; int64_t lo, hi; } fy_prange;

/* A symbol of an axis that was opened, and the sample's size. */
typedef struct fy_popened { const char *symbol; int axis; int64_t sample; } fy_popened;

/* What the reader left out or decided: a line of the report. */
typedef struct fy_premark { const char *where, *text; } fy_premark;

/* One leaf of the recorded sample inputs, in the order of the USER inputs. */
typedef struct fy_psample { bool is_tensor; fy_tensor t; fy_parg literal; } fy_psample;

struct fy_program {
    fy_arena     arena;
    fy_dims     *dims;
    fy_pgraph   *graph;
    int          nin;
    fy_pinput   *in;                     /* one for each graph input */
    int          nout;
    fy_poutput  *out;
    int          nrange;
    fy_prange   *range;
    int          nopened, ngiven;        /* of `opened`: those whose sample's size literals still hold; all: the rest are of code that computes its sizes */
    fy_popened  *opened;
    FY_VEC(fy_psample) sample;           /* empty if the archive has none that could be read as data */
    const char  *sample_error;           /* why not, if so */
    FY_VEC(fy_premark) remark;
    bool         decomposed;             /* verifiers ["ATEN"] */
    const char  *torch_version;          /* "2.7.0+cu126" */
    int          schema_major, schema_minor;
    const char  *path;                   /* of the file */
    uint32_t     nvalues, nnodes;
    struct fy_map_file *file;            /* mapped; constants point into it */
    int64_t      traces;                 /* stack traces with folders found in the file: a leak worth reporting */
};

fy_program *fy_program_new(void);        /* NULL: out of memory */
void        fy_program_free(fy_program *p);                  /* also closes the mapped file */
fy_pvalue  *fy_pvalue_new(fy_program *p, fy_pvalue_kind kind, const char *name);
fy_pnode   *fy_pnode_new(fy_pgraph *g, fy_pnode *before, const char *op, int narg, int nout);
void        fy_pnode_remove(fy_pnode *n);
const fy_parg *fy_pnode_arg(const fy_pnode *n, const char *name);        /* as written; NULL if left out */
/* Defs, use counts and dense ids again after changes; GRAPH if a value is used before it is made. */
FY_CHECKED fy_status fy_program_index(fy_program *p, ferry_error *e);
/* c10::ScalarType -> element type; 0 where ONNX has none. */
fy_dtype    fy_c10_dtype(int64_t c10);
/* Readable text, one line a node: golden files and --report. */
void        fy_program_print(fy_buf *out, const fy_program *p);

#endif
