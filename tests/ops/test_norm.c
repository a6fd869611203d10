/* SPDX-License-Identifier: Apache-2.0
 * test_norm.c - softmax, reductions, normalisations, attention, quantisation: each against a plain loop or a law (rows sum to 1, a
 * normalised row has mean 0 and variance 1, groups of one are instances, dequantised values are within half a step). */
#include "infer_property.h"

#include <math.h>

static fy_tensor random_tensor(rig *r, fy_dtype t, int rank, const int64_t *dim) {
    fy_tensor x;
    assert_ok(fy_tensor_new(&x, t, rank, dim, &r->e), r->e);
    for (int64_t i = 0; i < fy_count(&x); i++) fy_put_f64(&x, i, (double)rig_range(r, -400, 400) / 100);
    return x;
}

static void near(double got, double want, double tol) {
    if (fabs(got - want) <= tol * (1 + fabs(want))) return;
    print_error("%.17g, not %.17g\n", got, want);
    fail();
}

/* ---- softmax ------------------------------------------------------------------------------------------------------- */

static void test_softmax(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    static const int64_t lengths[] = {1, 5, 2047, 2048, 2049, 5000};
    for (int k = 0; k < FY_COUNT(lengths); k++)
        for (int axis = 0; axis < 2; axis++) {
            int64_t n = lengths[k], dim[3] = {axis ? 3 : n, axis ? n : 3, 2};
            fy_tensor x = random_tensor(&r, FERRY_DOUBLE, 3, dim), y, l, h;
            for (int64_t i = 0; i < fy_count(&x); i++) fy_put_f64(&x, i, fy_get_f64(&x, i) + 1000);     /* e^1000 is beyond double */
            assert_ok(rig_op("Softmax", 1, &x, FY_A(fy_int("axis", axis - 3)), 1, &y, &r.e), r.e);
            assert_ok(rig_op("LogSoftmax", 1, &x, FY_A(fy_int("axis", axis)), 1, &l, &r.e), r.e);
            assert_ok(rig_op("Hardmax", 1, &x, FY_A(fy_int("axis", axis)), 1, &h, &r.e), r.e);
            for (int64_t a = 0; a < 3; a++)
                for (int64_t b = 0; b < 2; b++) {
                    double sum = 0, ones = 0, ref = 0;
                    for (int64_t i = 0; i < n; i++) {
                        int64_t at = axis ? (a * n + i) * 2 + b : (i * 3 + a) * 2 + b;
                        ref += exp(fy_get_f64(&x, at) - 1000);
                    }
                    for (int64_t i = 0; i < n; i++) {
                        int64_t at = axis ? (a * n + i) * 2 + b : (i * 3 + a) * 2 + b;
                        near(fy_get_f64(&y, at), exp(fy_get_f64(&x, at) - 1000) / ref, 1e-12);
                        near(exp(fy_get_f64(&l, at)), fy_get_f64(&y, at), 1e-12);
                        sum += fy_get_f64(&y, at);
                        ones += fy_get_f64(&h, at);
                    }
                    near(sum, 1, 1e-12);
                    assert_true(ones == 1);
                }
            fy_tensor_free(&x);
            fy_tensor_free(&y);
            fy_tensor_free(&l);
            fy_tensor_free(&h);
        }
    fy_tensor y, x = rig_f32(RIG_DIMS(2, 3), RIG_F(-INFINITY, 0, -INFINITY, 1, INFINITY, NAN));
    assert_ok(rig_op("Softmax", 1, &x, FY_NOATTR, 1, &y, &r.e), r.e);
    assert_true(fy_get_f64(&y, 0) == 0 && fy_get_f64(&y, 1) == 1 && isnan(fy_get_f64(&y, 3)));
    fy_tensor_free(&y);
    assert_fails(rig_op("Softmax", 1, &x, FY_A(fy_int("axis", 2)), 1, &y, &r.e), AXIS);
    rig_free(&r);
}

/* ---- reductions ---------------------------------------------------------------------------------------------------- */

static void test_reduce(void **state) {
    (void)state;
    static const char *const name[] = {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare"};
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 200; trial++) {
        int rank = (int)rig_range(&r, 1, 4), op = trial % 9, keep = (int)rig_range(&r, 0, 1);
        int64_t dim[4], axes[4], naxes = 0, count = 1, n = 1;
        bool on[4] = {false};
        for (int i = 0; i < rank; i++) {
            dim[i] = rig_range(&r, 1, trial % 10 == 0 ? 1500 >> (2 * rank) : 4);
            if (dim[i] < 1) dim[i] = 1;
            if (rig_range(&r, 0, 1)) { on[i] = true; axes[naxes++] = rig_range(&r, 0, 1) ? i : i - rank; }
        }
        for (int i = 0; i < rank; i++) { if (!naxes) on[i] = true; if (on[i]) n *= dim[i]; else count *= dim[i]; }
        fy_tensor in[2] = {random_tensor(&r, FERRY_DOUBLE, rank, dim), rig_i64(1, &naxes, axes)}, y;
        assert_ok(rig_op(name[op], naxes ? 2 : 1, in, FY_A(fy_int("keepdims", keep)), 1, &y, &r.e), r.e);
        assert_int_equal(fy_count(&y), count);
        assert_int_equal(y.rank, keep ? rank : rank - (naxes ? naxes : rank));
        double *want = calloc((size_t)count, sizeof *want);
        for (int64_t i = 0; i < count; i++) want[i] = op == 2 ? -1e9 : op == 3 ? 1e9 : op == 4;
        for (int64_t i = 0; i < fy_count(&in[0]); i++) {
            int64_t rest = i, at = 0, scale = 1;
            for (int d = rank - 1; d >= 0; d--) {
                if (!on[d]) { at += rest % dim[d] * scale; scale *= dim[d]; }
                rest /= dim[d];
            }
            double v = fy_get_f64(&in[0], i), *w = &want[at];
            *w = op < 2 ? *w + v : op == 2 ? fmax(*w, v) : op == 3 ? fmin(*w, v) : op == 4 ? *w * v : op == 5 ? *w + fabs(v) : op == 7 ? *w + exp(v) : *w + v * v;
        }
        for (int64_t i = 0; i < count; i++)
            near(fy_get_f64(&y, i), op == 1 ? want[i] / (double)n : op == 6 ? sqrt(want[i]) : op == 7 ? log(want[i]) : want[i], 1e-10);
        free(want);
        fy_tensor_free(&y);
        fy_tensor_free(&in[0]);
    }
    /* exact in 64 bits, wrapping */
    fy_tensor y, x = rig_i64(RIG_DIMS(3), RIG_I(INT64_MAX, 1, -1));
    assert_ok(rig_op("ReduceSum", 1, &x, FY_A(fy_int("keepdims", 0)), 1, &y, &r.e), r.e);
    assert_true(y.rank == 0 && fy_get_i64(&y, 0) == INT64_MAX);
    fy_tensor_free(&y);
    fy_tensor twice[2] = {x, rig_i64(RIG_DIMS(2), RIG_I(0, -1))}, empty = rig_f32(RIG_DIMS(2, 0), RIG_F(0));
    assert_fails(rig_op("ReduceSum", 2, twice, FY_NOATTR, 1, &y, &r.e), VALUE);
    twice[1] = rig_i64(RIG_DIMS(1), RIG_I(1));
    assert_fails(rig_op("ReduceSum", 2, twice, FY_NOATTR, 1, &y, &r.e), AXIS);
    static const double nothing[] = {0, 0, -1, 1, 1, 0, 0, -1, 0};
    for (int op = 0; op < 9; op++) {
        fy_tensor in[2] = {empty, rig_i64(RIG_DIMS(1), RIG_I(1))};
        assert_ok(rig_op(name[op], 2, in, FY_NOATTR, 1, &y, &r.e), r.e);
        double v = fy_get_f64(&y, 1);
        assert_true(op == 1 ? isnan(v) : op == 2 || op == 3 || op == 7 ? isinf(v) && (v > 0) == (nothing[op] > 0) : v == nothing[op]);
        fy_tensor_free(&y);
    }
    rig_free(&r);
}

static void test_arg(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, x = rig_f32(RIG_DIMS(2, 4), RIG_F(1, 3, 3, 0, NAN, 1, NAN, 9));
    static const struct { const char *op; int last; int64_t want[2]; } table[] = {{"ArgMax", 0, {1, 0}}, {"ArgMax", 1, {2, 0}}, {"ArgMin", 0, {3, 0}}};
    for (int i = 0; i < FY_COUNT(table); i++) {
        assert_ok(rig_op(table[i].op, 1, &x, FY_A(fy_int("axis", -1), fy_int("keepdims", 0), fy_int("select_last_index", table[i].last)), 1, &y, &e), e);
        for (int k = 0; k < 2; k++) assert_int_equal(fy_get_i64(&y, k), table[i].want[k]);
        fy_tensor_free(&y);
    }
    x = rig_f32(RIG_DIMS(0, 4), RIG_F(0));
    assert_fails(rig_op("ArgMax", 1, &x, FY_NOATTR, 1, &y, &e), SHAPE);
}

/* ---- normalisations ------------------------------------------------------------------------------------------------ */

static void moments(const fy_tensor *x, int64_t first, int64_t n, double *mean, double *var) {
    *mean = *var = 0;
    for (int64_t i = 0; i < n; i++) *mean += fy_get_f64(x, first + i) / (double)n;
    for (int64_t i = 0; i < n; i++) *var += (fy_get_f64(x, first + i) - *mean) * (fy_get_f64(x, first + i) - *mean) / (double)n;
}

static void test_rows(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    static const int64_t sizes[] = {1, 7, 1024, 1025, 3000};
    for (int k = 0; k < FY_COUNT(sizes); k++) {
        int64_t n = sizes[k];
        fy_tensor in[3] = {random_tensor(&r, FERRY_FLOAT, 3, (int64_t[]){2, 3, n}), random_tensor(&r, FERRY_FLOAT, 1, &n), random_tensor(&r, FERRY_FLOAT, 1, &n)}, y[3], z;
        assert_ok(rig_op("LayerNormalization", 3, in, FY_A(fy_float("epsilon", 0.001)), 3, y, &r.e), r.e);
        assert_ok(rig_op("RMSNormalization", 2, in, FY_A(fy_float("epsilon", 0.001)), 1, &z, &r.e), r.e);
        for (int64_t row = 0; row < 6; row++) {
            double mean, var, square = 0;
            moments(&in[0], row * n, n, &mean, &var);
            for (int64_t i = 0; i < n; i++) square += fy_get_f64(&in[0], row * n + i) * fy_get_f64(&in[0], row * n + i) / (double)n;
            near(fy_get_f64(&y[1], row), mean, 1e-6);
            near(fy_get_f64(&y[2], row), 1 / sqrt(var + 0.001), 1e-6);
            for (int64_t i = 0; i < n; i++) {
                double v = fy_get_f64(&in[0], row * n + i), g = fy_get_f64(&in[1], i), b = fy_get_f64(&in[2], i);
                near(fy_get_f64(&y[0], row * n + i), (v - mean) / sqrt(var + 0.001) * g + b, 1e-6);
                near(fy_get_f64(&z, row * n + i), v / sqrt(square + 0.001) * g, 1e-6);
            }
        }
        for (int i = 0; i < 3; i++) { fy_tensor_free(&in[i]); fy_tensor_free(&y[i]); }
        fy_tensor_free(&z);
    }
    rig_free(&r);
}

static void test_channels(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    int64_t dim[4] = {2, 6, 3, 5}, plane = 15;
    fy_tensor in[5] = {random_tensor(&r, FERRY_DOUBLE, 4, dim)}, y, z, b[3];
    for (int i = 1; i < 5; i++) in[i] = random_tensor(&r, FERRY_DOUBLE, 1, (int64_t[]){6});
    for (int64_t i = 0; i < 6; i++) fy_put_f64(&in[4], i, fabs(fy_get_f64(&in[4], i)) + 0.1);
    assert_ok(rig_op("BatchNormalization", 5, in, FY_NOATTR, 1, &y, &r.e), r.e);
    for (int64_t i = 0; i < fy_count(&y); i++) {
        int64_t c = i / plane % 6;
        near(fy_get_f64(&y, i), (fy_get_f64(&in[0], i) - fy_get_f64(&in[3], c)) / sqrt(fy_get_f64(&in[4], c) + 1e-5) * fy_get_f64(&in[1], c) + fy_get_f64(&in[2], c), 1e-9);
    }
    fy_tensor_free(&y);
    assert_ok(rig_op("BatchNormalization", 5, in, FY_A(fy_int("training_mode", 1), fy_float("momentum", 0.75)), 3, b, &r.e), r.e);
    for (int64_t c = 0; c < 6; c++) {
        double mean = 0, var = 0;
        for (int64_t i = 0; i < 30; i++) mean += fy_get_f64(&in[0], (i / 15 * 6 + c) * 15 + i % 15) / 30;
        for (int64_t i = 0; i < 30; i++) var += pow(fy_get_f64(&in[0], (i / 15 * 6 + c) * 15 + i % 15) - mean, 2) / 30;
        near(fy_get_f64(&b[1], c), fy_get_f64(&in[3], c) * 0.75 + mean * 0.25, 1e-12);
        near(fy_get_f64(&b[2], c), fy_get_f64(&in[4], c) * 0.75 + var * 0.25, 1e-12);
        near(fy_get_f64(&b[0], c * 15), (fy_get_f64(&in[0], c * 15) - mean) / sqrt(var + 1e-5) * fy_get_f64(&in[1], c) + fy_get_f64(&in[2], c), 1e-8);
    }
    for (int i = 0; i < 3; i++) fy_tensor_free(&b[i]);
    /* six groups of one channel are instances; one group is a layer over the whole sample */
    assert_ok(rig_op("GroupNormalization", 3, in, FY_A(fy_int("num_groups", 6)), 1, &y, &r.e), r.e);
    assert_ok(rig_op("InstanceNormalization", 3, in, FY_NOATTR, 1, &z, &r.e), r.e);
    for (int64_t i = 0; i < fy_count(&y); i++) near(fy_get_f64(&y, i), fy_get_f64(&z, i), 1e-13);
    fy_tensor_free(&y);
    assert_ok(rig_op("GroupNormalization", 3, in, FY_A(fy_int("num_groups", 2)), 1, &y, &r.e), r.e);
    for (int64_t i = 0; i < fy_count(&y); i++) {
        double mean, var;
        int64_t c = i / plane % 6;
        moments(&in[0], i / 45 * 45, 45, &mean, &var);
        near(fy_get_f64(&y, i), (fy_get_f64(&in[0], i) - mean) / sqrt(var + 1e-5) * fy_get_f64(&in[1], c) + fy_get_f64(&in[2], c), 1e-9);
    }
    fy_tensor_free(&y);
    fy_tensor_free(&z);
    assert_fails(rig_op("GroupNormalization", 3, in, FY_A(fy_int("num_groups", 4)), 1, &y, &r.e), SHAPE);
    assert_fails(rig_op("GroupNormalization", 3, in, FY_A(fy_int("num_groups", 0)), 1, &y, &r.e), ATTR);
    assert_ok(rig_op("LRN", 1, in, FY_A(fy_int("size", 3), fy_float("alpha", 0.5), fy_float("beta", 0.5)), 1, &y, &r.e), r.e);
    for (int64_t i = 0; i < fy_count(&y); i++) {
        double s = 0;
        for (int64_t c = i / plane % 6, k = c - 1; k <= c + 1; k++) if (k >= 0 && k < 6) s += pow(fy_get_f64(&in[0], i + (k - c) * plane), 2);
        near(fy_get_f64(&y, i), fy_get_f64(&in[0], i) / sqrt(1 + 0.5 / 3 * s), 1e-9);
    }
    fy_tensor_free(&y);
    for (int p = 1; p <= 2; p++) {
        assert_ok(rig_op("LpNormalization", 1, in, FY_A(fy_int("axis", 1), fy_int("p", p)), 1, &y, &r.e), r.e);
        for (int64_t n = 0; n < 2; n++)
            for (int64_t i = 0; i < plane; i++) {
                double s = 0;
                for (int64_t c = 0; c < 6; c++) s += pow(fabs(fy_get_f64(&y, (n * 6 + c) * plane + i)), p);
                near(s, 1, 1e-12);
            }
        fy_tensor_free(&y);
    }
    for (int i = 0; i < 5; i++) fy_tensor_free(&in[i]);
    rig_free(&r);
}

/* ---- attention ----------------------------------------------------------------------------------------------------- */

/* Grouped heads, a cache, a short bool or a float mask, causal, windows, softcap; 4-D and 3-D. */
static void test_attention(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 48; trial++) {
        int64_t B = 2, H = 4, G = trial & 1 ? 2 : 4, S = rig_range(&r, 1, 4), K = rig_range(&r, 1, 5), P = trial & 2 ? rig_range(&r, 1, 3) : 0, D = 3, E = 2, T = P + K;
        bool causal = trial & 4, flat = trial & 8, capped = trial & 16, yes_no = trial & 32;
        int64_t left = rig_range(&r, -1, 2), dm[2] = {S, T};
        fy_tensor in[6] = {random_tensor(&r, FERRY_DOUBLE, 4, (int64_t[]){B, H, S, D}), random_tensor(&r, FERRY_DOUBLE, 4, (int64_t[]){B, G, K, D}),
            random_tensor(&r, FERRY_DOUBLE, 4, (int64_t[]){B, G, K, E}), random_tensor(&r, yes_no ? FERRY_BOOL : FERRY_DOUBLE, 2, dm),
            random_tensor(&r, FERRY_DOUBLE, 4, (int64_t[]){B, G, P, D}), random_tensor(&r, FERRY_DOUBLE, 4, (int64_t[]){B, G, P, E})}, given[6], y[4] = {{0}};
        for (int i = 0; i < 6; i++) given[i] = in[i];
        for (int64_t i = 0; yes_no && i < S * T; i++) fy_put_i64(&in[3], i, rig_range(&r, 0, 2) > 0);
        fy_tensor moved[3];
        for (int i = 0; flat && i < 3; i++) {                           /* [B,H,S,D] -> [B,S,H*D] */
            int64_t n = in[i].dim[1], d3[3] = {B, in[i].dim[2], n * in[i].dim[3]};
            assert_ok(fy_tensor_new(&moved[i], FERRY_DOUBLE, 3, d3, &r.e), r.e);
            for (int64_t e = 0; e < fy_count(&in[i]); e++) {
                int64_t d = e % in[i].dim[3], s = e / in[i].dim[3] % in[i].dim[2], h = e / in[i].dim[3] / in[i].dim[2] % n, b = e / in[i].dim[3] / in[i].dim[2] / n;
                fy_put_f64(&moved[i], ((b * in[i].dim[2] + s) * n + h) * in[i].dim[3] + d, fy_get_f64(&in[i], e));
            }
            given[i] = moved[i];
        }
        fy_attr attr[] = {fy_int("is_causal", causal), fy_float("softcap", capped ? 2 : 0), fy_int("left_window_size", left), fy_float("scale", 0.3),
                          fy_int("q_num_heads", H), fy_int("kv_num_heads", G)};
        assert_ok(rig_op("Attention", P ? 6 : 4, given, flat ? 6 : 4, attr, P ? 3 : 1, y, &r.e), r.e);
        for (int64_t b = 0; b < B; b++)
            for (int64_t h = 0; h < H; h++)
                for (int64_t s = 0; s < S; s++) {
                    double w[16], sum = 0;
                    int64_t g = b * G + h / (H / G);
                    for (int64_t t = 0; t < T; t++) {
                        double q = 0;
                        for (int64_t d = 0; d < D; d++)
                            q += fy_get_f64(&in[0], ((b * H + h) * S + s) * D + d) * (t < P ? fy_get_f64(&in[4], (g * P + t) * D + d) : fy_get_f64(&in[1], (g * K + t - P) * D + d));
                        q *= (double)0.3;
                        if (capped) q = 2 * tanh(q / 2);
                        bool see = !(causal && t > P + s) && !(left >= 0 && t < P + s - left) && (!yes_no || fy_get_i64(&in[3], s * T + t));
                        w[t] = see ? exp(q + (yes_no ? 0 : fy_get_f64(&in[3], s * T + t))) : 0;
                        sum += w[t];
                    }
                    for (int64_t d = 0; d < E; d++) {
                        double v = 0;
                        for (int64_t t = 0; t < T; t++) v += w[t] / (sum > 0 ? sum : 1) * (t < P ? fy_get_f64(&in[5], (g * P + t) * E + d) : fy_get_f64(&in[2], (g * K + t - P) * E + d));
                        near(fy_get_f64(&y[0], flat ? ((b * S + s) * H + h) * E + d : ((b * H + h) * S + s) * E + d), v, 1e-10);
                    }
                }
        if (P) assert_true(y[1].dim[2] == T && fy_get_f64(&y[1], 0) == fy_get_f64(&in[4], 0));
        for (int i = 0; i < 6; i++) fy_tensor_free(&in[i]);
        for (int i = 0; flat && i < 3; i++) fy_tensor_free(&moved[i]);
        for (int i = 0; i < 4; i++) fy_tensor_free(&y[i]);
    }
    float v[64] = {0};
    fy_tensor y, bad[4] = {rig_f32(RIG_DIMS(1, 2, 2, 4), v), rig_f32(RIG_DIMS(1, 2, 3, 5), v), rig_f32(RIG_DIMS(1, 2, 3, 4), v), rig_f32(RIG_DIMS(2, 4), v)};
    assert_fails(rig_op("Attention", 3, bad, FY_NOATTR, 1, &y, &r.e), SHAPE);
    bad[1] = bad[2];
    assert_fails(rig_op("Attention", 4, bad, FY_NOATTR, 1, &y, &r.e), SHAPE);       /* mask longer than the keys */
    bad[0] = bad[1] = bad[2] = rig_f32(RIG_DIMS(1, 2, 4), v);
    assert_fails(rig_op("Attention", 3, bad, FY_NOATTR, 1, &y, &r.e), ATTR);        /* rank 3 without heads */
    rig_free(&r);
}

/* ---- quantisation -------------------------------------------------------------------------------------------------- */

static void test_quantize(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    static const fy_dtype kinds[] = {FERRY_UINT8, FERRY_INT8, FERRY_INT16, FERRY_UINT16, FERRY_INT4, FERRY_UINT4};
    for (int trial = 0; trial < 36; trial++) {
        fy_dtype t = kinds[trial % 6];
        int how = trial / 6 % 3;                                        /* one scale, one a channel, blocks of 2 */
        int64_t dim[3] = {2, 3, 5}, ds[3] = {2, 3, 3}, one = 3;
        fy_tensor x = random_tensor(&r, FERRY_FLOAT, 3, dim), s = how == 0 ? random_tensor(&r, FERRY_FLOAT, 0, NULL) : how == 1 ? random_tensor(&r, FERRY_FLOAT, 1, &one)
                                                                                                                               : random_tensor(&r, FERRY_FLOAT, 3, ds), z, q, back;
        for (int64_t i = 0; i < fy_count(&s); i++) fy_put_f64(&s, i, fabs(fy_get_f64(&s, i)) + 0.25);
        assert_ok(fy_tensor_new(&z, t, s.rank, s.dim, &r.e), r.e);
        for (int64_t i = 0; i < fy_count(&z); i++) fy_put_i64(&z, i, rig_range(&r, 0, 5));
        fy_attr attr[] = {fy_int("axis", how == 1 ? 1 : 2), fy_int("block_size", 2)};
        assert_ok(rig_op("QuantizeLinear", 3, (fy_tensor[]){x, s, z}, how == 2 ? 2 : how, attr, 1, &q, &r.e), r.e);
        assert_int_equal(q.dtype, t);
        assert_ok(rig_op("DequantizeLinear", 3, (fy_tensor[]){q, s, z}, how == 2 ? 2 : how, attr, 1, &back, &r.e), r.e);
        int bits = fy_dtype_bits(t);
        bool sign = fy_dtype_class(t) == FY_CLASS_I;
        for (int64_t i = 0; i < 30; i++) {
            int64_t k = how == 0 ? 0 : how == 1 ? i / 5 % 3 : i / 5 * 3 + i % 5 / 2;
            double scale = fy_get_f64(&s, k), zero = fy_get_f64(&z, k), lo = (sign ? -ldexp(1, bits - 1) : 0), hi = ldexp(1, sign ? bits - 1 : bits) - 1;
            double v = fy_get_f64(&x, i), clipped = fmin(fmax(v, (lo - zero) * scale), (hi - zero) * scale);
            assert_true(fabs(fy_get_f64(&back, i) - clipped) <= scale / 2 * 1.0001);
        }
        fy_tensor_free(&x);
        fy_tensor_free(&s);
        fy_tensor_free(&z);
        fy_tensor_free(&q);
        fy_tensor_free(&back);
    }
    fy_tensor y, bad[2] = {rig_f32(RIG_DIMS(2, 2), RIG_F(1, 2, 3, 4)), rig_f32(RIG_DIMS(3), RIG_F(1, 1, 1))};
    assert_fails(rig_op("QuantizeLinear", 2, bad, FY_NOATTR, 1, &y, &r.e), SHAPE);
    rig_free(&r);
}

static void test_symbolic(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s 8"), *g = rig_in(&r, FERRY_FLOAT, "8"), *q = rig_in(&r, FERRY_FLOAT, "b 4 s 6"), *past = rig_in(&r, FERRY_FLOAT, "b 2 p 6"), *y;
    rig_out(&r, fy_emit(&r.b, "LayerNormalization", FY_V(x, g, g), FY_NOATTR));
    rig_out(&r, fy_emit(&r.b, "Softmax", FY_V(x), FY_NOATTR));
    rig_out(&r, y = fy_emit(&r.b, "ReduceMean", FY_V(x, RIG_K(&r, 1)), FY_A(fy_int("keepdims", 0))));
    rig_type_is(y, "f32[b,8]");
    rig_out(&r, fy_emit(&r.b, "ArgMax", FY_V(x), FY_A(fy_int("axis", 1))));
    fy_value *k = fy_emit(&r.b, "Slice", FY_V(q, RIG_K(&r, 0), RIG_K(&r, 2), RIG_K(&r, 1)), FY_NOATTR);
    fy_node *n = fy_emit_n(&r.b, "Attention", 3, 6, (fy_value *[]){q, k, k, NULL, past, past}, FY_A(fy_int("is_causal", 1)));
    assert_non_null(n);
    rig_type_is(n->out[1], "f32[b,2,s + p,6]");
    for (int i = 0; i < 3; i++) rig_out(&r, n->out[i]);
    rig_out(&r, fy_emit(&r.b, "GroupNormalization", FY_V(x, rig_in(&r, FERRY_FLOAT, "s"), rig_in(&r, FERRY_FLOAT, "s")), FY_A(fy_int("num_groups", 1))));
    rig_property(&r, 1, 6);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_softmax), cmocka_unit_test(test_reduce), cmocka_unit_test(test_arg), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_channels), cmocka_unit_test(test_attention), cmocka_unit_test(test_quantize), cmocka_unit_test(test_symbolic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
