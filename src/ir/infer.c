/* SPDX-License-Identifier: Apache-2.0
 * infer.c - what an operator's inference reads and writes, broadcasting, and inference of one node into the graph. */
#include "ir/op.h"

#include "base/checked.h"

#include <string.h>

/* ---- readers ------------------------------------------------------------------------------------------------------- */

static const fy_fact nothing = { .type = { .rank = -1 } };
static const fy_fact *fact(const fy_infer *f, int i) { return i >= 0 && i < f->nin ? &f->in[i] : &nothing; }

bool fy_in_has(const fy_infer *f, int i) { return i >= 0 && i < f->nin && i < f->node->nin && f->node->in[i].value; }
fy_dtype fy_in_dtype(const fy_infer *f, int i) { return fact(f, i)->type.kind == FY_TENSOR ? fact(f, i)->type.dtype : FERRY_UNDEFINED; }
int fy_in_rank(const fy_infer *f, int i) { return fact(f, i)->type.kind == FY_TENSOR ? fact(f, i)->type.rank : -1; }

const fy_dim *const *fy_in_dims(const fy_infer *f, int i) {
    static const fy_dim *const none[1];
    int rank = fy_in_rank(f, i);
    return rank < 0 ? NULL : rank == 0 ? none : fact(f, i)->type.dim;
}

const fy_dim *fy_in_dim(const fy_infer *f, int i, int axis) {
    int rank = fy_in_rank(f, i);
    if (axis < 0) axis += rank;
    return rank < 0 || axis < 0 || axis >= rank ? NULL : fact(f, i)->type.dim[axis];
}

static bool integral(fy_dtype t) { return fy_dtype_int(t) || t == FERRY_BOOL; }

/* Elements of a small integer tensor as dims, in `a`; NULL: not small, not integers, or out of memory. */
static const fy_dim *const *elems_of(fy_dims *p, fy_arena *a, const fy_const *c, const fy_tensor *t, int64_t *n, bool *oom) {
    fy_dtype type = t ? t->dtype : c->dtype;
    int64_t count = t ? fy_count(t) : c->count, v;
    if (!integral(type) || count > FY_MAX_ELEM) return NULL;
    const fy_dim **d = FY_NEWN(a, const fy_dim *, count);
    for (int64_t i = 0; d && i < count; i++) {
        if (t) v = fy_get_i64(t, i);
        else if (!fy_const_i64(c, i, &v)) return NULL;
        if (!(d[i] = fy_dim_const(p, v))) d = NULL;
    }
    if (!d && oom) *oom = true;
    *n = d ? count : 0;
    return d;
}

const fy_dim *const *fy_in_elems(const fy_infer *f, int i, int64_t *n) {
    const fy_fact *x = fact(f, i);
    *n = 0;
    if (x->elem) {
        *n = x->nelem;
        return x->elem;
    }
    if (x->data) return elems_of(f->dims, f->arena, NULL, x->data, n, f->oom);
    return x->constant ? elems_of(f->dims, f->arena, x->constant, NULL, n, f->oom) : NULL;
}

bool fy_in_ints(const fy_infer *f, int i, int64_t *dst, int64_t max, int64_t *n) {
    const fy_fact *x = fact(f, i);
    if (x->elem) {
        if (x->nelem > max) return false;
        for (int64_t k = 0; k < x->nelem; k++)
            if (!fy_dim_known(x->elem[k], &dst[k])) return false;
        *n = x->nelem;
        return true;
    }
    fy_dtype t = x->data ? x->data->dtype : x->constant ? x->constant->dtype : FERRY_UNDEFINED;
    int64_t count = x->data ? fy_count(x->data) : x->constant ? x->constant->count : 0;
    if (!integral(t) || count > max) return false;
    if (x->data) fy_load_i64(dst, x->data, 0, count);
    for (int64_t k = 0; !x->data && k < count; k++)
        if (!fy_const_i64(x->constant, k, &dst[k])) return false;
    *n = count;
    return true;
}

/* The attribute of a Constant node that holds what v is; NULL: v is not made by one. */
static const fy_attr *of_constant(const fy_value *v) {
    const fy_node *n = v ? v->def : NULL;
    return n && n->nattr == 1 && n->nin == 0 && !*n->op->domain && !strcmp(n->op->name, "Constant") && !n->attr->ref ? n->attr : NULL;
}

bool fy_in_f64(const fy_infer *f, int i, int64_t k, double *v) {
    const fy_fact *x = fact(f, i);
    if (k < 0) return false;
    const fy_attr *a = !x->data && !x->constant && fy_in_has(f, i) ? of_constant(f->node->in[i].value) : NULL;
    if (a && a->kind == FY_ATTR_FLOAT && k == 0) {
        *v = a->f;
        return true;
    }
    if (a && a->kind == FY_ATTR_FLOATS && k < a->n) {
        *v = a->floats[k];
        return true;
    }
    if (x->data) {
        if (k >= fy_count(x->data) || x->data->dtype == FERRY_STRING) return false;
        *v = fy_get_f64(x->data, k);
        return true;
    }
    return x->constant && fy_const_f64(x->constant, k, v);
}

fy_status fy_axis(int *axis, int64_t given, int rank, ferry_error *e) {
    FY_NEED(e, given >= -(int64_t)rank && given < rank, AXIS, "axis %lld is outside rank %d", (long long)given, rank);
    *axis = (int)(given < 0 ? given + rank : given);
    return FY_OK;
}

static void learn(const fy_graph *g, const fy_dim *a, const fy_dim *b) {
    if (!a || !b || a == b || (a->kind != FY_DIM_OPAQUE && b->kind != FY_DIM_OPAQUE) || g != g->model->graph || a->varies || b->varies) return;
    (void)fy_dim_equate(g->model->dims, a, b);               /* a contradiction shows when the node runs, if it does */
}

/* Does the node run in every run, and is this inference before a run? */
static bool always(const fy_infer *f) { return f->node->graph == f->node->graph->model->graph && f->dims == f->node->graph->model->dims; }

void fy_in_equal(const fy_infer *f, const fy_dim *a, const fy_dim *b) {
    if (f->dims == f->node->graph->model->dims) learn(f->node->graph, a, b);     /* not at run time: other dims */
}

/* ---- writers ------------------------------------------------------------------------------------------------------- */

/* What is a size in every run is not negative in any; an unknown element in it, alone or with a constant added, is as large as that takes. */
static void not_negative(const fy_infer *f, const fy_dim *d) {
    const fy_dim *x = d->kind == FY_DIM_SUM && d->nargs == 1 ? d->arg[0] : d;
    int64_t least = d == x ? 0 : d->value > -INT64_MAX ? -d->value : INT64_MAX;
    if (!always(f)) return;
    fy_dim_least(f->dims, d, 0);
    if (x->kind == FY_DIM_OPAQUE && !x->varies) fy_dim_least(f->dims, x, least);
}

fy_status fy_out_set(fy_infer *f, int i, fy_dtype t, int rank, const fy_dim *const *dim) {
    if (i >= f->nout) return FY_OK;
    FY_NEED(f->e, rank <= FY_MAX_RANK, LIMIT, "output %d would have rank %d; most is %d", i, rank, FY_MAX_RANK);
    fy_type *o = &f->out[i].type;
    *o = (fy_type){ .kind = FY_TENSOR, .dtype = t, .rank = rank < 0 ? -1 : rank };
    if (rank <= 0) return FY_OK;
    for (int k = 0; k < rank; k++) {
        FY_NOMEM(f->e, dim[k]);
        FY_NEED(f->e, dim[k]->hi >= 0, SHAPE, "output %d would have a negative size on axis %d", i, k);
        if (dim[k]->lo < 0) not_negative(f, dim[k]);
    }
    o->dim = fy_arena_copy(f->arena, dim, (size_t)rank, sizeof *dim);
    FY_NOMEM(f->e, o->dim);
    return FY_OK;
}

fy_status fy_out_like(fy_infer *f, int i, int in) {
    if (i >= f->nout) return FY_OK;
    const fy_type *t = &fact(f, in)->type;
    if (t->kind == FY_TENSOR) return fy_out_set(f, i, t->dtype, t->rank, t->dim);
    f->out[i].type = *t;
    return FY_OK;
}

fy_status fy_out_elems(fy_infer *f, int i, int64_t n, const fy_dim *const *elem) {
    if (i >= f->nout || !elem || n > FY_MAX_ELEM) return FY_OK;
    for (int64_t k = 0; k < n; k++) FY_NOMEM(f->e, elem[k]);
    f->out[i].elem = fy_arena_copy(f->arena, elem, (size_t)n, sizeof *elem);
    FY_NOMEM(f->e, f->out[i].elem);
    f->out[i].nelem = n;
    return FY_OK;
}

/* Is b min(a, c) with c >= 2? Beside a it is a or, where it is 1, so is a: what is cut to a table's length, beside what it was cut from. */
static bool within(const fy_dim *a, const fy_dim *b) {
    return b->kind == FY_DIM_MIN && ((b->arg[0] == a && fy_dim_ge(b->arg[1], 2)) || (b->arg[1] == a && fy_dim_ge(b->arg[0], 2)));
}

const fy_dim *fy_meet(fy_infer *f, const fy_dim *a, const fy_dim *b, bool *bad) {
    int64_t x, y;
    if (a == b || fy_dim_is(b, 1)) return a;
    if (fy_dim_is(a, 1)) return b;
    bool ka = fy_dim_known(a, &x), kb = fy_dim_known(b, &y);
    if (ka && kb) {
        *bad = true;
        return NULL;
    }
    if (ka) return a;                    /* a symbol beside a constant that is not 1 is that constant, or 1 */
    if (kb) return b;
    if (within(a, b)) return a;
    if (within(b, a)) return b;
    if (fy_dim_ge(a, 2)) return a;
    if (fy_dim_ge(b, 2)) return b;
    if (fy_dim_ge(a, 1) && fy_dim_ge(b, 1)) return fy_dim_max(f->dims, a, b);    /* one of them is 1, or they are equal */
    return fy_dim_either(f->dims, a, b);
}

fy_status fy_broadcast(fy_infer *f, int n, const int *inputs, int *rank, const fy_dim **dim) {
    *rank = 0;
    for (int i = 0; i < n; i++) {
        int r = fy_in_rank(f, inputs[i]);
        if (r < 0) {
            *rank = -1;
            return FY_OK;
        }
        FY_NEED(f->e, r <= FY_MAX_RANK, LIMIT, "input %d has rank %d; most is %d", inputs[i], r, FY_MAX_RANK);
        if (r > *rank) *rank = r;
    }
    for (int k = 0; k < *rank; k++) {
        const fy_dim *d = NULL;
        int from = 0;
        for (int i = 0; i < n; i++) {
            int r = fy_in_rank(f, inputs[i]), axis = k - (*rank - r);
            if (axis < 0) continue;
            const fy_dim *x = fy_in_dims(f, inputs[i])[axis];
            bool bad = false;
            if (!d) from = inputs[i];
            d = d ? fy_meet(f, d, x, &bad) : x;
            if (bad) {
                fy_buf b = { 0 };
                fy_type_print(&b, &f->in[from].type);
                fy_buf_str(&b, " and ");
                fy_type_print(&b, &f->in[inputs[i]].type);
                fy_status s = fy_fail(f->e, FY_E_SHAPE, "%.300s cannot be broadcast together", b.oom || !b.at ? "shapes" : b.at);
                fy_buf_free(&b);
                return s;
            }
            FY_NOMEM(f->e, d);
        }
        dim[k] = d;
    }
    return FY_OK;
}

/* ---- arity, attributes, dtypes against the operator's table ---------------------------------------------------------- */

static fy_status check_attrs(const fy_node *n, ferry_error *e) {
    for (const fy_attr_spec *s = n->op->attrs; s && s->name; s++) {
        const fy_attr *a = fy_attr_get(n, s->name);
        FY_NEED(e, a || !s->def || strcmp(s->def, FY_REQUIRED) != 0, ATTR, "%s needs attribute %s", n->op->name, s->name);
        FY_NEED(e, !a || a->ref || a->kind == s->kind || s->kind == FY_ATTR_NONE, ATTR, "attribute %s of %s has kind %d instead of %d", s->name,
                n->op->name, (int)a->kind, (int)s->kind);
    }
    return FY_OK;
}

static fy_status check_arity(const fy_node *n, ferry_error *e) {
    const fy_op *op = n->op;
    FY_NEED(e, n->nin >= op->min_in && (op->max_in < 0 || n->nin <= op->max_in), GRAPH, "%s has %d inputs", op->name, n->nin);
    FY_NEED(e, n->nout >= op->min_out && (op->max_out < 0 || n->nout <= op->max_out), GRAPH, "%s has %d outputs", op->name, n->nout);
    for (int i = 0; i < op->min_in; i++) FY_NEED(e, n->in[i].value, GRAPH, "input %d of %s is left out", i, op->name);
    return FY_OK;
}

typedef struct bound { const char *var; size_t n; fy_dtype t; } bound;
typedef struct types { const char *defs, *defs_end; bound var[8]; int nvar; } types;

/* Is dtype `t` in the comma-separated list at s? */
static bool listed(const char *s, const char *end, fy_dtype t) {
    while (s < end) {
        const char *c = memchr(s, ',', (size_t)(end - s)), *stop = c ? c : end;
        if ((stop - s == 1 && *s == '*') || fy_dtype_find(s, (size_t)(stop - s)) == t) return true;
        s = c ? c + 1 : end;
    }
    return false;
}

/* The definition of variable `name`: its list. */
static const char *define(const types *g, const char *name, size_t n, const char **end) {
    for (const char *s = g->defs; s < g->defs_end;) {
        const char *semi = memchr(s, ';', (size_t)(g->defs_end - s)), *stop = semi ? semi : g->defs_end, *eq = memchr(s, '=', (size_t)(stop - s));
        if (eq && (size_t)(eq - s) == n && memcmp(s, name, n) == 0) {
            *end = stop;
            return eq + 1;
        }
        s = semi ? semi + 1 : g->defs_end;
    }
    return NULL;
}

static fy_status check_one(types *g, const fy_node *n, bool output, int i, const char *entry, size_t len, fy_dtype t, ferry_error *e) {
    const char *side = output ? "output" : "input", *end, *list;
    if (len && entry[len - 1] == '?') len--;
    if ((len == 1 && *entry == '*') || !t) return FY_OK;
    list = define(g, entry, len, &end);
    if (!list) {
        FY_NEED(e, fy_dtype_find(entry, len) == t, TYPE, "%s %d of %s is %s instead of %.*s", side, i, n->op->name, fy_dtype_name(t), (int)len, entry);
        return FY_OK;
    }
    for (int k = 0; k < g->nvar; k++)
        if (g->var[k].n == len && memcmp(g->var[k].var, entry, len) == 0) {
            FY_NEED(e, g->var[k].t == t, TYPE, "%s %d of %s is %s where %s is expected", side, i, n->op->name, fy_dtype_name(t), fy_dtype_name(g->var[k].t));
            return FY_OK;
        }
    FY_NEED(e, listed(list, end, t), TYPE, "%s %d of %s is %s; allowed: %.*s", side, i, n->op->name, fy_dtype_name(t), (int)(end - list > 200 ? 200 : end - list), list);
    if (g->nvar < FY_COUNT(g->var)) g->var[g->nvar++] = (bound){ entry, len, t };
    return FY_OK;
}

/* One side of the grammar ("T,U,...") against n dtypes. */
static fy_status check_side(types *g, const fy_node *node, bool output, const char *s, const char *end, int n, const fy_fact *x, ferry_error *e) {
    const char *entry = NULL;
    size_t len = 0;
    for (int i = 0; i < n; i++) {
        if (s < end) {
            const char *c = memchr(s, ',', (size_t)(end - s)), *stop = c ? c : end;
            if (!(stop - s == 3 && memcmp(s, "...", 3) == 0)) {
                entry = s;
                len = (size_t)(stop - s);
                s = c ? c + 1 : end;
            }
        } else entry = NULL;
        if (entry && x[i].type.kind == FY_TENSOR) FY_TRY(check_one(g, node, output, i, entry, len, x[i].type.dtype, e));
    }
    return FY_OK;
}

/* Inputs, then (with out) outputs. */
static fy_status check_types(const fy_node *n, int nin, const fy_fact *in, int nout, const fy_fact *out, ferry_error *e) {
    const char *t = n->op->types, *bar = t ? strchr(t, '|') : NULL;
    if (!bar) return FY_OK;
    types g = { .defs = t, .defs_end = bar };
    const char *second = strchr(bar + 1, '|'), *end = t + strlen(t);
    FY_TRY(check_side(&g, n, false, bar + 1, second ? second : end, nin, in, e));
    if (!second || !out) return FY_OK;
    return check_side(&g, n, true, second + 1, end, nout, out, e);
}

/* ---- merging into the graph ------------------------------------------------------------------------------------------ */

/* Which of two accounts of one size of v to keep: a constant, else what was derived now, else what was recorded, and a fresh
 * unknown last, unless what was recorded is a name that another value has already. */
static const fy_dim *better(const fy_value *v, const fy_dim *was, const fy_dim *now) {
    if (!was || was == now) return now;
    if (was->kind == FY_DIM_CONST) return was;
    if (v->graph != v->graph->model->graph && !(was->kind == FY_DIM_SYM && was->given)) return now;      /* in bodies nothing is equated */
    return now->kind == FY_DIM_OPAQUE && fy_dim_claim(v->graph->model->dims, was, v->id + 1) ? was : now;
}

static bool clash(const fy_dim *a, const fy_dim *b) {
    return a->kind == FY_DIM_CONST && b->kind == FY_DIM_CONST && a != b;
}

static fy_type *copy_chain(fy_arena *a, const fy_type *t) {
    fy_type *head = NULL, **at = &head;
    for (; t; t = t->elem) {
        fy_type *c = fy_arena_copy(a, t, 1, sizeof *t);
        if (!c || (t->rank > 0 && t->dim && !(c->dim = fy_arena_copy(a, t->dim, (size_t)t->rank, sizeof *t->dim)))) return NULL;
        *at = c;
        if (!t->elem) break;
        at = (fy_type **)(uintptr_t)&c->elem;            /* our own copy, not shared yet */
    }
    return head;
}

static fy_status contradiction(const fy_value *v, const fy_type *now, fy_code code, ferry_error *e) {
    fy_buf b = { 0 };
    fy_type_print(&b, &v->type);
    fy_buf_str(&b, " but is ");
    fy_type_print(&b, now);
    fy_status s = fy_fail(e, code, "output %d \"%.80s\" is declared as %.300s", v->def_slot, v->name ? v->name : "", b.oom || !b.at ? "another type" : b.at);
    fy_buf_free(&b);
    return s;
}

static fy_status merge(fy_model *m, fy_value *v, const fy_fact *now, ferry_error *e) {
    const fy_type *t = &now->type;
    if (t->kind == FY_NOTYPE) return FY_OK;
    fy_type *was = &v->type;
    if (was->kind != FY_NOTYPE && was->kind != t->kind) return contradiction(v, t, FY_E_TYPE, e);
    if (t->kind != FY_TENSOR) {
        if (was->kind != FY_NOTYPE && was->elem && (!t->elem || t->elem->dtype == 0 || fy_type_equal(was, t))) return FY_OK;
        if (was->kind != FY_NOTYPE && was->dtype && !t->dtype) return FY_OK;
        fy_type *c = copy_chain(&m->arena, t), *to = c;
        FY_NOMEM(e, c);
        const fy_type *from = was->kind == FY_NOTYPE ? NULL : was;
        for (; from && to && from->kind == to->kind; from = from->elem, to = (fy_type *)(uintptr_t)to->elem) {   /* our own copy */
            if (!to->dtype) to->dtype = from->dtype;
            if (to->kind != FY_TENSOR || from->rank < 0) continue;
            if (to->rank < 0) { to->rank = from->rank; to->dim = from->dim; }
            if (to->rank != from->rank || to->rank == 0) continue;
            const fy_dim **d = FY_NEWN(&m->arena, const fy_dim *, to->rank);
            FY_NOMEM(e, d);
            for (int i = 0; i < to->rank; i++) d[i] = better(v, from->dim[i], to->dim[i]);
            to->dim = d;
        }
        *was = *c;
        return FY_OK;
    }
    if (was->kind == FY_NOTYPE) *was = (fy_type){ .kind = FY_TENSOR, .rank = -1 };
    if (was->dtype && t->dtype && was->dtype != t->dtype) return contradiction(v, t, FY_E_TYPE, e);
    if (t->dtype) was->dtype = t->dtype;
    if (t->rank >= 0) {
        if (was->rank >= 0 && was->rank != t->rank) return contradiction(v, t, FY_E_SHAPE, e);
        bool fresh = was->rank < 0, news = fresh;
        const fy_dim *dim[FY_MAX_RANK];
        /* converters to ai.onnx.ml declare sizes of outputs that are plainly wrong; other engines run such models, so what is derived wins */
        bool sloppy = v->def && !strcmp(v->def->op->domain, FY_ML);
        for (int i = 0; i < t->rank; i++) {
            bool clashes = !fresh && clash(was->dim[i], t->dim[i]);
            if (clashes && !sloppy) return contradiction(v, t, FY_E_SHAPE, e);
            dim[i] = clashes ? t->dim[i] : better(v, fresh ? NULL : was->dim[i], t->dim[i]);
            if (!fresh && !clashes && dim[i] == was->dim[i]) learn(v->graph, was->dim[i], t->dim[i]);
            if (!fresh && dim[i] != was->dim[i]) news = true;
        }
        if (news && t->rank) {
            const fy_dim **d = fy_arena_copy(&m->arena, dim, (size_t)t->rank, sizeof *d);
            FY_NOMEM(e, d);
            was->dim = d;
        }
        was->rank = t->rank;
    }
    if (!now->elem) return FY_OK;
    bool same = v->elem && v->nelem == now->nelem, changed = !same;
    for (int64_t i = 0; same && i < now->nelem && !changed; i++) changed = better(v, v->elem[i], now->elem[i]) != v->elem[i];
    if (!changed) return FY_OK;
    const fy_dim **d = FY_NEWN(&m->arena, const fy_dim *, now->nelem);
    FY_NOMEM(e, d);
    for (int64_t i = 0; i < now->nelem; i++) d[i] = better(v, same ? v->elem[i] : NULL, now->elem[i]);
    v->elem = d;
    v->nelem = now->nelem;
    return FY_OK;
}

/* Small integer constants show their contents as dims, made once. */
static void describe(fy_model *m, fy_value *v, fy_fact *f, bool *oom) {
    f->type = v->type;
    if (v->type.kind == FY_NOTYPE) f->type.rank = -1;
    const fy_attr *a = v->constant ? NULL : of_constant(v);
    f->constant = a && a->kind == FY_ATTR_TENSOR ? a->tensor : v->constant;
    if (v->constant && !v->elem) {
        const fy_dim *const *d = elems_of(m->dims, &m->arena, v->constant, NULL, &v->nelem, oom);
        v->elem = d;
    }
    f->elem = v->elem;
    f->nelem = v->nelem;
}

fy_status fy_node_check(const fy_node *n, ferry_error *e) {
    if (n->op->flags & FY_OPAQUE_OP) return FY_OK;
    FY_TRY(check_arity(n, e));
    FY_TRY(check_attrs(n, e));
    if (!n->op->types) return FY_OK;
    fy_arena scratch = { 0 };
    fy_fact *x = FY_NEWN(&scratch, fy_fact, n->nin + n->nout);
    for (int i = 0; x && i < n->nin; i++)
        if (n->in[i].value) x[i].type = n->in[i].value->type;
    for (int i = 0; x && i < n->nout; i++)
        if (n->out[i]) x[n->nin + i].type = n->out[i]->type;
    fy_status s = x ? check_types(n, n->nin, x, n->nout, x + n->nin, e) : fy_nomem(e);
    fy_arena_free(&scratch);
    return s;
}

static fy_status infer(fy_node *n, fy_arena *scratch, ferry_error *e) {
    fy_model *m = n->graph->model;
    bool known = !(n->op->flags & FY_OPAQUE_OP);
    if (known) FY_TRY(check_arity(n, e));
    if (known) FY_TRY(check_attrs(n, e));
    fy_fact *in = FY_NEWN(scratch, fy_fact, n->nin + n->nout), *out = in + n->nin;
    FY_NOMEM(e, in);
    bool oom = false;
    for (int i = 0; i < n->nin; i++) {
        in[i].type.rank = -1;
        if (n->in[i].value) describe(m, n->in[i].value, &in[i], &oom);
    }
    for (int i = 0; i < n->nout; i++) out[i].type.rank = -1;
    FY_TRY(check_types(n, n->nin, in, 0, NULL, e));
    if (!n->op->infer) return FY_OK;
    fy_infer f = { .node = n, .dims = m->dims, .arena = scratch, .e = e, .nin = n->nin, .nout = n->nout, .in = in, .out = out, .oom = &oom };
    fy_status s = n->op->infer(&f);
    oom |= fy_dims_oom(m->dims);
    FY_NOMEM(e, !oom);
    FY_TRY(s);
    FY_TRY(check_types(n, n->nin, in, n->nout, out, e));
    for (int i = 0; i < n->nout; i++)
        if (n->out[i]) FY_TRY(merge(m, n->out[i], &out[i], e));
    return FY_OK;
}

fy_status fy_infer_node(fy_node *n, ferry_error *e) {
    fy_arena scratch = { 0 };
    fy_status s = infer(n, &scratch, e);
    fy_arena_free(&scratch);
    return s;
}
