/* SPDX-License-Identifier: Apache-2.0
 * lower_reduce.c - along axes: sums, means, extremes, norms, variances, scans, order. */
#include "aten/lower.h"

#include <math.h>
#include <string.h>

/* The axes of the argument `dim` (all, if there is none), with keepdim. */
typedef struct along { fy_value *x; int rank, n; int64_t axis[FY_MAX_RANK]; bool keep; } along;

static along reading(fy_lower *l) {
    along r = {.x = fy_l_tensor(l, "self")};
    r.rank = fy_rank(l, r.x);
    r.n = fy_l_axes(l, "dim", r.rank, r.axis);
    r.keep = fy_l_has(l, "keepdim") && fy_l_bool(l, "keepdim");
    return r;
}

static fy_value *reduced(fy_lower *l, const char *op, const along *r, fy_value *x) { return fy_l_reduce(l, op, x, r->n, r->axis, r->keep); }

static bool integral(fy_dtype t) { return fy_dtype_int(t) || t == FERRY_BOOL; }

/* sum, prod, mean: integers sum as i64; dtype casts first */
fy_status fy_lower_sum(fy_lower *l) {
    along r = reading(l);
    if (!r.x) return fy_l_ret(l, NULL);
    bool mean = strstr(l->n->op, "mean") != NULL, nan = strncmp(l->n->op, "aten.nan", 8) == 0;
    fy_dtype t = fy_l_dtype(l, "dtype", mean ? fy_to_float(r.x->type.dtype) : integral(r.x->type.dtype) ? FERRY_INT64 : r.x->type.dtype);
    fy_value *x = fy_b_cast(&l->b, r.x, t);
    if (nan && fy_dtype_float(t)) {
        fy_value *bad = fy_l_named_op(l, "IsNaN", x);
        x = fy_l_where(l, bad, fy_k_scalar(&l->b, t, 0), x);
        if (mean) return fy_l_ret(l, fy_l_binary(l, "Div", reduced(l, "ReduceSum", &r, x), reduced(l, "ReduceSum", &r, fy_b_cast(&l->b, fy_l_named_op(l, "Not", bad), t))));
    }
    return fy_l_ret(l, reduced(l, mean ? "ReduceMean" : fy_l_named(l, "aten.prod") ? "ReduceProd" : "ReduceSum", &r, x));
}

/* amax, amin, max, min of all */
fy_status fy_lower_amax(fy_lower *l) {
    along r = reading(l);
    return fy_l_ret(l, reduced(l, strstr(l->n->op, "max") ? "ReduceMax" : "ReduceMin", &r, r.x));
}

static fy_value *arg_extreme(fy_lower *l, bool max, fy_value *x, int axis, bool keep) {
    if (x && x->type.dtype == FERRY_BOOL) x = fy_b_cast(&l->b, x, FERRY_UINT8);
    return x ? fy_emit(&l->b, max ? "ArgMax" : "ArgMin", FY_V(x), FY_A(fy_int("axis", axis), fy_int("keepdims", keep))) : NULL;
}

/* max.dim, min.dim: values and indices */
fy_status fy_lower_max_dim(fy_lower *l) {
    along r = reading(l);
    bool max = strstr(l->n->op, "max") != NULL;
    FY_L_OK(l);
    if (r.rank == 0) {
        fy_l_out(l, 1, fy_k_i64(&l->b, 0));
        return fy_l_ret(l, r.x);
    }
    if (fy_l_wanted(l, 1)) fy_l_out(l, 1, arg_extreme(l, max, r.x, (int)r.axis[0], r.keep));
    return fy_l_ret(l, reduced(l, max ? "ReduceMax" : "ReduceMin", &r, r.x));
}

fy_status fy_lower_aminmax(fy_lower *l) {
    along r = reading(l);
    fy_l_out(l, 1, reduced(l, "ReduceMax", &r, r.x));
    return fy_l_ret(l, reduced(l, "ReduceMin", &r, r.x));
}

fy_status fy_lower_argmax(fy_lower *l) {
    along r = reading(l);
    bool max = fy_l_named(l, "aten.argmax");
    FY_L_OK(l);
    if (r.rank == 0) return fy_l_ret(l, fy_k_i64(&l->b, 0));
    if (fy_l_has(l, "dim")) return fy_l_ret(l, arg_extreme(l, max, r.x, (int)r.axis[0], r.keep));
    const fy_dim *n = fy_l_k(l, 1), *one[FY_MAX_RANK];
    for (int i = 0; i < r.rank; i++) { n = fy_dim_mul(l->m->dims, n, r.x->type.dim[i]); one[i] = fy_l_k(l, 1); }
    fy_value *y = arg_extreme(l, max, fy_l_reshape(l, r.x, 1, &n), 0, false);
    return fy_l_ret(l, r.keep && y ? fy_l_reshape(l, y, r.rank, one) : y);
}

/* any, all, _is_all_true: the largest or smallest truth value */
fy_status fy_lower_any(fy_lower *l) {
    along r = reading(l);
    if (!r.x) return fy_l_ret(l, NULL);
    return fy_l_ret(l, reduced(l, strstr(l->n->op, "any") ? "ReduceMax" : "ReduceMin", &r, fy_b_cast(&l->b, r.x, FERRY_BOOL)));
}

fy_status fy_lower_count_nonzero(fy_lower *l) {
    along r = reading(l);
    if (!r.x) return fy_l_ret(l, NULL);
    return fy_l_ret(l, reduced(l, "ReduceSum", &r, fy_b_cast(&l->b, fy_b_cast(&l->b, r.x, FERRY_BOOL), FERRY_INT64)));
}

/* var, std, var_mean: sum((x - mean)^2) / (n - correction) */
fy_status fy_lower_var(fy_lower *l) {
    along r = reading(l);
    if (!r.x) return fy_l_ret(l, NULL);
    double correction = 1;
    if (fy_l_is(l, "aten.var.correction") || fy_l_is(l, "aten.std.correction") || fy_l_is(l, "aten.var_mean.correction")) correction = fy_l_has(l, "correction") ? fy_l_float(l, "correction") : 1;
    else if (fy_l_has(l, "unbiased")) correction = fy_l_bool(l, "unbiased");
    fy_dtype t = r.x->type.dtype;
    const fy_dim *n = fy_l_k(l, 1);
    for (int i = 0; i < r.n; i++) n = fy_dim_mul(l->m->dims, n, r.x->type.dim[r.axis[i]]);
    fy_value *mean = fy_l_reduce(l, "ReduceMean", r.x, r.n, r.axis, true), *d = fy_l_binary(l, "Sub", r.x, mean);
    fy_value *sq = fy_l_binary(l, "Mul", d, d), *var;
    int64_t count;
    if (correction == 0) var = reduced(l, "ReduceMean", &r, sq);
    else if (n && fy_dim_known(n, &count)) {
        double rest = (double)count - correction;
        var = fy_l_binary(l, "Div", reduced(l, "ReduceSum", &r, sq), fy_k_scalar(&l->b, t, rest > 0 ? rest : 0));
    } else {
        fy_value *rest = fy_l_binary(l, "Sub", fy_b_cast(&l->b, fy_l_size_scalar(l, n), t), fy_k_scalar(&l->b, t, correction));
        var = fy_l_binary(l, "Div", reduced(l, "ReduceSum", &r, sq), rest);
    }
    if (fy_l_named(l, "aten.var_mean")) fy_l_out(l, 1, reduced(l, "ReduceMean", &r, r.x));
    return fy_l_ret(l, fy_l_named(l, "aten.std") ? fy_l_named_op(l, "Sqrt", var) : var);
}

/* linalg_vector_norm, norm.*, frobenius_norm */
fy_status fy_lower_norm(fy_lower *l) {
    along r = reading(l);
    if (!r.x) return fy_l_ret(l, NULL);
    if (fy_l_named(l, "aten.linalg_norm") && fy_l_has(l, "ord") && r.n != 1) return fy_l_fail(l, FY_E_UNSUPPORTED, "linalg_norm of matrices");
    double p = fy_l_named(l, "aten.linalg_vector_norm") || (fy_l_named(l, "aten.linalg_norm") && fy_l_has(l, "ord")) ? fy_l_float(l, "ord") : fy_l_has(l, "p") ? fy_l_float(l, "p") : 2;
    fy_dtype t = fy_l_dtype(l, "dtype", r.x->type.dtype);
    fy_build *b = &l->b;
    fy_value *x = fy_b_cast(b, r.x, t), *y;
    if (p == 2) y = reduced(l, "ReduceL2", &r, x);
    else if (p == 1) y = reduced(l, "ReduceL1", &r, x);
    else if (isinf(p)) y = reduced(l, p > 0 ? "ReduceMax" : "ReduceMin", &r, fy_l_named_op(l, "Abs", x));
    else if (p == 0) y = reduced(l, "ReduceSum", &r, fy_b_cast(b, fy_b_cast(b, x, FERRY_BOOL), t));
    else y = fy_l_binary(l, "Pow", reduced(l, "ReduceSum", &r, fy_l_binary(l, "Pow", fy_l_named_op(l, "Abs", x), fy_k_scalar(b, t, p))), fy_k_scalar(b, t, 1 / p));
    if (r.n == 0 && p != 0) y = fy_l_named_op(l, "Abs", x);          /* of one number */
    return fy_l_ret(l, y);
}

fy_status fy_lower_logsumexp(fy_lower *l) {
    along r = reading(l);
    if (!r.x) return fy_l_ret(l, NULL);
    return fy_l_ret(l, reduced(l, "ReduceLogSumExp", &r, fy_b_cast(&l->b, r.x, fy_to_float(r.x->type.dtype))));
}

/* cumsum, cumprod: integers as i64 */
fy_status fy_lower_cumsum(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    if (!x) return fy_l_ret(l, NULL);
    int rank = fy_rank(l, x), axis = fy_l_axis(l, "dim", rank);
    x = fy_b_cast(&l->b, x, fy_l_dtype(l, "dtype", integral(x->type.dtype) ? FERRY_INT64 : x->type.dtype));
    if (rank == 0) return fy_l_ret(l, x);
    return fy_l_ret(l, fy_l_binary(l, fy_l_named(l, "aten.cumprod") ? "CumProd" : "CumSum", x, fy_k_i64(&l->b, axis)));
}

/* ---- order ------------------------------------------------------------------------------------------------------------------ */

fy_status fy_lower_topk(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x), axis = fy_l_axis(l, "dim", rank);
    bool top = fy_l_named(l, "aten.topk"), largest = top ? fy_l_bool(l, "largest") : fy_l_has(l, "descending") && fy_l_bool(l, "descending");
    bool sorted = !top || fy_l_bool(l, "sorted"), only_indices = fy_l_named(l, "aten.argsort");
    FY_L_OK(l);
    if (rank == 0) {
        fy_l_out(l, 1, fy_k_i64(&l->b, 0));
        return fy_l_ret(l, only_indices ? fy_k_i64(&l->b, 0) : x);
    }
    fy_dtype t = x->type.dtype;
    if (t == FERRY_BOOL) x = fy_b_cast(&l->b, x, FERRY_UINT8);
    const fy_dim *k = top ? fy_l_dim(l, "k") : fy_dim_of(l, x, axis);
    fy_node *n = k ? fy_emit_n(&l->b, "TopK", 2, FY_V(x, fy_l_size(l, k)), FY_A(fy_int("axis", axis), fy_int("largest", largest), fy_int("sorted", sorted))) : NULL;
    if (!n) return fy_l_ret(l, NULL);
    if (only_indices) return fy_l_ret(l, n->out[1]);
    fy_l_out(l, 1, n->out[1]);
    return fy_l_ret(l, fy_b_cast(&l->b, n->out[0], t));
}

/* median.dim: the lower middle one of the sorted axis */
fy_status fy_lower_median(fy_lower *l) {
    along r = reading(l);
    int64_t n;
    FY_L_OK(l);
    if (r.rank == 0 || !fy_const_dim(r.x, (int)r.axis[0], &n)) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s of a dynamic axis", l->n->op);
    int64_t axis = r.axis[0], k = (n + 1) / 2;
    fy_node *top = fy_emit_n(&l->b, "TopK", 2, FY_V(r.x, fy_k_ints(&l->b, 1, &k)), FY_A(fy_int("axis", axis), fy_int("largest", 0)));
    if (!top) return l->b.status;
    for (int i = 0; i < 2; i++) {
        fy_value *v = fy_l_slice(l, top->out[i], (int)axis, fy_l_k(l, k - 1), fy_l_k(l, k), 1);
        fy_l_out(l, i, r.keep || !v ? v : fy_b_squeeze(&l->b, v, (int)axis));
    }
    return l->b.status;
}

/* Does unique give output i: which group each is in (1), how large they are (2)? Not asked for, it is empty, but along an axis. */
static bool asked(fy_lower *l, int i) {
    if (fy_l_bool(l, i == 1 ? "return_inverse" : "return_counts") || fy_l_has(l, "dim")) return fy_l_wanted(l, i);
    if (fy_l_wanted(l, i)) fy_l_out(l, i, fy_k_ints(&l->b, 0, NULL));
    return false;
}

/* _unique2, unique_dim: ascending, each once */
fy_status fy_lower_unique(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x), axis = fy_l_named(l, "aten.unique_dim") ? fy_l_axis(l, "dim", rank) : -1;
    FY_L_OK(l);
    fy_dtype t = x->type.dtype, as = integral(t) ? FERRY_INT64 : t == FERRY_DOUBLE ? t : FERRY_FLOAT;      /* what others have it for */
    fy_value *y = fy_b_cast(&l->b, x, as);
    fy_node *n = axis < 0 ? fy_emit_n(&l->b, "Unique", 4, FY_V(y), FY_NOATTR) : fy_emit_n(&l->b, "Unique", 4, FY_V(y), FY_A(fy_int("axis", axis)));
    if (!n) return l->b.status;
    if (asked(l, 1)) fy_l_out(l, 1, axis < 0 ? fy_l_reshape(l, n->out[2], rank, x->type.dim) : n->out[2]);
    if (asked(l, 2)) fy_l_out(l, 2, n->out[3]);
    return fy_l_ret(l, fy_b_cast(&l->b, n->out[0], t));
}

/* unique_consecutive: where an element (a slice of an axis) differs from the one before it, another group begins. */
fy_status fy_lower_unique_consecutive(fy_lower *l) {
    fy_build *b = &l->b;
    fy_value *x = fy_l_tensor(l, "self"), *flat = x;
    bool whole = !fy_l_has(l, "dim");
    int64_t all[1] = {-1}, others[FY_MAX_RANK];
    int rank = fy_rank(l, x), axis = whole ? 0 : fy_l_axis_in(l, "dim", rank), nothers = 0;
    FY_L_OK(l);
    if (whole) flat = fy_emit(b, "Reshape", FY_V(x, fy_k_ints(b, 1, all)), FY_NOATTR);
    for (int i = 0; i < rank && !whole; i++)
        if (i != axis) others[nothers++] = i;
    const fy_dim *n = fy_dim_of(l, flat, axis);
    fy_value *next = fy_l_slice(l, flat, axis, fy_l_k(l, 1), fy_l_k(l, INT64_MAX), 1), *last = fy_l_slice(l, flat, axis, fy_l_k(l, 0), fy_l_k(l, -1), 1);
    fy_value *new = fy_l_named_op(l, "Not", fy_l_binary(l, "Equal", last, next));
    if (nothers) new = fy_b_cast(b, fy_l_reduce(l, "ReduceMax", fy_b_cast(b, new, FERRY_INT32), nothers, others, false), FERRY_BOOL);
    new = fy_b_concat(b, 2, (fy_value *[]){fy_b_cast(b, fy_k_ints(b, 1, (int64_t[]){1}), FERRY_BOOL), new}, 0);
    new = fy_l_slice(l, new, 0, fy_l_k(l, 0), n, 1);         /* of nothing: none */
    if (asked(l, 1)) {
        fy_value *group = fy_l_binary(l, "Sub", fy_l_binary(l, "CumSum", fy_b_cast(b, new, FERRY_INT64), fy_k_i64(b, 0)), fy_k_i64(b, 1));
        fy_l_out(l, 1, whole ? fy_l_reshape(l, group, rank, x->type.dim) : group);
    }
    if (asked(l, 2)) {
        fy_value *at = fy_emit(b, "NonZero", FY_V(new), FY_NOATTR);
        at = at ? fy_b_squeeze(b, at, 0) : NULL;
        fy_value *end = fy_b_concat(b, 2, (fy_value *[]){fy_l_slice(l, at, 0, fy_l_k(l, 1), fy_l_k(l, INT64_MAX), 1), fy_l_size(l, n)}, 0);
        fy_l_out(l, 2, fy_l_binary(l, "Sub", end, at));
    }
    return fy_l_ret(l, new ? fy_emit(b, "Compress", FY_V(flat, new), FY_A(fy_int("axis", axis))) : NULL);
}

/* Counts in equal bins between two known limits, the last one closed; what lies outside counts nowhere. */
fy_status fy_lower_histc(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int64_t bins = fy_l_int(l, "bins"), last = 0, all[1] = {-1};
    double lo = fy_l_float(l, "min"), hi = fy_l_float(l, "max");
    fy_build *b = &l->b;
    if (!x) return fy_l_ret(l, NULL);
    if (lo == hi) return fy_l_fail(l, FY_E_UNSUPPORTED, "histc between the least and the greatest element; give min and max");
    if (bins < 1 || bins > 65536 || lo > hi) return fy_l_fail(l, FY_E_VALUE, "histc with %lld bins from %g to %g", (long long)bins, lo, hi);
    fy_dtype t = x->type.dtype, work = t == FERRY_DOUBLE ? t : FERRY_FLOAT;
    fy_value *y = fy_emit(b, "Reshape", FY_V(fy_b_cast(b, x, work), fy_k_ints(b, 1, all)), FY_NOATTR);
    fy_value *low = fy_k_scalar(b, work, lo), *high = fy_k_scalar(b, work, hi);
    fy_value *at = fy_l_binary(l, "Mul", fy_l_binary(l, "Sub", y, low), fy_k_scalar(b, work, (double)bins / (hi - lo)));
    at = fy_l_binary(l, "Min", fy_l_named_op(l, "Floor", at), fy_k_scalar(b, work, (double)(bins - 1)));
    fy_value *in = fy_l_binary(l, "And", fy_l_binary(l, "GreaterOrEqual", y, low), fy_l_binary(l, "LessOrEqual", y, high));
    at = fy_l_where(l, in, at, fy_k_scalar(b, work, -1));
    fy_value *bin = fy_emit(b, "Range", FY_V(fy_k_scalar(b, work, 0), fy_k_scalar(b, work, (double)bins), fy_k_scalar(b, work, 1)), FY_NOATTR);
    fy_value *hit = fy_l_binary(l, "Equal", at ? fy_b_unsqueeze(b, at, 1) : NULL, bin);
    return fy_l_ret(l, hit ? fy_l_reduce(l, "ReduceSum", fy_b_cast(b, hit, t), 1, &last, false) : NULL);
}

/* bincount: zeros, as many as the largest number asks for, to which ones or weights are added */
fy_status fy_lower_bincount(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self"), *weights = fy_l_tensor(l, "weights");
    int64_t least = fy_l_int(l, "minlength"), first = 0;
    fy_build *b = &l->b;
    if (fy_rank(l, x) != 1) return fy_l_fail(l, FY_E_SHAPE, "bincount of rank %d", fy_rank(l, x));
    fy_dtype t = !weights ? FERRY_INT64 : weights->type.dtype == FERRY_FLOAT ? FERRY_FLOAT : FERRY_DOUBLE;
    x = fy_b_cast(b, x, FERRY_INT64);
    fy_value *add = weights ? fy_b_cast(b, weights, t) : x ? fy_l_full(l, 1, x->type.dim, fy_k_scalar(b, t, 1)) : NULL;
    fy_value *top = x ? fy_b_concat(b, 2, (fy_value *[]){x, fy_k_ints(b, 1, (int64_t[]){least - 1})}, 0) : NULL;       /* nothing counted: the least */
    fy_value *size = fy_l_binary(l, "Add", fy_l_reduce(l, "ReduceMax", top, 1, &first, true), fy_k_i64(b, 1));
    fy_value *bins = size ? fy_emit(b, "Expand", FY_V(fy_k_scalar(b, t, 0), size), FY_NOATTR) : NULL;
    return fy_l_ret(l, bins && add ? fy_emit(b, "ScatterElements", FY_V(bins, x, add), FY_A(fy_int("axis", 0), fy_text("reduction", "add"))) : NULL);
}
