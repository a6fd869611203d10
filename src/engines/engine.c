/* SPDX-License-Identifier: Apache-2.0
 * engine.c - the list of engines. */
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
