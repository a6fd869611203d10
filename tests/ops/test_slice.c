/* SPDX-License-Identifier: Apache-2.0
 * test_slice.c - Slice against Python's rule over random arguments, Pad against a rule written down another way, symbolic bounds. */
#include "infer_property.h"

/* Python: range(*slice(start, end, step).indices(n)), by walking. */
static int64_t python_range(int64_t *pick, int64_t n, int64_t start, int64_t end, int64_t step) {
    int64_t count = 0;
    double s = (double)start, e = (double)end;
    if (s < 0) s += (double)n;
    if (e < 0) e += (double)n;
    if (step > 0) {
        if (s < 0) s = 0;
        if (e > (double)n) e = (double)n;
        for (; s < e; s += (double)step) pick[count++] = (int64_t)s;
    } else {
        if (s > (double)n - 1) s = (double)n - 1;
        if (e < -1) e = -1;
        for (; s > e; s += (double)step) pick[count++] = (int64_t)s;
    }
    return count;
}

static int64_t bound(rig *r) {
    static const int64_t odd[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT64_MIN + 1, INT32_MAX, INT32_MIN, (int64_t)1 << 40};
    return rig_range(r, 0, 3) ? rig_range(r, -9, 9) : odd[rig_range(r, 0, FY_COUNT(odd) - 1)];
}

static void test_python(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 400; trial++) {
        ferry_error e;
        int64_t n = rig_range(&r, 0, 7), m = 3, data[21], pick[8], s = bound(&r), t = bound(&r), k = bound(&r), axis = rig_range(&r, -2, 1);
        if (!k) k = 1;
        bool rows = axis == 0 || axis == -2;
        for (int i = 0; i < 21; i++) data[i] = i;
        fy_tensor x = rig_i64(2, rows ? (int64_t[]){n, m} : (int64_t[]){m, n}, data), y;
        fy_tensor in[5] = {x, rig_i64(RIG_DIMS(1), &s), rig_i64(RIG_DIMS(1), &t), rig_i64(RIG_DIMS(1), &axis), rig_i64(RIG_DIMS(1), &k)};
        int64_t count = python_range(pick, n, s, t, k);
        assert_ok(rig_op("Slice", 5, in, FY_NOATTR, 1, &y, &e), e);
        assert_int_equal(y.dim[rows ? 0 : 1], count);
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = 0; j < m; j++)
                assert_int_equal(fy_get_i64(&y, rows ? i * m + j : j * count + i), rows ? pick[i] * m + j : j * n + pick[i]);
        fy_tensor_free(&y);
    }
    rig_free(&r);
}

static void test_symbolic(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s 8"), *y, *len = rig_in(&r, FERRY_FLOAT, "t");
    struct { int64_t s, e, k, axis; const char *type; } fixed[] = {
        {0, INT64_MAX, 1, 1, "f32[b,s,8]"}, {-1, INT64_MAX, 1, 2, "f32[b,s,1]"}, {-1, INT64_MIN, -1, 1, "f32[b,s,8]"}, {2, -1, 1, 2,
                "f32[b,s,5]"},
        {0, INT64_MAX, 2, 1, NULL}, {1, INT64_MAX, 1, 1, NULL}, {0, -1, 1, 1, NULL}, {-2, INT64_MAX, 1, 1, NULL}, {1, 3, 1, 1, NULL}, {5,
                2, -1, 1, NULL},
        {-1, 0, -2, 1, NULL}, {3, INT64_MIN, -1, 1, NULL}, {INT64_MAX, 1, -3, 1, NULL}};
    for (int i = 0; i < FY_COUNT(fixed); i++) {
        y = fy_emit(&r.b, "Slice", FY_V(x, RIG_K(&r, fixed[i].s), RIG_K(&r, fixed[i].e), RIG_K(&r, fixed[i].axis), RIG_K(&r, fixed[i].k)),
                FY_NOATTR);
        assert_non_null(y);
        if (fixed[i].type) rig_type_is(y, fixed[i].type);
        if (i < 12) rig_out(&r, y);
    }
    /* bounds that are sizes themselves */
    fy_value *t = fy_emit(&r.b, "Shape", FY_V(len), FY_NOATTR), *s = fy_emit(&r.b, "Shape", FY_V(x), FY_A(fy_int("start", 1),
            fy_int("end", 2)));
    rig_out(&r, fy_emit(&r.b, "Slice", FY_V(x, RIG_K(&r, 0), t, RIG_K(&r, 1)), FY_NOATTR));
    rig_out(&r, fy_emit(&r.b, "Slice", FY_V(x, t, RIG_K(&r, INT64_MAX), RIG_K(&r, 1)), FY_NOATTR));
    rig_out(&r, y = fy_emit(&r.b, "Slice", FY_V(x, RIG_K(&r, 0), s, RIG_K(&r, 1)), FY_NOATTR));
    rig_type_is(y, "f32[b,s,8]");
    fy_value *last = fy_emit(&r.b, "Sub", FY_V(s, RIG_K(&r, 1)), FY_NOATTR);
    rig_out(&r, fy_emit(&r.b, "Slice", FY_V(x, RIG_K(&r, 0), last, RIG_K(&r, 1)), FY_NOATTR));
    rig_property(&r, 1, 6);
    rig_property(&r, 0, 2);
    rig_free(&r);
}

static void test_elements(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s 8 w"), *shape = fy_emit(&r.b, "Shape", FY_V(x), FY_NOATTR), *y;
    y = fy_emit(&r.b, "Slice", FY_V(shape, RIG_K(&r, -1), RIG_K(&r, INT64_MIN), RIG_K(&r, 0), RIG_K(&r, -2)), FY_NOATTR);
    assert_non_null(y);
    assert_int_equal(y->nelem, 2);
    assert_ptr_equal(y->elem[0], x->type.dim[3]);
    assert_ptr_equal(y->elem[1], x->type.dim[1]);
    rig_out(&r, y);
    rig_property(&r, 1, 4);
    rig_free(&r);
}

static void test_pad(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s+2"), *y;
    rig_out(&r, y = fy_emit(&r.b, "Pad", FY_V(x, RIG_K(&r, 0, 1, 0, 2)), FY_NOATTR));
    rig_type_is(y, "f32[b,s + 5]");
    rig_out(&r, y = fy_emit(&r.b, "Pad", FY_V(x, RIG_K(&r, -1, 3), NULL, RIG_K(&r, -1)), FY_A(fy_text("mode", "edge"))));
    rig_type_is(y, "f32[b,s + 4]");
    rig_property(&r, 0, 5);
    rig_free(&r);
    ferry_error e;
    fy_tensor t, v = rig_f32(0, NULL, RIG_F(9)), in[3] = {rig_f32(RIG_DIMS(3), RIG_F(1, 2, 3)), rig_i64(RIG_DIMS(2), RIG_I(2, 4)), v};
    static const struct { const char *mode; double want[9]; } modes[] = {{"constant", {9, 9, 1, 2, 3, 9, 9, 9, 9}}, {"reflect", {3, 2, 1,
            2, 3, 2, 1, 2, 3}},
        {"edge", {1, 1, 1, 2, 3, 3, 3, 3, 3}}, {"wrap", {2, 3, 1, 2, 3, 1, 2, 3, 1}}};
    for (int i = 0; i < 4; i++) {
        assert_ok(rig_op("Pad", 3, in, FY_A(fy_text("mode", modes[i].mode)), 1, &t, &e), e);
        rig_expect(&t, RIG_DIMS(9), modes[i].want);
        fy_tensor_free(&t);
    }
    in[1] = rig_i64(RIG_DIMS(2), RIG_I(-2, 1));
    assert_ok(rig_op("Pad", 3, in, FY_NOATTR, 1, &t, &e), e);
    rig_expect(&t, RIG_DIMS(2), RIG_D(3, 9));
    fy_tensor_free(&t);
    in[1] = rig_i64(RIG_DIMS(2), RIG_I(-2, -2));
    assert_fails(rig_op("Pad", 3, in, FY_NOATTR, 1, &t, &e), SHAPE);
    in[1] = rig_i64(RIG_DIMS(2), RIG_I(INT64_MAX, INT64_MAX));
    assert_int_not_equal(rig_op("Pad", 3, in, FY_NOATTR, 1, &t, &e), FY_OK);
    assert_fails(rig_op("Pad", 3, in, FY_A(fy_text("mode", "mirror")), 1, &t, &e), ATTR);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_python), cmocka_unit_test(test_symbolic), cmocka_unit_test(test_elements),
            cmocka_unit_test(test_pad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
