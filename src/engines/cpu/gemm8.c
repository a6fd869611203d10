/* SPDX-License-Identifier: Apache-2.0
 * gemm8.c - MatMul and Gemm over bytes with constant weights, packed once; and MatMul of two computed operands, of which the second one is packed
 * in the run.
 *   DequantizeLinear a, b, bias -> MatMul, Gemm -> [Relu, Clip] -> QuantizeLinear [-> DequantizeLinear -> Add row or residual -> QuantizeLinear] */
#include "engines/cpu/matmul.h"
#include "engines/cpu/qdq.h"

#include <string.h>

typedef struct gemm8 { int64_t k, n, groups; } gemm8;

const char *fy_gemm8_can(const fy_node *n, fy_bytes *x, fy_weights8 *w) {
    bool gemm = fy_qdq_is(n, "Gemm"), trans = gemm && fy_attr_i(n, "transB");
    int64_t d[FY_MAX_RANK];
    if (!fy_cpu_f32(fy_outv(n, 0)) || !fy_in(n, 0) || fy_in(n, 0)->type.rank < 2 || !fy_qdq_from(fy_in(n, 0), x)) return "the input is not dequantised";
    if (gemm && (fy_attr_i(n, "transA") || fy_attr_f(n, "alpha") != 1 || fy_attr_f(n, "beta") != 1)) return "transA, or alpha or beta other than 1";
    const char *why = fy_qdq_weights(fy_in(n, 1), trans ? 0 : 1, w);
    if (why) return why;
    if (w->w->type.rank != 2 || !fy_cpu_dims(w->w, d)) return "the weights are no matrix";
    if (d[0] < 1 || d[1] < 1 || d[trans] > 65536) return "sums may leave 32 bits";
    const fy_value *b = fy_in(n, 2);
    return b && (b->type.rank != 1 || !fy_dim_is(b->type.dim[0], d[!trans])) ? "the bias is no row" : NULL;
}

static const char *const ops[] = {"MatMul", "Gemm", NULL};

FY_COLD static bool cover(const fy_node *n, fy_cover *c, fy_arena *a) { return fy_layer8_cover(n, ops, fy_gemm8_can, c, a); }

FY_COLD static bool fuse(fy_step *s, const fy_node *next, const fy_value **other) {
    const fy_layer8 *d = s->data;
    const fy_value *y = s->out[0];
    if (d->root || s->epilogue.act) return false;
    if (fy_qdq_is(next, "Add") && next->nin == 2) {
        const fy_value *v = next->in[next->in[0].value == y].value;
        if (v == y || s->add_in >= 0 || !fy_cpu_f32(v) || !fy_type_equal(&v->type, &y->type)) return false;
        s->add_in = s->nin;
        *other = v;
        return true;
    }
    return fy_cpu_activation(&s->epilogue, next);
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    fy_layer8 *l = s->data;
    gemm8 *d = FY_NEW(a, gemm8);
    const fy_const *c = l->w.w->constant;
    bool filled;
    const bool trans = fy_qdq_is(l->core, "Gemm") && fy_attr_i(l->core, "transB");
    const int nr = p->o.kernels->int8_nr;
    FY_NOMEM(e, d);
    d->k = c->dim[trans];
    d->n = c->dim[!trans];
    d->groups = (d->n + nr - 1) / nr;
    int32_t *sums = fy_layer8_room(l, p, d->groups * nr * ((d->k + 3) / 4 * 4), d->groups * nr, &filled);
    FY_NOMEM(e, sums);
    if (!filled) {
        fy_tensor w;
        FY_TRY(fy_const_tensor(&w, c, e));
        fy_pack_s8(l->packed, sums, w.data, l->w.flip, d->k, d->n, w.stride[trans], w.stride[!trans], nr, 0, d->groups);
        fy_tensor_free(&w);
    }
    l->data = d;
    return fy_layer8_pack(l, sums, d->n, d->groups * nr, a, e);
}

typedef struct work { const fy_step *s; const fy_exec *x; fy_product_u8s8 p; fy_cpu_pieces cut; } work;

static void piece(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t from, from_end, g, g_end;
        fy_cpu_piece(&w->cut, i, &from, &from_end, &g, &g_end);
        const int64_t row = from / w->cut.rows;
        for (int64_t k = g; k < g_end; k++) w->x->k->product_u8s8(&w->p, k, row, row + 1);
        if (w->s->epilogue.act <= FY_ACT_CLAMP) continue;
        const int64_t nr = w->x->k->int8_nr, to = g_end * nr < w->p.columns ? g_end * nr : w->p.columns;
        for (int64_t r = row * w->p.out[1]; r < (row + 1) * w->p.out[1] && r < w->p.pixels; r++) fy_cpu_finish(w->s, w->x, (float *)w->p.y + r * w->p.y_pixel + g * nr, to - g * nr);
    }
}

typedef struct flip { const uint8_t *from; uint8_t *to, by; } flip;

static void flip_bytes(void *arg, int64_t begin, int64_t end) {
    const flip *f = arg;
    for (int64_t i = begin; i < end; i++) f->to[i] = f->from[i] ^ f->by;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_layer8 *l = s->data;
    const gemm8 *d = l->data;
    const int add_in = l->add_in >= 0 ? l->add_in : s->add_in;
    const fy_tensor *a = fy_step_in(s, x, 0), *add = add_in >= 0 ? fy_step_in(s, x, add_in) : NULL;
    int64_t m = 1;
    for (int i = 0; i + 1 < a->rank; i++) m *= a->dim[i];
    if (!m) return FY_OK;
    work w = {.s = s, .x = x, .p = {.x = a->data, .w = l->packed, .y = fy_step_out(s, x, 0)->data, .lanes = d->k, .in_blocks = 1, .kernel = {1, 1}, .pixels = m,
              .w_group = (d->k + 3) / 4 * 4 * x->k->int8_nr, .columns = d->n, .y_pixel = d->n, .y_block = FY_LANES, .q = fy_layer8_requant(l, &s->epilogue)}};
    w.p.q.add = add ? add->data : NULL;
    if (l->x.flip) {
        flip f = {.from = a->data, .to = fy_exec_scratch(x, (size_t)(m * d->k)), .by = l->x.flip};
        FY_NOMEM(e, f.to);
        fy_for(x->pool, m * d->k, 65536, flip_bytes, &f);
        w.p.x = f.to;
    }
    w.cut = fy_cpu_pieces_of(x, 1, m, d->n, x->k->int8_nr, FY_CPU_COLUMNS8);
    w.p.out[0] = w.cut.row_pieces;
    w.p.out[1] = w.cut.rows;
    w.p.x_step[0] = w.cut.rows * d->k;
    w.p.x_step[1] = d->k;
    fy_for(x->pool, w.cut.row_pieces * w.cut.panel_pieces, 1, piece, &w);
    return FY_OK;
}

/* ---- both operands are computed ------------------------------------------------------------------------------------------- */

/* MatMul of two tensors of bytes, with its QuantizeLinear if one follows. */
typedef struct product8 { fy_bytes a, b, y; bool to_bytes; fy_epilogue limits; } product8;

FY_COLD static bool cover_product(const fy_node *n, fy_cover *c, fy_arena *a) {
    product8 d = {0}, *kept;
    const fy_node *limits = NULL, *root = NULL, *core = n, *dq[2];
    if (fy_qdq_is(n, "QuantizeLinear")) {
        if (!fy_qdq_params(n, &d.y) || !fy_in(n, 0)->def) return false;
        root = n;
        core = fy_in(n, 0)->def;
        if (!fy_qdq_is(core, "MatMul") && fy_in(core, 0)) core = fy_in(core, 0)->def;
    }
    if (!fy_qdq_is(core, "MatMul") || !fy_cpu_f32(core->out[0]) || fy_qdq_into(core->out[0], &limits) != root) return false;
    if (limits && (!fy_cpu_activation(&d.limits, limits) || !fy_qdq_cover(c, limits))) return false;
    for (int i = 0; i < 2; i++) {
        int64_t k;
        dq[i] = fy_qdq_from(fy_in(core, i), i ? &d.b : &d.a);
        if (!dq[i] || fy_in(core, i)->type.rank < 2 || (fy_dim_known(fy_in(core, i)->type.dim[fy_in(core, i)->type.rank - 2 + !i], &k) && k > 32768)) return false;
        c->in[c->nin++] = fy_in(dq[i], 0);
        if (!fy_qdq_cover(c, dq[i])) return false;
    }
    d.to_bytes = root != NULL;
    if ((root && !fy_qdq_cover(c, core)) || !(kept = FY_NEW(a, product8))) return false;
    *kept = d;
    c->data = kept;
    return true;
}

typedef struct batch {
    const fy_exec *x;
    const product8 *d;
    const uint8_t *a, *b;
    char   *y;
    uint8_t *flipped;
    int8_t *packed;
    int32_t *start, *row;
    float  *scale;
    int64_t m, n, k, groups, each, size;
    fy_requant q;
    fy_cpu_batches all;
} batch;

/* Sum (a - za)(b - zb), b as s8 with 128 less in zb: Sum a b - za Sum b - zb Sum a + k za zb. */
static void multiply(void *arg, int64_t begin, int64_t end) {
    const batch *w = arg;
    const int nr = w->x->k->int8_nr;
    const int64_t padded = w->groups * nr;
    for (int64_t i = begin; i < end; i++) {
        const uint8_t *a = w->a + fy_cpu_batch_at(&w->all, i, w->all.sa);
        int8_t *packed = w->packed + i * w->each;
        int32_t *start = w->start + i * padded, *row = w->row + i * w->m, za = w->d->a.zero, zb = w->d->b.zero - 128;
        fy_pack_s8(packed, start, w->b + fy_cpu_batch_at(&w->all, i, w->all.sb), w->d->b.flip ^ 0x80, w->k, w->n, w->n, 1, nr, 0, w->groups);
        for (int64_t c = 0; c < padded; c++) start[c] = (int32_t)((int64_t)w->k * za * zb - (int64_t)za * start[c]);
        if (w->flipped) {
            uint8_t *to = w->flipped + i * w->m * w->k;
            for (int64_t k = 0; k < w->m * w->k; k++) to[k] = a[k] ^ w->d->a.flip;
            a = to;
        }
        for (int64_t r = 0; r < w->m; r++) {
            int32_t sum = 0;
            for (int64_t k = 0; zb && k < w->k; k++) sum += a[r * w->k + k];
            row[r] = -zb * sum;
        }
        fy_product_u8s8 p = {.x = a, .w = packed, .y = w->y + i * w->m * w->n * w->size, .lanes = w->k, .in_blocks = 1, .kernel = {1, 1}, .out = {1, w->m}, .pixels = w->m, .x_step = {0, w->k},
                             .w_group = (w->k + 3) / 4 * 4 * nr, .columns = w->n, .y_pixel = w->n, .y_block = FY_LANES, .row = row, .q = w->q};
        p.q.start = start;
        for (int64_t g = 0; g < w->groups; g++) w->x->k->product_u8s8(&p, g, 0, 1);
    }
}

static fy_status run_product(const fy_step *s, fy_exec *x, ferry_error *e) {
    const product8 *d = s->data;
    const fy_tensor *a = fy_step_in(s, x, 0), *b = fy_step_in(s, x, 1);
    fy_tensor *y = fy_step_out(s, x, 0);
    const int nr = x->k->int8_nr;
    batch w = {.x = x, .d = d, .a = a->data, .b = b->data, .y = y->data, .m = a->dim[a->rank - 2], .n = b->dim[b->rank - 1], .k = a->dim[a->rank - 1], .all = fy_cpu_batches_of(y, a, a->rank - 2, b, b->rank - 2),
               .size = d->to_bytes ? 1 : 4};
    w.groups = (w.n + nr - 1) / nr;
    w.each = (w.groups * nr * ((w.k + 3) / 4 * 4) + 63) / 64 * 64;
    const int64_t count = w.all.count;
    if (!count || !w.m || !w.n) return FY_OK;
    FY_NEED(e, w.k <= 32768, UNSUPPORTED, "sums of %lld products of bytes may leave 32 bits", (long long)w.k);
    int64_t words = w.groups * nr, each = count * w.each, start = count * words * 4, row = (count * w.m * 4 + 63) / 64 * 64;
    int64_t all = each + start + row + words * 4 + (d->a.flip ? count * w.m * w.k : 0);      /* k is bounded, the rest by the result: no overflow */
    void *room;
    FY_TRY(fy_cpu_room(&room, x, &all, 1, e));
    w.packed = room;
    w.start = (int32_t *)(void *)((char *)room + each);
    w.row = (int32_t *)(void *)((char *)room + each + start);
    w.scale = (float *)(void *)((char *)room + each + start + row);
    if (d->a.flip) w.flipped = (uint8_t *)room + each + start + row + words * 4;
    for (int64_t i = 0; i < words; i++) w.scale[i] = (float)((double)d->a.scale * (double)d->b.scale / (d->to_bytes ? (double)d->y.scale : 1));
    w.q = (fy_requant){.put = d->to_bytes ? FY_PUT_BYTE : FY_PUT_F32, .scale = w.scale, .lo = -__builtin_inff(), .hi = __builtin_inff()};
    if (d->to_bytes) {
        fy_qdq_range(&d->y, &d->limits, &w.q.lo, &w.q.hi);
        w.q.zero = d->y.zero - (d->y.flip ? 128 : 0);
    }
    fy_for(x->pool, count, 1 + 500000 / (w.m * w.n * (w.k + 1) + 1), multiply, &w);
    return FY_OK;
}

static const char *no(const fy_site *s) { return fy_qdq_is(s->node, "QuantizeLinear") ? "no product over bytes before it" : "not between DequantizeLinear of input and constant symmetric weights"; }
static const char *no_product(const fy_site *s) { return fy_qdq_is(s->node, "QuantizeLinear") ? "no product of bytes before it" : "not of two dequantised operands"; }

#define GEMM8(var, Op) static const fy_impl var = {.op = Op, .name = "gemm.u8s8", .can = no, .cover = cover, .fuse = fuse, .prepare = prepare, .run = run};
GEMM8(quantised, "QuantizeLinear")
GEMM8(matmul, "MatMul")
GEMM8(gemm, "Gemm")
static const fy_impl product_q = {.op = "QuantizeLinear", .name = "matmul.u8u8", .can = no_product, .cover = cover_product, .run = run_product};
static const fy_impl product = {.op = "MatMul", .name = "matmul.u8u8", .can = no_product, .cover = cover_product, .run = run_product};

const fy_impl *const fy_cpu_gemm8[] = {&quantised, &matmul, &gemm, &product_q, &product, NULL};
