/* SPDX-License-Identifier: Apache-2.0
 * ops.c - the table of built-in operators, made from ops.def. A line there without its operator is a link error. */
#include "ops/ops.h"

#define OP(name) extern const fy_op fy_op_##name;
#include "ops/ops.def"
#undef OP

static const fy_op *const table[] = {
#define OP(name) &fy_op_##name,
#include "ops/ops.def"
#undef OP
    NULL
};

const fy_registry *fy_registry_builtin(void) {
    static const fy_registry builtin = {NULL, table, FY_COUNT(table) - 1};
    return &builtin;
}
