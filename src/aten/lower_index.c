/* SPDX-License-Identifier: Apache-2.0
 * lower_index.c - by index: gather, scatter, index and index_put with any mix of integer and mask indices, embeddings,
 * nonzero, writes into slices. Negative indices count from the end in both worlds. */
#include "aten/lower.h"

#include <string.h>

typedef const fy_dim *dims[FY_MAX_RANK];

/* NumPy broadcast of two shapes as far as it can be told: equal, or 1, or the one that is known. */
static int broadcast(fy_lower *l, int ra, const fy_dim *const *a, int rb, const fy_dim *const *b, const fy_dim **out) {
    int r = ra > rb ? ra : rb;
    int64_t k;
    for (int i = 0; i < r; i++) {
        const fy_dim *x = i - (r - ra) >= 0 ? a[i - (r - ra)] : fy_l_k(l, 1), *y = i - (r - rb) >= 0 ? b[i - (r - rb)] : fy_l_k(l, 1);
        out[i] = fy_dim_is(x, 1) ? y : fy_dim_is(y, 1) || x == y ? x : fy_dim_known(x, &k) ? x : y;
    }
    return r;
}

fy_status fy_lower_gather(fy_lower *l) {
    bool along = fy_l_named(l, "aten.take_along_dim");
    fy_value *x = fy_l_tensor(l, "self"), *index = fy_l_tensor(l, along ? "indices" : "index");
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    if (rank == 0) return fy_l_ret(l, x);
    if (fy_rank(l, index) != rank) return fy_l_fail(l, FY_E_SHAPE, "%s of rank %d by an index of rank %d", l->n->op, rank, fy_rank(l, index));
    if (along) {                                         /* both broadcast except along the axis */
        int axis = fy_l_axis(l, "dim", rank);
        dims d, xd;
        (void)broadcast(l, rank, x->type.dim, rank, index->type.dim, d);
        for (int i = 0; i < rank; i++) xd[i] = i == axis ? x->type.dim[i] : d[i];
        d[axis] = fy_dim_of(l, index, axis);
        x = fy_l_expand(l, x, rank, xd);
        index = fy_l_expand(l, index, rank, d);
    }
    return fy_l_ret(l, fy_emit(&l->b, "GatherElements", FY_V(x, fy_b_cast(&l->b, index, FERRY_INT64)), FY_A(fy_int("axis", fy_l_axis(l, "dim", rank)))));
}

fy_status fy_lower_index_select(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *index = fy_l_tensor(l, "index");
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    if (rank == 0) return fy_l_ret(l, x);
    if (fy_rank(l, index) == 0) index = fy_b_unsqueeze(&l->b, index, 0);
    return fy_l_ret(l, fy_emit(&l->b, "Gather", FY_V(x, index), FY_A(fy_int("axis", fy_l_axis(l, "dim", rank)))));
}

/* take: from the flat tensor */
fy_status fy_lower_take(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *index = fy_l_tensor(l, "index");
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    const fy_dim *n = fy_l_k(l, 1);
    for (int i = 0; i < rank; i++) n = fy_dim_mul(l->m->dims, n, x->type.dim[i]);
    x = fy_l_reshape(l, x, 1, &n);
    return fy_l_ret(l, x ? fy_emit(&l->b, "Gather", FY_V(x, index), FY_A(fy_int("axis", 0))) : NULL);
}

fy_status fy_lower_embedding(fy_lower *l) {
    fy_value *w = fy_l_tensor(l, "weight"), *i = fy_l_tensor(l, "indices");
    return fy_l_ret(l, w && i ? fy_emit(&l->b, "Gather", FY_V(w, i), FY_A(fy_int("axis", 0))) : NULL);
}

static fy_value *nonzero(fy_lower *l, fy_value *x) {                         /* [count, rank] */
    static const int perm[2] = {1, 0};
    fy_value *at = fy_l_named_op(l, "NonZero", x);
    return at ? fy_b_transpose(&l->b, at, perm) : NULL;
}

fy_status fy_lower_nonzero(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    return fy_l_ret(l, x ? nonzero(l, x) : NULL);
}

/* ---- index, index_put -------------------------------------------------------------------------------------------------------- */

/* The index list worked out: which axes of x it covers, their integer indices broadcast to one shape, and where the
 * result's index axes stand (0 unless the indexed axes are adjacent). */
typedef struct indexing { int n, axis[FY_MAX_RANK], nb, at; fy_value *index[FY_MAX_RANK], *stacked; dims shape; bool adjacent; } indexing;

static fy_value *as_i64(fy_lower *l, fy_value *v) { return v ? fy_b_cast(&l->b, v, FERRY_INT64) : NULL; }

static void read_indices(fy_lower *l, fy_value **of, indexing *ix) {
    fy_value **v, *x = *of;
    int n = fy_l_tensors(l, "indices", &v), axis = 0, rank = fy_rank(l, x);
    *ix = (indexing){.adjacent = true};
    for (int i = 0; i < n && l->b.status == FY_OK; i++) {
        if (!v[i]) { axis++; continue; }
        int covers = 1;
        if (v[i]->type.dtype == FERRY_BOOL || v[i]->type.dtype == FERRY_UINT8) {
            covers = fy_rank(l, v[i]);
            fy_value *at = covers > 0 ? fy_l_named_op(l, "NonZero", fy_b_cast(&l->b, v[i], FERRY_BOOL)) : NULL;
            if (covers == 0) { (void)fy_l_fail(l, FY_E_UNSUPPORTED, "%s by a mask of rank 0", l->n->op); return; }
            for (int k = 0; k < covers && ix->n < FY_MAX_RANK; k++) {
                ix->axis[ix->n] = axis + k;
                ix->index[ix->n++] = at ? fy_emit(&l->b, "Gather", FY_V(at, fy_k_i64(&l->b, k)), FY_A(fy_int("axis", 0))) : NULL;
            }
        } else if (ix->n < FY_MAX_RANK) {
            ix->axis[ix->n] = axis;
            ix->index[ix->n++] = as_i64(l, v[i]);
        }
        axis += covers;
    }
    if (l->b.status != FY_OK) return;
    if (axis > rank || ix->n == 0) { (void)fy_l_fail(l, FY_E_SHAPE, "%s: %d indices for rank %d", l->n->op, axis, rank); return; }
    for (int i = 0; i < ix->n && l->p->nopened; i++)     /* indexed by the positions of an opened axis: it must have them */
        for (int k = 0; k < ix->index[i]->type.rank && *of; k++) *of = fy_l_fit_like(l, *of, ix->axis[i], ix->index[i]->type.dim[k]);
    for (int i = 0; i < ix->n; i++) {
        ix->adjacent = ix->adjacent && ix->axis[i] == ix->axis[0] + i;
        dims d;
        int r = broadcast(l, ix->nb, ix->shape, fy_rank(l, ix->index[i]), ix->index[i]->type.dim, d);
        memcpy(ix->shape, d, sizeof d);
        ix->nb = r;
    }
    ix->at = ix->adjacent ? ix->axis[0] : 0;
}

/* [shape.., n] for GatherND and ScatterND */
static fy_value *stack_indices(fy_lower *l, indexing *ix) {
    fy_value *part[FY_MAX_RANK];
    for (int i = 0; i < ix->n; i++) {
        fy_value *v = fy_l_expand(l, ix->index[i], ix->nb, ix->shape);
        part[i] = v ? fy_b_unsqueeze(&l->b, v, ix->nb) : NULL;
    }
    if (l->b.status != FY_OK) return NULL;
    return ix->n == 1 ? part[0] : fy_b_concat(&l->b, ix->n, part, ix->nb);
}

/* perm that brings the indexed axes of x to the front */
static bool front_perm(const indexing *ix, int rank, int *perm) {
    int k = 0;
    bool moved = false;
    for (int i = 0; i < ix->n; i++) { moved = moved || ix->axis[i] != i; perm[k++] = ix->axis[i]; }
    for (int a = 0; a < rank; a++) {
        bool used = false;
        for (int i = 0; i < ix->n; i++) used = used || ix->axis[i] == a;
        if (!used) perm[k++] = a;
    }
    return moved;
}

fy_status fy_lower_index(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    indexing ix;
    int rank = fy_rank(l, x), perm[FY_MAX_RANK];
    read_indices(l, &x, &ix);
    FY_L_OK(l);
    if (ix.n == 1) return fy_l_ret(l, fy_emit(&l->b, "Gather", FY_V(x, ix.index[0]), FY_A(fy_int("axis", ix.axis[0]))));
    fy_value *y = front_perm(&ix, rank, perm) ? fy_b_transpose(&l->b, x, perm) : x;
    fy_value *at = stack_indices(l, &ix);
    y = y && at ? fy_emit(&l->b, "GatherND", FY_V(y, at), FY_NOATTR) : NULL;
    int out = ix.nb + rank - ix.n;
    if (y && ix.at > 0 && out <= FY_MAX_RANK) {          /* [B.., rest..] -> [rest before, B.., rest after] */
        int back[FY_MAX_RANK], k = 0;
        for (int i = 0; i < ix.at; i++) back[k++] = ix.nb + i;
        for (int i = 0; i < ix.nb; i++) back[k++] = i;
        for (int i = ix.nb + ix.at; i < out; i++) back[k++] = i;
        y = fy_b_transpose(&l->b, y, back);
    }
    return fy_l_ret(l, y);
}

fy_status fy_lower_index_put(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *v = fy_l_tensor(l, "values");
    bool add = fy_l_has(l, "accumulate") && fy_l_bool(l, "accumulate");
    int rank = fy_rank(l, x), vr = fy_rank(l, v), perm[FY_MAX_RANK];
    FY_L_OK(l);
    v = fy_b_cast(&l->b, v, x->type.dtype);
    /* one mask and one number: no indices needed */
    const fy_parg *list = fy_aten_arg(l->n, "indices");
    if (!add && list->kind == FY_ARG_TENSORS && list->n == 1 && list->values[0]) {
        fy_value *mask = fy_l_value(l, list->values[0]);
        FY_L_OK(l);
        int64_t one;
        bool number = vr == 0 || (vr == 1 && fy_const_dim(v, 0, &one) && one == 1);
        if (mask->type.dtype == FERRY_BOOL && number && fy_rank(l, mask) > 0) {
            int mr = fy_rank(l, mask);
            int64_t axes[FY_MAX_RANK];
            for (int i = mr; i < rank; i++) axes[i - mr] = i;
            if (rank > mr) mask = fy_emit(&l->b, "Unsqueeze", FY_V(mask, fy_k_ints(&l->b, rank - mr, axes)), FY_NOATTR);
            return fy_l_ret(l, fy_l_where(l, mask, v, x));
        }
    }
    indexing ix;
    read_indices(l, &x, &ix);
    FY_L_OK(l);
    int out = ix.nb + rank - ix.n;
    if (out > FY_MAX_RANK) return fy_l_fail(l, FY_E_LIMIT, "%s of rank %d", l->n->op, out);
    bool moved = front_perm(&ix, rank, perm);
    /* the shape that x[indices] has, and the values in it, index axes first */
    dims want;
    int order[FY_MAX_RANK], k = 0;
    for (int i = 0; i < ix.at; i++) want[k++] = x->type.dim[perm[ix.n + i]];
    for (int i = 0; i < ix.nb; i++) want[k++] = ix.shape[i];
    for (int i = ix.at; i < rank - ix.n; i++) want[k++] = x->type.dim[perm[ix.n + i]];
    v = fy_l_expand(l, v, out, want);
    k = 0;
    for (int i = 0; i < ix.nb; i++) order[k++] = ix.at + i;
    for (int i = 0; i < ix.at; i++) order[k++] = i;
    for (int i = ix.nb + ix.at; i < out; i++) order[k++] = i;
    if (ix.at > 0 && v) v = fy_b_transpose(&l->b, v, order);
    fy_value *y = moved ? fy_b_transpose(&l->b, x, perm) : x, *at = stack_indices(l, &ix);
    FY_L_OK(l);
    y = fy_emit(&l->b, "ScatterND", FY_V(y, at, v), FY_A(fy_text("reduction", add ? "add" : "none")));
    if (moved && y) {
        int back[FY_MAX_RANK];
        for (int i = 0; i < rank; i++) back[perm[i]] = i;
        y = fy_b_transpose(&l->b, y, back);
    }
    return fy_l_ret(l, y);
}

/* ---- scatter --------------------------------------------------------------------------------------------------------------------- */

/* scatter.src, scatter.value, scatter_add, scatter_reduce */
fy_status fy_lower_scatter(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *index = fy_l_tensor(l, "index");
    int rank = fy_rank(l, x);
    const char *reduction = "none";
    FY_L_OK(l);
    if (fy_l_named(l, "aten.scatter_add")) reduction = "add";
    if (fy_l_named(l, "aten.scatter_reduce")) {
        const char *how = fy_l_str(l, "reduce");
        reduction = !how ? NULL : strcmp(how, "sum") == 0 ? "add" : strcmp(how, "prod") == 0 ? "mul" : strcmp(how, "amax") == 0 ? "max" : strcmp(how, "amin") == 0 ? "min" : NULL;
        if (!reduction || !fy_l_bool(l, "include_self"))
            return fy_l_fail(l, FY_E_UNSUPPORTED, "scatter_reduce \"%s\"%s", how ? how : "?", fy_l_bool(l, "include_self") ? "" : " without self");
    }
    if (rank == 0 || fy_rank(l, index) != rank) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s on rank %d by an index of rank %d", l->n->op, rank, fy_rank(l, index));
    fy_value *src;
    if (fy_l_has(l, "value")) {
        fy_operand v = fy_l_operand(l, "value");
        src = fy_l_expand(l, fy_l_as(l, &v, x->type.dtype), rank, index->type.dim);
    } else {
        src = fy_l_tensor(l, "src");
        if (src && fy_rank(l, src) != rank) return fy_l_fail(l, FY_E_SHAPE, "%s: src of rank %d into rank %d", l->n->op, fy_rank(l, src), rank);
        for (int i = 0; i < rank && src; i++)            /* torch reads only the part of src that index covers */
            if (src->type.dim[i] != index->type.dim[i]) src = fy_l_slice(l, src, i, fy_l_k(l, 0), index->type.dim[i], 1);
    }
    index = as_i64(l, index);
    return fy_l_ret(l, src && index ? fy_emit(&l->b, "ScatterElements", FY_V(x, index, src), FY_A(fy_int("axis", fy_l_axis(l, "dim", rank)), fy_text("reduction", reduction))) : NULL);
}

/* index_add, index_copy, index_fill: rows along one axis; ScatterElements with the index spread over the others */
fy_status fy_lower_index_rows(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *index = as_i64(l, fy_l_tensor(l, "index")), *src = NULL;
    int rank = fy_rank(l, x), axis = fy_l_axis(l, "dim", rank);
    bool add = fy_l_named(l, "aten.index_add");
    FY_L_OK(l);
    if (fy_rank(l, index) == 0) index = fy_b_unsqueeze(&l->b, index, 0);
    FY_L_OK(l);
    if (rank == 0) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s on rank 0", l->n->op);
    dims shape, one;
    for (int i = 0; i < rank; i++) {
        shape[i] = i == axis ? index->type.dim[0] : x->type.dim[i];
        one[i] = i == axis ? shape[i] : fy_l_k(l, 1);
    }
    index = fy_l_expand(l, fy_l_reshape(l, index, rank, one), rank, shape);
    if (fy_l_named(l, "aten.index_fill")) {
        fy_operand v = fy_l_operand(l, "value");
        src = fy_l_expand(l, fy_l_as(l, &v, x->type.dtype), rank, shape);
    } else src = fy_l_tensor(l, "source");
    if (add && src) {
        fy_operand alpha = fy_l_operand(l, "alpha");
        if (alpha.f != 1) src = fy_l_binary(l, "Mul", src, fy_l_as(l, &alpha, x->type.dtype));
    }
    return fy_l_ret(l, src && index ? fy_emit(&l->b, "ScatterElements", FY_V(x, index, src), FY_A(fy_int("axis", axis), fy_text("reduction", add ? "add" : "none"))) : NULL);
}

/* ---- writes into slices ------------------------------------------------------------------------------------------------------------- */

/* A begin or end as given -> in [0, size], where that can be told. */
static const fy_dim *bounded(fy_lower *l, const fy_dim *at, const fy_dim *size) {
    int64_t k, n;
    if (!at || !size) return NULL;
    if (!fy_dim_known(at, &k)) return fy_dim_ge(at, 0) ? at : at;
    if (fy_dim_known(size, &n)) {
        if (k < 0) k += n;
        return fy_l_k(l, k < 0 ? 0 : k > n ? n : k);
    }
    if (k == INT64_MAX) return size;
    return k < 0 ? fy_dim_addi(l->m->dims, size, k) : fy_dim_min(l->m->dims, at, size);
}

/* x with [begin, end) of `axis` replaced by src (or src spread over it) */
static fy_value *replace_range(fy_lower *l, fy_value *x, fy_value *src, int axis, const fy_dim *begin, const fy_dim *end) {
    fy_value *part[3];
    int n = 0;
    const fy_dim *size = fy_dim_of(l, x, axis);
    if (l->b.status != FY_OK || !begin || !end || !src) return NULL;
    if (fy_dim_is(begin, 0) && end == size) return src;
    if (!fy_dim_is(begin, 0)) part[n++] = fy_l_slice(l, x, axis, fy_l_k(l, 0), begin, 1);
    part[n++] = src;
    if (end != size) part[n++] = fy_l_slice(l, x, axis, end, fy_l_k(l, INT64_MAX), 1);
    fy_value *y = l->b.status == FY_OK ? fy_b_concat(&l->b, n, part, axis) : NULL;
    if (y && y->type.rank == x->type.rank) y->type.dim = x->type.dim;        /* the shape does not change */
    return y;
}

fy_status fy_lower_slice_scatter(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *src = fy_l_tensor(l, "src");
    int rank = fy_rank(l, x), axis = fy_l_axis_in(l, "dim", rank);
    int64_t step = fy_l_int(l, "step");
    FY_L_OK(l);
    if (fy_rank(l, src) != rank || step < 1) return fy_l_fail(l, FY_E_SHAPE, "slice_scatter of rank %d into rank %d, step %lld", fy_rank(l, src), rank, (long long)step);
    const fy_dim *size = x->type.dim[axis];
    const fy_dim *begin = bounded(l, fy_l_has(l, "start") ? fy_l_dim(l, "start") : fy_l_k(l, 0), size);
    const fy_dim *end = bounded(l, fy_l_has(l, "end") ? fy_l_dim(l, "end") : fy_l_k(l, INT64_MAX), size);
    src = fy_b_cast(&l->b, src, x->type.dtype);
    FY_L_OK(l);
    if (step == 1) return fy_l_ret(l, replace_range(l, x, src, axis, begin, end));
    fy_build *b = &l->b;
    fy_value *at = fy_emit(b, "Range", FY_V(fy_l_size_scalar(l, begin), fy_l_size_scalar(l, end), fy_k_i64(b, step)), FY_NOATTR);
    dims one;
    for (int i = 0; i < rank; i++) one[i] = fy_l_k(l, i == axis ? -1 : 1);
    for (int i = 0; at && i < rank; i++)
        if (i == axis) one[i] = fy_dim_of(l, at, 0);
    at = fy_l_expand(l, fy_l_reshape(l, at, rank, one), rank, src->type.dim);
    return fy_l_ret(l, at ? fy_emit(b, "ScatterElements", FY_V(x, at, src), FY_A(fy_int("axis", axis))) : NULL);
}

fy_status fy_lower_select_scatter(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *src = fy_l_tensor(l, "src");
    int rank = fy_rank(l, x), axis = fy_l_axis_in(l, "dim", rank);
    const fy_dim *i = fy_l_dim(l, "index");
    FY_L_OK(l);
    if (!i) return fy_l_fail(l, FY_E_ATTR, "select_scatter without an index");
    const fy_dim *size = x->type.dim[axis], *begin = i;
    int64_t k;
    if (fy_dim_known(i, &k) && k < 0) begin = fy_dim_add(l->m->dims, size, i);
    src = fy_b_cast(&l->b, src, x->type.dtype);
    dims shape;
    for (int a = 0; a < rank; a++) shape[a] = a == axis ? fy_l_k(l, 1) : x->type.dim[a];
    if (src && fy_rank(l, src) == rank - 1) src = fy_b_unsqueeze(&l->b, src, axis);
    src = fy_l_expand(l, src, rank, shape);
    return fy_l_ret(l, replace_range(l, x, src, axis, begin, fy_dim_addi(l->m->dims, begin, 1)));
}

/* diagonal_scatter of the last two axes (or any two of a matrix): where the two positions differ by offset */
fy_status fy_lower_diagonal_scatter(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *src = fy_l_tensor(l, "src");
    int rank = fy_rank(l, x), a = fy_l_axis(l, "dim1", rank), c = fy_l_axis(l, "dim2", rank);
    int64_t off = fy_l_int(l, "offset");
    FY_L_OK(l);
    if (rank != 2 || a != 0 || c != 1 || off != 0) return fy_l_fail(l, FY_E_UNSUPPORTED, "diagonal_scatter other than the main diagonal of a matrix");
    fy_build *b = &l->b;
    fy_value *n = fy_l_size_scalar(l, fy_dim_of(l, src, 0)), *zero = fy_k_i64(b, 0), *one = fy_k_i64(b, 1);
    fy_value *i = fy_emit(b, "Range", FY_V(zero, n, one), FY_NOATTR);
    FY_L_OK(l);
    i = fy_b_unsqueeze(b, i, 1);
    fy_value *at = i ? fy_b_concat(b, 2, (fy_value *[]){i, i}, 1) : NULL;
    return fy_l_ret(l, at ? fy_emit(b, "ScatterND", FY_V(x, at, fy_b_cast(b, src, x->type.dtype)), FY_NOATTR) : NULL);
}

/* ---- masks --------------------------------------------------------------------------------------------------------------------------- */

static fy_value *flat(fy_lower *l, fy_value *x) {
    int64_t all = -1;
    return x ? fy_emit(&l->b, "Reshape", FY_V(x, fy_k_ints(&l->b, 1, &all)), FY_NOATTR) : NULL;
}

/* masked_scatter: the k-th true position takes source[k] */
fy_status fy_lower_masked_scatter(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *mask = fy_l_tensor(l, "mask"), *src = fy_l_tensor(l, "source");
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    fy_build *b = &l->b;
    mask = fy_l_expand(l, mask, rank, x->type.dim);
    fy_value *k = fy_l_binary(l, "CumSum", fy_b_cast(b, flat(l, mask), FERRY_INT64), fy_k_i64(b, 0));
    k = fy_l_binary(l, "Max", fy_l_binary(l, "Sub", k, fy_k_i64(b, 1)), fy_k_i64(b, 0));
    fy_value *y = k ? fy_emit(b, "Gather", FY_V(flat(l, src), k), FY_A(fy_int("axis", 0))) : NULL;
    return fy_l_ret(l, fy_l_where(l, mask, fy_l_reshape(l, y, rank, x->type.dim), x));
}

fy_status fy_lower_masked_select(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *mask = fy_l_tensor(l, "mask");
    dims d;
    int rank = fy_rank(l, x), mr = fy_rank(l, mask);
    FY_L_OK(l);
    int r = broadcast(l, rank, x->type.dim, mr, mask->type.dim, d);
    return fy_l_ret(l, fy_l_binary(l, "Compress", flat(l, fy_l_expand(l, x, r, d)), flat(l, fy_l_expand(l, mask, r, d))));
}

fy_status fy_lower_one_hot(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int64_t n = fy_l_int(l, "num_classes"), values[2] = {0, 1};
    FY_L_OK(l);
    if (n < 0) return fy_l_fail(l, FY_E_UNSUPPORTED, "one_hot without num_classes");
    return fy_l_ret(l, fy_emit(&l->b, "OneHot", FY_V(x, fy_k_i64(&l->b, n), fy_k_ints(&l->b, 2, values)), FY_A(fy_int("axis", -1))));
}

/* bucketize, searchsorted with 1-D boundaries: how many lie below (right: not above) the value */
fy_status fy_lower_bucketize(fy_lower *l) {
    bool sorted = fy_l_named(l, "aten.searchsorted");
    fy_value *x = fy_l_tensor(l, "self"), *edges = fy_l_tensor(l, sorted ? "sorted_sequence" : "boundaries");
    bool right = fy_l_bool(l, "right"), small = fy_l_bool(l, "out_int32");
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    int er = fy_rank(l, edges);
    if (er != 1 && er != rank) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s in boundaries of rank %d", l->n->op, er);
    if (er > 1) edges = fy_b_unsqueeze(&l->b, edges, er - 1);            /* rows of their own */
    fy_operand o[2] = {fy_op_value(x), fy_op_value(edges)};
    fy_dtype t = fy_promote2(o[0].dtype, o[1].dtype);
    fy_value *below = fy_l_binary(l, right ? "LessOrEqual" : "Less", fy_l_as(l, &o[1], t), fy_b_unsqueeze(&l->b, fy_l_as(l, &o[0], t), rank));
    int64_t last = -1;
    return fy_l_ret(l, fy_l_reduce(l, "ReduceSum", below ? fy_b_cast(&l->b, below, small ? FERRY_INT32 : FERRY_INT64) : NULL, 1, &last, false));
}

/* embedding_bag, sum or mean: a matrix [bags, n] that says which index lies in which bag, times the rows */
fy_status fy_lower_embedding_bag(fy_lower *l) {
    fy_value *w = fy_l_tensor(l, "weight"), *index = as_i64(l, fy_l_tensor(l, "indices")), *offsets = as_i64(l, fy_l_tensor(l, "offsets")), *per = fy_l_tensor(l, "per_sample_weights");
    int64_t mode = fy_l_int(l, "mode"), pad = fy_l_has(l, "padding_idx") ? fy_l_int(l, "padding_idx") : -1;
    FY_L_OK(l);
    if (mode > 1 || fy_rank(l, index) != 1) return fy_l_fail(l, FY_E_UNSUPPORTED, "embedding_bag with mode max, or indices of rank %d", fy_rank(l, index));
    for (int i = 1; i < fy_l_nout(l); i++)
        if (fy_l_wanted(l, i)) return fy_l_fail(l, FY_E_UNSUPPORTED, "embedding_bag: an output other than the first is used");
    fy_build *b = &l->b;
    fy_dtype t = w->type.dtype;
    if (fy_l_bool(l, "include_last_offset")) offsets = fy_l_slice(l, offsets, 0, fy_l_k(l, 0), fy_l_k(l, -1), 1);
    FY_L_OK(l);
    const fy_dim *n = fy_dim_of(l, index, 0);
    fy_value *pos = fy_emit(b, "Range", FY_V(fy_k_i64(b, 0), fy_l_size_scalar(l, n), fy_k_i64(b, 1)), FY_NOATTR);
    fy_value *start = fy_b_unsqueeze(b, offsets, 1);
    FY_L_OK(l);
    fy_value *end = fy_b_concat(b, 2, (fy_value *[]){fy_l_slice(l, offsets, 0, fy_l_k(l, 1), fy_l_k(l, INT64_MAX), 1), fy_l_size(l, n)}, 0);
    end = end ? fy_b_unsqueeze(b, end, 1) : NULL;
    fy_value *in = fy_l_binary(l, "And", fy_l_binary(l, "GreaterOrEqual", pos, start), fy_l_binary(l, "Less", pos, end));
    if (pad >= 0) in = fy_l_binary(l, "And", in, fy_l_named_op(l, "Not", fy_l_binary(l, "Equal", index, fy_k_i64(b, pad))));
    FY_L_OK(l);
    fy_value *bag = fy_b_cast(b, in, t), *weighted = per ? fy_l_binary(l, "Mul", bag, per) : bag;
    fy_value *y = fy_l_binary(l, "MatMul", weighted, fy_emit(b, "Gather", FY_V(w, index), FY_A(fy_int("axis", 0))));
    int64_t last = 1;
    if (mode == 1) y = fy_l_binary(l, "Div", y, fy_l_binary(l, "Max", fy_l_reduce(l, "ReduceSum", bag, 1, &last, true), fy_k_scalar(b, t, 1)));
    return fy_l_ret(l, y);
}
