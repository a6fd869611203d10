/* SPDX-License-Identifier: Apache-2.0
 * ms_nbits.c - com.microsoft: MatMulNBits MatMulBnb4 GatherBlockQuantized: weights of few bits with one scale (and zero point) for
 * each block. Values are taken out a tile of rows at a time: no weight is ever there as a whole in double.
 * Shapes  MatMulNBits  A [.., K], B u8 [N, blocks, block_size bits / 8], scales [N, blocks], zero points u8 [N, ceil(blocks bits / 8)]
 *                      or like scales, g_idx i32 [K] (the block whose scale k has), bias [N] -> y [.., N]. Bits from the low end.
 *         MatMulBnb4   B u8 [(N K + 1) / 2], the first value in the high half, absmax [(N K + block_size - 1) / block_size]
 *         Gather...    data [.., d], indices -> y as Gather's; u8 data hold 8 / bits values a byte along the last axis.
 * Source  onnxruntime docs/ContribOperators.md; the tables of FP4 and NF4: Dettmers et al., "QLoRA", 2023, and bitsandbytes.
 * DIFF    accuracy_level asks for the least accuracy; here all is in double. onnxruntime's CPU kernel does not read zero points where there
 *         is a g_idx; here they are of the block that g_idx names. */
#include "ops/sub.h"

#include "tensor/gemm.h"

#include <math.h>
#include <string.h>

#define MS "com.microsoft"
#define TILE 64                          /* rows of a weight that are taken out together */

/* Value number i of `bits` bits (2, 4, 8) among bytes that follow each other. */
static int bits_at(const uint8_t *p, int64_t i, int bits) { return p[i * bits / 8] >> (i * bits % 8) & ((1 << bits) - 1); }

/* A u8 tensor as dense bytes. */
static fy_status dense_bytes(const fy_call *c, const fy_tensor *t, const uint8_t **p) {
    if (fy_contiguous(t)) {
        *p = t->data;
        return FY_OK;
    }
    fy_tensor copy;
    FY_TRY(fy_sub_room(c, &copy, FERRY_UINT8, t->rank, t->dim));
    fy_tensor_copy(&copy, t);
    *p = copy.data;
    return FY_OK;
}

/* y [M, rows of W] (+ bias) = A [M, K] W', W made by `take` in tiles [rows, K]. */
typedef struct weight { int64_t rows, cols; void (*take)(const struct weight *w, int64_t row, int64_t n, double *to); const void *more; } weight;

static fy_status product(const fy_call *c, const fy_tensor *x, const weight *w, const fy_tensor *bias, fy_tensor *y) {
    fy_tensor a, wide = *y;
    int64_t K = w->cols, N = w->rows, M = fy_count(y) / N, flat[2] = {M, N};
    FY_TRY(fy_k_gemm_ready(c, x, true, &a));
    bool direct = !bias && (y->dtype == FERRY_FLOAT || y->dtype == FERRY_DOUBLE);
    if (!direct) FY_TRY(fy_sub_room(c, &wide, FERRY_DOUBLE, 2, flat));
    double *tile = FY_NEWN(c->scratch, double, TILE * K), *v = wide.data;
    FY_NOMEM(c->e, tile);
    for (int64_t row = 0; row < N; row += TILE) {
        int64_t n = N - row < TILE ? N - row : TILE;
        w->take(w, row, n, tile);
        fy_mat ma = {a.data, a.dtype, K, 1}, mb = {tile, FERRY_DOUBLE, 1, K}, mc = {fy_k_at(&wide, row), wide.dtype, N, 1};
        FY_TRY(fy_gemm(mc, ma, mb, M, n, K, 1, 0, c->pool, c->e));
    }
    if (direct) return FY_OK;
    for (int64_t i = 0; bias && i < M * N; i++) v[i] += fy_get_f64(bias, i % N);
    fy_store_f64(y, 0, M * N, v);
    return FY_OK;
}

/* ---- MatMulNBits --------------------------------------------------------------------------------------------------- */

static fy_status size_attr(const fy_node *n, const char *name, int64_t *v, ferry_error *e) {
    *v = fy_attr_i(n, name);
    FY_NEED(e, *v >= 1 && *v <= INT32_MAX, ATTR, "%s is %lld", name, (long long)*v);
    return FY_OK;
}

static fy_status block_attr(const fy_node *n, int64_t *v, ferry_error *e) {
    *v = fy_attr_i(n, "block_size");
    FY_NEED(e, *v >= 16 && *v <= INT32_MAX && (*v & (*v - 1)) == 0, ATTR, "block_size is %lld; it must be a power of two from 16 on", (long long)*v);
    return FY_OK;
}

/* y like A with another last axis; A's must be `from`. */
static fy_status infer_last(fy_infer *f, int64_t from, int64_t to) {
    const fy_dim *dim[FY_MAX_RANK];
    int r;
    FY_TRY(fy_k_rank(f, 0, 1, FY_MAX_RANK, &r));
    for (int i = 0; i < r; i++) dim[i] = i < r - 1 ? fy_in_dim(f, 0, i) : fy_dim_const(f->dims, to);
    if (r > 0) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, r - 1), fy_dim_const(f->dims, from), "the last axis of A and the weight"));
    return fy_out_set(f, 0, fy_in_dtype(f, 0), r, r < 0 ? NULL : dim);
}

typedef struct nbits {
    const uint8_t *b, *zero;             /* zero: packed, or NULL */
    const double  *scale, *zeros;        /* zeros: one number each, or NULL */
    const int64_t *group;
    int64_t        blocks, block, blob, zero_row;
    int            bits;
} nbits;

static fy_status infer_nbits(fy_infer *f) {
    int64_t K, N, block, bits = fy_attr_i(f->node, "bits"), packed = fy_attr_i(f->node, "weight_prepacked");
    int r;
    FY_TRY(size_attr(f->node, "K", &K, f->e));
    FY_TRY(size_attr(f->node, "N", &N, f->e));
    FY_TRY(block_attr(f->node, &block, f->e));
    FY_NEED(f->e, bits == 2 || bits == 4 || bits == 8, ATTR, "bits is %lld; it can be 2, 4 or 8", (long long)bits);
    FY_NEED(f->e, packed == 0, UNSUPPORTED, "weight_prepacked is %lld: a layout of one CUDA kernel", (long long)packed);
    FY_TRY(fy_k_rank(f, 5, 1, 1, &r));
    if (r == 1) FY_TRY(fy_k_agree(f, fy_in_dim(f, 5, 0), fy_dim_const(f->dims, N), "N and bias"));
    return infer_last(f, K, N);
}

static void take_nbits(const weight *w, int64_t row, int64_t n, double *to) {
    const nbits *q = w->more;
    for (int64_t j = row; j < row + n; j++)
        for (int64_t k = 0; k < w->cols; k++) {
            int64_t g = q->group ? q->group[k] : k / q->block;
            double z = q->zeros ? q->zeros[j * q->blocks + g] : q->zero ? bits_at(q->zero + j * q->zero_row, g, q->bits) : 1 << (q->bits - 1);
            *to++ = (bits_at(q->b + (j * q->blocks + k / q->block) * q->blob, k % q->block, q->bits) - z) * q->scale[j * q->blocks + g];
        }
}

static fy_status ref_nbits(const fy_call *c) {
    const fy_tensor *b = fy_arg(c, 1), *s = fy_arg(c, 2), *z = fy_arg(c, 3), *g = fy_arg(c, 4), *bias = fy_arg(c, 5);
    fy_tensor *y = fy_res(c, 0);
    nbits q = {.bits = (int)fy_attr_i(c->node, "bits")};
    int64_t K = fy_attr_i(c->node, "K"), N = fy_attr_i(c->node, "N"), need;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(block_attr(c->node, &q.block, c->e));
    q.blocks = (K + q.block - 1) / q.block;
    q.blob = q.block * q.bits / 8;
    q.zero_row = (q.blocks * q.bits + 7) / 8;
    if (!fy_count(b)) {                                                 /* a projection left out: nothing, or the bias alone */
        for (int64_t i = 0; i < fy_count(y); i++) fy_put_f64(y, i, bias ? fy_get_f64(bias, i % N) : 0);
        return FY_OK;
    }
    FY_NEED(c->e, fy_mul_i64(&need, N, q.blocks) && fy_count(s) == need, SHAPE, "%lld scales; %lld rows of %lld blocks need one each", (long long)fy_count(s), (long long)N,
            (long long)q.blocks);
    FY_NEED(c->e, fy_mul_i64(&need, need, q.blob) && fy_count(b) == need, SHAPE, "the weight has %lld bytes; %lld are needed", (long long)fy_count(b), (long long)need);
    FY_TRY(dense_bytes(c, b, &q.b));
    FY_NOMEM(c->e, q.scale = fy_k_as_f64(c, s));
    if (z && z->dtype == FERRY_UINT8) {
        FY_NEED(c->e, fy_count(z) == N * q.zero_row, SHAPE, "zero points have %lld bytes; %lld are needed", (long long)fy_count(z), (long long)(N * q.zero_row));
        FY_TRY(dense_bytes(c, z, &q.zero));
    } else if (z) {
        FY_NEED(c->e, fy_count(z) == N * q.blocks, SHAPE, "%lld zero points; %lld are needed", (long long)fy_count(z), (long long)(N * q.blocks));
        FY_NOMEM(c->e, q.zeros = fy_k_as_f64(c, z));
    }
    if (g) {
        FY_NEED(c->e, fy_count(g) == K || fy_count(g) == q.blocks * q.block, SHAPE, "g_idx has %lld elements; %lld are needed", (long long)fy_count(g), (long long)K);
        FY_NOMEM(c->e, q.group = fy_k_as_i64(c, g));
        for (int64_t k = 0; k < K; k++)
            FY_NEED(c->e, q.group[k] >= 0 && q.group[k] < q.blocks, INDEX, "g_idx names block %lld of %lld", (long long)q.group[k], (long long)q.blocks);
    }
    weight w = {N, K, take_nbits, &q};
    return product(c, fy_arg(c, 0), &w, bias, y);
}
static const fy_attr_spec nbits_attrs[] = {{"K", FY_ATTR_INT, FY_REQUIRED}, {"N", FY_ATTR_INT, FY_REQUIRED}, {"bits", FY_ATTR_INT, "4"},
    {"block_size", FY_ATTR_INT, FY_REQUIRED}, {"accuracy_level", FY_ATTR_INT, "0"}, {"weight_prepacked", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_ms_mat_mul_n_bits = {.name = "MatMulNBits", .domain = MS, .attrs = nbits_attrs, .min_in = 3, .max_in = 6, .min_out = 1, .max_out = 1,
    .first = 1, .since = 1, .types = "T=" FY_T_FLOAT ";Z=u8," FY_T_FLOAT "|T,u8,T,Z,i32,T|T", .infer = infer_nbits, .ref = ref_nbits, .flags = FY_PURE};

/* ---- MatMulBnb4 ---------------------------------------------------------------------------------------------------- */

/* 0.0052.. is 1 / 192, the others twelfths: bitsandbytes' FP4. NF4: quantiles of a normal distribution, scaled to [-1, 1]. */
static const double fp4[16] = {0, 0.005208333333, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25, 0, -0.005208333333, -0.66666667, -1, -0.33333333, -0.5, -0.16666667, -0.25};
static const double nf4[16] = {-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
                               0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1};

typedef struct bnb { const uint8_t *b; const double *absmax, *table; int64_t K, block; bool transposed; } bnb;

static void take_bnb(const weight *w, int64_t row, int64_t n, double *to) {
    const bnb *q = w->more;
    for (int64_t j = row; j < row + n; j++)
        for (int64_t k = 0; k < w->cols; k++) {
            int64_t i = q->transposed ? j * q->K + k : k * q->K + j;
            *to++ = q->table[q->b[i / 2] >> (i & 1 ? 0 : 4) & 15] * q->absmax[i / q->block];
        }
}

static fy_status infer_bnb(fy_infer *f) {
    int64_t K, N, block, type = fy_attr_i(f->node, "quant_type");
    FY_TRY(size_attr(f->node, "K", &K, f->e));
    FY_TRY(size_attr(f->node, "N", &N, f->e));
    FY_TRY(block_attr(f->node, &block, f->e));
    FY_NEED(f->e, type == 0 || type == 1, ATTR, "quant_type is %lld; it can be 0 (FP4) or 1 (NF4)", (long long)type);
    bool t = fy_attr_i(f->node, "transB") != 0;
    return infer_last(f, t ? K : N, t ? N : K);
}

static fy_status ref_bnb(const fy_call *c) {
    const fy_tensor *b = fy_arg(c, 1), *s = fy_arg(c, 2);
    fy_tensor *y = fy_res(c, 0);
    int64_t K = fy_attr_i(c->node, "K"), N = fy_attr_i(c->node, "N"), n = 0;
    bnb q = {.K = K, .table = fy_attr_i(c->node, "quant_type") ? nf4 : fp4, .transposed = fy_attr_i(c->node, "transB") != 0};
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(block_attr(c->node, &q.block, c->e));
    FY_NEED(c->e, fy_mul_i64(&n, N, K) && fy_count(b) == (n + 1) / 2, SHAPE, "the weight has %lld bytes; %lld are needed", (long long)fy_count(b), (long long)((n + 1) / 2));
    FY_NEED(c->e, fy_count(s) == (n + q.block - 1) / q.block, SHAPE, "%lld scales; %lld are needed", (long long)fy_count(s), (long long)((n + q.block - 1) / q.block));
    FY_TRY(dense_bytes(c, b, &q.b));
    FY_NOMEM(c->e, q.absmax = fy_k_as_f64(c, s));
    weight w = {q.transposed ? N : K, q.transposed ? K : N, take_bnb, &q};
    return product(c, fy_arg(c, 0), &w, NULL, y);
}
static const fy_attr_spec bnb_attrs[] = {{"K", FY_ATTR_INT, FY_REQUIRED}, {"N", FY_ATTR_INT, FY_REQUIRED}, {"block_size", FY_ATTR_INT, FY_REQUIRED},
    {"quant_type", FY_ATTR_INT, FY_REQUIRED}, {"transB", FY_ATTR_INT, "1"}, {"training_mode", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_ms_mat_mul_bnb4 = {.name = "MatMulBnb4", .domain = MS, .attrs = bnb_attrs, .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1, .first = 1,
    .since = 1, .types = "T=" FY_T_FLOAT "|T,u8,T|T", .infer = infer_bnb, .ref = ref_bnb, .flags = FY_PURE};

/* ---- GatherBlockQuantized ------------------------------------------------------------------------------------------ */

typedef struct gather { int rank, axis, quantised; int64_t block, per, dim[FY_MAX_RANK]; bool small_float; } gather;      /* dim: of values, not bytes */

static fy_status read_gather(gather *g, const fy_node *n, fy_dtype t, int rank, ferry_error *e) {
    int64_t bits = fy_attr_i(n, "bits");
    FY_TRY(fy_axis(&g->axis, fy_attr_i(n, "gather_axis"), rank, e));
    FY_TRY(fy_axis(&g->quantised, fy_attr_i(n, "quantize_axis"), rank, e));
    g->rank = rank;
    g->small_float = t && fy_dtype_float(t);
    g->per = 1;
    g->block = fy_attr_i(n, "block_size");
    if (g->small_float && g->block == 0) return FY_OK;
    FY_TRY(block_attr(n, &g->block, e));
    if (t != FERRY_UINT8) return FY_OK;
    FY_NEED(e, bits == 2 || bits == 4 || bits == 8, ATTR, "bits is %lld; it can be 2, 4 or 8", (long long)bits);
    FY_NEED(e, g->axis != rank - 1 || bits == 8, ATTR, "packed data cannot be gathered along their last axis");
    FY_NEED(e, g->axis != g->quantised, ATTR, "gather_axis and quantize_axis are one");
    g->per = 8 / bits;
    return FY_OK;
}

static fy_status infer_gather(fy_infer *f) {
    int r, ri, rs;
    gather g;
    const fy_dim *dim[2 * FY_MAX_RANK];
    FY_TRY(fy_k_rank(f, 0, 1, FY_MAX_RANK, &r));
    FY_TRY(fy_k_rank(f, 1, 0, FY_MAX_RANK, &ri));
    FY_TRY(fy_k_rank(f, 2, r < 0 ? 1 : r, r < 0 ? FY_MAX_RANK : r, &rs));
    if (r < 0 || ri < 0) return fy_out_set(f, 0, fy_in_dtype(f, 2), -1, NULL);
    FY_TRY(read_gather(&g, f->node, fy_in_dtype(f, 0), r, f->e));
    FY_NEED(f->e, !g.small_float || !fy_in_has(f, 3), GRAPH, "zero points of a float dtype");
    FY_NEED(f->e, r + ri - 1 <= FY_MAX_RANK, LIMIT, "the result would have rank %d", r + ri - 1);
    int at = 0;
    for (int i = 0; i < r; i++) {
        if (i == g.axis) for (int k = 0; k < ri; k++) dim[at++] = fy_in_dim(f, 1, k);
        else dim[at++] = i == r - 1 ? fy_dim_muli(f->dims, fy_in_dim(f, 0, i), g.per) : fy_in_dim(f, 0, i);
    }
    return fy_out_set(f, 0, fy_in_dtype(f, 2), at, dim);
}

/* Scales have the dims of the values, but ceil(d / block) along the quantised axis; of small floats also 1 on others. */
static fy_status scale_strides(const fy_call *c, gather *g, const fy_tensor *data, const fy_tensor *scale, int64_t *stride) {
    int64_t dense[FY_MAX_RANK];
    for (int i = 0; i < g->rank; i++) FY_NEED(c->e, fy_mul_i64(&g->dim[i], data->dim[i], i == g->rank - 1 ? g->per : 1), LIMIT, "data are too large");
    if (g->block == 0) g->block = g->dim[g->quantised] > 0 ? g->dim[g->quantised] : 1;
    fy_strides(scale->rank, scale->dim, dense);
    for (int i = 0; i < g->rank; i++) {
        int64_t want = i == g->quantised ? (g->dim[i] + g->block - 1) / g->block : g->dim[i];
        bool one = g->small_float && i != g->quantised && scale->dim[i] == 1;
        FY_NEED(c->e, scale->dim[i] == want || one, SHAPE, "scales have size %lld on axis %d; %lld is needed", (long long)scale->dim[i], i, (long long)want);
        stride[i] = scale->dim[i] == 1 ? 0 : dense[i];
    }
    return FY_OK;
}

static fy_status ref_gather(const fy_call *c) {
    const fy_tensor *data = fy_arg(c, 0), *index = fy_arg(c, 1), *scale = fy_arg(c, 2), *zero = fy_arg(c, 3);
    fy_tensor *y = fy_res(c, 0);
    gather g;
    int64_t stride[FY_MAX_RANK], outer = 1, inner = 1, n = fy_count(index);
    const uint8_t *bytes = NULL, *zero_bytes = NULL;
    const double *zeros = NULL;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(read_gather(&g, c->node, data->dtype, data->rank, c->e));
    FY_TRY(scale_strides(c, &g, data, scale, stride));
    int bits = 8 / (int)g.per;
    bool packed = data->dtype == FERRY_UINT8;
    double *s = fy_k_as_f64(c, scale), *row;
    FY_NOMEM(c->e, s);
    int64_t zero_last = 0, scale_last = scale->dim[g.rank - 1];
    if (zero) {                                                         /* packed as data are: along the last axis */
        FY_NEED(c->e, zero->rank == scale->rank, SHAPE, "zero points have rank %d, scales %d", zero->rank, scale->rank);
        for (int i = 0; i < g.rank; i++) {
            int64_t want = i == g.rank - 1 && packed ? (scale->dim[i] + g.per - 1) / g.per : scale->dim[i];
            FY_NEED(c->e, zero->dim[i] == want, SHAPE, "zero points have size %lld on axis %d; %lld is needed", (long long)zero->dim[i], i, (long long)want);
        }
        zero_last = zero->dim[g.rank - 1];
        if (packed) FY_TRY(dense_bytes(c, zero, &zero_bytes));
        else FY_NOMEM(c->e, zeros = fy_k_as_f64(c, zero));
    }
    if (packed) FY_TRY(dense_bytes(c, data, &bytes));
    for (int i = 0; i < g.rank; i++) {
        if (i < g.axis) outer *= g.dim[i];
        if (i > g.axis) inner *= g.dim[i];
    }
    int64_t limit = g.dim[g.axis];
    FY_NOMEM(c->e, row = FY_NEWN(c->scratch, double, inner));
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < n; k++) {
            int64_t at = fy_get_i64(index, k), first;
            bool outside = at < -limit || at >= limit;                  /* zeros, not an error: so it is documented */
            first = (o * limit + (at < 0 ? at + limit : at)) * inner;
            if (outside) memset(row, 0, (size_t)inner * sizeof *row);
            else if (!packed) fy_load_f64(row, data, first, inner);
            for (int64_t i = 0; !outside && i < inner; i++) {
                int64_t rest = first + i, where = 0, last = 0;
                for (int d = g.rank - 1; d >= 0; d--) {
                    int64_t x = rest % g.dim[d], b = d == g.quantised ? x / g.block : x;
                    if (d == g.rank - 1) last = b;
                    where += b * stride[d];
                    rest /= g.dim[d];
                }
                double z = packed ? 1 << (bits - 1) : 0;
                if (packed) row[i] = bits_at(bytes, first + i, bits);
                if (zeros) z = zeros[where];
                if (zero_bytes) z = bits_at(zero_bytes + (scale_last ? where / scale_last : 0) * zero_last, last, bits);
                row[i] = (row[i] - z) * s[where];
            }
            fy_store_f64(y, (o * n + k) * inner, inner, row);
        }
    return FY_OK;
}
static const fy_attr_spec gather_attrs[] = {{"bits", FY_ATTR_INT, "4"}, {"block_size", FY_ATTR_INT, "128"}, {"gather_axis", FY_ATTR_INT, "0"},
    {"quantize_axis", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_ms_gather_block_quantized = {.name = "GatherBlockQuantized", .domain = MS, .attrs = gather_attrs, .min_in = 3, .max_in = 4, .min_out = 1,
    .max_out = 1, .first = 1, .since = 1, .types = "D=i4,u4,u8,f8e4m3,f8e4m3uz,f8e5m2,f8e5m2uz,f4e2m1;I=i32,i64;T=" FY_T_FLOAT "|D,I,T,D|T",
    .infer = infer_gather, .ref = ref_gather, .flags = FY_PURE};
