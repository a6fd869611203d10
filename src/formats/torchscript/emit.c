/* SPDX-License-Identifier: Apache-2.0
 * emit.c - calls on tensors become nodes of the graph being filled; values from outside a block enter it as inputs of the block. */
#include "formats/torchscript/script.h"

#include <stdio.h>
#include <string.h>

fy_status ts_declare(ts *r, fy_pvalue *v, const fy_pinput *weight, const fy_pvalue *same) { return r->typer.value(r->typer.ctx, v, weight, same, r->e); }

fy_status ts_home(ts *r, fy_pvalue *v, fy_pgraph *g) {
    int64_t need = (int64_t)v->id + 1;
    if (need > r->home.n) {
        FY_NOMEM(r->e, FY_RESERVE(r->home, need + 256));
        memset(r->home.at + r->home.n, 0, (size_t)(need - r->home.n) * sizeof *r->home.at);
        r->home.n = need;
    }
    r->home.at[v->id] = g;
    return FY_OK;
}

fy_status ts_fresh(ts *r, fy_pvalue **v, fy_pvalue_kind kind) {
    char name[32];
    FY_NEED(r->e, r->p->nvalues < TS_NODES * 8, LIMIT, "the code makes more than %d values", TS_NODES * 8);
    snprintf(name, sizeof name, "v%u", r->p->nvalues);
    *v = fy_pvalue_new(r->p, kind, name);
    TS_OOM(r, *v);
    return ts_home(r, *v, r->level->g);
}

/* v as the level knows it. */
fy_status ts_capture(ts *r, ts_level *l, fy_pvalue **v) {
    /* numbers are the same everywhere: only tensors, which may be written, enter as inputs */
    if (!l->up || (*v)->kind != FY_PV_TENSOR || (int64_t)(*v)->id >= r->home.n || r->home.at[(*v)->id] == l->g) return FY_OK;
    fy_pvalue *have = fy_map_get(&l->by, (const char *)v, sizeof *v), *outer = *v, **key;
    if (have) { *v = have; return FY_OK; }
    FY_TRY(ts_capture(r, l->up, &outer));
    fy_pvalue *formal;
    FY_TRY(ts_fresh(r, &formal, outer->kind));
    FY_TRY(ts_home(r, formal, l->g));
    formal->has_meta = outer->has_meta;
    formal->dtype = outer->dtype;
    formal->rank = outer->rank;
    formal->dim = outer->dim;
    formal->sym = outer->sym;
    FY_TRY(ts_declare(r, formal, NULL, outer));
    key = FY_NEW(&r->tmp, fy_pvalue *);
    TS_OOM(r, key);
    *key = *v;
    FY_NOMEM(r->e, fy_map_put(&l->by, (const char *)key, sizeof *key, formal));
    FY_PUSH(r->e, l->outer, outer);
    FY_PUSH(r->e, l->formal, formal);
    *v = formal;
    return FY_OK;
}

/* A tensor of the file becomes an input of the program when it is first read. */
static fy_status weight(ts *r, ts_value *x) {
    char shown[200];
    snprintf(shown, sizeof shown, "%.190s", x->s);
    fy_pinput *in = FY_NEW(&r->p->arena, fy_pinput);
    fy_pvalue *v = fy_pvalue_new(r->p, FY_PV_TENSOR, x->s);
    TS_OOM(r, in);
    TS_OOM(r, v);
    if (x->pk) FY_TRY(fy_torch_const(&in->data, x->of, &r->p->arena, x->pk, shown, r->e));
    else in->data = x->in->data;
    in->kind = x->parameter ? FY_PIN_PARAMETER : x->of == &r->data ? FY_PIN_BUFFER : FY_PIN_CONSTANT;
    in->persistent = true;
    in->value = v;
    in->fqn = x->s;
    v->has_meta = true;
    v->dtype = in->data->dtype;
    v->rank = in->data->rank;
    const fy_dim **dim = FY_NEWN(&r->p->arena, const fy_dim *, v->rank);
    TS_OOM(r, dim);
    for (int i = 0; i < v->rank; i++) TS_OOM(r, dim[i] = fy_dim_const(r->p->dims, in->data->dim[i]));
    v->dim = dim;
    x->v = v;
    x->in = in;
    const ts_level *root = r->level;
    while (root->up) root = root->up;
    FY_TRY(ts_home(r, v, root->g));
    FY_PUSH(r->e, r->weights, x);
    return ts_declare(r, v, in, NULL);
}

fy_status ts_const_tensor(ts *r, ts_value **v, fy_dtype t, int rank, const int64_t *dim, const void *elements) {
    FY_TRY(ts_new(r, v, TV_TENSOR));
    fy_pinput *in = FY_NEW(&r->p->arena, fy_pinput);
    TS_OOM(r, in);
    in->data = fy_const_copy(&r->p->arena, t, rank, dim, elements);
    TS_OOM(r, in->data);
    (*v)->in = in;
    (*v)->s = fy_arena_fmt(&r->p->arena, "literal_%lld", (long long)r->weights.n);
    TS_OOM(r, (*v)->s);
    return FY_OK;
}

fy_status ts_pvalue(ts *r, fy_pvalue **p, ts_value *x) {
    if (x->kind == TV_TENSOR && !x->v) FY_TRY(weight(r, x));
    *p = x->v;
    return ts_capture(r, r->level, p);
}

fy_status ts_rank(ts *r, int *rank, const ts_value *x) {
    ts_value *y = (ts_value *)(uintptr_t)x;
    fy_pvalue *v;
    *rank = 0;
    if (x->kind == TV_NUM) { *rank = !x->inner; return FY_OK; }
    if (x->kind == TV_TENSOR && !x->v && x->pk) { *rank = x->pk->rank; return FY_OK; }
    FY_TRY(ts_pvalue(r, &v, y));
    if (!v->has_meta) {
        FY_TRY(r->typer.missing(r->typer.ctx, r->e));
        return ts_trace_it(r, ts_fail(r, FY_E_UNSUPPORTED, "the shape of %s is not known, a result of %s", v->name ? v->name : "a tensor", v->def ? v->def->op : "a block"));
    }
    *rank = v->rank;
    return FY_OK;
}

/* ---- arguments ------------------------------------------------------------------------------------------------------------------- */

static fy_status list_arg(ts *r, fy_parg *a, const ts_value *v) {
    bool tensors = false, floats = false, strings = false, bools = true, syms = false;
    for (int64_t i = 0; i < v->n; i++) {
        const ts_value *x = v->item[i];
        tensors = tensors || ts_is_tensor(x) || x->kind == TV_NONE;
        floats = floats || x->kind == TV_FLOAT;
        strings = strings || x->kind == TV_STR;
        bools = bools && x->kind == TV_BOOL;
        syms = syms || x->kind == TV_SYM;
        if (!ts_is_tensor(x) && !ts_is_number(x) && x->kind != TV_STR && x->kind != TV_NONE) return ts_fail(r, FY_E_UNSUPPORTED, "a list with %s in it is an argument", ts_kind_text(x));
    }
    a->n = v->n;
    if (tensors) {
        a->kind = FY_ARG_TENSORS;
        TS_OOM(r, a->values = FY_NEWN(&r->p->arena, fy_pvalue *, v->n));
        for (int64_t i = 0; i < v->n; i++) {
            ts_value *x = v->item[i];
            if (x->kind == TV_NONE) continue;
            FY_TRY(ts_as_tensor(r, &x));
            FY_TRY(ts_pvalue(r, &a->values[i], x));
        }
    } else if (strings) {
        const char **s = FY_NEWN(&r->p->arena, const char *, v->n);
        TS_OOM(r, s);
        for (int64_t i = 0; i < v->n; i++) TS_OOM(r, s[i] = fy_arena_str(&r->p->arena, v->item[i]->s ? v->item[i]->s : ""));
        a->kind = FY_ARG_STRINGS;
        a->strings = s;
    } else if (syms) {
        fy_psym *s = FY_NEWN(&r->p->arena, fy_psym, v->n);
        TS_OOM(r, s);
        for (int64_t i = 0; i < v->n; i++) {
            const ts_value *x = v->item[i];
            if (x->kind != TV_SYM) { s[i].i = x->kind == TV_FLOAT ? (int64_t)x->f : x->i; continue; }
            if (x->v->kind == FY_PV_SYMFLOAT) return ts_fail(r, FY_E_UNSUPPORTED, "a list of floats that are known at run time");
            s[i].value = x->v;
            FY_TRY(ts_capture(r, r->level, &s[i].value));
        }
        a->kind = FY_ARG_SYMS;
        a->syms = s;
    } else if (floats) {
        double *f = FY_NEWN(&r->p->arena, double, v->n);
        TS_OOM(r, f);
        for (int64_t i = 0; i < v->n; i++) f[i] = v->item[i]->kind == TV_FLOAT ? v->item[i]->f : (double)v->item[i]->i;
        a->kind = FY_ARG_FLOATS;
        a->floats = f;
    } else {
        int64_t *k = FY_NEWN(&r->p->arena, int64_t, v->n);
        TS_OOM(r, k);
        for (int64_t i = 0; i < v->n; i++) k[i] = v->item[i]->i;
        a->kind = bools && v->n ? FY_ARG_BOOLS : FY_ARG_INTS;
        a->ints = k;
    }
    return FY_OK;
}

fy_status ts_arg(ts *r, fy_parg *a, const ts_value *v) {
    ts_value *x = (ts_value *)(uintptr_t)v;
    switch (v->kind) {
    case TV_NONE: a->kind = FY_ARG_NONE; return FY_OK;
    case TV_BOOL: a->kind = FY_ARG_BOOL; a->i = v->i; return FY_OK;
    case TV_INT: a->kind = FY_ARG_INT; a->i = v->i; return FY_OK;
    case TV_FLOAT: a->kind = FY_ARG_FLOAT; a->f = v->f; return FY_OK;
    case TV_STR: case TV_DEVICE:
        a->kind = v->kind == TV_STR ? FY_ARG_STRING : FY_ARG_DEVICE;
        TS_OOM(r, a->s = fy_arena_str(&r->p->arena, v->s));
        return FY_OK;
    case TV_LIST: case TV_TUPLE: return list_arg(r, a, v);
    case TV_NUM: FY_TRY(ts_as_tensor(r, &x)); /* fall through */
    case TV_TENSOR: a->kind = FY_ARG_TENSOR; return ts_pvalue(r, &a->value, x);
    case TV_SYM: {
        fy_pvalue *s = v->v;
        FY_TRY(ts_capture(r, r->level, &s));
        a->kind = s->kind == FY_PV_SYMINT ? FY_ARG_SYM : s->kind == FY_PV_SYMBOOL ? FY_ARG_SYMBOOL : FY_ARG_SYMFLOAT;
        if (a->kind == FY_ARG_SYM) a->sym.value = s;
        else a->value = s;
        return FY_OK;
    }
    case TV_LOST: return ts_lost(r, v->s);
    case TV_DICT: case TV_OBJECT: case TV_STACK: case TV_FUNC: case TV_CLASS: case TV_UNSET: break;
    }
    return ts_fail(r, FY_E_UNSUPPORTED, "%s is an argument of an operator", ts_kind_text(v));
}

/* ---- nodes ------------------------------------------------------------------------------------------------------------------------- */

static fy_status where(ts *r, fy_pnode *n) {
    const ts_frame *f = r->frame;
    for (const ts_frame *g = f; g && !n->scope; g = g->up)
        if (g->self && g->self->s && *g->self->s) n->scope = g->self->s;
    if (!f) return FY_OK;
    n->source = n->source_full = fy_arena_fmt(&r->p->arena, "%s:%u in %s", f->fn->file->path, f->line, f->fn->name);
    TS_OOM(r, n->source);
    return FY_OK;
}

fy_status ts_node(ts *r, fy_pnode **to, const char *op, int narg, ts_value *const *arg, const char *const *kw) {
    if (++r->nodes > TS_NODES) return ts_fail(r, FY_E_LIMIT, "the code makes more than %d calls on tensors", TS_NODES);
    fy_parg *a = FY_NEWN(&r->p->arena, fy_parg, narg);
    TS_OOM(r, a);
    for (int i = 0; i < narg; i++) {                         /* may emit nodes of their own: before this one */
        a[i].name = kw && kw[i] ? kw[i] : "";
        FY_TRY(ts_arg(r, &a[i], arg[i]));
    }
    fy_pnode *n = fy_pnode_new(r->level->g, NULL, op, 0, 0);
    TS_OOM(r, n);
    n->narg = narg;
    n->arg = a;
    *to = n;
    return where(r, n);
}

fy_status ts_result(ts *r, ts_value **v, fy_pnode *n) {
    ts_value *all, *one = NULL;
    FY_TRY(ts_new(r, &all, TV_TUPLE));
    for (int k = 0; k < n->nout; k++) {
        fy_parg *o = &n->out[k];
        if (o->kind == FY_ARG_TENSORS) {
            FY_TRY(ts_new(r, &one, TV_LIST));
            for (int64_t i = 0; i < o->n; i++) {
                ts_value *x;
                FY_TRY(ts_home(r, o->values[i], r->level->g));
                FY_TRY(ts_tensor(r, &x, o->values[i]));
                FY_TRY(ts_add(r, one, x));
            }
        } else {
            fy_pvalue *p = o->kind == FY_ARG_SYM ? o->sym.value : o->value;
            FY_TRY(ts_home(r, p, r->level->g));
            FY_TRY(ts_tensor(r, &one, p));
        }
        FY_TRY(ts_add(r, all, one));
    }
    if (!n->nout) FY_TRY(ts_new(r, &one, TV_NONE));
    *v = n->nout > 1 ? all : one;
    return FY_OK;
}

fy_status ts_emit(ts *r, ts_value **v, const char *op, int narg, ts_value *const *arg, const char *const *kw) {
    fy_pnode *n;
    bool done;
    FY_TRY(ts_quantised_emit(r, v, &done, op, narg, arg, kw));
    if (done) return FY_OK;
    FY_TRY(ts_node(r, &n, op, narg, arg, kw));
    fy_status s = r->typer.node(r->typer.ctx, n, r->e);
    if (s) {
        const ts_frame *f = r->frame;
        s = fy_frame(r->e, s, "%s", op);
        for (int k = 0; f && k < 5; f = f->up, k++)
            (void)fy_frame(r->e, s, "%s:%u in %s%s%s", f->fn->file->path, f->line, f->fn->name, f->self && f->self->s && *f->self->s ? " of " : "", f->self && f->self->s ? f->self->s : "");
        return s;
    }
    return ts_result(r, v, n);
}

fy_status ts_as_tensor(ts *r, ts_value **v) {
    ts_value *x = *v;
    if (x->kind == TV_TENSOR) return FY_OK;
    if (x->kind == TV_NUM && !x->inner) {                    /* several: a vector */
        ts_value *list, zero = {.kind = TV_INT};
        FY_TRY(ts_new(r, &list, TV_LIST));
        for (int64_t i = 0; i < x->n; i++) {
            ts_value *one = x->item[i];
            FY_TRY(ts_as_tensor(r, &one));
            FY_TRY(ts_add(r, list, one));
        }
        return ts_emit(r, v, "aten.stack", 2, (ts_value *[]){list, &zero}, NULL);
    }
    ts_value *num = x->kind == TV_NUM ? x->inner : x, *dtype, *made;
    if (!ts_is_number(num)) return ts_fail(r, FY_E_TYPE, "%s where a tensor is needed", ts_kind_text(x));
    bool f = num->kind == TV_FLOAT || (num->kind == TV_SYM && num->v->kind == FY_PV_SYMFLOAT), b = num->kind == TV_BOOL || (num->kind == TV_SYM && num->v->kind == FY_PV_SYMBOOL);
    FY_TRY(ts_int(r, &dtype, f ? 6 : b ? 11 : 4));
    if (num->kind != TV_SYM) {
        float single = (float)num->f;
        uint8_t flag = num->i != 0;
        FY_TRY(ts_const_tensor(r, &made, f ? FERRY_FLOAT : b ? FERRY_BOOL : FERRY_INT64, 0, NULL, f ? (const void *)&single : b ? (const void *)&flag : (const void *)&num->i));
    } else FY_TRY(ts_emit(r, &made, "aten.scalar_tensor", 2, (ts_value *[]){num, dtype}, (const char *[]){NULL, "dtype"}));
    *v = made;
    return FY_OK;
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------------------ */

static fy_status makes(ts *r, fy_pnode *n, fy_pvalue *p) {
    TS_OOM(r, n->out = FY_NEWN(&r->p->arena, fy_parg, 1));
    n->nout = 1;
    n->out[0].name = "";
    n->out[0].kind = p->kind == FY_PV_SYMINT ? FY_ARG_SYM : p->kind == FY_PV_SYMBOOL ? FY_ARG_SYMBOOL : FY_ARG_SYMFLOAT;
    if (p->kind == FY_PV_SYMINT) n->out[0].sym.value = p;
    else n->out[0].value = p;
    p->def = n;
    return FY_OK;
}

static fy_status number_out(ts *r, ts_value **v, fy_pnode *n, fy_pvalue_kind kind, const fy_dim *d) {
    fy_pvalue *p;
    FY_TRY(ts_fresh(r, &p, kind));
    if (kind == FY_PV_SYMINT) {
        if (!d) TS_OOM(r, d = fy_dim_element(r->p->dims, "u", INT64_MIN, INT64_MAX));
        p->sym = d;
    }
    FY_TRY(makes(r, n, p));
    return ts_tensor(r, v, p);
}

fy_status ts_sym(ts *r, ts_value **v, const char *op, fy_pvalue_kind kind, const fy_dim *d, int narg, ts_value *const *arg) {
    int64_t k;
    fy_pnode *n;
    if (kind == FY_PV_SYMINT && d && fy_dim_known(d, &k)) return ts_int(r, v, k);
    FY_TRY(ts_node(r, &n, op, narg, arg, NULL));
    FY_TRY(number_out(r, v, n, kind, d));
    return ts_declare(r, (*v)->v, NULL, NULL);
}

fy_status ts_dims(ts *r, ts_value **v, ts_value *x, int axis) {
    int rank;
    int64_t k;
    FY_TRY(ts_rank(r, &rank, x));
    if (axis < -rank || axis >= rank) return ts_fail(r, FY_E_AXIS, "the size of axis %d of a tensor of rank %d", axis, rank);
    if (axis < 0) axis += rank;
    fy_pvalue *p;
    FY_TRY(ts_pvalue(r, &p, x));
    if (fy_dim_known(p->dim[axis], &k)) return ts_int(r, v, k);
    ts_value *a;
    fy_pnode *n;
    FY_TRY(ts_int(r, &a, axis));
    FY_TRY(ts_node(r, &n, "aten.sym_size.int", 2, (ts_value *[]){x, a}, (const char *[]){"self", "dim"}));
    FY_TRY(number_out(r, v, n, FY_PV_SYMINT, p->dim[axis]));
    return ts_declare(r, (*v)->v, NULL, NULL);
}

fy_status ts_item(ts *r, ts_value **v, ts_value *x, fy_pvalue_kind kind, int64_t least) {
    fy_pnode *n;
    int64_t k;
    const fy_dim *d = NULL;
    FY_TRY(ts_node(r, &n, "aten.item.default", 1, &x, (const char *[]){"self"}));
    if (kind == FY_PV_SYMINT) TS_OOM(r, d = fy_dim_element(r->p->dims, "u", least, INT64_MAX));
    FY_TRY(number_out(r, v, n, kind, d));
    FY_TRY(r->typer.node(r->typer.ctx, n, r->e));            /* may tell what it is */
    if (kind == FY_PV_SYMINT && fy_dim_known((*v)->v->sym, &k)) {
        fy_pnode_remove(n);
        return ts_int(r, v, k);
    }
    return FY_OK;
}

fy_status ts_item_into(ts *r, fy_pvalue *number, fy_pvalue *tensor) {
    fy_pnode *n;
    ts_value x = {.kind = TV_TENSOR, .v = tensor};
    FY_TRY(ts_node(r, &n, "aten.item.default", 1, (ts_value *[]){&x}, (const char *[]){"self"}));
    return makes(r, n, number);
}

fy_status ts_number_tensor(ts *r, ts_value **v, ts_value *x, fy_pvalue_kind kind) {
    ts_value *dtype;
    if (x->kind == TV_SYM) {
        FY_TRY(ts_int(r, &dtype, kind == FY_PV_SYMFLOAT ? 7 : kind == FY_PV_SYMBOOL ? 11 : 4));
        return ts_emit(r, v, "aten.scalar_tensor", 2, (ts_value *[]){x, dtype}, (const char *[]){NULL, "dtype"});
    }
    double f = x->kind == TV_FLOAT ? x->f : (double)x->i;
    uint8_t b = x->kind == TV_FLOAT ? x->f < 0 || x->f > 0 : x->i != 0;
    return ts_const_tensor(r, v, kind == FY_PV_SYMFLOAT ? FERRY_DOUBLE : kind == FY_PV_SYMBOOL ? FERRY_BOOL : FERRY_INT64, 0, NULL,
                           kind == FY_PV_SYMFLOAT ? (const void *)&f : kind == FY_PV_SYMBOOL ? (const void *)&b : (const void *)&x->i);
}

fy_status ts_constant(ts *r, const ts_value *x, bool *known, double *f, int64_t *i) {
    const fy_const *c = x->in ? x->in->data : NULL;
    char shown[100];
    *known = false;
    if (x->kind != TV_TENSOR || (x->v && !x->in)) return FY_OK;
    if (!c && x->pk && x->of != &r->data && x->pk->rank == 0) {
        snprintf(shown, sizeof shown, "%.90s", x->s);
        FY_TRY(fy_torch_const(&c, x->of, &r->p->arena, x->pk, shown, r->e));
    }
    if (!c || c->count != 1 || x->of == &r->data) return FY_OK;       /* buffers may be written */
    *known = fy_const_f64(c, 0, f);
    if (!fy_const_i64(c, 0, i)) *i = *f > -9e18 && *f < 9e18 ? (int64_t)*f : 0;
    return FY_OK;
}
