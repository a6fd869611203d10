/* SPDX-License-Identifier: Apache-2.0
 * select.c - Where, comparisons, logic, Cast, and arithmetic of integers and f64, by plain loops over broadcast operands that the compiler
 * makes vectors of. Quotients of integers stay with the reference kernels, which know what to do about zero. */
#include "engines/cpu/move.h"

#include "base/half.h"

#include <string.h>

typedef struct work { void *y; const void *x[FY_SPAN]; } work;
typedef void loop(void *ctx, const fy_span *s, int64_t y, const int64_t *at, int64_t n);

/* y = expr of a and b, where either may stand still. */
#define LOOP2(name, R, T, expr) \
    static void name(void *ctx, const fy_span *s, int64_t to, const int64_t *at, int64_t n) { \
        const work *w = ctx; \
        R *y = (R *)w->y + to; \
        const T *p = (const T *)w->x[0] + at[0], *q = (const T *)w->x[1] + at[1]; \
        if (s->moves[0] && s->moves[1]) for (int64_t i = 0; i < n; i++) { T a = p[i], b = q[i]; y[i] = (R)(expr); } \
        else if (s->moves[0]) for (int64_t i = 0; i < n; i++) { T a = p[i], b = *q; y[i] = (R)(expr); } \
        else if (s->moves[1]) for (int64_t i = 0; i < n; i++) { T a = *p, b = q[i]; y[i] = (R)(expr); } \
        else for (int64_t i = 0; i < n; i++) { T a = *p, b = *q; y[i] = (R)(expr); } \
    }

#define COMPARE(T, name) \
    LOOP2(eq_##name, uint8_t, T, a == b) LOOP2(lt_##name, uint8_t, T, a < b) LOOP2(le_##name, uint8_t, T, a <= b) \
    LOOP2(gt_##name, uint8_t, T, a > b) LOOP2(ge_##name, uint8_t, T, a >= b)
COMPARE(float, f32)
COMPARE(double, f64)
COMPARE(int32_t, i32)
COMPARE(int64_t, i64)
COMPARE(uint8_t, u8)
LOOP2(and_u8, uint8_t, uint8_t, a & b)
LOOP2(or_u8, uint8_t, uint8_t, a | b)
LOOP2(xor_u8, uint8_t, uint8_t, a ^ b)
/* wrapping, as two's complement */
LOOP2(add_u32, uint32_t, uint32_t, a + b)
LOOP2(sub_u32, uint32_t, uint32_t, a - b)
LOOP2(mul_u32, uint32_t, uint32_t, a * b)
LOOP2(add_u64, uint64_t, uint64_t, a + b)
LOOP2(sub_u64, uint64_t, uint64_t, a - b)
LOOP2(mul_u64, uint64_t, uint64_t, a * b)
LOOP2(add_f64, double, double, a + b)
LOOP2(sub_f64, double, double, a - b)
LOOP2(mul_f64, double, double, a * b)
LOOP2(div_f64, double, double, a / b)
LOOP2(max_i32, int32_t, int32_t, a > b ? a : b)
LOOP2(min_i32, int32_t, int32_t, a < b ? a : b)
LOOP2(max_i64, int64_t, int64_t, a > b ? a : b)
LOOP2(min_i64, int64_t, int64_t, a < b ? a : b)
LOOP2(max_f32, float, float, a > b || a != a ? a : b)
LOOP2(min_f32, float, float, a < b || a != a ? a : b)
LOOP2(add_f32, float, float, a + b)
LOOP2(prelu_f32, float, float, a < 0 ? a * b : a)

static const struct { const char *op; fy_dtype t; loop *fn; } table[] = {
    {"Equal", FERRY_FLOAT, eq_f32}, {"Equal", FERRY_DOUBLE, eq_f64}, {"Equal", FERRY_INT32, eq_i32}, {"Equal", FERRY_INT64, eq_i64}, {"Equal", FERRY_BOOL, eq_u8}, {"Equal", FERRY_UINT8, eq_u8},
    {"Less", FERRY_FLOAT, lt_f32}, {"Less", FERRY_DOUBLE, lt_f64}, {"Less", FERRY_INT32, lt_i32}, {"Less", FERRY_INT64, lt_i64}, {"Less", FERRY_UINT8, lt_u8},
    {"LessOrEqual", FERRY_FLOAT, le_f32}, {"LessOrEqual", FERRY_DOUBLE, le_f64}, {"LessOrEqual", FERRY_INT32, le_i32}, {"LessOrEqual", FERRY_INT64, le_i64}, {"LessOrEqual", FERRY_UINT8, le_u8},
    {"Greater", FERRY_FLOAT, gt_f32}, {"Greater", FERRY_DOUBLE, gt_f64}, {"Greater", FERRY_INT32, gt_i32}, {"Greater", FERRY_INT64, gt_i64}, {"Greater", FERRY_UINT8, gt_u8},
    {"GreaterOrEqual", FERRY_FLOAT, ge_f32}, {"GreaterOrEqual", FERRY_DOUBLE, ge_f64}, {"GreaterOrEqual", FERRY_INT32, ge_i32}, {"GreaterOrEqual", FERRY_INT64, ge_i64},
    {"GreaterOrEqual", FERRY_UINT8, ge_u8}, {"And", FERRY_BOOL, and_u8}, {"Or", FERRY_BOOL, or_u8}, {"Xor", FERRY_BOOL, xor_u8},
    {"Add", FERRY_INT32, add_u32}, {"Add", FERRY_UINT32, add_u32}, {"Add", FERRY_INT64, add_u64}, {"Add", FERRY_UINT64, add_u64}, {"Add", FERRY_DOUBLE, add_f64},
    {"Sub", FERRY_INT32, sub_u32}, {"Sub", FERRY_UINT32, sub_u32}, {"Sub", FERRY_INT64, sub_u64}, {"Sub", FERRY_UINT64, sub_u64}, {"Sub", FERRY_DOUBLE, sub_f64},
    {"Mul", FERRY_INT32, mul_u32}, {"Mul", FERRY_UINT32, mul_u32}, {"Mul", FERRY_INT64, mul_u64}, {"Mul", FERRY_UINT64, mul_u64}, {"Mul", FERRY_DOUBLE, mul_f64}, {"Div", FERRY_DOUBLE, div_f64},
    {"Max", FERRY_INT32, max_i32}, {"Max", FERRY_INT64, max_i64}, {"Max", FERRY_FLOAT, max_f32}, {"Min", FERRY_INT32, min_i32}, {"Min", FERRY_INT64, min_i64}, {"Min", FERRY_FLOAT, min_f32},
    {"Sum", FERRY_FLOAT, add_f32}, {"PRelu", FERRY_FLOAT, prelu_f32}};

static loop *loop_of(const fy_node *n) {
    for (int i = 0; i < FY_COUNT(table); i++)
        if (!strcmp(table[i].op, n->op->name) && table[i].t == fy_in(n, 0)->type.dtype) return table[i].fn;
    return NULL;
}

static const char *can_pair(const fy_site *s) {
    const fy_node *n = s->node;
    if (n->nin != 2 || !fy_in(n, 1) || fy_in(n, 1)->type.dtype != fy_in(n, 0)->type.dtype) return "not two operands of one dtype";
    return loop_of(n) ? NULL : "another dtype";
}

static fy_status run_pair(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in[2] = {fy_step_in(s, x, 0), fy_step_in(s, x, 1)};
    fy_tensor *y = fy_step_out(s, x, 0);
    work w = {.y = y->data, .x = {in[0]->data, in[1]->data}};
    fy_span span = {.fn = loop_of(s->node), .ctx = &w};
    FY_NEED(e, fy_span_make(&span, y, 2, in), SHAPE, "the operands cannot be broadcast");
    fy_span_run(&span, x->pool);
    return FY_OK;
}

/* ---- Where ----------------------------------------------------------------------------------------------------------------- */

#define LOOP3(name, T) \
    static void name(void *ctx, const fy_span *s, int64_t to, const int64_t *at, int64_t n) { \
        const work *w = ctx; \
        T *y = (T *)w->y + to; \
        const uint8_t *c = (const uint8_t *)w->x[0] + at[0]; \
        const T *p = (const T *)w->x[1] + at[1], *q = (const T *)w->x[2] + at[2]; \
        int64_t b = s->moves[1], d = s->moves[2]; \
        if (!s->moves[0]) { \
            const T *from = *c ? p : q; \
            int64_t step = *c ? b : d; \
            if (step) memcpy(y, from, (size_t)n * sizeof *y); \
            else fy_fill(y, from, n, (int)sizeof *y); \
        } else if (b && d) for (int64_t i = 0; i < n; i++) y[i] = c[i] ? p[i] : q[i]; \
        else if (b) { T v = *q; for (int64_t i = 0; i < n; i++) y[i] = c[i] ? p[i] : v; } \
        else if (d) { T v = *p; for (int64_t i = 0; i < n; i++) y[i] = c[i] ? v : q[i]; } \
        else { T v = *p, u = *q; for (int64_t i = 0; i < n; i++) y[i] = c[i] ? v : u; } \
    }
LOOP3(where_1, uint8_t)
LOOP3(where_2, uint16_t)
LOOP3(where_4, uint32_t)
LOOP3(where_8, uint64_t)

static const char *can_where(const fy_site *s) { return fy_movable(fy_in(s->node, 1)) && fy_movable(fy_outv(s->node, 0)) ? NULL : "elements of another size"; }

static fy_status run_where(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in[3] = {fy_step_in(s, x, 0), fy_step_in(s, x, 1), fy_step_in(s, x, 2)};
    fy_tensor *y = fy_step_out(s, x, 0);
    int bytes = fy_elem_bytes(y->dtype);
    work w = {.y = y->data, .x = {in[0]->data, in[1]->data, in[2]->data}};
    fy_span span = {.fn = bytes == 1 ? where_1 : bytes == 2 ? where_2 : bytes == 4 ? where_4 : where_8, .ctx = &w};
    FY_NEED(e, fy_span_make(&span, y, 3, in), SHAPE, "the operands cannot be broadcast");
    fy_span_run(&span, x->pool);
    return FY_OK;
}

/* ---- of one operand -------------------------------------------------------------------------------------------------------- */

#define LOOP1(name, R, T, expr) \
    static void name(void *ctx, const fy_span *s, int64_t to, const int64_t *at, int64_t n) { \
        const work *w = ctx; \
        R *y = (R *)w->y + to; \
        const T *p = (const T *)w->x[0] + at[0]; \
        (void)s; \
        for (int64_t i = 0; i < n; i++) { T a = p[i]; y[i] = (R)(expr); } \
    }
LOOP1(not_u8, uint8_t, uint8_t, !a)
LOOP1(nan_f32, uint8_t, float, a != a)
LOOP1(f32_f64, double, float, a)
LOOP1(f64_f32, float, double, a)
LOOP1(i32_i64, int64_t, int32_t, a)
LOOP1(i64_i32, int32_t, int64_t, (uint32_t)(uint64_t)a)
LOOP1(i32_f32, float, int32_t, a)
LOOP1(i64_f32, float, int64_t, a)
LOOP1(i32_f64, double, int32_t, a)
LOOP1(i64_f64, double, int64_t, a)
LOOP1(f32_i32, int32_t, float, a != a ? 0 : a >= 2147483648.0f ? INT32_MAX : a < -2147483648.0f ? INT32_MIN : (int32_t)a)
LOOP1(f32_i64, int64_t, float, a != a ? 0 : a >= 9223372036854775808.0f ? INT64_MAX : a < -9223372036854775808.0f ? INT64_MIN : (int64_t)a)
LOOP1(u8_f32, float, uint8_t, a)
LOOP1(u8_i32, int32_t, uint8_t, a)
LOOP1(u8_i64, int64_t, uint8_t, a)
LOOP1(f32_bool, uint8_t, float, a != 0)
LOOP1(i32_bool, uint8_t, int32_t, a != 0)
LOOP1(i64_bool, uint8_t, int64_t, a != 0)
LOOP1(f16_f32, float, uint16_t, fy_half_to_f32(a))
LOOP1(f32_f16, uint16_t, float, fy_half_from_f64(a))
LOOP1(bf16_f32, float, uint16_t, fy_bf16_to_f32(a))
LOOP1(f32_bf16, uint16_t, float, fy_bf16_from_f64(a))

static const struct { fy_dtype from, to; loop *fn; } casts[] = {
    {FERRY_FLOAT, FERRY_DOUBLE, f32_f64}, {FERRY_DOUBLE, FERRY_FLOAT, f64_f32}, {FERRY_INT32, FERRY_INT64, i32_i64}, {FERRY_INT64, FERRY_INT32, i64_i32},
    {FERRY_INT32, FERRY_FLOAT, i32_f32}, {FERRY_INT64, FERRY_FLOAT, i64_f32}, {FERRY_INT32, FERRY_DOUBLE, i32_f64}, {FERRY_INT64, FERRY_DOUBLE, i64_f64},
    {FERRY_FLOAT, FERRY_INT32, f32_i32}, {FERRY_FLOAT, FERRY_INT64, f32_i64}, {FERRY_BOOL, FERRY_FLOAT, u8_f32}, {FERRY_UINT8, FERRY_FLOAT, u8_f32},
    {FERRY_BOOL, FERRY_INT32, u8_i32}, {FERRY_UINT8, FERRY_INT32, u8_i32}, {FERRY_BOOL, FERRY_INT64, u8_i64}, {FERRY_UINT8, FERRY_INT64, u8_i64},
    {FERRY_FLOAT, FERRY_BOOL, f32_bool}, {FERRY_INT32, FERRY_BOOL, i32_bool}, {FERRY_INT64, FERRY_BOOL, i64_bool},
    {FERRY_FLOAT16, FERRY_FLOAT, f16_f32}, {FERRY_FLOAT, FERRY_FLOAT16, f32_f16}, {FERRY_BFLOAT16, FERRY_FLOAT, bf16_f32}, {FERRY_FLOAT, FERRY_BFLOAT16, f32_bf16}};

static loop *single_of(const fy_node *n) {
    fy_dtype from = fy_in(n, 0)->type.dtype, to = fy_outv(n, 0)->type.dtype;
    if (!strcmp(n->op->name, "Not")) return from == FERRY_BOOL ? not_u8 : NULL;
    if (!strcmp(n->op->name, "IsNaN")) return from == FERRY_FLOAT ? nan_f32 : NULL;
    for (int i = 0; i < FY_COUNT(casts); i++)
        if (casts[i].from == from && casts[i].to == to) return casts[i].fn;
    return NULL;
}

static const char *can_single(const fy_site *s) { return single_of(s->node) ? NULL : "another dtype"; }

static fy_status run_single(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    work w = {.y = y->data, .x = {in->data}};
    fy_span span = {.fn = single_of(s->node), .ctx = &w};
    FY_NEED(e, fy_span_make(&span, y, 1, &in), SHAPE, "sizes differ");
    fy_span_run(&span, x->pool);
    return FY_OK;
}

/* ---- small powers ------------------------------------------------------------------------------------------------------------ */

static const char *can_power(const fy_site *s) {
    const fy_value *x = fy_in(s->node, 0), *p = fy_in(s->node, 1);
    double e;
    if (!fy_cpu_f32(x) || !p || !p->constant || p->constant->count != 1 || p->type.rank > x->type.rank || !fy_const_f64(p->constant, 0, &e)) return "no constant exponent";
    return e == 2 || e == 3 || e == -1 ? NULL : "another exponent than -1, 2 and 3";
}

typedef struct power { const fy_kernels *k; const float *x; float *y; double e; } power;

static void power_piece(void *arg, int64_t begin, int64_t end) {
    const power *w = arg;
    float *y = w->y + begin;
    w->k->unary[w->e < 0 ? FY_ACT_RECIP : FY_ACT_SQUARE](y, w->x + begin, end - begin, NULL);
    if (w->e == 3) w->k->binary[FY_MUL](y, y, w->x + begin, end - begin, 0);
}

static fy_status run_power(const fy_step *s, fy_exec *x, ferry_error *e) {
    fy_tensor *y = fy_step_out(s, x, 0);
    power w = {.k = x->k, .x = fy_step_in(s, x, 0)->data, .y = y->data};
    FY_NEED(e, fy_const_f64(s->node->in[1].value->constant, 0, &w.e), INTERNAL, "the exponent");
    fy_for(x->pool, fy_count(y), 16384, power_piece, &w);
    return FY_OK;
}

#define PAIR(var, Op) static const fy_impl var = {.op = Op, .name = "loop", .can = can_pair, .run = run_pair};
PAIR(equal, "Equal")
PAIR(less, "Less")
PAIR(less_equal, "LessOrEqual")
PAIR(greater, "Greater")
PAIR(greater_equal, "GreaterOrEqual")
PAIR(both, "And")
PAIR(either, "Or")
PAIR(one_of, "Xor")
PAIR(add, "Add")
PAIR(sub, "Sub")
PAIR(mul, "Mul")
PAIR(quotient, "Div")
PAIR(most, "Max")
PAIR(least, "Min")
PAIR(sum, "Sum")
PAIR(prelu, "PRelu")
static const fy_impl where = {.op = "Where", .name = "loop", .can = can_where, .run = run_where};
static const fy_impl power_impl = {.op = "Pow", .name = "power", .can = can_power, .run = run_power};
static const fy_impl negate = {.op = "Not", .name = "loop", .can = can_single, .run = run_single};
static const fy_impl is_nan = {.op = "IsNaN", .name = "loop", .can = can_single, .run = run_single};
static const fy_impl cast = {.op = "Cast", .name = "loop", .can = can_single, .run = run_single};

const fy_impl *const fy_cpu_select[] = {&equal, &less, &less_equal, &greater, &greater_equal, &both, &either, &one_of, &add, &sub, &mul, &quotient, &most, &least, &sum, &prelu, &where, &power_impl,
                                        &negate, &is_nan, &cast, NULL};
