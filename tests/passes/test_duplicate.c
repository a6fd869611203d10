/* SPDX-License-Identifier: Apache-2.0
 * test_duplicate.c - equal constants are one; constants that differ in anything are not. */
#include "pass_text.h"

static void test_equal(void **state) {
    (void)state;
    assert_becomes("duplicate", "(float[2] x) => (y) <float[2] a = {1, 2}, float[2] b = {1, 2}> { t = Mul (x, a) y = Add (t, b) }", "(float[2] x) => (y) <float[2] a = {1, 2}> { t = Mul (x, a) y = Add (t, a) }");
    /* one of an outer graph serves the body */
    assert_becomes("duplicate", "(float[2] x, bool c) => (y) <float[2] a = {1, 2}> { t = Mul (x, a) y = If <then_branch = p () => (q) <float[2] b = {1, 2}> { q = Add (t, b) }, else_branch = e () => (u) { u = Neg (t) }> (c) }",
        "(float[2] x, bool c) => (y) <float[2] a = {1, 2}> { t = Mul (x, a) y = If <then_branch = p () => (q) { q = Add (t, a) }, else_branch = e () => (u) { u = Neg (t) }> (c) }");
}

static void test_different(void **state) {
    (void)state;
    assert_left("duplicate", "(float[2] x) => (y, z) <float[2] a = {1, 2}, float[2] b = {1, 3}, float[1,2] c = {1, 2}, int32[2] d = {1, 2}> { t = Mul (x, a) u = Add (t, b) y = Mul (u, c) z = Identity (d) }", 0);
    assert_left("duplicate", "(float[2] x) => (y) <float[2] a = {0, 2}, float[2] b = {-0.0, 2}> { t = Mul (x, a) y = Add (t, b) }", 0);
    assert_left("duplicate", "(float[2] x) => (y, b) <float[2] a = {1, 2}, float[2] b = {1, 2}> { y = Mul (x, a) }", 0);      /* an output */
}

/* Beyond the sampled elements: one in the middle decides. */
static void test_large(void **state) {
    ferry_error e;
    (void)state;
    for (int differs = 0; differs < 2; differs++) {
        fy_model *m = model_of("(float[100,100] x) => (y) { t = Exp (x) y = Neg (t) }");
        float    *a = calloc(10000, sizeof *a), *b = calloc(10000, sizeof *b);
        int64_t   dim[] = {100, 100};
        for (int i = 0; i < 10000; i++) a[i] = b[i] = (float)i;
        if (differs) b[5003] = -1;
        fy_value *va = fy_graph_add_const(m->graph, "a", fy_const_copy(&m->arena, FERRY_FLOAT, 2, dim, a));
        fy_value *vb = fy_graph_add_const(m->graph, "b", fy_const_transpose(&m->arena, fy_const_transpose(&m->arena, fy_const_copy(&m->arena, FERRY_FLOAT, 2, dim, b), (int[]){1, 0}), (int[]){1, 0}));
        fy_build w = {.g = m->graph, .before = m->graph->last, .e = &e};
        fy_value *s = fy_emit(&w, "Add", FY_V(m->graph->first->out[0], va), FY_NOATTR);
        s = fy_emit(&w, "Add", FY_V(s, vb), FY_NOATTR);
        fy_node_set_input(m->graph->last, 0, s);
        assert_int_equal(run_pass(m, "duplicate", NULL), !differs);
        free(a);
        free(b);
        fy_model_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_equal), cmocka_unit_test(test_different), cmocka_unit_test(test_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
