/* SPDX-License-Identifier: Apache-2.0
 * regex.h - regular expressions in time linear in the text: a part that a build may lack (FERRY_HAVE_RE2). */
#ifndef FY_REGEX_H
#define FY_REGEX_H

#include "tensor/tensor.h"

/* fy_hooks.regex_full_match: match[i] = does the pattern match the whole of text[i]? VALUE if the pattern is none, or too large. */
FY_CHECKED fy_status fy_regex_full_match(bool *match, const fy_str *text, int64_t n, fy_str pattern, ferry_error *e);

#endif
