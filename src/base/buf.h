/* SPDX-License-Identifier: Apache-2.0
 * buf.h - a growing byte buffer and string builder. Failure is sticky: check `oom` once at the end. */
#ifndef FY_BUF_H
#define FY_BUF_H

#include "base/status.h"

typedef struct fy_buf { char *at; size_t n, cap; bool oom; } fy_buf;  /* {0} is ready; at[n] is always 0 once used */

void fy_buf_add(fy_buf *b, const void *p, size_t n);
void fy_buf_str(fy_buf *b, const char *s);
void fy_buf_fmt(fy_buf *b, const char *fmt, ...) FY_PRINTF(2, 3);
void fy_buf_char(fy_buf *b, char c);
void fy_buf_pad(fy_buf *b, size_t column);                            /* blanks until the line is `column` wide */
void fy_buf_free(fy_buf *b);

#endif
