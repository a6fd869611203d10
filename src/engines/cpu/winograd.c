/* SPDX-License-Identifier: Apache-2.0
 * winograd.c - 3 x 3 convolutions of stride 1 as F(4x4, 3x3): 36 products of [tiles, channels] by [channels, channels] instead of 9 for each
 * pixel, 4 times less arithmetic; small images as F(2x2, 3x3), 16 products, whose weights are less than half as many. See kernels/body/winograd.h for the
 * points; `exact` turns it off. */
#include "engines/cpu/conv.h"

#include "base/checked.h"

#define APART 1                          /* vectors between the positions: a transform meets all 36 at once, and multiples of 4 KiB share the sets of the caches */
#define SCRATCH (3 << 17)                /* bytes that the tiles at work may take in the second-level cache, beside the weights that pass */

#define FEW 9                            /* tiles for which it pays to read the weights of all products */

/* Outputs of a tile along an axis, 4 or 2; 0: too few tiles. Below 0: a size is not known beforehand. */
static int64_t tile(int64_t h, int64_t w) {
    if (h < 0 || w < 0 || h > 1 << 20 || w > 1 << 20 || (h + 3) / 4 * ((w + 3) / 4) >= FEW) return 4;
    return (h + 1) / 2 * ((w + 1) / 2) >= FEW ? 2 : 0;
}

static const char *can(const fy_site *s) {
    int64_t w[4], n, y[4];
    const char *why = fy_cpu_conv_can(s, w);
    const int64_t *v;
    if (why) return why;
    if (s->exact) return "exact results are asked for";
    if (s->lean) return "little memory is asked for: the weights would be four times as large";
    if (w[2] != 3 || w[3] != 3 || fy_attr_i(s->node, "group") != 1) return "no plain 3 x 3";
    v = fy_attr_ints(s->node, "strides", &n);
    for (int64_t i = 0; v && i < n; i++)
        if (v[i] != 1) return "strides";
    v = fy_attr_ints(s->node, "dilations", &n);
    for (int64_t i = 0; v && i < n; i++)
        if (v[i] != 1) return "dilations";
    if (w[0] < 16 || w[1] < 16) return "few channels";
    fy_cpu_dims(fy_outv(s->node, 0), y);
    if (!tile(y[2], y[3])) return "a small image: the weights would be read for too few tiles";
    return NULL;
}

static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = *out = FY_C16; }

/* Rows of G: (1, p, p^2) / product of the differences to the other points; infinity takes the last tap. */
static void points(double rows[6][3], int64_t tile) {
    static const double point[2][5] = {{0, 0.75, -0.75, 1.5, -1.5}, {0, 1, -1}};
    const double *at = point[tile == 2];
    for (int64_t i = 0; i <= tile; i++) {
        double scale = 1;
        for (int64_t j = 0; j <= tile; j++)
            if (j != i) scale *= at[i] - at[j];
        for (int k = 0; k < 3; k++) rows[i][k] = (k == 0 ? 1 : k == 1 ? at[i] : at[i] * at[i]) / scale;
    }
    rows[tile + 1][0] = rows[tile + 1][1] = 0;
    rows[tile + 1][2] = 1;
}

/* 16 filters at a time: u = G g G', n x n. */
static void filters(double (*u)[FY_LANES], int64_t n, const double g[9][FY_LANES], const double rows[6][3]) {
    double half[6][3][FY_LANES];
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            for (int l = 0; l < FY_LANES; l++) half[i][c][l] = rows[i][0] * g[c][l] + rows[i][1] * g[3 + c][l] + rows[i][2] * g[6 + c][l];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            for (int l = 0; l < FY_LANES; l++) u[n * i + j][l] = half[i][0][l] * rows[j][0] + half[i][1][l] * rows[j][1] + half[i][2][l] * rows[j][2];
}

/* Filters [begin, end) of w[m, c, depth, 3, 3], whole vectors of them; depth is 1 where there are two axes. */
typedef struct filling { const fy_winograd *d; int nr; int64_t depth; double rows[6][3]; } filling;

static void pack(void *arg, const float *w, int64_t begin, int64_t end) {
    const filling *f = arg;
    const fy_winograd *d = f->d;
    const int64_t depth = f->depth;
    for (int64_t m = begin; m < end; m += FY_LANES)
        for (int64_t c = 0; c < d->cin * depth; c++) {
            double g[9][FY_LANES] = {{0}}, u[FY_WINOGRAD][FY_LANES];
            float *to = d->u + m / f->nr * f->nr * d->row + (c % depth * d->in_blocks * FY_LANES + c / depth) * f->nr + m % f->nr;
            for (int l = 0; l < FY_LANES && m + l < end; l++)
                for (int i = 0; i < 9; i++) g[i][l] = (double)w[((m - begin + l) * d->cin * depth + c) * 9 + i];
            filters(u, d->tile + 2, (const double(*)[FY_LANES])g, f->rows);
            for (int64_t i = 0; i < d->products; i++)
                for (int l = 0; l < FY_LANES; l++) to[i * d->each + l] = (float)u[i][l];
        }
}

fy_status fy_winograd_prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    fy_winograd *d = FY_NEW(a, fy_winograd);
    const fy_const *w = s->in[1]->constant;
    const int nr = p->o.kernels->gemm_nr, axes = w->rank - 2;
    const int64_t depth = axes == 3 ? w->dim[2] : 1;
    int64_t all, y[FY_MAX_RANK];
    bool filled, fits;
    FY_NOMEM(e, d);
    FY_TRY(fy_window_read(&d->win, s->node, axes, w->dim + 2, e));
    fy_cpu_dims(fy_outv(s->node, 0), y);
    d->tile = axes == 3 ? 4 : tile(y[2], y[3]);
    d->products = (d->tile + 2) * (d->tile + 2);
    d->cout = w->dim[0];
    d->cin = w->dim[1];
    d->in_blocks = (d->cin + FY_LANES - 1) / FY_LANES;
    d->out_blocks = (d->cout + FY_LANES - 1) / FY_LANES;
    d->panels = (d->cout + nr - 1) / nr;
    fits = fy_mul_i64(&d->row, d->in_blocks * FY_LANES, depth) && fy_mul_i64(&d->each, d->row, d->panels * nr) && fy_mul_i64(&all, d->each, d->products);
    FY_NEED(e, fits, LIMIT, "the weights are too many");
    d->u = fy_cpu_packed(p, all, &filled);
    FY_NOMEM(e, d->u);
    if (!filled) {
        filling f = {.d = d, .nr = nr, .depth = depth};
        points(f.rows, d->tile);
        FY_TRY(fy_cpu_pack_rows(p, w, FY_LANES, pack, &f, e));
    }
    FY_TRY(fy_cpu_pack_bias(&d->bias, s->node->nin > 2 ? s->in[2] : NULL, d->out_blocks * FY_LANES, a, e));
    s->data = d;
    for (int i = 1; i < s->node->nin; i++) s->in[i] = NULL;
    return FY_OK;
}

typedef struct work {
    const fy_winograd *d;
    const fy_step *s;
    const fy_exec *x;
    const float *in, *add;
    float *out, *v, *m;
    int64_t h, w, oh, ow, across, first, tiles, apart_v, apart_m;
} work;

static void transform_in(void *arg, int64_t begin, int64_t end) {
    const work *k = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t t = i % k->tiles, b = i / k->tiles, at = k->first + t;
        (k->d->tile == 4 ? k->x->k->winograd_in_c16 : k->x->k->winograd2_in_c16)(k->v + i * FY_LANES, k->apart_v, k->in + b * k->h * k->w * FY_LANES, k->h, k->w,
                                 at / k->across * k->d->tile - k->d->win.pad[0], at % k->across * k->d->tile - k->d->win.pad[1]);
    }
}

/* A run of (position, panel) pairs: each position is a pointwise convolution of the tiles, whose weights come from memory in the order of the pairs. */
static void multiply(void *arg, int64_t begin, int64_t end) {
    const work *k = arg;
    const int64_t panels = k->d->panels, block = k->tiles * FY_LANES;
    fy_conv_c16 c = {.lanes = FY_LANES, .last = k->d->cin % FY_LANES, .in_blocks = k->d->in_blocks, .out_blocks = k->d->out_blocks, .kernel = {1, 1}, .out = {1, k->tiles}, .w_group = k->d->row * k->x->k->gemm_nr,
                     .pixels = k->tiles, .x_block = block, .y_block = block, .x_step = {block, FY_LANES}};
    for (int64_t i = begin; i < end; i++) {
        int64_t position = i / panels;
        c.x = k->v + position * k->apart_v;
        c.w = k->d->u + position * k->d->each;
        c.y = k->m + position * k->apart_m;
        k->x->k->conv_c16(&c, i % panels, 0, 1);
    }
}

static void transform_out(void *arg, int64_t begin, int64_t end) {
    const work *k = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t t = i % k->tiles, b = i / k->tiles, at = k->first + t, plane = b * k->oh * k->ow * FY_LANES;
        (k->d->tile == 4 ? k->x->k->winograd_out_c16 : k->x->k->winograd2_out_c16)(k->out + plane, k->add ? k->add + plane : NULL, k->m + i * FY_LANES, k->apart_m, k->oh, k->ow,
                                  at / k->across * k->d->tile, at % k->across * k->d->tile, k->d->bias ? k->d->bias + b * FY_LANES : NULL, &k->s->epilogue);
    }
}

/* Pieces of tiles, every `slots`-th for one thread with room of its own: nobody waits for anybody between the stages. */
typedef struct shares { const work *k; int64_t all, most, slots, room; } shares;

static void share(void *arg, int64_t begin, int64_t end) {
    const shares *h = arg;
    for (int64_t slot = begin; slot < end; slot++) {
        work k = *h->k;
        k.v += slot * h->room;
        k.m += slot * h->room;
        for (k.first = slot * h->most; k.first < h->all; k.first += h->slots * h->most) {
            k.tiles = h->all - k.first < h->most ? h->all - k.first : h->most;
            transform_in(&k, 0, k.tiles * k.d->in_blocks);
            multiply(&k, 0, k.d->products * k.d->panels);
            transform_out(&k, 0, k.tiles * k.d->out_blocks);
        }
    }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_winograd *d = s->data;
    const fy_tensor *in = fy_step_in(s, x, 0), *add = s->add_in >= 0 ? fy_step_in(s, x, s->add_in) : NULL;
    fy_tensor *y = fy_step_out(s, x, 0);
    fy_winograd placed = *d;
    work k = {.d = &placed, .s = s, .x = x, .h = in->dim[2], .w = in->dim[3], .oh = y->dim[2], .ow = y->dim[3]};
    int64_t channels = (d->in_blocks + d->out_blocks) * FY_LANES, all, most, x_size = d->in_blocks * FY_LANES * k.h * k.w, y_size = d->out_blocks * FY_LANES * k.oh * k.ow;
    fy_window_place(&placed.win, in->dim + 2, y->dim + 2);
    k.across = (k.ow + d->tile - 1) / d->tile;
    all = (k.oh + d->tile - 1) / d->tile * k.across;
    most = SCRATCH / (d->products * channels * (int64_t)sizeof(float));
    if (most < 2 * x->k->gemm_mr) most = 2 * x->k->gemm_mr;  /* fewer would read the weights too often */
    if (most > all) most = all;
    if (!all) return FY_OK;
    const int64_t threads = fy_pool_threads(x->pool);
    int64_t pieces = (all + most - 1) / most, slots = 1;
    if (threads > 1 && pieces >= threads) {                  /* as many for each thread */
        pieces = (pieces + threads - 1) / threads * threads;
        slots = pieces / threads < 4 ? threads : 2 * threads;
    }
    most = (all + pieces - 1) / pieces;                      /* of nearly equal size */
    k.apart_v = (most * d->in_blocks + APART) * FY_LANES;
    k.apart_m = (most * d->out_blocks + APART) * FY_LANES;
    shares h = {.k = &k, .all = all, .most = most, .slots = slots, .room = d->products * (k.apart_v + k.apart_m)};
    void *room;
    FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){slots, h.room, sizeof(float)}, 3, e));
    k.v = room;
    k.m = k.v + d->products * k.apart_v;
    for (int64_t i = 0; i < in->dim[0]; i++) {
        k.in = (const float *)in->data + i * x_size;
        k.out = (float *)y->data + i * y_size;
        k.add = add ? (const float *)add->data + i * y_size : NULL;
        if (slots > 1) fy_for(x->pool, slots, 1, share, &h);
        for (k.first = 0; slots == 1 && k.first < all; k.first += most) {
            k.tiles = all - k.first < most ? all - k.first : most;
            fy_for(x->pool, k.tiles * d->in_blocks, 16, transform_in, &k);
            fy_for(x->pool, d->products * d->panels, 1 + 1000000 / (k.tiles * d->in_blocks * FY_LANES * x->k->gemm_nr), multiply, &k);
            fy_for(x->pool, k.tiles * d->out_blocks, 16, transform_out, &k);
        }
        fy_cpu_finish(s, x, k.out, y_size);
    }
    return FY_OK;
}

const fy_impl fy_cpu_winograd = {.op = "Conv", .name = "conv.winograd", .can = can, .layouts = layouts, .fuse = fy_cpu_conv_fuse, .prepare = fy_winograd_prepare, .run = run};
