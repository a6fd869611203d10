/* SPDX-License-Identifier: Apache-2.0
 * json.h - JSON in and out: a read-only tree with exact 64-bit integers, and a writer for reports. */
#ifndef FY_JSON_H
#define FY_JSON_H

#include "base/arena.h"
#include "base/buf.h"

typedef enum fy_json_kind {
    FY_JSON_NULL,
    FY_JSON_BOOL,
    FY_JSON_INT,
    FY_JSON_NUMBER,
    FY_JSON_STRING,
    FY_JSON_ARRAY,
    FY_JSON_OBJECT
} fy_json_kind;

/* Children of arrays and objects form a list through `next`; members carry key. Strings point into the text when they
 * hold no escapes. */
typedef struct fy_json fy_json;
struct fy_json {
    fy_json_kind kind;
    bool b;
    uint32_t nkey;
    const char *key;
    int64_t i;
    double f;
    const char *s;
    size_t n;
    fy_json *child, *next;
};

/* Depth at most 256. Error CORRUPT with byte offset. Duplicate keys: the last counts. Accepts the bare Infinity and NaN that
 * Python writes. */
FY_CHECKED fy_status fy_json_parse(const fy_json **doc, fy_arena *a, const char *text, size_t n, ferry_error *e);
const fy_json *fy_json_get(const fy_json *object, const char *key);      /* NULL if absent, or not an object */
bool fy_json_is(const fy_json *j, const char *text);                     /* a string equal to text? */

/* Bytes of the UTF-8 character at p, before `end`; 0 if there is no valid one. */
int fy_utf8(const unsigned char *p, const unsigned char *end);

/* Appends s as a JSON string; invalid UTF-8 is replaced. */
void fy_json_quote(fy_buf *b, const char *s);

/* Writer: appends to a buffer, indented by two blanks. Commas are placed by itself. */
typedef struct fy_jsonw { fy_buf *out; int depth; bool first, after_key; } fy_jsonw;
void fy_jsonw_object(fy_jsonw *w, const char *key);          /* key NULL inside arrays and at the top */
void fy_jsonw_array(fy_jsonw *w, const char *key);
void fy_jsonw_end_object(fy_jsonw *w);
void fy_jsonw_end_array(fy_jsonw *w);
void fy_jsonw_str(fy_jsonw *w, const char *key, const char *s);          /* NULL gives null; invalid UTF-8 is replaced */
void fy_jsonw_int(fy_jsonw *w, const char *key, int64_t v);
void fy_jsonw_num(fy_jsonw *w, const char *key, double v);               /* shortest that reads back; NaN, inf as strings */
void fy_jsonw_bool(fy_jsonw *w, const char *key, bool v);
void fy_jsonw_null(fy_jsonw *w, const char *key);

#endif
