/* SPDX-License-Identifier: Apache-2.0
 * regex_re2.h - RE2 for C. Nothing is thrown, printed or kept beyond the handle. */
#ifndef FY_REGEX_RE2_H
#define FY_REGEX_RE2_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fy_re2 fy_re2;
/* NULL: not a pattern, `why` says what is wrong with it; with `why` empty, out of memory. */
fy_re2 *fy_re2_new(const char *pattern, size_t n, char *why, size_t nwhy);
int     fy_re2_match(const fy_re2 *re, const char *text, size_t n);     /* the whole text? 1, 0, or -1: out of memory */
void    fy_re2_free(fy_re2 *re);

#ifdef __cplusplus
}
#endif
#endif
