/* SPDX-License-Identifier: Apache-2.0
 * winograd3.c - convolutions over three axes by kernels k x 3 x 3 of stride 1 along the last two: F(4x4, 3x3) there, and the taps along the first are further
 * summands of the products. A tile's transforms of neighbouring planes lie behind each other, so that k of them are one row of a product and rows overlap. */
#include "engines/cpu/conv.h"

#include <string.h>

#define SCRATCH (3 << 19)                /* bytes that the tiles at work take at least before there are more of them than a product's rows */
#define DEEP 8                           /* output planes at a time: their inputs overlap */

static bool all_ones(const fy_node *n, const char *name, int from) {
    int64_t count;
    const int64_t *v = fy_attr_ints(n, name, &count);
    for (int64_t i = from; v && i < count; i++)
        if (v[i] != 1) return false;
    return true;
}

static const char *can(const fy_site *s) {
    int64_t w[FY_MAX_RANK], y[FY_MAX_RANK];
    const fy_node *n = s->node;
    const fy_value *x = fy_in(n, 0), *b = fy_in(n, 2);
    if (!fy_cpu_f32(x) || !fy_cpu_f32(fy_in(n, 1)) || (b && !fy_cpu_f32(b))) return "not f32";
    if (x->type.rank != 5) return "not three spatial axes";
    if (!fy_in(n, 1)->constant || (b && !b->constant)) return "weights are no constants";
    if (s->exact) return "exact results are asked for";
    if (s->lean) return "little memory is asked for: the weights would be four times as large";
    fy_cpu_dims(fy_in(n, 1), w);
    if (w[3] != 3 || w[4] != 3 || w[2] < 1 || fy_attr_i(n, "group") != 1) return "no plain 3 x 3 in the last two axes";
    if (!all_ones(n, "strides", 1)) return "strides";
    if (!all_ones(n, "dilations", 0)) return "dilations";
    if (w[0] < FY_LANES || w[1] < FY_LANES) return "few channels";
    fy_cpu_dims(fy_outv(n, 0), y);
    for (int i = 2; i < 5; i++)
        if (y[i] < 0 || y[i] > 1 << 20) return NULL;
    return y[2] * y[3] * y[4] < 200 ? "few pixels: the weights would be read for too few tiles" : NULL;
}

static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = *out = FY_C16; }

typedef struct work {
    const fy_winograd *d;
    const fy_step *s;
    const fy_exec *x;
    fy_window win;
    const float *in, *add;
    float *out, *v, *m;                                      /* v[36][tile][plane][channel], m[36][plane][tile][channel] */
    int64_t size[3], to[3];                                  /* of the input, of the output */
    int64_t across, first, tiles, z, deep, planes, apart_v, apart_m;
} work;

static void transform_in(void *arg, int64_t begin, int64_t end) {
    const work *k = arg;
    const int64_t blocks = k->d->in_blocks, area = k->size[1] * k->size[2] * FY_LANES;
    for (int64_t i = begin; i < end; i++) {
        int64_t b = i % blocks, p = i / blocks % k->planes, t = i / blocks / k->planes, at = k->first + t, plane = k->z * k->win.stride[0] - k->win.pad[0] + p;
        float *v = k->v + ((t * k->planes + p) * blocks + b) * FY_LANES;
        if (plane >= 0 && plane < k->size[0])
            k->x->k->winograd_in_c16(v, k->apart_v, k->in + (b * k->size[0] + plane) * area, k->size[1], k->size[2], at / k->across * 4 - k->win.pad[1], at % k->across * 4 - k->win.pad[2]);
        else
            for (int q = 0; q < FY_WINOGRAD; q++) memset(v + q * k->apart_v, 0, FY_LANES * sizeof *v);
    }
}

/* A run of (position, panel) pairs. */
static void multiply(void *arg, int64_t begin, int64_t end) {
    const work *k = arg;
    const int64_t plane = k->d->in_blocks * FY_LANES, panels = k->d->panels, n = k->d->out_blocks * FY_LANES;
    for (int64_t i = begin; i < end;) {
        int64_t position = i / panels, p = i % panels, last = p + (end - i) < panels ? p + (end - i) : panels;
        for (int64_t q = p; q < last; q++)
            for (int64_t z = 0; z < k->deep; z++) {
                fy_gemm_f32 g = {.a = k->v + position * k->apart_v + z * k->win.stride[0] * plane, .b = k->d->u + position * k->d->each, .c = k->m + position * k->apart_m + z * k->tiles * n,
                                 .m = k->tiles, .n = n, .k = k->d->row, .a_row = k->planes * plane, .c_row = n};
                k->x->k->gemm_f32(&g, 0, k->tiles, q, q + 1);
            }
        i += last - p;
    }
}

static void transform_out(void *arg, int64_t begin, int64_t end) {
    const work *k = arg;
    const int64_t blocks = k->d->out_blocks;
    for (int64_t i = begin; i < end; i++) {
        int64_t b = i % blocks, t = i / blocks % k->tiles, z = i / blocks / k->tiles, at = k->first + t, plane = (b * k->to[0] + k->z + z) * k->to[1] * k->to[2] * FY_LANES;
        k->x->k->winograd_out_c16(k->out + plane, k->add ? k->add + plane : NULL, k->m + ((z * k->tiles + t) * blocks + b) * FY_LANES, k->apart_m, k->to[1], k->to[2],
                                  at / k->across * 4, at % k->across * 4, k->d->bias ? k->d->bias + b * FY_LANES : NULL, &k->s->epilogue);
    }
}

/* Tiles and planes at a time: as many as stay in the cache, but not fewer rows than keep a product busy. */
static int64_t tiles_at_once(const work *k, int64_t all) {
    const int64_t mr = k->x->k->gemm_mr, each = FY_WINOGRAD * (k->planes * k->d->in_blocks + k->deep * k->d->out_blocks) * FY_LANES * (int64_t)sizeof(float);
    int64_t most = SCRATCH / each / mr * mr, pieces;
    if (most < mr) most = mr;
    pieces = (all + most / 2) / most;
    if (pieces < 1) pieces = 1;
    return (all + pieces - 1) / pieces;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_winograd *d = s->data;
    const fy_tensor *in = fy_step_in(s, x, 0), *add = s->add_in >= 0 ? fy_step_in(s, x, s->add_in) : NULL;
    fy_tensor *y = fy_step_out(s, x, 0);
    work k = {.d = d, .s = s, .x = x, .win = d->win, .size = {in->dim[2], in->dim[3], in->dim[4]}, .to = {y->dim[2], y->dim[3], y->dim[4]}};
    const int64_t x_size = d->in_blocks * FY_LANES * k.size[0] * k.size[1] * k.size[2], y_size = d->out_blocks * FY_LANES * k.to[0] * k.to[1] * k.to[2];
    fy_window_place(&k.win, in->dim + 2, y->dim + 2);
    if (!in->dim[0] || !y_size) return FY_OK;
    k.across = (k.to[2] + 3) / 4;
    const int64_t all = (k.to[1] + 3) / 4 * k.across, deep = k.to[0] < DEEP ? k.to[0] : DEEP, stride = k.win.stride[0];
    k.deep = deep;
    k.planes = (deep - 1) * stride + k.win.kernel[0];
    const int64_t most = tiles_at_once(&k, all);
    void *room;
    FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){FY_WINOGRAD, most, k.planes * d->in_blocks + deep * d->out_blocks, FY_LANES, sizeof(float)}, 5, e));
    k.v = room;
    k.m = k.v + FY_WINOGRAD * most * k.planes * d->in_blocks * FY_LANES;
    for (int64_t i = 0; i < in->dim[0]; i++) {
        k.in = (const float *)in->data + i * x_size;
        k.out = (float *)y->data + i * y_size;
        k.add = add ? (const float *)add->data + i * y_size : NULL;
        for (k.z = 0; k.z < k.to[0]; k.z += deep) {
            k.deep = k.to[0] - k.z < deep ? k.to[0] - k.z : deep;
            k.planes = (k.deep - 1) * stride + k.win.kernel[0];
            for (k.first = 0; k.first < all; k.first += most) {
                k.tiles = all - k.first < most ? all - k.first : most;
                k.apart_v = k.tiles * k.planes * d->in_blocks * FY_LANES;
                k.apart_m = k.tiles * k.deep * d->out_blocks * FY_LANES;
                fy_for(x->pool, k.tiles * k.planes * d->in_blocks, 16, transform_in, &k);
                fy_for(x->pool, FY_WINOGRAD * d->panels, 1 + 1000000 / (k.tiles * k.deep * d->row * x->k->gemm_nr), multiply, &k);
                fy_for(x->pool, k.tiles * k.deep * d->out_blocks, 16, transform_out, &k);
            }
        }
        fy_cpu_finish(s, x, k.out, y_size);
    }
    return FY_OK;
}

const fy_impl fy_cpu_winograd3 = {.op = "Conv", .name = "conv.winograd3", .can = can, .layouts = layouts, .fuse = fy_cpu_conv_fuse, .prepare = fy_winograd_prepare, .run = run};
