/* SPDX-License-Identifier: Apache-2.0
 * diff_match.c - which node of one model is which of another.
 *
 * Two hashes for each node: one of all that it is computed from (operator, attributes, the hashes of its producers; weights by type and shape), one
 * of all that is computed from it. Nodes above a change agree in the first, nodes below it in the second. What lies between two changes is
 * reached from matched neighbours, and names decide last. Bodies of matched nodes are matched in turn. */
#include "check/diff.h"

#include <string.h>

#define SMALL 64                         /* elements of an integer constant that is part of the structure */
#define FANOUT 512                       /* uses of one value that are looked through */

typedef struct side {
    const fy_graph *g;
    const fy_model *m;
    uint64_t *up, *down, *own, *value;   /* by node id; value: by value id */
    const fy_node **mate;
} side;

typedef struct matching {
    side a, b;
    const fy_value **value;
    fy_arena *arena;
    ferry_error *e;
    FY_VEC(const fy_node *) queue;       /* matched nodes of a whose neighbours were not looked at yet */
    FY_VEC(const fy_graph *) graphs;     /* pairs of graphs to match: a, b, a, b ... */
} matching;

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

static uint64_t text_hash(const char *s) { return s ? fy_hash(s, strlen(s)) : 0; }

static const char *first_name(const fy_node *n) {
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && n->out[i]->name && *n->out[i]->name) return n->out[i]->name;
    return "";
}

/* Operator and attributes, bodies by their operators. */
static uint64_t own_hash(const fy_node *n, fy_buf *text) {
    uint64_t h = mix(text_hash(n->op->domain), text_hash(n->op->name)), attrs = 0;
    for (int i = 0; i < n->nattr; i++) {
        const fy_attr *a = &n->attr[i];
        text->n = 0;
        if (a->kind == FY_ATTR_INT && fy_attr_is_default(n, a)) continue;
        if ((a->kind == FY_ATTR_FLOAT || a->kind == FY_ATTR_STRING) && fy_attr_is_default(n, a)) continue;
        fy_attr_print(text, a, SMALL);
        attrs += mix(text_hash(a->name), text->at ? fy_hash(text->at, text->n) : 0);     /* in any order */
    }
    for (int64_t k = 0;; k++) {
        const fy_graph *body = fy_node_body(n, k);
        if (!body) break;
        for (const fy_node *x = body->first; x; x = x->next) h = mix(h, text_hash(x->op->name));
    }
    return mix(h, attrs);
}

static uint64_t const_hash(const fy_const *c) {
    uint64_t h = mix(3, (uint64_t)c->dtype);
    for (int i = 0; i < c->rank; i++) h = mix(h, (uint64_t)c->dim[i]);
    for (int64_t i = 0; i < c->count && c->count <= SMALL && !fy_dtype_float(c->dtype); i++) {
        int64_t v = 0;
        if (fy_const_i64(c, i, &v)) h = mix(h, (uint64_t)v);
    }
    return h;
}

static uint64_t value_hash(const side *s, const fy_value *v) {
    if (!v) return 0;
    if (v->constant) return const_hash(v->constant);
    return v->id < s->m->nvalues ? s->value[v->id] : 1;
}

static void hash_up(side *s, fy_buf *text) {
    for (int64_t i = 0; i < s->g->in.n; i++) s->value[s->g->in.at[i]->id] = mix(2, (uint64_t)i);
    for (const fy_node *n = s->g->first; n; n = n->next) {
        uint64_t h = s->own[n->id] = own_hash(n, text);
        for (int i = 0; i < n->nin; i++) h = mix(h, value_hash(s, fy_in(n, i)));
        s->up[n->id] = h;
        for (int i = 0; i < n->nout; i++)
            if (n->out[i]) s->value[n->out[i]->id] = mix(h, (uint64_t)i + 11);
    }
}

static void hash_down(side *s) {
    for (const fy_node *n = s->g->last; n; n = n->prev) {
        uint64_t h = s->own[n->id], sum = 0;
        for (int i = 0; i < n->nout; i++)
            for (const fy_use *u = n->out[i] ? n->out[i]->uses : NULL; u; u = u->next) {
                if (!u->user) sum += mix(0x5bd1u + (uint64_t)i, (uint64_t)u->slot);
                else if (u->user->graph == s->g && !u->capture) sum += mix(mix(s->down[u->user->id], (uint64_t)u->slot), (uint64_t)i);
            }
        s->down[n->id] = mix(h, sum);
    }
}

/* ---- matching -------------------------------------------------------------------------------------------------------------- */

static fy_status pair(matching *m, const fy_node *a, const fy_node *b) {
    m->a.mate[a->id] = b;
    m->b.mate[b->id] = a;
    for (int i = 0; i < a->nout && i < b->nout; i++)
        if (a->out[i] && b->out[i]) m->value[a->out[i]->id] = b->out[i];
    FY_PUSH(m->e, m->queue, a);
    for (int64_t k = 0;; k++) {
        const fy_graph *x = fy_node_body(a, k), *y = fy_node_body(b, k);
        if (!x || !y) break;
        FY_PUSH(m->e, m->graphs, x);
        FY_PUSH(m->e, m->graphs, y);
    }
    return FY_OK;
}

static int likeness(const fy_node *a, const fy_node *b) {
    int n = !strcmp(first_name(a), first_name(b)) ? 4 : 0;
    for (int i = 0; i < a->nin && i < b->nin; i++) {
        const fy_value *x = fy_in(a, i), *y = fy_in(b, i);
        if (x && y && x->constant && y->constant && x->name && y->name && !strcmp(x->name, y->name)) n++;
    }
    return n;
}

/* Nodes of equal hash, the most alike first, else in order. */
static fy_status by_hash(matching *m, const uint64_t *ha, const uint64_t *hb) {
    fy_map first = {0};
    int64_t n = 0;
    for (const fy_node *x = m->b.g->first; x; x = x->next) n++;
    typedef struct chain { const fy_node *n; struct chain *next; } chain;
    chain *all = FY_NEWN(m->arena, chain, n + 1);
    fy_status s = all ? FY_OK : fy_nomem(m->e);
    n = 0;
    for (const fy_node *x = m->b.g->last; x && !s; x = x->prev) {        /* from the end: chains are in order then */
        if (m->b.mate[x->id]) continue;
        const char *key = (const char *)&hb[x->id];
        all[n] = (chain){x, fy_map_get(&first, key, sizeof *hb)};
        if (!fy_map_put(&first, key, sizeof *hb, &all[n++])) s = fy_nomem(m->e);
    }
    for (const fy_node *x = m->a.g->first; x && !s; x = x->next) {
        if (m->a.mate[x->id]) continue;
        const fy_node *best = NULL;
        int most = -1, looked = 0;
        for (const chain *c = fy_map_get(&first, (const char *)&ha[x->id], sizeof *ha); c && looked < FANOUT; c = c->next) {
            if (m->b.mate[c->n->id]) continue;
            int like = likeness(x, c->n);
            looked++;
            if (like > most) { most = like; best = c->n; }
            if (like >= 4) break;
        }
        if (best) s = pair(m, x, best);
    }
    fy_map_free(&first);
    return s;
}

static bool same_op(const fy_node *a, const fy_node *b) { return !strcmp(a->op->name, b->op->name) && !strcmp(a->op->domain ? a->op->domain : "", b->op->domain ? b->op->domain : ""); }

/* Readers of two values that are one: each finds its like. */
static fy_status readers(matching *m, const fy_value *x, const fy_value *y) {
    int na = 0;
    for (const fy_use *u = x->uses; u && na < FANOUT; u = u->next, na++) {
        if (!u->user || u->capture || u->user->graph != m->a.g || m->a.mate[u->user->id]) continue;
        const fy_node *best = NULL;
        int most = -1, nb = 0;
        for (const fy_use *w = y->uses; w && nb < FANOUT; w = w->next, nb++) {
            if (!w->user || w->capture || w->user->graph != m->b.g || m->b.mate[w->user->id] || w->slot != u->slot || !same_op(u->user, w->user)) continue;
            int like = likeness(u->user, w->user) + (m->a.own[u->user->id] == m->b.own[w->user->id] ? 8 : 0);
            if (like >= most) { most = like; best = w->user; }
        }
        if (best) FY_TRY(pair(m, u->user, best));
    }
    return FY_OK;
}

static fy_status outwards(matching *m) {
    while (m->queue.n) {
        const fy_node *a = m->queue.at[--m->queue.n], *b = m->a.mate[a->id];
        for (int i = 0; i < a->nin && i < b->nin; i++) {
            const fy_value *x = fy_in(a, i), *y = fy_in(b, i);
            if (!x || !y || !x->def || !y->def || x->graph != m->a.g || y->graph != m->b.g || x->def_slot != y->def_slot) continue;
            if (!m->a.mate[x->def->id] && !m->b.mate[y->def->id] && same_op(x->def, y->def)) FY_TRY(pair(m, x->def, y->def));
        }
        for (int i = 0; i < a->nout && i < b->nout; i++)
            if (a->out[i] && b->out[i]) FY_TRY(readers(m, a->out[i], b->out[i]));
    }
    return FY_OK;
}

static fy_status by_name(matching *m, bool any_op) {
    fy_map names = {0};
    fy_status s = FY_OK;
    for (const fy_node *x = m->b.g->first; x && !s; x = x->next)
        if (!m->b.mate[x->id] && *first_name(x) && !fy_map_puts(&names, first_name(x), (void *)(uintptr_t)x)) s = fy_nomem(m->e);
    for (const fy_node *x = m->a.g->first; x && !s; x = x->next) {
        const fy_node *y = m->a.mate[x->id] || !*first_name(x) ? NULL : fy_map_gets(&names, first_name(x));
        if (y && !m->b.mate[y->id] && (any_op || same_op(x, y))) s = pair(m, x, y);
    }
    fy_map_free(&names);
    return s;
}

/* Inputs of a graph: by name, then those that are left in order. */
static fy_status inputs(matching *m) {
    const fy_graph *a = m->a.g, *b = m->b.g;
    bool *taken = FY_NEWN(m->arena, bool, b->in.n + 1);
    FY_NOMEM(m->e, taken);
    for (int64_t i = 0; i < a->in.n; i++)
        for (int64_t k = 0; k < b->in.n && a->in.at[i]->name && !m->value[a->in.at[i]->id]; k++)
            if (!taken[k] && b->in.at[k]->name && !strcmp(a->in.at[i]->name, b->in.at[k]->name)) { m->value[a->in.at[i]->id] = b->in.at[k]; taken[k] = true; }
    for (int64_t i = 0; i < a->in.n; i++)
        if (!m->value[a->in.at[i]->id] && i < b->in.n && !taken[i]) { m->value[a->in.at[i]->id] = b->in.at[i]; taken[i] = true; }
    for (int64_t i = 0; i < a->in.n; i++)
        if (m->value[a->in.at[i]->id]) FY_TRY(readers(m, a->in.at[i], m->value[a->in.at[i]->id]));
    return FY_OK;
}

static fy_status match_graphs(matching *m, const fy_graph *a, const fy_graph *b, fy_buf *text) {
    m->a.g = a;
    m->b.g = b;
    hash_up(&m->a, text);
    hash_up(&m->b, text);
    hash_down(&m->a);
    hash_down(&m->b);
    FY_TRY(by_hash(m, m->a.up, m->b.up));
    FY_TRY(by_hash(m, m->a.down, m->b.down));
    FY_TRY(inputs(m));
    FY_TRY(outwards(m));
    FY_TRY(by_name(m, false));
    FY_TRY(outwards(m));
    FY_TRY(by_name(m, true));
    return outwards(m);
}

static bool tables(side *s, fy_arena *a, const fy_model *m) {
    s->m = m;
    s->up = FY_NEWN(a, uint64_t, (int64_t)m->nnodes + 1);
    s->down = FY_NEWN(a, uint64_t, (int64_t)m->nnodes + 1);
    s->own = FY_NEWN(a, uint64_t, (int64_t)m->nnodes + 1);
    s->value = FY_NEWN(a, uint64_t, (int64_t)m->nvalues + 1);
    s->mate = FY_NEWN(a, const fy_node *, (int64_t)m->nnodes + 1);
    return s->up && s->down && s->own && s->value && s->mate;
}

fy_status fy_match_models(fy_match *out, fy_arena *arena, const fy_model *a, const fy_model *b, ferry_error *e) {
    matching m = {.arena = arena, .e = e};
    fy_buf text = {0};
    m.value = FY_NEWN(arena, const fy_value *, (int64_t)a->nvalues + 1);
    fy_status s = tables(&m.a, arena, a) && tables(&m.b, arena, b) && m.value ? FY_OK : fy_nomem(e);
    if (!s) s = match_graphs(&m, a->graph, b->graph, &text);
    for (int64_t i = 0; i + 1 < m.graphs.n && !s; i += 2) s = match_graphs(&m, m.graphs.at[i], m.graphs.at[i + 1], &text);
    if (!s && text.oom) s = fy_nomem(e);
    *out = (fy_match){m.a.mate, m.b.mate, m.value};
    fy_buf_free(&text);
    fy_free(m.queue.at);
    fy_free(m.graphs.at);
    return s;
}
