/* SPDX-License-Identifier: Apache-2.0
 * copy.h - copies of graphs: a function's body in the place of a call, a whole model for an engine that will change it. */
#ifndef FY_COPY_H
#define FY_COPY_H

#include "ir/op.h"

typedef struct fy_copy fy_copy;
struct fy_copy {
    fy_model    *m;                      /* that the copy becomes part of; constants and names are shared with the original, which outlives it */
    ferry_error *e;
    void        *ctx;
    const fy_attr *(*attr)(void *ctx, const fy_attr *a);     /* NULL: attributes as they are. What stands for `a`; its NULL leaves it out */
    const char    *(*name)(void *ctx, const char *name);     /* NULL: names of nodes and of values outside bodies as they are */
    void           (*node)(void *ctx, fy_node *copy);        /* NULL, or called for each copied node */
    uint32_t     low, high;              /* by fy_copy_begin: the ids of the original's values ... */
    fy_value   **at;                     /* ... and what stands for each */
    fy_arena     scratch;
};

/* Made for the values of `root` and its bodies. */
FY_CHECKED fy_status fy_copy_begin(fy_copy *c, const fy_graph *root);
void fy_copy_end(fy_copy *c);
void fy_copy_set(fy_copy *c, const fy_value *v, fy_value *as);           /* NULL: left out */
fy_value *fy_copy_of(const fy_copy *c, fy_value *v);                     /* values from outside stand for themselves */
/* Constants and nodes of `from` into `to`, before `before` (NULL: at the end). */
FY_CHECKED fy_status fy_copy_nodes(fy_copy *c, fy_graph *to, fy_node *before, const fy_graph *from);

/* A model of its own with the same main graph (no functions), sharing constants and texts with `m`, which must outlive it and may be
 * in use elsewhere: nothing of it is written. Types other than those of inputs are not carried: infer afterwards. */
FY_CHECKED fy_status fy_model_copy(fy_model **copy, const fy_model *m, ferry_error *e);
/* The same of a body. What it reads from around it, except constants, becomes further inputs: outer[i] of nouter in all, in the arena of the copy. */
FY_CHECKED fy_status fy_body_copy(fy_model **copy, const fy_graph *body, const fy_value *const **outer, int *nouter, ferry_error *e);

#endif
