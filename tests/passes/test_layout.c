/* SPDX-License-Identifier: Apache-2.0
 * test_layout.c - chains of views and transposes become the shortest that does the same. */
#include "pass_text.h"

static void test_chains(void **state) {
    (void)state;
    assert_becomes("layout", "(float[b,h,s,8] x) => (y) <int64[1] z = {0}> { u = Unsqueeze (x, z) t = Transpose <perm = [0, 1, 2, 4, 3]> (u) v = Squeeze (t, z) y = Relu (v) }",
        "(float[b,h,s,8] x) => (y) { v = Transpose <perm = [0, 1, 3, 2]> (x) y = Relu (v) }");
}

static void test_merged_heads(void **state) {
    (void)state;
    assert_becomes("layout", "(float[2,4,5,8] x) => (y) <int64[3] m = {8, 5, 8}, int64[4] k = {2, 4, 8, 5}> { a = Reshape (x, m) t = Transpose <perm = [0, 2, 1]> (a) y = Reshape (t, k) }",
        "(float[2,4,5,8] x) => (y) { y = Transpose <perm = [0, 1, 3, 2]> (x) }");
    assert_becomes("layout", "(float[5,n,32] x) => (y) <int64[3] m = {5, -1, 8}, int64[4] k = {-1, 4, 8, 5}> { a = Reshape (x, m) t = Transpose <perm = [1, 2, 0]> (a) y = Reshape (t, k) }",
        "(float[5,n,32] x) => (y) <int64[4] const = {0, 4, 8, 5}> { t = Transpose <perm = [1, 2, 0]> (x) y = Reshape (t, const) }");
    /* sizes of 1 move for nothing */
    assert_becomes("layout", "(float[n,1,6] x) => (y) <int64[3] k = {-1, 2, 3}> { t = Transpose <perm = [1, 0, 2]> (x) y = Reshape (t, k) }",
        "(float[n,1,6] x) => (y) <int64[3] const = {0, 2, 3}> { y = Reshape (x, const) }");
    assert_becomes("layout", "(float[2,3,4] x) => (y) <int64[2] k = {4, 6}, int64[3] m = {4, 2, 3}> { t = Transpose <perm = [2, 0, 1]> (x) a = Reshape (t, k) b = Reshape (a, m) "
        "u = Transpose <perm = [1, 2, 0]> (b) y = Relu (u) }", "(float[2,3,4] x) => (y) { y = Relu (x) }");
}

static void test_left(void **state) {
    (void)state;
    assert_left("layout", "(float[2,3,4] x) => (y) <int64[2] k = {4, 6}> { t = Transpose <perm = [2, 1, 0]> (x) y = Reshape (t, k) }", 0);        /* mixes axes: both are needed */
    assert_left("layout", "(float[2,4,5,8] x) => (y, t) <int64[3] m = {8, 5, 8}, int64[4] k = {2, 4, 8, 5}> { a = Reshape (x, m) t = Transpose <perm = [0, 2, 1]> (a) y = Reshape (t, k) }", 0);
    assert_left("layout", "(float[2,6] x) => (y) <int64[2] m = {3, 4}, int64[2] k = {2, 6}> { a = Reshape (x, m) t = Transpose <perm = [1, 0]> (a) y = Reshape (t, k) }", 0);
    assert_left("layout", "(float[n,m] x) => (y) { t = Transpose (x) y = Flatten <axis = 0> (t) }", 0);
}

/* Packed queries, keys and values: the axis that three Gathers take apart is cut where it comes from. */
static void test_parts(void **state) {
    (void)state;
#define PACKED "(float[5,n,12] x) => (y) <int64[4] s = {5, -1, 3, 4}, int64[4] h = {5, -1, 2, 2}, int64 i0 = {0}, int64 i1 = {1}, int64 i2 = {-1}> "
    assert_becomes("layout", PACKED "{ r = Reshape (x, s) t = Transpose <perm = [2, 0, 1, 3]> (r) a = Gather (t, i0) b = Gather (t, i1) c = Gather (t, i2) "
        "ra = Reshape (a, h) rb = Reshape (b, h) rc = Reshape (c, h) d = Add (ra, rb) y = Mul (d, rc) }",
        "(float[5,n,12] x) => (y) <int64[3] cut = {4, 4, 4}, int64[4] h = {5, 0, 2, 2}> { a, b, c = Split <axis = 2> (x, cut) ra = Reshape (a, h) rb = Reshape (b, h) rc = Reshape (c, h) "
        "d = Add (ra, rb) y = Mul (d, rc) }");
    /* heads are cut and turned after the Gather, of sizes that another cut would fit as well */
    assert_becomes("layout", "(float[8,1,24] x) => (y) <int64[4] s = {8, 1, 3, 8}, int64[3] h = {8, 2, 4}, int64[4] g = {1, 2, 8, 4}, int64 i0 = {0}, int64 i1 = {1}, int64 i2 = {2}> "
        "{ r = Reshape (x, s) t = Transpose <perm = [2, 0, 1, 3]> (r) a = Gather (t, i0) b = Gather (t, i1) c = Gather (t, i2) ra = Reshape (a, h) rb = Reshape (b, h) rc = Reshape (c, h) "
        "ta = Transpose <perm = [1, 0, 2]> (ra) tb = Transpose <perm = [1, 0, 2]> (rb) tc = Transpose <perm = [1, 0, 2]> (rc) "
        "ga = Reshape (ta, g) gb = Reshape (tb, g) gc = Reshape (tc, g) d = Add (ga, gb) y = Mul (d, gc) }",
        "(float[8,1,24] x) => (y) <int64[3] cut = {8, 8, 8}, int64[4] h = {1, 8, 2, 4}> { a, b, c = Split <axis = 2> (x, cut) ra = Reshape (a, h) ta = Transpose <perm = [0, 2, 1, 3]> (ra) "
        "rb = Reshape (b, h) tb = Transpose <perm = [0, 2, 1, 3]> (rb) rc = Reshape (c, h) tc = Transpose <perm = [0, 2, 1, 3]> (rc) d = Add (ta, tb) y = Mul (d, tc) }");
    /* one index is not taken; one is taken twice; the axis is not outermost in what it comes from; somebody reads the whole */
    assert_left("layout", PACKED "{ r = Reshape (x, s) t = Transpose <perm = [2, 0, 1, 3]> (r) a = Gather (t, i0) b = Gather (t, i1) y = Mul (a, b) }", 0);
    assert_left("layout", PACKED "{ r = Reshape (x, s) t = Transpose <perm = [2, 0, 1, 3]> (r) a = Gather (t, i0) b = Gather (t, i1) c = Gather (t, i1) d = Add (a, b) y = Mul (d, c) }", 0);
    assert_left("layout", "(float[5,n,12] x) => (y) <int64[4] s = {5, -1, 4, 3}, int64 i0 = {0}, int64 i1 = {1}, int64 i2 = {2}> "
        "{ r = Reshape (x, s) t = Transpose <perm = [3, 0, 1, 2]> (r) a = Gather (t, i0) b = Gather (t, i1) c = Gather (t, i2) d = Add (a, b) y = Mul (d, c) }", 0);
    assert_left("layout", PACKED "{ r = Reshape (x, s) t = Transpose <perm = [2, 0, 1, 3]> (r) a = Gather (t, i0) b = Gather (t, i1) c = Gather (t, i2) d = Add (a, b) e = Mul (d, c) y = Add (e, t) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chains), cmocka_unit_test(test_merged_heads), cmocka_unit_test(test_left), cmocka_unit_test(test_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
