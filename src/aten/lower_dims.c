/* SPDX-License-Identifier: Apache-2.0
 * lower_dims.c - symbolic sizes while lowering: from the program's pool to the model's, and as values of the graph.
 *
 * A size is emitted from graph inputs where they carry its symbols (ir's fy_b_dim); a data-dependent one (the length of a
 * NonZero, an item()) is read from the value that first had it: l->source. */
#include "aten/lower.h"
#include "base/checked.h"

#include <string.h>

enum { DEPTH_MAX = 48 };                 /* of expressions; torch's are a few levels deep */

const fy_dim *fy_l_k(fy_lower *l, int64_t v) {
    const fy_dim *d = fy_dim_const(l->m->dims, v);
    if (!d) (void)fy_l_fail(l, FY_E_NOMEM, "out of memory");
    return d;
}

int fy_rank(fy_lower *l, const fy_value *v) {
    if (l->b.status != FY_OK) return 0;
    if (!v) { (void)fy_l_fail(l, FY_E_ATTR, "%s without a tensor that it needs", l->n ? l->n->op : "an output"); return 0; }
    if (v->type.kind != FY_TENSOR || v->type.rank < 0) {
        (void)fy_l_fail(l, FY_E_SHAPE, "%s: the rank of an input is not known", l->n->op);
        return 0;
    }
    return v->type.rank;
}

const fy_dim *fy_dim_of(fy_lower *l, const fy_value *v, int axis) {
    int rank = fy_rank(l, v);
    if (l->b.status != FY_OK) return NULL;
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank) { (void)fy_l_fail(l, FY_E_AXIS, "%s: axis %d outside rank %d", l->n->op, axis, rank); return NULL; }
    return v->type.dim[axis];
}

bool fy_const_dim(const fy_value *v, int axis, int64_t *n) {
    if (!v || v->type.kind != FY_TENSOR || v->type.rank < 0) return false;
    if (axis < 0) axis += v->type.rank;
    return axis >= 0 && axis < v->type.rank && fy_dim_known(v->type.dim[axis], n);
}

/* ---- program dims -> model dims ----------------------------------------------------------------------------------------- */

static const fy_dim *import_at(fy_lower *l, const fy_dim *d, int depth) {
    fy_dims *p = l->m->dims;
    if (!d || depth > DEPTH_MAX) return NULL;
    const fy_dim *a = NULL, *b = NULL;
    switch (d->kind) {
    case FY_DIM_CONST: return fy_dim_const(p, d->value);
    case FY_DIM_SYM: case FY_DIM_OPAQUE: return fy_map_gets(&l->symbol, d->name);
    case FY_DIM_SUM:
        a = fy_dim_const(p, d->value);
        for (int i = 0; i < d->nargs && a; i++) a = fy_dim_add(p, a, import_at(l, d->arg[i], depth + 1));
        return a;
    case FY_DIM_PROD:
        a = fy_dim_const(p, d->value);
        for (int i = 0; i < d->nargs && a; i++) a = fy_dim_mul(p, a, import_at(l, d->arg[i], depth + 1));
        return a;
    case FY_DIM_SCALE: return fy_dim_scale(p, import_at(l, d->arg[0], depth + 1), d->value, d->den);
    case FY_DIM_FLOORDIV: case FY_DIM_CEILDIV: case FY_DIM_MOD: case FY_DIM_POW: case FY_DIM_MIN: case FY_DIM_MAX: break;
    }
    a = import_at(l, d->arg[0], depth + 1);
    b = import_at(l, d->arg[1], depth + 1);
    return d->kind == FY_DIM_FLOORDIV ? fy_dim_floordiv(p, a, b) : d->kind == FY_DIM_CEILDIV ? fy_dim_ceildiv(p, a, b)
         : d->kind == FY_DIM_MOD ? fy_dim_mod(p, a, b) : d->kind == FY_DIM_POW ? fy_dim_pow(p, a, b)
         : d->kind == FY_DIM_MIN ? fy_dim_min(p, a, b) : fy_dim_max(p, a, b);
}

const fy_dim *fy_l_import(fy_lower *l, const fy_dim *d) { return import_at(l, d, 0); }

/* ---- sizes as values ------------------------------------------------------------------------------------------------------ */

static const fy_lsource *source_of(const fy_lower *l, const fy_dim *d) {
    for (int64_t i = 0; i < l->source.n; i++)
        if (l->source.at[i].dim == d) return &l->source.at[i];
    return NULL;
}

bool fy_l_carried(const fy_lower *l, const fy_dim *d, int depth) {
    if (d->kind == FY_DIM_CONST || d->kind == FY_DIM_SYM || source_of(l, d)) return true;
    if (d->kind == FY_DIM_OPAQUE || depth > DEPTH_MAX) return false;
    for (int i = 0; i < d->nargs; i++)
        if (!fy_l_carried(l, d->arg[i], depth + 1)) return false;
    return true;
}

static bool data_dependent(const fy_dim *d, int depth) {
    if (d->kind == FY_DIM_OPAQUE) return true;
    for (int i = 0; i < d->nargs && depth < DEPTH_MAX; i++)
        if (data_dependent(d->arg[i], depth + 1)) return true;
    return false;
}

static fy_value *size_at(fy_lower *l, const fy_dim *d, int depth);

static fy_value *fold(fy_lower *l, const char *op, fy_value *acc, fy_value *next) {
    return !acc ? next : next ? fy_emit(&l->b, op, FY_V(acc, next), FY_NOATTR) : NULL;
}

/* i64[1] */
static fy_value *size_at(fy_lower *l, const fy_dim *d, int depth) {
    fy_build *b = &l->b;
    int64_t k;
    if (b->status != FY_OK) return NULL;
    if (!d) { (void)fy_l_fail(l, FY_E_ATTR, "%s without a size that it needs, or out of memory", l->n ? l->n->op : "an output"); return NULL; }
    if (fy_dim_known(d, &k)) return fy_k_ints(b, 1, &k);
    const fy_lsource *s = source_of(l, d);
    if (s && s->axis >= 0) return fy_emit(b, "Shape", FY_V(s->v), FY_A(fy_int("start", s->axis), fy_int("end", s->axis + 1)));
    if (s) {
        int64_t i = s->axis <= FY_L_ELEMENT ? FY_L_ELEMENT - s->axis : 0, n = s->v->nelem > 1 ? s->v->nelem : 1;
        fy_value *y = fy_b_reshape(b, fy_b_cast(b, s->v, FERRY_INT64), 1, (const fy_dim *[]){fy_l_k(l, n)});
        return n == 1 || !y ? y : fy_emit(b, "Gather", FY_V(y, fy_k_ints(b, 1, &i)), FY_NOATTR);
    }
    if (!data_dependent(d, 0)) return fy_b_dim(b, d);
    if (depth > DEPTH_MAX) { (void)fy_l_fail(l, FY_E_LIMIT, "a size expression is too deep"); return NULL; }
    fy_value *acc = NULL;
    switch (d->kind) {
    case FY_DIM_SUM: case FY_DIM_PROD:
        for (int i = 0; i < d->nargs; i++) acc = fold(l, d->kind == FY_DIM_SUM ? "Add" : "Mul", acc, size_at(l, d->arg[i], depth + 1));
        if (d->value != (d->kind == FY_DIM_PROD)) acc = fold(l, d->kind == FY_DIM_SUM ? "Add" : "Mul", acc, fy_k_ints(b, 1, &d->value));
        return acc;
    case FY_DIM_FLOORDIV: return fy_l_binary(l, "Div", size_at(l, d->arg[0], depth + 1), size_at(l, d->arg[1], depth + 1));
    case FY_DIM_CEILDIV: {               /* sizes are not negative: (a + b - 1) / b */
        fy_value *x = size_at(l, d->arg[0], depth + 1), *y = size_at(l, d->arg[1], depth + 1);
        x = fy_l_binary(l, "Sub", fy_l_binary(l, "Add", x, y), fy_k_ints(b, 1, (int64_t[]){1}));
        return fy_l_binary(l, "Div", x, y);
    }
    case FY_DIM_MOD: return fy_l_binary(l, "Mod", size_at(l, d->arg[0], depth + 1), size_at(l, d->arg[1], depth + 1));
    case FY_DIM_POW: return fy_l_binary(l, "Pow", size_at(l, d->arg[0], depth + 1), size_at(l, d->arg[1], depth + 1));
    case FY_DIM_MIN: return fy_l_binary(l, "Min", size_at(l, d->arg[0], depth + 1), size_at(l, d->arg[1], depth + 1));
    case FY_DIM_MAX: return fy_l_binary(l, "Max", size_at(l, d->arg[0], depth + 1), size_at(l, d->arg[1], depth + 1));
    case FY_DIM_SCALE:
        acc = fy_l_binary(l, "Mul", size_at(l, d->arg[0], depth + 1), fy_k_ints(b, 1, &d->value));
        return fy_l_binary(l, "Div", acc, fy_k_ints(b, 1, &d->den));
    case FY_DIM_CONST: case FY_DIM_SYM: case FY_DIM_OPAQUE: break;
    }
    (void)fy_l_fail(l, FY_E_UNSUPPORTED, "%s needs the size \"%s\", which no value carries", l->n ? l->n->op : "an output", d->name ? d->name : "?");
    return NULL;
}

fy_value *fy_l_size(fy_lower *l, const fy_dim *d) { return size_at(l, d, 0); }

fy_value *fy_l_sizes(fy_lower *l, int n, const fy_dim *const *d) {
    int64_t k[FY_MAX_RANK];
    fy_value *part[FY_MAX_RANK];
    if (n > FY_MAX_RANK) { (void)fy_l_fail(l, FY_E_LIMIT, "%s: more than %d axes", l->n->op, FY_MAX_RANK); return NULL; }
    int known = 0, parts = 0;
    for (int i = 0; i < n; i++) known += d[i] && fy_dim_known(d[i], &k[i]);
    if (known == n) return fy_k_ints(&l->b, n, k);
    for (int i = 0; i < n;) {                                                /* runs of constants as one */
        int from = i;
        while (i < n && d[i] && fy_dim_known(d[i], &k[i])) i++;
        part[parts++] = i > from ? fy_k_ints(&l->b, i - from, k + from) : fy_l_size(l, d[i++]);
    }
    return l->b.status == FY_OK ? fy_b_concat(&l->b, parts, part, 0) : NULL;
}

fy_value *fy_l_size_scalar(fy_lower *l, const fy_dim *d) {
    int64_t k;
    if (d && fy_dim_known(d, &k)) return fy_k_i64(&l->b, k);
    fy_value *v = fy_l_size(l, d);
    return v ? fy_b_squeeze(&l->b, v, 0) : NULL;
}

/* ---- shapes ------------------------------------------------------------------------------------------------------------------ */

fy_value *fy_l_reshape(fy_lower *l, fy_value *x, int rank, const fy_dim *const *dim) {
    int xr = fy_rank(l, x);
    if (l->b.status != FY_OK) return NULL;
    for (int i = 0; i < rank; i++)
        if (!dim[i]) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return NULL; }
    bool same = xr == rank;
    for (int i = 0; i < rank && same; i++) same = x->type.dim[i] == dim[i];
    if (same) return x;
    /* 0 copies the size of the same axis, one -1 is worked out: most dynamic reshapes need no shape arithmetic. An unknown
     * that also divides out of x on both sides stays a 0 where it can. */
    int64_t k[FY_MAX_RANK];
    int unknown = 0;
    bool zero = false;
    for (int i = 0; i < rank; i++) {
        if (fy_dim_known(dim[i], &k[i])) { zero |= k[i] == 0; continue; }
        k[i] = i < xr && x->type.dim[i] == dim[i] ? 0 : -1;
        unknown += k[i] < 0;
    }
    fy_value *y;
    if (unknown <= 1 && !zero) y = fy_emit(&l->b, "Reshape", FY_V(x, fy_k_ints(&l->b, rank, k)), FY_NOATTR);
    else y = fy_emit(&l->b, "Reshape", FY_V(x, fy_l_sizes(l, rank, dim)), FY_A(fy_int("allowzero", zero)));
    if (y && y->type.rank == rank) {     /* the sizes asked for are at least as exact as the ones worked out */
        const fy_dim **d = FY_NEWN(&l->m->arena, const fy_dim *, rank);
        for (int i = 0; d && i < rank; i++) d[i] = fy_const_dim(y, i, &k[i]) ? y->type.dim[i] : dim[i];
        if (d) y->type.dim = d;
    }
    return y;
}

fy_value *fy_l_expand(fy_lower *l, fy_value *x, int rank, const fy_dim *const *dim) {
    int xr = fy_rank(l, x);
    if (l->b.status != FY_OK) return NULL;
    if (rank < xr || rank > FY_MAX_RANK) { (void)fy_l_fail(l, FY_E_SHAPE, "%s spreads rank %d to rank %d", l->n->op, xr, rank); return NULL; }
    bool same = xr == rank;
    for (int i = 0; i < rank && same; i++) same = x->type.dim[i] == dim[i];
    if (same) return x;
    /* Expand broadcasts both ways: a 1 keeps the axis of x, so axes that stay need no size */
    const fy_dim *want[FY_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        int k = i - (rank - xr);
        want[i] = k >= 0 && x->type.dim[k] == dim[i] ? fy_l_k(l, 1) : dim[i];
    }
    return fy_emit(&l->b, "Expand", FY_V(x, fy_l_sizes(l, rank, want)), FY_NOATTR);
}

fy_value *fy_l_slice(fy_lower *l, fy_value *x, int axis, const fy_dim *begin, const fy_dim *end, int64_t step) {
    if (!x || !begin || !end || l->b.status != FY_OK) return NULL;
    const fy_dim *size = fy_dim_of(l, x, axis);
    int64_t e, n;
    bool to_end = end == size || (fy_dim_known(end, &e) && (e == INT64_MAX || (fy_dim_known(size, &n) && e >= n)));
    if (fy_dim_is(begin, 0) && to_end && step == 1) return x;
    if (to_end) end = fy_l_k(l, INT64_MAX);
    fy_build *b = &l->b;
    int64_t at = axis;
    return fy_emit(b, "Slice", FY_V(x, fy_l_size(l, begin), fy_l_size(l, end), fy_k_ints(b, 1, &at), step == 1 ? NULL : fy_k_ints(b, 1, &step)), FY_NOATTR);
}

fy_value *fy_l_full(fy_lower *l, int rank, const fy_dim *const *dim, fy_value *scalar) {
    if (!scalar || l->b.status != FY_OK) return NULL;
    if (rank == 0) return scalar;
    /* small and known: a constant (small integer ones are read as dims); large ones stay a node rather than bytes in a file */
    int64_t k[FY_MAX_RANK], count = 0;
    double v;
    int known = 0;
    for (int i = 0; i < rank; i++) known += dim[i] && fy_dim_known(dim[i], &k[i]);
    if (known == rank && fy_count_dims(&count, rank, k) && count <= 4096 && scalar->constant && fy_dtype_bits(scalar->type.dtype) <= 32
        && fy_const_f64(scalar->constant, 0, &v)) {
        fy_const *c = fy_const_splat(&l->m->arena, scalar->type.dtype, rank, k, v);
        if (c) return fy_k_const(&l->b, c, NULL);
    }
    return fy_emit(&l->b, "Expand", FY_V(scalar, fy_l_sizes(l, rank, dim)), FY_NOATTR);
}

fy_value *fy_l_unsqueeze_to(fy_lower *l, fy_value *x, int rank) {
    int64_t axes[FY_MAX_RANK];
    int n = rank - fy_rank(l, x);
    if (l->b.status != FY_OK || n <= 0) return x;
    for (int i = 0; i < n; i++) axes[i] = i;
    return fy_emit(&l->b, "Unsqueeze", FY_V(x, fy_k_ints(&l->b, n, axes)), FY_NOATTR);
}
