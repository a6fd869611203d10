/* SPDX-License-Identifier: Apache-2.0
 * test_json.c - the JSON reader against yajl, by values, and on text that is damaged in every place; the writer. */
#include "test.h"

#include "base/os.h"
#include "formats/json.h"

#include <math.h>
#include <yajl/yajl_parse.h>

static fy_status parse(const char *text, size_t n, fy_arena *a, const fy_json **doc) {
    ferry_error e = {0};
    return fy_json_parse(doc, a, text, n, &e);
}

static const char *const good[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1e5",
    "1E+5",
    "-1.5e-7",
    "0.1",
    "\"\"",
    "\"a\"",
    "\"\\u0041\\n\\\\\\/\\\"\"",
    "\"\\ud83d\\ude00\"",
    "[]",
    "{}",
    "[1,2,[3,[]],{}]",
    "{\"a\":1,\"b\":[true,null],\"c\":{\"d\":\"e\"}}",
    " \t\n\r[ 1 , 2 ] \n",
    "{\"a\":1,\"a\":2}",
    "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
    "[[[[[[[[[[]]]]]]]]]]",
    "123456789012345678901234567890",
};
static const char *const wrong[] = {
    "",
    " ",
    "[",
    "{",
    "]",
    "}",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{a:1}",
    "{1:2}",
    "{\"a\" 1}",
    "[1 2]",
    "01",
    "-",
    "+1",
    "1.",
    ".5",
    "1e",
    "1e+",
    "0x1",
    "tru",
    "nul",
    "\"",
    "\"\\",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u12g4\"",
    "\"\n\"",
    "\"\x80\"",
    "\"\xC0\x80\"",
    "\"\xED\xA0\x80\"",
    "\"\xF5\x80\x80\x80\"",
    "\"\xC3\"",
    "1 2",
    "[] x",
    "// c\n1",
    "\xEF\xBB\xBF[]",
    "'a'",
    "[1}",
    "{\"a\":1]",
};

/* Does yajl take it? */
static bool yajl(const char *text, size_t n) {
    yajl_handle h = yajl_alloc(NULL, NULL, NULL);
    bool ok = yajl_parse(h, (const unsigned char *)text, n) == yajl_status_ok && yajl_complete_parse(h) == yajl_status_ok;
    yajl_free(h);
    return ok;
}

static void accepts_and_refuses(void **state) {
    (void)state;
    fy_arena a = {0};
    const fy_json *doc;
    for (int i = 0; i < FY_COUNT(good); i++) {
        if (parse(good[i], strlen(good[i]), &a, &doc)) fail_msg("refused: %s", good[i]);
        assert_non_null(doc);
    }
    for (int i = 0; i < FY_COUNT(wrong); i++)
        if (!parse(wrong[i], strlen(wrong[i]), &a, &doc)) fail_msg("accepted: %s", wrong[i]);
    fy_arena_free(&a);
}

/* One random change to a good text: both must agree on whether it is JSON. Left out: what yajl takes beyond RFC 8259 (UTF-8
 * of surrogates and overlong forms) or we take beyond it (Infinity, NaN), numbers of which yajl computes the value. */
static void agrees_with_yajl(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[128];
        const char *from = good[round % FY_COUNT(good)];
        size_t n = strlen(from);
        memcpy(text, from, n);
        for (int k = 0; k < 1 + round % 3; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            static const char pool[] = "{}[],:\"\\0123456789-+.eEtrufalsn ";
            size_t at = (size_t)(seed >> 33) % (n ? n : 1);
            if (n) text[at] = pool[(seed >> 17) % (sizeof pool - 1)];
        }
        fy_arena a = {0};
        const fy_json *doc;
        ferry_error e = {0};
        bool ours = !fy_json_parse(&doc, &a, text, n, &e), theirs = yajl(text, n);
        if (strstr(e.text, "after the document")) theirs = false;        /* yajl overlooks an open quote after the end */
        bool overflow = false;           /* yajl refuses integers and doubles that do not fit */
        for (size_t i = 0, run = 0; i < n; i++) {
            run = text[i] >= '0' && text[i] <= '9' ? run + 1 : 0;
            overflow |= run > 17 || text[i] == 'e' || text[i] == 'E';
        }
        if (ours != theirs && !overflow) fail_msg("ours %d, yajl %d: %.*s", ours, theirs, (int)n, text);
        fy_arena_free(&a);
    }
}

static void values(void **state) {
    (void)state;
    fy_arena a = {0};
    const fy_json *d;
    const char *t = "{\"i\":-9223372036854775808,\"big\":18446744073709551615,\"f\":2.5e-3,\"s\":\"\\u00e9\\ud83d\\ude00x\\u0000y\","
                    "\"lone\":\"\\ud800z\","
                    "\"inf\":[Infinity,-Infinity,NaN],\"a\":1,\"a\":2,\"t\":true}";
    assert_int_equal(parse(t, strlen(t), &a, &d), FY_OK);
    assert_true(fy_json_get(d, "i")->kind == FY_JSON_INT && fy_json_get(d, "i")->i == INT64_MIN);
    assert_true(fy_json_get(d, "big")->kind == FY_JSON_NUMBER && fy_json_get(d, "big")->f == 18446744073709551615.0);
    assert_true(fy_json_get(d, "f")->f == 2.5e-3);
    const fy_json *s = fy_json_get(d, "s");
    assert_int_equal(s->n, 9);
    assert_memory_equal(s->s, "\xC3\xA9\xF0\x9F\x98\x80x\0y", 9);
    assert_true(fy_json_is(fy_json_get(d, "lone"), "\xEF\xBF\xBDz"));
    const fy_json *inf = fy_json_get(d, "inf")->child;
    assert_true(isinf(inf->f) && inf->f > 0 && inf->next->f < 0 && isnan(inf->next->next->f));
    assert_int_equal(fy_json_get(d, "a")->i, 2);
    assert_null(fy_json_get(d, "none"));
    assert_null(fy_json_get(s, "s"));
    fy_arena_free(&a);
}

static void depth_is_bounded(void **state) {
    (void)state;
    static char deep[2000000];
    fy_arena a = {0};
    const fy_json *d;
    memset(deep, '[', sizeof deep);
    assert_int_equal(parse(deep, sizeof deep, &a, &d), FY_E_LIMIT);
    memset(deep + 256, ']', 256);
    assert_int_equal(parse(deep, 512, &a, &d), FY_OK);
    fy_arena_free(&a);
}

static void writer_reads_back(void **state) {
    (void)state;
    fy_buf b = {0};
    fy_jsonw w = { .out = &b };
    static const double nums[] = { 0, 1, -1, 0.1, 1.0 / 3, 1e300, 5e-324, 123456789.125 };
    fy_jsonw_object(&w, NULL);
    fy_jsonw_str(&w, "text", "a\"b\\c\n\t\x01\xFF\xC3\xA9");
    fy_jsonw_str(&w, "none", NULL);
    fy_jsonw_int(&w, "int", INT64_MIN);
    fy_jsonw_bool(&w, "yes", true);
    fy_jsonw_null(&w, "null");
    fy_jsonw_array(&w, "nums");
    for (int i = 0; i < FY_COUNT(nums); i++) fy_jsonw_num(&w, NULL, nums[i]);
    fy_jsonw_num(&w, NULL, (double)NAN);
    fy_jsonw_end_array(&w);
    fy_jsonw_array(&w, "empty");
    fy_jsonw_end_array(&w);
    fy_jsonw_end_object(&w);
    fy_arena a = {0};
    const fy_json *d;
    assert_int_equal(parse(b.at, b.n, &a, &d), FY_OK);
    assert_true(yajl(b.at, b.n));
    assert_true(fy_json_is(fy_json_get(d, "text"), "a\"b\\c\n\t\x01\xEF\xBF\xBD\xC3\xA9"));
    assert_int_equal(fy_json_get(d, "none")->kind, FY_JSON_NULL);
    assert_true(fy_json_get(d, "int")->i == INT64_MIN);
    const fy_json *j = fy_json_get(d, "nums")->child;
    for (int i = 0; i < FY_COUNT(nums); i++, j = j->next) assert_true(j->f == nums[i]);
    assert_true(fy_json_is(j, "NaN"));
    assert_null(fy_json_get(d, "empty")->child);
    assert_true(strstr(b.at, "\n  \"int\": -9223372036854775808,\n") != NULL);
    fy_arena_free(&a);
    fy_buf_free(&b);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    const char *t = "{\"a\":[1,2,{\"b\":\"\\n\"}],\"c\":[[[]]]}";
    for (int64_t k = 0; k < 20; k++) {
        fy_arena a = {0};
        const fy_json *d;
        fy_os_fail_at(k, false);
        fy_status s = parse(t, strlen(t), &a, &d);
        fy_os_fail_at(-1, false);
        assert_true(s == FY_OK || s == FY_E_NOMEM);
        fy_arena_free(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_and_refuses), cmocka_unit_test(agrees_with_yajl),  cmocka_unit_test(values),
        cmocka_unit_test(depth_is_bounded),    cmocka_unit_test(writer_reads_back), cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
