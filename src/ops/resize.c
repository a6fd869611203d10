/* SPDX-License-Identifier: Apache-2.0
 * resize.c - Resize, separable: each axis is a list of (index, weight) per output position, worked out once; values run in
 * double. Nearest is a pure gather, so every dtype has it. Positions that tf_crop_and_resize puts outside give the
 * extrapolation value. Source: ONNX Resize-19; cubic after Keys, "Cubic Convolution Interpolation", 1981. */
#include "ops/common.h"
#include "ops/move.h"
#include "ops/ops.h"

#include <math.h>
#include <string.h>

typedef enum resize_mode { NEAREST, LINEAR, CUBIC } resize_mode;
typedef enum resize_coord { HALF_PIXEL, HALF_PIXEL_SYMMETRIC, PYTORCH_HALF_PIXEL, ALIGN_CORNERS, ASYMMETRIC, TF_CROP } resize_coord;
typedef enum resize_near { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL } resize_near;
typedef enum resize_policy { STRETCH, NOT_LARGER, NOT_SMALLER } resize_policy;

typedef struct resize {
    resize_mode   mode;
    resize_coord  coord;
    resize_near   near;
    resize_policy policy;
    bool          antialias, exclude;
    double        a, extrapolation;
    int           naxes, axis[FY_MAX_RANK];
} resize;

static fy_status pick(int *r, const fy_node *n, const char *attr, const char *const *names, ferry_error *e) {
    for (int i = 0; names[i]; i++) if (fy_attr_is(n, attr, names[i])) { *r = i; return FY_OK; }
    fy_str s = fy_attr_s(n, attr);
    return fy_fail(e, FY_E_ATTR, "%s is \"%.*s\", which Resize does not know", attr, (int)(s.n < 60 ? s.n : 60), s.at);
}

static fy_status read_resize(resize *r, const fy_node *n, int rank, ferry_error *e) {
    static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
    static const char *const coords[] = {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
                                         "tf_crop_and_resize", NULL};
    static const char *const nears[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
    static const char *const policies[] = {"stretch", "not_larger", "not_smaller", NULL};
    int mode, coord, near, policy;
    int64_t count;
    const int64_t *axes = fy_attr_ints(n, "axes", &count);
    FY_TRY(pick(&mode, n, "mode", modes, e));
    FY_TRY(pick(&coord, n, "coordinate_transformation_mode", coords, e));
    FY_TRY(pick(&near, n, "nearest_mode", nears, e));
    FY_TRY(pick(&policy, n, "keep_aspect_ratio_policy", policies, e));
    *r = (resize){(resize_mode)mode, (resize_coord)coord, (resize_near)near, (resize_policy)policy, fy_attr_i(n, "antialias") != 0,
                  fy_attr_i(n, "exclude_outside") != 0, fy_attr_f(n, "cubic_coeff_a"), fy_attr_f(n, "extrapolation_value"), rank, {0}};
    for (int i = 0; i < rank; i++) r->axis[i] = i;
    if (axes) {
        FY_TRY(fy_mv_axes(r->axis, count, axes, rank, e));
        r->naxes = (int)count;
    }
    return FY_OK;
}

/* ---- sizes --------------------------------------------------------------------------------------------------------- */

/* A scale as a ratio of small integers if that is the f32 it is written as (0.7f is meant as 7/10), else its exact value. */
static bool ratio(double s, int64_t *num, int64_t *den) {
    for (int64_t q = 1; q <= 1024; q++) {
        double p = nearbyint(s * (double)q);
        if (p < 0x1p40 && (float)(p / (double)q) == (float)s) { *num = (int64_t)p; *den = q; return true; }
    }
    int k = 0;
    while (k < 40 && s != nearbyint(s)) { s *= 2; k++; }
    if (s != nearbyint(s) || s >= 0x1p50) return false;
    *num = (int64_t)s;
    *den = (int64_t)1 << k;
    return true;
}

static bool has_list(const fy_infer *f, int i) {
    return fy_in_has(f, i) && !(fy_in_rank(f, i) == 1 && fy_in_dim(f, i, 0) && fy_dim_is(fy_in_dim(f, i, 0), 0));
}

static fy_status scaled_dim(fy_infer *f, const fy_dim **r, const fy_dim *d, double scale) {
    int64_t v, num, den;
    FY_NEED(f->e, scale > 0 && isfinite(scale), VALUE, "a scale of %g", scale);
    if (fy_dim_known(d, &v)) {
        double out = floor((double)((float)v * (float)scale));
        FY_NEED(f->e, out < 0x1p48, LIMIT, "a size of %g", out);
        *r = fy_mv_const(f, (int64_t)out);
    } else *r = ratio(scale, &num, &den) ? fy_dim_scale(f->dims, d, num, den) : fy_mv_opaque(f);
    return FY_OK;
}

static fy_status sized_dims(fy_infer *f, const resize *r, const fy_dim **d) {
    int64_t n, in, out;
    double best = 0;
    bool known = true;
    const fy_dim *const *e = fy_in_elems(f, 3, &n);
    FY_NEED(f->e, !e || n == r->naxes, SHAPE, "%lld sizes for %d axes", (long long)n, r->naxes);
    for (int i = 0; i < r->naxes; i++) {
        if (!e) { d[r->axis[i]] = fy_mv_opaque(f); continue; }
        bool ko = fy_dim_known(e[i], &out), ki = fy_dim_known(d[r->axis[i]], &in);
        FY_NEED(f->e, !ko || out >= 0, VALUE, "size %d is %lld", i, (long long)out);
        known = known && ki && ko && in > 0;
        if (known) {
            double s = (double)out / (double)in;
            best = i == 0 ? s : r->policy == NOT_LARGER ? fmin(best, s) : fmax(best, s);
        }
        if (r->policy == STRETCH) d[r->axis[i]] = e[i];
    }
    for (int i = 0; e && r->policy != STRETCH && i < r->naxes; i++) {
        if (!known || !fy_dim_known(d[r->axis[i]], &in)) { d[r->axis[i]] = fy_mv_opaque(f); continue; }
        double size = floor(best * (double)in + 0.5);
        FY_NEED(f->e, size < 0x1p48, LIMIT, "a size of %g", size);
        d[r->axis[i]] = fy_mv_const(f, (int64_t)size);
    }
    return FY_OK;
}

static fy_status infer_resize(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0);
    int64_t n;
    double s;
    resize r;
    if (rank < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    FY_TRY(read_resize(&r, f->node, rank, f->e));
    bool scales = has_list(f, 2), sizes = has_list(f, 3);
    FY_NEED(f->e, scales != sizes, VALUE, "%s of scales and sizes must be given", scales ? "only one" : "one");
    for (int a = 0; a < rank; a++) d[a] = fy_in_dims(f, 0)[a];
    if (scales) {
        const fy_dim *len = fy_in_dim(f, 2, 0);
        FY_NEED(f->e, !len || !fy_dim_known(len, &n) || n == r.naxes, SHAPE, "%lld scales for %d axes", (long long)n, r.naxes);
        for (int i = 0; i < r.naxes; i++) {
            const fy_dim **to = &d[r.axis[i]];
            if (!fy_in_f64(f, 2, i, &s)) *to = fy_mv_opaque(f);
            else if (s != 1) FY_TRY(scaled_dim(f, to, *to, s));
        }
    } else FY_TRY(sized_dims(f, &r, d));
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d);
}

/* ---- one axis ------------------------------------------------------------------------------------------------------ */

/* Weights of output position i: taps[i * n .. +n) with indices at[i * n ..]; inside[i] false: extrapolated. */
typedef struct axis_plan { int64_t in, out, n; int64_t *at; double *w; bool *inside; bool identity; } axis_plan;

/* The position in the input of output position i; *inside is false beyond the crop. */
static double source(const resize *r, double i, double scale, int64_t in, int64_t out, const double *roi, bool *inside) {
    double len = scale * (double)in, last = (double)(in - 1), x;
    switch (r->coord) {
    case ALIGN_CORNERS: return len == 1 ? 0 : i * last / (len - 1);
    case ASYMMETRIC: return i / scale;
    case PYTORCH_HALF_PIXEL: return len == 1 ? -0.5 : (i + 0.5) / scale - 0.5;
    case HALF_PIXEL_SYMMETRIC: return (double)in / 2 * (1 - (double)out / len) + (i + 0.5) / scale - 0.5;
    case TF_CROP:
        x = len == 1 ? (roi[1] - roi[0]) * last / 2 : i * (roi[1] - roi[0]) * last / (len - 1);
        x += roi[0] * last;
        *inside = x >= 0 && x <= last;
        return x;
    case HALF_PIXEL: break;
    }
    return (i + 0.5) / scale - 0.5;
}

static double cubic_weight(double x, double a) {
    x = fabs(x);
    return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static int64_t nearest(const resize *r, double x) {
    double lo = floor(x), part = x - lo;
    bool up = part > 0 && (r->near == CEIL || (r->near == PREFER_FLOOR && part > 0.5) || (r->near == PREFER_CEIL && part >= 0.5));
    return (int64_t)lo + up;
}

static fy_status plan_axis(axis_plan *p, const fy_call *c, const resize *r, int64_t in, int64_t out, double scale, const double *roi) {
    double narrow = r->antialias && scale < 1 ? scale : 1, reach = r->mode == CUBIC ? 2 : 1;
    int64_t begin = r->mode == NEAREST ? 0 : (int64_t)floor(-reach / narrow) + 1, slots;
    *p = (axis_plan){.in = in, .out = out, .n = r->mode == NEAREST ? 1 : 2 - 2 * begin, .identity = in == out && scale == 1
            && r->coord != TF_CROP};
    if (p->identity || out == 0) return FY_OK;
    FY_NEED(c->e, in > 0, SHAPE, "an empty axis cannot be resized to %lld", (long long)out);
    FY_NEED(c->e, p->n <= 4 * in + 64 && fy_mul_i64(&slots, p->n, out) && slots < (int64_t)1 << 32, LIMIT,
            "a scale of %g reaches over %lld elements", scale,
            (long long)p->n);
    p->at = FY_NEWN(c->scratch, int64_t, slots);
    p->w = FY_NEWN(c->scratch, double, slots);
    p->inside = FY_NEWN(c->scratch, bool, out);
    FY_NOMEM(c->e, p->at && p->w && p->inside);
    for (int64_t i = 0; i < out; i++) {
        bool inside = true;
        double x = source(r, (double)i, scale, in, out, roi, &inside), sum = 0;
        FY_NEED(c->e, fabs(x) < 0x1p50, VALUE, "position %lld comes from %g", (long long)i, x);
        int64_t base = (int64_t)floor(x), *at = p->at + i * p->n;
        double part = x - (double)base, *w = p->w + i * p->n;
        p->inside[i] = inside;
        if (part == 0) { base--; part = 1; }                    /* the element to the left counts as the nearer one */
        for (int64_t k = 0; k < p->n; k++) {
            int64_t to = r->mode == NEAREST ? nearest(r, x) : base + begin + k;
            double far = narrow * ((double)(begin + k) - part);
            w[k] = r->mode == NEAREST ? 1 : r->mode == CUBIC ? cubic_weight(far, r->a) : fmax(1 - fabs(far), 0);
            if (r->exclude && r->mode != NEAREST && (to < 0 || to >= in)) w[k] = 0;
            sum += w[k];
            at[k] = to < 0 ? 0 : to >= in ? in - 1 : to;
        }
        for (int64_t k = 0; (r->exclude || r->antialias) && sum != 0 && k < p->n; k++) w[k] /= sum;
    }
    return FY_OK;
}

/* dst[o, i, k] = sum_t w[i, t] src[o, at[i, t], k] */
static void run_axis(double *dst, const double *src, const axis_plan *p, int64_t outer, int64_t inner, double extrapolation) {
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < p->out; i++) {
            double *y = dst + (o * p->out + i) * inner;
            for (int64_t k = 0; k < inner; k++) y[k] = p->inside[i] ? 0 : extrapolation;
            for (int64_t t = 0; p->inside[i] && t < p->n; t++) {
                double w = p->w[i * p->n + t];
                const double *x = src + (o * p->in + p->at[i * p->n + t]) * inner;
                for (int64_t k = 0; k < inner; k++) y[k] += w * x[k];
            }
        }
}

/* All axes in turn; *src is then the result, in scratch. */
static fy_status run_axes(const fy_call *c, const double **src, const axis_plan *p, int rank, const int64_t *in, const int64_t *out, double extrapolation) {
    int64_t outer = 1, dim[FY_MAX_RANK] = {0};
    for (int a = 0; a < rank; a++) dim[a] = in[a];
    for (int a = 0; a < rank; a++) {
        if (!p[a].identity) {
            int64_t inner = 1, count;
            for (int k = a + 1; k < rank; k++) inner *= dim[k];
            dim[a] = out[a];
            FY_NEED(c->e, fy_count_dims(&count, rank, dim) && count <= c->max_bytes / (int64_t)sizeof(double), LIMIT, "an intermediate size is too large");
            double *dst = FY_NEWN(c->scratch, double, count);
            FY_NOMEM(c->e, dst);
            run_axis(dst, *src, &p[a], outer, inner, extrapolation);
            *src = dst;
        }
        outer *= dim[a];
    }
    return FY_OK;
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

/* The scale of each axis: as given, or size/dim, the same for all under a policy that keeps the aspect. */
static fy_status scales_of(const fy_call *c, const resize *r, const fy_tensor *x, const fy_tensor *y, double *scale) {
    double best = 0;
    bool given = fy_arg(c, 2) && fy_count(fy_arg(c, 2));
    const fy_tensor *by = fy_arg(c, given ? 2 : 3);
    FY_NEED(c->e, by && fy_count(by) == r->naxes, SHAPE, "scales or sizes are not %d", r->naxes);
    for (int a = 0; a < x->rank; a++) scale[a] = 1;
    for (int i = 0; i < r->naxes; i++) {
        int a = r->axis[i];
        double size = given ? 0 : (double)fy_get_i64(fy_arg(c, 3), i);
        scale[a] = given ? fy_get_f64(fy_arg(c, 2), i) : x->dim[a] ? size / (double)x->dim[a] : 1;
        best = i == 0 ? scale[a] : r->policy == NOT_LARGER ? fmin(best, scale[a]) : fmax(best, scale[a]);
    }
    for (int i = 0; !given && r->policy != STRETCH && i < r->naxes; i++) scale[r->axis[i]] = best;
    for (int a = 0; a < x->rank; a++) FY_NEED(c->e, scale[a] > 0 || y->dim[a] == 0, VALUE, "a scale of %g", scale[a]);
    return FY_OK;
}

static fy_status ref_resize(const fy_call *c) {
    fy_tensor *y, x;
    resize r;
    double scale[FY_MAX_RANK], roi[FY_MAX_RANK][2];
    axis_plan p[FY_MAX_RANK];
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_TRY(read_resize(&r, c->node, x.rank, c->e));
    FY_TRY(scales_of(c, &r, &x, y, scale));
    bool crop = fy_arg(c, 1) && r.coord == TF_CROP;
    FY_NEED(c->e, crop || r.coord != TF_CROP, VALUE, "tf_crop_and_resize needs a roi");
    FY_NEED(c->e, !crop || fy_count(fy_arg(c, 1)) == 2 * r.naxes, SHAPE, "roi has %lld values for %d axes", (long long)fy_count(fy_arg(c,
            1)), r.naxes);
    for (int a = 0; a < x.rank; a++) { roi[a][0] = 0; roi[a][1] = 1; }
    for (int i = 0; crop && i < r.naxes; i++) {
        roi[r.axis[i]][0] = fy_get_f64(fy_arg(c, 1), i);
        roi[r.axis[i]][1] = fy_get_f64(fy_arg(c, 1), r.naxes + i);
    }
    for (int a = 0; a < x.rank; a++) FY_TRY(plan_axis(&p[a], c, &r, x.dim[a], y->dim[a], scale[a], roi[a]));
    if (r.mode == NEAREST) {
        const int64_t *map[FY_MAX_RANK];
        unsigned char fill[32] = {0};
        fy_tensor one = fy_tensor_view(y->dtype, 0, NULL, fill);
        if (fy_dtype_class(y->dtype) != FY_CLASS_S) fy_put_f64(&one, 0, r.extrapolation);
        for (int a = 0; a < x.rank; a++) {
            int64_t *m = FY_NEWN(c->scratch, int64_t, y->dim[a]);
            FY_NOMEM(c->e, m);
            for (int64_t i = 0; i < y->dim[a]; i++) m[i] = p[a].identity ? i : p[a].inside[i] ? p[a].at[i] : -1;
            map[a] = m;
        }
        fy_mv_mapped(y, &x, map, fill);
        return FY_OK;
    }
    FY_NEED(c->e, fy_dtype_class(x.dtype) != FY_CLASS_S, TYPE, "strings can only be resized with mode nearest");
    if (fy_dtype_class(x.dtype) != FY_CLASS_C) {
        const double *src = fy_arg_f64(c, 0);
        FY_NOMEM(c->e, src);
        FY_TRY(run_axes(c, &src, p, x.rank, x.dim, y->dim, r.extrapolation));
        if (fy_dtype_class(y->dtype) == FY_CLASS_F) fy_store_f64(y, 0, fy_count(y), src);
        else for (int64_t i = 0; i < fy_count(y); i++) fy_put_f64(y, i, nearbyint(src[i]));     /* integers round, then saturate */
        return FY_OK;
    }
    double *both = FY_NEWN(c->scratch, double, 2 * fy_count(y)), *pairs = FY_NEWN(c->scratch, double, 2 * fy_count(&x)), *part = FY_NEWN(c->scratch, double, fy_count(&x));
    FY_NOMEM(c->e, both && pairs && part);
    fy_load_c128(pairs, &x, 0, fy_count(&x));
    for (int k = 0; k < 2; k++) {                               /* real parts, then imaginary ones */
        const double *src = part;
        for (int64_t i = 0; i < fy_count(&x); i++) part[i] = pairs[2 * i + k];
        FY_TRY(run_axes(c, &src, p, x.rank, x.dim, y->dim, k ? 0 : r.extrapolation));
        for (int64_t i = 0; i < fy_count(y); i++) both[2 * i + k] = src[i];
    }
    fy_store_c128(y, 0, fy_count(y), both);
    return FY_OK;
}

static fy_value *simplify_resize(fy_node *n) {
    const fy_value *x = fy_in(n, 0), *y = fy_outv(n, 0), *s = fy_in(n, 2);
    double v;
    if (fy_in(n, 3) && fy_k_keeps(n, fy_in(n, 0)) && !fy_attr_is(n, "coordinate_transformation_mode", "tf_crop_and_resize")) return fy_in(n, 0);
    if (!x || !y || !s || !s->constant || !s->constant->count || x->type.rank < 0 || fy_attr_is(n, "coordinate_transformation_mode",
            "tf_crop_and_resize"))
        return NULL;
    for (int64_t i = 0; i < s->constant->count; i++) if (!fy_const_f64(s->constant, i, &v) || v != 1) return NULL;
    return fy_in(n, 0);
}

/* Along each axis Resize is a matrix [out, in], unless it crops; m[a] is NULL where nothing is done. For opset/, which writes newer forms out. */
fy_status fy_resize_matrices(const fy_call *c, const int64_t *out, double **m) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor y = *x;
    resize r;
    double scale[FY_MAX_RANK];
    const double whole[2] = {0, 1};
    int64_t cells;
    memcpy(y.dim, out, (size_t)x->rank * sizeof *out);
    FY_TRY(read_resize(&r, c->node, x->rank, c->e));
    FY_NEED(c->e, r.coord != TF_CROP, UNSUPPORTED, "a crop is no matrix");
    FY_TRY(scales_of(c, &r, x, &y, scale));
    for (int a = 0; a < x->rank; a++) {
        axis_plan p;
        FY_TRY(plan_axis(&p, c, &r, x->dim[a], out[a], scale[a], whole));
        m[a] = NULL;
        if (p.identity) continue;
        FY_NEED(c->e, fy_mul_i64(&cells, out[a], x->dim[a]) && cells <= (int64_t)1 << 22, LIMIT, "a matrix of %lld by %lld", (long long)out[a], (long long)x->dim[a]);
        m[a] = FY_NEWN(c->scratch, double, cells + 1);
        FY_NOMEM(c->e, m[a]);
        for (int64_t i = 0; i < cells; i++) m[a][i] = 0;
        for (int64_t i = 0; i < out[a]; i++)
            for (int64_t t = 0; t < p.n; t++) m[a][i * x->dim[a] + p.at[i * p.n + t]] += p.w[i * p.n + t];
    }
    return FY_OK;
}

static const fy_attr_spec resize_attrs[] = { {"mode", FY_ATTR_STRING, "nearest"}, {"coordinate_transformation_mode", FY_ATTR_STRING, "half_pixel"},
    {"nearest_mode", FY_ATTR_STRING, "round_prefer_floor"}, {"axes", FY_ATTR_INTS, NULL}, {"keep_aspect_ratio_policy", FY_ATTR_STRING, "stretch"},
    {"antialias", FY_ATTR_INT, "0"}, {"exclude_outside", FY_ATTR_INT, "0"}, {"cubic_coeff_a", FY_ATTR_FLOAT, "-0.75"},
    {"extrapolation_value", FY_ATTR_FLOAT, "0.0"}, {0}};
const fy_op fy_op_resize = {.name = "Resize", .domain = "", .attrs = resize_attrs, .min_in = 1, .max_in = 4, .min_out = 1, .max_out = 1, .since = 19,
    .first = 10, .types = "T=*;R=f32,f64,f16|T,R,f32,i64|T", .infer = infer_resize, .ref = ref_resize, .simplify = simplify_resize, .flags = FY_PURE};
