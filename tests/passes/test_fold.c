/* SPDX-License-Identifier: Apache-2.0
 * test_fold.c - constants are computed within the budget, large weights become recipes, chance and failing nodes stay. */
#include "pass_text.h"

static void test_computes(void **state) {
    (void)state;
    assert_pass("fold", "(float[2] x) => (y) <float[2] w = {1, 4}, float two = {2}> { a = Sqrt (w) b = Mul (a, two) y = Add (x, b) }",
        "(float[2] x) => (y) <float[2] b = {2, 4}> { y = Add (x, b) }");
    assert_pass("fold", "(float[3,n] x) => (y) <int64 zero = {0}> { s = Shape (x) d = Gather (s, zero) f = Cast <to = 1> (d) y = Mul (x, f) }",
        "(float[3,n] x) => (y) <float f = {3}> { y = Mul (x, f) }");
    assert_pass("fold", "(float[2] x) => (y) <int64[1] n = {2}> { k = ConstantOfShape <value = float[1] {7}> (n) y = Add (x, k) }",
        "(float[2] x) => (y) <float[2] k = {7, 7}> { y = Add (x, k) }");
}

/* The producer of an output of the model stays, so that the output keeps its name. */
static void test_outputs(void **state) {
    (void)state;
    assert_pass("fold", "() => (y) <float[2] w = {1, 4}> { a = Sqrt (w) y = Neg (a) }", "() => (y) <float[2] a = {1, 2}> { y = Neg (a) }");
}

static void test_stays(void **state) {
    static const char *const node[] = {"r = RandomNormal <shape = [2]> ()", "r = RandomNormalLike (w)", "r = Dropout (w, half, yes)", "r = Bernoulli (half2)", "r = com.acme.F (w)",
        "r = Multinomial <sample_size = 2> (rows) "};
    (void)state;
    for (int i = 0; i < FY_COUNT(node); i++) {
        char text[400];
        snprintf(text, sizeof text, "(float[2] x) => (y, r2) <float[2] w = {1, 4}, float half = {0.5}, float[2] half2 = {0.5, 0.5}, bool yes = {1}, float[1,2] rows = {0.5, 0.5}> "
            "{ %s y = Neg (x) r2 = Identity (r) }", node[i]);
        fy_model *m = model_of(text);
        if (run_pass(m, "fold", NULL)) fail_msg("folded: %s", node[i]);
        fy_model_free(m);
    }
}

/* A node whose kernel says no is left for the run that reaches it (or never does). */
static void test_failing_node_stays(void **state) {
    (void)state;
    fy_model *m = model_of("(bool c) => (y) <float[2] w = {1, 4}, int64[1] far = {7}, float[1] one = {1}> { y = If <then_branch = t () => (p) { p2 = Gather (w, far) p = Neg (p2) }, "
        "else_branch = f () => (q) { q2 = Sqrt (one) q = Neg (q2) }> (c) }");
    assert_int_equal(run_pass(m, "fold", NULL), 1);          /* the Sqrt */
    assert_int_equal(count_op(m, "Gather"), 1);
    assert_int_equal(run_pass(m, "fold", NULL), 0);
    fy_model_free(m);
}

static void test_budget(void **state) {
    fy_pass_options small = {.fold = true, .fold_bytes = 64};
    (void)state;
    fy_model *m = model_of("(float[100] x) => (y) <int64[1] n = {100}, float[2] w = {1, 4}> { k = ConstantOfShape <value = float[1] {7}> (n) a = Sqrt (w) b = ReduceSum <keepdims = 0> (a) "
        "c = Add (x, k) y = Mul (c, b) }");
    run_pass(m, "fold", &small);
    assert_int_equal(count_op(m, "ConstantOfShape"), 1);
    assert_int_equal(count_op(m, "Sqrt") + count_op(m, "ReduceSum"), 0);
    assert_true(run_pass(m, "fold", NULL) > 0);
    assert_int_equal(count_op(m, "ConstantOfShape"), 0);
    fy_model_free(m);
}

/* The budget is for the whole model: of two arrays that come from nothing, the second has no room. */
static void test_growth(void **state) {
    fy_pass_options small = {.fold = true, .fold_bytes = 12000};
    ferry_error e;
    (void)state;
    fy_model *m = model_of("(float[2000] x) => (y) <int64[1] n = {2000}> { k = ConstantOfShape <value = float[1] {7}> (n) l = ConstantOfShape <value = float[1] {8}> (n) a = Add (x, k) y = Mul (a, l) }");
    assert_ok(fy_passes_run(m, &small, &e), e);
    assert_int_equal(count_op(m, "ConstantOfShape"), 1);
    assert_int_equal(m->graph->nnodes, 3);
    fy_model_free(m);
}

/* A large weight that something else reads as well, or that is stored in half the width, is not written a second time; a quantised one stays. */
static void test_no_copies(void **state) {
    static const char *const text[] = {
        "(int64[2] i, float[3,64] x) => (y, z) <float[200,64] w = {%s}> { y = Gather (w, i) t = Transpose (w) z = MatMul (x, t) }",
        "(float[3,64] x) => (z) <float16[64,200] w = {%s}> { t = Cast <to = 1> (w) z = MatMul (x, t) }",
        "(float[3,64] x) => (z) <int8[64,200] w = {%s}, float s = {0.5}> { t = DequantizeLinear (w, s) z = MatMul (x, t) }"};
    fy_pass_options small = {.fold = true, .fold_bytes = 4096};
    fy_buf zeros = {0};
    (void)state;
    for (int i = 0; i < 12800; i++) fy_buf_str(&zeros, i ? ", 0" : "0");
    for (int i = 0; i < FY_COUNT(text); i++) {
        fy_buf body = {0};
        const char *at = strstr(text[i], "%s");
        fy_buf_add(&body, text[i], (size_t)(at - text[i]));
        fy_buf_str(&body, zeros.at);
        fy_buf_str(&body, at + 2);
        fy_model *m = model_of(body.at);
        assert_int_equal(run_pass(m, "fold", &small), 0);
        if (i < 2) assert_int_equal(run_pass(m, "fold", NULL), 1);
        else assert_int_equal(run_pass(m, "fold", NULL), 0);
        fy_model_free(m);
        fy_buf_free(&body);
    }
    fy_buf_free(&zeros);
}

/* A Constant node is its value, above any budget too; comparisons of sizes are known as well. */
static void test_values(void **state) {
    fy_pass_options small = {.fold = true, .fold_bytes = 4};
    (void)state;
    fy_model *m = model_of("(float[4] x) => (y) { k = Constant <value = float[4] {1, 2, 3, 4}> () y = Add (x, k) }");
    assert_int_equal(run_pass(m, "fold", &small), 1);
    fy_model_free(m);
    assert_becomes("fold", "(float[n,3] x) => (y) <int64[1] one = {1}, int64[1] three = {3}> { s = Shape <start = 1> (x) e = Equal (s, three) y = Where (e, s, one) }",
        "(float[n,3] x) => (y) <int64[1] one = {1}, int64[1] s = {3}, bool[1] e = {1}> { y = Where (e, s, one) }");
}

/* A weight above any budget: movement and float casts become recipes over the mapped bytes, nothing is copied. */
static void test_recipes(void **state) {
    static const char *const node[] = {"t = Transpose <perm = [1, 0]> (w)", "t = Reshape (w, k)", "t = Cast <to = 10> (w)", "t = Identity (w)", "t = Unsqueeze (w, one)", "t = Flatten <axis = 2> (w)"};
    static const fy_const_kind kind[] = {FY_CONST_STRIDED, FY_CONST_BYTES, FY_CONST_CAST, FY_CONST_BYTES, FY_CONST_BYTES, FY_CONST_BYTES};
    int64_t dim[2] = {512, 1024};
    float  *bytes = calloc(512 * 1024, sizeof *bytes);
    (void)state;
    for (int i = 0; i < 512 * 1024; i++) bytes[i] = (float)i;
    for (int i = 0; i < FY_COUNT(node); i++) {
        char text[400];
        ferry_error e;
        snprintf(text, sizeof text, "(float x) => (y) <float[2,2] w = {0, 0, 0, 0}, int64[3] k = {4, 128, 1024}, int64[1] one = {1}> { %s y = Size (t) }", node[i]);
        fy_model *m = parsed(text);
        fy_value *w = m->graph->first->in[0].value;
        w->constant = fy_const_bytes(&m->arena, FERRY_FLOAT, 2, dim, bytes, 512 * 1024 * sizeof *bytes);
        w->type = fy_tensor_type_i64(m, FERRY_FLOAT, 2, dim);
        assert_ok(fy_infer_model(m, &e), e);
        size_t used = fy_os_bytes();
        assert_int_equal(run_pass(m, "fold", NULL), 1);
        assert_true(fy_os_bytes() - used < 100000);
        const fy_const *c = m->graph->first->in[0].value->constant;
        assert_non_null(c);
        if (c->kind != kind[i]) fail_msg("%s: recipe of kind %d", node[i], (int)c->kind);
        if (kind[i] == FY_CONST_BYTES) assert_ptr_equal(fy_const_direct(c), bytes);
        else assert_null(fy_const_direct(c));
        double v;
        assert_true(fy_const_f64(c, 5, &v));
        assert_true(v == (i == 0 ? 5 * 1024.0 : 5.0));
        fy_model_free(m);
    }
    free(bytes);
}

static void test_types(void **state) {
    (void)state;
    assert_pass("fold", "(float x) => (y) <int4[2,3] w = {1, -2, 3, -4, 5, -6}> { t = Transpose (w) y = DequantizeLinear (t, x) }",
        "(float x) => (y) <int4[3,2] t = {1, -4, -2, 5, 3, -6}> { y = DequantizeLinear (t, x) }");
    assert_pass("fold", "(int64 i) => (y) <string[2,1] w = {\"a\", \"b\"}, int64[1] k = {2}> { t = Reshape (w, k) y = Gather (t, i) }",
        "(int64 i) => (y) <string[2] t = {\"a\", \"b\"}> { y = Gather (t, i) }");
    assert_pass("fold", "(float[2] x) => (y) <double[2] w = {1.5, -2}> { t = Cast <to = 6> (w) y = Gather (x, t) }", "(float[2] x) => (y) <int32[2] t = {1, -2}> { y = Gather (x, t) }");
}

static void test_bodies(void **state) {
    (void)state;
    assert_pass("fold",
        "(float[2] x, bool c) => (y) <float[2] w = {1, 4}> { y = If <then_branch = t () => (p) { a = Sqrt (w) p = Add (x, a) }, else_branch = f () => (q) { q = Abs (x) }> (c) }",
        "(float[2] x, bool c) => (y) { y = If <then_branch = t () => (p) <float[2] a = {1, 2}> { p = Add (x, a) }, else_branch = f () => (q) { q = Abs (x) }> (c) }");
}

/* A weight that is read as it is and transposed: in a file it comes once, in an engine both views are constants. */
static void test_views(void **state) {
    static const fy_pass_options written = {.fold = true, .fold_bytes = 1024}, loaded = {.fold = true, .fold_bytes = 1024, .views = true};
    (void)state;
    for (int k = 0; k < 2; k++) {
        fy_model *m = model_of("(int64[3] ids, float[40,30] w) => (y, z) { g = Gather (w, ids) t = Transpose <perm = [1, 0]> (w) y = MatMul (g, t) d = Cast <to = 11> (w) z = Neg (d) }");
        int64_t dim[] = {40, 30};
        float a[1200] = {1};
        fy_value_replace(m->graph->in.at[1], fy_graph_add_const(m->graph, "w.weight", fy_const_copy(&m->arena, FERRY_FLOAT, 2, dim, a)));
        assert_int_equal(run_pass(m, "fold", k ? &loaded : &written), k);      /* the Cast makes another weight: never */
        fy_model_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_computes), cmocka_unit_test(test_outputs), cmocka_unit_test(test_views), cmocka_unit_test(test_stays), cmocka_unit_test(test_failing_node_stays),
        cmocka_unit_test(test_budget), cmocka_unit_test(test_growth), cmocka_unit_test(test_no_copies), cmocka_unit_test(test_values), cmocka_unit_test(test_recipes), cmocka_unit_test(test_types), cmocka_unit_test(test_bodies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
