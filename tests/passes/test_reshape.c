/* SPDX-License-Identifier: Apache-2.0
 * test_reshape.c - computed reshape targets become constants where one -1 says the rest. */
#include "pass_text.h"

static void test_targets(void **state) {
    (void)state;
    assert_pass("reshape", "(float[n,4,2] x) => (y) <int64[1] eight = {8}> { s = Shape <start = 0, end = 1> (x) t = Concat <axis = 0> (s, eight) y = Reshape (x, t) }",
        "(float[n,4,2] x) => (y) <int64[2] const = {0, 8}> { y = Reshape (x, const) }");
    /* the size moved: -1 */
    assert_pass("reshape", "(float[n,4,2] x) => (y) <int64[1] eight = {8}> { s = Shape <start = 0, end = 1> (x) t = Concat <axis = 0> (eight, s) y = Reshape (x, t) }",
        "(float[n,4,2] x) => (y) <int64[2] const = {8, -1}> { y = Reshape (x, const) }");
}

/* Two sizes that nothing says, or one beside a -1 that is there already: the computation has to stay. */
static void test_too_many_unknown(void **state) {
    static const char *const text[] = {
        "(float[n,k,2] x) => (y) { a = Shape <start = 0, end = 1> (x) b = Shape <start = 1, end = 3> (x) t = Concat <axis = 0> (b, a) y = Reshape (x, t) }",
        "(float[n,k,2] x) => (y) <int64[1] rest = {-1}> { a = Shape <start = 0, end = 1> (x) t = Concat <axis = 0> (rest, a) y = Reshape (x, t) }"};
    (void)state;
    for (int i = 0; i < FY_COUNT(text); i++) {
        fy_model *m = model_of(text[i]);
        assert_int_equal(run_pass(m, "reshape", NULL), 0);
        fy_model_free(m);
    }
}

static void test_numbers(void **state) {
    fy_tensor before, after;
    (void)state;
    fy_model *m = model_of("(float[n,4,k] x) => (y) <int64[1] two = {2}> { a = Shape <start = 0, end = 1> (x) b = Shape <start = 2> (x) c = Mul (b, two) "
        "t = Concat <axis = 0> (a, two, c) y = Reshape (x, t) }");
    run_model(m, 0, &before);
    assert_int_equal(run_pass(m, "reshape", NULL), 1);
    run_model(m, 0, &after);
    assert_near(&after, &before, 0);
    fy_tensor_free(&before);
    fy_tensor_free(&after);
    fy_model_free(m);
}

static void test_expand(void **state) {
    (void)state;
    assert_becomes("reshape", "(float[n,1,2] x) => (y) <int64[1] eight = {8}> { s = Shape (x) a = Shape <start = 0, end = 1> (x) b = Shape <start = 2> (x) t = Concat <axis = 0> (a, eight, b) y = Expand (x, t) }",
        "(float[n,1,2] x) => (y) <int64[3] k = {1, 8, 1}> { y = Expand (x, k) }");
    /* beside an operand of the expanded shape the broadcast happens anyway */
    assert_becomes("reshape", "(float[n,4] x, float[1,4] b) => (y) { s = Shape (x) e = Expand (b, s) y = Add (e, x) }", "(float[n,4] x, float[1,4] b) => (y) { y = Add (b, x) }");
    assert_left("reshape", "(float[n,4] x, float[1,4] b, float[1,4] z) => (y) { s = Shape (x) e = Expand (b, s) y = Add (e, z) }", 0);
    assert_left("reshape", "(float[n,k] x, float[1,1] b) => (y) { s = Shape (x) y = Expand (b, s) }", 0);
}

/* The target was exact; what replaces it copies, as no size is 0 for certain. */
static void test_allowzero(void **state) {
    (void)state;
    assert_becomes("reshape", "(float[n,8] x) => (y) <int64[2] k = {2, 4}> { a = Shape <start = 0, end = 1> (x) t = Concat <axis = 0> (a, k) y = Reshape <allowzero = 1> (x, t) }",
        "(float[n,8] x) => (y) <int64[3] k = {0, 2, 4}> { y = Reshape (x, k) }");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_targets), cmocka_unit_test(test_too_many_unknown), cmocka_unit_test(test_numbers), cmocka_unit_test(test_expand), cmocka_unit_test(test_allowzero)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
