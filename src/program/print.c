/* SPDX-License-Identifier: Apache-2.0
 * print.c - a program as text, one line a node:
 *     linear: f32[s77,3] = aten.linear.default(input=x, weight=p_fc_weight)    # fc  model.py:57 in forward */
#include "program/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NESTING 64

static void indent(fy_buf *b, int depth) { for (int i = 0; i < depth; i++) fy_buf_str(b, "    "); }

static void text(fy_buf *b, const char *s) {
    fy_buf_char(b, '"');
    for (; s && *s; s++)
        if (*s == '"' || *s == '\\') { fy_buf_char(b, '\\'); fy_buf_char(b, *s); }
        else if ((unsigned char)*s < 0x20) fy_buf_fmt(b, "\\x%02x", (unsigned char)*s);
        else fy_buf_char(b, *s);
    fy_buf_char(b, '"');
}

/* The shortest form that reads back. */
static void real(fy_buf *b, double v) {
    char t[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(t, sizeof t, "%.*g", digits, v);
        if (strtod(t, NULL) == v) break;
    }
    fy_buf_str(b, t);
    if (!strpbrk(t, ".en")) fy_buf_char(b, '.');
}

static void name(fy_buf *b, const fy_pvalue *v) { fy_buf_str(b, v && v->name ? v->name : v ? "?" : "None"); }

static void sym(fy_buf *b, const fy_psym *s) {
    if (s->value) name(b, s->value);
    else fy_buf_fmt(b, "%" PRId64, s->i);
}

static void dims(fy_buf *b, int n, const fy_dim *const *d) {
    fy_buf_char(b, '[');
    for (int i = 0; i < n; i++) { if (i) fy_buf_char(b, ','); fy_dim_print(b, d[i]); }
    fy_buf_char(b, ']');
}

static void typed(fy_buf *b, const fy_pvalue *v) {
    name(b, v);
    if (!v) return;
    if (v->kind == FY_PV_TENSOR && v->has_meta) { fy_buf_fmt(b, ": %s", fy_dtype_name(v->dtype)); dims(b, v->rank, v->dim); }
    else if (v->kind == FY_PV_SYMINT) { fy_buf_str(b, ": int"); if (v->sym) { fy_buf_char(b, ' '); fy_dim_print(b, v->sym); } }
    else if (v->kind == FY_PV_SYMFLOAT) fy_buf_str(b, ": float");
    else if (v->kind == FY_PV_SYMBOOL) fy_buf_str(b, ": bool");
}

static void graph(fy_buf *b, const fy_pgraph *g, int depth);

/* One argument or, with `types`, one output. */
static void arg(fy_buf *b, const fy_parg *a, bool types, int depth) {
    switch (a->kind) {
    case FY_ARG_NONE: fy_buf_str(b, "None"); return;
    case FY_ARG_TENSOR: case FY_ARG_SYMBOOL: case FY_ARG_SYMFLOAT: if (types) typed(b, a->value); else name(b, a->value); return;
    case FY_ARG_SYM: if (types && a->sym.value) typed(b, a->sym.value); else sym(b, &a->sym); return;
    case FY_ARG_INT: fy_buf_fmt(b, "%" PRId64, a->i); return;
    case FY_ARG_FLOAT: real(b, a->f); return;
    case FY_ARG_COMPLEX: fy_buf_fmt(b, "(%.17g%+.17gj)", a->f, a->im); return;
    case FY_ARG_BOOL: fy_buf_str(b, a->i ? "True" : "False"); return;
    case FY_ARG_STRING: text(b, a->s); return;
    case FY_ARG_DTYPE: fy_buf_fmt(b, "dtype:%s", fy_dtype_name((fy_dtype)a->i)); return;
    case FY_ARG_MEMORY_FORMAT: fy_buf_fmt(b, "memory_format:%" PRId64, a->i); return;
    case FY_ARG_LAYOUT: fy_buf_fmt(b, "layout:%" PRId64, a->i); return;
    case FY_ARG_DEVICE: fy_buf_fmt(b, "device:%s", a->s ? a->s : ""); return;
    case FY_ARG_OPERATOR: fy_buf_fmt(b, "operator:%s", a->s ? a->s : ""); return;
    case FY_ARG_CUSTOM: fy_buf_fmt(b, "object:%s", a->s ? a->s : ""); return;
    case FY_ARG_GRAPH:
        if (depth >= MAX_NESTING || !a->graph) { fy_buf_str(b, "{...}"); return; }
        fy_buf_str(b, "{\n");
        graph(b, a->graph, depth + 1);
        indent(b, depth);
        fy_buf_char(b, '}');
        return;
    case FY_ARG_TENSORS: case FY_ARG_INTS: case FY_ARG_FLOATS: case FY_ARG_BOOLS: case FY_ARG_STRINGS: case FY_ARG_SYMS: break;
    }
    fy_buf_char(b, '[');
    for (int64_t i = 0; i < a->n; i++) {
        if (i) fy_buf_str(b, ", ");
        if (a->kind == FY_ARG_TENSORS) { if (types) typed(b, a->values[i]); else name(b, a->values[i]); }
        else if (a->kind == FY_ARG_INTS) fy_buf_fmt(b, "%" PRId64, a->ints[i]);
        else if (a->kind == FY_ARG_FLOATS) real(b, a->floats[i]);
        else if (a->kind == FY_ARG_BOOLS) fy_buf_str(b, a->ints[i] ? "True" : "False");
        else if (a->kind == FY_ARG_STRINGS) text(b, a->strings[i]);
        else sym(b, &a->syms[i]);
    }
    fy_buf_char(b, ']');
}

static void node(fy_buf *b, const fy_pnode *n, int depth) {
    indent(b, depth);
    for (int i = 0; i < n->nout; i++) { if (i) fy_buf_str(b, ", "); arg(b, &n->out[i], true, depth); }
    fy_buf_fmt(b, "%s%s(", n->nout ? " = " : "", n->op ? n->op : "?");
    for (int i = 0; i < n->narg; i++) {
        if (i) fy_buf_str(b, ", ");
        if (n->arg[i].name && n->arg[i].name[0]) fy_buf_fmt(b, "%s=", n->arg[i].name);
        arg(b, &n->arg[i], false, depth);
    }
    fy_buf_char(b, ')');
    if (n->scope || n->source)
        fy_buf_fmt(b, "    # %s%s%s", n->scope ? n->scope : "", n->scope && n->scope[0] && n->source ? "  " : "",
                   n->source ? n->source : "");
    fy_buf_char(b, '\n');
}

static void graph(fy_buf *b, const fy_pgraph *g, int depth) {
    if (depth) {                         /* the main graph's inputs are printed with what they are */
        indent(b, depth);
        fy_buf_str(b, "in ");
        for (int i = 0; i < g->nin; i++) { if (i) fy_buf_str(b, ", "); arg(b, &g->in[i], true, depth); }
        fy_buf_char(b, '\n');
    }
    for (const fy_pnode *n = g->first; n; n = n->next) node(b, n, depth);
    if (depth) {
        indent(b, depth);
        fy_buf_str(b, "out ");
        for (int i = 0; i < g->nout; i++) { if (i) fy_buf_str(b, ", "); arg(b, &g->out[i], false, depth); }
        fy_buf_char(b, '\n');
    }
}

void fy_program_print(fy_buf *b, const fy_program *p) {
    static const char *const in_words[] = { "input", "parameter", "buffer", "constant", "literal", "object", "token" };
    static const char *const out_words[] = { "output", "buffer mutation", "input mutation", "parameter mutation", "loss", "other" };
    fy_buf_fmt(b, "program  schema %d.%d, %s\n", p->schema_major, p->schema_minor, p->decomposed ? "decomposed" : "not decomposed");
    for (int i = 0; i < p->nrange; i++) {
        fy_buf_fmt(b, "range %s: %" PRId64 "..", p->range[i].symbol, p->range[i].lo);
        if (p->range[i].hi == INT64_MAX) fy_buf_str(b, "inf\n");
        else fy_buf_fmt(b, "%" PRId64 "\n", p->range[i].hi);
    }
    for (int i = 0; i < p->nin; i++) {
        const fy_pinput *in = &p->in[i];
        fy_buf_fmt(b, "%s ", in_words[in->kind]);
        if (in->value) typed(b, in->value);
        else arg(b, &in->literal, false, 0);
        if (in->value && in->kind == FY_PIN_LITERAL) { fy_buf_str(b, " = "); arg(b, &in->literal, false, 0); }
        if (in->fqn) fy_buf_fmt(b, "  %s", in->fqn);
        if (in->user_name) fy_buf_fmt(b, "  as %s", in->user_name);
        if (in->kind == FY_PIN_BUFFER && !in->persistent) fy_buf_str(b, "  not persistent");
        if (in->data && in->data->kind == FY_CONST_STRIDED) fy_buf_str(b, "  strided");
        fy_buf_char(b, '\n');
    }
    if (p->graph) graph(b, p->graph, 0);
    for (int i = 0; i < p->nout; i++) {
        fy_buf_fmt(b, "%s ", out_words[p->out[i].kind]);
        arg(b, &p->out[i].arg, false, 0);
        if (p->out[i].target) fy_buf_fmt(b, "  of %s", p->out[i].target);
        if (p->out[i].user_name) fy_buf_fmt(b, "  as %s", p->out[i].user_name);
        fy_buf_char(b, '\n');
    }
    for (int64_t i = 0; i < p->sample.n; i++) {
        fy_buf_fmt(b, "sample %" PRId64 " ", i);
        if (p->sample.at[i].is_tensor) fy_tensor_print(b, &p->sample.at[i].t, 0);
        else arg(b, &p->sample.at[i].literal, false, 0);
        fy_buf_char(b, '\n');
    }
    if (p->sample_error) fy_buf_fmt(b, "no sample: %s\n", p->sample_error);
}
