/* SPDX-License-Identifier: Apache-2.0
 * test_affine.c - factors and summands of channels go into the weights before them. */
#include "pass_text.h"

#define W "float[4,3,1] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}"
#define M "float[3,4] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}"
#define K "float[4,1] k = {1, -1, 0.5, 3}"
#define V "float[4] k = {1, -1, 0.5, 3}"

/* `body` loses all but `left` nodes and computes the same. */
static void takes(const char *body, int64_t left) {
    fy_tensor before, after;
    fy_model *m = model_of(body);
    run_model(m, 0, &before);
    while (run_pass(m, "affine", NULL)) continue;
    run_pass(m, "dead", NULL);
    run_pass(m, "fold", NULL);
    if (m->graph->nnodes != left) fail_msg("%s: %lld nodes", body, (long long)m->graph->nnodes);
    run_model(m, 0, &after);
    assert_near(&after, &before, 2e-6);
    assert_int_equal(run_pass(m, "affine", NULL), 0);
    fy_tensor_free(&before);
    fy_tensor_free(&after);
    fy_model_free(m);
}

static void test_channels(void **state) {
    (void)state;
    takes("(float[2,3,5] x) => (y) <" W ", " K "> { c = Conv (x, w) y = Mul (c, k) }", 1);
    takes("(float[2,3,5] x) => (y) <" W ", " K "> { c = Conv (x, w) y = Add (k, c) }", 1);
    takes("(float[2,3,5] x) => (y) <" W ", float[1,4,1] k = {1, -1, 0.5, 3}, " "float[4] b = {1, 2, 3, 4}> { c = Conv (x, w, b) d = Mul (c, k) e = Sub (d, k) y = Div (e, k) }", 1);
    takes("(float[2,3,5] x) => (y) <" W ", float k = {2}> { c = Conv (x, w) y = Sub (k, c) }", 1);
    takes("(float[2,3,5] x) => (y) <float[3,4,2] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}, " K "> { c = ConvTranspose (x, w) y = Mul (c, k) }", 1);
    takes("(float[2,3] x) => (y) <" M ", " V ", float[4] b = {1, 2, 3, 4}> { c = Gemm <beta = 0.5, alpha = 2.0> (x, w, b) d = Mul (c, k) y = Add (d, b) }", 1);
    takes("(float[5,2,3] x) => (y) <" M ", " V "> { c = MatMul (x, w) y = Mul (c, k) }", 1);
    takes("(float[2,3] x) => (y) <" M ", " V "> { c = MatMul (x, w) y = Add (c, k) }", 1);
}

static void test_refuses(void **state) {
    static const char *const text[] = {
        "(float[2,3,5] x) => (y, z) <" W ", " K "> { c = Conv (x, w) y = Mul (c, k) z = Relu (c) }", "(float[2,3,5] x) => (c, y) <" W ", " K "> { c = Conv (x, w) y = Mul (c, k) }",
        "(float[2,3,4] x) => (y) <" W ", " V "> { c = Conv (x, w) y = Mul (c, k) }",                                       /* along the positions */
        "(float[2,3,5] x, float[4,3,1] w) => (y) <" K "> { c = Conv (x, w) y = Mul (c, k) }", "(float[2,3,5] x, float[4,1] k) => (y) <" W "> { c = Conv (x, w) y = Mul (c, k) }",
        "(float[1,3,5] x) => (y) <" W ", float[2,4,1] k = {1, 2, 3, 4, 5, 6, 7, 8}> { c = Conv (x, w) y = Mul (c, k) }",   /* widens the result */
        "(float[5,2,3] x) => (y) <" M ", " V "> { c = MatMul (x, w) y = Add (c, k) }",                                     /* no bias to be had */
        "(float[2,4,5] x) => (y) <float[4,2,1] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5}, " K "> { c = ConvTranspose <group = 2> (x, w) y = Mul (c, k) }",
        "(float16[2,3,5] x) => (y) <float16[4,3,1] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}, float16[4,1] k = {1, -1, 0.5, 3}> { c = Conv (x, w) y = Mul (c, k) }",
        "(float[2,3,5] x) => (y) <" W ", float k = {0}> { c = Conv (x, w) y = Div (c, k) }"};
    (void)state;
    for (int i = 0; i < FY_COUNT(text); i++) assert_left("affine", text[i], 0);
}

/* The factor stands behind nodes that only move elements, and behind a bias. */
static void test_from_afar(void **state) {
    (void)state;
    takes("(float[5,2,3] x) => (y) <" M ", " V ", int64[4] s = {5, 2, 2, 2}, float f = {0.125}> { c = MatMul (x, w) d = Add (k, c) r = Reshape (d, s) t = Transpose <perm = [0, 2, 1, 3]> (r) y = Mul (t, f) }", 4);
    takes("(float[2,3] x) => (y) <" M ", " V ", int64[3] s = {2, 2, 2}, float f = {4}> { c = Gemm (x, w, k) r = Reshape (c, s) y = Div (r, f) }", 2);
    assert_left("affine", "(float[5,2,3] x) => (y, r) <" M ", int64[4] s = {5, 2, 2, 2}, float f = {0.125}> { c = MatMul (x, w) r = Reshape (c, s) y = Mul (r, f) }", 0);
    assert_left("affine", "(float[5,2,3] x, float[4] k) => (y) <" M ", int64[4] s = {5, 2, 2, 2}, float f = {0.125}> { c = MatMul (x, w) d = Add (k, c) r = Reshape (d, s) y = Mul (r, f) }", 0);
    assert_left("affine", "(float[5,2,3] x) => (y) <" M ", int64[4] s = {5, 2, 2, 2}, float[2] f = {0.125, 2}> { c = MatMul (x, w) r = Reshape (c, s) y = Mul (r, f) }", 0);
}

/* One number for all channels before a convolution: into its weight, and without padding into its bias. */
static void test_before(void **state) {
#define W3 "float[2,1,3] w = {0.5, -1, 2, 1, 1, -0.25}, float s = {2}, float t = {3}, float[2] b = {1, -1}"
    (void)state;
    takes("(float[2,1,5] x) => (y) <" W3 "> { m = Mul (x, s) y = Conv <pads = [1, 1]> (m, w) }", 1);
    takes("(float[2,1,5] x) => (y) <" W3 "> { m = Mul (x, s) a = Add (t, m) y = Conv (a, w, b) }", 1);
    takes("(float[2,1,5] x) => (y) <" W3 "> { a = Add (t, x) y = Conv (a, w) }", 1);
    takes("(float[2,1,5] x) => (y) <" W3 "> { m = Mul (x, s) a = Add (m, t) y = Conv <pads = [1, 0]> (a, w, b) }", 2);
    takes("(float[2,2,5] x) => (y) <" W3 "> { m = Mul (x, s) y = Conv <group = 2> (m, w) }", 1);
    assert_left("affine", "(float[2,1,5] x) => (y) <" W3 "> { a = Add (x, t) y = Conv <pads = [1, 0]> (a, w) }", 0);          /* the padding is 0, not t */
    assert_left("affine", "(float[2,1,5] x) => (y) <" W3 "> { a = Add (x, t) y = Conv <auto_pad = \"SAME_UPPER\"> (a, w) }", 0);
    assert_left("affine", "(float[2,1,5] x) => (y, m) <" W3 "> { m = Mul (x, s) y = Conv (m, w) }", 0);
    assert_left("affine", "(float[2,1,5] x) => (y, z) <" W3 "> { m = Mul (x, s) y = Conv (m, w) z = Exp (m) }", 0);
    assert_left("affine", "(float[2,1,5] x) => (y, z) <" W3 "> { m = Mul (x, s) y = Conv (m, w) z = Conv (x, w) }", 0);      /* the weight is shared */
    assert_left("affine", "(float[2,1,5] x, float[2] k) => (y) <" W3 "> { a = Add (x, t) y = Conv (a, w, k) }", 0);
    assert_left("affine", "(float[2,1,5] x) => (y) <" W3 ", float[5] v = {1, 2, 3, 4, 5}> { m = Mul (x, v) y = Conv (m, w) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_channels), cmocka_unit_test(test_refuses), cmocka_unit_test(test_from_afar), cmocka_unit_test(test_before)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
