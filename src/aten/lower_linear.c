/* SPDX-License-Identifier: Apache-2.0
 * lower_linear.c - products of matrices. linear on a matrix is Gemm with transB, so the weight keeps its bytes; on more
 * axes Gemm does not apply (it is 2-D only) and MatMul has no transpose flag, so the weight is transposed: folding makes that a constant,
 * a recipe that is computed while it is written, unless the weight is large and read as it is as well (a tied embedding). */
#include "aten/lower.h"

#include <stdio.h>
#include <string.h>

/* x with its last two axes swapped. */
static fy_value *swapped(fy_lower *l, fy_value *x) {
    int rank = fy_rank(l, x), perm[FY_MAX_RANK];
    if (!x || rank < 2 || l->b.status != FY_OK) return x;
    for (int i = 0; i < rank; i++) perm[i] = i;
    perm[rank - 2] = rank - 1;
    perm[rank - 1] = rank - 2;
    if (!x->constant || !x->name || l->depth) return fy_b_transpose(&l->b, x, perm);
    char *name = fy_arena_fmt(&l->m->arena, "%s.T", x->name);              /* several nodes may read the weight: one transpose serves all */
    fy_value *v = name ? fy_map_gets(&l->transposed, name) : NULL;
    if (v) return v;
    v = name ? fy_b_transpose(&l->b, x, perm) : NULL;
    if (v) v->name = name;
    if ((!v || !fy_map_puts(&l->transposed, name, v)) && l->b.status == FY_OK) (void)fy_l_fail(l, FY_E_NOMEM, "out of memory");
    return v;
}

/* [k] -> [1,k] or [k,1] by shape alone */
static fy_value *with_axis(fy_lower *l, fy_value *x, int axis) { return x ? fy_b_unsqueeze(&l->b, x, axis) : NULL; }

fy_status fy_lower_linear(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "input"), *w = fy_l_tensor(l, "weight"), *bias = fy_l_tensor(l, "bias");
    if (!x || !w) return fy_l_ret(l, NULL);
    int rank = fy_rank(l, x), wr = fy_rank(l, w);
    if (rank > 0 && wr > 0) fy_l_fit_same(l, fy_dim_of(l, x, -1), fy_dim_of(l, w, -1));
    FY_L_OK(l);
    if (rank == 2 && wr == 2) return fy_l_ret(l, fy_emit(&l->b, "Gemm", FY_V(x, w, bias), FY_A(fy_int("transB", 1))));
    fy_value *y = fy_l_binary(l, "MatMul", x, wr == 2 ? swapped(l, w) : w);
    return fy_l_ret(l, bias ? fy_l_binary(l, "Add", y, bias) : y);
}

/* matmul, mm, bmm, mv, dot */
fy_status fy_lower_matmul(fy_lower *l) {
    const fy_schema *s = l->n->schema;
    fy_value *a = s ? fy_l_tensor(l, s->arg[0].name) : NULL, *b = s ? fy_l_tensor(l, s->arg[1].name) : NULL;
    int ra = fy_rank(l, a), rb = fy_rank(l, b);
    if (ra > 0 && rb > 0) fy_l_fit_same(l, fy_dim_of(l, a, -1), fy_dim_of(l, b, rb > 1 ? -2 : -1));
    return fy_l_ret(l, fy_l_binary(l, "MatMul", a, b));
}

static fy_value *scaled(fy_lower *l, fy_value *x, double by) {
    return by == 1 || !x ? x : fy_l_binary(l, "Mul", x, fy_k_scalar(&l->b, x->type.dtype, by));
}

/* addmm(self, a, b) = beta * self + alpha * a b: Gemm when self broadcasts as Gemm's C does (any shape up to [m,n]) */
fy_status fy_lower_addmm(fy_lower *l) {
    bool batched = fy_l_named(l, "aten.baddbmm"), vector = fy_l_named(l, "aten.addmv");
    fy_value *c = fy_l_tensor(l, "self"), *a = fy_l_tensor(l, batched ? "batch1" : vector ? "mat" : "mat1"), *b = fy_l_tensor(l, batched ? "batch2" : vector ? "vec" : "mat2");
    double beta = fy_l_float(l, "beta"), alpha = fy_l_float(l, "alpha");
    if (!a || !b || !c) return fy_l_ret(l, NULL);
    fy_l_fit_same(l, fy_dim_of(l, a, -1), fy_dim_of(l, b, vector ? -1 : -2));
    FY_L_OK(l);
    if (!batched && !vector && fy_dtype_float(a->type.dtype) && beta != 0)
        return fy_l_ret(l, fy_emit(&l->b, "Gemm", FY_V(a, b, c), FY_A(fy_float("alpha", alpha), fy_float("beta", beta))));
    fy_value *y = scaled(l, fy_l_binary(l, "MatMul", a, b), alpha);
    return fy_l_ret(l, beta == 0 ? y : fy_l_binary(l, "Add", scaled(l, c, beta), y));
}

/* outer(a, b) = a[:,None] * b */
fy_status fy_lower_outer(fy_lower *l) {
    fy_value *a = fy_l_tensor(l, "self"), *b = fy_l_tensor(l, "vec2");
    return fy_l_ret(l, fy_l_binary(l, "Mul", with_axis(l, a, 1), b));
}

/* einsum: ONNX takes the same letters; blanks out, "..." and a missing output are understood by both */
fy_status fy_lower_einsum(fy_lower *l) {
    const char *eq = fy_l_str(l, "equation");
    fy_value **v;
    int n = fy_l_tensors(l, "tensors", &v);
    char text[256];
    size_t k = 0;
    for (; eq && *eq; eq++) {
        if (*eq == ' ') continue;
        if (k + 1 >= sizeof text) return fy_l_fail(l, FY_E_LIMIT, "einsum: the equation is too long");
        text[k++] = *eq;
    }
    text[k] = 0;
    return fy_l_ret(l, n > 0 ? fy_emit(&l->b, "Einsum", n, v, FY_A(fy_text("equation", text))) : NULL);
}

/* bilinear(x1 [..,i], x2 [..,j], w [o,i,j]) = x1 w x2 */
fy_status fy_lower_bilinear(fy_lower *l) {
    fy_value *a = fy_l_tensor(l, "input1"), *b = fy_l_tensor(l, "input2"), *w = fy_l_tensor(l, "weight"), *bias = fy_l_tensor(l, "bias");
    if (!a || !b || !w) return fy_l_ret(l, NULL);
    fy_value *y = fy_emit(&l->b, "Einsum", FY_V(a, w, b), FY_A(fy_text("equation", "...i,oij,...j->...o")));
    return fy_l_ret(l, bias ? fy_l_binary(l, "Add", y, bias) : y);
}

/* cdist, pairwise_distance are sums over |a - b|^p along the last axis */
static fy_value *p_norm(fy_lower *l, fy_value *d, double p, double eps, bool keep) {
    int64_t last = -1;
    if (!d) return NULL;
    if (eps != 0) d = fy_l_binary(l, "Add", d, fy_k_scalar(&l->b, d->type.dtype, eps));
    if (p == 2) return fy_l_reduce(l, "ReduceL2", d, 1, &last, keep);
    if (p == 1) return fy_l_reduce(l, "ReduceL1", d, 1, &last, keep);
    fy_value *e = fy_k_scalar(&l->b, d->type.dtype, p), *r = fy_k_scalar(&l->b, d->type.dtype, 1 / p);
    fy_value *s = fy_l_reduce(l, "ReduceSum", fy_l_binary(l, "Pow", fy_l_named_op(l, "Abs", d), e), 1, &last, keep);
    return fy_l_binary(l, "Pow", s, r);
}

fy_status fy_lower_cdist(fy_lower *l) {
    fy_value *a = fy_l_tensor(l, "x1"), *b = fy_l_tensor(l, "x2");
    if (!a || !b) return fy_l_ret(l, NULL);
    fy_value *d = fy_l_binary(l, "Sub", with_axis(l, a, fy_rank(l, a) - 1), with_axis(l, b, fy_rank(l, b) - 2));
    return fy_l_ret(l, p_norm(l, d, fy_l_named(l, "aten._euclidean_dist") ? 2 : fy_l_float(l, "p"), 0, false));
}

fy_status fy_lower_pairwise_distance(fy_lower *l) {
    fy_value *d = fy_l_binary(l, "Sub", fy_l_tensor(l, "x1"), fy_l_tensor(l, "x2"));
    return fy_l_ret(l, p_norm(l, d, fy_l_float(l, "p"), fy_l_float(l, "eps"), fy_l_bool(l, "keepdim")));
}

/* x1.x2 / max(|x1| |x2|, eps) as torch: each norm is kept above eps */
fy_status fy_lower_cosine_similarity(fy_lower *l) {
    fy_value *a = fy_l_tensor(l, "x1"), *b = fy_l_tensor(l, "x2");
    if (!a || !b) return fy_l_ret(l, NULL);
    int ra = fy_rank(l, a), rb = fy_rank(l, b);
    int64_t axis = fy_l_axis(l, "dim", ra > rb ? ra : rb) - (ra > rb ? ra : rb);
    fy_value *eps = fy_k_scalar(&l->b, a->type.dtype, fy_l_float(l, "eps"));
    fy_value *na = fy_l_binary(l, "Max", fy_l_reduce(l, "ReduceL2", a, 1, &axis, true), eps), *nb = fy_l_binary(l, "Max", fy_l_reduce(l, "ReduceL2", b, 1, &axis, true), eps);
    fy_value *p = fy_l_binary(l, "Mul", fy_l_binary(l, "Div", a, na), fy_l_binary(l, "Div", b, nb));
    return fy_l_ret(l, fy_l_reduce(l, "ReduceSum", p, 1, &axis, false));
}

/* _trilinear: the three, with axes put in, multiplied and summed over sumdim */
fy_status fy_lower_trilinear(fy_lower *l) {
    static const char *const tensor[] = {"i1", "i2", "i3"}, *const expand[] = {"expand1", "expand2", "expand3"};
    fy_value *y = NULL;
    int64_t axes[FY_MAX_RANK];
    for (int i = 0; i < 3; i++) {
        fy_value *x = fy_l_tensor(l, tensor[i]);
        int n = fy_l_ints(l, expand[i], axes, FY_MAX_RANK);
        FY_L_OK(l);
        if (n > 0) x = fy_emit(&l->b, "Unsqueeze", FY_V(x, fy_k_ints(&l->b, n, axes)), FY_NOATTR);
        y = y ? fy_l_binary(l, "Mul", y, x) : x;
    }
    int n = fy_l_ints(l, "sumdim", axes, FY_MAX_RANK);
    return fy_l_ret(l, n > 0 ? fy_l_reduce(l, "ReduceSum", y, n, axes, false) : y);
}

/* Rows in groups that end at offs[e], each group by its own matrix [e]: every matrix by all rows, the rows of others masked. */
fy_status fy_lower_grouped_mm(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "input"), *w = fy_l_tensor(l, "weight"), *offs = fy_l_tensor(l, "offs");
    int64_t axis = 1, first = 0;
    fy_build *b = &l->b;
    if (!x || !w || !offs) return fy_l_ret(l, NULL);
    fy_value *zero = fy_k_i64(b, 0), *one = fy_k_i64(b, 1);
    fy_value *row = fy_emit(b, "Range", FY_V(zero, fy_l_size_scalar(l, fy_dim_of(l, x, 0)), one), FY_NOATTR);
    fy_value *past = fy_l_binary(l, "LessOrEqual", fy_b_cast(b, offs, FERRY_INT64), with_axis(l, row, 1));      /* [rows, groups] */
    fy_value *group = past ? fy_l_reduce(l, "ReduceSum", fy_b_cast(b, past, FERRY_INT64), 1, &axis, false) : NULL;
    fy_value *all = fy_emit(b, "Range", FY_V(zero, fy_l_size_scalar(l, fy_dim_of(l, w, 0)), one), FY_NOATTR);
    fy_value *mine = fy_l_binary(l, "Equal", group, with_axis(l, all, 1));                                      /* [groups, rows] */
    mine = mine ? with_axis(l, fy_b_cast(b, mine, x->type.dtype), 2) : NULL;
    return fy_l_ret(l, fy_l_reduce(l, "ReduceSum", fy_l_binary(l, "Mul", fy_l_binary(l, "MatMul", x, w), mine), 1, &first, false));
}

/* pdist: distances of all pairs of rows i < j */
fy_status fy_lower_pdist(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int64_t n, pairs;
    double p = fy_l_float(l, "p");
    if (!x) return fy_l_ret(l, NULL);
    if (fy_rank(l, x) != 2 || !fy_const_dim(x, 0, &n)) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s of a dynamic number of rows", l->n->op);
    if (n < 2 || n > 1024) return fy_l_fail(l, FY_E_LIMIT, "%s of %lld rows", l->n->op, (long long)n);
    pairs = n * (n - 1) / 2;
    int64_t *a = FY_NEWN(&l->tmp, int64_t, 2 * pairs), *c = a + pairs, k = 0;
    if (!a) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++, k++) a[k] = i, c[k] = j;
    fy_value *u = fy_emit(&l->b, "Gather", FY_V(x, fy_k_ints(&l->b, pairs, a)), FY_A(fy_int("axis", 0)));
    fy_value *w = fy_emit(&l->b, "Gather", FY_V(x, fy_k_ints(&l->b, pairs, c)), FY_A(fy_int("axis", 0)));
    return fy_l_ret(l, p_norm(l, fy_l_binary(l, "Sub", u, w), p, 0, false));
}
