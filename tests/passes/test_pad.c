/* SPDX-License-Identifier: Apache-2.0
 * test_pad.c - Pad into convolutions and pools, and where it must not. */
#include "pass_text.h"

#define P "int64[8] p = {0, 0, 1, 2, 0, 0, 0, 1}"
#define W "float[2,1,3,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1}"

static void test_conv(void **state) {
    (void)state;
    assert_becomes("pad", "(float[1,1,5,6] x) => (y) <" P ", " W "> { t = Pad (x, p) y = Conv <pads = [1, 0, 0, 1]> (t, w) }",
        "(float[1,1,5,6] x) => (y) <" W "> { y = Conv <pads = [2, 2, 0, 2]> (x, w) }");
    assert_becomes("pad", "(float[1,1,5,6] x) => (y) <int64[2] p = {1, 2}, int64[1] a = {-1}, float v = {0}, " W "> { t = Pad (x, p, v, a) y = Conv <auto_pad = \"VALID\"> (t, w) }",
        "(float[1,1,5,6] x) => (y) <" W "> { y = Conv <pads = [0, 1, 0, 2]> (x, w) }");
    assert_left("pad", "(float[1,1,5,6] x) => (y) <" P ", float v = {1}, " W "> { t = Pad (x, p, v) y = Conv (t, w) }", 0);
    assert_left("pad", "(float[1,1,5,6] x) => (y) <" P ", " W "> { t = Pad <mode = \"reflect\"> (x, p) y = Conv (t, w) }", 0);
    assert_left("pad", "(float[1,1,5,6] x) => (y) <" P ", " W "> { t = Pad (x, p) y = Conv <auto_pad = \"SAME_UPPER\"> (t, w) }", 0);
    assert_left("pad", "(float[1,1,5,6] x) => (y, z) <" P ", " W "> { t = Pad (x, p) y = Conv (t, w) z = Relu (t) }", 0);
    assert_left("pad", "(float[1,1,5,6] x) => (t, y) <" P ", " W "> { t = Pad (x, p) y = Conv (t, w) }", 0);
    assert_left("pad", "(float[1,1,6,6] x) => (y) <int64[8] p = {0, 0, -1, 0, 0, 0, 0, 0}, " W "> { t = Pad (x, p) y = Conv (t, w) }", 0);
    assert_left("pad", "(float[1,1,6,6] x) => (y) <int64[8] p = {1, 0, 0, 0, 0, 0, 0, 0}, " W "> { t = Pad (x, p) y = Conv (t, w) }", 0);
    assert_left("pad", "(float[1,1,6,6] x, int64[8] p) => (y) <" W "> { t = Pad (x, p) y = Conv (t, w) }", 0);
}

static void test_pools(void **state) {
    (void)state;
    assert_becomes("pad", "(float[1,1,5,6] x) => (y) <" P "> { t = Pad (x, p) y = AveragePool <kernel_shape = [3, 3]> (t) }",
        "(float[1,1,5,6] x) => (y) { y = AveragePool <kernel_shape = [3, 3], pads = [1, 2, 0, 1], count_include_pad = 1> (x) }");
    assert_becomes("pad", "(float[1,1,5,6] x) => (y) <" P ", float v = {-inf}> { t = Pad (x, p, v) y = MaxPool <kernel_shape = [3, 3]> (t) }",
        "(float[1,1,5,6] x) => (y) { y = MaxPool <kernel_shape = [3, 3], pads = [1, 2, 0, 1]> (x) }");
    assert_left("pad", "(float[1,1,5,6] x) => (y) <" P "> { t = Pad (x, p) y = AveragePool <kernel_shape = [2, 2]> (t) }", 0);              /* a window of zeros alone */
    assert_left("pad", "(float[1,1,5,6] x) => (y) <" P "> { t = Pad (x, p) y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (t) }", 0);   /* counts some zeros, not others */
    assert_left("pad", "(float[1,1,5,6] x) => (y) <" P "> { t = Pad (x, p) y = AveragePool <kernel_shape = [3, 3], ceil_mode = 1> (t) }", 0);
    assert_left("pad", "(float[1,1,5,6] x) => (y) <" P "> { t = Pad (x, p) y = MaxPool <kernel_shape = [3, 3]> (t) }", 0);                  /* zeros win against what is below */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_conv), cmocka_unit_test(test_pools)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
