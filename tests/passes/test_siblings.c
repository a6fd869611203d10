/* SPDX-License-Identifier: Apache-2.0
 * test_siblings.c - products of one value with several weights are one product and a Split. */
#include "pass_text.h"

#define W "float[2,2] a = {1, 2, 3, 4}, float[2,3] b = {5, 6, 7, 8, 9, 10}, float[2,1] c = {11, 12}"
#define B ", float[2] ka = {1, 2}, float[3] kb = {3, 4, 5}, float[1] kc = {6}"

static void test_merged(void **state) {
    (void)state;
    assert_becomes("siblings", "(float[4,n,2] x) => (y) <" W "> { p = MatMul (x, a) q = MatMul (x, b) r = MatMul (x, c) y = Concat <axis = -1> (r, q, p) }",
        "(float[4,n,2] x) => (y) <float[2,6] w = {1, 2, 5, 6, 7, 11, 3, 4, 8, 9, 10, 12}, int64[3] s = {2, 3, 1}> { t = MatMul (x, w) p, q, r = Split <axis = -1> (t, s) y = Concat <axis = -1> (r, q, p) }");
    assert_becomes("siblings", "(float[4,n,2] x) => (y) <" W B "> { p = MatMul (x, a) pb = Add (p, ka) q = MatMul (x, b) qb = Add (kb, q) y = Concat <axis = -1> (qb, pb) }",
        "(float[4,n,2] x) => (y) <float[2,5] w = {1, 2, 5, 6, 7, 3, 4, 8, 9, 10}, float[5] k = {1, 2, 3, 4, 5}, int64[2] s = {2, 3}> "
        "{ t = MatMul (x, w) u = Add (t, k) p, q = Split <axis = -1> (u, s) y = Concat <axis = -1> (q, p) }");
    assert_becomes("siblings", "(float[n,2] x) => (y) <float[2,2] a = {1, 2, 3, 4}, float[3,2] b = {5, 6, 7, 8, 9, 10}, float[1,2] c = {11, 12}" B "> "
        "{ p = Gemm <transB = 1> (x, a, ka) q = Gemm <transB = 1> (x, b, kb) r = Gemm <transB = 1> (x, c, kc) y = Concat <axis = -1> (r, q, p) }",
        "(float[n,2] x) => (y) <float[6,2] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, float[6] k = {1, 2, 3, 4, 5, 6}, int64[3] s = {2, 3, 1}> "
        "{ t = Gemm <transB = 1> (x, w, k) p, q, r = Split <axis = -1> (t, s) y = Concat <axis = -1> (r, q, p) }");
}

static void test_left(void **state) {
    static const char *const text[] = {
        "(float[4,n,2] x) => (y) <" W "> { p = MatMul (x, a) q = MatMul (x, b) y = Concat <axis = -1> (q, p) }",                                     /* two for two */
        "(float[4,n,2] x) => (p, y) <" W "> { p = MatMul (x, a) q = MatMul (x, b) r = MatMul (x, c) y = Concat <axis = -1> (r, q) }",                /* one is an output */
        "(float[4,n,2] x) => (y) <" W "> { p = MatMul (x, a) q = MatMul (x, b) r = MatMul (x, a) y = Concat <axis = -1> (r, q, p) }",                /* a weight is shared */
        "(float[4,n,2] x, float[2,2] v) => (y) <" W "> { p = MatMul (x, v) q = MatMul (x, b) r = MatMul (x, c) y = Concat <axis = -1> (r, q, p) }",
        "(float[2,2] x) => (y) <" W "> { p = MatMul (x, a) q = MatMul (x, b) r = MatMul (a, x) s = Concat <axis = -1> (p, q) y = Concat <axis = -1> (r, s) }",   /* on the other side */
        "(float[4,n,2] x) => (y) <" W B "> { p = MatMul (x, a) pb = Add (p, ka) q = MatMul (x, b) y = Concat <axis = -1> (q, pb) }",                 /* a bias on one of two */
        "(float[n,2] x) => (y) <" W "> { p = Gemm (x, a) q = Gemm (x, b) r = Gemm <alpha = 2.0> (x, c) y = Concat <axis = -1> (r, q, p) }"};
    (void)state;
    for (int i = 0; i < FY_COUNT(text); i++) assert_left("siblings", text[i], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_merged), cmocka_unit_test(test_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
