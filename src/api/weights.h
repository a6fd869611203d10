/* SPDX-License-Identifier: Apache-2.0
 * weights.h - the weights of any file under the names of PyTorch; what became of them in a .onnx (the record); other weights put in their place. */
#ifndef FY_API_WEIGHTS_H
#define FY_API_WEIGHTS_H

#include "api/api.h"
#include "formats/weights.h"

/* ---- the record ------------------------------------------------------------------------------------------------------------
 * A .onnx keeps the names of PyTorch, but not every weight is in it as it was: batch norm is folded into convolutions, products take transposed
 * weights, tied ones come once. The metadata "ferry.weights" says so, as JSON: {"folded": {NAME: digest of what it was}, "links": [[INITIALIZER,
 * NAME, axis, axis ...]], "unused": [NAME], "made": [INITIALIZER that was no weight], "folds": [[WEIGHT, BIAS or null, the norm's SCALE, SHIFT, MEAN, VARIANCE, axis,
 * epsilon]]}. Those that it does not mention are the weights of their names; of a fold the initializer has the name of the convolution's weight. */

typedef struct fy_link { const char *target, *name; int rank; int perm[FY_MAX_RANK]; } fy_link;      /* target = name with its axes permuted */
/* A convolution that took in the norm after it: names as in PyTorch, NULL where there is none (scale 1, shift and bias 0). */
enum { FY_FOLD_WEIGHT, FY_FOLD_BIAS, FY_FOLD_SCALE, FY_FOLD_SHIFT, FY_FOLD_MEAN, FY_FOLD_VARIANCE, FY_FOLD_PARTS };
typedef struct fy_fold {
    const char *part[FY_FOLD_PARTS];
    int         axis;                    /* of the weight's output channels */
    double      eps;
    fy_node    *node;                    /* that has it now; NULL: nobody, or in a form that cannot be changed */
    const fy_const *weight, *bias;       /* of an earlier record: what the model had before it was changed */
} fy_fold;
typedef struct fy_record {
    fy_arena arena;
    FY_VEC(fy_pair) folded;
    FY_VEC(fy_link) link;
    FY_VEC(const char *) unused;
    FY_VEC(fy_fold) fold;
    fy_map   folded_by_name, unused_by_name, made;
} fy_record;
FY_CHECKED fy_status fy_record_read(fy_record *r, const fy_model *m, ferry_error *e);       /* empty where there is none; CORRUPT if it is damaged */
void fy_record_free(fy_record *r);
/* A weight of the source before it became a model, or of a model before it was changed. */
typedef struct fy_origin { const char *name; const fy_const *data; bool used; } fy_origin;
/* What the record says of a model as read: its initializers, under the names that the record gives them. */
FY_CHECKED fy_status fy_record_origins(fy_origin **at, int64_t *n, fy_record *r, fy_model *m, ferry_error *e);
/* Writes the record of m, made from these; `before` is what an earlier record said, with the folds that fy_folds_find added. */
FY_CHECKED fy_status fy_record_make(fy_model *m, const fy_origin *at, int64_t n, fy_record *before, ferry_error *e);
/* fold.c: the norms behind convolutions, before any pass runs; where the folds of the record are in m. */
FY_CHECKED fy_status fy_folds_find(fy_record *r, const fy_model *m, ferry_error *e);
FY_CHECKED fy_status fy_folds_place(fy_record *r, const fy_model *m, ferry_error *e);
/* Weight and bias of the convolution and the norm together; false: not finite, no floats, or out of memory. */
bool fy_fold_compute(fy_arena *a, const fy_fold *f, const fy_const *const part[FY_FOLD_PARTS], const fy_const **weight, const fy_const **bias);
/* Puts them into its node; or the convolution's own weights, and the norm behind it. */
FY_CHECKED fy_status fy_fold_put(fy_fold *f, fy_model *m, const fy_const *weight, const fy_const *bias, ferry_error *e);
FY_CHECKED fy_status fy_fold_apart(fy_fold *f, fy_model *m, const fy_const *const part[FY_FOLD_PARTS], ferry_error *e);
const char *fy_const_digest(char hex[17], const fy_const *c, ferry_error *e);                /* of the contents; NULL: out of memory */

/* ---- weights of any file --------------------------------------------------------------------------------------------------- */

typedef struct fy_weight_file {
    fy_weights  w;
    fy_program *program;                 /* a .pt2, whose file backs the weights */
    fy_model   *model;                   /* a .onnx, the same */
    fy_record   record;
    const char *kind;                    /* "a .pt2", "a .onnx", or w.format */
} fy_weight_file;
FY_CHECKED fy_status fy_weight_file_open(fy_weight_file *f, const char *path, const char *section, ferry_error *e);
void fy_weight_file_close(fy_weight_file *f);
FY_CHECKED fy_status fy_weights_report(fy_report *r, const char *path, const fy_weights *w, bool all, ferry_error *e);      /* ferry info */

/* ---- other weights --------------------------------------------------------------------------------------------------------- */

typedef struct fy_swap_fault { const char *name, *why; } fy_swap_fault;
typedef FY_VEC(fy_swap_fault) fy_swap_faults;
typedef struct fy_swap {
    fy_arena       arena;
    fy_weight_file file;
    const char    *path, *source;        /* of the new weights; of the model */
    bool           partial, cast, open, again;               /* again: the same swap on the model for comparison, nothing is noted */
    const char    *prefix;               /* taken off the names of the file: "module."; or NULL */
    fy_map         by_name, taken;       /* name without prefix -> weight; those that found a place */
    int64_t        swapped, changed, cast_n, targets;
    fy_swap_faults missing, unexpected, wrong, folded;
} fy_swap;
#define FY_SWAP_KEYS "weights", "section", "partial", "cast"
/* Reads the options; nothing is open unless weights=FILE is there. */
FY_CHECKED fy_status fy_swap_open(fy_swap *s, const char *model, const ferry_job *job, ferry_error *e);
void fy_swap_close(fy_swap *s);
/* Puts the new weights in place. GATE if something does not match, with all of it noted (with partial: unless it would be wrong). */
FY_CHECKED fy_status fy_swap_program(fy_swap *s, fy_program *p, ferry_error *e);
FY_CHECKED fy_status fy_swap_model(fy_swap *s, fy_model *m, ferry_error *e);
bool fy_swap_fits(const fy_swap *s);     /* nothing stands in the way */
void fy_swap_print(fy_buf *t, const fy_swap *s);
void fy_swap_json(fy_jsonw *w, const fy_swap *s);            /* the member "weights" */
/* The report of a swap that was refused. */
FY_CHECKED fy_status fy_swap_refusal(ferry_report **out, const fy_swap *s, const char *target, ferry_error *e);
/* ferry export of a .onnx: the same model with other weights. */
int fy_swap_onnx(const char *onnx, const char *to, const ferry_job *job, ferry_report **r, ferry_error *e);

#endif
