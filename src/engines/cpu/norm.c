/* SPDX-License-Identifier: Apache-2.0
 * norm.c - BatchNormalization by running values, InstanceNormalization and GroupNormalization of plain f32: per plane y = a x + b, after the
 * moments of a group where those are wanted. The variance is that of differences. */
#include "engines/cpu/cpu.h"

#include <math.h>
#include <string.h>

typedef struct work { const fy_kernels *k; const float *x, *scale, *bias, *mean, *var; float *y, eps; int64_t channels, groups, plane; } work;

static const char *all_f32(const fy_site *s) {
    const fy_node *n = s->node;
    for (int i = 0; i < n->nin; i++)
        if (!fy_cpu_f32(fy_in(n, i))) return "not f32";
    for (int i = 1; i < n->nout; i++)
        if (n->out[i]) return "statistics are wanted";
    return fy_in(n, 0)->type.rank < 2 ? "no channels" : NULL;
}

static const char *can_batch(const fy_site *s) { return fy_attr_i(s->node, "training_mode") ? "training" : all_f32(s); }

static void batch_planes(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t p = begin; p < end; p++) {
        int64_t c = p % w->channels;
        double a = (double)w->scale[c] / sqrt((double)w->var[c] + (double)w->eps);
        w->k->affine(w->y + p * w->plane, w->x + p * w->plane, w->plane, (float)a, (float)((double)w->bias[c] - (double)w->mean[c] * a));
    }
}

static void group_planes(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    int64_t each = w->channels / w->groups, n = each * w->plane;
    for (int64_t g = begin; g < end; g++) {
        w->k->norm_rows(w->y + g * n, w->x + g * n, 1, n, NULL, NULL, w->eps, false, NULL, NULL);
        for (int64_t i = 0, c = g % w->groups * each; i < each; i++, c++) {
            float *y = w->y + g * n + i * w->plane;
            w->k->affine(y, y, w->plane, w->scale[c], w->bias[c]);
        }
    }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    bool batch = s->node->op->name[0] == 'B';
    work w = {.k = x->k, .x = in->data, .y = fy_step_out(s, x, 0)->data, .scale = fy_step_in(s, x, 1)->data, .bias = fy_step_in(s, x, 2)->data, .eps = (float)fy_attr_f(s->node, "epsilon"),
              .channels = in->dim[1], .plane = 1};
    for (int i = 2; i < in->rank; i++) w.plane *= in->dim[i];
    for (int i = 1; i < s->nin; i++) FY_NEED(e, fy_count(fy_step_in(s, x, i)) == w.channels, SHAPE, "input %d has %lld values for %lld channels", i, (long long)fy_count(fy_step_in(s, x, i)), (long long)w.channels);
    if (!fy_count(in)) return FY_OK;
    if (batch) {
        w.mean = fy_step_in(s, x, 3)->data;
        w.var = fy_step_in(s, x, 4)->data;
        fy_for(x->pool, in->dim[0] * w.channels, 1 + 16384 / w.plane, batch_planes, &w);
        return FY_OK;
    }
    w.groups = s->node->op->name[0] == 'G' ? fy_attr_i(s->node, "num_groups") : w.channels;
    FY_NEED(e, w.groups > 0 && w.channels % w.groups == 0, SHAPE, "%lld channels in %lld groups", (long long)w.channels, (long long)w.groups);
    fy_for(x->pool, in->dim[0] * w.groups, 1 + 16384 / (w.plane * (w.channels / w.groups)), group_planes, &w);
    return FY_OK;
}

static const fy_impl batch_norm = {.op = "BatchNormalization", .name = "norm.planes", .can = can_batch, .run = run};
static const fy_impl instance = {.op = "InstanceNormalization", .name = "norm.planes", .can = all_f32, .run = run};
static const fy_impl group = {.op = "GroupNormalization", .name = "norm.planes", .can = all_f32, .run = run};

const fy_impl *const fy_cpu_norm[] = {&batch_norm, &instance, &group, NULL};
