/* SPDX-License-Identifier: Apache-2.0
 * gemm.c - the matrix product over strided views. */
#include "tensor/product.h"

typedef struct gemm { fy_mat c, a, b; double alpha, beta; } gemm;

/* dst[k*width + i] = element [i, k] of a matrix whose first index has stride `outer`, the second `step`. */
static void pack(const fy_gemm_kernels *g, double *dst, int width, const fy_mat *x, int64_t at, int64_t outer, int64_t step, int count,
    int64_t kc) {
    if (x->dtype == FERRY_FLOAT) g->pack_f32(dst, width, (const float *)x->at + at, outer, step, count, kc);
    else g->pack_f64(dst, width, (const double *)x->at + at, outer, step, count, kc);
}

static void pack_a(const fy_product *p, double *dst, int64_t batch, int64_t row, int rows, int64_t k0, int64_t kc) {
    const fy_mat *a = &((const gemm *)p->args)->a;
    (void)batch;
    pack(p->kernels, dst, rows, a, row * a->row + k0 * a->col, a->row, a->col, rows, kc);
}

static void pack_b(const fy_product *p, double *dst, int64_t batch, int64_t col, int64_t cols, int64_t k0, int64_t kc) {
    const fy_mat *b = &((const gemm *)p->args)->b;
    (void)batch;
    for (int64_t j = 0; j < cols; j += FY_NR)
        pack(p->kernels, dst + j * kc, FY_NR, b, (col + j) * b->col + k0 * b->row, b->col, b->row,
            (int)(cols - j < FY_NR ? cols - j : FY_NR), kc);
}

#define STORE(T) do { \
    T *c = (T *)g->c.at + row * g->c.row + col * g->c.col; \
    for (int64_t i = 0; i < rows; i++, c += g->c.row, sums += ld) { \
        if (alpha == 1.0 && beta == 0.0) for (int64_t j = 0; j < cols; j++) c[j * step] = (T)sums[j]; \
        else if (beta == 0.0) for (int64_t j = 0; j < cols; j++) c[j * step] = (T)(alpha * sums[j]); \
        else for (int64_t j = 0; j < cols; j++) c[j * step] = (T)(alpha * sums[j] + beta * (double)c[j * step]); \
    } } while (0)

static void store(const fy_product *p, const double *sums, int64_t ld, int64_t batch, int64_t row, int64_t rows, int64_t col,
    int64_t cols) {
    const gemm *g = p->args;
    double alpha = g->alpha, beta = g->beta;
    int64_t step = g->c.col;
    (void)batch;
    if (g->c.dtype == FERRY_FLOAT) STORE(float);
    else STORE(double);
}

/* One row of C: B is read once, so packing it would cost more than the sums. */
typedef struct one_row { fy_product p; const gemm *g; const double *a; } one_row;

static void some_columns(void *arg, int64_t begin, int64_t end) {
    const one_row *r = arg;
    const fy_mat *b = &r->g->b;
    double sums[FY_COLS];
    int n = (int)(end - begin);
    if (b->dtype == FERRY_FLOAT) r->p.kernels->row_f32(sums, r->a, (const float *)b->at + begin * b->col, b->col, b->row, n, r->p.k);
    else r->p.kernels->row_f64(sums, r->a, (const double *)b->at + begin * b->col, b->col, b->row, n, r->p.k);
    store(&r->p, sums, FY_COLS, 0, 0, 1, begin, n);
}

static fy_status run_row(const fy_product *p, const gemm *g, fy_pool *pool, ferry_error *e) {
    if (p->n <= 0) return FY_OK;
    double *a = fy_malloc_aligned((size_t)p->k * sizeof *a);
    FY_NOMEM(e, a);
    pack_a(p, a, 0, 0, 1, 0, p->k);
    one_row r = { *p, g, a };
    fy_for((double)p->n * (double)p->k < 65536.0 ? NULL : pool, p->n, p->n < 8 * FY_COLS ? FY_COLS / 4 : FY_COLS, some_columns, &r);
    fy_free_aligned(a);
    return FY_OK;
}

static int64_t padded(int64_t n) { return (n + FY_NR - 1) / FY_NR * FY_NR; }

fy_status fy_gemm_with(const fy_gemm_kernels *kernels, fy_mat c, fy_mat a, fy_mat b, int64_t m, int64_t n, int64_t k,
                       double alpha, double beta, fy_pool *pool, ferry_error *e) {
    FY_ASSERT((a.dtype == FERRY_FLOAT || a.dtype == FERRY_DOUBLE) && (b.dtype == FERRY_FLOAT || b.dtype == FERRY_DOUBLE));
    FY_ASSERT(c.dtype == FERRY_FLOAT || c.dtype == FERRY_DOUBLE);
    gemm g = { c, a, b, alpha, beta };
    if (n < m && (double)padded(m) * (double)n < (double)padded(n) * (double)m) {      /* few columns: C' = B' A' wastes less of the tile */
        g.c = (fy_mat){ c.at, c.dtype, c.col, c.row };
        g.a = (fy_mat){ b.at, b.dtype, b.col, b.row };
        g.b = (fy_mat){ a.at, a.dtype, a.col, a.row };
        int64_t t = m;
        m = n;
        n = t;
    }
    fy_product p = { .kernels = kernels, .batch = 1, .m = m, .n = n, .k = k, .args = &g, .pack_a = pack_a, .pack_b = pack_b,
        .store = store };
    return m == 1 ? run_row(&p, &g, pool, e) : fy_product_run(&p, pool, e);
}

fy_status fy_gemm(fy_mat c, fy_mat a, fy_mat b, int64_t m, int64_t n, int64_t k, double alpha, double beta, fy_pool *pool, ferry_error *e) {
    return fy_gemm_with(fy_gemm_kernels_for(fy_cpu_isa()), c, a, b, m, n, k, alpha, beta, pool, e);
}
