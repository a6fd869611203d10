/* SPDX-License-Identifier: Apache-2.0
 * test_kernels.c - every kernel on every instruction set of this CPU (what `ferry selftest kernels` does), and that its checkers see what they
 * are for: each is handed a kernel with one fault. */
#include "test.h"

#include <math.h>

#include "base/os.h"
#include "check/kernels.h"

static void expect_report(const fy_kernel_options *o) {
    ferry_error e = {0};
    fy_report *r = fy_report_new(&e);
    assert_non_null(r);
    assert_ok(fy_kernels_report(r, o, &e), e);
    assert_ok(fy_report_finish(r, &e), e);
    print_message("%s", r->plain.at);
    assert_int_equal(r->verdict, FERRY_OK);
    fy_report_free(r);
}

static void test_all(void **state) {
    (void)state;
    expect_report(&(fy_kernel_options){0});
}

static void test_bench_runs(void **state) {
    (void)state;
    expect_report(&(fy_kernel_options){.bench = true, .only = "depthwise", .isa = "generic"});
}

static void test_refusals(void **state) {
    ferry_error e = {0};
    fy_report *r = fy_report_new(&e);
    (void)state;
    assert_non_null(r);
    assert_fails(fy_kernels_report(r, &(fy_kernel_options){.isa = "avx1"}, &e), USAGE);
    assert_fails(fy_kernels_report(r, &(fy_kernel_options){.only = "no such kernel"}, &e), USAGE);
    fy_report_free(r);
}

/* Without memory: an error, nothing leaks (the sanitizers see it). */
static void test_no_memory(void **state) {
    (void)state;
    for (int k = 0; k < 40; k++) {
        ferry_error e = {0};
        fy_report *r = fy_report_new(&e);
        assert_non_null(r);
        fy_os_fail_at(k, false);
        fy_status s = fy_kernels_report(r, &(fy_kernel_options){.only = "fma_peak", .isa = "generic"}, &e);
        if (!s) s = fy_report_finish(r, &e);
        fy_os_fail_at(-1, false);
        assert_true(s == FY_OK || s == FY_E_NOMEM);
        fy_report_free(r);
    }
}

/* ---- faults ---------------------------------------------------------------------------------------------------------------- */

static fy_kernels good;

/* Does `check` refuse a table that is right but for what `spoil` did to it? */
static void expect_caught(fy_kernel_check *check, const fy_kernels *bad, int op, double ulps, const char *word) {
    fy_trial t = {.ulps = ulps, .op = op, .random = 1};
    assert_true(fy_rooms_new(&t));
    t.k = &good;
    assert_true(check(&t));
    t.k = bad;
    t.random = 1;
    assert_false(check(&t));
    if (!strstr(t.why, word)) fail_msg("\"%s\" does not speak of \"%s\"", t.why, word);
    fy_rooms_free(&t);
}

static void relu_overrun(float *y, const float *x, int64_t n, const float *p) {      /* a whole vector at the end, in front of room */
    good.unary[FY_ACT_CLAMP](y, x, n, p);
    if (n % 16 == 15 && ((uintptr_t)(y + n) & 4095)) y[n] = 0;
}
static void exp_off(float *y, const float *x, int64_t n, const float *p) {           /* 2 ulp near 1 */
    good.unary[FY_ACT_EXP](y, x, n, p);
    for (int64_t i = 0; i < n; i++)
        if (y[i] > 1 && y[i] < 1.5f) y[i] += 2.4e-7f;
}
static void tanh_placed(float *y, const float *x, int64_t n, const float *p) {       /* another value in the tail, 1 ulp */
    good.unary[FY_ACT_TANH](y, x, n, p);
    if (n > 16 && n % 16 && y[n - 1] == y[n - 1]) y[n - 1] = nextafterf(y[n - 1], 0);
}
static void neg_zero(float *y, const float *x, int64_t n, const float *p) {           /* -0 is lost */
    (void)p;
    for (int64_t i = 0; i < n; i++) y[i] = 0 - x[i];
}

static void test_unary_faults(void **state) {
    fy_kernels bad = good;
    (void)state;
    bad.unary[FY_ACT_CLAMP] = relu_overrun;
    bad.unary[FY_ACT_EXP] = exp_off;
    bad.unary[FY_ACT_TANH] = tanh_placed;
    bad.unary[FY_ACT_NEG] = neg_zero;
    expect_caught(fy_check_unary, &bad, FY_ACT_CLAMP, 0, "wrote outside");
    expect_caught(fy_check_unary, &bad, FY_ACT_EXP, 1, "not");
    expect_caught(fy_check_unary, &bad, FY_ACT_TANH, 3, "by itself");
    expect_caught(fy_check_unary, &bad, FY_ACT_NEG, 0, "not");
}

static void max_forgets_nan(float *y, const float *a, const float *b, int64_t n, int one) {
    for (int64_t i = 0; i < n; i++) {
        float p = a[one == 1 ? 0 : i], q = b[one == 2 ? 0 : i];
        y[i] = p > q ? p : q;
    }
}

static void test_binary_faults(void **state) {
    fy_kernels bad = good;
    (void)state;
    bad.binary[FY_MAX] = max_forgets_nan;
    expect_caught(fy_check_binary, &bad, FY_MAX, 0, "not");
}

static void gemm_last(const fy_gemm_f32 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end) {   /* an error of 1e-4 in the last column */
    good.gemm_f32(g, row, row_end, panel, panel_end);
    if (g->k == 61)
        for (int64_t i = row; i < row_end; i++)
            if (panel_end * good.gemm_nr >= g->n) g->c[i * g->c_row + g->n - 1] += 1e-4f;
}
static void gemm_by_rows(const fy_gemm_f32 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end) { /* 1 ulp where rows are many */
    good.gemm_f32(g, row, row_end, panel, panel_end);
    if (row_end - row > 3 && panel == 0) g->c[row * g->c_row] = nextafterf(g->c[row * g->c_row], 0);
}
static void gemm_gap(const fy_gemm_f32 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end) {     /* writes between rows */
    good.gemm_f32(g, row, row_end, panel, panel_end);
    if (row_end < g->m && g->c_row > g->n) g->c[row * g->c_row + g->n] = 0;
    if (g->m > 1 && g->c_row > g->n) g->c[g->n] = 0;
}

static void test_gemm_faults(void **state) {
    fy_kernels bad = good;
    (void)state;
    bad.gemm_f32 = gemm_last;
    expect_caught(fy_check_gemm, &bad, 0, 4, "not");
    bad.gemm_f32 = gemm_by_rows;
    expect_caught(fy_check_gemm, &bad, 0, 4, "split");
    bad.gemm_f32 = gemm_gap;
    expect_caught(fy_check_gemm, &bad, 0, 4, "between rows");
}

static void conv_tail(const fy_conv_c16 *c, int64_t group, int64_t row, int64_t row_end) {           /* wrong beyond one tile */
    good.conv_c16(c, group, row, row_end);
    if (c->out[1] > good.gemm_mr) c->y[group * (good.gemm_nr / FY_LANES) * c->y_block + (row * c->out[1] + good.gemm_mr) * FY_LANES] += 0.01f;
}
static void softmax_batch(float *y, const float *x, int64_t rows, int64_t n) {
    good.softmax_rows(y, x, rows, n);
    if (rows > 1) y[0] = nextafterf(y[0], 0);
}
static void norm_eps(float *y, const float *x, int64_t rows, int64_t n, const float *scale, const float *bias, float eps, bool rms, float *mean, float *inv) {
    good.norm_rows(y, x, rows, n, scale, bias, eps * 1.01f, rms, mean, inv);
}
static void pick_step(const fy_pick_c16 *p, int64_t row, int64_t row_end) {                          /* a lane that is not there is read */
    good.conv_pick_c16(p, row, row_end);
    for (int64_t i = 0; !p->near && i < FY_LANES; i++)
        if (p->lane[i] < 0) p->c.y[row * p->c.out[1] * FY_LANES + i] += p->c.w[i] * p->c.x[p->run->block * p->c.x_block];
}
static void pool_less(float *y, const float *x, const fy_pool_c16 *w) {
    fy_pool_c16 less = *w;
    less.n[1] -= less.n[1] > 1;
    good.pool_max_c16(y, x, &less);
}
static void winograd_edge(float *v, int64_t apart, const float *x, int64_t h, int64_t w, int64_t top, int64_t left) {
    good.winograd_in_c16(v, apart, x, h, w, top, left);
    if (top < 0) v[apart] += 0.001f;
}

static void test_other_faults(void **state) {
    fy_kernels bad = good;
    (void)state;
    bad.conv_c16 = conv_tail;
    bad.softmax_rows = softmax_batch;
    bad.norm_rows = norm_eps;
    bad.conv_pick_c16 = pick_step;
    bad.pool_max_c16 = pool_less;
    bad.winograd_in_c16 = winograd_edge;
    expect_caught(fy_check_conv, &bad, 0, 4, "not");
    expect_caught(fy_check_conv_pick, &bad, 0, 4, "not");
    expect_caught(fy_check_softmax, &bad, 0, 8, "alone");
    expect_caught(fy_check_norm, &bad, 0, 8, "not");
    expect_caught(fy_check_pool_max, &bad, 0, 0, "not");
    expect_caught(fy_check_winograd_in, &bad, 0, 4, "not");
}

/* ---- units of error -------------------------------------------------------------------------------------------------------- */

static void test_ulps(void **state) {
    (void)state;
    assert_true(fy_ulp(1) == 0x1p-23 && fy_ulp(0.75) == 0x1p-24 && fy_ulp(0) == 0x1p-149 && fy_ulp(1e-40) == 0x1p-149 && fy_ulp(0x1p-126) == 0x1p-149 && fy_ulp(-3) == 0x1p-22);
    assert_true(fy_ulps_apart(1, 1) == 0 && fy_ulps_apart(nextafterf(1, 2), 1) == 1 && fy_ulps_apart(1, 1 + 0x1p-24) == 0.5);
    assert_true(fy_ulps_apart(INFINITY, 1e300) == 0 && fy_ulps_apart(3e38f, 1e300) > 1e6 && fy_ulps_apart(NAN, 1) > 1e6 && fy_ulps_apart(NAN, (double)NAN) == 0);
    assert_true(fy_ulps_apart(-0.0f, 0.0) > 1e6 && fy_ulps_apart(0, 1e-46) < 0.1 && fy_ulps_apart(INFINITY, (double)3.4028235e38f) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),          cmocka_unit_test(test_bench_runs),  cmocka_unit_test(test_refusals),    cmocka_unit_test(test_no_memory), cmocka_unit_test(test_unary_faults),
        cmocka_unit_test(test_binary_faults), cmocka_unit_test(test_gemm_faults), cmocka_unit_test(test_other_faults), cmocka_unit_test(test_ulps),
    };
    fy_kernels_init(&good, fy_cpu_isa());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
