/* SPDX-License-Identifier: Apache-2.0
 * graph.c - models, graphs, values, nodes and their use lists: everything that changes the graph. */
#include "ir/graph.h"

#include "base/file.h"
#include "ir/op.h"

#include <string.h>

/* ---- use lists ----------------------------------------------------------------------------------------------------- */

static void link_use(fy_use *u, fy_value *v) {
    u->value = v;
    u->prev = NULL;
    u->next = NULL;
    if (!v) return;
    u->next = v->uses;
    if (v->uses) v->uses->prev = u;
    v->uses = u;
    v->nuses++;
}

static void unlink_use(fy_use *u) {
    fy_value *v = u->value;
    if (!v) return;
    if (u->prev) u->prev->next = u->next;
    else v->uses = u->next;
    if (u->next) u->next->prev = u->prev;
    v->nuses--;
    u->value = NULL;
    u->next = u->prev = NULL;
}

static bool still_output(const fy_value *v) {
    for (const fy_use *u = v->uses; u; u = u->next)
        if (!u->user) return true;
    return false;
}

/* Room of a growing arena array of n: a power of two, so no field is needed for it; full exactly when n is one. */
static int64_t room_for(int64_t n) {
    int64_t room = 1;
    while (room < n) room *= 2;
    return room;
}
static bool full(int64_t n) { return (n & (n - 1)) == 0; }

/* Attributes are large and mostly one or several: room for 1, then for 4, 8 ... */
static int64_t attr_room(int64_t n) { return n <= 1 ? 1 : n <= 4 ? 4 : room_for(n); }
static bool attrs_full(int64_t n) { return n <= 1 || (n >= 4 && full(n)); }

/* ---- models -------------------------------------------------------------------------------------------------------- */

fy_model *fy_model_new(const fy_registry *r) {
    fy_model *m = fy_calloc(1, sizeof *m);
    if (!m) return NULL;
    m->registry = r;
    m->ir_version = 0;
    m->dims = fy_dims_new();
    m->graph = m->dims ? fy_graph_new(m, NULL) : NULL;
    if (m->graph) return m;
    fy_model_free(m);
    return NULL;
}

void fy_model_drop_functions(fy_model *m) {
    for (int64_t i = 0; i < m->functions.n; i++) {
        fy_free(m->functions.at[i].attrs.at);
        fy_free(m->functions.at[i].defaults.at);
        fy_free(m->functions.at[i].imports.at);
    }
    m->functions.n = 0;
}

void fy_model_free(fy_model *m) {
    if (!m) return;
    for (int64_t i = 0; i < m->graphs.n; i++) {
        fy_graph *g = m->graphs.at[i];
        fy_free(g->in.at);
        fy_free(g->out.at);
        fy_free(g->constants.at);
        fy_free(g->state.at);
        fy_free(g->out_use.at);
    }
    fy_model_drop_functions(m);
    for (int64_t i = 0; i < m->files.n; i++) fy_file_close(m->files.at[i]);
    fy_free(m->graphs.at);
    fy_free(m->functions.at);
    fy_free(m->files.at);
    fy_free(m->imports.at);
    fy_free(m->meta.at);
    fy_map_free(&m->opaque);
    fy_map_free(&m->merged);
    if (m->dims) fy_dims_free(m->dims);
    fy_arena_free(&m->arena);
    fy_free(m);
}

const char *fy_model_meta(const fy_model *m, const char *key) {
    for (int64_t i = 0; i < m->meta.n; i++)
        if (strcmp(m->meta.at[i].key, key) == 0) return m->meta.at[i].val;
    return NULL;
}

fy_status fy_model_set_meta(fy_model *m, const char *key, const char *val, ferry_error *e) {
    char *v = fy_arena_str(&m->arena, val);
    FY_NOMEM(e, v);
    for (int64_t i = 0; i < m->meta.n; i++)
        if (strcmp(m->meta.at[i].key, key) == 0) {
            m->meta.at[i].val = v;
            return FY_OK;
        }
    char *k = fy_arena_str(&m->arena, key);
    FY_NOMEM(e, k);
    FY_PUSH(e, m->meta, (fy_pair){ k, v });
    return FY_OK;
}

/* ---- graphs and values --------------------------------------------------------------------------------------------- */

fy_graph *fy_graph_new(fy_model *m, fy_graph *parent) {
    fy_graph *g = FY_NEW(&m->arena, fy_graph);
    if (!g || !FY_RESERVE(m->graphs, m->graphs.n + 1)) return NULL;
    g->model = m;
    g->parent = parent;
    m->graphs.at[m->graphs.n++] = g;
    return g;
}

fy_value *fy_value_new(fy_graph *g, const char *name) {
    fy_model *m = g->model;
    fy_value *v = FY_NEW(&m->arena, fy_value);
    if (!v) return NULL;
    v->name = fy_arena_str(&m->arena, name);
    if (name && !v->name) return NULL;
    v->id = m->nvalues++;
    v->graph = g;
    return v;
}

fy_value *fy_graph_add_input(fy_graph *g, const char *name, const fy_type *t) {
    fy_value *v = fy_value_new(g, name);
    if (!v || !FY_RESERVE(g->in, g->in.n + 1)) return NULL;
    if (t) v->type = *t;
    for (int i = 0; t && t->kind == FY_TENSOR && t->dim && i < t->rank && g == g->model->graph; i++) fy_dim_give(g->model->dims, t->dim[i]);
    v->is_input = true;
    g->in.at[g->in.n++] = v;
    return v;
}

bool fy_graph_add_output(fy_graph *g, fy_value *v) {
    if (!FY_RESERVE(g->out, g->out.n + 1) || !FY_RESERVE(g->out_use, g->out.n + 1)) return false;
    fy_use *u = FY_NEW(&g->model->arena, fy_use);
    if (!u) return false;
    u->slot = (int)g->out.n;
    u->graph = g;
    link_use(u, v);
    v->is_output = true;
    g->out_use.at[g->out_use.n++] = u;
    g->out.at[g->out.n++] = v;
    return true;
}

void fy_graph_set_output(fy_graph *g, int i, fy_value *v) {
    FY_ASSERT(i >= 0 && i < g->out.n && v);
    fy_value *old = g->out.at[i];
    if (old == v) return;
    unlink_use(g->out_use.at[i]);
    link_use(g->out_use.at[i], v);
    g->out.at[i] = v;
    v->is_output = true;
    old->is_output = still_output(old);
}

fy_value *fy_graph_add_const(fy_graph *g, const char *name, const fy_const *c) {
    fy_value *v = fy_value_new(g, name);
    if (!v || !FY_RESERVE(g->constants, g->constants.n + 1)) return NULL;
    v->constant = c;
    v->type = fy_tensor_type_i64(g->model, c->dtype, c->rank, c->dim);
    if (v->type.kind == FY_NOTYPE) return NULL;
    g->constants.at[g->constants.n++] = v;
    return v;
}

bool fy_value_visible(const fy_value *v, const fy_graph *g) {
    for (; g; g = g->parent)
        if (v->graph == g) return true;
    return false;
}

void fy_value_replace(fy_value *v, fy_value *by) {
    FY_ASSERT(v && by);
    if (v == by) return;
    fy_use *last = NULL;
    for (fy_use *u = v->uses; u; u = u->next) {
        u->value = by;
        if (!u->user) {
            u->graph->out.at[u->slot] = by;
            by->is_output = true;
            for (int64_t i = 0; i < u->graph->state.n; i++)
                if (u->graph->state.at[i].out == v) u->graph->state.at[i].out = by;
        }
        last = u;
    }
    if (!last) return;
    last->next = by->uses;
    if (by->uses) by->uses->prev = last;
    by->uses = v->uses;
    by->nuses += v->nuses;
    v->uses = NULL;
    v->nuses = 0;
    v->is_output = false;
}

/* ---- nodes --------------------------------------------------------------------------------------------------------- */

static void insert(fy_graph *g, fy_node *n, fy_node *before) {
    FY_ASSERT(!before || before->graph == g);
    n->next = before;
    n->prev = before ? before->prev : g->last;
    if (n->prev) n->prev->next = n;
    else g->first = n;
    if (before) before->prev = n;
    else g->last = n;
    g->nnodes++;
}

static void take_out(fy_node *n) {
    fy_graph *g = n->graph;
    if (n->prev) n->prev->next = n->next;
    else g->first = n->next;
    if (n->next) n->next->prev = n->prev;
    else g->last = n->prev;
    n->prev = n->next = NULL;
    g->nnodes--;
}

fy_node *fy_node_new(fy_graph *g, fy_node *before, const fy_op *op, int nin, fy_value *const *in, int nout) {
    FY_ASSERT(op && nin >= 0 && nout >= 0);
    fy_model *m = g->model;
    fy_node *n = FY_NEW(&m->arena, fy_node);
    if (!n) return NULL;
    n->in = FY_NEWN(&m->arena, fy_use, room_for(nin));
    n->out = FY_NEWN(&m->arena, fy_value *, nout);
    if (!n->in || !n->out) return NULL;
    for (int i = 0; i < nout; i++) {
        if (!(n->out[i] = fy_value_new(g, NULL))) return NULL;
        n->out[i]->def = n;
        n->out[i]->def_slot = i;
    }
    n->id = m->nnodes++;
    n->op = op;
    n->graph = g;
    n->nin = nin;
    n->nout = nout;
    for (int i = 0; i < nin; i++) {
        n->in[i].user = n;
        n->in[i].slot = i;
        link_use(&n->in[i], in ? in[i] : NULL);
    }
    insert(g, n, before);
    return n;
}

void fy_node_set_input(fy_node *n, int i, fy_value *v) {
    FY_ASSERT(i >= 0 && i < n->nin);
    unlink_use(&n->in[i]);
    link_use(&n->in[i], v);
}

bool fy_node_add_input(fy_node *n, fy_value *v) {
    if (full(n->nin)) {
        fy_use *in = FY_NEWN(&n->graph->model->arena, fy_use, room_for(n->nin + 1));
        if (!in) return false;
        for (int i = 0; i < n->nin; i++) {
            fy_value *x = n->in[i].value;
            unlink_use(&n->in[i]);
            in[i].user = n;
            in[i].slot = i;
            link_use(&in[i], x);
        }
        n->in = in;
    }
    fy_use *u = &n->in[n->nin];
    *u = (fy_use){ .user = n, .slot = n->nin };
    n->nin++;
    link_use(u, v);
    return true;
}

fy_graph *fy_node_body(const fy_node *n, int64_t k) {
    for (int i = 0; i < n->nattr; i++) {
        const fy_attr *a = &n->attr[i];
        int64_t have = a->kind == FY_ATTR_GRAPH ? 1 : a->kind == FY_ATTR_GRAPHS ? a->n : 0;
        if (k < have) return a->kind == FY_ATTR_GRAPH ? a->graph : a->graphs[k];
        k -= have;
    }
    return NULL;
}

static fy_graph *first_body(const fy_node *n) {
    for (; n; n = n->next) {
        fy_graph *b = n->nattr ? fy_node_body(n, 0) : NULL;
        if (b) return b;
    }
    return NULL;
}

fy_graph *fy_graph_next(const fy_node *root, const fy_graph *g) {
    if (g->model->graphs.n == 1) return NULL;                /* no body was ever made */
    fy_graph *b = first_body(g->first);
    while (!b && g->owner) {
        const fy_node *owner = g->owner;
        int64_t k = 0;
        while ((b = fy_node_body(owner, k)) && b != g) k++;
        b = b ? fy_node_body(owner, k + 1) : NULL;
        if (b || owner == root) break;
        b = first_body(owner->next);
        g = owner->graph;
    }
    return b;
}

/* Uses that a graph and the bodies below it make of anything are given up. */
static void drop_graph(fy_graph *g) {
    for (fy_node *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->nin; i++) unlink_use(&n->in[i]);
        for (int i = 0; i < n->ncap; i++) unlink_use(n->cap[i]);
    }
    for (int64_t i = 0; i < g->out_use.n; i++) unlink_use(g->out_use.at[i]);
}

static void drop_bodies(fy_node *n) {
    for (fy_graph *g = fy_node_body(n, 0); g; g = fy_graph_next(n, g)) drop_graph(g);
}

void fy_node_remove(fy_node *n) {
    for (int i = 0; i < n->nout; i++) {
        FY_ASSERT(!n->out[i] || n->out[i]->nuses == 0);
        if (n->out[i]) n->out[i]->def = NULL;
    }
    drop_bodies(n);
    for (int i = 0; i < n->nin; i++) unlink_use(&n->in[i]);
    for (int i = 0; i < n->ncap; i++) unlink_use(n->cap[i]);
    n->ncap = 0;
    take_out(n);
}

void fy_node_move(fy_node *n, fy_node *before) {
    if (n == before || (before && n->next == before)) return;
    take_out(n);
    insert(n->graph, n, before);
}

bool fy_graph_splice(fy_graph *g, fy_node *before) {
    fy_graph *to = before->graph;
    if (!FY_RESERVE(to->constants, to->constants.n + g->constants.n)) return false;
    for (int64_t i = 0; i < g->out_use.n; i++) {
        fy_value *v = g->out_use.at[i]->value;
        unlink_use(g->out_use.at[i]);
        if (v) v->is_output = still_output(v);
    }
    g->out_use.n = 0;
    for (int64_t i = 0; i < g->constants.n; i++) {
        g->constants.at[i]->graph = to;
        to->constants.at[to->constants.n++] = g->constants.at[i];
    }
    g->constants.n = 0;
    for (fy_node *n; (n = g->first);) {
        take_out(n);
        n->graph = to;
        insert(to, n, before);
        for (int i = 0; i < n->nout; i++)
            if (n->out[i]) n->out[i]->graph = to;
        fy_graph *b;
        for (int64_t k = 0; (b = fy_node_body(n, k)); k++) b->parent = to;
    }
    return true;
}

/* ---- captures ------------------------------------------------------------------------------------------------------ */

static bool inside(const fy_graph *g, const fy_node *n) {
    for (; g; g = g->parent)
        if (g->owner == n) return true;
    return false;
}

typedef struct capturing { fy_node *n; fy_map seen; int room; bool ok; } capturing;

static void capture(capturing *c, fy_value *v) {
    fy_node *n = c->n;
    if (!v || !c->ok || inside(v->graph, n) || fy_map_has(&c->seen, (const char *)&v->id, sizeof v->id)) return;
    fy_arena *a = &n->graph->model->arena;
    if (n->ncap == c->room) {
        fy_use **more = FY_NEWN(a, fy_use *, room_for(c->room + 1));
        if (!more) { c->ok = false; return; }
        if (n->ncap) memcpy(more, n->cap, (size_t)n->ncap * sizeof *more);
        n->cap = more;
        c->room = (int)room_for(c->room + 1);
    }
    fy_use *u = FY_NEW(a, fy_use);
    if (!u || !fy_map_put(&c->seen, (const char *)&v->id, sizeof v->id, v)) { c->ok = false; return; }
    u->user = n;
    u->slot = n->ncap;
    u->capture = true;
    link_use(u, v);
    n->cap[n->ncap++] = u;
}

bool fy_node_collect_captures(fy_node *n) {
    capturing c = { .n = n, .ok = true };
    for (int i = 0; i < n->ncap; i++) unlink_use(n->cap[i]);
    n->ncap = 0;
    n->cap = NULL;
    for (fy_graph *g = fy_node_body(n, 0); g; g = fy_graph_next(n, g)) {
        for (fy_node *k = g->first; k; k = k->next)
            for (int i = 0; i < k->nin; i++) capture(&c, k->in[i].value);
        for (int64_t i = 0; i < g->out.n; i++) capture(&c, g->out.at[i]);
    }
    fy_map_free(&c.seen);
    return c.ok;
}

/* ---- setting attributes -------------------------------------------------------------------------------------------- */

static bool copy_attr(fy_arena *a, fy_attr *to, const fy_attr *from) {
    *to = *from;
    to->name = fy_arena_str(a, from->name);
    bool ok = to->name != NULL;
    if (from->ref) ok = (to->ref = fy_arena_str(a, from->ref)) != NULL && ok;
    if (from->s.at) {
        to->s.at = fy_arena_strn(a, from->s.at, from->s.n);
        ok = ok && to->s.at;
    }
    if (from->ints) ok = (to->ints = fy_arena_copy(a, from->ints, (size_t)from->n, sizeof(int64_t))) != NULL && ok;
    if (from->floats) ok = (to->floats = fy_arena_copy(a, from->floats, (size_t)from->n, sizeof(double))) != NULL && ok;
    if (from->tensors) ok = (to->tensors = fy_arena_copy(a, from->tensors, (size_t)from->n, sizeof *from->tensors)) != NULL && ok;
    if (from->graphs) ok = (to->graphs = fy_arena_copy(a, from->graphs, (size_t)from->n, sizeof *from->graphs)) != NULL && ok;
    if (from->strings) {
        fy_str *s = fy_arena_copy(a, from->strings, (size_t)from->n, sizeof *s);
        to->strings = s;
        ok = ok && s;
        for (int64_t i = 0; ok && i < from->n; i++) ok = (s[i].at = fy_arena_strn(a, s[i].at ? s[i].at : "", s[i].n)) != NULL;
    }
    return ok;
}

static fy_attr *find_attr(const fy_node *n, const char *name) {
    for (int i = 0; i < n->nattr; i++)
        if (strcmp(n->attr[i].name, name) == 0) return &n->attr[i];
    return NULL;
}

const fy_attr *fy_attr_get(const fy_node *n, const char *name) { return find_attr(n, name); }

static void forget_bodies(const fy_attr *a, const fy_attr *keep) {
    for (int64_t k = 0, have = a->kind == FY_ATTR_GRAPH ? 1 : a->kind == FY_ATTR_GRAPHS ? a->n : 0; k < have; k++) {
        fy_graph *g = a->kind == FY_ATTR_GRAPH ? a->graph : a->graphs[k];
        bool kept = !g;
        for (int64_t j = 0; keep && !kept && j < (keep->kind == FY_ATTR_GRAPH ? 1 : keep->kind == FY_ATTR_GRAPHS ? keep->n : 0); j++)
            kept = (keep->kind == FY_ATTR_GRAPH ? keep->graph : keep->graphs[j]) == g;
        if (kept) continue;
        drop_graph(g);
        for (fy_node *i = g->first; i; i = i->next) drop_bodies(i);
        g->owner = NULL;
    }
}

bool fy_node_set_attr(fy_node *n, const fy_attr *attr) {
    fy_arena *a = &n->graph->model->arena;
    fy_attr copy;
    if (!copy_attr(a, &copy, attr)) return false;
    fy_attr *at = find_attr(n, attr->name);
    bool bodies = copy.kind == FY_ATTR_GRAPH || copy.kind == FY_ATTR_GRAPHS;
    if (at) {
        if (at->kind == FY_ATTR_GRAPH || at->kind == FY_ATTR_GRAPHS) {
            forget_bodies(at, &copy);
            bodies = true;
        }
    } else {
        if (attrs_full(n->nattr)) {
            fy_attr *more = FY_NEWN(a, fy_attr, attr_room(n->nattr + 1));
            if (!more) return false;
            if (n->nattr) memcpy(more, n->attr, (size_t)n->nattr * sizeof *more);
            n->attr = more;
        }
        at = &n->attr[n->nattr++];
    }
    *at = copy;
    for (int64_t k = 0, have = copy.kind == FY_ATTR_GRAPH ? 1 : copy.kind == FY_ATTR_GRAPHS ? copy.n : 0; k < have; k++) {
        fy_graph *g = copy.kind == FY_ATTR_GRAPH ? copy.graph : copy.graphs[k];
        g->owner = n;
        g->parent = n->graph;
    }
    return !bodies || fy_node_collect_captures(n);
}

fy_graph *fy_node_take_body(fy_node *n, const char *name) {
    fy_attr *at = find_attr(n, name);
    if (!at || at->kind != FY_ATTR_GRAPH) return NULL;
    fy_graph *g = at->graph;
    memmove(at, at + 1, (size_t)(n->attr + n->nattr - (at + 1)) * sizeof *at);
    n->nattr--;
    if (g) g->owner = NULL;
    return fy_node_collect_captures(n) ? g : NULL;
}

void fy_node_del_attr(fy_node *n, const char *name) {
    fy_attr *at = find_attr(n, name);
    if (!at) return;
    bool bodies = at->kind == FY_ATTR_GRAPH || at->kind == FY_ATTR_GRAPHS;
    if (bodies) forget_bodies(at, NULL);
    memmove(at, at + 1, (size_t)(n->attr + n->nattr - (at + 1)) * sizeof *at);
    n->nattr--;
    if (bodies && !fy_node_collect_captures(n)) n->mark = 0;    /* out of memory leaves some captures out: verify reports it */
}
