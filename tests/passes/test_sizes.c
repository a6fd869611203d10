/* SPDX-License-Identifier: Apache-2.0
 * test_sizes.c - values that hold the same sizes are one; sizes that a tensor has are read from it at once. */
#include "pass_text.h"

static void test_merged(void **state) {
    (void)state;
    /* n + n is 2 n, wherever it comes from */
    assert_becomes("sizes", "(float[n,k] x) => (y) <int64 two = {2}, int64[1] zero = {0}, int64 one = {1}, int64 z = {0}> { s = Shape (x) g = Gather (s, z) a = Add (g, g) b = Mul (g, two) p = Range (z, a, one) q = Range (z, b, one) y = Add (p, q) }",
        "(float[n,k] x) => (y) <int64 one = {1}, int64 z = {0}> { s = Shape (x) g = Gather (s, z) a = Add (g, g) p = Range (z, a, one) q = Range (z, a, one) y = Add (p, q) }");
    assert_left("sizes", "(float[n,k] x) => (p, q) <int64 one = {1}, int64 z = {0}> { s = Shape (x) g = Gather (s, z) h = Gather (s, one) p = Range (z, g, one) q = Range (z, h, one) }", 0);
}

static void test_read(void **state) {
    (void)state;
    assert_becomes("sizes", "(float[n,k,4] x, float[1] v) => (y) <int64 z = {0}, int64 one = {1}, int64[1] a = {0}> { s = Shape (x) g = Gather (s, z) h = Gather (s, one) gu = Unsqueeze (g, a) hu = Unsqueeze (h, a) "
        "t = Concat <axis = 0> (gu, hu) y = Expand (v, t) }",
        "(float[n,k,4] x, float[1] v) => (y) { t = Shape <start = 0, end = 2> (x) y = Expand (v, t) }");
    /* made by arithmetic in front of the tensor that has it; what reads it comes behind */
    assert_becomes("sizes", "(float[n,k] x) => (y, z) <int64[1] two = {2}, float one = {1}> { s = Shape <start = 0, end = 1> (x) t = Mul (s, two) c = Concat <axis = 0> (x, x) y = Relu (c) z = Expand (one, t) }",
        "(float[n,k] x) => (y, z) <float one = {1}> { c = Concat <axis = 0> (x, x) t = Shape <start = 0, end = 1> (c) y = Relu (c) z = Expand (one, t) }");
    /* and in front of it */
    assert_left("sizes", "(float[n,k] x) => (y, z) <int64[1] two = {2}, float one = {1}> { s = Shape <start = 0, end = 1> (x) t = Mul (s, two) z = Expand (one, t) c = Concat <axis = 0> (x, x) y = Relu (c) }", 0);
    /* before 15 Shape reads all or nothing */
    assert_left("sizes", "(float[n,k,4] x, float[1] v) => (y) <int64 z = {0}, int64[1] a = {0}> { s = Shape (x) g = Gather (s, z) t = Unsqueeze (g, a) y = Expand (v, t) }", 14);
    /* an output keeps its own node */
    assert_left("sizes", "(float[n,k,4] x) => (t) <int64 z = {0}, int64[1] a = {0}> { s = Shape (x) g = Gather (s, z) t = Unsqueeze (g, a) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_merged), cmocka_unit_test(test_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
