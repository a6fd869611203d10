/* SPDX-License-Identifier: Apache-2.0
 * test_elementwise.c - functions of one variable against libm in three dtypes and through strides; broadcasting against plain
 * index arithmetic; integers that wrap, shift, divide; comparisons, Where and contents carried as sizes; casts. */
#include "infer_property.h"

#include <float.h>
#include <math.h>

typedef double fn(double x);
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double relu(double x) { return x > 0 ? x : 0; }
static double leaky(double x) { return x < 0 ? (double)0.01f * x : x; }
static double elu(double x) { return x < 0 ? exp(x) - 1 : x; }
static double selu(double x) { return 1.0507010221481323 * (x > 0 ? x : 1.6732631921768188 * (exp(x) - 1)); }
static double gelu(double x) { return 0.5 * x * (1 + erf(x / sqrt(2))); }
static double hsig(double x) { return fmax(0, fmin(1, (double)0.2f * x + 0.5)); }
static double hswish(double x) { return x * fmax(0, fmin(1, x / 6 + 0.5)); }
static double softplus(double x) { return log(1 + exp(x)); }
static double mish(double x) { return x * tanh(log(1 + exp(x))); }
static double softsign(double x) { return x / (1 + fabs(x)); }
static double thresholded(double x) { return x > 1 ? x : 0; }
static double swish(double x) { return x / (1 + exp(-x)); }
static double shrink(double x) { return x < -0.5 || x > 0.5 ? x : 0; }
static double sign(double x) { return (x > 0) - (x < 0); }
static double neg(double x) { return -x; }
static double inverse(double x) { return 1 / x; }
static double same(double x) { return x; }

static const struct { const char *op; fn *f; double lo, hi; } unary[] = {
    {"Sqrt", sqrt, 0, 9}, {"Reciprocal", inverse, 0.1, 4}, {"Exp", exp, -5, 5}, {"Log", log, 0.01, 9}, {"Erf", erf, -3, 3}, {"Sin", sin, -9, 9},
    {"Cos", cos, -9, 9}, {"Tan", tan, -1, 1}, {"Asin", asin, -1, 1}, {"Acos", acos, -1, 1}, {"Atan", atan, -9, 9}, {"Sinh", sinh, -3, 3}, {"Cosh", cosh, -3, 3},
    {"Asinh", asinh, -9, 9}, {"Acosh", acosh, 1, 9}, {"Atanh", atanh, -0.9, 0.9}, {"Tanh", tanh, -4, 4}, {"Sigmoid", sigmoid, -9, 9}, {"Relu", relu, -4, 4},
    {"LeakyRelu", leaky, -4, 4}, {"Elu", elu, -4, 4}, {"Selu", selu, -4, 4}, {"Celu", elu, -4, 4}, {"Gelu", gelu, -4, 4}, {"HardSigmoid", hsig, -5, 5},
    {"HardSwish", hswish, -5, 5}, {"Softplus", softplus, -9, 9}, {"Mish", mish, -9, 9}, {"Softsign", softsign, -9, 9}, {"ThresholdedRelu", thresholded, -4, 4},
    {"Swish", swish, -9, 9}, {"Shrink", shrink, -3, 3}, {"Sign", sign, -3, 3}, {"Neg", neg, -3, 3}, {"Abs", fabs, -3, 3}, {"Floor", floor, -3, 3},
    {"Ceil", ceil, -3, 3}, {"Round", rint, -3, 3}, {"Identity", same, -3, 3}, {"Dropout", same, -3, 3}};

/* 3,000 elements (more than two blocks) read backwards and with gaps. */
static void test_unary(void **state) {
    (void)state;
    static const struct { fy_dtype t; double eps; } kind[] = {{FERRY_DOUBLE, 1e-12}, {FERRY_FLOAT, 0x1p-23}, {FERRY_FLOAT16, 0x1p-10}, {FERRY_BFLOAT16, 0x1p-7}};
    ferry_error e;
    for (int u = 0; u < FY_COUNT(unary); u++)
        for (int k = 0; k < FY_COUNT(kind); k++) {
            fy_tensor big, x, y;
            if (!strcmp(unary[u].op, "Shrink") && kind[k].t == FERRY_BFLOAT16) continue;      /* the standard leaves it out */
            assert_ok(fy_tensor_new(&big, kind[k].t, 2, (int64_t[]){1500, 5}, &e), e);
            for (int64_t i = 0; i < 7500; i++) fy_put_f64(&big, i, unary[u].lo + (unary[u].hi - unary[u].lo) * (double)i / 7499);
            x = big;
            x.dim[1] = 2;
            x.stride[0] = -5;
            x.stride[1] = 3;
            x.data = (char *)big.data + 1499 * 5 * fy_elem_bytes(kind[k].t);
            assert_ok(rig_op(unary[u].op, 1, &x, FY_NOATTR, 1, &y, &e), e);
            assert_int_equal(fy_count(&y), 3000);
            for (int64_t i = 0; i < 3000; i++) {
                double v = fy_get_f64(&x, i), got = fy_get_f64(&y, i), want = unary[u].f(v);
                if (!(fabs(got - want) <= kind[k].eps * fabs(want) + 1e-6 * kind[k].eps + (kind[k].t == FERRY_FLOAT16 ? 0x1p-24 : 1e-15))) {
                    print_error("%s(%g) %s: %.17g, not %.17g\n", unary[u].op, v, fy_dtype_name(kind[k].t), got, want);
                    fail();
                }
            }
            fy_tensor_free(&y);
            fy_tensor_free(&big);
        }
}

static void test_nan(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, in[2] = {rig_f32(RIG_DIMS(4), RIG_F(NAN, 1, -1, INFINITY)), rig_f32(RIG_DIMS(4), RIG_F(0, NAN, 5, 7))};
    static const char *const keep[] = {"Relu", "LeakyRelu", "Sigmoid", "Elu", "Sign", "HardSwish", "Clip", "Softplus", "Round"};
    for (int i = 0; i < FY_COUNT(keep); i++) {
        assert_ok(rig_op(keep[i], 1, in, FY_NOATTR, 1, &y, &e), e);
        assert_true(isnan(fy_get_f64(&y, 0)));
        fy_tensor_free(&y);
    }
    for (int i = 0; i < 2; i++) {
        assert_ok(rig_op(i ? "Max" : "Min", 2, in, FY_NOATTR, 1, &y, &e), e);
        assert_true(isnan(fy_get_f64(&y, 0)) && isnan(fy_get_f64(&y, 1)));
        assert_true(fy_get_f64(&y, 2) == (i ? 5 : -1));
        fy_tensor_free(&y);
    }
}

static double apply(int op, double a, double b) { return op == 0 ? a + b : op == 1 ? a - b : op == 2 ? a * b : op == 3 ? a / b : op == 4 ? fmin(a, b) : fmax(a, b); }

/* Random shapes that broadcast, inputs with random axis order, against index arithmetic. */
static void test_broadcast(void **state) {
    (void)state;
    static const char *const name[] = {"Add", "Sub", "Mul", "Div", "Min", "Max"};
    ferry_error e;
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 300; trial++) {
        int64_t dim[5], s[2][5] = {{0}};
        int rank = (int)rig_range(&r, 0, 5), lead[2];
        fy_tensor in[2], y, dense[2];
        for (int i = 0; i < rank; i++) dim[i] = rig_range(&r, 0, 20) == 0 ? 0 : rig_range(&r, 1, 6);
        for (int k = 0; k < 2; k++) {
            int64_t d[5];
            lead[k] = k && rank ? (int)rig_range(&r, 0, rank) : 0;
            int n = rank - lead[k], flip = n > 1 && rig_range(&r, 0, 1);
            for (int i = 0; i < n; i++) d[i] = dim[lead[k] + i] != 0 && rig_range(&r, 0, 2) == 0 ? 1 : dim[lead[k] + i];
            if (!k) for (int i = 0; i < n; i++) d[i] = dim[i];
            int64_t t = n > 1 ? d[0] : 0;
            if (flip) { d[0] = d[1]; d[1] = t; }
            assert_ok(fy_tensor_new(&dense[k], FERRY_FLOAT, n, d, &e), e);
            for (int64_t i = 0; i < fy_count(&dense[k]); i++) fy_put_f64(&dense[k], i, (double)rig_range(&r, 1, 64) / 8);
            in[k] = dense[k];
            if (flip) {
                in[k].dim[0] = dense[k].dim[1];
                in[k].dim[1] = dense[k].dim[0];
                in[k].stride[0] = dense[k].stride[1];
                in[k].stride[1] = dense[k].stride[0];
            }
            for (int i = 0; i < n; i++) s[k][lead[k] + i] = in[k].dim[i] == 1 ? 0 : in[k].stride[i];
        }
        int op = (int)rig_range(&r, 0, 5);
        assert_ok(rig_op(name[op], 2, in, FY_NOATTR, 1, &y, &e), e);
        assert_int_equal(y.rank, rank);
        for (int64_t i = 0; i < fy_count(&y); i++) {
            int64_t at[2] = {0, 0}, rest = i;
            for (int d = rank - 1; d >= 0; d--) {
                for (int k = 0; k < 2; k++) at[k] += rest % dim[d] * s[k][d];
                rest /= dim[d];
            }
            double want = apply(op, (double)((float *)in[0].data)[at[0]], (double)((float *)in[1].data)[at[1]]);
            assert_true((float)want == ((float *)y.data)[i]);
        }
        fy_tensor_free(&y);
        fy_tensor_free(&dense[0]);
        fy_tensor_free(&dense[1]);
    }
    rig_free(&r);
    fy_tensor bad[2] = {rig_f32(RIG_DIMS(2), RIG_F(1, 2)), rig_f32(RIG_DIMS(3), RIG_F(1, 2, 3))}, y;
    assert_fails(rig_op("Add", 2, bad, FY_NOATTR, 1, &y, &e), SHAPE);
    bad[1] = rig_i64(RIG_DIMS(2), RIG_I(1, 2));
    assert_fails(rig_op("Add", 2, bad, FY_NOATTR, 1, &y, &e), TYPE);
}

#define TENSOR(T, ferry_type, ...) fy_tensor_view(ferry_type, 1, (int64_t[]){(int64_t)(sizeof((T[]){__VA_ARGS__}) / sizeof(T))}, (T[]){__VA_ARGS__})
static void expect_ints(const char *op, fy_tensor a, fy_tensor b, int nattr, const fy_attr *attr, int64_t n, const int64_t *want) {
    ferry_error e;
    fy_tensor y, in[2] = {a, b};
    assert_ok(rig_op(op, b.dtype ? 2 : 1, in, nattr, attr, 1, &y, &e), e);
    assert_int_equal(fy_count(&y), n);
    for (int64_t i = 0; i < n; i++)
        if (fy_get_i64(&y, i) != want[i]) { print_error("%s element %lld: %lld, not %lld\n", op, (long long)i, (long long)fy_get_i64(&y, i), (long long)want[i]); fail(); }
    fy_tensor_free(&y);
}
#define NONE ((fy_tensor){0})

static void test_integers(void **state) {
    (void)state;
    ferry_error e;
    expect_ints("Add", TENSOR(int8_t, FERRY_INT8, 127, -128), TENSOR(int8_t, FERRY_INT8, 1, -1), FY_NOATTR, 2, RIG_I(-128, 127));
    expect_ints("Mul", TENSOR(int64_t, FERRY_INT64, INT64_MAX, INT64_MIN), TENSOR(int64_t, FERRY_INT64, 2, -1), FY_NOATTR, 2, RIG_I(-2, INT64_MIN));
    expect_ints("Sub", TENSOR(uint8_t, FERRY_UINT8, 3), TENSOR(uint8_t, FERRY_UINT8, 5), FY_NOATTR, 1, RIG_I(254));
    expect_ints("Div", TENSOR(int32_t, FERRY_INT32, -7, 7, INT32_MIN), TENSOR(int32_t, FERRY_INT32, 2, -2, -1), FY_NOATTR, 3, RIG_I(-3, -3, INT32_MIN));
    expect_ints("Div", TENSOR(int64_t, FERRY_INT64, INT64_MIN), TENSOR(int64_t, FERRY_INT64, -1), FY_NOATTR, 1, RIG_I(INT64_MIN));
    expect_ints("Mod", TENSOR(int64_t, FERRY_INT64, -7, 7, -7, INT64_MIN), TENSOR(int64_t, FERRY_INT64, 3, -3, -3, -1), FY_NOATTR, 4, RIG_I(2, -2, -1, 0));
    expect_ints("Mod", TENSOR(int64_t, FERRY_INT64, -7, 7), TENSOR(int64_t, FERRY_INT64, 3, -3), FY_A(fy_int("fmod", 1)), 2, RIG_I(-1, 1));
    expect_ints("Pow", TENSOR(int64_t, FERRY_INT64, 3, -1, 2, 1), TENSOR(int64_t, FERRY_INT64, 5, -3, -1, -9), FY_NOATTR, 4, RIG_I(243, -1, 0, 1));
    expect_ints("Pow", TENSOR(int64_t, FERRY_INT64, 9, 2), TENSOR(float, FERRY_FLOAT, 0.5f, 10), FY_NOATTR, 2, RIG_I(3, 1024));
    expect_ints("Neg", TENSOR(int64_t, FERRY_INT64, INT64_MIN, 4), NONE, FY_NOATTR, 2, RIG_I(INT64_MIN, -4));
    expect_ints("BitwiseNot", TENSOR(uint8_t, FERRY_UINT8, 1, 254), NONE, FY_NOATTR, 2, RIG_I(254, 1));
    expect_ints("BitwiseXor", TENSOR(int16_t, FERRY_INT16, -1), TENSOR(int16_t, FERRY_INT16, 255), FY_NOATTR, 1, RIG_I(-256));
    expect_ints("BitShift", TENSOR(uint8_t, FERRY_UINT8, 129, 1, 1), TENSOR(uint8_t, FERRY_UINT8, 1, 8, 255), FY_A(fy_text("direction", "LEFT")), 3, RIG_I(2, 0, 0));
    expect_ints("BitShift", TENSOR(int8_t, FERRY_INT8, -8, -8, 8), TENSOR(int8_t, FERRY_INT8, 1, 100, -1), FY_A(fy_text("direction", "RIGHT")), 3, RIG_I(-4, -1, 0));
    expect_ints("Max", TENSOR(uint64_t, FERRY_UINT64, UINT64_MAX), TENSOR(uint64_t, FERRY_UINT64, 1), FY_NOATTR, 1, RIG_I(-1));
    expect_ints("Clip", TENSOR(int64_t, FERRY_INT64, INT64_MAX - 1), TENSOR(int64_t, FERRY_INT64, INT64_MAX), FY_NOATTR, 1, RIG_I(INT64_MAX));
    fy_tensor y, in[2] = {TENSOR(int64_t, FERRY_INT64, 1, 2), TENSOR(int64_t, FERRY_INT64, 1, 0)};
    assert_fails(rig_op("Div", 2, in, FY_NOATTR, 1, &y, &e), VALUE);
    assert_fails(rig_op("Mod", 2, in, FY_NOATTR, 1, &y, &e), VALUE);
}

static void test_float_mod(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, in[2] = {rig_f32(RIG_DIMS(6), RIG_F(-7, 7, 5.5F, -1, 1, -0.0F)), rig_f32(RIG_DIMS(6), RIG_F(3, -3, 2, INFINITY, -INFINITY, 2))};
    assert_ok(rig_op("Mod", 2, in, FY_NOATTR, 1, &y, &e), e);
    const double want[] = {2, -2, 1.5, (double)INFINITY, -(double)INFINITY, 0};
    for (int i = 0; i < 6; i++) assert_true(fy_get_f64(&y, i) == want[i]);
    fy_tensor_free(&y);
}

static void test_compare(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, in[3] = {rig_f32(RIG_DIMS(3), RIG_F(1, NAN, 3)), rig_f32(RIG_DIMS(3), RIG_F(1, NAN, 2))};
    static const struct { const char *op; int64_t want[3]; } table[] = {
        {"Equal", {1, 0, 0}}, {"Greater", {0, 0, 1}}, {"GreaterOrEqual", {1, 0, 1}}, {"Less", {0, 0, 0}}, {"LessOrEqual", {1, 0, 0}}};
    for (int i = 0; i < FY_COUNT(table); i++) expect_ints(table[i].op, in[0], in[1], FY_NOATTR, 3, table[i].want);
    /* beyond 2^53, where doubles are equal */
    expect_ints("Less", TENSOR(int64_t, FERRY_INT64, INT64_MAX - 1), TENSOR(int64_t, FERRY_INT64, INT64_MAX), FY_NOATTR, 1, RIG_I(1));
    expect_ints("Less", TENSOR(uint64_t, FERRY_UINT64, 1), TENSOR(uint64_t, FERRY_UINT64, UINT64_MAX), FY_NOATTR, 1, RIG_I(1));
    fy_str s[] = {{"ab", 2}, {"", 0}}, t[] = {{"ab", 2}, {"b", 1}};
    expect_ints("Equal", TENSOR(fy_str, FERRY_STRING, s[0], s[1]), TENSOR(fy_str, FERRY_STRING, t[0], t[1]), FY_NOATTR, 2, RIG_I(1, 0));
    fy_tensor w[3] = {fy_tensor_view(FERRY_BOOL, 2, (int64_t[]){2, 1}, (uint8_t[]){1, 0}), TENSOR(int64_t, FERRY_INT64, 1, 2, INT64_MIN + 1), TENSOR(int64_t, FERRY_INT64, 9)};
    assert_ok(rig_op("Where", 3, w, FY_NOATTR, 1, &y, &e), e);
    assert_int_equal(fy_count(&y), 6);
    const int64_t want[] = {1, 2, INT64_MIN + 1, 9, 9, 9};
    for (int i = 0; i < 6; i++) assert_true(fy_get_i64(&y, i) == want[i]);
    fy_tensor_free(&y);
}

/* Sizes computed by operators stay expressions, and what was inferred is what happens. */
static void test_symbolic(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s 6"), *z = rig_in(&r, FERRY_FLOAT, "s 1"), *y;
    rig_out(&r, y = fy_emit(&r.b, "Add", FY_V(x, z), FY_NOATTR));
    rig_type_is(y, "f32[b,s,6]");
    fy_value *shape = fy_emit(&r.b, "Shape", FY_V(x), FY_NOATTR);
    fy_value *b = fy_emit(&r.b, "Gather", FY_V(shape, RIG_K(&r, 0)), FY_NOATTR), *s = fy_emit(&r.b, "Gather", FY_V(shape, RIG_K(&r, 1)), FY_NOATTR);
    fy_value *bs = fy_emit(&r.b, "Mul", FY_V(b, s), FY_NOATTR);
    fy_value *half = fy_emit(&r.b, "Div", FY_V(RIG_K(&r, 6), RIG_K(&r, 2)), FY_NOATTR);
    fy_value *two = fy_emit(&r.b, "Sub", FY_V(half, RIG_K(&r, 1)), FY_NOATTR);
    fy_value *wish = fy_emit(&r.b, "Concat", FY_V(bs, two, half), FY_A(fy_int("axis", 0)));
    fy_value *minus = fy_emit(&r.b, "Equal", FY_V(wish, RIG_K(&r, -1)), FY_NOATTR);
    wish = fy_emit(&r.b, "Where", FY_V(minus, RIG_K(&r, 1), wish), FY_NOATTR);
    wish = fy_emit(&r.b, "Cast", FY_V(fy_emit(&r.b, "Cast", FY_V(wish), FY_A(fy_int("to", FERRY_INT32)))), FY_A(fy_int("to", FERRY_INT64)));
    wish = fy_emit(&r.b, "Max", FY_V(wish, RIG_K(&r, 0)), FY_NOATTR);
    rig_out(&r, y = fy_emit(&r.b, "Reshape", FY_V(x, wish), FY_NOATTR));
    rig_type_is(y, "f32[b*s,2,3]");
    fy_value *count = fy_emit(&r.b, "ReduceProd", FY_V(shape), FY_A(fy_int("keepdims", 1)));
    rig_out(&r, y = fy_emit(&r.b, "Reshape", FY_V(x, count), FY_NOATTR));
    rig_type_is(y, "f32[6*b*s]");
    rig_property(&r, 1, 7);
    rig_free(&r);
}

static void test_simplify(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b 4"), *row = rig_in(&r, FERRY_FLOAT, "4");
    struct { const char *op; double k; bool flip; } table[] = {{"Add", 0, false}, {"Add", 0, true}, {"Mul", 1, false}, {"Mul", 1, true}, {"Sub", 0, false}, {"Div", 1, false}, {"Pow", 1, false}};
    for (int i = 0; i < FY_COUNT(table); i++) {
        fy_value *k = fy_k_scalar(&r.b, FERRY_FLOAT, table[i].k), *y = table[i].flip ? fy_emit(&r.b, table[i].op, FY_V(k, x), FY_NOATTR) : fy_emit(&r.b, table[i].op, FY_V(x, k), FY_NOATTR);
        assert_non_null(y);
        assert_ptr_equal(y->def->op->simplify(y->def), x);
    }
    fy_value *y = fy_emit(&r.b, "Sub", FY_V(fy_k_scalar(&r.b, FERRY_FLOAT, 0), x), FY_NOATTR);
    assert_null(y->def->op->simplify(y->def));
    y = fy_emit(&r.b, "Add", FY_V(row, fy_k_const(&r.b, fy_const_splat(&r.m->arena, FERRY_FLOAT, 2, (int64_t[]){2, 1}, 0), NULL)), FY_NOATTR);
    assert_null(y->def->op->simplify(y->def));                          /* it would broadcast */
    fy_value *picture = rig_in(&r, FERRY_FLOAT, "b 8 196 196");            /* a bias of attention that was never trained */
    y = fy_emit(&r.b, "Add", FY_V(picture, fy_k_const(&r.b, fy_const_splat(&r.m->arena, FERRY_FLOAT, 3, (int64_t[]){8, 196, 196}, 0), NULL)), FY_NOATTR);
    assert_ptr_equal(y->def->op->simplify(y->def), picture);
    y = fy_emit(&r.b, "Cast", FY_V(x), FY_A(fy_int("to", FERRY_FLOAT)));
    assert_ptr_equal(y->def->op->simplify(y->def), x);
    y = fy_emit(&r.b, "Cast", FY_V(x), FY_A(fy_int("to", FERRY_DOUBLE)));
    assert_null(y->def->op->simplify(y->def));
    rig_free(&r);
}

static void test_cast(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, z;
    expect_ints("Cast", rig_f32(RIG_DIMS(5), RIG_F(-1.9F, 2.9F, 1e30F, -1e30F, NAN)), NONE, FY_A(fy_int("to", FERRY_INT32)), 5, RIG_I(-1, 2, INT32_MAX, INT32_MIN, 0));
    expect_ints("Cast", TENSOR(int16_t, FERRY_INT16, 200, -1), NONE, FY_A(fy_int("to", FERRY_INT8)), 2, RIG_I(-56, -1));
    expect_ints("Cast", rig_f32(RIG_DIMS(3), RIG_F(0.2F, -0.0F, NAN)), NONE, FY_A(fy_int("to", FERRY_BOOL)), 3, RIG_I(1, 0, 1));
    /* numbers -> text -> numbers is the identity */
    const double v[] = {0, 1, -2.5, 1e-7, 3.4028234663852886e38, 0.1, 123456789, 1e16, (double)INFINITY};
    fy_tensor x = fy_tensor_view(FERRY_DOUBLE, 1, (int64_t[]){FY_COUNT(v)}, v);
    assert_ok(rig_op("Cast", 1, &x, FY_A(fy_int("to", FERRY_STRING)), 1, &y, &e), e);
    static const char *const text[] = {"0.0", "1.0", "-2.5", "1e-07", "3.4028234663852886e+38", "0.1", "123456789.0", "1e+16", "inf"};
    for (int i = 0; i < FY_COUNT(v); i++) {
        const fy_str *s = (const fy_str *)y.data + i;
        assert_int_equal(s->n, strlen(text[i]));
        assert_memory_equal(s->at, text[i], s->n);
    }
    assert_ok(rig_op("Cast", 1, &y, FY_A(fy_int("to", FERRY_DOUBLE)), 1, &z, &e), e);
    for (int i = 0; i < FY_COUNT(v); i++) assert_true(fy_get_f64(&z, i) == v[i]);
    fy_tensor_free(&z);
    fy_tensor_free(&y);
    fy_str bad[] = {{"12x", 3}};
    x = TENSOR(fy_str, FERRY_STRING, bad[0]);
    assert_fails(rig_op("Cast", 1, &x, FY_A(fy_int("to", FERRY_FLOAT)), 1, &y, &e), VALUE);
    assert_fails(rig_op("Cast", 1, &x, FY_A(fy_int("to", 99)), 1, &y, &e), ATTR);
    /* float8: saturation is a choice */
    x = rig_f32(RIG_DIMS(2), RIG_F(1e6F, -3));
    assert_ok(rig_op("Cast", 1, &x, FY_A(fy_int("to", FERRY_FLOAT8E4M3FN)), 1, &y, &e), e);
    assert_true(fy_get_f64(&y, 0) == 448 && fy_get_f64(&y, 1) == -3);
    fy_tensor_free(&y);
    assert_ok(rig_op("Cast", 1, &x, FY_A(fy_int("to", FERRY_FLOAT8E4M3FN), fy_int("saturate", 0)), 1, &y, &e), e);
    assert_true(isnan(fy_get_f64(&y, 0)));
    fy_tensor_free(&y);
    x = rig_f32(RIG_DIMS(1), RIG_F(-2));
    assert_ok(rig_op("BitCast", 1, &x, FY_A(fy_int("to", FERRY_UINT32)), 1, &y, &e), e);
    assert_int_equal(fy_get_i64(&y, 0), 0xC0000000);
    fy_tensor_free(&y);
    assert_fails(rig_op("BitCast", 1, &x, FY_A(fy_int("to", FERRY_INT64)), 1, &y, &e), TYPE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unary), cmocka_unit_test(test_nan), cmocka_unit_test(test_broadcast), cmocka_unit_test(test_integers),
        cmocka_unit_test(test_float_mod), cmocka_unit_test(test_compare), cmocka_unit_test(test_symbolic), cmocka_unit_test(test_simplify), cmocka_unit_test(test_cast)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
