/* SPDX-License-Identifier: Apache-2.0
 * diff.h - what is different between two models: interface, nodes, weights. Both are canonical and inferred. */
#ifndef FY_DIFF_H
#define FY_DIFF_H

#include "base/report.h"
#include "base/threads.h"
#include "formats/json.h"
#include "ir/op.h"

typedef struct fy_diff_side { const char *path, *format; int64_t opset; const fy_model *m; } fy_diff_side;
typedef struct fy_diff_options { bool weights, metadata; double tolerance; int threads; } fy_diff_options;

/* Which node of the second model each node of the first is: mate[id] or NULL. By structure from the inputs (operator, attributes, producers), then by
 * structure from the outputs, then outwards from what is matched, then by names; so that other names alone change nothing. */
typedef struct fy_match { const fy_node **mate, **back; const fy_value **value; } fy_match;      /* by id: of a in b, of b in a; values of a in b */
FY_CHECKED fy_status fy_match_models(fy_match *m, fy_arena *arena, const fy_model *a, const fy_model *b, ferry_error *e);

/* The report; its verdict is FERRY_NO if they differ. */
FY_CHECKED fy_status fy_diff_report(fy_report *r, const fy_diff_side *a, const fy_diff_side *b, const fy_diff_options *o, ferry_error *e);

#endif
