/* SPDX-License-Identifier: Apache-2.0
 * reshape.c - Reshape(x, computed target) -> Reshape(x, constant) wherever the known contents of the target allow it: a fixed
 * size as it is, a size equal to the input's at the same place as 0, and at most one other size as -1. The same for Expand, where a size
 * that the input has already is 1. An Expand beside an operand of that shape goes. */
#include "passes/match.h"

#include <string.h>

static bool target(const fy_node *n, int64_t *shape, int64_t *count) {
    const fy_value *x = fy_in(n, 0), *s = fy_in(n, 1);
    if (!x || !s || s->constant || !s->elem || s->nelem > FY_MAX_RANK) return false;
    int unknown = 0;
    for (int64_t i = 0; i < s->nelem; i++) {
        bool same = x->type.rank > i && x->type.dim[i] == s->elem[i];
        if (fy_dim_known(s->elem[i], &shape[i])) {
            if (shape[i] == 0 && fy_attr_i(n, "allowzero")) return false;        /* else it says already "as the input" */
            unknown += shape[i] < 0;                         /* a -1 that was there already */
        } else if (same) shape[i] = 0;
        else { shape[i] = -1; unknown++; }
    }
    *count = s->nelem;
    return unknown <= 1;
}

static bool expand_target(const fy_node *n, int64_t *shape, int64_t *count) {
    const fy_value *x = fy_in(n, 0), *s = fy_in(n, 1);
    if (fy_v_rank(x) < 0 || !s || s->constant || !s->elem || s->nelem > FY_MAX_RANK) return false;
    for (int64_t i = 0; i < s->nelem; i++) {
        int64_t at = i - (s->nelem - x->type.rank);
        if (at >= 0 && x->type.dim[at] == s->elem[i]) shape[i] = 1;
        else if (!fy_dim_known(s->elem[i], &shape[i])) return false;
    }
    *count = s->nelem;
    return true;
}

/* Has `v` every size of the expanded value, so that the broadcast happens anyway? */
static bool covers(const fy_value *v, const fy_value *expanded) {
    int rank = fy_v_rank(v), less = fy_v_rank(expanded);
    if (less < 0 || rank < less) return false;
    for (int i = 0; i < less; i++)
        if (v->type.dim[rank - less + i] != expanded->type.dim[i]) return false;
    return true;
}

static bool needless_expand(fy_rewriting *r, fy_node *n) {
    if (n->nin < 2 || n->nin > 16 || !(n->op->flags & FY_ELEMENTWISE) || *n->op->domain || fy_is(n, "Expand") || fy_is(n, "PRelu") || fy_is(n, "Clip") || fy_is(n, "CastLike")) return false;
    for (int i = 0; i < n->nin; i++) {
        fy_node *x = fy_from(n, i, "Expand");
        for (int k = 0; x && k < n->nin; k++) {
            if (k == i || !fy_in(n, k) || fy_from(n, k, "Expand") || !covers(fy_in(n, k), fy_in(n, i))) continue;
            fy_reroute(r, n, i, fy_in(x, 0));
            return true;
        }
    }
    return false;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    int64_t shape[FY_MAX_RANK], count;
    if (fy_is(n, "Reshape") ? !target(n, shape, &count) : !fy_is(n, "Expand") || !expand_target(n, shape, &count)) return needless_expand(r, n);
    fy_build b = fy_before(r, n);
    fy_value *k = fy_k_ints(&b, count, shape);
    if (k && fy_attr_get(n, "allowzero")) fy_node_del_attr(n, "allowzero");      /* no size is 0 for sure, and the 0 written now copies */
    if (k) fy_reroute(r, n, 1, k);
    r->status = b.status;
    return k != NULL;
}

fy_status fy_pass_reshape(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
