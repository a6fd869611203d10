/* SPDX-License-Identifier: Apache-2.0
 * view.h - a model as one page to look at: the graph folded along its modules, search, attributes, shapes, statistics of weights. */
#ifndef FY_VIEW_H
#define FY_VIEW_H

#include "base/threads.h"
#include "ir/op.h"

typedef struct fy_view_options { const char *name, *about; bool weights; int threads; } fy_view_options;      /* weights: with their statistics */
/* `m` is canonical, inferred and named. */
FY_CHECKED fy_status fy_view_page(fy_buf *out, const fy_model *m, const fy_view_options *o, ferry_error *e);

/* Of the finite elements, in double: two passes in pieces, so that memory does not depend on the size. bins: of equal width from min to max. */
#define FY_BINS 32
typedef struct fy_weight_stats { double min, max, mean, std; int64_t n, zeros, nan, inf, bins[FY_BINS]; } fy_weight_stats;
FY_CHECKED fy_status fy_weight_statistics(fy_weight_stats *s, const fy_const *c, ferry_error *e);

/* The module that a node belongs to, outermost name first, joined by \001: from its scope, else from its name, else from its weights. Into b, which is emptied. */
void fy_module_path(fy_buf *b, const fy_node *n);

#endif
