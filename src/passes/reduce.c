/* SPDX-License-Identifier: Apache-2.0
 * reduce.c - reductions recognised from their parts: ReduceSum of x*x -> ReduceSumSquare, of |x| -> ReduceL1; Sqrt of a ReduceSumSquare -> ReduceL2;
 * Log(ReduceSum(Exp x)) -> ReduceLogSumExp; Log(ReduceSum x) -> ReduceLogSum; exp(x) / sum(exp(x)) -> Softmax (with or without the maximum taken
 * off first); Log(Softmax x) -> LogSoftmax. */
#include "passes/match.h"

#include <string.h>

static bool reduces(fy_rewriting *r, fy_node *n, fy_node *sum, const char *op, fy_value *x) {
    fy_build b = fy_before(r, n);
    fy_attr attr[2];
    int na = 0;
    for (int i = 0; i < sum->nattr && na < 2; i++) attr[na++] = sum->attr[i];
    return fy_became(r, &b, n, fy_emit(&b, op, FY_V(x, fy_in(sum, 1)), na, attr));
}

static fy_value *square_of(const fy_value *v) {
    double c;
    fy_value *u;
    if (!fy_sole(v)) return NULL;
    if (fy_is(v->def, "Mul") && fy_in(v->def, 0) == fy_in(v->def, 1)) return fy_in(v->def, 0);
    return fy_with_scalar(v->def, "Pow", &u, &c) && c == 2 ? u : NULL;
}

static bool sum(fy_rewriting *r, fy_node *n) {
    fy_value *x = square_of(fy_in(n, 0));
    if (x && fy_dtype_of(x) == fy_dtype_of(n->out[0])) return reduces(r, n, n, "ReduceSumSquare", x);
    fy_node *a = fy_from(n, 0, "Abs");
    return a && fy_sole(fy_in(n, 0)) && reduces(r, n, n, "ReduceL1", fy_in(a, 0));
}

/* One axis, kept, of a sum over Exp(x): the axis, or -1. */
static int summed_axis(const fy_node *s, const fy_value *e, const char *op) {
    int64_t axes[FY_MAX_RANK];
    int count, rank = fy_v_rank(e);
    if (!fy_is(s, op) || fy_in(s, 0) != e || s->nin < 2 || !fy_attr_i(s, "keepdims") || !fy_axes_of(s, 1, rank, axes, &count) || count != 1) return -1;
    return (int)axes[0];
}

static bool softmax(fy_rewriting *r, fy_node *n) {
    fy_value *e = fy_in(n, 0), *s = fy_in(n, 1);
    if (!e || !s || !s->def || !fy_is(e->def, "Exp") || !fy_sole(s) || e->nuses != 2 || e->is_output || !fy_is_float(e)) return false;
    int axis = summed_axis(s->def, e, "ReduceSum");
    if (axis < 0) return false;
    fy_value *x = fy_in(e->def, 0);
    fy_node *sub = fy_made(x, "Sub");
    if (sub && fy_sole(x) && fy_in(sub, 1) && fy_in(sub, 1)->def && summed_axis(fy_in(sub, 1)->def, fy_in(sub, 0), "ReduceMax") == axis) x = fy_in(sub, 0);
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, fy_emit(&b, "Softmax", FY_V(x), FY_A(fy_int("axis", axis == fy_v_rank(x) - 1 ? -1 : axis))));
}

static bool log_of(fy_rewriting *r, fy_node *n) {
    fy_value *v = fy_in(n, 0);
    if (!fy_sole(v)) return false;
    fy_node *p = v->def;
    if (fy_is(p, "Softmax")) {
        fy_build b = fy_before(r, n);
        return fy_became(r, &b, n, fy_emit(&b, "LogSoftmax", FY_V(fy_in(p, 0)), FY_A(fy_int("axis", fy_attr_i(p, "axis")))));
    }
    if (!fy_is(p, "ReduceSum")) return false;
    fy_node *e = fy_from(p, 0, "Exp");
    return e && fy_sole(fy_in(p, 0)) ? reduces(r, n, p, "ReduceLogSumExp", fy_in(e, 0)) : reduces(r, n, p, "ReduceLogSum", fy_in(p, 0));
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (n->nout < 1 || !n->out[0]) return false;
    if (fy_is(n, "ReduceSum")) return sum(r, n);
    if (fy_is(n, "Div")) return softmax(r, n);
    if (fy_is(n, "Log")) return log_of(r, n);
    fy_node *s = fy_is(n, "Sqrt") ? fy_from(n, 0, "ReduceSumSquare") : NULL;
    return s && fy_sole(fy_in(n, 0)) && reduces(r, n, s, "ReduceL2", fy_in(s, 0));
}

fy_status fy_pass_reduce(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
