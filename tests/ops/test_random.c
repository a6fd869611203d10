/* SPDX-License-Identifier: Apache-2.0
 * test_random.c - random operators give what numpy.random.RandomState(seed) gives: numbers recorded from NumPy 2.4. */
#include "infer_property.h"

#include "ops/twister.h"

#include <math.h>

static double at(const fy_tensor *t, int64_t i) { return fy_get_f64(t, i < 0 ? fy_count(t) + i : i); }

static void test_streams(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y;
    static const int64_t n3[] = {3}, n2000[] = {2000}, n5[] = {5}, n1001[] = {1001};
    struct { const char *op; const int64_t *n; double seed, a, b; double first, last; } t[] = {
        {"RandomUniform", n3, 0, 0, 1, 0.5488135039273248, 0.6027633760716439}, {"RandomUniform", n3, 4294967295, 0, 1, 0.0976320289940138, 0.78903530185164},
        {"RandomUniform", n3, -1, 0, 1, 0.0976320289940138, 0.78903530185164}, {"RandomUniform", n3, 0.75, 0, 1, 0.5488135039273248, 0.6027633760716439},
        {"RandomUniform", n2000, 7, 0, 1, 0.07630828937395717, 0.6485816947897555}, {"RandomNormal", n5, 42, 1.5, 2, 2.4934283060224653, 1.031693250553328},
        {"RandomNormal", n1001, 42, 0, 1, 0.4967141530112327, 1.3993554365860021}};
    for (int i = 0; i < FY_COUNT(t); i++) {
        bool normal = t[i].op[6] == 'N';
        assert_ok(rig_op(t[i].op, 0, NULL, FY_A(fy_ints("shape", 1, t[i].n), fy_int("dtype", FERRY_DOUBLE), fy_float("seed", t[i].seed),
                fy_float(normal ? "mean" : "low", t[i].a), fy_float(normal ? "scale" : "high", t[i].b)), 1, &y, &e), e);
        assert_true(fabs(at(&y, 0) - t[i].first) < 1e-15 && fabs(at(&y, -1) - t[i].last) < 1e-15);
        fy_tensor_free(&y);
    }
    fy_attr bad[] = {fy_ints("shape", 1, n3), fy_float("seed", INFINITY)};
    assert_fails(rig_op("RandomUniform", 0, NULL, 2, bad, 1, &y, &e), ATTR);
    bad[1] = fy_float("seed", -0x1p70);
    assert_fails(rig_op("RandomNormal", 0, NULL, 2, bad, 1, &y, &e), ATTR);
}

static void test_discrete(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, m, out[2], x = rig_f32(RIG_DIMS(10), RIG_F(0, .1F, .25F, .5F, .75F, .9F, 1, .3F, .6F, .2F));
    assert_ok(rig_op("Bernoulli", 1, &x, FY_A(fy_float("seed", 5), fy_int("dtype", FERRY_UINT8)), 1, &y, &e), e);
    assert_int_equal(y.dtype, FERRY_UINT8);
    rig_expect(&y, RIG_DIMS(10), RIG_D(0, 0, 0, 1, 1, 1, 1, 0, 1, 0));
    fy_tensor_free(&y);
    assert_ok(rig_op("Bernoulli", 1, &x, FY_A(fy_float("seed", 6)), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(10), RIG_D(0, 0, 1, 0, 1, 1, 1, 0, 1, 0));
    fy_tensor_free(&y);
    const float odd[] = {-0.1F, 1.5F, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        x = rig_f32(RIG_DIMS(1), &odd[i]);
        assert_fails(rig_op("Bernoulli", 1, &x, FY_NOATTR, 1, &y, &e), VALUE);
    }
    x = rig_f32(RIG_DIMS(1, 4), RIG_F(0, 0.6931472F, 1.0986123F, 1.3862944F));                /* log 1 2 3 4 */
    assert_ok(rig_op("Multinomial", 1, &x, FY_A(fy_float("seed", 3), fy_int("sample_size", 12), fy_int("dtype", FERRY_INT64)), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 12), RIG_D(2, 3, 1, 2, 3, 3, 1, 1, 0, 2, 0, 2));
    fy_tensor_free(&y);
    const float rows[][2] = {{-INFINITY, -INFINITY}, {0, NAN}, {INFINITY, 0}};
    for (int i = 0; i < 3; i++) {
        x = rig_f32(RIG_DIMS(1, 2), rows[i]);
        assert_fails(rig_op("Multinomial", 1, &x, FY_NOATTR, 1, &y, &e), VALUE);
    }
    float ratio = 0.4F;
    bool yes = true;
    fy_tensor in[3] = {rig_f32(RIG_DIMS(10), RIG_F(1, 2, 3, 4, 5, 6, INFINITY, 8, INFINITY, 10)), rig_f32(0, NULL, &ratio), fy_tensor_view(FERRY_BOOL, 0, NULL, &yes)};
    assert_ok(rig_op("Dropout", 3, in, FY_A(fy_int("seed", 9)), 2, out, &e), e);
    y = out[0];
    m = out[1];
    rig_expect(&m, RIG_DIMS(10), RIG_D(0, 1, 1, 0, 0, 0, 1, 0, 0, 0));
    assert_true(at(&y, 0) == 0 && fabs(at(&y, 1) - 2 / 0.6) < 1e-6 && isinf(at(&y, 6)) && isnan(at(&y, 8)));
    fy_tensor_free(&y);
    fy_tensor_free(&m);
    const float ratios[] = {1, -0.5F, 1.5F, NAN};
    for (int i = 0; i < 4; i++) {
        ratio = ratios[i];
        assert_fails(rig_op("Dropout", 3, in, FY_NOATTR, 1, out, &e), VALUE);
    }
}

/* Moments, and that a run repeats itself. */
static void test_moments(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, z;
    const int64_t shape[] = {20000};
    fy_attr a[] = {fy_ints("shape", 1, shape), fy_float("seed", 0)};
    assert_ok(rig_op("RandomUniform", 0, NULL, 2, a, 1, &y, &e), e);
    double sum = 0;
    for (int i = 0; i < 20000; i++) sum += fy_get_f64(&y, i);
    assert_true(fabs(sum / 20000 - 0.5) < 0.01);
    fy_tensor_free(&y);
    assert_ok(rig_op("RandomNormal", 0, NULL, 2, a, 1, &y, &e), e);
    assert_ok(rig_op("RandomNormal", 0, NULL, 2, a, 1, &z, &e), e);
    double square = 0;
    sum = 0;
    for (int i = 0; i < 20000; i++) {
        double v = fy_get_f64(&y, i);
        sum += v;
        square += v * v;
        assert_true(v == fy_get_f64(&z, i));
    }
    assert_true(fabs(sum / 20000) < 0.03 && fabs(square / 20000 - 1) < 0.03);
    fy_tensor_free(&y);
    fy_tensor_free(&z);
    fy_tensor x = rig_f32(RIG_DIMS(1, 3), RIG_F(0, (float)log(2), -INFINITY));
    assert_ok(rig_op("Multinomial", 1, &x, FY_A(fy_int("sample_size", 6000)), 1, &y, &e), e);
    int64_t count[3] = {0};
    for (int i = 0; i < 6000; i++) count[fy_get_i64(&y, i)]++;
    assert_true(count[2] == 0 && count[0] > 1850 && count[0] < 2150);
    fy_tensor_free(&y);
}

/* Without a seed: nodes differ, runs do not. */
static void test_unseeded(void **state) {
    (void)state;
    static const int64_t n[] = {50};
    rig r;
    rig_new(&r);
    for (int i = 0; i < 2; i++) {
        fy_value *v = fy_emit(&r.b, "RandomUniform", 0, NULL, FY_A(fy_ints("shape", 1, n)));
        v->name = i ? "b" : "a";
        rig_out(&r, v);
    }
    fy_rval one[2] = {{0}}, two[2] = {{0}};
    fy_interp it = {0};
    assert_ok(fy_interp_run(&it, r.m->graph, NULL, one, &r.e), r.e);
    assert_ok(fy_interp_run(&it, r.m->graph, NULL, two, &r.e), r.e);
    int same = 0;
    for (int64_t i = 0; i < 50; i++) {
        assert_true(at(&one[0].t, i) == at(&two[0].t, i) && at(&one[1].t, i) == at(&two[1].t, i));
        same += at(&one[0].t, i) == at(&one[1].t, i);
    }
    assert_true(same < 3);
    for (int i = 0; i < 2; i++) {
        fy_rval_free(&one[i]);
        fy_rval_free(&two[i]);
    }
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_streams), cmocka_unit_test(test_discrete), cmocka_unit_test(test_unseeded), cmocka_unit_test(test_moments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
