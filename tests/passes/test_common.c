/* SPDX-License-Identifier: Apache-2.0
 * test_common.c - equal nodes become one; what differs in an attribute, an input or by chance does not. */
#include "pass_text.h"

static void test_merges(void **state) {
    (void)state;
    assert_pass("common", "(float[2] x) => (y) { a = Relu (x) b = Relu (x) c = Exp (a) d = Exp (b) y = Add (c, d) }",
        "(float[2] x) => (y) { a = Relu (x) c = Exp (a) y = Add (c, c) }");
    assert_pass("common", "(float[2,4] x) => (y) <int64[2] n = {2, 2}> { a, b = Split <axis = 1> (x, n) c, d = Split <axis = 1> (x, n) y = Concat <axis = 0> (a, b, c, d) }",
        "(float[2,4] x) => (y) <int64[2] n = {2, 2}> { a, b = Split <axis = 1> (x, n) y = Concat <axis = 0> (a, b, a, b) }");
}

static void test_keeps(void **state) {
    static const char *const pair[] = {"a = Softmax <axis = 0> (x) b = Softmax <axis = 1> (x)", "a = Elu <alpha = 0.5> (x) b = Elu <alpha = 0.25> (x)", "a = Sub (x, z) b = Sub (z, x)",
        "a = RandomNormalLike (x) b = RandomNormalLike (x)", "a = Dropout (x, half, yes) b = Dropout (x, half, yes)", "a = com.acme.F (x) b = com.acme.F (x)",
        "a = Transpose <perm = [0, 1]> (x) b = Transpose <perm = [1, 0]> (x)", "a = Gelu <approximate = \"none\"> (x) b = Gelu <approximate = \"tanh\"> (x)",
        "a = Clip (x, \"\", half) b = Clip (x, half)"};
    (void)state;
    for (int i = 0; i < FY_COUNT(pair); i++) {
        char text[400];
        snprintf(text, sizeof text, "(float[2,2] x, float[2,2] z) => (y) <float half = {0.5}, bool yes = {1}> { %s y = Add (a, b) }", pair[i]);
        fy_model *m = model_of(text);
        if (run_pass(m, "common", NULL)) fail_msg("merged: %s", pair[i]);
        fy_model_free(m);
    }
}

/* Every output of the model keeps a producer of its own and its name. */
static void test_outputs(void **state) {
    (void)state;
    assert_pass("common", "(float[2] x) => (y, z) { y = Relu (x) z = Relu (x) }", "(float[2] x) => (y, z) { y = Relu (x) z = Relu (x) }");
    assert_pass("common", "(float[2] x) => (y, z) { y = Relu (x) a = Relu (x) z = Exp (a) }", "(float[2] x) => (y, z) { y = Relu (x) z = Exp (y) }");
}

/* Uses in bodies follow; equal nodes of different graphs stay apart. */
static void test_bodies(void **state) {
    (void)state;
    assert_pass("common",
        "(float[2] x, bool c) => (y) { a = Relu (x) b = Relu (x) y = If <then_branch = t () => (p) { p = Add (a, b) }, else_branch = f () => (q) { r = Relu (x) q = Neg (r) }> (c) }",
        "(float[2] x, bool c) => (y) { a = Relu (x) y = If <then_branch = t () => (p) { p = Add (a, a) }, else_branch = f () => (q) { r = Relu (x) q = Neg (r) }> (c) }");
}

/* An optional output that only the later node wants. */
static void test_optional_outputs(void **state) {
    (void)state;
    fy_model *m = model_of("(float[1,1,4] x) => (y) { a = MaxPool <kernel_shape = [2]> (x) b, i = MaxPool <kernel_shape = [2]> (x) f = Cast <to = 1> (i) s = Add (a, b) y = Add (s, f) }");
    fy_tensor before, after;
    run_model(m, 0, &before);
    run_pass(m, "common", NULL);
    run_model(m, 0, &after);
    assert_near(&after, &before, 0);
    fy_tensor_free(&before);
    fy_tensor_free(&after);
    fy_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_merges), cmocka_unit_test(test_keeps), cmocka_unit_test(test_outputs), cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_optional_outputs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
