/* SPDX-License-Identifier: Apache-2.0
 * pool.c - MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool over two spatial axes in the c16 layout.
 * Windows are cut to the input: padding never wins a maximum; averages divide by what count_include_pad says. */
#include "engines/cpu/cpu.h"

#include "ops/window.h"

#include <string.h>

typedef struct pool { fy_window win; bool max, global, include_pad; } pool;

static const char *can(const fy_site *s) {
    const fy_node *n = s->node;
    if (!fy_cpu_f32(fy_in(n, 0))) return "not f32";
    if (fy_in(n, 0)->type.rank != 4) return "not two spatial axes";
    if (n->nout > 1 && n->out[1]) return "indices are wanted";
    if (s->layout[0] != FY_C16) return "the input is not blocked";
    if (!strcmp(n->op->name, "AveragePool") && fy_attr_get(n, "dilations")) return "dilations";
    if (!strcmp(n->op->name, "MaxPool")) {
        int64_t k;
        const int64_t *d = fy_attr_ints(n, "dilations", &k);
        for (int64_t i = 0; d && i < k; i++)
            if (d[i] != 1) return "dilations";
    }
    return NULL;
}

static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = *out = FY_C16; }

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    pool *d = FY_NEW(a, pool);
    const char *op = s->node->op->name;
    (void)p;
    FY_NOMEM(e, d);
    s->data = d;
    d->global = !strncmp(op, "Global", 6);
    d->max = strstr(op, "Max") != NULL;
    if (d->global) return FY_OK;
    d->include_pad = !d->max && fy_attr_i(s->node, "count_include_pad");
    return fy_window_read(&d->win, s->node, 2, NULL, e);
}

typedef struct work { const pool *d; const fy_kernels *k; fy_window win; const float *x; float *y; int64_t in[2], out[2]; } work;

static int64_t within(int64_t v, int64_t most) { return v < 0 ? 0 : v > most ? most : v; }

static void rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t plane = i / w->out[0], r = i % w->out[0], top = r * w->win.stride[0] - w->win.pad[0];
        int64_t y0 = within(top, w->in[0]), y1 = within(top + w->win.kernel[0], w->in[0]);
        const float *x = w->x + plane * w->in[0] * w->in[1] * FY_LANES;
        float *y = w->y + i * w->out[1] * FY_LANES;
        for (int64_t c = 0; c < w->out[1]; c++, y += FY_LANES) {
            int64_t left = c * w->win.stride[1] - w->win.pad[1], x0 = within(left, w->in[1]), x1 = within(left + w->win.kernel[1], w->in[1]);
            const float *from = x + (y0 * w->in[1] + x0) * FY_LANES;
            int64_t count = (y1 - y0) * (x1 - x0);
            if (w->d->include_pad) {
                int64_t bottom = top + w->win.kernel[0], right = left + w->win.kernel[1], h = w->in[0] + w->win.pad_end[0], v = w->in[1] + w->win.pad_end[1];
                count = ((bottom < h ? bottom : h) - top) * ((right < v ? right : v) - left);
            }
            if (w->d->max) w->k->pool_max_c16(y, from, y1 - y0, x1 - x0, w->in[1] * FY_LANES);
            else w->k->pool_sum_c16(y, from, y1 - y0, x1 - x0, w->in[1] * FY_LANES, 1.0f / (float)count);
        }
    }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    work w = {.d = s->data, .k = x->k, .x = in->data, .y = y->data, .in = {in->dim[2], in->dim[3]}, .out = {y->dim[2], y->dim[3]}};
    (void)e;
    w.win = w.d->win;
    if (w.d->global) w.win = (fy_window){.nd = 2, .kernel = {in->dim[2], in->dim[3]}, .stride = {1, 1}, .dilation = {1, 1}};
    else fy_window_place(&w.win, in->dim + 2, y->dim + 2);
    fy_for(x->pool, in->dim[0] * ((in->dim[1] + FY_LANES - 1) / FY_LANES) * w.out[0], 1 + 4096 / (w.out[1] * w.win.kernel[0] * w.win.kernel[1] + 1), rows, &w);
    return FY_OK;
}

#define POOL(var, Op) static const fy_impl var = {.op = Op, .name = "pool.c16", .can = can, .layouts = layouts, .prepare = prepare, .run = run};
POOL(max_pool, "MaxPool")
POOL(average_pool, "AveragePool")
POOL(global_max, "GlobalMaxPool")
POOL(global_average, "GlobalAveragePool")

const fy_impl *const fy_cpu_pool[] = {&max_pool, &average_pool, &global_max, &global_average, NULL};
