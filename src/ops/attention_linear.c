/* SPDX-License-Identifier: Apache-2.0
 * attention_linear.c - the recurrent layers of hybrid models: LinearAttention, CausalConvWithState.
 *
 * LinearAttention: for each key head a state S [dk,dv] that each token changes and each query head of its group reads:
 *     linear       S = S + k v'                                gated        S = e^g S + k v'
 *     delta        S = S + b k (v - S'k)'                      gated_delta  S = e^g S, then delta
 *     o = scale S'q
 * Shapes   query [B,T,Hq*dk], key [B,T,Hk*dk], value [B,T,Hk*dv], past_state [B,Hk,dk,dv], decay g [B,T,Hk or Hk*dk], beta b [B,T,Hk or 1]
 *          -> [B,T,Hq*dv], [B,Hk,dk,dv] in the dtype of past_state, else of query. The state is double from the first token to the last;
 *          chunk_size is a hint for other implementations and is not looked at.
 *
 * CausalConvWithState: y[b,c,t] = act(bias[c] + sum over j of w[c,0,j] z[b,c,t+j]), z = past_state (or zeros), then the input.
 * Shapes   input [B,C,L], weight [C,1,k], bias [C], past_state [B,C,k-1] -> [B,C,L], the last k-1 of z [B,C,k-1].
 * Sources  ONNX LinearAttention-27, CausalConvWithState-27. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

/* ---- LinearAttention ----------------------------------------------------------------------------------------------- */

typedef struct rule { bool gated, delta; int64_t hq, hk; } rule;

static fy_status read_rule(rule *r, const fy_node *n, ferry_error *e) {
    bool plain = fy_attr_is(n, "update_rule", "linear"), both = fy_attr_is(n, "update_rule", "gated_delta");
    *r = (rule){both || fy_attr_is(n, "update_rule", "gated"), both || fy_attr_is(n, "update_rule", "delta"), fy_attr_i(n, "q_num_heads"), fy_attr_i(n, "kv_num_heads")};
    FY_NEED(e, plain || r->gated || r->delta, ATTR, "update_rule is none of linear, gated, delta, gated_delta");
    FY_NEED(e, r->hk >= 1 && r->hq >= 1 && r->hq % r->hk == 0, ATTR, "%lld query heads do not share %lld key heads", (long long)r->hq, (long long)r->hk);
    return FY_OK;
}

/* Size of one of n heads in a packed axis; NULL: not known. */
static fy_status head_size(fy_infer *f, int in, int64_t n, const fy_dim **d) {
    const fy_dim *all = fy_in_dim(f, in, 2);
    int64_t v;
    *d = NULL;
    if (!all) return FY_OK;
    if (fy_dim_known(all, &v)) FY_NEED(f->e, v % n == 0, SHAPE, "size %lld of input %d does not split into %lld heads", (long long)v, in, (long long)n);
    FY_NOMEM(f->e, *d = fy_dim_divi(f->dims, all, n));
    return FY_OK;
}

static fy_status infer_linear(fy_infer *f) {
    rule r;
    int rank, rp;
    const fy_dim *dq, *dk, *dv;
    int64_t g, k;
    FY_TRY(read_rule(&r, f->node, f->e));
    FY_NEED(f->e, fy_in_has(f, 4) == r.gated, GRAPH, "this update_rule %s decay", r.gated ? "needs" : "has no");
    FY_NEED(f->e, fy_in_has(f, 5) == r.delta, GRAPH, "this update_rule %s beta", r.delta ? "needs" : "has no");
    for (int i = 0; i < 6; i++) {
        if (i == 3 || (i > 3 && !fy_in_has(f, i))) continue;
        FY_TRY(fy_k_rank(f, i, 3, 3, &rank));
        FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 0), fy_in_dim(f, i, 0), "batch sizes"));
        FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 1), fy_in_dim(f, i, 1), "sequence lengths"));
    }
    FY_TRY(head_size(f, 0, r.hq, &dq));
    FY_TRY(head_size(f, 1, r.hk, &dk));
    FY_TRY(head_size(f, 2, r.hk, &dv));
    FY_TRY(fy_k_agree(f, dq, dk, "head sizes of query and key"));
    if (r.gated && fy_dim_known(fy_in_dim(f, 4, 2), &g) && g != r.hk && dk && fy_dim_known(dk, &k))
        FY_NEED(f->e, g == r.hk * k, SHAPE, "decay has size %lld; it must be %lld or %lld", (long long)g, (long long)r.hk, (long long)(r.hk * k));
    if (r.delta && fy_dim_known(fy_in_dim(f, 5, 2), &g)) FY_NEED(f->e, g == r.hk || g == 1, SHAPE, "beta has size %lld; it must be %lld or 1",
            (long long)g, (long long)r.hk);
    const fy_dim *b = fy_in_dim(f, 0, 0), *heads = fy_dim_const(f->dims, r.hk);
    const fy_dim *state[4] = {b ? b : fy_dim_opaque(f->dims, "batch"), heads, dk ? dk : dq ? dq : fy_dim_opaque(f->dims, "key"),
            dv ? dv : fy_dim_opaque(f->dims, "value")};
    if (fy_in_has(f, 3)) {
        FY_TRY(fy_k_rank(f, 3, 4, 4, &rp));
        for (int i = 0; i < 4; i++) FY_TRY(fy_k_agree(f, fy_in_dim(f, 3, i), state[i], "sizes of past_state and the other inputs"));
    }
    FY_NOMEM(f->e, state[0] && state[3]);
    const fy_dim *y[3] = {state[0], fy_in_dim(f, 0, 1) ? fy_in_dim(f, 0, 1) : fy_dim_opaque(f->dims, "sequence"), fy_dim_muli(f->dims, state[3], r.hq)};
    FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), 3, y));
    return fy_out_set(f, 1, fy_in_has(f, 3) ? fy_in_dtype(f, 3) : fy_in_dtype(f, 0), 4, state);
}

typedef struct linear {
    rule          r;
    int64_t       t, dk, dv, decay, beta;        /* sizes of the last axes of decay and beta */
    double        scale, *q, *k, *v, *g, *b, *state, *out, *row;     /* row: dv for each key head of each batch item */
} linear;

/* The tokens of one key head of one batch item, in order. */
static void heads(void *arg, int64_t begin, int64_t end) {
    const linear *w = arg;
    int64_t hk = w->r.hk, group = w->r.hq / hk, dk = w->dk, dv = w->dv;
    for (int64_t i = begin; i < end; i++) {
        int64_t batch = i / hk, h = i % hk;
        double *s = w->state + i * dk * dv, *row = w->row + i * dv;
        for (int64_t t = 0; t < w->t; t++) {
            int64_t at = batch * w->t + t;
            const double *k = w->k + (at * hk + h) * dk, *v = w->v + (at * hk + h) * dv;
            const double *g = w->r.gated ? w->g + at * w->decay + (w->decay == hk ? h : h * dk) : NULL;
            for (int64_t d = 0; g && d < dk; d++) {
                double keep = exp(g[w->decay == hk ? 0 : d]);
                for (int64_t m = 0; m < dv; m++) s[d * dv + m] *= keep;
            }
            memcpy(row, v, (size_t)dv * sizeof *row);
            if (w->r.delta) {
                double b = w->b[at * w->beta + (w->beta == 1 ? 0 : h)];
                for (int64_t d = 0; d < dk; d++)
                    for (int64_t m = 0; m < dv; m++) row[m] -= s[d * dv + m] * k[d];
                for (int64_t m = 0; m < dv; m++) row[m] *= b;
            }
            for (int64_t d = 0; d < dk; d++)
                for (int64_t m = 0; m < dv; m++) s[d * dv + m] += k[d] * row[m];
            for (int64_t n = h * group; n < (h + 1) * group; n++) {
                const double *q = w->q + (at * w->r.hq + n) * dk;
                double *o = w->out + (at * w->r.hq + n) * dv;
                memset(o, 0, (size_t)dv * sizeof *o);
                for (int64_t d = 0; d < dk; d++)
                    for (int64_t m = 0; m < dv; m++) o[m] += q[d] * s[d * dv + m];
                for (int64_t m = 0; m < dv; m++) o[m] *= w->scale;
            }
        }
    }
}

static fy_status ref_linear(const fy_call *c) {
    const fy_tensor *q = fy_arg(c, 0), *v = fy_arg(c, 2), *past = fy_arg(c, 3);
    fy_tensor *y = fy_res(c, 0), *present = fy_res(c, 1);
    linear w = {.t = q->dim[1], .scale = fy_attr_f(c->node, "scale")};
    FY_TRY(read_rule(&w.r, c->node, c->e));
    w.dk = q->dim[2] / w.r.hq;
    w.dv = v->dim[2] / w.r.hk;
    if (w.scale == 0) w.scale = 1 / sqrt((double)w.dk);
    int64_t n, count, out, rows;
    if (w.dv == 0) return FY_OK;                                        /* nothing to give, however many heads of nothing there are */
    FY_NEED(c->e, fy_mul_i64(&n, q->dim[0], w.r.hk) && fy_mul_i64(&count, n, w.dk) && fy_mul_i64(&count, count, w.dv) && count <= c->max_bytes / 8,
            LIMIT, "the state is too large");
    FY_NEED(c->e, fy_mul_i64(&out, q->dim[0] * w.t, w.r.hq) && fy_mul_i64(&out, out, w.dv) && out <= c->max_bytes / 8, LIMIT, "the output is too large");
    FY_NEED(c->e, fy_mul_i64(&rows, n, w.dv) && rows <= c->max_bytes / 8, LIMIT, "the state is too large");
    w.q = fy_k_as_f64(c, q);
    w.k = fy_k_as_f64(c, fy_arg(c, 1));
    w.v = fy_k_as_f64(c, v);
    w.state = past ? fy_k_as_f64(c, past) : FY_NEWN(c->scratch, double, count);
    w.out = FY_NEWN(c->scratch, double, out);
    w.row = FY_NEWN(c->scratch, double, rows);
    FY_NOMEM(c->e, w.q && w.k && w.v && w.state && w.out && w.row);
    if (!past && count) memset(w.state, 0, (size_t)count * sizeof *w.state);
    if (w.r.gated) {
        FY_NOMEM(c->e, w.g = fy_k_as_f64(c, fy_arg(c, 4)));
        w.decay = fy_arg(c, 4)->dim[2];
    }
    if (w.r.delta) {
        FY_NOMEM(c->e, w.b = fy_k_as_f64(c, fy_arg(c, 5)));
        w.beta = fy_arg(c, 5)->dim[2];
    }
    fy_k_for(c, n, 1, heads, &w);
    if (y && out) fy_store_f64(y, 0, out, w.out);
    if (present && count) fy_store_f64(present, 0, count, w.state);
    return FY_OK;
}

#define T_STATE "f32,f16,bf16"
static const fy_attr_spec linear_attrs[] = {{"q_num_heads", FY_ATTR_INT, FY_REQUIRED}, {"kv_num_heads", FY_ATTR_INT, FY_REQUIRED},
    {"update_rule", FY_ATTR_STRING, "gated_delta"}, {"scale", FY_ATTR_FLOAT, "0"}, {"chunk_size", FY_ATTR_INT, "64"}, {0}};
const fy_op fy_op_linear_attention = {.name = "LinearAttention", .domain = "", .attrs = linear_attrs, .min_in = 3, .max_in = 6, .min_out = 2, .max_out = 2,
    .first = 27, .since = 27, .types = "T=" T_STATE ";S=" T_STATE "|T,T,T,S,T,T|T,S", .infer = infer_linear, .ref = ref_linear, .flags = FY_PURE};

/* ---- CausalConvWithState ------------------------------------------------------------------------------------------- */

static fy_status activation(bool *silu, const fy_node *n, ferry_error *e) {
    *silu = fy_attr_is(n, "activation", "silu") || fy_attr_is(n, "activation", "swish");
    FY_NEED(e, *silu || fy_attr_is(n, "activation", "none"), ATTR, "activation is none of none, silu, swish");
    return FY_OK;
}

static fy_status infer_causal(fy_infer *f) {
    int r, rw, rp;
    bool silu;
    int64_t v;
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(activation(&silu, f->node, f->e));
    FY_TRY(fy_k_rank(f, 0, 3, 3, &r));
    FY_TRY(fy_k_rank(f, 1, 3, 3, &rw));
    const fy_dim *k = fy_in_dim(f, 1, 2), *one = fy_in_dim(f, 1, 1);
    FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 1), fy_in_dim(f, 1, 0), "channels of input and weight"));
    FY_NEED(f->e, !one || !fy_dim_known(one, &v) || v == 1, SHAPE, "axis 1 of the weight has size %lld; it must be 1", (long long)v);
    FY_NEED(f->e, !k || !fy_dim_known(k, &v) || v >= 1, SHAPE, "the kernel is empty");
    const fy_dim *c = fy_in_dim(f, 1, 0) ? fy_in_dim(f, 1, 0) : fy_in_dim(f, 0, 1);
    if (fy_in_has(f, 2)) {
        FY_TRY(fy_k_rank(f, 2, 1, 1, &rp));
        FY_TRY(fy_k_agree(f, fy_in_dim(f, 2, 0), c, "channels and bias"));
    }
    const fy_dim *state[3] = {r == 3 ? fy_in_dim(f, 0, 0) : fy_dim_opaque(f->dims, "batch"), c ? c : fy_dim_opaque(f->dims, "channels"),
                              k ? fy_dim_addi(f->dims, k, -1) : fy_dim_opaque(f->dims, "past")};
    for (int i = 0; i < 3; i++) FY_NOMEM(f->e, state[i]);
    if (fy_in_has(f, 3)) {
        FY_TRY(fy_k_rank(f, 3, 3, 3, &rp));
        for (int i = 0; i < 3; i++) FY_TRY(fy_k_agree(f, fy_in_dim(f, 3, i), state[i], "sizes of past_state and the other inputs"));
    }
    FY_TRY(fy_out_like(f, 0, 0));
    return fy_out_set(f, 1, fy_in_dtype(f, 0), 3, state);
}

typedef struct causal { double *z, *w, *bias, *y; int64_t channels, n, k; bool silu; } causal;

static void rows(void *arg, int64_t begin, int64_t end) {
    const causal *a = arg;
    for (int64_t r = begin; r < end; r++) {
        const double *w = a->w + r % a->channels * a->k, *z = a->z + r * (a->n + a->k - 1);
        for (int64_t t = 0; t < a->n; t++) {
            double sum = a->bias ? a->bias[r % a->channels] : 0;
            for (int64_t j = 0; j < a->k; j++) sum += w[j] * z[t + j];
            a->y[r * a->n + t] = a->silu ? sum / (1 + exp(-sum)) : sum;
        }
    }
}

static fy_status ref_causal(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *w = fy_arg(c, 1), *past = fy_arg(c, 3);
    fy_tensor *y = fy_res(c, 0), *present = fy_res(c, 1);
    causal a = {.channels = x->dim[1], .n = x->dim[2], .k = w->dim[2]};
    int64_t kept = a.k - 1, width, count, nrows = x->dim[0] * x->dim[1];
    FY_TRY(activation(&a.silu, c->node, c->e));
    FY_NEED(c->e, fy_add_i64(&width, a.n, kept) && fy_mul_i64(&count, width, nrows) && count <= c->max_bytes / 8, LIMIT, "the sequence with its past is too long");
    if (count == 0) return FY_OK;
    a.z = FY_NEWN(c->scratch, double, count);
    a.y = FY_NEWN(c->scratch, double, nrows * a.n);
    a.w = fy_k_as_f64(c, w);
    FY_NOMEM(c->e, a.z && a.y && a.w);
    if (fy_arg(c, 2)) FY_NOMEM(c->e, a.bias = fy_k_as_f64(c, fy_arg(c, 2)));
    for (int64_t r = 0; r < nrows; r++) {
        double *z = a.z + r * width;
        if (past && kept) fy_load_f64(z, past, r * kept, kept);
        else for (int64_t i = 0; i < kept; i++) z[i] = 0;
        if (a.n) fy_load_f64(z + kept, x, r * a.n, a.n);
    }
    int64_t grain = FY_K_GRAIN / (a.n + 1) / a.k;
    fy_k_for(c, nrows, grain < 1 ? 1 : grain, rows, &a);
    if (y && fy_count(y)) fy_store_f64(y, 0, nrows * a.n, a.y);
    for (int64_t r = 0; present && kept && r < nrows; r++) fy_store_f64(present, r * kept, kept, a.z + r * width + a.n);
    return FY_OK;
}

static const fy_attr_spec causal_attrs[] = {{"activation", FY_ATTR_STRING, "none"}, {0}};
const fy_op fy_op_causal_conv_with_state = {.name = "CausalConvWithState", .domain = "", .attrs = causal_attrs, .min_in = 2, .max_in = 4, .min_out = 2,
    .max_out = 2, .first = 27, .since = 27, .types = "T=" T_STATE "|T,T,T,T|T,T", .infer = infer_causal, .ref = ref_causal, .flags = FY_PURE};
