/* SPDX-License-Identifier: Apache-2.0
 * test_chance.c - the judge of random outputs: right models pass, each kind of wrong one is caught. */
#include "ops/infer_property.h"

#include "check/chance.h"

#include <math.h>

typedef struct liar { fy_chance_ref ref; int how; } liar;

/* Runs the model and spoils what it says. */
static fy_status lie(void *ctx, int64_t trial, fy_rval *out, ferry_error *e) {
    liar *l = ctx;
    FY_TRY(fy_chance_run_ref(&l->ref, l->how == 1 ? 1 : trial, out, e));
    fy_tensor *t = &out[0].t;
    for (int64_t i = 0; i < fy_count(t); i++) {
        double x = fy_get_f64(t, i);
        if (l->how == 2) fy_put_f64(t, i, 1 - x);
        if (l->how == 3) fy_put_f64(t, i, x * 1.1);
        if (l->how == 4) fy_put_f64(t, i, i == 0 ? 7 : x);
        if (l->how == 5 && trial % 10 == 0) fy_put_f64(t, i, 1);
    }
    if (l->how == 6) t->rank = t->rank > 1 ? 1 : 2;
    return FY_OK;
}

static bool judged(rig *r, fy_rval *const *in, int how, const char *word) {
    liar l = {{r->m, in, NULL}, how};
    fy_rval want[2] = {{0}};
    char why[300];
    bool good;
    assert_ok(fy_chance_run_ref(&l.ref, 0, want, &r->e), r->e);
    assert_ok(fy_chance_judge(&good, why, sizeof why, r->m, in, want, lie, &l, &r->e), r->e);
    for (int i = 0; i < 2; i++) fy_rval_free(&want[i]);
    if (good == (word != NULL) || (word && !strstr(why, word))) print_error("how %d: %s\n", how, why);
    assert_true(!word || strstr(why, word));
    return good;
}

static void test_bernoulli(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    float p[6] = {0, 0.05F, 0.3F, 0.5F, 0.9F, 1};
    fy_rval x = {.kind = FY_TENSOR, .t = rig_f32(RIG_DIMS(6), p)}, *in[] = {&x};
    fy_value *v = rig_in(&r, FERRY_FLOAT, "6");
    assert_false(fy_chance_has(r.m->graph));
    rig_out(&r, fy_emit(&r.b, "Bernoulli", FY_V(v), FY_A(fy_int("dtype", FERRY_INT64), fy_float("seed", 3))));
    assert_true(fy_chance_has(r.m->graph));
    assert_true(judged(&r, in, 0, NULL));
    assert_false(judged(&r, in, 1, "draws"));
    assert_false(judged(&r, in, 2, "draws"));
    assert_false(judged(&r, in, 4, "neither 0 nor 1"));
    assert_false(judged(&r, in, 5, "draws"));
    assert_false(judged(&r, in, 6, "shape"));
    rig_free(&r);
}

/* What the function body of Bernoulli says: a uniform number compared with p. */
static void test_compared(void **state) {
    (void)state;
    float p[4] = {0.1F, 0.3F, 0.5F, 0.7F};
    fy_rval x = {.kind = FY_TENSOR, .t = rig_f32(RIG_DIMS(4), p)}, *in[] = {&x};
    for (int k = 0; k < 4; k++) {
        rig r;
        rig_new(&r);
        fy_value *v = rig_in(&r, FERRY_FLOAT, "4"), *u = fy_emit(&r.b, "RandomUniformLike", FY_V(v), FY_NOATTR);
        fy_value *c = k < 2 ? fy_emit(&r.b, k ? "Less" : "Greater", FY_V(u, v), FY_NOATTR) : fy_emit(&r.b, k == 2 ? "Less" : "Greater", FY_V(v, u), FY_NOATTR);
        rig_out(&r, fy_b_cast(&r.b, c, FERRY_DOUBLE));
        assert_true(judged(&r, in, 0, NULL));
        assert_false(judged(&r, in, 2, "draws"));
        rig_free(&r);
    }
}

static void test_continuous(void **state) {
    (void)state;
    static const int64_t shape[] = {5, 3};
    for (int k = 0; k < 4; k++) {
        rig r;
        rig_new(&r);
        fy_dtype t = k % 2 ? FERRY_FLOAT16 : FERRY_DOUBLE;
        fy_attr a[] = {fy_ints("shape", 2, shape), fy_int("dtype", t), fy_float(k < 2 ? "low" : "mean", -2), fy_float(k < 2 ? "high" : "scale", 3)};
        rig_out(&r, fy_emit(&r.b, k < 2 ? "RandomUniform" : "RandomNormal", 0, NULL, 4, a));
        assert_true(judged(&r, NULL, 0, NULL));
        assert_false(judged(&r, NULL, 1, "distribution function"));
        assert_false(judged(&r, NULL, 3, k < 2 ? "outside" : "distribution function"));
        rig_free(&r);
    }
}

static void test_classes_and_dropout(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    float logit[8] = {0, 1, 2, 3, 0, 0, 0, -INFINITY};
    fy_rval x = {.kind = FY_TENSOR, .t = rig_f32(RIG_DIMS(2, 4), logit)}, *in[] = {&x};
    fy_value *v = rig_in(&r, FERRY_FLOAT, "2 4");
    rig_out(&r, fy_emit(&r.b, "Multinomial", FY_V(v), FY_A(fy_int("sample_size", 5))));
    assert_true(judged(&r, in, 0, NULL));
    assert_false(judged(&r, in, 4, "classes"));
    assert_false(judged(&r, in, 5, "draws"));
    rig_free(&r);

    rig_new(&r);
    float data[6] = {1, 2, 3, 0, -1, 5};
    x.t = rig_f32(RIG_DIMS(6), data);
    v = rig_in(&r, FERRY_FLOAT, "6");
    fy_node *n = fy_emit_n(&r.b, "Dropout", 2, FY_V(v, fy_k_scalar(&r.b, FERRY_FLOAT, 0.3), fy_k_scalar_i(&r.b, FERRY_BOOL, 1)), FY_NOATTR);
    rig_out(&r, n->out[0]);
    rig_out(&r, n->out[1]);
    assert_true(fy_chance_has(r.m->graph));
    assert_true(judged(&r, in, 0, NULL));
    assert_false(judged(&r, in, 3, "neither"));
    fy_attr seed = fy_int("seed", 1);
    assert_true(fy_node_set_attr(n, &seed) && !fy_chance_has(r.m->graph));
    rig_free(&r);
}

static void test_unknown(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    static const int64_t shape[] = {2};
    fy_chance_ref ref = {r.m, NULL, NULL};
    char why[100];
    bool good = true;
    rig_out(&r, fy_emit(&r.b, "Exp", FY_V(fy_emit(&r.b, "RandomNormal", 0, NULL, FY_A(fy_ints("shape", 1, shape)))), FY_NOATTR));
    assert_fails(fy_chance_judge(&good, why, sizeof why, r.m, NULL, NULL, fy_chance_run_ref, &ref, &r.e), UNSUPPORTED);
    assert_false(good);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bernoulli), cmocka_unit_test(test_compared), cmocka_unit_test(test_continuous),
                                       cmocka_unit_test(test_classes_and_dropout), cmocka_unit_test(test_unknown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
