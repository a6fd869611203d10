/* SPDX-License-Identifier: Apache-2.0
 * test_ml.c - versions of ai.onnx.ml: LabelEncoder of version 1 raised in both directions, imports by what the graph holds, refusals. */
#include "test.h"

#include "base/os.h"
#include "formats/onnx.h"
#include "opset/opset.h"

static int64_t imported(const fy_model *m, const char *domain) {
    for (int64_t i = 0; i < m->imports.n; i++)
        if (!strcmp(m->imports.at[i].domain, domain)) return m->imports.at[i].version;
    return 0;
}

static fy_model *read(const char *name, ferry_error *e) {
    char path[600];
    fy_model *m;
    snprintf(path, sizeof path, FERRY_FIXTURES "/onnx/%s.onnx", name);
    assert_ok(fy_onnx_read(&m, path, fy_registry_builtin(), e), *e);
    return m;
}

static void test_label_encoder(void **state) {
    ferry_error e;
    int64_t n;
    (void)state;
    fy_model *m = read("ml1", &e);
    assert_int_equal(imported(m, "ai.onnx.ml"), 1);
    assert_ok(fy_opset_raise(m, &e), e);
    assert_ok(fy_infer_model(m, &e), e);
    assert_ok(fy_model_verify(m, &e), e);
    assert_int_equal(imported(m, "ai.onnx.ml"), 2);
    const fy_node *to = m->graph->first, *back = to->next;
    assert_null(fy_attr_get(to, "classes_strings"));
    assert_int_equal(fy_attr_get(to, "keys_strings")->n, 2);
    assert_true(fy_attr_ints(to, "values_int64s", &n)[1] == 1 && n == 2);
    assert_int_equal(fy_attr_i(to, "default_int64"), -5);
    assert_true(fy_attr_ints(back, "keys_int64s", &n)[1] == 1 && n == 2);
    assert_int_equal(fy_attr_get(back, "values_strings")->n, 2);
    assert_int_equal(to->out[0]->type.dtype, FERRY_INT64);
    assert_int_equal(back->out[0]->type.dtype, FERRY_STRING);
    assert_ok(fy_opset_lower(m, 13, &e), e);                 /* ai.onnx goes down, ai.onnx.ml stays at what its nodes need */
    assert_int_equal(imported(m, "ai.onnx.ml"), 2);
    assert_int_equal(imported(m, ""), 13);
    fy_buf bytes = {0};
    fy_model *again;
    assert_ok(fy_onnx_write_memory(m, &bytes, &e), e);
    assert_ok(fy_onnx_read_memory(&again, bytes.at, bytes.n, "again", fy_registry_builtin(), &e), e);
    assert_ok(fy_opset_raise(again, &e), e);
    assert_ok(fy_infer_model(again, &e), e);
    fy_model_free(again);
    fy_buf_free(&bytes);
    fy_model_free(m);
}

static void test_versions(void **state) {
    static const struct { const char *name; int64_t file, raised, ir; } table[] = {{"ml", 3, 2, 7}, {"ml1", 1, 2, 7}, {"ml5", 5, 5, 10}};
    ferry_error e;
    (void)state;
    for (int i = 0; i < FY_COUNT(table); i++) {
        fy_model *m = read(table[i].name, &e);
        assert_int_equal(imported(m, "ai.onnx.ml"), table[i].file);
        assert_ok(fy_opset_raise(m, &e), e);
        assert_int_equal(imported(m, "ai.onnx.ml"), table[i].raised);
        if (i > 0) {
            assert_ok(fy_opset_lower(m, 13, &e), e);
            assert_int_equal(m->ir_version, table[i].ir);
        }
        fy_model_free(m);
    }
    fy_model *m = read("ml1", &e);
    for (int64_t i = 0; i < m->imports.n; i++)
        if (*m->imports.at[i].domain) m->imports.at[i].version = 6;
    assert_int_equal(fy_opset_raise(m, &e), FY_E_OPSET);
    assert_non_null(strstr(e.text, "ai.onnx.ml 6"));
    fy_model_free(m);
}

static void test_no_memory(void **state) {
    ferry_error e;
    (void)state;
    for (int64_t k = 0; k < 2000; k++) {
        size_t before = fy_os_bytes();
        fy_model *m = read("ml1", &e);
        fy_os_fail_at(k, false);
        fy_status s = fy_opset_raise(m, &e);
        bool reached = fy_os_calls() > k;
        fy_os_fail_at(-1, false);
        fy_model_free(m);
        assert_int_equal(fy_os_bytes(), before);
        if (!reached) { assert_int_equal(s, FY_OK); return; }
        assert_true(s == FY_E_NOMEM || s == FY_OK);          /* inference between steps is quiet: that of the whole model reports */
    }
    fail();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_label_encoder), cmocka_unit_test(test_versions), cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
