/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_map.c - elementwise operators and conversions of our engine against the reference kernels, every dtype, broadcasts of all kinds, special
 * values; the halves within one unit of the last place. */
#include "engines/both.h"

static const char *const floats[] = {"float", "double", "float16", "bfloat16"};
static const char *const ints[] = {"int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"};

/* %: the dtype. */
static void of(const char *body, const char *dtype, const char *op) {
    fy_buf t = {0};
    for (const char *p = body; *p; p++)
        if (*p == '%') fy_buf_str(&t, dtype);
        else if (*p == '$') fy_buf_str(&t, op);
        else fy_buf_char(&t, *p);
    both_at(t.at, (const int64_t[]){3, 0, 1, 17, 200}, 5);
    fy_buf_free(&t);
}

static void of_floats(const char *body, const char *op) { for (int i = 0; i < FY_COUNT(floats); i++) of(body, floats[i], op); }
static void of_ints(const char *body, const char *op) { for (int i = 0; i < FY_COUNT(ints); i++) of(body, ints[i], op); }

static void test_pairs(void **state) {
    (void)state;
    static const char *const all[] = {"Add", "Sub", "Mul", "Min", "Max", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}, *const bits[] = {"BitwiseAnd", "BitwiseOr", "BitwiseXor"};
    const char *body = "(%[2,n,4] x, %[n,1] y, %[1] z, %[4] w) => (a, b, c, d, f) { a = $ (x, y) b = $ (y, x) c = $ (x, z) d = $ (z, x) f = $ (w, x) }";
    for (int i = 0; i < FY_COUNT(all); i++) {
        of_floats(body, all[i]);
        of_ints(body, all[i]);
    }
    for (int i = 0; i < FY_COUNT(bits); i++) of_ints(body, bits[i]);
    of_floats("(%[2,n,4] x, %[n,1] y) => (a, b, c) <float p = {0.5}> { z = Abs (y) h = CastLike (p, x) k = Add (z, h) a = Div (x, k) b = Mod <fmod = 1> (x, k) c = Pow (k, x) }", "");
    of_ints("(%[2,n,4] x, %[n,1] y) => (a, b, c) <% one = {1}> { k = Max (y, one) a = Div (x, k) b = Mod (x, k) c = Mod <fmod = 1> (x, k) }", "");
    for (int i = 0; i < 4; i++)          /* of both signs */
        of("(%[2,n,4] x, %[n,4] y) => (a, b, c) <% one = {1}, % o = {50}> { u = Sub (y, o) v = Neg (u) k = BitwiseOr (v, one) h = Sub (x, o) g = Mul (h, y) a = Div (g, k) b = Mod (g, k) c = Mod <fmod = 1> (g, k) }", ints[i], "");
    of_ints("(%[2,n,4] x, %[n,1] y) => (a, b) { a = BitShift <direction = \"LEFT\"> (x, y) b = BitShift <direction = \"RIGHT\"> (x, y) }", "");
    both("(double[2,3,4] x) => (y) { a = Constant <value = int64[2] {0, 2}> () m = ReduceMax (x, a) e = Equal (x, m) y = Cast <to=11> (e) }");      /* 3 doubles, 24 bools: as many bytes, and not in place */
    both("(bool[n,4] x, bool[1,4] z) => (a, b, c, d, f) { a = And (x, z) b = Or (x, z) c = Xor (z, x) d = Not (x) f = Equal (x, z) }");
    of_floats("(%[2,n,4] x, %[n,1] y) => (a) { a = PRelu (x, y) }", "");
    for (int i = 0; i < 2; i++) of("(%[2,n,4] x, %[n,1] y) => (a) { a = PRelu (x, y) }", ints[i], "");
    of_floats("(%[2,n,4] x, %[2,n,4] y) => (a) { a = SwiGLU <alpha = 1.25> (x, y) }", "");
}

static void test_many(void **state) {
    (void)state;
    static const char *const some[] = {"Min", "Max"}, *const sums[] = {"Sum", "Mean"};
    const char *body = "(%[2,n,4] x, %[n,1] y, %[1] z, %[4] w) => (a, b, c) { a = $ (z, w, y, x) b = $ (z, y) c = $ (y, x, w) }";
    for (int i = 0; i < 2; i++) {
        of_floats(body, some[i]);
        of_ints(body, some[i]);
        of_floats(body, sums[i]);
    }
    of_floats("(%[2,n,4] x, % l, % h) => (a, b, c) { a = Clip (x, l, h) b = Clip (x, , h) c = Clip (x, l) }", "");
    of_ints("(%[2,n,4] x, % l, % h) => (a, b, c) { a = Clip (x, l, h) b = Clip (x, , h) c = Clip (x, l) }", "");
}

static void test_singles(void **state) {
    (void)state;
    static const char *const any[] = {"Neg", "Abs", "Sign", "Relu", "Floor", "Ceil", "Round", "LeakyRelu <alpha = 0.3>", "Elu", "Selu", "Selu <alpha = 0.7, gamma = 2.0>", "HardSigmoid <alpha = 0.3, beta = 0.6>", "HardSwish", "Softsign", "Exp",
        "ThresholdedRelu <alpha = 0.5>", "Erf", "Sin", "Cos", "Asin", "Acos", "Atan", "Tanh", "Sigmoid", "Mish", "Softplus", "Swish <alpha = 0.7>", "Gelu", "Gelu <approximate = \"tanh\">", "IsNaN", "IsInf"};
    for (int i = 0; i < FY_COUNT(any); i++) of_floats("(%[5,n,7] x) => (a) { a = $ (x) }", any[i]);
    of_floats("(%[5,n,7] x) => (a, b, c) { y = Abs (x) z = Exp (y) a = Sqrt (y) b = Log (z) c = Reciprocal (z) }", "");
    of_floats("(%[n,3] x) => (a, b, c, d) <float[3] s = {1, -1, 0}> { z = CastLike (s, x) y = Sub (x, x) q = Div (z, y) a = IsInf (q) b = IsNaN (q) c = IsInf <detect_negative = 0> (q) d = Sign (q) }", "");
    static const char *const whole[] = {"Abs", "Sign", "BitwiseNot"};
    for (int i = 0; i < FY_COUNT(whole); i++) of_ints("(%[5,n,7] x) => (a) { a = $ (x) }", whole[i]);
    for (int i = 0; i < 4; i++) of("(%[5,n,7] x) => (a, b, c) { a = Neg (x) b = Abs (a) c = Relu (a) d = Sign (a) }", ints[i], "");
    of("(%[5,n,7] x) => (a) { a = Shrink <lambd = 0.6, bias = 0.2> (x) }", "float", "");
    of("(%[5,n,7] x) => (a, b) { a = Celu (x) b = Celu <alpha = 0.4> (x) }", "float", "");
    static const char *const dtype[] = {"int8", "uint8", "int32", "int64"};
    for (int i = 0; i < FY_COUNT(dtype); i++) of("(%[5,n,7] x) => (a, b) { a = Shrink <lambd = 1.5, bias = 0.7> (x) y = Sub (x, x) z = Sub (y, x) b = Shrink <lambd = 2.0, bias = 3.5> (z) }", dtype[i], "");
}

/* From each to each, with values beyond the range of what is converted to. */
static void test_casts(void **state) {
    (void)state;
    static const int to[] = {1, 11, 7, 6, 5, 3, 13, 12, 4, 2, 9, 10, 16};
    for (int k = 0; k < FY_COUNT(to); k++) {
        char op[40];
        snprintf(op, sizeof op, "Cast <to = %d>", to[k]);
        of_floats("(%[n,9] x) => (a, b) <float[9] s = {1, -1, 100.7, -129.5, 4e4, -1e6, 1e20, -1e30, 1e38}> { z = CastLike (s, x) y = Mul (x, z) a = $ (y) b = $ (x) }", op);
        of_floats("(%[n,4] x) => (a) <float[4] s = {0, 0, 1, -1}> { z = CastLike (s, x) y = Sub (x, x) o = Div (z, y) a = $ (o) }", op);
        of_ints("(%[n,9] x) => (a, b) <int64[9] s = {1, -1, 77, 129, 40001, 1000003, 16777217, 4294967297, 36028797018963969}> { z = CastLike (s, x) y = Mul (x, z) a = $ (y) b = $ (x) }", op);
        of("(%[n,9] x) => (a) { a = $ (x) }", "bool", op);
    }
    of("(%[n,9] x) => (a) { y = BitCast <to = 6> (x) z = Add (y, y) a = BitCast <to = 1> (z) }", "float", "");
}

static void refused(const char *body, int64_t i, int64_t v, const char *code) {
    ferry_error e;
    both_rig r;
    fy_rval in[BOTH_MOST] = {{0}}, out[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
    for (int k = 0; k < BOTH_MOST; k++) at[k] = &in[k];
    both_open(&r, body, "ferry");
    both_fill(in, r.m, 4, 1);
    fy_put_i64(&in[1].t, i, v);
    assert_int_not_equal(r.engine->run(r.s, at, out, &e), FY_OK);
    assert_string_equal(e.code, code);
    for (int k = 0; k < BOTH_MOST; k++) fy_rval_free(&in[k]);
    both_close(&r);
}

static void test_refused(void **state) {
    (void)state;
    refused("(int64[5] x, int64[5] y) => (a) { a = Div (x, y) }", 3, 0, "VALUE");
    refused("(uint8[5] x, uint8[5] y) => (a) { a = Mod (x, y) }", 2, 0, "VALUE");
}

/* Halves that are computed in f32: one rounding behind a region where the reference kernels have one behind each operator. */
static void test_halves(void **state) {
    static const char *const types[] = {"float16", "bfloat16"}, *const bodies[] = {
        "(%[n,5] x, %[5,7] w) => (y) { y = MatMul (x, w) }", "(%[n,3] x) => (y) <%[4,3] w = {1, 2, -3, 0.5, 4, 0.25, -1, 2, 3, 0.125, -2, 1}, %[4] b = {0.5, -1, 2, 0}> { y = Gemm <transB = 1> (x, w, b) }",
        "(%[n,6] x) => (y) { y = Softmax (x) }", "(%[n,6] x) => (y) <%[6] g = {1, 2, 0.5, 1, 1, 3}> { y = LayerNormalization (x, g) }", "(%[2,3,n,6] x, %[4,3,1,1] w, %[4] b) => (y) { c = Conv (x, w, b) y = Relu (c) }",
        "(%[2,3,n,6] x) => (y, i) { y = MaxPool <kernel_shape = [1, 2]> (x) z = Relu (y) i = ArgMax <axis = 3> (z) }", "(%[2,3,n,6] x) => (y) { p = GlobalAveragePool (x) y = Squeeze (p) }",
        "(%[n,4] x, %[n,4] z) => (y) { s = Softmax (x) t = Transpose (s) u = Transpose (z) y = Concat <axis = 0> (t, u) }"};
    (void)state;
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < FY_COUNT(bodies); i++) {
            fy_buf text = {0};
            for (const char *p = bodies[i]; *p; p++)
                if (*p == '%') fy_buf_str(&text, types[t]);
                else fy_buf_char(&text, *p);
            assert_false(text.oom);
            both(text.at);
            fy_buf_free(&text);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pairs), cmocka_unit_test(test_many), cmocka_unit_test(test_singles), cmocka_unit_test(test_casts), cmocka_unit_test(test_halves), cmocka_unit_test(test_refused)};
    return both_main(tests, FY_COUNT(tests), "map");
}
