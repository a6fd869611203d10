/* SPDX-License-Identifier: Apache-2.0
 * passes.h - graph -> graph. Each pass has a name, an off switch, a text dump and the verifier after it. */
#ifndef FY_PASSES_H
#define FY_PASSES_H

#include "ops/ops.h"

typedef struct fy_pass_options {
    bool        fold, fold_bn;
    int64_t     fold_bytes;              /* largest constant that folding may create from smaller ones; 0: 1 MiB */
    const char *stop_after;              /* pass name, or NULL */
    const char *skip;                    /* comma-separated pass names, or NULL */
    const char *dump;                    /* folder for NN-NAME.onnxtxt after each pass, or NULL */
    fy_pool    *pool;
    const fy_hooks *hooks;               /* for folding; NULL: operators that need one stay as they are */
} fy_pass_options;

typedef struct fy_pass { const char *name, *doc; fy_status (*run)(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e); } fy_pass;
const fy_pass *fy_passes(int *n);                            /* passes.def, in order */
const fy_pass *fy_pass_find(const char *name);

/* The clean-up that export does: dead code, constant folding, shape arithmetic, batch-norm folding, identities, common
 * subexpressions; repeated until nothing changes (at most 8 rounds). */
FY_CHECKED fy_status fy_passes_run(fy_model *m, const fy_pass_options *o, ferry_error *e);

#endif
