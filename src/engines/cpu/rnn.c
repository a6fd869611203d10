/* SPDX-License-Identifier: Apache-2.0
 * rnn.c - LSTM, GRU and RNN of f32 with the usual functions (Sigmoid and Tanh). The products of all steps with W are one
 * packed product; each step multiplies the state by R, packed as well, adds, and runs the gates through the vector functions.
 * Weights are packed once, or for each run where they are no constants.
 *   X [T, B, I]  W [D, G*H, I]  R [D, G*H, H]  B [D, 2*G*H]  initial [D, B, H]  Y [T, D, B, H]  Y_h, Y_c [D, B, H]
 * DynamicQuantizeLSTM has weights in bytes; x and, at each step, the state are quantised over their own range, and the products are those of bytes.
 * Gates: LSTM i o f c, GRU z r h. Clips, peepholes, other functions and batch-first layouts stay with the reference kernel. */
#include "engines/cpu/qdq.h"

#include "base/checked.h"

#include <string.h>

typedef enum cell { RNN, GRU, LSTM } cell;

/* Of a direction: W^T and R^T packed, R of GRU's candidate apart; the bias of both sides, or of W's alone where GRU keeps R's for itself. */
/* W or R in bytes, packed: a scale for each column, one zero point for all, as s8 has it. */
typedef struct weights8 { int8_t *packed; int32_t *by, zero; float *scale; int64_t k; } weights8;       /* by: of columns, times the zero point of x, what is added to the sums */

typedef struct side { float *w, *r, *candidate, *bias, *rest; weights8 w8, r8; } side;
typedef struct net { cell kind; int gates, dirs, first; bool after, bytes, late; int64_t in, hidden; side side[2]; } net;      /* late: weights come with the run */

static cell cell_of(const fy_node *n) { return n->op->name[0] == 'D' ? LSTM : n->op->name[0] == 'L' ? LSTM : n->op->name[0] == 'G' ? GRU : RNN; }

static bool word(fy_str s, const char *text) {
    if (s.n != strlen(text)) return false;
    for (size_t i = 0; i < s.n; i++)
        if ((s.at[i] | 32) != (text[i] | 32)) return false;
    return true;
}

static bool usual_functions(const fy_node *n) {
    static const char *const usual[3][3] = {{"Tanh"}, {"Sigmoid", "Tanh"}, {"Sigmoid", "Tanh", "Tanh"}};
    const fy_attr *a = fy_attr_get(n, "activations");
    int each = cell_of(n) + 1;
    for (int64_t i = 0; a && i < a->n; i++)
        if (!word(a->strings[i], usual[cell_of(n)][i % each])) return false;
    return true;
}

static bool bytes_of(const fy_node *n) { return n->op->name[0] == 'D'; }

/* The same zero point for all columns of a direction: no more than one number, or all the same. */
static bool one_zero(const fy_node *n, int i) {
    const fy_const *z = fy_in(n, i)->constant;
    double first, v;
    for (int64_t k = 0; k < z->count; k++)
        if (z->count > (1 << 20) || !fy_const_f64(z, 0, &first) || !fy_const_f64(z, k, &v) || first != v) return false;
    return z->count > 0;
}

static const char *can(const fy_site *s) {
    const fy_node *n = s->node;
    const bool bytes = bytes_of(n);
    int64_t dim[3];
    for (int i = 0; i < n->nin && i < 8; i++)
        if (n->in[i].value && i != 4 && !((bytes && (i == 1 || i == 2)) ? fy_qdq_bytes : fy_cpu_f32)(n->in[i].value)) return "not f32";
    for (int i = 8; bytes && i < 12; i++)
        if (!fy_in(n, i)->constant) return "scales or zero points are not constant";
    if (bytes && (!one_zero(n, 9) || !one_zero(n, 11))) return "gates with zero points of their own";
    for (int i = 1; i < 4; i++) {
        const fy_value *v = fy_in(n, i);
        if (!v && i == 3) continue;
        if (!v || v->type.rank != (i < 3 ? 3 : 2) || !fy_cpu_dims(v, dim)) return "weights of another rank";
        if (bytes && !v->constant) return "weights are not constant";
    }
    if (fy_in(n, 0)->type.rank != 3) return "x has another rank";
    if (!bytes && fy_attr_i(n, "layout")) return "batch first";
    if (fy_attr_get(n, "clip")) return "a clip";
    if (cell_of(n) == LSTM && (fy_attr_i(n, "input_forget") || fy_in(n, 7))) return "coupled gates or peepholes";
    return usual_functions(n) ? NULL : "other functions";
}

/* Where packed weights go: memory of the plan being prepared, or the room of a run. */
typedef struct packer { fy_plan *plan; fy_arena *arena; const fy_plan *of; float *room; } packer;

static float *packed(packer *t, const float *w, int64_t n, int64_t k) {
    int nr = t->of->o.kernels->gemm_nr;
    int64_t all = (n + nr - 1) / nr * nr * k;
    bool filled = false;
    float *to = t->plan ? fy_cpu_packed(t->plan, all, &filled) : t->room;
    if (!t->plan) t->room += all;
    if (to && !filled) fy_cpu_pack_panels(t->of, to, w, k, n, 1, k);
    return to;
}

static float *zeros(packer *t, int64_t n) {
    float *to = t->plan ? FY_NEWN(t->arena, float, n) : memset(t->room, 0, (size_t)n * sizeof *to);
    if (!t->plan) t->room += n;
    return to;
}

static bool prepare_side(net *d, int i, const float *w, const float *r, const float *b, packer *t) {
    side *s = &d->side[i];
    int64_t h = d->hidden, g = d->gates * h, joined = d->kind == GRU ? 2 * h : g;
    w += i * g * d->in;
    r += i * g * h;
    s->w = packed(t, w, g, d->in);
    s->r = packed(t, r, d->kind == GRU && !d->after ? 2 * h : g, h);
    s->candidate = d->kind == GRU && !d->after ? packed(t, r + 2 * h * h, h, h) : s->r;
    s->bias = zeros(t, g);
    s->rest = zeros(t, h);
    if (!s->w || !s->r || !s->candidate || !s->bias || !s->rest) return false;
    if (!b) return true;
    b += i * 2 * g;
    for (int64_t j = 0; j < g; j++) s->bias[j] = j < joined || !d->after ? (float)((double)b[j] + (double)b[g + j]) : b[j];
    for (int64_t j = joined; j < g && d->after; j++) s->rest[j - joined] = b[g + j];
    return true;
}

/* Takes the sizes of W [D, G*H, I], and R [D, G*H, H] and B [D, 2*G*H], if there is one, must fit. */
static fy_status fit(net *d, const int64_t *w, const int64_t *r, const int64_t *b, ferry_error *e) {
    const int64_t g = d->gates * r[2];
    d->in = w[2];
    d->hidden = r[2];
    FY_NEED(e, w[0] == d->dirs && r[0] == d->dirs && w[1] == g && r[1] == g && (!b || (b[0] == d->dirs && b[1] == 2 * g)), SHAPE, "the weights do not fit each other");
    return FY_OK;
}

/* Direction i of input `at` [D, K, 4 H], its scales and zero points the inputs at `numbers` and after. */
static fy_status prepare8(weights8 *w, const fy_node *n, int i, int at, int numbers, fy_plan *p, fy_arena *a, ferry_error *e) {
    const fy_const *c = fy_in(n, at)->constant, *scale = fy_in(n, numbers)->constant;
    const int nr = p->o.kernels->int8_nr;
    const int64_t k = c->dim[1], g = c->dim[2], groups = (g + nr - 1) / nr;
    fy_layer8 room = {0};
    bool filled;
    double zero = 0, v = 0;
    FY_NEED(e, scale->count == c->dim[0] || scale->count == c->dim[0] * g, SHAPE, "%lld scales for %lld gates", (long long)scale->count, (long long)(c->dim[0] * g));
    w->k = k;
    w->by = fy_layer8_room(&room, p, groups * nr * ((k + 3) / 4 * 4), groups * nr, &filled);
    w->packed = room.packed;
    w->scale = FY_NEWN(a, float, groups * nr);
    FY_NOMEM(e, w->by && w->scale);
    const bool u8 = c->dtype == FERRY_UINT8;
    (void)fy_const_f64(fy_in(n, numbers + 1)->constant, 0, &zero);
    w->zero = (int32_t)zero - (u8 ? 128 : 0);
    for (int64_t j = 0; j < g; j++) {
        (void)fy_const_f64(scale, scale->count == c->dim[0] ? i : i * g + j, &v);
        w->scale[j] = (float)v;
    }
    if (filled) return FY_OK;
    fy_tensor t;
    FY_TRY(fy_const_tensor(&t, c, e));
    fy_pack_s8(w->packed, w->by, (const uint8_t *)t.data + i * t.stride[0], u8 ? 0x80 : 0, k, g, t.stride[1], t.stride[2], nr, 0, groups);
    for (int64_t j = 0; j < groups * nr; j++) w->by[j] = (int32_t)(k * w->zero - w->by[j]);
    fy_tensor_free(&t);
    return FY_OK;
}

static fy_status prepare_bytes(net *d, fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    const fy_node *n = s->node;
    const fy_const *cw = fy_in(n, 1)->constant, *cr = fy_in(n, 2)->constant, *cb = fy_in(n, 3) ? fy_in(n, 3)->constant : NULL;
    const int64_t g = 4 * cr->dim[1];
    d->bytes = true;
    d->in = cw->dim[1];
    d->hidden = cr->dim[1];
    FY_NEED(e, cw->dim[0] == d->dirs && cr->dim[0] == d->dirs && cw->dim[2] == g && cr->dim[2] == g && (!cb || (cb->dim[0] == d->dirs && cb->dim[1] == 2 * g)), SHAPE, "weights of %s do not fit each other", n->op->name);
    FY_NEED(e, d->in <= 32768 && d->hidden <= 32768, UNSUPPORTED, "sums of more than 32768 products of bytes may leave 32 bits");
    for (int i = 0; i < d->dirs; i++) {
        side *w = &d->side[i];
        double x, y;
        FY_TRY(prepare8(&w->w8, n, i, 1, 8, p, a, e));
        FY_TRY(prepare8(&w->r8, n, i, 2, 10, p, a, e));
        FY_NOMEM(e, w->bias = FY_NEWN(a, float, g + 64));       /* whole groups are read */
        for (int64_t j = 0; cb && j < g; j++)
            if (fy_const_f64(cb, i * 2 * g + j, &x) && fy_const_f64(cb, i * 2 * g + g + j, &y)) w->bias[j] = (float)(x + y);
    }
    s->data = d;
    for (int i = 1; i < s->nin; i++)
        if (i < 4 || i > 7) s->in[i] = NULL;
    return FY_OK;
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    const fy_node *n = s->node;
    net *d = FY_NEW(a, net);
    fy_tensor w = {0}, r = {0}, b = {0};
    FY_NOMEM(e, d);
    d->kind = cell_of(n);
    d->gates = d->kind == LSTM ? 4 : d->kind == GRU ? 3 : 1;
    d->dirs = fy_attr_is(n, "direction", "bidirectional") ? 2 : 1;
    d->first = fy_attr_is(n, "direction", "reverse");
    d->after = d->kind == GRU && fy_attr_i(n, "linear_before_reset");
    if (bytes_of(n)) return prepare_bytes(d, s, p, a, e);
    const fy_const *cw = fy_in(n, 1)->constant, *cr = fy_in(n, 2)->constant, *cb = fy_in(n, 3) ? fy_in(n, 3)->constant : NULL;
    s->data = d;
    d->late = !cw || !cr || (fy_in(n, 3) && !cb);
    if (d->late) return FY_OK;
    FY_TRY(fit(d, cw->dim, cr->dim, cb ? cb->dim : NULL, e));
    packer t = {.plan = p, .of = p, .arena = a};
    fy_status st = fy_const_tensor(&w, cw, e);
    if (!st) st = fy_const_tensor(&r, cr, e);
    if (!st && cb) st = fy_const_tensor(&b, cb, e);
    for (int i = 0; !st && i < d->dirs; i++)
        if (!prepare_side(d, i, w.data, r.data, cb ? b.data : NULL, &t)) st = fy_fail(e, FY_E_NOMEM, "out of memory");
    fy_tensor_free(&w);
    fy_tensor_free(&r);
    fy_tensor_free(&b);
    for (int i = 1; i < 4 && i < s->nin; i++) s->in[i] = NULL;
    return st;
}

typedef struct job { const fy_kernels *k; fy_gemm_f32 g; bool back; } job;

#define BESIDE 4                         /* panels that a row of a product meets together */
#define NEAR ((int64_t)1 << 22)          /* floats that a cache keeps from one step to the next, 16 MiB */

/* back: panels are taken from the last one down. */
static void panels(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    if (!j->back) j->k->gemm_f32(&j->g, 0, j->g.m, begin, end);
    else
        for (int64_t i = end, next; i > begin; i = next) {
            next = i - BESIDE > begin ? i - BESIDE : begin;
            j->k->gemm_f32(&j->g, 0, j->g.m, next, i);
        }
}

/* c[m, n] = a[m, k] b + bias + add. Every other step goes through b backwards: what the caches still have of it, if not all, comes first. */
static void product(const fy_exec *x, float *c, const float *a, const float *b, int64_t m, int64_t n, int64_t k, const float *bias, const float *add, bool back) {
    job j = {.k = x->k, .back = back, .g = {.a = a, .b = b, .c = c, .m = m, .n = n, .k = k, .a_row = k, .c_row = n, .e = {.bias = bias, .add = add}, .near = n * k <= NEAR}};
    int64_t all = (n + x->k->gemm_nr - 1) / x->k->gemm_nr;
    if (m && n) fy_for_runs(x->pool, all, 1 + 65536 / (m * (k + 1) * x->k->gemm_nr), back, panels, &j);
}

/* One row of a step: gates hold x W + h R + bias; h and c become the new ones. t: room for 2 * hidden. */
static void lstm_row(const fy_kernels *k, float *v, float *h, float *c, float *t, int64_t n) {
    k->unary[FY_ACT_SIGMOID](v, v, 3 * n, NULL);
    k->unary[FY_ACT_TANH](v + 3 * n, v + 3 * n, n, NULL);
    k->binary[FY_MUL](c, c, v + 2 * n, n, 0);
    k->binary[FY_MUL](t, v, v + 3 * n, n, 0);
    k->binary[FY_ADD](c, c, t, n, 0);
    k->unary[FY_ACT_TANH](t, c, n, NULL);
    k->binary[FY_MUL](h, v + n, t, n, 0);
}

/* h = (1 - z) candidate + z h = candidate + z (h - candidate) */
static void gru_row(const fy_kernels *k, const float *z, float *candidate, float *h, int64_t n) {
    k->unary[FY_ACT_TANH](candidate, candidate, n, NULL);
    k->binary[FY_SUB](h, h, candidate, n, 0);
    k->binary[FY_MUL](h, h, z, n, 0);
    k->binary[FY_ADD](h, h, candidate, n, 0);
}

/* room8: bytes of the first operand; sums of its rows; start and scale of columns. */
typedef struct state { float *xw, *gates, *h, *c, *t; char *room8; int64_t steps, batch; const fy_tensor *len; } state;

static int64_t valid_of(const state *q, int64_t b) { return q->len ? fy_get_i64(q->len, b) : q->steps; }

typedef struct job8 { const fy_kernels *k; fy_product_u8s8 p; const float *from; uint8_t *to; fy_bytes q; } job8;

static void quantise(void *arg, int64_t begin, int64_t end) {
    const job8 *j = arg;
    if (j->q.scale > 0) j->k->quantize_bytes(j->to + begin, j->from + begin, end - begin, &j->q);
    else memset(j->to + begin, j->q.zero, (size_t)(end - begin));
}

static void groups(void *arg, int64_t begin, int64_t end) {
    const job8 *j = arg;
    if (j->p.pixels == 1) j->k->row_u8s8(&j->p, begin, end);
    else
        for (int64_t g = begin; g < end; g++) j->k->product_u8s8(&j->p, g, 0, 1);
}

/* As product, of a quantised over the range of its first `seen` rows. */
static void product8(const fy_exec *x, const state *q, float *c, const float *a, const weights8 *w, int64_t m, int64_t seen, int64_t n, const float *bias, const float *add) {
    const int nr = x->k->int8_nr;
    const int64_t all = (n + nr - 1) / nr, k = w->k;
    uint8_t *bytes = (uint8_t *)q->room8;
    int32_t *row = (int32_t *)(void *)(bytes + (m * k + 63) / 64 * 64), *start = row + m;
    float *scale = (float *)(void *)(start + all * nr), lo = 0, hi = 0;
    if (!m || !n) return;
    if (seen > 0 && k > 0) {
        x->k->reduce_rows(&lo, a, 1, seen * k, FY_REDUCE_MIN);
        x->k->reduce_rows(&hi, a, 1, seen * k, FY_REDUCE_MAX);
    }
    job8 j = {.k = x->k, .from = a, .to = bytes, .q = fy_qdq_own_range(lo < 0 ? lo : 0, hi > 0 ? hi : 0),
              .p = {.x = bytes, .w = w->packed, .y = c, .lanes = k, .in_blocks = 1, .kernel = {1, 1}, .out = {1, m}, .pixels = m, .x_step = {0, k}, .w_group = (k + 3) / 4 * 4 * nr, .columns = n, .y_pixel = n, .y_block = FY_LANES}};
    fy_for(x->pool, m * k, 16384, quantise, &j);
    x->k->loops.pair[FY_LOOP_MUL][FY_NUMBER_I32](start, w->by, &j.q.zero, all * nr, 2);
    x->k->binary[FY_MUL](scale, w->scale, &j.q.scale, all * nr, 2);
    for (int64_t r = 0; w->zero && r < m; r++) {
        int64_t sum = 0;
        for (int64_t i = 0; i < k; i++) sum += bytes[r * k + i];
        row[r] = (int32_t)(-w->zero * sum);
    }
    j.p.row = w->zero ? row : NULL;
    j.p.q = (fy_requant){.put = FY_PUT_F32, .start = start, .scale = scale, .bias = bias, .add = add, .lo = -__builtin_inff(), .hi = __builtin_inff()};
    fy_for(x->pool, all, 1 + 65536 / (m * (k + 1) * nr), groups, &j);
}

/* Steps of the longest row. */
static int64_t longest(const state *q) {
    int64_t most = q->len ? 0 : q->steps;
    for (int64_t b = 0; q->len && b < q->batch; b++) most = valid_of(q, b) > most ? valid_of(q, b) : most;
    return most;
}

/* GRU's gates stand in two parts, z and r together [batch, 2 H], then candidates [batch, H]. */
static void gru_step(const net *d, const side *w, state *q, fy_exec *x, const float *xw, float *candidate, bool odd) {
    const fy_kernels *k = x->k;
    int64_t h = d->hidden, g = 3 * h, wide = d->after ? g : 2 * h;
    product(x, q->gates, q->h, w->r, q->batch, wide, h, NULL, NULL, odd);
    for (int64_t b = 0; b < q->batch; b++) {
        float *v = q->gates + b * wide;
        const float *from = xw + b * g;
        k->binary[FY_ADD](v, v, from, 2 * h, 0);
        k->unary[FY_ACT_SIGMOID](v, v, 2 * h, NULL);
        if (d->after) {
            float *c = candidate + b * h;
            k->binary[FY_ADD](c, v + 2 * h, w->rest, h, 0);
            k->binary[FY_MUL](c, c, v + h, h, 0);
            k->binary[FY_ADD](c, c, from + 2 * h, h, 0);
        } else k->binary[FY_MUL](q->t + b * h, v + h, q->h + b * h, h, 0);
    }
    if (!d->after) product(x, candidate, q->t, w->candidate, q->batch, h, h, NULL, NULL, odd);
    for (int64_t b = 0; b < q->batch && !d->after; b++) k->binary[FY_ADD](candidate + b * h, candidate + b * h, xw + b * g + 2 * h, h, 0);
}

static void direction(const net *d, int i, state *q, fy_exec *x, const fy_tensor *y, const float *in) {
    const fy_kernels *k = x->k;
    const side *w = &d->side[i];
    int64_t h = d->hidden, g = d->gates * h, wide = d->kind == GRU && !d->after ? 2 * h : g;
    bool back = i == 1 || d->first;
    float *row = q->t + q->batch * h, *candidate = row + q->batch * g, *out = y ? y->data : NULL;
    if (d->bytes) product8(x, q, q->xw, in, &w->w8, q->steps * q->batch, longest(q) * q->batch, g, w->bias, NULL);
    else product(x, q->xw, in, w->w, q->steps * q->batch, g, d->in, w->bias, NULL, false);
    for (int64_t s = 0; s < q->steps; s++) {
        const float *xw = q->xw + (back ? q->steps - 1 - s : s) * q->batch * g;
        if (q->len) {                                        /* rows of different length are at different steps */
            for (int64_t b = 0; b < q->batch; b++) {
                int64_t t = back ? valid_of(q, b) - 1 - s : s;
                if (s < valid_of(q, b)) memcpy(row + b * g, q->xw + (t * q->batch + b) * g, (size_t)g * sizeof *row);
                else memset(row + b * g, 0, (size_t)g * sizeof *row);
            }
            xw = row;
        }
        if (d->kind == GRU) gru_step(d, w, q, x, xw, candidate, s % 2);
        else if (d->bytes) product8(x, q, q->gates, q->h, &w->r8, q->batch, q->batch, g, NULL, xw);
        else product(x, q->gates, q->h, w->r, q->batch, g, h, NULL, xw, s % 2);
        for (int64_t b = 0; b < q->batch; b++) {
            int64_t valid = valid_of(q, b), t = back ? valid - 1 - s : s;
            float *state_h = q->h + b * h, *v = q->gates + b * wide;
            if (s >= valid) continue;
            if (d->kind == LSTM) lstm_row(k, v, state_h, q->c + b * h, q->t, h);
            else if (d->kind == GRU) gru_row(k, v, candidate + b * h, state_h, h);
            else k->unary[FY_ACT_TANH](state_h, v, h, NULL);
            if (out) memcpy(out + ((t * d->dirs + i) * q->batch + b) * h, state_h, (size_t)h * sizeof *out);
        }
    }
}

static void initial(float *to, const fy_tensor *from, int64_t at, int64_t n) {
    if (from) memcpy(to, (const float *)from->data + at, (size_t)n * sizeof *to);
    else memset(to, 0, (size_t)n * sizeof *to);
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    net own = *(const net *)s->data, *d = &own;
    const fy_tensor *in = fy_step_in(s, x, 0), *weight[3] = {NULL}, *len = fy_step_in(s, x, 4), *h0 = fy_step_in(s, x, 5), *c0 = fy_step_in(s, x, 6);
    fy_tensor *y[3] = {fy_step_out(s, x, 0), fy_step_out(s, x, 1), fy_step_out(s, x, 2)};
    for (int i = 0; d->late && i < 3; i++) weight[i] = fy_step_in(s, x, 1 + i);
    if (d->late) FY_TRY(fit(d, weight[0]->dim, weight[1]->dim, weight[2] ? weight[2]->dim : NULL, e));
    int64_t steps = in->dim[0], batch = in->dim[1], h = d->hidden, g = d->gates * h, n = batch * h, a, b, c = 0, wide = g + 3 * x->k->gemm_nr;
    FY_NEED(e, in->dim[2] == d->in, SHAPE, "x has %lld features, the weights %lld", (long long)in->dim[2], (long long)d->in);
    for (int i = 0; i < 3; i++) FY_NEED(e, !y[i] || fy_count(y[i]) == (i ? 1 : steps) * d->dirs * n, SHAPE, "the weights have %lld hidden values, the result another number", (long long)h);
    FY_NEED(e, (!h0 || fy_count(h0) == d->dirs * n) && (!c0 || fy_count(c0) == d->dirs * n) && (!len || fy_count(len) == batch), SHAPE, "initial states or lengths do not fit");
    for (int64_t i = 0; len && i < batch; i++) FY_NEED(e, fy_get_i64(len, i) >= 0 && fy_get_i64(len, i) <= steps, INDEX, "length %lld of %lld steps", (long long)fy_get_i64(len, i), (long long)steps);
    /* gates of all steps; of one; of one, gathered; states h, c; room for t and candidates; packed weights and bias of a direction */
    FY_NEED(e, fy_mul_i64(&a, steps + 2, batch) && fy_mul_i64(&a, a, g) && fy_mul_i64(&b, n, 5) && fy_add_i64(&a, a, b) &&
                   (!d->late || (fy_mul_i64(&c, wide, d->in + h + 2) && fy_add_i64(&a, a, c + 16))) && fy_mul_i64(&a, a, 4) && a <= x->max_bytes, LIMIT, "the gates are too large");
    int64_t bytes = d->bytes ? (steps * batch * d->in > n ? steps * batch * d->in : n) + 4 * (steps + 1) * batch + 8 * (g + 64) + 256 : 0;
    float *room = fy_exec_scratch(x, (size_t)(a + bytes) + 256);
    FY_NOMEM(e, room);
    state q = {.xw = room, .gates = room + steps * batch * g, .steps = steps, .batch = batch, .len = len};
    q.h = q.gates + batch * g;
    q.c = q.h + n;
    q.room8 = (char *)room + (a + 63) / 64 * 64;
    q.t = q.c + n;                                           /* [n], then gathered gates [batch, g], then candidates [n] */
    float *late = room + (q.t - room + n + batch * (g + h) + 15) / 16 * 16;
    if (y[0] && len && fy_count(y[0])) memset(y[0]->data, 0, (size_t)fy_count(y[0]) * sizeof(float));
    for (int i = 0; i < d->dirs && n; i++) {
        initial(q.h, h0, i * n, n);
        initial(q.c, c0, i * n, n);
        if (d->late) (void)prepare_side(d, i, weight[0]->data, weight[1]->data, weight[2] ? weight[2]->data : NULL, &(packer){.of = x->plan, .room = late});
        direction(d, i, &q, x, y[0], in->data);
        if (y[1]) memcpy((float *)y[1]->data + i * n, q.h, (size_t)n * sizeof(float));
        if (y[2]) memcpy((float *)y[2]->data + i * n, q.c, (size_t)n * sizeof(float));
    }
    return FY_OK;
}

static const fy_impl lstm = {.op = "LSTM", .name = "rnn.packed", .can = can, .prepare = prepare, .run = run};
static const fy_impl gru = {.op = "GRU", .name = "rnn.packed", .can = can, .prepare = prepare, .run = run};
static const fy_impl lstm8 = {.op = "DynamicQuantizeLSTM", .domain = "com.microsoft", .name = "rnn.u8s8", .can = can, .prepare = prepare, .run = run};
static const fy_impl rnn = {.op = "RNN", .name = "rnn.packed", .can = can, .prepare = prepare, .run = run};

const fy_impl *const fy_cpu_rnn[] = {&lstm, &gru, &rnn, &lstm8, NULL};
