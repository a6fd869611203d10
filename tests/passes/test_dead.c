/* SPDX-License-Identifier: Apache-2.0
 * test_dead.c - what nothing uses goes: chains, bodies, constants; what a body reads, what is random or unknown. */
#include "pass_text.h"

static void test_chain(void **state) {
    (void)state;
    assert_pass("dead", "(float[2] x) => (y) <float[2] w = {1, 2}, float[1] lost = {3}> { a = Relu (x) b = Add (a, w) c = Exp (b) y = Neg (x) }",
        "(float[2] x) => (y) { y = Neg (x) }");
}

static void test_one_output_of_several(void **state) {
    (void)state;
    assert_pass("dead", "(float[2,4] x) => (y) <int64[2] n = {2, 2}> { y, z = Split <axis = 1> (x, n) }",
        "(float[2,4] x) => (y) <int64[2] n = {2, 2}> { y, z = Split <axis = 1> (x, n) }");
}

/* A body's dead node no longer keeps the value alive that it read from outside. */
static void test_bodies(void **state) {
    (void)state;
    assert_pass("dead",
        "(float[2] x, bool c) => (y) { a = Relu (x) y = If <then_branch = t () => (p) { gone = Exp (a) p = Neg (x) }, else_branch = f () => (q) { q = Abs (x) }> (c) }",
        "(float[2] x, bool c) => (y) { y = If <then_branch = t () => (p) { p = Neg (x) }, else_branch = f () => (q) { q = Abs (x) }> (c) }");
    assert_pass("dead",
        "(float[2] x, bool c) => (y) { a = Relu (x) y = If <then_branch = t () => (p) { p = Neg (a) }, else_branch = f () => (q) { q = Abs (x) }> (c) }",
        "(float[2] x, bool c) => (y) { a = Relu (x) y = If <then_branch = t () => (p) { p = Neg (a) }, else_branch = f () => (q) { q = Abs (x) }> (c) }");
    assert_pass("dead",
        "(float[2] x, bool c) => (y) { a = Relu (x) u = If <then_branch = t () => (p) { p = Neg (a) }, else_branch = f () => (q) { q = Abs (a) }> (c) y = Exp (x) }",
        "(float[2] x, bool c) => (y) { y = Exp (x) }");
}

static void test_random_goes_unknown_stays(void **state) {
    (void)state;
    assert_pass("dead", "(float[2] x) => (y) { r = RandomNormal <shape = [2]> () y = Neg (x) }", "(float[2] x) => (y) { y = Neg (x) }");
    fy_model *m = model_of("(float[2] x) => (y) { r = com.acme.Print (x) y = Neg (x) }");
    assert_int_equal(run_pass(m, "dead", NULL), 0);
    fy_model_free(m);
    m = model_of("(float[2] x, bool c) => (y) { u = If <then_branch = t () => (p) { p = com.acme.Print (x) }, else_branch = f () => (q) { q = Abs (x) }> (c) y = Exp (x) }");
    assert_int_equal(run_pass(m, "dead", NULL), 0);
    fy_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chain), cmocka_unit_test(test_one_output_of_several), cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_random_goes_unknown_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
