/* SPDX-License-Identifier: Apache-2.0
 * lower_rnn.c - LSTM, GRU and plain recurrent layers, one ONNX node a layer.
 *
 * torch's params, per layer and direction: w_ih [G*H, in], w_hh [G*H, H], then b_ih, b_hh [G*H]. Gates: torch's LSTM has
 * i f g o, ONNX i o f c; torch's GRU r z n, ONNX z r h (its linear_before_reset 1 is torch's formula).
 * Y [T, dirs, B, H] -> [T, B, dirs*H]. */
#include "aten/lower.h"

#include <string.h>

/* Rows of w in blocks of H, reordered: constants stay constants. */
static fy_value *reordered(fy_lower *l, fy_value *w, int gates, const int *order) {
    int rank = fy_rank(l, w);
    int64_t rows, dim[2] = {0, 1}, stride[2] = {1, 1};
    if (l->b.status != FY_OK || gates == 1) return w;
    if (!fy_const_dim(w, 0, &rows) || rows % gates || (rank > 1 && !fy_const_dim(w, 1, &dim[1]))) {
        (void)fy_l_fail(l, FY_E_SHAPE, "%s: a weight with %d gates has a size that they do not divide", l->n->op, gates);
        return NULL;
    }
    int64_t h = rows / gates;
    if (w->constant) {
        const fy_const *part[4];
        dim[0] = h;
        stride[0] = rank > 1 ? dim[1] : 1;
        bool made = true;
        for (int i = 0; i < gates; i++) made = (part[i] = fy_const_strided(&l->m->arena, w->constant, rank, dim, stride, order[i] * h * stride[0])) && made;
        fy_const *c = made ? fy_const_concat(&l->m->arena, gates, part, 0) : NULL;
        if (!c) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return NULL; }
        return fy_k_const(&l->b, c, NULL);
    }
    fy_value *v[4];
    for (int i = 0; i < gates; i++) v[i] = fy_l_slice(l, w, 0, fy_l_k(l, order[i] * h), fy_l_k(l, (order[i] + 1) * h), 1);
    return l->b.status == FY_OK ? fy_b_concat(&l->b, gates, v, 0) : NULL;
}

/* the directions' weights as [dirs, ...] */
static fy_value *directions(fy_lower *l, int n, fy_value *const *v) {
    fy_value *one[2];
    for (int i = 0; i < n; i++) one[i] = v[i] ? fy_b_unsqueeze(&l->b, v[i], 0) : NULL;
    if (l->b.status != FY_OK) return NULL;
    return n == 1 ? one[0] : fy_b_concat(&l->b, n, one, 0);
}

typedef struct kind { const char *op; int gates; int order[4]; const char *activation; } kind;

static fy_status recurrent(fy_lower *l, const kind *k) {
    bool lstm = k->gates == 4;
    fy_value *x = fy_l_tensor(l, "input"), **params, *h0 = NULL, *c0 = NULL;
    if (lstm) {
        fy_value **hx;
        int n = fy_l_tensors(l, "hx", &hx);
        FY_L_OK(l);
        if (n != 2) return fy_l_fail(l, FY_E_ATTR, "lstm with %d initial states", n);
        h0 = hx[0];
        c0 = hx[1];
    } else h0 = fy_l_tensor(l, "hx");
    int np = fy_l_tensors(l, "params", &params);
    bool bias = fy_l_bool(l, "has_biases"), both = fy_l_bool(l, "bidirectional"), batch_first = fy_l_bool(l, "batch_first");
    int64_t layers = fy_l_int(l, "num_layers"), hidden;
    int dirs = both ? 2 : 1, each = bias ? 4 : 2, rank = fy_rank(l, x);
    FY_L_OK(l);
    if (layers < 1 || layers > 1024 || np != layers * dirs * each) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s: %d weights for %lld layers", l->n->op, np, (long long)layers);
    if (rank != 2 && rank != 3) return fy_l_fail(l, FY_E_SHAPE, "%s of rank %d", l->n->op, rank);
    if (!fy_const_dim(params[1], 1, &hidden)) return fy_l_fail(l, FY_E_SHAPE, "%s: the hidden size is not constant", l->n->op);
    fy_build *b = &l->b;
    static const int swap[3] = {1, 0, 2}, join[4] = {0, 2, 1, 3};
    if (rank == 2) {                                     /* [T, in] without a batch */
        x = fy_b_unsqueeze(b, x, 1);
        h0 = fy_b_unsqueeze(b, h0, 1);
        c0 = c0 ? fy_b_unsqueeze(b, c0, 1) : NULL;
    } else if (batch_first) x = fy_b_transpose(b, x, swap);
    h0 = x ? fy_l_fit_like(l, h0, 1, fy_dim_of(l, x, 1)) : NULL;
    c0 = x && c0 ? fy_l_fit_like(l, c0, 1, fy_dim_of(l, x, 1)) : c0;
    fy_value *hs[1024], *cs[1024];
    for (int64_t i = 0; i < layers && x; i++) {
        fy_value *w[2], *r[2], *bb[2];
        for (int d = 0; d < dirs; d++) {
            fy_value **p = params + (i * dirs + d) * each;
            w[d] = reordered(l, p[0], k->gates, k->order);
            r[d] = reordered(l, p[1], k->gates, k->order);
            bb[d] = bias && w[d] ? fy_b_concat(b, 2, (fy_value *[]){reordered(l, p[2], k->gates, k->order), reordered(l, p[3], k->gates, k->order)}, 0) : NULL;
        }
        const fy_dim *from = fy_l_k(l, i * dirs), *to = fy_l_k(l, (i + 1) * dirs);
        fy_value *h = fy_l_slice(l, h0, 0, from, to, 1), *c = c0 ? fy_l_slice(l, c0, 0, from, to, 1) : NULL;
        fy_str acts[2] = {{k->activation, k->activation ? strlen(k->activation) : 0}, {k->activation, k->activation ? strlen(k->activation) : 0}};
        fy_attr attr[4] = {fy_int("hidden_size", hidden)};
        int na = 1;
        if (both) attr[na++] = fy_text("direction", "bidirectional");
        if (strcmp(k->op, "GRU") == 0) attr[na++] = fy_int("linear_before_reset", 1);
        if (k->activation) attr[na++] = (fy_attr){.name = "activations", .kind = FY_ATTR_STRINGS, .n = dirs, .strings = acts};
        fy_value *B = bias ? directions(l, dirs, bb) : NULL;
        fy_node *n = fy_emit_n(b, k->op, lstm ? 3 : 2, lstm ? 7 : 6, (fy_value *[]){x, directions(l, dirs, w), directions(l, dirs, r), B, NULL, h, c}, na, attr);
        if (!n) return b->status;
        hs[i] = n->out[1];
        if (lstm) cs[i] = n->out[2];
        const fy_dim *T = fy_dim_of(l, x, 0), *N = fy_dim_of(l, x, 1);
        if (dirs == 1) x = fy_b_squeeze(b, n->out[0], 1);
        else x = fy_l_reshape(l, fy_b_transpose(b, n->out[0], join), 3, (const fy_dim *[]){T, N, fy_l_k(l, 2 * hidden)});
    }
    FY_L_OK(l);
    fy_value *h = layers == 1 ? hs[0] : fy_b_concat(b, (int)layers, hs, 0), *c = !lstm ? NULL : layers == 1 ? cs[0] : fy_b_concat(b, (int)layers, cs, 0);
    if (rank == 2) {
        x = fy_b_squeeze(b, x, 1);
        h = fy_b_squeeze(b, h, 1);
        c = c ? fy_b_squeeze(b, c, 1) : NULL;
    } else if (batch_first) x = fy_b_transpose(b, x, swap);
    fy_l_out(l, 1, h);
    fy_l_out(l, 2, c);
    return fy_l_ret(l, x);
}

fy_status fy_lower_lstm(fy_lower *l) { return recurrent(l, &(kind){"LSTM", 4, {0, 3, 1, 2}, NULL}); }

fy_status fy_lower_gru(fy_lower *l) {
    if (fy_l_named(l, "aten.gru")) return recurrent(l, &(kind){"GRU", 3, {1, 0, 2, 0}, NULL});
    return recurrent(l, &(kind){"RNN", 1, {0, 0, 0, 0}, fy_l_named(l, "aten.rnn_relu") ? "Relu" : "Tanh"});
}

/* One step of a cell: a sequence of one. */
fy_status fy_lower_cell(fy_lower *l) {
    static const kind kinds[] = {{"LSTM", 4, {0, 3, 1, 2}, NULL}, {"GRU", 3, {1, 0, 2, 0}, NULL}, {"RNN", 1, {0, 0, 0, 0}, "Tanh"}, {"RNN", 1, {0, 0, 0, 0}, "Relu"}};
    const kind *k = &kinds[fy_l_named(l, "aten.lstm_cell") ? 0 : fy_l_named(l, "aten.gru_cell") ? 1 : fy_l_named(l, "aten.rnn_tanh_cell") ? 2 : 3];
    bool lstm = k->gates == 4;
    fy_build *b = &l->b;
    fy_value *x = fy_l_tensor(l, "input"), *h = NULL, *c = NULL, *w = fy_l_tensor(l, "w_ih"), *r = fy_l_tensor(l, "w_hh"), *bi = fy_l_tensor(l, "b_ih"), *bh = fy_l_tensor(l, "b_hh"), **hx;
    if (lstm) {
        int n = fy_l_tensors(l, "hx", &hx);
        FY_L_OK(l);
        if (n != 2) return fy_l_fail(l, FY_E_ATTR, "lstm_cell with %d states", n);
        h = hx[0];
        c = hx[1];
    } else h = fy_l_tensor(l, "hx");
    int64_t hidden;
    bool flat = fy_rank(l, x) == 1;
    FY_L_OK(l);
    if (!fy_const_dim(r, 1, &hidden)) return fy_l_fail(l, FY_E_SHAPE, "%s: the hidden size is not constant", l->n->op);
    if ((bi == NULL) != (bh == NULL)) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s with one bias of two", l->n->op);
    for (int i = flat ? 0 : 1; i < 2; i++) {
        x = fy_b_unsqueeze(b, x, 0);
        h = fy_b_unsqueeze(b, h, 0);
        c = c ? fy_b_unsqueeze(b, c, 0) : NULL;
    }
    fy_value *B = bi ? fy_b_concat(b, 2, (fy_value *[]){reordered(l, bi, k->gates, k->order), reordered(l, bh, k->gates, k->order)}, 0) : NULL;
    w = reordered(l, w, k->gates, k->order);
    r = reordered(l, r, k->gates, k->order);
    fy_str act = {k->activation, k->activation ? strlen(k->activation) : 0};
    fy_attr attr[3] = {fy_int("hidden_size", hidden)};
    int na = 1;
    if (k->gates == 3) attr[na++] = fy_int("linear_before_reset", 1);
    if (k->activation) attr[na++] = (fy_attr){.name = "activations", .kind = FY_ATTR_STRINGS, .n = 1, .strings = &act};
    fy_value *in[7] = {x, directions(l, 1, &w), directions(l, 1, &r), B ? directions(l, 1, &B) : NULL, NULL, h, c};
    FY_L_OK(l);
    fy_node *n = fy_emit_n(b, k->op, lstm ? 3 : 2, lstm ? 7 : 6, in, na, attr);
    if (!n) return b->status;
    for (int i = 0; i < (lstm ? 2 : 1); i++) {
        fy_value *y = fy_b_squeeze(b, n->out[1 + i], 0);
        fy_l_out(l, i, flat ? fy_b_squeeze(b, y, 0) : y);
    }
    return b->status;
}
