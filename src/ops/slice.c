/* SPDX-License-Identifier: Apache-2.0
 * slice.c - Slice and Pad: parts of a tensor, and more than it.
 * Slice follows Python: begin and end count from the end if negative, are clamped to the axis, and any step but 0 is allowed.
 * With symbolic bounds the clamping disappears wherever the ranges of the symbols prove that it does nothing. */
#include "ops/move.h"

#include <string.h>

/* ---- Slice --------------------------------------------------------------------------------------------------------- */

#define FAR ((int64_t)1 << 48)           /* beyond any size: "to the end" is written as a huge number */

static int64_t clamp(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

/* Begin and count of one axis of constant size. */
static void slice_axis(int64_t dim, int64_t start, int64_t end, int64_t step, int64_t *begin, int64_t *count) {
    int64_t lo = step > 0 ? 0 : -1, hi = step > 0 ? dim : dim - 1;
    int64_t s = clamp(start < 0 ? start + dim : start, lo, hi), e = clamp(end < 0 ? end + dim : end, lo, hi);
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    int64_t span = step > 0 ? e - s : s - e;
    *count = span <= 0 ? 0 : (int64_t)(((uint64_t)span - 1) / stride + 1);
    *begin = *count ? s : 0;
}

/* One bound as a position in [lo, dim + hi_off]; NULL: cannot be told (or out of memory). */
static const fy_dim *position(fy_infer *f, const fy_dim *v, const fy_dim *dim, int64_t lo, int64_t hi_off) {
    const fy_dim *low = fy_mv_const(f, lo), *high = fy_dim_addi(f->dims, dim, hi_off), *back;
    int64_t k;
    if (!v || !low || !high) return NULL;
    if (fy_dim_known(v, &k)) {
        if (k >= FAR) return high;
        if (k <= -FAR) return low;
        if (k >= 0) return fy_mv_min(f, v, high);
        return fy_mv_max(f, fy_dim_addi(f->dims, dim, k), low);
    }
    if (fy_dim_ge(v, 0)) return fy_mv_min(f, v, high);
    if (v->hi < 0) return fy_mv_max(f, fy_dim_add(f->dims, dim, v), low);
    back = fy_dim_sub(f->dims, dim, v);
    /* dim - 1 as a bound: counts from the end only when the axis is empty, and is clamped to 0 then. */
    if (back && fy_dim_is(back, 1) && lo == 0) return fy_mv_max(f, v, low);
    return NULL;
}

static const fy_dim *slice_dim(fy_infer *f, const fy_dim *dim, const fy_dim *start, const fy_dim *end, const fy_dim *step) {
    int64_t k, d, s, e, begin, count;
    if (!dim || !start || !end || !step || !fy_dim_known(step, &k)) return NULL;
    if (fy_dim_known(dim, &d) && fy_dim_known(start, &s) && fy_dim_known(end, &e)) {
        slice_axis(d, s, e, k, &begin, &count);
        return fy_mv_const(f, count);
    }
    if (k == INT64_MIN) return NULL;
    const fy_dim *a = position(f, start, dim, k > 0 ? 0 : -1, k > 0 ? 0 : -1), *b = position(f, end, dim, k > 0 ? 0 : -1, k > 0 ? 0 : -1);
    if (!a || !b) return NULL;
    const fy_dim *span = fy_mv_clamp0(f, k > 0 ? fy_dim_sub(f->dims, b, a) : fy_dim_sub(f->dims, a, b));
    if (!span) return NULL;
    return k == 1 || k == -1 ? span : fy_dim_ceildiv(f->dims, span, fy_mv_const(f, k > 0 ? k : -k));
}

static fy_status infer_slice(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), axis[FY_MAX_RANK];
    int64_t n = -1, m, given[FY_MAX_RANK], k;
    fy_view view = {.rank = rank};
    const fy_dim *const *v[5] = {NULL};
    for (int i = 1; i < 5; i++) {
        if (!fy_in_has(f, i)) continue;
        FY_NEED(f->e, fy_in_rank(f, i) <= 1, SHAPE, "input %d has rank %d; it must be a list", i, fy_in_rank(f, i));
        v[i] = fy_in_elems(f, i, &m);
        const fy_dim *len = fy_in_dim(f, i, 0);
        if (!v[i] && (!len || !fy_dim_known(len, &m))) continue;
        FY_NEED(f->e, n < 0 || m == n, SHAPE, "input %d has %lld values, others have %lld", i, (long long)m, (long long)n);
        n = m;
    }
    if (rank < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    for (int i = 0; i < rank; i++) d[i] = fy_in_dims(f, 0)[i];
    if (n < 0 || (fy_in_has(f, 3) && !fy_in_ints(f, 3, given, FY_MAX_RANK, &n))) {
        FY_NEED(f->e, n <= rank, AXIS, "%lld axes for rank %d", (long long)n, rank);
        return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), rank);
    }
    FY_NEED(f->e, n <= rank, AXIS, "%lld axes for rank %d", (long long)n, rank);
    if (!fy_in_has(f, 3)) for (int i = 0; i < n; i++) given[i] = i;
    FY_TRY(fy_mv_axes(axis, n, given, rank, f->e));
    const fy_dim *one = fy_mv_const(f, 1);
    bool fixed = fy_mv_sizes(f, 0, view.dim);
    if (fixed) fy_strides(rank, view.dim, view.stride);
    for (int i = 0; i < n; i++) {
        const fy_dim *start = v[1] ? v[1][i] : NULL, *end = v[2] ? v[2][i] : NULL, *step = v[4] ? v[4][i] : fy_in_has(f, 4) ? NULL : one;
        const fy_dim *dim = d[axis[i]];
        FY_NEED(f->e, !step || !fy_dim_is(step, 0), VALUE, "step %d is 0", i);
        d[axis[i]] = slice_dim(f, dim, start, end, step);
        if (!d[axis[i]]) {
            d[axis[i]] = fy_mv_upto(f, dim);
        }
        int64_t s, e, begin;
        fixed = fixed && start && end && step && fy_dim_known(start, &s) && fy_dim_known(end, &e) && fy_dim_known(step, &k);
        if (!fixed) continue;
        slice_axis(view.dim[axis[i]], s, e, k, &begin, &view.dim[axis[i]]);
        view.offset += begin * view.stride[axis[i]];
        if (view.dim[axis[i]] > 1) view.stride[axis[i]] *= k;
    }
    FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d));
    return fixed ? fy_mv_elems_view(f, 0, 0, &view) : FY_OK;
}

static fy_status ref_slice(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    const int64_t *v[5] = {NULL};
    int axis[FY_MAX_RANK];
    int64_t all[FY_MAX_RANK], n = fy_count(fy_arg(c, 1)), begin;
    fy_tensor *y;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    for (int i = 1; i < 5; i++) {
        if (!fy_arg(c, i)) continue;
        FY_NOMEM(c->e, v[i] = fy_arg_i64(c, i));
        FY_NEED(c->e, fy_count(fy_arg(c, i)) == n, SHAPE, "input %d has %lld values, others have %lld", i, (long long)fy_count(fy_arg(c,
                i)), (long long)n);
    }
    FY_NEED(c->e, n <= x->rank, AXIS, "%lld axes for rank %d", (long long)n, x->rank);
    for (int i = 0; i < n; i++) all[i] = i;
    FY_TRY(fy_mv_axes(axis, n, v[3] ? v[3] : all, x->rank, c->e));
    fy_view view = fy_mv_view_of(x);
    for (int i = 0; i < n; i++) {
        int a = axis[i];
        int64_t step = v[4] ? v[4][i] : 1;
        FY_NEED(c->e, step, VALUE, "step %d is 0", i);
        slice_axis(x->dim[a], v[1][i], v[2][i], step, &begin, &view.dim[a]);
        view.offset += begin * view.stride[a];
        if (view.dim[a] > 1) view.stride[a] *= step;        /* one element: the step may be huge and means nothing */
    }
    fy_tensor seen = fy_mv_see(x, &view);
    FY_NEED(c->e, fy_same_dims(&seen, y), INTERNAL, "Slice: the output's shape is not the inferred one");
    if (fy_count(y)) fy_tensor_copy(y, &seen);
    return FY_OK;
}

static bool constants(const fy_value *v, bool (*test)(int64_t)) {
    int64_t k;
    if (!v) return true;
    for (int64_t i = 0; v->constant && i < v->constant->count; i++)
        if (v->constant->count > FY_MAX_ELEM || !fy_const_i64(v->constant, i, &k) || !test(k)) return false;
    if (v->constant) return true;
    if (!v->elem) return false;
    for (int64_t i = 0; i < v->nelem; i++) if (!fy_dim_known(v->elem[i], &k) || !test(k)) return false;
    return true;
}
static bool is_positive(int64_t v) { return v > 0; }
static bool is_zero(int64_t v) { return v == 0; }

/* Forward steps that keep every size keep every element. */
static fy_value *simplify_slice(fy_node *n) {
    const fy_value *x = fy_in(n, 0), *y = fy_outv(n, 0);
    if (!x || !y || x->type.kind != FY_TENSOR || x->type.rank < 0 || !fy_type_equal(&x->type, &y->type)) return NULL;
    return constants(fy_in(n, 4), is_positive) ? fy_in(n, 0) : NULL;
}

const fy_op fy_op_slice = {.name = "Slice", .domain = "", .min_in = 3, .max_in = 5, .min_out = 1, .max_out = 1, .since = 13, .first = 1,
    .types = "T=*;I=i32,i64|T,I,I,I,I|T", .infer = infer_slice, .ref = ref_slice, .simplify = simplify_slice, .flags = FY_PURE};

/* ---- Pad ----------------------------------------------------------------------------------------------------------- */

typedef enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP } pad_mode;

static fy_status read_mode(pad_mode *mode, const fy_node *n, ferry_error *e) {
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    for (int i = 0; i < 4; i++) if (fy_attr_is(n, "mode", names[i])) { *mode = (pad_mode)i; return FY_OK; }
    fy_str s = fy_attr_s(n, "mode");
    return fy_fail(e, FY_E_ATTR, "mode is \"%.*s\"; it must be constant, reflect, edge or wrap", (int)(s.n < 60 ? s.n : 60), s.at);
}

static fy_status infer_pad(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), axis[FY_MAX_RANK];
    int64_t n, count, given[FY_MAX_RANK], v, w;
    pad_mode mode;
    FY_TRY(read_mode(&mode, f->node, f->e));
    FY_NEED(f->e, fy_in_rank(f, 1) <= 1, SHAPE, "pads has rank %d; it must be a list", fy_in_rank(f, 1));
    const fy_dim *const *e = fy_in_elems(f, 1, &count);
    if (rank < 0 || !e) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), rank);
    n = rank;
    for (int i = 0; i < rank; i++) given[i] = i;
    if (fy_in_has(f, 3) && !fy_in_ints(f, 3, given, FY_MAX_RANK, &n)) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), rank);
    FY_TRY(fy_mv_axes(axis, n, given, rank, f->e));
    FY_NEED(f->e, count == 2 * n, SHAPE, "pads has %lld values for %lld axes", (long long)count, (long long)n);
    for (int i = 0; i < rank; i++) d[i] = fy_in_dims(f, 0)[i];
    for (int i = 0; i < n; i++) {
        const fy_dim *in = d[axis[i]];
        for (int k = 0; k < 2; k++)
            FY_NEED(f->e, !fy_dim_known(e[i + k * n], &v) || (v > -FAR && v < FAR), LIMIT, "pad of %lld", (long long)v);
        const fy_dim *out = fy_dim_add(f->dims, fy_dim_add(f->dims, in, e[i]), e[n + i]);
        if (!out) return fy_mv_oom(f);
        FY_NEED(f->e, !fy_dim_known(out, &v) || v >= 0, SHAPE, "the pads remove more than axis %d has", axis[i]);
        FY_NEED(f->e, mode == PAD_CONSTANT || !fy_dim_is(in, 0) || !fy_dim_known(out, &w) || w == 0, SHAPE,
                "axis %d is empty: there is nothing to pad it with", axis[i]);
        d[axis[i]] = out;
    }
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d);
}

static int64_t floor_mod(int64_t a, int64_t b) { int64_t r = a % b; return r < 0 ? r + b : r; }

/* Position i of an axis [0, n), possibly outside, as a position inside, or -1 for the constant. */
static int64_t pad_source(int64_t i, int64_t n, pad_mode mode) {
    if (i >= 0 && i < n) return i;
    if (mode == PAD_CONSTANT || n == 0) return -1;
    if (mode == PAD_EDGE) return i < 0 ? 0 : n - 1;
    if (mode == PAD_WRAP) return floor_mod(i, n);
    if (n == 1) return 0;
    i = floor_mod(i, 2 * (n - 1));                          /* reflect: period 2(n-1), the edge is not repeated */
    return i < n ? i : 2 * (n - 1) - i;
}

/* Negative pads remove elements first; what is left is what the modes reflect, repeat or wrap. */
static fy_status ref_pad(const fy_call *c) {
    fy_tensor x, *y;
    pad_mode mode;
    int axis[FY_MAX_RANK];
    int64_t n, all[FY_MAX_RANK], before[FY_MAX_RANK] = {0}, after[FY_MAX_RANK] = {0};
    unsigned char zero[32] = {0};
    const void *fill = zero;
    const int64_t *map[FY_MAX_RANK], *pads = fy_arg_i64(c, 1), *axes = fy_arg(c, 3) ? fy_arg_i64(c, 3) : NULL;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y || !fy_count(y)) return FY_OK;
    FY_NOMEM(c->e, pads && (axes || !fy_arg(c, 3)));
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_TRY(read_mode(&mode, c->node, c->e));
    if (fy_arg(c, 2)) {
        FY_NEED(c->e, fy_count(fy_arg(c, 2)) == 1 && fy_arg(c, 2)->dtype == x.dtype, TYPE,
                "the pad value must be one element of the input's dtype");
        fill = fy_arg(c, 2)->data;
    }
    n = axes ? fy_count(fy_arg(c, 3)) : x.rank;
    for (int i = 0; i < x.rank; i++) all[i] = i;
    FY_TRY(fy_mv_axes(axis, n, axes ? axes : all, x.rank, c->e));
    FY_NEED(c->e, fy_count(fy_arg(c, 1)) == 2 * n, SHAPE, "pads has %lld values for %lld axes", (long long)fy_count(fy_arg(c, 1)),
            (long long)n);
    for (int i = 0; i < n; i++) { before[axis[i]] = pads[i]; after[axis[i]] = pads[n + i]; }
    for (int a = 0; a < y->rank; a++) {
        int64_t cut = before[a] < 0 ? -before[a] : 0, left = x.dim[a] - cut - (after[a] < 0 ? -after[a] : 0);
        int64_t *m = FY_NEWN(c->scratch, int64_t, y->dim[a]);
        FY_NOMEM(c->e, m);
        if (left < 0) { cut = 0; left = 0; }
        FY_NEED(c->e, left || mode == PAD_CONSTANT || y->dim[a] == 0, SHAPE, "nothing is left of axis %d to pad it with", a);
        for (int64_t i = 0; i < y->dim[a]; i++) {
            int64_t s = pad_source(i - (before[a] > 0 ? before[a] : 0), left, mode);
            m[i] = s < 0 ? -1 : s + cut;
        }
        map[a] = m;
    }
    fy_mv_mapped(y, &x, map, fill);
    return FY_OK;
}

static fy_value *simplify_pad(fy_node *n) { return fy_in(n, 1) && constants(fy_in(n, 1), is_zero) ? fy_in(n, 0) : NULL; }

static const fy_attr_spec pad_attrs[] = {{"mode", FY_ATTR_STRING, "constant"}, {0}};
const fy_op fy_op_pad = {.name = "Pad", .domain = "", .attrs = pad_attrs, .min_in = 2, .max_in = 4, .min_out = 1, .max_out = 1, .since = 25, .first = 1,
    .types = "T=*;I=i32,i64|T,i64,T,I|T", .infer = infer_pad, .ref = ref_pad, .simplify = simplify_pad, .flags = FY_PURE};
