/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_int8.c - quantised graphs, with QuantizeLinear and DequantizeLinear around float operators, run over bytes by our engine, against the
 * reference kernels node by node. Sums are exact; where they are quantised a result may be one step off, in rare elements next to the middle of
 * two steps. On each instruction set; with 1 to 3 threads the bits are the same; no step is left to a reference kernel. */
#include "engines/both.h"

#include "plan/plan.h"

/* Scales have no short ratios: where they do, every other product is a tie, and what it rounds to hangs on the roundings of the f32 graph. */
static uint32_t seed;
static int draw(int lo, int hi) {
    seed = seed * 1664525u + 1013904223u;
    return lo + (int)(seed >> 8) % (hi - lo + 1);
}

/* ---- running ----------------------------------------------------------------------------------------------------------------- */

static void open_with(both_rig *r, const char *body, const char *engine, int threads) {
    ferry_error e;
    r->m = model_of(body);
    r->engine = fy_engine_find(engine);
    assert_non_null(r->engine);
    if (r->engine->compile(&r->c, r->m, &(fy_engine_options){.threads = threads}, &e)) fail_msg("%s in %s", e.text, body);
    assert_ok(r->engine->session(&r->s, r->c, &e), e);
}

/* Bytes at most one step apart, and few of them; f32 within its rounding. */
static void near8(const fy_tensor *a, const fy_tensor *b, const char *body) {
    int64_t off = 0, n = fy_count(a);
    assert_int_equal(a->dtype, b->dtype);
    if (!fy_same_dims(a, b)) fail_msg("sizes differ in %s", body);
    for (int64_t i = 0; i < n; i++) {
        double x = fy_get_f64(a, i), y = fy_get_f64(b, i);
        if (x == y) continue;
        if (a->dtype == FERRY_FLOAT ? fabs(x - y) > 2e-5 * (1 + fabs(y)) : a->dtype == FERRY_INT32 || fabs(x - y) > 1)
            fail_msg("element %lld: %.9g, the reference has %.9g; of %s", (long long)i, x, y, body);
        off += a->dtype != FERRY_FLOAT;
    }
    if (off > 1 + n / 200) fail_msg("%lld of %lld elements are one step off in %s", (long long)off, (long long)n, body);
}

static int count_steps(const both_rig *r, const char *name) {
    const fy_plan *p = r->engine->plan(r->c);
    int n = 0;
    for (int64_t i = 0; i < p->steps.n; i++) n += !strcmp(p->steps.at[i]->impl->name, name);
    return n;
}

/* `steps` (may be NULL) of the implementation `name`, and none of the reference kernels. */
static void quantised(const char *body, const char *name, int steps, const int64_t *sizes, int nsizes) {
    both_rig ref, fast[3];
    open_with(&ref, body, "reference", 2);
    for (int t = 0; t < 3; t++) open_with(&fast[t], body, "ferry", t + 1);
    if (name && count_steps(&fast[0], name) != steps) fail_msg("%d steps of %s instead of %d in %s", count_steps(&fast[0], name), name, steps, body);
    if (name && count_steps(&fast[0], "reference")) fail_msg("a reference kernel runs in %s", body);
    for (int s = 0; s < nsizes; s++) {
        ferry_error e;
        fy_rval in[BOTH_MOST] = {{0}}, out[3][BOTH_MOST] = {{{0}}}, want[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
        both_fill(in, ref.m, sizes[s], s);
        for (int i = 0; i < BOTH_MOST; i++) at[i] = &in[i];
        if (ref.engine->run(ref.s, at, want, &e)) fail_msg("%s in %s", e.text, body);
        for (int t = 0; t < 3; t++) {
            if (fast[t].engine->run(fast[t].s, at, out[t], &e)) fail_msg("%s in %s", e.text, body);
            for (int64_t i = 0; i < ref.m->graph->out.n; i++) {
                near8(&out[t][i].t, &want[i].t, body);
                size_t bytes = (size_t)(fy_count(&want[i].t) * fy_elem_bytes(want[i].t.dtype));
                if (t && bytes && memcmp(out[t][i].t.data, out[0][i].t.data, bytes)) fail_msg("bits depend on the number of threads in %s", body);
            }
        }
        for (int i = 0; i < BOTH_MOST; i++) {
            fy_rval_free(&in[i]);
            fy_rval_free(&want[i]);
            for (int t = 0; t < 3; t++) fy_rval_free(&out[t][i]);
        }
    }
    both_close(&ref);
    for (int t = 0; t < 3; t++) both_close(&fast[t]);
}

static void quantised_few(const char *body, const char *name, int steps) { quantised(body, name, steps, (const int64_t[]){1, 3, 2}, 3); }

/* ---- models as text ------------------------------------------------------------------------------------------------------------ */

static void list(fy_buf *t, int64_t n, int lo, int hi) {
    for (int64_t i = 0; i < n; i++) fy_buf_fmt(t, "%s%d", i ? ", " : "", draw(lo, hi));
}

static void scales(fy_buf *t, int64_t n, double least) {
    for (int64_t i = 0; i < n; i++) fy_buf_fmt(t, "%s%.9g", i ? ", " : "", least * (1 + draw(0, 1 << 20) * 0.0000019));
}

typedef struct layer { int c, h, w, m, kh, kw, stride, pad, dilation, group, x_zero, y_zero; bool s8, u8_weights, per_tensor, bias, relu; } layer;

/* The constants of a convolution, named with the prefix. */
static void constants(fy_buf *t, const layer *l, const char *name) {
    const int per = l->c / l->group * l->kh * l->kw;
    fy_buf_fmt(t, "%s[%d,%d,%d,%d] %sw = {", l->u8_weights ? "uint8" : "int8", l->m, l->c / l->group, l->kh, l->kw, name);
    if (l->u8_weights) list(t, l->m * per, 1, 255);
    else list(t, l->m * per, -127, 127);
    if (l->per_tensor) fy_buf_fmt(t, "}, float %sws = {0.01308997}, %s %swz = {%d}", name, l->u8_weights ? "uint8" : "int8", name, l->u8_weights ? 128 : 0);
    else {
        fy_buf_fmt(t, "}, float[%d] %sws = {", l->m, name);
        scales(t, l->m, 0.005);
        fy_buf_fmt(t, "}, %s[%d] %swz = {", l->u8_weights ? "uint8" : "int8", l->m, name);
        list(t, l->m, l->u8_weights ? 128 : 0, l->u8_weights ? 128 : 0);
        fy_buf_str(t, "}");
    }
    fy_buf_fmt(t, ", int32[%d] %sb = {", l->m, name);
    list(t, l->m, -4000, 4000);
    fy_buf_fmt(t, "}, float %sbs = {0.0002}", name);
}

static void convolution(const layer *l) {
    fy_buf t = {0};
    const char *type = l->s8 ? "int8" : "uint8";
    const double step = 0.01 * sqrt((double)(l->c / l->group * l->kh * l->kw)) * 0.5;
    fy_buf_fmt(&t, "(float[n,%d,%d,%d] x) => (y) <float xs = {0.01571839}, %s xz = {%d}, float ys = {%.9g}, %s yz = {%d}, ", l->c, l->h, l->w, type, l->s8 ? l->x_zero - 128 : l->x_zero, step, type,
               l->s8 ? l->y_zero - 128 : l->y_zero);
    constants(&t, l, "");
    fy_buf_str(&t, "> { q = QuantizeLinear (x, xs, xz) d = DequantizeLinear (q, xs, xz) dw = DequantizeLinear <axis = 0> (w, ws, wz) ");
    if (l->bias) fy_buf_str(&t, "db = DequantizeLinear (b, bs) ");
    fy_buf_fmt(&t, "c = Conv <kernel_shape = [%d, %d], strides = [%d, %d], pads = [%d, %d, %d, %d], dilations = [%d, %d], group = %d> (d, dw%s) ", l->kh, l->kw, l->stride, l->stride, l->pad, l->pad, l->pad,
               l->pad, l->dilation, l->dilation, l->group, l->bias ? ", db" : "");
    fy_buf_str(&t, l->relu ? "r = Relu (c) y = QuantizeLinear (r, ys, yz) }" : "y = QuantizeLinear (c, ys, yz) }");
    assert_false(t.oom);
    quantised_few(t.at, "conv.u8s8", 1);
    fy_buf_free(&t);
}

static void test_convolutions(void **state) {
    (void)state;
    static const int channels[] = {1, 3, 17, 33, 8, 9, 64}, zeros[] = {0, 128, 255, 3};
    seed = 1;
    for (int i = 0; i < 60; i++) {
        layer l = {.c = channels[i % 7], .m = channels[draw(0, 6)], .kh = draw(1, 3), .kw = draw(1, 4), .stride = draw(1, 2), .pad = draw(0, 2), .dilation = i % 5 ? 1 : 2, .group = 1,
                   .x_zero = zeros[draw(0, 3)], .y_zero = zeros[draw(0, 3)], .s8 = draw(0, 2) == 0, .u8_weights = draw(0, 3) == 0, .per_tensor = draw(0, 2) == 0, .bias = draw(0, 1), .relu = draw(0, 1)};
        l.h = draw(1, 9) + l.dilation * (l.kh - 1);
        l.w = draw(1, 16) + l.dilation * (l.kw - 1);
        convolution(&l);
    }
    for (int w = 4; w <= 7; w++)                             /* short rows, two of which make a tile */
        convolution(&(layer){.c = 16, .m = 33, .kh = 3, .kw = 3, .stride = 1, .pad = 1, .dilation = 1, .group = 1, .h = 7, .w = w, .x_zero = 7, .bias = true});
}

static void test_groups(void **state) {
    (void)state;
    seed = 2;
    for (int i = 0; i < 40; i++) {                           /* one filter for each channel */
        int c = i % 4 == 0 ? 1 : draw(2, 40);
        layer l = {.c = c, .m = c, .kh = draw(1, 5), .kw = draw(1, 5), .stride = draw(1, 2), .pad = draw(0, 2), .dilation = i % 7 ? 1 : 2, .group = c, .x_zero = draw(0, 255), .y_zero = draw(0, 255),
                   .s8 = i % 5 == 0, .u8_weights = i % 6 == 0, .per_tensor = i % 3 == 0, .bias = true, .relu = i % 2 == 0};
        l.h = draw(1, 6) + l.dilation * (l.kh - 1);
        l.w = draw(1, 18) + l.dilation * (l.kw - 1);
        convolution(&l);
    }
    convolution(&(layer){.c = 32, .m = 64, .kh = 3, .kw = 3, .stride = 1, .pad = 1, .dilation = 1, .group = 2, .h = 5, .w = 6, .x_zero = 128, .y_zero = 128, .bias = true});
    convolution(&(layer){.c = 48, .m = 48, .kh = 1, .kw = 1, .stride = 1, .dilation = 1, .group = 3, .h = 3, .w = 5, .x_zero = 9, .y_zero = 100, .s8 = true});
}

/* Groups of other sizes, weights with a zero point: declined, and right all the same. */
static void test_declined(void **state) {
    (void)state;
    quantised_few("(uint8[n,4,5,5] q) => (y) <float s = {0.05}, uint8 z = {3}, int8[6,2,1,1] w = {1, -2, 3, 4, 5, -6, 7, 8, 9, 10, -11, 12}, float[6] ws = {0.1, 0.2, 0.3, 0.1, 0.2, 0.3}, int8[6] wz = {0, 0, 0, 0, 0, 0}> "
                  "{ d = DequantizeLinear (q, s, z) dw = DequantizeLinear <axis = 0> (w, ws, wz) c = Conv <group = 2> (d, dw) y = QuantizeLinear (c, s, z) }", NULL, 0);
    quantised_few("(uint8[n,2,5,5] q) => (y) <float s = {0.05}, uint8 z = {3}, uint8[3,2,1,1] w = {1, 200, 3, 4, 5, 60}, float ws = {0.1}, uint8 wz = {77}> "
                  "{ d = DequantizeLinear (q, s, z) dw = DequantizeLinear (w, ws, wz) c = Conv (d, dw) y = QuantizeLinear (c, s, z) }", NULL, 0);
    quantised_few("(float[n,6] x) => (y) <float s = {0.05}, uint8[6,2] w = {1, 200, 3, 4, 5, 60, 0, 7, 255, 9, 1, 1}, float ws = {0.1}, uint8 wz = {77}> "
                  "{ dw = DequantizeLinear (w, ws, wz) y = MatMul (x, dw) }", NULL, 0);
    quantised_few("(float[n,6] x) => (y) <float[3] s = {0.05, 0.1, 0.2}, uint8[3] z = {1, 2, 3}, int64[2] sh = {-1, 3}> { r = Reshape (x, sh) y = QuantizeLinear <axis = 1> (r, s, z) }", NULL, 0);
}

/* A residual block: the sum behind the second convolution is part of its step; the first reads what the block reads. */
static void test_residuals(void **state) {
    (void)state;
    seed = 3;
    for (int i = 0; i < 4; i++) {
        layer l = {.c = i & 1 ? 17 : 32, .m = i & 1 ? 17 : 32, .kh = 3, .kw = 3, .group = 1};
        const char *type = i & 2 ? "int8" : "uint8";
        fy_buf t = {0};
        fy_buf_fmt(&t, "(float[n,%d,7,9] x) => (y, p, o) <float xs = {0.01571839}, %s xz = {%d}, float s1 = {0.03}, %s z1 = {0}, float s2 = {0.11}, %s z2 = {%d}, float s3 = {0.07}, %s z3 = {5}, ", l.c, type, i & 2 ? -3 : 128,
                   type, type, i & 2 ? 2 : 131, type);
        constants(&t, &l, "u");
        fy_buf_str(&t, ", ");
        constants(&t, &l, "v");
        fy_buf_fmt(&t, "> { q = QuantizeLinear (x, xs, xz) d = DequantizeLinear (q, xs, xz) du = DequantizeLinear <axis = 0> (uw, uws, uwz) bu = DequantizeLinear (ub, ubs) "
                       "a = Conv <pads = [1, 1, 1, 1]> (d, du, bu) r = Relu (a) qa = QuantizeLinear (r, s1, z1) da = DequantizeLinear (qa, s1, z1) dv = DequantizeLinear <axis = 0> (vw, vws, vwz) "
                       "b = Conv <pads = [1, 1, 1, 1]> (da, dv) qb = QuantizeLinear (b, s2, z2) db = DequantizeLinear (qb, s2, z2) e = Add (%s) f = Relu (e) y = QuantizeLinear (f, s3, z3) "
                       "dy = DequantizeLinear (y, s3, z3) g = GlobalAveragePool (dy) p = QuantizeLinear (g, s1, z1) m = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (dy) "
                       "o = QuantizeLinear (m, s3, z3) }", i & 1 ? "db, d" : "d, db");
        assert_false(t.oom);
        quantised_few(t.at, "conv.u8s8", 2);
        quantised_few(t.at, "pool.u8", 1);
        quantised_few(t.at, "average.u8", 1);
        quantised_few(t.at, "qdq.binary", 0);
        fy_buf_free(&t);
    }
}

/* Without a QuantizeLinear behind it: f32, with residual and activation. */
static void test_float_results(void **state) {
    (void)state;
    seed = 4;
    layer l = {.c = 9, .m = 21, .kh = 3, .kw = 2, .group = 1};
    fy_buf t = {0};
    fy_buf_str(&t, "(float[n,9,6,5] x, float[n,21,4,4] z) => (y, g) <float xs = {0.01571839}, uint8 xz = {100}, ");
    constants(&t, &l, "");
    fy_buf_str(&t, "> { q = QuantizeLinear (x, xs, xz) d = DequantizeLinear (q, xs, xz) dw = DequantizeLinear <axis = 0> (w, ws, wz) db = DequantizeLinear (b, bs) c = Conv (d, dw, db) a = Add (c, z) y = Relu (a) "
                   "e = DequantizeLinear (q, xs, xz) f = Conv (e, dw) g = Sigmoid (f) }");
    assert_false(t.oom);
    quantised_few(t.at, "conv.u8s8", 2);
    fy_buf_free(&t);
}

static void product(int k, int n, int zero, bool s8, bool gemm, int trans, int add) {
    fy_buf t = {0};
    const char *type = s8 ? "int8" : "uint8";
    fy_buf_fmt(&t, "(float[n,%d] x) => (y) <float xs = {0.01571839}, %s xz = {%d}, float ys = {%.9g}, %s yz = {%d}, float zs = {%.9g}, int8[%d,%d] w = {", k, type, s8 ? zero - 128 : zero, 0.00618034 * sqrt((double)k), type,
               s8 ? 3 : 120, 0.00810930 * sqrt((double)k), trans ? n : k, trans ? k : n);
    list(&t, k * n, -128, 127);
    fy_buf_fmt(&t, "}, float[%d] ws = {", n);
    scales(&t, n, 0.005);
    fy_buf_fmt(&t, "}, int8[%d] wz = {", n);
    list(&t, n, 0, 0);
    fy_buf_fmt(&t, "}, int32[%d] b = {", n);
    list(&t, n, -5000, 5000);
    fy_buf_fmt(&t, "}, float[%d] bs = {", n);
    scales(&t, n, 0.0001);
    fy_buf_fmt(&t, "}, float[%d] row = {", n);
    scales(&t, n, 0.3);
    fy_buf_fmt(&t, "}> { q = QuantizeLinear (x, xs, xz) d = DequantizeLinear (q, xs, xz) dw = DequantizeLinear <axis = %d> (w, ws, wz) ", trans ? 0 : 1);
    if (gemm) fy_buf_fmt(&t, "db = DequantizeLinear <axis = 0> (b, bs) c = Gemm <transB = %d> (d, dw, db) ", trans);
    else fy_buf_str(&t, "c = MatMul (d, dw) ");
    if (add == 0) fy_buf_str(&t, "y = QuantizeLinear (c, ys, yz) }");
    else if (add == 1) fy_buf_str(&t, "s = QuantizeLinear (c, ys, yz) e = DequantizeLinear (s, ys, yz) f = Add (e, row) y = QuantizeLinear (f, zs, yz) }");
    else fy_buf_str(&t, "y = Gelu (c) }");
    assert_false(t.oom);
    quantised(t.at, "gemm.u8s8", 1, (const int64_t[]){1, 5, 0, 19, 230}, 5);
    fy_buf_free(&t);
}

static void test_products(void **state) {
    (void)state;
    static const int ks[] = {1, 2, 3, 4, 17, 64, 131}, ns[] = {1, 15, 16, 17, 33, 64, 65};
    seed = 5;
    for (int i = 0; i < 28; i++) product(ks[i % 7], ns[draw(0, 6)], draw(0, 255), i % 4 == 0, i & 1, i & 1 ? draw(0, 1) : 0, i % 3);
}

static void test_product_of_bytes(void **state) {
    (void)state;
    static const char *const types[] = {"uint8", "int8"};
    for (int i = 0; i < 4; i++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(float[2,3,n,7] x, float[3,7,n] z) => (y, f) <float xs = {0.01571839}, %s xz = {%d}, float zs = {0.02}, %s zz = {%d}, float ys = {0.05}, uint8 yz = {127}> "
                       "{ q = QuantizeLinear (x, xs, xz) d = DequantizeLinear (q, xs, xz) r = QuantizeLinear (z, zs, zz) e = DequantizeLinear (r, zs, zz) c = MatMul (d, e) y = QuantizeLinear (c, ys, yz) f = MatMul (d, e) }",
                   types[i & 1], i & 1 ? -5 : 119, types[i / 2], i / 2 ? 0 : 131);
        quantised(t.at, "matmul.u8u8", 2, (const int64_t[]){1, 33, 0, 16}, 4);
        fy_buf_free(&t);
    }
}

/* Whatever computes one byte from one byte is a table: exact. */
static void test_tables(void **state) {
    (void)state;
    quantised_few("(uint8[n,5,3] q) => (y) <float s = {0.05}, uint8 z = {128}, float t = {0.004}, uint8 u = {0}> { d = DequantizeLinear (q, s, z) a = Sigmoid (d) y = QuantizeLinear (a, t, u) }", "qdq.table", 1);
    quantised_few("(int8[n,5] q) => (y) <float s = {0.05}, int8 z = {-3}, float t = {0.03}, int8 u = {4}> { d = DequantizeLinear (q, s, z) a = HardSwish (d) y = QuantizeLinear (a, t, u) }", "qdq.table", 1);
    quantised_few("(uint8[n,5] q) => (y) <float s = {0.05}, uint8 z = {3}, float t = {0.11}, uint8 u = {9}> { d = DequantizeLinear (q, s, z) y = QuantizeLinear (d, t, u) }", "qdq.table", 1);
    /* Gelu in pieces, each quantised */
    quantised_few("(uint8[n,17] q) => (y) <float s = {0.02}, uint8 z = {127}, float h = {0.7071}, float s1 = {0.0158}, float s2 = {0.0078}, float one = {1.0}, float s3 = {0.00783}, uint8 z0 = {0}, float half = {0.5}, float s4 = {0.011}, "
                  "float s5 = {0.0119}, uint8 z5 = {14}> { d = DequantizeLinear (q, s, z) a = Mul (d, h) qa = QuantizeLinear (a, s1, z) da = DequantizeLinear (qa, s1, z) b = Erf (da) qb = QuantizeLinear (b, s2, z) "
                  "db = DequantizeLinear (qb, s2, z) c = Add (db, one) qc = QuantizeLinear (c, s3, z0) dc = DequantizeLinear (qc, s3, z0) f = Mul (d, half) qf = QuantizeLinear (f, s4, z) df = DequantizeLinear (qf, s4, z) "
                  "g = Mul (df, dc) y = QuantizeLinear (g, s5, z5) }", "qdq.table", 1);
}

static void test_binary(void **state) {
    (void)state;
    static const char *const ops[] = {"Add", "Sub", "Mul"}, *const second[] = {"n,5,3", "n,1,3", "3", "1", "n,5,1"};
    for (int i = 0; i < 15; i++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(float[n,5,3] x, float[%s] z) => (y) <float s = {0.01571839}, uint8 a = {120}, float u = {0.01308997}, int8 b = {-7}, float v = {0.03141593}, uint8 c = {%d}> { q = QuantizeLinear (x, s, a) d = DequantizeLinear (q, s, a) "
                       "r = QuantizeLinear (z, u, b) e = DequantizeLinear (r, u, b) f = %s (%s) y = QuantizeLinear (f, v, c) }", second[i / 3], i * 17, ops[i % 3], i & 1 ? "d, e" : "e, d");
        quantised(t.at, "qdq.binary", 1, (const int64_t[]){1, 4, 0, 31}, 4);
        fy_buf_free(&t);
    }
}

/* Bytes are moved; no f32 is made. */
static void test_moves(void **state) {
    (void)state;
    const char *body = "(uint8[n,4,6] q) => (y, w) <float s = {0.05}, uint8 z = {128}, int64[3] sh = {0, 6, 4}, int64[2] sp = {1, 3}> { d = DequantizeLinear (q, s, z) a = Reshape (d, sh) qa = QuantizeLinear (a, s, z) "
                       "da = DequantizeLinear (qa, s, z) b = Transpose <perm = [0, 2, 1]> (da) qb = QuantizeLinear (b, s, z) db = DequantizeLinear (qb, s, z) e, f = Split <axis = 1> (db, sp) qe = QuantizeLinear (e, s, z) "
                       "qf = QuantizeLinear (f, s, z) de = DequantizeLinear (qe, s, z) df = DequantizeLinear (qf, s, z) c = Concat <axis = 1> (df, de) y = QuantizeLinear (c, s, z) w = DequantizeLinear (qe, s, z) }";
    quantised_few(body, "quantize.bytes", 0);
    quantised_few(body, "dequantize.bytes", 1);
    quantised_few("(int64[3] i, float[n,2] unused) => (y) <uint8[5,4] t = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 255}, float s = {0.05}, uint8 z = {9}, float u = {0.03}> "
                  "{ d = DequantizeLinear (t, s, z) g = Gather (d, i) y = QuantizeLinear (g, u, z) }", "qdq.table", 1);
}

static void test_rows(void **state) {
    (void)state;
    quantised("(float[2,n,17] x) => (y, w) <float s = {0.01571839}, uint8 z = {127}, float t = {0.0039}, uint8 u = {0}, float[17] g = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8}, float v = {0.1}> { q = QuantizeLinear (x, s, z) "
              "d = DequantizeLinear (q, s, z) a = Softmax (d) y = QuantizeLinear (a, t, u) b = LayerNormalization (d, g) w = QuantizeLinear (b, v, z) }", "softmax.u8", 1, (const int64_t[]){1, 40, 0, 3}, 4);
}

#define SOME_BYTES "1, 200, 3, 44, 5, 60, 0, 7, 255, 9, 10, 111, 12, 13, 14, 150, 16, 17, 18, 190, 20, 21, 22, 23, 240, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34"

/* ---- scales and zero points that are inputs ---------------------------------------------------------------------------------- */

/* Values of a name in the text: `what` of `type`, computed from the float input of the same name in capitals, or a constant of n. */
static void operand(fy_buf *consts, fy_buf *nodes, const char *what, bool s8, bool computed, const char *sizes, int n) {
    const char *type = s8 ? "int8" : "uint8";
    if (computed) {
        fy_buf_fmt(consts, ", float %s_s = {0.0157}, %s %s_q = {%d}", what, type, what, s8 ? 1 : 127);
        fy_buf_fmt(nodes, "%s = QuantizeLinear (%s_, %s_s, %s_q) ", what, what, what, what);
        return;
    }
    fy_buf_fmt(consts, ", %s[%s] %s = {", type, sizes, what);
    list(consts, n, s8 ? -128 : 0, s8 ? 127 : 255);
    fy_buf_str(consts, "}");
}

/* A zero point, one or `many` of them, which the graph computes so that it is no constant. */
static void zero_point(fy_buf *consts, fy_buf *nodes, const char *what, bool s8, int many) {
    fy_buf_fmt(consts, ", %s[%d] %s_ = {", s8 ? "int8" : "uint8", many, what);
    list(consts, many, s8 ? -9 : 100, s8 ? 20 : 140);
    fy_buf_str(consts, "}");
    fy_buf_fmt(nodes, "%s = BitwiseXor (%s_, nought_%c) ", what, what, s8 ? 's' : 'u');
}

static void integer_product(int i, const char *left, const char *right, int k, int n) {
    fy_buf c = {0}, t = {0}, all = {0};
    const bool a8 = i & 1, b8 = i & 2, computed = strchr(right, 'n') || i % 5 == 4;
    const int many = i % 3 == 1 ? n : 1;
    char sizes[40];
    snprintf(sizes, sizeof sizes, "%d,%d", k, n);
    operand(&c, &t, "a", a8, true, left, 0);
    operand(&c, &t, "b", b8, computed, sizes, k * n);
    fy_buf_str(&t, "fu = Cast <to = 2> (o) nought_u = BitwiseXor (fu, fu) fs = Cast <to = 3> (o) nought_s = BitwiseXor (fs, fs) ");
    zero_point(&c, &t, "az", a8, 1);
    zero_point(&c, &t, "bz", b8, many);
    fy_buf_fmt(&c, ", float as = {0.0131}, float[%d] bs = {", many);
    scales(&c, many, 0.004);
    fy_buf_fmt(&c, "}, float ys = {%.9g}, uint8 yz = {77}, int8 ysz = {-3}, float[%d] bias = {", 0.01 * sqrt((double)k), n);
    scales(&c, n, 0.7);
    fy_buf_str(&t, "asr = Add (as, oz) bsr = Add (bs, oz) scale = Mul (asr, bsr) p = MatMulInteger (a, b, az, bz) w = MatMulInteger (a, b) q = QLinearMatMul (a, asr, az, b, bsr, bz, ys, yz) "
                   "r = QLinearMatMul (a, asr, az, b, bsr, bz, ys, ysz) f = com.microsoft.MatMulIntegerToFloat (a, b, asr, bsr, az, bz, bias) m = MatMulInteger (a, b, az) mf = Cast <to = 1> (m) "
                   "ms = Mul (mf, scale) mb = Add (ms, bias) g = Relu (mb) d, ds, dz = DynamicQuantizeLinear (a_) dm = MatMulInteger (d, b, dz, bz) df = Cast <to = 1> (dm) dd = Mul (ds, bs) h = Mul (dd, df)");
    fy_buf_fmt(&all, "(float[%s] a_, float[%s] b_, float[1] o_) => (p, w, q, r, f, g, h) <float nil = {0}%s}> { o = Mul (o_, nil) oz = Squeeze (o) %s }", left, right, c.at, t.at);
    assert_false(c.oom || t.oom || all.oom);
    quantised(all.at, "integer.matmul", 7, (const int64_t[]){1, 5, 0, 19, 230}, 5);
    fy_buf_free(&c);
    fy_buf_free(&t);
    fy_buf_free(&all);
}

static void test_integer_products(void **state) {
    (void)state;
    static const int ks[] = {1, 3, 4, 17, 64, 131}, ns[] = {1, 15, 16, 33, 64, 65};
    seed = 6;
    for (int i = 0; i < 20; i++) {
        char left[40], right[40];
        int k = ks[i % 6], n = ns[draw(0, 5)];
        snprintf(left, sizeof left, i % 4 == 3 ? "2,n,%d" : "n,%d", k);
        snprintf(right, sizeof right, "%d,%d", k, n);
        integer_product(i, left, right, k, n);
    }
    integer_product(0, "3,2,n,5", "2,5,33", 5, 33);
    integer_product(3, "2,n,5", "3,1,5,7", 5, 7);
    integer_product(7, "n,6", "2,6,16", 6, 16);
}

/* Models of operators on quantised numbers run as those with QuantizeLinear and DequantizeLinear do. */
static void test_linear_operators(void **state) {
    (void)state;
    seed = 8;
    for (int i = 0; i < 6; i++) {
        fy_buf t = {0};
        const bool w8 = i & 1;
        fy_buf_fmt(&t, "(uint8[n,16,9,7] x) => (y, m, g) <float xs = {0.01571839}, uint8 xz = {120}, float us = {0.02713}, uint8 uz = {131}, float vs = {0.04431}, uint8 vz = {99}, float ps = {0.00390625}, uint8 pz = {0}, "
                       "int64[2] shape = {0, 16}, %s[16,16,3,3] w = {", w8 ? "uint8" : "int8");
        if (w8) list(&t, 2304, 1, 255);
        else list(&t, 2304, -127, 127);
        fy_buf_fmt(&t, "}, float[%d] ws = {", i % 3 ? 16 : 1);
        scales(&t, i % 3 ? 16 : 1, 0.0007);
        fy_buf_fmt(&t, "}, %s wz = {%d}, int32[16] b = {", w8 ? "uint8" : "int8", w8 ? 128 : 0);
        list(&t, 16, -3000, 3000);
        fy_buf_str(&t, "}, int8[16,12] d = {");
        list(&t, 192, -127, 127);
        fy_buf_str(&t, "}, float[12] ds = {");
        scales(&t, 12, 0.002);
        fy_buf_str(&t, "}, int8[12] dz = {");
        list(&t, 12, 0, 0);
        fy_buf_str(&t, "}, int32[12] db = {");
        list(&t, 12, -300, 300);
        fy_buf_str(&t, "}> { a = QLinearConv <pads = [1, 1, 1, 1]> (x, xs, xz, w, ws, wz, us, uz, b) c = com.microsoft.QLinearLeakyRelu <alpha = 0.1> (a, us, uz, vs, vz) "
                       "e = com.microsoft.QLinearAdd (c, vs, vz, x, xs, xz, us, uz) f = com.microsoft.QLinearConcat <axis = 1> (us, uz, e, us, uz, c, vs, vz) h = com.microsoft.QLinearMul (f, us, uz, f, us, uz, vs, vz) "
                       "p = com.microsoft.QLinearGlobalAveragePool (e, us, uz, vs, vz) r = Reshape (p, shape) q = QLinearMatMul (r, vs, vz, d, ds, dz, us, uz) y = com.microsoft.QLinearSigmoid (q, us, uz, ps, pz) "
                       "g = com.microsoft.QGemm (r, vs, vz, d, ds, dz, db, us, uz) m = com.microsoft.QLinearAveragePool <kernel_shape = [2, 2]> (h, vs, vz, us, uz) }");
        assert_false(t.oom);
        quantised_few(t.at, "conv.u8s8", 1);
        quantised_few(t.at, "gemm.u8s8", 2);
        quantised_few(t.at, "average.u8", 1);
        quantised_few(t.at, "qdq.binary", 1);
        quantised_few(t.at, "qdq.table", 4);
        fy_buf_free(&t);
    }
    quantised_few("(uint8[n,7] x, uint8[n,7] z, bool[n,7] c) => (s, w, o, y) <float xs = {0.0157}, uint8 xz = {120}, float ps = {0.00390625}, uint8 pz = {0}, float[1] as = {0.02}, uint8[7,5] b = {" SOME_BYTES "}, float bs = {0.004}, uint8 bz = {117}> "
                  "{ s = com.microsoft.QLinearSoftmax <opset = 13, axis = -1> (x, xs, xz, ps, pz) w = com.microsoft.QLinearWhere (c, x, xs, xz, z, as, pz, ps, pz) f = Cast <to = 1> (z) g = Mul (f, as) "
                  "o = com.microsoft.DynamicQuantizeMatMul (g, b, bs, bz) y = com.microsoft.QLinearReduceMean <axes = [1], keepdims = 0> (x, xs, xz, as, pz) }", "integer.matmul", 1);
    quantised_few("(uint8[2,6,5,4] x, float[n,1] unused) => (y, z) <float xs = {0.0157}, uint8 xz = {120}, int8[3,4,1,1] w = {1, -2, 3, -4, 5, 67, -70, 81, 9, 100, -11, 12}, float ws = {0.003}, int8 wz = {0}, float ys = {0.0213}, uint8 yz = {128}> "
                  "{ y = com.microsoft.QLinearConv <channels_last = 1> (x, xs, xz, w, ws, wz, ys, yz) z = com.microsoft.QLinearGlobalAveragePool <channels_last = 1> (x, xs, xz, ys, yz) }", "conv.u8s8", 1);
}

/* Of bytes as a model is given them, most of them the greatest: fewer than a vector has, and more than fit 16 bits. */
static void test_averages(void **state) {
    (void)state;
    static const char *const areas[] = {"1,1", "3,5", "4,4", "9,33", "70,70"}, *const zeros[] = {"uint8 z = {0}", "uint8 z = {117}", "int8 z = {-128}", "int8 z = {5}"};
    for (int i = 0; i < FY_COUNT(areas); i++)
        for (int k = 0; k < FY_COUNT(zeros); k++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(float[n,19,%s] x) => (y) <float s = {0.00731}, float r = {0.0113}, %s> { a = Abs (x) q = QuantizeLinear (a, s, z) o = Identity (q) d = DequantizeLinear (o, s, z) g = GlobalAveragePool (d) y = QuantizeLinear (g, r, z) }", areas[i], zeros[k]);
            quantised_few(t.at, "average.u8", 1);
            fy_buf_free(&t);
        }
}

static void integer_convolution(int i, int axes, int group, int channels, int filters, int stride, int dilation, int pad, bool computed) {
    fy_buf c = {0}, t = {0}, all = {0};
    const bool x8 = i & 1, w8 = i & 2;
    const int many = i % 3 == 1 ? filters : 1, per = channels / group, taps = axes == 1 ? 3 : axes == 2 ? 6 : 12;
    static const char *const kernel[] = {"3", "3,2", "2,3,2"}, *const plane[] = {"n", "n,6", "4,n,5"};
    char sizes[60], attrs[200];
    fy_buf a = {0};
    fy_buf_fmt(&a, "group = %d, strides = [", group);
    list(&a, axes, stride, stride);
    fy_buf_str(&a, "], dilations = [");
    list(&a, axes, dilation, dilation);
    fy_buf_str(&a, "], pads = [");
    list(&a, 2 * axes, pad, pad);
    fy_buf_str(&a, "]");
    snprintf(attrs, sizeof attrs, "%s", a.at);
    snprintf(sizes, sizeof sizes, "%d,%d,%s", filters, per, kernel[axes - 1]);
    operand(&c, &t, "x", x8, true, "", 0);
    operand(&c, &t, "w", w8, computed, sizes, filters * per * taps);
    fy_buf_str(&t, "fu = Cast <to = 2> (o) nought_u = BitwiseXor (fu, fu) fs = Cast <to = 3> (o) nought_s = BitwiseXor (fs, fs) ");
    zero_point(&c, &t, "xz", x8, 1);
    zero_point(&c, &t, "wz", w8, many);
    fy_buf_fmt(&c, ", float xs = {0.0131}, float[%d] ws = {", many);
    scales(&c, many, 0.004);
    fy_buf_fmt(&c, "}, float ys = {%.9g}, uint8 yz = {77}, int32[%d] b = {", 0.005 * sqrt((double)per * taps), filters);
    list(&c, filters, -3000, 3000);
    fy_buf_fmt(&c, "}, float[1,%d%s] bias = {", filters, axes == 1 ? ",1" : axes == 2 ? ",1,1" : ",1,1,1");
    scales(&c, filters, 0.3);
    fy_buf_fmt(&c, "}, float[1,%d%s] wf = {", many, axes == 1 ? ",1" : axes == 2 ? ",1,1" : ",1,1,1");
    scales(&c, many, 0.004);
    fy_buf_fmt(&t, "xsr = Add (xs, oz) p = ConvInteger <%s> (x, w, xz, wz) v = ConvInteger <%s> (x, w) q = QLinearConv <%s> (x, xsr, xz, w, ws, wz, ys, yz, b) d, ds, dz = DynamicQuantizeLinear (x_) "
                   "dm = ConvInteger <%s> (d, w, dz, wz) df = Cast <to = 1> (dm) dd = Mul (ds, wf) h = Mul (df, dd) hb = Add (h, bias) g = Relu (hb)", attrs, attrs, attrs, attrs);
    fy_buf_fmt(&all, "(float[2,%d,%s] x_, float[%s] w_, float[1] o_) => (p, v, q, g) <float nil = {0}%s}> { o = Mul (o_, nil) oz = Squeeze (o) %s }", channels, plane[axes - 1], sizes, c.at, t.at);
    assert_false(c.oom || t.oom || all.oom || a.oom);
    quantised(all.at, "integer.conv", 4, (const int64_t[]){7, 33, 8}, 3);
    fy_buf_free(&a);
    fy_buf_free(&c);
    fy_buf_free(&t);
    fy_buf_free(&all);
}

static void test_integer_convolutions(void **state) {
    (void)state;
    seed = 7;
    for (int i = 0; i < 12; i++) integer_convolution(i, 1 + i % 3, 1, draw(1, 9), draw(1, 35), draw(1, 2), draw(1, 2), draw(0, 2), i % 4 == 2);
    integer_convolution(1, 2, 3, 6, 9, 1, 1, 1, false);
    integer_convolution(4, 2, 5, 5, 5, 2, 1, 1, true);
}

/* LSTM over bytes: both directions, rows of different length, weights with a zero point. */
static void test_dynamic_lstm(void **state) {
    (void)state;
    seed = 9;
    for (int i = 0; i < 6; i++) {
        fy_buf t = {0};
        const int dirs = i % 2 + 1, h = i % 3 ? 5 : 17;
        const bool u8 = i & 2;
        const char *type = u8 ? "uint8" : "int8";
        fy_buf_fmt(&t, "(float[n,2,7] x, int32[2] len, float[%d,2,%d] h0) => (y, yh, yc) <%s[%d,7,%d] w = {", dirs, h, type, dirs, 4 * h);
        list(&t, dirs * 28 * h, u8 ? 0 : -127, u8 ? 255 : 127);
        fy_buf_fmt(&t, "}, %s[%d,%d,%d] r = {", type, dirs, h, 4 * h);
        list(&t, dirs * 4 * h * h, u8 ? 0 : -127, u8 ? 255 : 127);
        fy_buf_fmt(&t, "}, float[%d,%d] b = {", dirs, 8 * h);
        scales(&t, dirs * 8 * h, 0.05);
        fy_buf_fmt(&t, "}, float[%d] s = {", i < 3 ? dirs : dirs * 4 * h);
        scales(&t, i < 3 ? dirs : dirs * 4 * h, 0.003);
        fy_buf_fmt(&t, "}, float[%d,%d] sg = {", dirs, 4 * h);
        scales(&t, dirs * 4 * h, 0.003);
        fy_buf_fmt(&t, "}, %s[%d] z = {", type, dirs);
        list(&t, dirs, u8 ? 131 : 0, u8 ? 131 : 0);
        fy_buf_fmt(&t, "}, %s[%d,%d] zg = {", type, dirs, 4 * h);
        list(&t, dirs * 4 * h, u8 ? 131 : 0, u8 ? 131 : 0);
        fy_buf_fmt(&t, "}> { y, yh, yc = com.microsoft.DynamicQuantizeLSTM <hidden_size = %d, direction = \"%s\"> (x, w, r, b, %s, h0, , , %s, sg, zg) }", h, dirs > 1 ? "bidirectional" : i ? "reverse" : "forward",
                   i % 2 ? "len" : "", i < 3 ? "s, z" : "sg, zg");
        assert_false(t.oom);
        quantised_few(t.at, "rnn.u8s8", 1);
        fy_buf_free(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolutions), cmocka_unit_test(test_groups), cmocka_unit_test(test_declined), cmocka_unit_test(test_residuals), cmocka_unit_test(test_float_results),
        cmocka_unit_test(test_products), cmocka_unit_test(test_product_of_bytes), cmocka_unit_test(test_tables), cmocka_unit_test(test_binary), cmocka_unit_test(test_moves), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_integer_products), cmocka_unit_test(test_linear_operators), cmocka_unit_test(test_averages), cmocka_unit_test(test_dynamic_lstm), cmocka_unit_test(test_integer_convolutions),
    };
    int failed = both_main(tests, FY_COUNT(tests), "cpu int8");          /* before this process asks what the CPU has */
    setenv("FERRY_CPU", "avx512vnni", 1);
    return failed + _cmocka_run_group_tests("cpu int8 avx512vnni", tests, FY_COUNT(tests), NULL, NULL);
}
