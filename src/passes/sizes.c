/* SPDX-License-Identifier: Apache-2.0
 * sizes.c - arithmetic on sizes that comes to what is there already. Integer values whose contents are the same expressions are one
 * value; a vector of sizes that some tensor has on axes in a row is read from it by one Shape, where it was made or, if that tensor comes later and
 * what reads the sizes later still, behind the tensor. fy_node.mark holds positions. */
#include "passes/match.h"

#include <string.h>

#define MAX_SIZES 16

typedef struct sizes {
    fy_rewriting *r;
    fy_graph     *g;
    fy_map        seen;                  /* dtype, shape and contents -> value */
    fy_map        axis;                  /* size -> place, the first tensor that has it */
    fy_arena      arena;
} sizes;

typedef struct place { fy_value *v; int axis; } place;

static bool note_axes(sizes *x, fy_value *v) {
    int64_t known;
    for (int k = 0; k < fy_v_rank(v); k++) {
        const fy_dim *d = v->type.dim[k];
        if (fy_dim_known(d, &known) || fy_map_has(&x->axis, (const char *)&v->type.dim[k], sizeof d)) continue;
        place *p = FY_NEW(&x->arena, place);
        if (!p) return fy_no_memory(x->r);
        *p = (place){v, k};
        if (!fy_map_put(&x->axis, (const char *)&v->type.dim[k], sizeof d, p)) return fy_no_memory(x->r);
    }
    return true;
}

static bool symbolic(const fy_value *v) {
    int64_t known;
    bool open = false;
    if (!v || v->constant || !v->elem || v->nelem < 1 || v->nelem > MAX_SIZES || v->type.kind != FY_TENSOR || v->type.rank < 0 || v->type.rank > 1) return false;
    for (int64_t i = 0; i < v->nelem; i++) {
        if (!v->elem[i]) return false;
        open |= !fy_dim_known(v->elem[i], &known);
    }
    return open;
}

/* An earlier value with the same contents that is still in use; otherwise this one is noted. */
static fy_value *earlier(sizes *x, fy_value *v) {
    struct { int64_t n; fy_dtype t; int rank; const fy_dim *d[MAX_SIZES]; } key;
    memset(&key, 0, sizeof key);
    key.n = v->nelem;
    key.t = v->type.dtype;
    key.rank = v->type.rank;
    memcpy(key.d, v->elem, (size_t)v->nelem * sizeof *v->elem);
    fy_value *old = fy_map_get(&x->seen, (const char *)&key, sizeof key);
    if (old && old->nuses) return old;
    old = NULL;
    const char *k = old ? NULL : fy_arena_copy(&x->arena, &key, 1, sizeof key);
    if (!k || !fy_map_put(&x->seen, k, sizeof key, v)) (void)fy_no_memory(x->r);
    return NULL;
}

static uint64_t first_reader(const fy_value *v) {
    uint64_t first = UINT64_MAX;
    for (const fy_use *u = v->uses; u; u = u->next) {
        if (!u->user || u->user->graph != v->graph) return 0;
        if (u->user->mark < first) first = u->user->mark;
    }
    return first;
}

/* Shape of one tensor instead of what made v; false if no tensor has these sizes in a row, or has them in time. */
static bool read_at_once(sizes *x, fy_node *n, fy_value *v) {
    if (v->type.rank != 1 || v->type.dtype != FERRY_INT64 || fy_is(n, "Shape")) return false;
    const place *p = fy_map_get(&x->axis, (const char *)&v->elem[0], sizeof *v->elem);
    if (!p || p->axis + v->nelem > fy_v_rank(p->v)) return false;
    for (int64_t i = 0; i < v->nelem; i++)
        if (p->v->type.dim[p->axis + i] != v->elem[i]) return false;
    bool whole = v->nelem == fy_v_rank(p->v);
    if (!whole && x->r->opset < 15) return false;            /* start and end came with 15 */
    fy_node *made = p->v->def;
    if (made && made->mark >= first_reader(v)) return false;
    bool later = made && made->mark >= n->mark;
    fy_build b = fy_before(x->r, later ? made->next : n);
    b.scope = n->scope;
    b.source = n->source;
    fy_attr range[2] = {fy_int("start", p->axis), fy_int("end", p->axis + v->nelem)};
    fy_value *s = fy_emit(&b, "Shape", FY_V(p->v), whole ? 0 : 2, range);
    if (!s) { x->r->status = b.status; return false; }
    s->def->mark = later ? made->mark : n->mark;
    s->name = v->name;
    v->name = NULL;
    fy_value_replace(v, s);              /* n is dead now, and goes with the dead: others here may still refer to what it reads */
    return true;
}

static bool graph(sizes *x) {
    uint64_t at = 0;
    for (int64_t i = 0; i < x->g->in.n; i++)
        if (!note_axes(x, x->g->in.at[i])) return false;
    for (fy_node *n = x->g->first; n; n = n->next) {
        n->mark = ++at;
        for (int i = 0; i < n->nout; i++)
            if (n->out[i] && !note_axes(x, n->out[i])) return false;
    }
    for (fy_node *n = x->g->first, *next; n && !x->r->status; n = next) {
        next = n->next;
        fy_value *v = n->nout == 1 ? n->out[0] : NULL;
        if (v && v->nuses && symbolic(v) && (n->op->flags & FY_PURE) && !n->ncap) {
            fy_value *old = earlier(x, v);
            if (old && old != v && old->def && !v->is_output) {
                fy_value_replace(v, old);
                x->r->changes++;
                continue;
            }
            if (!old && !v->is_output && read_at_once(x, n, v)) {
                x->r->changes++;
                if (n->prev && fy_is(n->prev, "Shape") && n->prev->mark == n->mark) (void)earlier(x, n->prev->out[0]);
                continue;
            }
        }
    }
    return !x->r->status;
}

fy_status fy_pass_sizes(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) {
    fy_rewriting r = {.m = m, .o = o, .opset = o->opset ? o->opset : FY_CANONICAL_OPSET, .e = e};
    fy_graph_list all = {0};
    r.status = fy_all_graphs(&all, m, e);
    for (int64_t i = 0; !r.status && i < all.n; i++) {
        sizes x = {.r = &r, .g = all.at[i]};
        (void)graph(&x);
        fy_map_free(&x.seen);
        fy_map_free(&x.axis);
        fy_arena_free(&x.arena);
    }
    for (int64_t i = all.n - 1; !r.status && r.changes && i > 0; i--)
        if (all.at[i]->owner && !fy_node_collect_captures(all.at[i]->owner)) (void)fy_no_memory(&r);
    fy_free(all.at);
    *changes += r.changes;
    return r.status;
}
