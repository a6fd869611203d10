/* SPDX-License-Identifier: Apache-2.0
 * matmul_bf16.c - MatMul and Gemm with a constant second operand under precision=bf16: the weights are rounded to bfloat16 when they are packed,
 * the rows as they come; sums, bias, residual and activation stay f32.
 *   y[.., m, n] = act(bf16(a)[.., m, k] bf16(b)[k, n] + bias[n] + add[.., m, n]) */
#include "engines/cpu/matmul.h"

#include "base/checked.h"

#include <string.h>

typedef struct packed { uint16_t *b; int64_t k, n; } packed;

static const char *can(const fy_site *s) { return s->bf16 ? fy_cpu_matmul_can(s) : "precision f32"; }

typedef struct filling { const packed *d; const float *from; int64_t row, col; int nr; } filling;

static void pack_panels(void *arg, int64_t begin, int64_t end) {
    const filling *f = arg;
    fy_gemm_pack_bf16(f->d->b, f->from, f->d->k, f->d->n, f->row, f->col, f->nr, begin, end);
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    packed *d = FY_NEW(a, packed);
    const fy_const *b = s->in[1]->constant;
    bool filled;
    FY_NOMEM(e, d);
    bool gemm = !strcmp(s->node->op->name, "Gemm"), trans = gemm && fy_attr_i(s->node, "transB");
    int nr = p->o.kernels->gemm_nr;
    d->k = b->dim[trans];
    d->n = b->dim[!trans];
    int64_t panels = (d->n + nr - 1) / nr;
    d->b = fy_plan_packed(p, (size_t)(panels * nr * ((d->k + 1) / 2 * 2)) * sizeof *d->b, &filled);
    FY_NOMEM(e, d->b);
    if (!filled) {
        fy_tensor t = {0};
        if (!fy_cpu_const_view(&t, b, true)) FY_TRY(fy_const_tensor(&t, b, e));
        filling f = {d, t.data, t.stride[trans], t.stride[!trans], nr};
        fy_for(p->o.pool, panels, 1 + 65536 / (d->k * nr + 1), pack_panels, &f);
        fy_tensor_free(&t);
    }
    s->data = d;
    s->in[1] = NULL;                     /* packed: the constant itself is not read any more */
    if (gemm && s->node->nin > 2 && s->in[2]) s->bias_in = 2;
    return FY_OK;
}

typedef struct work { const fy_step *s; const fy_exec *x; fy_gemm_bf16 g; fy_cpu_pieces p; const float *a; char *rounded; int64_t k; } work;

static void round_rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t r = begin; r < end; r++) w->x->k->bf16_rows(w->rounded + r * w->g.a_row, w->a + r * w->k, w->k);
}

static void piece(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin, r, r_end, p, p_end; i < end;) {
        fy_cpu_pieces_next(&w->p, &i, end, &r, &r_end, &p, &p_end);
        w->x->k->gemm_bf16(&w->g, r, r_end, p, p_end);
        fy_cpu_finish_piece(w->s, w->x, w->g.c, w->g.c_row, w->g.n, r, r_end, p, p_end);
    }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const packed *d = s->data;
    const fy_tensor *a = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    const fy_tensor *bias = s->bias_in >= 0 ? fy_step_in(s, x, s->bias_in) : NULL, *add = s->add_in >= 0 ? fy_step_in(s, x, s->add_in) : NULL;
    int64_t even = (d->k + 1) / 2 * 2, row = (even * x->k->bf16_bytes + 63) / 64 * 64, all;
    work w = {.s = s, .x = x, .a = a->data, .k = d->k, .g = {.b = d->b, .c = y->data, .m = 1, .n = d->n, .k = even, .a_row = row % 1024 ? row : row + 64, .c_row = d->n, .e = s->epilogue}};
    for (int i = 0; i + 1 < a->rank; i++) w.g.m *= a->dim[i];
    w.g.e.bias = bias ? bias->data : NULL;
    w.g.e.add = add ? add->data : NULL;
    if (!w.g.m || !w.g.n) return FY_OK;
    FY_NEED(e, fy_mul_i64(&all, w.g.m, w.g.a_row) && all <= x->max_bytes, LIMIT, "%lld rows of %lld values are too many", (long long)w.g.m, (long long)d->k);
    w.rounded = fy_exec_scratch(x, (size_t)all + 64);
    FY_NOMEM(e, w.rounded);
    w.g.a = w.rounded;
    fy_for(x->pool, w.g.m, 1 + 16384 / (d->k + 1), round_rows, &w);
    w.p = fy_cpu_pieces_of(x, 1, w.g.m, w.g.n, x->k->gemm_nr, FY_CPU_COLUMNS);
    fy_for_runs(x->pool, w.p.row_pieces * w.p.panel_pieces, 1, false, piece, &w);
    return FY_OK;
}

const fy_impl fy_cpu_matmul_bf16 = {.op = "MatMul", .name = "matmul.bf16", .can = can, .fuse = fy_cpu_matmul_fuse, .prepare = prepare, .run = run};
const fy_impl fy_cpu_gemm_bf16 = {.op = "Gemm", .name = "gemm.bf16", .can = can, .fuse = fy_cpu_matmul_fuse, .prepare = prepare, .run = run};
