/* SPDX-License-Identifier: Apache-2.0
 * kernel_bench.c - how fast kernels are, in CPU time of this thread, best of several: products and convolutions as a share of what FMAs in
 * registers reach in the same run, the others as a share of copying the same floats (both in the first-level cache). */
#include "check/kernels.h"

#include "base/checked.h"
#include "base/os.h"
#include "formats/json.h"

#include <string.h>

enum { LEAST_RUNS = 7 };
#define ENOUGH 0.15                      /* seconds that each figure takes */

typedef struct bench { const fy_kernels *k; fy_report *r; fy_jsonw *w; double peak, dots, copy; ferry_error *e; const fy_kernel_options *o; } bench;

typedef void work_fn(const fy_kernels *k, void *arg);

/* Seconds of the fastest run. */
static double best_of(const fy_kernels *k, work_fn *f, void *arg) {
    double best = 1e30, all = 0;
    for (int i = 0; i < LEAST_RUNS || all < ENOUGH; i++) {
        double t = fy_os_thread_seconds();
        f(k, arg);
        t = fy_os_thread_seconds() - t;
        all += t > 1e-9 ? t : 1e-9;
        if (t < best) best = t;
    }
    return best > 1e-9 ? best : 1e-9;
}

static void tell(bench *b, const char *kernel, const char *shape, double rate, const char *unit, double share) {
    fy_jsonw_object(b->w, NULL);
    fy_jsonw_str(b->w, "kernel", kernel);
    fy_jsonw_str(b->w, "shape", shape);
    fy_jsonw_num(b->w, unit[1] == 'F' ? "gflops" : unit[1] == 'O' ? "gops" : "gbytes", rate);
    fy_jsonw_num(b->w, "share", share);
    fy_jsonw_end_object(b->w);
    fy_buf_fmt(&b->r->text, "  %-16s %-38s %8.1f %s %5.1f%%\n", kernel, shape, rate, unit, 100 * share);
}

static bool chosen(const bench *b, const char *name) { return !b->o->only || strstr(name, b->o->only); }

static float *numbers(int64_t n, uint64_t seed) {
    float *x = fy_malloc_aligned(((size_t)n + 16) * sizeof *x);
    for (int64_t i = 0; x && i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(seed >> 32) * 0x1p-31f;
    }
    return x;
}

/* ---- the roofs ------------------------------------------------------------------------------------------------------------- */

static void run_peak(const fy_kernels *k, void *arg) { *(double *)arg = k->fma_peak(k->isa == FY_ISA_GENERIC ? 50000 : 500000); }

typedef struct run { float *y; const float *a, *b; int64_t n, times; int op; float p[2]; } run;

static void run_unary(const fy_kernels *k, void *arg) {
    const run *r = arg;
    for (int64_t i = 0; i < r->times; i++) k->unary[r->op](r->y, r->a, r->n, r->p);
}
static void run_binary(const fy_kernels *k, void *arg) {
    const run *r = arg;
    for (int64_t i = 0; i < r->times; i++) k->binary[r->op](r->y, r->a, r->b, r->n, 0);
}
static void run_softmax(const fy_kernels *k, void *arg) {
    const run *r = arg;
    for (int64_t i = 0; i < r->times; i++) k->softmax_rows(r->y, r->a, 5, r->n / 5);
}
static void run_norm(const fy_kernels *k, void *arg) {
    const run *r = arg;
    for (int64_t i = 0; i < r->times; i++) k->norm_rows(r->y, r->a, 5, r->n / 5, r->b, r->b, 1e-5f, false, NULL, NULL);
}

static fy_status flat(bench *b) {
    enum { N = 1920, TIMES = 400 };
    static const char *const unary[] = {
#define KERNEL(slot, signature, ulps, floor)
#define BINARY(OP, name)
#define UNARY(ACT, name, ulps, floor) #name,
#include "kernels/kernels.def"
#undef UNARY
    };
    static const char *const binary[] = {
#undef BINARY
#define BINARY(OP, name) #name,
#define UNARY(ACT, name, ulps, floor)
#include "kernels/kernels.def"
#undef KERNEL
#undef BINARY
#undef UNARY
    };
    float *x = numbers(N, 1), *z = numbers(N, 2), *y = numbers(N, 3);
    fy_status st = FY_OK;
    if (!x || !y || !z) st = fy_nomem(b->e);
    else {
        run r = {.y = y, .a = x, .b = z, .n = N, .times = TIMES, .p = {0.5f, 1}};
        double bytes = 2.0 * N * TIMES * sizeof *x;
        for (int i = 0; i < 3; i++) {
            double g = bytes / best_of(b->k, run_unary, &r) * 1e-9;
            if (g > b->copy) b->copy = g;
        }
        for (int i = 0; i < FY_ACT_COUNT; i++) {
            r.op = i;
            double g = chosen(b, unary[i]) ? bytes / best_of(b->k, run_unary, &r) * 1e-9 : 0;
            if (g > 0) tell(b, unary[i], "1920", g, "GB/s", g / b->copy);
        }
        for (int i = 0; i < FY_BINARY_COUNT; i++) {
            r.op = i;
            double g = chosen(b, binary[i]) ? 1.5 * bytes / best_of(b->k, run_binary, &r) * 1e-9 : 0;
            if (g > 0) tell(b, binary[i], "1920", g, "GB/s", g / b->copy);
        }
        double g = chosen(b, "softmax_rows") ? bytes / best_of(b->k, run_softmax, &r) * 1e-9 : 0;
        if (g > 0) tell(b, "softmax_rows", "5 rows of 384", g, "GB/s", g / b->copy);
        g = chosen(b, "norm_rows") ? bytes / best_of(b->k, run_norm, &r) * 1e-9 : 0;
        if (g > 0) tell(b, "norm_rows", "5 rows of 384", g, "GB/s", g / b->copy);
    }
    fy_free_aligned(x);
    fy_free_aligned(y);
    fy_free_aligned(z);
    return st;
}

/* ---- products -------------------------------------------------------------------------------------------------------------- */

/* How fast 2 m n k operations are, by `once`. */
static fy_status tell_product(bench *b, const char *slot, void (*once)(const fy_kernels *k, void *arg), void *g, int64_t m, int64_t n, int64_t k, const char *what) {
    fy_buf shape = {0};
    double rate = 2e-9 * (double)m * (double)n * (double)k / best_of(b->k, once, g);
    fy_buf_fmt(&shape, "%lldx%lldx%lld %s", (long long)m, (long long)n, (long long)k, what);
    fy_status st = shape.oom ? fy_nomem(b->e) : FY_OK;
    if (!st) tell(b, slot, shape.at, rate, "GFLOP/s", rate / b->peak);
    fy_buf_free(&shape);
    return st;
}

static void run_gemm(const fy_kernels *k, void *arg) {
    const fy_gemm_f32 *g = arg;
    k->gemm_f32(g, 0, g->m, 0, (g->n + k->gemm_nr - 1) / k->gemm_nr);
}

static fy_status gemm(bench *b, int64_t m, int64_t n, int64_t k, const char *what) {
    int64_t nr = b->k->gemm_nr, panels = (n + nr - 1) / nr;
    float *a = numbers(m * k, 1), *w = numbers(n * k, 2), *packed = numbers(panels * nr * k, 3), *c = numbers(m * n, 4);
    fy_status st = FY_OK;
    if (!a || !w || !packed || !c) st = fy_nomem(b->e);
    else {
        fy_gemm_f32 g = {.a = a, .b = packed, .c = c, .m = m, .n = n, .k = k, .a_row = k, .c_row = n};
        fy_gemm_pack_f32(packed, w, k, n, n, 1, (int)nr, 0, panels);
        st = tell_product(b, "gemm_f32", run_gemm, &g, m, n, k, what);
    }
    fy_free_aligned(a);
    fy_free_aligned(w);
    fy_free_aligned(packed);
    fy_free_aligned(c);
    return st;
}

static void run_bf16(const fy_kernels *k, void *arg) {
    const fy_gemm_bf16 *g = arg;
    k->gemm_bf16(g, 0, g->m, 0, (g->n + k->gemm_nr - 1) / k->gemm_nr);
}

static fy_status gemm_bf16(bench *b, int64_t m, int64_t n, int64_t k, const char *what) {
    int64_t nr = b->k->gemm_nr, panels = (n + nr - 1) / nr, row = k * b->k->bf16_bytes + 64;
    float *x = numbers(m * k, 1), *w = numbers(n * k, 2), *packed = numbers(panels * nr * k / 2, 3), *c = numbers(m * n, 4), *a = numbers(m * row / 4, 5);
    fy_status st = FY_OK;
    if (!x || !a || !w || !packed || !c) st = fy_nomem(b->e);
    else {
        fy_gemm_bf16 g = {.a = a, .b = (const uint16_t *)(const void *)packed, .c = c, .m = m, .n = n, .k = k, .a_row = row, .c_row = n};
        fy_gemm_pack_bf16((uint16_t *)(void *)packed, w, k, n, n, 1, (int)nr, 0, panels);
        for (int64_t i = 0; i < m; i++) b->k->bf16_rows((char *)a + i * row, x + i * k, k);
        st = tell_product(b, "gemm_bf16", run_bf16, &g, m, n, k, what);
    }
    fy_free_aligned(x);
    fy_free_aligned(a);
    fy_free_aligned(w);
    fy_free_aligned(packed);
    fy_free_aligned(c);
    return st;
}

/* ---- convolutions ---------------------------------------------------------------------------------------------------------- */

typedef struct layer { const char *name; int64_t cin, cout, size, kernel, stride; bool depthwise; } layer;

static const layer layers[] = {
    {"conv2.x 1x1 in", 256, 64, 56, 1, 1, false},   {"conv2.x 3x3", 64, 64, 56, 3, 1, false},      {"conv2.x 1x1 out", 64, 256, 56, 1, 1, false},
    {"conv3.x 1x1 in", 512, 128, 28, 1, 1, false},  {"conv3.x 3x3", 128, 128, 28, 3, 1, false},    {"conv3.x 1x1 out", 128, 512, 28, 1, 1, false},
    {"conv4.x 1x1 in", 1024, 256, 14, 1, 1, false}, {"conv4.x 3x3", 256, 256, 14, 3, 1, false},    {"conv4.x 1x1 out", 256, 1024, 14, 1, 1, false},
    {"conv5.x 1x1 in", 2048, 512, 7, 1, 1, false},  {"conv5.x 3x3", 512, 512, 7, 3, 1, false},     {"conv5.x 1x1 out", 512, 2048, 7, 1, 1, false},
    {"conv3.1 3x3/2", 128, 128, 28, 3, 2, false},   {"depthwise 3x3", 384, 384, 14, 3, 1, true},   {"depthwise 3x3/2", 144, 144, 28, 3, 2, true},
};

typedef struct conv_run { fy_conv_c16 c; int64_t groups; bool depthwise; } conv_run;

static void run_conv(const fy_kernels *k, void *arg) {
    const conv_run *r = arg;
    for (int64_t g = 0; g < r->groups; g++) (r->depthwise ? k->depthwise_c16 : k->conv_c16)(&r->c, g, 0, r->c.out[0]);
}

static fy_status conv(bench *b, const layer *l) {
    int64_t nr = l->depthwise ? FY_LANES : b->k->gemm_nr, groups = (l->cout + nr - 1) / nr, in = (l->size - 1) * l->stride + l->kernel;
    int64_t per = l->kernel * l->kernel * (l->depthwise ? 1 : l->cin) * nr;
    float *x = numbers(in * in * l->cin, 1), *w = numbers(groups * per, 2), *y = numbers(l->size * l->size * groups * nr, 3);
    fy_status st = FY_OK;
    if (!x || !w || !y) st = fy_nomem(b->e);
    else {
        conv_run r = {.groups = groups, .depthwise = l->depthwise, .c = {.x = x, .w = w, .y = y, .lanes = FY_LANES, .in_blocks = l->cin / FY_LANES, .out_blocks = l->cout / FY_LANES,
                      .kernel = {l->kernel, l->kernel}, .out = {l->size, l->size}, .w_group = per, .pixels = l->size * l->size, .x_block = in * in * FY_LANES,
                      .y_block = l->size * l->size * FY_LANES, .x_step = {l->stride * in * FY_LANES, l->stride * FY_LANES}, .tap = {in * FY_LANES, FY_LANES}}};
        if (l->kernel == 1) {                                    /* the engine runs these as one row of pixels */
            r.c.out[0] = 1;
            r.c.out[1] = r.c.pixels;
        }
        double flops = 2.0 * (double)(l->size * l->size * l->kernel * l->kernel) * (double)(l->depthwise ? 1 : l->cin) * (double)l->cout;
        double rate = 1e-9 * flops / best_of(b->k, run_conv, &r);
        fy_buf shape = {0};
        fy_buf_fmt(&shape, "%lld>%lld %lldx%lld %s", (long long)l->cin, (long long)l->cout, (long long)l->size, (long long)l->size, l->name);
        if (shape.oom) st = fy_nomem(b->e);
        else tell(b, l->depthwise ? "depthwise_c16" : "conv_c16", shape.at, rate, "GFLOP/s", rate / b->peak);
        fy_buf_free(&shape);
    }
    fy_free_aligned(x);
    fy_free_aligned(w);
    fy_free_aligned(y);
    return st;
}

/* ---- over bytes ------------------------------------------------------------------------------------------------------------ */

static void run_dots(const fy_kernels *k, void *arg) { *(double *)arg = k->dot_peak(k->isa == FY_ISA_GENERIC ? 20000 : 200000); }

typedef struct bytes_run { fy_product_u8s8 p; int64_t groups; bool depthwise; } bytes_run;

static void run_bytes(const fy_kernels *k, void *arg) {
    const bytes_run *r = arg;
    for (int64_t g = 0; g < r->groups; g++) (r->depthwise ? k->depthwise_u8s8 : k->product_u8s8)(&r->p, g, 0, r->p.out[0]);
}

/* A product of matrices (size 0: pixels x cin by cin x cout), or a convolution. */
static fy_status over_bytes(bench *b, const layer *l, int64_t pixels) {
    const int64_t nr = l->depthwise ? FY_LANES : b->k->int8_nr, groups = (l->cout + nr - 1) / nr, in = (l->size - 1) * l->stride + l->kernel, taps = l->kernel * l->kernel;
    const int64_t all = l->size ? l->size * l->size : pixels, per = (l->depthwise ? l->kernel * ((l->kernel + 3) / 4) * 4 : l->cin * taps) * nr;
    const int64_t x_bytes = l->size ? in * in * l->cin + 64 : pixels * l->cin;
    float *room = numbers((x_bytes + groups * per + all * groups * nr) / 4 + 48 + 2 * groups * nr, 1);
    FY_NOMEM(b->e, room);
    uint8_t *x = (uint8_t *)room, *w = x + (x_bytes + 63) / 64 * 64, *y = w + groups * per;
    int32_t *start = (int32_t *)(void *)(y + (all * groups * nr + 63) / 64 * 64);
    float *scale = (float *)(start + groups * nr);
    for (int64_t i = 0; i < groups * nr; i++) {
        start[i] = 0;
        scale[i] = 0.001f;
    }
    bytes_run r = {.groups = groups, .depthwise = l->depthwise, .p = {.x = x, .w = (int8_t *)w, .y = y, .lanes = l->size ? FY_LANES : l->cin, .in_blocks = l->size ? l->cin / FY_LANES : 1, .kernel = {l->kernel, l->kernel},
                   .out = {l->size, l->size}, .w_group = per, .pixels = all, .columns = l->cout, .y_pixel = l->size ? FY_LANES : l->cout, .y_block = l->size ? all * FY_LANES : FY_LANES, .x_block = in * in * FY_LANES,
                   .x_step = {l->stride * in * FY_LANES, l->size ? l->stride * FY_LANES : l->cin}, .tap = {in * FY_LANES, FY_LANES},
                   .q = {.put = FY_PUT_BYTE, .start = start, .scale = scale, .lo = 0, .hi = 255}}};
    if (l->kernel == 1) {
        r.p.out[0] = 1;
        r.p.out[1] = all;
    }
    double rate = 2e-9 * (double)(all * taps) * (double)(l->depthwise ? 1 : l->cin) * (double)l->cout / best_of(b->k, run_bytes, &r);
    fy_buf shape = {0};
    if (l->size) fy_buf_fmt(&shape, "%lld>%lld %lldx%lld %s", (long long)l->cin, (long long)l->cout, (long long)l->size, (long long)l->size, l->name);
    else fy_buf_fmt(&shape, "%lldx%lldx%lld %s", (long long)pixels, (long long)l->cout, (long long)l->cin, l->name);
    fy_status st = shape.oom ? fy_nomem(b->e) : FY_OK;
    if (!st) tell(b, l->depthwise ? "depthwise_u8s8" : "product_u8s8", shape.at, rate, "GOP/s  ", rate / b->dots);
    fy_buf_free(&shape);
    fy_free_aligned(room);
    return st;
}

fy_status fy_kernels_bench(fy_report *r, fy_jsonw *w, const fy_kernels *k, const fy_kernel_options *o, ferry_error *e) {
    static const struct { int64_t m, n, k; const char *what; } products[] = {
        {1024, 1024, 1024, ""}, {196, 256, 1024, "ResNet-50 conv4"}, {49, 512, 2048, "ResNet-50 conv5"}, {128, 384, 384, "MiniLM"}, {128, 1536, 384, "MiniLM"},
        {128, 384, 1536, "MiniLM"}, {197, 768, 3072, "ViT-B/16"}, {197, 3072, 768, "ViT-B/16"}, {197, 768, 768, "ViT-B/16"}, {197, 2304, 768, "ViT-B/16"}, {128, 768, 768, "BERT"}, {1, 3072, 768, "GPT-2 step"},
    };
    bench b = {.k = k, .r = r, .w = w, .e = e, .o = o};
    double done = 0, seconds = best_of(k, run_peak, &done);
    b.peak = done / seconds * 1e-9;
    seconds = best_of(k, run_dots, &done);
    b.dots = done / seconds * 1e-9;
    fy_jsonw_object(w, NULL);
    fy_jsonw_str(w, "isa", fy_isa_name(k->isa));
    fy_jsonw_num(w, "peak_gflops", b.peak);
    fy_jsonw_num(w, "peak_gops", b.dots);
    fy_buf_fmt(&r->text, FY_BOLD "%s" FY_OFF ": %.1f GFLOP/s of FMAs, %.1f GOP/s of products of bytes in registers\n", fy_isa_name(k->isa), b.peak, b.dots);
    fy_jsonw_array(w, "results");
    for (int i = 0; i < FY_COUNT(products) && chosen(&b, "gemm_f32"); i++) {
        if (o->progress) o->progress(o->ctx, "gemm_f32", (double)i / FY_COUNT(products));
        FY_TRY(gemm(&b, products[i].m, products[i].n, products[i].k, products[i].what));
    }
    for (int i = 0; i < FY_COUNT(products) && chosen(&b, "gemm_bf16"); i++) {
        if (o->progress) o->progress(o->ctx, "gemm_bf16", (double)i / FY_COUNT(products));
        FY_TRY(gemm_bf16(&b, products[i].m, products[i].n, products[i].k, products[i].what));
    }
    for (int i = 0; i < FY_COUNT(layers); i++) {
        if (o->progress) o->progress(o->ctx, layers[i].name, (double)i / FY_COUNT(layers));
        if (chosen(&b, layers[i].depthwise ? "depthwise_c16" : "conv_c16")) FY_TRY(conv(&b, &layers[i]));
    }
    for (int i = 0; i < FY_COUNT(products) && chosen(&b, "product_u8s8"); i++)
        FY_TRY(over_bytes(&b, &(layer){.name = products[i].what, .cin = products[i].k, .cout = products[i].n, .kernel = 1, .stride = 1}, products[i].m));
    for (int i = 0; i < FY_COUNT(layers); i++)
        if (chosen(&b, layers[i].depthwise ? "depthwise_u8s8" : "product_u8s8")) FY_TRY(over_bytes(&b, &layers[i], 0));
    FY_TRY(flat(&b));
    fy_jsonw_end_array(w);
    fy_jsonw_num(w, "copy_gbytes", b.copy);
    fy_jsonw_end_object(w);
    return FY_OK;
}
