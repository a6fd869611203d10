/* SPDX-License-Identifier: Apache-2.0
 * type.c - value types: making, comparing, printing; how a node is named in messages. */
#include "ir/op.h"

#include <stdio.h>
#include <string.h>

bool fy_type_equal(const fy_type *a, const fy_type *b) {
    for (; a && b; a = a->elem, b = b->elem) {
        if (a == b) return true;
        if (a->kind != b->kind || a->dtype != b->dtype) return false;
        if (a->kind == FY_TENSOR || a->kind == FY_SPARSE) {
            if (a->rank != b->rank) return false;
            for (int i = 0; i < a->rank; i++)
                if (a->dim[i] != b->dim[i]) return false;
            return true;
        }
    }
    return a == b;
}

fy_type fy_tensor_type(fy_model *m, fy_dtype t, int rank, const fy_dim *const *dim) {
    fy_type ty = { .kind = FY_TENSOR, .dtype = t, .rank = rank };
    if (rank <= 0) return ty;
    for (int i = 0; i < rank; i++)
        if (!dim[i]) return (fy_type){ 0 };
    ty.dim = fy_arena_copy(&m->arena, dim, (size_t)rank, sizeof *dim);
    return ty.dim ? ty : (fy_type){ 0 };
}

fy_type fy_tensor_type_i64(fy_model *m, fy_dtype t, int rank, const int64_t *dim) {
    fy_type ty = { .kind = FY_TENSOR, .dtype = t, .rank = rank };
    if (rank <= 0) return ty;
    const fy_dim **d = FY_NEWN(&m->arena, const fy_dim *, rank);
    if (!d) return (fy_type){ 0 };
    for (int i = 0; i < rank; i++)
        if (!(d[i] = fy_dim_const(m->dims, dim[i]))) return (fy_type){ 0 };
    ty.dim = d;
    return ty;
}

void fy_type_print(fy_buf *out, const fy_type *t) {
    int open = 0;
    for (; t; t = t->elem) {
        bool more = false;
        switch (t->kind) {
        case FY_NOTYPE: fy_buf_str(out, "?"); break;
        case FY_SEQUENCE: fy_buf_str(out, "seq("); more = true; break;
        case FY_OPTIONAL: fy_buf_str(out, "optional("); more = true; break;
        case FY_MAP: fy_buf_fmt(out, "map(%s, ", fy_dtype_name(t->dtype)); more = true; break;
        case FY_TENSOR:
        case FY_SPARSE:
            fy_buf_fmt(out, "%s%s[", t->kind == FY_SPARSE ? "sparse " : "", fy_dtype_name(t->dtype));
            for (int i = 0; i < t->rank; i++) {
                if (i) fy_buf_char(out, ',');
                fy_dim_print(out, t->dim[i]);
            }
            fy_buf_str(out, t->rank < 0 ? "*]" : "]");
            break;
        }
        if (!more) break;
        open++;
        if (!t->elem) fy_buf_str(out, "?");
    }
    while (open--) fy_buf_char(out, ')');
}

void fy_node_describe(char *out, size_t n, const fy_node *node) {
    bool named = node->name && *node->name, from = node->source && *node->source;
    (void)snprintf(out, n, "node %u%s%.80s%s (%.40s)%s%.60s", (unsigned)node->id, named ? " \"" : "", named ? node->name : "", named ? "\"" : "",
                   node->op->name, from ? " from " : "", from ? node->source : "");
}
