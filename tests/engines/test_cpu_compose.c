/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_compose.c - operators that our engine composes of others (passes/compose.c), and those of language models of onnxruntime's exporters, against the
 * reference kernels: of f32 and of halves, with and without what is optional. */
#include "engines/both.h"

#define MS "com.microsoft."

/* % is each dtype, # its number. */
static void each_float(const char *body) {
    static const char *const types[] = {"float", "float16", "bfloat16"}, *const numbers[] = {"1", "10", "16"};
    for (int d = 0; d < FY_COUNT(types); d++) {
        fy_buf t = {0};
        for (const char *p = body; *p; p++)
            if (*p == '%' || *p == '#') fy_buf_str(&t, *p == '%' ? types[d] : numbers[d]);
            else fy_buf_char(&t, *p);
        both_at(t.at, (const int64_t[]){3, 1, 19}, 3);
        fy_buf_free(&t);
    }
}

static void test_norms(void **state) {
    (void)state;
    each_float("(%[2,n,24] x, %[2,n,24] k, %[24] g, %[24] b, %[24] c) => (y, z) { y = " MS "SkipLayerNormalization <epsilon = 1e-5> (x, k, g, b, c) z, m, v, s = " MS "SkipLayerNormalization <epsilon = 1e-5> (x, k, g) }");
    each_float("(%[2,n,24] x, %[n,24] k, %[24] g, %[24] c) => (y, s) { y, m, v, s = " MS "SkipSimplifiedLayerNormalization <epsilon = 1e-5> (x, k, g, c) }");
    each_float("(%[2,n,24] x, %[24] g) => (y) { y = SimplifiedLayerNormalization <epsilon = 1e-5> (x, g) }");
    each_float("(%[n,6,7] x) => (a, b, c) { a = LpNormalization (x) b = LpNormalization <axis = 1, p = 1> (x) z = Sub (x, x) c = LpNormalization (z) }");
    each_float("(%[2,n,5,7] x) => (a, b) { a = MeanVarianceNormalization (x) b = MeanVarianceNormalization <axes = [1, 2]> (x) }");
    each_float("(%[2,n,5,7] x) => (a, b) { a = LogSoftmax <axis = 1> (x) b = LogSoftmax <axis = -2> (x) }");
    each_float("(int32[2,n] i, int32[2,n] g, int32[2,n] m, int32[1,n] p, %[70,24] w, %[70,24] q, %[70,24] t, %[24] a, %[24] b) => (y, c, s, z) "
               "{ y, c, s = " MS "EmbedLayerNormalization <epsilon = 1e-5> (i, g, w, q, t, a, b, m) z = " MS "EmbedLayerNormalization <epsilon = 1e-5> (i, , w, q, , a, b, , p) }");
    both("(int32[2,n] i, int32[2,n] g, int32[2,n] m, uint8[70,24] w, uint8[70,24] q, uint8[70,24] t, uint8[24] a, uint8[24] b) => (y, c) <float s = {0.02}, uint8 z = {7}> "
         "{ y, c = " MS "QEmbedLayerNormalization <epsilon = 1e-5> (i, g, w, q, t, a, b, m, s, s, s, s, s, z, z, z, z, z) }");
}

static void test_products(void **state) {
    (void)state;
    each_float("(%[n,5] x, %[7,5] z, %[5,n] a, %[2,n,5] u) => (y, b, c) { y = " MS "FusedMatMul <transB = 1, alpha = 0.5> (x, z) b = " MS "FusedMatMulActivation <transA = 1, transB = 1, activation = \"Relu\"> (a, z) c = " MS "FusedMatMul <transB = 1> (u, z) }");
    both("(float[n,5] x, float[7,5] z, float[7] c) => (a, b, d) { a = " MS "FusedGemm <transB = 1, activation = \"LeakyRelu\", activation_alpha = 0.3> (x, z, c) b = " MS "FusedGemm <transB = 1, alpha = 2.0, activation = \"Tanh\"> (x, z) "
         "d = " MS "FusedGemm <transB = 1, activation = \"HardSigmoid\", activation_alpha = 0.3, activation_beta = 0.4> (x, z, c) }");
    both("(float[1,4,n,6] x, float[5,4,1,1] w, float[5] b, float[1,5,n,6] z) => (y, c) { y = " MS "FusedConv <activation = \"Relu\"> (x, w, b, z) c = " MS "FusedConv <activation = \"Clip\", activation_params = [-0.5, 0.75]> (x, w) }");
    both("(float[1,n,6,4] x, float[5,4,1,1] w, float[5] b, float[1,n,6,5] z) => (y) { y = " MS "NhwcFusedConv <activation = \"LeakyRelu\", activation_params = [0.2]> (x, w, b, z) }");
    static const char *const einsum[][3] = {{"bij,bkj->bik", "2,n,5", "2,7,5"}, {"bqhd,bkhd->bhqk", "2,n,3,5", "2,7,3,5"}, {"bhqk,bkhd->bqhd", "2,3,n,7", "2,7,3,5"}, {"ij,jk->ki", "n,5", "5,7"},
        {"i,j->ij", "n", "7"}, {"bhwc,hkc->bhwk", "2,n,4,5", "n,7,5"}, {"abc,abc->", "2,n,5", "2,n,5"}, {"ab,cd->dacb", "2,n", "3,4"}, {"abcd,dcef->baef", "2,n,3,4", "4,3,5,2"}, {"ij,ij->ij", "n,5", "n,5"}, {"ij,j->i", "n,5", "5"}, {"ij,kl->ik", "n,5", "4,3"}};
    for (int i = 0; i < FY_COUNT(einsum); i++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(%%[%s] x, %%[%s] z) => (y) { y = Einsum <equation = \"%s\"> (x, z) }", einsum[i][1], einsum[i][2], einsum[i][0]);
        each_float(t.at);
        fy_buf_free(&t);
    }
}

static void test_attention(void **state) {
    (void)state;
    each_float("(%[2,n,12] x, %[12,36] w, %[36] b) => (y, z, p) { y = " MS "Attention <num_heads = 3, scale = 0.02> (x, w, b) z, p = " MS "Attention <num_heads = 2, unidirectional = 1, scale = 0.02> (x, w, b) }");
    each_float("(%[2,n,12] x, %[12,36] w, %[36] b, int32[2] k, bool[2,n] t, bool[2,n,n] f) => (y, z, u) <int32 o = {1}> { l = Add (k, o) m = Cast <to = 6> (t) q = Cast <to = 6> (f) y = " MS "Attention <num_heads = 3, scale = 0.02> (x, w, b, l) z = " MS "Attention <num_heads = 3, scale = 0.02> (x, w, b, m) u = " MS "Attention <num_heads = 3, unidirectional = 1, scale = 0.02> (x, w, b, q) }");
    each_float("(%[2,n,12] x, %[12,36] w, %[36] b, %[2,2,3,4,4] p, %[1,3,n,n] e) => (y, r, z) { y, r = " MS "Attention <num_heads = 3, unidirectional = 1, scale = 0.02> (x, w, b, , p) z = " MS "Attention <num_heads = 3, scale = 0.02> (x, w, b, , , e) }");
    both("(uint8[2,n,12] x, uint8[12,36] w, float[36] b, uint8 z, bool[2,n] k) => (y) <float s = {0.02}, float t = {0.03}> { m = Cast <to = 6> (k) y = " MS "QAttention <num_heads = 3, scale = 0.02> (x, w, b, s, t, m, z, z) }");
    each_float("(%[2,n,12] q, %[2,5,12] k, %[2,5,18] v, %[42] b, bool[2,5] t) => (y, z) { m = Cast <to = 6> (t) y = " MS "MultiHeadAttention <num_heads = 3, scale = 0.02> (q, k, v) z = " MS "MultiHeadAttention <num_heads = 3, scale = 0.02> (q, k, v, b, m) }");
    each_float("(%[2,n,12] q, %[2,n,12] k, %[2,n,12] v, %[2,3,4,4] c, %[2,3,4,4] d) => (y, p, r) { y, p, r = " MS "MultiHeadAttention <num_heads = 3, scale = 0.02> (q, k, v, , , , c, d) }");
    each_float("(%[2,n,12] q, %[2,3,5,4] k, %[2,3,5,6] v, %[12] b) => (y) { y = " MS "MultiHeadAttention <num_heads = 3, scale = 0.02> (q, k, v, b) }");
    each_float("(%[2,3,n,8] x, %[2,n,24] h, %[64,4] c, %[64,4] s, %[64,3] a, %[64,3] b, int64[2,n] i) => (y, z, u, v, w) { y = " MS "RotaryEmbedding (x, i, c, s) z = " MS "RotaryEmbedding <interleaved = 1> (h, i, c, s) "
               "u = " MS "RotaryEmbedding <num_heads = 3, rotary_embedding_dim = 6> (h, i, a, b) v = RotaryEmbedding <num_heads = 3, interleaved = 1, rotary_embedding_dim = 6> (h, a, b, i) w = RotaryEmbedding <rotary_embedding_dim = 6> (x, a, b, i) }");
    each_float("(%[2,3,n,8] x, %[2,n,24] h, %[1,n,4] c, %[1,n,4] s, %[2,n,4] a, %[2,n,4] b) => (y, z) { y = RotaryEmbedding (x, c, s) z = RotaryEmbedding <num_heads = 3> (h, a, b) }");
    both("(float[1,3,n,8] x, float[1,n,24] h, float[80,4] c, float[80,4] s) => (y, z) <int64[1,1] i = {2}, int64[1] o = {5}> { y = " MS "RotaryEmbedding (x, i, c, s) z = " MS "RotaryEmbedding (h, o, c, s) }");      /* one number: where the row begins */
}

/* The same operators under com.microsoft's names. */
static void test_same(void **state) {
    (void)state;
    each_float("(%[n,5] x, %[7,5] z, %[5,n] a, %[2,n,5] u) => (y, b, c) { y = " MS "TransposeMatMul <transB = 1, alpha = 0.5> (x, z) b = " MS "TransposeMatMul <transA = 1, transB = 1> (a, z) c = " MS "TransposeMatMul <transB = 1> (u, z) }");
    each_float("(%[2,n,24] x, %[24] b, %[2,n,24] k) => (y) { y = " MS "BiasAdd (x, b, k) }");
    each_float("(%[3,n] x) => (a, b) <float s = {0.02}, uint8 z = {128}, float[3] t = {0.02, 0.03, 0.5}, int8[3] w = {0, 5, -7}> { u = CastLike (s, x) v = CastLike (t, x) p = " MS "QuantizeLinear (x, u, z) a = " MS "DequantizeLinear (p, u, z) "
               "q = " MS "QuantizeLinear <axis = 0> (x, v, w) b = " MS "DequantizeLinear <axis = 0> (q, v, w) }");
    both("(float[3,n] x, uint8[n] k, int8[2,n] l, int32[2,n] m, float s) => (a, b, c, d, e) <float t = {0.25}, uint8 z = {3}, int16 h = {100}> { o = Constant <value = float {0.01}> () a = " MS "QuantizeLinear (x, t) "
         "b = " MS "QuantizeLinear (x, t, h) c = " MS "DequantizeLinear (k, s, z) d = " MS "DequantizeLinear (l, o) e = " MS "DequantizeLinear (m, o) }");
}

static void test_diffusion(void **state) {
    (void)state;
    each_float("(%[2,n,5,8] x, %[8] g, %[8] b, %[2,8,n,5] c) => (y, z, w) { y = " MS "GroupNorm <groups = 2, activation = 1> (x, g, b) z = " MS "GroupNorm <groups = 4, activation = 0, epsilon = 0.01> (x, g, b) w = " MS "GroupNorm <groups = 2, activation = 1, channels_last = 0> (c, g, b) }");
    each_float("(%[2,n,5,8] x, %[8] g, %[8] b, %[2,n,5,8] k, %[2,8] l, %[2,1,1,8] m, %[8] c) => (y, s, z, u, v) { y, s = " MS "SkipGroupNorm <groups = 2, activation = 1> (x, g, b, k, c) z = " MS "SkipGroupNorm <groups = 4, activation = 0> (x, g, b, l) u, v = " MS "SkipGroupNorm <groups = 2, activation = 1> (x, g, b, m, c) }");
    each_float("(%[2,8,n,5] x, %[8] g, %[8] b, %[2,8,n,5] k, %[2,8] l, %[8] c) => (y, s, z) { y, s = " MS "SkipGroupNorm <groups = 2, activation = 1, channels_last = 0> (x, g, b, k, c) z = " MS "SkipGroupNorm <groups = 4, activation = 0, channels_last = 0> (x, g, b, l, c) }");
    each_float("(%[2,3,n,7] x, %[2,1,1,7] b, %[2,3,n,7] c, %[n,7] d) => (y, z, u, v) { y = " MS "BiasSoftmax <axis = 3, is_inner_broadcast = 1> (x, b) z = " MS "BiasSoftmax <axis = 2, is_inner_broadcast = 0> (x, c) u = " MS "BiasSoftmax <axis = -1, is_inner_broadcast = 0> (x, d) v = " MS "BiasSoftmax <axis = 0, is_inner_broadcast = 0> (x, d) }");
    each_float("(%[2,n,24] x, %[24] b) => (y) { y = " MS "BiasSplitGelu (x, b) }");
}

/* A cache that grows, one with room, a padded first prompt; heads that share keys, a window, turned or not. */
static void test_cached(void **state) {
    (void)state;
#define LENGTHS "d = Shape <start = 1, end = 2> (q) c = Cast <to = 6> (d) s = Add (p, c) t = Add (c, o) "
    static const char *const attrs[] = {"", ", do_rotary = 1", ", do_rotary = 1, rotary_interleaved = 1, scale = 0.1", ", local_window_size = 3", ", softcap = 2.0"};
    for (int i = 0; i < FY_COUNT(attrs); i++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(%%[2,n,32] q, %%[2,n,16] k, %%[2,n,16] v, %%[2,2,7,8] a, %%[2,2,7,8] b, %%[64,3] u, %%[64,3] w) => (y, e, f) <int32[2] p = {2, 0}, int32[1] o = {3}> { " LENGTHS
                       "y, e, f = " MS "GroupQueryAttention <num_heads = 4, kv_num_heads = 2%s> (q, k, v, a, b, s, t, u, w) }", attrs[i]);
        each_float(t.at);
        fy_buf_free(&t);
        fy_buf_fmt(&t, "(%%[2,n,64] q, %%[64,4] u, %%[64,4] w) => (y, e, f) <int32[2] p = {1, 0}, int32[1] o = {1}> { d = Shape <start = 1, end = 2> (q) t = Cast <to = 6> (d) l = Sub (t, o) s = Mul (l, p) "
                       "y, e, f = " MS "GroupQueryAttention <num_heads = 4, kv_num_heads = 2%s> (q, , , , , s, t, u, w) }", attrs[i]);
        each_float(t.at);
        fy_buf_free(&t);
    }
}

/* Weights are folded to constants when the model is compiled: bytes from sines. */
static void test_few_bits(void **state) {
    (void)state;
    static const struct { int bits, block, k, blocks; const char *zeros; } forms[] = {{4, 16, 40, 3, ""}, {4, 16, 40, 3, "z"}, {8, 16, 33, 3, "z"}, {2, 32, 64, 2, "z"}, {4, 32, 64, 2, "f"}, {8, 32, 64, 2, ""}};
    for (int i = 0; i < FY_COUNT(forms); i++)
        for (int bias = 0; bias < 2; bias++) {
            fy_buf t = {0};
            int n = 37, bytes = forms[i].block * forms[i].bits / 8, row = (forms[i].blocks * forms[i].bits + 7) / 8;
            fy_buf_fmt(&t, "(%%[2,n,%d] x, %%[%d] c) => (y) <int64[3] bs = {%d, %d, %d}, int64[2] ss = {%d, %d}, int64[2] zs = {%d, %d}, float o = {0}, float i = {1}, float h = {100}> {", forms[i].k, n, n, forms[i].blocks, bytes, n, forms[i].blocks, n, row);
            fy_buf_fmt(&t, "nb = Constant <value = float {%d}> () rb = Range (o, nb, i) fb = Sin (rb) gb = Mul (fb, h) hb = Abs (gb) ub = Cast <to = 2> (hb) b = Reshape (ub, bs) ", n * forms[i].blocks * bytes);
            fy_buf_fmt(&t, "ns = Constant <value = float {%d}> () rs = Range (o, ns, i) fs = Cos (rs) qs = Div (fs, h) vs = Reshape (qs, ss) s = Cast <to = #> (vs) ", n * forms[i].blocks);
            fy_buf_fmt(&t, "nz = Constant <value = float {%d}> () rz = Range (o, nz, i) fz = Sin (rz) gz = Mul (fz, h) hz = Abs (gz) uz = Cast <to = 2> (hz) z = Reshape (uz, zs) ", n * row);
            fy_buf_fmt(&t, "fv = Mul (vs, h) f = Cast <to = #> (fv) y = com.microsoft.MatMulNBits <K = %d, N = %d, bits = %d, block_size = %d> (x, b, s, %s, , %s) }", forms[i].k, n, forms[i].bits, forms[i].block, forms[i].zeros, bias ? "c" : "");
            each_float(t.at);
            fy_buf_free(&t);
        }
}

/* Halves in bodies, and what bodies read from around them. */
static void test_bodies(void **state) {
    (void)state;
    each_float("(bool c, %[n,8] x, %[8,8] w) => (y, z) <int64 m = {3}, bool t = {1}, float e = {0.02}> { k = CastLike (e, x) v = Mul (w, k) a = MatMul (x, v) y = If <then_branch = t () => (p) { p = MatMul (a, v) }, else_branch = f () => (q) { q = Softmax (a) }> (c) "
               "z, u = Loop <body = l (int64 i, bool b, %[n,8] s) => (b2, s2, r) { b2 = Identity (b) d = MatMul (s, v) f = Add (d, a) s2 = Softmax (f) r = ReduceMax <keepdims = 0> (s2) }> (m, t, x) }");
}

/* Operators of com.microsoft by ai.onnx's of another form. */
static void test_renamed(void **state) {
    (void)state;
    both("(float[n,4] x) => (a, b, c) <int64[1,4] p = {1, 2, 0, 3}, int64[4] q = {-1, 2, 0, 1}, float[1] v = {7}> { a = com.microsoft.Pad (x, p) b = com.microsoft.Pad (x, q, v) c = com.microsoft.Pad <mode = \"edge\"> (x, p) }");
    both("(float[n,4] x, int64[3,n,5] i, float16[n,2] h) => (a, b, c, d, e) <int32 m = {-1}, int32[1] z = {0}, int64 k = {1}> "
         "{ a = com.microsoft.ExpandDims (x, m) b = com.microsoft.ExpandDims (h, z) c = com.microsoft.Trilu (i) d = com.microsoft.Trilu <upper = 0> (x, k) e = com.microsoft.ExpandDims (i, z) }");
    both("(int64[n,3,5] x, int32[4,1] i, uint8[n,2] u) => (a, b) <int64[2,2] j = {0, 1, 0, 0}> { z = Sub (i, i) a = com.microsoft.GatherND (x, z) b = com.microsoft.GatherND (u, j) }");
    both("(float[2,5,n,6] x, float[2,3,4,2] g) => (a, b, c) { a = com.microsoft.GridSample (x, g) b = com.microsoft.GridSample <mode = \"bicubic\", padding_mode = \"border\"> (x, g) c = com.microsoft.GridSample <mode = \"nearest\", align_corners = 1> (x, g) }");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_norms), cmocka_unit_test(test_products), cmocka_unit_test(test_attention), cmocka_unit_test(test_same), cmocka_unit_test(test_diffusion), cmocka_unit_test(test_cached), cmocka_unit_test(test_few_bits), cmocka_unit_test(test_bodies), cmocka_unit_test(test_renamed)};
    return both_main(tests, FY_COUNT(tests), "compose");
}
