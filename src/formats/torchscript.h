/* SPDX-License-Identifier: Apache-2.0
 * torchscript.h - reads what torch.jit.save writes: the object graph, the code and the constants become an ATen program.
 *
 * The code is a small subset of Python. It is never executed as such: what is not a tensor is computed while it is read (lists, flags,
 * sizes, loops over layers), every call on tensors becomes a node, and an `if` or a loop that only the data can decide becomes a
 * subgraph. Ranks and types decide much of that, and the file holds none: they come from the traced inputs, or from the caller. */
#ifndef FY_TORCHSCRIPT_H
#define FY_TORCHSCRIPT_H

#include "program/program.h"

/* What the user says of one input: "x" or, inside lists, tuples and dicts, "x.0", "x.key". */
typedef struct fy_ts_input {
    const char *name;
    bool        is_tensor;               /* else a number, or True, False */
    fy_dtype    dtype;                   /* FERRY_UNDEFINED: float32 */
    int         rank;
    int64_t     dim[FY_MAX_RANK];
    const char *symbol[FY_MAX_RANK];     /* a dynamic axis; its size then is the sample's; NULL: fixed. With rank -1: the traced sizes */
    double      number;
    bool        whole;                   /* the number is an int */
} fy_ts_input;

/* Who knows the operators. `node`: a node that was just appended, named "aten.add" without overload, arguments in their order and named
 * where the code names them: finds the overload, names the arguments, makes the outputs with their types. What is not known stays as it
 * is, with one untyped output. `value`: an input or the result of a block, typed already; `same`: the value outside that it stands for,
 * or NULL. `missing`: the error that names every operator of the program that is not known. */
typedef struct fy_ts_typer {
    void      *ctx;
    fy_status (*node)(void *ctx, fy_pnode *n, ferry_error *e);
    fy_status (*value)(void *ctx, fy_pvalue *v, const fy_pinput *weight, const fy_pvalue *same, ferry_error *e);
    fy_status (*missing)(void *ctx, ferry_error *e);
} fy_ts_typer;

typedef struct fy_ts_options {
    int                ninput;
    const fy_ts_input *input;
    const char        *batch;            /* symbol of axis 0 of every tensor, or NULL */
    /* Makes the typer for a program that has just been made; NULL: names and weights only, no program is built. */
    fy_status (*typer)(void *ctx, fy_ts_typer *t, fy_program *p, ferry_error *e);
    void              *ctx;
} fy_ts_options;

/* The program keeps the file mapped; weights point into it. USAGE, with what to type, if shapes are missing. */
FY_CHECKED fy_status fy_ts_read(fy_program **p, const char *path, const fy_ts_options *o, ferry_error *e);
/* The same from memory, for tests and fuzzing; `data` must outlive the program. */
FY_CHECKED fy_status fy_ts_read_memory(fy_program **p, const void *data, size_t n, const char *name, const fy_ts_options *o, ferry_error *e);

#endif
