/* SPDX-License-Identifier: Apache-2.0
 * infer.c - one node's types from its inputs: the readers and writers that operators use, the dtype table of an operator checked,
 * the result merged into what is known already. */
#include "base/checked.h"
#include "ir/op.h"

#include <stdio.h>
#include <string.h>

/* ---- readers ------------------------------------------------------------------------------------------------------- */

static const fy_fact *fact(const fy_infer *f, int i) { return i >= 0 && i < f->nin && f->in[i].type.kind != FY_NOTYPE ? &f->in[i] : NULL; }

bool fy_in_has(const fy_infer *f, int i) { return fy_in(f->node, i) != NULL || fact(f, i) != NULL; }

fy_dtype fy_in_dtype(const fy_infer *f, int i) {
    const fy_fact *x = fact(f, i);
    return x && x->type.kind == FY_TENSOR ? x->type.dtype : FERRY_UNDEFINED;
}

int fy_in_rank(const fy_infer *f, int i) {
    const fy_fact *x = fact(f, i);
    return x && x->type.kind == FY_TENSOR ? x->type.rank : -1;
}

const fy_dim *const *fy_in_dims(const fy_infer *f, int i) { return fy_in_rank(f, i) >= 0 ? fact(f, i)->type.dim : NULL; }

const fy_dim *fy_in_dim(const fy_infer *f, int i, int axis) {
    int rank = fy_in_rank(f, i);
    if (axis < 0) axis += rank;
    return rank >= 0 && axis >= 0 && axis < rank ? fact(f, i)->type.dim[axis] : NULL;
}

static bool integer(fy_dtype t) { return fy_dtype_int(t) || t == FERRY_BOOL; }

const fy_dim *const *fy_in_elems(const fy_infer *f, int i, int64_t *n) {
    const fy_fact *x = fact(f, i);
    *n = 0;
    if (!x || x->type.kind != FY_TENSOR || !integer(x->type.dtype)) return NULL;
    if (x->elem) {
        *n = x->nelem;
        return x->elem;
    }
    int64_t count = x->data ? fy_count(x->data) : x->constant ? x->constant->count : -1, v;
    if (count < 0 || count > FY_MAX_ELEM) return NULL;
    const fy_dim **elem = FY_NEWN(f->arena, const fy_dim *, count);
    for (int64_t k = 0; elem && k < count; k++) {
        if (x->data) v = fy_get_i64(x->data, k);
        else if (!fy_const_i64(x->constant, k, &v)) return NULL;
        if (!(elem[k] = fy_dim_const(f->dims, v))) return NULL;
    }
    *n = elem ? count : 0;
    return elem;
}

bool fy_in_ints(const fy_infer *f, int i, int64_t *dst, int64_t max, int64_t *n) {
    int64_t count;
    const fy_dim *const *elem = fy_in_elems(f, i, &count);
    *n = 0;
    if (!elem || count > max) return false;
    for (int64_t k = 0; k < count; k++)
        if (!fy_dim_known(elem[k], &dst[k])) return false;
    *n = count;
    return true;
}

bool fy_in_f64(const fy_infer *f, int i, int64_t k, double *v) {
    const fy_fact *x = fact(f, i);
    if (x && x->data && k >= 0 && k < fy_count(x->data) && fy_dtype_class(x->data->dtype) != FY_CLASS_S) {
        *v = fy_get_f64(x->data, k);
        return true;
    }
    return x && x->constant && fy_const_f64(x->constant, k, v);
}

fy_status fy_axis(int *axis, int64_t given, int rank, ferry_error *e) {
    FY_NEED(e, given >= -(int64_t)rank && given < rank, AXIS, "axis %lld is outside rank %d", (long long)given, rank);
    *axis = (int)(given < 0 ? given + rank : given);
    return FY_OK;
}

/* ---- writers ------------------------------------------------------------------------------------------------------- */

fy_status fy_out_set(fy_infer *f, int i, fy_dtype t, int rank, const fy_dim *const *dim) {
    FY_NEED(f->e, rank <= FY_MAX_RANK, LIMIT, "a result of rank %d; at most %d is supported", rank, FY_MAX_RANK);
    if (i >= f->nout) return FY_OK;                          /* an optional output that nobody asked for */
    fy_fact *o = &f->out[i];
    *o = (fy_fact){.type = {.kind = FY_TENSOR, .dtype = t, .rank = rank < 0 ? -1 : rank}};
    for (int k = 0; k < rank; k++) FY_NOMEM(f->e, dim[k]);
    if (rank >= 0) {
        o->type.dim = fy_arena_copy(f->arena, dim, (size_t)rank, sizeof *dim);
        FY_NOMEM(f->e, o->type.dim);
    }
    return FY_OK;
}

fy_status fy_out_like(fy_infer *f, int i, int in) {
    const fy_fact *x = fact(f, in);
    if (!x || i >= f->nout) return FY_OK;
    f->out[i] = (fy_fact){.type = x->type};
    return FY_OK;
}

fy_status fy_out_elems(fy_infer *f, int i, int64_t n, const fy_dim *const *elem) {
    if (i >= f->nout || n > FY_MAX_ELEM) return FY_OK;
    for (int64_t k = 0; k < n; k++) FY_NOMEM(f->e, elem[k]);
    f->out[i].elem = fy_arena_copy(f->arena, elem, (size_t)n, sizeof *elem);
    FY_NOMEM(f->e, f->out[i].elem);
    f->out[i].nelem = n;
    return FY_OK;
}

/* One axis of a broadcast. 1 gives way; a constant stands against a symbol (which then must be it, or 1: ONNX practice); two
 * different sizes that are not constants are taken for equal where neither can be proved above 1. */
static fy_status join(fy_infer *f, const fy_dim **to, const fy_dim *d, int axis) {
    const fy_dim *a = *to;
    int64_t va, vd;
    if (!a || a == d || fy_dim_is(a, 1)) { *to = d; return FY_OK; }
    if (fy_dim_is(d, 1)) return FY_OK;
    bool ka = fy_dim_known(a, &va), kd = fy_dim_known(d, &vd);
    FY_NEED(f->e, !ka || !kd, SHAPE, "shapes do not broadcast: axis %d is %lld in one input and %lld in another", axis, (long long)va, (long long)vd);
    if (kd) { *to = d; return FY_OK; }
    if (ka) return FY_OK;
    const fy_dim *ra = fy_dim_resolve(f->dims, a), *rd = fy_dim_resolve(f->dims, d);
    FY_NEED(f->e, ra && rd, NOMEM, "out of memory");
    if (ra == rd) return FY_OK;
    if (fy_dim_ge(ra, 2) && !fy_dim_ge(rd, 2)) return FY_OK;
    if (fy_dim_ge(rd, 2)) { *to = d; return FY_OK; }
    *to = fy_dim_opaque(f->dims, "broadcast");
    FY_NOMEM(f->e, *to);
    return FY_OK;
}

fy_status fy_broadcast(fy_infer *f, int n, const int *inputs, int *rank, const fy_dim **dim) {
    *rank = 0;
    for (int i = 0; i < n; i++) {
        int r = fy_in_rank(f, inputs[i]);
        if (r < 0) { *rank = -1; return FY_OK; }
        if (r > *rank) *rank = r;
    }
    for (int k = 0; k < *rank; k++) {
        dim[k] = NULL;
        for (int i = 0; i < n; i++) {
            int r = fy_in_rank(f, inputs[i]), at = k - (*rank - r);
            if (at >= 0) FY_TRY(join(f, &dim[k], fy_in_dims(f, inputs[i])[at], k));
        }
    }
    return FY_OK;
}

/* ---- the dtype table: "T=f32,f64;I=i64|T,I,...|T" -------------------------------------------------------------------- */

typedef struct span { const char *at; size_t n; } span;

/* Word number `i` of a list separated by commas; a final "..." repeats the word before it, as does the end of the list. */
static span word(span list, int i) {
    span last = {list.at, 0};
    for (const char *p = list.at, *end = list.at + list.n; p < end;) {
        size_t n = 0;
        while (p + n < end && p[n] != ',') n++;
        if (n == 3 && !memcmp(p, "...", 3)) return last;
        last = (span){p, n};
        if (i-- == 0) return last;
        p += n + 1;
    }
    return last;
}

static bool among(span list, fy_dtype t) {
    const char *name = fy_dtype_name(t);
    size_t len = strlen(name);
    for (const char *p = list.at, *end = list.at + list.n; p < end;) {
        size_t n = 0;
        while (p + n < end && p[n] != ',') n++;
        if (n == len && !memcmp(p, name, n)) return true;
        p += n + 1;
    }
    return false;
}

/* What the variable `v` may be: the list behind "v=", or the word itself where it names a dtype. */
static span allowed(span vars, span v) {
    for (const char *p = vars.at, *end = vars.at + vars.n; p < end;) {
        size_t n = 0;
        while (p + n < end && p[n] != ';') n++;
        if (n > v.n && p[v.n] == '=' && !memcmp(p, v.at, v.n)) return (span){p + v.n + 1, n - v.n - 1};
        p += n + 1;
    }
    return v;
}

static span part(const char *types, int i) {
    while (i-- > 0) {
        types += strcspn(types, "|");
        if (*types) types++;
    }
    return (span){types, strcspn(types, "|")};
}

/* Each input's dtype is allowed, and inputs of one variable agree. */
static fy_status check_dtypes(const fy_infer *f, const fy_op *op) {
    if (!op->types) return FY_OK;
    span vars = part(op->types, 0), ins = part(op->types, 1);
    for (int i = 0; i < f->nin; i++) {
        fy_dtype t = fy_in_dtype(f, i);
        span v = word(ins, i);
        if (!t || !v.n) continue;
        span ok = allowed(vars, v);
        FY_NEED(f->e, among(ok, t), TYPE, "input %d is %s; %s takes %.*s", i, fy_dtype_name(t), op->name, (int)(ok.n < 120 ? ok.n : 120), ok.at);
        if (ok.at == v.at) continue;
        for (int k = 0; k < i; k++) {
            span w = word(ins, k);
            fy_dtype other = fy_in_dtype(f, k);
            FY_NEED(f->e, !other || other == t || w.n != v.n || memcmp(w.at, v.at, v.n), TYPE, "input %d is %s, input %d is %s; %s takes one type for both", k,
                fy_dtype_name(other), i, fy_dtype_name(t), op->name);
        }
        if (i > 64 && word(ins, i - 1).at == v.at) continue;
    }
    return FY_OK;
}

/* ---- one node ------------------------------------------------------------------------------------------------------ */

/* Symbolic against constant: the constant is more exact. A symbol that was recorded keeps its name against a computed expression
 * of unknown origin. */
static fy_status merge_dim(fy_dims *dims, const fy_dim **known, const fy_dim *found, const fy_value *v, int axis, ferry_error *e) {
    int64_t a, b;
    if (!*known || *known == found) { *known = found; return FY_OK; }
    bool ka = fy_dim_known(*known, &a), kb = fy_dim_known(found, &b);
    FY_NEED(e, !ka || !kb || a == b, SHAPE, "axis %d of '%s' is declared %lld and computed %lld", axis, v->name ? v->name : "", (long long)a, (long long)b);
    if (kb) *known = found;
    else if (!ka && (*known)->kind == FY_DIM_OPAQUE && found->kind != FY_DIM_OPAQUE) *known = found;
    (void)dims;
    return FY_OK;
}

static fy_status merge_value(fy_value *v, const fy_fact *found, ferry_error *e) {
    fy_model *m = v->graph->model;
    fy_type *t = &v->type;
    if (found->type.kind == FY_NOTYPE) return FY_OK;
    if (t->kind == FY_NOTYPE) {
        *t = found->type;
        if (t->kind == FY_TENSOR && t->rank < 0) t->rank = -1;
    } else if (t->kind == FY_TENSOR && found->type.kind == FY_TENSOR) {
        FY_NEED(e, !t->dtype || !found->type.dtype || t->dtype == found->type.dtype, TYPE, "'%s' is declared %s and computed %s", v->name ? v->name : "",
            fy_dtype_name(t->dtype), fy_dtype_name(found->type.dtype));
        if (!t->dtype) t->dtype = found->type.dtype;
        if (t->rank < 0) {
            t->rank = found->type.rank;
            t->dim = found->type.dim;
        } else if (found->type.rank >= 0) {
            FY_NEED(e, t->rank == found->type.rank, SHAPE, "'%s' is declared of rank %d and computed of rank %d", v->name ? v->name : "", t->rank, found->type.rank);
            const fy_dim **dim = t->rank ? fy_arena_copy(&m->arena, t->dim, (size_t)t->rank, sizeof *dim) : NULL;
            FY_NEED(e, dim || !t->rank, NOMEM, "out of memory");
            for (int k = 0; k < t->rank; k++) FY_TRY(merge_dim(m->dims, &dim[k], found->type.dim[k], v, k, e));
            if (dim) t->dim = dim;
        }
    } else
        FY_NEED(e, t->kind == found->type.kind, TYPE, "'%s' is declared another kind of value than is computed", v->name ? v->name : "");
    if (found->elem && !v->elem) {
        v->elem = found->elem;
        v->nelem = found->nelem;
    }
    return FY_OK;
}

static fy_status infer(fy_node *n, fy_fact *in, fy_fact *out, ferry_error *e) {
    fy_model *m = n->graph->model;
    for (int i = 0; i < n->nin; i++) {
        const fy_value *v = fy_in(n, i);
        if (v) in[i] = (fy_fact){.type = v->type, .constant = v->constant, .elem = v->elem, .nelem = v->nelem};
    }
    fy_infer f = {.node = n, .dims = m->dims, .arena = &m->arena, .e = e, .nin = n->nin, .nout = n->nout, .in = in, .out = out};
    FY_TRY(check_dtypes(&f, n->op));
    FY_TRY(n->op->infer(&f));
    for (int i = 0; i < n->nout; i++)
        if (n->out[i]) FY_TRY(merge_value(n->out[i], &out[i], e));
    return FY_OK;
}

fy_status fy_infer_node(fy_node *n, ferry_error *e) {
    fy_fact few[16] = {{.type = {.kind = FY_NOTYPE}}}, *in = few;
    int total = n->nin + n->nout;
    if (!n->op->infer) return FY_OK;
    if (total > FY_COUNT(few)) {
        in = fy_calloc((size_t)total, sizeof *in);
        FY_NOMEM(e, in);
    }
    fy_status s = infer(n, in, in + n->nin, e);
    if (in != few) fy_free(in);
    if (s) {
        char who[200];
        fy_node_describe(who, sizeof who, n);
        return fy_frame(e, s, "%s", who);
    }
    return FY_OK;
}
