/* SPDX-License-Identifier: Apache-2.0
 * test_hooks.c - the parts of this build that operators call: regular expressions are those of RE2, linear in the text, bounded in memory. */
#include "test.h"

#include "engines/engine.h"

#include <stdlib.h>

static fy_status match(bool *yes, const char *pattern, const char *text, size_t n, ferry_error *e) {
    fy_str s = {text, n};
    return fy_hooks_builtin()->regex_full_match(yes, &s, 1, (fy_str){pattern, strlen(pattern)}, e);
}

static void test_regex(void **state) {
    static const struct { const char *pattern, *text; bool yes; } table[] = {{"a+", "aaa", true}, {"a+", "aab", false}, {"a", "ba", false}, {"", "", true}, {"", "x", false},
        {"(a|ab)(c|bcd)", "abcd", true}, {".", "ü", true}, {"\\pL+", "straße", true}, {"a.b", "a\nb", false}, {"(?s)a.b", "a\nb", true}, {"(?i)STRASSE", "strasse", true},
        {"[[:digit:]]{2,3}", "123", true}, {"x*", "", true}};
    static const char *const bad[] = {"(", "[a", "a**b(", "\\1", "(?=x)", "x{1000}{1000}", "((((x{100}){100}){100}){100})"};
    ferry_error e;
    bool yes;
    (void)state;
    if (!fy_hooks_builtin()->regex_full_match) skip();
    for (int i = 0; i < FY_COUNT(table); i++) {
        assert_ok(match(&yes, table[i].pattern, table[i].text, strlen(table[i].text), &e), e);
        if (yes != table[i].yes) fail_msg("\"%s\" on \"%s\"", table[i].pattern, table[i].text);
    }
    for (int i = 0; i < FY_COUNT(bad); i++) {
        assert_fails(match(&yes, bad[i], "x", 1, &e), VALUE);
        assert_non_null(strstr(e.text, "pattern"));
    }
    size_t n = 1 << 20;                                      /* backtracking would take longer than there is time */
    char *text = malloc(n);
    memset(text, 'a', n);
    assert_ok(match(&yes, "(a*)*(a|aa)*b", text, n, &e), e);
    assert_false(yes);
    assert_ok(match(&yes, "(x+x+)+y|a*", text, n, &e), e);
    assert_true(yes);
    assert_ok(match(&yes, "a\\x00?", "a\0", 2, &e), e);
    assert_true(yes);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_regex)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
