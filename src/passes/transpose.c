/* SPDX-License-Identifier: Apache-2.0
 * transpose.c - fewer transposes. Two in a row are one; Gemm and a MatMul of matrices take one as an attribute; one below a tree of
 * elementwise nodes (also Concat, Softmax) whose leaves are transposes or constants goes, because the leaves can be turned instead; so does one of a
 * quantised weight. */
#include "passes/match.h"

#include <string.h>

#define MAX_TREE 48                      /* nodes looked at for one transpose */

static bool perm_of(const fy_node *n, int *perm, int *rank) {
    int64_t k;
    const int64_t *p = fy_attr_ints(n, "perm", &k);
    *rank = fy_v_rank(fy_in(n, 0));
    if (*rank < 0 || *rank > FY_MAX_RANK || (p && k != *rank)) return false;
    for (int i = 0; i < *rank; i++) perm[i] = p ? (int)p[i] : *rank - 1 - i;
    return true;
}

/* out = transpose by `first`, then by `second` */
static bool compose(int rank, const int *first, const int *second, int *out) {
    bool same = true;
    for (int i = 0; i < rank; i++) {
        out[i] = first[second[i]];
        same &= out[i] == i;
    }
    return same;
}

static bool swaps(const fy_node *t) {
    int perm[FY_MAX_RANK], rank;
    return t && perm_of(t, perm, &rank) && rank == 2 && perm[0] == 1;
}

/* Gemm(A^T) and MatMul(A, B^T) of matrices. A product of constants is folded elsewhere. */
static bool into_gemm(fy_rewriting *r, fy_node *n) {
    bool gemm = fy_is(n, "Gemm");
    fy_value *in[2];
    int64_t flip[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        fy_node *t = fy_from(n, i, "Transpose");
        flip[i] = swaps(t);
        in[i] = flip[i] ? fy_in(t, 0) : fy_in(n, i);
        if (fy_v_rank(in[i]) != 2) return false;
    }
    if (!flip[0] && !flip[1]) return false;
    if (gemm) {
        static const char *const name[] = {"transA", "transB"};
        for (int i = 0; i < 2; i++) {
            if (!flip[i]) continue;
            if (!fy_set(r, n, fy_int(name[i], !fy_attr_i(n, name[i])))) return false;
            fy_reroute(r, n, i, in[i]);
        }
        return true;
    }
    if (!fy_is_float(in[0])) return false;
    for (int i = 0; i < 2; i++)
        if (flip[i] && !fy_sole(fy_in(n, i))) return false;  /* the transpose would stay: nothing is won */
    fy_build b = fy_before(r, n);
    fy_attr attr[2];
    int na = 0;
    if (flip[0]) attr[na++] = fy_int("transA", 1);
    if (flip[1]) attr[na++] = fy_int("transB", 1);
    return fy_became(r, &b, n, fy_emit(&b, "Gemm", 2, in, na, attr));
}

/* ---- trees --------------------------------------------------------------------------------------------------------- */

typedef struct tree { fy_node *node[MAX_TREE]; int n, leaves; int rank; } tree;

static bool pushes(const fy_node *n) {
    if (*n->op->domain || n->ncap || n->nout < 1) return false;
    if ((n->op->flags & FY_ELEMENTWISE) && (n->op->flags & FY_PURE) && n->nout == 1) return !fy_is(n, "PRelu");
    return fy_is(n, "Concat") || fy_is(n, "Softmax") || fy_is(n, "LogSoftmax");
}

static bool small_const(const fy_value *v, int rank) {
    const fy_const *c = fy_fixed(v);
    return c && (c->rank <= 1 ? c->count == 1 : c->rank == rank);
}

/* May every path from n up end in a transpose or a constant? Breadth first, bounded. */
static bool collect(tree *t, fy_node *root) {
    t->node[0] = root;
    t->n = 1;
    t->leaves = 0;
    for (int at = 0; at < t->n; at++) {
        fy_node *n = t->node[at];
        for (int i = 0; i < n->nin; i++) {
            fy_value *x = fy_in(n, i);
            if (!x || small_const(x, t->rank)) continue;
            if (fy_v_rank(x) != t->rank || !fy_sole(x)) return false;
            if (fy_is(x->def, "Transpose")) { t->leaves++; continue; }
            if (!pushes(x->def) || t->n == MAX_TREE) return false;
            t->node[t->n++] = x->def;
        }
    }
    return t->leaves > 0;
}

static bool turn_input(fy_rewriting *r, fy_node *n, int i, const int *perm, int rank) {
    fy_value *x = fy_in(n, i);
    if (!x || (x->constant && x->constant->count == 1)) return true;
    int64_t p[FY_MAX_RANK];
    fy_build b = fy_before(r, n);
    if (x->constant) {
        fy_value *k = fy_k_const(&b, fy_const_transpose(&r->m->arena, x->constant, perm), NULL);
        if (!k) return fy_no_memory(r);
        fy_node_set_input(n, i, k);
        return true;
    }
    if (!fy_is(x->def, "Transpose")) return true;            /* turned itself */
    int own[FY_MAX_RANK], both[FY_MAX_RANK];
    if (!perm_of(x->def, own, &rank)) return false;
    fy_value *src = fy_in(x->def, 0);
    if (!compose(rank, own, perm, both)) {
        for (int k = 0; k < rank; k++) p[k] = both[k];
        src = fy_emit(&b, "Transpose", FY_V(src), FY_A(fy_ints("perm", rank, p)));
        if (!src) { r->status = b.status; return false; }
    }
    fy_reroute(r, n, i, src);
    return true;
}

/* What the node makes is now the transpose of what it made: its axis and type. */
static bool turn_output(fy_rewriting *r, fy_node *n, const int *perm, int rank) {
    if (fy_attr_get(n, "axis") || fy_is(n, "Softmax") || fy_is(n, "LogSoftmax") || fy_is(n, "DequantizeLinear")) {
        int64_t axis = fy_attr_i(n, "axis");
        if (axis < 0) axis += rank;
        for (int k = 0; k < rank; k++)
            if (perm[k] == axis) { axis = k; break; }
        if (!fy_set(r, n, fy_int("axis", axis))) return false;
    }
    fy_value *y = n->out[0];
    const fy_dim *dim[FY_MAX_RANK];
    for (int k = 0; k < rank; k++) dim[k] = y->type.dim[perm[k]];
    y->type = fy_tensor_type(r->m, y->type.dtype, rank, dim);
    y->name = NULL;                      /* it is another value now */
    return y->type.kind == FY_TENSOR || fy_no_memory(r);
}

static bool turn(fy_rewriting *r, fy_node *n, const int *perm, int rank) {
    for (int i = 0; i < n->nin; i++)
        if (!turn_input(r, n, i, perm, rank)) return false;
    return turn_output(r, n, perm, rank);
}

/* A weight of bytes with a scale, or one for each channel: itself turned. */
static bool dequantized(fy_rewriting *r, fy_node *n, const int *perm, int rank) {
    fy_value *x = fy_in(n, 0);
    fy_node *q = fy_from(n, 0, "DequantizeLinear");
    int scales = q ? fy_v_rank(fy_in(q, 1)) : -1;
    if (scales < 0 || scales > 1 || !fy_sole(x) || !fy_fixed(fy_in(q, 0)) || fy_dtype_bits(fy_in(q, 0)->type.dtype) < 8) return false;
    return turn_input(r, q, 0, perm, rank) && turn_output(r, q, perm, rank) && fy_is_value(r, n, x);
}

static bool untree(fy_rewriting *r, fy_node *n, const int *perm, int rank) {
    tree t = {.rank = rank};
    fy_value *x = fy_in(n, 0);
    if (!fy_sole(x) || !pushes(x->def) || !collect(&t, x->def)) return false;
    if (n->out[0]->is_output && x->def->nout != 1) return false;
    for (int i = 0; i < t.n; i++)
        if (fy_v_rank(t.node[i]->out[0]) != rank) return false;
    for (int i = 0; i < t.n; i++)
        if (!turn(r, t.node[i], perm, rank)) return false;
    fy_value *y = n->out[0];
    const char *name = y->is_output ? NULL : y->name;
    if (!fy_is_value(r, n, x)) return false;
    if (name) x->name = name, y->name = NULL;
    return true;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    int perm[FY_MAX_RANK], own[FY_MAX_RANK], both[FY_MAX_RANK], rank, prank;
    if ((fy_is(n, "Gemm") || fy_is(n, "MatMul")) && n->nin >= 2) return into_gemm(r, n);
    if (!fy_is(n, "Transpose") || !n->out[0] || !perm_of(n, perm, &rank)) return false;
    fy_node *p = fy_from(n, 0, "Transpose");
    if (!p) return dequantized(r, n, perm, rank) || (!r->status && untree(r, n, perm, rank));
    if (!perm_of(p, own, &prank) || prank != rank) return false;
    if (compose(rank, own, perm, both)) return fy_is_value(r, n, fy_in(p, 0));
    int64_t wide[FY_MAX_RANK];
    for (int i = 0; i < rank; i++) wide[i] = both[i];
    if (!fy_set(r, n, fy_ints("perm", rank, wide))) return false;
    fy_reroute(r, n, 0, fy_in(p, 0));
    return true;
}

fy_status fy_pass_transpose(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
