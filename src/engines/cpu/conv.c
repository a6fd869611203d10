/* SPDX-License-Identifier: Apache-2.0
 * conv.c - Conv over two spatial axes with constant weights, in the c16 layout: direct, depthwise, and the first layer, whose few channels
 * are read plain, each a block of its own. Padding is put around a copy of the input. Bias, residual and activation in the epilogue.
 * Gated: a factor for each channel of x (squeeze-and-excitation) goes into the weights of each sample, where those are fewer.
 *   x f32[n, c, h, w] -> y f32[n, m, oh, ow] */
#include "engines/cpu/conv.h"

#include "ops/window.h"

#include <string.h>

#define GATED 8                          /* pixels for each output channel from which weights are scaled rather than x */
#define FEW 8                            /* channels up to which plain ones beat blocks of 16 */

typedef struct conv {
    fy_window    win;                    /* pads are placed at run time */
    float       *w, *bias;
    int64_t      cin, cout, groups, lanes, w_group;
    bool         depthwise, first, merged;           /* merged: a row of taps over a plain channel is one tap */
} conv;

/* ---- may it? --------------------------------------------------------------------------------------------------------------- */

const char *fy_cpu_conv_can(const fy_site *s, int64_t *wd) {
    const fy_node *n = s->node;
    const fy_value *x = fy_in(n, 0), *w = fy_in(n, 1), *b = fy_in(n, 2);
    if (!fy_cpu_f32(x) || !fy_cpu_f32(w) || (b && !fy_cpu_f32(b))) return "not f32";
    if (x->type.rank != 4) return "not two spatial axes";
    if (!w->constant || (b && !b->constant)) return "weights are no constants";
    fy_cpu_dims(w, wd);
    return wd[1] ? NULL : "no input channels";
}

static const char *can_direct(const fy_site *s) {
    int64_t w[4];
    const char *why = fy_cpu_conv_can(s, w);
    if (why) return why;
    if (fy_attr_i(s->node, "group") != 1) return "groups";
    return w[1] <= FEW ? "few input channels" : NULL;
}

static const char *can_first(const fy_site *s) {
    int64_t w[4];
    const char *why = fy_cpu_conv_can(s, w);
    if (why) return why;
    if (fy_attr_i(s->node, "group") != 1) return "groups";
    return w[1] > FEW ? "many input channels" : NULL;
}

static const char *can_depthwise(const fy_site *s) {
    int64_t w[4];
    const char *why = fy_cpu_conv_can(s, w);
    if (why) return why;
    return w[1] != 1 || fy_attr_i(s->node, "group") != w[0] ? "not one filter for each channel" : NULL;
}

static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = *out = FY_C16; }
static void layouts_gated(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = in[1] = *out = FY_C16; }
static void layouts_first(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = FY_PLAIN; *out = FY_C16; }

static const char *never(const fy_site *s) { (void)s; return "no factor for each channel before it that only it reads, or too few pixels to gain from"; }

/* f32[n, c, 1, 1] that is computed */
static bool factors(const fy_value *v) { return fy_cpu_f32(v) && !v->constant && v->type.rank == 4 && fy_dim_is(v->type.dim[2], 1) && fy_dim_is(v->type.dim[3], 1); }

static bool cover_gate(const fy_node *n, fy_cover *c, fy_arena *a) {
    const fy_value *y = fy_in(n, 0);
    const fy_node *mul = y ? y->def : NULL;
    int64_t x[FY_MAX_RANK], w[FY_MAX_RANK];
    (void)a;
    if (c->exact || !c->sized || !fy_cpu_pointwise(n) || !fy_cpu_inner(y) || !mul || *mul->op->domain || strcmp(mul->op->name, "Mul")) return false;
    const int at = factors(fy_in(mul, 1));
    const fy_value *big = fy_in(mul, !at), *gate = fy_in(mul, at);
    if (!factors(gate) || big->constant || !fy_type_equal(&big->type, &y->type) || gate->type.dim[0] != y->type.dim[0] || gate->type.dim[1] != y->type.dim[1]) return false;
    fy_cpu_dims(big, x);
    fy_cpu_dims(fy_in(n, 1), w);
    if (w[1] <= FEW || x[2] < 0 || x[2] > 1 << 20 || x[3] > 1 << 20 || x[2] * x[3] < GATED * w[0]) return false;
    c->node[c->n++] = mul;
    c->in[c->nin++] = big;
    c->in[c->nin++] = gate;
    return true;
}

bool fy_cpu_conv_fuse(fy_step *s, const fy_node *next, const fy_value **other) {
    const fy_value *y = s->out[0];
    if (s->epilogue.act) return false;
    if (!*next->op->domain && !strcmp(next->op->name, "Add") && next->nin == 2) {
        const fy_value *v = next->in[next->in[0].value == y].value;
        if (s->add_in >= 0 || v == y || v->constant || !fy_cpu_f32(v) || !fy_type_equal(&v->type, &y->type)) return false;
        s->add_in = s->nin;
        *other = v;
        return true;
    }
    return fy_cpu_activation(&s->epilogue, next) && fy_cpu_keeps_padding(s->epilogue.act);
}

/* ---- packing --------------------------------------------------------------------------------------------------------------- */

float *fy_cpu_floats(fy_arena *a, int64_t n) {
    float *p = fy_arena_alloc(a, (size_t)n + 16, sizeof *p);
    return p ? (float *)(((uintptr_t)p + 63) & ~(uintptr_t)63) : NULL;
}

/* One group of nr filters, w[nr, c, kh, kw], as [block][tap][lane][nr]; where a row of taps is one tap, its lanes are columns. What no
 * filter or channel fills stays zero. A block at a time: its taps for all filters stay in the first-level cache. */
typedef struct filling { const conv *d; int nr; } filling;

static void pack_direct(void *arg, const float *w, int64_t begin, int64_t end) {
    const filling *f = arg;
    const conv *d = f->d;
    const int64_t taps = d->win.kernel[0] * d->win.kernel[1], lanes = d->first ? 1 : FY_LANES, blocks = (d->cin + lanes - 1) / lanes;
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t m = begin; m < end; m++) {
            int64_t channels = d->cin - b * lanes < lanes ? d->cin - b * lanes : lanes;
            const float *from = w + ((m - begin) * d->cin + b * lanes) * taps;
            float *to = d->w + m / f->nr * d->w_group + b * taps * lanes * f->nr + m % f->nr;
            for (int64_t c = 0; c < channels; c++)
                for (int64_t t = 0; t < taps; t++) to[(t * lanes + c) * f->nr] = from[c * taps + t];
        }
}

static void pack_depthwise(void *arg, const float *w, int64_t begin, int64_t end) {
    const conv *d = ((filling *)arg)->d;
    const int64_t taps = d->win.kernel[0] * d->win.kernel[1];
    for (int64_t m = begin; m < end; m++)
        for (int64_t t = 0; t < taps; t++) d->w[(m / FY_LANES * taps + t) * FY_LANES + m % FY_LANES] = w[(m - begin) * taps + t];
}

fy_status fy_cpu_pack_bias(float **bias, const fy_value *b, int64_t padded, fy_arena *a, ferry_error *e) {
    fy_tensor t;
    *bias = NULL;
    if (!b) return FY_OK;
    *bias = fy_cpu_floats(a, padded);
    FY_NOMEM(e, *bias);
    FY_TRY(fy_const_tensor(&t, b->constant, e));
    for (int64_t i = 0; i < padded; i++) (*bias)[i] = i < fy_count(&t) ? (float)fy_get_f64(&t, i) : 0;
    fy_tensor_free(&t);
    return FY_OK;
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    conv *d = FY_NEW(a, conv);
    const fy_const *w = fy_in(s->node, 1)->constant;
    bool filled;
    FY_NOMEM(e, d);
    FY_TRY(fy_window_read(&d->win, s->node, 2, w->dim + 2, e));
    d->depthwise = s->impl->name[5] == 'd' && s->impl->name[6] == 'e';
    d->first = s->impl->name[5] == 'f';
    d->merged = d->first && d->win.dilation[1] == 1;
    d->cout = w->dim[0];
    d->cin = d->depthwise ? d->cout : w->dim[1];
    int nr = d->depthwise ? FY_LANES : p->o.kernels->gemm_nr;
    d->groups = (d->cout + nr - 1) / nr;
    d->lanes = d->merged ? d->win.kernel[1] : d->first ? 1 : FY_LANES;
    int64_t taps = d->win.kernel[0] * (d->merged ? 1 : d->win.kernel[1]), blocks = d->depthwise ? 1 : d->first ? d->cin : (d->cin + FY_LANES - 1) / FY_LANES;
    d->w_group = d->depthwise ? taps * FY_LANES : blocks * taps * d->lanes * nr;
    d->w = fy_cpu_packed(p, d->groups * d->w_group, &filled);
    FY_NOMEM(e, d->w);
    if (!filled) FY_TRY(fy_cpu_pack_rows(p, w, d->depthwise ? 1024 : nr, d->depthwise ? pack_depthwise : pack_direct, &(filling){d, nr}, e));
    fy_status st = fy_cpu_pack_bias(&d->bias, fy_in(s->node, 2), d->groups * nr, a, e);
    s->data = d;
    for (int i = 1; !s->cover && i < s->node->nin; i++) s->in[i] = NULL;  /* packed */
    return st;
}

/* ---- running --------------------------------------------------------------------------------------------------------------- */

/* The input with its padding: [block][h][w][lanes]. */
typedef struct padding { const float *from; float *to; int64_t h, w, ph, pw, top, left, lanes; } padding;

static void pad_rows(void *arg, int64_t begin, int64_t end) {
    const padding *p = arg;
    for (int64_t r = begin; r < end; r++) {
        int64_t block = r / p->ph, y = r % p->ph - p->top, n = p->lanes, skip = p->left > 0 ? p->left : 0, cut = p->left < 0 ? -p->left : 0, w = p->w - cut;
        float *to = p->to + r * p->pw * n;
        if (w > p->pw - skip) w = p->pw - skip;
        if (y < 0 || y >= p->h || w <= 0) {
            memset(to, 0, (size_t)(p->pw * n) * sizeof *to);
            continue;
        }
        memset(to, 0, (size_t)(skip * n) * sizeof *to);
        memcpy(to + skip * n, p->from + ((block * p->h + y) * p->w + cut) * n, (size_t)(w * n) * sizeof *to);
        memset(to + (skip + w) * n, 0, (size_t)((p->pw - skip - w) * n) * sizeof *to);
    }
}

/* Weights of one sample, [group][channel][nr], times a factor for each channel. */
typedef struct gating { const fy_kernels *k; const float *w, *by; float *to; int64_t channels; } gating;

static void scale_weights(void *arg, int64_t begin, int64_t end) {
    const gating *g = arg;
    for (int64_t i = begin, nr = g->k->gemm_nr; i < end; i++) g->k->binary[FY_MUL](g->to + i * nr, g->w + i * nr, g->by + i % g->channels, nr, 2);
}

/* A piece: `rows` rows of a group of output blocks, of one sample. */
typedef struct work {
    const fy_step *s;
    const fy_exec *x;
    fy_conv_c16    c;
    int64_t        groups, rows, row_pieces, x_size, y_size;
    bool           depthwise, turns;     /* turns: groups take turns at a piece of rows, as what they read there is larger than their weights */
    int            nv;
} work;

static void piece(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        const int64_t sample = i / w->row_pieces / w->groups, group = w->turns ? i % w->groups : i / w->row_pieces % w->groups;
        const int64_t row = (w->turns ? i / w->groups : i) % w->row_pieces * w->rows, row_end = row + w->rows < w->c.out[0] ? row + w->rows : w->c.out[0];
        fy_conv_c16 c = w->c;
        c.x += sample * w->x_size;
        c.y += sample * w->y_size;
        if (c.e.add) c.e.add += sample * w->y_size;
        (w->depthwise ? w->x->k->depthwise_c16 : w->x->k->conv_c16)(&c, group, row, row_end);
        for (int64_t b = group * w->nv; w->s->epilogue.act > FY_ACT_CLAMP && b < (group + 1) * w->nv && b < w->c.out_blocks; b++)
            fy_cpu_finish(w->s, w->x, c.y + b * w->c.y_block + row * w->c.out[1] * FY_LANES,
                          ((row_end * w->c.out[1] < w->c.pixels ? row_end * w->c.out[1] : w->c.pixels) - row * w->c.out[1]) * FY_LANES);
    }
}

#define LONG 196                         /* pixels of a row */
#define EACH 4                           /* pieces for a thread: who is late is late by a quarter */
#define SMALL 200000                     /* products of a piece, at least */
#define CACHED (1 << 18)                 /* floats that stay in the second-level cache */

static int64_t up(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/* Of `all` pixels in one long row, how many go together where `groups` groups of output blocks are pieces of their own. */
static int64_t columns(const fy_exec *x, int64_t all, int64_t groups, int64_t channels) {
    const int64_t mr = x->k->gemm_mr, threads = fy_pool_threads(x->pool), least = up(SMALL, channels * x->k->gemm_nr);
    int64_t each = threads < 2 ? LONG : all * groups / (EACH * threads);
    if (each < least) each = least;
    if (each > LONG) each = LONG;
    if (each >= all) return all;
    each = threads < 2 ? each : up(up(all, up(all, each)), mr) * mr;
    return each < LONG ? each : LONG;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const conv *d = s->data;
    const fy_tensor *in = fy_step_in(s, x, 0), *add = s->add_in >= 0 ? fy_step_in(s, x, s->add_in) : NULL;
    fy_tensor *y = fy_step_out(s, x, 0);
    fy_window win = d->win;
    const int64_t h = in->dim[2], w = in->dim[3], oh = y->dim[2], ow = y->dim[3], lanes = d->first ? 1 : FY_LANES, blocks = (d->cin + lanes - 1) / lanes;
    if (!in->dim[0] || oh <= 0 || ow <= 0) return FY_OK;
    fy_window_place(&win, in->dim + 2, y->dim + 2);
    /* what the windows reach over */
    int64_t ph = (oh - 1) * win.stride[0] + win.dilation[0] * (win.kernel[0] - 1) + 1, pw = (ow - 1) * win.stride[1] + win.dilation[1] * (win.kernel[1] - 1) + 1;
    bool copies = win.pad[0] || win.pad[1] || ph > h || pw > w;
    padding pad = {.h = h, .w = w, .ph = ph, .pw = pw, .top = win.pad[0], .left = win.pad[1], .lanes = lanes};
    void *room = NULL;
    if (copies) FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){blocks, ph, pw, lanes, sizeof(float)}, 5, e));
    gating gate = {.k = x->k, .w = d->w, .channels = blocks * FY_LANES};
    if (s->cover) FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){d->groups, d->w_group, sizeof(float)}, 3, e));
    pad.to = gate.to = room;
    int64_t row = (copies ? pw : w) * lanes, block = (copies ? ph * pw : h * w) * lanes;
    const int64_t samples = copies || s->cover ? 1 : in->dim[0], threads = fy_pool_threads(x->pool);         /* at a time */
    bool flat = !copies && !d->depthwise && win.kernel[0] == 1 && win.kernel[1] == 1 && win.stride[0] == 1 && win.stride[1] == 1;
    work k = {.s = s, .x = x, .groups = d->groups, .depthwise = d->depthwise, .nv = d->depthwise ? 1 : x->k->gemm_nr / FY_LANES,
              .c = {.w = d->w, .lanes = d->lanes, .last = d->first ? 0 : d->cin % FY_LANES, .in_blocks = blocks, .out_blocks = (d->cout + FY_LANES - 1) / FY_LANES, .kernel = {win.kernel[0], d->merged ? 1 : win.kernel[1]},
                    .out = {flat ? 1 : oh, flat ? oh * ow : ow}, .w_group = d->w_group, .x_block = block, .y_block = oh * ow * FY_LANES,
                    .x_step = {win.stride[0] * row, win.stride[1] * lanes}, .tap = {win.dilation[0] * row, win.dilation[1] * lanes}, .e = s->epilogue}};
    k.c.e.bias = d->bias;
    k.c.pixels = oh * ow;
    if (flat) {                          /* one long row, cut where it suits */
        k.c.out[1] = columns(x, oh * ow, d->groups * samples, blocks * FY_LANES);
        k.c.out[0] = up(oh * ow, k.c.out[1]);
        k.c.x_step[0] = k.c.out[1] * lanes;
    }
    int64_t work_row = k.c.out[1] * d->lanes * blocks * k.c.kernel[0] * k.c.kernel[1] * (d->depthwise ? 1 : x->k->gemm_nr);
    const int64_t together = d->depthwise ? 1 : up(8 * x->k->gemm_mr, k.c.out[1]);      /* rows of 8 tiles: they share the weights in the cache */
    k.rows = 1 + 500000 / (work_row + 1);
    if (k.rows < together) k.rows = together;
    const int64_t most = threads < 2 ? k.c.out[0] : up(k.c.out[0] * k.groups * samples, EACH * threads);
    if (k.rows > most) k.rows = most > together || flat ? most : together;
    if (k.rows > k.c.out[0]) k.rows = k.c.out[0];
    k.row_pieces = up(k.c.out[0], k.rows);
    k.turns = !d->depthwise && k.groups * d->w_group <= CACHED && blocks * block > CACHED / 2;
    k.x_size = (d->depthwise ? k.c.out_blocks * FY_LANES : blocks * lanes) * h * w;
    k.y_size = k.c.out_blocks * k.c.y_block;
    k.c.x = in->data;
    k.c.y = y->data;
    k.c.e.add = add ? add->data : NULL;
    for (int64_t i = 0; i < in->dim[0]; i += samples) {
        if (s->cover) {
            gate.by = (const float *)fy_step_in(s, x, 1)->data + i * gate.channels;
            fy_for(x->pool, d->groups * gate.channels, 256, scale_weights, &gate);
            k.c.w = gate.to;
        }
        if (copies) {
            pad.from = (const float *)in->data + i * k.x_size;
            fy_for(x->pool, (d->depthwise ? k.c.out_blocks : blocks) * ph, 1 + 16384 / (pw * lanes), pad_rows, &pad);
            k.c.x = pad.to;
        }
        fy_for(x->pool, samples * k.groups * k.row_pieces, 1, piece, &k);
        if (!copies) k.c.x += k.x_size;
        k.c.y += k.y_size;
        if (add) k.c.e.add += k.y_size;
    }
    return FY_OK;
}

static const fy_impl depthwise = {.op = "Conv", .name = "conv.depthwise", .can = can_depthwise, .layouts = layouts, .fuse = fy_cpu_conv_fuse, .prepare = prepare, .run = run};
static const fy_impl first = {.op = "Conv", .name = "conv.first", .can = can_first, .layouts = layouts_first, .fuse = fy_cpu_conv_fuse, .prepare = prepare, .run = run};
static const fy_impl gated = {.op = "Conv", .name = "conv.gated", .can = never, .layouts = layouts_gated, .cover = cover_gate, .fuse = fy_cpu_conv_fuse, .prepare = prepare, .run = run};
static const fy_impl direct = {.op = "Conv", .name = "conv.direct", .can = can_direct, .layouts = layouts, .fuse = fy_cpu_conv_fuse, .prepare = prepare, .run = run};

const fy_impl *const fy_cpu_conv[] = {&fy_cpu_conv_pair, &fy_cpu_conv_rows, &depthwise, &gated, &first, &fy_cpu_winograd, &direct, NULL};
