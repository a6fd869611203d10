/* SPDX-License-Identifier: Apache-2.0
 * test_gemm.c - products and sums of matrices become Gemm; a Gemm between views of rows becomes MatMul and Add. */
#include "pass_text.h"

#define M "float[3,4] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}"

static void test_gemm(void **state) {
    (void)state;
    assert_becomes("gemm", "(float[n,3] x, float[4] b) => (y) <" M "> { c = MatMul (x, w) y = Add (b, c) }", "(float[n,3] x, float[4] b) => (y) <" M "> { y = Gemm (x, w, b) }");
    assert_becomes("gemm", "(float[n,3] x, float[n,1] b) => (y) <" M "> { c = MatMul (x, w) y = Add (c, b) }", "(float[n,3] x, float[n,1] b) => (y) <" M "> { y = Gemm (x, w, b) }");
    assert_becomes("gemm", "(float[3,2] x, float b) => (y) <float[4,3] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}> { c = Gemm <transA = 1, transB = 1, alpha = 2.0, beta = 3.0> (x, w) y = Add (c, b) }",
        "(float[3,2] x, float b) => (y) <float[4,3] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}> { y = Gemm <transA = 1, transB = 1, alpha = 2.0> (x, w, b) }");
}

static void test_left(void **state) {
    (void)state;
    assert_left("gemm", "(float[n,3] x, float[m,4] b) => (y) <" M "> { c = MatMul (x, w) y = Add (c, b) }", 0);          /* n and m may differ */
    assert_left("gemm", "(float[1,3] x, float[5,4] b) => (y) <" M "> { c = MatMul (x, w) y = Add (c, b) }", 0);          /* widens */
    assert_left("gemm", "(float[2,2,3] x, float[4] b) => (y) <" M "> { c = MatMul (x, w) y = Add (c, b) }", 0);          /* rank 3 */
    assert_left("gemm", "(float[2,3] x, float[1,2,4] b) => (y) <" M "> { c = MatMul (x, w) y = Add (c, b) }", 0);
    assert_left("gemm", "(float[2,3] x, float[4] b) => (c, y) <" M "> { c = MatMul (x, w) y = Add (c, b) }", 0);
    assert_left("gemm", "(float[2,3] x, float[4] b) => (y, z) <" M "> { c = MatMul (x, w) y = Add (c, b) z = Relu (c) }", 0);
    assert_left("gemm", "(float[2,3] x, float[4] b, float[4] d) => (y) <" M "> { c = Gemm (x, w, d) y = Add (c, b) }", 0);
    assert_left("gemm", "(int32[2,3] x, int32[3,4] w, int32[4] b) => (y) { c = MatMul (x, w) y = Add (c, b) }", 0);
}

static void test_rows(void **state) {
    (void)state;
    assert_becomes("gemm", "(float[n,5,3] x) => (y) <int64[2] r = {-1, 3}, float[4,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, float[4] b = {1, 2, 3, 4}, int64[3] s = {-1, 5, 4}> "
        "{ f = Reshape (x, r) g = Gemm <transB = 1> (f, w, b) y = Reshape (g, s) }",
        "(float[n,5,3] x) => (y) <float[4] b = {1, 2, 3, 4}, float[3,4] w = {1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12}> { t = MatMul (x, w) y = Add (t, b) }");
    assert_left("gemm", "(float[2,5,3] x) => (y) <int64[2] r = {-1, 3}, " M ", int64[3] s = {5, 2, 4}> { f = Reshape (x, r) g = Gemm (f, w) y = Reshape (g, s) }", 0);     /* other rows */
    assert_left("gemm", "(float[2,5,3] x) => (g, y) <int64[2] r = {-1, 3}, " M ", int64[3] s = {2, 5, 4}> { f = Reshape (x, r) g = Gemm (f, w) y = Reshape (g, s) }", 0);
    assert_left("gemm", "(float[2,5,3] x) => (y) <int64[2] r = {-1, 3}, " M ", int64[3] s = {2, 5, 4}> { f = Reshape (x, r) g = Gemm <alpha = 2.0> (f, w) y = Reshape (g, s) }", 0);
    assert_left("gemm", "(float[2,5,3] x, float[10,4] b) => (y) <int64[2] r = {-1, 3}, " M ", int64[3] s = {2, 5, 4}> { f = Reshape (x, r) g = Gemm (f, w, b) y = Reshape (g, s) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gemm), cmocka_unit_test(test_left), cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
