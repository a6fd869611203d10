/* SPDX-License-Identifier: Apache-2.0
 * dot.c - the main graph for Graphviz: one box a node, one arrow a value, weights left out. */
#include "ir/op.h"

static void quoted(fy_buf *out, const char *s) {
    for (; s && *s; s++) {
        if (*s == '"' || *s == '\\') fy_buf_char(out, '\\');
        fy_buf_char(out, *s);
    }
}

static void port(fy_buf *out, const fy_value *v, const char *colour) {
    fy_buf_fmt(out, "  v%u [shape=ellipse, style=filled, fillcolor=%s, label=\"", v->id, colour);
    quoted(out, v->name);
    fy_buf_str(out, "\\n");
    fy_type_print(out, &v->type);
    fy_buf_str(out, "\"];\n");
}

static void arrow(fy_buf *out, const fy_value *v, const char *to, uint32_t id) {
    if (v->constant) return;
    if (v->def) fy_buf_fmt(out, "  n%u -> %s%u [label=\"", v->def->id, to, id);
    else fy_buf_fmt(out, "  v%u -> %s%u [label=\"", v->id, to, id);
    fy_type_print(out, &v->type);
    fy_buf_str(out, "\"];\n");
}

void fy_model_dot(fy_buf *out, const fy_model *m) {
    const fy_graph *g = m->graph;
    fy_buf_str(out, "digraph model {\n  node [shape=box, fontname=sans]; edge [fontname=sans, fontsize=9];\n");
    for (int64_t i = 0; i < g->in.n; i++) port(out, g->in.at[i], "lightblue");
    for (const fy_node *n = g->first; n; n = n->next) {
        fy_buf_fmt(out, "  n%u [label=\"", n->id);
        quoted(out, n->op->name);
        if (n->scope) {
            fy_buf_str(out, "\\n");
            quoted(out, n->scope);
        }
        fy_buf_str(out, "\"];\n");
        for (int i = 0; i < n->nin; i++)
            if (fy_in(n, i)) arrow(out, fy_in(n, i), "n", n->id);
    }
    for (int64_t i = 0; i < g->out.n; i++) {
        fy_buf_fmt(out, "  o%lld [shape=ellipse, style=filled, fillcolor=lightgreen, label=\"", (long long)i);
        quoted(out, g->out.at[i]->name);
        fy_buf_str(out, "\"];\n");
        arrow(out, g->out.at[i], "o", (uint32_t)i);
    }
    fy_buf_str(out, "}\n");
}
