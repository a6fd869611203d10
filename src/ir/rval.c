/* SPDX-License-Identifier: Apache-2.0
 * rval.c - run-time values, and what reference kernels are handed: outputs allocated on request, dense wide arguments. */
#include "base/checked.h"
#include "base/sort.h"
#include "ir/op.h"

#include <string.h>

#define MAX_NESTING 16

static void free_value(fy_rval *v, int depth) {
    fy_tensor_free(&v->t);
    for (int64_t i = 0, items = fy_rval_items(v); depth < MAX_NESTING && i < items; i++) free_value(&v->item[i], depth + 1);
    fy_free(v->item);
    memset(v, 0, sizeof *v);
}

void fy_rval_free(fy_rval *v) {
    if (v) free_value(v, 0);
}

static fy_status copy_value(fy_rval *dst, const fy_rval *src, int depth, ferry_error *e) {
    FY_NEED(e, depth < MAX_NESTING, LIMIT, "a value nests deeper than %d", MAX_NESTING);
    memset(dst, 0, sizeof *dst);
    dst->kind = src->kind;
    dst->elem_dtype = src->elem_dtype;
    if (src->kind == FY_TENSOR) {
        dst->t = fy_tensor_ref(&src->t);
        return FY_OK;
    }
    int64_t items = fy_rval_items(src);
    if (items == 0) {
        dst->n = src->item ? src->n : 0;
        return FY_OK;
    }
    dst->item = fy_calloc((size_t)items, sizeof *dst->item);
    FY_NOMEM(e, dst->item);
    dst->n = src->n;
    for (int64_t i = 0; i < items; i++) {
        fy_status s = copy_value(&dst->item[i], &src->item[i], depth + 1, e);
        if (s != FY_OK) {
            free_value(dst, depth);
            return s;
        }
    }
    return FY_OK;
}

fy_status fy_rval_copy(fy_rval *dst, const fy_rval *src, ferry_error *e) { return copy_value(dst, src, 0, e); }

/* ---- maps ---------------------------------------------------------------------------------------------------------- */

static int order(const void *ctx, int64_t a, int64_t b) {
    const fy_tensor *k = ctx;            /* dense */
    if (k->dtype == FERRY_STRING) return fy_str_order((const fy_str *)k->data + a, (const fy_str *)k->data + b);
    if (fy_dtype_class(k->dtype) == FY_CLASS_U) {
        uint64_t x = fy_get_u64(k, a), y = fy_get_u64(k, b);
        return (x > y) - (x < y);
    }
    int64_t x = fy_get_i64(k, a), y = fy_get_i64(k, b);
    return (x > y) - (x < y);
}

/* t, dense and of rank 1, in the order of `index`; strings with their bytes behind them. */
static fy_status arrange(fy_tensor *out, const fy_tensor *t, const int64_t *index, ferry_error *e) {
    size_t size = (size_t)fy_elem_bytes(t->dtype), bytes = 0;
    int64_t n = t->dim[0];
    const fy_str *from = t->dtype == FERRY_STRING ? t->data : NULL;
    if (!from) {
        FY_TRY(fy_tensor_new(out, t->dtype, 1, &n, e));
        for (int64_t i = 0; i < n; i++) memcpy((char *)out->data + (size_t)i * size, (const char *)t->data + (size_t)index[i] * size, size);
        return FY_OK;
    }
    for (int64_t i = 0; i < n; i++) bytes += from[i].n;
    fy_storage *s = fy_storage_new((size_t)n * size + bytes);
    FY_NOMEM(e, s);
    fy_str *to = s->at;
    char *p = (char *)(to + n);
    for (int64_t i = 0; i < n; i++) {
        const fy_str *x = &from[index[i]];
        to[i] = (fy_str){p, x->n};
        if (x->n) memcpy(p, x->at, x->n);
        p += x->n;
    }
    *out = fy_tensor_view(FERRY_STRING, 1, &n, to);
    out->own = s;
    return FY_OK;
}

static fy_status fill_map(fy_rval *map, const fy_tensor *keys, const fy_rval *values, const int64_t *index, ferry_error *e) {
    map->item[0].kind = FY_TENSOR;
    FY_TRY(arrange(&map->item[0].t, keys, index, e));
    for (int64_t i = 0; i + 1 < map->n; i++) FY_NEED(e, order(&map->item[0].t, i, i + 1) < 0, VALUE, "two keys of a map are equal");
    fy_rval *v = &map->item[1];
    v->kind = values->kind;
    if (values->kind == FY_TENSOR) {
        fy_tensor dense;
        FY_TRY(fy_tensor_clone(&dense, &values->t, e));
        fy_status s = arrange(&v->t, &dense, index, e);
        fy_tensor_free(&dense);
        return s;
    }
    v->elem_dtype = values->elem_dtype;
    FY_NOMEM(e, v->item = fy_calloc((size_t)map->n + 1, sizeof *v->item));
    for (v->n = 0; v->n < map->n; v->n++) FY_TRY(fy_rval_copy(&v->item[v->n], &values->item[index[v->n]], e));
    return FY_OK;
}

fy_status fy_rval_map(fy_rval *map, const fy_tensor *keys, const fy_rval *values, ferry_error *e) {
    fy_class k = fy_dtype_class(keys->dtype);
    fy_tensor dense;
    *map = (fy_rval){.kind = FY_MAP};
    FY_NEED(e, (k == FY_CLASS_S || k == FY_CLASS_I || k == FY_CLASS_U) && keys->rank == 1, TYPE, "keys of a map must be a list of integers or strings");
    int64_t n = keys->dim[0];
    FY_NEED(e, values->kind == FY_SEQUENCE ? values->n == n : values->kind == FY_TENSOR && values->t.rank == 1 && values->t.dim[0] == n, SHAPE,
            "a map of %lld keys needs as many values: a tensor [n] or a sequence", (long long)n);
    FY_TRY(fy_tensor_clone(&dense, keys, e));
    int64_t *index = fy_malloc((size_t)n + 1, 2 * sizeof *index);
    map->item = fy_calloc(2, sizeof *map->item);
    fy_status s = index && map->item ? FY_OK : fy_nomem(e);
    if (!s) {
        map->n = n;
        for (int64_t i = 0; i < n; i++) index[i] = i;
        fy_sort(index, index + n, n, order, &dense);
        s = fill_map(map, &dense, values, index, e);
    }
    if (s) fy_rval_free(map);
    fy_free(index);
    fy_tensor_free(&dense);
    return s;
}

/* ---- what kernels are handed ---------------------------------------------------------------------------------------- */

fy_status fy_alloc_out(const fy_call *c, int i, fy_dtype t, int rank, const int64_t *dim) {
    fy_tensor *y = fy_res(c, i);
    int64_t count;
    if (!y) return FY_OK;
    fy_tensor_free(y);
    FY_NEED(c->e, rank <= FY_MAX_RANK, LIMIT, "output %d would have rank %d; most is %d", i, rank, FY_MAX_RANK);
    FY_NEED(c->e, fy_count_dims(&count, rank, dim) && (c->max_bytes <= 0 || count <= c->max_bytes / fy_elem_bytes(t)), LIMIT,
            "output %d would take more than %lld bytes", i, (long long)c->max_bytes);
    c->out[i]->kind = FY_TENSOR;
    return fy_tensor_take(y, c->spares, t, rank, dim, c->e);
}

const double *fy_arg_f64(const fy_call *c, int i) {
    const fy_tensor *x = fy_arg(c, i);
    if (!x || x->dtype == FERRY_STRING) return NULL;
    if (x->dtype == FERRY_DOUBLE && x->data && fy_contiguous(x)) return x->data;
    int64_t n = fy_count(x);
    double *d = FY_NEWN(c->scratch, double, n);
    if (d && n) fy_load_f64(d, x, 0, n);
    return d;
}

const int64_t *fy_arg_i64(const fy_call *c, int i) {
    const fy_tensor *x = fy_arg(c, i);
    if (!x || x->dtype == FERRY_STRING) return NULL;
    if (x->dtype == FERRY_INT64 && x->data && fy_contiguous(x)) return x->data;
    int64_t n = fy_count(x);
    int64_t *d = FY_NEWN(c->scratch, int64_t, n);
    if (d && n) fy_load_i64(d, x, 0, n);
    return d;
}
