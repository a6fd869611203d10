/* SPDX-License-Identifier: Apache-2.0
 * test_explain_node.c - what is said of a node: the implementation, the reasons of the others, what is in the same step, sizes, names that
 * are not there. */
#include "model_text.h"

#include "base/os.h"
#include "check/check.h"

/* Nodes are called as what they make. */
static fy_model *named(const char *body) {
    fy_model *m = model_of(body);
    for (fy_node *n = m->graph->first; n; n = n->next) n->name = n->out[0]->name;
    return m;
}

/* The report on `node`, or the code of the failure. */
static fy_status explain(fy_report **r, const char *body, const char *node, bool exact, ferry_error *e) {
    const fy_engine *engine = fy_engine_find(NULL);
    fy_engine_options o = {.threads = 1, .exact = exact};
    fy_model *m = named(body);
    fy_compiled *c = NULL;
    assert_ok(engine->compile(&c, m, &o, e), *e);
    *r = fy_report_new(e);
    assert_non_null(*r);
    fy_status s = fy_explain_node(*r, engine->plan(c), m, node, e);
    if (!s) assert_ok(fy_report_finish(*r, e), *e);
    engine->compiled_free(c);
    fy_model_free(m);
    return s;
}

static void says(const char *body, const char *node, bool exact, const char *const *words) {
    ferry_error e = {0};
    fy_report *r;
    fy_arena a = {0};
    const fy_json *doc;
    assert_ok(explain(&r, body, node, exact, &e), e);
    for (; *words; words++) {
        if (!strstr(r->plain.at, *words)) print_error("\"%s\" is not in\n%s\n", *words, r->plain.at);
        assert_non_null(strstr(r->plain.at, *words));
    }
    assert_ok(fy_json_parse(&doc, &a, r->json.at, r->json.n, &e), e);
    fy_arena_free(&a);
    fy_report_free(r);
}
#define SAYS(body, node, exact, ...) says(body, node, exact, (const char *const[]){__VA_ARGS__, NULL})

#define CONV "(float[1,1,4,4] x) => (y) <float[2,1,1,1] w = {1, 2}> { c = Conv (x, w) y = Relu (c) }"

static void test_conv(void **state) {
    (void)state;
    SAYS(CONV, "c", false, "conv.depthwise   declined: not one filter for each channel", "conv.first       taken", "conv.direct      declined: few input channels", "with     Relu y",
         "reference        could, but comes after", "w f32[2,1,1,1] (constant, packed)");
    SAYS(CONV, "y", false, "node     Conv c", "with     Relu y");                 /* it is part of the step of c */
    SAYS(CONV, "0", false, "step 0 of");
}

static void test_reference(void **state) {
    (void)state;
    SAYS("(double[n,3] x) => (y) { y = Softmax (x) }", "y", false, "softmax.rows     declined: not f32", "reference        taken", "y f64[n,3] (plain)");
    SAYS("(float[n,3] x) => (y) { y = Softmax <axis = 0> (x) }", "y", false, "declined: not along the last axis");
    SAYS("(float[n,3] x) => (y) { z = NonZero (x) y = Transpose (z) }", "y", false, "depend on contents");
    SAYS("(string[n] x) => (y) { y = Identity (x) }", "y", false, "declined: strings, sequences", "reference        taken");
}

static void test_gone(void **state) {
    (void)state;
    SAYS("(float[2] x) => (y) <float[2] a = {1, 2}> { b = Neg (a) y = Add (x, b) }", "b", false, "is not run");
}

static void test_unknown(void **state) {
    (void)state;
    static const char *const bad[] = {"convolve", "", "99", "-1", "0x0", "99999999999999999999999999"};
    for (int i = 0; i < FY_COUNT(bad); i++) {
        ferry_error e = {0};
        fy_report *r;
        assert_fails(explain(&r, CONV, bad[i], false, &e), NAME);
        assert_non_null(strstr(e.text, "numbers 0 to"));
        fy_report_free(r);
    }
    ferry_error e = {0};
    fy_report *r;
    assert_fails(explain(&r, "(float[2] x) => (middle) { first_one = Neg (x) middle = Exp (first_one) }", "first_onf", false, &e), NAME);
    assert_non_null(strstr(e.text, "did you mean 'first_one'"));
    fy_report_free(r);
}

/* Multiply-accumulates where sizes are known. */
static void test_macs(void **state) {
    (void)state;
    static const struct { const char *body; int64_t macs; } table[] = {
        {"(float[1,4,8,8] x, float[6,4,3,3] w) => (y) { y = Conv (x, w) }", 6 * 36 * 36},
        {"(float[2,3,4] x, float[4,5] w) => (y) { y = MatMul (x, w) }", 2 * 3 * 4 * 5},
        {"(float[4,3] x, float[4,5] w) => (y) { y = Gemm <transA = 1> (x, w) }", 3 * 4 * 5},
        {"(float[n,3] x, float[3,5] w) => (y) { y = MatMul (x, w) }", -1},
        {"(float[7,2,3] x, float[1,20,3] w, float[1,20,5] r) => (y) { y = LSTM <hidden_size = 5> (x, w, r) }", 7 * 2 * (20 * 3 + 20 * 5)},
        {"(float[2] x) => (y) { y = Neg (x) }", 0},
    };
    for (int i = 0; i < FY_COUNT(table); i++) {
        fy_model *m = named(table[i].body);
        assert_int_equal(fy_node_macs(m->graph->first), table[i].macs);
        fy_model_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv), cmocka_unit_test(test_reference), cmocka_unit_test(test_gone), cmocka_unit_test(test_unknown), cmocka_unit_test(test_macs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
