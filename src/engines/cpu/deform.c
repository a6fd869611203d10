/* SPDX-License-Identifier: Apache-2.0
 * deform.c - DeformConv over two spatial axes in the c16 layout: for some output points at a time x is sampled at the shifted taps, 16 channels with the same four
 * weights, into columns that are the blocks of a pointwise convolution.
 *   x f32[n, c, h, w], offset f32[n, og * kh * kw * 2, oh, ow], mask f32[n, og * kh * kw, oh, ow] -> y f32[n, m, oh, ow]; x and y c16 */
#include "engines/cpu/conv_any.h"

#include "base/checked.h"

#include <math.h>

#define COLUMNS (768 << 10)              /* bytes of columns that stay in the second-level cache */
enum { X, W, OFFSET, BIAS, MASK };

typedef struct deform { fy_conv_any c; int64_t shared; } deform;             /* shared: groups of channels with offsets of their own */

static const char *can(const fy_site *s) {
    const fy_node *n = s->node;
    int64_t w[FY_MAX_RANK], taps, group = fy_attr_i(n, "group"), shared = fy_attr_i(n, "offset_group");
    for (int i = 0; i < n->nin; i++)
        if (fy_in(n, i) && !fy_cpu_f32(fy_in(n, i))) return "not f32";
    if (fy_in(n, X)->type.rank != 4 || fy_in(n, W)->type.rank != 4) return "not two spatial axes";
    fy_cpu_dims(fy_in(n, W), w);
    for (int i = 0; i < 4; i++)
        if (w[i] < 1) return "no channels, or the weight's sizes are not known";
    if (!fy_mul_i64(&taps, w[2], w[3]) || taps > 1 << 20) return "very many taps";
    if (group < 1 || shared < 1 || w[0] % group || w[1] * group % shared) return "channels do not come in groups";
    if (group > 1 && (w[0] / group % FY_LANES || w[1] % FY_LANES)) return "groups of no whole blocks of channels";
    return shared > 1 && w[1] * group / shared % FY_LANES ? "offsets are shared by no whole blocks of channels" : NULL;
}

static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[X] = *out = FY_C16; }

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    deform *d = FY_NEW(a, deform);
    FY_NOMEM(e, d);
    d->shared = fy_attr_i(s->node, "offset_group");
    s->data = d;
    return fy_conv_any_prepare(&d->c, s, BIAS, FY_CONV_DIRECT, p, a, e);
}

typedef struct work {
    const deform *d;
    const fy_step *s;
    const fy_exec *x;
    fy_window win;
    int64_t in[2], out[2], points, taps, all_blocks, first, n;               /* n points from `first` on are at work */
    const float *from, *offset, *mask, *w, *bias, *add;
    float *columns, *y;                                                      /* columns[block][tap][point][16] */
} work;

/* The four pixels around a place, those that are inside: how many, where, with which weight. */
static int around(const work *w, double y, double x, float by, const float **at, float *weight) {
    const double top = floor(y), left = floor(x);
    int n = 0;
    if (isnan(y) || isnan(x)) {
        at[0] = w->from;
        weight[0] = (float)(y + x);
        return w->in[0] && w->in[1];
    }
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            double r = top + i, c = left + j;
            if (!(r >= 0 && r < (double)w->in[0] && c >= 0 && c < (double)w->in[1])) continue;
            at[n] = w->from + ((int64_t)r * w->in[1] + (int64_t)c) * FY_LANES;
            weight[n++] = (float)((i ? y - top : 1 - (y - top)) * (j ? x - left : 1 - (x - left)) * (double)by);
        }
    return n;
}

/* Rows are (group of channels, tap). */
static void sample(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    const fy_conv_any *c = &w->d->c;
    const int64_t blocks = w->all_blocks / w->d->shared;
    for (int64_t row = begin; row < end; row++) {
        const int64_t g = row / w->taps, tap = row % w->taps, ky = tap / c->kernel[2] * w->win.dilation[0] - w->win.pad[0], kx = tap % c->kernel[2] * w->win.dilation[1] - w->win.pad[1];
        const float *dy = w->offset + row * 2 * w->points, *dx = dy + w->points, *by = w->mask ? w->mask + row * w->points : NULL;
        for (int64_t i = 0; i < w->n; i++) {
            const int64_t p = w->first + i;
            const float *at[4];
            float weight[4];
            int n = around(w, (double)(p / w->out[1] * w->win.stride[0] + ky) + (double)dy[p], (double)(p % w->out[1] * w->win.stride[1] + kx) + (double)dx[p], by ? by[p] : 1, at, weight);
            for (int k = 0; k < n; k++) at[k] += g * blocks * w->in[0] * w->in[1] * FY_LANES;
            w->x->k->blend_c16(w->columns + ((g * blocks * w->taps + tap) * w->n + i) * FY_LANES, w->taps * w->n * FY_LANES, at, w->in[0] * w->in[1] * FY_LANES, weight, n, blocks);
        }
    }
}

static void multiply(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    const fy_conv_any *d = &w->d->c;
    const int64_t nv = d->nr / FY_LANES, column = w->n * FY_LANES;
    for (int64_t i = begin; i < end; i++) {
        const int64_t g = i / d->panels, p = i % d->panels, block = g * d->out_blocks + p * nv, left = d->out_blocks - p * nv, at = (block * w->points + w->first) * FY_LANES;
        fy_conv_c16 c = {.x = w->columns + g * d->in_blocks * w->taps * column, .w = w->w + i * d->w_panel, .y = w->y + at, .lanes = FY_LANES, .in_blocks = d->in_blocks * w->taps,
                         .out_blocks = left, .kernel = {1, 1}, .out = {1, w->n}, .pixels = w->n, .x_block = column, .y_block = w->points * FY_LANES, .x_step = {0, FY_LANES}, .e = w->s->epilogue};
        c.e.bias = w->bias ? w->bias + block * FY_LANES : NULL;
        c.e.add = w->add ? w->add + at : NULL;
        w->x->k->conv_c16(&c, 0, 0, 1);
        for (int64_t b = 0; b < nv && b < left; b++) fy_cpu_finish(w->s, w->x, c.y + b * c.y_block, column);
    }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const deform *d = s->data;
    const fy_conv_any *c = &d->c;
    const fy_tensor *in = fy_step_in(s, x, X), *wt = fy_step_in(s, x, W), *offset = fy_step_in(s, x, OFFSET), *bias = s->node->nin > BIAS ? fy_step_in(s, x, BIAS) : NULL;
    const fy_tensor *mask = s->node->nin > MASK ? fy_step_in(s, x, MASK) : NULL, *add = s->add_in >= 0 ? fy_step_in(s, x, s->add_in) : NULL, *y = fy_step_out(s, x, 0);
    work w = {.d = d, .s = s, .x = x, .win = c->win, .in = {in->dim[2], in->dim[3]}, .out = {y->dim[2], y->dim[3]}, .points = y->dim[2] * y->dim[3], .taps = c->taps,
              .all_blocks = c->groups * c->in_blocks};
    if (!in->dim[0] || !w.points) return FY_OK;
    const int64_t mr = x->k->gemm_mr, point = w.all_blocks * FY_LANES * w.taps;
    int64_t most = COLUMNS / (int64_t)sizeof(float) / point / mr * mr, columns, given;
    if (most < mr) most = mr;
    if (most > w.points) most = w.points;
    void *room;
    bool fits = fy_mul_i64(&columns, most, point) && fy_add_i64(&given, columns, (wt ? c->count : 0) + (bias ? c->padded : 0));
    FY_NEED(e, fits, LIMIT, "too many taps");
    FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){given, sizeof(float)}, 2, e));
    w.columns = room;
    fy_conv_any_given(c, x->pool, w.columns + columns, wt, bias, &w.w, &w.bias);
    for (int64_t i = 0; i < in->dim[0]; i++) {
        w.from = (const float *)in->data + i * w.all_blocks * FY_LANES * w.in[0] * w.in[1];
        w.offset = (const float *)offset->data + i * d->shared * w.taps * 2 * w.points;
        w.mask = mask ? (const float *)mask->data + i * d->shared * w.taps * w.points : NULL;
        w.y = (float *)y->data + i * c->groups * c->out_blocks * FY_LANES * w.points;
        w.add = add ? (const float *)add->data + i * c->groups * c->out_blocks * FY_LANES * w.points : NULL;
        for (w.first = 0; w.first < w.points; w.first += w.n) {
            w.n = w.points - w.first < most ? w.points - w.first : most;
            fy_for(x->pool, d->shared * w.taps, 1, sample, &w);
            fy_for(x->pool, c->groups * c->panels, 1, multiply, &w);
        }
    }
    return FY_OK;
}

const fy_impl fy_cpu_deform = {.op = "DeformConv", .name = "conv.deform", .can = can, .layouts = layouts, .fuse = fy_cpu_conv_fuse, .prepare = prepare, .run = run};
