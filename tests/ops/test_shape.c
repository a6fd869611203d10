/* SPDX-License-Identifier: Apache-2.0
 * test_shape.c - reshaping, joining and cutting: hand-checked values, symbolic sizes against execution. */
#include "infer_property.h"

static void test_reshape(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s 12"), *y;
    rig_out(&r, y = fy_emit(&r.b, "Reshape", FY_V(x, RIG_K(&r, 0, -1, 3, 4)), FY_NOATTR));
    rig_type_is(y, "f32[b,s,3,4]");
    rig_out(&r, y = fy_emit(&r.b, "Reshape", FY_V(x, RIG_K(&r, -1, 6)), FY_NOATTR));
    rig_type_is(y, "f32[2*b*s,6]");
    /* heads split and merged through shape arithmetic, as exporters write it */
    fy_value *shape = fy_emit(&r.b, "Shape", FY_V(x), FY_NOATTR), *b = fy_emit(&r.b, "Gather", FY_V(shape, RIG_K(&r, 0)), FY_NOATTR);
    fy_value *s = fy_emit(&r.b, "Slice", FY_V(shape, RIG_K(&r, 1), RIG_K(&r, 2)), FY_NOATTR);
    fy_value *to = fy_emit(&r.b, "Concat", FY_V(b, s, RIG_K(&r, 4, 3)), FY_A(fy_int("axis", 0)));
    rig_out(&r, y = fy_emit(&r.b, "Reshape", FY_V(x, to), FY_NOATTR));
    rig_type_is(y, "f32[b,s,4,3]");
    y = fy_emit(&r.b, "Transpose", FY_V(y), FY_A(fy_ints("perm", 4, (int64_t[]){0, 2, 1, 3})));
    rig_type_is(y, "f32[b,4,s,3]");
    rig_out(&r, y = fy_emit(&r.b, "Reshape", FY_V(y, fy_emit(&r.b, "Concat", FY_V(b, RIG_K(&r, -1)), FY_A(fy_int("axis", 0)))), FY_NOATTR));
    rig_property(&r, 1, 6);
    rig_free(&r);
}

static void test_reshape_faults(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor out[1], x = rig_f32(RIG_DIMS(2, 3), RIG_F(1, 2, 3, 4, 5, 6));
    const struct { int64_t n, v[3]; fy_code code; } bad[] = {
        {2, {4, -1}, FY_E_SHAPE}, {2, {-1, -1}, FY_E_VALUE}, {2, {-2, 3}, FY_E_VALUE}, {3, {2, 3, 0}, FY_E_SHAPE}, {1, {7}, FY_E_SHAPE},
        {2, {INT64_MIN, 1}, FY_E_VALUE}, {2, {INT64_MAX, INT64_MAX}, FY_E_SHAPE}};
    for (int i = 0; i < FY_COUNT(bad); i++) {
        fy_tensor in[2] = {x, rig_i64(1, &bad[i].n, bad[i].v)};
        fy_status s = rig_op("Reshape", 2, in, FY_NOATTR, 1, out, &e);
        if (bad[i].v[0] == INT64_MAX) assert_int_not_equal(s, FY_OK);
        else assert_int_equal(s, bad[i].code);
    }
}

static void test_squeeze(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_INT32, "b 1 s 1"), *y;
    rig_out(&r, y = fy_emit(&r.b, "Squeeze", FY_V(x, RIG_K(&r, 1, -1)), FY_NOATTR));
    rig_type_is(y, "i32[b,s]");
    rig_out(&r, y = fy_emit(&r.b, "Unsqueeze", FY_V(y, RIG_K(&r, 0, -1)), FY_NOATTR));
    rig_type_is(y, "i32[1,b,s,1]");
    rig_out(&r, y = fy_emit(&r.b, "Flatten", FY_V(x), FY_A(fy_int("axis", -1))));
    rig_type_is(y, "i32[b*s,1]");
    rig_out(&r, fy_emit(&r.b, "Size", FY_V(x), FY_NOATTR));
    rig_property(&r, 1, 5);
    assert_null(fy_emit(&r.b, "Squeeze", FY_V(x, RIG_K(&r, 4)), FY_NOATTR));
    assert_int_equal(r.b.status, FY_E_AXIS);
    rig_free(&r);
}

static void test_transpose_inverse(void **state) {
    (void)state;
    static const fy_dtype kinds[] = {FERRY_FLOAT, FERRY_INT8, FERRY_DOUBLE, FERRY_FLOAT16, FERRY_BOOL, FERRY_INT4, FERRY_COMPLEX128,
            FERRY_UINT16};
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 60; trial++) {
        ferry_error e;
        int rank = (int)rig_range(&r, 0, 5), perm[5];
        int64_t dim[5], p[5], inv[5];
        fy_tensor x, y, z;
        for (int i = 0; i < rank; i++) { dim[i] = rig_range(&r, 0, 4); perm[i] = i; }
        for (int i = rank - 1; i > 0; i--) {
            int j = (int)rig_range(&r, 0, i), t = perm[i];
            perm[i] = perm[j];
            perm[j] = t;
        }
        for (int i = 0; i < rank; i++) { p[i] = perm[i]; inv[perm[i]] = i; }
        assert_ok(fy_tensor_new(&x, kinds[trial % FY_COUNT(kinds)], rank, dim, &e), e);
        for (int64_t i = 0; i < fy_count(&x); i++) fy_put_i64(&x, i, i % 7);
        assert_ok(rig_op("Transpose", 1, &x, FY_A(fy_ints("perm", rank, p)), 1, &y, &e), e);
        for (int i = 0; i < rank; i++) assert_int_equal(y.dim[i], dim[perm[i]]);
        assert_ok(rig_op("Transpose", 1, &y, FY_A(fy_ints("perm", rank, inv)), 1, &z, &e), e);
        assert_true(fy_same_dims(&x, &z));
        assert_memory_equal(z.data ? z.data : "", x.data ? x.data : "", (size_t)fy_count(&x) * (size_t)fy_elem_bytes(x.dtype));
        fy_tensor_free(&x);
        fy_tensor_free(&y);
        fy_tensor_free(&z);
    }
    rig_free(&r);
}

static void test_expand_tile(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b 1 3"), *y, *z = rig_in(&r, FERRY_FLOAT, "b s");
    rig_out(&r, y = fy_emit(&r.b, "Expand", FY_V(x, RIG_K(&r, 5, 1, 4, 1)), FY_NOATTR));
    rig_type_is(y, "f32[5,b,4,3]");
    fy_value *shape = fy_emit(&r.b, "Shape", FY_V(z), FY_NOATTR);
    fy_value *to = fy_emit(&r.b, "Concat", FY_V(shape, RIG_K(&r, 3)), FY_A(fy_int("axis", 0)));
    rig_out(&r, y = fy_emit(&r.b, "Expand", FY_V(x, to), FY_NOATTR));
    rig_type_is(y, "f32[b,s,3]");
    rig_out(&r, y = fy_emit(&r.b, "Tile", FY_V(x, RIG_K(&r, 2, 3, 1)), FY_NOATTR));
    rig_type_is(y, "f32[2*b,3,3]");
    rig_out(&r, fy_emit(&r.b, "Tile", FY_V(z, shape), FY_NOATTR));
    rig_property(&r, 1, 4);
    rig_free(&r);
}

static void test_tile_values(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, in[2] = {rig_f32(RIG_DIMS(2, 2), RIG_F(1, 2, 3, 4)), rig_i64(RIG_DIMS(2), RIG_I(1, 2))};
    assert_ok(rig_op("Tile", 2, in, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 4), RIG_D(1, 2, 1, 2, 3, 4, 3, 4));
    fy_tensor_free(&y);
    in[1] = rig_i64(RIG_DIMS(2), RIG_I(-1, 2));
    assert_fails(rig_op("Tile", 2, in, FY_NOATTR, 1, &y, &e), VALUE);
    in[1] = rig_i64(RIG_DIMS(2), RIG_I((int64_t)1 << 40, (int64_t)1 << 40));
    assert_int_not_equal(rig_op("Tile", 2, in, FY_NOATTR, 1, &y, &e), FY_OK);
}

static void test_concat_split(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s 2"), *z = rig_in(&r, FERRY_FLOAT, "b t 2"), *y;
    rig_out(&r, y = fy_emit(&r.b, "Concat", FY_V(x, z, x), FY_A(fy_int("axis", -2))));
    rig_type_is(y, "f32[b,2*s + t,2]");
    fy_node *n = fy_emit_n(&r.b, "Split", 3, FY_V(fy_emit(&r.b, "Tile", FY_V(x, RIG_K(&r, 1, 3, 1)), FY_NOATTR)),
                           FY_A(fy_int("axis", 1), fy_int("num_outputs", 3)));
    assert_non_null(n);
    for (int i = 0; i < 3; i++) { rig_type_is(n->out[i], "f32[b,s,2]"); rig_out(&r, n->out[i]); }
    n = fy_emit_n(&r.b, "Split", 2, FY_V(x, RIG_K(&r, 1, 1)), FY_A(fy_int("axis", 2)));
    assert_non_null(n);
    rig_out(&r, n->out[1]);
    rig_property(&r, 1, 5);
    rig_free(&r);
    ferry_error e;
    fy_tensor out[2], in[2] = {rig_f32(RIG_DIMS(5), RIG_F(1, 2, 3, 4, 5)), rig_i64(RIG_DIMS(2), RIG_I(2, 3))};
    assert_ok(rig_op("Split", 2, in, FY_NOATTR, 2, out, &e), e);
    rig_expect(&out[1], RIG_DIMS(3), RIG_D(3, 4, 5));
    for (int i = 0; i < 2; i++) fy_tensor_free(&out[i]);
    assert_ok(rig_op("Split", 1, in, FY_A(fy_int("num_outputs", 2)), 2, out, &e), e);
    rig_expect(&out[1], RIG_DIMS(2), RIG_D(4, 5));
    for (int i = 0; i < 2; i++) fy_tensor_free(&out[i]);
    in[1] = rig_i64(RIG_DIMS(2), RIG_I(6, -1));
    assert_fails(rig_op("Split", 2, in, FY_NOATTR, 2, out, &e), VALUE);
    in[1] = rig_i64(RIG_DIMS(2), RIG_I(3, 3));
    assert_fails(rig_op("Split", 2, in, FY_NOATTR, 2, out, &e), SHAPE);
}

static void test_create(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s"), *y;
    fy_value *shape = fy_emit(&r.b, "Shape", FY_V(x), FY_NOATTR);
    rig_out(&r, y = fy_emit(&r.b, "ConstantOfShape", FY_V(shape), FY_NOATTR));
    rig_type_is(y, "f32[b,s]");
    fy_value *s = fy_b_squeeze(&r.b, fy_emit(&r.b, "Gather", FY_V(shape, RIG_K(&r, 1)), FY_NOATTR), 0);
    rig_out(&r, y = fy_emit(&r.b, "Range", FY_V(fy_k_i64(&r.b, 0), s, fy_k_i64(&r.b, 1)), FY_NOATTR));
    rig_type_is(y, "i64[s]");
    rig_out(&r, fy_emit(&r.b, "Range", FY_V(s, fy_k_i64(&r.b, -3), fy_k_i64(&r.b, -2)), FY_NOATTR));
    rig_out(&r, fy_emit(&r.b, "Range", FY_V(fy_k_i64(&r.b, 2), s, fy_k_i64(&r.b, 3)), FY_NOATTR));
    rig_out(&r, y = fy_emit(&r.b, "EyeLike", FY_V(x), FY_A(fy_int("k", 1), fy_int("dtype", FERRY_INT8))));
    rig_type_is(y, "i8[b,s]");
    rig_out(&r, fy_emit(&r.b, "Trilu", FY_V(x, fy_k_i64(&r.b, 0)), FY_A(fy_int("upper", 0))));
    rig_property(&r, 1, 6);
    rig_free(&r);
    ferry_error e;
    fy_tensor t, big[3] = {rig_i64(0, NULL, RIG_I(INT64_MIN)), rig_i64(0, NULL, RIG_I(INT64_MAX)), rig_i64(0, NULL, RIG_I(1))};
    assert_fails(rig_op("Range", 3, big, FY_NOATTR, 1, &t, &e), LIMIT);
    big[2] = rig_i64(0, NULL, RIG_I(0));
    assert_fails(rig_op("Range", 3, big, FY_NOATTR, 1, &t, &e), VALUE);
    fy_tensor huge = rig_i64(RIG_DIMS(3), RIG_I((int64_t)1 << 20, (int64_t)1 << 20, (int64_t)1 << 20));
    assert_int_not_equal(rig_op("ConstantOfShape", 1, &huge, FY_NOATTR, 1, &t, &e), FY_OK);
    fy_tensor eye = rig_f32(RIG_DIMS(2, 3), RIG_F(5, 5, 5, 5, 5, 5));
    assert_ok(rig_op("EyeLike", 1, &eye, FY_A(fy_int("k", 1)), 1, &t, &e), e);
    rig_expect(&t, RIG_DIMS(2, 3), RIG_D(0, 1, 0, 0, 0, 1));
    fy_tensor_free(&t);
    assert_ok(rig_op("Trilu", 1, &eye, FY_NOATTR, 1, &t, &e), e);
    rig_expect(&t, RIG_DIMS(2, 3), RIG_D(5, 5, 5, 0, 5, 5));
    fy_tensor_free(&t);
}

static void test_blocks(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b 4 2*h 2*w"), *y;
    for (int crd = 0; crd < 2; crd++) {
        rig_out(&r, y = fy_emit(&r.b, "SpaceToDepth", FY_V(x), FY_A(fy_int("blocksize", 2), fy_text("mode", crd ? "CRD" : "DCR"))));
        rig_type_is(y, "f32[b,16,h,w]");
        rig_out(&r, y = fy_emit(&r.b, "DepthToSpace", FY_V(y), FY_A(fy_int("blocksize", 2), fy_text("mode", crd ? "CRD" : "DCR"))));
        rig_type_is(y, "f32[b,4,2*h,2*w]");
    }
    rig_property(&r, 1, 3);
    /* there and back again is the same */
    ferry_error e;
    fy_tensor t, u;
    assert_ok(fy_tensor_new(&t, FERRY_FLOAT, RIG_DIMS(2, 3, 4, 6), &e), e);
    for (int64_t i = 0; i < fy_count(&t); i++) fy_put_f64(&t, i, (double)i);
    for (int crd = 0; crd < 2; crd++) {
        fy_tensor back;
        assert_ok(rig_op("SpaceToDepth", 1, &t, FY_A(fy_int("blocksize", 2), fy_text("mode", crd ? "CRD" : "DCR")), 1, &u, &e), e);
        /* element (0, 0) of the depth is that of channel 0, block (0, 0); the next is channel 1 (DCR) or column 1 (CRD) */
        assert_true(fy_get_f64(&u, 1 * 2 * 3) == (crd ? 1.0 : 24.0));
        assert_ok(rig_op("DepthToSpace", 1, &u, FY_A(fy_int("blocksize", 2), fy_text("mode", crd ? "CRD" : "DCR")), 1, &back, &e), e);
        assert_memory_equal(back.data, t.data, (size_t)fy_count(&t) * 4);
        fy_tensor_free(&u);
        fy_tensor_free(&back);
    }
    fy_tensor_free(&t);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reshape), cmocka_unit_test(test_reshape_faults), cmocka_unit_test(test_squeeze),
                cmocka_unit_test(test_transpose_inverse),
        cmocka_unit_test(test_expand_tile), cmocka_unit_test(test_tile_values), cmocka_unit_test(test_concat_split),
                cmocka_unit_test(test_create),
        cmocka_unit_test(test_blocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
