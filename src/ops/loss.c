/* SPDX-License-Identifier: Apache-2.0
 * loss.c - NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss.
 *     loss[n, d..] = -weight[t] x[n, t, d..], t = target[n, d..]; x are log-probabilities, or their softmax over axis 1 gives them
 * Shapes   x [N, C, d1..dk], target [N, d1..dk], weight [C] -> [N, d1..dk], or a scalar: the sum, or the sum over the sum of the weights
 *          applied. SoftmaxCrossEntropyLoss also gives log_prob, as x.
 * An element whose target is ignore_index has loss 0 and weight 0. Where no weight is left, the mean is 0 / 0, NaN, as in PyTorch.
 * Sources  ONNX NegativeLogLikelihoodLoss-22, SoftmaxCrossEntropyLoss-13. Sums are in double in the order of the elements. */
#include "ops/common.h"

#include <math.h>

enum { NONE, SUM, MEAN };

static fy_status reduction(int *kind, const fy_node *n, ferry_error *e) {
    static const char *const names[] = {"none", "sum", "mean"};
    for (*kind = 0; *kind < 3; ++*kind)
        if (fy_attr_is(n, "reduction", names[*kind])) return FY_OK;
    fy_str s = fy_attr_s(n, "reduction");
    return fy_fail(e, FY_E_ATTR, "reduction is \"%.*s\"; it must be none, sum or mean", (int)(s.n < 40 ? s.n : 40), s.at ? s.at : "");
}

static fy_status infer_loss(fy_infer *f) {
    int rx, rt, rw, kind;
    const fy_dim *dim[FY_MAX_RANK];
    FY_TRY(reduction(&kind, f->node, f->e));
    FY_TRY(fy_k_rank(f, 0, 2, FY_MAX_RANK, &rx));
    FY_TRY(fy_k_rank(f, 1, 1, FY_MAX_RANK - 1, &rt));
    FY_NEED(f->e, rx < 0 || rt < 0 || rt == rx - 1, SHAPE, "the input has rank %d, the target %d; it must be one less", rx, rt);
    int rank = rt >= 0 ? rt : rx < 0 ? -1 : rx - 1;
    for (int i = 0; i < rank; i++) {
        const fy_dim *x = fy_in_dim(f, 0, i ? i + 1 : 0), *t = fy_in_dim(f, 1, i);
        int64_t v;
        FY_TRY(fy_k_agree(f, x, t, "sizes of input and target"));
        dim[i] = t && (!x || fy_dim_known(t, &v)) ? t : x ? x : t;
    }
    if (fy_in_has(f, 2)) {
        FY_TRY(fy_k_rank(f, 2, 1, 1, &rw));
        if (rw == 1) FY_TRY(fy_k_agree(f, fy_in_dim(f, 2, 0), fy_in_dim(f, 0, 1), "number of classes and of weights"));
    }
    if (f->nout > 1) FY_TRY(fy_out_like(f, 1, 0));
    return kind == NONE ? fy_out_set(f, 0, fy_in_dtype(f, 0), rank, rank < 0 ? NULL : dim) : fy_out_set(f, 0, fy_in_dtype(f, 0), 0, NULL);
}

typedef struct job {
    fy_tensor      x, log;               /* [N, d1..dk, C]; log.dtype is 0 where log_prob is not wanted */
    int64_t        classes;
    const int64_t *target;               /* < 0: ignored */
    const double  *weight;               /* NULL: 1 */
    double        *loss;
    bool           soft;
} job;

/* log sum e^x of a row; the row itself less that goes to log_prob. */
static double normaliser(job *w, int64_t row, double *buf) {
    double most = -HUGE_VAL, sum = 0;
    int64_t n = w->classes;
    for (int64_t b = 0; b < n; b += FY_K_BLOCK) {
        int64_t m = n - b < FY_K_BLOCK ? n - b : FY_K_BLOCK;
        fy_load_f64(buf, &w->x, row * n + b, m);
        for (int64_t i = 0; i < m; i++) most = buf[i] > most || buf[i] != buf[i] ? buf[i] : most;
    }
    for (int64_t b = 0; b < n; b += FY_K_BLOCK) {
        int64_t m = n - b < FY_K_BLOCK ? n - b : FY_K_BLOCK;
        fy_load_f64(buf, &w->x, row * n + b, m);
        for (int64_t i = 0; i < m; i++) sum += exp(buf[i] - most);
    }
    double all = most + log(sum);
    for (int64_t b = 0; w->log.dtype && b < n; b += FY_K_BLOCK) {
        int64_t m = n - b < FY_K_BLOCK ? n - b : FY_K_BLOCK;
        fy_load_f64(buf, &w->x, row * n + b, m);
        for (int64_t i = 0; i < m; i++) buf[i] -= all;
        fy_store_f64(&w->log, row * n + b, m, buf);
    }
    return all;
}

static void rows(void *arg, int64_t begin, int64_t end) {
    job *w = arg;
    double buf[FY_K_BLOCK];
    for (int64_t r = begin; r < end; r++) {
        int64_t t = w->target[r];
        double all = w->soft && (t >= 0 || w->log.dtype) ? normaliser(w, r, buf) : 0;
        w->loss[r] = t < 0 ? 0 : -(fy_get_f64(&w->x, r * w->classes + t) - all) * (w->weight ? w->weight[t] : 1);
    }
}

static fy_status ref_loss(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *weight = fy_arg(c, 2);
    const fy_attr *ignore = fy_attr_get(c->node, "ignore_index");
    fy_tensor *y = fy_res(c, 0), *log_prob = fy_res(c, 1);
    int kind;
    FY_TRY(reduction(&kind, c->node, c->e));
    FY_NEED(c->e, fy_dtype_float(x->dtype) && fy_dtype_int(fy_arg(c, 1)->dtype), TYPE, "%s of %s with targets in %s", c->node->op->name,
            fy_dtype_name(x->dtype), fy_dtype_name(fy_arg(c, 1)->dtype));
    int64_t n = fy_count(fy_arg(c, 1)), *target = fy_k_as_i64(c, fy_arg(c, 1));
    job w = {.x = fy_k_axis_last(x, 1), .classes = x->dim[1], .target = target, .loss = FY_NEWN(c->scratch, double, n), .soft = c->node->op->max_out > 1};
    FY_NOMEM(c->e, target && w.loss);
    if (log_prob) w.log = fy_k_axis_last(log_prob, 1);
    if (weight) FY_NOMEM(c->e, w.weight = fy_k_as_f64(c, weight));
    for (int64_t i = 0; i < n; i++) {
        if (ignore && target[i] == ignore->i) target[i] = -1;
        else FY_NEED(c->e, target[i] >= 0 && target[i] < w.classes, INDEX, "target %lld is %lld; there are %lld classes", (long long)i, (long long)target[i],
                     (long long)w.classes);
    }
    int64_t grain = FY_K_GRAIN / (w.soft && w.classes ? w.classes : 1);
    fy_k_for(c, n, grain < 1 ? 1 : grain, rows, &w);
    if (!y) return FY_OK;
    if (kind == NONE) {
        if (n) fy_store_f64(y, 0, n, w.loss);
        return FY_OK;
    }
    double sum = 0, applied = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += w.loss[i];
        if (target[i] >= 0) applied += w.weight ? w.weight[target[i]] : 1;
    }
    fy_put_f64(y, 0, kind == MEAN ? sum / applied : sum);
    return FY_OK;
}

static const fy_attr_spec attrs[] = {{"ignore_index", FY_ATTR_INT, NULL}, {"reduction", FY_ATTR_STRING, "mean"}, {0}};
#define TYPES "T=" FY_T_FLOAT ";I=i32,i64|T,I,T|T,T"
const fy_op fy_op_negative_log_likelihood_loss = {.name = "NegativeLogLikelihoodLoss", .domain = "", .attrs = attrs, .min_in = 2, .max_in = 3, .min_out = 1,
    .max_out = 1, .first = 12, .since = 12, .types = TYPES, .infer = infer_loss, .ref = ref_loss, .flags = FY_PURE};
const fy_op fy_op_softmax_cross_entropy_loss = {.name = "SoftmaxCrossEntropyLoss", .domain = "", .attrs = attrs, .min_in = 2, .max_in = 3, .min_out = 1,
    .max_out = 2, .first = 12, .since = 12, .types = TYPES, .infer = infer_loss, .ref = ref_loss, .flags = FY_PURE};
