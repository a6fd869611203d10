/* SPDX-License-Identifier: Apache-2.0
 * conv8.c - Conv over bytes in two spatial axes, in the c16 layout: direct, in groups that are whole blocks, depthwise, and the first layer, whose
 * few channels are read interleaved, four or eight to a pixel. Padding holds the zero point.
 *   DequantizeLinear x, w, bias -> Conv -> [Relu, Clip] -> QuantizeLinear [-> DequantizeLinear -> Add -> [Relu] -> QuantizeLinear] */
#include "engines/cpu/conv.h"
#include "engines/cpu/qdq.h"

#include "ops/window.h"

#include <string.h>

#define FEW 8                            /* channels up to which interleaving beats blocks of 16 */

enum { DIRECT, FIRST, DEPTHWISE };
/* cin, cout, groups: of one of conv_groups; blocks: of input channels, `pixel` bytes of each side by side. down: rows of taps; fold: so many rows of
 * the first layer's input lie side by side in a pixel, and of its filters in a tap. */
typedef struct conv8 { fy_window win; int how; int64_t cin, cout, conv_groups, groups, blocks, lanes, pixel, w_group, down, fold; } conv8;

const char *fy_conv8_can(const fy_node *n, fy_bytes *x, fy_weights8 *w) {
    int64_t d[FY_MAX_RANK], group = fy_attr_i(n, "group");
    if (!fy_in(n, 0) || fy_in(n, 0)->type.rank != 4) return "not two spatial axes";
    if (!fy_cpu_f32(fy_outv(n, 0)) || !fy_qdq_from(fy_in(n, 0), x)) return "the input is not dequantised";
    const char *why = fy_qdq_weights(fy_in(n, 1), 0, w);
    if (why) return why;
    if (w->w->type.rank != 4 || !fy_cpu_dims(w->w, d) || d[0] < 1 || d[1] < 1 || d[2] < 1 || d[3] < 1) return "weights without elements";
    if (d[1] * d[2] * d[3] > 65536) return "sums may leave 32 bits";
    if (group == 1 || (group == d[0] && d[1] == 1)) return NULL;
    return group < 1 || d[1] % FY_LANES || d[0] % group || d[0] / group % FY_LANES ? "groups that are no blocks of 16 channels" : NULL;
}

static const char *const conv_ops[] = {"Conv", NULL};

FY_COLD static bool cover(const fy_node *n, fy_cover *c, fy_arena *a) { return c->sized && fy_layer8_cover(n, conv_ops, fy_conv8_can, c, a); }

static int how_of(const fy_layer8 *d) {
    int64_t w[4], group = fy_attr_i(d->core, "group");
    (void)fy_cpu_dims(d->w.w, w);
    return group > 1 && w[1] == 1 ? DEPTHWISE : group == 1 && w[1] <= FEW ? FIRST : DIRECT;
}

FY_COLD static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) {
    const fy_layer8 *d = s->cover->data;
    in[0] = how_of(d) == FIRST ? FY_PLAIN : FY_C16;
    if (d->add_in >= 0) in[d->add_in] = FY_C16;
    *out = FY_C16;
}

FY_COLD static bool fuse(fy_step *s, const fy_node *next, const fy_value **other) {
    const fy_layer8 *d = s->data;
    return !d->root && fy_cpu_conv_fuse(s, next, other);
}

/* [group][block][tap][lanes / 4][nr][4], a row of taps over interleaved channels as one tap; depthwise [block][down][across / 4][16][4]. */
static void pack(const conv8 *d, const fy_tensor *w, uint8_t flip, int nr, int64_t first, int8_t *to, int32_t *sums) {
    const int64_t kh = d->win.kernel[0], kw = d->win.kernel[1], part = d->pixel / d->fold;
    const bool merged = d->how == FIRST && d->win.dilation[1] == 1;
    const uint8_t *from = w->data;
    for (int64_t g = 0; g < d->groups; g++)
        for (int64_t b = 0; b < d->blocks; b++)
            for (int64_t i = 0; i < d->down; i++)
                for (int64_t j = 0; j < (merged || d->how == DEPTHWISE ? 1 : kw); j++)
                    for (int64_t l = 0; l < d->lanes; l += 4)
                        for (int o = 0; o < nr; o++)
                            for (int64_t t = l; t < l + 4; t++, to++) {
                                int64_t m = g * nr + o, ch = b * d->pixel + t, col = j, row = i;
                                if (d->how == DEPTHWISE) { ch = 0; col = t; }
                                else if (d->how == FIRST) { ch = t % part; row = i * d->fold + t % d->pixel / part; col = merged ? t / d->pixel : j; }
                                bool in = m < d->cout && ch < (d->how == DEPTHWISE ? 1 : d->cin) && col < kw && row < kh;
                                *to = in ? (int8_t)(from[(first + m) * w->stride[0] + ch * w->stride[1] + row * w->stride[2] + col * w->stride[3]] ^ flip) : 0;
                                sums[m] += *to;
                            }
}

static fy_status pack_all(fy_layer8 *l, conv8 *d, int nr, fy_plan *p, fy_arena *a, ferry_error *e) {
    int64_t padded = d->groups * nr, columns = d->cout * d->conv_groups;
    bool merged = d->how == FIRST && d->win.dilation[1] == 1;
    d->w_group = d->blocks * d->down * (merged || d->how == DEPTHWISE ? 1 : d->win.kernel[1]) * d->lanes * nr;
    bool filled;
    int32_t *sums = fy_layer8_room(l, p, d->w_group * d->groups * d->conv_groups, columns + padded, &filled);
    FY_NOMEM(e, sums);
    if (!filled) {
        fy_tensor w;
        FY_TRY(fy_const_tensor(&w, l->w.w->constant, e));
        for (int64_t g = 0; g < d->conv_groups; g++) pack(d, &w, l->w.flip, nr, g * d->cout, l->packed + g * d->groups * d->w_group, sums + g * d->cout);
        fy_tensor_free(&w);
    }
    return fy_layer8_pack(l, sums, columns, columns + padded, a, e);
}

/* Channels of a pixel that are to lie side by side. Bringing more than a block together pays where many products meet them. */
static int64_t side_by_side(const conv8 *d, const fy_kernels *k) {
    const int64_t blocks = (d->cin + FY_LANES - 1) / FY_LANES, most = k->int8_lanes / FY_LANES;
    if (d->conv_groups > 1 || most < 2 || d->win.kernel[0] * d->win.kernel[1] * d->groups < 2) return FY_LANES;
    const int64_t wide = (blocks + most - 1) / most;
    return (blocks + wide - 1) / wide * FY_LANES;
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    fy_layer8 *l = s->data;
    conv8 *d = FY_NEW(a, conv8);
    int64_t w[4];
    FY_NOMEM(e, d);
    (void)fy_cpu_dims(l->w.w, w);
    FY_TRY(fy_window_read(&d->win, l->core, 2, w + 2, e));
    d->how = how_of(l);
    d->conv_groups = d->how == DEPTHWISE ? 1 : fy_attr_i(l->core, "group");
    d->cin = d->how == DEPTHWISE ? w[0] : w[1];
    d->cout = w[0] / d->conv_groups;
    int nr = d->how == DEPTHWISE ? FY_LANES : p->o.kernels->int8_nr;
    d->groups = (d->cout + nr - 1) / nr;
    d->fold = d->how == FIRST && p->o.kernels->int8_lanes > FY_LANES && d->cin <= 4 && w[3] <= 8 && d->win.stride[0] == 2 && d->win.dilation[0] == 1 && d->win.dilation[1] == 1 ? 2 : 1;
    d->down = (w[2] + d->fold - 1) / d->fold;
    d->pixel = d->how == FIRST ? (d->cin + 3) / 4 * 4 * d->fold : d->how == DIRECT ? side_by_side(d, p->o.kernels) : FY_LANES;
    d->blocks = d->how == DIRECT ? (d->cin + d->pixel - 1) / d->pixel : 1;
    d->lanes = d->how == DEPTHWISE ? (w[3] + 3) / 4 * 4 : d->how == FIRST && d->win.dilation[1] == 1 ? d->pixel * w[3] : d->pixel;
    l->data = d;
    return pack_all(l, d, nr, p, a, e);
}

/* ---- running --------------------------------------------------------------------------------------------------------------- */

/* The input with its padding, flipped to u8: [block][h][w][pixel], of a plain one interleaved [h][w][pixel]. blocks: of 16 channels that it has;
 * origin: the row that `to` begins with; fold: as of conv8; step: every so manieth row and pixel alone is wanted. */
typedef struct padding { const uint8_t *from; uint8_t *to, zero, flip; int64_t h, w, ph, pw, top, left, pixel, channels, blocks, origin, fold, step[2]; bool interleave; } padding;

/* n pixels of `blocks` blocks of 16 channels side by side, flipped; those from `real` on are zero. apart: bytes from one block to the next in `from`,
 * step: from one pixel. */
FY_INLINE void gather(const int blocks, uint8_t *to, const uint8_t *from, int64_t apart, int64_t step, int real, int64_t n, uint8_t flip) {
    const uint64_t by = flip * UINT64_C(0x0101010101010101);
    for (; n > 0; n--, from += step)
        for (int b = 0; b < blocks; b++, to += FY_LANES) {
            uint64_t v[2] = {by, by};
            if (b < real) memcpy(v, from + b * apart, sizeof v);
            v[0] ^= by;
            v[1] ^= by;
            memcpy(to, v, sizeof v);
        }
}

static void gather_blocks(int blocks, uint8_t *to, const uint8_t *from, int64_t apart, int64_t step, int real, int64_t n, uint8_t flip) {
    if (blocks == 4 && real == 4) gather(4, to, from, apart, step, 4, n, flip);
    else if (blocks == 1 && step == FY_LANES && !flip) memcpy(to, from, (size_t)(n * FY_LANES));
    else gather(blocks, to, from, apart, step, real, n, flip);
}

/* n pixels of up to 4 planes, `apart` bytes from one plane to the next, as the four bytes of a pixel in `to`. */
static void interleave(uint8_t *to, int64_t pixel, const uint8_t *from, int64_t apart, int64_t planes, int64_t n, uint8_t flip) {
    const uint8_t *second = from + (planes > 1 ? apart : 0), *third = from + (planes > 2 ? 2 * apart : 0), *fourth = from + (planes > 3 ? 3 * apart : 0);
    for (int64_t i = 0; i < n; i++, to += pixel) {                /* weights of planes that are not there are zero */
        const uint8_t v[4] = {from[i] ^ flip, second[i] ^ flip, third[i] ^ flip, fourth[i] ^ flip};
        memcpy(to, v, sizeof v);
    }
}

static void pad_rows(void *arg, int64_t begin, int64_t end) {
    const padding *p = arg;
    for (int64_t r = begin; r < end; r++) {
        int64_t block = r / p->ph, y = r % p->ph * p->step[0] - p->top, n = p->pixel, skip = p->left > 0 ? p->left : 0, cut = p->left < 0 ? -p->left : 0, w = p->w - cut;
        uint8_t *to = p->to + (r - p->origin) * p->pw * n;
        if (w > p->pw - skip) w = p->pw - skip;
        if (p->interleave) {
            memset(to, p->zero, (size_t)(p->pw * n));
            y = r * p->fold - p->top;
            for (int64_t f = 0; f < p->fold; f++, y++)
                for (int64_t c = 0; c < p->channels && y >= 0 && y < p->h; c += 4)
                    interleave(to + skip * n + f * (n / p->fold) + c, n, p->from + (c * p->h + y) * p->w + cut, p->h * p->w, p->channels - c, w, p->flip);
            continue;
        }
        if (y < 0 || y >= p->h || w <= 0) {
            memset(to, p->zero, (size_t)(p->pw * n));
            continue;
        }
        memset(to, p->zero, (size_t)(skip * n));
        const int64_t blocks = n / FY_LANES, first = block * blocks, real = p->blocks - first < blocks ? p->blocks - first : blocks;
        gather_blocks((int)blocks, to + skip * n, p->from + ((first * p->h + y) * p->w + cut) * FY_LANES, p->h * p->w * FY_LANES, p->step[1] * FY_LANES, (int)real, w, p->flip);
        memset(to + (skip + w) * n, p->zero, (size_t)((p->pw - skip - w) * n));
    }
}

#define EACH 4                           /* pieces for a thread: who is late is late by a quarter */

typedef struct work { const fy_step *s; const fy_exec *x; const conv8 *d; fy_product_u8s8 p; int64_t rows, row_pieces, in_group, blocks; int nr; } work;

static int64_t pixels_to(const work *w, int64_t row) { return row * w->p.out[1] < w->p.pixels ? row * w->p.out[1] : w->p.pixels; }

static void piece(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    const int64_t per = w->d->groups * w->row_pieces;
    for (int64_t i = begin; i < end; i++) {
        int64_t g = i / per, group = i % per / w->row_pieces, row = i % w->row_pieces * w->rows, row_end = row + w->rows < w->p.out[0] ? row + w->rows : w->p.out[0];
        fy_product_u8s8 p = w->p;
        if (g) {                         /* of a convolution in groups */
            int64_t at = g * (w->d->cout / FY_LANES) * p.y_block;
            p.x += g * w->in_group;
            p.w += g * w->d->groups * w->d->w_group;
            p.y = (char *)p.y + at * (p.q.put == FY_PUT_F32 ? 4 : 1);
            if (p.q.add) p.q.add = (const char *)p.q.add + at * (p.q.put == FY_PUT_F32 ? 4 : 1);
            p.q.start += g * w->d->cout;
            p.q.scale += g * w->d->cout;
            if (p.q.bias) p.q.bias += g * w->d->cout;
        }
        w->x->k->product_u8s8(&p, group, row, row_end);
        for (int64_t b = group * w->nr / FY_LANES; w->s->epilogue.act > FY_ACT_CLAMP && b < (group + 1) * w->nr / FY_LANES && b * FY_LANES < w->p.columns; b++)
            fy_cpu_finish(w->s, w->x, (float *)p.y + b * p.y_block + row * p.out[1] * FY_LANES, (pixels_to(w, row_end) - row * p.out[1]) * FY_LANES);
    }
}

/* Depthwise: rows of a block are padded just before they are used, a strip of them that stays in the first-level cache. */
#define STRIP 24576                      /* bytes, if a row of the result needs no more */
typedef struct strips { work w; padding pad; uint8_t *room; int64_t stride, reach, slot, each, pieces; } strips;

static void strip(const strips *k, int64_t i, uint8_t *room) {
    const work *w = &k->w;
    const int64_t block = i / w->row_pieces, row = i % w->row_pieces * w->rows, n = row + w->rows < w->p.out[0] ? w->rows : w->p.out[0] - row, at = row * w->p.out[1] * FY_LANES;
    const int64_t size = w->p.q.put == FY_PUT_F32 ? 4 : 1;
    padding pad = k->pad;
    fy_product_u8s8 p = w->p;
    pad.to = room;
    pad.origin = block * pad.ph + row * k->stride;
    pad_rows(&pad, pad.origin, pad.origin + (n - 1) * k->stride + k->reach);
    p.x = room;
    p.y = (char *)p.y + at * size;
    if (p.q.add) p.q.add = (const char *)p.q.add + at * size;
    p.out[0] = n;
    p.pixels = n * p.out[1];
    w->x->k->depthwise_u8s8(&p, block, 0, n);
    if (w->s->epilogue.act > FY_ACT_CLAMP) fy_cpu_finish(w->s, w->x, (float *)p.y + block * p.y_block, p.pixels * FY_LANES);
}

static void slots(void *arg, int64_t begin, int64_t end) {
    const strips *k = arg;
    for (int64_t s = begin; s < end; s++)
        for (int64_t i = s * k->each; i < (s + 1) * k->each && i < k->pieces; i++) strip(k, i, k->room + s * k->slot);
}

static fy_status run_strips(fy_exec *x, const work *w, const padding *pad, const fy_window *win, const uint8_t *from, ferry_error *e) {
    strips k = {.w = *w, .pad = *pad, .stride = win->stride[0], .reach = win->dilation[0] * (win->kernel[0] - 1) + 1};
    const int64_t row = pad->pw * FY_LANES, threads = fy_pool_threads(x->pool), rows = (STRIP / row - k.reach) / k.stride + 1;
    k.w.rows = rows < 1 ? 1 : rows < w->p.out[0] ? rows : w->p.out[0];
    k.w.row_pieces = (w->p.out[0] + k.w.rows - 1) / k.w.rows;
    k.w.p.x_block = 0;
    k.pad.from = from;
    k.pieces = w->d->groups * k.w.row_pieces;
    k.each = threads > 1 ? (k.pieces + 4 * threads - 1) / (4 * threads) : k.pieces;
    k.slot = ((k.w.rows - 1) * k.stride + k.reach) * row + 128;
    const int64_t n = (k.pieces + k.each - 1) / k.each;
    void *room;
    FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){n, k.slot}, 2, e));
    k.room = room;
    fy_for(x->pool, n, 1, slots, &k);
    return FY_OK;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_layer8 *l = s->data;
    const conv8 *d = l->data;
    int add_in = l->add_in >= 0 ? l->add_in : s->add_in;
    const fy_tensor *in = fy_step_in(s, x, 0), *add = add_in >= 0 ? fy_step_in(s, x, add_in) : NULL;
    fy_tensor *y = fy_step_out(s, x, 0);
    fy_window win = d->win;
    const int64_t h = in->dim[2], w = in->dim[3], oh = y->dim[2], ow = y->dim[3], cin = d->cin * d->conv_groups, cout = d->cout * d->conv_groups;
    const int64_t in_blocks = d->how == FIRST ? 1 : (cin + FY_LANES - 1) / FY_LANES, wide_blocks = d->pixel > FY_LANES ? d->blocks : in_blocks, out_blocks = (cout + FY_LANES - 1) / FY_LANES;
    fy_window_place(&win, in->dim + 2, y->dim + 2);
    int64_t ph = (oh - 1) * win.stride[0] + win.dilation[0] * (win.kernel[0] - 1) + 1, pw = (ow - 1) * win.stride[1] + win.dilation[1] * (win.kernel[1] - 1) + 1;
    if (oh < 1 || ow < 1) return FY_OK;
    const bool point = d->how == DIRECT && !win.pad[0] && !win.pad[1] && win.kernel[0] == 1 && win.kernel[1] == 1, regroup = d->how == DIRECT && d->pixel > FY_LANES;
    const bool merged = d->how == FIRST && win.dilation[1] == 1, copies = d->how != DIRECT || regroup || l->x.flip || win.pad[0] || win.pad[1] || ph > h || pw > w;
    padding pad = {.h = h, .w = w, .top = win.pad[0], .left = win.pad[1], .pixel = d->pixel, .channels = d->cin, .blocks = in_blocks, .interleave = d->how == FIRST, .zero = (uint8_t)l->x.zero, .flip = l->x.flip,
                   .fold = d->fold, .step = {1, 1}};
    if (point && regroup) {              /* what strides leave out is left out by the copy */
        pad.step[0] = win.stride[0];
        pad.step[1] = win.stride[1];
        win.stride[0] = win.stride[1] = 1;
        ph = oh;
        pw = ow;
    }
    if (d->fold > 1) {
        win.stride[0] /= d->fold;
        ph = oh - 1 + d->down;
    }
    pad.ph = ph;
    pad.pw = pw;
    void *room = NULL;
    if (copies && d->how != DEPTHWISE) FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){wide_blocks, ph, pw, d->pixel}, 4, e));
    pad.to = room;
    int64_t row = (copies ? pw : w) * d->pixel, block = (copies ? ph : h) * row;
    const bool flat = point && win.stride[0] == 1 && win.stride[1] == 1 && (regroup || (ph == h && pw == w));
    work k = {.s = s, .x = x, .d = d, .nr = d->how == DEPTHWISE ? FY_LANES : x->k->int8_nr, .in_group = d->blocks * block,
              .p = {.w = l->packed, .lanes = d->lanes, .last = d->how == DIRECT ? (d->cin + 3) / 4 * 4 - (d->blocks - 1) * d->pixel : 0, .in_blocks = d->blocks, .kernel = {d->down, merged ? 1 : win.kernel[1]}, .out = {oh, ow}, .w_group = d->w_group, .pixels = oh * ow,
                    .x_block = block, .x_step = {win.stride[0] * row, win.stride[1] * d->pixel}, .tap = {win.dilation[0] * row, win.dilation[1] * d->pixel},
                    .columns = (d->cout + FY_LANES - 1) / FY_LANES * FY_LANES, .y_pixel = FY_LANES, .y_block = oh * ow * FY_LANES, .q = fy_layer8_requant(l, &s->epilogue)}};
    if (flat) {                          /* one long row, cut where it suits */
        const int64_t most = d->pixel > FY_LANES ? 224 : 196;                /* whole tiles */
        k.p.out[1] = oh * ow < most ? oh * ow : most;
        k.p.out[0] = (oh * ow + k.p.out[1] - 1) / k.p.out[1];
        k.p.x_step[0] = k.p.out[1] * d->pixel;
    }
    int64_t work_row = k.p.out[1] * d->lanes * d->blocks * k.p.kernel[0] * k.p.kernel[1] * k.nr / (d->how == DEPTHWISE ? 4 : 1);
    k.rows = 1 + x->k->int8_lanes * 125000 / (work_row + 1);
    if (fy_pool_threads(x->pool) > 1) {  /* some pieces for each thread, if they are not too small */
        const int64_t pieces = EACH * fy_pool_threads(x->pool), most = (k.p.out[0] * d->conv_groups * d->groups + pieces - 1) / pieces, least = 1 + x->k->int8_lanes * 8000 / (work_row + 1);
        if (k.rows > most) k.rows = most > least ? most : least;
    }
    if (k.rows > k.p.out[0]) k.rows = k.p.out[0];
    k.row_pieces = (k.p.out[0] + k.rows - 1) / k.rows;
    int64_t size = k.p.q.put == FY_PUT_F32 ? 4 : 1, sample = d->how == FIRST ? cin * h * w : in_blocks * FY_LANES * h * w;
    for (int64_t i = 0; i < in->dim[0]; i++) {
        k.p.x = (const uint8_t *)in->data + i * sample;
        k.p.y = (char *)y->data + i * out_blocks * k.p.y_block * size;
        k.p.q.add = add ? (const char *)add->data + i * out_blocks * k.p.y_block * size : NULL;
        if (d->how == DEPTHWISE) {
            FY_TRY(run_strips(x, &k, &pad, &win, k.p.x, e));
            continue;
        }
        if (copies) {
            pad.from = k.p.x;
            fy_for(x->pool, wide_blocks * ph, 1 + 65536 / (pw * d->pixel), pad_rows, &pad);
            k.p.x = pad.to;
        }
        fy_for(x->pool, d->conv_groups * d->groups * k.row_pieces, 1, piece, &k);
    }
    return FY_OK;
}

static const char *no(const fy_site *s) { return fy_qdq_is(s->node, "Conv") ? "not between DequantizeLinear of input and constant symmetric weights" : "no convolution over bytes before it"; }

#define CONV8(var, Op) static const fy_impl var = {.op = Op, .name = "conv.u8s8", .can = no, .cover = cover, .layouts = layouts, .fuse = fuse, .prepare = prepare, .run = run};
CONV8(quantised, "QuantizeLinear")
CONV8(plain, "Conv")

const fy_impl *const fy_cpu_conv8[] = {&quantised, &plain, NULL};
