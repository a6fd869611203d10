/* SPDX-License-Identifier: Apache-2.0
 * ml_svm.c - SVMClassifier, SVMRegressor: support vector machines as libsvm trains them (one against one), or linear ones.
 *
 * Kernels k(x, v): LINEAR x.v, POLY (gamma x.v + coef0)^degree, RBF exp(-gamma |x - v|^2), SIGMOID tanh(gamma x.v + coef0). Classifiers
 * i < j of a machine with V vectors, grouped by class: sum over the vectors of i of coefficient[j - 1] k + over those of j of
 * coefficient[i] k + rho; each gives a vote. Probabilities: Wu, Lin, Weng, "Probability Estimates for Multi-class Classification by
 * Pairwise Coupling", 2004, second method. What the standard leaves open is ONNX Runtime's. */
#include "ops/ml.h"
#include "ops/move.h"

#include <math.h>

typedef struct kernel { char kind; double gamma, coef0, degree; } kernel;      /* kind: Linear, Poly, Rbf, Sigmoid by their first letters */

static fy_status read_kernel(kernel *k, const fy_node *n, ferry_error *e) {
    static const char *const name[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
    fy_ml_floats p = fy_ml_floats_of(n, "kernel_params");
    *k = (kernel){0};
    for (int i = 0; i < FY_COUNT(name); i++)
        if (fy_attr_is(n, "kernel_type", name[i])) k->kind = name[i][0];
    FY_NEED(e, k->kind, ATTR, "kernel_type is none of LINEAR, POLY, RBF, SIGMOID");
    FY_NEED(e, p.n == 0 || p.n >= 3, ATTR, "kernel_params has %lld elements; they are gamma, coef0, degree", (long long)p.n);
    if (p.n) { k->gamma = p.at[0]; k->coef0 = p.at[1]; k->degree = p.at[2]; }
    return FY_OK;
}

static double apply(const kernel *k, const double *x, const double *v, int64_t n) {
    double s = 0;
    if (k->kind == 'R') {
        for (int64_t i = 0; i < n; i++) s += (x[i] - v[i]) * (x[i] - v[i]);
        return exp(-k->gamma * s);
    }
    for (int64_t i = 0; i < n; i++) s += x[i] * v[i];
    if (k->kind == 'L') return s;
    s = k->gamma * s + k->coef0;
    return k->kind == 'S' ? tanh(s) : pow(s, k->degree);
}

typedef struct svm {
    fy_ml_x      x;
    kernel       k;
    fy_ml_floats coef, rho, vector, a, b;     /* a, b: prob_a, prob_b */
    fy_ml_ints   per_class;
    fy_ml_labels labels;
    fy_ml_post   post;
    int64_t      vectors, classes, pairs, columns;
    int64_t     *start;                       /* first vector of each class */
    bool         positive;                    /* no coefficient is negative */
    fy_tensor   *label, *score;
    double      *room;                        /* `each` doubles for each row */
    int64_t      each;
} svm;

/* ---- sizes ------------------------------------------------------------------------------------------------------------- */

static fy_status count_vectors(svm *w, ferry_error *e) {
    for (int64_t i = 0; i < w->per_class.n; i++)
        FY_NEED(e, w->per_class.at[i] >= 0 && fy_add_i64(&w->vectors, w->vectors, w->per_class.at[i]), ATTR, "vectors_per_class holds %lld",
                (long long)w->per_class.at[i]);
    return FY_OK;
}

static fy_status read_classifier(svm *w, const fy_node *n, ferry_error *e) {
    FY_TRY(read_kernel(&w->k, n, e));
    FY_TRY(fy_ml_post_of(&w->post, n, e));
    FY_TRY(fy_ml_labels_of(&w->labels, n, "classlabels_strings", "classlabels_ints", e));
    w->coef = fy_ml_floats_of(n, "coefficients");
    w->rho = fy_ml_floats_of(n, "rho");
    w->vector = fy_ml_floats_of(n, "support_vectors");
    w->a = fy_ml_floats_of(n, "prob_a");
    w->b = fy_ml_floats_of(n, "prob_b");
    w->per_class = fy_ml_ints_of(n, "vectors_per_class");
    w->classes = w->labels.n;
    FY_NEED(e, w->classes < 65536, LIMIT, "%lld classes are too many", (long long)w->classes);
    w->pairs = w->classes * (w->classes - 1) / 2;
    FY_TRY(count_vectors(w, e));
    FY_NEED(e, w->coef.n && w->rho.n, ATTR, "coefficients and rho must be given");
    FY_NEED(e, w->a.n == w->b.n, ATTR, "prob_a has %lld elements, prob_b %lld", (long long)w->a.n, (long long)w->b.n);
    if (!w->vectors) {                                                  /* a linear machine: [classes, F] */
        w->k = (kernel){.kind = 'L'};
        w->columns = w->classes;
        FY_NEED(e, w->coef.n % w->classes == 0, ATTR, "%lld coefficients for %lld classes", (long long)w->coef.n, (long long)w->classes);
        return FY_OK;
    }
    FY_NEED(e, w->classes > 1 && w->per_class.n == w->classes, ATTR, "vectors_per_class has %lld elements for %lld classes", (long long)w->per_class.n,
            (long long)w->classes);
    FY_TRY(fy_ml_product(w->coef.n, w->classes - 1, w->vectors, "coefficients", e));
    FY_NEED(e, w->vector.n % w->vectors == 0, ATTR, "support_vectors has %lld elements for %lld vectors", (long long)w->vector.n, (long long)w->vectors);
    FY_NEED(e, w->rho.n >= w->pairs, ATTR, "rho has %lld elements for %lld pairs of classes", (long long)w->rho.n, (long long)w->pairs);
    FY_NEED(e, !w->a.n || w->a.n >= w->pairs, ATTR, "prob_a has %lld elements for %lld pairs of classes", (long long)w->a.n, (long long)w->pairs);
    w->columns = w->a.n || w->classes == 2 ? w->classes : w->pairs;
    return FY_OK;
}

/* The features that the attributes are for: `have` numbers, `n` machines or vectors. */
static fy_status fits(fy_infer *f, int64_t have, int64_t n, const char *what) {
    const fy_dim *rows, *width;
    int64_t w;
    FY_TRY(fy_ml_rows(f, &rows, &width));
    return width && fy_dim_known(width, &w) ? fy_ml_product(have, n, w, what, f->e) : FY_OK;
}

/* ---- SVMClassifier ------------------------------------------------------------------------------------------------------ */

/* Votes of all classifiers and their scores from the kernels of one row. */
static void vote(const svm *w, const double *k, double *score, double *votes) {
    int64_t at = 0;
    for (int64_t i = 0; i < w->classes; i++) votes[i] = 0;
    for (int64_t i = 0; i + 1 < w->classes; i++)
        for (int64_t j = i + 1; j < w->classes; j++) {
            const double *ci = w->coef.at + (j - 1) * w->vectors, *cj = w->coef.at + i * w->vectors;
            double s = 0;
            for (int64_t v = w->start[i]; v < w->start[i] + w->per_class.at[i]; v++) s += ci[v] * k[v];
            for (int64_t v = w->start[j]; v < w->start[j] + w->per_class.at[j]; v++) s += cj[v] * k[v];
            s += w->rho.at[at];
            score[at++] = s;
            votes[s > 0 ? i : j]++;
        }
}

/* p[n] from pairwise probabilities r[n,n]; q[n,n] and qp[n] are scratch. */
static void couple(double *p, const double *r, double *q, double *qp, int64_t n) {
    double eps = 0.005 / (double)n;
    for (int64_t i = 0; i < n; i++) {
        p[i] = 1 / (double)n;
        q[i * n + i] = 0;
        for (int64_t j = 0; j < n; j++) {
            if (j == i) continue;
            q[i * n + i] += r[j * n + i] * r[j * n + i];
            q[i * n + j] = j < i ? q[j * n + i] : -r[j * n + i] * r[i * n + j];
        }
    }
    for (int loop = 0; loop < 100; loop++) {
        double pqp = 0, worst = 0;
        for (int64_t i = 0; i < n; i++) {
            qp[i] = 0;
            for (int64_t j = 0; j < n; j++) qp[i] += q[i * n + j] * p[j];
            pqp += p[i] * qp[i];
        }
        for (int64_t i = 0; i < n; i++) worst = fmax(worst, fabs(qp[i] - pqp));
        if (worst < eps) return;
        for (int64_t i = 0; i < n; i++) {
            double d = (pqp - qp[i]) / q[i * n + i];
            p[i] += d;
            pqp = (pqp + d * (d * q[i * n + i] + 2 * qp[i])) / (1 + d) / (1 + d);
            for (int64_t j = 0; j < n; j++) {
                qp[j] = (qp[j] + d * q[i * n + j]) / (1 + d);
                p[j] /= 1 + d;
            }
        }
    }
}

static void probabilities(const svm *w, const double *score, double *p, double *room) {
    int64_t n = w->classes, at = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++, at++) {
            double v = 1 - fy_ml_logistic(score[at] * w->a.at[at] + w->b.at[at]);
            v = fmin(fmax(v, 1e-7), 1 - 1e-7);
            room[i * n + j] = v;
            room[j * n + i] = 1 - v;
        }
    couple(p, room, room + n * n, room + 2 * n * n, n);
}

static int64_t greatest(const double *v, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

/* A linear machine of two classes takes the second as soon as its greatest score is positive (or at least one half where no
 * coefficient is negative), whoever has it: ONNX Runtime's rule. */
static void linear_row(const svm *w, const double *x, double *score, int64_t r) {
    int64_t width = w->x.width;
    for (int64_t k = 0; k < w->classes; k++) score[k] = apply(&w->k, x, w->coef.at + k * width, width) + w->rho.at[0];
    int64_t best = greatest(score, w->classes);
    double top = score[best];
    if (w->classes == 2 && !w->a.n && (w->positive ? top >= 0.5 : top > 0)) best = 1;
    fy_ml_put_label(w->label, r, &w->labels, best, false);
    fy_ml_transform(score, w->classes, w->post);
}

static void classify(void *arg, int64_t begin, int64_t end) {
    const svm *w = arg;
    for (int64_t r = begin; r < end; r++) {
        const double *x = w->x.at + r * w->x.width;
        double *out = w->room + r * w->each, *k = out + w->columns, *score = k + w->vectors, *votes = score + w->pairs;
        if (!w->vectors) linear_row(w, x, out, r);
        else {
            for (int64_t v = 0; v < w->vectors; v++) k[v] = apply(&w->k, x, w->vector.at + v * w->x.width, w->x.width);
            vote(w, k, score, votes);
            fy_ml_put_label(w->label, r, &w->labels, greatest(votes, w->classes), false);
            if (w->a.n) probabilities(w, score, out, votes + w->classes);
            else for (int64_t i = 0; i < w->pairs; i++) out[i] = score[i];
            if (w->a.n || w->pairs > 1) fy_ml_transform(out, w->columns, w->post);
            else if (fy_ml_second(out, w->post == FY_POST_NONE ? 2 : 0, w->post) < 2) out[1] = 1 - out[0];      /* DIFF: undefined in ONNX Runtime */
        }
        if (w->score) fy_store_f64(w->score, r * w->columns, w->columns, out);
    }
}

static fy_status infer_classifier(fy_infer *f) {
    svm w = {0};
    const fy_dim *n, *width;
    FY_TRY(read_classifier(&w, f->node, f->e));
    FY_TRY(fits(f, w.vectors ? w.vector.n : w.coef.n, w.vectors ? w.vectors : w.classes, w.vectors ? "support_vectors" : "coefficients"));
    FY_TRY(fy_ml_rows(f, &n, &width));
    if (!n) n = fy_mv_opaque(f);
    FY_TRY(fy_out_set(f, 0, fy_ml_label_type(&w.labels), 1, &n));
    return fy_out_set(f, 1, FERRY_FLOAT, 2, (const fy_dim *[]){n, fy_mv_const(f, w.columns)});
}

static fy_status ref_classifier(const fy_call *c) {
    svm w = {0};
    FY_TRY(fy_mv_out(c, 0, &w.label));
    FY_TRY(fy_mv_out(c, 1, &w.score));
    FY_TRY(fy_ml_load(&w.x, c));
    FY_TRY(read_classifier(&w, c->node, c->e));
    FY_TRY(fy_ml_product(w.vectors ? w.vector.n : w.coef.n, w.vectors ? w.vectors : w.classes, w.x.width, "support_vectors or coefficients", c->e));
    FY_NOMEM(c->e, w.start = FY_NEWN(c->scratch, int64_t, w.classes + 1));
    for (int64_t i = 0; w.vectors && i < w.classes; i++) w.start[i + 1] = w.start[i] + w.per_class.at[i];
    w.positive = true;
    for (int64_t i = 0; i < w.coef.n; i++) w.positive = w.positive && w.coef.at[i] >= 0;
    w.each = w.columns + w.vectors + w.pairs + w.classes + (w.a.n ? 2 * w.classes * w.classes + w.classes : 0);
    FY_TRY(fy_ml_room(&w.room, c, w.x.n, w.each));
    fy_k_for(c, w.x.n, 16, classify, &w);
    return FY_OK;
}

#define POST {"post_transform", FY_ATTR_STRING, "NONE"}
#define KERNEL {"kernel_params", FY_ATTR_FLOATS, NULL}, {"kernel_type", FY_ATTR_STRING, "LINEAR"}
static const fy_attr_spec classifier_attrs[] = {{"classlabels_ints", FY_ATTR_INTS, NULL}, {"classlabels_strings", FY_ATTR_STRINGS, NULL},
    {"coefficients", FY_ATTR_FLOATS, NULL}, KERNEL, POST, {"prob_a", FY_ATTR_FLOATS, NULL}, {"prob_b", FY_ATTR_FLOATS, NULL}, {"rho", FY_ATTR_FLOATS, NULL},
    {"support_vectors", FY_ATTR_FLOATS, NULL}, {"vectors_per_class", FY_ATTR_INTS, NULL}, {0}};
const fy_op fy_op_svm_classifier = {.name = "SVMClassifier", .domain = FY_ML, .attrs = classifier_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 2,
    .since = 1, .first = 1, .types = "T=" FY_T_ML ";L=str,i64|T|L,f32", .infer = infer_classifier, .ref = ref_classifier, .flags = FY_PURE};

/* ---- SVMRegressor -------------------------------------------------------------------------------------------------------- */

static fy_status read_regressor(svm *w, const fy_node *n, ferry_error *e) {
    FY_TRY(read_kernel(&w->k, n, e));
    FY_TRY(fy_ml_post_of(&w->post, n, e));
    w->coef = fy_ml_floats_of(n, "coefficients");
    w->rho = fy_ml_floats_of(n, "rho");
    w->vector = fy_ml_floats_of(n, "support_vectors");
    w->vectors = fy_attr_i(n, "n_supports");
    FY_NEED(e, w->vectors >= 0, ATTR, "n_supports is %lld", (long long)w->vectors);
    FY_NEED(e, w->coef.n && w->rho.n, ATTR, "coefficients and rho must be given");
    FY_NEED(e, !w->vectors || w->coef.n == w->vectors, ATTR, "%lld coefficients for %lld vectors", (long long)w->coef.n, (long long)w->vectors);
    FY_NEED(e, !w->vectors || w->vector.n % w->vectors == 0, ATTR, "support_vectors has %lld elements for %lld vectors", (long long)w->vector.n,
            (long long)w->vectors);
    if (!w->vectors) w->k = (kernel){.kind = 'L'};
    return FY_OK;
}

static fy_status infer_regressor(fy_infer *f) {
    svm w = {0};
    FY_TRY(read_regressor(&w, f->node, f->e));
    FY_TRY(fits(f, w.vectors ? w.vector.n : w.coef.n, w.vectors ? w.vectors : 1, w.vectors ? "support_vectors" : "coefficients"));
    return fy_ml_out_n(f, 0, FERRY_FLOAT, 1);
}

typedef struct regress { const svm *w; bool one_class; } regress;

static void predict(void *arg, int64_t begin, int64_t end) {
    const regress *g = arg;
    const svm *w = g->w;
    int64_t width = w->x.width;
    for (int64_t r = begin; r < end; r++) {
        const double *x = w->x.at + r * width;
        double s = 0;
        for (int64_t v = 0; v < w->vectors; v++) s += w->coef.at[v] * apply(&w->k, x, w->vector.at + v * width, width);
        if (!w->vectors) s = apply(&w->k, x, w->coef.at, width);
        s += w->rho.at[0];
        fy_put_f64(w->score, r, g->one_class ? s > 0 ? 1 : -1 : s);
    }
}

/* DIFF: post_transform changes nothing, as in ONNX Runtime: there is one score. */
static fy_status ref_regressor(const fy_call *c) {
    svm w = {0};
    FY_TRY(fy_mv_out(c, 0, &w.score));
    if (!w.score) return FY_OK;
    FY_TRY(fy_ml_load(&w.x, c));
    FY_TRY(read_regressor(&w, c->node, c->e));
    FY_TRY(fy_ml_product(w.vectors ? w.vector.n : w.coef.n, w.vectors ? w.vectors : 1, w.x.width, "support_vectors or coefficients", c->e));
    regress g = {&w, fy_attr_i(c->node, "one_class") != 0};
    fy_k_for(c, w.x.n, 64, predict, &g);
    return FY_OK;
}

static const fy_attr_spec regressor_attrs[] = {{"coefficients", FY_ATTR_FLOATS, NULL}, KERNEL, {"n_supports", FY_ATTR_INT, "0"},
    {"one_class", FY_ATTR_INT, "0"}, POST, {"rho", FY_ATTR_FLOATS, NULL}, {"support_vectors", FY_ATTR_FLOATS, NULL}, {0}};
const fy_op fy_op_svm_regressor = {.name = "SVMRegressor", .domain = FY_ML, .attrs = regressor_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 1, .first = 1, .types = "T=" FY_T_ML "|T|f32", .infer = infer_regressor, .ref = ref_regressor, .flags = FY_PURE};
