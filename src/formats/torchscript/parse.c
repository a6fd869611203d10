/* SPDX-License-Identifier: Apache-2.0
 * parse.c - tokens into the tree of a file: classes with attributes and methods, functions, statements, expressions. */
#include "formats/torchscript/lex.h"

#include <stdio.h>
#include <string.h>

#define MAX_CODE ((uint64_t)64 << 20)

typedef struct parse { ts *r; ts_file *f; const ts_token *at; int depth; } parse;

static fy_status bad(const parse *p, const char *what) {
    return fy_fail(p->r->e, FY_E_CORRUPT, "%s:%u: %s", p->f->path, p->at->line, what);
}

static bool sign(const parse *p, int c) { return (int)p->at->kind == c; }
static bool take(parse *p, int c) {
    if (!sign(p, c)) return false;
    p->at++;
    return true;
}
static bool word(const parse *p, const char *s) { return p->at->kind == TT_WORD && !strcmp(p->at->s, s); }

#define NEED(p, c, what) do { if (!(c)) return bad(p, what); } while (0)
#define MAKE(p, v, T) do { (v) = FY_NEW(&(p)->r->tmp, T); FY_NOMEM((p)->r->e, v); } while (0)

fy_status ts_intern(ts *r, const char **to, const char *s, size_t n) {
    const char *got = fy_map_get(&r->strings, s, n);
    if (!got) {
        char *made = fy_arena_strn(&r->p->arena, s, n);
        FY_NOMEM(r->e, made);
        FY_NOMEM(r->e, fy_map_put(&r->strings, made, n, made));
        got = made;
    }
    *to = got;
    return FY_OK;
}

static fy_status expr(parse *p, ts_expr **x);

static fy_status make(parse *p, ts_expr **x, ts_ekind kind) {
    MAKE(p, *x, ts_expr);
    (*x)->kind = kind;
    (*x)->line = p->at->line;
    return FY_OK;
}

typedef FY_VEC(ts_expr *) list;
typedef FY_VEC(const char *) words;

static fy_status keep(parse *p, ts_expr *x, const list *v, const words *kw) {
    x->n = (int)v->n;
    x->arg = fy_arena_copy(&p->r->tmp, v->at, (size_t)v->n, sizeof *v->at);
    FY_NOMEM(p->r->e, x->arg);
    if (!kw) return FY_OK;
    x->kw = fy_arena_copy(&p->r->tmp, kw->at, (size_t)kw->n, sizeof *kw->at);
    FY_NOMEM(p->r->e, x->kw);
    return FY_OK;
}

/* Entries up to `close`; a comma may end them. */
static fy_status items_into(parse *p, list *v, words *kw, int close, bool pairs, bool *comma) {
    *comma = false;
    while (!take(p, close)) {
        ts_expr *x = NULL;
        const char *name = NULL;
        if (v->n && !*comma) return bad(p, "a ',' is missing");
        if (kw && p->at->kind == TT_WORD && (int)p->at[1].kind == '=') { name = p->at->s; p->at += 2; }
        FY_TRY(expr(p, &x));
        FY_NEED(p->r->e, v->n < TS_ITEMS * 10, LIMIT, "%s:%u: a list is too long", p->f->path, p->at->line);
        FY_PUSH(p->r->e, *v, x);
        if (kw) FY_PUSH(p->r->e, *kw, name);
        if (pairs) {
            NEED(p, take(p, ':'), "a ':' is missing");
            FY_TRY(expr(p, &x));
            FY_PUSH(p->r->e, *v, x);
        }
        *comma = take(p, ',');
    }
    return FY_OK;
}

static fy_status items(parse *p, ts_expr *x, int close, bool pairs, ts_expr *first, bool *comma) {
    list v = {0};
    words kw = {0};
    fy_status s = FY_OK;
    bool call = first != NULL;
    if (call) {
        s = FY_RESERVE(v, 1) && FY_RESERVE(kw, 1) ? FY_OK : fy_nomem(p->r->e);
        if (!s) { list args = {0}; words names = {0};
            s = items_into(p, &args, &names, close, false, comma);
            v.at[v.n++] = first;
            kw.at[kw.n++] = NULL;
            for (int64_t i = 0; i < args.n && !s; i++) {
                if (!FY_RESERVE(v, v.n + 1) || !FY_RESERVE(kw, kw.n + 1)) { s = fy_nomem(p->r->e); break; }
                v.at[v.n++] = args.at[i];
                kw.at[kw.n++] = names.at[i];
            }
            fy_free(args.at);
            fy_free(names.at);
        }
    } else s = items_into(p, &v, NULL, close, pairs, comma);
    if (!s) s = keep(p, x, &v, call ? &kw : NULL);
    fy_free(v.at);
    fy_free(kw.at);
    return s;
}

/* torch.ops.aten.x and __torch__.a.B as one name; CONSTANTS.c0 as a constant. */
static fy_status name(parse *p, ts_expr **x) {
    static const struct { const char *s; ts_ekind kind; } plain[] = {{"None", TS_NONE}, {"True", TS_TRUE}, {"False", TS_FALSE}};
    FY_TRY(make(p, x, TS_NAME));
    const char *s = p->at->s;
    (*x)->s = s;
    for (int i = 0; i < FY_COUNT(plain); i++)
        if (!strcmp(s, plain[i].s)) (*x)->kind = plain[i].kind;
    if (!strcmp(s, "inf") || !strcmp(s, "nan") || !strcmp(s, "infj")) {
        (*x)->kind = TS_FLOAT;
        (*x)->f = s[0] == 'n' ? (double)__builtin_nan("") : (double)__builtin_inf();
    }
    p->at++;
    bool constant = !strcmp(s, "CONSTANTS");
    if (!constant && strcmp(s, "torch") && strcmp(s, "ops") && strcmp(s, "__torch__")) return FY_OK;
    char buf[1024];
    size_t n = constant ? 0 : strlen(s);
    memcpy(buf, s, n);
    while (sign(p, '.') && p->at[1].kind == TT_WORD) {
        size_t k = p->at[1].n;
        FY_NEED(p->r->e, n + k + 2 < sizeof buf, LIMIT, "%s:%u: a name is too long", p->f->path, p->at->line);
        if (n) buf[n++] = '.';
        memcpy(buf + n, p->at[1].s, k);
        n += k;
        p->at += 2;
    }
    (*x)->kind = constant ? TS_CONST : TS_QUAL;
    return ts_intern(p->r, &(*x)->s, buf, n);
}

static fy_status atom(parse *p, ts_expr **x) {
    bool comma = false;
    switch ((int)p->at->kind) {
    case TT_WORD: return name(p, x);
    case TT_INT: FY_TRY(make(p, x, TS_INT)); NEED(p, p->at->i != INT64_MIN, "a number is too large"); (*x)->i = -p->at->i; p->at++; return FY_OK;
    case TT_FLOAT: FY_TRY(make(p, x, TS_FLOAT)); (*x)->f = p->at->f; p->at++; return FY_OK;
    case TT_IMAG: return bad(p, "complex numbers are not read");
    case TT_STR:
        FY_TRY(make(p, x, TS_STR));
        (*x)->s = p->at->s;
        p->at++;
        return FY_OK;
    case '[': FY_TRY(make(p, x, TS_LIST)); p->at++; return items(p, *x, ']', false, NULL, &comma);
    case '{': FY_TRY(make(p, x, TS_DICT)); p->at++; return items(p, *x, '}', true, NULL, &comma);
    case '(': {
        FY_TRY(make(p, x, TS_TUPLE));
        p->at++;
        FY_TRY(items(p, *x, ')', false, NULL, &comma));
        if ((*x)->n == 1 && !comma) *x = (*x)->arg[0];
        return FY_OK;
    }
    default: return bad(p, "an expression is missing");
    }
}

/* What may follow in brackets: one index, or from:to */
static fy_status subscript(parse *p, ts_expr **x) {
    ts_expr *base = *x, *at[2] = {NULL, NULL};
    uint32_t line = p->at->line;
    bool slice = false;
    if (!sign(p, ':')) FY_TRY(expr(p, &at[0]));
    if (take(p, ':')) {
        slice = true;
        if (!sign(p, ']')) FY_TRY(expr(p, &at[1]));
    } else if (sign(p, ',')) {                               /* Dict[str, Tensor] */
        ts_expr *first = at[0];
        list v = {0};
        fy_status s = FY_OK;
        if (!FY_RESERVE(v, 1)) return fy_nomem(p->r->e);
        v.at[v.n++] = first;
        while (!s && take(p, ',') && !sign(p, ']')) {
            ts_expr *more;
            s = expr(p, &more);
            if (!s && !FY_RESERVE(v, v.n + 1)) s = fy_nomem(p->r->e);
            if (!s) v.at[v.n++] = more;
        }
        if (!s) s = make(p, &at[0], TS_TUPLE);
        if (!s) s = keep(p, at[0], &v, NULL);
        fy_free(v.at);
        FY_TRY(s);
    }
    NEED(p, take(p, ']'), "a ']' is missing");
    FY_TRY(make(p, x, slice ? TS_SLICE : TS_INDEX));
    (*x)->line = line;
    (*x)->n = 3;
    (*x)->arg = FY_NEWN(&p->r->tmp, ts_expr *, 3);
    FY_NOMEM(p->r->e, (*x)->arg);
    (*x)->arg[0] = base;
    (*x)->arg[1] = at[0];
    (*x)->arg[2] = at[1];
    return FY_OK;
}

static fy_status expr(parse *p, ts_expr **x) {
    FY_NEED(p->r->e, p->depth < TS_NEST, LIMIT, "%s:%u: expressions are nested deeper than %d", p->f->path, p->at->line, TS_NEST);
    p->depth++;
    if (take(p, '-')) {
        ts_expr *y = NULL;
        if (p->at->kind == TT_INT) {
            FY_TRY(make(p, &y, TS_INT));
            y->i = p->at->i;
            p->at++;
        } else {
            FY_TRY(expr(p, &y));
            NEED(p, y->kind == TS_FLOAT || y->kind == TS_INT, "a minus before something that is no number");
            if (y->kind == TS_INT) NEED(p, y->i != INT64_MIN, "a number is too large");
            y->f = -y->f;
            if (y->kind == TS_INT) y->i = -y->i;
        }
        *x = y;
    } else FY_TRY(atom(p, x));
    for (int chain = 0;; chain++) {
        FY_NEED(p->r->e, chain < 1000, LIMIT, "%s:%u: an expression is too long", p->f->path, p->at->line);
        bool comma;
        if (sign(p, '(')) {
            ts_expr *call;
            FY_TRY(make(p, &call, TS_CALL));
            p->at++;
            FY_TRY(items(p, call, ')', false, *x, &comma));
            *x = call;
        } else if (take(p, '[')) FY_TRY(subscript(p, x));
        else if (sign(p, '.') && p->at[1].kind == TT_WORD) {
            ts_expr *a;
            FY_TRY(make(p, &a, TS_ATTR));
            a->s = p->at[1].s;
            a->n = 1;
            a->arg = FY_NEW(&p->r->tmp, ts_expr *);
            FY_NOMEM(p->r->e, a->arg);
            a->arg[0] = *x;
            p->at += 2;
            *x = a;
        } else break;
    }
    p->depth--;
    return FY_OK;
}

/* One or several with commas between: several, or one with a comma behind it, are a tuple. */
static fy_status exprs(parse *p, ts_expr **x) {
    list v = {0};
    fy_status s = FY_OK;
    bool comma = false;
    do {
        ts_expr *one;
        if (sign(p, '=') || sign(p, TT_LINE)) break;
        s = expr(p, &one);
        if (!s && !FY_RESERVE(v, v.n + 1)) s = fy_nomem(p->r->e);
        if (!s) v.at[v.n++] = one;
    } while (!s && (comma = take(p, ',')));
    if (!s && !v.n) s = bad(p, "an expression is missing");
    if (!s && v.n == 1 && !comma) *x = v.at[0];
    else if (!s) {
        s = make(p, x, TS_TUPLE);
        if (!s) s = keep(p, *x, &v, NULL);
    }
    fy_free(v.at);
    return s;
}

/* ---- statements ------------------------------------------------------------------------------------------------------------- */

static fy_status block(parse *p, ts_stmt **first);

static fy_status end_of_line(parse *p) {
    NEED(p, take(p, TT_LINE), "something follows a statement on its line");
    return FY_OK;
}

static fy_status assignment(parse *p, ts_stmt *s) {
    ts_expr *x;
    FY_TRY(exprs(p, &x));
    s->kind = TS_EXPR;
    s->value = x;
    if (take(p, ':')) FY_TRY(expr(p, &s->type));
    if (take(p, '=')) {
        s->kind = TS_ASSIGN;
        bool several = x->kind == TS_TUPLE;
        s->ntarget = several ? x->n : 1;
        s->target = several ? x->arg : FY_NEW(&p->r->tmp, ts_expr *);
        FY_NOMEM(p->r->e, s->target);
        if (!several) s->target[0] = x;
        FY_TRY(exprs(p, &s->value));
        s->unpack = several;
    }
    return end_of_line(p);
}

static fy_status statement(parse *p, ts_stmt **made) {
    ts_stmt *s;
    MAKE(p, s, ts_stmt);
    s->line = p->at->line;
    *made = s;
    if (word(p, "pass")) { p->at++; s->kind = TS_PASS; return end_of_line(p); }
    if (word(p, "return")) {
        p->at++;
        s->kind = TS_RETURN;
        if (!sign(p, TT_LINE)) FY_TRY(exprs(p, &s->value));
        return end_of_line(p);
    }
    if (word(p, "if") || word(p, "while") || word(p, "for")) p->r->flow = true;
    if (word(p, "if") || word(p, "while")) {
        s->kind = word(p, "if") ? TS_IF : TS_WHILE;
        p->at++;
        FY_TRY(expr(p, &s->value));
        NEED(p, take(p, ':'), "a ':' is missing");
        FY_TRY(end_of_line(p));
        FY_TRY(block(p, &s->body));
        if (s->kind == TS_IF && word(p, "else")) {
            p->at++;
            NEED(p, take(p, ':'), "a ':' is missing");
            FY_TRY(end_of_line(p));
            FY_TRY(block(p, &s->other));
        }
        return FY_OK;
    }
    if (word(p, "for")) {                                    /* for i in range(n): */
        p->at++;
        s->kind = TS_FOR;
        s->ntarget = 1;
        s->target = FY_NEW(&p->r->tmp, ts_expr *);
        FY_NOMEM(p->r->e, s->target);
        NEED(p, p->at->kind == TT_WORD, "a name is missing");
        FY_TRY(name(p, &s->target[0]));
        NEED(p, word(p, "in"), "'in' is missing");
        p->at++;
        FY_TRY(expr(p, &s->value));
        ts_expr *v = s->value;
        NEED(p, v->kind == TS_CALL && v->n == 2 && v->arg[0]->kind == TS_NAME && !strcmp(v->arg[0]->s, "range"), "a loop that is not over range(n)");
        s->value = v->arg[1];
        NEED(p, take(p, ':'), "a ':' is missing");
        FY_TRY(end_of_line(p));
        return block(p, &s->body);
    }
    return assignment(p, s);
}

static fy_status block(parse *p, ts_stmt **first) {
    ts_stmt **end = first;
    NEED(p, take(p, TT_INDENT), "a block is missing");
    FY_NEED(p->r->e, p->depth < TS_NEST, LIMIT, "%s:%u: blocks are nested deeper than %d", p->f->path, p->at->line, TS_NEST);
    p->depth++;
    while (!take(p, TT_DEDENT)) {
        NEED(p, !sign(p, TT_END), "the file ends inside a block");
        FY_TRY(statement(p, end));
        end = &(*end)->next;
    }
    p->depth--;
    return FY_OK;
}

static fy_status function(parse *p, ts_func **to) {
    ts_func *f;
    MAKE(p, f, ts_func);
    f->line = p->at->line;
    f->file = p->f;
    p->at++;
    NEED(p, p->at->kind == TT_WORD, "a name is missing");
    f->name = p->at->s;
    p->at++;
    NEED(p, take(p, '('), "a '(' is missing");
    FY_VEC(ts_param) v = {0};
    fy_status s = FY_OK;
    while (!s && !take(p, ')')) {
        ts_param a = {0};
        if (take(p, '*')) { (void)take(p, ','); continue; }
        if (p->at->kind != TT_WORD) { s = bad(p, "the name of a parameter is missing"); break; }
        a.name = p->at->s;
        p->at++;
        if (take(p, ':')) s = expr(p, &a.type);
        if (!s && take(p, '=')) s = expr(p, &a.def);
        if (!s && !FY_RESERVE(v, v.n + 1)) s = fy_nomem(p->r->e);
        if (!s) v.at[v.n++] = a;
        if (!s && !take(p, ',') && !sign(p, ')')) s = bad(p, "a ',' is missing");
    }
    if (!s) {
        f->n = (int)v.n;
        f->param = fy_arena_copy(&p->r->tmp, v.at, (size_t)v.n, sizeof *v.at);
        if (!f->param) s = fy_nomem(p->r->e);
    }
    fy_free(v.at);
    FY_TRY(s);
    ts_expr *result;
    if (take(p, TT_ARROW)) FY_TRY(expr(p, &result));
    NEED(p, take(p, ':'), "a ':' is missing");
    FY_TRY(end_of_line(p));
    *to = f;
    return block(p, &f->body);
}

static fy_status member(parse *p, ts_class *c, ts_attr ***attr, ts_func ***method) {
    if (word(p, "def")) {
        FY_TRY(function(p, *method));
        *method = &(**method)->next;
        return FY_OK;
    }
    if (word(p, "pass")) { p->at++; return end_of_line(p); }
    NEED(p, p->at->kind == TT_WORD, "a member is missing");
    ts_attr *a;
    MAKE(p, a, ts_attr);
    if (word(p, "__annotations__") && (int)p->at[1].kind == '[' && p->at[2].kind == TT_STR) {
        a->name = p->at[2].s;
        p->at += 3;
        NEED(p, take(p, ']') && take(p, '='), "an annotation is not of the usual form");
        FY_TRY(expr(p, &a->type));
    } else {
        a->name = p->at->s;
        p->at++;
        if (take(p, ':')) FY_TRY(expr(p, &a->type));
        if (take(p, '=')) FY_TRY(exprs(p, &a->def));
        if (!strcmp(a->name, "__parameters__")) c->parameters = a->def;
    }
    FY_TRY(ts_intern(p->r, &a->name, a->name, strlen(a->name)));
    **attr = a;
    *attr = &a->next;
    return end_of_line(p);
}

static fy_status class(parse *p, ts_class **to) {
    ts_class *c;
    MAKE(p, c, ts_class);
    c->file = p->f;
    p->at++;
    NEED(p, p->at->kind == TT_WORD, "a name is missing");
    c->name = p->at->s;
    p->at++;
    if (take(p, '(')) {
        ts_expr *base = NULL;
        if (!sign(p, ')')) FY_TRY(expr(p, &base));
        c->base = base && base->s ? base->s : "";
        NEED(p, take(p, ')'), "a ')' is missing");
    }
    NEED(p, take(p, ':'), "a ':' is missing");
    FY_TRY(end_of_line(p));
    NEED(p, take(p, TT_INDENT), "a block is missing");
    ts_attr **attr = &c->attr;
    ts_func **method = &c->method;
    while (!take(p, TT_DEDENT)) {
        NEED(p, !sign(p, TT_END), "the file ends inside a class");
        FY_TRY(member(p, c, &attr, &method));
    }
    *to = c;
    return FY_OK;
}

static fy_status file(parse *p) {
    ts_class **c = &p->f->classes;
    ts_func **f = &p->f->functions;
    while (!sign(p, TT_END)) {
        if (word(p, "class")) { FY_TRY(class(p, c)); c = &(*c)->next; }
        else if (word(p, "def")) { FY_TRY(function(p, f)); f = &(*f)->next; }
        else if (p->at->kind == TT_WORD && (int)p->at[1].kind == '=') {          /* op_version_set = 1, of torch before 1.5 */
            ts_expr *x;
            p->at += 2;
            FY_TRY(exprs(p, &x));
            FY_TRY(end_of_line(p));
        } else return bad(p, "neither a class nor a function");
    }
    return FY_OK;
}

fy_status ts_parse(ts *r, ts_file *f, const char *text, size_t n) {
    ts_tokens t = {0};
    fy_status s = ts_lex(r, &t, f->path, text, n);
    if (!s) {
        parse p = {.r = r, .f = f, .at = t.at};
        s = file(&p);
    }
    fy_free(t.at);
    return s;
}

/* ---- names ----------------------------------------------------------------------------------------------------------------------- */

static fy_status open_file(ts *r, ts_file **to, const char *qual, size_t n) {
    ts_file *f = fy_map_get(&r->files, qual, n);
    *to = f;
    if (f) return FY_OK;
    char *path = fy_arena_fmt(&r->tmp, "%s/code/%.*s.py", r->root, (int)n, qual);
    FY_NOMEM(r->e, path);
    for (char *c = path + strlen(r->root) + 6; c < path + strlen(path) - 3; c++)
        if (*c == '.') *c = '/';
    const fy_zip_entry *z = fy_zip_find(&r->zip, path);
    f = FY_NEW(&r->tmp, ts_file);
    FY_NOMEM(r->e, f);
    const char *shown = path + strlen(r->root) + 6;
    f->path = !strncmp(shown, "__torch__/", 10) ? shown + 10 : shown;
    const char *key = fy_arena_strn(&r->tmp, qual, n);
    FY_NOMEM(r->e, key);
    FY_NOMEM(r->e, fy_map_puts(&r->files, key, f));
    *to = f;
    if (!z) return FY_OK;
    const unsigned char *text;
    FY_TRY(fy_zip_read(&r->zip, z, &r->tmp, MAX_CODE, &text, r->e));
    FY_NEED(r->e, fy_zip_crc_ok(z, text), CORRUPT, "%s: the checksum is wrong: the file was damaged after it was written", path);
    return ts_parse(r, f, (const char *)text, (size_t)z->size);
}

fy_status ts_lookup(ts *r, const char *qual, ts_class **c, ts_func **fn) {
    const char *dot = strrchr(qual, '.');
    *c = NULL;
    *fn = NULL;
    if (!dot) return FY_OK;
    ts_file *f;
    FY_TRY(open_file(r, &f, qual, (size_t)(dot - qual)));
    for (ts_class *k = f->classes; k && !*c; k = k->next)
        if (!strcmp(k->name, dot + 1)) *c = k;
    for (ts_func *k = f->functions; k && !*c && !*fn; k = k->next)
        if (!strcmp(k->name, dot + 1)) *fn = k;
    return FY_OK;
}

fy_status ts_parse_class(ts *r, ts_class **c, const char *qual) {
    ts_func *f;
    FY_TRY(ts_lookup(r, qual, c, &f));
    FY_NEED(r->e, *c, CORRUPT, "the code of the class %.200s is missing", qual);
    return FY_OK;
}

ts_func *ts_method(const ts_class *c, const char *name) {
    for (ts_func *f = c ? c->method : NULL; f; f = f->next)
        if (!strcmp(f->name, name)) return f;
    return NULL;
}
