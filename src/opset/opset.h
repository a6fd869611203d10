/* SPDX-License-Identifier: Apache-2.0
 * opset.h - between opset versions: raise a model as read to the canonical opset, lower the canonical graph to the one
 * asked for. One adapter for each operator and version step; no operator and no engine knows old forms. */
#ifndef FY_OPSET_H
#define FY_OPSET_H

#include "ops/ops.h"

/* What raising and lowering did to the nodes that a model had, by operator: those that got another form, that were written out
 * in other operators, around which types were cast. Names live as long as the model. */
typedef struct fy_opset_count { const char *op; int64_t adapted, replaced, cast; } fy_opset_count;
typedef FY_VEC(fy_opset_count) fy_opset_log;

/* m->opset (as read, 7 and up) -> FY_CANONICAL_OPSET; ai.onnx.ml, where imported, to its newest version. OPSET names operator and version if there is no adapter. */
FY_CHECKED fy_status fy_opset_raise(fy_model *m, ferry_error *e);
/* Canonical -> `opset` (13 to FY_CANONICAL_OPSET): rewrites nodes, decomposes newer operators, sets m->opset, imports and
 * ir_version. OPSET with operator, node and the lowest opset that can, if something cannot be expressed. */
FY_CHECKED fy_status fy_opset_lower(fy_model *m, int64_t opset, ferry_error *e);
/* The lowest opset to which the model can be lowered, without changing it; -1 if none. */
int64_t fy_opset_lowest(const fy_model *m);
/* The same, counting into `log`, whose `at` the caller frees, also on failure. */
FY_CHECKED fy_status fy_opset_raise_logged(fy_model *m, fy_opset_log *log, ferry_error *e);
FY_CHECKED fy_status fy_opset_lower_logged(fy_model *m, int64_t opset, fy_opset_log *log, ferry_error *e);
int64_t fy_ir_version(int64_t opset);                        /* the IR version released with it */

#endif
