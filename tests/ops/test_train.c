/* SPDX-License-Identifier: Apache-2.0
 * test_train.c - losses, optimisers, recurrent and programmable attention, quantised products: values worked out by hand, laws (streaming
 * equals the whole, uniform scores average), inference against execution, hostile sizes and values. */
#include "infer_property.h"

#include <math.h>

static fy_tensor f64(int rank, const int64_t *dim, const double *v) { return fy_tensor_view(FERRY_DOUBLE, rank, dim, v); }
static fy_tensor u8(int rank, const int64_t *dim, const uint8_t *v) { return fy_tensor_view(FERRY_UINT8, rank, dim, v); }
static fy_tensor i8(int rank, const int64_t *dim, const int8_t *v) { return fy_tensor_view(FERRY_INT8, rank, dim, v); }
#define U8(...) (uint8_t[]){__VA_ARGS__}
#define I8(...) (int8_t[]){__VA_ARGS__}

static void free_all(int n, fy_tensor *t) { for (int i = 0; i < n; i++) fy_tensor_free(&t[i]); }

/* ---- losses -------------------------------------------------------------------------------------------------------- */

/* The examples of the specification, and what they leave out. */
static void test_losses(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y, both[2];
    fy_tensor in[3] = {rig_f32(RIG_DIMS(2, 3, 2), RIG_F(1, 2, 2, 2, 3, 2, 0, 1, 2, 2, 1, 2)), rig_i64(RIG_DIMS(2, 2), RIG_I(2, 1, 0, 2)),
                       rig_f32(RIG_DIMS(3), RIG_F(0.2F, 0.3F, 0.1F))};
    static const char *const nll = "NegativeLogLikelihoodLoss", *const sce = "SoftmaxCrossEntropyLoss";
    assert_ok(rig_op(nll, 2, in, FY_A(fy_text("reduction", "none")), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 2), RIG_D(-3, -2, 0, -2));
    fy_tensor_free(&y);
    assert_ok(rig_op(nll, 3, in, FY_A(fy_text("reduction", "sum")), 1, &y, &e), e);
    rig_expect(&y, 0, NULL, RIG_D(-1.1));
    fy_tensor_free(&y);
    assert_ok(rig_op(nll, 3, in, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, 0, NULL, RIG_D(-1.1 / 0.7));
    fy_tensor_free(&y);
    assert_ok(rig_op(nll, 2, in, FY_A(fy_int("ignore_index", 2)), 1, &y, &e), e);
    rig_expect(&y, 0, NULL, RIG_D(-1));                                                     /* (-2 + 0) / 2 */
    fy_tensor_free(&y);
    in[1] = rig_i64(RIG_DIMS(2, 2), RIG_I(-7, -7, -7, -7));
    assert_ok(rig_op(sce, 3, in, FY_A(fy_int("ignore_index", -7)), 1, &y, &e), e);
    assert_true(y.rank == 0 && isnan(fy_get_f64(&y, 0)));                                   /* nothing is left: 0 / 0 */
    fy_tensor_free(&y);
    assert_fails(rig_op(nll, 2, in, FY_NOATTR, 1, &y, &e), INDEX);
    in[1] = rig_i64(RIG_DIMS(2, 2), RIG_I(0, 0, 3, 0));
    assert_fails(rig_op(nll, 2, in, FY_A(fy_int("ignore_index", -7)), 1, &y, &e), INDEX);
    in[1] = rig_i64(RIG_DIMS(2, 2), RIG_I(0, INT64_MAX, INT64_MIN, 0));
    assert_fails(rig_op(sce, 2, in, FY_A(fy_int("ignore_index", INT64_MIN)), 1, &y, &e), INDEX);
    in[1] = rig_i64(RIG_DIMS(2, 2), RIG_I(0, 1, 2, 0));
    assert_fails(rig_op(sce, 2, in, FY_A(fy_text("reduction", "most")), 1, &y, &e), ATTR);
    in[2] = rig_f32(RIG_DIMS(2), RIG_F(1, 1));
    assert_fails(rig_op(sce, 3, in, FY_NOATTR, 1, &y, &e), SHAPE);
    in[1] = rig_i64(RIG_DIMS(2), RIG_I(0, 1));
    assert_fails(rig_op(sce, 2, in, FY_NOATTR, 1, &y, &e), SHAPE);
    in[0] = rig_f32(RIG_DIMS(2, 2), RIG_F(1000, 1000, 0, -INFINITY));                       /* e^1000 is beyond double */
    assert_ok(rig_op(sce, 2, in, FY_A(fy_text("reduction", "none")), 2, both, &e), e);
    assert_true(fabs(fy_get_f64(&both[0], 0) - log(2)) < 1e-6 && fy_get_f64(&both[0], 1) == HUGE_VAL);
    assert_true(fabs(fy_get_f64(&both[1], 1) + log(2)) < 1e-6 && fy_get_f64(&both[1], 2) == 0 && fy_get_f64(&both[1], 3) == -HUGE_VAL);
    free_all(2, both);
}

/* ---- optimisers ---------------------------------------------------------------------------------------------------- */

static fy_status step(const char *op, double rate, int64_t count, int n, const double *v, int nattr, const fy_attr *attr, int nout, fy_tensor *out, ferry_error *e) {
    fy_tensor in[16] = {f64(0, NULL, &rate), rig_i64(0, NULL, &count)};
    for (int i = 0; i < n; i++) in[2 + i] = f64(RIG_DIMS(1), v + i);
    return rig_op(op, 2 + n, in, nattr, attr, nout, out, e);
}

static void test_optimisers(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor y[6];
#define IS(i, want) assert_true(fabs(fy_get_f64(&y[i], 0) - (want)) < 1e-12)
    assert_ok(step("ai.onnx.preview.training::Adagrad", 0.5, 3, 3, RIG_D(1, 2, 5), FY_A(fy_float("decay_factor", 0.5), fy_float("epsilon", 0),
            fy_float("norm_coefficient", 1)),
            2, y, &e), e);
    IS(1, 14);                                                                              /* 5 + 3^2 */
    IS(0, 1 - 0.2 * 3 / sqrt(14));
    free_all(2, y);
    for (int64_t t = 0; t < 2; t++)
        for (int k = 0; k < 2; k++) {
            fy_attr a[] = {fy_float("alpha", 0.5), fy_float("beta", 0.25), fy_float("norm_coefficient", 0), fy_text("mode", k ? "nesterov" : "standard")};
            assert_ok(step("ai.onnx.preview.training::Momentum", 0.5, t, 6, RIG_D(1, 10, 4, 40, 2, 20), 4, a, 4, y, &e), e);     /* two tensors */
            double v = 1 + (t ? 0.25 : 1) * 4;
            IS(2, v);
            IS(3, 10 * v);
            IS(0, 1 - 0.5 * (k ? 4 + 0.5 * v : v));
            IS(1, 10 - 5 * (k ? 4 + 0.5 * v : v));
            free_all(4, y);
        }
    fy_attr a[] = {fy_float("alpha", 0.5), fy_float("beta", 0.75), fy_float("epsilon", 0), fy_float("norm_coefficient_post", 0.5)};
    assert_ok(step("ai.onnx.preview.training::Adam", 0.5, 1, 4, RIG_D(1, 2, 0, 0), 4, a, 3, y, &e), e);
    IS(1, 1);
    IS(2, 1);
    IS(0, 0.5 * (1 - 0.5 * sqrt(0.25) / 0.5));
    free_all(3, y);
    assert_ok(step("ai.onnx.preview.training::Adam", 0.5, INT64_MIN, 4, RIG_D(1, 2, 0, 0), 4, a, 3, y, &e), e);
    IS(0, 0.5 * (1 - 0.5));
    free_all(3, y);
    assert_fails(step("ai.onnx.preview.training::Adam", 0.5, 1, 3, RIG_D(1, 2, 0), 4, a, 3, y, &e), GRAPH);
    assert_fails(step("ai.onnx.preview.training::Adagrad", 0.5, 1, 4, RIG_D(1, 2, 0, 3), FY_NOATTR, 1, y, &e), GRAPH);
    assert_fails(step("ai.onnx.preview.training::Adagrad", 0.5, 1, 3, RIG_D(1, 2, 0), FY_NOATTR, 3, y, &e), GRAPH);
    a[2] = fy_float("norm_coefficient", 0);
    a[3] = fy_text("mode", "fast");
    assert_fails(step("ai.onnx.preview.training::Momentum", 0.5, 1, 3, RIG_D(1, 2, 0), 4, a, 1, y, &e), ATTR);
    int64_t t = 1;
    double rate = 1;
    fy_tensor in[5] = {f64(0, NULL, &rate), rig_i64(0, NULL, &t), f64(RIG_DIMS(2), RIG_D(1, 2)), f64(RIG_DIMS(2), RIG_D(1, 2)), f64(RIG_DIMS(1), RIG_D(1))};
    assert_fails(rig_op("ai.onnx.preview.training::Adagrad", 5, in, FY_NOATTR, 2, y, &e), SHAPE);
    in[0] = f64(RIG_DIMS(2), RIG_D(1, 2));
    assert_fails(rig_op("ai.onnx.preview.training::Adagrad", 5, in, FY_NOATTR, 2, y, &e), SHAPE);
}

/* ---- streaming ----------------------------------------------------------------------------------------------------- */

static fy_tensor random_f32(rig *r, int rank, const int64_t *dim) {
    fy_tensor x;
    assert_ok(fy_tensor_new(&x, FERRY_FLOAT, rank, dim, &r->e), r->e);
    for (int64_t i = 0; i < fy_count(&x); i++) fy_put_f64(&x, i, (double)rig_range(r, -16, 16) / 16);
    return x;
}

/* Tokens [first, first + n) along an axis. */
static fy_tensor part(const fy_tensor *t, int axis, int64_t first, int64_t n) {
    fy_tensor v = *t;
    v.own = NULL;
    v.dim[axis] = n;
    v.data = (float *)t->data + first * t->stride[axis];
    return v;
}

static void same_part(const fy_tensor *whole, const fy_tensor *got, int axis, int64_t first) {
    fy_tensor want = part(whole, axis, first, got->dim[axis]);
    assert_true(fy_same_dims(&want, got));
    for (int64_t i = 0; i < fy_count(got); i++) assert_true(fabs(fy_get_f64(&want, i) - fy_get_f64(got, i)) < 1e-5);
}

/* A sequence in two pieces, the state handed on, is the sequence at once. */
static void test_streams(void **state) {
    (void)state;
    static const char *const rules[] = {"linear", "gated", "delta", "gated_delta"};
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 40; trial++) {
        int rule = trial % 4;
        bool gated = rule & 1, delta = rule & 2;
        int64_t b = rig_range(&r, 1, 3), hk = rig_range(&r, 1, 3), group = rig_range(&r, 1, 2), dk = rig_range(&r, 1, 4), dv = rig_range(&r, 1, 4),
                n = rig_range(&r, 2, 6), cut = rig_range(&r, 1, n - 1);
        fy_tensor in[6] = {random_f32(&r, RIG_DIMS(b, n, hk * group * dk)), random_f32(&r, RIG_DIMS(b, n, hk * dk)),
                           random_f32(&r, RIG_DIMS(b, n, hk * dv)), {0}, {0}, {0}};
        if (gated) in[4] = random_f32(&r, RIG_DIMS(b, n, trial % 8 < 4 ? hk : hk * dk));
        if (delta) in[5] = random_f32(&r, RIG_DIMS(b, n, trial % 8 < 4 ? hk : 1));
        fy_attr a[] = {fy_int("q_num_heads", hk * group), fy_int("kv_num_heads", hk), fy_text("update_rule", rules[rule])};
        fy_tensor whole[2], one[2], two[2], piece[6];
        assert_ok(rig_op("LinearAttention", 6, in, 3, a, 2, whole, &r.e), r.e);
        for (int k = 0; k < 2; k++) {
            for (int i = 0; i < 6; i++) piece[i] = in[i].dtype ? part(&in[i], 1, k ? cut : 0, k ? n - cut : cut) : (fy_tensor){0};
            if (k) piece[3] = one[1];
            assert_ok(rig_op("LinearAttention", 6, piece, 3, a, 2, k ? two : one, &r.e), r.e);
        }
        same_part(&whole[0], &one[0], 1, 0);
        same_part(&whole[0], &two[0], 1, cut);
        same_part(&whole[1], &two[1], 1, 0);
        free_all(6, in);
        free_all(2, whole);
        free_all(2, one);
        free_all(2, two);
    }
    for (int trial = 0; trial < 40; trial++) {
        int64_t b = rig_range(&r, 1, 2), c = rig_range(&r, 1, 3), n = rig_range(&r, 2, 6), k = rig_range(&r, 1, 5), cut = rig_range(&r, 1, n - 1);
        fy_tensor in[4] = {random_f32(&r, RIG_DIMS(b, c, n)), random_f32(&r, RIG_DIMS(c, 1, k)), random_f32(&r, RIG_DIMS(c)), {0}}, whole[2], one[2],
                two[2], piece[4];
        fy_attr a[] = {fy_text("activation", trial % 2 ? "silu" : "none")};
        assert_ok(rig_op("CausalConvWithState", 3, in, 1, a, 2, whole, &r.e), r.e);
        memcpy(piece, in, sizeof in);
        piece[0] = part(&in[0], 2, 0, cut);
        assert_ok(rig_op("CausalConvWithState", 3, piece, 1, a, 2, one, &r.e), r.e);
        piece[0] = part(&in[0], 2, cut, n - cut);
        piece[3] = one[1];
        assert_ok(rig_op("CausalConvWithState", 4, piece, 1, a, 2, two, &r.e), r.e);
        same_part(&whole[0], &one[0], 2, 0);
        same_part(&whole[0], &two[0], 2, cut);
        same_part(&whole[1], &two[1], 2, 0);
        free_all(3, in);
        free_all(2, whole);
        free_all(2, one);
        free_all(2, two);
    }
    rig_free(&r);
}

static void test_stream_values(void **state) {
    (void)state;
    ferry_error e;
    fy_tensor out[2], in[6] = {rig_f32(RIG_DIMS(1, 2, 1), RIG_F(1, 2)), rig_f32(RIG_DIMS(1, 2, 1), RIG_F(1, 3)), rig_f32(RIG_DIMS(1, 2, 1), RIG_F(4, 5)), {0},
                               rig_f32(RIG_DIMS(1, 2, 1), RIG_F(-1, -0.6931472F)), rig_f32(RIG_DIMS(1, 2, 1), RIG_F(1, 0.5F))};
    fy_attr a[] = {fy_int("q_num_heads", 1), fy_int("kv_num_heads", 1), fy_float("scale", 10)};
    assert_ok(rig_op("LinearAttention", 6, in, 3, a, 2, out, &e), e);
    rig_expect(&out[0], RIG_DIMS(1, 2, 1), RIG_D(40, 10 * 2 * 0.5));                          /* S = 4; then 2, and 2 + 3 (5 - 6) / 2 = 0.5 */
    rig_expect(&out[1], RIG_DIMS(1, 1, 1, 1), RIG_D(0.5));
    free_all(2, out);
    a[2] = fy_text("update_rule", "gated");
    assert_fails(rig_op("LinearAttention", 6, in, 3, a, 2, out, &e), GRAPH);
    a[2] = fy_text("update_rule", "linear");
    assert_ok(rig_op("LinearAttention", 3, in, 3, a, 2, out, &e), e);
    rig_expect(&out[0], RIG_DIMS(1, 2, 1), RIG_D(4, 38));
    free_all(2, out);
    a[2] = fy_text("update_rule", "none");
    assert_fails(rig_op("LinearAttention", 3, in, 3, a, 2, out, &e), ATTR);
    a[2] = fy_text("update_rule", "linear");
    static const int64_t bad[][2] = {{0, 1}, {1, 0}, {-2, -1}, {INT64_MIN, -1}, {1, 2}, {INT64_MAX, 1}, {3, 2}};
    for (int i = 0; i < FY_COUNT(bad); i++) {
        a[0].i = bad[i][0];
        a[1].i = bad[i][1];
        assert_int_not_equal(rig_op("LinearAttention", 3, in, 3, a, 2, out, &e), FY_OK);
    }
    fy_tensor conv[4] = {rig_f32(RIG_DIMS(1, 1, 2), RIG_F(1, 2)), rig_f32(RIG_DIMS(1, 1, 3), RIG_F(100, 10, 1)), rig_f32(RIG_DIMS(1), RIG_F(0.5F)),
            rig_f32(RIG_DIMS(1, 1, 2), RIG_F(8, 9))};
    assert_ok(rig_op("CausalConvWithState", 4, conv, FY_NOATTR, 2, out, &e), e);
    rig_expect(&out[0], RIG_DIMS(1, 1, 2), RIG_D(891.5, 912.5));
    rig_expect(&out[1], RIG_DIMS(1, 1, 2), RIG_D(1, 2));
    free_all(2, out);
    assert_fails(rig_op("CausalConvWithState", 4, conv, FY_A(fy_text("activation", "relu")), 2, out, &e), ATTR);
    conv[3] = rig_f32(RIG_DIMS(1, 1, 3), RIG_F(8, 9, 7));
    assert_fails(rig_op("CausalConvWithState", 4, conv, FY_NOATTR, 2, out, &e), SHAPE);
    conv[1] = rig_f32(RIG_DIMS(1, 1, 0), NULL);
    assert_fails(rig_op("CausalConvWithState", 2, conv, FY_NOATTR, 2, out, &e), SHAPE);
    fy_tensor glu[2] = {rig_f32(RIG_DIMS(3), RIG_F(0, 1, -100)), rig_f32(RIG_DIMS(3), RIG_F(5, 2, 3))};
    assert_ok(rig_op("SwiGLU", 2, glu, FY_NOATTR, 1, out, &e), e);
    rig_expect(out, RIG_DIMS(3), RIG_D(0, 2 / (1 + exp(-1)), 0));
    fy_tensor_free(out);
    glu[1] = rig_f32(RIG_DIMS(1), RIG_F(5));
    assert_fails(rig_op("SwiGLU", 2, glu, FY_NOATTR, 1, out, &e), SHAPE);
}

/* ---- FlexAttention ------------------------------------------------------------------------------------------------- */

/* y = attention of fixed inputs with a mod whose body is op(x), or op(x, q) with q captured. */
static fy_status flex(rig *r, const char *mod, const char *op, fy_tensor *y) {
    rig_new(r);
    r->ints = 3;
    fy_value *q = rig_in(r, FERRY_FLOAT, "1 2 1 2"), *key = rig_in(r, FERRY_FLOAT, "1 1 2 2"), *v = rig_in(r, FERRY_FLOAT, "1 1 2 2");
    fy_build b = {.g = fy_graph_new(r->m, r->m->graph), .e = &r->e};
    fy_value *x = fy_graph_add_input(b.g, "x", &(fy_type){.rank = -1});
    fy_attr a = {.name = mod, .kind = FY_ATTR_GRAPH, .n = 1, .graph = b.g};
    if (op) {
        fy_type any = fy_tensor_type_i64(r->m, FERRY_FLOAT, 4, RIG_I(1, 2, 1, 2));
        x->type = any;
        fy_value *z = !strcmp(op, "Flatten") || !strcmp(op, "Tanh") || !strcmp(op, "Shape") ? fy_emit(&b, op, FY_V(x), FY_NOATTR)
                : fy_emit(&b, op, FY_V(x, q), FY_NOATTR);
        assert_non_null(z);
        assert_true(fy_graph_add_output(b.g, z));
    }
    fy_value *out = fy_emit(&r->b, "ai.onnx.preview::FlexAttention", FY_V(q, key, v), op ? 1 : 0, &a);
    if (!out) return r->b.status;
    assert_true(fy_graph_add_output(r->m->graph, out));
    fy_rval in[3] = {{.kind = FY_TENSOR, .t = rig_f32(RIG_DIMS(1, 2, 1, 2), RIG_F(0, 0, 1, 0))},
            {.kind = FY_TENSOR, .t = rig_f32(RIG_DIMS(1, 1, 2, 2), RIG_F(3, 0, 0, 3))},
                     {.kind = FY_TENSOR, .t = rig_f32(RIG_DIMS(1, 1, 2, 2), RIG_F(1, 2, 3, 6))}}, *inp[] = {&in[0], &in[1], &in[2]}, res = {0};
    fy_interp it = {0};
    FY_TRY(fy_interp_run(&it, r->m->graph, inp, &res, &r->e));
    *y = res.t;
    return FY_OK;
}

static void test_flex(void **state) {
    (void)state;
    rig r;
    fy_tensor y;
    double p = 1 / (1 + exp(-3 / sqrt(2)));                                                  /* of the first key, for the second head */
    assert_ok(flex(&r, "score_mod", NULL, &y), r.e);
    rig_expect(&y, RIG_DIMS(1, 2, 1, 2), RIG_D(2, 4, 3 - 2 * p, 6 - 4 * p));
    fy_tensor_free(&y);
    rig_free(&r);
    assert_ok(flex(&r, "score_mod", "Add", &y), r.e);                                  /* captures q: head 2 gets (1, 0) */
    p = 1 / (1 + exp(-3 / sqrt(2) - 1));
    rig_expect(&y, RIG_DIMS(1, 2, 1, 2), RIG_D(2, 4, 3 - 2 * p, 6 - 4 * p));
    fy_tensor_free(&y);
    rig_free(&r);
    assert_ok(flex(&r, "prob_mod", "Mul", &y), r.e);
    p = 1 / (1 + exp(-3 / sqrt(2)));
    rig_expect(&y, RIG_DIMS(1, 2, 1, 2), RIG_D(0, 0, p, 2 * p));
    fy_tensor_free(&y);
    rig_free(&r);
    assert_fails(flex(&r, "score_mod", "Flatten", &y), SHAPE);
    rig_free(&r);
    assert_fails(flex(&r, "prob_mod", "Shape", &y), TYPE);
    rig_free(&r);
    ferry_error e;
    fy_tensor in[3] = {rig_f32(RIG_DIMS(1, 3, 1, 2), RIG_F(0, 0, 0, 0, 0, 0)), rig_f32(RIG_DIMS(1, 2, 1, 2), RIG_F(0, 0, 0, 0)),
            rig_f32(RIG_DIMS(1, 2, 1, 2), RIG_F(0, 0, 0, 0))};
    assert_fails(rig_op("ai.onnx.preview::FlexAttention", 3, in, FY_NOATTR, 1, &y, &e), SHAPE);
    in[0] = rig_f32(RIG_DIMS(1, 2, 1, 2), RIG_F(0, 0, 0, 0));
    assert_fails(rig_op("ai.onnx.preview::FlexAttention", 3, in, FY_A(fy_int("softmax_precision", FERRY_INT32)), 1, &y, &e), ATTR);
    in[2] = rig_f32(RIG_DIMS(1, 2, 2), RIG_F(0, 0, 0, 0));
    assert_fails(rig_op("ai.onnx.preview::FlexAttention", 3, in, FY_NOATTR, 1, &y, &e), SHAPE);
}

/* ---- quantised ----------------------------------------------------------------------------------------------------- */

static void test_quantised(void **state) {
    (void)state;
    ferry_error e;
    float one = 1, half = 0.5F, two = 2;
    fy_tensor y, s1 = rig_f32(0, NULL, &one), s05 = rig_f32(0, NULL, &half), z0 = u8(0, NULL, U8(0)), z10 = u8(0, NULL, U8(10)), zi = i8(0, NULL, I8(0));
    /* ties to even before the zero point, saturation at both ends */
    fy_tensor in[9] = {u8(RIG_DIMS(5, 1), U8(1, 3, 5, 255, 0)), s05, z0, i8(RIG_DIMS(1, 2), I8(1, -7)), s1, zi, s1, z10};
    assert_ok(rig_op("QLinearMatMul", 8, in, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(5, 2), RIG_D(10, 6, 12, 0, 12, 0, 138, 0, 10, 10));
    fy_tensor_free(&y);
    /* rows and columns, with scales and zero points of their own */
    fy_tensor rows[8] = {u8(RIG_DIMS(2, 2), U8(1, 2, 3, 4)), rig_f32(RIG_DIMS(2), RIG_F(1, 2)), u8(RIG_DIMS(2), U8(0, 1)),
            i8(RIG_DIMS(2, 2), I8(1, 2, 3, 4)), rig_f32(RIG_DIMS(2), RIG_F(1, 3)),
                         i8(RIG_DIMS(2), I8(0, 1)), s1, z0};
    assert_ok(rig_op("QLinearMatMul", 8, rows, FY_NOATTR, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 2), RIG_D(7, 21, 22, 66));                                    /* [1 2; 2 3] [1 1; 3 3], rows x (1 2), columns x (1 3) */
    fy_tensor_free(&y);
    rows[1] = rig_f32(RIG_DIMS(3), RIG_F(1, 2, 3));
    assert_fails(rig_op("QLinearMatMul", 8, rows, FY_NOATTR, 1, &y, &e), SHAPE);
    rows[1] = rig_f32(RIG_DIMS(1, 1, 2, 1), RIG_F(1, 2));
    assert_fails(rig_op("QLinearMatMul", 8, rows, FY_NOATTR, 1, &y, &e), SHAPE);
    /* a sum beyond 32 bits is exact */
    enum { K = 40000 };
    static uint8_t big[K];
    memset(big, 255, sizeof big);
    float down = 1 / 32768.0F;
    fy_tensor long_[8] = {u8(RIG_DIMS(K), big), s1, z0, u8(RIG_DIMS(K), big), rig_f32(0, NULL, &down), z0, rig_f32(0, NULL, RIG_F(400)), z0};
    assert_ok(rig_op("QLinearMatMul", 8, long_, FY_NOATTR, 1, &y, &e), e);
    assert_true(y.rank == 0 && fy_get_i64(&y, 0) == (int64_t)rint(255.0 * 255 * K / 32768 / 400));
    fy_tensor_free(&y);
    /* NaN and infinite scales saturate and do not trap */
    in[1] = rig_f32(0, NULL, RIG_F(NAN));
    assert_ok(rig_op("QLinearMatMul", 8, in, FY_NOATTR, 1, &y, &e), e);
    assert_true(fy_get_i64(&y, 0) == 0);
    fy_tensor_free(&y);
    in[1] = s1;
    in[6] = rig_f32(0, NULL, RIG_F(0));
    assert_ok(rig_op("QLinearMatMul", 8, in, FY_NOATTR, 1, &y, &e), e);
    assert_true(fy_get_i64(&y, 0) == 255 && fy_get_i64(&y, 1) == 0);
    fy_tensor_free(&y);
    /* padding is the zero point; one scale for each channel; the bias is in the scale of the sums */
    int32_t bias[2] = {4, -2};
    fy_tensor conv[9] = {u8(RIG_DIMS(1, 1, 3), U8(11, 12, 13)), s1, z10, i8(RIG_DIMS(2, 1, 2), I8(1, 1, 2, -2)), rig_f32(RIG_DIMS(2), RIG_F(1, 0.5F)),
            i8(RIG_DIMS(2), I8(0, 0)), rig_f32(0, NULL, &two),
                         z10, fy_tensor_view(FERRY_INT32, RIG_DIMS(2), bias)};
    assert_ok(rig_op("QLinearConv", 9, conv, FY_A(fy_ints("pads", 2, RIG_I(1, 0))), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1, 2, 3), RIG_D(12, 14, 14, 9, 9, 9));                           /* (1 3 5) + 4, halves to even; (-2 -2 -2) - 2, quarters */
    fy_tensor_free(&y);
    conv[4] = rig_f32(RIG_DIMS(3), RIG_F(1, 1, 1));
    assert_fails(rig_op("QLinearConv", 9, conv, FY_NOATTR, 1, &y, &e), SHAPE);
    conv[4] = s1;
    conv[1] = rig_f32(RIG_DIMS(2), RIG_F(1, 1));
    assert_fails(rig_op("QLinearConv", 9, conv, FY_NOATTR, 1, &y, &e), SHAPE);
}

/* ---- inference ----------------------------------------------------------------------------------------------------- */

static void test_inference(void **state) {
    (void)state;
    rig r;
    for (int k = 0; k < 2; k++) {
        rig_new(&r);
        fy_value *x = rig_in(&r, FERRY_FLOAT, "n 3 s 2"), *t = rig_in(&r, FERRY_INT64, "n s 2");
        fy_node *n = fy_emit_n(&r.b, "SoftmaxCrossEntropyLoss", 2, FY_V(x, t), FY_A(fy_text("reduction", k ? "mean" : "none")));
        rig_out(&r, n->out[0]);
        rig_out(&r, n->out[1]);
        rig_type_is(n->out[0], k ? "f32[]" : "f32[n,s,2]");
        rig_type_is(n->out[1], "f32[n,3,s,2]");
        rig_property(&r, 1, 4);
        rig_free(&r);
    }
    rig_new(&r);
    fy_value *q = rig_in(&r, FERRY_FLOAT, "b t 4*d"), *k = rig_in(&r, FERRY_FLOAT, "b t 2*d"), *v = rig_in(&r, FERRY_FLOAT, "b t 2*e"),
             *g = rig_in(&r, FERRY_FLOAT, "b t 2"),
             *beta = rig_in(&r, FERRY_FLOAT, "b t 1");
    fy_node *n = fy_emit_n(&r.b, "LinearAttention", 2, FY_V(q, k, v, NULL, g, beta), FY_A(fy_int("q_num_heads", 4), fy_int("kv_num_heads", 2)));
    rig_out(&r, n->out[0]);
    rig_out(&r, n->out[1]);
    rig_type_is(n->out[0], "f32[b,t,4*e]");
    rig_type_is(n->out[1], "f32[b,2,d,e]");
    rig_property(&r, 1, 4);
    rig_free(&r);
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b c s"), *w = rig_in(&r, FERRY_FLOAT, "c 1 k");
    n = fy_emit_n(&r.b, "CausalConvWithState", 2, FY_V(x, w), FY_NOATTR);
    rig_out(&r, n->out[0]);
    rig_out(&r, n->out[1]);
    rig_type_is(n->out[0], "f32[b,c,s]");
    rig_type_is(n->out[1], "f32[b,c,k - 1]");
    rig_property(&r, 1, 4);
    rig_free(&r);
    rig_new(&r);
    q = rig_in(&r, FERRY_FLOAT, "b 4 s e");
    k = rig_in(&r, FERRY_FLOAT, "b 2 t e");
    v = rig_in(&r, FERRY_FLOAT, "b 2 t 5");
    rig_out(&r, fy_emit(&r.b, "ai.onnx.preview::FlexAttention", FY_V(q, k, v), FY_NOATTR));
    rig_type_is(r.m->graph->out.at[0], "f32[b,4,s,5]");
    rig_property(&r, 1, 4);
    rig_free(&r);
    rig_new(&r);
    fy_value *a = rig_in(&r, FERRY_UINT8, "b m k"), *c = rig_in(&r, FERRY_INT8, "k n"), *s = rig_in(&r, FERRY_FLOAT, ""),
             *rows = rig_in(&r, FERRY_FLOAT, "b m 1"), *za = rig_in(&r, FERRY_UINT8, "b m 1"),
             *zb = rig_in(&r, FERRY_INT8, "1");
    rig_out(&r, fy_emit(&r.b, "QLinearMatMul", FY_V(a, rows, za, c, s, zb, s, zb), FY_NOATTR));
    rig_type_is(r.m->graph->out.at[0], "i8[b,m,n]");
    rig_property(&r, 1, 4);
    rig_free(&r);
    rig_new(&r);
    x = rig_in(&r, FERRY_UINT8, "b 2 s");
    w = rig_in(&r, FERRY_INT8, "m 2 3");
    s = rig_in(&r, FERRY_FLOAT, "");
    za = rig_in(&r, FERRY_UINT8, "");
    zb = rig_in(&r, FERRY_INT8, "m");
    rows = rig_in(&r, FERRY_FLOAT, "m");
    rig_out(&r, fy_emit(&r.b, "QLinearConv", FY_V(x, s, za, w, rows, zb, s, za), FY_A(fy_ints("pads", 2, RIG_I(1, 1)))));
    rig_type_is(r.m->graph->out.at[0], "u8[b,m,s]");
    rig_property(&r, 1, 4);
    rig_free(&r);
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

/* One model of all of them; each allocation of a run fails in turn: NOMEM, and nothing leaks. */
static void test_memory(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "2 4 3"), *t = rig_in(&r, FERRY_INT64, "2 3"), *u = rig_in(&r, FERRY_UINT8, "2 4 3"),
             *v = rig_in(&r, FERRY_UINT8, "3 4"), *q = rig_in(&r, FERRY_FLOAT16, "1 2 3 4");
    fy_value *rate = fy_k_scalar(&r.b, FERRY_FLOAT, 0.5), *s = fy_k_scalar(&r.b, FERRY_FLOAT, 0.25), *z = fy_k_scalar_i(&r.b, FERRY_UINT8, 1);
    fy_value *w = fy_emit(&r.b, "RandomNormal", 0, NULL, FY_A(fy_ints("shape", 3, RIG_I(4, 1, 2)))), *y[12];
    fy_build b = {.g = fy_graph_new(r.m, r.m->graph), .e = &r.e};
    fy_type any = {.rank = -1};
    fy_value *score = fy_graph_add_input(b.g, "score", &any);
    score->type = fy_tensor_type_i64(r.m, FERRY_FLOAT, 4, RIG_I(1, 2, 3, 3));
    assert_true(fy_graph_add_output(b.g, fy_emit(&b, "Tanh", FY_V(score), FY_NOATTR)));
    fy_attr mod = {.name = "score_mod", .kind = FY_ATTR_GRAPH, .n = 1, .graph = b.g};
    y[0] = fy_emit(&r.b, "SoftmaxCrossEntropyLoss", FY_V(x, t), FY_NOATTR);
    y[1] = fy_emit_n(&r.b, "LinearAttention", 2, FY_V(x, x, x), FY_A(fy_int("q_num_heads", 3), fy_int("kv_num_heads", 3), fy_text("update_rule", "linear")))->out[0];
    y[2] = fy_emit_n(&r.b, "CausalConvWithState", 2, FY_V(x, w), FY_NOATTR)->out[1];
    y[3] = fy_emit(&r.b, "SwiGLU", FY_V(x, x), FY_NOATTR);
    y[4] = fy_emit(&r.b, "QLinearMatMul", FY_V(u, s, z, v, s, z, s, z), FY_NOATTR);
    y[5] = fy_emit(&r.b, "QLinearConv", FY_V(u, s, z, fy_b_unsqueeze(&r.b, v, 2), s, z, s, z), FY_NOATTR);
    y[6] = fy_emit(&r.b, "ai.onnx.preview::FlexAttention", FY_V(q, q, q), 1, &mod);
    y[7] = fy_emit_n(&r.b, "ai.onnx.preview.training::Adam", 3, FY_V(rate, fy_k_i64(&r.b, 1), x, x, x, x), FY_NOATTR)->out[2];
    y[8] = fy_emit(&r.b, "Multinomial", FY_V(fy_emit(&r.b, "Flatten", FY_V(x), FY_NOATTR)), FY_A(fy_int("sample_size", 3)));
    y[9] = fy_emit(&r.b, "Dropout", FY_V(x, s, fy_k_scalar_i(&r.b, FERRY_BOOL, 1)), FY_NOATTR);
    for (int i = 0; i < 10; i++) rig_out(&r, y[i]);
    fy_rval in[5] = {{0}}, *inp[5], out[10];
    for (int i = 0; i < 5; i++) {
        const fy_type *type = &r.m->graph->in.at[i]->type;
        int64_t dim[4] = {0};
        for (int a = 0; a < type->rank; a++) assert_true(fy_dim_known(type->dim[a], &dim[a]));
        in[i].kind = FY_TENSOR;
        assert_ok(fy_tensor_new(&in[i].t, type->dtype, type->rank, dim, &r.e), r.e);
        for (int64_t k = 0; k < fy_count(&in[i].t); k++) fy_put_i64(&in[i].t, k, k % 4);
        inp[i] = &in[i];
    }
    fy_interp it = {0};
    size_t bytes = fy_os_bytes();
    fy_status st = FY_E_NOMEM;
    for (int64_t k = 0; k < 5000 && st != FY_OK; k++) {
        fy_os_fail_at(k, false);
        st = fy_interp_run(&it, r.m->graph, inp, out, &r.e);
        bool reached = fy_os_calls() > k;
        fy_os_fail_at(-1, false);
        assert_true(st == FY_OK ? !reached : st == FY_E_NOMEM);
        if (st != FY_OK && fy_os_bytes() != bytes) print_error("%lld bytes leak after failure %lld\n", (long long)(fy_os_bytes() - bytes), (long long)k);
        assert_true(st == FY_OK || fy_os_bytes() == bytes);
    }
    assert_ok(st, r.e);
    for (int i = 0; i < 10; i++) fy_rval_free(&out[i]);
    for (int i = 0; i < 5; i++) fy_rval_free(&in[i]);
    rig_free(&r);
}

/* ---- hostile ------------------------------------------------------------------------------------------------------- */

static const char *const ops[] = {
    "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", "LinearAttention", "CausalConvWithState", "SwiGLU", "QLinearConv", "QLinearMatMul",
    "ai.onnx.preview::FlexAttention", "ai.onnx.preview.training::Adagrad", "ai.onnx.preview.training::Adam", "ai.onnx.preview.training::Momentum",
    "Dropout", "Bernoulli", "Multinomial"};
/* Dtypes of the inputs: f float, t i64, u u8, b bool; the last one repeats. Ranks that are mostly right. */
static const struct { const char *types, *ranks; } plan[] = {
    {"ftf", "325"}, {"ftf", "214"}, {"ffffff", "333433"}, {"ffff", "3313"}, {"ff", "22"}, {"ufuufufui", "400400001"}, {"ufuufufu", "20020000"},
    {"fff", "444"}, {"ftffffff", "00222222"}, {"ftffffffff", "0022222222"}, {"ftffffff", "00222222"}, {"ffb", "200"}, {"f", "2"}, {"f", "2"}};

static void trial(rig *r, int k, int *good) {
    static const int64_t odd[] = {0, 1, -1, 2, 3, 1 << 16, INT64_MAX, INT64_MIN};
    const char *sep = strstr(ops[k], "::");
    char domain[40] = "";
    if (sep) snprintf(domain, sizeof domain, "%.*s", (int)(sep - ops[k]), ops[k]);
    const fy_op *op = fy_op_find(r->m->registry, domain, sep ? sep + 2 : ops[k]);
    assert_non_null(op);
    int nin = (int)strlen(plan[k].types), nout = op->max_out < 0 ? (int)rig_range(r, 1, 4) : (int)rig_range(r, op->min_out, op->max_out), na = 0;
    if (rig_range(r, 0, 3) == 0) nin = (int)rig_range(r, op->min_in, nin);
    if (nin < op->min_in) nin = op->min_in;
    int64_t common = rig_range(r, 1, 3);
    fy_tensor in[16] = {{0}}, out[4] = {{0}};
    fy_attr attr[8];
    ferry_error e = {0};
    for (int i = 0; i < nin; i++) {
        char type = plan[k].types[i];
        int rank = rig_range(r, 0, 9) ? plan[k].ranks[i] - '0' : (int)rig_range(r, 0, 5);
        int64_t dim[6];
        if (i >= op->min_in && rig_range(r, 0, 2) == 0) continue;
        for (int a = 0; a < rank; a++) dim[a] = rig_range(r, 0, 5) ? common : rig_range(r, 0, 4);
        if (k == 3 && i == 1 && rank == 3) dim[1] = 1;
        fy_dtype t = type == 'f' ? FERRY_FLOAT : type == 't' ? FERRY_INT64 : type == 'u' ? FERRY_UINT8 : type == 'i' ? FERRY_INT32 : FERRY_BOOL;
        assert_ok(fy_tensor_new(&in[i], t, rank, dim, &r->e), r->e);
        for (int64_t n = 0; n < fy_count(&in[i]); n++) {
            if (type == 'f') fy_put_f64(&in[i], n, rig_range(r, 0, 20) ? (double)rig_range(r, -8, 8) / 8 : rig_range(r, 0, 1) ? (double)NAN : (double)INFINITY);
            else fy_put_i64(&in[i], n, type == 'b' ? rig_range(r, 0, 1) : rig_range(r, 0, 9) ? rig_range(r, 0, common - 1) : odd[rig_range(r, 0, 7)]);
        }
    }
    for (const fy_attr_spec *s = op->attrs; s && s->name && na < 8; s++) {
        bool must = s->def && !strcmp(s->def, FY_REQUIRED);
        if (!must && rig_range(r, 0, 2)) continue;
        if (s->kind == FY_ATTR_INT) attr[na++] = fy_int(s->name, rig_range(r, 0, 3) ? common : odd[rig_range(r, 0, 7)]);
        else if (s->kind == FY_ATTR_FLOAT) attr[na++] = fy_float(s->name, (double)rig_range(r, -4, 4) / 2);
        else if (s->kind == FY_ATTR_STRING) {
            static const char *const words[] = {"none", "sum", "linear", "gated", "delta", "silu", "standard", "nesterov", ""};
            attr[na++] = fy_text(s->name, words[rig_range(r, 0, 8)]);
        }
    }
    if (rig_op(ops[k], nin, in, na, attr, nout, out, &e) == FY_OK) {
        ++*good;
        free_all(nout, out);
    } else assert_true(e.kind != FERRY_BUG || (print_error("%s: error[%s]: %s\n", ops[k], e.code, e.text), false));
    free_all(16, in);
}

static void test_hostile(void **state) {
    (void)state;
    const char *often = getenv("FERRY_HOSTILE");
    int trials = often ? (int)strtol(often, NULL, 10) : 400;
    rig r;
    rig_new(&r);
    for (int k = 0; k < FY_COUNT(ops); k++) {
        int good = 0;
        for (int i = 0; i < trials; i++) trial(&r, k, &good);
        if (!good) print_error("%s never ran to the end\n", ops[k]);
        assert_true(good > 0);
    }
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_losses), cmocka_unit_test(test_optimisers), cmocka_unit_test(test_streams), cmocka_unit_test(test_stream_values),
        cmocka_unit_test(test_flex), cmocka_unit_test(test_quantised), cmocka_unit_test(test_inference), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_hostile)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
