/* SPDX-License-Identifier: Apache-2.0
 * test_control.c - If and Loop whose course is known. */
#include "pass_text.h"

static void test_if(void **state) {
    (void)state;
    assert_becomes("control", "(float[3] x) => (y) <bool c = {1}, float k = {2}> { a = Relu (x) r = If <then_branch = t () => (p) <float two = {2}> { q = Mul (a, two) p = Exp (q) }, "
        "else_branch = e () => (u) { u = Neg (a) }> (c) y = Sqrt (r) }", "(float[3] x) => (y) <float two = {2}> { a = Relu (x) q = Mul (a, two) p = Exp (q) y = Sqrt (p) }");
    /* the branch gives a value from outside: an output of the graph keeps its name */
    assert_becomes("control", "(float[3] x) => (y) <bool[1] c = {0}> { y = If <then_branch = t () => (p) { p = Exp (x) }, else_branch = e () => (u) { u = Identity (x) }> (c) }",
        "(float[3] x) => (y) { y = Identity (x) }");
    /* an If in an If */
    assert_becomes("control", "(float[3] x, bool d) => (y) <bool c = {1}> { y = If <then_branch = t () => (p) { p = If <then_branch = t2 () => (p2) { p2 = Exp (x) }, else_branch = e2 () => (u2) { u2 = Neg (x) }> (d) }, "
        "else_branch = e () => (u) { u = Neg (x) }> (c) }",
        "(float[3] x, bool d) => (y) { y = If <then_branch = t2 () => (p2) { p2 = Exp (x) }, else_branch = e2 () => (u2) { u2 = Neg (x) }> (d) }");
    assert_left("control", "(float[3] x, bool c) => (y) { y = If <then_branch = t () => (p) { p = Exp (x) }, else_branch = e () => (u) { u = Neg (x) }> (c) }", 0);
}

#define BODY "body = b (int64 i, bool c, float[3] v) => (c2, w, s) { c2 = Identity (c) w = Mul (v, x) s = Exp (v) }"

static void test_loop(void **state) {
    (void)state;
    assert_becomes("control", "(float[3] x) => (y, z) <int64 m = {1}> { y, z = Loop <" BODY "> (m, , x) }",
        "(float[3] x) => (y, z) <bool yes = {1}, int64[1] zero = {0}> { c2 = Identity (yes) y = Mul (x, x) s = Exp (x) z = Unsqueeze (s, zero) }");
    assert_becomes("control", "(float[3] x) => (q) <int64 m = {0}> { y, z = Loop <" BODY "> (m, , x) q = Exp (y) }", "(float[3] x) => (q) { q = Exp (x) }");
    assert_becomes("control", "(float[3] x, int64 m) => (q) <bool no = {0}> { y, z = Loop <" BODY "> (m, no, x) q = Exp (y) }", "(float[3] x, int64 m) => (q) { q = Exp (x) }");
    assert_left("control", "(float[3] x) => (y, z) <int64 m = {2}> { y, z = Loop <" BODY "> (m, , x) }", 0);
    assert_left("control", "(float[3] x, int64 m) => (y, z) { y, z = Loop <" BODY "> (m, , x) }", 0);
    assert_left("control", "(float[3] x) => (y, z) <int64 m = {0}> { y, z = Loop <" BODY "> (m, , x) }", 0);          /* an empty scan output has no maker */
    assert_left("control", "(float[3] x, bool c) => (y, z) <int64 m = {1}> { y, z = Loop <" BODY "> (m, c, x) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_if), cmocka_unit_test(test_loop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
