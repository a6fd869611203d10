/* SPDX-License-Identifier: Apache-2.0
 * reduce.c - Reduce* over any axes, ArgMax, ArgMin. The input is seen with the reduced axes last, so that an output element
 * is one run of row-major indices; sums are in double, int64 or uint64. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

typedef enum kind { SUM, MEAN, MAX, MIN, PROD, L1, L2, LOG_SUM, LOG_SUM_EXP, SUM_SQUARE } kind;

static kind kind_of(const fy_node *n) {
    static const char *const name[] = {"Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"};
    for (int i = 0; i < 10; i++)
        if (!strcmp(n->op->name + 6, name[i])) return (kind)i;          /* after "Reduce" */
    return SUM;
}

/* Which axes: from the optional input; none there: all, or (noop) none. False in *known: they depend on run-time data. */
static fy_status axes_of(const int64_t *v, int64_t n, int rank, const fy_node *node, bool *reduced, ferry_error *e) {
    int axis;
    for (int i = 0; i < rank; i++) reduced[i] = n == 0 && !fy_attr_i(node, "noop_with_empty_axes");
    for (int64_t i = 0; i < n; i++) {
        FY_TRY(fy_axis(&axis, v[i], rank, e));
        FY_NEED(e, !reduced[axis], VALUE, "axis %d is given twice", axis);
        reduced[axis] = true;
    }
    return FY_OK;
}

/* Contents: product, sum, least, greatest of a shape. */
static fy_status carry(fy_infer *f) {
    int64_t n, out = 1;
    kind k = kind_of(f->node);
    const fy_dim *const *x = fy_in_elems(f, 0, &n), *acc;
    if (!x || n < 1 || fy_in_rank(f, 0) != 1 || (k != SUM && k != PROD && k != MAX && k != MIN)) return FY_OK;
    for (int i = 0; i < f->out[0].type.rank; i++)
        if (!fy_dim_is(f->out[0].type.dim[i], 1)) out = 0;
    if (!out) return FY_OK;
    acc = x[0];
    for (int64_t i = 1; i < n && acc; i++) {
        bool ge, le;
        fy_k_order(f, acc, x[i], &ge, &le);
        acc = k == SUM ? fy_dim_add(f->dims, acc, x[i]) : k == PROD ? fy_dim_mul(f->dims, acc, x[i]) : k == MAX ? (ge ? acc : le ? x[i] : fy_dim_max(f->dims, acc, x[i]))
                                                                                                                 : (le ? acc : ge ? x[i] : fy_dim_min(f->dims, acc, x[i]));
    }
    return acc ? fy_out_elems(f, 0, 1, &acc) : FY_OK;
}

static fy_status infer_reduce(fy_infer *f) {
    int64_t v[FY_MAX_RANK], n = 0, given;
    bool keep = fy_attr_i(f->node, "keepdims"), reduced[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), out = 0;
    const fy_dim *dim[FY_MAX_RANK];
    fy_dtype t = fy_in_dtype(f, 0);
    if (rank < 0) return fy_out_set(f, 0, t, -1, NULL);
    if (fy_in_has(f, 1)) {
        int ra;
        FY_TRY(fy_k_rank(f, 1, 0, 1, &ra));
        if (!fy_in_ints(f, 1, v, FY_MAX_RANK, &n)) {
            bool sized = ra == 1 && fy_dim_known(fy_in_dim(f, 1, 0), &given);
            FY_NEED(f->e, !sized || given <= rank, VALUE, "%lld axes for rank %d", (long long)given, rank);
            if (!keep && (!sized || given == 0)) return fy_out_set(f, 0, t, -1, NULL);
            int kept = keep ? rank : rank - (int)(given < rank ? given : rank);
            for (int i = 0; i < kept; i++) dim[i] = fy_dim_opaque(f->dims, "reduced");
            return fy_out_set(f, 0, t, kept, dim);
        }
    }
    FY_TRY(axes_of(v, n, rank, f->node, reduced, f->e));
    for (int i = 0; i < rank; i++)
        if (!reduced[i] || keep) dim[out++] = reduced[i] ? fy_dim_const(f->dims, 1) : fy_in_dim(f, 0, i);
    FY_TRY(fy_out_set(f, 0, t, out, dim));
    return carry(f);
}

typedef struct reduce { fy_tensor x; fy_tensor *y; int64_t n; kind k; fy_class c; } reduce;

static double start_f(kind k) { return k == MAX ? -HUGE_VAL : k == MIN ? HUGE_VAL : k == PROD ? 1 : 0; }

/* m, s: the greatest so far, and sum of e^(x - m). NaN in s stays there. */
static void add_exp(double *m, double *s, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (x[i] > *m) {
            *s = *m == -HUGE_VAL && *s == *s ? 0 : *s * exp(*m - x[i]);
            *m = x[i];
        }
        if (x[i] == *m && fabs(x[i]) == HUGE_VAL) *s = *s == *s ? 1 : *s;
        else *s += exp(x[i] - *m);
    }
}

static double step_f(kind k, double a, const double *x, int64_t n) {
    switch (k) {
    case SUM: case MEAN: case LOG_SUM: for (int64_t i = 0; i < n; i++) a += x[i]; break;
    case MAX: for (int64_t i = 0; i < n; i++) a = x[i] > a || x[i] != x[i] ? x[i] : a; break;
    case MIN: for (int64_t i = 0; i < n; i++) a = x[i] < a || x[i] != x[i] ? x[i] : a; break;
    case PROD: for (int64_t i = 0; i < n; i++) a *= x[i]; break;
    case L1: for (int64_t i = 0; i < n; i++) a += fabs(x[i]); break;
    case L2: case SUM_SQUARE: for (int64_t i = 0; i < n; i++) a += x[i] * x[i]; break;
    case LOG_SUM_EXP: break;
    }
    return a;
}

static double end_f(kind k, double a, double m, int64_t n) {
    switch (k) {
    case MEAN: return a / (double)n;
    case L2: return sqrt(a);
    case LOG_SUM: return log(a);
    case LOG_SUM_EXP: return n ? m + log(a) : -HUGE_VAL;
    case SUM: case MAX: case MIN: case PROD: case L1: case SUM_SQUARE: break;
    }
    return a;
}

/* Short rows are read several at a time. */
static void reduce_f(void *arg, int64_t begin, int64_t end) {
    const reduce *w = arg;
    double x[FY_K_BLOCK], y[256];
    int64_t batch = w->n && w->n < FY_K_BLOCK ? FY_K_BLOCK / w->n : 1;
    if (batch > 256) batch = 256;
    for (int64_t r = begin; r < end; r += batch) {
        int64_t rows = end - r < batch ? end - r : batch;
        if (w->n && w->n < FY_K_BLOCK) {
            fy_load_f64(x, &w->x, r * w->n, rows * w->n);
            for (int64_t i = 0; i < rows; i++) {
                double m = -HUGE_VAL, s = 0;
                if (w->k == LOG_SUM_EXP) add_exp(&m, &s, x + i * w->n, w->n);
                else s = step_f(w->k, start_f(w->k), x + i * w->n, w->n);
                y[i] = end_f(w->k, s, m, w->n);
            }
        } else {
            double m = -HUGE_VAL, s = w->k == LOG_SUM_EXP ? 0 : start_f(w->k);
            for (int64_t at = 0; at < w->n; at += FY_K_BLOCK) {
                int64_t n = w->n - at < FY_K_BLOCK ? w->n - at : FY_K_BLOCK;
                fy_load_f64(x, &w->x, r * w->n + at, n);
                if (w->k == LOG_SUM_EXP) add_exp(&m, &s, x, n);
                else s = step_f(w->k, s, x, n);
            }
            y[0] = end_f(w->k, s, m, w->n);
        }
        fy_store_f64(w->y, r, rows, y);
    }
}

/* Integers: everything wraps but the greatest and least; means and roots go through double. */
#define REDUCE_INT(name, T, load, store, lowest, highest)                                                                \
    static void name(void *arg, int64_t begin, int64_t end) {                                                            \
        const reduce *w = arg;                                                                                           \
        T x[FY_K_BLOCK];                                                                                                 \
        for (int64_t r = begin; r < end; r++) {                                                                          \
            T best = w->k == MAX ? lowest : highest, y;                                                                  \
            uint64_t a = w->k == PROD ? 1 : 0;                                                                           \
            double d = 0;                                                                                                \
            for (int64_t at = 0; at < w->n; at += FY_K_BLOCK) {                                                          \
                int64_t n = w->n - at < FY_K_BLOCK ? w->n - at : FY_K_BLOCK;                                             \
                load(x, &w->x, r * w->n + at, n);                                                                        \
                for (int64_t i = 0; i < n; i++) {                                                                        \
                    uint64_t v = (uint64_t)x[i];                                                                         \
                    if (w->k == MAX ? x[i] > best : x[i] < best) best = x[i];                                            \
                    if (w->k == PROD) a *= v;                                                                            \
                    else if (w->k == L1) a += x[i] < 1 && v ? 0 - v : v;                                                 \
                    else if (w->k == SUM_SQUARE) a += v * v;                                                             \
                    else if (w->k == SUM) a += v;                                                                        \
                    else if (w->k == L2) d += (double)x[i] * (double)x[i];                                               \
                    else d += (double)x[i];                                                                              \
                }                                                                                                        \
            }                                                                                                            \
            if (w->k == MEAN) fy_put_f64(w->y, r, d / (double)w->n);                                                     \
            else if (w->k == L2) fy_put_f64(w->y, r, sqrt(d));                                                           \
            else if (w->k == LOG_SUM || w->k == LOG_SUM_EXP) fy_put_f64(w->y, r, log(d));                                \
            else {                                                                                                       \
                y = w->k == MAX || w->k == MIN ? best : (T)a;                                                            \
                store(w->y, r, 1, &y);                                                                                   \
            }                                                                                                            \
        }                                                                                                                \
    }
REDUCE_INT(reduce_i, int64_t, fy_load_i64, fy_store_i64, INT64_MIN, INT64_MAX)
REDUCE_INT(reduce_u, uint64_t, fy_load_u64, fy_store_u64, 0, UINT64_MAX)

/* The greatest of nothing is the least value of the dtype (and the other way round). */
static void fill_empty(const reduce *w, int64_t count) {
    int bits = fy_dtype_bits(w->y->dtype);
    bool max = w->k == MAX;
    int64_t greatest = (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
    for (int64_t i = 0; i < count; i++) {
        if (w->c == FY_CLASS_B) fy_put_i64(w->y, i, !max);
        else if (w->c == FY_CLASS_U) fy_put_u64(w->y, i, max ? 0 : UINT64_MAX);
        else fy_put_i64(w->y, i, max ? -greatest - 1 : greatest);
    }
}

static fy_status ref_reduce(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *axes = fy_arg(c, 1);
    fy_tensor *y = fy_res(c, 0);
    bool reduced[FY_MAX_RANK];
    int64_t v[FY_MAX_RANK], n = axes ? fy_count(axes) : 0;
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, fy_k_numeric(x), TYPE, "not defined on %s", fy_dtype_name(x->dtype));
    FY_NEED(c->e, n <= x->rank, VALUE, "%lld axes for rank %d", (long long)n, x->rank);
    if (n) fy_load_i64(v, axes, 0, n);
    FY_TRY(axes_of(v, n, x->rank, c->node, reduced, c->e));
    reduce w = {.x = {.dtype = x->dtype, .data = x->data, .rank = x->rank}, .y = y, .n = 1, .k = kind_of(c->node), .c = fy_dtype_class(x->dtype)};
    int at = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < x->rank; i++) {
            if (reduced[i] != (pass == 1)) continue;
            w.x.dim[at] = x->dim[i];
            w.x.stride[at++] = x->stride[i];
            if (reduced[i]) w.n *= x->dim[i];
        }
    if (!n && fy_attr_i(c->node, "noop_with_empty_axes") && (w.k == SUM || w.k == MEAN || w.k == MAX || w.k == MIN || w.k == PROD)) {
        fy_tensor_copy(y, x);
        return FY_OK;
    }
    if (w.n == 0 && w.c != FY_CLASS_F && (w.k == MAX || w.k == MIN)) {
        fill_empty(&w, fy_count(y));
        return FY_OK;
    }
    int64_t grain = w.n ? FY_K_GRAIN / w.n : FY_K_GRAIN;
    fy_k_for(c, fy_count(y), grain < 1 ? 1 : grain, w.c == FY_CLASS_F ? reduce_f : w.c == FY_CLASS_U ? reduce_u : reduce_i, &w);
    return FY_OK;
}

static const fy_attr_spec attrs[] = {{"keepdims", FY_ATTR_INT, "1"}, {"noop_with_empty_axes", FY_ATTR_INT, "0"}, {0}};
#define REDUCE(var, Name, T, since_)                                                                                     \
    const fy_op fy_op_reduce_##var = {.name = "Reduce" Name, .domain = "", .attrs = attrs, .min_in = 1, .max_in = 2, .min_out = 1, .max_out = 1, \
        .first = 1, .since = since_, .types = "T=" T "|T,i64|T", .infer = infer_reduce, .ref = ref_reduce, .flags = FY_PURE};
REDUCE(sum, "Sum", FY_T_WIDE, 13)
REDUCE(mean, "Mean", FY_T_WIDE, 18)
REDUCE(max, "Max", FY_T_WIDE ",u8,i8,bool", 18)
REDUCE(min, "Min", FY_T_WIDE ",u8,i8,bool", 18)
REDUCE(prod, "Prod", FY_T_WIDE, 18)
REDUCE(l1, "L1", FY_T_WIDE, 18)
REDUCE(l2, "L2", FY_T_WIDE, 18)
REDUCE(log_sum, "LogSum", FY_T_WIDE, 18)
REDUCE(log_sum_exp, "LogSumExp", FY_T_WIDE, 18)
REDUCE(sum_square, "SumSquare", FY_T_WIDE, 18)

/* ---- ArgMax, ArgMin ------------------------------------------------------------------------------------------------ */

static fy_status infer_arg(fy_infer *f) {
    int rank = fy_in_rank(f, 0), axis, out = 0;
    const fy_dim *dim[FY_MAX_RANK];
    int64_t v;
    if (rank < 0) return fy_out_set(f, 0, FERRY_INT64, -1, NULL);
    FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank, f->e));
    FY_NEED(f->e, !fy_dim_known(fy_in_dim(f, 0, axis), &v) || v > 0, SHAPE, "there is no greatest or least along axis %d of size 0", axis);
    for (int i = 0; i < rank; i++)
        if (i != axis || fy_attr_i(f->node, "keepdims")) dim[out++] = i == axis ? fy_dim_const(f->dims, 1) : fy_in_dim(f, 0, i);
    return fy_out_set(f, 0, FERRY_INT64, out, dim);
}

typedef struct arg_job { fy_tensor x; int64_t *y, n; bool max, last; fy_class c; } arg_job;

/* NaN is the greatest and the least, the first one counts, as in NumPy. */
#define ARG(name, T, load)                                                                                               \
    static void name(void *arg, int64_t begin, int64_t end) {                                                            \
        const arg_job *w = arg;                                                                                          \
        T x[FY_K_BLOCK];                                                                                                 \
        for (int64_t r = begin; r < end; r++) {                                                                          \
            T best = 0;                                                                                                  \
            int64_t where = -1;                                                                                          \
            for (int64_t at = 0; at < w->n; at += FY_K_BLOCK) {                                                          \
                int64_t n = w->n - at < FY_K_BLOCK ? w->n - at : FY_K_BLOCK;                                             \
                load(x, &w->x, r * w->n + at, n);                                                                        \
                for (int64_t i = 0; i < n; i++)                                                                          \
                    if (where < 0 || (w->max ? x[i] > best : x[i] < best) || (w->last && x[i] == best) || (x[i] != x[i] && best == best)) { \
                        best = x[i];                                                                                     \
                        where = at + i;                                                                                  \
                    }                                                                                                    \
            }                                                                                                            \
            w->y[r] = where;                                                                                             \
        }                                                                                                                \
    }
ARG(arg_f, double, fy_load_f64)
ARG(arg_i, int64_t, fy_load_i64)
ARG(arg_u, uint64_t, fy_load_u64)

static fy_status ref_arg(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y = fy_res(c, 0);
    int axis;
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, fy_k_numeric(x), TYPE, "not defined on %s", fy_dtype_name(x->dtype));
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), x->rank, c->e));
    arg_job w = {fy_k_axis_last(x, axis), y->data, x->dim[axis], c->node->op->name[3] == 'M' && c->node->op->name[4] == 'a', fy_attr_i(c->node, "select_last_index"),
                 fy_dtype_class(x->dtype)};
    int64_t grain = FY_K_GRAIN / w.n;
    fy_k_for(c, fy_count(y), grain < 1 ? 1 : grain, w.c == FY_CLASS_F ? arg_f : w.c == FY_CLASS_U ? arg_u : arg_i, &w);
    return FY_OK;
}
static const fy_attr_spec arg_attrs[] = {{"axis", FY_ATTR_INT, "0"}, {"keepdims", FY_ATTR_INT, "1"}, {"select_last_index", FY_ATTR_INT, "0"}, {0}};
#define ARGOP(var, Name)                                                                                                 \
    const fy_op fy_op_##var = {.name = Name, .domain = "", .attrs = arg_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .first = 1, \
        .since = 12, .types = "T=" FY_T_NUM "|T|i64", .infer = infer_arg, .ref = ref_arg, .flags = FY_PURE};
ARGOP(arg_max, "ArgMax")
ARGOP(arg_min, "ArgMin")
