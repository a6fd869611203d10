/* SPDX-License-Identifier: Apache-2.0
 * eval_quant.c - quantized_decomposed.* for the evaluator: q = clamp(round(x / scale) + zero), x = (q - zero) * scale. */
#include "aten/eval.h"

#include <math.h>

enum { QUANT_TENSOR, QUANT_CHANNEL, QUANT_TOKEN };

/* Nearer to the middle of two steps than this, in steps, float may go either way, however many steps a number has. */
#define LEAST_SURE 0.01

typedef struct quant {
    fy_et x, scale, zero;
    const double *px, *ps, *pz;
    int64_t lo, hi, n, inner, channels;
    fy_dtype t;
    int kind;
} quant;

static fy_status read(fy_eval *v, int kind, quant *q) {
    bool has = true, many = kind != QUANT_TENSOR;
    *q = (quant){.kind = kind, .t = FERRY_INT8, .inner = 1, .channels = 1};
    FY_TRY(fy_ev_in(v, "input", &q->x));
    FY_TRY(fy_ev_in(v, many ? "scales" : "scale", &q->scale));
    FY_TRY(fy_ev_opt(v, many ? "zero_points" : "zero_point", &q->zero, &has));
    FY_TRY(fy_ev_int(v, "quant_min", &q->lo));
    FY_TRY(fy_ev_int(v, "quant_max", &q->hi));
    FY_TRY(fy_ev_dtype(v, "dtype", &q->t));
    q->n = fy_count(&q->x.t);
    if (kind == QUANT_CHANNEL) {
        int axis;
        FY_TRY(fy_ev_axis(v, "axis", q->x.t.rank, 0, &axis));
        q->channels = q->x.t.rank ? q->x.t.dim[axis] : 1;
        for (int i = axis + 1; i < q->x.t.rank; i++) q->inner *= q->x.t.dim[i];
    } else if (kind == QUANT_TOKEN) {
        q->inner = q->x.t.rank ? q->x.t.dim[q->x.t.rank - 1] : 1;
        q->channels = q->inner ? q->n / q->inner : 1;
    } else
        q->inner = q->n ? q->n : 1;
    FY_NEED(v->e, fy_count(&q->scale.t) == q->channels && (!has || fy_count(&q->zero.t) == q->channels || fy_count(&q->zero.t) == 1), SHAPE,
            "%lld scales for %lld channels", (long long)fy_count(&q->scale.t), (long long)q->channels);
    q->px = fy_ev_dense(v, &q->x);
    q->ps = fy_ev_dense(v, &q->scale);
    q->pz = has ? fy_ev_dense(v, &q->zero) : NULL;
    return q->px && q->ps && (q->pz || !has) ? FY_OK : FY_E_NOMEM;
}

static int64_t channel(const quant *q, int64_t i) { return i / q->inner % q->channels; }
static double step(const quant *q, int64_t c) { return (double)(float)q->ps[c]; }
static double zero(const quant *q, int64_t c) { return !q->pz ? 0 : q->pz[fy_count(&q->zero.t) == 1 ? 0 : c]; }

/* Of element i, which is y steps. */
static int64_t whole(const quant *q, int64_t i, double y) {
    double at = nearbyint(y) + zero(q, channel(q, i));
    return !(at > (double)q->lo) ? q->lo : at > (double)q->hi ? q->hi : (int64_t)at;
}

fy_status fy_at_quantize(fy_eval *v) {
    quant q;
    fy_et o;
    FY_TRY(read(v, v->k, &q));
    FY_TRY(fy_ev_new(v, &o, q.t, q.x.t.rank, q.x.t.dim));
    for (int64_t i = 0; i < q.n; i++) fy_ev_at_i(&o)[i] = whole(&q, i, q.px[i] / step(&q, channel(&q, i)));
    return fy_ev_out(v, 0, &o);
}

fy_status fy_ev_steps(fy_eval *v, const fy_tensor *theirs, bool *open) {
    quant q;
    FY_TRY(read(v, v->k, &q));
    if (!fy_same_dims(&q.x.t, theirs)) return FY_OK;
    for (int64_t i = 0; i < q.n; i++) {
        double  y = q.px[i] / step(&q, channel(&q, i)), d = fmin(v->o->tolerance * fmax(1, fabs(y)), LEAST_SURE);
        int64_t to = fy_get_i64(theirs, i);
        if (to != whole(&q, i, y) && to != whole(&q, i, y - d) && to != whole(&q, i, y + d)) return FY_OK;
    }
    *open = true;
    return FY_OK;
}

fy_status fy_at_dequantize(fy_eval *v) {
    quant q;
    fy_et o;
    fy_dtype to = FERRY_FLOAT;
    FY_TRY(read(v, v->k, &q));
    FY_TRY(fy_ev_dtype(v, v->k == QUANT_TOKEN ? "output_dtype" : "out_dtype", &to));
    FY_NEED(v->e, fy_dtype_float(to), TYPE, "dequantised to %s", fy_dtype_name(to));
    FY_TRY(fy_ev_new(v, &o, to, q.x.t.rank, q.x.t.dim));
    for (int64_t i = 0; i < q.n; i++) fy_ev_at(&o)[i] = (q.px[i] - zero(&q, channel(&q, i))) * step(&q, channel(&q, i));
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_choose_qparams(fy_eval *v) {
    fy_et x, s, z;
    int64_t lo = 0, hi = 0, one = 1;
    double eps = 0, low = 0, high = 0;
    FY_TRY(fy_ev_in(v, "input", &x));
    FY_TRY(fy_ev_int(v, "quant_min", &lo));
    FY_TRY(fy_ev_int(v, "quant_max", &hi));
    FY_TRY(fy_ev_f64(v, "eps", &eps));
    FY_NEED(v->e, hi > lo, VALUE, "quantised to an empty range");
    const double *p = fy_ev_dense(v, &x);
    if (!p) return FY_E_NOMEM;
    for (int64_t i = 0, n = fy_count(&x.t); i < n; i++) {
        low = fmin(low, p[i]);
        high = fmax(high, p[i]);
    }
    double scale = fmax((high - low) / (double)(hi - lo), eps), at = (double)lo - nearbyint(low / scale);
    FY_TRY(fy_ev_new(v, &s, FERRY_DOUBLE, 1, &one));
    fy_ev_at(&s)[0] = scale;
    FY_TRY(fy_ev_out(v, 0, &s));
    FY_TRY(fy_ev_new(v, &z, FERRY_INT64, 1, &one));
    fy_ev_at_i(&z)[0] = !(at > (double)lo) ? lo : at > (double)hi ? hi : (int64_t)at;
    return fy_ev_out(v, 1, &z);
}
