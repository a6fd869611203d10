/* SPDX-License-Identifier: Apache-2.0
 * gemm.c - MatMul of matrices and Add -> Gemm; Gemm without C and Add -> Gemm. The sum must not be wider than the product. A Gemm with
 * constants between two Reshapes that only fold the leading axes into rows -> MatMul on the whole, and Add. */
#include "passes/match.h"

#include <string.h>

/* Does c broadcast to the [m, n] of y from one side? */
static bool fits(const fy_value *c, const fy_value *y) {
    int rank = fy_v_rank(c);
    if (rank < 0 || rank > 2 || fy_v_rank(y) != 2 || fy_dtype_of(c) != fy_dtype_of(y)) return false;
    for (int i = 0; i < rank; i++) {
        const fy_dim *d = c->type.dim[i];
        if (!fy_dim_is(d, 1) && d != y->type.dim[2 - rank + i]) return false;
    }
    return true;
}

/* Does a view between x and y change no more than the axes before the last? */
static bool rows_only(const fy_value *x, const fy_value *y) {
    return fy_v_rank(x) > 0 && fy_v_rank(y) > 0 && x->type.dim[x->type.rank - 1] == y->type.dim[y->type.rank - 1];
}

static bool sandwich(fy_rewriting *r, fy_node *n) {
    fy_node *g = fy_from(n, 0, "Gemm"), *in = g ? fy_from(g, 0, "Reshape") : NULL;
    if (!in || !n->out[0] || !fy_sole(fy_in(n, 0)) || !fy_sole(fy_in(g, 0)) || !fy_fixed(fy_in(g, 1)) || fy_attr_i(g, "transA") || fy_attr_f(g, "alpha") != 1) return false;
    fy_value *x = fy_in(in, 0), *y = n->out[0], *w = fy_in(g, 1), *c = fy_in(g, 2);
    const fy_const *cc = fy_fixed(c);
    int rank = fy_v_rank(x);
    if (rank < 3 || fy_v_rank(y) != rank || !rows_only(x, fy_in(g, 0)) || !rows_only(fy_in(n, 0), y)) return false;
    for (int i = 0; i < rank - 1; i++)
        if (x->type.dim[i] != y->type.dim[i]) return false;
    if (c && (!cc || fy_attr_f(g, "beta") != 1 || cc->rank != 1)) return false;
    fy_build b = fy_before(r, n);
    if (fy_attr_i(g, "transB")) {
        if (w->nuses > 1 && w->constant->count > 65536) return false;        /* the file would hold the weight twice */
        const fy_const *t = fy_const_transpose(&r->m->arena, w->constant, (int[]){1, 0});
        fy_value *turned = t ? fy_graph_add_const(w->graph, w->nuses == 1 ? w->name : NULL, t) : NULL;
        if (!turned) return fy_no_memory(r);
        if (w->nuses == 1) w->name = NULL;
        w = turned;
    }
    fy_value *z = fy_emit(&b, "MatMul", FY_V(x, w), FY_NOATTR);
    if (c && z) z = fy_emit(&b, "Add", FY_V(z, c), FY_NOATTR);
    return fy_became(r, &b, n, z);
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (fy_is(n, "Reshape")) return sandwich(r, n);
    if (!fy_is(n, "Add") || !n->out[0] || !fy_is_float(n->out[0])) return false;
    for (int i = 0; i < 2; i++) {
        fy_value *y = fy_in(n, i), *c = fy_in(n, 1 - i);
        fy_node *p = fy_made(y, "MatMul");
        if (!p) p = fy_made(y, "Gemm");
        if (!p || !fy_sole(y) || fy_in(p, 2) || fy_v_rank(fy_in(p, 0)) != 2 || fy_v_rank(fy_in(p, 1)) != 2 || !fits(c, y)) continue;
        fy_attr attr[4];
        int na = 0;
        for (int k = 0; k < p->nattr && na < FY_COUNT(attr); k++)
            if (strcmp(p->attr[k].name, "beta")) attr[na++] = p->attr[k];      /* without C it meant nothing */
        fy_build b = fy_before(r, n);
        fy_value *z = fy_emit(&b, "Gemm", FY_V(fy_in(p, 0), fy_in(p, 1), c), na, attr);
        return fy_became(r, &b, n, z);
    }
    return false;
}

fy_status fy_pass_gemm(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
