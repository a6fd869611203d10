/* SPDX-License-Identifier: Apache-2.0
 * dim_eval.c - sizes under given values of their symbols, with their symbols replaced, and what they hold. Dims are trees of bounded depth and weight,
 * so both may recurse. */
#include "ir/dim.h"

#include "base/checked.h"

bool fy_dim_wild(const fy_dim *d) {
    if (d->kind == FY_DIM_OPAQUE) return d->lo < 0;
    for (int i = 0; i < d->nargs; i++)
        if (fy_dim_wild(d->arg[i])) return true;             /* of bounded depth */
    return false;
}

bool fy_dim_younger(const fy_dim *d, uint32_t from) {
    if (d->kind == FY_DIM_OPAQUE) return d->id >= from;
    for (int i = 0; i < d->nargs; i++)
        if (fy_dim_younger(d->arg[i], from)) return true;    /* of bounded depth */
    return false;
}

static bool eval(const fy_dim *d, bool (*value_of)(void *ctx, const fy_dim *sym, int64_t *v), void *ctx, int64_t *v) {
    int64_t r, x, y;
    switch (d->kind) {
    case FY_DIM_CONST: *v = d->value; return true;
    case FY_DIM_SYM:
    case FY_DIM_OPAQUE: return value_of && value_of(ctx, d, v);
    case FY_DIM_SUM:
        r = d->value;
        for (int i = 0; i < d->nargs; i++)
            if (!eval(d->arg[i], value_of, ctx, &x) || !fy_add_i64(&r, r, x)) return false;
        *v = r;
        return true;
    case FY_DIM_PROD:
        r = d->value;
        for (int i = 0; i < d->nargs; i++)
            if (!eval(d->arg[i], value_of, ctx, &x) || !fy_mul_i64(&r, r, x)) return false;
        *v = r;
        return true;
    case FY_DIM_FLOORDIV:
    case FY_DIM_CEILDIV:
    case FY_DIM_MOD:
    case FY_DIM_POW:
    case FY_DIM_MIN:
    case FY_DIM_MAX:
        if (!eval(d->arg[0], value_of, ctx, &x) || !eval(d->arg[1], value_of, ctx, &y)) return false;
        break;
    case FY_DIM_SCALE:
        if (!eval(d->arg[0], value_of, ctx, &x) || !fy_mul_i64(&x, x, d->value)) return false;
        y = d->den;
        break;
    default: return false;
    }
    if (d->kind == FY_DIM_MIN || d->kind == FY_DIM_MAX) {
        *v = (d->kind == FY_DIM_MIN) == (x < y) ? x : y;
        return true;
    }
    if (d->kind == FY_DIM_POW) {
        if (y < 0) return false;
        for (r = 1; y > 0; y--) {
            if (r == 0 || (r == 1 && x == 1)) break;
            if (x == -1) { r = y & 1 ? -r : r; break; }
            if (!fy_mul_i64(&r, r, x)) return false;
        }
        *v = r;
        return true;
    }
    if (y == 0 || (x == INT64_MIN && y == -1)) return false;
    r = fy_floor_div(x, y);
    if (d->kind == FY_DIM_MOD) r = x - r * y;
    else if (d->kind == FY_DIM_CEILDIV && x % y != 0) r++;
    *v = r;
    return true;
}

bool fy_dim_eval(const fy_dim *d, bool (*value_of)(void *ctx, const fy_dim *sym, int64_t *v), void *ctx, int64_t *v) {
    return d && eval(d, value_of, ctx, v);
}

static const fy_dim *rebuild(fy_dims *p, const fy_dim *d, const fy_dim *(*sub)(void *ctx, const fy_dim *sym), void *ctx) {
    const fy_dim *r = NULL, *a = NULL, *b = NULL, *by;
    switch (d->kind) {
    case FY_DIM_CONST: return fy_dim_const(p, d->value);                 /* of this pool, whatever pool d is of */
    case FY_DIM_SYM:
    case FY_DIM_OPAQUE: by = sub(ctx, d); return by ? by : d;
    case FY_DIM_SUM:
    case FY_DIM_PROD:
        r = fy_dim_const(p, d->value);
        for (int i = 0; i < d->nargs && r; i++) {
            a = rebuild(p, d->arg[i], sub, ctx);
            r = d->kind == FY_DIM_SUM ? fy_dim_add(p, r, a) : fy_dim_mul(p, r, a);
        }
        return r;
    case FY_DIM_FLOORDIV: case FY_DIM_CEILDIV: case FY_DIM_MOD: case FY_DIM_POW: case FY_DIM_MIN: case FY_DIM_MAX: case FY_DIM_SCALE: break;
    }
    a = rebuild(p, d->arg[0], sub, ctx);
    b = d->nargs > 1 ? rebuild(p, d->arg[1], sub, ctx) : NULL;
    if (!a || (d->nargs > 1 && !b)) return NULL;
    if (a == d->arg[0] && (d->nargs < 2 || b == d->arg[1])) return d;
    switch (d->kind) {
    case FY_DIM_FLOORDIV: return fy_dim_floordiv(p, a, b);
    case FY_DIM_CEILDIV: return fy_dim_ceildiv(p, a, b);
    case FY_DIM_MOD: return fy_dim_mod(p, a, b);
    case FY_DIM_POW: return fy_dim_pow(p, a, b);
    case FY_DIM_MIN: return fy_dim_min(p, a, b);
    case FY_DIM_MAX: return fy_dim_max(p, a, b);
    case FY_DIM_SCALE: return fy_dim_scale(p, a, d->value, d->den);
    case FY_DIM_CONST: case FY_DIM_SYM: case FY_DIM_OPAQUE: case FY_DIM_SUM: case FY_DIM_PROD: break;
    }
    return NULL;
}

const fy_dim *fy_dim_subst(fy_dims *p, const fy_dim *d, const fy_dim *(*sub)(void *ctx, const fy_dim *sym), void *ctx) {
    return d ? rebuild(p, d, sub, ctx) : NULL;
}
