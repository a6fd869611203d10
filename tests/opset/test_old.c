/* SPDX-License-Identifier: Apache-2.0
 * test_old.c - forms of opsets 1 to 12, raised and run against hand-worked values. Models are in ONNX's text syntax; inputs hold 1, 2, 3 ... in
 * order unless given. */
#include "test.h"

#include "opset/opset.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

static fy_model *parse(int opset, const char *body, ferry_error *e) {
    char text[2000];
    fy_model *m = NULL;
    snprintf(text, sizeof text, "<ir_version: 3, opset_import: [\"\" : %d]>\ng %s", opset, body);
    fy_status s = fy_model_parse(&m, text, strlen(text), fy_registry_builtin(), e);
    if (s) print_error("%s\n%s\n", text, e->text);
    assert_int_equal(s, FY_OK);
    return m;
}

static void fill(fy_rval *v, const fy_value *in, const double *given) {
    ferry_error e;
    int64_t dim[FY_MAX_RANK];
    for (int i = 0; i < in->type.rank; i++) assert_true(fy_dim_known(in->type.dim[i], &dim[i]));
    v->kind = FY_TENSOR;
    assert_ok(fy_tensor_new(&v->t, in->type.dtype, in->type.rank, dim, &e), e);
    for (int64_t i = 0; i < fy_count(&v->t); i++) fy_put_f64(&v->t, i, given ? given[i] : (double)(i + 1));
}

/* Raises, checks, runs; output `k` must have these values. */
static void gives(int opset, const char *body, const double *const *given, int k, int n, const double *want) {
    ferry_error e = {0};
    fy_model *m = parse(opset, body, &e);
    fy_rval in[8] = {{0}}, out[8] = {{0}}, *ptr[8];
    fy_interp it = {0};
    assert_ok(fy_opset_raise(m, &e), e);
    assert_ok(fy_infer_model(m, &e), e);
    assert_ok(fy_model_verify(m, &e), e);
    assert_int_equal(m->opset, FY_CANONICAL_OPSET);
    for (int64_t i = 0; i < m->graph->in.n; i++) {
        fill(&in[i], m->graph->in.at[i], given ? given[i] : NULL);
        ptr[i] = &in[i];
    }
    assert_ok(fy_interp_run(&it, m->graph, ptr, out, &e), e);
    assert_int_equal(fy_count(&out[k].t), n);
    for (int i = 0; i < n; i++) {
        double got = fy_get_f64(&out[k].t, i);
        if (!(fabs(got - want[i]) <= 1e-5 * fmax(1, fabs(want[i])))) print_error("%s\nelement %d: %g, not %g\n", body, i, got, want[i]);
        assert_true(fabs(got - want[i]) <= 1e-5 * fmax(1, fabs(want[i])));
    }
    for (int i = 0; i < 8; i++) { fy_rval_free(&in[i]); fy_rval_free(&out[i]); }
    fy_model_free(m);
}
#define GIVES(opset, body, ...) gives(opset, body, NULL, 0, (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), (double[]){__VA_ARGS__})

static void refused(int opset, const char *body, int code, const char *word) {
    ferry_error e = {0};
    fy_model *m = parse(opset, body, &e);
    assert_int_equal(fy_opset_raise(m, &e), code);
    assert_non_null(strstr(e.text, word));
    fy_model_free(m);
}

static void broadcasts(void **state) {
    (void)state;
    GIVES(1, "(float[2,3] x, float[2] b) => (float[2,3] y) { y = Add <axis=0, broadcast=1> (x, b) }", 2, 3, 4, 6, 7, 8);
    GIVES(6, "(float[2,2,1] x, float[2] b) => (float[2,2,1] y) { y = Mul <axis=1, broadcast=1> (x, b) }", 1, 4, 3, 8);
    GIVES(6, "(float[2,2,1] x, float[2,2] b) => (float[2,2,1] y) { y = Sub <axis=-3, broadcast=1> (x, b) }", 0, 0, 0, 0);
    GIVES(6, "(float[2,3] x, float[3] b) => (float[2,3] y) { y = Div <broadcast=1> (x, b) }", 1, 1, 1, 4, 2.5, 2);
    GIVES(1, "(float[2,2] x, float[2] b) => (float[2,2] y) { y = Pow <axis=1, broadcast=1> (x, b) }", 1, 4, 3, 16);
    GIVES(6, "(float[1,2,2] x, float[2] s) => (float[1,2,2] y) { n = Neg (x) y = PRelu <consumed_inputs=[0,0]> (n, s) }", -1, -2, -6, -8);
    GIVES(6, "(float[2,2] a, float[2,2] b, float[2] c) => (float[2,2] y) { y = Gemm <broadcast=1, beta=2.0> (a, b, c) }", 9, 14, 17, 26);
    refused(6, "(float[2,3] x, float[3] b) => (float[2,3] y) { y = Add <axis=2, broadcast=1> (x, b) }", FY_E_AXIS, "axis 2");
    refused(6, "(float x, float[3] b) => (float y) { z = Mystery (x) y = Add <axis=1, broadcast=1> (z, b) }", FY_E_OPSET, "rank");
}

static void sizes(void **state) {
    (void)state;
    GIVES(1, "(float[1,2] x) => (float[1,4] y) { y = Concat (x, x) }", 1, 2, 1, 2);
    GIVES(1, "(float[2,3] x) => (float[3,2] y) { y = Reshape <shape=[3,-1], consumed_inputs=[0]> (x) }", 1, 2, 3, 4, 5, 6);
    GIVES(1, "(float[2] x) => (float[4] y) { y = Pad <paddings=[1,1], value=7.0> (x) }", 7, 1, 2, 7);
    GIVES(2, "(float[2] x) => (float[4] y) { y = Pad <pads=[2,0]> (x) }", 0, 0, 1, 2);
    gives(1, "(float[2,1] x, float t, float a) => (float[4,1] y) { y = Tile (x, t, a) }", (const double *const[]){NULL, (double[]){2}, (double[]){0}}, 0, 4, (double[]){1, 2, 1, 2});
    GIVES(1, "(float[3] x) => (float[1] y, float[2] z) { y, z = Split <axis=0, split=[1,2]> (x) }", 1);
    gives(1, "(float[3] x, float[2] s) => (float[1] y, float[2] z) { y, z = Split <axis=0> (x, s) }", NULL, 1, 2, (double[]){2, 3});
    GIVES(1, "(float[1,1,1,2] x) => (float[1,1,2,4] y) { y = Upsample <height_scale=2.0, width_scale=2.0> (x) }", 1, 1, 2, 2, 1, 1, 2, 2);
    GIVES(7, "(float[1,1,1,2] x) => (float[1,1,1,4] y) { y = Upsample <scales=[1.0,1.0,1.0,2.0]> (x) }", 1, 1, 2, 2);
    GIVES(9, "(float[3,2] x) => (float[1,2] y) { y = Slice <starts=[1], ends=[2], axes=[0]> (x) }", 3, 4);
    GIVES(9, "(float[3] x) => (float[2] y, int64[2] i) { y, i = TopK <k=2> (x) }", 3, 2);
    GIVES(11, "(float[2,1] x) => (float[2] y) { y = Squeeze <axes=[1]> (x) }", 1, 2);
    GIVES(11, "(float[2,2] x) => (float[2,1] y) { y = ReduceSum <axes=[1]> (x) }", 3, 7);
}

/* Nearest in opset 10: down where it enlarges, up where it shrinks, also when one node does both. */
static void resize10(void **state) {
    (void)state;
    gives(10, "(float[1,2] x, float[2] s) => (float[1,4] y) { y = Resize (x, s) }", (const double *const[]){NULL, (double[]){1, 2}}, 0, 4, (double[]){1, 1, 2, 2});
    gives(10, "(float[2,4] x, float[2] s) => (float[4,2] y) { y = Resize (x, s) }", (const double *const[]){NULL, (double[]){2, 0.5}}, 0, 8, (double[]){1, 3, 1, 3, 5, 7, 5, 7});
    gives(10, "(float[1,5] x, float[2] s) => (float[1,3] y) { y = Resize (x, s) }", (const double *const[]){NULL, (double[]){1, 0.6f}}, 0, 3, (double[]){1, 3, 5});
}

static void numbers(void **state) {
    (void)state;
    GIVES(1, "(float[2] x) => (int32[2] y) { y = Cast <to=\"INT32\"> (x) }", 1, 2);
    refused(1, "(float[2] x) => (int32[2] y) { y = Cast <to=\"INT33\"> (x) }", FY_E_ATTR, "INT33");
    GIVES(1, "(float[1] x) => (float[1] y) { n = Neg (x) y = Selu (n) }", -1.0507 * 1.6732 * (1 - exp(-1)));
    GIVES(6, "(float[1] x) => (float[1] y) { n = Neg (x) y = Selu (n) }", -1.0507010221481323 * 1.6732631921768188 * (1 - exp(-1)));
    GIVES(1, "(float[1,1,2] x) => (float[1,1,1] y) { y = LpPool <kernel_shape=[2], p=1.0> (x) }", 3);
    GIVES(1, "(float[1,1,2] x) => (float[1,1,1] y) { y = GlobalLpPool <p=2.0> (x) }", sqrt(5));
    refused(1, "(float[1,1,2] x) => (float[1,1,1] y) { y = GlobalLpPool <p=2.5> (x) }", FY_E_OPSET, "2.5");
    GIVES(6, "(float[3] x) => (float[3] y) { y = Clip <min=1.5, max=2.5> (x) }", 1.5, 2, 2.5);
    gives(6, "(float[1] x) => (float[1] y) { y = Clip <min=0.0> (x) }", (const double *const[]){(double[]){INFINITY}}, 0, 1, (double[]){FLT_MAX});
    GIVES(11, "(float[2,1,2] x) => (float[2,1,2] y) { y = Hardmax (x) }", 0, 1, 0, 1);
    GIVES(11, "(float[1,2,2] x) => (float[1,2,2] y) { y = Hardmax <axis=1> (x) }", 0, 0, 0, 1);      /* one flattened axis of four */
}

static void training(void **state) {
    (void)state;
    GIVES(6, "(float[2] x) => (float[2] y) { y = Dropout <is_test=1> (x) }", 1, 2);
    gives(9, "(float[2] x) => (float[2] y, float[2] m) { y, m = Dropout (x) }", NULL, 1, 2, (double[]){1, 1});      /* the mask had the type of x */
    gives(6, "(float[2] x) => (float[2] y, float[2] m) { y, m = Dropout <ratio=0.0> (x) }", NULL, 1, 2, (double[]){1, 1});
    GIVES(6, "(float[1,1,2] x, float[1] s, float[1] b, float[1] m, float[1] v) => (float[1,1,2] y) { y = BatchNormalization <is_test=1, epsilon=0.0> (x, s, b, m, v) }", 1, 2);
    /* mean 2, variance 1 of the batch; running 0.9 * old + 0.1 * new */
    const double *const bn[] = {(double[]){1, 3}, (double[]){2}, (double[]){1}, (double[]){10}, (double[]){20}};
    const char *train = "(float[2,1] x, float[1] s, float[1] b, float[1] m, float[1] v) => (float[2,1] y, float[1] mo, float[1] vo) { "
                        "y, mo, vo, u, w = BatchNormalization <epsilon=0.0> (x, s, b, m, v) }";
    gives(9, train, bn, 0, 2, (double[]){-1, 3});
    gives(9, train, bn, 1, 1, (double[]){9.2});
    gives(9, train, bn, 2, 1, (double[]){18.1});
    refused(9, "(float[2,1] x, float[1] s, float[1] b, float[1] m, float[1] v) => (float[2,1] y, float[1] u) { "
               "y, mo, vo, u, w = BatchNormalization (x, s, b, m, v) }", FY_E_OPSET, "saved");
    GIVES(7, "(float[2,2] x, float[2] s, float[2] b, float[2] m, float[2] v) => (float[2,2] y) { y = BatchNormalization <spatial=0, epsilon=0.0> (x, s, b, m, v) }",
          1, 2, 3, 2 + 2 * sqrt(2));
}

#define SUM "<body = step (float[1] s, float[1] x) => (float[1] t, float[1] o) { t = Add (s, x) o = Identity (t) }, num_scan_inputs = 1>"

/* A Scan for each row of the batch; rows may be shorter. */
static void scan8(void **state) {
    (void)state;
    const double *const in[] = {(double[]){10, 20}, (double[]){1, 2, 3, 4, 5, 6}};
    gives(8, "(float[2,1] s, float[2,3,1] x) => (float[2,1] t, float[2,3,1] o) { t, o = Scan " SUM " (, s, x) }", in, 0, 2, (double[]){16, 35});
    gives(8, "(float[2,1] s, float[2,3,1] x) => (float[2,1] t, float[2,3,1] o) { t, o = Scan " SUM " (, s, x) }", in, 1, 6, (double[]){11, 13, 16, 24, 29, 35});
    const double *const cut[] = {(double[]){10, 20}, (double[]){1, 2, 3, 4, 5, 6}, (double[]){2, 3}};
    gives(8, "(float[2,1] s, float[2,3,1] x, int64[2] n) => (float[2,1] t, float[2,3,1] o) { t, o = Scan " SUM " (n, s, x) }", cut, 0, 2, (double[]){13, 35});
    gives(8, "(float[2,1] s, float[2,3,1] x, int64[2] n) => (float[2,1] t, float[2,3,1] o) { t, o = Scan " SUM " (n, s, x) }", cut, 1, 6, (double[]){11, 13, 0, 24, 29, 35});
    refused(8, "(float[2,1] s, float[2,3,1] x) => (float[2,1] t, float[2,3,1] o) { t, o = Scan <body = b (float[1] s, float[1] x) => (float[1] t, float[1] o) "
               "{ t = Add (s, x) o = Identity (t) }, num_scan_inputs = 5> (, s, x) }", FY_E_ATTR, "5 of 2");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(broadcasts), cmocka_unit_test(sizes), cmocka_unit_test(resize10), cmocka_unit_test(numbers), cmocka_unit_test(training),
        cmocka_unit_test(scan8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
