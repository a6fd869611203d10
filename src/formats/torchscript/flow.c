/* SPDX-License-Identifier: Apache-2.0
 * flow.c - an `if` or a loop that only the data can decide: each side is read into a graph of its own, what it changes is noted and
 * undone, and what both leave behind becomes the outputs of a node "hop.cond" or "hop.while_loop". */
#include "formats/torchscript/script.h"

#include <string.h>

enum { TRIES = 8 };

typedef struct change { const char *name; ts_value *obj; ts_value now; } change;      /* a variable (now.inner), or a container */
typedef struct side { ts_level lv; bool raised; const char *why; FY_VEC(change) at; } side;

static fy_status open_level(ts *r, ts_level *l, const char *name) {
    *l = (ts_level){.up = r->level, .first = r->p->nvalues};
    l->g = FY_NEW(&r->p->arena, fy_pgraph);
    TS_OOM(r, l->g);
    l->g->program = r->p;
    l->g->name = name;
    int depth = 0;
    for (const ts_level *k = l; k; k = k->up) depth++;
    if (depth > 24) return ts_fail(r, FY_E_LIMIT, "branches and loops that only the data decide are nested deeper than 24");
    r->level = l;
    return FY_OK;
}

static void free_level(ts_level *l) {
    fy_free(l->outer.at);
    fy_free(l->formal.at);
    fy_map_free(&l->by);
}

static void undo(ts *r, int64_t mark) {
    while (r->undo.n > mark) {
        const ts_undo *u = &r->undo.at[--r->undo.n];
        if (u->obj) *u->obj = u->was;
        else if (u->frame && u->old) (void)fy_map_puts(&u->frame->vars, u->name, u->old);      /* there already: no memory is needed */
        else if (u->frame) (void)fy_map_del(&u->frame->vars, u->name, strlen(u->name));
    }
}

/* What was changed since the mark: variables of this frame, and containers. */
static fy_status collect(ts *r, side *s, int64_t mark) {
    for (int64_t i = mark; i < r->undo.n; i++) {
        const ts_undo *u = &r->undo.at[i];
        if (!u->obj && u->frame != r->frame) continue;
        bool seen = false;
        for (int64_t k = 0; k < s->at.n && !seen; k++) seen = u->obj ? s->at.at[k].obj == u->obj : s->at.at[k].name && !strcmp(s->at.at[k].name, u->name);
        if (seen) continue;
        FY_TRY(ts_step(r, 1 + s->at.n / 16));
        change c = {.name = u->obj ? NULL : u->name, .obj = u->obj};
        if (u->obj) c.now = *u->obj;
        else c.now.inner = fy_map_gets(&r->frame->vars, u->name);
        FY_PUSH(r->e, s->at, c);
    }
    return FY_OK;
}

static fy_status run_side(ts *r, side *s, const ts_stmt *body, const char *name) {
    int64_t mark = r->undo.n;
    FY_TRY(open_level(r, &s->lv, name));
    r->recording++;
    fy_status st = ts_block(r, body);
    if (!st && r->returned) st = ts_fail(r, FY_E_UNSUPPORTED, "the code returns inside of a branch that only the data decide");
    s->raised = r->raised;
    s->why = r->why;
    r->raised = false;
    if (!st && !s->raised) st = collect(r, s, mark);
    undo(r, mark);
    r->recording--;
    r->level = s->lv.up;
    return st;
}

static void free_side(side *s) {
    free_level(&s->lv);
    fy_free(s->at.at);
}

/* ---- joining two sides ---------------------------------------------------------------------------------------------------------------- */

typedef struct join { ts *r; side *a, *b; ts_value *cond; const side *empty; /* the side taken only where `zero` is 0, or NULL */ const fy_dim *zero; FY_VEC(fy_parg) left, right; FY_VEC(fy_pvalue *) out, number; /* of out: the number that it is, or NULL */ } join;

static fy_status lost(ts *r, ts_value **v, const char *why) {
    FY_TRY(ts_new(r, v, TV_LOST));
    (*v)->s = why;
    return FY_OK;
}

static fy_status arg_in(ts *r, ts_level *l, fy_parg *a, ts_value *x) {
    ts_level *now = r->level;
    r->level = l;
    *a = (fy_parg){.name = ""};
    fy_status s = ts_arg(r, a, x);
    r->level = now;
    return s;
}

static void typed_like(fy_pvalue *v, const fy_pvalue *a) {
    v->has_meta = a->has_meta;
    v->dtype = a->dtype;
    v->rank = a->rank;
    v->dim = a->dim;
}

static fy_status typed_either(const join *j, fy_pvalue *v, const fy_pvalue *a, const fy_pvalue *b) {
    typed_like(v, a);
    v->has_meta = a->has_meta && b->has_meta;
    if (!v->has_meta) return FY_OK;
    const fy_dim **dim = FY_NEWN(&j->r->p->arena, const fy_dim *, a->rank);
    TS_OOM(j->r, dim);
    for (int i = 0; i < a->rank; i++) {
        const fy_dim *p = a->dim[i], *q = b->dim[i];
        bool zero = j->empty && (j->empty == j->a ? q == j->zero && fy_dim_is(p, 0) : p == j->zero && fy_dim_is(q, 0));
        TS_OOM(j->r, dim[i] = p == q ? p : zero ? j->zero : fy_dim_opaque(j->r->p->dims, "either"));
    }
    v->dim = dim;
    return FY_OK;
}

static fy_status give(join *j, ts_value **v, const fy_parg *a, const fy_parg *b, fy_pvalue_kind kind) {
    ts *r = j->r;
    fy_pvalue *o, *k = NULL;
    FY_TRY(ts_fresh(r, &o, FY_PV_TENSOR));
    FY_TRY(typed_either(j, o, a->value, b->value));
    if (kind != FY_PV_TENSOR) {                              /* read from its tensor behind the node */
        FY_TRY(ts_fresh(r, &k, kind));
        if (kind == FY_PV_SYMINT) TS_OOM(r, k->sym = fy_dim_element(r->p->dims, "either", INT64_MIN, INT64_MAX));
        FY_TRY(ts_declare(r, k, NULL, NULL));
    }
    FY_PUSH(r->e, j->left, *a);
    FY_PUSH(r->e, j->right, *b);
    FY_PUSH(r->e, j->out, o);
    FY_PUSH(r->e, j->number, k);
    FY_TRY(ts_declare(r, o, NULL, NULL));
    return ts_tensor(r, v, k ? k : o);
}

static fy_status number_in(ts *r, ts_level *l, fy_parg *a, ts_value *x, fy_pvalue_kind kind) {
    ts_level *now = r->level;
    r->level = l;
    *a = (fy_parg){.name = ""};
    fy_status s = ts_number_tensor(r, &x, x, kind);
    if (!s) s = ts_arg(r, a, x);
    r->level = now;
    return s;
}

/* A value that nobody reads, where the other side has none. */
static fy_status filler(ts *r, ts_level *l, ts_value **v, const ts_value *like) {
    fy_pvalue *p = like->v;
    ts_level *now = r->level;
    r->level = l;
    fy_status s = FY_OK;
    if (like->kind == TV_TENSOR && p && p->has_meta) {
        int64_t dim[FY_MAX_RANK], zero[2] = {0, 0};
        for (int i = 0; i < p->rank; i++) dim[i] = 1;
        s = ts_const_tensor(r, v, p->dtype, p->rank, dim, zero);
    } else if (like->kind == TV_SYM) s = p->kind == FY_PV_SYMFLOAT ? ts_float(r, v, 0) : p->kind == FY_PV_SYMBOOL ? ts_bool(r, v, false) : ts_int(r, v, 0);
    else *v = (ts_value *)(uintptr_t)like;
    r->level = now;
    return s;
}

static bool is_float(const ts_value *v) { return v->kind == TV_FLOAT || (v->kind == TV_SYM && v->v->kind == FY_PV_SYMFLOAT); }
static bool is_bool(const ts_value *v) { return v->kind == TV_BOOL || (v->kind == TV_SYM && v->v->kind == FY_PV_SYMBOOL); }

static fy_status merge(join *j, ts_value **v, ts_value *a, ts_value *b, int depth);

static fy_status merge_items(join *j, ts_value *to, const ts_value *a, const ts_value *b, int depth) {
    for (int64_t i = 0; i < a->n; i++) {
        ts_value *x;
        FY_TRY(merge(j, &x, a->item[i], b->item[i], depth + 1));
        FY_TRY(ts_add(j->r, to, x));
        if (a->name && to->kind == TV_OBJECT) to->name[to->n - 1] = a->name[i];
    }
    if (a->name && to->kind == TV_TUPLE) to->name = a->name;
    to->cls = a->cls;
    return FY_OK;
}

/* The side that is taken only where a size is zero. */
static const side *empty_side(join *j) {
    static const struct { const char *op; int64_t than; bool then; } tests[] = {{"sym.gt", 0, false}, {"sym.ge", 1, false}, {"sym.ne", 0, false}, {"sym.eq", 0, true}, {"sym.lt", 1, true}, {"sym.le", 0, true}};
    const fy_pnode *n = j->cond->kind == TV_SYM ? j->cond->v->def : NULL;
    for (int i = 0; n && n->narg == 2 && i < FY_COUNT(tests); i++)
        if (!strcmp(n->op, tests[i].op) && n->arg[0].kind == FY_ARG_SYM && n->arg[0].sym.value && n->arg[1].kind == FY_ARG_INT && n->arg[1].i == tests[i].than) {
            j->zero = n->arg[0].sym.value->sym;
            return tests[i].then ? j->a : j->b;
        }
    return NULL;
}

/* What has no elements there, at the rank that it has on the other side; the run fails if it has any. */
static fy_status emptied(ts *r, ts_level *l, fy_parg *x, const fy_pvalue *like, bool *can) {
    ts_value *t, *sizes, *k;
    int64_t n;
    *can = false;
    FY_TRY(ts_new(r, &sizes, TV_LIST));
    for (int i = 0; i < like->rank; i++) {
        if (!fy_dim_known(like->dim[i], &n)) n = 0;
        *can = *can || !n;
        FY_TRY(ts_int(r, &k, n));
        FY_TRY(ts_add(r, sizes, k));
    }
    if (!*can) return FY_OK;
    ts_level *now = r->level;
    r->level = l;
    fy_status s = ts_tensor(r, &t, x->value);
    if (!s) s = ts_emit(r, &t, "aten.reshape", 2, (ts_value *[]){t, sizes}, NULL);
    if (!s) s = ts_arg(r, x, t);
    r->level = now;
    return s;
}

static fy_status merge_tensors(join *j, ts_value **v, ts_value *a, ts_value *b) {
    ts *r = j->r;
    fy_parg x, y;
    if (a->q || b->q) return lost(r, v, "it is quantised in an if that only the data decide");
    FY_TRY(arg_in(r, &j->a->lv, &x, a));
    FY_TRY(arg_in(r, &j->b->lv, &y, b));
    for (int64_t i = 0; i < j->a->lv.formal.n; i++)          /* the same value from outside on both sides */
        for (int64_t k = 0; j->a->lv.formal.at[i] == x.value && k < j->b->lv.formal.n; k++)
            if (j->b->lv.formal.at[k] == y.value && j->a->lv.outer.at[i] == j->b->lv.outer.at[k]) return ts_tensor(r, v, j->a->lv.outer.at[i]);
    if (x.value->has_meta && y.value->has_meta) {
        if (x.value->dtype != y.value->dtype) return lost(r, v, "its element type differs between the sides of an if that only the data decide");
        bool same = x.value->rank == y.value->rank;
        if (!same && j->empty) FY_TRY(emptied(r, j->empty == j->a ? &j->a->lv : &j->b->lv, j->empty == j->a ? &x : &y, j->empty == j->a ? y.value : x.value, &same));
        if (!same) return lost(r, v, "its rank differs between the sides of an if that only the data decide");
    }
    return give(j, v, &x, &y, FY_PV_TENSOR);
}

static fy_status merge(join *j, ts_value **v, ts_value *a, ts_value *b, int depth) {
    ts *r = j->r;
    bool known;
    *v = a;
    FY_TRY(ts_step(r, 1));
    if (depth > TS_NEST) return ts_fail(r, FY_E_LIMIT, "containers are nested deeper than %d", TS_NEST);
    if (a == b) return FY_OK;
    if (a->kind == TV_UNSET && b->kind == TV_UNSET) return FY_OK;
    if (a->kind == TV_UNSET) FY_TRY(filler(r, &j->a->lv, &a, b));
    if (b->kind == TV_UNSET) FY_TRY(filler(r, &j->b->lv, &b, a));
    if (a->kind == TV_LOST || b->kind == TV_LOST) { *v = a->kind == TV_LOST ? a : b; return FY_OK; }
    if (ts_is_tensor(a) && ts_is_tensor(b)) return merge_tensors(j, v, a, b);
    if (ts_is_number(a) && ts_is_number(b)) {
        if (ts_equal(a, b, &known, 0) && known && a->kind == b->kind) { *v = a; return FY_OK; }
        if (a->kind == TV_BOOL && b->kind == TV_BOOL) {      /* a flag that says which side was taken */
            if (a->i) { *v = j->cond; return FY_OK; }
            return ts_sym(r, v, "sym.sym_not", FY_PV_SYMBOOL, NULL, 1, &j->cond);
        }
        fy_pvalue_kind kind = is_float(a) || is_float(b) ? FY_PV_SYMFLOAT : is_bool(a) && is_bool(b) ? FY_PV_SYMBOOL : FY_PV_SYMINT;
        fy_parg x, y;
        FY_TRY(number_in(r, &j->a->lv, &x, a, kind));
        FY_TRY(number_in(r, &j->b->lv, &y, b, kind));
        return give(j, v, &x, &y, kind);
    }
    if (a->kind != b->kind) return lost(r, v, a->kind == TV_NONE || b->kind == TV_NONE ? "it is None on one side of an if that only the data decide" : "it is of another kind on either side of an if that only the data decide");
    if ((a->kind == TV_LIST || a->kind == TV_TUPLE || a->kind == TV_DICT) && a->n == b->n) {
        if (a->kind == TV_DICT)
            for (int64_t i = 0; i < a->n; i += 2)
                if (!ts_equal(a->item[i], b->item[i], &known, 0) || !known) return lost(r, v, "the keys of a dict differ between the sides of an if that only the data decide");
        FY_TRY(ts_new(r, v, a->kind));
        return merge_items(j, *v, a, b, depth);
    }
    if (a->kind == TV_STACK) {
        FY_TRY(ts_new(r, v, TV_STACK));
        return merge(j, &(*v)->inner, a->inner, b->inner, depth + 1);
    }
    if (ts_equal(a, b, &known, 0) && known) return FY_OK;
    return lost(r, v, a->kind == TV_LIST ? "a list has another length on either side of an if that only the data decide" : "it is another on either side of an if that only the data decide");
}

static const change *changed(const side *s, const change *c) {
    for (int64_t i = 0; i < s->at.n; i++)
        if (c->obj ? s->at.at[i].obj == c->obj : s->at.at[i].name && c->name && !strcmp(s->at.at[i].name, c->name)) return &s->at.at[i];
    return NULL;
}

static fy_status merge_change(join *j, const change *c) {
    ts *r = j->r;
    const change *x = changed(j->a, c), *y = changed(j->b, c);
    ts_value *now, *v;
    if (!c->obj) {
        now = fy_map_gets(&r->frame->vars, c->name);
        ts_value *a = x ? x->now.inner : now, *b = y ? y->now.inner : now;
        if (!a || !b) return FY_OK;                          /* a name of one side alone */
        FY_TRY(merge(j, &v, a, b, 0));
        return ts_set_var(r, r->frame, c->name, v);
    }
    const ts_value *a = x ? &x->now : c->obj, *b = y ? &y->now : c->obj;
    ts_value was = *c->obj;
    FY_TRY(ts_touch(r, c->obj));
    if (a->kind == b->kind && a->n == b->n && a->kind != TV_STACK && a->kind != TV_NUM && a->kind != TV_LOST) {
        ts_value fresh = {.kind = was.kind, .cls = was.cls, .s = was.s, .pk = was.pk, .born = was.born};
        FY_TRY(merge_items(j, &fresh, a, b, 0));
        *c->obj = fresh;
        return FY_OK;
    }
    if (a->kind == b->kind && (a->kind == TV_STACK || a->kind == TV_NUM) && a->inner && b->inner) {
        FY_TRY(merge(j, &v, a->inner, b->inner, 0));
        *c->obj = (ts_value){.kind = a->kind, .inner = v, .born = was.born};
        return FY_OK;
    }
    *c->obj = (ts_value){.kind = TV_LOST, .born = was.born, .s = "a list or object is changed differently on the sides of an if that only the data decide"};
    return FY_OK;
}

/* ---- the node --------------------------------------------------------------------------------------------------------------------------- */

/* Inputs of a graph: carried ones, then what it and the other read from outside, in one order. */
static fy_status inputs(ts *r, ts_level *l, int64_t ncarry, fy_pvalue *const *carry, int64_t nout, fy_pvalue *const *outer) {
    fy_parg *in = FY_NEWN(&r->p->arena, fy_parg, ncarry + nout);
    TS_OOM(r, in);
    for (int64_t i = 0; i < ncarry + nout; i++) {
        fy_pvalue *v = i < ncarry ? carry[i] : NULL;
        for (int64_t k = 0; !v && k < l->outer.n; k++)
            if (l->outer.at[k] == outer[i - ncarry]) v = l->formal.at[k];
        if (!v) {
            v = outer[i - ncarry];
            FY_TRY(ts_capture(r, l, &v));
        }
        in[i] = (fy_parg){.name = "", .kind = FY_ARG_TENSOR, .value = v};
    }
    l->g->in = in;
    l->g->nin = (int)(ncarry + nout);
    return FY_OK;
}

typedef FY_VEC(fy_pvalue *) pvalues;

static fy_status both(ts *r, pvalues *all, const ts_level *a, const ts_level *b) {
    fy_map seen = {0};
    fy_status s = FY_OK;
    for (int k = 0; k < 2; k++) {
        const ts_level *l = k ? b : a;
        for (int64_t i = 0; i < l->outer.n && !s; i++) {
            fy_pvalue **at = &l->outer.at[i];
            if (fy_map_has(&seen, (const char *)at, sizeof *at)) continue;
            if (!fy_map_put(&seen, (const char *)at, sizeof *at, *at) || !FY_RESERVE(*all, all->n + 1)) s = fy_nomem(r->e);
            else all->at[all->n++] = *at;
        }
    }
    fy_map_free(&seen);
    return s;
}

static fy_status list_arg(ts *r, fy_parg *a, const pvalues *v) {
    *a = (fy_parg){.name = "", .kind = FY_ARG_TENSORS, .n = v->n};
    TS_OOM(r, a->values = FY_NEWN(&r->p->arena, fy_pvalue *, v->n));
    for (int64_t i = 0; i < v->n; i++) a->values[i] = v->at[i];
    return FY_OK;
}

static fy_status make_node(ts *r, const char *op, int nhead, const fy_parg *head, const pvalues *outer, int64_t nout, fy_pvalue *const *out) {
    fy_pnode *n;
    ts_value *none[1] = {NULL};
    FY_TRY(ts_node(r, &n, op, 0, none, NULL));
    n->narg = nhead + 1;
    TS_OOM(r, n->arg = FY_NEWN(&r->p->arena, fy_parg, n->narg));
    for (int i = 0; i < nhead; i++) n->arg[i] = head[i];
    FY_TRY(list_arg(r, &n->arg[nhead], outer));
    n->nout = (int)nout;
    TS_OOM(r, n->out = FY_NEWN(&r->p->arena, fy_parg, nout));
    for (int64_t i = 0; i < nout; i++) {
        n->out[i] = (fy_parg){.name = "", .kind = FY_ARG_TENSOR, .value = out[i]};
        out[i]->def = n;
    }
    return FY_OK;
}

static fy_status keep_args(ts *r, fy_pgraph *g, int64_t n, const fy_parg *a) {
    g->out = fy_arena_copy(&r->p->arena, a, (size_t)n, sizeof *a);
    TS_OOM(r, g->out);
    g->nout = (int)n;
    return FY_OK;
}

/* May the graph write what it reads from outside? Operators that write have names that end in '_'. */
static bool may_write(const fy_pgraph *g) {
    for (const fy_pnode *n = g->first; n; n = n->next) {
        const char *dot = strrchr(n->op, '.');
        if ((dot && dot > n->op && dot[-1] == '_') || !strncmp(n->op, "hop.", 4)) return true;
    }
    return false;
}

static fy_status cond_node(join *j) {
    ts *r = j->r;
    if (!j->out.n && !may_write(j->a->lv.g) && !may_write(j->b->lv.g)) return FY_OK;
    pvalues outer = {0};
    fy_status s = keep_args(r, j->a->lv.g, j->left.n, j->left.at);
    if (!s) s = keep_args(r, j->b->lv.g, j->right.n, j->right.at);
    if (!s) s = both(r, &outer, &j->a->lv, &j->b->lv);
    if (!s) s = inputs(r, &j->a->lv, 0, NULL, outer.n, outer.at);
    if (!s) s = inputs(r, &j->b->lv, 0, NULL, outer.n, outer.at);
    fy_parg head[3] = {{.name = ""}, {.name = "", .kind = FY_ARG_GRAPH, .graph = j->a->lv.g}, {.name = "", .kind = FY_ARG_GRAPH, .graph = j->b->lv.g}};
    if (!s) s = ts_arg(r, &head[0], j->cond);
    if (!s) s = make_node(r, "hop.cond", 3, head, &outer, j->out.n, j->out.at);
    for (int64_t i = 0; i < j->out.n && !s; i++)
        if (j->number.at[i]) s = ts_item_into(r, j->number.at[i], j->out.at[i]);
    fy_free(outer.at);
    return s;
}

static fy_status join_sides(ts *r, side *a, side *b, ts_value *cond) {
    join j = {.r = r, .a = a, .b = b, .cond = cond};
    j.empty = empty_side(&j);
    fy_status s = FY_OK;
    for (int64_t i = 0; i < a->at.n && !s; i++) s = merge_change(&j, &a->at.at[i]);
    for (int64_t i = 0; i < b->at.n && !s; i++)
        if (!changed(a, &b->at.at[i])) s = merge_change(&j, &b->at.at[i]);
    if (!s) s = cond_node(&j);
    fy_free(j.left.at);
    fy_free(j.right.at);
    fy_free(j.out.at);
    fy_free(j.number.at);
    return s;
}

fy_status ts_branch(ts *r, const ts_stmt *s, ts_value *cond) {
    side a = {0}, b = {0};
    fy_status st = run_side(r, &a, s->body, "then");
    if (!st) st = run_side(r, &b, s->other, "else");
    if (!st && a.raised && b.raised) {
        r->raised = true;
        r->why = a.why;
    } else if (!st && (a.raised || b.raised)) {              /* a check of the code: left out, as export does */
        r->dropped++;
        st = ts_block(r, a.raised ? s->other : s->body);
    } else if (!st) st = join_sides(r, &a, &b, cond);
    free_side(&a);
    free_side(&b);
    return st;
}

/* ---- loops -------------------------------------------------------------------------------------------------------------------------------- */

/* One value that a round hands to the next, and the type it has in every round. */
typedef struct leaf { ts_value *init; fy_pvalue like; fy_pvalue_kind kind; /* of a number: it is carried as a tensor of no dimension */ } leaf;
typedef struct name_list { FY_VEC(const char *) at; } name_list;
typedef struct loop {
    ts *r;
    const ts_stmt *s;
    ts_value *count, *first, *index;     /* for: how often; the number of the first round, of any */
    name_list names;
    FY_VEC(leaf) leaf;
    FY_VEC(ts_value *) grown;            /* lists that a round appends to */
    int64_t next;                        /* leaf being visited */
    pvalues formal;                      /* of the level being filled */
    bool again, peel;
    uint32_t born;                       /* values of the round are younger */
} loop;

static fy_status note_name(loop *l, const char *name) {
    for (int64_t i = 0; i < l->names.at.n; i++)
        if (!strcmp(l->names.at.at[i], name)) return FY_OK;
    if (fy_map_gets(&l->r->frame->vars, name)) FY_PUSH(l->r->e, l->names.at, name);
    return FY_OK;
}

/* Names that the body sets and that were there before it. The tree is no deeper than the parser allows. */
static fy_status find_names(loop *l, const ts_stmt *s) {
    for (; s; s = s->next) {
        FY_TRY(ts_step(l->r, 1 + l->names.at.n / 16));
        for (int i = 0; i < s->ntarget && s->kind == TS_ASSIGN; i++)
            if (s->target[i]->kind == TS_NAME) FY_TRY(note_name(l, s->target[i]->s));
        FY_TRY(find_names(l, s->body));
        FY_TRY(find_names(l, s->other));
    }
    return FY_OK;
}

static fy_status new_leaf(loop *l, ts_value *init) {
    ts *r = l->r;
    leaf f = {.init = init};
    if (init->q) return ts_fail(r, FY_E_UNSUPPORTED, "a quantised tensor in a loop that only the data decide");
    if (ts_is_tensor(init)) {
        fy_pvalue *p;
        FY_TRY(ts_as_tensor(r, &f.init));
        FY_TRY(ts_pvalue(r, &p, f.init));
        f.like = *p;
        f.kind = FY_PV_TENSOR;
    } else f.kind = is_float(init) ? FY_PV_SYMFLOAT : is_bool(init) ? FY_PV_SYMBOOL : FY_PV_SYMINT;
    FY_PUSH(r->e, l->leaf, f);
    return FY_OK;
}

/* What stands for `init` at the start of every round: its tensors and numbers are inputs of the level. */
static fy_status enter_round(loop *l, ts_value **v, ts_value *init, int depth) {
    ts *r = l->r;
    if (depth > TS_NEST) return ts_fail(r, FY_E_LIMIT, "containers are nested deeper than %d", TS_NEST);
    *v = init;
    if (init->kind == TV_TUPLE || init->kind == TV_LIST) {
        FY_TRY(ts_new(r, v, init->kind));
        (*v)->cls = init->cls;
        for (int64_t i = 0; i < init->n; i++) {
            ts_value *x;
            FY_TRY(enter_round(l, &x, init->item[i], depth + 1));
            FY_TRY(ts_add(r, *v, x));
        }
        (*v)->name = init->name;
        return FY_OK;
    }
    if (init->kind == TV_STACK) {
        FY_TRY(ts_new(r, v, TV_STACK));
        return enter_round(l, &(*v)->inner, init->inner, depth + 1);
    }
    if (!ts_is_tensor(init) && !ts_is_number(init)) return FY_OK;
    if (l->next == l->leaf.n) {
        ts_level *now = r->level;
        r->level = now->up;
        fy_status s = new_leaf(l, init);
        r->level = now;
        FY_TRY(s);
    }
    const leaf *f = &l->leaf.at[l->next++];
    fy_pvalue *p;
    FY_TRY(ts_fresh(r, &p, FY_PV_TENSOR));
    if (f->kind == FY_PV_TENSOR) typed_like(p, &f->like);
    else {
        p->has_meta = true;
        p->dtype = f->kind == FY_PV_SYMFLOAT ? FERRY_DOUBLE : f->kind == FY_PV_SYMBOOL ? FERRY_BOOL : FERRY_INT64;
        TS_OOM(r, p->dim = FY_NEWN(&r->p->arena, const fy_dim *, 1));
    }
    FY_TRY(ts_declare(r, p, NULL, NULL));
    FY_PUSH(r->e, l->formal, p);
    FY_TRY(ts_tensor(r, v, p));
    return f->kind == FY_PV_TENSOR ? FY_OK : ts_item(r, v, *v, f->kind, init == l->first && init->kind == TV_INT ? init->i : INT64_MIN);
}

/* Sizes that are known to change are any. */
static bool same_dims(const fy_pvalue *a, const fy_pvalue *b) {
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i] && b->dim[i]->kind != FY_DIM_OPAQUE) return false;
    return true;
}

/* What a round leaves in the place of `init`; widens the leaf's type where a round changes it. */
static fy_status leave_round(loop *l, fy_parg **out, ts_value *init, ts_value *v, int depth) {
    ts *r = l->r;
    if (depth > TS_NEST) return ts_fail(r, FY_E_LIMIT, "containers are nested deeper than %d", TS_NEST);
    if (init->kind == TV_TUPLE || init->kind == TV_LIST) {
        if (v->kind != init->kind || v->n != init->n) return ts_fail(r, FY_E_UNSUPPORTED, "a list has another length after each round of a loop that only the data decide");
        for (int64_t i = 0; i < init->n; i++) FY_TRY(leave_round(l, out, init->item[i], v->item[i], depth + 1));
        return FY_OK;
    }
    if (init->kind == TV_STACK) {
        if (v->kind != TV_STACK) return ts_fail(r, FY_E_UNSUPPORTED, "a list is replaced in a loop that only the data decide");
        return leave_round(l, out, init->inner, v->inner, depth + 1);
    }
    if (!ts_is_tensor(init) && !ts_is_number(init)) {
        bool known;
        if (v == init || (ts_equal(v, init, &known, 0) && known) || init->kind == TV_UNSET) return FY_OK;
        if (init->kind == TV_NONE && l->s->kind == TS_FOR) { l->peel = true; return FY_OK; }
        return ts_fail(r, FY_E_UNSUPPORTED, "%s becomes %s in a loop that only the data decide", ts_kind_text(init), ts_kind_text(v));
    }
    leaf *f = &l->leaf.at[l->next++];
    if (ts_is_tensor(init) != ts_is_tensor(v) || (!ts_is_tensor(v) && !ts_is_number(v))) return ts_fail(r, FY_E_UNSUPPORTED, "%s becomes %s in a loop that only the data decide", ts_kind_text(init), ts_kind_text(v));
    fy_parg *a = (*out)++;
    *a = (fy_parg){.name = ""};
    if (f->kind != FY_PV_TENSOR) {
        if (f->kind == FY_PV_SYMINT && is_float(v)) { f->kind = FY_PV_SYMFLOAT; l->again = true; }
        FY_TRY(ts_number_tensor(r, &v, v, f->kind));
        return ts_arg(r, a, v);
    }
    FY_TRY(ts_arg(r, a, v));
    if (!a->value->has_meta || !f->like.has_meta) return FY_OK;
    if (a->value->dtype != f->like.dtype || a->value->rank != f->like.rank)
        return ts_fail(r, FY_E_UNSUPPORTED, "a tensor has another rank or element type after each round of a loop that only the data decide");
    if (same_dims(a->value, &f->like)) return FY_OK;
    const fy_dim **dim = FY_NEWN(&r->p->arena, const fy_dim *, f->like.rank);
    TS_OOM(r, dim);
    for (int i = 0; i < f->like.rank; i++) TS_OOM(r, dim[i] = a->value->dim[i] == f->like.dim[i] || f->like.dim[i]->kind == FY_DIM_OPAQUE ? f->like.dim[i] : fy_dim_opaque(r->p->dims, "round"));
    f->like.dim = dim;
    l->again = true;
    return FY_OK;
}

/* Lists that a round made longer, of those that were there before; objects may not change. */
static fy_status find_grown(loop *l, int64_t mark) {
    ts *r = l->r;
    for (int64_t i = mark; i < r->undo.n; i++) {
        const ts_undo *u = &r->undo.at[i];
        if (!u->obj) continue;
        bool first = true;
        for (int64_t k = mark; k < i && first; k++) first = r->undo.at[k].obj != u->obj;
        if (!first) continue;
        FY_TRY(ts_step(r, 1 + (i - mark) / 16));
        if (u->was.kind == TV_STACK || u->obj->born >= l->born) continue;    /* made in the round: its own business */
        if (u->was.kind != TV_LIST || u->obj->n <= u->was.n || !ts_is_tensor(u->obj->item[u->obj->n - 1]))
            return ts_fail(r, FY_E_UNSUPPORTED, "a list or object is changed in a loop that only the data decide, in another way than by appending tensors");
        if (!u->was.n) { l->peel = true; continue; }         /* the first round says what it holds */
        bool have = false;
        for (int64_t k = 0; k < l->grown.n; k++) have = have || l->grown.at[k] == u->obj;
        if (have) continue;
        FY_PUSH(r->e, l->grown, u->obj);
        l->leaf.n = 0;                                       /* the order changes */
        l->again = true;
    }
    return FY_OK;
}

/* Names and lists as a round finds them. */
static fy_status enter_all(loop *l, ts_value *const *stack) {
    ts *r = l->r;
    ts_value *v;
    l->next = 0;
    l->formal.n = 0;
    if (l->count) {
        FY_TRY(enter_round(l, &l->index, l->first, 0));
        FY_TRY(ts_set_var(r, r->frame, l->s->target[0]->s, l->index));
    }
    for (int64_t i = 0; i < l->grown.n; i++) {
        FY_TRY(enter_round(l, &v, stack[i], 0));
        FY_TRY(ts_touch(r, l->grown.at[i]));
        *l->grown.at[i] = (ts_value){.kind = TV_STACK, .inner = v, .born = l->grown.at[i]->born};
    }
    for (int64_t i = 0; i < l->names.at.n; i++) {
        ts_value *init = fy_map_gets(&r->frame->vars, l->names.at.at[i]);
        bool list = false;
        for (int64_t k = 0; k < l->grown.n; k++) list = list || l->grown.at[k] == init;
        if (list || !init) continue;
        FY_TRY(enter_round(l, &v, init, 0));
        FY_TRY(ts_set_var(r, r->frame, l->names.at.at[i], v));
    }
    return FY_OK;
}

static fy_status leave_all(loop *l, ts_value *const *stack, ts_value *const *init, fy_parg *out, int64_t *nout) {
    ts *r = l->r;
    fy_parg *end = out;
    ts_value *v, one = {.kind = TV_INT, .i = 1};
    l->next = 0;
    if (l->count) {
        FY_TRY(ts_arith(r, &v, "add", l->index, &one));
        FY_TRY(leave_round(l, &end, l->first, v, 0));
    }
    for (int64_t i = 0; i < l->grown.n; i++) FY_TRY(leave_round(l, &end, stack[i], l->grown.at[i]->kind == TV_STACK ? l->grown.at[i]->inner : l->grown.at[i], 0));
    for (int64_t i = 0; i < l->names.at.n; i++)
        if (init[i]) FY_TRY(leave_round(l, &end, init[i], fy_map_gets(&r->frame->vars, l->names.at.at[i]), 0));
    *nout = end - out;
    return FY_OK;
}

/* The same lists stacked, outside of the loop. */
static fy_status stacks(loop *l, ts_value **stack) {
    ts_value zero = {.kind = TV_INT};
    for (int64_t i = 0; i < l->grown.n; i++) {
        ts_value *list = l->grown.at[i];
        if (list->kind == TV_STACK) stack[i] = list->inner;
        else FY_TRY(ts_emit(l->r, &stack[i], "aten.stack", 2, (ts_value *[]){list, &zero}, NULL));
    }
    return FY_OK;
}

static fy_status initial(loop *l, ts_value **init) {
    for (int64_t i = 0; i < l->names.at.n; i++) {
        init[i] = fy_map_gets(&l->r->frame->vars, l->names.at.at[i]);
        for (int64_t k = 0; k < l->grown.n; k++)
            if (l->grown.at[k] == init[i]) init[i] = NULL;
    }
    return FY_OK;
}

/* After the loop: the node's outputs under the names. */
static fy_status results(loop *l, ts_value **v, ts_value *init, fy_pvalue **out, int depth) {
    ts *r = l->r;
    *v = init;
    if (depth > TS_NEST) return ts_fail(r, FY_E_LIMIT, "containers are nested deeper than %d", TS_NEST);
    if (init->kind == TV_TUPLE || init->kind == TV_LIST) {
        FY_TRY(ts_new(r, v, init->kind));
        (*v)->cls = init->cls;
        for (int64_t i = 0; i < init->n; i++) {
            ts_value *x;
            FY_TRY(results(l, &x, init->item[i], out, depth + 1));
            FY_TRY(ts_add(r, *v, x));
        }
        (*v)->name = init->name;
        return FY_OK;
    }
    if (init->kind == TV_STACK) {
        FY_TRY(ts_new(r, v, TV_STACK));
        return results(l, &(*v)->inner, init->inner, out, depth + 1);
    }
    if (!ts_is_tensor(init) && !ts_is_number(init)) return FY_OK;
    const leaf *f = &l->leaf.at[l->next];
    FY_TRY(ts_tensor(r, v, out[l->next++]));
    return f->kind == FY_PV_TENSOR ? FY_OK : ts_item(r, v, *v, f->kind, INT64_MIN);
}

static fy_status condition(loop *l, ts_value *const *stack, ts_level *c, fy_parg *out, pvalues *carry) {
    ts *r = l->r;
    int64_t mark = r->undo.n;
    ts_value *v = NULL;
    FY_TRY(open_level(r, c, "while"));
    r->recording++;
    fy_status s = enter_all(l, stack);
    if (!s) {
        if (l->count) {
            s = ts_sym(r, &v, "sym.lt", FY_PV_SYMBOOL, NULL, 2, (ts_value *[]){l->index, l->count});
        } else {
            s = ts_eval(r, &v, l->s->value);
            if (!s) s = ts_convert(r, &v, "bool", v);
        }
    }
    *out = (fy_parg){.name = ""};
    if (!s) s = ts_arg(r, out, v);
    for (int64_t i = 0; i < l->formal.n && !s; i++) {
        if (!FY_RESERVE(*carry, carry->n + 1)) s = fy_nomem(r->e);
        else carry->at[carry->n++] = l->formal.at[i];
    }
    undo(r, mark);
    r->recording--;
    r->level = c->up;
    return s;
}

static fy_status loop_node(loop *l, ts_level *body, ts_value *const *stack, ts_value *const *init, int64_t nout, const fy_parg *outs, const pvalues *carry) {
    ts *r = l->r;
    ts_level cond = {0};
    pvalues test = {0}, outer = {0}, state = {0};
    fy_parg more, head[3] = {{.name = ""}};
    fy_pvalue **out = FY_NEWN(&r->tmp, fy_pvalue *, nout + 1);
    fy_status s = out ? condition(l, stack, &cond, &more, &test) : fy_nomem(r->e);
    if (!s) s = keep_args(r, cond.g, 1, &more);
    if (!s) s = keep_args(r, body->g, nout, outs);
    if (!s) s = both(r, &outer, &cond, body);
    if (!s) s = inputs(r, &cond, test.n, test.at, outer.n, outer.at);
    if (!s) s = inputs(r, body, carry->n, carry->at, outer.n, outer.at);
    if (!s) {
        head[0] = (fy_parg){.name = "", .kind = FY_ARG_GRAPH, .graph = cond.g};
        head[1] = (fy_parg){.name = "", .kind = FY_ARG_GRAPH, .graph = body->g};
        for (int64_t i = 0; i < nout && !s; i++) {
            const leaf *f = &l->leaf.at[i];
            ts_value *x = f->init;
            fy_parg in = {.name = ""};
            if (f->kind != FY_PV_TENSOR) s = ts_number_tensor(r, &x, x, f->kind);
            if (!s) s = ts_arg(r, &in, x);
            if (!s && !FY_RESERVE(state, state.n + 1)) s = fy_nomem(r->e);
            if (!s) state.at[state.n++] = in.value;
            if (!s) s = ts_fresh(r, &out[i], FY_PV_TENSOR);
            if (!s) typed_like(out[i], f->kind == FY_PV_TENSOR ? &f->like : carry->at[i]);
            if (!s && out[i]->has_meta) {                    /* sizes that rounds change are others at the end */
                const fy_dim **dim = FY_NEWN(&r->p->arena, const fy_dim *, out[i]->rank);
                if (!dim) s = fy_nomem(r->e);
                for (int k = 0; k < out[i]->rank && !s; k++) {
                    dim[k] = out[i]->dim[k]->kind == FY_DIM_OPAQUE ? fy_dim_opaque(r->p->dims, "last") : out[i]->dim[k];
                    if (!dim[k]) s = fy_nomem(r->e);
                }
                out[i]->dim = dim;
            }
            if (!s) s = ts_declare(r, out[i], NULL, NULL);
        }
        if (!s) s = list_arg(r, &head[2], &state);
    }
    if (!s) s = make_node(r, "hop.while_loop", 3, head, &outer, nout, out);
    l->next = l->count ? 1 : 0;
    for (int64_t i = 0; i < l->grown.n && !s; i++) {
        ts_value *v;
        s = results(l, &v, stack[i], out, 0);
        if (!s) s = ts_touch(r, l->grown.at[i]);
        if (!s) *l->grown.at[i] = (ts_value){.kind = TV_STACK, .inner = v, .born = l->grown.at[i]->born};
    }
    for (int64_t i = 0; i < l->names.at.n && !s; i++) {
        ts_value *v;
        if (!init[i]) continue;
        s = results(l, &v, init[i], out, 0);
        if (!s) s = ts_set_var(r, r->frame, l->names.at.at[i], v);
    }
    free_level(&cond);
    fy_free(state.at);
    fy_free(test.at);
    fy_free(outer.at);
    return s;
}

/* One try at a round: *good if its types are those that it started with. */
static fy_status try_round(loop *l, bool *good) {
    ts *r = l->r;
    int64_t mark = r->undo.n, nout = 0;
    ts_level body = {0};
    ts_value **stack = FY_NEWN(&r->tmp, ts_value *, l->grown.n + 1), **init = FY_NEWN(&r->tmp, ts_value *, l->names.at.n + 1);
    TS_OOM(r, stack);
    TS_OOM(r, init);
    l->again = l->peel = false;
    FY_TRY(stacks(l, stack));
    FY_TRY(initial(l, init));
    FY_TRY(open_level(r, &body, "body"));
    r->recording++;
    mark = r->undo.n;
    pvalues carry = {0};
    fy_parg *out = NULL;
    fy_status s = enter_all(l, stack);
    for (int64_t i = 0; i < l->formal.n && !s; i++) {
        if (!FY_RESERVE(carry, carry.n + 1)) s = fy_nomem(r->e);
        else carry.at[carry.n++] = l->formal.at[i];
    }
    int64_t inside = r->undo.n;
    l->born = r->born;
    if (!s) s = ts_block(r, l->s->body);
    if (!s && (r->raised || r->returned)) s = ts_fail(r, FY_E_UNSUPPORTED, "a loop that only the data decide is left by an exception or a return");
    if (!s) s = find_grown(l, inside);
    if (!s && !l->again && !l->peel) {
        out = FY_NEWN(&r->p->arena, fy_parg, l->leaf.n + 1);
        for (int64_t i = 0; i < carry.n; i++) l->formal.at[i] = carry.at[i];
        s = out ? leave_all(l, stack, init, out, &nout) : fy_nomem(r->e);
    }
    undo(r, mark);
    r->recording--;
    r->level = body.up;
    *good = !s && !l->again && !l->peel;
    if (*good) s = loop_node(l, &body, stack, init, nout, out, &carry);
    free_level(&body);
    fy_free(carry.at);
    return s;
}

/* The first round written out, where there is one for certain. */
static fy_status first_round(loop *l) {
    ts *r = l->r;
    const fy_dim *n = l->count && l->count->kind == TV_SYM ? l->count->v->sym : NULL;
    if (!n || !fy_dim_ge(n, 1) || l->first->i) {
        return ts_fail(r, FY_E_UNSUPPORTED, "a list that is empty or a value that is None before a loop of perhaps no round");
    }
    FY_TRY(ts_set_var(r, r->frame, l->s->target[0]->s, l->first));
    FY_TRY(ts_block(r, l->s->body));
    l->leaf.n = 0;
    return ts_int(r, &l->first, 1);
}

fy_status ts_loop(ts *r, const ts_stmt *s, ts_value *count) {
    loop l = {.r = r, .s = s, .count = count};
    fy_status st = find_names(&l, s->body);
    if (!st && count && !ts_is_number(count)) st = ts_fail(r, FY_E_TYPE, "a loop of %s rounds", ts_kind_text(count));
    if (!st) st = ts_int(r, &l.first, 0);
    bool good = false;
    for (int k = 0; k < TRIES && !st && !good; k++) {
        st = try_round(&l, &good);
        if (!st && !good && l.peel) st = first_round(&l);
    }
    if (!st && !good) st = ts_fail(r, FY_E_UNSUPPORTED, "a loop that only the data decide changes the types of its values in every round");
    fy_free(l.names.at.at);
    fy_free(l.leaf.at);
    fy_free(l.grown.at);
    fy_free(l.formal.at);
    return st;
}
