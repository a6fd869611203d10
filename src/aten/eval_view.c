/* SPDX-License-Identifier: Apache-2.0
 * eval_view.c - views, copies and casts for the evaluator. A view shares storage, as in torch; reshape copies only when
 * strides leave no other way. */
#include "aten/eval.h"

#include "base/checked.h"

/* Strides under which t's elements can be seen as `dim` without a copy. */
static bool view_strides(const fy_tensor *t, int rank, const int64_t *dim, int64_t *stride) {
    int64_t n = fy_count(t);
    if (n == 0 || t->rank == 0) {
        fy_strides(rank, dim, stride);
        return true;
    }
    int     k = rank - 1;
    int64_t base = t->stride[t->rank - 1], have = 1, want = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        have *= t->dim[i];
        if (i && (t->dim[i - 1] == 1 || t->stride[i - 1] == have * base)) continue;
        while (k >= 0 && (want < have || dim[k] == 1)) {
            stride[k] = want * base;
            want *= dim[k--];
        }
        if (want != have) return false;
        if (i) { base = t->stride[i - 1]; have = want = 1; }
    }
    return k == -1;
}

fy_status fy_ev_reshape(fy_eval *v, fy_et *a, int rank, const int64_t *dim) {
    int64_t n = fy_count(&a->t), m, stride[FY_MAX_RANK];
    FY_NEED(v->e, rank <= FY_MAX_RANK && fy_count_dims(&m, rank, dim) && m == n, SHAPE, "%lld elements cannot be viewed in the given shape", (long long)n);
    if (!view_strides(&a->t, rank, dim, stride)) {
        fy_et o;
        if (a->t.dtype == fy_ev_wide(a->dtype)) FY_TRY(fy_ev_copy(v, &o, a));
        else {
            o = *a;
            FY_TRY(fy_tensor_clone(&o.t, &a->t, v->e));
        }
        if (!FY_RESERVE(v->temps, v->temps.n + 1)) { fy_tensor_free(&o.t); return fy_nomem(v->e); }
        v->temps.at[v->temps.n++] = o.t;
        *a = o;
        fy_strides(rank, dim, stride);
    }
    a->t.rank = rank;
    for (int i = 0; i < rank; i++) { a->t.dim[i] = dim[i]; a->t.stride[i] = stride[i]; }
    return FY_OK;
}

static fy_status reshape_to(fy_eval *v, fy_et *a, int rank, int64_t *dim) {
    int64_t n = fy_count(&a->t), known = 1;
    int     free_axis = -1;
    for (int i = 0; i < rank; i++) {
        if (dim[i] == -1 && free_axis < 0) free_axis = i;
        else FY_NEED(v->e, dim[i] >= 0 && fy_mul_i64(&known, known, dim[i]), SHAPE, "size %lld in a shape", (long long)dim[i]);
    }
    if (free_axis >= 0) {
        FY_NEED(v->e, known > 0 && n % known == 0, SHAPE, "%lld elements do not divide by %lld", (long long)n, (long long)known);
        dim[free_axis] = n / known;
    }
    FY_TRY(fy_ev_reshape(v, a, rank, dim));
    return fy_ev_view(v, 0, a);
}

fy_status fy_at_view(fy_eval *v) {                           /* view, reshape, _unsafe_view */
    fy_et   a;
    int64_t dim[FY_MAX_RANK];
    int     n;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_ints(v, v->k ? "shape" : "size", dim, FY_MAX_RANK, &n));
    return reshape_to(v, &a, n < 0 ? 0 : n, dim);
}

fy_status fy_at_ravel(fy_eval *v) {
    fy_et   a;
    FY_TRY(fy_ev_raw(v, "self", &a));
    return reshape_to(v, &a, 1, (int64_t[]){-1});
}

fy_status fy_at_view_as(fy_eval *v) {
    fy_et   a, b;
    int64_t dim[FY_MAX_RANK];
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_raw(v, "other", &b));
    memcpy(dim, b.t.dim, sizeof dim);
    return reshape_to(v, &a, b.t.rank, dim);
}

fy_status fy_at_flatten(fy_eval *v) {
    fy_et   a;
    int     from, to;
    int64_t dim[FY_MAX_RANK], all = 1;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_axis(v, "start_dim", a.t.rank, 0, &from));
    FY_TRY(fy_ev_axis(v, "end_dim", a.t.rank, -1, &to));
    if (!a.t.rank) return reshape_to(v, &a, 1, (int64_t[]){1});
    FY_NEED(v->e, from <= to, AXIS, "flatten from axis %d to %d", from, to);
    int n = 0;
    for (int i = 0; i < from; i++) dim[n++] = a.t.dim[i];
    for (int i = from; i <= to; i++) all *= a.t.dim[i];
    dim[n++] = all;
    for (int i = to + 1; i < a.t.rank; i++) dim[n++] = a.t.dim[i];
    return reshape_to(v, &a, n, dim);
}

fy_status fy_at_unflatten(fy_eval *v) {
    fy_et   a;
    int     axis, n, r = 0;
    int64_t sizes[FY_MAX_RANK], dim[FY_MAX_RANK * 2], known = 1;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_axis(v, "dim", a.t.rank, 0, &axis));
    FY_TRY(fy_ev_ints(v, "sizes", sizes, FY_MAX_RANK, &n));
    FY_NEED(v->e, a.t.rank && n >= 1 && n + a.t.rank <= FY_MAX_RANK, SHAPE, "unflatten into %d axes", n);
    for (int i = 0; i < n; i++)
        if (sizes[i] != -1) FY_NEED(v->e, fy_mul_i64(&known, known, sizes[i]), SHAPE, "unflatten sizes are too large");
    for (int i = 0; i < a.t.rank; i++) {
        if (i != axis) { dim[r++] = a.t.dim[i]; continue; }
        for (int k = 0; k < n; k++) dim[r++] = sizes[k] == -1 && known > 0 ? a.t.dim[axis] / known : sizes[k];
    }
    return reshape_to(v, &a, r, dim);
}

static void drop_axis(fy_tensor *t, int axis) {
    for (int i = axis; i + 1 < t->rank; i++) { t->dim[i] = t->dim[i + 1]; t->stride[i] = t->stride[i + 1]; }
    t->rank--;
}

static void move_by(fy_et *a, int64_t elements) {
    if (a->t.data) a->t.data = (char *)a->t.data + elements * fy_elem_bytes(a->t.dtype);
}

fy_status fy_at_select(fy_eval *v) {
    fy_et   a;
    int     axis;
    int64_t i = 0;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_axis(v, "dim", a.t.rank, 0, &axis));
    FY_TRY(fy_ev_int(v, "index", &i));
    FY_NEED(v->e, a.t.rank, SHAPE, "select of a scalar");
    FY_NEED(v->e, i >= -a.t.dim[axis] && i < a.t.dim[axis], INDEX, "index %lld outside size %lld", (long long)i, (long long)a.t.dim[axis]);
    move_by(&a, (i < 0 ? i + a.t.dim[axis] : i) * a.t.stride[axis]);
    drop_axis(&a.t, axis);
    return fy_ev_view(v, 0, &a);
}

/* Clamps start and end as torch does and narrows the axis. */
static void slice_axis(fy_et *a, int axis, int64_t start, int64_t end, int64_t step) {
    int64_t d = a->t.dim[axis];
    if (start < 0) start += d;
    if (end < 0) end += d;
    start = start < 0 ? 0 : start > d ? d : start;
    end = end < start ? start : end > d ? d : end;
    if (start < d) move_by(a, start * a->t.stride[axis]);
    a->t.dim[axis] = (end - start) / step + ((end - start) % step != 0);
    if (step < INT64_MAX / 2 && a->t.dim[axis] > 1) a->t.stride[axis] *= step;
}

static fy_status slice_args(fy_eval *v, fy_et *a, int *axis, int64_t *start, int64_t *end, int64_t *step) {
    *start = 0;
    *end = INT64_MAX;
    *step = 1;
    FY_NEED(v->e, a->t.rank, SHAPE, "slice of a scalar");
    FY_TRY(fy_ev_axis(v, "dim", a->t.rank, 0, axis));
    FY_TRY(fy_ev_int(v, "start", start));
    FY_TRY(fy_ev_int(v, "end", end));
    FY_TRY(fy_ev_int(v, "step", step));
    FY_NEED(v->e, *step > 0, VALUE, "slice step %lld", (long long)*step);
    return FY_OK;
}

fy_status fy_at_slice(fy_eval *v) {
    fy_et   a;
    int     axis;
    int64_t start, end, step;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(slice_args(v, &a, &axis, &start, &end, &step));
    slice_axis(&a, axis, start, end, step);
    return fy_ev_view(v, 0, &a);
}

/* Functional writes: a copy of self in which a view of it is replaced by src. */
fy_status fy_at_view_scatter(fy_eval *v) {                      /* slice_scatter, select_scatter */
    fy_et   a, src, o, w;
    int     axis;
    int64_t start, end, step, i = 0;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_in(v, "src", &src));
    if (v->k) {
        FY_TRY(fy_ev_axis(v, "dim", a.t.rank, 0, &axis));
        FY_TRY(fy_ev_int(v, "index", &i));
        FY_NEED(v->e, a.t.rank && i >= -a.t.dim[axis] && i < a.t.dim[axis], INDEX, "index %lld of select_scatter", (long long)i);
    } else FY_TRY(slice_args(v, &a, &axis, &start, &end, &step));
    FY_TRY(fy_ev_cast(v, &src, a.dtype));
    FY_TRY(fy_ev_copy(v, &o, &a));
    w = o;
    if (v->k) {
        move_by(&w, (i < 0 ? i + a.t.dim[axis] : i) * w.t.stride[axis]);
        drop_axis(&w.t, axis);
    } else slice_axis(&w, axis, start, end, step);
    fy_status s = fy_ev_expand(v, &src, w.t.rank, w.t.dim);
    if (s != FY_OK) { fy_tensor_free(&o.t); return s; }
    fy_tensor_copy(&w.t, &src.t);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_narrow(fy_eval *v) {
    fy_et   a;
    int     axis;
    int64_t start = 0, length = 0;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_axis(v, "dim", a.t.rank, 0, &axis));
    FY_TRY(fy_ev_int(v, "start", &start));
    FY_TRY(fy_ev_int(v, "length", &length));
    if (start < 0 && a.t.rank) start += a.t.dim[axis];
    FY_NEED(v->e, a.t.rank && start >= 0 && length >= 0 && start <= a.t.dim[axis] - length, INDEX, "narrow %lld+%lld", (long long)start, (long long)length);
    slice_axis(&a, axis, start, start + length, 1);
    return fy_ev_view(v, 0, &a);
}

static void swap_axes(fy_tensor *t, int i, int j) {
    int64_t d = t->dim[i], s = t->stride[i];
    t->dim[i] = t->dim[j];
    t->stride[i] = t->stride[j];
    t->dim[j] = d;
    t->stride[j] = s;
}

fy_status fy_at_transpose(fy_eval *v) {                         /* transpose.int, swapaxes */
    static const char *const names[2][2] = {{"dim0", "dim1"}, {"axis0", "axis1"}};
    fy_et a;
    int   i, j;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_axis(v, names[v->k][0], a.t.rank, 0, &i));
    FY_TRY(fy_ev_axis(v, names[v->k][1], a.t.rank, 0, &j));
    if (a.t.rank) swap_axes(&a.t, i, j);
    return fy_ev_view(v, 0, &a);
}

fy_status fy_at_t(fy_eval *v) {                                 /* 0: t, 1: numpy_T (all axes), 2: mT */
    fy_et a;
    FY_TRY(fy_ev_raw(v, "self", &a));
    if (v->k == 1)
        for (int i = 0, j = a.t.rank - 1; i < j; i++, j--) swap_axes(&a.t, i, j);
    else if (a.t.rank >= 2) swap_axes(&a.t, a.t.rank - 2, a.t.rank - 1);
    return fy_ev_view(v, 0, &a);
}

static fy_status permuted(fy_eval *v, fy_et *a, const int64_t *perm, int n) {
    fy_tensor t = a->t;
    unsigned  seen = 0;
    FY_NEED(v->e, n == t.rank, SHAPE, "permute with %d axes of rank %d", n, t.rank);
    for (int i = 0; i < n; i++) {
        int64_t p = perm[i] < 0 ? perm[i] + n : perm[i];
        FY_NEED(v->e, p >= 0 && p < n && !(seen >> p & 1), AXIS, "permute axis %lld", (long long)perm[i]);
        seen |= 1u << p;
        t.dim[i] = a->t.dim[p];
        t.stride[i] = a->t.stride[p];
    }
    a->t = t;
    return fy_ev_view(v, 0, a);
}

fy_status fy_at_permute(fy_eval *v) {
    fy_et   a;
    int64_t perm[FY_MAX_RANK];
    int     n;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_ints(v, "dims", perm, FY_MAX_RANK, &n));
    return permuted(v, &a, perm, n < 0 ? 0 : n);
}

fy_status fy_at_movedim(fy_eval *v) {
    fy_et    a;
    int64_t  from[FY_MAX_RANK], to[FY_MAX_RANK], perm[FY_MAX_RANK];
    int      n, m;
    unsigned used = 0;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_ints(v, "source", from, FY_MAX_RANK, &n));
    FY_TRY(fy_ev_ints(v, "destination", to, FY_MAX_RANK, &m));
    FY_NEED(v->e, n == m && n >= 0, SHAPE, "movedim of %d axes to %d", n, m);
    for (int i = 0; i < a.t.rank; i++) perm[i] = -1;
    for (int i = 0; i < n; i++) {
        int64_t f = from[i] < 0 ? from[i] + a.t.rank : from[i], t = to[i] < 0 ? to[i] + a.t.rank : to[i];
        FY_NEED(v->e, f >= 0 && f < a.t.rank && t >= 0 && t < a.t.rank && perm[t] < 0, AXIS, "movedim %lld to %lld", (long long)from[i], (long long)to[i]);
        perm[t] = f;
        used |= 1u << f;
    }
    for (int i = 0, f = 0; i < a.t.rank; i++) {
        if (perm[i] >= 0) continue;
        while (used >> f & 1) f++;
        perm[i] = f++;
    }
    return permuted(v, &a, perm, a.t.rank);
}

fy_status fy_at_expand(fy_eval *v) {                            /* expand, broadcast_to */
    fy_et   a;
    int64_t dim[FY_MAX_RANK];
    int     n;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_ints(v, "size", dim, FY_MAX_RANK, &n));
    for (int i = 0; i < n; i++) {
        int j = i - (n - a.t.rank);
        if (dim[i] == -1 && j >= 0) dim[i] = a.t.dim[j];
        FY_NEED(v->e, dim[i] >= 0, SHAPE, "expand to size %lld", (long long)dim[i]);
    }
    FY_TRY(fy_ev_expand(v, &a, n < 0 ? 0 : n, dim));
    return fy_ev_view(v, 0, &a);
}

fy_status fy_at_expand_as(fy_eval *v) {
    fy_et a, b;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_raw(v, "other", &b));
    FY_TRY(fy_ev_expand(v, &a, b.t.rank, b.t.dim));
    return fy_ev_view(v, 0, &a);
}

fy_status fy_at_unsqueeze(fy_eval *v) {
    fy_et a;
    int   axis;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_NEED(v->e, a.t.rank < FY_MAX_RANK, LIMIT, "rank above %d", FY_MAX_RANK);
    FY_TRY(fy_ev_axis(v, "dim", a.t.rank + 1, 0, &axis));
    for (int i = a.t.rank; i > axis; i--) { a.t.dim[i] = a.t.dim[i - 1]; a.t.stride[i] = a.t.stride[i - 1]; }
    a.t.stride[axis] = axis < a.t.rank ? a.t.dim[axis + 1] * a.t.stride[axis + 1] : 1;
    a.t.dim[axis] = 1;
    a.t.rank++;
    return fy_ev_view(v, 0, &a);
}

fy_status fy_at_squeeze(fy_eval *v) {                           /* squeeze, squeeze.dim, squeeze.dims */
    fy_et    a;
    int64_t  dims[FY_MAX_RANK];
    int      n;
    unsigned which = 0;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_ints(v, "dim", dims, FY_MAX_RANK, &n));
    int lim = a.t.rank ? a.t.rank : 1;
    for (int i = 0; i < n; i++) {
        FY_NEED(v->e, dims[i] >= -lim && dims[i] < lim, AXIS, "axis %lld outside rank %d", (long long)dims[i], a.t.rank);
        which |= 1u << (dims[i] < 0 ? dims[i] + lim : dims[i]);
    }
    if (n < 0) which = ~0u;
    for (int i = a.t.rank - 1; i >= 0; i--)
        if (which >> i & 1 && a.t.dim[i] == 1) drop_axis(&a.t, i);
    return fy_ev_view(v, 0, &a);
}

fy_status fy_at_unbind(fy_eval *v) {
    fy_et a, *o;
    int   axis;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_axis(v, "dim", a.t.rank, 0, &axis));
    FY_NEED(v->e, a.t.rank && a.t.dim[axis] < 65536, SHAPE, "unbind of a scalar or too many pieces");
    int64_t n = a.t.dim[axis], step = a.t.stride[axis];
    FY_NOMEM(v->e, o = FY_NEWN(&v->scratch, fy_et, n + 1));
    drop_axis(&a.t, axis);
    for (int64_t i = 0; i < n; i++) {
        o[i] = a;
        move_by(&o[i], i * step);
    }
    return fy_ev_out_list(v, (int)n, o);
}

static fy_status pieces(fy_eval *v, const fy_et *a, int axis, int64_t n, const int64_t *sizes) {
    fy_et  *o;
    int64_t at = 0;
    FY_NOMEM(v->e, o = FY_NEWN(&v->scratch, fy_et, n + 1));
    for (int64_t i = 0; i < n; i++) {
        o[i] = *a;
        FY_NEED(v->e, sizes[i] >= 0 && sizes[i] <= a->t.dim[axis] - at, SHAPE, "pieces are longer than axis %d", axis);
        if (sizes[i]) move_by(&o[i], at * a->t.stride[axis]);
        o[i].t.dim[axis] = sizes[i];
        at += sizes[i];
    }
    FY_NEED(v->e, at == a->t.dim[axis], SHAPE, "pieces of %lld in all along a size of %lld", (long long)at, (long long)a->t.dim[axis]);
    return fy_ev_out_list(v, (int)n, o);
}

enum { SPLIT, SPLIT_SIZES, CHUNK, SECTIONS, INDICES };

fy_status fy_at_split(fy_eval *v) {
    fy_et    a;
    int      axis, count;
    int64_t *sizes, n = 0, d, each = 1;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_axis(v, "dim", a.t.rank, 0, &axis));
    FY_NEED(v->e, a.t.rank, SHAPE, "split of a scalar");
    d = a.t.dim[axis];
    FY_NOMEM(v->e, sizes = FY_NEWN(&v->scratch, int64_t, 65536));
    switch (v->k) {
    case SPLIT_SIZES:
        FY_TRY(fy_ev_ints(v, fy_pnode_arg(v->node, "split_sizes") ? "split_sizes" : "split_size", sizes, 65536, &count));
        n = count < 0 ? 0 : count;
        break;
    case INDICES: {
        int64_t at = 0;
        FY_TRY(fy_ev_ints(v, "indices", sizes, 65535, &count));
        n = count < 0 ? 1 : count + 1;
        for (int64_t i = 0; i < n; i++) {
            int64_t to = i + 1 < n ? sizes[i] : d;
            if (to < 0) to += d;
            to = to > d ? d : to < at ? at : to;
            sizes[i] = to - at;
            at = to;
        }
        break;
    }
    case SECTIONS:
        FY_TRY(fy_ev_int(v, "sections", &n));
        FY_NEED(v->e, n > 0 && n < 65536, VALUE, "tensor_split into %lld", (long long)n);
        for (int64_t i = 0; i < n; i++) sizes[i] = d / n + (i < d % n);
        break;
    default:
        if (v->k == CHUNK) {
            int64_t chunks = 1;
            FY_TRY(fy_ev_int(v, "chunks", &chunks));
            FY_NEED(v->e, chunks > 0, VALUE, "%lld chunks", (long long)chunks);
            each = (d + chunks - 1) / chunks;
            if (!each) { n = chunks; break; }
        } else {
            FY_TRY(fy_ev_int(v, "split_size", &each));
            FY_NEED(v->e, each > 0 || d == 0, VALUE, "split into pieces of %lld", (long long)each);
        }
        n = d ? (d + each - 1) / each : 1;
        FY_NEED(v->e, n < 65536, LIMIT, "split into %lld pieces", (long long)n);
        for (int64_t i = 0; i < n; i++) sizes[i] = d - i * each < each ? d - i * each : each;
    }
    return pieces(v, &a, axis, n, sizes);
}

/* Strides and offset are those of torch's own layout, which the file records; ours is made to agree first. */
fy_status fy_at_as_strided(fy_eval *v) {
    fy_et   a;
    int64_t dim[FY_MAX_RANK], stride[FY_MAX_RANK], offset = 0, far = 0;
    int     n, m;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_ints(v, "size", dim, FY_MAX_RANK, &n));
    FY_TRY(fy_ev_ints(v, "stride", stride, FY_MAX_RANK, &m));
    FY_TRY(fy_ev_int(v, "storage_offset", &offset));
    FY_NEED(v->e, n == m && n >= 0, SHAPE, "as_strided with %d sizes and %d strides", n, m);
    const fy_parg *arg = fy_pnode_arg(v->node, "self");
    int64_t        want[FY_MAX_RANK], span = 1;
    fy_strides(a.t.rank, a.t.dim, want);
    if (arg && arg->value && arg->value->stride && arg->value->rank == a.t.rank)
        for (int i = 0; i < a.t.rank; i++)
            if (arg->value->stride[i] && !fy_dim_known(arg->value->stride[i], &want[i])) want[i] = a.t.stride[i];
    for (int i = 0; i < a.t.rank; i++) {
        FY_NEED(v->e, want[i] >= 0 && want[i] < (int64_t)1 << 26 && a.t.dim[i] < (int64_t)1 << 33, UNSUPPORTED, "as_strided of a tensor with stride %lld", (long long)want[i]);
        span += (a.t.dim[i] - 1) * want[i];
    }
    for (int i = 0; i < n; i++) {
        FY_NEED(v->e, dim[i] >= 0 && stride[i] >= 0 && dim[i] < (int64_t)1 << 33 && stride[i] < (int64_t)1 << 26, SHAPE, "as_strided size %lld", (long long)dim[i]);
        far += dim[i] ? (dim[i] - 1) * stride[i] : 0;
    }
    bool same = true;
    for (int i = 0; i < a.t.rank; i++) same = same && (a.t.dim[i] <= 1 || want[i] == a.t.stride[i]);
    if (!same) {
        fy_et o, w;
        FY_TRY(fy_ev_temp(v, &o, a.dtype, 1, (int64_t[]){span}));
        w = o;
        w.t.rank = a.t.rank;
        memcpy(w.t.dim, a.t.dim, sizeof w.t.dim);
        memcpy(w.t.stride, want, sizeof w.t.stride);
        fy_tensor_copy(&w.t, &a.t);
        a = w;
    }
    const char *begin = a.t.own ? a.t.own->at : a.t.data;
    int64_t     room = a.t.own ? (int64_t)(a.t.own->bytes / (size_t)fy_elem_bytes(a.t.dtype)) : span;
    FY_NEED(v->e, offset >= 0 && offset <= room && far < room - offset, INDEX, "as_strided reaches element %lld of %lld", (long long)(offset + far), (long long)room);
    if (begin) a.t.data = (char *)(uintptr_t)begin + offset * fy_elem_bytes(a.t.dtype);
    a.t.rank = n;
    memcpy(a.t.dim, dim, sizeof dim);
    memcpy(a.t.stride, stride, sizeof stride);
    return fy_ev_view(v, 0, &a);
}

fy_status fy_at_unfold(fy_eval *v) {
    fy_et   a;
    int     axis;
    int64_t size = 1, step = 1;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_axis(v, "dimension", a.t.rank, 0, &axis));
    FY_TRY(fy_ev_int(v, "size", &size));
    FY_TRY(fy_ev_int(v, "step", &step));
    FY_NEED(v->e, a.t.rank && a.t.rank < FY_MAX_RANK && size >= 0 && size <= a.t.dim[axis] && step > 0, SHAPE, "unfold by %lld, step %lld", (long long)size, (long long)step);
    a.t.dim[a.t.rank] = size;
    a.t.stride[a.t.rank] = a.t.stride[axis];
    a.t.dim[axis] = (a.t.dim[axis] - size) / step + 1;
    a.t.stride[axis] *= step;
    a.t.rank++;
    return fy_ev_view(v, 0, &a);
}

fy_status fy_at_diagonal(fy_eval *v) {
    fy_et   a;
    int     i, j;
    int64_t offset = 0;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_int(v, "offset", &offset));
    FY_TRY(fy_ev_axis(v, "dim1", a.t.rank, 0, &i));
    FY_TRY(fy_ev_axis(v, "dim2", a.t.rank, 1, &j));
    FY_NEED(v->e, a.t.rank >= 2 && i != j, AXIS, "diagonal of axes %d and %d", i, j);
    int64_t rows = a.t.dim[i], cols = a.t.dim[j], n;
    FY_NEED(v->e, offset > -((int64_t)1 << 40) && offset < (int64_t)1 << 40, VALUE, "diagonal %lld", (long long)offset);
    if (offset >= 0) n = rows < cols - offset ? rows : cols - offset;
    else n = rows + offset < cols ? rows + offset : cols;
    if (n > 0) move_by(&a, offset >= 0 ? offset * a.t.stride[j] : -offset * a.t.stride[i]);
    int64_t stride = a.t.stride[i] + a.t.stride[j];
    drop_axis(&a.t, i > j ? i : j);
    drop_axis(&a.t, i > j ? j : i);
    a.t.dim[a.t.rank] = n > 0 ? n : 0;
    a.t.stride[a.t.rank++] = stride;
    return fy_ev_view(v, 0, &a);
}

fy_status fy_at_diagonal_scatter(fy_eval *v) {
    fy_et   a, src, o, w;
    int     i, j;
    int64_t offset = 0;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_in(v, "src", &src));
    FY_TRY(fy_ev_int(v, "offset", &offset));
    FY_TRY(fy_ev_axis(v, "dim1", a.t.rank, 0, &i));
    FY_TRY(fy_ev_axis(v, "dim2", a.t.rank, 1, &j));
    FY_NEED(v->e, a.t.rank >= 2 && i != j && src.t.rank == a.t.rank - 1, SHAPE, "diagonal_scatter of rank %d", a.t.rank);
    FY_TRY(fy_ev_cast(v, &src, a.dtype));
    FY_TRY(fy_ev_copy(v, &o, &a));
    w = o;
    int64_t lo = offset < 0 ? -offset : 0, up = offset > 0 ? offset : 0, n = src.t.dim[src.t.rank - 1];
    bool    fits = lo < a.t.dim[i] && up < a.t.dim[j] && n <= a.t.dim[i] - lo && n <= a.t.dim[j] - up;
    if (!fits) { fy_tensor_free(&o.t); return fy_fail(v->e, FY_E_SHAPE, "diagonal_scatter of %lld elements", (long long)n); }
    move_by(&w, lo * w.t.stride[i] + up * w.t.stride[j]);
    int64_t stride = w.t.stride[i] + w.t.stride[j];
    drop_axis(&w.t, i > j ? i : j);
    drop_axis(&w.t, i > j ? j : i);
    w.t.dim[w.t.rank] = n;
    w.t.stride[w.t.rank++] = stride;
    fy_status s = fy_ev_expand(v, &src, w.t.rank, w.t.dim);
    if (s != FY_OK) { fy_tensor_free(&o.t); return s; }
    fy_tensor_copy(&w.t, &src.t);
    return fy_ev_out(v, 0, &o);
}

/* ---- the same values ---------------------------------------------------------------------------------------------------- */

fy_status fy_at_clone(fy_eval *v) {
    fy_et a, o;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_copy(v, &o, &a));
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_alias(fy_eval *v) {                          /* alias, detach, lift_fresh; 1: contiguous */
    fy_et a;
    FY_TRY(fy_ev_raw(v, "self", &a));
    if (v->k == 1 && !fy_contiguous(&a.t)) return fy_at_clone(v);
    return fy_ev_view(v, 0, &a);
}

fy_status fy_at_dropout(fy_eval *v) {
    fy_et  a;
    bool   train = false;
    double p = 0.5;
    FY_TRY(fy_ev_raw(v, fy_pnode_arg(v->node, "input") ? "input" : "self", &a));
    FY_TRY(fy_ev_bool(v, "train", &train));
    FY_TRY(fy_ev_f64(v, "p", &p));
    FY_NEED(v->e, !train || p == 0, TRAINING, "dropout in training mode is random");
    return fy_ev_view(v, 0, &a);
}

fy_status fy_at_native_dropout(fy_eval *v) {
    fy_et a, m;
    bool  train = false;
    FY_TRY(fy_ev_in(v, "input", &a));
    FY_TRY(fy_ev_bool(v, "train", &train));
    FY_NEED(v->e, !train, TRAINING, "dropout in training mode is random");
    FY_TRY(fy_ev_new(v, &m, FERRY_BOOL, a.t.rank, a.t.dim));
    memset(fy_ev_at_b(&m), 1, (size_t)fy_count(&m.t));
    FY_TRY(fy_ev_out(v, 1, &m));
    FY_TRY(fy_ev_copy(v, &m, &a));
    return fy_ev_out(v, 0, &m);
}

fy_status fy_at_to(fy_eval *v) {                                /* to.*, _to_copy, type_as; k = 1: always a copy */
    fy_et    a, b, o;
    bool     copy = v->k == 1, has = false;
    fy_dtype to = 0;
    FY_TRY(fy_ev_raw(v, "self", &a));
    to = a.dtype;
    if (v->k == 2) {
        FY_TRY(fy_ev_opt_raw(v, "other", &b, &has));
        if (has) to = b.dtype;
    } else if (v->k == 3) to = FERRY_FLOAT;
    else FY_TRY(fy_ev_dtype(v, "dtype", &to));
    FY_TRY(fy_ev_bool(v, "copy", &copy));
    if (to == a.dtype && !copy) return fy_ev_view(v, 0, &a);
    FY_TRY(fy_ev_in(v, "self", &a));
    o = a;
    FY_TRY(fy_ev_cast(v, &o, to));
    if (o.t.data == a.t.data) { FY_TRY(fy_ev_copy(v, &o, &a)); return fy_ev_out(v, 0, &o); }
    return fy_ev_view(v, 0, &o);
}

fy_status fy_at_copy(fy_eval *v) {                              /* copy: src in self's shape and dtype */
    fy_et a, b, o;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(fy_ev_in(v, "src", &b));
    FY_TRY(fy_ev_cast(v, &b, a.dtype));
    FY_TRY(fy_ev_expand(v, &b, a.t.rank, a.t.dim));
    FY_TRY(fy_ev_copy(v, &o, &b));
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_broadcast_tensors(fy_eval *v) {
    fy_et       *in;
    const fy_et *ptr[64];
    int          n, rank;
    int64_t      dim[FY_MAX_RANK];
    FY_TRY(fy_ev_list_raw(v, "tensors", &in, &n));
    FY_NEED(v->e, n >= 1 && n <= 64, LIMIT, "broadcast_tensors of %d", n);
    for (int i = 0; i < n; i++) ptr[i] = &in[i];
    FY_TRY(fy_ev_broadcast(v, n, ptr, &rank, dim));
    for (int i = 0; i < n; i++) FY_TRY(fy_ev_expand(v, &in[i], rank, dim));
    return fy_ev_out_list(v, n, in);
}

/* Quarter turns in the plane of two axes: swapped, reversed, or both. */
fy_status fy_at_rot90(fy_eval *v) {
    fy_et   x, o;
    int64_t k = 1, axes[2] = {0, 1};
    int     n, a, b;
    FY_TRY(fy_ev_raw(v, "self", &x));
    FY_TRY(fy_ev_int(v, "k", &k));
    FY_TRY(fy_ev_ints(v, "dims", axes, 2, &n));
    if (n < 0) axes[0] = 0, axes[1] = 1;
    a = (int)(axes[0] < 0 ? axes[0] + x.t.rank : axes[0]);
    b = (int)(axes[1] < 0 ? axes[1] + x.t.rank : axes[1]);
    FY_NEED(v->e, a >= 0 && b >= 0 && a < x.t.rank && b < x.t.rank && a != b, AXIS, "rot90 over axes %d, %d of rank %d", a, b, x.t.rank);
    k = ((k % 4) + 4) % 4;
    fy_tensor *t = &x.t;
    for (int i = 0; i < 2; i++) {                            /* reversed: a and b for a half turn, b then a for quarters */
        int  d = i ? b : a;
        bool back = k == 2 || (k == 1 && d == b) || (k == 3 && d == a);
        if (!back || t->dim[d] == 0) continue;
        t->data = (char *)t->data + (ptrdiff_t)((t->dim[d] - 1) * t->stride[d]) * (ptrdiff_t)fy_elem_bytes(t->dtype);
        t->stride[d] = -t->stride[d];
    }
    if (k % 2) {
        int64_t dim = t->dim[a], stride = t->stride[a];
        t->dim[a] = t->dim[b], t->stride[a] = t->stride[b];
        t->dim[b] = dim, t->stride[b] = stride;
    }
    FY_TRY(fy_ev_copy(v, &o, &x));
    return fy_ev_out(v, 0, &o);
}

/* Every combination of one element of each, the last running fastest. */
fy_status fy_at_cartesian_prod(fy_eval *v) {
    fy_et        *in, o;
    const fy_et  *ptr[FY_MAX_RANK];
    const double *p[FY_MAX_RANK];
    int           n;
    int64_t       rows = 1;
    FY_TRY(fy_ev_list(v, "tensors", &in, &n));
    FY_NEED(v->e, n >= 1 && n <= FY_MAX_RANK, LIMIT, "cartesian_prod of %d", n);
    for (int i = 0; i < n; i++) {
        FY_NEED(v->e, in[i].t.rank == 1 && rows <= (1 << 24) / (in[i].t.dim[0] + 1), SHAPE, "cartesian_prod of rank %d", in[i].t.rank);
        ptr[i] = &in[i];
        rows *= in[i].t.dim[0];
        p[i] = fy_ev_dense(v, &in[i]);
        if (!p[i]) return FY_E_NOMEM;
    }
    if (n == 1) {
        FY_TRY(fy_ev_copy(v, &o, &in[0]));
        return fy_ev_out(v, 0, &o);
    }
    FY_TRY(fy_ev_new(v, &o, fy_ev_promote(n, ptr), 2, (int64_t[]){rows, n}));
    bool real = o.t.dtype == FERRY_DOUBLE;
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = r;
        for (int i = n - 1; i >= 0; at /= in[i].t.dim[0], i--) {
            double x = p[i][at % in[i].t.dim[0]];
            if (real) fy_ev_at(&o)[r * n + i] = x;
            else fy_ev_at_i(&o)[r * n + i] = (int64_t)x;
        }
    }
    return fy_ev_out(v, 0, &o);
}
