/* SPDX-License-Identifier: Apache-2.0
 * test_products.c - MatMul, Gemm, Einsum, MatMulInteger, Conv, ConvTranspose, ConvInteger and pools against loops written from their
 * formulas, over random geometry; ConvTranspose also as the adjoint of Conv; symbolic sizes against executed ones. */
#include "infer_property.h"

#include <math.h>

static fy_tensor random_tensor(rig *r, fy_dtype t, int rank, const int64_t *dim) {
    fy_tensor x;
    assert_ok(fy_tensor_new(&x, t, rank, dim, &r->e), r->e);
    for (int64_t i = 0; i < fy_count(&x); i++) fy_put_f64(&x, i, fy_dtype_float(t) ? (double)rig_range(r, -16, 16) / 8 : (double)rig_range(r, fy_dtype_class(t) == FY_CLASS_U ? 0 : -100, 100));
    return x;
}

static void expect_near(const fy_tensor *y, int64_t i, double want, double tol) {
    double got = fy_get_f64(y, i);
    if (fabs(got - want) <= tol * (1 + fabs(want))) return;
    print_error("element %lld of %lld: %.9g, not %.9g\n", (long long)i, (long long)fy_count(y), got, want);
    fail();
}

static double tolerance(fy_dtype t) { return t == FERRY_FLOAT16 ? 0x1p-10 : t == FERRY_BFLOAT16 ? 0x1p-7 : t == FERRY_FLOAT ? 0x1p-23 : 1e-14; }

/* ---- MatMul -------------------------------------------------------------------------------------------------------- */

static void test_matmul(void **state) {
    (void)state;
    static const fy_dtype kinds[] = {FERRY_FLOAT, FERRY_DOUBLE, FERRY_FLOAT16, FERRY_BFLOAT16, FERRY_INT32, FERRY_UINT64};
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 120; trial++) {
        fy_dtype t = kinds[trial % 6];
        int64_t m = rig_range(&r, 1, 9), n = rig_range(&r, 1, 9), k = rig_range(&r, 0, 9), b0 = rig_range(&r, 1, 3), b1 = rig_range(&r, 1, 3);
        int ra = (int)rig_range(&r, 1, 4), rb = (int)rig_range(&r, 1, 4);
        int64_t fa[4] = {rig_range(&r, 0, 1) ? b0 : 1, rig_range(&r, 0, 1) ? b1 : 1, m, k}, fb[4] = {b0, b1, k, n};
        fy_tensor in[2] = {random_tensor(&r, t, ra, ra == 1 ? &k : fa + 4 - ra), random_tensor(&r, t, rb, rb == 1 ? &k : fb + 4 - rb)}, y;
        assert_ok(rig_op("MatMul", 2, in, FY_NOATTR, 1, &y, &r.e), r.e);
        int64_t M = ra > 1 ? m : 1, N = rb > 1 ? n : 1, o0 = ra == 4 && fa[0] > 1 ? fa[0] : rb == 4 ? b0 : 1, o1 = ra > 2 && fa[1] > 1 ? fa[1] : rb > 2 ? b1 : 1;
        assert_int_equal(fy_count(&y), o0 * o1 * M * N);
        for (int64_t p = 0; p < o0; p++)
            for (int64_t q = 0; q < o1; q++)
                for (int64_t i = 0; i < M; i++)
                    for (int64_t j = 0; j < N; j++) {
                        double s = 0;
                        int64_t pa = ra == 4 && fa[0] > 1 ? p : 0, qa = ra > 2 && fa[1] > 1 ? q : 0, pb = rb == 4 ? p : 0, qb = rb > 2 ? q : 0;
                        for (int64_t l = 0; l < k; l++)
                            s += fy_get_f64(&in[0], ((pa * (ra > 2 ? fa[1] : 1) + qa) * M + i) * k + l) * fy_get_f64(&in[1], ((pb * (rb > 2 ? b1 : 1) + qb) * k + l) * N + j);
                        expect_near(&y, ((p * o1 + q) * M + i) * N + j, s, tolerance(t));
                    }
        fy_tensor_free(&y);
        fy_tensor_free(&in[0]);
        fy_tensor_free(&in[1]);
    }
    fy_tensor bad[2] = {rig_f32(RIG_DIMS(2, 3), RIG_F(1, 2, 3, 4, 5, 6)), rig_f32(RIG_DIMS(2, 3), RIG_F(1, 2, 3, 4, 5, 6))}, y;
    assert_fails(rig_op("MatMul", 2, bad, FY_NOATTR, 1, &y, &r.e), SHAPE);
    rig_free(&r);
}

static void test_gemm(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 64; trial++) {
        bool ta = trial & 1, tb = trial & 2;
        fy_dtype t = trial & 4 ? FERRY_FLOAT16 : trial & 8 ? FERRY_DOUBLE : FERRY_FLOAT;
        int64_t m = rig_range(&r, 1, 8), n = rig_range(&r, 1, 8), k = rig_range(&r, 0, 8);
        int64_t da[2] = {ta ? k : m, ta ? m : k}, db[2] = {tb ? n : k, tb ? k : n}, dc[2] = {trial & 16 ? 1 : m, trial & 32 ? 1 : n};
        fy_tensor in[3] = {random_tensor(&r, t, 2, da), random_tensor(&r, t, 2, db), random_tensor(&r, t, 2, dc)}, y;
        assert_ok(rig_op("Gemm", trial % 3 ? 3 : 2, in, FY_A(fy_float("alpha", 0.5), fy_float("beta", 2), fy_int("transA", ta), fy_int("transB", tb)), 1, &y, &r.e), r.e);
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                double s = 0;
                for (int64_t l = 0; l < k; l++) s += fy_get_f64(&in[0], ta ? l * m + i : i * k + l) * fy_get_f64(&in[1], tb ? j * k + l : l * n + j);
                expect_near(&y, i * n + j, 0.5 * s + (trial % 3 ? 2 * fy_get_f64(&in[2], (dc[0] == 1 ? 0 : i) * dc[1] + (dc[1] == 1 ? 0 : j)) : 0), tolerance(t));
            }
        fy_tensor_free(&y);
        for (int i = 0; i < 3; i++) fy_tensor_free(&in[i]);
    }
    rig_free(&r);
}

static void test_integer_product(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_tensor in[4] = {random_tensor(&r, FERRY_UINT8, 3, (int64_t[]){2, 3, 4}), random_tensor(&r, FERRY_INT8, 2, (int64_t[]){4, 5}),
                       random_tensor(&r, FERRY_UINT8, 1, (int64_t[]){3}), random_tensor(&r, FERRY_INT8, 1, (int64_t[]){5})}, y;
    assert_ok(rig_op("MatMulInteger", 4, in, FY_NOATTR, 1, &y, &r.e), r.e);
    assert_int_equal(y.dtype, FERRY_INT32);
    for (int64_t b = 0; b < 2; b++)
        for (int64_t i = 0; i < 3; i++)
            for (int64_t j = 0; j < 5; j++) {
                int64_t s = 0;
                for (int64_t k = 0; k < 4; k++) s += (fy_get_i64(&in[0], (b * 3 + i) * 4 + k) - fy_get_i64(&in[2], i)) * (fy_get_i64(&in[1], k * 5 + j) - fy_get_i64(&in[3], j));
                assert_int_equal(fy_get_i64(&y, (b * 3 + i) * 5 + j), s);
            }
    fy_tensor_free(&y);
    for (int i = 0; i < 4; i++) fy_tensor_free(&in[i]);
    rig_free(&r);
}

/* ---- Einsum: all index tuples, one by one -------------------------------------------------------------------------- */

static void check_einsum(rig *r, const char *eq, int n, const char *const *term, const char *out, fy_dtype t) {
    int64_t size[128], at[128];
    char labels[32] = "";
    fy_tensor in[4], y;
    for (int i = 0; i < 128; i++) size[i] = rig_range(r, 1, 4);
    for (int i = 0; i < n; i++) {
        int64_t d[8];
        for (size_t k = 0; term[i][k]; k++) {
            d[k] = size[(int)term[i][k]];
            if (!strchr(labels, term[i][k])) strncat(labels, &term[i][k], 1);
        }
        in[i] = random_tensor(r, t, (int)strlen(term[i]), d);
    }
    assert_ok(rig_op("Einsum", n, in, FY_A(fy_text("equation", eq)), 1, &y, &r->e), r->e);
    int64_t total = 1, count = 1;
    for (size_t k = 0; labels[k]; k++) total *= size[(int)labels[k]];
    for (size_t k = 0; out[k]; k++) count *= size[(int)out[k]];
    assert_int_equal(fy_count(&y), count);
    double *want = calloc((size_t)count, sizeof *want);
    for (int64_t i = 0; i < total; i++) {
        int64_t rest = i, to = 0;
        for (size_t k = 0; labels[k]; k++) { at[(int)labels[k]] = rest % size[(int)labels[k]]; rest /= size[(int)labels[k]]; }
        double p = 1;
        for (int j = 0; j < n; j++) {
            int64_t index = 0;
            for (size_t k = 0; term[j][k]; k++) index = index * size[(int)term[j][k]] + at[(int)term[j][k]];
            p *= fy_get_f64(&in[j], index);
        }
        for (size_t k = 0; out[k]; k++) to = to * size[(int)out[k]] + at[(int)out[k]];
        want[to] += p;
    }
    for (int64_t i = 0; i < count; i++) expect_near(&y, i, want[i], tolerance(t));
    free(want);
    fy_tensor_free(&y);
    for (int i = 0; i < n; i++) fy_tensor_free(&in[i]);
}

static void test_einsum(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
#define TERMS(...) (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *const[]){__VA_ARGS__}
    for (int k = 0; k < 8; k++) {
        fy_dtype t = k % 2 ? FERRY_INT64 : FERRY_DOUBLE;
        check_einsum(&r, "ij,jk->ik", TERMS("ij", "jk"), "ik", t);
        check_einsum(&r, "bhid,bhjd->bhij", TERMS("bhid", "bhjd"), "bhij", t);
        check_einsum(&r, "ij->ji", TERMS("ij"), "ji", t);
        check_einsum(&r, "ij->", TERMS("ij"), "", t);
        check_einsum(&r, "ii->i", TERMS("ii"), "i", t);
        check_einsum(&r, "ii", TERMS("ii"), "", t);
        check_einsum(&r, "i,j,k->kij", TERMS("i", "j", "k"), "kij", t);
        check_einsum(&r, "ij,ik", TERMS("ij", "ik"), "jk", t);
        check_einsum(&r, " a b , b c , c d -> a d ", TERMS("ab", "bc", "cd"), "ad", t);
        check_einsum(&r, "abc,cb,b->a", TERMS("abc", "cb", "b"), "a", t);
        check_einsum(&r, "...i,...ij->...j", TERMS("abi", "abij"), "abj", t);
        check_einsum(&r, "ab...,b->a...", TERMS("abxy", "b"), "axy", t);
        check_einsum(&r, "aab,b->ab", TERMS("aab", "b"), "ab", t);
    }
    fy_tensor y, in[2] = {rig_f32(RIG_DIMS(2, 2), RIG_F(1, 2, 3, 4)), rig_f32(RIG_DIMS(3, 2), RIG_F(1, 2, 3, 4, 5, 6))};
    static const struct { const char *eq; fy_code code; } bad[] = {{"ij,jk->ik", FY_E_SHAPE}, {"ijk,jk->i", FY_E_SHAPE}, {"ij->i", FY_E_ATTR}, {"ij,k2->i", FY_E_ATTR},
        {"ij,kl->ii", FY_E_ATTR}, {"ij,kl->m", FY_E_ATTR}, {"ij,kl,m->i", FY_E_ATTR}, {"i...j...,kl->i", FY_E_ATTR}, {"", FY_E_ATTR}, {",", FY_E_SHAPE}, {"->", FY_E_ATTR}};
    for (int i = 0; i < FY_COUNT(bad); i++) assert_int_equal(rig_op("Einsum", 2, in, FY_A(fy_text("equation", bad[i].eq)), 1, &y, &r.e), bad[i].code);
    rig_free(&r);
}

/* ---- convolutions -------------------------------------------------------------------------------------------------- */

typedef struct geometry { int nd; int64_t n, c, m, group, in[3], kernel[3], stride[3], dilation[3], pads[6]; } geometry;

static geometry random_geometry(rig *r) {
    geometry g = {.nd = (int)rig_range(r, 1, 3), .n = rig_range(r, 1, 2), .group = rig_range(r, 1, 3)};
    g.c = g.group * rig_range(r, 1, 2);
    g.m = g.group * rig_range(r, 1, 3);
    for (int i = 0; i < g.nd; i++) {
        g.kernel[i] = rig_range(r, 1, 3);
        g.stride[i] = rig_range(r, 1, 3);
        g.dilation[i] = rig_range(r, 1, 2);
        g.pads[i] = rig_range(r, 0, 2);
        g.pads[g.nd + i] = rig_range(r, 0, 2);
        g.in[i] = rig_range(r, (g.kernel[i] - 1) * g.dilation[i] + 1, 9);
    }
    return g;
}

#define GEOMETRY(g) fy_ints("strides", (g).nd, (g).stride), fy_ints("dilations", (g).nd, (g).dilation), fy_ints("pads", 2 * (g).nd, (g).pads), fy_int("group", (g).group)

/* y[n,m,o..] = sum over channel and tap; `o` and the tap walk as mixed-radix numbers. */
static double conv_at(const geometry *g, const fy_tensor *x, const fy_tensor *w, int64_t n, int64_t m, const int64_t *o, double zx, double zw) {
    int64_t each = g->c / g->group, taps = 1;
    double s = 0;
    for (int i = 0; i < g->nd; i++) taps *= g->kernel[i];
    for (int64_t c = 0; c < each; c++)
        for (int64_t k = 0; k < taps; k++) {
            int64_t rest = k, tap[3], at = n * g->c + m / (g->m / g->group) * each + c;
            bool inside = true;
            for (int i = g->nd - 1; i >= 0; i--) { tap[i] = rest % g->kernel[i]; rest /= g->kernel[i]; }
            for (int i = 0; i < g->nd; i++) {
                int64_t p = o[i] * g->stride[i] - g->pads[i] + tap[i] * g->dilation[i];
                inside = inside && p >= 0 && p < g->in[i];
                at = at * g->in[i] + p;
            }
            if (inside) s += (fy_get_f64(x, at) - zx) * (fy_get_f64(w, (m * each + c) * taps + k) - zw);
        }
    return s;
}

static void test_conv(void **state) {
    (void)state;
    static const fy_dtype kinds[] = {FERRY_FLOAT, FERRY_DOUBLE, FERRY_FLOAT16, FERRY_BFLOAT16};
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 100; trial++) {
        geometry g = random_geometry(&r);
        bool ints = trial % 5 == 4;
        fy_dtype t = kinds[trial % 4];
        int64_t dx[5] = {g.n, g.c}, dw[5] = {g.m, g.c / g.group};
        for (int i = 0; i < g.nd; i++) { dx[2 + i] = g.in[i]; dw[2 + i] = g.kernel[i]; }
        fy_tensor in[4] = {random_tensor(&r, ints ? FERRY_UINT8 : t, g.nd + 2, dx), random_tensor(&r, ints ? FERRY_INT8 : t, g.nd + 2, dw)}, y;
        in[2] = ints ? random_tensor(&r, FERRY_UINT8, 0, NULL) : random_tensor(&r, t, 1, &g.m);
        in[3] = ints ? random_tensor(&r, FERRY_INT8, 0, NULL) : (fy_tensor){0};
        assert_ok(rig_op(ints ? "ConvInteger" : "Conv", ints ? 4 : 3, in, FY_A(GEOMETRY(g)), 1, &y, &r.e), r.e);
        int64_t plane = 1;
        for (int i = 0; i < g.nd; i++) {
            int64_t extent = (g.kernel[i] - 1) * g.dilation[i] + 1;
            assert_int_equal(y.dim[2 + i], (g.in[i] + g.pads[i] + g.pads[g.nd + i] - extent) / g.stride[i] + 1);
            plane *= y.dim[2 + i];
        }
        for (int64_t e = 0; e < fy_count(&y); e++) {
            int64_t rest = e % plane, o[3], m = e / plane % g.m;
            for (int i = g.nd - 1; i >= 0; i--) { o[i] = rest % y.dim[2 + i]; rest /= y.dim[2 + i]; }
            double want = conv_at(&g, &in[0], &in[1], e / plane / g.m, m, o, ints ? fy_get_f64(&in[2], 0) : 0, ints ? fy_get_f64(&in[3], 0) : 0);
            expect_near(&y, e, want + (ints ? 0 : fy_get_f64(&in[2], m)), tolerance(ints ? FERRY_DOUBLE : t));
        }
        fy_tensor_free(&y);
        for (int i = 0; i < 4; i++) fy_tensor_free(&in[i]);
    }
    rig_free(&r);
}

static double dot(const fy_tensor *a, const fy_tensor *b) {
    double s = 0;
    for (int64_t i = 0; i < fy_count(a); i++) s += fy_get_f64(a, i) * fy_get_f64(b, i);
    return s;
}

/* <Conv(x, w), y> = <x, ConvTranspose(y, w)> for all x, y: the definition of a transposed map. */
static void test_adjoint(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 80; trial++) {
        geometry g = random_geometry(&r);
        int64_t dx[5] = {g.n, g.c}, dw[5] = {g.m, g.c / g.group}, back[3];
        for (int i = 0; i < g.nd; i++) { dx[2 + i] = g.in[i]; dw[2 + i] = g.kernel[i]; }
        fy_tensor in[2] = {random_tensor(&r, FERRY_DOUBLE, g.nd + 2, dx), random_tensor(&r, FERRY_DOUBLE, g.nd + 2, dw)}, y, z;
        assert_ok(rig_op("Conv", 2, in, FY_A(GEOMETRY(g)), 1, &y, &r.e), r.e);
        for (int i = 0; i < g.nd; i++)
            back[i] = g.in[i] - ((y.dim[2 + i] - 1) * g.stride[i] + (g.kernel[i] - 1) * g.dilation[i] + 1 - g.pads[i] - g.pads[g.nd + i]);
        fy_tensor other[2] = {random_tensor(&r, FERRY_DOUBLE, y.rank, y.dim), in[1]};
        assert_ok(rig_op("ConvTranspose", 2, other, FY_A(GEOMETRY(g), fy_ints("output_padding", g.nd, back)), 1, &z, &r.e), r.e);
        assert_true(fy_same_dims(&z, &in[0]));
        double a = dot(&y, &other[0]), b = dot(&in[0], &z);
        assert_true(fabs(a - b) <= 1e-9 * (1 + fabs(a)));
        fy_tensor_free(&z);
        fy_tensor_free(&y);
        fy_tensor_free(&other[0]);
        fy_tensor_free(&in[0]);
        fy_tensor_free(&in[1]);
    }
    rig_free(&r);
}

static void test_conv_faults(void **state) {
    (void)state;
    ferry_error e;
    float zeros[64] = {0};
    fy_tensor y, in[3] = {rig_f32(RIG_DIMS(1, 2, 3, 3), zeros), rig_f32(RIG_DIMS(2, 2, 3, 3), zeros), rig_f32(RIG_DIMS(3), zeros)};
    assert_fails(rig_op("Conv", 3, in, FY_NOATTR, 1, &y, &e), SHAPE);                                         /* bias of 3 for 2 channels */
    assert_fails(rig_op("Conv", 2, in, FY_A(fy_int("group", 2)), 1, &y, &e), SHAPE);
    assert_fails(rig_op("Conv", 2, in, FY_A(fy_int("group", 0)), 1, &y, &e), ATTR);
    assert_fails(rig_op("Conv", 2, in, FY_A(fy_ints("strides", 2, RIG_I(1, 0))), 1, &y, &e), ATTR);
    assert_fails(rig_op("Conv", 2, in, FY_A(fy_ints("strides", 1, RIG_I(1))), 1, &y, &e), ATTR);
    assert_fails(rig_op("Conv", 2, in, FY_A(fy_ints("dilations", 2, RIG_I(2, 2))), 1, &y, &e), SHAPE);
    assert_fails(rig_op("Conv", 2, in, FY_A(fy_ints("dilations", 2, RIG_I(INT64_MAX, 2))), 1, &y, &e), ATTR);
    assert_fails(rig_op("Conv", 2, in, FY_A(fy_ints("kernel_shape", 2, RIG_I(2, 3))), 1, &y, &e), SHAPE);
    assert_fails(rig_op("Conv", 2, in, FY_A(fy_text("auto_pad", "ALMOST")), 1, &y, &e), ATTR);
    assert_fails(rig_op("Conv", 2, in, FY_A(fy_ints("pads", 4, RIG_I(1 << 30, 1 << 30, 1 << 30, 1 << 30))), 1, &y, &e), LIMIT);
    fy_tensor deep[2] = {rig_f32(RIG_DIMS(1, 1, 1, 1, 1, 1), zeros), rig_f32(RIG_DIMS(1, 1, 1, 1, 1, 1), zeros)};
    assert_int_not_equal(rig_op("Conv", 2, deep, FY_NOATTR, 1, &y, &e), FY_OK);
    assert_fails(rig_op("MaxPool", 1, in, FY_A(fy_ints("kernel_shape", 2, RIG_I(4, 1))), 1, &y, &e), SHAPE);
    assert_fails(rig_op("MaxPool", 1, in, FY_A(fy_ints("kernel_shape", 2, RIG_I(0, 1))), 1, &y, &e), ATTR);
}

/* ---- pools --------------------------------------------------------------------------------------------------------- */

static void test_pools(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 90; trial++) {
        geometry g = random_geometry(&r);
        for (int i = 0; i < g.nd; i++) { g.pads[i] = rig_range(&r, 0, g.kernel[i] / 2); g.pads[g.nd + i] = rig_range(&r, 0, g.kernel[i] / 2); }
        int kind = trial % 3, ceil = trial & 1, include = trial & 2;
        static const char *const name[] = {"MaxPool", "AveragePool", "LpPool"};
        int64_t dx[5] = {g.n, g.c}, plane_in = 1, plane = 1, taps = 1;
        for (int i = 0; i < g.nd; i++) { dx[2 + i] = g.in[i]; plane_in *= g.in[i]; taps *= g.kernel[i]; }
        fy_tensor x = random_tensor(&r, FERRY_DOUBLE, g.nd + 2, dx), y[2] = {{0}};
        fy_attr attr[] = {fy_ints("kernel_shape", g.nd, g.kernel), fy_ints("strides", g.nd, g.stride), fy_ints("dilations", g.nd, g.dilation), fy_ints("pads", 2 * g.nd, g.pads),
                          fy_int("ceil_mode", ceil), fy_int("count_include_pad", include)};
        assert_ok(rig_op(name[kind], 1, &x, kind == 1 ? 6 : 5, attr, kind ? 1 : 2, y, &r.e), r.e);
        for (int i = 0; i < g.nd; i++) plane *= y[0].dim[2 + i];
        for (int64_t e = 0; e < fy_count(&y[0]); e++) {
            int64_t o[3], rest = e % plane, c = e / plane, count = 0, best = -1;
            double acc = 0;
            for (int i = g.nd - 1; i >= 0; i--) { o[i] = rest % y[0].dim[2 + i]; rest /= y[0].dim[2 + i]; }
            for (int64_t k = 0; k < taps; k++) {
                int64_t tap = k, at = 0, p[3];
                bool inside = true, padded = true;
                for (int i = g.nd - 1; i >= 0; i--) { p[i] = o[i] * g.stride[i] - g.pads[i] + tap % g.kernel[i] * g.dilation[i]; tap /= g.kernel[i]; }
                for (int i = 0; i < g.nd; i++) {
                    inside = inside && p[i] >= 0 && p[i] < g.in[i];
                    padded = padded && p[i] < g.in[i] + g.pads[g.nd + i];
                    at = at * g.in[i] + p[i];
                }
                count += include ? padded : inside;
                if (!inside) continue;
                double v = fy_get_f64(&x, c * plane_in + at);
                if (kind == 0 && (best < 0 || v > acc)) { acc = v; best = c * plane_in + at; }
                if (kind) acc += kind == 1 ? v : v * v;
            }
            expect_near(&y[0], e, kind == 0 ? acc : kind == 1 ? acc / (double)count : sqrt(acc), 1e-12);
            if (!kind) assert_int_equal(fy_get_i64(&y[1], e), best);
        }
        fy_tensor_free(&x);
        fy_tensor_free(&y[0]);
        fy_tensor_free(&y[1]);
    }
    rig_free(&r);
}

/* Sizes of windows as formulas: rounding down and up, SAME, dilation, transposed. */
static void test_symbolic(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b 4 h w"), *w = rig_in(&r, FERRY_FLOAT, "6 2 3 3"), *v = rig_in(&r, FERRY_FLOAT, "4 3 3 2"), *y;
    rig_out(&r, y = fy_emit(&r.b, "Conv", FY_V(x, w), FY_A(fy_int("group", 2), fy_ints("strides", 2, RIG_I(2, 1)), fy_ints("pads", 4, RIG_I(1, 1, 1, 1)))));
    rig_type_is(y, "f32[b,6,floor((h + 1)/2),w]");
    rig_out(&r, fy_emit(&r.b, "Conv", FY_V(x, w), FY_A(fy_int("group", 2), fy_ints("strides", 2, RIG_I(2, 3)), fy_text("auto_pad", "SAME_UPPER"))));
    rig_out(&r, fy_emit(&r.b, "ConvTranspose", FY_V(x, v), FY_A(fy_ints("strides", 2, RIG_I(2, 3)), fy_ints("output_padding", 2, RIG_I(1, 0)))));
    rig_out(&r, fy_emit(&r.b, "MaxPool", FY_V(x), FY_A(fy_ints("kernel_shape", 2, RIG_I(3, 2)), fy_ints("strides", 2, RIG_I(2, 2)), fy_int("ceil_mode", 1), fy_ints("pads", 4, RIG_I(1, 0, 1, 1)))));
    rig_out(&r, fy_emit(&r.b, "AveragePool", FY_V(x), FY_A(fy_ints("kernel_shape", 2, RIG_I(2, 2)), fy_ints("dilations", 2, RIG_I(2, 1)))));
    rig_out(&r, fy_emit(&r.b, "GlobalAveragePool", FY_V(x), FY_NOATTR));
    rig_out(&r, fy_emit(&r.b, "MatMul", FY_V(x, fy_emit(&r.b, "Transpose", FY_V(x), FY_A(fy_ints("perm", 4, RIG_I(0, 1, 3, 2))))), FY_NOATTR));
    rig_out(&r, fy_emit(&r.b, "Einsum", FY_V(x, x), FY_A(fy_text("equation", "bchw,bdhw->bcd"))));
    rig_property(&r, 3, 9);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matmul), cmocka_unit_test(test_gemm), cmocka_unit_test(test_integer_product), cmocka_unit_test(test_einsum),
        cmocka_unit_test(test_conv), cmocka_unit_test(test_adjoint), cmocka_unit_test(test_conv_faults), cmocka_unit_test(test_pools), cmocka_unit_test(test_symbolic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
