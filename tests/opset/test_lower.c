/* SPDX-License-Identifier: Apache-2.0
 * test_lower.c - newer operators in the forms of opset 13: the same values before and after, nothing newer is left, each allocation may fail. */
#include "test.h"

#include "opset/internal.h"

#include <math.h>
#include <stdio.h>

/* At the canonical opset; sizes "n" are 3 where it runs. Integer inputs are small, so that they can be indices; `i` in the name: given below. */
static const char *const models[] = {
    /* lower_body.c */
    "(float[2,n] x, int64[1] a) => (float[a,b] y) { y = ReduceMax (x, a) }",
    "(float[2,n] x, int64[1] a) => (float[a] y) { y = ReduceMean <keepdims=0> (x, a) }",
    "(float[2,n] x, int64[1] a) => (float[a] y) { y = ReduceLogSumExp <keepdims=0> (x, a) }",
    "(float[2,n] x, int64[1] a) => (float[a,b] y) { y = ReduceL2 (x, a) }",
    "(bool[2,n] x, int64[1] a) => (bool[a,b] y) { y = ReduceMin (x, a) }",
    "(float[n,2] x, int64[4,2] i, float[4,2] u) => (float[n,2] y) { y = ScatterElements <reduction=\"add\"> (x, i, u) }",
    "(float[n,2] x, int64[2,2] i, float[2,2] u) => (float[n,2] y) { y = ScatterElements <axis=1, reduction=\"max\"> (x, i, u) }",
    "(float[n,2] x, int64[4,1] i, float[4,2] u) => (float[n,2] y) { y = ScatterND <reduction=\"mul\"> (x, i, u) }",
    "(float[n,2] x, int64[2,1,2] i, float[2,1] u) => (float[n,2] y) { y = ScatterND <reduction=\"min\"> (x, i, u) }",
    "(float[0,n] x, int64[2] s) => (float[a,b] y) { y = Reshape <allowzero=1> (x, s) }",
    "(float[n,2] a, float[2] b) => (float[2] y) { s = SequenceConstruct (a, a) t = SequenceMap <body = f (float[n,2] p, float[2] q) => (float[n,2] r) "
    "{ r = Add (p, q) }> (s, b) k = Constant <value = int64 {1}> () z = SequenceAt (t, k) c = Constant <value = int64[1] {0}> () y = ReduceSum <keepdims=0> (z, c) }",
    /* lower_shape.c */
    "(float[2,n] x, int64[2] p, int64[1] a) => (float[c,d] y) { y = Pad (x, p, , a) }",
    "(float[2,n] x, int64[4] p) => (float[c,d] y) { y = Pad <mode=\"wrap\"> (x, p) }",
    "(float[n] x) => (float[a] y, float[b] z) { y, z = Split <num_outputs=2> (x) }",
    "(float[1,2,2,4] x) => (float[1,8,1,2] y) { y = SpaceToDepth <blocksize=2, mode=\"CRD\"> (x) }",
    "(float[5,n] x, int64[2] s) => (float[a,b] y) { y = CenterCropPad (x, s) }",
    "(float[2,5,2] c, float[2,n,2] u, int64[2] i) => (float[2,5,2] y) { y = TensorScatter <axis=1, mode=\"circular\"> (c, u, i) }",
    "(float[2,n,2] x, float[1,2,2] w, float[1,2,2] r) => (float[2,n,1,2] y, float[2,1,2] h) { y, h = RNN <hidden_size=2, layout=1> (x, w, r) }",
    "(float[2,n] x) => (bool y) { y = OptionalHasElement (x) }",
    "(float[n,2] x, float[2] s, float[2] b, float[2] m, float[2] v) => (float[n,2] y, float[2] mo, float[2] vo) { "
    "y, mo, vo = BatchNormalization <training_mode=1> (x, s, b, m, v) }",
    "(int32[n] x, int32[n] s) => (int32[n] y) { k = Neg (x) y = BitShift <direction=\"RIGHT\"> (k, s) }",
    "(int8[n] x) => (uint8[n] y) { k = Neg (x) y = BitCast <to=2> (k) }",
    "(uint64[n] x, uint64[n] s) => (uint64[n] y) { y = BitwiseXor (x, s) }",
    "(float[n] x, float[n] s) => (float[n] y) { k = Neg (x) y = Mod (k, s) }",
    /* lower_grid.c */
    "(float[2,2,3] t, int64[4] s) => (float[a,b,c,2] y) { y = AffineGrid <align_corners=1> (t, s) }",
    "(float[1,2,4,5] x, float[1,2,n,2] g) => (float[1,2,2,n] y) { h = Constant <value = float {0.2}> () k = Mul (g, h) y = GridSample (x, k) }",
    "(float[1,2,4,5] x, float[1,2,n,2] g) => (float[1,2,2,n] y) { h = Constant <value = float {0.2}> () k = Mul (g, h) y = GridSample <mode=\"cubic\", padding_mode=\"reflection\"> (x, k) }",
    "(float[1,1,2,3,2] x, float[1,2,2,n,3] g) => (float[1,1,2,2,n] y) { h = Constant <value = float {0.1}> () k = Mul (g, h) y = GridSample <mode=\"nearest\"> (x, k) }",
    /* lower_resize.c */
    "(float[n,1,4,6] x) => (float[n,1,2,3] y) { s = Constant <value = float[4] {1.0, 1.0, 0.5, 0.5}> () y = Resize <mode=\"linear\", antialias=1> (x, , s) }",
    "(float[1,7,5] x) => (float[1,4,3] y) { s = Constant <value = int64[2] {4, 9}> () y = Resize <mode=\"cubic\", axes=[1,2], keep_aspect_ratio_policy=\"not_larger\"> (x, , , s) }",
    "(float[4,n,3] x) => (float[6,n,3] y) { s = Constant <value = float[1] {1.6}> () y = Resize <mode=\"linear\", axes=[0], "
    "coordinate_transformation_mode=\"half_pixel_symmetric\"> (x, , s) }",
    "(float[1,2,4,5] x) => (float[1,2,3,3] y) { r = Constant <value = float[4] {0.1, 0.2, 0.7, 0.9}> () s = Constant <value = int64[2] {3, 3}> () "
    "y = Resize <mode=\"linear\", axes=[2,3], coordinate_transformation_mode=\"tf_crop_and_resize\"> (x, r, , s) }",
    /* lower_pool.c */
    "(float[1,2,7] x) => (float[1,2,3] y) { y = AveragePool <kernel_shape=[2], dilations=[3], pads=[1,1], strides=[2]> (x) }",
    "(float[1,2,6] x) => (float[1,2,3] y) { y = AveragePool <kernel_shape=[3], dilations=[2], strides=[2], pads=[2,1], ceil_mode=1, count_include_pad=1> (x) }",
    "(float[1,2,6] x) => (float[1,2,3] y) { y = LpPool <kernel_shape=[3], strides=[2], ceil_mode=1, p=3> (x) }",
    "(float[1,1,2,2] x) => (float[1,1,1,1] y) { y = MaxPool <kernel_shape=[1,1], strides=[2,2], ceil_mode=1> (x) }",
    /* lower_quant.c */
    "(float[2,n] x, float[2] s) => (uint16[2,n] y) { y = QuantizeLinear <axis=0, output_dtype=4> (x, s) }",
    "(float[2,4] x, float[2,2] s) => (int8[2,4] y) { y = QuantizeLinear <axis=1, block_size=2, output_dtype=3> (x, s) }",
    "(int8[2,4] x, float[2,2] s, int8[2,2] z) => (float[2,4] y) { y = DequantizeLinear <axis=1, block_size=2> (x, s, z) }",
    "(int16[2,n] x, float[2] s) => (float[2,n] y) { y = DequantizeLinear <axis=0> (x, s) }",
    /* lower_signal.c and DeformConv */
    "(float[2,n,1] x) => (float[2,b,2] y) { l = Constant <value = int64 {5}> () a = Constant <value = int64 {1}> () y = DFT <onesided=1> (x, l, a) }",
    "(float[2,n,2] x, int64 a) => (float[2,n,2] y) { y = DFT <inverse=1> (x, , a) }",
    "(float[1,12,1] x, float[4] w) => (float[1,5,3,2] y) { s = Constant <value = int64 {2}> () y = STFT (x, s, w) }",
    "() => (float[9] y) { n = Constant <value = int64 {9}> () y = BlackmanWindow <periodic=0> (n) }",
    "(float lo) => (double[17,8] y) { b = Constant <value = int64 {8}> () l = Constant <value = int64 {32}> () r = Constant <value = int64 {8192}> () "
    "hi = Constant <value = float {4000.0}> () y = MelWeightMatrix <output_datatype=11> (b, l, r, lo, hi) }",
    "(float[n,2,5,5] x, float[2,1,2,2] w, float[n,8,4,4] o) => (float[n,2,4,4] y) { y = DeformConv <group=2, pads=[0,0,0,0]> (x, w, o) }",
    /* lower_nn.c */
    "(double[2,n] x, double[n] s) => (double[2,n] y, float[2,1] m, float[2,1] d) { y, m, d = LayerNormalization (x, s) }",
    "(float16[2,n] x, float16[n] s) => (float16[2,n] y, bfloat16[2,1] m, bfloat16[2,1] d) { y, m, d = LayerNormalization <stash_type=16> (x, s) }",
    "(float[2,n] x, int64 a) => (float[2,n] y) { y = CumProd <exclusive=1> (x, a) }",
    "(float[1,2,2,4] q, float[1,2,n,4] k, float[1,2,n,4] v, int64[1] l) => (float[1,2,2,4] y) { s = Constant <value = float {0.1}> () p = Mul (q, s) "
    "y = Attention <is_causal=1> (p, k, v, , , , l) }",
};

static bool parse(fy_model **m, const char *body, ferry_error *e) {
    char text[2000];
    snprintf(text, sizeof text, "<ir_version: 10, opset_import: [\"\" : 28]>\ng %s", body);
    return fy_model_parse(m, text, strlen(text), fy_registry_builtin(), e) == FY_OK;
}

static fy_model *load(const char *body) {
    ferry_error e = {0};
    fy_model *m = NULL;
    bool ok = parse(&m, body, &e);
    if (!ok) print_error("%s\n%s\n", body, e.text);
    assert_true(ok);
    fy_status s = fy_infer_model(m, &e);
    if (s) print_error("%s\n%s %s\n", body, e.text, e.nframes ? e.frame[0] : "");
    assert_int_equal(s, FY_OK);
    return m;
}

/* 1, 2, 3 ... for floats; for integers what the operator can use: 0, 1 in turn, or what `sizes` takes. */
static void run(fy_rval *out, const fy_model *m, const char *body) {
    fy_rval in[8] = {{0}}, *ptr[8];
    fy_interp it = {0};
    ferry_error e = {0};
    for (int64_t i = 0; i < m->graph->in.n; i++) {
        const fy_value *v = m->graph->in.at[i];
        int64_t dim[FY_MAX_RANK];
        for (int k = 0; k < v->type.rank; k++)
            if (!fy_dim_known(v->type.dim[k], &dim[k])) dim[k] = 3;
        in[i].kind = FY_TENSOR;
        assert_ok(fy_tensor_new(&in[i].t, v->type.dtype, v->type.rank, dim, &e), e);
        bool sizes = strstr(body, "AffineGrid") || strstr(body, "CenterCropPad"), index = v->type.dtype == FERRY_INT64 && !sizes;
        for (int64_t k = 0; k < fy_count(&in[i].t); k++) {
            double x = (double)(k + 1) / (fy_dtype_float(v->type.dtype) ? 2 : 1);
            if (index) x = strstr(body, "allowzero") ? (k ? 5 : 0) : (double)((k + 1) % 2);
            if (v->type.dtype == FERRY_BOOL) x = (double)(k % 3 != 0);
            if (sizes && v->type.dtype == FERRY_INT64) x = k ? (double)(k + 1) : 2;
            fy_put_f64(&in[i].t, k, x);
        }
        ptr[i] = &in[i];
    }
    fy_status s = fy_interp_run(&it, m->graph, ptr, out, &e);
    if (s) print_error("%s\n%s %s\n", body, e.text, e.nframes ? e.frame[0] : "");
    assert_int_equal(s, FY_OK);
    for (int i = 0; i < 8; i++) fy_rval_free(&in[i]);
}

static void same(const fy_rval *want, const fy_rval *got, const char *body) {
    assert_int_equal(want->t.dtype, got->t.dtype);
    if (!fy_same_dims(&want->t, &got->t)) {
        fy_buf b = {0};
        fy_tensor_print(&b, &want->t, 0);
        fy_buf_str(&b, " before, after ");
        fy_tensor_print(&b, &got->t, 0);
        print_error("%s\n%s\n", body, b.at);
        fy_buf_free(&b);
    }
    assert_true(fy_same_dims(&want->t, &got->t));
    for (int64_t i = 0; i < fy_count(&want->t); i++) {
        double a = fy_get_f64(&want->t, i), b = fy_get_f64(&got->t, i);
        if (!(fabs(a - b) <= 2e-6 * fmax(1, fabs(a)))) print_error("%s\nelement %d: %.9g before, %.9g after\n", body, (int)i, a, b);
        assert_true(fabs(a - b) <= 2e-6 * fmax(1, fabs(a)));
    }
}

/* Each node, also in bodies, exists in opset 13 with these attributes and types. */
static void all_of_13(const fy_model *m) {
    char why[120];
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *n = g->first; n; n = n->next) {
            bool ok = fy_types_ok(n, 13, why, sizeof why) && fy_types_version(n->op->name, 13) > 0;
            if (!ok) print_error("%s is left\n", n->op->name);
            assert_true(ok);
        }
}

static void same_values(void **state) {
    (void)state;
    for (int k = 0; k < FY_COUNT(models); k++) {
        ferry_error e = {0};
        fy_model *m = load(models[k]);
        fy_rval want[4] = {{0}}, got[4] = {{0}};
        run(want, m, models[k]);
        fy_status s = fy_opset_lower(m, 13, &e);
        if (s) print_error("%s\n%s\n", models[k], e.text);
        assert_int_equal(s, FY_OK);
        all_of_13(m);
        assert_ok(fy_opset_raise(m, &e), e);                 /* kernels know the newest forms only */
        assert_ok(fy_infer_model(m, &e), e);
        assert_ok(fy_model_verify(m, &e), e);
        run(got, m, models[k]);
        for (int i = 0; i < m->graph->out.n; i++) same(&want[i], &got[i], models[k]);
        for (int i = 0; i < 4; i++) { fy_rval_free(&want[i]); fy_rval_free(&got[i]); }
        fy_model_free(m);
    }
}

/* Asking never changes anything, and what was asked is true. */
static void lowest(void **state) {
    (void)state;
    for (int k = 0; k < FY_COUNT(models); k++) {
        fy_model *m = load(models[k]);
        int64_t nodes = m->graph->nnodes;
        assert_int_equal(fy_opset_lowest(m), 13);
        assert_int_equal(m->graph->nnodes, nodes);
        fy_model_free(m);
    }
}

static void no_memory(void **state) {
    (void)state;
    for (int k = 0; k < FY_COUNT(models); k++) {
        for (int64_t at = 0;; at += 1 + at / 16) {           /* all early ones, then fewer and fewer */
            ferry_error e = {0};
            size_t before = fy_os_bytes();
            fy_model *m = load(models[k]);
            fy_os_fail_at(at, false);
            fy_status s = fy_opset_lower(m, 13, &e);
            bool reached = fy_os_calls() > at;
            fy_os_fail_at(-1, false);
            fy_model_free(m);
            assert_int_equal(fy_os_bytes(), before);
            if (s != (reached ? FY_E_NOMEM : FY_OK)) print_error("%s\nallocation %d: %s\n", models[k], (int)at, e.text);
            assert_int_equal(s, reached ? FY_E_NOMEM : FY_OK);
            if (!reached) break;
        }
    }
}

/* What no older opset can say is refused by name, with the lowest opset that can. */
static void refusals(void **state) {
    static const struct { const char *body, *word; int lowest; } all[] = {
        {"(float[2] x) => (int32[2] y) { y = BitCast <to=6> (x) }", "BitCast", 26},
        {"(string[2] x, string[2] z) => (bool[2] y) { y = Equal (x, z) }", "str", 19},
        {"(float[2] x) => (float8e5m2[2] y) { y = Cast <to=19> (x) }", "f8e5m2", 19},
        {"(float[2] x, float[1] s) => (int4[2] y) { y = QuantizeLinear <output_dtype=22> (x, s) }", "i4", 21},
        {"(float[1,1,8,8] x, float[n,4] r, int64[n] i) => (float[n,1,2,2] y) { y = RoiAlign <output_height=2, output_width=2> (x, r, i) }", "half_pixel", 16},
        {"(float[2,n] x, int64[k] a) => (float[c,d] y) { y = ReduceMax (x, a) }", "how many", 18},
    };
    (void)state;
    for (int k = 0; k < FY_COUNT(all); k++) {
        ferry_error e = {0};
        char number[16];
        fy_model *m = load(all[k].body);
        int64_t nodes = m->graph->nnodes;
        assert_int_equal(fy_opset_lower(m, 13, &e), FY_E_OPSET);
        snprintf(number, sizeof number, "is %d.", all[k].lowest);
        if (!strstr(e.text, all[k].word) || !strstr(e.help, number)) print_error("%s\n%s\n%s\n", all[k].body, e.text, e.help);
        assert_non_null(strstr(e.text, all[k].word));
        assert_non_null(strstr(e.help, number));
        assert_int_equal(m->graph->nnodes, nodes);
        assert_ok(fy_opset_lower(m, all[k].lowest, &e), e);
        fy_model_free(m);
    }
}

static int64_t hostile_value(int k) { return (int64_t[]){INT64_MIN, INT64_MIN + 1, -3, -1, 0, 7, 1 << 20, (int64_t)1 << 40, INT64_MAX}[k]; }

/* Attributes as bad as they come: an error or a model, never a crash; also where inference has said no before. */
static void hostile(void **state) {
    (void)state;
    int64_t tried = 0;
    for (int k = 0; k < FY_COUNT(models); k++)
        for (int place = 0, more = 1; more; place++) {
            more = 0;
            for (int v = 0; v < 9; v++) {
                ferry_error e = {0};
                fy_model *m = NULL;
                int at = 0;
                assert_true(parse(&m, models[k], &e));
                bool before = v % 2 == 0 && fy_infer_model(m, &e) == FY_OK;
                for (fy_node *n = m->graph->first; n; n = n->next)
                    for (int i = 0; i < n->nattr; i++) {
                        fy_attr a = n->attr[i];
                        int64_t list[4] = {0, 0, 0, 0};
                        if ((a.kind != FY_ATTR_INT && a.kind != FY_ATTR_INTS) || at++ != place) continue;
                        for (int64_t q = 0; a.kind == FY_ATTR_INTS && q < a.n && q < 4; q++) list[q] = a.ints[q];
                        list[0] = a.i = hostile_value(v);
                        if (a.kind == FY_ATTR_INTS) { a.ints = list; a.n = a.n < 4 ? a.n : 4; }
                        assert_true(fy_node_set_attr(n, &a));
                        more = 1;
                    }
                if (!before) (void)!fy_infer_model(m, &e);
                fy_status s = fy_opset_lower(m, 13, &e);
                if (s == FY_E_INTERNAL) print_error("%s\n%s\n", models[k], e.text);
                assert_true(s != FY_E_INTERNAL);
                fy_model_free(m);
                tried++;
            }
        }
    assert_true(tried > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_values), cmocka_unit_test(lowest), cmocka_unit_test(no_memory), cmocka_unit_test(refusals),
        cmocka_unit_test(hostile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
