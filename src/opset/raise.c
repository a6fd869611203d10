/* SPDX-License-Identifier: Apache-2.0
 * raise.c - adapters from older forms. Mostly attributes that became inputs, and defaults that changed. */
#include "opset/internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

static fy_value *floats(fy_step_ctx *x, int64_t n, const double *v) {
    float *f = FY_NEWN(&x->m->arena, float, n);
    for (int64_t i = 0; f && i < n; i++) f[i] = (float)v[i];
    const fy_const *c = f ? fy_const_bytes(&x->m->arena, FERRY_FLOAT, 1, &n, f, (size_t)n * 4) : NULL;
    return c ? fy_k_const(&x->b, c, NULL) : fy_fail_value(&x->b, FY_E_NOMEM, "out of memory");
}

/* An attribute of integers as input `i`; deleted. */
static fy_status ints_to_input(fy_step_ctx *x, const char *attr, int i) {
    int64_t n;
    const int64_t *v = fy_attr_ints(x->n, attr, &n);
    if (!v) return FY_OK;
    FY_TRY(fy_step_set_in(x, i, fy_k_ints(&x->b, n, v)));
    fy_node_del_attr(x->n, attr);
    return FY_OK;
}

/* 7 -> 9: spatial = 0 had statistics for every element of a sample. */
fy_status fy_raise_batch_norm9(fy_step_ctx *x) {
    bool spatial = fy_step_int(x, "spatial", 1);
    fy_node_del_attr(x->n, "spatial");
    if (spatial) return FY_OK;
    fy_dtype t = fy_step_dtype(x, 0);
    FY_STEP_NEED(x, t && !fy_outv(x->n, 1), "BatchNormalization with spatial = 0 in this form is not supported");
    fy_build *b = &x->b;
    fy_value *dev = fy_emit(b, "Sqrt", FY_V(fy_emit(b, "Add", FY_V(fy_in(x->n, 4), fy_k_scalar(b, t, fy_step_float(x, "epsilon", 1e-5))), FY_NOATTR)), FY_NOATTR);
    fy_value *y = fy_emit(b, "Div", FY_V(fy_emit(b, "Sub", FY_V(fy_in(x->n, 0), fy_in(x->n, 3)), FY_NOATTR), dev), FY_NOATTR);
    y = fy_emit(b, "Add", FY_V(fy_emit(b, "Mul", FY_V(y, fy_in(x->n, 1)), FY_NOATTR), fy_in(x->n, 2)), FY_NOATTR);
    return fy_step_replace(x, y);
}

/* 9 -> 14: five outputs meant training; the last two were for the gradient alone. */
fy_status fy_raise_batch_norm14(fy_step_ctx *x) {
    bool used[5] = {false};
    for (int i = 0; i < x->n->nout && i < 5; i++) used[i] = x->n->out[i] && (x->n->out[i]->nuses || x->n->out[i]->is_output);
    FY_STEP_NEED(x, !used[3] && !used[4], "its saved mean and variance, of which the standard says only what they are for, have no newer form");
    bool training = used[1] || used[2];
    for (int i = training ? 3 : 1; i < x->n->nout; i++) x->n->out[i] = NULL;
    while (x->n->nout > 1 && !x->n->out[x->n->nout - 1]) x->n->nout--;
    return training ? fy_step_set_attr(x, fy_int("training_mode", 1)) : FY_OK;
}

/* 6 -> 11: min and max became inputs; until then a bound that was not given was that of f32. */
fy_status fy_raise_clip11(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0);
    double lo = fy_step_float(x, "min", -(double)FLT_MAX), hi = fy_step_float(x, "max", (double)FLT_MAX);
    if (!t) t = FERRY_FLOAT;
    if (lo != -(double)INFINITY) FY_TRY(fy_step_set_in(x, 1, fy_k_scalar(&x->b, t, lo)));
    if (hi != (double)INFINITY) FY_TRY(fy_step_set_in(x, 2, fy_k_scalar(&x->b, t, hi)));
    fy_node_del_attr(x->n, "min");
    fy_node_del_attr(x->n, "max");
    return FY_OK;
}

/* 10 -> 12: ratio became an input; without training_mode it has no effect. */
fy_status fy_raise_dropout12(fy_step_ctx *x) { fy_node_del_attr(x->n, "ratio"); return FY_OK; }

/* 11 -> 13: the axes from `axis` on were one flattened axis. */
fy_status fy_raise_softmax13(fy_step_ctx *x) {
    int64_t axis = fy_step_int(x, "axis", 1);
    int rank = fy_step_rank(x, 0);
    if (axis == -1 || axis == rank - 1) return fy_step_set_attr(x, fy_int("axis", axis));
    fy_build *b = &x->b;
    fy_value *v = fy_in(x->n, 0), *flat = fy_emit(b, "Flatten", FY_V(v), FY_A(fy_int("axis", axis)));
    flat = fy_emit(b, x->n->op->name, FY_V(flat), FY_A(fy_int("axis", -1)));
    return fy_step_replace(x, fy_emit(b, "Reshape", FY_V(flat, fy_emit(b, "Shape", FY_V(v), FY_NOATTR)), FY_NOATTR));
}

/* 2 -> 11: pads and value became inputs. */
fy_status fy_raise_pad11(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0);
    double v = fy_step_float(x, "value", 0);
    FY_TRY(ints_to_input(x, "pads", 1));
    fy_node_del_attr(x->n, "value");
    return v != 0 ? fy_step_set_in(x, 2, fy_k_scalar(&x->b, t ? t : FERRY_FLOAT, v)) : FY_OK;
}

/* Opset 10 and Upsample: coordinates x / scale; nearest rounds down on axes that it enlarges, up on those that it shrinks. */
fy_status fy_raise_resize11(fy_step_ctx *x) {
    fy_build *b = &x->b;
    fy_value *scales = fy_in(x->n, 1);
    bool up = false, down = false, known = scales && scales->constant;
    double v;
    for (int64_t i = 0; known && i < scales->constant->count; i++)
        if (fy_const_f64(scales->constant, i, &v)) up |= v > 1, down |= v < 1;
    if (fy_step_text(x, "mode", "nearest", "nearest") && (!known || (up && down))) {       /* one axis after the other gives the same */
        fy_value *one = fy_k_scalar(b, FERRY_FLOAT, 1), *y = fy_in(x->n, 0);
        for (int i = 0; i < 2; i++)
            y = fy_emit(b, "Resize", FY_V(y, NULL, fy_emit(b, i ? "Min" : "Max", FY_V(scales, one), FY_NOATTR)),
                        FY_A(fy_text("mode", "nearest"), fy_text("nearest_mode", i ? "ceil" : "floor"), fy_text("coordinate_transformation_mode", "asymmetric")));
        return fy_step_replace(x, y);
    }
    FY_TRY(fy_step_set_in(x, 2, scales));
    fy_node_set_input(x->n, 1, NULL);
    FY_TRY(fy_step_set_attr(x, fy_text("nearest_mode", down ? "ceil" : "floor")));
    return fy_step_set_attr(x, fy_text("coordinate_transformation_mode", "asymmetric"));
}

/* 11 -> 13: empty roi and scales stood for absent ones. */
fy_status fy_raise_resize13(fy_step_ctx *x) {
    for (int i = 2; i >= 1; i--) {
        const fy_value *v = fy_in(x->n, i);
        bool crop = i == 1 && fy_step_text(x, "coordinate_transformation_mode", "tf_crop_and_resize", "half_pixel");
        if (v && !crop && (i == 1 || (v->constant && v->constant->count == 0))) FY_TRY(fy_step_set_in(x, i, NULL));
    }
    return FY_OK;
}

/* 7 -> 9: scales became an input. 10: Upsample became Resize. */
fy_status fy_raise_upsample9(fy_step_ctx *x) {
    const fy_attr *a = fy_attr_get(x->n, "scales");
    FY_NEED(x->e, a && a->kind == FY_ATTR_FLOATS, ATTR, "Upsample has no scales");
    FY_TRY(fy_step_set_in(x, 1, floats(x, a->n, a->floats)));
    fy_node_del_attr(x->n, "scales");
    return FY_OK;
}

/* From here on it is a Resize of opset 10; the step to 11 follows. */
fy_status fy_raise_upsample10(fy_step_ctx *x) { return fy_step_rename(x, "Resize"); }

fy_status fy_raise_scatter11(fy_step_ctx *x) { return fy_step_rename(x, "ScatterElements"); }

/* 1 -> 10: starts, ends, axes became inputs. */
fy_status fy_raise_slice10(fy_step_ctx *x) {
    FY_TRY(ints_to_input(x, "starts", 1));
    FY_TRY(ints_to_input(x, "ends", 2));
    return ints_to_input(x, "axes", 3);
}

fy_status fy_raise_split13(fy_step_ctx *x) { return ints_to_input(x, "split", 1); }

/* 13 -> 18: without sizes the number of outputs must be said. */
fy_status fy_raise_split18(fy_step_ctx *x) { return fy_step_has(x, 1) ? FY_OK : fy_step_set_attr(x, fy_int("num_outputs", x->n->nout)); }

fy_status fy_raise_axes13(fy_step_ctx *x) { return ints_to_input(x, "axes", 1); }
fy_status fy_raise_axes_optional(fy_step_ctx *x) { return ints_to_input(x, "axes", 1); }

/* 1 -> 10: k became an input. */
fy_status fy_raise_topk10(fy_step_ctx *x) {
    int64_t k = fy_step_int(x, "k", 0);
    FY_TRY(fy_step_set_in(x, 1, fy_k_ints(&x->b, 1, &k)));
    fy_node_del_attr(x->n, "k");
    return FY_OK;
}

/* 18 -> 21: scale and bias of each group became those of each channel. */
fy_status fy_raise_group_norm18(fy_step_ctx *x) {
    fy_build *b = &x->b;
    int64_t groups = fy_step_int(x, "num_groups", 0), c;
    const fy_dim *d = fy_step_dim(x, 0, 1);
    FY_STEP_NEED(x, groups > 0 && d && fy_dim_known(d, &c) && c % groups == 0, "GroupNormalization-18 needs a known number of channels");
    for (int i = 1; i <= 2; i++) {
        fy_value *w = fy_emit(b, "Expand", FY_V(fy_b_unsqueeze(b, fy_in(x->n, i), 1), fy_k_ints(b, 2, (int64_t[]){groups, c / groups})), FY_NOATTR);
        FY_TRY(fy_step_set_in(x, i, fy_emit(b, "Reshape", FY_V(w, fy_k_ints(b, 1, (int64_t[]){-1})), FY_NOATTR)));
    }
    return FY_OK;
}

fy_status fy_raise_grid_sample20(fy_step_ctx *x) {
    if (fy_step_text(x, "mode", "bilinear", "bilinear")) return fy_step_set_attr(x, fy_text("mode", "linear"));
    if (fy_step_text(x, "mode", "bicubic", "bilinear")) return fy_step_set_attr(x, fy_text("mode", "cubic"));
    return FY_OK;
}

/* 10 -> 16: coordinates were not shifted by half a pixel. */
fy_status fy_raise_roi_align16(fy_step_ctx *x) { return fy_step_set_attr(x, fy_text("coordinate_transformation_mode", "output_half_pixel")); }

/* 17 -> 20: axis became an input, its default changed. */
fy_status fy_raise_dft20(fy_step_ctx *x) {
    int64_t axis = fy_step_int(x, "axis", 1);
    FY_TRY(fy_step_set_in(x, 2, fy_k_i64(&x->b, axis)));
    fy_node_del_attr(x->n, "axis");
    return FY_OK;
}
