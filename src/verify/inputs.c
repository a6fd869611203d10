/* SPDX-License-Identifier: Apache-2.0
 * inputs.c - seeded inputs that a model can work with: what a graph does with an integer input says what it may hold.
 *
 * The same seed gives the same bits on every machine: splitmix64, and normal numbers as sums of twelve uniform ones. */
#include "verify/internal.h"

#include <string.h>

static uint64_t next(uint64_t *s) {
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *s) { return (double)(next(s) >> 11) * 0x1p-53; }

static double normal(uint64_t *s) {
    double x = -6;
    for (int i = 0; i < 12; i++) x += uniform(s);
    return x;
}

/* What the uses of a value ask of it. */
typedef struct want { int64_t below; bool mask; } want;

static bool any_of(const char *name, const char *const *list) {
    for (; *list; list++)
        if (!strcmp(name, *list)) return true;
    return false;
}

/* Follows `v` through nodes that keep its values. Bounded: depth 24. */
static void look(const fy_value *v, want *w, int depth) {
    static const char *const same[] = {"Cast", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Transpose", "Expand", "Slice", "Tile", "Concat", "Split", NULL};
    static const char *const compares[] = {"Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Not", "And", "Or", "Xor", "Where", NULL};
    if (depth > 24) return;
    for (const fy_use *u = v->uses; u; u = u->next) {
        const fy_node *n = u->user;
        if (!n || !n->op || n->op->domain[0]) continue;
        const char *op = n->op->name;
        if (!strncmp(op, "Gather", 6) && u->slot == 1) {
            const fy_value *data = fy_in(n, 0);
            int64_t         axis = strcmp(op, "GatherND") ? fy_attr_i(n, "axis") : 0, size;
            if (data && data->type.kind == FY_TENSOR && data->type.rank > 0) {
                if (axis < 0) axis += data->type.rank;
                if (axis >= 0 && axis < data->type.rank && fy_dim_known(data->type.dim[axis], &size) && size > 0 && (!w->below || size < w->below)) w->below = size;
            }
        } else if (any_of(op, compares) || (!strcmp(op, "Sub") && u->slot == 1) || !strcmp(op, "Mul")) {
            w->mask = true;
        } else if (any_of(op, same) && (u->slot == 0 || !strcmp(op, "Concat"))) {
            if (!strcmp(op, "Cast") && n->out[0] && (n->out[0]->type.dtype == FERRY_BOOL || fy_dtype_float(n->out[0]->type.dtype))) w->mask = true;
            for (int i = 0; i < n->nout; i++)
                if (n->out[i]) look(n->out[i], w, depth + 1);
        }
    }
}

/* Ones, then zeros, along the last axis: rows are never empty, so that a softmax over them stays defined. */
static void fill_mask(fy_tensor *t, uint64_t *s) {
    int64_t n = t->rank ? t->dim[t->rank - 1] : 1, rows = n ? fy_count(t) / n : 0;
    for (int64_t r = 0; r < rows; r++) {
        int64_t ones = 1 + (int64_t)(next(s) % (uint64_t)n);
        if (r == 0 && ones < n / 2) ones = n;
        for (int64_t i = 0; i < n; i++) fy_put_i64(t, r * n + i, i < ones);
    }
}

static void fill_value(fy_tensor *t, const want *w, uint64_t *s) {
    int64_t n = fy_count(t);
    if (fy_dtype_float(t->dtype))
        for (int64_t i = 0; i < n; i++) fy_put_f64(t, i, normal(s));
    else if (t->dtype == FERRY_BOOL || (w->mask && !w->below)) fill_mask(t, s);
    else {
        int64_t below = w->below ? w->below : 8;
        for (int64_t i = 0; i < n; i++) fy_put_i64(t, i, (int64_t)(next(s) % (uint64_t)below));
    }
}

static bool default_size(void *ctx, const fy_dim *sym, int64_t *v) {
    (void)ctx;
    *v = sym->lo > 2 ? sym->lo : 2;
    if (*v > sym->hi) *v = sym->hi;
    return true;
}

static const fy_const *state_of(const fy_model *m, const fy_value *v) {
    for (int64_t i = 0; i < m->graph->state.n; i++)
        if (m->graph->state.at[i].in == v) return m->graph->state.at[i].init;
    return NULL;
}

fy_status fy_random_inputs(fy_rval *in, const fy_model *m, uint64_t seed, bool (*value_of)(void *ctx, const fy_dim *sym, int64_t *v), void *ctx, ferry_error *e) {
    for (int64_t i = 0; i < m->graph->in.n; i++) {
        const fy_value *v = m->graph->in.at[i];
        int64_t         dim[FY_MAX_RANK];
        uint64_t        s = seed * 0x100000001b3u + (uint64_t)i + 1;
        want            w = {0};
        if (in[i].kind == FY_TENSOR && in[i].t.dtype) continue;      /* the caller has one */
        FY_NEED(e, v->type.kind == FY_TENSOR && v->type.dtype && v->type.dtype != FERRY_STRING && v->type.rank >= 0, UNSUPPORTED,
                "input %s: values of this type cannot be made up; give them with --input", v->name);
        const fy_const *init = state_of(m, v);
        in[i].kind = FY_TENSOR;
        if (init) { FY_TRY(fy_const_tensor(&in[i].t, init, e)); continue; }
        for (int k = 0; k < v->type.rank; k++)
            FY_NEED(e, fy_dim_eval(v->type.dim[k], value_of ? value_of : default_size, ctx, &dim[k]) && dim[k] >= 0, SHAPE, "input %s: axis %d has no size", v->name, k);
        FY_TRY(fy_tensor_new(&in[i].t, v->type.dtype, v->type.rank, dim, e));
        look(v, &w, 0);
        fill_value(&in[i].t, &w, &s);
    }
    return FY_OK;
}
