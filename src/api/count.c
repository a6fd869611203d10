/* SPDX-License-Identifier: Apache-2.0
 * count.c - how many nodes of each operator a model has, those of bodies included: for reports. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

static int by_count(const void *a, const void *b) {
    const fy_op_count *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : strcmp(x->name, y->name);
}

int64_t fy_count_operators(fy_op_count **ops, const fy_model *m) {
    fy_map seen = {0};
    FY_VEC(fy_op_count) list = {0};
    bool ok = true;
    for (const fy_graph *g = m->graph; g && ok; g = fy_graph_next(NULL, g))
        for (const fy_node *n = g->first; n && ok; n = n->next) {
            uintptr_t at = (uintptr_t)fy_map_gets(&seen, n->op->name);   /* place in the list, from 1 */
            if (!at) {
                ok = FY_RESERVE(list, list.n + 1) && fy_map_puts(&seen, n->op->name, (void *)(uintptr_t)(list.n + 1));
                if (!ok) break;
                list.at[list.n++] = (fy_op_count){n->op->name, 0};
                at = (uintptr_t)list.n;
            }
            list.at[at - 1].n++;
        }
    fy_map_free(&seen);
    if (list.n) qsort(list.at, (size_t)list.n, sizeof *list.at, by_count);
    *ops = list.at;
    return list.n;
}
