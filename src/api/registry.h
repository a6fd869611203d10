/* SPDX-License-Identifier: Apache-2.0
 * registry.h - operators of callers and of shared objects, between registry.c (lists, loading) and plugin.c (callbacks). */
#ifndef FY_API_REGISTRY_H
#define FY_API_REGISTRY_H

#include "api/api.h"
#include "ferry/plugin.h"

#include <stdatomic.h>

struct ferry_registry {
    fy_registry     reg;                 /* `op` grows while nobody uses it */
    FY_VEC(const fy_op *) ops;
    FY_VEC(void *)  libs;
    ferry_registry *base;                /* asked after this one; held */
    _Atomic int     refs;
    _Atomic bool    used;                /* by a model: no more changes */
    const char     *loading;             /* path of the plugin that adds just now, or NULL */
    fy_arena        arena;
    fy_mappings    *maps;                /* of custom operators of PyTorch, or NULL */
};

/* An operator as the graph sees it, and behind it the caller's. */
typedef struct fy_plugged { fy_op op; ferry_op own; const char *from; } fy_plugged;      /* from: path, or NULL: added by the program */

const ferry_plugin_api *fy_plugin_api(void);
/* Mappings of custom operators, in load.c: libferry-run exports nothing and passes them over. *text: the file is one of mappings. */
FY_CHECKED fy_status fy_maps_add(fy_mappings **m, const char *where, const char *text, size_t n, const fy_registry *r, ferry_error *e);
FY_CHECKED fy_status fy_maps_file(fy_mappings **m, const char *path, bool *text, const fy_registry *r, ferry_error *e);
void fy_maps_free(fy_mappings *m);
/* What fy_op.infer and fy_op.ref of every fy_plugged are. */
FY_CHECKED fy_status fy_plugin_infer(fy_infer *f);
FY_CHECKED fy_status fy_plugin_run(const fy_call *c);

#endif
