/* SPDX-License-Identifier: Apache-2.0
 * optim.c - Adagrad, Adam, Momentum: one step of an optimiser over any number of tensors, each on its own. Gradient as a name
 * alone: opset/gradient.c writes it out as a model is raised.
 * With g = G + norm_coefficient X, R the learning rate, T the number of the step:
 *     Adagrad   H' = H + g^2                X' = X - R / (1 + T decay_factor) g / (sqrt H' + epsilon)
 *     Momentum  V' = alpha V + b g          X' = X - R V'; nesterov: X' = X - R (g + alpha V');  b is beta, but 1 where T <= 0
 *     Adam      V' = alpha V + (1 - alpha) g, H' = beta H + (1 - beta) g^2
 *               X' = (1 - norm_coefficient_post) (X - r V' / (sqrt H' + epsilon)), r = R sqrt(1 - beta^T) / (1 - alpha^T), but R where T <= 0
 * Inputs   R, T, then all X, all G, all accumulators in the order of the formulas; outputs all X', then all accumulators'.
 * Shapes   those of one tensor's X, G, V, H are equal. Computed in double, rounded once.
 * Sources  ONNX ai.onnx.preview.training, version 1. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

#define MOST 3                           /* tensors that a step changes: X, V, H */

static int kept(const fy_node *n) { return strcmp(n->op->name, "Adam") == 0 ? 3 : 2; }

/* How many tensors are optimised. */
static fy_status tensors(int *n, const fy_node *node, int nin, int nout, ferry_error *e) {
    int groups = kept(node) + 1;
    *n = (nin - 2) / groups;
    FY_NEED(e, nin > 2 && (nin - 2) % groups == 0, GRAPH, "%s takes a rate, a count and %d inputs for each tensor, not %d in all", node->op->name, groups, nin);
    FY_NEED(e, nout <= *n * kept(node), GRAPH, "%s has %d outputs for each tensor, not %d in all", node->op->name, kept(node), nout);
    return FY_OK;
}

/* Input that group k of tensor i is (group 0: X, 1: G, 2 and on: accumulators); group of outputs likewise, without G. */
static int input(int n, int i, int group) { return 2 + group * n + i; }

static fy_status infer_step(fy_infer *f) {
    int n, rank;
    FY_TRY(tensors(&n, f->node, f->nin, f->nout, f->e));
    for (int i = 0; i < 2; i++) {
        int64_t d;
        FY_TRY(fy_k_rank(f, i, 0, 1, &rank));
        FY_NEED(f->e, rank != 1 || !fy_dim_known(fy_in_dim(f, i, 0), &d) || d == 1, SHAPE, "%s is not a scalar", i ? "the update count" : "the learning rate");
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k <= kept(f->node); k++) {
            int x = input(n, i, 0), at = input(n, i, k);
            fy_dtype t = fy_in_dtype(f, at);
            FY_NEED(f->e, !t || t == FERRY_FLOAT || t == FERRY_DOUBLE, TYPE, "input %d is %s; f32 or f64 is needed", at, fy_dtype_name(t));
            rank = fy_in_rank(f, x);
            if (rank >= 0) FY_TRY(fy_k_rank(f, at, rank, rank, &rank));
            for (int d = 0; d < rank; d++) FY_TRY(fy_k_agree(f, fy_in_dim(f, x, d), fy_in_dim(f, at, d), "sizes of a tensor, its gradient and its state"));
            if (k != 1) FY_TRY(fy_out_like(f, (k ? k - 1 : 0) * n + i, at));
        }
    return FY_OK;
}

typedef struct job {
    const fy_tensor *in[MOST + 1];       /* X, G, V, H */
    fy_tensor       *out[MOST];
    double           rate, norm, post, alpha, beta, epsilon;
    void           (*step)(const struct job *w, double *const *v, int64_t n);
} job;

static void adagrad(const job *w, double *const *v, int64_t n) {
    double *x = v[0], *g = v[1], *h = v[2];
    for (int64_t i = 0; i < n; i++) {
        double r = w->norm * x[i] + g[i];
        h[i] += r * r;
        x[i] -= w->rate * r / (sqrt(h[i]) + w->epsilon);
    }
}

static void standard(const job *w, double *const *v, int64_t n) {
    double *x = v[0], *g = v[1], *m = v[2];
    for (int64_t i = 0; i < n; i++) {
        m[i] = w->alpha * m[i] + w->beta * (w->norm * x[i] + g[i]);
        x[i] -= w->rate * m[i];
    }
}

static void nesterov(const job *w, double *const *v, int64_t n) {
    double *x = v[0], *g = v[1], *m = v[2];
    for (int64_t i = 0; i < n; i++) {
        double r = w->norm * x[i] + g[i];
        m[i] = w->alpha * m[i] + w->beta * r;
        x[i] -= w->rate * (r + w->alpha * m[i]);
    }
}

static void adam(const job *w, double *const *v, int64_t n) {
    double *x = v[0], *g = v[1], *m = v[2], *h = v[3];
    for (int64_t i = 0; i < n; i++) {
        double r = w->norm * x[i] + g[i];
        m[i] = w->alpha * m[i] + (1 - w->alpha) * r;
        h[i] = w->beta * h[i] + (1 - w->beta) * r * r;
        x[i] = (1 - w->post) * (x[i] - w->rate * m[i] / (sqrt(h[i]) + w->epsilon));
    }
}

static void range(void *arg, int64_t begin, int64_t end) {
    const job *w = arg;
    double buf[MOST + 1][FY_K_BLOCK], *v[MOST + 1] = {buf[0], buf[1], buf[2], buf[3]};
    for (int64_t at = begin; at < end; at += FY_K_BLOCK) {
        int64_t n = end - at < FY_K_BLOCK ? end - at : FY_K_BLOCK;
        for (int k = 0; k <= MOST && w->in[k]; k++) fy_load_f64(v[k], w->in[k], at, n);
        w->step(w, v, n);
        for (int k = 0; k < MOST; k++)
            if (w->out[k]) fy_store_f64(w->out[k], at, n, v[k ? k + 1 : 0]);
    }
}

static fy_status run(const fy_call *c, job *w) {
    int n, groups = kept(c->node);
    FY_TRY(tensors(&n, c->node, c->nin, c->nout, c->e));
    for (int i = 0; i < n; i++) {
        for (int k = 0; k <= groups; k++) FY_NEED(c->e, w->in[k] = fy_arg(c, input(n, i, k)), GRAPH, "input %d is left out", input(n, i, k));
        for (int k = 0; k < groups; k++) w->out[k] = fy_res(c, k * n + i);
        fy_k_for(c, fy_count(w->in[0]), FY_K_GRAIN, range, w);
    }
    return FY_OK;
}

static double rate(const fy_call *c) { return fy_get_f64(fy_arg(c, 0), 0); }
static int64_t count(const fy_call *c) { return fy_get_i64(fy_arg(c, 1), 0); }

static fy_status ref_adagrad(const fy_call *c) {
    job w = {.step = adagrad, .norm = fy_attr_f(c->node, "norm_coefficient"), .epsilon = fy_attr_f(c->node, "epsilon"),
             .rate = rate(c) / (1 + (double)count(c) * fy_attr_f(c->node, "decay_factor"))};
    return run(c, &w);
}

static fy_status ref_momentum(const fy_call *c) {
    job w = {.norm = fy_attr_f(c->node, "norm_coefficient"), .alpha = fy_attr_f(c->node, "alpha"),
             .beta = count(c) > 0 ? fy_attr_f(c->node, "beta") : 1, .rate = rate(c)};
    bool plain = fy_attr_is(c->node, "mode", "standard");
    FY_NEED(c->e, plain || fy_attr_is(c->node, "mode", "nesterov"), ATTR, "mode is neither standard nor nesterov");
    w.step = plain ? standard : nesterov;
    return run(c, &w);
}

static fy_status ref_adam(const fy_call *c) {
    job w = {.step = adam, .norm = fy_attr_f(c->node, "norm_coefficient"), .post = fy_attr_f(c->node, "norm_coefficient_post"), .alpha = fy_attr_f(c->node, "alpha"),
             .beta = fy_attr_f(c->node, "beta"), .epsilon = fy_attr_f(c->node, "epsilon"), .rate = rate(c)};
    double t = (double)count(c);
    if (t > 0) w.rate = w.rate * sqrt(1 - pow(w.beta, t)) / (1 - pow(w.alpha, t));
    return run(c, &w);
}

#define NORM {"norm_coefficient", FY_ATTR_FLOAT, "0"}
#define EPSILON {"epsilon", FY_ATTR_FLOAT, "1e-06"}
static const fy_attr_spec adagrad_attrs[] = {NORM, EPSILON, {"decay_factor", FY_ATTR_FLOAT, "0"}, {0}};
static const fy_attr_spec adam_attrs[] = {NORM, EPSILON, {"norm_coefficient_post", FY_ATTR_FLOAT, "0"}, {"alpha", FY_ATTR_FLOAT, "0.9"},
    {"beta", FY_ATTR_FLOAT, "0.999"}, {0}};
static const fy_attr_spec momentum_attrs[] = {{"norm_coefficient", FY_ATTR_FLOAT, FY_REQUIRED}, {"alpha", FY_ATTR_FLOAT, FY_REQUIRED},
    {"beta", FY_ATTR_FLOAT, FY_REQUIRED}, {"mode", FY_ATTR_STRING, FY_REQUIRED}, {0}};
#define TRAINING(var, Name)                                                                                       \
    const fy_op fy_op_##var = {.name = Name, .domain = "ai.onnx.preview.training", .attrs = var##_attrs, .min_in = 3, .max_in = -1, \
        .min_out = 1, .max_out = -1, .first = 1, .since = 1, .types = "R=f32,f64|R,i64,*,...|*,...", .infer = infer_step, .ref = ref_##var, .flags = FY_PURE};
TRAINING(adagrad, "Adagrad")
TRAINING(adam, "Adam")
TRAINING(momentum, "Momentum")

/* ---- Gradient ------------------------------------------------------------------------------------------------------ */

static fy_status infer_gradient(fy_infer *f) {
    for (int i = 0; i < f->nout; i++) FY_TRY(fy_out_like(f, i, i));
    return FY_OK;
}
static const fy_attr_spec gradient_attrs[] = {{"xs", FY_ATTR_STRINGS, FY_REQUIRED}, {"y", FY_ATTR_STRING, FY_REQUIRED}, {"zs", FY_ATTR_STRINGS, NULL}, {0}};
const fy_op fy_op_gradient = {.name = "Gradient", .domain = "ai.onnx.preview.training", .attrs = gradient_attrs, .min_in = 1, .max_in = -1, .min_out = 1,
    .max_out = -1, .first = 1, .since = 1, .infer = infer_gradient, .flags = FY_PURE};
