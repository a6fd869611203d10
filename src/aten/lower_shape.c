/* SPDX-License-Identifier: Apache-2.0
 * lower_shape.c - the same elements under another shape or order: views, permutations, slices, joins, repeats, padding. */
#include "aten/lower.h"

#include <string.h>

typedef const fy_dim *dims[FY_MAX_RANK];

static const fy_dim *product(fy_lower *l, int n, const fy_dim *const *d) {
    const fy_dim *p = fy_l_k(l, 1);
    for (int i = 0; i < n; i++) p = fy_dim_mul(l->m->dims, p, d[i]);
    if (!p) (void)fy_l_fail(l, FY_E_NOMEM, "out of memory");
    return p;
}

/* Works out the one -1 among n sizes that share `total` elements. */
static void infer_one(fy_lower *l, int n, const fy_dim **d, const fy_dim *total) {
    int at = -1;
    const fy_dim *rest = fy_l_k(l, 1);
    for (int i = 0; i < n; i++) {
        if (fy_dim_is(d[i], -1)) at = i;
        else rest = fy_dim_mul(l->m->dims, rest, d[i]);
    }
    if (at < 0 || l->b.status != FY_OK) return;
    d[at] = fy_dim_is(rest, 0) ? fy_l_k(l, 0) : fy_dim_floordiv(l->m->dims, total, rest);
    if (!d[at]) (void)fy_l_fail(l, FY_E_SHAPE, "%s: the size -1 cannot be worked out", l->n->op);
}

/* False also where the product does not fit. */
static bool product_known(int n, const fy_dim *const *d, int64_t *r) {
    int64_t k;
    *r = 1;
    for (int i = 0; i < n; i++)
        if (!fy_dim_known(d[i], &k) || __builtin_mul_overflow(*r, k, r)) return false;
    return true;
}

/* view, reshape, _unsafe_view, _reshape_alias, view_copy */
fy_status fy_lower_view(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    dims d;
    int n = fy_l_dims(l, strcmp(l->n->op, "aten.reshape.default") == 0 ? "shape" : "size", d, FY_MAX_RANK), rank = fy_rank(l, x);
    FY_L_OK(l);
    fy_l_fit_view(l, rank, x->type.dim, n, d);
    infer_one(l, n, d, product(l, rank, x->type.dim));
    FY_L_OK(l);
    int64_t have, want;
    if (product_known(rank, x->type.dim, &have) && product_known(n, d, &want)) {
        if (have != want) return fy_l_fail(l, FY_E_SHAPE, "%s of %lld elements to a shape of %lld", l->n->op, (long long)have, (long long)want);
    }
    return fy_l_ret(l, fy_l_reshape(l, x, n, d));
}

/* view_as, reshape_as, expand_as, broadcast_to */
fy_status fy_lower_view_as(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *other = fy_l_tensor(l, "other");
    int rank = fy_rank(l, other);
    FY_L_OK(l);
    return fy_l_ret(l, fy_l_named(l, "aten.expand_as") ? fy_l_expand(l, x, rank, other->type.dim) : fy_l_reshape(l, x, rank, other->type.dim));
}

fy_status fy_lower_flatten(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x);
    bool ravel = fy_l_named(l, "aten.ravel");
    int from = ravel ? 0 : fy_l_axis(l, "start_dim", rank), to = ravel ? (rank > 0 ? rank - 1 : 0) : fy_l_axis(l, "end_dim", rank);
    FY_L_OK(l);
    dims d;
    int n = 0;
    for (int i = 0; i < from; i++) d[n++] = x->type.dim[i];
    d[n++] = rank ? product(l, to - from + 1, x->type.dim + from) : fy_l_k(l, 1);
    for (int i = to + 1; i < rank; i++) d[n++] = x->type.dim[i];
    FY_L_OK(l);
    return fy_l_ret(l, fy_l_reshape(l, x, n, d));
}

fy_status fy_lower_unflatten(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x), axis = fy_l_axis_in(l, "dim", rank);
    dims s, d;
    int n = fy_l_dims(l, "sizes", s, FY_MAX_RANK), k = 0;
    FY_L_OK(l);
    if (rank + n - 1 > FY_MAX_RANK || n < 1) return fy_l_fail(l, FY_E_LIMIT, "unflatten to %d axes", rank + n - 1);
    fy_l_fit_view(l, 1, x->type.dim + axis, n, s);
    infer_one(l, n, s, x->type.dim[axis]);
    FY_L_OK(l);
    for (int i = 0; i < axis; i++) d[k++] = x->type.dim[i];
    for (int i = 0; i < n; i++) d[k++] = s[i];
    for (int i = axis + 1; i < rank; i++) d[k++] = x->type.dim[i];
    return fy_l_ret(l, fy_l_reshape(l, x, k, d));
}

/* squeeze leaves axes that are not known to be 1 */
fy_status fy_lower_squeeze(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x), n = 0;
    int64_t axes[FY_MAX_RANK], out[FY_MAX_RANK];
    int given = fy_l_has(l, "dim") ? fy_l_axes(l, "dim", rank, axes) : fy_l_axes(l, "no such argument", rank, axes);
    FY_L_OK(l);
    if (rank == 0) return fy_l_ret(l, x);
    for (int i = 0; i < given; i++)
        if (fy_dim_is(x->type.dim[axes[i]], 1)) out[n++] = axes[i];
    if (fy_l_is(l, "aten.squeeze.dims") || fy_l_is(l, "aten.squeeze_copy.dims")) {           /* an empty list squeezes nothing */
        int64_t any[FY_MAX_RANK];
        if (fy_l_ints(l, "dim", any, FY_MAX_RANK) == 0) n = 0;
    }
    return fy_l_ret(l, n == 0 ? x : fy_emit(&l->b, "Squeeze", FY_V(x, fy_k_ints(&l->b, n, out)), FY_NOATTR));
}

fy_status fy_lower_unsqueeze(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int axis = fy_l_axis(l, "dim", fy_rank(l, x) + 1);
    return fy_l_ret(l, x ? fy_b_unsqueeze(&l->b, x, axis) : NULL);
}

fy_status fy_lower_expand(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    dims d;
    int n = fy_l_dims(l, "size", d, FY_MAX_RANK), rank = fy_rank(l, x);
    FY_L_OK(l);
    if (n < rank) return fy_l_fail(l, FY_E_SHAPE, "expand from rank %d to rank %d", rank, n);
    for (int i = 0; i < n; i++) {
        const fy_dim *have = i >= n - rank ? x->type.dim[i - (n - rank)] : NULL;
        if (have && (fy_dim_is(d[i], -1) || !fy_dim_is(have, 1))) d[i] = fy_dim_is(d[i], -1) ? have : fy_l_fit_end(l, d[i], have);
        else d[i] = fy_l_fit_size(l, i, d[i]);
    }
    return fy_l_ret(l, fy_l_expand(l, x, n, d));
}

/* ---- order of axes ------------------------------------------------------------------------------------------------------- */

static fy_value *transposed(fy_lower *l, fy_value *x, int rank, const int *perm) {
    bool same = true;
    for (int i = 0; i < rank; i++) same = same && perm[i] == i;
    return same || !x ? x : fy_b_transpose(&l->b, x, perm);
}

static void identity(int rank, int *perm) {
    for (int i = 0; i < rank; i++) perm[i] = i;
}

fy_status fy_lower_permute(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int64_t given[FY_MAX_RANK];
    int rank = fy_rank(l, x), n = fy_l_ints(l, "dims", given, FY_MAX_RANK), perm[FY_MAX_RANK];
    bool seen[FY_MAX_RANK] = {false};
    FY_L_OK(l);
    if (n != rank) return fy_l_fail(l, FY_E_ATTR, "permute of rank %d by %d axes", rank, n);
    for (int i = 0; i < n; i++) {
        perm[i] = fy_l_axis_of(l, given[i], rank);
        if (seen[perm[i]]) return fy_l_fail(l, FY_E_ATTR, "permute names axis %d twice", perm[i]);
        seen[perm[i]] = true;
    }
    FY_L_OK(l);
    return fy_l_ret(l, transposed(l, x, rank, perm));
}

/* transpose, swapaxes, swapdims, t, numpy_T, mT */
fy_status fy_lower_transpose(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x), perm[FY_MAX_RANK], a, b;
    FY_L_OK(l);
    identity(rank, perm);
    if (fy_l_named(l, "aten.numpy_T")) {
        for (int i = 0; i < rank; i++) perm[i] = rank - 1 - i;
        return fy_l_ret(l, transposed(l, x, rank, perm));
    }
    const fy_schema *s = l->n->schema;
    if (s && s->narg >= 3) {
        a = fy_l_axis(l, s->arg[1].name, rank);
        b = fy_l_axis(l, s->arg[2].name, rank);
    } else {
        if (rank < 2) return fy_l_ret(l, x);
        a = rank - 2;
        b = rank - 1;
    }
    FY_L_OK(l);
    if (rank == 0) return fy_l_ret(l, x);
    perm[a] = b;
    perm[b] = a;
    return fy_l_ret(l, transposed(l, x, rank, perm));
}

fy_status fy_lower_movedim(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int64_t from[FY_MAX_RANK], to[FY_MAX_RANK];
    int rank = fy_rank(l, x), n = fy_l_ints(l, "source", from, FY_MAX_RANK), m = fy_l_ints(l, "destination", to, FY_MAX_RANK), perm[FY_MAX_RANK];
    FY_L_OK(l);
    if (n != m) return fy_l_fail(l, FY_E_ATTR, "movedim of %d axes to %d", n, m);
    bool used[FY_MAX_RANK] = {false};
    for (int i = 0; i < rank; i++) perm[i] = -1;
    for (int i = 0; i < n; i++) {
        int a = fy_l_axis_of(l, from[i], rank);
        perm[fy_l_axis_of(l, to[i], rank)] = a;
        used[a] = true;
    }
    FY_L_OK(l);
    for (int i = 0, next = 0; i < rank; i++) {
        if (perm[i] >= 0) continue;
        while (next < rank && used[next]) next++;
        perm[i] = next++;
    }
    return fy_l_ret(l, transposed(l, x, rank, perm));
}

/* ---- parts ---------------------------------------------------------------------------------------------------------------- */

fy_status fy_lower_slice(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    bool narrow = fy_l_named(l, "aten.narrow");
    int axis = fy_l_axis_in(l, "dim", fy_rank(l, x));
    const fy_dim *begin = fy_l_has(l, "start") ? fy_l_dim(l, "start") : fy_l_k(l, 0), *end;
    if (narrow) end = fy_dim_add(l->m->dims, begin, fy_l_dim(l, "length"));
    else end = fy_l_has(l, "end") ? fy_l_dim(l, "end") : fy_l_k(l, INT64_MAX);
    int64_t step = narrow ? 1 : fy_l_int(l, "step");
    FY_L_OK(l);
    end = fy_l_fit_end(l, end, fy_dim_of(l, x, axis));
    if (l->b.status == FY_OK && step < 1) return fy_l_fail(l, FY_E_ATTR, "slice with step %lld", (long long)step);
    return fy_l_ret(l, fy_l_slice(l, x, axis, begin, end, step));
}

fy_status fy_lower_select(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int axis = fy_l_axis_in(l, "dim", fy_rank(l, x));
    const fy_dim *i = fy_l_dim(l, "index");
    return fy_l_ret(l, x && i ? fy_emit(&l->b, "Gather", FY_V(x, fy_l_size_scalar(l, i)), FY_A(fy_int("axis", axis))) : NULL);
}

/* split, split_with_sizes, chunk, tensor_split, unsafe_*: one Split node */
fy_status fy_lower_split(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x), axis = fy_l_axis_in(l, "dim", rank), n = fy_l_nout(l);
    FY_L_OK(l);
    if (n < 1 || n > 4096) return fy_l_fail(l, FY_E_LIMIT, "%s into %d pieces", l->n->op, n);
    const fy_dim *size = x->type.dim[axis], **d = FY_NEWN(&l->tmp, const fy_dim *, n);
    if (!d) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    fy_dims *p = l->m->dims;
    bool chunk = strstr(l->n->op, "chunk") != NULL, sections = fy_l_named(l, "aten.tensor_split");
    if (chunk || sections || fy_l_is(l, "aten.split.Tensor") || fy_l_is(l, "aten.unsafe_split.Tensor") || fy_l_is(l, "aten.split_copy.Tensor")) {
        const fy_dim *k = fy_l_dim(l, chunk ? "chunks" : sections ? "sections" : "split_size"), *each = chunk ? fy_dim_ceildiv(p, size, k) : k;
        int64_t have, parts;
        if (sections) {                                  /* the first size % n pieces are one longer */
            if (!k || !fy_dim_known(k, &parts) || !fy_dim_known(size, &have)) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s of a dynamic axis", l->n->op);
            for (int i = 0; i < n; i++) d[i] = fy_l_k(l, have / parts + (i < have % parts));
        } else {
            for (int i = 0; i < n - 1; i++) d[i] = each;
            d[n - 1] = fy_dim_sub(p, size, fy_dim_muli(p, each, n - 1));
        }
    } else {
        int got = fy_l_dims(l, fy_l_is(l, "aten.split.sizes") ? "split_size" : "split_sizes", d, n);
        if (l->b.status == FY_OK && got != n) return fy_l_fail(l, FY_E_ATTR, "%s: %d sizes for %d pieces", l->n->op, got, n);
    }
    FY_L_OK(l);
    if (n == 1) return fy_l_ret(l, x);
    int64_t *k = FY_NEWN(&l->tmp, int64_t, n);
    if (!k) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    bool known = true;
    for (int i = 0; i < n; i++) known = known && d[i] && fy_dim_known(d[i], &k[i]);
    if (!known && n > FY_MAX_RANK) return fy_l_fail(l, FY_E_LIMIT, "%s of a dynamic axis into %d pieces", l->n->op, n);
    fy_node *node = fy_emit_n(&l->b, "Split", n, FY_V(x, known ? fy_k_ints(&l->b, n, k) : fy_l_sizes(l, n, d)), FY_A(fy_int("axis", axis)));
    for (int i = 0; node && i < n; i++) fy_l_out(l, i, node->out[i]);
    return l->b.status;
}

/* Cuts at positions, which may lie outside. */
fy_status fy_lower_split_at(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int axis = fy_l_axis_in(l, "dim", fy_rank(l, x)), n = fy_l_nout(l);
    FY_L_OK(l);
    if (n < 1 || n > 4096) return fy_l_fail(l, FY_E_LIMIT, "%s into %d pieces", l->n->op, n);
    const fy_dim **at = FY_NEWN(&l->tmp, const fy_dim *, n + 1);
    if (!at) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    int got = fy_l_dims(l, "indices", at + 1, n - 1);
    FY_L_OK(l);
    if (got != n - 1) return fy_l_fail(l, FY_E_ATTR, "%s: %d positions for %d pieces", l->n->op, got, n);
    at[0] = fy_l_k(l, 0);
    at[n] = x->type.dim[axis];
    for (int i = 0; i < n; i++)
        if (fy_l_wanted(l, i)) fy_l_out(l, i, fy_l_slice(l, x, axis, at[i], at[i + 1], 1));
    return l->b.status;
}

fy_status fy_lower_unbind(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int axis = fy_l_axis_in(l, "dim", fy_rank(l, x)), n = fy_l_nout(l);
    for (int i = 0; i < n; i++)
        if (fy_l_wanted(l, i)) fy_l_out(l, i, x ? fy_emit(&l->b, "Gather", FY_V(x, fy_k_i64(&l->b, i)), FY_A(fy_int("axis", axis))) : NULL);
    return l->b.status;
}

/* windows: [.., size, ..] -> [.., n, .., window] by Gather with n x window positions */
fy_status fy_lower_unfold(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x), axis = fy_l_axis_in(l, "dimension", rank);
    int64_t window = fy_l_int(l, "size"), step = fy_l_int(l, "step");
    FY_L_OK(l);
    if (window < 1 || step < 1 || rank >= FY_MAX_RANK) return fy_l_fail(l, FY_E_ATTR, "unfold with size %lld, step %lld", (long long)window, (long long)step);
    fy_build *b = &l->b;
    const fy_dim *n = fy_dim_addi(l->m->dims, fy_dim_divi(l->m->dims, fy_dim_addi(l->m->dims, x->type.dim[axis], -window), step), 1);
    fy_value *zero = fy_k_i64(b, 0), *one = fy_k_i64(b, 1);
    fy_value *start = fy_l_binary(l, "Mul", fy_emit(b, "Range", FY_V(zero, fy_l_size_scalar(l, n), one), FY_NOATTR), fy_k_i64(b, step));
    if (start) start = fy_b_unsqueeze(b, start, 1);
    fy_value *at = fy_l_binary(l, "Add", start, fy_emit(b, "Range", FY_V(zero, fy_k_i64(b, window), one), FY_NOATTR));
    fy_value *y = at ? fy_emit(b, "Gather", FY_V(x, at), FY_A(fy_int("axis", axis))) : NULL;
    int perm[FY_MAX_RANK + 1];
    for (int i = 0; i <= rank; i++) perm[i] = i <= axis ? i : i + 1;
    perm[rank] = axis + 1;
    return fy_l_ret(l, y ? transposed(l, y, rank + 1, perm) : NULL);
}

fy_status fy_lower_flip(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int64_t axes[FY_MAX_RANK], begin[FY_MAX_RANK], end[FY_MAX_RANK], step[FY_MAX_RANK], given[FY_MAX_RANK];
    int rank = fy_rank(l, x), n = fy_l_axes(l, "dims", rank, axes);
    if (fy_l_ints(l, "dims", given, FY_MAX_RANK) == 0) n = 0;
    FY_L_OK(l);
    if (n == 0) return fy_l_ret(l, x);
    for (int i = 0; i < n; i++) { begin[i] = -1; end[i] = INT64_MIN; step[i] = -1; }
    fy_build *b = &l->b;
    return fy_l_ret(l, fy_emit(b, "Slice", FY_V(x, fy_k_ints(b, n, begin), fy_k_ints(b, n, end), fy_k_ints(b, n, axes), fy_k_ints(b, n, step)), FY_NOATTR));
}

/* roll by s: the last s come first. fft_fftshift: by half of an axis, of all that are not named; fft_ifftshift: back. */
fy_status fy_lower_roll(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    dims shift;
    int64_t axes[FY_MAX_RANK];
    bool half = !fy_l_named(l, "aten.roll");
    int rank = fy_rank(l, x), n = half ? 0 : fy_l_dims(l, "shifts", shift, FY_MAX_RANK), m = half ? fy_l_axes(l, "dim", rank, axes) : fy_l_ints(l, "dims", axes, FY_MAX_RANK);
    FY_L_OK(l);
    for (; half && n < m; n++) shift[n] = fy_dim_floordiv(l->m->dims, fy_dim_addi(l->m->dims, x->type.dim[axes[n]], fy_l_named(l, "aten.fft_ifftshift")), fy_l_k(l, 2));
    fy_value *y = x;
    bool flat = m <= 0 && !half;
    if (flat) {
        y = fy_l_reshape(l, x, 1, (const fy_dim *[]){product(l, rank, x->type.dim)});
        axes[0] = 0;
        m = 1;
    }
    if (m != n) return fy_l_fail(l, FY_E_ATTR, "roll: %d shifts for %d axes", n, m);
    for (int i = 0; i < n && y; i++) {
        int axis = fy_l_axis_of(l, axes[i], flat ? 1 : rank);
        int64_t s, size;
        const fy_dim *at = fy_dim_muli(l->m->dims, shift[i], -1);
        if (fy_dim_known(shift[i], &s) && (s < -((int64_t)1 << 40) || s > ((int64_t)1 << 40))) return fy_l_fail(l, FY_E_VALUE, "roll by %lld", (long long)s);
        if (fy_dim_known(shift[i], &s) && fy_const_dim(y, axis, &size) && size > 0) at = fy_l_k(l, ((-s % size) + size) % size);
        if (fy_dim_is(at, 0)) continue;
        fy_value *tail = fy_l_slice(l, y, axis, at, fy_l_k(l, INT64_MAX), 1), *head = fy_l_slice(l, y, axis, fy_l_k(l, 0), at, 1);
        const fy_type before = y->type;
        y = tail && head ? fy_b_concat(&l->b, 2, (fy_value *[]){tail, head}, axis) : NULL;
        if (y && y->type.rank == before.rank) y->type.dim = before.dim;
    }
    return fy_l_ret(l, flat && y ? fy_l_reshape(l, y, rank, x->type.dim) : y);
}

/* ---- joining and repeating --------------------------------------------------------------------------------------------------- */

static int promoted_list(fy_lower *l, const char *name, fy_value ***list) {
    fy_value **v;
    int n = fy_l_tensors(l, name, &v);
    fy_operand *o = FY_NEWN(&l->tmp, fy_operand, n);
    if (!o) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return 0; }
    for (int i = 0; i < n; i++) o[i] = fy_op_value(v[i]);
    fy_dtype t = fy_promote(n, o);
    for (int i = 0; i < n; i++) v[i] = v[i] ? fy_b_cast(&l->b, v[i], t) : NULL;
    *list = v;
    return l->b.status == FY_OK ? n : 0;
}

fy_status fy_lower_cat(fy_lower *l) {
    fy_value **v;
    int n = promoted_list(l, "tensors", &v), kept = 0, rank = 0;
    FY_L_OK(l);
    for (int i = 0; i < n; i++) rank = fy_rank(l, v[i]) > rank ? fy_rank(l, v[i]) : rank;
    for (int i = 0; i < n; i++)                          /* a legacy of torch: empty 1-D tensors are passed over */
        if (!(rank > 1 && fy_rank(l, v[i]) == 1 && fy_dim_is(v[i]->type.dim[0], 0))) v[kept++] = v[i];
    int axis = fy_l_axis(l, "dim", rank);
    FY_L_OK(l);
    for (int i = 0; i < kept && l->p->nopened; i++)      /* a class token, made once for each sample of the frozen batch */
        for (int k = 0; k < kept; k++)
            for (int a = 0; a < rank && v[i] && v[k]; a++)
                if (a != axis && fy_rank(l, v[k]) == rank && fy_rank(l, v[i]) == rank) v[i] = fy_l_fit_like(l, v[i], a, v[k]->type.dim[a]);
    FY_L_OK(l);
    if (kept == 0) return fy_l_fail(l, FY_E_SHAPE, "cat of nothing");
    return fy_l_ret(l, kept == 1 ? v[0] : fy_b_concat(&l->b, kept, v, axis));
}

/* stack, hstack, vstack, dstack */
fy_status fy_lower_stack(fy_lower *l) {
    fy_value **v;
    int n = promoted_list(l, "tensors", &v);
    FY_L_OK(l);
    if (n < 1) return fy_l_fail(l, FY_E_SHAPE, "stack of nothing");
    int rank = fy_rank(l, v[0]), axis;
    if (fy_l_named(l, "aten.stack")) {
        axis = fy_l_axis(l, "dim", rank + 1);
        for (int i = 0; i < n && v[i]; i++) v[i] = fy_b_unsqueeze(&l->b, v[i], axis);
    } else {
        bool h = fy_l_named(l, "aten.hstack");
        axis = h && rank > 1 ? 1 : 0;
        for (int i = 0; i < n; i++) v[i] = fy_l_unsqueeze_to(l, v[i], h ? 1 : 2);
    }
    FY_L_OK(l);
    return fy_l_ret(l, n == 1 ? v[0] : fy_b_concat(&l->b, n, v, axis));
}

/* repeat, tile: more repeats than axes add leading ones (and for tile, fewer count from the right) */
fy_status fy_lower_repeat(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    dims r, full;
    int n = fy_l_dims(l, fy_l_named(l, "aten.tile") ? "dims" : "repeats", r, FY_MAX_RANK), rank = fy_rank(l, x);
    FY_L_OK(l);
    int m = n > rank ? n : rank;
    bool once = true;
    for (int i = 0; i < m; i++) {
        full[i] = i < m - n ? fy_l_k(l, 1) : r[i - (m - n)];
        if (i >= m - rank && fy_dim_is(x->type.dim[i - (m - rank)], 1)) full[i] = fy_l_fit_size(l, i, full[i]);   /* once for each sample */
        once = once && fy_dim_is(full[i], 1);
    }
    x = fy_l_unsqueeze_to(l, x, m);
    return fy_l_ret(l, once || !x ? x : fy_emit(&l->b, "Tile", FY_V(x, fy_l_sizes(l, m, full)), FY_NOATTR));
}

/* repeat_interleave by one number: [.., n, ..] -> [.., n, r, ..] -> [.., n*r, ..] */
fy_status fy_lower_repeat_interleave(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    const fy_dim *r = fy_l_dim(l, "repeats");
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    if (!fy_l_has(l, "dim")) {
        x = fy_l_reshape(l, x, 1, (const fy_dim *[]){product(l, rank, x->type.dim)});
        rank = 1;
    }
    int axis = fy_l_has(l, "dim") ? fy_l_axis_in(l, "dim", rank) : 0;
    FY_L_OK(l);
    if (rank + 1 > FY_MAX_RANK) return fy_l_fail(l, FY_E_LIMIT, "repeat_interleave at rank %d", rank);
    dims wide, out;
    for (int i = 0; i <= rank; i++) wide[i] = i <= axis ? x->type.dim[i] : i == axis + 1 ? r : x->type.dim[i - 1];
    for (int i = 0; i < rank; i++) out[i] = i == axis ? fy_dim_mul(l->m->dims, x->type.dim[i], r) : x->type.dim[i];
    fy_value *y = fy_l_expand(l, fy_b_unsqueeze(&l->b, x, axis + 1), rank + 1, wide);
    return fy_l_ret(l, fy_l_reshape(l, y, rank, out));
}

fy_status fy_lower_meshgrid(fy_lower *l) {
    fy_value **v;
    int n = fy_l_tensors(l, "tensors", &v);
    const char *how = fy_l_str(l, "indexing");
    bool xy = how && strcmp(how, "xy") == 0 && n >= 2;
    FY_L_OK(l);
    if (n < 1 || n > FY_MAX_RANK) return fy_l_fail(l, FY_E_LIMIT, "meshgrid of %d tensors", n);
    dims all;
    for (int i = 0; i < n; i++) {
        int at = xy && i < 2 ? 1 - i : i;
        all[at] = fy_rank(l, v[i]) == 0 ? fy_l_k(l, 1) : fy_dim_of(l, v[i], 0);
    }
    FY_L_OK(l);
    for (int i = 0; i < n; i++) {
        int at = xy && i < 2 ? 1 - i : i;
        dims one;
        for (int k = 0; k < n; k++) one[k] = k == at ? all[k] : fy_l_k(l, 1);
        fy_l_out(l, i, fy_l_expand(l, fy_l_reshape(l, v[i], n, one), n, all));
    }
    return l->b.status;
}

fy_status fy_lower_broadcast_tensors(fy_lower *l) {
    fy_value **v;
    int n = fy_l_tensors(l, "tensors", &v), r = 0;
    dims all;
    FY_L_OK(l);
    for (int i = 0; i < n; i++) {
        int vr = fy_rank(l, v[i]);
        for (; r < vr; r++) {                            /* leading axes */
            memmove(all + 1, all, (size_t)r * sizeof *all);
            all[0] = fy_l_k(l, 1);
        }
        for (int k = 0; k < vr; k++)
            if (fy_dim_is(all[r - vr + k], 1)) all[r - vr + k] = v[i]->type.dim[k];
    }
    for (int i = 0; i < n; i++) fy_l_out(l, i, fy_l_expand(l, v[i], r, all));
    return l->b.status;
}

/* cartesian_prod of vectors: each spread over the grid of all, flat, side by side */
fy_status fy_lower_cartesian_prod(fy_lower *l) {
    fy_value **v;
    int n = fy_l_tensors(l, "tensors", &v);
    dims all;
    FY_L_OK(l);
    if (n < 1 || n > FY_MAX_RANK) return fy_l_fail(l, FY_E_LIMIT, "cartesian_prod of %d tensors", n);
    if (n == 1) return fy_l_ret(l, v[0]);
    for (int i = 0; i < n; i++) all[i] = fy_dim_of(l, v[i], 0);
    const fy_dim *column[2] = {product(l, n, all), fy_l_k(l, 1)};
    for (int i = 0; i < n; i++) {
        dims one;
        for (int k = 0; k < n; k++) one[k] = k == i ? all[k] : fy_l_k(l, 1);
        v[i] = fy_l_reshape(l, fy_l_expand(l, fy_l_reshape(l, v[i], n, one), n, all), 2, column);
    }
    FY_L_OK(l);
    return fy_l_ret(l, fy_b_concat(&l->b, n, v, 1));
}

/* rot90: turns by 90 degrees are a transposition and a flip, 180 two flips */
fy_status fy_lower_rot90(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int64_t d[2], k = fy_l_int(l, "k") & 3;
    int rank = fy_rank(l, x), n = fy_l_ints(l, "dims", d, 2), perm[FY_MAX_RANK];
    FY_L_OK(l);
    if (n != 2) return fy_l_fail(l, FY_E_ATTR, "rot90 in %d axes", n);
    for (int i = 0; i < 2; i++) d[i] = fy_l_axis_of(l, d[i], rank);
    FY_L_OK(l);
    if (k == 0) return fy_l_ret(l, x);
    int64_t axes[2] = {k == 3 ? d[0] : d[1], d[0]}, minus[2] = {-1, -1}, end[2] = {INT64_MIN, INT64_MIN};
    int flips = k == 2 ? 2 : 1;
    fy_build *b = &l->b;
    x = fy_emit(b, "Slice", FY_V(x, fy_k_ints(b, flips, minus), fy_k_ints(b, flips, end), fy_k_ints(b, flips, axes), fy_k_ints(b, flips, minus)), FY_NOATTR);
    if (k == 2 || !x) return fy_l_ret(l, x);
    identity(rank, perm);
    perm[d[0]] = (int)d[1];
    perm[d[1]] = (int)d[0];
    return fy_l_ret(l, transposed(l, x, rank, perm));
}

/* differences of neighbours, by slices */
fy_status fy_lower_diff(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *pre = fy_l_tensor(l, "prepend"), *app = fy_l_tensor(l, "append");
    int axis = fy_l_axis_in(l, "dim", fy_rank(l, x));
    int64_t times = fy_l_int(l, "n");
    FY_L_OK(l);
    if (times < 0 || times > 64) return fy_l_fail(l, FY_E_UNSUPPORTED, "diff of order %lld", (long long)times);
    fy_operand part[3];
    fy_value *v[3];
    int n = 0;
    if (pre) part[n++] = fy_op_value(pre);
    part[n++] = fy_op_value(x);
    if (app) part[n++] = fy_op_value(app);
    fy_dtype t = fy_promote(n, part);
    for (int i = 0; i < n; i++) v[i] = fy_l_as(l, &part[i], t);
    FY_L_OK(l);
    if (n > 1 && times > 0) x = fy_b_concat(&l->b, n, v, axis);
    for (int64_t i = 0; i < times && x; i++) {
        fy_value *hi = fy_l_slice(l, x, axis, fy_l_k(l, 1), fy_l_k(l, INT64_MAX), 1), *lo = fy_l_slice(l, x, axis, fy_l_k(l, 0), fy_l_k(l, -1), 1);
        if (x->type.dtype == FERRY_BOOL) x = fy_l_binary(l, "Xor", hi, lo);
        else x = fy_l_binary(l, "Sub", hi, lo);
    }
    return fy_l_ret(l, x);
}

/* ---- padding -------------------------------------------------------------------------------------------------------------------- */

/* torch lists (before, after) from the last axis backwards; ONNX all befores, then all afters */
fy_status fy_lower_pad(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    const char *op = l->n->op, *mode = fy_l_str(l, "mode");
    bool named = strstr(op, "reflection_pad") || strstr(op, "replication_pad");
    if (strstr(op, "reflection_pad")) mode = "reflect";
    if (strstr(op, "replication_pad")) mode = "replicate";
    const fy_dim *given[2 * FY_MAX_RANK], *pads[2 * FY_MAX_RANK];
    int n = fy_l_dims(l, named ? "padding" : "pad", given, 2 * FY_MAX_RANK), rank = fy_rank(l, x), count = n / 2;
    FY_L_OK(l);
    if (n % 2 || count > rank) return fy_l_fail(l, FY_E_ATTR, "%s: %d numbers for rank %d", op, n, rank);
    int64_t axes[FY_MAX_RANK];
    bool nothing = true;
    for (int i = 0; i < count; i++) {                    /* only the axes named; the last one first in `given` */
        int from = count - 1 - i;
        axes[i] = rank - count + i;
        pads[i] = given[2 * from];
        pads[count + i] = given[2 * from + 1];
        nothing = nothing && fy_dim_is(pads[i], 0) && fy_dim_is(pads[count + i], 0);
    }
    if (nothing) return fy_l_ret(l, x);
    const char *how = !mode || strcmp(mode, "constant") == 0 ? "constant" : strcmp(mode, "reflect") == 0 ? "reflect" : strcmp(mode, "replicate") == 0 ? "edge" : "wrap";
    fy_value *value = NULL;
    if (how[0] == 'c' && fy_l_has(l, "value")) {
        fy_operand v = fy_l_operand(l, "value");
        value = fy_l_as(l, &v, x->type.dtype);
    }
    fy_build *b = &l->b;
    fy_value *amounts = NULL;
    if (2 * count <= FY_MAX_RANK) amounts = fy_l_sizes(l, 2 * count, pads);
    else return fy_l_fail(l, FY_E_LIMIT, "%s of %d axes", op, count);
    return fy_l_ret(l, fy_emit(b, "Pad", FY_V(x, amounts, value, count == rank ? NULL : fy_k_ints(b, count, axes)), FY_A(fy_text("mode", how))));
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------------------ */

/* pixel_shuffle [.., C*r*r, H, W] -> [.., C, H*r, W*r]; pixel_unshuffle is its inverse */
fy_status fy_lower_pixel_shuffle(fy_lower *l) {
    bool inverse = fy_l_named(l, "aten.pixel_unshuffle");
    fy_value *x = fy_l_tensor(l, "self");
    int64_t r = fy_l_int(l, inverse ? "downscale_factor" : "upscale_factor");
    int rank = fy_rank(l, x), lead = rank - 3;
    FY_L_OK(l);
    if (rank < 3 || rank + 2 > FY_MAX_RANK || r < 1) return fy_l_fail(l, FY_E_SHAPE, "%s of rank %d by %lld", l->n->op, rank, (long long)r);
    if (!inverse && rank == 4) return fy_l_ret(l, fy_emit(&l->b, "DepthToSpace", FY_V(x), FY_A(fy_int("blocksize", r), fy_text("mode", "CRD"))));
    fy_dims *p = l->m->dims;
    const fy_dim *C = x->type.dim[lead], *H = x->type.dim[lead + 1], *W = x->type.dim[lead + 2], *k = fy_l_k(l, r);
    dims a, z;
    int perm[FY_MAX_RANK];
    for (int i = 0; i < lead; i++) { a[i] = z[i] = x->type.dim[i]; perm[i] = i; }
    const fy_dim *in6[5], *out3[3];
    static const int forward[5] = {0, 3, 1, 4, 2}, backward[5] = {0, 2, 4, 1, 3};
    if (inverse) {
        const fy_dim *h = fy_dim_divi(p, H, r), *w = fy_dim_divi(p, W, r);
        in6[0] = C; in6[1] = h; in6[2] = k; in6[3] = w; in6[4] = k;
        out3[0] = fy_dim_muli(p, C, r * r); out3[1] = h; out3[2] = w;
    } else {
        in6[0] = fy_dim_divi(p, C, r * r); in6[1] = k; in6[2] = k; in6[3] = H; in6[4] = W;
        out3[0] = in6[0]; out3[1] = fy_dim_muli(p, H, r); out3[2] = fy_dim_muli(p, W, r);
    }
    for (int i = 0; i < 5; i++) { a[lead + i] = in6[i]; perm[lead + i] = lead + (inverse ? backward : forward)[i]; }
    for (int i = 0; i < 3; i++) z[lead + i] = out3[i];
    fy_value *y = fy_l_reshape(l, x, lead + 5, a);
    return fy_l_ret(l, y ? fy_l_reshape(l, transposed(l, y, lead + 5, perm), rank, z) : NULL);
}

/* channel_shuffle [N, g*k, ...] -> [N, k*g, ...] */
fy_status fy_lower_channel_shuffle(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int64_t g = fy_l_int(l, "groups");
    int rank = fy_rank(l, x), perm[FY_MAX_RANK];
    FY_L_OK(l);
    if (rank < 2 || rank + 1 > FY_MAX_RANK || g < 1) return fy_l_fail(l, FY_E_SHAPE, "channel_shuffle of rank %d", rank);
    dims a;
    a[0] = x->type.dim[0];
    a[1] = fy_l_k(l, g);
    a[2] = fy_dim_divi(l->m->dims, x->type.dim[1], g);
    for (int i = 2; i < rank; i++) a[i + 1] = x->type.dim[i];
    identity(rank + 1, perm);
    perm[1] = 2;
    perm[2] = 1;
    fy_value *y = fy_l_reshape(l, x, rank + 1, a);
    return fy_l_ret(l, y ? fy_l_reshape(l, transposed(l, y, rank + 1, perm), rank, x->type.dim) : NULL);
}

/* ---- strides ------------------------------------------------------------------------------------------------------------------------- */

/* Axes by falling stride; true if, so ordered, the elements lie densely one after another. */
static bool dense_order(int rank, const int64_t *dim, const int64_t *stride, int *order) {
    for (int i = 0; i < rank; i++) {
        int k = i;
        while (k > 0 && (stride[order[k - 1]] < stride[i] || (stride[order[k - 1]] == stride[i] && dim[order[k - 1]] < dim[i]))) {
            order[k] = order[k - 1];
            k--;
        }
        order[k] = i;
    }
    int64_t next = 1;
    for (int i = rank - 1; i >= 0; i--) {
        if (dim[order[i]] == 1) continue;
        if (stride[order[i]] != next) return false;
        next *= dim[order[i]];
    }
    return true;
}

/* as_strided looks at memory, so the order in which self lies in memory (recorded strides) comes first: self is brought
 * into that order, then either it is a permutation of it, or its elements are gathered. Constant sizes only. */
fy_status fy_lower_as_strided(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    const fy_parg *self = fy_aten_arg(l->n, "self");
    const fy_pvalue *pv = self->kind == FY_ARG_TENSOR ? self->value : NULL;
    int64_t size[FY_MAX_RANK], stride[FY_MAX_RANK], xd[FY_MAX_RANK], xs[FY_MAX_RANK];
    int n = fy_l_ints(l, "size", size, FY_MAX_RANK), m = fy_l_ints(l, "stride", stride, FY_MAX_RANK), rank = fy_rank(l, x), order[FY_MAX_RANK];
    int64_t offset = fy_l_has(l, "storage_offset") ? fy_l_int(l, "storage_offset") : 0, count = 1, total = 1;
    FY_L_OK(l);
    if (n != m) return fy_l_fail(l, FY_E_ATTR, "as_strided: %d sizes, %d strides", n, m);
    for (int i = 0; i < rank; i++) {
        if (!fy_const_dim(x, i, &xd[i]) || !pv || !pv->stride || i >= pv->rank || !fy_dim_known(pv->stride[i], &xs[i]))
            return fy_l_fail(l, FY_E_UNSUPPORTED, "as_strided of a tensor with dynamic sizes or unknown strides");
        total *= xd[i];
    }
    if (!dense_order(rank, xd, xs, order)) return fy_l_fail(l, FY_E_UNSUPPORTED, "as_strided of a tensor that is not dense in memory");
    int64_t last = offset;
    for (int i = 0; i < n; i++) {
        if (size[i] < 0 || stride[i] < 0) return fy_l_fail(l, FY_E_VALUE, "as_strided with a negative size or stride");
        count *= size[i];
        if (size[i] > 0) last += (size[i] - 1) * stride[i];
    }
    if (offset < 0 || (count > 0 && last >= total)) return fy_l_fail(l, FY_E_INDEX, "as_strided reaches element %lld of %lld", (long long)last, (long long)total);
    fy_value *y = transposed(l, x, rank, order);
    int to[FY_MAX_RANK], back[FY_MAX_RANK];
    dims d;
    if (offset == 0 && count == total && dense_order(n, size, stride, to)) {
        for (int i = 0; i < n; i++) {
            d[i] = fy_l_k(l, size[to[i]]);
            back[to[i]] = i;
        }
        y = fy_l_reshape(l, y, n, d);
        return fy_l_ret(l, transposed(l, y, n, back));
    }
    if (count > ((int64_t)1 << 20)) return fy_l_fail(l, FY_E_LIMIT, "as_strided with overlap to %lld elements", (long long)count);
    int64_t *at = FY_NEWN(&l->tmp, int64_t, count);
    if (!at) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i;
        at[i] = offset;
        for (int k = n - 1; k >= 0; k--) {
            at[i] += rest % size[k] * stride[k];
            rest /= size[k];
        }
    }
    fy_const *index = fy_const_copy(&l->m->arena, FERRY_INT64, n, size, at);
    if (!index) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    y = fy_l_reshape(l, y, 1, (const fy_dim *[]){fy_l_k(l, total)});
    return fy_l_ret(l, y ? fy_emit(&l->b, "Gather", FY_V(y, fy_k_const(&l->b, index, NULL)), FY_A(fy_int("axis", 0))) : NULL);
}

/* diagonal: the two axes last and flat, then every (cols + 1)-th element of it. Constant sizes of the two axes. */
fy_status fy_lower_diagonal(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x), a = fy_l_axis(l, "dim1", rank), c = fy_l_axis(l, "dim2", rank), perm[FY_MAX_RANK], k = 0;
    int64_t off = fy_l_int(l, "offset"), rows, cols;
    FY_L_OK(l);
    if (a == c) return fy_l_fail(l, FY_E_AXIS, "diagonal of one axis");
    if (!fy_const_dim(x, a, &rows) || !fy_const_dim(x, c, &cols)) return fy_l_fail(l, FY_E_UNSUPPORTED, "diagonal of dynamic axes");
    dims flat;
    for (int i = 0; i < rank; i++)
        if (i != a && i != c) { flat[k] = x->type.dim[i]; perm[k++] = i; }
    perm[k] = a;
    perm[k + 1] = c;
    flat[k] = fy_l_k(l, rows * cols);
    int64_t n = off >= 0 ? (rows < cols - off ? rows : cols - off) : (rows + off < cols ? rows + off : cols);
    if (n < 0) n = 0;
    if (n > (1 << 20)) return fy_l_fail(l, FY_E_LIMIT, "diagonal of %lld elements", (long long)n);
    int64_t *at = FY_NEWN(&l->tmp, int64_t, n);
    if (!at) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) at[i] = (off < 0 ? i - off : i) * cols + (off > 0 ? i + off : i);
    fy_value *y = fy_l_reshape(l, transposed(l, x, rank, perm), k + 1, flat);
    return fy_l_ret(l, y ? fy_emit(&l->b, "Gather", FY_V(y, fy_k_ints(&l->b, n, at)), FY_A(fy_int("axis", k))) : NULL);
}

/* ---- sizes ---------------------------------------------------------------------------------------------------------------------------- */

static fy_status give_dim(fy_lower *l, const fy_dim *d) {
    FY_L_OK(l);
    const fy_parg *o = l->n->nout > 0 ? &l->n->out[0] : NULL;
    const fy_pvalue *v = !o ? NULL : o->kind == FY_ARG_SYM ? o->sym.value : o->value;
    if (!d) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    if (v) l->val[v->id].dim = d;
    return FY_OK;
}

/* sym_size.int, size.int, sym_numel */
fy_status fy_lower_sym_size(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x);
    if (l->b.status == FY_OK && fy_l_named(l, "aten.sym_numel")) return give_dim(l, product(l, rank, x->type.dim));
    return give_dim(l, fy_dim_of(l, x, fy_l_axis(l, "dim", rank)));
}

/* Strides only mean something to checks: those of a contiguous tensor. */
fy_status fy_lower_sym_stride(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    if (fy_l_named(l, "aten.sym_storage_offset")) return give_dim(l, fy_l_k(l, 0));
    int axis = fy_l_axis(l, "dim", rank);
    FY_L_OK(l);
    return give_dim(l, product(l, rank - axis - 1, x->type.dim + axis + 1));
}
