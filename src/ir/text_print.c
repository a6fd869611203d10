/* SPDX-License-Identifier: Apache-2.0
 * text_print.c - models in ONNX text syntax (onnx/docs/Syntax.md): what people and golden files read.
 *
 * Ours beside the standard: sizes may be quoted expressions ("2*seq + 1") or "?", a value without a name is %ID, the header
 * may hold state: ["input" : "output"], types of intermediate values stand in comments (#). text_parse.c reads it back. */
#include "ir/op.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define INDENT_MOST 40

static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }

static void print_quoted(fy_buf *out, const char *s, size_t n) {
    fy_buf_char(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') fy_buf_fmt(out, "\\%c", c);
        else if (c == '\n') fy_buf_str(out, "\\n");
        else if (c < 32 || c == 127) fy_buf_fmt(out, "\\x%02x", c);
        else fy_buf_char(out, (char)c);
    }
    fy_buf_char(out, '"');
}

static bool plain(const char *s, bool dots) {
    if (!letter(*s)) return false;
    for (; *s; s++)
        if (!letter(*s) && !digit(*s) && !(dots && *s == '.' && letter(s[1]))) return false;
    return true;
}

static void print_name(fy_buf *out, const char *s) {
    if (plain(s, false)) fy_buf_str(out, s);
    else print_quoted(out, s, strlen(s));
}

static void print_value(fy_buf *out, const fy_value *v) {
    if (!v) fy_buf_str(out, "\"\"");
    else if (v->name && *v->name) print_name(out, v->name);
    else fy_buf_fmt(out, "%%%u", (unsigned)v->id);
}

static void print_dtype(fy_buf *out, fy_dtype t) {
    for (const char *s = t ? fy_dtype_onnx(t) : "undefined"; *s; s++) fy_buf_char(out, *s >= 'A' && *s <= 'Z' ? (char)(*s - 'A' + 'a') : *s);
}

static void print_dim(fy_buf *out, const fy_dim *d) {
    fy_buf b = { 0 };
    fy_dim_print(&b, d);
    if (b.oom || !b.at) out->oom = true;
    else if (d->kind == FY_DIM_CONST || plain(b.at, false)) fy_buf_str(out, b.at);
    else print_quoted(out, b.at, b.n);
    fy_buf_free(&b);
}

/* A scalar is a bare dtype, an unknown rank is [] (as in ONNX). */
static void print_type(fy_buf *out, const fy_type *t) {
    int open = 0;
    for (; t; t = t->elem) {
        bool more = true;
        switch (t->kind) {
        case FY_NOTYPE: more = false; break;
        case FY_SEQUENCE: fy_buf_str(out, "seq("); break;
        case FY_OPTIONAL: fy_buf_str(out, "optional("); break;
        case FY_MAP: fy_buf_str(out, "map("); print_dtype(out, t->dtype); fy_buf_str(out, ", "); break;
        case FY_TENSOR:
        case FY_SPARSE:
            if (t->kind == FY_SPARSE) { fy_buf_str(out, "sparse_tensor("); open++; }
            print_dtype(out, t->dtype);
            if (t->rank != 0) fy_buf_char(out, '[');
            for (int i = 0; i < t->rank; i++) {
                if (i) fy_buf_char(out, ',');
                print_dim(out, t->dim[i]);
            }
            if (t->rank != 0) fy_buf_char(out, ']');
            more = false;
            break;
        }
        if (!more) break;
        open++;
    }
    while (open-- > 0) fy_buf_char(out, ')');
}

static void print_number(fy_buf *out, double v, int digits, bool mark) {
    char s[40];
    if (isnan(v)) { fy_buf_str(out, "nan"); return; }
    if (isinf(v)) { fy_buf_str(out, v < 0 ? "-inf" : "inf"); return; }
    (void)snprintf(s, sizeof s, "%.*g", digits, v);
    char *comma = strchr(s, ',');                        /* the host's locale */
    if (comma) *comma = '.';
    fy_buf_str(out, s);
    if (mark && !strpbrk(s, ".e")) fy_buf_str(out, ".0");
}

static void print_elements(fy_buf *out, const fy_const *c, int64_t most) {
    fy_tensor t = { 0 };
    if (c->count > most) { fy_buf_str(out, "{...}"); return; }
    if (fy_const_tensor(&t, c, NULL) != FY_OK) { out->oom = true; return; }
    fy_buf_char(out, '{');
    for (int64_t i = 0; i < c->count; i++) {
        if (i) fy_buf_str(out, ", ");
        double z[2];
        switch (fy_dtype_class(c->dtype)) {
        case FY_CLASS_F: print_number(out, fy_get_f64(&t, i), c->dtype == FERRY_DOUBLE ? 17 : 9, false); break;
        case FY_CLASS_I: fy_buf_fmt(out, "%lld", (long long)fy_get_i64(&t, i)); break;
        case FY_CLASS_U: fy_buf_fmt(out, "%llu", (unsigned long long)fy_get_u64(&t, i)); break;
        case FY_CLASS_B: fy_buf_str(out, fy_get_i64(&t, i) ? "1" : "0"); break;
        case FY_CLASS_C:
            fy_load_c128(z, &t, i, 1);
            print_number(out, z[0], 17, false);
            fy_buf_str(out, ", ");
            print_number(out, z[1], 17, false);
            break;
        case FY_CLASS_S: print_quoted(out, ((const fy_str *)t.data)[i].at, ((const fy_str *)t.data)[i].n); break;
        case FY_CLASS_NONE: fy_buf_char(out, '0'); break;
        }
    }
    fy_buf_char(out, '}');
    fy_tensor_free(&t);
}

static void print_const(fy_buf *out, const fy_const *c, int64_t most) {
    print_dtype(out, c->dtype);
    if (c->rank) {
        for (int i = 0; i < c->rank; i++) fy_buf_fmt(out, "%s%lld", i ? "," : "[", (long long)c->dim[i]);
        fy_buf_char(out, ']');
    }
    fy_buf_char(out, ' ');
    print_elements(out, c, most);
}

static void print_graph(fy_buf *out, const fy_graph *g, const char *name, int64_t most, int indent);

static const char *const kind_names[] = { "", "float", "int", "string", "tensor", "graph", "floats", "ints", "strings", "tensors", "graphs", "sparse_tensor",
                                          "sparse_tensors", "type_proto", "type_protos" };

static bool is_list(const fy_attr *a) {
    return a->kind == FY_ATTR_FLOATS || a->kind == FY_ATTR_INTS || a->kind == FY_ATTR_STRINGS || a->kind == FY_ATTR_TENSORS || a->kind == FY_ATTR_GRAPHS;
}

static void print_attr_value(fy_buf *out, const fy_attr *a, int64_t most, int indent) {
    bool list = is_list(a);
    if (a->ref) { fy_buf_fmt(out, "@%s", a->ref); return; }
    if (list) fy_buf_char(out, '[');
    for (int64_t i = 0; i < (list ? a->n : 1); i++) {
        if (i) fy_buf_str(out, ", ");
        switch (a->kind) {
        case FY_ATTR_FLOAT: print_number(out, a->f, 9, true); break;
        case FY_ATTR_FLOATS: print_number(out, a->floats[i], 9, true); break;
        case FY_ATTR_INT: fy_buf_fmt(out, "%lld", (long long)a->i); break;
        case FY_ATTR_INTS: fy_buf_fmt(out, "%lld", (long long)a->ints[i]); break;
        case FY_ATTR_STRING: print_quoted(out, a->s.at, a->s.n); break;
        case FY_ATTR_STRINGS: print_quoted(out, a->strings[i].at, a->strings[i].n); break;
        case FY_ATTR_TENSOR: print_const(out, a->tensor, most); break;
        case FY_ATTR_TENSORS: print_const(out, a->tensors[i], most); break;
        case FY_ATTR_GRAPH: print_graph(out, a->graph, "body", most, indent + 2); break;
        case FY_ATTR_GRAPHS: print_graph(out, a->graphs[i], "body", most, indent + 2); break;
        case FY_ATTR_TYPE: print_type(out, a->type); break;
        case FY_ATTR_NONE: case FY_ATTR_SPARSE: case FY_ATTR_SPARSES: case FY_ATTR_TYPES: fy_buf_str(out, "?"); break;
        }
    }
    if (list) fy_buf_char(out, ']');
}

static void print_attr(fy_buf *out, const fy_attr *a, int64_t most, int indent) {
    print_name(out, a->name);
    if ((is_list(a) && a->n == 0) || a->ref) fy_buf_fmt(out, ": %s", kind_names[a->kind]);
    fy_buf_str(out, " = ");
    print_attr_value(out, a, most, indent);
}

void fy_attr_print(fy_buf *out, const fy_attr *a, int64_t max_elements) {
    if (a->kind == FY_ATTR_GRAPH) fy_buf_fmt(out, "a graph of %lld nodes", (long long)a->graph->nnodes);
    else if (a->kind == FY_ATTR_GRAPHS) fy_buf_fmt(out, "%lld graphs", (long long)a->n);
    else print_attr_value(out, a, max_elements, 0);
}

static void print_typed(fy_buf *out, const fy_value *v) {
    if (v->type.kind != FY_NOTYPE) {
        print_type(out, &v->type);
        fy_buf_char(out, ' ');
    }
    print_value(out, v);
}

static void blanks(fy_buf *out, int n) {
    for (int i = 0; i < n && i < INDENT_MOST; i++) fy_buf_char(out, ' ');
}

static void print_node(fy_buf *out, const fy_node *n, int64_t most, int indent) {
    blanks(out, indent);
    if (n->name && *n->name) {
        fy_buf_char(out, '[');
        print_name(out, n->name);
        fy_buf_str(out, "] ");
    }
    for (int i = 0; i < n->nout; i++) {
        if (i) fy_buf_str(out, ", ");
        print_value(out, n->out[i]);
    }
    if (n->nout) fy_buf_str(out, " = ");
    bool dotted = plain(n->op->name, false) && (!*n->op->domain || plain(n->op->domain, true));
    if (dotted) fy_buf_fmt(out, "%s%s%s", n->op->domain, *n->op->domain ? "." : "", n->op->name);
    else fy_buf_fmt(out, "\"%s::%s\"", n->op->domain, n->op->name);
    for (int i = 0; i < n->nattr; i++) {
        fy_buf_str(out, i ? ", " : " <");
        print_attr(out, &n->attr[i], most, indent);
    }
    fy_buf_str(out, n->nattr ? "> (" : " (");
    for (int i = 0; i < n->nin; i++) {
        if (i) fy_buf_str(out, ", ");
        print_value(out, n->in[i].value);
    }
    fy_buf_char(out, ')');
    const char *sep = "  # ";
    for (int i = 0; i < n->nout; i++) {
        if (!n->out[i] || n->out[i]->type.kind == FY_NOTYPE) continue;
        fy_buf_str(out, sep);
        print_type(out, &n->out[i]->type);
        sep = ", ";
    }
    if (n->scope && !strpbrk(n->scope, "\r\n")) fy_buf_fmt(out, "%s%s", *sep == ',' ? "  " : "  # ", n->scope);
    fy_buf_char(out, '\n');
}

/* Bodies nest as deep as readers allow (32), so this recursion is bounded. */
static void print_graph(fy_buf *out, const fy_graph *g, const char *name, int64_t most, int indent) {
    print_name(out, g->name && *g->name ? g->name : name);
    fy_buf_str(out, " (");
    for (int64_t i = 0; i < g->in.n; i++) {
        if (i) fy_buf_str(out, ", ");
        print_typed(out, g->in.at[i]);
        if (g->in.at[i]->constant) {
            fy_buf_str(out, " = ");
            print_elements(out, g->in.at[i]->constant, most);
        }
    }
    fy_buf_str(out, ") => (");
    for (int64_t i = 0; i < g->out.n; i++) {
        if (i) fy_buf_str(out, ", ");
        print_typed(out, g->out.at[i]);
    }
    fy_buf_char(out, ')');
    bool any = false;
    for (int64_t i = 0; i < g->constants.n; i++) {
        const fy_value *v = g->constants.at[i];
        if (v->is_input) continue;
        fy_buf_str(out, any ? ",\n" : "\n");
        blanks(out, indent);
        fy_buf_str(out, any ? " " : "<");
        print_typed(out, v);
        fy_buf_str(out, " = ");
        print_elements(out, v->constant, most);
        any = true;
    }
    fy_buf_str(out, any ? ">\n" : "\n");
    blanks(out, indent);
    fy_buf_str(out, "{\n");
    for (const fy_node *n = g->first; n; n = n->next) print_node(out, n, most, indent + 2);
    blanks(out, indent);
    fy_buf_char(out, '}');
}

static void print_function(fy_buf *out, const fy_function *f, int64_t most) {
    fy_buf_str(out, "<domain: ");
    print_quoted(out, f->domain, strlen(f->domain));
    for (int64_t i = 0; i < f->imports.n; i++) {
        fy_buf_str(out, i ? ", " : ", opset_import: [");
        print_quoted(out, f->imports.at[i].domain, strlen(f->imports.at[i].domain));
        fy_buf_fmt(out, " : %lld", (long long)f->imports.at[i].version);
    }
    fy_buf_str(out, f->imports.n ? "]>\n" : ">\n");
    print_name(out, f->name);
    for (int64_t i = 0; i < f->attrs.n + f->defaults.n; i++) {
        fy_buf_str(out, i ? ", " : " <");
        if (i < f->attrs.n) print_name(out, f->attrs.at[i]);
        else print_attr(out, &f->defaults.at[i - f->attrs.n], most, 0);
    }
    fy_buf_str(out, f->attrs.n + f->defaults.n ? "> (" : " (");
    for (int64_t i = 0; i < f->body->in.n; i++) { fy_buf_str(out, i ? ", " : ""); print_value(out, f->body->in.at[i]); }
    fy_buf_str(out, ") => (");
    for (int64_t i = 0; i < f->body->out.n; i++) { fy_buf_str(out, i ? ", " : ""); print_value(out, f->body->out.at[i]); }
    fy_buf_str(out, ")\n{\n");
    for (const fy_node *n = f->body->first; n; n = n->next) print_node(out, n, most, 2);
    fy_buf_str(out, "}\n");
}

static void print_text(fy_buf *out, const char *key, const char *s) {
    if (!s || !*s) return;
    fy_buf_fmt(out, ",\n  %s: ", key);
    print_quoted(out, s, strlen(s));
}

void fy_model_print(fy_buf *out, const fy_model *m, int64_t max_elements) {
    fy_buf_fmt(out, "<\n  ir_version: %lld,\n  opset_import: [", (long long)m->ir_version);
    bool has = false;
    for (int64_t i = 0; i < m->imports.n; i++) has = has || !*m->imports.at[i].domain;
    if (!has) fy_buf_fmt(out, "\"\" : %lld", (long long)(m->opset ? m->opset : FY_CANONICAL_OPSET));
    for (int64_t i = 0; i < m->imports.n; i++) {
        const fy_import *im = &m->imports.at[i];
        if (i || !has) fy_buf_str(out, ", ");
        print_quoted(out, im->domain, strlen(im->domain));
        fy_buf_fmt(out, " : %lld", (long long)(!*im->domain && m->opset ? m->opset : im->version));
    }
    fy_buf_char(out, ']');
    print_text(out, "producer_name", m->producer);
    print_text(out, "producer_version", m->producer_version);
    print_text(out, "domain", m->domain);
    print_text(out, "doc_string", m->doc);
    if (m->model_version) fy_buf_fmt(out, ",\n  model_version: %lld", (long long)m->model_version);
    for (int64_t i = 0; i < m->meta.n; i++) {
        fy_buf_str(out, i ? ", " : ",\n  metadata_props: [");
        print_quoted(out, m->meta.at[i].key, strlen(m->meta.at[i].key));
        fy_buf_str(out, " : ");
        print_quoted(out, m->meta.at[i].val, strlen(m->meta.at[i].val));
    }
    if (m->meta.n) fy_buf_char(out, ']');
    for (int64_t i = 0; i < m->graph->state.n; i++) {
        const fy_state *s = &m->graph->state.at[i];
        fy_buf_str(out, i ? ", " : ",\n  state: [");
        print_value(out, s->in);
        fy_buf_str(out, " : ");
        print_value(out, s->out);
    }
    if (m->graph->state.n) fy_buf_char(out, ']');
    fy_buf_str(out, "\n>\n");
    print_graph(out, m->graph, "main", max_elements, 0);
    fy_buf_char(out, '\n');
    for (int64_t i = 0; i < m->functions.n; i++) print_function(out, &m->functions.at[i], max_elements);
}
