/* SPDX-License-Identifier: Apache-2.0
 * buf.c - the growing byte buffer. */
#include "base/buf.h"

#include "base/os.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Room for `more` bytes and the final 0. */
static bool room(fy_buf *b, size_t more) {
    if (b->oom) return false;
    if (more < b->cap - b->n) return true;             /* cap - n counts the final 0; cap == n == 0 at first */
    if (more > SIZE_MAX / 4 - b->n) { b->oom = true; return false; }
    size_t cap = b->cap < 64 ? 64 : b->cap + b->cap / 2;
    if (cap < b->n + more + 1) cap = b->n + more + 1;
    char *p = fy_realloc(b->at, cap, 1);
    if (!p) { b->oom = true; return false; }
    b->at = p;
    b->cap = cap;
    return true;
}

void fy_buf_add(fy_buf *b, const void *p, size_t n) {
    if (!room(b, n)) return;
    if (n) memcpy(b->at + b->n, p, n);
    b->n += n;
    b->at[b->n] = 0;
}

void fy_buf_str(fy_buf *b, const char *s) { fy_buf_add(b, s, strlen(s)); }

void fy_buf_char(fy_buf *b, char c) { fy_buf_add(b, &c, 1); }

void fy_buf_fmt(fy_buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = room(b, 64) ? vsnprintf(b->at + b->n, b->cap - b->n, fmt, ap) : -1;
    if (n >= 0 && (size_t)n >= b->cap - b->n) {
        b->at[b->n] = 0;
        n = room(b, (size_t)n) ? vsnprintf(b->at + b->n, b->cap - b->n, fmt, again) : -1;
    }
    if (n >= 0) b->n += (size_t)n;
    va_end(again);
    va_end(ap);
}

void fy_buf_pad(fy_buf *b, size_t column) {
    if (!room(b, 0)) return;
    size_t line = b->n;
    while (line && b->at[line - 1] != '\n') line--;
    size_t width = 0;                                  /* characters, not bytes: names may be UTF-8 */
    for (size_t i = line; i < b->n; i++) width += ((unsigned char)b->at[i] & 0xC0) != 0x80;
    if (width >= column) { b->at[b->n] = 0; return; }
    size_t blanks = column - width;
    if (!room(b, blanks)) return;
    memset(b->at + b->n, ' ', blanks);
    b->n += blanks;
    b->at[b->n] = 0;
}

void fy_buf_free(fy_buf *b) {
    fy_free(b->at);
    *b = (fy_buf){ 0 };
}
