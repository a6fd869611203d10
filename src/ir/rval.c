/* SPDX-License-Identifier: Apache-2.0
 * rval.c - run-time values, and what reference kernels are handed: outputs allocated on request, dense wide arguments. */
#include "base/checked.h"
#include "ir/op.h"

#include <string.h>

#define MAX_NESTING 16

static void free_value(fy_rval *v, int depth) {
    fy_tensor_free(&v->t);
    for (int64_t i = 0, items = v->kind == FY_MAP ? 2 : v->n; v->item && depth < MAX_NESTING && i < items; i++) free_value(&v->item[i], depth + 1);
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
    int64_t items = src->kind == FY_MAP ? 2 : src->n;
    if (!src->item || items == 0) {
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

fy_status fy_alloc_out(const fy_call *c, int i, fy_dtype t, int rank, const int64_t *dim) {
    fy_tensor *y = fy_res(c, i);
    int64_t count;
    if (!y) return FY_OK;
    fy_tensor_free(y);
    FY_NEED(c->e, rank <= FY_MAX_RANK, LIMIT, "output %d would have rank %d; most is %d", i, rank, FY_MAX_RANK);
    FY_NEED(c->e, fy_count_dims(&count, rank, dim) && (c->max_bytes <= 0 || count <= c->max_bytes / fy_elem_bytes(t)), LIMIT,
            "output %d would take more than %lld bytes", i, (long long)c->max_bytes);
    c->out[i]->kind = FY_TENSOR;
    return fy_tensor_new(y, t, rank, dim, c->e);
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
