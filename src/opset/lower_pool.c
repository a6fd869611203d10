/* SPDX-License-Identifier: Apache-2.0
 * lower_pool.c - pools with dilations, or with sizes that are rounded up, for opsets that lack or define them otherwise.
 *
 * A sum over windows is a convolution with ones of each channel by itself: averages are such a sum over the number of elements that count,
 * norms its root. Sizes of windows that reach beyond the pads are taken from what inference says of the output. */
#include "opset/internal.h"

#include <string.h>

typedef struct pool {
    int     n;                           /* spatial axes */
    int64_t kernel[FY_MAX_RANK], stride[FY_MAX_RANK], dilation[FY_MAX_RANK], begin[FY_MAX_RANK], end[FY_MAX_RANK];
    int64_t more[FY_MAX_RANK];           /* beyond the end: what windows that were rounded up reach, and what does not count */
    int64_t floor[FY_MAX_RANK], out[FY_MAX_RANK];            /* sizes if rounded down, and as they are; -1 unknown */
    bool    ceil, plain;                 /* plain: no dilation */
} pool;

static bool ints(const fy_step_ctx *x, const char *name, int64_t n, int64_t *v, int64_t def, int64_t least) {
    int64_t have;
    const int64_t *a = fy_attr_ints(x->n, name, &have);
    for (int64_t i = 0; i < n; i++) {
        v[i] = a && have == n ? a[i] : def;
        if (v[i] < least || v[i] > 1 << 20) return false;
    }
    return !a || !have || have == n;
}

static fy_status read_pool(pool *p, fy_step_ctx *x) {
    int64_t pads[2 * FY_MAX_RANK];
    *p = (pool){.n = fy_step_rank(x, 0) - 2, .ceil = fy_step_int(x, "ceil_mode", 0), .plain = true};
    FY_STEP_NEED(x, p->n >= 1, "it must be written out for this opset, and the rank is not known");
    FY_NEED(x->e, ints(x, "kernel_shape", p->n, p->kernel, 1, 1) && ints(x, "strides", p->n, p->stride, 1, 1) && ints(x, "dilations", p->n, p->dilation, 1, 1) &&
            ints(x, "pads", 2 * p->n, pads, 0, 0), ATTR, "%s: sizes are out of range", x->n->op->name);
    bool same = fy_step_text(x, "auto_pad", "SAME_UPPER", "NOTSET"), lower = fy_step_text(x, "auto_pad", "SAME_LOWER", "NOTSET"), valid = fy_step_text(x, "auto_pad", "VALID", "NOTSET");
    for (int i = 0; i < p->n; i++) {
        int64_t in = fy_step_known(fy_in(x->n, 0), 2 + i), reach = p->dilation[i] * (p->kernel[i] - 1) + 1, s = p->stride[i];
        p->plain &= p->dilation[i] == 1;
        p->out[i] = fy_step_known(fy_outv(x->n, 0), 2 + i);
        FY_STEP_NEED(x, (in >= 0 && p->out[i] >= 0) || !(same || lower || p->ceil), "it must be written out for this opset, and the size of axis %d is not known", 2 + i);
        p->begin[i] = valid ? 0 : pads[i];
        p->end[i] = valid ? 0 : pads[p->n + i];
        if (same || lower) {
            int64_t total = (p->out[i] - 1) * s + reach - in;
            p->begin[i] = total > 0 ? (total + lower) / 2 : 0;
            p->end[i] = total > 0 ? total - p->begin[i] : 0;
        }
        p->floor[i] = in < 0 ? -1 : (in + p->begin[i] + p->end[i] - reach) / s + 1;
        if (p->ceil && (p->out[i] - 1) * s + reach > in + p->begin[i] + p->end[i]) p->more[i] = (p->out[i] - 1) * s + reach - in - p->begin[i] - p->end[i];
    }
    return FY_OK;
}

/* begin and end around the spatial axes, filled with `fill`. */
static fy_value *padded(fy_step_ctx *x, const pool *p, fy_value *v, const int64_t *begin, const int64_t *end, double fill) {
    int64_t pads[2 * FY_MAX_RANK] = {0};
    bool any = false;
    for (int i = 0; i < p->n; i++) {
        pads[2 + i] = begin ? begin[i] : 0;
        pads[p->n + 4 + i] = end[i];
        any |= pads[2 + i] || end[i];
    }
    return any ? fy_x3(x, "Pad", v, fy_k_ints(&x->b, 2 * p->n + 4, pads), fy_k_scalar(&x->b, v ? v->type.dtype : FERRY_FLOAT, fill)) : v;
}

static fy_value *sums(fy_step_ctx *x, const pool *p, fy_value *v, fy_dtype s) {
    int64_t dim[FY_MAX_RANK] = {1, 1};
    for (int i = 0; i < p->n; i++) dim[2 + i] = p->kernel[i];
    const fy_const *ones = fy_const_splat(&x->m->arena, s, p->n + 2, dim, 1);
    if (!ones) return fy_fail_value(&x->b, FY_E_NOMEM, "out of memory");
    return fy_emit(&x->b, "Conv", FY_V(v, fy_k_const(&x->b, ones, NULL)), FY_A(fy_ints("kernel_shape", p->n, p->kernel), fy_ints("strides", p->n, p->stride),
                                                                            fy_ints("dilations", p->n, p->dilation)));
}

static fy_status as_convolution(fy_step_ctx *x, const pool *p) {
    fy_build *b = &x->b;
    fy_dtype t = fy_step_dtype(x, 0), s = t == FERRY_DOUBLE ? t : FERRY_FLOAT;
    FY_STEP_NEED(x, t, "it must be written out for this opset, and its type is not known");
    FY_OPSET_REPLACES(x);
    bool average = !strcmp(x->n->op->name, "AveragePool"), include = fy_step_int(x, "count_include_pad", 0);
    int64_t order = fy_step_int(x, "p", 2);
    fy_value *in = fy_in(x->n, 0), *shape = fy_x1(x, "Shape", in), *space = fy_step_slice(b, shape, 0, 2, INT64_MAX), *v = fy_b_cast(b, in, s);
    v = fy_x2(x, "Reshape", v, fy_b_concat(b, 2, (fy_value *[]){fy_k_ints(b, 2, (int64_t[]){-1, 1}), space}, 0));
    if (!average) v = order == 1 ? fy_x1(x, "Abs", v) : order == 2 ? fy_x2(x, "Mul", v, v) : fy_x2(x, "Pow", fy_x1(x, "Abs", v), fy_k_scalar(b, s, (double)order));
    v = sums(x, p, padded(x, p, padded(x, p, v, p->begin, p->end, 0), NULL, p->more, 0), s);
    if (average) {
        fy_value *ones = fy_x2(x, "Expand", fy_k_scalar(b, s, 1), fy_b_concat(b, 2, (fy_value *[]){fy_k_ints(b, 2, (int64_t[]){1, 1}), space}, 0));
        v = fy_x2(x, "Div", v, sums(x, p, padded(x, p, padded(x, p, ones, p->begin, p->end, include), NULL, p->more, 0), s));
    } else if (order == 2) v = fy_x1(x, "Sqrt", v);
    else if (order != 1) v = fy_x2(x, "Pow", v, fy_k_scalar(b, s, 1 / (double)order));
    fy_value *to = fy_b_concat(b, 2, (fy_value *[]){fy_step_slice(b, shape, 0, 0, 2), fy_step_slice(b, fy_x1(x, "Shape", v), 0, 2, INT64_MAX)}, 0);
    return fy_step_replace(x, fy_b_cast(b, fy_x2(x, "Reshape", v, to), t));
}

/* 19 brought dilations to AveragePool, 18 dilations and ceil_mode to LpPool. */
fy_status fy_lower_pool_dilated(fy_step_ctx *x) {
    pool p;
    int64_t n;
    const int64_t *d = fy_attr_ints(x->n, "dilations", &n);
    bool ones = true, ceil = fy_step_int(x, "ceil_mode", 0) && !strcmp(x->n->op->name, "LpPool");
    for (int64_t i = 0; d && i < n; i++) ones &= d[i] == 1;
    if (!ones || ceil) {
        FY_TRY(read_pool(&p, x));
        return as_convolution(x, &p);
    }
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "dilations");
    if (!strcmp(x->n->op->name, "LpPool")) fy_node_del_attr(x->n, "ceil_mode");
    return FY_OK;
}

/* Since 22 a window that would start in the end pad is left out. Before, sizes were simply rounded up: axes that come out as rounded down are
 * left so, and others get the pad that makes them as large. */
fy_status fy_lower_pool22(fy_step_ctx *x) {
    pool p;
    if (!fy_step_int(x, "ceil_mode", 0)) return FY_OK;
    int rank = fy_step_rank(x, 0);
    for (int i = 2; i < rank; i++)
        if (fy_step_known(fy_in(x->n, 0), i) < 0 || fy_step_known(fy_outv(x->n, 0), i) < 0) return FY_OK;      /* who runs it decides */
    if (rank < 3) return FY_OK;
    FY_TRY(read_pool(&p, x));
    bool differs = false, rounded = false;
    for (int i = 0; i < p.n; i++) {
        int64_t in = fy_step_known(fy_in(x->n, 0), 2 + i), reach = p.dilation[i] * (p.kernel[i] - 1) + 1, room = in + p.begin[i] + p.end[i] - reach;
        differs |= (room + p.stride[i] - 1) / p.stride[i] + 1 != p.out[i];
        rounded |= p.out[i] > p.floor[i];
    }
    if (!differs) return FY_OK;
    if (rounded && !strcmp(x->n->op->name, "AveragePool") && fy_step_int(x, "count_include_pad", 0)) return as_convolution(x, &p);
    FY_OPSET_CHECKED(x);
    int64_t pads[2 * FY_MAX_RANK];
    for (int i = 0; i < p.n; i++) pads[i] = p.begin[i], pads[p.n + i] = p.end[i] + p.more[i];
    fy_node_del_attr(x->n, "ceil_mode");
    fy_node_del_attr(x->n, "auto_pad");
    return fy_step_set_attr(x, fy_ints("pads", 2 * p.n, pads));
}
