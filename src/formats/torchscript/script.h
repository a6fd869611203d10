/* SPDX-License-Identifier: Apache-2.0
 * script.h - what the parts of the TorchScript reader share. Start at read.c.
 *
 * Everything is bounded: tokens, nesting, steps, nodes. Memory lives in two arenas, the program's and `tmp`. */
#ifndef FY_TS_SCRIPT_H
#define FY_TS_SCRIPT_H

#include "formats/pickle.h"
#include "formats/torchscript.h"

enum {
    TS_NEST = 96,                        /* expressions within expressions, blocks within blocks, indentation */
    TS_CALLS = 96,                       /* functions within functions */
    TS_STEPS = 1500000,                  /* expressions evaluated */
    TS_NODES = 200000,
    TS_TOKENS = 4000000,
    TS_ITEMS = 100000                    /* of one list; loops that are written out */
};

/* ---- the tree of a file (parse.c) ----------------------------------------------------------------------------------------- */

typedef enum ts_ekind {
    TS_NAME, TS_QUAL /* torch.size, __torch__.a.B */, TS_CONST /* CONSTANTS.c0 */, TS_INT, TS_FLOAT, TS_STR, TS_NONE, TS_TRUE, TS_FALSE,
    TS_LIST, TS_TUPLE, TS_DICT /* key, value, ... */, TS_ATTR, TS_INDEX, TS_SLICE, TS_CALL /* arg[0] is called */
} ts_ekind;
typedef struct ts_expr ts_expr;
struct ts_expr { ts_ekind kind; uint32_t line; const char *s; int64_t i; double f; int n; ts_expr **arg; const char **kw; };

typedef enum ts_skind { TS_ASSIGN, TS_EXPR, TS_IF, TS_WHILE, TS_FOR, TS_RETURN, TS_PASS } ts_skind;
typedef struct ts_stmt ts_stmt;
struct ts_stmt {
    ts_skind kind; uint32_t line;
    bool     unpack;                     /* ASSIGN: "a, b, = x" takes x apart */
    int      ntarget; ts_expr **target;  /* ASSIGN; FOR: the variable */
    ts_expr *value;                      /* ASSIGN, EXPR, RETURN (may be NULL); IF, WHILE: the condition; FOR: the count */
    ts_expr *type;                       /* ASSIGN: annotation, or NULL */
    ts_stmt *body, *other, *next;
};

typedef struct ts_file ts_file;
typedef struct ts_param { const char *name; ts_expr *type, *def; } ts_param;
typedef struct ts_func { const char *name; ts_file *file; uint32_t line; int n; ts_param *param; ts_stmt *body; bool active; struct ts_func *next; } ts_func;
typedef struct ts_attr { const char *name; ts_expr *type, *def; struct ts_attr *next; } ts_attr;
typedef struct ts_class { const char *name, *base; ts_file *file; ts_attr *attr; ts_func *method; ts_expr *parameters; struct ts_class *next; } ts_class;
struct ts_file { const char *path /* "torch/nn/functional.py", for messages */; ts_class *classes; ts_func *functions; };

/* ---- values ------------------------------------------------------------------------------------------------------------------ */

typedef enum ts_kind {
    TV_NONE, TV_BOOL, TV_INT, TV_FLOAT, TV_STR, TV_DEVICE, TV_LIST, TV_TUPLE, TV_DICT, TV_OBJECT,
    TV_TENSOR,                           /* v */
    TV_SYM,                              /* v: an int, float or bool known when the model runs */
    TV_NUM,                              /* inner: a number as a tensor of no dimension (prim::NumToTensor), made only if needed; without, item: a vector */
    TV_STACK,                            /* v: a list of tensors, stacked, whose length is known when the model runs */
    TV_FUNC, TV_CLASS, TV_UNSET, TV_LOST /* s: why it has no value */
} ts_kind;
typedef struct ts_value ts_value;
struct ts_value {
    ts_kind   kind;
    int64_t   i;                         /* BOOL, INT */
    double    f;
    const char *s;                       /* STR, DEVICE; LOST; OBJECT: path from the root, "" of the root */
    fy_pvalue *v;
    ts_value *inner;
    ts_value **item; int64_t n, cap;     /* LIST, TUPLE; DICT: key, value ...; OBJECT: values of attr names below */
    const char **name;                   /* OBJECT */
    ts_class *cls;                       /* OBJECT, CLASS */
    ts_func  *fn;
    const fy_pickled *pk;                /* TENSOR of the file: where it came from; its name is s */
    fy_torch_file *of;
    fy_pinput *in;                       /* the same: once it is an input of the program */
    bool      parameter;                 /* TENSOR of the file */
    ts_value *q;                         /* TENSOR: quantised (quant.c); NULL: not */
    uint32_t  born;                      /* values are numbered as they are made */
};

/* A graph being filled: the outermost, or a branch or body. */
typedef struct ts_level {
    fy_pgraph *g;
    struct ts_level *up;
    FY_VEC(fy_pvalue *) outer, formal;   /* captured from outside, and what stands for them in here */
    fy_map   by;                         /* outer's address -> formal */
    uint32_t first;                      /* ids below are from outside */
} ts_level;

typedef struct ts_frame { ts_func *fn; fy_map vars; ts_value *self; uint32_t line; struct ts_frame *up; } ts_frame;

/* What to undo when a branch is left: a variable, or the contents of a list, dict or object. */
typedef struct ts_undo { ts_frame *frame; const char *name; ts_value *old; ts_value *obj; ts_value was; } ts_undo;

typedef struct ts_state { ts_value *obj, *was; const char *name; } ts_state;

typedef struct ts {
    fy_program *p;
    ferry_error *e;
    const fy_ts_options *o;
    fy_ts_typer  typer;
    fy_zip       zip;
    fy_arena     tmp;
    const char  *root;
    fy_torch_file data, constants, traced;
    bool         has_constants, has_traced;
    bool         flow;                   /* its modules have an `if` or a loop: no trace has */
    int          version;
    fy_map       files;                  /* path in code/ -> ts_file */
    fy_map       strings;                /* interned */
    fy_map       objects;                /* address of a fy_pickled -> ts_value */
    FY_VEC(ts_value *) weights;          /* tensors of the file that were read, in order: inputs of the program */
    FY_VEC(ts_state) state;              /* tensors of the file that were attributes and were replaced */
    uint32_t     born;
    FY_VEC(fy_pgraph *) home;            /* by value id */
    FY_VEC(ts_undo) undo;
    int          recording;              /* > 0: undo is kept */
    ts_level    *level;
    ts_frame    *frame;
    int64_t      steps, nodes;
    int          depth, calls;
    bool         raised;                 /* a RaiseException is being unwound: its words are in `why` */
    const char  *why;
    ts_value    *returned;
    int64_t      dropped;                /* assertions left out */
} ts;

#define TS_OOM(r, x) FY_NOMEM((r)->e, (x) != NULL)

/* parse.c */
FY_CHECKED fy_status ts_parse(ts *r, ts_file *f, const char *text, size_t n);
FY_CHECKED fy_status ts_intern(ts *r, const char **to, const char *s, size_t n);
/* "__torch__.a.b.C": the class or function; parses its file when first asked. Both NULL: there is none. */
FY_CHECKED fy_status ts_lookup(ts *r, const char *qual, ts_class **c, ts_func **f);
FY_CHECKED fy_status ts_parse_class(ts *r, ts_class **c, const char *qual);        /* CORRUPT if there is none */
ts_func *ts_method(const ts_class *c, const char *name);

/* value.c */
fy_status ts_fail(ts *r, fy_code code, const char *fmt, ...) FY_PRINTF(3, 4);      /* with the line of the code */
fy_status ts_lost(ts *r, const char *why);                   /* a value that is needed has none; why: NULL if it was never set */
fy_status ts_trace_it(ts *r, fy_status s);                   /* adds the remedy for what a trace of the module does not run into */
FY_CHECKED fy_status ts_new(ts *r, ts_value **v, ts_kind kind);
FY_CHECKED fy_status ts_int(ts *r, ts_value **v, int64_t i);
FY_CHECKED fy_status ts_bool(ts *r, ts_value **v, bool b);
FY_CHECKED fy_status ts_float(ts *r, ts_value **v, double f);
FY_CHECKED fy_status ts_str(ts *r, ts_value **v, const char *s);
FY_CHECKED fy_status ts_tensor(ts *r, ts_value **v, fy_pvalue *p);
FY_CHECKED fy_status ts_add(ts *r, ts_value *list, ts_value *x);                    /* no undo: of a fresh container */
FY_CHECKED fy_status ts_touch(ts *r, ts_value *container);                         /* about to change: keep what it was */
FY_CHECKED fy_status ts_set_var(ts *r, ts_frame *f, const char *name, ts_value *v);
FY_CHECKED fy_status ts_from_pickle(ts *r, ts_value **v, const fy_pickled *pk, fy_torch_file *of, const char *path, int depth);
ts_value **ts_dict_at(const ts_value *d, const ts_value *key);                      /* NULL if absent */
ts_value **ts_attr_at(const ts_value *obj, const char *name);
const char *ts_kind_text(const ts_value *v);
bool ts_is_tensor(const ts_value *v);                                               /* TENSOR or NUM */
bool ts_is_number(const ts_value *v);                                               /* BOOL, INT, FLOAT, SYM */
bool ts_equal(const ts_value *a, const ts_value *b, bool *known, int depth);

/* emit.c */
FY_CHECKED fy_status ts_capture(ts *r, ts_level *l, fy_pvalue **v);
FY_CHECKED fy_status ts_home(ts *r, fy_pvalue *v, fy_pgraph *g);
FY_CHECKED fy_status ts_arg(ts *r, fy_parg *a, const ts_value *v);
FY_CHECKED fy_status ts_node(ts *r, fy_pnode **n, const char *op, int narg, ts_value *const *arg, const char *const *kw);
/* A node and its result as a value: a tensor, a tuple of several, a list. */
FY_CHECKED fy_status ts_emit(ts *r, ts_value **v, const char *op, int narg, ts_value *const *arg, const char *const *kw);
FY_CHECKED fy_status ts_result(ts *r, ts_value **v, fy_pnode *n);
FY_CHECKED fy_status ts_as_tensor(ts *r, ts_value **v);                             /* NUM -> TENSOR, numbers too */
FY_CHECKED fy_status ts_item(ts *r, ts_value **v, ts_value *tensor, fy_pvalue_kind kind, int64_t least);
FY_CHECKED fy_status ts_item_into(ts *r, fy_pvalue *number, fy_pvalue *tensor);
FY_CHECKED fy_status ts_number_tensor(ts *r, ts_value **v, ts_value *number, fy_pvalue_kind kind);   /* floats as double */
FY_CHECKED fy_status ts_dims(ts *r, ts_value **v, ts_value *tensor, int axis);       /* one size */
FY_CHECKED fy_status ts_sym(ts *r, ts_value **v, const char *op, fy_pvalue_kind kind, const fy_dim *d, int narg, ts_value *const *arg);
FY_CHECKED fy_status ts_declare(ts *r, fy_pvalue *v, const fy_pinput *weight, const fy_pvalue *same);
FY_CHECKED fy_status ts_const_tensor(ts *r, ts_value **v, fy_dtype t, int rank, const int64_t *dim, const void *elements);
FY_CHECKED fy_status ts_pvalue(ts *r, fy_pvalue **p, ts_value *tensor);              /* as a value of the level being filled */
FY_CHECKED fy_status ts_fresh(ts *r, fy_pvalue **v, fy_pvalue_kind kind);
FY_CHECKED fy_status ts_rank(ts *r, int *rank, const ts_value *tensor);
FY_CHECKED fy_status ts_constant(ts *r, const ts_value *v, bool *known, double *f, int64_t *i);   /* a tensor of the file of one element */

/* number.c: what is computed while the file is read. *done false: the call is one on tensors. */
FY_CHECKED fy_status ts_builtin(ts *r, ts_value **v, bool *done, const char *name, int n, ts_value **arg, const char *const *kw);
FY_CHECKED fy_status ts_arith(ts *r, ts_value **v, const char *op, ts_value *a, ts_value *b);
FY_CHECKED fy_status ts_convert(ts *r, ts_value **v, const char *to, ts_value *x);   /* int, float, bool */
FY_CHECKED fy_status ts_index(ts *r, ts_value **v, ts_value *x, ts_value *at);
FY_CHECKED fy_status ts_slice(ts *r, ts_value **v, ts_value *x, ts_value *from, ts_value *to, ts_value *step);

/* run.c */
FY_CHECKED fy_status ts_eval(ts *r, ts_value **v, const ts_expr *x);
FY_CHECKED fy_status ts_call(ts *r, ts_value **v, ts_func *f, ts_value *self, int n, ts_value **arg, const char *const *kw);
FY_CHECKED fy_status ts_block(ts *r, const ts_stmt *s);
FY_CHECKED fy_status ts_step(ts *r, int64_t n);

/* quant.c */
FY_CHECKED fy_status ts_quantised_weight(ts *r, ts_value *x, const fy_pickled *pk, fy_torch_file *of, const char *path, int depth);
/* ts_emit where an argument is quantised; *done false: none is. */
FY_CHECKED fy_status ts_quantised_emit(ts *r, ts_value **v, bool *done, const char *op, int n, ts_value *const *arg, const char *const *kw);
FY_CHECKED fy_status ts_quantised_call(ts *r, ts_value **v, const char *op, int n, ts_value **arg);                /* ops.quantized.OP */
FY_CHECKED fy_status ts_quantised_aten(ts *r, ts_value **v, bool *done, const char *op, int n, ts_value **arg);    /* quantize_per_tensor and the like */
FY_CHECKED fy_status ts_unquantised(ts *r, ts_value **v);

/* flow.c: what only the data decide */
FY_CHECKED fy_status ts_branch(ts *r, const ts_stmt *s, ts_value *cond);
FY_CHECKED fy_status ts_loop(ts *r, const ts_stmt *s, ts_value *count);

#endif
