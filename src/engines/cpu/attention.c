/* SPDX-License-Identifier: Apache-2.0
 * attention.c - y = softmax(mask(cap tanh(scale Q K^T / cap))) V for each head, f32, blocked: K (and V, for more than a few rows) of a head are
 * packed once, then rows go by in tiles whose scores stay in the cache. The softmax is exact; its division is done on the results.
 *   Q [batch, heads, rows, size]  K [batch, kv heads, keys, size]  V [batch, kv heads, keys, width], in any order of axes: strides
 * Sizes of 1 stand still (broadcast); with grouped heads several of Q share one of K and V. Caches are put before K and V, into the present
 * outputs where those are wanted. Sources: ONNX Attention-24; Dao et al., "FlashAttention", 2022, for keeping scores of a tile near. */
#include "engines/cpu/attention.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

#define FEW_ROWS 4                       /* below, the second product reads V in place */
#define TILE_BYTES 32768                 /* of scores: they stay in the first-level cache between the products */

static void strides_of(const int64_t *dim, int rank, int64_t row, int64_t *step) {
    int64_t at = 1;
    for (int i = rank - 1; i >= 0; i--) {
        step[i] = at;
        at = i == rank - 1 && row ? row : at * dim[i];
    }
    /* heads made an axis of a row: the axes before them go from row to row */
    if (row && rank == 4) {
        step[2] = dim[3];
        step[1] = row;
        step[0] = row * dim[1];
    }
}

/* [batch, heads, length, size] from however the operand is held. */
static fy_heads look_at(const fy_operand *o, const fy_step *s, const fy_exec *x) {
    fy_heads r = {.data = (const float *)fy_step_in(s, x, o->in)->data + o->offset, .dim = {1, 1, 1, 1}};
    const int64_t *dim = fy_exec_dims(x, o->seen);
    int64_t step[4];
    strides_of(dim, o->rank, o->row, step);
    if (o->heads) {
        int64_t size = dim[2] / o->heads;
        memcpy(r.dim, (int64_t[]){dim[0], o->heads, dim[1], size}, sizeof r.dim);
        memcpy(r.step, (int64_t[]){step[0], size, step[1], 1}, sizeof r.step);
        return r;
    }
    for (int i = 0, to = 4 - o->rank; i < o->rank; i++) {
        r.dim[to + i] = dim[o->perm[i]];
        r.step[to + i] = step[o->perm[i]];
    }
    return r;
}

/* An axis of size 1 stands still where the result has more. */
static bool spread(fy_heads *v, int axis, int64_t size) {
    if (v->dim[axis] == size) return true;
    if (v->dim[axis] != 1) return false;
    v->step[axis] = 0;
    return true;
}

static void one_head(const fy_attending *w, int64_t b, int64_t h, float *room) {
    const fy_kernels *k = w->k;
    int nr = k->gemm_nr;
    int64_t g = w->t->grouped ? h / (w->heads / w->key.dim[1]) : h, panels = (w->keys + nr - 1) / nr, wide = (w->width + nr - 1) / nr;
    const float *q = w->q.data + b * w->q.step[0] + h * w->q.step[1], *key = w->key.data + b * w->key.step[0] + g * w->key.step[1];
    const float *v = w->v.data + b * w->v.step[0] + g * w->v.step[1];
    float *y = w->y + b * w->y_step[0] + h * w->y_step[1], *scores = room + panels * nr * w->size, *values = scores + w->tile * panels * nr;
    bool few = w->rows < FEW_ROWS && w->v.step[3] == 1;
    int64_t valid = w->valid ? w->valid[b] : w->keys, offset = w->first ? w->first[b] : w->valid && w->t->past_k < 0 ? valid - w->rows : w->past;
    fy_gemm_pack_f32(room, key, w->size, w->keys, w->key.step[3], w->key.step[2], nr, 0, panels);
    if (!few) fy_gemm_pack_f32(values, v, w->keys, w->width, w->v.step[2], w->v.step[3], nr, 0, wide);
    for (int64_t row = 0; row < w->rows; row += w->tile) {
        int64_t n = w->rows - row < w->tile ? w->rows - row : w->tile;
        fy_gemm_f32 first = {.a = q + row * w->q.step[2], .b = room, .c = scores, .m = n, .n = w->keys, .k = w->size, .a_row = w->q.step[2], .c_row = panels * nr};
        fy_gemm_f32 second = {.a = scores, .b = values, .c = y + row * w->y_step[2], .m = n, .n = w->width, .k = w->keys, .a_row = panels * nr, .c_row = w->y_step[2]};
        k->gemm_f32(&first, 0, n, 0, panels);
        float sum[64];
        for (int64_t i = 0; i < n; i++) {
            int64_t p = offset + row + i;
            fy_attention_row r = {.scale = w->scale, .cap = (float)w->t->cap, .fill = (float)w->t->fill, .empty_nan = w->t->empty_nan, .hi = valid, .n = w->keys};
            if (w->t->causal && r.hi > p + 1) r.hi = p + 1;
            if (w->t->right >= 0 && r.hi - 1 - w->t->right > p) r.hi = p + 1 + w->t->right;
            if (w->t->left >= 0 && p > w->t->left) r.lo = p - w->t->left;
            if (w->mask) {
                int64_t at = b * w->mask_step[0] + h * w->mask_step[1] + (row + i) * w->mask_step[2], last = w->mask->rank ? w->mask->dim[w->mask->rank - 1] : 1;
                r.wide = w->mask_step[3] != 0;
                if (r.wide && r.hi > last) r.hi = last;
                if (w->mask->dtype == FERRY_BOOL) r.keep = (const unsigned char *)w->mask->data + at;
                else r.add = (const float *)w->mask->data + at;
            }
            if (r.hi < 0) r.hi = 0;
            if (r.lo > r.hi) r.lo = r.hi;
            sum[i] = k->attention_row(scores + i * panels * nr, &r);
        }
        if (!few) k->gemm_f32(&second, 0, n, 0, wide);
        for (int64_t i = 0; i < n; i++) {
            float *to = y + (row + i) * w->y_step[2], scale = 1.0f / sum[i];
            if (few) k->attention_sum(to, scores + i * panels * nr, v, w->keys, w->v.step[2], w->width);
            k->binary[FY_MUL](to, to, &scale, w->width, 2);
        }
    }
}

static void some_heads(void *arg, int64_t begin, int64_t end) {
    const fy_attending *w = arg;
    for (int64_t slot = begin; slot < end; slot++)
        for (int64_t i = slot; i < w->batch * w->heads; i += w->slots) one_head(w, i / w->heads, i % w->heads, w->room + slot * w->each);
}

void fy_attention_heads(const fy_attending *w, fy_pool *pool) {
    if (w->batch && w->heads && w->rows && w->width) fy_for(pool, w->slots, 1, some_heads, (void *)(uintptr_t)w);
}

/* The cache and what is new, one after the other. */
typedef struct joining { const float *old; fy_heads now; float *to; int64_t past, length, size, heads; } joining;

static void join(void *arg, int64_t begin, int64_t end) {
    const joining *j = arg;
    for (int64_t i = begin; i < end; i++) {
        float *to = j->to + i * j->length * j->size;
        if (j->past) memcpy(to, j->old + i * j->past * j->size, (size_t)(j->past * j->size) * sizeof *to);
        const float *from = j->now.data + i / j->heads * j->now.step[0] + i % j->heads * j->now.step[1];
        for (int64_t r = j->past; r < j->length; r++) memcpy(to + r * j->size, from + (r - j->past) * j->now.step[2], (size_t)j->size * sizeof *to);
    }
}

/* `v` becomes what lies behind its cache; `present` (may be NULL) gets the same. */
static fy_status with_past(fy_heads *v, const fy_tensor *old, const fy_tensor *present, float **room, fy_exec *x, ferry_error *e) {
    if (!old && !present) return FY_OK;
    joining j = {.old = old ? old->data : NULL, .now = *v, .past = old ? old->dim[2] : 0, .size = v->dim[3], .heads = v->dim[1], .to = present ? present->data : *room};
    j.length = j.past + v->dim[2];
    if (old) FY_NEED(e, old->dim[0] == v->dim[0] && old->dim[1] == v->dim[1] && old->dim[3] == v->dim[3], SHAPE, "a cache does not fit what follows it");
    int64_t count = v->dim[0] * v->dim[1];
    if (count && j.length && j.size) fy_for(x->pool, count, 1 + 16384 / (j.length * j.size), join, &j);
    if (!present) *room += count * j.length * j.size;
    *v = (fy_heads){.data = j.to, .dim = {v->dim[0], v->dim[1], j.length, j.size}};
    strides_of(v->dim, 4, 0, v->step);
    return FY_OK;
}

static fy_status place_mask(fy_attending *w, ferry_error *e) {
    int64_t want[4] = {w->batch, w->heads, w->rows, w->keys}, at = 1;
    for (int i = 3, k = w->mask->rank - 1; i >= 0; i--, k--) {
        int64_t d = k >= 0 ? w->mask->dim[k] : 1;
        w->mask_step[i] = d == 1 && want[i] != 1 ? 0 : at;
        if (d == 1 && i == 3) w->mask_step[i] = 0;
        FY_NEED(e, d == 1 || d == want[i] || (i == 3 && w->t->grouped && d < want[i]), SHAPE, "the mask has size %lld where the scores have %lld", (long long)d, (long long)want[i]);
        at *= d;
    }
    return FY_OK;
}

fy_status fy_attention_room(fy_attending *w, fy_exec *x, int64_t caches, float **cache, ferry_error *e) {
    int64_t nr = w->k->gemm_nr, panels = (w->keys + nr - 1) / nr * nr, wide = (w->width + nr - 1) / nr * nr, a, b, c, all;
    w->tile = TILE_BYTES / 4 / (panels + 1);
    w->tile = w->tile > 56 ? 56 : w->tile < w->k->gemm_mr ? w->k->gemm_mr : w->tile / w->k->gemm_mr * w->k->gemm_mr;
    if (w->tile > w->rows) w->tile = w->rows;
    w->slots = w->batch * w->heads < fy_pool_threads(x->pool) ? w->batch * w->heads : fy_pool_threads(x->pool);
    bool ok = fy_mul_i64(&a, panels, w->size) && fy_mul_i64(&b, panels, w->tile) && fy_mul_i64(&c, wide, w->keys) && fy_add_i64(&a, a, b) && fy_add_i64(&a, a, c) && fy_add_i64(&a, a, 64);
    w->each = ok ? a / 16 * 16 : 0;
    ok = ok && fy_mul_i64(&all, w->each, w->slots) && fy_add_i64(&all, all, caches) && fy_mul_i64(&all, all, (int64_t)sizeof(float)) && all <= x->max_bytes;
    FY_NEED(e, ok, LIMIT, "%lld x %lld scores are too many", (long long)w->rows, (long long)w->keys);
    *cache = fy_exec_scratch(x, (size_t)all + 64);
    FY_NOMEM(e, *cache);
    w->room = *cache + caches;
    return FY_OK;
}

static fy_status place_result(fy_attending *w, const fy_tensor *y) {
    int64_t dim[4] = {1, 1, 1, 1}, step[4] = {0};
    w->y = y->data;
    if (w->t->out_heads) {
        w->batch = y->dim[0];
        w->heads = w->q.dim[1];
        w->rows = y->dim[1];
        w->width = w->heads ? y->dim[2] / w->heads : 0;
        memcpy(w->y_step, (int64_t[]){y->dim[1] * y->dim[2], w->width, y->dim[2], 1}, sizeof w->y_step);
        return FY_OK;
    }
    int r = w->t->out_rank;
    for (int i = 0, to = 4 - r; i < r; i++) {
        dim[to + w->t->out[i]] = y->dim[i];
        step[to + w->t->out[i]] = y->stride[i];
    }
    w->batch = dim[0];
    w->heads = dim[1];
    w->rows = dim[2];
    w->width = dim[3];
    memcpy(w->y_step, step, sizeof step);
    return FY_OK;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_attention *t = s->data;
    const fy_tensor *past_k = fy_step_in(s, x, t->past_k < 0 ? s->nin : t->past_k), *past_v = fy_step_in(s, x, t->past_v < 0 ? s->nin : t->past_v);
    const fy_tensor *present_k = s->nout > 1 ? fy_step_out(s, x, 1) : NULL, *present_v = s->nout > 2 ? fy_step_out(s, x, 2) : NULL;
    fy_attending w = {.k = x->k, .t = t, .q = look_at(&t->q, s, x), .key = look_at(&t->k, s, x), .v = look_at(&t->v, s, x)};
    float *cache;
    int64_t caches = 0, part;
    FY_TRY(place_result(&w, fy_step_out(s, x, 0)));
    w.size = w.q.dim[3];
    w.past = past_k ? past_k->dim[2] : 0;
    w.keys = w.v.dim[2] + (past_v ? past_v->dim[2] : 0);
    for (int i = 0; i < 2; i++) {
        const fy_tensor *old = i ? past_v : past_k;
        const fy_heads *now = i ? &w.v : &w.key;
        if (!old || (i ? present_v : present_k)) continue;
        int64_t dim[4] = {now->dim[0], now->dim[1], now->dim[2] + old->dim[2], now->dim[3]};
        FY_NEED(e, fy_count_dims(&part, 4, dim) && fy_add_i64(&caches, caches, part), LIMIT, "the cache is too large");
    }
    caches = (caches + 15) / 16 * 16;
    FY_NEED(e, w.key.dim[3] == w.size && w.v.dim[3] == w.width, SHAPE, "head sizes do not agree");
    FY_TRY(fy_attention_room(&w, x, caches, &cache, e));
    FY_TRY(with_past(&w.key, past_k, present_k, &cache, x, e));
    FY_TRY(with_past(&w.v, past_v, present_v, &cache, x, e));
    bool fits = spread(&w.q, 0, w.batch) && spread(&w.q, 2, w.rows) && spread(&w.key, 0, w.batch) && spread(&w.v, 0, w.batch) && spread(&w.key, 2, w.keys) && w.v.dim[2] == w.keys;
    if (t->grouped) fits = fits && w.q.dim[1] == w.heads && w.key.dim[1] == w.v.dim[1] && (!w.heads || (w.key.dim[1] > 0 && w.heads % w.key.dim[1] == 0));
    else fits = fits && spread(&w.q, 1, w.heads) && spread(&w.key, 1, w.heads) && spread(&w.v, 1, w.heads);
    FY_NEED(e, fits, SHAPE, "Q, K and V do not fit each other");
    if (t->mask >= 0) {
        w.mask = fy_step_in(s, x, t->mask);
        FY_TRY(place_mask(&w, e));
    }
    if (t->valid >= 0) {
        const fy_tensor *valid = fy_step_in(s, x, t->valid);
        w.valid = valid->data;
        FY_NEED(e, fy_count(valid) == w.batch, SHAPE, "nonpad_kv_seqlen has %lld values for a batch of %lld", (long long)fy_count(valid), (long long)w.batch);
        for (int64_t i = 0; i < w.batch; i++)
            FY_NEED(e, w.valid[i] >= 0 && w.valid[i] <= w.keys, VALUE, "nonpad_kv_seqlen is %lld of %lld", (long long)w.valid[i], (long long)w.keys);
    }
    w.scale = (float)(t->scale != 0 ? t->scale : 1 / sqrt((double)w.size));
    fy_attention_heads(&w, x->pool);
    return FY_OK;
}

/* The result's heads moved to where they are wanted: written there at once. */
static bool fuse(fy_step *s, const fy_node *next, const fy_value **other) {
    fy_attention *t = s->data;
    int64_t n;
    (void)other;
    if (*next->op->domain || strcmp(next->op->name, "Transpose") || t->out_heads || s->nfused) return false;
    const int64_t *p = fy_attr_ints(next, "perm", &n);
    if (!p || n != t->out_rank || p[n - 1] != n - 1) return false;
    for (int i = 0; i < n; i++) t->out[i] = (int)p[i];
    return true;
}

static const char *no(const fy_site *s) { return !strcmp(s->node->op->name, "MatMul") ? "no softmax before it" : "not f32, or outputs or operands that the blocked kernel does not know"; }

static const fy_impl operator_impl = {.op = "Attention", .name = "attention.blocked", .can = no, .cover = fy_attention_cover, .fuse = fuse, .run = run};
static const fy_impl product = {.op = "MatMul", .name = "attention.blocked", .can = no, .cover = fy_attention_cover, .fuse = fuse, .run = run};

const fy_impl *const fy_cpu_attention[] = {&operator_impl, &product, &fy_cpu_attention_cached, &fy_cpu_rotary, NULL};
