/* SPDX-License-Identifier: Apache-2.0
 * compose.c - operators that have no implementation of their own in our engine, as those that have: of com.microsoft what onnxruntime's optimiser of transformers
 * and its exporters write (attention by merged weights, norms of sums, groups and embeddings, products, convolutions and softmaxes with what is fused to them) and
 * what ai.onnx has in another form, of ai.onnx Einsum of two operands, OneHot, LpNormalization, MeanVarianceNormalization. Floats are f32: halves become those
 * first (widen.c). Forms that are not known here (caches in one buffer, statistics as outputs) stay with the reference kernel. */
#include "passes/match.h"

#include <stdio.h>
#include <string.h>

#define MS "com.microsoft::"

static bool unused(const fy_node *n, int i) { return i >= n->nout || !n->out[i] || (!n->out[i]->nuses && !n->out[i]->is_output); }

/* Output i of n, if it is wanted, is `by`. */
static bool put(const fy_build *b, fy_node *n, int i, fy_value *by) { return unused(n, i) || (!b->status && by && fy_replace_output(n->out[i], by)); }

static fy_value *unsqueezed(fy_build *b, fy_value *v, int n, const int64_t *axes) { return fy_emit(b, "Unsqueeze", FY_V(v, fy_k_ints(b, n, axes)), FY_NOATTR); }

/* Has v the sizes of x's last axes, proved, or (`one`) 1 on its first? What would spread only in the run is the operator's to refuse. */
static bool ends(const fy_value *v, const fy_value *x, bool one) {
    const int rank = fy_v_rank(v), more = fy_v_rank(x) - rank;
    for (int i = 0; i < rank && more >= 0; i++)
        if (v->type.dim[i] != x->type.dim[more + i] && !(one && !i && fy_dim_is(v->type.dim[0], 1))) return false;
    return rank > 0 && more >= 0;
}

/* ---- norms ------------------------------------------------------------------------------------------------------------------- */

static bool simplified(fy_rewriting *r, fy_node *n) {
    if (!unused(n, 1) || !unused(n, 2)) return false;
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, fy_emit(&b, "RMSNormalization", FY_V(fy_in(n, 0), fy_in(n, 1)), FY_A(fy_int("axis", fy_attr_i(n, "axis")), fy_float("epsilon", fy_attr_f(n, "epsilon")))));
}

/* The norm of a sum, which may be an output as well: number `at`. */
static bool norm_of(fy_rewriting *r, fy_build *b, fy_node *n, fy_value *sum, fy_value *scale, fy_value *bias, bool rms, int at) {
    fy_value *y = fy_emit(b, rms ? "RMSNormalization" : "LayerNormalization", FY_V(sum, scale, bias), FY_A(fy_float("epsilon", fy_attr_f(n, "epsilon"))));
    if (!y || !put(b, n, at, sum)) return fy_unmade(r, b);
    return fy_became(r, b, n, y);
}

static bool skip(fy_rewriting *r, fy_node *n) {
    const bool rms = n->op->name[4] == 'S';
    fy_value *bias = fy_in(n, rms ? 3 : 4);
    if (!unused(n, 1) || !unused(n, 2) || !ends(fy_in(n, 1), fy_in(n, 0), fy_v_rank(fy_in(n, 1)) == 3)) return false;
    for (int i = 2; i < n->nin; i++)
        if (fy_in(n, i) && !ends(fy_in(n, i), fy_in(n, 0), false)) return false;
    fy_build b = fy_before(r, n);
    fy_value *sum = fy_emit(&b, "Add", FY_V(fy_in(n, 0), fy_in(n, 1)), FY_NOATTR);
    if (bias) sum = fy_emit(&b, "Add", FY_V(sum, bias), FY_NOATTR);
    return norm_of(r, &b, n, sum, fy_in(n, 2), rms ? NULL : fy_in(n, 3), rms, 3);
}

/* Input i of an embedding, dequantised where it has a scale. */
static fy_value *plain(fy_build *b, const fy_node *n, fy_value *v, int i) {
    return n->op->name[0] == 'Q' ? fy_emit(b, "DequantizeLinear", FY_V(v, fy_in(n, i + 6), fy_in(n, i + 11)), FY_NOATTR) : v;
}

static fy_value *looked_up(fy_build *b, const fy_node *n, int table, fy_value *ids) { return plain(b, n, fy_emit(b, "Gather", FY_V(fy_in(n, table), ids), FY_NOATTR), table); }

static bool embed(fy_rewriting *r, fy_node *n) {
    const bool bytes = n->op->name[0] == 'Q';
    fy_value *ids = fy_in(n, 0), *mask = fy_in(n, 7), *places = bytes ? NULL : fy_in(n, 8);
    int64_t rows;
    if (fy_v_rank(ids) != 2 || (!mask && !unused(n, 1)) || (fy_in(n, 1) && !ends(fy_in(n, 1), ids, false)) || (places && (fy_v_rank(places) != 2 || !ends(places, ids, true)))) return false;
    if (!places && (!fy_dim_at(fy_in(n, 3), 0, &rows) || (rows == 1 && !fy_dim_is(ids->type.dim[1], 1)))) return false;         /* one row would spread over all places */
    fy_build b = fy_before(r, n);
    fy_value *sum = looked_up(&b, n, 2, ids), *at;
    if (places) at = looked_up(&b, n, 3, places);
    else at = plain(&b, n, fy_b_slice(&b, fy_in(n, 3), 0, fy_k_ints(&b, 1, (const int64_t[]){0}), fy_b_dim(&b, ids->type.dim[1]), NULL), 3);
    sum = fy_emit(&b, "Add", FY_V(sum, at), FY_NOATTR);
    if (fy_in(n, 1)) sum = fy_emit(&b, "Add", FY_V(sum, looked_up(&b, n, 4, fy_in(n, 1))), FY_NOATTR);
    if (!unused(n, 1)) {
        fy_value *on = fy_emit(&b, "Equal", FY_V(mask, fy_k_scalar(&b, FERRY_INT32, 1)), FY_NOATTR);
        fy_value *count = on ? fy_emit(&b, "ReduceSum", FY_V(fy_b_cast(&b, on, FERRY_INT32), fy_k_ints(&b, 1, (const int64_t[]){1})), FY_A(fy_int("keepdims", 0))) : NULL;
        if (!put(&b, n, 1, count)) return fy_unmade(r, &b);
    }
    return norm_of(r, &b, n, sum, plain(&b, n, fy_in(n, 5), 5), plain(&b, n, fy_in(n, 6), 6), false, 2);
}

static bool lp(fy_rewriting *r, fy_node *n) {
    const int64_t axis = fy_attr_i(n, "axis");
    fy_build b = fy_before(r, n);
    fy_value *x = fy_in(n, 0), *size = fy_emit(&b, fy_attr_i(n, "p") == 1 ? "ReduceL1" : "ReduceL2", FY_V(x, fy_k_ints(&b, 1, &axis)), FY_NOATTR);
    if (!size) return fy_unmade(r, &b);
    fy_value *none = fy_emit(&b, "Equal", FY_V(size, fy_k_scalar(&b, fy_dtype_of(x), 0)), FY_NOATTR);          /* a row of zeros stays */
    return fy_became(r, &b, n, fy_emit(&b, "Div", FY_V(x, fy_emit(&b, "Where", FY_V(none, fy_k_scalar(&b, fy_dtype_of(x), 1), size), FY_NOATTR)), FY_NOATTR));
}

static bool mean_variance(fy_rewriting *r, fy_node *n) {
    int64_t count;
    const int64_t *given = fy_attr_ints(n, "axes", &count);
    fy_build b = fy_before(r, n);
    fy_value *x = fy_in(n, 0), *axes = given ? fy_k_ints(&b, count, given) : fy_k_ints(&b, 3, (const int64_t[]){0, 2, 3});
    fy_value *d = fy_emit(&b, "Sub", FY_V(x, fy_emit(&b, "ReduceMean", FY_V(x, axes), FY_NOATTR)), FY_NOATTR);
    fy_value *v = fy_emit(&b, "ReduceMean", FY_V(fy_emit(&b, "Mul", FY_V(d, d), FY_NOATTR), axes), FY_NOATTR);
    v = fy_emit(&b, "Add", FY_V(fy_emit(&b, "Sqrt", FY_V(v), FY_NOATTR), fy_k_scalar(&b, fy_dtype_of(x), 1e-9)), FY_NOATTR);
    return fy_became(r, &b, n, fy_emit(&b, "Div", FY_V(d, v), FY_NOATTR));
}

static fy_value *channels(fy_build *b, fy_value *x, bool first) { return x ? fy_b_transpose(b, x, first ? (const int[]){0, 3, 1, 2} : (const int[]){0, 2, 3, 1}) : NULL; }

/* GroupNorm and SkipGroupNorm: what is added has x's sizes, or is for each image and channel. */
static bool group(fy_rewriting *r, fy_node *n) {
    fy_value *x = fy_in(n, 0), *skip = fy_in(n, 3), *bias = fy_in(n, 4);
    const bool last = fy_attr_i(n, "channels_last") != 0;
    const int at = last ? 3 : 1, rank = fy_v_rank(skip);
    if (fy_dtype_of(fy_in(n, 1)) != FERRY_FLOAT || fy_dtype_of(fy_in(n, 2)) != FERRY_FLOAT || fy_v_rank(x) != 4 || (skip && rank != 2 && rank != 4)) return false;
    for (int i = 0; skip && i < rank; i++) {
        const int to = rank == 4 ? i : i ? at : 0;
        if (skip->type.dim[i] != x->type.dim[to] && !(to && to != at && fy_dim_is(skip->type.dim[i], 1))) return false;
    }
    fy_build b = fy_before(r, n);
    if (skip && rank == 2) skip = unsqueezed(&b, skip, 2, last ? (const int64_t[]){1, 2} : (const int64_t[]){2, 3});
    if (skip) x = fy_emit(&b, "Add", FY_V(x, skip), FY_NOATTR);
    if (bias) x = fy_emit(&b, "Add", FY_V(x, last ? bias : unsqueezed(&b, bias, 2, (const int64_t[]){1, 2})), FY_NOATTR);
    if (!put(&b, n, 1, x)) return fy_unmade(r, &b);
    x = fy_emit(&b, "GroupNormalization", FY_V(last ? channels(&b, x, true) : x, fy_in(n, 1), fy_in(n, 2)), FY_A(fy_int("num_groups", fy_attr_i(n, "groups")), fy_float("epsilon", fy_attr_f(n, "epsilon"))));
    if (x && fy_attr_i(n, "activation")) x = fy_emit(&b, "Swish", FY_V(x), FY_NOATTR);
    return fy_became(r, &b, n, last ? channels(&b, x, false) : x);
}

/* Over everything from the axis on. */
static bool softmax(fy_rewriting *r, fy_node *n) {
    fy_value *x = fy_in(n, 0), *bias = fy_in(n, 1);
    const int rank = fy_v_rank(x), more = rank - fy_v_rank(bias);
    int64_t axis = fy_attr_i(n, "axis");
    const fy_dim *dim[FY_MAX_RANK];
    if (rank < 1 || more < 0 || more > rank) return false;
    for (int i = more; i < rank; i++)
        if (bias->type.dim[i - more] != x->type.dim[i] && !fy_dim_is(bias->type.dim[i - more], 1)) return false;
    if (axis < 0) axis += rank;
    fy_build b = fy_before(r, n);
    fy_value *y = fy_emit(&b, "Add", FY_V(x, bias), FY_NOATTR);
    for (int i = 0; i <= axis; i++) dim[i] = x->type.dim[i];
    for (int i = (int)axis + 1; i < rank; i++) dim[axis] = fy_dim_mul(r->m->dims, dim[axis], x->type.dim[i]);
    if (y && axis < rank - 1) y = fy_b_reshape(&b, y, (int)axis + 1, dim);
    y = y ? fy_emit(&b, "Softmax", FY_V(y), FY_NOATTR) : NULL;
    return fy_became(r, &b, n, y && axis < rank - 1 ? fy_b_reshape(&b, y, rank, x->type.dim) : y);
}

static fy_value *swapped(fy_build *b, fy_value *x, int i, int k) {
    int perm[FY_MAX_RANK];
    for (int a = 0; a < FY_MAX_RANK; a++) perm[a] = a == i ? k : a == k ? i : a;
    return fy_b_transpose(b, x, perm);
}

/* ---- products and windows ---------------------------------------------------------------------------------------------------- */

/* What `activation` names. FusedConv has its parameters in a list, the others in attributes of their own. */
static fy_value *activated(fy_build *b, const fy_node *n, fy_value *y) {
    static const struct { const char *name, *par[2]; } table[] = {{"Relu", {0}}, {"Tanh", {0}}, {"Sigmoid", {0}}, {"LeakyRelu", {"alpha"}}, {"HardSigmoid", {"alpha", "beta"}}, {"Elu", {"alpha"}}, {"Selu", {"alpha", "gamma"}},
                                                                {"Softplus", {0}}, {"Softsign", {0}}, {"ThresholdedRelu", {"alpha"}}, {"HardSwish", {0}}, {"Clip", {0}}};
    const fy_attr *a = fy_attr_get(n, "activation"), *p = fy_attr_get(n, "activation_params"), *one;
    fy_attr attr[2];
    int count = 0, at = 0;
    if (!y || !a || !a->s.n) return y;
    while (at < FY_COUNT(table) && (a->s.n != strlen(table[at].name) || memcmp(a->s.at, table[at].name, a->s.n))) at++;
    if (at == FY_COUNT(table)) return fy_fail_value(b, FY_E_ATTR, "activation");
    if (p && p->n == 2 && !strcmp(table[at].name, "Clip"))
        return fy_emit(b, "Clip", FY_V(y, fy_k_scalar(b, fy_dtype_of(y), p->floats[0]), fy_k_scalar(b, fy_dtype_of(y), p->floats[1])), FY_NOATTR);
    for (int i = 0; i < 2 && table[at].par[i]; i++) {
        char own[32];
        snprintf(own, sizeof own, "activation_%s", table[at].par[i]);
        if (p && i < p->n) attr[count++] = fy_float(table[at].par[i], p->floats[i]);
        else if ((one = fy_attr_get(n, own))) attr[count++] = fy_float(table[at].par[i], one->f);
    }
    return fy_emit(b, table[at].name, 1, &y, count, attr);
}

static int64_t flag(const fy_node *n, const char *name) { return fy_attr_get(n, name) ? fy_attr_i(n, name) : 0; }

static bool matmul(fy_rewriting *r, fy_node *n) {
    fy_build b = fy_before(r, n);
    fy_value *side[2];
    for (int i = 0; i < 2; i++) {
        const int rank = fy_v_rank(fy_in(n, i));
        if (flag(n, i ? "transBatchB" : "transBatchA") || rank < 1) return false;
        side[i] = flag(n, i ? "transB" : "transA") && rank > 1 ? swapped(&b, fy_in(n, i), rank - 2, rank - 1) : fy_in(n, i);
    }
    fy_value *y = fy_emit(&b, "MatMul", 2, side, FY_NOATTR);
    double alpha = fy_attr_f(n, "alpha");
    if (y && alpha != 1) y = fy_emit(&b, "Mul", FY_V(y, fy_k_scalar(&b, fy_dtype_of(y), alpha)), FY_NOATTR);
    return fy_became(r, &b, n, activated(&b, n, y));
}

/* The attributes of the plain operator. */
static int bare(const fy_node *n, fy_attr *to, int most) {
    int k = 0;
    for (int i = 0; i < n->nattr && k < most; i++)
        if (strncmp(n->attr[i].name, "activation", 10)) to[k++] = n->attr[i];
    return k;
}

static bool gemm(fy_rewriting *r, fy_node *n) {
    fy_attr attr[8];
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, activated(&b, n, fy_emit(&b, "Gemm", FY_V(fy_in(n, 0), fy_in(n, 1), fy_in(n, 2)), bare(n, attr, 8), attr)));
}

static bool conv(fy_rewriting *r, fy_node *n) {
    const bool last = n->op->name[0] == 'N';
    fy_attr attr[8];
    fy_value *x = fy_in(n, 0), *z = fy_in(n, 3);
    if (last && (fy_v_rank(x) != 4 || (z && fy_v_rank(z) != 4))) return false;
    fy_build b = fy_before(r, n);
    fy_value *y = fy_emit(&b, "Conv", FY_V(last ? channels(&b, x, true) : x, fy_in(n, 1), fy_in(n, 2)), bare(n, attr, 8), attr);
    if (z) y = fy_emit(&b, "Add", FY_V(y, last ? channels(&b, z, true) : z), FY_NOATTR);
    y = activated(&b, n, y);
    return fy_became(r, &b, n, last ? channels(&b, y, false) : y);
}

/* ---- Einsum of two operands: one product of matrices ------------------------------------------------------------------------------ */

typedef struct terms { char label[3][FY_MAX_RANK + 1]; int n[3]; } terms;          /* of both operands and the result */

static bool parse(terms *t, fy_str s) {
    int at = 0;
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.at[i];
        if (c == ' ') continue;
        if (c == ',' || c == '-') {
            if (at != (c == '-') || (c == '-' && (++i >= s.n || s.at[i] != '>'))) return false;
            at++;
        } else if (!((c | 32) >= 'a' && (c | 32) <= 'z') || t->n[at] == FY_MAX_RANK || strchr(t->label[at], c)) return false;
        else t->label[at][t->n[at]++] = c;
    }
    return at == 2;
}

/* `labels` of an operand as its axes, in that order. */
static fy_value *ordered(fy_build *b, fy_value *x, const char *has, const char *wanted) {
    int perm[FY_MAX_RANK];
    for (int i = 0; wanted[i]; i++) perm[i] = (int)(strchr(has, wanted[i]) - has);
    return fy_b_transpose(b, x, perm);
}

/* Axes [batch, a + c] as [batch, A, C]: those of a and of c multiplied. */
static fy_value *joined(fy_build *b, fy_value *x, int batch, int a, int c) {
    const fy_dim *dim[FY_MAX_RANK];
    if (!x || (a == 1 && c == 1)) return x;
    if (batch + 2 > FY_MAX_RANK) return fy_fail_value(b, FY_E_LIMIT, "rank");
    for (int i = 0; i < batch; i++) dim[i] = x->type.dim[i];
    for (int k = 0, at = batch; k < 2; k++) {
        dim[batch + k] = fy_dim_const(b->g->model->dims, 1);
        for (int i = 0; i < (k ? c : a); i++) dim[batch + k] = fy_dim_mul(b->g->model->dims, dim[batch + k], x->type.dim[at++]);
    }
    return fy_b_reshape(b, x, batch + 2, dim);
}

static bool einsum(fy_rewriting *r, fy_node *n) {
    terms t;
    char part[4][FY_MAX_RANK + 1] = {"", "", "", ""}, a[3 * FY_MAX_RANK + 1], c[3 * FY_MAX_RANK + 1], y[3 * FY_MAX_RANK + 1];       /* batch, rows, summed, columns */
    const fy_dim *dim[FY_MAX_RANK];
    fy_value *x = fy_in(n, 0), *z = fy_in(n, 1);
    if (n->nin != 2 || !parse(&t, fy_attr_s(n, "equation")) || t.n[0] != fy_v_rank(x) || t.n[1] != fy_v_rank(z)) return false;
    for (int k = 2; k >= 0; k--)
        for (int i = 0; i < t.n[k]; i++) {
            const char l = t.label[k][i], *in_a = strchr(t.label[0], l), *in_b = strchr(t.label[1], l);
            const bool kept = strchr(t.label[2], l) != NULL;
            if (k < 2 && kept) continue;
            if (in_a && in_b && x->type.dim[in_a - t.label[0]] != z->type.dim[in_b - t.label[1]]) return false;
            if (k < 2 && !(in_a && in_b)) return false;         /* summed by itself */
            if (k == 1) continue;
            char *to = part[in_a && in_b ? (kept ? 0 : 2) : in_a ? 1 : 3];
            to[strlen(to)] = l;
        }
    const int nb = (int)strlen(part[0]), nm = (int)strlen(part[1]), nk = (int)strlen(part[2]), nn = (int)strlen(part[3]);
    snprintf(a, sizeof a, "%s%s%s", part[0], part[1], part[2]);
    snprintf(c, sizeof c, "%s%s%s", part[0], part[2], part[3]);
    snprintf(y, sizeof y, "%s%s%s", part[0], part[1], part[3]);
    fy_build b = fy_before(r, n);
    x = joined(&b, ordered(&b, x, t.label[0], a), nb, nm, nk);
    z = joined(&b, ordered(&b, z, t.label[1], c), nb, nk, nn);
    fy_value *v = fy_emit(&b, "MatMul", FY_V(x, z), FY_NOATTR);
    for (int i = 0; i < t.n[2]; i++) dim[i] = n->out[0]->type.dim[strchr(t.label[2], y[i]) - t.label[2]];
    if (v && (nm != 1 || nn != 1)) v = fy_b_reshape(&b, v, t.n[2], dim);
    return fy_became(r, &b, n, v ? ordered(&b, v, y, t.label[2]) : NULL);
}

/* ---- attention --------------------------------------------------------------------------------------------------------------------- */

/* What is added to the scores [B, N, S, T]; *known: false for a mask of another form. */
static fy_value *mask_of(fy_build *b, const fy_node *n, fy_value *mask, fy_value *bias, const fy_dim *B, const fy_dim *S, const fy_dim *T, bool *known) {
    fy_value *seen;
    *known = true;
    if (!mask) return bias;
    const fy_type *t = &mask->type;
    if (t->rank == 1 && t->dim[0] == B) {                    /* how many keys are seen */
        fy_value *keys = fy_emit(b, "Range", FY_V(fy_k_i64(b, 0), fy_b_squeeze(b, fy_b_dim(b, T), 0), fy_k_i64(b, 1)), FY_NOATTR);
        seen = fy_emit(b, "Less", FY_V(keys, unsqueezed(b, fy_b_cast(b, mask, FERRY_INT64), 1, (const int64_t[]){1})), FY_NOATTR);
    } else if ((t->rank == 2 && t->dim[0] == B && t->dim[1] == T) || (t->rank == 3 && t->dim[0] == B && t->dim[1] == S && t->dim[2] == T))
        seen = fy_emit(b, "Greater", FY_V(mask, fy_k_scalar(b, FERRY_INT32, 0)), FY_NOATTR);
    else {
        *known = false;
        return NULL;
    }
    seen = t->rank == 3 ? unsqueezed(b, seen, 1, (const int64_t[]){1}) : unsqueezed(b, seen, 2, (const int64_t[]){1, 2});
    seen = fy_emit(b, "Where", FY_V(seen, fy_k_scalar(b, FERRY_FLOAT, 0), fy_k_scalar(b, FERRY_FLOAT, fy_attr_f(n, "mask_filter_value"))), FY_NOATTR);
    return bias ? fy_emit(b, "Add", FY_V(seen, bias), FY_NOATTR) : seen;
}

/* ai.onnx's of q, k, v [B, ., heads * size] or [B, heads, ., size] with outputs y, present_k, present_v. */
static fy_node *attend(fy_build *b, const fy_node *n, int nout, fy_value *const q[3], fy_value *mask, fy_value *past_k, fy_value *past_v) {
    fy_attr attr[4] = {fy_int("is_causal", flag(n, "unidirectional"))};
    int count = 1;
    if (b->status) return NULL;
    if (fy_v_rank(q[0]) == 3) {
        attr[count++] = fy_int("q_num_heads", fy_attr_i(n, "num_heads"));
        attr[count++] = fy_int("kv_num_heads", fy_attr_i(n, "num_heads"));
    }
    if (fy_attr_f(n, "scale") != 0) attr[count++] = fy_float("scale", fy_attr_f(n, "scale"));
    return fy_emit_n(b, "Attention", nout, FY_V(q[0], q[1], q[2], mask, past_k, past_v), count, attr);
}

/* Attention and QAttention: one product by the merged weights first. A past is [2, B, N, P, H]. */
static bool merged(fy_rewriting *r, fy_node *n) {
    const bool bytes = n->op->name[0] == 'Q';
    fy_value *x = fy_in(n, 0), *w = fy_in(n, 1), *past = fy_in(n, bytes ? 8 : 4), *was[2] = {NULL, NULL}, *qkv, *mask;
    int64_t columns, count, cut[3];
    const fy_attr *a = fy_attr_get(n, "qkv_hidden_sizes");
    bool known;
    if (fy_v_rank(x) != 3 || fy_v_rank(w) != 2 || !fy_dim_at(w, 1, &columns) || flag(n, "past_present_share_buffer") || flag(n, "do_rotary") || (!bytes && fy_in(n, 6)) || (past && fy_v_rank(past) != 5)) return false;
    for (int i = 0; i < 3; i++) cut[i] = columns / 3;
    if (a && a->n == 3) memcpy(cut, fy_attr_ints(n, "qkv_hidden_sizes", &count), sizeof cut);
    fy_build b = fy_before(r, n);
    if (bytes) qkv = fy_emit(&b, MS "MatMulIntegerToFloat", FY_V(x, w, fy_in(n, 3), fy_in(n, 4), fy_in(n, 6), fy_in(n, 7), fy_in(n, 2)), FY_NOATTR);
    else {
        qkv = fy_emit(&b, "MatMul", FY_V(x, w), FY_NOATTR);
        if (fy_in(n, 2)) qkv = fy_emit(&b, "Add", FY_V(qkv, fy_in(n, 2)), FY_NOATTR);
    }
    fy_node *parts = qkv ? fy_emit_n(&b, "Split", 3, FY_V(qkv, fy_k_ints(&b, 3, cut)), FY_A(fy_int("axis", 2))) : NULL;
    const fy_dim *B = x->type.dim[0], *S = x->type.dim[1], *T = S;
    if (past) {
        T = fy_dim_add(r->m->dims, S, past->type.dim[3]);
        fy_node *halves = fy_emit_n(&b, "Split", 2, FY_V(past), FY_A(fy_int("axis", 0), fy_int("num_outputs", 2)));
        for (int i = 0; halves && i < 2; i++) was[i] = fy_b_squeeze(&b, halves->out[i], 0);
    }
    mask = mask_of(&b, n, fy_in(n, bytes ? 5 : 3), bytes ? NULL : fy_in(n, 5), B, S, T, &known);
    fy_node *y = parts && known ? attend(&b, n, unused(n, 1) ? 1 : 3, parts->out, mask, was[0], was[1]) : NULL;
    if (!y) return fy_unmade(r, &b);
    if (!unused(n, 1)) {
        fy_value *now[2];
        for (int i = 0; i < 2; i++) now[i] = fy_b_unsqueeze(&b, y->out[1 + i], 0);
        if (!put(&b, n, 1, b.status ? NULL : fy_b_concat(&b, 2, now, 0))) return fy_unmade(r, &b);
    }
    return fy_became(r, &b, n, y->out[0]);
}

/* [B, S, N * H] as [B, N, S, H], or back. */
static fy_value *heads(fy_build *b, fy_value *v, int64_t n, bool apart) {
    fy_dims *d = b->g->model->dims;
    const int order[] = {0, 2, 1, 3};
    if (!v) return NULL;
    if (!apart) v = fy_b_transpose(b, v, order);
    if (!v) return NULL;
    const fy_dim *dim[4] = {v->type.dim[0], v->type.dim[1], apart ? fy_dim_const(d, n) : fy_dim_mul(d, v->type.dim[2], v->type.dim[3]), apart ? fy_dim_divi(d, v->type.dim[2], n) : NULL};
    v = fy_b_reshape(b, v, apart ? 4 : 3, dim);
    return v && apart ? fy_b_transpose(b, v, order) : v;
}

static bool multi_head(fy_rewriting *r, fy_node *n) {
    fy_value *v[3] = {fy_in(n, 0), fy_in(n, 1), fy_in(n, 2)}, *bias = fy_in(n, 3), *past_k = fy_in(n, 6), *past_v = fy_in(n, 7);
    const int64_t count = fy_attr_i(n, "num_heads");
    const bool cached = v[1] && fy_v_rank(v[1]) == 4;        /* keys and values as heads already */
    int64_t size[3], at = 0;
    bool known;
    for (int i = 0; i < 3; i++)
        if (!v[i] || fy_v_rank(v[i]) != (i && cached ? 4 : 3) || (bias && !(i && cached) && !fy_dim_at(v[i], 2, &size[i]))) return false;
    if (fy_in(n, 8) || fy_in(n, 9) || !unused(n, 3) || (past_k && (fy_v_rank(past_k) != 4 || cached))) return false;
    fy_build b = fy_before(r, n);
    const fy_dim *B = v[0]->type.dim[0], *S = v[0]->type.dim[1], *L = v[1]->type.dim[cached ? 2 : 1];
    if (flag(n, "unidirectional") && L != S) return false;
    for (int i = 0; bias && i < (cached ? 1 : 3); at += size[i++])
        v[i] = fy_emit(&b, "Add", FY_V(v[i], fy_b_slice(&b, bias, 0, fy_k_ints(&b, 1, &at), fy_k_ints(&b, 1, (const int64_t[]){at + size[i]}), NULL)), FY_NOATTR);
    fy_value *mask = mask_of(&b, n, fy_in(n, 4), fy_in(n, 5), B, S, past_k ? fy_dim_add(r->m->dims, L, past_k->type.dim[2]) : L, &known);
    if (cached) v[0] = heads(&b, v[0], count, true);
    fy_node *y = known ? attend(&b, n, unused(n, 1) && unused(n, 2) ? 1 : 3, v, mask, past_k, past_v) : NULL;
    for (int i = 1; i < 3 && y; i++)
        if (!put(&b, n, i, y->nout > i ? y->out[i] : NULL)) return fy_unmade(r, &b);
    return y ? fy_became(r, &b, n, cached ? heads(&b, y->out[0], count, false) : y->out[0]) : fy_unmade(r, &b);
}

static bool rotary(fy_rewriting *r, fy_node *n) {
    fy_value *x = fy_in(n, 0), *ids = fy_in(n, 1), *angles = fy_in(n, 2);
    const int64_t turned = fy_attr_i(n, "rotary_embedding_dim");
    int64_t half, size, count = fy_attr_i(n, "num_heads");
    const int rank = fy_v_rank(x);
    if (rank < 3 || fy_v_rank(ids) != 2 || ids->type.dim[0] != x->type.dim[0] || ids->type.dim[1] != x->type.dim[rank - 2] || !fy_dim_at(angles, 1, &half) || half < 1 || (turned && turned != 2 * half)) return false;
    if (rank == 3 && !turned) {
        if (!fy_dim_at(x, 2, &size) || size % (2 * half) || (count && count != size / (2 * half))) return false;
        count = size / (2 * half);
    }
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, fy_emit(&b, "RotaryEmbedding", FY_V(x, angles, fy_in(n, 3), ids), FY_A(fy_int("interleaved", fy_attr_i(n, "interleaved")), fy_int("rotary_embedding_dim", 2 * half), fy_int("num_heads", count))));
}

/* ---- of the same meaning ------------------------------------------------------------------------------------------------------------ */

static bool quantised(fy_rewriting *r, fy_node *n) {
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, fy_emit(&b, n->op->name, FY_V(fy_in(n, 0), fy_in(n, 1), fy_in(n, 2)), n->nattr, n->attr));
}

/* A list of one where ai.onnx has a scalar, and one row for a list. */
static fy_value *fewer_axes(fy_build *b, fy_value *v, int rank) { return v && fy_v_rank(v) == rank + 1 ? fy_b_squeeze(b, v, 0) : v; }

static bool renamed(fy_rewriting *r, fy_node *n) {
    const bool pad = n->op->name[0] == 'P', expand = n->op->name[0] == 'E';
    fy_value *x = fy_in(n, 0), *second = fy_in(n, 1);
    const int rank = second ? fy_v_rank(second) : 0;
    if (rank < 0 || (expand && rank && (rank > 1 || !fy_dim_is(second->type.dim[0], 1)))) return false;
    fy_build b = fy_before(r, n);
    if (pad) return fy_became(r, &b, n, fy_emit(&b, "Pad", FY_V(x, fewer_axes(&b, second, 1), fewer_axes(&b, fy_in(n, 2), 0)), n->nattr, n->attr));
    if (second) second = fy_b_cast(&b, second, FERRY_INT64);
    if (expand && !rank) second = unsqueezed(&b, second, 1, (const int64_t[]){0});
    return fy_became(r, &b, n, fy_emit(&b, expand ? "Unsqueeze" : n->op->name, FY_V(x, second), n->nattr, n->attr));
}

static bool grid_sample(fy_rewriting *r, fy_node *n) {
    static const char *const modes[][2] = {{"bilinear", "linear"}, {"nearest", "nearest"}, {"bicubic", "cubic"}}, *const pads[] = {"zeros", "border", "reflection"};
    const char *mode = NULL, *pad = NULL;
    for (int i = 0; i < 3; i++) {
        if (fy_attr_is(n, "mode", modes[i][0])) mode = modes[i][1];
        if (fy_attr_is(n, "padding_mode", pads[i])) pad = pads[i];
    }
    if (!mode || !pad) return false;
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, fy_emit(&b, "GridSample", FY_V(fy_in(n, 0), fy_in(n, 1)), FY_A(fy_text("mode", mode), fy_text("padding_mode", pad), fy_int("align_corners", fy_attr_i(n, "align_corners")))));
}

/* Indices beside 0, 1, ... along a new axis; those below 0 count from the end. */
static bool one_hot(fy_rewriting *r, fy_node *n) {
    int64_t depth, count, axis = fy_attr_i(n, "axis"), at[FY_MAX_RANK];
    fy_value *i = fy_in(n, 0), *values = fy_in(n, 2);
    const int rank = fy_v_rank(i);
    if ((fy_dtype_of(i) != FERRY_INT64 && fy_dtype_of(i) != FERRY_INT32) || rank < 0 || rank >= FY_MAX_RANK || !fy_ints_of(n, 1, &depth, 1, &count) || count != 1 || depth < 1 || depth > 65536) return false;
    if (axis < 0) axis += rank + 1;
    for (int k = 0; k <= rank; k++) at[k] = k == axis ? depth : 1;
    int64_t *numbers = FY_NEWN(&r->m->arena, int64_t, depth);
    for (int64_t k = 0; numbers && k < depth; k++) numbers[k] = k;
    fy_build b = fy_before(r, n);
    fy_value *beside = fy_b_cast(&b, fy_k_const(&b, numbers ? fy_const_copy(&r->m->arena, FERRY_INT64, rank + 1, at, numbers) : NULL, NULL), fy_dtype_of(i)), *side[2];
    fy_value *below = fy_emit(&b, "Less", FY_V(i, fy_k_scalar_i(&b, fy_dtype_of(i), 0)), FY_NOATTR);
    i = fy_emit(&b, "Where", FY_V(below, fy_emit(&b, "Add", FY_V(i, fy_k_scalar_i(&b, fy_dtype_of(i), depth)), FY_NOATTR), i), FY_NOATTR);
    fy_value *same = fy_emit(&b, "Equal", FY_V(unsqueezed(&b, i, 1, &axis), beside), FY_NOATTR);
    for (int k = 0; k < 2; k++) side[k] = fy_b_slice(&b, values, 0, fy_k_ints(&b, 1, (const int64_t[]){k}), fy_k_ints(&b, 1, (const int64_t[]){k + 1}), NULL);
    return fy_became(r, &b, n, b.status ? NULL : fy_emit(&b, "Where", FY_V(same, side[1], side[0]), FY_NOATTR));
}

static bool add(fy_rewriting *r, fy_node *n) {
    if (!ends(fy_in(n, 1), fy_in(n, 0), false) || !fy_same_type(fy_in(n, 2), fy_in(n, 0))) return false;
    fy_build b = fy_before(r, n);
    return fy_became(r, &b, n, fy_emit(&b, "Add", FY_V(fy_emit(&b, "Add", FY_V(fy_in(n, 0), fy_in(n, 1)), FY_NOATTR), fy_in(n, 2)), FY_NOATTR));
}

/* Half of x + bias times the gelu of the other half. */
static bool gated(fy_rewriting *r, fy_node *n) {
    int64_t both;
    if (!fy_dim_at(fy_in(n, 0), -1, &both) || !ends(fy_in(n, 1), fy_in(n, 0), false)) return false;         /* it is even */
    fy_build b = fy_before(r, n);
    fy_value *sum = fy_emit(&b, "Add", FY_V(fy_in(n, 0), fy_in(n, 1)), FY_NOATTR);
    fy_node *half = sum ? fy_emit_n(&b, "Split", 2, FY_V(sum), FY_A(fy_int("axis", -1), fy_int("num_outputs", 2))) : NULL;
    return fy_became(r, &b, n, half ? fy_emit(&b, "Mul", FY_V(half->out[0], fy_emit(&b, "Gelu", FY_V(half->out[1]), FY_NOATTR)), FY_NOATTR) : NULL);
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    static const struct { const char *domain, *name; bool (*as)(fy_rewriting *, fy_node *); } table[] = {
        {"", "SimplifiedLayerNormalization", simplified}, {"", "LpNormalization", lp}, {"", "MeanVarianceNormalization", mean_variance}, {"", "Einsum", einsum}, {"", "OneHot", one_hot},
        {"com.microsoft", "SkipLayerNormalization", skip}, {"com.microsoft", "SkipSimplifiedLayerNormalization", skip}, {"com.microsoft", "EmbedLayerNormalization", embed},
        {"com.microsoft", "QEmbedLayerNormalization", embed}, {"com.microsoft", "FusedMatMul", matmul}, {"com.microsoft", "TransposeMatMul", matmul}, {"com.microsoft", "FusedMatMulActivation", matmul},
        {"com.microsoft", "FusedGemm", gemm}, {"com.microsoft", "FusedConv", conv}, {"com.microsoft", "NhwcFusedConv", conv}, {"com.microsoft", "Attention", merged}, {"com.microsoft", "QAttention", merged},
        {"com.microsoft", "MultiHeadAttention", multi_head}, {"com.microsoft", "QuantizeLinear", quantised}, {"com.microsoft", "DequantizeLinear", quantised}, {"com.microsoft", "BiasAdd", add},
        {"com.microsoft", "RotaryEmbedding", rotary}, {"com.microsoft", "GroupNorm", group}, {"com.microsoft", "SkipGroupNorm", group}, {"com.microsoft", "BiasSoftmax", softmax}, {"com.microsoft", "BiasSplitGelu", gated},
        {"com.microsoft", "GridSample", grid_sample}, {"com.microsoft", "Pad", renamed}, {"com.microsoft", "Trilu", renamed}, {"com.microsoft", "GatherND", renamed}, {"com.microsoft", "ExpandDims", renamed},
    };
    for (int i = 0; i < FY_COUNT(table) && n->out[0]; i++)
        if (!strcmp(n->op->name, table[i].name) && !strcmp(n->op->domain, table[i].domain))
            return (fy_dtype_of(n->out[0]) == FERRY_FLOAT || table[i].as == quantised || table[i].as == one_hot || table[i].as == renamed) && table[i].as(r, n);
    return false;
}

fy_status fy_pass_compose(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return o->bytes ? fy_each_node(m, o, changes, e, rewrite) : FY_OK; }
