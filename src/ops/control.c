/* SPDX-License-Identifier: Apache-2.0
 * control.c - If Loop Scan SequenceMap: operators that run graphs of their own.
 *
 * Inference types the body's inputs, infers the body, and joins what comes out. A value carried from one iteration to the next
 * must have one type for all of them: it starts as the initial value's, and what an iteration changes is widened (a size to
 * unknown, a shape to unknown rank) until an iteration changes nothing more. */
#include "ops/control.h"

#include "base/checked.h"
#include "ops/move.h"

#include <string.h>

#define MAX_ITERATIONS ((int64_t)1 << 28)                       /* of one loop: a hostile file must not hang us */
#define MAX_ROUNDS 8                                            /* of widening; then nothing is assumed of shapes */

static fy_arena *arena_of(const fy_infer *f) { return &f->node->graph->model->arena; }

/* ---- types --------------------------------------------------------------------------------------------------------- */

/* The least type that holds both: equal sizes are kept, others become unknown ones of at most the larger. */
static fy_status join(fy_infer *f, fy_type *r, const fy_type *a, const fy_type *b, const char *what, int depth) {
    if (a->kind == FY_NOTYPE || b->kind == FY_NOTYPE) {
        *r = a->kind == FY_NOTYPE ? *b : *a;
        return FY_OK;
    }
    if (a->kind != b->kind && (a->kind == FY_OPTIONAL || b->kind == FY_OPTIONAL)) {
        *r = (fy_type){.rank = -1};                             /* an optional and what it holds: both go where either goes */
        return FY_OK;
    }
    FY_NEED(f->e, a->kind == b->kind, TYPE, "%s: a tensor, a sequence or an optional, but not the same", what);
    FY_NEED(f->e, !a->dtype || !b->dtype || a->dtype == b->dtype, TYPE, "%s is %s and %s", what, fy_dtype_name(a->dtype),
            fy_dtype_name(b->dtype));
    *r = a->dtype ? *a : *b;
    if (a->elem && b->elem && depth < 4) {
        fy_type *elem = FY_NEW(arena_of(f), fy_type);
        FY_NOMEM(f->e, elem);
        if (a->kind == FY_SEQUENCE && a->elem->kind == FY_TENSOR && b->elem->kind == FY_TENSOR) {
            FY_NEED(f->e, !a->elem->dtype || !b->elem->dtype || a->elem->dtype == b->elem->dtype, TYPE, "%s holds %s and %s", what,
                    fy_dtype_name(a->elem->dtype), fy_dtype_name(b->elem->dtype));
            FY_TRY(fy_mv_items(f, arena_of(f), elem, a->elem, b->elem));
        } else FY_TRY(join(f, elem, a->elem, b->elem, what, depth + 1));
        r->elem = elem;
    }
    if (a->kind != FY_TENSOR) return FY_OK;
    r->rank = a->rank == b->rank ? a->rank : -1;
    r->dim = NULL;
    if (r->rank <= 0) return FY_OK;
    const fy_dim **d = FY_NEWN(arena_of(f), const fy_dim *, r->rank);
    FY_NOMEM(f->e, d);
    for (int i = 0; i < r->rank; i++) {
        d[i] = a->dim[i] == b->dim[i] ? a->dim[i] : fy_mv_upto(f, fy_mv_max(f, a->dim[i], b->dim[i]));
        FY_NOMEM(f->e, d[i]);
    }
    r->dim = d;
    return FY_OK;
}

void fy_body_forget(fy_graph *g) {
    for (fy_node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->nout; i++)
            if (n->out[i] && n->op->infer) {
                n->out[i]->type = (fy_type){.rank = -1};
                n->out[i]->elem = NULL;
                n->out[i]->nelem = 0;
            }
}

void fy_body_type(fy_value *v, const fy_type *t) {
    v->type = *t;
    v->elem = NULL;
    v->nelem = 0;
}

/* A type kept beyond this inference. */
static fy_status keep(fy_infer *f, fy_type *r, const fy_type *t) {
    *r = *t;
    if (t->kind == FY_TENSOR && t->rank > 0 && t->dim) {
        r->dim = fy_arena_copy(arena_of(f), t->dim, (size_t)t->rank, sizeof *t->dim);
        FY_NOMEM(f->e, r->dim);
    }
    if (t->kind != FY_TENSOR && t->elem) {
        fy_type *elem = FY_NEW(arena_of(f), fy_type);
        FY_NOMEM(f->e, elem);
        FY_TRY(keep(f, elem, t->elem));
        r->elem = elem;
    }
    return FY_OK;
}

static fy_type scalar_type(fy_dtype dtype) { return (fy_type){.kind = FY_TENSOR, .dtype = dtype, .rank = 0}; }

/* Nothing assumed of shapes. */
static fy_status loosen(fy_infer *f, fy_type *t) {
    for (; t; t = (fy_type *)(uintptr_t)t->elem) {                      /* the chain is our own copy, made here */
        if (t->kind == FY_TENSOR) { t->rank = -1; t->dim = NULL; }
        if (!t->elem) break;
        fy_type *own = fy_arena_copy(arena_of(f), t->elem, 1, sizeof *own);
        FY_NOMEM(f->e, own);
        t->elem = own;
    }
    return FY_OK;
}

static bool hard(fy_status s) { return s == FY_E_NOMEM || s == FY_E_LIMIT || s == FY_E_INTERNAL; }

/* The first failure, but the nodes that follow it are looked at as well. */
static fy_status infer_branch(fy_graph *g, ferry_error *e) {
    ferry_error later;
    fy_node *n = g->first;
    fy_status first = fy_infer_from(g, &n, e);
    for (fy_status s = first; s != FY_OK && !hard(s);) {
        n = n->next;
        fy_error_clear(&later);
        s = fy_infer_from(g, &n, &later);
        if (hard(s)) {
            *e = later;
            return s;
        }
    }
    return first;
}

/* Is g inside a body that is inferred more than once? */
static bool repeated(const fy_graph *g) {
    for (; g && g->owner; g = g->parent)
        if (strcmp(g->owner->op->name, "If") != 0) return true;
    return false;
}

/* ---- If ------------------------------------------------------------------------------------------------------------ */

static fy_status infer_if(fy_infer *f) {
    fy_graph *g[2] = {fy_attr_graph(f->node, "then_branch"), fy_attr_graph(f->node, "else_branch")};
    int64_t n, cond = 0;
    fy_status branch[2];
    for (int k = 0; k < 2; k++) {
        FY_NEED(f->e, g[k], ATTR, "%s is missing", k ? "else_branch" : "then_branch");
        FY_NEED(f->e, g[k]->in.n == 0, GRAPH, "a branch of If takes no inputs; this one takes %lld", (long long)g[k]->in.n);
        FY_NEED(f->e, g[k]->out.n == f->nout, GRAPH, "a branch has %lld outputs, the node %d", (long long)g[k]->out.n, f->nout);
        for (int i = 0; i < f->nout; i++) FY_NEED(f->e, g[k]->out.at[i], GRAPH, "output %d of a branch is missing", i);
    }
    /* A branch that cannot be right is one for other ranks or sizes, not taken with these: the other one tells the types. What can be
     * said inside it is said nevertheless. */
    for (int k = 1; k >= 0; k--) {
        if (repeated(g[k])) fy_body_forget(g[k]);
        branch[k] = infer_branch(g[k], f->e);
        if (branch[k] == FY_OK) continue;
        if (hard(branch[k]) || (k == 0 && branch[1] != FY_OK)) return branch[k];
    }
    if (branch[0] != FY_OK || branch[1] != FY_OK) fy_error_clear(f->e);
    bool known = fy_in_ints(f, 0, &cond, 1, &n) && n == 1;
    for (int i = 0; i < f->nout; i++) {
        const fy_type *a = &g[0]->out.at[i]->type, *b = &g[1]->out.at[i]->type;
        if (branch[0] != FY_OK) f->out[i].type = *b;
        else if (branch[1] != FY_OK) f->out[i].type = *a;
        else if (known) f->out[i].type = cond ? *a : *b;
        else FY_TRY(join(f, &f->out[i].type, a, b, "the result of the branches", 0));
        /* one branch does not know: the other tells what kind of value it is, not its shape */
        bool half = branch[0] == FY_OK && branch[1] == FY_OK && !known && (a->kind == FY_NOTYPE || b->kind == FY_NOTYPE);
        if (half) FY_TRY(loosen(f, &f->out[i].type));
    }
    return FY_OK;
}

static fy_status ref_if(const fy_call *c) {
    FY_NEED(c->e, fy_count(fy_arg(c, 0)) == 1, SHAPE, "the condition has %lld elements", (long long)fy_count(fy_arg(c, 0)));
    const fy_graph *g = fy_attr_graph(c->node, fy_get_i64(fy_arg(c, 0), 0) ? "then_branch" : "else_branch");
    FY_NEED(c->e, g, ATTR, "a branch is missing");
    fy_rval *out = FY_NEWN(c->scratch, fy_rval, c->nout);
    fy_call call = *c;
    FY_NOMEM(c->e, out);
    FY_TRY(c->run_graph(&call, g, 0, NULL, c->nout, out));
    for (int i = 0; i < c->nout; i++) fy_mv_give(c, i, &out[i]);
    return FY_OK;
}

static const fy_attr_spec if_attrs[] = {{"then_branch", FY_ATTR_GRAPH, FY_REQUIRED}, {"else_branch", FY_ATTR_GRAPH, FY_REQUIRED}, {0}};
const fy_op fy_op_if = {.name = "If", .domain = "", .attrs = if_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = -1, .since = 25, .first = 1,
    .types = "|bool", .infer = infer_if, .ref = ref_if, .flags = FY_CONTROL};

/* ---- bodies that carry values -------------------------------------------------------------------------------------- */

/* How deep bodies that run again and again are nested around the node. */
static int nesting(const fy_node *n) {
    int depth = 0;
    for (const fy_graph *g = n->graph; g && g->owner; g = g->parent) depth += strcmp(g->owner->op->name, "If") != 0;
    return depth;
}

/* One size carried on: what is unknown already stays so. `fixed`: it may not change, so that the better account of it counts. */
static const fy_dim *carry_dim(fy_infer *f, const fy_dim *was, const fy_dim *out, bool fixed) {
    if (was == out || (was->kind == FY_DIM_OPAQUE && !fixed)) return was;
    if (fixed) return was->kind == FY_DIM_CONST || (was->kind != FY_DIM_OPAQUE && out->kind != FY_DIM_CONST) || out->kind == FY_DIM_OPAQUE ? was : out;
    return fy_mv_opaque(f);
}

/* Sizes made inside a body (their ids are `from` or more) are those of one iteration: among the items of a list that grows in it
 * each item has its own. */
static fy_status items_of_body(fy_infer *f, fy_type *t, uint32_t from) {
    const fy_type *item = t->kind == FY_SEQUENCE ? t->elem : NULL;
    if (!item || item->kind != FY_TENSOR || item->rank <= 0) return FY_OK;
    fy_type *own = fy_arena_copy(arena_of(f), item, 1, sizeof *own);
    const fy_dim **d = FY_NEWN(arena_of(f), const fy_dim *, item->rank);
    FY_NOMEM(f->e, own && d);
    for (int i = 0; i < item->rank; i++) {
        bool inside = !item->dim[i]->varies && fy_dim_younger(item->dim[i], from);
        FY_NOMEM(f->e, d[i] = inside ? fy_dim_varying(f->dims, NULL, NULL) : item->dim[i]);
    }
    own->dim = d;
    t->elem = own;
    return FY_OK;
}

/* A carried type after one more iteration; *changed where it is not what it was. */
static fy_status widen(fy_infer *f, fy_type *state, const fy_type *out, bool fixed, bool *changed) {
    fy_type t;
    FY_TRY(join(f, &t, state, out, "a carried value", 0));
    if (t.kind == FY_TENSOR && t.rank > 0 && state->kind == FY_TENSOR && state->rank == t.rank && out->kind == FY_TENSOR && out->rank == t.rank) {
        const fy_dim **d = FY_NEWN(arena_of(f), const fy_dim *, t.rank);
        FY_NOMEM(f->e, d);
        for (int a = 0; a < t.rank; a++) FY_NOMEM(f->e, d[a] = carry_dim(f, state->dim[a], out->dim[a], fixed));
        t.dim = d;
    }
    if (fixed && t.kind == FY_TENSOR && t.rank < 0) {                   /* one of the two does not know */
        t.rank = state->rank >= 0 ? state->rank : out->rank;
        t.dim = state->rank >= 0 ? state->dim : out->dim;
    }
    *changed = *changed || !fy_type_equal(&t, state);
    *state = t;
    return FY_OK;
}

/* What the file says of an input or output of the body, where inference does not know: kind, dtype, rank. Not the sizes: exporters write
 * those of the sample, which are not those of every iteration. */
static fy_status refine(fy_infer *f, fy_type *t, const fy_type *said) {
    if (!said || (t->kind != FY_NOTYPE && t->kind != said->kind)) return FY_OK;
    if (t->kind != FY_NOTYPE && (t->kind != FY_TENSOR || t->rank >= 0)) return FY_OK;
    if (t->kind == FY_NOTYPE && said->kind != FY_TENSOR) return keep(f, t, said);
    fy_dtype dtype = t->dtype ? t->dtype : said->dtype;
    *t = (fy_type){.kind = FY_TENSOR, .dtype = dtype, .rank = said->rank};
    if (said->rank <= 0) return FY_OK;
    const fy_dim **d = FY_NEWN(arena_of(f), const fy_dim *, said->rank);
    FY_NOMEM(f->e, d);
    for (int i = 0; i < said->rank; i++) FY_NOMEM(f->e, d[i] = fy_mv_opaque(f));
    t->dim = d;
    return FY_OK;
}

/* Infers a body whose inputs first.. first+n carry outputs back.. back+n: state[] goes in as the initial types and comes out
 * as the types that hold for every iteration. The other inputs have been typed already. Deep inside other such bodies one round
 * must do, or the work would double with each level. */
static fy_status infer_carried(fy_infer *f, fy_graph *g, int first, int back, int n, fy_type *state, bool fixed) {
    bool *loose = FY_NEWN(f->arena, bool, n + 1);                   /* of no one type: an optional first, then what it holds */
    int last = nesting(f->node) > 2 ? 0 : MAX_ROUNDS;
    FY_NOMEM(f->e, loose);
    for (int round = 0;; round++) {
        bool changed = false;
        uint32_t from = fy_dims_next(f->dims);
        for (int i = 0; i < n; i++) {
            if (round == last && !fixed) FY_TRY(loosen(f, &state[i]));
            if (loose[i]) continue;
            FY_TRY(refine(f, &state[i], g->in.at[first + i]->declared));
            if (state[i].kind != FY_NOTYPE) fy_body_type(g->in.at[first + i], &state[i]);
            else FY_TRY(keep(f, &state[i], &g->in.at[first + i]->type));
        }
        fy_body_forget(g);
        FY_TRY(fy_infer_graph(g, f->e));
        for (int i = 0; i < n; i++) {
            fy_value *out = g->out.at[back + i];
            FY_NEED(f->e, out, GRAPH, "output %d of the body is missing", back + i);
            if (loose[i]) continue;
            FY_TRY(refine(f, &out->type, out->declared));
            bool typed = state[i].kind != FY_NOTYPE;
            fy_type made = out->type;
            FY_TRY(items_of_body(f, &made, from));
            FY_TRY(widen(f, &state[i], &made, fixed, &changed));
            if (state[i].kind != FY_NOTYPE || !typed) continue;
            loose[i] = changed = true;
            fy_body_type(g->in.at[first + i], &state[i]);
        }
        if (!changed || round >= last) return FY_OK;
    }
}

/* What leaves a body. Sizes made inside (their ids are `from` or more) were those of one iteration: outside they get names of their
 * own, one for each, the same wherever it stands among the outputs of one kind. */
typedef struct leaving { fy_infer *f; uint32_t from; FY_VEC(const fy_dim *) was; FY_VEC(const fy_dim *) now; } leaving;

static const fy_dim *renamed(void *ctx, const fy_dim *sym) {
    leaving *l = ctx;
    if (sym->kind != FY_DIM_OPAQUE || sym->id < l->from) return NULL;
    for (int64_t i = 0; i < l->was.n; i++)
        if (l->was.at[i] == sym) return l->now.at[i];
    const fy_dim *most = sym->most && !fy_dim_younger(sym->most, l->from) ? sym->most : NULL, *d = fy_mv_upto(l->f, most);
    if (!d || !FY_RESERVE(l->was, l->was.n + 1) || !FY_RESERVE(l->now, l->now.n + 1)) {
        *l->f->oom = true;
        return NULL;
    }
    if (!most) fy_dim_bound(l->f->dims, d, sym->lo, sym->hi);
    l->was.at[l->was.n++] = sym;
    l->now.at[l->now.n++] = d;
    return d;
}

static const fy_dim *leave(leaving *l, const fy_dim *d) { return fy_dim_younger(d, l->from) ? fy_dim_subst(l->f->dims, d, renamed, l) : d; }

static fy_status leave_type(leaving *l, fy_type *t) {
    if (t->kind != FY_TENSOR || t->rank <= 0) return FY_OK;
    const fy_dim **d = FY_NEWN(arena_of(l->f), const fy_dim *, t->rank);
    FY_NOMEM(l->f->e, d);
    for (int i = 0; i < t->rank; i++) FY_NOMEM(l->f->e, d[i] = leave(l, t->dim[i]));
    t->dim = d;
    return FY_OK;
}

static void leave_done(leaving *l) {
    fy_free(l->was.at);
    fy_free(l->now.at);
}

/* ---- what an iteration leaves ---------------------------------------------------------------------------------------- */

/* Items of a sequence, one an iteration. */
typedef struct items { fy_rval *at; int64_t n, cap; } items;

/* Rows of a scan output, one an iteration, behind one another in memory that grows: all[room, row...]. The first tells what a row is. */
typedef struct rows { fy_tensor all; int64_t n; } rows;
#define ROWS_AT_ONCE ((int64_t)1 << 24)                         /* bytes up to which there is room for all of them from the start */

/* `x` with an axis of one element in front. */
static fy_tensor as_row(const fy_tensor *x) {
    fy_tensor row = *x;
    memmove(row.dim + 1, row.dim, (size_t)x->rank * sizeof *row.dim);
    memmove(row.stride + 1, row.stride, (size_t)x->rank * sizeof *row.dim);
    row.dim[0] = 1;
    row.stride[0] = 0;
    row.rank++;
    return row;
}

/* Rows [at, at + n) of all. */
static fy_tensor rows_from(const fy_tensor *all, int64_t at, int64_t n) {
    fy_view v = fy_mv_view_of(all);
    v.dim[0] = n;
    v.offset = at * all->stride[0];
    return fy_mv_see(all, &v);
}

static fy_status rows_room(const fy_call *c, rows *r, const fy_tensor *x, int64_t most) {
    int64_t dim[FY_MAX_RANK], each = 1, room;
    for (int a = 0; a < x->rank; a++) FY_NEED(c->e, fy_mul_i64(&each, each, x->dim[a] > 0 ? x->dim[a] : 1), LIMIT, "a scan output is too large to address");
    FY_NEED(c->e, fy_mul_i64(&each, each, fy_elem_bytes(x->dtype)), LIMIT, "a scan output is too large to address");
    room = r->n ? r->n + r->n / 2 + 8 : ROWS_AT_ONCE / each + 8;
    if (room > most) room = most;
    FY_NEED(c->e, c->max_bytes <= 0 || r->n < c->max_bytes / each, LIMIT, "a scan output would take more than %lld bytes", (long long)c->max_bytes);
    if (c->max_bytes > 0 && room > c->max_bytes / each) room = c->max_bytes / each;
    dim[0] = room;
    memcpy(dim + 1, x->dim, (size_t)x->rank * sizeof *dim);
    fy_tensor fresh;
    FY_TRY(fy_tensor_take(&fresh, c->spares, x->dtype, x->rank + 1, dim, c->e));
    if (r->n) {
        fy_tensor to = rows_from(&fresh, 0, r->n), from = rows_from(&r->all, 0, r->n);
        fy_tensor_copy(&to, &from);
    }
    fy_tensor_free(&r->all);
    r->all = fresh;
    return FY_OK;
}

/* One more row; at most `most` (1 or more) there will be. */
static fy_status rows_add(const fy_call *c, rows *r, fy_rval *v, int64_t most) {
    const fy_tensor *x = &v->t;
    FY_NEED(c->e, v->kind == FY_TENSOR, TYPE, "a scan output must be a tensor");
    FY_NEED(c->e, x->rank < FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported", x->rank + 1, FY_MAX_RANK);
    FY_NEED(c->e, !r->n || (x->rank == r->all.rank - 1 && x->dtype == r->all.dtype), SHAPE, "a scan output changes rank or dtype between iterations");
    FY_NEED(c->e, !r->n || !memcmp(x->dim, r->all.dim + 1, (size_t)x->rank * sizeof *x->dim), SHAPE, "a scan output changes shape between iterations");
    if (!r->n || r->n == r->all.dim[0]) FY_TRY(rows_room(c, r, x, most));
    fy_tensor to = rows_from(&r->all, r->n++, 1), row = as_row(x);
    fy_tensor_copy(&to, &row);
    fy_rval_free(v);
    return FY_OK;
}

/* Output i: the rows stacked along a new axis. Without rows the shape is what the graph's types tell; a size that depends on the
 * inputs cannot be told without a row and is 0. */
static fy_status stack(const fy_call *c, int i, rows *r, const fy_value *like, int64_t axis, bool reverse) {
    int64_t dim[FY_MAX_RANK];
    int at, rank = r->n ? r->all.rank - 1 : like->type.rank < 0 ? 0 : like->type.rank;
    fy_dtype t = r->n ? r->all.dtype : like->type.dtype ? like->type.dtype : FERRY_FLOAT;
    if (i >= c->nout || !c->out[i]) return FY_OK;
    for (int a = 0; a < rank; a++) {
        if (r->n) dim[a] = r->all.dim[a + 1];
        else if (!like->type.dim || !fy_dim_known(like->type.dim[a], &dim[a]) || dim[a] < 0) dim[a] = 0;
    }
    FY_NEED(c->e, rank < FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported", rank + 1, FY_MAX_RANK);
    FY_TRY(fy_axis(&at, axis, rank + 1, c->e));
    if (r->n && !at && !reverse && r->all.dim[0] <= 2 * r->n) {         /* as they lie */
        fy_rval all = {.kind = FY_TENSOR, .t = r->all};
        all.t.dim[0] = r->n;
        r->all = (fy_tensor){0};
        fy_mv_give(c, i, &all);
        return FY_OK;
    }
    memmove(dim + at + 1, dim + at, (size_t)(rank - at) * sizeof *dim);
    dim[at] = r->n;
    FY_TRY(fy_alloc_out(c, i, t, rank + 1, dim));
    if (!r->n) return FY_OK;
    fy_tensor *y = fy_res(c, i), from = rows_from(&r->all, reverse ? r->n - 1 : 0, r->n);
    fy_view v = fy_mv_view_of(y);                                       /* y with the new axis in front */
    for (int a = at; a > 0; a--) {
        v.dim[a] = v.dim[a - 1];
        v.stride[a] = v.stride[a - 1];
    }
    v.dim[0] = r->n;
    v.stride[0] = y->stride[at];
    if (reverse) from.stride[0] = -from.stride[0];
    fy_tensor to = fy_mv_see(y, &v);
    fy_tensor_copy(&to, &from);
    return FY_OK;
}

/* ---- Loop ---------------------------------------------------------------------------------------------------------- */

/* Does the body hand its condition on unchanged, or true? */
static bool keeps_going(const fy_graph *g) {
    const fy_value *v = g->out.at[0];
    int64_t k;
    for (int i = 0; v && v->def && i < 8 && strcmp(v->def->op->name, "Identity") == 0; i++) v = fy_in(v->def, 0);
    return v && (v == g->in.at[1] || (v->constant && v->constant->count == 1 && fy_const_i64(v->constant, 0, &k) && k));
}

/* The carried values as they are in the end, and a row for each iteration of the others. */
static fy_status loop_out(fy_infer *f, const fy_graph *g, int n, const fy_type *state, leaving *end, leaving *row_of) {
    int64_t count, cond = 1;
    const fy_dim *d[FY_MAX_RANK], *const *m = fy_in_elems(f, 0, &count);
    const fy_dim *most = m && count == 1 && !fy_dim_wild(m[0]) ? fy_mv_clamp0(f, m[0]) : NULL;
    for (int i = 0; i < n && i < f->nout; i++) {
        f->out[i].type = state[i];
        FY_TRY(leave_type(end, &f->out[i].type));
    }
    bool go = (!fy_in_has(f, 1) || (fy_in_ints(f, 1, &cond, 1, &count) && cond)) && keeps_going(g);
    const fy_dim *trips = most && go ? most : fy_mv_upto(f, most);
    for (int i = n; i < f->nout; i++) {
        const fy_value *row = g->out.at[1 + i];
        FY_NEED(f->e, row && (row->type.kind == FY_TENSOR || row->type.kind == FY_NOTYPE), TYPE,
                "scan output %d of the body is not a tensor", i - n);
        FY_TRY(refine(f, &g->out.at[1 + i]->type, row->declared));
        int rank = row->type.kind == FY_TENSOR ? row->type.rank : -1;
        FY_NEED(f->e, rank < FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported", rank + 1, FY_MAX_RANK);
        d[0] = trips;
        for (int a = 0; a < rank; a++) d[a + 1] = leave(row_of, row->type.dim[a]);
        FY_TRY(fy_out_set(f, i, row->type.dtype, rank < 0 ? -1 : rank + 1, rank < 0 ? NULL : d));
    }
    return FY_OK;
}

static fy_status infer_loop(fy_infer *f) {
    fy_graph *g = fy_attr_graph(f->node, "body");
    int n = f->nin > 2 ? f->nin - 2 : 0;
    FY_NEED(f->e, g, ATTR, "body is missing");
    FY_NEED(f->e, g->in.n == n + 2, GRAPH, "the body takes %lld inputs; %d are needed", (long long)g->in.n, n + 2);
    FY_NEED(f->e, g->out.n >= f->nout + 1 && g->out.n >= n + 1, GRAPH, "the body has %lld outputs, the node %d", (long long)g->out.n,
            f->nout);
    fy_type *state = FY_NEWN(f->arena, fy_type, n + 1), t;
    FY_NOMEM(f->e, state);
    t = scalar_type(FERRY_INT64);
    fy_body_type(g->in.at[0], &t);
    t = scalar_type(FERRY_BOOL);
    fy_body_type(g->in.at[1], &t);
    for (int i = 0; i < n; i++) FY_TRY(keep(f, &state[i], &f->in[2 + i].type));
    leaving end = {.f = f, .from = fy_dims_next(f->dims)}, row = end;
    FY_TRY(infer_carried(f, g, 2, 1, n, state, false));
    fy_status s = loop_out(f, g, n, state, &end, &row);
    leave_done(&end);
    leave_done(&row);
    return s;
}

typedef struct loop { int n, nscan; fy_rval *state, *out; rows *row; fy_rval head[2]; } loop;

/* The iteration's number, the condition: in memory of their own, which the body may hand on. */
static fy_status loop_head(const fy_call *c, fy_rval *v, fy_dtype t, int64_t x) {
    if (!v->t.own || v->t.own->refs > 1) {
        fy_rval_free(v);
        v->kind = FY_TENSOR;
        FY_TRY(fy_tensor_take(&v->t, c->spares, t, 0, NULL, c->e));
    }
    fy_put_i64(&v->t, 0, x);
    return FY_OK;
}

static fy_status run_loop(const fy_call *c, const fy_graph *g, loop *l) {
    const fy_tensor *m = fy_arg(c, 0), *k = fy_arg(c, 1);
    fy_call call = *c;
    int64_t i = 0;
    bool cond = true;
    FY_NEED(c->e, (!m || fy_count(m) == 1) && (!k || fy_count(k) == 1), SHAPE, "trip count and condition must have one element");
    int64_t most = m ? fy_get_i64(m, 0) : INT64_MAX;
    if (k) cond = fy_get_i64(k, 0) != 0;
    fy_rval **in = FY_NEWN(c->scratch, fy_rval *, l->n + 2);
    FY_NOMEM(c->e, in);
    in[0] = &l->head[0];
    in[1] = &l->head[1];
    for (int q = 0; q < l->n; q++) {
        FY_NEED(c->e, c->in[2 + q], GRAPH, "initial value %d is missing", q);
        FY_TRY(fy_rval_copy(&l->state[q], c->in[2 + q], c->e));
        in[2 + q] = &l->state[q];
    }
    for (i = 0; cond && i < most; i++) {
        FY_NEED(c->e, i < MAX_ITERATIONS, LIMIT, "more than %lld iterations", (long long)MAX_ITERATIONS);
        FY_TRY(loop_head(c, &l->head[0], FERRY_INT64, i));
        FY_TRY(loop_head(c, &l->head[1], FERRY_BOOL, cond));
        FY_TRY(c->run_graph(&call, g, l->n + 2, in, 1 + l->n + l->nscan, l->out));
        const fy_tensor *go = &l->out[0].t;
        FY_NEED(c->e, l->out[0].kind == FY_TENSOR && fy_count(go) == 1, SHAPE, "the body's condition must have one element");
        cond = fy_get_i64(go, 0) != 0;
        fy_rval_free(&l->out[0]);
        for (int q = 0; q < l->n; q++) {
            fy_rval_free(&l->state[q]);
            l->state[q] = l->out[1 + q];
            l->out[1 + q] = (fy_rval){0};
        }
        for (int q = 0; q < l->nscan; q++) FY_TRY(rows_add(c, &l->row[q], &l->out[1 + l->n + q], most));
    }
    for (int q = 0; q < l->n; q++) fy_mv_give(c, q, &l->state[q]);
    for (int q = 0; q < l->nscan; q++) FY_TRY(stack(c, l->n + q, &l->row[q], g->out.at[1 + l->n + q], 0, false));
    return FY_OK;
}

static fy_status loop_new(loop *l, const fy_call *c, int n, int nscan) {
    *l = (loop){.n = n, .nscan = nscan, .state = FY_NEWN(c->scratch, fy_rval, n + 1), .out = FY_NEWN(c->scratch, fy_rval, 2 + n + nscan),
                .row = FY_NEWN(c->scratch, rows, nscan + 1)};
    FY_NOMEM(c->e, l->state && l->out && l->row);
    return FY_OK;
}

static void loop_free(loop *l) {
    for (int q = 0; q < 2; q++) fy_rval_free(&l->head[q]);
    for (int q = 0; q < l->n; q++) fy_rval_free(&l->state[q]);
    for (int q = 0; q < 1 + l->n + l->nscan; q++) fy_rval_free(&l->out[q]);
    for (int q = 0; q < l->nscan; q++) fy_tensor_free(&l->row[q].all);
}

static fy_status ref_loop(const fy_call *c) {
    const fy_graph *g = fy_attr_graph(c->node, "body");
    loop l;
    FY_NEED(c->e, g, ATTR, "body is missing");
    int n = c->nin > 2 ? c->nin - 2 : 0, nscan = (int)g->out.n - 1 - n;
    FY_NEED(c->e, g->in.n == n + 2 && nscan >= 0, GRAPH, "the body takes %lld inputs and has %lld outputs", (long long)g->in.n,
            (long long)g->out.n);
    FY_TRY(loop_new(&l, c, n, nscan));
    fy_status s = run_loop(c, g, &l);
    loop_free(&l);
    return s;
}

static const fy_attr_spec loop_attrs[] = { {"body", FY_ATTR_GRAPH, FY_REQUIRED}, {0}};
const fy_op fy_op_loop = {.name = "Loop", .domain = "", .attrs = loop_attrs, .min_in = 0, .max_in = -1, .min_out = 1, .max_out = -1, .since = 25, .first = 1,
    .types = "|i64,bool", .infer = infer_loop, .ref = ref_loop, .flags = FY_CONTROL};

/* ---- Scan ---------------------------------------------------------------------------------------------------------- */

typedef struct scan { int n, nin, nout; const int64_t *in_axis, *in_dir, *out_axis, *out_dir; } scan;

static fy_status read_scan(scan *s, const fy_node *node, int nin, int nout, ferry_error *e) {
    int64_t m = fy_attr_i(node, "num_scan_inputs");
    FY_NEED(e, m >= 1 && m <= nin, ATTR, "num_scan_inputs is %lld; the node has %d inputs", (long long)m, nin);
    *s = (scan){.n = nin - (int)m, .nin = (int)m, .nout = nout - (nin - (int)m)};
    FY_NEED(e, s->nout >= 0, GRAPH, "%d outputs for %d states", nout, s->n);
    const struct { const char *name; const int64_t **to; int n; } list[] = {{"scan_input_axes", &s->in_axis, s->nin},
        {"scan_input_directions", &s->in_dir, s->nin}, {"scan_output_axes", &s->out_axis, s->nout}, {"scan_output_directions",
                &s->out_dir, s->nout}};
    for (int i = 0; i < 4; i++) {
        *list[i].to = fy_attr_ints(node, list[i].name, &m);
        FY_NEED(e, !*list[i].to || m == list[i].n, ATTR, "%s has %lld values; %d are needed", list[i].name, (long long)m, list[i].n);
    }
    return FY_OK;
}

/* States keep their shape, so the sizes of one iteration are those of the end. */
static fy_status scan_out(fy_infer *f, const fy_graph *g, const scan *s, const fy_type *state, const fy_dim *length, leaving *out) {
    const fy_dim *d[FY_MAX_RANK];
    int axis;
    for (int i = 0; i < s->n; i++) {
        f->out[i].type = state[i];
        FY_TRY(leave_type(out, &f->out[i].type));
    }
    for (int i = 0; i < s->nout; i++) {
        const fy_value *row = g->out.at[s->n + i];
        FY_NEED(f->e, row, GRAPH, "output %d of the body is missing", s->n + i);
        FY_TRY(refine(f, &g->out.at[s->n + i]->type, row->declared));
        int rank = row->type.kind == FY_TENSOR ? row->type.rank : -1, k = 0;
        FY_NEED(f->e, rank < FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported", rank + 1, FY_MAX_RANK);
        if (rank < 0) { FY_TRY(fy_mv_unknown(f, s->n + i, row->type.dtype, -1)); continue; }
        FY_TRY(fy_axis(&axis, s->out_axis ? s->out_axis[i] : 0, rank + 1, f->e));
        for (int a = 0; a <= rank; a++) d[a] = a == axis ? (length ? length : fy_mv_opaque(f)) : leave(out, row->type.dim[k++]);
        FY_TRY(fy_out_set(f, s->n + i, row->type.dtype, rank + 1, d));
    }
    return FY_OK;
}

static fy_status infer_scan(fy_infer *f) {
    fy_graph *g = fy_attr_graph(f->node, "body");
    const fy_dim *d[FY_MAX_RANK], *length = NULL;
    scan s;
    int axis;
    FY_NEED(f->e, g, ATTR, "body is missing");
    FY_TRY(read_scan(&s, f->node, f->nin, f->nout, f->e));
    FY_NEED(f->e, g->in.n == f->nin && g->out.n == f->nout, GRAPH, "the body takes %lld inputs and has %lld outputs; the node %d and %d",
            (long long)g->in.n, (long long)g->out.n, f->nin, f->nout);
    fy_type *state = FY_NEWN(f->arena, fy_type, s.n + 1);
    FY_NOMEM(f->e, state);
    for (int i = 0; i < s.n; i++) FY_TRY(keep(f, &state[i], &f->in[i].type));
    for (int i = 0; i < s.nin; i++) {
        int rank = fy_in_rank(f, s.n + i), k = 0;
        fy_type t = {.kind = FY_TENSOR, .dtype = fy_in_dtype(f, s.n + i), .rank = -1}, kept;
        if (rank >= 0) {
            FY_NEED(f->e, rank >= 1, SHAPE, "scan input %d is a scalar", i);
            FY_TRY(fy_axis(&axis, s.in_axis ? s.in_axis[i] : 0, rank, f->e));
            const fy_dim *len = fy_in_dim(f, s.n + i, axis);
            if (length) FY_TRY(fy_mv_same(f, &length, length, len, "lengths of scan inputs"));
            else length = len;
            for (int a = 0; a < rank; a++) if (a != axis) d[k++] = fy_in_dim(f, s.n + i, a);
            t.rank = k;
            t.dim = d;
        }
        FY_TRY(keep(f, &kept, &t));
        fy_body_type(g->in.at[s.n + i], &kept);
    }
    leaving out = {.f = f, .from = fy_dims_next(f->dims)};
    FY_TRY(infer_carried(f, g, 0, 0, s.n, state, true));
    fy_status st = scan_out(f, g, &s, state, length, &out);
    leave_done(&out);
    return st;
}

static fy_status run_scan(const fy_call *c, const fy_graph *g, const scan *s, loop *l) {
    fy_call call = *c;
    int64_t steps = -1;
    int axis[1];
    fy_rval **in = FY_NEWN(c->scratch, fy_rval *, c->nin), *slice = FY_NEWN(c->scratch, fy_rval, s->nin);
    FY_NOMEM(c->e, in && slice);
    for (int i = 0; i < c->nin; i++) FY_NEED(c->e, c->in[i], GRAPH, "input %d is missing", i);
    for (int i = 0; i < s->n; i++) {
        FY_TRY(fy_rval_copy(&l->state[i], c->in[i], c->e));
        in[i] = &l->state[i];
    }
    for (int i = 0; i < s->nin; i++) {
        const fy_tensor *x = fy_arg(c, s->n + i);
        FY_TRY(fy_axis(axis, s->in_axis ? s->in_axis[i] : 0, x->rank, c->e));
        FY_NEED(c->e, steps < 0 || x->dim[*axis] == steps, SHAPE, "scan inputs have %lld and %lld steps", (long long)steps,
                (long long)x->dim[*axis]);
        steps = x->dim[*axis];
        in[s->n + i] = &slice[i];
    }
    for (int64_t k = 0; k < steps; k++) {
        for (int i = 0; i < s->nin; i++) {
            const fy_tensor *x = fy_arg(c, s->n + i);
            FY_TRY(fy_axis(axis, s->in_axis ? s->in_axis[i] : 0, x->rank, c->e));
            fy_view v = {.rank = x->rank - 1, .offset = (s->in_dir && s->in_dir[i] ? steps - 1 - k : k) * x->stride[*axis]};
            for (int a = 0, to = 0; a < x->rank; a++) if (a != *axis) { v.dim[to] = x->dim[a]; v.stride[to++] = x->stride[a]; }
            slice[i] = (fy_rval){.kind = FY_TENSOR, .t = fy_mv_see(x, &v)};
            slice[i].t.own = fy_storage_ref(x->own);            /* the body may hand the slice on as a state */
        }
        fy_status st = c->run_graph(&call, g, c->nin, in, s->n + s->nout, l->out);
        for (int i = 0; i < s->nin; i++) fy_rval_free(&slice[i]);
        FY_TRY(st);
        for (int i = 0; i < s->n; i++) {
            bool same = l->state[i].kind != FY_TENSOR || (l->out[i].kind == FY_TENSOR && fy_same_dims(&l->state[i].t, &l->out[i].t));
            FY_NEED(c->e, same, SHAPE, "state %d of Scan changes shape in step %lld", i, (long long)k);
            fy_rval_free(&l->state[i]);
            l->state[i] = l->out[i];
            l->out[i] = (fy_rval){0};
        }
        for (int i = 0; i < s->nout; i++) FY_TRY(rows_add(c, &l->row[i], &l->out[s->n + i], steps));
    }
    for (int i = 0; i < s->n; i++) fy_mv_give(c, i, &l->state[i]);
    for (int i = 0; i < s->nout; i++)
        FY_TRY(stack(c, s->n + i, &l->row[i], g->out.at[s->n + i], s->out_axis ? s->out_axis[i] : 0, s->out_dir && s->out_dir[i]));
    return FY_OK;
}

static fy_status ref_scan(const fy_call *c) {
    const fy_graph *g = fy_attr_graph(c->node, "body");
    scan s;
    loop l;
    FY_NEED(c->e, g, ATTR, "body is missing");
    FY_TRY(read_scan(&s, c->node, c->nin, c->nout, c->e));
    FY_NEED(c->e, g->in.n == c->nin && g->out.n == c->nout, GRAPH, "the body takes %lld inputs and has %lld outputs", (long long)g->in.n,
            (long long)g->out.n);
    FY_TRY(loop_new(&l, c, s.n, s.nout));
    fy_status st = run_scan(c, g, &s, &l);
    loop_free(&l);
    return st;
}

static const fy_attr_spec scan_attrs[] = {{"body", FY_ATTR_GRAPH, FY_REQUIRED}, {"num_scan_inputs", FY_ATTR_INT, FY_REQUIRED},
    {"scan_input_axes", FY_ATTR_INTS, NULL}, {"scan_input_directions", FY_ATTR_INTS, NULL}, {"scan_output_axes", FY_ATTR_INTS, NULL},
    {"scan_output_directions", FY_ATTR_INTS, NULL}, {0}};
const fy_op fy_op_scan = {.name = "Scan", .domain = "", .attrs = scan_attrs, .min_in = 1, .max_in = -1, .min_out = 1, .max_out = -1, .since = 25, .first = 8,
    .infer = infer_scan, .ref = ref_scan, .flags = FY_CONTROL};

/* ---- SequenceMap --------------------------------------------------------------------------------------------------- */

static fy_status infer_map(fy_infer *f) {
    fy_graph *g = fy_attr_graph(f->node, "body");
    FY_NEED(f->e, g, ATTR, "body is missing");
    FY_NEED(f->e, g->in.n == f->nin && g->out.n == f->nout, GRAPH, "the body takes %lld inputs and has %lld outputs; the node %d and %d",
            (long long)g->in.n, (long long)g->out.n, f->nin, f->nout);
    uint32_t from = fy_dims_next(f->dims);
    for (int i = 0; i < f->nin; i++) {
        const fy_type *t = &f->in[i].type;
        fy_type kept;
        bool item = t->kind == FY_SEQUENCE;
        if (item) t = t->elem;
        if (!t || t->kind == FY_NOTYPE) continue;
        FY_TRY(keep(f, &kept, t));
        if (item) FY_TRY(fy_mv_item(f, arena_of(f), &kept));
        fy_body_type(g->in.at[i], &kept);
    }
    fy_body_forget(g);
    FY_TRY(fy_infer_graph(g, f->e));
    for (int i = 0; i < f->nout; i++) {
        fy_type *elem = FY_NEW(f->arena, fy_type);
        FY_NOMEM(f->e, elem);
        FY_NEED(f->e, g->out.at[i], GRAPH, "output %d of the body is missing", i);
        *elem = g->out.at[i]->type;
        if (elem->kind == FY_TENSOR && elem->rank > 0) {                        /* sizes made in the body differ from item to item */
            const fy_dim **d = FY_NEWN(f->arena, const fy_dim *, elem->rank);
            FY_NOMEM(f->e, d);
            for (int a = 0; a < elem->rank; a++)
                FY_NOMEM(f->e, d[a] = fy_dim_younger(elem->dim[a], from) ? fy_dim_varying(f->dims, NULL, NULL) : elem->dim[a]);
            elem->dim = d;
        }
        f->out[i].type = (fy_type){.kind = FY_SEQUENCE, .rank = -1, .elem = elem};
    }
    return FY_OK;
}

static fy_status run_map(const fy_call *c, const fy_graph *g, fy_rval *out, items *made) {
    fy_call call = *c;
    fy_rval **in = FY_NEWN(c->scratch, fy_rval *, c->nin);
    FY_NOMEM(c->e, in);
    for (int i = 0; i < c->nin; i++) FY_NEED(c->e, c->in[i], GRAPH, "input %d is missing", i);
    FY_NEED(c->e, c->in[0]->kind == FY_SEQUENCE, TYPE, "input 0 is not a sequence");
    int64_t n = c->in[0]->n;
    for (int64_t k = 0; k < n; k++) {
        for (int i = 0; i < c->nin; i++) {
            bool seq = c->in[i]->kind == FY_SEQUENCE;
            FY_NEED(c->e, !seq || c->in[i]->n == n, SHAPE, "sequences of %lld and %lld items", (long long)n, (long long)c->in[i]->n);
            in[i] = seq ? &c->in[i]->item[k] : c->in[i];
        }
        FY_TRY(c->run_graph(&call, g, c->nin, in, c->nout, out));
        for (int i = 0; i < c->nout; i++) {
            FY_NEED(c->e, out[i].kind == FY_TENSOR, TYPE, "a scan output must be a tensor");
            FY_PUSH(c->e, made[i], out[i]);
            out[i] = (fy_rval){0};
        }
    }
    for (int i = 0; i < c->nout; i++) {
        fy_rval v = {.kind = FY_SEQUENCE, .n = made[i].n, .item = made[i].at};
        v.elem_dtype = v.n ? v.item[0].t.dtype : g->out.at[i] && g->out.at[i]->type.dtype ? g->out.at[i]->type.dtype : FERRY_FLOAT;
        made[i] = (items){0};
        fy_mv_give(c, i, &v);
    }
    return FY_OK;
}

static fy_status ref_map(const fy_call *c) {
    const fy_graph *g = fy_attr_graph(c->node, "body");
    FY_NEED(c->e, g, ATTR, "body is missing");
    FY_NEED(c->e, g->in.n == c->nin && g->out.n == c->nout, GRAPH, "the body takes %lld inputs and has %lld outputs", (long long)g->in.n,
            (long long)g->out.n);
    fy_rval *out = FY_NEWN(c->scratch, fy_rval, c->nout);
    items *made = FY_NEWN(c->scratch, items, c->nout);
    FY_NOMEM(c->e, out && made);
    fy_status s = run_map(c, g, out, made);
    for (int i = 0; i < c->nout; i++) {
        fy_rval_free(&out[i]);
        for (int64_t k = 0; k < made[i].n; k++) fy_rval_free(&made[i].at[k]);
        fy_free(made[i].at);
    }
    return s;
}

static const fy_attr_spec map_attrs[] = {{"body", FY_ATTR_GRAPH, FY_REQUIRED}, {0}};
const fy_op fy_op_sequence_map = {.name = "SequenceMap", .domain = "", .attrs = map_attrs, .min_in = 1, .max_in = -1, .min_out = 1, .max_out = -1,
    .since = 17, .first = 17, .infer = infer_map, .ref = ref_map, .flags = FY_CONTROL};
