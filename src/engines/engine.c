/* SPDX-License-Identifier: Apache-2.0
 * engine.c - the list of engines, and what those that run by our kernels ask of a model. */
#include "engines/engine.h"

#include <string.h>

#define ENGINE(symbol) extern const fy_engine symbol;
#include "engines/engines.def"
#undef ENGINE

static const fy_engine *const table[] = {
#define ENGINE(symbol) &symbol,
#include "engines/engines.def"
#undef ENGINE
};

const fy_engine *const *fy_engines(int *n) {
    *n = FY_COUNT(table);
    return table;
}

const fy_engine *fy_engine_judge(void) { return fy_engine_find("reference"); }

const fy_engine *fy_engine_find(const char *name) {
    if (!name || !*name) return table[0];
    for (int i = 0; i < FY_COUNT(table); i++)
        if (!strcmp(table[i]->name, name)) return table[i];
    return NULL;
}

fy_status fy_engine_kernels(const fy_model *m, ferry_error *e) {
    for (const fy_node *n = m->graph->first; n; n = n->next) {
        if (n->op->ref) continue;
        char who[200];
        fy_node_describe(who, sizeof who, n);
        return fy_fail(e, FY_E_OP, "%s: no kernel for operator %s%s%s", who, n->op->domain, *n->op->domain ? "." : "", n->op->name);
    }
    return FY_OK;
}
