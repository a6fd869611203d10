/* SPDX-License-Identifier: Apache-2.0
 * ms_gqa.c - com.microsoft: GroupQueryAttention RotaryEmbedding.
 *
 * GroupQueryAttention: heads of queries share those of keys and values; rotary embeddings, normalised heads, a cache, a window, a
 * sink in the softmax. Everything is brought to ai.onnx's Attention: keys and values at their absolute positions as [B,Nk,T,H] in
 * double, one additive mask for what is not seen, and the sink as one more key of zeros whose score the mask sets.
 * Lengths   T = seqlens_k[b] + 1 tokens after this step, Q of them new (query_seqlens, else min(S, T)), P = T - Q before. A first
 *           prompt (S = total_sequence_length) has P = 0; rows from Q on are padding: their results are 0, as are cache rows from T on.
 * Cache     [B,Nk,C,H], C = max(total_sequence_length, past's); with sliding_window_cache C is the past's and rows [0, L) hold the
 *           last L positions, L = T if T <= C else T - G ceil((T - C) / G), G = C - W + 1 for a window of W.
 * Quantised caches hold round(x / scale), of 8 bits (i8, f8e4m3) or two of 4 bits in a u8, each plus 8, the first in the low half.
 * Source    onnxruntime docs/ContribOperators.md, and what its CPU provider does. */
#include "ops/move.h"
#include "ops/ms_attention.h"

#include <math.h>
#include <string.h>

#define MS "com.microsoft"

/* ---- RotaryEmbedding ----------------------------------------------------------------------------------------------- */

static fy_status infer_rotary(fy_infer *f) {
    int r, rc;
    FY_TRY(fy_k_rank(f, 0, 3, 4, &r));
    FY_TRY(fy_k_rank(f, 1, 0, 2, &rc));
    for (int i = 2; i < 4; i++) FY_TRY(fy_k_rank(f, i, 2, 2, &rc));
    for (int i = 0; i < 2 && fy_in_rank(f, 2) == 2 && fy_in_rank(f, 3) == 2; i++) FY_TRY(fy_k_agree(f, fy_in_dim(f, 2, i), fy_in_dim(f, 3, i), "sizes of the caches"));
    int64_t dim = fy_attr_i(f->node, "rotary_embedding_dim"), heads = fy_attr_i(f->node, "num_heads");
    FY_NEED(f->e, dim >= 0 && heads >= 0 && dim <= INT32_MAX && heads <= INT32_MAX, ATTR, "rotary_embedding_dim or num_heads is out of range");
    FY_NEED(f->e, dim == 0 || heads > 0, ATTR, "rotary_embedding_dim needs num_heads");
    return fy_k_like(f);
}

/* y [..] = the heads of x [B,N,S,H] or [B,S,N*H] turned, `turned` elements of each, by positions ids i64 [B,S]. */
static fy_status rotate(const fy_call *c, const fy_tensor *x, const fy_tensor *ids, int cosine, int64_t heads, int64_t turned, bool interleaved, fy_tensor *y) {
    static const fy_node bare = {.nattr = 0};
    const fy_tensor *in[4] = {x, fy_arg(c, cosine), fy_arg(c, cosine + 1), ids};
    fy_sub s;
    FY_NEED(c->e, in[1]->rank == 2 && in[2]->rank == 2 && fy_same_dims(in[1], in[2]), SHAPE, "the caches of angles differ");
    fy_sub_begin(&s, &fy_op_rotary_embedding, &bare);
    fy_sub_int(&s, "interleaved", interleaved);
    fy_sub_int(&s, "num_heads", heads);
    fy_sub_int(&s, "rotary_embedding_dim", turned);
    return fy_sub_run(c, &s, 4, in, 1, &y);
}

static fy_status ref_rotary(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *given = fy_arg(c, 1), *angles = fy_arg(c, 2);
    fy_tensor *y = fy_res(c, 0), ids;
    int64_t turned = fy_attr_i(c->node, "rotary_embedding_dim"), heads = fy_attr_i(c->node, "num_heads"), size;
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, angles->dim[1] > 0, SHAPE, "the caches hold no angles");
    if (x->rank == 4) {
        heads = x->dim[1];
        size = x->dim[3];
    } else {
        size = turned ? x->dim[2] / heads : angles->dim[1] * 2;
        if (heads == 0) heads = size ? x->dim[2] / size : 0;
        FY_NEED(c->e, heads > 0 && size * heads == x->dim[2], SHAPE, "hidden size %lld is not %lld heads of %lld", (long long)x->dim[2], (long long)heads, (long long)size);
    }
    int64_t dim[2] = {x->dim[0], x->dim[x->rank == 4 ? 2 : 1]}, n = dim[0] * dim[1];
    FY_TRY(fy_sub_room(c, &ids, FERRY_INT64, 2, dim));
    bool one = fy_count(given) == 1;
    FY_NEED(c->e, one || (given->rank == 2 && fy_same_dims(given, &ids)), SHAPE, "position_ids must be one number or [%lld,%lld]", (long long)dim[0], (long long)dim[1]);
    int64_t first = one ? fy_get_i64(given, 0) : 0;
    FY_NEED(c->e, first >= 0 && first < angles->dim[0], INDEX, "position %lld is outside the %lld of the caches", (long long)first, (long long)angles->dim[0]);
    for (int64_t i = 0; i < n; i++) ((int64_t *)ids.data)[i] = one ? first + i % dim[1] : fy_get_i64(given, i);
    return rotate(c, x, &ids, 2, heads, turned ? turned : angles->dim[1] * 2, fy_attr_i(c->node, "interleaved") != 0, y);
}
static const fy_attr_spec rotary_attrs[] = {{"interleaved", FY_ATTR_INT, "0"}, {"num_heads", FY_ATTR_INT, "0"}, {"rotary_embedding_dim", FY_ATTR_INT, "0"},
    {"is_packed_batching", FY_ATTR_INT, "0"}, {"scale", FY_ATTR_FLOAT, "1"}, {0}};
const fy_op fy_op_ms_rotary_embedding = {.name = "RotaryEmbedding", .domain = MS, .attrs = rotary_attrs, .min_in = 4, .max_in = 4, .min_out = 1, .max_out = 1,
    .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T,i64,T,T|T", .infer = infer_rotary, .ref = ref_rotary, .flags = FY_PURE};

/* ---- GroupQueryAttention: inference -------------------------------------------------------------------------------- */

enum { QUERY, KEY, VALUE, PAST_K, PAST_V, SEQLENS, TOTAL, COS, SIN, POSITIONS, BIAS, SINK, K_SCALE, V_SCALE, Q_NORM, K_NORM, Q_LENS };

/* How a cache is stored. */
typedef enum store { PLAIN, WHOLE, NIBBLES } store;

static fy_status store_of(const fy_node *n, bool value, fy_dtype t, store *s, ferry_error *e) {
    const char *name = value ? "v_quant_type" : "k_quant_type";
    int64_t bits = fy_attr_i(n, "kv_cache_bit_width");
    bool none = fy_attr_is(n, name, "NONE");
    FY_NEED(e, none || fy_attr_is(n, name, "PER_TENSOR") || fy_attr_is(n, name, "PER_CHANNEL"), ATTR, "%s must be NONE, PER_TENSOR or PER_CHANNEL", name);
    *s = none ? PLAIN : bits == 4 ? NIBBLES : WHOLE;
    if (none) {
        FY_NEED(e, !t || (fy_dtype_float(t) && fy_dtype_bits(t) > 8), TYPE, "a cache of %s, but %s is NONE", fy_dtype_name(t), name);
        return FY_OK;
    }
    FY_NEED(e, bits == 4 || bits == 8 || bits == 0, ATTR, "kv_cache_bit_width is %lld; it can be 4 or 8", (long long)bits);
    FY_NEED(e, !t || (*s == NIBBLES ? t == FERRY_UINT8 : t == FERRY_INT8 || t == FERRY_FLOAT8E4M3FN), TYPE, "a quantised cache of %lld bits in %s", (long long)bits,
            fy_dtype_name(t));
    return FY_OK;
}

static fy_status infer_gqa(fy_infer *f) {
    int rq, r;
    int64_t n = fy_attr_i(f->node, "num_heads"), nk = fy_attr_i(f->node, "kv_num_heads"), d, count, window = fy_attr_i(f->node, "local_window_size"), causal =
        fy_attr_i(f->node, "causal"), cap;
    bool sliding = fy_attr_i(f->node, "sliding_window_cache") != 0, packed = !fy_in_has(f, KEY), has_past = fy_in_has(f, PAST_K);
    FY_NEED(f->e, n >= 1 && nk >= 1 && n <= INT32_MAX && nk <= n && n % nk == 0, ATTR, "%lld heads do not share %lld of keys", (long long)n, (long long)nk);
    FY_NEED(f->e, causal == 0 || causal == 1, ATTR, "causal is %lld", (long long)causal);
    FY_NEED(f->e, causal || window == -1, ATTR, "local_window_size needs causal = 1");
    FY_NEED(f->e, window == -1 || (window >= 1 && window <= INT32_MAX), ATTR, "local_window_size is %lld", (long long)window);
    FY_NEED(f->e, !sliding || (window > 0 && has_past), ATTR, "sliding_window_cache needs local_window_size and a past");
    FY_NEED(f->e, fy_in_has(f, SEQLENS) && fy_in_has(f, TOTAL), GRAPH, "seqlens_k and total_sequence_length are needed");
    FY_NEED(f->e, packed == !fy_in_has(f, VALUE), GRAPH, "key and value go together");
    FY_NEED(f->e, has_past == fy_in_has(f, PAST_V), GRAPH, "past_key and past_value go together");
    FY_NEED(f->e, fy_in_has(f, COS) == fy_in_has(f, SIN), GRAPH, "cos_cache and sin_cache go together");
    FY_NEED(f->e, !fy_attr_i(f->node, "do_rotary") || fy_in_has(f, COS), GRAPH, "do_rotary needs cos_cache and sin_cache");
    FY_NEED(f->e, fy_in_has(f, Q_NORM) == fy_in_has(f, K_NORM), GRAPH, "q_norm_weight and k_norm_weight go together");
    FY_TRY(fy_k_rank(f, QUERY, 3, 3, &rq));
    for (int i = KEY; i <= VALUE; i++) FY_TRY(fy_k_rank(f, i, 3, 3, &r));
    for (int i = COS; i <= SIN; i++) FY_TRY(fy_k_rank(f, i, 2, 2, &r));
    FY_TRY(fy_k_rank(f, POSITIONS, 2, 2, &r));
    FY_TRY(fy_k_rank(f, SINK, 1, 1, &r));
    if (r == 1) FY_TRY(fy_k_agree(f, fy_in_dim(f, SINK, 0), fy_dim_const(f->dims, n), "heads and head_sink"));
    const fy_dim *B = rq == 3 ? fy_in_dim(f, QUERY, 0) : fy_dim_opaque(f->dims, "batch"), *S = rq == 3 ? fy_in_dim(f, QUERY, 1) : fy_dim_opaque(f->dims, "sequence"), *H;
    int64_t parts = packed ? n + 2 * nk : n;
    if (rq == 3) {
        if (fy_dim_known(fy_in_dim(f, QUERY, 2), &d)) FY_NEED(f->e, d % parts == 0, SHAPE, "hidden size %lld does not split into %lld heads", (long long)d, (long long)parts);
        H = fy_dim_divi(f->dims, fy_in_dim(f, QUERY, 2), parts);
    } else H = fy_dim_opaque(f->dims, "head");
    for (int i = KEY; i <= VALUE; i++) {
        if (fy_in_rank(f, i) != 3) continue;
        FY_TRY(fy_k_agree(f, B, fy_in_dim(f, i, 0), "batch sizes of query and key or value"));
        FY_TRY(fy_k_agree(f, S, fy_in_dim(f, i, 1), "lengths of query and key or value"));
        FY_TRY(fy_k_agree(f, fy_dim_muli(f->dims, H, nk), fy_in_dim(f, i, 2), "hidden sizes of query and key or value"));
    }
    for (int i = SEQLENS; i <= Q_LENS; i = i == SEQLENS ? Q_LENS : Q_LENS + 1) {
        FY_TRY(fy_k_rank(f, i, i == SEQLENS ? 0 : 1, 2, &r));
        if (r == 1) FY_TRY(fy_k_agree(f, B, fy_in_dim(f, i, 0), "batch size and lengths"));
    }
    const fy_dim *C = NULL, *const *total = fy_in_elems(f, TOTAL, &count), *T = total && count == 1 ? total[0] : NULL;
    store st[2];
    for (int i = 0; i < 2; i++) {
        int p = PAST_K + i;
        FY_TRY(store_of(f->node, i == 1, fy_in_has(f, p) ? fy_in_dtype(f, p) : 0, &st[i], f->e));
        FY_NEED(f->e, st[i] == PLAIN || fy_in_has(f, K_SCALE + i), GRAPH, "a quantised cache needs its scale");
        if (!has_past) continue;
        FY_TRY(fy_k_rank(f, p, 4, 4, &r));
        if (r != 4) continue;
        FY_TRY(fy_k_agree(f, B, fy_in_dim(f, p, 0), "batch sizes of query and past"));
        FY_TRY(fy_k_agree(f, fy_dim_const(f->dims, nk), fy_in_dim(f, p, 1), "heads of the past and kv_num_heads"));
        FY_TRY(fy_k_agree(f, st[i] == NIBBLES ? fy_dim_divi(f->dims, H, 2) : H, fy_in_dim(f, p, 3), "head sizes of past and query"));
        FY_TRY(fy_k_agree(f, fy_in_dim(f, PAST_K, 2), fy_in_dim(f, p, 2), "lengths of the past"));
        C = fy_in_dim(f, p, 2);
    }
    if (sliding && C && fy_dim_known(C, &cap)) FY_NEED(f->e, cap >= window, SHAPE, "a cache of %lld rows for a window of %lld", (long long)cap, (long long)window);
    if (!sliding) C = !T || (has_past && !C) ? NULL : has_past ? fy_mv_max(f, T, C) : T;
    if (!C) C = fy_dim_opaque(f->dims, "cache");
    const fy_dim *y[3] = {B, S, fy_dim_muli(f->dims, H, n)}, *s[4] = {B, fy_dim_const(f->dims, n), S, T ? T : fy_dim_opaque(f->dims, "keys")};
    FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, QUERY), 3, y));
    for (int i = 0; i < 2 && i + 1 < f->nout; i++) {
        const fy_dim *p[4] = {B, fy_dim_const(f->dims, nk), C, st[i] == NIBBLES ? fy_dim_divi(f->dims, H, 2) : H};
        fy_dtype t = has_past ? fy_in_dtype(f, PAST_K + i) : st[i] == PLAIN ? fy_in_dtype(f, QUERY) : st[i] == NIBBLES ? FERRY_UINT8 : FERRY_INT8;
        FY_TRY(fy_out_set(f, i + 1, t, 4, p));
    }
    FY_NEED(f->e, f->nout < 4 || fy_attr_i(f->node, "qk_output") == 1 || fy_attr_i(f->node, "qk_output") == 2, ATTR, "output_qk needs qk_output 1 or 2");
    return f->nout > 3 ? fy_out_set(f, 3, fy_in_dtype(f, QUERY), 4, s) : FY_OK;
}

/* ---- GroupQueryAttention: running ---------------------------------------------------------------------------------- */

typedef struct gqa {
    int64_t  B, S, N, Nk, H, C, most, total, window;
    int64_t *T, *Q;                      /* of each row of the batch */
    bool     sliding, causal, sink;
} gqa;

static int64_t resident(const gqa *g, int64_t tokens) {
    int64_t step = g->C - g->window + 1;
    if (!g->sliding || tokens <= g->C) return tokens;
    return tokens - step * ((tokens - g->C + step - 1) / step);
}

static fy_status lengths(const fy_call *c, gqa *g) {
    const fy_tensor *k = fy_arg(c, SEQLENS), *q = fy_arg(c, Q_LENS), *past = fy_arg(c, PAST_K);
    FY_TRY(fy_ms_scalar(c, TOTAL, 1, INT32_MAX, &g->total, "total_sequence_length"));
    FY_NEED(c->e, fy_count(k) == g->B, SHAPE, "%lld lengths for a batch of %lld", (long long)fy_count(k), (long long)g->B);
    g->T = FY_NEWN(c->scratch, int64_t, g->B);
    g->Q = FY_NEWN(c->scratch, int64_t, g->B);
    FY_NOMEM(c->e, g->T && g->Q);
    int64_t before = past ? past->dim[2] : 0;
    g->C = g->sliding || before > g->total ? before : g->total;
    for (int64_t b = 0; b < g->B; b++) {
        int64_t t = fy_get_i64(k, b), n = q ? fy_get_i64(q, b) : g->S;
        FY_NEED(c->e, t >= 0 && t < g->total, VALUE, "seqlens_k is %lld; total_sequence_length is %lld", (long long)t, (long long)g->total);
        g->T[b] = ++t;
        if (!q && g->S == g->total && n > t) n = t;                      /* a first prompt, padded */
        FY_NEED(c->e, n >= 0 && n <= g->S && n <= t, VALUE, "%lld new tokens of %lld", (long long)n, (long long)t);
        g->Q[b] = n;
        int64_t had = resident(g, t - n);
        FY_NEED(c->e, had <= before, VALUE, "%lld tokens came before; the past holds %lld", (long long)(t - n), (long long)before);
        g->most = t > g->most ? t : g->most;
    }
    return FY_OK;
}

/* One value of a cache's row, and how one is kept. */
static fy_status scale_of(const fy_call *c, int input, const char *name, const gqa *g, double **scale) {
    const fy_tensor *t = fy_arg(c, input);
    int64_t n = fy_count(t);
    bool each = fy_attr_is(c->node, name, "PER_CHANNEL");
    FY_NEED(c->e, n == (each ? g->Nk * g->H : 1), SHAPE, "%lld scales of a cache with %lld heads of %lld", (long long)n, (long long)g->Nk, (long long)g->H);
    FY_NOMEM(c->e, *scale = FY_NEWN(c->scratch, double, g->Nk * g->H));
    for (int64_t i = 0; i < g->Nk * g->H; i++) (*scale)[i] = fy_get_f64(t, each ? i : 0);
    return FY_OK;
}

static void load_row(const fy_tensor *t, int64_t row, int64_t H, store st, const double *scale, double *to) {
    if (st != NIBBLES) {
        fy_load_f64(to, t, row * H, H);
        for (int64_t i = 0; scale && i < H; i++) to[i] *= scale[i];
        return;
    }
    for (int64_t i = 0; i < H; i++) {
        int64_t both = fy_get_i64(t, (row * H + i) / 2);
        to[i] = (double)((i & 1 ? both >> 4 : both & 15) - 8) * scale[i];
    }
}

/* x as a cache of dtype t holds it, before the scale is multiplied in again. */
static double kept(double x, double scale, store st, fy_dtype t) {
    double v = fy_round_to(FERRY_FLOAT, x / scale), lo = st == NIBBLES ? -8 : -128, hi = st == NIBBLES ? 7 : 127;
    if (t == FERRY_FLOAT8E4M3FN) return fy_round_to(t, fmin(fmax(v, -448), 448));
    return v != v ? 0 : fmin(fmax(rint(v), lo), hi);
}

static void store_row(fy_tensor *t, int64_t row, int64_t H, store st, const double *scale, const double *from) {
    for (int64_t i = 0; i < H; i++) {
        if (st == PLAIN) {
            fy_put_f64(t, row * H + i, from[i]);
            continue;
        }
        double v = kept(from[i], scale[i], st, t->dtype);
        if (st == WHOLE) fy_put_f64(t, row * H + i, v);
        else {
            int64_t at = (row * H + i) / 2, both = fy_get_i64(t, at), half = (int64_t)v + 8;
            fy_put_i64(t, at, i & 1 ? (both & 15) | half << 4 : (both & 240) | half);
        }
    }
}

/* Rows at their absolute positions [B,Nk,most + sink,H]: the past's, then the new ones; and the cache after this step. */
static fy_status gather(const fy_call *c, const gqa *g, const fy_tensor *now, bool value, fy_tensor *all) {
    const fy_tensor *past = fy_arg(c, value ? PAST_V : PAST_K);
    fy_tensor *present = fy_res(c, value ? 2 : 1);
    int64_t H = g->H, width = g->most + g->sink, dim[4] = {g->B, g->Nk, width, H};
    fy_dtype dtype = past ? past->dtype : present ? present->dtype : FERRY_INT8;
    double *scale = NULL;
    store st;
    FY_TRY(store_of(c->node, value, past ? past->dtype : 0, &st, c->e));
    if (st != PLAIN) FY_TRY(scale_of(c, value ? V_SCALE : K_SCALE, value ? "v_quant_type" : "k_quant_type", g, &scale));
    FY_NEED(c->e, st != NIBBLES || H % 2 == 0, SHAPE, "a head size of %lld cannot be kept in halves of bytes", (long long)H);
    FY_TRY(fy_sub_room(c, all, FERRY_DOUBLE, 4, dim));
    if (present) {
        fy_mv_zero(present);
        for (int64_t i = 0; st == NIBBLES && i < fy_count(present); i++) fy_put_i64(present, i, 0x88);      /* two zeros */
    }
    for (int64_t b = 0; b < g->B && H; b++)
        for (int64_t h = 0; h < g->Nk; h++) {
            int64_t T = g->T[b], P = T - g->Q[b], had = resident(g, P), keep = resident(g, T), plane = b * g->Nk + h;
            const double *s = scale ? scale + h * H : NULL;
            double *row = (double *)all->data + plane * width * H;
            for (int64_t t = P - had; t < P; t++) load_row(past, plane * past->dim[2] + t - (P - had), H, st, s, row + t * H);
            for (int64_t t = P; t < T; t++) {                           /* new rows are read as the cache holds them */
                fy_load_f64(row + t * H, now, (plane * g->S + t - P) * H, H);
                for (int64_t i = 0; s && i < H; i++) row[t * H + i] = kept(row[t * H + i], s[i], st, dtype) * s[i];
            }
            for (int64_t t = T - keep; present && t < T; t++) store_row(present, plane * g->C + t - (T - keep), H, st, s, row + t * H);
        }
    return FY_OK;
}

/* What is added to the scores: 0 or the bias where a key is seen, -inf elsewhere; the sink's own score last. */
static fy_status additive(const fy_call *c, const gqa *g, fy_tensor *mask) {
    const fy_tensor *bias = fy_arg(c, BIAS), *sink = fy_arg(c, SINK);
    if (bias) FY_TRY(fy_ms_check_bias(c, bias, g->B, g->N, g->S, g->total));
    int64_t width = g->most + g->sink, dim[4] = {g->B, (bias && bias->dim[1] != 1) || sink ? g->N : 1, g->S, width};
    FY_TRY(fy_sub_room(c, mask, FERRY_DOUBLE, 4, dim));
    double *p = mask->data;
    for (int64_t b = 0; b < g->B; b++)
        for (int64_t h = 0; h < dim[1]; h++)
            for (int64_t s = 0; s < g->S; s++, p += width) {
                int64_t T = g->T[b], P = T - g->Q[b], at = P + s, first = P - resident(g, P);
                if (g->causal && g->window > 0 && at - g->window + 1 > first) first = at - g->window + 1;
                if (bias) fy_load_f64(p, bias, (((bias->dim[0] == 1 ? 0 : b) * bias->dim[1] + (bias->dim[1] == 1 ? 0 : h)) * g->S + s) * g->total, g->most);
                for (int64_t t = 0; t < g->most; t++)
                    if (s >= g->Q[b] || t >= T || t < first || (g->causal && t > at)) p[t] = -HUGE_VAL;
                if (g->sink) p[g->most] = s >= g->Q[b] ? -HUGE_VAL : sink ? fy_get_f64(sink, h) : 0;
            }
    return FY_OK;
}

/* x [B,n,S,H] normalised by the root of the mean of its squares, head by head. */
static fy_status normalise(const fy_call *c, fy_tensor *x, int weight, const char *own) {
    if (!fy_arg(c, weight)) return FY_OK;
    const fy_attr *eps = fy_attr_get(c->node, own);
    const fy_tensor *in[2] = {x, fy_arg(c, weight)};
    fy_tensor y, *to = &y;
    fy_sub s;
    FY_NEED(c->e, in[1]->rank == 1 && in[1]->dim[0] == x->dim[3], SHAPE, "a norm's weight must have %lld elements", (long long)x->dim[3]);
    FY_TRY(fy_sub_room(c, &y, FERRY_DOUBLE, 4, x->dim));
    fy_sub_begin(&s, &fy_op_rms_normalization, c->node);
    fy_sub_float(&s, "epsilon", eps ? eps->f : fy_attr_f(c->node, "qk_norm_epsilon"));
    FY_TRY(fy_sub_run(c, &s, 2, in, 1, &to));
    *x = y;
    return FY_OK;
}

static fy_status turn(const fy_call *c, const gqa *g, fy_tensor *q, fy_tensor *k) {
    const fy_tensor *given = fy_arg(c, POSITIONS), *angles = fy_arg(c, COS);
    int64_t dim[2] = {g->B, g->S};
    fy_tensor ids, y[2], *side[2] = {q, k};
    bool interleaved = fy_attr_i(c->node, "rotary_interleaved") != 0;
    if (!fy_attr_i(c->node, "do_rotary")) return FY_OK;
    FY_NEED(c->e, !given || (given->dim[0] == g->B && given->dim[1] == g->S), SHAPE, "position_ids do not fit the query");
    FY_TRY(fy_sub_room(c, &ids, FERRY_INT64, 2, dim));
    for (int64_t b = 0; b < g->B; b++)
        for (int64_t s = 0; s < g->S; s++)
            ((int64_t *)ids.data)[b * g->S + s] = s >= g->Q[b] ? 0 : given ? fy_get_i64(given, b * g->S + s) : g->T[b] - g->Q[b] + s;
    for (int i = 0; i < 2; i++) {
        FY_TRY(fy_sub_room(c, &y[i], FERRY_DOUBLE, 4, side[i]->dim));
        if (fy_count(&y[i])) FY_TRY(rotate(c, side[i], &ids, COS, side[i]->dim[1], 2 * angles->dim[1], interleaved, &y[i]));
        *side[i] = y[i];
    }
    return FY_OK;
}

/* Scores [B,N,S,most + sink] into the output [B,N,S,total]: without the sink, 0 where a key is not seen. */
static void copy_scores(const gqa *g, const fy_tensor *from, fy_tensor *to) {
    int64_t width = g->most + g->sink;
    fy_mv_zero(to);
    for (int64_t i = 0; i < g->B * g->N * g->S; i++)
        for (int64_t t = 0; t < g->most; t++) {
            double v = ((double *)from->data)[i * width + t];
            if (v != -HUGE_VAL) fy_put_f64(to, i * g->total + t, v);
        }
}

static fy_status ref_gqa(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, QUERY), *key = fy_arg(c, KEY), *value = fy_arg(c, VALUE);
    int64_t n = fy_attr_i(c->node, "num_heads"), nk = fy_attr_i(c->node, "kv_num_heads"), size = x->dim[2] / (key != NULL ? n : n + 2 * nk);
    gqa g = {.B = x->dim[0], .S = x->dim[1], .N = n, .Nk = nk, .H = size, .window = fy_attr_i(c->node, "local_window_size"),
             .sliding = fy_attr_i(c->node, "sliding_window_cache") != 0, .causal = fy_attr_i(c->node, "causal") != 0,
             .sink = fy_attr_i(c->node, "smooth_softmax") == 1 || fy_arg(c, SINK)};
    fy_tensor q = fy_ms_heads(x, 0, n, size), k, v, mask, scored, *dump = fy_res(c, 3);
    k = key ? fy_ms_heads(key, 0, nk, size) : fy_ms_heads(x, n * size, nk, size);
    v = value ? fy_ms_heads(value, 0, nk, size) : fy_ms_heads(x, (n + nk) * size, nk, size);
    FY_NEED(c->e, size > 0 && g.B > 0 && g.S > 0, SHAPE, "GroupQueryAttention of nothing");
    FY_TRY(lengths(c, &g));
    FY_TRY(normalise(c, &q, Q_NORM, "q_norm_epsilon"));
    FY_TRY(normalise(c, &k, K_NORM, "k_norm_epsilon"));
    FY_TRY(turn(c, &g, &q, &k));
    fy_tensor now[2] = {k, v};
    FY_TRY(gather(c, &g, &now[0], false, &k));
    FY_TRY(gather(c, &g, &now[1], true, &v));
    FY_TRY(additive(c, &g, &mask));
    fy_ms_core core = {.q = &q, .k = &k, .v = &v, .mask = &mask, .y = fy_res(c, 0), .scale = fy_attr_f(c->node, "scale"), .softcap = fy_attr_f(c->node, "softcap"),
                       .qk_mode = fy_attr_i(c->node, "qk_output") == 2 ? 3 : 2};
    if (dump) {
        int64_t dim[4] = {g.B, g.N, g.S, g.most + g.sink};
        FY_TRY(fy_sub_room(c, &scored, FERRY_DOUBLE, 4, dim));
        core.qk = &scored;
    }
    FY_TRY(fy_ms_attend(c, &core));
    if (dump) copy_scores(&g, &scored, dump);
    return FY_OK;
}

static const fy_attr_spec gqa_attrs[] = {{"num_heads", FY_ATTR_INT, FY_REQUIRED}, {"kv_num_heads", FY_ATTR_INT, FY_REQUIRED}, {"scale", FY_ATTR_FLOAT, "0"},
    {"softcap", FY_ATTR_FLOAT, "0"}, {"local_window_size", FY_ATTR_INT, "-1"}, {"causal", FY_ATTR_INT, "1"}, {"do_rotary", FY_ATTR_INT, "0"},
    {"rotary_interleaved", FY_ATTR_INT, "0"}, {"smooth_softmax", FY_ATTR_INT, "-1"}, {"qk_output", FY_ATTR_INT, "0"},
    {"sliding_window_cache", FY_ATTR_INT, "0"}, {"k_quant_type", FY_ATTR_STRING, "NONE"}, {"v_quant_type", FY_ATTR_STRING, "NONE"},
    {"kv_cache_bit_width", FY_ATTR_INT, "0"}, {"qk_norm_epsilon", FY_ATTR_FLOAT, "1e-6"}, {"q_norm_epsilon", FY_ATTR_FLOAT, NULL},
    {"k_norm_epsilon", FY_ATTR_FLOAT, NULL}, {0}};
const fy_op fy_op_ms_group_query_attention = {.name = "GroupQueryAttention", .domain = MS, .attrs = gqa_attrs, .min_in = 1, .max_in = 17, .min_out = 1,
    .max_out = 4, .first = 1, .since = 1,
    .types = "T=" FY_T_FLOAT ";K=" FY_T_FLOAT ",i8,u8,f8e4m3;V=" FY_T_FLOAT ",i8,u8,f8e4m3|T,T,T,K,V,i32,i32,T,T,i64,T,T,f32,f32,T,T,i32|T,K,V,T",
    .infer = infer_gqa, .ref = ref_gqa, .flags = FY_PURE};
