/* SPDX-License-Identifier: Apache-2.0
 * lower_upsample.c - resizing of images: upsample_* (Resize), grid_sampler (GridSample).
 *
 * The .vec forms give either sizes or factors. With factors torch works out size = floor(in * factor) and samples with the
 * factor itself, as Resize does with scales. */
#include "aten/lower.h"

#include <string.h>

fy_status fy_lower_upsample(fy_lower *l) {
    const char *op = l->n->op;
    fy_value *x = fy_l_tensor(l, strstr(op, ".vec") ? "input" : "self");
    int nd = strstr(op, "1d") ? 1 : strstr(op, "2d") ? 2 : 3, rank = fy_rank(l, x);
    FY_L_OK(l);
    if (rank != nd + 2) return fy_l_fail(l, FY_E_SHAPE, "%s of rank %d", op, rank);
    bool nearest = strstr(op, "nearest") != NULL, exact = strstr(op, "exact") != NULL, cubic = strstr(op, "bicubic") != NULL, smooth = strstr(op, "_aa") != NULL;
    bool align = !nearest && fy_l_bool(l, "align_corners");
    int64_t axes[3];
    for (int i = 0; i < nd; i++) axes[i] = i + 2;
    const fy_parg *factors = fy_aten_arg(l->n, "scale_factors");
    fy_build *b = &l->b;
    fy_value *scales = NULL, *sizes = NULL;
    if (fy_l_has(l, "output_size")) {
        const fy_dim *d[3];
        int n = fy_l_dims(l, "output_size", d, 3);
        FY_L_OK(l);
        if (n != nd) return fy_l_fail(l, FY_E_ATTR, "%s: %d sizes", op, n);
        bool same = true;
        for (int i = 0; i < nd; i++) same = same && d[i] == x->type.dim[i + 2];
        if (same && !smooth) return fy_l_ret(l, x);
        sizes = fy_l_sizes(l, nd, d);
    } else if (factors->kind == FY_ARG_FLOATS && factors->n == nd) {
        float f[3];
        int64_t n = nd;
        for (int i = 0; i < nd; i++) f[i] = (float)factors->floats[i];
        fy_const *c = fy_const_copy(&l->m->arena, FERRY_FLOAT, 1, &n, f);
        scales = c ? fy_k_const(b, c, NULL) : NULL;
    }
    FY_L_OK(l);
    if (!scales && !sizes) return fy_l_fail(l, FY_E_ATTR, "%s without a size", op);
    const char *mode = nearest ? "nearest" : cubic ? "cubic" : "linear";
    const char *where = nearest && !exact ? "asymmetric" : align ? "align_corners" : "half_pixel";
    fy_attr attr[7] = {fy_text("mode", mode), fy_text("coordinate_transformation_mode", where), fy_ints("axes", nd, axes)};
    int na = 3;
    if (nearest) attr[na++] = fy_text("nearest_mode", exact ? "round_prefer_ceil" : "floor");
    if (cubic) attr[na++] = fy_float("cubic_coeff_a", smooth ? -0.5 : -0.75);
    if (smooth) {                                        /* torch leaves pixels outside out of the weights */
        attr[na++] = fy_int("antialias", 1);
        attr[na++] = fy_int("exclude_outside", 1);
    }
    return fy_l_ret(l, fy_emit(b, "Resize", FY_V(x, NULL, scales, sizes), na, attr));
}

fy_status fy_lower_grid_sampler(fy_lower *l) {
    static const char *const modes[] = {"linear", "nearest", "cubic"}, *const pads[] = {"zeros", "border", "reflection"};
    fy_value *x = fy_l_tensor(l, "input"), *grid = fy_l_tensor(l, "grid");
    int64_t mode = fy_l_int(l, "interpolation_mode"), pad = fy_l_int(l, "padding_mode");
    bool align = fy_l_bool(l, "align_corners");
    FY_L_OK(l);
    if (mode < 0 || mode > 2 || pad < 0 || pad > 2) return fy_l_fail(l, FY_E_ATTR, "%s with mode %lld, padding %lld", l->n->op, (long long)mode, (long long)pad);
    return fy_l_ret(l, fy_emit(&l->b, "GridSample", FY_V(x, grid), FY_A(fy_text("mode", modes[mode]), fy_text("padding_mode", pads[pad]), fy_int("align_corners", align))));
}
