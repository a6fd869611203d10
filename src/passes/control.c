/* SPDX-License-Identifier: Apache-2.0
 * control.c - If with a constant condition -> the branch taken; Loop with a constant trip count of 1 and a condition that holds -> its body
 * once; Loop that never runs -> the initial values. What stood in a body moves to the graph around it. */
#include "passes/match.h"

static bool known_bool(const fy_value *v, bool *b) {
    int64_t i;
    const fy_const *c = fy_fixed(v);
    if (!c || c->dtype != FERRY_BOOL || c->count != 1 || !fy_const_i64(c, 0, &i)) return false;
    *b = i != 0;
    return true;
}

/* Output i of n is `by`; an output of the graph that cannot take its name gets an Identity of its own. */
static bool put(fy_rewriting *r, fy_node *n, int i, fy_value *by) {
    fy_value *v = n->out[i];
    if (!v || fy_replace_output(v, by)) return true;
    fy_build b = fy_before(r, n);
    by = fy_emit(&b, "Identity", FY_V(by), FY_NOATTR);
    if (!by) { r->status = b.status; return false; }
    (void)fy_replace_output(v, by);
    return true;
}

static bool branch(fy_rewriting *r, fy_node *n) {
    bool yes;
    if (!known_bool(fy_in(n, 0), &yes)) return false;
    fy_graph *g = fy_attr_graph(n, yes ? "then_branch" : "else_branch");
    if (!g || g->out.n < n->nout) return false;
    if (!fy_graph_splice(g, n)) return fy_no_memory(r);
    for (int i = 0; i < n->nout; i++)
        if (!put(r, n, i, g->out.at[i])) return false;
    fy_node_remove(n);
    return true;
}

static bool loop(fy_rewriting *r, fy_node *n) {
    int64_t trips = -1;
    bool holds = true;
    fy_graph *g = fy_attr_graph(n, "body");
    const fy_value *m = fy_in(n, 0), *cond = fy_in(n, 1);
    int carried = n->nin - 2;
    if (!g || carried < 0 || g->in.n != carried + 2 || g->out.n < n->nout + 1 || carried > n->nout) return false;
    bool counted = fy_fixed(m) && m->constant->count == 1 && fy_const_i64(m->constant, 0, &trips), judged = !cond || known_bool(cond, &holds);
    bool never = (counted && trips <= 0) || (judged && !holds);
    if (!never && (!counted || trips != 1 || !judged)) return false;
    for (int i = 2; i < n->nin; i++)
        if (!fy_in(n, i)) return false;
    if (never) {
        for (int i = carried; i < n->nout; i++)
            if (n->out[i] && n->out[i]->nuses) return false;
        for (int i = 0; i < carried; i++)
            if (!put(r, n, i, fy_in(n, i + 2))) return false;
        fy_node_remove(n);
        return true;
    }
    fy_build b = fy_before(r, n);
    fy_value *zero = fy_k_i64(&b, 0), *yes = fy_k_scalar_i(&b, FERRY_BOOL, 1);
    if (!zero || !yes) { r->status = b.status; return false; }
    fy_value_replace(g->in.at[0], zero);
    fy_value_replace(g->in.at[1], yes);
    for (int i = 0; i < carried; i++) fy_value_replace(g->in.at[i + 2], fy_in(n, i + 2));
    if (!fy_graph_splice(g, n)) return fy_no_memory(r);
    for (int i = 0; i < n->nout; i++) {
        fy_value *v = g->out.at[i + 1];
        if (i >= carried && n->out[i] && n->out[i]->nuses && !(v = fy_b_unsqueeze(&b, v, 0))) { r->status = b.status; return false; }
        if (!put(r, n, i, v)) return false;
    }
    fy_node_remove(n);
    return true;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (fy_is(n, "If")) return branch(r, n);
    return fy_is(n, "Loop") && loop(r, n);
}

fy_status fy_pass_control(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) {
    if (m->graphs.n == 1) return FY_OK;                      /* no body was ever made */
    return fy_each_node(m, o, changes, e, rewrite);
}
