/* SPDX-License-Identifier: Apache-2.0
 * activation.c - activations recognised from what exporters write for them, however the constants are spread:
 *   Gelu         x * 0.5 * (1 + erf(x / sqrt 2)); approximate: x * 0.5 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))      opset 20
 *   Swish        x * sigmoid(alpha * x), x / (1 + exp(-x))                                                              opset 24
 *   HardSigmoid  clip(a * x + b, 0, 1), clip(x + 3, 0, 6) / 6                                                           opset 6
 *   HardSwish    x * HardSigmoid(x; 1/6, 1/2)                                                                           opset 14
 *   Softplus     log(1 + exp x), Mish x * tanh(softplus x)                                                              opset 1, 18
 *   Sigmoid      1 / (1 + exp(-x))                                                                                      opset 1
 * Sources: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016; Howard et al., "Searching for MobileNetV3", 2019; Misra, "Mish", 2019. */
#include "passes/match.h"

#include <math.h>
#include <string.h>

#define ROOT_HALF 0.70710678118654752440
#define ROOT_2_BY_PI 0.79788456080286535588

/* y = scale * a * b: the two factors that are not constant, through products and quotients that only y needs. */
static bool two_factors(fy_node *y, double *scale, fy_value *f[2]) {
    fy_value *todo[8] = {y->out[0]};
    int n = 1, found = 0;
    *scale = 1;
    for (int steps = 0; n && steps < 8; steps++) {
        fy_value *v = todo[--n], *x;
        double c;
        bool open = v == y->out[0] || fy_sole(v);
        if (open && fy_with_scalar(v->def, "Mul", &x, &c)) { *scale *= c; todo[n++] = x; }
        else if (open && fy_with_scalar(v->def, "Div", &x, &c)) { *scale /= c; todo[n++] = x; }
        else if (open && fy_is(v->def, "Mul") && n < 6) { todo[n++] = fy_in(v->def, 0); todo[n++] = fy_in(v->def, 1); }
        else if (found < 2) f[found++] = v;
        else return false;
    }
    return !n && found == 2;
}

/* v as a polynomial in x up to the third degree, through nodes read once. */
static bool polynomial(fy_value *v, const fy_value *x, double p[4], int depth) {
    double a[4], b[4], c;
    fy_value *u;
    memset(p, 0, 4 * sizeof *p);
    if (v == x) { p[1] = 1; return true; }
    if (fy_scalar(v, x, &c)) { p[0] = c; return true; }
    if (depth > 6 || !v || !v->def || v->is_output || v->graph != x->graph) return false;
    fy_node *n = v->def;
    bool mul = fy_is(n, "Mul"), add = fy_is(n, "Add");
    if (mul || add) {
        if (!polynomial(fy_in(n, 0), x, a, depth + 1) || !polynomial(fy_in(n, 1), x, b, depth + 1)) return false;
        for (int i = 0; i < 4; i++)
            for (int k = 0; mul && k < 4; k++) {
                if (a[i] * b[k] != 0 && i + k > 3) return false;
                if (i + k < 4) p[i + k] += a[i] * b[k];
            }
        for (int i = 0; add && i < 4; i++) p[i] = a[i] + b[i];
        return true;
    }
    if (fy_with_scalar(n, "Div", &u, &c) && polynomial(u, x, p, depth + 1)) {
        for (int i = 0; i < 4; i++) p[i] /= c;
        return true;
    }
    if (!fy_with_scalar(n, "Pow", &u, &c) || !polynomial(u, x, a, depth + 1) || a[0] != 0 || a[2] != 0 || a[3] != 0 || (c != 2 && c != 3)) return false;
    p[(int)c] = pow(a[1], c);
    return true;
}

static bool near(const fy_value *v, double a, double x) { return fy_about(fy_dtype_of(v), a, x); }

/* x * (half + half * f(x)), whatever the scales. */
static bool gelu(fy_rewriting *r, fy_node *n, fy_value *x, fy_value *g, double scale) {
    double a, b, t, s, p[4];
    fy_value *f = fy_affine(g, &a, &b);
    if (!f || f == g || !f->def || !fy_sole(f) || !fy_sole(g) || !near(x, scale * a, 0.5) || !near(x, scale * b, 0.5) || !fy_same_type(x, n->out[0])) return false;
    bool exact = fy_is(f->def, "Erf");
    if (!exact && !fy_is(f->def, "Tanh")) return false;
    fy_value *u = fy_in(f->def, 0);
    if (exact) {
        if (fy_affine(u, &t, &s) != x || t != 0 || !near(x, s, ROOT_HALF)) return false;
    } else if (!polynomial(u, x, p, 0) || p[0] != 0 || p[2] != 0 || !near(x, p[1], ROOT_2_BY_PI) || !near(x, p[3], ROOT_2_BY_PI * 0.044715)) return false;
    fy_build k = fy_before(r, n);
    fy_attr tanh_ = fy_text("approximate", "tanh");
    return fy_became(r, &k, n, fy_emit(&k, "Gelu", FY_V(x), exact ? 0 : 1, &tanh_));
}

/* f = HardSigmoid(x) as a node, or Clip(a x + b, 0, hi) / hi with the quotient in *scale. */
static bool hard_sigmoid(fy_value *f, fy_value **x, double *alpha, double *beta, double *scale) {
    double a, b, lo, hi;
    if (!f || !f->def) return false;
    if (fy_is(f->def, "HardSigmoid")) {
        *x = fy_in(f->def, 0);
        *alpha = fy_attr_f(f->def, "alpha");
        *beta = fy_attr_f(f->def, "beta");
        *scale = 1;
        return true;
    }
    fy_value *u = fy_in(f->def, 0);
    if (!fy_is(f->def, "Clip") || !fy_sole(u) || !fy_scalar(fy_in(f->def, 1), u, &lo) || !fy_scalar(fy_in(f->def, 2), u, &hi) || lo != 0 || !(hi > 0)) return false;
    *x = fy_affine(u, &b, &a);
    *alpha = a / hi;
    *beta = b / hi;
    *scale = 1 / hi;                     /* the node is hi times the HardSigmoid */
    return *x != u && *x;
}

/* factor * x * HardSigmoid(x), where that takes fewer nodes than x * clip(a x + b) and its own factor, if it has one. */
static bool hard(fy_rewriting *r, fy_node *n, fy_value *x, double a, double b, double factor, bool unscaled) {
    bool swish = r->opset >= 14 && near(x, a, 1.0 / 6) && near(x, b, 0.5), one = near(x, factor, 1);
    if ((swish ? 1 : 2) + !one >= (unscaled ? 3 : 4)) return false;
    double c;
    fy_value *u;
    fy_node *next = fy_sole(n->out[0]) ? n->out[0]->uses->user : NULL;
    if (next && (fy_with_scalar(next, "Mul", &u, &c) || fy_with_scalar(next, "Div", &u, &c))) return false;      /* its factor belongs to it */
    fy_build k = fy_before(r, n);
    fy_value *y;
    if (swish) y = fy_emit(&k, "HardSwish", FY_V(x), FY_NOATTR);
    else {
        y = fy_emit(&k, "HardSigmoid", FY_V(x), FY_A(fy_float("alpha", (double)(float)a), fy_float("beta", (double)(float)b)));
        y = fy_emit(&k, "Mul", FY_V(x, y), FY_NOATTR);
    }
    if (!one && y) y = fy_emit(&k, "Mul", FY_V(y, fy_k_scalar(&k, fy_dtype_of(x), factor)), FY_NOATTR);
    return fy_became(r, &k, n, y);
}

static bool product(fy_rewriting *r, fy_node *n) {
    fy_value *f[2], *u;
    double scale, a, b, s;
    if (!two_factors(n, &scale, f)) return false;
    for (int i = 0; i < 2; i++) {
        fy_value *x = f[i], *g = f[1 - i];
        if (!fy_is_float(x) || !g->def || !fy_same_type(x, n->out[0])) continue;
        fy_build k = fy_before(r, n);
        if (r->opset >= 20 && gelu(r, n, x, g, scale)) return true;
        if (r->status || !fy_sole(g)) continue;
        if (r->opset >= 24 && r->o->rare && fy_is(g->def, "Sigmoid") && near(x, scale, 1) && fy_affine(fy_in(g->def, 0), &a, &b) == x && a == 0) {
            bool whole = fy_in(g->def, 0) == x || fy_sole(fy_in(g->def, 0));
            if (whole) return fy_became(r, &k, n, fy_emit(&k, "Swish", FY_V(x), FY_A(fy_float("alpha", b))));
        }
        if (r->opset >= 14 && hard_sigmoid(g, &u, &a, &b, &s) && u == x && near(x, a, 1.0 / 6) && near(x, b, 0.5) && near(x, scale, s))
            return fy_became(r, &k, n, fy_emit(&k, "HardSwish", FY_V(x), FY_NOATTR));
        if (hard_sigmoid(g, &u, &a, &b, &s) && u == x && s != 1 && hard(r, n, x, a, b, scale / s, near(x, scale, 1))) return true;
        if (r->status) return false;
        fy_node *soft = fy_is(g->def, "Tanh") ? fy_from(g->def, 0, "Softplus") : NULL;
        if (r->opset >= 18 && soft && fy_in(soft, 0) == x && scale == 1 && fy_sole(fy_in(g->def, 0))) return fy_became(r, &k, n, fy_emit(&k, "Mish", FY_V(x), FY_NOATTR));
    }
    return false;
}

/* v = 1 + exp(s * x), each read once */
static fy_value *one_plus_exp(fy_value *v, double *s) {
    double c, t;
    fy_value *e;
    if (!v || !fy_sole(v) || !fy_with_scalar(v->def, "Add", &e, &c) || c != 1 || !fy_sole(e) || !fy_is(e->def, "Exp")) return NULL;
    fy_value *u = fy_in(e->def, 0), *x = fy_affine(u, &t, s);
    if (u != x && !fy_sole(u)) return NULL;
    return t == 0 ? x : NULL;
}

static bool quotient(fy_rewriting *r, fy_node *n) {
    double s, c;
    fy_value *x = one_plus_exp(fy_in(n, 1), &s), *top = fy_in(n, 0);
    if (!x || !fy_is_float(x)) return false;
    fy_build k = fy_before(r, n);
    if (s == -1 && fy_scalar(top, x, &c) && c == 1) return fy_became(r, &k, n, fy_emit(&k, "Sigmoid", FY_V(x), FY_NOATTR));
    if (r->opset >= 24 && r->o->rare && top == x) return fy_became(r, &k, n, fy_emit(&k, "Swish", FY_V(x), FY_A(fy_float("alpha", -s))));
    return false;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    fy_value *x;
    double a, b, s, c;
    if (n->nout < 1 || !n->out[0] || !fy_is_float(n->out[0])) return false;
    if (fy_dtype_of(n->out[0]) == FERRY_BFLOAT16 && r->opset < 22) return false;     /* most of them take it since then */
    bool scaled = fy_with_scalar(n, "Div", &x, &c) || fy_with_scalar(n, "Mul", &x, &c), div = fy_is(n, "Div");
    if (scaled && fy_sole(x) && fy_is(x->def, "Clip") && hard_sigmoid(x, &x, &a, &b, &s) && near(n->out[0], div ? 1 / c : c, s)) {
        fy_build k = fy_before(r, n);
        return fy_became(r, &k, n, fy_emit(&k, "HardSigmoid", FY_V(x), FY_A(fy_float("alpha", (double)(float)a), fy_float("beta", (double)(float)b))));
    }
    if (fy_is(n, "Clip") && hard_sigmoid(n->out[0], &x, &a, &b, &s) && s == 1 && a > 0) {
        fy_build k = fy_before(r, n);
        return fy_became(r, &k, n, fy_emit(&k, "HardSigmoid", FY_V(x), FY_A(fy_float("alpha", (double)(float)a), fy_float("beta", (double)(float)b))));
    }
    if (fy_is(n, "Log") && (x = one_plus_exp(fy_in(n, 0), &s)) && s == 1 && fy_is_float(x)) {
        fy_build k = fy_before(r, n);
        return fy_became(r, &k, n, fy_emit(&k, "Softplus", FY_V(x), FY_NOATTR));
    }
    if (div && n->nin == 2 && quotient(r, n)) return true;
    return !r->status && (fy_is(n, "Mul") || div) && product(r, n);
}

fy_status fy_pass_activation(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
