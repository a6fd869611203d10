/* SPDX-License-Identifier: Apache-2.0
 * ml_linear.c - LinearClassifier, LinearRegressor: scores [N,E] = x [N,F] coefficients^T [F,E] + intercepts [E], sums in double in
 * the order of the features, then a post transform; the class is that of the greatest score before it. */
#include "ops/ml.h"
#include "ops/move.h"

typedef struct linear {
    fy_ml_x       x;
    fy_ml_floats  weight, bias;
    fy_ml_labels  labels;
    fy_ml_post    post;
    int64_t       targets, columns;
    bool          second;                /* one score, two labels: it becomes two */
    double       *room;                  /* [N, columns] */
    fy_tensor    *label, *score;
} linear;

static void rows(void *arg, int64_t begin, int64_t end) {
    const linear *w = arg;
    for (int64_t r = begin; r < end; r++) {
        const double *x = w->x.at + r * w->x.width;
        double *s = w->room + r * w->columns;
        int64_t best = 0;
        for (int64_t k = 0; k < w->targets; k++) {
            const double *c = w->weight.at + k * w->x.width;
            s[k] = 0;
            for (int64_t i = 0; i < w->x.width; i++) s[k] += x[i] * c[i];
            s[k] += w->bias.n ? w->bias.at[k] : 0;
            if (s[k] > s[best]) best = k;
        }
        if (w->labels.n) fy_ml_put_label(w->label, r, &w->labels, w->targets > 1 ? best : s[0] > 0, w->targets == 1 && w->labels.n != 2);
        if (w->targets > 1) fy_ml_transform(s, w->targets, w->post);
        else if (fy_ml_second(s, w->second ? 1 : -1, w->post) < w->columns) s[1] = 1 - s[0];     /* DIFF: undefined in ONNX Runtime */
        if (w->score) fy_store_f64(w->score, r * w->columns, w->columns, s);
    }
}

static fy_status compute(const fy_call *c, linear *w) {
    int64_t work = w->targets * (w->x.width + 1);
    FY_TRY(fy_ml_product(w->weight.n, w->targets, w->x.width, "coefficients", c->e));
    FY_TRY(fy_ml_room(&w->room, c, w->x.n, w->columns));
    fy_k_for(c, w->x.n, work < FY_K_GRAIN ? FY_K_GRAIN / (work + 1) + 1 : 1, rows, w);
    return FY_OK;
}

/* The coefficients of each target must be as many as the features. */
static fy_status sizes(fy_infer *f, int64_t have, int64_t targets) {
    const fy_dim *n, *width;
    int64_t w;
    FY_TRY(fy_ml_rows(f, &n, &width));
    FY_NEED(f->e, have, ATTR, "coefficients must be given");
    FY_NEED(f->e, targets > 0 && have % targets == 0, ATTR, "%lld coefficients for %lld targets", (long long)have, (long long)targets);
    if (width && fy_dim_known(width, &w)) FY_TRY(fy_ml_product(have, targets, w, "coefficients", f->e));
    return FY_OK;
}

/* ---- LinearClassifier ------------------------------------------------------------------------------------------------ */

/* How many scores: one for each intercept; without them one for each label (one for two), where the coefficients allow it. */
static fy_status shape(linear *w, const fy_node *n, int64_t width, ferry_error *e) {
    w->weight = fy_ml_floats_of(n, "coefficients");
    w->bias = fy_ml_floats_of(n, "intercepts");
    FY_TRY(fy_ml_labels_of(&w->labels, n, "classlabels_strings", "classlabels_ints", e));
    FY_TRY(fy_ml_post_of(&w->post, n, e));
    w->targets = w->bias.n ? w->bias.n : w->labels.n == 2 && width > 0 && w->weight.n == width ? 1 : w->labels.n;
    w->second = w->targets == 1 && w->labels.n == 2;
    w->columns = w->second ? 2 : w->targets;
    FY_NEED(e, w->targets == 1 || w->targets <= w->labels.n, ATTR, "%lld scores for %lld labels", (long long)w->targets, (long long)w->labels.n);
    return FY_OK;
}

static fy_status infer_classifier(fy_infer *f) {
    linear w = {0};
    const fy_dim *n, *width;
    int64_t known = 0;
    FY_TRY(fy_ml_rows(f, &n, &width));
    if (width) (void)fy_dim_known(width, &known);
    FY_TRY(shape(&w, f->node, known, f->e));
    FY_TRY(sizes(f, w.weight.n, w.targets));
    if (!n) n = fy_mv_opaque(f);
    FY_TRY(fy_out_set(f, 0, fy_ml_label_type(&w.labels), 1, &n));
    return fy_out_set(f, 1, FERRY_FLOAT, 2, (const fy_dim *[]){n, fy_mv_const(f, w.columns)});
}

static fy_status ref_classifier(const fy_call *c) {
    linear w = {0};
    FY_TRY(fy_mv_out(c, 0, &w.label));
    FY_TRY(fy_mv_out(c, 1, &w.score));
    FY_TRY(fy_ml_load(&w.x, c));
    FY_TRY(shape(&w, c->node, w.x.width, c->e));
    return compute(c, &w);
}

#define POST {"post_transform", FY_ATTR_STRING, "NONE"}
static const fy_attr_spec classifier_attrs[] = {{"classlabels_ints", FY_ATTR_INTS, NULL}, {"classlabels_strings", FY_ATTR_STRINGS, NULL},
    {"coefficients", FY_ATTR_FLOATS, FY_REQUIRED}, {"intercepts", FY_ATTR_FLOATS, NULL}, {"multi_class", FY_ATTR_INT, "0"}, POST, {0}};
const fy_op fy_op_linear_classifier = {.name = "LinearClassifier", .domain = FY_ML, .attrs = classifier_attrs, .min_in = 1, .max_in = 1, .min_out = 1,
    .max_out = 2, .since = 1, .first = 1, .types = "T=" FY_T_ML ";L=str,i64|T|L,f32", .infer = infer_classifier, .ref = ref_classifier, .flags = FY_PURE};

/* ---- LinearRegressor -------------------------------------------------------------------------------------------------- */

static fy_status infer_regressor(fy_infer *f) {
    fy_ml_post post;
    int64_t targets = fy_attr_i(f->node, "targets"), bias = fy_ml_floats_of(f->node, "intercepts").n;
    FY_TRY(fy_ml_post_of(&post, f->node, f->e));
    FY_NEED(f->e, !bias || bias == targets, ATTR, "%lld intercepts for %lld targets", (long long)bias, (long long)targets);
    FY_TRY(sizes(f, fy_ml_floats_of(f->node, "coefficients").n, targets));
    return fy_ml_out_n(f, 0, FERRY_FLOAT, targets);
}

/* DIFF: of one target alone PROBIT is the only transform that does anything, as in ONNX Runtime. */
static fy_status ref_regressor(const fy_call *c) {
    linear w = {.weight = fy_ml_floats_of(c->node, "coefficients"), .bias = fy_ml_floats_of(c->node, "intercepts"), .targets = fy_attr_i(c->node, "targets")};
    FY_TRY(fy_mv_out(c, 0, &w.score));
    FY_TRY(fy_ml_post_of(&w.post, c->node, c->e));
    FY_TRY(fy_ml_load(&w.x, c));
    w.columns = w.targets;
    return compute(c, &w);
}

static const fy_attr_spec regressor_attrs[] = {{"coefficients", FY_ATTR_FLOATS, NULL}, {"intercepts", FY_ATTR_FLOATS, NULL}, POST,
    {"targets", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_linear_regressor = {.name = "LinearRegressor", .domain = FY_ML, .attrs = regressor_attrs, .min_in = 1, .max_in = 1, .min_out = 1,
    .max_out = 1, .since = 1, .first = 1, .types = "T=" FY_T_ML "|T|f32", .infer = infer_regressor, .ref = ref_regressor, .flags = FY_PURE};
