/* SPDX-License-Identifier: Apache-2.0
 * eval_rnn.c - lstm, gru and plain recurrent layers, as torch lays their weights out: [gates * hidden, input], gates i f g o
 * (lstm) or r z n (gru); layers, then directions. */
#include "aten/eval.h"

#include "tensor/gemm.h"

#include <math.h>

enum { TANH, RELU, GRU, LSTM };

typedef struct cell { int kind; int64_t T, B, I, H; const fy_et *wi, *wh; const double *bi, *bh; bool reverse; } cell;

/* y[t, b, offset + j] over all steps; h, c [B, H] hold the initial and then the final state. x [T, B, I]; y row length ld. */
static fy_status run_cell(fy_eval *v, const cell *c, const double *x, double *y, int64_t ld, double *h, double *state) {
    static const int gates_of[] = {1, 1, 3, 4};
    int64_t          G = gates_of[c->kind] * c->H, H = c->H;
    fy_et            gx, gh;
    FY_TRY(fy_ev_temp(v, &gx, FERRY_DOUBLE, 2, (int64_t[]){c->T * c->B, G}));
    FY_TRY(fy_ev_temp(v, &gh, FERRY_DOUBLE, 2, (int64_t[]){c->B, G}));
    fy_mat wi = {c->wi->t.data, c->wi->t.dtype, c->wi->t.stride[1], c->wi->t.stride[0]};
    fy_mat wh = {c->wh->t.data, c->wh->t.dtype, c->wh->t.stride[1], c->wh->t.stride[0]};
    FY_TRY(fy_gemm((fy_mat){gx.t.data, FERRY_DOUBLE, G, 1}, (fy_mat){(void *)(uintptr_t)x, FERRY_DOUBLE, c->I, 1}, wi, c->T * c->B, G, c->I, 1, 0, v->pool, v->e));
    for (int64_t s = 0; s < c->T; s++) {
        int64_t t = c->reverse ? c->T - 1 - s : s;
        FY_TRY(fy_gemm((fy_mat){gh.t.data, FERRY_DOUBLE, G, 1}, (fy_mat){h, FERRY_DOUBLE, H, 1}, wh, c->B, G, H, 1, 0, v->pool, v->e));
        for (int64_t b = 0; b < c->B; b++) {
            double *a = fy_ev_at(&gx) + (t * c->B + b) * G, *r = fy_ev_at(&gh) + b * G;
            for (int64_t j = 0; j < G; j++) {
                if (c->bi) a[j] += c->bi[j];
                if (c->bh) r[j] += c->bh[j];
            }
            for (int64_t j = 0; j < H; j++) {
                double *hj = &h[b * H + j];
                if (c->kind == LSTM) {
                    double *cj = &state[b * H + j];
                    *cj = fy_ev_sigmoid(a[H + j] + r[H + j]) * *cj + fy_ev_sigmoid(a[j] + r[j]) * tanh(a[2 * H + j] + r[2 * H + j]);
                    *hj = fy_ev_sigmoid(a[3 * H + j] + r[3 * H + j]) * tanh(*cj);
                } else if (c->kind == GRU) {
                    double reset = fy_ev_sigmoid(a[j] + r[j]), z = fy_ev_sigmoid(a[H + j] + r[H + j]), n = tanh(a[2 * H + j] + reset * r[2 * H + j]);
                    *hj = (1 - z) * n + z * *hj;
                } else {
                    double s1 = a[j] + r[j];
                    *hj = c->kind == TANH ? tanh(s1) : s1 > 0 ? s1 : 0;
                }
            }
            for (int64_t j = 0; j < H; j++) y[(t * c->B + b) * ld + j] = h[b * H + j];
        }
    }
    return FY_OK;
}

fy_status fy_at_rnn(fy_eval *v) {
    fy_et    x, *hx, *w, one, o, cur, hs[2] = {0};
    int      nw, nh = 1, per = 4;
    bool     biases = true, train = false, both = false, first = false;
    int64_t  layers = 1;
    double   drop = 0;
    FY_TRY(fy_ev_in(v, "input", &x));
    if (v->k == LSTM) FY_TRY(fy_ev_list(v, "hx", &hx, &nh));
    else { FY_TRY(fy_ev_in(v, "hx", &one)); hx = &one; }
    FY_TRY(fy_ev_list_raw(v, "params", &w, &nw));
    FY_TRY(fy_ev_bool(v, "has_biases", &biases));
    FY_TRY(fy_ev_int(v, "num_layers", &layers));
    FY_TRY(fy_ev_f64(v, "dropout", &drop));
    FY_TRY(fy_ev_bool(v, "train", &train));
    FY_TRY(fy_ev_bool(v, "bidirectional", &both));
    FY_TRY(fy_ev_bool(v, "batch_first", &first));
    FY_NEED(v->e, !train || drop == 0, TRAINING, "dropout in training mode is random");
    per = biases ? 4 : 2;
    int D = 1 + both;
    FY_NEED(v->e, layers > 0 && layers < 1024 && nw == per * D * layers && nh == 1 + (v->k == LSTM), UNSUPPORTED, "%s with %d weights for %lld layers", v->node->op, nw, (long long)layers);
    bool flat = x.t.rank == 2;
    FY_NEED(v->e, x.t.rank == 3 || flat, SHAPE, "%s of rank %d", v->node->op, x.t.rank);
    fy_tensor xt = x.t;
    if (flat) { xt.rank = 3; xt.dim[2] = x.t.dim[1]; xt.stride[2] = x.t.stride[1]; xt.dim[1] = 1; xt.stride[1] = 0; }
    else if (first) { xt.dim[0] = x.t.dim[1]; xt.stride[0] = x.t.stride[1]; xt.dim[1] = x.t.dim[0]; xt.stride[1] = x.t.stride[0]; }
    cur = x;
    cur.t = xt;
    int64_t T = xt.dim[0], B = xt.dim[1], H = w[1].t.rank == 2 ? w[1].t.dim[1] : 0;
    static const int gates_of[] = {1, 1, 3, 4};
    for (int i = 0; i < nh; i++) {
        FY_NEED(v->e, fy_count(&hx[i].t) == layers * D * B * H, SHAPE, "%s: initial state of %lld numbers", v->node->op, (long long)fy_count(&hx[i].t));
        FY_TRY(fy_ev_temp(v, &hs[i], FERRY_DOUBLE, 1, (int64_t[]){layers * D * B * H}));
        fy_load_f64(fy_ev_at(&hs[i]), &hx[i].t, 0, layers * D * B * H);
    }
    for (int64_t l = 0; l < layers; l++) {
        const double *in = fy_ev_dense(v, &cur);
        fy_et         next;
        if (!in) return FY_E_NOMEM;
        FY_TRY(fy_ev_temp(v, &next, FERRY_DOUBLE, 3, (int64_t[]){T, B, D * H}));
        for (int d = 0; d < D; d++) {
            fy_et *p = w + (l * D + d) * per;
            int64_t I = cur.t.dim[2], G = gates_of[v->k] * H;
            FY_NEED(v->e, p[0].t.rank == 2 && p[1].t.rank == 2 && p[0].t.dim[0] == G && p[0].t.dim[1] == I && p[1].t.dim[0] == G && p[1].t.dim[1] == H &&
                    (!biases || (fy_count(&p[2].t) == G && fy_count(&p[3].t) == G)), UNSUPPORTED, "%s: weights of layer %lld do not fit", v->node->op, (long long)l);
            cell c = {.kind = v->k, .T = T, .B = B, .I = I, .H = H, .wi = &p[0], .wh = &p[1], .reverse = d == 1};
            if (biases && (!(c.bi = fy_ev_dense(v, &p[2])) || !(c.bh = fy_ev_dense(v, &p[3])))) return FY_E_NOMEM;
            double *h = fy_ev_at(&hs[0]) + (l * D + d) * B * H, *s = v->k == LSTM ? fy_ev_at(&hs[1]) + (l * D + d) * B * H : NULL;
            FY_TRY(run_cell(v, &c, in, fy_ev_at(&next) + d * H, D * H, h, s));
        }
        cur = next;
    }
    fy_tensor t = cur.t;
    if (flat) { t.rank = 2; t.dim[1] = D * H; t.stride[1] = 1; }
    else if (first) { t.dim[0] = B; t.stride[0] = cur.t.stride[1]; t.dim[1] = T; t.stride[1] = cur.t.stride[0]; }
    cur.t = t;
    cur.dtype = x.dtype;
    FY_TRY(fy_ev_copy(v, &o, &cur));
    FY_TRY(fy_ev_out(v, 0, &o));
    for (int i = 0; i < nh; i++) {
        hs[i].t.rank = flat ? 2 : 3;
        hs[i].t.dim[0] = layers * D;
        hs[i].t.dim[1] = flat ? H : B;
        hs[i].t.dim[2] = H;
        fy_strides(hs[i].t.rank, hs[i].t.dim, hs[i].t.stride);
        hs[i].dtype = x.dtype;
        FY_TRY(fy_ev_copy(v, &o, &hs[i]));
        FY_TRY(fy_ev_out(v, 1 + i, &o));
    }
    return FY_OK;
}

/* One step: lstm_cell(input, [h, c], ...), gru_cell(input, h, ...). */
fy_status fy_at_cell(fy_eval *v) {
    fy_et x, *hx, one, wi, wh, bi, bh, o, hs[2], y;
    int   nh = 1;
    bool  has_bi, has_bh;
    FY_TRY(fy_ev_in(v, "input", &x));
    if (v->k == LSTM) FY_TRY(fy_ev_list(v, "hx", &hx, &nh));
    else { FY_TRY(fy_ev_in(v, "hx", &one)); hx = &one; }
    FY_TRY(fy_ev_in(v, "w_ih", &wi));
    FY_TRY(fy_ev_in(v, "w_hh", &wh));
    FY_TRY(fy_ev_opt(v, "b_ih", &bi, &has_bi));
    FY_TRY(fy_ev_opt(v, "b_hh", &bh, &has_bh));
    static const int gates_of[] = {1, 1, 3, 4};
    bool flat = x.t.rank == 1;
    FY_NEED(v->e, (x.t.rank == 2 || flat) && wi.t.rank == 2 && wh.t.rank == 2 && nh == 1 + (v->k == LSTM), SHAPE, "%s of rank %d", v->node->op, x.t.rank);
    int64_t B = flat ? 1 : x.t.dim[0], I = x.t.dim[x.t.rank - 1], H = wh.t.dim[1], G = gates_of[v->k] * H;
    FY_NEED(v->e, wi.t.dim[0] == G && wi.t.dim[1] == I && wh.t.dim[0] == G && (!has_bi || fy_count(&bi.t) == G) && (!has_bh || fy_count(&bh.t) == G), SHAPE, "%s: the weights do not fit", v->node->op);
    for (int i = 0; i < nh; i++) {
        FY_NEED(v->e, fy_count(&hx[i].t) == B * H, SHAPE, "%s: a state of %lld numbers", v->node->op, (long long)fy_count(&hx[i].t));
        FY_TRY(fy_ev_temp(v, &hs[i], FERRY_DOUBLE, flat ? 1 : 2, flat ? (int64_t[]){H} : (int64_t[]){B, H}));
        fy_load_f64(fy_ev_at(&hs[i]), &hx[i].t, 0, B * H);
    }
    FY_TRY(fy_ev_temp(v, &y, FERRY_DOUBLE, 2, (int64_t[]){B, H}));
    cell c = {.kind = v->k, .T = 1, .B = B, .I = I, .H = H, .wi = &wi, .wh = &wh};
    const double *in = fy_ev_dense(v, &x);
    if (!in || (has_bi && !(c.bi = fy_ev_dense(v, &bi))) || (has_bh && !(c.bh = fy_ev_dense(v, &bh)))) return FY_E_NOMEM;
    FY_TRY(run_cell(v, &c, in, fy_ev_at(&y), H, fy_ev_at(&hs[0]), nh > 1 ? fy_ev_at(&hs[1]) : NULL));
    for (int i = 0; i < nh; i++) {
        hs[i].dtype = x.dtype;
        FY_TRY(fy_ev_copy(v, &o, &hs[i]));
        FY_TRY(fy_ev_out(v, i, &o));
    }
    return FY_OK;
}
