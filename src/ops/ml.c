/* SPDX-License-Identifier: Apache-2.0
 * ml.c - shared by the operators of ai.onnx.ml; see ml.h. */
#include "ops/ml.h"

#include <math.h>
#include <string.h>

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

fy_status fy_ml_rows(fy_infer *f, const fy_dim **n, const fy_dim **width) {
    int rank;
    FY_TRY(fy_k_rank(f, 0, 1, 2, &rank));
    *n = rank == 2 ? fy_in_dim(f, 0, 0) : rank == 1 ? fy_dim_const(f->dims, 1) : NULL;
    *width = rank > 0 ? fy_in_dim(f, 0, rank - 1) : NULL;
    FY_NOMEM(f->e, rank < 0 || *n);
    return FY_OK;
}

fy_status fy_ml_out(fy_infer *f, int i, fy_dtype t, const fy_dim *e) {
    const fy_dim *d[2], *width;
    FY_TRY(fy_ml_rows(f, &d[0], &width));
    if (!d[0]) d[0] = fy_dim_opaque(f->dims, f->node->op->name);
    d[1] = e;
    return fy_out_set(f, i, t, 2, d);
}

fy_status fy_ml_out_n(fy_infer *f, int i, fy_dtype t, int64_t e) {
    FY_NEED(f->e, e >= 0, SHAPE, "%lld columns", (long long)e);
    return fy_ml_out(f, i, t, fy_dim_const(f->dims, e));
}

fy_status fy_ml_load(fy_ml_x *x, const fy_call *c) {
    const fy_tensor *t = fy_arg(c, 0);
    FY_NEED(c->e, t->rank == 1 || t->rank == 2, SHAPE, "the input has rank %d; it must be [N,F] or [F]", t->rank);
    *x = (fy_ml_x){.n = t->rank == 2 ? t->dim[0] : 1, .width = t->dim[t->rank - 1]};
    FY_NOMEM(c->e, x->at = fy_k_as_f64(c, t));
    return FY_OK;
}

fy_status fy_ml_room(double **room, const fy_call *c, int64_t n, int64_t each) {
    int64_t total;
    FY_NEED(c->e, fy_mul_i64(&total, n, each) && (c->max_bytes <= 0 || total <= c->max_bytes / 8), LIMIT, "%lld rows of %lld numbers are too many", (long long)n,
            (long long)each);
    FY_NOMEM(c->e, *room = FY_NEWN(c->scratch, double, total));
    return FY_OK;
}

/* ---- attributes ---------------------------------------------------------------------------------------------------- */

static const fy_attr *list(const fy_node *n, const char *name, fy_attr_kind kind) {
    const fy_attr *a = fy_attr_get(n, name);
    return a && a->kind == kind && a->n > 0 ? a : NULL;
}

fy_ml_floats fy_ml_floats_of(const fy_node *n, const char *name) {
    const fy_attr *a = list(n, name, FY_ATTR_FLOATS);
    return a ? (fy_ml_floats){a->floats, a->n} : (fy_ml_floats){0};
}

fy_ml_ints fy_ml_ints_of(const fy_node *n, const char *name) {
    const fy_attr *a = list(n, name, FY_ATTR_INTS);
    return a ? (fy_ml_ints){a->ints, a->n} : (fy_ml_ints){0};
}

fy_ml_texts fy_ml_texts_of(const fy_node *n, const char *name) {
    const fy_attr *a = list(n, name, FY_ATTR_STRINGS);
    return a ? (fy_ml_texts){a->strings, a->n} : (fy_ml_texts){0};
}

fy_status fy_ml_numbers(fy_ml_floats *v, const fy_call *c, const char *name, const char *tensor) {
    *v = name ? fy_ml_floats_of(c->node, name) : (fy_ml_floats){0};
    const fy_attr *a = tensor ? fy_attr_get(c->node, tensor) : NULL;
    if (!a || a->kind != FY_ATTR_TENSOR || !a->tensor || !a->tensor->count) return FY_OK;
    FY_NEED(c->e, !v->n, ATTR, "both %s and %s are given", name, tensor);
    FY_NEED(c->e, fy_dtype_class(a->tensor->dtype) != FY_CLASS_S && fy_dtype_class(a->tensor->dtype) != FY_CLASS_C, ATTR, "%s holds no numbers", tensor);
    fy_tensor t = {0};
    FY_TRY(fy_const_tensor(&t, a->tensor, c->e));
    v->at = fy_k_as_f64(c, &t);
    v->n = a->tensor->count;
    fy_tensor_free(&t);
    FY_NOMEM(c->e, v->at);
    return FY_OK;
}

fy_status fy_ml_product(int64_t have, int64_t n, int64_t width, const char *what, ferry_error *e) {
    int64_t want;
    FY_NEED(e, n >= 0 && width >= 0 && fy_mul_i64(&want, n, width) && want == have, ATTR, "%s has %lld elements; %lld times %lld are needed", what,
            (long long)have, (long long)n, (long long)width);
    return FY_OK;
}

/* ---- labels and scores --------------------------------------------------------------------------------------------- */

fy_status fy_ml_labels_of(fy_ml_labels *l, const fy_node *n, const char *strings, const char *ints, ferry_error *e) {
    l->text = fy_ml_texts_of(n, strings);
    l->number = fy_ml_ints_of(n, ints);
    l->n = l->text.n + l->number.n;
    FY_NEED(e, l->n && (!l->text.n || !l->number.n), ATTR, "exactly one of %s and %s must be given", strings, ints);
    return FY_OK;
}

void fy_ml_put_label(fy_tensor *y, int64_t i, const fy_ml_labels *l, int64_t k, bool plain) {
    if (!y) return;
    plain = plain || k < 0 || k >= l->n;
    if (l->text.n) ((fy_str *)y->data)[i] = !plain ? l->text.at[k] : (fy_str){k > 0 ? "1" : "0", 1};
    else ((int64_t *)y->data)[i] = plain ? k : l->number.at[k];
}

fy_status fy_ml_post_of(fy_ml_post *p, const fy_node *n, ferry_error *e) {
    static const char *const name[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
    fy_str s = fy_attr_s(n, "post_transform");
    for (int i = 0; i < FY_COUNT(name); i++)
        if (s.n == strlen(name[i]) && !memcmp(s.at, name[i], s.n)) { *p = (fy_ml_post)i; return FY_OK; }
    return fy_fail(e, FY_E_ATTR, "post_transform \"%.*s\" is none of NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT", (int)(s.n < 40 ? s.n : 40), s.at);
}

double fy_ml_logistic(double x) {
    double v = 1 / (1 + exp(-fabs(x)));
    return x < 0 ? 1 - v : v;
}

/* The inverse of the normal distribution by Winitzki's approximation of erf's inverse (a = 0.147), which is what ONNX Runtime and the
 * onnx package use: good to some 2e-3. Outside (0, 1) it is NaN or infinite. */
double fy_ml_probit(double x) {
    double t = 2 * x - 1, sign = t < 0 ? -1 : 1, l = log((1 - t) * (1 + t)), v = 2 / (3.14159 * 0.147) + 0.5 * l;
    return 1.41421356 * sign * sqrt(-v + sqrt(v * v - l / 0.147));
}

static void softmax(double *s, int64_t n) {
    double top = -HUGE_VAL, sum = 0;
    for (int64_t i = 0; i < n; i++) top = s[i] > top ? s[i] : top;
    for (int64_t i = 0; i < n; i++) sum += s[i] = exp(s[i] - top);
    for (int64_t i = 0; i < n; i++) s[i] /= sum;
}

/* Scores of (nearly) 0 stay what they are, scaled: they stand for classes without a vote. */
static void softmax_zero(double *s, int64_t n) {
    double top = -HUGE_VAL, sum = 0;
    for (int64_t i = 0; i < n; i++) top = s[i] > top ? s[i] : top;
    for (int64_t i = 0; i < n; i++) {
        if (s[i] > 0.0000001 || s[i] < -0.0000001) sum += s[i] = exp(s[i] - top);
        else s[i] *= exp(-top);
    }
    for (int64_t i = 0; sum != 0 && i < n; i++) s[i] /= sum;
}

void fy_ml_transform(double *s, int64_t n, fy_ml_post p) {
    switch (p) {
    case FY_POST_PROBIT: for (int64_t i = 0; i < n; i++) s[i] = fy_ml_probit(s[i]); break;
    case FY_POST_LOGISTIC: for (int64_t i = 0; n > 1 && i < n; i++) s[i] = fy_ml_logistic(s[i]); break;
    case FY_POST_SOFTMAX: if (n > 1) softmax(s, n); break;
    case FY_POST_SOFTMAX_ZERO: if (n > 1) softmax_zero(s, n); break;
    case FY_POST_NONE: break;
    }
}

int fy_ml_second(double *s, int how, fy_ml_post p) {
    if (p == FY_POST_PROBIT) { s[0] = fy_ml_probit(s[0]); return 1; }
    if (how < 0) return 1;
    s[1] = p == FY_POST_LOGISTIC ? fy_ml_logistic(s[0]) : s[0];
    s[0] = how < 2 || p == FY_POST_LOGISTIC ? 1 - s[1] : -s[1];
    return 2;
}

/* ---- dictionaries -------------------------------------------------------------------------------------------------- */

/* One bit pattern for all that is equal. */
static double plain(double v) { return v != v ? (double)NAN : v == 0 ? 0 : v; }

fy_status fy_ml_dict_make(fy_ml_dict *d, const fy_call *c, const fy_tensor *keys) {
    int64_t n = fy_count(keys);
    *d = (fy_ml_dict){.kind = fy_dtype_class(keys->dtype)};
    if (d->kind == FY_CLASS_F) FY_NOMEM(c->e, d->f = fy_k_as_f64(c, keys));
    else if (d->kind != FY_CLASS_S) FY_NOMEM(c->e, d->i = fy_k_as_i64(c, keys));
    for (int64_t k = 0; k < n; k++) {
        const fy_str *s = d->kind == FY_CLASS_S ? fy_k_str(keys, k) : NULL;
        if (d->f) d->f[k] = plain(d->f[k]);
        bool ok = fy_map_put(&d->map, s ? s->at : d->f ? (const char *)&d->f[k] : (const char *)&d->i[k], s ? s->n : 8, (void *)(intptr_t)(k + 1));
        if (ok) continue;
        fy_ml_dict_free(d);
        return fy_nomem(c->e);
    }
    return FY_OK;
}

void fy_ml_dict_free(fy_ml_dict *d) { fy_map_free(&d->map); }

int64_t fy_ml_dict_find(const fy_ml_dict *d, const fy_tensor *x, int64_t i) {
    if (d->kind == FY_CLASS_S) {
        const fy_str *s = fy_k_str(x, i);
        return (int64_t)(intptr_t)fy_map_get(&d->map, s->at, s->n) - 1;
    }
    double f = d->kind == FY_CLASS_F ? plain(fy_get_f64(x, i)) : 0;
    int64_t v = d->kind == FY_CLASS_F ? 0 : fy_get_i64(x, i);
    return (int64_t)(intptr_t)fy_map_get(&d->map, d->kind == FY_CLASS_F ? (const char *)&f : (const char *)&v, 8) - 1;
}

fy_tensor fy_ml_view_texts(fy_ml_texts t) { return fy_tensor_view(FERRY_STRING, 1, &t.n, t.at); }
fy_tensor fy_ml_view_ints(fy_ml_ints t) { return fy_tensor_view(FERRY_INT64, 1, &t.n, t.at); }
fy_tensor fy_ml_view_floats(fy_ml_floats t) { return fy_tensor_view(FERRY_DOUBLE, 1, &t.n, t.at); }
