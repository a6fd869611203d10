/* SPDX-License-Identifier: Apache-2.0
 * norm.c - BatchNormalization by running values, InstanceNormalization and GroupNormalization of plain f32: per plane y = a x + b, after the
 * moments of a group where those are wanted. The variance is that of differences. LRN: y = x e^(-beta log(bias + alpha / size * squares of near channels)). */
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

/* ---- LRN ---------------------------------------------------------------------------------------------------------------------- */

#define PIECE 1024

typedef struct lrn { const fy_kernels *k; const float *x; float *y, alpha, beta, bias; int64_t channels, plane, before, after, pieces; } lrn;

static void lrn_pieces(void *arg, int64_t begin, int64_t end) {
    const lrn *w = arg;
    float sum[PIECE], square[PIECE];
    for (int64_t i = begin; i < end; i++) {
        const int64_t p = i / w->pieces, c = p % w->channels, at = i % w->pieces * PIECE, n = w->plane - at < PIECE ? w->plane - at : PIECE;
        const int64_t first = c < w->before ? -c : -w->before, last = w->channels - c <= w->after ? w->channels - 1 - c : w->after;
        const float *x = w->x + p * w->plane + at;
        memset(sum, 0, sizeof sum);
        for (int64_t k = first; k <= last; k++) {
            w->k->unary[FY_ACT_SQUARE](square, x + k * w->plane, n, NULL);
            w->k->binary[FY_ADD](sum, sum, square, n, 0);
        }
        w->k->affine(sum, sum, n, w->alpha, w->bias);
        w->k->unary[FY_ACT_LOG](sum, sum, n, NULL);
        w->k->affine(sum, sum, n, -w->beta, 0);
        w->k->unary[FY_ACT_EXP](sum, sum, n, NULL);
        w->k->binary[FY_MUL](w->y + p * w->plane + at, x, sum, n, 0);
    }
}

static fy_status run_lrn(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    const int64_t size = fy_attr_i(s->node, "size");
    lrn w = {.k = x->k, .x = in->data, .y = fy_step_out(s, x, 0)->data, .channels = in->dim[1], .plane = 1, .before = (size - 1) / 2, .after = size / 2, .alpha = (float)(fy_attr_f(s->node, "alpha") / (double)size),
             .beta = (float)fy_attr_f(s->node, "beta"), .bias = (float)fy_attr_f(s->node, "bias")};
    (void)e;
    for (int i = 2; i < in->rank; i++) w.plane *= in->dim[i];
    w.pieces = (w.plane + PIECE - 1) / PIECE;
    fy_for(x->pool, in->dim[0] * w.channels * w.pieces, 1 + 4096 / (w.plane < PIECE ? w.plane + 1 : PIECE), lrn_pieces, &w);
    return FY_OK;
}

static const fy_impl local = {.op = "LRN", .name = "norm.planes", .can = all_f32, .run = run_lrn};
static const fy_impl batch_norm = {.op = "BatchNormalization", .name = "norm.planes", .can = can_batch, .run = run};
static const fy_impl instance = {.op = "InstanceNormalization", .name = "norm.planes", .can = all_f32, .run = run};
static const fy_impl group = {.op = "GroupNormalization", .name = "norm.planes", .can = all_f32, .run = run};

const fy_impl *const fy_cpu_norm[] = {&batch_norm, &instance, &group, &local, NULL};
