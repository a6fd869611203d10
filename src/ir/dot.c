/* SPDX-License-Identifier: Apache-2.0
 * dot.c - a picture for Graphviz: nodes as boxes, edges with types, bodies as clusters; constants only by their type. */
#include "ir/op.h"

#include <string.h>

static void label(fy_buf *out, const char *s, size_t most) {
    for (size_t i = 0; s && s[i] && i < most; i++) {
        if (s[i] == '"' || s[i] == '\\') fy_buf_char(out, '\\');
        fy_buf_char(out, (unsigned char)s[i] < 32 ? ' ' : s[i]);
    }
}

static void source(fy_buf *out, const fy_value *v) {
    if (v->def) fy_buf_fmt(out, "n%u", (unsigned)v->def->id);
    else fy_buf_fmt(out, "v%u", (unsigned)v->id);
}

static void edge(fy_buf *out, const fy_value *v, const char *kind, unsigned to) {
    fy_buf type = { 0 };
    fy_buf_str(out, "  ");
    source(out, v);
    fy_buf_fmt(out, " -> %s%u [label=\"", kind, to);
    fy_type_print(&type, &v->type);
    label(out, type.at, 60);
    fy_buf_str(out, "\"];\n");
    if (type.oom) out->oom = true;
    fy_buf_free(&type);
}

static void leaf(fy_buf *out, const fy_value *v, const char *colour) {
    fy_buf_fmt(out, "  v%u [shape=ellipse,style=filled,fillcolor=%s,label=\"", (unsigned)v->id, colour);
    label(out, v->name, 60);
    fy_buf_str(out, "\"];\n");
}

static void boxes(fy_buf *out, const fy_graph *g) {
    for (int64_t i = 0; i < g->in.n; i++) leaf(out, g->in.at[i], "lightblue");
    for (int64_t i = 0; i < g->constants.n; i++)
        if (g->constants.at[i]->nuses && !g->constants.at[i]->is_input) leaf(out, g->constants.at[i], "lightgrey");
    for (const fy_node *n = g->first; n; n = n->next) {
        fy_buf_fmt(out, "  n%u [shape=box,label=\"", (unsigned)n->id);
        label(out, n->op->name, 60);
        if (n->name && *n->name) {
            fy_buf_str(out, "\\n");
            label(out, n->name, 80);
        }
        fy_buf_str(out, "\"];\n");
    }
}

void fy_model_dot(fy_buf *out, const fy_model *m) {
    unsigned ports = 0;
    fy_buf_str(out, "digraph model {\n  node [fontname=Helvetica];\n");
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g)) {
        if (g->owner) fy_buf_fmt(out, "subgraph cluster_%u_%u {\n  label=\"body of n%u\";\n", (unsigned)g->owner->id, ports++, (unsigned)g->owner->id);
        boxes(out, g);
        if (g->owner) fy_buf_str(out, "}\n");
    }
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g)) {
        for (const fy_node *n = g->first; n; n = n->next)
            for (int i = 0; i < n->nin; i++)
                if (n->in[i].value) edge(out, n->in[i].value, "n", (unsigned)n->id);
        for (int64_t i = 0; i < g->out.n; i++) {
            fy_buf_fmt(out, "  o%u [shape=ellipse,style=filled,fillcolor=lightgreen,label=\"", ports);
            label(out, g->out.at[i]->name, 60);
            fy_buf_str(out, "\"];\n");
            edge(out, g->out.at[i], "o", ports++);
        }
    }
    fy_buf_str(out, "}\n");
}
