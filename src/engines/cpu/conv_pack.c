/* SPDX-License-Identifier: Apache-2.0
 * conv_pack.c - the packed form of the weights of any convolution, and the tables that go with it; see conv_any.h.
 *   DIRECT, FIRST   [group][panel][phase][depth tap][in block][tap][lane][nr]
 *   DEPTH           [block][phase][depth tap][tap][16]
 *   PICK            [block][phase][depth tap][run][tap][step][16] */
#include "engines/cpu/conv_any.h"

#include "base/checked.h"

#include <string.h>

/* ---- phases ---------------------------------------------------------------------------------------------------------------- */

static int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

int64_t fy_conv_period(const fy_conv_any *d, int i) { return d->transposed ? d->stride[i] / gcd(d->stride[i], d->dilation[i]) : 1; }

int64_t fy_conv_phases(const fy_conv_any *d, int i) {
    int64_t p = fy_conv_period(d, i);
    return p < d->kernel[i] ? p : d->kernel[i];
}

int64_t fy_conv_phase_taps(const fy_conv_any *d, int i, int64_t j) {
    int64_t p = fy_conv_period(d, i);
    return (d->kernel[i] - j + p - 1) / p;
}

int64_t fy_conv_phase_before(const fy_conv_any *d, int i, int64_t j) {
    int64_t p = fy_conv_period(d, i), more = d->kernel[i] % p;
    return j * (d->kernel[i] / p) + (j < more ? j : more);
}

/* Taps in the packed order: phase by phase, in each by where they meet the input. */
static void order_taps(fy_conv_any *d) {
    for (int64_t t = 0; t < d->taps; t++) {
        const int64_t k[3] = {t / d->kernel[2] / d->kernel[1], t / d->kernel[2] % d->kernel[1], t % d->kernel[2]};
        int64_t n[3], before[3], at[3];
        for (int i = 0; i < 3; i++) {
            int64_t p = fy_conv_period(d, i), j = k[i] % p;
            n[i] = fy_conv_phase_taps(d, i, j);
            before[i] = fy_conv_phase_before(d, i, j);
            at[i] = d->transposed ? n[i] - 1 - k[i] / p : k[i];
        }
        if (d->merged) n[2] = 1;
        d->within[t] = n[1] * n[2];
        d->at[t] = before[0] * d->kernel[1] * d->kernel[2] + n[0] * (before[1] * d->kernel[2] + n[1] * before[2]) + at[0] * d->within[t];
        d->place[t] = d->merged ? at[1] : at[1] * n[2] + at[2];
    }
}

/* ---- lanes ----------------------------------------------------------------------------------------------------------------- */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The groups of the lanes of an output block; input blocks that their channels are in. */
typedef struct reach { int64_t first, last, group, group_end; } reach;

static reach reach_of(const fy_conv_any *d, int64_t block) {
    int64_t end = least((block + 1) * FY_LANES, d->groups * d->cout);
    reach r = {.group = block * FY_LANES / d->cout, .group_end = (end - 1) / d->cout + 1};
    r.first = r.group * d->cin / FY_LANES;
    r.last = (r.group_end * d->cin - 1) / FY_LANES;
    return r;
}

/* Channels of group g in input block b, as [*from, result). */
static int64_t meet(const fy_conv_any *d, int64_t g, int64_t b, int64_t *from) {
    int64_t lo = g * d->cin, hi = lo + d->cin, end = least(hi, (b + 1) * FY_LANES);
    *from = lo > b * FY_LANES ? lo : b * FY_LANES;
    return end > *from ? end : *from;
}

static int64_t steps_of(const fy_conv_any *d, const reach *r, int64_t b) {
    int64_t most = 0, from;
    for (int64_t g = r->group; g < r->group_end; g++) {
        int64_t n = meet(d, g, b, &from) - from;
        if (n > most) most = n;
    }
    return most;
}

static void fill_lanes(const fy_conv_any *d, fy_pick_block *pb, const reach *r, int64_t block) {
    int32_t *lane = d->lane + pb->lane;
    pb->near = true;
    for (int64_t i = 0; i < pb->runs; i++) {
        const fy_pick_run *run = &d->run[pb->run + i];
        for (int64_t step = 0; step < run->n; step++)
            for (int l = 0; l < FY_LANES; l++, lane++) {
                int64_t o = block * FY_LANES + l, g = o / d->cout, from, end = g < r->group_end ? meet(d, g, run->block, &from) : 0;
                *lane = g < r->group_end && from + step < end ? (int32_t)((from + step) % FY_LANES) : -1;
                pb->near = pb->near && *lane >= 0 && *lane / 8 == l / 8;
            }
    }
}

static fy_status pick_tables(fy_conv_any *d, fy_arena *a, ferry_error *e) {
    int64_t runs = 0, steps = 0;
    d->block = FY_NEWN(a, fy_pick_block, d->out_blocks);
    FY_NOMEM(e, d->block);
    for (int64_t b = 0; b < d->out_blocks; b++) {
        reach r = reach_of(d, b);
        d->block[b] = (fy_pick_block){.run = runs, .runs = r.last - r.first + 1, .lane = steps * FY_LANES};
        for (int64_t i = r.first; i <= r.last; i++) d->block[b].steps += steps_of(d, &r, i);
        runs += d->block[b].runs;
        d->block[b].w = steps * d->taps * FY_LANES;
        steps += d->block[b].steps;
    }
    d->run = FY_NEWN(a, fy_pick_run, runs);
    d->lane = FY_NEWN(a, int32_t, steps * FY_LANES);
    FY_NOMEM(e, d->run && d->lane && fy_mul_i64(&d->count, steps * FY_LANES, d->taps));
    for (int64_t b = 0; b < d->out_blocks; b++) {
        reach r = reach_of(d, b);
        for (int64_t i = r.first; i <= r.last; i++) d->run[d->block[b].run + i - r.first] = (fy_pick_run){i, steps_of(d, &r, i)};
        fill_lanes(d, &d->block[b], &r, b);
    }
    return FY_OK;
}

/* ---- sizes ----------------------------------------------------------------------------------------------------------------- */

static int64_t up(int64_t a, int64_t b) { return a / b + (a % b != 0); }

fy_status fy_conv_any_shape(fy_conv_any *d, const fy_node *n, const fy_kernels *k, fy_conv_how how, const int64_t *wd, fy_arena *a, ferry_error *e) {
    int nd = fy_in(n, 1)->type.rank - 2;
    FY_TRY(fy_window_read(&d->win, n, nd, wd + 2, e));
    d->how = how;
    d->transposed = n->op->name[4] == 'T';
    for (int i = 0; i < 3; i++) {
        int at = i - (3 - nd);
        d->kernel[i] = at < 0 ? 1 : d->win.kernel[at];
        d->stride[i] = at < 0 ? 1 : d->win.stride[at];
        d->dilation[i] = at < 0 ? 1 : d->win.dilation[at];
    }
    d->taps = d->kernel[0] * d->kernel[1] * d->kernel[2];
    d->groups = fy_attr_i(n, "group");
    d->cin = d->transposed ? wd[0] / d->groups : wd[1];
    d->cout = d->transposed ? wd[1] : wd[0] / d->groups;
    d->merged = how == FY_CONV_FIRST && d->dilation[2] == 1;
    bool lanes = how == FY_CONV_DEPTH || how == FY_CONV_PICK;
    int64_t all_in, all_out;
    FY_NEED(e, fy_mul_i64(&all_in, d->groups, d->cin) && fy_mul_i64(&all_out, d->groups, d->cout), LIMIT, "too many channels");
    d->nr = lanes ? FY_LANES : k->gemm_nr;
    d->in_blocks = how == FY_CONV_FIRST ? 1 : up(lanes ? all_in : d->cin, FY_LANES);
    d->out_blocks = up(lanes ? all_out : d->cout, FY_LANES);
    d->panels = up(lanes ? all_out : d->cout, d->nr);
    d->lanes = d->merged ? d->cin * d->kernel[2] : how == FY_CONV_FIRST ? d->cin : FY_LANES;
    d->padded = up(all_out, d->nr) * d->nr;
    d->at = FY_NEWN(a, int64_t, d->taps);
    d->within = FY_NEWN(a, int64_t, d->taps);
    d->place = FY_NEWN(a, int64_t, d->taps);
    FY_NOMEM(e, d->at && d->within && d->place);
    order_taps(d);
    if (how == FY_CONV_PICK) return pick_tables(d, a, e);
    bool fits = fy_mul_i64(&d->w_panel, d->taps / (d->merged ? d->kernel[2] : 1), how == FY_CONV_DEPTH ? FY_LANES : d->lanes * d->nr);
    fits = fits && (how == FY_CONV_DEPTH || fy_mul_i64(&d->w_panel, d->w_panel, d->in_blocks));
    fits = fits && fy_mul_i64(&d->count, d->w_panel, d->panels) && (lanes || fy_mul_i64(&d->count, d->count, d->groups));
    FY_NEED(e, fits, LIMIT, "the weights are too many");
    return FY_OK;
}

/* ---- packing --------------------------------------------------------------------------------------------------------------- */

/* Where tap t of the filter from channel c to o (each in its group g) goes: base + unit * (at * many + within * block + place * each). */
typedef struct slot { int64_t base, unit, many, block, each; } slot;

static slot slot_of(const fy_conv_any *d, int64_t g, int64_t c, int64_t o) {
    int64_t all = g * d->cout + o;
    if (d->how == FY_CONV_DEPTH) return (slot){all / FY_LANES * d->w_panel + all % FY_LANES, FY_LANES, 1, 0, 1};
    if (d->how == FY_CONV_PICK) {
        const fy_pick_block *b = &d->block[all / FY_LANES];
        const fy_pick_run *run = d->run + b->run;
        int64_t before = 0, from, channel = g * d->cin + c;
        for (; run->block < channel / FY_LANES; run++) before += run->n;
        (void)meet(d, g, run->block, &from);
        return (slot){b->w + (channel - from) * FY_LANES + all % FY_LANES, FY_LANES, b->steps, before, run->n};
    }
    int64_t block = d->how == FY_CONV_FIRST ? 0 : c / FY_LANES;
    return (slot){(g * d->panels + o / d->nr) * d->w_panel + (c - block * FY_LANES) * d->nr + o % d->nr, d->lanes * d->nr, d->in_blocks, block, 1};
}

void fy_conv_any_pack(void *filling, const float *w, int64_t begin, int64_t end) {
    const fy_conv_filling *f = filling;
    const fy_conv_any *d = f->d;
    const int64_t inner = d->transposed ? d->cout : d->cin, row = d->transposed ? d->cin : d->cout;
    for (int64_t c = 0; c < inner; c++)
        for (int64_t r = begin; r < end; r++) {
            const float *from = w + ((r - begin) * inner + c) * d->taps;
            slot s = slot_of(d, r / row, d->transposed ? r % row : c, d->transposed ? c : r % row);
            float *to = f->to + s.base;
            for (int64_t t = 0; t < d->taps; t++)
                to[s.unit * (d->at[t] * s.many + d->within[t] * s.block + d->place[t] * s.each) + (d->merged ? t % d->kernel[2] * d->cin * d->nr : 0)] = from[t];
        }
}

typedef struct loose { fy_conv_filling f; const float *w; int64_t row; } loose;

static void pack_rows(void *arg, int64_t begin, int64_t end) {
    loose *l = arg;
    fy_conv_any_pack(&l->f, l->w + begin * l->row, begin, end);
}

void fy_conv_any_given(const fy_conv_any *d, fy_pool *pool, float *room, const fy_tensor *weights, const fy_tensor *bias, const float **w, const float **b) {
    *w = d->w;
    *b = d->bias;
    if (weights) {
        memset(room, 0, (size_t)d->count * sizeof *room);
        fy_for(pool, weights->dim[0], d->nr, pack_rows, &(loose){{d, room}, weights->data, fy_count(weights) / weights->dim[0]});
        *w = room;
        room += d->count;
    }
    if (!bias) return;
    memcpy(room, bias->data, (size_t)fy_count(bias) * sizeof *room);
    memset(room + fy_count(bias), 0, (size_t)(d->padded - fy_count(bias)) * sizeof *room);
    *b = room;
}
