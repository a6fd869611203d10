/* SPDX-License-Identifier: Apache-2.0
 * test_custom.c - programs with operators of torch.library: exported by a text of mappings and by a shared object, run, compared with what PyTorch
 * computed; texts that cannot be; every allocation failing. */
#include "api_files.h"

#include "base/os.h"
#include "ferry/plugin.h"
#include "formats/npz.h"

#define CUSTOM FERRY_FIXTURES "/pt2/custom/"
#define MAPPED FERRY_BINARY_DIR "/tests/plugins/mapped.so"

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int written(const char *name, const char *plugin, ferry_error *e) {
    char from[400], to[40];
    ferry_report *r = NULL;
    snprintf(from, sizeof from, CUSTOM "%s", name);
    snprintf(to, sizeof to, "%.*s.onnx", (int)strcspn(name, "."), name);
    const char *const trace[] = {"dynamic", "x:0=batch", plugin ? "plugin" : NULL, plugin, NULL};
    int kind = export_to(from, to, strstr(name, ".pt2") ? plugin ? OPTIONS("plugin", plugin) : NONE : trace, &r, e);
    ferry_report_free(r);
    return kind;
}

/* The written model against the recorded outputs, at both sizes. */
static void agrees(const char *name, const char *plugin) {
    char record[400], model[40];
    ferry_error e = {0};
    ferry_report *r = NULL;
    snprintf(record, sizeof record, CUSTOM "%s.npz", name);
    snprintf(model, sizeof model, "%s.onnx", name);
    for (int other = 0; other < 2; other++) {
        char against[40];
        snprintf(against, sizeof against, "%s%d.npz", name, other);
        fy_named_list all = {0}, some = {0};
        assert_ok(fy_npz_read(&all, record, &e), e);
        static const char *const from[2][3] = {{"in0", "out0", "out1"}, {"other_in0", "other_out0", "other_out1"}}, *const to[] = {"x", "output_0", "output_1"};
        for (int i = 0; i < 3; i++) {
            const fy_tensor *t = fy_named_find(&all, from[other][i]);
            assert_non_null(t);
            assert_ok(fy_named_add(&some, to[i], t, &e), e);
        }
        assert_ok(fy_npz_write(&some, against, &e), e);
        fy_named_free(&all);
        fy_named_free(&some);
        ferry_option o[3] = {{"against", against}, {"engine", "ferry"}, {"plugin", plugin}};
        ferry_job job = {o, plugin ? 3 : 2, NULL, NULL};
        int kind = ferry_verify(model, &job, &r, &e);
        if (kind) print_error("%s: %s\n", name, e.text);
        assert_int_equal(kind, FERRY_OK);
        ferry_report_free(r);
    }
}

/* A model of one custom operator: refused by name, written with a mapping. */
static void only_mapped(const char *file) {
    ferry_error e = {0};
    assert_int_equal(written(file, NULL, &e), FERRY_BAD_MODEL);
    assert_string_equal(e.code, "ATEN");
    assert_int_equal(written(file, CUSTOM "custom.map", &e), FERRY_OK);
    agrees("soft", NULL);
}

static void test_text(void **state) {
    (void)state;
    ferry_error e = {0};
    only_mapped("soft.pt2");
    /* a node that nobody can run is written, and said not to be verified */
    assert_int_equal(written("custom.pt2", CUSTOM "custom.map", &e), FERRY_OK);
    agrees("custom", MAPPED);
}

/* The same as traces: the reader needs to know what such a call gives. */
static void test_trace(void **state) {
    (void)state;
    ferry_error e = {0};
    only_mapped("soft.pt");
    assert_int_equal(written("custom.pt", MAPPED, &e), FERRY_OK);
    agrees("custom", MAPPED);
    assert_int_equal(written("custom.pt", CUSTOM "custom.map", &e), FERRY_BAD_MODEL);        /* nobody says that Shifts gives two tensors */
    assert_string_equal(e.code, "UNSUPPORTED");
}

static void test_object(void **state) {
    (void)state;
    ferry_error e = {0};
    assert_int_equal(written("custom.pt2", MAPPED, &e), FERRY_OK);
    agrees("custom", MAPPED);
}

static void test_bad(void **state) {
    (void)state;
    static const struct { const char *text, *says; } bad[] = {
        {"mylib::soft(Tensor x", "never closed"},
        {"mylib::soft", "schema is expected"},
        {"mylib::soft(Tensor x) => Relu(x)", "\"->\" is expected"},
        {"\n\nmylib::soft(Tensor x) -> Rellu(x)", "line 3: there is no such ONNX operator"},
        {"mylib::soft(Tensor x) -> Relu(y)", "no argument of the schema"},
        {"mylib::soft(Tensor x) -> Relu(x x)", "a comma"},
        {"mylib::soft(Tensor x) -> a.b(x) {alpha 3}", "name = value"},
        {"mylib::soft(Tensor x) -> a.b(x) {alpha = \"3}", "never closed"},
        {"mylib::soft(Tensor x) -> a.b(x) {alpha = beta}", "no argument of the schema"},
        {"mylib::soft(Tensor x) -> a.b(x) {alpha = 3..2}", "a number or a text"},
        {"mylib::soft(Tensor x) -> .b(x)", "no name"},
        {"mylib::soft(Tensor x) -> (y) Relu", "a body in braces"},
        {"mylib::soft(Tensor x) -> (y) { y = Relu (z) }", "z"},
        {"mylib::soft(Tensor x) -> (y) { y = Relu (x) # }", "never closed"},
        {"mylib::soft(Tensor x) -> Relu(x)\nmylib::soft(Tensor x) -> Relu(x)", "line 2: the operator has a mapping already"},
    };
    for (int i = 0; i < FY_COUNT(bad); i++) {
        ferry_error e = {0};
        unlink("soft.onnx");
        write_text("bad.map", bad[i].text);
        if (written("soft.pt2", "bad.map", &e) != FERRY_BAD_MODEL) fail_msg("\"%s\" gives \"%s\"", bad[i].text, e.text);
        bool said = strstr(e.text, bad[i].says) != NULL;
        for (int k = 0; k < e.nframes; k++) said = said || strstr(e.frame[k], bad[i].says);
        if (!said) fail_msg("\"%s\" says \"%s\", not \"%s\"", bad[i].text, e.text, bad[i].says);
        assert_false(exists("soft.onnx"));
    }
    ferry_error e = {0};
    write_text("good.map", "mylib::soft(Tensor x, float k=2.0) -> (y) { # a } and a \" in a comment\n y = Relu (x) #}\n}");
    if (written("soft.pt2", "good.map", &e) != FERRY_OK) fail_msg("comments in a body: %s", e.text);
    unlink("soft.onnx");
    assert_int_equal(written("soft.pt2", "nowhere.map", &e), FERRY_IO);
    write_text("bad.map", "mylib::soft(Tensor x, float k=2.0) -> Conv(x) {k = k}");       /* what the node says of itself is checked as ever */
    assert_int_not_equal(written("soft.pt2", "bad.map", &e), FERRY_OK);
}

static void test_memory(void **state) {
    (void)state;
    for (int64_t k = 0; k < 20000; k += k < 400 ? 1 : 37) {
        ferry_error e = {0};
        ferry_registry *r = ferry_registry_new(&e);
        fy_os_fail_at(k, false);
        int kind = r ? ferry_registry_load(r, CUSTOM "custom.map", &e) : FERRY_OK;
        fy_os_fail_at(-1, false);
        ferry_registry_free(r);
        if (!kind) return;
        assert_true(e.code && *e.code);
    }
    fail_msg("never enough");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_trace), cmocka_unit_test(test_object), cmocka_unit_test(test_bad), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
