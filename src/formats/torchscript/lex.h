/* SPDX-License-Identifier: Apache-2.0
 * lex.h - the words of a file of code. Signs are their own character. */
#ifndef FY_TS_LEX_H
#define FY_TS_LEX_H

#include "formats/torchscript/script.h"

typedef enum ts_tkind { TT_END = 0, TT_WORD = 256, TT_INT, TT_FLOAT, TT_IMAG, TT_STR, TT_ARROW, TT_LINE, TT_INDENT, TT_DEDENT } ts_tkind;
/* i: the number's negative, so that the smallest int has room. */
typedef struct ts_token { ts_tkind kind; uint32_t line; const char *s; size_t n; int64_t i; double f; } ts_token;
typedef FY_VEC(ts_token) ts_tokens;

FY_CHECKED fy_status ts_lex(ts *r, ts_tokens *t, const char *path, const char *text, size_t n);   /* the caller frees t->at */

#endif
