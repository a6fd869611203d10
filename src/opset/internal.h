/* SPDX-License-Identifier: Apache-2.0
 * internal.h - what an adapter sees: one node, a builder that emits before it, and whether anything may be changed. */
#ifndef FY_OPSET_INTERNAL_H
#define FY_OPSET_INTERNAL_H

#include "opset/opset.h"

#define FY_OPSET_MIN_READ 1
#define FY_OPSET_MIN_WRITE 13

/* An adapter changes the form of one node between version v-1 and v of its operator.
 *   Raising: the node is in form v-1, afterwards in form v, or it is replaced by nodes in canonical form.
 *   Lowering: the node is in form v, afterwards in form v-1, or it is replaced by nodes in canonical form, which are lowered
 *   in their turn. With `dry` set nothing may be changed: the adapter checks, then returns at FY_OPSET_CHECKED. */
typedef struct fy_step_ctx {
    fy_model    *m;
    fy_node     *n;
    fy_build     b;                      /* emits before the node */
    ferry_error *e;
    int64_t      target;                 /* opset that the model is brought to */
    bool         dry;
    bool         replaced;               /* the node is gone, or in dry mode would be */
} fy_step_ctx;

typedef fy_status (*fy_step_fn)(fy_step_ctx *x);

/* Refuses with the node's description. */
FY_CHECKED fy_status fy_step_refuse(fy_step_ctx *x, const char *fmt, ...) FY_PRINTF(2, 3);
#define FY_STEP_NEED(x, cond, ...) do { if (!(cond)) return fy_step_refuse(x, __VA_ARGS__); } while (0)
#define FY_OPSET_CHECKED(x) do { if ((x)->dry) return FY_OK; } while (0)
/* The same for adapters that replace the node. */
#define FY_OPSET_REPLACES(x) do { if ((x)->dry) { (x)->replaced = true; return FY_OK; } } while (0)

/* Output i of the node is `v` from here on. */
FY_CHECKED fy_status fy_step_put(fy_step_ctx *x, int i, fy_value *v);
/* Removes the node; its outputs have been put. */
FY_CHECKED fy_status fy_step_done(fy_step_ctx *x);
/* fy_step_put(0) and fy_step_done. */
FY_CHECKED fy_status fy_step_replace(fy_step_ctx *x, fy_value *v);

/* Facts about the node, whatever its form. */
int64_t       fy_step_int(const fy_step_ctx *x, const char *attr, int64_t def);
double        fy_step_float(const fy_step_ctx *x, const char *attr, double def);
bool          fy_step_text(const fy_step_ctx *x, const char *attr, const char *is, const char *def);
bool          fy_step_has(const fy_step_ctx *x, int in);
int           fy_step_rank(const fy_step_ctx *x, int in);                /* -1 unknown */
fy_dtype      fy_step_dtype(const fy_step_ctx *x, int in);
const fy_dim *fy_step_dim(const fy_step_ctx *x, int in, int64_t axis);       /* NULL unknown */
/* The contents of a constant integer input; false if not constant or more than max. */
bool          fy_step_ints(const fy_step_ctx *x, int in, int64_t *v, int64_t max, int64_t *n);
FY_CHECKED fy_status fy_step_set_attr(fy_step_ctx *x, fy_attr a);
/* Sets input i, extending the node with left-out inputs where needed; NULL at the end shortens it. */
FY_CHECKED fy_status fy_step_set_in(fy_step_ctx *x, int i, fy_value *v);
FY_CHECKED fy_status fy_step_rename(fy_step_ctx *x, const char *op);

/* Formulas: nodes of one, two and three operands before the node. */
static inline fy_value *fy_x1(fy_step_ctx *x, const char *op, fy_value *p) { return fy_emit(&x->b, op, FY_V(p), FY_NOATTR); }
static inline fy_value *fy_x2(fy_step_ctx *x, const char *op, fy_value *p, fy_value *q) { return fy_emit(&x->b, op, FY_V(p, q), FY_NOATTR); }
static inline fy_value *fy_x3(fy_step_ctx *x, const char *op, fy_value *p, fy_value *q, fy_value *r) { return fy_emit(&x->b, op, FY_V(p, q, r), FY_NOATTR); }
/* An axis as given is one of `rank`, or, where that is -1, of any; else AXIS. */
FY_CHECKED fy_status fy_step_axis(fy_step_ctx *x, int64_t axis, int rank);
/* Element of a list of sizes; [begin, end) of one axis; the size of an axis as a 0-d value, a constant where it is known; 0 .. n-1. */
fy_value *fy_step_slice(fy_build *b, fy_value *v, int axis, int64_t begin, int64_t end);
fy_value *fy_step_size(fy_build *b, fy_value *v, int64_t axis);
fy_value *fy_step_iota(fy_build *b, fy_value *n);
/* The known size of an axis of a value, or -1. */
int64_t   fy_step_known(const fy_value *v, int64_t axis);
/* A builder for a body of a node to come; If with two bodies that make one value each. */
FY_CHECKED fy_status fy_step_body(fy_step_ctx *x, fy_build *body);
fy_value *fy_step_if(fy_step_ctx *x, fy_value *cond, fy_build *yes, fy_value *y, fy_build *no, fy_value *n);
static inline fy_attr fy_body_attr(const char *name, fy_graph *g) { return (fy_attr){.name = name, .kind = FY_ATTR_GRAPH, .n = 1, .graph = g}; }

/* GridSample written out (lower_grid.c). */
FY_CHECKED fy_status fy_step_grid_sample(fy_step_ctx *x);
/* A reduction whose axes are no constant, written out (lower_body.c). */
FY_CHECKED fy_status fy_step_reduce_computed(fy_step_ctx *x);


/* May the node's values have the types they have in the form of `opset`? On false *why says what not. Casts that make it so
 * are inserted by fy_types_fit. */
bool fy_types_ok(const fy_node *n, int64_t opset, char *why, size_t nwhy);
FY_CHECKED fy_status fy_types_fit(fy_step_ctx *x);
/* Does Cast take the type there? */
bool fy_types_cast(fy_dtype t, int64_t opset);
/* The version of the operator in force at an opset: 0 if it is not in the table at all, -1 if it does not exist yet. */
int  fy_types_version(const char *op, int64_t opset);

/* functions.c. Puts a copy of the body in the place of the call x->n, which goes; the copy is in the form of the function's own opsets. */
FY_CHECKED fy_status fy_function_inline(fy_step_ctx *x, const fy_function *f);

/* gradient.c. Writes out every Gradient node of a model in canonical form. */
FY_CHECKED fy_status fy_gradients(fy_model *m, ferry_error *e);

/* The lowest version of ai.onnx.ml that has all forms of the (canonical) model; the IR version released with one. */
int64_t fy_ml_needed(const fy_model *m);
int64_t fy_ml_ir_version(int64_t ml);

#define RAISE(name) fy_status fy_raise_##name(fy_step_ctx *x);
#define LOWER(name) fy_status fy_lower_##name(fy_step_ctx *x);
#include "opset/adapters.def"
#undef RAISE
#undef LOWER

#endif
