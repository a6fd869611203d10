/* SPDX-License-Identifier: Apache-2.0
 * test_identity.c - nodes that return what is there already go; outputs of the model keep their names. */
#include "pass_text.h"

static void test_drops(void **state) {
    static const char *const nothing[] = {"b = Identity (a)", "b = Cast <to = 1> (a)", "b = Reshape (a, k23)", "b = Transpose <perm = [0, 1]> (a)", "b = Add (a, zero)",
        "b = Mul (one, a)", "b = Div (a, one)", "b = Sub (a, zero)", "b = Pow (a, one)", "b = Concat <axis = 0> (a)", "b = Dropout (a)", "b = Pad (a, p0)",
        "b = Slice (a, s0, big, ax)", "b = Expand (a, k23)", "b = Max (a)", "b = Sum (a)", "b = Clip (a)", "b = Where (yes, a, a)", "b = Resize (a, , , k23)"};
    (void)state;
    for (int i = 0; i < FY_COUNT(nothing); i++) {
        char text[600];
        snprintf(text, sizeof text, "(float[2,3] x) => (y) <int64[2] k23 = {2, 3}, float zero = {0}, float one = {1}, int64[4] p0 = {0, 0, 0, 0}, int64[1] s0 = {0}, "
            "int64[1] big = {9223372036854775807}, int64[1] ax = {1}, bool yes = {1}> { a = Relu (x) %s y = Exp (b) }", nothing[i]);
        fy_model *m = model_of(text);
        if (run_pass(m, "identity", NULL) != 1) fail_msg("%s stays", nothing[i]);
        assert_int_equal(m->graph->nnodes, 2);
        fy_model_free(m);
    }
}

static void test_keeps(void **state) {
    static const char *const something[] = {"b = Cast <to = 11> (a)", "b = Reshape (a, k32)", "b = Transpose (a)", "b = Add (a, wide)", "b = Mul (a, zero)", "b = Div (one, a)",
        "b = Sub (zero, a)", "b = Pow (one, a)", "b = Slice (a, s1, big, ax)", "b = Max (a, wide)", "b = Clip (a, zero)"};
    (void)state;
    for (int i = 0; i < FY_COUNT(something); i++) {
        char text[600];
        snprintf(text, sizeof text, "(float[2,3] x) => (y) <int64[2] k32 = {3, 2}, float zero = {0}, float one = {1}, float[1,1,1] wide = {0}, int64[1] s1 = {1}, "
            "int64[1] big = {9223372036854775807}, int64[1] ax = {1}> { a = Relu (x) %s y = Exp (b) }", something[i]);
        fy_model *m = model_of(text);
        if (run_pass(m, "identity", NULL)) fail_msg("%s went", something[i]);
        fy_model_free(m);
    }
}

static void test_logic(void **state) {
    (void)state;
    assert_becomes("identity", "(bool[n] x) => (y) <bool t = {1}, bool f = {0}> { a = And (t, x) b = Or (a, f) c = Xor (b, f) y = Not (c) }", "(bool[n] x) => (y) { y = Not (x) }");
    assert_left("identity", "(bool[n] x) => (y) <bool t = {1}, bool f = {0}> { a = And (f, x) b = Or (a, t) c = Xor (b, t) y = Not (c) }", 0);
}

static void test_outputs_keep_names(void **state) {
    (void)state;
    assert_pass("identity", "(float[2] x) => (y) { a = Relu (x) y = Identity (a) }", "(float[2] x) => (y) { y = Relu (x) }");
    /* of an input, of a constant, of another output: the node has to stay */
    assert_pass("identity", "(float[2] x) => (y) { y = Identity (x) }", "(float[2] x) => (y) { y = Identity (x) }");
    assert_pass("identity", "(float[2] x) => (y) <float[2] w = {1, 2}> { y = Identity (w) }", "(float[2] x) => (y) <float[2] w = {1, 2}> { y = Identity (w) }");
    assert_pass("identity", "(float[2] x) => (y, z) { y = Relu (x) z = Identity (y) }", "(float[2] x) => (y, z) { y = Relu (x) z = Identity (y) }");
    assert_pass("identity", "(float[2] x) => (y, z) { a = Relu (x) y = Identity (a) z = Identity (a) }", "(float[2] x) => (y, z) { y = Relu (x) z = Identity (y) }");
    assert_pass("identity", "(float[2] x) => (y) { a = Identity (x) b = Identity (a) c = Identity (b) y = Neg (c) }", "(float[2] x) => (y) { y = Neg (x) }");
}

static void test_bodies(void **state) {
    (void)state;
    assert_pass("identity",
        "(float[2] x, bool c) => (y) { a = Identity (x) y = If <then_branch = t () => (p) { b = Identity (a) p = Neg (b) }, else_branch = f () => (q) { q = Identity (a) }> (c) }",
        "(float[2] x, bool c) => (y) { y = If <then_branch = t () => (p) { p = Neg (x) }, else_branch = f () => (q) { q = Identity (x) }> (c) }");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_drops), cmocka_unit_test(test_keeps), cmocka_unit_test(test_logic), cmocka_unit_test(test_outputs_keep_names), cmocka_unit_test(test_bodies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
