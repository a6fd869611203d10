/* SPDX-License-Identifier: Apache-2.0
 * test_bench.c - quantiles by hand, the rule of verdicts with times made up, reports written and read back, text of /proc. No clock. */
#include "test.h"

#include "base/os.h"
#include "check/bench.h"

#include <math.h>

static void close_to(double a, double b) {
    if (!(fabs(a - b) <= 1e-12 * fabs(b))) print_error("%.17g is not %.17g\n", a, b);
    assert_true(fabs(a - b) <= 1e-12 * fabs(b));
}

/* ---- statistics ------------------------------------------------------------------------------------------------------ */

static void test_summary(void **state) {
    (void)state;
    double t[] = {5, 1, 4, 2, 3}, one[] = {7};
    fy_summary s;
    fy_summarise(&s, t, 5);
    assert_int_equal(s.runs, 5);
    close_to(s.min, 1);
    close_to(s.q1, 2);
    close_to(s.median, 3);
    close_to(s.q3, 4);
    close_to(s.p90, 4.6);
    close_to(s.p99, 4.96);
    close_to(s.mean, 3);
    close_to(s.noise, 1 / 3.0);
    fy_summarise(&s, one, 1);
    close_to(s.median, 7);
    close_to(s.p99, 7);
    assert_true(s.noise == 0);
    fy_summarise(&s, one, 0);
    assert_true(s.median == 0 && s.noise == 0);
}

/* One outlier moves neither median nor noise: that is why they are quartiles. */
static void test_outlier(void **state) {
    (void)state;
    double calm[41], wild[41];
    fy_summary a, b;
    for (int i = 0; i < 41; i++) calm[i] = wild[i] = 1 + 0.001 * (i % 7);
    wild[40] = 1000;
    fy_summarise(&a, calm, 41);
    fy_summarise(&b, wild, 41);
    assert_true(fabs(a.median - b.median) < 0.002 && fabs(a.noise - b.noise) < 0.001);
    assert_true(b.mean > 20);
}

static fy_bench_verdict judge(double then, double then_noise, double now, double now_noise, double *threshold) {
    fy_summary a = {.median = then, .noise = then_noise}, b = {.median = now, .noise = now_noise};
    double change;
    fy_bench_verdict v = fy_bench_judge(&a, &b, &change, threshold);
    close_to(1 + change, now / then);
    return v;
}

static void test_verdict(void **state) {
    (void)state;
    double t;
    assert_int_equal(judge(1, 0, 1, 0, &t), FY_BENCH_SAME);
    close_to(t, 0.02);
    assert_int_equal(judge(1, 0, 1.019, 0, &t), FY_BENCH_SAME);          /* within the floor */
    assert_int_equal(judge(1, 0, 1.021, 0, &t), FY_BENCH_SLOWER);
    assert_int_equal(judge(1, 0, 0.981, 0, &t), FY_BENCH_SAME);
    assert_int_equal(judge(1, 0, 0.979, 0, &t), FY_BENCH_FASTER);
    assert_int_equal(judge(1, 0.03, 1.07, 0.05, &t), FY_BENCH_SAME);     /* the noise of both */
    close_to(t, 0.08);
    assert_int_equal(judge(1, 0.03, 1.09, 0.05, &t), FY_BENCH_SLOWER);
    assert_int_equal(judge(1, 0.05, 0.91, 0.03, &t), FY_BENCH_FASTER);
    assert_int_equal(judge(1e-6, 0.01, 1.05e-6, 0, &t), FY_BENCH_SLOWER);        /* the scale does not matter */
    assert_string_equal(fy_bench_word(FY_BENCH_SLOWER), "slower");
}

static void test_seconds(void **state) {
    (void)state;
    static const struct { double s; const char *text; } table[] = {
        {2.5, "2.5 s"}, {0.25, "250 ms"}, {0.0321, "32.1 ms"}, {0.00402, "4.02 ms"}, {4.5e-4, "450 us"}, {1.25e-5, "12.5 us"}, {1.1e-7, "0.11 us"}};
    for (int i = 0; i < FY_COUNT(table); i++) {
        fy_buf b = {0};
        fy_print_seconds(&b, table[i].s);
        assert_string_equal(b.at, table[i].text);
        fy_buf_free(&b);
    }
}

/* ---- reports --------------------------------------------------------------------------------------------------------- */

static const fy_bench_input input[] = {{"x\"<&", "f32[4,3]"}};

static fy_bench bench_of(double median, double noise) {
    return (fy_bench){.model = "m.onnx", .engine = "ferry", .about = "ferry 1", .cpu = "Some CPU", .isa = "avx2", .input = input, .ninputs = 1, .threads = 2, .batch = 4, .macs = 1000000,
                      .s = {.runs = 9, .min = median, .median = median, .noise = noise, .mean = median}, .flops = 1e10, .memory = {1e6, 2e6, 4e6}};
}

static fy_report *report_of(const fy_bench *b, const fy_bench *then) {
    ferry_error e = {0};
    fy_report *r = fy_report_new(&e);
    assert_non_null(r);
    assert_ok(fy_bench_report(r, b, then, "old.json", &e), e);
    assert_ok(fy_report_finish(r, &e), e);
    return r;
}

static void test_report(void **state) {
    (void)state;
    ferry_error e = {0};
    fy_arena a = {0};
    fy_bench was = bench_of(0.010, 0.01), now = bench_of(0.012, 0.01), back;
    fy_report *first = report_of(&was, NULL);
    assert_int_equal(first->verdict, FERRY_OK);
    assert_non_null(strstr(first->plain.at, "100 runs/s, 400 samples/s"));
    assert_non_null(strstr(first->plain.at, "0.001 GMAC: 0.2 GFLOP/s, 2 % of the 10"));
    assert_non_null(strstr(first->plain.at, "1 MB private, 2 MB of mapped files, 4 MB resident"));
    assert_ok(fy_bench_read(&back, &a, first->json.at, first->json.n, &e), e);
    close_to(back.s.median, 0.010);
    close_to(back.s.noise, 0.01);
    assert_string_equal(back.cpu, "Some CPU");
    assert_int_equal(back.threads, 2);
    fy_report *second = report_of(&now, &back);
    assert_int_equal(second->verdict, FERRY_NO);                         /* a gate that says no */
    assert_non_null(strstr(second->plain.at, "+20.0 %: slower"));
    assert_null(strstr(second->plain.at, "another"));
    const fy_json *doc;
    assert_ok(fy_json_parse(&doc, &a, second->json.at, second->json.n, &e), e);
    assert_true(fy_json_is(fy_json_get(fy_json_get(doc, "against"), "verdict"), "slower"));
    now = bench_of(0.008, 0.01);
    now.cpu = "Another CPU";
    now.threads = 1;
    now.exact = true;
    fy_report *third = report_of(&now, &back);
    assert_int_equal(third->verdict, FERRY_OK);
    assert_non_null(strstr(third->plain.at, "-20.0 %: faster"));
    assert_non_null(strstr(third->plain.at, "another machine: Some CPU then, Another CPU now"));
    assert_non_null(strstr(third->plain.at, "another exact: no then, yes now"));
    assert_non_null(strstr(third->plain.at, "another threads, batch: 2, 4 then, 1, 4 now"));
    fy_report_free(first);
    fy_report_free(second);
    fy_report_free(third);
    fy_arena_free(&a);
}

static void test_garbage(void **state) {
    (void)state;
    static const char *const bad[] = {"", "{", "[]", "null", "7", "{}", "{\"seconds\": 3, \"noise\": 0.1}", "{\"seconds\": {\"median\": \"fast\"}, \"noise\": 0}",
        "{\"seconds\": {\"median\": 0}, \"noise\": 0}", "{\"seconds\": {\"median\": -1}, \"noise\": 0}", "{\"seconds\": {\"median\": 1}}", "{\"seconds\": {\"median\": NaN}, \"noise\": 0}",
        "{\"seconds\": {\"median\": 1}, \"noise\": -0.1}", "{\"seconds\": {\"median\": Infinity}, \"noise\": 0}"};
    for (int i = 0; i < FY_COUNT(bad); i++) {
        ferry_error e = {0};
        fy_arena a = {0};
        fy_bench b;
        if (fy_bench_read(&b, &a, bad[i], strlen(bad[i]), &e) != FY_E_CORRUPT) fail_msg("taken: %s", bad[i]);
        fy_arena_free(&a);
    }
    ferry_error e = {0};
    fy_arena a = {0};
    fy_bench b;
    const char *odd = "{\"seconds\": {\"median\": 1}, \"noise\": 0, \"threads\": 99999999999, \"cpu\": 3, \"exact\": \"yes\"}";
    assert_ok(fy_bench_read(&b, &a, odd, strlen(odd), &e), e);
    assert_true(b.threads == 0 && !b.cpu && !b.exact);
    fy_arena_free(&a);
}

/* ---- the system's words ------------------------------------------------------------------------------------------------ */

static void test_memory(void **state) {
    (void)state;
    fy_memory m = {0};
    fy_memory_read(&m, "00-7f ---p 0 0 [rollup]\nRss:   300 kB\nPss: 200 kB\nAnonymous:  100 kB\nAnonHugePages: 7 kB\n", "Name: x\nVmPeak: 9 kB\nVmHWM:\t 400 kB\n");
    close_to(m.own, 102400);
    close_to(m.mapped, 204800);
    close_to(m.resident, 409600);
    fy_memory_read(&m, "Rss: 150 kB\nAnonymous: 120 kB\n", "");           /* the largest of each stays */
    close_to(m.own, 122880);
    close_to(m.mapped, 204800);
    close_to(m.resident, 409600);
    fy_memory none = {0};
    fy_memory_read(&none, "", "");
    assert_true(none.own == 0 && none.mapped == 0 && none.resident == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summary), cmocka_unit_test(test_outlier), cmocka_unit_test(test_verdict), cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_report), cmocka_unit_test(test_garbage), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
