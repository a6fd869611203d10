/* SPDX-License-Identifier: Apache-2.0
 * shape.c - operators that read or change the shape and keep every element: Shape Size Reshape Flatten Squeeze Unsqueeze
 * Transpose Expand Tile Concat Split. All but Concat and Split are one view of the input.
 * Sizes stay symbolic: Reshape divides products of dims, Concat adds them, contents of small integer tensors go along. */
#include "ops/move.h"

#include <string.h>

/* ---- shared -------------------------------------------------------------------------------------------------------- */

/* Output 0 is the input with the same elements in the same order: copies through the input's own dims. */
static fy_status ref_same_order(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y, as_x;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_NEED(c->e, fy_count(x) == fy_count(y), SHAPE, "%lld elements cannot become %lld", (long long)fy_count(x), (long long)fy_count(y));
    as_x = fy_tensor_view(y->dtype, x->rank, x->dim, y->data);
    fy_tensor_copy(&as_x, x);
    return FY_OK;
}

/* The input where nothing changes: same dtype, same known dims. */
static fy_value *simplify_same_shape(fy_node *n) {
    const fy_value *x = fy_in(n, 0), *y = fy_outv(n, 0);
    return x && y && x->type.kind == FY_TENSOR && x->type.rank >= 0 && fy_type_equal(&x->type, &y->type) ? fy_in(n, 0) : NULL;
}

static fy_status out_same_elems(fy_infer *f, int rank, const fy_dim *const *d) {
    FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d));
    return fy_mv_elems_same(f, 0, 0);
}

/* ---- Shape, Size --------------------------------------------------------------------------------------------------- */

static void shape_range(const fy_node *n, int rank, int *start, int *end) {
    const fy_attr *a = fy_attr_get(n, "end");
    int64_t s = fy_attr_i(n, "start"), e = a ? a->i : rank;
    s = s < 0 ? s + rank : s;
    e = e < 0 ? e + rank : e;
    *start = (int)(s < 0 ? 0 : s > rank ? rank : s);
    *end = (int)(e < 0 ? 0 : e > rank ? rank : e);
    if (*end < *start) *end = *start;
}

static fy_status infer_shape(fy_infer *f) {
    int rank = fy_in_rank(f, 0), start, end;
    if (rank < 0) return fy_mv_unknown(f, 0, FERRY_INT64, 1);
    shape_range(f->node, rank, &start, &end);
    const fy_dim *n = fy_mv_const(f, end - start);
    FY_TRY(fy_out_set(f, 0, FERRY_INT64, 1, &n));
    return fy_out_elems(f, 0, end - start, fy_in_dims(f, 0) + (rank ? start : 0));
}

static fy_status ref_shape(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y;
    int start, end;
    FY_TRY(fy_mv_out(c, 0, &y));
    shape_range(c->node, x->rank, &start, &end);
    for (int i = start; y && i < end; i++) fy_put_i64(y, i - start, x->dim[i]);
    return FY_OK;
}

static fy_status infer_size(fy_infer *f) {
    int rank = fy_in_rank(f, 0);
    FY_TRY(fy_out_set(f, 0, FERRY_INT64, 0, NULL));
    if (rank < 0) return FY_OK;
    const fy_dim *n = fy_mv_product(f, rank, fy_in_dims(f, 0));
    return fy_out_elems(f, 0, 1, &n);
}

static fy_status ref_size(const fy_call *c) {
    fy_tensor *y;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (y) fy_put_i64(y, 0, fy_count(fy_arg(c, 0)));
    return FY_OK;
}

static const fy_attr_spec shape_attrs[] = { {"start", FY_ATTR_INT, "0"}, {"end", FY_ATTR_INT, NULL}, {0}};
const fy_op fy_op_shape = {.name = "Shape", .domain = "", .attrs = shape_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 25, .first = 1,
    .types = "T=*|T|i64", .infer = infer_shape, .ref = ref_shape, .flags = FY_PURE};
const fy_op fy_op_size = {.name = "Size", .domain = "", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 25, .first = 1, .types = "T=*|T|i64",
    .infer = infer_size, .ref = ref_size, .flags = FY_PURE};

/* ---- Reshape ------------------------------------------------------------------------------------------------------- */

/* product(num) / product(den), with equal factors struck out first so that only what is left is expanded. */
static const fy_dim *quotient(fy_infer *f, int nnum, const fy_dim *const *num, int nden, const fy_dim *const *den) {
    const fy_dim *a[FY_MAX_RANK], *b[FY_MAX_RANK];
    int na = 0, nb = 0;
    for (int i = 0; i < nnum; i++) a[na++] = num[i];
    for (int i = 0; i < nden; i++) {
        int j = 0;
        while (j < na && a[j] != den[i]) j++;
        if (j < na) a[j] = a[--na];
        else b[nb++] = den[i];
    }
    const fy_dim *top = fy_mv_product(f, na, a), *bottom = fy_mv_product(f, nb, b);
    return fy_dim_is(bottom, 1) ? top : fy_dim_floordiv(f->dims, top, bottom);
}

static fy_status infer_reshape(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK], *others[FY_MAX_RANK];
    const fy_dim *const *in = fy_in_dims(f, 0), *count;
    int rank = fy_in_rank(f, 0), minus = -1, nothers = 0;
    bool allowzero = fy_attr_i(f->node, "allowzero") != 0, zero = false, wild = false;
    int64_t n, v, total, want;
    const fy_dim *const *e = fy_in_elems(f, 1, &n);
    FY_NEED(f->e, fy_in_rank(f, 1) == 1 || fy_in_rank(f, 1) < 0, SHAPE, "the shape input has rank %d; it must have rank 1", fy_in_rank(f,
            1));
    if (!e) {
        const fy_dim *len = fy_in_dim(f, 1, 0);
        if (!len || !fy_dim_known(len, &n)) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
        FY_NEED(f->e, n <= FY_MAX_RANK, LIMIT, "a rank of %lld; at most %d is supported", (long long)n, FY_MAX_RANK);
        return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), (int)n);
    }
    FY_NEED(f->e, n <= FY_MAX_RANK, LIMIT, "a rank of %lld; at most %d is supported", (long long)n, FY_MAX_RANK);
    for (int i = 0; i < n; i++) {
        d[i] = e[i];
        bool known = fy_dim_known(e[i], &v);
        FY_NEED(f->e, !known || v >= -1, VALUE, "size %d of the new shape is %lld", i, (long long)v);
        if (e[i]->lo < 0 && fy_dim_wild(e[i])) {                                /* may turn out to be 0 (keep) or -1 (to be found) */
            d[i] = fy_mv_opaque(f);
            wild = true;
        }
        if (known && v == 0 && !allowzero) {
            FY_NEED(f->e, rank < 0 || i < rank, SHAPE, "size %d of the new shape is 0 (keep), but the input has rank %d", i, rank);
            d[i] = rank < 0 ? fy_mv_opaque(f) : in[i];
        } else if (known && v == 0) zero = true;
        if (known && v == -1) {
            FY_NEED(f->e, minus < 0, VALUE, "sizes %d and %d of the new shape are both -1", minus, i);
            minus = i;
        } else others[nothers++] = d[i];
    }
    FY_NEED(f->e, !zero || minus < 0, VALUE, "the new shape holds both 0 and -1 although allowzero is set");
    if (rank >= 0) {
        count = fy_mv_product(f, rank, in);
        const fy_dim *made = fy_mv_product(f, nothers, others);
        if (!count || !made) return fy_mv_oom(f);
        if (fy_dim_known(made, &want) && fy_dim_known(count, &total))
            FY_NEED(f->e, minus < 0 ? want == total : want ? total % want == 0 : total == 0, SHAPE,
                    "%lld elements cannot take a shape of %lld%s", (long long)total, (long long)want,
                            minus < 0 ? "" : " times the size to be found");
        if (minus >= 0) d[minus] = wild ? fy_mv_upto(f, count) : fy_dim_is(made, 0) ? fy_mv_const(f, 0) : quotient(f, rank, in, nothers, others);
        /* One unknown size among otherwise equal ones is settled by the element count. */
        if (minus < 0) {
            int unknown = -1, many = 0, k = 0;
            for (int i = 0; i < n; i++) if (d[i] && d[i]->kind == FY_DIM_OPAQUE) { unknown = i; many++; }
            if (many == 1) {
                for (int i = 0; i < n; i++) if (i != unknown) others[k++] = d[i];
                const fy_dim *q = quotient(f, rank, in, k, others);
                if (q && (q->kind == FY_DIM_CONST ? q->value > 0 : q->kind == FY_DIM_SYM || q->kind == FY_DIM_PROD)) d[unknown] = q;
            }
        }
    } else if (minus >= 0) d[minus] = fy_mv_opaque(f);
    return out_same_elems(f, (int)n, d);
}

static const fy_attr_spec reshape_attrs[] = {{"allowzero", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_reshape = {.name = "Reshape", .domain = "", .attrs = reshape_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 25,
    .first = 1, .types = "T=*|T,i64|T", .infer = infer_reshape, .ref = ref_same_order, .simplify = simplify_same_shape, .flags = FY_PURE};

/* ---- Flatten, Squeeze, Unsqueeze ----------------------------------------------------------------------------------- */

static fy_status infer_flatten(fy_infer *f) {
    int rank = fy_in_rank(f, 0);
    int64_t axis = fy_attr_i(f->node, "axis");
    if (rank < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), 2);
    FY_NEED(f->e, axis >= -rank && axis <= rank, AXIS, "axis %lld outside rank %d", (long long)axis, rank);
    if (axis < 0) axis += rank;
    const fy_dim *const *in = fy_in_dims(f, 0);
    const fy_dim *d[2] = {fy_mv_product(f, axis, in), fy_mv_product(f, rank - axis, in + (rank ? axis : 0))};
    return out_same_elems(f, 2, d);
}

static const fy_attr_spec flatten_attrs[] = {{"axis", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_flatten = {.name = "Flatten", .domain = "", .attrs = flatten_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 25,
    .first = 1, .types = "T=*|T|T", .infer = infer_flatten, .ref = ref_same_order, .simplify = simplify_same_shape, .flags = FY_PURE};

static fy_status infer_squeeze(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), axis[FY_MAX_RANK], n = 0;
    int64_t given[FY_MAX_RANK], count = 0, v;
    uint32_t drop = 0;
    const fy_dim *const *in = fy_in_dims(f, 0);
    if (rank < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    if (fy_in_has(f, 1)) {
        FY_NEED(f->e, fy_in_rank(f, 1) <= 1, SHAPE, "the axes have rank %d; they must be a list", fy_in_rank(f, 1));
        if (!fy_in_ints(f, 1, given, FY_MAX_RANK, &count)) {
            const fy_dim *len = fy_in_dim(f, 1, 0);
            bool known = len && fy_dim_known(len, &count) && count <= rank;
            return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), known ? rank - (int)count : -1);
        }
        FY_TRY(fy_mv_axes(axis, count, given, rank, f->e));
        for (int i = 0; i < count; i++) {
            FY_NEED(f->e, !fy_dim_known(in[axis[i]], &v) || v == 1, SHAPE, "axis %d has size %lld; only size 1 can be removed", axis[i],
                    (long long)v);
            drop |= 1U << axis[i];
        }
    } else for (int i = 0; i < rank; i++) {
        if (!fy_dim_known(in[i], &v) && !fy_dim_ge(in[i], 2)) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
        if (fy_dim_is(in[i], 1)) drop |= 1U << i;
    }
    for (int i = 0; i < rank; i++) if (!(drop >> i & 1)) d[n++] = in[i];
    return out_same_elems(f, n, d);
}

static fy_status infer_unsqueeze(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), axis[FY_MAX_RANK], k = 0;
    int64_t given[FY_MAX_RANK], count = 0;
    uint32_t add = 0;
    FY_NEED(f->e, fy_in_rank(f, 1) <= 1, SHAPE, "the axes have rank %d; they must be a list", fy_in_rank(f, 1));
    if (!fy_in_ints(f, 1, given, FY_MAX_RANK, &count)) {
        const fy_dim *len = fy_in_dim(f, 1, 0);
        bool known = rank >= 0 && len && fy_dim_known(len, &count) && count <= FY_MAX_RANK - rank;
        return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), known ? rank + (int)count : -1);
    }
    if (rank < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    FY_NEED(f->e, rank + count <= FY_MAX_RANK, LIMIT, "a rank of %lld; at most %d is supported", (long long)(rank + count), FY_MAX_RANK);
    FY_TRY(fy_mv_axes(axis, count, given, rank + (int)count, f->e));
    for (int i = 0; i < count; i++) add |= 1U << axis[i];
    for (int i = 0; i < rank + (int)count; i++) d[i] = add >> i & 1 ? fy_mv_const(f, 1) : fy_in_dims(f, 0)[k++];
    return out_same_elems(f, rank + (int)count, d);
}

const fy_op fy_op_squeeze = {.name = "Squeeze", .domain = "", .min_in = 1, .max_in = 2, .min_out = 1, .max_out = 1, .since = 25, .first = 1,
    .types = "T=*|T,i64|T", .infer = infer_squeeze, .ref = ref_same_order, .simplify = simplify_same_shape, .flags = FY_PURE};
const fy_op fy_op_unsqueeze = {.name = "Unsqueeze", .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 25, .first = 1,
    .types = "T=*|T,i64|T", .infer = infer_unsqueeze, .ref = ref_same_order, .simplify = simplify_same_shape, .flags = FY_PURE};

/* ---- Transpose ----------------------------------------------------------------------------------------------------- */

static fy_status read_perm(int *perm, const fy_node *n, int rank, ferry_error *e) {
    int64_t count;
    const int64_t *given = fy_attr_ints(n, "perm", &count);
    uint32_t seen = 0;
    for (int i = 0; i < rank; i++) perm[i] = rank - 1 - i;
    if (!given) return FY_OK;
    FY_NEED(e, count == rank, ATTR, "perm names %lld axes; the input has rank %d", (long long)count, rank);
    for (int i = 0; i < rank; i++) {
        FY_TRY(fy_axis(&perm[i], given[i], rank, e));
        FY_NEED(e, !(seen >> perm[i] & 1), ATTR, "perm names axis %d twice", perm[i]);
        seen |= 1U << perm[i];
    }
    return FY_OK;
}

static void permute(fy_view *r, const fy_view *v, const int *perm) {
    *r = *v;
    for (int i = 0; i < v->rank; i++) { r->dim[i] = v->dim[perm[i]]; r->stride[i] = v->stride[perm[i]]; }
}

static fy_status infer_transpose(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), perm[FY_MAX_RANK];
    fy_view v = {.rank = rank}, r;
    int64_t count;
    if (rank < 0) {
        bool given = fy_attr_ints(f->node, "perm", &count) != NULL;
        return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), given && count <= FY_MAX_RANK ? (int)count : -1);
    }
    FY_TRY(read_perm(perm, f->node, rank, f->e));
    for (int i = 0; i < rank; i++) d[i] = fy_in_dims(f, 0)[perm[i]];
    FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d));
    if (!fy_mv_sizes(f, 0, v.dim)) return FY_OK;
    fy_strides(rank, v.dim, v.stride);
    permute(&r, &v, perm);
    return fy_mv_elems_view(f, 0, 0, &r);
}

static fy_status ref_transpose(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    int perm[FY_MAX_RANK];
    fy_tensor *y, seen;
    fy_view v = fy_mv_view_of(x), r;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(read_perm(perm, c->node, x->rank, c->e));
    permute(&r, &v, perm);
    seen = fy_mv_see(x, &r);
    fy_tensor_copy(y, &seen);
    return FY_OK;
}

static fy_value *simplify_transpose(fy_node *n) {
    int64_t count;
    const int64_t *perm = fy_attr_ints(n, "perm", &count);
    if (!perm) return fy_in(n, 0)->type.kind == FY_TENSOR && (fy_in(n, 0)->type.rank == 0 || fy_in(n, 0)->type.rank == 1) ? fy_in(n,
            0) : NULL;
    for (int i = 0; i < count; i++) if (perm[i] != i) return NULL;
    return fy_in(n, 0);
}

static const fy_attr_spec transpose_attrs[] = {{"perm", FY_ATTR_INTS, NULL}, {0}};
const fy_op fy_op_transpose = {.name = "Transpose", .domain = "", .attrs = transpose_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 25,
    .first = 1, .types = "T=*|T|T", .infer = infer_transpose, .ref = ref_transpose, .simplify = simplify_transpose, .flags = FY_PURE};

/* ---- Expand, Tile -------------------------------------------------------------------------------------------------- */

/* One size of a two-sided broadcast. Two different symbols stay unknown: either may be 1. */
static fy_status broadcast_dim(fy_infer *f, const fy_dim **r, const fy_dim *a, const fy_dim *b) {
    int64_t x, y;
    bool ka = fy_dim_known(a, &x), kb = fy_dim_known(b, &y);
    FY_NEED(f->e, !ka || !kb || x == y || x == 1 || y == 1, SHAPE, "sizes %lld and %lld do not broadcast", (long long)x, (long long)y);
    bool bad = false;
    *r = fy_meet(f, a, b, &bad);
    return FY_OK;
}

static fy_status infer_expand(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), out;
    int64_t n, v, od[FY_MAX_RANK], xd[FY_MAX_RANK], xs[FY_MAX_RANK];
    const fy_dim *const *e = fy_in_elems(f, 1, &n);
    fy_view view = {0};
    FY_NEED(f->e, fy_in_rank(f, 1) <= 1, SHAPE, "the new shape has rank %d; it must be a list", fy_in_rank(f, 1));
    if (!e || rank < 0) {
        const fy_dim *len = fy_in_dim(f, 1, 0);
        bool known = (e || (len && fy_dim_known(len, &n))) && rank >= 0 && n <= FY_MAX_RANK;
        return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), known ? (n > rank ? (int)n : rank) : -1);
    }
    FY_NEED(f->e, n <= FY_MAX_RANK, LIMIT, "a rank of %lld; at most %d is supported", (long long)n, FY_MAX_RANK);
    out = n > rank ? (int)n : rank;
    for (int i = 0; i < out; i++) {
        int a = i - (out - rank), b = i - (out - (int)n);
        const fy_dim *one = fy_mv_const(f, 1);
        if (!one) return fy_mv_oom(f);
        FY_NEED(f->e, b < 0 || !fy_dim_known(e[b], &v) || v >= 0, VALUE, "size %d of the new shape is %lld", b, (long long)v);
        FY_TRY(broadcast_dim(f, &d[i], a < 0 ? one : fy_in_dims(f, 0)[a], b < 0 ? one : e[b]));
    }
    FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), out, d));
    if (!fy_mv_sizes(f, 0, xd)) return FY_OK;
    for (int i = 0; i < out; i++) if (!fy_dim_known(d[i], &od[i])) return FY_OK;
    fy_strides(rank, xd, xs);
    view.rank = out;
    for (int i = 0; i < out; i++) {
        int a = i - (out - rank);
        view.dim[i] = od[i];
        view.stride[i] = a < 0 || xd[a] == 1 ? 0 : xs[a];
    }
    return fy_mv_elems_view(f, 0, 0, &view);
}

static fy_status ref_expand(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y, seen;
    fy_view v = {0};
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    v.rank = y->rank;
    for (int i = 0; i < y->rank; i++) {
        int a = i - (y->rank - x->rank);
        v.dim[i] = y->dim[i];
        v.stride[i] = a < 0 || x->dim[a] == 1 ? 0 : x->stride[a];
    }
    seen = fy_mv_see(x, &v);
    fy_tensor_copy(y, &seen);
    return FY_OK;
}

const fy_op fy_op_expand = {.name = "Expand", .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 13, .first = 8,
    .types = "T=*|T,i64|T", .infer = infer_expand, .ref = ref_expand, .simplify = simplify_same_shape, .flags = FY_PURE};

static fy_status infer_tile(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0);
    int64_t n, v, dim[FY_MAX_RANK], rep[FY_MAX_RANK];
    bool fixed = true;
    const fy_dim *const *e = fy_in_elems(f, 1, &n);
    if (rank < 0 || !e) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), rank);
    FY_NEED(f->e, n == rank, SHAPE, "%lld repeats for rank %d", (long long)n, rank);
    for (int i = 0; i < rank; i++) {
        bool known = fy_dim_known(e[i], &v);
        FY_NEED(f->e, !known || v >= 0, VALUE, "repeat %d is %lld", i, (long long)v);
        d[i] = fy_dim_mul(f->dims, fy_in_dims(f, 0)[i], e[i]);
        if (!d[i]) return fy_mv_oom(f);
        fixed = fixed && known && fy_dim_known(d[i], &dim[i]);
        rep[i] = v;
    }
    FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d));
    if (!fixed || rank != 1 || dim[0] > FY_MAX_ELEM || !rep[0]) return FY_OK;
    fy_view view = {.rank = 2, .dim = {rep[0], dim[0] / rep[0]}, .stride = {0, 1}};
    return fy_mv_elems_view(f, 0, 0, &view);
}

static fy_status ref_tile(const fy_call *c) {
    fy_tensor x, *y;
    const int64_t *map[FY_MAX_RANK];
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_mv_dense(c, 0, &x));
    for (int a = 0; a < y->rank; a++) {
        int64_t *m = FY_NEWN(c->scratch, int64_t, y->dim[a]);
        FY_NOMEM(c->e, m);
        for (int64_t i = 0; i < y->dim[a]; i++) m[i] = i % x.dim[a];
        map[a] = m;
    }
    fy_mv_mapped(y, &x, map, NULL);
    return FY_OK;
}

const fy_op fy_op_tile = {.name = "Tile", .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 13, .first = 1, .types = "T=*|T,i64|T",
    .infer = infer_tile, .ref = ref_tile, .simplify = simplify_same_shape, .flags = FY_PURE};

/* ---- Concat -------------------------------------------------------------------------------------------------------- */

#define MAX_PARTS 64                      /* elements of a list in which single ones may be unknown */

/* Contents of a concatenation of small integer tensors of constant sizes. In a short list an input without known contents gives
 * unknown elements: the sizes beside them stay known. */
static fy_status concat_elems(fy_infer *f, int axis, int rank) {
    int64_t dim[FY_MAX_RANK], n, outer = 1, total = 0, at = 0;
    fy_dtype t = fy_in_dtype(f, 0);
    bool all = true, any = false;
    if (t != FERRY_INT64 && t != FERRY_INT32 && !fy_in_elems(f, 0, &n)) return FY_OK;
    for (int i = 0; i < f->nin; i++) {
        if (!fy_mv_sizes(f, i, dim) || !fy_count_dims(&n, rank, dim)) return FY_OK;
        int64_t have = 0;
        bool known = fy_in_elems(f, i, &have) != NULL;
        all = all && known;
        any = any || known;
        if (!fy_add_i64(&total, total, n) || total > (all ? FY_MAX_ELEM : MAX_PARTS)) return FY_OK;
    }
    if (!any || (!all && (rank != 1 || total > MAX_PARTS))) return FY_OK;
    for (int a = 0; a < axis && a < rank; a++) outer *= dim[a];
    const fy_dim **e = FY_NEWN(f->arena, const fy_dim *, total);
    FY_NOMEM(f->e, e);
    for (int64_t o = 0; o < outer; o++)
        for (int i = 0; i < f->nin; i++) {
            const fy_dim *const *src = fy_in_elems(f, i, &n);
            int64_t run = src ? n / outer : 0;
            for (int64_t k = 0; k < run; k++) e[at++] = src[o * run + k];
            if (src) continue;
            FY_NEED(f->e, fy_dim_known(fy_in_dim(f, i, 0), &n), INTERNAL, "a list of unknown length");
            for (int64_t k = 0; k < n; k++) e[at++] = fy_mv_element(f, INT64_MIN, INT64_MAX);
        }
    return fy_out_elems(f, 0, at, e);
}

static fy_status infer_concat(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK], **part = FY_NEWN(f->arena, const fy_dim *, f->nin);
    int rank = -1, axis = 0;
    bool all = true;
    FY_NOMEM(f->e, part);
    for (int i = 0; i < f->nin; i++) {
        int r = fy_in_rank(f, i);
        FY_NEED(f->e, fy_in_has(f, i), GRAPH, "input %d is left out", i);
        if (r < 0) { all = false; continue; }
        FY_NEED(f->e, rank < 0 || r == rank, SHAPE, "input %d has rank %d, others have rank %d", i, r, rank);
        const fy_dim *const *in = fy_in_dims(f, i);
        if (rank < 0) {
            FY_NEED(f->e, r >= 1, SHAPE, "scalars cannot be concatenated");
            rank = r;
            FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank, f->e));
            for (int a = 0; a < rank; a++) d[a] = in[a];
            part[i] = in[axis];
            continue;
        }
        part[i] = in[axis];
        for (int a = 0; a < rank; a++) {
            if (a == axis) continue;
            FY_TRY(fy_mv_same(f, &d[a], d[a], in[a], "sizes outside the concatenated axis"));
        }
    }
    if (rank < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    d[axis] = all ? fy_dim_total(f->dims, f->nin, part) : fy_mv_opaque(f);
    FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d));
    return all ? concat_elems(f, axis, rank) : FY_OK;
}

static fy_status ref_concat(const fy_call *c) {
    fy_tensor *y;
    int axis;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), y->rank, c->e));
    fy_view v = fy_mv_view_of(y);
    int64_t begin = 0;
    for (int i = 0; i < c->nin; i++) {
        const fy_tensor *x = fy_arg(c, i);
        FY_NEED(c->e, x && x->rank == y->rank && x->dim[axis] <= y->dim[axis] - begin, SHAPE, "input %d does not fit", i);
        v.dim[axis] = x->dim[axis];
        v.offset = begin * v.stride[axis];
        fy_tensor part = fy_mv_see(y, &v);
        FY_NEED(c->e, fy_same_dims(&part, x), SHAPE, "input %d does not fit", i);
        fy_tensor_copy(&part, x);
        begin += x->dim[axis];
    }
    return FY_OK;
}

static fy_value *simplify_concat(fy_node *n) { return n->nin == 1 ? fy_in(n, 0) : NULL; }

static const fy_attr_spec concat_attrs[] = {{"axis", FY_ATTR_INT, FY_REQUIRED}, {0}};
const fy_op fy_op_concat = {.name = "Concat", .domain = "", .attrs = concat_attrs, .min_in = 1, .max_in = -1, .min_out = 1, .max_out = 1, .since = 13,
    .first = 1, .types = "T=*|T,...|T", .infer = infer_concat, .ref = ref_concat, .simplify = simplify_concat, .flags = FY_PURE};

/* ---- Split --------------------------------------------------------------------------------------------------------- */

/* The sizes of the parts when none are given: ceil(d/n) each, the last one less. */
static fy_status even_parts(fy_infer *f, const fy_dim *d, int n, const fy_dim **part) {
    int64_t v;
    if (fy_dim_divisible(d, n)) {
        for (int i = 0; i < n; i++) part[i] = fy_dim_divi(f->dims, d, n);
        return FY_OK;
    }
    const fy_dim *chunk = fy_dim_ceildiv(f->dims, d, fy_mv_const(f, n));
    for (int i = 0; i < n; i++) part[i] = chunk;
    part[n - 1] = fy_dim_sub(f->dims, d, fy_dim_muli(f->dims, chunk, n - 1));
    FY_NEED(f->e, !part[n - 1] || !fy_dim_known(part[n - 1], &v) || v >= 0, SHAPE, "the axis is too short for %d parts", n);
    return FY_OK;
}

static fy_status infer_split(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK], *sum = fy_mv_const(f, 0), *dim;
    int rank = fy_in_rank(f, 0), axis;
    int64_t n = f->nout, v, total;
    fy_view view = {.rank = rank};
    const fy_dim **part = FY_NEWN(f->arena, const fy_dim *, f->nout + 1);
    const fy_attr *num = fy_attr_get(f->node, "num_outputs");
    FY_NOMEM(f->e, part);
    FY_NEED(f->e, !num || num->i == f->nout, ATTR, "num_outputs is %lld; the node has %d outputs", (long long)(num ? num->i : 0), f->nout);
    if (rank < 0) {
        for (int i = 0; i < f->nout; i++) FY_TRY(fy_mv_unknown(f, i, fy_in_dtype(f, 0), -1));
        return FY_OK;
    }
    FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank, f->e));
    for (int a = 0; a < rank; a++) d[a] = fy_in_dims(f, 0)[a];
    dim = d[axis];
    if (fy_in_has(f, 1)) {
        const fy_dim *const *e = fy_in_elems(f, 1, &n);
        FY_NEED(f->e, !e || n == f->nout, SHAPE, "%lld sizes for %d outputs", (long long)n, f->nout);
        for (int i = 0; i < f->nout; i++) {
            part[i] = e ? e[i] : fy_mv_opaque(f);
            FY_NEED(f->e, !part[i] || !fy_dim_known(part[i], &v) || (v >= 0 && (!fy_dim_known(dim, &total) || v <= total)), VALUE,
                    "part %d has size %lld", i, (long long)v);
            sum = fy_dim_add(f->dims, sum, part[i]);
        }
        if (!sum) return fy_mv_oom(f);
        FY_NEED(f->e, !fy_dim_known(sum, &v) || !fy_dim_known(dim, &total) || v == total, SHAPE, "the parts sum to %lld, axis %d has %lld",
                (long long)v, axis, (long long)total);
    } else FY_TRY(even_parts(f, dim, f->nout, part));
    bool fixed = fy_mv_sizes(f, 0, view.dim);
    if (fixed) fy_strides(rank, view.dim, view.stride);
    total = fixed ? view.dim[axis] : 0;
    for (int i = 0; i < f->nout; i++) {
        d[axis] = part[i];
        if (!part[i]) return fy_mv_oom(f);
        FY_TRY(fy_out_set(f, i, fy_in_dtype(f, 0), rank, d));
        if (!fixed || !fy_dim_known(part[i], &view.dim[axis])) { fixed = false; continue; }
        FY_NEED(f->e, view.dim[axis] <= total, SHAPE, "part %d has size %lld; %lld are left", i, (long long)view.dim[axis], (long long)total);
        total -= view.dim[axis];
        FY_TRY(fy_mv_elems_view(f, i, 0, &view));
        view.offset += view.stride[axis] * view.dim[axis];
    }
    return FY_OK;
}

/* The parts' sizes are read again here: outputs that nobody wants still take their share. */
static fy_status ref_split(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    int axis;
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), x->rank, c->e));
    const int64_t *size = fy_arg(c, 1) ? fy_arg_i64(c, 1) : NULL;
    int64_t dim = x->dim[axis], chunk = dim / c->nout + (dim % c->nout != 0), begin = 0;
    FY_NOMEM(c->e, size || !fy_arg(c, 1));
    FY_NEED(c->e, !size || fy_count(fy_arg(c, 1)) == c->nout, SHAPE, "%lld sizes for %d outputs", (long long)(size ? fy_count(fy_arg(c,
            1)) : 0), c->nout);
    fy_view v = fy_mv_view_of(x);
    for (int i = 0; i < c->nout; i++) {
        int64_t n = size ? size[i] : i + 1 < c->nout ? chunk : dim - begin;
        fy_tensor *y;
        FY_NEED(c->e, n >= 0 && n <= dim - begin, SHAPE, "part %d has size %lld; %lld are left", i, (long long)n, (long long)(dim - begin));
        FY_TRY(fy_mv_out(c, i, &y));
        v.dim[axis] = n;
        v.offset = begin * x->stride[axis];
        fy_tensor part = fy_mv_see(x, &v);
        if (y) fy_tensor_copy(y, &part);
        begin += n;
    }
    return FY_OK;
}

static fy_value *simplify_split(fy_node *n) { return n->nout == 1 ? simplify_same_shape(n) : NULL; }

static const fy_attr_spec split_attrs[] = { {"axis", FY_ATTR_INT, "0"}, {"num_outputs", FY_ATTR_INT, NULL}, {0}};
const fy_op fy_op_split = {.name = "Split", .domain = "", .attrs = split_attrs, .min_in = 1, .max_in = 2, .min_out = 1, .max_out = -1, .since = 18,
    .first = 1, .types = "T=*|T,i64|T,...", .infer = infer_split, .ref = ref_split, .simplify = simplify_split, .flags = FY_PURE};
