/* SPDX-License-Identifier: Apache-2.0
 * sort.c - TopK and Unique. Order is total: NaN is greater than any number (as NumPy sorts), equal elements keep the order of
 * their indices. */
#include "base/sort.h"
#include "ops/move.h"
#include "ops/strings.h"

#include <math.h>
#include <string.h>

/* ---- comparing elements ----------------------------------------------------------------------------------------------- */

/* Elements in one of the wide types. */
typedef struct wide { fy_class kind; const double *f; const int64_t *i; const uint64_t *u; const fy_str *s; } wide;

static fy_status read_wide(wide *w, const fy_call *c, int arg) {
    fy_tensor x;
    *w = (wide){.kind = fy_dtype_class(fy_arg(c, arg)->dtype)};
    int64_t n = fy_count(fy_arg(c, arg));
    if (w->kind == FY_CLASS_F) w->f = fy_arg_f64(c, arg);
    else if (w->kind == FY_CLASS_S) {
        FY_TRY(fy_mv_dense(c, arg, &x));
        w->s = x.data;
    } else if (w->kind == FY_CLASS_U) {
        uint64_t *u = FY_NEWN(c->scratch, uint64_t, n);
        FY_NOMEM(c->e, u);
        fy_load_u64(u, fy_arg(c, arg), 0, n);
        w->u = u;
    } else if (w->kind == FY_CLASS_C) {
        double *z = FY_NEWN(c->scratch, double, 2 * n);
        FY_NOMEM(c->e, z);
        fy_load_c128(z, fy_arg(c, arg), 0, n);
        w->f = z;
    } else w->i = fy_arg_i64(c, arg);
    FY_NOMEM(c->e, n == 0 || w->f || w->i || w->u || w->s);
    return FY_OK;
}

static int order_f64(double a, double b) {
    if (isnan(a) || isnan(b)) return (isnan(a) != 0) - (isnan(b) != 0);
    return (a > b) - (a < b);
}

static int order(const wide *w, int64_t a, int64_t b) {
    switch (w->kind) {
    case FY_CLASS_F: return order_f64(w->f[a], w->f[b]);
    case FY_CLASS_U: return (w->u[a] > w->u[b]) - (w->u[a] < w->u[b]);
    case FY_CLASS_C: {
        int r = order_f64(w->f[2 * a], w->f[2 * b]);
        return r ? r : order_f64(w->f[2 * a + 1], w->f[2 * b + 1]);
    }
    case FY_CLASS_S: return fy_str_order(&w->s[a], &w->s[b]);
    case FY_CLASS_I: case FY_CLASS_B: case FY_CLASS_NONE: break;
    }
    return (w->i[a] > w->i[b]) - (w->i[a] < w->i[b]);
}

/* ---- TopK ---------------------------------------------------------------------------------------------------------- */

static fy_status infer_topk(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK], *k;
    int rank = fy_in_rank(f, 0), axis;
    int64_t n, v, size;
    FY_NEED(f->e, rank != 0, SHAPE, "a scalar has no axis");
    const fy_dim *const *e = fy_in_elems(f, 1, &n);
    FY_NEED(f->e, !e || n == 1, SHAPE, "k has %lld elements; it must have one", (long long)n);
    for (int i = 0; i < f->nout; i++) {
        fy_dtype t = i ? FERRY_INT64 : fy_in_dtype(f, 0);
        if (rank < 0) { FY_TRY(fy_mv_unknown(f, i, t, -1)); continue; }
        FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank, f->e));
        for (int a = 0; a < rank; a++) d[a] = fy_in_dims(f, 0)[a];
        k = i == 0 ? e && !fy_dim_wild(e[0]) ? e[0] : fy_mv_upto(f, d[axis]) : f->out[0].type.dim[axis];
        if (!k) return fy_mv_oom(f);
        bool known = fy_dim_known(k, &v);
        FY_NEED(f->e, !known || v >= 0, VALUE, "k is %lld", (long long)v);
        FY_NEED(f->e, !known || !fy_dim_known(d[axis], &size) || v <= size, VALUE, "k is %lld; axis %d has %lld", (long long)v, axis,
                (long long)size);
        d[axis] = k;
        FY_TRY(fy_out_set(f, i, t, rank, d));
    }
    return FY_OK;
}

typedef struct lane { const wide *w; int64_t base, stride; bool down; } lane;

/* NaN counts as the greatest when looking for the largest, and comes last when looking for the smallest. */
static int order_lane(const void *ctx, int64_t a, int64_t b) {
    const lane *l = ctx;
    int r = order(l->w, l->base + a * l->stride, l->base + b * l->stride);
    return l->down ? -r : r;
}

static fy_status ref_topk(const fy_call *c) {
    fy_tensor x, *y, *index;
    int axis;
    int64_t inner = 1;
    wide w;
    FY_TRY(fy_mv_out(c, 0, &y));
    FY_TRY(fy_mv_out(c, 1, &index));
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_TRY(read_wide(&w, c, 0));
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), x.rank, c->e));
    for (int a = axis + 1; a < x.rank; a++) inner *= x.dim[a];
    int64_t n = x.dim[axis], k = fy_get_i64(fy_arg(c, 1), 0), lanes = n ? fy_count(&x) / n : 0;
    FY_NEED(c->e, k >= 0 && k <= n, VALUE, "k is %lld; axis %d has %lld", (long long)k, axis, (long long)n);
    int64_t *at = FY_NEWN(c->scratch, int64_t, n), *tmp = FY_NEWN(c->scratch, int64_t, n);
    FY_NOMEM(c->e, at && tmp);
    for (int64_t q = 0; q < lanes; q++) {
        int64_t o = q / inner, i = q % inner;
        lane l = {&w, o * n * inner + i, inner, fy_attr_i(c->node, "largest") != 0};
        for (int64_t j = 0; j < n; j++) at[j] = j;
        fy_sort(at, tmp, n, order_lane, &l);
        for (int64_t j = 0; j < k; j++) {
            int64_t to = (o * k + j) * inner + i;
            if (y) memcpy(fy_mv_at(y, to), fy_mv_at(&x, l.base + at[j] * inner), (size_t)fy_elem_bytes(x.dtype));
            if (index) fy_put_i64(index, to, at[j]);
        }
    }
    return FY_OK;
}

static const fy_attr_spec topk_attrs[] = {{"axis", FY_ATTR_INT, "-1"}, {"largest", FY_ATTR_INT, "1"}, {"sorted", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_top_k = {.name = "TopK", .domain = "", .attrs = topk_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 2, .since = 24, .first = 1,
    .types = "T=" FY_T_NUM "|T,i64|T,i64", .infer = infer_topk, .ref = ref_topk, .flags = FY_PURE};

/* ---- Unique -------------------------------------------------------------------------------------------------------- */

static fy_status infer_unique(fy_infer *f) {
    const fy_attr *a = fy_attr_get(f->node, "axis");
    const fy_dim *d[FY_MAX_RANK], *n;
    int rank = fy_in_rank(f, 0), axis = 0;
    if (a && rank >= 0) FY_TRY(fy_axis(&axis, a->i, rank, f->e));
    n = fy_mv_upto(f, rank < 0 ? NULL : a ? fy_in_dims(f, 0)[axis] : fy_mv_product(f, rank, fy_in_dims(f, 0)));
    if (!a) FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), 1, &n));
    else if (rank < 0) FY_TRY(fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1));
    else {
        for (int i = 0; i < rank; i++) d[i] = i == axis ? n : fy_in_dims(f, 0)[i];
        FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d));
    }
    for (int i = 1; i < f->nout; i++) {
        const fy_dim *all = rank < 0 ? fy_mv_opaque(f) : a ? fy_in_dims(f, 0)[axis] : fy_mv_product(f, rank, fy_in_dims(f, 0));
        FY_TRY(fy_out_set(f, i, FERRY_INT64, 1, i == 2 ? &all : &n));
    }
    return FY_OK;
}

/* Subtensor k of the axis: elements (o * n + k) * inner + i, compared in that order. */
typedef struct slabs { const wide *w; int64_t n, outer, inner; } slabs;

static int order_slab(const void *ctx, int64_t a, int64_t b) {
    const slabs *s = ctx;
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            int r = order(s->w, (o * s->n + a) * s->inner + i, (o * s->n + b) * s->inner + i);
            if (r) return r;
        }
    return 0;
}

static int order_first(const void *ctx, int64_t a, int64_t b) {
    const int64_t *first = ctx;
    return (first[a] > first[b]) - (first[a] < first[b]);
}

static fy_status ref_unique(const fy_call *c) {
    fy_tensor x;
    const fy_attr *a = fy_attr_get(c->node, "axis");
    int axis = 0;
    wide w;
    slabs s = {&w, 0, 1, 1};
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_TRY(read_wide(&w, c, 0));
    if (a) FY_TRY(fy_axis(&axis, a->i, x.rank, c->e));
    s.n = a ? x.dim[axis] : fy_count(&x);
    for (int i = 0; a && i < axis; i++) s.outer *= x.dim[i];
    for (int i = axis + 1; a && i < x.rank; i++) s.inner *= x.dim[i];
    int64_t m = 0, *at = FY_NEWN(c->scratch, int64_t, s.n), *tmp = FY_NEWN(c->scratch, int64_t, s.n), *first = FY_NEWN(c->scratch,
            int64_t, s.n);
    int64_t *group = FY_NEWN(c->scratch, int64_t, s.n), *count = FY_NEWN(c->scratch, int64_t, s.n), *rank = FY_NEWN(c->scratch, int64_t,
            s.n);
    FY_NOMEM(c->e, at && tmp && first && group && count && rank);
    for (int64_t i = 0; i < s.n; i++) at[i] = i;
    fy_sort(at, tmp, s.n, order_slab, &s);
    for (int64_t i = 0; i < s.n; i++) {                         /* stable: the first of a group has the lowest index */
        if (i == 0 || order_slab(&s, at[i - 1], at[i])) first[m++] = at[i];
        group[at[i]] = m - 1;
        count[m - 1]++;
    }
    for (int64_t g = 0; g < m; g++) at[g] = g;                  /* groups in the order of the output */
    if (!fy_attr_i(c->node, "sorted")) fy_sort(at, tmp, m, order_first, first);
    for (int64_t g = 0; g < m; g++) rank[at[g]] = g;
    int64_t dim[FY_MAX_RANK];
    memcpy(dim, x.dim, sizeof dim);
    dim[a ? axis : 0] = m;
    if (c->nout > 0 && c->out[0]) FY_TRY(fy_alloc_out(c, 0, x.dtype, a ? x.rank : 1, dim));
    for (int i = 1; i < c->nout; i++) if (c->out[i]) FY_TRY(fy_alloc_out(c, i, FERRY_INT64, 1, i == 2 ? &s.n : &m));
    fy_tensor *y = fy_res(c, 0), *ind = fy_res(c, 1), *inv = fy_res(c, 2), *num = fy_res(c, 3);
    size_t bytes = (size_t)s.inner * (size_t)fy_elem_bytes(x.dtype);
    for (int64_t g = 0; g < m; g++) {
        for (int64_t o = 0; y && bytes && o < s.outer; o++)
            memcpy((char *)y->data + (size_t)(o * m + g) * bytes, (const char *)x.data + (size_t)(o * s.n + first[at[g]]) * bytes, bytes);
        if (ind) fy_put_i64(ind, g, first[at[g]]);
        if (num) fy_put_i64(num, g, count[at[g]]);
    }
    for (int64_t i = 0; inv && i < s.n; i++) fy_put_i64(inv, i, rank[group[i]]);
    return FY_OK;
}

static const fy_attr_spec unique_attrs[] = {{"axis", FY_ATTR_INT, NULL}, {"sorted", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_unique = {.name = "Unique", .domain = "", .attrs = unique_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 4, .since = 28,
    .first = 11, .types = "T=*|T|T,i64,i64,i64", .infer = infer_unique, .ref = ref_unique, .flags = FY_PURE};
