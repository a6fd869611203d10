/* SPDX-License-Identifier: Apache-2.0
 * binary.c - Add Sub Mul Div of f32 with broadcasting: blocked operands of one shape, or plain ones in any broadcast, as runs along the axes
 * that neither side repeats. */
#include "engines/cpu/cpu.h"

#include <string.h>

typedef struct work { const fy_kernels *k; fy_binary op; const float *a, *b; float *y; int64_t run; int one; int rank; int64_t dim[FY_MAX_RANK], sa[FY_MAX_RANK], sb[FY_MAX_RANK]; } work;

static const char *can(const fy_site *s) {
    const fy_node *n = s->node;
    if (n->nin != 2 || !fy_cpu_f32(fy_in(n, 0)) || !fy_cpu_f32(fy_in(n, 1))) return "not f32";
    return NULL;
}

/* [n, c, 1, 1 ..] */
static bool points(const fy_value *v) {
    for (int i = 2; i < v->type.rank; i++)
        if (!fy_dim_is(v->type.dim[i], 1)) return false;
    return true;
}

/* Not quotients: the lanes that pad channels would become 0 / 0. */
static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) {
    const fy_value *a = fy_in(s->node, 0), *b = fy_in(s->node, 1);
    bool blocked = s->node->op->name[0] != 'D' && (s->layout[0] == FY_C16 || s->layout[1] == FY_C16) && !a->constant && !b->constant && a->type.rank >= 3 && b->type.rank == a->type.rank;
    bool same = blocked && fy_type_equal(&a->type, &b->type), gate = blocked && !same && a->type.dim[1] == b->type.dim[1] && a->type.dim[0] == b->type.dim[0];
    /* what squeeze-and-excitation does */
    if (gate) gate = points(a) || points(b);
    if (same || gate) in[0] = in[1] = *out = FY_C16;
}

static fy_binary op_of(const fy_node *n) {
    switch (n->op->name[0]) {
    case 'A': return FY_ADD;
    case 'S': return FY_SUB;
    case 'M': return FY_MUL;
    default: return FY_DIV;
    }
}

static void runs(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t rest = i, a = 0, b = 0;
        for (int r = w->rank - 1; r >= 0; r--) {
            int64_t at = rest % w->dim[r];
            rest /= w->dim[r];
            a += at * w->sa[r];
            b += at * w->sb[r];
        }
        w->k->binary[w->op](w->y + i * w->run, w->a + a, w->b + b, w->run, w->one);
    }
}

static void pieces(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    w->k->binary[w->op](w->y + begin, w->one == 1 ? w->a : w->a + begin, w->one == 2 ? w->b : w->b + begin, end - begin, w->one);
}

static int64_t area_of(const fy_tensor *t) {
    int64_t n = 1;
    for (int i = 2; i < t->rank; i++) n *= t->dim[i];
    return n;
}

/* Sizes as the buffers have them: [n, blocks, area, 16] of a blocked value. */
static int sizes(int64_t *dim, const fy_tensor *t, fy_layout l) {
    if (l == FY_PLAIN) {
        memcpy(dim, t->dim, (size_t)t->rank * sizeof *dim);
        return t->rank;
    }
    dim[0] = t->dim[0];
    dim[1] = (t->dim[1] + FY_LANES - 1) / FY_LANES;
    dim[2] = area_of(t);
    dim[3] = FY_LANES;
    return 4;
}

/* [n, c, ..] times [n, c, 1 ..], a block of channels at a time. */
typedef struct gating { const fy_kernels *k; const float *x, *scale; float *y; int64_t area; } gating;

static void gates(void *arg, int64_t begin, int64_t end) {
    const gating *g = arg;
    for (int64_t i = begin; i < end; i++) g->k->scale_c16(g->y + i * g->area * FY_LANES, g->x + i * g->area * FY_LANES, g->scale + i * FY_LANES, g->area);
}

static bool gate(const fy_step *s, const fy_exec *x, const fy_tensor *a, const fy_tensor *b, const fy_tensor *y) {
    if (s->out_layout != FY_C16 || op_of(s->node) != FY_MUL) return false;
    bool swap = area_of(a) == 1;
    const fy_tensor *big = swap ? b : a, *one = swap ? a : b;
    if (area_of(one) != 1 || big->dim[0] != one->dim[0] || big->dim[1] != one->dim[1] || !fy_same_dims(big, y)) return false;
    gating g = {x->k, big->data, one->data, y->data, area_of(y)};
    fy_for(x->pool, y->dim[0] * ((y->dim[1] + FY_LANES - 1) / FY_LANES), 1 + 1024 / (g.area + 1), gates, &g);
    return true;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *ta = fy_step_in(s, x, 0), *tb = fy_step_in(s, x, 1);
    fy_tensor *y = fy_step_out(s, x, 0);
    if (gate(s, x, ta, tb, y)) return FY_OK;
    int64_t da[FY_MAX_RANK], db[FY_MAX_RANK], dy[FY_MAX_RANK];
    int ra = sizes(da, ta, s->in_layout[0]), rb = sizes(db, tb, s->in_layout[1]), ry = sizes(dy, y, s->out_layout);
    work w = {.k = x->k, .op = op_of(s->node), .a = ta->data, .b = tb->data, .y = y->data, .run = 1};
    bool all_a = true, all_b = true;     /* does the operand vary along all inner axes so far? */
    int64_t stride_a = 1, stride_b = 1, outer = 1;
    int inner = ry;
    for (int i = 0; i < ry; i++) {
        int64_t a = i - ry + ra >= 0 ? da[i - ry + ra] : 1, b = i - ry + rb >= 0 ? db[i - ry + rb] : 1;
        FY_NEED(e, (a == 1 || a == dy[i]) && (b == 1 || b == dy[i]), SHAPE, "sizes %lld and %lld cannot be broadcast together", (long long)a, (long long)b);
    }
    /* the longest run at the end along which each operand either follows or stands still */
    for (int i = ry - 1, k = 0; i >= 0; i--, k++) {
        int64_t a = k < ra ? da[ra - 1 - k] : 1, b = k < rb ? db[rb - 1 - k] : 1;
        if (dy[i] == 1) continue;
        bool follows_a = a == dy[i], follows_b = b == dy[i];
        if (w.run > 1 && (follows_a != all_a || follows_b != all_b)) break;
        all_a = follows_a;
        all_b = follows_b;
        w.run *= dy[i];
        inner = i;
    }
    for (int i = ry - 1, k = 0; i >= 0; i--, k++) {
        int64_t a = k < ra ? da[ra - 1 - k] : 1, b = k < rb ? db[rb - 1 - k] : 1;
        if (i < inner) {
            w.dim[i] = dy[i];
            w.sa[i] = a == 1 ? 0 : stride_a;
            w.sb[i] = b == 1 ? 0 : stride_b;
            outer *= dy[i];
        }
        stride_a *= a;
        stride_b *= b;
    }
    w.rank = inner;
    w.one = w.run == 1 ? 0 : all_a && all_b ? 0 : all_b ? 1 : 2;
    if (!outer || !w.run) return FY_OK;
    if (outer == 1) fy_for(x->pool, w.run, 16384, pieces, &w);
    else fy_for(x->pool, outer, 1 + 16384 / w.run, runs, &w);
    return FY_OK;
}

#define ARITH(var, Op) static const fy_impl var = {.op = Op, .name = "binary", .can = can, .layouts = layouts, .run = run, .flags = FY_IMPL_INPLACE};
ARITH(add, "Add")
ARITH(sub, "Sub")
ARITH(mul, "Mul")
ARITH(quotient, "Div")

const fy_impl *const fy_cpu_binary[] = {&add, &sub, &mul, &quotient, NULL};
