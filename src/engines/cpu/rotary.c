/* SPDX-License-Identifier: Apache-2.0
 * rotary.c - RotaryEmbedding of f32: y1 = cos x1 - sin x2, y2 = sin x1 + cos x2 for the pairs of each head, by the angles of its position.
 *   x [batch, heads, length, size] or [batch, length, heads * size]   cos, sin [positions, half], or [batch or 1, length, half] without positions */
#include "engines/cpu/attention.h"

#include <string.h>

#define PIECE 256

void fy_cpu_turn(const fy_kernels *k, float *y, const float *x, const float *cosine, const float *sine, int64_t half, int64_t size, bool neighbours) {
    float a[PIECE], b[PIECE], c[PIECE], d[PIECE];
    for (int64_t at = 0; at < half && !neighbours; at += PIECE) {
        const int64_t n = half - at < PIECE ? half - at : PIECE;
        k->binary[FY_MUL](a, x + at, cosine + at, n, 0);
        k->binary[FY_MUL](b, x + half + at, sine + at, n, 0);
        k->binary[FY_MUL](c, x + at, sine + at, n, 0);
        k->binary[FY_MUL](d, x + half + at, cosine + at, n, 0);
        k->binary[FY_SUB](y + at, a, b, n, 0);
        k->binary[FY_ADD](y + half + at, c, d, n, 0);
    }
    for (int64_t i = 0; i < half && neighbours; i++) {
        const float first = x[2 * i], second = x[2 * i + 1];
        y[2 * i] = cosine[i] * first - sine[i] * second;
        y[2 * i + 1] = sine[i] * first + cosine[i] * second;
    }
    if (y != x) memcpy(y + 2 * half, x + 2 * half, (size_t)(size - 2 * half) * sizeof *y);
}

static const char *can(const fy_site *s) {
    for (int i = 0; i < 3; i++)
        if (!fy_cpu_f32(fy_in(s->node, i))) return "not f32";
    return NULL;
}

typedef struct work { const fy_kernels *k; const float *x, *cosine, *sine; float *y; const int64_t *ids; int64_t heads, length, size, half, batch; bool inner, neighbours; } work;      /* inner: heads within a row; batch: of the angles */

/* Rows of a head, in the order of x. */
static void rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        const int64_t b = i / (w->heads * w->length), s = w->inner ? i / w->heads % w->length : i % w->length;
        const int64_t at = w->ids ? w->ids[b * w->length + s] : (w->batch == 1 ? 0 : b) * w->length + s;
        fy_cpu_turn(w->k, w->y + i * w->size, w->x + i * w->size, w->cosine + at * w->half, w->sine + at * w->half, w->half, w->size, w->neighbours);
    }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *angles = fy_step_in(s, x, 1), *sine = fy_step_in(s, x, 2), *ids = fy_step_in(s, x, 3);
    const fy_attr *heads = fy_attr_get(s->node, "num_heads");
    const bool inner = in->rank == 3;
    work w = {.k = x->k, .x = in->data, .cosine = angles->data, .sine = sine->data, .y = fy_step_out(s, x, 0)->data, .ids = ids ? ids->data : NULL, .heads = inner ? heads->i : in->dim[1], .length = in->dim[inner ? 1 : 2],
              .half = angles->dim[angles->rank - 1], .batch = angles->dim[0], .inner = inner, .neighbours = fy_attr_i(s->node, "interleaved") != 0};
    if (!fy_count(in)) return FY_OK;
    FY_NEED(e, w.heads >= 1 && in->dim[in->rank - 1] % (inner ? w.heads : 1) == 0, SHAPE, "size %lld does not split into %lld heads", (long long)in->dim[in->rank - 1], (long long)w.heads);
    w.size = in->dim[in->rank - 1] / (inner ? w.heads : 1);
    const int64_t turned = fy_attr_i(s->node, "rotary_embedding_dim") ? fy_attr_i(s->node, "rotary_embedding_dim") : w.size;
    FY_NEED(e, turned > 0 && turned <= w.size && turned == 2 * w.half, SHAPE, "the caches hold %lld angles for %lld of a head size of %lld", (long long)w.half, (long long)turned, (long long)w.size);
    FY_NEED(e, fy_same_dims(angles, sine), SHAPE, "the caches differ");
    if (ids) FY_NEED(e, ids->rank == 2 && ids->dim[0] == in->dim[0] && ids->dim[1] == w.length, SHAPE, "position_ids do not fit x");
    else FY_NEED(e, (w.batch == in->dim[0] || w.batch == 1) && angles->dim[1] == w.length, SHAPE, "the caches do not fit x");
    for (int64_t i = 0, n = ids ? fy_count(ids) : 0; i < n; i++)
        FY_NEED(e, w.ids[i] >= 0 && w.ids[i] < w.batch, INDEX, "position %lld is outside the %lld of the caches", (long long)w.ids[i], (long long)w.batch);
    fy_for(x->pool, fy_count(in) / w.size, 1 + 8192 / w.size, rows, &w);
    return FY_OK;
}

const fy_impl fy_cpu_rotary = {.op = "RotaryEmbedding", .name = "rotary", .can = can, .run = run};
