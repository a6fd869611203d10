/* SPDX-License-Identifier: Apache-2.0
 * test_reduce.c - reductions and softmax recognised from their parts. */
#include "pass_text.h"

#define A "int64[1] a = {1}, float two = {2}"

static void test_sums(void **state) {
    (void)state;
    assert_becomes("reduce", "(float[n,3] x) => (y) <" A "> { q = Pow (x, two) y = ReduceSum <keepdims = 0> (q, a) }", "(float[n,3] x) => (y) <int64[1] a = {1}> { y = ReduceSumSquare <keepdims = 0> (x, a) }");
    assert_becomes("reduce", "(float[n,3] x) => (y) <" A "> { q = Abs (x) y = ReduceSum (q, a) }", "(float[n,3] x) => (y) <int64[1] a = {1}> { y = ReduceL1 (x, a) }");
    assert_becomes("reduce", "(float[n,3] x) => (y) <" A "> { q = Mul (x, x) s = ReduceSum (q, a) y = Sqrt (s) }", "(float[n,3] x) => (y) <int64[1] a = {1}> { y = ReduceL2 (x, a) }");
    assert_becomes("reduce", "(float[n,3] x) => (y) <" A "> { q = Exp (x) s = ReduceSum (q, a) y = Log (s) }", "(float[n,3] x) => (y) <int64[1] a = {1}> { y = ReduceLogSumExp (x, a) }");
    assert_left("reduce", "(float[n,3] x, float[n,3] z) => (y) <" A "> { q = Mul (x, z) y = ReduceSum (q, a) }", 0);
    assert_left("reduce", "(float[n,3] x) => (y, q) <" A "> { q = Mul (x, x) y = ReduceSum (q, a) }", 0);
    assert_left("reduce", "(float[n,3] x) => (y, z) <" A "> { q = Abs (x) y = ReduceSum (q, a) z = Exp (q) }", 0);
    assert_left("reduce", "(float[n,3] x) => (y) <" A ", float three = {3}> { q = Pow (x, three) y = ReduceSum (q, a) }", 0);
}

static void test_softmax(void **state) {
    (void)state;
    assert_becomes("reduce", "(float[n,3] x) => (y) <" A "> { e = Exp (x) s = ReduceSum (e, a) y = Div (e, s) }", "(float[n,3] x) => (y) { y = Softmax <axis = -1> (x) }");
    assert_becomes("reduce", "(float[n,3,4] x) => (y) <" A "> { m = ReduceMax (x, a) d = Sub (x, m) e = Exp (d) s = ReduceSum (e, a) y = Div (e, s) }", "(float[n,3,4] x) => (y) { y = Softmax <axis = 1> (x) }");
    assert_becomes("reduce", "(float[n,3] x) => (y) { s = Softmax <axis = 0> (x) y = Log (s) }", "(float[n,3] x) => (y) { y = LogSoftmax <axis = 0> (x) }");
    assert_left("reduce", "(float[n,3] x) => (y, e) <" A "> { e = Exp (x) s = ReduceSum (e, a) y = Div (e, s) }", 0);
    assert_left("reduce", "(float[n,3] x) => (y) <int64[2] a = {0, 1}> { e = Exp (x) s = ReduceSum (e, a) y = Div (e, s) }", 0);       /* over both axes */
    assert_left("reduce", "(float[3,3] x) => (y) <" A "> { e = Exp (x) s = ReduceSum <keepdims = 0> (e, a) y = Div (e, s) }", 0);       /* along the other axis */
    assert_left("reduce", "(float[n,3] x) => (y, s) { s = Softmax <axis = 0> (x) y = Log (s) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums), cmocka_unit_test(test_softmax)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
