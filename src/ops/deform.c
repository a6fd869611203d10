/* SPDX-License-Identifier: Apache-2.0
 * deform.c - DeformConv: x [N, C, d..], w [M, C/group, k..], offset [N, offset_group * taps * nd, o..], b [M], mask
 * [N, offset_group * taps, o..] -> y [N, M, o..], nd 1 to 3:
 *
 *   y[n, m, o] = b[m] + sum over (c, tap) of w[m, c, tap] * mask[n, og(c), tap, o] * x[n, c, o * stride - pad + tap * dilation + offset]
 *
 * x between elements is linear in each axis; elements outside are 0. A position that is NaN gives NaN, an infinite one is outside.
 * Patches are sampled for a block of output points (so that memory does not grow with the image) and go through the matrix product.
 * Sources: Dai et al., "Deformable Convolutional Networks", 2017; Zhu et al., "Deformable ConvNets v2", 2018; ONNX DeformConv-22. */
#include "ops/window.h"

#include "tensor/gemm.h"

#include <math.h>

#define BLOCK_BYTES ((int64_t)32 << 20)

static fy_status infer_deform(fy_infer *f) {
    int rank, ro, rm;
    int64_t groups = fy_attr_i(f->node, "offset_group"), group = fy_attr_i(f->node, "group"), channels, taps = 1, k;
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(fy_conv_bias(f, 3, fy_in_dim(f, 1, 0)));
    FY_TRY(fy_conv_infer(f, 1, fy_in_dtype(f, 0)));
    FY_NEED(f->e, groups >= 1, ATTR, "offset_group is %lld", (long long)groups);
    rank = f->out[0].type.rank;
    FY_TRY(fy_k_rank(f, 2, 3, 2 + FY_MAX_SPATIAL, &ro));
    FY_TRY(fy_k_rank(f, 4, 3, 2 + FY_MAX_SPATIAL, &rm));
    if (rank < 0) return FY_OK;
    FY_NEED(f->e, (ro < 0 || ro == rank) && (rm < 0 || rm == rank), SHAPE, "x has rank %d, offset %d, mask %d", rank, ro, rm);
    /* x's channels are group * those of the weight: both ways of saying it count */
    const fy_dim *c = fy_in_dim(f, 0, 1) ? fy_in_dim(f, 0, 1) : fy_in_dim(f, 1, 1) ? fy_dim_muli(f->dims, fy_in_dim(f, 1, 1), group) : NULL;
    if (c && fy_dim_known(c, &channels)) FY_NEED(f->e, channels % groups == 0, SHAPE, "%lld channels in %lld offset groups", (long long)channels, (long long)groups);
    for (int i = 2; i < rank && taps; i++)
        if (fy_in_rank(f, 1) != rank || !fy_dim_known(fy_in_dim(f, 1, i), &k) || !fy_mul_i64(&taps, taps, k)) taps = 0;
    for (int i = 2; i <= 4; i += 2) {
        if (fy_in_rank(f, i) != rank) continue;
        int64_t want;
        bool known = taps && fy_mul_i64(&want, taps, groups) && fy_mul_i64(&want, want, i == 2 ? rank - 2 : 1);
        FY_TRY(fy_k_agree(f, fy_in_dim(f, i, 0), fy_in_dim(f, 0, 0), i == 2 ? "batch sizes of offset and x" : "batch sizes of mask and x"));
        if (known) FY_TRY(fy_k_agree(f, fy_in_dim(f, i, 1), fy_dim_const(f->dims, want), i == 2 ? "channels of offset and what the kernel needs" : "channels of mask and what the kernel needs"));
        for (int a = 2; a < rank; a++)
            FY_TRY(fy_k_agree(f, fy_in_dim(f, i, a), f->out[0].type.dim[a], i == 2 ? "spatial sizes of offset and output" : "spatial sizes of mask and output"));
    }
    return FY_OK;
}

/* Three spatial axes always: missing ones come first, with size 1. */
typedef struct deform {
    const double *x, *offset, *mask;     /* of one image; mask may be NULL */
    double       *col;                   /* [channel, tap, point of the block] */
    int           nd;
    int64_t       in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
    int64_t       plane, taps, points, first, n, per_group;    /* sizes of x, of the kernel, of y; the block; channels in an offset group */
} deform;

typedef struct corner { int64_t at; double w; } corner;

/* The elements around `pos` that are inside, with their weights: at most 2^nd. */
static int corners(corner *c, const deform *d, const double *pos) {
    int n = 1;
    c[0] = (corner){0, 1};
    for (int a = 3 - d->nd; a < 3; a++) {
        double low = floor(pos[a]), part = pos[a] - low;
        int    m = 0;
        corner next[8];
        if (isnan(pos[a])) {
            c[0] = (corner){0, pos[a]};
            return d->plane ? 1 : 0;
        }
        for (int k = 0; k < 2; k++) {
            double at = low + k;
            if (!(at >= 0 && at < (double)d->in[a])) continue;
            for (int i = 0; i < n; i++) next[m++] = (corner){c[i].at * d->in[a] + (int64_t)at, c[i].w * (k ? part : 1 - part)};
        }
        for (int i = 0; i < m; i++) c[i] = next[i];
        n = m;
    }
    return n;
}

/* Rows are (offset group, tap): the channels of a group share the positions. */
static void sample_rows(void *arg, int64_t begin, int64_t end) {
    const deform *d = arg;
    for (int64_t row = begin; row < end; row++) {
        int64_t g = row / d->taps, tap = row % d->taps, at[3] = {0}, k[3] = {tap / d->kernel[2] / d->kernel[1], tap / d->kernel[2] % d->kernel[1], tap % d->kernel[2]};
        const double *offset = d->offset + row * d->nd * d->points, *mask = d->mask ? d->mask + row * d->points : NULL;
        for (int64_t i = 0; i < d->n; i++) {
            int64_t p = d->first + i, rest = p;
            double pos[3] = {0};
            corner c[8];
            for (int a = 2; a >= 0; a--) {
                at[a] = rest % d->out[a];
                rest /= d->out[a];
                int s = a - (3 - d->nd);
                if (s >= 0) pos[a] = (double)(at[a] * d->stride[a] - d->pad[a] + k[a] * d->dilation[a]) + offset[s * d->points + p];
            }
            int m = corners(c, d, pos);
            for (int64_t ch = g * d->per_group; ch < (g + 1) * d->per_group; ch++) {
                const double *x = d->x + ch * d->plane;
                double sum = 0;
                for (int q = 0; q < m; q++) sum += c[q].w * x[c[q].at];
                d->col[(ch * d->taps + tap) * d->n + i] = mask ? sum * mask[p] : sum;
            }
        }
    }
}

static void set_axes(deform *d, const fy_window *w, const fy_tensor *x, const fy_tensor *y) {
    d->nd = w->nd;
    d->plane = d->taps = d->points = 1;
    for (int i = 0; i < 3; i++) {
        int k = i - (3 - w->nd);
        d->in[i] = k < 0 ? 1 : x->dim[2 + k];
        d->out[i] = k < 0 ? 1 : y->dim[2 + k];
        d->kernel[i] = k < 0 ? 1 : w->kernel[k];
        d->stride[i] = k < 0 ? 1 : w->stride[k];
        d->dilation[i] = k < 0 ? 1 : w->dilation[k];
        d->pad[i] = k < 0 ? 0 : w->pad[k];
        d->plane *= d->in[i];
        d->taps *= d->kernel[i];
        d->points *= d->out[i];
    }
}

static fy_status ref_deform(const fy_call *c) {
    const fy_tensor *xt = fy_arg(c, 0), *bias = fy_arg(c, 3);
    fy_tensor *y = fy_res(c, 0), w;
    if (!y || !fy_count(y)) return FY_OK;
    int64_t group = fy_attr_i(c->node, "group"), offset_groups = fy_attr_i(c->node, "offset_group"), channels = xt->dim[1], m = y->dim[1] / group, cg = channels / group;
    deform d = {0};
    fy_window win;
    FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 1), true, &w));
    FY_TRY(fy_window_read(&win, c->node, xt->rank - 2, w.dim + 2, c->e));
    set_axes(&d, &win, xt, y);
    d.per_group = channels / offset_groups;
    const double *x = fy_arg_f64(c, 0), *offset = fy_arg_f64(c, 2), *mask = fy_arg(c, 4) ? fy_arg_f64(c, 4) : NULL;
    FY_NOMEM(c->e, x && offset && (mask || !fy_arg(c, 4)));
    int64_t rows, block;
    FY_NEED(c->e, fy_mul_i64(&rows, channels, d.taps) && rows <= c->max_bytes / 8, LIMIT, "%lld channels with %lld taps each", (long long)channels, (long long)d.taps);
    block = BLOCK_BYTES / 8 / (rows + m);
    block = block < 1 ? 1 : block < d.points ? block : d.points;
    double *sum = FY_NEWN(c->scratch, double, m * block);
    d.col = FY_NEWN(c->scratch, double, rows * block);
    FY_NOMEM(c->e, d.col && sum);
    for (int64_t n = 0; n < xt->dim[0]; n++) {
        d.x = x + n * channels * d.plane;
        d.offset = offset + n * offset_groups * d.taps * d.nd * d.points;
        d.mask = mask ? mask + n * offset_groups * d.taps * d.points : NULL;
        for (d.first = 0; d.first < d.points; d.first += d.n) {
            d.n = d.points - d.first < block ? d.points - d.first : block;
            fy_k_for(c, offset_groups * d.taps, 1, sample_rows, &d);
            for (int64_t g = 0; g < group; g++) {
                fy_mat a = {fy_k_at(&w, g * m * cg * d.taps), w.dtype, cg * d.taps, 1}, b = {d.col + g * cg * d.taps * d.n, FERRY_DOUBLE, d.n, 1};
                FY_TRY(fy_gemm((fy_mat){sum, FERRY_DOUBLE, d.n, 1}, a, b, m, d.n, cg * d.taps, 1, 0, c->pool, c->e));
                for (int64_t k = 0; k < m; k++) {
                    double add = bias ? fy_get_f64(bias, g * m + k) : 0;
                    for (int64_t i = 0; bias && i < d.n; i++) sum[k * d.n + i] += add;
                    fy_store_f64(y, (n * y->dim[1] + g * m + k) * d.points + d.first, d.n, sum + k * d.n);
                }
            }
        }
    }
    return FY_OK;
}

static const fy_attr_spec deform_attrs[] = { {"kernel_shape", FY_ATTR_INTS, NULL}, {"strides", FY_ATTR_INTS, NULL}, {"dilations", FY_ATTR_INTS, NULL},
    {"pads", FY_ATTR_INTS, NULL}, {"group", FY_ATTR_INT, "1"}, {"offset_group", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_deform_conv = {.name = "DeformConv", .domain = "", .attrs = deform_attrs, .min_in = 3, .max_in = 5, .min_out = 1, .max_out = 1, .first = 19,
    .since = 19, .types = "T=" FY_T_FLOAT "|T,T,T,T,T|T", .infer = infer_deform, .ref = ref_deform, .flags = FY_PURE};
