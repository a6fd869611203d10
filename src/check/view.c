/* SPDX-License-Identifier: Apache-2.0
 * view.c - the page of `ferry view`: the graph, its values and the statistics of its weights as JSON, beside page/view.js, which draws them.
 *
 * {"model", "about", "meta": [[key, value]], "values": [[name, type, weight or -1]], "weights": [{b: bytes, n: elements, v: text of few | min, max, mean,
 * std, z: zeros, nan, inf, h: bins}], "graphs": [{name, at: first node, n: nodes, in: [value], out: [value]}], "nodes": [{o: operator, n: name, s: module
 * path joined by U+0001, q: source, i: [value or -1], u: [value or -1], a: [[attribute, value]], g: [graph]}]}. Bodies follow the graph that their
 * node is in, so that every graph's nodes are one range. */
#include "check/view.h"

#include "check/html.h"
#include "check/view_css.h"
#include "check/view_js.h"
#include "formats/json.h"
#include "formats/stored.h"

#include <string.h>

#define FEW 16

typedef struct writer {
    fy_buf     *b;
    fy_arena    arena;
    ferry_error *e;
    const fy_model *m;
    int64_t    *number;                  /* of a value, + 1, by id */
    FY_VEC(const fy_value *) value, weight;
    FY_VEC(const fy_graph *) graph;
    fy_weight_stats *stats;
    fy_status  *status;                  /* of each statistic */
    bool        first;
} writer;

static fy_status number(writer *w, const fy_value *v) {
    if (!v || w->number[v->id]) return FY_OK;
    FY_PUSH(w->e, w->value, v);
    w->number[v->id] = w->value.n;
    if (v->constant) FY_PUSH(w->e, w->weight, v);
    return FY_OK;
}

/* Graphs in breadth, so that each one's nodes stand together, and every value that is shown. */
static fy_status gather(writer *w) {
    FY_PUSH(w->e, w->graph, w->m->graph);
    for (int64_t i = 0; i < w->graph.n; i++) {
        const fy_graph *g = w->graph.at[i];
        for (int64_t k = 0; k < g->in.n; k++) FY_TRY(number(w, g->in.at[k]));
        for (const fy_node *n = g->first; n; n = n->next) {
            for (int k = 0; k < n->nin; k++) FY_TRY(number(w, fy_in(n, k)));
            for (int k = 0; k < n->nout; k++) FY_TRY(number(w, n->out[k]));
            for (int64_t k = 0; fy_node_body(n, k); k++) FY_PUSH(w->e, w->graph, fy_node_body(n, k));
        }
        for (int64_t k = 0; k < g->out.n; k++) FY_TRY(number(w, g->out.at[k]));
    }
    return FY_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------------- */

/* What stands in a <script> may hold no '<': "</script>" in a name must not end it. */
static void text(fy_buf *b, const char *s) {
    size_t from = b->n;
    fy_json_quote(b, s ? s : "");
    for (size_t i = from; i < b->n && !b->oom; i++) {
        if (b->at[i] != '<') continue;
        fy_buf_str(b, "     ");                              /* room for \u003c */
        if (b->oom) return;
        memmove(b->at + i + 6, b->at + i + 1, b->n - 5 - i - 1);
        memcpy(b->at + i, "\\u003c", 6);
    }
}

static void comma(writer *w) {
    if (!w->first) fy_buf_char(w->b, ',');
    w->first = false;
}

static void open_list(writer *w, const char *key, char c) {
    comma(w);
    if (key) fy_buf_fmt(w->b, "\"%s\":", key);
    fy_buf_char(w->b, c);
    w->first = true;
}

static void close_list(writer *w, char c) {
    fy_buf_char(w->b, c);
    w->first = false;
}

static void put_text(writer *w, const char *key, const char *s) {
    comma(w);
    if (key) fy_buf_fmt(w->b, "\"%s\":", key);
    text(w->b, s);
}

static void put_int(writer *w, const char *key, int64_t v) {
    comma(w);
    if (key) fy_buf_fmt(w->b, "\"%s\":", key);
    fy_buf_fmt(w->b, "%lld", (long long)v);
}

static void put_num(writer *w, const char *key, double v) {
    comma(w);
    fy_buf_fmt(w->b, "\"%s\":%.6g", key, v);
}

static void put_value(writer *w, const fy_value *v) { put_int(w, NULL, v ? w->number[v->id] - 1 : -1); }

static void values(writer *w) {
    int64_t weight = 0;
    fy_buf type = {0};
    open_list(w, "values", '[');
    for (int64_t i = 0; i < w->value.n; i++) {
        const fy_value *v = w->value.at[i];
        type.n = 0;
        fy_type_print(&type, &v->type);
        open_list(w, NULL, '[');
        put_text(w, NULL, v->name);
        put_text(w, NULL, type.n ? type.at : "");
        put_int(w, NULL, v->constant ? weight++ : -1);
        close_list(w, ']');
    }
    close_list(w, ']');
    w->b->oom |= type.oom;
    fy_buf_free(&type);
}

static void few_elements(writer *w, const fy_const *c) {
    fy_attr a = {.name = "v", .kind = FY_ATTR_TENSOR, .n = 1, .tensor = c};
    fy_buf t = {0};
    fy_attr_print(&t, &a, FEW);
    const char *brace = t.n ? strchr(t.at, '{') : NULL;
    put_text(w, "v", brace ? brace : "");
    w->b->oom |= t.oom;
    fy_buf_free(&t);
}

static void one_weight(writer *w, const fy_const *c, const fy_weight_stats *s) {
    open_list(w, NULL, '{');
    put_int(w, "b", (int64_t)fy_dtype_bytes(c->dtype, c->count));
    put_int(w, "n", c->count);
    if (c->count <= FEW) few_elements(w, c);
    if (s && s->min <= s->max) {
        put_num(w, "min", s->min);
        put_num(w, "max", s->max);
        put_num(w, "mean", s->mean);
        put_num(w, "std", s->std);
        put_int(w, "z", s->zeros);
        if (s->nan || s->inf) { put_int(w, "nan", s->nan); put_int(w, "inf", s->inf); }
        if (c->count > FEW && s->max > s->min) {
            open_list(w, "h", '[');
            for (int k = 0; k < FY_BINS; k++) put_int(w, NULL, s->bins[k]);
            close_list(w, ']');
        }
    }
    close_list(w, '}');
}

static void graphs(writer *w) {
    int64_t at = 0;
    open_list(w, "graphs", '[');
    for (int64_t i = 0; i < w->graph.n; i++) {
        const fy_graph *g = w->graph.at[i];
        const char *name = g->name;
        for (int k = 0; g->owner && k < g->owner->nattr; k++)
            if (g->owner->attr[k].kind == FY_ATTR_GRAPH && g->owner->attr[k].graph == g) name = g->owner->attr[k].name;
        open_list(w, NULL, '{');
        put_text(w, "name", name);
        put_int(w, "at", at);
        put_int(w, "n", g->nnodes);
        open_list(w, "in", '[');
        for (int64_t k = 0; k < g->in.n; k++) put_value(w, g->in.at[k]);
        close_list(w, ']');
        open_list(w, "out", '[');
        for (int64_t k = 0; k < g->out.n; k++) put_value(w, g->out.at[k]);
        close_list(w, ']');
        close_list(w, '}');
        at += g->nnodes;
    }
    close_list(w, ']');
}

static void one_node(writer *w, const fy_node *n, fy_buf *t, int64_t *body) {
    open_list(w, NULL, '{');
    put_text(w, "o", n->op->name);
    put_text(w, "n", n->name && *n->name ? n->name : n->nout && n->out[0] ? n->out[0]->name : "");
    fy_module_path(t, n);
    if (t->n) put_text(w, "s", t->at);
    if (n->source && *n->source) put_text(w, "q", n->source);
    open_list(w, "i", '[');
    for (int k = 0; k < n->nin; k++) put_value(w, fy_in(n, k));
    close_list(w, ']');
    open_list(w, "u", '[');
    for (int k = 0; k < n->nout; k++) put_value(w, n->out[k]);
    close_list(w, ']');
    if (n->op->domain && *n->op->domain) put_text(w, "d", n->op->domain);
    open_list(w, "a", '[');
    for (int k = 0; k < n->nattr; k++) {
        t->n = 0;
        fy_attr_print(t, &n->attr[k], FEW);
        open_list(w, NULL, '[');
        put_text(w, NULL, n->attr[k].name);
        put_text(w, NULL, t->n ? t->at : "");
        close_list(w, ']');
    }
    close_list(w, ']');
    if (fy_node_body(n, 0)) {
        open_list(w, "g", '[');
        for (int64_t k = 0; fy_node_body(n, k); k++) put_int(w, NULL, (*body)++);
        close_list(w, ']');
    }
    close_list(w, '}');
}

static void nodes(writer *w) {
    fy_buf t = {0};
    int64_t body = 1;                                        /* graphs were gathered in the same order */
    open_list(w, "nodes", '[');
    for (int64_t i = 0; i < w->graph.n; i++)
        for (const fy_node *n = w->graph.at[i]->first; n; n = n->next) one_node(w, n, &t, &body);
    close_list(w, ']');
    w->b->oom |= t.oom;
    fy_buf_free(&t);
}

static void data(writer *w, const fy_view_options *o) {
    w->first = true;
    open_list(w, NULL, '{');
    put_text(w, "model", o->name);
    put_text(w, "about", o->about);
    open_list(w, "meta", '[');
    for (int64_t i = 0; i < w->m->meta.n; i++) {
        open_list(w, NULL, '[');
        put_text(w, NULL, w->m->meta.at[i].key);
        put_text(w, NULL, w->m->meta.at[i].val);
        close_list(w, ']');
    }
    close_list(w, ']');
    values(w);
    open_list(w, "weights", '[');
    for (int64_t i = 0; i < w->weight.n; i++) one_weight(w, w->weight.at[i]->constant, w->stats ? &w->stats[i] : NULL);
    close_list(w, ']');
    graphs(w);
    nodes(w);
    close_list(w, '}');
}

/* ---- the page --------------------------------------------------------------------------------------------------------------------- */

static void some_stats(void *arg, int64_t begin, int64_t end) {
    writer *w = arg;
    for (int64_t i = begin; i < end; i++) w->status[i] = fy_weight_statistics(&w->stats[i], w->weight.at[i]->constant, NULL);
}

static fy_status statistics(writer *w, int threads) {
    w->stats = FY_NEWN(&w->arena, fy_weight_stats, w->weight.n + 1);
    w->status = FY_NEWN(&w->arena, fy_status, w->weight.n + 1);
    FY_NOMEM(w->e, w->stats && w->status);
    fy_pool *pool = fy_pool_new(threads);
    fy_for(pool, w->weight.n, 1, some_stats, w);
    fy_pool_free(pool);
    for (int64_t i = 0; i < w->weight.n; i++) FY_NOMEM(w->e, !w->status[i]);
    return FY_OK;
}

static fy_status page(writer *w, const fy_view_options *o) {
    fy_buf *b = w->b;
    char *css = fy_arena_alloc(&w->arena, VIEW_CSS_SIZE, 1), *js = fy_arena_alloc(&w->arena, VIEW_JS_SIZE, 1);
    FY_NOMEM(w->e, css && js);
    fy_stored_read(css, VIEW_CSS_SIZE, view_css, sizeof view_css);
    fy_stored_read(js, VIEW_JS_SIZE, view_js, sizeof view_js);
    fy_html_head(b, o->name, "view", css, VIEW_CSS_SIZE);
    fy_buf_str(b, "<body>\n<header><h1>");
    fy_html_text(b, o->name, 60);
    fy_buf_str(b, "</h1><span class=\"about\">");
    fy_html_text(b, o->about, 0);
    fy_buf_str(b, "</span><input id=\"search\" type=\"search\" placeholder=\"operator, name, weight, module  ( / )\" aria-label=\"search\"/>"
                  "<button id=\"fold\" title=\"key f\">fold</button><button id=\"unfold\" title=\"key u\">unfold all</button><button id=\"whole\" title=\"key 0\">whole</button>"
                  "<button id=\"theme\" title=\"key t\">dark / light</button></header>\n<main><div id=\"canvas\"><svg id=\"stage\" tabindex=\"0\" aria-label=\"the graph\"></svg><div id=\"hits\"></div>"
                  "<div id=\"keys\">drag: move \xC2\xB7 wheel, + and -: zoom \xC2\xB7 click: look, fold and unfold \xC2\xB7 j k h: along an edge, up a module \xC2\xB7 / : search, n: next</div></div>"
                  "<aside id=\"panel\"></aside></main>\n<script type=\"application/json\" id=\"data\">");
    data(w, o);
    fy_buf_str(b, "</script>\n<script>\n");
    fy_buf_add(b, js, VIEW_JS_SIZE);
    fy_buf_str(b, "</script>\n</body></html>\n");
    return FY_OK;
}

fy_status fy_view_page(fy_buf *out, const fy_model *m, const fy_view_options *o, ferry_error *e) {
    writer w = {.b = out, .e = e, .m = m};
    w.number = FY_NEWN(&w.arena, int64_t, (int64_t)m->nvalues + 1);
    fy_status s = w.number ? gather(&w) : fy_nomem(e);
    if (!s && o->weights) s = statistics(&w, o->threads);
    if (!s) s = page(&w, o);
    fy_free(w.value.at);
    fy_free(w.weight.at);
    fy_free(w.graph.at);
    fy_arena_free(&w.arena);
    return !s && out->oom ? fy_nomem(e) : s;
}
