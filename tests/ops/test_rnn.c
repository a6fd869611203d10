/* SPDX-License-Identifier: Apache-2.0
 * test_rnn.c - RNN, GRU, LSTM against one scalar cell written out, over directions, layouts and lengths. */
#include "infer_property.h"

#include <math.h>

#define NONE ((fy_tensor){0})
enum { T = 5, B = 3, I = 2, H = 4 };

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

typedef struct weights { double x[T][B][I], w[2][4 * H][I], r[2][4 * H][H], b[2][8 * H], h0[2][B][H], c0[2][B][H]; int32_t len[B];
} weights;

/* One row of the batch, one direction, element by element. */
static void scalar(const weights *k, int kind, int d, bool back, int row, bool linear, double y[T][H], double *h, double *c) {
    int g = kind == 0 ? 1 : kind == 1 ? 3 : 4;
    memcpy(h, k->h0[d][row], H * sizeof *h);
    memcpy(c, k->c0[d][row], H * sizeof *c);
    for (int t = 0; t < T; t++) memset(y[t], 0, sizeof y[t]);
    for (int s = 0; s < k->len[row]; s++) {
        int t = back ? k->len[row] - 1 - s : s;
        double in[4 * H], rec[4 * H], next[H];
        for (int q = 0; q < g * H; q++) {
            in[q] = k->b[d][q];
            rec[q] = k->b[d][g * H + q];
            for (int i = 0; i < I; i++) in[q] += k->w[d][q][i] * k->x[t][row][i];
            for (int j = 0; j < H; j++) rec[q] += k->r[d][q][j] * h[j];
        }
        for (int j = 0; j < H; j++) {
            if (kind == 0) next[j] = tanh(in[j] + rec[j]);
            else if (kind == 1) {
                double z = sigmoid(in[j] + rec[j]), hidden = k->b[d][3 * H + 2 * H + j], cand;
                for (int q = 0; q < H; q++) {
                    double rq = sigmoid(in[H + q] + rec[H + q]);
                    hidden += k->r[d][2 * H + j][q] * rq * h[q];
                }
                cand = linear ? sigmoid(in[H + j] + rec[H + j]) * rec[2 * H + j] : hidden;
                next[j] = (1 - z) * tanh(in[2 * H + j] + cand) + z * h[j];
            } else {
                double i = sigmoid(in[j] + rec[j]), o = sigmoid(in[H + j] + rec[H + j]), f = sigmoid(in[2 * H + j] + rec[2 * H + j]);
                c[j] = f * c[j] + i * tanh(in[3 * H + j] + rec[3 * H + j]);
                next[j] = o * tanh(c[j]);
            }
        }
        memcpy(h, next, sizeof next);
        memcpy(y[t], h, sizeof next);
    }
}

static fy_tensor packed(double *to, const double *from, int64_t dirs, int64_t each, int64_t stride, int rank, const int64_t *dim) {
    for (int64_t d = 0; d < dirs; d++) memcpy(to + d * each, from + d * stride, (size_t)each * sizeof *to);
    return fy_tensor_view(FERRY_DOUBLE, rank, dim, to);
}

static void test_cells(void **state) {
    (void)state;
    static const char *const ops[] = {"RNN", "GRU", "LSTM"}, *const ways[] = {"forward", "reverse", "bidirectional"};
    static weights k;
    rig r;
    rig_new(&r);
    for (int trial = 0; trial < 18; trial++) {
        ferry_error e;
        int kind = trial % 3, way = trial / 3 % 3, dirs = way == 2 ? 2 : 1, g = kind == 0 ? 1 : kind == 1 ? 3 : 4;
        bool lens = trial % 2, linear = trial >= 9;
        double *all[] = {&k.x[0][0][0], &k.w[0][0][0], &k.r[0][0][0], &k.b[0][0], &k.h0[0][0][0], &k.c0[0][0][0]};
        size_t count[] = {sizeof k.x / 8, sizeof k.w / 8, sizeof k.r / 8, sizeof k.b / 8, sizeof k.h0 / 8, sizeof k.c0 / 8};
        for (int i = 0; i < 6; i++) for (size_t j = 0; j < count[i]; j++) all[i][j] = (double)rig_range(&r, -100, 100) / 100;
        for (int b = 0; b < B; b++) k.len[b] = lens ? (int32_t)rig_range(&r, 0, T) : T;
        static double w[2 * 4 * H * I], rr[2 * 4 * H * H], bb[2 * 8 * H];
        fy_tensor out[3] = {NONE, NONE, NONE}, in[7] = {fy_tensor_view(FERRY_DOUBLE, RIG_DIMS(T, B, I), k.x),
            packed(w, &k.w[0][0][0], dirs, g * H * I, 4 * H * I, RIG_DIMS(dirs, g * H, I)), packed(rr, &k.r[0][0][0], dirs, g * H * H,
                    4 * H * H, RIG_DIMS(dirs, g * H, H)),
            packed(bb, &k.b[0][0], dirs, 2 * g * H, 8 * H, RIG_DIMS(dirs, 2 * g * H)), lens ? fy_tensor_view(FERRY_INT32, RIG_DIMS(B),
                    k.len) : NONE,
            fy_tensor_view(FERRY_DOUBLE, RIG_DIMS(dirs, B, H), k.h0), fy_tensor_view(FERRY_DOUBLE, RIG_DIMS(dirs, B, H), k.c0)};
        fy_attr attr[3] = {fy_text("direction", ways[way]), fy_int("hidden_size", H), fy_int("linear_before_reset", linear)};
        assert_ok(rig_op(ops[kind], kind == 2 ? 7 : 6, in, kind == 1 ? 3 : 2, attr, kind == 2 ? 3 : 2, out, &e), e);
        for (int d = 0; d < dirs; d++)
            for (int b = 0; b < B; b++) {
                double y[T][H], h[H], c[H];
                scalar(&k, kind, d, way == 1 || d == 1, b, linear, y, h, c);
                for (int j = 0; j < H; j++) {
                    for (int t = 0; t < T; t++) assert_true(fabs(fy_get_f64(&out[0], ((t * dirs + d) * B + b) * H + j) - y[t][j]) < 1e-12);
                    assert_true(fabs(fy_get_f64(&out[1], (d * B + b) * H + j) - h[j]) < 1e-12);
                    if (kind == 2) assert_true(fabs(fy_get_f64(&out[2], (d * B + b) * H + j) - c[j]) < 1e-12);
                }
            }
        for (int i = 0; i < 3; i++) fy_tensor_free(&out[i]);
    }
    rig_free(&r);
}

static void test_symbolic(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s 3"), *w = rig_in(&r, FERRY_FLOAT, "2 4*h 3"), *rec = rig_in(&r, FERRY_FLOAT, "2 4*h h");
    fy_node *n = fy_emit_n(&r.b, "LSTM", 3, FY_V(x, w, rec), FY_A(fy_int("layout", 1), fy_text("direction", "bidirectional")));
    assert_non_null(n);
    rig_type_is(n->out[0], "f32[b,s,2,h]");
    rig_type_is(n->out[2], "f32[b,2,h]");
    for (int i = 0; i < 3; i++) rig_out(&r, n->out[i]);
    rig_property(&r, 1, 4);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cells), cmocka_unit_test(test_symbolic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
