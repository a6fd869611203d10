/* SPDX-License-Identifier: Apache-2.0
 * rows.c - what works on runs along the last axes: Softmax, LayerNormalization, RMSNormalization of f32. */
#include "engines/cpu/cpu.h"

#include <string.h>

typedef struct work { const fy_kernels *k; const float *x, *scale, *bias; float *y, *mean, *inv, eps; int64_t n; bool rms; } work;

static const char *can_softmax(const fy_site *s) {
    const fy_value *x = fy_in(s->node, 0);
    if (!fy_cpu_f32(x)) return "not f32";
    int64_t axis = fy_attr_i(s->node, "axis");
    return axis != -1 && axis != x->type.rank - 1 ? "not along the last axis" : NULL;
}

static const char *can_norm(const fy_site *s) {
    const fy_node *n = s->node;
    const fy_value *x = fy_in(n, 0), *scale = fy_in(n, 1), *bias = fy_in(n, 2);
    if (!fy_cpu_f32(x) || !fy_cpu_f32(scale) || (bias && !fy_cpu_f32(bias))) return "not f32";
    int64_t axis = fy_attr_i(n, "axis");
    if (axis < 0) axis += x->type.rank;
    if (fy_attr_i(n, "stash_type") != 1) return "another stash_type";
    if (scale->type.rank != x->type.rank - axis || (bias && bias->type.rank != scale->type.rank)) return "scale or bias are broadcast";
    for (int i = 0; i < scale->type.rank; i++)
        if (scale->type.dim[i] != x->type.dim[axis + i] || (bias && bias->type.dim[i] != scale->type.dim[i])) return "scale or bias are broadcast";
    return NULL;
}

static void softmax_piece(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    w->k->softmax_rows(w->y + begin * w->n, w->x + begin * w->n, end - begin, w->n);
}

static fy_status run_softmax(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    work w = {.k = x->k, .x = in->data, .y = fy_step_out(s, x, 0)->data, .n = in->dim[in->rank - 1]};
    (void)e;
    if (w.n) fy_for(x->pool, fy_count(in) / w.n, 1 + 8192 / w.n, softmax_piece, &w);
    return FY_OK;
}

static void norm_piece(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    w->k->norm_rows(w->y + begin * w->n, w->x + begin * w->n, end - begin, w->n, w->scale, w->bias, w->eps, w->rms, w->mean ? w->mean + begin : NULL, w->inv ? w->inv + begin : NULL);
}

static fy_status run_norm(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *scale = fy_step_in(s, x, 1), *bias = fy_step_in(s, x, 2), *mean = fy_step_out(s, x, 1), *inv = fy_step_out(s, x, 2);
    work w = {.k = x->k, .x = in->data, .y = fy_step_out(s, x, 0)->data, .scale = scale->data, .bias = bias ? bias->data : NULL, .n = fy_count(scale),
              .eps = (float)fy_attr_f(s->node, "epsilon"), .rms = s->node->op->name[0] == 'R', .mean = mean ? mean->data : NULL, .inv = inv ? inv->data : NULL};
    (void)e;
    if (w.n) fy_for(x->pool, fy_count(in) / w.n, 1 + 8192 / w.n, norm_piece, &w);
    return FY_OK;
}

static const fy_impl softmax = {.op = "Softmax", .name = "softmax.rows", .can = can_softmax, .run = run_softmax, .flags = FY_IMPL_INPLACE};
static const fy_impl layer_norm = {.op = "LayerNormalization", .name = "norm.rows", .can = can_norm, .run = run_norm};
static const fy_impl rms_norm = {.op = "RMSNormalization", .name = "norm.rows", .can = can_norm, .run = run_norm};

const fy_impl *const fy_cpu_rows[] = {&softmax, &layer_norm, &rms_norm, NULL};
