/* SPDX-License-Identifier: Apache-2.0
 * ml_feature.c - features of ai.onnx.ml: ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer Normalizer Scaler
 * OneHotEncoder. All keep rows apart; lists of attributes have one element, or one for each feature (the last axis). */
#include "ops/ml.h"
#include "ops/move.h"

#include <math.h>
#include <string.h>

/* ---- ArrayFeatureExtractor: columns by number, along the last axis -------------------------------------------------- */

static fy_status infer_extract(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK + 1];
    int rank = fy_in_rank(f, 0), ry = fy_in_rank(f, 1);
    FY_NEED(f->e, rank != 0, SHAPE, "a scalar has no features");
    if (rank < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    for (int i = 0; i < rank; i++) d[i] = fy_in_dims(f, 0)[i];
    const fy_dim *n = ry >= 0 ? fy_mv_product(f, ry, fy_in_dims(f, 1)) : fy_mv_opaque(f);
    if (rank == 1) { d[0] = fy_mv_const(f, 1); rank = 2; }              /* a vector is one row */
    d[rank - 1] = n;
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d);
}

static fy_status ref_extract(const fy_call *c) {
    fy_tensor x, *y;
    FY_TRY(fy_mv_out(c, 0, &y));
    FY_TRY(fy_mv_dense(c, 0, &x));
    const int64_t *at = fy_arg_i64(c, 1);
    int64_t n = fy_count(fy_arg(c, 1)), width = x.dim[x.rank - 1], rows = width ? fy_count(&x) / width : 0;
    FY_NOMEM(c->e, at);
    for (int64_t i = 0; i < n; i++) FY_NEED(c->e, at[i] >= 0 && at[i] < width, INDEX, "index %lld; there are %lld features", (long long)at[i], (long long)width);
    size_t size = (size_t)fy_elem_bytes(x.dtype);
    for (int64_t r = 0; y && r < rows; r++)
        for (int64_t i = 0; i < n; i++) memcpy(fy_mv_at(y, r * n + i), fy_mv_at(&x, r * width + at[i]), size);
    return FY_OK;
}

const fy_op fy_op_array_feature_extractor = {.name = "ArrayFeatureExtractor", .domain = FY_ML, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .since = 1, .first = 1, .types = "T=" FY_T_ML ",str|T,i64|T", .infer = infer_extract, .ref = ref_extract, .flags = FY_PURE};

/* ---- Binarizer: y = x > threshold ------------------------------------------------------------------------------------ */

static void over_f(double *y, const double *a, const double *b, int64_t n, const double *p) {
    (void)b;
    for (int64_t i = 0; i < n; i++) y[i] = a[i] > p[0];
}
static void over_i(int64_t *y, const int64_t *a, const int64_t *b, int64_t n, const double *p) {
    (void)b;
    for (int64_t i = 0; i < n; i++) y[i] = (double)a[i] > p[0];
}
static const fy_maps over = {over_f, over_i, NULL};
static fy_status ref_binarizer(const fy_call *c) { return fy_k_unary(c, &over); }

static const fy_attr_spec binarizer_attrs[] = {{"threshold", FY_ATTR_FLOAT, "0"}, {0}};
const fy_op fy_op_binarizer = {.name = "Binarizer", .domain = FY_ML, .attrs = binarizer_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 1, .first = 1, .types = "T=" FY_T_ML "|T|T", .infer = fy_k_like, .ref = ref_binarizer, .flags = FY_PURE | FY_ELEMENTWISE};

/* ---- FeatureVectorizer: rows side by side ----------------------------------------------------------------------------- */

/* Columns that input i takes: as the attribute says, else as it has. NULL: not known. */
static const fy_dim *taken(fy_infer *f, int i, fy_ml_ints sizes) {
    int rank = fy_in_rank(f, i);
    if (i < sizes.n) return fy_mv_const(f, sizes.at[i]);
    return rank < 1 ? NULL : rank == 1 ? fy_in_dim(f, i, 0) : fy_mv_product(f, rank - 1, fy_in_dims(f, i) + 1);
}

static fy_status infer_vectorizer(fy_infer *f) {
    fy_ml_ints sizes = fy_ml_ints_of(f->node, "inputdimensions");
    const fy_dim *d[2] = {NULL, fy_mv_const(f, 0)};
    FY_NEED(f->e, !sizes.n || sizes.n == f->nin, ATTR, "inputdimensions has %lld elements for %d inputs", (long long)sizes.n, f->nin);
    for (int i = 0; i < f->nin; i++) {
        int rank = fy_in_rank(f, i);
        FY_NEED(f->e, fy_in_has(f, i), GRAPH, "input %d is missing", i);
        FY_NEED(f->e, rank != 0, SHAPE, "input %d is a scalar", i);
        FY_NEED(f->e, !sizes.n || sizes.at[i] >= 0, ATTR, "inputdimensions holds %lld", (long long)sizes.at[i]);
        const fy_dim *rows = rank > 1 ? fy_in_dim(f, i, 0) : rank == 1 ? fy_mv_const(f, 1) : NULL, *n = taken(f, i, sizes);
        if (rows && d[0]) FY_TRY(fy_mv_same(f, &d[0], d[0], rows, "numbers of rows"));
        else if (rows) d[0] = rows;
        d[1] = d[1] && n ? fy_dim_add(f->dims, d[1], n) : NULL;
    }
    if (!d[0]) d[0] = fy_mv_opaque(f);
    if (!d[1]) d[1] = fy_mv_opaque(f);
    return fy_out_set(f, 0, FERRY_FLOAT, 2, d);
}

/* More columns than the attribute says are left out, fewer are filled up with 0. */
static fy_status ref_vectorizer(const fy_call *c) {
    fy_ml_ints sizes = fy_ml_ints_of(c->node, "inputdimensions");
    fy_tensor *y;
    int64_t at = 0;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y || !fy_count(y)) return FY_OK;
    fy_mv_zero(y);
    for (int i = 0; i < c->nin; i++) {
        const fy_tensor *x = fy_arg(c, i);
        int64_t rows = y->dim[0], have = fy_count(x) / rows, want = sizes.n ? sizes.at[i] : have, n = have < want ? have : want;
        const double *v = fy_arg_f64(c, i);
        FY_NOMEM(c->e, v);
        for (int64_t r = 0; n && r < rows; r++) fy_store_f64(y, r * y->dim[1] + at, n, v + r * have);
        at += want;
    }
    return FY_OK;
}

static const fy_attr_spec vectorizer_attrs[] = {{"inputdimensions", FY_ATTR_INTS, NULL}, {0}};
const fy_op fy_op_feature_vectorizer = {.name = "FeatureVectorizer", .domain = FY_ML, .attrs = vectorizer_attrs, .min_in = 1, .max_in = -1, .min_out = 1,
    .max_out = 1, .since = 1, .first = 1, .types = "T=" FY_T_ML "|T,...|f32", .infer = infer_vectorizer, .ref = ref_vectorizer, .flags = FY_PURE};

/* ---- lists for each feature -------------------------------------------------------------------------------------------- */

/* A list must have one element, or as many as the last axis. */
static fy_status list_fits(fy_infer *f, int64_t n, const char *name) {
    int rank = fy_in_rank(f, 0);
    int64_t width;
    if (n <= 1 || rank < 0) return FY_OK;
    FY_NEED(f->e, rank > 0, SHAPE, "%s has %lld elements for a scalar", name, (long long)n);
    FY_NEED(f->e, !fy_dim_known(fy_in_dim(f, 0, -1), &width) || width == n, ATTR, "%s has %lld elements; there are %lld features", name, (long long)n,
            (long long)width);
    return FY_OK;
}

/* ---- Imputer ------------------------------------------------------------------------------------------------------------- */

static bool floating(const fy_node *n, fy_dtype t) { return t ? fy_dtype_float(t) : fy_ml_floats_of(n, "imputed_value_floats").n > 0; }

static fy_status infer_imputer(fy_infer *f) {
    bool real = floating(f->node, fy_in_dtype(f, 0));
    const char *name = real ? "imputed_value_floats" : "imputed_value_int64s";
    int64_t n = real ? fy_ml_floats_of(f->node, name).n : fy_ml_ints_of(f->node, name).n;
    FY_NEED(f->e, n, ATTR, "%s must be given for an input of %s", name, fy_dtype_name(fy_in_dtype(f, 0)));
    FY_TRY(list_fits(f, n, name));
    return fy_k_like(f);
}

static fy_status ref_imputer(const fy_call *c) {
    fy_tensor *y;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    const fy_tensor *x = fy_arg(c, 0);
    int64_t n = fy_count(x), width = x->rank ? x->dim[x->rank - 1] : 1;
    fy_tensor_copy(y, x);
    if (floating(c->node, x->dtype)) {
        fy_ml_floats by = fy_ml_floats_of(c->node, "imputed_value_floats");
        double from = fy_attr_f(c->node, "replaced_value_float");
        for (int64_t i = 0; i < n; i++) {
            double v = fy_get_f64(y, i);
            if (v == from || (v != v && from != from)) fy_put_f64(y, i, by.at[by.n == 1 ? 0 : i % width]);
        }
        return FY_OK;
    }
    fy_ml_ints by = fy_ml_ints_of(c->node, "imputed_value_int64s");
    int64_t from = fy_attr_i(c->node, "replaced_value_int64");
    for (int64_t i = 0; i < by.n; i++)
        FY_NEED(c->e, y->dtype == FERRY_INT64 || (by.at[i] >= INT32_MIN && by.at[i] <= INT32_MAX), VALUE, "the imputed value %lld does not fit %s",
                (long long)by.at[i], fy_dtype_name(y->dtype));
    for (int64_t i = 0; i < n; i++)
        if (fy_get_i64(y, i) == from) fy_put_i64(y, i, by.at[by.n == 1 ? 0 : i % width]);
    return FY_OK;
}

static const fy_attr_spec imputer_attrs[] = {{"imputed_value_floats", FY_ATTR_FLOATS, NULL}, {"imputed_value_int64s", FY_ATTR_INTS, NULL},
    {"replaced_value_float", FY_ATTR_FLOAT, "0"}, {"replaced_value_int64", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_imputer = {.name = "Imputer", .domain = FY_ML, .attrs = imputer_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 1,
    .first = 1, .types = "T=" FY_T_ML "|T|T", .infer = infer_imputer, .ref = ref_imputer, .flags = FY_PURE};

/* ---- Scaler: y = (x - offset) * scale ------------------------------------------------------------------------------------- */

static fy_status infer_scaler(fy_infer *f) {
    FY_TRY(list_fits(f, fy_ml_floats_of(f->node, "offset").n, "offset"));
    FY_TRY(list_fits(f, fy_ml_floats_of(f->node, "scale").n, "scale"));
    return fy_out_set(f, 0, FERRY_FLOAT, fy_in_rank(f, 0), fy_in_dims(f, 0));
}

static fy_status ref_scaler(const fy_call *c) {
    fy_ml_floats offset = fy_ml_floats_of(c->node, "offset"), scale = fy_ml_floats_of(c->node, "scale");
    fy_tensor *y;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    double *v = fy_k_as_f64(c, fy_arg(c, 0));
    int64_t n = fy_count(y), width = y->rank ? y->dim[y->rank - 1] : 1;
    FY_NOMEM(c->e, v);
    for (int64_t i = 0; i < n; i++) {
        double by = offset.n > 1 ? offset.at[i % width] : offset.n ? offset.at[0] : 0;
        v[i] = (v[i] - by) * (scale.n > 1 ? scale.at[i % width] : scale.n ? scale.at[0] : 1);
    }
    if (n) fy_store_f64(y, 0, n, v);
    return FY_OK;
}

static const fy_attr_spec scaler_attrs[] = {{"offset", FY_ATTR_FLOATS, NULL}, {"scale", FY_ATTR_FLOATS, NULL}, {0}};
const fy_op fy_op_scaler = {.name = "Scaler", .domain = FY_ML, .attrs = scaler_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 1,
    .first = 1, .types = "T=" FY_T_ML "|T|f32", .infer = infer_scaler, .ref = ref_scaler, .flags = FY_PURE};

/* ---- Normalizer: each row by its norm --------------------------------------------------------------------------------------- */

static fy_status infer_normalizer(fy_infer *f) {
    FY_NEED(f->e, fy_attr_is(f->node, "norm", "MAX") || fy_attr_is(f->node, "norm", "L1") || fy_attr_is(f->node, "norm", "L2"), ATTR,
            "norm is none of MAX, L1, L2");
    return fy_out_set(f, 0, FERRY_FLOAT, fy_in_rank(f, 0), fy_in_dims(f, 0));
}

/* DIFF: MAX divides by the largest element, not by the largest magnitude: so the formula of the standard, and ONNX Runtime. */
static double norm_of(const double *v, int64_t n, char kind) {
    double r = kind == 'M' && n ? v[0] : 0;
    for (int64_t i = 0; i < n; i++)
        if (kind == 'M') r = v[i] > r ? v[i] : r;
        else r += kind == '1' ? fabs(v[i]) : v[i] * v[i];
    return kind == '2' ? sqrt(r) : r;
}

static fy_status ref_normalizer(const fy_call *c) {
    fy_tensor *y;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y || !fy_count(y)) return FY_OK;
    double *v = fy_k_as_f64(c, fy_arg(c, 0));
    char kind = fy_attr_is(c->node, "norm", "MAX") ? 'M' : fy_attr_is(c->node, "norm", "L1") ? '1' : '2';
    int64_t n = fy_count(y), width = y->rank ? y->dim[y->rank - 1] : 1;
    FY_NOMEM(c->e, v);
    for (int64_t r = 0; r < n; r += width) {
        double by = norm_of(v + r, width, kind);
        for (int64_t i = 0; by != 0 && i < width; i++) v[r + i] /= by;
    }
    fy_store_f64(y, 0, n, v);
    return FY_OK;
}

static const fy_attr_spec normalizer_attrs[] = {{"norm", FY_ATTR_STRING, "MAX"}, {0}};
const fy_op fy_op_normalizer = {.name = "Normalizer", .domain = FY_ML, .attrs = normalizer_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 1, .first = 1, .types = "T=" FY_T_ML "|T|f32", .infer = infer_normalizer, .ref = ref_normalizer, .flags = FY_PURE};

/* ---- OneHotEncoder ----------------------------------------------------------------------------------------------------------- */

static fy_status categories(fy_tensor *keys, const fy_node *n, ferry_error *e) {
    fy_ml_labels l;
    FY_TRY(fy_ml_labels_of(&l, n, "cats_strings", "cats_int64s", e));
    *keys = l.text.n ? fy_ml_view_texts(l.text) : fy_ml_view_ints(l.number);
    return FY_OK;
}

static fy_status infer_one_hot(fy_infer *f) {
    fy_tensor keys;
    const fy_dim *d[FY_MAX_RANK + 1];
    int rank = fy_in_rank(f, 0);
    fy_dtype t = fy_in_dtype(f, 0);
    FY_TRY(categories(&keys, f->node, f->e));
    FY_NEED(f->e, !t || (t == FERRY_STRING) == (keys.dtype == FERRY_STRING), TYPE, "the input is %s, the categories are %s", fy_dtype_name(t),
            fy_dtype_name(keys.dtype));
    FY_NEED(f->e, rank < FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported here", rank, FY_MAX_RANK - 1);
    if (rank < 0) return fy_mv_unknown(f, 0, FERRY_FLOAT, -1);
    for (int i = 0; i < rank; i++) d[i] = fy_in_dims(f, 0)[i];
    d[rank] = fy_mv_const(f, keys.dim[0]);
    return fy_out_set(f, 0, FERRY_FLOAT, rank + 1, d);
}

static fy_status ref_one_hot(const fy_call *c) {
    fy_tensor keys, whole, x, *y;
    fy_ml_dict d;
    bool zeros = fy_attr_i(c->node, "zeros") != 0;
    FY_TRY(fy_mv_out(c, 0, &y));
    FY_TRY(categories(&keys, c->node, c->e));
    FY_TRY(fy_mv_dense(c, 0, &x));
    int64_t n = fy_count(&x);
    if (fy_dtype_float(x.dtype)) {                                      /* floats are truncated; NaN and what is too large is no category */
        int64_t *v = FY_NEWN(c->scratch, int64_t, n);
        FY_NOMEM(c->e, v);
        for (int64_t i = 0; i < n; i++) {
            double r = fy_get_f64(&x, i);
            v[i] = r > -0x1p63 && r < 0x1p63 ? (int64_t)r : INT64_MIN;
        }
        whole = fy_tensor_view(FERRY_INT64, 1, &n, v);
    } else whole = x;
    FY_TRY(fy_ml_dict_make(&d, c, &keys));
    if (y && fy_count(y)) fy_mv_zero(y);
    fy_status s = FY_OK;
    for (int64_t i = 0; !s && i < n; i++) {
        int64_t k = fy_ml_dict_find(&d, &whole, i);
        if (k >= 0 && y) ((float *)y->data)[i * keys.dim[0] + k] = 1;
        else if (k < 0 && !zeros) s = fy_fail(c->e, FY_E_VALUE, "element %lld is of no category, and zeros is 0", (long long)i);
    }
    fy_ml_dict_free(&d);
    return s;
}

static const fy_attr_spec one_hot_attrs[] = {{"cats_int64s", FY_ATTR_INTS, NULL}, {"cats_strings", FY_ATTR_STRINGS, NULL}, {"zeros", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_one_hot_encoder = {.name = "OneHotEncoder", .domain = FY_ML, .attrs = one_hot_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 1, .first = 1, .types = "T=" FY_T_ML ",str|T|f32", .infer = infer_one_hot, .ref = ref_one_hot, .flags = FY_PURE};
