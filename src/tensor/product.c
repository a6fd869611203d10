/* SPDX-License-Identifier: Apache-2.0
 * product.c - runs the tiles of a product, each with scratch memory of its own, on any thread in any order. */
#include "tensor/product.h"

#include <stdatomic.h>
#include <string.h>

#define MC_MOST 120                        /* FY_MR panels: 120 x 240 doubles of A are 225 KiB, within a core's own cache */
#define NC_MOST 256
#define SMALL ((double)(1 << 17))          /* multiplications that are not worth waking a thread for */

const fy_gemm_kernels *fy_gemm_kernels_for(fy_isa isa) {
#if defined(__x86_64__)
    if (isa >= FY_ISA_AVX2) return &fy_gemm_kernels_avx2;
#endif
    (void)isa;
    return &fy_gemm_kernels_generic;
}

typedef struct run {
    const fy_product *p;
    int64_t       tiles_m, tiles_n, a_len, b_len, ld;
    int           nslots;
    double      **slot;                    /* scratch: packed A, packed B, sums */
    _Atomic bool *taken;
} run;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

static void one_tile(const run *r, int64_t index, double *scratch) {
    const fy_product *p = r->p;
    int64_t per = r->tiles_m * r->tiles_n, batch = index / per;
    int64_t row = index % per / r->tiles_n * p->mc, col = index % r->tiles_n * p->nc;
    int64_t rows = least(p->m - row, p->mc), cols = least(p->n - col, p->nc), ld = r->ld;
    double *a = scratch, *b = a + r->a_len, *sums = b + r->b_len;
    if (p->k == 0) memset(sums, 0, (size_t)(rows * ld) * sizeof *sums);
    for (int64_t k0 = 0; k0 < p->k; k0 += FY_KC) {
        int64_t kc = least(p->k - k0, FY_KC);
        p->pack_b(p, b, batch, col, cols, k0, kc);
        for (int64_t i = 0; i < rows; i += FY_MR) p->pack_a(p, a + i * kc, batch, row + i, (int)least(rows - i, FY_MR), k0, kc);
        for (int64_t j = 0; j < cols; j += FY_NR)
            for (int64_t i = 0; i < rows; i += FY_MR)
                p->kernels->tile((int)least(rows - i, FY_MR), kc, a + i * kc, b + j * kc, sums + i * ld + j, ld, k0 == 0);
    }
    p->store(p, sums, ld, batch, row, rows, col, cols);
}

static void some_tiles(void *arg, int64_t begin, int64_t end) {
    run *r = arg;
    int s = 0;
    while (atomic_exchange_explicit(&r->taken[s], true, memory_order_acquire)) s = (s + 1) % r->nslots;   /* no more threads than slots */
    for (int64_t i = begin; i < end; i++) one_tile(r, i, r->slot[s]);
    atomic_store_explicit(&r->taken[s], false, memory_order_release);
}

fy_status fy_product_run(fy_product *p, fy_pool *pool, ferry_error *e) {
    if (p->batch <= 0 || p->m <= 0 || p->n <= 0) return FY_OK;
    int64_t mc = MC_MOST, nc = NC_MOST;
    if (p->m <= 2 * FY_MR) nc = 64;        /* few rows: the time goes into reading B once; keep the panels near */
    while (nc > 64 && p->batch * ((p->m - 1) / mc + 1) * ((p->n - 1) / nc + 1) < 16) nc /= 2;     /* pieces for several threads */
    while (mc > 30 && p->batch * ((p->m - 1) / mc + 1) * ((p->n - 1) / nc + 1) < 8) mc /= 2;
    p->mc = least(mc, round_up(p->m, FY_MR));
    p->nc = least(nc, round_up(p->n, FY_NR));
    int64_t kc = least(FY_KC, p->k);
    run r = { .p = p, .tiles_m = (p->m - 1) / p->mc + 1, .tiles_n = (p->n - 1) / p->nc + 1, .a_len = round_up(kc * p->mc, FY_NR),
        .b_len = kc * p->nc, .ld = p->nc };
    int64_t tiles = p->batch * r.tiles_m * r.tiles_n;
    if ((double)p->m * (double)p->n * (double)(p->k + 1) * (double)p->batch < SMALL) pool = NULL;
    r.nslots = (int)least(fy_pool_threads(pool), tiles);
    size_t len = (size_t)(r.a_len + r.b_len + p->mc * p->nc) * sizeof(double);
    fy_status s = FY_OK;
    r.slot = fy_calloc((size_t)r.nslots, sizeof *r.slot);
    r.taken = fy_calloc((size_t)r.nslots, sizeof *r.taken);
    if (!r.slot || !r.taken) s = fy_nomem(e);
    for (int i = 0; s == FY_OK && i < r.nslots; i++)
        if (!(r.slot[i] = fy_malloc_aligned(len)))
            s = fy_fail(e, FY_E_NOMEM, "out of memory: a matrix product needs %zu bytes for each thread", len);
    if (s == FY_OK) fy_for(pool, tiles, 1, some_tiles, &r);
    for (int i = 0; r.slot && i < r.nslots; i++) fy_free_aligned(r.slot[i]);
    fy_free(r.slot);
    fy_free(r.taken);
    return s;
}
