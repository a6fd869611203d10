/* SPDX-License-Identifier: Apache-2.0
 * grid.c - GridSample over one to three spatial axes in the c16 layout: the taps of a point are found once, by the reference kernel's own rules, and 16 channels at a
 * time are summed with the same weights.
 *   x f32[n, c, d...], grid f32[n, o..., axes] -> y f32[n, c, o...]; x and y c16 */
#include "engines/cpu/cpu.h"

enum { AXES = 3, MOST = 64 };            /* 4 taps along each axis */

static const char *can(const fy_site *s) {
    fy_grid g;
    const fy_value *x = fy_in(s->node, 0), *grid = fy_in(s->node, 1);
    if (!fy_cpu_f32(x) || !fy_cpu_f32(grid)) return "not f32";
    if (x->type.rank < 3 || x->type.rank > AXES + 2 || !fy_grid_of(&g, s->node)) return "not one to three spatial axes";
    return s->sized ? NULL : "sizes depend on contents";
}

static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = *out = FY_C16; }

typedef struct work { const fy_kernels *k; fy_grid g; int axes; const int64_t *in; int64_t plane, points, blocks; const float *x, *grid; float *y; } work;

/* Points of all images. */
static void sample(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t p = begin; p < end; p++) {
        const int64_t n = p / w->points;
        int64_t place[MOST];             /* below 0: outside */
        double by[MOST];
        const float *from[MOST], *x = w->x + n * w->blocks * w->plane * FY_LANES;
        float weight[MOST];
        int count = 1, inside = 0;
        place[0] = 0;
        by[0] = 1;
        for (int a = 0; a < w->axes; a++) {
            int64_t at[4];
            double part[4];
            const int taps = fy_grid_taps(&w->g, at, part, (double)w->grid[p * w->axes + w->axes - 1 - a], w->in[a]);
            for (int i = count - 1; i >= 0; i--)
                for (int t = taps - 1, k = i * taps + t; t >= 0; t--, k--) {      /* what is read of i lies at k or before it */
                    by[k] = by[i] * part[t];
                    place[k] = place[i] < 0 || at[t] < 0 ? -1 : place[i] * w->in[a] + at[t];
                }
            count *= taps;
        }
        for (int i = 0; i < count; i++) {
            if (place[i] < 0) continue;
            from[inside] = x + place[i] * FY_LANES;
            weight[inside++] = (float)by[i];
        }
        w->k->blend_c16(w->y + (n * w->blocks * w->points + p - n * w->points) * FY_LANES, w->points * FY_LANES, from, w->plane * FY_LANES, weight, inside, w->blocks);
    }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *y = fy_step_out(s, x, 0);
    work w = {.k = x->k, .axes = in->rank - 2, .in = in->dim + 2, .plane = 1, .points = 1, .blocks = (in->dim[1] + FY_LANES - 1) / FY_LANES, .x = in->data, .grid = fy_step_in(s, x, 1)->data, .y = y->data};
    FY_NEED(e, fy_grid_of(&w.g, s->node), INTERNAL, "mode");
    for (int a = 2; a < in->rank; a++) {
        w.plane *= in->dim[a];
        w.points *= y->dim[a];
    }
    fy_for(x->pool, w.blocks ? y->dim[0] * w.points : 0, 256, sample, &w);
    return FY_OK;
}

static const fy_impl grid_sample = {.op = "GridSample", .name = "grid.c16", .can = can, .layouts = layouts, .run = run};

const fy_impl *const fy_cpu_grid[] = {&grid_sample, NULL};
