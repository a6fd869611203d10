/* SPDX-License-Identifier: Apache-2.0
 * value.c - ferry_value: what runs take and give, of any kind, for callers. */
#include "api/api.h"

#include <string.h>

ferry_value *fy_value_handle(fy_rval *v, bool take, ferry_error *e) {
    ferry_value *h = fy_calloc(1, sizeof *h);
    fy_status s = h ? FY_OK : fy_nomem(e);
    if (!s && take) h->v = *v;
    else if (!s) s = fy_rval_copy(&h->v, v, e);
    else if (take) fy_rval_free(v);
    if (!s) return h;
    fy_free(h);
    return NULL;
}

void ferry_value_free(ferry_value *v) {
    if (!v) return;
    fy_rval_free(&v->v);
    fy_free(v);
}

/* ---- making --------------------------------------------------------------------------------------------------------- */

/* Hands a finished value over, or drops what there is of it. */
static ferry_value *finish(fy_status s, fy_rval *v, ferry_error *e) {
    if (!s) return fy_value_handle(v, true, e);
    fy_rval_free(v);
    return NULL;
}

/* A byte for each element, of which only the low bits are taken: kernels index tables with them. */
static fy_status narrow(fy_tensor *to, const ferry_tensor *t, ferry_error *e) {
    int64_t count;
    fy_dtype dtype = (fy_dtype)t->dtype;
    FY_NEED(e, t->rank >= 0 && t->rank <= FERRY_MAX_RANK, SHAPE, "value: rank %d is outside 0..%d", t->rank, FERRY_MAX_RANK);
    FY_NEED(e, fy_count_dims(&count, t->rank, t->dim), SHAPE, "value: the shape is negative or too large");
    FY_NEED(e, t->data || !count, VALUE, "value has no data");
    FY_NEED(e, t->bytes >= (size_t)count, VALUE, "value: %zu bytes given, the shape needs %lld: an element of %s takes a byte here", t->bytes,
        (long long)count, ferry_dtype_name(t->dtype));
    FY_TRY(fy_tensor_new(to, dtype, t->rank, t->dim, e));
    for (int64_t i = 0; i < count; i++) {
        uint8_t packed = 0;
        fy_pack_bits(dtype, &packed, 0, (const uint8_t *)t->data + i, 1);
        fy_unpack_bits(dtype, (uint8_t *)to->data + i, &packed, 0, 1);
    }
    return FY_OK;
}

ferry_value *ferry_value_tensor(const ferry_tensor *t, ferry_error *e) {
    fy_rval v = {.kind = FY_TENSOR};
    int bits = fy_dtype_bits((fy_dtype)t->dtype);
    fy_error_clear(e);
    if (bits && bits < 8) return finish(narrow(&v.t, t, e), &v, e);
    fy_status s = fy_view_check("value", "", t, e);
    if (!s) {
        fy_tensor view = fy_tensor_view((fy_dtype)t->dtype, t->rank, t->dim, t->data);
        s = fy_tensor_clone(&v.t, &view, e);
    }
    return finish(s, &v, e);
}

static fy_status strings(fy_tensor *t, const char *const *text, const size_t *bytes, int32_t rank, const int64_t *dim, ferry_error *e) {
    int64_t n;
    size_t size, all;
    FY_NEED(e, rank >= 0 && rank <= FERRY_MAX_RANK, SHAPE, "rank %d is outside 0..%d", rank, FERRY_MAX_RANK);
    FY_NEED(e, fy_count_dims(&n, rank, dim), SHAPE, "the shape is negative or too large");
    FY_NEED(e, text || !n, VALUE, "no strings are given");
    FY_NEED(e, fy_mul_size(&size, (size_t)n, sizeof(fy_str)), LIMIT, "too many strings");
    all = size;
    for (int64_t i = 0; i < n; i++) {
        FY_NEED(e, text[i] || (bytes && !bytes[i]), VALUE, "string %lld is NULL", (long long)i);
        FY_NEED(e, fy_add_size(&all, all, bytes ? bytes[i] : strlen(text[i])), LIMIT, "the strings are too long");
    }
    fy_storage *st = fy_storage_new(all);
    FY_NOMEM(e, st);
    *t = fy_tensor_view(FERRY_STRING, rank, dim, st->at);
    t->own = st;
    fy_str *to = st->at;
    char *p = (char *)(to + n);
    for (int64_t i = 0; i < n; i++) {
        to[i] = (fy_str){p, bytes ? bytes[i] : strlen(text[i])};
        if (to[i].n) memcpy(p, text[i], to[i].n);
        p += to[i].n;
    }
    return FY_OK;
}

ferry_value *ferry_value_strings(const char *const *text, const size_t *bytes, int32_t rank, const int64_t *dim, ferry_error *e) {
    fy_rval v = {.kind = FY_TENSOR};
    fy_error_clear(e);
    return finish(strings(&v.t, text, bytes, rank, dim, e), &v, e);
}

/* The dtype of the tensors in a list, 0 where its items are none. */
static fy_status list(fy_rval *v, fy_kind kind, const ferry_value *const *item, size_t n, ferry_error *e) {
    *v = (fy_rval){.kind = kind};
    FY_NOMEM(e, v->item = fy_calloc(n + 1, sizeof *v->item));
    for (size_t i = 0; i < n; i++) {
        FY_NEED(e, item[i], VALUE, "item %zu is NULL", i);
        FY_NEED(e, item[i]->v.kind == item[0]->v.kind && item[i]->v.t.dtype == item[0]->v.t.dtype, TYPE, "item %zu is of another type than item 0", i);
        FY_TRY(fy_rval_copy(&v->item[i], &item[i]->v, e));
        v->n++;
    }
    v->elem_dtype = n ? item[0]->v.t.dtype : FERRY_UNDEFINED;
    return FY_OK;
}

ferry_value *ferry_value_sequence(const ferry_value *const *item, size_t n, ferry_error *e) {
    fy_rval v;
    fy_error_clear(e);
    return finish(list(&v, FY_SEQUENCE, item, n, e), &v, e);
}

ferry_value *ferry_value_optional(const ferry_value *item, ferry_error *e) {
    fy_rval v;
    fy_error_clear(e);
    return finish(list(&v, FY_OPTIONAL, &item, item != NULL, e), &v, e);
}

ferry_value *ferry_value_map(const ferry_value *keys, const ferry_value *values, ferry_error *e) {
    fy_rval v = {0};
    fy_error_clear(e);
    fy_status s = keys && values && keys->v.kind == FY_TENSOR ? fy_rval_map(&v, &keys->v.t, &values->v, e)
                                                              : fy_fail(e, FY_E_TYPE, "a map is made of a tensor of keys, and values");
    return finish(s, &v, e);
}

/* ---- reading --------------------------------------------------------------------------------------------------------- */

int32_t ferry_value_kind(const ferry_value *v) { return (int32_t)v->v.kind; }
size_t  ferry_value_count(const ferry_value *v) { return v->v.kind == FY_TENSOR ? (size_t)fy_count(&v->v.t) : (size_t)v->v.n; }

const ferry_value *ferry_value_item(const ferry_value *v, size_t i) {
    return i < (size_t)fy_rval_items(&v->v) ? (const ferry_value *)&v->v.item[i] : NULL;      /* a ferry_value is a fy_rval */
}

int ferry_value_view(const ferry_value *v, ferry_tensor *t, ferry_error *e) {
    fy_error_clear(e);
    if (v->v.kind != FY_TENSOR) return fy_kind_of(fy_fail(e, FY_E_TYPE, "the value is no tensor"));
    *t = ferry_view((int32_t)v->v.t.dtype, v->v.t.dtype == FERRY_STRING ? NULL : v->v.t.data, v->v.t.rank, v->v.t.dim);
    if (v->v.t.dtype != FERRY_STRING) t->bytes = (size_t)fy_count(&v->v.t) * (size_t)fy_elem_bytes(v->v.t.dtype);
    return FERRY_OK;
}

const char *ferry_value_string(const ferry_value *v, size_t i, size_t *bytes) {
    *bytes = 0;
    if (v->v.kind != FY_TENSOR || v->v.t.dtype != FERRY_STRING || i >= (size_t)fy_count(&v->v.t)) return NULL;
    const fy_str *s = (const fy_str *)v->v.t.data + i;       /* values are contiguous */
    *bytes = s->n;
    return s->n ? s->at : "";
}
