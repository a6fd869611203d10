/* SPDX-License-Identifier: Apache-2.0
 * test_rotary.c - rotary embeddings by halves. */
#include "pass_text.h"

#define IN "(float[2,3,4,8] x, float[2,4,4] f) => (y) <int64[1] one = {1}, int64[1] z = {0}, int64[1] h = {4}, int64[1] e = {9223372036854775807}, int64[1] a = {3}> "
#define CS "g = Concat <axis = -1> (f, f) c = Cos (g) c4 = Unsqueeze (c, one) s = Sin (g) s4 = Unsqueeze (s, one) "
#define HALVES "lo = Slice (x, z, h, a) hi = Slice (x, h, e, a) n = Neg (hi) r = Concat <axis = -1> (n, lo) "

static void test_recognised(void **state) {
    (void)state;
    static const char wanted[] = "(float[2,3,4,8] x, float[2,4,4] f) => (y) <int64[1] h = {4}, int64[1] z = {0}, int64[1] two = {2}> "
        "{ g = Concat <axis = -1> (f, f) c = Cos (g) s = Sin (g) p = Slice (c, z, h, two) q = Slice (s, z, h, two) y = RotaryEmbedding (x, p, q) }";
    assert_becomes("rotary", IN "{ " CS HALVES "p = Mul (x, c4) q = Mul (r, s4) y = Add (p, q) }", wanted);
    assert_becomes("rotary", IN "{ " CS HALVES "p = Mul (c4, x) q = Mul (s4, r) y = Add (q, p) }", wanted);
}

static void test_left(void **state) {
    (void)state;
    assert_left("rotary", IN "{ " CS HALVES "p = Mul (x, c4) q = Mul (r, s4) y = Add (p, q) }", 22);
    /* the halves the other way round; a cosine that does not repeat; another value turned */
    assert_left("rotary", IN "{ " CS "lo = Slice (x, z, h, a) hi = Slice (x, h, e, a) n = Neg (lo) r = Concat <axis = -1> (n, hi) p = Mul (x, c4) q = Mul (r, s4) y = Add (p, q) }", 0);
    assert_left("rotary", "(float[2,3,4,8] x, float[2,4,8] g) => (y) <int64[1] one = {1}, int64[1] z = {0}, int64[1] h = {4}, int64[1] e = {99}, int64[1] a = {3}> "
        "{ c = Cos (g) c4 = Unsqueeze (c, one) s = Sin (g) s4 = Unsqueeze (s, one) " HALVES "p = Mul (x, c4) q = Mul (r, s4) y = Add (p, q) }", 0);
    assert_left("rotary", IN "{ " CS HALVES "w = Relu (x) p = Mul (w, c4) q = Mul (r, s4) y = Add (p, q) }", 0);
    /* one row of angles for all of the batch */
    assert_left("rotary", "(float[2,3,4,8] x, float[1,4,4] f) => (y) <int64[1] one = {1}, int64[1] z = {0}, int64[1] h = {4}, int64[1] e = {99}, int64[1] a = {3}> "
        "{ " CS HALVES "p = Mul (x, c4) q = Mul (r, s4) y = Add (p, q) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recognised), cmocka_unit_test(test_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
