/* SPDX-License-Identifier: Apache-2.0
 * json.c - a JSON tree from one pass without recursion, and the writer.
 *
 * Source: RFC 8259; besides it the bare words Infinity, -Infinity and NaN that Python's json module writes (archives of
 * PyTorch up to 2.6 hold them), which is why no stock parser serves here. yajl is the oracle of tests/formats/test_json.c. */
#include "formats/json.h"

#include "base/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 256
#define MAX_NUMBER 400                   /* characters; Python prints a double in at most 25, ints may be longer */

typedef struct reader { const char *start, *at, *end; fy_arena *a; ferry_error *e; } reader;

static fy_status bad(const reader *r, const char *why) {
    return fy_fail(r->e, FY_E_CORRUPT, "JSON: %s at byte %zu", why, (size_t)(r->at - r->start));
}

static void blanks(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r')) r->at++;
}

/* Length of the UTF-8 sequence at p (1..4), or 0 if it is not well formed: RFC 3629, no overlong forms, no surrogates. */
int fy_utf8(const unsigned char *p, const unsigned char *end) {
    if (p[0] < 0x80) return 1;
    int n = p[0] >= 0xC2 && p[0] < 0xE0 ? 2 : (p[0] & 0xF0) == 0xE0 ? 3 : p[0] >= 0xF0 && p[0] < 0xF5 ? 4 : 0;
    if (!n || end - p < n) return 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return n;
}

static size_t put_utf8(char *to, uint32_t c) {
    if (c < 0x80) { to[0] = (char)c; return 1; }
    if (c < 0x800) { to[0] = (char)(0xC0 | c >> 6); to[1] = (char)(0x80 | (c & 63)); return 2; }
    if (c < 0x10000) { to[0] = (char)(0xE0 | c >> 12); to[1] = (char)(0x80 | (c >> 6 & 63)); to[2] = (char)(0x80 | (c & 63)); return 3; }
    to[0] = (char)(0xF0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 63));
    to[2] = (char)(0x80 | (c >> 6 & 63));
    to[3] = (char)(0x80 | (c & 63));
    return 4;
}

static bool hex4(const char *p, const char *end, uint32_t *v) {
    *v = 0;
    if (end - p < 4) return false;
    for (int i = 0; i < 4; i++) {
        int c = p[i], d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0) return false;
        *v = *v << 4 | (uint32_t)d;
    }
    return true;
}

/* At the opening quote. Two passes: find the end, then copy only if there are escapes (the result is never longer). */
static fy_status string(reader *r, const char **s, size_t *n) {
    const char *from = ++r->at;
    bool escaped = false;
    while (r->at < r->end && *r->at != '"') {
        if (*r->at == '\\') {
            escaped = true;
            if (++r->at >= r->end) break;
            r->at++;
        } else {
            if ((unsigned char)*r->at < 0x20) return bad(r, "control character in a string");
            int k = fy_utf8((const unsigned char *)r->at, (const unsigned char *)r->end);
            if (!k) return bad(r, "invalid UTF-8 in a string");
            r->at += k;
        }
    }
    if (r->at >= r->end) return bad(r, "string without end");
    const char *to = r->at;
    if (!escaped) { *s = from; *n = (size_t)(to - from); r->at++; return FY_OK; }
    char *out = fy_arena_alloc(r->a, (size_t)(to - from) + 1, 1);
    FY_NOMEM(r->e, out);
    size_t k = 0;
    static const char plain[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    for (const char *p = from; p < to;) {
        if (*p != '\\') { out[k++] = *p++; continue; }
        const char *known = p[1] ? strchr(plain, p[1]) : NULL;
        if (known) { out[k++] = means[known - plain]; p += 2; continue; }
        uint32_t c, low;
        if (p[1] != 'u' || !hex4(p + 2, to, &c)) { r->at = p; return bad(r, "unknown escape"); }
        p += 6;
        if (c >= 0xD800 && c < 0xDC00 && to - p >= 6 && p[0] == '\\' && p[1] == 'u' && hex4(p + 2, to, &low) && low >= 0xDC00 &&
            low < 0xE000) {
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            p += 6;
        } else if (c >= 0xD800 && c < 0xE000)
            c = 0xFFFD; /* half a surrogate pair has no UTF-8 */
        k += put_utf8(out + k, c);
    }
    *s = out; *n = k;
    r->at++;
    return FY_OK;
}

static double to_double(const char *s, size_t n) {
    double v = 0;
    (void)fy_read_f64(s, n, &v);         /* its syntax has been checked */
    return v;
}

static bool word(reader *r, const char *w) {
    size_t n = strlen(w);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, w, n)) return false;
    r->at += n;
    return true;
}

static fy_status number(reader *r, fy_json *v) {
    const char *from = r->at;
    bool neg = *r->at == '-', whole = true, fits = true;
    if (neg) r->at++;
    if (word(r, "Infinity")) { v->kind = FY_JSON_NUMBER; v->f = neg ? -(double)INFINITY : (double)INFINITY; return FY_OK; }
    const char *first = r->at;
    uint64_t m = 0;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
        unsigned d = (unsigned)(*r->at - '0');
        if (m > (UINT64_MAX - d) / 10) fits = false;
        else m = m * 10 + d;
    }
    if (r->at == first) return bad(r, "unexpected character");
    if (*first == '0' && r->at - first > 1) { r->at = first; return bad(r, "number with a leading zero"); }
    if (r->at < r->end && *r->at == '.') {
        whole = false;
        const char *d = ++r->at;
        while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
        if (r->at == d) return bad(r, "digits missing after the point");
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        whole = false;
        if (++r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
        const char *d = r->at;
        while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
        if (r->at == d) return bad(r, "exponent without digits");
    }
    if (r->at - from > MAX_NUMBER) { r->at = from; return bad(r, "number of too many digits"); }
    if (whole && fits && m <= (uint64_t)INT64_MAX + (neg ? 1 : 0)) {
        v->kind = FY_JSON_INT;
        v->i = neg ? (m ? -(int64_t)(m - 1) - 1 : 0) : (int64_t)m;
        v->f = (double)v->i;
    } else {
        v->kind = FY_JSON_NUMBER;
        v->f = to_double(from, (size_t)(r->at - from));
    }
    return FY_OK;
}

fy_status fy_json_parse(const fy_json **doc, fy_arena *a, const char *text, size_t n, ferry_error *e) {
    reader r = { text, text, text + n, a, e };
    fy_json *stack[MAX_DEPTH], *last[MAX_DEPTH];             /* open arrays and objects, and the newest child of each */
    int depth = 0;
    *doc = NULL;
    for (;;) {
        blanks(&r);
        if (r.at >= r.end) return bad(&r, "the text ends too early");
        fy_json *in = depth ? stack[depth - 1] : NULL;
        char close = !in ? 0 : in->kind == FY_JSON_OBJECT ? '}' : ']';
        if (in && *r.at == close && !last[depth - 1]) { r.at++; depth--; goto closed; }
        fy_json *v = fy_arena_alloc(a, 1, sizeof *v);
        FY_NOMEM(e, v);
        if (in && in->kind == FY_JSON_OBJECT) {
            size_t nkey;
            if (*r.at != '"') return bad(&r, "a key in quotes was expected");
            FY_TRY(string(&r, &v->key, &nkey));
            if (nkey > UINT32_MAX) return bad(&r, "key too long");
            v->nkey = (uint32_t)nkey;
            blanks(&r);
            if (r.at >= r.end || *r.at != ':') return bad(&r, "':' was expected");
            r.at++;
            blanks(&r);
            if (r.at >= r.end) return bad(&r, "the text ends too early");
        }
        if (in) {
            if (last[depth - 1]) last[depth - 1]->next = v;
            else in->child = v;
            last[depth - 1] = v;
        } else *doc = v;
        if (*r.at == '{' || *r.at == '[') {
            v->kind = *r.at++ == '{' ? FY_JSON_OBJECT : FY_JSON_ARRAY;
            FY_NEED(e, depth < MAX_DEPTH, LIMIT, "JSON: nested deeper than %d at byte %zu", MAX_DEPTH, (size_t)(r.at - text));
            stack[depth] = v;
            last[depth++] = NULL;
            continue;
        }
        if (*r.at == '"') { v->kind = FY_JSON_STRING; FY_TRY(string(&r, &v->s, &v->n)); }
        else if (*r.at == 't' && word(&r, "true")) { v->kind = FY_JSON_BOOL; v->b = true; }
        else if (*r.at == 'f' && word(&r, "false")) v->kind = FY_JSON_BOOL;
        else if (*r.at == 'n' && word(&r, "null")) v->kind = FY_JSON_NULL;
        else if (*r.at == 'N' && word(&r, "NaN")) { v->kind = FY_JSON_NUMBER; v->f = (double)NAN; }
        else if (*r.at == 'I' && word(&r, "Infinity")) { v->kind = FY_JSON_NUMBER; v->f = (double)INFINITY; }
        else FY_TRY(number(&r, v));
    closed:
        for (;;) {                       /* after a value: a comma, or the end of what is open */
            blanks(&r);
            if (!depth) {
                if (r.at != r.end) return bad(&r, "text after the document");
                return FY_OK;
            }
            if (r.at >= r.end) return bad(&r, "the text ends too early");
            char end = stack[depth - 1]->kind == FY_JSON_OBJECT ? '}' : ']';
            if (*r.at == end) { r.at++; depth--; continue; }
            if (*r.at != ',') return bad(&r, end == '}' ? "',' or '}' was expected" : "',' or ']' was expected");
            r.at++;
            blanks(&r);
            if (r.at < r.end && *r.at == end) return bad(&r, "a value was expected after ','");
            break;
        }
    }
}

const fy_json *fy_json_get(const fy_json *object, const char *key) {
    const fy_json *found = NULL;
    if (!object || object->kind != FY_JSON_OBJECT) return NULL;
    size_t n = strlen(key);
    for (const fy_json *j = object->child; j; j = j->next)
        if (j->nkey == n && !memcmp(j->key, key, n)) found = j;
    return found;
}

bool fy_json_is(const fy_json *j, const char *text) {
    return j && j->kind == FY_JSON_STRING && j->n == strlen(text) && !memcmp(j->s, text, j->n);
}

/* ---- writer ---------------------------------------------------------------------------------------------------------- */

void fy_json_quote(fy_buf *b, const char *s) {
    fy_buf_char(b, '"');
    const unsigned char *p = (const unsigned char *)s, *end = p + strlen(s);
    while (p < end) {
        int k = fy_utf8(p, end);
        if (!k) { fy_buf_str(b, "\xEF\xBF\xBD"); p++; continue; }
        if (*p == '"' || *p == '\\') { fy_buf_char(b, '\\'); fy_buf_char(b, (char)*p); }
        else if (*p == '\n') fy_buf_str(b, "\\n");
        else if (*p == '\t') fy_buf_str(b, "\\t");
        else if (*p < 0x20 || *p == 0x7F) fy_buf_fmt(b, "\\u%04x", *p);
        else fy_buf_add(b, p, (size_t)k);
        p += k;
    }
    fy_buf_char(b, '"');
}

static void newline(fy_jsonw *w) {
    fy_buf_char(w->out, '\n');
    for (int i = 0; i < w->depth; i++) fy_buf_str(w->out, "  ");
}

static void before(fy_jsonw *w, const char *key) {
    if (w->depth) {
        if (!w->first) fy_buf_char(w->out, ',');
        newline(w);
    }
    w->first = false;
    if (key) { fy_json_quote(w->out, key); fy_buf_str(w->out, ": "); }
}

static void after(fy_jsonw *w) {
    if (!w->depth) fy_buf_char(w->out, '\n');
}

static void open(fy_jsonw *w, const char *key, char c) { before(w, key); fy_buf_char(w->out, c); w->depth++; w->first = true; }
static void close(fy_jsonw *w, char c) {
    w->depth--;
    if (!w->first) newline(w);
    fy_buf_char(w->out, c);
    w->first = false;
    after(w);
}

void fy_jsonw_object(fy_jsonw *w, const char *key) { open(w, key, '{'); }
void fy_jsonw_array(fy_jsonw *w, const char *key) { open(w, key, '['); }
void fy_jsonw_end_object(fy_jsonw *w) { close(w, '}'); }
void fy_jsonw_end_array(fy_jsonw *w) { close(w, ']'); }

void fy_jsonw_str(fy_jsonw *w, const char *key, const char *s) {
    before(w, key);
    if (s) fy_json_quote(w->out, s);
    else fy_buf_str(w->out, "null");
    after(w);
}

void fy_jsonw_int(fy_jsonw *w, const char *key, int64_t v) { before(w, key); fy_buf_fmt(w->out, "%" PRId64, v); after(w); }
void fy_jsonw_bool(fy_jsonw *w, const char *key, bool v) { before(w, key); fy_buf_str(w->out, v ? "true" : "false"); after(w); }
void fy_jsonw_null(fy_jsonw *w, const char *key) { before(w, key); fy_buf_str(w->out, "null"); after(w); }

void fy_jsonw_num(fy_jsonw *w, const char *key, double v) {
    before(w, key);
    if (isnan(v)) fy_buf_str(w->out, "\"NaN\"");
    else if (isinf(v)) fy_buf_str(w->out, v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else {
        char text[64];
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, v);
            if (strtod(text, NULL) == v) break;
        }
        fy_plain_point(text);
        fy_buf_str(w->out, text);
    }
    after(w);
}
