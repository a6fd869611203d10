/* SPDX-License-Identifier: Apache-2.0
 * test_resize.c - Resize, GridSample, AffineGrid: hand-checked values, laws (a resize by 1 is nothing, an affine grid of the identity
 * samples the input itself), symbolic sizes. */
#include "infer_property.h"

#include <math.h>

#define NONE ((fy_tensor){0})

static void test_values(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, x = rig_f32(RIG_DIMS(1, 1, 1, 4), RIG_F(1, 2, 3, 4)), s = rig_f32(RIG_DIMS(4), RIG_F(1, 1, 1, 2)), in[4] = {x, NONE, s,
            NONE};
    assert_ok(rig_op("Resize", 3, in, FY_A(fy_text("mode", "nearest")), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 1, 1, 8), RIG_D(1, 1, 2, 2, 3, 3, 4, 4));
    fy_tensor_free(&y);
    assert_ok(rig_op("Resize", 3, in, FY_A(fy_text("mode", "linear")), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 1, 1, 8), RIG_D(1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4));
    fy_tensor_free(&y);
    assert_ok(rig_op("Resize", 3, in, FY_A(fy_text("mode", "linear"), fy_text("coordinate_transformation_mode", "asymmetric")), 1, &y,
            &e), e);
    rig_expect(&y, RIG_DIMS(1, 1, 1, 8), RIG_D(1, 1.5, 2, 2.5, 3, 3.5, 4, 4));
    fy_tensor_free(&y);
    in[2] = rig_f32(RIG_DIMS(4), RIG_F(1, 1, 1, 0.5F));
    assert_ok(rig_op("Resize", 3, in, FY_A(fy_text("mode", "linear"), fy_int("antialias", 1)), 1, &y, &e), e);
    /* weights 1, 3, 3, 1 around the middle of each pair; the edge repeats */
    rig_expect(&y, RIG_DIMS(1, 1, 1, 2), RIG_D((1 + 3 + 6 + 3) / 8.0, (2 + 9 + 12 + 4) / 8.0));
    fy_tensor_free(&y);
    in[2] = NONE;
    in[3] = rig_i64(RIG_DIMS(1), RIG_I(7));
    assert_ok(rig_op("Resize", 4, in, FY_A(fy_text("mode", "linear"), fy_text("coordinate_transformation_mode", "align_corners"),
        fy_ints("axes", 1, RIG_I(3))), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 1, 1, 7), RIG_D(1, 1.5, 2, 2.5, 3, 3.5, 4));
    fy_tensor_free(&y);
    in[3] = rig_i64(RIG_DIMS(4), RIG_I(1, 1, 1, INT64_MAX));
    assert_int_not_equal(rig_op("Resize", 4, in, FY_NOATTR, 1, &y, &e), FY_OK);
    in[3] = rig_i64(RIG_DIMS(4), RIG_I(1, 1, 1, -1));
    assert_fails(rig_op("Resize", 4, in, FY_NOATTR, 1, &y, &e), VALUE);
    in[2] = rig_f32(RIG_DIMS(4), RIG_F(1, 1, 1, -2));
    assert_fails(rig_op("Resize", 3, in, FY_NOATTR, 1, &y, &e), VALUE);
    assert_fails(rig_op("Resize", 1, in, FY_NOATTR, 1, &y, &e), VALUE);
}

static void test_cubic(void **state) {
    (void)state;
    /* cubic convolution with a = -0.5 reproduces a parabola away from the edges */
    ferry_error e;
    float v[16];
    for (int i = 0; i < 16; i++) v[i] = (float)(i * i);
    fy_tensor y, in[3] = {rig_f32(RIG_DIMS(16), v), NONE, rig_f32(RIG_DIMS(1), RIG_F(2))};
    assert_ok(rig_op("Resize", 3, in, FY_A(fy_text("mode", "cubic"), fy_float("cubic_coeff_a", -0.5)), 1, &y, &e), e);
    for (int i = 6; i < 26; i++) {
        double at = (i + 0.5) / 2 - 0.5;
        assert_true(fy_get_f64(&y, i) - at * at < 1e-4 && at * at - fy_get_f64(&y, i) < 1e-4);
    }
    fy_tensor_free(&y);
}

static void test_symbolic(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b 3 h w"), *y, *like = rig_in(&r, FERRY_FLOAT, "b 3 h2 w2");
    const float two[4] = {1, 1, 2, 2}, odd[4] = {1, 1, 0.7F, 1.5F};
    for (int i = 0; i < 2; i++) {
        fy_const *c = fy_const_copy(&r.m->arena, FERRY_FLOAT, RIG_DIMS(4), i ? odd : two);
        fy_value *scales = fy_k_const(&r.b, c, NULL);
        rig_out(&r, y = fy_emit(&r.b, "Resize", FY_V(x, NULL, scales), FY_A(fy_text("mode", i ? "linear" : "nearest"))));
        if (!i) rig_type_is(y, "f32[b,3,2*h,2*w]");
    }
    fy_value *shape = fy_emit(&r.b, "Shape", FY_V(like), FY_NOATTR);
    rig_out(&r, y = fy_emit(&r.b, "Resize", FY_V(x, NULL, NULL, shape), FY_A(fy_text("mode", "linear"))));
    rig_type_is(y, "f32[b,3,h2,w2]");
    fy_value *theta = rig_in(&r, FERRY_FLOAT, "b 2 3"), *grid = fy_emit(&r.b, "AffineGrid", FY_V(theta, shape), FY_NOATTR);
    rig_type_is(grid, "f32[b,h2,w2,2]");
    rig_out(&r, y = fy_emit(&r.b, "GridSample", FY_V(x, grid), FY_NOATTR));
    rig_type_is(y, "f32[b,3,h2,w2]");
    rig_property(&r, 2, 7);
    rig_free(&r);
}

static void test_identity_grid(void **state) {
    (void)state;
    ferry_error e;
    rig r;
    rig_new(&r);
    fy_tensor x, grid, y, in[2] = {rig_f32(RIG_DIMS(1, 2, 3), RIG_F(1, 0, 0, 0, 1, 0)), rig_i64(RIG_DIMS(4), RIG_I(1, 2, 4, 5))};
    assert_ok(fy_tensor_new(&x, FERRY_FLOAT, RIG_DIMS(1, 2, 4, 5), &e), e);
    for (int64_t i = 0; i < fy_count(&x); i++) fy_put_f64(&x, i, (double)rig_range(&r, -9, 9));
    static const char *const modes[] = {"nearest", "linear", "cubic"}, *const pads[] = {"zeros", "border", "reflection"};
    for (int align = 0; align < 2; align++) {
        assert_ok(rig_op("AffineGrid", 2, in, FY_A(fy_int("align_corners", align)), 1, &grid, &e), e);
        for (int k = 0; k < 9; k++) {
            double want[40];
            fy_tensor both[2] = {x, grid};
            assert_ok(rig_op("GridSample", 2, both, FY_A(fy_int("align_corners", align), fy_text("mode", modes[k % 3]),
                    fy_text("padding_mode", pads[k / 3])),
                1, &y, &e), e);
            fy_load_f64(want, &x, 0, 40);
            rig_expect(&y, RIG_DIMS(1, 2, 4, 5), want);
            fy_tensor_free(&y);
        }
        fy_tensor_free(&grid);
    }
    fy_tensor_free(&x);
    rig_free(&r);
}

/* Values recorded from PyTorch 2.7, grid_sample(mode="bicubic"), with taps on both sides of every edge. */
static void test_cubic_padding(void **state) {
    static const struct { const char *pad; int align; double want[4]; } cases[] = {
        {"zeros", 0, {0.358422, 1.444082, -0.004923, 0.065015}}, {"zeros", 1, {3.690311, 1.65633, 0.695105, 2.289977}},
        {"border", 0, {4.183894, 2.856866, 1.005345, 1.103279}}, {"border", 1, {4.963496, 1.4487, 1.698128, 2.211149}},
        {"reflection", 0, {4.227655, 3.465426, -0.602901, 0.202437}}, {"reflection", 1, {4.284943, 1.780179, -1.52172, 2.037739}}};
    fy_tensor in[2] = {rig_f32(RIG_DIMS(1, 1, 3, 4), RIG_F(0, 3, -1, 2, 5, 1, 4, -2, 2, 7, -3, 1)),
        rig_f32(RIG_DIMS(1, 1, 4, 2), RIG_F(-1.2F, 0.3F, 0.9F, -0.95F, 1.4F, 1.3F, -0.97F, 0.99F))};
    (void)state;
    for (int i = 0; i < FY_COUNT(cases); i++) {
        ferry_error e;
        fy_tensor   y;
        assert_ok(rig_op("GridSample", 2, in, FY_A(fy_text("mode", "cubic"), fy_text("padding_mode", cases[i].pad), fy_int("align_corners", cases[i].align)), 1, &y, &e), e);
        assert_int_equal(fy_count(&y), 4);
        for (int k = 0; k < 4; k++)
            if (fabs(fy_get_f64(&y, k) - cases[i].want[k]) > 2e-5) fail_msg("%s %d: value %d is %g, PyTorch %g", cases[i].pad, cases[i].align, k, fy_get_f64(&y, k), cases[i].want[k]);
        fy_tensor_free(&y);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_cubic), cmocka_unit_test(test_symbolic),
        cmocka_unit_test(test_identity_grid), cmocka_unit_test(test_cubic_padding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
