/* SPDX-License-Identifier: Apache-2.0
 * test_gradient.c - Gradient written out: values, order, second derivatives, what is refused, memory. tests/python/test_gradient.py holds the
 * rules against differences. */
#include "test.h"

#include "opset/opset.h"
#include "ops/ops.h"

#include <math.h>

#define HEAD "<ir_version: 10, opset_import: [\"\" : 28, \"ai.onnx.preview.training\" : 1]>\n"
#define GRAD "ai.onnx.preview.training.Gradient"

static fy_status raised(fy_model **m, const char *text, ferry_error *e) {
    FY_TRY(fy_model_parse(m, text, strlen(text), fy_registry_builtin(), e));
    fy_status s = fy_opset_raise(*m, e);
    if (s == FY_OK) s = fy_infer_model(*m, e);
    if (s == FY_OK) s = fy_model_verify(*m, e);
    if (s == FY_OK)
        for (const fy_node *n = (*m)->graph->first; n; n = n->next) assert_string_not_equal(n->op->name, "Gradient");
    return s;
}

/* The outputs of a model of scalars, or of vectors of two, for inputs 2, 3, ... */
static void values(const char *text, int nin, int n, const double *want) {
    ferry_error e = {0};
    fy_model *m = NULL;
    fy_rval in[4] = {{0}}, *inp[4], out[4] = {{0}};
    float v[4][2];
    fy_interp it = {0};
    assert_ok(raised(&m, text, &e), e);
    assert_int_equal(m->graph->in.n, nin);
    assert_int_equal(m->graph->out.n, n);
    for (int i = 0; i < nin; i++) {
        v[i][0] = (float)i + 2;
        v[i][1] = (float)i + 12;
        in[i] = (fy_rval){.kind = FY_TENSOR, .t = fy_tensor_view(FERRY_FLOAT, m->graph->in.at[i]->type.rank, (int64_t[]){2}, v[i])};
        inp[i] = &in[i];
    }
    assert_ok(fy_interp_run(&it, m->graph, inp, out, &e), e);
    for (int i = 0; i < n; i++) {
        double got = fy_get_f64(&out[i].t, 0);
        if (fabs(got - want[i]) > 1e-5) print_error("output %d is %g, not %g\n", i, got, want[i]);
        assert_true(fabs(got - want[i]) <= 1e-5);
        fy_rval_free(&out[i]);
    }
    fy_model_free(m);
}
#define IS(...) (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), (double[]){__VA_ARGS__}

static void test_values(void **state) {
    (void)state;
    values(HEAD "g (float a, float b) => (float y, float da, float db) { y = Mul(a, b) \n da, db = " GRAD " <xs = [\"a\", \"b\"], y = \"y\"> (a, b) }",
            2, IS(6, 3, 2));
    /* before what it differentiates; one output left out; y among xs */
    values(HEAD "g (float a, float b) => (float db, float y) { x, db = " GRAD " <xs = [\"a\", \"b\"], y = \"y\"> (a, b) \n c = Mul(a, b) \n y = Mul(c, b) }", 2, IS(12, 18));
    values(HEAD "g (float a) => (float d) { y = Exp(a) \n e = " GRAD " <xs = [\"y\"], y = \"y\"> (y) \n d = Identity(e) }", 1, IS(1));
    /* an intermediate tensor; b held still; what y does not depend on */
    values(HEAD "g (float a, float b) => (float dc, float du) { c = Mul(a, a) \n y = Mul(c, b) \n u = Exp(b) \n dc, du = " GRAD " <xs = [\"c\", \"u\"], zs = [\"b\"], y = \"y\"> (c, u, b) }", 2, IS(3, 0));
    /* at another value: 2 b instead of 2 a */
    values(HEAD "g (float a, float b) => (float d, float y) { y = Mul(a, a) \n d = " GRAD " <xs = [\"a\"], y = \"y\"> (b) }", 2, IS(6, 4));
    /* y = a^3: the first and second derivative */
    values(HEAD "g (float a) => (float d, float dd) { s = Mul(a, a) \n y = Mul(s, a) \n d = " GRAD " <xs = [\"a\"], y = \"y\"> (a) \n dd = " GRAD " <xs = [\"a\"], y = \"d\"> (a) }", 1, IS(12, 12));
    /* the same tensor twice, a sum of both ways; vectors: of the sum of y */
    values(HEAD "g (float[2] a, float b) => (float[2] da, float db) { y = Mul(a, b) \n da, db = " GRAD " <xs = [\"a\", \"b\"], y = \"y\"> (a, b) }", 2, IS(3, 14));
    /* through integers there is no way */
    values(HEAD "g (float a) => (float d) { i = Cast<to = 7>(a) \n f = Cast<to = 1>(i) \n y = Mul(f, a) \n d = " GRAD " <xs = [\"a\"], y = \"y\"> (a) }", 1, IS(2));
    /* another output of the same node is not lost */
    values(HEAD "g (float[2] a) => (float[2] d) { o = Constant <value_ints = [1, 1]> () \n p, q = Split(a, o) \n m = Mul(p, p) \n n = Mul(m, q) \n z = Constant <value_ints = [0]> () \n y = ReduceSum(n) \n"
           " d = " GRAD " <xs = [\"a\"], y = \"y\"> (a) }", 1, IS(48));
}

static void refused(const char *text, fy_code code) {
    ferry_error e = {0};
    fy_model *m = NULL;
    fy_status s = raised(&m, text, &e);
    if (s != code) print_error("%s: %s\n", e.code ? e.code : "ok", e.text);
    assert_int_equal(s, code);
    if (m) fy_model_free(m);
}

static void test_refused(void **state) {
    (void)state;
    refused(HEAD "g (float a) => (float d) { y = Exp(a) \n d = " GRAD " <xs = [\"b\"], y = \"y\"> (a) }", FY_E_GRAPH);
    refused(HEAD "g (float a) => (float d) { y = Exp(a) \n d = " GRAD " <xs = [\"a\"], y = \"\"> (a) }", FY_E_GRAPH);
    refused(HEAD "g (float a) => (float d) { y = Exp(a) \n d = " GRAD " <xs = [\"a\", \"y\"], y = \"y\"> (a) }", FY_E_GRAPH);
    refused(HEAD "g (float a) => (float d, float e) { y = Exp(a) \n d, e = " GRAD " <xs = [\"a\"], y = \"y\"> (a) }", FY_E_GRAPH);
    refused(HEAD "g (float a) => (float d) { y = Exp(a) \n d = " GRAD " <xs = [\"a\"]> (a) }", FY_E_ATTR);
    refused(HEAD "g (float a) => (float d) { d = " GRAD " <xs = [\"a\"], y = \"y\"> (a) \n y = Mul(d, a) }", FY_E_GRAPH);
    refused(HEAD "g (float a) => (float d) { y = Shape(a) \n d = " GRAD " <xs = [\"a\"], y = \"y\"> (a) }", FY_E_TYPE);
    refused(HEAD "g (float[2] a) => (float[2] d) { y = Hardmax(a) \n d = " GRAD " <xs = [\"a\"], y = \"y\"> (a) }", FY_E_UNSUPPORTED);
    /* a branch that captures a: no rule, and no silent zero */
    refused(HEAD "g (float a, bool c) => (float d) { y = If(c) <then_branch = t () => (float p) { p = Exp(a) }, else_branch = f () => (float q) { q = Sin(a) }> \n"
            " d = " GRAD " <xs = [\"a\"], y = \"y\"> (a) }", FY_E_UNSUPPORTED);
    refused(HEAD "g (float a, bool c) => (float z) { y = Exp(a) \n z = If(c) <then_branch = t () => (float p) { p = " GRAD " <xs = [\"a\"], y = \"y\"> (a) },"
            " else_branch = f () => (float q) { q = Sin(a) }> }", FY_E_UNSUPPORTED);
}

/* Each Gradient of the one before: nodes multiply, up to a limit. */
static void test_tower(void **state) {
    (void)state;
    ferry_error e = {0};
    fy_model *m = NULL;
    fy_buf b = {0};
    fy_buf_str(&b, HEAD "g (float a) => (float d40) { d0 = Gelu(a)\n");
    for (int i = 0; i < 40; i++) fy_buf_fmt(&b, "d%d = " GRAD " <xs = [\"a\"], y = \"d%d\"> (a)\n", i + 1, i);
    fy_buf_str(&b, "}");
    assert_false(b.oom);
    assert_ok(fy_model_parse(&m, b.at, b.n, fy_registry_builtin(), &e), e);
    assert_fails(fy_opset_raise(m, &e), LIMIT);
    fy_model_free(m);
    fy_buf_free(&b);
}

static void test_memory(void **state) {
    (void)state;
    static const char text[] = HEAD "g (float[2,3] a, float[3,2] b) => (float[2,3] d) { h = MatMul(a, b) \n t = Gelu(h) \n y = ReduceMean(t) \n d = " GRAD " <xs = [\"a\"], y = \"y\"> (a) }";
    ferry_error e = {0};
    size_t bytes = fy_os_bytes();
    fy_status s = FY_E_NOMEM;
    for (int64_t k = 0; k < 20000 && s != FY_OK; k++) {
        fy_model *m = NULL;
        fy_os_fail_at(k, false);
        s = fy_model_parse(&m, text, sizeof text - 1, fy_registry_builtin(), &e);
        if (s == FY_OK) s = fy_opset_raise(m, &e);
        bool reached = fy_os_calls() > k;
        fy_os_fail_at(-1, false);
        if (s != FY_OK && s != FY_E_NOMEM) print_error("failure %lld: %s %s\n", (long long)k, e.code, e.text);
        assert_true(s == FY_OK ? !reached : s == FY_E_NOMEM);
        if (m) fy_model_free(m);
        assert_true(fy_os_bytes() == bytes);
    }
    assert_int_equal(s, FY_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_refused), cmocka_unit_test(test_tower), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
