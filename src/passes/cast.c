/* SPDX-License-Identifier: Apache-2.0
 * cast.c - Cast(Cast(x)) -> Cast(x) where the dtype between holds every value of x, so that the detour lost nothing. */
#include "passes/match.h"

/* Bits of the integers that a dtype holds exactly: magnitude, and whether negative ones too. Floats: of the significand. */
static int exact_bits(fy_dtype t, bool *negative, bool *is_float) {
    *is_float = fy_dtype_float(t);
    *negative = *is_float || fy_dtype_class(t) == FY_CLASS_I;
    if (t == FERRY_BOOL) return 1;
    if (t == FERRY_DOUBLE) return 53;
    if (t == FERRY_FLOAT) return 24;
    if (t == FERRY_FLOAT16) return 11;
    if (t == FERRY_BFLOAT16) return 8;
    if (*is_float || t == FERRY_STRING || (fy_dtype_class(t) != FY_CLASS_I && fy_dtype_class(t) != FY_CLASS_U)) return 0;
    return fy_dtype_bits(t) - *negative;
}

/* Does `to` hold every value of `from`? */
static bool holds(fy_dtype from, fy_dtype to) {
    bool fn, ff, tn, tf;
    int f = exact_bits(from, &fn, &ff), t = exact_bits(to, &tn, &tf);
    if (from == to) return from != FERRY_UNDEFINED;
    if (!f || !t || to == FERRY_BOOL) return false;
    if (ff) return to == FERRY_DOUBLE || (to == FERRY_FLOAT && (from == FERRY_FLOAT16 || from == FERRY_BFLOAT16));
    return t >= f && (tn || !fn) && !(to == FERRY_FLOAT16 && f > 11);
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    if (!fy_is(n, "Cast") || !n->out[0]) return false;
    fy_node *p = fy_from(n, 0, "Cast");
    if (!p || !holds(fy_dtype_of(fy_in(p, 0)), fy_dtype_of(fy_in(n, 0)))) return false;
    fy_reroute(r, n, 0, fy_in(p, 0));
    return true;
}

fy_status fy_pass_cast(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
