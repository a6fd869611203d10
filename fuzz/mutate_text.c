/* SPDX-License-Identifier: Apache-2.0
 * mutate_text.c - edits of JSON values and of pickle opcodes. */
#include "mutate.h"

#include <stdio.h>
#include <string.h>

/* ---- JSON ----------------------------------------------------------------------------------------------------------- */

#define MAX_VALUES 20000
#define MAX_OPEN 300

typedef struct value { size_t at, end; bool key; } value;
typedef struct values { value v[MAX_VALUES]; int n; } values;

/* Spans of all values (keys too), by brackets and quotes alone, so that damaged text has some as well. */
static void scan_json(values *l, const fy_bytes *b) {
    int open[MAX_OPEN], depth = 0;
    for (size_t i = 0; i < b->n && l->n < MAX_VALUES;) {
        unsigned char c = b->at[i];
        if (c == '{' || c == '[') {
            l->v[l->n] = (value){i, i + 1, false};
            if (depth < MAX_OPEN) open[depth++] = l->n;
            l->n++, i++;
        } else if (c == '}' || c == ']') {
            i++;
            if (depth) l->v[open[--depth]].end = i;
        } else if (c == '"') {
            size_t end = i + 1;
            while (end < b->n && b->at[end] != '"') end += b->at[end] == '\\' ? 2 : 1;
            end = end < b->n ? end + 1 : b->n;
            size_t after = end;
            while (after < b->n && (b->at[after] == ' ' || b->at[after] == '\n')) after++;
            l->v[l->n++] = (value){i, end, after < b->n && b->at[after] == ':'};
            i = end;
        } else if (c == ',' || c == ':' || c <= ' ') i++;
        else {
            size_t end = i + 1;
            while (end < b->n && b->at[end] > ' ' && !strchr(",:{}[]\"", b->at[end])) end++;
            l->v[l->n++] = (value){i, end, false};
            i = end;
        }
    }
}

/* The value behind a key that is one of the format's words: most of a program's text is bookkeeping, and these are not. */
static const value *pick_value(fy_mutator *m, const values *l, const fy_bytes *b) {
    for (int tries = 0; m->nwords && tries < 200; tries++) {
        size_t k = fy_mut_below(m, (size_t)l->n);
        const value *v = &l->v[k];
        if (!v->key || k + 1 == (size_t)l->n) continue;
        size_t n = v->end - v->at - 2;
        for (int i = 0; i < m->nwords; i++)
            if (strlen(m->words[i]) == n && !memcmp(m->words[i], b->at + v->at + 1, n)) return v + 1;
    }
    return &l->v[fy_mut_below(m, (size_t)l->n)];
}

static int kind_of(const fy_bytes *b, const value *v) {
    unsigned char c = b->at[v->at];
    return c == '-' || (c >= '0' && c <= '9') ? '0' : c == 't' || c == 'f' ? 't' : c;
}

/* Another value of the same kind, behind the same key if there is one: the text stays one that a reader follows. */
static const value *pick_like(fy_mutator *m, const values *l, const fy_bytes *b, const value *v) {
    const value *key = v > l->v && v[-1].key ? v - 1 : NULL;
    for (int tries = 0; tries < 400; tries++) {
        const value *w = &l->v[fy_mut_below(m, (size_t)l->n)];
        if (w == v || w->key != v->key || kind_of(b, w) != kind_of(b, v)) continue;
        if (!key) return w;
        if (w > l->v && w[-1].key && w[-1].end - w[-1].at == key->end - key->at && !memcmp(b->at + w[-1].at, b->at + key->at, key->end - key->at)) return w;
    }
    return v;
}

/* Keeps the grammar and, mostly, the meaning: a number for a number, a name for a name. */
static bool edit_json_alike(fy_mutator *m, fy_bytes *b, const values *l, const value *v) {
    char text[160];
    int kind = kind_of(b, v);
    size_t n = 0;
    if (kind == '0' && !fy_mut_one_in(m, 3))
        n = (size_t)snprintf(text, sizeof text, "%lld", fy_mut_one_in(m, 2) ? (long long)fy_mut_below(m, 9) - 4 : (long long)fy_mut_extreme(m, 64));
    else if (kind == 't') n = (size_t)snprintf(text, sizeof text, "%s", b->at[v->at] == 't' ? "false" : "true");
    else if (kind == '"' && !v->key && fy_mut_one_in(m, 3)) n = (size_t)snprintf(text, sizeof text, "\"%.150s\"", fy_mut_word(m));
    if (n) return fy_mut_replace(b, v->at, v->end - v->at, text, n < sizeof text ? n : sizeof text - 1);
    const value *w = pick_like(m, l, b, v);
    return w != v && fy_mut_copy(b, v->at, v->end - v->at, w->at, w->end - w->at);
}

bool fy_mut_json(fy_mutator *m, fy_bytes *b) {
    static values l;
    l.n = 0;
    scan_json(&l, b);
    if (!l.n) return fy_mut_bytes(m, b);
    bool chosen = !fy_mut_one_in(m, 4);
    const value *v = chosen ? pick_value(m, &l, b) : &l.v[fy_mut_below(m, (size_t)l.n)], *w = v;
    for (int i = 0; i < 8 && (w == v || w->key != v->key); i++) w = chosen ? pick_value(m, &l, b) : &l.v[fy_mut_below(m, (size_t)l.n)];
    if (!fy_mut_one_in(m, 4)) return edit_json_alike(m, b, &l, v);
    if (v->end - v->at > 4000 && !fy_mut_one_in(m, 10)) return false;  /* the large containers rarely */
    static const char *const atoms[] = {"null", "true", "false", "[]", "{}", "\"\"", "[[]]", "[null]", "{\"\":0}", "\"\\u0000\"", "\"\\ud800\"", "\"\xC0\x80\"",
        "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "[-1]", "[9223372036854775807,9223372036854775807]"};
    char text[160];
    size_t n;
    switch (fy_mut_below(m, 12)) {
    case 0: case 1: n = fy_mut_number(m, text, sizeof text); return fy_mut_replace(b, v->at, v->end - v->at, text, n);
    case 2: { const char *a = atoms[fy_mut_below(m, sizeof atoms / sizeof *atoms)]; return fy_mut_replace(b, v->at, v->end - v->at, a, strlen(a)); }
    case 3: case 4:
        n = (size_t)snprintf(text, sizeof text, "\"%.150s\"", fy_mut_word(m));
        return fy_mut_replace(b, v->at, v->end - v->at, text, n < sizeof text ? n : sizeof text - 1);
    case 5: case 6: case 7: return fy_mut_copy(b, v->at, v->end - v->at, w->at, w->end - w->at);
    case 8: {                                                           /* out, with the comma after it */
        size_t end = v->end;
        while (end < b->n && b->at[end] <= ' ') end++;
        if (end < b->n && b->at[end] == ',') end++;
        return fy_mut_replace(b, v->at, end - v->at, NULL, 0);
    }
    case 9:                                                             /* once more */
        return fy_mut_copy(b, v->end, 0, v->at, v->end - v->at) && fy_mut_replace(b, v->end, 0, ",", 1);
    case 10: {                                                          /* deep */
        size_t deep = (size_t)1 << fy_mut_below(m, 11), at = v->at, len = v->end - v->at;
        bool ok = true;
        for (size_t i = 0; i < deep && ok; i++) ok = fy_mut_replace(b, at, 0, "[", 1);
        for (size_t i = 0; i < deep && ok; i++) ok = fy_mut_replace(b, at + deep + len, 0, "]", 1);
        return ok;
    }
    default:                                                            /* one character */
        b->at[v->at + fy_mut_below(m, v->end - v->at)] = (unsigned char)fy_mut_next(m);
        return true;
    }
}

/* ---- pickle --------------------------------------------------------------------------------------------------------- */

#define MAX_OPS 8192
typedef struct opcode { size_t at, arg, end; } opcode;
typedef struct opcodes { opcode o[MAX_OPS]; int n; } opcodes;

/* Bytes of the argument of opcode c at p[at]. */
static size_t pickle_arg(unsigned char c, const unsigned char *p, size_t at, size_t n) {
    size_t i = at;
    switch (c) {
    case 0x80: case 'K': case 'h': case 'q': case 0x82: return 1;
    case 'M': case 0x83: return 2;
    case 'J': case 'j': case 'r': case 0x84: return 4;
    case 'G': case 0x95: return 8;
    case 'U': case 'C': case 0x8A: case 0x8C: return at < n ? 1 + (size_t)p[at] : 1;
    case 'X': case 'B': case 'T': case 0x8B: return at + 4 <= n ? 4 + (size_t)(p[at] | p[at + 1] << 8) : 4;
    case 'c': case 'i': for (int lines = 0; i < n && lines < 2; i++) lines += p[i] == '\n'; return i - at;
    case 'F': case 'I': case 'L': case 'S': case 'V': case 'P': case 'g': case 'p': while (i < n && p[i] != '\n') i++; return i - at + 1;
    default: return 0;
    }
}

bool fy_mut_pickle(fy_mutator *m, fy_bytes *b) {
    static opcodes l;
    l.n = 0;
    for (size_t at = 0; at < b->n && l.n < MAX_OPS;) {
        size_t n = pickle_arg(b->at[at], b->at, at + 1, b->n), end = at + 1 + n < b->n ? at + 1 + n : b->n;
        l.o[l.n++] = (opcode){at, at + 1, end};
        at = end;
    }
    if (l.n < 2) return fy_mut_bytes(m, b);
    static const char ops[] = "(.0122GIJKLMNPQRSTUVX]abcdeghijlopqrstu})\x80\x81\x82\x85\x86\x87\x88\x89\x8A\x8B\x8C\x8E\x90\x91\x93\x94\x95";
    const opcode *o = &l.o[fy_mut_below(m, (size_t)l.n)], *p = &l.o[fy_mut_below(m, (size_t)l.n)];
    switch (fy_mut_below(m, 10)) {
    case 0: return fy_mut_replace(b, o->at, o->end - o->at, NULL, 0);
    case 1: return fy_mut_copy(b, o->end, 0, o->at, o->end - o->at);
    case 2: case 3: return fy_mut_copy(b, o->at, o->end - o->at, p->at, p->end - p->at);
    case 4: return fy_mut_copy(b, o->at, 0, p->at, p->end - p->at);
    case 5: b->at[o->at] = (unsigned char)ops[fy_mut_below(m, sizeof ops - 1)]; return true;
    case 6: return fy_mut_replace(b, o->at, 0, ops + fy_mut_below(m, sizeof ops - 1), 1);
    case 7: {                                                           /* the argument */
        uint64_t v = fy_mut_extreme(m, b->n);
        size_t n = o->end - o->arg;
        if (!n) return false;
        memcpy(b->at + o->arg, &v, n < 8 ? n : 8);
        return true;
    }
    case 8: {                                                           /* a name, with its length */
        const char *w = fy_mut_word(m);
        size_t n = strlen(w);
        if (b->at[o->at] == 'c') return fy_mut_replace(b, o->arg, o->end - o->arg, w, n);
        if (b->at[o->at] != 'X') return false;
        unsigned char head[4] = {(unsigned char)n, (unsigned char)(n >> 8), 0, 0};
        return fy_mut_replace(b, o->arg, o->end - o->arg, w, n) && fy_mut_replace(b, o->arg, 0, head, 4);
    }
    default: {                                                          /* many of one: marks, containers, appends */
        char many[256];
        memset(many, ops[fy_mut_below(m, sizeof ops - 1)], sizeof many);
        return fy_mut_replace(b, o->at, 0, many, 1 + fy_mut_below(m, sizeof many));
    }
    }
}
