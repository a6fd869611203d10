/* SPDX-License-Identifier: Apache-2.0
 * conv_run.c - runs any convolution; see conv_any.h.
 *   x f32[n, c, d.., h, w] -> y f32[n, m, od.., oh, ow], c16 both (FIRST: x plain)
 * The input is copied where windows reach beyond it, where it is to be interleaved, or where a third axis has several taps; the copy holds planes in
 * an order in which the taps of a window follow each other. Outputs of several phases are computed side by side and spread to their places while they are in the cache. */
#include "engines/cpu/conv_any.h"

#include "base/checked.h"

#include <string.h>

#define WAIT 128                         /* pixels of several phases computed before they are spread */
#define LONG 196                         /* pixels of a row computed together */
#define CACHED (1 << 18)                 /* floats that stay in the second-level cache */
#define ROWS 64                          /* of a depthwise kernel */

/* Along one axis: outputs y0, y0 + step_y ... (count of them) meet `taps` taps, `tap` apart, the first at `first` and then `step` further on for each. */
typedef struct span { int64_t first, count, taps, tap, step, y0, before, j; } span;

typedef struct work {
    const fy_conv_any *d;
    const fy_step *s;
    const fy_exec *x;
    int64_t in[3], out[3], pad[3], low[3], size[3];          /* low, size: what windows reach over, in places of the input */
    int64_t spread[3];                                       /* from one output of a phase to the next */
    bool    copies, waits;
    int64_t apart, slots;                                    /* planes that a window meets are `apart` planes of the input from each other; planes held */
    int64_t row, plane, block, group;                        /* of what is read: floats from one to the next */
    int64_t rows, cols, row_pieces, col_pieces, classes;
    int64_t panels, places;                                  /* a piece is one of both */
    bool    turns;                                           /* panels take turns at a place: what they read there is larger than their weights */
    const float *from, *at, *w, *bias, *add;
    float  *copy, *y;
} work;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t up(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/* ---- places ---------------------------------------------------------------------------------------------------------------- */

/* Outputs r, r + spread ... of axis i. */
static span span_of(const work *w, int i, int64_t r) {
    const fy_conv_any *d = w->d;
    if (!d->transposed) return (span){.first = -w->pad[i], .count = w->out[i], .taps = d->kernel[i], .tap = d->dilation[i], .step = d->stride[i]};
    const int64_t s = d->stride[i], p = fy_conv_period(d, i), target = ((r + w->pad[i]) % s + s) % s;
    span v = {.count = (w->out[i] - r + s - 1) / s, .step = 1, .y0 = r, .tap = d->dilation[i] * p / s};
    for (; v.j < p && v.j < d->kernel[i]; v.j++)
        if (v.j * d->dilation[i] % s == target) {
            v.taps = fy_conv_phase_taps(d, i, v.j);
            v.before = fy_conv_phase_before(d, i, v.j);
            v.first = (r + w->pad[i] - v.j * d->dilation[i]) / s - (v.taps - 1) * v.tap;
            return v;
        }
    return v;                            /* no taps: the bias alone */
}

/* What is read of axis i; false if numbers grow too large. */
static bool reach(work *w, int i) {
    int64_t low = INT64_MAX, high = INT64_MIN;
    for (int64_t r = 0; r < least(w->spread[i], w->out[i]); r++) {
        span v = span_of(w, i, r);
        int64_t end, more;
        if (!v.taps) continue;
        if (!fy_mul_i64(&end, v.count - 1, v.step) || !fy_mul_i64(&more, v.taps - 1, v.tap) || !fy_add_i64(&end, end, more) || !fy_add_i64(&end, end, v.first + 1)) return false;
        low = least(low, v.first);
        high = high > end ? high : end;
    }
    w->low[i] = low < high ? low : 0;
    w->size[i] = low < high ? high - low : 1;
    return true;
}

/* ---- the copy -------------------------------------------------------------------------------------------------------------- */

static int64_t slot_of(const work *w, int64_t plane) { return plane % w->apart * (w->slots / w->apart) + plane / w->apart; }

static void copy_row(const work *w, float *to, const float *from, int64_t n) {
    const int64_t skip = w->low[2] < 0 ? least(-w->low[2], w->size[2]) : 0, cut = w->low[2] > 0 ? w->low[2] : 0;
    int64_t cols = from ? least(w->in[2] - cut, w->size[2] - skip) : 0;
    if (cols < 0) cols = 0;
    memset(to, 0, (size_t)(skip * n) * sizeof *to);
    if (w->d->how != FY_CONV_FIRST) {
        if (cols) memcpy(to + skip * n, from + cut * n, (size_t)(cols * n) * sizeof *to);
    } else
        for (int64_t c = 0; c < n && cols; c++) {
            const float *x = from + c * w->in[0] * w->in[1] * w->in[2] + cut;
            for (int64_t i = 0; i < cols; i++) to[(skip + i) * n + c] = x[i];
        }
    memset(to + (skip + cols) * n, 0, (size_t)((w->size[2] - skip - cols) * n) * sizeof *to);
}

static void copy_rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    const bool first = w->d->how == FY_CONV_FIRST, grouped = w->d->how == FY_CONV_DIRECT;
    const int64_t n = first ? w->d->cin : FY_LANES, blocks = w->d->in_blocks;
    for (int64_t i = begin; i < end; i++) {
        int64_t r = i % w->size[1], p = i / w->size[1] % w->size[0], b = i / w->size[1] / w->size[0], y = r + w->low[1], z = p + w->low[0];
        float *to = w->copy + (grouped ? b / blocks * w->group + (slot_of(w, p) * blocks + b % blocks) * w->plane : (slot_of(w, p) * blocks + b) * w->plane) + r * w->row;
        bool inside = y >= 0 && y < w->in[1] && z >= 0 && z < w->in[0];
        copy_row(w, to, inside ? w->from + (((first ? 0 : b * w->in[0]) + z) * w->in[1] + y) * w->in[2] * (first ? 1 : n) : NULL, n);
    }
}

/* ---- pieces ---------------------------------------------------------------------------------------------------------------- */

/* One combination of phases: rows q0 .. of h, columns c0 .. of v, into y. */
typedef struct part { span z, h, v; int64_t plane, q0, rows, c0, cols, panel, block, blocks; float *y; const float *add; int64_t y_block; } part;

static const float *x_of(const work *w, const part *p) {
    const int64_t n = w->d->how == FY_CONV_FIRST ? w->d->cin : FY_LANES, g = w->d->how == FY_CONV_DIRECT ? p->panel / w->d->panels : 0;
    int64_t plane = p->z.first + p->plane * p->z.step - w->low[0];
    if (w->copies) plane = slot_of(w, plane) * w->d->in_blocks;
    return w->at + g * w->group + plane * w->plane + (p->h.first - w->low[1] + p->q0 * p->h.step) * w->row + (p->v.first - w->low[2] + p->c0 * p->v.step) * n;
}

/* Few channels: what each tap along the first axis gives is summed by itself and joined in y, which a long reduction could not afford. */
static void first_layer(const work *w, const part *p, const fy_conv_c16 *whole) {
    for (int64_t i = 0, n = p->z.taps; i < n; i++) {
        fy_conv_c16 c = *whole;
        c.in_blocks = 1;
        c.x += i * c.x_block;
        c.w += i * w->d->w_panel / n;
        if (i) {
            c.e.bias = NULL;
            c.e.add = c.y;
        }
        if (i < n - 1) c.e.act = FY_ACT_NONE;
        w->x->k->conv_c16(&c, 0, 0, p->rows);
    }
}

static void convolve(const work *w, const part *p, bool whole) {
    const fy_conv_any *d = w->d;
    const fy_kernels *k = w->x->k;
    const int64_t n = d->how == FY_CONV_FIRST ? d->cin : FY_LANES;
    const bool none = !p->z.taps || !p->h.taps || !p->v.taps;
    const int64_t before = none ? 0 : p->z.before * d->kernel[1] * d->kernel[2] + p->z.taps * (p->h.before * d->kernel[2] + p->h.taps * p->v.before);
    fy_pick_c16 pick = {.c = {.x = none ? w->at : x_of(w, p), .y = p->y, .y_block = p->y_block, .lanes = d->lanes, .out_blocks = p->blocks, .kernel = {p->h.taps, d->merged ? 1 : p->v.taps},
                              .out = {p->rows, p->cols}, .pixels = p->rows * p->cols, .x_block = w->block, .x_step = {p->h.step * w->row, p->v.step * n}, .tap = {p->h.tap * w->row, p->v.tap * n}}};
    fy_conv_c16 *c = &pick.c;
    if (whole) {
        c->e = w->s->epilogue;
        c->e.add = p->add;
    }
    c->e.bias = w->bias ? w->bias + p->block * FY_LANES : NULL;
    if (d->how == FY_CONV_PICK) {
        const fy_pick_block *b = &d->block[p->panel];
        c->w = w->w + b->w + before * b->steps * FY_LANES;
        c->in_blocks = none ? 0 : p->z.taps;
        pick.x_depth = w->plane * d->in_blocks;
        pick.runs = b->runs;
        pick.run = d->run + b->run;
        pick.lane = d->lane + b->lane;
        pick.near = b->near;
        k->conv_pick_c16(&pick, 0, p->rows);
        return;
    }
    c->w = w->w + p->panel * d->w_panel;
    if (d->how != FY_CONV_DEPTH) {
        c->w += before * d->in_blocks * d->lanes * d->nr;
        c->in_blocks = none ? 0 : p->z.taps * d->in_blocks;
        if (d->how == FY_CONV_DIRECT && p->z.taps == 1) c->last = d->cin % FY_LANES;
        if (d->how == FY_CONV_FIRST) first_layer(w, p, c);
        else k->conv_c16(c, 0, 0, p->rows);
        return;
    }
    const float *at[ROWS], *x = c->x + p->panel * w->block;
    c->w += before * FY_LANES;
    c->rows = at;
    c->kernel[0] = none ? 0 : p->z.taps * p->h.taps;
    for (int64_t r = 0; r < p->rows; r++) {
        for (int64_t i = 0; i < c->kernel[0]; i++) at[i] = x + i / p->h.taps * w->plane * d->in_blocks + i % p->h.taps * c->tap[0] + r * c->x_step[0];
        c->out[0] = 1;
        k->depthwise_c16(c, 0, 0, 1);
        c->y += p->cols * FY_LANES;
        if (c->e.add) c->e.add += p->cols * FY_LANES;
    }
}

/* Columns of one phase to where they belong. */
static void spread(const work *w, const part *p, float *y, int64_t y_row, int64_t y_block) {
    for (int64_t b = 0; b < p->blocks; b++)
        for (int64_t r = 0; r < p->rows; r++) {
            const float *from = p->y + b * p->y_block + r * p->cols * FY_LANES;
            float *to = y + b * y_block + r * y_row;
            for (int64_t i = 0; i < p->cols; i++, from += FY_LANES, to += w->spread[2] * FY_LANES) memcpy(to, from, FY_LANES * sizeof *to);
        }
}

static void finish(const work *w, float *y, const float *add, int64_t n, bool clamped) {
    const fy_epilogue *e = &w->s->epilogue;
    if (add) w->x->k->binary[FY_ADD](y, y, add, n, 0);
    if (e->act == FY_ACT_CLAMP && !clamped) w->x->k->unary[FY_ACT_CLAMP](y, y, n, e->p);
    fy_cpu_finish(w->s, w->x, y, n);
}

static void one(const work *w, int64_t i) {
    const fy_conv_any *d = w->d;
    const int64_t ow = w->out[2], y_block = w->out[0] * w->out[1] * ow * FY_LANES, panel = w->turns ? i % w->panels : i / w->places, per = d->nr / FY_LANES;
    int64_t rest = w->turns ? i / w->panels : i % w->places;
    const int64_t first_col = rest % w->col_pieces * w->cols;
    rest /= w->col_pieces;
    part p = {.panel = panel, .q0 = rest % w->row_pieces * w->rows};
    rest /= w->row_pieces;
    p.h = span_of(w, 1, rest % w->classes);
    rest /= w->classes;
    const int64_t z = rest;
    p.rows = least(w->rows, p.h.count - p.q0);
    if (p.rows <= 0) return;
    p.z = span_of(w, 0, z % w->spread[0]);
    p.plane = z / w->spread[0];
    p.block = p.panel / d->panels * d->out_blocks + p.panel % d->panels * per;
    p.blocks = least(per, d->out_blocks - p.panel % d->panels * per);
    const int64_t at = p.block * y_block + (z * w->out[1] + p.h.y0 + p.q0 * w->spread[1]) * ow * FY_LANES, y_row = w->spread[1] * ow * FY_LANES;
    if (!w->waits) {
        p.v = span_of(w, 2, 0);
        p.c0 = first_col;
        p.cols = least(w->cols, ow - first_col);
        p.y = w->y + at + first_col * FY_LANES;
        p.add = w->add ? w->add + at + first_col * FY_LANES : NULL;
        p.y_block = y_block;
        convolve(w, &p, true);
        for (int64_t b = 0; b < p.blocks; b++) finish(w, p.y + b * y_block, NULL, p.rows * p.cols * FY_LANES, true);
        return;
    }
    float wait[2 * WAIT * FY_LANES];
    int64_t from = first_col * w->spread[2], n = least((first_col + w->cols) * w->spread[2], ow) - from;
    for (int64_t r = 0; r < least(w->spread[2], ow); r++) {
        p.v = span_of(w, 2, r);
        p.c0 = first_col;
        p.cols = least(w->cols, p.v.count - first_col);
        p.y = wait;
        p.y_block = p.rows * p.cols * FY_LANES;
        if (p.cols <= 0) continue;
        convolve(w, &p, false);
        spread(w, &p, w->y + at + (from + r) * FY_LANES, y_row, y_block);
    }
    for (int64_t b = 0; b < p.blocks; b++)
        for (int64_t r = 0; r < p.rows; r++) {
            int64_t to = at + b * y_block + r * y_row + from * FY_LANES;
            finish(w, w->y + to, w->add ? w->add + to : NULL, n * FY_LANES, false);
        }
}

static void pieces(void *arg, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) one(arg, i);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------- */

static fy_status place(work *w, const fy_tensor *in, const fy_tensor *y, ferry_error *e) {
    const fy_conv_any *d = w->d;
    fy_window win = d->win;
    const int nd = win.nd;
    if (d->transposed) FY_TRY(fy_transpose_place(&win, w->s->node, in->dim + 2, y->dim + 2, e));
    else fy_window_place(&win, in->dim + 2, y->dim + 2);
    bool point = !d->transposed && d->how != FY_CONV_FIRST;
    for (int i = 0; i < 3; i++) {
        int at = i - (3 - nd);
        w->in[i] = at < 0 ? 1 : in->dim[2 + at];
        w->out[i] = at < 0 ? 1 : y->dim[2 + at];
        w->pad[i] = at < 0 ? 0 : win.pad[at];
        w->spread[i] = d->transposed ? d->stride[i] : 1;
        point = point && d->kernel[i] == 1 && d->stride[i] == 1 && !w->pad[i] && w->in[i] == w->out[i];
    }
    if (!point) return FY_OK;            /* of points: one long row */
    w->in[2] = w->out[2] = w->in[0] * w->in[1] * w->in[2];
    w->in[0] = w->in[1] = w->out[0] = w->out[1] = 1;
    return FY_OK;
}

static void cut(work *w) {
    const fy_conv_any *d = w->d;
    const int64_t high = up(w->out[1], w->spread[1]), wide = up(w->out[2], w->spread[2]);
    w->waits = w->spread[1] > 1 || w->spread[2] > 1;
    w->cols = wide <= (w->waits ? WAIT : LONG + LONG / 7) ? wide : w->waits ? up(wide, up(wide, WAIT)) : LONG;
    w->rows = w->cols < wide ? 1 : w->waits ? WAIT / w->cols : 1;
    if (!w->waits && w->cols == wide) {
        int64_t work_row = w->cols * d->lanes * d->kernel[0] * d->kernel[1] * d->kernel[2] / (d->merged ? d->kernel[2] : 1);
        if (d->how == FY_CONV_DIRECT || d->how == FY_CONV_FIRST) work_row *= d->in_blocks * d->nr;
        if (d->how == FY_CONV_PICK) work_row *= d->cin;
        int64_t together = d->how == FY_CONV_DEPTH ? 1 : up(8 * w->x->k->gemm_mr, wide);
        w->rows = 1 + 500000 / (work_row + 1);
        if (w->rows < together) w->rows = together;
    }
    if (w->rows > high) w->rows = high;
    w->classes = least(w->spread[1], w->out[1]);
    w->row_pieces = up(high, w->rows);
    w->col_pieces = up(wide, w->cols);
}

fy_status fy_conv_any_run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_conv_any *d = s->data;
    const fy_tensor *in = fy_step_in(s, x, 0), *wt = fy_step_in(s, x, 1), *bias = s->node->nin > 2 ? fy_step_in(s, x, 2) : NULL, *add = s->add_in >= 0 ? fy_step_in(s, x, s->add_in) : NULL;
    const fy_tensor *y = fy_step_out(s, x, 0);
    work w = {.d = d, .s = s, .x = x, .apart = 1};
    const bool lanes = d->how == FY_CONV_DEPTH || d->how == FY_CONV_PICK, first = d->how == FY_CONV_FIRST;
    const int64_t all_in = lanes ? d->in_blocks : d->groups * d->in_blocks, all_out = lanes ? d->out_blocks : d->groups * d->out_blocks;
    FY_TRY(place(&w, in, y, e));
    if (!in->dim[0] || !w.out[0] || !w.out[1] || !w.out[2]) return FY_OK;
    w.copies = first || d->kernel[0] > 1;
    for (int i = 0; i < 3; i++) {
        FY_NEED(e, reach(&w, i), LIMIT, "windows reach too far");
        w.copies = w.copies || w.low[i] < 0 || w.low[i] + w.size[i] > w.in[i];
    }
    if (w.copies && d->kernel[0] > 1) w.apart = least(d->transposed ? d->dilation[0] * fy_conv_period(d, 0) / d->stride[0] : d->dilation[0], w.size[0]);
    w.slots = up(w.size[0], w.apart) * w.apart;
    const int64_t pixel = first ? d->cin : FY_LANES;
    int64_t copied = 0, all;
    const int64_t sizes[] = {w.slots, all_in, w.size[1], w.size[2], pixel};
    bool fits = true;
    for (int i = 0; i < FY_COUNT(sizes) && w.copies; i++) fits = fits && fy_mul_i64(&copied, i ? copied : 1, sizes[i]);
    all = copied;
    if (wt) fits = fits && fy_add_i64(&all, all, d->count);
    if (bias) fits = fits && fy_add_i64(&all, all, d->padded);
    FY_NEED(e, fits, LIMIT, "windows reach too far");
    void *room = NULL;
    if (all) FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){all, sizeof(float)}, 2, e));
    w.copy = room;
    if (!w.copies)
        for (int i = 0; i < 3; i++) { w.low[i] = 0; w.size[i] = w.in[i]; }
    w.row = w.size[2] * pixel;
    w.plane = w.size[1] * w.row;
    w.block = w.copies ? w.plane : w.size[0] * w.plane;
    w.group = w.copies ? w.slots * d->in_blocks * w.plane : d->in_blocks * w.block;
    fy_conv_any_given(d, x->pool, w.copy + copied, wt, bias, &w.w, &w.bias);
    cut(&w);
    w.panels = lanes ? d->out_blocks : d->groups * d->panels;
    w.places = w.out[0] * w.classes * w.row_pieces * w.col_pieces;
    w.turns = d->how == FY_CONV_DIRECT && d->groups == 1 && !d->transposed && d->count <= CACHED && w.slots * d->in_blocks * w.plane > CACHED;
    const int64_t x_size = (first ? d->cin : all_in * FY_LANES) * w.in[0] * w.in[1] * w.in[2], y_size = all_out * FY_LANES * w.out[0] * w.out[1] * w.out[2];
    for (int64_t i = 0; i < in->dim[0]; i++) {
        w.from = w.at = (const float *)in->data + i * x_size;
        w.y = (float *)y->data + i * y_size;
        w.add = add ? (const float *)add->data + i * y_size : NULL;
        if (w.copies) {
            fy_for(x->pool, (first ? 1 : all_in) * w.size[0] * w.size[1], 1 + 16384 / (w.row + 1), copy_rows, &w);
            w.at = w.copy;
        }
        fy_for(x->pool, w.panels * w.places, 1, pieces, &w);
    }
    return FY_OK;
}
