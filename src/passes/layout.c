/* SPDX-License-Identifier: Apache-2.0
 * layout.c - a chain of Reshape, Flatten, Squeeze, Unsqueeze and Transpose with fewer nodes. Sizes are taken apart into atoms, as far as the
 * chain does it: a view groups neighbouring atoms anew, a transpose moves groups. What the whole chain does is then one order of the
 * atoms, which takes no node, a Reshape, a Transpose, or two or three of them. Sizes of 1 are no atoms: they may stand anywhere.
 * Where the chain ends in Gathers that take one index each of an axis, all of them (packed queries, keys and values), the axis is cut
 * where it comes from: Split, and a chain of its own for each part. */
#include "passes/match.h"

#include <string.h>

#define MAX_ATOMS 32
#define MAX_CHAIN 8

typedef struct layout {
    fy_dims      *p;
    int           n;
    const fy_dim *size[MAX_ATOMS];
    int           source[MAX_ATOMS], order[MAX_ATOMS];       /* atoms as the chain finds and as it leaves them */
    int           nx, ny, xs[FY_MAX_RANK + 1], ys[FY_MAX_RANK + 1];      /* size i of x is source[xs[i]..xs[i + 1]), of y order[ys[i]..ys[i + 1]) */
} layout;

static bool divides(fy_dims *p, const fy_dim *a, const fy_dim *b, const fy_dim **q) {
    int64_t va, vb;
    if (fy_dim_known(a, &va) && fy_dim_known(b, &vb)) {
        if (va < 2 || vb < va || vb % va) return false;
        *q = fy_dim_const(p, vb / va);
        return *q != NULL;
    }
    *q = fy_dim_floordiv(p, b, a);
    return *q && *q != b && fy_dim_mul(p, *q, a) == b;
}

/* Atom at place `at` of the order becomes two, a outside. */
static bool split(layout *l, int at, const fy_dim *a, const fy_dim *b) {
    if (l->n == MAX_ATOMS) return false;
    int id = l->order[at], s = 0, fresh = l->n++;
    while (l->source[s] != id) s++;
    memmove(&l->source[s + 2], &l->source[s + 1], (size_t)(fresh - s - 1) * sizeof(int));
    memmove(&l->order[at + 2], &l->order[at + 1], (size_t)(fresh - at - 1) * sizeof(int));
    l->source[s + 1] = l->order[at + 1] = fresh;
    l->size[id] = a;
    l->size[fresh] = b;
    for (int i = 0; i <= l->nx; i++) l->xs[i] += l->xs[i] > s;
    return true;
}

static bool regroup(layout *l, const fy_value *v) {
    int pos = 0, starts[FY_MAX_RANK + 1] = {0}, rank = fy_v_rank(v);
    for (int j = 0; j < rank; j++) {
        const fy_dim *want = v->type.dim[j], *q;
        while (!fy_dim_is(want, 1)) {
            if (pos == l->n) return false;
            const fy_dim *a = l->size[l->order[pos]];
            if (a == want) { pos++; break; }
            if (divides(l->p, a, want, &q)) { want = q; pos++; continue; }
            if (!divides(l->p, want, a, &q) || !split(l, pos, want, q)) return false;
            pos++;
            break;
        }
        starts[j + 1] = pos;
    }
    if (pos != l->n) return false;
    l->ny = rank;
    memcpy(l->ys, starts, sizeof starts);
    return true;
}

static bool begin(layout *l, const fy_value *x) {
    l->n = 0;
    l->nx = fy_v_rank(x);
    if (l->nx < 0 || l->nx > FY_MAX_RANK) return false;
    for (int i = 0; i < l->nx; i++) {
        const fy_dim *d = x->type.dim[i];
        if (fy_dim_is(d, 0)) return false;
        if (!fy_dim_is(d, 1)) {
            l->size[l->n] = d;
            l->source[l->n] = l->order[l->n] = l->n;
            l->n++;
        }
        l->xs[i + 1] = l->n;
    }
    l->ny = l->nx;
    memcpy(l->ys, l->xs, sizeof l->xs);
    return true;
}

static bool permute(layout *l, const fy_node *t) {
    int64_t k;
    const int64_t *p = fy_attr_ints(t, "perm", &k);
    int old[MAX_ATOMS], starts[FY_MAX_RANK + 1], n = 0;
    if (p && k != l->ny) return false;
    memcpy(old, l->order, sizeof old);
    memcpy(starts, l->ys, sizeof starts);
    for (int i = 0; i < l->ny; i++) {
        int from = p ? (int)p[i] : l->ny - 1 - i;
        l->ys[i] = n;
        for (int j = starts[from]; j < starts[from + 1]; j++) l->order[n++] = old[j];
    }
    l->ys[l->ny] = n;
    return true;
}

static bool is_layout(const fy_node *n) {
    return fy_is(n, "Transpose") || fy_is(n, "Reshape") || fy_is(n, "Flatten") || fy_is(n, "Squeeze") || fy_is(n, "Unsqueeze");
}

/* Are atoms from[a..b) next to each other and in this order within `in`? */
static bool together(const int *from, int a, int b, const int *in, int n) {
    int at = 0;
    if (a == b) return true;
    while (at < n && in[at] != from[a]) at++;
    if (at + b - a > n) return false;
    return !memcmp(&in[at], &from[a], (size_t)(b - a) * sizeof(int));
}

bool fy_view_target(const fy_value *x, int rank, const fy_dim *const *dim, int64_t *shape) {
    int open = 0;
    if (rank < 0 || rank > FY_MAX_RANK || fy_v_rank(x) < 0) return false;
    for (int i = 0; i < rank; i++) {
        if (fy_dim_known(dim[i], &shape[i])) {
            if (shape[i] <= 0) return false;
        } else if (i < x->type.rank && x->type.dim[i] == dim[i]) shape[i] = 0;
        else { shape[i] = -1; open++; }
    }
    return open <= 1;
}

/* Reshape to constant sizes; NULL with b->status FY_OK where that cannot be said. */
static fy_value *view(fy_rewriting *r, fy_build *b, fy_value *x, int rank, const fy_dim *const *dim) {
    int64_t shape[FY_MAX_RANK];
    if (!fy_view_target(x, rank, dim, shape)) return NULL;
    fy_value *y = fy_emit(b, "Reshape", FY_V(x, fy_k_ints(b, rank, shape)), FY_NOATTR);
    if (!y) return NULL;
    fy_type t = fy_tensor_type(r->m, y->type.dtype, rank, dim);
    if (t.kind == FY_TENSOR) y->type = t;
    return y;
}

static fy_value *turn(fy_build *b, fy_value *x, int rank, const int *perm) {
    int64_t p[FY_MAX_RANK];
    for (int i = 0; i < rank; i++) p[i] = perm[i];
    return fy_emit(b, "Transpose", FY_V(x), FY_A(fy_ints("perm", rank, p)));
}

/* The transpose of x's own axes that gives y, ones included; false if the sizes of y are others. */
static bool exact(const layout *l, int *perm) {
    bool used[FY_MAX_RANK] = {false};
    if (l->nx != l->ny) return false;
    for (int j = 0; j < l->ny; j++) {
        int i = 0, len = l->ys[j + 1] - l->ys[j];
        for (; i < l->nx; i++)
            if (!used[i] && l->xs[i + 1] - l->xs[i] == len && (!len || !memcmp(&l->source[l->xs[i]], &l->order[l->ys[j]], (size_t)len * sizeof(int)))) break;
        if (i == l->nx) return false;
        used[i] = true;
        perm[j] = i;
    }
    return true;
}

/* Groups of `g` (starts, n of them, over the ids `at`) in the order in which they come in `in`; empty ones first. */
static void sorted(const int *at, const int *starts, int n, const int *in, int natoms, int *perm) {
    int k = 0;
    for (int i = 0; i < n; i++)
        if (starts[i] == starts[i + 1]) perm[k++] = i;
    for (int a = 0; a < natoms; a++)
        for (int i = 0; i < n; i++)
            if (starts[i] < starts[i + 1] && at[starts[i]] == in[a]) perm[k++] = i;
}

/* Emits the least chain and gives its length; with b NULL only counts. y NULL: it cannot be written with constant targets. */
static int emit(fy_rewriting *r, const layout *l, fy_build *b, fy_value *x, fy_value *out, fy_value **y) {
    int perm[FY_MAX_RANK];
    const fy_dim *dim[FY_MAX_RANK];
    bool by_x = true, by_y = true;
    if (!memcmp(l->source, l->order, (size_t)l->n * sizeof(int))) {
        if (b) *y = view(r, b, x, l->ny, out->type.dim);
        return 1;
    }
    for (int i = 0; i < l->nx; i++) by_x &= together(l->source, l->xs[i], l->xs[i + 1], l->order, l->n);
    for (int i = 0; i < l->ny; i++) by_y &= together(l->order, l->ys[i], l->ys[i + 1], l->source, l->n);
    if (by_x && by_y && exact(l, perm)) {
        if (b) *y = turn(b, x, l->nx, perm);
        return 1;
    }
    if (by_x) {
        sorted(l->source, l->xs, l->nx, l->order, l->n, perm);
        if (b && (*y = turn(b, x, l->nx, perm))) *y = view(r, b, *y, l->ny, out->type.dim);
        return 2;
    }
    if (by_y) {
        int inverse[FY_MAX_RANK];
        sorted(l->order, l->ys, l->ny, l->source, l->n, perm);
        for (int i = 0; i < l->ny; i++) dim[i] = out->type.dim[perm[i]];
        for (int i = 0; i < l->ny; i++) inverse[perm[i]] = i;
        if (b && (*y = view(r, b, x, l->ny, dim))) *y = turn(b, *y, l->ny, inverse);
        return 2;
    }
    int unit[MAX_ATOMS + 1], n = 0, back[FY_MAX_RANK];       /* atoms that stay together are one axis */
    for (int i = 0; i < l->n; i++) {
        int at = 0;
        while (i && l->order[at] != l->source[i - 1]) at++;
        if (!i || at + 1 == l->n || l->order[at + 1] != l->source[i]) unit[n++] = i;
    }
    unit[n] = l->n;
    if (n > FY_MAX_RANK) return MAX_CHAIN + 1;
    for (int i = 0; b && i < n; i++) {
        dim[i] = fy_dim_const(l->p, 1);
        for (int a = unit[i]; a < unit[i + 1]; a++) dim[i] = fy_dim_mul(l->p, dim[i], l->size[l->source[a]]);
        if (!dim[i]) return MAX_CHAIN + 1;
    }
    sorted(l->source, unit, n, l->order, l->n, back);
    if (b && (*y = view(r, b, x, n, dim)) && (*y = turn(b, *y, n, back))) *y = view(r, b, *y, l->ny, out->type.dim);
    return 3;
}

/* ---- parts --------------------------------------------------------------------------------------------------------- */

#define MAX_PARTS 8

typedef struct part { fy_node *gather, *last; int len; layout l; fy_value *x; } part;

/* The index that a Gather takes of `axis`; -1. */
static int64_t index_of(const fy_node *g, const fy_value *v, int64_t axis, int64_t size) {
    int64_t i;
    const fy_const *c = g && fy_is(g, "Gather") && fy_in(g, 0) == v ? fy_fixed(fy_in(g, 1)) : NULL;
    if (!c || c->rank != 0 || !fy_const_i64(c, 0, &i) || g->out[0]->is_output) return -1;
    int64_t a = fy_attr_i(g, "axis");
    if ((a < 0 ? a + fy_v_rank(v) : a) != axis) return -1;
    i = i < 0 ? i + size : i;
    return i >= 0 && i < size ? i : -1;
}

/* Takes the atom that is one size of y out of the layout; the source loses it too, and those after it move up: split() gives the next number away. */
static void drop_axis(layout *l, int axis) {
    int id = l->order[l->ys[axis]], at = l->ys[axis], s = 0;
    while (l->source[s] != id) s++;
    memmove(&l->order[at], &l->order[at + 1], (size_t)(l->n - at - 1) * sizeof(int));
    memmove(&l->source[s], &l->source[s + 1], (size_t)(l->n - s - 1) * sizeof(int));
    memmove(&l->size[id], &l->size[id + 1], (size_t)(l->n - id - 1) * sizeof *l->size);
    for (int i = 0; i < l->n - 1; i++) {
        l->order[i] -= l->order[i] > id;
        l->source[i] -= l->source[i] > id;
    }
    for (int i = 0; i <= l->nx; i++) l->xs[i] -= l->xs[i] > s;
    for (int i = axis; i < l->ny; i++) l->ys[i] = l->ys[i + 1] - 1;
    l->ny--;
    l->n--;
}

/* Follows the views and transposes after a Gather, as long as each is read by the next alone. */
static void follow(part *p) {
    layout next = p->l;
    p->last = p->gather;
    p->len = 0;
    for (fy_value *v = p->gather->out[0]; fy_sole(v) && is_layout(v->uses->user) && v->uses->slot == 0 && p->len < MAX_CHAIN; v = p->last->out[0]) {
        fy_node *k = v->uses->user;
        if (fy_v_rank(k->out[0]) < 0 || !(fy_is(k, "Transpose") ? permute(&next, k) : regroup(&next, k->out[0]))) return;
        p->l = next;
        p->last = k;
        p->len++;
    }
}

static bool parts(fy_rewriting *r, fy_node *n) {
    fy_value *v = fy_in(n, 0);
    int64_t count, sizes[MAX_PARTS], whole, axis;
    part p[MAX_PARTS] = {{0}};
    fy_node *chain[MAX_CHAIN];
    int len = 0, before, after = 1, d = 0;
    if (!fy_is(n, "Gather") || !v || !v->def || v->is_output || fy_v_rank(v) < 1) return false;
    axis = fy_attr_i(n, "axis");
    if (axis < 0) axis += fy_v_rank(v);
    if (!fy_dim_at(v, (int)axis, &count) || count < 2 || count > MAX_PARTS || v->nuses != count) return false;
    for (const fy_use *u = v->uses; u; u = u->next) {
        int64_t i = u->user && !u->capture && u->slot == 0 && u->user->graph == n->graph ? index_of(u->user, v, axis, count) : -1;
        if (i < 0 || p[i].gather) return false;
        p[i].gather = u->user;
    }
    for (fy_node *k = v->def; len < MAX_CHAIN && is_layout(k) && k->graph == n->graph && fy_v_rank(fy_in(k, 0)) >= 0;) {
        chain[len++] = k;
        if (!fy_sole(fy_in(k, 0))) break;
        k = fy_in(k, 0)->def;
    }
    if (!len) return false;
    layout l = {.p = r->m->dims};
    fy_value *x = fy_in(chain[len - 1], 0);
    if (!begin(&l, x)) return false;
    for (int i = len - 1; i >= 0; i--)
        if (!(fy_is(chain[i], "Transpose") ? permute(&l, chain[i]) : regroup(&l, chain[i]->out[0]))) return false;
    if (l.ys[axis + 1] != l.ys[axis] + 1) return false;
    while (d < l.nx && !(l.xs[d] < l.xs[d + 1] && l.source[l.xs[d]] == l.order[l.ys[axis]])) d++;        /* outermost within its size of x */
    if (d == l.nx || !fy_dim_at(x, d, &whole) || whole % count) return false;
    drop_axis(&l, (int)axis);
    before = len + (int)count;
    for (int i = 0; i < count; i++) {
        p[i].l = l;
        follow(&p[i]);
        if (!p[i].last->out[0]->nuses) return false;         /* dead: a sibling was here before */
        sizes[i] = whole / count;
        before += p[i].len;
        after += emit(r, &p[i].l, NULL, x, p[i].last->out[0], NULL);
    }
    if (after >= before) return false;
    fy_build b = fy_before(r, n);
    b.before = x->def && x->graph == n->graph ? x->def->next : n->graph->first;
    fy_node *cut = fy_emit_n(&b, "Split", (int)count, FY_V(x, fy_k_ints(&b, count, sizes)), FY_A(fy_int("axis", d)));
    for (int i = 0; cut && i < count; i++) {
        fy_value *y = NULL;
        (void)emit(r, &p[i].l, &b, cut->out[i], p[i].last->out[0], &y);
        if (!y) break;
        y->type = p[i].last->out[0]->type;
        p[i].x = y;
    }
    if (b.status) return fy_unmade(r, &b);
    for (int i = 0; i < count; i++)
        if (!p[i].x || p[i].last->out[0]->is_output) return false;      /* not with constant targets: what was made is dead */
    for (int i = 0; i < count; i++) {
        fy_value *old = p[i].last->out[0];
        p[i].x->name = old->name;
        old->name = NULL;
        fy_value_replace(old, p[i].x);
    }
    return true;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    fy_node *chain[MAX_CHAIN];
    int len = 0, turns = 0;
    if (fy_is(n, "Gather")) return parts(r, n);
    if (!is_layout(n) || !n->out[0] || fy_v_rank(n->out[0]) < 0) return false;
    for (fy_node *k = n; len < MAX_CHAIN && is_layout(k) && fy_v_rank(fy_in(k, 0)) >= 0;) {
        chain[len++] = k;
        if (!fy_sole(fy_in(k, 0)) || fy_in(k, 0)->graph != n->graph) break;
        k = fy_in(k, 0)->def;
    }
    for (; len >= 2; len--) {
        layout l = {.p = r->m->dims};
        fy_value *x = fy_in(chain[len - 1], 0), *y = NULL;
        bool ok = begin(&l, x);
        turns = 0;
        for (int i = len - 1; ok && i >= 0; i--) {
            bool t = fy_is(chain[i], "Transpose");
            turns += t;
            ok = t ? permute(&l, chain[i]) : regroup(&l, chain[i]->out[0]);
        }
        if (!ok || !turns) continue;
        if (fy_same_type(x, n->out[0]) && !memcmp(l.source, l.order, (size_t)l.n * sizeof(int)) && fy_is_value(r, n, x)) return true;
        if (emit(r, &l, NULL, x, n->out[0], NULL) >= len) continue;
        fy_build b = fy_before(r, n);
        (void)emit(r, &l, &b, x, n->out[0], &y);
        if (b.status) return fy_unmade(r, &b);
        if (!y) continue;                /* what was emitted before has no use, and goes with the dead */
        y->type = n->out[0]->type;
        return fy_became(r, &b, n, y);
    }
    return false;
}

fy_status fy_pass_layout(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
