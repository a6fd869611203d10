/* SPDX-License-Identifier: Apache-2.0
 * index.c - reading and writing at positions held in a tensor: Gather GatherElements GatherND Scatter ScatterElements ScatterND
 * OneHot NonZero Compress TensorScatter. Every index is checked: [-n, n) counts from the end if negative, anything else is an
 * INDEX error. */
#include "ops/common.h"
#include "ops/move.h"

#include <math.h>
#include <string.h>

static fy_status wrap_index(int64_t *r, int64_t given, int64_t n, ferry_error *e) {
    *r = 0;
    FY_NEED(e, given >= -n && given < n, INDEX, "index %lld outside an axis of %lld", (long long)given, (long long)n);
    *r = given < 0 ? given + n : given;
    return FY_OK;
}

static void runs(const fy_tensor *x, int axis, int64_t *outer, int64_t *inner) {
    *outer = *inner = 1;
    for (int a = 0; a < axis; a++) *outer *= x->dim[a];
    for (int a = axis + 1; a < x->rank; a++) *inner *= x->dim[a];
}

/* ---- Gather -------------------------------------------------------------------------------------------------------- */

static fy_status gather_elems(fy_infer *f, int axis) {
    int64_t dim[FY_MAX_RANK], n, m, outer = 1, inner = 1, total, at = 0, pick[FY_MAX_ELEM];
    const fy_dim *const *e = fy_in_elems(f, 0, &n);
    int rank = fy_in_rank(f, 0);
    if (!e || !fy_in_ints(f, 1, pick, FY_MAX_ELEM, &m) || !fy_mv_sizes(f, 0, dim)) return FY_OK;
    for (int a = 0; a < axis; a++) outer *= dim[a];
    for (int a = axis + 1; a < rank; a++) inner *= dim[a];
    if (!fy_mul_i64(&total, outer, inner) || !fy_mul_i64(&total, total, m) || total > FY_MAX_ELEM) return FY_OK;
    const fy_dim **r = FY_NEWN(f->arena, const fy_dim *, total);
    FY_NOMEM(f->e, r);
    for (int64_t j = 0; j < m; j++) FY_TRY(wrap_index(&pick[j], pick[j], dim[axis], f->e));
    for (int64_t o = 0; o < outer; o++)
        for (int64_t j = 0; j < m; j++)
            for (int64_t i = 0; i < inner; i++) r[at++] = e[(o * dim[axis] + pick[j]) * inner + i];
    return fy_out_elems(f, 0, total, r);
}

static fy_status infer_gather(fy_infer *f) {
    const fy_dim *d[2 * FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), ri = fy_in_rank(f, 1), axis, n = 0;
    if (rank < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    FY_NEED(f->e, rank >= 1, SHAPE, "a scalar cannot be indexed");
    FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank, f->e));
    if (ri < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    FY_NEED(f->e, rank - 1 + ri <= FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported", rank - 1 + ri, FY_MAX_RANK);
    for (int a = 0; a < axis; a++) d[n++] = fy_in_dims(f, 0)[a];
    for (int a = 0; a < ri; a++) d[n++] = fy_in_dims(f, 1)[a];
    for (int a = axis + 1; a < rank; a++) d[n++] = fy_in_dims(f, 0)[a];
    FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), n, d));
    return gather_elems(f, axis);
}

static fy_status ref_gather(const fy_call *c) {
    fy_tensor x, *y;
    int axis;
    int64_t outer, inner, at;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), x.rank, c->e));
    const int64_t *index = fy_arg_i64(c, 1);
    FY_NOMEM(c->e, index);
    runs(&x, axis, &outer, &inner);
    int64_t n = fy_count(fy_arg(c, 1)), dim = x.dim[axis];
    size_t bytes = (size_t)inner * (size_t)fy_elem_bytes(x.dtype);
    for (int64_t j = 0; j < n; j++) FY_TRY(wrap_index(&at, index[j], dim, c->e));
    char *out = y->data;
    for (int64_t o = 0; o < outer && bytes; o++)
        for (int64_t j = 0; j < n; j++, out += bytes)
            memcpy(out, (const char *)x.data + (size_t)(o * dim + (index[j] < 0 ? index[j] + dim : index[j])) * bytes, bytes);
    return FY_OK;
}

static const fy_attr_spec axis0_attrs[] = {{"axis", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_gather = {.name = "Gather", .domain = "", .attrs = axis0_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 13,
    .first = 1, .types = "T=*;I=i32,i64|T,I|T", .infer = infer_gather, .ref = ref_gather, .flags = FY_PURE};

/* ---- GatherElements ------------------------------------------------------------------------------------------------ */

static fy_status infer_gather_elements(fy_infer *f) {
    int rank = fy_in_rank(f, 0), ri = fy_in_rank(f, 1), axis;
    int64_t x, i;
    if (rank >= 0) FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank, f->e));
    FY_NEED(f->e, rank < 0 || ri < 0 || rank == ri, SHAPE, "data has rank %d, indices rank %d", rank, ri);
    for (int a = 0; rank >= 0 && ri >= 0 && a < rank; a++)
        FY_NEED(f->e, a == axis || !fy_dim_known(fy_in_dim(f, 0, a), &x) || !fy_dim_known(fy_in_dim(f, 1, a), &i) || i <= x, SHAPE,
                "indices have %lld on axis %d, data %lld", (long long)i, a, (long long)x);
    return ri < 0 ? fy_mv_unknown(f, 0, fy_in_dtype(f, 0), rank) : fy_out_set(f, 0, fy_in_dtype(f, 0), ri, fy_in_dims(f, 1));
}

/* Offset in dense x for element k of an index tensor, on every axis but `axis`. */
typedef struct walk { int rank, axis; int64_t idx[FY_MAX_RANK], stride[FY_MAX_RANK], base; const int64_t *dim; } walk;

static void walk_start(walk *w, const fy_tensor *x, const fy_tensor *index, int axis) {
    *w = (walk){.rank = x->rank, .axis = axis, .dim = index->dim};
    fy_strides(x->rank, x->dim, w->stride);
}

static void walk_next(walk *w) {
    for (int a = w->rank - 1; a >= 0; a--) {
        int64_t s = a == w->axis ? 0 : w->stride[a];
        w->base += s;
        if (++w->idx[a] < w->dim[a]) return;
        w->base -= s * w->dim[a];
        w->idx[a] = 0;
    }
}

static fy_status ref_gather_elements(const fy_call *c) {
    fy_tensor x, *y;
    int axis;
    walk w;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), x.rank, c->e));
    const int64_t *index = fy_arg_i64(c, 1);
    FY_NOMEM(c->e, index);
    int64_t n = fy_count(y), at;
    size_t size = (size_t)fy_elem_bytes(x.dtype);
    walk_start(&w, &x, fy_arg(c, 1), axis);
    for (int64_t k = 0; k < n; k++, walk_next(&w)) {
        FY_TRY(wrap_index(&at, index[k], x.dim[axis], c->e));
        memcpy(fy_mv_at(y, k), fy_mv_at(&x, w.base + at * w.stride[axis]), size);
    }
    return FY_OK;
}

const fy_op fy_op_gather_elements = {.name = "GatherElements", .domain = "", .attrs = axis0_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .since = 13, .first = 11, .types = "T=*;I=i32,i64|T,I|T", .infer = infer_gather_elements, .ref = ref_gather_elements, .flags = FY_PURE};

/* ---- GatherND ------------------------------------------------------------------------------------------------------ */

static fy_status infer_gather_nd(fy_infer *f) {
    const fy_dim *d[2 * FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), ri = fy_in_rank(f, 1), n = 0;
    int64_t b = fy_attr_i(f->node, "batch_dims"), last;
    const fy_dim *len = ri > 0 ? fy_in_dim(f, 1, ri - 1) : NULL;
    FY_NEED(f->e, rank != 0 && ri != 0, SHAPE, "data and indices must have at least rank 1");
    FY_NEED(f->e, b >= 0 && (ri < 0 || b < ri) && (rank < 0 || b < rank), ATTR, "batch_dims is %lld; data has rank %d, indices %d",
            (long long)b, rank, ri);
    if (rank < 0 || ri < 0 || !len || !fy_dim_known(len, &last)) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    FY_NEED(f->e, last >= 1 && last <= rank - b, SHAPE, "index tuples have %lld values; data has rank %d", (long long)last, rank);
    FY_NEED(f->e, ri - 1 + rank - b - last <= FY_MAX_RANK, LIMIT, "a rank of %lld; at most %d is supported",
            (long long)(ri - 1 + rank - b - last), FY_MAX_RANK);
    for (int a = 0; a < ri - 1; a++) d[n++] = fy_in_dims(f, 1)[a];
    for (int a = 0; a < b; a++) FY_TRY(fy_mv_same(f, &d[a], d[a], fy_in_dims(f, 0)[a], "batch sizes of data and indices"));
    for (int a = (int)(b + last); a < rank; a++) d[n++] = fy_in_dims(f, 0)[a];
    return fy_out_set(f, 0, fy_in_dtype(f, 0), n, d);
}

/* Row-major offset, in slices of the axes after the tuple, of tuple `t` within axes first..first+k of x. */
static fy_status tuple_at(int64_t *r, const int64_t *t, int64_t k, const int64_t *dim, ferry_error *e) {
    int64_t at = 0, i;
    for (int64_t a = 0; a < k; a++) {
        FY_TRY(wrap_index(&i, t[a], dim[a], e));
        at = at * dim[a] + i;
    }
    *r = at;
    return FY_OK;
}

static fy_status ref_gather_nd(const fy_call *c) {
    fy_tensor x, *y;
    const fy_tensor *it = fy_arg(c, 1);
    int64_t b = fy_attr_i(c->node, "batch_dims"), k = it->dim[it->rank - 1], batch = 1, inner = 1, block = 1, at;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(fy_mv_dense(c, 0, &x));
    const int64_t *index = fy_arg_i64(c, 1);
    FY_NOMEM(c->e, index);
    for (int a = 0; a < b; a++) batch *= x.dim[a];
    for (int a = (int)b; a < b + k; a++) block *= x.dim[a];
    for (int a = (int)(b + k); a < x.rank; a++) inner *= x.dim[a];
    int64_t n = 1;
    for (int a = 0; a < it->rank - 1; a++) n *= it->dim[a];
    int64_t per = batch ? n / batch : 0;
    size_t bytes = (size_t)inner * (size_t)fy_elem_bytes(x.dtype);
    for (int64_t i = 0; i < n; i++) {
        FY_TRY(tuple_at(&at, index + i * k, k, x.dim + b, c->e));
        at += per ? i / per * block : 0;
        if (bytes) memcpy((char *)y->data + (size_t)i * bytes, (const char *)x.data + (size_t)at * bytes, bytes);
    }
    return FY_OK;
}

static const fy_attr_spec gather_nd_attrs[] = {{"batch_dims", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_gather_nd = {.name = "GatherND", .domain = "", .attrs = gather_nd_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 13,
    .first = 11, .types = "T=*|T,i64|T", .infer = infer_gather_nd, .ref = ref_gather_nd, .flags = FY_PURE};

/* ---- ScatterElements, ScatterND ------------------------------------------------------------------------------------ */

typedef enum reduction { RED_NONE, RED_ADD, RED_MUL, RED_MIN, RED_MAX } reduction;

static fy_status read_reduction(reduction *r, const fy_node *n, fy_dtype t, ferry_error *e) {
    static const char *const names[] = {"none", "add", "mul", "min", "max"};
    fy_class k = fy_dtype_class(t);
    for (int i = 0; i < 5; i++) if (fy_attr_is(n, "reduction", names[i])) {
        *r = (reduction)i;
        FY_NEED(e, i == 0 || !t || k == FY_CLASS_F || k == FY_CLASS_I || k == FY_CLASS_U || k == FY_CLASS_B || (k == FY_CLASS_C
                && i <= RED_MUL), TYPE,
                "reduction %s is not defined for %s", names[i], fy_dtype_name(t));
        return FY_OK;
    }
    fy_str s = fy_attr_s(n, "reduction");
    return fy_fail(e, FY_E_ATTR, "reduction is \"%.*s\"; it must be none, add, mul, min or max", (int)(s.n < 60 ? s.n : 60), s.at);
}

/* y[at..at+n) op= u[from..from+n). Each step rounds to the dtype; integers wrap. */
static void reduce_run(fy_tensor *y, int64_t at, const fy_tensor *u, int64_t from, int64_t n, reduction op) {
    fy_class k = fy_dtype_class(y->dtype);
    for (int64_t i = 0; i < n; i++) {
        if (k == FY_CLASS_F) {
            double a = fy_get_f64(y, at + i), b = fy_get_f64(u, from + i);
            bool nan = isnan(a) || isnan(b);
            fy_put_f64(y, at + i, op == RED_ADD ? a + b : op == RED_MUL ? a * b : nan ? a + b : op == RED_MIN ? fmin(a, b) : fmax(a, b));
        } else if (k == FY_CLASS_C) {
            double a[2], b[2];
            fy_load_c128(a, y, at + i, 1);
            fy_load_c128(b, u, from + i, 1);
            const double s[2] = {op == RED_ADD ? a[0] + b[0] : a[0] * b[0] - a[1] * b[1],
                    op == RED_ADD ? a[1] + b[1] : a[0] * b[1] + a[1] * b[0]};
            fy_store_c128(y, at + i, 1, s);
        } else if (k == FY_CLASS_U) {
            uint64_t a = fy_get_u64(y, at + i), b = fy_get_u64(u, from + i);
            uint64_t r = op == RED_ADD ? a + b : op == RED_MUL ? a * b : (op == RED_MIN) == (a < b) ? a : b;
            fy_put_i64(y, at + i, (int64_t)r);
        } else {
            int64_t a = fy_get_i64(y, at + i), b = fy_get_i64(u, from + i);
            int64_t r = op == RED_ADD ? (int64_t)((uint64_t)a + (uint64_t)b) : op == RED_MUL ? (int64_t)((uint64_t)a * (uint64_t)b)
                      : (op == RED_MIN) == (a < b) ? a : b;
            fy_put_i64(y, at + i, k == FY_CLASS_B ? r != 0 : r);
        }
    }
}

static fy_status infer_scatter_elements(fy_infer *f) {
    int rank = fy_in_rank(f, 0), ri = fy_in_rank(f, 1), ru = fy_in_rank(f, 2), axis;
    const fy_dim *same;
    int64_t x, i;
    reduction r;
    if (fy_attr_get(f->node, "reduction")) FY_TRY(read_reduction(&r, f->node, fy_in_dtype(f, 0), f->e));
    if (rank >= 0) FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank, f->e));
    FY_NEED(f->e, (rank < 0 || ri < 0 || rank == ri) && (ri < 0 || ru < 0 || ri == ru), SHAPE, "data has rank %d, indices %d, updates %d",
            rank, ri, ru);
    for (int a = 0; ri >= 0 && ru >= 0 && a < ri; a++)
        FY_TRY(fy_mv_same(f, &same, fy_in_dim(f, 1, a), fy_in_dim(f, 2, a), "sizes of indices and updates"));
    for (int a = 0; rank >= 0 && ri >= 0 && a < rank; a++)
        FY_NEED(f->e, a == axis || !fy_dim_known(fy_in_dim(f, 0, a), &x) || !fy_dim_known(fy_in_dim(f, 1, a), &i) || i <= x, SHAPE,
                "indices have %lld on axis %d, data %lld", (long long)i, a, (long long)x);
    return fy_out_like(f, 0, 0);
}

static fy_status ref_scatter_with(const fy_call *c, reduction op) {
    fy_tensor *y, u;
    int axis;
    walk w;
    int64_t at;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(fy_mv_dense(c, 2, &u));
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), y->rank, c->e));
    const int64_t *index = fy_arg_i64(c, 1);
    FY_NOMEM(c->e, index);
    FY_NEED(c->e, fy_same_dims(&u, fy_arg(c, 1)) && u.rank == y->rank && u.dtype == y->dtype, SHAPE, "indices and updates differ in shape");
    fy_tensor_copy(y, fy_arg(c, 0));
    int64_t n = fy_count(&u);
    size_t size = (size_t)fy_elem_bytes(y->dtype);
    walk_start(&w, y, fy_arg(c, 1), axis);
    for (int64_t k = 0; k < n; k++, walk_next(&w)) {
        FY_TRY(wrap_index(&at, index[k], y->dim[axis], c->e));
        at = w.base + at * w.stride[axis];
        if (op == RED_NONE) memcpy(fy_mv_at(y, at), fy_mv_at(&u, k), size);
        else reduce_run(y, at, &u, k, 1, op);
    }
    return FY_OK;
}

static fy_status ref_scatter(const fy_call *c) { return ref_scatter_with(c, RED_NONE); }
static fy_status ref_scatter_elements(const fy_call *c) {
    reduction op;
    FY_TRY(read_reduction(&op, c->node, fy_arg(c, 0)->dtype, c->e));
    return ref_scatter_with(c, op);
}

static const fy_attr_spec scatter_attrs[] = {{"axis", FY_ATTR_INT, "0"}, {"reduction", FY_ATTR_STRING, "none"}, {0}};
const fy_op fy_op_scatter = {.name = "Scatter", .domain = "", .attrs = axis0_attrs, .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1, .since = 11,
    .first = 9, .types = "T=*;I=i32,i64|T,I,T|T", .infer = infer_scatter_elements, .ref = ref_scatter, .flags = FY_PURE};
const fy_op fy_op_scatter_elements = {.name = "ScatterElements", .domain = "", .attrs = scatter_attrs, .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1,
    .since = 18, .first = 11, .types = "T=*;I=i32,i64|T,I,T|T", .infer = infer_scatter_elements, .ref = ref_scatter_elements, .flags = FY_PURE};

static fy_status infer_scatter_nd(fy_infer *f) {
    int rank = fy_in_rank(f, 0), ri = fy_in_rank(f, 1), ru = fy_in_rank(f, 2);
    int64_t k;
    const fy_dim *len = ri > 0 ? fy_in_dim(f, 1, ri - 1) : NULL, *same;
    reduction r;
    FY_TRY(read_reduction(&r, f->node, fy_in_dtype(f, 0), f->e));
    FY_NEED(f->e, rank != 0 && ri != 0, SHAPE, "data and indices must have at least rank 1");
    if (rank >= 0 && len && fy_dim_known(len, &k)) {
        FY_NEED(f->e, k >= 1 && k <= rank, SHAPE, "index tuples have %lld values; data has rank %d", (long long)k, rank);
        FY_NEED(f->e, ru < 0 || ru == ri - 1 + rank - k, SHAPE, "updates have rank %d; %lld is needed", ru, (long long)(ri - 1 + rank - k));
        for (int a = 0; ru >= 0 && a < ru; a++)
            FY_TRY(fy_mv_same(f, &same, fy_in_dim(f, 2, a), a < ri - 1 ? fy_in_dim(f, 1, a) : fy_in_dim(f, 0, (int)k + a - (ri - 1)),
                              "sizes of updates and of what they replace"));
    }
    return fy_out_like(f, 0, 0);
}

static fy_status ref_scatter_nd(const fy_call *c) {
    fy_tensor *y, u;
    const fy_tensor *it = fy_arg(c, 1);
    int64_t k = it->dim[it->rank - 1], inner = 1, at, n = 1;
    reduction op;
    FY_TRY(read_reduction(&op, c->node, fy_arg(c, 0)->dtype, c->e));
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(fy_mv_dense(c, 2, &u));
    const int64_t *index = fy_arg_i64(c, 1);
    FY_NOMEM(c->e, index);
    fy_tensor_copy(y, fy_arg(c, 0));
    for (int a = (int)k; a < y->rank; a++) inner *= y->dim[a];
    for (int a = 0; a < it->rank - 1; a++) n *= it->dim[a];
    FY_NEED(c->e, fy_count(&u) == n * inner && u.dtype == y->dtype, SHAPE, "updates have %lld elements; %lld are needed",
            (long long)fy_count(&u),
            (long long)(n * inner));
    size_t bytes = (size_t)inner * (size_t)fy_elem_bytes(y->dtype);
    for (int64_t i = 0; i < n; i++) {
        FY_TRY(tuple_at(&at, index + i * k, k, y->dim, c->e));
        if (op != RED_NONE) reduce_run(y, at * inner, &u, i * inner, inner, op);
        else if (bytes) memcpy((char *)y->data + (size_t)at * bytes, (const char *)u.data + (size_t)i * bytes, bytes);
    }
    return FY_OK;
}

static const fy_attr_spec scatter_nd_attrs[] = {{"reduction", FY_ATTR_STRING, "none"}, {0}};
const fy_op fy_op_scatter_nd = {.name = "ScatterND", .domain = "", .attrs = scatter_nd_attrs, .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1,
    .since = 18, .first = 11, .types = "T=*|T,i64,T|T", .infer = infer_scatter_nd, .ref = ref_scatter_nd, .flags = FY_PURE};

/* ---- TensorScatter ------------------------------------------------------------------------------------------------- */

static fy_status tensor_scatter_axis(int *axis, const fy_node *n, int rank, ferry_error *e) {
    FY_TRY(fy_axis(axis, fy_attr_i(n, "axis"), rank, e));
    FY_NEED(e, *axis >= 1, AXIS, "the sequence axis cannot be the batch axis");
    FY_NEED(e, fy_attr_is(n, "mode", "linear") || fy_attr_is(n, "mode", "circular"), ATTR, "mode must be linear or circular");
    return FY_OK;
}

static fy_status infer_tensor_scatter(fy_infer *f) {
    int rank = fy_in_rank(f, 0), ru = fy_in_rank(f, 1), axis;
    const fy_dim *same;
    if (rank < 0) return fy_out_like(f, 0, 0);
    FY_TRY(tensor_scatter_axis(&axis, f->node, rank, f->e));
    FY_NEED(f->e, ru < 0 || ru == rank, SHAPE, "the update has rank %d, the cache %d", ru, rank);
    for (int a = 0; ru >= 0 && a < rank; a++)
        if (a != axis) FY_TRY(fy_mv_same(f, &same, fy_in_dim(f, 0, a), fy_in_dim(f, 1, a), "sizes of cache and update"));
    return fy_out_like(f, 0, 0);
}

static fy_status ref_tensor_scatter(const fy_call *c) {
    fy_tensor *y, u;
    int axis;
    int64_t outer, inner, ignored;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(fy_mv_dense(c, 1, &u));
    FY_TRY(tensor_scatter_axis(&axis, c->node, y->rank, c->e));
    bool circular = fy_attr_is(c->node, "mode", "circular");
    const int64_t *start = fy_arg(c, 2) ? fy_arg_i64(c, 2) : NULL;
    FY_NOMEM(c->e, start || !fy_arg(c, 2));
    FY_NEED(c->e, !start || fy_count(fy_arg(c, 2)) == y->dim[0], SHAPE, "%lld write indices for a batch of %lld",
            (long long)fy_count(fy_arg(c, 2)),
            (long long)y->dim[0]);
    fy_tensor_copy(y, fy_arg(c, 0));
    runs(y, axis, &outer, &inner);
    runs(&u, axis, &ignored, &ignored);
    int64_t max = y->dim[axis], len = u.dim[axis], per = y->dim[0] ? outer / y->dim[0] : 0;
    size_t bytes = (size_t)inner * (size_t)fy_elem_bytes(y->dtype);
    FY_NEED(c->e, len <= max, SHAPE, "an update of %lld steps for a cache of %lld", (long long)len, (long long)max);
    for (int64_t o = 0; o < outer && bytes && len; o++) {
        int64_t s = start ? start[o / per] : 0;
        FY_NEED(c->e, s >= 0 && (circular || s <= max - len), INDEX, "write index %lld with %lld steps; the cache has %lld", (long long)s,
                (long long)len,
                (long long)max);
        for (int64_t t = 0; t < len; t++) {
            int64_t to = (s % max + t) % max;
            memcpy((char *)y->data + (size_t)(o * max + (circular ? to : s + t)) * bytes,
                    (const char *)u.data + (size_t)(o * len + t) * bytes, bytes);
        }
    }
    return FY_OK;
}

static const fy_attr_spec tensor_scatter_attrs[] = {{"axis", FY_ATTR_INT, "-2"}, {"mode", FY_ATTR_STRING, "linear"}, {0}};
const fy_op fy_op_tensor_scatter = {.name = "TensorScatter", .domain = "", .attrs = tensor_scatter_attrs, .min_in = 2, .max_in = 3, .min_out = 1,
    .max_out = 1, .since = 24, .first = 24, .types = "T=*|T,T,i64|T", .infer = infer_tensor_scatter, .ref = ref_tensor_scatter, .flags = FY_PURE};

/* ---- OneHot -------------------------------------------------------------------------------------------------------- */

static fy_status infer_one_hot(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK + 1], *depth;
    int rank = fy_in_rank(f, 0), axis, n = 0;
    int64_t count, v;
    double x;
    const fy_dim *const *e = fy_in_elems(f, 1, &count);
    if (rank < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 2), -1);
    FY_NEED(f->e, rank < FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported", rank + 1, FY_MAX_RANK);
    FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank + 1, f->e));
    FY_NEED(f->e, !e || count == 1, SHAPE, "depth has %lld elements", (long long)count);
    if (e) depth = e[0];
    else if (fy_dtype_float(fy_in_dtype(f, 1)) && fy_in_f64(f, 1, 0, &x)) {
        FY_NEED(f->e, x >= 0 && x < 0x1p48, VALUE, "depth is %g", x);
        depth = fy_mv_const(f, (int64_t)x);
    } else depth = fy_mv_opaque(f);
    if (!depth) return fy_mv_oom(f);
    FY_NEED(f->e, !fy_dim_known(depth, &v) || v >= 0, VALUE, "depth is %lld", (long long)v);
    for (int a = 0; a <= rank; a++) d[a] = a == axis ? depth : fy_in_dims(f, 0)[n++];
    return fy_out_set(f, 0, fy_in_dtype(f, 2), rank + 1, d);
}

static fy_status ref_one_hot(const fy_call *c) {
    fy_tensor *y, v;
    const fy_tensor *x = fy_arg(c, 0);
    int axis;
    int64_t outer, inner;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(fy_mv_dense(c, 2, &v));
    FY_NEED(c->e, fy_count(&v) == 2, SHAPE, "values has %lld elements; it must hold off and on", (long long)fy_count(&v));
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), y->rank, c->e));
    const int64_t *index = fy_arg_i64(c, 0);
    FY_NOMEM(c->e, index);
    runs(y, axis, &outer, &inner);
    int64_t depth = y->dim[axis], n = fy_count(x);
    fy_mv_fill(y, v.data);
    for (int64_t k = 0; k < n; k++) {
        int64_t at = index[k] < 0 ? index[k] + depth : index[k];
        if (at >= 0 && at < depth) memcpy(fy_mv_at(y, (k / inner * depth + at) * inner + k % inner), fy_mv_at(&v, 1),
                (size_t)fy_elem_bytes(v.dtype));
    }
    return FY_OK;
}

static const fy_attr_spec one_hot_attrs[] = {{"axis", FY_ATTR_INT, "-1"}, {0}};
const fy_op fy_op_one_hot = {.name = "OneHot", .domain = "", .attrs = one_hot_attrs, .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1, .since = 28,
    .first = 9, .types = "N=" FY_T_NUM ";D=" FY_T_NUM ";T=*|N,D,T|T", .infer = infer_one_hot, .ref = ref_one_hot, .flags = FY_PURE};

/* ---- NonZero, Compress --------------------------------------------------------------------------------------------- */

static bool nonzero(const fy_tensor *t, int64_t i) {
    double z[2];
    switch (fy_dtype_class(t->dtype)) {
    case FY_CLASS_F: return fy_get_f64(t, i) != 0;
    case FY_CLASS_C: fy_load_c128(z, t, i, 1); return z[0] != 0 || z[1] != 0;
    case FY_CLASS_S: return ((const fy_str *)t->data)[i].n != 0;
    case FY_CLASS_U: return fy_get_u64(t, i) != 0;
    case FY_CLASS_I: case FY_CLASS_B: case FY_CLASS_NONE: break;
    }
    return fy_get_i64(t, i) != 0;
}

static fy_status infer_nonzero(fy_infer *f) {
    int rank = fy_in_rank(f, 0);
    const fy_dim *d[2] = {rank < 0 ? fy_mv_opaque(f) : fy_mv_const(f, rank), NULL};
    d[1] = fy_mv_upto(f, rank < 0 ? NULL : fy_mv_product(f, rank, fy_in_dims(f, 0)));
    return fy_out_set(f, 0, FERRY_INT64, 2, d);
}

#define NONZERO(T, bits) for (int64_t i = 0; i < n; i++) set[i] = (((const T *)t->data)[at + i] & (bits)) != 0; return;

/* Of n elements from `at` on: both zeros of a float are 0. */
static void nonzero_block(unsigned char *set, const fy_tensor *t, int64_t at, int64_t n) {
    const bool real = t->dtype == FERRY_FLOAT || t->dtype == FERRY_DOUBLE || t->dtype == FERRY_FLOAT16 || t->dtype == FERRY_BFLOAT16;
    const uint64_t bits = UINT64_MAX >> (real ? 65 - fy_dtype_bits(t->dtype) : 0);
    switch (real || t->dtype == FERRY_BOOL || (fy_dtype_int(t->dtype) && fy_dtype_bits(t->dtype) >= 8) ? fy_elem_bytes(t->dtype) : 0) {
    case 1: NONZERO(uint8_t, 0xff)
    case 2: NONZERO(uint16_t, bits)
    case 4: NONZERO(uint32_t, bits)
    case 8: NONZERO(uint64_t, bits)
    default:
        for (int64_t i = 0; i < n; i++) set[i] = nonzero(t, at + i);
    }
}

static fy_status ref_nonzero(const fy_call *c) {
    fy_tensor x;
    FY_TRY(fy_mv_dense(c, 0, &x));
    unsigned char set[FY_K_BLOCK];
    const int last = x.rank - 1;
    int64_t n = fy_count(&x), m = 0, k = 0, row = 0, at[FY_MAX_RANK] = {0}, *y;       /* row: where the row of the last axis at `at` begins */
    for (int64_t i = 0; i < n; i += FY_K_BLOCK) {
        const int64_t some = n - i < FY_K_BLOCK ? n - i : FY_K_BLOCK;
        nonzero_block(set, &x, i, some);
        for (int64_t j = 0; j < some; j++) m += set[j];
    }
    FY_TRY(fy_alloc_out(c, 0, FERRY_INT64, 2, (const int64_t[]){x.rank, m}));
    if (!fy_res(c, 0) || last < 0) return FY_OK;
    y = fy_res(c, 0)->data;
    for (int64_t i = 0; i < n; i += FY_K_BLOCK) {
        const int64_t some = n - i < FY_K_BLOCK ? n - i : FY_K_BLOCK;
        nonzero_block(set, &x, i, some);
        for (int64_t j = 0; j < some; j++) {
            if (!set[j]) continue;
            while (i + j - row >= x.dim[last]) {
                row += x.dim[last];
                for (int a = last - 1; a >= 0 && ++at[a] == x.dim[a]; a--) at[a] = 0;
            }
            for (int a = 0; a < last; a++) y[a * m + k] = at[a];
            y[last * m + k++] = i + j - row;
        }
    }
    return FY_OK;
}

const fy_op fy_op_non_zero = {.name = "NonZero", .domain = "", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 13, .first = 9,
    .types = "T=*|T|i64", .infer = infer_nonzero, .ref = ref_nonzero, .flags = FY_PURE};

static fy_status infer_compress(fy_infer *f) {
    const fy_attr *a = fy_attr_get(f->node, "axis");
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), axis = 0;
    FY_NEED(f->e, fy_in_rank(f, 1) <= 1, SHAPE, "the condition has rank %d; it must be a list", fy_in_rank(f, 1));
    if (a && rank >= 0) FY_TRY(fy_axis(&axis, a->i, rank, f->e));
    if (rank < 0 && a) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    /* no more than there is to choose from, nor than the list of choices is long */
    const fy_dim *most = a ? fy_in_dims(f, 0)[axis] : rank < 0 ? NULL : fy_mv_product(f, rank, fy_in_dims(f, 0)), *list = fy_in_dim(f, 1, 0);
    if (list) most = most ? fy_mv_min(f, most, list) : list;
    for (int i = 0; i < rank && a; i++) d[i] = fy_in_dims(f, 0)[i];
    d[axis] = fy_mv_upto(f, most);
    return fy_out_set(f, 0, fy_in_dtype(f, 0), a ? rank : 1, d);
}

static fy_status ref_compress(const fy_call *c) {
    fy_tensor x, cond;
    const fy_attr *a = fy_attr_get(c->node, "axis");
    int axis = 0;
    int64_t outer = 1, inner = 1, dim[FY_MAX_RANK], m = 0;
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_TRY(fy_mv_dense(c, 1, &cond));
    if (a) {
        FY_TRY(fy_axis(&axis, a->i, x.rank, c->e));
        runs(&x, axis, &outer, &inner);
    }
    int64_t n = a ? x.dim[axis] : fy_count(&x), k = fy_count(&cond);
    for (int64_t i = 0; i < k; i++) {
        FY_NEED(c->e, i < n || !nonzero(&cond, i), INDEX, "condition %lld selects beyond an axis of %lld", (long long)i, (long long)n);
        m += nonzero(&cond, i);
    }
    memcpy(dim, x.dim, sizeof dim);
    dim[a ? axis : 0] = m;
    FY_TRY(fy_alloc_out(c, 0, x.dtype, a ? x.rank : 1, dim));
    fy_tensor *y = fy_res(c, 0);
    if (!y) return FY_OK;
    size_t bytes = (size_t)inner * (size_t)fy_elem_bytes(x.dtype);
    char *out = y->data;
    for (int64_t o = 0; o < outer && bytes; o++)
        for (int64_t i = 0; i < n && i < k; i++) {
            if (!nonzero(&cond, i)) continue;
            memcpy(out, (const char *)x.data + (size_t)(o * n + i) * bytes, bytes);
            out += bytes;
        }
    return FY_OK;
}

static const fy_attr_spec compress_attrs[] = {{"axis", FY_ATTR_INT, NULL}, {0}};
const fy_op fy_op_compress = {.name = "Compress", .domain = "", .attrs = compress_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 28,
    .first = 9, .types = "T=*|T,bool|T", .infer = infer_compress, .ref = ref_compress, .flags = FY_PURE};
