/* SPDX-License-Identifier: Apache-2.0
 * test_engine_only.c - the passes that only our own engine runs: quantised operators between DequantizeLinear and QuantizeLinear, halves in f32. */
#include "pass_text.h"

static void becomes(const char *name, const fy_pass_options *o, const char *body, const char *wanted) {
    fy_model *m = model_of(body), *w = model_of(wanted);
    run_pass(m, name, o);
    run_pass(m, "dead", NULL);
    forget_names(m);
    forget_names(w);
    assert_reads(name, m, w);
    assert_int_equal(run_pass(m, name, o), 0);
    fy_model_free(m);
    fy_model_free(w);
}

static void stays(const char *name, const fy_pass_options *o, const char *body) {
    fy_model *m = model_of(body);
    if (run_pass(m, name, o)) fail_msg("pass %s changes %s", name, body);
    fy_model_free(m);
}

static void test_qlinear(void **state) {
    static const fy_pass_options bytes = {.bytes = true};
    (void)state;
#define P "float s = {0.5}, uint8 z = {3}, float t = {0.25}, uint8 v = {9}"
    becomes("qlinear", &bytes, "(uint8[n,4] x, uint8[4] a) => (y) <" P "> { y = com.microsoft.QLinearAdd (x, s, z, a, t, v, s, v) }",
            "(uint8[n,4] x, uint8[4] a) => (y) <" P "> { q = DequantizeLinear (x, s, z) p = DequantizeLinear (a, t, v) r = Add (q, p) y = QuantizeLinear <output_dtype = 2> (r, s, v) }");
    becomes("qlinear", &bytes, "(uint8[n,3,4] x) => (y) <" P "> { y = com.microsoft.QLinearGlobalAveragePool <channels_last = 1> (x, s, z, t, v) }",
            "(uint8[n,3,4] x) => (y) <" P "> { a = Transpose <perm = [0, 2, 1]> (x) b = DequantizeLinear (a, s, z) c = GlobalAveragePool (b) d = QuantizeLinear <output_dtype = 2> (c, t, v) y = Transpose <perm = [0, 2, 1]> (d) }");
    /* numbers that are not known, and weights that are not symmetric, are the engine's to deal with */
    stays("qlinear", &bytes, "(uint8[n,4] x, float s) => (y) <uint8 z = {3}> { y = com.microsoft.QLinearSigmoid (x, s, z, s, z) }");
    stays("qlinear", &bytes, "(uint8[n,1,4,4] x) => (y) <" P ", uint8[1,1,1,1] w = {7}> { y = QLinearConv (x, s, z, w, t, v, s, z) }");
    stays("qlinear", &bytes, "(uint8[n,4] x) => (y) <" P "> { y = com.microsoft.QLinearSoftmax <opset = 11, axis = 0> (x, s, z, t, v) }");
    stays("qlinear", NULL, "(uint8[n,4] x) => (y) <" P "> { y = com.microsoft.QLinearSigmoid (x, s, z, t, v) }");
}

static void test_widen(void **state) {
    static const fy_pass_options regions = {.halves = FY_HALVES_REGIONS}, nodes = {.halves = FY_HALVES_NODES};
    static const char *const body = "(float16[n,4] x, float16[4,4] w) => (y, i) { a = MatMul (x, w) b = Relu (a) c = Softmax (b) y = Transpose (c) i = ArgMax (c) }";
    (void)state;
    becomes("widen", &regions, body, "(float16[n,4] x, float16[4,4] w) => (y, i) { p = Cast <to = 1> (x) q = Cast <to = 1> (w) a = MatMul (p, q) b = Relu (a) c = Softmax (b) h = Cast <to = 10> (c) t = Transpose (c) y = Cast <to = 10> (t) i = ArgMax (h) }");
    becomes("widen", &nodes, body, "(float16[n,4] x, float16[4,4] w) => (y, i) { p = Cast <to = 1> (x) q = Cast <to = 1> (w) a = MatMul (p, q) h = Cast <to = 10> (a) b = Relu (h) r = Cast <to = 1> (b) c = Softmax (r) k = Cast <to = 10> (c) "
                             "y = Transpose (k) i = ArgMax (k) }");
    /* a cast to halves that the model has rounds; one from them gives what was computed */
    becomes("widen", &regions, "(float[n,4] x) => (y) { a = Cast <to = 16> (x) b = Softmax (a) c = Cast <to = 1> (b) y = Exp (c) }", "(float[n,4] x) => (y) { a = Cast <to = 16> (x) p = Cast <to = 1> (a) b = Softmax (p) y = Exp (b) }");
    stays("widen", &regions, "(float16[n,4] x, float16[4] z) => (y) { a = Add (x, z) y = Transpose (a) }");
    stays("widen", &regions, "(float[n,4] x) => (y) { y = Softmax (x) }");
    stays("widen", NULL, body);
    /* bodies as well: what is f32 around them by then is read as that */
    becomes("widen", &regions, "(bool c, float16[n,4] x, float16[4,4] w) => (y) { a = MatMul (x, w) y = If <then_branch = t () => (p) { p = MatMul (a, w) }, else_branch = f () => (q) { q = Softmax (x) }> (c) }",
            "(bool c, float16[n,4] x, float16[4,4] w) => (y) { p0 = Cast <to = 1> (x) q0 = Cast <to = 1> (w) a = MatMul (p0, q0) y = If <then_branch = t () => (p) { h = MatMul (a, q0) p = Cast <to = 10> (h) }, else_branch = f () => (q) { k = Softmax (p0) q = Cast <to = 10> (k) }> (c) }");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_qlinear), cmocka_unit_test(test_widen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
