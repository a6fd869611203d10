/* SPDX-License-Identifier: Apache-2.0
 * eval_loss.c - losses for the evaluator: one number for each element, then mean (1), sum (2) or none (0). */
#include "aten/eval.h"

#include <math.h>

enum { LOSS_MSE, LOSS_L1, LOSS_SMOOTH, LOSS_HUBER, LOSS_BCE, LOSS_BCE_LOGITS };

static fy_status reduced(fy_eval *v, fy_et *o, int64_t how, double weight) {
    if (how == 0) return fy_ev_out(v, 0, o);
    fy_et r;
    double sum = 0;
    int64_t n = fy_count(&o->t);
    fy_status s = fy_ev_new(v, &r, o->dtype, 0, NULL);
    for (int64_t i = 0; s == FY_OK && i < n; i++) sum += fy_ev_at(o)[i];
    fy_tensor_free(&o->t);
    FY_TRY(s);
    fy_ev_at(&r)[0] = how == 1 ? sum / (weight < 0 ? (double)n : weight) : sum;
    return fy_ev_out(v, 0, &r);
}

static double regression(int k, double d, double c) {
    double a = fabs(d);
    switch (k) {
    case LOSS_MSE: return d * d;
    case LOSS_SMOOTH: return a < c ? 0.5 * d * d / c : a - 0.5 * c;
    case LOSS_HUBER: return a <= c ? 0.5 * d * d : c * (a - 0.5 * c);
    default: return a;
    }
}

/* y * log(x) + (1 - y) * log(1 - x), logarithms not below -100; with logits x is log(x / (1 - x)). */
static double entropy(int k, double x, double y, double positive) {
    if (k == LOSS_BCE) return -(y * fmax(log(x), -100) + (1 - y) * fmax(log1p(-x), -100));
    double soft = log1p(exp(-fabs(x))); /* -log(sigmoid(x)) = max(-x, 0) + soft */
    return positive * y * (fmax(-x, 0) + soft) + (1 - y) * (fmax(x, 0) + soft);
}

fy_status fy_at_loss(fy_eval *v) {
    fy_et x, y, w, p, o;
    bool weighted = false, positive = false;
    int64_t how = 1, dim[FY_MAX_RANK];
    double c = 1;
    int rank;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_in(v, "target", &y));
    FY_TRY(fy_ev_opt(v, "weight", &w, &weighted));
    FY_TRY(fy_ev_opt(v, "pos_weight", &p, &positive));
    FY_TRY(fy_ev_int(v, "reduction", &how));
    FY_TRY(fy_ev_f64(v, v->k == LOSS_HUBER ? "delta" : "beta", &c));
    FY_TRY(fy_ev_broadcast(v, 2, (const fy_et *[]){&x, &y}, &rank, dim));
    FY_TRY(fy_ev_expand(v, &x, rank, dim));
    FY_TRY(fy_ev_expand(v, &y, rank, dim));
    if (weighted) FY_TRY(fy_ev_expand(v, &w, rank, dim));
    if (positive) FY_TRY(fy_ev_expand(v, &p, rank, dim));
    const double *px = fy_ev_dense(v, &x), *py = fy_ev_dense(v, &y), *pw = weighted ? fy_ev_dense(v, &w) : NULL,
                 *pp = positive ? fy_ev_dense(v, &p) : NULL;
    if (!px || !py || (weighted && !pw) || (positive && !pp)) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, fy_ev_promote(2, (const fy_et *[]){&x, &y}), rank, dim));
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) {
        double e = v->k >= LOSS_BCE ? entropy(v->k, px[i], py[i], pp ? pp[i] : 1)
                   : c == 0         ? fabs(px[i] - py[i])
                                    : regression(v->k, px[i] - py[i], c);
        fy_ev_at(&o)[i] = pw ? e * pw[i] : e;
    }
    return reduced(v, &o, how, -1);
}

/* Scores [n,c,..] (or [c]) and classes [n,..]; k 1: scores are logits. */
fy_status fy_at_class_loss(fy_eval *v) {
    fy_et x, y, w, o;
    bool weighted = false;
    int64_t how = 1, ignore = -100, inner = 1;
    double smooth = 0, total = 0;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_in(v, "target", &y));
    FY_TRY(fy_ev_opt(v, "weight", &w, &weighted));
    FY_TRY(fy_ev_int(v, "reduction", &how));
    FY_TRY(fy_ev_int(v, "ignore_index", &ignore));
    FY_TRY(fy_ev_f64(v, "label_smoothing", &smooth));
    int axis = x.t.rank > 1;
    FY_NEED(v->e, x.t.rank >= 1 && y.t.rank == x.t.rank - 1 && fy_dtype_class(y.dtype) == FY_CLASS_I && smooth == 0, UNSUPPORTED,
            "a loss over class probabilities or with smoothing");
    int64_t classes = x.t.dim[axis];
    for (int i = axis + 1; i < x.t.rank; i++) inner *= x.t.dim[i];
    const double *px = fy_ev_dense(v, &x), *pw = weighted ? fy_ev_dense(v, &w) : NULL;
    const int64_t *py = fy_ev_dense_i(v, &y);
    if (!px || !py || (weighted && !pw)) return FY_E_NOMEM;
    FY_NEED(v->e, !weighted || fy_count(&w.t) == classes, SHAPE, "%lld weights for %lld classes", (long long)fy_count(&w.t),
            (long long)classes);
    int64_t n = fy_count(&y.t);
    for (int64_t i = 0; i < n; i++)
        FY_NEED(v->e, py[i] == ignore || (py[i] >= 0 && py[i] < classes), INDEX, "class %lld of %lld", (long long)py[i],
                (long long)classes);
    FY_TRY(fy_ev_new(v, &o, x.dtype, y.t.rank, y.t.dim));
    for (int64_t i = 0; i < n; i++) {
        if (py[i] == ignore) continue;
        const double *row = px + i / inner * classes * inner + i % inner;
        double most = row[0], sum = 0, f = pw ? pw[py[i]] : 1;
        for (int64_t k = 0; k < classes; k++) most = fmax(most, row[k * inner]);
        for (int64_t k = 0; k < classes; k++) sum += exp(row[k * inner] - most);
        fy_ev_at(&o)[i] = f * ((v->k ? log(sum) + most : 0) - row[py[i] * inner]);
        total += f;
    }
    return reduced(v, &o, how, total);
}
