/* SPDX-License-Identifier: Apache-2.0
 * test_signal.c - DFT of many lengths against the sum that defines it, its ways back, STFT against DFTs of frames, windows, the mel
 * matrix; symbolic sizes; hostile operands. */
#include "infer_property.h"

#include "ops/fft.h"

#include <math.h>

#define TAU 6.28318530717958647693

static fy_tensor random_f64(rig *r, int rank, const int64_t *dim) {
    fy_tensor x;
    assert_ok(fy_tensor_new(&x, FERRY_DOUBLE, rank, dim, &r->e), r->e);
    for (int64_t i = 0; i < fy_count(&x); i++) fy_put_f64(&x, i, (double)rig_range(r, -1000, 1000) / 500);
    return x;
}

static void near(double got, double want, double tol, const char *what, int64_t n, int64_t k) {
    if (fabs(got - want) <= tol) return;
    print_error("%s of length %lld, element %lld: %.17g, not %.17g\n", what, (long long)n, (long long)k, got, want);
    fail();
}

/* ---- the transform ------------------------------------------------------------------------------------------------- */

static void test_lengths(void **state) {
    static const int64_t more[] = {97, 101, 128, 202, 210, 243, 256, 341, 509, 512, 625, 961, 1009, 1024, 1517, 2047};
    rig r;
    (void)state;
    rig_new(&r);
    for (int i = 1; i <= 70 + FY_COUNT(more); i++) {
        int64_t n = i <= 70 ? i : more[i - 71];
        fy_arena a = {0};
        const fy_fft *p;
        assert_ok(fy_fft_plan(&p, n, &a, (int64_t)1 << 30, &r.e), r.e);
        fy_cplx *x = FY_NEWN(&a, fy_cplx, n), *y = FY_NEWN(&a, fy_cplx, n), *work = FY_NEWN(&a, fy_cplx, p->work);
        for (int64_t k = 0; k < n; k++) y[k] = x[k] = (fy_cplx){(double)rig_range(&r, -1000, 1000) / 500, (double)rig_range(&r, -1000, 1000) / 500};
        fy_fft_run(p, y, work);
        for (int64_t k = 0; k < n; k += n > 300 ? 7 : 1) {
            double re = 0, im = 0;
            for (int64_t j = 0; j < n; j++) {
                double t = TAU * (double)(j * k % n) / (double)n, c = cos(t), s = sin(t);
                re += x[j].re * c + x[j].im * s;
                im += x[j].im * c - x[j].re * s;
            }
            near(y[k].re, re, 3e-14 * (double)n, "real part", n, k);
            near(y[k].im, im, 3e-14 * (double)n, "imaginary part", n, k);
        }
        fy_arena_free(&a);
    }
    fy_arena a = {0};
    const fy_fft *p;
    assert_fails(fy_fft_plan(&p, 0, &a, 1 << 20, &r.e), VALUE);
    assert_fails(fy_fft_plan(&p, INT64_MAX, &a, INT64_MAX, &r.e), LIMIT);
    assert_fails(fy_fft_plan(&p, 1 << 20, &a, 1 << 20, &r.e), LIMIT);
    assert_fails(fy_fft_plan(&p, 100003, &a, 5000000, &r.e), LIMIT);
    fy_arena_free(&a);
    rig_free(&r);
}

/* One element of the transform that the attributes ask for, from its definition. x [n_in, parts] with steps in doubles. */
static void define(double *re, double *im, const double *x, int64_t step, int64_t n_in, int64_t parts, int64_t n, int64_t k, bool inverse, bool half) {
    *re = *im = 0;
    for (int64_t j = 0; j < n; j++) {
        int64_t from = half && j > n / 2 ? n - j : j;
        if (from >= n_in || (half && from > n / 2)) continue;
        double a = x[from * step], b = parts == 2 ? x[from * step + 1] : 0, t = TAU * (double)(j * k % n) / (double)n, c = cos(t), s = inverse ? -sin(t) : sin(t);
        if (half && from != j) b = -b;
        if (half && (from == 0 || 2 * from == n)) b = 0;
        *re += a * c + b * s;
        *im += b * c - a * s;
    }
    if (inverse) { *re /= (double)n; *im /= (double)n; }
}

static void test_dft(void **state) {
    rig r;
    (void)state;
    rig_new(&r);
    for (int trial = 0; trial < 300; trial++) {
        bool inverse = rig_range(&r, 0, 1), onesided = rig_range(&r, 0, 1), half = inverse && onesided, said = rig_range(&r, 0, 1), narrow = rig_range(&r, 0, 1);
        int rank = (int)rig_range(&r, 2, 4), axis = (int)rig_range(&r, 0, rank - 2);
        int64_t dim[4], n, parts = onesided ? (inverse ? 2 : 1) : rig_range(&r, 1, 2), inner = 1, given = rig_range(&r, 0, 1) ? axis : axis - rank, len = rig_range(&r, 1, 23);
        for (int a = 0; a < rank - 1; a++) dim[a] = a == axis ? rig_range(&r, half && !said ? 2 : 1, 20) : rig_range(&r, 1, 3);
        dim[rank - 1] = parts;
        n = said ? len : half ? 2 * (dim[axis] - 1) : dim[axis];
        int32_t len32 = (int32_t)len;
        fy_tensor x = random_f64(&r, rank, dim), y, in[3] = {x, {0}, {0}};
        if (said) in[1] = narrow ? fy_tensor_view(FERRY_INT32, 0, NULL, &len32) : rig_i64(0, NULL, &len);
        if (axis != rank - 2 || rig_range(&r, 0, 1)) in[2] = rig_i64(0, NULL, &given);
        int nin = in[2].dtype ? 3 : in[1].dtype ? 2 : 1;
        assert_ok(rig_op("DFT", nin, in, FY_A(fy_int("inverse", inverse), fy_int("onesided", onesided)), 1, &y, &r.e), r.e);
        int64_t n_out = onesided && !inverse ? n / 2 + 1 : n, parts_out = half ? 1 : 2;
        for (int a = 0; a < rank; a++) assert_int_equal(y.dim[a], a == axis ? n_out : a == rank - 1 ? parts_out : dim[a]);
        for (int a = axis + 1; a < rank - 1; a++) inner *= dim[a];
        for (int64_t i = 0; i < fy_count(&y) / parts_out; i++) {
            int64_t outer = i / inner / n_out, k = i / inner % n_out, at = i % inner;
            double re, im;
            define(&re, &im, (double *)x.data + (outer * dim[axis] * inner + at) * parts, inner * parts, dim[axis], parts, n, k, inverse, half);
            near(fy_get_f64(&y, i * parts_out), re, 1e-12, "real part", n, k);
            if (parts_out == 2) near(fy_get_f64(&y, 2 * i + 1), im, 1e-12, "imaginary part", n, k);
        }
        fy_tensor_free(&x);
        fy_tensor_free(&y);
    }
    rig_free(&r);
}

/* There and back, also through a half spectrum; every float type; a strided input. */
static void test_back(void **state) {
    static const fy_dtype kinds[] = {FERRY_DOUBLE, FERRY_FLOAT, FERRY_FLOAT16, FERRY_BFLOAT16};
    rig r;
    (void)state;
    rig_new(&r);
    for (int64_t n = 1; n <= 40; n++)
        for (int k = 0; k < 4; k++) {
            int64_t onesided = n % 2, len = n;
            fy_tensor x, y, z, wide = random_f64(&r, RIG_DIMS(2, n, onesided ? 1 : 2));
            assert_ok(fy_tensor_cast(&x, &wide, kinds[k], &r.e), r.e);
            assert_ok(rig_op("DFT", 1, &x, FY_A(fy_int("onesided", onesided)), 1, &y, &r.e), r.e);
            fy_tensor in[2] = {y, rig_i64(0, NULL, &len)};
            assert_ok(rig_op("DFT", 2, in, FY_A(fy_int("onesided", onesided), fy_int("inverse", 1)), 1, &z, &r.e), r.e);
            assert_int_equal(z.dtype, kinds[k]);
            assert_true(fy_same_dims(&z, &x));
            for (int64_t i = 0; i < fy_count(&x); i++)
                near(fy_get_f64(&z, i), fy_get_f64(&x, i), k == 0 ? 1e-14 : k == 1 ? 1e-6 : k == 2 ? 1e-2 : 0.1, "back", n, i);
            fy_tensor_free(&wide);
            fy_tensor_free(&x);
            fy_tensor_free(&y);
            fy_tensor_free(&z);
        }
    fy_tensor x = rig_f32(RIG_DIMS(1, 2, 2), RIG_F(1, 2, 3, 4)), y;
    x.dim[1] = 4;                                            /* [1, 4, 1], every element twice: a stride of 0 */
    x.dim[2] = 1;
    x.stride[1] = 0;
    assert_ok(rig_op("DFT", 1, &x, FY_NOATTR, 1, &y, &r.e), r.e);
    rig_expect(&y, RIG_DIMS(1, 4, 2), RIG_D(4, 0, 0, 0, 0, 0, 0, 0));
    fy_tensor_free(&y);
    rig_free(&r);
}

static void test_dft_refused(void **state) {
    rig r;
    fy_tensor y, real = rig_f32(RIG_DIMS(1, 3, 1), RIG_F(1, 2, 3)), complex = rig_f32(RIG_DIMS(1, 2, 2), RIG_F(1, 2, 3, 4)), three = rig_f32(RIG_DIMS(1, 1, 3), RIG_F(1, 2, 3));
    fy_tensor empty = rig_f32(RIG_DIMS(2, 0, 1), RIG_F(0)), none = rig_f32(RIG_DIMS(0, 3, 1), RIG_F(0));
    (void)state;
    rig_new(&r);
    assert_fails(rig_op("DFT", 1, &three, FY_NOATTR, 1, &y, &r.e), SHAPE);
    assert_fails(rig_op("DFT", 1, &complex, FY_A(fy_int("onesided", 1)), 1, &y, &r.e), SHAPE);
    assert_fails(rig_op("DFT", 1, &real, FY_A(fy_int("onesided", 1), fy_int("inverse", 1)), 1, &y, &r.e), SHAPE);
    assert_fails(rig_op("DFT", 1, &real, FY_A(fy_int("onesided", 2)), 1, &y, &r.e), ATTR);
    assert_fails(rig_op("DFT", 1, &empty, FY_NOATTR, 1, &y, &r.e), VALUE);
    assert_fails(rig_op("DFT", 1, &real, FY_A(fy_int("inverse", INT64_MIN)), 1, &y, &r.e), ATTR);
    static const int64_t lengths[] = {0, -1, INT64_MIN};
    for (int i = 0; i < 3; i++) assert_fails(rig_op("DFT", 2, (fy_tensor[]){real, rig_i64(0, NULL, &lengths[i])}, FY_NOATTR, 1, &y, &r.e), VALUE);
    static const int64_t huge[] = {INT64_MAX, (int64_t)1 << 40};
    for (int i = 0; i < 2; i++) assert_fails(rig_op("DFT", 2, (fy_tensor[]){real, rig_i64(0, NULL, &huge[i])}, FY_NOATTR, 1, &y, &r.e), LIMIT);
    static const int64_t axes[] = {2, -1, 3, -4, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 6; i++) assert_fails(rig_op("DFT", 3, (fy_tensor[]){real, {0}, rig_i64(0, NULL, &axes[i])}, FY_NOATTR, 1, &y, &r.e), AXIS);
    assert_ok(rig_op("DFT", 1, &none, FY_NOATTR, 1, &y, &r.e), r.e);
    rig_expect(&y, RIG_DIMS(0, 3, 2), NULL);
    fy_tensor_free(&y);
    rig_free(&r);
}

/* ---- STFT ---------------------------------------------------------------------------------------------------------- */

static void test_stft(void **state) {
    rig r;
    (void)state;
    rig_new(&r);
    for (int trial = 0; trial < 150; trial++) {
        int64_t len = rig_range(&r, 1, 40), frame = rig_range(&r, 1, len), step = rig_range(&r, 1, 9), parts = rig_range(&r, 1, 2), onesided = rig_range(&r, 0, 1);
        int how = (int)rig_range(&r, 0, 3);                  /* frame length from: window, itself, both, the signal */
        if (how == 3) frame = len;
        fy_tensor x = random_f64(&r, RIG_DIMS(2, len, parts)), window = random_f64(&r, RIG_DIMS(frame)), y;
        fy_tensor in[4] = {x, rig_i64(0, NULL, &step), {0}, {0}};
        if (how == 0 || how == 2) in[2] = window;
        if (how == 1 || how == 2) in[3] = rig_i64(0, NULL, &frame);
        assert_ok(rig_op("STFT", how == 3 ? 2 : how == 0 ? 3 : 4, in, FY_A(fy_int("onesided", onesided)), 1, &y, &r.e), r.e);
        int64_t frames = (len - frame) / step + 1, bins = onesided ? frame / 2 + 1 : frame;
        assert_true(y.rank == 4 && y.dim[0] == 2 && y.dim[1] == frames && y.dim[2] == bins && y.dim[3] == 2);
        for (int64_t b = 0; b < 2; b++)
            for (int64_t f = 0; f < frames; f++)
                for (int64_t k = 0; k < bins; k++) {
                    double cut[80], re, im;
                    for (int64_t i = 0; i < frame * parts; i++)
                        cut[i] = fy_get_f64(&x, (b * len + f * step) * parts + i) * (in[2].dtype ? fy_get_f64(&window, i / parts) : 1);
                    define(&re, &im, cut, parts, frame, parts, frame, k, false, false);
                    near(fy_get_f64(&y, ((b * frames + f) * bins + k) * 2), re, 1e-12, "real part of a frame", frame, k);
                    near(fy_get_f64(&y, ((b * frames + f) * bins + k) * 2 + 1), im, 1e-12, "imaginary part of a frame", frame, k);
                }
        fy_tensor_free(&x);
        fy_tensor_free(&window);
        fy_tensor_free(&y);
    }
    static const int64_t bad[] = {0, -1, INT64_MIN};
    int64_t one = 1, nine = 9, two = 2;
    fy_tensor x = rig_f32(RIG_DIMS(1, 4, 1), RIG_F(1, 2, 3, 4)), y, window = rig_f32(RIG_DIMS(3), RIG_F(1, 2, 3));
    for (int i = 0; i < 3; i++) {
        assert_fails(rig_op("STFT", 2, (fy_tensor[]){x, rig_i64(0, NULL, &bad[i])}, FY_NOATTR, 1, &y, &r.e), VALUE);
        assert_fails(rig_op("STFT", 4, (fy_tensor[]){x, rig_i64(0, NULL, &one), {0}, rig_i64(0, NULL, &bad[i])}, FY_NOATTR, 1, &y, &r.e), VALUE);
    }
    assert_fails(rig_op("STFT", 4, (fy_tensor[]){x, rig_i64(0, NULL, &one), {0}, rig_i64(0, NULL, &nine)}, FY_NOATTR, 1, &y, &r.e), SHAPE);
    assert_fails(rig_op("STFT", 4, (fy_tensor[]){x, rig_i64(0, NULL, &one), window, rig_i64(0, NULL, &two)}, FY_NOATTR, 1, &y, &r.e), SHAPE);
    rig_free(&r);
}

/* ---- windows, mel -------------------------------------------------------------------------------------------------- */

static void test_windows(void **state) {
    static const char *const name[] = {"HannWindow", "HammingWindow", "BlackmanWindow"};
    static const double want[3][4] = {{0, 0.5, 1, 0.5}, {0.08695652, 0.54347826, 1, 0.54347826}, {0, 0.34, 1, 0.34}};
    rig r;
    fy_tensor y;
    (void)state;
    rig_new(&r);
    for (int k = 0; k < 3; k++) {
        int64_t n = 4, five = 5, zero = 0, minus = -1;
        int32_t narrow = 4;
        double symmetric[5] = {want[k][0], want[k][1], 1, want[k][3], want[k][0]};
        assert_ok(rig_op(name[k], 1, (fy_tensor[]){rig_i64(0, NULL, &n)}, FY_NOATTR, 1, &y, &r.e), r.e);
        rig_expect(&y, RIG_DIMS(4), want[k]);
        fy_tensor_free(&y);
        assert_ok(rig_op(name[k], 1, (fy_tensor[]){rig_i64(0, NULL, &five)}, FY_A(fy_int("periodic", 0), fy_int("output_datatype", FERRY_DOUBLE)), 1, &y, &r.e), r.e);
        assert_int_equal(y.dtype, FERRY_DOUBLE);
        rig_expect(&y, RIG_DIMS(5), symmetric);
        fy_tensor_free(&y);
        assert_ok(rig_op(name[k], 1, (fy_tensor[]){fy_tensor_view(FERRY_INT32, 0, NULL, &narrow)}, FY_A(fy_int("output_datatype", FERRY_UINT8)), 1, &y, &r.e), r.e);
        assert_int_equal(y.dtype, FERRY_UINT8);
        rig_expect(&y, RIG_DIMS(4), RIG_D(0, 0, 1, 0));
        fy_tensor_free(&y);
        assert_ok(rig_op(name[k], 1, (fy_tensor[]){rig_i64(0, NULL, &zero)}, FY_NOATTR, 1, &y, &r.e), r.e);
        assert_int_equal(fy_count(&y), 0);
        fy_tensor_free(&y);
        assert_fails(rig_op(name[k], 1, (fy_tensor[]){rig_i64(0, NULL, &minus)}, FY_NOATTR, 1, &y, &r.e), VALUE);
        assert_fails(rig_op(name[k], 1, (fy_tensor[]){rig_i64(0, NULL, &n)}, FY_A(fy_int("output_datatype", FERRY_STRING)), 1, &y, &r.e), ATTR);
        assert_fails(rig_op(name[k], 1, (fy_tensor[]){rig_i64(0, NULL, &n)}, FY_A(fy_int("output_datatype", FERRY_INT4)), 1, &y, &r.e), ATTR);
        assert_fails(rig_op(name[k], 1, (fy_tensor[]){rig_i64(0, NULL, &n)}, FY_A(fy_int("output_datatype", INT64_MIN)), 1, &y, &r.e), ATTR);
    }
    rig_free(&r);
}

static fy_status mel(int64_t bands, int64_t length, int64_t rate, float low, float high, fy_tensor *y, ferry_error *e) {
    fy_tensor in[5] = {rig_i64(0, NULL, &bands), rig_i64(0, NULL, &length), rig_i64(0, NULL, &rate), rig_f32(0, NULL, &low), rig_f32(0, NULL, &high)};
    return rig_op("MelWeightMatrix", 5, in, FY_NOATTR, 1, y, e);
}

static void test_mel(void **state) {
    rig r;
    fy_tensor y;
    (void)state;
    rig_new(&r);
    /* edges at 0, 2, 4 and 9 of 17 bins: floor(33 * 700 * (10^(mel / 2595) - 1) / 8000) */
    assert_ok(mel(2, 32, 8000, 0, 4000, &y, &r.e), r.e);
    assert_true(y.rank == 2 && y.dim[0] == 17 && y.dim[1] == 2);
    for (int64_t band = 0; band < 2; band++) {
        double most = 0, low = 0;
        for (int64_t i = 0; i < 17; i++) {
            double v = fy_get_f64(&y, 2 * i + band);
            most = fmax(most, v);
            low = fmin(low, v);
        }
        assert_true(most == 1 && low == 0);
    }
    fy_tensor_free(&y);
    assert_ok(mel(0, 32, 8000, 0, 4000, &y, &r.e), r.e);
    assert_true(y.dim[1] == 0);
    fy_tensor_free(&y);
    assert_ok(mel(3, 0, 8000, 0, 1, &y, &r.e), r.e);         /* one bin takes everything */
    rig_expect(&y, RIG_DIMS(1, 3), RIG_D(1, 1, 1));
    fy_tensor_free(&y);
    assert_fails(mel(2, 32, 8000, 0, 80000, &y, &r.e), VALUE);
    assert_fails(mel(2, 32, 8000, -1, 4000, &y, &r.e), VALUE);
    assert_fails(mel(2, 32, 8000, -800, 4000, &y, &r.e), VALUE);
    assert_fails(mel(2, 32, 8000, NAN, 4000, &y, &r.e), VALUE);
    assert_fails(mel(2, 32, 0, 0, 4000, &y, &r.e), VALUE);
    assert_fails(mel(-2, 32, 8000, 0, 4000, &y, &r.e), VALUE);
    assert_fails(mel(2, -32, 8000, 0, 4000, &y, &r.e), VALUE);
    assert_fails(mel(INT64_MAX, INT64_MAX, 8000, 0, 4000, &y, &r.e), LIMIT);
    rig_free(&r);
}

/* ---- sizes --------------------------------------------------------------------------------------------------------- */

static void test_symbolic(void **state) {
    rig r;
    (void)state;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "batch n 1"), *z = rig_in(&r, FERRY_FLOAT, "batch n+1 2"), *axis = fy_k_i64(&r.b, 0);
    fy_value *half = fy_emit(&r.b, "DFT", FY_V(x), FY_A(fy_int("onesided", 1))), *back = fy_emit(&r.b, "DFT", FY_V(z), FY_A(fy_int("onesided", 1), fy_int("inverse", 1)));
    fy_value *first = fy_emit(&r.b, "DFT", FY_V(z, NULL, axis), FY_NOATTR), *size = fy_emit(&r.b, "Shape", FY_V(x), FY_NOATTR);
    fy_value *n = fy_emit(&r.b, "Gather", FY_V(size, fy_k_i64(&r.b, 1)), FY_NOATTR), *window = fy_emit(&r.b, "HannWindow", FY_V(n), FY_NOATTR);
    fy_value *frames = fy_emit(&r.b, "STFT", FY_V(rig_in(&r, FERRY_FLOAT, "batch 3*n+2 1"), fy_k_i64(&r.b, 2), window), FY_NOATTR);
    fy_value *padded = fy_emit(&r.b, "DFT", FY_V(x, fy_emit(&r.b, "Mul", FY_V(n, fy_k_i64(&r.b, 2)), FY_NOATTR)), FY_NOATTR);
    fy_value *edge[2] = {fy_k_scalar(&r.b, FERRY_FLOAT, 0), fy_k_scalar(&r.b, FERRY_FLOAT, 100)};
    fy_value *bands = fy_emit(&r.b, "MelWeightMatrix", FY_V(n, n, fy_k_i64(&r.b, 1000), edge[0], edge[1]), FY_A(fy_int("output_datatype", FERRY_FLOAT16)));
    rig_type_is(half, "f32[batch,floor(n/2) + 1,2]");
    rig_type_is(back, "f32[batch,2*n,1]");
    rig_type_is(first, "f32[batch,n + 1,2]");
    rig_type_is(window, "f32[n]");
    rig_type_is(padded, "f32[batch,2*n,2]");
    rig_type_is(bands, "f16[floor(n/2) + 1,n]");
    fy_value *all[] = {half, back, first, frames, padded, bands};
    for (int i = 0; i < FY_COUNT(all); i++) rig_out(&r, all[i]);
    rig_property(&r, 1, 9);
    rig_free(&r);
}

static void test_threads(void **state) {
    int64_t step = 3, n = 64, axis = 0;
    rig r;
    (void)state;
    rig_new(&r);
    fy_tensor x = random_f64(&r, RIG_DIMS(2, 4000, 1)), y = random_f64(&r, RIG_DIMS(37, 700, 2));
    rig_same_bits("STFT", 4, (fy_tensor[]){x, rig_i64(0, NULL, &step), {0}, rig_i64(0, NULL, &n)}, FY_NOATTR);
    rig_same_bits("DFT", 3, (fy_tensor[]){y, {0}, rig_i64(0, NULL, &axis)}, FY_NOATTR);
    fy_tensor_free(&x);
    fy_tensor_free(&y);
    rig_free(&r);
}

static void test_no_memory(void **state) {
    float zero = 0, high = 4000;
    int64_t n = 37, bands = 3, rate = 8000, step = 5;        /* 37: Bluestein */
    rig r;
    (void)state;
    rig_new(&r);
    fy_tensor x = random_f64(&r, RIG_DIMS(2, 40, 1)), narrow;
    assert_ok(fy_tensor_cast(&narrow, &x, FERRY_FLOAT16, &r.e), r.e);
    rig_no_memory("DFT", 2, (fy_tensor[]){narrow, rig_i64(0, NULL, &n)}, FY_A(fy_int("onesided", 1)));
    rig_no_memory("STFT", 4, (fy_tensor[]){x, rig_i64(0, NULL, &step), {0}, rig_i64(0, NULL, &n)}, FY_NOATTR);
    rig_no_memory("HannWindow", 1, (fy_tensor[]){rig_i64(0, NULL, &n)}, FY_NOATTR);
    rig_no_memory("MelWeightMatrix", 5, (fy_tensor[]){rig_i64(0, NULL, &bands), rig_i64(0, NULL, &n), rig_i64(0, NULL, &rate), rig_f32(0, NULL, &zero), rig_f32(0, NULL, &high)}, FY_NOATTR);
    fy_tensor_free(&x);
    fy_tensor_free(&narrow);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lengths), cmocka_unit_test(test_dft), cmocka_unit_test(test_back), cmocka_unit_test(test_dft_refused),
                                       cmocka_unit_test(test_stft), cmocka_unit_test(test_windows), cmocka_unit_test(test_mel), cmocka_unit_test(test_symbolic), cmocka_unit_test(test_threads), cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
