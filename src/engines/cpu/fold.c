/* SPDX-License-Identifier: Apache-2.0
 * fold.c - Reduce* of every number along any axes, by the loops of kernels/loops.def. Where the last axis stays, rows are joined to a row of results; where it
 * goes, its blocks are joined in four chains and then what comes of them: an order that depends on the reduced sizes alone. Floats are computed in f32 (f64 in
 * f64), integers wrap in their dtype, their means and roots in f64. */
#include "engines/cpu/move.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 1024 };
enum { NO = -1 };

typedef struct fold_op { const char *op; fy_loop2 join; bool size, square, mean, root, log; } fold_op;
static const fold_op ops[] = {
    {"ReduceSum", FY_LOOP_ADD, false, false, false, false, false}, {"ReduceMean", FY_LOOP_ADD, false, false, true, false, false}, {"ReduceMax", FY_LOOP_MAX, false, false, false, false, false},
    {"ReduceMin", FY_LOOP_MIN, false, false, false, false, false}, {"ReduceProd", FY_LOOP_MUL, false, false, false, false, false}, {"ReduceL1", FY_LOOP_ADD, true, false, false, false, false},
    {"ReduceL2", FY_LOOP_ADD, false, true, false, true, false}, {"ReduceSumSquare", FY_LOOP_ADD, false, true, false, false, false}, {"ReduceLogSum", FY_LOOP_ADD, false, false, false, false, true}};

static const fold_op *op_of(const fy_node *n) {
    for (int i = 0; i < FY_COUNT(ops); i++)
        if (!strcmp(ops[i].op, n->op->name)) return &ops[i];
    return NULL;
}

/* What is computed in. Along the last axis integers of 32 bits or less are those of 64, which wrap as they do once cut off, or, where the least or greatest
 * is looked for, floats, if those hold them all. */
static int number_for(const fold_op *op, fy_dtype t, bool last) {
    int own = fy_cpu_number(t);
    if (own == FY_NUMBER_F32 || own == FY_NUMBER_F16 || own == FY_NUMBER_BF16) return FY_NUMBER_F32;
    if (own == NO || own == FY_NUMBER_BOOL || own == FY_NUMBER_F64) return own == FY_NUMBER_F64 ? own : NO;
    if (op->mean || op->root || op->log) return FY_NUMBER_F64;
    if (!last || own == FY_NUMBER_U64) return own;
    return (op->join == FY_LOOP_MIN || op->join == FY_LOOP_MAX) && fy_elem_bytes(t) < 4 ? FY_NUMBER_F32 : FY_NUMBER_I64;
}

static bool axes_of(bool *reduced, const fy_node *n, int rank) {
    const fy_value *v = fy_in(n, 1);
    int64_t count = v && v->constant ? v->constant->count : 0, axis;
    if ((v && !v->constant) || (!count && fy_attr_i(n, "noop_with_empty_axes"))) return false;
    for (int i = 0; i < rank; i++) reduced[i] = !count;
    for (int64_t i = 0; i < count; i++) {
        if (!fy_const_i64(v->constant, i, &axis) || axis < -rank || axis >= rank) return false;
        reduced[axis < 0 ? axis + rank : axis] = true;
    }
    return true;
}

FY_COLD static const char *can(const fy_site *s) {
    bool reduced[FY_MAX_RANK];
    const fy_value *x = fy_in(s->node, 0);
    if (number_for(op_of(s->node), x->type.dtype, false) == NO) return "another dtype";
    return axes_of(reduced, s->node, x->type.rank) ? NULL : "the axes are not constant";
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    (void)p;
    bool *reduced = FY_NEWN(a, bool, FY_MAX_RANK);
    FY_NOMEM(e, reduced);
    FY_NEED(e, axes_of(reduced, s->node, fy_in(s->node, 0)->type.rank), INTERNAL, "axes");
    s->data = reduced;
    if (s->nin > 1) s->in[1] = NULL;
    return FY_OK;
}

/* Neighbours of one kind merged. kept, gone: axes that stay and those that are reduced, but for the last of all, whose elements follow each other. */
typedef struct work {
    const fold_op *op;
    const fy_kernels *k;
    const char *x;
    char *y;
    int number, x_number, y_number, x_bytes, y_bytes, nkept, ngone;
    int64_t kept[FY_MAX_RANK], kept_step[FY_MAX_RANK], gone[FY_MAX_RANK], gone_step[FY_MAX_RANK];
    int64_t run, rows, pieces;           /* of the last axis; combinations of `gone`; pieces of BLOCK columns of a run */
    double n;                            /* elements of a result */
} work;

typedef union block { float f[BLOCK]; double d[BLOCK]; uint64_t u[BLOCK]; } block;

static int64_t place(int64_t i, int n, const int64_t *dim, const int64_t *step) {
    int64_t at = 0;
    for (int d = n - 1; d >= 0; d--) {
        at += i % dim[d] * step[d];
        i /= dim[d];
    }
    return at;
}

/* m elements of x from `at` on, as they are joined. */
static const void *load(const work *w, block *room, int64_t at, int64_t m) {
    const fy_loops *l = &w->k->loops;
    const void *x = w->x + at * w->x_bytes;
    static const double none[2];
    if (w->x_number != w->number) {
        l->cast[w->x_number][w->number](room, x, m);
        x = room;
    }
    if (!w->op->size && !w->op->square) return x;
    if (w->op->size) l->single[FY_LOOP_ABS][w->number](room, x, m, none);
    else l->pair[FY_LOOP_MUL][w->number](room, x, x, m, 0);
    return room;
}

static int size_of(int number) { return number == FY_NUMBER_F64 || number == FY_NUMBER_I64 || number == FY_NUMBER_U64 ? 8 : number == FY_NUMBER_F32 || number == FY_NUMBER_I32 || number == FY_NUMBER_U32 ? 4
                                      : number == FY_NUMBER_I16 || number == FY_NUMBER_U16 ? 2 : 1; }

/* m results, to y from `to` on. */
static void finish(const work *w, block *sum, int64_t to, int64_t m) {
    const fy_loops *l = &w->k->loops;
    static const double none[2];
    float by = (float)w->n;
    if (w->op->mean) l->pair[FY_LOOP_DIV][w->number](sum, sum, w->number == FY_NUMBER_F32 ? (const void *)&by : &w->n, m, 2);
    if (w->op->root) l->single[FY_LOOP_SQRT][w->number](sum, sum, m, none);
    if (w->op->log && w->number == FY_NUMBER_F32) w->k->unary[FY_ACT_LOG](sum->f, sum->f, m, NULL);
    else if (w->op->log)
        for (int64_t i = 0; i < m; i++) sum->d[i] = log(sum->d[i]);
    l->cast[w->number][w->y_number](w->y + to * w->y_bytes, sum, m);
}

static void columns(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    fy_loop_pair *join = w->k->loops.pair[w->op->join][w->number];
    block sum, room;
    for (int64_t p = begin; p < end; p++) {
        int64_t o = p / w->pieces, c = p % w->pieces * BLOCK, m = w->run - c < BLOCK ? w->run - c : BLOCK, base = place(o, w->nkept, w->kept, w->kept_step) + c;
        for (int64_t r = 0; r < w->rows; r++) {
            const void *x = load(w, &room, base + place(r, w->ngone, w->gone, w->gone_step), m);
            if (r) join(&sum, &sum, x, m, 0);
            else memcpy(&sum, x, (size_t)(m * size_of(w->number)));
        }
        finish(w, &sum, o * w->run + c, m);
    }
}

/* y[r] = n numbers of x joined, for one row after the other. P: what a number is joined to, V: the number. */
#define ROWS(name, T, expr) \
    static void name(void *to, const void *from, int64_t rows, int64_t n) { \
        const T *x = from; \
        for (T *y = to; rows-- > 0; x += n) { \
            T p = x[0], q, r, s; \
            int64_t i = 1; \
            if (n >= 4) { \
                q = x[1], r = x[2], s = x[3]; \
                for (i = 4; i + 4 <= n; i += 4) p = JOIN(p, x[i], expr), q = JOIN(q, x[i + 1], expr), r = JOIN(r, x[i + 2], expr), s = JOIN(s, x[i + 3], expr); \
                q = JOIN(p, q, expr), s = JOIN(r, s, expr), p = JOIN(q, s, expr); \
            } \
            for (; i < n; i++) p = JOIN(p, x[i], expr); \
            *y++ = p; \
        } \
    }
#define JOIN(a, b, expr) expr(a, b)
#define SUM(a, b) ((a) + (b))
#define PRODUCT(a, b) ((a) * (b))
#define LEAST(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))
#define MOST(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
ROWS(product_f32, float, PRODUCT)
ROWS(sum_f64, double, SUM)
ROWS(product_f64, double, PRODUCT)
ROWS(least_f64, double, LEAST)
ROWS(most_f64, double, MOST)
ROWS(sum_u64, uint64_t, SUM)
ROWS(product_u64, uint64_t, PRODUCT)
ROWS(least_u64, uint64_t, LEAST)
ROWS(most_u64, uint64_t, MOST)
ROWS(least_i64, int64_t, LEAST)
ROWS(most_i64, int64_t, MOST)

static void join_rows(const work *w, void *y, const void *x, int64_t rows, int64_t n) {
    typedef void each(void *, const void *, int64_t, int64_t);
    static each *const f64[] = {sum_f64, product_f64, least_f64, most_f64}, *const u64[] = {sum_u64, product_u64, least_u64, most_u64}, *const i64[] = {sum_u64, product_u64, least_i64, most_i64};
    static const fy_reduction f32[] = {FY_REDUCE_SUM, FY_REDUCE_SUM, FY_REDUCE_MIN, FY_REDUCE_MAX};
    const int at = w->op->join == FY_LOOP_ADD ? 0 : w->op->join == FY_LOOP_MUL ? 1 : w->op->join == FY_LOOP_MIN ? 2 : 3;
    if (w->number == FY_NUMBER_F32 && at != 1) w->k->reduce_rows(y, x, rows, n, f32[at]);
    else (w->number == FY_NUMBER_F32 ? product_f32 : (w->number == FY_NUMBER_F64 ? f64 : w->number == FY_NUMBER_U64 ? u64 : i64)[at])(y, x, rows, n);
}

/* One result from all its rows. */
static void one(const work *w, int64_t base, void *result) {
    block parts, room;
    int bytes = size_of(w->number);
    int64_t have = 0;
    for (int64_t r = 0; r < w->rows; r++) {
        int64_t from = base + place(r, w->ngone, w->gone, w->gone_step);
        for (int64_t c = 0; c < w->run; c += BLOCK) {
            int64_t m = w->run - c < BLOCK ? w->run - c : BLOCK;
            if (have == BLOCK) {
                join_rows(w, &parts, &parts, 1, have);
                have = 1;
            }
            join_rows(w, (char *)&parts + have++ * bytes, load(w, &room, from + c, m), 1, m);
        }
    }
    join_rows(w, result, &parts, 1, have);
}

static void rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    block sum, room;
    int bytes = size_of(w->number);
    const bool dense = w->rows == 1 && w->run <= BLOCK;
    const int64_t each = dense ? BLOCK / w->run : 1;
    for (int64_t o = begin; o < end;) {
        int64_t m = end - o < BLOCK ? end - o : BLOCK;
        for (int64_t i = 0; i < m; i += each) {
            char *y = (char *)&sum + i * bytes;
            const int64_t n = m - i < each ? m - i : each;
            if (dense) join_rows(w, y, load(w, &room, (o + i) * w->run, n * w->run), n, w->run);
            else one(w, place(o + i, w->nkept, w->kept, w->kept_step), y);
        }
        finish(w, &sum, o, m);
        o += m;
    }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    const bool *reduced = s->data;
    const fold_op *op = op_of(s->node);
    work w = {.op = op, .k = x->k, .x = in->data, .y = y->data, .x_number = fy_cpu_number(in->dtype), .y_number = fy_cpu_number(y->dtype),
              .x_bytes = fy_elem_bytes(in->dtype), .y_bytes = fy_elem_bytes(y->dtype), .run = 1, .rows = 1, .n = 1};
    int64_t dim[FY_MAX_RANK], results = 1;
    bool gone[FY_MAX_RANK];
    int n = 0;
    if (!fy_count(in)) return fy_impl_reference.run(s, x, e);
    for (int i = 0; i < in->rank; i++) {
        if (in->dim[i] == 1) continue;
        if (n && gone[n - 1] == reduced[i]) dim[n - 1] *= in->dim[i];
        else {
            dim[n] = in->dim[i];
            gone[n++] = reduced[i];
        }
    }
    if (!n) {
        dim[0] = 1;
        gone[n++] = false;
    }
    for (int i = 0; i < n; i++) {
        int64_t step = 1;
        for (int k = i + 1; k < n; k++) step *= dim[k];
        if (gone[i]) w.n *= (double)dim[i];
        else results *= dim[i];
        if (i == n - 1) { w.run = dim[i]; continue; }
        if (gone[i]) {
            w.gone[w.ngone] = dim[i];
            w.gone_step[w.ngone++] = step;
            w.rows *= dim[i];
        } else {
            w.kept[w.nkept] = dim[i];
            w.kept_step[w.nkept++] = step;
        }
    }
    FY_NEED(e, results == fy_count(y), SHAPE, "the result has %lld elements, not %lld", (long long)fy_count(y), (long long)results);
    w.number = number_for(op, in->dtype, gone[n - 1]);
    if (gone[n - 1]) {
        fy_for(x->pool, results, 1 + 16384 / (w.rows * w.run), rows, &w);
        return FY_OK;
    }
    w.pieces = (w.run + BLOCK - 1) / BLOCK;
    fy_for(x->pool, results / w.run * w.pieces, 1 + 16384 / (w.rows * (w.run < BLOCK ? w.run : BLOCK)), columns, &w);
    return FY_OK;
}

#define FOLD(var, Op) static const fy_impl var = {.op = Op, .name = "fold", .can = can, .prepare = prepare, .run = run};
FOLD(sum, "ReduceSum")
FOLD(mean, "ReduceMean")
FOLD(most, "ReduceMax")
FOLD(least, "ReduceMin")
FOLD(product, "ReduceProd")
FOLD(l1, "ReduceL1")
FOLD(l2, "ReduceL2")
FOLD(squares, "ReduceSumSquare")
FOLD(log_sum, "ReduceLogSum")

const fy_impl *const fy_cpu_fold[] = {&sum, &mean, &most, &least, &product, &l1, &l2, &squares, &log_sum, NULL};
