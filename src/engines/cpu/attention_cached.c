/* SPDX-License-Identifier: Apache-2.0
 * attention_cached.c - com.microsoft's GroupQueryAttention of f32: the new keys are turned and put behind those of the cache, the values as they are, into the present
 * outputs, which the attention then reads in place.
 *   query [B, S, N H], key, value [B, S, Nk H], or all in one row   past, present [B, Nk, C, H]   seqlens_k [B]: tokens after this step, less one
 * Of a first prompt that is padded, rows from a length on give 0. Scores or norms of heads as inputs, windows of a cache, quantised caches: the reference kernel's. */
#include "engines/cpu/attention.h"

#include <math.h>
#include <string.h>

enum { QUERY, KEY, VALUE, PAST_K, PAST_V, SEQLENS, TOTAL, COS, SIN, POSITIONS };

static const char *can(const fy_site *s) {
    const fy_node *n = s->node;
    for (int i = 0; i < n->nin; i++) {
        if (i > POSITIONS && fy_in(n, i)) return "a bias, a sink, norms of heads or a quantised cache";
        if (i != SEQLENS && i != TOTAL && i != POSITIONS && fy_in(n, i) && !fy_cpu_f32(fy_in(n, i))) return "not f32";
    }
    if (n->nout != 3 || !n->out[1] || !n->out[2] || !fy_cpu_f32(n->out[1])) return "no cache is wanted, or scores are";
    return fy_attr_i(n, "smooth_softmax") == 1 || fy_attr_i(n, "sliding_window_cache") ? "a sink, or a cache of a window" : NULL;
}

typedef struct job {
    const fy_kernels *k;
    const fy_tensor *past[2], *present[2], *ids;
    fy_heads q, now[2];                  /* of keys and values */
    const float *cosine, *sine;          /* NULL: nothing is turned */
    float   *turned;                     /* queries, as [B, S, N, H] */
    int64_t  half, positions;
    int64_t *valid, *first, *fresh;      /* of each of the batch: tokens, those before, new ones */
    bool     neighbours;
} job;

/* Row s of the batch's element b at its position. */
static void place_row(const job *j, float *to, const float *from, int64_t b, int64_t s, int64_t size) {
    const int64_t at = j->ids ? fy_get_i64(j->ids, b * j->q.dim[2] + s) : j->first[b] + s;
    if (j->cosine) fy_cpu_turn(j->k, to, from, j->cosine + at * j->half, j->sine + at * j->half, j->half, size, j->neighbours);
    else memcpy(to, from, (size_t)size * sizeof *to);
}

static void fill(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    for (int64_t i = begin; i < end; i++)
        for (int v = 0; v < 2; v++) {
            const fy_heads *now = &j->now[v];
            const int64_t b = i / now->dim[1], h = i % now->dim[1], size = now->dim[3], room = j->present[v]->dim[2], before = j->first[b], n = j->fresh[b];
            const float *from = now->data + b * now->step[0] + h * now->step[1];
            float *to = (float *)j->present[v]->data + i * room * size;
            if (before) memcpy(to, (const float *)j->past[v]->data + i * j->past[v]->dim[2] * size, (size_t)(before * size) * sizeof *to);
            for (int64_t s = 0; s < n; s++)
                if (v) memcpy(to + (before + s) * size, from + s * now->step[2], (size_t)size * sizeof *to);
                else place_row(j, to + (before + s) * size, from + s * now->step[2], b, s, size);
            memset(to + (before + n) * size, 0, (size_t)((room - before - n) * size) * sizeof *to);
        }
}

static void turn(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const int64_t *d = j->q.dim;
    for (int64_t i = begin; i < end; i++) {
        const int64_t b = i / d[2], s = i % d[2];
        for (int64_t h = 0; h < d[1] && s < j->fresh[b]; h++) place_row(j, j->turned + (i * d[1] + h) * d[3], j->q.data + b * j->q.step[0] + s * j->q.step[2] + h * j->q.step[1], b, s, d[3]);
    }
}

static fy_heads heads_of(const fy_tensor *x, int64_t from, int64_t heads, int64_t size) {
    return (fy_heads){.data = (const float *)x->data + from, .dim = {x->dim[0], heads, x->dim[1], size}, .step = {x->dim[1] * x->dim[2], size, x->dim[2], 1}};
}

/* Lengths of the batch; the most tokens in *most. */
static fy_status lengths(const job *j, const fy_tensor *seqlens, const fy_tensor *total, int64_t *most, ferry_error *e) {
    FY_NEED(e, fy_count(total) == 1 && fy_count(seqlens) == j->q.dim[0], SHAPE, "%lld lengths for a batch of %lld", (long long)fy_count(seqlens), (long long)j->q.dim[0]);
    const int64_t all = fy_get_i64(total, 0), rows = j->q.dim[2], before = j->past[0] ? j->past[0]->dim[2] : 0;
    *most = 0;
    for (int64_t b = 0; b < j->q.dim[0]; b++) {
        const int64_t t = fy_get_i64(seqlens, b) + 1, n = rows == all && rows > t ? t : rows;
        FY_NEED(e, t >= 1 && t <= all && all <= j->present[0]->dim[2], VALUE, "seqlens_k is %lld; total_sequence_length is %lld", (long long)t - 1, (long long)all);
        FY_NEED(e, n <= t, VALUE, "%lld new tokens of %lld", (long long)n, (long long)t);
        FY_NEED(e, t - n <= before, VALUE, "%lld tokens came before; the past holds %lld", (long long)(t - n), (long long)before);
        j->valid[b] = t;
        j->fresh[b] = n;
        j->first[b] = t - n;
        *most = t > *most ? t : *most;
        for (int64_t s = 0; j->cosine && s < n; s++) {
            const int64_t at = j->ids ? fy_get_i64(j->ids, b * rows + s) : t - n + s;
            FY_NEED(e, at >= 0 && at < j->positions, INDEX, "position %lld is outside the %lld of the caches", (long long)at, (long long)j->positions);
        }
    }
    return FY_OK;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *q = fy_step_in(s, x, QUERY), *key = fy_step_in(s, x, KEY), *value = fy_step_in(s, x, VALUE), *angles = fy_step_in(s, x, COS);
    const int64_t heads = fy_attr_i(s->node, "num_heads"), shared = fy_attr_i(s->node, "kv_num_heads"), size = q->dim[2] / (key ? heads : heads + 2 * shared), window = fy_attr_i(s->node, "local_window_size"), batch = q->dim[0], rows = q->dim[1];
    const bool turns = fy_attr_i(s->node, "do_rotary") != 0;
    fy_tensor *y = fy_step_out(s, x, 0);
    FY_NEED(e, size > 0 && batch > 0 && rows > 0, SHAPE, "GroupQueryAttention of nothing");
    job j = {.k = x->k, .past = {fy_step_in(s, x, PAST_K), fy_step_in(s, x, PAST_V)}, .present = {fy_step_out(s, x, 1), fy_step_out(s, x, 2)}, .ids = turns ? fy_step_in(s, x, POSITIONS) : NULL, .q = heads_of(q, 0, heads, size),
             .now = {key ? heads_of(key, 0, shared, size) : heads_of(q, heads * size, shared, size), value ? heads_of(value, 0, shared, size) : heads_of(q, (heads + shared) * size, shared, size)},
             .neighbours = fy_attr_i(s->node, "rotary_interleaved") != 0};
    FY_NEED(e, !j.ids || (j.ids->dim[0] == batch && j.ids->dim[1] == rows), SHAPE, "position_ids do not fit the query");
    FY_NEED(e, !turns || (fy_same_dims(angles, fy_step_in(s, x, SIN)) && 2 * angles->dim[1] <= size), SHAPE, "the caches of angles do not fit a head size of %lld", (long long)size);
    const fy_attention t = {.mask = -1, .past_k = -1, .past_v = -1, .grouped = true, .causal = fy_attr_i(s->node, "causal") != 0 && rows > 1, .left = window > 0 ? window - 1 : -1, .right = -1, .cap = fy_attr_f(s->node, "softcap"), .fill = -INFINITY};
    const double scale = fy_attr_f(s->node, "scale");
    fy_attending w = {.k = x->k, .t = &t, .batch = batch, .heads = heads, .rows = rows, .size = size, .width = size, .y = y->data, .y_step = {rows * heads * size, size, heads * size, 1}, .scale = (float)(scale != 0 ? scale : 1 / sqrt((double)size))};
    int64_t *of_batch = fy_calloc((size_t)batch, 3 * sizeof *of_batch);
    FY_NOMEM(e, of_batch);
    w.valid = j.valid = of_batch;
    w.first = j.first = of_batch + batch;
    j.fresh = of_batch + 2 * batch;
    if (turns) {
        j.cosine = angles->data;
        j.sine = fy_step_in(s, x, SIN)->data;
        j.half = angles->dim[1];
        j.positions = angles->dim[0];
    }
    fy_status st = lengths(&j, fy_step_in(s, x, SEQLENS), fy_step_in(s, x, TOTAL), &w.keys, e);
    const bool group = rows == 1 && t.left < 0;              /* heads that share keys are rows of one product */
    w.q = j.q;
    if (group) {
        w.heads = shared;
        w.rows = heads / shared;
        w.q.step[1] = w.rows * size;
        w.q.step[2] = w.y_step[2] = size;
        w.y_step[1] = w.rows * size;
    }
    if (!st) st = fy_attention_room(&w, x, turns ? (batch * rows * heads * size + 15) / 16 * 16 : 0, &j.turned, e);
    if (!st) {
        fy_for(x->pool, batch * shared, 1, fill, &j);
        if (turns) {
            fy_for(x->pool, batch * rows, 1 + 8192 / (heads * size), turn, &j);
            w.q.data = j.turned;
            w.q.step[0] = rows * heads * size;
            w.q.step[1] = group ? w.rows * size : size;
            w.q.step[2] = group ? size : heads * size;
        }
        for (int v = 0; v < 2; v++) {
            const int64_t room = j.present[v]->dim[2];
            *(v ? &w.v : &w.key) = (fy_heads){.data = j.present[v]->data, .dim = {batch, shared, w.keys, size}, .step = {shared * room * size, room * size, size, 1}};
        }
        fy_attention_heads(&w, x->pool);
        for (int64_t b = 0; b < batch; b++) memset((float *)y->data + (b * rows + j.fresh[b]) * heads * size, 0, (size_t)((rows - j.fresh[b]) * heads * size) * sizeof(float));
    }
    fy_free(of_batch);
    return st;
}

const fy_impl fy_cpu_attention_cached = {.op = "GroupQueryAttention", .domain = "com.microsoft", .name = "attention.cached", .can = can, .run = run};
