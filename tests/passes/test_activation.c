/* SPDX-License-Identifier: Apache-2.0
 * test_activation.c - activations in all the spellings that exporters use. */
#include "pass_text.h"

#define C "float half = {0.5}, float root = {1.41421354}, float inv = {0.707106769}, float one = {1}, float two = {2}, float three = {3}, float k = {0.79788456}, float c = {0.044715}"

static void all_become(const char *const *text, int n, const char *wanted) {
    for (int i = 0; i < n; i++) {
        fy_buf body = {0};
        fy_buf_fmt(&body, "(float[n,3] x) => (y) <" C "> { %s }", text[i]);
        assert_becomes("activation", body.at, wanted);
        fy_buf_free(&body);
    }
}

static void test_gelu(void **state) {
    static const char *const exact[] = {
        "a = Div (x, root) e = Erf (a) s = Add (e, one) p = Mul (x, s) y = Mul (p, half)", "a = Div (x, root) e = Erf (a) s = Add (one, e) p = Mul (s, half) y = Mul (x, p)",
        "a = Mul (x, inv) e = Erf (a) s = Add (e, one) p = Mul (half, x) y = Mul (p, s)", "a = Mul (inv, x) e = Erf (a) s = Add (e, one) p = Mul (x, s) y = Div (p, two)",
        "a = Mul (inv, x) e = Erf (a) f = Mul (e, half) s = Add (f, half) y = Mul (s, x)"};
    static const char *const tanh_[] = {
        "q = Pow (x, three) r = Mul (q, c) s = Add (x, r) u = Mul (s, k) t = Tanh (u) v = Add (t, one) w = Mul (half, x) y = Mul (w, v)",
        "q = Mul (x, x) q2 = Mul (q, x) r = Mul (q2, c) s = Add (r, x) u = Mul (k, s) t = Tanh (u) v = Add (one, t) w = Mul (x, v) y = Mul (w, half)",
        "q = Pow (x, two) r = Mul (q, c) s = Add (r, one) m = Mul (x, k) u = Mul (m, s) t = Tanh (u) v = Add (one, t) w = Mul (x, v) y = Mul (half, w)"};
    (void)state;
    all_become(exact, FY_COUNT(exact), "(float[n,3] x) => (y) { y = Gelu (x) }");
    all_become(tanh_, FY_COUNT(tanh_), "(float[n,3] x) => (y) { y = Gelu <approximate = \"tanh\"> (x) }");
}

static void test_not_gelu(void **state) {
    static const char *const text[] = {
        "(float[n,3] x, float[n,3] z) => (y) <" C "> { a = Div (x, root) e = Erf (a) s = Add (e, one) p = Mul (z, s) y = Mul (p, half) }",      /* another value */
        "(float[n,3] x) => (y) <" C "> { a = Div (x, two) e = Erf (a) s = Add (e, one) p = Mul (x, s) y = Mul (p, half) }",                    /* another constant */
        "(float[n,3] x) => (y) <" C "> { a = Div (x, root) e = Erf (a) s = Add (e, two) p = Mul (x, s) y = Mul (p, half) }",
        "(float[n,3] x) => (y, z) <" C "> { a = Div (x, root) e = Erf (a) s = Add (e, one) p = Mul (x, s) y = Mul (p, half) z = Exp (e) }",    /* read elsewhere */
        "(float[n,3] x) => (y, s) <" C "> { a = Div (x, root) e = Erf (a) s = Add (e, one) p = Mul (x, s) y = Mul (p, half) }",                /* an output */
        "(float[3] x) => (y) <" C ", float[1,1] h = {0.5}> { a = Div (x, root) e = Erf (a) s = Add (e, one) p = Mul (x, s) y = Mul (p, h) }", /* widens the rank */
        "(float[n,3] x) => (y) <" C "> { q = Pow (x, two) r = Mul (q, c) s = Add (x, r) u = Mul (s, k) t = Tanh (u) v = Add (t, one) w = Mul (half, x) y = Mul (w, v) }"};
    (void)state;
    for (int i = 0; i < FY_COUNT(text); i++) assert_left("activation", text[i], 0);
    assert_left("activation", "(float[n,3] x) => (y) <" C "> { a = Div (x, root) e = Erf (a) s = Add (e, one) p = Mul (x, s) y = Mul (p, half) }", 19);    /* came with 20 */
}

static void test_swish(void **state) {
    static const char *const swish[] = {"a = Sigmoid (x) y = Mul (a, x)", "a = Neg (x) e = Exp (a) s = Add (e, one) y = Div (x, s)"};
    (void)state;
    all_become(swish, 2, "(float[n,3] x) => (y) { y = Swish <alpha = 1.0> (x) }");
    assert_becomes("activation", "(float[n,3] x) => (y) <float k = {1.702}> { b = Mul (x, k) a = Sigmoid (b) y = Mul (x, a) }", "(float[n,3] x) => (y) { y = Swish <alpha = 1.70200002> (x) }");
    assert_becomes("activation", "(float[n,3] x) => (y) <float one = {1}> { a = Neg (x) e = Exp (a) s = Add (e, one) y = Div (one, s) }", "(float[n,3] x) => (y) { y = Sigmoid (x) }");
    assert_left("activation", "(float[n,3] x) => (y) { a = Sigmoid (x) y = Mul (a, x) }", 23);
    assert_left("activation", "(float[n,3] x, float[3] z) => (y) { a = Sigmoid (x) y = Mul (a, z) }", 0);
    assert_left("activation", "(float[n,3] x) => (y, z) { a = Sigmoid (x) y = Mul (a, x) z = Exp (a) }", 0);
}

static void test_hard(void **state) {
    (void)state;
#define H "float a = {3}, float z = {0}, float b = {6}, float one = {1}, float s = {0.166666672}"
    assert_becomes("activation", "(float[n,3] x) => (y) <" H "> { p = Add (x, a) q = Clip (p, z, b) r = Mul (x, q) y = Div (r, b) }", "(float[n,3] x) => (y) { y = HardSwish (x) }");
    assert_becomes("activation", "(float[n,3] x) => (y) { h = HardSigmoid <alpha = 0.166666672, beta = 0.5> (x) y = Mul (h, x) }", "(float[n,3] x) => (y) { y = HardSwish (x) }");
    assert_becomes("activation", "(float[n,3] x) => (y) <" H "> { p = Add (x, a) q = Clip (p, z, b) y = Mul (q, s) }", "(float[n,3] x) => (y) { y = HardSigmoid <alpha = 0.166666667, beta = 0.5> (x) }");
    assert_becomes("activation", "(float[n,3] x) => (y) <" H "> { p = Mul (x, s) q = Add (p, s) y = Clip (q, z, one) }", "(float[n,3] x) => (y) { y = HardSigmoid <alpha = 0.166666672, beta = 0.166666672> (x) }");
    assert_becomes("activation", "(float[n,3] x) => (y) <" H "> { p = Add (x, one) q = Clip (p, z, b) r = Mul (x, q) y = Div (r, b) }",
        "(float[n,3] x) => (y) { h = HardSigmoid <alpha = 0.166666672, beta = 0.166666672> (x) y = Mul (x, h) }");
    assert_left("activation", "(float[n,3] x) => (y) <" H "> { q = Clip (x, z, one) y = Mul (q, s) }", 0);
    assert_left("activation", "(float[n,3] x) => (y) { h = HardSigmoid (x) y = Mul (h, x) }", 0);          /* alpha is 0.2 */
}

/* A factor of its own beside the activation, and an opset without HardSwish. */
static void test_hard_scaled(void **state) {
    (void)state;
    assert_becomes("activation", "(float[n,3] x) => (y) <" H ", float k = {0.5}> { p = Add (x, a) q = Clip (p, z, b) r = Mul (x, q) y = Mul (r, k) }",
        "(float[n,3] x) => (y) <float c = {3}> { h = HardSwish (x) y = Mul (h, c) }");
    fy_pass_options o = {.fold = true, .fold_bn = true, .opset = 13};
    fy_tensor before, after;
    fy_model *m = model_of("(float[n,3] x) => (y) <" H ", float k = {0.5}> { p = Add (x, a) q = Clip (p, z, b) r = Mul (x, q) y = Mul (r, k) }");
    run_model(m, 0, &before);
    assert_int_equal(run_pass(m, "activation", &o), 1);
    assert_int_equal(m->graph->nnodes, 3);
    assert_int_equal(count_op(m, "HardSigmoid"), 1);
    run_model(m, 0, &after);
    assert_near(&after, &before, 1e-6);
    fy_tensor_free(&before);
    fy_tensor_free(&after);
    fy_model_free(m);
    assert_left("activation", "(float[n,3] x) => (y) <" H "> { p = Add (x, a) q = Clip (p, z, b) y = Mul (x, q) }", 13);        /* as many nodes */
}

static void test_mish(void **state) {
    (void)state;
    assert_becomes("activation", "(float[n,3] x) => (y) { s = Softplus (x) t = Tanh (s) y = Mul (x, t) }", "(float[n,3] x) => (y) { y = Mish (x) }");
    assert_becomes("activation", "(float[n,3] x) => (y) <float one = {1}> { e = Exp (x) s = Add (one, e) y = Log (s) }", "(float[n,3] x) => (y) { y = Softplus (x) }");
    assert_left("activation", "(float[n,3] x) => (y) { s = Softplus (x) t = Tanh (s) y = Mul (x, t) }", 17);
    assert_left("activation", "(float[n,3] x) => (y, s) { s = Softplus (x) t = Tanh (s) y = Mul (x, t) }", 0);
    assert_left("activation", "(float[n,3] x) => (y) <float two = {2}> { e = Exp (x) s = Add (two, e) y = Log (s) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gelu), cmocka_unit_test(test_not_gelu), cmocka_unit_test(test_swish), cmocka_unit_test(test_hard), cmocka_unit_test(test_hard_scaled), cmocka_unit_test(test_mish)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
