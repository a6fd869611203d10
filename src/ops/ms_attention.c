/* SPDX-License-Identifier: Apache-2.0
 * ms_attention.c - com.microsoft: Attention QAttention MultiHeadAttention DecoderMaskedMultiHeadAttention.
 *
 * y = softmax(scale Q K' + mask + attention_bias) V for each head, by ai.onnx's Attention. What is done here: the projection of one
 * input by merged weights (Attention, QAttention), the bias of the projections, packed layouts, caches that are written in place
 * (past_sequence_length of max_sequence_length), beams, and masks.
 * Sizes   B batch, S queries, L new keys, P past, T = P + L, M of a shared buffer, N heads, H and Hv their sizes.
 * Masks   i32 [B] lengths, [2B] ends then starts, [3B+2] lengths and offsets, [B,L] or [B,T], [B,S,T], [B,1,M,M] (row P + s): 0 adds
 *         mask_filter_value (a finite number: a row with all of it is uniform). Unidirectional: later keys get the lowest float.
 * Source  onnxruntime docs/ContribOperators.md, and what its CPU provider does. */
#include "ops/ms_attention.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define MS "com.microsoft"

/* ---- shared with GroupQueryAttention ------------------------------------------------------------------------------- */

fy_tensor fy_ms_heads(const fy_tensor *x, int64_t from, int64_t n, int64_t size) {
    fy_tensor v = {.dtype = x->dtype, .rank = 4, .dim = {x->dim[0], n, x->dim[1], size},
                   .stride = {x->stride[0], size * x->stride[2], x->stride[1], x->stride[2]}, .data = x->data};
    if (from && x->data) v.data = fy_k_at(x, from * x->stride[2]);
    return v;
}

fy_tensor fy_ms_packed(const fy_tensor *x, int64_t part) {
    fy_tensor v = {.dtype = x->dtype, .rank = 4, .dim = {x->dim[0], x->dim[2], x->dim[1], x->dim[4]},
                   .stride = {x->stride[0], x->stride[2], x->stride[1], x->stride[4]}, .data = x->data};
    if (part && x->data) v.data = fy_k_at(x, part * x->stride[3]);
    return v;
}

fy_status fy_ms_attend(const fy_call *c, const fy_ms_core *a) {
    static const fy_node bare = {.nattr = 0};
    const fy_tensor *in[6] = {a->q, a->k, a->v, a->mask, a->past_k, a->past_v};
    fy_tensor *out[4] = {a->y, a->present_k, a->present_v, a->qk};
    fy_sub s;
    fy_sub_begin(&s, &fy_op_attention, &bare);
    if (a->scale != 0) fy_sub_float(&s, "scale", a->scale);
    fy_sub_float(&s, "softcap", a->softcap);
    fy_sub_int(&s, "qk_matmul_output_mode", a->qk_mode);
    return fy_sub_run(c, &s, 6, in, 4, out);
}

fy_status fy_ms_check_bias(const fy_call *c, const fy_tensor *bias, int64_t B, int64_t N, int64_t S, int64_t T) {
    const int64_t want[4] = {B, N, S, T};
    FY_NEED(c->e, bias->rank == 4, SHAPE, "attention_bias has rank %d; it must have rank 4", bias->rank);
    for (int i = 0; i < 4; i++)
        FY_NEED(c->e, bias->dim[i] == want[i] || (i < 2 && bias->dim[i] == 1), SHAPE, "attention_bias has size %lld on axis %d; %lld is needed", (long long)bias->dim[i],
                i, (long long)want[i]);
    return FY_OK;
}

fy_status fy_ms_scalar(const fy_call *c, int input, int64_t lo, int64_t hi, int64_t *v, const char *what) {
    const fy_tensor *t = fy_arg(c, input);
    FY_NEED(c->e, t && fy_count(t) == 1, SHAPE, "%s must hold one number", what);
    *v = fy_get_i64(t, 0);
    FY_NEED(c->e, *v >= lo && *v <= hi, VALUE, "%s is %lld; it must be from %lld to %lld", what, (long long)*v, (long long)lo, (long long)hi);
    return FY_OK;
}

/* ---- masks --------------------------------------------------------------------------------------------------------- */

typedef struct job {
    fy_tensor        q, k, v;            /* [B,N,S,H] [B,N,L,H] [B,N,L,Hv] */
    const fy_tensor *past_k, *past_v;    /* [B,N,P,H]; of a shared buffer [B,N,M,H] */
    fy_tensor       *present_k, *present_v, *y, *qk;
    const fy_tensor *mask, *bias;
    bool             shared, causal;
    int64_t          past;               /* P */
    const fy_tensor *beams;              /* [B / width, width, M], or NULL */
    int64_t          width;
} job;

/* What the mask adds at [b, s, t]. */
typedef struct mask { const fy_tensor *m; enum { NO_MASK, LENGTHS, KEYS, QUERIES, MEGATRON } kind; int64_t B, S, L, T, P; bool starts; } mask;

static fy_status mask_kind(const fy_call *c, mask *w, const fy_tensor *m) {
    w->m = m;
    w->kind = NO_MASK;
    if (!m) return FY_OK;
    if (m->rank == 1) {
        FY_NEED(c->e, m->dim[0] == w->B || m->dim[0] == 2 * w->B || m->dim[0] == 3 * w->B + 2, SHAPE, "a mask of %lld lengths for a batch of %lld",
                (long long)m->dim[0], (long long)w->B);
        w->starts = m->dim[0] == 2 * w->B;
        w->kind = LENGTHS;
    } else if (m->rank == 2) {
        if (m->dim[1] == 1 && (m->dim[0] == w->B || m->dim[0] == 1) && w->T != 1) return FY_OK;     /* adds the same to all keys */
        FY_NEED(c->e, m->dim[0] == w->B && (m->dim[1] == w->T || m->dim[1] == w->L), SHAPE, "the mask is [%lld,%lld]; [%lld,%lld] is needed", (long long)m->dim[0],
                (long long)m->dim[1], (long long)w->B, (long long)w->T);
        w->kind = KEYS;
    } else if (m->rank == 3) {
        FY_NEED(c->e, m->dim[0] == w->B && m->dim[1] == w->S && m->dim[2] == w->T, SHAPE, "the mask is [%lld,%lld,%lld]; [%lld,%lld,%lld] is needed",
                (long long)m->dim[0], (long long)m->dim[1], (long long)m->dim[2], (long long)w->B, (long long)w->S, (long long)w->T);
        w->kind = QUERIES;
    } else {
        FY_NEED(c->e, m->rank == 4 && m->dim[0] == w->B && m->dim[1] == 1 && m->dim[2] == m->dim[3] && m->dim[2] >= w->T && m->dim[2] >= w->P + w->S, SHAPE,
                "a mask of rank %d must be [%lld,1,M,M] with M of %lld at least", m->rank, (long long)w->B, (long long)w->T);
        w->kind = MEGATRON;
    }
    return FY_OK;
}

static bool hidden(const mask *w, int64_t b, int64_t s, int64_t t) {
    switch (w->kind) {
    case NO_MASK: return false;
    case LENGTHS: return t >= fy_get_i64(w->m, b) || (w->starts && t < fy_get_i64(w->m, w->B + b));
    case KEYS: {
        int64_t n = w->m->dim[1], k = t - (w->T - n);                   /* of new keys only: the past is seen */
        return k >= 0 && fy_get_i64(w->m, b * n + k) <= 0;
    }
    case QUERIES: return fy_get_i64(w->m, (b * w->S + s) * w->T + t) <= 0;
    case MEGATRON: break;
    }
    int64_t n = w->m->dim[2];
    return fy_get_i64(w->m, (b * n + w->P + s) * n + t) <= 0;
}

/* All that is added to the scores, in double; *out stays empty where that is nothing. */
static fy_status additive(const fy_call *c, const job *j, int64_t T, fy_tensor *out, bool *any) {
    int64_t B = j->q.dim[0], N = j->q.dim[1], S = j->q.dim[2], L = j->k.dim[2];
    bool causal = j->causal && S > 1, each = j->bias && j->bias->rank == 4 && j->bias->dim[1] != 1;
    mask w = {.B = B, .S = S, .L = L, .T = T, .P = j->past};
    FY_TRY(mask_kind(c, &w, j->mask));
    if (j->bias) FY_TRY(fy_ms_check_bias(c, j->bias, B, N, S, T));
    *any = causal || w.kind != NO_MASK || j->bias != NULL;
    if (!*any) return FY_OK;
    double filter = fy_attr_f(c->node, "mask_filter_value");
    int64_t dim[4] = {B, each ? N : 1, S, T}, at = 0;
    FY_TRY(fy_sub_room(c, out, FERRY_DOUBLE, 4, dim));
    double *p = out->data;
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < dim[1]; h++)
            for (int64_t s = 0; s < S; s++, at += T) {
                if (j->bias && T) {
                    const fy_tensor *x = j->bias;
                    fy_load_f64(p + at, x, (((x->dim[0] == 1 ? 0 : b) * x->dim[1] + h) * S + s) * T, T);
                }
                for (int64_t t = 0; t < T; t++) {
                    if (causal && s < S - 1 && t > j->past + s) p[at + t] = -(double)FLT_MAX;     /* the last query sees all keys, however many */
                    else if (hidden(&w, b, s, t)) p[at + t] += filter;
                }
            }
    return FY_OK;
}

/* ---- caches -------------------------------------------------------------------------------------------------------- */

/* A shared buffer: its first P rows and the new ones as [B,N,T,H]; present is the buffer with the new rows written. Row t of beam i
 * comes from the beam that `beams` names. */
static fy_status from_buffer(const fy_call *c, const job *j, const fy_tensor *now, const fy_tensor *buffer, fy_tensor *present, fy_tensor *all) {
    int64_t B = now->dim[0], N = now->dim[1], L = now->dim[2], H = now->dim[3], P = j->past, M = buffer->dim[2], dim[4] = {B, N, P + L, H};
    FY_TRY(fy_sub_room(c, all, FERRY_DOUBLE, 4, dim));
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < N; h++)
            for (int64_t t = 0; t < P + L && H; t++) {
                int64_t from = b;
                if (j->beams && t < P) {
                    int64_t beam = fy_get_i64(j->beams, b * M + t);
                    FY_NEED(c->e, beam >= 0 && beam < j->width, INDEX, "cache_indirection names beam %lld of %lld", (long long)beam, (long long)j->width);
                    from = b / j->width * j->width + beam;
                }
                double *row = (double *)all->data + ((b * N + h) * (P + L) + t) * H;
                if (t < P) fy_load_f64(row, buffer, ((from * N + h) * M + t) * H, H);
                else fy_load_f64(row, now, ((b * N + h) * L + t - P) * H, H);
            }
    if (!present) return FY_OK;
    fy_tensor_copy(present, buffer);
    for (int64_t i = 0; i < B * N && L && H; i++) fy_store_f64(present, (i * M + P) * H, L * H, (double *)all->data + (i * (P + L) + P) * H);
    return FY_OK;
}

static fy_status attend(const fy_call *c, job *j) {
    fy_tensor k = j->k, v = j->v, sum = {0};
    int64_t T = j->past + j->k.dim[2];
    bool any;
    FY_TRY(additive(c, j, T, &sum, &any));
    fy_ms_core core = {.q = &j->q, .k = &k, .v = &v, .mask = any ? &sum : NULL, .y = j->y, .qk = j->qk, .qk_mode = 2, .scale = fy_attr_f(c->node, "scale")};
    if (j->shared) {
        FY_TRY(from_buffer(c, j, &j->k, j->past_k, j->present_k, &k));
        FY_TRY(from_buffer(c, j, &j->v, j->past_v, j->present_v, &v));
    } else {
        core.past_k = j->past_k;
        core.past_v = j->past_v;
        core.present_k = j->present_k;
        core.present_v = j->present_v;
    }
    return fy_ms_attend(c, &core);
}

/* x [B,N,S,H] + elements from..from + N*H of the bias of all projections. */
static fy_status add_bias(const fy_call *c, fy_tensor *x, const fy_tensor *bias, int64_t from) {
    if (!bias) return FY_OK;
    int64_t n = x->dim[1], size = x->dim[3];
    FY_NEED(c->e, bias->dim[0] >= from + n * size, SHAPE, "the bias has %lld elements; %lld are needed", (long long)bias->dim[0], (long long)(from + n * size));
    fy_tensor part = {.dtype = bias->dtype, .rank = 3, .dim = {n, 1, size}, .stride = {size * bias->stride[0], 0, bias->stride[0]},
                      .data = fy_k_at(bias, from * bias->stride[0])}, sum;
    const fy_tensor *both[2] = {x, &part};
    FY_TRY(fy_sub_room(c, &sum, FERRY_DOUBLE, 4, x->dim));
    FY_TRY(fy_sub_apply(c, &fy_op_add, 2, both, &sum));
    *x = sum;
    return FY_OK;
}

/* ---- Attention, QAttention ----------------------------------------------------------------------------------------- */

/* Inputs that differ between the two; -1: none. */
typedef struct slots { int mask, past, bias, length; } slots;
static slots slots_of(const fy_node *n) { return n->op->name[0] == 'Q' ? (slots){5, 8, -1, -1} : (slots){3, 4, 5, 6}; }

static fy_status heads_attr(const fy_infer *f, int64_t *n) {
    *n = fy_attr_i(f->node, "num_heads");
    FY_NEED(f->e, *n >= 1 && *n <= INT32_MAX, ATTR, "num_heads is %lld", (long long)*n);
    return FY_OK;
}

/* Columns of Q and K, and of V, among `total` (-1: unknown, then both are -1 unless the attribute tells). */
static fy_status columns(const fy_node *n, int64_t total, int64_t *qk, int64_t *v, ferry_error *e) {
    int64_t count, heads = fy_attr_i(n, "num_heads");
    const fy_attr *a = fy_attr_get(n, "qkv_hidden_sizes");
    const int64_t *given = a ? fy_attr_ints(n, "qkv_hidden_sizes", &count) : NULL;
    *qk = *v = total < 0 ? -1 : total / 3;
    if (given && count) {
        FY_NEED(e, count == 3, ATTR, "qkv_hidden_sizes has %lld values; 3 are needed", (long long)count);
        for (int i = 0; i < 3; i++) FY_NEED(e, given[i] >= 0 && given[i] <= INT32_MAX, ATTR, "qkv_hidden_sizes has %lld", (long long)given[i]);
        FY_NEED(e, given[0] == given[1], ATTR, "hidden sizes of Q and K differ: %lld and %lld", (long long)given[0], (long long)given[1]);
        *qk = given[0];
        *v = given[2];
    } else FY_NEED(e, total < 0 || total % 3 == 0, SHAPE, "%lld columns do not split into Q, K and V", (long long)total);
    FY_NEED(e, total < 0 || total == 2 * *qk + *v, SHAPE, "the weights have %lld columns; Q, K and V take %lld", (long long)total, (long long)(2 * *qk + *v));
    FY_NEED(e, *qk < 0 || (*qk % heads == 0 && *v % heads == 0), SHAPE, "hidden sizes %lld and %lld do not split into %lld heads", (long long)*qk, (long long)*v,
            (long long)heads);
    return FY_OK;
}

static fy_status is(fy_infer *f, const fy_dim *d, int64_t v, const char *what) { return fy_k_agree(f, d, fy_dim_const(f->dims, v), what); }

static bool share_buffer(const fy_node *n) {
    const fy_attr *a = fy_attr_get(n, "past_present_share_buffer");
    return a && a->i != 0;
}

static fy_status infer_attention(fy_infer *f) {
    slots in = slots_of(f->node);
    int rx, rw, rb, rp;
    int64_t n, total = -1, qk, v;
    fy_dtype t = in.bias < 0 ? fy_in_dtype(f, 3) : fy_in_dtype(f, 0);
    FY_TRY(heads_attr(f, &n));
    const fy_attr *turn = fy_attr_get(f->node, "do_rotary");
    FY_NEED(f->e, !turn || !turn->i, UNSUPPORTED, "do_rotary has no caches of angles here; use RotaryEmbedding or GroupQueryAttention");
    FY_TRY(fy_k_rank(f, 0, 3, 3, &rx));
    FY_TRY(fy_k_rank(f, 1, 2, 2, &rw));
    FY_TRY(fy_k_rank(f, 2, 1, 1, &rb));
    if (rx == 3 && rw == 2) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 2), fy_in_dim(f, 1, 0), "columns of the input and rows of the weights"));
    if (rb == 1 && rw == 2) FY_TRY(fy_k_agree(f, fy_in_dim(f, 1, 1), fy_in_dim(f, 2, 0), "columns of the weights and bias"));
    if (rw != 2 || !fy_dim_known(fy_in_dim(f, 1, 1), &total)) total = -1;
    FY_TRY(columns(f->node, total, &qk, &v, f->e));
    const fy_dim *B = rx == 3 ? fy_in_dim(f, 0, 0) : fy_dim_opaque(f->dims, "batch"), *S = rx == 3 ? fy_in_dim(f, 0, 1) : fy_dim_opaque(f->dims, "sequence");
    const fy_dim *size = qk < 0 ? fy_dim_opaque(f->dims, "head") : fy_dim_const(f->dims, qk / n), *keys = S;
    if (fy_in_has(f, in.past)) {
        FY_TRY(fy_k_rank(f, in.past, 5, 5, &rp));
        FY_NEED(f->e, qk == v, SHAPE, "a past needs heads of Q, K and V of one size");
        if (rp == 5) {
            FY_TRY(is(f, fy_in_dim(f, in.past, 0), 2, "2 and axis 0 of the past"));
            FY_TRY(fy_k_agree(f, fy_in_dim(f, in.past, 1), B, "batch sizes of past and input"));
            FY_TRY(is(f, fy_in_dim(f, in.past, 2), n, "heads of the past and num_heads"));
            FY_TRY(fy_k_agree(f, fy_in_dim(f, in.past, 4), size, "head sizes of past and weights"));
            keys = share_buffer(f->node) ? fy_in_dim(f, in.past, 3) : fy_dim_add(f->dims, S, fy_in_dim(f, in.past, 3));
        } else keys = fy_dim_opaque(f->dims, "keys");
    }
    const fy_dim *y[3] = {B, S, v < 0 ? fy_dim_opaque(f->dims, "hidden") : fy_dim_const(f->dims, v)};
    const fy_dim *p[5] = {fy_dim_const(f->dims, 2), B, fy_dim_const(f->dims, n), keys, v < 0 ? size : fy_dim_const(f->dims, v / n)};
    FY_TRY(fy_out_set(f, 0, t, 3, y));
    FY_NEED(f->e, f->nout < 2 || qk == v, SHAPE, "present needs heads of Q, K and V of one size");
    return f->nout > 1 ? fy_out_set(f, 1, t, 5, p) : FY_OK;
}

/* Half `i` of [2,B,N,P,H]. */
static fy_tensor half(const fy_tensor *x, int i) {
    fy_tensor v = {.dtype = x->dtype, .rank = 4, .data = x->data};
    for (int k = 0; k < 4; k++) {
        v.dim[k] = x->dim[k + 1];
        v.stride[k] = x->stride[k + 1];
    }
    if (i && x->data) v.data = fy_k_at(x, x->stride[0]);
    return v;
}

/* Input and weights of QAttention, dequantised. */
static fy_status plain(const fy_call *c, fy_tensor *x, fy_tensor *w) {
    fy_sub s;
    const fy_tensor *a[3] = {fy_arg(c, 0), fy_arg(c, 3), fy_arg(c, 6)}, *b[3] = {fy_arg(c, 1), fy_arg(c, 4), fy_arg(c, 7)};
    FY_NEED(c->e, fy_count(a[1]) == 1 && (!a[2] || fy_count(a[2]) == 1), SHAPE, "the input's scale and zero point must be scalars");
    FY_TRY(fy_sub_room(c, x, FERRY_DOUBLE, 3, a[0]->dim));
    FY_TRY(fy_sub_room(c, w, FERRY_DOUBLE, 2, b[0]->dim));
    FY_TRY(fy_sub_apply(c, &fy_op_dequantize_linear, 3, a, x));
    fy_sub_begin(&s, &fy_op_dequantize_linear, c->node);
    fy_sub_int(&s, "axis", 1);
    return fy_sub_run(c, &s, 3, b, 1, &w);
}

static fy_status ref_attention(const fy_call *c) {
    slots in = slots_of(c->node);
    const fy_tensor *past = fy_arg(c, in.past), *bias = fy_arg(c, 2);
    fy_tensor *present = fy_res(c, 1), x = *fy_arg(c, 0), w = *fy_arg(c, 1), qkv, was[2], is_now[2];
    int64_t n = fy_attr_i(c->node, "num_heads"), qk, v;
    if (in.bias < 0) FY_TRY(plain(c, &x, &w));
    FY_TRY(columns(c->node, w.dim[1], &qk, &v, c->e));
    int64_t dim[3] = {x.dim[0], x.dim[1], w.dim[1]};
    FY_TRY(fy_sub_room(c, &qkv, FERRY_DOUBLE, 3, dim));
    const fy_tensor *both[2] = {&x, &w}, *more[2] = {&qkv, bias};
    FY_TRY(fy_sub_apply(c, &fy_op_mat_mul, 2, both, &qkv));
    if (bias) FY_TRY(fy_sub_apply(c, &fy_op_add, 2, more, &qkv));
    job j = {.q = fy_ms_heads(&qkv, 0, n, qk / n), .k = fy_ms_heads(&qkv, qk, n, qk / n), .v = fy_ms_heads(&qkv, 2 * qk, n, v / n), .y = fy_res(c, 0),
             .mask = fy_arg(c, in.mask), .bias = in.bias < 0 ? NULL : fy_arg(c, in.bias), .causal = fy_attr_i(c->node, "unidirectional") != 0};
    for (int i = 0; i < 2; i++) {
        if (past) was[i] = half(past, i);
        if (present) is_now[i] = half(present, i);
    }
    if (past) {
        j.past_k = &was[0];
        j.past_v = &was[1];
        j.past = past->dim[3];
        j.shared = share_buffer(c->node);
        if (j.shared) {
            FY_NEED(c->e, in.length >= 0, UNSUPPORTED, "QAttention has no past_sequence_length, which a shared buffer needs");
            FY_TRY(fy_ms_scalar(c, in.length, 0, past->dim[3] - x.dim[1], &j.past, "past_sequence_length"));
        }
    }
    if (present) {
        j.present_k = &is_now[0];
        j.present_v = &is_now[1];
    }
    return attend(c, &j);
}

#define SCALE {"scale", FY_ATTR_FLOAT, "0"}, {"mask_filter_value", FY_ATTR_FLOAT, "-10000"}
#define PROJECT {"num_heads", FY_ATTR_INT, FY_REQUIRED}, SCALE, {"unidirectional", FY_ATTR_INT, "0"}, \
    {"do_rotary", FY_ATTR_INT, "0"}, {"past_present_share_buffer", FY_ATTR_INT, "0"}
static const fy_attr_spec attention_attrs[] = {PROJECT, {"qkv_hidden_sizes", FY_ATTR_INTS, NULL}, {"rotary_embedding_dim", FY_ATTR_INT, "0"}, {0}};
static const fy_attr_spec q_attention_attrs[] = {PROJECT, {0}};
const fy_op fy_op_ms_attention = {.name = "Attention", .domain = MS, .attrs = attention_attrs, .min_in = 2, .max_in = 7, .min_out = 1, .max_out = 2,
    .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T,T,T,i32,T,T,i32|T,T", .infer = infer_attention, .ref = ref_attention, .flags = FY_PURE};
const fy_op fy_op_ms_q_attention = {.name = "QAttention", .domain = MS, .attrs = q_attention_attrs, .min_in = 5, .max_in = 9, .min_out = 1, .max_out = 2,
    .first = 1, .since = 1, .types = "A=i8,u8;B=i8,u8;T=" FY_T_FLOAT "|A,B,T,T,T,i32,A,B,T|T,T", .infer = infer_attention, .ref = ref_attention,
    .flags = FY_PURE};

/* ---- MultiHeadAttention, DecoderMaskedMultiHeadAttention ------------------------------------------------------------ */

typedef struct mha { int mask, attention_bias, past_k, past_v, length, width, beams, bias; bool decoder; } mha;
static mha mha_of(const fy_node *n) {
    return n->op->name[0] == 'D' ? (mha){3, 4, 5, 6, 7, 8, 9, 10, true} : (mha){4, 5, 6, 7, 8, -1, 9, 3, false};
}

/* Is the cache one buffer, as long before as after? */
static bool shares(const fy_node *n, mha in, bool has_length, bool has_past) {
    return has_past && (in.decoder ? share_buffer(n) : has_length);
}

static fy_status infer_mha(fy_infer *f) {
    mha in = mha_of(f->node);
    int rq, rk, rv, r;
    int64_t n, d;
    fy_dtype t = fy_in_dtype(f, 0);
    bool key = fy_in_has(f, 1), value = fy_in_has(f, 2), past = fy_in_has(f, in.past_k);
    FY_TRY(heads_attr(f, &n));
    FY_TRY(fy_k_rank(f, 0, 3, in.decoder ? 3 : 5, &rq));
    FY_TRY(fy_k_rank(f, 1, 3, 5, &rk));
    FY_TRY(fy_k_rank(f, 2, 3, 4, &rv));
    FY_NEED(f->e, past == fy_in_has(f, in.past_v), GRAPH, "past_key and past_value go together");
    FY_NEED(f->e, rq != 4, SHAPE, "the query has rank 4; it can have rank 3 or 5");
    if (!key) {
        FY_NEED(f->e, !value, GRAPH, "a value without a key");
        FY_NEED(f->e, in.decoder || rq < 0 || rq == 5, SHAPE, "a query without a key must be packed: [B,S,N,3,H]");
    } else if (rk == 5) FY_NEED(f->e, !value, GRAPH, "a packed key holds the value too");
    else if (rk > 0) {
        FY_NEED(f->e, value, GRAPH, "a key without a value");
        FY_NEED(f->e, rv < 0 || rv == rk, SHAPE, "key and value have ranks %d and %d", rk, rv);
        FY_NEED(f->e, rk != 4 || !past, GRAPH, "a key that is a cache leaves no room for past_key");
    }
    for (int i = 1; i < f->nout; i++) FY_TRY(fy_out_set(f, i, t, -1, NULL));
    if (rq < 0 || (key && rk < 0) || (value && rv < 0)) return fy_out_set(f, 0, t, -1, NULL);
    bool packed = !key;
    const fy_dim *B = fy_in_dim(f, 0, 0), *S = fy_in_dim(f, 0, 1), *H, *L, *Hv, *heads = fy_dim_const(f->dims, n);
    if (rq == 5) {
        FY_NEED(f->e, packed, SHAPE, "a packed query comes without key and value");
        FY_TRY(is(f, fy_in_dim(f, 0, 2), n, "heads of the query and num_heads"));
        FY_TRY(is(f, fy_in_dim(f, 0, 3), 3, "3 and the packed axis of the query"));
        H = fy_in_dim(f, 0, 4);
    } else {
        int64_t parts = packed ? 3 * n : n;
        if (fy_dim_known(fy_in_dim(f, 0, 2), &d)) FY_NEED(f->e, d % parts == 0, SHAPE, "hidden size %lld does not split into %lld heads", (long long)d, (long long)parts);
        H = fy_dim_divi(f->dims, fy_in_dim(f, 0, 2), parts);
    }
    L = packed ? S : fy_in_dim(f, 1, rk == 4 ? 2 : 1);
    Hv = H;
    if (key) FY_TRY(fy_k_agree(f, B, fy_in_dim(f, 1, 0), "batch sizes of query and key"));
    if (rk == 3) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 2), fy_in_dim(f, 1, 2), "hidden sizes of query and key"));
    if (rk == 4 || rk == 5) {
        FY_TRY(is(f, fy_in_dim(f, 1, rk == 4 ? 1 : 2), n, "heads of the key and num_heads"));
        FY_TRY(fy_k_agree(f, fy_in_dim(f, 1, rk - 1), H, "head sizes of query and key"));
        if (rk == 5) FY_TRY(is(f, fy_in_dim(f, 1, 3), 2, "2 and the packed axis of the key"));
    }
    if (value) {
        FY_TRY(fy_k_agree(f, B, fy_in_dim(f, 2, 0), "batch sizes of query and value"));
        FY_TRY(fy_k_agree(f, L, fy_in_dim(f, 2, rv == 4 ? 2 : 1), "lengths of key and value"));
        if (rv == 4) FY_TRY(is(f, fy_in_dim(f, 2, 1), n, "heads of the value and num_heads"));
        else if (fy_dim_known(fy_in_dim(f, 2, 2), &d)) FY_NEED(f->e, d % n == 0, SHAPE, "hidden size %lld does not split into %lld heads", (long long)d, (long long)n);
        Hv = rv == 4 ? fy_in_dim(f, 2, 3) : fy_dim_divi(f->dims, fy_in_dim(f, 2, 2), n);
    }
    FY_TRY(fy_k_rank(f, in.bias, 1, 1, &r));
    const fy_dim *T = L;
    for (int i = 0; i < 2 && past; i++) {
        int p = i ? in.past_v : in.past_k;
        FY_TRY(fy_k_rank(f, p, 4, 4, &r));
        if (r != 4) { T = NULL; continue; }
        FY_TRY(fy_k_agree(f, B, fy_in_dim(f, p, 0), "batch sizes of query and past"));
        FY_TRY(is(f, fy_in_dim(f, p, 1), n, "heads of the past and num_heads"));
        FY_TRY(fy_k_agree(f, fy_in_dim(f, p, 3), i ? Hv : H, "head sizes of the past and its input"));
        FY_TRY(fy_k_agree(f, fy_in_dim(f, in.past_k, 2), fy_in_dim(f, p, 2), "lengths of the past"));
        if (T) T = shares(f->node, in, fy_in_has(f, in.length), true) ? fy_in_dim(f, p, 2) : fy_dim_add(f->dims, L, fy_in_dim(f, p, 2));
    }
    const fy_dim *y[3] = {B, S, fy_dim_mul(f->dims, heads, Hv)}, *keys = T ? T : fy_dim_opaque(f->dims, "keys");
    FY_TRY(fy_out_set(f, 0, t, 3, y));
    for (int i = 1; i < 3 && i < f->nout; i++) {
        const fy_dim *p[4] = {B, heads, keys, i == 1 ? H : Hv};
        FY_TRY(fy_out_set(f, i, t, 4, p));
    }
    if (f->nout < 4) return FY_OK;
    /* of a shared buffer only what is valid is scored: known once the length is */
    int64_t length, count, l;
    if (past && shares(f->node, in, fy_in_has(f, in.length), true))
        keys = fy_in_ints(f, in.length, &length, 1, &count) && count == 1 && length >= 0 && fy_dim_known(L, &l) && length <= INT64_MAX - l
                   ? fy_dim_const(f->dims, length + l) : fy_dim_opaque(f->dims, "keys");
    const fy_dim *s[4] = {B, heads, S, keys};
    return fy_out_set(f, 3, t, 4, s);
}

static fy_status ref_mha(const fy_call *c) {
    mha in = mha_of(c->node);
    const fy_tensor *q = fy_arg(c, 0), *k = fy_arg(c, 1), *v = fy_arg(c, 2), *bias = fy_arg(c, in.bias), *past = fy_arg(c, in.past_k);
    int64_t n = fy_attr_i(c->node, "num_heads"), size = q->rank == 5 ? q->dim[4] : q->dim[2] / (k != NULL ? n : 3 * n), hidden_size = n * size;
    job j = {.past_k = past, .past_v = fy_arg(c, in.past_v), .present_k = fy_res(c, 1), .present_v = fy_res(c, 2), .y = fy_res(c, 0), .qk = fy_res(c, 3),
             .mask = fy_arg(c, in.mask), .bias = fy_arg(c, in.attention_bias), .causal = !in.decoder && fy_attr_i(c->node, "unidirectional") != 0, .width = 1};
    FY_NEED(c->e, !in.decoder || q->dim[1] == 1, SHAPE, "%lld queries; this operator takes 1", (long long)q->dim[1]);
    if (q->rank == 5) {
        j.q = fy_ms_packed(q, 0);
        j.k = fy_ms_packed(q, 1);
        j.v = fy_ms_packed(q, 2);
    } else {
        j.q = fy_ms_heads(q, 0, n, size);
        j.k = !k ? fy_ms_heads(q, hidden_size, n, size) : k->rank == 3 ? fy_ms_heads(k, 0, n, size) : k->rank == 5 ? fy_ms_packed(k, 0) : *k;
        j.v = !k ? fy_ms_heads(q, 2 * hidden_size, n, size) : k->rank == 5 ? fy_ms_packed(k, 1) : v->rank == 3 ? fy_ms_heads(v, 0, n, v->dim[2] / n) : *v;
    }
    FY_TRY(add_bias(c, &j.q, bias, 0));
    if (!k || k->rank != 4) {                                           /* keys that are a cache have theirs already */
        FY_TRY(add_bias(c, &j.k, bias, hidden_size));
        FY_TRY(add_bias(c, &j.v, bias, 2 * hidden_size));
    }
    if (past) j.past = past->dim[2];
    j.shared = shares(c->node, in, fy_arg(c, in.length) != NULL, past != NULL);
    if (j.shared) {
        FY_TRY(fy_ms_scalar(c, in.length, 0, past->dim[2] - j.k.dim[2], &j.past, "past_sequence_length"));
        j.beams = fy_arg(c, in.beams);
        if (in.width >= 0 && fy_arg(c, in.width)) FY_TRY(fy_ms_scalar(c, in.width, 1, INT32_MAX, &j.width, "beam_width"));
        FY_NEED(c->e, j.width == 1 || j.beams, GRAPH, "%lld beams without cache_indirection", (long long)j.width);
        if (j.beams && j.beams->rank == 3) j.width = j.beams->dim[1];
        FY_NEED(c->e, !j.beams || (j.beams->rank == 3 && j.width >= 1 && q->dim[0] % j.width == 0 && j.beams->dim[0] == q->dim[0] / j.width &&
                j.beams->dim[2] == past->dim[2]), SHAPE, "cache_indirection does not fit batch, beams and cache");
    }
    if (j.qk) {
        fy_tensor *s = fy_res(c, 3);
        int64_t dim[4] = {q->dim[0], n, q->dim[1], j.past + j.k.dim[2]};
        if (!s->dtype) FY_TRY(fy_alloc_out(c, 3, q->dtype, 4, dim));
    }
    return attend(c, &j);
}

static const fy_attr_spec mha_attrs[] = {{"num_heads", FY_ATTR_INT, FY_REQUIRED}, SCALE, {"unidirectional", FY_ATTR_INT, "0"}, {0}};
static const fy_attr_spec decoder_attrs[] = {{"num_heads", FY_ATTR_INT, FY_REQUIRED}, SCALE, {"output_qk", FY_ATTR_INT, "0"},
    {"past_present_share_buffer", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_ms_multi_head_attention = {.name = "MultiHeadAttention", .domain = MS, .attrs = mha_attrs, .min_in = 1, .max_in = 10, .min_out = 1,
    .max_out = 4, .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T,T,T,T,i32,T,T,T,i32,i32|T,T,T,T", .infer = infer_mha, .ref = ref_mha,
    .flags = FY_PURE};
const fy_op fy_op_ms_decoder_masked_multi_head_attention = {.name = "DecoderMaskedMultiHeadAttention", .domain = MS, .attrs = decoder_attrs, .min_in = 1,
    .max_in = 11, .min_out = 1, .max_out = 4, .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T,T,T,i32,T,T,T,i32,i32,i32,T|T,T,T,T", .infer = infer_mha,
    .ref = ref_mha, .flags = FY_PURE};
