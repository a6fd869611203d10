/* SPDX-License-Identifier: Apache-2.0
 * top.c - TopK of every number, along any axis: the k best so far, few of them in order, more as a heap with the worst on top, in order at the end. Most elements
 * are compared with the worst and no more, as they are, a chunk at a time. Elements are ordered by whole numbers made of them: NaN greatest, both zeros equal,
 * the lower index first among equals. */
#include "engines/cpu/move.h"

#include "base/checked.h"

#include <string.h>

#define CHUNK 256
#define FEW 32

typedef struct best { uint64_t key; int64_t at; } best;

/* Least first; of equal ones the lower index. */
static bool after(const best *a, const best *b) { return a->key != b->key ? a->key > b->key : a->at > b->at; }

static void sink(best *h, int64_t n, int64_t i) {
    for (int64_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && after(&h[c + 1], &h[c])) c++;
        if (!after(&h[c], &h[i])) return;
        best t = h[i];
        h[i] = h[c];
        h[c] = t;
    }
}

static void insert(best *h, int64_t n, best b) {
    for (; n > 0 && h[n - 1].key > b.key; n--) h[n] = h[n - 1];
    h[n] = b;
}

typedef struct work { const fy_loops *l; const char *x; char *y; int64_t *index, n, k, inner, lanes, pieces; best *room; int bytes, number; bool real, natural, down; } work;

/* Greater elements have greater keys; turned where the greatest is wanted first. */
static void keys_of(uint64_t *key, const work *w, const char *x, int64_t n) {
    union { double f[CHUNK]; int64_t i[CHUNK]; uint64_t u[CHUNK]; } wide;
    const uint64_t top = (uint64_t)1 << 63;
    w->l->cast[w->number][w->real ? FY_NUMBER_F64 : w->natural ? FY_NUMBER_U64 : FY_NUMBER_I64](&wide, x, n);
    for (int64_t i = 0; i < n; i++) {
        uint64_t u = wide.u[i];
        if (w->real) u = wide.f[i] != wide.f[i] ? UINT64_MAX : wide.f[i] == 0 ? top : u & top ? ~u : u | top;
        else if (!w->natural) u ^= top;
        key[i] = w->down ? ~u : u;
    }
}

#define DENSE(T) for (int64_t i = 0; i < n; i++) ((T *)to)[i] = ((const T *)x)[i * step]; break;

static void dense(void *to, const void *x, int64_t step, int64_t n, int bytes) {
    switch (bytes) {
    case 1: DENSE(uint8_t)
    case 2: DENSE(uint16_t)
    case 4: DENSE(uint32_t)
    default: DENSE(uint64_t)
    }
}

/* Which of n elements are surely no better than the one at `worst`; false: that is not known of this dtype. */
static bool passed_over(unsigned char *worse, const work *w, const char *x, const char *worst, int64_t n) {
    float wide[CHUNK], one;
    const bool half = w->number == FY_NUMBER_F16 || w->number == FY_NUMBER_BF16;
    const int number = half ? FY_NUMBER_F32 : w->number;
    fy_loop_pair *test = w->l->pair[w->down ? FY_LOOP_LESS_EQUAL : FY_LOOP_GREATER_EQUAL][number];
    if (!test) return false;
    if (half) {
        w->l->cast[w->number][number](wide, x, n);
        w->l->cast[w->number][number](&one, worst, 1);
    }
    test(worse, half ? (const void *)wide : x, half ? (const void *)&one : worst, n, 2);
    return true;
}

static void lane(const work *w, int64_t q, best *h) {
    int64_t o = q / w->inner, in = q % w->inner, have = 0, step = w->inner * w->bytes;
    const char *x = w->x + (o * w->n * w->inner + in) * w->bytes;
    const bool few = w->k <= FEW;
    const best *worst = few ? &h[w->k - 1] : h;
    for (int64_t at = 0; at < w->n; at += CHUNK) {
        int64_t m = w->n - at < CHUNK ? w->n - at : CHUNK;
        uint64_t key[CHUNK], together[CHUNK];
        unsigned char worse[CHUNK], *found;
        const char *from = x + at * step;
        if (w->inner != 1) {
            dense(together, from, w->inner, m, w->bytes);
            from = (const char *)together;
        }
        const bool sieved = have == w->k && passed_over(worse, w, from, x + worst->at * step, m);
        if (!sieved) keys_of(key, w, from, m);
        for (int64_t i = 0; i < m; i++) {
            if (sieved) {
                if (!(found = memchr(worse + i, 0, (size_t)(m - i)))) break;
                i = found - worse;
                keys_of(key + i, w, from + i * w->bytes, 1);
            }
            const best b = {key[i], at + i};
            if (have < w->k) {
                if (few) insert(h, have, b);
                else h[have] = b;
                if (++have == w->k && !few)
                    for (int64_t r = w->k / 2; r-- > 0;) sink(h, w->k, r);
            } else if (b.key < worst->key) {
                if (few) insert(h, w->k - 1, b);
                else {
                    h[0] = b;
                    sink(h, w->k, 0);
                }
            }
        }
    }
    for (int64_t n = few ? 0 : w->k; n-- > 1;) {
        best t = h[0];
        h[0] = h[n];
        h[n] = t;
        sink(h, n, 0);
    }
    for (int64_t j = 0; j < w->k; j++) {
        int64_t to = (o * w->k + j) * w->inner + in;
        if (w->y) memcpy(w->y + to * w->bytes, x + h[j].at * w->inner * w->bytes, (size_t)w->bytes);
        if (w->index) w->index[to] = h[j].at;
    }
}

static void some(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t p = begin; p < end; p++)
        for (int64_t q = w->lanes * p / w->pieces; q < w->lanes * (p + 1) / w->pieces; q++) lane(w, q, w->room + p * w->k);
}

static const char *can(const fy_site *s) { return fy_cpu_number(fy_in(s->node, 0)->type.dtype) < 0 ? "another dtype" : fy_in(s->node, 0)->type.rank < 1 ? "a scalar" : NULL; }

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *k = fy_step_in(s, x, 1);
    fy_tensor *y = fy_step_out(s, x, 0), *index = fy_step_out(s, x, 1);
    int axis;
    int64_t bytes;
    FY_TRY(fy_axis(&axis, fy_attr_i(s->node, "axis"), in->rank, e));
    FY_NEED(e, fy_count(k) == 1, SHAPE, "k has %lld elements; it must have one", (long long)fy_count(k));
    work w = {.l = &x->k->loops, .x = in->data, .y = y ? y->data : NULL, .index = index ? index->data : NULL, .n = in->dim[axis], .k = fy_get_i64(k, 0), .inner = 1, .bytes = fy_elem_bytes(in->dtype),
              .number = fy_cpu_number(in->dtype), .real = fy_dtype_float(in->dtype), .natural = fy_dtype_class(in->dtype) == FY_CLASS_U, .down = fy_attr_i(s->node, "largest") != 0};
    FY_NEED(e, w.k >= 0 && w.k <= w.n, VALUE, "k is %lld; axis %d has %lld", (long long)w.k, axis, (long long)w.n);
    FY_NEED(e, (!y || y->dim[axis] == w.k) && (!index || index->dim[axis] == w.k), SHAPE, "the result is not for k = %lld", (long long)w.k);
    if (!w.k || !fy_count(in)) return FY_OK;
    for (int i = axis + 1; i < in->rank; i++) w.inner *= in->dim[i];
    w.lanes = fy_count(in) / w.n;
    w.pieces = w.lanes < 16 ? w.lanes : 16;
    FY_NEED(e, fy_mul_i64(&bytes, w.k, w.pieces * (int64_t)sizeof(best)), LIMIT, "k is %lld", (long long)w.k);
    w.room = fy_exec_scratch(x, (size_t)bytes);
    FY_NOMEM(e, w.room);
    fy_for(x->pool, w.pieces, 1, some, &w);
    return FY_OK;
}

static const fy_impl top_k = {.op = "TopK", .name = "heap", .can = can, .run = run};

const fy_impl *const fy_cpu_top[] = {&top_k, NULL};
