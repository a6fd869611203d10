/* SPDX-License-Identifier: Apache-2.0
 * test_speed.c - ferry_bench, ferry_profile and ferry_explain of a node as a program calls them: options, files, errors, no memory. What is
 * measured is never looked at. */
#include "api_files.h"

#include "base/os.h"

#define MLP FERRY_FIXTURES "/onnx/mlp.onnx"

typedef int command(const char *model, const ferry_job *job, ferry_report **r, ferry_error *e);

static int ask(command *f, const char *model, ferry_report **r, ferry_error *e, size_t n, const ferry_option *o) {
    ferry_job job = {o, n, NULL, NULL};
    *r = NULL;
    return f(model, &job, r, e);
}
#define ASK(f, r, e, ...) ask(f, MLP, r, e, sizeof((ferry_option[]){__VA_ARGS__}) / sizeof(ferry_option), (ferry_option[]){__VA_ARGS__})

static void test_bench(void **state) {
    (void)state;
    ferry_report *r;
    ferry_error e;
    assert_int_equal(ASK(ferry_bench, &r, &e, {"seconds", "0"}, {"threads", "1"}, {"sizes", "batch=2,seq=3"}, {"save", "saved.json"}, {"exact", ""}), FERRY_OK);
    assert_non_null(strstr(ferry_report_json(r), "\"type\": \"f32[2,7,3]\""));
    assert_non_null(strstr(ferry_report_json(r), "\"exact\": true"));
    assert_non_null(strstr(ferry_report_json(r), "\"batch\": 2"));
    ferry_report_free(r);
    FILE *f = fopen("saved.json", "w");                      /* a run that no other is slower than */
    assert_non_null(f);
    fputs("{\"seconds\": {\"median\": 1e9}, \"noise\": 0}", f);
    fclose(f);
    assert_int_equal(ASK(ferry_bench, &r, NULL, {"seconds", "0"}, {"against", "saved.json"}), FERRY_OK);
    assert_non_null(strstr(ferry_report_json(r), "\"verdict\": \"faster\""));
    ferry_report_free(r);
}

static void test_precision(void **state) {
    (void)state;
    ferry_report *r;
    ferry_error e;
    assert_int_equal(ASK(ferry_bench, &r, &e, {"seconds", "0"}, {"precision", "bf16"}), FERRY_OK);
    assert_non_null(strstr(ferry_report_json(r), "precision bf16"));
    ferry_report_free(r);
    assert_int_equal(ASK(ferry_bench, &r, &e, {"seconds", "0"}, {"precision", "fp8"}), FERRY_USAGE);
    assert_non_null(strstr(e.text, "neither f32 nor bf16"));
    assert_int_equal(ASK(ferry_bench, &r, &e, {"seconds", "0"}, {"engine", "reference"}, {"precision", "bf16"}), FERRY_USAGE);
    assert_non_null(strstr(e.text, "computes in f32"));
    assert_int_equal(ASK(ferry_profile, &r, &e, {"seconds", "0"}, {"precision", "bf16"}), FERRY_OK);
    assert_non_null(strstr(ferry_report_json(r), "matmul.bf16"));
    ferry_report_free(r);
}

static void test_errors(void **state) {
    (void)state;
    static const struct { ferry_option o; int kind; const char *part; } table[] = {
        {{"second", "1"}, FERRY_USAGE, "did you mean 'seconds'"}, {{"seconds", "-1"}, FERRY_USAGE, "seconds"}, {{"seconds", "nan"}, FERRY_USAGE, "seconds"},
        {{"threads", "0"}, FERRY_USAGE, "threads"}, {{"batch", "0"}, FERRY_USAGE, "batch"}, {{"batch", "9999999999"}, FERRY_USAGE, "batch"}, {{"sizes", "batch"}, FERRY_USAGE, "SYMBOL=N"},
        {{"engine", "fast"}, FERRY_USAGE, "there is no engine"}, {{"seed", "x"}, FERRY_USAGE, "seed"}};
    for (int i = 0; i < FY_COUNT(table); i++)
        for (int c = 0; c < 2; c++) {
            ferry_error e = {0};
            ferry_report *r;
            if (ask(c ? ferry_profile : ferry_bench, MLP, &r, &e, 1, &table[i].o) != table[i].kind || r || !strstr(e.text, table[i].part)) fail_msg("row %d: %s", i, e.text);
            assert_int_equal(ask(c ? ferry_profile : ferry_bench, MLP, &r, NULL, 1, &table[i].o), table[i].kind);
        }
    ferry_error e;
    ferry_report *r;
    assert_int_equal(ask(ferry_bench, "no/such.onnx", &r, &e, 0, NULL), FERRY_IO);
    assert_int_equal(ASK(ferry_profile, &r, &e, {"engine", "reference"}), FERRY_USAGE);
    assert_int_equal(ASK(ferry_explain, &r, &e, {"node", "nobody"}), FERRY_USAGE);
    ferry_option node = {"node", "1"};
    assert_int_equal(ask(ferry_explain, "", &r, &e, 1, &node), FERRY_USAGE);
    assert_int_equal(ask(ferry_explain, NULL, &r, &e, 1, &node), FERRY_USAGE);
}

static void test_profile(void **state) {
    (void)state;
    ferry_report *r;
    ferry_error e;
    assert_int_equal(ASK(ferry_profile, &r, &e, {"seconds", "0"}, {"threads", "1"}, {"html", "p.html"}, {"trace", "t.json"}, {"batch", "5"}), FERRY_OK);
    assert_non_null(strstr(ferry_report_json(r), "f32[5,"));
    assert_int_equal(access("p.html", R_OK) | access("t.json", R_OK), 0);
    ferry_report_free(r);
}


/* Each allocation fails in turn (here: every `step`th, to stay short): a kind and a sentence, nothing left behind. */
static void no_memory(command *f, int step, size_t n, const ferry_option *o) {
    size_t before = fy_os_bytes();
    for (int64_t k = 0;; k += step) {
        ferry_error e = {0};
        ferry_report *r;
        fy_os_fail_at(k, false);
        int kind = ask(f, MLP, &r, &e, n, o);
        bool reached = fy_os_calls() > k;
        fy_os_fail_at(-1, false);
        if (kind && kind != FERRY_NO && (!e.code || !e.text[0] || r)) fail_msg("call %lld: kind %d", (long long)k, kind);
        ferry_report_free(r);
        assert_int_equal(fy_os_bytes(), before);
        if (!reached) { assert_int_equal(kind, FERRY_OK); break; }
    }
}

static void test_no_memory(void **state) {
    (void)state;
    no_memory(ferry_explain, 1, 1, (const ferry_option[]){{"node", "0"}});
    no_memory(ferry_profile, 13, 3, (const ferry_option[]){{"seconds", "0"}, {"threads", "1"}, {"html", "m.html"}});
    no_memory(ferry_bench, 13, 2, (const ferry_option[]){{"seconds", "0"}, {"threads", "1"}});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bench), cmocka_unit_test(test_precision), cmocka_unit_test(test_errors), cmocka_unit_test(test_profile), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
