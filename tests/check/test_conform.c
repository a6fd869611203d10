/* SPDX-License-Identifier: Apache-2.0
 * test_conform.c - the judge of case folders is judged: right and wrong outputs, dtypes, shapes, tolerances, exceptions, damaged cases. */
#include "test.h"

#include "check/conform.h"
#include "formats/onnx.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[600];

static void put_text(const char *name, const char *text) {
    char path[900];
    ferry_error e;
    fy_out out;
    snprintf(path, sizeof path, "%s/%s", root, name);
    assert_ok(fy_out_open(&out, path, &e), e);
    assert_ok(fy_out_write(&out, text, strlen(text), &e), e);
    assert_ok(fy_out_commit(&out, &e), e);
}

static void folder(const char *name) {
    char path[1600];
    snprintf(path, sizeof path, "%s/%s", root, name);
    mkdir(path, 0700);
}

/* A case with two elements in, y = Neg(x) and what is said to come out. */
static void put_case(const char *name, fy_dtype t, double want0, double want1, int rank, const char *tolerance) {
    char path[900];
    fy_buf model = {0};
    ferry_error e;
    fy_model *m = NULL;
    fy_tensor x, y;
    folder(name);
    snprintf(path, sizeof path, "%s/test_data_set_0", name);
    folder(path);
    const char *type = t == FERRY_DOUBLE ? "double" : t == FERRY_BFLOAT16 ? "bfloat16" : t == FERRY_INT32 ? "int32" : "float";
    fy_buf_fmt(&model, "<ir_version: 10, opset_import: [\"\" : 13]> main (%s[2] x) => (y) { y = Neg (x) }", type);
    assert_ok(fy_model_parse(&m, model.at, model.n, fy_registry_builtin(), &e), e);
    snprintf(path, sizeof path, "%s/%s/model.onnx", root, name);
    assert_ok(fy_onnx_write(m, path, &(fy_onnx_options){0}, &e), e);
    fy_model_free(m);
    assert_ok(fy_tensor_new(&x, t, 1, (int64_t[]){2}, &e), e);
    fy_put_f64(&x, 0, -1);
    fy_put_f64(&x, 1, 1000);
    snprintf(path, sizeof path, "%s/%s/test_data_set_0/input_0.pb", root, name);
    assert_ok(fy_onnx_write_tensor(path, &x, "x", &e), e);
    assert_ok(fy_tensor_new(&y, t, rank, (int64_t[]){2, 1}, &e), e);
    fy_put_f64(&y, 0, want0);
    fy_put_f64(&y, 1, want1);
    snprintf(path, sizeof path, "%s/%s/test_data_set_0/output_0.pb", root, name);
    assert_ok(fy_onnx_write_tensor(path, &y, "y", &e), e);
    fy_tensor_free(&x);
    fy_tensor_free(&y);
    if (tolerance) {
        snprintf(path, sizeof path, "%s/tolerance", name);
        put_text(path, tolerance);
    }
    fy_buf_free(&model);
}

/* What the judge says of all cases, "passed, failed, skipped", and whether the words are in the report. */
static void judged(const char *closing, bool strict, const char *exceptions, const char *words) {
    char path[900];
    ferry_error e;
    const char *at = root, *list = path;
    snprintf(path, sizeof path, "%s/%s", root, exceptions ? exceptions : "");
    fy_conform_options o = {.strict = strict, .exceptions = &list, .nexceptions = exceptions ? 1 : 0};
    fy_report *r = fy_report_new(&e);
    assert_ok(fy_conform_report(r, &at, 1, &o, &e), e);
    assert_ok(fy_report_finish(r, &e), e);
    size_t n = strlen(r->plain.at), k = strlen(closing);
    if (n < k || strcmp(r->plain.at + n - k, closing)) fail_msg("the report ends otherwise:\n%s", r->plain.at);
    if (words && !strstr(r->plain.at, words)) fail_msg("\"%s\" is not in\n%s", words, r->plain.at);
    assert_int_equal(r->verdict, strstr(closing, " 0 failed") ? FERRY_OK : FERRY_NO);
    fy_report_free(r);
}

static int empty(void **state) {
    char line[700];
    (void)state;
    snprintf(root, sizeof root, "%s/conform-%ld", FERRY_BINARY_DIR, (long)getpid());
    snprintf(line, sizeof line, "rm -rf '%s'", root);
    if (system(line)) return 1;
    return mkdir(root, 0700);
}

static int gone(void **state) {
    char line[700];
    (void)state;
    snprintf(line, sizeof line, "rm -rf '%s'", root);
    return system(line);
}

static void test_tolerances(void **state) {
    (void)state;
    put_case("a", FERRY_FLOAT, 1, -1000, 1, NULL);
    judged("1 passed, 0 failed\n", false, NULL, NULL);
    put_case("b", FERRY_FLOAT, 1, -1000.9, 1, NULL);                    /* within 1e-3 */
    judged("2 passed, 0 failed\n", false, NULL, NULL);
    judged("1 passed, 1 failed\n", true, NULL, "FAIL b: element 1 is -1000 instead of");
    put_case("c", FERRY_FLOAT, 1, -1001.5, 1, NULL);
    judged("2 passed, 1 failed\n", false, NULL, "FAIL c: element 1");
    put_case("c", FERRY_FLOAT, 1, -1001.5, 1, "0.01 0\n");
    judged("3 passed, 0 failed\n", false, NULL, NULL);
    put_case("d", FERRY_BFLOAT16, 1.0078125, -1000, 1, "0 0");          /* two steps of bf16 */
    put_case("e", FERRY_INT32, 1, -1001, 1, "0 0");
    judged("4 passed, 1 failed\n", false, NULL, "FAIL e: element 1 is -1000 instead of -1001");
}

static void test_dtype_and_shape(void **state) {
    (void)state;
    put_case("shape", FERRY_FLOAT, 1, -1000, 2, NULL);
    judged("0 passed, 1 failed\n", false, NULL, "FAIL shape: f32[2] instead of f32[2,1]");
    put_case("nan", FERRY_DOUBLE, (double)NAN, -1000, 1, NULL);
    judged("0 passed, 2 failed\n", false, NULL, "FAIL nan: element 0 is 1 instead of nan");
}

static void test_exceptions(void **state) {
    ferry_error e;
    const char *at = root;
    char path[900];
    const char *list = path;
    (void)state;
    put_case("good", FERRY_FLOAT, 1, -1000, 1, NULL);
    put_case("bad", FERRY_FLOAT, 2, -1000, 1, NULL);
    put_text("list", "# why\nbad  it is known\n\nelsewhere not here\n");
    judged("1 passed, 0 failed, 1 skipped\n", false, "list", "skip bad: it is known");
    put_text("list", "bad it is known\ngood it is not");
    judged("0 passed, 1 failed, 1 skipped\n", false, "list", "FAIL good: it is listed as an exception, but passes");
    put_text("list", "bad\n");
    snprintf(path, sizeof path, "%s/list", root);
    fy_conform_options o = {.exceptions = &list, .nexceptions = 1};
    fy_report *r = fy_report_new(&e);
    assert_fails(fy_conform_report(r, &at, 1, &o, &e), FORMAT);
    assert_non_null(strstr(e.text, "list:1: no reason is given for bad"));
    fy_report_free(r);
}

static void test_damaged(void **state) {
    ferry_error e;
    const char *at = root;
    (void)state;
    fy_report *r = fy_report_new(&e);
    assert_fails(fy_conform_report(r, &at, 1, &(fy_conform_options){0}, &e), NOFILE);       /* no case at all */
    fy_report_free(r);
    put_case("cut", FERRY_FLOAT, 1, -1000, 1, NULL);
    put_text("cut/model.onnx", "\x08\x0a\x3a\x7f");
    judged("0 passed, 1 failed\n", false, NULL, "FAIL cut: ");
    put_case("cut", FERRY_FLOAT, 1, -1000, 1, "much");
    judged("0 passed, 1 failed\n", false, NULL, "does not hold \"rtol atol\"");
    put_case("cut", FERRY_FLOAT, 1, -1000, 1, "1e-3 1e-7");
    put_text("cut/test_data_set_0/output_0.pb", "\xff\xff");
    judged("0 passed, 1 failed\n", false, NULL, "output_0.pb");
    folder("none");
    put_case("none", FERRY_FLOAT, 1, -1000, 1, NULL);
    char path[900];
    snprintf(path, sizeof path, "%s/none/test_data_set_0", root);
    char to[900];
    snprintf(to, sizeof to, "%s/none/away", root);
    assert_int_equal(rename(path, to), 0);
    judged("0 passed, 2 failed\n", false, NULL, "none holds no test_data_set_0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tolerances, empty, gone),
        cmocka_unit_test_setup_teardown(test_dtype_and_shape, empty, gone),
        cmocka_unit_test_setup_teardown(test_exceptions, empty, gone),
        cmocka_unit_test_setup_teardown(test_damaged, empty, gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
