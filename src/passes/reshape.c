/* SPDX-License-Identifier: Apache-2.0
 * reshape.c - Reshape(x, computed target) -> Reshape(x, constant) wherever the known contents of the target allow it: a fixed
 * size as it is, a size equal to the input's at the same place as 0, and at most one other size as -1. */
#include "passes/pass.h"

#include <string.h>

static bool target(const fy_node *n, int64_t *shape, int64_t *count) {
    const fy_value *x = fy_in(n, 0), *s = fy_in(n, 1);
    if (!x || !s || s->constant || !s->elem || s->nelem > FY_MAX_RANK || fy_attr_i(n, "allowzero")) return false;
    int unknown = 0;
    for (int64_t i = 0; i < s->nelem; i++) {
        bool same = x->type.rank > i && x->type.dim[i] == s->elem[i];
        if (fy_dim_known(s->elem[i], &shape[i])) {
            if (shape[i] == 0) return false;                 /* 0 would mean "as the input" */
            unknown += shape[i] < 0;                         /* a -1 that was there already */
        } else if (same) shape[i] = 0;
        else { shape[i] = -1; unknown++; }
    }
    *count = s->nelem;
    return unknown <= 1;
}

fy_status fy_pass_reshape(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) {
    (void)o;
    fy_graph_list all = {0};
    fy_status s = fy_all_graphs(&all, m, e);
    for (int64_t i = 0; !s && i < all.n; i++)
        for (fy_node *n = all.at[i]->first; !s && n; n = n->next) {
            int64_t shape[FY_MAX_RANK], count;
            if (*n->op->domain || strcmp(n->op->name, "Reshape") || !target(n, shape, &count)) continue;
            fy_build b = {.g = n->graph, .before = n, .e = e};
            fy_value *k = fy_k_ints(&b, count, shape);
            s = b.status;
            if (!s) {
                fy_node_set_input(n, 1, k);
                ++*changes;
            }
        }
    fy_free(all.at);
    return s;
}
