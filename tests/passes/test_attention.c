/* SPDX-License-Identifier: Apache-2.0
 * test_attention.c - scaled dot-product attention in the spellings of exporters. */
#include "pass_text.h"

#define QKV "(float[2,3,4,8] q, float[2,3,5,8] k, float[2,3,5,6] v"
#define KT "t = Transpose <perm = [0, 1, 3, 2]> (k) "

static void test_recognised(void **state) {
    (void)state;
    assert_becomes("attention", QKV ") => (y) <float s = {0.25}> { " KT "p = MatMul (q, t) r = Mul (p, s) w = Softmax <axis = -1> (r) y = MatMul (w, v) }", QKV ") => (y) { y = Attention <scale = 0.25> (q, k, v) }");
    assert_becomes("attention", QKV ", float[2,1,4,5] m) => (y) <float s = {2}> { " KT "p = MatMul (q, t) r = Div (p, s) a = Add (m, r) w = Softmax <axis = 3> (a) y = MatMul (w, v) }",
        QKV ", float[2,1,4,5] m) => (y) { y = Attention <scale = 0.5> (q, k, v, m) }");
    /* the scale on both sides, before and after the transpose */
    assert_becomes("attention", QKV ", bool[4,5] m) => (y) <float s = {0.5}, float low = {-inf}> { c = Mul (k, s) t = Transpose <perm = [0, 1, 3, 2]> (c) b = Mul (q, s) p = MatMul (b, t) "
        "a = Where (m, p, low) w = Softmax <axis = 3> (a) y = MatMul (w, v) }", QKV ", bool[4,5] m) => (y) { y = Attention <scale = 0.25> (q, k, v, m) }");
    /* K comes as [batch, length, heads, size]: its transpose stays */
    assert_becomes("attention", "(float[2,3,4,8] q, float[2,5,3,8] k, float[2,3,5,6] v) => (y) { t = Transpose <perm = [0, 2, 3, 1]> (k) p = MatMul (q, t) w = Softmax <axis = -1> (p) y = MatMul (w, v) }",
        "(float[2,3,4,8] q, float[2,5,3,8] k, float[2,3,5,6] v) => (y) { t = Transpose <perm = [0, 2, 1, 3]> (k) y = Attention <scale = 1.0> (q, t, v) }");
}

static void test_left(void **state) {
    static const char *const text[] = {
        QKV ") => (y, w) { " KT "p = MatMul (q, t) w = Softmax <axis = -1> (p) y = MatMul (w, v) }", QKV ") => (y, z) { " KT "p = MatMul (q, t) w = Softmax <axis = -1> (p) y = MatMul (w, v) z = Relu (p) }",
        QKV ") => (y) { " KT "p = MatMul (q, t) w = Softmax <axis = 2> (p) y = MatMul (w, v) }",
        QKV ", float[2,3,4,5] z) => (y) { p = Add (z, z) w = Softmax <axis = -1> (p) y = MatMul (w, v) }",
        "(float[2,3,4,8] q, float[2,1,5,8] k, float[2,3,5,6] v) => (y) { " KT "p = MatMul (q, t) w = Softmax <axis = -1> (p) y = MatMul (w, v) }",         /* heads broadcast */
        "(float[3,4,8] q, float[3,5,8] k, float[3,5,6] v) => (y) { t = Transpose <perm = [0, 2, 1]> (k) p = MatMul (q, t) w = Softmax <axis = -1> (p) y = MatMul (w, v) }",
        QKV ", float[5] m) => (y) { " KT "p = MatMul (q, t) a = Add (p, m) w = Softmax <axis = -1> (a) y = MatMul (w, v) }",                               /* a mask of rank 1 */
        QKV ", float[2,3,4,5] s) => (y) { " KT "p = MatMul (q, t) r = Mul (p, s) w = Softmax <axis = -1> (r) y = MatMul (w, v) }",                         /* a factor for each score */
        "(float[2,3,4,d] q, float[2,3,5,d] k, float[2,3,5,6] v) => (y) { " KT "p = MatMul (q, t) w = Softmax <axis = -1> (p) y = MatMul (w, v) }"};
    (void)state;
    for (int i = 0; i < FY_COUNT(text); i++) assert_left("attention", text[i], 0);
    assert_left("attention", QKV ") => (y) { " KT "p = MatMul (q, t) w = Softmax <axis = -1> (p) y = MatMul (w, v) }", 22);
}

/* Heads made by Reshape and Transpose, and undone the same way: attention takes the three axes as they are. */
static void test_three_axes(void **state) {
#define X3 "(float[n,4,6] x, float[n,5,6] k, float[n,5,4] v) => (y) <int64[4] h = {0, 0, 2, -1}, int64[3] s = {0, 0, 4}> "
#define HEADS "q1 = Reshape (x, h) q2 = Transpose <perm = [0, 2, 1, 3]> (q1) k1 = Reshape (k, h) k2 = Transpose <perm = [0, 2, 1, 3]> (k1) v1 = Reshape (v, h) v2 = Transpose <perm = [0, 2, 1, 3]> (v1) "
    (void)state;
    assert_becomes("attention", X3 "{ " HEADS "a = Attention <scale = 0.5> (q2, k2, v2) b = Transpose <perm = [0, 2, 1, 3]> (a) y = Reshape (b, s) }",
        "(float[n,4,6] x, float[n,5,6] k, float[n,5,4] v) => (y) { y = Attention <scale = 0.5, q_num_heads = 2, kv_num_heads = 2> (x, k, v) }");
    assert_left("attention", X3 "{ " HEADS "a = Attention <scale = 0.5> (q2, k2, v2) b = Transpose <perm = [0, 1, 2, 3]> (a) y = Reshape (b, s) }", 0);
    assert_left("attention", "(float[n,4,6] x, float[n,5,6] k, float[n,2,5,2] v2) => (y) <int64[4] h = {0, 0, 2, -1}, int64[3] s = {0, 0, 4}> "
        "{ q1 = Reshape (x, h) q2 = Transpose <perm = [0, 2, 1, 3]> (q1) k1 = Reshape (k, h) k2 = Transpose <perm = [0, 2, 1, 3]> (k1) a = Attention (q2, k2, v2) "
        "b = Transpose <perm = [0, 2, 1, 3]> (a) y = Reshape (b, s) }", 0);
    assert_left("attention", X3 "{ " HEADS "a = Attention <scale = 0.5> (q2, k2, v2) b = Transpose <perm = [0, 2, 1, 3]> (a) c = Reshape (b, s) d = ReduceMax <keepdims = 0> (b) y = Add (c, d) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recognised), cmocka_unit_test(test_left), cmocka_unit_test(test_three_axes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
