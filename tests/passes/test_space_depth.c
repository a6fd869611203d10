/* SPDX-License-Identifier: Apache-2.0
 * test_space_depth.c - blocks between channels and space. */
#include "pass_text.h"

static void test_recognised(void **state) {
    (void)state;
    assert_becomes("space-depth", "(float[n,8,3,5] x) => (y) <int64[6] s = {-1, 2, 2, 2, 3, 5}, int64[4] o = {-1, 2, 6, 10}> { a = Reshape (x, s) t = Transpose <perm = [0, 3, 4, 1, 5, 2]> (a) y = Reshape (t, o) }",
        "(float[n,8,3,5] x) => (y) { y = DepthToSpace <blocksize = 2, mode = \"DCR\"> (x) }");
    assert_becomes("space-depth", "(float[n,8,3,5] x) => (y) <int64[6] s = {-1, 2, 2, 2, 3, 5}, int64[4] o = {-1, 2, 6, 10}> { a = Reshape (x, s) t = Transpose <perm = [0, 1, 4, 2, 5, 3]> (a) y = Reshape (t, o) }",
        "(float[n,8,3,5] x) => (y) { y = DepthToSpace <blocksize = 2, mode = \"CRD\"> (x) }");
    assert_becomes("space-depth", "(float[n,2,6,4] x) => (y) <int64[6] s = {-1, 2, 3, 2, 2, 2}, int64[4] o = {-1, 8, 3, 2}> { a = Reshape (x, s) t = Transpose <perm = [0, 3, 5, 1, 2, 4]> (a) y = Reshape (t, o) }",
        "(float[n,2,6,4] x) => (y) { y = SpaceToDepth <blocksize = 2> (x) }");
    assert_becomes("space-depth", "(float[n,2,6,4] x) => (y) <int64[6] s = {-1, 2, 3, 2, 2, 2}, int64[4] o = {-1, 8, 3, 2}> { a = Reshape (x, s) t = Transpose <perm = [0, 1, 3, 5, 2, 4]> (a) y = Reshape (t, o) }",
        "(float[n,2,6,4] x) => (y) { y = SpaceToDepth <blocksize = 2, mode = \"CRD\"> (x) }");
}

static void test_left(void **state) {
    (void)state;
    assert_left("space-depth", "(float[1,2,6,4] x) => (y) <int64[6] s = {-1, 2, 3, 2, 2, 2}, int64[4] o = {-1, 8, 3, 2}> { a = Reshape (x, s) t = Transpose <perm = [0, 1, 3, 5, 2, 4]> (a) y = Reshape (t, o) }", 27);
    assert_left("space-depth", "(float[1,8,3,5] x) => (y) <int64[6] s = {-1, 2, 2, 2, 3, 5}, int64[4] o = {-1, 2, 10, 6}> { a = Reshape (x, s) t = Transpose <perm = [0, 3, 4, 1, 5, 2]> (a) y = Reshape (t, o) }", 0);
    assert_left("space-depth", "(float[1,12,3,5] x) => (y) <int64[6] s = {-1, 2, 3, 2, 3, 5}, int64[4] o = {-1, 2, 6, 15}> { a = Reshape (x, s) t = Transpose <perm = [0, 3, 4, 1, 5, 2]> (a) y = Reshape (t, o) }", 0);
    assert_left("space-depth", "(float[1,8,3,5] x) => (y, t) <int64[6] s = {-1, 2, 2, 2, 3, 5}, int64[4] o = {-1, 2, 6, 10}> { a = Reshape (x, s) t = Transpose <perm = [0, 3, 4, 1, 5, 2]> (a) y = Reshape (t, o) }", 0);
    assert_left("space-depth", "(float[1,8,3,5] x) => (y) <int64[6] s = {-1, 2, 2, 2, 3, 5}, int64[4] o = {-1, 2, 6, 10}> { a = Reshape (x, s) t = Transpose <perm = [0, 3, 4, 2, 5, 1]> (a) y = Reshape (t, o) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recognised), cmocka_unit_test(test_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
