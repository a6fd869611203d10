/* SPDX-License-Identifier: Apache-2.0
 * shapes.c - every value of a model with what is known of it: type, symbolic sizes, contents that are sizes, node by node, bodies of
 * If, Loop, Scan below their node; then the symbols with range, divisibility, upper bound and the place where each first appears.
 *
 * A graph is named by its path: "" for the main one, "y.then_branch" for the branch of the node whose first output is y,
 * "y.body/z.body" for one inside. Value names need be unique within one path only. */
#include "check/check.h"

#include <string.h>

#define MAX_CONTENTS 64                  /* elements shown of a tensor of sizes */

typedef struct place { const fy_dim *sym; const fy_value *v; const char *graph; int axis; int64_t element; } place;

typedef struct lister {
    fy_buf     *text;
    fy_jsonw   *json;
    fy_map      seen;                    /* dims met, by id */
    FY_VEC(place) symbol;
    FY_VEC(size_t) path_end;             /* length of the path of each graph around this one */
    fy_buf      path;
    fy_arena    arena;
    bool        oom;
} lister;

/* ---- symbols --------------------------------------------------------------------------------------------------------- */

static void meet(lister *l, const fy_dim *d, const fy_value *v, int axis, int64_t element) {
    if (d->kind == FY_DIM_CONST || fy_map_has(&l->seen, (const char *)&d->id, sizeof d->id)) return;
    if (!fy_map_put(&l->seen, (const char *)&d->id, sizeof d->id, l)) { l->oom = true; return; }
    if (d->kind == FY_DIM_SYM || d->kind == FY_DIM_OPAQUE) {
        char *graph = fy_arena_str(&l->arena, l->path.n ? l->path.at : "");
        if (!graph || !FY_RESERVE(l->symbol, l->symbol.n + 1)) { l->oom = true; return; }
        l->symbol.at[l->symbol.n++] = (place){d, v, graph, axis, element};
        if (d->most) meet(l, d->most, v, axis, element);
    }
    for (int i = 0; i < d->nargs; i++) meet(l, d->arg[i], v, axis, element);                 /* the depth of a dim is bounded */
}

static void meet_value(lister *l, const fy_value *v) {
    for (const fy_type *t = &v->type; t; t = t->elem) {
        for (int i = 0; i < t->rank; i++)
            if (t->dim) meet(l, t->dim[i], v, i, -1);
    }
    for (int64_t i = 0; v->elem && i < v->nelem; i++) meet(l, v->elem[i], v, -1, i);
}

/* ---- one value -------------------------------------------------------------------------------------------------------- */

void fy_value_json(fy_jsonw *w, const fy_value *v, bool all) {
    fy_buf text = {0};
    const fy_type *t = &v->type;
    fy_jsonw_str(w, "name", v->name);
    fy_type_print(&text, t);
    fy_jsonw_str(w, "type", text.oom ? "" : text.at);
    fy_jsonw_str(w, "dtype", fy_dtype_name(t->dtype));
    if (all && (t->kind == FY_TENSOR || t->kind == FY_SPARSE) && t->rank >= 0) fy_jsonw_int(w, "rank", t->rank);
    else if (all) fy_jsonw_null(w, "rank");
    fy_jsonw_array(w, "shape");
    for (int k = 0; k < t->rank; k++) {
        int64_t d;
        if (fy_dim_known(t->dim[k], &d)) { fy_jsonw_int(w, NULL, d); continue; }
        text.n = 0;
        fy_dim_print(&text, t->dim[k]);
        fy_jsonw_str(w, NULL, text.oom ? "" : text.at);
    }
    fy_jsonw_end_array(w);
    if (all && v->elem && !v->constant && v->nelem <= MAX_CONTENTS) {
        fy_jsonw_array(w, "contents");
        for (int64_t k = 0; k < v->nelem; k++) {
            int64_t d;
            if (fy_dim_known(v->elem[k], &d)) { fy_jsonw_int(w, NULL, d); continue; }
            text.n = 0;
            fy_dim_print(&text, v->elem[k]);
            fy_jsonw_str(w, NULL, text.oom ? "" : text.at);
        }
        fy_jsonw_end_array(w);
    }
    fy_buf_free(&text);
}

static void show(lister *l, int depth, const char *what, const fy_value *v) {
    meet_value(l, v);
    if (l->text && strcmp(what, "constant")) {
        fy_buf *t = l->text;
        fy_buf_fmt(t, "  %*s%-*s %-24s ", 2 * depth, "", depth < 6 ? 20 - 2 * depth : 8, what, v->name ? v->name : "");
        fy_type_print(t, &v->type);
        if (v->elem && v->nelem <= MAX_CONTENTS) {
            fy_buf_str(t, " = ");
            if (v->type.rank != 0) fy_buf_char(t, '{');
            for (int64_t k = 0; k < v->nelem; k++) {
                if (k) fy_buf_str(t, ", ");
                fy_dim_print(t, v->elem[k]);
            }
            if (v->type.rank != 0) fy_buf_char(t, '}');
        }
        fy_buf_char(t, '\n');
    }
    if (!l->json) return;
    fy_jsonw_object(l->json, NULL);
    fy_jsonw_str(l->json, "graph", l->path.n ? l->path.at : "");
    fy_jsonw_str(l->json, "op", what);
    fy_value_json(l->json, v, true);
    fy_jsonw_end_object(l->json);
}

/* ---- graphs, without recursion ------------------------------------------------------------------------------------------ */

static void open_graph(lister *l, const fy_graph *g, const char *attr, int depth) {
    if (g->owner) {
        const char *of = g->owner->name;
        for (int i = g->owner->nout - 1; i >= 0; i--)
            if (g->owner->out[i] && g->owner->out[i]->name) of = g->owner->out[i]->name;
        if (!FY_RESERVE(l->path_end, l->path_end.n + 1)) { l->oom = true; return; }
        l->path_end.at[l->path_end.n++] = l->path.n;
        fy_buf_fmt(&l->path, "%s%s.%s", l->path.n ? "/" : "", of ? of : "", attr);
        if (l->text) fy_buf_fmt(l->text, "  %*s%s\n", 2 * depth, "", attr);
    }
    for (int64_t i = 0; i < g->in.n; i++) show(l, depth, "input", g->in.at[i]);
    for (int64_t i = 0; i < g->constants.n; i++)
        if (!g->constants.at[i]->is_input) show(l, depth, "constant", g->constants.at[i]);
}

static void close_graph(lister *l) {
    if (!l->path_end.n) return;
    l->path.n = l->path_end.at[--l->path_end.n];
    if (l->path.at) l->path.at[l->path.n] = 0;
}

/* Body number k of a node and the name of the attribute that holds it. */
static const fy_graph *body(const fy_node *n, int64_t k, const char **attr) {
    for (int i = 0; i < n->nattr; i++) {
        const fy_attr *a = &n->attr[i];
        int64_t have = a->kind == FY_ATTR_GRAPH ? 1 : a->kind == FY_ATTR_GRAPHS ? a->n : 0;
        *attr = a->name;
        if (k < have) return a->kind == FY_ATTR_GRAPH ? a->graph : a->graphs[k];
        k -= have;
    }
    return NULL;
}

static void walk(lister *l, const fy_model *m) {
    const fy_graph *g = m->graph, *inner;
    const fy_node *n = g->first;
    const char *attr;
    int depth = 0;
    open_graph(l, g, "", 0);
    while (!l->oom) {
        if (n) {
            for (int i = 0; i < n->nout; i++)
                if (n->out[i]) show(l, depth, n->op->name, n->out[i]);
            if ((inner = body(n, 0, &attr))) {
                open_graph(l, g = inner, attr, ++depth);
                n = g->first;
            } else n = n->next;
            continue;
        }
        if (!g->owner || depth == 0) break;
        const fy_node *owner = g->owner;
        int64_t k = 0;
        while ((inner = body(owner, k, &attr)) && inner != g) k++;
        close_graph(l);
        if (inner && (inner = body(owner, k + 1, &attr))) {
            open_graph(l, g = inner, attr, depth);
            n = g->first;
        } else {
            depth--;
            g = owner->graph;
            n = owner->next;
        }
    }
}

/* ---- the list of symbols ------------------------------------------------------------------------------------------------ */

static void text_symbol(fy_buf *t, const place *s) {
    const fy_dim *d = s->sym;
    fy_buf_fmt(t, "    %-20s ", d->name);
    if (d->lo == INT64_MIN && d->hi == INT64_MAX) fy_buf_str(t, "any integer");
    else if (d->hi == INT64_MAX) fy_buf_fmt(t, "%lld or more", (long long)d->lo);
    else fy_buf_fmt(t, "%lld to %lld", (long long)d->lo, (long long)d->hi);
    if (d->most && d->most->kind != FY_DIM_CONST) {
        fy_buf_str(t, ", at most ");
        fy_dim_print(t, d->most);
    }
    if (d->mult > 1) fy_buf_fmt(t, ", a multiple of %lld", (long long)d->mult);
    if (!d->given) fy_buf_str(t, ", known when it runs");
    if (s->element >= 0) fy_buf_fmt(t, "; element %lld of %s", (long long)s->element, s->v->name ? s->v->name : "");
    else fy_buf_fmt(t, "; axis %d of %s", s->axis, s->v->name ? s->v->name : "");
    if (s->v->def) fy_buf_fmt(t, " (%s)", s->v->def->op->name);
    if (*s->graph) fy_buf_fmt(t, " in %s", s->graph);
    fy_buf_char(t, '\n');
}

static void json_symbol(fy_jsonw *w, const place *s) {
    const fy_dim *d = s->sym;
    fy_buf b = {0};
    fy_dim_print(&b, d);                                     /* as it stands in shapes */
    fy_jsonw_object(w, NULL);
    fy_jsonw_str(w, "name", b.oom ? "" : b.at);
    fy_jsonw_str(w, "kind", d->given ? "symbol" : "data");
    if (d->lo == INT64_MIN) fy_jsonw_null(w, "min");
    else fy_jsonw_int(w, "min", d->lo);
    if (d->hi == INT64_MAX) fy_jsonw_null(w, "max");
    else fy_jsonw_int(w, "max", d->hi);
    b.n = 0;
    if (d->most) fy_dim_print(&b, d->most);
    fy_jsonw_str(w, "at_most", d->most && !b.oom ? b.at : NULL);
    fy_jsonw_int(w, "multiple_of", d->mult);
    fy_jsonw_str(w, "value", s->v->name);
    fy_jsonw_str(w, "graph", s->graph);
    if (s->element >= 0) fy_jsonw_int(w, "element", s->element);
    else fy_jsonw_int(w, "axis", s->axis);
    fy_jsonw_str(w, "op", s->v->def ? s->v->def->op->name : NULL);
    fy_jsonw_end_object(w);
    fy_buf_free(&b);
}

static fy_status list(fy_buf *text, fy_jsonw *json, const fy_model *m, ferry_error *e) {
    lister l = {.text = text, .json = json};
    if (text) fy_buf_str(text, "  values\n");
    if (json) fy_jsonw_array(json, "values");
    walk(&l, m);
    if (json) fy_jsonw_end_array(json);
    if (json) fy_jsonw_array(json, "symbols");
    if (text && l.symbol.n) fy_buf_str(text, "  symbols\n");
    for (int64_t i = 0; i < l.symbol.n; i++) {
        if (text) text_symbol(text, &l.symbol.at[i]);
        if (json) json_symbol(json, &l.symbol.at[i]);
    }
    if (json) fy_jsonw_end_array(json);
    bool oom = l.oom || l.path.oom;
    fy_free(l.symbol.at);
    fy_free(l.path_end.at);
    fy_map_free(&l.seen);
    fy_buf_free(&l.path);
    fy_arena_free(&l.arena);
    FY_NOMEM(e, !oom);
    return FY_OK;
}

fy_status fy_shapes_text(fy_buf *text, const fy_model *m, ferry_error *e) { return list(text, NULL, m, e); }
fy_status fy_shapes_json(fy_jsonw *json, const fy_model *m, ferry_error *e) { return list(NULL, json, m, e); }
