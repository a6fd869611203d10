/* SPDX-License-Identifier: Apache-2.0
 * dim_text.c - sizes as text, both ways.
 *
 *     sum    := product { ("+" | "-") product }                floor(a/b) and ceil(a/b) take one division inside;
 *     product:= power { ("*" | "//" | "%" | "/") power }       "/" is legal nowhere else, "//" is floor division
 *     power  := "-" power | atom [ "**" atom ]
 *     atom   := number | name | `name` | "(" sum ")" | function "(" sum {"," sum} ")"
 * Names of functions are read in any case, torch's FloorDiv, CeilDiv, Mod, Min, Max among them. A text without operators
 * that does not start with a digit is one name, whatever it holds (dim_param is free text). */
#include "ir/dim.h"

#include "base/checked.h"

#include <string.h>

#define MAX_NESTING 64

/* ---- printing ------------------------------------------------------------------------------------------------------ */

static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool word_char(char c) { return letter(c) || digit(c) || c == '.'; }

static bool is_word(const char *s, size_t n) {
    if (!n || !letter(s[0])) return false;
    for (size_t i = 1; i < n; i++)
        if (!word_char(s[i])) return false;
    return true;
}

/* Can the whole text stand for one name? */
static bool is_name(const char *s, size_t n) {
    if (!n || digit(s[0]) || s[0] == ' ' || s[n - 1] == ' ') return false;
    for (size_t i = 0; i < n; i++)
        if (strchr("+-*/%(),`", s[i]) || (unsigned char)s[i] < 32) return false;   /* a 0 byte counts: strchr finds it */
    return true;
}

static void print(fy_buf *out, const fy_dim *d, int level);      /* level 0: anything, 1: no sum, 2: an atom */

static void print_name(fy_buf *out, const char *name, bool alone) {
    size_t n = strlen(name);
    if (is_word(name, n) || (alone && is_name(name, n))) { fy_buf_str(out, name); return; }
    fy_buf_char(out, '`');
    for (size_t i = 0; i < n; i++) {
        if (name[i] == '`' || name[i] == '\\') fy_buf_char(out, '\\');
        fy_buf_char(out, name[i]);
    }
    fy_buf_char(out, '`');
}

/* A term without its sign. */
static void print_term(fy_buf *out, const fy_dim *t) {
    if (t->kind != FY_DIM_PROD) { print(out, t, 1); return; }
    uint64_t c = t->value < 0 ? 0 - (uint64_t)t->value : (uint64_t)t->value;
    if (c != 1) fy_buf_fmt(out, "%llu", (unsigned long long)c);
    for (int i = 0; i < t->nargs; i++) {
        if (i || c != 1) fy_buf_char(out, '*');
        print(out, t->arg[i], 2);
    }
}

static bool negative(const fy_dim *t) { return t->kind == FY_DIM_PROD && t->value < 0; }

static void print_sum(fy_buf *out, const fy_dim *d) {
    bool any = false;
    for (int pass = 0; pass < 2; pass++)                 /* positive terms first */
        for (int i = 0; i < d->nargs; i++) {
            if (negative(d->arg[i]) != (pass == 1)) continue;
            fy_buf_str(out, pass ? any ? " - " : "-" : any ? " + " : "");
            print_term(out, d->arg[i]);
            any = true;
        }
    if (d->value > 0) fy_buf_fmt(out, " + %lld", (long long)d->value);
    if (d->value < 0) fy_buf_fmt(out, " - %llu", (unsigned long long)(0 - (uint64_t)d->value));
}

static void print(fy_buf *out, const fy_dim *d, int level) {
    bool wrap = false;
    switch (d->kind) {
    case FY_DIM_CONST: wrap = d->value < 0 && level > 0; break;
    case FY_DIM_SUM: wrap = level > 0; break;
    case FY_DIM_PROD: wrap = level > 1 || (level > 0 && d->value < 0); break;
    case FY_DIM_SYM: case FY_DIM_OPAQUE: case FY_DIM_FLOORDIV: case FY_DIM_CEILDIV: case FY_DIM_MOD: case FY_DIM_POW: case FY_DIM_MIN: case FY_DIM_MAX:
    case FY_DIM_SCALE: break;
    }
    if (wrap) fy_buf_char(out, '(');
    switch (d->kind) {
    case FY_DIM_CONST: fy_buf_fmt(out, "%lld", (long long)d->value); break;
    case FY_DIM_SYM:
    case FY_DIM_OPAQUE: print_name(out, d->name, false); break;
    case FY_DIM_SUM: print_sum(out, d); break;
    case FY_DIM_PROD:
        if (d->value < 0) fy_buf_char(out, '-');
        print_term(out, d);
        break;
    case FY_DIM_FLOORDIV:
    case FY_DIM_CEILDIV:
        fy_buf_str(out, d->kind == FY_DIM_FLOORDIV ? "floor(" : "ceil(");
        print(out, d->arg[0], 1);
        fy_buf_char(out, '/');
        print(out, d->arg[1], 2);
        fy_buf_char(out, ')');
        break;
    case FY_DIM_SCALE:
        fy_buf_str(out, "floor(");
        print(out, d->arg[0], 2);
        fy_buf_fmt(out, "*%lld/%lld)", (long long)d->value, (long long)d->den);
        break;
    case FY_DIM_MOD: case FY_DIM_POW: case FY_DIM_MIN: case FY_DIM_MAX:
        fy_buf_str(out, d->kind == FY_DIM_MOD ? "mod(" : d->kind == FY_DIM_POW ? "pow(" : d->kind == FY_DIM_MIN ? "min(" : "max(");
        print(out, d->arg[0], 0);
        fy_buf_str(out, ", ");
        print(out, d->arg[1], 0);
        fy_buf_char(out, ')');
        break;
    }
    if (wrap) fy_buf_char(out, ')');
}

void fy_dim_print(fy_buf *out, const fy_dim *d) {
    if (!d) fy_buf_char(out, '?');
    else if (d->kind == FY_DIM_SYM || d->kind == FY_DIM_OPAQUE) print_name(out, d->name, true);
    else print(out, d, 0);
}

/* ---- parsing ------------------------------------------------------------------------------------------------------- */

/* in_floor: this very level stands inside floor( or ceil(, so that one "/" is legal. */
typedef struct parser { fy_dims *p; const char *at, *end; int depth; } parser;

static void blanks(parser *s) { while (s->at < s->end && (*s->at == ' ' || *s->at == '\t')) s->at++; }

static bool eat(parser *s, const char *word) {
    size_t n = strlen(word);
    blanks(s);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0) return false;
    s->at += n;
    return true;
}

static const fy_dim *sum(parser *s, int round, bool *divided);   /* round 0: no "/", -1: floor, 1: ceil */

static const fy_dim *number(parser *s) {
    int64_t v = 0;
    while (s->at < s->end && digit(*s->at)) {
        if (!fy_mul_i64(&v, v, 10) || !fy_add_i64(&v, v, *s->at - '0')) return NULL;
        s->at++;
    }
    if (s->at < s->end && (letter(*s->at) || *s->at == '.')) return NULL;
    return fy_dim_const(s->p, v);
}

static const fy_dim *symbol(parser *s, const char *from, size_t n) {
    char small[256];
    if (n >= sizeof small || !n) return NULL;
    memcpy(small, from, n);
    small[n] = 0;
    return fy_dim_sym(s->p, small);
}

static const fy_dim *quoted(parser *s) {
    char name[256];
    size_t n = 0;
    for (s->at++; s->at < s->end && *s->at != '`'; s->at++) {
        if (*s->at == '\\' && s->at + 1 < s->end) s->at++;
        if (n + 1 >= sizeof name || !*s->at) return NULL;
        name[n++] = *s->at;
    }
    if (s->at == s->end) return NULL;
    s->at++;
    return symbol(s, name, n);
}

static bool called(const char *name, size_t n, const char *what) {   /* equal but for case? */
    if (strlen(what) != n) return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if ((c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c) != what[i]) return false;
    }
    return true;
}

typedef const fy_dim *binary_fn(fy_dims *p, const fy_dim *a, const fy_dim *b);
static const struct { const char *name; binary_fn *fn; bool many; } functions[] = {
    { "min", fy_dim_min, true }, { "max", fy_dim_max, true }, { "mod", fy_dim_mod, false }, { "pythonmod", fy_dim_mod, false },
    { "pow", fy_dim_pow, false }, { "floordiv", fy_dim_floordiv, false }, { "ceildiv", fy_dim_ceildiv, false },
};

static const fy_dim *function(parser *s, const char *name, size_t n) {
    int round = called(name, n, "floor") ? -1 : called(name, n, "ceil") || called(name, n, "ceiling") ? 1 : 0;
    bool divided = false;
    int f = 0;
    while (!round && f < FY_COUNT(functions) && !called(name, n, functions[f].name)) f++;
    if (f == FY_COUNT(functions)) return NULL;
    const fy_dim *a = sum(s, round, &divided);
    int args = 1;
    while (a && !round && eat(s, ",")) {
        const fy_dim *b = sum(s, 0, NULL);
        a = b ? functions[f].fn(s->p, a, b) : NULL;
        args++;
    }
    if (!a || !eat(s, ")") || (!round && (args < 2 || (args > 2 && !functions[f].many)))) return NULL;
    return a;
}

static const fy_dim *atom(parser *s) {
    blanks(s);
    if (s->at == s->end || s->depth >= MAX_NESTING) return NULL;
    if (digit(*s->at)) return number(s);
    if (*s->at == '`') return quoted(s);
    const fy_dim *d = NULL;
    s->depth++;
    if (eat(s, "(")) {
        d = sum(s, 0, NULL);
        if (d && !eat(s, ")")) d = NULL;
    } else if (letter(*s->at)) {
        const char *from = s->at;
        while (s->at < s->end && word_char(*s->at)) s->at++;
        size_t n = (size_t)(s->at - from);
        d = eat(s, "(") ? function(s, from, n) : symbol(s, from, n);
    }
    s->depth--;
    return d;
}

static const fy_dim *power(parser *s) {
    if (eat(s, "-")) {                                   /* binds as in Python: before "*" and "//", after "**" */
        if (s->depth >= MAX_NESTING) return NULL;
        s->depth++;
        const fy_dim *x = power(s);
        s->depth--;
        return fy_dim_muli(s->p, x, -1);
    }
    const fy_dim *a = atom(s);
    return a && eat(s, "**") ? fy_dim_pow(s->p, a, atom(s)) : a;
}

static const fy_dim *product(parser *s, int round, bool *divided) {
    const fy_dim *a = power(s);
    while (a) {
        blanks(s);
        if (s->end - s->at >= 2 && s->at[0] == '/' && s->at[1] == '/') { s->at += 2; a = fy_dim_floordiv(s->p, a, power(s)); }
        else if (eat(s, "*")) a = fy_dim_mul(s->p, a, power(s));
        else if (eat(s, "%")) a = fy_dim_mod(s->p, a, power(s));
        else if (round && !*divided && eat(s, "/")) {
            *divided = true;
            const fy_dim *b = power(s);
            a = round < 0 ? fy_dim_floordiv(s->p, a, b) : fy_dim_ceildiv(s->p, a, b);
            break;                                       /* floor(a/b*c) is not floor(a/b)*c: what follows must be "+", "-" or ")" */
        } else break;
    }
    return a;
}

static const fy_dim *sum(parser *s, int round, bool *divided) {
    if (s->depth >= MAX_NESTING) return NULL;
    s->depth++;
    const fy_dim *a = product(s, round, divided);
    for (bool more = true; a && more;) {
        if (eat(s, "+")) a = fy_dim_add(s->p, a, product(s, round, divided));
        else if (eat(s, "-")) a = fy_dim_sub(s->p, a, product(s, 0, NULL));
        else more = false;
    }
    s->depth--;
    return a;
}

const fy_dim *fy_dim_parse(fy_dims *p, const char *text, size_t n) {
    while (n && *text == ' ') { text++; n--; }
    while (n && text[n - 1] == ' ') n--;
    parser s = { p, text, text + n, 0 };
    if (is_name(text, n)) return symbol(&s, text, n);
    const fy_dim *d = sum(&s, 0, NULL);
    blanks(&s);
    return s.at == s.end ? d : NULL;
}
