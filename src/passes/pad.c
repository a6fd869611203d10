/* SPDX-License-Identifier: Apache-2.0
 * pad.c - Pad with zeros around the spatial axes goes into the pads of the Conv or AveragePool (which then counts them) that reads
 * it; Pad with the lowest value into a MaxPool. */
#include "passes/match.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

/* Pads of every axis of a constant Pad in mode constant; the value in *v. */
static bool pads_of(const fy_node *p, int rank, int64_t *pads, double *v) {
    int64_t given[2 * FY_MAX_RANK], axes[FY_MAX_RANK], n, na = rank;
    const fy_value *x = fy_in(p, 0);
    if (!fy_attr_is(p, "mode", "constant") || fy_v_rank(x) != rank || !fy_ints_of(p, 1, given, 2 * FY_MAX_RANK, &n)) return false;
    for (int i = 0; i < rank; i++) axes[i] = i;
    if (fy_in(p, 3) && !fy_ints_of(p, 3, axes, FY_MAX_RANK, &na)) return false;
    if (n != 2 * na) return false;
    *v = 0;
    if (fy_in(p, 2) && !fy_splat(fy_in(p, 2), v)) return false;
    memset(pads, 0, 2 * (size_t)rank * sizeof *pads);
    for (int64_t i = 0; i < na; i++) {
        int64_t a = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (a < 0 || a >= rank || given[i] < 0 || given[na + i] < 0) return false;
        pads[a] = given[i];
        pads[rank + a] = given[na + i];
    }
    return !pads[0] && !pads[1] && !pads[rank] && !pads[rank + 1];
}

static bool lowest(fy_dtype t, double v) { return (isinf(v) && v < 0) || (t == FERRY_FLOAT && v <= -3.4028234e38) || (t == FERRY_FLOAT16 && v <= -65504); }

static bool rewrite(fy_rewriting *r, fy_node *n) {
    bool conv = fy_is(n, "Conv"), mean = fy_is(n, "AveragePool"), max = fy_is(n, "MaxPool");
    if (!conv && !mean && !max) return false;
    fy_node *p = fy_from(n, 0, "Pad");
    int rank = p ? fy_v_rank(fy_in(n, 0)) : -1, spatial = rank - 2;
    int64_t pads[2 * FY_MAX_RANK], sum[2 * FY_MAX_RANK], count, nk;
    double v;
    if (rank < 3 || rank > FY_MAX_RANK || !fy_sole(fy_in(n, 0)) || !pads_of(p, rank, pads, &v)) return false;
    if (max ? !lowest(fy_dtype_of(fy_in(n, 0)), v) || n->nout > 1 : v != 0) return false;
    const fy_attr *pad_kind = fy_attr_get(n, "auto_pad");
    if (pad_kind && !fy_attr_is(n, "auto_pad", "NOTSET") && !fy_attr_is(n, "auto_pad", "VALID")) return false;
    bool valid = pad_kind && fy_attr_is(n, "auto_pad", "VALID");
    const int64_t *own = valid ? NULL : fy_attr_ints(n, "pads", &count), *kernel = fy_attr_ints(n, "kernel_shape", &nk);
    if ((own && count != 2 * spatial) || (!conv && (!kernel || nk != spatial || fy_attr_i(n, "ceil_mode")))) return false;
    bool padded = false;
    for (int i = 0; i < spatial; i++) {
        padded |= own && (own[i] || own[spatial + i]);
        if (!fy_add_i64(&sum[i], own ? own[i] : 0, pads[2 + i]) || !fy_add_i64(&sum[spatial + i], own ? own[spatial + i] : 0, pads[rank + 2 + i])) return false;
        if (!conv && (sum[i] >= kernel[i] || sum[spatial + i] >= kernel[i])) return false;      /* a window of padding alone */
    }
    if (mean && padded && !fy_attr_i(n, "count_include_pad")) return false;
    if (!fy_set(r, n, fy_ints("pads", 2 * spatial, sum))) return false;
    if (mean && !fy_set(r, n, fy_int("count_include_pad", 1))) return false;
    if (valid) fy_node_del_attr(n, "auto_pad");
    fy_reroute(r, n, 0, fy_in(p, 0));
    return true;
}

fy_status fy_pass_pad(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
