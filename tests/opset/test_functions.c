/* SPDX-License-Identifier: Apache-2.0
 * test_functions.c - model-local functions put in the place of their calls: attributes, defaults, left-out inputs, bodies, older opsets,
 * calls inside functions, and functions that call themselves. */
#include "test.h"

#include "opset/opset.h"

#include <math.h>

static fy_status raised(fy_model **m, const char *text, ferry_error *e) {
    *m = NULL;
    fy_status s = fy_model_parse(m, text, strlen(text), fy_registry_builtin(), e);
    if (!s) s = fy_opset_raise(*m, e);
    if (!s) s = fy_infer_model(*m, e);
    if (!s) s = fy_model_verify(*m, e);
    return s;
}

/* The first output for x = 1, 2, .. as the first input (f32[n]). */
static void gives(const char *text, int64_t n, const double *want) {
    ferry_error e;
    fy_model *m;
    fy_rval x = {.kind = FY_TENSOR}, out[4] = {{0}}, *in = &x;
    assert_ok(raised(&m, text, &e), e);
    assert_int_equal(m->functions.n, 0);
    assert_ok(fy_tensor_new(&x.t, FERRY_FLOAT, 1, &n, &e), e);
    for (int64_t i = 0; i < n; i++) fy_put_f64(&x.t, i, (double)i + 1);
    assert_ok(fy_interp_run(&(fy_interp){0}, m->graph, &in, out, &e), e);
    assert_int_equal(fy_count(&out[0].t), n);
    for (int64_t i = 0; i < n; i++) assert_true(fabs(fy_get_f64(&out[0].t, i) - want[i]) < 1e-5);
    assert_string_equal(m->graph->out.at[0]->name, "y");
    for (int i = 0; i < 4; i++) fy_rval_free(&out[i]);
    fy_rval_free(&x);
    fy_model_free(m);
}

#define HEAD "<ir_version: 10, opset_import: [\"\" : 21, \"f\" : 1]> "
#define FN "<domain: \"f\", opset_import: [\"\" : 21]> "

static void test_attributes(void **state) {
    (void)state;
    gives(HEAD "main (float[2] x) => (y) { y = f.Leak <slope: float = 0.5> (x) }" FN "Leak <slope> (a) => (b) { n = Neg (a) b = LeakyRelu <alpha: float = @slope> (n) }", 2,
          (double[]){-0.5, -1});
    gives(HEAD "main (float[2] x) => (y) { y = f.Leak (x) }" FN "Leak <slope: float = 0.25> (a) => (b) { n = Neg (a) b = LeakyRelu <alpha: float = @slope> (n) }", 2,
          (double[]){-0.25, -0.5});
    /* neither given nor with a default: the operator's own default */
    gives(HEAD "main (float[2] x) => (y) { y = f.Leak (x) }" FN "Leak <slope> (a) => (b) { n = Neg (a) b = LeakyRelu <alpha: float = @slope> (n) }", 2, (double[]){-0.01, -0.02});
}

static void test_nested(void **state) {
    (void)state;
    gives("<ir_version: 10, opset_import: [\"\" : 21, \"f\" : 1]> main (float[3] x) => (y) { a = f.Twice (x) y = f.Twice (a) }"
          FN "Twice (a) => (b) { c = f.Add3 (a, a) b = Identity (c) }" FN "Add3 (p, q, r) => (s) { s = Sum (p, q, r) }", 3, (double[]){4, 8, 12});
    /* the result is an input of the function; both are seen outside */
    gives(HEAD "main (float[2] x) => (y, z) { y, z = f.Same (x) }" FN "Same (a) => (a, b) { b = Neg (a) }", 2, (double[]){1, 2});
    /* an inner value that is used inside as well keeps the name of the graph's output */
    gives(HEAD "main (float[2] x) => (y, z) { y, z = f.Both (x) }" FN "Both (a) => (b, c) { b = Add (a, a) c = Neg (b) }", 2, (double[]){2, 4});
}

static void test_bodies(void **state) {
    (void)state;
    gives(HEAD "main (float[2] x) => (y) <bool t = {1}> { y = f.Pick <k: float = 3.0> (x, t) }"
          FN "Pick <k> (a, c) => (b) { w = Neg (a) b = If <then_branch = yes () => (p) { p = Elu <alpha: float = @k> (w) }, else_branch = no () => (q) { q = f.Deep (a) }> (c) }"
          FN "Deep (u) => (v) { v = Exp (u) }", 2, (double[]){3 * (exp(-1) - 1), 3 * (exp(-2) - 1)});
    /* a call inside a body of the main graph, which reads from outside */
    gives(HEAD "main (float[2] x) => (y) <bool t = {0}> { w = Abs (x) y = If <then_branch = yes () => (p) { p = Neg (x) }, else_branch = no () => (q) { q = f.Mix (w, x) }> (t) }"
          FN "Mix (a, b) => (c) { d = Mul (a, b) c = Add (d, a) }", 2, (double[]){2, 6});
}

static void test_older(void **state) {
    (void)state;
    /* the function is of opset 11, where Squeeze has its axes as an attribute, here a reference; the model is of opset 21 */
    gives(HEAD "main (float[2] x) => (y) { y = f.Old <ax: ints = [0]> (x) }"
          "<domain: \"f\", opset_import: [\"\" : 11]> Old <ax> (a) => (b) { c = Unsqueeze <axes: ints = @ax> (a) b = Squeeze <axes: ints = @ax> (c) }", 2, (double[]){1, 2});
}

static void test_refused(void **state) {
    ferry_error e;
    fy_model *m;
    (void)state;
    assert_fails(raised(&m, HEAD "main (float[2] x) => (y) { y = f.A (x) }" FN "A (a) => (b) { b = f.B (a) }" FN "B (a) => (b) { b = f.A (a) }", &e), LIMIT);
    assert_non_null(strstr(e.text, "call each other"));
    fy_model_free(m);
    assert_fails(raised(&m, HEAD "main (float[2] x) => (y) { y = f.A (x, x) }" FN "A (a) => (b) { b = Neg (a) }", &e), GRAPH);
    fy_model_free(m);
    assert_fails(raised(&m, HEAD "main (float[2] x) => (y) { y = f.A (x) }<domain: \"f\", opset_import: [\"\" : 99]> A (a) => (b) { b = Neg (a) }", &e), OPSET);
    fy_model_free(m);
    assert_fails(raised(&m, HEAD "main (float[2] x) => (y) { y = f.A (x) }" FN "A (a, c) => (c) { b = Neg (a) }", &e), GRAPH);       /* its output is left out */
    fy_model_free(m);
}

/* 40 functions, each calling the one before twice: refused before memory is taken. */
static void test_explosion(void **state) {
    ferry_error e;
    fy_model *m;
    fy_buf t = {0};
    (void)state;
    fy_buf_str(&t, HEAD "main (float[2] x) => (y) { y = f.F39 (x) }" FN "F0 (a) => (b) { b = Neg (a) }");
    for (int i = 1; i < 40; i++) fy_buf_fmt(&t, FN "F%d (a) => (b) { c = f.F%d (a) b = f.F%d (c) }", i, i - 1, i - 1);
    assert_fails(raised(&m, t.at, &e), LIMIT);
    fy_model_free(m);
    fy_buf_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attributes), cmocka_unit_test(test_nested), cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_older), cmocka_unit_test(test_refused), cmocka_unit_test(test_explosion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
