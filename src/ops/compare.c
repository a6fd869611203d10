/* SPDX-License-Identifier: Apache-2.0
 * compare.c - Equal Greater GreaterOrEqual Less LessOrEqual IsNaN IsInf Where. Comparisons of sizes are decided as far as
 * the bounds of symbols prove them, so that Where over shapes stays symbolic. */
#include "ops/strings.h"

#include <math.h>
#include <string.h>

#define CMP (FY_PURE | FY_ELEMENTWISE)

typedef enum relation { EQ, GT, GE, LT, LE } relation;

static relation relation_of(const fy_node *n) {
    static const char *const name[] = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"};
    for (int i = 0; i < 5; i++)
        if (!strcmp(n->op->name, name[i])) return (relation)i;
    return EQ;
}

static const fy_dim *elem_compare(fy_infer *f, const fy_dim *a, const fy_dim *b) {
    bool ge, le;
    int o = fy_k_order(f, a, b, &ge, &le), yes = -1;                   /* yes: 1, no: 0, not known: -1 */
    switch (relation_of(f->node)) {
    case EQ: yes = o == 0 ? 1 : o == 2 ? -1 : 0; break;
    case GT: yes = o == 1 ? 1 : le ? 0 : -1; break;
    case GE: yes = ge ? 1 : o == -1 ? 0 : -1; break;
    case LT: yes = o == -1 ? 1 : ge ? 0 : -1; break;
    case LE: yes = le ? 1 : o == 1 ? 0 : -1; break;
    }
    return yes < 0 ? NULL : fy_dim_const(f->dims, yes);
}

static fy_status infer_compare(fy_infer *f) {
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(fy_k_broadcast(f, FERRY_BOOL));
    return fy_k_elems(f, elem_compare);
}

typedef struct compare { fy_tensor a, b; uint8_t *y; relation r; } compare;

#define COMPARE(name, T, load)                                                                                          \
    static void name(void *arg, int64_t begin, int64_t end) {                                                           \
        const compare *w = arg;                                                                                         \
        T a[FY_K_BLOCK], b[FY_K_BLOCK];                                                                                 \
        for (int64_t at = begin; at < end; at += FY_K_BLOCK) {                                                          \
            int64_t n = end - at < FY_K_BLOCK ? end - at : FY_K_BLOCK;                                                  \
            uint8_t *y = w->y + at;                                                                                     \
            load(a, &w->a, at, n);                                                                                      \
            load(b, &w->b, at, n);                                                                                      \
            switch (w->r) {                                                                                             \
            case EQ: for (int64_t i = 0; i < n; i++) y[i] = a[i] == b[i]; break;                                        \
            case GT: for (int64_t i = 0; i < n; i++) y[i] = a[i] > b[i]; break;                                         \
            case GE: for (int64_t i = 0; i < n; i++) y[i] = a[i] >= b[i]; break;                                        \
            case LT: for (int64_t i = 0; i < n; i++) y[i] = a[i] < b[i]; break;                                         \
            case LE: for (int64_t i = 0; i < n; i++) y[i] = a[i] <= b[i]; break;                                        \
            }                                                                                                           \
        }                                                                                                               \
    }
COMPARE(compare_f, double, fy_load_f64)
COMPARE(compare_i, int64_t, fy_load_i64)
COMPARE(compare_u, uint64_t, fy_load_u64)

static fy_status ref_compare(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0);
    const fy_tensor *a = fy_arg(c, 0), *b = fy_arg(c, 1);
    if (!y) return FY_OK;
    compare w = {fy_k_spread(a, y->rank, y->dim), fy_k_spread(b, y->rank, y->dim), y->data, relation_of(c->node)};
    if (a->dtype == FERRY_STRING && b->dtype == FERRY_STRING && w.r == EQ) {
        for (int64_t i = 0; i < fy_count(y); i++) w.y[i] = fy_str_equal(fy_k_str(&w.a, i), fy_k_str(&w.b, i));
        return FY_OK;
    }
    FY_NEED(c->e, fy_k_numeric(a) && fy_k_numeric(b), TYPE, "%s cannot be compared", fy_dtype_name(fy_k_numeric(a) ? b->dtype : a->dtype));
    bool f = fy_dtype_float(a->dtype), u = fy_dtype_class(a->dtype) == FY_CLASS_U;
    fy_k_for(c, fy_count(y), FY_K_GRAIN, f ? compare_f : u ? compare_u : compare_i, &w);
    return FY_OK;
}

#define COMPARISON(var, Name, since_, T, flags_)                                                                        \
    const fy_op fy_op_##var = {.name = Name, .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .first = since_ == 12 ? 12 : 1, \
        .since = since_, .types = "T=" T "|T,T|bool", .infer = infer_compare, .ref = ref_compare, .flags = CMP | (flags_)};
COMPARISON(equal, "Equal", 7, FY_T_NUM ",bool,str", FY_COMMUTES)
COMPARISON(greater, "Greater", 7, FY_T_NUM, 0)
COMPARISON(greater_or_equal, "GreaterOrEqual", 12, FY_T_NUM, 0)
COMPARISON(less, "Less", 7, FY_T_NUM, 0)
COMPARISON(less_or_equal, "LessOrEqual", 12, FY_T_NUM, 0)

/* ---- IsNaN, IsInf -------------------------------------------------------------------------------------------------- */

static fy_status infer_test(fy_infer *f) { return fy_out_set(f, 0, FERRY_BOOL, fy_in_rank(f, 0), fy_in_dims(f, 0)); }

#define UNARY_F(name, expr)                                                                                             \
    static void name(double *y, const double *a, const double *b, int64_t n, const double *p) {                         \
        (void)p;                                                                                                        \
        (void)b;                                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                                               \
            double x = a[i];                                                                                            \
            y[i] = (expr);                                                                                              \
        }                                                                                                               \
    }
UNARY_F(nan_f, x != x)
UNARY_F(inf_f, (x == HUGE_VAL && p[1] != 0) || (x == -HUGE_VAL && p[0] != 0))
static const fy_maps nan_maps = {nan_f, NULL, NULL}, inf_maps = {inf_f, NULL, NULL};
static fy_status ref_isnan(const fy_call *c) { return fy_k_fold(c, &nan_maps, false, NULL, NULL); }
static fy_status ref_isinf(const fy_call *c) {
    double p[2] = {(double)fy_attr_i(c->node, "detect_negative"), (double)fy_attr_i(c->node, "detect_positive")};
    return fy_k_fold(c, &inf_maps, false, NULL, p);
}
static const fy_attr_spec isinf_attrs[] = {{"detect_negative", FY_ATTR_INT, "1"}, {"detect_positive", FY_ATTR_INT, "1"}, {0}};
#define T_TEST "T=" FY_T_FLOAT "," FY_T_F8 "|T|bool"
const fy_op fy_op_is_nan = {.name = "IsNaN", .domain = "", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .first = 9, .since = 9, .types = T_TEST,
    .infer = infer_test, .ref = ref_isnan, .flags = CMP};
const fy_op fy_op_is_inf = {.name = "IsInf", .domain = "", .attrs = isinf_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .first = 10,
    .since = 10, .types = T_TEST, .infer = infer_test, .ref = ref_isinf, .flags = CMP};

/* ---- Where --------------------------------------------------------------------------------------------------------- */

static fy_status infer_where(fy_infer *f) {
    fy_dtype x = fy_in_dtype(f, 1), y = fy_in_dtype(f, 2), c = fy_in_dtype(f, 0);
    FY_NEED(f->e, !x || !y || x == y, TYPE, "one choice is %s, the other %s", fy_dtype_name(x), fy_dtype_name(y));
    FY_NEED(f->e, !c || c == FERRY_BOOL, TYPE, "the condition is %s, not bool", fy_dtype_name(c));
    int rank;
    const fy_dim *dim[FY_MAX_RANK];
    FY_TRY(fy_broadcast(f, 3, (int[]){0, 1, 2}, &rank, dim));
    FY_TRY(fy_out_set(f, 0, x ? x : y, rank, rank < 0 ? NULL : dim));
    int64_t n[3], most = 1;
    const fy_dim *const *el[3];
    for (int i = 0; i < 3; i++) {
        el[i] = fy_in_elems(f, i, &n[i]);
        if ((i && !el[i]) || fy_in_rank(f, i) > 1 || fy_in_rank(f, i) < 0) return FY_OK;
        if (!el[i] && fy_in_rank(f, i) == 0) n[i] = 1;
        if (!el[i] && fy_in_rank(f, i) == 1 && !fy_dim_known(fy_in_dim(f, i, 0), &n[i])) return FY_OK;
        if (n[i] != 1) most = n[i];
    }
    const fy_dim **out = FY_NEWN(f->arena, const fy_dim *, most);
    FY_NOMEM(f->e, out);
    for (int64_t i = 0; i < most; i++) {
        const fy_dim *k = el[0] ? el[0][n[0] == 1 ? 0 : i] : NULL, *a = el[1][n[1] == 1 ? 0 : i], *b = el[2][n[2] == 1 ? 0 : i];
        int64_t yes;
        if (a == b) out[i] = a;
        else if (fy_dim_known(k, &yes)) out[i] = yes ? a : b;
        else if (most > 64) return FY_OK;
        else out[i] = fy_dim_element(f->dims, "Where", a->lo < b->lo ? a->lo : b->lo, a->hi > b->hi ? a->hi : b->hi);
    }
    return most <= FY_MAX_ELEM ? fy_out_elems(f, 0, most, out) : FY_OK;
}

typedef struct choose { fy_tensor c, a, b, *y; } choose;

/* Every element is moved by its bytes: exact for all dtypes. */
#define CHOOSE(T)                                                                                                       \
    for (int64_t i = 0; i < n; i++) ((T *)w->y->data)[at + i] = pick[i] ? ((const T *)a)[i] : ((const T *)b)[i]
static void choose_range(void *arg, int64_t begin, int64_t end) {
    const choose *w = arg;
    int64_t pick[256];
    union { uint64_t u[512]; fy_str s[256]; } left, right;
    int size = fy_elem_bytes(w->y->dtype);
    for (int64_t at = begin; at < end; at += 256) {
        int64_t n = end - at < 256 ? end - at : 256;
        const void *a = fy_k_bytes(&w->a, at, n, &left), *b = fy_k_bytes(&w->b, at, n, &right);
        fy_load_i64(pick, &w->c, at, n);
        if (size == 4) CHOOSE(uint32_t);
        else if (size == 8) CHOOSE(uint64_t);
        else if (size == 2) CHOOSE(uint16_t);
        else if (size == 1) CHOOSE(uint8_t);
        else CHOOSE(fy_str);
    }
}

static fy_status ref_where(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0);
    if (!y) return FY_OK;
    choose w = {fy_k_spread(fy_arg(c, 0), y->rank, y->dim), fy_k_spread(fy_arg(c, 1), y->rank, y->dim), fy_k_spread(fy_arg(c, 2), y->rank, y->dim), y};
    fy_k_for(c, fy_count(y), FY_K_GRAIN, choose_range, &w);
    return FY_OK;
}
static fy_value *simplify_where(fy_node *n) {
    fy_value *v = fy_k_all(fy_in(n, 0), 1) ? fy_in(n, 1) : fy_k_all(fy_in(n, 0), 0) ? fy_in(n, 2) : fy_in(n, 1) == fy_in(n, 2) ? fy_in(n, 1) : NULL;
    return v && fy_k_keeps(n, v) ? v : NULL;
}
const fy_op fy_op_where = {.name = "Where", .domain = "", .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1, .first = 9, .since = 9,
    .types = "T=" FY_T_NUM ",str,bool,c64,c128|bool,T,T|T", .infer = infer_where, .ref = ref_where, .simplify = simplify_where, .flags = CMP};
