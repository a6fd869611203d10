/* SPDX-License-Identifier: Apache-2.0
 * common.c - shared by the computing families; see common.h. */
#include "ops/common.h"

#include <string.h>

/* ---- inference ----------------------------------------------------------------------------------------------------- */

fy_status fy_k_like(fy_infer *f) { return fy_out_like(f, 0, 0); }

fy_status fy_k_same_dtype(fy_infer *f) {
    fy_dtype t = 0;
    for (int i = 0; i < f->nin; i++) {
        fy_dtype u = fy_in_dtype(f, i);
        if (!u) continue;
        FY_NEED(f->e, !t || t == u, TYPE, "input %d is %s where the others are %s", i, fy_dtype_name(u), fy_dtype_name(t));
        t = u;
    }
    return FY_OK;
}

fy_status fy_k_broadcast(fy_infer *f, fy_dtype t) {
    const fy_dim *dim[FY_MAX_RANK];
    int rank, list[FY_MAX_RANK], n = 0;
    if (!t) {
        FY_TRY(fy_k_same_dtype(f));
        for (int i = 0; i < f->nin && !t; i++) t = fy_in_dtype(f, i);
    }
    if (f->nin <= FY_MAX_RANK) {
        for (int i = 0; i < f->nin; i++)
            if (fy_in_has(f, i)) list[n++] = i;
        FY_TRY(fy_broadcast(f, n, list, &rank, dim));
    } else {
        int *many = FY_NEWN(f->arena, int, f->nin);
        FY_NOMEM(f->e, many);
        for (int i = 0; i < f->nin; i++)
            if (fy_in_has(f, i)) many[n++] = i;
        FY_TRY(fy_broadcast(f, n, many, &rank, dim));
    }
    return fy_out_set(f, 0, t, rank, rank < 0 ? NULL : dim);
}

fy_status fy_k_rank(fy_infer *f, int i, int least, int most, int *rank) {
    *rank = fy_in_rank(f, i);
    FY_NEED(f->e, *rank < 0 || (*rank >= least && *rank <= most), SHAPE, "input %d has rank %d; %s is %d", i, *rank,
            *rank < least ? "least" : "most", *rank < least ? least : most);
    return FY_OK;
}

fy_status fy_k_agree(const fy_infer *f, const fy_dim *a, const fy_dim *b, const char *what) {
    int64_t x, y;
    if (a && b && fy_dim_known(a, &x) && fy_dim_known(b, &y))
        FY_NEED(f->e, x == y, SHAPE, "%s differ: %lld and %lld", what, (long long)x, (long long)y);
    else fy_in_equal(f, a, b);
    return FY_OK;
}

fy_status fy_k_elems(fy_infer *f, fy_k_elem *g) {
    int64_t na, nb = 1;
    const fy_dim *const *a = fy_in_elems(f, 0, &na), *const *b = f->nin > 1 ? fy_in_elems(f, 1, &nb) : NULL;
    if (!a || (f->nin > 1 && !b) || f->out[0].type.rank < 0) return FY_OK;
    int64_t n = na == 1 ? nb : na;
    if (n > FY_MAX_ELEM || (na != nb && na != 1 && nb != 1)) return FY_OK;
    if (na == nb && na > 1) {                                           /* equal counts of other shapes would mix */
        int ra = fy_in_rank(f, 0), rb = fy_in_rank(f, 1);
        if (f->nin > 1 && (ra != rb || ra < 0)) return FY_OK;
        for (int i = 0; f->nin > 1 && i < ra; i++)
            if (fy_in_dim(f, 0, i) != fy_in_dim(f, 1, i)) return FY_OK;
    }
    const fy_dim **y = FY_NEWN(f->arena, const fy_dim *, n);
    FY_NOMEM(f->e, y);
    for (int64_t i = 0; i < n; i++)
        if (!(y[i] = g(f, a[na == 1 ? 0 : i], b ? b[nb == 1 ? 0 : i] : NULL))) return FY_OK;
    return fy_out_elems(f, 0, n, y);
}

int fy_k_order(fy_infer *f, const fy_dim *a, const fy_dim *b, bool *ge, bool *le) {
    const fy_dim *d = a == b ? NULL : fy_dim_sub(f->dims, a, b), *m = a == b ? NULL : fy_dim_sub(f->dims, b, a);
    if (ge) *ge = a == b || (d && fy_dim_ge(d, 0));
    if (le) *le = a == b || (m && fy_dim_ge(m, 0));
    return a == b ? 0 : d && fy_dim_ge(d, 1) ? 1 : m && fy_dim_ge(m, 1) ? -1 : 2;
}

#define MAX_LOOKED_AT (1 << 20)          /* most constants differ at their first element */

bool fy_k_all(const fy_value *v, double x) {
    double e;
    if (!v || !v->constant || v->constant->count < 1 || v->constant->count > MAX_LOOKED_AT || v->is_input) return false;
    for (int64_t i = 0; i < v->constant->count; i++)
        if (!fy_const_f64(v->constant, i, &e) || !(e == x)) return false;
    return true;
}

bool fy_k_keeps(const fy_node *n, const fy_value *x) {
    const fy_value *y = fy_outv(n, 0);
    return x && y && x->type.kind == FY_TENSOR && x->type.dtype && x->type.rank >= 0 && fy_type_equal(&x->type, &y->type);
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

typedef struct stoppable { const fy_call *c; void (*fn)(void *arg, int64_t begin, int64_t end); void *arg; } stoppable;

static void piece(void *arg, int64_t begin, int64_t end) {
    const stoppable *s = arg;
    if (!fy_stopped(s->c)) s->fn(s->arg, begin, end);
}

void fy_k_for(const fy_call *c, int64_t n, int64_t grain, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg) {
    if (n <= 0) return;
    stoppable s = {c, fn, arg};
    if (c->stop) {
        fn = piece;
        arg = &s;
    }
    if (n <= grain) fn(arg, 0, n);
    else fy_for(c->pool, n, grain, fn, arg);
}

typedef struct integers { uint64_t *z; const uint64_t *a, *b; int64_t a_row, b_row, n, k; } integers;

static void integer_rows(void *arg, int64_t begin, int64_t end) {
    const integers *w = arg;
    for (int64_t r = begin; r < end; r++) {
        uint64_t *row = w->z + r * w->n;
        memset(row, 0, (size_t)w->n * sizeof *row);
        for (int64_t k = 0; k < w->k; k += 2) {                  /* two at a time: the row is read and written half as often */
            const bool two = k + 1 < w->k;
            const uint64_t *a = w->a + r * w->a_row + k, *from = w->b + k * w->b_row, *next = two ? from + w->b_row : from, x = a[0], y = two ? a[1] : 0;
            for (int64_t j = 0; j < w->n; j++) row[j] += x * from[j] + y * next[j];
        }
    }
}

void fy_k_multiply_integers(const fy_call *c, void *z, const void *a, int64_t a_row, const void *b, int64_t b_row, int64_t m, int64_t n, int64_t k) {
    integers w = {z, a, b, a_row, b_row, n, k};
    fy_k_for(c, m, 1 + FY_K_GRAIN / (n * k + 1), integer_rows, &w);
}

fy_tensor fy_k_spread(const fy_tensor *x, int rank, const int64_t *dim) {
    fy_tensor v = {.dtype = x->dtype, .data = x->data};
    for (int i = 0; i < rank; i++) {
        int k = i - (rank - x->rank);
        int64_t d = dim[i], s = k >= 0 && x->dim[k] != 1 ? x->stride[k] : 0;
        if (d == 1) continue;
        if (v.rank && v.stride[v.rank - 1] == s * d) {
            v.dim[v.rank - 1] *= d;
            v.stride[v.rank - 1] = s;
        } else {
            v.dim[v.rank] = d;
            v.stride[v.rank++] = s;
        }
    }
    return v;
}

bool fy_k_numeric(const fy_tensor *t) {
    fy_class k = fy_dtype_class(t->dtype);
    return k == FY_CLASS_F || k == FY_CLASS_I || k == FY_CLASS_U || k == FY_CLASS_B;
}

typedef struct fold {
    const fy_maps *m, *last;
    const double *par;
    fy_tensor *in;
    int n;
    bool each;
    fy_tensor *y;
} fold;

/* One body for the three wide types; blocks stay in the first-level cache between load, kernels and store. */
#define FOLD(name, T, slot, load, store)                                                                              \
    static void name(void *arg, int64_t begin, int64_t end) {                                                         \
        const fold *w = arg;                                                                                          \
        T acc[FY_K_BLOCK], next[FY_K_BLOCK];                                                                          \
        for (int64_t at = begin; at < end; at += FY_K_BLOCK) {                                                        \
            int64_t n = end - at < FY_K_BLOCK ? end - at : FY_K_BLOCK;                                                \
            load(acc, &w->in[0], at, n);                                                                              \
            if (w->n == 1 && !w->each && w->m) w->m->slot(acc, acc, NULL, n, w->par);                                 \
            for (int k = 1; k < w->n; k++) {                                                                          \
                if (!w->in[k].dtype) continue;                                                                        \
                load(next, &w->in[k], at, n);                                                                         \
                w->m[w->each ? k - 1 : 0].slot(acc, acc, next, n, w->par);                                            \
            }                                                                                                         \
            if (w->last) w->last->slot(acc, acc, NULL, n, w->par);                                                    \
            store(w->y, at, n, acc);                                                                                  \
        }                                                                                                             \
    }
FOLD(fold_f, double, f, fy_load_f64, fy_store_f64)
FOLD(fold_i, int64_t, i, fy_load_i64, fy_store_i64)
FOLD(fold_u, uint64_t, u, fy_load_u64, fy_store_u64)

fy_status fy_k_fold(const fy_call *c, const fy_maps *m, bool each, const fy_maps *last, const double *par) {
    fy_tensor *y = fy_res(c, 0), few[4];
    if (!y) return FY_OK;
    FY_NEED(c->e, y->dtype && fy_arg(c, 0), INTERNAL, "output without a shape");
    fold w = {.m = m, .last = last, .par = par, .n = c->nin, .each = each, .y = y, .in = c->nin <= 4 ? few : FY_NEWN(c->scratch, fy_tensor, c->nin)};
    FY_NOMEM(c->e, w.in);
    for (int k = 0; k < c->nin; k++) {
        const fy_tensor *x = fy_arg(c, k);
        if (x) {
            FY_NEED(c->e, fy_k_numeric(x), TYPE, "no arithmetic on %s", fy_dtype_name(x->dtype));
            w.in[k] = fy_k_spread(x, y->rank, y->dim);
        } else w.in[k] = (fy_tensor){0};
    }
    /* one alone in a variadic operator (Max of one) is itself: no kernel that wants two operands */
    if (!each && c->nin == 1 && (c->node->op->max_in < 0)) w.m = NULL;
    fy_class k = fy_dtype_class(fy_arg(c, 0)->dtype);
    bool f = false, u = k == FY_CLASS_U;
    for (int i = 0; i < c->nin; i++) f = f || (fy_arg(c, i) && fy_dtype_float(fy_arg(c, i)->dtype));    /* Pow of an integer */
    FY_NEED(c->e, !m || (f ? m->f != NULL : u ? m->u != NULL : m->i != NULL), TYPE, "not defined on %s", fy_dtype_name(fy_arg(c, 0)->dtype));
    fy_k_for(c, fy_count(y), FY_K_GRAIN, f ? fold_f : u ? fold_u : fold_i, &w);
    return FY_OK;
}

fy_status fy_k_unary(const fy_call *c, const fy_maps *m) {
    double par[8] = {0};
    int n = 0;
    for (const fy_attr_spec *a = c->node->op->attrs; a && a->name && n < 8; a++)
        if (a->kind == FY_ATTR_FLOAT) par[n++] = fy_attr_f(c->node, a->name);
    return fy_k_fold(c, m, false, NULL, par);
}

fy_status fy_k_gemm_ready(const fy_call *c, const fy_tensor *x, bool dense, fy_tensor *out) {
    if ((x->dtype == FERRY_FLOAT || x->dtype == FERRY_DOUBLE) && (!dense || fy_contiguous(x))) {
        *out = *x;
        out->own = NULL;
        return FY_OK;
    }
    fy_class k = fy_dtype_class(x->dtype);
    int bits = fy_dtype_bits(x->dtype);
    bool wide = x->dtype == FERRY_DOUBLE || (k != FY_CLASS_F && bits > 16);
    void *p = fy_arena_alloc(c->scratch, (size_t)fy_count(x), wide ? 8 : 4);
    FY_NOMEM(c->e, p);
    *out = fy_tensor_view(wide ? FERRY_DOUBLE : FERRY_FLOAT, x->rank, x->dim, p);
    fy_tensor_copy(out, x);
    return FY_OK;
}

double *fy_k_as_f64(const fy_call *c, const fy_tensor *x) {
    double *p = FY_NEWN(c->scratch, double, fy_count(x));
    if (p && fy_count(x)) fy_load_f64(p, x, 0, fy_count(x));
    return p;
}

int64_t *fy_k_as_i64(const fy_call *c, const fy_tensor *x) {
    int64_t *p = FY_NEWN(c->scratch, int64_t, fy_count(x));
    if (p && fy_count(x)) fy_load_i64(p, x, 0, fy_count(x));
    return p;
}

static int64_t offset_of(const fy_tensor *t, int64_t i) {
    int64_t offset = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        offset += i % t->dim[d] * t->stride[d];
        i /= t->dim[d];
    }
    return offset;
}

const void *fy_k_bytes(const fy_tensor *t, int64_t first, int64_t n, void *room) {
    size_t size = (size_t)fy_elem_bytes(t->dtype);
    if (t->rank <= 1 && (t->rank == 0 || t->stride[0] == 1) && (t->rank || n == 1)) return fy_k_at(t, first);
    for (int64_t i = 0; i < n;) {                                       /* runs along the last axis */
        int64_t last = t->rank ? t->dim[t->rank - 1] : n, step = t->rank ? t->stride[t->rank - 1] : 0;
        int64_t at = t->rank ? (first + i) % last : i, run = last - at < n - i ? last - at : n - i;
        const char *from = fy_k_at(t, offset_of(t, first + i));
        for (int64_t k = 0; k < run; k++, i++) memcpy((char *)room + (size_t)i * size, from + k * step * (int64_t)size, size);
    }
    return room;
}

const fy_str *fy_k_str(const fy_tensor *t, int64_t i) { return (const fy_str *)t->data + offset_of(t, i); }

fy_tensor fy_k_axis_last(const fy_tensor *t, int axis) {
    fy_tensor v = *t;
    v.own = NULL;
    for (int i = axis; i + 1 < t->rank; i++) {
        v.dim[i] = t->dim[i + 1];
        v.stride[i] = t->stride[i + 1];
    }
    if (t->rank) {
        v.dim[t->rank - 1] = t->dim[axis];
        v.stride[t->rank - 1] = t->stride[axis];
    }
    return v;
}

char *fy_k_at(const fy_tensor *t, int64_t element_offset) { return (char *)t->data + element_offset * fy_elem_bytes(t->dtype); }
