/* SPDX-License-Identifier: Apache-2.0
 * quantize.c - QuantizeLinear and DequantizeLinear by one scale or one for each index of an axis, DynamicQuantizeLinear: in blocks that stay in the
 * first-level cache, with the reference kernels' bits. A quotient in f32 is rounded once and to whole numbers exactly; the conversion saturates. Where
 * (x - zero) scale is more than f32 holds on the way (x of 32 bits), it is computed in f64. */
#include "engines/cpu/move.h"
#include "engines/cpu/qdq.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

#define BLOCK 1024

typedef struct work {
    const fy_kernels *k;
    const char *x;
    char *y;
    int from, to, from_bytes, to_bytes, in, via;         /* numbers of x and y; what is computed in; what quotients are rounded to: their own, or halves */
    const void *scale, *zero;            /* in that, one or one for each index of the axis; NULL: 0 */
    int64_t axis, inner;                 /* runs of `inner` elements have one scale, `axis` of them one after the other; inner 1: a run is the axis */
} work;

/* m elements at `at` by scales [s, s + m), or by the one at s. */
static void block(const work *w, int64_t at, int64_t m, int64_t s, bool many, bool to_ints) {
    union { float f[BLOCK]; double d[BLOCK]; } b;
    const fy_loops *l = &w->k->loops;
    int bytes = w->in == FY_NUMBER_F64 ? 8 : 4, one = many ? 0 : 2;
    const char *x = w->x + at * w->from_bytes, *scale = (const char *)w->scale + s * bytes, *zero = w->zero ? (const char *)w->zero + s * bytes : NULL;
    char *y = w->y + at * w->to_bytes;
    if (w->from != w->in) {
        l->cast[w->from][w->in](&b, x, m);
        x = (const char *)&b;
    }
    if (to_ints) {
        l->pair[FY_LOOP_DIV][w->in](&b, x, scale, m, one);
        if (w->via != w->in) {           /* as from the quotient itself: f32 has more than twice the digits of halves, and two */
            uint16_t half[BLOCK];
            l->cast[w->in][w->via](half, &b, m);
            l->cast[w->via][w->in](&b, half, m);
        }
        w->k->unary[FY_ACT_ROUND](b.f, b.f, m, NULL);
        if (zero) l->pair[FY_LOOP_ADD][w->in](&b, &b, zero, m, one);
    } else {
        if (zero) l->pair[FY_LOOP_SUB][w->in](&b, x, zero, m, one);
        l->pair[FY_LOOP_MUL][w->in](&b, zero ? (const char *)&b : x, scale, m, one);
    }
    l->cast[w->in][w->to](y, &b, m);
}

static void elements(const work *w, int64_t begin, int64_t end, bool to_ints) {
    for (int64_t at = begin, m; at < end; at += m) {
        int64_t a = w->inner == 1 ? at % w->axis : at / w->inner % w->axis, left = w->inner == 1 ? w->axis - a : w->inner - at % w->inner;
        m = end - at < left ? end - at : left;
        if (m > BLOCK) m = BLOCK;
        block(w, at, m, a, w->inner == 1 && w->axis > 1, to_ints);
    }
}

static void quantize_piece(void *arg, int64_t begin, int64_t end) { elements(arg, begin, end, true); }
static void dequantize_piece(void *arg, int64_t begin, int64_t end) { elements(arg, begin, end, false); }

static const char *can(const fy_site *s, bool to_ints) {
    const fy_node *n = s->node;
    const fy_value *x = fy_in(n, 0), *scale = fy_in(n, 1), *zero = fy_in(n, 2), *y = fy_outv(n, 0);
    const fy_value *real = to_ints ? x : y, *whole = to_ints ? y : x;
    int r = fy_cpu_number(real->type.dtype), w = fy_cpu_number(whole->type.dtype);
    bool real_fits = r == FY_NUMBER_F32 || r == FY_NUMBER_F16 || r == FY_NUMBER_BF16;
    if (!real_fits || (w != FY_NUMBER_U8 && w != FY_NUMBER_I8 && w != FY_NUMBER_U16 && w != FY_NUMBER_I16 && w != FY_NUMBER_I32)) return "another dtype";
    if (fy_attr_i(n, "block_size")) return "scales in blocks";
    if (scale->type.dtype != FERRY_FLOAT && (scale->type.dtype != real->type.dtype || r == FY_NUMBER_F32)) return "the scale has another dtype";
    if (scale->type.rank > 1 || (zero && zero->type.rank > 1)) return "scales of several axes";
    if (zero && zero->type.dtype != whole->type.dtype) return "the zero point has another dtype";
    if (to_ints) {
        int64_t precision = fy_attr_i(n, "precision");
        return w == FY_NUMBER_I32 ? "to 32 bits" : precision && precision != (int64_t)scale->type.dtype ? "another precision" : NULL;
    }
    return r != FY_NUMBER_F32 && w != FY_NUMBER_U8 && w != FY_NUMBER_I8 ? "halves of more than 8 bits would be rounded twice" : NULL;
}

static const char *can_quantize(const fy_site *s) { return can(s, true); }
static const char *can_dequantize(const fy_site *s) { return can(s, false); }

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e, bool to_ints) {
    const fy_tensor *in = fy_step_in(s, x, 0), *scale = fy_step_in(s, x, 1), *zero = fy_step_in(s, x, 2);
    fy_tensor *y = fy_step_out(s, x, 0);
    int64_t n = fy_count(scale), bytes;
    work w = {.k = x->k, .x = in->data, .y = y->data, .from = fy_cpu_number(in->dtype), .to = fy_cpu_number(y->dtype), .from_bytes = fy_elem_bytes(in->dtype), .to_bytes = fy_elem_bytes(y->dtype),
              .axis = 1, .inner = fy_count(in)};
    w.via = w.in = !to_ints && w.from == FY_NUMBER_I32 ? FY_NUMBER_F64 : FY_NUMBER_F32;
    if (scale->dtype != FERRY_FLOAT) w.via = fy_cpu_number(scale->dtype);
    if (!fy_count(in)) return FY_OK;
    FY_NEED(e, !zero || fy_count(zero) == n, SHAPE, "%lld zero points for %lld scales", zero ? (long long)fy_count(zero) : 0, (long long)n);
    if (n != 1) {
        int axis;
        FY_NEED(e, in->rank > 0, SHAPE, "a scale of %lld elements for a scalar", (long long)n);
        FY_TRY(fy_axis(&axis, in->rank == 1 ? 0 : fy_attr_i(s->node, "axis"), in->rank, e));
        FY_NEED(e, n == in->dim[axis], SHAPE, "%lld scales for an axis of size %lld", (long long)n, (long long)in->dim[axis]);
        w.axis = n;
        w.inner = 1;
        for (int i = axis + 1; i < in->rank; i++) w.inner *= in->dim[i];
    }
    FY_NEED(e, fy_mul_i64(&bytes, n, 16), LIMIT, "%lld scales", (long long)n);
    double *room = fy_exec_scratch(x, (size_t)bytes);        /* scales, then zero points */
    FY_NOMEM(e, room);
    x->k->loops.cast[fy_cpu_number(scale->dtype)][w.in](room, scale->data, n);
    w.scale = room;
    if (zero) {
        x->k->loops.cast[fy_cpu_number(zero->dtype)][w.in](room + n, zero->data, n);
        w.zero = room + n;
    }
    fy_for(x->pool, fy_count(in), 16384, to_ints ? quantize_piece : dequantize_piece, &w);
    return FY_OK;
}

static fy_status run_quantize(const fy_step *s, fy_exec *x, ferry_error *e) { return run(s, x, e, true); }
static fy_status run_dequantize(const fy_step *s, fy_exec *x, ferry_error *e) { return run(s, x, e, false); }

/* ---- by its own range ------------------------------------------------------------------------------------------------------ */

enum { PIECE = 16384 };
typedef struct own { const fy_kernels *k; const float *x; uint8_t *y; fy_bytes q; } own;
typedef struct range { const fy_kernels *k; const float *x; float *low, *high; } range;

/* NaN neither widens the range nor narrows it. */
static void range_piece(void *arg, int64_t begin, int64_t end) {
    const range *w = arg;
    float *lo = &w->low[begin / PIECE], *hi = &w->high[begin / PIECE];
    w->k->reduce_rows(lo, w->x + begin, 1, end - begin, FY_REDUCE_MIN);
    w->k->reduce_rows(hi, w->x + begin, 1, end - begin, FY_REDUCE_MAX);
    if (*lo == *lo) return;
    for (int64_t i = (*lo = *hi = 0, begin); i < end; i++) {
        if (w->x[i] < *lo) *lo = w->x[i];
        if (w->x[i] > *hi) *hi = w->x[i];
    }
}

static void own_piece(void *arg, int64_t begin, int64_t end) {
    const own *w = arg;
    w->k->quantize_bytes(w->y + begin, w->x + begin, end - begin, &w->q);
}

fy_bytes fy_qdq_own_range(float lo, float hi) {
    float scale = hi > lo ? (hi - lo) / 255.0f : 1.0f / 255.0f, z = scale > 0 ? rintf(-lo / scale) : 0;
    return (fy_bytes){.scale = scale, .zero = (int32_t)(z < 0 ? 0 : z > 255 ? 255 : z)};
}

static fy_status run_dynamic(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0), *ys = fy_step_out(s, x, 1), *yz = fy_step_out(s, x, 2);
    int64_t n = fy_count(in), pieces = (n + PIECE - 1) / PIECE;
    float *room = fy_exec_scratch(x, (size_t)(2 * pieces + 2) * sizeof *room), lo = 0, hi = 0;
    FY_NOMEM(e, room);
    range r = {x->k, in->data, room, room + pieces};
    if (n) fy_for(x->pool, n, PIECE, range_piece, &r);
    for (int64_t i = 0; i < pieces; i++) {
        lo = room[i] < lo ? room[i] : lo;
        hi = room[pieces + i] > hi ? room[pieces + i] : hi;
    }
    const fy_bytes q = fy_qdq_own_range(lo, hi);
    const float scale = q.scale, zero = (float)q.zero;
    if (ys) *(float *)ys->data = scale;
    if (yz) fy_put_f64(yz, 0, (double)zero);
    if (!y || !n) return FY_OK;
    if (!(scale > 0x1p-120f)) {                              /* a range so small that it has no scale, or that its inverse is none */
        for (int64_t i = 0; i < n; i++) {
            const float v = scale > 0 ? rintf(r.x[i] / scale) + zero : zero;
            ((uint8_t *)y->data)[i] = (uint8_t)(v > 255 ? 255 : v >= 0 ? v : 0);
        }
        return FY_OK;
    }
    own w = {x->k, in->data, y->data, q};
    fy_for(x->pool, n, PIECE, own_piece, &w);
    return FY_OK;
}

static const char *can_dynamic(const fy_site *s) { return fy_cpu_f32(fy_in(s->node, 0)) ? NULL : "not f32"; }

static const fy_impl quantize = {.op = "QuantizeLinear", .name = "quantize", .can = can_quantize, .run = run_quantize};
static const fy_impl dequantize = {.op = "DequantizeLinear", .name = "quantize", .can = can_dequantize, .run = run_dequantize};
static const fy_impl dynamic = {.op = "DynamicQuantizeLinear", .name = "quantize", .can = can_dynamic, .run = run_dynamic};

const fy_impl *const fy_cpu_quantize[] = {&quantize, &dequantize, &dynamic, NULL};
