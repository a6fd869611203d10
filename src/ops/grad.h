/* SPDX-License-Identifier: Apache-2.0
 * grad.h - gradients of operators: each rule emits the nodes that bring dL/dy back to dL/dx. */
#ifndef FY_OPS_GRAD_H
#define FY_OPS_GRAD_H

#include "ir/build.h"

typedef struct fy_grad {
    fy_build       *b;                   /* emits here; failure is sticky in it */
    const fy_node  *n;                   /* forward node, canonical and inferred; its values may be read */
    fy_value *const *dy;                 /* for each output, as it; NULL: the result does not depend on it */
    fy_value      **dx;                  /* for each input: the rule's result, NULL where there is none (integers, shapes, indices) */
    const bool     *want;                /* which inputs matter */
} fy_grad;

/* UNSUPPORTED, naming the operator, if there is no rule for it. */
FY_CHECKED fy_status fy_grad_node(fy_grad *g);

/* ---- for rules ----------------------------------------------------------------------------------------------------- */

typedef struct fy_grad_rule { const char *op; void (*rule)(fy_grad *g); } fy_grad_rule;
extern const fy_grad_rule fy_grad_math[], fy_grad_nn[], fy_grad_move[];          /* grad.c, grad_nn.c, grad_move.c; end with NULL */

fy_value *fy_g1(fy_grad *g, const char *op, fy_value *x);
fy_value *fy_g2(fy_grad *g, const char *op, fy_value *x, fy_value *y);
fy_value *fy_gk(fy_grad *g, const fy_value *like, double v);                     /* a scalar of like's dtype */
fy_value *fy_gmulk(fy_grad *g, fy_value *x, double k);
fy_value *fy_gshape(fy_grad *g, fy_value *x);
/* v summed over the axes that broadcasting gave it, in the shape of x. */
fy_value *fy_gsum_to(fy_grad *g, fy_value *v, fy_value *x);
fy_value *fy_gsum(fy_grad *g, fy_value *v, int naxes, const int64_t *axes, bool keep);
static inline fy_value *fy_gx(const fy_grad *g, int i) { return fy_in(g->n, i); }
static inline fy_value *fy_gy(const fy_grad *g) { return fy_outv(g->n, 0); }
static inline fy_value *fy_gdy(const fy_grad *g) { return g->dy[0]; }

#endif
