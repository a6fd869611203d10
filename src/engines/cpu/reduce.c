/* SPDX-License-Identifier: Apache-2.0
 * reduce.c - Reduce* of f32 over neighbouring axes, GlobalAveragePool and GlobalMaxPool of plain values, Softmax and LogSoftmax along any axis. x is seen as [outer, n, inner]: rows where inner is 1, columns else. */
#include "engines/cpu/cpu.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

typedef enum kind { SUM, MEAN, MAX, MIN, L1, L2, SUM_SQUARE, LOG_SUM_EXP, NONE } kind;

static kind kind_of(const fy_node *n) {
    static const struct { const char *op; kind k; } table[] = {{"ReduceSum", SUM}, {"ReduceMean", MEAN}, {"ReduceMax", MAX}, {"ReduceMin", MIN}, {"ReduceL1", L1}, {"ReduceL2", L2},
                                                               {"ReduceSumSquare", SUM_SQUARE}, {"ReduceLogSumExp", LOG_SUM_EXP}, {"GlobalAveragePool", MEAN}, {"GlobalMaxPool", MAX}};
    for (int i = 0; i < FY_COUNT(table); i++)
        if (!strcmp(table[i].op, n->op->name)) return table[i].k;
    return NONE;
}

typedef struct shape3 { int64_t outer, n, inner; } shape3;

/* Which axes: of constants. false: not one block of neighbours. */
static bool axes_of(const fy_node *node, int rank, bool *reduced) {
    const fy_value *v = fy_in(node, 1);
    memset(reduced, 0, FY_MAX_RANK * sizeof *reduced);
    if (!strncmp(node->op->name, "Global", 6)) {
        for (int i = 2; i < rank; i++) reduced[i] = true;
        return rank > 2;
    }
    if (v && !v->constant) return false;
    int64_t n = v ? v->constant->count : 0, axis;
    if (!n && fy_attr_i(node, "noop_with_empty_axes")) return false;
    for (int i = 0; i < rank; i++) reduced[i] = !n;
    for (int64_t i = 0; i < n; i++) {
        if (!fy_const_i64(v->constant, i, &axis) || axis < -rank || axis >= rank) return false;
        reduced[axis < 0 ? axis + rank : axis] = true;
    }
    int blocks = 0;
    for (int i = 0; i < rank; i++) blocks += reduced[i] && (!i || !reduced[i - 1]);
    return blocks == 1;
}

static const char *can_reduce(const fy_site *s) {
    bool reduced[FY_MAX_RANK];
    const fy_value *x = fy_in(s->node, 0);
    if (!fy_cpu_f32(x) || !fy_cpu_f32(fy_outv(s->node, 0))) return "not f32";
    return axes_of(s->node, x->type.rank, reduced) ? NULL : "the axes are not constant neighbours";
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    (void)p;
    bool *reduced = FY_NEWN(a, bool, FY_MAX_RANK);
    FY_NOMEM(e, reduced);
    FY_NEED(e, axes_of(s->node, fy_in(s->node, 0)->type.rank, reduced), INTERNAL, "axes");
    s->data = reduced;
    if (s->nin > 1) s->in[1] = NULL;
    return FY_OK;
}

typedef struct work { const fy_kernels *k; const float *x; float *y, *room; shape3 d; fy_reduction r; kind kind; int64_t cols; bool log; } work;

static void finish(const work *w, float *y, int64_t n) {
    if (w->kind == L2) w->k->unary[FY_ACT_SQRT](y, y, n, NULL);
    if (w->kind == MEAN) {
        float by = (float)w->d.n;
        w->k->binary[FY_DIV](y, y, &by, n, 2);
    }
}

static void reduce_rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    w->k->reduce_rows(w->y + begin, w->x + begin * w->d.n, end - begin, w->d.n, w->r);
    finish(w, w->y + begin, end - begin);
}

#define COLS 1024                        /* columns of a piece */

static void reduce_cols(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t o = i / w->cols, c = i % w->cols * COLS, n = w->d.inner - c < COLS ? w->d.inner - c : COLS;
        float *y = w->y + o * w->d.inner + c;
        w->k->reduce_cols(y, w->x + o * w->d.n * w->d.inner + c, w->d.n, w->d.inner, n, w->r);
        finish(w, y, n);
    }
}

/* log(sum e^(x - top)) + top, where top is the greatest; of what is not finite, 0. */
static void exp_cols(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t o = i / w->cols, c = i % w->cols * COLS, n = w->d.inner - c < COLS ? w->d.inner - c : COLS;
        const float *x = w->x + o * w->d.n * w->d.inner + c;
        float top[COLS], part[COLS], *y = w->y + o * w->d.inner + c;
        w->k->reduce_cols(top, x, w->d.n, w->d.inner, n, FY_REDUCE_MAX);
        for (int64_t k = 0; k < n; k++) top[k] = isfinite(top[k]) ? top[k] : 0;
        memset(y, 0, (size_t)n * sizeof *y);
        for (int64_t r = 0; r < w->d.n; r++) {
            w->k->binary[FY_SUB](part, x + r * w->d.inner, top, n, 0);
            w->k->unary[FY_ACT_EXP](part, part, n, NULL);
            w->k->binary[FY_ADD](y, y, part, n, 0);
        }
        w->k->unary[FY_ACT_LOG](y, y, n, NULL);
        w->k->binary[FY_ADD](y, y, top, n, 0);
    }
}

static void exp_rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t r = begin; r < end; r++) {
        const float *x = w->x + r * w->d.n;
        float top, part[COLS], sum = 0, one;
        w->k->reduce_rows(&top, x, 1, w->d.n, FY_REDUCE_MAX);
        if (!isfinite(top)) top = 0;
        for (int64_t c = 0; c < w->d.n; c += COLS, sum += one) {
            int64_t n = w->d.n - c < COLS ? w->d.n - c : COLS;
            w->k->binary[FY_SUB](part, x + c, &top, n, 2);
            w->k->unary[FY_ACT_EXP](part, part, n, NULL);
            w->k->reduce_rows(&one, part, 1, n, FY_REDUCE_SUM);
        }
        w->k->unary[FY_ACT_LOG](w->y + r, &sum, 1, NULL);
        w->y[r] += top;
    }
}

static fy_status run_reduce(const fy_step *s, fy_exec *x, ferry_error *e) {
    static const fy_reduction by[] = {FY_REDUCE_SUM, FY_REDUCE_SUM, FY_REDUCE_MAX, FY_REDUCE_MIN, FY_REDUCE_L1, FY_REDUCE_SQUARE, FY_REDUCE_SQUARE, FY_REDUCE_MAX};
    const fy_tensor *in = fy_step_in(s, x, 0);
    const bool *reduced = s->data;
    work w = {.k = x->k, .x = in->data, .y = fy_step_out(s, x, 0)->data, .d = {1, 1, 1}, .kind = kind_of(s->node)};
    bool seen = false;
    (void)e;
    w.r = by[w.kind];
    for (int i = 0; i < in->rank; i++) {
        seen |= reduced[i];
        *(reduced[i] ? &w.d.n : seen ? &w.d.inner : &w.d.outer) *= in->dim[i];
    }
    w.cols = (w.d.inner + COLS - 1) / COLS;
    if (w.d.inner == 1) fy_for(x->pool, w.d.outer, 1 + 16384 / (w.d.n + 1), w.kind == LOG_SUM_EXP ? exp_rows : reduce_rows, &w);
    else fy_for(x->pool, w.d.outer * w.cols, 1 + 16384 / (w.d.n * COLS + 1), w.kind == LOG_SUM_EXP ? exp_cols : reduce_cols, &w);
    return FY_OK;
}

/* ---- softmax --------------------------------------------------------------------------------------------------------------- */

static bool last_axis(const fy_node *n) {
    int64_t axis = fy_attr_i(n, "axis");
    return axis == -1 || axis == fy_in(n, 0)->type.rank - 1;
}

static const char *can_softmax(const fy_site *s) { return !fy_cpu_f32(fy_in(s->node, 0)) ? "not f32" : fy_in(s->node, 0)->type.rank < 1 ? "a scalar" : NULL; }
static const char *can_last(const fy_site *s) { return can_softmax(s) ? can_softmax(s) : last_axis(s->node) ? NULL : "not along the last axis"; }

static void log_rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    w->k->log_softmax_rows(w->y + begin * w->d.n, w->x + begin * w->d.n, end - begin, w->d.n);
}

static fy_status run_log(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    work w = {.k = x->k, .x = in->data, .y = fy_step_out(s, x, 0)->data, .d = {.n = in->dim[in->rank - 1]}};
    (void)e;
    if (w.d.n) fy_for(x->pool, fy_count(in) / w.d.n, 1 + 8192 / w.d.n, log_rows, &w);
    return FY_OK;
}

/* Up to 256 columns of one outer index: maximum, exponentials, sum, quotients. */
#define WIDE 256
static void soft_cols(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t o = i / w->cols, c = i % w->cols * WIDE, n = w->d.inner - c < WIDE ? w->d.inner - c : WIDE, at = o * w->d.n * w->d.inner + c;
        float top[WIDE], sum[WIDE];
        w->k->reduce_cols(top, w->x + at, w->d.n, w->d.inner, n, FY_REDUCE_MAX);
        for (int64_t r = 0; r < w->d.n; r++) {
            float *y = w->y + at + r * w->d.inner;
            w->k->binary[FY_SUB](y, w->x + at + r * w->d.inner, top, n, 0);
            w->k->unary[FY_ACT_EXP](y, y, n, NULL);
        }
        w->k->reduce_cols(sum, w->y + at, w->d.n, w->d.inner, n, FY_REDUCE_SUM);
        if (w->log) {
            w->k->unary[FY_ACT_LOG](sum, sum, n, NULL);
            w->k->binary[FY_ADD](sum, sum, top, n, 0);
        }
        for (int64_t r = 0; r < w->d.n; r++) w->k->binary[w->log ? FY_SUB : FY_DIV](w->y + at + r * w->d.inner, (w->log ? w->x : w->y) + at + r * w->d.inner, sum, n, 0);
    }
}

static fy_status run_softmax(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    work w = {.k = x->k, .x = in->data, .y = fy_step_out(s, x, 0)->data, .d = {1, 1, 1}, .log = s->node->op->name[0] == 'L'};
    int axis;
    FY_TRY(fy_axis(&axis, fy_attr_i(s->node, "axis"), in->rank, e));
    for (int i = 0; i < in->rank; i++) *(i < axis ? &w.d.outer : i == axis ? &w.d.n : &w.d.inner) *= in->dim[i];
    w.cols = (w.d.inner + WIDE - 1) / WIDE;
    if (w.d.n) fy_for(x->pool, w.d.outer * w.cols, 1 + 8192 / (w.d.n * WIDE), soft_cols, &w);
    return FY_OK;
}

#define REDUCE(var, Op) static const fy_impl var = {.op = Op, .name = "reduce", .can = can_reduce, .prepare = prepare, .run = run_reduce};
REDUCE(sum, "ReduceSum")
REDUCE(mean, "ReduceMean")
REDUCE(most, "ReduceMax")
REDUCE(least, "ReduceMin")
REDUCE(l1, "ReduceL1")
REDUCE(l2, "ReduceL2")
REDUCE(squares, "ReduceSumSquare")
REDUCE(global_average, "GlobalAveragePool")
REDUCE(global_max, "GlobalMaxPool")
REDUCE(log_sum_exp, "ReduceLogSumExp")
static const fy_impl softmax = {.op = "Softmax", .name = "softmax.columns", .can = can_softmax, .run = run_softmax, .flags = FY_IMPL_INPLACE};
static const fy_impl log_columns = {.op = "LogSoftmax", .name = "softmax.columns", .can = can_softmax, .run = run_softmax};
static const fy_impl log_softmax = {.op = "LogSoftmax", .name = "softmax.rows", .can = can_last, .run = run_log, .flags = FY_IMPL_INPLACE};

const fy_impl *const fy_cpu_reduce[] = {&sum, &mean, &most, &least, &l1, &l2, &squares, &global_average, &global_max, &log_sum_exp, &softmax, &log_softmax, &log_columns, NULL};
