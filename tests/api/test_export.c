/* SPDX-License-Identifier: Apache-2.0
 * test_export.c - ferry_export and ferry_verify as a program uses them: options, refusals, reports, what lies in the file afterwards. */
#include "api_files.h"

#include <yajl/yajl_tree.h>

static double number_at(const char *json, const char *a, const char *b) {
    char        why[200] = "";
    const char *path[3] = {a, b, NULL};
    yajl_val    root = yajl_tree_parse(json, why, sizeof why);
    if (!root) fail_msg("the report is no JSON: %s", why);
    yajl_val v = a ? yajl_tree_get(root, path, yajl_t_number) : NULL;
    double   d = v ? YAJL_GET_DOUBLE(v) : -1;
    yajl_tree_free(root);
    return d;
}

/* ---- names, sizes, opsets -------------------------------------------------------------------------------------------- */

static void test_names(void **state) {
    ferry_error e;
    (void)state;
    exported(PT2 "mutation.pt2", "m.onnx", OPTIONS("input-names", "left,right", "output-names", "z1,a1,b1,t1,n1,m1,u1,v1"));
    ferry_model *m = ferry_open("m.onnx", NULL, &e);
    assert_non_null(m);
    assert_int_equal(ferry_find_input(m, "left"), 0);
    assert_int_equal(ferry_find_input(m, "right"), 1);
    assert_int_equal(ferry_find_output(m, "v1"), 7);
    ferry_close(m);
    exported(PT2 "mutation.pt2", "m.onnx", OPTIONS("input-names", "left"));        /* the first ones; the rest keep theirs */
    m = ferry_open("m.onnx", NULL, &e);
    assert_int_equal(ferry_find_input(m, "left"), 0);
    assert_int_equal(ferry_inputs(m), 2);
    ferry_close(m);
}

static void test_refused_options(void **state) {
    static const struct { const char *key, *value, *part; } bad[] = {
        {"input-names", "a,b", "2 names"}, {"input-names", "a,a", "'a'"}, {"input-names", ",", "empty"}, {"output-names", "a,b,c", "3 names"}, {"output-names", "x,x", "'x'"},
        {"opset", "12", "12"}, {"opset", "29", "29"}, {"opset", "17.5", "17.5"}, {"opset", "", "opset"}, {"opset", "99999999999999999999", "opset"}, {"opst", "17", "opset"},
        {"dynamic-batches", "", "dynamic-batch"}, {"dynamic", "x", "NAME:AXIS"}, {"dynamic", "x:0", "NAME:AXIS"}, {"dynamic", "x:=b", "NAME:AXIS"}, {"dynamic", "nothing:0=b", "no input"},
        {"dynamic", "x: 0=b", "NAME:AXIS"}, {"dynamic", NULL, "NAME:AXIS"}, {"dim-names", "s0", "OLD=NEW"}, {"tolerance", "-1", "tolerance"}, {"tolerance", "nan", "tolerance"},
        {"tolerance", "x", "tolerance"}, {"engine", "quick", "onnxruntime"}, {"threads", "0", "threads"}, {"skip-pass", "fodl", "fodl"}, {"stop-after", "never", "never"}};
    (void)state;
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
        const char   *const words[] = {bad[i].key, bad[i].value, NULL};
        ferry_error   e;
        ferry_report *r;
        int kind = export_to(PT2 "cnn.pt2", "bad.onnx", words, &r, &e);
        if (kind == FERRY_OK || kind == FERRY_BUG || !strstr(e.text, bad[i].part)) fail_msg("%s=%s: kind %d, %s", bad[i].key, bad[i].value ? bad[i].value : "", kind, e.text);
        assert_null(r);
        assert_false(exists("bad.onnx"));
    }
}

static void test_opsets(void **state) {
    static const char *const opset[] = {"13", "17", "21", "28"};
    ferry_error   e;
    ferry_report *r;
    (void)state;
    for (int i = 0; i < 4; i++) {
        if (export_to(PT2 "edge_dyn.pt2", "o.onnx", OPTIONS("opset", opset[i]), &r, &e)) fail_msg("opset %s: %s", opset[i], e.text);
        assert_true(number_at(ferry_report_json(r), "opset", NULL) == strtod(opset[i], NULL));
        ferry_report_free(r);
        ferry_model *m = ferry_open("o.onnx", NULL, &e);
        assert_non_null(m);
        assert_string_equal(ferry_metadata(m, "ferry.opset"), opset[i]);
        ferry_close(m);
    }
}

static void test_dynamic(void **state) {
    ferry_error e;
    (void)state;
    exported(PT2 "cnn.pt2", "d.onnx", OPTIONS("dynamic-batch", ""));
    ferry_model *m = ferry_open("d.onnx", NULL, &e);
    assert_non_null(m);
    assert_true(ferry_input(m, 0)->dim[0] == -1);
    assert_string_equal(ferry_input(m, 0)->sym[0], "batch");
    assert_string_equal(ferry_output(m, 0)->sym[0], "batch");
    ferry_session *s = ferry_session_new(m, &e);
    float         *data = calloc(5 * 28 * 28, sizeof *data);
    ferry_tensor   x = ferry_f32(data, 4, (int64_t[]){5, 1, 28, 28}), y = {0};
    assert_int_equal(ferry_run(s, &x, 1, &y, 1, &e), FERRY_OK);
    assert_true(y.dim[0] == 5);
    free(data);
    ferry_session_free(s);
    ferry_close(m);
    ferry_report *r;
    assert_int_equal(export_to(PT2 "cnn.pt2", "no.onnx", OPTIONS("input-names", "x", "dynamic", "x:9=b"), &r, &e), FERRY_BAD_MODEL);
    assert_non_null(strstr(e.text, "axis 9"));
    /* the same axis named twice over: by name and by --dynamic-batch */
    char word[64];
    m = ferry_open(PT2 "cnn.pt2", NULL, &e);
    snprintf(word, sizeof word, "%s:0=n", ferry_input(m, 0)->name);
    ferry_close(m);
    exported(PT2 "cnn.pt2", "d.onnx", OPTIONS("dynamic", word, "dynamic-batch", ""));
    m = ferry_open("d.onnx", NULL, &e);
    assert_string_equal(ferry_input(m, 0)->sym[0], "n");
    ferry_close(m);
    exported(PT2 "cnn.pt2", "d.onnx", OPTIONS("input-names", "image", "dynamic", "image:0=n"));
    m = ferry_open("d.onnx", NULL, &e);
    assert_string_equal(ferry_input(m, 0)->name, "image");
    assert_string_equal(ferry_input(m, 0)->sym[0], "n");
    ferry_close(m);
    /* an axis that the program has open already gets the name */
    exported(PT2 "cnn_dyn.pt2", "d.onnx", OPTIONS("input-names", "image", "dynamic", "image:0=batch_size"));
    m = ferry_open("d.onnx", NULL, &e);
    assert_string_equal(ferry_input(m, 0)->sym[0], "batch_size");
    assert_string_equal(ferry_output(m, 0)->sym[0], "batch_size");
    ferry_close(m);
}

/* ---- files ------------------------------------------------------------------------------------------------------------ */

static void test_targets(void **state) {
    ferry_error   e;
    ferry_report *r;
    (void)state;
    copy_file(PT2 "cnn.pt2", "cnn.pt2");
    exported("cnn.pt2", NULL, NONE);
    assert_true(exists("cnn.onnx"));
    assert_int_equal(symlink("cnn.pt2", "link.onnx"), 0);
    assert_int_equal(link("cnn.pt2", "hard.onnx"), 0);
    static const char *const same[] = {"cnn.pt2", "./cnn.pt2", "link.onnx", "hard.onnx"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(export_to("cnn.pt2", same[i], NONE, &r, &e), FERRY_USAGE);
        assert_non_null(strstr(e.text, "overwrite"));
    }
    assert_int_not_equal(export_to("cnn.pt2", "no/such/folder.onnx", NONE, &r, &e), FERRY_OK);
    assert_int_equal(export_to("cnn.pt2", ".", NONE, &r, &e), FERRY_IO);
    assert_int_equal(export_to("gone.pt2", NULL, NONE, &r, &e), FERRY_IO);
    assert_int_equal(export_to(FERRY_FIXTURES "/onnx/mlp.onnx", "x.onnx", NONE, &r, &e), FERRY_BAD_MODEL);
    assert_int_equal(export_to(FERRY_FIXTURES "/other/state_dict.pth", "x.onnx", NONE, &r, &e), FERRY_BAD_MODEL);
    /* a gate that says no leaves the file that was there, and nothing else */
    copy_file("cnn.onnx", "kept.onnx");
    struct stat before, after;
    assert_int_equal(stat("kept.onnx", &before), 0);
    int kind = export_to("cnn.pt2", "kept.onnx", OPTIONS("tolerance", "0"), &r, &e);
    assert_int_equal(kind, FERRY_NO);
    assert_non_null(r);
    assert_non_null(strstr(ferry_report_text(r, 0), "nothing was written"));
    number_at(ferry_report_json(r), NULL, NULL);
    ferry_report_free(r);
    assert_int_equal(stat("kept.onnx", &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    DIR *d = opendir(".");
    for (struct dirent *f; (f = readdir(d));) assert_null(strstr(f->d_name, ".tmp"));
    closedir(d);
}

static void test_report(void **state) {
    ferry_error   e;
    ferry_report *r;
    (void)state;
    assert_int_equal(export_to(PT2 "cnn_dyn.pt2", "r.onnx", NONE, &r, &e), FERRY_OK);
    const char *json = ferry_report_json(r), *path[] = {"source_sha256", NULL}, *ops[] = {"operators", "Conv", NULL}, *inputs[] = {"inputs", NULL};
    char        why[200];
    yajl_val    root = yajl_tree_parse(json, why, sizeof why), v;
    assert_non_null(root);
    assert_true(json[strlen(json) - 1] == '\n');
    assert_non_null(v = yajl_tree_get(root, path, yajl_t_string));
    ferry_model *m = ferry_open("r.onnx", NULL, &e);
    assert_string_equal(v->u.string, ferry_metadata(m, "ferry.source_sha256"));
    assert_int_equal(strlen(v->u.string), 64);
    assert_non_null(v = yajl_tree_get(root, ops, yajl_t_number));
    assert_true(YAJL_GET_INTEGER(v) >= 1);
    assert_non_null(v = yajl_tree_get(root, inputs, yajl_t_array));
    assert_int_equal(YAJL_GET_ARRAY(v)->len, 1);
    struct stat st;
    assert_int_equal(stat("r.onnx", &st), 0);
    assert_true(number_at(json, "bytes", NULL) == (double)st.st_size);
    yajl_tree_free(root);
    assert_string_equal(ferry_metadata(m, "ferry.source"), "cnn_dyn.pt2");
    assert_string_equal(ferry_metadata(m, "ferry.version"), ferry_version());
    assert_non_null(strstr(ferry_metadata(m, "ferry.dynamic_axes"), ":0="));
    assert_non_null(strstr(ferry_metadata(m, "ferry.verified"), "cnn_dyn.pt2"));
    ferry_close(m);
    assert_null(strchr(ferry_report_text(r, 0), '\033'));
    assert_non_null(strchr(ferry_report_text(r, 1), '\033'));
    assert_string_equal(ferry_report_junit(r), "");
    ferry_report_free(r);
    exported(PT2 "cnn_dyn.pt2", "p.onnx", OPTIONS("no-provenance", "", "no-verify", ""));
    m = ferry_open("p.onnx", NULL, &e);
    assert_null(ferry_metadata(m, "ferry.source"));
    assert_null(ferry_metadata(m, "ferry.source_sha256"));
    assert_null(ferry_metadata(m, "ferry.verified"));
    ferry_close(m);
}

/* The same source and options give the same bytes. */
static void test_reproducible(void **state) {
    (void)state;
    exported(PT2 "edge.pt2", "a.onnx", NONE);
    exported(PT2 "edge.pt2", "b.onnx", NONE);
    FILE *a = fopen("a.onnx", "rb"), *b = fopen("b.onnx", "rb");
    int   c;
    while ((c = getc(a)) != EOF) assert_int_equal(c, getc(b));
    assert_int_equal(getc(b), EOF);
    fclose(a);
    fclose(b);
}

/* ---- verify ----------------------------------------------------------------------------------------------------------- */

static int verify(const char *model, const char *const *words, char *text, size_t n) {
    ferry_error   e;
    ferry_report *r;
    int kind = call(ferry_verify, model, words, &r, &e);
    snprintf(text, n, "%s", r ? ferry_report_json(r) : e.text);
    if (r) {
        number_at(ferry_report_json(r), NULL, NULL);
        assert_non_null(strstr(ferry_report_junit(r), "<testsuite"));
    }
    ferry_report_free(r);
    return kind;
}

static void same_text(const char *path, const char *text) {
    char at[20000];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    at[fread(at, 1, sizeof at - 1, f)] = 0;
    fclose(f);
    assert_string_equal(at, text);
}

/* What the commands write beside a model appears whole or not at all. */
static void test_files_beside(void **state) {
    ferry_error   e;
    ferry_report *r;
    (void)state;
    copy_file(PT2 "cnn.pt2", "cnn.pt2");
    assert_int_equal(export_to("cnn.pt2", "cnn.onnx", OPTIONS("report", "m.json"), &r, &e), FERRY_OK);
    same_text("m.json", ferry_report_json(r));
    ferry_report_free(r);
    assert_int_equal(export_to("cnn.pt2", "cnn.onnx", OPTIONS("report", "m.txt"), &r, &e), FERRY_OK);
    same_text("m.txt", ferry_report_full(r));
    ferry_report_free(r);
    assert_int_equal(export_to("cnn.pt2", "cnn.onnx", OPTIONS("report", "nowhere/m.txt"), &r, &e), FERRY_IO);
    assert_null(r);
    assert_int_equal(call(ferry_verify, "cnn.onnx", OPTIONS("junit", "v.xml"), &r, &e), FERRY_OK);
    same_text("v.xml", ferry_report_junit(r));
    ferry_report_free(r);
    assert_int_equal(call(ferry_verify, "cnn.onnx", OPTIONS("junit", "nowhere/v.xml"), &r, &e), FERRY_IO);
    assert_null(r);
    copy_file("v.xml", "w.xml");
    assert_int_equal(chmod("w.xml", 0400), 0);               /* not written into, but replaced */
    assert_int_equal(call(ferry_verify, "cnn.onnx", OPTIONS("junit", "w.xml", "tolerance", "1e-30"), &r, &e), FERRY_NO);
    same_text("w.xml", ferry_report_junit(r));
    ferry_report_free(r);
}

static void test_provenance(void **state) {
    char text[8000];
    (void)state;
    copy_file(PT2 "cnn.pt2", "cnn.pt2");
    copy_file(PT2 "edge.pt2", "another.pt2");
    exported("cnn.pt2", NULL, NONE);
    assert_int_equal(verify("cnn.onnx", NONE, text, sizeof text), FERRY_OK);
    assert_int_equal(verify("./cnn.onnx", NONE, text, sizeof text), FERRY_OK);
    assert_int_equal(rename("cnn.pt2", "renamed.pt2"), 0);   /* found by its hash */
    assert_int_equal(verify("cnn.onnx", NONE, text, sizeof text), FERRY_OK);
    copy_file(PT2 "cnn_dec.pt2", "cnn.pt2");                 /* the name, but other bytes: the right one is preferred */
    assert_int_equal(verify("cnn.onnx", NONE, text, sizeof text), FERRY_OK);
    unlink("renamed.pt2");
    assert_int_equal(verify("cnn.onnx", NONE, text, sizeof text), FERRY_IO);
    assert_non_null(strstr(text, "sha256"));
    assert_int_equal(verify("cnn.onnx", OPTIONS("against", "cnn.pt2"), text, sizeof text), FERRY_OK);        /* asked for by name */
    exported("cnn.pt2", "bare.onnx", OPTIONS("no-provenance", ""));
    assert_int_equal(verify("bare.onnx", NONE, text, sizeof text), FERRY_USAGE);
    assert_non_null(strstr(text, "--against"));
    assert_int_equal(verify("bare.onnx", OPTIONS("against", "missing.pt2"), text, sizeof text), FERRY_IO);
    assert_int_not_equal(verify("bare.onnx", OPTIONS("against", "another.pt2"), text, sizeof text), FERRY_OK);      /* another model altogether */
}

static void test_references(void **state) {
    ferry_error   e;
    char          text[8000], name[64];
    (void)state;
    exported(PT2 "cnn.pt2", "a.onnx", OPTIONS("output-names", "logits"));
    exported(PT2 "cnn.pt2", "b.onnx", OPTIONS("no-fold-bn", "", "opset", "20", "output-names", "logits"));
    assert_int_equal(verify("a.onnx", OPTIONS("against", "b.onnx"), text, sizeof text), FERRY_OK);
    assert_int_equal(verify("a.onnx", OPTIONS("against", PT2 "cnn.pt2"), text, sizeof text), FERRY_OK);
    /* recorded: inputs and outputs by name */
    ferry_model   *m = ferry_open("a.onnx", NULL, &e);
    ferry_session *s = ferry_session_new(m, &e);
    ferry_values  *v = ferry_values_new();
    ferry_tensor   x, y = {0};
    snprintf(name, sizeof name, "%s", ferry_input(m, 0)->name);
    assert_int_equal(ferry_values_random(v, m, NULL, &e), FERRY_OK);
    assert_int_equal(ferry_values_get(v, 0, &x, &e), FERRY_OK);
    assert_int_equal(ferry_run(s, &x, 1, &y, 1, &e), FERRY_OK);
    assert_int_equal(ferry_values_set(v, "logits", &y, &e), FERRY_OK);
    assert_int_equal(ferry_values_write(v, "good.npz", &e), FERRY_OK);
    ((float *)y.data)[3] += 0.01f;
    assert_int_equal(ferry_values_set(v, "logits", &y, &e), FERRY_OK);
    assert_int_equal(ferry_values_write(v, "off.npz", &e), FERRY_OK);
    ferry_values_free(v);
    ferry_session_free(s);
    ferry_close(m);
    assert_int_equal(verify("a.onnx", OPTIONS("against", "good.npz"), text, sizeof text), FERRY_OK);
    assert_int_equal(verify("a.onnx", OPTIONS("against", "off.npz"), text, sizeof text), FERRY_NO);
    assert_int_equal(verify("a.onnx", OPTIONS("against", "off.npz", "tolerance", "logits:0.02"), text, sizeof text), FERRY_OK);
    assert_int_equal(verify("a.onnx", OPTIONS("against", "off.npz", "tolerance", "logits:0.02", "tolerance", "logits:0.001"), text, sizeof text), FERRY_NO);
    assert_int_equal(verify("a.onnx", OPTIONS("against", "off.npz", "tolerance", "0.02"), text, sizeof text), FERRY_OK);
    assert_int_equal(verify("a.onnx", OPTIONS("against", "off.npz", "tolerance", "1", "tolerance", "logits:1e-6"), text, sizeof text), FERRY_NO);
    assert_int_equal(verify("a.onnx", OPTIONS("against", "good.npz", "tolerance", "logit:0.02"), text, sizeof text), FERRY_USAGE);
    assert_non_null(strstr(text, "logits"));
    static const char *const bad[] = {"x", "logits:", "logits:x", "-1", ":"};
    for (int i = 0; i < 5; i++) assert_int_equal(verify("a.onnx", OPTIONS("against", "good.npz", "tolerance", bad[i]), text, sizeof text), FERRY_USAGE);
    assert_int_equal(verify("a.onnx", OPTIONS("against", "b.onnx", "reference-engine", "x"), text, sizeof text), FERRY_USAGE);
    assert_int_equal(verify("a.onnx", OPTIONS("against", PT2 "cnn.pt2", "reference", "numpy"), text, sizeof text), FERRY_USAGE);
    assert_int_equal(verify("a.onnx", OPTIONS("agianst", "b.onnx"), text, sizeof text), FERRY_USAGE);
    assert_non_null(strstr(text, "against"));
    assert_int_not_equal(verify("a.onnx", OPTIONS("against", FERRY_FIXTURES "/other/checkpoint.pth"), text, sizeof text), FERRY_OK);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, enter_folder, leave_folder)
    const struct CMUnitTest tests[] = {CASE(test_names), CASE(test_refused_options), CASE(test_opsets), CASE(test_dynamic), CASE(test_targets), CASE(test_report),
        CASE(test_reproducible), CASE(test_files_beside), CASE(test_provenance), CASE(test_references)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
