/* SPDX-License-Identifier: Apache-2.0
 * lower_grid.c - AffineGrid and GridSample written out, for any number of spatial axes D.
 *
 * GridSample: the taps of all axes are taken at once. Each axis gives K positions and K weights for every point, [N, P, K]; their products over
 * the axes are [N, P, K^D] indices into the flattened image and weights; y = sum over taps of image[index] * weight. */
#include "opset/internal.h"

#include <string.h>

static fy_value *k(fy_step_ctx *x, fy_dtype t, double v) { return fy_k_scalar(&x->b, t, v); }
static fy_value *ints(fy_step_ctx *x, int64_t n, const int64_t *v) { return fy_k_ints(&x->b, n, v); }
#define INTS(...) ints(x, (int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

/* y[n, ..., :] = theta[n] (coordinates, 1) over a regular grid */
fy_status fy_lower_affine_grid20(fy_step_ctx *x) {
    fy_build *b = &x->b;
    int64_t d = fy_step_known(fy_in(x->n, 0), 1), len = fy_step_known(fy_in(x->n, 1), 0), one_axis[FY_MAX_RANK];
    fy_dtype t = fy_step_dtype(x, 0);
    if (d < 0 && len >= 0) d = len - 2;
    FY_STEP_NEED(x, d >= 1 && d <= 3 && t, "AffineGrid must be written out for this opset, and type or number of axes are not known");
    FY_OPSET_REPLACES(x);
    fy_dtype s = t == FERRY_DOUBLE ? t : FERRY_FLOAT;
    bool align = fy_step_int(x, "align_corners", 0);
    fy_value *size = fy_in(x->n, 1), *space = fy_step_slice(b, size, 0, 2, INT64_MAX), *list[4];
    for (int j = 0; j < d; j++) {                            /* coordinate j belongs to the axis that is j-th from the end */
        int64_t axis = d - 1 - j, n = 0;
        fy_value *count = fy_x2(x, "Gather", size, fy_k_i64(b, axis + 2)), *at = fy_b_cast(b, fy_step_iota(b, count), s);
        count = fy_b_cast(b, count, s);
        if (align) at = fy_x2(x, "Div", fy_x2(x, "Mul", at, k(x, s, 2)), fy_x2(x, "Max", fy_x2(x, "Sub", count, k(x, s, 1)), k(x, s, 1)));
        else at = fy_x2(x, "Div", fy_x2(x, "Add", fy_x2(x, "Mul", at, k(x, s, 2)), k(x, s, 1)), count);
        at = fy_x2(x, "Sub", at, k(x, s, 1));
        for (int a = 0; a <= d; a++)
            if (a != axis) one_axis[n++] = a;
        list[j] = fy_x2(x, "Expand", fy_x2(x, "Unsqueeze", at, ints(x, n, one_axis)), fy_b_concat(b, 2, (fy_value *[]){space, INTS(1)}, 0));
    }
    list[d] = fy_x2(x, "Expand", k(x, s, 1), fy_b_concat(b, 2, (fy_value *[]){space, INTS(1)}, 0));
    fy_value *points = fy_x2(x, "Reshape", fy_b_concat(b, (int)d + 1, list, (int)d), INTS(-1, d + 1));
    fy_value *theta = fy_b_transpose(b, fy_b_cast(b, fy_in(x->n, 0), s), (int[]){0, 2, 1});
    fy_value *shape = fy_b_concat(b, 3, (fy_value *[]){fy_step_slice(b, size, 0, 0, 1), space, INTS(d)}, 0);
    return fy_step_replace(x, fy_b_cast(b, fy_x2(x, "Reshape", fy_x2(x, "MatMul", points, theta), shape), t));
}

/* ---- GridSample ---------------------------------------------------------------------------------------------------- */

typedef struct sample {
    fy_dtype s;                          /* what positions and weights are computed in */
    int      mode;                       /* 0 nearest, 1 linear, 2 cubic */
    int      pad;                        /* 0 zeros, 1 border, 2 reflection */
    bool     align, pixels;              /* pixels: positions are given as they are, not from -1 to 1 */
} sample;

/* Folded back into [lo, hi]: lo + min(r, 2 span - r) with r = |p - lo| mod 2 span */
static fy_value *reflect(fy_step_ctx *x, const sample *g, fy_value *p, fy_value *size) {
    double low = g->align ? 0 : -0.5;
    fy_value *span = fy_x2(x, "Max", g->align ? fy_x2(x, "Sub", size, k(x, g->s, 1)) : size, k(x, g->s, 1e-6)), *twice = fy_x2(x, "Add", span, span);
    fy_value *r = fy_emit(&x->b, "Mod", FY_V(fy_x1(x, "Abs", fy_x2(x, "Sub", p, k(x, g->s, low))), twice), FY_A(fy_int("fmod", 1)));
    return fy_x2(x, "Add", fy_x2(x, "Min", r, fy_x2(x, "Sub", twice, r)), k(x, g->s, low));
}

/* Keys' cubic with a = -0.75 at distance t of 4 taps; the first and last are further than 1 away. */
static fy_value *cubic(fy_step_ctx *x, fy_dtype s, fy_value *t) {
    const double a = -0.75;
    static const bool outer[4] = {true, false, false, true};
    fy_build *b = &x->b;
    fy_value *in = fy_x2(x, "Sub", fy_x2(x, "Mul", t, k(x, s, a + 2)), k(x, s, a + 3));
    in = fy_x2(x, "Add", fy_x2(x, "Mul", fy_x2(x, "Mul", in, t), t), k(x, s, 1));
    fy_value *out = fy_x2(x, "Sub", fy_x2(x, "Mul", t, k(x, s, a)), k(x, s, 5 * a));
    out = fy_x2(x, "Add", fy_x2(x, "Mul", out, t), k(x, s, 8 * a));
    out = fy_x2(x, "Sub", fy_x2(x, "Mul", out, t), k(x, s, 4 * a));
    const fy_const *c = fy_const_copy(&x->m->arena, FERRY_BOOL, 1, (int64_t[]){4}, outer);
    return fy_x3(x, "Where", c ? fy_k_const(b, c, NULL) : fy_fail_value(b, FY_E_NOMEM, "out of memory"), out, in);
}

/* Positions (i64) and weights of one axis, [N, P, K]; inside: where a tap is on the image, NULL if all are. */
static void taps(fy_step_ctx *x, const sample *g, fy_value *v, fy_value *count, fy_value **at, fy_value **weight, fy_value **inside) {
    static const double offsets[3][4] = {{0}, {0, 1}, {-1, 0, 1, 2}};
    fy_build *b = &x->b;
    fy_value *size = fy_b_cast(b, count, g->s), *zero = k(x, g->s, 0), *one = k(x, g->s, 1), *last = fy_x2(x, "Sub", size, one), *p = g->pixels ? v : fy_x2(x, "Add", v, one);
    if (!g->pixels && g->align) p = fy_x2(x, "Mul", fy_x2(x, "Mul", p, k(x, g->s, 0.5)), last);
    else if (!g->pixels) p = fy_x2(x, "Mul", fy_x2(x, "Sub", fy_x2(x, "Mul", p, size), one), k(x, g->s, 0.5));
    if (g->mode == 0) p = fy_x1(x, "Round", p);
    p = fy_x3(x, "Where", fy_x1(x, "IsNaN", p), k(x, g->s, g->pad ? 0 : -100), p);
    if (g->pad == 2 && g->mode != 2) p = reflect(x, g, p, size);
    else if (g->pad == 1 && g->mode != 2) p = fy_x2(x, "Max", fy_x2(x, "Min", p, last), zero);
    else if (g->pad != 2) p = fy_x2(x, "Max", fy_x2(x, "Min", p, fy_x2(x, "Add", size, k(x, g->s, 3))), k(x, g->s, -4));     /* far outside is outside */
    fy_value *base = g->mode ? fy_x1(x, "Floor", p) : p, *part = g->mode ? fy_b_unsqueeze(b, fy_x2(x, "Sub", p, base), 2) : NULL;
    int64_t n = g->mode == 0 ? 1 : g->mode == 1 ? 2 : 4;
    const fy_const *c = fy_const_copy(&x->m->arena, FERRY_DOUBLE, 1, &n, offsets[g->mode]);
    c = c ? fy_const_cast(&x->m->arena, c, g->s) : NULL;
    fy_value *offset = c ? fy_k_const(b, c, NULL) : fy_fail_value(b, FY_E_NOMEM, "out of memory");
    *weight = NULL;
    if (g->mode) {
        fy_value *t = fy_x1(x, "Abs", fy_x2(x, "Sub", part, offset));
        *weight = g->mode == 1 ? fy_x2(x, "Sub", one, t) : cubic(x, g->s, t);
    }
    base = fy_x2(x, "Add", fy_b_unsqueeze(b, base, 2), offset);
    *inside = NULL;
    if (g->pad == 0) *inside = fy_x2(x, "And", fy_x2(x, "GreaterOrEqual", base, zero), fy_x2(x, "LessOrEqual", base, last));
    if (g->pad == 2 && g->mode == 2) base = reflect(x, g, base, size);
    *at = fy_b_cast(b, fy_x2(x, "Max", fy_x2(x, "Min", base, last), zero), FERRY_INT64);
}

/* [N, P, M] and [N, P, K] -> [N, P, M K], every pair joined by `op`. */
static fy_value *cross(fy_step_ctx *x, const char *op, fy_value *p, fy_value *q) {
    if (!p || !q) return p ? p : q;
    return fy_x2(x, "Reshape", fy_x2(x, op, fy_b_unsqueeze(&x->b, p, 3), fy_b_unsqueeze(&x->b, q, 2)), INTS(0, 0, -1));
}

/* The image [N, C, ...] of d spatial axes at P points, whose coordinates along axis a are coord[a], [N, P] -> [N, C, P]. */
static fy_value *sampled(fy_step_ctx *x, const sample *g, int d, fy_value *image, fy_value *const *coord) {
    fy_build *b = &x->b;
    fy_value *index = NULL, *weight = NULL, *inside = NULL, *stride = NULL;
    int64_t m = 1;
    for (int a = d - 1; a >= 0; a--) {                       /* from the last axis, whose stride is 1; pairs stay in step */
        fy_value *at, *w, *in, *count = fy_step_size(b, image, 2 + a);
        taps(x, g, coord[a], count, &at, &w, &in);
        if (stride) at = fy_x2(x, "Mul", at, stride);
        stride = stride ? fy_x2(x, "Mul", stride, count) : count;
        index = cross(x, "Add", index, at);
        weight = cross(x, "Mul", weight, w);
        inside = cross(x, "And", inside, in);
        m *= g->mode == 0 ? 1 : g->mode == 1 ? 2 : 4;
    }
    if (b->status) return NULL;
    bool soft = g->mode != 0;
    fy_value *channels = fy_x2(x, "Reshape", fy_step_size(b, image, 1), INTS(1)), *wide = fy_b_concat(b, 3, (fy_value *[]){INTS(1), channels, INTS(1)}, 0);
    index = fy_x2(x, "Expand", fy_x2(x, "Reshape", index, INTS(0, 1, -1)), wide);
    fy_value *y = fy_x2(x, "Reshape", soft ? fy_b_cast(b, image, g->s) : image, INTS(0, 0, -1));
    y = fy_emit(b, "GatherElements", FY_V(y, index), FY_A(fy_int("axis", 2)));
    if (inside && soft) weight = fy_x3(x, "Where", inside, weight, k(x, g->s, 0));
    if (soft) {
        y = fy_x2(x, "Mul", fy_x2(x, "Reshape", y, INTS(0, 0, -1, m)), fy_b_unsqueeze(b, weight, 1));
        return fy_emit(b, "ReduceSum", FY_V(y, INTS(3)), FY_A(fy_int("keepdims", 0)));
    }
    return inside ? fy_x3(x, "Where", fy_x2(x, "Reshape", inside, INTS(0, 1, -1)), y, fy_k_scalar_i(b, image->type.dtype, 0)) : y;
}

fy_status fy_step_grid_sample(fy_step_ctx *x) {
    fy_build *b = &x->b;
    int rank = fy_step_rank(x, 0), d = rank - 2;
    fy_dtype t = fy_step_dtype(x, 0);
    sample g = {.s = fy_step_dtype(x, 1) == FERRY_DOUBLE || t == FERRY_DOUBLE ? FERRY_DOUBLE : FERRY_FLOAT, .align = fy_step_int(x, "align_corners", 0)};
    g.mode = fy_step_text(x, "mode", "nearest", "linear") ? 0 : fy_step_text(x, "mode", "cubic", "linear") ? 2 : 1;
    g.pad = fy_step_text(x, "padding_mode", "border", "zeros") ? 1 : fy_step_text(x, "padding_mode", "reflection", "zeros") ? 2 : 0;
    FY_STEP_NEED(x, d >= 1 && d <= 3 && t, "GridSample must be written out for this opset, and type or number of axes are not known");
    FY_STEP_NEED(x, fy_dtype_class(t) != FY_CLASS_C && t != FERRY_STRING, "GridSample of %s came with opset 16", fy_dtype_name(t));
    FY_OPSET_REPLACES(x);
    fy_value *image = fy_in(x->n, 0), *grid = fy_in(x->n, 1), *points = fy_x2(x, "Reshape", fy_b_cast(b, grid, g.s), INTS(0, -1, d)), *coord[3];
    for (int a = 0; a < d; a++) coord[a] = fy_emit(b, "Gather", FY_V(points, fy_k_i64(b, d - 1 - a)), FY_A(fy_int("axis", 2)));
    fy_value *y = sampled(x, &g, d, image, coord);
    fy_value *shape[2] = {fy_step_slice(b, fy_x1(x, "Shape", image), 0, 0, 2), fy_step_slice(b, fy_x1(x, "Shape", grid), 0, 1, -1)};
    return fy_step_replace(x, fy_b_cast(b, fy_x2(x, "Reshape", y, fy_b_concat(b, 2, shape, 0)), t));
}

/* 16 -> 20: two spatial axes only, other names of the modes. */
fy_status fy_lower_grid_sample20(fy_step_ctx *x) {
    if (fy_step_rank(x, 0) != 4) return fy_step_grid_sample(x);
    FY_OPSET_CHECKED(x);
    if (fy_step_text(x, "mode", "linear", "linear")) return fy_step_set_attr(x, fy_text("mode", "bilinear"));
    if (fy_step_text(x, "mode", "cubic", "linear")) return fy_step_set_attr(x, fy_text("mode", "bicubic"));
    return FY_OK;
}

/* From the form of 16 back to the names of 20, which is what gets written out. */
fy_status fy_lower_grid_sample16(fy_step_ctx *x) {
    if (!x->dry && fy_step_text(x, "mode", "bilinear", "bilinear")) FY_TRY(fy_step_set_attr(x, fy_text("mode", "linear")));
    if (!x->dry && fy_step_text(x, "mode", "bicubic", "")) FY_TRY(fy_step_set_attr(x, fy_text("mode", "cubic")));
    return fy_step_grid_sample(x);
}

/* ---- DeformConv ---------------------------------------------------------------------------------------------------- */

/* Positions of the taps along one axis, [N groups, K P]: where each output stands, plus the tap, plus its offset. */
static fy_value *tap_positions(fy_step_ctx *x, fy_dtype s, fy_value *offset, int axis, const int64_t *kernel, int64_t stride, int64_t dilation, int64_t pad) {
    fy_build *b = &x->b;
    int64_t at[1024], cells = kernel[0] * kernel[1];
    for (int64_t i = 0; i < cells; i++) at[i] = (axis ? i % kernel[1] : i / kernel[1]) * dilation - pad;
    fy_value *where = fy_x2(x, "Mul", fy_step_iota(b, fy_step_size(b, fy_in(x->n, 2), 2 + axis)), fy_k_i64(b, stride));
    where = fy_x2(x, "Expand", fy_b_unsqueeze(b, where, 1 - axis), fy_step_slice(b, fy_x1(x, "Shape", fy_in(x->n, 2)), 0, 2, 4));
    where = fy_x2(x, "Add", fy_x2(x, "Reshape", where, INTS(1, -1)), fy_x2(x, "Reshape", ints(x, cells, at), INTS(-1, 1)));
    fy_value *p = fy_x2(x, "Add", fy_emit(b, "Gather", FY_V(offset, fy_k_i64(b, axis)), FY_A(fy_int("axis", 3))), fy_b_cast(b, where, s));
    fy_value *flat[2] = {INTS(-1), fy_emit(b, "ReduceProd", FY_V(fy_step_slice(b, fy_x1(x, "Shape", p), 0, 2, 4)), FY_A(fy_int("keepdims", 1)))};
    return fy_x2(x, "Reshape", p, fy_b_concat(b, 2, flat, 0));
}

/* Samples the image at every tap of every output, then multiplies with the weights: [N, g, C/g K, P] from the left by [g, O/g, C/g K]. */
fy_status fy_lower_deform_conv19(fy_step_ctx *x) {
    fy_build *b = &x->b;
    fy_dtype t = fy_step_dtype(x, 0), s = t == FERRY_DOUBLE ? t : FERRY_FLOAT;
    int64_t group = fy_step_int(x, "group", 1), og = fy_step_int(x, "offset_group", 1), n[3], kernel[2];
    const int64_t *stride = fy_attr_ints(x->n, "strides", &n[0]), *dilation = fy_attr_ints(x->n, "dilations", &n[1]), *pads = fy_attr_ints(x->n, "pads", &n[2]);
    int64_t c = fy_step_known(fy_in(x->n, 0), 1), out = fy_step_known(fy_in(x->n, 1), 0);
    for (int i = 0; i < 2; i++) kernel[i] = fy_step_known(fy_in(x->n, 1), 2 + i);
    FY_STEP_NEED(x, t && fy_step_rank(x, 0) == 4 && c > 0 && out > 0 && kernel[0] > 0 && kernel[1] > 0 && kernel[0] <= 32 && kernel[1] <= 32,
                 "DeformConv must be written out for this opset, and it has other than two spatial axes, or sizes are not known or too large");
    FY_NEED(x->e, group > 0 && og > 0 && c % group == 0 && c % og == 0 && out % group == 0 && (!stride || n[0] == 2) && (!dilation || n[1] == 2) && (!pads || n[2] == 4), ATTR,
            "DeformConv: %lld channels in %lld groups, offsets in %lld", (long long)c, (long long)group, (long long)og);
    int64_t cells = kernel[0] * kernel[1];
    for (int i = 0; i < 4; i++)
        FY_NEED(x->e, (!stride || i > 1 || (stride[i] > 0 && stride[i] < INT32_MAX)) && (!dilation || i > 1 || (dilation[i] > 0 && dilation[i] < INT32_MAX)) &&
                (!pads || (pads[i] > INT32_MIN && pads[i] < INT32_MAX)), ATTR, "DeformConv: sizes are out of range");
    FY_OPSET_REPLACES(x);
    fy_value *offset = fy_x2(x, "Reshape", fy_b_cast(b, fy_in(x->n, 2), s), INTS(0, og, cells, 2, -1)), *at[2];
    for (int i = 0; i < 2; i++) at[i] = tap_positions(x, s, offset, i, kernel, stride ? stride[i] : 1, dilation ? dilation[i] : 1, pads ? pads[i] : 0);
    fy_value *space = fy_step_slice(b, fy_x1(x, "Shape", fy_in(x->n, 0)), 0, 2, 4), *points = fy_step_slice(b, fy_x1(x, "Shape", offset), 0, 4, 5);
    fy_value *v = fy_x2(x, "Reshape", fy_b_cast(b, fy_in(x->n, 0), s), fy_b_concat(b, 2, (fy_value *[]){INTS(-1, c / og), space}, 0));
    const sample g = {.s = s, .mode = 1, .pixels = true};
    v = sampled(x, &g, 2, v, at);                            /* [N og, C/og, K P] */
    v = fy_x2(x, "Reshape", v, fy_b_concat(b, 2, (fy_value *[]){INTS(-1, og, c / og, cells), points}, 0));
    if (fy_step_has(x, 4)) v = fy_x2(x, "Mul", v, fy_b_unsqueeze(b, fy_x2(x, "Reshape", fy_b_cast(b, fy_in(x->n, 4), s), INTS(0, og, cells, -1)), 2));
    v = fy_x2(x, "Reshape", v, fy_b_concat(b, 2, (fy_value *[]){INTS(-1, group, c / group * cells), points}, 0));
    fy_value *weight = fy_x2(x, "Reshape", fy_b_cast(b, fy_in(x->n, 1), s), INTS(group, out / group, c / group * cells));
    fy_value *plane = fy_step_slice(b, fy_x1(x, "Shape", fy_in(x->n, 2)), 0, 2, 4);
    v = fy_x2(x, "Reshape", fy_x2(x, "MatMul", weight, v), fy_b_concat(b, 2, (fy_value *[]){INTS(-1, out), plane}, 0));
    if (fy_step_has(x, 3)) v = fy_x2(x, "Add", v, fy_x2(x, "Reshape", fy_b_cast(b, fy_in(x->n, 3), s), INTS(-1, 1, 1)));
    return fy_step_replace(x, fy_b_cast(b, v, t));
}
