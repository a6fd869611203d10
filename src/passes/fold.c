/* SPDX-License-Identifier: Apache-2.0
 * fold.c - constant folding. What depends on constants alone is computed by the reference kernels; pure data movement over
 * large weights becomes a recipe instead, so that memory does not grow with the model. What the file gains by all of it together stays
 * within one budget: arrays that come from nothing, weights in a second form. Quantised weights stay quantised. */
#include "passes/match.h"

#include <string.h>

#define DEFAULT_BYTES ((int64_t)1 << 20)
#define SMALL 1024                       /* growth that is not counted: scalars, shapes, biases */

static int64_t bytes_of(const fy_const *c) { return c->count * (int64_t)fy_elem_bytes(c->dtype); }

/* The output as a view of the input's constant, or NULL if the operator is no pure data movement. */
static const fy_const *recipe(const fy_node *n, fy_arena *a) {
    const fy_value *x = fy_in(n, 0), *y = n->out[0];
    int64_t dim[FY_MAX_RANK];
    if (fy_is(n, "Constant")) {                              /* its value as it is, of whatever size */
        const fy_attr *v = fy_attr_get(n, "value");
        return v && v->kind == FY_ATTR_TENSOR ? v->tensor : NULL;
    }
    if (!x || !x->constant || y->type.kind != FY_TENSOR || y->type.rank < 0 || *n->op->domain) return NULL;
    for (int i = 0; i < y->type.rank; i++)
        if (!fy_dim_known(y->type.dim[i], &dim[i])) return NULL;
    const char *op = n->op->name;
    if (!strcmp(op, "Identity")) return x->constant;
    if (!strcmp(op, "Cast") && fy_dtype_float(x->constant->dtype) && fy_dtype_float(y->type.dtype)) return fy_const_cast(a, x->constant, y->type.dtype);
    if (!strcmp(op, "Reshape") || !strcmp(op, "Squeeze") || !strcmp(op, "Unsqueeze") || !strcmp(op, "Flatten"))
        return fy_const_reshape(a, x->constant, y->type.rank, dim);
    if (!strcmp(op, "Transpose")) {
        int64_t np = 0;
        const int64_t *p = fy_attr_ints(n, "perm", &np);
        int perm[FY_MAX_RANK], rank = x->constant->rank;
        for (int i = 0; i < rank; i++) perm[i] = p ? (int)p[i] : rank - 1 - i;
        return fy_const_transpose(a, x->constant, perm);
    }
    return NULL;
}

static void replace_by_const(fy_node *n, int slot, const fy_const *c, int64_t *changes, fy_status *s, ferry_error *e) {
    fy_value *v = n->out[slot];
    fy_value *k = fy_graph_add_const(n->graph, NULL, c);
    if (!k) { *s = fy_nomem(e); return; }
    FY_ASSERT(!v->is_output);                                /* outputs keep their producer */
    k->name = v->name;
    v->name = NULL;
    fy_value_replace(v, k);
    ++*changes;
}

/* Contents known as dims: Shape of fixed sizes and the arithmetic on it. */
static const fy_const *from_elems(const fy_value *v, fy_arena *a) {
    int64_t dim[FY_MAX_RANK], n = 1, tmp[FY_MAX_ELEM];
    if (!v->elem || v->type.kind != FY_TENSOR || v->type.rank < 0 || (v->type.dtype != FERRY_INT64 && v->type.dtype != FERRY_INT32 && v->type.dtype != FERRY_BOOL))
        return NULL;
    for (int i = 0; i < v->type.rank; i++) {
        if (!fy_dim_known(v->type.dim[i], &dim[i])) return NULL;
        n *= dim[i];
    }
    if (n != v->nelem || n > FY_MAX_ELEM) return NULL;
    for (int64_t i = 0; i < n; i++)
        if (!fy_dim_known(v->elem[i], &tmp[i])) return NULL;
    if (v->type.dtype == FERRY_INT64) return fy_const_copy(a, FERRY_INT64, v->type.rank, dim, tmp);
    if (v->type.dtype == FERRY_BOOL) {
        bool flag[FY_MAX_ELEM];
        for (int64_t i = 0; i < n; i++) flag[i] = tmp[i] != 0;
        return fy_const_copy(a, FERRY_BOOL, v->type.rank, dim, flag);
    }
    int32_t narrow[FY_MAX_ELEM];
    for (int64_t i = 0; i < n; i++) {
        if (tmp[i] < INT32_MIN || tmp[i] > INT32_MAX) return NULL;
        narrow[i] = (int32_t)tmp[i];
    }
    return fy_const_copy(a, FERRY_INT32, v->type.rank, dim, narrow);
}

/* Bytes that go into the file with c in place of what n makes; a constant that only n reads goes out. */
static bool room_for(const fy_node *n, const fy_const *c, const fy_pass_options *o, int64_t budget, int64_t *grown) {
    const fy_value *x = fy_in(n, 0);
    if (!x || !x->constant || fy_is(n, "Identity") || (o->views && c->dtype == x->constant->dtype)) return true;
    int64_t more = bytes_of(c) - (x->nuses == 1 ? bytes_of(x->constant) : 0);
    if (more <= SMALL) return true;
    if (more > budget || *grown > budget - more) return false;       /* a weight that others read as it is, or that is stored in half the width */
    *grown += more;
    return true;
}

/* May this node be computed now, and will the file stay within the budget? What only this node reads is no longer stored then. */
static bool worth(const fy_node *n, int64_t budget, int64_t *grown) {
    int64_t in = 0, out = 0, freed = 0;
    if (!(n->op->flags & FY_PURE) || (n->op->flags & (FY_RANDOM | FY_CONTROL)) || !n->op->ref || n->ncap) return false;
    if (fy_is(n, "DequantizeLinear")) return false;          /* a quantised weight is meant to stay one */
    for (int i = 0; i < n->nin; i++) {
        const fy_value *v = fy_in(n, i);
        if (v && !v->constant) return false;
        if (v) in += bytes_of(v->constant);
        if (v && v->nuses == 1) freed += bytes_of(v->constant);
    }
    for (int i = 0; i < n->nout; i++) {
        const fy_value *v = n->out[i];
        if (!v) continue;
        if (v->type.kind != FY_TENSOR || v->type.rank < 0 || v->type.dtype == FERRY_STRING) return false;
        int64_t count = 1;
        for (int k = 0; k < v->type.rank; k++) {
            int64_t d;
            if (!fy_dim_known(v->type.dim[k], &d)) return false;
            if (d && count > budget / d) return false;
            count *= d;
        }
        out += count * fy_elem_bytes(v->type.dtype);
    }
    if (out > budget || in > 64 * budget) return false;
    if (out - freed > SMALL) {
        if (*grown > budget - (out - freed)) return false;
        *grown += out - freed;
    }
    return true;
}

/* A kernel that says no leaves the node as it is (*done false): it may stand where no run comes by. */
static fy_status compute(fy_node *n, const fy_pass_options *o, bool *done, int64_t *changes, ferry_error *e) {
    fy_interp it = {.pool = o->pool, .hooks = o->hooks};
    fy_rval *arg = fy_calloc((size_t)n->nin + 1, sizeof *arg), **in = fy_calloc((size_t)n->nin + 1, sizeof *in);
    fy_rval *out = fy_calloc((size_t)n->nout + 1, sizeof *out);
    fy_status s = arg && in && out ? FY_OK : fy_nomem(e);
    for (int i = 0; !s && i < n->nin; i++) {
        if (!fy_in(n, i)) continue;
        arg[i].kind = FY_TENSOR;
        s = fy_const_tensor(&arg[i].t, fy_in(n, i)->constant, e);
        in[i] = &arg[i];
    }
    if (!s) {
        ferry_error why;
        s = fy_interp_node(&it, n, in, out, &why);
        *done = !s;
        if (s == FY_E_NOMEM) s = fy_nomem(e);
        else s = FY_OK;
    }
    for (int i = 0; !s && *done && i < n->nout; i++) {
        if (!n->out[i] || out[i].kind != FY_TENSOR) continue;
        const fy_const *c = fy_const_from(&n->graph->model->arena, &out[i].t);
        if (!c) s = fy_nomem(e);
        else replace_by_const(n, i, c, changes, &s, e);
    }
    for (int i = 0; arg && i < n->nin; i++) fy_rval_free(&arg[i]);
    for (int i = 0; out && i < n->nout; i++) fy_rval_free(&out[i]);
    fy_free(arg);
    fy_free(in);
    fy_free(out);
    return s;
}

static bool feeds_output(const fy_node *n) {
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && n->out[i]->is_output) return true;
    return false;
}

fy_status fy_pass_fold(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) {
    int64_t budget = o->fold_bytes ? o->fold_bytes : DEFAULT_BYTES;
    int64_t grown = 0;
    fy_graph_list all = {0};
    fy_status s = fy_all_graphs(&all, m, e);
    for (int64_t i = 0; !s && i < all.n; i++)
        for (fy_node *n = all.at[i]->first, *next; !s && n; n = next) {
            next = n->next;
            if (!(n->op->flags & FY_PURE) || !n->nout || feeds_output(n)) continue;
            const fy_const *c = n->nout == 1 && n->out[0] ? from_elems(n->out[0], &m->arena) : NULL;
            if (!c && n->nout == 1 && n->out[0]) {
                c = recipe(n, &m->arena);
                if (c && !room_for(n, c, o, budget, o->grown ? o->grown : &grown)) continue;
            }
            bool done = true;
            if (c) replace_by_const(n, 0, c, changes, &s, e);
            else if (worth(n, budget, o->grown ? o->grown : &grown)) s = compute(n, o, &done, changes, e);
            else continue;
            if (!s && !done) continue;
            if (s) {
                char who[200];
                fy_node_describe(who, sizeof who, n);
                s = fy_frame(e, s, "%s", who);
            } else
                fy_node_remove(n);
        }
    fy_free(all.at);
    return s;
}
