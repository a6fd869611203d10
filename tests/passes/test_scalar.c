/* SPDX-License-Identifier: Apache-2.0
 * test_scalar.c - arithmetic with constants in a row. */
#include "pass_text.h"

static void test_products(void **state) {
    (void)state;
    assert_becomes("scalar", "(float[n,3] x) => (y) <float a = {2}, float b = {0.25}> { t = Mul (x, a) y = Mul (b, t) }", "(float[n,3] x) => (y) <float c = {0.5}> { y = Mul (x, c) }");
    assert_becomes("scalar", "(float[n,3] x) => (y) <float a = {2}, float b = {4}> { t = Div (x, a) y = Div (t, b) }", "(float[n,3] x) => (y) <float c = {8}> { y = Div (x, c) }");
    assert_becomes("scalar", "(float[n,3] x) => (y) <float a = {2}, float[1] b = {8}> { t = Div (x, a) y = Mul (t, b) }", "(float[n,3] x) => (y) <float c = {4}> { y = Mul (x, c) }");
    assert_becomes("scalar", "(float[2,3] x, float[3,4] z) => (y) <float a = {2}, float b = {4}> { s = Mul (x, a) t = Mul (b, z) y = MatMul (s, t) }",
        "(float[2,3] x, float[3,4] z) => (y) <float c = {8}> { s = Mul (x, c) y = MatMul (s, z) }");
}

static void test_sums(void **state) {
    (void)state;
    assert_becomes("scalar", "(float[n,3] x) => (y) <float a = {2}, float b = {3}> { t = Add (x, a) y = Add (b, t) }", "(float[n,3] x) => (y) <float c = {5}> { y = Add (x, c) }");
    assert_becomes("scalar", "(float[n,3] x) => (y) <float a = {2}, float b = {3}> { t = Sub (x, a) y = Sub (t, b) }", "(float[n,3] x) => (y) <float c = {5}> { y = Sub (x, c) }");
    assert_becomes("scalar", "(float[n,3] x) => (y) <float[3] a = {2, 3, 4}, float b = {3}> { t = Add (x, a) y = Add (b, t) }",
        "(float[n,3] x) => (y) <float[3] a = {2, 3, 4}, float b = {3}> { c = Add (a, b) y = Add (x, c) }");
}

static void test_logic(void **state) {
    (void)state;
    assert_becomes("scalar", "(bool[3] c, float[3] a, float[3] b) => (y) { n = Not (c) y = Where (n, a, b) }", "(bool[3] c, float[3] a, float[3] b) => (y) { y = Where (c, b, a) }");
    assert_becomes("scalar", "(float[3] x) => (y) { a = Neg (x) b = Neg (a) y = Exp (b) }", "(float[3] x) => (y) { y = Exp (x) }");
    assert_becomes("scalar", "(float[3] x) => (y) { a = Relu (x) b = Relu (a) y = Exp (b) }", "(float[3] x) => (y) { a = Relu (x) y = Exp (a) }");
}

static void test_left(void **state) {
    (void)state;
    assert_left("scalar", "(float[3] x) => (y) <float a = {12582912}, float b = {-12582912}> { t = Add (x, a) y = Add (b, t) }", 0);      /* rounds to integers */
    assert_left("scalar", "(float[3] x) => (y) <float a = {1e-30}, float b = {1e-30}> { t = Mul (x, a) y = Mul (b, t) }", 0);             /* the product is 0 */
    assert_left("scalar", "(float[3] x) => (y) <float a = {1e30}, float b = {1e30}> { t = Mul (x, a) y = Mul (b, t) }", 0);
    assert_left("scalar", "(int32[3] x) => (y) <int32 a = {3}, int32 b = {3}> { t = Div (x, a) y = Mul (b, t) }", 0);                     /* integers truncate */
    assert_left("scalar", "(float[3] x) => (t, y) <float a = {2}, float b = {3}> { t = Mul (x, a) y = Mul (b, t) }", 0);
    assert_left("scalar", "(float[3] x) => (y, z) <float a = {2}, float b = {3}> { t = Mul (x, a) y = Mul (b, t) z = Exp (t) }", 0);
    assert_left("scalar", "(float[3] x) => (y) <float[1,1] a = {2}, float b = {3}> { t = Mul (x, a) y = Mul (b, t) }", 0);                /* widens the rank */
    assert_left("scalar", "(float[3] x) => (y) <float a = {2}, float b = {3}> { t = Mul (x, a) y = Add (b, t) }", 0);
    assert_left("scalar", "(float16[2,3] x, float16[3,4] z) => (y) <float16 a = {2}, float16 b = {4}> { s = Mul (x, a) t = Mul (b, z) y = MatMul (s, t) }", 0);
    assert_left("scalar", "(float[3] x) => (y) <float a = {2}, float b = {3}> { t = Div (a, x) y = Mul (b, t) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_sums), cmocka_unit_test(test_logic), cmocka_unit_test(test_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
