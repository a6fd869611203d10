/* SPDX-License-Identifier: Apache-2.0
 * test_batch_norm.c - folding changes no number beyond rounding, touches nothing that others use, and refuses the rest. */
#include "pass_text.h"

#define STATS "float[4] s = {1.5, -0.5, 2, 0.25}, float[4] b = {0.1, -3, 0, 7}, float[4] mean = {0.5, -2, 4, 0}, float[4] var = {0.01, 2, 9, 0.5}"
#define BN(x, y) y " = BatchNormalization <epsilon = 0.001> (" x ", s, b, mean, var) "
#define W4x3 "float[4,3,1] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}"

/* Numbers of every output before and after; how many BatchNormalization are left. */
static fy_model *folds(const char *text, int64_t left, double tolerance) {
    fy_model *m = model_of(text);
    FY_VEC(fy_tensor) before = {0};
    int64_t had = count_op(m, "BatchNormalization"), n = m->graph->out.n;
    before.at = calloc((size_t)n, sizeof *before.at);
    for (int64_t i = 0; i < n; i++) run_model(m, i, &before.at[i]);
    int64_t changes = run_pass(m, "batch-norm", NULL);
    if (count_op(m, "BatchNormalization") != left) fail_msg("%lld left of %s", (long long)count_op(m, "BatchNormalization"), text);
    assert_int_equal(changes, had - left);
    for (int64_t i = 0; i < n; i++) {
        fy_tensor after;
        run_model(m, i, &after);
        assert_near(&after, &before.at[i], tolerance);
        fy_tensor_free(&after);
        fy_tensor_free(&before.at[i]);
    }
    free(before.at);
    assert_int_equal(run_pass(m, "batch-norm", NULL), 0);
    return m;
}

static void test_folds(void **state) {
    static const char *const text[] = {
        "(float[2,3,5] x) => (y) <" W4x3 ", " STATS "> { c = Conv (x, w) " BN("c", "n") "y = Relu (n) }",
        "(float[2,3,5] x) => (y) <" W4x3 ", float[4] k = {1, -1, 0.5, 3}, " STATS "> { c = Conv (x, w, k) " BN("c", "n") "y = Relu (n) }",
        "(float[2,4,5] x) => (y) <float[4,2,1] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5}, " STATS "> { c = Conv <group = 2> (x, w) " BN("c", "y") "}",
        "(float[n,3,h,w2] x) => (y) <float[4,3,1,1] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}, " STATS "> { c = Conv (x, w) " BN("c", "y") "}",
        "(float[2,2,5] x) => (y) <float[2,4,2] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0, 4, 1, 2, -3}, " STATS "> { c = ConvTranspose (x, w) " BN("c", "y") "}",
        "(float[2,3] x) => (y) <float[3,4] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}, float[4] k = {1, -1, 0.5, 3}, " STATS "> "
        "{ c = Gemm <alpha = 0.5, beta = 2.0> (x, w, k) " BN("c", "y") "}",
        "(float[2,3] x) => (y) <float[4,3] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}, float[1,4] k = {1, -1, 0.5, 3}, " STATS "> "
        "{ c = Gemm <transB = 1> (x, w, k) " BN("c", "y") "}",
        "(float[2,3] x) => (y) <float[4,3] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}, " STATS "> { c = Gemm <transB = 1, beta = 0.5> (x, w) " BN("c", "y") "}",
        "(float[3,2] x) => (y) <float[4,3] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}, " STATS "> { c = Gemm <transA = 1, transB = 1> (x, w) " BN("c", "y") "}",
        "(double[2,3,5] x) => (y) <double[4,3,1] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}, double[4] s = {1.5, -0.5, 2, 0.25}, double[4] b = {0.1, -3, 0, 7}, "
        "double[4] mean = {0.5, -2, 4, 0}, double[4] var = {0.01, 2, 9, 0.5}> { c = Conv (x, w) " BN("c", "y") "}"};
    (void)state;
    for (int i = 0; i < FY_COUNT(text); i++) fy_model_free(folds(text[i], 0, strstr(text[i], "double[") ? 1e-13 : 2e-6));
}

static void test_refuses(void **state) {
    static const char *const text[] = {
        "(float[2,3,5] x) => (y, z) <" W4x3 ", " STATS "> { c = Conv (x, w) " BN("c", "y") "z = Relu (c) }",             /* two readers */
        "(float[2,3,5] x) => (c, y) <" W4x3 ", " STATS "> { c = Conv (x, w) " BN("c", "y") "}",                        /* an output itself */
        "(float[2,3,5] x, float[4,3,1] w) => (y) <" STATS "> { c = Conv (x, w) " BN("c", "y") "}",                       /* weight not constant */
        "(float[2,3,5] x, float[4] k) => (y) <" W4x3 ", " STATS "> { c = Conv (x, w, k) " BN("c", "y") "}",              /* bias not constant */
        "(float[2,3] x, float[3,4] w) => (y) <" STATS "> { c = MatMul (x, w) " BN("c", "y") "}",
        "(float[2,4,5] x) => (y) <float[4,2,1] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5}, " STATS "> { c = ConvTranspose <group = 2> (x, w) " BN("c", "y") "}",
        /* a bias for each row, which has as many elements as one for each column */
        "(float[4,3] x) => (y) <float[3,4] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}, float[4,1] k = {1, -1, 0.5, 3}, " STATS "> { c = Gemm (x, w, k) " BN("c", "y") "}"};
    (void)state;
    for (int i = 0; i < FY_COUNT(text); i++) fy_model_free(folds(text[i], 1, 0));
}

/* The norm uses the statistics of the batch: nothing is known. */
static void test_training_mode(void **state) {
    (void)state;
    fy_model *m = model_of("(float[2,3,5] x) => (y) <" W4x3 ", " STATS "> { c = Conv (x, w) y, m2, v2 = BatchNormalization <training_mode = 1> (c, s, b, mean, var) }");
    assert_int_equal(run_pass(m, "batch-norm", NULL), 0);
    fy_model_free(m);
}

/* A weight, a bias and statistics with two users: the other one computes what it did. */
static void test_shared(void **state) {
    (void)state;
    fy_model *m = folds("(float[2,3,5] x) => (y, z) <" W4x3 ", float[4] k = {1, -1, 0.5, 3}, " STATS "> { c = Conv (x, w, k) " BN("c", "y") "z = Conv (x, w, k) }", 0, 2e-6);
    assert_string_equal(m->graph->last->in[1].value->name, "w");
    fy_model_free(m);
    fy_model_free(folds("(float[2,3,5] x) => (y, z) <" W4x3 ", " STATS "> { c = Conv (x, w) " BN("c", "y") "d = Conv (x, w) " BN("d", "z") "}", 0, 2e-6));
}

/* The folded weight keeps its name, a new bias is named after it and made unique, the output keeps its own. */
static void test_names(void **state) {
    ferry_error e;
    (void)state;
    fy_model *m = folds("(float[2,3,5] x, float \"a.bias\") => (y) <float[4,3,1] \"a.weight\" = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}, " STATS "> "
        "{ c = Conv (x, \"a.weight\") " BN("c", "n") "y = Add (n, \"a.bias\") }", 0, 2e-6);
    run_pass(m, "dead", NULL);
    assert_ok(fy_model_name_all(m, &e), e);
    const fy_node *c = m->graph->first;
    assert_string_equal(c->in[1].value->name, "a.weight");
    assert_string_equal(c->in[2].value->name, "a.bias_2");
    assert_string_equal(c->out[0]->name, "n");
    assert_string_equal(m->graph->in.at[1]->name, "a.bias");
    fy_model_free(m);
    m = folds("(float[2,3,5] x) => (y) <" W4x3 ", float[4] k = {1, -1, 0.5, 3}, " STATS "> { c = Conv (x, w, k) " BN("c", "y") "}", 0, 2e-6);
    assert_string_equal(m->graph->first->in[2].value->name, "k");
    assert_string_equal(m->graph->out.at[0]->name, "y");
    assert_int_equal(m->graph->first->in[1].value->constant->kind, FY_CONST_SCALE);
    fy_model_free(m);
}

static void test_bodies(void **state) {
    (void)state;
    fy_model_free(folds("(float[2,3,5] x, bool f) => (y) <" W4x3 ", " STATS "> { y = If <then_branch = t () => (p) { c = Conv (x, w) " BN("c", "p") "}, "
        "else_branch = g () => (q) { q = Conv (x, w) }> (f) }", 0, 2e-6));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_folds), cmocka_unit_test(test_refuses), cmocka_unit_test(test_training_mode), cmocka_unit_test(test_shared),
        cmocka_unit_test(test_names), cmocka_unit_test(test_bodies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
