/* SPDX-License-Identifier: Apache-2.0
 * slice.c - Slice of a Slice -> one Slice; the slices that cut one axis into pieces without a gap -> Split; Concat of all pieces of a
 * Split, in order -> what was split; Concat of a Concat on the same axis -> one Concat; one element of an axis, squeezed -> Gather. */
#include "passes/match.h"

#include <stdlib.h>
#include <string.h>

typedef struct cut { int n; int64_t axis[FY_MAX_RANK], begin[FY_MAX_RANK], end[FY_MAX_RANK], step[FY_MAX_RANK]; } cut;

/* Constant starts, ends, axes and steps; axes not negative. */
static bool cut_of(const fy_node *n, cut *c) {
    int64_t k, ke, ka, ks;
    int rank = fy_v_rank(fy_in(n, 0));
    if (!fy_is(n, "Slice") || rank < 0 || !fy_ints_of(n, 1, c->begin, FY_MAX_RANK, &k) || !fy_ints_of(n, 2, c->end, FY_MAX_RANK, &ke) || k != ke) return false;
    for (int i = 0; i < k; i++) c->axis[i] = i, c->step[i] = 1;
    if (fy_in(n, 3) && (!fy_ints_of(n, 3, c->axis, FY_MAX_RANK, &ka) || ka != k)) return false;
    if (fy_in(n, 4) && (!fy_ints_of(n, 4, c->step, FY_MAX_RANK, &ks) || ks != k)) return false;
    for (int i = 0; i < k; i++) {
        if (c->axis[i] < 0) c->axis[i] += rank;
        if (c->axis[i] < 0 || c->axis[i] >= rank) return false;
    }
    c->n = (int)k;
    return true;
}

/* The second cut applied to what the first left. */
static bool join(cut *a, const cut *b) {
    for (int i = 0; i < b->n; i++) {
        int k = 0;
        while (k < a->n && a->axis[k] != b->axis[i]) k++;
        if (k == a->n) {
            if (k == FY_MAX_RANK) return false;
            a->n++;
            a->axis[k] = b->axis[i], a->begin[k] = b->begin[i], a->end[k] = b->end[i], a->step[k] = b->step[i];
            continue;
        }
        if (a->step[k] != 1 || b->step[i] != 1 || a->begin[k] < 0 || a->end[k] < 0 || b->begin[i] < 0 || b->end[i] < 0) return false;
        int64_t end;
        if (__builtin_add_overflow(a->begin[k], b->end[i], &end)) end = INT64_MAX;
        if (end < a->end[k]) a->end[k] = end;
        if (__builtin_add_overflow(a->begin[k], b->begin[i], &a->begin[k])) return false;
    }
    return true;
}

static bool chain(fy_rewriting *r, fy_node *n) {
    cut a, b;
    fy_node *p = fy_from(n, 0, "Slice");
    if (!p || !fy_sole(fy_in(n, 0)) || !cut_of(p, &a) || !cut_of(n, &b) || !join(&a, &b)) return false;
    bool steps = false;
    for (int i = 0; i < a.n; i++) steps |= a.step[i] != 1;
    fy_build k = fy_before(r, n);
    fy_value *y = fy_emit(&k, "Slice", FY_V(fy_in(p, 0), fy_k_ints(&k, a.n, a.begin), fy_k_ints(&k, a.n, a.end), fy_k_ints(&k, a.n, a.axis), steps ? fy_k_ints(&k, a.n, a.step) : NULL), FY_NOATTR);
    return fy_became(r, &k, n, y);
}

/* ---- Slices -> Split ----------------------------------------------------------------------------------------------- */

#define MAX_PIECES 256
typedef struct piece { fy_node *n; int64_t begin, end; } piece;

static int by_begin(const void *a, const void *b) {
    const piece *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* A cut of one axis by step 1 with positions in [0, size]. */
static bool piece_of(fy_node *n, int64_t axis, int64_t size, piece *out) {
    cut c;
    if (!cut_of(n, &c) || c.n != 1 || c.axis[0] != axis || c.step[0] != 1 || n->out[0] == NULL) return false;
    int64_t b = c.begin[0], e = c.end[0];
    b = b < 0 ? b + size : b;
    e = e < 0 ? e + size : e > size ? size : e;
    *out = (piece){n, b, e};
    return b >= 0 && b < e;
}

static bool split(fy_rewriting *r, fy_node *n) {
    cut c;
    int64_t size, sizes[MAX_PIECES];
    piece p[MAX_PIECES];
    int k = 0;
    bool mine = false;
    fy_value *x = fy_in(n, 0);
    if (!cut_of(n, &c) || c.n != 1 || c.step[0] != 1 || !fy_dim_at(x, (int)c.axis[0], &size) || x->nuses < 2 || x->nuses > MAX_PIECES) return false;
    for (const fy_use *u = x->uses; u; u = u->next) {
        if (!u->user || u->user->graph != n->graph || u->slot != 0 || u->capture) continue;
        if (!piece_of(u->user, c.axis[0], size, &p[k])) continue;
        mine = mine || u->user == n;
        k++;
    }
    if (k < 2 || !mine) return false;    /* an empty piece is none of them */
    qsort(p, (size_t)k, sizeof *p, by_begin);
    int64_t at = 0;
    for (int i = 0; i < k; i++) {
        if (p[i].begin != at) return false;
        at = p[i].end;
        sizes[i] = p[i].end - p[i].begin;
    }
    if (at != size) return false;
    fy_node *first = x->def && x->graph == n->graph ? x->def->next : n->graph->first;     /* before all of them, wherever they are */
    fy_build b = fy_before(r, first);
    fy_node *s = fy_emit_n(&b, "Split", k, FY_V(x, fy_k_ints(&b, k, sizes)), FY_A(fy_int("axis", c.axis[0])));
    if (!s) return fy_unmade(r, &b);
    for (int i = 0; i < k; i++) {
        fy_value *v = p[i].n->out[0];
        bool output = v->is_output;
        if (!fy_replace_output(v, s->out[i])) return false;
        if (!output) s->out[i]->name = v->name, v->name = NULL;
    }
    fy_drop(n);                          /* the others are dead, and go with the dead: one of them is the next to be looked at */
    return true;
}

/* ---- one index ----------------------------------------------------------------------------------------------------- */

static bool squeezes(const fy_node *q, int64_t axis) {
    int64_t axes[FY_MAX_RANK];
    int k;
    return fy_is(q, "Squeeze") && fy_axes_of(q, 1, fy_v_rank(fy_in(q, 0)), axes, &k) && k == 1 && axes[0] == axis;
}

static bool gather(fy_rewriting *r, fy_node *n, fy_value *x, int64_t axis, int64_t index) {
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, fy_emit(&b, "Gather", FY_V(x, fy_k_i64(&b, index)), FY_A(fy_int("axis", axis))));
}

/* Slice of one element of an axis and Squeeze of that axis -> Gather; a Split into single elements that are all squeezed -> Gathers. */
static bool one(fy_rewriting *r, fy_node *n) {
    cut c;
    fy_value *v = fy_in(n, 0);
    fy_node *p = fy_sole(v) ? v->def : NULL;
    if (!p || !n->out[0]) return false;
    if (fy_is(p, "Slice")) {
        if (!cut_of(p, &c) || c.n != 1 || !squeezes(n, c.axis[0]) || c.begin[0] == INT64_MIN) return false;
        int64_t size;
        if (fy_dim_at(fy_in(p, 0), (int)c.axis[0], &size) ? c.begin[0] < -size || c.begin[0] >= size : c.step[0] != 1 || c.begin[0] < 0 || c.end[0] != c.begin[0] + 1) return false;
        return fy_dim_is(v->type.dim[c.axis[0]], 1) && gather(r, n, fy_in(p, 0), c.axis[0], c.begin[0]);
    }
    if (!fy_is(p, "Split") || v != p->out[0]) return false;
    int64_t axis = fy_attr_i(p, "axis");
    if (axis < 0) axis += fy_v_rank(v);
    for (int i = 0; i < p->nout; i++) {
        fy_value *o = p->out[i];
        if (!o || !fy_sole(o) || fy_v_rank(o) < 1 || !fy_dim_is(o->type.dim[axis], 1) || !squeezes(o->uses->user, axis) || !o->uses->user->out[0]) return false;
    }
    fy_build b = fy_before(r, p->next ? p->next : n);
    for (int i = 0; i < p->nout; i++) {
        fy_value *old = p->out[i]->uses->user->out[0], *g = fy_emit(&b, "Gather", FY_V(fy_in(p, 0), fy_k_i64(&b, i)), FY_A(fy_int("axis", axis)));
        if (!g) return fy_unmade(r, &b);
        bool output = old->is_output;
        if (!fy_replace_output(old, g)) return false;
        if (!output) g->name = old->name, old->name = NULL;
    }
    return true;                         /* Split and Squeezes are dead now */
}

/* ---- Concat -------------------------------------------------------------------------------------------------------- */

static int64_t axis_of(const fy_node *n, int rank) {
    int64_t a = fy_attr_i(n, "axis");
    return a < 0 ? a + rank : a;
}

static bool concat(fy_rewriting *r, fy_node *n) {
    int rank = fy_v_rank(n->out[0]);
    if (rank < 1) return false;
    int64_t axis = axis_of(n, rank);
    fy_node *s = fy_in(n, 0) && fy_in(n, 0)->def && fy_is(fy_in(n, 0)->def, "Split") ? fy_in(n, 0)->def : NULL;
    if (s && s->nout == n->nin && axis_of(s, rank) == axis) {
        bool all = true;
        for (int i = 0; i < n->nin; i++) all &= fy_in(n, i) == s->out[i];
        if (all && fy_is_value(r, n, fy_in(s, 0))) return true;
    }
    int total = 0, inner = 0;
    for (int i = 0; i < n->nin; i++) {
        fy_node *p = fy_from(n, i, "Concat");
        bool same = p && fy_sole(fy_in(n, i)) && fy_v_rank(fy_in(n, i)) == rank && axis_of(p, rank) == axis;
        inner += same;
        total += same ? p->nin : 1;
    }
    if (!inner || total > 4096) return false;
    fy_value **v = fy_calloc((size_t)total, sizeof *v);
    if (!v) return fy_no_memory(r);
    int k = 0;
    for (int i = 0; i < n->nin; i++) {
        fy_node *p = fy_from(n, i, "Concat");
        if (!(p && fy_sole(fy_in(n, i)) && fy_v_rank(fy_in(n, i)) == rank && axis_of(p, rank) == axis)) { v[k++] = fy_in(n, i); continue; }
        for (int j = 0; j < p->nin; j++) v[k++] = fy_in(p, j);
    }
    fy_build b = fy_before(r, n);
    bool done = fy_became(r, &b, n, fy_emit(&b, "Concat", total, v, FY_A(fy_int("axis", axis))));
    fy_free(v);
    return done;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (!n->nout || !n->out[0]) return false;
    if (fy_is(n, "Slice")) return chain(r, n) || (!r->status && split(r, n));
    if (fy_is(n, "Squeeze")) return (n->out[0]->nuses || n->out[0]->is_output) && one(r, n);
    return fy_is(n, "Concat") && concat(r, n);
}

fy_status fy_pass_slice(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
