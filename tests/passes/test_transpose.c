/* SPDX-License-Identifier: Apache-2.0
 * test_transpose.c - transposes merged, taken into Gemm, and moved through trees of elementwise nodes. */
#include "pass_text.h"

static void test_pairs(void **state) {
    (void)state;
    assert_becomes("transpose", "(float[2,3,4] x) => (y) { t = Transpose <perm = [2, 0, 1]> (x) y = Transpose <perm = [0, 2, 1]> (t) }",
        "(float[2,3,4] x) => (y) { y = Transpose <perm = [2, 1, 0]> (x) }");
    assert_becomes("transpose", "(float[2,3,4] x) => (y) { t = Transpose <perm = [2, 0, 1]> (x) u = Transpose <perm = [1, 2, 0]> (t) y = Relu (u) }",
        "(float[2,3,4] x) => (y) { y = Relu (x) }");
    /* without perm: reversed; the first one is read elsewhere as well */
    assert_becomes("transpose", "(float[2,3] x) => (y, z) { t = Transpose (x) u = Transpose (t) y = Relu (u) z = Relu (t) }",
        "(float[2,3] x) => (y, z) { t = Transpose (x) y = Relu (x) z = Relu (t) }");
    /* an input cannot take the output's name */
    assert_left("transpose", "(float[2,3] x) => (y) { t = Transpose (x) y = Transpose (t) }", 0);
}

static void test_gemm(void **state) {
    (void)state;
    assert_becomes("transpose", "(float[2,3] x, float[4,3] w) => (y) { t = Transpose (w) y = MatMul (x, t) }", "(float[2,3] x, float[4,3] w) => (y) { y = Gemm <transB = 1> (x, w) }");
    assert_becomes("transpose", "(float[3,2] x, float[4,3] w, float[4] c) => (y) { t = Transpose (x) y = Gemm <transB = 1> (t, w, c) }",
        "(float[3,2] x, float[4,3] w, float[4] c) => (y) { y = Gemm <transB = 1, transA = 1> (x, w, c) }");
    assert_becomes("transpose", "(float[3,2] x, float[3,4] w) => (y) { t = Transpose (w) u = Transpose (x) v = Transpose (u) r = Transpose (v) y = Gemm <transB = 1> (r, t) }",
        "(float[3,2] x, float[3,4] w) => (y) { y = Gemm <transB = 0, transA = 1> (x, w) }");
    assert_left("transpose", "(float[2,3] x, float[4,3] w) => (y, t) { t = Transpose (w) y = MatMul (x, t) }", 0);     /* the transpose stays anyway */
    assert_left("transpose", "(float[2,2,3] x, float[2,4,3] w) => (y) { t = Transpose <perm = [0, 2, 1]> (w) y = MatMul (x, t) }", 0);
    assert_left("transpose", "(int32[2,3] x, int32[4,3] w) => (y) { t = Transpose (w) y = MatMul (x, t) }", 0);
}

static void test_trees(void **state) {
    (void)state;
    assert_becomes("transpose", "(float[2,3,4] x, float[2,3,4] z) => (y) <float[4,1,1] k = {1, 2, 3, 4}> { a = Transpose <perm = [2, 0, 1]> (x) b = Transpose <perm = [2, 0, 1]> (z) "
        "c = Relu (a) d = Add (c, b) f = Mul (d, k) y = Transpose <perm = [1, 2, 0]> (f) }",
        "(float[2,3,4] x, float[2,3,4] z) => (y) <float[1,1,4] const = {1, 2, 3, 4}> { c = Relu (x) d = Add (c, z) y = Mul (d, const) }");
    assert_becomes("transpose", "(float[2,3,4] x, float[2,5,4] z) => (y) { a = Transpose <perm = [0, 2, 1]> (x) b = Transpose <perm = [0, 2, 1]> (z) "
        "c = Concat <axis = 2> (a, b) s = Softmax <axis = 1> (c) y = Transpose <perm = [0, 2, 1]> (s) }",
        "(float[2,3,4] x, float[2,5,4] z) => (y) { c = Concat <axis = 1> (x, z) y = Softmax <axis = 2> (c) }");
    /* another order at a leaf: the leaf is turned further, one node goes */
    assert_becomes("transpose", "(float[2,3,4] x) => (y) { a = Transpose <perm = [2, 0, 1]> (x) c = Sigmoid (a) y = Transpose <perm = [0, 2, 1]> (c) }",
        "(float[2,3,4] x) => (y) { Transpose_out = Transpose <perm = [2, 1, 0]> (x) y = Sigmoid (Transpose_out) }");
    assert_left("transpose", "(float[2,3,4] x, float[4,2,3] z) => (y) { a = Transpose <perm = [2, 0, 1]> (x) c = Add (a, z) y = Transpose <perm = [1, 2, 0]> (c) }", 0);
    assert_left("transpose", "(float[2,3,4] x) => (y, c) { a = Transpose <perm = [2, 0, 1]> (x) c = Relu (a) y = Transpose <perm = [1, 2, 0]> (c) }", 0);
    assert_left("transpose", "(float[2,3,4] x) => (y, z) { a = Transpose <perm = [2, 0, 1]> (x) c = Relu (a) y = Transpose <perm = [1, 2, 0]> (c) z = Exp (c) }", 0);
    assert_left("transpose", "(float[2,3,4] x, float[3] z) => (y) { a = Transpose <perm = [2, 0, 1]> (x) c = Add (a, z) y = Transpose <perm = [1, 2, 0]> (c) }", 0);
    assert_left("transpose", "(float[2,3,4] x) => (y) <int64[1] k = {1}> { a = Transpose <perm = [2, 0, 1]> (x) c = CumSum (a, k) y = Transpose <perm = [1, 2, 0]> (c) }", 0);
}

static void test_quantised(void **state) {
    (void)state;
    assert_becomes("transpose", "(float[2,3] x) => (y) <int8[2,3] w = {1, 2, 3, 4, 5, 6}, float[2] s = {0.5, 2}> { d = DequantizeLinear <axis = 0> (w, s) t = Transpose (d) y = MatMul (x, t) }",
        "(float[2,3] x) => (y) <float[2] s = {0.5, 2}, int8[3,2] const = {1, 4, 2, 5, 3, 6}> { d = DequantizeLinear <axis = 1> (const, s) y = MatMul (x, d) }");
    assert_becomes("transpose", "(float[2,2] x) => (y, t) <int8[2,2] w = {1, 2, 3, 4}, float s = {0.5}> { d = DequantizeLinear (w, s) t = Transpose (d) y = MatMul (x, t) }",
        "(float[2,2] x) => (y, t) <float s = {0.5}, int8[2,2] const = {1, 3, 2, 4}> { t = DequantizeLinear <axis = 0> (const, s) y = MatMul (x, t) }");
    /* blocks of a scale, and what something else reads, stay */
    assert_left("transpose", "(float[2,4] x) => (y) <int8[2,4] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[2,2] s = {1, 2, 3, 4}> { d = DequantizeLinear <axis = 1, block_size = 2> (w, s) t = Transpose (d) y = Relu (t) }", 0);
    assert_left("transpose", "(float[3,2] x) => (y, z) <int8[2,3] w = {1, 2, 3, 4, 5, 6}, float s = {0.5}> { d = DequantizeLinear (w, s) t = Transpose (d) y = Add (x, t) z = Relu (d) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pairs), cmocka_unit_test(test_gemm), cmocka_unit_test(test_trees), cmocka_unit_test(test_quantised)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
