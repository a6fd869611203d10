/* SPDX-License-Identifier: Apache-2.0
 * infer.c - types over a whole graph: node by node in order; control operators infer their bodies through fy_infer_graph. */
#include "ops/ops.h"

fy_status fy_infer_graph(fy_graph *g, ferry_error *e) {
    int depth = 0;
    for (const fy_graph *p = g; p; p = p->parent) depth++;
    FY_NEED(e, depth <= FY_MAX_NESTING, LIMIT, "graphs nest deeper than %d", FY_MAX_NESTING);
    for (fy_node *n = g->first; n; n = n->next) {
        fy_status s = fy_infer_node(n, e);
        if (s != FY_OK) {
            char where[180];
            fy_node_describe(where, sizeof where, n);
            return fy_frame(e, s, "%s", where);
        }
    }
    return FY_OK;
}

fy_status fy_infer_model(fy_model *m, ferry_error *e) { return fy_infer_graph(m->graph, e); }
