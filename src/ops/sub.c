/* SPDX-License-Identifier: Apache-2.0
 * sub.c - operators made of other operators (sub.h). */
#include "ops/sub.h"

#include <string.h>

static fy_attr *set(fy_sub *s, const char *name, fy_attr_kind kind) {
    int i = 0;
    while (i < s->node.nattr && strcmp(s->attr[i].name, name) != 0) i++;
    FY_ASSERT(i < FY_SUB_ATTRS);
    if (i == s->node.nattr) s->node.nattr++;
    s->attr[i] = (fy_attr){.name = name, .kind = kind, .n = 1};
    return &s->attr[i];
}

void fy_sub_begin(fy_sub *s, const fy_op *op, const fy_node *outer) {
    memset(s, 0, sizeof *s);
    s->node.op = op;
    s->node.attr = s->attr;
    s->node.name = outer->name;
    s->node.graph = outer->graph;
    for (const fy_attr_spec *a = op->attrs; a && a->name; a++) {
        const fy_attr *given = fy_attr_get(outer, a->name);
        if (given && given->kind == a->kind) *set(s, a->name, a->kind) = *given;
        for (const fy_attr_spec *o = outer->op ? outer->op->attrs : NULL; !given && o && o->name; o++) {
            if (strcmp(o->name, a->name) != 0 || o->kind != a->kind || !o->def || !strcmp(o->def, FY_REQUIRED)) continue;
            if (a->kind == FY_ATTR_INT) set(s, a->name, a->kind)->i = fy_attr_i(outer, a->name);
            else if (a->kind == FY_ATTR_FLOAT) set(s, a->name, a->kind)->f = fy_attr_f(outer, a->name);
            else if (a->kind == FY_ATTR_STRING) set(s, a->name, a->kind)->s = fy_attr_s(outer, a->name);
        }
    }
}

void fy_sub_int(fy_sub *s, const char *name, int64_t v) { set(s, name, FY_ATTR_INT)->i = v; }
void fy_sub_float(fy_sub *s, const char *name, double v) { set(s, name, FY_ATTR_FLOAT)->f = v; }
void fy_sub_text(fy_sub *s, const char *name, const char *text) { set(s, name, FY_ATTR_STRING)->s = (fy_str){text, strlen(text)}; }

void fy_sub_ints(fy_sub *s, const char *name, const int64_t *v, int64_t n) {
    fy_attr *a = set(s, name, FY_ATTR_INTS);
    a->ints = v;
    a->n = n;
}

/* ---- inference ----------------------------------------------------------------------------------------------------- */

fy_status fy_sub_infer(fy_infer *f, const fy_sub *s, int nin, const fy_fact *in, int nout, fy_fact *out) {
    fy_infer g = *f;
    g.nin = nin;
    g.in = in;
    g.nout = nout;
    g.out = out;
    for (int i = 0; i < nout; i++) out[i] = (fy_fact){.type = {.rank = -1}};
    fy_node n = s->node;                                                /* whether an input is there is read off the node */
    FY_NOMEM(f->e, n.in = FY_NEWN(f->arena, fy_use, nin));
    n.nin = nin;
    for (int i = 0; i < nin; i++) n.in[i].value = in[i].type.kind == FY_NOTYPE ? NULL : f->node->in[0].value;
    g.node = &n;
    return n.op->infer(&g);
}

fy_fact fy_sub_fact(const fy_infer *f, int i, fy_dtype t) {
    fy_fact x = {.type = {.rank = -1}};
    if (!fy_in_has(f, i)) return x;
    x = f->in[i];
    if (x.type.kind == FY_NOTYPE) x.type = (fy_type){.kind = FY_TENSOR, .rank = -1};
    if (!t || t == x.type.dtype) return x;
    x.type.dtype = t;
    x.constant = NULL;
    x.data = NULL;
    x.elem = NULL;
    x.nelem = 0;
    return x;
}

fy_status fy_sub_permute_fact(fy_infer *f, fy_fact *x, const int *perm) {
    x->constant = NULL;
    x->data = NULL;
    x->elem = NULL;
    if (x->type.rank <= 0) return FY_OK;
    const fy_dim **d = FY_NEWN(f->arena, const fy_dim *, x->type.rank);
    FY_NOMEM(f->e, d);
    for (int i = 0; i < x->type.rank; i++) d[i] = x->type.dim[perm[i]];
    x->type.dim = d;
    return FY_OK;
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

fy_status fy_sub_run(const fy_call *c, const fy_sub *s, int nin, const fy_tensor *const *in, int nout, fy_tensor *const *out) {
    fy_rval *val = FY_NEWN(c->scratch, fy_rval, nin + nout), **at = FY_NEWN(c->scratch, fy_rval *, nin + nout);
    FY_NOMEM(c->e, val && at);
    for (int i = 0; i < nin + nout; i++) {
        const fy_tensor *t = i < nin ? in[i] : out[i - nin];
        at[i] = t ? &val[i] : NULL;
        val[i] = (fy_rval){.kind = FY_TENSOR};
        if (!t) continue;
        val[i].t = *t;
        val[i].t.own = NULL;
    }
    fy_call k = *c;
    k.node = &s->node;
    k.nin = nin;
    k.nout = nout;
    k.in = at;
    k.out = at + nin;
    return s->node.op->ref(&k);
}

fy_status fy_sub_apply(const fy_call *c, const fy_op *op, int nin, const fy_tensor *const *in, fy_tensor *out) {
    static const fy_node bare = {.nattr = 0};
    fy_sub s;
    fy_sub_begin(&s, op, &bare);
    return fy_sub_run(c, &s, nin, in, 1, &out);
}

fy_status fy_sub_room(const fy_call *c, fy_tensor *t, fy_dtype dtype, int rank, const int64_t *dim) {
    int64_t n;
    FY_NEED(c->e, fy_count_dims(&n, rank, dim) && n <= c->max_bytes / fy_elem_bytes(dtype), LIMIT, "an intermediate result is too large");
    void *p = fy_arena_alloc(c->scratch, (size_t)n, (size_t)fy_elem_bytes(dtype));
    FY_NOMEM(c->e, p);
    *t = fy_tensor_view(dtype, rank, dim, p);
    return FY_OK;
}

fy_status fy_sub_wide(const fy_call *c, fy_tensor *t, const fy_tensor *x) {
    FY_NEED(c->e, fy_k_numeric(x), TYPE, "no arithmetic on %s", fy_dtype_name(x->dtype));
    FY_TRY(fy_sub_room(c, t, FERRY_DOUBLE, x->rank, x->dim));
    if (fy_count(x)) fy_load_f64(t->data, x, 0, fy_count(x));
    return FY_OK;
}

fy_tensor fy_sub_permute(const fy_tensor *t, const int *perm) {
    fy_tensor v = *t;
    v.own = NULL;
    for (int i = 0; i < t->rank; i++) {
        v.dim[i] = t->dim[perm[i]];
        v.stride[i] = t->stride[perm[i]];
    }
    return v;
}

void fy_sub_channels_first(int *perm, int rank) {
    for (int i = 0; i < rank; i++) perm[i] = i == 0 ? 0 : i == 1 ? rank - 1 : i - 1;
}

void fy_sub_channels_last(int *perm, int rank) {
    for (int i = 0; i < rank; i++) perm[i] = i == 0 ? 0 : i == rank - 1 ? 1 : i + 1;
}
