/* SPDX-License-Identifier: Apache-2.0
 * clip.c - limits: Max and Min with constants, Relu and Clip in a row -> one Clip (or Relu). */
#include "passes/match.h"

#include <math.h>

/* n limits x to [lo, hi]. */
static bool limits(const fy_node *n, fy_value **x, double *lo, double *hi) {
    double c;
    *lo = -(double)INFINITY;
    *hi = (double)INFINITY;
    if (!n || !n->nin) return false;
    *x = fy_in(n, 0);
    if (fy_is(n, "Relu")) { *lo = 0; return true; }
    if (fy_is(n, "Clip")) {
        if (fy_in(n, 1) && !fy_scalar(fy_in(n, 1), *x, lo)) return false;
        if (fy_in(n, 2) && !fy_scalar(fy_in(n, 2), *x, hi)) return false;
        return !isnan(*lo) && !isnan(*hi);
    }
    if (fy_with_scalar(n, "Max", x, &c) && !isnan(c)) { *lo = c; return true; }
    if (fy_with_scalar(n, "Min", x, &c) && !isnan(c)) { *hi = c; return true; }
    return false;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    fy_value *mid, *x;
    double lo, hi, a, b;
    if (n->nout < 1 || !n->out[0] || !fy_is_float(n->out[0]) || !limits(n, &mid, &lo, &hi)) return false;
    if (!fy_sole(mid) || !limits(mid->def, &x, &a, &b)) return false;
    if (fy_v_rank(x) < 0 || fy_v_rank(x) != fy_v_rank(n->out[0])) return false;
    double low = fmax(a, lo), high = fmin(b, hi);            /* Clip is min(max(x, lo), hi): the order matters where they cross */
    if (!(a <= b) || !(lo <= hi) || !(low <= high)) return false;
    fy_build k = fy_before(r, n);
    fy_dtype t = fy_dtype_of(n->out[0]);
    fy_value *y;
    if (low == 0 && isinf(high)) y = fy_emit(&k, "Relu", FY_V(x), FY_NOATTR);
    else y = fy_emit(&k, "Clip", FY_V(x, isinf(low) ? NULL : fy_k_scalar(&k, t, low), isinf(high) ? NULL : fy_k_scalar(&k, t, high)), FY_NOATTR);
    return fy_became(r, &k, n, y);
}

fy_status fy_pass_clip(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
