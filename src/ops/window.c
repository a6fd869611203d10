/* SPDX-License-Identifier: Apache-2.0
 * window.c - sliding windows; see window.h. */
#include "ops/window.h"

#include <string.h>

static bool has_attr(const fy_node *n, const char *name) {
    for (const fy_attr_spec *a = n->op->attrs; a && a->name; a++)
        if (!strcmp(a->name, name)) return true;
    return false;
}

static fy_status read_list(int64_t *dst, const fy_node *n, const char *name, int count, int64_t least, int64_t def, ferry_error *e) {
    int64_t got = 0;
    const int64_t *v = has_attr(n, name) ? fy_attr_ints(n, name, &got) : NULL;
    FY_NEED(e, !v || !got || got == count, ATTR, "%s has %lld values; %d are needed", name, (long long)got, count);
    for (int i = 0; i < count; i++) {
        dst[i] = v && got ? v[i] : def;
        FY_NEED(e, dst[i] >= least && dst[i] <= INT32_MAX, ATTR, "%s holds %lld", name, (long long)dst[i]);
    }
    return FY_OK;
}

fy_status fy_window_read(fy_window *w, const fy_node *n, int nd, const int64_t *kernel, ferry_error *e) {
    int64_t pads[2 * FY_MAX_SPATIAL];
    *w = (fy_window){.nd = nd};
    FY_NEED(e, nd >= 1 && nd <= FY_MAX_SPATIAL, UNSUPPORTED, "%d spatial axes; 1 to %d are supported", nd, FY_MAX_SPATIAL);
    FY_TRY(read_list(w->kernel, n, "kernel_shape", nd, 1, 1, e));
    for (int i = 0; kernel && i < nd; i++) {
        FY_NEED(e, !fy_attr_get(n, "kernel_shape") || w->kernel[i] == kernel[i], SHAPE, "kernel_shape says %lld, the weight has %lld", (long long)w->kernel[i],
                (long long)kernel[i]);
        FY_NEED(e, kernel[i] >= 1 && kernel[i] <= INT32_MAX, SHAPE, "a kernel of size %lld", (long long)kernel[i]);
        w->kernel[i] = kernel[i];
    }
    FY_TRY(read_list(w->stride, n, "strides", nd, 1, 1, e));
    FY_TRY(read_list(w->dilation, n, "dilations", nd, 1, 1, e));
    FY_TRY(read_list(pads, n, "pads", 2 * nd, INT32_MIN, 0, e));
    for (int i = 0; i < nd; i++) {
        w->pad[i] = pads[i];
        w->pad_end[i] = pads[nd + i];
    }
    w->ceil = has_attr(n, "ceil_mode") && fy_attr_i(n, "ceil_mode");
    if (!has_attr(n, "auto_pad") || fy_attr_is(n, "auto_pad", "NOTSET") || fy_attr_is(n, "auto_pad", "")) return FY_OK;
    w->auto_pad = fy_attr_is(n, "auto_pad", "VALID") ? FY_PAD_VALID : fy_attr_is(n, "auto_pad", "SAME_UPPER") ? FY_PAD_SAME_UPPER : FY_PAD_SAME_LOWER;
    FY_NEED(e, w->auto_pad != FY_PAD_SAME_LOWER || fy_attr_is(n, "auto_pad", "SAME_LOWER"), ATTR, "auto_pad is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER");
    for (int i = 0; i < nd; i++) w->pad[i] = w->pad_end[i] = 0;
    return FY_OK;
}

fy_status fy_window_out(fy_infer *f, const fy_window *w, int i, const fy_dim *in, const fy_dim **out) {
    int64_t extent = w->dilation[i] * (w->kernel[i] - 1) + 1, known;
    fy_dims *p = f->dims;
    if (w->auto_pad == FY_PAD_SAME_UPPER || w->auto_pad == FY_PAD_SAME_LOWER) {
        *out = fy_dim_ceildiv(p, in, fy_dim_const(p, w->stride[i]));
        return FY_OK;
    }
    const fy_dim *room = fy_dim_addi(p, in, w->pad[i] + w->pad_end[i] - extent);
    if (w->extent[i]) room = fy_dim_sub(p, fy_dim_addi(p, in, w->pad[i] + w->pad_end[i] + w->dilation[i] - 1), fy_dim_muli(p, w->extent[i], w->dilation[i]));
    if (room && fy_dim_known(room, &known))
        FY_NEED(f->e, known >= 0 || (w->ceil && known > -w->stride[i]), SHAPE, "a window of %lld does not fit into %lld on spatial axis %d",
                (long long)extent, (long long)(known + extent), i);
    if (w->ceil) {
        /* a last window that would begin in the padding after the end is left out */
        const fy_dim *up = fy_dim_addi(p, fy_dim_ceildiv(p, room, fy_dim_const(p, w->stride[i])), 1);
        const fy_dim *starts = fy_dim_ceildiv(p, fy_dim_addi(p, in, w->pad[i]), fy_dim_const(p, w->stride[i]));
        int64_t a, b;
        if (up && starts && fy_dim_known(up, &a) && fy_dim_known(starts, &b)) *out = a < b ? up : starts;
        else *out = fy_dim_min(p, up, starts);
    } else *out = fy_dim_addi(p, fy_dim_divi(p, room, w->stride[i]), 1);
    return FY_OK;
}

void fy_window_place(fy_window *w, const int64_t *in, const int64_t *out) {
    if (w->auto_pad != FY_PAD_SAME_UPPER && w->auto_pad != FY_PAD_SAME_LOWER) return;
    for (int i = 0; i < w->nd; i++) {
        int64_t total = (out[i] - 1) * w->stride[i] + w->dilation[i] * (w->kernel[i] - 1) + 1 - in[i];
        if (total < 0) total = 0;
        w->pad[i] = w->auto_pad == FY_PAD_SAME_UPPER ? total / 2 : total - total / 2;
        w->pad_end[i] = total - w->pad[i];
    }
}
