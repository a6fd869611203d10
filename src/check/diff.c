/* SPDX-License-Identifier: Apache-2.0
 * diff.c - two models beside each other: inputs, outputs, opset, metadata; nodes that were added, removed or changed; weights, and how far
 * those are apart that are not the same. Names of inner values are no difference. */
#include "check/diff.h"

#include "base/map.h"

#include <math.h>
#include <string.h>

typedef enum part { INTERFACE, METADATA, CHANGED, ADDED, REMOVED, SHAPES, WEIGHTS, PARTS } part;
typedef struct entry { part part; char sign; const char *name, *op, *text; } entry;     /* sign: '+', '-', '~', '>' (renamed) */

typedef struct pairing {
    const fy_value *a, *b;
    bool   same, type;                   /* equal; of one type and shape */
    double abs, rel;                     /* largest differences; NaN where one is */
    int64_t differing;
} pairing;

typedef struct differ {
    const fy_diff_side *a, *b;
    const fy_diff_options *o;
    ferry_error *e;
    fy_arena arena;
    fy_match match;
    FY_VEC(entry) entry;
    FY_VEC(pairing) weight;
    int64_t count[PARTS], nodes_a, nodes_b, matched, renamed_nodes, renamed_weights, same_weights, close_weights;
    double worst;
    bool *seen_a, *seen_b;               /* constants, by value id */
} differ;

static bool is_pt2(const fy_diff_side *s) { return !strcmp(s->format, "pt2"); }

static const char *named(const fy_value *v) { return !v ? "(none)" : v->name && *v->name ? v->name : "(unnamed)"; }

/* ---- entries ------------------------------------------------------------------------------------------------------------- */

static fy_status add(differ *d, part p, char sign, const char *name, const char *op, const fy_buf *text) {
    entry x = {p, sign, fy_arena_str(&d->arena, name), fy_arena_str(&d->arena, op ? op : ""), fy_arena_strn(&d->arena, text && text->n ? text->at : "", text ? text->n : 0)};
    FY_NOMEM(d->e, x.name && x.op && x.text && (!text || !text->oom));
    FY_PUSH(d->e, d->entry, x);
    if (sign != '>' || p == INTERFACE) d->count[p]++;
    return FY_OK;
}

/* Consumes the text. */
static fy_status add_text(differ *d, part p, char sign, const char *name, const char *op, fy_buf *text) {
    fy_status s = add(d, p, sign, name, op, text);
    fy_buf_free(text);
    return s;
}

static void types(fy_buf *t, const fy_value *a, const fy_value *b) {
    fy_type_print(t, &a->type);
    fy_buf_str(t, " -> ");
    fy_type_print(t, &b->type);
}

static bool same_type(const fy_value *a, const fy_value *b) {
    fy_buf x = {0}, y = {0};
    fy_type_print(&x, &a->type);
    fy_type_print(&y, &b->type);
    bool same = x.n == y.n && (!x.n || !memcmp(x.at, y.at, x.n));
    fy_buf_free(&x);
    fy_buf_free(&y);
    return same;
}

/* ---- interface ------------------------------------------------------------------------------------------------------------- */

static fy_status ports(differ *d, const char *what, fy_value *const *a, int64_t na, fy_value *const *b, int64_t nb, bool outputs) {
    for (int64_t i = 0; i < na || i < nb; i++) {
        fy_buf t = {0};
        if (i >= nb) { fy_type_print(&t, &a[i]->type); FY_TRY(add_text(d, INTERFACE, '-', named(a[i]), what, &t)); continue; }
        if (i >= na) { fy_type_print(&t, &b[i]->type); FY_TRY(add_text(d, INTERFACE, '+', named(b[i]), what, &t)); continue; }
        if (strcmp(named(a[i]), named(b[i]))) {
            fy_buf_fmt(&t, "-> %s", named(b[i]));
            FY_TRY(add_text(d, INTERFACE, '>', named(a[i]), what, &t));
            t = (fy_buf){0};
        }
        if (!same_type(a[i], b[i])) {
            types(&t, a[i], b[i]);
            FY_TRY(add_text(d, INTERFACE, '~', named(a[i]), what, &t));
            t = (fy_buf){0};
        }
        if (outputs && d->match.value[a[i]->id] != b[i] && !(a[i]->constant && b[i]->constant)) {
            fy_buf_str(&t, "computed by another node");
            FY_TRY(add_text(d, INTERFACE, '~', named(a[i]), what, &t));
        }
    }
    return FY_OK;
}

static fy_status head(differ *d) {
    const fy_model *a = d->a->m, *b = d->b->m;
    fy_buf t = {0};
    if (d->a->opset && d->b->opset && d->a->opset != d->b->opset) {
        fy_buf_fmt(&t, "%lld -> %lld", (long long)d->a->opset, (long long)d->b->opset);
        FY_TRY(add_text(d, INTERFACE, '~', "ai.onnx", "opset", &t));
    }
    FY_TRY(ports(d, "input", a->graph->in.at, a->graph->in.n, b->graph->in.at, b->graph->in.n, false));
    FY_TRY(ports(d, "output", a->graph->out.at, a->graph->out.n, b->graph->out.at, b->graph->out.n, true));
    if (!d->o->metadata || is_pt2(d->a) || is_pt2(d->b)) return FY_OK;       /* a .pt2 has none */
    for (int64_t i = 0; i < a->meta.n; i++) {
        const char *now = fy_model_meta(b, a->meta.at[i].key), *was = a->meta.at[i].val;
        t = (fy_buf){0};
        if (now && !strcmp(now, was)) continue;
        if (now) fy_buf_fmt(&t, "%.120s -> %.120s", was, now);
        else fy_buf_fmt(&t, "%.200s", was);
        FY_TRY(add_text(d, METADATA, now ? '~' : '-', a->meta.at[i].key, "", &t));
    }
    for (int64_t i = 0; i < b->meta.n; i++) {
        t = (fy_buf){0};
        if (fy_model_meta(a, b->meta.at[i].key)) continue;
        fy_buf_fmt(&t, "%.200s", b->meta.at[i].val);
        FY_TRY(add_text(d, METADATA, '+', b->meta.at[i].key, "", &t));
    }
    return FY_OK;
}

/* ---- nodes ----------------------------------------------------------------------------------------------------------------- */

static const char *node_name(const fy_node *n) {
    if (n->name && *n->name) return n->name;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && n->out[i]->name && *n->out[i]->name) return n->out[i]->name;
    return "(unnamed)";
}

static void print_value(fy_buf *t, const fy_node *n, const fy_attr *a) {
    if (a && n) fy_attr_print(t, a, 16);
    else fy_buf_str(t, "(default)");
}

static void line(fy_buf *t) {
    if (t->n) fy_buf_char(t, '\n');
}

static void one_attr(fy_buf *t, const fy_node *a, const fy_node *b, const fy_attr *x, const fy_attr *y) {
    fy_buf p = {0}, q = {0};
    if (x) fy_attr_print(&p, x, 64);
    if (y) fy_attr_print(&q, y, 64);
    bool graph = x && (x->kind == FY_ATTR_GRAPH || x->kind == FY_ATTR_GRAPHS);
    bool same = x && y && (graph || (p.n == q.n && !memcmp(p.at ? p.at : "", q.at ? q.at : "", p.n)));       /* what is in bodies is said node by node */
    if ((!y && x && fy_attr_is_default(a, x)) || (!x && y && fy_attr_is_default(b, y))) same = true;
    if (!same) {
        line(t);
        fy_buf_fmt(t, "%s: ", x ? x->name : y->name);
        print_value(t, a, x);
        fy_buf_str(t, " -> ");
        print_value(t, b, y);
    }
    fy_buf_free(&p);
    fy_buf_free(&q);
}

/* Is the value that b reads what the one that a reads became? Constants are compared as weights. */
static bool corresponds(const differ *d, const fy_value *x, const fy_value *y) {
    if (!x || !y) return x == y;
    if (x->constant && y->constant) return true;
    return !x->constant && !y->constant && d->match.value[x->id] == y;
}

static fy_status pair_constants(differ *d, const fy_value *x, const fy_value *y) {
    if (!x || !y || !x->constant || !y->constant || d->seen_a[x->id] || d->seen_b[y->id]) return FY_OK;
    d->seen_a[x->id] = d->seen_b[y->id] = true;
    FY_PUSH(d->e, d->weight, (pairing){.a = x, .b = y});
    return FY_OK;
}

static fy_status compare_node(differ *d, const fy_node *a, const fy_node *b) {
    fy_buf t = {0}, s = {0};
    if (strcmp(a->op->name, b->op->name)) fy_buf_fmt(&t, "operator: %s -> %s", a->op->name, b->op->name);
    for (int i = 0; i < a->nattr; i++) one_attr(&t, a, b, &a->attr[i], fy_attr_get(b, a->attr[i].name));
    for (int i = 0; i < b->nattr; i++)
        if (!fy_attr_get(a, b->attr[i].name)) one_attr(&t, a, b, NULL, &b->attr[i]);
    fy_status st = FY_OK;
    for (int i = 0; (i < a->nin || i < b->nin) && !st; i++) {
        const fy_value *x = fy_in(a, i), *y = fy_in(b, i);
        if (!corresponds(d, x, y)) {
            line(&t);
            fy_buf_fmt(&t, "input %d: %s%s%s -> %s%s%s", i, named(x), x && x->def ? " of " : "", x && x->def ? x->def->op->name : "", named(y), y && y->def ? " of " : "",
                       y && y->def ? y->def->op->name : "");
        }
        st = pair_constants(d, x, y);
    }
    for (int i = 0; i < a->nout && i < b->nout; i++) {
        if (!a->out[i] || !b->out[i] || same_type(a->out[i], b->out[i])) continue;
        line(&s);
        fy_buf_fmt(&s, "%s: ", named(a->out[i]));
        types(&s, a->out[i], b->out[i]);
    }
    d->matched++;
    d->renamed_nodes += strcmp(node_name(a), node_name(b)) != 0;
    if (!st && t.n) st = add(d, CHANGED, '~', node_name(a), a->op->name, &t);
    if (!st && s.n) st = add(d, SHAPES, '~', node_name(a), a->op->name, &s);
    if (t.oom || s.oom) st = fy_nomem(d->e);
    fy_buf_free(&t);
    fy_buf_free(&s);
    return st;
}

static fy_status nodes(differ *d) {
    fy_buf t = {0};
    for (const fy_graph *g = d->a->m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *n = g->first; n; n = n->next) {
            d->nodes_a++;
            if (d->match.mate[n->id]) { FY_TRY(compare_node(d, n, d->match.mate[n->id])); continue; }
            if (n->scope && *n->scope) fy_buf_fmt(&t, "in %s", n->scope);
            FY_TRY(add_text(d, REMOVED, '-', node_name(n), n->op->name, &t));
        }
    for (const fy_graph *g = d->b->m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *n = g->first; n; n = n->next) {
            d->nodes_b++;
            if (d->match.back[n->id]) continue;
            if (n->scope && *n->scope) fy_buf_fmt(&t, "in %s", n->scope);
            FY_TRY(add_text(d, ADDED, '+', node_name(n), n->op->name, &t));
        }
    return FY_OK;
}

/* ---- weights ----------------------------------------------------------------------------------------------------------------- */

static fy_status weights_by_name(differ *d) {
    fy_map names = {0};
    fy_status s = FY_OK;
    for (const fy_graph *g = d->b->m->graph; g && !s; g = fy_graph_next(NULL, g))
        for (int64_t i = 0; i < g->constants.n && !s; i++) {
            const fy_value *v = g->constants.at[i];
            if (v->constant && v->nuses && v->name && !d->seen_b[v->id] && !fy_map_puts(&names, v->name, (void *)(uintptr_t)v)) s = fy_nomem(d->e);
        }
    for (const fy_graph *g = d->a->m->graph; g && !s; g = fy_graph_next(NULL, g))
        for (int64_t i = 0; i < g->constants.n && !s; i++) {
            const fy_value *v = g->constants.at[i];
            if (v->constant && v->nuses && v->name && !d->seen_a[v->id]) s = pair_constants(d, v, fy_map_gets(&names, v->name));
        }
    fy_map_free(&names);
    return s;
}

static void element_type(fy_buf *t, const fy_const *c) {
    fy_buf_fmt(t, "%s[", fy_dtype_name(c->dtype));
    for (int k = 0; k < c->rank; k++) fy_buf_fmt(t, "%s%lld", k ? "," : "", (long long)c->dim[k]);
    fy_buf_char(t, ']');
}

#define PIECE 4096

static bool same_strings(const fy_const *x, const fy_const *y) {
    fy_tensor p = {0}, q = {0};
    bool same = !fy_const_tensor(&p, x, NULL) && !fy_const_tensor(&q, y, NULL);
    for (int64_t i = 0; i < x->count && same; i++) {
        fy_str s = ((const fy_str *)p.data)[i], t = ((const fy_str *)q.data)[i];
        same = s.n == t.n && (!s.n || !memcmp(s.at, t.at, s.n));
    }
    fy_tensor_free(&p);
    fy_tensor_free(&q);
    return same;
}

/* One pair, in pieces; equal bytes are seen at once. */
static void compare_weight(pairing *p) {
    const fy_const *x = p->a->constant, *y = p->b->constant;
    double u[PIECE], v[PIECE];
    union { double d; unsigned char b[16 * PIECE]; } ub, vb;
    p->type = x->dtype == y->dtype && x->rank == y->rank && !memcmp(x->dim, y->dim, (size_t)x->rank * sizeof *x->dim);
    if (!p->type) return;
    const void *dx = fy_const_direct(x), *dy = fy_const_direct(y);
    if (fy_const_same(x, y) || (dx && dy && !memcmp(dx, dy, fy_dtype_bytes(x->dtype, x->count)))) { p->same = true; return; }
    if (x->dtype == FERRY_STRING) { p->same = same_strings(x, y); p->differing = !p->same; return; }
    int parts = fy_dtype_class(x->dtype) == FY_CLASS_C ? 2 : 1;
    for (int64_t i = 0; i < x->count; i += PIECE / 2) {
        int64_t n = x->count - i < PIECE / 2 ? x->count - i : PIECE / 2;
        if (fy_const_read(x, i, n, ub.b, NULL) || fy_const_read(y, i, n, vb.b, NULL)) { p->differing++; return; }
        fy_tensor tx = fy_tensor_view(x->dtype, 1, &n, ub.b), ty = fy_tensor_view(y->dtype, 1, &n, vb.b);
        if (parts == 2) {
            fy_load_c128(u, &tx, 0, n);
            fy_load_c128(v, &ty, 0, n);
        } else {
            fy_load_f64(u, &tx, 0, n);
            fy_load_f64(v, &ty, 0, n);
        }
        for (int64_t k = 0; k < n * parts; k++) {
            if (u[k] == v[k] || (isnan(u[k]) && isnan(v[k]))) continue;
            double by = fabs(u[k] - v[k]), rel = by / fmax(fabs(u[k]), fabs(v[k]));
            p->differing++;
            if (!(by <= p->abs)) p->abs = by;
            if (!(rel <= p->rel)) p->rel = rel;
        }
    }
    p->same = !p->differing;
}

static void compare_some(void *arg, int64_t begin, int64_t end) {
    pairing *p = arg;
    for (int64_t i = begin; i < end; i++) compare_weight(&p[i]);
}

static fy_status one_weight(differ *d, const pairing *p) {
    fy_buf t = {0};
    bool renamed = strcmp(named(p->a), named(p->b)) != 0, close = p->type && !p->same && d->o->tolerance > 0 && p->abs <= d->o->tolerance;
    if (renamed && strchr(named(p->a), '.')) d->renamed_weights++;
    if (p->same || close) {
        d->same_weights++;
        d->close_weights += close;
        if (!renamed || !strchr(named(p->a), '.')) return FY_OK;         /* what has no name in PyTorch has none to lose */
        fy_buf_fmt(&t, "-> %s", named(p->b));
        return add_text(d, WEIGHTS, '>', named(p->a), "", &t);
    }
    if (renamed) fy_buf_fmt(&t, "(now %s) ", named(p->b));
    element_type(&t, p->a->constant);
    if (!p->type) {
        fy_buf_str(&t, " -> ");
        element_type(&t, p->b->constant);
    } else {
        fy_buf_fmt(&t, "  max abs %.3g, rel %.3g, %.3g %% of the elements", p->abs, p->rel, 100.0 * (double)p->differing / (double)(p->a->constant->count ? p->a->constant->count : 1));
        if (!(p->abs <= d->worst)) d->worst = p->abs;
    }
    return add_text(d, WEIGHTS, '~', named(p->a), "", &t);
}

static fy_status lonely(differ *d, const fy_diff_side *s, const bool *seen, char sign) {
    for (const fy_graph *g = s->m->graph; g; g = fy_graph_next(NULL, g))
        for (int64_t i = 0; i < g->constants.n; i++) {
            const fy_value *v = g->constants.at[i];
            fy_buf t = {0};
            if (!v->constant || !v->nuses || seen[v->id]) continue;
            element_type(&t, v->constant);
            FY_TRY(add_text(d, WEIGHTS, sign, named(v), "", &t));
        }
    return FY_OK;
}

static fy_status weights(differ *d) {
    FY_TRY(weights_by_name(d));
    fy_pool *pool = fy_pool_new(d->o->threads);
    fy_for(pool, d->weight.n, 1, compare_some, d->weight.at);
    fy_pool_free(pool);
    for (int64_t i = 0; i < d->weight.n; i++) FY_TRY(one_weight(d, &d->weight.at[i]));
    FY_TRY(lonely(d, d->a, d->seen_a, '-'));
    return lonely(d, d->b, d->seen_b, '+');
}

/* ---- the report ---------------------------------------------------------------------------------------------------------------- */

#define SHOWN 30

static const char *const titles[PARTS] = {"interface", "metadata", "changed nodes", "added nodes", "removed nodes", "other types or shapes", "weights"};
static const char *const keys[PARTS] = {"interface", "metadata", "changed", "added", "removed", "shapes", "weights"};

static void print_entry(fy_buf *t, const entry *x) {
    const char *colour = x->sign == '+' ? FY_GREEN : x->sign == '-' ? FY_RED : x->sign == '~' ? FY_AMBER : "";
    const char *end = strchr(x->text, '\n');
    bool lines = end != NULL;
    fy_buf_fmt(t, "  %s%c%s %s%s%s", colour, x->sign, *colour ? FY_OFF : "", x->op, *x->op ? " " : "", x->name);
    if (!lines) fy_buf_fmt(t, "%s%s\n", *x->text ? "  " : "", x->text);
    else fy_buf_char(t, '\n');
    for (const char *p = x->text; lines && p; p = end ? end + 1 : NULL) {
        end = strchr(p, '\n');
        fy_buf_fmt(t, "      %.*s\n", end ? (int)(end - p) : (int)strlen(p), p);
    }
}

static bool differ_at_all(const differ *d) {
    for (int p = 0; p < PARTS; p++)
        if (d->count[p]) return true;
    return false;
}

static void print_parts(fy_buf *t, const differ *d, int64_t most) {
    for (int p = 0; p < PARTS; p++) {
        int64_t n = 0, shown = 0;
        for (int64_t i = 0; i < d->entry.n; i++) n += d->entry.at[i].part == (part)p;
        if (!n) continue;
        fy_buf_fmt(t, FY_BOLD "%s" FY_OFF " %lld\n", titles[p], (long long)n);
        for (int64_t i = 0; i < d->entry.n && shown < most; i++)
            if (d->entry.at[i].part == (part)p) { print_entry(t, &d->entry.at[i]); shown++; }
        if (shown < n) fy_buf_fmt(t, FY_DIM_ "  ... and %lld more (-v)" FY_OFF "\n", (long long)(n - shown));
    }
}

static void summary(fy_buf *t, const differ *d) {
    fy_buf_fmt(t, "%s: %lld nodes and %lld: %lld are the same", differ_at_all(d) ? "different" : "same", (long long)d->nodes_a, (long long)d->nodes_b,
               (long long)(d->matched - d->count[CHANGED]));
    fy_buf_fmt(t, ", %lld changed, %lld added, %lld removed", (long long)d->count[CHANGED], (long long)d->count[ADDED], (long long)d->count[REMOVED]);
    if (d->renamed_nodes) fy_buf_fmt(t, ", %lld only under other names", (long long)d->renamed_nodes);
    if (!d->o->weights) fy_buf_str(t, "; weights not compared\n");
    else {
        fy_buf_fmt(t, "; weights: %lld the same", (long long)d->same_weights);
        if (d->close_weights) fy_buf_fmt(t, " (%lld within the tolerance)", (long long)d->close_weights);
        fy_buf_fmt(t, ", %lld different", (long long)d->count[WEIGHTS]);
        if (d->worst > 0 || isnan(d->worst)) fy_buf_fmt(t, " by at most %.3g", d->worst);
        if (d->renamed_weights) fy_buf_fmt(t, ", %lld renamed", (long long)d->renamed_weights);
        fy_buf_char(t, '\n');
    }
}

static void json(fy_buf *out, const differ *d) {
    fy_jsonw w = {.out = out, .first = true};
    fy_jsonw_object(&w, NULL);
    fy_jsonw_str(&w, "a", d->a->path);
    fy_jsonw_str(&w, "b", d->b->path);
    fy_jsonw_bool(&w, "same", !differ_at_all(d));
    fy_jsonw_int(&w, "nodes_a", d->nodes_a);
    fy_jsonw_int(&w, "nodes_b", d->nodes_b);
    fy_jsonw_int(&w, "nodes_matched", d->matched);
    fy_jsonw_int(&w, "nodes_renamed", d->renamed_nodes);
    fy_jsonw_int(&w, "weights_same", d->same_weights);
    fy_jsonw_int(&w, "weights_renamed", d->renamed_weights);
    fy_jsonw_num(&w, "weights_max_abs", d->worst);
    for (int p = 0; p < PARTS; p++) {
        fy_jsonw_array(&w, keys[p]);
        for (int64_t i = 0; i < d->entry.n; i++) {
            const entry *x = &d->entry.at[i];
            char sign[2] = {x->sign, 0};
            if (x->part != (part)p) continue;
            fy_jsonw_object(&w, NULL);
            fy_jsonw_str(&w, "sign", sign);
            fy_jsonw_str(&w, p == INTERFACE ? "what" : "operator", *x->op ? x->op : NULL);
            fy_jsonw_str(&w, "name", x->name);
            fy_jsonw_str(&w, "text", x->text);
            fy_jsonw_end_object(&w);
        }
        fy_jsonw_end_array(&w);
    }
    fy_jsonw_end_object(&w);
}

static fy_status run(differ *d, fy_report *r) {
    const fy_model *a = d->a->m, *b = d->b->m;
    d->seen_a = FY_NEWN(&d->arena, bool, (int64_t)a->nvalues + 1);
    d->seen_b = FY_NEWN(&d->arena, bool, (int64_t)b->nvalues + 1);
    FY_NOMEM(d->e, d->seen_a && d->seen_b);
    FY_TRY(fy_match_models(&d->match, &d->arena, a, b, d->e));
    FY_TRY(head(d));
    FY_TRY(nodes(d));
    if (d->o->weights) FY_TRY(weights(d));
    fy_buf_fmt(&r->text, FY_BOLD "%s" FY_OFF " and " FY_BOLD "%s" FY_OFF "\n", d->a->path, d->b->path);
    print_parts(&r->text, d, SHOWN);
    summary(&r->text, d);
    fy_buf all = {0};
    fy_buf_fmt(&all, "%s and %s\n", d->a->path, d->b->path);
    print_parts(&all, d, INT64_MAX);
    summary(&all, d);
    if (!all.oom) fy_strip_styles(&r->full, all.at);
    r->full.oom |= all.oom;
    fy_buf_free(&all);
    json(&r->json, d);
    r->verdict = differ_at_all(d) ? FERRY_NO : FERRY_OK;
    return FY_OK;
}

fy_status fy_diff_report(fy_report *r, const fy_diff_side *a, const fy_diff_side *b, const fy_diff_options *o, ferry_error *e) {
    differ d = {.a = a, .b = b, .o = o, .e = e};
    fy_status s = run(&d, r);
    fy_free(d.entry.at);
    fy_free(d.weight.at);
    fy_arena_free(&d.arena);
    return s;
}
