/* SPDX-License-Identifier: Apache-2.0
 * random.c - RandomNormal RandomUniform (and Like) Bernoulli Multinomial, and Dropout, which draws in training.
 *
 * Element i in row-major order takes the i-th draw of the node's stream (twister.h), in one thread, rounded once to y's dtype. With
 * r = numpy.random.RandomState(int(seed)):
 *     RandomUniform  r.uniform(low, high, shape)          RandomNormal  r.normal(mean, scale, shape)
 *     Bernoulli      r.binomial(1, p)                     Dropout       r.uniform(0, 1, shape) >= ratio is the mask
 *     Multinomial    r.choice(classes, sample_size, p=softmax(x[b])) for each row b in turn
 * Limit: a stream begins anew at each execution of its node, so a node in a Loop draws the same numbers in each iteration. */
#include "ops/common.h"
#include "ops/move.h"
#include "ops/twister.h"

#include <math.h>

static fy_status random_dtype(fy_dtype *t, const fy_node *n, fy_dtype like, ferry_error *e) {
    const fy_attr *a = fy_attr_get(n, "dtype");
    int64_t v = a ? a->i : like ? (int64_t)like : FERRY_FLOAT;
    *t = FERRY_FLOAT;
    FY_NEED(e, v > 0 && v <= FERRY_FLOAT6E3M2 && fy_dtype_class((fy_dtype)v) != FY_CLASS_S && fy_dtype_class((fy_dtype)v) != FY_CLASS_C, ATTR,
            "dtype is %lld", (long long)v);
    *t = (fy_dtype)v;
    return FY_OK;
}

static fy_status infer_random(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK];
    int64_t n;
    fy_dtype t;
    const int64_t *shape = fy_attr_ints(f->node, "shape", &n);
    FY_TRY(random_dtype(&t, f->node, 0, f->e));
    FY_NEED(f->e, n <= FY_MAX_RANK, LIMIT, "a rank of %lld; at most %d is supported", (long long)n, FY_MAX_RANK);
    for (int i = 0; i < n; i++) {
        FY_NEED(f->e, shape[i] >= 0, ATTR, "size %d is %lld", i, (long long)shape[i]);
        d[i] = fy_mv_const(f, shape[i]);
    }
    return fy_out_set(f, 0, t, (int)n, d);
}

static fy_status infer_like(fy_infer *f) {
    fy_dtype t;
    FY_TRY(random_dtype(&t, f->node, fy_in_dtype(f, 0), f->e));
    return fy_out_set(f, 0, t, fy_in_rank(f, 0), fy_in_dims(f, 0));
}

typedef double draw(fy_twister *t, double a, double b);

static fy_status fill(const fy_call *c, draw *next, double a, double b) {
    fy_tensor *y;
    fy_twister t;
    double buf[FY_K_BLOCK];
    FY_TRY(fy_twister_of(&t, c->node, c->e));
    FY_TRY(fy_mv_out(c, 0, &y));
    for (int64_t at = 0, n = y ? fy_count(y) : 0; at < n; at += FY_K_BLOCK) {
        int64_t m = n - at < FY_K_BLOCK ? n - at : FY_K_BLOCK;
        for (int64_t i = 0; i < m; i++) buf[i] = next(&t, a, b);
        fy_store_f64(y, at, m, buf);
    }
    return FY_OK;
}

static double draw_normal(fy_twister *t, double mean, double scale) { return mean + scale * fy_twister_normal(t); }
static double draw_uniform(fy_twister *t, double low, double range) { return low + range * fy_twister_uniform(t); }

static fy_status ref_normal(const fy_call *c) { return fill(c, draw_normal, fy_attr_f(c->node, "mean"), fy_attr_f(c->node, "scale")); }

static fy_status ref_uniform(const fy_call *c) {
    double low = fy_attr_f(c->node, "low");
    return fill(c, draw_uniform, low, fy_attr_f(c->node, "high") - low);
}

static fy_status ref_bernoulli(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y;
    fy_twister t;
    double buf[FY_K_BLOCK];
    FY_TRY(fy_twister_of(&t, c->node, c->e));
    FY_TRY(fy_mv_out(c, 0, &y));
    for (int64_t at = 0, n = y ? fy_count(y) : 0; at < n; at += FY_K_BLOCK) {
        int64_t m = n - at < FY_K_BLOCK ? n - at : FY_K_BLOCK;
        fy_load_f64(buf, x, at, m);
        for (int64_t i = 0; i < m; i++) {
            FY_NEED(c->e, buf[i] >= 0 && buf[i] <= 1, VALUE, "element %lld of x is %g, not a probability", (long long)(at + i), buf[i]);
            buf[i] = fy_twister_bernoulli(&t, buf[i]);
        }
        fy_store_f64(y, at, m, buf);
    }
    return FY_OK;
}

#define SEED {"seed", FY_ATTR_FLOAT, NULL}
static const fy_attr_spec normal_attrs[] = {{"dtype", FY_ATTR_INT, "1"}, {"mean", FY_ATTR_FLOAT, "0.0"}, {"scale", FY_ATTR_FLOAT, "1.0"}, SEED,
    {"shape", FY_ATTR_INTS, FY_REQUIRED}, {0}};
static const fy_attr_spec normal_like_attrs[] = {{"dtype", FY_ATTR_INT, NULL}, {"mean", FY_ATTR_FLOAT, "0.0"}, {"scale", FY_ATTR_FLOAT, "1.0"}, SEED, {0}};
static const fy_attr_spec uniform_attrs[] = {{"dtype", FY_ATTR_INT, "1"}, {"high", FY_ATTR_FLOAT, "1.0"}, {"low", FY_ATTR_FLOAT, "0.0"}, SEED,
    {"shape", FY_ATTR_INTS, FY_REQUIRED}, {0}};
static const fy_attr_spec uniform_like_attrs[] = {{"dtype", FY_ATTR_INT, NULL}, {"high", FY_ATTR_FLOAT, "1.0"}, {"low", FY_ATTR_FLOAT, "0.0"}, SEED, {0}};
static const fy_attr_spec bernoulli_attrs[] = {{"dtype", FY_ATTR_INT, NULL}, SEED, {0}};

const fy_op fy_op_random_normal = {.name = "RandomNormal", .domain = "", .attrs = normal_attrs, .min_in = 0, .max_in = 0, .min_out = 1, .max_out = 1,
    .since = 22, .first = 1, .types = "T=" FY_T_FLOAT "||T", .infer = infer_random, .ref = ref_normal, .flags = FY_RANDOM};
const fy_op fy_op_random_uniform = {.name = "RandomUniform", .domain = "", .attrs = uniform_attrs, .min_in = 0, .max_in = 0, .min_out = 1, .max_out = 1,
    .since = 22, .first = 1, .types = "T=" FY_T_FLOAT "||T", .infer = infer_random, .ref = ref_uniform, .flags = FY_RANDOM};
const fy_op fy_op_random_normal_like = {.name = "RandomNormalLike", .domain = "", .attrs = normal_like_attrs, .min_in = 1, .max_in = 1, .min_out = 1,
    .max_out = 1, .since = 22, .first = 1, .types = "T=" FY_T_FLOAT "|*|T", .infer = infer_like, .ref = ref_normal, .flags = FY_RANDOM};
const fy_op fy_op_random_uniform_like = {.name = "RandomUniformLike", .domain = "", .attrs = uniform_like_attrs, .min_in = 1, .max_in = 1, .min_out = 1,
    .max_out = 1, .since = 22, .first = 1, .types = "T=" FY_T_FLOAT "|*|T", .infer = infer_like, .ref = ref_uniform, .flags = FY_RANDOM};
const fy_op fy_op_bernoulli = {.name = "Bernoulli", .domain = "", .attrs = bernoulli_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 22,
    .first = 15, .types = "P=" FY_T_FLOAT "|P|*", .infer = infer_like, .ref = ref_bernoulli, .flags = FY_RANDOM};

/* ---- Multinomial --------------------------------------------------------------------------------------------------- */

static fy_status infer_multinomial(fy_infer *f) {
    fy_dtype t;
    int64_t n = fy_attr_i(f->node, "sample_size");
    FY_TRY(random_dtype(&t, f->node, FERRY_INT32, f->e));
    FY_NEED(f->e, t == FERRY_INT32 || t == FERRY_INT64, ATTR, "dtype must be int32 or int64");
    FY_NEED(f->e, n >= 1, ATTR, "sample_size is %lld", (long long)n);
    FY_NEED(f->e, fy_in_rank(f, 0) == 2 || fy_in_rank(f, 0) < 0, SHAPE, "the input has rank %d; it must be [batch, classes]",
            fy_in_rank(f, 0));
    const fy_dim *d[2] = {fy_in_rank(f, 0) == 2 ? fy_in_dim(f, 0, 0) : fy_mv_opaque(f), fy_mv_const(f, n)};
    return fy_out_set(f, 0, t, 2, d);
}

/* x holds log-probabilities that need not be normalised. A class is the first whose cumulative probability exceeds a uniform number. */
static fy_status ref_multinomial(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y;
    fy_twister t;
    FY_TRY(fy_twister_of(&t, c->node, c->e));
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    int64_t classes = x->dim[1], n = y->dim[1];
    double *p = FY_NEWN(c->scratch, double, classes);
    FY_NOMEM(c->e, p);
    FY_NEED(c->e, classes || !x->dim[0], SHAPE, "there are no classes to draw from");
    for (int64_t b = 0; b < x->dim[0]; b++) {
        double top = -HUGE_VAL, total = 0, sum = 0;
        fy_load_f64(p, x, b * classes, classes);
        for (int64_t k = 0; k < classes; k++) {
            FY_NEED(c->e, p[k] < HUGE_VAL, VALUE, "x[%lld, %lld] is %g, not a log-probability", (long long)b, (long long)k, p[k]);
            top = fmax(top, p[k]);
        }
        FY_NEED(c->e, top > -HUGE_VAL, VALUE, "row %lld of x gives every class the probability 0", (long long)b);
        for (int64_t k = 0; k < classes; k++) total += p[k] = exp(p[k] - top);
        for (int64_t k = 0; k < classes; k++) p[k] = sum += p[k] / total;
        for (int64_t k = 0; k < classes; k++) p[k] /= sum;
        for (int64_t i = 0; i < n; i++) {
            double u = fy_twister_uniform(&t);
            int64_t lo = 0, hi = classes - 1;
            while (lo < hi) {
                int64_t mid = lo + (hi - lo) / 2;
                if (u < p[mid]) hi = mid;
                else lo = mid + 1;
            }
            fy_put_i64(y, b * n + i, lo);
        }
    }
    return FY_OK;
}

static const fy_attr_spec multinomial_attrs[] = {{"dtype", FY_ATTR_INT, "6"}, {"sample_size", FY_ATTR_INT, "1"}, SEED, {0}};
const fy_op fy_op_multinomial = {.name = "Multinomial", .domain = "", .attrs = multinomial_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 22, .first = 7, .types = "P=" FY_T_FLOAT ";I=i32,i64|P|I", .infer = infer_multinomial, .ref = ref_multinomial, .flags = FY_RANDOM};

/* ---- Dropout ------------------------------------------------------------------------------------------------------- */

static fy_status infer_dropout(fy_infer *f) {
    FY_TRY(fy_out_like(f, 0, 0));
    return f->nout > 1 ? fy_out_set(f, 1, FERRY_BOOL, fy_in_rank(f, 0), fy_in_dims(f, 0)) : FY_OK;
}

/* As NumPy computes mask * x * scale, so that what is dropped from an infinity is NaN, as in PyTorch. */
static fy_status ref_dropout(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *ratio = fy_arg(c, 1), *training = fy_arg(c, 2);
    fy_tensor *y = fy_res(c, 0), *mask = fy_res(c, 1);
    int64_t n = fy_count(x);
    fy_twister t;
    double buf[FY_K_BLOCK], keep[FY_K_BLOCK];
    FY_NEED(c->e, (!ratio || fy_count(ratio) == 1) && (!training || fy_count(training) == 1), SHAPE, "ratio or training_mode is not a scalar");
    double r = ratio ? fy_get_f64(ratio, 0) : 0.5;
    bool drop = training && fy_get_i64(training, 0) && r != 0;
    FY_NEED(c->e, !drop || (r >= 0 && r < 1), VALUE, "ratio %g is not in [0, 1)", r);
    if (drop) FY_TRY(fy_twister_of(&t, c->node, c->e));
    if (y && !drop) fy_tensor_copy(y, x);
    for (int64_t at = 0; at < n && (drop || mask); at += FY_K_BLOCK) {
        int64_t m = n - at < FY_K_BLOCK ? n - at : FY_K_BLOCK;
        for (int64_t i = 0; i < m; i++) keep[i] = !drop || fy_twister_uniform(&t) >= r;
        if (mask) fy_store_f64(mask, at, m, keep);
        if (!y || !drop) continue;
        fy_load_f64(buf, x, at, m);
        for (int64_t i = 0; i < m; i++) buf[i] = keep[i] * buf[i] / (1 - r);
        fy_store_f64(y, at, m, buf);
    }
    return FY_OK;
}

static fy_value *simplify_dropout(fy_node *n) {
    bool eval = !fy_in(n, 2) || fy_k_all(fy_in(n, 2), 0) || fy_k_all(fy_in(n, 1), 0);
    return eval && (!fy_outv(n, 1) || fy_outv(n, 1)->nuses == 0) ? fy_in(n, 0) : NULL;
}
static const fy_attr_spec dropout_attrs[] = {{"seed", FY_ATTR_INT, NULL}, {0}};
const fy_op fy_op_dropout = {.name = "Dropout", .domain = "", .attrs = dropout_attrs, .min_in = 1, .max_in = 3, .min_out = 1, .max_out = 2, .first = 1,
    .since = 13, .types = "T=" FY_T_FLOAT "," FY_T_F8 ";U=" FY_T_FLOAT "," FY_T_F8 ";B=bool|T,U,B|T,B", .infer = infer_dropout, .ref = ref_dropout,
    .simplify = simplify_dropout, .flags = FY_RANDOM};
