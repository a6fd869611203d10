/* SPDX-License-Identifier: Apache-2.0
 * scalar.c - chains of arithmetic with constants: x*a*b -> x*(a*b), x/a/b, x*a/b, x+a+b, and logic: Not(Not x), Where(Not c, a, b), Neg(Neg x),
 * Relu(Relu x). Sums are joined only where both constants have one sign: x + 1e8 - 1e8 rounds x on purpose. */
#include "passes/match.h"

#include <math.h>
#include <string.h>

/* n = x * c or x / c; a reciprocal is taken of floats alone. */
static bool factor(const fy_node *n, fy_value **x, double *c) {
    if (fy_with_scalar(n, "Mul", x, c)) return true;
    if (!fy_with_scalar(n, "Div", x, c) || *c == 0) return false;
    *c = 1 / *c;
    return true;
}

static bool term(const fy_node *n, fy_value **x, double *c) {
    if (fy_with_scalar(n, "Add", x, c)) return true;
    if (!fy_with_scalar(n, "Sub", x, c)) return false;
    *c = -*c;
    return true;
}

/* Can the dtype hold c as a normal number? */
static bool sane(fy_dtype t, double c) {
    double a = fabs(c);
    if (t == FERRY_FLOAT16) return a < 6e4 && a > 1e-3;
    if (t == FERRY_DOUBLE) return a < 1e300 && a > 1e-300;
    return a < 1e37 && a > 1e-37;
}

static bool chain(fy_rewriting *r, fy_node *n) {
    fy_value *mid, *x;
    double a, b;
    bool product = factor(n, &mid, &b);
    if ((!product && !term(n, &mid, &b)) || !fy_sole(mid) || !fy_is_float(n->out[0])) return false;
    if (product ? !factor(mid->def, &x, &a) : !term(mid->def, &x, &a)) return false;
    double c = product ? a * b : a + b;
    fy_dtype t = fy_dtype_of(n->out[0]);
    if (!sane(t, a) || !sane(t, b) || !sane(t, c) || (!product && (a < 0) != (b < 0))) return false;
    if (fy_v_rank(x) != fy_v_rank(n->out[0])) return false;
    fy_build k = fy_before(r, n);
    bool div = product && fy_is(n, "Div") && fy_is(mid->def, "Div"), minus = !product && c < 0 && fy_is(n, "Sub");
    fy_value *y = fy_emit(&k, product ? div ? "Div" : "Mul" : minus ? "Sub" : "Add", FY_V(x, fy_k_scalar(&k, t, div ? 1 / c : minus ? -c : c)), FY_NOATTR);
    return fy_became(r, &k, n, y);
}

/* Sums and products with constants of any shape: x + a + b -> x + (a + b), which folding computes. */
static bool regroup(fy_rewriting *r, fy_node *n) {
    bool add = fy_is(n, "Add"), mul = fy_is(n, "Mul");
    if ((!add && !mul) || !fy_is_float(n->out[0])) return false;
    for (int i = 0; i < 2; i++) {
        const fy_const *b = fy_fixed(fy_in(n, i));
        fy_node *p = fy_from(n, 1 - i, n->op->name);
        if (!b || !p || !fy_sole(fy_in(n, 1 - i))) continue;
        for (int k = 0; k < 2; k++) {
            const fy_const *a = fy_fixed(fy_in(p, k));
            if (!a || fy_fixed(fy_in(p, 1 - k)) || a->count > 65536 || b->count > 65536 || (a->count == 1 && b->count == 1)) continue;
            double va, vb;
            bool safe = true;
            int64_t count = a->count > b->count ? a->count : b->count;
            if ((a->count != 1 && b->count != 1) && (a->rank != b->rank || memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim))) continue;
            for (int64_t j = 0; safe && j < count; j++) {
                safe = fy_const_f64(a, a->count == 1 ? 0 : j, &va) && fy_const_f64(b, b->count == 1 ? 0 : j, &vb);
                double c = mul ? va * vb : va + vb;
                safe = safe && isfinite(c) && (mul ? (c == 0) == (va == 0 || vb == 0) && fabs(c) < 1e30 : fabs(c) >= 0.25 * fmax(fabs(va), fabs(vb)));
            }
            if (!safe) continue;
            fy_build w = fy_before(r, n);
            fy_value *c = fy_emit(&w, n->op->name, FY_V(fy_in(p, k), fy_in(n, i)), FY_NOATTR);
            return fy_became(r, &w, n, fy_emit(&w, n->op->name, FY_V(fy_in(p, 1 - k), c), FY_NOATTR));
        }
    }
    return false;
}

/* (x*a) @ (y*b) -> (x*(a*b)) @ y: exporters spread the scale of attention to spare half floats, which are left alone. */
static bool into_one(fy_rewriting *r, fy_node *n) {
    fy_value *x[2];
    double c[2];
    if (!fy_is(n, "MatMul") || (fy_dtype_of(n->out[0]) != FERRY_FLOAT && fy_dtype_of(n->out[0]) != FERRY_DOUBLE)) return false;
    for (int i = 0; i < 2; i++)
        if (!fy_sole(fy_in(n, i)) || !factor(fy_in(n, i)->def, &x[i], &c[i]) || fy_v_rank(x[i]) != fy_v_rank(fy_in(n, i)) || !sane(FERRY_FLOAT, c[i])) return false;
    if (!sane(FERRY_FLOAT, c[0] * c[1])) return false;
    fy_build b = fy_before(r, fy_in(n, 0)->def);
    fy_value *y = fy_emit(&b, "Mul", FY_V(x[0], fy_k_scalar(&b, fy_dtype_of(n->out[0]), c[0] * c[1])), FY_NOATTR);
    if (!y) return fy_unmade(r, &b);
    fy_reroute(r, n, 0, y);
    fy_reroute(r, n, 1, x[1]);
    return true;
}

static bool twice(fy_rewriting *r, fy_node *n) {
    static const char *const undone[] = {"Not", "Neg", "BitwiseNot"}, *const same[] = {"Relu", "Abs", "Floor", "Ceil", "Round", "Sign"};
    for (int i = 0; i < FY_COUNT(undone); i++) {
        fy_node *p = fy_is(n, undone[i]) ? fy_from(n, 0, undone[i]) : NULL;
        if (p) return fy_is_value(r, n, fy_in(p, 0));
    }
    for (int i = 0; i < FY_COUNT(same); i++)
        if (fy_is(n, same[i]) && fy_from(n, 0, same[i])) return fy_is_value(r, n, fy_in(n, 0));
    return false;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (n->nout < 1 || !n->out[0]) return false;
    fy_node *no = fy_is(n, "Where") ? fy_from(n, 0, "Not") : NULL;
    if (no) {
        fy_value *a = fy_in(n, 1), *b = fy_in(n, 2);
        fy_node_set_input(n, 1, b);
        fy_node_set_input(n, 2, a);
        fy_reroute(r, n, 0, fy_in(no, 0));
        return true;
    }
    return twice(r, n) || into_one(r, n) || (!r->status && chain(r, n)) || (!r->status && regroup(r, n));
}

fy_status fy_pass_scalar(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
