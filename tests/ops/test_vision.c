/* SPDX-License-Identifier: Apache-2.0
 * test_vision.c - Det, DeformConv (against Conv, and against its formula), MaxUnpool, MaxRoiPool, ImageDecoder; symbolic sizes; hostile
 * operands. */
#include "infer_property.h"

#include "engines/engine.h"

#include <math.h>

static fy_tensor random_tensor(rig *r, fy_dtype t, int rank, const int64_t *dim) {
    fy_tensor x;
    assert_ok(fy_tensor_new(&x, t, rank, dim, &r->e), r->e);
    for (int64_t i = 0; i < fy_count(&x); i++) fy_put_f64(&x, i, (double)rig_range(r, -16, 16) / 8);
    return x;
}

static void expect_near(const fy_tensor *y, int64_t i, double want, double tol) {
    double got = fy_get_f64(y, i);
    if (fabs(got - want) <= tol * (1 + fabs(want)) || (isnan(got) && isnan(want))) return;
    print_error("element %lld of %lld: %.9g, not %.9g\n", (long long)i, (long long)fy_count(y), got, want);
    fail();
}

/* ---- Det ----------------------------------------------------------------------------------------------------------- */

/* By cofactors of the first row. */
static double laplace(const double *a, int n) {
    double sum = 0, minor[36];
    if (n == 0) return 1;
    for (int c = 0; c < n; c++) {
        for (int i = 1; i < n; i++)
            for (int j = 0, k = 0; j < n; j++)
                if (j != c) minor[(i - 1) * (n - 1) + k++] = a[i * n + j];
        sum += (c % 2 ? -1 : 1) * a[c] * laplace(minor, n - 1);
    }
    return sum;
}

static void test_det(void **state) {
    rig r;
    fy_tensor x, y;
    (void)state;
    rig_new(&r);
    for (int trial = 0; trial < 120; trial++) {
        static const fy_dtype kinds[] = {FERRY_DOUBLE, FERRY_FLOAT, FERRY_FLOAT16, FERRY_BFLOAT16};
        int n = trial % 6, k = trial / 6 % 4;
        double a[2][36];
        x = random_tensor(&r, kinds[k], RIG_DIMS(1, 2, n, n));
        for (int m = 0; m < 2; m++)
            for (int i = 0; i < n * n; i++) a[m][i] = fy_get_f64(&x, m * n * n + i);
        assert_ok(rig_op("Det", 1, &x, FY_NOATTR, 1, &y, &r.e), r.e);
        assert_true(y.rank == 2 && y.dim[0] == 1 && y.dim[1] == 2);
        for (int m = 0; m < 2; m++) expect_near(&y, m, laplace(a[m], n), k == 0 ? 1e-13 : k == 1 ? 1e-6 : k == 2 ? 1e-3 : 1e-2);
        fy_tensor_free(&x);
        fy_tensor_free(&y);
    }
    double diagonal[16] = {0}, nan[4] = {(double)NAN, 0, 0, 0};
    diagonal[0] = diagonal[5] = 1e200;                       /* 1e200 * 1e200 is no double, the determinant is */
    diagonal[10] = diagonal[15] = 1e-200;
    x = fy_tensor_view(FERRY_DOUBLE, 2, (int64_t[]){4, 4}, diagonal);
    assert_ok(rig_op("Det", 1, &x, FY_NOATTR, 1, &y, &r.e), r.e);
    assert_int_equal(y.rank, 0);
    expect_near(&y, 0, 1, 1e-14);
    fy_tensor_free(&y);
    x = fy_tensor_view(FERRY_DOUBLE, 2, (int64_t[]){2, 2}, nan);
    assert_ok(rig_op("Det", 1, &x, FY_NOATTR, 1, &y, &r.e), r.e);
    assert_true(isnan(fy_get_f64(&y, 0)));
    fy_tensor_free(&y);
    x = rig_f32(RIG_DIMS(2, 3), RIG_F(1, 2, 3, 4, 5, 6));
    assert_fails(rig_op("Det", 1, &x, FY_NOATTR, 1, &y, &r.e), SHAPE);
    x = rig_f32(RIG_DIMS(2), RIG_F(1, 2));
    assert_fails(rig_op("Det", 1, &x, FY_NOATTR, 1, &y, &r.e), SHAPE);
    rig_free(&r);
}

/* ---- DeformConv ---------------------------------------------------------------------------------------------------- */

typedef struct geometry { int nd; int64_t n, c, m, group, offsets, in[3], out[3], kernel[3], stride[3], dilation[3], pad[6], taps, points; } geometry;

static geometry random_geometry(rig *r, int nd) {
    geometry g = {.nd = nd, .n = rig_range(r, 1, 2), .group = rig_range(r, 1, 2), .offsets = rig_range(r, 1, 3), .taps = 1, .points = 1};
    g.c = g.group * g.offsets * rig_range(r, 1, 2);
    g.m = g.group * rig_range(r, 1, 2);
    for (int a = 0; a < nd; a++) {
        g.kernel[a] = rig_range(r, 1, 3);
        g.stride[a] = rig_range(r, 1, 2);
        g.dilation[a] = rig_range(r, 1, 2);
        g.pad[a] = rig_range(r, 0, 2);
        g.pad[nd + a] = rig_range(r, 0, 2);
        g.in[a] = g.dilation[a] * (g.kernel[a] - 1) + 1 + rig_range(r, 0, 3);
        g.out[a] = (g.in[a] + g.pad[a] + g.pad[nd + a] - g.dilation[a] * (g.kernel[a] - 1) - 1) / g.stride[a] + 1;
        g.taps *= g.kernel[a];
        g.points *= g.out[a];
    }
    return g;
}

static fy_tensor random_of(rig *r, fy_dtype t, int64_t d0, int64_t d1, int nd, const int64_t *rest) {
    int64_t dim[5] = {d0, d1};
    for (int a = 0; a < nd; a++) dim[2 + a] = rest[a];
    return random_tensor(r, t, 2 + nd, dim);
}

/* x at a position, linear in each axis, 0 outside: the formula itself, corner by corner. */
static double at(const fy_tensor *x, const geometry *g, int64_t plane, const double *pos) {
    double sum = 0;
    for (int corner = 0; corner < 1 << g->nd; corner++) {
        double weight = 1;
        int64_t index = plane;
        bool inside = true;
        for (int a = 0; a < g->nd; a++) {
            double i = floor(pos[a]) + (corner >> a & 1);
            weight *= 1 - fabs(pos[a] - i);
            inside = inside && i >= 0 && i < (double)g->in[a];
            index = index * g->in[a] + (inside ? (int64_t)i : 0);
        }
        if (inside) sum += weight * fy_get_f64(x, index);
    }
    return sum;
}

static double formula(const geometry *g, const fy_tensor *in, int64_t n, int64_t m, int64_t p) {
    int64_t cg = g->c / g->group, per = g->c / g->offsets;
    double sum = in[3].dtype ? fy_get_f64(&in[3], m) : 0;
    for (int64_t c = 0; c < cg; c++)
        for (int64_t tap = 0; tap < g->taps; tap++) {
            int64_t channel = m / (g->m / g->group) * cg + c, og = channel / per, o = p, k = tap;
            double pos[3];
            for (int a = g->nd - 1; a >= 0; a--) {
                double shift = fy_get_f64(&in[2], (((n * g->offsets + og) * g->taps + tap) * g->nd + a) * g->points + p);
                pos[a] = (double)(o % g->out[a] * g->stride[a] - g->pad[a] + k % g->kernel[a] * g->dilation[a]) + shift;
                o /= g->out[a];
                k /= g->kernel[a];
            }
            double mask = in[4].dtype ? fy_get_f64(&in[4], ((n * g->offsets + og) * g->taps + tap) * g->points + p) : 1;
            sum += fy_get_f64(&in[1], (m * cg + c) * g->taps + tap) * mask * at(&in[0], g, n * g->c + channel, pos);
        }
    return sum;
}

static void test_deform(void **state) {
    static const fy_dtype kinds[] = {FERRY_DOUBLE, FERRY_FLOAT, FERRY_FLOAT16, FERRY_BFLOAT16};
    rig r;
    (void)state;
    rig_new(&r);
    for (int trial = 0; trial < 150; trial++) {
        geometry g = random_geometry(&r, trial % 3 + 1);
        int k = trial % 8 < 5 ? 0 : trial % 8 - 4;
        bool still = trial % 4 == 0, mask = !still && rig_range(&r, 0, 1), bias = rig_range(&r, 0, 1);
        fy_attr attr[] = {fy_ints("strides", g.nd, g.stride), fy_ints("dilations", g.nd, g.dilation), fy_ints("pads", 2 * g.nd, g.pad), fy_int("group", g.group), fy_int("offset_group", g.offsets),
                          fy_ints("kernel_shape", g.nd, g.kernel)};
        fy_tensor y, z, in[5] = {random_of(&r, kinds[k], g.n, g.c, g.nd, g.in), random_of(&r, kinds[k], g.m, g.c / g.group, g.nd, g.kernel),
                                 random_of(&r, kinds[k], g.n, g.offsets * g.taps * g.nd, g.nd, g.out), {0}, {0}};
        if (bias) in[3] = random_tensor(&r, kinds[k], 1, &g.m);
        if (mask) in[4] = random_of(&r, kinds[k], g.n, g.offsets * g.taps, g.nd, g.out);
        for (int64_t i = 0; still && i < fy_count(&in[2]); i++) fy_put_f64(&in[2], i, 0);
        assert_ok(rig_op("DeformConv", mask ? 5 : bias ? 4 : 3, in, 6, attr, 1, &y, &r.e), r.e);
        double tol = k == 0 ? 1e-13 : k == 1 ? 1e-6 : k == 2 ? 2e-3 : 2e-2;
        for (int64_t i = 0; i < fy_count(&y); i++) expect_near(&y, i, formula(&g, in, i / g.points / g.m, i / g.points % g.m, i % g.points), tol);
        if (still) {                                         /* without offsets it is Conv */
            fy_tensor plain[3] = {in[0], in[1], in[3]};
            attr[4] = attr[5];
            assert_ok(rig_op("Conv", bias ? 3 : 2, plain, 5, attr, 1, &z, &r.e), r.e);
            assert_true(fy_same_dims(&y, &z));
            for (int64_t i = 0; i < fy_count(&y); i++) expect_near(&y, i, fy_get_f64(&z, i), tol);
            fy_tensor_free(&z);
        }
        fy_tensor_free(&y);
        for (int i = 0; i < 5; i++) fy_tensor_free(&in[i]);
    }
    rig_free(&r);
}

static void test_deform_hostile(void **state) {
    rig r;
    fy_tensor y, x = rig_f32(RIG_DIMS(1, 1, 2, 2), RIG_F(1, 2, 3, 4)), w = rig_f32(RIG_DIMS(1, 1, 1, 1), RIG_F(1));
    (void)state;
    rig_new(&r);
    fy_tensor offset = rig_f32(RIG_DIMS(1, 2, 2, 2), RIG_F(NAN, 0, INFINITY, 1e30f, 0, -INFINITY, 0, 0));
    assert_ok(rig_op("DeformConv", 3, (fy_tensor[]){x, w, offset}, FY_NOATTR, 1, &y, &r.e), r.e);
    assert_true(isnan(fy_get_f64(&y, 0)));
    for (int i = 1; i < 4; i++) assert_true(fy_get_f64(&y, i) == 0);
    fy_tensor_free(&y);
    fy_tensor three = rig_f32(RIG_DIMS(1, 3, 2, 2), RIG_F(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), small = rig_f32(RIG_DIMS(1, 2, 1, 2), RIG_F(0, 0, 0, 0));
    assert_fails(rig_op("DeformConv", 3, (fy_tensor[]){x, w, three}, FY_NOATTR, 1, &y, &r.e), SHAPE);
    assert_fails(rig_op("DeformConv", 3, (fy_tensor[]){x, w, small}, FY_NOATTR, 1, &y, &r.e), SHAPE);
    assert_fails(rig_op("DeformConv", 5, (fy_tensor[]){x, w, offset, {0}, three}, FY_NOATTR, 1, &y, &r.e), SHAPE);
    static const int64_t bad[] = {0, -1, 2, INT64_MIN};
    for (int i = 0; i < 4; i++) {
        assert_int_not_equal(rig_op("DeformConv", 3, (fy_tensor[]){x, w, offset}, FY_A(fy_int("offset_group", bad[i])), 1, &y, &r.e), FY_OK);
        assert_int_not_equal(rig_op("DeformConv", 3, (fy_tensor[]){x, w, offset}, FY_A(fy_int("group", bad[i])), 1, &y, &r.e), FY_OK);
    }
    /* nothing to sample from: the padding is all there is */
    fy_tensor none = rig_f32(RIG_DIMS(1, 1, 0, 2), RIG_F(0)), still = rig_f32(RIG_DIMS(1, 2, 2, 2), RIG_F(0, 0, 0, 0, 0, 0, 0, NAN)), one = rig_f32(RIG_DIMS(1), RIG_F(7));
    assert_ok(rig_op("DeformConv", 4, (fy_tensor[]){none, w, still, one}, FY_A(fy_ints("pads", 4, RIG_I(1, 0, 1, 0))), 1, &y, &r.e), r.e);
    rig_expect(&y, RIG_DIMS(1, 1, 2, 2), RIG_D(7, 7, 7, 7));
    fy_tensor_free(&y);
    rig_free(&r);
}

/* ---- MaxUnpool ----------------------------------------------------------------------------------------------------- */

static void test_unpool(void **state) {
    rig r;
    (void)state;
    rig_new(&r);
    for (int trial = 0; trial < 60; trial++) {               /* windows side by side: pooling gives the values back */
        static const fy_dtype kinds[] = {FERRY_DOUBLE, FERRY_FLOAT, FERRY_FLOAT16, FERRY_BFLOAT16};
        int nd = trial % 3 + 1;
        int64_t dim[5] = {2, 3}, k[3];
        for (int a = 0; a < nd; a++) {
            k[a] = rig_range(&r, 1, 3);
            dim[2 + a] = k[a] * rig_range(&r, 1, 3);
        }
        fy_tensor x = random_tensor(&r, kinds[trial % 4], 2 + nd, dim), pooled[2], y, again;
        for (int64_t i = 0; i < fy_count(&x); i++) fy_put_f64(&x, i, fabs(fy_get_f64(&x, i)));
        fy_attr attr[] = {fy_ints("kernel_shape", nd, k), fy_ints("strides", nd, k)};
        assert_ok(rig_op("MaxPool", 1, &x, 2, attr, 2, pooled, &r.e), r.e);
        assert_ok(rig_op("MaxUnpool", 2, pooled, 2, attr, 1, &y, &r.e), r.e);
        assert_true(fy_same_dims(&y, &x));
        double sum = 0, want = 0;
        for (int64_t i = 0; i < fy_count(&y); i++) {
            assert_true(fy_get_f64(&y, i) == 0 || fy_get_f64(&y, i) == fy_get_f64(&x, i));
            sum += fy_get_f64(&y, i);
        }
        for (int64_t i = 0; i < fy_count(&pooled[0]); i++) want += fy_get_f64(&pooled[0], i);
        assert_true(fabs(sum - want) < 1e-9 * (1 + want));
        assert_ok(rig_op("MaxPool", 1, &y, 2, attr, 1, &again, &r.e), r.e);
        for (int64_t i = 0; i < fy_count(&again); i++) expect_near(&again, i, fy_get_f64(&pooled[0], i), 0);
        fy_tensor_free(&x);
        fy_tensor_free(&y);
        fy_tensor_free(&again);
        fy_tensor_free(&pooled[0]);
        fy_tensor_free(&pooled[1]);
    }
    fy_tensor x = rig_f32(RIG_DIMS(1, 1, 2), RIG_F(5, 6)), index = rig_i64(RIG_DIMS(1, 1, 2), RIG_I(1, 3)), y;
    fy_attr attr[] = {fy_ints("kernel_shape", 1, RIG_I(2)), fy_ints("strides", 1, RIG_I(2))};
    assert_ok(rig_op("MaxUnpool", 3, (fy_tensor[]){x, index, rig_i64(RIG_DIMS(3), RIG_I(1, 1, 6))}, 2, attr, 1, &y, &r.e), r.e);
    rig_expect(&y, RIG_DIMS(1, 1, 6), RIG_D(0, 5, 0, 6, 0, 0));
    fy_tensor_free(&y);
    static const int64_t bad[] = {-1, 4, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 4; i++) assert_fails(rig_op("MaxUnpool", 2, (fy_tensor[]){x, rig_i64(RIG_DIMS(1, 1, 2), RIG_I(0, bad[i]))}, 2, attr, 1, &y, &r.e), INDEX);
    static const int64_t shapes[][3] = {{1, 1, 3}, {1, 2, 4}, {0, 1, 4}, {1, 1, -4}, {1, 1, INT64_MIN}};
    for (int i = 0; i < FY_COUNT(shapes); i++) assert_int_not_equal(rig_op("MaxUnpool", 3, (fy_tensor[]){x, index, rig_i64(RIG_DIMS(3), shapes[i])}, 2, attr, 1, &y, &r.e), FY_OK);
    assert_fails(rig_op("MaxUnpool", 3, (fy_tensor[]){x, index, rig_i64(RIG_DIMS(3), RIG_I(1, 1, INT64_MAX))}, 2, attr, 1, &y, &r.e), LIMIT);
    assert_fails(rig_op("MaxUnpool", 3, (fy_tensor[]){x, index, rig_i64(RIG_DIMS(2), RIG_I(1, 4))}, 2, attr, 1, &y, &r.e), SHAPE);
    assert_fails(rig_op("MaxUnpool", 2, (fy_tensor[]){x, rig_i64(RIG_DIMS(1, 1, 3), RIG_I(0, 1, 2))}, 2, attr, 1, &y, &r.e), SHAPE);
    assert_fails(rig_op("MaxUnpool", 2, (fy_tensor[]){x, index}, FY_A(fy_ints("kernel_shape", 1, RIG_I(2)), fy_ints("pads", 2, RIG_I(9, 9))), 1, &y, &r.e), SHAPE);
    rig_free(&r);
}

/* ---- MaxRoiPool ---------------------------------------------------------------------------------------------------- */

static void test_roi_pool(void **state) {
    rig r;
    (void)state;
    rig_new(&r);
    for (int trial = 0; trial < 80; trial++) {
        int64_t h = rig_range(&r, 1, 9), w = rig_range(&r, 1, 9), size[2] = {rig_range(&r, 1, 4), rig_range(&r, 1, 4)};
        fy_tensor x = random_tensor(&r, FERRY_FLOAT, RIG_DIMS(2, 2, h, w)), roi = random_tensor(&r, FERRY_FLOAT, RIG_DIMS(3, 5)), y;
        for (int i = 0; i < 15; i++) fy_put_f64(&roi, i, i % 5 ? (double)rig_range(&r, -6, 24) : (double)rig_range(&r, 0, 1));
        assert_ok(rig_op("MaxRoiPool", 2, (fy_tensor[]){x, roi}, FY_A(fy_ints("pooled_shape", 2, size), fy_float("spatial_scale", 0.5)), 1, &y, &r.e), r.e);
        assert_true(y.dim[0] == 3 && y.dim[1] == 2 && y.dim[2] == size[0] && y.dim[3] == size[1]);
        for (int64_t i = 0; i < fy_count(&y); i++) {
            int64_t n = i / (2 * size[0] * size[1]), c = i / (size[0] * size[1]) % 2, bin[2] = {i / size[1] % size[0], i % size[1]}, b = (int64_t)fy_get_f64(&roi, 5 * n);
            int64_t y0 = (int64_t)round(fy_get_f64(&roi, 5 * n + 2) / 2), x0 = (int64_t)round(fy_get_f64(&roi, 5 * n + 1) / 2);
            int64_t rh = (int64_t)fmax(round(fy_get_f64(&roi, 5 * n + 4) / 2) - (double)y0 + 1, 1), rw = (int64_t)fmax(round(fy_get_f64(&roi, 5 * n + 3) / 2) - (double)x0 + 1, 1);
            double want = 0;
            bool any = false;
            for (int64_t p = 0; p < h; p++)                  /* element p is in bin k of s over n from y0 where [p, p + 1) meets [k n / s, (k + 1) n / s) */
                for (int64_t q = 0; q < w; q++) {
                    int64_t dp = (p - y0) * size[0], dq = (q - x0) * size[1];
                    if (dp + size[0] <= bin[0] * rh || dp >= (bin[0] + 1) * rh || dq + size[1] <= bin[1] * rw || dq >= (bin[1] + 1) * rw) continue;
                    double v = fy_get_f64(&x, ((b * 2 + c) * h + p) * w + q);
                    want = any ? fmax(want, v) : v;
                    any = true;
                }
            expect_near(&y, i, want, 0);
        }
        fy_tensor_free(&x);
        fy_tensor_free(&roi);
        fy_tensor_free(&y);
    }
    fy_tensor x = rig_f32(RIG_DIMS(1, 1, 2, 2), RIG_F(1, 2, 3, 4)), y;
    static const float batch[] = {-1, 1, 1e30f, NAN, INFINITY}, corner[] = {NAN, INFINITY, -1e30f};
    for (int i = 0; i < 5; i++) assert_fails(rig_op("MaxRoiPool", 2, (fy_tensor[]){x, rig_f32(RIG_DIMS(1, 5), RIG_F(batch[i], 0, 0, 1, 1))}, FY_A(fy_ints("pooled_shape", 2, RIG_I(1, 1))), 1, &y, &r.e), INDEX);
    for (int i = 0; i < 3; i++) assert_fails(rig_op("MaxRoiPool", 2, (fy_tensor[]){x, rig_f32(RIG_DIMS(1, 5), RIG_F(0, 0, corner[i], 1, 1))}, FY_A(fy_ints("pooled_shape", 2, RIG_I(1, 1))), 1, &y, &r.e), VALUE);
    static const int64_t sizes[][2] = {{0, 1}, {1, -1}, {INT64_MAX, 1}, {1, INT64_MIN}};
    fy_tensor roi = rig_f32(RIG_DIMS(1, 5), RIG_F(0, 0, 0, 1, 1));
    for (int i = 0; i < 4; i++) assert_fails(rig_op("MaxRoiPool", 2, (fy_tensor[]){x, roi}, FY_A(fy_ints("pooled_shape", 2, sizes[i])), 1, &y, &r.e), ATTR);
    assert_fails(rig_op("MaxRoiPool", 2, (fy_tensor[]){x, roi}, FY_A(fy_ints("pooled_shape", 1, sizes[0])), 1, &y, &r.e), ATTR);
    assert_fails(rig_op("MaxRoiPool", 2, (fy_tensor[]){x, rig_f32(RIG_DIMS(1, 4), RIG_F(0, 0, 1, 1))}, FY_A(fy_ints("pooled_shape", 2, RIG_I(1, 1))), 1, &y, &r.e), SHAPE);
    fy_tensor flat = rig_f32(RIG_DIMS(1, 1, 0, 2), RIG_F(0));
    assert_ok(rig_op("MaxRoiPool", 2, (fy_tensor[]){flat, roi}, FY_A(fy_ints("pooled_shape", 2, RIG_I(1, 1))), 1, &y, &r.e), r.e);
    rig_expect(&y, RIG_DIMS(1, 1, 1, 1), RIG_D(0));
    fy_tensor_free(&y);
    rig_free(&r);
}

/* ---- ImageDecoder -------------------------------------------------------------------------------------------------- */

static fy_status image(const fy_hooks *hooks, const char *pixels, const void *bytes, int64_t n, int64_t most, fy_tensor *y, ferry_error *e) {
    fy_model *m = fy_model_new(fy_registry_builtin());
    fy_build b = {.g = m->graph, .e = e};
    fy_type t = fy_tensor_type_i64(m, FERRY_UINT8, 1, &n);
    fy_value *v = fy_graph_add_input(m->graph, NULL, &t), *out = fy_emit(&b, "ImageDecoder", FY_V(v), FY_A(fy_text("pixel_format", pixels)));
    fy_rval in = {.kind = FY_TENSOR, .t = fy_tensor_view(FERRY_UINT8, 1, &n, bytes)}, res = {0}, *at_in = &in;
    fy_interp it = {.hooks = hooks, .max_bytes = most};
    fy_status s = b.status;
    if (out && !fy_graph_add_output(m->graph, out)) s = FY_E_NOMEM;
    if (!s) s = fy_interp_run(&it, m->graph, &at_in, &res, e);
    *y = res.t;
    fy_model_free(m);
    return s;
}

static fy_status no_memory(fy_tensor *out, const void *bytes, size_t n, bool gray, int64_t most, ferry_error *e) {
    (void)out; (void)bytes; (void)n; (void)gray; (void)most;
    return fy_nomem(e);
}

static void test_image(void **state) {
    static const char ppm[] = "P6 2 1 255\n\1\2\3\377\200\0";
    static const fy_hooks poor = {.image_decode = no_memory}, empty = {0};
    const int64_t n = sizeof ppm - 1;
    ferry_error e = {0};
    fy_tensor y;
    (void)state;
    assert_ok(image(fy_hooks_builtin(), "RGB", ppm, n, 0, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 2, 3), RIG_D(1, 2, 3, 255, 128, 0));
    fy_tensor_free(&y);
    assert_ok(image(fy_hooks_builtin(), "BGR", ppm, n, 0, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 2, 3), RIG_D(3, 2, 1, 0, 128, 255));
    fy_tensor_free(&y);
    assert_ok(image(fy_hooks_builtin(), "Grayscale", ppm, n, 0, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 2, 1), RIG_D(2, 151));
    fy_tensor_free(&y);
    for (int64_t cut = 0; cut < n; cut++) {                  /* what cannot be decoded is an empty matrix */
        assert_ok(image(fy_hooks_builtin(), "RGB", ppm, cut, 0, &y, &e), e);
        rig_expect(&y, RIG_DIMS(0, 0, 3), NULL);
        fy_tensor_free(&y);
    }
    assert_ok(image(fy_hooks_builtin(), "Grayscale", "no image", 8, 0, &y, &e), e);
    rig_expect(&y, RIG_DIMS(0, 0, 1), NULL);
    fy_tensor_free(&y);
    assert_fails(image(fy_hooks_builtin(), "YUV", ppm, n, 0, &y, &e), ATTR);
    assert_fails(image(NULL, "RGB", ppm, n, 0, &y, &e), UNSUPPORTED);
    assert_fails(image(&empty, "RGB", ppm, n, 0, &y, &e), UNSUPPORTED);
    assert_fails(image(&poor, "RGB", ppm, n, 0, &y, &e), NOMEM);
    assert_fails(image(fy_hooks_builtin(), "RGB", ppm, n, 5, &y, &e), LIMIT);
    assert_fails(image(fy_hooks_builtin(), "RGB", "P5 99999 99999 255\nx", 20, 0, &y, &e), LIMIT);
}

/* ---- sizes --------------------------------------------------------------------------------------------------------- */

static void test_symbolic(void **state) {
    rig r;
    (void)state;
    rig_new(&r);
    fy_value *square = rig_in(&r, FERRY_DOUBLE, "a b n n"), *x = rig_in(&r, FERRY_FLOAT, "batch 4 h+2 w+2"), *w = rig_in(&r, FERRY_FLOAT, "2 2 3 3");
    fy_value *offset = rig_in(&r, FERRY_FLOAT, "batch 36 h w"), *rois = rig_in(&r, FERRY_FLOAT, "rois 5"), *scaled = fy_emit(&r.b, "Mul", FY_V(rois, fy_k_scalar(&r.b, FERRY_FLOAT, 0)), FY_NOATTR);
    fy_value *det = fy_emit(&r.b, "Det", FY_V(square), FY_NOATTR), *y = fy_emit(&r.b, "DeformConv", FY_V(x, w, offset), FY_A(fy_int("group", 2), fy_int("offset_group", 2)));
    fy_value *pool = fy_emit(&r.b, "MaxRoiPool", FY_V(x, scaled), FY_A(fy_ints("pooled_shape", 2, RIG_I(2, 3))));
    fy_value *values = rig_in(&r, FERRY_FLOAT, "batch c h"), *index = rig_in(&r, FERRY_INT64, "batch c h");
    fy_value *up = fy_emit(&r.b, "MaxUnpool", FY_V(values, index), FY_A(fy_ints("kernel_shape", 1, RIG_I(3)), fy_ints("strides", 1, RIG_I(2))));
    fy_value *like = fy_emit(&r.b, "Shape", FY_V(rig_in(&r, FERRY_FLOAT, "batch c 2*h+3")), FY_NOATTR);
    fy_value *sized = fy_emit(&r.b, "MaxUnpool", FY_V(values, index, like), FY_A(fy_ints("kernel_shape", 1, RIG_I(3)), fy_ints("strides", 1, RIG_I(2))));
    rig_type_is(det, "f64[a,b]");
    rig_type_is(y, "f32[batch,2,h,w]");
    rig_type_is(pool, "f32[rois,4,2,3]");
    rig_type_is(up, "f32[batch,c,2*h + 1]");
    rig_type_is(sized, "f32[batch,c,2*h + 3]");
    fy_value *all[] = {det, y, pool, up, sized};
    for (int i = 0; i < FY_COUNT(all); i++) rig_out(&r, all[i]);
    rig_property(&r, 1, 5);
    rig_free(&r);
}

static void test_threads(void **state) {
    rig r;
    (void)state;
    rig_new(&r);
    fy_tensor x = random_tensor(&r, FERRY_FLOAT, RIG_DIMS(2, 8, 20, 20)), w = random_tensor(&r, FERRY_FLOAT, RIG_DIMS(4, 8, 3, 3)), offset = random_tensor(&r, FERRY_FLOAT, RIG_DIMS(2, 36, 18, 18));
    fy_tensor a = random_tensor(&r, FERRY_DOUBLE, RIG_DIMS(200, 7, 7));
    rig_same_bits("DeformConv", 3, (fy_tensor[]){x, w, offset}, FY_A(fy_int("offset_group", 2)));
    rig_same_bits("Det", 1, &a, FY_NOATTR);
    fy_tensor_free(&x);
    fy_tensor_free(&w);
    fy_tensor_free(&offset);
    fy_tensor_free(&a);
    rig_free(&r);
}

static void test_no_memory(void **state) {
    rig r;
    (void)state;
    rig_new(&r);
    fy_tensor x = random_tensor(&r, FERRY_FLOAT, RIG_DIMS(1, 2, 4, 4)), w = random_tensor(&r, FERRY_FLOAT, RIG_DIMS(2, 2, 2, 2)), offset = random_tensor(&r, FERRY_FLOAT, RIG_DIMS(1, 8, 3, 3));
    fy_tensor mask = random_tensor(&r, FERRY_FLOAT, RIG_DIMS(1, 4, 3, 3)), bias = random_tensor(&r, FERRY_FLOAT, RIG_DIMS(2)), roi = rig_f32(RIG_DIMS(1, 5), RIG_F(0, 1, 1, 3, 3));
    rig_no_memory("Det", 1, &x, FY_NOATTR);
    rig_no_memory("DeformConv", 5, (fy_tensor[]){x, w, offset, bias, mask}, FY_NOATTR);
    rig_no_memory("MaxUnpool", 2, (fy_tensor[]){rig_f32(RIG_DIMS(1, 1, 2), RIG_F(1, 2)), rig_i64(RIG_DIMS(1, 1, 2), RIG_I(0, 1))}, FY_A(fy_ints("kernel_shape", 1, RIG_I(2))));
    rig_no_memory("MaxRoiPool", 2, (fy_tensor[]){x, roi}, FY_A(fy_ints("pooled_shape", 2, RIG_I(2, 2))));
    fy_tensor_free(&x);
    fy_tensor_free(&w);
    fy_tensor_free(&offset);
    fy_tensor_free(&mask);
    fy_tensor_free(&bias);
    rig_free(&r);
}

/* Valid shapes, attributes as bad as they come: a status each time. */
static void test_bad_attributes(void **state) {
    static const int64_t odd[] = {0, 1, -1, 2, 3, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, (int64_t)1 << 31, 1 << 30, -(1 << 30)};
    static const char *const name[] = {"strides", "dilations", "pads", "kernel_shape"};
    rig r;
    int ok = 0;
    (void)state;
    rig_new(&r);
    for (int trial = 0; trial < 4000; trial++) {
        int64_t v[4][4], n = rig_range(&r, 1, 2);
        fy_attr attr[5];
        int na = 0;
        fy_tensor x = rig_f32(RIG_DIMS(1, 1, 2, 2), RIG_F(1, 2, 3, 4)), w = rig_f32(RIG_DIMS(1, 1, 1, 1), RIG_F(1)), offset = rig_f32(RIG_DIMS(1, 2, 2, 2), RIG_F(0, 1, 0, 1, 0, 1, 0, 1));
        fy_tensor index = rig_i64(RIG_DIMS(1, 1, 2, 2), RIG_I(0, 1, 2, 3));
        bool unpool = trial % 2;
        for (int i = 0; i < 4; i++) {
            if (i == 1 && unpool) continue;
            if (!(i == 3 && unpool) && rig_range(&r, 0, 1)) continue;
            for (int k = 0; k < 4; k++) v[i][k] = rig_range(&r, 0, 2) ? rig_range(&r, 0, 2) : odd[rig_range(&r, 0, FY_COUNT(odd) - 1)];
            if (i == 2 && rig_range(&r, 0, 1)) { v[i][2] = v[i][0] == INT64_MIN ? 0 : -v[i][0]; v[i][3] = v[i][1] == INT64_MIN ? 0 : -v[i][1]; }    /* one side undoes the other */
            attr[na++] = fy_ints(name[i], i == 2 ? 2 * n : n, v[i]);
        }
        fy_rval val[16] = {{0}}, *inp[16], y = {0};
        fy_model *m = fy_model_new(fy_registry_builtin());
        fy_interp it = {.max_bytes = 1 << 20};
        fy_status s;
        if (rig_node(m, unpool ? "MaxUnpool" : "DeformConv", unpool ? 2 : 3, unpool ? (fy_tensor[]){x, index, {0}} : (fy_tensor[]){x, w, offset}, na, attr, 1, val, inp, &s, &r.e))
            s = fy_interp_run(&it, m->graph, inp, &y, &r.e);
        assert_true(s != FY_E_INTERNAL);
        ok += s == FY_OK;
        fy_rval_free(&y);
        fy_model_free(m);
    }
    assert_true(ok > 40);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_det), cmocka_unit_test(test_deform), cmocka_unit_test(test_deform_hostile), cmocka_unit_test(test_unpool),
                                       cmocka_unit_test(test_roi_pool), cmocka_unit_test(test_image), cmocka_unit_test(test_symbolic), cmocka_unit_test(test_threads), cmocka_unit_test(test_no_memory), cmocka_unit_test(test_bad_attributes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
