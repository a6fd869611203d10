/* SPDX-License-Identifier: Apache-2.0
 * random.c - RandomNormal RandomUniform (and Like) Bernoulli Multinomial.
 * The generator is Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011), a function of (key, counter)
 * without state: key = the bits of the seed attribute (f32), or the node's number + 2^32 where no seed is given; element i
 * uses block i / 4, word i % 4 of it. So a result depends on the seed and the element's index alone, and is the same at each run. */
#include "ops/common.h"
#include "ops/move.h"

#include <math.h>
#include <string.h>

static void philox(uint32_t out[4], uint64_t key, uint64_t counter) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32), x[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0};
    for (int r = 0; r < 10; r++) {
        uint64_t a = 0xD2511F53ULL * x[0], b = 0xCD9E8D57ULL * x[2];
        uint32_t y[4] = {(uint32_t)(b >> 32) ^ x[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ x[3] ^ k1, (uint32_t)a};
        memcpy(x, y, sizeof x);
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    memcpy(out, x, sizeof x);
}

typedef struct stream { uint64_t key, block; uint32_t word[4]; } stream;

static stream stream_of(const fy_node *n) {
    const fy_attr *a = fy_attr_get(n, "seed");
    float seed = a ? (float)a->f : 0;
    uint32_t bits;
    memcpy(&bits, &seed, sizeof bits);
    return (stream){.key = a ? bits : n->id | 1ULL << 32, .block = UINT64_MAX};
}

/* Uniform in [0, 1) with 32 bits. */
static double uniform(stream *s, uint64_t i) {
    if (s->block != i / 4) {
        s->block = i / 4;
        philox(s->word, s->key, s->block);
    }
    return (double)s->word[i % 4] * 0x1p-32;
}

/* Standard normal by Box and Muller, 1958: element i uses words 2(i/2) and 2(i/2)+1. */
static double normal(stream *s, uint64_t i) {
    double u = uniform(s, i / 2 * 2), v = uniform(s, i / 2 * 2 + 1), r = sqrt(-2 * log(1 - u));
    return i % 2 ? r * sin(6.283185307179586 * v) : r * cos(6.283185307179586 * v);
}

static fy_status random_dtype(fy_dtype *t, const fy_node *n, fy_dtype like, ferry_error *e) {
    const fy_attr *a = fy_attr_get(n, "dtype");
    int64_t v = a ? a->i : like ? (int64_t)like : FERRY_FLOAT;
    *t = FERRY_FLOAT;
    FY_NEED(e, v > 0 && v <= FERRY_INT2 && fy_dtype_class((fy_dtype)v) != FY_CLASS_S && fy_dtype_class((fy_dtype)v) != FY_CLASS_C, ATTR,
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

static fy_status ref_normal(const fy_call *c) {
    fy_tensor *y;
    stream s = stream_of(c->node);
    double mean = fy_attr_f(c->node, "mean"), scale = fy_attr_f(c->node, "scale");
    FY_TRY(fy_mv_out(c, 0, &y));
    for (int64_t i = 0, n = y ? fy_count(y) : 0; i < n; i++) fy_put_f64(y, i, mean + scale * normal(&s, (uint64_t)i));
    return FY_OK;
}

static fy_status ref_uniform(const fy_call *c) {
    fy_tensor *y;
    stream s = stream_of(c->node);
    double low = fy_attr_f(c->node, "low"), high = fy_attr_f(c->node, "high");
    FY_TRY(fy_mv_out(c, 0, &y));
    for (int64_t i = 0, n = y ? fy_count(y) : 0; i < n; i++) fy_put_f64(y, i, low + (high - low) * uniform(&s, (uint64_t)i));
    return FY_OK;
}

static fy_status ref_bernoulli(const fy_call *c) {
    fy_tensor *y;
    stream s = stream_of(c->node);
    FY_TRY(fy_mv_out(c, 0, &y));
    for (int64_t i = 0, n = y ? fy_count(y) : 0; i < n; i++) fy_put_f64(y, i, uniform(&s, (uint64_t)i) < fy_get_f64(fy_arg(c, 0), i));
    return FY_OK;
}

#define SEED {"seed", FY_ATTR_FLOAT, NULL, "key of the generator; the node's number if not given"}
static const fy_attr_spec normal_attrs[] = {{"dtype", FY_ATTR_INT, "1", "dtype of y"}, {"mean", FY_ATTR_FLOAT, "0.0", "mean"},
    {"scale", FY_ATTR_FLOAT, "1.0", "standard deviation"}, SEED, {"shape", FY_ATTR_INTS, FY_REQUIRED, "shape of y"}, {0}};
static const fy_attr_spec normal_like_attrs[] = {{"dtype", FY_ATTR_INT, NULL, "dtype of y; that of x if not given"}, {"mean",
    FY_ATTR_FLOAT, "0.0", "mean"},
    {"scale", FY_ATTR_FLOAT, "1.0", "standard deviation"}, SEED, {0}};
static const fy_attr_spec uniform_attrs[] = {{"dtype", FY_ATTR_INT, "1", "dtype of y"}, {"high", FY_ATTR_FLOAT, "1.0", "end of the range"},
    {"low", FY_ATTR_FLOAT, "0.0", "begin of the range"}, SEED, {"shape", FY_ATTR_INTS, FY_REQUIRED, "shape of y"}, {0}};
static const fy_attr_spec uniform_like_attrs[] = {{"dtype", FY_ATTR_INT, NULL, "dtype of y; that of x if not given"},
    {"high", FY_ATTR_FLOAT, "1.0", "end of the range"}, {"low", FY_ATTR_FLOAT, "0.0", "begin of the range"}, SEED, {0}};
static const fy_attr_spec bernoulli_attrs[] = {{"dtype", FY_ATTR_INT, NULL, "dtype of y; that of x if not given"}, SEED, {0}};

const fy_op fy_op_random_normal = {.name = "RandomNormal", .domain = "", .doc = "y = samples of a normal distribution",
    .attrs = normal_attrs, .min_in = 0, .max_in = 0, .min_out = 1, .max_out = 1, .since = 22, .first = 1, .types = "T=" FY_T_FLOAT "||T",
    .infer = infer_random, .ref = ref_normal, .flags = FY_RANDOM};
const fy_op fy_op_random_uniform = {.name = "RandomUniform", .domain = "", .doc = "y = samples from [low, high)", .attrs = uniform_attrs,
    .min_in = 0, .max_in = 0, .min_out = 1, .max_out = 1, .since = 22, .first = 1, .types = "T=" FY_T_FLOAT "||T", .infer = infer_random,
    .ref = ref_uniform, .flags = FY_RANDOM};
const fy_op fy_op_random_normal_like = {.name = "RandomNormalLike", .domain = "", .doc = "RandomNormal with the shape of x",
    .attrs = normal_like_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 22, .first = 1,
    .types = "T=" FY_T_FLOAT "|*|T", .infer = infer_like, .ref = ref_normal, .flags = FY_RANDOM};
const fy_op fy_op_random_uniform_like = {.name = "RandomUniformLike", .domain = "", .doc = "RandomUniform with the shape of x",
    .attrs = uniform_like_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 22, .first = 1,
    .types = "T=" FY_T_FLOAT "|*|T", .infer = infer_like, .ref = ref_uniform, .flags = FY_RANDOM};
const fy_op fy_op_bernoulli = {.name = "Bernoulli", .domain = "", .doc = "y = 1 with probability x, else 0", .attrs = bernoulli_attrs,
    .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 22, .first = 15, .types = "P=" FY_T_FLOAT "|P|*", .infer = infer_like,
    .ref = ref_bernoulli, .flags = FY_RANDOM};

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

/* x holds log-probabilities that need not be normalised. */
static fy_status ref_multinomial(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y;
    stream s = stream_of(c->node);
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    const double *logit = fy_arg_f64(c, 0);
    int64_t classes = x->dim[1], n = y->dim[1];
    double *sum = FY_NEWN(c->scratch, double, classes);
    FY_NEED(c->e, logit && sum, NOMEM, "out of memory");
    FY_NEED(c->e, classes || !x->dim[0], SHAPE, "there are no classes to draw from");
    for (int64_t b = 0; b < x->dim[0]; b++) {
        double top = -HUGE_VAL, total = 0;
        for (int64_t k = 0; k < classes; k++) top = fmax(top, logit[b * classes + k]);
        for (int64_t k = 0; k < classes; k++) sum[k] = total += top > -HUGE_VAL ? exp(logit[b * classes + k] - top) : 1;
        for (int64_t i = 0; i < n; i++) {
            double u = uniform(&s, (uint64_t)(b * n + i)) * total;
            int64_t k = 0;
            while (k < classes - 1 && !(u < sum[k])) k++;
            fy_put_i64(y, b * n + i, k);
        }
    }
    return FY_OK;
}

static const fy_attr_spec multinomial_attrs[] = {{"dtype", FY_ATTR_INT, "6", "int32 or int64"}, {"sample_size", FY_ATTR_INT, "1",
    "draws a row"}, SEED, {0}};
const fy_op fy_op_multinomial = {.name = "Multinomial", .domain = "", .doc = "y[b, i] = a class drawn with log-probabilities x[b]",
    .attrs = multinomial_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 22, .first = 7,
    .types = "P=" FY_T_FLOAT ";I=i32,i64|P|I", .infer = infer_multinomial, .ref = ref_multinomial, .flags = FY_RANDOM};
