/* SPDX-License-Identifier: Apache-2.0
 * test_string.c - operators on strings: hand-worked values, UTF-8 and case, numbers as text in any locale, what is refused. */
#include "strings_rig.h"

#include "base/number.h"
#include "ops/strings.h"

#include <locale.h>
#include <math.h>

static void test_concat(void **state) {
    (void)state;
    ferry_error e;
    fy_str a[] = {rig_str("x"), rig_str(""), rig_str("zü")}, b[] = {rig_str("1"), rig_str("2")};
    fy_tensor y, in[2] = {rig_strings(RIG_DIMS(3, 1), a), rig_strings(RIG_DIMS(2), b)};
    assert_ok(rig_op("StringConcat", 2, in, FY_NOATTR, 1, &y, &e), e);
    rig_texts(&y, RIG_DIMS(3, 2), RIG_T("x1", "x2", "1", "2", "zü1", "zü2"));
    fy_tensor_free(&y);
    in[1] = rig_strings(RIG_DIMS(4), (fy_str[4]){{0}});
    in[0] = rig_strings(RIG_DIMS(3), a);
    assert_fails(rig_op("StringConcat", 2, in, FY_NOATTR, 1, &y, &e), SHAPE);
    in[1] = rig_f32(RIG_DIMS(3), RIG_F(1, 2, 3));
    assert_fails(rig_op("StringConcat", 2, in, FY_NOATTR, 1, &y, &e), TYPE);
    rig r;
    rig_new(&r);
    fy_value *v = fy_emit(&r.b, "StringConcat", FY_V(rig_in(&r, FERRY_STRING, "b 3"), rig_in(&r, FERRY_STRING, "3")), FY_NOATTR);
    rig_type_is(v, "str[b,3]");
    rig_free(&r);
}

static void split(const char *by, int64_t most, const char *text, int64_t n, const char *const *want) {
    ferry_error e;
    fy_str s[] = {rig_str(text)};
    fy_tensor out[2], x = rig_strings(RIG_DIMS(1), s);
    fy_attr attr[2] = {fy_text("delimiter", by), fy_int("maxsplit", most)};
    assert_ok(rig_op("StringSplit", 1, &x, most < 0 ? 1 : 2, attr, 2, out, &e), e);
    rig_texts(&out[0], RIG_DIMS(1, n), want);
    assert_int_equal(fy_get_i64(&out[1], 0), n);
    fy_tensor_free(&out[0]);
    fy_tensor_free(&out[1]);
}

static void test_split(void **state) {
    (void)state;
    ferry_error e;
    split(",", -1, "a,,b,", 4, RIG_T("a", "", "b", ""));
    split(",", 1, "a,,b", 2, RIG_T("a", ",b"));
    split(",", 0, "a,b", 1, RIG_T("a,b"));
    split("ab", -1, "aabab", 3, RIG_T("a", "", ""));
    split("long", -1, "lo", 1, RIG_T("lo"));
    split(",", -1, "", 1, RIG_T(""));
    split("", -1, "  a \t\n b  ", 2, RIG_T("a", "b"));
    split("", 1, "  a   b c  ", 2, RIG_T("a", "b c"));
    split("", -1, "a\u00a0b\u2003\u3000c", 3, RIG_T("a", "b", "c"));
    split("", -1, "a\xff b", 2, RIG_T("a\xff", "b"));
    split("", -1, " \t ", 0, NULL);
    fy_str s[] = {rig_str("a b c"), rig_str(""), rig_str("d")};
    fy_tensor out[2], x = rig_strings(RIG_DIMS(3, 1), s);
    assert_ok(rig_op("StringSplit", 1, &x, FY_NOATTR, 2, out, &e), e);
    rig_texts(&out[0], RIG_DIMS(3, 1, 3), RIG_T("a", "b", "c", "", "", "", "d", "", ""));
    rig_expect(&out[1], RIG_DIMS(3, 1), RIG_D(3, 0, 1));
    fy_tensor_free(&out[0]);
    fy_tensor_free(&out[1]);
    x = rig_strings(RIG_DIMS(0), s);
    assert_ok(rig_op("StringSplit", 1, &x, FY_NOATTR, 2, out, &e), e);
    assert_true(out[0].rank == 2 && out[0].dim[0] == 0 && out[0].dim[1] == 0);
    fy_tensor_free(&out[0]);
    fy_tensor_free(&out[1]);
    int64_t many[FY_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    x = rig_strings(FY_MAX_RANK, many, s);
    assert_fails(rig_op("StringSplit", 1, &x, FY_NOATTR, 2, out, &e), LIMIT);
}

static void normal(const char *action, int sensitive, int rank, const char *const *stop, int nstop, int n, const char *const *want) {
    ferry_error e;
    fy_str s[] = {rig_str("Über"), rig_str("the"), rig_str("THE"), rig_str("straße")}, words[4];
    int64_t dim[2] = {1, 4}, out[2] = {1, n};
    for (int i = 0; i < nstop; i++) words[i] = rig_str(stop[i]);
    fy_tensor y, x = rig_strings(rank, dim + 2 - rank, s);
    fy_attr attr[] = {fy_text("case_change_action", action), fy_int("is_case_sensitive", sensitive), rig_attr_texts("stopwords", nstop, words)};
    assert_ok(rig_op("StringNormalizer", 1, &x, nstop ? 3 : 2, attr, 1, &y, &e), e);
    rig_texts(&y, rank, out + 2 - rank, want);
    fy_tensor_free(&y);
}

static void test_normalizer(void **state) {
    (void)state;
    ferry_error e;
    normal("NONE", 0, 1, NULL, 0, 4, RIG_T("Über", "the", "THE", "straße"));
    normal("UPPER", 0, 2, NULL, 0, 4, RIG_T("ÜBER", "THE", "THE", "STRAßE"));
    normal("LOWER", 1, 1, RIG_T("the"), 1, 3, RIG_T("über", "the", "straße"));
    normal("LOWER", 0, 1, RIG_T("the"), 1, 2, RIG_T("über", "straße"));
    normal("NONE", 0, 2, RIG_T("The", "üBER"), 2, 1, RIG_T("straße"));
    normal("NONE", 1, 1, RIG_T("Über", "the", "THE", "straße"), 4, 1, RIG_T(""));
    normal("NONE", 1, 2, RIG_T("Über", "the", "THE", "straße"), 4, 1, RIG_T(""));
    fy_str bad[] = {{"a\xc3", 2}};
    fy_tensor y, x = rig_strings(RIG_DIMS(1), bad);
    assert_fails(rig_op("StringNormalizer", 1, &x, FY_A(fy_text("case_change_action", "UPPER")), 1, &y, &e), VALUE);
    assert_ok(rig_op("StringNormalizer", 1, &x, FY_NOATTR, 1, &y, &e), e);                  /* bytes are left alone */
    fy_tensor_free(&y);
    assert_fails(rig_op("StringNormalizer", 1, &x, FY_A(fy_text("case_change_action", "lower")), 1, &y, &e), ATTR);
    fy_str two[] = {rig_str("a"), rig_str("b")};
    x = rig_strings(RIG_DIMS(2, 1), two);
    assert_fails(rig_op("StringNormalizer", 1, &x, FY_NOATTR, 1, &y, &e), SHAPE);
    x = rig_strings(0, NULL, two);
    assert_fails(rig_op("StringNormalizer", 1, &x, FY_NOATTR, 1, &y, &e), SHAPE);
}

static void test_case(void **state) {
    static const struct { int32_t c, up, low; } known[] = {{'a', 'A', 'a'}, {'Z', 'Z', 'z'}, {'1', '1', '1'}, {0xdf, 0xdf, 0xdf}, {0xff, 0x178, 0xff}, {0x178, 0x178, 0xff},
        {0x130, 0x130, 'i'}, {0x131, 'I', 0x131}, {0x3a3, 0x3a3, 0x3c3}, {0x3c2, 0x3a3, 0x3c2}, {0x1c4, 0x1c4, 0x1c6}, {0x1c5, 0x1c4, 0x1c6}, {0x10400, 0x10400, 0x10428},
        {0x1e943, 0x1e921, 0x1e943}, {0x10ffff, 0x10ffff, 0x10ffff}, {0, 0, 0}, {0xb5, 0x39c, 0xb5}, {0x1e9e, 0x1e9e, 0xdf}};
    (void)state;
    for (int i = 0; i < FY_COUNT(known); i++) {
        assert_int_equal(fy_upper(known[i].c), known[i].up);
        assert_int_equal(fy_lower(known[i].c), known[i].low);
    }
    int pairs = 0;
    for (int32_t c = 0; c < 0x110000; c++) {                 /* case is settled after one step, and UTF-8 goes there and back */
        assert_int_equal(fy_upper(fy_upper(c)), fy_upper(c));
        assert_int_equal(fy_lower(fy_lower(c)), fy_lower(c));
        pairs += fy_upper(c) != c;
        if (c >= 0xd800 && c < 0xe000) continue;
        fy_buf b = {0};
        fy_utf8_add(&b, c);
        const char *p = b.at;
        assert_int_equal(fy_utf8_next(&p, b.at + b.n), c);
        assert_ptr_equal(p, b.at + b.n);
        for (size_t cut = 1; cut < b.n; cut++) {
            p = b.at;
            assert_int_equal(fy_utf8_next(&p, b.at + cut), -1);
        }
        fy_buf_free(&b);
        if (c > 0x3000 && c % 7) c += 6;
    }
    assert_true(pairs > 1000);
    static const char *const wrong[] = {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff", "\xc3("};
    for (int i = 0; i < FY_COUNT(wrong); i++) {
        const char *p = wrong[i];
        assert_int_equal(fy_utf8_next(&p, p + strlen(p)), -1);
    }
}

static void test_numbers(void **state) {
    static const struct { const char *text; bool ok; double v; } known[] = {{"1.5", true, 1.5}, {"-2e3", true, -2000}, {"inf", true, HUGE_VAL}, {"-INF", true, -HUGE_VAL},
        {"", false, 0}, {"1.5x", false, 0}, {"1,5", false, 0}, {"1.2.3", false, 0}, {"abc", false, 0}, {".5", true, 0.5}, {"0x10", true, 16}};
    (void)state;
    const char *locales[] = {"C", "de_DE.UTF-8", "en_US.UTF-8", "C.UTF-8"};
    for (int k = 0; k < FY_COUNT(locales); k++) {
        if (!setlocale(LC_ALL, locales[k])) continue;
        for (int i = 0; i < FY_COUNT(known); i++) {
            double v = 0;
            assert_int_equal(fy_read_f64(known[i].text, strlen(known[i].text), &v), known[i].ok);
            if (known[i].ok) assert_true(v == known[i].v);
        }
        ferry_error e;
        fy_tensor y, x = rig_f32(RIG_DIMS(4), RIG_F(0.25f, 1e20f, -3, 1e-7f));
        assert_ok(rig_op("Cast", 1, &x, FY_A(fy_int("to", FERRY_STRING)), 1, &y, &e), e);
        rig_texts(&y, RIG_DIMS(4), RIG_T("0.25", "1e+20", "-3.0", "1e-07"));
        fy_tensor_free(&y);
    }
    setlocale(LC_ALL, "C");
    int64_t i;
    uint64_t u;
    assert_true(fy_read_i64("-9223372036854775808", 20, &i) && i == INT64_MIN);
    assert_false(fy_read_i64("9223372036854775808", 19, &i) || fy_read_i64("-", 1, &i) || fy_read_i64("1.0", 3, &i) || fy_read_i64("", 0, &i));
    assert_true(fy_read_u64("18446744073709551615", 20, &u) && u == UINT64_MAX);
    assert_false(fy_read_u64("18446744073709551616", 20, &u) || fy_read_u64("-1", 2, &u));
    ferry_error e;
    fy_str s[] = {rig_str("True"), rig_str("false"), rig_str("0"), rig_str("2")}, none[] = {rig_str("maybe")};
    fy_tensor y, x = rig_strings(RIG_DIMS(4), s);
    assert_ok(rig_op("Cast", 1, &x, FY_A(fy_int("to", FERRY_BOOL)), 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(4), RIG_D(1, 0, 0, 1));
    fy_tensor_free(&y);
    x = rig_strings(RIG_DIMS(1), none);
    assert_fails(rig_op("Cast", 1, &x, FY_A(fy_int("to", FERRY_BOOL)), 1, &y, &e), VALUE);
}

/* Without a table of hooks the operator says what is missing; through the engine's it runs (tests/engines). */
static void test_regex(void **state) {
    (void)state;
    ferry_error e;
    fy_str s[] = {rig_str("a")};
    fy_tensor y, x = rig_strings(RIG_DIMS(1), s);
    assert_fails(rig_op("RegexFullMatch", 1, &x, FY_A(fy_text("pattern", "a")), 1, &y, &e), UNSUPPORTED);
    assert_non_null(strstr(e.text, "RE2"));
}

static void tfidf(const char *mode, int64_t skips, const double *weights, const double *want) {
    ferry_error e;
    fy_tensor y, x = rig_i64(RIG_DIMS(2, 5), RIG_I(1, 2, 3, 1, 2, 2, 2, 2, 9, 3));
    fy_attr attr[] = {fy_text("mode", mode), fy_int("min_gram_length", 1), fy_int("max_gram_length", 2), fy_int("max_skip_count", skips),
        fy_ints("ngram_counts", 2, RIG_I(0, 2)), fy_ints("ngram_indexes", 4, RIG_I(3, 0, 1, 2)), fy_ints("pool_int64s", 6, RIG_I(2, 9, 1, 2, 2, 3)),
        fy_floats("weights", 4, weights)};
    assert_ok(rig_op("TfIdfVectorizer", 1, &x, weights ? 8 : 7, attr, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(2, 4), want);
    fy_tensor_free(&y);
}

/* The pool: 2 -> column 3, 9 -> 0, (1,2) -> 1, (2,3) -> 2. */
static void test_tfidf(void **state) {
    (void)state;
    ferry_error e;
    tfidf("TF", 0, NULL, RIG_D(0, 2, 1, 2, 1, 0, 0, 3));
    tfidf("TF", 1, NULL, RIG_D(0, 2, 1, 2, 1, 0, 1, 3));     /* in the second row 2 _ 3 with one left out */
    tfidf("IDF", 0, RIG_D(10, 20, 30, 40), RIG_D(0, 30, 40, 10, 20, 0, 0, 10));
    tfidf("TFIDF", 0, RIG_D(10, 20, 30, 40), RIG_D(0, 60, 40, 20, 20, 0, 0, 30));
    fy_tensor y, x = rig_i64(RIG_DIMS(1), RIG_I(1));
    fy_attr attr[] = {fy_text("mode", "TF"), fy_int("min_gram_length", 1), fy_int("max_gram_length", 1), fy_int("max_skip_count", INT64_MAX),
        fy_ints("ngram_counts", 1, RIG_I(0)), fy_ints("ngram_indexes", 1, RIG_I(0)), fy_ints("pool_int64s", 1, RIG_I(1))};
    assert_ok(rig_op("TfIdfVectorizer", 1, &x, 7, attr, 1, &y, &e), e);
    rig_expect(&y, RIG_DIMS(1), RIG_D(1));
    fy_tensor_free(&y);
    attr[5] = fy_ints("ngram_indexes", 1, RIG_I(INT64_MAX));
    assert_fails(rig_op("TfIdfVectorizer", 1, &x, 7, attr, 1, &y, &e), ATTR);
    attr[5] = fy_ints("ngram_indexes", 1, RIG_I(-1));
    assert_fails(rig_op("TfIdfVectorizer", 1, &x, 7, attr, 1, &y, &e), ATTR);
    attr[5] = fy_ints("ngram_indexes", 1, RIG_I(0));
    attr[4] = fy_ints("ngram_counts", 1, RIG_I(INT64_MIN));
    assert_fails(rig_op("TfIdfVectorizer", 1, &x, 7, attr, 1, &y, &e), ATTR);
    attr[4] = fy_ints("ngram_counts", 1, RIG_I(0));
    attr[6] = fy_ints("pool_int64s", 2, RIG_I(1, 1));
    attr[5] = fy_ints("ngram_indexes", 2, RIG_I(0, 1));
    assert_fails(rig_op("TfIdfVectorizer", 1, &x, 7, attr, 1, &y, &e), ATTR);               /* twice in the pool */
    attr[2] = fy_int("max_gram_length", 2);
    assert_fails(rig_op("TfIdfVectorizer", 1, &x, 7, attr, 1, &y, &e), ATTR);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_concat), cmocka_unit_test(test_split), cmocka_unit_test(test_normalizer), cmocka_unit_test(test_case),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_regex), cmocka_unit_test(test_tfidf)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
