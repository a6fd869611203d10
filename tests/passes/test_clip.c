/* SPDX-License-Identifier: Apache-2.0
 * test_clip.c - limits in a row are one Clip. */
#include "pass_text.h"

static void test_merged(void **state) {
    (void)state;
    assert_becomes("clip", "(float[n,3] x) => (y) <float a = {-1}, float b = {0.5}> { t = Max (x, a) y = Min (b, t) }", "(float[n,3] x) => (y) <float a = {-1}, float b = {0.5}> { y = Clip (x, a, b) }");
    assert_becomes("clip", "(float[n,3] x) => (y) <float b = {6}> { t = Relu (x) y = Min (t, b) }", "(float[n,3] x) => (y) <float a = {0}, float b = {6}> { y = Clip (x, a, b) }");
    assert_becomes("clip", "(float[n,3] x) => (y) <float a = {-1}, float b = {-2}> { t = Clip (x, a) y = Clip (t, b) }", "(float[n,3] x) => (y) <float a = {-1}> { y = Clip (x, a) }");
    assert_becomes("clip", "(float[n,3] x) => (y) <float a = {-1}> { t = Max (x, a) y = Relu (t) }", "(float[n,3] x) => (y) { y = Relu (x) }");
}

static void test_left(void **state) {
    (void)state;
    assert_left("clip", "(float[3] x) => (y) <float a = {2}, float b = {1}> { t = Max (x, a) y = Min (b, t) }", 0);          /* they cross */
    assert_left("clip", "(float[3] x) => (y) <float[3] a = {1, 2, 3}, float b = {9}> { t = Max (x, a) y = Min (b, t) }", 0);
    assert_left("clip", "(float[3] x, float a) => (y) <float b = {9}> { t = Max (x, a) y = Min (b, t) }", 0);
    assert_left("clip", "(float[3] x) => (t, y) <float a = {2}, float b = {3}> { t = Max (x, a) y = Min (b, t) }", 0);
    assert_left("clip", "(float[3] x) => (y, z) <float a = {2}, float b = {3}> { t = Max (x, a) y = Min (b, t) z = Exp (t) }", 0);
    assert_left("clip", "(float[3] x) => (y) <float[1,1] a = {2}, float b = {3}> { t = Max (x, a) y = Min (b, t) }", 0);
    assert_left("clip", "(int32[3] x) => (y) <int32 a = {2}, int32 b = {3}> { t = Max (x, a) y = Min (b, t) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_merged), cmocka_unit_test(test_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
