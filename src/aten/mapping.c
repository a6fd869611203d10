/* SPDX-License-Identifier: Apache-2.0
 * mapping.c - reads the text of mapping.h. */
#include "aten/mapping.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 20, MAX_ITEMS = 64 };

typedef struct reader {
    fy_mappings *m;
    const char  *where, *start, *at, *end;
    const fy_registry *r;
    ferry_error *e;
} reader;

static int line_of(const reader *d) {
    int line = 1;
    for (const char *p = d->start; p < d->at && p < d->end; p++) line += *p == '\n';
    return line;
}

#define NEED(d, cond, ...) do { if (!(cond)) return wrong(d, __VA_ARGS__); } while (0)
static fy_status wrong(const reader *d, const char *what) {
    return fy_fail(d->e, FY_E_FORMAT, "%.160s, line %d: %s", d->where, line_of(d), what);
}

static void blanks(reader *d) {
    while (d->at < d->end && (strchr(" \t\r\n", *d->at) || *d->at == '#')) {
        if (*d->at == '#')
            while (d->at < d->end && *d->at != '\n') d->at++;
        else d->at++;
    }
}

static bool take(reader *d, const char *what) {
    size_t n = strlen(what);
    blanks(d);
    if ((size_t)(d->end - d->at) < n || memcmp(d->at, what, n) != 0) return false;
    d->at += n;
    return true;
}

static bool word_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-'; }

/* NULL: none there, or out of memory. */
static const char *word(reader *d) {
    blanks(d);
    const char *from = d->at;
    while (d->at < d->end && word_char(*d->at)) d->at++;
    return d->at > from ? fy_arena_strn(&d->m->arena, from, (size_t)(d->at - from)) : NULL;
}

/* Up to the `close` that belongs to the `open` at d->at; text in quotes and comments does not count. */
static fy_status group(reader *d, char open, char close, const char **from, size_t *n) {
    int depth = 0;
    bool quoted = false;
    *from = d->at;
    for (; d->at < d->end; d->at++) {
        if (*d->at == '"') quoted = !quoted;
        if (quoted) continue;
        if (*d->at == '#') {
            while (d->at + 1 < d->end && d->at[1] != '\n') d->at++;
            continue;
        }
        if (*d->at == open) depth++;
        if (*d->at == close && --depth == 0) {
            d->at++;
            *n = (size_t)(d->at - *from);
            return FY_OK;
        }
    }
    return wrong(d, "a bracket is never closed");
}

static bool has_arg(const fy_schema *s, const char *name) {
    for (int i = 0; i < s->narg; i++)
        if (s->arg[i].name && strcmp(s->arg[i].name, name) == 0) return true;
    return false;
}

/* "mylib::op.overload(Tensor x, int k=1)" */
static fy_status read_schema(reader *d, fy_mapping *p) {
    const char *from = d->at, *args;
    size_t n;
    while (d->at < d->end && *d->at != '(' && *d->at != '\n') d->at++;
    NEED(d, d->at < d->end && *d->at == '(', "an operator's schema is expected: mylib::op(Tensor x, float alpha=1.0) -> ...");
    size_t name = (size_t)(d->at - from);
    FY_TRY(group(d, '(', ')', &args, &n));
    const char *text = fy_arena_fmt(&d->m->arena, "%.*s%.*s -> Tensor", (int)name, from, (int)n, args);
    FY_NOMEM(d->e, text);
    fy_status s = fy_schema_parse(&p->schema, &d->m->arena, text, d->e);
    if (s != FY_OK) return fy_frame(d->e, s, "%.160s, line %d", d->where, line_of(d));
    NEED(d, take(d, "->"), "\"->\" is expected behind the schema");
    return FY_OK;
}

static fy_status read_inputs(reader *d, fy_mapping *p) {
    const char *in[MAX_ITEMS];
    NEED(d, take(d, "("), "inputs in brackets are expected behind the operator");
    while (!take(d, ")")) {
        NEED(d, p->nin < MAX_ITEMS && (p->nin == 0 || take(d, ",")), "a comma or a bracket is expected between inputs");
        const char *name = word(d);
        NEED(d, name && (strcmp(name, "_") == 0 || has_arg(p->schema, name)), "an input is no argument of the schema (\"_\" leaves one out)");
        in[p->nin++] = strcmp(name, "_") ? name : NULL;
    }
    p->in = fy_arena_copy(&d->m->arena, in, (size_t)p->nin + 1, sizeof *in);
    FY_NOMEM(d->e, p->in);
    return FY_OK;
}

static fy_status read_literal(reader *d, fy_attr *a) {
    char number[64], *end = NULL;
    blanks(d);
    if (take(d, "\"")) {
        const char *from = d->at;
        while (d->at < d->end && *d->at != '"' && *d->at != '\n') d->at++;
        NEED(d, d->at < d->end && *d->at == '"', "a text is never closed");
        const char *kept = fy_arena_strn(&d->m->arena, from, (size_t)(d->at++ - from));
        FY_NOMEM(d->e, kept);
        *a = fy_text(a->name, kept);
        return FY_OK;
    }
    size_t n = 0;
    while (d->at + n < d->end && n < sizeof number - 1 && strchr("+-.0123456789eE", d->at[n])) { number[n] = d->at[n]; n++; }
    number[n] = 0;
    double f = strtod(number, &end);
    NEED(d, n > 0 && !*end, "an attribute is an argument, a number or a text in quotes");
    d->at += n;
    *a = strpbrk(number, ".eE") ? fy_float(a->name, f) : fy_int(a->name, strtoll(number, NULL, 10));
    return FY_OK;
}

static fy_status read_attributes(reader *d, fy_mapping *p) {
    fy_map_attr attr[MAX_ITEMS];
    if (!take(d, "{")) return FY_OK;
    while (!take(d, "}")) {
        NEED(d, p->nattr < MAX_ITEMS && (p->nattr == 0 || take(d, ",")), "a comma or a brace is expected between attributes");
        fy_map_attr *a = &attr[p->nattr++];
        *a = (fy_map_attr){.name = word(d)};
        NEED(d, a->name && take(d, "="), "attributes are written name = value");
        blanks(d);
        bool letter = d->at < d->end && ((*d->at >= 'a' && *d->at <= 'z') || (*d->at >= 'A' && *d->at <= 'Z') || *d->at == '_');
        a->literal.name = a->name;
        if (!letter) FY_TRY(read_literal(d, &a->literal));
        else {
            a->arg = word(d);
            NEED(d, a->arg && has_arg(p->schema, a->arg), "an attribute's value is no argument of the schema");
        }
    }
    p->attr = fy_arena_copy(&d->m->arena, attr, (size_t)p->nattr + 1, sizeof *attr);
    FY_NOMEM(d->e, p->attr);
    return FY_OK;
}

/* "com.mylib.Name": the domain ends at the last dot. */
static fy_status read_node(reader *d, fy_mapping *p) {
    const char *name = word(d);
    NEED(d, name, "an operator or a body is expected behind \"->\"");
    const char *dot = strrchr(name, '.');
    p->op = dot ? fy_arena_fmt(&d->m->arena, "%.*s::%s", (int)(dot - name), name, dot + 1) : name;
    FY_NOMEM(d->e, p->op);
    NEED(d, !dot || (dot > name && dot[1]), "the operator has no name behind its domain");
    NEED(d, dot || fy_op_find(d->r, "", name), "there is no such ONNX operator; operators of others have a domain: com.mylib.Name");
    FY_TRY(read_inputs(d, p));
    return read_attributes(d, p);
}

static fy_status read_body(reader *d, fy_mapping *p) {
    const char *out, *body;
    size_t nout, nbody;
    fy_buf text = {0};
    FY_TRY(group(d, '(', ')', &out, &nout));
    blanks(d);
    NEED(d, d->at < d->end && *d->at == '{', "a body in braces is expected behind the results");
    FY_TRY(group(d, '{', '}', &body, &nbody));
    fy_buf_fmt(&text, "<ir_version: 10, opset_import: [\"\" : %d]>\nmapped (", FY_CANONICAL_OPSET);
    for (int i = 0; i < p->schema->narg; i++) fy_buf_fmt(&text, "%sfloat %s", i ? ", " : "", p->schema->arg[i].name);    /* types come with the call */
    fy_buf_fmt(&text, ") => %.*s ", (int)nout, out);
    bool quoted = false;
    for (const char *c = body; c < body + nbody; c++) {
        if (*c == '"') quoted = !quoted;
        if (*c == '#' && !quoted)
            while (c + 1 < body + nbody && c[1] != '\n') c++;
        else fy_buf_char(&text, *c);
    }
    fy_status s = text.oom ? fy_nomem(d->e) : fy_model_parse(&p->body, text.at, text.n, d->r, d->e);
    fy_buf_free(&text);
    return s == FY_OK ? s : fy_frame(d->e, s, "the body that ends in %.160s, line %d", d->where, line_of(d));
}

static fy_status read_one(reader *d) {
    fy_mapping p = {0};
    FY_TRY(read_schema(d, &p));
    for (int64_t i = 0; i < d->m->at.n; i++) NEED(d, strcmp(d->m->at.at[i].schema->name, p.schema->name) != 0, "the operator has a mapping already");
    blanks(d);
    FY_NOMEM(d->e, FY_RESERVE(d->m->at, d->m->at.n + 1));
    FY_TRY(d->at < d->end && *d->at == '(' ? read_body(d, &p) : read_node(d, &p));
    d->m->at.at[d->m->at.n++] = p;
    return FY_OK;
}

fy_status fy_mappings_add(fy_mappings *m, const char *where, const char *text, size_t n, const fy_registry *r, ferry_error *e) {
    FY_NEED(e, n <= MAX_TEXT && !memchr(text, 0, n), FORMAT, "%.200s is no text of mappings", where);
    reader d = {m, where, text, text, text + n, r, e};
    for (blanks(&d); d.at < d.end; blanks(&d)) FY_TRY(read_one(&d));
    return FY_OK;
}

void fy_mappings_free(fy_mappings *m) {
    for (int64_t i = 0; i < m->at.n; i++) fy_model_free(m->at.at[i].body);
    fy_free(m->at.at);
    fy_arena_free(&m->arena);
    *m = (fy_mappings){0};
}

const fy_mapping *fy_mapping_of(const fy_mappings *m, const char *op) {
    for (int64_t i = 0; m && i < m->at.n; i++)
        if (strcmp(m->at.at[i].schema->name, op) == 0) return &m->at.at[i];
    return NULL;
}
