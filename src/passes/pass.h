/* SPDX-License-Identifier: Apache-2.0
 * pass.h - what the passes share. */
#ifndef FY_PASS_H
#define FY_PASS_H

#include "passes/passes.h"

#define PASS(name, fn, level, doc) fy_status fn(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e);
#include "passes/passes.def"
#undef PASS

typedef FY_VEC(fy_graph *) fy_graph_list;

/* The main graph and every subgraph, outer before inner. The caller frees list->at. */
FY_CHECKED fy_status fy_all_graphs(fy_graph_list *list, const fy_model *m, ferry_error *e);

/* Replaces every use of `v`, output of a node that then may be removed, by `by`. A graph output keeps its name: false, with
 * nothing changed, where that is not possible (`by` is an input, a constant, of another graph or an output already). */
bool fy_replace_output(fy_value *v, fy_value *by);

#endif
