/* SPDX-License-Identifier: Apache-2.0
 * ml_ensemble.c - TreeEnsemble, TreeEnsembleRegressor, TreeEnsembleClassifier: the votes of the leaves that a row reaches, added up
 * (or averaged over the trees, or their least or greatest) for each target in the order of the trees, plus base values, through a
 * post transform. Reading and walking trees: ml_tree.c. Rows are independent, so the work is split over them. */
#include "ops/ml_tree.h"
#include "ops/move.h"

#include <string.h>

typedef enum how { AVERAGE, SUM, MIN, MAX } how;             /* as TreeEnsemble numbers them */

typedef struct ensemble {
    fy_forest    f;
    fy_ml_x      x;
    fy_ml_floats base;
    fy_ml_labels labels;
    fy_ml_post   post;
    how          how;
    bool         binary, positive;       /* classifier: one class id in all votes, two labels; no vote is negative */
    double      *room;                   /* [N, targets, at least 2]: scores */
    uint8_t     *voted;                  /* the same: has this target got a vote? */
    int64_t      columns;
    fy_tensor   *label, *score;
} ensemble;

static void add_up(const ensemble *w, const double *x, double *s, uint8_t *has) {
    for (int64_t t = 0; t < w->f.trees; t++) {
        int64_t leaf = fy_forest_leaf(&w->f, t, x);
        for (int64_t i = w->f.first[leaf]; i < w->f.first[leaf + 1]; i++) {
            const fy_tree_vote *v = &w->f.vote[i];
            double *to = &s[v->target];
            if (w->how == SUM || w->how == AVERAGE) *to += v->weight;
            else if (!has[v->target] || (w->how == MIN ? v->weight < *to : v->weight > *to)) *to = v->weight;
            has[v->target] = 1;
        }
    }
}

static void regress(void *arg, int64_t begin, int64_t end) {
    const ensemble *w = arg;
    for (int64_t r = begin; r < end; r++) {
        double *s = w->room + r * w->columns;
        add_up(w, w->x.at + r * w->x.width, s, w->voted + r * w->columns);
        for (int64_t k = 0; k < w->columns; k++) {
            if (w->how == AVERAGE && w->f.trees) s[k] /= (double)w->f.trees;
            s[k] += w->base.n ? w->base.at[k] : 0;
        }
        fy_ml_transform(s, w->columns, w->post);
        fy_store_f64(w->score, r * w->columns, w->columns, s);
    }
}

/* Memory for the scores, the width of the rows against the trees, base values against the targets. */
static fy_status prepare(const fy_call *c, ensemble *w) {
    FY_TRY(fy_ml_load(&w->x, c));
    FY_NEED(c->e, w->f.features <= w->x.width, SHAPE, "the trees read feature %lld; the input has %lld", (long long)(w->f.features - 1), (long long)w->x.width);
    FY_TRY(fy_ml_room(&w->room, c, w->x.n, w->columns));
    FY_NOMEM(c->e, w->voted = FY_NEWN(c->scratch, uint8_t, w->x.n * w->columns));
    return FY_OK;
}

static int64_t grain(const ensemble *w) { return w->f.trees < FY_K_GRAIN / 16 ? FY_K_GRAIN / (16 * (w->f.trees + 1)) + 1 : 1; }

static fy_status run_regressor(const fy_call *c, ensemble *w) {
    w->columns = w->f.targets;
    FY_NEED(c->e, !w->base.n || w->base.n == w->f.targets, ATTR, "%lld base values for %lld targets", (long long)w->base.n, (long long)w->f.targets);
    FY_TRY(prepare(c, w));
    fy_k_for(c, w->x.n, grain(w), regress, w);
    return FY_OK;
}

/* ---- TreeEnsembleRegressor ------------------------------------------------------------------------------------------------ */

static fy_status how_of(how *h, const fy_node *n, ferry_error *e) {
    static const char *const name[] = {"AVERAGE", "SUM", "MIN", "MAX"};
    for (int i = 0; i < FY_COUNT(name); i++)
        if (fy_attr_is(n, "aggregate_function", name[i])) { *h = (how)i; return FY_OK; }
    return fy_fail(e, FY_E_ATTR, "aggregate_function is none of AVERAGE, SUM, MIN, MAX");
}

static fy_status targets_of(int64_t *n, const fy_node *node, ferry_error *e) {
    *n = fy_attr_i(node, "n_targets");
    FY_NEED(e, *n > 0 && *n < (int64_t)1 << 32, ATTR, "n_targets is %lld", (long long)*n);
    return FY_OK;
}

static fy_status infer_regressor(fy_infer *f) {
    int64_t n;
    how h;
    fy_ml_post p;
    FY_TRY(targets_of(&n, f->node, f->e));
    FY_TRY(how_of(&h, f->node, f->e));
    FY_TRY(fy_ml_post_of(&p, f->node, f->e));
    return fy_ml_out_n(f, 0, FERRY_FLOAT, n);
}

/* DIFF: of one target alone PROBIT is the only transform that does anything, as in ONNX Runtime. */
static fy_status ref_regressor(const fy_call *c) {
    ensemble w = {.how = SUM};
    int64_t n;
    FY_TRY(fy_mv_out(c, 0, &w.score));
    if (!w.score) return FY_OK;
    FY_TRY(targets_of(&n, c->node, c->e));
    FY_TRY(how_of(&w.how, c->node, c->e));
    FY_TRY(fy_ml_post_of(&w.post, c->node, c->e));
    FY_TRY(fy_forest_v3(&w.f, c, "target", n));
    FY_TRY(fy_ml_numbers(&w.base, c, "base_values", "base_values_as_tensor"));
    return run_regressor(c, &w);
}

#define NODES(kind)                                                                                                                                  \
    {"nodes_treeids", FY_ATTR_INTS, NULL}, {"nodes_nodeids", FY_ATTR_INTS, NULL},                                                                    \
    {"nodes_featureids", FY_ATTR_INTS, NULL}, {"nodes_modes", FY_ATTR_STRINGS, NULL},                                                                \
    {"nodes_values", FY_ATTR_FLOATS, NULL}, {"nodes_values_as_tensor", FY_ATTR_TENSOR, NULL},                                                        \
    {"nodes_truenodeids", FY_ATTR_INTS, NULL}, {"nodes_falsenodeids", FY_ATTR_INTS, NULL},                                                           \
    {"nodes_missing_value_tracks_true", FY_ATTR_INTS, NULL},                                                                                         \
    {"nodes_hitrates", FY_ATTR_FLOATS, NULL}, {"nodes_hitrates_as_tensor", FY_ATTR_TENSOR, NULL},                                                    \
    {kind "_treeids", FY_ATTR_INTS, NULL}, {kind "_nodeids", FY_ATTR_INTS, NULL},                                                                    \
    {kind "_ids", FY_ATTR_INTS, NULL}, {kind "_weights", FY_ATTR_FLOATS, NULL},                                                                      \
    {kind "_weights_as_tensor", FY_ATTR_TENSOR, NULL}, {"base_values", FY_ATTR_FLOATS, NULL},                                                        \
    {"base_values_as_tensor", FY_ATTR_TENSOR, NULL}, {"post_transform", FY_ATTR_STRING, "NONE"}
static const fy_attr_spec regressor_attrs[] = {NODES("target"), {"aggregate_function", FY_ATTR_STRING, "SUM"}, {"n_targets", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_tree_ensemble_regressor = {.name = "TreeEnsembleRegressor", .domain = FY_ML, .attrs = regressor_attrs, .min_in = 1, .max_in = 1,
    .min_out = 1, .max_out = 1, .since = 3, .first = 1, .types = "T=" FY_T_ML "|T|f32", .infer = infer_regressor, .ref = ref_regressor, .flags = FY_PURE};

/* ---- TreeEnsemble: the form of version 5 ------------------------------------------------------------------------------------- */

static fy_status choices_v5(ensemble *w, const fy_node *n, ferry_error *e) {
    int64_t h = fy_attr_i(n, "aggregate_function"), p = fy_attr_i(n, "post_transform");
    FY_NEED(e, h >= AVERAGE && h <= MAX, ATTR, "aggregate_function is %lld", (long long)h);
    FY_NEED(e, p >= FY_POST_NONE && p <= FY_POST_PROBIT, ATTR, "post_transform is %lld", (long long)p);
    w->how = (how)h;
    w->post = (fy_ml_post)p;
    return FY_OK;
}

static fy_status infer_ensemble(fy_infer *f) {
    int64_t n;
    ensemble w;
    FY_TRY(targets_of(&n, f->node, f->e));
    FY_TRY(choices_v5(&w, f->node, f->e));
    return fy_ml_out_n(f, 0, fy_in_dtype(f, 0), n);
}

/* DIFF: the onnx package does not apply post_transform; ONNX Runtime takes 1 for LOGISTIC and 2 for SOFTMAX, against the standard. */
static fy_status ref_ensemble(const fy_call *c) {
    ensemble w = {.how = SUM};
    int64_t n;
    FY_TRY(fy_mv_out(c, 0, &w.score));
    if (!w.score) return FY_OK;
    FY_TRY(targets_of(&n, c->node, c->e));
    FY_TRY(choices_v5(&w, c->node, c->e));
    FY_TRY(fy_forest_v5(&w.f, c));
    return run_regressor(c, &w);
}

static const fy_attr_spec ensemble_attrs[] = {{"tree_roots", FY_ATTR_INTS, FY_REQUIRED}, {"nodes_featureids", FY_ATTR_INTS, FY_REQUIRED},
    {"nodes_modes", FY_ATTR_TENSOR, FY_REQUIRED}, {"nodes_splits", FY_ATTR_TENSOR, FY_REQUIRED}, {"nodes_truenodeids", FY_ATTR_INTS, FY_REQUIRED},
    {"nodes_trueleafs", FY_ATTR_INTS, FY_REQUIRED}, {"nodes_falsenodeids", FY_ATTR_INTS, FY_REQUIRED}, {"nodes_falseleafs", FY_ATTR_INTS, FY_REQUIRED},
    {"nodes_missing_value_tracks_true", FY_ATTR_INTS, NULL}, {"nodes_hitrates", FY_ATTR_TENSOR, NULL}, {"membership_values", FY_ATTR_TENSOR, NULL},
    {"leaf_targetids", FY_ATTR_INTS, FY_REQUIRED}, {"leaf_weights", FY_ATTR_TENSOR, FY_REQUIRED}, {"n_targets", FY_ATTR_INT, "0"},
    {"aggregate_function", FY_ATTR_INT, "1"}, {"post_transform", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_tree_ensemble = {.name = "TreeEnsemble", .domain = FY_ML, .attrs = ensemble_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 5, .first = 5, .types = "T=f32,f64,f16|T|T", .infer = infer_ensemble, .ref = ref_ensemble, .flags = FY_PURE};

/* ---- TreeEnsembleClassifier ----------------------------------------------------------------------------------------------------- */

/* Two labels, as ONNX Runtime has it: votes of one class alone decide by their sign (by one half where none is negative) and become
 * two scores; a base value for each class makes the second score of the first one; with votes for both, the second class wins as soon
 * as its score is positive. DIFF: labels are those of the node also where ONNX Runtime writes 1 and 0. Returns the label. */
static int64_t finish_two(const ensemble *w, double *s, const uint8_t *has) {
    int64_t n = 2;
    int second = -1;
    if (w->base.n == 2) {
        if (has[1]) { s[1] = w->base.at[1] + s[0]; s[0] = has[0] ? -s[1] : 0; }
        else s[0] = has[0] ? s[0] + w->base.at[0] : 0;
    } else {
        s[0] += w->base.n ? w->base.at[0] : 0;
        second = w->base.n ? -1 : 3;
        n = has[1] ? 2 : 1;
        if (!has[0] && n == 2) s[0] = 0;
    }
    double weight = has[1] ? s[1] : has[0] ? s[0] : 0;
    bool yes = w->binary && w->positive ? weight > 0.5 : weight > 0;
    if (w->binary) second = w->positive ? 0 : 2;
    if (n == 2) fy_ml_transform(s, 2, w->post);
    else if (fy_ml_second(s, second, w->post) < 2) s[1] = 1 - s[0];     /* DIFF: undefined in ONNX Runtime */
    return yes;
}

static int64_t finish_many(const ensemble *w, double *s, const uint8_t *has) {
    int64_t best = -1;
    for (int64_t k = 0; k < w->labels.n; k++) {
        s[k] += w->base.n ? w->base.at[k] : 0;
        if ((has[k] || w->base.n) && (best < 0 || s[k] > s[best])) best = k;
    }
    fy_ml_transform(s, w->labels.n, w->post);
    return best < 0 ? 0 : best;
}

static void classify(void *arg, int64_t begin, int64_t end) {
    const ensemble *w = arg;
    for (int64_t r = begin; r < end; r++) {
        double *s = w->room + r * w->columns;
        uint8_t *has = w->voted + r * w->columns;
        add_up(w, w->x.at + r * w->x.width, s, has);
        int64_t k = w->labels.n == 2 ? finish_two(w, s, has) : finish_many(w, s, has);
        fy_ml_put_label(w->label, r, &w->labels, k, false);
        if (w->score) fy_store_f64(w->score, r * w->columns, w->columns, s);
    }
}

static fy_status infer_classifier(fy_infer *f) {
    fy_ml_labels l;
    fy_ml_post p;
    const fy_dim *n, *width;
    FY_TRY(fy_ml_labels_of(&l, f->node, "classlabels_strings", "classlabels_int64s", f->e));
    FY_TRY(fy_ml_post_of(&p, f->node, f->e));
    FY_TRY(fy_ml_rows(f, &n, &width));
    if (!n) n = fy_mv_opaque(f);
    FY_TRY(fy_out_set(f, 0, fy_ml_label_type(&l), 1, &n));
    return fy_out_set(f, 1, FERRY_FLOAT, 2, (const fy_dim *[]){n, fy_mv_const(f, l.n)});
}

static fy_status ref_classifier(const fy_call *c) {
    ensemble w = {.how = SUM, .positive = true};
    FY_TRY(fy_mv_out(c, 0, &w.label));
    FY_TRY(fy_mv_out(c, 1, &w.score));
    FY_TRY(fy_ml_labels_of(&w.labels, c->node, "classlabels_strings", "classlabels_int64s", c->e));
    FY_TRY(fy_ml_post_of(&w.post, c->node, c->e));
    FY_TRY(fy_forest_v3(&w.f, c, "class", w.labels.n));
    FY_TRY(fy_ml_numbers(&w.base, c, "base_values", "base_values_as_tensor"));
    FY_NEED(c->e, !w.base.n || w.base.n == w.labels.n || (w.base.n == 1 && w.labels.n == 2), ATTR, "%lld base values for %lld classes", (long long)w.base.n,
            (long long)w.labels.n);
    int64_t votes = w.f.first[w.f.leaves];
    w.binary = w.labels.n == 2 && votes;
    for (int64_t i = 0; i < votes; i++) {
        w.binary = w.binary && w.f.vote[i].target == w.f.vote[0].target;
        w.positive = w.positive && w.f.vote[i].weight >= 0;
    }
    w.columns = w.labels.n;
    FY_TRY(prepare(c, &w));
    fy_k_for(c, w.x.n, grain(&w), classify, &w);
    return FY_OK;
}

static const fy_attr_spec classifier_attrs[] = {NODES("class"), {"classlabels_int64s", FY_ATTR_INTS, NULL}, {"classlabels_strings", FY_ATTR_STRINGS, NULL},
    {0}};
const fy_op fy_op_tree_ensemble_classifier = {.name = "TreeEnsembleClassifier", .domain = FY_ML, .attrs = classifier_attrs, .min_in = 1, .max_in = 1,
    .min_out = 1, .max_out = 2, .since = 3, .first = 1, .types = "T=" FY_T_ML ";L=str,i64|T|L,f32", .infer = infer_classifier, .ref = ref_classifier,
    .flags = FY_PURE};
