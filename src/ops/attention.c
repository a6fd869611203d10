/* SPDX-License-Identifier: Apache-2.0
 * attention.c - Attention: softmax(cap(scale Q K') + bias) V for each head, with grouped heads, caches, causal and sliding
 * windows; RotaryEmbedding. Heads are strided views of the inputs, so that [B,S,H*D] and [B,H,S,D] cost the same. Scores and
 * sums are in double, one head at a time. */
#include "ops/common.h"

#include "tensor/gemm.h"

#include <math.h>
#include <string.h>

/* ---- shapes -------------------------------------------------------------------------------------------------------- */

static fy_status heads(const fy_infer *f, bool kv, int64_t *n) {
    const char *name = kv ? "kv_num_heads" : "q_num_heads";
    const fy_attr *a = fy_attr_get(f->node, name);
    FY_NEED(f->e, a && a->i >= 1, ATTR, "%s is needed for inputs of rank 3", name);
    *n = a->i;
    return FY_OK;
}

/* Input i as [batch, heads, sequence, size]. Unknown rank: all NULL. */
static fy_status split(fy_infer *f, int i, const fy_dim **d) {
    int r;
    int64_t n = 1, size;
    FY_TRY(fy_k_rank(f, i, 3, 4, &r));
    memset(d, 0, 4 * sizeof *d);
    if (r < 0) return FY_OK;
    if (r == 4) {
        for (int k = 0; k < 4; k++) d[k] = fy_in_dim(f, i, k);
        return FY_OK;
    }
    FY_TRY(heads(f, i > 0, &n));
    d[0] = fy_in_dim(f, i, 0);
    d[1] = fy_dim_const(f->dims, n);
    d[2] = fy_in_dim(f, i, 1);
    if (fy_dim_known(fy_in_dim(f, i, 2), &size)) FY_NEED(f->e, size % n == 0, SHAPE, "size %lld does not split into %lld heads", (long long)size, (long long)n);
    d[3] = fy_dim_divi(f->dims, fy_in_dim(f, i, 2), n);
    return FY_OK;
}

static const fy_dim *or_opaque(fy_infer *f, const fy_dim *d) { return d ? d : fy_dim_opaque(f->dims, "attention"); }

static fy_status infer_attention(fy_infer *f) {
    const fy_dim *q[4], *k[4], *v[4];
    int64_t hq, hk;
    fy_dtype t = fy_in_dtype(f, 0);
    int rp;
    FY_TRY(split(f, 0, q));
    FY_TRY(split(f, 1, k));
    FY_TRY(split(f, 2, v));
    FY_NEED(f->e, fy_in_has(f, 4) == fy_in_has(f, 5), GRAPH, "past_key and past_value go together");
    FY_TRY(fy_k_agree(f, q[0], k[0], "batch sizes of Q and K"));
    FY_TRY(fy_k_agree(f, q[0], v[0], "batch sizes of Q and V"));
    FY_TRY(fy_k_agree(f, q[3], k[3], "head sizes of Q and K"));
    FY_TRY(fy_k_agree(f, k[1], v[1], "heads of K and V"));
    FY_TRY(fy_k_agree(f, k[2], v[2], "sequence lengths of K and V"));
    if (q[1] && k[1] && fy_dim_known(q[1], &hq) && fy_dim_known(k[1], &hk))
        FY_NEED(f->e, hk >= 1 && hq % hk == 0, SHAPE, "%lld heads of Q do not share %lld heads of K", (long long)hq, (long long)hk);
    const fy_dim *total = k[2];
    for (int i = 4; i < 6 && fy_in_has(f, i); i++) {
        const fy_dim **other = i == 4 ? k : v;
        FY_TRY(fy_k_rank(f, i, 4, 4, &rp));
        if (rp != 4) { total = NULL; continue; }
        FY_TRY(fy_k_agree(f, fy_in_dim(f, i, 0), other[0], "batch sizes of a cache and its input"));
        FY_TRY(fy_k_agree(f, fy_in_dim(f, i, 1), other[1], "heads of a cache and its input"));
        FY_TRY(fy_k_agree(f, fy_in_dim(f, i, 3), other[3], "head sizes of a cache and its input"));
        if (i == 4) total = k[2] ? fy_dim_add(f->dims, k[2], fy_in_dim(f, 4, 2)) : NULL;
        else FY_TRY(fy_k_agree(f, fy_in_dim(f, 4, 2), fy_in_dim(f, 5, 2), "lengths of the caches"));
    }
    if (fy_in_has(f, 6)) {
        FY_TRY(fy_k_rank(f, 6, 1, 1, &rp));
        if (rp == 1) FY_TRY(fy_k_agree(f, fy_in_dim(f, 6, 0), q[0], "batch size and nonpad_kv_seqlen"));
    }
    int rm = fy_in_rank(f, 3);
    FY_NEED(f->e, rm <= 4, SHAPE, "the mask has rank %d", rm);
    const fy_dim *score[4] = {q[0], q[1], q[2], total};
    int64_t m, s;
    for (int i = 1; i <= rm; i++) {
        if (!fy_dim_known(fy_in_dim(f, 3, rm - i), &m) || m == 1 || !score[4 - i] || !fy_dim_known(score[4 - i], &s)) continue;
        FY_NEED(f->e, m == s || (i == 1 && m < s), SHAPE, "the mask has size %lld where the scores have %lld", (long long)m, (long long)s);
    }
    const fy_dim *y[4] = {or_opaque(f, q[0]), or_opaque(f, q[1]), or_opaque(f, q[2]), or_opaque(f, v[3])};
    if (fy_in_rank(f, 0) == 3) {
        const fy_dim *flat[3] = {y[0], y[2], fy_dim_mul(f->dims, y[1], y[3])};
        FY_TRY(fy_out_set(f, 0, t, 3, flat));
    } else FY_TRY(fy_in_rank(f, 0) < 0 ? fy_out_set(f, 0, t, -1, NULL) : fy_out_set(f, 0, t, 4, y));
    for (int i = 1; i < f->nout && i < 3; i++) {
        const fy_dim **w = i == 1 ? k : v, *p[4] = {or_opaque(f, w[0]), or_opaque(f, w[1]), or_opaque(f, total), or_opaque(f, w[3])};
        FY_TRY(fy_out_set(f, i, fy_in_dtype(f, i), 4, p));
    }
    const fy_dim *all[4] = {y[0], y[1], y[2], or_opaque(f, total)};
    return f->nout > 3 ? fy_out_set(f, 3, t, 4, all) : FY_OK;
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

static fy_tensor as_heads(const fy_tensor *x, int64_t n) {
    fy_tensor v = *x;
    v.own = NULL;
    if (x->rank == 4) return v;
    v.rank = 4;
    v.dim[3] = x->dim[2] / n;
    v.stride[3] = x->stride[2];
    v.dim[2] = x->dim[1];
    v.stride[2] = x->stride[1];
    v.dim[1] = n;
    v.stride[1] = v.dim[3] * x->stride[2];
    return v;
}

/* Keys or values with the cache before them, as f32 or f64; also stored as the present output. */
static fy_status with_past(const fy_call *c, int in, int past, int present, int64_t kv_heads, fy_tensor *out) {
    fy_tensor now = as_heads(fy_arg(c, in), kv_heads), *keep = fy_res(c, present);
    const fy_tensor *old = fy_arg(c, past);
    if (old) {
        int64_t dim[4] = {now.dim[0], now.dim[1], now.dim[2] + old->dim[2], now.dim[3]}, n;
        fy_dtype t = now.dtype == FERRY_DOUBLE ? FERRY_DOUBLE : FERRY_FLOAT;
        FY_NEED(c->e, fy_count_dims(&n, 4, dim) && n <= c->max_bytes / 8, LIMIT, "the cache is too large");
        void *p = fy_arena_alloc(c->scratch, (size_t)n, (size_t)fy_elem_bytes(t));
        FY_NOMEM(c->e, p);
        *out = fy_tensor_view(t, 4, dim, p);
        fy_tensor part = *out;
        part.dim[2] = old->dim[2];
        fy_tensor_copy(&part, old);
        part.dim[2] = now.dim[2];
        part.data = fy_k_at(out, old->dim[2] * out->stride[2]);
        fy_tensor_copy(&part, &now);
    } else FY_TRY(fy_k_gemm_ready(c, &now, false, out));
    if (keep) fy_tensor_copy(keep, out);
    return FY_OK;
}

typedef struct scores {
    double          *s;
    int64_t          nq, nk, offset, valid, left, right;
    double           cap;
    bool             causal;
    int              mode;
    const fy_tensor *mask, *out;         /* mask: view [nq, its width] of this head, or NULL; out: where mode's stage goes */
    int64_t          out_at;
    double          *raw;                /* stage kept for `out` */
} scores;

static bool visible(const scores *w, int64_t i, int64_t j) {
    int64_t p = w->offset + i;
    /* windows by their distance: p + right may not fit */
    return j < w->valid && !(w->causal && j > p) && !(w->left >= 0 && p - j > w->left) && !(w->right >= 0 && j - p > w->right);
}

static void softmax_rows(void *arg, int64_t begin, int64_t end) {
    const scores *w = arg;
    for (int64_t i = begin; i < end; i++) {
        double *s = w->s + i * w->nk, *raw = w->raw ? w->raw + i * w->nk : NULL, most = -HUGE_VAL, sum = 0;
        if (raw && w->mode == 0) memcpy(raw, s, (size_t)w->nk * sizeof *s);
        if (w->cap != 0) for (int64_t j = 0; j < w->nk; j++) s[j] = w->cap * tanh(s[j] / w->cap);
        if (raw && w->mode == 1) memcpy(raw, s, (size_t)w->nk * sizeof *s);
        if (w->mask) {
            int64_t width = w->mask->dim[1], row = w->mask->dim[0] == 1 ? 0 : i;
            bool yes_no = w->mask->dtype == FERRY_BOOL;
            for (int64_t j = 0; j < w->nk; j++) {
                if (width != 1 && j >= width) { s[j] = -HUGE_VAL; continue; }       /* a short mask ends in -inf */
                double m = fy_get_f64(w->mask, row * width + (width == 1 ? 0 : j));
                s[j] = yes_no ? (m != 0 ? s[j] : -HUGE_VAL) : s[j] + m;
            }
        }
        for (int64_t j = 0; j < w->nk; j++) {
            if (!visible(w, i, j)) s[j] = -HUGE_VAL;
            most = s[j] > most || s[j] != s[j] ? s[j] : most;
        }
        if (raw && w->mode == 2) memcpy(raw, s, (size_t)w->nk * sizeof *s);
        if (most == -HUGE_VAL) memset(s, 0, (size_t)w->nk * sizeof *s);      /* nothing to look at: zeros */
        else {
            for (int64_t j = 0; j < w->nk; j++) sum += s[j] = exp(s[j] - most);
            for (int64_t j = 0; j < w->nk; j++) s[j] /= sum;
        }
        if (raw && w->mode == 3) memcpy(raw, s, (size_t)w->nk * sizeof *s);
    }
}

static fy_status ref_attention(const fy_call *c) {
    const fy_tensor *mask = fy_arg(c, 3), *nonpad = fy_arg(c, 6);
    const fy_attr *aq = fy_attr_get(c->node, "q_num_heads"), *ak = fy_attr_get(c->node, "kv_num_heads"), *as = fy_attr_get(c->node, "scale");
    fy_tensor *y = fy_res(c, 0), *dump = fy_res(c, 3), q, k, v, yq, whole = {0};
    for (int i = 0; i < 3; i++) FY_NEED(c->e, fy_dtype_float(fy_arg(c, i)->dtype), TYPE, "input %d is %s, not a float", i, fy_dtype_name(fy_arg(c, i)->dtype));
    FY_NEED(c->e, !mask || fy_k_numeric(mask), TYPE, "the mask is %s", fy_dtype_name(mask->dtype));
    FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 0), false, &q));
    q = as_heads(&q, aq ? aq->i : 1);
    FY_TRY(with_past(c, 1, 4, 1, ak ? ak->i : 1, &k));
    FY_TRY(with_past(c, 2, 5, 2, ak ? ak->i : 1, &v));
    if (!y) return FY_OK;
    int64_t nb = q.dim[0], nh = q.dim[1], nq = q.dim[2], nk = k.dim[2], past = fy_arg(c, 4) ? fy_arg(c, 4)->dim[2] : 0, n;
    double scale = as ? as->f : 1 / sqrt((double)q.dim[3]);
    FY_NEED(c->e, fy_mul_i64(&n, nq, nk) && n <= c->max_bytes / 8, LIMIT, "%lld x %lld scores are too many", (long long)nq, (long long)nk);
    scores w = {.nq = nq, .nk = nk, .left = fy_attr_i(c->node, "left_window_size"), .right = fy_attr_i(c->node, "right_window_size"),
                .cap = fy_attr_f(c->node, "softcap"), .causal = fy_attr_i(c->node, "is_causal") != 0, .mode = (int)fy_attr_i(c->node, "qk_matmul_output_mode")};
    FY_NOMEM(c->e, w.s = FY_NEWN(c->scratch, double, n));
    if (dump) FY_NOMEM(c->e, w.raw = FY_NEWN(c->scratch, double, n));
    yq = as_heads(y, nh);
    bool direct = y->dtype == FERRY_FLOAT || y->dtype == FERRY_DOUBLE;
    if (!direct) {
        double *p = FY_NEWN(c->scratch, double, fy_count(y));
        FY_NOMEM(c->e, p);
        whole = fy_tensor_view(FERRY_DOUBLE, y->rank, y->dim, p);
        yq = as_heads(&whole, nh);
    }
    fy_tensor one = {0};
    if (mask) {                                                         /* [B,H,nq,width], broadcast axes with stride 0 */
        one = *mask;
        one.rank = 2;
    }
    for (int64_t b = 0; b < nb; b++)
        for (int64_t h = 0; h < nh; h++) {
            int64_t g = h / (nh / k.dim[1]);
            w.valid = nk;
            w.offset = past;
            if (nonpad) {
                w.valid = fy_get_i64(nonpad, b);
                FY_NEED(c->e, w.valid >= 0 && w.valid <= nk, VALUE, "nonpad_kv_seqlen is %lld of %lld", (long long)w.valid, (long long)nk);
                if (!fy_arg(c, 4)) w.offset = w.valid - nq;
            }
            if (mask) {
                int64_t at = 0, lead[2] = {b, h};
                for (int i = 0; i < mask->rank - 2; i++) {
                    int64_t index = lead[i + 4 - mask->rank];
                    at += (mask->dim[i] == 1 ? 0 : index) * mask->stride[i];
                }
                for (int i = 0; i < 2; i++) {
                    int m = mask->rank - 2 + i;
                    one.dim[i] = m < 0 ? 1 : mask->dim[m];
                    one.stride[i] = m < 0 ? 0 : mask->stride[m];
                }
                one.data = fy_k_at(mask, at);
                w.mask = &one;
            }
            fy_mat mq = {fy_k_at(&q, b * q.stride[0] + h * q.stride[1]), q.dtype, q.stride[2], q.stride[3]};
            fy_mat mk = {fy_k_at(&k, b * k.stride[0] + g * k.stride[1]), k.dtype, k.stride[3], k.stride[2]};       /* transposed */
            fy_mat mv = {fy_k_at(&v, b * v.stride[0] + g * v.stride[1]), v.dtype, v.stride[2], v.stride[3]};
            fy_mat ms = {w.s, FERRY_DOUBLE, nk, 1}, my = {fy_k_at(&yq, b * yq.stride[0] + h * yq.stride[1]), yq.dtype, yq.stride[2], yq.stride[3]};
            FY_TRY(fy_gemm(ms, mq, mk, nq, nk, q.dim[3], scale, 0, c->pool, c->e));
            fy_k_for(c, nq, nk ? 1 + FY_K_GRAIN / nk : FY_K_GRAIN, softmax_rows, &w);
            if (dump && n) fy_store_f64(dump, (b * nh + h) * n, n, w.raw);
            FY_TRY(fy_gemm(my, ms, mv, nq, v.dim[3], nk, 1, 0, c->pool, c->e));
        }
    if (!direct && fy_count(y)) fy_tensor_copy(y, &whole);
    return FY_OK;
}

static const fy_attr_spec attention_attrs[] = { {"is_causal", FY_ATTR_INT, "0"}, {"q_num_heads", FY_ATTR_INT, NULL}, {"kv_num_heads", FY_ATTR_INT, NULL},
    {"scale", FY_ATTR_FLOAT, NULL}, {"softcap", FY_ATTR_FLOAT, "0"}, {"qk_matmul_output_mode", FY_ATTR_INT, "0"}, {"softmax_precision", FY_ATTR_INT, NULL},
    {"left_window_size", FY_ATTR_INT, "-1"}, {"right_window_size", FY_ATTR_INT, "-1"}, {0}};
const fy_op fy_op_attention = {.name = "Attention", .domain = "", .attrs = attention_attrs, .min_in = 3, .max_in = 7, .min_out = 1, .max_out = 4, .first = 23,
    .since = 23, .types = "T=" FY_T_FLOAT ";V=" FY_T_FLOAT ";M=" FY_T_NUM ",bool|T,T,V,M,T,V,i64|T,T,V,T", .infer = infer_attention, .ref = ref_attention,
    .flags = FY_PURE};

/* ---- RotaryEmbedding ----------------------------------------------------------------------------------------------- */

static fy_status infer_rotary(fy_infer *f) {
    int r, rc;
    FY_TRY(fy_k_rank(f, 0, 3, 4, &r));
    FY_NEED(f->e, r != 3 || fy_attr_get(f->node, "num_heads"), ATTR, "num_heads is needed for an input of rank 3");
    FY_TRY(fy_k_rank(f, 1, fy_in_has(f, 3) ? 2 : 3, fy_in_has(f, 3) ? 2 : 3, &rc));
    FY_TRY(fy_k_rank(f, 2, fy_in_has(f, 3) ? 2 : 3, fy_in_has(f, 3) ? 2 : 3, &rc));
    for (int i = 0; i < rc && fy_in_rank(f, 1) == rc; i++) FY_TRY(fy_k_agree(f, fy_in_dim(f, 1, i), fy_in_dim(f, 2, i), "sizes of the caches"));
    return fy_k_like(f);
}

static fy_status ref_rotary(const fy_call *c) {
    const fy_tensor *in = fy_arg(c, 0), *ids = fy_arg(c, 3), *tc = fy_arg(c, 1);
    const fy_attr *an = fy_attr_get(c->node, "num_heads");
    fy_tensor *out = fy_res(c, 0);
    if (!out || !fy_count(out)) return FY_OK;
    FY_NEED(c->e, fy_dtype_float(in->dtype) && fy_dtype_float(tc->dtype), TYPE, "RotaryEmbedding takes floats");
    int64_t nh = an ? an->i : 1, interleaved = fy_attr_i(c->node, "interleaved");
    if (in->rank == 3) FY_NEED(c->e, nh >= 1 && in->dim[2] % nh == 0, SHAPE, "size %lld does not split into %lld heads", (long long)in->dim[2], (long long)nh);
    fy_tensor x = as_heads(in, nh), y = as_heads(out, nh);
    int64_t size = x.dim[3], turned = fy_attr_i(c->node, "rotary_embedding_dim"), seq = x.dim[2];
    if (turned == 0) turned = size;
    int64_t half = turned / 2;
    FY_NEED(c->e, turned > 0 && turned <= size && turned % 2 == 0, ATTR, "rotary_embedding_dim is %lld of a head size of %lld", (long long)turned, (long long)size);
    FY_NEED(c->e, tc->dim[tc->rank - 1] == half, SHAPE, "the caches hold %lld angles; %lld are needed", (long long)tc->dim[tc->rank - 1], (long long)half);
    if (ids) FY_NEED(c->e, ids->rank == 2 && ids->dim[0] == x.dim[0] && ids->dim[1] == seq, SHAPE, "position_ids do not fit x");
    else FY_NEED(c->e, (tc->dim[0] == x.dim[0] || tc->dim[0] == 1) && tc->dim[1] == seq, SHAPE, "the caches do not fit x");
    double *cs = fy_k_as_f64(c, tc), *sn = fy_k_as_f64(c, fy_arg(c, 2)), *row = FY_NEWN(c->scratch, double, size);
    FY_NOMEM(c->e, cs && sn && row);
    for (int64_t b = 0; b < x.dim[0]; b++)
        for (int64_t s = 0; s < seq; s++) {
            int64_t p = ids ? fy_get_i64(ids, b * seq + s) : (tc->dim[0] == 1 ? 0 : b) * seq + s;
            FY_NEED(c->e, !ids || (p >= 0 && p < tc->dim[0]), INDEX, "position %lld is outside the %lld of the caches", (long long)p, (long long)tc->dim[0]);
            for (int64_t h = 0; h < x.dim[1]; h++) {
                int64_t at = (b * x.dim[1] + h) * seq + s;
                fy_load_f64(row, &x, at * size, size);
                for (int64_t i = 0; i < half; i++) {
                    int64_t k1 = interleaved ? 2 * i : i, k2 = interleaved ? 2 * i + 1 : i + half;
                    double x1 = row[k1], x2 = row[k2], cosine = cs[p * half + i], sine = sn[p * half + i];
                    row[k1] = cosine * x1 - sine * x2;
                    row[k2] = sine * x1 + cosine * x2;
                }
                fy_store_f64(&y, at * size, size, row);
            }
        }
    return FY_OK;
}
static const fy_attr_spec rotary_attrs[] = {{"interleaved", FY_ATTR_INT, "0"}, {"num_heads", FY_ATTR_INT, NULL}, {"rotary_embedding_dim", FY_ATTR_INT, "0"},
    {0}};
const fy_op fy_op_rotary_embedding = {.name = "RotaryEmbedding", .domain = "", .attrs = rotary_attrs, .min_in = 3, .max_in = 4, .min_out = 1, .max_out = 1,
    .first = 23, .since = 23, .types = "T=" FY_T_FLOAT "|T,T,T,i64|T", .infer = infer_rotary, .ref = ref_rotary, .flags = FY_PURE};
