/* SPDX-License-Identifier: Apache-2.0
 * ops.h - the built-in operators, inference over whole graphs, and the reference interpreter. */
#ifndef FY_OPS_H
#define FY_OPS_H

#include "ir/build.h"
#include "ir/op.h"

const fy_registry *fy_registry_builtin(void);

/* Types and small integer contents of every value of the model, symbolic dims carried through, subgraphs included. */
FY_CHECKED fy_status fy_infer_model(fy_model *m, ferry_error *e);
/* The same for one graph whose inputs have their types: what If, Loop and Scan call for their bodies. LIMIT if bodies nest
 * deeper than FY_MAX_NESTING. */
FY_CHECKED fy_status fy_infer_graph(fy_graph *g, ferry_error *e);
/* From node *n (NULL: nothing) to the end; after a failure *n is the node that failed. */
FY_CHECKED fy_status fy_infer_from(fy_graph *g, fy_node **n, ferry_error *e);
#define FY_MAX_NESTING 32

/* Inference of one node on the sizes and contents of a run: facts about its outputs, in `a`. Contents are not known where a tensor that has
 * elements has no data. Whoever runs a kernel that relies on inference calls this before. The pool of sizes is kept between calls; {0} at first. */
typedef struct fy_run_dims { fy_dims *dims; int64_t used; } fy_run_dims;
FY_CHECKED fy_status fy_infer_real(fy_fact **out, fy_run_dims *z, const fy_node *n, int nin, fy_rval *const *in, int nout, fy_arena *a, ferry_error *e);
void fy_run_dims_free(fy_run_dims *z);
/* Adds to an error which node it was and what went in: "node ...", "inputs f32[1,3,224,224], i64[4]". Gives s. */
fy_status fy_frame_inputs(ferry_error *e, fy_status s, const fy_node *n, int nin, fy_rval *const *in);

/* Runs a graph with reference kernels only, freeing each value after its last use. in: one for each graph input (borrowed);
 * out: one for each output (owned by the caller). `seen` (may be NULL) is shown every value as it is made, inputs of bodies
 * included. */
typedef struct fy_interp {
    fy_pool *pool;
    int64_t  max_bytes;                  /* budget for one tensor; 0: 2^36 */
    int64_t  max_steps;                  /* nodes and bodies run, those in loops each time; LIMIT beyond; 0: any number */
    bool   (*stop)(void *ctx);           /* may be NULL; asked before each step and each piece of parallel work, by any thread: true ends the
                                            run with STOPPED */
    void   (*seen)(void *ctx, const fy_value *v, const fy_rval *val);
    void    *ctx;
    fy_rval *state;                      /* one for each declared state, kept by the caller between runs; NULL: initial each time */
    const fy_hooks *hooks;               /* what operators need beyond libc; NULL: those operators fail with UNSUPPORTED */
} fy_interp;
FY_CHECKED fy_status fy_interp_run(const fy_interp *it, const fy_graph *g, fy_rval *const *in, fy_rval *out, ferry_error *e);
/* Makes of a value one that points into nothing else: dense memory of its own, strings with their bytes. */
FY_CHECKED fy_status fy_rval_own(fy_rval *v, ferry_error *e);
/* One node on given values, as the interpreter does it: for folding and for tests. */
FY_CHECKED fy_status fy_interp_node(const fy_interp *it, const fy_node *n, fy_rval *const *in, fy_rval *out, ferry_error *e);

/* What Resize does along each axis, as matrices [out, in] in scratch; NULL where nothing. Of input 0 only the sizes are looked at. */
FY_CHECKED fy_status fy_resize_matrices(const fy_call *c, const int64_t *out, double **m);

/* How GridSample looks at an axis. The elements of one of size d that are summed at normalised coordinate v, up to 4: where (-1: a zero) and with which weights. */
typedef struct fy_grid { int mode, pad; bool align; } fy_grid;
bool fy_grid_of(fy_grid *g, const fy_node *n);                           /* false: no such mode or padding */
int fy_grid_taps(const fy_grid *g, int64_t *at, double *w, double v, int64_t d);

#endif
