/* SPDX-License-Identifier: Apache-2.0
 * eval_norm.c - normalisations and softmax for the evaluator. */
#include "aten/eval.h"

#include <math.h>

static fy_status opt_dense(fy_eval *v, const char *name, int64_t want, const double **p) {
    fy_et a;
    bool  has;
    *p = NULL;
    FY_TRY(fy_ev_opt(v, name, &a, &has));
    if (!has) return FY_OK;
    FY_NEED(v->e, fy_count(&a.t) == want, SHAPE, "%s has %lld entries, %lld are needed", name, (long long)fy_count(&a.t), (long long)want);
    *p = fy_ev_dense(v, &a);
    return *p ? FY_OK : FY_E_NOMEM;
}

/* ---- batch and instance norm ------------------------------------------------------------------------------------------------- */

typedef struct affine { const double *x; double *y; const double *scale, *shift; int64_t channels, per; } affine;

static void affine_run(void *arg, int64_t p0, int64_t p1) {
    const affine *a = arg;
    for (int64_t p = p0; p < p1; p++) {
        double        s = a->scale[p % a->channels], t = a->shift[p % a->channels];
        const double *x = a->x + p * a->per;
        double       *y = a->y + p * a->per;
        for (int64_t i = 0; i < a->per; i++) y[i] = x[i] * s + t;
    }
}

enum { BN, BN_LEGIT, BN_NO_TRAINING, BN_NO_STATS };

/* Running statistics follow in training mode; the saved mean and inverse deviation are outputs 1 and 2 of the native forms. */
fy_status fy_at_batch_norm(fy_eval *v) {
    fy_et         x, o, mean = {0}, inv = {0}, run[2];
    bool          training = v->k == BN_NO_STATS, has_run[2] = {0};
    double        eps = 1e-5, momentum = 0.1;
    const double *w, *b, *rm, *rv;
    FY_TRY(fy_ev_in(v, "input", &x));
    FY_NEED(v->e, x.t.rank >= 2 && fy_dtype_class(x.dtype) == FY_CLASS_F, SHAPE, "batch norm of rank %d", x.t.rank);
    int64_t C = x.t.dim[1], per = 1, batch = x.t.dim[0];
    for (int i = 2; i < x.t.rank; i++) per *= x.t.dim[i];
    FY_TRY(opt_dense(v, "weight", C, &w));
    FY_TRY(opt_dense(v, "bias", C, &b));
    FY_TRY(opt_dense(v, "running_mean", C, &rm));
    FY_TRY(opt_dense(v, "running_var", C, &rv));
    FY_TRY(fy_ev_bool(v, "training", &training));
    FY_TRY(fy_ev_f64(v, "eps", &eps));
    FY_TRY(fy_ev_f64(v, "momentum", &momentum));
    if (!rm || !rv) training = true;
    const double *p = fy_ev_dense(v, &x);
    if (!p) return FY_E_NOMEM;
    FY_TRY(fy_ev_temp(v, &mean, FERRY_DOUBLE, 1, (int64_t[]){C}));
    FY_TRY(fy_ev_temp(v, &inv, FERRY_DOUBLE, 1, (int64_t[]){C}));
    double *scale = FY_NEWN(&v->scratch, double, 2 * C + 1), *shift = scale + C;
    FY_NOMEM(v->e, scale);
    FY_TRY(fy_ev_opt_raw(v, "running_mean", &run[0], &has_run[0]));
    FY_TRY(fy_ev_opt_raw(v, "running_var", &run[1], &has_run[1]));
    for (int64_t c = 0; c < C; c++) {
        double m = rm ? rm[c] : 0, var = rv ? rv[c] : 1;
        if (training) {
            double s = 0, q = 0, n = (double)(batch * per);
            for (int64_t i = 0; i < batch; i++) for (int64_t j = 0; j < per; j++) s += p[(i * C + c) * per + j];
            m = s / n;
            for (int64_t i = 0; i < batch; i++) for (int64_t j = 0; j < per; j++) { double d = p[(i * C + c) * per + j] - m; q += d * d; }
            var = q / n;
            if (has_run[0] && has_run[1] && run[0].t.dtype == FERRY_DOUBLE && run[1].t.dtype == FERRY_DOUBLE) {
                fy_put_f64(&run[0].t, c, (1 - momentum) * fy_get_f64(&run[0].t, c) + momentum * m);
                fy_put_f64(&run[1].t, c, (1 - momentum) * fy_get_f64(&run[1].t, c) + momentum * var * n / (n - 1));
            }
        }
        fy_ev_at(&mean)[c] = m;
        fy_ev_at(&inv)[c] = 1 / sqrt(var + eps);
        scale[c] = (w ? w[c] : 1) * fy_ev_at(&inv)[c];
        shift[c] = (b ? b[c] : 0) - m * scale[c];
    }
    FY_TRY(fy_ev_new(v, &o, x.dtype, x.t.rank, x.t.dim));
    affine a = {.x = p, .y = fy_ev_at(&o), .scale = scale, .shift = shift, .channels = C, .per = per};
    fy_for(v->pool, batch * C, 1 + 8192 / (per + 1), affine_run, &a);
    FY_TRY(fy_ev_out(v, 0, &o));
    if (v->k == BN || v->node->nout < 2) return FY_OK;
    for (int i = 1; i <= 2; i++) {
        int64_t n = v->k == BN_NO_TRAINING || !training ? 0 : C;
        fy_dtype t = x.dtype == FERRY_FLOAT16 || x.dtype == FERRY_BFLOAT16 ? FERRY_FLOAT : x.dtype;
        if (v->node->out[i].value && v->node->out[i].value->has_meta) t = v->node->out[i].value->dtype;
        FY_TRY(fy_ev_new(v, &o, t, 1, &n));
        for (int64_t c = 0; c < n; c++) fy_ev_at(&o)[c] = fy_ev_at(i == 1 ? &mean : &inv)[c];
        FY_TRY(fy_ev_out(v, i, &o));
    }
    return FY_OK;
}

/* ---- rows: layer, group, instance, rms norm ------------------------------------------------------------------------------------ */

typedef struct rows { const double *x; double *y, *mean, *inv; int64_t n, per_weight, nweight; const double *w, *b; double eps; bool rms; } rows;

/* Rows [r0, r1) of length n; element j of row r is weighted by w[(r * n + j) / per_weight % nweight]. */
static void rows_run(void *arg, int64_t r0, int64_t r1) {
    const rows *g = arg;
    for (int64_t r = r0; r < r1; r++) {
        const double *x = g->x + r * g->n;
        double       *y = g->y + r * g->n, m = 0, q = 0;
        if (!g->rms) {
            for (int64_t i = 0; i < g->n; i++) m += x[i];
            m /= (double)g->n;
        }
        for (int64_t i = 0; i < g->n; i++) { double d = x[i] - m; q += d * d; }
        double inv = 1 / sqrt(q / (double)g->n + g->eps);
        for (int64_t i = 0; i < g->n; i++) {
            int64_t at = (r * g->n + i) / g->per_weight % g->nweight;
            y[i] = (x[i] - m) * inv * (g->w ? g->w[at] : 1) + (g->b ? g->b[at] : 0);
        }
        if (g->mean) g->mean[r] = m;
        if (g->inv) g->inv[r] = inv;
    }
}

static fy_status norm_rows(fy_eval *v, const fy_et *x, rows g, int64_t count, int rank_stat, const int64_t *dim_stat) {
    fy_et o, stat[2] = {0};
    bool  native = rank_stat >= 0;
    if (!(g.x = fy_ev_dense(v, x))) return FY_E_NOMEM;
    FY_NEED(v->e, fy_dtype_class(x->dtype) == FY_CLASS_F, TYPE, "a norm of %s", fy_dtype_name(x->dtype));
    if (native)
        for (int i = 0; i < 2; i++) {
            fy_dtype t = x->dtype;
            if (v->node->nout > i + 1 && v->node->out[i + 1].value && v->node->out[i + 1].value->has_meta) t = v->node->out[i + 1].value->dtype;
            FY_TRY(fy_ev_temp(v, &stat[i], t, rank_stat, dim_stat));
        }
    FY_TRY(fy_ev_new(v, &o, x->dtype, x->t.rank, x->t.dim));
    g.y = fy_ev_at(&o);
    if (native) { g.mean = fy_ev_at(&stat[0]); g.inv = fy_ev_at(&stat[1]); }
    if (!g.nweight) g.nweight = 1;
    if (!g.per_weight) g.per_weight = 1;
    if (g.n) fy_for(v->pool, count, 1 + 8192 / g.n, rows_run, &g);
    FY_TRY(fy_ev_out(v, 0, &o));
    for (int i = 0; native && i < 2; i++) {
        fy_et s;
        FY_TRY(fy_ev_copy(v, &s, &stat[i]));
        FY_TRY(fy_ev_out(v, i + 1, &s));
    }
    return FY_OK;
}

fy_status fy_at_layer_norm(fy_eval *v) {                     /* layer_norm; 1: native_layer_norm; 2: rms_norm */
    fy_et   x;
    int64_t shape[FY_MAX_RANK], dim[FY_MAX_RANK], count = 1;
    int     n;
    rows    g = {.n = 1, .eps = 1e-5, .rms = v->k == 2};
    FY_TRY(fy_ev_in(v, "input", &x));
    if (v->k == 2) g.eps = x.dtype == FERRY_DOUBLE ? 2.220446049250313e-16 : 1.1920928955078125e-07;
    FY_TRY(fy_ev_ints(v, "normalized_shape", shape, FY_MAX_RANK, &n));
    FY_TRY(fy_ev_f64(v, "eps", &g.eps));
    FY_NEED(v->e, n >= 1 && n <= x.t.rank, SHAPE, "layer norm over %d axes of rank %d", n, x.t.rank);
    for (int i = 0; i < x.t.rank; i++) {
        dim[i] = i < x.t.rank - n ? x.t.dim[i] : 1;
        if (i < x.t.rank - n) { count *= x.t.dim[i]; continue; }
        FY_NEED(v->e, shape[i - (x.t.rank - n)] == x.t.dim[i], SHAPE, "layer norm over %lld, the axis has %lld", (long long)shape[i - (x.t.rank - n)], (long long)x.t.dim[i]);
        g.n *= x.t.dim[i];
    }
    g.nweight = g.n;
    FY_TRY(opt_dense(v, "weight", g.n, &g.w));
    FY_TRY(opt_dense(v, "bias", g.n, &g.b));
    return norm_rows(v, &x, g, count, v->k == 1 ? x.t.rank : -1, dim);
}

fy_status fy_at_group_norm(fy_eval *v) {                     /* group_norm; 1: native_group_norm */
    fy_et   x;
    int64_t groups = 1, per = 1;
    rows    g = {.eps = 1e-5};
    FY_TRY(fy_ev_in(v, "input", &x));
    FY_TRY(fy_ev_int(v, v->k ? "group" : "num_groups", &groups));
    FY_TRY(fy_ev_f64(v, "eps", &g.eps));
    FY_NEED(v->e, x.t.rank >= 2 && groups > 0 && x.t.dim[1] % groups == 0, SHAPE, "group norm with %lld groups", (long long)groups);
    for (int i = 2; i < x.t.rank; i++) per *= x.t.dim[i];
    g.n = x.t.dim[1] / groups * per;
    g.nweight = x.t.dim[1];
    g.per_weight = per;
    FY_TRY(opt_dense(v, "weight", x.t.dim[1], &g.w));
    FY_TRY(opt_dense(v, "bias", x.t.dim[1], &g.b));
    return norm_rows(v, &x, g, x.t.dim[0] * groups, v->k ? 2 : -1, (int64_t[]){x.t.dim[0], groups});
}

fy_status fy_at_instance_norm(fy_eval *v) {
    fy_et x;
    bool  stats = true;
    rows  g = {.n = 1, .eps = 1e-5};
    FY_TRY(fy_ev_in(v, "input", &x));
    FY_TRY(fy_ev_bool(v, "use_input_stats", &stats));
    FY_TRY(fy_ev_f64(v, "eps", &g.eps));
    if (!stats) { v->k = BN; return fy_at_batch_norm(v); }
    FY_NEED(v->e, x.t.rank >= 3, SHAPE, "instance norm of rank %d", x.t.rank);
    for (int i = 2; i < x.t.rank; i++) g.n *= x.t.dim[i];
    g.per_weight = g.n;
    g.nweight = x.t.dim[1];
    FY_TRY(opt_dense(v, "weight", x.t.dim[1], &g.w));
    FY_TRY(opt_dense(v, "bias", x.t.dim[1], &g.b));
    return norm_rows(v, &x, g, x.t.dim[0] * x.t.dim[1], -1, NULL);
}

/* ---- softmax ---------------------------------------------------------------------------------------------------------------------- */

typedef struct soft { const double *x; double *y; int64_t n, inner; bool log, safe; } soft;

static void soft_run(void *arg, int64_t r0, int64_t r1) {
    const soft *s = arg;
    for (int64_t r = r0; r < r1; r++) {
        int64_t       base = r / s->inner * s->n * s->inner + r % s->inner, st = s->inner;
        const double *x = s->x + base;
        double       *y = s->y + base, m = -(double)INFINITY, sum = 0;
        for (int64_t i = 0; i < s->n; i++) m = x[i * st] > m || isnan(x[i * st]) ? x[i * st] : m;
        if (s->safe && m == -(double)INFINITY) {
            for (int64_t i = 0; i < s->n; i++) y[i * st] = 0;
            continue;
        }
        for (int64_t i = 0; i < s->n; i++) sum += y[i * st] = exp(x[i * st] - m);
        if (s->log) for (int64_t i = 0; i < s->n; i++) y[i * st] = x[i * st] - m - log(sum);
        else for (int64_t i = 0; i < s->n; i++) y[i * st] /= sum;
    }
}

fy_status fy_at_softmax(fy_eval *v) {                        /* softmax; 1: log_softmax; 2: _safe_softmax */
    fy_et    x, o;
    int      axis;
    fy_dtype to = 0;
    bool     to_float = false;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_axis(v, "dim", x.t.rank, -1, &axis));
    FY_TRY(fy_ev_dtype(v, "dtype", &to));
    FY_TRY(fy_ev_bool(v, "half_to_float", &to_float));
    if (!to) to = to_float || fy_dtype_class(x.dtype) != FY_CLASS_F ? FERRY_FLOAT : x.dtype;
    soft s = {.x = fy_ev_dense(v, &x), .n = x.t.rank ? x.t.dim[axis] : 1, .inner = 1, .log = v->k == 1, .safe = v->k == 2};
    if (!s.x) return FY_E_NOMEM;
    for (int i = axis + 1; i < x.t.rank; i++) s.inner *= x.t.dim[i];
    FY_TRY(fy_ev_new(v, &o, to, x.t.rank, x.t.dim));
    s.y = fy_ev_at(&o);
    int64_t n = fy_count(&o.t);
    if (n) fy_for(v->pool, n / s.n, 1 + 8192 / s.n, soft_run, &s);
    return fy_ev_out(v, 0, &o);
}

/* w = g * v / |v|, the norm over every axis but `dim`. */
fy_status fy_at_weight_norm(fy_eval *v) {
    fy_et   x, g, o;
    int64_t dim = 0, inner = 1;
    FY_TRY(fy_ev_in(v, "v", &x));
    FY_TRY(fy_ev_in(v, "g", &g));
    FY_TRY(fy_ev_int(v, "dim", &dim));
    if (dim < 0 && dim != -1) dim += x.t.rank;
    bool    all = dim == -1;
    int64_t n = all ? 1 : dim < x.t.rank ? x.t.dim[dim] : 0;
    FY_NEED(v->e, n == fy_count(&g.t) && n, SHAPE, "weight norm along axis %lld", (long long)dim);
    for (int64_t i = all ? 0 : dim + 1; i < x.t.rank; i++) inner *= x.t.dim[i];
    const double *p = fy_ev_dense(v, &x), *q = fy_ev_dense(v, &g);
    double       *sum = FY_NEWN(&v->scratch, double, n);
    if (!p || !q) return FY_E_NOMEM;
    FY_NOMEM(v->e, sum);
    FY_TRY(fy_ev_new(v, &o, x.dtype, x.t.rank, x.t.dim));
    int64_t count = fy_count(&o.t);
    for (int64_t i = 0; i < count; i++) sum[i / inner % n] += p[i] * p[i];
    for (int64_t i = 0; i < count; i++) fy_ev_at(&o)[i] = p[i] * q[i / inner % n] / sqrt(sum[i / inner % n]);
    return fy_ev_out(v, 0, &o);
}
