/* SPDX-License-Identifier: Apache-2.0
 * strings.h - what the operators on strings share: comparing, UTF-8, case, and results whose bytes are made by the kernel.
 *
 * Elements of a string tensor point to bytes elsewhere. A kernel that only picks strings copies the elements (the interpreter keeps what
 * they point into); one that makes new bytes collects them in a fy_buf and hands them over with fy_strings_give. */
#ifndef FY_OPS_STRINGS_H
#define FY_OPS_STRINGS_H

#include "base/buf.h"
#include "ops/common.h"

#include <string.h>

/* y, of n elements, becomes one block: the elements, then `all`, element i being the bytes from end[i - 1] to end[i]. Frees `all`. */
FY_CHECKED fy_status fy_strings_give(fy_tensor *y, fy_buf *all, const size_t *end, ferry_error *e);

/* One code point of [*p, end), which is moved behind it; -1: no UTF-8 (overlong forms and surrogates included), *p stays. */
int32_t fy_utf8_next(const char **p, const char *end);
void    fy_utf8_add(fy_buf *b, int32_t c);
/* Unicode's simple case mapping (one code point to one), whatever the locale. */
int32_t fy_upper(int32_t c);
int32_t fy_lower(int32_t c);
bool    fy_is_space(int32_t c);                                         /* Unicode's White_Space */

#endif
