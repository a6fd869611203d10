/* SPDX-License-Identifier: Apache-2.0
 * ml_map.c - the operators of ai.onnx.ml that make or take maps: ZipMap CastMap DictVectorizer. A map has its keys sorted
 * (fy_rval), which is the order in which the standard reads it. */
#include "base/number.h"
#include "base/sort.h"
#include "ops/ml.h"
#include "ops/move.h"

#include <stdio.h>
#include <string.h>

/* ---- ZipMap: a map for each row ------------------------------------------------------------------------------------- */

static fy_status infer_zip(fy_infer *f) {
    fy_ml_labels l;
    const fy_dim *n, *width;
    int64_t w;
    FY_TRY(fy_ml_labels_of(&l, f->node, "classlabels_strings", "classlabels_int64s", f->e));
    FY_TRY(fy_ml_rows(f, &n, &width));
    FY_NEED(f->e, !width || !fy_dim_known(width, &w) || w == l.n, SHAPE, "the input has %lld columns for %lld keys", (long long)w, (long long)l.n);
    fy_type *t = FY_NEWN(f->arena, fy_type, 2);
    FY_NOMEM(f->e, t);
    t[1] = (fy_type){.kind = FY_TENSOR, .dtype = FERRY_FLOAT};
    t[0] = (fy_type){.kind = FY_MAP, .dtype = fy_ml_label_type(&l), .rank = -1, .elem = &t[1]};
    f->out[0].type = (fy_type){.kind = FY_SEQUENCE, .rank = -1, .elem = t};
    return FY_OK;
}

static int by_label(const void *ctx, int64_t a, int64_t b) {
    const fy_ml_labels *l = ctx;
    if (l->text.n) return fy_str_order(&l->text.at[a], &l->text.at[b]);
    return (l->number.at[a] > l->number.at[b]) - (l->number.at[a] < l->number.at[b]);
}

/* The columns in the order of their keys; of equal keys the last column stays. */
static fy_status columns(int64_t *n, int64_t **column, const fy_call *c, const fy_ml_labels *l) {
    int64_t *at = FY_NEWN(c->scratch, int64_t, l->n), *tmp = FY_NEWN(c->scratch, int64_t, l->n);
    FY_NOMEM(c->e, at && tmp);
    for (int64_t i = 0; i < l->n; i++) at[i] = i;
    fy_sort(at, tmp, l->n, by_label, l);
    *n = 0;
    for (int64_t i = 0; i < l->n; i++)
        if (i + 1 == l->n || by_label(l, at[i], at[i + 1])) at[(*n)++] = at[i];
    *column = at;
    return FY_OK;
}

static fy_status fill_maps(fy_rval *seq, const fy_call *c, const fy_ml_labels *l, fy_tensor *keys, fy_tensor *values) {
    int64_t n, *column = NULL, rows = seq->n;
    const fy_tensor *x = fy_arg(c, 0);
    FY_TRY(columns(&n, &column, c, l));
    FY_TRY(fy_tensor_new(keys, fy_ml_label_type(l), 1, &n, c->e));
    FY_TRY(fy_tensor_new(values, FERRY_FLOAT, 2, (int64_t[]){rows, n}, c->e));
    for (int64_t i = 0; i < n; i++) fy_ml_put_label(keys, i, l, column[i], false);
    for (int64_t r = 0; r < rows; r++) {
        fy_rval *m = &seq->item[r];
        FY_NOMEM(c->e, m->item = fy_calloc(2, sizeof *m->item));
        m->kind = FY_MAP;
        m->n = n;
        m->item[0] = (fy_rval){.kind = FY_TENSOR, .t = fy_tensor_ref(keys)};
        m->item[1] = (fy_rval){.kind = FY_TENSOR, .t = fy_tensor_view(FERRY_FLOAT, 1, &n, (float *)values->data + r * n)};
        m->item[1].t.own = fy_storage_ref(values->own);
        for (int64_t i = 0; i < n; i++) ((float *)values->data)[r * n + i] = (float)fy_get_f64(x, r * l->n + column[i]);
    }
    return FY_OK;
}

static fy_status ref_zip(const fy_call *c) {
    fy_ml_labels l;
    fy_tensor keys = {0}, values = {0};
    const fy_tensor *x = fy_arg(c, 0);
    fy_rval seq = {.kind = FY_SEQUENCE};
    FY_TRY(fy_ml_labels_of(&l, c->node, "classlabels_strings", "classlabels_int64s", c->e));
    FY_NEED(c->e, x->rank == 1 || x->rank == 2, SHAPE, "the input has rank %d; it must be [N,C] or [C]", x->rank);
    FY_NEED(c->e, x->dim[x->rank - 1] == l.n, SHAPE, "the input has %lld columns for %lld keys", (long long)x->dim[x->rank - 1], (long long)l.n);
    int64_t rows = x->rank == 2 ? x->dim[0] : 1;
    FY_NEED(c->e, c->max_bytes <= 0 || rows <= c->max_bytes / (3 * (int64_t)sizeof seq), LIMIT, "%lld maps are too many", (long long)rows);
    FY_NOMEM(c->e, seq.item = fy_calloc((size_t)rows + 1, sizeof seq));
    seq.n = rows;
    fy_status s = fill_maps(&seq, c, &l, &keys, &values);
    fy_tensor_free(&keys);
    fy_tensor_free(&values);
    if (s) fy_rval_free(&seq);
    else fy_mv_give(c, 0, &seq);
    return s;
}

static const fy_attr_spec zip_attrs[] = {{"classlabels_int64s", FY_ATTR_INTS, NULL}, {"classlabels_strings", FY_ATTR_STRINGS, NULL}, {0}};
const fy_op fy_op_zip_map = {.name = "ZipMap", .domain = FY_ML, .attrs = zip_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 1,
    .first = 1, .types = "|f32|*", .infer = infer_zip, .ref = ref_zip, .flags = FY_PURE};

/* ---- maps as inputs ---------------------------------------------------------------------------------------------------- */

/* Keys and values of input 0, a map of scalars. */
static fy_status the_map(const fy_tensor **keys, const fy_tensor **values, const fy_call *c) {
    const fy_rval *m = c->in[0];
    FY_NEED(c->e, m && m->kind == FY_MAP && m->item, TYPE, "the input is no map");
    FY_NEED(c->e, m->item[1].kind == FY_TENSOR, TYPE, "the values of the map are no scalars");
    *keys = &m->item[0].t;
    *values = &m->item[1].t;
    return FY_OK;
}

static fy_status need_map(const fy_infer *f) {
    fy_kind k = f->in[0].type.kind;
    FY_NEED(f->e, k == FY_MAP || k == FY_NOTYPE, TYPE, "the input is no map");
    return FY_OK;
}

static fy_status infer_row(fy_infer *f, fy_dtype t, const fy_dim *n) {
    const fy_dim *d[2] = {fy_mv_const(f, 1), n};
    return fy_out_set(f, 0, t, 2, d);
}

/* ---- CastMap: the values in the order of their keys -------------------------------------------------------------------- */

static fy_status cast_type(fy_dtype *t, const fy_node *n, ferry_error *e) {
    static const struct { const char *name; fy_dtype t; } to[] = {{"TO_FLOAT", FERRY_FLOAT}, {"TO_STRING", FERRY_STRING}, {"TO_INT64", FERRY_INT64}};
    for (int i = 0; i < FY_COUNT(to); i++)
        if (fy_attr_is(n, "cast_to", to[i].name)) { *t = to[i].t; return FY_OK; }
    return fy_fail(e, FY_E_ATTR, "cast_to is none of TO_FLOAT, TO_STRING, TO_INT64");
}

static fy_status infer_cast(fy_infer *f) {
    fy_dtype t;
    bool sparse = fy_attr_is(f->node, "map_form", "SPARSE");
    int64_t most = fy_attr_i(f->node, "max_map");
    FY_TRY(need_map(f));
    FY_TRY(cast_type(&t, f->node, f->e));
    FY_NEED(f->e, sparse || fy_attr_is(f->node, "map_form", "DENSE"), ATTR, "map_form is neither DENSE nor SPARSE");
    FY_NEED(f->e, !sparse || most >= 0, ATTR, "max_map is %lld", (long long)most);
    FY_NEED(f->e, f->in[0].type.kind != FY_MAP || !f->in[0].type.dtype || f->in[0].type.dtype == FERRY_INT64, TYPE, "the keys are %s, not i64",
            fy_dtype_name(f->in[0].type.dtype));
    return infer_row(f, t, sparse ? fy_mv_const(f, most) : fy_mv_opaque(f));
}

/* y[at] = value k, converted. Text is appended to `all` by the caller. */
static fy_status cast_one(fy_tensor *y, int64_t at, const fy_tensor *values, int64_t k, ferry_error *e) {
    double v = 0;
    int64_t whole;
    if (values->dtype == FERRY_STRING) {
        const fy_str *s = fy_k_str(values, k);
        bool exact = y->dtype == FERRY_INT64 && fy_read_i64(s->at, s->n, &whole);
        if (exact) { fy_put_i64(y, at, whole); return FY_OK; }
        FY_NEED(e, fy_read_f64(s->at, s->n, &v), VALUE, "\"%.*s\" is no number", (int)(s->n < 40 ? s->n : 40), s->n ? s->at : "");
    } else v = fy_get_f64(values, k);
    fy_put_f64(y, at, v);                /* to an integer: towards 0 */
    return FY_OK;
}

/* Position i of the output holds value index[i], or nothing where that is -1. */
static fy_status cast_texts(const fy_call *c, fy_tensor *y, const fy_tensor *values, const int64_t *index) {
    int64_t n = fy_count(y);
    size_t *end = FY_NEWN(c->scratch, size_t, n);
    fy_buf all = {0};
    FY_NOMEM(c->e, end);
    for (int64_t i = 0; i < n; i++) {
        char text[80];
        if (index[i] < 0) fy_buf_str(&all, "0.f");                      /* DIFF: the standard is silent; this is ONNX Runtime's */
        else if (values->dtype == FERRY_STRING) fy_buf_add(&all, fy_k_str(values, index[i])->at, fy_k_str(values, index[i])->n);
        else {
            snprintf(text, sizeof text, "%f", fy_get_f64(values, index[i]));
            fy_plain_point(text);
            fy_buf_str(&all, text);
        }
        end[i] = all.n;
    }
    return fy_strings_give(y, &all, end, c->e);
}

static fy_status ref_cast(const fy_call *c) {
    const fy_tensor *keys, *values;
    fy_dtype t;
    bool sparse = fy_attr_is(c->node, "map_form", "SPARSE");
    FY_TRY(the_map(&keys, &values, c));
    FY_TRY(cast_type(&t, c->node, c->e));
    FY_NEED(c->e, keys->dtype == FERRY_INT64, TYPE, "the keys are %s, not i64", fy_dtype_name(keys->dtype));
    int64_t pairs = fy_count(keys), n = sparse ? fy_attr_i(c->node, "max_map") : pairs;
    FY_TRY(fy_alloc_out(c, 0, t, 2, (int64_t[]){1, n}));
    fy_tensor *y = fy_res(c, 0);
    int64_t *index = FY_NEWN(c->scratch, int64_t, n);
    FY_NOMEM(c->e, index);
    for (int64_t i = 0; i < n; i++) index[i] = sparse ? -1 : i;
    for (int64_t i = 0; sparse && i < pairs; i++) {
        int64_t k = fy_get_i64(keys, i);
        FY_NEED(c->e, k >= 0 && k < n, INDEX, "key %lld does not fit max_map %lld", (long long)k, (long long)n);
        index[k] = i;
    }
    if (!y || !n) return FY_OK;
    if (t == FERRY_STRING) return cast_texts(c, y, values, index);
    fy_mv_zero(y);
    for (int64_t i = 0; i < n; i++)
        if (index[i] >= 0) FY_TRY(cast_one(y, i, values, index[i], c->e));
    return FY_OK;
}

static const fy_attr_spec cast_attrs[] = {{"cast_to", FY_ATTR_STRING, "TO_FLOAT"}, {"map_form", FY_ATTR_STRING, "DENSE"}, {"max_map", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_cast_map = {.name = "CastMap", .domain = FY_ML, .attrs = cast_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 1,
    .first = 1, .infer = infer_cast, .ref = ref_cast, .flags = FY_PURE};

/* ---- DictVectorizer: the values in the order of a vocabulary ------------------------------------------------------------ */

static fy_status infer_dict(fy_infer *f) {
    fy_ml_labels l;
    const fy_type *t = &f->in[0].type;
    FY_TRY(need_map(f));
    FY_TRY(fy_ml_labels_of(&l, f->node, "string_vocabulary", "int64_vocabulary", f->e));
    FY_NEED(f->e, t->kind != FY_MAP || !t->dtype || t->dtype == fy_ml_label_type(&l), TYPE, "the keys are %s, the vocabulary is %s", fy_dtype_name(t->dtype),
            fy_dtype_name(fy_ml_label_type(&l)));
    return infer_row(f, t->kind == FY_MAP && t->elem && t->elem->kind == FY_TENSOR ? t->elem->dtype : FERRY_UNDEFINED, fy_mv_const(f, l.n));
}

static fy_status ref_dict(const fy_call *c) {
    fy_ml_labels l;
    fy_ml_dict d;
    const fy_tensor *keys, *values;
    FY_TRY(the_map(&keys, &values, c));
    FY_TRY(fy_ml_labels_of(&l, c->node, "string_vocabulary", "int64_vocabulary", c->e));
    FY_NEED(c->e, keys->dtype == fy_ml_label_type(&l), TYPE, "the keys are %s, the vocabulary is %s", fy_dtype_name(keys->dtype),
            fy_dtype_name(fy_ml_label_type(&l)));
    FY_TRY(fy_alloc_out(c, 0, values->dtype, 2, (int64_t[]){1, l.n}));
    fy_tensor *y = fy_res(c, 0), words = l.text.n ? fy_ml_view_texts(l.text) : fy_ml_view_ints(l.number);
    FY_TRY(fy_ml_dict_make(&d, c, keys));
    if (y) fy_mv_zero(y);
    size_t size = (size_t)fy_elem_bytes(values->dtype);
    for (int64_t i = 0; y && i < l.n; i++) {                            /* keys outside the vocabulary are passed over */
        int64_t k = fy_ml_dict_find(&d, &words, i);
        if (k >= 0) memcpy(fy_mv_at(y, i), fy_k_at(values, k * (values->rank ? values->stride[0] : 0)), size);
    }
    fy_ml_dict_free(&d);
    return FY_OK;
}

static const fy_attr_spec dict_attrs[] = {{"int64_vocabulary", FY_ATTR_INTS, NULL}, {"string_vocabulary", FY_ATTR_STRINGS, NULL}, {0}};
const fy_op fy_op_dict_vectorizer = {.name = "DictVectorizer", .domain = FY_ML, .attrs = dict_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 1, .first = 1, .infer = infer_dict, .ref = ref_dict, .flags = FY_PURE};
