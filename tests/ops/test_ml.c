/* SPDX-License-Identifier: Apache-2.0
 * test_ml.c - ai.onnx.ml: hand-worked values, inference that agrees with execution, attributes that contradict themselves. Many
 * random configurations against onnxruntime: tests/python/test_ml.py. */
#include "strings_rig.h"

#include "base/os.h"

#include <math.h>

#define ML(op) "ai.onnx.ml::" op

static fy_attr texts(const char *name, int64_t n, const char *const *s) {
    static fy_str room[16][8];
    static int at;
    fy_str *r = room[at++ % 16];
    for (int64_t i = 0; i < n; i++) r[i] = rig_str(s[i]);
    return rig_attr_texts(name, n, r);
}
#define TEXTS(name, ...) texts(name, (int64_t)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]){__VA_ARGS__})
#define INTS(name, ...) fy_ints(name, (int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__})
#define FLOATS(name, ...) fy_floats(name, (int64_t)(sizeof((double[]){__VA_ARGS__}) / 8), (double[]){__VA_ARGS__})

/* One input, one output of f64 numbers. */
static void gives(const char *op, const fy_tensor *x, int nattr, const fy_attr *attr, int rank, const int64_t *dim, const double *want) {
    ferry_error e;
    fy_tensor y;
    assert_ok(rig_op(op, 1, x, nattr, attr, 1, &y, &e), e);
    rig_expect(&y, rank, dim, want);
    fy_tensor_free(&y);
}

static void refused(const char *op, const fy_tensor *x, int nattr, const fy_attr *attr, fy_code code) {
    ferry_error e;
    fy_tensor y[2] = {{0}, {0}};
    assert_int_equal(rig_op(op, 1, x, nattr, attr, 1, y, &e), code);
    fy_tensor_free(&y[0]);
}

/* ---- features --------------------------------------------------------------------------------------------------------- */

static void test_features(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, x = rig_f32(RIG_DIMS(2, 3), RIG_F(1, -2, 3, 0, 4, NAN)), in[2] = {x, rig_i64(RIG_DIMS(1, 2), RIG_I(2, 0))};
    assert_ok(rig_op(ML("ArrayFeatureExtractor"), 2, in, FY_NOATTR, 1, &y, &e), e);
    assert_true(y.dim[0] == 2 && y.dim[1] == 2 && fy_get_f64(&y, 0) == 3 && fy_get_f64(&y, 1) == 1);
    fy_tensor_free(&y);
    in[0] = rig_f32(RIG_DIMS(3), RIG_F(1, -2, 3));                        /* a vector is one row */
    assert_ok(rig_op(ML("ArrayFeatureExtractor"), 2, in, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 2), RIG_D(3, 1));
    fy_tensor_free(&y);
    for (int i = 0; i < 3; i++) {
        in[1] = rig_i64(RIG_DIMS(1), (int64_t[]){(int64_t[]){3, -1, INT64_MIN}[i]});
        assert_fails(rig_op(ML("ArrayFeatureExtractor"), 2, in, FY_NOATTR, 1, &y, &e), INDEX);
    }
    gives(ML("Binarizer"), &x, FY_A(fy_float("threshold", 1)), RIG_DIMS(2, 3), RIG_D(0, 0, 1, 0, 1, 0));
    gives(ML("Imputer"), &x, FY_A(FLOATS("imputed_value_floats", 7, 8, 9), fy_float("replaced_value_float", (double)NAN)), RIG_DIMS(2, 3), RIG_D(1, -2, 3, 0, 4, 9));
    refused(ML("Imputer"), &x, FY_A(FLOATS("imputed_value_floats", 7, 8)), FY_E_ATTR);
    refused(ML("Imputer"), &x, FY_A(INTS("imputed_value_int64s", 7)), FY_E_ATTR);
    fy_tensor whole = fy_tensor_view(FERRY_INT32, RIG_DIMS(3), (int32_t[]){1, 2, 1});
    gives(ML("Imputer"), &whole, FY_A(INTS("imputed_value_int64s", 5), fy_int("replaced_value_int64", 1)), RIG_DIMS(3), RIG_D(5, 2, 5));
    refused(ML("Imputer"), &whole, FY_A(INTS("imputed_value_int64s", INT64_MAX)), FY_E_VALUE);
    x = rig_f32(RIG_DIMS(2, 2), RIG_F(3, -4, 0, 0));
    gives(ML("Scaler"), &x, FY_A(FLOATS("offset", 1, 2), FLOATS("scale", 10)), RIG_DIMS(2, 2), RIG_D(20, -60, -10, -20));
    gives(ML("Scaler"), &x, FY_NOATTR, RIG_DIMS(2, 2), RIG_D(3, -4, 0, 0));
    refused(ML("Scaler"), &x, FY_A(FLOATS("scale", 1, 2, 3)), FY_E_ATTR);
    gives(ML("Normalizer"), &x, FY_A(fy_text("norm", "L2")), RIG_DIMS(2, 2), RIG_D(0.6, -0.8, 0, 0));
    gives(ML("Normalizer"), &x, FY_A(fy_text("norm", "L1")), RIG_DIMS(2, 2), RIG_D(3.0 / 7, -4.0 / 7, 0, 0));
    gives(ML("Normalizer"), &x, FY_A(fy_text("norm", "MAX")), RIG_DIMS(2, 2), RIG_D(1, -4.0 / 3, 0, 0));
    refused(ML("Normalizer"), &x, FY_A(fy_text("norm", "L3")), FY_E_ATTR);
    gives(ML("OneHotEncoder"), &x, FY_A(INTS("cats_int64s", -4, 0, 3)), RIG_DIMS(2, 2, 3), RIG_D(0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0));
    refused(ML("OneHotEncoder"), &x, FY_A(INTS("cats_int64s", 1), fy_int("zeros", 0)), FY_E_VALUE);
    refused(ML("OneHotEncoder"), &x, FY_NOATTR, FY_E_ATTR);
    refused(ML("OneHotEncoder"), &x, FY_A(TEXTS("cats_strings", "a")), FY_E_TYPE);
    fy_tensor odd = rig_f32(RIG_DIMS(3), RIG_F(NAN, 1e30f, 2.9f));        /* no category; truncated */
    gives(ML("OneHotEncoder"), &odd, FY_A(INTS("cats_int64s", 2, INT64_MIN)), RIG_DIMS(3, 2), RIG_D(0, 1, 0, 1, 1, 0));
    fy_tensor two[2] = {x, rig_f32(RIG_DIMS(2, 1), RIG_F(5, 6))};
    assert_ok(rig_op(ML("FeatureVectorizer"), 2, two, FY_A(INTS("inputdimensions", 1, 2)), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 3), RIG_D(3, 5, 0, 0, 6, 0));
    fy_tensor_free(&y);
    assert_fails(rig_op(ML("FeatureVectorizer"), 2, two, FY_A(INTS("inputdimensions", 1)), 1, &y, &e), ATTR);
    assert_fails(rig_op(ML("FeatureVectorizer"), 2, two, FY_A(INTS("inputdimensions", 1, INT64_MAX)), 1, &y, &e), SHAPE);
    assert_fails(rig_op(ML("FeatureVectorizer"), 2, two, FY_A(INTS("inputdimensions", 1, (int64_t)1 << 50)), 1, &y, &e), LIMIT);
}

static void test_infer(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "batch 3"), *rows = rig_in(&r, FERRY_INT64, "k");
    rig_out(&r, fy_emit(&r.b, ML("Scaler"), FY_V(x), FY_A(FLOATS("scale", 2))));
    rig_out(&r, fy_emit(&r.b, ML("ArrayFeatureExtractor"), FY_V(x, rows), FY_NOATTR));
    rig_type_is(r.m->graph->out.at[1], "f32[batch,k]");
    rig_out(&r, fy_emit(&r.b, ML("OneHotEncoder"), FY_V(x), FY_A(INTS("cats_int64s", 1, 2))));
    rig_type_is(r.m->graph->out.at[2], "f32[batch,3,2]");
    rig_out(&r, fy_emit(&r.b, ML("LinearRegressor"), FY_V(x), FY_A(FLOATS("coefficients", 1, 2, 3, 4, 5, 6), fy_int("targets", 2))));
    rig_out(&r, fy_emit(&r.b, ML("FeatureVectorizer"), FY_V(x, x), FY_NOATTR));
    rig_type_is(r.m->graph->out.at[4], "f32[batch,6]");
    fy_node *n = fy_emit_n(&r.b, ML("LinearClassifier"), 2, FY_V(x), FY_A(FLOATS("coefficients", 1, 2, 3), FLOATS("intercepts", 0), TEXTS("classlabels_strings", "a", "b")));
    assert_non_null(n);
    rig_out(&r, n->out[0]);
    rig_out(&r, n->out[1]);
    rig_type_is(n->out[0], "str[batch]");
    rig_type_is(n->out[1], "f32[batch,2]");
    fy_value *maps = fy_emit(&r.b, ML("ZipMap"), FY_V(x), FY_A(INTS("classlabels_int64s", 3, 1, 2)));
    rig_out(&r, maps);
    rig_type_is(maps, "seq(map(i64, f32[]))");
    rig_out(&r, fy_emit(&r.b, ML("LabelEncoder"), FY_V(rows), FY_A(INTS("keys_int64s", 0, 1), TEXTS("values_strings", "no", "yes"))));
    r.ints = 3;
    rig_property(&r, 1, 5);
    rig_free(&r);
}

/* ---- dictionaries ------------------------------------------------------------------------------------------------------- */

static void test_labels(void **state) {
    (void)state;
    ferry_error e;
    fy_str s[] = {rig_str("b"), rig_str("zz"), rig_str("a")};
    fy_tensor y, x = rig_strings(RIG_DIMS(3), s);
    gives(ML("LabelEncoder"), &x, FY_A(TEXTS("keys_strings", "a", "b", "a"), INTS("values_int64s", 1, 2, 3)), RIG_DIMS(3), RIG_D(2, -1, 3));      /* the last counts */
    gives(ML("LabelEncoder"), &x, FY_A(TEXTS("keys_strings", "a", "b"), FLOATS("values_floats", 1.5, 2.5), fy_float("default_float", 9)), RIG_DIMS(3), RIG_D(2.5, 9, 1.5));
    gives(ML("CategoryMapper"), &x, FY_A(TEXTS("cats_strings", "a", "b"), INTS("cats_int64s", 7, 8), fy_int("default_int64", 0)), RIG_DIMS(3), RIG_D(8, 0, 7));
    refused(ML("LabelEncoder"), &x, FY_A(TEXTS("keys_strings", "a", "b"), INTS("values_int64s", 1)), FY_E_ATTR);
    refused(ML("LabelEncoder"), &x, FY_A(TEXTS("keys_strings", "a")), FY_E_ATTR);
    refused(ML("LabelEncoder"), &x, FY_A(TEXTS("keys_strings", "a"), INTS("keys_int64s", 1), INTS("values_int64s", 1)), FY_E_ATTR);
    refused(ML("LabelEncoder"), &x, FY_A(INTS("keys_int64s", 1), INTS("values_int64s", 1)), FY_E_TYPE);
    refused(ML("CategoryMapper"), &x, FY_A(TEXTS("cats_strings", "a", "b"), INTS("cats_int64s", 7)), FY_E_ATTR);
    fy_tensor f = rig_f32(RIG_DIMS(4), RIG_F(NAN, 0, -0.0f, 2));
    gives(ML("LabelEncoder"), &f, FY_A(FLOATS("keys_floats", -(double)NAN, -0.0), INTS("values_int64s", 5, 6)), RIG_DIMS(4), RIG_D(5, 6, 6, -1));
    fy_arena a = {0};
    fy_attr key = {.name = "keys_tensor", .kind = FY_ATTR_TENSOR, .n = 1, .tensor = fy_const_copy(&a, FERRY_INT16, RIG_DIMS(2), (int16_t[]){4, -4})};
    fy_attr value = {.name = "values_tensor", .kind = FY_ATTR_TENSOR, .n = 1, .tensor = fy_const_copy(&a, FERRY_DOUBLE, RIG_DIMS(2), (double[]){0.1, 0.2})};
    fy_attr wrong = {.name = "default_tensor", .kind = FY_ATTR_TENSOR, .n = 1, .tensor = key.tensor};
    fy_tensor small = fy_tensor_view(FERRY_INT16, RIG_DIMS(2), (int16_t[]){-4, 9});
    assert_ok(rig_op(ML("LabelEncoder"), 1, &small, FY_A(key, value), 1, &y, &e), e);
    assert_true(y.dtype == FERRY_DOUBLE && fy_get_f64(&y, 0) == 0.2 && fy_get_f64(&y, 1) == 0 && signbit(fy_get_f64(&y, 1)));
    fy_tensor_free(&y);
    refused(ML("LabelEncoder"), &small, FY_A(key, value, wrong), FY_E_ATTR);
    fy_arena_free(&a);
}

/* A map through an operator that takes one. */
static fy_status with_map(const char *op, const fy_tensor *keys, const fy_tensor *values, int nattr, const fy_attr *attr, fy_tensor *y, ferry_error *e) {
    fy_model *m = fy_model_new(fy_registry_builtin());
    fy_build b = {.g = m->graph, .e = e};
    fy_type elem = {.kind = FY_TENSOR, .dtype = values->dtype}, map = {.kind = FY_MAP, .dtype = keys->dtype, .rank = -1, .elem = &elem};
    fy_value *x = fy_graph_add_input(m->graph, "x", &map), *out = fy_emit(&b, op, FY_V(x), nattr, attr);
    fy_rval val, res = {0}, *in[1] = {&val}, wrap = {.kind = FY_TENSOR, .t = *values};
    fy_status s = fy_rval_map(&val, keys, &wrap, e);
    if (!s && !out) s = b.status;
    fy_interp it = {0};
    if (!s) assert_true(fy_graph_add_output(m->graph, out));
    if (!s) s = fy_interp_run(&it, m->graph, in, &res, e);
    *y = res.t;
    fy_rval_free(&val);
    fy_model_free(m);
    return s;
}

static void test_maps(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, keys = rig_i64(RIG_DIMS(3), RIG_I(4, 0, 2)), values = rig_f32(RIG_DIMS(3), RIG_F(4.5f, 0.25f, -2.75f));
    assert_ok(with_map(ML("CastMap"), &keys, &values, FY_NOATTR, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 3), RIG_D(0.25, -2.75, 4.5));
    fy_tensor_free(&y);
    assert_ok(with_map(ML("CastMap"), &keys, &values, FY_A(fy_text("map_form", "SPARSE"), fy_int("max_map", 6), fy_text("cast_to", "TO_INT64")), &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 6), RIG_D(0, 0, -2, 0, 4, 0));
    fy_tensor_free(&y);
    assert_ok(with_map(ML("CastMap"), &keys, &values, FY_A(fy_text("cast_to", "TO_STRING")), &y, &e), e);
    rig_texts(&y, RIG_DIMS(1, 3), RIG_T("0.250000", "-2.750000", "4.500000"));
    fy_tensor_free(&y);
    assert_fails(with_map(ML("CastMap"), &keys, &values, FY_A(fy_text("map_form", "SPARSE"), fy_int("max_map", 4)), &y, &e), INDEX);
    assert_fails(with_map(ML("CastMap"), &keys, &values, FY_A(fy_text("map_form", "SPARSE"), fy_int("max_map", -1)), &y, &e), ATTR);
    assert_fails(with_map(ML("CastMap"), &keys, &values, FY_A(fy_text("map_form", "SPARSE"), fy_int("max_map", (int64_t)1 << 50)), &y, &e), LIMIT);
    fy_str s[] = {rig_str("7"), rig_str("1e2"), rig_str("-1.5")}, none[] = {rig_str("7x"), rig_str("1"), rig_str("2")};
    values = rig_strings(RIG_DIMS(3), s);
    assert_ok(with_map(ML("CastMap"), &keys, &values, FY_NOATTR, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 3), RIG_D(100, -1.5, 7));
    fy_tensor_free(&y);
    values = rig_strings(RIG_DIMS(3), none);
    assert_fails(with_map(ML("CastMap"), &keys, &values, FY_NOATTR, &y, &e), VALUE);
    values = rig_f32(RIG_DIMS(3), RIG_F(4.5f, 0.25f, -2.75f));
    assert_ok(with_map(ML("DictVectorizer"), &keys, &values, FY_A(INTS("int64_vocabulary", 0, 9, 4, 0)), &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 4), RIG_D(0.25, 0, 4.5, 0.25));
    fy_tensor_free(&y);
    assert_fails(with_map(ML("DictVectorizer"), &keys, &values, FY_A(TEXTS("string_vocabulary", "a")), &y, &e), TYPE);
    keys = rig_i64(RIG_DIMS(3), RIG_I(4, 0, 4));
    assert_fails(with_map(ML("DictVectorizer"), &keys, &values, FY_A(INTS("int64_vocabulary", 0)), &y, &e), VALUE);
    fy_tensor x = rig_f32(RIG_DIMS(2), RIG_F(1, 2));
    refused(ML("CastMap"), &x, FY_NOATTR, FY_E_TYPE);
    refused(ML("DictVectorizer"), &x, FY_A(INTS("int64_vocabulary", 0)), FY_E_TYPE);
    refused(ML("ZipMap"), &x, FY_A(INTS("classlabels_int64s", 1, 2, 3)), FY_E_SHAPE);
    refused(ML("ZipMap"), &x, FY_NOATTR, FY_E_ATTR);
}

/* Of equal keys the last column stays; keys come out in order. */
static void test_zip(void **state) {
    (void)state;
    ferry_error e;
    fy_model *m = fy_model_new(fy_registry_builtin());
    fy_build b = {.g = m->graph, .e = &e};
    fy_type t = {.kind = FY_TENSOR, .dtype = FERRY_FLOAT, .rank = -1};
    fy_value *x = fy_graph_add_input(m->graph, "x", &t);
    fy_graph_add_output(m->graph, fy_emit(&b, ML("ZipMap"), FY_V(x), FY_A(TEXTS("classlabels_strings", "q", "b", "q"))));
    fy_rval in = {.kind = FY_TENSOR, .t = rig_f32(RIG_DIMS(2, 3), RIG_F(1, 2, 3, 4, 5, 6))}, *inp[1] = {&in}, out = {0};
    fy_interp it = {0};
    assert_ok(fy_interp_run(&it, m->graph, inp, &out, &e), e);
    fy_model_free(m);
    assert_true(out.kind == FY_SEQUENCE && out.n == 2 && out.item[1].n == 2);
    rig_texts(&out.item[1].item[0].t, RIG_DIMS(2), RIG_T("b", "q"));
    rig_expect(&out.item[1].item[1].t, RIG_DIMS(2), RIG_D(5, 6));
    fy_rval_free(&out);
}

/* ---- linear models and support vectors ------------------------------------------------------------------------------------ */

static void classes(const char *op, const fy_tensor *x, int nattr, const fy_attr *attr, int64_t rows, int64_t columns, const double *label, const double *score) {
    ferry_error e;
    fy_tensor y[2];
    assert_ok(rig_op(op, 1, x, nattr, attr, 2, y, &e), e);
    rig_expect(&y[0], RIG_DIMS(rows), label);
    rig_expect(&y[1], RIG_DIMS(rows, columns), score);
    fy_tensor_free(&y[0]);
    fy_tensor_free(&y[1]);
}

static void test_linear(void **state) {
    (void)state;
    fy_tensor x = rig_f32(RIG_DIMS(2, 2), RIG_F(1, 2, -1, 0));
    classes(ML("LinearClassifier"), &x, FY_A(FLOATS("coefficients", 1, 0, 0, 1, -1, -1), FLOATS("intercepts", 0, 0, 1), INTS("classlabels_ints", 7, 8, 9)), 2, 3,
        RIG_D(8, 9), RIG_D(1, 2, -2, -1, 0, 2));
    classes(ML("LinearClassifier"), &x, FY_A(FLOATS("coefficients", 1, 1), FLOATS("intercepts", 0), INTS("classlabels_ints", 7, 8)), 2, 2, RIG_D(8, 7), RIG_D(-2, 3, 2, -1));
    classes(ML("LinearClassifier"), &x, FY_A(FLOATS("coefficients", 1, 1), FLOATS("intercepts", 0), INTS("classlabels_ints", 7)), 2, 1, RIG_D(1, 0), RIG_D(3, -1));
    gives(ML("LinearRegressor"), &x, FY_A(FLOATS("coefficients", 1, 1, 2, 0), fy_int("targets", 2), fy_text("post_transform", "SOFTMAX")), RIG_DIMS(2, 2),
        RIG_D(1 / (1 + exp(-1)), 1 / (1 + exp(1)), 1 / (1 + exp(-1)), 1 / (1 + exp(1))));
    refused(ML("LinearRegressor"), &x, FY_A(FLOATS("coefficients", 1, 1, 2), fy_int("targets", 2)), FY_E_ATTR);
    refused(ML("LinearRegressor"), &x, FY_A(FLOATS("coefficients", 1, 1, 2, 3), fy_int("targets", 1)), FY_E_ATTR);
    refused(ML("LinearRegressor"), &x, FY_A(FLOATS("coefficients", 1, 1), fy_int("targets", INT64_MIN)), FY_E_ATTR);
    refused(ML("LinearRegressor"), &x, FY_A(FLOATS("coefficients", 1, 1), fy_int("targets", INT64_MAX)), FY_E_ATTR);
    refused(ML("LinearRegressor"), &x, FY_A(FLOATS("coefficients", 1, 1), fy_text("post_transform", "LOGIT")), FY_E_ATTR);
    refused(ML("LinearClassifier"), &x, FY_A(FLOATS("coefficients", 1, 1, 1, 1), FLOATS("intercepts", 0, 0), INTS("classlabels_ints", 1)), FY_E_ATTR);
    refused(ML("LinearClassifier"), &x, FY_A(FLOATS("coefficients", 1, 1), FLOATS("intercepts", 0)), FY_E_ATTR);
    refused(ML("LinearClassifier"), &x, FY_A(INTS("classlabels_ints", 1, 2)), FY_E_ATTR);
}

static void test_svm(void **state) {
    (void)state;
    fy_tensor x = rig_f32(RIG_DIMS(2, 1), RIG_F(1, -2));
    fy_attr svc[] = {INTS("classlabels_ints", 3, 4), FLOATS("coefficients", 1, -1), FLOATS("rho", 0.5), FLOATS("support_vectors", 2, -1), INTS("vectors_per_class", 1, 1)};
    classes(ML("SVMClassifier"), &x, 5, svc, 2, 2, RIG_D(3, 4), RIG_D(-3.5, 3.5, 5.5, -5.5));
    svc[4] = INTS("vectors_per_class", 1, -1);
    refused(ML("SVMClassifier"), &x, 5, svc, FY_E_ATTR);
    svc[4] = INTS("vectors_per_class", INT64_MAX, INT64_MAX);
    refused(ML("SVMClassifier"), &x, 5, svc, FY_E_ATTR);
    svc[4] = INTS("vectors_per_class", 1, 2);
    refused(ML("SVMClassifier"), &x, 5, svc, FY_E_ATTR);
    svc[4] = INTS("vectors_per_class", 2);
    refused(ML("SVMClassifier"), &x, 5, svc, FY_E_ATTR);
    svc[4] = INTS("vectors_per_class", 1, 1);
    svc[0] = INTS("classlabels_ints", 3, 4, 5);
    refused(ML("SVMClassifier"), &x, 5, svc, FY_E_ATTR);
    fy_attr svr[] = {FLOATS("coefficients", 2), FLOATS("rho", 1), FLOATS("support_vectors", 1), fy_int("n_supports", 1), fy_text("kernel_type", "RBF"),
        FLOATS("kernel_params", 0.5, 0, 0)};
    gives(ML("SVMRegressor"), &x, 6, svr, RIG_DIMS(2, 1), RIG_D(3, 2 * exp(-4.5) + 1));
    svr[5] = FLOATS("kernel_params", 0.5, 0);
    refused(ML("SVMRegressor"), &x, 6, svr, FY_E_ATTR);
    svr[3] = fy_int("n_supports", INT64_MIN);
    refused(ML("SVMRegressor"), &x, 5, svr, FY_E_ATTR);
    svr[3] = fy_int("n_supports", 1);
    svr[4] = fy_text("kernel_type", "NONE");
    refused(ML("SVMRegressor"), &x, 5, svr, FY_E_ATTR);
}

/* ---- trees ------------------------------------------------------------------------------------------------------------------ */

/* x0 <= 0: leaf 1, else leaf 2. */
static fy_attr stump[14];
static int stump_of(void) {
    fy_attr a[] = {INTS("nodes_treeids", 0, 0, 0), INTS("nodes_nodeids", 0, 1, 2), INTS("nodes_featureids", 0, 0, 0), TEXTS("nodes_modes", "BRANCH_LEQ", "LEAF", "LEAF"),
        FLOATS("nodes_values", 0, 0, 0), INTS("nodes_truenodeids", 1, 0, 0), INTS("nodes_falsenodeids", 2, 0, 0), INTS("target_treeids", 0, 0), INTS("target_nodeids", 1, 2),
        INTS("target_ids", 0, 0), FLOATS("target_weights", 10, 20), fy_int("n_targets", 1)};
    static int64_t ints[12][4];
    static double floats[12][4];
    for (int i = 0; i < FY_COUNT(a); i++) {                  /* out of the caller's block into ours */
        stump[i] = a[i];
        if (a[i].ints) { memcpy(ints[i], a[i].ints, (size_t)a[i].n * 8); stump[i].ints = ints[i]; }
        if (a[i].floats) { memcpy(floats[i], a[i].floats, (size_t)a[i].n * 8); stump[i].floats = floats[i]; }
    }
    return FY_COUNT(a);
}

static void broken(int at, fy_attr by, fy_code code) {
    fy_tensor x = rig_f32(RIG_DIMS(1, 1), RIG_F(1));
    int n = stump_of();
    stump[at] = by;
    refused(ML("TreeEnsembleRegressor"), &x, n, stump, code);
}

static void test_trees(void **state) {
    (void)state;
    fy_tensor x = rig_f32(RIG_DIMS(3, 1), RIG_F(-1, 1, NAN));
    int n = stump_of();
    gives(ML("TreeEnsembleRegressor"), &x, n, stump, RIG_DIMS(3, 1), RIG_D(10, 20, 20));
    stump[n] = INTS("nodes_missing_value_tracks_true", 1, 0, 0);
    gives(ML("TreeEnsembleRegressor"), &x, n + 1, stump, RIG_DIMS(3, 1), RIG_D(10, 20, 10));
    broken(0, INTS("nodes_treeids", 0, 0), FY_E_ATTR);
    broken(1, INTS("nodes_nodeids", 0, 1, 1), FY_E_ATTR);                /* twice */
    broken(1, INTS("nodes_nodeids", INT64_MIN, 1, 2), FY_OK);            /* numbers are names */
    broken(2, INTS("nodes_featureids", 1, 0, 0), FY_E_SHAPE);
    broken(2, INTS("nodes_featureids", -1, 0, 0), FY_E_ATTR);
    broken(2, INTS("nodes_featureids", INT64_MAX, 0, 0), FY_E_ATTR);
    broken(3, TEXTS("nodes_modes", "BRANCH_LEQ", "LEAF", "LEAVE"), FY_E_ATTR);
    broken(4, FLOATS("nodes_values", 0, 0), FY_E_ATTR);
    broken(5, INTS("nodes_truenodeids", 0, 0, 0), FY_E_ATTR);            /* its own child */
    broken(5, INTS("nodes_truenodeids", 7, 0, 0), FY_E_ATTR);
    broken(7, INTS("target_treeids", 0, 1), FY_E_ATTR);
    broken(8, INTS("target_nodeids", 1, 3), FY_E_ATTR);
    broken(9, INTS("target_ids", 0, 1), FY_E_ATTR);
    broken(9, INTS("target_ids", 0, -1), FY_E_ATTR);
    broken(10, FLOATS("target_weights", 10), FY_E_ATTR);
    broken(11, fy_int("n_targets", 0), FY_E_ATTR);
    broken(11, fy_int("n_targets", INT64_MAX), FY_E_ATTR);
}

/* A cycle of two, far from the root; a chain of 100,000 nodes is walked without recursion. */
static void test_deep(void **state) {
    enum { N = 100001 };
    (void)state;
    ferry_error e;
    int64_t *v = fy_calloc(6 * N, sizeof *v), *tree = v, *id = v + N, *feature = v + 2 * N, *yes = v + 3 * N, *no = v + 4 * N;
    double *split = fy_calloc(N, sizeof *split);
    fy_str *mode = fy_calloc(N, sizeof *mode);
    for (int64_t i = 0; i < N; i++) {                        /* even nodes branch to the leaf behind them or to the next branch */
        bool leaf = i % 2 || i == N - 1;
        id[i] = i;
        yes[i] = leaf ? 0 : i + 1;
        no[i] = leaf ? 0 : i + 2;
        split[i] = (double)i;
        mode[i] = rig_str(leaf ? "LEAF" : "BRANCH_EQ");
    }
    fy_attr a[] = {fy_ints("nodes_treeids", N, tree), fy_ints("nodes_nodeids", N, id), fy_ints("nodes_featureids", N, feature), rig_attr_texts("nodes_modes", N, mode),
        fy_floats("nodes_values", N, split), fy_ints("nodes_truenodeids", N, yes), fy_ints("nodes_falsenodeids", N, no), INTS("target_treeids", 0, 0, 0),
        INTS("target_nodeids", 1, N - 2, N - 1), INTS("target_ids", 0, 0, 0), FLOATS("target_weights", 1, 2, 3), fy_int("n_targets", 1)};
    fy_tensor x = rig_f32(RIG_DIMS(3, 1), RIG_F(0, N - 3, 0.5f));
    gives(ML("TreeEnsembleRegressor"), &x, FY_COUNT(a), a, RIG_DIMS(3, 1), RIG_D(1, 2, 3));
    no[N - 3] = N - 5;
    fy_tensor y;
    assert_fails(rig_op(ML("TreeEnsembleRegressor"), 1, &x, FY_COUNT(a), a, 1, &y, &e), ATTR);
    assert_non_null(strstr(e.text, "cycle"));
    fy_free(v);
    fy_free(split);
    fy_free(mode);
}

static void test_tree_classes(void **state) {
    (void)state;
    fy_tensor x = rig_f32(RIG_DIMS(2, 1), RIG_F(-1, 1));
    stump_of();
    fy_attr a[16];
    memcpy(a, stump, 7 * sizeof *a);
    a[7] = INTS("class_treeids", 0, 0);
    a[8] = INTS("class_nodeids", 1, 2);
    a[9] = INTS("class_ids", 0, 0);
    a[10] = FLOATS("class_weights", 0.7, 0.2);
    a[11] = INTS("classlabels_int64s", 5, 7);
    classes(ML("TreeEnsembleClassifier"), &x, 12, a, 2, 2, RIG_D(7, 5), RIG_D(0.3, 0.7, 0.8, 0.2));        /* all in one class, none negative */
    a[10] = FLOATS("class_weights", -0.7, 0.2);
    classes(ML("TreeEnsembleClassifier"), &x, 12, a, 2, 2, RIG_D(5, 7), RIG_D(0.7, -0.7, -0.2, 0.2));
    a[9] = INTS("class_ids", 2, 1);
    a[10] = FLOATS("class_weights", 0.7, 0.2);
    a[11] = INTS("classlabels_int64s", 5, 7, 9);
    classes(ML("TreeEnsembleClassifier"), &x, 12, a, 2, 3, RIG_D(9, 7), RIG_D(0, 0, 0.7, 0, 0.2, 0));
    a[12] = FLOATS("base_values", 1, 0, 0);
    classes(ML("TreeEnsembleClassifier"), &x, 13, a, 2, 3, RIG_D(5, 5), RIG_D(1, 0, 0.7, 1, 0.2, 0));
    a[12] = FLOATS("base_values", 1, 0);
    refused(ML("TreeEnsembleClassifier"), &x, 13, a, FY_E_ATTR);
    a[11] = INTS("classlabels_int64s", 5, 7);
    refused(ML("TreeEnsembleClassifier"), &x, 12, a, FY_E_ATTR);          /* class 2 of two */
}

static void v5(const fy_attr *extra, fy_attr yes, fy_attr members, fy_code code, const double *want) {
    ferry_error e;
    fy_arena m = {0};
    fy_tensor y, x = rig_f32(RIG_DIMS(3, 1), RIG_F(1, 2, NAN));
    fy_attr a[] = {INTS("tree_roots", 0), INTS("nodes_featureids", 0), yes, INTS("nodes_trueleafs", 1), INTS("nodes_falsenodeids", 1), INTS("nodes_falseleafs", 1),
        INTS("leaf_targetids", 0, 1), fy_int("n_targets", 2), {.name = "nodes_modes", .kind = FY_ATTR_TENSOR, .n = 1, .tensor = fy_const_copy(&m, FERRY_UINT8, RIG_DIMS(1), "\6")},
        {.name = "nodes_splits", .kind = FY_ATTR_TENSOR, .n = 1, .tensor = fy_const_copy(&m, FERRY_FLOAT, RIG_DIMS(1), RIG_F(0))},
        {.name = "leaf_weights", .kind = FY_ATTR_TENSOR, .n = 1, .tensor = fy_const_copy(&m, FERRY_FLOAT, RIG_DIMS(2), RIG_F(3, 4))}, members, extra ? *extra : fy_int("post_transform", 0)};
    fy_status s = rig_op(ML("TreeEnsemble"), 1, &x, FY_COUNT(a), a, 1, &y, &e);
    if (code != FY_OK) assert_int_equal(s, code);
    else {
        assert_ok(s, e);
        rig_expect(&y, RIG_DIMS(3, 2), want);
        fy_tensor_free(&y);
    }
    fy_arena_free(&m);
}

static void test_sets(void **state) {
    (void)state;
    fy_arena m = {0};
    fy_attr set = {.name = "membership_values", .kind = FY_ATTR_TENSOR, .n = 1, .tensor = fy_const_copy(&m, FERRY_FLOAT, RIG_DIMS(3), RIG_F(5, 2, NAN))}, more = set, one = set;
    fy_attr missing = INTS("nodes_missing_value_tracks_true", 1), roots = INTS("leaf_targetids", 0, 2), cycle = INTS("nodes_trueleafs", 0);
    more.tensor = fy_const_copy(&m, FERRY_FLOAT, RIG_DIMS(4), RIG_F(5, NAN, 2, NAN));
    one.tensor = fy_const_copy(&m, FERRY_FLOAT, RIG_DIMS(1), RIG_F(2));                     /* the last NaN may be left out */
    v5(NULL, INTS("nodes_truenodeids", 0), set, FY_OK, RIG_D(0, 4, 3, 0, 0, 4));
    v5(&missing, INTS("nodes_truenodeids", 0), one, FY_OK, RIG_D(0, 4, 3, 0, 3, 0));
    v5(NULL, INTS("nodes_truenodeids", 0), more, FY_E_ATTR, NULL);
    v5(NULL, INTS("nodes_truenodeids", 2), set, FY_E_ATTR, NULL);
    v5(NULL, INTS("nodes_truenodeids", -1), set, FY_E_ATTR, NULL);
    v5(&roots, INTS("nodes_truenodeids", 0), set, FY_E_ATTR, NULL);
    v5(&cycle, INTS("nodes_truenodeids", 0), set, FY_E_ATTR, NULL);
    fy_attr post = fy_int("post_transform", 5), how = fy_int("aggregate_function", -1), many = fy_int("n_targets", INT64_MIN);
    v5(&post, INTS("nodes_truenodeids", 0), set, FY_E_ATTR, NULL);
    v5(&how, INTS("nodes_truenodeids", 0), set, FY_E_ATTR, NULL);
    v5(&many, INTS("nodes_truenodeids", 0), set, FY_E_ATTR, NULL);
    v5(NULL, INTS("nodes_truenodeids", 0), fy_int("n_targets", 2), FY_E_ATTR, NULL);       /* no set for a node that wants one */
    fy_arena_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_features), cmocka_unit_test(test_infer), cmocka_unit_test(test_labels), cmocka_unit_test(test_maps),
        cmocka_unit_test(test_zip), cmocka_unit_test(test_linear), cmocka_unit_test(test_svm), cmocka_unit_test(test_trees), cmocka_unit_test(test_deep),
        cmocka_unit_test(test_tree_classes), cmocka_unit_test(test_sets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
