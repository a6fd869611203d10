/* SPDX-License-Identifier: Apache-2.0
 * nbits.c - com.microsoft's MatMulNBits of f32 by constant weights of 2, 4 or 8 bits with a scale (and zero point) for each block of a row:
 *   y[m, n] = Sum over k of a[m, k] (B[n, k] - zero[n, k / block]) scale[n, k / block] + bias[n]
 * Weights are packed once in panels of gemm_nr columns, two values to a byte (8 bits: one). A few rows meet them as they are (kernels/body/nbits.h); for more,
 * each panel becomes one of f32 for the product that all matrices have. */
#include "engines/cpu/cpu.h"

#include <string.h>

enum { A, B, SCALES, ZEROS, GROUPS, BIAS };
#define FEW_ROWS 5                       /* below, a panel is not worth its f32 */

typedef struct packed { uint8_t *w; float *scale, *zero; int64_t n, k, block, blocks, panel; int bits; } packed;       /* panel: bytes of one */

static const char *can(const fy_site *s) {
    const fy_node *n = s->node;
    const fy_value *z = fy_in(n, ZEROS), *bias = fy_in(n, BIAS);
    if (!fy_cpu_f32(fy_in(n, A)) || (bias && !fy_cpu_f32(bias))) return "not f32";
    if (!fy_in(n, B)->constant || !fy_in(n, SCALES)->constant || (z && !z->constant)) return "weights are not constant";
    if (!fy_in(n, B)->constant->count) return "no weights";
    return fy_in(n, GROUPS) ? "weights in another order" : NULL;
}

/* Elements of a constant as they lie in its file, or as f32. */
static fy_status read(void **to, const fy_const *c, bool f32, int64_t count, ferry_error *e) {
    FY_NEED(e, c->count == count, SHAPE, "%lld values where %lld are needed", (long long)c->count, (long long)count);
    *to = fy_malloc((size_t)count + 1, f32 ? sizeof(float) : 1);
    FY_NOMEM(e, *to);
    double v;
    if (!f32) return fy_const_read(c, 0, count, *to, e);
    for (int64_t i = 0; i < count; i++)
        if (fy_const_f64(c, i, &v)) ((float *)*to)[i] = (float)v;
    return FY_OK;
}

static int bits_at(const uint8_t *p, int64_t i, int bits) { return p[i * bits / 8] >> (i * bits % 8) & ((1 << bits) - 1); }

typedef struct packing { const packed *d; const uint8_t *b, *zero; const float *scale, *zeros; int nr; } packing;

static void pack(void *arg, int64_t begin, int64_t end) {
    const packing *w = arg;
    const packed *d = w->d;
    const int64_t zero_row = (d->blocks * d->bits + 7) / 8;
    for (int64_t j = begin * w->nr; j < end * w->nr && j < d->n; j++) {
        const int64_t at = j / w->nr, c = j % w->nr;
        uint8_t *to = d->w + at * d->panel + c;
        for (int64_t k = 0; k < d->k; k++) {
            int q = bits_at(w->b + (j * d->blocks + k / d->block) * (d->block * d->bits / 8), k % d->block, d->bits);
            if (d->bits == 8) to[k * w->nr] = (uint8_t)q;
            else to[k / 2 * w->nr] |= (uint8_t)(q << k % 2 * 4);
        }
        for (int64_t g = 0; g < d->blocks; g++) {
            const int64_t from = j * d->blocks + g, put = (at * d->blocks + g) * w->nr + c;
            d->scale[put] = w->scale[from];
            d->zero[put] = w->zeros ? w->zeros[from] : w->zero ? (float)bits_at(w->zero + j * zero_row, g, d->bits) : (float)(1 << (d->bits - 1));
        }
    }
}

static fy_status fill(const packed *d, const fy_node *n, fy_plan *p, ferry_error *e) {
    const fy_value *z = fy_in(n, ZEROS);
    const bool numbers = z && z->constant->dtype != FERRY_UINT8;
    void *b = NULL, *scale = NULL, *zero = NULL;
    fy_status s = read(&b, fy_in(n, B)->constant, false, d->n * d->blocks * (d->block * d->bits / 8), e);
    if (!s) s = read(&scale, fy_in(n, SCALES)->constant, true, d->n * d->blocks, e);
    if (!s && z) s = read(&zero, z->constant, numbers, numbers ? d->n * d->blocks : d->n * ((d->blocks * d->bits + 7) / 8), e);
    packing w = {.d = d, .b = b, .scale = scale, .zero = numbers ? NULL : zero, .zeros = numbers ? zero : NULL, .nr = p->o.kernels->gemm_nr};
    if (!s) fy_for(p->o.pool, (d->n + w.nr - 1) / w.nr, 1 + 65536 / (w.nr * d->k), pack, &w);
    fy_free(b);
    fy_free(scale);
    fy_free(zero);
    return s;
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    const fy_node *n = s->node;
    const int nr = p->o.kernels->gemm_nr;
    packed *d = FY_NEW(a, packed);
    bool filled;
    FY_NOMEM(e, d);
    d->n = fy_attr_i(n, "N");
    d->k = fy_attr_i(n, "K");
    d->block = fy_attr_i(n, "block_size");
    d->bits = (int)fy_attr_i(n, "bits");
    d->blocks = (d->k + d->block - 1) / d->block;
    d->panel = nr * (d->bits == 8 ? d->k : (d->k + 1) / 2);
    const int64_t panels = (d->n + nr - 1) / nr, numbers = panels * d->blocks * nr;
    FY_NEED(e, d->n <= INT64_MAX / 64 / (d->k + d->block), LIMIT, "%lld x %lld weights", (long long)d->n, (long long)d->k);
    FY_NOMEM(e, d->scale = fy_plan_packed(p, (size_t)(8 * numbers + panels * d->panel), &filled));
    d->zero = d->scale + numbers;
    d->w = (uint8_t *)(d->zero + numbers);
    s->data = d;
    if (!filled) FY_TRY(fill(d, n, p, e));
    for (int i = B; i <= ZEROS && i < s->nin; i++) s->in[i] = NULL;
    return FY_OK;
}

typedef struct work { const packed *d; const fy_exec *x; const float *a, *bias; float *y, *room; int64_t m, slots; } work;

static void panels(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    const packed *d = w->d;
    const fy_kernels *k = w->x->k;
    const int64_t nr = k->gemm_nr;
    for (int64_t slot = begin; slot < end; slot++)
        for (int64_t p = slot * ((d->n + nr - 1) / nr) / w->slots; p < (slot + 1) * ((d->n + nr - 1) / nr) / w->slots; p++) {
            const int64_t c = p * nr, n = d->n - c < nr ? d->n - c : nr;
            fy_nbits panel = {.w = d->w + p * d->panel, .scale = d->scale + p * d->blocks * nr, .zero = d->zero + p * d->blocks * nr, .k = d->k, .block = d->block, .halves = d->bits < 8};
            if (w->room) {
                float *to = w->room + slot * d->k * nr;
                fy_gemm_f32 g = {.a = w->a, .b = to, .c = w->y + c, .m = w->m, .n = n, .k = d->k, .a_row = d->k, .c_row = d->n, .e = {.bias = w->bias ? w->bias + c : NULL}};
                k->nbits_panel(to, &panel);
                k->gemm_f32(&g, 0, w->m, 0, 1);
                continue;
            }
            for (int64_t r = 0; r < w->m; r++) {
                float sum[64], *y = w->y + r * d->n + c;
                k->nbits_dot(sum, w->a + r * d->k, &panel);
                if (w->bias) k->binary[FY_ADD](y, sum, w->bias + c, n, 0);
                else memcpy(y, sum, (size_t)n * sizeof *y);
            }
        }
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const packed *d = s->data;
    const fy_tensor *a = fy_step_in(s, x, A), *bias = fy_step_in(s, x, BIAS);
    fy_tensor *y = fy_step_out(s, x, 0);
    const int64_t all = (d->n + x->k->gemm_nr - 1) / x->k->gemm_nr, threads = fy_pool_threads(x->pool);
    if (!fy_count(y)) return FY_OK;
    work w = {.d = d, .x = x, .a = a->data, .bias = bias ? bias->data : NULL, .y = y->data, .m = fy_count(y) / d->n};
    FY_NEED(e, a->dim[a->rank - 1] == d->k && (!bias || fy_count(bias) == d->n), SHAPE, "A or the bias does not fit weights of %lld x %lld", (long long)d->n, (long long)d->k);
    void *room = NULL;
    w.slots = all < 4 * threads ? all : 4 * threads;
    if (w.m >= FEW_ROWS) FY_TRY(fy_cpu_room(&room, x, (const int64_t[]){w.slots, d->k, x->k->gemm_nr, 4}, 4, e));
    w.room = room;
    fy_for(x->pool, w.slots, d->k * d->n * w.m < 65536 ? w.slots : 1, panels, &w);
    return FY_OK;
}

static const fy_impl few_bits = {.op = "MatMulNBits", .domain = "com.microsoft", .name = "matmul.nbits", .can = can, .prepare = prepare, .run = run};

const fy_impl *const fy_cpu_nbits[] = {&few_bits, NULL};
