/* SPDX-License-Identifier: Apache-2.0
 * eval_matmul.c - matrix products, einsum and attention for the evaluator, over tensor/gemm.h (weights stay f32). */
#include "aten/eval.h"

#include "base/checked.h"
#include "tensor/gemm.h"

#include <math.h>

/* The last two axes of a as a matrix at element `offset`. */
static fy_mat mat(const fy_et *a, int64_t offset) {
    int r = a->t.rank;
    return (fy_mat){.at = (char *)a->t.data + offset * fy_elem_bytes(a->t.dtype), .dtype = a->t.dtype, .row = a->t.stride[r - 2], .col = a->t.stride[r - 1]};
}

/* gemm takes f32 and f64: anything else is converted. */
static fy_status for_gemm(fy_eval *v, fy_et *a) {
    if (a->t.dtype == FERRY_FLOAT || a->t.dtype == FERRY_DOUBLE) return FY_OK;
    const double *x = fy_ev_dense(v, a);
    if (!x) return FY_E_NOMEM;
    a->t = fy_tensor_view(FERRY_DOUBLE, a->t.rank, a->t.dim, x);
    return FY_OK;
}

static void add_axis(fy_et *a, int axis) {
    for (int i = a->t.rank; i > axis; i--) { a->t.dim[i] = a->t.dim[i - 1]; a->t.stride[i] = a->t.stride[i - 1]; }
    a->t.dim[axis] = 1;
    a->t.stride[axis] = 0;
    a->t.rank++;
}

static void put_result(fy_et *o, const double *y) {
    if (o->t.dtype == FERRY_DOUBLE) { if (y != fy_ev_at(o)) memcpy(o->t.data, y, sizeof(double) * (size_t)fy_count(&o->t)); }
    else for (int64_t i = 0, n = fy_count(&o->t); i < n; i++) fy_ev_at_i(o)[i] = (int64_t)y[i];
}

/* a [.., m, k] x b [.., k, n], batch axes broadcast, into fresh *o. Integers go through double: exact below 2^53. */
static fy_status product(fy_eval *v, fy_et *o, fy_et a, fy_et b) {
    int     rank;
    int64_t dim[FY_MAX_RANK], da[FY_MAX_RANK], db[FY_MAX_RANK];
    FY_NEED(v->e, a.t.rank >= 2 && b.t.rank >= 2 && a.t.rank < FY_MAX_RANK, SHAPE, "a product of ranks %d and %d", a.t.rank, b.t.rank);
    int64_t m = a.t.dim[a.t.rank - 2], k = a.t.dim[a.t.rank - 1], n = b.t.dim[b.t.rank - 1];
    FY_NEED(v->e, b.t.dim[b.t.rank - 2] == k, SHAPE, "a product of inner sizes %lld and %lld", (long long)k, (long long)b.t.dim[b.t.rank - 2]);
    FY_NEED(v->e, a.dtype == b.dtype, TYPE, "a product of %s and %s", fy_dtype_name(a.dtype), fy_dtype_name(b.dtype));
    FY_TRY(for_gemm(v, &a));
    FY_TRY(for_gemm(v, &b));
    fy_et ba = a, bb = b;
    ba.t.rank -= 2;
    bb.t.rank -= 2;
    FY_TRY(fy_ev_broadcast(v, 2, (const fy_et *const[]){&ba, &bb}, &rank, dim));
    FY_NEED(v->e, rank + 2 <= FY_MAX_RANK, LIMIT, "rank above %d", FY_MAX_RANK);
    memcpy(da, dim, sizeof da);
    da[rank] = m;
    da[rank + 1] = k;
    memcpy(db, dim, sizeof db);
    db[rank] = k;
    db[rank + 1] = n;
    if (bb.t.rank == 0 && rank > 0) {                        /* one matrix for all: the batch is more rows */
        int64_t rows = m;
        for (int i = 0; i < rank; i++) FY_NEED(v->e, fy_mul_i64(&rows, rows, dim[i]), LIMIT, "a product is too large");
        FY_TRY(fy_ev_reshape(v, &a, 2, (int64_t[]){rows, k}));
        dim[rank] = m;
        dim[rank + 1] = n;
        fy_et w;
        FY_TRY(fy_ev_new(v, o, a.dtype, rank + 2, dim));
        if (o->t.dtype != FERRY_DOUBLE) FY_TRY(fy_ev_temp(v, &w, FERRY_DOUBLE, rank + 2, dim));
        else w = *o;
        fy_status s = fy_gemm((fy_mat){w.t.data, FERRY_DOUBLE, n, 1}, mat(&a, 0), mat(&b, 0), rows, n, k, 1, 0, v->pool, v->e);
        if (s != FY_OK) { fy_tensor_free(&o->t); return s; }
        put_result(o, fy_ev_at(&w));
        return FY_OK;
    }
    FY_TRY(fy_ev_expand(v, &a, rank + 2, da));
    FY_TRY(fy_ev_expand(v, &b, rank + 2, db));
    dim[rank] = m;
    dim[rank + 1] = n;
    fy_et w;
    FY_TRY(fy_ev_new(v, o, a.dtype, rank + 2, dim));
    if (o->t.dtype != FERRY_DOUBLE) {
        fy_status s = fy_ev_temp(v, &w, FERRY_DOUBLE, rank + 2, dim);
        if (s != FY_OK) { fy_tensor_free(&o->t); return s; }
    } else w = *o;
    int64_t batch = 1;
    for (int i = 0; i < rank; i++) batch *= dim[i];
    for (int64_t i = 0; i < batch; i++) {
        int64_t oa = 0, ob = 0;
        for (int64_t q = i, d = rank - 1; d >= 0; q /= dim[d], d--) {
            oa += q % dim[d] * a.t.stride[d];
            ob += q % dim[d] * b.t.stride[d];
        }
        fy_status s = fy_gemm((fy_mat){fy_ev_at(&w) + i * m * n, FERRY_DOUBLE, n, 1}, mat(&a, oa), mat(&b, ob), m, n, k, 1, 0, v->pool, v->e);
        if (s != FY_OK) { fy_tensor_free(&o->t); return s; }
    }
    put_result(o, fy_ev_at(&w));
    return FY_OK;
}

fy_status fy_at_matmul(fy_eval *v) {                         /* matmul, mm, bmm, mv, dot */
    fy_et       a, b, o;
    const char *second[] = {"other", "mat2", "vec", "tensor"};
    int         which = 0;
    FY_TRY(fy_ev_raw(v, "self", &a));
    while (which < 3 && !fy_pnode_arg(v->node, second[which])) which++;
    FY_TRY(fy_ev_raw(v, second[which], &b));
    FY_NEED(v->e, a.t.rank >= 1 && b.t.rank >= 1, SHAPE, "a product with a scalar");
    bool va = a.t.rank == 1, vb = b.t.rank == 1;
    if (va) add_axis(&a, 0);
    if (vb) add_axis(&b, 1);
    FY_TRY(product(v, &o, a, b));
    int64_t *dim = o.t.dim;
    if (vb) o.t.rank--;
    if (va) {
        if (!vb) dim[o.t.rank - 2] = dim[o.t.rank - 1];
        o.t.rank--;
    }
    fy_strides(o.t.rank, o.t.dim, o.t.stride);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_linear(fy_eval *v) {
    fy_et x, w, b, o;
    bool  has, flat;
    FY_TRY(fy_ev_raw(v, "input", &x));
    FY_TRY(fy_ev_raw(v, "weight", &w));
    FY_TRY(fy_ev_opt(v, "bias", &b, &has));
    FY_NEED(v->e, x.t.rank >= 1 && (w.t.rank == 2 || w.t.rank == 1), SHAPE, "linear of ranks %d and %d", x.t.rank, w.t.rank);
    bool one = w.t.rank == 1;
    if (one) add_axis(&w, 0);
    fy_et wt = w;
    wt.t.dim[0] = w.t.dim[1];
    wt.t.dim[1] = w.t.dim[0];
    wt.t.stride[0] = w.t.stride[1];
    wt.t.stride[1] = w.t.stride[0];
    flat = x.t.rank == 1;
    if (flat) add_axis(&x, 0);
    FY_TRY(product(v, &o, x, wt));
    if (has) {
        int64_t       n = wt.t.dim[1], rows = n ? fy_count(&o.t) / n : 0;
        const double *p = fy_ev_dense(v, &b);
        if (!p || o.t.dtype != FERRY_DOUBLE || (fy_count(&b.t) != n && fy_count(&b.t) != 1)) {
            fy_tensor_free(&o.t);
            return p ? fy_fail(v->e, FY_E_SHAPE, "linear: the bias does not fit %lld outputs", (long long)n) : FY_E_NOMEM;
        }
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < n; j++) fy_ev_at(&o)[i * n + j] += p[fy_count(&b.t) == 1 ? 0 : j];
    }
    if (one) o.t.rank--;
    if (flat) {
        for (int i = 0; i + 1 < o.t.rank; i++) o.t.dim[i] = o.t.dim[i + 1];
        o.t.rank--;
    }
    fy_strides(o.t.rank, o.t.dim, o.t.stride);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_addmm(fy_eval *v) {                          /* addmm; 1: baddbmm; 2: addmv */
    static const char *const names[3][2] = {{"mat1", "mat2"}, {"batch1", "batch2"}, {"mat", "vec"}};
    fy_et  c, a, b, o;
    double alpha = 1, beta = 1;
    FY_TRY(fy_ev_in(v, "self", &c));
    FY_TRY(fy_ev_raw(v, names[v->k][0], &a));
    FY_TRY(fy_ev_raw(v, names[v->k][1], &b));
    FY_TRY(fy_ev_f64(v, "alpha", &alpha));
    FY_TRY(fy_ev_f64(v, "beta", &beta));
    if (v->k == 2) add_axis(&b, 1);
    FY_TRY(product(v, &o, a, b));
    if (v->k == 2) o.t.rank--;
    fy_strides(o.t.rank, o.t.dim, o.t.stride);
    fy_status s = fy_ev_expand(v, &c, o.t.rank, o.t.dim);
    const double *p = s == FY_OK ? fy_ev_dense(v, &c) : NULL;
    if (!p) { fy_tensor_free(&o.t); return s == FY_OK ? FY_E_NOMEM : s; }
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) {
        if (o.t.dtype == FERRY_DOUBLE) fy_ev_at(&o)[i] = alpha * fy_ev_at(&o)[i] + (beta == 0 ? 0 : beta * p[i]);
        else fy_ev_at_i(&o)[i] = (int64_t)(alpha * (double)fy_ev_at_i(&o)[i] + beta * p[i]);
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_outer(fy_eval *v) {
    fy_et a, b, o;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_in(v, "vec2", &b));
    FY_NEED(v->e, a.t.rank == 1 && b.t.rank == 1, SHAPE, "outer of ranks %d and %d", a.t.rank, b.t.rank);
    add_axis(&a, 1);
    add_axis(&b, 0);
    FY_TRY(product(v, &o, a, b));
    return fy_ev_out(v, 0, &o);
}

/* ---- einsum ---------------------------------------------------------------------------------------------------------------- */

enum { LABELS = 64 };                    /* letters, then the axes of "..." */

typedef struct term { fy_et t; int n; int label[FY_MAX_RANK]; } term;

static int letter(char c) { return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? c - 'A' + 26 : -1; }

/* Reads one operand's labels; "..." stands for the `rest` axes not named. */
static fy_status labels(fy_eval *v, const char **at, int rank, int *label, int *n) {
    int         named = 0;
    const char *p;
    *n = 0;
    for (p = *at; *p && *p != ',' && *p != '-'; p++) named += letter(*p) >= 0;
    for (p = *at; *p && *p != ',' && *p != '-'; p++) {
        if (*p == ' ') continue;
        if (*p == '.') {
            FY_NEED(v->e, p[1] == '.' && p[2] == '.' && rank >= named && rank - named <= 12, VALUE, "einsum equation");
            for (int i = 0; i < rank - named; i++) {
                FY_NEED(v->e, *n < FY_MAX_RANK, LIMIT, "einsum rank");
                label[(*n)++] = 52 + 12 - (rank - named) + i;
            }
            p += 2;
            continue;
        }
        FY_NEED(v->e, letter(*p) >= 0 && *n < FY_MAX_RANK, VALUE, "einsum equation has '%c'", *p);
        label[(*n)++] = letter(*p);
    }
    *at = p;
    return FY_OK;
}

/* Brings a to the axes `label`: repeated labels are diagonals, missing ones size 1. */
static fy_status arrange(fy_eval *v, term *a, int n, const int *label) {
    fy_tensor t = a->t.t;
    t.rank = n;
    for (int i = 0; i < n; i++) {
        t.dim[i] = 1;
        t.stride[i] = 0;
        for (int j = 0; j < a->n; j++) {
            if (a->label[j] != label[i]) continue;
            FY_NEED(v->e, t.dim[i] == 1 || t.dim[i] == a->t.t.dim[j], SHAPE, "einsum: sizes %lld and %lld of one label", (long long)t.dim[i], (long long)a->t.t.dim[j]);
            t.dim[i] = a->t.t.dim[j];
            t.stride[i] += a->t.t.stride[j];
        }
    }
    a->t.t = t;
    a->n = n;
    memcpy(a->label, label, sizeof(int) * (size_t)n);
    return FY_OK;
}

/* Sums a over its labels that `keep` lacks. */
static fy_status sum_out(fy_eval *v, term *a, const bool *keep) {
    int     order[FY_MAX_RANK] = {0}, n = 0, kept = 0;
    bool    seen[LABELS] = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < a->n; i++)
            if (keep[a->label[i]] == (pass == 0) && !seen[a->label[i]]) { order[n++] = a->label[i]; seen[a->label[i]] = true; }
        if (!pass) kept = n;
    }
    FY_TRY(arrange(v, a, n, order));
    if (kept == n) return FY_OK;
    const double *x = fy_ev_dense(v, &a->t);
    if (!x) return FY_E_NOMEM;
    int64_t inner = 1;
    for (int i = kept; i < n; i++) inner *= a->t.t.dim[i];
    fy_et o;
    FY_TRY(fy_ev_temp(v, &o, a->t.dtype == FERRY_DOUBLE ? FERRY_DOUBLE : FERRY_FLOAT, kept, a->t.t.dim));
    for (int64_t i = 0, m = fy_count(&o.t); i < m; i++) {
        double s = 0;
        for (int64_t j = 0; j < inner; j++) s += x[i * inner + j];
        fy_ev_at(&o)[i] = s;
    }
    o.dtype = a->t.dtype;
    a->t = o;
    a->n = kept;
    return FY_OK;
}

/* r = a * b summed over the labels in neither `keep`: axes ordered batch, m, k and batch, k, n for one batched product. */
static fy_status contract(fy_eval *v, term *r, term *a, term *b, const bool *keep) {
    bool in_a[LABELS] = {0}, in_b[LABELS] = {0}, ka[LABELS], kb[LABELS];
    for (int i = 0; i < a->n; i++) in_a[a->label[i]] = true;
    for (int i = 0; i < b->n; i++) in_b[b->label[i]] = true;
    for (int l = 0; l < LABELS; l++) { ka[l] = keep[l] || in_b[l]; kb[l] = keep[l] || in_a[l]; }
    FY_TRY(sum_out(v, a, ka));
    FY_TRY(sum_out(v, b, kb));
    int     g[4][FY_MAX_RANK], n[4] = {0}, la[FY_MAX_RANK], lb[FY_MAX_RANK], k = 0, j = 0;
    int64_t size[LABELS];
    for (int l = 0; l < LABELS; l++) {
        size[l] = 1;
        for (int i = 0; i < a->n; i++) if (a->label[i] == l && a->t.t.dim[i] != 1) size[l] = a->t.t.dim[i];
        for (int i = 0; i < b->n; i++) if (b->label[i] == l && b->t.t.dim[i] != 1) size[l] = b->t.t.dim[i];
        if (!in_a[l] && !in_b[l]) continue;
        int which = in_a[l] && in_b[l] ? (keep[l] ? 0 : 3) : in_a[l] ? 1 : 2;
        FY_NEED(v->e, n[which] < 8, LIMIT, "einsum with many labels");
        g[which][n[which]++] = l;
    }
    int64_t total[4] = {1, 1, 1, 1}, da[FY_MAX_RANK], db[FY_MAX_RANK];
    for (int w = 0; w < 4; w++) for (int i = 0; i < n[w]; i++) total[w] *= size[g[w][i]];
    static const int order_a[3] = {0, 1, 3}, order_b[3] = {0, 3, 2};
    for (int w = 0; w < 3; w++) {
        for (int i = 0; i < n[order_a[w]]; i++) { FY_NEED(v->e, k < FY_MAX_RANK, LIMIT, "einsum rank"); la[k] = g[order_a[w]][i]; da[k] = size[la[k]]; k++; }
        for (int i = 0; i < n[order_b[w]]; i++) { FY_NEED(v->e, j < FY_MAX_RANK, LIMIT, "einsum rank"); lb[j] = g[order_b[w]][i]; db[j] = size[lb[j]]; j++; }
    }
    FY_TRY(arrange(v, a, k, la));
    FY_TRY(arrange(v, b, j, lb));
    FY_TRY(fy_ev_expand(v, &a->t, k, da));
    FY_TRY(fy_ev_expand(v, &b->t, j, db));
    FY_TRY(fy_ev_reshape(v, &a->t, 3, (int64_t[]){total[0], total[1], total[3]}));
    FY_TRY(fy_ev_reshape(v, &b->t, 3, (int64_t[]){total[0], total[3], total[2]}));
    fy_et o;
    FY_TRY(product(v, &o, a->t, b->t));
    if (!FY_RESERVE(v->temps, v->temps.n + 1)) { fy_tensor_free(&o.t); return fy_nomem(v->e); }
    v->temps.at[v->temps.n++] = o.t;
    r->n = 0;
    for (int w = 0; w < 3; w++)
        for (int i = 0; i < n[w]; i++) {
            FY_NEED(v->e, r->n < FY_MAX_RANK, LIMIT, "einsum rank");
            da[r->n] = size[g[w][i]];
            r->label[r->n++] = g[w][i];
        }
    FY_TRY(fy_ev_reshape(v, &o, r->n, da));
    r->t = o;
    return FY_OK;
}

fy_status fy_ev_einsum(fy_eval *v, fy_et *o, const char *eq, int n, const fy_et *in) {
    const char *at = eq;
    int         out[FY_MAX_RANK], nout = 0, count[LABELS] = {0}, most = 0;
    FY_NEED(v->e, n >= 1 && n <= 16, VALUE, "einsum of %d tensors", n);
    term *t = FY_NEWN(&v->scratch, term, n);
    FY_NOMEM(v->e, t);
    for (int i = 0; i < n; i++) {
        t[i].t = in[i];
        FY_TRY(labels(v, &at, in[i].t.rank, t[i].label, &t[i].n));
        FY_NEED(v->e, t[i].n == in[i].t.rank, SHAPE, "einsum: %d labels for rank %d", t[i].n, in[i].t.rank);
        FY_NEED(v->e, i + 1 < n ? *at == ',' : (*at == 0 || *at == '-'), VALUE, "einsum equation %s", eq);
        if (*at == ',') at++;
        for (int j = 0; j < t[i].n; j++) {
            count[t[i].label[j]]++;
            if (t[i].label[j] >= 52 && 64 - t[i].label[j] > most) most = 64 - t[i].label[j];
        }
    }
    if (*at == '-') {
        FY_NEED(v->e, at[1] == '>', VALUE, "einsum equation %s", eq);
        at += 2;
        int named = 0;
        for (const char *p = at; *p; p++) named += letter(*p) >= 0;
        FY_TRY(labels(v, &at, strchr(at, '.') ? named + most : named, out, &nout));
    } else {
        for (int l = 52; l < LABELS; l++) if (count[l]) out[nout++] = l;
        for (int i = 0; i < 52 && nout < FY_MAX_RANK; i++) {                    /* sorted as torch does: upper case first */
            int l = i < 26 ? i + 26 : i - 26;
            if (count[l] == 1) out[nout++] = l;
        }
    }
    bool keep[LABELS] = {0};
    for (int i = 0; i < nout; i++) keep[out[i]] = true;
    term r = t[0];
    for (int i = 1; i < n; i++) {
        bool later[LABELS];
        memcpy(later, keep, sizeof later);
        for (int j = i + 1; j < n; j++) for (int l = 0; l < t[j].n; l++) later[t[j].label[l]] = true;
        term next;
        FY_TRY(contract(v, &next, &r, &t[i], later));
        r = next;
    }
    FY_TRY(sum_out(v, &r, keep));
    FY_TRY(arrange(v, &r, nout, out));
    return fy_ev_copy(v, o, &r.t);
}

fy_status fy_at_einsum(fy_eval *v) {
    fy_et *in, o;
    int    n;
    FY_TRY(fy_ev_list(v, "tensors", &in, &n));
    FY_TRY(fy_ev_einsum(v, &o, fy_ev_str(v, "equation", ""), n, in));
    return fy_ev_out(v, 0, &o);
}

/* ---- attention ----------------------------------------------------------------------------------------------------------------- */

/* In-place softmax of one row; a row of -inf gives zeros, as torch's attention does. */
static void softmax_row(double *x, int64_t n) {
    double m = -(double)INFINITY, s = 0;
    for (int64_t i = 0; i < n; i++) m = x[i] > m || isnan(x[i]) ? x[i] : m;
    if (m == -(double)INFINITY) {
        for (int64_t i = 0; i < n; i++) x[i] = 0;
        return;
    }
    for (int64_t i = 0; i < n; i++) s += x[i] = exp(x[i] - m);
    for (int64_t i = 0; i < n; i++) x[i] /= s;
}

typedef struct attn { double *s; int64_t rows, cols; const double *mask; bool causal; } attn;

static void attn_rows(void *arg, int64_t r0, int64_t r1) {
    const attn *a = arg;
    for (int64_t r = r0; r < r1; r++) {
        double *x = a->s + r * a->cols;
        if (a->mask) for (int64_t j = 0; j < a->cols; j++) x[j] += a->mask[r * a->cols + j];
        if (a->causal) for (int64_t j = r + 1; j < a->cols; j++) x[j] = -(double)INFINITY;
        softmax_row(x, a->cols);
    }
}

/* softmax(q k^T * scale + mask) v; q [.., L, E], k [.., S, E], v [.., S, F]. */
static fy_status attention(fy_eval *v, fy_et *o, fy_et q, fy_et k, fy_et x, const fy_et *mask, bool causal, double scale, bool gqa) {
    int r = q.t.rank;
    FY_NEED(v->e, r >= 2 && r < FY_MAX_RANK && k.t.rank >= 2 && x.t.rank >= 2, SHAPE, "attention of rank %d", r);
    int64_t L = q.t.dim[r - 2], E = q.t.dim[r - 1], S = k.t.dim[k.t.rank - 2], F = x.t.dim[x.t.rank - 1];
    if (gqa && r >= 3 && k.t.rank == r && x.t.rank == r && q.t.dim[r - 3] != k.t.dim[r - 3]) {       /* heads share keys: view them as repeated */
        int64_t h = q.t.dim[r - 3], hk = k.t.dim[r - 3], rep = hk ? h / hk : 0;
        FY_NEED(v->e, hk && h % hk == 0 && x.t.dim[r - 3] == hk && r + 1 <= FY_MAX_RANK, SHAPE, "attention: %lld heads over %lld", (long long)h, (long long)hk);
        fy_et *kv[2] = {&k, &x};
        for (int i = 0; i < 2; i++) {
            int64_t d[FY_MAX_RANK];
            add_axis(kv[i], r - 2);
            memcpy(d, kv[i]->t.dim, sizeof d);
            d[r - 2] = rep;
            FY_TRY(fy_ev_expand(v, kv[i], r + 1, d));
            d[r - 3] = h;
            d[r - 2] = kv[i]->t.dim[r - 1];
            d[r - 1] = kv[i]->t.dim[r];
            FY_TRY(fy_ev_reshape(v, kv[i], r, d));
        }
    }
    FY_NEED(v->e, k.t.dim[k.t.rank - 1] == E && x.t.dim[x.t.rank - 2] == S, SHAPE, "attention: query, key and value do not fit");
    fy_et bq = q, bk = k, bx = x;
    bq.t.rank -= 2;
    bk.t.rank -= 2;
    bx.t.rank -= 2;
    int     rank;
    int64_t dim[FY_MAX_RANK], d[FY_MAX_RANK], batch = 1;
    FY_TRY(fy_ev_broadcast(v, 3, (const fy_et *const[]){&bq, &bk, &bx}, &rank, dim));
    FY_NEED(v->e, rank + 2 <= FY_MAX_RANK, LIMIT, "rank above %d", FY_MAX_RANK);
    for (int i = 0; i < rank; i++) batch *= d[i] = dim[i];
    FY_TRY(for_gemm(v, &q));
    FY_TRY(for_gemm(v, &k));
    FY_TRY(for_gemm(v, &x));
    d[rank] = L, d[rank + 1] = E;
    FY_TRY(fy_ev_expand(v, &q, rank + 2, d));
    d[rank] = S;
    FY_TRY(fy_ev_expand(v, &k, rank + 2, d));
    d[rank + 1] = F;
    FY_TRY(fy_ev_expand(v, &x, rank + 2, d));
    fy_et m, one, scores;
    if (mask) {
        m = *mask;
        d[rank] = L, d[rank + 1] = S;
        FY_TRY(fy_ev_expand(v, &m, rank + 2, d));
        FY_TRY(fy_ev_temp(v, &one, FERRY_DOUBLE, 2, (int64_t[]){L, S}));
    }
    FY_TRY(fy_ev_temp(v, &scores, FERRY_DOUBLE, 2, (int64_t[]){L, S}));
    d[rank] = L, d[rank + 1] = F;
    FY_TRY(fy_ev_new(v, o, q.dtype, rank + 2, d));
    for (int64_t i = 0; i < batch; i++) {
        int64_t oq = 0, ok = 0, ox = 0, om = 0;
        for (int64_t c = i, j = rank - 1; j >= 0; c /= dim[j], j--) {
            int64_t at = c % dim[j];
            oq += at * q.t.stride[j];
            ok += at * k.t.stride[j];
            ox += at * x.t.stride[j];
            if (mask) om += at * m.t.stride[j];
        }
        fy_mat kt = mat(&k, ok);
        int64_t swap = kt.row;
        kt.row = kt.col;
        kt.col = swap;
        fy_status s = fy_gemm((fy_mat){scores.t.data, FERRY_DOUBLE, S, 1}, mat(&q, oq), kt, L, S, E, scale, 0, v->pool, v->e);
        if (s == FY_OK && mask) {
            fy_tensor w = m.t;
            w.data = (char *)m.t.data + om * fy_elem_bytes(m.t.dtype);
            w.rank = 2;
            for (int j = 0; j < 2; j++) { w.dim[j] = m.t.dim[rank + j]; w.stride[j] = m.t.stride[rank + j]; }
            fy_load_f64(fy_ev_at(&one), &w, 0, L * S);
            if (m.dtype == FERRY_BOOL) for (int64_t j = 0; j < L * S; j++) fy_ev_at(&one)[j] = fy_ev_at(&one)[j] != 0 ? 0 : -(double)INFINITY;
        }
        attn a = {.s = fy_ev_at(&scores), .rows = L, .cols = S, .mask = mask ? fy_ev_at(&one) : NULL, .causal = causal};
        if (s == FY_OK) fy_for(v->pool, L, S < 4096 ? 4096 / (S + 1) + 1 : 1, attn_rows, &a);
        if (s == FY_OK) s = fy_gemm((fy_mat){fy_ev_at(o) + i * L * F, FERRY_DOUBLE, F, 1}, mat(&scores, 0), mat(&x, ox), L, F, S, 1, 0, v->pool, v->e);
        if (s != FY_OK) { fy_tensor_free(&o->t); return s; }
    }
    return FY_OK;
}

fy_status fy_at_sdpa(fy_eval *v) {
    fy_et  q, k, x, m, o;
    bool   has, causal = false, gqa = false;
    double p = 0, scale;
    FY_TRY(fy_ev_raw(v, "query", &q));
    FY_TRY(fy_ev_raw(v, "key", &k));
    FY_TRY(fy_ev_raw(v, "value", &x));
    FY_TRY(fy_ev_opt(v, fy_pnode_arg(v->node, "attn_bias") ? "attn_bias" : "attn_mask", &m, &has));
    FY_TRY(fy_ev_bool(v, "is_causal", &causal));
    FY_TRY(fy_ev_bool(v, "enable_gqa", &gqa));
    FY_TRY(fy_ev_f64(v, "dropout_p", &p));
    FY_NEED(v->e, p == 0, TRAINING, "attention with dropout is random");
    FY_NEED(v->e, q.t.rank >= 2, SHAPE, "attention of rank %d", q.t.rank);
    scale = 1 / sqrt((double)q.t.dim[q.t.rank - 1]);
    FY_TRY(fy_ev_f64(v, "scale", &scale));
    FY_TRY(attention(v, &o, q, k, x, has ? &m : NULL, causal, scale, gqa));
    return fy_ev_out(v, 0, &o);
}

/* sum over i, j of a[..,i] w[o,i,j] b[..,j], plus bias */
fy_status fy_at_bilinear(fy_eval *v) {
    fy_et   a, b, w, bias, o;
    bool    has;
    int64_t dim[FY_MAX_RANK];
    FY_TRY(fy_ev_in(v, "input1", &a));
    FY_TRY(fy_ev_in(v, "input2", &b));
    FY_TRY(fy_ev_in(v, "weight", &w));
    FY_TRY(fy_ev_opt(v, "bias", &bias, &has));
    int r = a.t.rank;
    FY_NEED(v->e, r >= 1 && b.t.rank == r && w.t.rank == 3 && w.t.dim[1] == a.t.dim[r - 1] && w.t.dim[2] == b.t.dim[r - 1] && (!has || fy_count(&bias.t) == w.t.dim[0]), SHAPE, "bilinear of shapes that do not fit");
    for (int i = 0; i + 1 < r; i++) FY_NEED(v->e, a.t.dim[i] == b.t.dim[i], SHAPE, "bilinear: sizes %lld and %lld", (long long)a.t.dim[i], (long long)b.t.dim[i]);
    const double *pa = fy_ev_dense(v, &a), *pb = fy_ev_dense(v, &b), *pw = fy_ev_dense(v, &w), *pc = has ? fy_ev_dense(v, &bias) : NULL;
    if (!pa || !pb || !pw || (has && !pc)) return FY_E_NOMEM;
    int64_t n = w.t.dim[0], ni = w.t.dim[1], nj = w.t.dim[2];
    memcpy(dim, a.t.dim, sizeof dim);
    dim[r - 1] = n;
    FY_TRY(fy_ev_new(v, &o, a.dtype, r, dim));
    for (int64_t at = 0, rows = fy_count(&o.t); at < rows; at++) {
        const double *x = pa + at / n * ni, *y = pb + at / n * nj, *m = pw + at % n * ni * nj;
        double        sum = pc ? pc[at % n] : 0;
        for (int64_t i = 0; i < ni; i++)
            for (int64_t j = 0; j < nj; j++) sum += x[i] * m[i * nj + j] * y[j];
        fy_ev_at(&o)[at] = sum;
    }
    return fy_ev_out(v, 0, &o);
}

static int64_t bits_of(int n, const int64_t *axis) {
    int64_t r = 0;
    for (int i = 0; i < n; i++)
        if (axis[i] >= 0 && axis[i] < 63) r |= (int64_t)1 << axis[i];
    return r;
}

/* Axes of size 1 put in at expand1..3, the product summed over sumdim. */
fy_status fy_at_trilinear(fy_eval *v) {
    static const char *const tensor[] = {"i1", "i2", "i3"}, *const expand[] = {"expand1", "expand2", "expand3"};
    fy_et         x[3], o;
    int64_t       axis[FY_MAX_RANK], dim[FY_MAX_RANK], out[FY_MAX_RANK], total = 1;
    const double *p[3];
    int           n, rank;
    for (int k = 0; k < 3; k++) {
        FY_TRY(fy_ev_in(v, tensor[k], &x[k]));
        FY_TRY(fy_ev_ints(v, expand[k], axis, FY_MAX_RANK, &n));
        int64_t   put = bits_of(n, axis);
        fy_tensor t = x[k].t;
        FY_NEED(v->e, t.rank + (n > 0 ? n : 0) <= FY_MAX_RANK, LIMIT, "_trilinear of rank %d", t.rank);
        int from = 0;
        t.rank += n > 0 ? n : 0;
        for (int i = 0; i < t.rank; i++) {
            bool one = put >> i & 1 || from >= x[k].t.rank;
            t.dim[i] = one ? 1 : x[k].t.dim[from];
            t.stride[i] = one ? 0 : x[k].t.stride[from];
            from += !one;
        }
        x[k].t = t;
    }
    FY_TRY(fy_ev_broadcast(v, 3, (const fy_et *[]){&x[0], &x[1], &x[2]}, &rank, dim));
    for (int k = 0; k < 3; k++) {
        FY_TRY(fy_ev_expand(v, &x[k], rank, dim));
        p[k] = fy_ev_dense(v, &x[k]);
        if (!p[k]) return FY_E_NOMEM;
    }
    FY_TRY(fy_ev_ints(v, "sumdim", axis, FY_MAX_RANK, &n));
    int64_t gone = bits_of(n, axis);
    int     kept = 0;
    for (int i = 0; i < rank; i++) {
        total *= dim[i];
        if (!(gone >> i & 1)) out[kept++] = dim[i];
    }
    FY_TRY(fy_ev_new(v, &o, x[0].dtype, kept, out));
    for (int64_t i = 0; i < total; i++) {
        int64_t to = 0, step = 1, rest = i;
        for (int d = rank - 1; d >= 0; rest /= dim[d], d--)
            if (!(gone >> d & 1)) { to += rest % dim[d] * step; step *= dim[d]; }
        fy_ev_at(&o)[to] += p[0][i] * p[1][i] * p[2][i];
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_grouped_mm(fy_eval *v) {
    fy_et x, w, offs, o;
    FY_TRY(fy_ev_in(v, "input", &x));
    FY_TRY(fy_ev_in(v, "weight", &w));
    FY_TRY(fy_ev_in(v, "offs", &offs));
    FY_NEED(v->e, x.t.rank == 2 && w.t.rank == 3 && offs.t.rank == 1 && w.t.dim[0] == offs.t.dim[0] && x.t.dim[1] == w.t.dim[1], SHAPE, "grouped products of shapes that do not fit");
    const double  *px = fy_ev_dense(v, &x), *pw = fy_ev_dense(v, &w);
    const int64_t *end = fy_ev_dense_i(v, &offs);
    if (!px || !pw || !end) return FY_E_NOMEM;
    int64_t rows = x.t.dim[0], k = x.t.dim[1], n = w.t.dim[2], r = 0;
    FY_TRY(fy_ev_new(v, &o, x.dtype, 2, (int64_t[]){rows, n}));
    for (int64_t g = 0; g < offs.t.dim[0]; g++)
        for (; r < rows && r < end[g]; r++)
            for (int64_t i = 0; i < k; i++)
                for (int64_t j = 0; j < n; j++) fy_ev_at(&o)[r * n + j] += px[r * k + i] * pw[(g * k + i) * n + j];
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_pdist(fy_eval *v) {
    fy_et  x, o;
    double p = 2;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_f64(v, "p", &p));
    FY_NEED(v->e, x.t.rank == 2 && x.t.dim[0] < 1 << 16, SHAPE, "pdist of rank %d", x.t.rank);
    const double *px = fy_ev_dense(v, &x);
    if (!px) return FY_E_NOMEM;
    int64_t n = x.t.dim[0], d = x.t.dim[1], pairs = n * (n - 1) / 2, k = 0;
    FY_TRY(fy_ev_new(v, &o, x.dtype, 1, &pairs));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++, k++) {
            double sum = 0, most = 0, count = 0;
            for (int64_t c = 0; c < d; c++) {
                double gap = fabs(px[i * d + c] - px[j * d + c]);
                sum += pow(gap, p);
                most = fmax(most, gap);
                count += gap != 0;
            }
            fy_ev_at(&o)[k] = p == 0 ? count : isinf(p) ? most : pow(sum, 1 / p);
        }
    return fy_ev_out(v, 0, &o);
}
