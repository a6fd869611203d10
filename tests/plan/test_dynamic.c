/* SPDX-License-Identifier: Apache-2.0
 * test_dynamic.c - steps behind sizes that only the run tells: run by their implementations, in blocks of channels as well, with the results of the
 * reference kernels; nothing is allocated once sizes have been seen. */
#include "engines/both.h"

#include "plan/plan.h"

/* x f32[n,4] -> its elements that are not zero, g f32[k]. */
#define PICK "f = Flatten (x) p = NonZero (f) t = Transpose (p) g = GatherND (f, t) "
/* x f32[n,...] -> those of its samples whose sum is positive, k f32[m,...]. */
#define KEEP "a1 = ReduceSum <keepdims = 0> (x, axes) a2 = Greater (a1, zero) k = Compress <axis = 0> (x, a2) "

static void test_behind_contents(void **state) {
    (void)state;
    both("(float[n,4] x) => (y) <int64[2] s = {-1, 4}, float[4,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}, float[3] b = {1, -1, 2}> {"
         PICK "r = Reshape (g, s) m = MatMul (r, w) a = Add (m, b) y = Relu (a) }");
    both("(float[n,4] x) => (y, z) <int64[2] s = {-1, 4}> { " PICK "r = Reshape (g, s) e = Exp (r) m = ReduceMax <keepdims = 1> (e) y = Sub (e, m) z = Softmax (r) }");
    both("(float[n,4] x, float[n,4] u) => (y) <int64[2] s = {-1, 4}> { " PICK "r = Reshape (g, s) q = Add (r, u) y = Mul (q, r) }");
    both("(float[n,4] x) => (y) { u, i, v, c = Unique (x) y = Exp (u) }");
    both("(float[n,4] x) => (y, e, z) <int64[2] s = {-1, 2}> { " PICK "y = Neg (g) e = Identity (g) z = Reshape (y, s) }");
    both("(float[n,4] x, int64[1] i) => (y, z) <int64[1] one = {1}, int64[1] axis = {1}> { e = Add (i, one) y = Slice (x, i, e, axis) v = Identity (y) z = Exp (v) }");
    both("(float[n,4] x, int64 i) => (y) <int64 two = {2}, int64 lo = {0}, int64 by = {1}> { e = Add (i, two) r = Range (lo, e, by) c = Cast <to = 1> (r) y = Sqrt (c) }");
    both_at("(float[n,4] x) => (y) <int64[1] k = {1}, float[1] zero = {0}> { s = ReduceSum <keepdims = 0> (x) u = Greater (x, zero) q = Cast <to = 7> (u) m = ReduceMax <keepdims = 0> (q) r = Reshape (m, k) a, b = TopK <axis = 1> (x, r) y = Neg (a) }",
            (const int64_t[]){3, 1, 4}, 3);
}

/* A buffer seen by what only the run gives a size outlives its last reader of known sizes. */
static void test_views(void **state) {
    (void)state;
    both("(float[n,4] x, int64[2] i) => (y) <int64[2] s = {-1, 0}, int64[2] m = {0, 2}> { a = Exp (x) q = Mul (i, m) u = Sub (q, q) r = Max (u, u) o = Add (r, s) w = Abs (o) h = Mul (w, o) "
         "b = Reshape (a, h) c = Neg (x) d = Abs (c) e = Exp (d) f = Flatten (b) g = Flatten (e) v = Add (f, g) y = Reshape (v, h) }");
    both("(float[n,4] x) => (y) <int64[2] s = {-1, 4}, int64[1] axis = {0}> { " PICK "r = Reshape (g, s) u = Unsqueeze (r, axis) q = Squeeze (u, axis) o = Identity (q) y = Exp (o) }");
}

static void conv_behind(const char *after, int channels) {
    fy_buf t = {0};
    fy_buf_fmt(&t, "(float[n,%d,7,6] x) => (y) <int64[3] axes = {1, 2, 3}, float zero = {0}, float[20,%d,3,3] w = {", channels, channels);
    for (int i = 0; i < 20 * channels * 9; i++) fy_buf_fmt(&t, "%s%.4f", i ? ", " : "", sin(i * 1.7) / (3 * channels));
    fy_buf_fmt(&t, "}, float[20,20,1,1] v = {");
    for (int i = 0; i < 400; i++) fy_buf_fmt(&t, "%s%.4f", i ? ", " : "", cos(i * 1.3) / 20);
    fy_buf_fmt(&t, "}> { " KEEP "c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (k, w) %s }", after);
    both(t.at);
    fy_buf_free(&t);
}

static void test_blocks(void **state) {
    (void)state;
    static const char *const after[] = {
        "y = Relu (c)", "y = Identity (c)", "r = Relu (c) d = Conv (r, v) y = Add (d, c)", "r = Sigmoid (c) m = Mul (r, c) p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (m) y = Neg (p)",
        "d = Conv (c, v) e = Add (d, c) f = Relu (e) g = GlobalAveragePool (f) q = Mul (f, g) y = Flatten (q)", "y = Transpose <perm = [0, 2, 3, 1]> (c)"};
    for (int i = 0; i < FY_COUNT(after); i++) {
        conv_behind(after[i], 3);
        conv_behind(after[i], 20);
    }
}

/* A detector: boxes picked by NonMaxSuppression, pieces of a picture behind them resized and convolved. */
static void test_detector(void **state) {
    (void)state;
    fy_buf t = {0};
    fy_buf_str(&t, "(float[1,3,n,8] img, float[1,n,4] corner, float[1,1,n] score) => (y, sel) <int64[1] most = {4}, float[1] iou = {0.5}, float[1] least = {-9}, int64[1] two = {2}, int64[1] three = {3}, int64[1] one = {1}, int64[1] zero = {0}, "
                   "float[4] scale = {1, 1, 2, 2}, float[4] wide = {0, 0, 1, 1}, float[17,3,3,3] w = {");
    for (int i = 0; i < 17 * 27; i++) fy_buf_fmt(&t, "%s%.4f", i ? ", " : "", sin(i * 1.7) / 9);
    fy_buf_str(&t, "}> { box = Add (corner, wide) sel = NonMaxSuppression (box, score, most, iou, least) b = Slice (sel, two, three, one) i = Squeeze (b, one) "
                   "rows = Gather <axis = 2> (img, i) big = Resize <mode = \"nearest\"> (rows, , scale) c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (big, w) r = Relu (c) cut = Slice (r, zero, one, two) y = Neg (cut) }");
    both_at(t.at, (const int64_t[]){3, 1, 5, 19, 3}, 5);
    fy_buf_free(&t);
}

/* Sizes of one name in the file that are not equal. */
static void test_contradictions(void **state) {
    (void)state;
    both("(float[n,4] x) => (y, z) <float[k] g, float[k] h> { f = Flatten (x) p = NonZero (f) t = Transpose (p) g = GatherND (f, t) a = Abs (f) m = Floor (a) q = NonZero (m) u = Transpose (q) h = GatherND (f, u) y = Exp (g) z = Exp (h) }");
}

/* ---- what is allocated ----------------------------------------------------------------------------------------------------- */

static int64_t calls_of_run(both_rig *r, fy_rval **at) {
    ferry_error e;
    fy_rval out[BOTH_MOST] = {{0}};
    int64_t before = fy_os_calls();
    assert_ok(r->engine->run(r->s, at, out, &e), e);
    int64_t calls = fy_os_calls() - before;
    for (int i = 0; i < BOTH_MOST; i++) fy_rval_free(&out[i]);
    return calls;
}

/* Calls of a run whose sizes have been seen. */
static int64_t calls_at(const char *body, int64_t n) {
    both_rig r;
    fy_rval in[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
    both_open(&r, body, "ferry");
    both_fill(in, r.m, n, 1);
    for (int i = 0; i < BOTH_MOST; i++) at[i] = &in[i];
    fy_os_fail_at(-1, false);
    for (int i = 0; i < 3; i++) (void)calls_of_run(&r, at);
    int64_t calls = calls_of_run(&r, at);
    for (int i = 0; i < BOTH_MOST; i++) fy_rval_free(&in[i]);
    both_close(&r);
    return calls;
}

#define ONE_OUTPUT 2                                         /* a tensor's elements, and the count of those who hold them */

static void test_allocations(void **state) {
    (void)state;
    assert_true(calls_at("(float[n,4] x) => (y) { a = Exp (x) y = Neg (a) }", 5) <= ONE_OUTPUT);
    assert_true(calls_at("(float[n,4] x) => (y) <float[4,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}> { a = MatMul (x, w) b = Softmax (a) c = Transpose <perm = [1, 0]> (b) s = Shape (c) y = Reshape (b, s) }", 5) <= ONE_OUTPUT);
    /* reference kernels: their scratch finds room in what is there */
    assert_true(calls_at("(double[n,4] x) => (y) { a = Mish (x) y = Elu (a) }", 5) <= ONE_OUTPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_behind_contents), cmocka_unit_test(test_views), cmocka_unit_test(test_blocks), cmocka_unit_test(test_detector), cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_allocations),
    };
    return both_main(tests, FY_COUNT(tests), "dynamic");
}
