/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_attention.c - blocked attention against the reference kernels: the operator with its masks, windows, caches and groups of heads, and
 * what is spelled out, with transposes and a Split before it; sizes beyond a tile and beyond a panel. */
#include "engines/both.h"

static void test_operator(void **state) {
    (void)state;
    both("(float[2,3,n,8] q, float[2,3,7,8] k, float[2,3,7,5] v) => (y) { y = Attention (q, k, v) }");
    both("(float[2,3,5,8] q, float[2,3,n,8] k, float[2,3,n,33] v) => (y) { y = Attention <scale = 0.3> (q, k, v) }");
    both("(float[1,4,n,64] q, float[1,2,n,64] k, float[1,2,n,64] v) => (y) { y = Attention <is_causal = 1> (q, k, v) }");
    both("(float[1,4,3,16] q, float[1,1,n,16] k, float[1,1,n,16] v) => (y) { y = Attention <is_causal = 1, softcap = 2.0> (q, k, v) }");
    both("(float[2,n,24] q, float[2,9,12] k, float[2,9,20] v) => (y) { y = Attention <q_num_heads = 4, kv_num_heads = 2> (q, k, v) }");
    both("(float[1,2,n,8] q, float[1,2,n,8] k, float[1,2,n,8] v) => (y) { y = Attention <left_window_size = 2, right_window_size = 1> (q, k, v) }");
}

static void test_masks(void **state) {
    (void)state;
    static const char *const masks[] = {"bool[n,n]", "float[n,n]", "bool[2,1,1,n]", "float[2,1,1,n]", "bool[2,3,n,n]", "float[1,3,n,1]", "bool[n,1]"};
    for (int i = 0; i < FY_COUNT(masks); i++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(float[2,3,n,8] q, float[2,3,n,8] k, float[2,3,n,8] v, %s m) => (y) { y = Attention (q, k, v, m) }", masks[i]);
        both(t.at);
        fy_buf_free(&t);
    }
    both_at("(float[3,2,4,8] q, float[3,2,5,8] k, float[3,2,5,8] v, int64[3] z) => (y) { y = Attention (q, k, v, , , , z) }", (const int64_t[]){3, 6, 1}, 3);
    both_at("(float[3,2,2,8] q, float[3,2,5,8] k, float[3,2,5,8] v, int64[3] z) => (y) { y = Attention <is_causal = 1> (q, k, v, , , , z) }", (const int64_t[]){3, 6, 1}, 3);
    both("(float[2,3,n,8] q, float[2,3,9,8] k, float[2,3,9,8] v, float[n,4] m) => (y) { y = Attention (q, k, v, m) }");
}

/* NaN among the scores or instead of all of them, infinities, and keys that a mask takes out by a large number or to the edge of what is normal. */
static void test_special(void **state) {
    (void)state;
    both("(float[2,3,n,8] q, float[2,3,n,8] k, float[2,3,n,8] v) => (y) { a = Log (q) y = Attention (a, k, v) }");
    both("(float[2,3,n,8] q, float[2,3,n,8] k, float[2,3,n,8] v, float[n,n] m) => (y) { a = Log (m) y = Attention (q, k, v, a) }");
    both("(float[2,3,n,8] q, float[2,3,n,8] k, float[2,3,n,8] v, float[n,n] m) => (y) <float z = {0}> { a = Div (m, z) y = Attention (q, k, v, a) }");
    both("(float[2,3,n,8] q, float[2,3,n,8] k, float[2,3,n,8] v, float[2,1,1,n] m) => (y) <float z = {-10000}> { r = Relu (m) a = Mul (r, z) y = Attention (q, k, v, a) }");
    both("(float[2,3,n,8] q, float[2,3,n,8] k, float[2,3,n,8] v, float[2,1,1,n] m) => (y) <float z = {-50}> { r = Relu (m) a = Mul (r, z) y = Attention (q, k, v, a) }");
}

static void test_caches(void **state) {
    (void)state;
    both("(float[2,4,1,8] q, float[2,2,1,8] k, float[2,2,1,8] v, float[2,2,n,8] pk, float[2,2,n,8] pv) => (y, a, b) { y, a, b = Attention (q, k, v, , pk, pv) }");
    both("(float[2,4,5,8] q, float[2,2,5,8] k, float[2,2,5,6] v, float[2,2,n,8] pk, float[2,2,n,6] pv) => (y) { y = Attention <is_causal = 1> (q, k, v, , pk, pv) }");
    both("(float[2,3,32] q, float[2,3,16] k, float[2,3,16] v, float[2,2,n,8] pk, float[2,2,n,8] pv) => (y, a, b) "
         "{ y, a, b = Attention <q_num_heads = 4, kv_num_heads = 2, is_causal = 1> (q, k, v, , pk, pv) }");
    both_at("(float[1,1,1,8] q, float[1,1,1,8] k, float[1,1,1,8] v, float[1,1,n,8] pk, float[1,1,n,8] pv) => (y, a, b) { y, a, b = Attention (q, k, v, , pk, pv) }", (const int64_t[]){0, 7}, 2);
}

static void test_spelled_out(void **state) {
    (void)state;
    both("(float[2,3,n,8] q, float[2,3,n,8] k, float[2,3,n,8] v) => (y) <float c = {0.35}> "
         "{ t = Transpose <perm = [0, 1, 3, 2]> (k) s = MatMul (q, t) u = Mul (s, c) p = Softmax (u) y = MatMul (p, v) }");
    both("(float[2,n,3,8] q, float[2,n,3,8] k, float[2,n,3,8] v, bool[n,n] m) => (y) <float c = {0.6}, float w = {-inf}> "
         "{ a = Transpose <perm = [0, 2, 1, 3]> (q) b = Transpose <perm = [0, 2, 3, 1]> (k) d = Transpose <perm = [0, 2, 1, 3]> (v) e = Mul (a, c) f = Mul (b, c) "
         "s = MatMul (e, f) u = Where (m, s, w) p = Softmax (u) i = IsNaN (p) z = Constant <value = float {0}> () r = Where (i, z, p) o = MatMul (r, d) y = Transpose <perm = [0, 2, 1, 3]> (o) }");
    both("(float[2,3,n,8] q, float[2,3,8,n] k, float[2,3,n,8] v, float[2,1,1,n] m) => (y) <float c = {2}> "
         "{ s = MatMul (q, k) u = Div (s, c) w = Add (u, m) p = Softmax (w) y = MatMul (p, v) }");
    both("(float[3,n,8] q, float[3,8,n] k, float[3,n,4] v) => (y) { s = MatMul (q, k) p = Softmax (s) y = MatMul (p, v) }");
    /* the scores are wanted by others: not covered */
    both("(float[3,n,8] q, float[3,8,n] k, float[3,n,4] v) => (y, s) { s = MatMul (q, k) p = Softmax (s) y = MatMul (p, v) }");
    both("(float[3,n,8] q, float[3,8,n] k, float[3,n,4] v) => (y, p) { s = MatMul (q, k) p = Softmax (s) y = MatMul (p, v) }");
    both("(float[3,n,8] q, float[3,8,n] k, float[3,n,4] v) => (y, z) { s = MatMul (q, k) p = Softmax (s) y = MatMul (p, v) z = Neg (p) }");
    /* values are made after the scores */
    both("(float[2,n,8] q, float[2,8,n] k, float[2,n,4] v) => (y) { s = MatMul (q, k) p = Softmax (s) u = Exp (v) y = MatMul (p, u) }");
    /* a mask that makes the batch larger than the scores' */
    both("(float[1,1,n,8] q, float[1,1,8,n] k, float[1,1,n,4] v, float[2,3,n,n] m) => (y) { s = MatMul (q, k) t = Add (s, m) p = Softmax (t) y = MatMul (p, v) }");
}

static void test_split(void **state) {
    (void)state;
    const char *heads = "int64[4] h = {0, 0, 3, 8}, int64[3] z = {24, 24, 24}, float c = {0.35}";
    static const char *const order[] = {"q, k, v", "v, q, k"};
    for (int i = 0; i < FY_COUNT(order); i++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(float[2,n,72] x) => (y) <%s> { a = Exp (x) %s = Split <axis = 2> (a, z) q4 = Reshape (q, h) k4 = Reshape (k, h) v4 = Reshape (v, h) "
                   "qt = Transpose <perm = [0, 2, 1, 3]> (q4) kt = Transpose <perm = [0, 2, 3, 1]> (k4) vt = Transpose <perm = [0, 2, 1, 3]> (v4) s = MatMul (qt, kt) u = Mul (s, c) "
                   "p = Softmax (u) o = MatMul (p, vt) y = Transpose <perm = [0, 2, 1, 3]> (o) }", heads, order[i]);
        both(t.at);
        fy_buf_free(&t);
    }
    both("(float[2,n,72] x) => (y) <int64[3] z = {24, 24, 24}> { q, k, v = Split <axis = -1> (x, z) y = Attention <q_num_heads = 3, kv_num_heads = 3> (q, k, v) }");
    /* a part that somebody else reads */
    both("(float[2,n,72] x) => (y, r) <int64[3] z = {24, 24, 24}> { q, k, v = Split <axis = -1> (x, z) y = Attention <q_num_heads = 3, kv_num_heads = 3> (q, k, v) r = Neg (k) }");
}

static void test_long(void **state) {
    (void)state;
    both_at("(float[1,2,n,16] q, float[1,2,n,16] k, float[1,2,n,16] v) => (y) { y = Attention <is_causal = 1> (q, k, v) }", (const int64_t[]){197, 600, 33}, 3);
    both_at("(float[1,2,2,16] q, float[1,2,n,16] k, float[1,2,n,70] v) => (y) { y = Attention (q, k, v) }", (const int64_t[]){197, 1100}, 2);
}

/* Sizes that only the contents tell: the nodes inside the step run one by one. */
static void test_contents(void **state) {
    (void)state;
    both("(float[n,4] x) => (y) <int64[3] a = {1, -1, 2}, int64[3] b = {1, 2, -1}> { f = Exp (x) z = NonZero (f) t = Transpose (z) g = GatherND (f, t) q = Reshape (g, a) k = Reshape (g, b) "
         "s = MatMul (q, k) p = Softmax (s) y = MatMul (p, q) }");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_operator), cmocka_unit_test(test_masks), cmocka_unit_test(test_special), cmocka_unit_test(test_caches), cmocka_unit_test(test_spelled_out),
                                       cmocka_unit_test(test_split), cmocka_unit_test(test_long), cmocka_unit_test(test_contents)};
    return both_main(tests, FY_COUNT(tests), "attention");
}
