/* SPDX-License-Identifier: Apache-2.0
 * schema.c - PyTorch's schema text: "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor".
 *
 *     schema  = name [ "." overload ] "(" args ")" "->" returns
 *     arg     = type name [ "=" default ]        after a lone "*" keyword only
 *     type    = word [ "(" alias [ "!" ] [ "->" "*" ] ")" ] { "?" | "[" [ n ] "]" }
 *
 * Enum defaults use c10's numbers; they become the archive's own (ferry_dtype for ScalarType). */
#include "aten/aten.h"

#include <stdlib.h>
#include <string.h>

typedef struct scan { const char *at, *text; fy_arena *a; ferry_error *e; } scan;

#define NEED(s, cond, what) FY_NEED((s)->e, cond, VALUE, "schema \"%.100s\": %s at column %d", (s)->text, what, (int)((s)->at - (s)->text))

static void blanks(scan *s) {
    while (*s->at == ' ') s->at++;
}

static bool take(scan *s, const char *word) {
    blanks(s);
    size_t n = strlen(word);
    if (strncmp(s->at, word, n) != 0) return false;
    s->at += n;
    return true;
}

static bool word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

static fy_status word(scan *s, const char **at, size_t *n) {
    blanks(s);
    *at = s->at;
    while (word_char(*s->at)) s->at++;
    *n = (size_t)(s->at - *at);
    NEED(s, *n > 0, "a word is missing");
    return FY_OK;
}

static bool same(const char *at, size_t n, const char *text) { return strlen(text) == n && memcmp(at, text, n) == 0; }

static fy_schema_type base_type(const char *at, size_t n) {
    static const struct { const char *name; fy_schema_type type; } table[] = {
        {"Tensor", FY_ST_TENSOR}, {"int", FY_ST_INT}, {"SymInt", FY_ST_INT}, {"float", FY_ST_FLOAT}, {"SymFloat", FY_ST_FLOAT},
        {"bool", FY_ST_BOOL}, {"SymBool", FY_ST_BOOL}, {"Scalar", FY_ST_SCALAR}, {"str", FY_ST_STRING}, {"ScalarType", FY_ST_DTYPE},
        {"Layout", FY_ST_LAYOUT}, {"Device", FY_ST_DEVICE}, {"MemoryFormat", FY_ST_MEMORY_FORMAT},
    };
    for (int i = 0; i < FY_COUNT(table); i++)
        if (same(at, n, table[i].name)) return table[i].type;
    return FY_ST_OTHER;
}

static fy_schema_type list_of(fy_schema_type t) {
    return t == FY_ST_TENSOR ? FY_ST_TENSORS : t == FY_ST_INT ? FY_ST_INTS : t == FY_ST_FLOAT ? FY_ST_FLOATS
         : t == FY_ST_BOOL ? FY_ST_BOOLS : t == FY_ST_SCALAR ? FY_ST_SCALARS : FY_ST_OTHER;
}

/* "Tensor(a!)", "SymInt[2]?", "Tensor?[]", "Tensor(a)[]" */
static fy_status type(scan *s, fy_schema_arg *arg) {
    const char *at;
    size_t n;
    FY_TRY(word(s, &at, &n));
    arg->type = base_type(at, n);
    if (*s->at == '(') {
        s->at++;
        NEED(s, *s->at >= 'a' && *s->at <= 'z', "an alias set is missing");
        arg->alias = *s->at++;
        while (*s->at == '|') {                          /* "a|b": may alias either; the last is the argument's own */
            s->at++;
            NEED(s, *s->at >= 'a' && *s->at <= 'z', "an alias set is missing");
            arg->alias = *s->at++;
        }
        if (*s->at == '!') { arg->written = true; s->at++; }
        if (take(s, "->")) {
            NEED(s, take(s, "*"), "a '*' is missing");
            arg->alias_list = true;
        }
        NEED(s, take(s, ")"), "a ')' is missing");
    }
    for (;;) {
        if (*s->at == '?') {
            s->at++;
            arg->optional = *s->at != '[';               /* "Tensor?[]" is a list of optional tensors, not an optional list */
        } else if (*s->at == '[') {
            s->at++;
            while (*s->at >= '0' && *s->at <= '9' && arg->fixed_n < 100) arg->fixed_n = arg->fixed_n * 10 + (*s->at++ - '0');
            NEED(s, *s->at == ']', "a ']' is missing");
            s->at++;
            arg->type = list_of(arg->type);
        } else return FY_OK;
    }
}

typedef struct number { bool integer; int64_t i; double f; } number;

static fy_status read_number(scan *s, number *v) {
    const char *from = s->at;
    char *end = NULL;
    v->f = strtod(from, &end);
    NEED(s, end != from, "a number is missing");
    v->integer = true;
    for (const char *c = from; c < end; c++)
        if (*c == '.' || *c == 'e' || *c == 'E' || *c == 'n') v->integer = false;
    v->i = v->integer ? (int64_t)strtoll(from, NULL, 10) : 0;
    s->at = end;
    return FY_OK;
}

/* "[1, 1]" or "0" for a list of n */
static fy_status list_default(scan *s, fy_schema_arg *arg) {
    enum { MOST = 16 };
    number v[MOST];
    int n = 0;
    if (take(s, "[")) {
        blanks(s);
        while (*s->at != ']') {
            NEED(s, n < MOST, "a default list is too long");
            blanks(s);
            FY_TRY(read_number(s, &v[n++]));
            if (!take(s, ",")) break;
            blanks(s);
        }
        NEED(s, take(s, "]"), "a ']' is missing");
    } else {
        FY_TRY(read_number(s, &v[0]));
        NEED(s, arg->fixed_n > 0 && arg->fixed_n <= MOST, "a single number for a list of unknown length");
        for (n = 1; n < arg->fixed_n; n++) v[n] = v[0];
    }
    fy_parg *d = &arg->def;
    d->n = n;
    if (arg->type == FY_ST_FLOATS || arg->type == FY_ST_SCALARS) {
        double *f = FY_NEWN(s->a, double, n);
        FY_NOMEM(s->e, f);
        for (int i = 0; i < n; i++) f[i] = v[i].f;
        d->kind = FY_ARG_FLOATS;
        d->floats = f;
    } else {
        int64_t *k = FY_NEWN(s->a, int64_t, n);
        FY_NOMEM(s->e, k);
        for (int i = 0; i < n; i++) k[i] = v[i].i;
        d->kind = arg->type == FY_ST_BOOLS ? FY_ARG_BOOLS : FY_ARG_INTS;
        d->ints = k;
    }
    return FY_OK;
}

static fy_status default_value(scan *s, fy_schema_arg *arg) {
    fy_parg *d = &arg->def;
    d->name = arg->name;
    arg->has_default = true;
    blanks(s);
    if (take(s, "None")) { d->kind = FY_ARG_NONE; return FY_OK; }
    if (take(s, "True")) { d->kind = FY_ARG_BOOL; d->i = 1; return FY_OK; }
    if (take(s, "False")) { d->kind = FY_ARG_BOOL; return FY_OK; }
    if (*s->at == '"') {
        const char *from = ++s->at;
        while (*s->at && *s->at != '"') s->at++;
        NEED(s, *s->at == '"', "a '\"' is missing");
        d->kind = FY_ARG_STRING;
        d->s = fy_arena_strn(s->a, from, (size_t)(s->at - from));
        s->at++;
        FY_NOMEM(s->e, d->s);
        return FY_OK;
    }
    switch (arg->type) {
    case FY_ST_INTS: case FY_ST_FLOATS: case FY_ST_BOOLS: case FY_ST_SCALARS: return list_default(s, arg);
    case FY_ST_TENSOR: case FY_ST_TENSORS: case FY_ST_INT: case FY_ST_FLOAT: case FY_ST_BOOL: case FY_ST_SCALAR: case FY_ST_STRING:
    case FY_ST_DTYPE: case FY_ST_LAYOUT: case FY_ST_DEVICE: case FY_ST_MEMORY_FORMAT: case FY_ST_OTHER: break;
    }
    number v;
    FY_TRY(read_number(s, &v));
    d->i = v.i;
    d->f = v.f;
    d->kind = FY_ARG_INT;
    if (arg->type == FY_ST_DTYPE) {
        d->kind = FY_ARG_DTYPE;
        d->i = fy_c10_dtype(v.i);
    } else if (arg->type == FY_ST_MEMORY_FORMAT) {
        d->kind = FY_ARG_MEMORY_FORMAT;
        d->i = v.i + 1;                                  /* archive numbers: contiguous 1, channels last 2 ... */
    } else if (arg->type == FY_ST_FLOAT || !v.integer) d->kind = FY_ARG_FLOAT;
    return FY_OK;
}

/* Counts first: the commas outside brackets of the list that starts at `at` and ends at its ')'. */
static int count_items(const char *at) {
    int depth = 0, n = 0;
    bool any = false, quoted = false;
    for (; *at; at++) {
        if (*at == '"') quoted = !quoted;
        if (quoted) continue;
        if (*at == ')' && depth == 0) break;
        if (*at == '(' || *at == '[') depth++;
        if (*at == ')' || *at == ']') depth--;
        if (*at == ',' && depth == 0) n++;
        if (*at != ' ') any = true;
    }
    return any ? n + 1 : 0;
}

static fy_status item(scan *s, fy_schema_arg *arg, bool named) {
    FY_TRY(type(s, arg));
    blanks(s);
    if (!named && !word_char(*s->at)) return FY_OK;      /* a return value without a name */
    const char *at;
    size_t n;
    FY_TRY(word(s, &at, &n));
    arg->name = fy_arena_strn(s->a, at, n);
    FY_NOMEM(s->e, arg->name);
    if (take(s, "=")) FY_TRY(default_value(s, arg));
    return FY_OK;
}

static fy_status items(scan *s, fy_schema_arg *arg, int most, int *n, bool named) {
    bool keyword = false;
    while (!take(s, ")")) {
        if (take(s, "*")) {
            keyword = true;
        } else {
            NEED(s, *n < most, "too many arguments");
            arg[*n].keyword_only = keyword;
            FY_TRY(item(s, &arg[*n], named));
            ++*n;
        }
        if (take(s, ")")) return FY_OK;
        NEED(s, take(s, ","), "a ',' is missing");
    }
    return FY_OK;
}

fy_status fy_schema_parse(const fy_schema **out, fy_arena *a, const char *text, ferry_error *e) {
    scan s = {text, text, a, e};
    fy_schema *r = FY_NEW(a, fy_schema);
    FY_NOMEM(e, r);
    /* "aten::add.Tensor" -> "aten.add.Tensor"; without an overload ".default" */
    const char *sep = strstr(text, "::"), *open = strchr(text, '(');
    NEED(&s, sep && open && sep < open, "no operator name");
    bool overload = memchr(sep + 2, '.', (size_t)(open - sep - 2)) != NULL;
    r->name = fy_arena_fmt(a, "%.*s.%.*s%s", (int)(sep - text), text, (int)(open - sep - 2), sep + 2, overload ? "" : ".default");
    FY_NOMEM(e, r->name);
    s.at = open + 1;
    int most = count_items(s.at);
    fy_schema_arg *arg = FY_NEWN(a, fy_schema_arg, most);
    FY_NOMEM(e, arg);
    r->arg = arg;
    FY_TRY(items(&s, arg, most, &r->narg, true));
    NEED(&s, take(&s, "->"), "\"->\" is missing");
    if (take(&s, "(")) {
        most = count_items(s.at);
        fy_schema_arg *ret = FY_NEWN(a, fy_schema_arg, most);
        FY_NOMEM(e, ret);
        r->ret = ret;
        FY_TRY(items(&s, ret, most, &r->nret, false));
    } else {
        fy_schema_arg *ret = FY_NEW(a, fy_schema_arg);
        FY_NOMEM(e, ret);
        r->ret = ret;
        r->nret = 1;
        FY_TRY(item(&s, ret, false));
    }
    blanks(&s);
    NEED(&s, *s.at == 0, "text after the schema");
    *out = r;
    return FY_OK;
}
