/* SPDX-License-Identifier: Apache-2.0
 * fold.c - batch norms that went into the convolution before them: found before the passes run, computed once more from other weights by the formula of the pass,
 * and taken apart again for a comparison that does not rest on that formula. */
#include "api/weights.h"
#include "passes/match.h"

#include <string.h>

fy_status fy_folds_find(fy_record *r, const fy_model *m, ferry_error *e) {
    for (const fy_node *n = m->graph->first; n; n = n->next) {
        const fy_node *conv = fy_is(n, "BatchNormalization") && fy_in(n, 0) ? fy_in(n, 0)->def : NULL;
        if (!conv || fy_channel_axis(conv) < 0 || conv->graph != n->graph) continue;
        fy_fold f = {.eps = fy_attr_f(n, "epsilon"), .axis = fy_channel_axis(conv), .part = {fy_in(conv, 1)->name, fy_in(conv, 2) ? fy_in(conv, 2)->name : NULL}};
        for (int i = 1; i < n->nin && i < 5; i++) f.part[FY_FOLD_SCALE + i - 1] = fy_in(n, i) ? fy_in(n, i)->name : NULL;
        if (f.part[FY_FOLD_WEIGHT] && f.part[FY_FOLD_MEAN] && f.part[FY_FOLD_VARIANCE]) FY_PUSH(e, r->fold, f);
    }
    return FY_OK;
}

/* The only reader of the weight, if it is of a form that can be given other ones. */
fy_status fy_folds_place(fy_record *r, const fy_model *m, ferry_error *e) {
    fy_map weights = {0};
    fy_status s = FY_OK;
    const fy_graph *g = m->graph;
    for (int64_t i = 0; i < g->constants.n && r->fold.n && !s; i++) {
        fy_value *v = g->constants.at[i];
        if (v->name && fy_fixed(v) && v->nuses == 1 && v->uses->user && v->uses->user->graph == g && !fy_map_puts(&weights, v->name, v)) s = fy_nomem(e);
    }
    for (int64_t i = 0; i < r->fold.n; i++) {
        fy_fold *f = &r->fold.at[i];
        fy_value *w = fy_map_gets(&weights, f->part[FY_FOLD_WEIGHT]);
        fy_node *n = w ? w->uses->user : NULL;
        bool fits = n && fy_in(n, 1) == w && fy_channel_axis(n) == f->axis && f->axis < w->constant->rank && (!fy_in(n, 2) || fy_fixed(fy_in(n, 2)));
        f->node = fits ? n : NULL;
    }
    fy_map_free(&weights);
    return s;
}

/* Scale, shift, mean and variance, then the bias of the convolution; NULL: out of memory. */
static double *vector(fy_arena *a, const fy_const *c, int64_t n, double otherwise) {
    if (c) return fy_const_vector(a, c, n);
    double *d = FY_NEWN(a, double, n);
    for (int64_t i = 0; d && i < n; i++) d[i] = otherwise;
    return d;
}

bool fy_fold_compute(fy_arena *a, const fy_fold *f, const fy_const *const part[FY_FOLD_PARTS], const fy_const **weight, const fy_const **bias) {
    const fy_const *w = part[FY_FOLD_WEIGHT];
    if (w->rank <= f->axis || (w->dtype != FERRY_FLOAT && w->dtype != FERRY_DOUBLE)) return false;
    int64_t n = w->dim[f->axis];
    double *v[4], *b = vector(a, part[FY_FOLD_BIAS], n, 0);
    for (int i = 0; i < 4; i++)
        if (!(v[i] = vector(a, part[FY_FOLD_SCALE + i], n, i == 0))) return false;
    if (!b) return false;
    fy_norm_affine(v, n, f->eps);
    if (!fy_affine_bias(b, v[0], v[1], n)) return false;
    *weight = fy_const_scale(a, w, f->axis, v[0]);
    *bias = fy_bias_const(a, b, n, w->dtype);
    return *weight && *bias;
}

static fy_value *constant(fy_graph *g, const char *name, const fy_const *c) { return c ? fy_graph_add_const(g, name, c) : NULL; }

static bool give_bias(fy_node *n, fy_value *bias) {
    if (n->nin < 3) return !bias || fy_node_add_input(n, bias);
    fy_node_set_input(n, 2, bias);
    return true;
}

fy_status fy_fold_put(fy_fold *f, fy_model *m, const fy_const *weight, const fy_const *bias, ferry_error *e) {
    fy_value *w = fy_in(f->node, 1), *b = fy_in(f->node, 2);
    size_t n = strlen(w->name);
    w->constant = weight;
    if (b && b->nuses == 1) {
        b->constant = bias;
        return FY_OK;
    }
    /* there was none, or equal ones had become one tensor */
    bool usual = n > 7 && !strcmp(w->name + n - 7, ".weight");
    b = constant(m->graph, f->part[FY_FOLD_BIAS] ? f->part[FY_FOLD_BIAS] : fy_arena_fmt(&m->arena, "%.*s.bias", (int)(usual ? n - 7 : n), w->name), bias);
    FY_NOMEM(e, b && give_bias(f->node, b));
    return fy_model_name_all(m, e);
}

fy_status fy_fold_apart(fy_fold *f, fy_model *m, const fy_const *const part[FY_FOLD_PARTS], ferry_error *e) {
    fy_node *n = f->node;
    fy_value *y = n->out[0], *in[5] = {NULL};
    const fy_const *w = part[FY_FOLD_WEIGHT];
    for (int i = 0; i < 4; i++) {
        const fy_const *c = part[FY_FOLD_SCALE + i];
        in[i + 1] = constant(n->graph, NULL, c ? c : fy_const_splat(&m->arena, w->dtype, 1, &w->dim[f->axis], i == 0));
        FY_NOMEM(e, in[i + 1]);
    }
    fy_value *b = constant(n->graph, NULL, part[FY_FOLD_BIAS]);
    FY_NOMEM(e, (b || !part[FY_FOLD_BIAS]) && give_bias(n, b));
    fy_in(n, 1)->constant = w;
    fy_node *norm = fy_node_new(n->graph, n->next, fy_op_find(m->registry, "", "BatchNormalization"), 5, in, 1);
    fy_attr eps = fy_float("epsilon", f->eps);
    FY_NOMEM(e, norm && fy_node_set_attr(norm, &eps));
    norm->out[0]->name = y->name;
    norm->out[0]->type = y->type;
    y->name = NULL;
    fy_value_replace(y, norm->out[0]);
    fy_node_set_input(norm, 0, y);
    return FY_OK;
}
