/* SPDX-License-Identifier: Apache-2.0
 * batch_norm.c - folds y = (conv(x) - mean) * s + b, s = scale / sqrt(var + eps), into the convolution:
 * w' = w * s along the output channel (a deferred recipe: one rounding, no copy), bias' = (bias - mean) * s + b in double.
 * Source: Jacob et al., "Quantization and Training of Neural Networks", 2018, section 3.2. */
#include "passes/pass.h"

#include <math.h>
#include <string.h>

/* A constant vector of n elements as doubles in the arena; NULL if v is no such constant or memory is out. */
static double *vector(fy_arena *a, const fy_value *v, int64_t n) {
    if (!v || !v->constant || v->constant->count != n) return NULL;
    double *d = FY_NEWN(a, double, n);
    for (int64_t i = 0; d && i < n; i++)
        if (!fy_const_f64(v->constant, i, &d[i])) return NULL;
    return d;
}

/* Does the bias vary along the channels alone? (Gemm's may be one value for each row.) */
static bool along_channels(const fy_value *bias, int64_t c) {
    const fy_const *k = bias->constant;
    return k && k->count == c && k->rank > 0 && k->dim[k->rank - 1] == c;
}

/* Axis of the weight that is the output channel, or -1 if this node cannot take the norm. */
static int channel_axis(const fy_node *n) {
    if (*n->op->domain || n->nin < 2 || !fy_in(n, 1) || !fy_in(n, 1)->constant) return -1;
    if (!strcmp(n->op->name, "Conv")) return 0;
    if (!strcmp(n->op->name, "ConvTranspose")) return fy_attr_i(n, "group") == 1 ? 1 : -1;
    if (!strcmp(n->op->name, "Gemm")) return fy_attr_i(n, "transB") ? 0 : 1;
    return -1;
}

static fy_node *producer(const fy_node *bn) {
    fy_value *x = fy_in(bn, 0);
    if (*bn->op->domain || strcmp(bn->op->name, "BatchNormalization") || fy_attr_i(bn, "training_mode")) return NULL;
    for (int i = 1; i < bn->nout; i++)
        if (bn->out[i] && bn->out[i]->nuses) return NULL;
    return x && x->def && x->nuses == 1 && !x->is_output && x->graph == bn->graph ? x->def : NULL;
}

static const char *bias_name(fy_model *m, const fy_value *w, const fy_value *bias) {
    if (bias && bias->nuses == 1) return bias->name;
    size_t n = w->name ? strlen(w->name) : 0;
    if (n > 7 && !strcmp(w->name + n - 7, ".weight")) return fy_arena_fmt(&m->arena, "%.*s.bias", (int)(n - 7), w->name);
    return NULL;
}

static bool fold(fy_model *m, fy_node *n, fy_node *bn, fy_status *s, ferry_error *e) {
    int axis = channel_axis(n);
    if (axis < 0) return false;
    fy_value *w = fy_in(n, 1), *bias = fy_in(n, 2);
    const fy_const *wc = w->constant;
    if (bias && axis < wc->rank && !along_channels(bias, wc->dim[axis])) return false;
    if (axis >= wc->rank || (wc->dtype != FERRY_FLOAT && wc->dtype != FERRY_DOUBLE)) return false;
    int64_t c = wc->dim[axis];
    fy_arena *a = &m->arena;
    double beta = !strcmp(n->op->name, "Gemm") ? fy_attr_f(n, "beta") : 1, eps = fy_attr_f(bn, "epsilon");
    double *scale = vector(a, fy_in(bn, 1), c), *shift = vector(a, fy_in(bn, 2), c);
    double *mean = vector(a, fy_in(bn, 3), c), *var = vector(a, fy_in(bn, 4), c);
    double *b = bias ? vector(a, bias, c) : FY_NEWN(a, double, c);
    if (!scale || !shift || !mean || !var || !b) return false;
    for (int64_t i = 0; i < c; i++) {
        double f = scale[i] / sqrt(var[i] + eps);
        scale[i] = f;
        b[i] = (beta * b[i] - mean[i]) * f + shift[i];
    }
    fy_tensor t = fy_tensor_view(FERRY_DOUBLE, 1, &c, b);
    const fy_const *bc = fy_const_from(a, &t), *nw = fy_const_scale(a, wc, axis, scale);
    if (bc) bc = wc->dtype == FERRY_DOUBLE ? bc : fy_const_cast(a, bc, wc->dtype);
    bool own = w->nuses == 1;
    fy_value *vw = nw ? fy_graph_add_const(n->graph, own ? w->name : NULL, nw) : NULL;
    fy_value *vb = bc ? fy_graph_add_const(n->graph, bias_name(m, w, bias), bc) : NULL;
    if (!vw || !vb) { *s = fy_fail(e, FY_E_NOMEM, "out of memory"); return false; }
    if (own) w->name = NULL;
    if (bias && bias->nuses == 1) bias->name = NULL;
    fy_node_set_input(n, 1, vw);
    if (n->nin > 2) fy_node_set_input(n, 2, vb);
    else if (!fy_node_add_input(n, vb)) { *s = fy_fail(e, FY_E_NOMEM, "out of memory"); return false; }
    if (beta != 1) fy_node_del_attr(n, "beta");
    n->out[0]->name = bn->out[0]->is_output ? n->out[0]->name : bn->out[0]->name;
    return true;
}

fy_status fy_pass_batch_norm(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) {
    (void)o;
    fy_graph_list all = {0};
    fy_status s = fy_all_graphs(&all, m, e);
    for (int64_t i = 0; !s && i < all.n; i++)
        for (fy_node *bn = all.at[i]->first, *next; !s && bn; bn = next) {
            next = bn->next;
            fy_node *n = producer(bn);
            if (!n || !fold(m, n, bn, &s, e)) continue;
            if (!bn->out[0]->is_output) bn->out[0]->name = NULL;
            if (fy_replace_output(bn->out[0], n->out[0])) fy_node_remove(bn);
            ++*changes;
        }
    fy_free(all.at);
    return s;
}
