/* SPDX-License-Identifier: Apache-2.0
 * pack.c - how prepare() packs weights: memory that may come filled from the cache, and constants read a piece at a time by all threads, so that a
 * recipe (a folded batch norm) is computed where it is packed and never stands in memory as a whole. */
#include "engines/cpu/cpu.h"

#include "base/checked.h"

#include <stdatomic.h>

float *fy_cpu_packed(fy_plan *p, int64_t n, bool *filled) {
    size_t bytes;
    return n >= 0 && fy_mul_size(&bytes, (size_t)n, sizeof(float)) ? fy_plan_packed(p, bytes, filled) : NULL;
}

typedef struct packing {
    const fy_const  *c;
    const float     *direct;             /* the whole constant, where it can be read in place */
    int64_t          rows, inner;
    fy_cpu_pack_fn  *fn;
    void            *ctx;
    atomic_bool      failed;
} packing;

static void pack_piece(void *arg, int64_t begin, int64_t end) {
    packing *k = arg;
    int64_t n = (end - begin) * k->inner;
    if (k->direct) {
        fy_os_populate(k->direct + begin * k->inner, (size_t)n * sizeof(float));
        k->fn(k->ctx, k->direct + begin * k->inner, begin, end);
        return;
    }
    float *rows = fy_malloc((size_t)n + 1, sizeof *rows);
    if (rows && !fy_const_read(k->c, begin * k->inner, n, rows, NULL)) k->fn(k->ctx, rows, begin, end);
    else atomic_store(&k->failed, true);
    fy_free(rows);
}

fy_status fy_cpu_pack_rows(const fy_plan *p, const fy_const *c, int64_t rows, fy_cpu_pack_fn *fn, void *ctx, ferry_error *e) {
    FY_NEED(e, c->dtype == FERRY_FLOAT && c->rank >= 1, INTERNAL, "a weight is not f32");
    if (!c->count) return FY_OK;
    packing k = {.c = c, .direct = fy_const_direct(c), .rows = c->dim[0], .inner = c->count / c->dim[0], .fn = fn, .ctx = ctx};
    if ((uintptr_t)k.direct % sizeof(float)) k.direct = NULL;
    fy_for(p->o.pool, k.rows, rows, pack_piece, &k);
    FY_NOMEM(e, !atomic_load(&k.failed));
    return FY_OK;
}

/* ---- matrices ------------------------------------------------------------------------------------------------------------------ */

bool fy_cpu_const_view(fy_tensor *t, const fy_const *c, bool aligned) {
    const fy_const *in = c->kind == FY_CONST_STRIDED ? c->src[0] : c;
    const char *bytes = c->dtype == FERRY_FLOAT ? fy_const_direct(in) : NULL;
    if (!bytes || (aligned && (uintptr_t)bytes % sizeof(float))) return false;
    union { const char *in; void *out; } at = {bytes};                   /* constants are read only */
    *t = fy_tensor_view(c->dtype, c->rank, c->dim, at.out);
    if (in == c) return true;
    t->data = (char *)t->data + c->offset * (int64_t)sizeof(float);
    for (int i = 0; i < c->rank; i++) t->stride[i] = c->stride[i];
    return true;
}

typedef struct matrix { float *to; const float *from; int64_t k, n, row, col; int nr; } matrix;

static void pack_panels(void *arg, int64_t begin, int64_t end) {
    const matrix *m = arg;
    fy_gemm_pack_f32(m->to, m->from, m->k, m->n, m->row, m->col, m->nr, begin, end);
}

void fy_cpu_pack_panels(const fy_plan *p, float *to, const float *from, int64_t k, int64_t n, int64_t row, int64_t col) {
    int nr = p->o.kernels->gemm_nr;
    matrix m = {to, from, k, n, row, col, nr};
    fy_for(p->o.pool, (n + nr - 1) / nr, 1 + 65536 / (k * nr + 1), pack_panels, &m);
}

fy_status fy_cpu_pack_matrix(const fy_plan *p, float *to, const fy_const *c, bool trans, ferry_error *e) {
    fy_tensor t = {0};
    if (!fy_cpu_const_view(&t, c, true)) FY_TRY(fy_const_tensor(&t, c, e));
    fy_cpu_pack_panels(p, to, t.data, t.dim[trans], t.dim[!trans], t.stride[trans], t.stride[!trans]);
    fy_tensor_free(&t);
    return FY_OK;
}
