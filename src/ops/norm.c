/* SPDX-License-Identifier: Apache-2.0
 * norm.c - normalisations: Batch, Layer, RMS, Group, Instance, LRN, Lp, MeanVariance. y = (x - mean) / sqrt(var + eps) *
 * scale + bias, over other sets of elements each. Sums are in double over blocks: sum first, then squares of differences. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

#define B FY_K_BLOCK

/* Mean and population variance of row-major elements [first, first + n). */
static void moments(const fy_tensor *x, int64_t first, int64_t n, double *mean, double *var) {
    double buf[B], s = 0, q = 0;
    for (int64_t at = 0; at < n; at += B) {
        int64_t m = n - at < B ? n - at : B;
        fy_load_f64(buf, x, first + at, m);
        for (int64_t i = 0; i < m; i++) s += buf[i];
    }
    *mean = s / (double)n;
    for (int64_t at = 0; at < n; at += B) {
        int64_t m = n - at < B ? n - at : B;
        if (n > B || at) fy_load_f64(buf, x, first + at, m);
        for (int64_t i = 0; i < m; i++) q += (buf[i] - *mean) * (buf[i] - *mean);
    }
    *var = q / (double)n;
}

/* y = (x - mean) * gain + offset over [first, first + n) */
static void affine(fy_tensor *y, const fy_tensor *x, int64_t first, int64_t n, double mean, double gain, double offset) {
    double buf[B];
    for (int64_t at = 0; at < n; at += B) {
        int64_t m = n - at < B ? n - at : B;
        fy_load_f64(buf, x, first + at, m);
        for (int64_t i = 0; i < m; i++) buf[i] = (buf[i] - mean) * gain + offset;
        fy_store_f64(y, first + at, m, buf);
    }
}

static int64_t grain_for(int64_t n) { return n && n < FY_K_GRAIN ? FY_K_GRAIN / n : 1; }

static fy_status floats_only(const fy_call *c) {
    for (int i = 0; i < c->nin; i++)
        if (fy_arg(c, i)) FY_NEED(c->e, fy_dtype_float(fy_arg(c, i)->dtype), TYPE, "input %d is %s, not a float", i, fy_dtype_name(fy_arg(c, i)->dtype));
    return FY_OK;
}

/* Inputs from..to are vectors of one element a channel. */
static fy_status vectors(fy_infer *f, int from, int to, const fy_dim *channels) {
    for (int i = from; i <= to; i++) {
        int r;
        if (!fy_in_has(f, i)) continue;
        FY_TRY(fy_k_rank(f, i, 1, 1, &r));
        if (r == 1) FY_TRY(fy_k_agree(f, fy_in_dim(f, i, 0), channels, "channels and a parameter"));
    }
    return FY_OK;
}

/* ---- BatchNormalization: per channel (axis 1) ---------------------------------------------------------------------- */

static fy_status infer_batch(fy_infer *f) {
    int r;
    FY_TRY(fy_k_rank(f, 0, 1, FY_MAX_RANK, &r));
    const fy_dim *c = r > 1 ? fy_in_dim(f, 0, 1) : r == 1 ? fy_dim_const(f->dims, 1) : fy_in_rank(f, 3) == 1 ? fy_in_dim(f, 3, 0) : NULL;
    FY_TRY(vectors(f, 1, 4, c));
    FY_TRY(fy_k_like(f));
    for (int i = 1; i < f->nout && i < 3; i++)
        FY_TRY(c ? fy_out_set(f, i, fy_in_dtype(f, i + 2), 1, &c) : fy_out_set(f, i, fy_in_dtype(f, i + 2), -1, NULL));
    return FY_OK;
}

typedef struct batch { const fy_tensor *x; fy_tensor *y; const double *scale, *bias, *mean, *var; int64_t channels, plane; double eps; } batch;

static void batch_planes(void *arg, int64_t begin, int64_t end) {
    const batch *w = arg;
    for (int64_t p = begin; p < end; p++) {
        int64_t c = p % w->channels;
        affine(w->y, w->x, p * w->plane, w->plane, w->mean[c], w->scale[c] / sqrt(w->var[c] + w->eps), w->bias[c]);
    }
}

static fy_status ref_batch(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    FY_TRY(floats_only(c));
    int64_t n = x->dim[0], ch = x->rank > 1 ? x->dim[1] : 1, plane = 1;
    for (int i = 2; i < x->rank; i++) plane *= x->dim[i];
    double *scale = fy_k_as_f64(c, fy_arg(c, 1)), *bias = fy_k_as_f64(c, fy_arg(c, 2)), *mean = fy_k_as_f64(c, fy_arg(c, 3)), *var = fy_k_as_f64(c, fy_arg(c, 4));
    FY_NOMEM(c->e, scale && bias && mean && var);
    if (fy_attr_i(c->node, "training_mode")) {
        double keep = fy_attr_f(c->node, "momentum"), *m = FY_NEWN(c->scratch, double, ch), *v = FY_NEWN(c->scratch, double, ch);
        FY_NOMEM(c->e, m && v);
        fy_tensor by_channel = *x;                                       /* [C, N, spatial] */
        if (x->rank > 1) {
            by_channel.dim[0] = x->dim[1];
            by_channel.stride[0] = x->stride[1];
            by_channel.dim[1] = x->dim[0];
            by_channel.stride[1] = x->stride[0];
        }
        for (int64_t i = 0; i < ch && n * plane > 0; i++) moments(&by_channel, i * n * plane, n * plane, &m[i], &v[i]);
        for (int64_t i = 0; i < ch; i++) {
            if (fy_res(c, 1)) fy_put_f64(fy_res(c, 1), i, mean[i] * keep + m[i] * (1 - keep));
            if (fy_res(c, 2)) fy_put_f64(fy_res(c, 2), i, var[i] * keep + v[i] * (1 - keep));
        }
        mean = m;
        var = v;
    } else {
        if (fy_res(c, 1)) fy_tensor_copy(fy_res(c, 1), fy_arg(c, 3));
        if (fy_res(c, 2)) fy_tensor_copy(fy_res(c, 2), fy_arg(c, 4));
    }
    batch w = {x, fy_res(c, 0), scale, bias, mean, var, ch, plane, fy_attr_f(c->node, "epsilon")};
    if (w.y && fy_count(w.y)) fy_k_for(c, n * ch, grain_for(plane), batch_planes, &w);
    return FY_OK;
}

#define EPSILON {"epsilon", FY_ATTR_FLOAT, "1e-5"}
static const fy_attr_spec batch_attrs[] = {EPSILON, {"momentum", FY_ATTR_FLOAT, "0.9"}, {"training_mode", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_batch_normalization = {.name = "BatchNormalization", .domain = "", .attrs = batch_attrs, .min_in = 5, .max_in = 5, .min_out = 1,
    .max_out = 3, .first = 1, .since = 15, .types = "T=" FY_T_FLOAT ";U=" FY_T_FLOAT ";V=" FY_T_FLOAT "|T,U,U,V,V|T,V,V", .infer = infer_batch,
    .ref = ref_batch, .flags = FY_PURE};

/* ---- Layer, RMS: over the axes from `axis` on ---------------------------------------------------------------------- */

static fy_status infer_layer(fy_infer *f) {
    int r, axis;
    const fy_dim *dim[FY_MAX_RANK];
    FY_TRY(fy_k_rank(f, 0, 1, FY_MAX_RANK, &r));
    fy_dtype t = fy_in_dtype(f, 0), stash = fy_attr_i(f->node, "stash_type") == FERRY_BFLOAT16 ? FERRY_BFLOAT16 : FERRY_FLOAT;
    if (r >= 0) {
        FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), r, f->e));
        for (int k = 1; k < f->nin; k++) {
            int rk = fy_in_rank(f, k);
            FY_NEED(f->e, rk <= r, SHAPE, "a parameter has rank %d, x only %d", rk, r);
            for (int i = 1; i <= rk; i++)
                if (!fy_dim_is(fy_in_dim(f, k, rk - i), 1)) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, r - i), fy_in_dim(f, k, rk - i), "sizes of x and a parameter"));
        }
    }
    if (f->node->op->name[0] != 'L' && fy_in_dtype(f, 1)) t = fy_in_dtype(f, 1);
    FY_TRY(fy_out_set(f, 0, t, r, r < 0 ? NULL : fy_in_dims(f, 0)));
    for (int k = 1; k < f->nout; k++) {
        for (int i = 0; i < r; i++) dim[i] = i < axis ? fy_in_dim(f, 0, i) : fy_dim_const(f->dims, 1);
        FY_TRY(fy_out_set(f, k, stash, r, r < 0 ? NULL : dim));
    }
    return FY_OK;
}

typedef struct layer { const fy_tensor *x; fy_tensor scale, bias, *y, *mean, *inv; int64_t n; double eps; bool rms, has_bias; } layer;

static void layer_rows(void *arg, int64_t begin, int64_t end) {
    const layer *w = arg;
    double buf[B], gain[B], off[B];
    for (int64_t r = begin; r < end; r++) {
        double mean = 0, var = 0;
        if (w->rms) {
            for (int64_t at = 0; at < w->n; at += B) {
                int64_t m = w->n - at < B ? w->n - at : B;
                fy_load_f64(buf, w->x, r * w->n + at, m);
                for (int64_t i = 0; i < m; i++) var += buf[i] * buf[i];
            }
            var /= (double)w->n;
        } else moments(w->x, r * w->n, w->n, &mean, &var);
        double inv = 1 / sqrt(var + w->eps);
        if (w->mean) fy_put_f64(w->mean, r, mean);
        if (w->inv) fy_put_f64(w->inv, r, inv);
        for (int64_t at = 0; w->y && at < w->n; at += B) {
            int64_t m = w->n - at < B ? w->n - at : B;
            fy_load_f64(buf, w->x, r * w->n + at, m);
            fy_load_f64(gain, &w->scale, r * w->n + at, m);
            if (w->has_bias) fy_load_f64(off, &w->bias, r * w->n + at, m);
            for (int64_t i = 0; i < m; i++) buf[i] = (buf[i] - mean) * inv * gain[i] + (w->has_bias ? off[i] : 0);
            fy_store_f64(w->y, r * w->n + at, m, buf);
        }
    }
}

static fy_status ref_layer(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    int axis;
    FY_TRY(floats_only(c));
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), x->rank, c->e));
    bool rms = c->node->op->name[0] != 'L';
    layer w = {.x = x, .scale = fy_k_spread(fy_arg(c, 1), x->rank, x->dim), .y = fy_res(c, 0), .mean = rms ? NULL : fy_res(c, 1),
               .inv = fy_res(c, rms ? 1 : 2), .n = 1, .eps = fy_attr_f(c->node, "epsilon"), .rms = rms, .has_bias = fy_arg(c, 2) != NULL};
    if (w.has_bias) w.bias = fy_k_spread(fy_arg(c, 2), x->rank, x->dim);
    for (int i = axis; i < x->rank; i++) w.n *= x->dim[i];
    if (!fy_count(x)) {                                                  /* the statistics of nothing are not a number */
        for (int k = 1; k < 3; k++)
            for (int64_t i = 0; fy_res(c, k) && i < fy_count(fy_res(c, k)); i++) fy_put_f64(fy_res(c, k), i, (double)NAN);
        return FY_OK;
    }
    fy_k_for(c, fy_count(x) / w.n, grain_for(w.n), layer_rows, &w);
    return FY_OK;
}

#define STASH {"stash_type", FY_ATTR_INT, "1"}
static const fy_attr_spec layer_attrs[] = {EPSILON, {"axis", FY_ATTR_INT, "-1"}, STASH, {0}};
const fy_op fy_op_layer_normalization = {.name = "LayerNormalization", .domain = "", .attrs = layer_attrs, .min_in = 2, .max_in = 3, .min_out = 1,
    .max_out = 3, .first = 17, .since = 17, .types = "T=" FY_T_FLOAT ";U=f32,bf16|T,T,T|T,U,U", .infer = infer_layer, .ref = ref_layer, .flags = FY_PURE};
const fy_op fy_op_rms_normalization = {.name = "RMSNormalization", .domain = "", .attrs = layer_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .first = 23, .since = 23, .types = "T=" FY_T_FLOAT ";V=" FY_T_FLOAT "|T,V|V", .infer = infer_layer, .ref = ref_layer, .flags = FY_PURE};
/* Not in the standard: ONNX Runtime writes it into the domain ai.onnx, at any opset. */
const fy_op fy_op_simplified_layer_normalization = {.name = "SimplifiedLayerNormalization", .domain = "", .attrs = layer_attrs, .min_in = 2, .max_in = 2,
    .min_out = 1, .max_out = 2, .first = 1, .since = 1, .types = "T=" FY_T_FLOAT ";V=" FY_T_FLOAT ";U=f32,f64,bf16|T,V|V,U", .infer = infer_layer,
    .ref = ref_layer, .flags = FY_PURE};

/* ---- Group, Instance: per sample and group of channels ------------------------------------------------------------- */

static fy_status infer_group(fy_infer *f) {
    int r;
    int64_t c, groups = strcmp(f->node->op->name, "GroupNormalization") ? 1 : fy_attr_i(f->node, "num_groups");
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(fy_k_rank(f, 0, 2, FY_MAX_RANK, &r));
    FY_NEED(f->e, groups >= 1, ATTR, "num_groups is %lld", (long long)groups);
    if (r >= 2 && fy_dim_known(fy_in_dim(f, 0, 1), &c)) FY_NEED(f->e, c % groups == 0, SHAPE, "%lld channels in %lld groups", (long long)c, (long long)groups);
    FY_TRY(vectors(f, 1, 2, r >= 2 ? fy_in_dim(f, 0, 1) : NULL));
    return fy_k_like(f);
}

typedef struct group { const fy_tensor *x; fy_tensor *y; const double *scale, *bias; int64_t groups, each, plane; double eps; } group;

static void group_rows(void *arg, int64_t begin, int64_t end) {
    const group *w = arg;
    for (int64_t r = begin; r < end; r++) {
        double mean, var;
        int64_t n = w->each * w->plane, first = r * n, c = r % w->groups * w->each;
        moments(w->x, first, n, &mean, &var);
        double inv = 1 / sqrt(var + w->eps);
        for (int64_t k = 0; k < w->each; k++) affine(w->y, w->x, first + k * w->plane, w->plane, mean, inv * w->scale[c + k], w->bias[c + k]);
    }
}

static fy_status ref_group(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    group w = {x, fy_res(c, 0), fy_k_as_f64(c, fy_arg(c, 1)), fy_k_as_f64(c, fy_arg(c, 2)), 0, 0, 1, fy_attr_f(c->node, "epsilon")};
    FY_TRY(floats_only(c));
    FY_NOMEM(c->e, w.scale && w.bias);
    if (!w.y || !fy_count(w.y)) return FY_OK;
    for (int i = 2; i < x->rank; i++) w.plane *= x->dim[i];
    w.groups = c->node->op->name[0] == 'G' ? fy_attr_i(c->node, "num_groups") : x->dim[1];
    w.each = x->dim[1] / w.groups;
    fy_k_for(c, x->dim[0] * w.groups, grain_for(w.each * w.plane), group_rows, &w);
    return FY_OK;
}
static const fy_attr_spec group_attrs[] = {EPSILON, {"num_groups", FY_ATTR_INT, FY_REQUIRED}, STASH, {0}};
static const fy_attr_spec instance_attrs[] = {EPSILON, {0}};
const fy_op fy_op_group_normalization = {.name = "GroupNormalization", .domain = "", .attrs = group_attrs, .min_in = 3, .max_in = 3, .min_out = 1,
    .max_out = 1, .first = 18, .since = 21, .types = "T=" FY_T_FLOAT "|T,T,T|T", .infer = infer_group, .ref = ref_group, .flags = FY_PURE};
const fy_op fy_op_instance_normalization = {.name = "InstanceNormalization", .domain = "", .attrs = instance_attrs, .min_in = 3, .max_in = 3, .min_out = 1,
    .max_out = 1, .first = 1, .since = 6, .types = "T=" FY_T_FLOAT "|T,T,T|T", .infer = infer_group, .ref = ref_group, .flags = FY_PURE};

/* ---- LRN: over neighbouring channels ------------------------------------------------------------------------------- */

static fy_status infer_lrn(fy_infer *f) {
    int r;
    FY_TRY(fy_k_rank(f, 0, 2, FY_MAX_RANK, &r));
    FY_NEED(f->e, fy_attr_i(f->node, "size") >= 1 && fy_attr_i(f->node, "size") <= INT32_MAX, ATTR, "size is %lld", (long long)fy_attr_i(f->node, "size"));
    return fy_k_like(f);
}

typedef struct lrn { const double *x; fy_tensor *y; int64_t channels, plane, before, after; double alpha, beta, bias; } lrn;

static void lrn_planes(void *arg, int64_t begin, int64_t end) {
    const lrn *w = arg;
    double buf[B];
    for (int64_t p = begin; p < end; p++) {
        int64_t c = p % w->channels, lo = c < w->before ? 0 : c - w->before, hi = w->channels - c <= w->after ? w->channels - 1 : c + w->after;
        for (int64_t at = 0; at < w->plane; at += B) {
            int64_t m = w->plane - at < B ? w->plane - at : B;
            for (int64_t i = 0; i < m; i++) buf[i] = 0;
            for (int64_t k = lo; k <= hi; k++) {
                const double *x = w->x + (p - c + k) * w->plane + at;
                for (int64_t i = 0; i < m; i++) buf[i] += x[i] * x[i];
            }
            for (int64_t i = 0; i < m; i++) buf[i] = w->x[p * w->plane + at + i] / pow(w->bias + w->alpha * buf[i], w->beta);
            fy_store_f64(w->y, p * w->plane + at, m, buf);
        }
    }
}

static fy_status ref_lrn(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    int64_t size = fy_attr_i(c->node, "size");
    lrn w = {fy_k_as_f64(c, x), fy_res(c, 0), x->dim[1], 1, (size - 1) / 2, size / 2, fy_attr_f(c->node, "alpha") / (double)size, fy_attr_f(c->node, "beta"),
             fy_attr_f(c->node, "bias")};
    FY_TRY(floats_only(c));
    FY_NOMEM(c->e, w.x);
    if (!w.y || !fy_count(w.y)) return FY_OK;
    for (int i = 2; i < x->rank; i++) w.plane *= x->dim[i];
    fy_k_for(c, x->dim[0] * x->dim[1], grain_for(w.plane), lrn_planes, &w);
    return FY_OK;
}
static const fy_attr_spec lrn_attrs[] = {{"alpha", FY_ATTR_FLOAT, "0.0001"}, {"beta", FY_ATTR_FLOAT, "0.75"}, {"bias", FY_ATTR_FLOAT, "1"},
    {"size", FY_ATTR_INT, FY_REQUIRED}, {0}};
const fy_op fy_op_lrn = {.name = "LRN", .domain = "", .attrs = lrn_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .first = 1, .since = 1,
    .types = "T=" FY_T_FLOAT "|T|T", .infer = infer_lrn, .ref = ref_lrn, .flags = FY_PURE};

/* ---- LpNormalization, MeanVarianceNormalization: along given axes -------------------------------------------------- */

typedef struct rows { fy_tensor x, y; int64_t n, p; } rows;

static void lp_rows(void *arg, int64_t begin, int64_t end) {
    rows *w = arg;
    double buf[B];
    for (int64_t r = begin; r < end; r++) {
        double s = 0;
        for (int64_t at = 0; at < w->n; at += B) {
            int64_t m = w->n - at < B ? w->n - at : B;
            fy_load_f64(buf, &w->x, r * w->n + at, m);
            for (int64_t i = 0; i < m; i++) s += w->p == 1 ? fabs(buf[i]) : buf[i] * buf[i];
        }
        s = w->p == 1 ? s : sqrt(s);
        fy_tensor y = w->y;
        affine(&y, &w->x, r * w->n, w->n, 0, s == 0 ? 0 : 1 / s, 0);    /* a row of zeros stays */
    }
}

static fy_status infer_lp(fy_infer *f) {
    int axis, r = fy_in_rank(f, 0);
    if (r >= 0) FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), r, f->e));
    FY_NEED(f->e, fy_attr_i(f->node, "p") == 1 || fy_attr_i(f->node, "p") == 2, ATTR, "p is %lld; it can be 1 or 2", (long long)fy_attr_i(f->node, "p"));
    return fy_k_like(f);
}

static fy_status ref_lp(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    int axis;
    FY_TRY(floats_only(c));
    if (!fy_res(c, 0) || !fy_count(x)) return FY_OK;
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), x->rank, c->e));
    rows w = {fy_k_axis_last(x, axis), fy_k_axis_last(fy_res(c, 0), axis), x->dim[axis], fy_attr_i(c->node, "p")};
    fy_k_for(c, fy_count(x) / w.n, grain_for(w.n), lp_rows, &w);
    return FY_OK;
}
static const fy_attr_spec lp_attrs[] = {{"axis", FY_ATTR_INT, "-1"}, {"p", FY_ATTR_INT, "2"}, {0}};
const fy_op fy_op_lp_normalization = {.name = "LpNormalization", .domain = "", .attrs = lp_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T|T", .infer = infer_lp, .ref = ref_lp, .flags = FY_PURE};

static void mvn_rows(void *arg, int64_t begin, int64_t end) {
    rows *w = arg;
    for (int64_t r = begin; r < end; r++) {
        double mean, var;
        fy_tensor y = w->y;
        moments(&w->x, r * w->n, w->n, &mean, &var);
        affine(&y, &w->x, r * w->n, w->n, mean, 1 / (sqrt(var) + 1e-9), 0);
    }
}

static fy_status mvn_axes(const fy_node *n, int rank, bool *on, ferry_error *e) {
    static const int64_t usual[] = {0, 2, 3};
    int64_t count;
    const int64_t *v = fy_attr_ints(n, "axes", &count);
    if (!v) { v = usual; count = 3; }
    memset(on, 0, FY_MAX_RANK * sizeof *on);
    for (int64_t i = 0; i < count; i++) {
        int axis;
        FY_TRY(fy_axis(&axis, v[i], rank, e));
        on[axis] = true;
    }
    return FY_OK;
}

static fy_status infer_mvn(fy_infer *f) {
    bool on[FY_MAX_RANK];
    if (fy_in_rank(f, 0) >= 0) FY_TRY(mvn_axes(f->node, fy_in_rank(f, 0), on, f->e));
    return fy_k_like(f);
}

static fy_status ref_mvn(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *y = fy_res(c, 0);
    bool on[FY_MAX_RANK];
    FY_TRY(floats_only(c));
    if (!y || !fy_count(x)) return FY_OK;
    FY_TRY(mvn_axes(c->node, x->rank, on, c->e));
    rows w = {.x = *x, .y = *y, .n = 1};
    int at = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < x->rank; i++) {
            if (on[i] != (pass == 1)) continue;
            w.x.dim[at] = w.y.dim[at] = x->dim[i];
            w.x.stride[at] = x->stride[i];
            w.y.stride[at++] = y->stride[i];
            if (on[i]) w.n *= x->dim[i];
        }
    fy_k_for(c, fy_count(x) / w.n, grain_for(w.n), mvn_rows, &w);
    return FY_OK;
}
static const fy_attr_spec mvn_attrs[] = {{"axes", FY_ATTR_INTS, "[0, 2, 3]"}, {0}};
const fy_op fy_op_mean_variance_normalization = {.name = "MeanVarianceNormalization", .domain = "", .attrs = mvn_attrs, .min_in = 1, .max_in = 1,
    .min_out = 1, .max_out = 1, .first = 9, .since = 9, .types = "T=" FY_T_FLOAT "|T|T", .infer = infer_mvn, .ref = ref_mvn, .flags = FY_PURE};
