/* SPDX-License-Identifier: Apache-2.0
 * eval_search.c - distances, look-ups in sorted rows, medians, and other rarer operators, for the evaluator. */
#include "aten/eval.h"
#include "base/sort.h"

#include <math.h>
#include <stdlib.h>

static double distance(const double *a, const double *b, int64_t n, double p, double eps) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i] + eps);
        if (isinf(p)) s = fmax(s, d);
        else s += p == 2 ? d * d : p == 1 ? d : p == 0 ? d != 0 : pow(d, p);
    }
    return p == 2 ? sqrt(s) : p == 1 || p == 0 || isinf(p) ? s : pow(s, 1 / p);
}

/* x1 [.., m, d], x2 [.., n, d] -> [.., m, n] */
fy_status fy_at_cdist(fy_eval *v) {
    fy_et   a, b, o;
    double  p = 2;
    int     rank;
    int64_t dim[FY_MAX_RANK], batch = 1;
    FY_TRY(fy_ev_in(v, "x1", &a));
    FY_TRY(fy_ev_in(v, "x2", &b));
    FY_TRY(fy_ev_f64(v, "p", &p));
    FY_NEED(v->e, a.t.rank >= 2 && b.t.rank >= 2, SHAPE, "distances of rank %d", a.t.rank);
    int64_t m = a.t.dim[a.t.rank - 2], n = b.t.dim[b.t.rank - 2], d = a.t.dim[a.t.rank - 1];
    FY_NEED(v->e, b.t.dim[b.t.rank - 1] == d, SHAPE, "distances of %lld and %lld components", (long long)d, (long long)b.t.dim[b.t.rank - 1]);
    fy_et ba = a, bb = b;
    ba.t.rank -= 2;
    bb.t.rank -= 2;
    FY_TRY(fy_ev_broadcast(v, 2, (const fy_et *const[]){&ba, &bb}, &rank, dim));
    for (int i = 0; i < rank; i++) batch *= dim[i];
    dim[rank] = m, dim[rank + 1] = d;
    FY_TRY(fy_ev_expand(v, &a, rank + 2, dim));
    dim[rank] = n;
    FY_TRY(fy_ev_expand(v, &b, rank + 2, dim));
    const double *x = fy_ev_dense(v, &a), *y = fy_ev_dense(v, &b);
    if (!x || !y) return FY_E_NOMEM;
    dim[rank] = m, dim[rank + 1] = n;
    FY_TRY(fy_ev_new(v, &o, a.dtype, rank + 2, dim));
    for (int64_t i = 0; i < batch * m; i++)
        for (int64_t j = 0; j < n; j++) fy_ev_at(&o)[i * n + j] = distance(x + i * d, y + (i / m * n + j) * d, d, p, 0);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_pairwise(fy_eval *v) {                       /* pairwise_distance; 1: cosine_similarity */
    fy_et   a, b, o;
    double  p = 2, eps = v->k ? 1e-8 : 1e-6;
    bool    keep = false;
    int     rank, axis;
    int64_t dim[FY_MAX_RANK];
    FY_TRY(fy_ev_in(v, "x1", &a));
    FY_TRY(fy_ev_in(v, "x2", &b));
    FY_TRY(fy_ev_f64(v, "p", &p));
    FY_TRY(fy_ev_f64(v, "eps", &eps));
    FY_TRY(fy_ev_bool(v, "keepdim", &keep));
    FY_TRY(fy_ev_broadcast(v, 2, (const fy_et *const[]){&a, &b}, &rank, dim));
    FY_TRY(fy_ev_axis(v, v->k ? "dim" : "", rank, v->k ? 1 : -1, &axis));
    FY_NEED(v->e, rank, SHAPE, "distances of scalars");
    fy_et *both[2] = {&a, &b};
    for (int k = 0; k < 2; k++) {                            /* the axis last */
        FY_TRY(fy_ev_expand(v, both[k], rank, dim));
        fy_tensor *t = &both[k]->t;
        int64_t    d = t->dim[axis], s = t->stride[axis];
        for (int i = axis; i + 1 < rank; i++) { t->dim[i] = t->dim[i + 1]; t->stride[i] = t->stride[i + 1]; }
        t->dim[rank - 1] = d;
        t->stride[rank - 1] = s;
    }
    const double *x = fy_ev_dense(v, &a), *y = fy_ev_dense(v, &b);
    if (!x || !y) return FY_E_NOMEM;
    int64_t n = dim[axis];
    for (int i = axis; i + 1 < rank; i++) dim[i] = dim[i + 1];
    if (keep) dim[rank - 1] = 1;
    FY_TRY(fy_ev_new(v, &o, fy_ev_promote(2, (const fy_et *const[]){&a, &b}), keep ? rank : rank - 1, dim));
    for (int64_t i = 0, m = fy_count(&o.t); i < m; i++) {
        if (!v->k) { fy_ev_at(&o)[i] = distance(x + i * n, y + i * n, n, p, eps); continue; }
        double xy = 0, xx = 0, yy = 0;
        for (int64_t j = 0; j < n; j++) { double c = x[i * n + j], e = y[i * n + j]; xy += c * e; xx += c * c; yy += e * e; }
        fy_ev_at(&o)[i] = xy / (fmax(sqrt(xx), eps) * fmax(sqrt(yy), eps));
    }
    return fy_ev_out(v, 0, &o);
}

/* searchsorted: rows of sorted values, one row for each row of `self`, or one for all; bucketize: one row. */
fy_status fy_at_search(fy_eval *v) {
    fy_et seq, x, o;
    bool  right = false, ints = false;
    FY_TRY(fy_ev_in(v, v->k ? "boundaries" : "sorted_sequence", &seq));
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_bool(v, "right", &right));
    FY_TRY(fy_ev_bool(v, "out_int32", &ints));
    const char *side = fy_ev_str(v, "side", NULL);
    if (side && !strcmp(side, "right")) right = true;
    FY_NEED(v->e, seq.t.rank >= 1 && (seq.t.rank == 1 || seq.t.rank == x.t.rank) && !fy_pnode_arg(v->node, "sorter"), UNSUPPORTED, "%s of rank %d", v->node->op, seq.t.rank);
    const double *s = fy_ev_dense(v, &seq), *p = fy_ev_dense(v, &x);
    if (!s || !p) return FY_E_NOMEM;
    int64_t n = seq.t.dim[seq.t.rank - 1], per = seq.t.rank > 1 ? x.t.dim[x.t.rank - 1] : 0;
    if (seq.t.rank > 1)
        for (int i = 0; i + 1 < seq.t.rank; i++) FY_NEED(v->e, seq.t.dim[i] == x.t.dim[i], SHAPE, "%s: rows do not fit", v->node->op);
    FY_TRY(fy_ev_new(v, &o, ints ? FERRY_INT32 : FERRY_INT64, x.t.rank, x.t.dim));
    for (int64_t i = 0, m = fy_count(&o.t); i < m; i++) {
        const double *row = s + (per ? i / per * n : 0);
        int64_t       lo = 0, hi = n;
        while (lo < hi) {
            int64_t mid = (lo + hi) / 2;
            if (right ? row[mid] <= p[i] : row[mid] < p[i]) lo = mid + 1;
            else hi = mid;
        }
        fy_ev_at_i(&o)[i] = lo;
    }
    return fy_ev_out(v, 0, &o);
}

typedef struct item { double x; int64_t i; } item;

static int up(const void *a, const void *b) {
    const item *p = a, *q = b;
    if (p->x != q->x) return p->x < q->x ? -1 : 1;
    return p->i < q->i ? -1 : p->i > q->i;
}

fy_status fy_at_median(fy_eval *v) {                         /* median.dim: the lower of two, NaN if there is one */
    fy_et   x, val, idx, o;
    int     axis;
    bool    keep = false;
    int64_t dim[FY_MAX_RANK], inner = 1;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_axis(v, "dim", x.t.rank, 0, &axis));
    FY_TRY(fy_ev_bool(v, "keepdim", &keep));
    FY_NEED(v->e, x.t.rank && x.t.dim[axis] && fy_dtype_class(x.dtype) == FY_CLASS_F, UNSUPPORTED, "median of %s of rank %d", fy_dtype_name(x.dtype), x.t.rank);
    int64_t       n = x.t.dim[axis];
    const double *p = fy_ev_dense(v, &x);
    item         *it = FY_NEWN(&v->scratch, item, n);
    if (!p) return FY_E_NOMEM;
    FY_NOMEM(v->e, it);
    int rank = 0;
    for (int i = 0; i < x.t.rank; i++) {
        if (i > axis) inner *= x.t.dim[i];
        if (i != axis || keep) dim[rank++] = i == axis ? 1 : x.t.dim[i];
    }
    FY_TRY(fy_ev_temp(v, &val, x.dtype, rank, dim));
    FY_TRY(fy_ev_temp(v, &idx, FERRY_INT64, rank, dim));
    for (int64_t r = 0, m = fy_count(&val.t); r < m; r++) {
        int64_t base = r / inner * n * inner + r % inner, nan = -1;
        for (int64_t i = 0; i < n; i++) {
            it[i] = (item){p[base + i * inner], i};
            if (isnan(it[i].x) && nan < 0) nan = i;
        }
        if (nan < 0) qsort(it, (size_t)n, sizeof *it, up);
        item best = nan < 0 ? it[(n - 1) / 2] : it[nan];
        fy_ev_at(&val)[r] = best.x;
        fy_ev_at_i(&idx)[r] = best.i;
    }
    FY_TRY(fy_ev_copy(v, &o, &val));
    FY_TRY(fy_ev_out(v, 0, &o));
    FY_TRY(fy_ev_copy(v, &o, &idx));
    return fy_ev_out(v, 1, &o);
}

/* Slices along an axis, or single elements: element i of slice k is at (i / inner * n + k) * inner + i % inner. */
typedef struct slices { const double *f; const int64_t *i; int64_t n, inner, size; } slices;

static int64_t place(const slices *s, int64_t k, int64_t i) { return (i / s->inner * s->n + k) * s->inner + i % s->inner; }

static int before(const void *ctx, int64_t a, int64_t b) {
    const slices *s = ctx;
    for (int64_t i = 0; i < s->size; i++) {
        int64_t p = place(s, a, i), q = place(s, b, i);
        if (s->f ? s->f[p] < s->f[q] : s->i[p] < s->i[q]) return -1;
        if (s->f ? s->f[p] > s->f[q] : s->i[p] > s->i[q]) return 1;
    }
    return 0;
}

fy_status fy_at_unique(fy_eval *v) {                         /* _unique2, unique_dim; 1: unique_consecutive */
    fy_et   x, o;
    bool    asked[3] = {true, false, false};
    int     axis = -1;
    int64_t d = INT64_MIN, m = 0, dim[FY_MAX_RANK];
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_bool(v, "return_inverse", &asked[1]));
    FY_TRY(fy_ev_bool(v, "return_counts", &asked[2]));
    if (strstr(v->node->op, "_dim") || v->k) FY_TRY(fy_ev_int(v, "dim", &d));
    if (d != INT64_MIN) {                                    /* along an axis torch gives everything, asked or not */
        FY_TRY(fy_ev_axis(v, "dim", x.t.rank, 0, &axis));
        asked[1] = asked[2] = true;
    }
    int64_t all = fy_count(&x.t), none = 0;
    slices  s = {.n = axis < 0 ? all : x.t.dim[axis], .inner = 1};
    for (int i = axis + 1; axis >= 0 && i < x.t.rank; i++) s.inner *= x.t.dim[i];
    s.size = s.n ? all / s.n : 0;
    if (fy_ev_wide(x.dtype) == FERRY_DOUBLE) s.f = fy_ev_dense(v, &x);
    else s.i = fy_ev_dense_i(v, &x);
    int64_t *at = FY_NEWN(&v->scratch, int64_t, s.n + 1), *tmp = FY_NEWN(&v->scratch, int64_t, s.n + 1), *group = FY_NEWN(&v->scratch, int64_t, s.n + 1), *count = FY_NEWN(&v->scratch, int64_t, s.n + 1);
    if (!s.f && !s.i) return FY_E_NOMEM;
    FY_NOMEM(v->e, at && tmp && group && count);
    for (int64_t i = 0; i < s.n; i++) at[i] = i;
    if (!v->k) fy_sort(at, tmp, s.n, before, &s);
    for (int64_t i = 0; i < s.n; i++) {
        if (i == 0 || before(&s, tmp[m - 1], at[i])) tmp[m++] = at[i];      /* one of each group */
        group[at[i]] = m - 1;
        count[m - 1]++;
    }
    memcpy(dim, x.t.dim, sizeof dim);
    dim[axis < 0 ? 0 : axis] = m;
    FY_TRY(fy_ev_new(v, &o, x.dtype, axis < 0 ? 1 : x.t.rank, dim));
    slices to = s;
    to.n = m;
    for (int64_t k = 0; k < m; k++)
        for (int64_t i = 0; i < s.size; i++) {
            if (s.f) fy_ev_at(&o)[place(&to, k, i)] = s.f[place(&s, tmp[k], i)];
            else fy_put_i64(&o.t, place(&to, k, i), s.i[place(&s, tmp[k], i)]);
        }
    FY_TRY(fy_ev_out(v, 0, &o));
    for (int k = 1; k < 3; k++) {
        bool whole = k == 1 && axis < 0 && asked[k];
        FY_TRY(fy_ev_new(v, &o, FERRY_INT64, whole ? x.t.rank : 1, whole ? x.t.dim : !asked[k] ? &none : k == 1 ? &s.n : &m));
        for (int64_t i = 0; i < fy_count(&o.t); i++) fy_ev_at_i(&o)[i] = k == 1 ? group[i] : count[i];
        FY_TRY(fy_ev_out(v, k, &o));
    }
    return FY_OK;
}

fy_status fy_at_aminmax(fy_eval *v) {
    fy_et   x, o;
    int64_t d = INT64_MIN, dim[FY_MAX_RANK], inner = 1, n = 1;
    bool    keep = false;
    int     axis = -1, rank = 0;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_int(v, "dim", &d));
    FY_TRY(fy_ev_bool(v, "keepdim", &keep));
    if (d != INT64_MIN) FY_TRY(fy_ev_axis(v, "dim", x.t.rank, 0, &axis));
    for (int i = 0; i < x.t.rank; i++) {
        if (axis < 0 || i == axis) n *= x.t.dim[i];
        else dim[rank++] = x.t.dim[i];
        if ((axis < 0 || i == axis) && keep) dim[rank++] = 1;
        if (axis >= 0 && i > axis) inner *= x.t.dim[i];
    }
    const double *p = fy_ev_dense(v, &x);
    if (!p) return FY_E_NOMEM;
    FY_NEED(v->e, n && fy_dtype_class(x.dtype) == FY_CLASS_F, UNSUPPORTED, "aminmax of %s", fy_dtype_name(x.dtype));
    for (int k = 0; k < 2; k++) {
        FY_TRY(fy_ev_new(v, &o, x.dtype, rank, dim));
        for (int64_t r = 0, m = fy_count(&o.t); r < m; r++) {
            int64_t base = r / inner * n * inner + r % inner;
            double  best = p[base];
            for (int64_t i = 1; i < n; i++) {
                double e = p[base + i * inner];
                best = isnan(e) || (k ? e > best : e < best) ? e : best;
            }
            fy_ev_at(&o)[r] = best;
        }
        FY_TRY(fy_ev_out(v, k, &o));
    }
    return FY_OK;
}

fy_status fy_at_take(fy_eval *v) {
    fy_et self, idx, o;
    FY_TRY(fy_ev_in(v, "self", &self));
    FY_TRY(fy_ev_in(v, "index", &idx));
    const int64_t *at = fy_ev_dense_i(v, &idx);
    if (!at) return FY_E_NOMEM;
    int64_t n = fy_count(&self.t), m = fy_count(&idx.t);
    for (int64_t i = 0; i < m; i++) FY_NEED(v->e, at[i] >= -n && at[i] < n, INDEX, "index %lld of %lld elements", (long long)at[i], (long long)n);
    FY_TRY(fy_ev_new(v, &o, self.dtype, idx.t.rank, idx.t.dim));
    for (int64_t i = 0; i < m; i++) {
        int64_t k = at[i] < 0 ? at[i] + n : at[i];
        if (o.t.dtype == FERRY_DOUBLE) fy_ev_at(&o)[i] = fy_get_f64(&self.t, k);
        else fy_put_i64(&o.t, i, fy_get_i64(&self.t, k));
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_nanmean(fy_eval *v) {
    fy_et    x, o;
    int64_t  dims[FY_MAX_RANK], dim[FY_MAX_RANK];
    int      n, rank = 0;
    unsigned which = 0;
    bool     keep = false;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_ints(v, "dim", dims, FY_MAX_RANK, &n));
    FY_TRY(fy_ev_bool(v, "keepdim", &keep));
    for (int i = 0; i < n; i++) {
        FY_NEED(v->e, dims[i] >= -x.t.rank && dims[i] < x.t.rank, AXIS, "axis %lld outside rank %d", (long long)dims[i], x.t.rank);
        which |= 1u << (dims[i] < 0 ? dims[i] + x.t.rank : dims[i]);
    }
    if (n <= 0) which = ~0u;
    int64_t to[FY_MAX_RANK], step = 1;                       /* stride of each axis in the result; 0 where reduced */
    for (int i = 0; i < x.t.rank; i++)
        if (!(which >> i & 1) || keep) dim[rank++] = which >> i & 1 ? 1 : x.t.dim[i];
    for (int i = x.t.rank - 1; i >= 0; i--) {
        to[i] = which >> i & 1 ? 0 : step;
        if (!(which >> i & 1)) step *= x.t.dim[i];
    }
    const double *p = fy_ev_dense(v, &x);
    double       *count = FY_NEWN(&v->scratch, double, step + 1);
    if (!p) return FY_E_NOMEM;
    FY_NOMEM(v->e, count);
    FY_TRY(fy_ev_new(v, &o, x.dtype, rank, dim));
    for (int64_t i = 0, m = fy_count(&x.t); i < m; i++) {
        int64_t at = 0;
        for (int64_t d = x.t.rank - 1, q = i; d >= 0; q /= x.t.dim[d], d--) at += q % x.t.dim[d] * to[d];
        if (isnan(p[i])) continue;
        fy_ev_at(&o)[at] += p[i];
        count[at] += 1;
    }
    for (int64_t i = 0, m = fy_count(&o.t); i < m; i++) fy_ev_at(&o)[i] /= count[i];
    return fy_ev_out(v, 0, &o);
}

/* vstack: rows of what is at least a matrix; hstack: along axis 1, or 0 for vectors; column_stack: vectors as columns. */
fy_status fy_at_hvstack(fy_eval *v) {
    fy_et  *in, o;
    int     n;
    int64_t dim[FY_MAX_RANK], at = 0;
    FY_TRY(fy_ev_list(v, "tensors", &in, &n));
    FY_NEED(v->e, n >= 1, SHAPE, "a stack of nothing");
    for (int i = 0; i < n; i++) {
        fy_tensor *t = &in[i].t;
        int64_t    d = t->rank ? t->dim[0] : 1, s = t->rank ? t->stride[0] : 1;
        if (t->rank == 0) { t->rank = 1; t->dim[0] = 1; t->stride[0] = 1; }
        if (t->rank == 1 && v->k != 1) {
            t->rank = 2;
            t->dim[0] = v->k == 2 ? d : 1, t->stride[0] = v->k == 2 ? s : 0;
            t->dim[1] = v->k == 2 ? 1 : d, t->stride[1] = v->k == 2 ? 0 : s;
        }
    }
    int axis = v->k == 0 || in[0].t.rank == 1 ? 0 : 1, rank = in[0].t.rank;
    memcpy(dim, in[0].t.dim, sizeof dim);
    dim[axis] = 0;
    for (int i = 0; i < n; i++) {
        FY_NEED(v->e, in[i].t.rank == rank && in[i].dtype == in[0].dtype, SHAPE, "a stack of ranks %d and %d", rank, in[i].t.rank);
        for (int d = 0; d < rank; d++) FY_NEED(v->e, d == axis || in[i].t.dim[d] == dim[d], SHAPE, "a stack: sizes do not fit");
        dim[axis] += in[i].t.dim[axis];
    }
    FY_TRY(fy_ev_new(v, &o, in[0].dtype, rank, dim));
    for (int i = 0; i < n; i++) {
        fy_tensor part = o.t;
        part.dim[axis] = in[i].t.dim[axis];
        if (fy_count(&part)) {
            part.data = (char *)o.t.data + at * o.t.stride[axis] * fy_elem_bytes(o.t.dtype);
            fy_tensor_copy(&part, &in[i].t);
        }
        at += in[i].t.dim[axis];
    }
    return fy_ev_out(v, 0, &o);
}
