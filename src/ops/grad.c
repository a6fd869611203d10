/* SPDX-License-Identifier: Apache-2.0
 * grad.c - gradients of arithmetic, functions of one variable, activations, reductions; what all rules share.
 * Where a function has a corner, the gradient is that of PyTorch: 0 for Relu and Abs at 0; equal parts among equal maxima. */
#include "ops/grad.h"

#include <math.h>
#include <string.h>

/* ---- shared -------------------------------------------------------------------------------------------------------- */

fy_value *fy_g1(fy_grad *g, const char *op, fy_value *x) { return fy_emit(g->b, op, FY_V(x), FY_NOATTR); }
fy_value *fy_g2(fy_grad *g, const char *op, fy_value *x, fy_value *y) { return fy_emit(g->b, op, FY_V(x, y), FY_NOATTR); }
fy_value *fy_gk(fy_grad *g, const fy_value *like, double v) { return fy_k_scalar(g->b, like ? like->type.dtype : FERRY_FLOAT, v); }
fy_value *fy_gmulk(fy_grad *g, fy_value *x, double k) { return fy_g2(g, "Mul", x, fy_gk(g, x, k)); }
fy_value *fy_gshape(fy_grad *g, fy_value *x) { return fy_g1(g, "Shape", x); }

static bool same_shape(const fy_value *a, const fy_value *b) {
    if (!a || !b || a->type.rank < 0 || a->type.rank != b->type.rank) return false;
    for (int i = 0; i < a->type.rank; i++)
        if (a->type.dim[i] != b->type.dim[i]) return false;
    return true;
}

fy_value *fy_gsum(fy_grad *g, fy_value *v, int naxes, const int64_t *axes, bool keep) {
    return fy_emit(g->b, "ReduceSum", FY_V(v, fy_k_ints(g->b, naxes, axes)), FY_A(fy_int("keepdims", keep), fy_int("noop_with_empty_axes", 1)));
}

fy_value *fy_gsum_to(fy_grad *g, fy_value *v, fy_value *x) {
    if (!v || same_shape(v, x)) return v;
    int rv = v->type.rank, rx = x->type.rank;
    bool known = rv >= 0 && rx >= 0 && rv >= rx;
    int64_t axes[FY_MAX_RANK], n = 0, a, b;
    for (int i = 0; known && i < rv; i++) {
        const fy_dim *dx = i < rv - rx ? NULL : x->type.dim[i - (rv - rx)];
        if (dx == v->type.dim[i]) continue;
        if (!dx) axes[n++] = i;
        else if (fy_dim_known(dx, &a) && a == 1) axes[n++] = i;                  /* of a size that is 1 as well: no harm */
        else if (!fy_dim_known(dx, &a) || !fy_dim_known(v->type.dim[i], &b) || a != b) known = false;
    }
    fy_value *sx = fy_gshape(g, x), *list;
    if (known) return fy_g2(g, "Reshape", n ? fy_gsum(g, v, (int)n, axes, true) : v, sx);
    /* which axes were broadcast is known at run time only */
    fy_value *sv = fy_gshape(g, v), *more = fy_g2(g, "Sub", fy_gshape(g, sv), fy_gshape(g, sx));
    fy_value *wide = fy_emit(g->b, "Concat", FY_V(fy_g2(g, "Expand", fy_k_ints(g->b, 1, (int64_t[]){1}), more), sx), FY_A(fy_int("axis", 0)));
    list = fy_g1(g, "NonZero", fy_g1(g, "Not", fy_g2(g, "Equal", wide, sv)));
    list = fy_g2(g, "Squeeze", list, fy_k_ints(g->b, 1, (int64_t[]){0}));
    return fy_g2(g, "Reshape", fy_emit(g->b, "ReduceSum", FY_V(v, list), FY_A(fy_int("keepdims", 1), fy_int("noop_with_empty_axes", 1))), sx);
}

static fy_value *mul(fy_grad *g, fy_value *x, fy_value *y) { return fy_g2(g, "Mul", x, y); }
static fy_value *divide(fy_grad *g, fy_value *x, fy_value *y) { return fy_g2(g, "Div", x, y); }
static fy_value *add(fy_grad *g, fy_value *x, fy_value *y) { return fy_g2(g, "Add", x, y); }
static fy_value *sub(fy_grad *g, fy_value *x, fy_value *y) { return fy_g2(g, "Sub", x, y); }
static fy_value *k(fy_grad *g, double v) { return fy_gk(g, fy_gx(g, 0), v); }
static fy_value *square(fy_grad *g, fy_value *x) { return mul(g, x, x); }
static fy_value *zero_unless(fy_grad *g, fy_value *cond, fy_value *v) { return fy_emit(g->b, "Where", FY_V(cond, v, k(g, 0)), FY_NOATTR); }

fy_status fy_grad_node(fy_grad *g) {
    static const fy_grad_rule *const tables[] = {fy_grad_math, fy_grad_nn, fy_grad_move};
    for (int t = 0; !*g->n->op->domain && t < FY_COUNT(tables); t++)
        for (const fy_grad_rule *r = tables[t]; r->op; r++)
            if (!strcmp(r->op, g->n->op->name)) {
                r->rule(g);
                return g->b->status;
            }
    return fy_fail(g->b->e, FY_E_UNSUPPORTED, "there is no rule for the gradient of %s%s%s", g->n->op->domain, *g->n->op->domain ? "." : "", g->n->op->name);
}

/* ---- two and more operands ----------------------------------------------------------------------------------------- */

static void to_input(fy_grad *g, int i, fy_value *v) { g->dx[i] = fy_gsum_to(g, v, fy_gx(g, i)); }

static void g_add(fy_grad *g) {
    for (int i = 0; i < g->n->nin; i++)
        if (g->want[i]) to_input(g, i, fy_gdy(g));
}
static void g_mean(fy_grad *g) {
    for (int i = 0; i < g->n->nin; i++)
        if (g->want[i]) to_input(g, i, fy_gmulk(g, fy_gdy(g), 1.0 / g->n->nin));
}
static void g_sub(fy_grad *g) {
    if (g->want[0]) to_input(g, 0, fy_gdy(g));
    if (g->want[1]) to_input(g, 1, fy_g1(g, "Neg", fy_gdy(g)));
}
static void g_mul(fy_grad *g) {
    for (int i = 0; i < 2; i++)
        if (g->want[i]) to_input(g, i, mul(g, fy_gdy(g), fy_gx(g, 1 - i)));
}
static void g_div(fy_grad *g) {
    if (g->want[0]) to_input(g, 0, divide(g, fy_gdy(g), fy_gx(g, 1)));
    if (g->want[1]) to_input(g, 1, fy_g1(g, "Neg", divide(g, mul(g, fy_gdy(g), fy_gy(g)), fy_gx(g, 1))));
}

/* At x = 0 the derivative by the exponent is 0, as in PyTorch, not 0 times -inf. */
static void g_pow(fy_grad *g) {
    fy_value *x = fy_gx(g, 0), *p = fy_gx(g, 1);
    if (g->want[0]) {
        fy_value *q = fy_b_cast(g->b, p, x->type.dtype);
        to_input(g, 0, mul(g, fy_gdy(g), mul(g, q, fy_g2(g, "Pow", x, sub(g, q, k(g, 1))))));
    }
    if (g->want[1]) {
        fy_value *v = zero_unless(g, fy_g1(g, "Not", fy_g2(g, "Equal", x, k(g, 0))), mul(g, mul(g, fy_gdy(g), fy_gy(g)), fy_g1(g, "Log", x)));
        to_input(g, 1, fy_b_cast(g->b, v, p->type.dtype));
    }
}

static void g_most(fy_grad *g) {
    fy_value *all = NULL, *mask;
    for (int i = 0; i < g->n->nin; i++) {
        mask = fy_b_cast(g->b, fy_g2(g, "Equal", fy_gx(g, i), fy_gy(g)), fy_gy(g) ? fy_gy(g)->type.dtype : FERRY_FLOAT);
        all = all ? add(g, all, mask) : mask;
    }
    fy_value *each = divide(g, fy_gdy(g), all);
    for (int i = 0; i < g->n->nin; i++)
        if (g->want[i]) to_input(g, i, zero_unless(g, fy_g2(g, "Equal", fy_gx(g, i), fy_gy(g)), each));
}

static void g_where(fy_grad *g) {
    for (int i = 1; i < 3; i++)
        if (g->want[i]) {
            fy_value *zero = fy_gk(g, fy_gx(g, i), 0), *d = fy_gdy(g);
            to_input(g, i, i == 1 ? fy_emit(g->b, "Where", FY_V(fy_gx(g, 0), d, zero), FY_NOATTR) : fy_emit(g->b, "Where", FY_V(fy_gx(g, 0), zero, d), FY_NOATTR));
        }
}

static void g_clip(fy_grad *g) {
    fy_value *d = fy_gdy(g), *x = fy_gx(g, 0);
    if (fy_gx(g, 1)) d = zero_unless(g, fy_g2(g, "GreaterOrEqual", x, fy_gx(g, 1)), d);
    if (fy_gx(g, 2)) d = zero_unless(g, fy_g2(g, "LessOrEqual", x, fy_gx(g, 2)), d);
    g->dx[0] = d;
}

static void g_prelu(fy_grad *g) {
    fy_value *low = fy_g2(g, "Less", fy_gx(g, 0), k(g, 0)), *d = fy_gdy(g);
    if (g->want[0]) g->dx[0] = fy_emit(g->b, "Where", FY_V(low, mul(g, d, fy_gx(g, 1)), d), FY_NOATTR);
    if (g->want[1]) to_input(g, 1, zero_unless(g, low, mul(g, d, fy_gx(g, 0))));
}

/* ---- one variable: dx = dy f'(x) ----------------------------------------------------------------------------------- */

#define UNARY(name, expr)                                                                                                \
    static void g_##name(fy_grad *g) {                                                                                   \
        fy_value *x = fy_gx(g, 0), *y = fy_gy(g), *d = fy_gdy(g);                                                        \
        (void)x;                                                                                                         \
        (void)y;                                                                                                         \
        g->dx[0] = (expr);                                                                                               \
    }
static double af(const fy_grad *g, const char *name) { return fy_attr_f(g->n, name); }
static fy_value *sigmoid(fy_grad *g, fy_value *x) { return fy_g1(g, "Sigmoid", x); }
static fy_value *below(fy_grad *g, fy_value *x, double v) { return fy_g2(g, "Less", x, k(g, v)); }
static fy_value *above(fy_grad *g, fy_value *x, double v) { return fy_g2(g, "Greater", x, k(g, v)); }
static fy_value *pick(fy_grad *g, fy_value *cond, fy_value *a, fy_value *b) { return fy_emit(g->b, "Where", FY_V(cond, a, b), FY_NOATTR); }
/* d/dx of x sigmoid(a x) */
static fy_value *swish(fy_grad *g, fy_value *x, double a) {
    fy_value *s = sigmoid(g, fy_gmulk(g, x, a));
    return add(g, s, mul(g, fy_gmulk(g, x, a), mul(g, s, sub(g, k(g, 1), s))));
}
UNARY(identity, d)
static void g_none(fy_grad *g) { (void)g; }
UNARY(neg, fy_g1(g, "Neg", d))
UNARY(abs, mul(g, d, fy_g1(g, "Sign", x)))
UNARY(sqrt, divide(g, fy_gmulk(g, d, 0.5), y))
UNARY(reciprocal, fy_g1(g, "Neg", mul(g, d, square(g, y))))
UNARY(exp, mul(g, d, y))
UNARY(log, divide(g, d, x))
UNARY(erf, mul(g, fy_gmulk(g, d, 1.1283791670955126), fy_g1(g, "Exp", fy_g1(g, "Neg", square(g, x)))))
UNARY(sin, mul(g, d, fy_g1(g, "Cos", x)))
UNARY(cos, fy_g1(g, "Neg", mul(g, d, fy_g1(g, "Sin", x))))
UNARY(tan, mul(g, d, add(g, k(g, 1), square(g, y))))
UNARY(asin, divide(g, d, fy_g1(g, "Sqrt", sub(g, k(g, 1), square(g, x)))))
UNARY(acos, fy_g1(g, "Neg", divide(g, d, fy_g1(g, "Sqrt", sub(g, k(g, 1), square(g, x))))))
UNARY(atan, divide(g, d, add(g, k(g, 1), square(g, x))))
UNARY(sinh, mul(g, d, fy_g1(g, "Cosh", x)))
UNARY(cosh, mul(g, d, fy_g1(g, "Sinh", x)))
UNARY(tanh, mul(g, d, sub(g, k(g, 1), square(g, y))))
UNARY(asinh, divide(g, d, fy_g1(g, "Sqrt", add(g, square(g, x), k(g, 1)))))
UNARY(acosh, divide(g, d, fy_g1(g, "Sqrt", sub(g, square(g, x), k(g, 1)))))
UNARY(atanh, divide(g, d, sub(g, k(g, 1), square(g, x))))
UNARY(sigmoid, mul(g, d, mul(g, y, sub(g, k(g, 1), y))))
UNARY(relu, zero_unless(g, above(g, x, 0), d))
UNARY(leaky_relu, pick(g, below(g, x, 0), fy_gmulk(g, d, af(g, "alpha")), d))
UNARY(thresholded_relu, zero_unless(g, above(g, x, af(g, "alpha")), d))
UNARY(elu, mul(g, d, pick(g, below(g, x, 0), fy_gmulk(g, fy_g1(g, "Exp", x), af(g, "alpha")), k(g, 1))))
UNARY(celu, mul(g, d, pick(g, below(g, x, 0), fy_g1(g, "Exp", fy_gmulk(g, x, 1 / af(g, "alpha"))), k(g, 1))))
UNARY(selu, mul(g, fy_gmulk(g, d, af(g, "gamma")), pick(g, above(g, x, 0), k(g, 1), fy_gmulk(g, fy_g1(g, "Exp", x), af(g, "alpha")))))
UNARY(softplus, mul(g, d, sigmoid(g, x)))
UNARY(softsign, divide(g, d, square(g, add(g, k(g, 1), fy_g1(g, "Abs", x)))))
UNARY(swish, mul(g, d, swish(g, x, af(g, "alpha"))))
UNARY(hard_sigmoid, zero_unless(g, fy_g2(g, "And", above(g, y, 0), below(g, y, 1)), fy_gmulk(g, d, af(g, "alpha"))))
UNARY(hard_swish, mul(g, d, pick(g, below(g, x, -3), k(g, 0), pick(g, above(g, x, 3), k(g, 1), add(g, fy_gmulk(g, x, 1.0 / 3), k(g, 0.5))))))

/* x tanh(softplus x) */
static void g_mish(fy_grad *g) {
    fy_value *x = fy_gx(g, 0), *t = fy_g1(g, "Tanh", fy_g1(g, "Softplus", x));
    g->dx[0] = mul(g, fy_gdy(g), add(g, t, mul(g, mul(g, x, sigmoid(g, x)), sub(g, k(g, 1), square(g, t)))));
}

static void g_gelu(fy_grad *g) {
    fy_value *x = fy_gx(g, 0), *one = k(g, 1);
    if (fy_attr_is(g->n, "approximate", "tanh")) {
        const double c = 0.79788456080286535588;
        fy_value *x2 = square(g, x), *t = fy_g1(g, "Tanh", fy_gmulk(g, mul(g, x, add(g, one, fy_gmulk(g, x2, 0.044715))), c));
        fy_value *inner = fy_gmulk(g, add(g, one, fy_gmulk(g, x2, 3 * 0.044715)), c);
        g->dx[0] = mul(g, fy_gmulk(g, fy_gdy(g), 0.5), add(g, add(g, one, t), mul(g, mul(g, x, sub(g, one, square(g, t))), inner)));
        return;
    }
    fy_value *p = fy_gmulk(g, add(g, one, fy_g1(g, "Erf", fy_gmulk(g, x, 0.70710678118654752440))), 0.5);
    fy_value *q = fy_gmulk(g, mul(g, x, fy_g1(g, "Exp", fy_gmulk(g, square(g, x), -0.5))), 0.39894228040143267794);
    g->dx[0] = mul(g, fy_gdy(g), add(g, p, q));
}

static void g_swiglu(fy_grad *g) {
    fy_value *a = fy_gx(g, 0), *d = fy_gdy(g);
    double alpha = af(g, "alpha");
    if (g->want[0]) g->dx[0] = mul(g, mul(g, d, fy_gx(g, 1)), swish(g, a, alpha));
    if (g->want[1]) g->dx[1] = mul(g, d, mul(g, a, sigmoid(g, fy_gmulk(g, a, alpha))));
}

static void g_cast(fy_grad *g) {
    if (fy_gx(g, 0) && fy_dtype_float(fy_gx(g, 0)->type.dtype)) g->dx[0] = fy_b_cast(g->b, fy_gdy(g), fy_gx(g, 0)->type.dtype);
}

/* ---- reductions ---------------------------------------------------------------------------------------------------- */

/* The reduction of x by `op` over the node's axes, axes kept. */
static fy_value *reduced(fy_grad *g, const char *op, fy_value *x) {
    return fy_emit(g->b, op, FY_V(x, fy_gx(g, 1)), FY_A(fy_int("keepdims", 1), fy_int("noop_with_empty_axes", fy_attr_i(g->n, "noop_with_empty_axes"))));
}

static void g_reduce(fy_grad *g) {
    const char *op = g->n->op->name + 6;
    fy_value *x = fy_gx(g, 0), *d = fy_gdy(g), *y = fy_gy(g), *like = reduced(g, "ReduceSum", x), *shape = fy_gshape(g, like);
    d = fy_g2(g, "Reshape", d, shape);
    y = fy_g2(g, "Reshape", y, shape);
    if (!strcmp(op, "Sum")) g->dx[0] = fy_g2(g, "Expand", d, fy_gshape(g, x));
    else if (!strcmp(op, "Mean")) {
        fy_value *n = divide(g, fy_b_cast(g->b, fy_g1(g, "Size", like), x->type.dtype), fy_b_cast(g->b, fy_g1(g, "Size", x), x->type.dtype));
        g->dx[0] = fy_g2(g, "Expand", mul(g, d, n), fy_gshape(g, x));
    } else if (!strcmp(op, "Max") || !strcmp(op, "Min")) {
        fy_value *mask = fy_b_cast(g->b, fy_g2(g, "Equal", x, y), x->type.dtype);
        g->dx[0] = mul(g, mask, divide(g, d, reduced(g, "ReduceSum", mask)));
    } else if (!strcmp(op, "L1")) g->dx[0] = mul(g, d, fy_g1(g, "Sign", x));
    else if (!strcmp(op, "L2")) g->dx[0] = zero_unless(g, fy_g1(g, "Not", fy_g2(g, "Equal", x, k(g, 0))), divide(g, mul(g, d, x), y));
    else if (!strcmp(op, "SumSquare")) g->dx[0] = fy_gmulk(g, mul(g, d, x), 2);
    else if (!strcmp(op, "LogSum")) g->dx[0] = fy_g2(g, "Expand", divide(g, d, like), fy_gshape(g, x));
    else g->dx[0] = mul(g, d, fy_g1(g, "Exp", sub(g, x, y)));                    /* LogSumExp */
}

const fy_grad_rule fy_grad_math[] = {
    {"Add", g_add}, {"Sum", g_add}, {"Mean", g_mean}, {"Sub", g_sub}, {"Mul", g_mul}, {"Div", g_div}, {"Pow", g_pow}, {"Max", g_most},
    {"Min", g_most}, {"Where", g_where}, {"Clip", g_clip}, {"PRelu", g_prelu}, {"Identity", g_identity}, {"Neg", g_neg}, {"Abs", g_abs},
    {"Sqrt", g_sqrt}, {"Reciprocal", g_reciprocal}, {"Exp", g_exp}, {"Log", g_log}, {"Erf", g_erf}, {"Sin", g_sin}, {"Cos", g_cos}, {"Tan", g_tan},
    {"Asin", g_asin}, {"Acos", g_acos}, {"Atan", g_atan}, {"Sinh", g_sinh}, {"Cosh", g_cosh}, {"Tanh", g_tanh}, {"Asinh", g_asinh},
    {"Acosh", g_acosh}, {"Atanh", g_atanh}, {"Sigmoid", g_sigmoid}, {"Relu", g_relu}, {"LeakyRelu", g_leaky_relu},
    {"ThresholdedRelu", g_thresholded_relu}, {"Elu", g_elu}, {"Celu", g_celu}, {"Selu", g_selu}, {"Softplus", g_softplus}, {"Softsign", g_softsign},
    {"Swish", g_swish}, {"HardSigmoid", g_hard_sigmoid}, {"HardSwish", g_hard_swish}, {"Mish", g_mish}, {"Gelu", g_gelu}, {"SwiGLU", g_swiglu},
    {"Cast", g_cast}, {"CastLike", g_cast}, {"ReduceSum", g_reduce}, {"ReduceMean", g_reduce}, {"ReduceMax", g_reduce}, {"ReduceMin", g_reduce},
    {"ReduceL1", g_reduce}, {"ReduceL2", g_reduce}, {"ReduceSumSquare", g_reduce}, {"ReduceLogSum", g_reduce}, {"ReduceLogSumExp", g_reduce},
    {"Floor", g_none}, {"Ceil", g_none}, {"Round", g_none}, {"Sign", g_none}, {"ConstantOfShape", g_none}, {"EyeLike", g_none},
    {"RandomNormalLike", g_none}, {"RandomUniformLike", g_none}, {"Bernoulli", g_none}, {NULL, NULL}};
