/* SPDX-License-Identifier: Apache-2.0
 * pool.c - MaxPool (also where the greatest are), AveragePool, LpPool and their global forms over one to three spatial axes in the c16 layout; missing axes come
 * first, with size 1. Windows are cut to the input: padding never wins a maximum; averages divide by what count_include_pad says. */
#include "engines/cpu/cpu.h"

#include "ops/window.h"

#include <math.h>
#include <string.h>

typedef enum kind { MAX, AVERAGE, NORM } kind;
typedef struct pool { fy_window win; kind kind; bool global, include_pad, column_major; int p; } pool;

static bool is_global(const fy_node *n) { return !strncmp(n->op->name, "Global", 6); }
static kind kind_of(const fy_node *n) { return strstr(n->op->name, "Max") ? MAX : strstr(n->op->name, "Lp") ? NORM : AVERAGE; }

static const char *can(const fy_site *s) {
    const fy_node *n = s->node;
    kind k = kind_of(n);
    if (!fy_cpu_f32(fy_in(n, 0))) return "not f32";
    if (fy_in(n, 0)->type.rank < 3 || fy_in(n, 0)->type.rank > 2 + FY_MAX_SPATIAL) return "not one to three spatial axes";
    if (!n->out[0]) return "the values are left out";
    if (is_global(n) && k != NORM && s->layout[0] != FY_C16) return "the input is not blocked";
    return k == NORM && fy_attr_i(n, "p") != 1 && fy_attr_i(n, "p") != 2 ? "another norm" : NULL;
}

static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = *out = FY_C16; }

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    pool *d = FY_NEW(a, pool);
    const fy_node *n = s->node;
    (void)p;
    FY_NOMEM(e, d);
    s->data = d;
    d->global = is_global(n);
    d->kind = kind_of(n);
    if (d->kind == NORM) d->p = (int)fy_attr_i(n, "p");
    if (d->global) return FY_OK;
    d->include_pad = d->kind == AVERAGE && fy_attr_i(n, "count_include_pad");
    d->column_major = d->kind == MAX && fy_attr_i(n, "storage_order");
    return fy_window_read(&d->win, n, fy_in(n, 0)->type.rank - 2, NULL, e);
}

typedef struct work {
    const pool *d;
    const fy_kernels *k;
    const float *x;
    float *y;
    int64_t *index;                      /* plain, or NULL */
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_end[3], channels, blocks;
    int64_t inner, inner_end;            /* outputs along the last axis whose windows are inside as a whole */
} work;

/* Along one axis, of the window of output o: the taps inside, the place of the first, the taps that an average counts. */
typedef struct span { int64_t n, at, counted; } span;

/* Taps of a window from `start` on that lie before `end`. By division: a file may ask for windows of 2^31 taps over a handful of elements. */
static int64_t taps_before(int64_t start, int64_t end, int64_t kernel, int64_t dilation) {
    int64_t room = end - start, n = room <= 0 ? 0 : dilation == 1 ? room : (room + dilation - 1) / dilation;
    return n < kernel ? n : kernel;
}

static span span_of(const work *w, int i, int64_t o) {
    const int64_t start = o * w->stride[i] - w->pad[i], kernel = w->kernel[i], dilation = w->dilation[i];
    const int64_t first = taps_before(start, 0, kernel, dilation);
    span s = {.n = taps_before(start, w->in[i], kernel, dilation) - first, .at = start + first * dilation};
    s.counted = s.n;
    if (w->d->include_pad) s.counted = taps_before(start, w->in[i] + w->pad_end[i], kernel, dilation);
    return s;
}

/* The greatest of a window and where they are, lane by lane. */
static void greatest(const work *w, float *y, int64_t *where, const float *x, const span *s) {
    for (int l = 0; l < FY_LANES; l++) {
        y[l] = -HUGE_VALF;
        where[l] = -1;
    }
    for (int64_t i = 0; i < s[0].n; i++)
        for (int64_t j = 0; j < s[1].n; j++)
            for (int64_t k = 0; k < s[2].n; k++) {
                const int64_t at[3] = {s[0].at + i * w->dilation[0], s[1].at + j * w->dilation[1], s[2].at + k * w->dilation[2]};
                const int64_t place = w->d->column_major ? (at[2] * w->in[1] + at[1]) * w->in[0] + at[0] : (at[0] * w->in[1] + at[1]) * w->in[2] + at[2];
                const float *v = x + ((at[0] * w->in[1] + at[1]) * w->in[2] + at[2]) * FY_LANES;
                for (int l = 0; l < FY_LANES; l++) {
                    bool better = where[l] < 0 || v[l] > y[l] || (v[l] != v[l] && y[l] == y[l]);
                    y[l] = better ? v[l] : y[l];
                    where[l] = better ? place : where[l];
                }
            }
}

/* `pixels` windows of block `plane`, from output o on. */
static void some(const work *w, float *y, const float *x, const span *s, int64_t plane, int64_t o, int64_t pixels) {
    const int64_t row = w->in[2] * FY_LANES, step[3] = {w->in[1] * row, row, FY_LANES};
    fy_pool_c16 win = {.n = {s[0].n, s[1].n, s[2].n}, .step = {w->dilation[0] * step[0], w->dilation[1] * step[1], w->dilation[2] * step[2]}, .pixels = pixels, .next = w->stride[2] * FY_LANES};
    if (w->index) {
        int64_t where[FY_LANES], sample = plane / w->blocks, c = plane % w->blocks * FY_LANES, area = w->in[0] * w->in[1] * w->in[2], made = w->out[0] * w->out[1] * w->out[2];
        greatest(w, y, where, x, s);
        for (int64_t l = 0; l < FY_LANES && c + l < w->channels; l++) {
            int64_t channel = sample * w->channels + c + l;
            w->index[channel * made + o] = channel * area + (where[l] < 0 ? 0 : where[l]);
        }
        return;
    }
    if (win.n[0] > 0 && win.n[1] > 0 && win.n[2] > 0) x += s[0].at * step[0] + s[1].at * step[1] + s[2].at * step[2];
    if (w->d->kind == MAX) w->k->pool_max_c16(y, x, &win);
    else w->k->pool_sum_c16(y, x, &win, w->d->kind == AVERAGE ? 1.0f / (float)(s[0].counted * s[1].counted * s[2].counted) : 1, w->d->p);
}

static void rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        const int64_t plane = i / w->out[1] / w->out[0], z = i / w->out[1] % w->out[0], r = i % w->out[1];
        const float *x = w->x + plane * w->in[0] * w->in[1] * w->in[2] * FY_LANES;
        float *y = w->y + i * w->out[2] * FY_LANES;
        span s[3] = {span_of(w, 0, z), span_of(w, 1, r)};
        for (int64_t c = 0, n; c < w->out[2]; c += n) {
            n = c >= w->inner && c < w->inner_end && !w->index ? w->inner_end - c : 1;
            s[2] = span_of(w, 2, c);
            some(w, y + c * FY_LANES, x, s, plane, (z * w->out[1] + r) * w->out[2] + c, n);
        }
        if (w->d->p == 2) w->k->unary[FY_ACT_SQRT](y, y, w->out[2] * FY_LANES, NULL);
    }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *index = fy_step_out(s, x, 1);
    fy_tensor *y = fy_step_out(s, x, 0);
    work w = {.d = s->data, .k = x->k, .x = in->data, .y = y->data, .index = index ? index->data : NULL, .channels = in->dim[1], .blocks = (in->dim[1] + FY_LANES - 1) / FY_LANES};
    const int nd = in->rank - 2;
    fy_window win = w.d->win;
    (void)e;
    if (!w.d->global) fy_window_place(&win, in->dim + 2, y->dim + 2);
    for (int i = 0; i < 3; i++) {
        int at = i - (3 - nd);
        bool own = at >= 0 && !w.d->global;
        w.in[i] = at < 0 ? 1 : in->dim[2 + at];
        w.out[i] = at < 0 ? 1 : y->dim[2 + at];
        w.kernel[i] = own ? win.kernel[at] : w.in[i];
        w.stride[i] = own ? win.stride[at] : 1;
        w.dilation[i] = own ? win.dilation[at] : 1;
        w.pad[i] = own ? win.pad[at] : 0;
        w.pad_end[i] = own ? win.pad_end[at] : 0;
    }
    const int64_t reach = w.in[2] - 1 - (w.kernel[2] - 1) * w.dilation[2] + w.pad[2];
    w.inner = w.pad[2] > 0 ? (w.pad[2] + w.stride[2] - 1) / w.stride[2] : 0;
    w.inner_end = reach < 0 ? 0 : reach / w.stride[2] + 1;
    if (w.inner_end > w.out[2]) w.inner_end = w.out[2];
    int64_t each = w.out[2];
    for (int i = 0; i < 3; i++) each *= w.kernel[i] < w.in[i] ? w.kernel[i] : w.in[i];
    fy_for(x->pool, in->dim[0] * w.blocks * w.out[0] * w.out[1], 1 + 4096 / (each + 1), rows, &w);
    return FY_OK;
}

#define POOL(var, Op) static const fy_impl var = {.op = Op, .name = "pool.c16", .can = can, .layouts = layouts, .prepare = prepare, .run = run};
POOL(max_pool, "MaxPool")
POOL(average_pool, "AveragePool")
POOL(lp_pool, "LpPool")
POOL(global_max, "GlobalMaxPool")
POOL(global_average, "GlobalAveragePool")
POOL(global_lp, "GlobalLpPool")

const fy_impl *const fy_cpu_pool[] = {&max_pool, &average_pool, &lp_pool, &global_max, &global_average, &global_lp, NULL};
