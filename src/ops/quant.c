/* SPDX-License-Identifier: Apache-2.0
 * quant.c - QuantizeLinear DequantizeLinear DynamicQuantizeLinear: y = saturate(round(x / scale) + zero), and back. One scale
 * for all, one for each index of an axis, or one for each block along an axis. */
#include "ops/quant.h"

#include "base/half.h"

#include <math.h>
#include <string.h>

/* Where the scale of row-major element i of x is. */
typedef struct grid { int64_t inner, axis_size, block, scale_axis; enum { ONE, AXIS, BLOCKS } kind; } grid;

static int64_t scale_at(const grid *g, int64_t i) {
    if (g->kind == ONE) return 0;
    int64_t in = i % g->inner, a = i / g->inner % g->axis_size;
    if (g->kind == AXIS) return a;
    int64_t outer = i / g->inner / g->axis_size;
    return (outer * g->scale_axis + a / g->block) * g->inner + in;
}

static fy_status grid_of(grid *g, const fy_node *n, const fy_tensor *x, const fy_tensor *scale, ferry_error *e) {
    int axis;
    int64_t block = fy_attr_i(n, "block_size");
    *g = (grid){.inner = 1, .axis_size = 1, .block = 1, .kind = ONE};
    FY_NEED(e, block >= 0 && block <= INT64_MAX / 2, ATTR, "block_size is %lld", (long long)block);
    if (fy_count(scale) == 1 && block == 0) return FY_OK;
    FY_NEED(e, x->rank > 0, SHAPE, "a scale of %lld elements for a scalar", (long long)fy_count(scale));
    FY_TRY(fy_axis(&axis, x->rank == 1 ? 0 : fy_attr_i(n, "axis"), x->rank, e));
    g->axis_size = x->dim[axis];
    for (int i = axis + 1; i < x->rank; i++) g->inner *= x->dim[i];
    if (scale->rank == 1 && block == 0) {
        FY_NEED(e, scale->dim[0] == g->axis_size, SHAPE, "%lld scales for an axis of size %lld", (long long)scale->dim[0], (long long)g->axis_size);
        g->kind = AXIS;
        return FY_OK;
    }
    FY_NEED(e, scale->rank == x->rank, SHAPE, "the scale has rank %d, x %d", scale->rank, x->rank);
    g->scale_axis = scale->dim[axis];
    g->block = block ? block : g->scale_axis ? (g->axis_size + g->scale_axis - 1) / g->scale_axis : 1;
    for (int i = 0; i < x->rank; i++) {
        int64_t want = i == axis ? (x->dim[i] + g->block - 1) / g->block : x->dim[i];
        FY_NEED(e, scale->dim[i] == want, SHAPE, "the scale has size %lld on axis %d; %lld is needed", (long long)scale->dim[i], i, (long long)want);
    }
    g->kind = BLOCKS;
    return FY_OK;
}

static fy_status check_zero(const fy_tensor *scale, const fy_tensor *zero, ferry_error *e) {
    FY_NEED(e, !zero || fy_count(zero) == fy_count(scale), SHAPE, "%lld zero points for %lld scales", zero ? (long long)fy_count(zero) : 0, (long long)fy_count(scale));
    return FY_OK;
}

/* ---- quantise ------------------------------------------------------------------------------------------------------ */

static fy_dtype attr_dtype(const fy_node *n, const char *name) {
    int64_t v = fy_attr_i(n, name);
    return v > 0 && v <= FERRY_FLOAT6E3M2 ? (fy_dtype)v : 0;
}

static fy_status infer_quantize(fy_infer *f) {
    fy_dtype t = attr_dtype(f->node, "output_dtype"), z = fy_in_dtype(f, 2);
    if (fy_in_has(f, 2)) {
        FY_NEED(f->e, !t || !z || t == z, TYPE, "output_dtype is %s, the zero point %s", fy_dtype_name(t), fy_dtype_name(z));
        t = t ? t : z;
    } else t = t ? t : FERRY_UINT8;
    FY_NEED(f->e, !t || fy_dtype_int(t) || fy_dtype_bits(t) <= 8, TYPE, "no quantisation to %s", fy_dtype_name(t));
    return fy_out_set(f, 0, t, fy_in_rank(f, 0), fy_in_dims(f, 0));
}

typedef struct job { const fy_tensor *x; fy_tensor *y; const double *scale, *zero; grid g; fy_dtype precision; double lo, hi; bool saturate, f8; } job;

static void quantize_range(void *arg, int64_t begin, int64_t end) {
    const job *w = arg;
    double buf[FY_K_BLOCK];
    for (int64_t at = begin; at < end; at += FY_K_BLOCK) {
        int64_t n = end - at < FY_K_BLOCK ? end - at : FY_K_BLOCK;
        fy_load_f64(buf, w->x, at, n);
        for (int64_t i = 0; i < n; i++) {
            int64_t s = scale_at(&w->g, at + i);
            double v = fy_round_to(w->precision, buf[i] / w->scale[s]), z = w->zero ? w->zero[s] : 0;
            if (w->f8) ((uint8_t *)w->y->data)[at + i] = fy_f8_from_f64((int32_t)w->y->dtype, v + z, w->saturate);
            else {
                v = rint(v) + z;
                buf[i] = v < w->lo ? w->lo : v > w->hi ? w->hi : v;
            }
        }
        if (!w->f8) fy_store_f64(w->y, at, n, buf);
    }
}

static void limits(fy_dtype t, double *lo, double *hi) {
    int bits = fy_dtype_bits(t);
    *lo = fy_dtype_class(t) == FY_CLASS_I ? -ldexp(1, bits - 1) : 0;
    *hi = ldexp(1, fy_dtype_class(t) == FY_CLASS_I ? bits - 1 : bits) - 1;
}

void fy_quant_to(fy_dtype t, double *v, const double *zero, int64_t n) {
    double lo, hi;
    limits(t, &lo, &hi);
    for (int64_t i = 0; i < n; i++) {
        if (fy_dtype_float(t)) v[i] += zero[i];
        else {
            double r = rint(v[i]) + zero[i];
            v[i] = r > hi ? hi : r >= lo ? r : lo;                       /* NaN: lo */
        }
    }
}

double fy_quant_scale(double a, double b, double y) { return (double)((float)a * (float)b / (float)y); }

fy_status fy_quant_centred(const fy_call *c, const fy_tensor *x, const fy_tensor *zero, fy_tensor *out) {
    fy_dtype t = fy_dtype_float(x->dtype) ? FERRY_DOUBLE : FERRY_FLOAT;
    int64_t n = fy_count(x);
    double v[FY_K_BLOCK], z[FY_K_BLOCK];
    void *p = fy_arena_alloc(c->scratch, (size_t)n, (size_t)fy_elem_bytes(t));
    FY_NOMEM(c->e, p);
    *out = fy_tensor_view(t, x->rank, x->dim, p);
    for (int64_t at = 0; at < n; at += FY_K_BLOCK) {
        int64_t m = n - at < FY_K_BLOCK ? n - at : FY_K_BLOCK;
        fy_load_f64(v, x, at, m);
        if (zero) fy_load_f64(z, zero, at, m);
        for (int64_t i = 0; zero && i < m; i++) v[i] -= z[i];
        fy_store_f64(out, at, m, v);
    }
    return FY_OK;
}

static fy_status ref_quantize(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *scale = fy_arg(c, 1), *zero = fy_arg(c, 2);
    fy_tensor *y = fy_res(c, 0);
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, fy_k_numeric(x) && fy_k_numeric(scale) && (!zero || fy_k_numeric(zero)), TYPE, "QuantizeLinear takes numbers");
    job w = {.x = x, .y = y, .precision = attr_dtype(c->node, "precision"), .saturate = fy_attr_i(c->node, "saturate") != 0, .f8 = fy_dtype_float(y->dtype)};
    if (!w.precision) w.precision = fy_dtype_float(scale->dtype) && scale->dtype != FERRY_FLOAT8E8M0 ? scale->dtype : FERRY_FLOAT;
    FY_TRY(check_zero(scale, zero, c->e));
    FY_TRY(grid_of(&w.g, c->node, x, scale, c->e));
    FY_NOMEM(c->e, w.scale = fy_k_as_f64(c, scale));
    if (zero) FY_NOMEM(c->e, w.zero = fy_k_as_f64(c, zero));
    limits(y->dtype, &w.lo, &w.hi);
    fy_k_for(c, fy_count(y), FY_K_GRAIN, quantize_range, &w);
    return FY_OK;
}

#define AXIS_ATTRS                                                                                                       \
    {"axis", FY_ATTR_INT, "1"}, {"block_size", FY_ATTR_INT, "0"},                                                        \
    {"output_dtype", FY_ATTR_INT, "0"}
static const fy_attr_spec quantize_attrs[] = {AXIS_ATTRS, {"saturate", FY_ATTR_INT, "1"}, {"precision", FY_ATTR_INT, "0"}, {0}};
#define T_Q "i8,u8,i16,u16," FY_T_F8 ",u4,i4,f4e2m1,u2,i2,f6e2m3,f6e3m2"
const fy_op fy_op_quantize_linear = {.name = "QuantizeLinear", .domain = "", .attrs = quantize_attrs, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1,
    .first = 10, .since = 23, .types = "T=f32,f16,bf16,i32;S=f32,f16,bf16,i32,f8e8m0;Q=" T_Q "|T,S,Q|Q", .infer = infer_quantize, .ref = ref_quantize,
    .flags = FY_PURE};

/* ---- dequantise ---------------------------------------------------------------------------------------------------- */

static fy_status infer_dequantize(fy_infer *f) {
    fy_dtype t = attr_dtype(f->node, "output_dtype"), z = fy_in_dtype(f, 2), x = fy_in_dtype(f, 0);
    FY_NEED(f->e, !x || !z || x == z, TYPE, "x is %s, its zero point %s", fy_dtype_name(x), fy_dtype_name(z));
    if (!t) t = fy_in_dtype(f, 1) == FERRY_FLOAT8E8M0 ? FERRY_FLOAT : fy_in_dtype(f, 1);
    return fy_out_set(f, 0, t, fy_in_rank(f, 0), fy_in_dims(f, 0));
}

static void dequantize_range(void *arg, int64_t begin, int64_t end) {
    const job *w = arg;
    double buf[FY_K_BLOCK];
    for (int64_t at = begin; at < end; at += FY_K_BLOCK) {
        int64_t n = end - at < FY_K_BLOCK ? end - at : FY_K_BLOCK;
        fy_load_f64(buf, w->x, at, n);
        for (int64_t i = 0; i < n; i++) {
            int64_t s = scale_at(&w->g, at + i);
            buf[i] = (buf[i] - (w->zero ? w->zero[s] : 0)) * w->scale[s];
        }
        fy_store_f64(w->y, at, n, buf);
    }
}

static fy_status ref_dequantize(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *scale = fy_arg(c, 1), *zero = fy_arg(c, 2);
    fy_tensor *y = fy_res(c, 0);
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, fy_k_numeric(x) && fy_k_numeric(scale) && (!zero || fy_k_numeric(zero)), TYPE, "DequantizeLinear takes numbers");
    job w = {.x = x, .y = y};
    FY_TRY(check_zero(scale, zero, c->e));
    FY_TRY(grid_of(&w.g, c->node, x, scale, c->e));
    FY_NOMEM(c->e, w.scale = fy_k_as_f64(c, scale));
    if (zero) FY_NOMEM(c->e, w.zero = fy_k_as_f64(c, zero));
    fy_k_for(c, fy_count(y), FY_K_GRAIN, dequantize_range, &w);
    return FY_OK;
}
static const fy_attr_spec dequantize_attrs[] = {AXIS_ATTRS, {0}};
const fy_op fy_op_dequantize_linear = {.name = "DequantizeLinear", .domain = "", .attrs = dequantize_attrs, .min_in = 2, .max_in = 3, .min_out = 1,
    .max_out = 1, .first = 10, .since = 23, .types = "Q=i32," T_Q ";S=f32,f16,bf16,f8e8m0;Y=f32,f16,bf16|Q,S,Q|Y", .infer = infer_dequantize,
    .ref = ref_dequantize, .flags = FY_PURE};

/* ---- DynamicQuantizeLinear ----------------------------------------------------------------------------------------- */

static fy_status infer_dynamic(fy_infer *f) {
    FY_TRY(fy_out_set(f, 0, FERRY_UINT8, fy_in_rank(f, 0), fy_in_dims(f, 0)));
    if (f->nout > 1) FY_TRY(fy_out_set(f, 1, FERRY_FLOAT, 0, NULL));
    return f->nout > 2 ? fy_out_set(f, 2, FERRY_UINT8, 0, NULL) : FY_OK;
}

/* The formula in float, as its function body in the standard computes it. */
static fy_status ref_dynamic(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y = fy_res(c, 0);
    float lo = 0, hi = 0;
    int64_t n = fy_count(x);
    double buf[FY_K_BLOCK];
    FY_NEED(c->e, x->dtype == FERRY_FLOAT, TYPE, "x is %s, not f32", fy_dtype_name(x->dtype));
    for (int64_t at = 0; at < n; at += FY_K_BLOCK) {
        int64_t m = n - at < FY_K_BLOCK ? n - at : FY_K_BLOCK;
        fy_load_f64(buf, x, at, m);
        for (int64_t i = 0; i < m; i++) {
            lo = buf[i] < (double)lo ? (float)buf[i] : lo;
            hi = buf[i] > (double)hi ? (float)buf[i] : hi;
        }
    }
    float scale = hi > lo ? (hi - lo) / 255.0f : 1.0f / 255.0f;          /* of nothing but zeros: as onnx's reference; whoever divides by it can */
    double z = scale > 0 ? rint((double)(-lo / scale)) : 0;
    double zero = z < 0 ? 0 : z > 255 ? 255 : z;
    if (fy_res(c, 1)) fy_put_f64(fy_res(c, 1), 0, (double)scale);
    if (fy_res(c, 2)) fy_put_f64(fy_res(c, 2), 0, zero);
    for (int64_t at = 0; y && at < n; at += FY_K_BLOCK) {
        int64_t m = n - at < FY_K_BLOCK ? n - at : FY_K_BLOCK;
        fy_load_f64(buf, x, at, m);
        for (int64_t i = 0; i < m; i++) {
            double v = (scale > 0 ? rint((double)((float)buf[i] / scale)) : 0) + zero;
            buf[i] = v < 0 ? 0 : v > 255 ? 255 : v;
        }
        fy_store_f64(y, at, m, buf);
    }
    return FY_OK;
}
const fy_op fy_op_dynamic_quantize_linear = {.name = "DynamicQuantizeLinear", .domain = "", .min_in = 1, .max_in = 1, .min_out = 3, .max_out = 3, .first = 11,
    .since = 11, .types = "|f32|u8,f32,u8", .infer = infer_dynamic, .ref = ref_dynamic, .flags = FY_PURE};
