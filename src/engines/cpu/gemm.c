/* SPDX-License-Identifier: Apache-2.0
 * gemm.c - Gemm in full: either operand transposed, alpha and beta, a computed second operand, a C of any form that spreads over the result.
 *   y[m, n] = alpha A[m, k] B[k, n] + beta C      f32
 * B is packed for each run, times alpha; a transposed A and a beta C that is no row are put in order in scratch first. */
#include "engines/cpu/matmul.h"

#include "base/checked.h"

#include <string.h>

static const char *can(const fy_site *s) {
    const fy_node *n = s->node;
    const fy_value *c = fy_in(n, 2);
    for (int i = 0; i < 2; i++)
        if (!fy_cpu_f32(fy_in(n, i))) return "not f32";
    if (c && (!fy_cpu_f32(c) || c->type.rank > 2)) return "C is not f32 of at most two axes";
    return fy_in(n, 0)->type.rank == 2 && fy_in(n, 1)->type.rank == 2 ? NULL : "an operand is no matrix";
}

static bool fuse(fy_step *s, const fy_node *next, const fy_value **other) {
    (void)other;
    return !s->epilogue.act && fy_cpu_activation(&s->epilogue, next);
}

typedef struct work {
    const fy_exec *x;
    fy_gemm_f32    g;
    const float   *a, *b, *c;
    float         *packed, *turned, *more, alpha, beta;
    int64_t        b_step[2], c_step[2];
} work;

static void pack(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    int64_t nr = w->x->k->gemm_nr;
    fy_gemm_pack_f32(w->packed, w->b, w->g.k, w->g.n, w->b_step[0], w->b_step[1], (int)nr, begin, end);
    float *to = w->packed + begin * nr * w->g.k;
    if (w->alpha != 1) w->x->k->binary[FY_MUL](to, to, &w->alpha, (end - begin) * nr * w->g.k, 2);
}

/* Rows of A from its columns, 16 by 16 so that lines are used whole. */
static void turn(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t r = begin; r < end; r += 16)
        for (int64_t k = 0; k < w->g.k; k += 16)
            for (int64_t i = r; i < r + 16 && i < end; i++)
                for (int64_t j = k; j < k + 16 && j < w->g.k; j++) w->turned[i * w->g.k + j] = w->a[j * w->g.m + i];
}

static void spread(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    for (int64_t r = begin; r < end; r++)
        for (int64_t j = 0; j < w->g.n; j++) w->more[r * w->g.n + j] = w->beta * w->c[r * w->c_step[0] + j * w->c_step[1]];
}

/* C's steps over the result, 0 where an axis of one stands still. */
static fy_status place(work *w, const fy_tensor *c, ferry_error *e) {
    int64_t want[2] = {w->g.m, w->g.n};
    for (int i = 0; i < c->rank; i++) {
        int64_t d = c->dim[i], on = 2 - c->rank + i;
        FY_NEED(e, d == 1 || d == want[on], SHAPE, "C has size %lld where the result has %lld", (long long)d, (long long)want[on]);
        w->c_step[on] = d == 1 ? 0 : c->stride[i];
    }
    w->c = c->data;
    return FY_OK;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_node *n = s->node;
    const fy_tensor *a = fy_step_in(s, x, 0), *b = fy_step_in(s, x, 1), *c = n->nin > 2 ? fy_step_in(s, x, 2) : NULL;
    bool ta = fy_attr_i(n, "transA"), tb = fy_attr_i(n, "transB");
    work w = {.x = x, .a = a->data, .b = b->data, .alpha = (float)fy_attr_f(n, "alpha"), .beta = (float)fy_attr_f(n, "beta"),
              .g = {.a = a->data, .c = fy_step_out(s, x, 0)->data, .m = a->dim[ta], .n = b->dim[!tb], .k = a->dim[!ta], .e = s->epilogue}};
    int64_t nr = x->k->gemm_nr, panels = (w.g.n + nr - 1) / nr, bytes_b, bytes_a = 0, bytes_c = 0, all;
    w.g.a_row = w.g.k;
    w.g.c_row = w.g.n;
    w.b_step[0] = tb ? 1 : w.g.n;
    w.b_step[1] = tb ? w.g.k : 1;
    FY_NEED(e, b->dim[tb] == w.g.k, SHAPE, "A has %lld columns, B %lld rows", (long long)w.g.k, (long long)b->dim[tb]);
    if (!w.g.m || !w.g.n) return FY_OK;
    if (c && w.beta != 0) FY_TRY(place(&w, c, e));
    bool row = w.c && w.beta == 1 && w.c_step[0] == 0 && w.c_step[1] == 1;
    bool ok = fy_mul_i64(&bytes_b, panels * nr, w.g.k) && (!ta || fy_mul_i64(&bytes_a, w.g.m, w.g.k)) && (!w.c || row || fy_mul_i64(&bytes_c, w.g.m, w.g.n)) &&
              fy_add_i64(&all, bytes_b, bytes_a) && fy_add_i64(&all, all, bytes_c) && fy_mul_i64(&all, all, (int64_t)sizeof(float)) && all <= x->max_bytes;
    FY_NEED(e, ok, LIMIT, "%lld x %lld x %lld is too much", (long long)w.g.m, (long long)w.g.n, (long long)w.g.k);
    w.packed = fy_exec_scratch(x, (size_t)all + 64);
    FY_NOMEM(e, w.packed);
    w.turned = w.packed + bytes_b;
    w.more = w.turned + bytes_a;
    w.g.b = w.packed;
    fy_for(x->pool, panels, 1 + 32768 / (nr * (w.g.k + 1)), pack, &w);
    if (ta) {
        w.g.a = w.turned;
        fy_for(x->pool, w.g.m, 16 + 16384 / (w.g.k + 1), turn, &w);
    }
    if (row) w.g.e.bias = w.c;
    else if (w.c) {
        w.g.e.add = w.more;
        fy_for(x->pool, w.g.m, 1 + 16384 / w.g.n, spread, &w);
    }
    fy_cpu_multiply(s, x, &w.g);
    return FY_OK;
}

const fy_impl fy_cpu_gemm_general = {.op = "Gemm", .name = "gemm.general", .can = can, .fuse = fuse, .run = run};
