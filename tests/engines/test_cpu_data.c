/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_data.c - data movement, selection, comparisons, casts, reductions, norms and recurrent nets of our engine against the reference
 * kernels: dtypes of every width, odd sizes, broadcasting, nothing at all. */
#include "engines/both.h"

static const char *const dtypes[] = {"float", "double", "int64", "int32", "uint8", "bool", "float16", "int8", "int16"};

/* %s: the dtype. */
static void each_dtype(const char *body) {
    for (int i = 0; i < FY_COUNT(dtypes); i++) {
        fy_buf t = {0};
        for (const char *p = body; *p; p++)
            if (p[0] == '%') fy_buf_str(&t, dtypes[i]);
            else fy_buf_add(&t, p, 1);
        both_at(t.at, (const int64_t[]){3, 0, 17, 1, 40}, 5);
        fy_buf_free(&t);
    }
}

static void test_moves(void **state) {
    (void)state;
    each_dtype("(%[2,n,3] x, %[2,n,3] z) => (a, b, c) { a = Concat <axis = 0> (x, z) b = Concat <axis = 1> (x, z, x) c = Concat <axis = -1> (x, z) }");
    each_dtype("(%[n,7] x, %[n,1] z) => (a) { a = Concat <axis = 1> (z, x, z) }");
    each_dtype("(%[2,n,7] x) => (a, b, c) <int64[3] s = {1, 4, 2}> { a, b, c = Split <axis = 2> (x, s) }");
    each_dtype("(%[6,n] x) => (a, b) { a, b = Split <axis = 0, num_outputs = 2> (x) }");
    each_dtype("(%[7,n] x) => (a) <int64[1] s = {5}, int64[1] e = {0}, int64[1] t = {-2}, int64[1] i = {0}> { a = Slice (x, s, e, i, t) }");
    each_dtype("(%[n,9] x) => (a, b) <int64[1] s = {-4}, int64[1] e = {900}, int64[1] t = {1}, int64[1] i = {1}, int64[1] u = {3}, int64[1] z = {0}> { a = Slice (x, s, e, i, t) b = Slice (x, z, e, i, u) }");
    each_dtype("(%[n,1,3] x) => (a) <int64[4] s = {2, 1, 5, 3}> { a = Expand (x, s) }");
    each_dtype("(%[1,n,1] x) => (a) <int64[3] s = {3, 1, 4}> { a = Expand (x, s) }");
    each_dtype("(%[2,n,3] x) => (a) <int64[3] s = {2, 3, 2}> { a = Tile (x, s) }");
    each_dtype("(%[n,4,3] x) => (a) { a = Transpose <perm = [2, 0, 1]> (x) }");
    each_dtype("(%[n,1,3] x) => (a) { a = Transpose <perm = [1, 0, 2]> (x) }");
    each_dtype("(%[2,n,35] x, %[70,n] z, %[200,n,3] w) => (a, b, c) { a = Transpose <perm = [0, 2, 1]> (x) b = Transpose (z) c = Transpose <perm = [2, 0, 1]> (w) }");
    each_dtype("(%[1000,n] x, %[n,1000] z) => (a, b) { a = Transpose (x) b = Transpose (z) }");
    each_dtype("(%[n,4] x) => (a) <int64[4] p = {1, -1, 2, 3}> { a = Pad (x, p) }");
    each_dtype("(%[2,n,3,4] x) => (a, b) <int64[8] p = {1, 2, -1, 3, 0, 1, 1, -2}, int64[8] q = {0, 0, -2, 0, 0, 0, 4, 0}> { a = Pad (x, p) b = Pad (x, q) }");
    each_dtype("(%[n,5,6] x) => (a, b) <int64[3] s = {4, 8, 3}, int64[2] t = {2, 9}> { a = CenterCropPad (x, s) b = CenterCropPad <axes = [1, -1]> (x, t) }");
}

static void test_gather(void **state) {
    (void)state;
    for (int i = 0; i < FY_COUNT(dtypes); i++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(%s[n,5] x, int64[4,n] i, int32[3] j) => (a, b) <int64[3] k = {-1, 0, 4}, int64 s = {2}> { a = Gather (x, i) b = Gather <axis = 1> (x, k) }", dtypes[i]);
        both(t.at);
        fy_buf_free(&t);
    }
    both("(float[n,5] x, int32[3] j) => (a, b) <int64 s = {2}> { a = Gather (x, j) b = Gather <axis = 1> (x, s) }");
    ferry_error e;
    both_rig r;
    fy_rval in[2] = {{0}}, out[BOTH_MOST] = {{0}}, *at[2] = {&in[0], &in[1]};
    /* one index: a view of the part, also where it leaves the run or is written over */
    both("(float[3,n,5] x) => (a, b) <int64 k = {1}, int64[1] l = {-1}> { a = Gather (x, k) c = Gather (x, l) b = Relu (c) }");
    both("(float[1,3,n] x) => (b, d) <int64 k = {2}, int64 f = {0}> { a = Gather <axis = 1> (x, k) b = Sigmoid (a) y = Neg (x) c = Gather <axis = 1> (y, f) d = Exp (c) }");
    both("(float[2,n] x) => (d) <int64 k = {1}, int64[1] z = {0}> { y = Neg (x) a = Gather (y, k) u = Unsqueeze (a, z) c = Exp (u) e = Add (c, y) d = Abs (e) }");
    both("(float[n,1] x) => (a) <int64 k = {0}> { y = Neg (x) a = Gather (y, k) }");
    both_open(&r, "(float[4,5] x, int64[3] i) => (a) { a = Gather (x, i) }", "ferry");
    both_fill(in, r.m, 4, 0);
    fy_put_i64(&in[1].t, 1, 4);
    assert_int_not_equal(r.engine->run(r.s, at, out, &e), FY_OK);
    assert_string_equal(e.code, "INDEX");
    fy_put_i64(&in[1].t, 1, INT64_MIN);
    assert_int_not_equal(r.engine->run(r.s, at, out, &e), FY_OK);
    assert_string_equal(e.code, "INDEX");
    fy_rval_free(&in[0]);
    fy_rval_free(&in[1]);
    both_close(&r);
}

static void test_select(void **state) {
    (void)state;
    each_dtype("(bool[n,4] c, %[n,4] x, %[n,4] z) => (a) { a = Where (c, x, z) }");
    each_dtype("(bool[n,1] c, %[4] x, %[2,n,4] z) => (a) { a = Where (c, x, z) }");
    each_dtype("(bool[2,n,4] c, %[1] x, %[1,1,4] z) => (a) { a = Where (c, x, z) }");
    each_dtype("(bool[2,n,4] c, %[1] x, %[1] z) => (a, b) { a = Where (c, x, z) b = Where (c, z, x) }");
    static const char *const compare[] = {"Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"}, *const numbers[] = {"float", "double", "int64", "int32", "uint8"};
    for (int c = 0; c < FY_COUNT(compare); c++)
        for (int d = 0; d < FY_COUNT(numbers); d++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(%s[2,n,4] x, %s[n,1] y, %s[1] z) => (a, b, c, d) { a = %s (x, y) b = %s (y, x) c = %s (x, z) d = %s (z, x) }", numbers[d], numbers[d], numbers[d], compare[c], compare[c], compare[c], compare[c]);
            both(t.at);
            fy_buf_free(&t);
        }
    both("(bool[n,4] x, bool[1,4] z) => (a, b, c, d) { a = And (x, z) b = Or (x, z) c = Xor (z, x) d = Not (x) }");
    static const char *const arith[] = {"Add", "Sub", "Mul"}, *const wide[] = {"double", "int64", "int32", "uint32", "float"};
    for (int c = 0; c < FY_COUNT(arith); c++)
        for (int d = 0; d < FY_COUNT(wide); d++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(%s[2,n,4] x, %s[n,1] y) => (a, b) { a = %s (x, y) b = %s (y, x) }", wide[d], wide[d], arith[c], arith[c]);
            both(t.at);
            fy_buf_free(&t);
        }
    both("(float[2,n,4] x, float[n,1] z) => (a, b, c, d) { a = Max (x, z) b = Min (z, x) c = Sum (x, z) d = PRelu (x, z) }");
    both("(int64[2,n,4] x, int64[n,1] z) => (a, b) { a = Max (x, z) b = Min (z, x) }");
}

static void test_powers(void **state) {
    (void)state;
    both("(float[2,n,4] x) => (a, b, c, d) <float e = {2}, float[1] f = {3}, float g = {-1}, int64 h = {2}, float[1,1,4] k = {1, 2, 3, 4}> "
         "{ y = Exp (x) a = Pow (x, e) b = Pow (x, f) c = Pow (y, g) z = Pow (x, h) d = Mul (z, k) }");
}

static void test_casts(void **state) {
    (void)state;
    static const int to[] = {1, 11, 7, 6, 9, 10, 16, 2};
    for (int i = 0; i < FY_COUNT(dtypes); i++)
        for (int k = 0; k < FY_COUNT(to); k++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(%s[n,4] x) => (a) { a = Cast <to = %d> (x) }", dtypes[i], to[k]);
            both(t.at);
            fy_buf_free(&t);
        }
    both("(bfloat16[n] x) => (a) { a = Cast <to = 1> (x) }");
}

static void test_reductions(void **state) {
    (void)state;
    static const char *const ops[] = {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"};
    static const char *const axes[] = {"int64[1] s = {-1}", "int64[1] s = {0}", "int64[1] s = {1}", "int64[2] s = {1, 2}", "int64[2] s = {0, 1}", "int64[2] s = {0, 2}", "int64[3] s = {0, 1, 2}"};
    for (int i = 0; i < FY_COUNT(ops); i++)
        for (int k = 0; k < FY_COUNT(axes); k++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(float[3,n,37] x) => (a, b) <%s> { a = %s (x, s) b = %s <keepdims = 0> (x, s) }", axes[k], ops[i], ops[i]);
            both_at(t.at, (const int64_t[]){3, 1, 90}, 3);
            fy_buf_free(&t);
        }
    both("(float[2,n,5] x) => (a, b, c, d) { a = Softmax <axis = 0> (x) b = Softmax <axis = 1> (x) c = Softmax (x) d = LogSoftmax (x) }");
    both("(float[2,3,n,300] x) => (a, b) { a = Softmax <axis = 1> (x) b = LogSoftmax <axis = 2> (x) }");
    both("(float[2,n,21] x) => (a, b, c) { a = ArgMax <axis = 2> (x) b = ArgMin <axis = -1, keepdims = 0> (x) c = ArgMax <axis = 2, select_last_index = 1> (x) }");
    both("(float[2,3,n,5] x) => (a, b) { a = GlobalAveragePool (x) b = GlobalMaxPool (x) }");
}

static void test_norms(void **state) {
    (void)state;
    const char *v = "float[4] s = {1, -2, 0.5, 3}, float[4] b = {0, 1, 2, -1}, float[4] m = {0.1, 0.2, -0.3, 0}, float[4] v = {1, 2, 0.5, 3}";
    static const char *const bodies[] = {"y = BatchNormalization (z, s, b, m, v)", "y = InstanceNormalization (z, s, b)", "y = GroupNormalization <num_groups = 2> (z, s, b)"};
    for (int i = 0; i < FY_COUNT(bodies); i++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(float[2,4,n,7] x) => (y) <%s> { z = Neg (x) %s }", v, bodies[i]);
        both(t.at);
        fy_buf_free(&t);
    }
}

static void weights(fy_buf *t, const char *name, int d, int r, int c, int salt) {
    if (c) fy_buf_fmt(t, "float[%d,%d,%d] %s = {", d, r, c, name);
    else fy_buf_fmt(t, "float[%d,%d] %s = {", d, r, name);
    for (int i = 0; i < d * r * (c ? c : 1); i++) fy_buf_fmt(t, "%s%.4f", i ? ", " : "", sin(i * 1.3 + salt) * 0.4);
    fy_buf_str(t, "}");
}

/* Constant weights; weights that come with the run; both. Those of the run are made small: large ones would make rounding errors grow with each step. */
static void net(const char *op, int gates, int dirs, const char *attrs, const char *more, const char *inputs, const char *outs) {
    enum { I = 5, H = 19 };
    for (int late = 0; late < 3; late++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(float[n,3,%d] x%s", I, more);
        if (late == 1) fy_buf_fmt(&t, ", float[%d,%d,%d] u, float[%d,%d,%d] v, float[%d,%d] b", dirs, gates * H, I, dirs, gates * H, H, dirs, 2 * gates * H);
        if (late == 2) fy_buf_fmt(&t, ", float[%d,%d,%d] v", dirs, gates * H, H);
        fy_buf_fmt(&t, ") => (%s) <", outs);
        if (late != 1) {
            weights(&t, "b", dirs, 2 * gates * H, 0, 3);
            fy_buf_str(&t, ", ");
            weights(&t, "w", dirs, gates * H, I, 1);
            if (!late) fy_buf_str(&t, ", ");
            if (!late) weights(&t, "r", dirs, gates * H, H, 2);
            fy_buf_str(&t, ", ");
        }
        fy_buf_fmt(&t, "float q = {0.2}, int32[3] l = {1, 0, 1}> { %s %s %s = %s <hidden_size = %d%s> (x, w, r%s) }", late == 1 ? "w = Mul (u, q)" : "", late ? "r = Mul (v, q)" : "", outs, op, H, attrs, inputs);
        both_at(t.at, (const int64_t[]){3, 1, 9}, 3);
        fy_buf_free(&t);
    }
}

static void test_recurrent(void **state) {
    (void)state;
    static const struct { const char *op; int gates; const char *attrs, *outs; } kinds[] = {
        {"LSTM", 4, "", "y, h, c"}, {"GRU", 3, "", "y, h"}, {"GRU", 3, ", linear_before_reset = 1", "y, h"}, {"RNN", 1, "", "y, h"}};
    for (int i = 0; i < FY_COUNT(kinds); i++)
        for (int dir = 0; dir < 3; dir++) {
            char attrs[120];
            static const char *const names[] = {"forward", "reverse", "bidirectional"};
            int dirs = dir == 2 ? 2 : 1;
            snprintf(attrs, sizeof attrs, "%s, direction = \"%s\"", kinds[i].attrs, names[dir]);
            net(kinds[i].op, kinds[i].gates, dirs, attrs, "", "", kinds[i].outs);
            net(kinds[i].op, kinds[i].gates, dirs, attrs, "", ", b", kinds[i].outs);
            net(kinds[i].op, kinds[i].gates, dirs, attrs, "", ", b, l", kinds[i].outs);
            net(kinds[i].op, kinds[i].gates, dirs, attrs, dirs == 2 ? ", float[2,3,19] h0" : ", float[1,3,19] h0", ", b, , h0", kinds[i].outs);
        }
    net("LSTM", 4, 1, "", ", float[1,3,19] h0, float[1,3,19] c0", ", b, , h0, c0", "y, h, c");
    net("LSTM", 4, 1, ", clip = 0.5", "", ", b", "y, h, c");
    net("GRU", 3, 1, ", activations = [\"Sigmoid\", \"Relu\"]", "", ", b", "y, h");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_moves), cmocka_unit_test(test_gather), cmocka_unit_test(test_select), cmocka_unit_test(test_casts), cmocka_unit_test(test_powers),
                                       cmocka_unit_test(test_reductions), cmocka_unit_test(test_norms), cmocka_unit_test(test_recurrent)};
    return both_main(tests, FY_COUNT(tests), "data");
}
