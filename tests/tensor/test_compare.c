/* SPDX-License-Identifier: Apache-2.0
 * test_compare.c - measures of difference with NaN, infinities, ties, large integers, strings. */
#include "test.h"

#include <math.h>

#include "tensor/compare.h"

static fy_diff diff(fy_dtype ta, const void *a, fy_dtype tb, const void *b, int64_t n, bool any) {
    fy_diff d;
    fy_tensor x = fy_tensor_view(ta, 1, &n, a), y = fy_tensor_view(tb, 1, &n, b);
    fy_compare(&d, &x, &y, any);
    return d;
}
static bool near(double a, double b) { return fabs(a - b) <= 1e-12 * fabs(b); }

static void equal_tensors(void **state) {
    (void)state;
    float a[4] = { 1, -2, NAN, INFINITY };
    fy_diff d = diff(FERRY_FLOAT, a, FERRY_FLOAT, a, 4, false);
    assert_true(d.count == 4 && d.differing == 0 && d.worst == -1 && d.max_abs == 0 && d.max_rel == 0 && d.rms == 0);
    assert_true(isinf(d.snr_db) && d.snr_db > 0 && d.cosine == 1 && d.ref_range == 3);
    float z[2] = { 0, -0.0f };
    d = diff(FERRY_FLOAT, z, FERRY_FLOAT, z + 1, 1, false);            /* +0 and -0 are equal */
    assert_true(d.differing == 0 && d.cosine == 1);
    d = diff(FERRY_FLOAT, a, FERRY_FLOAT, a, 0, false);
    assert_true(d.count == 0 && d.worst == -1 && d.cosine == 1);
}

static void figures(void **state) {
    (void)state;
    double got[4] = { 1, 2, 3, 5 }, ref[4] = { 1, 2, 4, 4 };
    fy_diff d = diff(FERRY_DOUBLE, got, FERRY_DOUBLE, ref, 4, false);
    assert_true(d.differing == 2 && d.max_abs == 1 && d.worst == 2 && d.worst_got == 3 && d.worst_ref == 4);   /* of ties the first */
    assert_true(near(d.max_rel, 0.25) && near(d.rms, sqrt(0.5)) && d.ref_range == 3);
    assert_true(near(d.cosine, (1 + 4 + 12 + 20) / (sqrt(39.0) * sqrt(37.0))) && near(d.snr_db, 10 * log10(37.0 / 2)));
    double zero[2] = { 0, 0 }, tiny[2] = { 0, 1e-9 };
    d = diff(FERRY_DOUBLE, tiny, FERRY_DOUBLE, zero, 2, false);
    assert_true(isinf(d.max_rel) && d.max_abs == 1e-9 && d.cosine == 0 && d.worst == 1);
}

static void special_values(void **state) {
    (void)state;
    float got[6] = { 9, NAN, INFINITY, -INFINITY, 3, NAN }, ref[6] = { 1, NAN, INFINITY, INFINITY, NAN, 4 };
    fy_diff d = diff(FERRY_FLOAT, got, FERRY_FLOAT, ref, 6, false);
    assert_true(d.nan_differs == 2 && d.inf_differs == 1 && d.differing == 4 && d.max_abs == 8);
    assert_true(d.worst == 3 && isinf(d.worst_got) && isinf(d.worst_ref));     /* worse than any finite difference */
    d = diff(FERRY_FLOAT, (float[]){ INFINITY }, FERRY_FLOAT, (float[]){ 1 }, 1, false);
    assert_true(d.inf_differs == 1 && d.worst == 0 && d.rms == 0);
}

static void integers_are_exact(void **state) {
    (void)state;
    int64_t a[2] = { ((int64_t)1 << 60) + 1, -5 }, b[2] = { (int64_t)1 << 60, -5 };
    fy_diff d = diff(FERRY_INT64, a, FERRY_INT64, b, 2, false);
    assert_true(d.differing == 1 && d.max_abs == 1 && d.worst == 0);
    uint64_t u[2] = { UINT64_MAX, 7 };
    int64_t s[2] = { -1, 7 };
    d = diff(FERRY_UINT64, u, FERRY_INT64, s, 2, true);
    assert_true(d.differing == 1 && d.worst == 0 && d.max_abs == 0x1p64 && !d.dtype_differs);
    int8_t small[2] = { -1, 7 };
    d = diff(FERRY_INT8, small, FERRY_INT64, s, 2, true);
    assert_true(d.differing == 0 && !d.dtype_differs);
    d = diff(FERRY_INT8, small, FERRY_INT64, s, 2, false);
    assert_true(d.dtype_differs);
    d = diff(FERRY_BOOL, (uint8_t[]){ 1, 0 }, FERRY_BOOL, (uint8_t[]){ 2, 1 }, 2, false);
    assert_true(d.differing == 1 && d.worst == 1);
}

static void kinds_and_shapes(void **state) {
    (void)state;
    float a[6] = { 0 };
    fy_diff d;
    fy_tensor x = fy_tensor_view(FERRY_FLOAT, 2, (int64_t[]){ 2, 3 }, a), y = fy_tensor_view(FERRY_FLOAT, 2, (int64_t[]){ 3, 2 }, a);
    fy_compare(&d, &x, &y, true);
    assert_true(d.shape_differs && d.count == 0);
    d = diff(FERRY_FLOAT, a, FERRY_INT32, a, 6, true);
    assert_true(d.dtype_differs && !d.shape_differs && d.count == 0);
    double wide[2] = { 0.5, 1.5 };
    float narrow[2] = { 0.5f, 1.5f };
    d = diff(FERRY_DOUBLE, wide, FERRY_FLOAT, narrow, 2, true);
    assert_true(!d.dtype_differs && d.differing == 0);
    fy_tensor t = { .dtype = FERRY_FLOAT, .rank = 2, .dim = { 3, 2 }, .stride = { 1, 3 }, .data = a };          /* strides do not matter */
    a[1] = 7;
    float want[6] = { 0, 0, 7, 0, 0, 0 };
    y = fy_tensor_view(FERRY_FLOAT, 2, (int64_t[]){ 3, 2 }, want);
    fy_compare(&d, &t, &y, false);
    assert_true(d.count == 6 && d.differing == 0);
    fy_str p[2] = { { "ab", 2 }, { "c", 1 } }, q[2] = { { "ab", 2 }, { "d", 1 } };
    d = diff(FERRY_STRING, p, FERRY_STRING, q, 2, false);
    assert_true(d.count == 2 && d.differing == 1 && d.worst == 1);
    double c1[4] = { 1, 2, 3, 4 }, c2[4] = { 1, 2, 3, 6 };
    d = diff(FERRY_COMPLEX128, c1, FERRY_COMPLEX128, c2, 2, false);
    assert_true(d.count == 2 && d.differing == 1 && d.worst == 1 && d.max_abs == 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_tensors), cmocka_unit_test(figures), cmocka_unit_test(special_values), cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(kinds_and_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
