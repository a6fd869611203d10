/* SPDX-License-Identifier: Apache-2.0
 * along.c - what goes along one axis of any number: CumSum, CumProd, ArgMax, ArgMin, Hardmax. x is seen as [outer, n, inner]: rows where inner is 1, else up to 512
 * columns side by side. Floats are summed and multiplied in f64, integers wrap. */
#include "engines/cpu/move.h"

#include <string.h>

enum { BLOCK = 512 };

typedef union block { float f[BLOCK]; double d[BLOCK]; int64_t i[BLOCK]; } block;

typedef struct work {
    const fy_kernels *k;
    const fy_loops *l;
    const char *x;
    char   *y;
    int64_t outer, n, inner, pieces;     /* pieces of BLOCK columns */
    int     from, number, bytes, wide;   /* as x has it; as it is computed; bytes of both */
    fy_loop2 join, worse;
    bool    product, reverse, exclusive, least, last, hard;
    _Alignas(8) char one[8];                      /* 1 as y has it */
} work;

static int whole(fy_dtype t) { return t == FERRY_INT64 || t == FERRY_INT32 || t == FERRY_INT16 || t == FERRY_INT8 || t == FERRY_UINT64 || t == FERRY_UINT32 || t == FERRY_UINT16 || t == FERRY_UINT8; }

static bool constant_axis(const fy_node *n, int64_t *axis) {
    const fy_value *v = fy_in(n, 1);
    *axis = n->op->name[0] == 'C' ? 0 : fy_attr_i(n, "axis");
    return n->op->name[0] != 'C' || (v->constant && v->constant->count == 1 && fy_const_i64(v->constant, 0, axis));
}

static const char *can(const fy_site *s) {
    int64_t axis;
    const fy_value *x = fy_in(s->node, 0);
    if (x->type.rank < 1) return "a scalar";
    if (!whole(x->type.dtype) && x->type.dtype != FERRY_FLOAT && x->type.dtype != FERRY_DOUBLE && x->type.dtype != FERRY_FLOAT16 && x->type.dtype != FERRY_BFLOAT16) return "another dtype";
    if (s->node->op->name[0] != 'C' && x->type.dtype == FERRY_UINT64) return "another dtype";
    return constant_axis(s->node, &axis) ? NULL : "the axis is not constant";
}

/* m numbers from `at` on. */
static const void *load(const work *w, void *room, int64_t at, int64_t m) {
    const char *x = w->x + at * w->bytes;
    if (w->from == w->number) return x;
    w->l->cast[w->from][w->number](room, x, m);
    return room;
}

/* ---- sums and products of all before ----------------------------------------------------------------------------------------- */

static void scan_columns(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    static const double identity[2] = {0, 1};
    static const int64_t whole_one[2] = {0, 1};
    for (int64_t p = begin; p < end; p++) {
        const int64_t c = p % w->pieces * BLOCK, m = w->inner - c < BLOCK ? w->inner - c : BLOCK, base = p / w->pieces * w->n * w->inner + c;
        block sum, room;
        if (w->number == FY_NUMBER_F64) fy_fill(&sum, &identity[w->product], m, 8);
        else {
            const int64_t first = whole_one[w->product];
            w->l->cast[FY_NUMBER_I64][w->number](&room, &first, 1);
            fy_fill(&sum, &room, m, w->wide);
        }
        for (int64_t r = 0; r < w->n; r++) {
            const int64_t at = base + (w->reverse ? w->n - 1 - r : r) * w->inner;
            if (w->exclusive) w->l->cast[w->number][w->from](w->y + at * w->bytes, &sum, m);
            w->l->pair[w->join][w->number](&sum, &sum, load(w, &room, at, m), m, 0);
            if (!w->exclusive) w->l->cast[w->number][w->from](w->y + at * w->bytes, &sum, m);
        }
    }
}

/* Integers all as 64 bits: cut off, they wrap. */
#define SCAN(T, U, v) \
    for (int64_t k = 0; k < m; k++) { \
        const int64_t i = w->reverse ? m - 1 - k : k; \
        const T was = v##_sum; \
        v##_sum = w->product ? (T)((U)v##_sum * (U)room.v[i]) : (T)((U)v##_sum + (U)room.v[i]); \
        room.v[i] = w->exclusive ? was : v##_sum; \
    }

static void scan_rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t r = begin; r < end; r++) {
        double d_sum = w->product;
        int64_t i_sum = w->product;
        for (int64_t done = 0; done < w->n; done += BLOCK) {
            const int64_t m = w->n - done < BLOCK ? w->n - done : BLOCK, at = r * w->n + (w->reverse ? w->n - done - m : done);
            block room;
            w->l->cast[w->from][w->number](&room, w->x + at * w->bytes, m);
            if (w->number == FY_NUMBER_F64) SCAN(double, double, d)
            else SCAN(int64_t, uint64_t, i)
            w->l->cast[w->number][w->from](w->y + at * w->bytes, &room, m);
        }
    }
}

/* ---- where the greatest is: NaN above all, the first of equal ones (or the last) ---------------------------------------------- */

#define BETTER(a, b) (b == b && (a != a || (w->least ? a < b : a > b) || (w->last && a == b)))

/* The greatest of m numbers: NaN where one is. */
static float float_top(const work *w, const float *x, int64_t m) {
    float top;
    w->k->reduce_rows(&top, x, 1, m, w->least ? FY_REDUCE_MIN : FY_REDUCE_MAX);
    return top;
}

#define TOP(name, T) \
    static T name##_top(const work *w, const T *x, int64_t left) { \
        T half[BLOCK]; \
        for (; left > 16; x = half, left -= left / 2) { \
            if (left & 1) half[left / 2] = x[left / 2]; \
            w->l->pair[w->join][w->number](half, x, x + left - left / 2, left / 2, 0); \
        } \
        T top = x[0]; \
        for (int64_t q = 1; q < left; q++) top = BETTER(x[q], top) ? x[q] : top; \
        return top; \
    }
TOP(double, double)
TOP(whole, int64_t)

/* The greatest of a block is found, then looked for; of columns, only those are looked at that are not worse than what is known. */
#define FIND(name, T, v) \
    static void name##_rows(void *arg, int64_t begin, int64_t end) { \
        const work *w = arg; \
        for (int64_t r = begin; r < end; r++) { \
            block room; \
            T best = 0; \
            int64_t at = -1; \
            for (int64_t k = 0; k < w->n; k += BLOCK) { \
                int64_t m = w->n - k < BLOCK ? w->n - k : BLOCK, i = 0; \
                const T *x = load(w, &room, r * w->n + k, m), top = name##_top(w, x, m); \
                if (at >= 0 && !BETTER(top, best)) continue; \
                if (w->last && top == top) \
                    for (i = m - 1; x[i] != top;) i--; \
                else \
                    while (x[i] != top && (x[i] == x[i] || top == top)) i++; \
                best = top; \
                at = k + i; \
            } \
            if (w->hard) memcpy(w->y + (r * w->n + at) * w->bytes, w->one, (size_t)w->bytes); \
            else ((int64_t *)(void *)w->y)[r] = at; \
        } \
    } \
    static void name##_columns(void *arg, int64_t begin, int64_t end) { \
        const work *w = arg; \
        for (int64_t p = begin; p < end; p++) { \
            const int64_t o = p / w->pieces, c = p % w->pieces * BLOCK, m = w->inner - c < BLOCK ? w->inner - c : BLOCK, base = o * w->n * w->inner + c; \
            block room, best; \
            int64_t at[BLOCK]; \
            unsigned char worse[BLOCK], *found; \
            memcpy(best.v, load(w, &room, base, m), (size_t)m * sizeof(T)); \
            memset(at, 0, (size_t)m * sizeof *at); \
            for (int64_t r = 1; r < w->n; r++) { \
                const T *x = load(w, &room, base + r * w->inner, m); \
                w->l->pair[w->worse][w->number](worse, x, best.v, m, 0); \
                for (int64_t i = 0; (found = memchr(worse + i, 0, (size_t)(m - i))); i++) { \
                    i = found - worse; \
                    if (BETTER(x[i], best.v[i])) { \
                        best.v[i] = x[i]; \
                        at[i] = r; \
                    } \
                } \
            } \
            if (!w->hard) memcpy((int64_t *)(void *)w->y + o * w->inner + c, at, (size_t)m * sizeof *at); \
            for (int64_t i = 0; i < m && w->hard; i++) memcpy(w->y + (base + at[i] * w->inner + i) * w->bytes, w->one, (size_t)w->bytes); \
        } \
    }
FIND(float, float, f)
FIND(double, double, d)
FIND(whole, int64_t, i)

/* ---- running ------------------------------------------------------------------------------------------------------------------- */

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    const fy_node *n = s->node;
    const char kind = n->op->name[0];
    const bool scans = kind == 'C';
    int64_t given = 0;
    int axis;
    FY_NEED(e, constant_axis(n, &given), INTERNAL, "axis");
    FY_TRY(fy_axis(&axis, given, in->rank, e));
    work w = {.k = x->k, .l = &x->k->loops, .x = in->data, .y = y->data, .outer = 1, .n = in->dim[axis], .inner = 1, .from = fy_cpu_number(in->dtype), .bytes = fy_elem_bytes(in->dtype), .product = scans && n->op->name[3] == 'P', .hard = kind == 'H'};
    for (int i = 0; i < in->rank; i++)
        if (i != axis) *(i < axis ? &w.outer : &w.inner) *= in->dim[i];
    if (!fy_count(y)) return FY_OK;
    FY_NEED(e, w.n > 0, SHAPE, "there is no greatest or least along axis %d of size 0", axis);
    w.pieces = (w.inner + BLOCK - 1) / BLOCK;
    const bool rows = w.inner == 1, integer = whole(in->dtype);
    if (scans) {
        w.join = w.product ? FY_LOOP_MUL : FY_LOOP_ADD;
        w.reverse = fy_attr_i(n, "reverse") != 0;
        w.exclusive = fy_attr_i(n, "exclusive") != 0;
        w.number = !integer ? FY_NUMBER_F64 : rows ? FY_NUMBER_I64 : w.from;
    } else {
        const float one = 1;
        w.least = !strcmp(n->op->name, "ArgMin");
        w.last = !w.hard && fy_attr_i(n, "select_last_index");
        w.join = w.least ? FY_LOOP_MIN : FY_LOOP_MAX;
        w.worse = w.last ? (w.least ? FY_LOOP_GREATER : FY_LOOP_LESS) : w.least ? FY_LOOP_GREATER_EQUAL : FY_LOOP_LESS_EQUAL;
        w.number = w.bytes == 8 ? w.from : in->dtype == FERRY_INT32 || in->dtype == FERRY_UINT32 ? FY_NUMBER_F64 : FY_NUMBER_F32;
        w.l->cast[FY_NUMBER_F32][w.from](w.one, &one, 1);
        if (w.hard) memset(y->data, 0, (size_t)(fy_count(y) * w.bytes));
    }
    w.wide = w.from == w.number ? w.bytes : 8;
    void (*fn)(void *, int64_t, int64_t) = scans ? (rows ? scan_rows : scan_columns) : w.number == FY_NUMBER_F32 ? (rows ? float_rows : float_columns) : w.number == FY_NUMBER_F64 ? (rows ? double_rows : double_columns) : rows ? whole_rows : whole_columns;
    if (rows) fy_for(x->pool, w.outer, 1 + 16384 / w.n, fn, &w);
    else fy_for(x->pool, w.outer * w.pieces, 1 + 16384 / (w.n * (w.inner < BLOCK ? w.inner : BLOCK)), fn, &w);
    return FY_OK;
}

#define ALONG(var, Op) static const fy_impl var = {.op = Op, .name = "along", .can = can, .run = run};
ALONG(cum_sum, "CumSum")
ALONG(cum_prod, "CumProd")
ALONG(arg_max, "ArgMax")
ALONG(arg_min, "ArgMin")
ALONG(hard_max, "Hardmax")

const fy_impl *const fy_cpu_along[] = {&cum_sum, &cum_prod, &arg_max, &arg_min, &hard_max, NULL};
