/* SPDX-License-Identifier: Apache-2.0
 * select.c - Where, of elements of every size; small powers of f32. */
#include "engines/cpu/move.h"

#include <string.h>

typedef struct work { void *y; const void *x[FY_SPAN]; } work;

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

static const fy_impl where = {.op = "Where", .name = "loop", .can = can_where, .run = run_where};
static const fy_impl power_impl = {.op = "Pow", .name = "power", .can = can_power, .run = run_power};

const fy_impl *const fy_cpu_select[] = {&where, &power_impl, NULL};
