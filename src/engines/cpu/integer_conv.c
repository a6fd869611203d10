/* SPDX-License-Identifier: Apache-2.0
 * integer_conv.c - ConvInteger and QLinearConv in one to three axes, and what dynamic quantisation makes of a convolution:
 *   DynamicQuantizeLinear -> ConvInteger -> Cast -> Mul [-> Add bias] [-> activation]
 * As products: the weights' rows, as u8, by the input's columns under a piece of the output, as s8. Zero points and scales of channels, or one.
 * (QLinearConv whose numbers are constants and whose weights are symmetric is conv8.c's: the pass qlinear.)
 *   Sum (w - zw)(x - zx) = Sum w x - zx Sum w - zw Sum x + k zw zx */
#include "engines/cpu/integer.h"

#include "ops/window.h"

#include <string.h>

#define MOST 32768                       /* products in a sum of 32 bits */
#define TILE 512                         /* output pixels of a piece, at most */

/* One for all, or one for each channel: of rank 1, or (`beside` y) along axis 1 of as many axes. */
static bool channels(const fy_value *v, const fy_value *beside) {
    if (fy_integer_one(v)) return true;
    if (v->type.kind != FY_TENSOR || v->type.rank < 1) return false;
    if (!beside) return v->type.rank == 1;
    for (int i = 0; i < v->type.rank; i++)
        if (i != v->type.rank - (beside->type.rank - 1) && !fy_dim_is(v->type.dim[i], 1)) return false;
    return true;
}

static const char *why_not(const fy_value *const v[FY_ROLES], const fy_value *y, bool chain) {
    int64_t d[FY_MAX_RANK], k = 1;
    if (!fy_qdq_bytes(v[FY_X]) || !fy_qdq_bytes(v[FY_W])) return "not of bytes";
    if (v[FY_Y_ZERO] && !fy_qdq_bytes(y)) return "the result is no bytes";
    const int rank = v[FY_X]->type.rank;
    if (rank < 3 || rank > 5 || v[FY_W]->type.rank != rank || y->type.rank != rank) return "not one to three spatial axes";
    if (!fy_cpu_dims(v[FY_W], d)) return "weights of unknown sizes";
    for (int i = 1; i < rank; i++) k *= d[i] < 0 ? 1 : d[i] > MOST ? MOST + 1 : d[i];
    if (k > MOST) return "sums may leave 32 bits";
    if (!fy_integer_one(v[FY_X_ZERO]) || !fy_integer_one(v[FY_Y_SCALE]) || !fy_integer_one(v[FY_Y_ZERO])) return "a zero point or scale for each row";
    if (!channels(v[FY_W_ZERO], NULL) || !channels(v[FY_BIAS], NULL)) return "zero points other than those of channels";
    if (!channels(v[FY_X_SCALE], chain ? y : NULL) || (v[FY_W_SCALE] && !fy_integer_one(v[FY_X_SCALE]))) return "a scale for each row";
    return channels(v[FY_W_SCALE], chain ? y : NULL) ? NULL : "scales other than those of channels";
}

FY_COLD static const char *can(const fy_site *s) {
    const fy_integer_form *f = fy_integer_form_of(s->node);
    const fy_value *v[FY_ROLES];
    for (int i = 0; i < FY_ROLES; i++) v[i] = fy_integer_value(f, s->node, (fy_role)i);
    return why_not(v, s->node->out[0], false);
}

typedef struct conv { fy_integer roles; fy_window win; const fy_node *core; uint8_t *rows; } conv;      /* roles.sums: of the rows */

FY_COLD static bool cover(const fy_node *n, fy_cover *c, fy_arena *a) {
    const fy_value *v[FY_ROLES];
    if (!fy_integer_chain(n, "ConvInteger", c)) return false;
    for (int i = 0; i < FY_ROLES; i++) v[i] = fy_integer_chain_at[i] < 0 ? NULL : c->in[fy_integer_chain_at[i]];
    conv *d = why_not(v, n->out[0], true) ? NULL : FY_NEW(a, conv);
    if (!d) return false;
    d->roles.put = FY_PUT_F32;
    memcpy(d->roles.at, fy_integer_chain_at, sizeof d->roles.at);
    for (int i = 0; i < c->n; i++)
        if (fy_qdq_is(c->node[i], "ConvInteger")) d->core = c->node[i];
    c->data = d;
    return true;
}

FY_COLD static bool fuse(fy_step *s, const fy_node *next, const fy_value **other) {
    const fy_value *y = s->out[0];
    if (s->epilogue.act) return false;
    if (!fy_qdq_is(next, "Add") || next->nin != 2) return fy_cpu_activation(&s->epilogue, next);
    const fy_value *v = next->in[next->in[0].value == y].value;
    if (v == y || s->bias_in >= 0 || !v->constant || !fy_cpu_f32(v) || !channels(v, y)) return false;
    s->bias_in = s->nin;
    *other = v;
    return true;
}

/* Rows of the weights as u8, and their sums. */
static void rows_of(const fy_tensor *w, uint8_t *to, int32_t *sums) {
    const uint8_t *from = w->data, flip = w->dtype == FERRY_INT8 ? 0x80 : 0;
    const int64_t k = w->dim[0] ? fy_count(w) / w->dim[0] : 0;
    for (int64_t m = 0; m < w->dim[0]; m++) {
        sums[m] = 0;
        for (int64_t i = m * k; i < (m + 1) * k; i++) sums[m] += to[i] = from[i] ^ flip;
    }
}

FY_COLD static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    conv *d = s->data;
    if (!d) {
        const fy_integer_form *f = fy_integer_form_of(s->node);
        FY_NOMEM(e, s->data = d = FY_NEW(a, conv));
        d->roles.put = f->put;
        d->core = s->node;
        for (int i = 0; i < FY_ROLES; i++) d->roles.at[i] = f->at[i] < s->node->nin ? f->at[i] : -1;
    }
    const fy_value *w = s->in[d->roles.at[FY_W]];
    if (!w->constant) return FY_OK;
    fy_layer8 room = {0};
    bool filled;
    FY_NOMEM(e, d->roles.sums = fy_layer8_room(&room, p, w->constant->count, w->constant->dim[0], &filled));
    d->rows = (uint8_t *)room.packed;
    if (filled) return FY_OK;
    fy_tensor t, dense;
    FY_TRY(fy_const_tensor(&t, w->constant, e));
    fy_status st = fy_tensor_new(&dense, t.dtype, t.rank, t.dim, e);
    if (!st) {
        fy_tensor_copy(&dense, &t);
        rows_of(&dense, d->rows, d->roles.sums);
        fy_tensor_free(&dense);
    }
    fy_tensor_free(&t);
    return st;
}

/* ---- running ----------------------------------------------------------------------------------------------------------------- */

typedef struct work {
    const fy_step *s;
    const fy_exec *x;
    const uint8_t *in, *rows;            /* of a sample */
    char    *y, *room;
    uint8_t  flip, pad;                  /* of the input: what makes s8 of it; its zero point as it is stored */
    const int32_t *wsum;
    int32_t *zw, *first;                 /* of channels: zero points, as u8 has them; first summands */
    float   *scale, *bias;
    int32_t  zx;                         /* as s8 has it */
    int64_t  m, k, groups, channels, columns, tile, tiles, each, wave;      /* m, channels: of one of `groups`; wave: pieces before those at hand, which have memory */
    int64_t  size[3], out[3], kernel[3], stride[3], dilation[3], before[3];
    fy_sums8 put;
} work;

/* Input of one channel under tap t for output pixels [p, p + n). */
static void under(const work *w, uint8_t *to, const uint8_t *plane, int64_t t, int64_t p, int64_t n) {
    const int64_t *d = w->size, sx = w->stride[2], at[3] = {t / (w->kernel[1] * w->kernel[2]), t / w->kernel[2] % w->kernel[1], t % w->kernel[2]};
    int64_t ox = p % w->out[2], oy = p / w->out[2] % w->out[1], oz = p / (w->out[2] * w->out[1]);
    for (; n > 0; ox = 0, oz += ++oy == w->out[1], oy = oy == w->out[1] ? 0 : oy) {
        int64_t len = w->out[2] - ox < n ? w->out[2] - ox : n;
        int64_t z = oz * w->stride[0] + at[0] * w->dilation[0] - w->before[0], y = oy * w->stride[1] + at[1] * w->dilation[1] - w->before[1], x = ox * sx + at[2] * w->dilation[2] - w->before[2];
        int64_t i = 0;
        n -= len;
        if (z < 0 || z >= d[0] || y < 0 || y >= d[1]) i = len;
        const uint8_t *row = plane + (z * d[1] + y) * d[2];
        memset(to, w->pad, (size_t)len);
        for (; i < len && x < 0; i++) x += sx;
        int64_t most = i < len && x < d[2] ? (d[2] - 1 - x) / sx + 1 : 0;
        if (most > len - i) most = len - i;
        if (sx == 1 && most > 0) memcpy(to + i, row + x, (size_t)most);
        else
            for (int64_t k = 0; k < most; k++) to[i + k] = row[x + k * sx];
        to += len;
    }
}

/* Columns [p, p + n) of group g of one sample, packed; their sums. */
static void pack_columns(const work *w, const uint8_t *in, int8_t *to, int32_t *sums, int64_t p, int64_t n) {
    const int nr = w->x->k->int8_nr;
    const int64_t taps = w->kernel[0] * w->kernel[1] * w->kernel[2], area = w->size[0] * w->size[1] * w->size[2], fours = (w->k + 3) / 4;
    uint8_t rows[4 * TILE];
    int32_t part[TILE];
    for (int64_t c = 0; c < (n + nr - 1) / nr * nr; c++) sums[c] = 0;
    for (int64_t f = 0; f < fours; f++) {
        const int64_t have = w->k - 4 * f < 4 ? w->k - 4 * f : 4;
        for (int64_t i = 0; i < have; i++) under(w, rows + i * TILE, in + (4 * f + i) / taps * area, (4 * f + i) % taps, p, n);
        for (int64_t c = 0; c < n; c += nr) fy_pack_s8(to + (c * fours + f * nr) * 4, part + c, rows + c, w->flip, have, n - c < nr ? n - c : nr, TILE, 1, nr, 0, 1);
        w->x->k->loops.pair[FY_LOOP_ADD][FY_NUMBER_I32](sums, sums, part, (n + nr - 1) / nr * nr, 0);
    }
}

static void piece(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    const int nr = w->x->k->int8_nr;
    const int64_t fours = (w->k + 3) / 4, area = w->size[0] * w->size[1] * w->size[2], size = w->put.put == FY_PUT_BYTE ? 1 : 4, padded = (w->tile + nr - 1) / nr * nr;
    for (int64_t i = begin; i < end; i++) {
        const int64_t at = w->wave + i, g = at / w->tiles, p = at % w->tiles * w->tile, n = w->columns - p < w->tile ? w->columns - p : w->tile;
        fy_cut cut = {.at = w->room + i * w->each};
        int8_t *packed = fy_cut_take(&cut, padded * fours * 4);
        int32_t *sums = fy_cut_take(&cut, padded * 4), *none = fy_cut_take(&cut, padded * 4), *row = fy_cut_take(&cut, w->m * 4), *result = size == 1 ? fy_cut_take(&cut, w->m * w->tile * 4) : NULL;
        pack_columns(w, w->in + g * w->channels * area, packed, sums, p, n);
        memset(none, 0, (size_t)padded * sizeof *none);
        for (int64_t m = 0; m < w->m; m++) row[m] = (int32_t)(w->first[g * w->m + m] + w->zx * (w->k * w->zw[g * w->m + m] - w->wsum[g * w->m + m]));
        const int64_t out = g * w->m * w->columns + p, step = result ? w->tile : w->columns;
        int32_t *to = result ? result : (int32_t *)(void *)w->y + out;
        fy_product_u8s8 q = {.x = w->rows + g * w->m * w->k, .w = packed, .y = to, .lanes = w->k, .in_blocks = 1, .kernel = {1, 1}, .out = {1, w->m}, .pixels = w->m, .x_step = {0, w->k}, .w_group = fours * 4 * nr,
                             .columns = n, .y_pixel = step, .y_block = FY_LANES, .row = row, .q = {.put = FY_PUT_I32, .start = none}};
        for (int64_t c = 0; c < (n + nr - 1) / nr; c++) w->x->k->product_u8s8(&q, c, 0, 1);
        for (int64_t m = 0; m < w->m; m++) {
            const int64_t channel = g * w->m + m;
            fy_sums8 put = w->put;
            char *y = w->y + (out + m * w->columns) * size;
            put.by = w->zw[channel] ? sums : NULL;
            put.scale = w->scale + channel;
            put.bias = w->bias ? w->bias + channel : NULL;
            fy_sums8_put(&put, y, to + m * step, n, w->zw[channel]);
            if (put.put == FY_PUT_F32) fy_cpu_finish(w->s, w->x, (float *)(void *)y, n);
        }
    }
}

static fy_status read_channels(work *w, int64_t all, ferry_error *e) {
    const fy_step *s = w->s;
    const fy_exec *x = w->x;
    const fy_tensor *many[] = {fy_integer_in(s, x, FY_W_ZERO), fy_integer_in(s, x, FY_W_SCALE), fy_integer_in(s, x, FY_X_SCALE), fy_integer_in(s, x, FY_BIAS), s->bias_in >= 0 ? fy_step_in(s, x, s->bias_in) : NULL};
    const bool s8 = fy_integer_in(s, x, FY_W)->dtype == FERRY_INT8;
    for (int i = 0; i < FY_COUNT(many); i++)
        FY_NEED(e, !many[i] || fy_count(many[i]) == 1 || fy_count(many[i]) == all, SHAPE, "%lld scales, zero points or summands for %lld channels", (long long)fy_count(many[i]), (long long)all);
    for (int64_t m = 0; m < all; m++) {
        w->zw[m] = fy_integer_zero(many[0], m) + (s8 ? 128 : 0);
        w->scale[m] = fy_integer_scale(s, x, m);
        w->first[m] = fy_integer_zero(many[3], m);           /* quantised as the sums are */
        w->bias[m] = many[4] ? (float)fy_get_f64(many[4], fy_count(many[4]) == 1 ? 0 : m) : 0;
    }
    if (!many[4]) w->bias = NULL;
    return FY_OK;
}

static void place(work *w, fy_window win, const fy_tensor *in, const fy_tensor *y) {
    const int nd = in->rank - 2, first = 3 - nd;
    fy_window_place(&win, in->dim + 2, y->dim + 2);
    for (int i = 0; i < 3; i++) {
        bool there = i >= first;
        int k = there ? i - first : 0;
        w->size[i] = there ? in->dim[2 + k] : 1;
        w->out[i] = there ? y->dim[2 + k] : 1;
        w->kernel[i] = there ? win.kernel[k] : 1;
        w->stride[i] = there ? win.stride[k] : 1;
        w->dilation[i] = there ? win.dilation[k] : 1;
        w->before[i] = there ? win.pad[k] : 0;
    }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const conv *d = s->data;
    const fy_tensor *in = fy_integer_in(s, x, FY_X), *weights = fy_integer_in(s, x, FY_W);
    fy_tensor *y = fy_step_out(s, x, 0);
    const int nr = x->k->int8_nr;
    const bool clamp = s->epilogue.act == FY_ACT_CLAMP;
    const int64_t all = weights->dim[0], samples = in->dim[0];
    if (!fy_count(y)) return FY_OK;
    work w = {.s = s, .x = x, .in = in->data, .y = y->data, .flip = in->dtype == FERRY_UINT8 ? 0x80 : 0, .rows = d->rows, .wsum = d->roles.sums, .groups = fy_attr_i(d->core, "group"), .columns = 1,
              .k = fy_count(weights) / all, .put = {.k = x->k, .put = d->roles.put, .one = true, .lo = clamp ? s->epilogue.p[0] : -__builtin_inff(), .hi = clamp ? s->epilogue.p[1] : __builtin_inff()}};
    const int32_t zero = fy_integer_zero(fy_integer_in(s, x, FY_X_ZERO), 0);
    FY_NEED(e, w.k <= MOST, UNSUPPORTED, "sums of %lld products of bytes may leave 32 bits", (long long)w.k);
    w.zx = zero - (w.flip ? 128 : 0);
    w.pad = (uint8_t)zero;
    w.put.s8 = y->dtype == FERRY_INT8;
    w.put.zero = (float)fy_integer_zero(fy_integer_in(s, x, FY_Y_ZERO), 0);
    w.m = all / w.groups;
    w.channels = in->dim[1] / w.groups;
    fy_window win;
    FY_TRY(fy_window_read(&win, d->core, in->rank - 2, weights->dim + 2, e));
    place(&w, win, in, y);
    for (int i = 0; i < 3; i++) w.columns *= w.out[i];
    w.tile = (131072 / (w.k + 1) + 1) / nr * nr;             /* what stays in the second-level cache */
    w.tile = w.tile < nr ? nr : w.tile > TILE ? TILE : w.tile;
    while (w.tile > 2 * nr && w.groups * ((w.columns + w.tile - 1) / w.tile) * samples < 3 * fy_pool_threads(x->pool)) w.tile = w.tile / 2 / nr * nr;
    w.tiles = (w.columns + w.tile - 1) / w.tile;
    w.each = w.tile * ((w.k + 3) / 4 * 4) + 2 * w.tile * 4 + w.m * 4 + (w.put.put == FY_PUT_BYTE ? w.m * w.tile * 4 : 0) + 5 * 64;
    w.each = (w.each + 63) / 64 * 64;
    const int64_t pieces = w.groups * w.tiles, most = 8 * fy_pool_threads(x->pool), rooms = pieces < most ? pieces : most;
    fy_cut cut = {0};
    void *room;
    for (int i = 0; i < 2; i++) {
        w.zw = fy_cut_take(&cut, all * 4);
        w.first = fy_cut_take(&cut, all * 4);
        w.scale = fy_cut_take(&cut, all * 4);
        w.bias = fy_cut_take(&cut, all * 4);
        int32_t *sums = d->rows ? NULL : fy_cut_take(&cut, all * 4);
        uint8_t *rows = d->rows ? NULL : fy_cut_take(&cut, all * w.k);
        w.room = cut.at ? cut.at + cut.used : NULL;
        if (!i) {
            FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){cut.used + w.each * rooms}, 1, e));
            cut = (fy_cut){.at = room};
        } else if (rows) {
            rows_of(weights, rows, sums);
            w.rows = rows;
            w.wsum = sums;
        }
    }
    FY_TRY(read_channels(&w, all, e));
    for (int64_t i = 0; i < samples; i++) {
        for (w.wave = 0; w.wave < pieces; w.wave += rooms) fy_for(x->pool, pieces - w.wave < rooms ? pieces - w.wave : rooms, 1, piece, &w);
        w.in += in->dim[1] * w.size[0] * w.size[1] * w.size[2];
        w.y += all * w.columns * (w.put.put == FY_PUT_BYTE ? 1 : 4);
    }
    return FY_OK;
}

static const char *no(const fy_site *s) { (void)s; return "no ConvInteger and Cast before it"; }

const fy_impl fy_cpu_integer_conv = {.op = "ConvInteger", .name = "integer.conv", .can = can, .prepare = prepare, .run = run};
const fy_impl fy_cpu_qlinear_conv = {.op = "QLinearConv", .name = "integer.conv", .can = can, .prepare = prepare, .run = run};
const fy_impl fy_cpu_integer_conv_chain = {.op = "Mul", .name = "integer.conv", .can = no, .cover = cover, .fuse = fuse, .prepare = prepare, .run = run};
