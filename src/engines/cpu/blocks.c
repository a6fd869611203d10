/* SPDX-License-Identifier: Apache-2.0
 * blocks.c - what stands between convolutions and moves whole blocks of 16 channels: Concat and Split along the channels, Resize that repeats
 * pixels. Each keeps the c16 layout, so that no conversion is needed around it.
 *   x f32[n, c, h, w] as [n, c/16, h, w, 16] */
#include "engines/cpu/cpu.h"

#include <string.h>

static bool image(const fy_value *v) { return fy_cpu_f32(v) && v->type.rank == 4; }
static bool blocks(const fy_value *v) { return fy_cpu_f32(v) && v->type.rank >= 3; }

/* Channels are along `axis`, and in whole blocks. */
static bool along_channels(const fy_node *n) { int64_t a = fy_attr_i(n, "axis"); return a == 1 || a == 1 - fy_in(n, 0)->type.rank; }

static bool whole(const fy_value *v) {
    int64_t c;
    return fy_dim_known(v->type.dim[1], &c) && c % FY_LANES == 0;
}

FY_COLD static const char *can_concat(const fy_site *s) {
    const fy_node *n = s->node;
    bool blocked = false;
    for (int i = 0; i < n->nin; i++) {
        if (!blocks(fy_in(n, i))) return "not f32 over spatial axes";
        blocked |= s->layout[i] == FY_C16;
        if (fy_in(n, i)->constant) return "an input is constant";
        if (i + 1 < n->nin && !whole(fy_in(n, i))) return "an input has no whole blocks of channels";
    }
    if (!s->sized) return "sizes depend on contents";
    if (!blocked) return "no input is blocked";
    return along_channels(n) ? NULL : "not along the channels";
}

FY_COLD static const char *can_split(const fy_site *s) {
    const fy_node *n = s->node;
    if (!blocks(fy_in(n, 0))) return "not f32 over spatial axes";
    if (!s->sized) return "sizes depend on contents";
    if (s->layout[0] != FY_C16) return "the input is not blocked";
    for (int i = 0; i < n->nout; i++) {
        if (!n->out[i] || !blocks(n->out[i])) return "a part is left out";
        if (i + 1 < n->nout && !whole(n->out[i])) return "a part has no whole blocks of channels";
    }
    return along_channels(n) ? NULL : "not along the channels";
}

FY_COLD static void layouts_concat(const fy_site *s, fy_layout *in, fy_layout *out) {
    for (int i = 0; i < s->node->nin; i++) in[i] = FY_C16;
    *out = FY_C16;
}

FY_COLD static void layouts_first(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = *out = FY_C16; }

/* Floats of one sample. */
static int64_t sample(const fy_tensor *t) {
    int64_t n = (t->dim[1] + FY_LANES - 1) / FY_LANES * FY_LANES;
    for (int i = 2; i < t->rank; i++) n *= t->dim[i];
    return n;
}

/* `n` runs of `floats` each. */
typedef struct copying { float *to; const float *from; int64_t floats, to_step, from_step, piece; } copying;

static void copy_pieces(void *arg, int64_t begin, int64_t end) {
    const copying *c = arg;
    int64_t each = (c->floats + c->piece - 1) / c->piece;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i % each * c->piece, n = c->floats - at < c->piece ? c->floats - at : c->piece;
        memcpy(c->to + i / each * c->to_step + at, c->from + i / each * c->from_step + at, (size_t)n * sizeof *c->to);
    }
}

static void copy(copying *c, int64_t n, fy_pool *pool) {
    if (c->to == c->from) return;                            /* made where it belongs */
    c->piece = 1 << 16;
    fy_for(pool, n * ((c->floats + c->piece - 1) / c->piece), 1, copy_pieces, c);
}

static fy_status run_concat(const fy_step *s, fy_exec *x, ferry_error *e) {
    fy_tensor *y = fy_step_out(s, x, 0);
    int64_t place = 0, all = sample(y);
    for (int i = 0; i < s->nin; i++) {
        const fy_tensor *in = fy_step_in(s, x, i);
        copying c = {.to = (float *)y->data + place, .from = in->data, .floats = sample(in), .to_step = all, .from_step = sample(in)};
        FY_NEED(e, c.floats <= all - place && in->dim[0] == y->dim[0], SHAPE, "the inputs are longer than the output");
        copy(&c, y->dim[0], x->pool);
        place += c.floats;
    }
    return FY_OK;
}

static fy_status run_split(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    int64_t place = 0, all = sample(in);
    for (int i = 0; i < s->nout; i++) {
        fy_tensor *y = fy_step_out(s, x, i);
        copying c = {.to = y->data, .from = (const float *)in->data + place, .floats = sample(y), .to_step = sample(y), .from_step = all};
        FY_NEED(e, c.floats <= all - place && in->dim[0] == y->dim[0], SHAPE, "the parts are longer than the input");
        copy(&c, y->dim[0], x->pool);
        place += c.floats;
    }
    return FY_OK;
}

/* ---- Resize ---------------------------------------------------------------------------------------------------------------- */

typedef struct resizing { const float *x; float *y; int64_t h, w, by[2]; } resizing;

/* How often rows and columns are repeated: whole scales, pixel i of the result from pixel i / by. */
static bool repeats(const fy_node *n, int64_t *by) {
    const fy_value *scales = fy_in(n, 2);
    bool floor = fy_attr_is(n, "coordinate_transformation_mode", "asymmetric") && fy_attr_is(n, "nearest_mode", "floor");
    bool middle = fy_attr_is(n, "coordinate_transformation_mode", "half_pixel") &&
                  (fy_attr_is(n, "nearest_mode", "round_prefer_floor") || fy_attr_is(n, "nearest_mode", "round_prefer_ceil"));
    if (!fy_attr_is(n, "mode", "nearest") || (!floor && !middle) || fy_attr_get(n, "axes") || fy_in(n, 3) || !scales || !scales->constant || scales->constant->count != 4) return false;
    for (int64_t i = 0; i < 4; i++) {
        double v;
        if (!fy_const_f64(scales->constant, i, &v) || !(v >= 1 && v <= 64) || v != (double)(int64_t)v || (i < 2 && v != 1)) return false;
        if (i >= 2) by[i - 2] = (int64_t)v;
    }
    return true;
}

FY_COLD static const char *can_resize(const fy_site *s) {
    int64_t by[2];
    if (!image(fy_in(s->node, 0))) return "not f32 over two spatial axes";
    if (!s->sized) return "sizes depend on contents";
    if (s->layout[0] != FY_C16) return "the input is not blocked";
    return repeats(s->node, by) ? NULL : "pixels are not repeated a whole number of times";
}

/* Rows of all blocks. */
static void resize_rows(void *arg, int64_t begin, int64_t end) {
    const resizing *r = arg;
    int64_t row = r->w * r->by[1] * FY_LANES;
    for (int64_t i = begin; i < end; i++) {
        const float *x = r->x + i * r->w * FY_LANES;
        float *y = r->y + i * r->by[0] * row, *to = y;
        for (int64_t c = 0; c < r->w; c++, x += FY_LANES)
            for (int64_t k = 0; k < r->by[1]; k++, to += FY_LANES) memcpy(to, x, FY_LANES * sizeof *to);
        for (int64_t k = 1; k < r->by[0]; k++) memcpy(y + k * row, y, (size_t)row * sizeof *y);
    }
}

static fy_status run_resize(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    resizing r = {.x = in->data, .y = y->data, .h = in->dim[2], .w = in->dim[3]};
    FY_NEED(e, repeats(s->node, r.by) && y->dim[2] == r.h * r.by[0] && y->dim[3] == r.w * r.by[1], SHAPE, "sizes are not the scales' multiples");
    if (r.w) fy_for(x->pool, in->dim[0] * ((in->dim[1] + FY_LANES - 1) / FY_LANES) * r.h, 1 + 4096 / (r.w * r.by[0] * r.by[1]), resize_rows, &r);
    return FY_OK;
}

static const fy_impl concat = {.op = "Concat", .name = "blocks", .can = can_concat, .layouts = layouts_concat, .run = run_concat, .flags = FY_IMPL_JOINS};
static const fy_impl split = {.op = "Split", .name = "blocks", .can = can_split, .layouts = layouts_first, .run = run_split, .flags = FY_IMPL_ALIKE | FY_IMPL_CUTS};
static const fy_impl resize = {.op = "Resize", .name = "blocks", .can = can_resize, .layouts = layouts_first, .run = run_resize};

const fy_impl *const fy_cpu_blocks[] = {&concat, &split, &resize, NULL};
