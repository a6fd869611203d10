/* SPDX-License-Identifier: Apache-2.0
 * affine.c - y = p(x) * s + t with constant s and t for each output channel goes into weight and bias of p, a Conv, ConvTranspose, Gemm or
 * (s alone, or with matrices) MatMul: w' = w * s along the output channel (a deferred recipe: one rounding, no copy), bias' = bias * s + t in
 * double. Here s and t come from Mul, Div, Add and Sub with constants; batch_norm.c brings those of a norm. */
#include "passes/match.h"

#include <math.h>
#include <string.h>

#define DEFAULT_BYTES ((int64_t)1 << 20)

double *fy_const_vector(fy_arena *a, const fy_const *c, int64_t n) {
    if (!c || c->count != n) return NULL;
    double *d = FY_NEWN(a, double, n);
    for (int64_t i = 0; d && i < n; i++)
        if (!fy_const_f64(c, i, &d[i])) return NULL;
    return d;
}

/* Does the bias vary along the channels alone? (Gemm's may be one value for each row.) */
static bool along_channels(const fy_value *bias, int64_t c) {
    const fy_const *k = fy_fixed(bias);
    return k && k->count == c && k->rank > 0 && k->dim[k->rank - 1] == c;
}

int fy_channel_axis(const fy_node *n) {
    if (!n || *n->op->domain || n->nin < 2 || !fy_fixed(fy_in(n, 1))) return -1;
    if (fy_is(n, "Conv")) return 0;
    if (fy_is(n, "ConvTranspose")) return fy_attr_i(n, "group") == 1 ? 1 : -1;
    if (fy_is(n, "Gemm")) return fy_attr_i(n, "transB") ? 0 : 1;
    if (fy_is(n, "MatMul")) return fy_fixed(fy_in(n, 1))->rank == 2 ? 1 : -1;
    return -1;
}

int64_t fy_channels(const fy_node *n) {
    int axis = fy_channel_axis(n);
    const fy_const *w = axis < 0 ? NULL : fy_fixed(fy_in(n, 1));
    return w && axis < w->rank ? w->dim[axis] : -1;
}

static const char *bias_name(fy_model *m, const fy_value *w, const fy_value *bias) {
    if (bias && bias->nuses == 1) return bias->name;
    size_t n = w->name ? strlen(w->name) : 0;
    if (n > 7 && !strcmp(w->name + n - 7, ".weight")) return fy_arena_fmt(&m->arena, "%.*s.bias", (int)(n - 7), w->name);
    return NULL;
}

static bool all_are(const double *v, int64_t n, double x) {
    for (int64_t i = 0; i < n; i++)
        if (v[i] != x) return false;
    return true;
}

bool fy_affine_bias(double *bias, const double *scale, const double *shift, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        bias[i] = bias[i] * scale[i] + shift[i];
        if (!isfinite(scale[i]) || !isfinite(bias[i])) return false;
    }
    return true;
}

const fy_const *fy_bias_const(fy_arena *a, double *bias, int64_t n, fy_dtype dtype) {
    fy_tensor t = fy_tensor_view(FERRY_DOUBLE, 1, &n, bias);
    const fy_const *c = fy_const_from(a, &t);
    return c && dtype != FERRY_DOUBLE ? fy_const_cast(a, c, dtype) : c;
}

/* n(x) is n(x) * scale + shift from here on. */
static bool take_in(fy_rewriting *r, fy_node *n, double *scale, double *shift) {
    int axis = fy_channel_axis(n);
    int64_t c = fy_channels(n), budget = r->o->fold_bytes ? r->o->fold_bytes : DEFAULT_BYTES;
    if (c < 1) return false;
    fy_arena *a = &r->m->arena;
    fy_value *w = fy_in(n, 1), *bias = fy_in(n, 2);
    const fy_const *wc = w->constant, *nw = NULL, *bc = NULL;
    bool scales = !all_are(scale, c, 1), gemm = fy_is(n, "Gemm"), matmul = fy_is(n, "MatMul"), shifts = !all_are(shift, c, 0);
    if (bias && !along_channels(bias, c)) return false;
    if (wc->dtype != FERRY_FLOAT && wc->dtype != FERRY_DOUBLE) return false;
    if (matmul && shifts && fy_v_rank(fy_in(n, 0)) != 2) return false;
    if (scales && w->nuses > 1 && wc->count > budget / 8) return false;      /* the file would hold the weight twice */
    double *b = bias ? fy_const_vector(a, fy_fixed(bias), c) : FY_NEWN(a, double, c), beta = gemm ? fy_attr_f(n, "beta") : 1;
    if (!b) return false;
    for (int64_t i = 0; i < c; i++) b[i] *= beta;
    if (!fy_affine_bias(b, scale, shift, c)) return false;
    bool own = w->nuses == 1, biased = bias || shifts;
    fy_value *vw = w, *vb = NULL;
    if (scales) {
        nw = fy_const_scale(a, wc, axis, scale);
        vw = nw ? fy_graph_add_const(w->graph, own ? w->name : NULL, nw) : NULL;
    }
    if (biased) {
        bc = fy_bias_const(a, b, c, wc->dtype);
        vb = bc ? fy_graph_add_const(w->graph, bias_name(r->m, w, bias), bc) : NULL;
    }
    if (!vw || (biased && !vb)) return fy_no_memory(r);
    if (scales && own) w->name = NULL;
    if (bias && bias->nuses == 1) bias->name = NULL;
    fy_node_set_input(n, 1, vw);
    if (biased && n->nin > 2) fy_node_set_input(n, 2, vb);
    else if (biased && !fy_node_add_input(n, vb)) return fy_no_memory(r);
    if (biased && matmul) {
        n->op = fy_op_find(r->m->registry, "", "Gemm");
        FY_ASSERT(n->op);
    }
    if (biased && gemm && beta != 1) fy_node_del_attr(n, "beta");
    return true;
}

bool fy_fold_channels(fy_rewriting *r, fy_node *n, fy_node *after, double *scale, double *shift) {
    if (fy_waits(r, n->out[0]) || !take_in(r, n, scale, shift)) return false;
    if (!after->out[0]->is_output) {
        n->out[0]->name = after->out[0]->name;
        after->out[0]->name = NULL;
    }
    return fy_is_value(r, after, n->out[0]);
}

/* One number for all of p's result, behind nodes that only move elements and perhaps a bias of its own: weight and bias take it. The scale
 * of attention comes so. */
static bool from_afar(fy_rewriting *r, fy_node *n) {
    static const char *const moves[] = {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"};
    fy_value *x, *v;
    double c;
    bool moved = false;
    if (!fy_with_scalar(n, "Mul", &x, &c)) {
        if (!fy_with_scalar(n, "Div", &x, &c) || c == 0) return false;
        c = 1 / c;
    }
    if (!isfinite(c) || c == 0 || fy_v_rank(x) != fy_v_rank(n->out[0])) return false;
    for (v = x; fy_sole(v); v = fy_in(v->def, 0)) {
        int i = 0;
        while (i < FY_COUNT(moves) && !fy_is(v->def, moves[i])) i++;
        if (i == FY_COUNT(moves)) break;
        moved = true;
    }
    if (!fy_sole(v) || v->graph != n->graph) return false;
    fy_node *add = fy_is(v->def, "Add") ? v->def : NULL, *p = add ? NULL : v->def;
    int side = 0;
    for (; add && side < 2; side++)
        if (fy_fixed(fy_in(add, 1 - side)) && fy_in(add, 1 - side)->constant->count <= 65536 && fy_sole(fy_in(add, side)) && fy_made(fy_in(add, side), "MatMul")) {
            p = fy_in(add, side)->def;
            break;
        }
    int64_t k = p && (moved || add) ? fy_channels(p) : -1;
    if (k < 1 || (fy_fixed(fy_in(p, 1))->count < k)) return false;
    double *scale = FY_NEWN(&r->m->arena, double, k), *shift = FY_NEWN(&r->m->arena, double, k);
    if (!scale || !shift) return fy_no_memory(r);
    for (int64_t i = 0; i < k; i++) scale[i] = c;
    if (!take_in(r, p, scale, shift)) return false;
    if (add) {
        fy_build b = fy_before(r, add);
        fy_value *bias = fy_in(add, 1 - side), *t = fy_emit(&b, "Mul", FY_V(bias, fy_k_scalar(&b, fy_dtype_of(bias), c)), FY_NOATTR);
        if (!t) { r->status = b.status; return false; }
        fy_node_set_input(add, 1 - side, t);
    }
    if (!fy_is_value(r, n, x)) {         /* an output of the graph that cannot be renamed: multiply by one, which the next round takes out */
        fy_build b = fy_before(r, n);
        fy_value *one = fy_k_scalar(&b, fy_dtype_of(x), 1);
        if (!one) { r->status = b.status; return false; }
        fy_node_set_input(n, fy_in(n, 0) == x, one);
        if (fy_is(n, "Div") && fy_in(n, 0) != x) fy_node_set_input(n, 0, x);
    }
    return true;
}

/* ---- before the product -------------------------------------------------------------------------------------------- */

static bool unpadded(const fy_node *n) {
    int64_t k;
    const int64_t *p = fy_attr_ints(n, "pads", &k);
    const fy_attr *kind = fy_attr_get(n, "auto_pad");
    if (kind && fy_attr_is(n, "auto_pad", "VALID")) return true;
    if (kind && !fy_attr_is(n, "auto_pad", "NOTSET")) return false;
    for (int64_t i = 0; p && i < k; i++)
        if (p[i]) return false;
    return true;
}

/* The weight alone, times c. */
static bool scale_weight(fy_rewriting *r, fy_node *n, double c) {
    fy_value *w = fy_in(n, 1);
    const fy_const *wc = w->constant;
    int64_t k = wc->dim[0];
    double *scale = FY_NEWN(&r->m->arena, double, k);
    for (int64_t i = 0; scale && i < k; i++) scale[i] = c;
    const fy_const *nw = scale ? fy_const_scale(&r->m->arena, wc, 0, scale) : NULL;
    fy_value *v = nw ? fy_graph_add_const(w->graph, w->name, nw) : NULL;
    if (!v) return fy_no_memory(r);
    w->name = NULL;
    fy_node_set_input(n, 1, v);
    return true;
}

/* bias + t * (sum of each channel's weights); NULL: out of memory. */
static fy_value *shifted_bias(fy_rewriting *r, fy_node *n, double t) {
    fy_value *w = fy_in(n, 1), *bias = fy_in(n, 2);
    const fy_const *wc = w->constant;
    int64_t c = wc->dim[0], per = wc->count / c;
    double *b = bias ? fy_const_vector(&r->m->arena, fy_fixed(bias), c) : FY_NEWN(&r->m->arena, double, c), *row = b ? fy_calloc((size_t)per, sizeof *row) : NULL;
    fy_tensor all = {0};
    if (!row || fy_const_tensor(&all, wc, r->e)) {
        fy_free(row);
        (void)fy_no_memory(r);
        return NULL;
    }
    for (int64_t i = 0; i < c; i++) {
        double sum = 0;
        for (int64_t j = 0; j < per; j++) sum += fy_get_f64(&all, i * per + j);
        b[i] += t * sum;
    }
    fy_tensor_free(&all);
    fy_free(row);
    fy_tensor v = fy_tensor_view(FERRY_DOUBLE, 1, &c, b);
    const fy_const *k = fy_const_from(&r->m->arena, &v);
    if (k && wc->dtype != FERRY_DOUBLE) k = fy_const_cast(&r->m->arena, k, wc->dtype);
    if (!k) (void)fy_no_memory(r);
    fy_value *made = k ? fy_graph_add_const(w->graph, bias_name(r->m, w, bias), k) : NULL;
    if (made && bias && bias->nuses == 1) bias->name = NULL;
    return made;
}

/* conv(v * s) -> (w s)(v); conv(v + t) without padding -> conv(v) with another bias; conv(v * s + t) -> (w s)(v + t / s). One number for all
 * channels, as learned affine blocks have it. */
static bool before(fy_rewriting *r, fy_node *n) {
    fy_value *u = fy_in(n, 0), *v, *w;
    const fy_const *wc = fy_fixed(fy_in(n, 1));
    double s, t;
    if (!wc || wc->rank < 3 || (wc->dtype != FERRY_FLOAT && wc->dtype != FERRY_DOUBLE) || fy_in(n, 1)->nuses != 1 || wc->count > 1 << 22 || wc->count < 1 || !fy_sole(u)) return false;
    if (fy_with_scalar(u->def, "Mul", &v, &s) && fy_v_rank(v) == fy_v_rank(u) && isfinite(s) && fabs(s) > 1e-6 && fabs(s) < 1e6) {
        if (!scale_weight(r, n, s)) return false;
        fy_reroute(r, n, 0, v);
        return true;
    }
    if (!fy_with_scalar(u->def, "Add", &v, &t) || fy_v_rank(v) != fy_v_rank(u) || !isfinite(t)) return false;
    if (unpadded(n) && (!fy_in(n, 2) || (fy_fixed(fy_in(n, 2)) && fy_in(n, 2)->constant->count == wc->dim[0]))) {
        fy_value *bias = shifted_bias(r, n, t);
        if (!bias) return false;
        if (n->nin > 2) fy_node_set_input(n, 2, bias);
        else if (!fy_node_add_input(n, bias)) return fy_no_memory(r);
        fy_reroute(r, n, 0, v);
        return true;
    }
    if (!fy_sole(v) || !fy_with_scalar(v->def, "Mul", &w, &s) || fy_v_rank(w) != fy_v_rank(v) || !(fabs(s) > 1e-3) || fabs(s) > 1e3) return false;
    fy_build b = fy_before(r, n);
    fy_value *sum = fy_emit(&b, "Add", FY_V(w, fy_k_scalar(&b, wc->dtype, t / s)), FY_NOATTR);
    if (!sum) return fy_unmade(r, &b);
    if (!scale_weight(r, n, s)) return false;
    fy_reroute(r, n, 0, sum);
    return true;
}

/* Constant k beside a value of p's shape, one number for each channel: as doubles. */
static double *per_channel(fy_rewriting *r, const fy_node *p, const fy_value *k, int64_t c) {
    const fy_const *kc = fy_fixed(k);
    int rank = fy_v_rank(p->out[0]), from_end = fy_is(p, "Conv") || fy_is(p, "ConvTranspose") ? rank - 2 : 0;
    if (!kc || rank < 0 || kc->rank > rank || (kc->count != 1 && kc->count != c)) return NULL;
    for (int i = 0; kc->count != 1 && i < kc->rank; i++)
        if (kc->dim[i] != (kc->rank - 1 - i == from_end ? c : 1)) return NULL;
    double *v = FY_NEWN(&r->m->arena, double, c);
    for (int64_t i = 0; v && i < c; i++)
        if (!fy_const_f64(kc, kc->count == 1 ? 0 : i, &v[i])) return NULL;
    return v;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (n->out[0] && fy_waits(r, n->out[0])) return false;
    if (fy_is(n, "Conv") && r->o->reweigh) return before(r, n);
    bool mul = fy_is(n, "Mul"), div = fy_is(n, "Div"), add = fy_is(n, "Add"), sub = fy_is(n, "Sub");
    if ((!mul && !div && !add && !sub) || !n->out[0] || n->nin != 2) return false;
    if ((mul || div) && r->o->reweigh && from_afar(r, n)) return true;
    if (r->status) return false;
    for (int i = 0; i < (div ? 1 : 2); i++) {
        fy_node *p = fy_in(n, i) ? fy_in(n, i)->def : NULL;
        int64_t c = p && p->graph == n->graph && fy_sole(fy_in(n, i)) ? fy_channels(p) : -1;
        if (c < 1 || fy_v_rank(fy_in(n, i)) != fy_v_rank(n->out[0])) continue;
        double *k = per_channel(r, p, fy_in(n, 1 - i), c), *one = k ? FY_NEWN(&r->m->arena, double, c) : NULL;
        if (!k || !one) continue;
        for (int64_t j = 0; j < c; j++) one[j] = mul || div ? 0 : sub && i ? -1 : 1;
        for (int64_t j = 0; j < c; j++) k[j] = div ? 1 / k[j] : sub && !i ? -k[j] : k[j];
        return fy_fold_channels(r, p, n, mul || div ? k : one, mul || div ? one : k);
    }
    return false;
}

fy_status fy_pass_affine(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
