/* SPDX-License-Identifier: Apache-2.0
 * integer_matmul.c - MatMulInteger, QLinearMatMul, MatMulIntegerToFloat, and what dynamic quantisation makes of a product:
 *   DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul [-> Add bias, residual] [-> activation]
 * Weights that are a constant matrix are packed once, others in the run; zero points and scales of columns, or one.
 *   Sum (x - zx)(w - zw) = Sum x w - zx Sum w - zw Sum x + k zx zw,   x as u8, w as s8 */
#include "engines/cpu/integer.h"
#include "engines/cpu/matmul.h"

#include <string.h>

#define MOST 32768                       /* products in a sum of 32 bits */

/* One for all, or one for each column: the last axis. */
static bool columns(const fy_value *v) {
    if (!v) return true;
    for (int i = 0; i + 1 < v->type.rank; i++)
        if (!fy_dim_is(v->type.dim[i], 1)) return false;
    return v->type.kind == FY_TENSOR && v->type.rank >= 0;
}

static const char *why_not(const fy_value *const v[FY_ROLES], const fy_value *y) {
    int64_t k;
    if (!fy_qdq_bytes(v[FY_X]) || !fy_qdq_bytes(v[FY_W]) || v[FY_X]->type.rank < 2 || v[FY_W]->type.rank < 2) return "not two matrices of bytes";
    if (v[FY_Y_ZERO] && !fy_qdq_bytes(y)) return "the result is no bytes";
    if (!v[FY_Y_ZERO] && y->type.dtype != FERRY_INT32 && !fy_cpu_f32(y)) return "the result is not f32";
    for (int i = 0; i < 2; i++) {
        const fy_type *t = &v[i ? FY_W : FY_X]->type;
        if (fy_dim_known(t->dim[t->rank - 1 - i], &k) && k > MOST) return "sums may leave 32 bits";
    }
    if (!fy_integer_one(v[FY_X_ZERO]) || !fy_integer_one(v[FY_Y_SCALE]) || !fy_integer_one(v[FY_Y_ZERO])) return "a zero point or scale for each row";
    if (!columns(v[FY_X_SCALE]) || (v[FY_W_SCALE] && !fy_integer_one(v[FY_X_SCALE]))) return "a scale for each row";
    return columns(v[FY_W_SCALE]) && columns(v[FY_W_ZERO]) && columns(v[FY_BIAS]) ? NULL : "scales or zero points other than those of columns";
}

FY_COLD static const char *can(const fy_site *s) {
    const fy_integer_form *f = fy_integer_form_of(s->node);
    const fy_value *v[FY_ROLES];
    for (int i = 0; i < FY_ROLES; i++) v[i] = fy_integer_value(f, s->node, (fy_role)i);
    return why_not(v, s->node->out[0]);
}

FY_COLD static bool cover(const fy_node *n, fy_cover *c, fy_arena *a) {
    const fy_value *v[FY_ROLES];
    if (!fy_integer_chain(n, "MatMulInteger", c)) return false;
    for (int i = 0; i < FY_ROLES; i++) v[i] = fy_integer_chain_at[i] < 0 ? NULL : c->in[fy_integer_chain_at[i]];
    fy_integer *d = why_not(v, n->out[0]) ? NULL : FY_NEW(a, fy_integer);
    if (!d) return false;
    d->put = FY_PUT_F32;
    memcpy(d->at, fy_integer_chain_at, sizeof d->at);
    c->data = d;
    return true;
}

FY_COLD static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    fy_integer *d = s->data;
    if (!d) {
        const fy_integer_form *f = fy_integer_form_of(s->node);
        FY_NOMEM(e, s->data = d = FY_NEW(a, fy_integer));
        d->put = f->put;
        for (int i = 0; i < FY_ROLES; i++) d->at[i] = f->at[i] < s->node->nin ? f->at[i] : -1;
    }
    const fy_value *w = s->in[d->at[FY_W]];
    const int nr = p->o.kernels->int8_nr;
    if (!w->constant || w->type.rank != 2) return FY_OK;
    const int64_t k = w->constant->dim[0], n = w->constant->dim[1], groups = (n + nr - 1) / nr;
    fy_layer8 room = {0};
    bool filled;
    FY_NOMEM(e, d->sums = fy_layer8_room(&room, p, groups * nr * ((k + 3) / 4 * 4), groups * nr, &filled));
    d->packed = room.packed;
    if (!filled) {
        fy_tensor t;
        FY_TRY(fy_const_tensor(&t, w->constant, e));
        fy_pack_s8(d->packed, d->sums, t.data, w->type.dtype == FERRY_UINT8 ? 0x80 : 0, k, n, t.stride[0], t.stride[1], nr, 0, groups);
        fy_tensor_free(&t);
    }
    s->in[d->at[FY_W]] = NULL;           /* packed: not read any more */
    d->at[FY_W] = -1;
    return FY_OK;
}

/* ---- running ----------------------------------------------------------------------------------------------------------------- */

typedef struct work {
    const fy_step *s;
    const fy_exec *x;
    const uint8_t *a, *w;
    char    *y;
    int8_t  *packed;
    uint8_t *flipped, w_flip;
    int32_t *start, *row, *sums;         /* by matrix and column; by row of a; where several zero points make bytes of them */
    int32_t *zero;                       /* of columns, as s8 has them */
    float   *scale, *bias;               /* of columns; bias: or NULL */
    const int32_t *known;                /* sums of packed columns */
    int32_t  za, zb;                     /* zb: of all columns, where they have the same */
    bool     mixed;                      /* zero points of columns differ */
    int64_t  m, n, k, groups, each, size;
    fy_cpu_pieces cut;
    fy_sums8 put;
    fy_requant q;
    const float *add;
    fy_cpu_batches all;
} work;

static void pack_groups(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    const int nr = w->x->k->int8_nr;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i / w->groups, g = i % w->groups;
        int32_t *start = w->start + at * w->groups * nr;
        if (!w->known) fy_pack_s8(w->packed + at * w->each, start, w->w + at * w->k * w->n, w->w_flip, w->k, w->n, w->n, 1, nr, g, g + 1);
        for (int64_t c = g * nr; c < (g + 1) * nr; c++) {
            int64_t sum = w->known ? w->known[c] : start[c];
            start[c] = (int32_t)(w->za * (w->k * w->zero[c] - sum));
        }
    }
}

/* Rows of a as u8, and what their sums add to the products. */
static void look_at_rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t r = begin; r < end; r++) {
        const uint8_t *a = w->a + r * w->k;
        int64_t sum = 0;
        if (w->flipped) {
            uint8_t *to = w->flipped + r * w->k;
            for (int64_t k = 0; k < w->k; k++) to[k] = a[k] ^ 0x80;
            a = to;
        }
        if (!w->row) continue;
        for (int64_t k = 0; k < w->k; k++) sum += a[k];
        w->row[r] = (int32_t)(w->mixed ? sum : -w->zb * sum);
    }
}

static void piece(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    const int nr = w->x->k->int8_nr;
    const int64_t per = w->cut.row_pieces * w->cut.panel_pieces;
    for (int64_t i = begin; i < end; i++) {
        int64_t r, r_end, g, g_end;
        fy_cpu_piece(&w->cut, i % per, &r, &r_end, &g, &g_end);
        const int64_t at = i / per, from = g * nr, to = g_end * nr < w->n ? g_end * nr : w->n;
        int64_t a = fy_cpu_batch_at(&w->all, at, w->all.sa), matrix = w->k && w->n ? fy_cpu_batch_at(&w->all, at, w->all.sb) / (w->k * w->n) : 0, out = at * w->m * w->n;
        const int32_t *row = w->row ? w->row + (w->k ? a / w->k : 0) + r : NULL;
        char *y = w->sums ? (char *)(w->sums + out) : w->y + out * w->size;
        const int64_t size = w->sums ? 4 : w->size;
        fy_product_u8s8 p = {.x = (w->flipped ? w->flipped : w->a) + a + r * w->k, .w = w->packed + matrix * w->each, .y = y + r * w->n * size, .lanes = w->k, .in_blocks = 1, .kernel = {1, 1},
                             .out = {1, r_end - r}, .pixels = r_end - r, .x_step = {0, w->k}, .w_group = (w->k + 3) / 4 * 4 * nr, .columns = w->n, .y_pixel = w->n, .y_block = FY_LANES,
                             .row = w->mixed ? NULL : row, .q = w->q};
        p.q.start = w->start + matrix * w->groups * nr;
        p.q.add = w->add && !w->mixed ? w->add + out + r * w->n : NULL;
        if (p.pixels == 1) w->x->k->row_u8s8(&p, g, g_end);
        for (int64_t k = g; k < g_end && p.pixels > 1; k++) w->x->k->product_u8s8(&p, k, 0, 1);
        for (int64_t k = r; k < r_end; k++) {
            const int64_t c = out + k * w->n + from;
            fy_sums8 put = w->put;
            put.by += from;
            if (put.scale) put.scale += from;
            if (put.bias) put.bias += from;
            if (put.add) put.add += c;
            if (w->mixed) fy_sums8_put(&put, w->y + c * w->size, (const int32_t *)(const void *)(y + (k * w->n + from) * 4), to - from, row[k - r]);
            if (put.put == FY_PUT_F32) fy_cpu_finish(w->s, w->x, (float *)(void *)w->y + c, to - from);
        }
    }
}

static void lay_out(work *w, fy_cut *c, const fy_integer *d, const fy_tensor *a, int64_t matrices, int64_t padded, int64_t rows) {
    w->packed = d->packed ? d->packed : fy_cut_take(c, matrices * w->each);
    w->start = fy_cut_take(c, matrices * padded * 4);
    w->zero = fy_cut_take(c, padded * 4);
    w->scale = fy_cut_take(c, padded * 4);
    w->bias = fy_cut_take(c, padded * 4);
    w->row = fy_cut_take(c, rows * 4);
    w->flipped = a->dtype == FERRY_INT8 ? fy_cut_take(c, rows * w->k) : NULL;
    w->sums = d->put == FY_PUT_BYTE ? fy_cut_take(c, w->all.count * w->m * w->n * 4) : NULL;
}

/* Zero points, scales and bias of columns, padded with zeros. */
static fy_status read_columns(work *w, int64_t padded, ferry_error *e) {
    const fy_step *s = w->s;
    const fy_exec *x = w->x;
    const fy_tensor *many[] = {fy_integer_in(s, x, FY_W_ZERO), fy_integer_in(s, x, FY_W_SCALE), fy_integer_in(s, x, FY_X_SCALE), fy_integer_in(s, x, FY_BIAS), s->bias_in >= 0 ? fy_step_in(s, x, s->bias_in) : NULL};
    for (int i = 0; i < FY_COUNT(many); i++)
        FY_NEED(e, !many[i] || fy_count(many[i]) == 1 || fy_count(many[i]) == w->n, SHAPE, "%lld scales, zero points or summands for %lld columns", (long long)fy_count(many[i]), (long long)w->n);
    for (int64_t c = 0; c < padded; c++) {
        bool in = c < w->n;
        w->zero[c] = in ? fy_integer_zero(many[0], c) - (w->w_flip ? 128 : 0) : 0;
        w->scale[c] = in ? fy_integer_scale(s, x, c) : 0;
        w->bias[c] = 0;
        for (int i = 3; in && i < 5; i++)
            if (many[i]) w->bias[c] += (float)fy_get_f64(many[i], fy_count(many[i]) == 1 ? 0 : c);
        if (in) w->mixed |= w->zero[c] != w->zero[0];
    }
    w->zb = w->mixed ? 1 : w->zero[0];
    if (!many[3] && !many[4]) w->bias = NULL;
    return FY_OK;
}

static void how_to_put(work *w, const fy_tensor *y) {
    const fy_integer *d = w->s->data;
    const fy_epilogue *act = &w->s->epilogue;
    const float inf = __builtin_inff();
    int32_t zero = fy_integer_zero(fy_integer_in(w->s, w->x, FY_Y_ZERO), 0);
    bool clamp = act->act == FY_ACT_CLAMP;
    w->put.k = w->x->k;
    w->put.put = d->put;
    w->put.by = w->zero;
    w->put.scale = w->scale;
    w->put.bias = w->bias;
    w->put.add = w->add;
    w->put.zero = (float)zero;
    w->put.s8 = y->dtype == FERRY_INT8;
    w->put.lo = clamp ? act->p[0] : -inf;
    w->put.hi = clamp ? act->p[1] : inf;
    w->q = (fy_requant){.put = w->mixed ? FY_PUT_I32 : d->put, .scale = w->scale, .bias = w->bias, .lo = w->put.lo, .hi = w->put.hi, .zero = zero};
    if (d->put == FY_PUT_BYTE) fy_qdq_range(&(fy_bytes){.zero = zero + (w->put.s8 ? 128 : 0)}, &(fy_epilogue){0}, &w->q.lo, &w->q.hi);
    if (!w->mixed) w->sums = NULL;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_integer *d = s->data;
    const fy_tensor *a = fy_integer_in(s, x, FY_X), *b = fy_integer_in(s, x, FY_W);
    fy_tensor *y = fy_step_out(s, x, 0);
    const int nr = x->k->int8_nr;
    if (!fy_count(y)) return FY_OK;
    work w = {.s = s, .x = x, .a = a->data, .w = b ? b->data : NULL, .y = y->data, .known = d->sums, .k = a->dim[a->rank - 1], .n = y->dim[y->rank - 1], .m = y->dim[y->rank - 2], .size = fy_elem_bytes(y->dtype),
              .all = {.count = 1}, .add = s->add_in >= 0 ? fy_step_in(s, x, s->add_in)->data : NULL};
    w.za = fy_integer_zero(fy_integer_in(s, x, FY_X_ZERO), 0) + (a->dtype == FERRY_INT8 ? 128 : 0);
    w.w_flip = (b ? b->dtype : s->cover ? s->cover->in[1]->type.dtype : fy_integer_value(fy_integer_form_of(s->node), s->node, FY_W)->type.dtype) == FERRY_UINT8 ? 0x80 : 0;
    FY_NEED(e, w.k <= MOST, UNSUPPORTED, "sums of %lld products of bytes may leave 32 bits", (long long)w.k);
    if (b && b->rank > 2) w.all = fy_cpu_batches_of(y, a, a->rank - 2, b, b->rank - 2);
    else w.m = fy_count(y) / w.n;                            /* one matrix on the right: the rows of all batches follow each other */
    int64_t rows = 1, matrices = 1;
    for (int i = 0; i + 1 < a->rank; i++) rows *= a->dim[i];
    for (int i = 0; b && i + 2 < b->rank; i++) matrices *= b->dim[i];
    w.groups = (w.n + nr - 1) / nr;
    w.each = (w.groups * nr * ((w.k + 3) / 4 * 4) + 63) / 64 * 64;
    fy_cut room = {0};
    void *at;
    lay_out(&w, &room, d, a, matrices, w.groups * nr, rows);
    FY_TRY(fy_cpu_room(&at, x, &room.used, 1, e));
    room = (fy_cut){.at = at};
    lay_out(&w, &room, d, a, matrices, w.groups * nr, rows);
    FY_TRY(read_columns(&w, w.groups * nr, e));
    how_to_put(&w, y);
    if (!w.zb) w.row = NULL;
    fy_for(x->pool, matrices * w.groups, 1 + 65536 / (w.k * nr + 1), pack_groups, &w);
    if (w.row || w.flipped) fy_for(x->pool, rows, 1 + 65536 / (w.k + 1), look_at_rows, &w);
    w.cut = fy_cpu_pieces_of(x, w.all.count, w.m, w.n, nr, FY_CPU_COLUMNS8);
    fy_for(x->pool, w.all.count * w.cut.row_pieces * w.cut.panel_pieces, 1, piece, &w);
    return FY_OK;
}

static const char *no(const fy_site *s) { (void)s; return "no MatMulInteger and Cast before it"; }

static const fy_impl plain = {.op = "MatMulInteger", .name = "integer.matmul", .can = can, .prepare = prepare, .run = run};
static const fy_impl linear = {.op = "QLinearMatMul", .name = "integer.matmul", .can = can, .prepare = prepare, .run = run};
static const fy_impl to_float = {.op = "MatMulIntegerToFloat", .domain = "com.microsoft", .name = "integer.matmul", .can = can, .fuse = fy_cpu_matmul_fuse, .prepare = prepare, .run = run};
static const fy_impl chain = {.op = "Mul", .name = "integer.matmul", .can = no, .cover = cover, .fuse = fy_cpu_matmul_fuse, .prepare = prepare, .run = run};

const fy_impl *const fy_cpu_integer[] = {&chain, &fy_cpu_integer_conv_chain, &plain, &linear, &to_float, &fy_cpu_integer_conv, &fy_cpu_qlinear_conv, NULL};
