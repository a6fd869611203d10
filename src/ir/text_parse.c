/* SPDX-License-Identifier: Apache-2.0
 * text_parse.c - reads what text_print.c writes, and the ONNX text syntax that people write by hand. Types are as written:
 * infer afterwards. Errors: FORMAT with the line; GRAPH for a name that is unknown or made twice. */
#include "ir/op.h"

#include "base/checked.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NESTING 32

typedef struct scope { fy_graph *g; fy_map names; struct scope *up; } scope;

typedef struct parser {
    fy_model    *m;
    const char  *start, *at, *end;
    int          depth;
    ferry_error *e;
} parser;

typedef struct word { const char *at; size_t n; } word;

#define SYNTAX(p, cond, ...) do { if (!(cond)) return syntax(p, __VA_ARGS__); } while (0)

static fy_status syntax(parser *p, const char *expected) {
    int64_t line = 1;
    for (const char *s = p->start; s < p->at; s++) line += *s == '\n';
    size_t left = (size_t)(p->end - p->at), n = 0;
    while (n < left && n < 20 && p->at[n] != '\n') n++;
    return fy_fail(p->e, FY_E_FORMAT, "line %lld: %s expected at \"%.*s\"", (long long)line, expected, (int)n, p->at);
}

static void skip(parser *p) {
    for (; p->at < p->end; p->at++) {
        if (*p->at == '#') {
            while (p->at < p->end && *p->at != '\n') p->at++;
            if (p->at == p->end) return;
        }
        if (!strchr(" \t\r\n", *p->at) || !*p->at) return;
    }
}

static bool eat(parser *p, const char *s) {
    size_t n = strlen(s);
    skip(p);
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, s, n) != 0) return false;
    p->at += n;
    return true;
}

static char peek(parser *p) {
    skip(p);
    return p->at < p->end ? *p->at : 0;
}

static fy_status need(parser *p, const char *s) {
    SYNTAX(p, eat(p, s), s);
    return FY_OK;
}

static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }

static word take_word(parser *p, bool dots) {
    skip(p);
    word w = { p->at, 0 };
    if (p->at < p->end && (letter(*p->at) || *p->at == '%')) {
        p->at++;
        while (p->at < p->end && (letter(*p->at) || digit(*p->at) || (dots && *p->at == '.'))) p->at++;
    }
    w.n = (size_t)(p->at - w.at);
    return w;
}

static bool is(word w, const char *s) { return w.n == strlen(s) && memcmp(w.at, s, w.n) == 0; }

static int hex(char c) { return digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

static fy_status quoted(parser *p, fy_str *s) {
    SYNTAX(p, eat(p, "\""), "a string");
    const char *from = p->at;
    size_t n = 0;
    while (p->at < p->end && *p->at != '"') p->at += *p->at == '\\' && p->end - p->at > 1 ? 2 : 1;
    SYNTAX(p, p->at < p->end, "the end of the string");
    char *d = fy_arena_alloc(&p->m->arena, (size_t)(p->at - from) + 1, 1);
    FY_NOMEM(p->e, d);
    for (const char *c = from; c < p->at; c++) {
        if (*c != '\\') { d[n++] = *c; continue; }
        c++;
        if (*c == 'n') d[n++] = '\n';
        else if (*c == 't') d[n++] = '\t';
        else if (*c == 'x' && p->at - c > 2 && hex(c[1]) >= 0 && hex(c[2]) >= 0) {
            d[n++] = (char)(hex(c[1]) * 16 + hex(c[2]));
            c += 2;
        } else d[n++] = *c;
    }
    p->at++;
    *s = (fy_str){ d, n };
    return FY_OK;
}

/* A name, plain or quoted; "" may stand for nothing. */
static fy_status name(parser *p, const char **s) {
    if (peek(p) == '"') {
        fy_str q;
        FY_TRY(quoted(p, &q));
        SYNTAX(p, !memchr(q.at, 0, q.n), "a name without a zero byte");
        *s = q.at;
        return FY_OK;
    }
    word w = take_word(p, false);
    SYNTAX(p, w.n, "a name");
    *s = fy_arena_strn(&p->m->arena, w.at, w.n);
    FY_NOMEM(p->e, *s);
    return FY_OK;
}

/* The characters of one number, 0-terminated; *real: has a point, an exponent, or is nan or inf. */
static fy_status number(parser *p, char *s, size_t room, bool *real) {
    size_t n = 0;
    skip(p);
    *real = false;
    while (p->at < p->end && n + 1 < room && (digit(*p->at) || letter(*p->at) || strchr("+-.", *p->at)) && *p->at) {
        if (strchr(".einEIN", *p->at)) *real = true;
        s[n++] = *p->at++;
    }
    s[n] = 0;
    SYNTAX(p, n && (digit(s[n - 1]) || *real), "a number");
    return FY_OK;
}

static fy_status integer(parser *p, int64_t *v) {
    char s[64], *end;
    bool real;
    FY_TRY(number(p, s, sizeof s, &real));
    *v = strtoll(s, &end, 10);
    SYNTAX(p, !*end && !real, "an integer");
    return FY_OK;
}

/* ---- types --------------------------------------------------------------------------------------------------------- */

static fy_dtype dtype_of(word w) {
    char up[24];
    if (w.n >= sizeof up) return FERRY_UNDEFINED;
    for (size_t i = 0; i < w.n; i++) up[i] = w.at[i] >= 'a' && w.at[i] <= 'z' ? (char)(w.at[i] - 'a' + 'A') : w.at[i];
    fy_dtype t = fy_dtype_find(up, w.n);
    return t ? t : fy_dtype_find(w.at, w.n);
}

static bool type_word(word w) {
    return is(w, "seq") || is(w, "optional") || is(w, "map") || is(w, "sparse_tensor") || is(w, "undefined") || dtype_of(w);
}

static fy_status dims(parser *p, fy_type *t) {
    const fy_dim *dim[FY_MAX_RANK];
    t->rank = 0;
    if (!eat(p, "[")) return FY_OK;
    if (eat(p, "]")) { t->rank = -1; return FY_OK; }
    do {
        FY_NEED(p->e, t->rank < FY_MAX_RANK, LIMIT, "a rank above %d", FY_MAX_RANK);
        const fy_dim *d;
        int64_t v;
        char c = peek(p);
        if (c == '?') {
            p->at++;
            d = fy_dim_opaque(p->m->dims, "unknown");
        } else if (c == '"') {
            fy_str s;
            FY_TRY(quoted(p, &s));
            d = fy_dim_parse(p->m->dims, s.at, s.n);
            if (!d) d = fy_dim_sym(p->m->dims, s.at);
        } else if (digit(c) || c == '-') {
            FY_TRY(integer(p, &v));
            SYNTAX(p, v >= 0, "a size");
            d = fy_dim_const(p->m->dims, v);
        } else {
            word w = take_word(p, false);
            SYNTAX(p, w.n, "a size");
            char *s = fy_arena_strn(&p->m->arena, w.at, w.n);
            FY_NOMEM(p->e, s);
            d = fy_dim_sym(p->m->dims, s);
        }
        FY_NOMEM(p->e, d);
        dim[t->rank++] = d;
    } while (eat(p, ","));
    FY_TRY(need(p, "]"));
    *t = fy_tensor_type(p->m, t->dtype, t->rank, dim);
    FY_NOMEM(p->e, t->kind == FY_TENSOR);
    return FY_OK;
}

static fy_status type(parser *p, fy_type *t) {
    FY_NEED(p->e, p->depth < MAX_NESTING, LIMIT, "types nest deeper than %d", MAX_NESTING);
    word w = take_word(p, false);
    *t = (fy_type){ .kind = FY_TENSOR, .rank = -1 };
    bool seq = is(w, "seq"), opt = is(w, "optional"), map = is(w, "map");
    if (seq || opt || map) {
        fy_type *el = FY_NEW(&p->m->arena, fy_type);
        FY_NOMEM(p->e, el);
        FY_TRY(need(p, "("));
        t->kind = seq ? FY_SEQUENCE : opt ? FY_OPTIONAL : FY_MAP;
        if (map) {
            t->dtype = dtype_of(take_word(p, false));
            FY_TRY(need(p, ","));
        }
        p->depth++;
        FY_TRY(type(p, el));
        p->depth--;
        t->elem = el;
        return need(p, ")");
    }
    if (is(w, "sparse_tensor")) {
        FY_TRY(need(p, "("));
        t->dtype = dtype_of(take_word(p, false));
        FY_TRY(dims(p, t));
        t->kind = FY_SPARSE;
        return need(p, ")");
    }
    t->dtype = dtype_of(w);
    SYNTAX(p, t->dtype || is(w, "undefined"), "a type");
    return dims(p, t);
}

/* ---- constants ----------------------------------------------------------------------------------------------------- */

static fy_status element(parser *p, fy_tensor *x, int64_t i) {
    char s[64], *end;
    bool real;
    if (x->dtype == FERRY_STRING) return quoted(p, (fy_str *)x->data + i);
    if (eat(p, "true")) { fy_put_i64(x, i, 1); return FY_OK; }
    if (eat(p, "false")) { fy_put_i64(x, i, 0); return FY_OK; }
    FY_TRY(number(p, s, sizeof s, &real));
    fy_class c = fy_dtype_class(x->dtype);
    if (c == FY_CLASS_C) {
        double z[2];
        z[0] = strtod(s, &end);
        SYNTAX(p, !*end && eat(p, ","), "the imaginary part");
        FY_TRY(number(p, s, sizeof s, &real));
        z[1] = strtod(s, &end);
        fy_store_c128(x, i, 1, z);
    } else if (c == FY_CLASS_F || real) fy_put_f64(x, i, strtod(s, &end));
    else if (c == FY_CLASS_U) fy_put_u64(x, i, strtoull(s, &end, 10));
    else fy_put_i64(x, i, strtoll(s, &end, 10));
    SYNTAX(p, !*end, "a number");
    return FY_OK;
}

static fy_status elements(parser *p, const fy_const **out, const fy_type *t) {
    int64_t dim[FY_MAX_RANK], n = 0;
    SYNTAX(p, t->kind == FY_TENSOR && t->dtype && t->rank >= 0, "a dtype and sizes before contents");
    for (int i = 0; i < t->rank; i++) SYNTAX(p, fy_dim_known(t->dim[i], &dim[i]), "constant sizes before contents");
    FY_TRY(need(p, "{"));
    SYNTAX(p, peek(p) != '.', "contents (they were left out of this text)");
    FY_NEED(p->e, fy_count_dims(&n, t->rank, dim) && n <= p->end - p->at, FORMAT, "fewer elements than the sizes say");
    fy_tensor x = { 0 };
    FY_TRY(fy_tensor_new(&x, t->dtype, t->rank, dim, p->e));
    fy_status s = FY_OK;
    for (int64_t i = 0; i < n && !s; i++) {
        if (i) s = need(p, ",");
        if (!s) s = element(p, &x, i);
    }
    if (!s) s = need(p, "}");
    if (!s && !(*out = fy_const_from(&p->m->arena, &x))) s = fy_nomem(p->e);
    fy_tensor_free(&x);
    return s;
}

/* ---- graphs -------------------------------------------------------------------------------------------------------- */

static fy_value *find(const scope *s, const char *what) {
    for (; s; s = s->up) {
        fy_value *v = fy_map_gets(&s->names, what);
        if (v) return v;
    }
    return NULL;
}

static fy_status declare(parser *p, scope *s, fy_value *v, const char *as) {
    FY_NOMEM(p->e, v);
    FY_NEED(p->e, *as && !fy_map_has(&s->names, as, strlen(as)), GRAPH, "value \"%.80s\" is made twice", as);
    v->name = *as == '%' ? NULL : as;
    FY_NOMEM(p->e, fy_map_puts(&s->names, as, v));
    return FY_OK;
}

/* "[type] name" */
static fy_status typed(parser *p, fy_type *t, const char **as) {
    parser back = *p;
    word w = take_word(p, false);
    char c = peek(p);
    bool is_type = w.n && type_word(w) && (c == '[' || c == '(' || c == '"' || c == '%' || letter(c));
    *p = back;
    *t = (fy_type){ 0 };
    if (is_type) FY_TRY(type(p, t));
    return name(p, as);
}

static fy_status graph(parser *p, fy_graph *g, scope *up);

static fy_status attr_item(parser *p, fy_attr *a, scope *s, fy_node *n, fy_attr_kind want) {
    char text[64], *end, c = peek(p);
    bool real;
    a->n = 1;
    if (c == '"') {
        a->kind = FY_ATTR_STRING;
        return quoted(p, &a->s);
    }
    if (digit(c) || strchr("+-.", c)) {
        FY_TRY(number(p, text, sizeof text, &real));
        real = real || want == FY_ATTR_FLOAT || want == FY_ATTR_FLOATS;
        a->kind = real ? FY_ATTR_FLOAT : FY_ATTR_INT;
        if (real) a->f = (double)(float)strtod(text, &end);
        else a->i = strtoll(text, &end, 10);
        SYNTAX(p, !*end, "a number");
        return FY_OK;
    }
    parser back = *p;
    word w = take_word(p, false);
    char next = peek(p);
    *p = back;
    if (is(w, "nan") || is(w, "inf")) {
        p->at += w.n;
        a->kind = FY_ATTR_FLOAT;
        a->f = is(w, "nan") ? (double)NAN : (double)INFINITY;
        return FY_OK;
    }
    if (type_word(w) && next != '<') {
        fy_type t;
        FY_TRY(type(p, &t));
        if (peek(p) == '{') {
            a->kind = FY_ATTR_TENSOR;
            return elements(p, &a->tensor, &t);
        }
        fy_type *kept = fy_arena_copy(&p->m->arena, &t, 1, sizeof t);
        FY_NOMEM(p->e, kept);
        a->kind = FY_ATTR_TYPE;
        a->type = kept;
        return FY_OK;
    }
    SYNTAX(p, n, "a value");
    a->kind = FY_ATTR_GRAPH;
    a->graph = fy_graph_new(p->m, s->g);
    FY_NOMEM(p->e, a->graph);
    a->graph->owner = n;
    return graph(p, a->graph, s);
}

static const char *const kinds[] = { "", "float", "int", "string", "tensor", "graph", "floats", "ints", "strings", "tensors", "graphs" };

static fy_status attr_list(parser *p, fy_attr *a, scope *s, fy_node *n) {
    FY_VEC(fy_attr) v = { 0 };
    fy_status st = FY_OK;
    fy_attr_kind kind = a->kind;
    while (!st && peek(p) != ']') {
        fy_attr item = { 0 };
        if (v.n) st = need(p, ",");
        if (!st) st = attr_item(p, &item, s, n, a->kind);
        if (!st && v.n && item.kind != v.at[0].kind) {
            if (item.kind == FY_ATTR_INT && v.at[0].kind == FY_ATTR_FLOAT) { item.kind = FY_ATTR_FLOAT; item.f = (double)item.i; }
            else st = syntax(p, "items of one kind");
        }
        if (!st && !FY_RESERVE(v, v.n + 1)) st = fy_nomem(p->e);
        if (!st) v.at[v.n++] = item;
    }
    if (!st) st = need(p, "]");
    fy_arena *ar = &p->m->arena;
    if (!st && v.n) {
        switch (v.at[0].kind) {
        case FY_ATTR_FLOAT: kind = FY_ATTR_FLOATS; break;
        case FY_ATTR_INT: kind = FY_ATTR_INTS; break;
        case FY_ATTR_STRING: kind = FY_ATTR_STRINGS; break;
        case FY_ATTR_TENSOR: kind = FY_ATTR_TENSORS; break;
        case FY_ATTR_GRAPH: kind = FY_ATTR_GRAPHS; break;
        case FY_ATTR_NONE: case FY_ATTR_FLOATS: case FY_ATTR_INTS: case FY_ATTR_STRINGS: case FY_ATTR_TENSORS: case FY_ATTR_GRAPHS: case FY_ATTR_SPARSE:
        case FY_ATTR_SPARSES: case FY_ATTR_TYPE: case FY_ATTR_TYPES: st = syntax(p, "numbers, strings, tensors or graphs"); break;
        }
    }
    if (!st) {
        a->kind = kind ? kind : FY_ATTR_INTS;
        a->n = v.n;
        int64_t *ints = FY_NEWN(ar, int64_t, v.n);
        double *floats = FY_NEWN(ar, double, v.n);
        fy_str *strings = FY_NEWN(ar, fy_str, v.n);
        const fy_const **tensors = FY_NEWN(ar, const fy_const *, v.n);
        fy_graph **graphs = FY_NEWN(ar, fy_graph *, v.n);
        if (!ints || !floats || !strings || !tensors || !graphs) st = fy_nomem(p->e);
        for (int64_t i = 0; i < v.n && !st; i++) {
            ints[i] = v.at[i].i;
            floats[i] = v.at[i].f;
            strings[i] = v.at[i].s;
            tensors[i] = v.at[i].tensor;
            graphs[i] = v.at[i].graph;
        }
        if (a->kind == FY_ATTR_INTS) a->ints = ints;
        if (a->kind == FY_ATTR_FLOATS) a->floats = floats;
        if (a->kind == FY_ATTR_STRINGS) a->strings = strings;
        if (a->kind == FY_ATTR_TENSORS) a->tensors = tensors;
        if (a->kind == FY_ATTR_GRAPHS) a->graphs = graphs;
    }
    fy_free(v.at);
    return st;
}

/* "name [: kind] = value" with a value, list, "@reference" or body. */
static fy_status attribute(parser *p, fy_attr *a, scope *s, fy_node *n) {
    *a = (fy_attr){ .n = 1 };
    FY_TRY(name(p, &a->name));
    if (eat(p, ":")) {
        word w = take_word(p, false);
        for (int k = 1; k < FY_COUNT(kinds); k++)
            if (is(w, kinds[k])) a->kind = (fy_attr_kind)k;
        SYNTAX(p, a->kind, "the kind of an attribute");
    }
    FY_TRY(need(p, "="));
    if (eat(p, "@")) {
        SYNTAX(p, a->kind, "the kind of an attribute");
        return name(p, &a->ref);
    }
    if (eat(p, "[")) return attr_list(p, a, s, n);
    return attr_item(p, a, s, n, a->kind);
}

static fy_status attributes(parser *p, scope *s, fy_node *n) {
    if (!eat(p, "<")) return FY_OK;
    if (eat(p, ">")) return FY_OK;
    do {
        fy_attr a;
        FY_TRY(attribute(p, &a, s, n));
        FY_NEED(p->e, !fy_attr_get(n, a.name), ATTR, "attribute %.80s is set twice", a.name);
        FY_NOMEM(p->e, fy_node_set_attr(n, &a));
    } while (eat(p, ","));
    return need(p, ">");
}

static fy_status operator(parser *p, const fy_op **op) {
    char domain[128] = "", opname[128];
    fy_str w;
    if (peek(p) == '"') {
        FY_TRY(quoted(p, &w));
        SYNTAX(p, !memchr(w.at, 0, w.n), "an operator");
    } else {
        word x = take_word(p, true);
        w = (fy_str){ x.at, x.n };
    }
    size_t cut = 0, sep = 0;
    for (size_t i = 0; i < w.n; i++) {
        if (w.at[i] == '.' && p->at > w.at && p->at == w.at + w.n) { cut = i; sep = 1; }
        if (i + 1 < w.n && w.at[i] == ':' && w.at[i + 1] == ':') { cut = i; sep = 2; }
    }
    SYNTAX(p, w.n > cut + sep && cut < sizeof domain && w.n - cut - sep < sizeof opname, "an operator");
    memcpy(domain, w.at, cut);
    memcpy(opname, w.at + cut + sep, w.n - cut - sep);
    opname[w.n - cut - sep] = 0;
    *op = fy_op_find(p->m->registry, domain, opname);
    if (!*op) *op = fy_op_opaque(p->m, domain, opname);
    FY_NOMEM(p->e, *op);
    return FY_OK;
}

static fy_status node(parser *p, scope *s) {
    const char *label = NULL;
    fy_arena scratch = { 0 };
    FY_VEC(const char *) out = { 0 };
    fy_status st = FY_OK;
    fy_node *n = NULL;
    if (eat(p, "[")) {
        st = name(p, &label);
        if (!st) st = need(p, "]");
    }
    parser back = *p;
    do {
        const char *o = NULL;
        if (!st) st = name(p, &o);
        if (!st && !FY_RESERVE(out, out.n + 1)) st = fy_nomem(p->e);
        if (!st) out.at[out.n++] = o;
    } while (!st && eat(p, ","));
    if (st || !eat(p, "=")) {                             /* a node without outputs starts with its operator */
        if (st || out.n != 1) {
            fy_free(out.at);
            return st ? st : syntax(p, "=");
        }
        *p = back;
        out.n = 0;
    }
    const fy_op *op = NULL;
    st = operator(p, &op);
    if (!st && (n = fy_node_new(s->g, NULL, op, 0, NULL, (int)out.n)) == NULL) st = fy_nomem(p->e);
    if (!st) st = attributes(p, s, n);
    if (!st) st = need(p, "(");
    for (bool first = true; !st && !eat(p, ")"); first = false) {
        const char *in = "";
        if (!first) st = need(p, ",");
        if (!st && peek(p) != ',' && peek(p) != ')') st = name(p, &in);
        if (st || (peek(p) == ')' && !*in && first)) continue;
        fy_value *v = *in ? find(s, in) : NULL;
        if (*in && !v) st = fy_fail(p->e, FY_E_GRAPH, "value \"%.80s\" is used before it is made", in);
        if (!st && !fy_node_add_input(n, v)) st = fy_nomem(p->e);
    }
    if (!st && !n->nattr) st = attributes(p, s, n);
    if (!st && label) n->name = label;
    for (int64_t i = 0; i < out.n && !st; i++) {
        if (!*out.at[i]) n->out[i] = NULL;
        else st = declare(p, s, n->out[i], out.at[i]);
    }
    if (!st && fy_node_body(n, 0) && !fy_node_collect_captures(n)) st = fy_nomem(p->e);
    fy_free(out.at);
    fy_arena_free(&scratch);
    return st;
}

static fy_status inputs(parser *p, scope *s) {
    fy_graph *g = s->g;
    FY_TRY(need(p, "("));
    for (bool first = true; !eat(p, ")"); first = false) {
        fy_type t;
        const char *as;
        if (!first) FY_TRY(need(p, ","));
        FY_TRY(typed(p, &t, &as));
        fy_value *v = fy_graph_add_input(g, as, &t);
        FY_TRY(declare(p, s, v, as));
        if (eat(p, "=")) {
            FY_TRY(elements(p, &v->constant, &t));
            FY_PUSH(p->e, g->constants, v);
        }
    }
    return FY_OK;
}

typedef struct out_decl { const char *as; fy_type t; } out_decl;

static fy_status graph_rest(parser *p, scope *s, fy_arena *scratch) {
    fy_graph *g = s->g;
    fy_type t;
    const char *as;
    out_decl *out = NULL, *known = NULL;
    int64_t nout = 0, nknown = 0;
    for (int list = 0; list < 2; list++) {                /* outputs, then initialisers and types of values */
        bool outs = list == 0;
        if (outs) FY_TRY(need(p, "=>"));
        if (outs) FY_TRY(need(p, "("));
        else if (!eat(p, "<")) break;
        for (bool first = true; !eat(p, outs ? ")" : ">"); first = false) {
            if (!first) FY_TRY(need(p, ","));
            FY_TRY(typed(p, &t, &as));
            if (!outs && eat(p, "=")) {
                const fy_const *c;
                FY_TRY(elements(p, &c, &t));
                FY_TRY(declare(p, s, fy_graph_add_const(g, as, c), as));
                continue;
            }
            int64_t *n = outs ? &nout : &nknown;
            out_decl **at = outs ? &out : &known;
            if ((*n & (*n - 1)) == 0) {
                out_decl *more = FY_NEWN(scratch, out_decl, *n ? *n * 2 : 1);
                FY_NOMEM(p->e, more);
                if (*n) memcpy(more, *at, (size_t)*n * sizeof *more);
                *at = more;
            }
            (*at)[(*n)++] = (out_decl){ as, t };
        }
    }
    FY_TRY(need(p, "{"));
    while (!eat(p, "}")) FY_TRY(node(p, s));
    for (int64_t i = 0; i < nknown; i++) {
        fy_value *v = find(s, known[i].as);
        FY_NEED(p->e, v, GRAPH, "value \"%.80s\" has a type but is never made", known[i].as);
        v->type = known[i].t;
    }
    for (int64_t i = 0; i < nout; i++) {
        fy_value *v = find(s, out[i].as);
        FY_NEED(p->e, v, GRAPH, "output \"%.80s\" is never made", out[i].as);
        if (v->type.kind == FY_NOTYPE) v->type = out[i].t;
        FY_NOMEM(p->e, fy_graph_add_output(g, v));
    }
    return FY_OK;
}

/* name (inputs) => (outputs) <initialisers> { nodes } */
static fy_status graph(parser *p, fy_graph *g, scope *up) {
    FY_NEED(p->e, p->depth < MAX_NESTING, LIMIT, "graphs nest deeper than %d", MAX_NESTING);
    p->depth++;
    FY_TRY(name(p, &g->name));
    scope s = { .g = g, .up = up };
    fy_arena scratch = { 0 };
    fy_status st = inputs(p, &s);
    if (!st) st = graph_rest(p, &s, &scratch);
    fy_map_free(&s.names);
    fy_arena_free(&scratch);
    p->depth--;
    return st;
}

/* ---- header, functions --------------------------------------------------------------------------------------------- */

typedef struct states { FY_VEC(const char *) name; } states;

static fy_status imports(parser *p, fy_import **at, int64_t *n, int64_t *cap) {
    FY_TRY(need(p, "["));
    for (bool first = true; !eat(p, "]"); first = false) {
        fy_str d;
        int64_t v;
        if (!first) FY_TRY(need(p, ","));
        FY_TRY(quoted(p, &d));
        FY_TRY(need(p, ":"));
        FY_TRY(integer(p, &v));
        FY_NOMEM(p->e, fy_vec_grow((void **)at, cap, *n + 1, sizeof **at));
        (*at)[(*n)++] = (fy_import){ d.at, v };
    }
    return FY_OK;
}

static fy_status header_pairs(parser *p, bool meta, states *st) {
    FY_TRY(need(p, "["));
    for (bool first = true; !eat(p, "]"); first = false) {
        const char *a, *b;
        if (!first) FY_TRY(need(p, ","));
        FY_TRY(name(p, &a));
        FY_TRY(need(p, ":"));
        FY_TRY(name(p, &b));
        if (meta) FY_TRY(fy_model_set_meta(p->m, a, b, p->e));
        else {
            FY_PUSH(p->e, st->name, a);
            FY_PUSH(p->e, st->name, b);
        }
    }
    return FY_OK;
}

static fy_status header(parser *p, states *st) {
    fy_model *m = p->m;
    if (!eat(p, "<")) return FY_OK;
    for (bool first = true; !eat(p, ">"); first = false) {
        if (!first) FY_TRY(need(p, ","));
        word w = take_word(p, false);
        FY_TRY(need(p, ":"));
        const char **text = is(w, "producer_name") ? &m->producer : is(w, "producer_version") ? &m->producer_version : is(w, "domain") ? &m->domain :
                            is(w, "doc_string") ? &m->doc : NULL;
        if (text) FY_TRY(name(p, text));
        else if (is(w, "ir_version")) FY_TRY(integer(p, &m->ir_version));
        else if (is(w, "model_version")) FY_TRY(integer(p, &m->model_version));
        else if (is(w, "opset_import")) FY_TRY(imports(p, &m->imports.at, &m->imports.n, &m->imports.cap));
        else if (is(w, "metadata_props")) FY_TRY(header_pairs(p, true, NULL));
        else if (is(w, "state")) FY_TRY(header_pairs(p, false, st));
        else return syntax(p, "a property of the model");
    }
    for (int64_t i = 0; i < m->imports.n; i++)
        if (!*m->imports.at[i].domain) m->opset = m->imports.at[i].version;
    return FY_OK;
}

static fy_status function(parser *p) {
    fy_model *m = p->m;
    FY_NOMEM(p->e, FY_RESERVE(m->functions, m->functions.n + 1));
    fy_function *f = &m->functions.at[m->functions.n++];
    *f = (fy_function){ .domain = "", .body = fy_graph_new(m, NULL) };
    FY_NOMEM(p->e, f->body);
    if (eat(p, "<")) {
        for (bool first = true; !eat(p, ">"); first = false) {
            if (!first) FY_TRY(need(p, ","));
            word w = take_word(p, false);
            FY_TRY(need(p, ":"));
            if (is(w, "domain")) FY_TRY(name(p, &f->domain));
            else if (is(w, "doc_string")) FY_TRY(name(p, &f->doc));
            else if (is(w, "opset_import")) FY_TRY(imports(p, &f->imports.at, &f->imports.n, &f->imports.cap));
            else return syntax(p, "a property of the function");
        }
    }
    FY_TRY(name(p, &f->name));
    if (eat(p, "<")) {
        for (bool first = true; !eat(p, ">"); first = false) {
            if (!first) FY_TRY(need(p, ","));
            parser back = *p;
            const char *as;
            FY_TRY(name(p, &as));
            char c = peek(p);
            if (c == ',' || c == '>') { FY_PUSH(p->e, f->attrs, as); continue; }
            *p = back;
            fy_attr a;
            FY_TRY(attribute(p, &a, NULL, NULL));
            FY_PUSH(p->e, f->defaults, a);
        }
    }
    scope s = { .g = f->body };
    fy_arena scratch = { 0 };
    fy_status st = inputs(p, &s);
    if (!st) st = graph_rest(p, &s, &scratch);
    fy_map_free(&s.names);
    fy_arena_free(&scratch);
    return st;
}

static fy_value *port(fy_graph *g, const char *as, bool output) {
    for (int64_t i = 0; i < (output ? g->out.n : g->in.n); i++) {
        fy_value *v = output ? g->out.at[i] : g->in.at[i];
        if (v->name && strcmp(v->name, as) == 0) return v;
    }
    return NULL;
}

static fy_status model(parser *p, states *st) {
    FY_TRY(header(p, st));
    FY_TRY(graph(p, p->m->graph, NULL));
    for (int64_t i = 0; i + 1 < st->name.n; i += 2) {
        fy_state s = { .in = port(p->m->graph, st->name.at[i], false), .out = port(p->m->graph, st->name.at[i + 1], true) };
        FY_NEED(p->e, s.in && s.out, GRAPH, "state \"%.80s\" : \"%.80s\" is not an input and an output", st->name.at[i], st->name.at[i + 1]);
        FY_PUSH(p->e, p->m->graph->state, s);
    }
    while (peek(p)) FY_TRY(function(p));
    SYNTAX(p, p->at == p->end, "the end");
    return FY_OK;
}

fy_status fy_model_parse(fy_model **m, const char *text, size_t n, const fy_registry *r, ferry_error *e) {
    *m = NULL;
    parser p = { .m = fy_model_new(r), .start = text, .at = text, .end = text + n, .e = e };
    FY_NOMEM(e, p.m);
    states st = { 0 };
    fy_status s = model(&p, &st);
    fy_free(st.name.at);
    if (s != FY_OK) fy_model_free(p.m);
    else *m = p.m;
    return s;
}
