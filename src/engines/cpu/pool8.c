/* SPDX-License-Identifier: Apache-2.0
 * pool8.c - pools over bytes in the c16 layout (MaxPool; GlobalAveragePool between DequantizeLinear and QuantizeLinear), and Softmax and
 * LayerNormalization of bytes, whose rows are f32 in between. */
#include "engines/cpu/qdq.h"

#include "ops/window.h"

#include <string.h>

/* ---- MaxPool ----------------------------------------------------------------------------------------------------------------- */

FY_COLD static const char *can_max(const fy_site *s) {
    const fy_node *n = s->node;
    if (!fy_qdq_bytes(fy_in(n, 0))) return "not of bytes";
    if (fy_in(n, 0)->type.rank != 4) return "not two spatial axes";
    if (!s->sized) return "sizes depend on contents";
    return n->nout > 1 && n->out[1] ? "indices are wanted" : NULL;
}

FY_COLD static void layouts_c16(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = *out = FY_C16; }

static fy_status prepare_max(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    fy_window *w = FY_NEW(a, fy_window);
    (void)p;
    FY_NOMEM(e, w);
    s->data = w;
    return fy_window_read(w, s->node, 2, NULL, e);
}

typedef struct maxima { fy_window win; const uint8_t *x; uint8_t *y, flip; int64_t in[2], out[2]; } maxima;

/* The taps of a window from `at` on that lie within `size`: [*from, *to). */
static void taps_within(int64_t at, int64_t size, int64_t kernel, int64_t dilation, int64_t *from, int64_t *to) {
    *from = 0;
    *to = kernel;
    while (*from < kernel && at + *from * dilation < 0) ++*from;
    while (*to > *from && at + (*to - 1) * dilation >= size) --*to;
}

FY_INLINE uint8_t larger(uint8_t a, uint8_t b) { return a > b ? a : b; }
FY_INLINE uint8_t largest(uint8_t a, uint8_t b, uint8_t c) { return larger(larger(a, b), c); }

/* One pixel of 16 channels: the largest of n x m, `down` and `across` bytes apart; nine at a time, a missing one is the last once more. */
static void max_pixel(uint8_t *y, const uint8_t *x, int64_t n, int64_t m, int64_t down, int64_t across, uint8_t flip) {
    uint8_t most[FY_LANES] = {0};
    for (int64_t i = 0; i < n; i += 3)
        for (int64_t j = 0; j < m; j += 3) {
            const uint8_t *a = x + i * down + j * across, *b = i + 1 < n ? a + down : a, *c = i + 2 < n ? b + down : b;
            const int64_t s = j + 1 < m ? across : 0, t = j + 2 < m ? 2 * across : s;
            for (int l = 0; l < FY_LANES; l++) {
                const uint8_t u = largest(a[l] ^ flip, a[l + s] ^ flip, a[l + t] ^ flip), v = largest(b[l] ^ flip, b[l + s] ^ flip, b[l + t] ^ flip);
                most[l] = larger(most[l], largest(u, v, largest(c[l] ^ flip, c[l + s] ^ flip, c[l + t] ^ flip)));
            }
        }
    for (int l = 0; l < FY_LANES; l++) y[l] = most[l] ^ flip;
}

static void max_rows(void *arg, int64_t begin, int64_t end) {
    const maxima *w = arg;
    const int64_t down = w->win.dilation[0] * w->in[1] * FY_LANES, across = w->win.dilation[1] * FY_LANES;
    for (int64_t i = begin; i < end; i++) {
        const int64_t top = i % w->out[0] * w->win.stride[0] - w->win.pad[0];
        int64_t r, r_end, c, c_end;
        taps_within(top, w->in[0], w->win.kernel[0], w->win.dilation[0], &r, &r_end);
        uint8_t *y = w->y + i * w->out[1] * FY_LANES;
        for (int64_t q = 0; q < w->out[1]; q++, y += FY_LANES) {
            const int64_t left = q * w->win.stride[1] - w->win.pad[1];
            taps_within(left, w->in[1], w->win.kernel[1], w->win.dilation[1], &c, &c_end);
            const uint8_t *x = w->x + ((i / w->out[0] * w->in[0] + top + r * w->win.dilation[0]) * w->in[1] + left + c * w->win.dilation[1]) * FY_LANES;
            max_pixel(y, x, r_end - r, c_end - c, down, across, w->flip);
        }
    }
}

static fy_status run_max(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    maxima w = {.win = *(const fy_window *)s->data, .x = in->data, .y = y->data, .flip = in->dtype == FERRY_INT8 ? 0x80 : 0, .in = {in->dim[2], in->dim[3]}, .out = {y->dim[2], y->dim[3]}};
    (void)e;
    fy_window_place(&w.win, in->dim + 2, y->dim + 2);
    fy_for(x->pool, in->dim[0] * ((in->dim[1] + FY_LANES - 1) / FY_LANES) * w.out[0], 1 + 8192 / (w.out[1] * w.win.kernel[0] * w.win.kernel[1] + 1), max_rows, &w);
    return FY_OK;
}

/* ---- between DequantizeLinear and QuantizeLinear ------------------------------------------------------------------------------ */

typedef struct inside { fy_bytes x, y; const fy_node *core; } inside;

FY_COLD static bool cover_one(const fy_node *n, const char *op, fy_cover *c, fy_arena *a) {
    inside d = {0}, *kept;
    const fy_node *limits;
    if (!fy_qdq_params(n, &d.y) || !(d.core = fy_in(n, 0)->def) || !fy_qdq_is(d.core, op) || fy_qdq_into(d.core->out[0], &limits) != n || limits || d.core->nout != 1) return false;
    const fy_node *dq = fy_qdq_from(fy_in(d.core, 0), &d.x);
    if (!dq || !fy_cpu_f32(d.core->out[0]) || !(kept = FY_NEW(a, inside))) return false;
    *kept = d;
    c->data = kept;
    c->in[c->nin++] = fy_in(dq, 0);
    for (int i = 1; i < d.core->nin; i++) c->in[c->nin++] = fy_in(d.core, i);
    return fy_qdq_cover(c, dq) && fy_qdq_cover(c, d.core);
}

FY_COLD static bool cover_average(const fy_node *n, fy_cover *c, fy_arena *a) {
    int64_t h, w;
    if (!c->sized || !cover_one(n, "GlobalAveragePool", c, a)) return false;
    const fy_type *t = &c->in[0]->type;
    return t->rank == 4 && fy_dim_known(t->dim[2], &h) && fy_dim_known(t->dim[3], &w) && h > 0 && w > 0 && h <= 2048 && w <= 2048;
}

FY_COLD static void layouts_average(const fy_site *s, fy_layout *in, fy_layout *out) { in[0] = *out = s->layout[0]; }

/* blocked: x[block][area][16]; else each channel's bytes follow each other. */
typedef struct averages { const uint8_t *x; uint8_t *y; int64_t area; float k, lo, hi; fy_bytes in, out; bool blocked; } averages;

/* Lane by lane, of n times 16 bytes. */
static void add_lanes(int32_t *sum, const uint8_t *x, int64_t n, uint8_t flip) {
    for (int64_t m; n; n -= m) {
        uint16_t part[FY_LANES] = {0};
        m = n < 256 ? n : 256;           /* as many bytes as 16 bits hold */
        for (int64_t p = 0; p < m; p++, x += FY_LANES)
            for (int l = 0; l < FY_LANES; l++) part[l] = (uint16_t)(part[l] + (x[l] ^ flip));
        for (int l = 0; l < FY_LANES; l++) sum[l] += part[l];
    }
}

static void average_blocks(void *arg, int64_t begin, int64_t end) {
    const averages *w = arg;
    const int64_t wide = w->blocked ? FY_LANES : 1;
    for (int64_t i = begin; i < end; i++) {
        int32_t sum[FY_LANES] = {0};
        const uint8_t *x = w->x + i * w->area * wide;
        add_lanes(sum, x, w->area * wide / FY_LANES, w->in.flip);
        for (int l = 1; l < FY_LANES && !w->blocked; l++) sum[0] += sum[l];
        for (int64_t p = w->area / FY_LANES * FY_LANES; p < w->area && !w->blocked; p++) sum[0] += x[p] ^ w->in.flip;
        for (int l = 0; l < wide; l++) {
            float v = (float)(sum[l] - (int32_t)w->area * w->in.zero) * w->k;
            v = v < w->lo ? w->lo : v > w->hi ? w->hi : v;
            int32_t r = (int32_t)v;
            float rest = v - (float)r;                           /* half to even, in any rounding mode */
            if (rest > 0.5f || (rest == 0.5f && r & 1)) r++;
            if (rest < -0.5f || (rest == -0.5f && r & 1)) r--;
            w->y[i * wide + l] = (uint8_t)(r + w->out.zero) ^ w->out.flip;
        }
    }
}

static fy_status run_average(const fy_step *s, fy_exec *x, ferry_error *e) {
    const inside *d = s->data;
    const fy_tensor *in = fy_step_in(s, x, 0);
    averages w = {.x = in->data, .y = fy_step_out(s, x, 0)->data, .area = in->dim[2] * in->dim[3], .in = d->x, .out = d->y, .blocked = s->out_layout == FY_C16};
    (void)e;
    fy_qdq_range(&d->y, &(fy_epilogue){0}, &w.lo, &w.hi);
    w.k = (float)((double)d->x.scale / ((double)d->y.scale * (double)w.area));
    fy_for(x->pool, in->dim[0] * (w.blocked ? (in->dim[1] + FY_LANES - 1) / FY_LANES : in->dim[1]), 1 + 4096 / (w.area + 1), average_blocks, &w);
    return FY_OK;
}

/* ---- rows that are f32 in between ---------------------------------------------------------------------------------------------- */

FY_COLD static bool cover_softmax(const fy_node *n, fy_cover *c, fy_arena *a) {
    if (!cover_one(n, "Softmax", c, a)) return false;
    const fy_node *core = ((const inside *)c->data)->core;
    int64_t axis = fy_attr_i(core, "axis");
    return axis == -1 || axis == core->out[0]->type.rank - 1;
}

FY_COLD static bool cover_norm(const fy_node *n, fy_cover *c, fy_arena *a) {
    if (!cover_one(n, "LayerNormalization", c, a)) return false;
    const fy_node *core = ((const inside *)c->data)->core;
    const fy_value *x = fy_in(core, 0), *scale = fy_in(core, 1), *bias = fy_in(core, 2);
    int64_t axis = fy_attr_i(core, "axis");
    if (axis < 0) axis += x->type.rank;
    if (fy_attr_i(core, "stash_type") != 1 || axis != x->type.rank - 1 || !fy_cpu_f32(scale) || scale->type.rank != 1 || scale->type.dim[0] != x->type.dim[axis]) return false;
    return !bias || (fy_cpu_f32(bias) && fy_type_equal(&bias->type, &scale->type));
}

typedef struct rows { const fy_kernels *k; const inside *d; const uint8_t *x; uint8_t *y; float *room; const float *scale, *bias; float eps; int64_t n, grain; } rows;

static void some_rows(void *arg, int64_t begin, int64_t end) {
    const rows *w = arg;
    float *row = w->room + begin / w->grain * w->n;
    for (int64_t r = begin; r < end; r++) {
        w->k->dequantize_bytes(row, w->x + r * w->n, w->n, &w->d->x);
        if (w->scale) w->k->norm_rows(row, row, 1, w->n, w->scale, w->bias, w->eps, false, NULL, NULL);
        else w->k->softmax_rows(row, row, 1, w->n);
        w->k->quantize_bytes(w->y + r * w->n, row, w->n, &w->d->y);
    }
}

static fy_status run_rows(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *scale = fy_step_in(s, x, 1), *bias = fy_step_in(s, x, 2);
    const inside *d = s->data;
    rows w = {.k = x->k, .d = d, .x = in->data, .y = fy_step_out(s, x, 0)->data, .scale = scale ? scale->data : NULL, .bias = bias ? bias->data : NULL, .n = in->dim[in->rank - 1]};
    if (!fy_count(in)) return FY_OK;
    if (scale) w.eps = (float)fy_attr_f(d->core, "epsilon");
    int64_t all = fy_count(in) / w.n;
    w.grain = 1 + 8192 / w.n;
    w.room = fy_exec_scratch(x, (size_t)((all + w.grain - 1) / w.grain * w.n) * sizeof *w.room);
    FY_NOMEM(e, w.room);
    fy_for(x->pool, all, w.grain, some_rows, &w);
    return FY_OK;
}

static const char *no_average(const fy_site *s) { (void)s; return "no GlobalAveragePool of bytes before it"; }
static const char *no_softmax(const fy_site *s) { (void)s; return "no Softmax of bytes along the last axis before it"; }
static const char *no_norm(const fy_site *s) { (void)s; return "no LayerNormalization of bytes over the last axis before it"; }

static const fy_impl max = {.op = "MaxPool", .name = "pool.u8", .can = can_max, .layouts = layouts_c16, .prepare = prepare_max, .run = run_max};
static const fy_impl average = {.op = "QuantizeLinear", .name = "average.u8", .can = no_average, .cover = cover_average, .layouts = layouts_average, .run = run_average};
static const fy_impl softmax = {.op = "QuantizeLinear", .name = "softmax.u8", .can = no_softmax, .cover = cover_softmax, .run = run_rows};
static const fy_impl norm = {.op = "QuantizeLinear", .name = "norm.u8", .can = no_norm, .cover = cover_norm, .run = run_rows};

const fy_impl *const fy_cpu_pool8[] = {&max, &average, &softmax, &norm, NULL};
