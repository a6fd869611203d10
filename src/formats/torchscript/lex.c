/* SPDX-License-Identifier: Apache-2.0
 * lex.c - text of the code into tokens: words, numbers, strings, signs, lines, and blocks as a pair of tokens. */
#include "formats/torchscript/lex.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH = 100 };

static bool word_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 128; }
static bool digit(char c) { return c >= '0' && c <= '9'; }

static fy_status push(ts *r, ts_tokens *t, ts_token k) {
    FY_NEED(r->e, t->n < TS_TOKENS, LIMIT, "more than %d words of code", TS_TOKENS);
    FY_PUSH(r->e, *t, k);
    return FY_OK;
}

static int hex(char c) { return digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* A string without its quotes; torch escapes what is not printable as \n, \x41 or \101. */
static fy_status string(ts *r, ts_token *t, const char **at, const char *end, const char *path) {
    char quote = **at;
    const char *p = *at + 1, *q = p;
    while (q < end && *q != quote && *q != '\n') q += *q == '\\' && q + 1 < end ? 2 : 1;
    FY_NEED(r->e, q < end && *q == quote, CORRUPT, "%s:%u: a string does not end", path, t->line);
    char *s = fy_arena_alloc(&r->tmp, (size_t)(q - p) + 1, 1);
    FY_NOMEM(r->e, s);
    size_t n = 0;
    while (p < q) {
        if (*p != '\\') { s[n++] = *p++; continue; }
        p++;
        if (p >= q) break;
        if (*p == 'x' && q - p >= 3 && hex(p[1]) >= 0 && hex(p[2]) >= 0) { s[n++] = (char)(hex(p[1]) * 16 + hex(p[2])); p += 3; continue; }
        if (*p >= '0' && *p <= '7') {
            int v = 0, k = 0;
            for (; k < 3 && p < q && *p >= '0' && *p <= '7'; k++) v = v * 8 + (*p++ - '0');
            s[n++] = (char)v;
            continue;
        }
        s[n++] = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p == 'r' ? '\r' : *p;
        p++;
    }
    while (n && !s[n - 1]) n--;
    s[n] = 0;
    for (size_t i = 0; i < n; i++)
        if (!s[i]) s[i] = '?';
    t->kind = TT_STR;
    t->s = s;
    t->n = n;
    *at = q + 1;
    return FY_OK;
}

static fy_status number(ts *r, ts_token *t, const char **at, const char *end, const char *path) {
    char buf[64];
    const char *p = *at;
    size_t n = 0;
    bool real = false;
    while (p < end && n < sizeof buf - 1 && (digit(*p) || *p == '.' || ((*p == 'e' || *p == 'E') && n) || ((*p == '+' || *p == '-') && n && (buf[n - 1] == 'e' || buf[n - 1] == 'E')))) {
        real = real || !digit(*p);
        buf[n++] = *p++;
    }
    buf[n] = 0;
    FY_NEED(r->e, n < sizeof buf - 1, CORRUPT, "%s:%u: a number is too long", path, t->line);
    t->kind = real ? TT_FLOAT : TT_INT;
    t->f = strtod(buf, NULL);
    t->i = 0;
    for (size_t i = 0; !real && i < n; i++) {                /* 9223372036854775808 is written behind a minus */
        int64_t more;
        if (__builtin_mul_overflow(t->i, (int64_t)10, &more) || __builtin_sub_overflow(more, (int64_t)(buf[i] - '0'), &t->i))
            return fy_fail(r->e, FY_E_CORRUPT, "%s:%u: a number is too large", path, t->line);
    }
    if (p < end && (*p == 'j' || *p == 'J')) { t->kind = TT_IMAG; p++; }
    *at = p;
    return FY_OK;
}

/* Blanks at the start of a line: blocks open and end. */
static fy_status indent(ts *r, ts_tokens *t, int width, int *stack, int *depth, uint32_t line, const char *path) {
    if (width > stack[*depth]) {
        FY_NEED(r->e, *depth + 1 < DEPTH, LIMIT, "%s:%u: blocks are nested deeper than %d", path, line, DEPTH);
        stack[++*depth] = width;
        return push(r, t, (ts_token){.kind = TT_INDENT, .line = line});
    }
    while (width < stack[*depth]) {
        --*depth;
        FY_TRY(push(r, t, (ts_token){.kind = TT_DEDENT, .line = line}));
    }
    FY_NEED(r->e, width == stack[*depth], CORRUPT, "%s:%u: a line is not indented as those around it", path, line);
    return FY_OK;
}

fy_status ts_lex(ts *r, ts_tokens *t, const char *path, const char *p, size_t n) {
    const char *end = p + n;
    int stack[DEPTH] = {0}, depth = 0, nest = 0;
    uint32_t line = 1;
    bool start = true;
    while (p < end) {
        if (start && !nest) {
            const char *q = p;
            while (q < end && *q == ' ') q++;
            if (q < end && (*q == '\n' || *q == '\r' || *q == '#')) {
                while (q < end && *q != '\n') q++;
                p = q < end ? q + 1 : q;
                line++;
                continue;
            }
            if (q >= end) break;
            FY_TRY(indent(r, t, q - p < 10000 ? (int)(q - p) : 10000, stack, &depth, line, path));
            p = q;
            start = false;
        }
        char c = *p;
        ts_token k = {.line = line};
        if (c == '\n') {
            if (!nest) { FY_TRY(push(r, t, (ts_token){.kind = TT_LINE, .line = line})); start = true; }
            line++;
            p++;
            continue;
        }
        if (c == ' ' || c == '\r' || c == '\t') { p++; continue; }
        if (c == '#') { while (p < end && *p != '\n') p++; continue; }
        if (c == '"' || c == '\'') FY_TRY(string(r, &k, &p, end, path));
        else if (digit(c) || (c == '.' && end - p > 1 && digit(p[1]))) FY_TRY(number(r, &k, &p, end, path));
        else if (word_start(c)) {
            const char *q = p;
            while (q < end && (word_start(*q) || digit(*q))) q++;
            k.kind = TT_WORD;
            k.n = (size_t)(q - p);
            FY_TRY(ts_intern(r, &k.s, p, k.n));
            p = q;
        } else if (c == '-' && end - p > 1 && p[1] == '>') { k.kind = TT_ARROW; p += 2; }
        else {
            FY_NEED(r->e, memchr("()[]{},:=.-+*", c, 13), CORRUPT, "%s:%u: the sign '%c' is not one that torch writes", path, line, c >= 32 && c < 127 ? c : '?');
            nest += c == '(' || c == '[' || c == '{';
            nest -= (c == ')' || c == ']' || c == '}') && nest > 0;
            k.kind = (ts_tkind)c;
            p++;
        }
        FY_TRY(push(r, t, k));
    }
    if (!start) FY_TRY(push(r, t, (ts_token){.kind = TT_LINE, .line = line}));
    FY_TRY(indent(r, t, 0, stack, &depth, line, path));
    return push(r, t, (ts_token){.kind = TT_END, .line = line});
}
