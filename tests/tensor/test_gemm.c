/* SPDX-License-Identifier: Apache-2.0
 * test_gemm.c - products and convolutions against plain loops, bit by bit, for every level, thread count and layout. */
#include "test.h"

#include <math.h>
#include <stdlib.h>

#include "tensor/product.h"

static uint64_t seed = 3;
static uint32_t rnd(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return n ? (uint32_t)(seed >> 33) % n : 0;
}

static fy_pool *pools[3];                              /* 1, 2 and 5 threads */
static int setup(void **state) {
    (void)state;
    pools[1] = fy_pool_new(2);
    pools[2] = fy_pool_new(5);
    return pools[1] && pools[2] ? 0 : -1;
}
static int teardown(void **state) {
    (void)state;
    fy_pool_free(pools[1]);
    fy_pool_free(pools[2]);
    return 0;
}

static double at(const void *p, fy_dtype t, int64_t i) { return t == FERRY_FLOAT ? (double)((const float *)p)[i] : ((const double *)p)[i]; }
static void put(void *p, fy_dtype t, int64_t i, double v) { if (t == FERRY_FLOAT) ((float *)p)[i] = (float)v; else ((double *)p)[i] = v; }

static void *filled(fy_dtype t, int64_t n) {
    void *p = malloc((size_t)n * 8 + 8);
    assert_non_null(p);
    for (int64_t i = 0; i < n; i++) put(p, t, i, ((double)rnd(2000001) - 1000000) / 777777);
    return p;
}

/* Sums in the order of k. With fma for f64, as the wide kernels do: products of f64 are not exact. */
static double dot(const fy_mat *a, const fy_mat *b, int64_t i, int64_t j, int64_t k, bool fused) {
    double s = 0;
    for (int64_t x = 0; x < k; x++) {
        double p = at(a->at, a->dtype, i * a->row + x * a->col), q = at(b->at, b->dtype, x * b->row + j * b->col);
        s = fused ? fma(p, q, s) : s + p * q;
    }
    return s;
}

static fy_mat matrix(fy_dtype t, int64_t rows, int64_t cols, int layout, int64_t *len) {
    fy_mat m = { NULL, t, cols, 1 };
    if (layout == 1) { m.row = 1; m.col = rows; }
    if (layout == 2) { m.row = 2 * cols + 1; m.col = 2; }
    if (layout == 3) { m.row = 3; m.col = 3 * rows + 2; }
    *len = rows && cols ? (rows - 1) * m.row + (cols - 1) * m.col + 1 : 1;
    return m;
}

#define GUARD 8
static void one_gemm(int64_t m, int64_t n, int64_t k, double alpha, double beta) {
    fy_dtype ta = rnd(3) ? FERRY_FLOAT : FERRY_DOUBLE, tb = rnd(3) ? FERRY_FLOAT : FERRY_DOUBLE, tc = rnd(3) ? FERRY_FLOAT : FERRY_DOUBLE;
    int64_t la, lb, lc;
    fy_mat a = matrix(ta, m, k, (int)rnd(4), &la), b = matrix(tb, k, n, (int)rnd(4), &lb), c = matrix(tc, m, n, (int)rnd(4), &lc);
    a.at = filled(ta, la);
    b.at = filled(tb, lb);
    void *start = filled(tc, lc + 2 * GUARD), *got = malloc((size_t)(lc + 2 * GUARD) * 8), *want = malloc((size_t)(lc + 2 * GUARD) * 8);
    assert_true(got && want);
    size_t bytes = (size_t)(lc + 2 * GUARD) * (tc == FERRY_FLOAT ? 4 : 8);
    bool exact = ta == FERRY_FLOAT && tb == FERRY_FLOAT;
    for (int isa = 0; isa <= (int)fy_cpu_has(); isa++) {
        memcpy(want, start, bytes);
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                int64_t w = GUARD + i * c.row + j * c.col;
                double s = dot(&a, &b, i, j, k, !exact && isa >= FY_ISA_AVX2);
                put(want, tc, w, beta == 0 ? alpha * s : alpha * s + beta * at(start, tc, w));
            }
        for (int p = 0; p < 3; p++) {
            ferry_error e;
            memcpy(got, start, bytes);
            c.at = (char *)got + GUARD * (tc == FERRY_FLOAT ? 4 : 8);
            assert_ok(fy_gemm_with(fy_gemm_kernels_for((fy_isa)isa), c, a, b, m, n, k, alpha, beta, pools[p], &e), e);
            if (memcmp(got, want, bytes))
                fail_msg("m %d n %d k %d isa %d threads %d", (int)m, (int)n, (int)k, isa, fy_pool_threads(pools[p]));
        }
    }
    free(a.at);
    free(b.at);
    free(start);
    free(got);
    free(want);
}

static void products_have_the_bits_of_plain_loops(void **state) {
    (void)state;
    const int64_t awkward[] = { 1, 2, 3, 5, 6, 7, 8, 9, 12, 13, 17, 31, 64, 65 };
    for (int i = 0; i < 300; i++) {
        int64_t m = awkward[rnd(FY_COUNT(awkward))], n = awkward[rnd(FY_COUNT(awkward))], k = awkward[rnd(FY_COUNT(awkward))];
        one_gemm(m, n, k, rnd(2) ? 1 : -0.75, rnd(2) ? 0 : 1.5);
    }
    one_gemm(250, 270, 33, 1, 0);
    one_gemm(1, 1000, 300, 1, 0);
    one_gemm(1000, 1, 300, 1, 1);
    one_gemm(125, 130, 500, 2, 1);
    one_gemm(3, 3, 2000, 1, 0);
    one_gemm(5, 7, 0, 1, 0.5);
    one_gemm(0, 7, 3, 1, 0);
    one_gemm(7, 0, 3, 1, 0);
}

static void nan_is_not_read_when_beta_is_zero(void **state) {
    (void)state;
    ferry_error e;
    float a[6] = { 1, 2, 3, 4, 5, 6 }, c[4] = { NAN, INFINITY, NAN, NAN };
    fy_mat A = { a, FERRY_FLOAT, 3, 1 }, B = { a, FERRY_FLOAT, 2, 1 }, C = { c, FERRY_FLOAT, 2, 1 };
    assert_ok(fy_gemm(C, A, B, 2, 2, 3, 1, 0, NULL, &e), e);
    assert_true(c[0] == 22 && c[1] == 28 && c[2] == 49 && c[3] == 64);
    a[0] = INFINITY;
    assert_ok(fy_gemm(C, A, B, 2, 2, 3, 1, 0, NULL, &e), e);
    assert_true(isinf(c[0]) && isinf(c[1]) && isinf(c[2]) && c[3] == 64);      /* and infinities stay in their row and column */
}

static void memory_may_run_out(void **state) {
    (void)state;
    float a[100] = { 0 };
    ferry_error e;
    fy_mat A = { a, FERRY_FLOAT, 10, 1 }, C = { a, FERRY_FLOAT, 10, 1 };
    size_t before = fy_os_bytes();
    for (int64_t k = 0; k < 3; k++) {
        fy_os_fail_at(k, false);
        fy_status s = fy_gemm(C, A, A, 10, 10, 10, 1, 0, pools[1], &e);
        fy_os_fail_at(-1, false);
        assert_int_equal(s, FY_E_NOMEM);
        assert_int_equal(fy_os_bytes(), before);
    }
}

/* ---- convolution ---------------------------------------------------------------------------------------------------- */

static int64_t sum_strides(int nd, const int64_t *dim, const int64_t *stride) {
    int64_t s = 0;
    for (int i = 0; i < nd; i++) s += (dim[i] - 1) * stride[i];
    return s;
}

/* y by definition, all loops plain. */
static double conv_at(const fy_conv_args *c, int64_t b, int64_t g, int64_t o, const int64_t *pos, bool fused) {
    double s = 0;
    int64_t taps = 1;
    for (int i = 0; i < c->nd; i++) taps *= c->kernel[i];
    for (int64_t in = 0; in < c->cin; in++)
        for (int64_t k = 0; k < taps; k++) {
            int64_t rest = k, x_at = b * c->x_batch + (g * c->cin + in) * c->x_channel, w_at = (g * c->cout + o) * c->w_out + in * c->w_in;
            bool inside = true;
            for (int i = c->nd - 1; i >= 0; i--) {
                int64_t tap = rest % c->kernel[i], x = pos[i] * c->step[i] - c->pad[i] + tap * c->dilation[i];
                rest /= c->kernel[i];
                inside = inside && x >= 0 && x < c->in[i];
                x_at += x * c->x_dim[i];
                w_at += tap * c->w_dim[i];
            }
            if (!inside) continue;
            double p = at(c->w, c->w_dtype, w_at), q = at(c->x, c->x_dtype, x_at);
            s = fused ? fma(p, q, s) : s + p * q;
        }
    return s + (c->bias ? at(c->bias, c->bias_dtype, g * c->cout + o) : 0);
}

static void random_conv(int nd, int64_t cin, int64_t cout, int64_t groups, int64_t size) {
    fy_conv_args c = { .nd = nd, .batch = 1 + rnd(2), .cin = cin, .cout = cout, .groups = groups };
    bool strided = rnd(3) == 0, last = rnd(4) == 0;    /* gaps; channels last */
    int64_t all_in = cin * groups, all_out = cout * groups, xs = strided ? 2 : 1, ys = strided ? 3 : 1, ws = strided ? 2 : 1;
    for (int i = 0; i < nd; i++) {
        c.kernel[i] = 1 + rnd(size > 20 ? 7 : 4);
        c.step[i] = 1 + rnd(3);
        c.dilation[i] = 1 + rnd(3);
        c.in[i] = 1 + rnd((uint32_t)size);
        c.pad[i] = (int64_t)rnd(5) - 1;                /* also negative */
        c.out[i] = 1 + rnd((uint32_t)size);            /* whatever the sizes: what lies outside is 0 */
    }
    if (last) { xs *= all_in; ys *= all_out; ws *= cin; c.x_channel = c.y_channel = c.w_in = 1; }
    for (int i = nd - 1; i >= 0; i--) {
        c.x_dim[i] = xs; xs *= c.in[i];
        c.y_dim[i] = ys; ys *= c.out[i];
        c.w_dim[i] = ws; ws *= c.kernel[i];
    }
    if (!last) { c.x_channel = xs; xs *= all_in; c.y_channel = ys; ys *= all_out; c.w_in = ws; ws *= cin; }
    c.x_batch = xs;
    c.y_batch = ys;
    c.w_out = ws;
    c.x_dtype = rnd(3) ? FERRY_FLOAT : FERRY_DOUBLE;
    c.w_dtype = rnd(3) ? FERRY_FLOAT : FERRY_DOUBLE;
    c.y_dtype = rnd(3) ? FERRY_FLOAT : FERRY_DOUBLE;
    c.bias_dtype = rnd(3) ? FERRY_FLOAT : FERRY_DOUBLE;
    int64_t xn = (c.batch - 1) * c.x_batch + (all_in - 1) * c.x_channel + sum_strides(nd, c.in, c.x_dim) + 1;
    int64_t wn = (all_out - 1) * c.w_out + (cin - 1) * c.w_in + sum_strides(nd, c.kernel, c.w_dim) + 1;
    int64_t yn = (c.batch - 1) * c.y_batch + (all_out - 1) * c.y_channel + sum_strides(nd, c.out, c.y_dim) + 1, pixels = 1;
    int ye = c.y_dtype == FERRY_FLOAT ? 4 : 8;
    for (int i = 0; i < nd; i++) pixels *= c.out[i];
    void *x = filled(c.x_dtype, xn), *w = filled(c.w_dtype, wn), *bias = filled(c.bias_dtype, all_out);
    char *start = filled(c.y_dtype, yn + 2 * GUARD), *got = malloc((size_t)(yn + 2 * GUARD) * 8),
        *want = malloc((size_t)(yn + 2 * GUARD) * 8);
    assert_true(got && want);
    size_t bytes = (size_t)((yn + 2 * GUARD) * ye);
    c.x = x;
    c.w = w;
    c.bias = rnd(2) ? bias : NULL;
    bool exact = c.x_dtype == FERRY_FLOAT && c.w_dtype == FERRY_FLOAT;
    for (int isa = 0; isa <= (int)fy_cpu_has(); isa++) {
        memcpy(want, start, bytes);
        for (int64_t b = 0; b < c.batch; b++)
            for (int64_t o = 0; o < all_out; o++)
                for (int64_t p = 0; p < pixels; p++) {
                    int64_t pos[3], rest = p, y = GUARD + b * c.y_batch + o * c.y_channel;
                    for (int i = nd - 1; i >= 0; i--) { pos[i] = rest % c.out[i]; rest /= c.out[i]; y += pos[i] * c.y_dim[i]; }
                    put(want, c.y_dtype, y, conv_at(&c, b, o / cout, o % cout, pos, !exact && isa >= FY_ISA_AVX2));
                }
        for (int p = 0; p < 3; p++) {
            ferry_error e;
            memcpy(got, start, bytes);
            c.y = got + GUARD * ye;
            assert_ok(fy_conv_with(fy_gemm_kernels_for((fy_isa)isa), &c, pools[p], &e), e);
            if (memcmp(got, want, bytes))
                fail_msg("conv nd %d cin %d cout %d groups %d isa %d pool %d", nd, (int)cin, (int)cout, (int)groups, isa, p);
        }
    }
    free(x);
    free(w);
    free(bias);
    free(start);
    free(got);
    free(want);
}

static void convolutions_have_the_bits_of_plain_loops(void **state) {
    (void)state;
    for (int i = 0; i < 250; i++) random_conv(1 + (int)rnd(3), 1 + rnd(5), 1 + rnd(9), 1 + rnd(3), 7);
    for (int i = 0; i < 60; i++) random_conv(1 + (int)rnd(2), 1, 1 + rnd(3), 1 + rnd(6), 12);          /* depthwise */
    for (int i = 0; i < 6; i++) random_conv(2, 3, 20, 1, 40);
    random_conv(1, 1, 1, 2, 700);                      /* rows longer than one piece */
    random_conv(1, 70, 130, 1, 30);                    /* a reduced length of several blocks */
}

/* A batch of one gives the bits that it has in a larger batch: the position does not matter. */
static void bits_do_not_depend_on_the_batch(void **state) {
    (void)state;
    enum { M = 97, K = 700, N = 40 };
    static double b[K * N], one[N], all[M * N];
    static double a[M * K];
    ferry_error e;
    for (int i = 0; i < K * N; i++) b[i] = (double)rnd(1000) / 999;
    for (int i = 0; i < M * K; i++) a[i] = (double)rnd(1000) / 999;
    fy_mat B = { b, FERRY_DOUBLE, N, 1 };
    assert_ok(fy_gemm((fy_mat){ all, FERRY_DOUBLE, N, 1 }, (fy_mat){ a, FERRY_DOUBLE, K, 1 }, B, M, N, K, 1, 0, pools[1], &e), e);
    for (int i = 0; i < M; i++) {
        assert_ok(fy_gemm((fy_mat){ one, FERRY_DOUBLE, N, 1 }, (fy_mat){ a + i * K, FERRY_DOUBLE, K, 1 }, B, 1, N, K, 1, 0, pools[1],
            &e), e);
        assert_memory_equal(one, all + i * N, sizeof one);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_have_the_bits_of_plain_loops), cmocka_unit_test(nan_is_not_read_when_beta_is_zero),
            cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(convolutions_have_the_bits_of_plain_loops), cmocka_unit_test(bits_do_not_depend_on_the_batch),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
