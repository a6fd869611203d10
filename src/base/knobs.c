/* SPDX-License-Identifier: Apache-2.0
 * knobs.c - settings from the environment. */
#include "base/knobs.h"

#include <stdlib.h>
#include <string.h>

static const fy_knob table[] = {
#define KNOB(name, fallback, text) {#name, fallback, text},
#include "base/knobs.def"
#undef KNOB
};

const fy_knob *fy_knobs(int *n) {
    *n = FY_COUNT(table);
    return table;
}

static const fy_knob *find(const char *name) {
    for (int i = 0; i < FY_COUNT(table); i++)
        if (!strcmp(table[i].name, name)) return &table[i];
    FY_ASSERT(name == NULL);               /* a knob that is not in knobs.def */
    return NULL;
}

const char *fy_knob_str(const char *name) {
    const fy_knob *k = find(name);
    const char *v = k ? getenv(name) : NULL;
    return v ? v : k ? k->fallback : "";
}

int64_t fy_knob_int(const char *name) {
    const fy_knob *k = find(name);
    const char *v = fy_knob_str(name);
    char *end;
    long long n = strtoll(v, &end, 10);
    return *v && !*end ? n : k ? strtoll(k->fallback, NULL, 10) : 0;
}
