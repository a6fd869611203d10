/* SPDX-License-Identifier: Apache-2.0
 * test_look.c - lint rules fire where they should and stay silent elsewhere; numbers of info; topics of explain. */
#include "model_text.h"

#include <stdlib.h>

#include "check/check.h"
#include "passes/passes.h"

/* ---- lint ------------------------------------------------------------------------------------------------------------ */

static void test_rules(void **state) {
    static const struct { const char *body; int64_t opset; const char *code; fy_severity severity; const char *where; } table[] = {
        {"(float[n,2] x) => (y) { y = Relu (x) }", 17, NULL, FY_SEV_NOTE, ""},
        {"(float[n,2] x) => (y) { y = Relu (x) }", 0, NULL, FY_SEV_NOTE, ""},
        {"(float[3] x) => (y) { y = Relu (x) }", 13, NULL, FY_SEV_NOTE, ""},
        {"(float[n,2] x) => (y) { y = Relu (x) }", 18, "opset", FY_SEV_NOTE, "model"},
        {"(float[1,2] x) => (y) { y = Relu (x) }", 17, "fixed-batch", FY_SEV_WARNING, "input x"},
        {"(double[n,2] x) => (y) { y = Relu (x) }", 17, "float64", FY_SEV_WARNING, "input x"},
        {"(float[n,2] x) => (y) { d = Cast <to = 11> (x) s = Exp (d) y = Cast <to = 1> (s) }", 17, "float64", FY_SEV_WARNING, "Cast"},
        {"(float[n,2] x, float[k] lost) => (y) { y = Relu (x) }", 17, "unused", FY_SEV_WARNING, "input lost"},
        {"(float[n,2] x) => (y) <float[1] w = {1}> { y = Relu (x) }", 17, "unused", FY_SEV_NOTE, "constant w"},
        {"(float[n,2] x) => (y) { y = com.acme.Twist (x) }", 17, "unsupported", FY_SEV_ERROR, "Twist"},
        {"(float[n,2] x) => (y) <float half = {0.5}, bool yes = {1}> { y = Dropout (x, half, yes) }", 17, "training-mode", FY_SEV_ERROR, "Dropout"},
        {"(float[n,2] x, bool t) => (y) <float half = {0.5}> { y = Dropout (x, half, t) }", 17, "training-mode", FY_SEV_ERROR, "Dropout"},
        {"(float[n,2] x) => (y) <float half = {0.5}, bool no = {0}> { y = Dropout (x, half, no) }", 17, NULL, FY_SEV_NOTE, ""},
        {"(float[n,2] x) => (y) <float[2] s = {1, 1}, float[2] b = {0, 0}, float[2] m = {0, 0}, float[2] v = {1, 1}> { y, p, q = BatchNormalization <training_mode = 1> (x, s, b, m, v) }", 17,
            "training-mode", FY_SEV_ERROR, "BatchNormalization"},
        {"(float[n,2] x) => (y) <float[2] s = {1, 1}, float[2] b = {0, 0}, float[2] m = {0, 0}, float[2] v = {1, 1}> { y = BatchNormalization (x, s, b, m, v) }", 17, NULL, FY_SEV_NOTE, ""},
        {"(float[n,2] x, bool c) => (y) <float half = {0.5}, bool yes = {1}> { y = If <then_branch = t () => (p) { p = Dropout (x, half, yes) }, else_branch = f () => (q) { q = Abs (x) }> (c) }", 17,
            "training-mode", FY_SEV_ERROR, "Dropout"},
        {"(float x) => (y) <int64[4] k = {8192, 8192, 1, 1}> { y = Relu (x) }", 17, "unused", FY_SEV_NOTE, "constant k"}};
    (void)state;
    for (int i = 0; i < FY_COUNT(table); i++) {
        ferry_error e;
        fy_findings f = {0};
        fy_model   *m = model_of(table[i].body);
        assert_ok(fy_lint(&f, m, table[i].opset, &e), e);
        if (f.n != (table[i].code ? 1 : 0)) fail_msg("row %d: %lld findings, the first: %s %s", i, (long long)f.n, f.n ? f.at[0].code : "", f.n ? f.at[0].where : "");
        if (f.n) {
            if (strcmp(f.at[0].code, table[i].code) || f.at[0].severity != table[i].severity || !strstr(f.at[0].where, table[i].where))
                fail_msg("row %d: %s at %s", i, f.at[0].code, f.at[0].where);
            assert_true(f.at[0].what[0] && f.at[0].remedy[0]);
        }
        fy_free(f.at);
        fy_model_free(m);
    }
}

/* 256 MB in one constant, and a graph whose use lists do not agree. */
static void test_rules_beyond_text(void **state) {
    ferry_error e;
    fy_findings f = {0};
    (void)state;
    fy_model *m = model_of("(float[n,2] x) => (y) <float w = {1}> { y = Mul (x, w) }");
    int64_t dim[2] = {64 << 10, 1 << 10};
    m->graph->constants.at[0]->constant = fy_const_splat(&m->arena, FERRY_FLOAT, 2, dim, 1);
    assert_ok(fy_lint(&f, m, 17, &e), e);
    assert_int_equal(f.n, 1);
    assert_string_equal(f.at[0].code, "huge-constant");
    f.n = 0;
    m->graph->first->in[0].slot = 5;
    assert_ok(fy_lint(&f, m, 17, &e), e);
    assert_int_equal(f.at[0].severity, FY_SEV_ERROR);
    assert_string_equal(f.at[0].code, "GRAPH");
    m->graph->first->in[0].slot = 0;
    fy_free(f.at);
    fy_model_free(m);
}

static void test_check_report(void **state) {
    static const struct { const char *body; bool strict; int verdict; } table[] = {{"(float[n,2] x) => (y) { y = Relu (x) }", true, FERRY_OK}, {"(float[1,2] x) => (y) { y = Relu (x) }", false, FERRY_OK},
        {"(float[1,2] x) => (y) { y = Relu (x) }", true, FERRY_NO}, {"(float[n,2] x) => (y) { y = com.acme.F (x) }", false, FERRY_NO}};
    (void)state;
    for (int i = 0; i < FY_COUNT(table); i++) {
        ferry_error e;
        fy_findings f = {0};
        fy_model   *m = model_of(table[i].body);
        fy_report  *r = fy_report_new(&e);
        assert_ok(fy_lint(&f, m, 17, &e), e);
        assert_ok(fy_check_report(r, "m \"1\".onnx", &f, table[i].strict, &e), e);
        assert_int_equal(r->verdict, table[i].verdict);
        assert_non_null(strstr(r->json.at, table[i].verdict ? "\"ok\": false" : "\"ok\": true"));
        assert_non_null(strstr(r->json.at, "m \\\"1\\\".onnx"));
        fy_report_free(r);
        fy_free(f.at);
        fy_model_free(m);
    }
}

/* ---- info ------------------------------------------------------------------------------------------------------------- */

static void test_macs(void **state) {
    static const struct { const char *body; int64_t macs; } table[] = {
        {"(float[1,3,8,8] x, float[16,3,3,3] w) => (y) { y = Conv <pads = [1, 1, 1, 1]> (x, w) }", 16 * 8 * 8 * 27},
        {"(float[2,4,8,8] x, float[8,2,1,1] w) => (y) { y = Conv <group = 2, strides = [2, 2]> (x, w) }", 2 * 8 * 4 * 4 * 2},
        {"(float[1,4,5,5] x, float[4,6,2,2] w) => (y) { y = ConvTranspose <strides = [2, 2]> (x, w) }", 4 * 25 * 6 * 4},
        {"(float[5,7] x, float[7,3] w) => (y) { y = MatMul (x, w) }", 105},
        {"(float[2,3,5,7] x, float[7,4] w) => (y) { y = MatMul (x, w) }", 2 * 3 * 5 * 7 * 4},
        {"(float[7,5] x, float[3,7] w) => (y) { y = Gemm <transA = 1, transB = 1> (x, w) }", 105},
        {"(float[n,7] x, float[7,3] w) => (y) { y = MatMul (x, w) }", -1},
        {"(float[2,7] x) => (y) { y = Relu (x) }", 0},
        {"(float[2,7] x, float[2,7] w) => (y) { y = Add (x, w) }", 0},
        {"(float[1,2,6,4] q, float[1,2,9,4] k, float[1,2,9,4] v) => (y) { y = Attention (q, k, v) }", 2 * 2 * 6 * 4 * 9},
        {"(float[2,6,12] q, float[2,9,6] k, float[2,9,10] v) => (y) { y = Attention <q_num_heads = 2, kv_num_heads = 1> (q, k, v) }", 2 * 2 * 6 * 9 * (6 + 10)},
        {"(float[1,2,1,4] q, float[1,2,1,4] k, float[1,2,1,4] v, float[1,2,9,4] pk, float[1,2,9,4] pv) => (y) { y = Attention (q, k, v, , pk, pv) }", 2 * 2 * 4 * 10}};
    (void)state;
    for (int i = 0; i < FY_COUNT(table); i++) {
        fy_model *m = model_of(table[i].body);
        if (fy_node_macs(m->graph->first) != table[i].macs) fail_msg("row %d: %lld", i, (long long)fy_node_macs(m->graph->first));
        fy_model_free(m);
    }
}

static void test_info(void **state) {
    ferry_error e;
    fy_model   *m = model_of("(float[n,4] x) => (y) <float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[3] b = {1,2,3}, int64[2] k = {0, 3}, float[9] unused = {1,2,3,4,5,6,7,8,9}> "
        "{ a = MatMul (x, w) c = Add (a, b) d = Relu (c) y = Reshape (d, k) }");
    (void)state;
    for (int shapes = 0; shapes < 2; shapes++) {
        fy_report *r = fy_report_new(&e);
        assert_ok(fy_info_report(r, "m.onnx", m, 17, NULL, shapes, &e), e);
        assert_non_null(strstr(r->json.at, "\"parameters\": 15"));
        assert_non_null(strstr(r->json.at, "\"weight_bytes\": 76"));
        assert_non_null(strstr(r->json.at, "\"nodes\": 4"));
        assert_non_null(strstr(r->json.at, "\"nodes_of_dynamic_size\": 1"));
        assert_non_null(strstr(r->json.at, "\"opset\": 17"));
        assert_true((strstr(r->json.at, "\"values\"") != NULL) == shapes);
        assert_non_null(strstr(r->text.at, "f32[n,4]"));
        fy_report_free(r);
    }
    fy_model_free(m);
}

/* ---- explain ---------------------------------------------------------------------------------------------------------- */

static void test_explain(void **state) {
    static const struct { const char *topic, *part; } table[] = {{"AXIS", "exit code"}, {"Conv", "first in opset"}, {"Conv", "strides"}, {"Cast", "required"}, {"fold", "--skip-pass fold"},
        {"FERRY_THREADS", "default \"0\""}, {"", "Softmax"}, {"", "batch-norm"}, {NULL, "FERRY_CPU"}};
    ferry_error e;
    (void)state;
    for (int i = 0; i < FY_COUNT(table); i++) {
        fy_report *r = fy_report_new(&e);
        assert_ok(fy_explain_report(r, table[i].topic, &e), e);
        if (!strstr(r->plain.at, table[i].part)) fail_msg("%s: %s", table[i].topic, r->plain.at);
        assert_non_null(strstr(r->json.at, "\"topic\""));
        fy_report_free(r);
    }
    static const struct { const char *topic, *near; } wrong[] = {{"Cnov", "Conv"}, {"AXES", "AXIS"}, {"batchnorm", "batch-norm"}, {"FERRY_THREAD", "FERRY_THREADS"}, {"zzzzzzzzzz", ""}};
    for (int i = 0; i < FY_COUNT(wrong); i++) {
        fy_report *r = fy_report_new(&e);
        assert_fails(fy_explain_report(r, wrong[i].topic, &e), NAME);
        if (!strstr(e.text, wrong[i].near)) fail_msg("%s: %s", wrong[i].topic, e.text);
        fy_report_free(r);
    }
}

/* Every topic that the list names can be explained. */
static void test_every_topic(void **state) {
    ferry_error e;
    fy_report  *list = fy_report_new(&e);
    (void)state;
    assert_ok(fy_explain_report(list, "", &e), e);
    int n = 0;
    for (char *p = strchr(list->plain.at, '\n') + 1; *p; n++) {
        char *end = strchr(p, '\n');
        *end = 0;
        fy_report *r = fy_report_new(&e);
        assert_ok(fy_explain_report(r, p + strspn(p, " "), &e), e);
        fy_report_free(r);
        p = end + 1;
    }
    assert_true(n > 150);
    fy_report_free(list);
}

/* ops.txt says what each operator means, and each of its attributes. */
static void test_meanings(void **state) {
    const fy_registry *ops = fy_registry_builtin();
    ferry_error e;
    (void)state;
    for (int i = 0; i < fy_registry_count(ops); i++) {
        const fy_op *op = fy_registry_at(ops, i);
        char topic[128], line[128];
        snprintf(topic, sizeof topic, "%s.%s", *op->domain ? op->domain : "ai.onnx", op->name);
        fy_report *r = fy_report_new(&e);
        assert_ok(fy_explain_report(r, topic, &e), e);
        snprintf(line, sizeof line, "%s: ", op->name);
        if (strncmp(r->plain.at, line, strlen(line)) || r->plain.at[strlen(line)] == '\n') fail_msg("%s", topic);
        for (const fy_attr_spec *a = op->attrs; a && a->name; a++) {
            snprintf(line, sizeof line, "\n  %-20s ", a->name);
            const char *at = strstr(r->plain.at, line);
            if (!at || strchr(" \n", at[strlen(line)])) fail_msg("%s: %s", topic, a->name);
        }
        fy_report_free(r);
    }
}

static void test_ops(void **state) {
    ferry_error e;
    (void)state;
    for (int i = 1; i < 4; i++) {
        fy_report *r = fy_report_new(&e);
        assert_ok(fy_ops_report(r, i & 1, i & 2, &e), e);
        assert_true((strstr(r->json.at, "\"onnx\"") != NULL) == (i & 1));
        assert_true((strstr(r->json.at, "aten.conv2d.default") != NULL) == ((i & 2) != 0));
        fy_report_free(r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules), cmocka_unit_test(test_rules_beyond_text), cmocka_unit_test(test_check_report), cmocka_unit_test(test_macs),
        cmocka_unit_test(test_info), cmocka_unit_test(test_explain), cmocka_unit_test(test_every_topic), cmocka_unit_test(test_meanings), cmocka_unit_test(test_ops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
