/* SPDX-License-Identifier: Apache-2.0
 * test_engines.c - the engines behind one interface: state that advances and resets, refusals, and ONNX Runtime and OpenVINO (where they
 * are installed: FERRY_ORT_LIB, FERRY_OPENVINO_LIB, an active Python environment) giving what ferry gives. */
#include "api/api_files.h"

#include <math.h>

#include "engines/engine.h"
#include "formats/onnx.h"
#include "formats/npz.h"
#include "tensor/compare.h"

static void test_list(void **state) {
    int n;
    (void)state;
    const fy_engine *const *all = fy_engines(&n);
    assert_true(n >= 2);
    assert_ptr_equal(fy_engine_find(NULL), all[0]);
    assert_ptr_equal(fy_engine_find(""), all[0]);
    assert_null(fy_engine_find("Ferry"));
    for (int i = 0; i < n; i++) {
        char why[2000], text[2000] = "";
        ferry_error e;
        assert_ptr_equal(fy_engine_find(all[i]->name), all[i]);
        const char *missing = all[i]->missing(why, sizeof why);
        if (missing) { assert_true(strlen(missing) > 20); continue; }
        assert_ok(all[i]->describe(text, sizeof text, &e), e);
        assert_true(text[0]);
    }
}

static fy_model *parsed(const char *body) {
    fy_model   *m = NULL;
    ferry_error e;
    fy_buf      text = {0};
    fy_buf_fmt(&text, "<ir_version: 10, opset_import: [\"\" : 17]>\nmain %s", body);
    assert_ok(fy_model_parse(&m, text.at, text.n, fy_registry_builtin(), &e), e);
    fy_buf_free(&text);
    assert_ok(fy_opset_raise(m, &e), e);
    assert_ok(fy_infer_model(m, &e), e);
    return m;
}

/* What an engine cannot do is said when the model is compiled, with the node's name; nothing leaks, *c is NULL. */
static void test_unknown_operator(void **state) {
    int n;
    (void)state;
    fy_model *m = parsed("(float[2] x) => (y) { [layer_7] y = com.acme.Twist (x) }");
    const fy_engine *const *all = fy_engines(&n);
    for (int i = 0; i < n; i++) {
        char why[2000];
        ferry_error e = {0};
        fy_compiled *c = NULL;
        if (all[i]->missing(why, sizeof why)) continue;
        assert_int_not_equal(all[i]->compile(&c, m, &(fy_engine_options){.threads = 1}, &e), FY_OK);
        assert_null(c);
        if (!strstr(e.text, "Twist")) fail_msg("%s: %s", all[i]->name, e.text);
    }
    fy_model_free(m);
}

/* A kernel that fails at run time leaves the session usable. */
static void test_failing_run(void **state) {
    int n;
    (void)state;
    fy_model *m = parsed("(float[4] x, int64[1] i) => (y) { y = Gather (x, i) }");
    const fy_engine *const *all = fy_engines(&n);
    for (int k = 0; k < n; k++) {
        char why[2000];
        ferry_error e = {0};
        fy_compiled *c = NULL;
        fy_session *s = NULL;
        float   x[4] = {1, 2, 3, 4};
        int64_t i = 9, one = 1, four = 4;
        fy_rval in[2] = {{.kind = FY_TENSOR, .t = fy_tensor_view(FERRY_FLOAT, 1, &four, x)}, {.kind = FY_TENSOR, .t = fy_tensor_view(FERRY_INT64, 1, &one, &i)}};
        fy_rval *at[2] = {&in[0], &in[1]}, out = {0};
        if (!strcmp(all[k]->name, "openvino")) continue;           /* it does not look whether an index is inside */
        if (all[k]->missing(why, sizeof why)) { print_message("skipped: %s\n", why); continue; }
        assert_ok(fy_opset_lower(m, k ? 17 : FY_CANONICAL_OPSET, &e), e);
        assert_ok(all[k]->compile(&c, m, &(fy_engine_options){.threads = 1}, &e), e);
        assert_ok(all[k]->session(&s, c, &e), e);
        assert_int_not_equal(all[k]->run(s, at, &out, &e), FY_OK);
        assert_true(e.text[0]);
        fy_rval_free(&out);
        out = (fy_rval){0};
        i = 2;
        assert_ok(all[k]->run(s, at, &out, &e), e);
        assert_true(fy_get_f64(&out.t, 0) == 3);
        fy_rval_free(&out);
        all[k]->session_free(s);
        all[k]->compiled_free(c);
        all[k]->session_free(NULL);
        all[k]->compiled_free(NULL);
    }
    fy_model_free(m);
}

/* ---- whole models ----------------------------------------------------------------------------------------------------- */

static bool have(const char *engine) {
    char why[2000];
    const char *missing = fy_engine_find(engine)->missing(why, sizeof why);
    if (missing) print_message("skipped without %s: %s\n", engine, missing);
    return !missing;
}

static ferry_session *start(ferry_model **m, const char *path, const char *options) {
    ferry_error e;
    *m = ferry_open(path, options, &e);
    if (!*m) fail_msg("%s, %s: %s", path, options, e.text);
    ferry_session *s = ferry_session_new(*m, &e);
    assert_non_null(s);
    return s;
}

/* `runs` runs of both sessions on the fixture's inputs; every output agrees. */
static void agree(ferry_session *a, ferry_session *b, const ferry_model *m, const char *npz, int runs) {
    ferry_error   e;
    ferry_values *v = ferry_values_new();
    size_t nin = ferry_inputs(m), nout = ferry_outputs(m);
    ferry_tensor *in = calloc(nin + 1, sizeof *in), *x = calloc(nout + 1, sizeof *x), *y = calloc(nout + 1, sizeof *y);
    assert_int_equal(ferry_values_read(v, npz, "", &e), FERRY_OK);
    for (size_t i = 0; i < nin; i++) {
        char key[32];
        snprintf(key, sizeof key, "in%zu", i);
        assert_int_equal(ferry_values_get(v, (size_t)ferry_values_find(v, key), &in[i], &e), FERRY_OK);
    }
    for (int r = 0; r < runs; r++) {
        if (ferry_run(a, in, nin, x, nout, &e)) fail_msg("%s", e.text);
        if (ferry_run(b, in, nin, y, nout, &e)) fail_msg("%s", e.text);
        for (size_t i = 0; i < nout; i++) {
            fy_diff   d;
            fy_tensor p = fy_tensor_view((fy_dtype)x[i].dtype, x[i].rank, x[i].dim, x[i].data), q = fy_tensor_view((fy_dtype)y[i].dtype, y[i].rank, y[i].dim, y[i].data);
            fy_compare(&d, &p, &q, false);
            if (d.dtype_differs || d.shape_differs || d.nan_differs || d.inf_differs || d.max_abs > 1e-4 * (d.ref_range > 1 ? d.ref_range : 1))
                fail_msg("%s: run %d, output %zu differs by %g", npz, r, i, d.max_abs);
        }
    }
    free(in);
    free(x);
    free(y);
    ferry_values_free(v);
}

static void compare_engines(const char *engine, const char *name, const char *opset, int runs) {
    char pt2[600], npz[600], options[64];
    ferry_error e;
    ferry_model *a, *b;
    snprintf(pt2, sizeof pt2, "%s%s.pt2", PT2, name);
    snprintf(npz, sizeof npz, "%s%s.npz", PT2, name);
    snprintf(options, sizeof options, "engine=%s threads=1", engine);
    exported(pt2, "m.onnx", OPTIONS("opset", opset, "no-verify", ""));
    ferry_session *s = start(&a, "m.onnx", "engine=ferry threads=1"), *t = start(&b, "m.onnx", options);
    agree(s, t, a, npz, runs);
    assert_int_equal(ferry_session_reset(s, &e), FERRY_OK);
    assert_int_equal(ferry_session_reset(t, &e), FERRY_OK);
    agree(s, t, a, npz, 1);
    ferry_session_free(s);
    ferry_session_free(t);
    ferry_close(a);
    ferry_close(b);
}

static const char *const foreign[] = {"onnxruntime", "openvino"};

static void test_foreign_agree(void **state) {
    static const char *const name[] = {"cnn_dyn", "blocks", "bert1_dec", "resnet18_dyn", "recurrent", "inplace"};      /* no f16: others keep it in f32 between nodes */
    (void)state;
    for (int k = 0; k < FY_COUNT(foreign); k++) {
        if (!have(foreign[k])) continue;
        for (int i = 0; i < FY_COUNT(name); i++) compare_engines(foreign[k], name[i], i % 2 ? "17" : "13", 1);
    }
}

static void test_foreign_state(void **state) {
    (void)state;
    for (int k = 0; k < FY_COUNT(foreign); k++) {
        if (!have(foreign[k])) continue;
        compare_engines(foreign[k], "mutation", "17", 3);
        compare_engines(foreign[k], "mutation_dec", "18", 3);
    }
}

/* A .pt2 has no .onnx file: the engine is given the graph. */
static void test_foreign_pt2(void **state) {
    ferry_model *a, *b;
    (void)state;
    for (int k = 0; k < FY_COUNT(foreign); k++) {
        char options[64];
        if (!have(foreign[k])) continue;
        snprintf(options, sizeof options, "engine=%s", foreign[k]);
        ferry_session *s = start(&a, PT2 "mutation.pt2", "engine=ferry"), *t = start(&b, PT2 "mutation.pt2", options);
        agree(s, t, a, PT2 "mutation.npz", 3);
        ferry_session_free(s);
        ferry_session_free(t);
        ferry_close(a);
        ferry_close(b);
    }
}

/* ---- OpenVINO ----------------------------------------------------------------------------------------------------------- */

/* Every element type that can be passed comes back as it went in, whatever its number is in this release; sizes vary from run to run,
 * down to nothing; views with strides; scalars. */
static void test_openvino_types(void **state) {
    static const fy_dtype type[] = {FERRY_FLOAT, FERRY_DOUBLE, FERRY_FLOAT16, FERRY_BFLOAT16, FERRY_INT8, FERRY_INT16, FERRY_INT32, FERRY_INT64, FERRY_UINT8, FERRY_UINT16,
        FERRY_UINT32, FERRY_UINT64, FERRY_BOOL};
    static const char *const name[] = {"float", "double", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"};
    const fy_engine *engine = fy_engine_find("openvino");
    (void)state;
    if (!have("openvino")) return;
    for (int i = 0; i < FY_COUNT(type); i++) {
        ferry_error e;
        fy_buf text = {0};
        fy_compiled *c;
        fy_session *s;
        fy_buf_fmt(&text, "(%s[N, 3] x, %s z, float[2] unused) => (y, w) { y = Transpose <perm = [1, 0]> (x)  w = Identity (z) }", name[i], name[i]);
        fy_model *m = parsed(text.at);
        assert_ok(engine->compile(&c, m, &(fy_engine_options){.threads = 1}, &e), e);
        assert_ok(engine->session(&s, c, &e), e);
        for (int64_t n = 4; n >= 0; n -= 2) {
            fy_tensor x, z;
            fy_rval out[2] = {0}, unused = {0};
            assert_ok(fy_tensor_new(&x, type[i], 2, (int64_t[]){3, n}, &e), e);
            assert_ok(fy_tensor_new(&z, type[i], 0, NULL, &e), e);
            for (int64_t k = 0; k < 3 * n; k++) fy_put_f64(&x, k, (double)(type[i] == FERRY_BOOL ? k % 2 : k));
            fy_put_f64(&z, 0, 1);
            fy_rval in[2] = {{.kind = FY_TENSOR, .t = x}, {.kind = FY_TENSOR, .t = z}};
            in[0].t = fy_tensor_view(type[i], 2, (int64_t[]){n, 3}, x.data);
            in[0].t.stride[0] = 1;                                 /* columns of x */
            in[0].t.stride[1] = n;
            if (engine->run(s, (fy_rval *[]){&in[0], &in[1], &unused}, out, &e)) fail_msg("%s, %d rows: %s", name[i], (int)n, e.text);
            assert_int_equal(out[0].t.dtype, type[i]);
            assert_int_equal(out[0].t.dim[1], n);
            for (int64_t k = 0; k < 3 * n; k++) assert_true(fy_get_f64(&out[0].t, k) == fy_get_f64(&x, k));
            assert_true(out[1].t.rank == 0 && fy_get_f64(&out[1].t, 0) == 1);
            fy_rval_free(&out[0]);
            fy_rval_free(&out[1]);
            fy_tensor_free(&x);
            fy_tensor_free(&z);
        }
        engine->session_free(s);
        engine->compiled_free(c);
        fy_model_free(m);
        fy_buf_free(&text);
    }
}

/* What it cannot be given is refused by name; what it says itself arrives as text. */
static void test_openvino_refuses(void **state) {
    static const struct { const char *body, *part; } bad[] = {{"(string[N] words) => (y) { y = Identity (words) }", "\"words\" holds strings"},
        {"(seq(float[N]) parts) => (y) { y = ConcatFromSequence <axis = 0> (parts) }", "\"parts\" is no tensor"}};
    ferry_error e = {0};
    fy_compiled *c;
    (void)state;
    if (!have("openvino")) return;
    for (int i = 0; i < FY_COUNT(bad); i++) {
        fy_model *m = parsed(bad[i].body);
        assert_int_equal(fy_engine_find("openvino")->compile(&c, m, NULL, &e), FY_E_UNSUPPORTED);
        if (!strstr(e.text, bad[i].part)) fail_msg("%s", e.text);
        fy_model_free(m);
    }
    fy_model *m = parsed("(float[2] x) => (y) { y = Identity (x) }");
    assert_int_equal(fy_engine_find("openvino")->compile(&c, m, &(fy_engine_options){.path = "not there.onnx"}, &e), FY_E_ENGINE);
    if (!strstr(e.text, "not there.onnx")) fail_msg("%s", e.text);
    fy_model_free(m);
}

/* Ferry's own state: three runs, reset, two sessions that do not see each other. */
static void test_state(void **state) {
    ferry_error e;
    ferry_model *m;
    ferry_session *s = start(&m, PT2 "mutation.pt2", "threads=1"), *other = ferry_session_new(m, &e);
    (void)state;
    agree(s, other, m, PT2 "mutation.npz", 3);
    ferry_session_free(other);
    other = ferry_session_new(m, &e);
    assert_int_equal(ferry_session_reset(s, &e), FERRY_OK);
    agree(s, other, m, PT2 "mutation.npz", 2);
    ferry_session_free(s);
    ferry_session_free(other);
    ferry_close(m);
}

/* Strings both ways, sequences of maps out: value by value the same. */
static void same_value(const ferry_value *a, const ferry_value *b) {
    ferry_tensor x, y;
    assert_int_equal(ferry_value_kind(a), ferry_value_kind(b));
    assert_int_equal(ferry_value_count(a), ferry_value_count(b));
    for (size_t i = 0; ferry_value_item(a, i); i++) same_value(ferry_value_item(a, i), ferry_value_item(b, i));
    if (ferry_value_kind(a) != FERRY_TENSOR) return;
    assert_int_equal(ferry_value_view(a, &x, NULL), FERRY_OK);
    assert_int_equal(ferry_value_view(b, &y, NULL), FERRY_OK);
    assert_int_equal(x.dtype, y.dtype);
    assert_int_equal(x.rank, y.rank);
    for (size_t i = 0; i < ferry_value_count(a); i++) {
        size_t n, m;
        const char *s = ferry_value_string(a, i, &n), *t = ferry_value_string(b, i, &m);
        if (s) assert_true(t && n == m && !memcmp(s, t, n));
        else {
            double p = ferry_tensor_at(&x, (int64_t)i), q = ferry_tensor_at(&y, (int64_t)i);
            assert_true(fabs(p - q) < 1e-5 || (p != p && q != q));
        }
    }
}

static void test_values(void **state) {
    static const char *const models[] = {"zip", "ml1"};
    (void)state;
    if (!have("onnxruntime")) return;
    for (int k = 0; k < 2; k++) {
        char path[600];
        ferry_error e;
        ferry_model *m[2];
        ferry_session *s[2];
        const ferry_value *in[1], *out[2][3];
        ferry_values *v = ferry_values_new();
        snprintf(path, sizeof path, FERRY_FIXTURES "/onnx/%s.onnx", models[k]);
        s[0] = start(&m[0], path, "threads=1");
        s[1] = start(&m[1], path, "threads=1 engine=onnxruntime");
        assert_int_equal(ferry_values_read(v, FERRY_FIXTURES "/npz/ml.npz", "", &e), FERRY_OK);
        in[0] = ferry_values_value(v, (size_t)ferry_values_find(v, ferry_input(m[0], 0)->name));
        for (int i = 0; i < 2; i++)
            if (ferry_run_values(s[i], in, 1, out[i], ferry_outputs(m[i]), &e)) fail_msg("%s: %s", models[k], e.text);
        for (size_t i = 0; i < ferry_outputs(m[0]); i++) same_value(out[0][i], out[1][i]);
        for (int i = 0; i < 2; i++) { ferry_session_free(s[i]); ferry_close(m[i]); }
        ferry_values_free(v);
    }
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, enter_folder, leave_folder)
    const struct CMUnitTest tests[] = {CASE(test_list), CASE(test_unknown_operator), CASE(test_failing_run), CASE(test_values), CASE(test_state),
        CASE(test_foreign_agree), CASE(test_foreign_state), CASE(test_foreign_pt2),
        CASE(test_openvino_types), CASE(test_openvino_refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
