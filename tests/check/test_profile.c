/* SPDX-License-Identifier: Apache-2.0
 * test_profile.c - the forms of a profile, from records made up: JSON and trace parse, the page is well-formed and needs nothing from
 * outside, names from files do no harm, boxes do not overlap, sums and shares by hand. No clock. */
#include "test.h"

#include "base/os.h"
#include "check/profile.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

static const int from0[] = {0}, from01[] = {0, 1};
static const fy_bench_input input[] = {{"x", "f32[1,3]"}};

static fy_profile_step three[3];

static fy_profile small(void) {
    three[0] = (fy_profile_step){.op = "Conv", .impl = "conv.direct", .name = "a", .nodes = "Conv a + Relu b", .source = "m.py:3", .types = "f32[1] -> f32[1]", .seconds = 0.003, .begin = 0, .took = 0.0031,
                                 .macs = 1500000, .bytes = 1000};
    three[1] = (fy_profile_step){.op = "Add", .impl = "binary", .name = "", .nodes = "Add", .source = "", .types = "f32[1] -> f32[1]", .seconds = 0.001, .begin = 0.0032, .took = 0.001, .bytes = 2000000,
                                 .nfrom = 1, .from = from0};
    three[2] = (fy_profile_step){.op = "Conv", .impl = "interpreter", .name = "c", .nodes = "Conv c", .source = "", .types = "?", .seconds = 0.006, .begin = 0.0043, .took = 0.006, .macs = -1, .nfrom = 2,
                                 .from = from01};
    return (fy_profile){.model = "m.onnx", .about = "ferry 1", .cpu = "Some CPU", .isa = "avx2", .input = input, .ninputs = 1, .threads = 1, .nsteps = 3, .step = three,
                        .s = {.runs = 5, .median = 0.0105}, .flops = 2e9, .bytes = 4e9};
}

/* ---- a checker of XML, as much of it as we write ------------------------------------------------------------------------- */

/* Every element closed in order, attributes quoted, no stray < & or control character. */
static const char *xml_fault(const char *p) {
    static char why[120];
    char open[64][24];
    int depth = 0;
    if (!strncmp(p, "<!DOCTYPE html>", 15)) p += 15;
    while (*p) {
        if (*p == '&') {
            if (strncmp(p, "&amp;", 5) && strncmp(p, "&lt;", 4) && strncmp(p, "&gt;", 4) && strncmp(p, "&quot;", 6)) return "a bare &";
            p++;
        } else if (*p == '<' && p[1] == '/') {
            size_t n = strcspn(p + 2, ">");
            if (!depth || strlen(open[depth - 1]) != n || strncmp(open[depth - 1], p + 2, n)) {
                (void)snprintf(why, sizeof why, "</%.*s> closes %s", (int)(n < 20 ? n : 20), p + 2, depth ? open[depth - 1] : "nothing");
                return why;
            }
            depth--;
            p += n + 3;
        } else if (*p == '<') {
            size_t n = strcspn(p + 1, " />");
            if (!n || n >= 24 || depth == 64 || !isalpha((unsigned char)p[1])) return "a bare <";
            memcpy(open[depth], p + 1, n);
            open[depth][n] = 0;
            for (p += 1 + n; *p == ' ';) {
                p += 1 + strspn(p + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-:");
                if (p[0] != '=' || p[1] != '"') return "an attribute without quotes";
                p += 2;
                p += strcspn(p, "\"<");
                if (*p != '"') return "an attribute that does not end";
                p++;
            }
            if (*p == '/' && p[1] == '>') p += 2;
            else if (*p == '>') { p++; depth++; }
            else return "a tag that does not end";
        } else if ((unsigned char)*p < 32 && *p != '\n') return "a control character";
        else p++;
    }
    return depth ? "elements stay open" : NULL;
}

static void good_page(const fy_profile *p, fy_buf *out) {
    ferry_error e = {0};
    assert_ok(fy_profile_html(out, p, &e), e);
    const char *why = xml_fault(out->at);
    if (why) print_error("%s\n", why);
    assert_null(why);
    assert_null(strstr(out->at, "<script"));
    assert_null(strstr(out->at, "<link"));
    assert_null(strstr(out->at, " src="));
    const char *outside = strstr(out->at, "http");
    while (outside) {                                        /* the name of SVG itself is no address that is asked */
        assert_int_equal(strncmp(outside, "http://www.w3.org/2000/svg\"", 27), 0);
        outside = strstr(outside + 1, "http");
    }
}

/* ---- sums ----------------------------------------------------------------------------------------------------------------- */

static void test_sums(void **state) {
    (void)state;
    fy_profile p = small();
    fy_arena a = {0};
    ferry_error e = {0};
    fy_profile_op *ops;
    int n, *order;
    assert_true(fabs(fy_profile_total(&p) - 0.010) < 1e-12);
    assert_ok(fy_profile_ops(&ops, &n, &a, &p, &e), e);
    assert_int_equal(n, 2);
    assert_string_equal(ops[0].op, "Conv");
    assert_int_equal(ops[0].steps, 2);
    assert_true(ops[0].macs == 1500000 && fabs(ops[0].seconds - 0.009) < 1e-12);
    assert_ok(fy_profile_order(&order, &a, &p, &e), e);
    assert_true(order[0] == 2 && order[1] == 0 && order[2] == 1);
    assert_true(fabs(fy_profile_roof(&p, &three[0]) - 0.5) < 1e-12);     /* 3e6 operations at 2e9 a second: 1.5 of 3 ms */
    assert_true(fabs(fy_profile_roof(&p, &three[1]) - 0.5) < 1e-12);     /* 2e6 bytes at 4e9: 0.5 of 1 ms */
    assert_true(fy_profile_roof(&p, &three[2]) == 0);
    fy_arena_free(&a);
}

static void test_report(void **state) {
    (void)state;
    fy_profile p = small();
    fy_arena a = {0};
    ferry_error e = {0};
    fy_report *r = fy_report_new(&e);
    const fy_json *doc;
    assert_ok(fy_profile_report(r, &p, &e), e);
    assert_ok(fy_report_finish(r, &e), e);
    assert_ok(fy_json_parse(&doc, &a, r->json.at, r->json.n, &e), e);
    const fy_json *steps = fy_json_get(doc, "steps");
    int n = 0;
    for (const fy_json *s = steps->child; s; s = s->next) assert_int_equal(fy_json_get(s, "step")->i, n++);
    assert_int_equal(n, 3);
    assert_true(fy_json_is(fy_json_get(steps->child, "implementation"), "conv.direct"));
    assert_non_null(strstr(r->plain.at, "90.0 %     9.000      2"));
    assert_non_null(strstr(r->plain.at, "Conv a + Relu b"));
    assert_non_null(strstr(r->plain.at, "from m.py:3"));
    fy_report_free(r);
    fy_arena_free(&a);
}

static void test_trace(void **state) {
    (void)state;
    fy_profile p = small();
    fy_buf b = {0};
    fy_arena a = {0};
    ferry_error e = {0};
    const fy_json *doc;
    fy_profile_trace(&b, &p);
    assert_ok(fy_json_parse(&doc, &a, b.at, b.n, &e), e);
    int complete = 0, named = 0;
    for (const fy_json *v = fy_json_get(doc, "traceEvents")->child; v; v = v->next) {
        named += fy_json_is(fy_json_get(v, "ph"), "M");
        if (!fy_json_is(fy_json_get(v, "ph"), "X")) continue;
        assert_true(fy_json_get(v, "ts") && fy_json_get(v, "dur") && fy_json_get(v, "pid") && fy_json_get(v, "tid"));
        if (complete == 2) assert_true(fabs(fy_json_get(v, "ts")->f - 4300) < 1e-6);     /* microseconds */
        complete++;
    }
    assert_true(complete == 3 && named == 2);
    fy_buf_free(&b);
    fy_arena_free(&a);
}

/* ---- the page --------------------------------------------------------------------------------------------------------------- */

static void test_page(void **state) {
    (void)state;
    fy_profile p = small();
    fy_buf b = {0};
    good_page(&p, &b);
    assert_non_null(strstr(b.at, "<g id=\"s2\">"));
    assert_non_null(strstr(b.at, "Conv a + Relu b"));
    fy_buf_free(&b);
}

static void test_hostile_names(void **state) {
    (void)state;
    static const char *const bad[] = {"</title><script>alert(1)</script>", "a&b \"c\" 'd' <e>", "\x01\x1f\x7f", "\xff\xfe cut \xc3", "\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82\xe5\xb1\x82",
        "a very long name of a node that goes on and on & on <and on> until nobody reads it any more"};
    for (int i = 0; i < FY_COUNT(bad); i++) {
        fy_profile p = small();
        fy_buf b = {0}, trace = {0};
        fy_arena a = {0};
        ferry_error e = {0};
        const fy_json *doc;
        three[0].op = three[0].name = three[0].nodes = three[0].types = three[0].source = p.model = p.cpu = bad[i];
        good_page(&p, &b);
        fy_profile_trace(&trace, &p);
        assert_ok(fy_json_parse(&doc, &a, trace.at, trace.n, &e), e);
        fy_buf_free(&b);
        fy_buf_free(&trace);
        fy_arena_free(&a);
    }
}

/* A graph of n steps, each reading one or two of those shortly before it, or long before. */
static fy_profile grown(int n, fy_arena *a) {
    static uint32_t seed;
    fy_profile p = small();
    p.nsteps = n;
    p.step = FY_NEWN(a, fy_profile_step, n + 1);
    seed = 7;
    for (int i = 0; i < n; i++) {
        int *from = FY_NEWN(a, int, 2);
        seed = seed * 1664525u + 1013904223u;
        p.step[i] = three[i % 3];
        p.step[i].seconds = 1e-6 * (double)(seed >> 16);
        p.step[i].from = from;
        p.step[i].nfrom = !i ? 0 : seed & 1 ? 2 : 1;
        from[0] = i > 3 ? i - 1 - (int)(seed >> 8) % 3 : 0;
        from[1] = i ? (int)(seed >> 10) % i : 0;
    }
    return p;
}

static void test_layout(void **state) {
    (void)state;
    static const int sizes[] = {0, 1, 2, 40, 500};
    for (int k = 0; k < FY_COUNT(sizes); k++) {
        fy_arena a = {0};
        ferry_error e = {0};
        fy_profile p = grown(sizes[k], &a);
        fy_place *at = FY_NEWN(&a, fy_place, sizes[k] + 1);
        double width, height;
        fy_buf b = {0};
        assert_ok(fy_profile_layout(at, &width, &height, &p, &e), e);
        for (int i = 0; i < p.nsteps; i++) {
            assert_true(at[i].x >= 0 && at[i].y >= 0 && at[i].x + FY_BOX_W <= width && at[i].y + FY_BOX_H <= height);
            for (int j = 0; j < i; j++) assert_true(fabs(at[i].x - at[j].x) >= FY_BOX_W || fabs(at[i].y - at[j].y) >= FY_BOX_H);
            for (int f = 0; f < p.step[i].nfrom; f++) assert_true(at[p.step[i].from[f]].y < at[i].y);       /* arrows go down */
        }
        good_page(&p, &b);
        fy_buf_free(&b);
        fy_arena_free(&a);
    }
}

/* Each allocation fails in turn: a status, no crash, no half a page taken for a whole one. */
static void test_no_memory(void **state) {
    (void)state;
    fy_profile p = small();
    for (int64_t k = 0;; k++) {
        ferry_error e = {0};
        fy_buf page = {0};
        fy_os_fail_at(k, false);
        fy_report *r = fy_report_new(&e);
        fy_status s = r ? fy_profile_report(r, &p, &e) : FY_E_NOMEM, h = fy_profile_html(&page, &p, &e);
        if (!s) s = fy_report_finish(r, &e);
        bool reached = fy_os_calls() > k;
        fy_os_fail_at(-1, false);
        fy_report_free(r);
        fy_buf_free(&page);
        if (!reached) { assert_true(!s && !h); break; }
        assert_true((s == FY_E_NOMEM) != (h == FY_E_NOMEM));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums), cmocka_unit_test(test_report), cmocka_unit_test(test_trace), cmocka_unit_test(test_page),
        cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_layout), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
