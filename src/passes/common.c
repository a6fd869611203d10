/* SPDX-License-Identifier: Apache-2.0
 * common.c - common subexpressions: a node equal in operator, inputs and attributes to an earlier one of its graph goes. */
#include "passes/pass.h"

#include <string.h>

static void key_attr(fy_buf *k, const fy_attr *a) {
    fy_buf_fmt(k, "|%s:%d:%lld:%zu:", a->name, a->kind, (long long)a->n, a->kind == FY_ATTR_STRING ? a->s.n : 0);
    switch (a->kind) {
    case FY_ATTR_INT: fy_buf_add(k, &a->i, sizeof a->i); break;
    case FY_ATTR_FLOAT: fy_buf_add(k, &a->f, sizeof a->f); break;
    case FY_ATTR_STRING: fy_buf_add(k, a->s.at, a->s.n); break;
    case FY_ATTR_INTS: fy_buf_add(k, a->ints, (size_t)a->n * sizeof *a->ints); break;
    case FY_ATTR_FLOATS: fy_buf_add(k, a->floats, (size_t)a->n * sizeof *a->floats); break;
    case FY_ATTR_STRINGS:
        for (int64_t i = 0; i < a->n; i++) {
            fy_buf_fmt(k, "%zu:", a->strings[i].n);
            fy_buf_add(k, a->strings[i].at, a->strings[i].n);
        }
        break;
    case FY_ATTR_TENSOR: fy_buf_add(k, &a->tensor, sizeof a->tensor); break;          /* by identity: never merged wrongly */
    case FY_ATTR_NONE: case FY_ATTR_GRAPH: case FY_ATTR_TENSORS: case FY_ATTR_GRAPHS: case FY_ATTR_SPARSE: case FY_ATTR_SPARSES:
    case FY_ATTR_TYPE: case FY_ATTR_TYPES: fy_buf_add(k, &a, sizeof a); break;
    }
}

/* Bytes that are equal exactly for nodes that may be merged; false if this one may not. */
static bool key_of(fy_buf *k, const fy_node *n) {
    k->n = 0;
    if (!(n->op->flags & FY_PURE) || (n->op->flags & (FY_RANDOM | FY_CONTROL | FY_OPAQUE_OP)) || n->ncap) return false;
    const fy_op *op = n->op;
    fy_buf_add(k, &op, sizeof op);
    fy_buf_add(k, &n->nin, sizeof n->nin);
    fy_buf_add(k, &n->nout, sizeof n->nout);
    for (int i = 0; i < n->nin; i++) {
        const fy_value *v = fy_in(n, i);
        fy_buf_add(k, &v, sizeof v);
    }
    for (int i = 0; i < n->nattr; i++) key_attr(k, &n->attr[i]);
    return !k->oom;
}

/* All outputs of `n` replaced by those of `by`? Outputs of the graph keep their own producer. */
static bool merge(fy_node *n, fy_node *by) {
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && (n->out[i]->is_output || (!by->out[i] && n->out[i]->nuses))) return false;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && by->out[i]) fy_value_replace(n->out[i], by->out[i]);
    fy_node_remove(n);
    return true;
}

fy_status fy_pass_common(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) {
    (void)o;
    fy_graph_list all = {0};
    fy_buf key = {0};
    fy_status s = fy_all_graphs(&all, m, e);
    for (int64_t i = 0; !s && i < all.n; i++) {
        fy_map seen = {0};
        fy_arena keys = {0};
        for (fy_node *n = all.at[i]->first, *next; !s && n; n = next) {
            next = n->next;
            if (!key_of(&key, n)) continue;
            fy_node *by = fy_map_get(&seen, key.at, key.n);
            if (by) *changes += merge(n, by);
            else {
                const char *k = fy_arena_copy(&keys, key.at, key.n, 1);
                if (!k || !fy_map_put(&seen, k, key.n, n)) s = fy_nomem(e);
            }
        }
        fy_map_free(&seen);
        fy_arena_free(&keys);
    }
    if (key.oom && !s) s = fy_nomem(e);
    fy_buf_free(&key);
    fy_free(all.at);
    return s;
}
