/* SPDX-License-Identifier: Apache-2.0
 * view.c - Reshape, Flatten, Squeeze and Unsqueeze keep the order of the elements, so a chain of them is one: the shape at its end,
 * given as a constant with 0 (as the input) and at most one -1. Also Reduce(keepdims) and Squeeze of its axes -> Reduce. */
#include "passes/match.h"

#include <string.h>

static bool is_view(const fy_node *n) { return fy_is(n, "Reshape") || fy_is(n, "Flatten") || fy_is(n, "Squeeze") || fy_is(n, "Unsqueeze"); }

static bool same_shape(const fy_value *x, const fy_value *y) {
    if (fy_v_rank(x) < 0 || fy_v_rank(x) != fy_v_rank(y)) return false;
    for (int i = 0; i < x->type.rank; i++)
        if (x->type.dim[i] != y->type.dim[i]) return false;
    return true;
}

/* Squeeze after Squeeze, Unsqueeze after Unsqueeze: the axes together, which works for any sizes. */
static bool merge_axes(fy_rewriting *r, fy_node *n, fy_node *p) {
    bool grow = fy_is(n, "Unsqueeze");
    fy_value *x = fy_in(p, 0), *mid = fy_in(n, 0), *y = n->out[0];
    int na, nb, k = 0, big = grow ? fy_v_rank(y) : fy_v_rank(x);
    int64_t a[FY_MAX_RANK], b[FY_MAX_RANK], all[FY_MAX_RANK];
    bool on[FY_MAX_RANK] = {false};
    if (n->nin < 2 || p->nin < 2 || fy_v_rank(x) < 0 || fy_v_rank(mid) < 0 || big < 0) return false;
    if (!fy_axes_of(p, 1, grow ? fy_v_rank(mid) : fy_v_rank(x), a, &na) || !fy_axes_of(n, 1, grow ? fy_v_rank(y) : fy_v_rank(mid), b, &nb)) return false;
    const int64_t *inner = grow ? a : b, *outer = grow ? b : a;          /* outer: axes of the larger shape; inner: of what is left beside them */
    int ni = grow ? na : nb, no = grow ? nb : na;
    for (int i = 0; i < no; i++) on[outer[i]] = true;
    for (int i = 0, at = 0, left = 0; i < big; i++) {
        if (on[i]) continue;
        if (at < ni && inner[at] == left) { on[i] = true; at++; }
        left++;
    }
    for (int i = 0; i < big; i++)
        if (on[i]) all[k++] = i;
    if (k != na + nb) return false;
    fy_build bld = fy_before(r, n);
    return fy_became(r, &bld, n, fy_emit(&bld, n->op->name, FY_V(x, fy_k_ints(&bld, k, all)), FY_NOATTR));
}

/* Reduce with keepdims, then Squeeze of just these axes. */
static bool squeeze_reduce(fy_rewriting *r, fy_node *n) {
    fy_node *p = fy_is(n, "Squeeze") && fy_in(n, 0) ? fy_in(n, 0)->def : NULL;
    int64_t a[FY_MAX_RANK], b[FY_MAX_RANK];
    int na, nb, rank;
    if (!p || *p->op->domain || strncmp(p->op->name, "Reduce", 6) || !fy_sole(fy_in(n, 0)) || !fy_attr_i(p, "keepdims") || n->nin < 2 || p->nin < 2) return false;
    rank = fy_v_rank(fy_in(p, 0));
    if (!fy_axes_of(p, 1, rank, a, &na) || !fy_axes_of(n, 1, rank, b, &nb) || na != nb || !na || memcmp(a, b, (size_t)na * sizeof *a)) return false;
    fy_build bld = fy_before(r, n);
    fy_value *y = fy_emit(&bld, p->op->name, FY_V(fy_in(p, 0), fy_in(p, 1)), FY_A(fy_int("keepdims", 0)));
    return fy_became(r, &bld, n, y);
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (!is_view(n) || !n->out[0] || !fy_in(n, 0)) return false;
    if (squeeze_reduce(r, n)) return true;
    fy_node *p = fy_in(n, 0)->def;
    fy_value *y = n->out[0];
    if (!p || !is_view(p) || p->graph != n->graph || r->status) return false;
    fy_value *x = fy_in(p, 0);
    if (fy_same_type(x, y) && fy_is_value(r, n, x)) return true;
    if (!fy_sole(fy_in(n, 0))) return false;
    if (!strcmp(n->op->name, p->op->name) && !fy_is(n, "Reshape") && !fy_is(n, "Flatten") && merge_axes(r, n, p)) return true;
    int64_t shape[FY_MAX_RANK];
    if (r->status) return false;
    fy_build b = fy_before(r, n);
    if (fy_is(n, "Reshape") && fy_is(p, "Reshape") && !fy_attr_i(n, "allowzero")) {   /* a target without 0 does not look at what it reshapes */
        int64_t k, zeros = 0, s[FY_MAX_RANK];
        if (fy_ints_of(n, 1, s, FY_MAX_RANK, &k)) {
            for (int64_t i = 0; i < k; i++) zeros += s[i] == 0;
            if (!zeros) {
                fy_reroute(r, n, 0, x);
                return true;
            }
        }
    }
    if (same_shape(x, y) || !fy_view_target(x, fy_v_rank(y), y->type.dim, shape)) return false;
    fy_value *z = fy_emit(&b, "Reshape", FY_V(x, fy_k_ints(&b, fy_v_rank(y), shape)), FY_NOATTR);
    if (z) z->type = y->type;
    return fy_became(r, &b, n, z);
}

fy_status fy_pass_view(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
