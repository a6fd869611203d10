/* SPDX-License-Identifier: Apache-2.0
 * move.c - shared by the data-movement families; see move.h. */
#include "ops/move.h"

#include <string.h>

/* ---- inference ----------------------------------------------------------------------------------------------------- */

const fy_dim *fy_mv_const(fy_infer *f, int64_t v) { return fy_dim_const(f->dims, v); }

const fy_dim *fy_mv_opaque(fy_infer *f) {
    const fy_dim *d = fy_dim_opaque(f->dims, f->node->op->name);
    if (d) fy_dim_bound(f->dims, d, 0, INT64_MAX);
    return d;
}

const fy_dim *fy_mv_upto(fy_infer *f, const fy_dim *most) { return fy_dim_upto(f->dims, f->node->op->name, most); }
const fy_dim *fy_mv_element(fy_infer *f, int64_t lo, int64_t hi) { return fy_dim_element(f->dims, f->node->op->name, lo, hi); }

fy_status fy_mv_oom(const fy_infer *f) { return fy_nomem(f->e); }

const fy_dim *fy_mv_product(fy_infer *f, int64_t n, const fy_dim *const *d) {
    const fy_dim *p = fy_mv_const(f, 1);
    for (int64_t i = 0; i < n; i++) p = fy_dim_mul(f->dims, p, d[i]);
    return p;
}

const fy_dim *fy_mv_min(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    const fy_dim *d = fy_dim_sub(f->dims, b, a);
    if (d && fy_dim_ge(d, 0)) return a;
    d = fy_dim_sub(f->dims, a, b);
    if (d && fy_dim_ge(d, 0)) return b;
    return fy_dim_min(f->dims, a, b);
}

const fy_dim *fy_mv_max(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    const fy_dim *d = fy_dim_sub(f->dims, a, b);
    if (d && fy_dim_ge(d, 0)) return a;
    d = fy_dim_sub(f->dims, b, a);
    if (d && fy_dim_ge(d, 0)) return b;
    return fy_dim_max(f->dims, a, b);
}

const fy_dim *fy_mv_clamp0(fy_infer *f, const fy_dim *d) { return d && fy_dim_ge(d, 0) ? d : fy_dim_max(f->dims, d, fy_mv_const(f, 0)); }

fy_status fy_mv_same(fy_infer *f, const fy_dim **r, const fy_dim *a, const fy_dim *b, const char *what) {
    int64_t x, y;
    bool ka = fy_dim_known(a, &x), kb = fy_dim_known(b, &y);
    FY_NEED(f->e, !ka || !kb || x == y, SHAPE, "%s differ: %lld and %lld", what, (long long)x, (long long)y);
    if (!ka || !kb) fy_in_equal(f, a, b);
    *r = kb && !ka ? b : !ka && !kb && a->kind == FY_DIM_OPAQUE ? b : a;
    return FY_OK;
}

fy_status fy_mv_item(fy_infer *f, fy_arena *arena, fy_type *t) {
    bool varies = false;
    if (t->rank == FY_NO_ITEM) t->rank = -1;
    if (t->kind != FY_TENSOR) return FY_OK;                      /* a list of lists: its own items are looked at when they are taken */
    for (int i = 0; i < t->rank; i++) varies = varies || t->dim[i]->varies;
    if (!varies) return FY_OK;
    const fy_dim **d = fy_arena_copy(arena, t->dim, (size_t)t->rank, sizeof *d);
    FY_NOMEM(f->e, d);
    for (int i = 0; i < t->rank; i++)
        if (d[i]->varies) FY_NOMEM(f->e, d[i] = fy_mv_upto(f, d[i]->most));
    t->dim = d;
    return FY_OK;
}

fy_status fy_mv_items(fy_infer *f, fy_arena *arena, fy_type *r, const fy_type *a, const fy_type *b) {
    *r = a->kind == FY_NOTYPE ? *b : *a;
    if (a->kind == FY_NOTYPE || b->kind == FY_NOTYPE || fy_type_equal(a, b)) return FY_OK;
    if (!r->dtype) r->dtype = b->dtype;
    if (a->kind == FY_TENSOR && b->kind == FY_TENSOR && (a->rank == FY_NO_ITEM || b->rank == FY_NO_ITEM)) {
        const fy_type *t = a->rank == FY_NO_ITEM ? b : a;
        r->rank = t->rank;
        r->dim = t->dim;
        return FY_OK;
    }
    if (a->kind != FY_TENSOR || b->kind != FY_TENSOR || a->rank != b->rank || a->rank < 0) {
        r->rank = -1;
        r->dim = NULL;
        return FY_OK;
    }
    const fy_dim **d = FY_NEWN(arena, const fy_dim *, a->rank);
    FY_NOMEM(f->e, d);
    for (int i = 0; i < a->rank; i++) {
        const fy_dim *x = a->dim[i], *y = b->dim[i], *mx = x->varies ? x->most : x, *my = y->varies ? y->most : y;
        bool within = x->varies && (!mx || (my && fy_dim_le(f->dims, my, mx)));                  /* so that widening comes to an end */
        d[i] = x == y || within ? x : fy_dim_varying(f->dims, NULL, mx && my ? fy_mv_max(f, mx, my) : NULL);
        FY_NOMEM(f->e, d[i]);
    }
    r->dim = d;
    return FY_OK;
}

int fy_mv_rank(const fy_infer *f, int in) { return fy_in_rank(f, in); }

bool fy_mv_sizes(const fy_infer *f, int in, int64_t *dim) {
    int rank = fy_in_rank(f, in);
    const fy_dim *const *d = fy_in_dims(f, in);
    if (rank < 0 || rank > FY_MAX_RANK || (rank && !d)) return false;
    for (int i = 0; i < rank; i++) if (!fy_dim_known(d[i], &dim[i])) return false;
    return true;
}

fy_status fy_mv_unknown(fy_infer *f, int out, fy_dtype t, int rank) {
    const fy_dim *d[FY_MAX_RANK];
    FY_NEED(f->e, rank <= FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported", rank, FY_MAX_RANK);
    for (int i = 0; i < rank; i++) d[i] = fy_mv_opaque(f);
    return fy_out_set(f, out, t, rank, rank < 0 ? NULL : d);
}

fy_status fy_mv_elems_view(fy_infer *f, int out, int in, const fy_view *v) {
    int64_t n, count, idx[FY_MAX_RANK] = {0}, at = v->offset;
    const fy_dim *const *elem = fy_in_elems(f, in, &n);
    if (!elem || !fy_count_dims(&count, v->rank, v->dim) || count > FY_MAX_ELEM) return FY_OK;
    const fy_dim **e = FY_NEWN(f->arena, const fy_dim *, count);
    FY_NOMEM(f->e, e);
    for (int64_t k = 0; k < count; k++) {
        FY_NEED(f->e, at >= 0 && at < n, INTERNAL, "element %lld of %lld seen through a view", (long long)at, (long long)n);
        e[k] = elem[at];
        for (int a = v->rank - 1; a >= 0; a--) {
            at += v->stride[a];
            if (++idx[a] < v->dim[a]) break;
            at -= v->stride[a] * v->dim[a];
            idx[a] = 0;
        }
    }
    return fy_out_elems(f, out, count, e);
}

fy_status fy_mv_elems_same(fy_infer *f, int out, int in) {
    int64_t n;
    const fy_dim *const *elem = fy_in_elems(f, in, &n);
    return elem ? fy_out_elems(f, out, n, elem) : FY_OK;
}

fy_status fy_mv_axes(int *axis, int64_t n, const int64_t *given, int rank, ferry_error *e) {
    uint32_t seen = 0;
    FY_NEED(e, n <= rank, AXIS, "%lld axes for rank %d", (long long)n, rank);
    for (int64_t i = 0; i < n; i++) {
        FY_TRY(fy_axis(&axis[i], given[i], rank, e));
        FY_NEED(e, !(seen >> axis[i] & 1), AXIS, "axis %d is named twice", axis[i]);
        seen |= 1U << axis[i];
    }
    return FY_OK;
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

fy_status fy_mv_out(const fy_call *c, int i, fy_tensor **y) {
    *y = fy_res(c, i);
    FY_NEED(c->e, !*y || (*y)->dtype, SHAPE, "%s: these inputs do not tell the shape of output %d", c->node->op->name, i);
    return FY_OK;
}

fy_status fy_mv_dense_of(const fy_call *c, const fy_tensor *x, fy_tensor *t) {
    if (fy_contiguous(x)) { *t = *x; return FY_OK; }
    void *p = fy_arena_alloc(c->scratch, (size_t)fy_count(x), (size_t)fy_elem_bytes(x->dtype));
    FY_NOMEM(c->e, p);
    *t = fy_tensor_view(x->dtype, x->rank, x->dim, p);
    fy_tensor_copy(t, x);
    return FY_OK;
}

fy_status fy_mv_dense(const fy_call *c, int i, fy_tensor *t) {
    const fy_tensor *x = fy_arg(c, i);
    FY_NEED(c->e, x, GRAPH, "%s: input %d is missing", c->node->op->name, i);
    return fy_mv_dense_of(c, x, t);
}

fy_tensor fy_mv_see(const fy_tensor *t, const fy_view *v) {
    fy_tensor r = *t;
    r.rank = v->rank;
    r.own = NULL;
    memcpy(r.dim, v->dim, sizeof r.dim);
    memcpy(r.stride, v->stride, sizeof r.stride);
    if (r.data) r.data = (char *)r.data + v->offset * fy_elem_bytes(t->dtype);
    return r;
}

fy_view fy_mv_view_of(const fy_tensor *t) {
    fy_view v = {.rank = t->rank};
    memcpy(v.dim, t->dim, sizeof v.dim);
    memcpy(v.stride, t->stride, sizeof v.stride);
    return v;
}

void fy_mv_zero(fy_tensor *t) {
    size_t n = (size_t)fy_count(t) * (size_t)fy_elem_bytes(t->dtype);
    if (n) memset(t->data, 0, n);
}

void fy_mv_fill(fy_tensor *t, const void *element) {
    size_t size = (size_t)fy_elem_bytes(t->dtype);
    int64_t n = fy_count(t);
    char *p = t->data;
    for (int64_t i = 0; i < n; i++, p += size) memcpy(p, element, size);
}

void fy_mv_mapped(fy_tensor *y, const fy_tensor *x, const int64_t *const *map, const void *fill) {
    int64_t n = fy_count(y), idx[FY_MAX_RANK] = {0}, stride[FY_MAX_RANK];
    size_t size = (size_t)fy_elem_bytes(y->dtype);
    int last = y->rank - 1;
    char *out = y->data;
    const char *in = x->data;
    fy_strides(x->rank, x->dim, stride);
    if (n && y->rank == 0) memcpy(out, in, size);
    if (!n || y->rank == 0) return;
    for (int64_t done = 0; done < n; done += y->dim[last]) {
        int64_t base = 0;
        bool inside = true;
        for (int a = 0; a < last; a++) {
            int64_t at = map[a][idx[a]];
            inside = inside && at >= 0;
            base += at * stride[a];
        }
        for (int64_t i = 0; i < y->dim[last]; i++, out += size) {
            int64_t at = map[last][i];
            memcpy(out, inside && at >= 0 ? in + (size_t)(base + at) * size : (const char *)fill, size);
        }
        for (int a = last - 1; a >= 0 && ++idx[a] == y->dim[a]; a--) idx[a] = 0;
    }
}

void fy_mv_give(const fy_call *c, int i, fy_rval *v) {
    if (i < c->nout && c->out[i]) {
        fy_rval_free(c->out[i]);
        *c->out[i] = *v;
    } else fy_rval_free(v);
    *v = (fy_rval){0};
}
