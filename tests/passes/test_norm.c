/* SPDX-License-Identifier: Apache-2.0
 * test_norm.c - normalisations recognised from their parts. */
#include "pass_text.h"

#define K "int64[1] a = {-1}, float two = {2}, float half = {0.5}, float minus = {-0.5}, float one = {1}, float eps = {1e-05}, float[6] g = {1, 2, 3, 4, 5, 6}, float[6] b = {6, 5, 4, 3, 2, 1}"
#define LN "m = ReduceMean (x, a) d = Sub (x, m) p = Pow (d, two) v = ReduceMean (p, a) e = Add (v, eps) s = Sqrt (e) "

static void test_layer_norm(void **state) {
    (void)state;
    assert_becomes("norm", "(float[n,5,6] x) => (y) <" K "> { " LN "q = Div (d, s) w = Mul (q, g) y = Add (w, b) }",
        "(float[n,5,6] x) => (y) <float[6] g = {1, 2, 3, 4, 5, 6}, float[6] b = {6, 5, 4, 3, 2, 1}> { y = LayerNormalization <axis = -1, epsilon = 9.99999975e-06> (x, g, b) }");
    assert_becomes("norm", "(float[n,5,6] x) => (y) <" K "> { m = ReduceMean (x, a) d = Sub (x, m) p = Mul (d, d) v = ReduceMean (p, a) e = Add (eps, v) s = Sqrt (e) r = Reciprocal (s) q = Mul (d, r) w = Mul (g, q) y = Relu (w) }",
        "(float[n,5,6] x) => (y) <float[6] g = {1, 2, 3, 4, 5, 6}> { w = LayerNormalization <axis = -1, epsilon = 9.99999975e-06> (x, g) y = Relu (w) }");
    assert_becomes("norm", "(float[2,3] x, float[2,3] b) => (y) <int64[2] a = {1, 0}, float two = {2}, float eps = {1}> { " LN "q = Div (d, s) y = Add (b, q) }",
        "(float[2,3] x, float[2,3] b) => (y) <float[2,3] g = {1, 1, 1, 1, 1, 1}> { y = LayerNormalization <axis = 0, epsilon = 1.0> (x, g, b) }");
}

static void test_not_layer_norm(void **state) {
    static const char *const text[] = {
        "(float[n,5,6] x) => (y, d) <" K "> { " LN "q = Div (d, s) w = Mul (q, g) y = Add (w, b) }", "(float[n,5,6] x) => (y, z) <" K "> { " LN "q = Div (d, s) y = Mul (q, g) z = Exp (d) }",
        "(float[n,5,6] x) => (y, z) <" K "> { " LN "q = Div (d, s) y = Mul (q, g) z = Exp (v) }",
        "(float[n,5,6] x) => (y) <int64[1] a = {1}, float two = {2}, float eps = {1}> { " LN "y = Div (d, s) }",                             /* not the last axis */
        "(float[n,5,6] x, int64[1] a) => (y) <float two = {2}, float eps = {1}> { " LN "y = Div (d, s) }",                                   /* unknown axes */
        "(float[n,5,k] x) => (y) <int64[1] a = {-1}, float two = {2}, float eps = {1}> { " LN "y = Div (d, s) }",                            /* no scale, and ones of what size? */
        "(float[n,5,6] x) => (y) <int64[1] a = {-1}, float two = {3}, float eps = {1}> { " LN "y = Div (d, s) }"};
    (void)state;
    for (int i = 0; i < FY_COUNT(text); i++) assert_left("norm", text[i], 22);
    assert_left("norm", "(float[n,5,6] x) => (y) <" K "> { " LN "q = Div (d, s) w = Mul (q, g) y = Add (w, b) }", 16);
    /* what does not have the normalised shape is no scale */
    assert_becomes("norm", "(float[2,5,6] x, float[2,5,6] z) => (y) <" K "> { " LN "q = Div (d, s) y = Mul (q, z) }",
        "(float[2,5,6] x, float[2,5,6] z) => (y) <float[6] g = {1, 1, 1, 1, 1, 1}> { q = LayerNormalization <axis = -1, epsilon = 9.99999975e-06> (x, g) y = Mul (q, z) }");
}

static void test_rms_norm(void **state) {
    (void)state;
#define RMS "(float[n,5,6] x) => (y) <float[6] g = {1, 2, 3, 4, 5, 6}> { y = RMSNormalization <axis = -1, epsilon = 9.99999975e-06> (x, g) }"
    assert_becomes("norm", "(float[n,5,6] x) => (y) <" K "> { p = Pow (x, two) v = ReduceMean (p, a) e = Add (v, eps) s = Sqrt (e) q = Div (x, s) y = Mul (q, g) }", RMS);
    assert_becomes("norm", "(float[n,5,6] x) => (y) <" K "> { p = Mul (x, x) v = ReduceMean (p, a) e = Add (v, eps) s = Sqrt (e) r = Div (one, s) q = Mul (x, r) y = Mul (g, q) }", RMS);
    assert_becomes("norm", "(float[n,5,6] x) => (y) <" K "> { p = Mul (x, x) v = ReduceMean (p, a) e = Add (v, eps) r = Pow (e, minus) q = Mul (x, r) y = Mul (g, q) }", RMS);
    assert_left("norm", "(float[n,5,6] x) => (y) <" K "> { p = Pow (x, two) v = ReduceMean (p, a) e = Add (v, eps) s = Sqrt (e) q = Div (x, s) y = Mul (q, g) }", 22);
    assert_left("norm", "(float[n,5,6] x, float[n,5,6] z) => (y) <" K "> { p = Pow (x, two) v = ReduceMean (p, a) e = Add (v, eps) s = Sqrt (e) q = Div (z, s) y = Mul (q, g) }", 0);
    assert_left("norm", "(float[n,5,6] x) => (y) <" K "> { p = Pow (x, two) v = ReduceMean <keepdims = 0> (p, a) e = Add (v, eps) s = Sqrt (e) t = Unsqueeze (s, a) q = Div (x, t) y = Mul (q, g) }", 0);
}

static void test_group_norm(void **state) {
    (void)state;
#define G "int64[3] s = {0, 2, -1}, float[2] o = {1, 1}, float[2] z = {0, 0}, int64[4] f = {0, 4, 3, 5}"
    assert_becomes("norm", "(float[n,4,3,5] x) => (y) <" G ", float[4,1,1] g = {1, 2, 3, 4}, float[1,4,1,1] b = {4, 3, 2, 1}> "
        "{ r = Reshape (x, s) i = InstanceNormalization (r, o, z) t = Reshape (i, f) m = Mul (t, g) y = Add (m, b) }",
        "(float[n,4,3,5] x) => (y) <float[4] g = {1, 2, 3, 4}, float[4] b = {4, 3, 2, 1}> { y = GroupNormalization <num_groups = 2, epsilon = 9.99999975e-06> (x, g, b) }");
    assert_left("norm", "(float[n,4,3,5] x) => (y) <" G "> { r = Reshape (x, s) i = InstanceNormalization (r, o, z) y = Reshape (i, f) }", 20);
    assert_left("norm", "(float[n,4,3,5] x) => (y) <" G "> { r = Reshape (x, s) i = InstanceNormalization (r, z, z) y = Reshape (i, f) }", 0);
    assert_left("norm", "(float[n,4,3,5] x) => (y, i) <" G "> { r = Reshape (x, s) i = InstanceNormalization (r, o, z) y = Reshape (i, f) }", 0);
    assert_left("norm", "(float[n,4,3,5] x) => (y) <" G ", int64[4] h = {0, 4, 5, 3}> { r = Reshape (x, s) i = InstanceNormalization (r, o, z) y = Reshape (i, h) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_layer_norm), cmocka_unit_test(test_not_layer_norm), cmocka_unit_test(test_rms_norm), cmocka_unit_test(test_group_norm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
