/* SPDX-License-Identifier: Apache-2.0
 * eval_index.c - gathering, scattering, joining, padding for the evaluator. Every index value is checked. */
#include "aten/eval.h"

#include "base/checked.h"

#include <math.h>

static size_t width(const fy_et *a) { return (size_t)fy_elem_bytes(a->t.dtype); }

/* Elements in the wide dtype they are held in. */
static const char *held(fy_eval *v, const fy_et *a) {
    if (fy_contiguous(&a->t) && a->t.data) return a->t.data;
    fy_et o;
    if (fy_ev_temp(v, &o, a->dtype, a->t.rank, a->t.dim) != FY_OK) return NULL;
    fy_tensor_copy(&o.t, &a->t);
    return o.t.data;
}

static fy_status wrap_index(fy_eval *v, int64_t *i, int64_t n) {
    FY_NEED(v->e, *i >= -n && *i < n, INDEX, "index %lld outside size %lld", (long long)*i, (long long)n);
    if (*i < 0) *i += n;
    return FY_OK;
}

/* ---- embedding ------------------------------------------------------------------------------------------------------------------ */

fy_status fy_at_embedding(fy_eval *v) {
    fy_et w, idx, o;
    FY_TRY(fy_ev_raw(v, "weight", &w));
    FY_TRY(fy_ev_in(v, "indices", &idx));
    FY_NEED(v->e, w.t.rank == 2 && idx.t.rank < FY_MAX_RANK, SHAPE, "embedding of rank %d", w.t.rank);
    int64_t dim[FY_MAX_RANK], d = w.t.dim[1], n = fy_count(&idx.t);
    memcpy(dim, idx.t.dim, sizeof dim);
    dim[idx.t.rank] = d;
    const int64_t *at = fy_ev_dense_i(v, &idx);
    if (!at) return FY_E_NOMEM;
    for (int64_t i = 0; i < n; i++) FY_NEED(v->e, at[i] >= 0 && at[i] < w.t.dim[0], INDEX, "index %lld of an embedding of %lld rows", (long long)at[i], (long long)w.t.dim[0]);
    FY_TRY(fy_ev_new(v, &o, w.dtype, idx.t.rank + 1, dim));
    for (int64_t i = 0; i < n; i++) {
        if (o.t.dtype == FERRY_DOUBLE) fy_load_f64(fy_ev_at(&o) + i * d, &w.t, at[i] * d, d);
        else if (o.t.dtype == FERRY_INT64) fy_load_i64(fy_ev_at_i(&o) + i * d, &w.t, at[i] * d, d);
    }
    return fy_ev_out(v, 0, &o);
}

/* sum, mean, max over bags; the other three results are bookkeeping: bag of each index, sizes, positions of maxima. */
fy_status fy_at_embedding_bag(fy_eval *v) {
    fy_et   w, idx, off, per, o;
    bool    has, last = false;
    int64_t mode = 0, pad = -1;
    FY_TRY(fy_ev_in(v, "weight", &w));
    FY_TRY(fy_ev_in(v, "indices", &idx));
    FY_TRY(fy_ev_in(v, "offsets", &off));
    FY_TRY(fy_ev_opt(v, "per_sample_weights", &per, &has));
    FY_TRY(fy_ev_int(v, "mode", &mode));
    FY_TRY(fy_ev_int(v, "padding_idx", &pad));
    FY_TRY(fy_ev_bool(v, "include_last_offset", &last));
    FY_NEED(v->e, w.t.rank == 2 && idx.t.rank == 1 && off.t.rank == 1, UNSUPPORTED, "embedding_bag of rank %d", idx.t.rank);
    const int64_t *at = fy_ev_dense_i(v, &idx), *from = fy_ev_dense_i(v, &off);
    const double  *table = fy_ev_dense(v, &w), *p = has ? fy_ev_dense(v, &per) : NULL;
    if (!at || !from || !table || (has && !p)) return FY_E_NOMEM;
    int64_t n = idx.t.dim[0], bags = off.t.dim[0] - last, d = w.t.dim[1];
    FY_NEED(v->e, bags >= 0 && (!has || fy_count(&per.t) == n), SHAPE, "embedding_bag of %lld bags", (long long)bags);
    FY_TRY(fy_ev_temp(v, &o, w.dtype, 2, (int64_t[]){bags, d}));
    for (int64_t b = 0; b < bags; b++) {
        int64_t lo = from[b], hi = b + 1 < off.t.dim[0] ? from[b + 1] : n, used = 0;
        FY_NEED(v->e, lo >= 0 && lo <= hi && hi <= n, INDEX, "embedding_bag offset %lld", (long long)lo);
        double *y = fy_ev_at(&o) + b * d;
        for (int64_t i = lo; i < hi; i++) {
            FY_NEED(v->e, at[i] >= 0 && at[i] < w.t.dim[0], INDEX, "index %lld of an embedding of %lld rows", (long long)at[i], (long long)w.t.dim[0]);
            if (at[i] == pad) continue;
            for (int64_t j = 0; j < d; j++) {
                double x = table[at[i] * d + j] * (p ? p[i] : 1);
                y[j] = mode == 2 ? (used ? fmax(y[j], x) : x) : y[j] + x;
            }
            used++;
        }
        if (mode == 1 && used) for (int64_t j = 0; j < d; j++) y[j] /= (double)used;
    }
    fy_et r;
    FY_TRY(fy_ev_copy(v, &r, &o));
    return fy_ev_out(v, 0, &r);
}

/* ---- index.Tensor, index_put ---------------------------------------------------------------------------------------------------- */

/* The advanced-indexing plan: for each result element its source element. Index tensors broadcast to `idim`; their place in
 * the result is where they stand when adjacent, else in front, as in NumPy. */
typedef struct adv { int rank, irank, n /* placed */, first; int64_t dim[FY_MAX_RANK], idim[FY_MAX_RANK]; bool by[FY_MAX_RANK]; const int64_t *idx[FY_MAX_RANK]; } adv;

static fy_status read_indices(fy_eval *v, const fy_et *self, adv *a) {
    fy_et       *in, *use, ix[FY_MAX_RANK];
    const fy_et *all[FY_MAX_RANK];
    int          n, k = 0, axis = 0, on[FY_MAX_RANK];
    FY_TRY(fy_ev_list(v, "indices", &in, &n));
    *a = (adv){.first = -1};
    for (int i = 0; i < n; i++) {
        use = &in[i];
        if (!use->dtype) { axis++; continue; }
        if (use->dtype == FERRY_BOOL || use->dtype == FERRY_UINT8) {     /* a mask is the positions where it is true, one index for each of its axes */
            const int64_t *m = fy_ev_dense_i(v, use);
            int64_t        count = 0, total = fy_count(&use->t);
            if (!m) return FY_E_NOMEM;
            for (int64_t j = 0; j < total; j++) count += m[j] != 0;
            for (int d = 0; d < use->t.rank; d++) {
                int64_t inner = 1, c = 0;
                FY_NEED(v->e, axis < self->t.rank && k < FY_MAX_RANK && use->t.dim[d] == self->t.dim[axis], SHAPE, "a mask does not fit axis %d", axis);
                for (int e = d + 1; e < use->t.rank; e++) inner *= use->t.dim[e];
                FY_TRY(fy_ev_temp(v, &ix[k], FERRY_INT64, 1, &count));
                for (int64_t j = 0; j < total; j++) if (m[j]) fy_ev_at_i(&ix[k])[c++] = j / inner % use->t.dim[d];
                on[k++] = axis++;
            }
            FY_NEED(v->e, use->t.rank, UNSUPPORTED, "a mask without axes");
            continue;
        }
        FY_NEED(v->e, axis < self->t.rank && k < FY_MAX_RANK, SHAPE, "more indices than axes");
        ix[k] = *use;
        on[k++] = axis++;
    }
    FY_NEED(v->e, k > 0, UNSUPPORTED, "indexing with no index");
    for (int i = 0; i < k; i++) all[i] = &ix[i];
    FY_TRY(fy_ev_broadcast(v, k, all, &a->irank, a->idim));
    int64_t m = 1;
    for (int i = 0; i < a->irank; i++) m *= a->idim[i];
    bool adjacent = true;
    for (int i = 0; i < k; i++) {
        FY_TRY(fy_ev_expand(v, &ix[i], a->irank, a->idim));
        int64_t *w = FY_NEWN(&v->scratch, int64_t, m + 1);
        FY_NOMEM(v->e, w);
        fy_load_i64(w, &ix[i].t, 0, m);
        for (int64_t j = 0; j < m; j++) FY_TRY(wrap_index(v, &w[j], self->t.dim[on[i]]));
        a->by[on[i]] = true;
        a->idx[on[i]] = w;
        if (i && on[i] != on[i - 1] + 1) adjacent = false;
    }
    a->first = adjacent ? on[0] : 0;
    FY_NEED(v->e, self->t.rank - k + a->irank <= FY_MAX_RANK, LIMIT, "rank above %d", FY_MAX_RANK);
    for (int i = adjacent ? 0 : -1; i < self->t.rank; i++) {
        if (i >= 0 && !a->by[i]) { a->dim[a->rank++] = self->t.dim[i]; continue; }
        for (int d = 0; d < a->irank && !a->n; d++) a->dim[a->rank++] = a->idim[d];
        a->n = 1;
    }
    return FY_OK;
}

/* Element of self that result element `i` stands for. */
static int64_t source_of(const adv *a, const fy_et *self, int64_t i) {
    int64_t at[FY_MAX_RANK], which = 0, r = 0;
    for (int d = a->rank - 1; d >= 0; d--) { at[d] = i % a->dim[d]; i /= a->dim[d]; }
    for (int d = 0; d < a->irank; d++) which = which * a->idim[d] + at[a->first + d];
    for (int d = 0, k = 0; d < self->t.rank; d++) {
        if (a->by[d]) { r = r * self->t.dim[d] + a->idx[d][which]; continue; }
        if (k == a->first) k += a->irank;
        r = r * self->t.dim[d] + at[k++];
    }
    return r;
}

fy_status fy_at_index(fy_eval *v) {
    fy_et self, o;
    adv   a;
    FY_TRY(fy_ev_in(v, "self", &self));
    FY_TRY(read_indices(v, &self, &a));
    const char *x = held(v, &self);
    if (!x && fy_count(&self.t)) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, self.dtype, a.rank, a.dim));
    size_t w = width(&o);
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) memcpy((char *)o.t.data + (size_t)i * w, x + (size_t)source_of(&a, &self, i) * w, w);
    return fy_ev_out(v, 0, &o);
}

static void put_at(fy_et *o, int64_t at, const fy_et *src, int64_t i, bool add) {
    if (o->t.dtype == FERRY_DOUBLE) fy_ev_at(o)[at] = fy_ev_at(src)[i] + (add ? fy_ev_at(o)[at] : 0);
    else if (o->t.dtype == FERRY_BOOL) fy_ev_at_b(o)[at] = (uint8_t)(fy_ev_at_b(src)[i] | (add ? fy_ev_at_b(o)[at] : 0));
    else fy_ev_at_i(o)[at] = (int64_t)((uint64_t)fy_ev_at_i(src)[i] + (add ? (uint64_t)fy_ev_at_i(o)[at] : 0));
}

/* src broadcast to the shape, in o's dtype, dense. */
static fy_status dense_like(fy_eval *v, fy_et *src, fy_dtype dtype, int rank, const int64_t *dim) {
    fy_et d;
    while (src->t.rank > rank) {                             /* leading ones may be dropped */
        FY_NEED(v->e, src->t.dim[0] == 1, SHAPE, "values of rank %d for rank %d", src->t.rank, rank);
        for (int i = 0; i + 1 < src->t.rank; i++) { src->t.dim[i] = src->t.dim[i + 1]; src->t.stride[i] = src->t.stride[i + 1]; }
        src->t.rank--;
    }
    FY_TRY(fy_ev_cast(v, src, dtype));
    FY_TRY(fy_ev_expand(v, src, rank, dim));
    FY_TRY(fy_ev_temp(v, &d, dtype, rank, dim));
    fy_tensor_copy(&d.t, &src->t);
    *src = d;
    return FY_OK;
}

fy_status fy_at_index_put(fy_eval *v) {
    fy_et self, val, o;
    adv   a;
    bool  add = false;
    FY_TRY(fy_ev_in(v, "self", &self));
    FY_TRY(fy_ev_in(v, "values", &val));
    FY_TRY(fy_ev_bool(v, "accumulate", &add));
    FY_TRY(read_indices(v, &self, &a));
    FY_TRY(dense_like(v, &val, self.dtype, a.rank, a.dim));
    FY_TRY(fy_ev_copy(v, &o, &self));
    for (int64_t i = 0, n = fy_count(&val.t); i < n; i++) put_at(&o, source_of(&a, &self, i), &val, i, add);
    return fy_ev_out(v, 0, &o);
}

/* ---- along one axis --------------------------------------------------------------------------------------------------------------- */

fy_status fy_at_index_select(fy_eval *v) {
    fy_et   self, idx, o;
    int     axis;
    int64_t dim[FY_MAX_RANK], inner = 1;
    FY_TRY(fy_ev_in(v, "self", &self));
    FY_TRY(fy_ev_in(v, "index", &idx));
    FY_TRY(fy_ev_axis(v, "dim", self.t.rank, 0, &axis));
    const int64_t *at = fy_ev_dense_i(v, &idx);
    const char    *x = held(v, &self);
    if (!at || (!x && fy_count(&self.t))) return FY_E_NOMEM;
    int64_t n = fy_count(&idx.t), d = self.t.rank ? self.t.dim[axis] : 1;
    memcpy(dim, self.t.dim, sizeof dim);
    if (self.t.rank) dim[axis] = n;
    for (int i = axis + 1; i < self.t.rank; i++) inner *= dim[i];
    for (int64_t i = 0; i < n; i++) FY_NEED(v->e, at[i] >= 0 && at[i] < d, INDEX, "index %lld outside size %lld", (long long)at[i], (long long)d);
    FY_TRY(fy_ev_new(v, &o, self.dtype, self.t.rank, dim));
    size_t w = width(&o) * (size_t)inner;
    for (int64_t i = 0, rows = fy_count(&o.t) / (inner ? inner : 1); i < rows && inner; i++)
        memcpy((char *)o.t.data + (size_t)i * w, x + (size_t)(i / n * d + at[i % n]) * w, w);
    return fy_ev_out(v, 0, &o);
}

/* Element of self addressed by position i of the index tensor along `axis`. */
static fy_status along(fy_eval *v, const fy_et *self, const fy_et *idx, int axis, int64_t i, int64_t which, int64_t *r) {
    int64_t at[FY_MAX_RANK];
    for (int d = idx->t.rank - 1; d >= 0; d--) { at[d] = i % idx->t.dim[d]; i /= idx->t.dim[d]; }
    *r = 0;
    for (int d = 0; d < self->t.rank; d++) {
        int64_t p = d == axis ? which : at[d];
        FY_NEED(v->e, p >= 0 && p < self->t.dim[d], INDEX, "index %lld outside size %lld", (long long)p, (long long)self->t.dim[d]);
        *r = *r * self->t.dim[d] + p;
    }
    return FY_OK;
}

fy_status fy_at_gather(fy_eval *v) {                         /* gather; 1: take_along_dim */
    fy_et self, idx, o;
    int   axis;
    FY_TRY(fy_ev_in(v, "self", &self));
    FY_TRY(fy_ev_in(v, v->k ? "indices" : "index", &idx));
    FY_TRY(fy_ev_axis(v, "dim", self.t.rank, 0, &axis));
    FY_NEED(v->e, idx.t.rank == self.t.rank, SHAPE, "gather of rank %d with indices of rank %d", self.t.rank, idx.t.rank);
    if (v->k) {                                              /* broadcast but for the axis */
        int64_t ds[FY_MAX_RANK], di[FY_MAX_RANK];
        for (int d = 0; d < self.t.rank; d++) {
            ds[d] = d == axis || self.t.dim[d] != 1 ? self.t.dim[d] : idx.t.dim[d];
            di[d] = d == axis || idx.t.dim[d] != 1 ? idx.t.dim[d] : self.t.dim[d];
        }
        FY_TRY(fy_ev_expand(v, &self, self.t.rank, ds));
        FY_TRY(fy_ev_expand(v, &idx, idx.t.rank, di));
    }
    const int64_t *at = fy_ev_dense_i(v, &idx);
    const char    *x = held(v, &self);
    if (!at || (!x && fy_count(&self.t))) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, self.dtype, idx.t.rank, idx.t.dim));
    size_t w = width(&o);
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) {
        int64_t   from, which = at[i];
        if (v->k && which < 0) which += self.t.dim[axis];
        fy_status s = along(v, &self, &idx, axis, i, which, &from);
        if (s != FY_OK) { fy_tensor_free(&o.t); return s; }
        memcpy((char *)o.t.data + (size_t)i * w, x + (size_t)from * w, w);
    }
    return fy_ev_out(v, 0, &o);
}

enum { SET, ADD, REDUCE };

fy_status fy_at_scatter(fy_eval *v) {                        /* scatter.src, .value, scatter_add, scatter_reduce.two */
    fy_et       self, idx, src, o;
    int         axis;
    bool        has, include = true;
    const char *how = fy_ev_str(v, "reduce", v->k == ADD ? "sum" : NULL);
    FY_TRY(fy_ev_in(v, "self", &self));
    FY_TRY(fy_ev_in(v, "index", &idx));
    FY_TRY(fy_ev_opt(v, "src", &src, &has));
    if (!has) FY_TRY(fy_ev_in(v, "value", &src));
    FY_TRY(fy_ev_axis(v, "dim", self.t.rank, 0, &axis));
    FY_TRY(fy_ev_bool(v, "include_self", &include));
    FY_NEED(v->e, idx.t.rank == self.t.rank, SHAPE, "scatter of rank %d with indices of rank %d", self.t.rank, idx.t.rank);
    if (has) {                                               /* src may be larger than the index */
        FY_NEED(v->e, src.t.rank == idx.t.rank, SHAPE, "scatter from rank %d", src.t.rank);
        for (int d = 0; d < idx.t.rank; d++) {
            FY_NEED(v->e, idx.t.dim[d] <= src.t.dim[d], SHAPE, "scatter: %lld indices for %lld values", (long long)idx.t.dim[d], (long long)src.t.dim[d]);
            src.t.dim[d] = idx.t.dim[d];
        }
    }
    FY_TRY(dense_like(v, &src, self.dtype, idx.t.rank, idx.t.dim));
    const int64_t *at = fy_ev_dense_i(v, &idx);
    if (!at) return FY_E_NOMEM;
    FY_TRY(fy_ev_temp(v, &o, self.dtype, self.t.rank, self.t.dim));
    fy_tensor_copy(&o.t, &self.t);
    int64_t n = fy_count(&idx.t), total = fy_count(&o.t), *count = NULL;
    bool    mean = how && !strcmp(how, "mean");
    FY_NEED(v->e, !how || !strcmp(how, "sum") || !strcmp(how, "add") || !strcmp(how, "prod") || !strcmp(how, "multiply") || !strcmp(how, "amax") || !strcmp(how, "amin") || mean,
            UNSUPPORTED, "scatter with reduce %s", how);
    FY_NEED(v->e, !how || v->k == ADD || o.t.dtype == FERRY_DOUBLE, UNSUPPORTED, "scatter_reduce of %s", fy_dtype_name(self.dtype));
    FY_NOMEM(v->e, count = FY_NEWN(&v->scratch, int64_t, total + 1));
    for (int64_t i = 0; i < n; i++) {
        int64_t to;
        FY_TRY(along(v, &self, &idx, axis, i, at[i], &to));
        if (!how) { put_at(&o, to, &src, i, false); continue; }
        if (v->k == ADD || !strcmp(how, "sum") || !strcmp(how, "add") || mean) put_at(&o, to, &src, i, include || count[to]);
        else {
            double *y = &fy_ev_at(&o)[to], x = fy_ev_at(&src)[i];
            if (!include && !count[to]) *y = x;
            else if (how[0] == 'p' || how[0] == 'm') *y *= x;
            else if (!strcmp(how, "amax")) *y = isnan(x) || isnan(*y) ? (double)NAN : x > *y ? x : *y;
            else *y = isnan(x) || isnan(*y) ? (double)NAN : x < *y ? x : *y;
        }
        count[to]++;
    }
    if (mean)
        for (int64_t i = 0; i < total; i++)
            if (count[i] + include > 1) fy_ev_at(&o)[i] /= (double)(count[i] + include);
    fy_et r;
    FY_TRY(fy_ev_copy(v, &r, &o));
    return fy_ev_out(v, 0, &r);
}

fy_status fy_at_index_write(fy_eval *v) {                    /* index_add; 1: index_copy; 2: index_fill */
    fy_et   self, idx, src, o;
    int     axis;
    double  alpha = 1;
    FY_TRY(fy_ev_in(v, "self", &self));
    FY_TRY(fy_ev_in(v, "index", &idx));
    FY_TRY(fy_ev_in(v, v->k == 2 ? "value" : "source", &src));
    FY_TRY(fy_ev_axis(v, "dim", self.t.rank, 0, &axis));
    FY_TRY(fy_ev_f64(v, "alpha", &alpha));
    FY_NEED(v->e, alpha == 1 && self.t.rank, UNSUPPORTED, "index_add with alpha %g", alpha);
    const int64_t *at = fy_ev_dense_i(v, &idx);
    int64_t        n = fy_count(&idx.t), dim[FY_MAX_RANK], inner = 1;
    if (!at) return FY_E_NOMEM;
    memcpy(dim, self.t.dim, sizeof dim);
    dim[axis] = n;
    for (int i = axis + 1; i < self.t.rank; i++) inner *= dim[i];
    for (int64_t i = 0; i < n; i++) FY_NEED(v->e, at[i] >= 0 && at[i] < self.t.dim[axis], INDEX, "index %lld outside size %lld", (long long)at[i], (long long)self.t.dim[axis]);
    FY_TRY(dense_like(v, &src, self.dtype, self.t.rank, dim));
    FY_TRY(fy_ev_copy(v, &o, &self));
    for (int64_t i = 0, m = fy_count(&src.t); i < m; i++) {
        int64_t j = i / inner % n, to = (i / inner / n * self.t.dim[axis] + at[j]) * inner + i % inner;
        put_at(&o, to, &src, i, v->k == 0);
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_masked_scatter(fy_eval *v) {
    fy_et   self, mask, src, o;
    int     rank;
    int64_t dim[FY_MAX_RANK], k = 0;
    FY_TRY(fy_ev_in(v, "self", &self));
    FY_TRY(fy_ev_in(v, "mask", &mask));
    FY_TRY(fy_ev_in(v, "source", &src));
    FY_TRY(fy_ev_broadcast(v, 2, (const fy_et *const[]){&self, &mask}, &rank, dim));
    FY_TRY(fy_ev_expand(v, &mask, rank, dim));
    FY_TRY(fy_ev_expand(v, &self, rank, dim));
    int64_t all = fy_count(&src.t);
    FY_TRY(fy_ev_reshape(v, &src, 1, &all));
    FY_TRY(dense_like(v, &src, self.dtype, 1, &all));
    const int64_t *m = fy_ev_dense_i(v, &mask);
    if (!m) return FY_E_NOMEM;
    int64_t need = 0, n = fy_count(&self.t);
    for (int64_t i = 0; i < n; i++) need += m[i] != 0;
    FY_NEED(v->e, need <= all, SHAPE, "masked_scatter of %lld values into %lld places", (long long)all, (long long)need);
    FY_TRY(fy_ev_copy(v, &o, &self));
    for (int64_t i = 0; i < n; i++) if (m[i]) put_at(&o, i, &src, k++, false);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_masked_select(fy_eval *v) {
    fy_et   self, mask, o;
    int     rank;
    int64_t dim[FY_MAX_RANK], k = 0;
    FY_TRY(fy_ev_in(v, "self", &self));
    FY_TRY(fy_ev_in(v, "mask", &mask));
    FY_TRY(fy_ev_broadcast(v, 2, (const fy_et *const[]){&self, &mask}, &rank, dim));
    FY_TRY(fy_ev_expand(v, &mask, rank, dim));
    FY_TRY(fy_ev_expand(v, &self, rank, dim));
    const int64_t *m = fy_ev_dense_i(v, &mask);
    const char    *x = held(v, &self);
    if (!m || (!x && fy_count(&self.t))) return FY_E_NOMEM;
    int64_t need = 0, n = fy_count(&self.t);
    for (int64_t i = 0; i < n; i++) need += m[i] != 0;
    FY_TRY(fy_ev_new(v, &o, self.dtype, 1, &need));
    size_t w = width(&o);
    for (int64_t i = 0; i < n; i++) if (m[i]) memcpy((char *)o.t.data + (size_t)k++ * w, x + (size_t)i * w, w);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_nonzero(fy_eval *v) {
    fy_et   x, o;
    int64_t n = 0, k = 0;
    FY_TRY(fy_ev_in(v, "self", &x));
    const double *p = fy_ev_dense(v, &x);
    if (!p) return FY_E_NOMEM;
    int64_t total = fy_count(&x.t);
    for (int64_t i = 0; i < total; i++) n += p[i] != 0;
    FY_TRY(fy_ev_new(v, &o, FERRY_INT64, 2, (int64_t[]){n, x.t.rank}));
    for (int64_t i = 0; i < total; i++) {
        if (p[i] == 0) continue;
        for (int64_t d = x.t.rank - 1, q = i; d >= 0; q /= x.t.dim[d], d--) fy_ev_at_i(&o)[k * x.t.rank + d] = q % x.t.dim[d];
        k++;
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_one_hot(fy_eval *v) {
    fy_et   x, o;
    int64_t classes = -1, dim[FY_MAX_RANK];
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_int(v, "num_classes", &classes));
    const int64_t *p = fy_ev_dense_i(v, &x);
    int64_t        n = fy_count(&x.t);
    if (!p) return FY_E_NOMEM;
    if (classes < 0) for (int64_t i = 0; i < n; i++) classes = p[i] + 1 > classes ? p[i] + 1 : classes;
    for (int64_t i = 0; i < n; i++) FY_NEED(v->e, p[i] >= 0 && p[i] < classes, INDEX, "class %lld of %lld", (long long)p[i], (long long)classes);
    FY_NEED(v->e, x.t.rank < FY_MAX_RANK && classes >= 0, SHAPE, "one_hot of rank %d", x.t.rank);
    memcpy(dim, x.t.dim, sizeof dim);
    dim[x.t.rank] = classes;
    FY_TRY(fy_ev_new(v, &o, FERRY_INT64, x.t.rank + 1, dim));
    for (int64_t i = 0; i < n; i++) fy_ev_at_i(&o)[i * classes + p[i]] = 1;
    return fy_ev_out(v, 0, &o);
}

/* ---- joining and repeating ------------------------------------------------------------------------------------------------------------ */

static bool counts_as_nothing(const fy_et *a, int rank) { return rank != 1 && a->t.rank == 1 && a->t.dim[0] == 0; }      /* old empty tensors */

fy_status fy_ev_joined(fy_eval *v, fy_et *o, int n, const fy_et *in, int rank, int axis) {
    const fy_et **ptr = FY_NEWN(&v->scratch, const fy_et *, n);
    int64_t       dim[FY_MAX_RANK], at = -1;
    FY_NOMEM(v->e, ptr);
    for (int i = 0; i < n; i++) {
        const fy_tensor *t = &in[i].t;
        ptr[i] = &in[i];
        if (counts_as_nothing(&in[i], rank)) continue;
        FY_NEED(v->e, t->rank == rank, SHAPE, "cat of ranks %d and %d", rank, t->rank);
        if (at < 0) { memcpy(dim, t->dim, sizeof dim); at = dim[axis]; continue; }
        for (int d = 0; d < rank; d++) FY_NEED(v->e, d == axis || t->dim[d] == dim[d], SHAPE, "cat: sizes %lld and %lld", (long long)dim[d], (long long)t->dim[d]);
        at += t->dim[axis];
    }
    FY_NEED(v->e, at >= 0, SHAPE, "cat of nothing");
    dim[axis] = at;
    FY_TRY(fy_ev_new(v, o, fy_ev_promote(n, ptr), rank, dim));
    fy_et part = *o;
    at = 0;
    for (int i = 0; i < n; i++) {
        if (in[i].t.rank != rank) continue;
        part.t.dim[axis] = in[i].t.dim[axis];
        if (fy_count(&part.t)) {
            part.t.data = (char *)o->t.data + (size_t)(at * o->t.stride[axis]) * width(o);
            fy_tensor_copy(&part.t, &in[i].t);
        }
        at += in[i].t.dim[axis];
    }
    return FY_OK;
}

fy_status fy_at_cat(fy_eval *v) {                            /* cat; 1: stack */
    fy_et *in, o;
    int    n, axis, first = 0;
    FY_TRY(fy_ev_list_raw(v, "tensors", &in, &n));
    FY_NEED(v->e, n >= 1, SHAPE, "cat of nothing");
    while (!v->k && first + 1 < n && in[first].t.rank == 1 && in[first].t.dim[0] == 0) first++;
    int rank = in[first].t.rank + v->k;
    FY_NEED(v->e, rank >= 1 && rank <= FY_MAX_RANK, SHAPE, "cat of scalars");
    FY_TRY(fy_ev_axis(v, "dim", rank, 0, &axis));
    for (int i = 0; i < n && v->k; i++) {
        fy_tensor *t = &in[i].t;
        FY_NEED(v->e, t->rank + 1 == rank, SHAPE, "stack of ranks %d and %d", rank - 1, t->rank);
        for (int d = t->rank; d > axis; d--) { t->dim[d] = t->dim[d - 1]; t->stride[d] = t->stride[d - 1]; }
        t->dim[axis] = 1;
        t->stride[axis] = 0;
        t->rank++;
    }
    FY_TRY(fy_ev_joined(v, &o, n, in, rank, axis));
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_repeat(fy_eval *v) {                         /* repeat; 1: tile */
    fy_et   a, o;
    int64_t times[FY_MAX_RANK], dim[FY_MAX_RANK], src[FY_MAX_RANK];
    int     n;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_ints(v, v->k ? "dims" : "repeats", times, FY_MAX_RANK, &n));
    if (n < 0) n = 0;
    if (v->k && n < a.t.rank) {
        memmove(times + a.t.rank - n, times, sizeof(int64_t) * (size_t)n);
        for (int i = 0; i < a.t.rank - n; i++) times[i] = 1;
        n = a.t.rank;
    }
    FY_NEED(v->e, n >= a.t.rank, SHAPE, "repeat of rank %d by %d numbers", a.t.rank, n);
    for (int i = 0; i < n; i++) {
        int j = i - (n - a.t.rank);
        src[i] = j >= 0 ? a.t.dim[j] : 1;
        FY_NEED(v->e, times[i] >= 0 && fy_mul_i64(&dim[i], src[i], times[i]), SHAPE, "repeat %lld times", (long long)times[i]);
    }
    const char *x = held(v, &a);
    if (!x && fy_count(&a.t)) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, a.dtype, n, dim));
    size_t w = width(&o);
    for (int64_t i = 0, m = fy_count(&o.t); i < m; i++) {
        int64_t from = 0, mul = 1, q = i;
        for (int d = n - 1; d >= 0; d--) { from += q % dim[d] % src[d] * mul; mul *= src[d]; q /= dim[d]; }
        memcpy((char *)o.t.data + (size_t)i * w, x + (size_t)from * w, w);
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_repeat_interleave(fy_eval *v) {
    fy_et   a, rep, o;
    bool    has;
    int     axis = 0;
    int64_t dim[FY_MAX_RANK], inner = 1, total = 0, d = INT64_MIN;
    FY_TRY(fy_ev_opt(v, "self", &a, &has));
    FY_TRY(fy_ev_in(v, "repeats", &rep));
    FY_TRY(fy_ev_int(v, "dim", &d));
    const int64_t *r = fy_ev_dense_i(v, &rep);
    if (!r) return FY_E_NOMEM;
    if (!has) {                                              /* repeat_interleave.Tensor: positions */
        int64_t n = fy_count(&rep.t), k = 0;
        for (int64_t i = 0; i < n; i++) { FY_NEED(v->e, r[i] >= 0, VALUE, "repeat %lld times", (long long)r[i]); total += r[i]; }
        FY_TRY(fy_ev_new(v, &o, FERRY_INT64, 1, &total));
        for (int64_t i = 0; i < n; i++) for (int64_t j = 0; j < r[i]; j++) fy_ev_at_i(&o)[k++] = i;
        return fy_ev_out(v, 0, &o);
    }
    if (d == INT64_MIN) { int64_t n = fy_count(&a.t); FY_TRY(fy_ev_reshape(v, &a, 1, &n)); }
    else FY_TRY(fy_ev_axis(v, "dim", a.t.rank, 0, &axis));
    FY_NEED(v->e, a.t.rank && (fy_count(&rep.t) == 1 || fy_count(&rep.t) == a.t.dim[axis]), SHAPE, "repeat_interleave: repeats do not fit");
    int64_t n = a.t.dim[axis], one = fy_count(&rep.t) == 1, outer = 1;
    for (int64_t i = 0; i < n; i++) { FY_NEED(v->e, r[one ? 0 : i] >= 0, VALUE, "repeat %lld times", (long long)r[one ? 0 : i]); total += r[one ? 0 : i]; }
    memcpy(dim, a.t.dim, sizeof dim);
    dim[axis] = total;
    for (int i = 0; i < axis; i++) outer *= dim[i];
    for (int i = axis + 1; i < a.t.rank; i++) inner *= dim[i];
    const char *x = held(v, &a);
    if (!x && fy_count(&a.t)) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, a.dtype, a.t.rank, dim));
    size_t w = width(&o) * (size_t)inner, k = 0;
    for (int64_t i = 0; i < outer * n; i++)
        for (int64_t j = 0; j < r[one ? 0 : i % n] && w; j++) memcpy((char *)o.t.data + k++ * w, x + (size_t)i * w, w);
    return fy_ev_out(v, 0, &o);
}

/* flip and roll: o[i] = a[map(i)] axis by axis. */
fy_status fy_at_roll(fy_eval *v) {                           /* roll; 1: flip; 2: fft_fftshift, 3: fft_ifftshift */
    fy_et   a, o;
    int64_t dims[FY_MAX_RANK], shift[FY_MAX_RANK], by[FY_MAX_RANK] = {0};
    bool    flip[FY_MAX_RANK] = {0};
    int     n, m = 0;
    FY_TRY(fy_ev_in(v, "self", &a));
    int64_t dim[FY_MAX_RANK];
    int     rank = a.t.rank;
    memcpy(dim, a.t.dim, sizeof dim);
    FY_TRY(fy_ev_ints(v, v->k > 1 ? "dim" : "dims", dims, FY_MAX_RANK, &n));
    if (!v->k) FY_TRY(fy_ev_ints(v, "shifts", shift, FY_MAX_RANK, &m));
    for (; v->k > 1 && n < 0 && m < rank; m++) dims[m] = m;
    if (v->k > 1 && n < 0) n = m;
    if (n <= 0 && !v->k) {                                   /* over the flattened tensor */
        int64_t all = fy_count(&a.t);
        FY_NEED(v->e, m == 1, SHAPE, "roll by %d shifts", m);
        FY_TRY(fy_ev_reshape(v, &a, 1, &all));
        dims[0] = 0;
        n = 1;
    }
    for (int i = 0; i < n; i++) {
        int64_t d = dims[i] < 0 ? dims[i] + a.t.rank : dims[i];
        FY_NEED(v->e, d >= 0 && d < a.t.rank && (v->k || m == n), AXIS, "axis %lld outside rank %d", (long long)dims[i], a.t.rank);
        if (v->k == 1) flip[d] = true;
        else if (v->k) by[d] = (a.t.dim[d] + (v->k == 3)) / 2;
        else if (a.t.dim[d]) by[d] = ((by[d] + shift[i]) % a.t.dim[d] + a.t.dim[d]) % a.t.dim[d];
    }
    const char *x = held(v, &a);
    if (!x && fy_count(&a.t)) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, a.dtype, rank, dim));
    size_t w = width(&o);
    for (int64_t i = 0, total = fy_count(&o.t); i < total; i++) {
        int64_t from = 0, mul = 1, q = i;
        for (int d = a.t.rank - 1; d >= 0; d--) {
            int64_t p = q % a.t.dim[d];
            p = flip[d] ? a.t.dim[d] - 1 - p : p >= by[d] ? p - by[d] : p - by[d] + a.t.dim[d];
            from += p * mul;
            mul *= a.t.dim[d];
            q /= a.t.dim[d];
        }
        memcpy((char *)o.t.data + (size_t)i * w, x + (size_t)from * w, w);
    }
    return fy_ev_out(v, 0, &o);
}

/* ---- padding ------------------------------------------------------------------------------------------------------------------------------ */

enum { CONSTANT, REFLECT, REPLICATE, CIRCULAR };

fy_status fy_at_pad(fy_eval *v) {                            /* k: 0 pad, constant_pad_nd; else REFLECT.. + 1 of the *_padNd names */
    fy_et   a, val, o;
    bool    has;
    int64_t pad[2 * FY_MAX_RANK], dim[FY_MAX_RANK], before[FY_MAX_RANK] = {0};
    int     n;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_ints(v, v->k ? "padding" : "pad", pad, 2 * FY_MAX_RANK, &n));
    FY_TRY(fy_ev_number(v, "value", &val, &has));
    const char *mode = fy_ev_str(v, "mode", "constant");
    int         how = v->k ? v->k : !strcmp(mode, "reflect") ? REFLECT : !strcmp(mode, "replicate") ? REPLICATE : !strcmp(mode, "circular") ? CIRCULAR : CONSTANT;
    FY_NEED(v->e, n >= 0 && n % 2 == 0 && n / 2 <= a.t.rank, SHAPE, "pad of rank %d by %d numbers", a.t.rank, n);
    memcpy(dim, a.t.dim, sizeof dim);
    for (int i = 0; i < n / 2; i++) {
        int     d = a.t.rank - 1 - i;
        int64_t lo = pad[2 * i], hi = pad[2 * i + 1], size = a.t.dim[d];
        FY_NEED(v->e, lo > -(1LL << 40) && hi > -(1LL << 40) && lo < 1LL << 40 && hi < 1LL << 40 && size + lo + hi >= 0, SHAPE, "pad of %lld by %lld and %lld", (long long)size, (long long)lo, (long long)hi);
        FY_NEED(v->e, how != REFLECT || (lo < size && hi < size), SHAPE, "reflection by %lld of size %lld", (long long)(lo > hi ? lo : hi), (long long)size);
        FY_NEED(v->e, how == CONSTANT || size > 0, SHAPE, "padding of nothing");
        before[d] = lo;
        dim[d] = size + lo + hi;
    }
    const char *x = held(v, &a);
    if (!x && fy_count(&a.t)) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, a.dtype, a.t.rank, dim));
    double f = has ? fy_get_f64(&val.t, 0) : 0;
    size_t w = width(&o);
    for (int64_t i = 0, total = fy_count(&o.t); i < total; i++) {
        int64_t from = 0, mul = 1, q = i;
        bool    out = false;
        for (int d = a.t.rank - 1; d >= 0; d--) {
            int64_t p = q % dim[d] - before[d], s = a.t.dim[d];
            if (p < 0 || p >= s) {
                if (how == CONSTANT) out = true;
                else if (how == REPLICATE) p = p < 0 ? 0 : s - 1;
                else if (how == REFLECT) p = p < 0 ? -p : 2 * (s - 1) - p;
                else p = (p % s + s) % s;
            }
            from += p * mul;
            mul *= s;
            q /= dim[d];
        }
        if (!out) memcpy((char *)o.t.data + (size_t)i * w, x + (size_t)from * w, w);
        else fy_put_f64(&o.t, i, f);
    }
    return fy_ev_out(v, 0, &o);
}

/* ---- blocks ----------------------------------------------------------------------------------------------------------------------------------- */

/* Shuffles are a reshape, a permutation, a reshape. */
static fy_status shuffle(fy_eval *v, fy_et *a, int n, const int64_t *dim, const int *perm, int m, const int64_t *to) {
    FY_TRY(fy_ev_reshape(v, a, n, dim));
    fy_tensor t = a->t;
    for (int i = 0; i < n; i++) { t.dim[i] = a->t.dim[perm[i]]; t.stride[i] = a->t.stride[perm[i]]; }
    a->t = t;
    fy_et o;
    FY_TRY(fy_ev_copy(v, &o, a));
    o.t.rank = m;
    memcpy(o.t.dim, to, sizeof(int64_t) * (size_t)m);
    fy_strides(m, o.t.dim, o.t.stride);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_pixel_shuffle(fy_eval *v) {                  /* pixel_shuffle; 1: pixel_unshuffle; 2: channel_shuffle */
    fy_et   a;
    int64_t r = 1, b = 1;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_int(v, v->k == 0 ? "upscale_factor" : v->k == 1 ? "downscale_factor" : "groups", &r));
    FY_NEED(v->e, a.t.rank >= 3 && r > 0 && r < 1 << 15, SHAPE, "shuffle of rank %d by %lld", a.t.rank, (long long)r);
    int            k = a.t.rank - 3;
    const int64_t *d = a.t.dim + k;
    int64_t        C = d[0], H = d[1], W = d[2], to[FY_MAX_RANK];
    for (int i = 0; i < k; i++) b *= to[i] = a.t.dim[i];
    if (v->k == 2) {
        k = 1;
        C = a.t.dim[1];
        int64_t rest = 1;
        for (int i = 2; i < a.t.rank; i++) rest *= a.t.dim[i];
        FY_NEED(v->e, a.t.rank >= 3 && C % r == 0, SHAPE, "channel shuffle of %lld by %lld", (long long)C, (long long)r);
        memcpy(to, a.t.dim, sizeof to);
        return shuffle(v, &a, 4, (int64_t[]){a.t.dim[0], r, C / r, rest}, (int[]){0, 2, 1, 3}, a.t.rank, to);
    }
    if (v->k == 0) {
        FY_NEED(v->e, C % (r * r) == 0, SHAPE, "pixel shuffle of %lld channels by %lld", (long long)C, (long long)r);
        to[k] = C / (r * r), to[k + 1] = H * r, to[k + 2] = W * r;
        return shuffle(v, &a, 6, (int64_t[]){b, C / (r * r), r, r, H, W}, (int[]){0, 1, 4, 2, 5, 3}, k + 3, to);
    }
    FY_NEED(v->e, H % r == 0 && W % r == 0, SHAPE, "pixel unshuffle by %lld", (long long)r);
    to[k] = C * r * r, to[k + 1] = H / r, to[k + 2] = W / r;
    return shuffle(v, &a, 6, (int64_t[]){b, C, H / r, r, W / r, r}, (int[]){0, 1, 3, 5, 2, 4}, k + 3, to);
}

/* im2col: [N, C, H, W] -> [N, C k0 k1, L]; col2im adds back. */
fy_status fy_at_im2col(fy_eval *v) {                         /* im2col; 1: col2im */
    fy_et   a, o;
    int64_t k[2], d[2], p[2], s[2], size[2], L[2];
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_intn(v, "kernel_size", 2, k, 1));
    FY_TRY(fy_ev_intn(v, "dilation", 2, d, 1));
    FY_TRY(fy_ev_intn(v, "padding", 2, p, 0));
    FY_TRY(fy_ev_intn(v, "stride", 2, s, 1));
    FY_NEED(v->e, a.t.rank == 4 - v->k, UNSUPPORTED, "%s of rank %d", v->node->op, a.t.rank);
    if (v->k) FY_TRY(fy_ev_intn(v, "output_size", 2, size, 1));
    else { size[0] = a.t.dim[2]; size[1] = a.t.dim[3]; }
    for (int i = 0; i < 2; i++) {
        FY_NEED(v->e, k[i] > 0 && d[i] > 0 && s[i] > 0 && p[i] >= 0 && k[i] < 1 << 20 && d[i] < 1 << 20 && s[i] < 1 << 20 && p[i] < 1 << 20 && size[i] < 1 << 30 && size[i] + 2 * p[i] >= d[i] * (k[i] - 1) + 1, SHAPE, "window %lld of size %lld", (long long)k[i], (long long)size[i]);
        L[i] = (size[i] + 2 * p[i] - d[i] * (k[i] - 1) - 1) / s[i] + 1;
    }
    int64_t N = a.t.dim[0], taps = k[0] * k[1], C = v->k ? a.t.dim[1] / taps : a.t.dim[1], len = L[0] * L[1];
    FY_NEED(v->e, !v->k || (a.t.dim[1] % taps == 0 && a.t.dim[2] == len), SHAPE, "col2im of %lld columns", (long long)a.t.dim[2]);
    const double *x = fy_ev_dense(v, &a);
    if (!x) return FY_E_NOMEM;
    FY_NEED(v->e, fy_dtype_class(a.dtype) == FY_CLASS_F, UNSUPPORTED, "%s of %s", v->node->op, fy_dtype_name(a.dtype));
    if (v->k) FY_TRY(fy_ev_new(v, &o, a.dtype, 4, (int64_t[]){N, C, size[0], size[1]}));
    else FY_TRY(fy_ev_new(v, &o, a.dtype, 3, (int64_t[]){N, C * taps, len}));
    double *y = fy_ev_at(&o);
    for (int64_t i = 0; i < N * C * taps; i++)
        for (int64_t j = 0; j < len; j++) {
            int64_t t = i % taps, h = j / L[1] * s[0] + t / k[1] * d[0] - p[0], w = j % L[1] * s[1] + t % k[1] * d[1] - p[1];
            if (h < 0 || h >= size[0] || w < 0 || w >= size[1]) continue;
            int64_t pix = (i / taps * size[0] + h) * size[1] + w;
            if (v->k) y[pix] += x[i * len + j];
            else y[i * len + j] = x[pix];
        }
    return fy_ev_out(v, 0, &o);
}
