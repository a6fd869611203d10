/* SPDX-License-Identifier: Apache-2.0
 * test_diff.c - what a comparison of two models finds: nothing where only names differ, each change where it is, weights by how far. */
#include "model_text.h"

#include "check/diff.h"



static fy_report *report(const char *a, const char *b, const fy_diff_options *o) {
    static const fy_diff_options all = {.weights = true, .metadata = true};
    ferry_error e;
    fy_model *x = model_of(a), *y = model_of(b);
    fy_diff_side p = {"a", "onnx", 28, x}, q = {"b", "onnx", 28, y};
    fy_report *r = fy_report_new(&e);
    assert_ok(fy_diff_report(r, &p, &q, o ? o : &all, &e), e);
    assert_ok(fy_report_finish(r, &e), e);
    fy_model_free(x);
    fy_model_free(y);
    return r;
}

/* The report has this verdict, and its text these words. */
static void expect(const char *a, const char *b, ferry_kind verdict, const char *const *words) {
    fy_report *r = report(a, b, NULL);
    if (r->verdict != verdict) fail_msg("verdict %d:\n%s", (int)r->verdict, r->plain.at);
    for (; *words; words++)
        if (!strstr(r->plain.at, *words)) fail_msg("no \"%s\" in\n%s", *words, r->plain.at);
    fy_report_free(r);
}
#define EXPECT(a, b, verdict, ...) expect(a, b, verdict, (const char *const[]){__VA_ARGS__, NULL})

#define MLP "(float[2,4] x) => (float[2,4] y) <float[4,4] w1 = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] b = {1,1,1,1}> {" \
            " h = MatMul(x, w1) k = Add(h, b) r = Relu(k) s = Sigmoid(r) t = Mul(s, r) y = Softmax<axis = -1>(t) }"

static void names_alone(void **state) {
    (void)state;
    EXPECT(MLP, MLP, FERRY_OK, "same: 6 nodes", "6 are the same", "weights: 2 the same");
    EXPECT(MLP, "(float[2,4] x) => (float[2,4] y) <float[4,4] other = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] c = {1,1,1,1}> {"
           " v1 = MatMul(x, other) v2 = Add(v1, c) v3 = Relu(v2) v4 = Sigmoid(v3) v5 = Mul(v4, v3) y = Softmax(v5) }", FERRY_OK, "6 are the same", "5 only under other names");
    /* names that were given to other nodes mislead nobody */
    EXPECT(MLP, "(float[2,4] x) => (float[2,4] y) <float[4,4] b1 = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] b = {1,1,1,1}> {"
           " k = MatMul(x, b1) r = Add(k, b) s = Relu(r) t = Sigmoid(s) h = Mul(t, s) y = Softmax(h) }", FERRY_OK, "6 are the same");
}

static void one_change(void **state) {
    (void)state;
    /* a node in the middle: those below it are the same */
    EXPECT(MLP, "(float[2,4] x) => (float[2,4] y) <float[4,4] w1 = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] b = {1,1,1,1}> {"
           " h = MatMul(x, w1) k = Add(h, b) n = Neg(k) r = Relu(n) s = Sigmoid(r) t = Mul(s, r) y = Softmax(t) }", FERRY_NO, "1 added", "+ Neg n", "1 changed", "~ Relu r", "input 0: k of Add -> n of Neg",
           "5 are the same");
    EXPECT("(float[2,4] x) => (float[2,4] y) { h = Relu(x) y = Softmax<axis = 0>(h) }", "(float[2,4] x) => (float[2,4] y) { a = Relu(x) y = Softmax<axis = 1>(a) }", FERRY_NO,
           "axis: 0 -> 1", "1 changed, 0 added");
    EXPECT("(float[2,4] x) => (float[2,4] y) { h = Relu(x) y = Softmax<axis = 0>(h) }", "(float[2,4] x) => (float[2,4] y) { h = Tanh(x) y = Softmax<axis = 0>(h) }", FERRY_NO,
           "operator: Relu -> Tanh");
    EXPECT("(float[2,4] x, float[2,4] z) => (float[2,4] y) { y = Sub(x, z) }", "(float[2,4] x, float[2,4] z) => (float[2,4] y) { y = Sub(z, x) }", FERRY_NO, "1 changed", "input 0: x -> z");
    EXPECT("(float[2,4] x) => (float[2,4] y) { y = Relu(x) }", "(float[N,4] x) => (float[N,4] out) { out = Relu(x) }", FERRY_NO, "f32[2,4] -> f32[N,4]", "> output y  -> out", "other types or shapes 1");
    EXPECT("(float[2,4] x) => (float[2,4] y) { y = Relu(x) }", "(float[2,4] x, float[1] q) => (float[2,4] y, float[1] p) { y = Relu(x) p = Neg(q) }", FERRY_NO, "+ input q", "+ output p", "+ Neg p");
    /* sizes are structure, weights are not */
    EXPECT("(float[2,4] x) => (float[4,2] y) <int64[2] s = {4,2}> { y = Reshape(x, s) }", "(float[2,4] x) => (float[8,1] y) <int64[2] s = {8,1}> { y = Reshape(x, s) }", FERRY_NO, "f32[4,2] -> f32[8,1]");
}

static void weights(void **state) {
    (void)state;
    EXPECT("(float[2] x) => (float[2] y) <float[2] \"a.weight\" = {1,2}> { y = Add(x, \"a.weight\") }", "(float[2] x) => (float[2] y) <float[2] \"a.weight\" = {1,2.5}> { y = Add(x, \"a.weight\") }", FERRY_NO,
           "~ a.weight  f32[2]  max abs 0.5, rel 0.2, 50 % of the elements", "1 are the same");
    EXPECT("(float[2] x) => (float[2] y) <float[2] \"a.weight\" = {1,2}> { y = Add(x, \"a.weight\") }", "(float[2] x) => (float[2] y) <float[2] \"b.weight\" = {1,2}> { y = Add(x, \"b.weight\") }", FERRY_OK,
           "> a.weight  -> b.weight", "1 renamed");
    EXPECT("(float[2] x) => (float[2] y) <float[2] w = {1,2}> { y = Add(x, w) }", "(float[2] x) => (float[2] y) <float[1] w = {1}> { y = Add(x, w) }", FERRY_NO, "f32[2] -> f32[1]");
    EXPECT("(float[2] x) => (float[2] y) <float[2] w = {nan,2}> { y = Add(x, w) }", "(float[2] x) => (float[2] y) <float[2] w = {nan,2}> { y = Add(x, w) }", FERRY_OK, "1 the same");
    EXPECT("(float[2] x) => (float[2] y) <float[2] w = {nan,2}> { y = Add(x, w) }", "(float[2] x) => (float[2] y) <float[2] w = {1,2}> { y = Add(x, w) }", FERRY_NO, "max abs nan");
    fy_diff_options near = {.weights = true, .tolerance = 0.6}, none = {0};
    const char *a = "(float[2] x) => (float[2] y) <float[2] w = {1,2}> { y = Add(x, w) }", *b = "(float[2] x) => (float[2] y) <float[2] w = {1,2.5}> { y = Add(x, w) }";
    fy_report *r = report(a, b, &near);
    assert_int_equal(r->verdict, FERRY_OK);
    assert_non_null(strstr(r->plain.at, "1 within the tolerance"));
    fy_report_free(r);
    r = report(a, b, &none);
    assert_int_equal(r->verdict, FERRY_OK);
    fy_report_free(r);
}

static void bodies(void **state) {
    (void)state;
#define IF(op) "(bool c, float[2] x) => (float[2] y) { y = If(c) <then_branch = a () => (float[2] t) { t = Relu(x) }, else_branch = b () => (float[2] u) { v = Neg(x) u = " op "(v) }> }"
    EXPECT(IF("Abs"), IF("Abs"), FERRY_OK, "same: 4 nodes");
    EXPECT(IF("Abs"), IF("Exp"), FERRY_NO, "operator: Abs -> Exp", "1 changed");
}

/* Of a chain of repeated layers one is taken out: every other node finds its own. */
static void long_chain(void **state) {
    (void)state;
    fy_buf a = {0}, b = {0};
    fy_buf_str(&a, "(float[2] x) => (float[2] y) { v0 = Identity(x)");
    fy_buf_str(&b, "(float[2] x) => (float[2] y) { q0 = Identity(x)");
    for (int i = 1; i < 2500; i++) {
        fy_buf_fmt(&a, " v%d = %s(v%d)", i, i % 3 ? "Relu" : "Tanh", i - 1);
        if (i != 1200) fy_buf_fmt(&b, " q%d = %s(q%d)", i, i % 3 ? "Relu" : "Tanh", i == 1201 ? 1199 : i - 1);
    }
    fy_buf_str(&a, " y = Exp(v2499) }");
    fy_buf_str(&b, " y = Exp(q2499) }");
    EXPECT(a.at, b.at, FERRY_NO, "- Tanh v1200", "2501 nodes and 2500: 2499 are the same, 1 changed, 0 added, 1 removed");
    fy_buf_free(&a);
    fy_buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_alone), cmocka_unit_test(one_change), cmocka_unit_test(weights), cmocka_unit_test(bodies), cmocka_unit_test(long_chain)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
