/* SPDX-License-Identifier: Apache-2.0
 * impl.h - what an implementation of an operator is: whether it can do a node (or the reason why not), the layouts that it takes and gives,
 * which following nodes it can take into itself, how it packs constants, and how it runs. An engine hands its ordered table to the planner;
 * the first that can is taken, the reference kernel last. */
#ifndef FY_IMPL_H
#define FY_IMPL_H

#include "base/threads.h"
#include "kernels/kernels.h"
#include "ops/ops.h"

/* C16: x[n, c, spatial...] held as [n, ceil(c / 16), spatial..., 16], lanes beyond c zero. A property of buffers, never of graph shapes. */
typedef enum fy_layout { FY_PLAIN, FY_C16 } fy_layout;

typedef struct fy_plan fy_plan;
typedef struct fy_step fy_step;
typedef struct fy_exec fy_exec;
typedef struct fy_impl fy_impl;

/* What an implementation sees while the plan is made. Types hold symbolic sizes; constants are those of values. */
typedef struct fy_site {
    const fy_node    *node;
    const fy_kernels *k;
    bool              exact;             /* no algorithm whose rounding differs from the direct one (Winograd) */
    bool              lean;              /* little memory is asked for: no weights that grow when they are packed */
    bool              bf16;              /* products with constants may round their operands to bfloat16 */
    bool              sized;             /* the sizes of inputs and outputs follow from those of the model's inputs: other layouts are possible */
    const fy_layout  *layout;            /* of each input, as it comes; where the step covers nodes, of cover->in */
    const struct fy_cover *cover;        /* or NULL */
} fy_site;

/* Nodes before `node` that a step computes as well: those that only it reads, through any number of values. In the graph's order. */
#define FY_COVER 24
typedef struct fy_cover { const fy_node *node[FY_COVER]; const fy_value *in[FY_COVER]; int n, nin; void *data; bool sized, exact; } fy_cover;     /* sized, exact: as the site of the node has them; set before cover() is asked */

struct fy_impl {
    const char *op, *name;               /* "Conv", "conv.direct"; op NULL: any operator of the domain "" */
    const char *domain;                  /* NULL: "" */
    /* NULL: can. Else the reason why not, static text, for `ferry explain`. */
    const char *(*can)(const fy_site *s);
    /* Layouts wanted for the inputs (in[i], as many as the node has; preset to FY_PLAIN) and given for output 0. NULL: all plain. */
    void (*layouts)(const fy_site *s, fy_layout *in, fy_layout *out);
    /* Does the step of `n` compute nodes before it as well? They go into c, in any order, with the values that the step reads then and the
     * step's data. Asked for every node before there are steps; where it says yes, can() is not asked, and layouts() is
     * about the step's inputs; a step with layouts() is dropped where the sizes of a node in it are not known beforehand. NULL: never. */
    bool (*cover)(const fy_node *n, fy_cover *c, fy_arena *a);
    /* Takes `next`, the only user of the step's output, into the step; false if not. *other: the value that next reads besides, as
     * one more input of the step, or NULL. NULL: never. */
    bool (*fuse)(fy_step *s, const fy_node *next, const fy_value **other);
    /* Once: packs constants into s->data (arena a), sizes scratch. NULL: nothing to do. */
    fy_status (*prepare)(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e);
    fy_status (*run)(const fy_step *s, fy_exec *x, ferry_error *e);
    uint32_t flags;
};
enum {
    FY_IMPL_ALIAS = 1,                   /* output 0 is input 0 seen with other sizes, or a part of it (fy_step.part): shares its buffer, run does nothing */
    FY_IMPL_INPLACE = 2,                 /* output 0 may take the buffer of any input that ends here and has as many elements of the same size */
    FY_IMPL_BYTES = 4,                   /* input 0 is only copied from, as bytes: a constant may lie anywhere in its file, aligned or not */
    FY_IMPL_ALIKE = 8,                   /* all outputs have the layout that layouts() gives for the first */
    FY_IMPL_JOINS = 16,                  /* output 0 is the inputs one after the other along the attribute axis; run() leaves alone what lies there already */
    FY_IMPL_CUTS = 32                    /* the outputs are input 0, one after the other along the attribute axis; run() leaves alone what lies there already */
};

#define FY_STEP_FUSED 6

struct fy_step {
    const fy_impl *impl;
    const fy_node *node;
    const fy_node *fused[FY_STEP_FUSED];             /* nodes taken in, in order */
    int            nfused;
    const fy_cover *cover;               /* nodes before `node` that are taken in, or NULL */
    int            nin, nout;            /* inputs of the node, then those of fused nodes */
    const fy_value **in, **out;          /* NULL: left out. out[0] is the output of the last fused node */
    fy_layout     *in_layout, out_layout;
    fy_epilogue    epilogue;             /* what fuse() collected; pointers are set by run */
    int            bias_in, add_in;      /* inputs that hold the epilogue's operands; -1: none */
    void          *data;                 /* prepare()'s */
    int64_t        part;                 /* ALIAS: output 0 begins this many times its size into input 0; below 0: from the end */
    int            index;
    bool           sized;                /* as the site had it */
    struct fy_body **body;               /* of the node, in the order of its graphs */
    int            nbodies;
};

/* While a plan runs: the tensors of a step's values. */
struct fy_exec {
    const fy_plan    *plan;
    const struct fy_spec *spec;          /* sizes of all values, those inside a step as well */
    const fy_kernels *k;
    fy_pool          *pool;
    fy_rval          *value;             /* by value id */
    void             *scratch;           /* s->scratch bytes, 64-byte aligned, for the step at hand */
    size_t            scratch_bytes;
    fy_run_dims         *sizes;             /* for inference on what the run has */
    int64_t           max_bytes;
    const fy_hooks   *hooks;
    bool            (*stop)(void *ctx);  /* NULL, or: is the result not wanted any more? */
    void             *stop_ctx;
};

static inline const fy_tensor *fy_step_in(const fy_step *s, const fy_exec *x, int i) { return i < s->nin && s->in[i] ? &x->value[s->in[i]->id].t : NULL; }
static inline fy_tensor *fy_step_out(const fy_step *s, const fy_exec *x, int i) { return i < s->nout && s->out[i] ? &x->value[s->out[i]->id].t : NULL; }
/* Sizes of any value of a step, those inside it as well; NULL: not there. */
const int64_t *fy_exec_dims(const fy_exec *x, const fy_value *v);
/* At least `bytes` of scratch for this step, 64-byte aligned, valid until the step ends; NULL: out of memory. */
void *fy_exec_scratch(fy_exec *x, size_t bytes);
/* Elements of a buffer of these sizes in a layout, with the lanes that pad channels. */
int64_t fy_layout_count(fy_layout l, int rank, const int64_t *dim);

#endif
