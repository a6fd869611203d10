/* SPDX-License-Identifier: Apache-2.0
 * place.c - elements read from or written to where indices say: GatherElements, GatherND, ScatterElements, ScatterND. Indices are looked at before
 * anything is read or written there. Writes to one slice keep the order of the updates; slices that no two updates of different ones meet are work for threads. */
#include "engines/cpu/move.h"

#include <stdatomic.h>
#include <string.h>

static int64_t index_at(const fy_tensor *t, int64_t i) { return t->dtype == FERRY_INT64 ? ((const int64_t *)t->data)[i] : ((const int32_t *)t->data)[i]; }
static int64_t position(const fy_tensor *t, int64_t i, int64_t size) {
    int64_t p = index_at(t, i);
    return p < 0 ? p + size : p;
}

#define OUTSIDE(T) for (const T *p = t->data, *last = p + n; p < last; p++) out |= (uint64_t)(*p < 0 ? *p + size : *p) >= (uint64_t)size;

static fy_status inside(const fy_tensor *t, int64_t size, ferry_error *e) {
    int64_t n = fy_count(t);
    bool out = false;
    if (t->dtype == FERRY_INT64) OUTSIDE(int64_t)
    else OUTSIDE(int32_t)
    for (int64_t i = 0; out && i < n; i++) {
        int64_t p = position(t, i, size);
        FY_NEED(e, p >= 0 && p < size, INDEX, "index %lld outside an axis of %lld", (long long)index_at(t, i), (long long)size);
    }
    return FY_OK;
}

static const char *can_place(const fy_site *s) {
    const fy_value *x = fy_in(s->node, 0), *i = fy_in(s->node, 1);
    if (i->type.dtype != FERRY_INT64 && i->type.dtype != FERRY_INT32) return "indices of another dtype";
    if (x->type.rank < 1 || i->type.rank < 1) return "a scalar";
    return fy_movable(x) ? NULL : "elements of another size";
}

static void put(char *to, const char *from, int bytes) {
    switch (bytes) {
    case 1: *to = *from; break;
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    default: memcpy(to, from, 8);
    }
}

#define ADD(T) { T a, b; memcpy(&a, to, sizeof a); memcpy(&b, from, sizeof b); a = (T)(a + b); memcpy(to, &a, sizeof a); break; }
static void add(char *to, const char *from, int bytes, bool real) {
    switch (bytes) {
    case 1: ADD(uint8_t)
    case 2: ADD(uint16_t)
    case 4: if (real) ADD(float) else ADD(uint32_t)
    default: if (real) ADD(double) else ADD(uint64_t)
    }
}

/* ---- along an axis --------------------------------------------------------------------------------------------------------- */

/* Rows of the indices: their last axis. x: what is indexed. */
typedef struct along {
    const fy_tensor *index;
    const char *from;                    /* gathered from, or the updates */
    char *to;
    int axis, rank, bytes;
    int64_t dim[FY_MAX_RANK], step[FY_MAX_RANK];             /* of the indices; of x */
    int64_t size, rows, run;             /* of the axis of x; rows of one piece of work, elements of a row */
    fy_loop_pair *join;                  /* NULL: the update replaces what is there */
    bool adds, real;                     /* it is added, to a float */
    atomic_bool outside;                 /* an index is */
} along;

/* Where row r begins in x, the axis itself left out unless it is a row's last. */
static int64_t row_base(const along *w, int64_t r) {
    int64_t base = 0;
    for (int d = w->rank - 2; d >= 0; d--) {
        if (d != w->axis) base += r % w->dim[d] * w->step[d];
        r /= w->dim[d];
    }
    return base;
}

#define EACH_OF(T, I) \
    for (int64_t j = 0; j < run; j++) { \
        int64_t p = ((const I *)w->index->data)[r * run + j]; \
        p += p < 0 ? size : 0; \
        if ((uint64_t)p >= (uint64_t)size) { atomic_store_explicit(&w->outside, true, memory_order_relaxed); return; } \
        ((T *)y)[j] = ((const T *)x)[p * axis + j * other]; \
    }
#define EACH_ROW(T) \
    if (w->index->dtype == FERRY_INT64) EACH_OF(T, int64_t) \
    else EACH_OF(T, int32_t) \
    break;

static void gather_rows(void *arg, int64_t begin, int64_t end) {
    along *w = arg;
    bool last = w->axis == w->rank - 1;
    const int64_t axis = w->step[w->axis], other = last ? 0 : w->step[w->rank - 1], run = w->run, size = w->size;
    for (int64_t r = begin; r < end; r++) {
        const void *x = w->from + row_base(w, r) * w->bytes;
        void *y = w->to + r * w->run * w->bytes;
        switch (w->bytes) {
        case 1: EACH_ROW(uint8_t)
        case 2: EACH_ROW(uint16_t)
        case 4: EACH_ROW(uint32_t)
        default: EACH_ROW(uint64_t)
        }
    }
}

/* One piece: all rows of one place before the axis. */
static void scatter_slices(void *arg, int64_t begin, int64_t end) {
    const along *w = arg;
    bool last = w->axis == w->rank - 1;
    int64_t axis = w->step[w->axis], other = last ? 0 : w->step[w->rank - 1];
    for (int64_t r = begin * w->rows; r < end * w->rows; r++) {
        char *y = w->to + row_base(w, r) * w->bytes;
        const char *u = w->from + r * w->run * w->bytes;
        for (int64_t j = 0; j < w->run; j++) {
            char *to = y + (position(w->index, r * w->run + j, w->size) * axis + j * other) * w->bytes;
            if (w->adds) add(to, u + j * w->bytes, w->bytes, w->real);
            else if (w->join) w->join(to, to, u + j * w->bytes, 1, 0);
            else put(to, u + j * w->bytes, w->bytes);
        }
    }
}

static fy_status along_of(along *w, const fy_step *s, const fy_tensor *x, const fy_tensor *index, ferry_error *e) {
    FY_NEED(e, index->rank == x->rank, SHAPE, "data has rank %d, indices %d", x->rank, index->rank);
    FY_TRY(fy_axis(&w->axis, fy_attr_i(s->node, "axis"), x->rank, e));
    w->index = index;
    w->rank = x->rank;
    w->bytes = fy_elem_bytes(x->dtype);
    w->size = x->dim[w->axis];
    w->run = index->dim[index->rank - 1];
    for (int i = 0; i < x->rank; i++) {
        FY_NEED(e, i == w->axis || index->dim[i] <= x->dim[i], SHAPE, "indices have %lld on axis %d, data %lld", (long long)index->dim[i], i, (long long)x->dim[i]);
        w->dim[i] = index->dim[i];
        w->step[i] = x->stride[i];
    }
    return FY_OK;
}

static fy_status run_gather(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *index = fy_step_in(s, x, 1);
    fy_tensor *y = fy_step_out(s, x, 0);
    along w = {.from = in->data, .to = y->data};
    FY_TRY(along_of(&w, s, in, index, e));
    FY_NEED(e, fy_same_dims(y, index), SHAPE, "the result differs from the indices in shape");
    if (fy_count(index)) fy_for(x->pool, fy_count(index) / w.run, 1 + 8192 / w.run, gather_rows, &w);
    return atomic_load(&w.outside) ? inside(index, w.size, e) : FY_OK;
}

/* What joins an update to what is there; false: not in this dtype. */
static bool joiner(fy_loop_pair **join, const fy_node *n, const fy_loops *l) {
    static const struct { const char *name; fy_loop2 loop; } table[] = {{"add", FY_LOOP_ADD}, {"mul", FY_LOOP_MUL}, {"min", FY_LOOP_MIN}, {"max", FY_LOOP_MAX}};
    fy_dtype t = fy_in(n, 0)->type.dtype;
    int number = fy_cpu_number(t);
    *join = NULL;
    if (!strcmp(n->op->name, "Scatter") || fy_attr_is(n, "reduction", "none")) return true;
    for (int i = 0; i < FY_COUNT(table); i++)
        if (fy_attr_is(n, "reduction", table[i].name) && number >= 0 && t != FERRY_BOOL) *join = l->pair[table[i].loop][number];
    return *join != NULL;
}

static const char *can_scatter(const fy_site *s) {
    fy_loop_pair *join;
    if (can_place(s)) return can_place(s);
    return joiner(&join, s->node, &s->k->loops) ? NULL : "a reduction of this dtype";
}

typedef struct copying { char *y; const char *x; } copying;
static void copy_piece(void *arg, int64_t begin, int64_t end) {
    const copying *w = arg;
    memcpy(w->y + begin, w->x + begin, (size_t)(end - begin));
}
static void copy_all(const fy_tensor *y, const fy_tensor *x, fy_pool *pool) {
    copying w = {y->data, x->data};
    fy_for(pool, fy_count(y) * fy_elem_bytes(y->dtype), 1 << 18, copy_piece, &w);
}

static fy_status run_scatter(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *index = fy_step_in(s, x, 1), *u = fy_step_in(s, x, 2);
    fy_tensor *y = fy_step_out(s, x, 0);
    along w = {.from = u->data, .to = y->data, .rows = 1};
    FY_TRY(along_of(&w, s, in, index, e));
    FY_TRY(inside(index, w.size, e));
    FY_NEED(e, fy_same_dims(u, index) && fy_same_dims(y, in) && u->dtype == y->dtype, SHAPE, "indices and updates differ in shape");
    FY_NEED(e, joiner(&w.join, s->node, &x->k->loops), INTERNAL, "a reduction of this dtype");
    w.adds = w.join && fy_attr_is(s->node, "reduction", "add");
    w.real = fy_dtype_float(y->dtype);
    copy_all(y, in, x->pool);
    int64_t outer = 1, n = fy_count(index);
    if (!n) return FY_OK;
    for (int i = 0; i < w.axis; i++) outer *= index->dim[i];
    for (int i = w.axis; i + 1 < w.rank; i++) w.rows *= index->dim[i];
    fy_for(x->pool, outer, 1 + 8192 / (n / outer), scatter_slices, &w);
    return FY_OK;
}

/* ---- by tuples ------------------------------------------------------------------------------------------------------------- */

typedef struct tuples {
    const fy_tensor *index;
    const char *from;
    char *to;
    int64_t k, n, per, block, bytes;     /* values of a tuple; tuples; those of one batch, and what lies between batches in x; bytes of a slice */
    int64_t dim[FY_MAX_RANK];            /* of the indexed axes */
    int elem;
    fy_loop_pair *join;
} tuples;

static int64_t slice_at(const tuples *w, int64_t i) {
    int64_t at = 0;
    for (int64_t q = 0; q < w->k; q++) at = at * w->dim[q] + position(w->index, i * w->k + q, w->dim[q]);
    return (at + i / w->per * w->block) * w->bytes;
}

static void gather_slices(void *arg, int64_t begin, int64_t end) {
    const tuples *w = arg;
    for (int64_t i = begin; i < end; i++) {
        const char *from = w->from + slice_at(w, i);
        char *to = w->to + i * w->bytes;
        if (w->bytes == w->elem) put(to, from, w->elem);
        else memcpy(to, from, (size_t)w->bytes);
    }
}

static fy_status tuples_of(tuples *w, const fy_tensor *x, const fy_tensor *index, int64_t batch, ferry_error *e) {
    w->index = index;
    w->k = index->dim[index->rank - 1];
    w->elem = fy_elem_bytes(x->dtype);
    FY_NEED(e, batch >= 0 && batch < index->rank && batch + w->k <= x->rank, SHAPE, "index tuples have %lld values; data has rank %d", (long long)w->k, x->rank);
    w->n = w->per = w->block = 1;
    w->bytes = w->elem;
    for (int i = 0; i + 1 < index->rank; i++) w->n *= index->dim[i];
    for (int i = (int)batch; i + 1 < index->rank; i++) w->per *= index->dim[i];
    for (int i = 0; i < batch; i++) FY_NEED(e, index->dim[i] == x->dim[i], SHAPE, "batch axis %d: %lld and %lld", i, (long long)index->dim[i], (long long)x->dim[i]);
    for (int64_t q = 0; q < w->k; q++) w->block *= w->dim[q] = x->dim[batch + q];
    for (int64_t i = batch + w->k; i < x->rank; i++) w->bytes *= x->dim[i];
    for (int64_t i = 0; i < w->n; i++)
        for (int64_t q = 0; q < w->k; q++) {
            int64_t p = position(index, i * w->k + q, w->dim[q]);
            FY_NEED(e, p >= 0 && p < w->dim[q], INDEX, "index %lld outside an axis of %lld", (long long)index_at(index, i * w->k + q), (long long)w->dim[q]);
        }
    return FY_OK;
}

static fy_status run_gather_nd(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *index = fy_step_in(s, x, 1);
    fy_tensor *y = fy_step_out(s, x, 0);
    tuples w = {.from = in->data, .to = y->data};
    FY_TRY(tuples_of(&w, in, index, fy_attr_i(s->node, "batch_dims"), e));
    if (!fy_count(y)) return FY_OK;
    FY_NEED(e, fy_count(y) * w.elem == w.n * w.bytes, SHAPE, "the result is not of the size of the slices");
    fy_for(x->pool, w.n, 1 + 32768 / w.bytes, gather_slices, &w);
    return FY_OK;
}

static fy_status run_scatter_nd(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *index = fy_step_in(s, x, 1), *u = fy_step_in(s, x, 2);
    fy_tensor *y = fy_step_out(s, x, 0);
    tuples w = {.from = u->data, .to = y->data};
    FY_TRY(tuples_of(&w, in, index, 0, e));
    FY_NEED(e, joiner(&w.join, s->node, &x->k->loops), INTERNAL, "a reduction of this dtype");
    FY_NEED(e, u->dtype == y->dtype && fy_same_dims(y, in) && fy_count(u) * w.elem == w.n * w.bytes, SHAPE, "sizes of updates and of what they replace");
    copy_all(y, in, x->pool);
    for (int64_t i = 0; w.bytes && i < w.n; i++) {           /* in their order: any two may meet */
        char *to = w.to + slice_at(&w, i);
        const char *from = w.from + i * w.bytes;
        if (w.join) w.join(to, to, from, w.bytes / w.elem, 0);
        else if (w.bytes == w.elem) put(to, from, w.elem);
        else memcpy(to, from, (size_t)w.bytes);
    }
    return FY_OK;
}

#define PLACE(var, Op, can_, run_) static const fy_impl var = {.op = Op, .name = "place", .can = can_, .run = run_};
PLACE(gather_elements, "GatherElements", can_place, run_gather)
PLACE(gather_nd, "GatherND", can_place, run_gather_nd)
PLACE(scatter, "Scatter", can_scatter, run_scatter)
PLACE(scatter_elements, "ScatterElements", can_scatter, run_scatter)
PLACE(scatter_nd, "ScatterND", can_scatter, run_scatter_nd)

const fy_impl *const fy_cpu_place[] = {&gather_elements, &gather_nd, &scatter, &scatter_elements, &scatter_nd, NULL};
