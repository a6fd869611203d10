/* SPDX-License-Identifier: Apache-2.0
 * dead.c - removes what nothing uses. Bodies come before the nodes that own them and nodes are visited last to first, so a chain of
 * dead nodes goes in one sweep, also where it ends in a body. */
#include "passes/pass.h"

/* Has it no effect beyond its outputs? Chance has none; If, Loop and Scan have what their bodies have. */
static bool harmless(const fy_node *n) {
    if (!(n->op->flags & FY_CONTROL)) return n->op->flags & (FY_PURE | FY_RANDOM);
    for (const fy_graph *g = fy_node_body(n, 0); g; g = fy_graph_next(n, g))
        for (const fy_node *k = g->first; k; k = k->next)
            if (!(k->op->flags & (FY_PURE | FY_RANDOM | FY_CONTROL))) return false;
    return true;
}

static bool unused(const fy_node *n) {
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && n->out[i]->nuses) return false;
    return harmless(n);
}

fy_status fy_pass_dead(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) {
    (void)o;
    fy_graph_list all = {0};
    fy_status s = fy_all_graphs(&all, m, e);
    for (int64_t i = all.n - 1; !s && i >= 0; i--)
        for (fy_node *n = all.at[i]->last, *prev; n; n = prev) {
            prev = n->prev;
            if (unused(n)) {
                fy_node_remove(n);
                ++*changes;
            } else if (n->ncap && !fy_node_collect_captures(n)) {           /* what its bodies still read */
                s = fy_nomem(e);
                break;
            }
        }
    for (int64_t i = 0; !s && i < all.n; i++) {
        fy_graph *g = all.at[i];
        int64_t kept = 0;
        for (int64_t k = 0; k < g->constants.n; k++) {
            fy_value *c = g->constants.at[k];
            if (c->nuses || c->is_output || c->is_input) g->constants.at[kept++] = c;
        }
        *changes += g->constants.n - kept;
        g->constants.n = kept;
    }
    fy_free(all.at);
    return s;
}
