/* SPDX-License-Identifier: Apache-2.0
 * eval_reduce.c - reductions, scans, sorting for the evaluator. The reduced axes are brought last, so that each result is
 * one dense row. */
#include "aten/eval.h"

#include <math.h>
#include <stdlib.h>

/* x seen as [kept.., reduced..]: `count` rows of `n`. keep: the result's shape. */
typedef struct plan { fy_et x; int64_t count, n; int rank; int64_t dim[FY_MAX_RANK]; } plan;

static fy_status plan_dims(fy_eval *v, plan *p, const fy_et *x, unsigned which, bool keepdim) {
    fy_tensor t = x->t;
    int       k = 0;
    *p = (plan){.x = *x, .count = 1, .n = 1};
    for (int i = 0; i < x->t.rank; i++) {
        if (which >> i & 1) {
            p->n *= x->t.dim[i];
            if (keepdim) p->dim[p->rank++] = 1;
            continue;
        }
        t.dim[k] = x->t.dim[i];
        t.stride[k++] = x->t.stride[i];
        p->count *= x->t.dim[i];
        p->dim[p->rank++] = x->t.dim[i];
    }
    for (int i = 0; i < x->t.rank; i++)
        if (which >> i & 1) { t.dim[k] = x->t.dim[i]; t.stride[k++] = x->t.stride[i]; }
    p->x.t = t;
    (void)v;
    return FY_OK;
}

/* Axes from argument `dim` (a list, one, or none for all). An empty list is all too. */
static fy_status plan_arg(fy_eval *v, plan *p, const fy_et *x) {
    int64_t  dims[FY_MAX_RANK];
    int      n, lim = x->t.rank ? x->t.rank : 1;
    unsigned which = 0;
    bool     keep = false;
    FY_TRY(fy_ev_ints(v, "dim", dims, FY_MAX_RANK, &n));
    FY_TRY(fy_ev_bool(v, "keepdim", &keep));
    for (int i = 0; i < n; i++) {
        FY_NEED(v->e, dims[i] >= -lim && dims[i] < lim, AXIS, "axis %lld outside rank %d", (long long)dims[i], x->t.rank);
        which |= 1u << (dims[i] < 0 ? dims[i] + lim : dims[i]);
    }
    return plan_dims(v, p, x, n <= 0 ? ~0u : which, keep);
}

static double reduce_row(int k, const double *x, int64_t n, double a) {
    double s = 0, m;
    switch (k) {
    case EV_SUM: case EV_MEAN:
        for (int64_t i = 0; i < n; i++) s += x[i];
        return k == EV_MEAN ? s / (double)n : s;
    case EV_NANSUM:
        for (int64_t i = 0; i < n; i++) s += isnan(x[i]) ? 0 : x[i];
        return s;
    case EV_PROD:
        s = 1;
        for (int64_t i = 0; i < n; i++) s *= x[i];
        return s;
    case EV_AMAX:
        for (m = x[0]; n; n--, x++) m = isnan(*x) || *x > m ? *x : m;
        return m;
    case EV_AMIN:
        for (m = x[0]; n; n--, x++) m = isnan(*x) || *x < m ? *x : m;
        return m;
    case EV_VAR: case EV_STD:
        for (int64_t i = 0; i < n; i++) s += x[i];
        m = s / (double)n;
        s = 0;
        for (int64_t i = 0; i < n; i++) s += (x[i] - m) * (x[i] - m);
        s /= fmax((double)n - a, 0);
        return k == EV_STD ? sqrt(s) : s;
    case EV_LSE:
        m = -(double)INFINITY;
        for (int64_t i = 0; i < n; i++) m = x[i] > m || isnan(x[i]) ? x[i] : m;
        if (isinf(m)) return m;
        for (int64_t i = 0; i < n; i++) s += exp(x[i] - m);
        return m + log(s);
    case EV_NORM:
        if (a == (double)INFINITY || a == -(double)INFINITY) {
            s = a > 0 ? 0 : (double)INFINITY;
            for (int64_t i = 0; i < n; i++) s = a > 0 ? fmax(s, fabs(x[i])) : fmin(s, fabs(x[i]));
            return s;
        }
        for (int64_t i = 0; i < n; i++) s += a == 2 ? x[i] * x[i] : a == 1 ? fabs(x[i]) : a == 0 ? x[i] != 0 : pow(fabs(x[i]), a);
        return a == 2 ? sqrt(s) : a == 1 || a == 0 ? s : pow(s, 1 / a);
    default: return 0;
    }
}

typedef struct job { int k; const double *x; double *y; int64_t n; double a; } job;

static void reduce_run(void *arg, int64_t r0, int64_t r1) {
    const job *j = arg;
    for (int64_t r = r0; r < r1; r++) j->y[r] = reduce_row(j->k, j->x + r * j->n, j->n, j->a);
}

fy_status fy_at_reduce(fy_eval *v) {
    fy_et    x, o;
    plan     p;
    fy_dtype to = 0;
    double   a = v->k == EV_NORM ? 2 : 1;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(plan_arg(v, &p, &x));
    FY_TRY(fy_ev_dtype(v, "dtype", &to));
    bool is_float = fy_dtype_class(x.dtype) == FY_CLASS_F;
    if (v->k == EV_VAR || v->k == EV_STD) {
        bool unbiased = true;
        FY_TRY(fy_ev_bool(v, "unbiased", &unbiased));
        a = unbiased;
        FY_TRY(fy_ev_f64(v, "correction", &a));
    }
    if (v->k == EV_NORM) {
        FY_TRY(fy_ev_f64(v, "ord", &a));
        FY_TRY(fy_ev_f64(v, "p", &a));
    }
    if (!to) to = is_float || v->k == EV_AMAX || v->k == EV_AMIN ? x.dtype : v->k == EV_SUM || v->k == EV_PROD ? FERRY_INT64 : FERRY_FLOAT;
    FY_NEED(v->e, p.n || !(v->k == EV_AMAX || v->k == EV_AMIN) || !p.count, SHAPE, "%s of nothing", v->node->op);
    if (fy_dtype_class(to) != FY_CLASS_F) {                  /* integers */
        FY_TRY(fy_ev_cast(v, &p.x, to == FERRY_BOOL ? FERRY_INT64 : to));
        const int64_t *xi = fy_ev_dense_i(v, &p.x);
        if (!xi) return FY_E_NOMEM;
        FY_TRY(fy_ev_new(v, &o, to, p.rank, p.dim));
        for (int64_t r = 0; r < p.count; r++) {
            uint64_t s = v->k == EV_PROD ? 1 : 0;
            int64_t  m = p.n ? xi[r * p.n] : 0;
            for (int64_t i = 0; i < p.n; i++) {
                int64_t e = xi[r * p.n + i];
                if (v->k == EV_PROD) s *= (uint64_t)e;
                else s += (uint64_t)e;
                m = v->k == EV_AMAX ? (e > m ? e : m) : e < m ? e : m;
            }
            int64_t y = v->k == EV_AMAX || v->k == EV_AMIN ? m : (int64_t)s;
            if (to == FERRY_BOOL) fy_ev_at_b(&o)[r] = y != 0;
            else fy_ev_at_i(&o)[r] = y;
        }
        return fy_ev_out(v, 0, &o);
    }
    if (x.dtype != to) FY_TRY(fy_ev_cast(v, &p.x, to));
    job j = {.k = v->k, .x = fy_ev_dense(v, &p.x), .n = p.n, .a = a};
    if (!j.x) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, to, p.rank, p.dim));
    j.y = fy_ev_at(&o);
    fy_for(v->pool, p.count, 1 + 8192 / (p.n + 1), reduce_run, &j);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_var_mean(fy_eval *v) {                       /* var_mean.correction: variance and mean */
    fy_et  x, o;
    plan   p;
    double a = 1;
    bool   unbiased = true;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(plan_arg(v, &p, &x));
    FY_TRY(fy_ev_bool(v, "unbiased", &unbiased));
    a = unbiased;
    FY_TRY(fy_ev_f64(v, "correction", &a));
    for (int i = 0; i < 2; i++) {
        job j = {.k = i ? EV_MEAN : v->k, .x = fy_ev_dense(v, &p.x), .n = p.n, .a = a};
        if (!j.x) return FY_E_NOMEM;
        FY_TRY(fy_ev_new(v, &o, x.dtype, p.rank, p.dim));
        j.y = fy_ev_at(&o);
        reduce_run(&j, 0, p.count);
        FY_TRY(fy_ev_out(v, i, &o));
    }
    return FY_OK;
}

fy_status fy_at_anyall(fy_eval *v) {                         /* any, all: EV_ANY, EV_ALL */
    fy_et x, o;
    plan  p;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(plan_arg(v, &p, &x));
    const double *d = fy_ev_dense(v, &p.x);
    if (!d) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, x.dtype == FERRY_UINT8 ? FERRY_UINT8 : FERRY_BOOL, p.rank, p.dim));
    for (int64_t r = 0; r < p.count; r++) {
        bool y = v->k == EV_ALL;
        for (int64_t i = 0; i < p.n; i++) y = v->k == EV_ALL ? y && d[r * p.n + i] != 0 : y || d[r * p.n + i] != 0;
        if (o.t.dtype == FERRY_BOOL) fy_ev_at_b(&o)[r] = y;
        else fy_ev_at_i(&o)[r] = y;
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_count_nonzero(fy_eval *v) {
    fy_et x, o;
    plan  p;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(plan_arg(v, &p, &x));
    const double *d = fy_ev_dense(v, &p.x);
    if (!d) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, FERRY_INT64, p.rank, p.dim));
    for (int64_t r = 0; r < p.count; r++)
        for (int64_t i = 0; i < p.n; i++) fy_ev_at_i(&o)[r] += d[r * p.n + i] != 0;
    return fy_ev_out(v, 0, &o);
}

/* ---- positions of extremes ------------------------------------------------------------------------------------------------------ */

/* The first best; NaN beats everything, as in torch. */
static int64_t best_of(const double *x, int64_t n, bool max) {
    int64_t b = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i])) return i;
        if (max ? x[i] > x[b] : x[i] < x[b]) b = i;
    }
    return b;
}

enum { WITH_VALUES = 1000 };

/* argmax, argmin: indices alone; max.dim, min.dim (k + WITH_VALUES): values and indices. 64-bit integers above 2^53 are compared in double. */
fy_status fy_at_argbest(fy_eval *v) {
    fy_et   x, val = {0}, idx;
    plan    p;
    bool    values = v->k >= WITH_VALUES, max = v->k % WITH_VALUES == EV_ARGMAX % WITH_VALUES, keep = false;
    int64_t d = INT64_MIN;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_int(v, "dim", &d));
    FY_TRY(fy_ev_bool(v, "keepdim", &keep));
    int lim = x.t.rank ? x.t.rank : 1;
    FY_NEED(v->e, d == INT64_MIN || (d >= -lim && d < lim), AXIS, "axis %lld outside rank %d", (long long)d, x.t.rank);
    FY_TRY(plan_dims(v, &p, &x, d == INT64_MIN ? ~0u : 1u << (d < 0 ? d + lim : d), keep));
    FY_NEED(v->e, p.n || !p.count, SHAPE, "%s of nothing", v->node->op);
    const double *q = fy_ev_dense(v, &p.x);
    if (!q) return FY_E_NOMEM;
    FY_TRY(fy_ev_temp(v, &idx, FERRY_INT64, p.rank, p.dim));
    for (int64_t r = 0; r < p.count; r++) fy_ev_at_i(&idx)[r] = best_of(q + r * p.n, p.n, max);
    if (values) {
        const int64_t *xi = fy_dtype_class(x.dtype) == FY_CLASS_F ? NULL : fy_ev_dense_i(v, &p.x);
        FY_TRY(fy_ev_new(v, &val, x.dtype, p.rank, p.dim));
        for (int64_t r = 0; r < p.count; r++) {
            int64_t at = r * p.n + fy_ev_at_i(&idx)[r];
            if (!xi) fy_ev_at(&val)[r] = q[at];
            else if (x.dtype == FERRY_BOOL) fy_ev_at_b(&val)[r] = xi[at] != 0;
            else fy_ev_at_i(&val)[r] = xi[at];
        }
        FY_TRY(fy_ev_out(v, 0, &val));
    }
    fy_et o;
    FY_TRY(fy_ev_copy(v, &o, &idx));
    return fy_ev_out(v, values, &o);
}

typedef struct item { double x; int64_t i; } item;

/* Ascending, NaN last; equal ones by position. */
static int up(const void *a, const void *b) {
    const item *p = a, *q = b;
    bool np = isnan(p->x), nq = isnan(q->x);
    if (np != nq) return np ? 1 : -1;
    if (!np && p->x != q->x) return p->x < q->x ? -1 : 1;
    return p->i < q->i ? -1 : p->i > q->i;
}

static int down(const void *a, const void *b) {
    const item *p = a, *q = b;
    bool np = isnan(p->x), nq = isnan(q->x);
    if (np != nq) return np ? -1 : 1;
    if (!np && p->x != q->x) return p->x > q->x ? -1 : 1;
    return p->i < q->i ? -1 : p->i > q->i;
}

enum { SORT, ARGSORT, TOPK };

fy_status fy_at_sort(fy_eval *v) {
    fy_et   x, val, idx;
    int     axis;
    bool    descending = v->k == TOPK;
    int64_t keep, dim[FY_MAX_RANK], inner = 1;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_axis(v, "dim", x.t.rank, -1, &axis));
    FY_TRY(fy_ev_bool(v, v->k == TOPK ? "largest" : "descending", &descending));
    int64_t n = keep = x.t.rank ? x.t.dim[axis] : 1;
    if (v->k == TOPK) FY_TRY(fy_ev_int(v, "k", &keep));
    FY_NEED(v->e, keep >= 0 && keep <= n, VALUE, "topk of %lld among %lld", (long long)keep, (long long)n);
    memcpy(dim, x.t.dim, sizeof dim);
    dim[axis] = keep;
    for (int i = axis + 1; i < x.t.rank; i++) inner *= x.t.dim[i];
    const double  *q = fy_ev_dense(v, &x);
    const int64_t *qi = fy_dtype_class(x.dtype) == FY_CLASS_F ? NULL : fy_ev_dense_i(v, &x);
    item          *it = FY_NEWN(&v->scratch, item, n + 1);
    if (!q) return FY_E_NOMEM;
    FY_NOMEM(v->e, it);
    FY_TRY(fy_ev_temp(v, &val, x.dtype, x.t.rank, dim));
    FY_TRY(fy_ev_temp(v, &idx, FERRY_INT64, x.t.rank, dim));
    int64_t rows = n ? fy_count(&x.t) / n : 0;
    for (int64_t r = 0; r < rows; r++) {
        int64_t base = r / inner * n * inner + r % inner, to = r / inner * keep * inner + r % inner;
        for (int64_t i = 0; i < n; i++) it[i] = (item){q[base + i * inner], i};
        qsort(it, (size_t)n, sizeof *it, descending ? down : up);
        for (int64_t i = 0; i < keep; i++) {
            if (!qi) fy_ev_at(&val)[to + i * inner] = it[i].x;
            else if (x.dtype == FERRY_BOOL) fy_ev_at_b(&val)[to + i * inner] = it[i].x != 0;
            else fy_ev_at_i(&val)[to + i * inner] = qi[base + it[i].i * inner];
            fy_ev_at_i(&idx)[to + i * inner] = it[i].i;
        }
    }
    fy_et o;
    if (v->k != ARGSORT) {
        FY_TRY(fy_ev_copy(v, &o, &val));
        FY_TRY(fy_ev_out(v, 0, &o));
    }
    FY_TRY(fy_ev_copy(v, &o, &idx));
    return fy_ev_out(v, v->k != ARGSORT, &o);
}

/* ---- scans -------------------------------------------------------------------------------------------------------------------------- */

fy_status fy_at_scan(fy_eval *v) {                           /* EV_CUMSUM, EV_CUMPROD */
    fy_et    x, o;
    int      axis;
    fy_dtype to = 0;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_axis(v, "dim", x.t.rank, 0, &axis));
    FY_TRY(fy_ev_dtype(v, "dtype", &to));
    if (!to) to = fy_dtype_class(x.dtype) == FY_CLASS_F ? x.dtype : FERRY_INT64;
    FY_TRY(fy_ev_cast(v, &x, to));
    FY_TRY(fy_ev_copy(v, &o, &x));
    int64_t n = x.t.rank ? x.t.dim[axis] : 1, inner = 1, count = fy_count(&o.t);
    for (int i = axis + 1; i < x.t.rank; i++) inner *= x.t.dim[i];
    for (int64_t i = 0; i < count; i++) {
        if (i / inner % n == 0) continue;
        if (o.t.dtype == FERRY_DOUBLE) { double *y = fy_ev_at(&o); y[i] = v->k == EV_CUMSUM ? y[i - inner] + y[i] : y[i - inner] * y[i]; }
        else if (o.t.dtype == FERRY_INT64) {
            int64_t *y = fy_ev_at_i(&o);
            y[i] = (int64_t)(v->k == EV_CUMSUM ? (uint64_t)y[i - inner] + (uint64_t)y[i] : (uint64_t)y[i - inner] * (uint64_t)y[i]);
        }
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_cumbest(fy_eval *v) {                        /* cummax, cummin: EV_AMAX, EV_AMIN */
    fy_et x, val, idx;
    int   axis;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_axis(v, "dim", x.t.rank, 0, &axis));
    int64_t n = x.t.rank ? x.t.dim[axis] : 1, inner = 1;
    for (int i = axis + 1; i < x.t.rank; i++) inner *= x.t.dim[i];
    FY_NEED(v->e, fy_dtype_class(x.dtype) == FY_CLASS_F, UNSUPPORTED, "%s of integers", v->node->op);
    FY_TRY(fy_ev_copy(v, &val, &x));
    fy_status s = fy_ev_new(v, &idx, FERRY_INT64, x.t.rank, x.t.dim);
    if (s != FY_OK) { fy_tensor_free(&val.t); return s; }
    double  *y = fy_ev_at(&val);
    int64_t *w = fy_ev_at_i(&idx);
    for (int64_t i = 0, count = fy_count(&val.t); i < count; i++) {
        int64_t j = i / inner % n;
        w[i] = j;
        if (j && !(isnan(y[i]) || (v->k == EV_AMAX ? y[i] >= y[i - inner] : y[i] <= y[i - inner]))) { y[i] = y[i - inner]; w[i] = w[i - inner]; }
    }
    s = fy_ev_out(v, 0, &val);
    if (s != FY_OK) { fy_tensor_free(&idx.t); return s; }
    return fy_ev_out(v, 1, &idx);
}

/* What diff works on: prepend, self, append along the axis, as a new tensor; an order of 0 leaves self alone. */
static fy_status extended(fy_eval *v, const fy_et *x, int axis, bool all, fy_et *o) {
    fy_et part[3];
    int   n = 0;
    bool  has = false;
    if (all) FY_TRY(fy_ev_opt(v, "prepend", &part[0], &has));
    n += has;
    part[n++] = *x;
    has = false;
    if (all) FY_TRY(fy_ev_opt(v, "append", &part[n], &has));
    n += has;
    return n == 1 ? fy_ev_copy(v, o, x) : fy_ev_joined(v, o, n, part, x->t.rank, axis);
}

fy_status fy_at_diff(fy_eval *v) {
    fy_et   x, o;
    int     axis;
    int64_t n = 1;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_axis(v, "dim", x.t.rank, -1, &axis));
    FY_TRY(fy_ev_int(v, "n", &n));
    FY_NEED(v->e, x.t.rank && n >= 0, SHAPE, "diff of order %lld of rank %d", (long long)n, x.t.rank);
    FY_TRY(extended(v, &x, axis, n > 0, &o));
    if (n > o.t.dim[axis]) n = o.t.dim[axis];
    bool    truth = o.t.dtype == FERRY_BOOL;
    int64_t inner = 1, outer = 1, d = o.t.dim[axis];
    for (int i = 0; i < o.t.rank; i++) { if (i < axis) outer *= o.t.dim[i]; if (i > axis) inner *= o.t.dim[i]; }
    for (int64_t s = 0; s < n; s++, d--)
        for (int64_t a = 0; a < outer; a++)
            for (int64_t j = 0; j + 1 < d; j++)
                for (int64_t b = 0; b < inner; b++) {
                    int64_t from = (a * d + j) * inner + b, to = (a * (d - 1) + j) * inner + b;
                    if (truth) fy_ev_at_b(&o)[to] = fy_ev_at_b(&o)[from + inner] != fy_ev_at_b(&o)[from];
                    else if (o.t.dtype == FERRY_DOUBLE) fy_ev_at(&o)[to] = fy_ev_at(&o)[from + inner] - fy_ev_at(&o)[from];
                    else fy_ev_at_i(&o)[to] = (int64_t)((uint64_t)fy_ev_at_i(&o)[from + inner] - (uint64_t)fy_ev_at_i(&o)[from]);
                }
    o.t.dim[axis] = d;
    fy_strides(o.t.rank, o.t.dim, o.t.stride);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_histc(fy_eval *v) {
    fy_et   x, o;
    int64_t bins = 100;
    double  lo = 0, hi = 0;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_int(v, "bins", &bins));
    FY_TRY(fy_ev_f64(v, "min", &lo));
    FY_TRY(fy_ev_f64(v, "max", &hi));
    FY_NEED(v->e, bins > 0 && bins < 1 << 24, VALUE, "histc with %lld bins", (long long)bins);
    const double *p = fy_ev_dense(v, &x);
    int64_t       n = fy_count(&x.t);
    if (!p) return FY_E_NOMEM;
    if (lo == hi && n) {
        lo = hi = p[0];
        for (int64_t i = 0; i < n; i++) { lo = fmin(lo, p[i]); hi = fmax(hi, p[i]); }
    }
    if (lo == hi) { lo -= 1; hi += 1; }
    FY_TRY(fy_ev_new(v, &o, x.dtype, 1, &bins));
    for (int64_t i = 0; i < n; i++) {
        if (!(p[i] >= lo && p[i] <= hi)) continue;
        int64_t b = (int64_t)((p[i] - lo) / (hi - lo) * (double)bins);
        if (b >= bins) b = bins - 1;
        if (o.t.dtype == FERRY_DOUBLE) fy_ev_at(&o)[b] += 1;
        else fy_ev_at_i(&o)[b] += 1;
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_bincount(fy_eval *v) {
    fy_et   x, w, o;
    bool    has;
    int64_t bins = 0;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_opt(v, "weights", &w, &has));
    FY_TRY(fy_ev_int(v, "minlength", &bins));
    int64_t n = fy_count(&x.t);
    FY_NEED(v->e, x.t.rank == 1 && bins >= 0 && (!has || (w.t.rank == 1 && w.t.dim[0] == n)), SHAPE, "bincount of rank %d", x.t.rank);
    const int64_t *p = fy_ev_dense_i(v, &x);
    const double  *q = has ? fy_ev_dense(v, &w) : NULL;
    if (!p || (has && !q)) return FY_E_NOMEM;
    for (int64_t i = 0; i < n; i++) {
        FY_NEED(v->e, p[i] >= 0 && p[i] < 1 << 28, VALUE, "bincount of %lld", (long long)p[i]);
        if (p[i] >= bins) bins = p[i] + 1;
    }
    FY_TRY(fy_ev_new(v, &o, !has ? FERRY_INT64 : w.dtype == FERRY_FLOAT ? FERRY_FLOAT : FERRY_DOUBLE, 1, &bins));
    for (int64_t i = 0; i < n; i++) {
        if (has) fy_ev_at(&o)[p[i]] += q[i];
        else fy_ev_at_i(&o)[p[i]]++;
    }
    return fy_ev_out(v, 0, &o);
}
