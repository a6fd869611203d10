/* SPDX-License-Identifier: Apache-2.0
 * conv_pair.c - a depthwise convolution, and a pointwise one with the depthwise one after it, in one pass over rows: a ring of as many padded rows
 * as the kernel is high is filled with rows of the input, or with what the pointwise convolution makes of them, and each output row is computed
 * from there. What lies between the two never leaves the cache, and padding costs no pass of its own.
 *   x f32[n, c, h, w] -> (y f32[n, m, h, w]) -> z f32[n, m, oh, ow], c16 all */
#include "engines/cpu/conv.h"

#include "ops/window.h"

#include <string.h>

#define HIGH 16                          /* rows of a kernel at most */
#define ROWS 40                          /* rows of the input at work, at most */
#define RING 5120                        /* floats of a ring: with weights and pixels at work they stay in a first-level cache of 32 KiB */
#define SMALL (196 << 10)                /* bytes of a sample between the two that stay in the cache anyway */

typedef struct pair {
    fy_window   win;                     /* of the depthwise one */
    float      *depth, *depth_bias;      /* [block][tap][16] */
    float      *point, *point_bias;      /* [group][channel][gemm_nr]; NULL: depthwise alone */
    fy_epilogue mid;                     /* activation between the two */
    int64_t     blocks, in_blocks, last; /* last: channels of the last input block */
} pair;

/* ---- may it? --------------------------------------------------------------------------------------------------------------- */

static bool is_conv(const fy_node *n) { return n && !*n->op->domain && !strcmp(n->op->name, "Conv"); }

static bool ones(const fy_node *n, const char *name, int64_t v) {
    int64_t count;
    const int64_t *d = fy_attr_ints(n, name, &count);
    for (int64_t i = 0; d && i < count; i++)
        if (d[i] != v) return false;
    return true;
}

/* f32 over two spatial axes, weights that are constants. */
static bool weighted(const fy_node *n, int64_t *wd) {
    const fy_value *x = fy_in(n, 0), *w = fy_in(n, 1), *b = fy_in(n, 2);
    return fy_cpu_f32(x) && fy_cpu_f32(w) && (!b || (fy_cpu_f32(b) && b->constant)) && x->type.rank == 4 && w->constant && w->type.rank == 4 && fy_cpu_dims(w, wd);
}

static const char *depthwise(const fy_node *n) {
    int64_t w[FY_MAX_RANK];
    if (!weighted(n, w)) return "not f32 over two spatial axes, or weights are no constants";
    if (w[1] != 1 || fy_attr_i(n, "group") != w[0]) return "not one filter for each channel";
    if (w[2] > HIGH) return "a high kernel";
    return ones(n, "dilations", 1) ? NULL : "dilations";
}

FY_COLD static const char *can(const fy_site *s) {
    const char *why = depthwise(s->node);
    int64_t x[FY_MAX_RANK], w[FY_MAX_RANK];
    if (why) return why;
    if (!s->sized) return "sizes depend on contents";
    fy_cpu_dims(fy_in(s->node, 0), x);
    fy_cpu_dims(fy_in(s->node, 1), w);
    return x[1] != w[0] ? "several filters for a channel" : NULL;
}

static const char *never(const fy_site *s) { (void)s; return "no pointwise convolution before it that only it reads, or too little between them to gain from"; }

bool fy_cpu_pointwise(const fy_node *n) {
    int64_t w[FY_MAX_RANK];
    return is_conv(n) && weighted(n, w) && w[2] == 1 && w[3] == 1 && fy_attr_i(n, "group") == 1 && ones(n, "strides", 1) && ones(n, "pads", 0);
}

FY_COLD static bool cover(const fy_node *n, fy_cover *c, fy_arena *a) {
    const fy_value *y = fy_in(n, 0);
    fy_epilogue e = {0};
    int64_t d[FY_MAX_RANK];
    (void)a;
    if (!c->sized || depthwise(n) || !y || !fy_cpu_inner(y) || !y->def) return false;
    fy_cpu_dims(y, d);
    if (d[1] < 0 || d[2] < 0 || d[3] < 0 || d[2] > 1 << 20 || d[3] > 1 << 20 || d[1] > 1 << 20 || d[1] * d[2] * d[3] * (int64_t)sizeof(float) <= SMALL) return false;
    const fy_node *p = y->def;
    if (fy_cpu_activation(&e, p) && fy_cpu_keeps_padding(e.act)) {
        if (!fy_cpu_inner(fy_in(p, 0))) return false;
        c->node[c->n++] = p;
        p = fy_in(p, 0)->def;
    }
    int64_t w[FY_MAX_RANK];
    if (!p || !fy_cpu_pointwise(p) || !fy_cpu_dims(fy_in(n, 1), w) || w[0] != d[1]) return false;
    c->node[c->n++] = p;
    c->in[c->nin++] = fy_in(p, 0);
    return true;
}

FY_COLD static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = *out = FY_C16; }

/* ---- packing --------------------------------------------------------------------------------------------------------------- */

typedef struct filling { pair *d; int64_t taps, c; int nr; } filling;

/* What no channel fills stays zero. */
static void fill_depthwise(void *arg, const float *w, int64_t begin, int64_t end) {
    const filling *f = arg;
    for (int64_t m = begin; m < end; m++)
        for (int64_t t = 0; t < f->taps; t++) f->d->depth[(m / FY_LANES * f->taps + t) * FY_LANES + m % FY_LANES] = w[(m - begin) * f->taps + t];
}

static fy_status pack_depthwise(pair *d, const fy_node *n, fy_plan *p, fy_arena *a, ferry_error *e) {
    const fy_const *w = fy_in(n, 1)->constant;
    filling f = {.d = d, .taps = w->dim[2] * w->dim[3]};
    bool filled;
    FY_TRY(fy_window_read(&d->win, n, 2, w->dim + 2, e));
    d->blocks = (w->dim[0] + FY_LANES - 1) / FY_LANES;
    d->depth = fy_cpu_packed(p, d->blocks * f.taps * FY_LANES, &filled);
    FY_NOMEM(e, d->depth);
    if (!filled) FY_TRY(fy_cpu_pack_rows(p, w, 1024, fill_depthwise, &f, e));
    return fy_cpu_pack_bias(&d->depth_bias, fy_in(n, 2), d->blocks * FY_LANES, a, e);
}

static void fill_pointwise(void *arg, const float *w, int64_t begin, int64_t end) {
    const filling *f = arg;
    for (int64_t m = begin; m < end; m++)
        for (int64_t k = 0; k < f->c; k++) f->d->point[(m / f->nr * f->d->in_blocks * FY_LANES + k) * f->nr + m % f->nr] = w[(m - begin) * f->c + k];
}

static fy_status pack_pointwise(pair *d, const fy_node *n, fy_plan *p, fy_arena *a, ferry_error *e) {
    const fy_const *w = fy_in(n, 1)->constant;
    const int nr = p->o.kernels->gemm_nr;
    const int64_t groups = (w->dim[0] + nr - 1) / nr;
    filling f = {.d = d, .c = w->dim[1], .nr = nr};
    bool filled;
    d->in_blocks = (f.c + FY_LANES - 1) / FY_LANES;
    d->last = f.c % FY_LANES;
    d->point = fy_cpu_packed(p, groups * d->in_blocks * FY_LANES * nr, &filled);
    FY_NOMEM(e, d->point);
    if (!filled) FY_TRY(fy_cpu_pack_rows(p, w, nr, fill_pointwise, &f, e));
    return fy_cpu_pack_bias(&d->point_bias, fy_in(n, 2), groups * nr, a, e);
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    pair *d = FY_NEW(a, pair);
    FY_NOMEM(e, d);
    FY_TRY(pack_depthwise(d, s->node, p, a, e));
    for (int i = 0; s->cover && i < s->cover->n; i++)
        if (is_conv(s->cover->node[i])) FY_TRY(pack_pointwise(d, s->cover->node[i], p, a, e));
        else FY_NEED(e, fy_cpu_activation(&d->mid, s->cover->node[i]), INTERNAL, "%s is no activation", s->cover->node[i]->op->name);
    for (int i = 1; !s->cover && i < s->node->nin; i++) s->in[i] = NULL;         /* packed */
    s->data = d;
    return FY_OK;
}

/* ---- running --------------------------------------------------------------------------------------------------------------- */

typedef struct work {
    const pair    *d;
    const fy_step *s;
    const fy_exec *x;
    fy_window      win;
    fy_conv_c16    depth, point;
    const float   *from, *add;
    float         *to, *room;
    int64_t        h, w, oh, ow, nv;
    int64_t        wide, high, left, skip, cols;             /* pixels of a padded row; rows of the ring; of a row: zeros before it, pixels cut off, pixels taken */
    int64_t        groups, bands, band, each, pieces, slot;  /* bands of `band` output rows; `each` pieces for a slot of the room; floats of one */
    bool           direct;                                   /* rows are read where they are */
} work;

/* What a piece works on: n blocks, in a ring of rows that begins with one of zeros. */
typedef struct part { float *ring; int64_t block, n; } part;

/* Rows [r, r + rows) of the input into the ring from `to` on, which has room for them. */
static void fill_rows(const work *k, const part *s, float *to, int64_t r, int64_t rows) {
    const int64_t row = k->wide * FY_LANES, apart = k->high * row;
    const float *from = k->from + (r * k->w + k->skip) * FY_LANES;
    to += k->left * FY_LANES;
    if (k->cols <= 0) return;
    if (!k->d->point) {
        for (int64_t b = 0; b < s->n; b++)
            for (int64_t i = 0; i < rows; i++)
                memcpy(to + b * apart + i * row, from + ((s->block + b) * k->h + i) * k->w * FY_LANES, (size_t)(k->cols * FY_LANES) * sizeof *to);
        return;
    }
    fy_conv_c16 c = k->point;
    c.x = from;
    c.w += s->block / k->nv * c.w_group;
    if (c.e.bias) c.e.bias += s->block * FY_LANES;
    c.y = to;
    c.y_block = apart;
    c.out_blocks = s->n;
    c.out[0] = rows;
    c.pixels = rows * k->cols;
    k->x->k->conv_c16(&c, 0, 0, rows);
    for (int64_t i = 0; i < s->n * rows && c.e.act > FY_ACT_CLAMP; i++) {
        float *y = to + i / rows * apart + i % rows * row;
        k->x->k->unary[c.e.act](y, y, k->cols * FY_LANES, c.e.p);
    }
}

/* Output rows [y, y + rows): at has the rows that they meet, of the first block. */
static void put_rows(const work *k, const part *s, const float *const *at, int64_t y, int64_t rows) {
    const int64_t taps = k->win.kernel[0] * k->win.kernel[1], high = (rows - 1) * k->win.stride[0] + k->win.kernel[0], apart = (k->direct ? k->h * k->w : k->high * k->wide) * FY_LANES;
    for (int64_t b = 0; b < s->n; b++) {
        const float *mine[ROWS];
        fy_conv_c16 c = k->depth;
        const int64_t place = ((s->block + b) * k->oh + y) * k->ow * FY_LANES;
        for (int64_t i = 0; i < high; i++) mine[i] = at[i] == s->ring ? at[i] : at[i] + b * apart;
        c.rows = mine;
        c.w += (s->block + b) * taps * FY_LANES;
        if (c.e.bias) c.e.bias += (s->block + b) * FY_LANES;
        if (k->add) c.e.add = k->add + place;
        c.y = k->to + place;
        k->x->k->depthwise_c16(&c, 0, 0, rows);
        fy_cpu_finish(k->s, k->x, c.y, rows * k->ow * FY_LANES);
    }
}

/* Output rows [y0, y1), some at a time. */
static void rows_of(const work *k, const part *s, int64_t y0, int64_t y1) {
    const int64_t kh = k->win.kernel[0], step = k->win.stride[0], row = k->wide * FY_LANES, most = (k->high - kh) / step + 1;
    const float *at[ROWS];
    int64_t ready = 0;
    if (!k->direct) memset(s->ring, 0, (size_t)((s->n * k->high + 1) * row) * sizeof *s->ring);
    for (int64_t y = y0, rows; y < y1; y += rows) {
        rows = y1 - y < most ? y1 - y : most;
        int64_t top = y * step - k->win.pad[0], high = (rows - 1) * step + kh, end = top + high < k->h ? top + high : k->h;
        for (int64_t r = top > ready ? top : ready, run; r < end && !k->direct; r += run) {
            run = k->high - r % k->high < end - r ? k->high - r % k->high : end - r;
            fill_rows(k, s, s->ring + (1 + r % k->high) * row, r, run);
        }
        if (end > ready) ready = end;
        for (int64_t i = 0; i < high; i++) {
            int64_t r = top + i;
            if (k->direct) at[i] = k->from + (s->block * k->h + r) * k->w * FY_LANES;
            else at[i] = r < 0 || r >= k->h ? s->ring : s->ring + (1 + r % k->high) * row;
        }
        put_rows(k, s, at, y, rows);
    }
}

static void slots(void *arg, int64_t begin, int64_t end) {
    const work *k = arg;
    for (int64_t i = begin * k->each; i < end * k->each && i < k->pieces; i++) {
        const int64_t block = i / k->bands * k->nv, y0 = i % k->bands * k->band, y1 = y0 + k->band < k->oh ? y0 + k->band : k->oh;
        rows_of(k, &(part){k->room + i / k->each * k->slot, block, k->d->blocks - block < k->nv ? k->d->blocks - block : k->nv}, y0, y1);
    }
}

static int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Rows of the ring: as many as stay in the first-level cache, so that a call of a kernel has something to do. */
static int64_t ring_rows(const work *k) {
    const int64_t kh = k->win.kernel[0], step = k->win.stride[0], rows = RING / (k->nv * k->wide * FY_LANES);
    int64_t together = rows > kh ? (rows - kh) / step + 1 : 1;
    if (together > (ROWS - kh) / step + 1) together = (ROWS - kh) / step + 1;
    if (together > k->band) together = k->band;
    return (together - 1) * step + kh;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const pair *d = s->data;
    const fy_tensor *in = fy_step_in(s, x, 0), *add = s->add_in >= 0 ? fy_step_in(s, x, s->add_in) : NULL;
    fy_tensor *y = fy_step_out(s, x, 0);
    work k = {.d = d, .s = s, .x = x, .win = d->win, .h = in->dim[2], .w = in->dim[3], .oh = y->dim[2], .ow = y->dim[3], .nv = d->point ? x->k->gemm_nr / FY_LANES : 1};
    int64_t in_blocks = d->point ? d->in_blocks : d->blocks;
    if (!in->dim[0] || k.oh <= 0 || k.ow <= 0) return FY_OK;
    fy_window_place(&k.win, in->dim + 2, y->dim + 2);
    k.wide = (k.ow - 1) * k.win.stride[1] + k.win.kernel[1];
    k.left = k.win.pad[1] > 0 ? k.win.pad[1] : 0;
    k.skip = k.win.pad[1] < 0 ? -k.win.pad[1] : 0;
    if (k.left > k.wide) k.left = k.wide;
    k.cols = k.w - k.skip < k.wide - k.left ? k.w - k.skip : k.wide - k.left;
    k.direct = !d->point && !k.win.pad[0] && !k.win.pad[1] && k.wide <= k.w && (k.oh - 1) * k.win.stride[0] + k.win.kernel[0] <= k.h;
    k.groups = up(d->blocks, k.nv);
    k.bands = k.groups < 12 ? up(12, k.groups) : 1;          /* few groups: rows are split as well, and some computed twice */
    k.band = up(k.oh, k.bands) < 8 ? 8 : up(k.oh, k.bands);
    k.bands = up(k.oh, k.band);
    k.pieces = k.groups * k.bands;
    k.each = up(k.pieces, fy_pool_threads(x->pool) > 1 ? 4 * fy_pool_threads(x->pool) : 1);
    k.high = ring_rows(&k);
    k.slot = k.direct ? 0 : (k.nv * k.high + 1) * k.wide * FY_LANES;
    void *room = NULL;
    if (!k.direct) FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){up(k.pieces, k.each), k.slot, sizeof(float)}, 3, e));
    k.room = room;
    k.depth = (fy_conv_c16){.w = d->depth, .out_blocks = 1, .kernel = {k.win.kernel[0], k.win.kernel[1]}, .out = {0, k.ow},
                            .x_step = {k.win.stride[0], k.win.stride[1] * FY_LANES}, .tap = {0, FY_LANES}, .e = s->epilogue};
    k.depth.e.bias = d->depth_bias;
    k.point = (fy_conv_c16){.w = d->point, .lanes = FY_LANES, .last = d->last, .in_blocks = in_blocks, .kernel = {1, 1}, .out = {0, k.cols}, .w_group = in_blocks * FY_LANES * x->k->gemm_nr,
                            .x_block = k.h * k.w * FY_LANES, .y_row = k.wide * FY_LANES, .x_step = {k.w * FY_LANES, FY_LANES}, .e = d->mid};
    k.point.e.bias = d->point_bias;
    for (int64_t i = 0; i < in->dim[0]; i++) {
        k.from = (const float *)in->data + i * in_blocks * k.h * k.w * FY_LANES;
        k.to = (float *)y->data + i * d->blocks * k.oh * k.ow * FY_LANES;
        k.add = add ? (const float *)add->data + i * d->blocks * k.oh * k.ow * FY_LANES : NULL;
        fy_for(x->pool, up(k.pieces, k.each), 1, slots, &k);
    }
    return FY_OK;
}

const fy_impl fy_cpu_conv_pair = {.op = "Conv", .name = "conv.pair", .can = never, .layouts = layouts, .cover = cover, .fuse = fy_cpu_conv_fuse, .prepare = prepare, .run = run};
const fy_impl fy_cpu_conv_rows = {.op = "Conv", .name = "conv.depthwise_rows", .can = can, .layouts = layouts, .fuse = fy_cpu_conv_fuse, .prepare = prepare, .run = run};
