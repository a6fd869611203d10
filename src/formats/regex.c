/* SPDX-License-Identifier: Apache-2.0
 * regex.c - regular expressions by RE2, whose C++ is behind the three functions of regex_re2.h. */
#include "formats/regex.h"

#ifdef FERRY_HAVE_RE2
#include "formats/regex_re2.h"

fy_status fy_regex_full_match(bool *match, const fy_str *text, int64_t n, fy_str pattern, ferry_error *e) {
    char why[200];
    fy_re2 *re = fy_re2_new(pattern.at, pattern.n, why, sizeof why);
    FY_NOMEM(e, re || *why);
    FY_NEED(e, re, VALUE, "the pattern \"%.*s\" is no regular expression: %s", (int)(pattern.n < 60 ? pattern.n : 60), pattern.n ? pattern.at : "", why);
    int ok = 1;
    for (int64_t i = 0; i < n && ok >= 0; i++) {
        ok = fy_re2_match(re, text[i].n ? text[i].at : "", text[i].n);
        match[i] = ok == 1;
    }
    fy_re2_free(re);
    FY_NOMEM(e, ok >= 0);
    return FY_OK;
}
#else
typedef int fy_regex_left_out;           /* a file of C is not empty */
#endif
