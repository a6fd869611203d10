/* SPDX-License-Identifier: Apache-2.0
 * passes.h - graph -> graph. Each pass has a name, an off switch, a text dump and the verifier after it. */
#ifndef FY_PASSES_H
#define FY_PASSES_H

#include "ops/ops.h"

/* What a pass reads and makes. */
typedef enum fy_pass_level {
    FY_PASS_ANY,                         /* operators in the form of any opset */
    FY_PASS_BASIC,                       /* those in the form of opset 13 and up; makes nothing newer */
    FY_PASS_EXTENDED                     /* recognises operators made of others: the graph must be canonical, and the opset to be written new enough */
} fy_pass_level;

/* How operators on f16 and bf16 are computed in f32: with each result rounded, or a whole region of them in f32. widen.c */
typedef enum fy_halves { FY_HALVES_KEPT, FY_HALVES_NODES, FY_HALVES_REGIONS } fy_halves;

typedef struct fy_pass_options {
    bool        fold, fold_bn;
    bool        reweigh;                 /* weights of products may be joined and scaled: what bears a parameter's name is no longer that parameter */
    bool        rare;                    /* operators that runtimes know by their function body alone may be recognised: Swish */
    bool        bytes;                   /* operators on quantised numbers become QuantizeLinear and DequantizeLinear around those on floats: for an engine that computes over bytes from there */
    fy_halves   halves;
    bool        views;                   /* nothing is written: another view of a weight (transposed) costs no bytes, whoever else reads it */
    int64_t     fold_bytes;              /* largest constant that folding may create from smaller ones; 0: 1 MiB */
    const char *stop_after;              /* pass name, or NULL */
    const char *skip;                    /* comma-separated pass names, or NULL */
    const char *dump;                    /* folder for NN-NAME.onnxtxt after each pass, or NULL */
    fy_pool    *pool;
    const fy_hooks *hooks;               /* for folding; NULL: operators that need one stay as they are */
    int64_t     opset;                   /* that will be written; 0: the canonical one */
    bool        lowered;                 /* the graph is in the form of `opset` already: extended passes rest, and below 13 basic ones */
    fy_pass_level level;                 /* nothing beyond it; FY_PASS_ANY: all */
    int64_t    *done;                    /* changes by pass are added here, one counter for each of fy_passes(); or NULL */
    int64_t    *grown;                   /* bytes that folding has added so far, all rounds together: set by fy_passes_run */
} fy_pass_options;

typedef struct fy_pass {
    const char   *name, *doc;
    fy_pass_level level;
    fy_status   (*run)(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e);
} fy_pass;
const fy_pass *fy_passes(int *n);                            /* passes.def, in order */
const fy_pass *fy_pass_find(const char *name);

/* All passes in rounds, repeated until nothing changes. What a model looks like then is changed no more by another run. */
FY_CHECKED fy_status fy_passes_run(fy_model *m, const fy_pass_options *o, ferry_error *e);

#endif
