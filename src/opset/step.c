/* SPDX-License-Identifier: Apache-2.0
 * step.c - what adapters are made of: facts about the node at hand, changes to it, small formulas, bodies of If and Loop. */
#include "opset/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

fy_status fy_step_refuse(fy_step_ctx *x, const char *fmt, ...) {
    char words[256], node[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    fy_node_describe(node, sizeof node, x->n);
    return fy_fail(x->e, FY_E_OPSET, "opset %lld: %s: %s", (long long)x->target, node, words);
}

fy_status fy_step_put(fy_step_ctx *x, int i, fy_value *v) {
    fy_value *old = fy_outv(x->n, i);
    FY_TRY(x->b.status);
    FY_NEED(x->e, v, INTERNAL, "an adapter of %s made no value", x->n->op->name);
    if (!old || old == v) return FY_OK;
    if (v->def && !v->nuses && !v->is_output) {       /* fresh: it takes over the name and what was known */
        v->name = old->name;
        old->name = NULL;
        bool vague = v->type.kind == FY_NOTYPE || (v->type.kind == FY_TENSOR && v->type.rank < 0);
        bool port = old->is_output && old->type.kind == FY_TENSOR && v->type.kind == FY_TENSOR && old->type.rank == v->type.rank;      /* its sizes keep their names */
        if (old->type.kind != FY_NOTYPE && (vague || port)) v->type = old->type;
        if (!v->doc) v->doc = old->doc;
    } else if (old->is_output) {         /* an output must keep its name: through an Identity of its own */
        v = fy_emit(&x->b, "Identity", FY_V(v), FY_NOATTR);
        if (!v) return x->b.status;
        v->name = old->name;
        old->name = NULL;
    }
    fy_value_replace(old, v);
    return FY_OK;
}

fy_status fy_step_done(fy_step_ctx *x) {
    FY_TRY(x->b.status);
    fy_node_remove(x->n);
    x->replaced = true;
    return FY_OK;
}

fy_status fy_step_replace(fy_step_ctx *x, fy_value *v) { FY_TRY(fy_step_put(x, 0, v)); return fy_step_done(x); }

int64_t fy_step_int(const fy_step_ctx *x, const char *attr, int64_t def) {
    const fy_attr *a = fy_attr_get(x->n, attr);
    return a && a->kind == FY_ATTR_INT ? a->i : def;
}

double fy_step_float(const fy_step_ctx *x, const char *attr, double def) {
    const fy_attr *a = fy_attr_get(x->n, attr);
    return a && a->kind == FY_ATTR_FLOAT ? a->f : def;
}

bool fy_step_text(const fy_step_ctx *x, const char *attr, const char *is, const char *def) {
    const fy_attr *a = fy_attr_get(x->n, attr);
    if (!a || a->kind != FY_ATTR_STRING) return !strcmp(def, is);
    return a->s.n == strlen(is) && !memcmp(a->s.at, is, a->s.n);
}

bool fy_step_has(const fy_step_ctx *x, int in) { return fy_in(x->n, in) != NULL; }

int fy_step_rank(const fy_step_ctx *x, int in) {
    const fy_value *v = fy_in(x->n, in);
    return v && v->type.kind == FY_TENSOR ? v->type.rank : -1;
}

fy_dtype fy_step_dtype(const fy_step_ctx *x, int in) {
    const fy_value *v = fy_in(x->n, in);
    return v && v->type.kind == FY_TENSOR ? v->type.dtype : FERRY_UNDEFINED;
}

const fy_dim *fy_step_dim(const fy_step_ctx *x, int in, int64_t axis) {
    int rank = fy_step_rank(x, in);
    if (axis < 0) axis += rank;
    return rank < 0 || axis < 0 || axis >= rank ? NULL : fy_in(x->n, in)->type.dim[axis];
}

bool fy_step_ints(const fy_step_ctx *x, int in, int64_t *v, int64_t max, int64_t *n) {
    const fy_value *u = fy_in(x->n, in);
    if (!u) return false;
    if (u->constant) {
        if (u->constant->count > max) return false;
        *n = u->constant->count;
        for (int64_t i = 0; i < *n; i++)
            if (!fy_const_i64(u->constant, i, &v[i])) return false;
        return true;
    }
    const fy_attr *a = u->def && !strcmp(u->def->op->name, "Constant") ? fy_attr_get(u->def, "value") : NULL;
    if (a && a->kind == FY_ATTR_TENSOR && a->tensor && a->tensor->count <= max) {
        *n = a->tensor->count;
        for (int64_t i = 0; i < *n; i++)
            if (!fy_const_i64(a->tensor, i, &v[i])) return false;
        return true;
    }
    if (!u->elem || u->nelem > max) return false;
    *n = u->nelem;
    for (int64_t i = 0; i < *n; i++)
        if (!u->elem[i] || !fy_dim_known(u->elem[i], &v[i])) return false;
    return true;
}

fy_status fy_step_set_attr(fy_step_ctx *x, fy_attr a) {
    FY_NOMEM(x->e, fy_node_set_attr(x->n, &a));
    return FY_OK;
}

fy_status fy_step_set_in(fy_step_ctx *x, int i, fy_value *v) {
    FY_TRY(x->b.status);
    while (v && x->n->nin <= i) FY_NOMEM(x->e, fy_node_add_input(x->n, NULL));
    if (i < x->n->nin) fy_node_set_input(x->n, i, v);
    while (x->n->nin && !x->n->in[x->n->nin - 1].value) x->n->nin--;
    return FY_OK;
}

fy_status fy_step_rename(fy_step_ctx *x, const char *op) {
    const fy_op *to = fy_op_find(x->m->registry, "", op);
    if (!to) to = fy_op_opaque(x->m, "", op);
    FY_NOMEM(x->e, to);
    x->n->op = to;
    return FY_OK;
}

fy_status fy_step_axis(fy_step_ctx *x, int64_t axis, int rank) {
    int most = rank < 0 ? FY_MAX_RANK : rank;
    FY_NEED(x->e, axis >= -most && axis < most, AXIS, "%s: axis %lld of rank %d", x->n->op->name, (long long)axis, rank);
    return FY_OK;
}

/* ---- formulas ------------------------------------------------------------------------------------------------------ */

fy_value *fy_step_slice(fy_build *b, fy_value *v, int axis, int64_t begin, int64_t end) {
    return fy_b_slice(b, v, axis, fy_k_ints(b, 1, &begin), fy_k_ints(b, 1, &end), NULL);
}

int64_t fy_step_known(const fy_value *v, int64_t axis) {
    int64_t size;
    if (!v || v->type.kind != FY_TENSOR || v->type.rank < 0) return -1;
    if (axis < 0) axis += v->type.rank;
    return axis >= 0 && axis < v->type.rank && fy_dim_known(v->type.dim[axis], &size) ? size : -1;
}

fy_value *fy_step_size(fy_build *b, fy_value *v, int64_t axis) {
    if (b->status) return NULL;
    int64_t known = fy_step_known(v, axis);
    if (known >= 0) return fy_k_i64(b, known);
    return fy_emit(b, "Gather", FY_V(fy_emit(b, "Shape", FY_V(v), FY_NOATTR), fy_k_i64(b, axis)), FY_A(fy_int("axis", 0)));
}

fy_value *fy_step_iota(fy_build *b, fy_value *n) { return fy_emit(b, "Range", FY_V(fy_k_i64(b, 0), n, fy_k_i64(b, 1)), FY_NOATTR); }

/* ---- bodies -------------------------------------------------------------------------------------------------------- */

fy_status fy_step_body(fy_step_ctx *x, fy_build *body) {
    *body = (fy_build){.g = fy_graph_new(x->m, x->n->graph), .e = x->e, .scope = x->n->scope, .source = x->n->source};
    FY_NOMEM(x->e, body->g);
    return FY_OK;
}

/* A body must make what it gives: a value of the graph around it goes through an Identity. */
static bool give(fy_build *b, fy_value *v) {
    if (v && v->graph != b->g) v = fy_emit(b, "Identity", FY_V(v), FY_NOATTR);
    if (v && !fy_graph_add_output(b->g, v)) fy_fail_value(b, FY_E_NOMEM, "out of memory");
    return b->status == FY_OK;
}

fy_value *fy_step_if(fy_step_ctx *x, fy_value *cond, fy_build *yes, fy_value *y, fy_build *no, fy_value *n) {
    if (x->b.status) return NULL;
    if (!give(yes, y)) x->b.status = yes->status;
    else if (!give(no, n)) x->b.status = no->status;
    return x->b.status ? NULL : fy_emit(&x->b, "If", FY_V(cond), FY_A(fy_body_attr("then_branch", yes->g), fy_body_attr("else_branch", no->g)));
}
