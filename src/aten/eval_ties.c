/* SPDX-License-Identifier: Apache-2.0
 * eval_ties.c - decisions that hang on rounding: which of two equal scores comes first, which of two boxes that overlap by just the limit
 * goes, to which whole number one beside it is cut, to which of two steps one in their middle is quantised. The program is computed in double
 * and a model in float, so that they part there, and all that follows parts with them. Where the numbers behind a decision leave it open
 * within a tolerance, the evaluation goes on with the model's; a decision that they do not leave open stays the program's. */
#include "aten/eval.h"

#include "tensor/compare.h"

#include <math.h>

typedef enum decision { NONE, RANKS, BOXES, CUTS, STEPS } decision;

static decision decision_of(const fy_pnode *n) {
    static const struct { const char *op; decision d; } all[] = {
        {"torchvision.nms.", BOXES}, {"aten.topk.", RANKS}, {"aten.sort.", RANKS}, {"aten.argsort.", RANKS}, {"aten.floor.default", CUTS}, {"aten.ceil.default", CUTS},
        {"aten.round.default", CUTS}, {"aten.trunc.default", CUTS}, {"aten.to.dtype", CUTS}, {"aten._to_copy.default", CUTS}, {"quantized_decomposed.quantize_", STEPS}};
    for (int i = 0; n && i < FY_COUNT(all); i++)
        if (!strncmp(n->op, all[i].op, strlen(all[i].op))) return all[i].d;
    return NONE;
}

bool fy_aten_decides(const fy_pnode *n) { return decision_of(n) != NONE; }

/* Inner values may be large: float alone moves them by more than the tolerance. */
static double slack(const fy_eval *v, double x) { return v->o->tolerance * fmax(1, fabs(x)); }
static bool   same(const fy_eval *v, double a, double b) { return fabs(a - b) <= slack(v, a); }

/* Positions along an axis: other entries than ours, each once, of values that are as good. */
static fy_status ranks(fy_eval *v, const fy_tensor *ours, const fy_tensor *theirs, bool *open) {
    fy_et x;
    int   axis;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_axis(v, "dim", x.t.rank, -1, &axis));
    const double *at = fy_ev_dense(v, &x);
    FY_NOMEM(v->e, at);
    if (!fy_same_dims(ours, theirs) || !ours->rank) return FY_OK;
    int64_t inner = 1, k = ours->dim[axis], n = x.t.dim[axis], rows = k ? fy_count(ours) / k : 0;
    for (int i = axis + 1; i < ours->rank; i++) inner *= ours->dim[i];
    int64_t *last = FY_NEWN(&v->scratch, int64_t, n + 1);    /* the row that took an entry last, from 1 */
    FY_NOMEM(v->e, last);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < k; j++) {
            int64_t i = (r / inner * k + j) * inner + r % inner, base = r / inner * n * inner + r % inner, a = fy_get_i64(ours, i), b = fy_get_i64(theirs, i);
            if (b < 0 || b >= n || last[b] == r + 1 || !same(v, at[base + a * inner], at[base + b * inner])) return FY_OK;
            last[b] = r + 1;
        }
    *open = true;
    return FY_OK;
}

/* Boxes that are kept: by falling score, no two of them overlap too much, and whatever is left out overlaps with one that is no worse. */
static fy_status boxes(fy_eval *v, const fy_tensor *theirs, bool *open) {
    fy_et  box, score;
    double limit = 0;
    FY_TRY(fy_ev_in(v, "dets", &box));
    FY_TRY(fy_ev_in(v, "scores", &score));
    FY_TRY(fy_ev_f64(v, "iou_threshold", &limit));
    const double *b = fy_ev_dense(v, &box), *s = fy_ev_dense(v, &score);
    int64_t       n = box.t.dim[0], kept = theirs->rank == 1 ? theirs->dim[0] : n + 1;
    bool         *is = FY_NEWN(&v->scratch, bool, n + 1);
    if (!b || !s || !is) return fy_nomem(v->e);
    if (kept > n) return FY_OK;
    for (int64_t k = 0; k < kept; k++) {
        int64_t i = fy_get_i64(theirs, k), before = k ? fy_get_i64(theirs, k - 1) : 0;
        if (i < 0 || i >= n || is[i] || (k && s[i] > s[before] + slack(v, s[before]))) return FY_OK;
        for (int64_t j = 0; j < k; j++)
            if (fy_ev_overlap(b + 4 * fy_get_i64(theirs, j), b + 4 * i) > limit + v->o->tolerance) return FY_OK;
        is[i] = true;
    }
    for (int64_t i = 0; i < n; i++) {
        bool covered = is[i];
        for (int64_t k = 0; k < kept && !covered; k++) {
            int64_t j = fy_get_i64(theirs, k);
            covered = s[j] >= s[i] - slack(v, s[i]) && fy_ev_overlap(b + 4 * j, b + 4 * i) >= limit - v->o->tolerance;
        }
        if (!covered) return FY_OK;
    }
    *open = true;
    return FY_OK;
}

/* Whole numbers: what numbers a little smaller and a little larger give. */
static fy_status cuts(fy_eval *v, const fy_tensor *ours, const fy_tensor *theirs, bool *open) {
    const char *op = v->node->op;
    double    (*cut)(double) = strstr(op, "floor") ? floor : strstr(op, "ceil") ? ceil : strstr(op, "round") ? rint : trunc;
    fy_et       x;
    FY_TRY(fy_ev_in(v, "self", &x));
    if (!fy_dtype_float(x.dtype) || (cut == trunc && !strstr(op, "trunc") && !fy_dtype_int(theirs->dtype)) || !fy_same_dims(ours, theirs)) return FY_OK;
    for (int64_t i = 0, n = fy_count(ours); i < n; i++) {
        double at = fy_get_f64(&x.t, i), d = slack(v, at), y = fy_get_f64(theirs, i);
        if (y != fy_get_f64(ours, i) && !(y >= cut(at - d) && y <= cut(at + d))) return FY_OK;
    }
    *open = true;
    return FY_OK;
}

fy_status fy_ev_follow(fy_eval *v, const fy_pvalue *to, fy_et *o) {
    const fy_tensor *theirs = v->o->follow(v->o->ctx, to);
    fy_diff          d;
    bool             open = false;
    if (!theirs) return FY_OK;
    fy_compare(&d, theirs, &o->t, true);
    if (!d.differing && !d.shape_differs) return FY_OK;
    switch (decision_of(v->node)) {
    case RANKS: if (v->node->out[v->node->nout - 1].value == to) FY_TRY(ranks(v, &o->t, theirs, &open)); break;      /* not the numbers that were ranked */
    case BOXES: FY_TRY(boxes(v, theirs, &open)); break;
    case CUTS: FY_TRY(cuts(v, &o->t, theirs, &open)); break;
    case STEPS: FY_TRY(fy_ev_steps(v, theirs, &open)); break;
    case NONE: break;
    }
    if (!open) return FY_OK;
    fy_tensor now;
    FY_TRY(fy_tensor_cast(&now, theirs, o->t.dtype, v->e));
    fy_tensor_free(&o->t);
    o->t = now;
    ++*v->o->followed;
    return FY_OK;
}
