/* SPDX-License-Identifier: Apache-2.0
 * identity.c - asks every operator whether its result is a value that already exists (fy_op.simplify). */
#include "passes/pass.h"

/* The only output in use is the first? */
static bool single(const fy_node *n) {
    for (int i = 1; i < n->nout; i++)
        if (n->out[i] && n->out[i]->nuses) return false;
    return n->nout > 0 && n->out[0];
}

fy_status fy_pass_identity(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) {
    (void)o;
    fy_graph_list all = {0};
    fy_status s = fy_all_graphs(&all, m, e);
    for (int64_t i = 0; !s && i < all.n; i++)
        for (fy_node *n = all.at[i]->first, *next; n; n = next) {
            next = n->next;
            if (!n->op->simplify || !single(n)) continue;
            fy_value *by = n->op->simplify(n);
            if (!by || by == n->out[0] || !fy_replace_output(n->out[0], by)) continue;
            fy_node_remove(n);
            ++*changes;
        }
    fy_free(all.at);
    return s;
}
