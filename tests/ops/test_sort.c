/* SPDX-License-Identifier: Apache-2.0
 * test_sort.c - TopK, Unique, CumSum, CumProd: hand-checked values, and TopK against the definition. */
#include "infer_property.h"

#include <math.h>

static void test_topk(void **state) {
    (void)state;
    rig r;
    ferry_error e;
    rig_new(&r);
    for (int trial = 0; trial < 40; trial++) {
        int64_t n = rig_range(&r, 1, 9), m = rig_range(&r, 1, 3), k = rig_range(&r, 0, n), largest = rig_range(&r, 0, 1);
        double v[27];
        for (int i = 0; i < 27; i++) v[i] = (double)rig_range(&r, -3, 3);
        fy_tensor out[2], in[2] = {fy_tensor_view(FERRY_DOUBLE, RIG_DIMS(n, m), v), rig_i64(RIG_DIMS(1), &k)};
        assert_ok(rig_op("TopK", 2, in, FY_A(fy_int("axis", 0), fy_int("largest", largest)), 2, out, &e), e);
        assert_int_equal(out[0].dim[0], k);
        for (int64_t j = 0; j < m; j++)
            for (int64_t i = 0; i < k; i++) {
                int64_t at = fy_get_i64(&out[1], i * m + j), before = 0;
                assert_true(fy_get_f64(&out[0], i * m + j) == v[at * m + j]);
                for (int64_t q = 0; q < n; q++) {               /* exactly i elements come before it */
                    double a = v[q * m + j], b = v[at * m + j];
                    before += (largest ? a > b : a < b) || (a == b && q < at);
                }
                assert_int_equal(before, i);
            }
        fy_tensor_free(&out[0]);
        fy_tensor_free(&out[1]);
    }
    fy_tensor out[2], in[2] = {rig_f32(RIG_DIMS(4), RIG_F(1, NAN, 3, 2)), rig_i64(RIG_DIMS(1), RIG_I(2))};
    assert_ok(rig_op("TopK", 2, in, FY_NOATTR, 2, out, &e), e);
    assert_int_equal(fy_get_i64(&out[1], 0), 1);
    assert_int_equal(fy_get_i64(&out[1], 1), 2);
    fy_tensor_free(&out[0]);
    fy_tensor_free(&out[1]);
    in[1] = rig_i64(RIG_DIMS(1), RIG_I(5));
    assert_fails(rig_op("TopK", 2, in, FY_NOATTR, 2, out, &e), VALUE);
    in[1] = rig_i64(RIG_DIMS(1), RIG_I(INT64_MIN));
    assert_fails(rig_op("TopK", 2, in, FY_NOATTR, 2, out, &e), VALUE);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s");
    fy_node *n = fy_emit_n(&r.b, "TopK", 2, FY_V(x, RIG_K(&r, 1)), FY_A(fy_int("axis", 1)));
    assert_non_null(n);
    rig_type_is(n->out[1], "i64[b,1]");
    rig_out(&r, n->out[0]);
    rig_property(&r, 1, 5);
    rig_free(&r);
}

static void test_unique(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor out[4], x = rig_f32(RIG_DIMS(6), RIG_F(2, 1, 1, 3, 4, 3));
    assert_ok(rig_op("Unique", 1, &x, FY_A(fy_int("sorted", 0)), 4, out, &e), e);
    rig_expect(&out[0], RIG_DIMS(4), RIG_D(2, 1, 3, 4));
    rig_expect(&out[1], RIG_DIMS(4), RIG_D(0, 1, 3, 4));
    rig_expect(&out[2], RIG_DIMS(6), RIG_D(0, 1, 1, 2, 3, 2));
    rig_expect(&out[3], RIG_DIMS(4), RIG_D(1, 2, 2, 1));
    for (int i = 0; i < 4; i++) fy_tensor_free(&out[i]);
    x = rig_f32(RIG_DIMS(3, 3), RIG_F(1, 0, 0, 1, 0, 0, 2, 3, 4));
    assert_ok(rig_op("Unique", 1, &x, FY_A(fy_int("axis", 0)), 4, out, &e), e);
    rig_expect(&out[0], RIG_DIMS(2, 3), RIG_D(1, 0, 0, 2, 3, 4));
    rig_expect(&out[2], RIG_DIMS(3), RIG_D(0, 0, 1));
    for (int i = 0; i < 4; i++) fy_tensor_free(&out[i]);
}

static void test_cumulative(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, in[2] = {rig_f32(RIG_DIMS(2, 3), RIG_F(1, 2, 3, 4, 5, 6)), rig_i64(0, NULL, RIG_I(1))};
    assert_ok(rig_op("CumSum", 2, in, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 3), RIG_D(1, 3, 6, 4, 9, 15));
    fy_tensor_free(&y);
    assert_ok(rig_op("CumSum", 2, in, FY_A(fy_int("reverse", 1), fy_int("exclusive", 1)), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 3), RIG_D(5, 3, 0, 11, 6, 0));
    fy_tensor_free(&y);
    assert_ok(rig_op("CumProd", 2, in, FY_A(fy_int("exclusive", 1)), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 3), RIG_D(1, 1, 2, 1, 4, 20));
    fy_tensor_free(&y);
    in[1] = rig_i64(0, NULL, RIG_I(INT64_MIN));
    assert_fails(rig_op("CumSum", 2, in, FY_NOATTR, 1, &y, &e), AXIS);
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s t"), *shape = fy_emit(&r.b, "Shape", FY_V(x), FY_NOATTR);
    for (int i = 0; i < 4; i++)
        rig_out(&r, fy_emit(&r.b, "CumSum", FY_V(shape, fy_k_i64(&r.b, 0)), FY_A(fy_int("reverse", i & 1), fy_int("exclusive", i >> 1))));
    rig_property(&r, 1, 5);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_topk), cmocka_unit_test(test_unique), cmocka_unit_test(test_cumulative)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
