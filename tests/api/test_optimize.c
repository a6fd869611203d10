/* SPDX-License-Identifier: Apache-2.0
 * test_optimize.c - ferry_optimize as a program uses it: fewer nodes, the same numbers, a second run that changes nothing, refusals. */
#include "api_files.h"

#include <yajl/yajl_tree.h>

static int optimize_to(const char *from, const char *to, const char *const *words, ferry_report **r, ferry_error *e) {
    ferry_option o[16];
    ferry_job    job = job_of(o, words);
    memset(e, 0, sizeof *e);
    *r = NULL;
    return ferry_optimize(from, to, &job, r, e);
}

static yajl_val tree(const ferry_report *r) {
    char     why[200] = "";
    yajl_val root = yajl_tree_parse(ferry_report_json(r), why, sizeof why);
    if (!root) fail_msg("the report is no JSON: %s", why);
    return root;
}

static double number_at(yajl_val root, const char *a, const char *b) {
    const char *path[3] = {a, b, NULL};
    yajl_val    v = yajl_tree_get(root, path, yajl_t_number);
    return v ? YAJL_GET_DOUBLE(v) : -1;
}

static size_t members(yajl_val root, const char *key) {
    const char *path[2] = {key, NULL};
    yajl_val    v = yajl_tree_get(root, path, yajl_t_object);
    assert_non_null(v);
    return v->u.object.len;
}

/* Batch norm is left in by export, and goes here; names, opset and metadata stay. */
static void test_result(void **state) {
    ferry_error   e;
    ferry_report *r;
    (void)state;
    exported(PT2 "cnn_dyn.pt2", "in.onnx", OPTIONS("no-fold-bn", "", "opset", "14"));
    if (optimize_to("in.onnx", "out.onnx", NONE, &r, &e)) fail_msg("%s", e.text);
    yajl_val t = tree(r);
    assert_true(number_at(t, "nodes", NULL) < number_at(t, "nodes_before", NULL));
    assert_true(number_at(t, "operators_before", "BatchNormalization") > 0);
    assert_true(number_at(t, "operators", "BatchNormalization") < 0);
    assert_true(number_at(t, "passes", "batch-norm") > 0);
    assert_true(number_at(t, "bytes", NULL) > 0 && number_at(t, "bytes_before", NULL) > 0);
    assert_true(number_at(t, "opset", NULL) == 14);
    assert_non_null(strstr(ferry_report_text(r, 0), "BatchNormalization"));
    yajl_tree_free(t);
    ferry_report_free(r);
    ferry_model *a = ferry_open("in.onnx", NULL, &e), *b = ferry_open("out.onnx", NULL, &e);
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(ferry_input(a, 0)->name, ferry_input(b, 0)->name);
    assert_string_equal(ferry_output(a, 0)->name, ferry_output(b, 0)->name);
    assert_string_equal(ferry_metadata(a, "ferry.source_sha256"), ferry_metadata(b, "ferry.source_sha256"));
    ferry_close(a);
    ferry_close(b);
}

static void test_second_run(void **state) {
    static const char *const model[] = {"blocks", "cnn_dyn", "bert1_dec", "edge_dyn", "mutation", "sizes_dyn"};
    ferry_error   e;
    ferry_report *r;
    (void)state;
    for (int i = 0; i < (int)(sizeof model / sizeof *model); i++) {
        char from[300];
        snprintf(from, sizeof from, PT2 "%s.pt2", model[i]);
        exported(from, "in.onnx", OPTIONS("no-fold", "", "no-fold-bn", "", "opset", "21"));
        if (optimize_to("in.onnx", "one.onnx", NONE, &r, &e)) fail_msg("%s: %s", model[i], e.text);
        ferry_report_free(r);
        if (optimize_to("one.onnx", "two.onnx", NONE, &r, &e)) fail_msg("%s: %s", model[i], e.text);
        yajl_val t = tree(r);
        if (members(t, "passes")) fail_msg("%s: the second run: %s", model[i], ferry_report_text(r, 0));
        assert_true(number_at(t, "nodes", NULL) == number_at(t, "nodes_before", NULL));
        yajl_tree_free(t);
        ferry_report_free(r);
    }
}

static void test_levels(void **state) {
    static const struct { const char *key, *value; bool folded; } row[] = {{"level", "basic", true}, {"skip-pass", "batch-norm", false}, {"no-fold-bn", "", false},
        {"stop-after", "dead", false}, {"fold-budget", "64K", true}};
    ferry_error   e;
    ferry_report *r;
    (void)state;
    exported(PT2 "cnn.pt2", "in.onnx", OPTIONS("no-fold-bn", ""));
    for (int i = 0; i < (int)(sizeof row / sizeof *row); i++) {
        if (optimize_to("in.onnx", "out.onnx", OPTIONS(row[i].key, row[i].value), &r, &e)) fail_msg("%s: %s", row[i].key, e.text);
        yajl_val t = tree(r);
        if ((number_at(t, "operators", "BatchNormalization") < 0) != row[i].folded) fail_msg("%s=%s: %s", row[i].key, row[i].value, ferry_report_text(r, 0));
        yajl_tree_free(t);
        ferry_report_free(r);
    }
}

static void test_refused(void **state) {
    static const struct { const char *key, *value, *part; } bad[] = {{"level", "all", "basic"}, {"fold-budget", "much", "size"}, {"fold-budget", "-1", "size"}, {"fold-budget", "1KK", "size"},
        {"fold-budget", "99999999999999999999G", "size"}, {"skip-pass", "fodl", "fodl"}, {"stop-after", "never", "never"}, {"levl", "basic", "level"}, {"engine", "quick", "onnxruntime"}};
    ferry_error   e;
    ferry_report *r;
    (void)state;
    exported(PT2 "cnn.pt2", "in.onnx", NONE);
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
        int kind = optimize_to("in.onnx", "bad.onnx", OPTIONS(bad[i].key, bad[i].value), &r, &e);
        if (kind == FERRY_OK || kind == FERRY_BUG || !strstr(e.text, bad[i].part)) fail_msg("%s=%s: kind %d, %s", bad[i].key, bad[i].value, kind, e.text);
        assert_null(r);
        assert_false(exists("bad.onnx"));
    }
    assert_int_equal(optimize_to("in.onnx", NULL, NONE, &r, &e), FERRY_USAGE);
    assert_int_equal(optimize_to("in.onnx", "in.onnx", NONE, &r, &e), FERRY_USAGE);
    assert_int_equal(optimize_to("none.onnx", "out2.onnx", NONE, &r, &e), FERRY_IO);
}

/* A rounding that folding changes is more than nothing: the gate says no, and what stood there stays. */
static void test_gate(void **state) {
    ferry_error   e;
    ferry_report *r;
    (void)state;
    exported(PT2 "cnn.pt2", "in.onnx", OPTIONS("no-fold-bn", ""));
    copy_file("in.onnx", "kept.onnx");
    assert_int_equal(optimize_to("in.onnx", "kept.onnx", OPTIONS("tolerance", "0"), &r, &e), FERRY_NO);
    assert_non_null(r);
    assert_non_null(strstr(ferry_report_text(r, 0), "nothing was written"));
    ferry_report_free(r);
    ferry_model *m = ferry_open("kept.onnx", NULL, &e);
    assert_non_null(m);
    ferry_close(m);
    assert_int_equal(optimize_to("in.onnx", "kept.onnx", OPTIONS("tolerance", "0", "no-verify", ""), &r, &e), FERRY_OK);
    ferry_report_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_result), cmocka_unit_test(test_second_run), cmocka_unit_test(test_levels), cmocka_unit_test(test_refused), cmocka_unit_test(test_gate)};
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
