/* SPDX-License-Identifier: Apache-2.0
 * norm.c - normalisations recognised from their parts:
 *   LayerNormalization   d = x - mean(x), d / sqrt(mean(d^2) + eps) * scale + bias over the last axes                       opset 17
 *   RMSNormalization     x / sqrt(mean(x^2) + eps) * scale                                                               opset 23
 *   GroupNormalization   InstanceNormalization of groups between two Reshapes, * scale + bias for each channel             opset 21
 * Sources: Ba et al., "Layer Normalization", 2016; Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019; Wu and He, 2018. */
#include "passes/match.h"

#include <math.h>
#include <string.h>

/* v = mean of u over the last axes with keepdims: the first of them, or -1. */
static int mean_of(const fy_value *v, fy_value **u) {
    fy_node *n = fy_made(v, "ReduceMean");
    int64_t axes[FY_MAX_RANK];
    int count, rank = n ? fy_v_rank(fy_in(n, 0)) : -1;
    if (rank < 1 || n->nin < 2 || !fy_attr_i(n, "keepdims") || !fy_axes_of(n, 1, rank, axes, &count) || !count) return -1;
    for (int i = 0; i < count; i++)
        if (axes[i] != rank - count + i) return -1;
    *u = fy_in(n, 0);
    return rank - count;
}

/* v = u * u */
static fy_value *square_of(const fy_value *v) {
    double c;
    fy_value *u;
    if (!v || !v->def) return NULL;
    if (fy_is(v->def, "Mul") && fy_in(v->def, 0) == fy_in(v->def, 1)) return fy_in(v->def, 0);
    return fy_with_scalar(v->def, "Pow", &u, &c) && c == 2 ? u : NULL;
}

/* v = sqrt(mean(u^2) + eps), or its reciprocal if `inverse`; the first axis in *axis. */
static fy_value *root_mean_square(fy_value *v, bool inverse, int *axis, double *eps) {
    double c;
    fy_value *s, *m, *q;
    if (!fy_sole(v)) return NULL;
    if (fy_is(v->def, "Sqrt")) s = inverse ? NULL : fy_in(v->def, 0);
    else if (fy_with_scalar(v->def, "Pow", &s, &c)) s = c == (inverse ? -0.5 : 0.5) ? s : NULL;
    else if (inverse && (fy_is(v->def, "Reciprocal") || (fy_is(v->def, "Div") && fy_scalar(fy_in(v->def, 0), fy_in(v->def, 1), &c) && c == 1))) {
        s = fy_in(v->def, fy_is(v->def, "Div"));
        return fy_sole(s) ? root_mean_square(s, false, axis, eps) : NULL;
    } else return NULL;
    if (!s || !fy_sole(s) || !fy_with_scalar(s->def, "Add", &m, eps) || !(*eps >= 0) || !fy_sole(m)) return NULL;
    *axis = mean_of(m, &q);
    return *axis < 0 ? NULL : square_of(q);
}

/* n = u / sqrt(mean(u^2) + eps), as a quotient or a product. */
static fy_value *normalised(const fy_node *n, int *axis, double *eps) {
    if (n->nin != 2) return NULL;
    if (fy_is(n, "Div")) return root_mean_square(fy_in(n, 1), false, axis, eps) == fy_in(n, 0) ? fy_in(n, 0) : NULL;
    for (int i = 0; fy_is(n, "Mul") && i < 2; i++)
        if (root_mean_square(fy_in(n, i), true, axis, eps) == fy_in(n, 1 - i)) return fy_in(n, 1 - i);
    return NULL;
}

/* Has v the sizes of x from `axis` on, and no others than 1 before? */
static bool of_axes(const fy_value *v, const fy_value *x, int axis) {
    int rank = fy_v_rank(v), n = fy_v_rank(x) - axis;
    if (rank != n || fy_dtype_of(v) != fy_dtype_of(x)) return false;
    for (int i = 0; i < n; i++)
        if (v->type.dim[i] != x->type.dim[axis + i]) return false;
    return true;
}

static fy_value *ones(fy_rewriting *r, fy_build *b, const fy_value *x, int axis) {
    int64_t dim[FY_MAX_RANK], count = 1;
    int n = fy_v_rank(x) - axis;
    for (int i = 0; i < n; i++) {
        if (!fy_dim_at(x, axis + i, &dim[i]) || dim[i] < 1 || count > 65536 / dim[i]) return NULL;
        count *= dim[i];
    }
    return fy_k_const(b, fy_const_splat(&r->m->arena, fy_dtype_of(x), n, dim, 1), NULL);
}

/* The node that joins v with a value of the normalised shape: its own output is what stands for the norm then. */
static fy_node *joined(fy_value *v, const char *op, const fy_value *x, int axis, fy_value **other) {
    if (!fy_sole(v) || !fy_is(v->uses->user, op)) return NULL;
    fy_node *n = v->uses->user;
    fy_value *w = fy_other(n, v);
    if (!w || !of_axes(w, x, axis)) return NULL;
    *other = w;
    return n;
}

/* LayerNormalization and RMSNormalization, from the quotient on. `next` of the walk may be one of the nodes after n, so that these are made dead
 * here, not removed: their place is taken where they stand. */
static bool layer(fy_rewriting *r, fy_node *n) {
    int axis, mean_axis;
    double eps;
    fy_value *u = normalised(n, &axis, &eps), *x = u, *m, *scale = NULL, *bias = NULL;
    if (!u || !fy_is_float(u) || fy_v_rank(u) < 1) return false;
    fy_node *sub = fy_made(u, "Sub"), *last = n;
    bool centred = sub && (mean_axis = mean_of(fy_in(sub, 1), &m)) == axis && m == fy_in(sub, 0) && !u->is_output;
    if (centred) {
        x = m;
        for (const fy_use *use = u->uses; use; use = use->next)      /* the difference is for the norm alone: quotient and square */
            if (use->user != n && !(use->user && square_of(use->user->out[0]) == u)) centred = false;
    }
    if (!centred) x = u;
    if (r->opset < (centred ? 17 : 23)) return false;
    fy_node *k = joined(n->out[0], "Mul", x, axis, &scale);
    if (k) {
        last = k;
        if (centred && (k = joined(last->out[0], "Add", x, axis, &bias))) last = k;
    } else if (centred && (k = joined(n->out[0], "Add", x, axis, &bias))) last = k;
    fy_build b = fy_before(r, last);
    if (!scale && !(scale = ones(r, &b, x, axis))) return b.status ? fy_unmade(r, &b) : false;
    fy_attr attr[2] = {fy_int("axis", axis == fy_v_rank(x) - 1 ? -1 : axis), fy_float("epsilon", eps)};
    fy_value *y = fy_emit(&b, centred ? "LayerNormalization" : "RMSNormalization", FY_V(x, scale, bias), FY_A(attr[0], attr[1]));
    if (!y) return fy_unmade(r, &b);
    fy_value *v = last->out[0];
    bool output = v->is_output;
    if (!fy_replace_output(v, y)) return false;
    if (!output) y->name = v->name, v->name = NULL;
    return true;                         /* the parts are dead now */
}

/* ---- groups -------------------------------------------------------------------------------------------------------- */

/* Constant with one number for each of c channels beside a value of `rank` axes: as a vector. */
static fy_value *per_channel(fy_rewriting *r, fy_build *b, const fy_value *v, int64_t c, int rank) {
    const fy_const *k = fy_fixed(v);
    if (!k || k->count != c || k->rank > rank) return NULL;
    for (int i = 0; i < k->rank; i++)
        if (k->dim[i] != (k->rank - 1 - i == rank - 2 ? c : 1)) return NULL;
    return fy_k_const(b, fy_const_reshape(&r->m->arena, k, 1, &c), NULL);
}

static bool group(fy_rewriting *r, fy_node *n) {
    fy_node *in = fy_from(n, 0, "InstanceNormalization"), *cut = in ? fy_from(in, 0, "Reshape") : NULL, *last = n;
    int64_t c, groups;
    double one, zero;
    if (r->opset < 21 || !fy_is(n, "Reshape") || !cut || !fy_sole(fy_in(n, 0)) || !fy_sole(fy_in(in, 0))) return false;
    fy_value *x = fy_in(cut, 0), *y = n->out[0], *scale = NULL, *bias = NULL;
    int rank = fy_v_rank(x);
    if (!fy_same_type(x, y) || rank < 3 || fy_v_rank(fy_in(in, 0)) != 3 || !fy_dim_at(x, 1, &c) || !fy_dim_at(fy_in(in, 0), 1, &groups) || groups < 1 || c % groups) return false;
    if (fy_in(in, 0)->type.dim[0] != x->type.dim[0] || !fy_splat(fy_in(in, 1), &one) || one != 1 || !fy_splat(fy_in(in, 2), &zero) || zero != 0) return false;
    fy_build b = fy_before(r, n);
    if (fy_sole(y) && fy_is(y->uses->user, "Mul") && (scale = per_channel(r, &b, fy_other(y->uses->user, y), c, rank))) last = y->uses->user;
    fy_value *z = last->out[0];
    if (fy_sole(z) && fy_is(z->uses->user, "Add") && (bias = per_channel(r, &b, fy_other(z->uses->user, z), c, rank))) last = z->uses->user;
    b.before = last;
    if (!scale) scale = fy_k_const(&b, fy_const_splat(&r->m->arena, fy_dtype_of(x), 1, &c, 1), NULL);
    if (!bias) bias = fy_k_const(&b, fy_const_splat(&r->m->arena, fy_dtype_of(x), 1, &c, 0), NULL);
    fy_value *w = fy_emit(&b, "GroupNormalization", FY_V(x, scale, bias), FY_A(fy_int("num_groups", groups), fy_float("epsilon", fy_attr_f(in, "epsilon"))));
    if (!w) return fy_unmade(r, &b);
    fy_value *v = last->out[0];
    bool output = v->is_output;
    if (!fy_replace_output(v, w)) return false;
    if (!output) w->name = v->name, v->name = NULL;
    return true;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (n->nout < 1 || !n->out[0] || (!n->out[0]->nuses && !n->out[0]->is_output)) return false;
    return layer(r, n) || (!r->status && group(r, n));
}

fy_status fy_pass_norm(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
