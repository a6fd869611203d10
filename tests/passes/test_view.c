/* SPDX-License-Identifier: Apache-2.0
 * test_view.c - chains of Reshape, Flatten, Squeeze, Unsqueeze; Reduce and Squeeze. */
#include "pass_text.h"

static void test_chains(void **state) {
    (void)state;
    assert_becomes("view", "(float[n,4,6] x) => (y) <int64[2] a = {-1, 6}, int64[4] b = {-1, 4, 2, 3}> { t = Reshape (x, a) y = Reshape (t, b) }",
        "(float[n,4,6] x) => (y) <int64[4] b = {-1, 4, 2, 3}> { y = Reshape (x, b) }");
    assert_becomes("view", "(float[2,3,4] x) => (y) <int64[3] s = {2, 2, 6}> { t = Flatten (x) y = Reshape (t, s) }",
        "(float[2,3,4] x) => (y) <int64[3] const = {2, 2, 6}> { y = Reshape (x, const) }");
    assert_becomes("view", "(float[n,3,4] x) => (y) <int64[1] one = {1}> { t = Unsqueeze (x, one) y = Flatten <axis = 3> (t) }",
        "(float[n,3,4] x) => (y) <int64[2] const = {-1, 4}> { y = Reshape (x, const) }");
    /* axes of the second count from what the first left */
    assert_becomes("view", "(float[n,m] x) => (y) <int64[2] a = {0, 2}, int64[2] b = {1, 5}> { t = Unsqueeze (x, a) y = Unsqueeze (t, b) }",
        "(float[n,m] x) => (y) <int64[4] const = {0, 1, 3, 5}> { y = Unsqueeze (x, const) }");
    assert_becomes("view", "(float[1,n,1,m,1] x) => (y) <int64[2] a = {0, 2}, int64[1] b = {-1}> { t = Squeeze (x, a) y = Squeeze (t, b) }",
        "(float[1,n,1,m,1] x) => (y) <int64[3] const = {0, 2, 4}> { y = Squeeze (x, const) }");
    assert_becomes("view", "(float[n,m] x) => (y) <int64[1] a = {1}> { t = Unsqueeze (x, a) s = Squeeze (t, a) y = Relu (s) }", "(float[n,m] x) => (y) { y = Relu (x) }");
}

static void test_reduce(void **state) {
    (void)state;
    assert_becomes("view", "(float[2,3,4] x) => (y) <int64[2] a = {-1, 1}, int64[2] b = {1, 2}> { t = ReduceMean (x, a) y = Squeeze (t, b) }",
        "(float[2,3,4] x) => (y) <int64[2] a = {-1, 1}> { y = ReduceMean <keepdims = 0> (x, a) }");
    assert_left("view", "(float[2,1,4] x) => (y) <int64[1] a = {2}, int64[2] b = {1, 2}> { t = ReduceMean (x, a) y = Squeeze (t, b) }", 0);
    assert_left("view", "(float[2,3,4] x) => (y, z) <int64[1] a = {2}> { t = ReduceMean (x, a) y = Squeeze (t, a) z = Relu (t) }", 0);
    assert_left("view", "(float[2,3,4] x) => (t, y) <int64[1] a = {2}> { t = ReduceMean (x, a) y = Squeeze (t, a) }", 0);
}

static void test_left(void **state) {
    (void)state;
    /* a use elsewhere; an output in the middle; two sizes that only the first view can say */
    assert_left("view", "(float[n,6] x) => (y, z) <int64[3] a = {0, 2, 3}, int64[3] b = {0, 3, 2}> { t = Reshape (x, a) y = Reshape (t, b) z = Relu (t) }", 0);
    assert_left("view", "(float[n,6] x) => (t, y) <int64[3] a = {0, 2, 3}, int64[3] b = {0, 3, 2}> { t = Reshape (x, a) y = Reshape (t, b) }", 0);
    assert_left("view", "(float[n,m,6] x) => (y) <int64[3] p = {2, 0, 1}, int64[1] a = {0}> { t = Unsqueeze (x, a) u = Transpose <perm = [3, 0, 1, 2]> (t) y = Flatten <axis = 2> (u) }", 0);
    assert_left("view", "(float x) => (y) <int64[1] s = {1}> { y = Reshape (x, s) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chains), cmocka_unit_test(test_reduce), cmocka_unit_test(test_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
