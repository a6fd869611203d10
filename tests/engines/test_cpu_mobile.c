/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_mobile.c - what networks for small devices and detectors are made of, by our engine against the reference kernels: pointwise and depthwise
 * convolutions in one step, depthwise alone, squeeze-and-excitation, Concat, Split and Resize in blocks of 16 channels; batches of n. */
#include "engines/both.h"

/* Weights that are sines over a tenth of `scale`: folded to constants when the model is compiled. */
static void weights(fy_buf *t, const char *name, const int *dim) {
    fy_buf_fmt(t, "%s_s = Constant <value_ints = [%d, %d, %d, %d]> () %s_0 = Constant <value = float {0}> () %s_n = Constant <value = float {%d}> () %s_1 = Constant <value = float {1}> () "
                  "%s_k = Constant <value = float {%g}> () %s_r = Range (%s_0, %s_n, %s_1) %s_f = Sin (%s_r) %s_g = Mul (%s_f, %s_k) %s = Reshape (%s_g, %s_s) ",
               name, dim[0], dim[1], dim[2], dim[3], name, name, dim[0] * dim[1] * dim[2] * dim[3], name, name, 1.0 / (dim[1] * dim[2] * dim[3]), name, name, name, name, name, name, name, name, name, name,
               name, name);
}

typedef struct shape { int cin, mid, h, w, kernel[2], stride, pad[4]; } shape;

/* x -> pointwise -> `mid` -> depthwise -> `after`; %s stands for the values' names. */
static void pair(const shape *s, const char *mid, const char *after, int group) {
    fy_buf t = {0};
    fy_buf_fmt(&t, "(float[n,%d,%d,%d] x) => (y) { ", s->cin, s->h, s->w);
    weights(&t, "p", (int[]){s->mid, s->cin, 1, 1});
    weights(&t, "d", (int[]){s->mid, s->mid / group, s->kernel[0], s->kernel[1]});
    fy_buf_fmt(&t, "a = Conv (x, p) %s c = Conv <group = %d, strides = [%d, %d], pads = [%d, %d, %d, %d]> (b, d) %s }", mid, group, s->stride, s->stride, s->pad[0], s->pad[1], s->pad[2], s->pad[3], after);
    both_at(t.at, (const int64_t[]){2, 1, 0}, 3);
    fy_buf_free(&t);
}

static void test_pairs(void **state) {
    (void)state;
    static const shape shapes[] = {
        {24, 40, 37, 36, {3, 3}, 1, {1, 1, 1, 1}}, {16, 48, 35, 36, {3, 3}, 2, {1, 1, 1, 1}}, {20, 33, 41, 45, {5, 5}, 1, {2, 2, 2, 2}}, {8, 96, 7, 80, {5, 3}, 2, {0, 1, 3, 0}},
        {17, 80, 25, 26, {1, 7}, 1, {0, 3, 0, 3}}, {16, 70, 60, 13, {3, 3}, 3, {2, 0, 0, 2}}, {16, 16, 58, 58, {4, 4}, 5, {0, 0, 0, 0}}, {16, 130, 20, 21, {3, 3}, 1, {-1, -2, 1, -1}},
        {33, 20, 52, 53, {2, 2}, 1, {9, 7, 1, 1}}};
    for (int i = 0; i < FY_COUNT(shapes); i++) {
        pair(&shapes[i], "b = Relu (a)", "y = Identity (c)", shapes[i].mid);
        pair(&shapes[i], "b = Identity (a)", "y = Relu (c)", shapes[i].mid);
        pair(&shapes[i], "m = Sigmoid (a) b = Mul (a, m)", "m2 = Sigmoid (c) y = Mul (c, m2)", shapes[i].mid);
    }
    const shape *s = &shapes[0];
    /* a residual after it; what lies between is read elsewhere; an output itself; no depthwise one; an activation without a finite value at 0 */
    pair(s, "b = Relu (a)", "r = Neg (b) q = Add (c, r) y = Relu (q)", s->mid);
    pair(s, "b = HardSwish (a)", "r = Abs (c) y = Add (c, r)", s->mid);
    pair(s, "b = Relu (a)", "t = Transpose <perm = [0, 2, 3, 1]> (c) y = Neg (t)", s->mid);
    pair(s, "b = Exp (a)", "l = Exp (c) k = Log (l) y = Div (k, l)", s->mid);
    pair(s, "b = Relu (a)", "y = Add (c, b)", s->mid);
    pair(s, "b = Relu (a)", "y = Tanh (c)", 8);
    pair(&(shape){16, 16, 6, 5, {3, 3}, 1, {1, 1, 1, 1}}, "b = Relu (a)", "y = Relu (c)", 16);            /* small: two steps */
}

static void test_gates(void **state) {
    (void)state;
    static const char *const gates[] = {
        "g = GlobalAveragePool (c) s = HardSigmoid (g) y = Mul (c, s)", "g = GlobalAveragePool (c) s = Sigmoid (g) y = Mul (s, c)", "g = GlobalMaxPool (c) y = Sub (c, g)",
        "g = GlobalAveragePool (c) s = Sigmoid (g) m = Mul (c, s) q = Conv (m, k) y = Add (q, x)",
        "g = GlobalAveragePool (c) s = HardSigmoid (g) m = Mul (s, c) q = Conv (m, k) y = Relu (q)"};
    for (int i = 0; i < FY_COUNT(gates); i++)
        for (int area = 1; area < 17; area += 5) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(float[n,20,%d,%d] x) => (y) { ", area, area + 1);
            weights(&t, "w", (int[]){36, 20, 1, 1});
            weights(&t, "k", (int[]){20, 36, 1, 1});
            fy_buf_fmt(&t, "c = Conv (x, w) %s }", gates[i]);
            both(t.at);
            fy_buf_free(&t);
        }
}

/* Bodies over c, of 48 channels, and d, of 20, both in blocks. */
static void blocks(const char *out, const char *body) {
    fy_buf t = {0};
    fy_buf_fmt(&t, "(float[n,16,5,7] x, float[n,32,5,7] u) => (%s) { ", out);
    weights(&t, "w", (int[]){48, 16, 1, 1});
    weights(&t, "k", (int[]){20, 16, 3, 3});
    fy_buf_fmt(&t, "c = Conv (x, w) d = Conv <pads = [1, 1, 1, 1]> (x, k) %s }", body);
    both_at(t.at, (const int64_t[]){3, 1, 0, 2}, 4);
    fy_buf_free(&t);
}

static void test_blocks(void **state) {
    (void)state;
    blocks("y", "a = Concat <axis = 1> (c, d) y = Relu (a)");
    blocks("y, a", "a = Concat <axis = 1> (c, c, d) y = Neg (a)");
    blocks("y", "a = Concat <axis = -3> (u, c) y = Relu (a)");
    blocks("y", "a = Concat <axis = 1> (d, c) y = Relu (a)");                       /* 20 channels are no whole blocks */
    blocks("y", "a = Concat <axis = 2> (c, c) y = Relu (a)");
    blocks("y", "e = Relu (c) a = Concat <axis = 1> (e, x) f = Neg (e) y = Concat <axis = 1> (a, f)");
    const char *parts = "z = Constant <value_ints = [16, 32]> () a, b = Split <axis = 1> (c, z) ", *odd = "z = Constant <value_ints = [32, 3, 13]> () a, b, q = Split <axis = 1> (c, z) ";
    static const char *const uses[] = {"y = Concat <axis = 1> (b, a)", "e = Relu (a) f = Neg (b) y = Concat <axis = 1> (e, f, a)", "e = Relu (a) t = Transpose <perm = [0, 3, 2, 1]> (e) y = Exp (t)"};
    for (int i = 0; i < FY_COUNT(uses); i++)
        for (int k = 0; k < 2; k++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "%s %s", k ? odd : parts, uses[i]);
            blocks("y", t.at);
            if (k == 0) blocks("a, y, b", t.at);
            fy_buf_free(&t);
        }
    blocks("a, b", parts);
    static const char *const how[] = {"coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\"", "nearest_mode = \"round_prefer_ceil\"", "nearest_mode = \"round_prefer_floor\"",
                                      "coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"ceil\"", "coordinate_transformation_mode = \"align_corners\"", "mode = \"linear\""};
    static const char *const scales[] = {"1.0, 1.0, 2.0, 2.0", "1.0, 1.0, 3.0, 1.0", "1.0, 1.0, 2.5, 2.0", "1.0, 1.0, 1.0, 0.5", "2.0, 1.0, 2.0, 2.0"};
    for (int i = 0; i < FY_COUNT(how); i++)
        for (int k = 0; k < FY_COUNT(scales); k++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "s = Constant <value_floats = [%s]> () r = Resize <%s> (d, , s) y = Neg (r)", scales[k], how[i]);
            blocks("y", t.at);
            fy_buf_free(&t);
        }
}

/* Sums of nothing: zeros, and the end of the loop. */
static void test_no_channels(void **state) {
    (void)state;
    both("(float[n,0,9,11] x) => (y) { w = Constant <value = float[20,0,3,3] {}> () c = Conv <pads = [1, 1, 1, 1]> (x, w) y = Relu (c) }");
    both("(float[n,0,9,11] x) => (y) { w = Constant <value = float[40,0,1,1] {}> () y = Conv (x, w) }");
}

/* Four results, of windows so far apart that what lies between them has no room. */
static void test_far_windows(void **state) {
    fy_buf t = {0};
    ferry_error e = {0};
    (void)state;
    fy_buf_str(&t, "(float[1,16,n,4] x) => (y) <float[16,16,1,1] w = {");
    for (int i = 0; i < 256; i++) fy_buf_fmt(&t, "%s%d", i ? ", " : "", i % 3);
    fy_buf_str(&t, "}> { y = Conv <strides = [2147483647, 2147483647], pads = [2147483640, 2147483640, 2147483640, 2147483640]> (x, w) }");
    both_rig r;
    fy_rval in[BOTH_MOST] = {{0}}, out[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
    both_open(&r, t.at, "ferry");
    both_fill(in, r.m, 4, 1);
    for (int i = 0; i < BOTH_MOST; i++) at[i] = &in[i];
    assert_fails(r.engine->run(r.s, at, out, &e), LIMIT);
    for (int i = 0; i < BOTH_MOST; i++) fy_rval_free(&in[i]);
    both_close(&r);
    fy_buf_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_channels), cmocka_unit_test(test_far_windows), cmocka_unit_test(test_pairs), cmocka_unit_test(test_gates), cmocka_unit_test(test_blocks)};
    return both_main(tests, FY_COUNT(tests), "mobile");
}
