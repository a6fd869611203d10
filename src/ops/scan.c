/* SPDX-License-Identifier: Apache-2.0
 * scan.c - CumSum CumProd: y[i] = x[0] op ... op x[i] along one axis. Sums run in double (floats) or wrap (integers). */
#include "ops/common.h"
#include "ops/move.h"

static fy_status scan_axis(int *axis, const fy_tensor *t, int rank, ferry_error *e) {
    FY_NEED(e, fy_count(t) == 1, SHAPE, "axis has %lld elements; it must be a scalar", (long long)fy_count(t));
    return fy_axis(axis, fy_get_i64(t, 0), rank, e);
}

static fy_status infer_cum(fy_infer *f) {
    int64_t given, n;
    int axis, rank = fy_in_rank(f, 0);
    FY_NEED(f->e, rank != 0, SHAPE, "a scalar has no axis");
    if (rank > 0 && fy_in_ints(f, 1, &given, 1, &n) && n == 1) FY_TRY(fy_axis(&axis, given, rank, f->e));
    return fy_out_like(f, 0, 0);
}

/* Prefix sums of a list of sizes (the offsets of parts) stay symbolic; an axis that is not known could still be refused. */
static fy_status infer_cumsum(fy_infer *f) {
    int64_t n, axis, axes;
    FY_TRY(infer_cum(f));
    const fy_dim *const *e = fy_in_elems(f, 0, &n), *sum = fy_mv_const(f, 0);
    if (!e || fy_in_rank(f, 0) != 1 || !fy_in_ints(f, 1, &axis, 1, &axes) || axes != 1) return FY_OK;
    bool reverse = fy_attr_i(f->node, "reverse") != 0, exclusive = fy_attr_i(f->node, "exclusive") != 0;
    const fy_dim **r = FY_NEWN(f->arena, const fy_dim *, n);
    FY_NOMEM(f->e, r);
    for (int64_t j = 0; j < n; j++) {
        int64_t at = reverse ? n - 1 - j : j;
        if (exclusive) r[at] = sum;
        sum = fy_dim_add(f->dims, sum, e[at]);
        if (!exclusive) r[at] = sum;
    }
    return fy_out_elems(f, 0, n, r);
}

static fy_status ref_cum(const fy_call *c, bool product) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y;
    int axis;
    bool reverse = fy_attr_i(c->node, "reverse") != 0, exclusive = fy_attr_i(c->node, "exclusive") != 0;
    int64_t inner = 1;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(scan_axis(&axis, fy_arg(c, 1), x->rank, c->e));
    for (int a = axis + 1; a < x->rank; a++) inner *= x->dim[a];
    int64_t n = x->dim[axis], total = fy_count(x), block = n * inner;
    bool real = fy_dtype_class(x->dtype) == FY_CLASS_F;
    const double *xf = real ? fy_arg_f64(c, 0) : NULL;
    const int64_t *xi = real ? NULL : fy_arg_i64(c, 0);         /* wrapping is the same for signed and unsigned */
    FY_NOMEM(c->e, xf || xi);
    double *yf = real ? FY_NEWN(c->scratch, double, total) : NULL;
    int64_t *yi = real ? NULL : FY_NEWN(c->scratch, int64_t, total);
    FY_NOMEM(c->e, yf || yi);
    for (int64_t o = 0; block && o < total / block; o++)
        for (int64_t i = 0; i < inner; i++) {
            double sf = product ? 1 : 0;
            uint64_t si = product ? 1 : 0;
            for (int64_t j = 0; j < n; j++) {
                int64_t at = o * block + (reverse ? n - 1 - j : j) * inner + i;
                if (exclusive && real) yf[at] = sf;
                if (exclusive && !real) yi[at] = (int64_t)si;
                if (real) sf = product ? sf * xf[at] : sf + xf[at];
                else si = product ? si * (uint64_t)xi[at] : si + (uint64_t)xi[at];
                if (!exclusive && real) yf[at] = sf;
                if (!exclusive && !real) yi[at] = (int64_t)si;
            }
        }
    if (real) fy_store_f64(y, 0, total, yf);
    else fy_store_i64(y, 0, total, yi);
    return FY_OK;
}

static fy_status ref_cumsum(const fy_call *c) { return ref_cum(c, false); }
static fy_status ref_cumprod(const fy_call *c) { return ref_cum(c, true); }

static const fy_attr_spec cum_attrs[] = {{"exclusive", FY_ATTR_INT, "0"}, {"reverse", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_cum_sum = {.name = "CumSum", .domain = "", .attrs = cum_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 14,
    .first = 11, .types = "T=" FY_T_WIDE ";I=i32,i64|T,I|T", .infer = infer_cumsum, .ref = ref_cumsum, .flags = FY_PURE};
const fy_op fy_op_cum_prod = {.name = "CumProd", .domain = "", .attrs = cum_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 26,
    .first = 26, .types = "T=" FY_T_WIDE ";I=i32,i64|T,I|T", .infer = infer_cum, .ref = ref_cumprod, .flags = FY_PURE};
