/* SPDX-License-Identifier: Apache-2.0
 * test_index.c - gathering and scattering against naive loops, hostile indices, symbolic sizes. */
#include "infer_property.h"

static const int64_t hostile[] = {3, -4, INT64_MAX, INT64_MIN, INT32_MIN, (int64_t)1 << 33};

static void test_gather(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, x = rig_f32(RIG_DIMS(3, 2), RIG_F(1, 2, 3, 4, 5, 6)), in[2] = {x, rig_i64(RIG_DIMS(2, 2), RIG_I(0, -1, 1, 2))};
    assert_ok(rig_op("Gather", 2, in, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 2, 2), RIG_D(1, 2, 5, 6, 3, 4, 5, 6));
    fy_tensor_free(&y);
    in[1] = rig_i64(RIG_DIMS(3), RIG_I(1, 0, -2));
    assert_ok(rig_op("Gather", 2, in, FY_A(fy_int("axis", 1)), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(3, 3), RIG_D(2, 1, 1, 4, 3, 3, 6, 5, 5));
    fy_tensor_free(&y);
    for (int i = 0; i < FY_COUNT(hostile); i++) {
        in[1] = rig_i64(RIG_DIMS(1), &hostile[i]);
        assert_fails(rig_op("Gather", 2, in, FY_NOATTR, 1, &y, &e), INDEX);
        in[1] = rig_i64(RIG_DIMS(1, 1), &hostile[i]);
        assert_fails(rig_op("GatherElements", 2, in, FY_NOATTR, 1, &y, &e), INDEX);
        assert_fails(rig_op("GatherND", 2, in, FY_NOATTR, 1, &y, &e), INDEX);
        fy_tensor sc[3] = {x, in[1], rig_f32(RIG_DIMS(1, 1), RIG_F(7))};
        assert_fails(rig_op("ScatterElements", 3, sc, FY_NOATTR, 1, &y, &e), INDEX);
        sc[2] = rig_f32(RIG_DIMS(1, 2), RIG_F(7, 8));
        assert_fails(rig_op("ScatterND", 3, sc, FY_NOATTR, 1, &y, &e), INDEX);
    }
}

/* ScatterElements of what GatherElements took puts it back; with distinct indices both are permutations. */
static void test_gather_scatter(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 40; trial++) {
        ferry_error e;
        int64_t dim[3] = {rig_range(&r, 1, 4), rig_range(&r, 1, 4), rig_range(&r, 1, 4)}, axis = rig_range(&r, -3, 2),
                a = axis < 0 ? axis + 3 : axis;
        fy_tensor x, index, got, back, in[3];
        assert_ok(fy_tensor_new(&x, FERRY_DOUBLE, 3, dim, &e), e);
        assert_ok(fy_tensor_new(&index, trial % 2 ? FERRY_INT64 : FERRY_INT32, 3, dim, &e), e);
        int64_t n = fy_count(&x), stride = a == 0 ? dim[1] * dim[2] : a == 1 ? dim[2] : 1, turn = rig_range(&r, 0, 3);
        for (int64_t i = 0; i < n; i++) {
            int64_t at = i / stride % dim[a], to = (at + turn + i % stride) % dim[a];
            fy_put_f64(&x, i, (double)i);
            fy_put_i64(&index, i, rig_range(&r, 0, 1) ? to : to - dim[a]);
        }
        in[0] = x;
        in[1] = index;
        assert_ok(rig_op("GatherElements", 2, in, FY_A(fy_int("axis", axis)), 1, &got, &e), e);
        for (int64_t i = 0; i < n; i++) {
            int64_t at = i / stride % dim[a], to = (at + turn + i % stride) % dim[a];
            assert_true(fy_get_f64(&got, i) == (double)(i + (to - at) * stride));
        }
        in[2] = got;
        assert_ok(rig_op("ScatterElements", 3, in, FY_A(fy_int("axis", axis)), 1, &back, &e), e);
        for (int64_t i = 0; i < n; i++) assert_true(fy_get_f64(&back, i) == (double)i);
        fy_tensor_free(&x);
        fy_tensor_free(&index);
        fy_tensor_free(&got);
        fy_tensor_free(&back);
    }
    rig_free(&r);
}

static void test_reductions(void **state) {
    (void)state;
    static const struct { const char *name; double want[3]; } kinds[] = {{"none", {4, 2, 30}}, {"add", {8, 2, 33}}, {"mul", {12, 2, 90}},
            {"min", {1, 2, 3}}, {"max", {4, 2, 30}}};
    ferry_error e;
    for (int i = 0; i < 5; i++) {
        fy_tensor y, in[3] = {rig_f32(RIG_DIMS(3), RIG_F(1, 2, 3)), rig_i64(RIG_DIMS(3), RIG_I(0, 2, 0)), rig_f32(RIG_DIMS(3), RIG_F(3,
                30, 4))};
        assert_ok(rig_op("ScatterElements", 3, in, FY_A(fy_text("reduction", kinds[i].name)), 1, &y, &e), e);
        rig_expect(&y, RIG_DIMS(3), kinds[i].want);
        fy_tensor_free(&y);
        in[1] = rig_i64(RIG_DIMS(3, 1), RIG_I(0, -1, 0));
        assert_ok(rig_op("ScatterND", 3, in, FY_A(fy_text("reduction", kinds[i].name)), 1, &y, &e), e);
        rig_expect(&y, RIG_DIMS(3), kinds[i].want);
        fy_tensor_free(&y);
    }
}

static void test_nd(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, in[3] = {rig_f32(RIG_DIMS(2, 2, 2), RIG_F(0, 1, 2, 3, 4, 5, 6, 7)), rig_i64(RIG_DIMS(2, 1), RIG_I(1, 0))};
    assert_ok(rig_op("GatherND", 2, in, FY_A(fy_int("batch_dims", 1)), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 2), RIG_D(2, 3, 4, 5));
    fy_tensor_free(&y);
    in[1] = rig_i64(RIG_DIMS(1, 2), RIG_I(1, 0));
    in[2] = rig_f32(RIG_DIMS(1, 2), RIG_F(8, 9));
    assert_ok(rig_op("ScatterND", 3, in, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 2, 2), RIG_D(0, 1, 2, 3, 8, 9, 6, 7));
    fy_tensor_free(&y);
}

static void test_selection(void **state) {
    (void)state;
    ferry_error e;
    const uint8_t cond[] = {0, 1, 1};
    fy_tensor y, in[2] = {rig_f32(RIG_DIMS(3, 2), RIG_F(1, 0, 0, 4, 5, 0)), fy_tensor_view(FERRY_BOOL, RIG_DIMS(3), cond)};
    assert_ok(rig_op("Compress", 2, in, FY_A(fy_int("axis", 0)), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 2), RIG_D(0, 4, 5, 0));
    fy_tensor_free(&y);
    assert_ok(rig_op("Compress", 2, in, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2), RIG_D(0, 0));
    fy_tensor_free(&y);
    assert_fails(rig_op("Compress", 2, in, FY_A(fy_int("axis", 1)), 1, &y, &e), INDEX);
    assert_ok(rig_op("NonZero", 1, in, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 3), RIG_D(0, 1, 2, 0, 1, 0));
    fy_tensor_free(&y);
    fy_tensor hot[3] = {rig_i64(RIG_DIMS(4), RIG_I(1, -1, 3, INT64_MIN)), rig_i64(0, NULL, RIG_I(3)), rig_f32(RIG_DIMS(2), RIG_F(-1, 2))};
    assert_ok(rig_op("OneHot", 3, hot, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(4, 3), RIG_D(-1, 2, -1, -1, -1, 2, -1, -1, -1, -1, -1, -1));
    fy_tensor_free(&y);
    hot[1] = rig_i64(0, NULL, RIG_I(INT64_MAX));
    assert_int_not_equal(rig_op("OneHot", 3, hot, FY_NOATTR, 1, &y, &e), FY_OK);
}

static void test_symbolic(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *table = rig_in(&r, FERRY_FLOAT, "3 d"), *ids = rig_in(&r, FERRY_INT64, "b s"), *x = rig_in(&r, FERRY_FLOAT, "b s d"), *y;
    rig_out(&r, y = fy_emit(&r.b, "Gather", FY_V(table, ids), FY_NOATTR));
    rig_type_is(y, "f32[b,s,d]");
    rig_out(&r, y = fy_emit(&r.b, "OneHot", FY_V(ids, fy_k_i64(&r.b, 5), RIG_K(&r, 0, 1)), FY_A(fy_int("axis", 1))));
    rig_type_is(y, "i64[b,5,s]");
    rig_out(&r, fy_emit(&r.b, "NonZero", FY_V(x), FY_NOATTR));
    fy_value *cond = rig_in(&r, FERRY_BOOL, "s");
    rig_out(&r, fy_emit(&r.b, "Compress", FY_V(x, cond), FY_A(fy_int("axis", 1))));
    fy_value *ids3 = fy_b_unsqueeze(&r.b, ids, 2);
    rig_out(&r, y = fy_emit(&r.b, "GatherND", FY_V(table, ids3), FY_NOATTR));
    rig_type_is(y, "f32[b,s,d]");
    fy_value *one = rig_in(&r, FERRY_FLOAT, "b 1 d");
    rig_out(&r, y = fy_emit(&r.b, "TensorScatter", FY_V(x, one), FY_A(fy_text("mode", "circular"))));
    rig_type_is(y, "f32[b,s,d]");
    rig_property(&r, 1, 5);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gather), cmocka_unit_test(test_gather_scatter),
            cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_nd), cmocka_unit_test(test_selection), cmocka_unit_test(test_symbolic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
