/* SPDX-License-Identifier: Apache-2.0
 * matmul.c - MatMul and Gemm with a constant second operand, packed once; bias, residual and activation in the epilogue.
 *   y[.., m, n] = act(a[.., m, k] b[k, n] + bias[n] + add[.., m, n])      f32 */
#include "engines/cpu/matmul.h"

#include "base/checked.h"

#include <string.h>

#define LARGE ((int64_t)1 << 18)         /* elements of a matrix from which on little memory means none of its own */
#define PART ((int64_t)1 << 20)          /* elements packed at a time then */

typedef struct packed { float *b; int64_t k, n; fy_tensor in_place; bool trans; } packed;      /* b NULL: packed as it runs */

const char *fy_cpu_matmul_can(const fy_site *s) {
    const fy_node *n = s->node;
    const fy_value *a = fy_in(n, 0), *b = fy_in(n, 1), *c = fy_in(n, 2);
    if (!fy_cpu_f32(a) || !fy_cpu_f32(b)) return "not f32";
    if (!b->constant || b->type.rank != 2) return "the second operand is no constant matrix";
    if (a->type.rank < 1) return "the first operand is a number";
    if (strcmp(n->op->name, "Gemm")) return NULL;
    if (fy_attr_i(n, "transA")) return "transA";
    if (fy_attr_f(n, "alpha") != 1 || fy_attr_f(n, "beta") != 1) return "alpha or beta other than 1";
    int64_t dim[2];
    if (c && (!fy_cpu_f32(c) || c->type.rank != 1 || !fy_cpu_dims(c, dim) || !fy_dim_is(fy_outv(n, 0)->type.dim[1], dim[0]))) return "the bias is no row";
    return NULL;
}

static const char *can(const fy_site *s) { return s->bf16 ? "precision bf16" : fy_cpu_matmul_can(s); }

static bool same_type(const fy_value *a, const fy_value *b) { return fy_cpu_f32(a) && fy_cpu_f32(b) && fy_type_equal(&a->type, &b->type); }

/* The bias of a product: a vector as long as its last axis. */
static bool is_row(const fy_value *v, const fy_value *y) {
    return fy_cpu_f32(v) && v->type.rank == 1 && y->type.rank >= 1 && v->type.dim[0] == y->type.dim[y->type.rank - 1] && !fy_dim_is(v->type.dim[0], 1);
}

bool fy_cpu_matmul_fuse(fy_step *s, const fy_node *next, const fy_value **other) {
    const fy_value *y = s->out[0];
    if (s->epilogue.act) return false;
    if (!*next->op->domain && !strcmp(next->op->name, "Add") && next->nin == 2) {
        const fy_value *v = next->in[next->in[0].value == y].value;
        bool row = s->bias_in < 0 && s->add_in < 0 && v && v->constant && is_row(v, y);
        if (v == y || (!row && (s->add_in >= 0 || !same_type(v, y)))) return false;
        *(row ? &s->bias_in : &s->add_in) = s->nin;
        *other = v;
        return true;
    }
    return fy_cpu_activation(&s->epilogue, next);
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    const fy_value *b = s->in[1];
    packed *d = FY_NEW(a, packed);
    bool filled;
    FY_NOMEM(e, d);
    bool gemm = !strcmp(s->node->op->name, "Gemm"), trans = gemm && fy_attr_i(s->node, "transB");
    int nr = p->o.kernels->gemm_nr;
    d->k = b->constant->dim[trans];
    d->n = b->constant->dim[!trans];
    s->data = d;
    if (gemm && s->node->nin > 2 && s->in[2]) s->bias_in = 2;
    s->in[1] = NULL;                     /* packed: the constant itself is not read any more */
    d->trans = trans;
    if (p->lean && d->k * d->n >= LARGE && fy_cpu_const_view(&d->in_place, b->constant, false)) return FY_OK;
    d->b = fy_cpu_packed(p, (d->n + nr - 1) / nr * nr * d->k, &filled);
    FY_NOMEM(e, d->b);
    if (!filled) FY_TRY(fy_cpu_pack_matrix(p, d->b, b->constant, trans, e));
    return FY_OK;
}

typedef struct work { const fy_step *s; const fy_exec *x; fy_gemm_f32 g; fy_cpu_pieces p; } work;

fy_cpu_pieces fy_cpu_pieces_of(const fy_exec *x, int64_t batches, int64_t m, int64_t n, int nr, int64_t columns) {
    fy_cpu_pieces p = {.m = m, .n = n, .all = (n + nr - 1) / nr, .row_pieces = (m + 223) / 224, .panels = columns / nr, .most = columns / nr};
    int threads = fy_pool_threads(x->pool);
    p.rows = (m + p.row_pieces - 1) / p.row_pieces;
    if (threads > 1) {                                       /* equal pieces, eight for each thread: who is late is late by an eighth. A single row gains from panels side by side. */
        int64_t cuts = ((m > 1 ? 8 : 3) * threads + batches * p.row_pieces - 1) / (batches * p.row_pieces), most = (p.all + cuts - 1) / cuts;
        if (p.panels > most) p.panels = most;
    }
    p.row_pieces = (m + p.rows - 1) / p.rows;
    p.panel_pieces = (p.all + p.panels - 1) / p.panels;
    return p;
}

void fy_cpu_piece(const fy_cpu_pieces *p, int64_t i, int64_t *row, int64_t *row_end, int64_t *panel, int64_t *panel_end) {
    *row = i / p->panel_pieces * p->rows;
    *panel = i % p->panel_pieces * p->panels;
    *row_end = *row + p->rows < p->m ? *row + p->rows : p->m;
    *panel_end = *panel + p->panels < p->all ? *panel + p->panels : p->all;
}

void fy_cpu_pieces_next(const fy_cpu_pieces *p, int64_t *i, int64_t end, int64_t *row, int64_t *row_end, int64_t *panel, int64_t *panel_end) {
    fy_cpu_piece(p, (*i)++, row, row_end, panel, panel_end);
    for (int64_t r, r_end, next, next_end; *i < end; (*i)++, *panel_end = next_end) {
        fy_cpu_piece(p, *i, &r, &r_end, &next, &next_end);
        if (r != *row || next_end - *panel > p->most) return;
    }
}

void fy_cpu_finish_piece(const fy_step *s, const fy_exec *x, float *c, int64_t c_row, int64_t n, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end) {
    int64_t from = panel * x->k->gemm_nr, to = panel_end * x->k->gemm_nr < n ? panel_end * x->k->gemm_nr : n;
    if (from == 0 && to == n && c_row == n) fy_cpu_finish(s, x, c + row * n, (row_end - row) * n);
    else
        for (; s->epilogue.act > FY_ACT_CLAMP && row < row_end; row++) fy_cpu_finish(s, x, c + row * c_row + from, to - from);
}

static void piece(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t i = begin, r, r_end, p, p_end; i < end;) {
        fy_cpu_pieces_next(&w->p, &i, end, &r, &r_end, &p, &p_end);
        w->x->k->gemm_f32(&w->g, r, r_end, p, p_end);
        fy_cpu_finish_piece(w->s, w->x, w->g.c, w->g.c_row, w->g.n, r, r_end, p, p_end);
    }
}

void fy_cpu_multiply(const fy_step *s, const fy_exec *x, const fy_gemm_f32 *g) {
    work w = {s, x, *g, fy_cpu_pieces_of(x, 1, g->m, g->n, x->k->gemm_nr, FY_CPU_COLUMNS)};
    fy_for_runs(x->pool, w.p.row_pieces * w.p.panel_pieces, 1, false, piece, &w);
}

typedef struct part { const packed *d; float *to; int64_t first, n; int nr; } part;

/* As fy_gemm_pack_f32, from floats at any byte. */
static void pack_part(void *arg, int64_t begin, int64_t end) {
    const part *p = arg;
    const fy_tensor *b = &p->d->in_place;
    const int64_t size = (int64_t)sizeof(float), row = b->stride[p->d->trans] * size, col = b->stride[!p->d->trans] * size, k = p->d->k;
    for (int64_t j = begin; j < end; j++) {
        float *to = p->to + j * p->nr * k;
        const char *from = (const char *)b->data + (p->first + j * p->nr) * col;
        int64_t cols = p->n - j * p->nr < p->nr ? p->n - j * p->nr : p->nr;
        if (cols < p->nr) memset(to, 0, (size_t)(p->nr * k * size));
        if (col == size)
            for (int64_t i = 0; i < k; i++) memcpy(to + i * p->nr, from + i * row, (size_t)(cols * size));
        else
            for (int64_t at = 0; at < k; at += 16)                       /* lines of the target are filled while they are near */
                for (int64_t c = 0; c < cols; c++)
                    for (int64_t i = at; i < k && i < at + 16; i++) memcpy(to + i * p->nr + c, from + i * row + c * col, sizeof(float));
    }
}

/* Columns by columns: some panels are packed, then used by all rows. The same sums in the same order as with all of them. */
static fy_status multiply_in_place(const fy_step *s, const fy_gemm_f32 *all, fy_exec *x, ferry_error *e) {
    const packed *d = s->data;
    int nr = x->k->gemm_nr;
    int64_t panels = (d->n + nr - 1) / nr, most = PART / (nr * (d->k + 1)) + 1;
    part p = {.d = d, .nr = nr, .to = fy_exec_scratch(x, (size_t)(most * nr * d->k) * sizeof(float))};
    FY_NOMEM(e, p.to);
    for (int64_t at = 0; at < panels; at += most) {
        int64_t count = panels - at < most ? panels - at : most;
        fy_gemm_f32 g = *all;
        p.first = at * nr;
        p.n = d->n - p.first < count * nr ? d->n - p.first : count * nr;
        fy_for(x->pool, count, 1, pack_part, &p);
        g.b = p.to;
        g.n = p.n;
        g.c += p.first;
        if (g.e.bias) g.e.bias += p.first;
        if (g.e.add) g.e.add += p.first;
        fy_cpu_multiply(s, x, &g);
    }
    return FY_OK;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const packed *d = s->data;
    const fy_tensor *a = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    const fy_tensor *bias = s->bias_in >= 0 ? fy_step_in(s, x, s->bias_in) : NULL, *add = s->add_in >= 0 ? fy_step_in(s, x, s->add_in) : NULL;
    fy_gemm_f32 g = {.a = a->data, .b = d->b, .c = y->data, .m = 1, .n = d->n, .k = d->k, .a_row = d->k, .c_row = d->n, .e = s->epilogue};
    for (int i = 0; i + 1 < a->rank; i++) g.m *= a->dim[i];
    g.e.bias = bias ? bias->data : NULL;
    g.e.add = add ? add->data : NULL;
    if (!g.m || !g.n) return FY_OK;
    if (!d->b) return multiply_in_place(s, &g, x, e);
    fy_cpu_multiply(s, x, &g);
    return FY_OK;
}

/* ---- both operands are computed ------------------------------------------------------------------------------------------- */

static const char *can_batched(const fy_site *s) {
    const fy_value *a = fy_in(s->node, 0), *b = fy_in(s->node, 1);
    if (!fy_cpu_f32(a) || !fy_cpu_f32(b)) return "not f32";
    return a->type.rank < 1 || b->type.rank < 1 ? "an operand is a number" : NULL;
}

static bool fuse_batched(fy_step *s, const fy_node *next, const fy_value **other) {
    const fy_value *y = s->out[0];
    if (s->epilogue.act) return false;
    if (!*next->op->domain && !strcmp(next->op->name, "Add") && next->nin == 2) {
        const fy_value *v = next->in[next->in[0].value == y].value;
        if (v == y || s->add_in >= 0 || !same_type(v, y)) return false;
        s->add_in = s->nin;
        *other = v;
        return true;
    }
    return fy_cpu_activation(&s->epilogue, next);
}

typedef struct batch {
    const fy_step *s;
    const fy_exec *x;
    const float *a, *b, *add;
    float *y, *packed;
    int64_t m, n, k, panels, row_pieces, rows, b_row, b_col, each;
    fy_cpu_batches all;
} batch;

fy_cpu_batches fy_cpu_batches_of(const fy_tensor *y, const fy_tensor *a, int before_a, const fy_tensor *b, int before_b) {
    fy_cpu_batches w = {.rank = before_a > before_b ? before_a : before_b, .count = 1};
    for (int i = 0; i < w.rank; i++) {
        int ia = i - w.rank + before_a, ib = i - w.rank + before_b;
        w.dim[i] = y->dim[i];
        w.sa[i] = ia >= 0 && a->dim[ia] > 1 ? a->stride[ia] : 0;
        w.sb[i] = ib >= 0 && b->dim[ib] > 1 ? b->stride[ib] : 0;
        w.count *= y->dim[i];
    }
    return w;
}

int64_t fy_cpu_batch_at(const fy_cpu_batches *w, int64_t i, const int64_t *step) {
    int64_t at = 0;
    for (int r = w->rank - 1; r >= 0; r--) {
        at += i % w->dim[r] * step[r];
        i /= w->dim[r];
    }
    return at;
}

static void pack_batches(void *arg, int64_t begin, int64_t end) {
    const batch *w = arg;
    for (int64_t i = begin; i < end; i++) fy_gemm_pack_f32(w->packed + i * w->each, w->b + fy_cpu_batch_at(&w->all, i, w->all.sb), w->k, w->n, w->b_row, w->b_col, w->x->k->gemm_nr, 0, w->panels);
}

static void multiply_batches(void *arg, int64_t begin, int64_t end) {
    const batch *w = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i / w->row_pieces, row = i % w->row_pieces * w->rows, row_end = row + w->rows < w->m ? row + w->rows : w->m;
        fy_gemm_f32 g = {.a = w->a + fy_cpu_batch_at(&w->all, at, w->all.sa), .b = w->packed + at * w->each, .c = w->y + at * w->m * w->n, .m = w->m, .n = w->n, .k = w->k, .a_row = w->k, .c_row = w->n,
                         .e = w->s->epilogue};
        g.e.add = w->add ? w->add + at * w->m * w->n : NULL;
        w->x->k->gemm_f32(&g, row, row_end, 0, w->panels);
        fy_cpu_finish(w->s, w->x, g.c + row * w->n, (row_end - row) * w->n);
    }
}

/* A vector is a row on the left, a column on the right; the result lacks that axis. */
static fy_status run_batched(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *a = fy_step_in(s, x, 0), *b = fy_step_in(s, x, 1), *add = s->add_in >= 0 ? fy_step_in(s, x, s->add_in) : NULL;
    fy_tensor *y = fy_step_out(s, x, 0);
    bool row = a->rank == 1, col = b->rank == 1;
    int nr = x->k->gemm_nr, before_a = row ? 0 : a->rank - 2, before_b = col ? 0 : b->rank - 2;
    batch w = {.s = s, .x = x, .a = a->data, .b = b->data, .add = add ? add->data : NULL, .y = y->data, .m = row ? 1 : a->dim[a->rank - 2], .n = col ? 1 : b->dim[b->rank - 1],
               .k = a->dim[a->rank - 1], .all = fy_cpu_batches_of(y, a, before_a, b, before_b)};
    int64_t count = w.all.count, all;
    w.panels = (w.n + nr - 1) / nr;
    w.each = w.panels * nr * w.k;
    w.b_row = w.n;
    w.b_col = 1;
    if (!count || !w.m || !w.n) return FY_OK;
    FY_NEED(e, fy_mul_i64(&all, count, w.each) && fy_mul_i64(&all, all, (int64_t)sizeof(float)) && all <= x->max_bytes, LIMIT, "%lld products with %lld x %lld values", (long long)count, (long long)w.k, (long long)w.n);
    w.packed = fy_exec_scratch(x, (size_t)all + 64);
    FY_NOMEM(e, w.packed);
    w.row_pieces = (w.m + 223) / 224;
    w.rows = (w.m + w.row_pieces - 1) / w.row_pieces;
    w.row_pieces = (w.m + w.rows - 1) / w.rows;
    fy_for(x->pool, count, 1 + 32768 / (w.each + 1), pack_batches, &w);
    fy_for(x->pool, count * w.row_pieces, 1 + 500000 / (w.rows * w.n * (w.k + 1) + 1), multiply_batches, &w);
    return FY_OK;
}

static const fy_impl batched = {.op = "MatMul", .name = "matmul.batched", .can = can_batched, .fuse = fuse_batched, .run = run_batched};
static const fy_impl matmul = {.op = "MatMul", .name = "matmul.packed", .can = can, .fuse = fy_cpu_matmul_fuse, .prepare = prepare, .run = run};
static const fy_impl gemm = {.op = "Gemm", .name = "gemm.packed", .can = can, .fuse = fy_cpu_matmul_fuse, .prepare = prepare, .run = run};

const fy_impl *const fy_cpu_matmul[] = {&matmul, &gemm, &fy_cpu_matmul_bf16, &fy_cpu_gemm_bf16, &batched, &fy_cpu_gemm_general, NULL};
