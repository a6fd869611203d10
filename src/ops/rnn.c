/* SPDX-License-Identifier: Apache-2.0
 * rnn.c - RNN GRU LSTM, one or two directions. Everything runs in double; the products x W^T of all steps are one GEMM, the
 * recurrent ones one GEMM a step.
 * Shapes (layout 0)  X [T, B, I]  W [D, G*H, I]  R [D, G*H, H]  B [D, 2*G*H]  initial [D, B, H]  Y [T, D, B, H]  Y_h, Y_c [D, B, H]
 * Gates              RNN: one; GRU: z r h; LSTM: i o f c.  Peepholes P [D, 3*H]: i o f.
 * Beyond its length a sequence leaves its state alone and Y is 0; the reverse direction starts at the last valid step. */
#include "ops/move.h"
#include "ops/sub.h"
#include "tensor/gemm.h"

#include <math.h>
#include <string.h>

typedef enum cell { CELL_RNN, CELL_GRU, CELL_LSTM } cell;
static const int gates_of[] = {1, 3, 4};
static const int acts_of[] = {1, 2, 3};

/* ---- activations --------------------------------------------------------------------------------------------------- */

typedef enum act_kind { ACT_RELU, ACT_TANH, ACT_SIGMOID, ACT_AFFINE, ACT_LEAKY, ACT_THRESHOLDED, ACT_SCALED_TANH, ACT_HARD_SIGMOID,
        ACT_ELU, ACT_SOFTSIGN,
                        ACT_SOFTPLUS } act_kind;
typedef struct act { act_kind kind; double a, b; } act;
static const struct { const char *name; double a, b; int params; } act_table[] = {
    {"Relu", 0, 0, 0}, {"Tanh", 0, 0, 0}, {"Sigmoid", 0, 0, 0}, {"Affine", 1, 0, 3}, {"LeakyRelu", 0.01, 0, 1}, {"ThresholdedRelu", 1, 0,
            1},
    {"ScaledTanh", 1, 1, 3}, {"HardSigmoid", 0.2, 0.5, 3}, {"Elu", 1, 0, 1}, {"Softsign", 0, 0, 0}, {"Softplus", 0, 0, 0}};

static double activate(const act *f, double x) {
    switch (f->kind) {
    case ACT_RELU: return x > 0 ? x : 0;
    case ACT_TANH: return tanh(x);
    case ACT_SIGMOID: return 1 / (1 + exp(-x));
    case ACT_AFFINE: return f->a * x + f->b;
    case ACT_LEAKY: return x >= 0 ? x : f->a * x;
    case ACT_THRESHOLDED: return x >= f->a ? x : 0;
    case ACT_SCALED_TANH: return f->a * tanh(f->b * x);
    case ACT_HARD_SIGMOID: return fmin(fmax(f->a * x + f->b, 0), 1);
    case ACT_ELU: return x >= 0 ? x : f->a * expm1(x);
    case ACT_SOFTSIGN: return x / (1 + fabs(x));
    case ACT_SOFTPLUS: break;
    }
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static bool same_word(fy_str s, const char *word) {
    if (s.n != strlen(word)) return false;
    for (size_t i = 0; i < s.n; i++) if ((s.at[i] | 32) != (word[i] | 32)) return false;
    return true;
}

/* The functions of all directions; alpha and beta are given in order to those that take them. */
static fy_status read_acts(act *f, const fy_node *n, cell k, int dirs, ferry_error *e) {
    static const act_kind standard[3][3] = {{ACT_TANH, 0, 0}, {ACT_SIGMOID, ACT_TANH, 0}, {ACT_SIGMOID, ACT_TANH, ACT_TANH}};
    const fy_attr *names = fy_attr_get(n, "activations"), *alpha = fy_attr_get(n, "activation_alpha"), *beta = fy_attr_get(n,
            "activation_beta");
    int64_t na = 0, nb = 0;
    for (int i = 0; i < dirs * acts_of[k]; i++) f[i] = (act){standard[k][i % acts_of[k]], 0, 0};
    if (!names || !names->n) return FY_OK;
    FY_NEED(e, names->n >= dirs * acts_of[k], ATTR, "%lld activations; %d are needed", (long long)names->n, dirs * acts_of[k]);
    for (int i = 0; i < dirs * acts_of[k]; i++) {
        int j = 0;
        while (j < FY_COUNT(act_table) && !same_word(names->strings[i], act_table[j].name)) j++;
        FY_NEED(e, j < FY_COUNT(act_table), ATTR, "activation \"%.*s\" is not known",
                (int)(names->strings[i].n < 60 ? names->strings[i].n : 60),
                names->strings[i].at);
        f[i] = (act){(act_kind)j, act_table[j].a, act_table[j].b};
        if (act_table[j].params & 1 && alpha && na < alpha->n) f[i].a = alpha->floats[na++];
        if (act_table[j].params & 2 && beta && nb < beta->n) f[i].b = beta->floats[nb++];
    }
    return FY_OK;
}

/* ---- inference ----------------------------------------------------------------------------------------------------- */

static fy_status direction(int *dirs, int *first, const fy_node *n, ferry_error *e) {
    bool both = fy_attr_is(n, "direction", "bidirectional"), back = fy_attr_is(n, "direction", "reverse");
    FY_NEED(e, both || back || fy_attr_is(n, "direction", "forward"), ATTR, "direction must be forward, reverse or bidirectional");
    *dirs = both ? 2 : 1;
    *first = back;                                          /* 1: direction 0 runs backwards */
    return FY_OK;
}

static fy_status infer_rnn(fy_infer *f, cell k) {
    int dirs, first;
    int64_t v, layout = fy_attr_i(f->node, "layout");
    const fy_attr *hs = fy_attr_get(f->node, "hidden_size");
    act acts[6];
    FY_TRY(direction(&dirs, &first, f->node, f->e));
    FY_TRY(read_acts(acts, f->node, k, dirs, f->e));
    FY_NEED(f->e, layout == 0 || layout == 1, ATTR, "layout is %lld", (long long)layout);
    for (int i = 0; i < 3; i++) FY_NEED(f->e, fy_in_rank(f, i) < 0 || fy_in_rank(f, i) == 3, SHAPE,
            "input %d has rank %d; it must have rank 3", i,
                                        fy_in_rank(f, i));
    const fy_dim *t = fy_in_dim(f, 0, layout ? 1 : 0), *b = fy_in_dim(f, 0, layout ? 0 : 1), *h = fy_in_dim(f, 2, 2), *same;
    if (!t) t = fy_mv_opaque(f);
    if (!b) b = fy_mv_opaque(f);
    if (!h || (hs && !fy_dim_known(h, &v))) h = hs ? fy_mv_const(f, hs->i) : fy_mv_opaque(f);
    const fy_dim *d = fy_mv_const(f, dirs), *gh = fy_dim_muli(f->dims, h, gates_of[k]);
    if (!gh || !d || !t || !b) return fy_mv_oom(f);
    FY_NEED(f->e, !hs || !fy_dim_known(h, &v) || v == hs->i, ATTR, "hidden_size is %lld, the weights have %lld",
            (long long)(hs ? hs->i : 0), (long long)v);
    for (int i = 1; i < 3; i++) {
        if (fy_in_rank(f, i) != 3) continue;
        FY_TRY(fy_mv_same(f, &same, fy_in_dim(f, i, 0), d, "directions of weights and node"));
        FY_TRY(fy_mv_same(f, &same, fy_in_dim(f, i, 1), gh, "rows of the weights and gates"));
    }
    if (fy_in_rank(f, 0) == 3 && fy_in_rank(f, 1) == 3) FY_TRY(fy_mv_same(f, &same, fy_in_dim(f, 0, 2), fy_in_dim(f, 1, 2),
            "features of input and weights"));
    const fy_dim *y0[4] = {t, d, b, h}, *y1[4] = {b, t, d, h}, *s0[3] = {d, b, h}, *s1[3] = {b, d, h};
    if (f->nout > 0) FY_TRY(fy_out_set(f, 0, fy_in_dtype(f, 0), 4, layout ? y1 : y0));
    for (int i = 1; i < f->nout; i++) FY_TRY(fy_out_set(f, i, fy_in_dtype(f, 0), 3, layout ? s1 : s0));
    return FY_OK;
}

static fy_status infer_r(fy_infer *f) { return infer_rnn(f, CELL_RNN); }
static fy_status infer_gru(fy_infer *f) { return infer_rnn(f, CELL_GRU); }
static fy_status infer_lstm(fy_infer *f) { return infer_rnn(f, CELL_LSTM); }

/* ---- running ------------------------------------------------------------------------------------------------------- */

typedef struct net {
    cell     kind;
    int      gates;
    int64_t  T, B, I, H;
    double   clip;                                          /* 0: none */
    bool     linear_before, input_forget;
    bool     requantised;                                   /* x and, step by step, h are what uint8 holds of them */
    const double *x, *w, *r, *bias, *p;                     /* of this direction; bias [2*G*H] and p may be NULL */
    const act    *f;
    double  *xw, *hr, *h, *c, *tmp;                         /* [T,B,G*H] [B,G*H] [B,H] [B,H] [B,H] */
} net;

static double clipped(const net *n, double v) { return n->clip > 0 ? fmin(fmax(v, -n->clip), n->clip) : v; }
static double gate(const net *n, int f, double v) { return activate(&n->f[f], clipped(n, v)); }
static double bias(const net *n, int64_t i) { return n->bias ? n->bias[i] : 0; }

/* y[m, cols] = a[m, k] b[cols, k]^T */
static fy_status product(double *y, const double *a, const double *b, int64_t m, int64_t cols, int64_t k, const fy_call *c) {
    union { const double *in; void *out; } ua = {a}, ub = {b};      /* fy_mat serves for reading and writing */
    if (!k) { memset(y, 0, (size_t)(m * cols) * sizeof *y); return FY_OK; }
    if (!m || !cols) return FY_OK;
    return fy_gemm((fy_mat){y, FERRY_DOUBLE, cols, 1}, (fy_mat){ua.out, FERRY_DOUBLE, k, 1}, (fy_mat){ub.out, FERRY_DOUBLE, 1, k}, m,
            cols, k, 1, 0,
                   c->pool, c->e);
}

/* One step for row b of the batch: new h (and c) from xw[b], hr[b]. */
static void step_row(const net *n, const double *xw, const double *hr, double *h, double *c, const double *reset) {
    int64_t H = n->H, g = n->gates * H;
    for (int64_t j = 0; j < H; j++) {
        if (n->kind == CELL_RNN) {
            h[j] = gate(n, 0, xw[j] + hr[j] + bias(n, j) + bias(n, g + j));
        } else if (n->kind == CELL_GRU) {
            double z = gate(n, 0, xw[j] + hr[j] + bias(n, j) + bias(n, g + j));
            double r = gate(n, 0, xw[H + j] + hr[H + j] + bias(n, H + j) + bias(n, g + H + j));
            double rec = n->linear_before ? r * (hr[2 * H + j] + bias(n, g + 2 * H + j)) : reset[j] + bias(n, g + 2 * H + j);
            double cand = gate(n, 1, xw[2 * H + j] + rec + bias(n, 2 * H + j));
            h[j] = (1 - z) * cand + z * h[j];
        } else {
            double v[4];
            for (int q = 0; q < 4; q++) v[q] = xw[q * H + j] + hr[q * H + j] + bias(n, q * H + j) + bias(n, g + q * H + j);
            double i = gate(n, 0, v[0] + (n->p ? n->p[j] * c[j] : 0)), fg = gate(n, 0, v[2] + (n->p ? n->p[2 * H + j] * c[j] : 0));
            if (n->input_forget) fg = 1 - i;
            c[j] = fg * c[j] + i * gate(n, 1, v[3]);
            double o = gate(n, 0, v[1] + (n->p ? n->p[H + j] * c[j] : 0));
            h[j] = o * activate(&n->f[2], c[j]);
        }
    }
}

/* For GRU with the reset gate before the product: (r * h) R_h^T of the rows. */
static fy_status reset_product(const net *n, const double *xw, const fy_call *c, double *scaled, double *out) {
    int64_t H = n->H, g = n->gates * H;
    for (int64_t b = 0; b < n->B; b++)
        for (int64_t j = 0; j < H; j++) {
            double r = gate(n, 0, xw[b * g + H + j] + n->hr[b * g + H + j] + bias(n, H + j) + bias(n, g + H + j));
            scaled[b * H + j] = r * n->h[b * H + j];
        }
    return product(out, scaled, n->r + 2 * H * H, n->B, H, H, c);
}

/* Runs one direction; y[t * B * H...] is written through `put`. len: valid steps of each row, or NULL. */
typedef struct sink { fy_tensor *y; int64_t t_stride, b_stride, base; } sink;

/* y[count] = x through uint8 and back, by the range of x, as DynamicQuantizeLinear does it. */
static fy_status through_u8(const fy_call *c, const double *x, double *y, int64_t count) {
    static const fy_node bare = {.nattr = 0};
    fy_tensor in = fy_tensor_view(FERRY_DOUBLE, 1, &count, x), f, q, scale, zero, to = fy_tensor_view(FERRY_DOUBLE, 1, &count, y), *out[3] = {&q, &scale, &zero};
    const fy_tensor *from = &f, *back[3] = {&q, &scale, &zero};
    fy_sub s;
    if (!count) return FY_OK;
    FY_TRY(fy_sub_room(c, &f, FERRY_FLOAT, 1, &count));
    FY_TRY(fy_sub_room(c, &q, FERRY_UINT8, 1, &count));
    FY_TRY(fy_sub_room(c, &scale, FERRY_FLOAT, 0, NULL));
    FY_TRY(fy_sub_room(c, &zero, FERRY_UINT8, 0, NULL));
    fy_tensor_copy(&f, &in);
    fy_sub_begin(&s, &fy_op_dynamic_quantize_linear, &bare);
    FY_TRY(fy_sub_run(c, &s, 1, &from, 3, out));
    return fy_sub_apply(c, &fy_op_dequantize_linear, 3, back, &to);
}

static fy_status run_direction(net *n, const fy_call *c, const int64_t *len, bool back, const sink *out) {
    int64_t g = n->gates * n->H;
    double *reset = FY_NEWN(c->scratch, double, n->B * n->H), *h = n->h;
    FY_NOMEM(c->e, reset);
    if (n->requantised) FY_NOMEM(c->e, h = FY_NEWN(c->scratch, double, n->B * n->H));
    FY_TRY(product(n->xw, n->x, n->w, n->T * n->B, g, n->I, c));
    for (int64_t s = 0; s < n->T; s++) {
        fy_arena step = {0};                                /* what a step needs goes with it */
        fy_call k = *c;
        k.scratch = &step;
        fy_status st = n->requantised ? through_u8(&k, n->h, h, n->B * n->H) : FY_OK;
        fy_arena_free(&step);
        FY_TRY(st);
        FY_TRY(product(n->hr, h, n->r, n->B, g, n->H, c));
        int64_t t = s;
        /* rows of different length start backwards at different steps: each reads its own xw */
        for (int64_t b = 0; b < n->B; b++) {
            int64_t valid = len ? len[b] : n->T;
            t = back ? valid - 1 - s : s;
            if (s < valid) memcpy(n->tmp + b * g, n->xw + (t * n->B + b) * g, (size_t)g * sizeof(double));
            else memset(n->tmp + b * g, 0, (size_t)g * sizeof(double));
        }
        if (n->kind == CELL_GRU && !n->linear_before) {
            double *scaled = n->c;                          /* GRU has no cell state: its buffer serves */
            FY_TRY(reset_product(n, n->tmp, c, scaled, reset));
        }
        for (int64_t b = 0; b < n->B; b++) {
            int64_t valid = len ? len[b] : n->T;
            if (s >= valid) continue;
            t = back ? valid - 1 - s : s;
            step_row(n, n->tmp + b * g, n->hr + b * g, n->h + b * n->H, n->c + b * n->H, reset + b * n->H);
            if (out->y) fy_store_f64(out->y, out->base + t * out->t_stride + b * out->b_stride, n->H, n->h + b * n->H);
        }
    }
    return FY_OK;
}

static fy_status dense(const double **p, const fy_call *c, int i, int64_t count, const char *what) {
    *p = NULL;
    if (!fy_arg(c, i)) return FY_OK;
    FY_NEED(c->e, fy_count(fy_arg(c, i)) == count, SHAPE, "%s has %lld elements; %lld are needed", what, (long long)fy_count(fy_arg(c,
            i)), (long long)count);
    *p = fy_arg_f64(c, i);
    FY_NOMEM(c->e, *p);
    return FY_OK;
}

static void store_state(fy_tensor *y, const double *s, int64_t B, int64_t H, int d, int dirs, bool layout) {
    for (int64_t b = 0; y && b < B; b++) fy_store_f64(y, layout ? (b * dirs + d) * H : (d * B + b) * H, H, s + b * H);
}

static fy_status ref_rnn(const fy_call *c, cell k, bool requantised) {
    const fy_tensor *xt = fy_arg(c, 0), *wt = fy_arg(c, 1), *rt = fy_arg(c, 2);
    bool layout = fy_attr_i(c->node, "layout") != 0;
    int dirs, first, g = gates_of[k];
    act acts[6];
    fy_tensor *y[3] = {NULL, NULL, NULL};
    const double *w, *r, *bs, *p = NULL, *h0, *c0 = NULL;
    const fy_attr *clip = fy_attr_get(c->node, "clip");
    for (int i = 0; i < c->nout && i < 3; i++) FY_TRY(fy_mv_out(c, i, &y[i]));
    FY_TRY(direction(&dirs, &first, c->node, c->e));
    FY_TRY(read_acts(acts, c->node, k, dirs, c->e));
    FY_NEED(c->e, xt->rank == 3 && wt->rank == 3 && rt->rank == 3, SHAPE, "X, W and R must have rank 3");
    int64_t T = xt->dim[layout ? 1 : 0], B = xt->dim[layout ? 0 : 1], I = xt->dim[2], H = rt->dim[2], gh = g * H, need;
    FY_NEED(c->e, fy_mul_i64(&need, T, B) && fy_mul_i64(&need, need, gh) && need <= c->max_bytes / (int64_t)sizeof(double), LIMIT,
            "the gates are too large");
    FY_TRY(dense(&w, c, 1, dirs * gh * I, "W"));
    FY_TRY(dense(&r, c, 2, dirs * gh * H, "R"));
    FY_TRY(dense(&bs, c, 3, dirs * 2 * gh, "B"));
    FY_TRY(dense(&h0, c, 5, dirs * B * H, "initial_h"));
    if (k == CELL_LSTM) FY_TRY(dense(&c0, c, 6, dirs * B * H, "initial_c"));
    if (k == CELL_LSTM) FY_TRY(dense(&p, c, 7, dirs * 3 * H, "P"));
    const int64_t *len = fy_arg(c, 4) ? fy_arg_i64(c, 4) : NULL;
    FY_NEED(c->e, !fy_arg(c, 4) || (len && fy_count(fy_arg(c, 4)) == B), SHAPE,
            "sequence_lens must hold one length for each of %lld rows", (long long)B);
    for (int64_t b = 0; len && b < B; b++) FY_NEED(c->e, len[b] >= 0 && len[b] <= T, INDEX, "length %lld of %lld steps",
            (long long)len[b], (long long)T);
    double *x = FY_NEWN(c->scratch, double, T * B * I);
    net n = {.kind = k, .gates = g, .T = T, .B = B, .I = I, .H = H, .clip = clip ? clip->f : 0, .x = x, .xw = FY_NEWN(c->scratch, double,
            T * B * gh),
             .hr = FY_NEWN(c->scratch, double, B * gh), .h = FY_NEWN(c->scratch, double, B * H), .c = FY_NEWN(c->scratch, double, B * H),
             .tmp = FY_NEWN(c->scratch, double, B * gh), .linear_before = k == CELL_GRU && fy_attr_i(c->node, "linear_before_reset"),
             .input_forget = k == CELL_LSTM && fy_attr_i(c->node, "input_forget"), .requantised = requantised};
    FY_NOMEM(c->e, x && n.xw && n.hr && n.h && n.c && n.tmp);
    fy_view v = fy_mv_view_of(xt);
    if (layout) { v.dim[0] = T; v.dim[1] = B; v.stride[0] = xt->stride[1]; v.stride[1] = xt->stride[0]; }
    fy_tensor seen = fy_mv_see(xt, &v);
    fy_load_f64(x, &seen, 0, T * B * I);
    int64_t longest = len ? 0 : T;
    for (int64_t b = 0; len && b < B; b++) longest = len[b] > longest ? len[b] : longest;
    if (requantised) FY_TRY(through_u8(c, x, x, longest * B * I));
    if (y[0]) fy_mv_zero(y[0]);
    for (int d = 0; d < dirs; d++) {
        bool back = d == 1 || first;
        n.w = w + d * gh * I;
        n.r = r + d * gh * H;
        n.bias = bs ? bs + d * 2 * gh : NULL;
        n.p = p ? p + d * 3 * H : NULL;
        n.f = acts + d * acts_of[k];
        for (int64_t b = 0; b < B; b++)
            for (int64_t j = 0; j < H; j++) {
                int64_t at = (layout ? b * dirs + d : d * B + b) * H + j;
                n.h[b * H + j] = h0 ? h0[at] : 0;
                n.c[b * H + j] = c0 ? c0[at] : 0;
            }
        sink out = {y[0], layout ? dirs * H : dirs * B * H, layout ? T * dirs * H : H, layout ? d * H : d * B * H};
        FY_TRY(run_direction(&n, c, len, back, &out));
        store_state(y[1], n.h, B, H, d, dirs, layout);
        if (k == CELL_LSTM) store_state(y[2], n.c, B, H, d, dirs, layout);
    }
    return FY_OK;
}

static fy_status ref_r(const fy_call *c) { return ref_rnn(c, CELL_RNN, false); }
static fy_status ref_gru(const fy_call *c) { return ref_rnn(c, CELL_GRU, false); }
static fy_status ref_lstm(const fy_call *c) { return ref_rnn(c, CELL_LSTM, false); }
static fy_status ref_lstm_requantised(const fy_call *c) { return ref_rnn(c, CELL_LSTM, true); }

#define COMMON_ATTRS {"activation_alpha", FY_ATTR_FLOATS, NULL}, \
    {"activation_beta", FY_ATTR_FLOATS, NULL}, \
    {"activations", FY_ATTR_STRINGS, NULL}, \
    {"clip", FY_ATTR_FLOAT, NULL}, \
    {"direction", FY_ATTR_STRING, "forward"}, {"hidden_size", FY_ATTR_INT, NULL}, \
    {"layout", FY_ATTR_INT, "0"}
static const fy_attr_spec rnn_attrs[] = {COMMON_ATTRS, {0}};
static const fy_attr_spec gru_attrs[] = {COMMON_ATTRS, {"linear_before_reset", FY_ATTR_INT, "0"}, {0}};
static const fy_attr_spec lstm_attrs[] = {COMMON_ATTRS, {"input_forget", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_rnn = {.name = "RNN", .domain = "", .attrs = rnn_attrs, .min_in = 3, .max_in = 6, .min_out = 0, .max_out = 2, .since = 22, .first = 1,
    .types = "T=" FY_T_FLOAT "|T,T,T,T,i32,T|T,T", .infer = infer_r, .ref = ref_r, .flags = FY_PURE};
const fy_op fy_op_gru = {.name = "GRU", .domain = "", .attrs = gru_attrs, .min_in = 3, .max_in = 6, .min_out = 0, .max_out = 2, .since = 22, .first = 1,
    .types = "T=" FY_T_FLOAT "|T,T,T,T,i32,T|T,T", .infer = infer_gru, .ref = ref_gru, .flags = FY_PURE};
const fy_op fy_op_lstm = {.name = "LSTM", .domain = "", .attrs = lstm_attrs, .min_in = 3, .max_in = 8, .min_out = 0, .max_out = 3, .since = 22, .first = 1,
    .types = "T=" FY_T_FLOAT "|T,T,T,T,i32,T,T,T|T,T,T", .infer = infer_lstm, .ref = ref_lstm, .flags = FY_PURE};
/* For com.microsoft.DynamicQuantizeLSTM (ms_qmatmul.c), which brings the weights as numbers. */
const fy_op fy_op_lstm_requantised = {.name = "LSTM", .domain = "", .attrs = lstm_attrs, .min_in = 3, .max_in = 8, .min_out = 0, .max_out = 3,
    .infer = infer_lstm, .ref = ref_lstm_requantised, .flags = FY_PURE};
