/* SPDX-License-Identifier: Apache-2.0
 * build_dim.c - symbolic sizes as i64[1] values.
 *
 * What follows from the inputs of the outermost graph is computed by nodes at its very start ("head" nodes), once for each
 * size, so that it can be used anywhere. A size that only a value further down carries (it depends on data) is read from
 * the first such value, where it is needed. Every value made here knows its contents (fy_value.elem), so inference stays
 * symbolic. */
#include "ir/build.h"

#include <stdio.h>
#include <string.h>

typedef struct made { fy_value *v; bool head; } made;    /* head: usable anywhere in the outermost graph and its bodies */

static fy_graph *root_of(fy_graph *g) {
    while (g->parent) g = g->parent;
    return g;
}

static fy_node *after_head(const fy_graph *root) {
    fy_node *n = root->first;
    while (n && n->head) n = n->next;
    return n;
}

/* Is the builder placing nodes among the head nodes themselves? Then nothing at the end of the head may be used. */
static bool in_head(const fy_build *b) { return b->before && b->before->head; }

static fy_value *holds(fy_build *b, fy_value *v, const fy_dim *d) {
    if (!v) return NULL;
    const fy_dim **e = FY_NEW(&b->g->model->arena, const fy_dim *);
    if (!e) return fy_fail_value(b, FY_E_NOMEM, "out of memory");
    e[0] = d;
    v->elem = e;
    v->nelem = 1;
    return v;
}

static made emit(fy_build *b, bool head, const char *op, int nin, fy_value *const *in, int nattr, const fy_attr *attr, const fy_dim *d) {
    fy_build h = *b;
    if (head) {
        h.g = root_of(b->g);
        h.before = after_head(h.g);
        h.scope = h.source = NULL;
    }
    fy_value *v = holds(&h, fy_emit(&h, op, nin, in, nattr, attr), d);
    b->status = h.status;
    if (v && head) v->def->head = true;
    return (made){ v, head };
}

/* ---- who carries a size --------------------------------------------------------------------------------------------- */

/* The axis of v that is d, or -1 - k for element k of its contents; false: neither. */
static bool carries(fy_dims *p, const fy_value *v, const fy_dim *d, int64_t *where) {
    if (v->type.kind == FY_TENSOR)
        for (int i = 0; i < v->type.rank; i++)
            if (v->type.dim[i] == d || fy_dim_resolve(p, v->type.dim[i]) == d) { *where = i; return true; }
    for (int64_t k = 0; v->elem && k < v->nelem; k++)
        if (v->elem[k] == d) { *where = -1 - k; return true; }
    return false;
}

static made read_from(fy_build *b, bool head, fy_value *v, int64_t where, const fy_dim *d) {
    if (where >= 0) return emit(b, head, "Shape", FY_V(v), FY_A(fy_int("start", where), fy_int("end", where + 1)), d);
    made r = { v, head };
    if (v->type.rank != 1 || v->nelem != 1) {            /* one element as i64[1] */
        r = emit(b, head, "Reshape", FY_V(v, fy_k_ints(b, 1, (int64_t[]){ -1 })), FY_NOATTR, d);
        if (r.v) r.v->elem = NULL;                        /* all elements so far */
        if (r.v && v->nelem != 1) r = emit(b, head, "Gather", FY_V(r.v, fy_k_ints(b, 1, (int64_t[]){ -1 - where })), FY_NOATTR, d);
        else if (r.v) holds(b, r.v, d);
    }
    if (r.v && r.v->type.dtype != FERRY_INT64) r = emit(b, head, "Cast", FY_V(r.v), FY_A(fy_int("to", FERRY_INT64)), d);
    return r;
}

/* d itself on an axis of an input of the outermost graph. */
static bool from_inputs(fy_build *b, const fy_dim *d, made *r) {
    fy_graph *root = root_of(b->g);
    int64_t where;
    for (int64_t i = 0; i < root->in.n; i++)
        if (!root->in.at[i]->constant && carries(b->g->model->dims, root->in.at[i], d, &where) && where >= 0) {
            *r = read_from(b, !in_head(b), root->in.at[i], where, d);
            return true;
        }
    return false;
}

/* The first value that carries d among those that are made before the place where the builder stands. */
static bool from_values(fy_build *b, const fy_dim *d, made *r) {
    fy_dims *p = b->g->model->dims;
    const fy_node *limit = b->before;
    int64_t where;
    for (fy_graph *g = b->g; g; limit = g->owner, g = g->parent) {
        for (int64_t i = 0; i < g->in.n; i++)
            if (!g->in.at[i]->constant && carries(p, g->in.at[i], d, &where)) {
                *r = read_from(b, false, g->in.at[i], where, d);
                return true;
            }
        for (const fy_node *n = g->first; n && n != limit; n = n->next)
            for (int i = 0; i < n->nout; i++)
                if (n->out[i] && carries(p, n->out[i], d, &where)) {
                    *r = read_from(b, false, n->out[i], where, d);
                    return true;
                }
    }
    return false;
}

/* A symbol that no axis is, but that follows from one that is k*s + c: (axis - c) / k. */
static bool from_linear(fy_build *b, const fy_dim *s, made *r) {
    fy_model *m = b->g->model;
    fy_graph *root = root_of(b->g);
    for (int64_t i = 0; i < root->in.n; i++) {
        const fy_value *v = root->in.at[i];
        for (int a = 0; !v->constant && v->type.kind == FY_TENSOR && a < v->type.rank; a++) {
            const fy_dim *d = fy_dim_resolve(m->dims, v->type.dim[a]), *t = d && d->kind == FY_DIM_SUM && d->nargs == 1 ? d->arg[0] : d;
            int64_t c = d && d->kind == FY_DIM_SUM ? d->value : 0, k = 1;
            if (t && t->kind == FY_DIM_PROD && t->nargs == 1) { k = t->value; t = t->arg[0]; }
            if (t != s || k <= 0) continue;
            bool head = !in_head(b);
            *r = read_from(b, head, root->in.at[i], a, d);
            const fy_dim *part = fy_dim_addi(m->dims, d, -c);
            if (c && r->v) *r = emit(b, head, "Sub", FY_V(r->v, fy_k_ints(b, 1, &c)), FY_NOATTR, part);
            if (k != 1 && r->v) *r = emit(b, head, "Div", FY_V(r->v, fy_k_ints(b, 1, &k)), FY_NOATTR, s);
            return true;
        }
    }
    return false;
}

/* ---- expressions ----------------------------------------------------------------------------------------------------- */

static made build(fy_build *b, const fy_dim *d);

static made join(fy_build *b, const char *op, made x, made y, const fy_dim *d) {
    if (!x.v || !y.v) return (made){ NULL, false };
    return emit(b, x.head && y.head, op, FY_V(x.v, y.v), FY_NOATTR, d);
}

static made number(fy_build *b, int64_t v) { return (made){ fy_k_ints(b, 1, &v), !in_head(b) }; }

static made build_prod(fy_build *b, const fy_dim *d, int64_t coefficient) {
    fy_dims *p = b->g->model->dims;
    const fy_dim *so_far = d->arg[0];
    made r = build(b, d->arg[0]);
    for (int i = 1; i < d->nargs && r.v; i++) {
        so_far = fy_dim_mul(p, so_far, d->arg[i]);
        r = join(b, "Mul", r, build(b, d->arg[i]), so_far);
    }
    return coefficient == 1 || !r.v ? r : join(b, "Mul", r, number(b, coefficient), fy_dim_muli(p, so_far, coefficient));
}

static made build_sum(fy_build *b, const fy_dim *d) {
    fy_dims *p = b->g->model->dims;
    const fy_dim *so_far = NULL;
    made r = { NULL, false };
    for (int pass = 0; pass < 2; pass++)                 /* what is added, then what is taken away */
        for (int i = 0; i < d->nargs && b->status == FY_OK; i++) {
            const fy_dim *t = d->arg[i];
            bool minus = t->kind == FY_DIM_PROD && t->value < 0 && t->value != INT64_MIN;
            if (minus != (pass == 1)) continue;
            made x = minus ? build_prod(b, t, -t->value) : build(b, t);
            if (!so_far && !minus) { r = x; so_far = t; continue; }
            if (!so_far) { r = number(b, 0); so_far = fy_dim_const(p, 0); }
            so_far = fy_dim_add(p, so_far, t);
            r = join(b, minus ? "Sub" : "Add", r, x, so_far);
        }
    if (d->value == 0 || !r.v) return r;
    return d->value < 0 && d->value != INT64_MIN ? join(b, "Sub", r, number(b, -d->value), d) : join(b, "Add", r, number(b, d->value), d);
}

/* ONNX Div truncates: where the numerator may be negative, its Mod (sign of the divisor) is taken off first. */
static made floor_div(fy_build *b, const fy_dim *x, const fy_dim *y, const fy_dim *d) {
    fy_dims *p = b->g->model->dims;
    made n = build(b, x), k = build(b, y);
    if (x->lo < 0 || y->lo < 0) {
        const fy_dim *rest = fy_dim_mod(p, x, y);
        n = join(b, "Sub", n, join(b, "Mod", n, k, rest), fy_dim_sub(p, x, rest));
    }
    return join(b, "Div", n, k, d);
}

static made build_fresh(fy_build *b, const fy_dim *d) {
    fy_dims *p = b->g->model->dims;
    made r;
    switch (d->kind) {
    case FY_DIM_CONST: return number(b, d->value);
    case FY_DIM_SYM:
    case FY_DIM_OPAQUE: break;
    case FY_DIM_SUM: return build_sum(b, d);
    case FY_DIM_PROD: return build_prod(b, d, d->value);
    case FY_DIM_FLOORDIV: return floor_div(b, d->arg[0], d->arg[1], d);
    case FY_DIM_CEILDIV: {                               /* -floor(-x / y) */
        const fy_dim *minus = fy_dim_muli(p, d->arg[0], -1), *f = fy_dim_floordiv(p, minus, d->arg[1]);
        if (!minus || !f) return (made){ fy_fail_value(b, FY_E_NOMEM, "out of memory"), false };
        return join(b, "Sub", number(b, 0), floor_div(b, minus, d->arg[1], f), d);
    }
    case FY_DIM_MOD: return join(b, "Mod", build(b, d->arg[0]), build(b, d->arg[1]), d);
    case FY_DIM_POW: return join(b, "Pow", build(b, d->arg[0]), build(b, d->arg[1]), d);
    case FY_DIM_MIN: return join(b, "Min", build(b, d->arg[0]), build(b, d->arg[1]), d);
    case FY_DIM_MAX: return join(b, "Max", build(b, d->arg[0]), build(b, d->arg[1]), d);
    case FY_DIM_SCALE:
        r = join(b, "Mul", build(b, d->arg[0]), number(b, d->value), fy_dim_muli(p, d->arg[0], d->value));
        return join(b, "Div", r, number(b, d->den), d);
    }
    if (from_linear(b, d, &r) || from_values(b, d, &r)) return r;
    fy_buf name = { 0 };
    fy_dim_print(&name, d);
    fy_fail_value(b, FY_E_GRAPH, "no value carries the size %.100s", name.at && !name.oom ? name.at : "?");
    fy_buf_free(&name);
    return (made){ NULL, false };
}

/* Recursion is bounded by the depth of a dim (dim.c). */
static made build(fy_build *b, const fy_dim *d) {
    made r = { NULL, false };
    if (b->status != FY_OK) return r;
    if (!d) return (made){ fy_fail_value(b, FY_E_NOMEM, "out of memory"), false };
    if (d->kind == FY_DIM_CONST) return number(b, d->value);
    fy_model *m = b->g->model;
    char key[64];
    size_t nkey = (size_t)snprintf(key, sizeof key, "size %p %u", (void *)root_of(b->g), (unsigned)d->id);
    fy_value *v = in_head(b) ? NULL : fy_map_get(&m->merged, key, nkey);
    if (v && v->def && v->def->head) return (made){ v, true };      /* not removed meanwhile */
    if (!from_inputs(b, d, &r)) r = build_fresh(b, d);
    if (r.v && r.head && r.v->def) {
        char *kept = fy_arena_strn(&m->arena, key, nkey);
        if (!kept || !fy_map_put(&m->merged, kept, nkey, r.v)) return (made){ fy_fail_value(b, FY_E_NOMEM, "out of memory"), false };
    }
    return r;
}

fy_value *fy_b_dim(fy_build *b, const fy_dim *d) {
    if (b->status != FY_OK) return NULL;
    return build(b, d ? fy_dim_resolve(b->g->model->dims, d) : NULL).v;
}

fy_value *fy_b_dims(fy_build *b, int n, const fy_dim *const *d) {
    if (b->status != FY_OK) return NULL;
    fy_arena scratch = { 0 };
    fy_value **part = FY_NEWN(&scratch, fy_value *, n), *r = NULL;
    int64_t *run = FY_NEWN(&scratch, int64_t, n);
    int parts = 0;
    if (!part || !run) fy_fail_value(b, FY_E_NOMEM, "out of memory");
    for (int i = 0; i < n && b->status == FY_OK;) {
        int k = 0;
        while (i < n && fy_dim_known(d[i], &run[k])) { k++; i++; }
        part[parts++] = k ? fy_k_ints(b, k, run) : fy_b_dim(b, d[i++]);
    }
    if (b->status == FY_OK) r = n == 0 ? fy_k_ints(b, 0, run) : fy_b_concat(b, parts, part, 0);
    fy_arena_free(&scratch);
    if (r && parts > 1 && n <= FY_MAX_ELEM && r->def && !r->elem) {
        r->elem = fy_arena_copy(&b->g->model->arena, d, (size_t)n, sizeof *d);
        r->nelem = n;
        if (!r->elem) return fy_fail_value(b, FY_E_NOMEM, "out of memory");
    }
    return r;
}
