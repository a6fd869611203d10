/* SPDX-License-Identifier: Apache-2.0
 * test_contrib.c - the operators of com.microsoft: hand-worked values, inference against execution, operands that must be refused, random
 * operands, and every allocation failing once. What they compute is compared with onnxruntime by tests/python/test_contrib.py. */
#include "contrib_samples.h"
#include "infer_property.h"

#include <math.h>

#define MS "com.microsoft::"
#define F32(dims, ...) rig_f32(dims, RIG_F(__VA_ARGS__))
#define D(...) RIG_DIMS(__VA_ARGS__)
static const fy_tensor none;

static fy_tensor of(fy_dtype t, int rank, const int64_t *dim, const void *v) { return fy_tensor_view(t, rank, dim, v); }
#define U8(dims, ...) of(FERRY_UINT8, dims, (uint8_t[]){__VA_ARGS__})
#define I8(dims, ...) of(FERRY_INT8, dims, (int8_t[]){__VA_ARGS__})
#define I32(dims, ...) of(FERRY_INT32, dims, (int32_t[]){__VA_ARGS__})
#define U8S(v) of(FERRY_UINT8, 0, NULL, (uint8_t[]){v})
#define I8S(v) of(FERRY_INT8, 0, NULL, (int8_t[]){v})
#define I32S(v) of(FERRY_INT32, 0, NULL, (int32_t[]){v})
#define SCALAR 0, NULL
#define ONE(v) rig_f32(0, NULL, RIG_F(v))

/* Runs and compares output 0. */
static void gives(const char *op, int nin, const fy_tensor *in, int nattr, const fy_attr *attr, int rank, const int64_t *dim, const double *want) {
    ferry_error e = {0};
    fy_tensor y[1];
    fy_status s = rig_op(op, nin, in, nattr, attr, 1, y, &e);
    if (s != FY_OK) print_error("%s: error[%s]: %s\n", op, e.code, e.text);
    assert_int_equal(s, FY_OK);
    rig_expect(&y[0], rank, dim, want);
    fy_tensor_free(&y[0]);
}
#define GIVES(op, attrs, dims, want, ...) gives(MS op, (int)(sizeof((fy_tensor[]){__VA_ARGS__}) / sizeof(fy_tensor)), (fy_tensor[]){__VA_ARGS__}, attrs, dims, want)

static void refused(const char *op, fy_code code, int nin, const fy_tensor *in, int nattr, const fy_attr *attr) {
    ferry_error e = {0};
    fy_tensor y[1];
    fy_status s = rig_op(op, nin, in, nattr, attr, 1, y, &e);
    if (s == FY_OK) fy_tensor_free(&y[0]);
    if (s != (fy_status)code) print_error("%s: error[%s]: %s\n", op, e.code ? e.code : "", e.text);
    assert_int_equal(s, code);
}
#define REFUSED(op, code, attrs, ...) refused(MS op, FY_E_##code, (int)(sizeof((fy_tensor[]){__VA_ARGS__}) / sizeof(fy_tensor)), (fy_tensor[]){__VA_ARGS__}, attrs)

/* ---- values -------------------------------------------------------------------------------------------------------- */

static void test_products(void **state) {
    (void)state;
    fy_tensor a = F32(D(2, 2), 1, 2, 3, 4), b = F32(D(2, 2), 0, 1, 1, 0);
    GIVES("FusedMatMul", FY_A(fy_float("alpha", 2)), D(2, 2), RIG_D(4, 2, 8, 6), a, b);
    GIVES("FusedMatMul", FY_A(fy_int("transA", 1)), D(2, 2), RIG_D(3, 1, 4, 2), a, b);
    /* [2 rows, 1 of a batch, 2] is one matrix of two rows */
    GIVES("FusedMatMul", FY_A(fy_int("transBatchA", 1)), D(1, 2, 2), RIG_D(2, 1, 4, 3), F32(D(2, 1, 2), 1, 2, 3, 4), F32(D(1, 2, 2), 0, 1, 1, 0));
    GIVES("FusedGemm", FY_A(fy_text("activation", "Relu")), D(2, 2), RIG_D(0, 0, 1, 1), a, b, F32(D(2), -3, -2));
    GIVES("FusedConv", FY_A(fy_text("activation", "LeakyRelu"), ((fy_attr){.name = "activation_params", .kind = FY_ATTR_FLOATS, .n = 1, .floats = RIG_D(0.5)})), D(1, 1, 2),
          RIG_D(-1, 7), F32(D(1, 1, 2), 1, 2), F32(D(1, 1, 1), 3), F32(D(1), -5), F32(D(1, 1, 2), 0, 6));
    GIVES("MatMulInteger16", FY_NOATTR, D(1, 1), RIG_D(20000 * 30000.0), of(FERRY_INT16, D(1, 1), (int16_t[]){20000}), of(FERRY_INT16, D(1, 1), (int16_t[]){30000}));
    GIVES("Inverse", FY_NOATTR, D(2, 2), RIG_D(-2, 1, 1.5, -0.5), a);
    GIVES("Inverse", FY_NOATTR, D(2, 2), RIG_D(0, 0.5, 1, 0), F32(D(2, 2), 0, 1, 2, 0));
}

static void test_norms(void **state) {
    (void)state;
    /* x + skip + bias = 1 3: mean 2, deviation 1 */
    GIVES("SkipLayerNormalization", FY_NOATTR, D(1, 1, 2), RIG_D(-2 + 1, 3 + 1), F32(D(1, 1, 2), 1, 1), F32(D(1, 2), 0, 1), F32(D(2), 2, 3), F32(D(2), 1, 1), F32(D(2), 0, 1));
    GIVES("SkipSimplifiedLayerNormalization", FY_NOATTR, D(1, 1, 2), RIG_D(3 / sqrt(12.5), 4 / sqrt(12.5)), F32(D(1, 1, 2), 1, 4), F32(D(1, 1, 2), 2, 0), F32(D(2), 1, 1));
    ferry_error e = {0};
    fy_tensor y[3], in[] = {I32(D(1, 3), 1, 0, 1), none, F32(D(2, 2), 0, 0, 1, 3), F32(D(3, 2), 0, 0, 1, 1, 0, 2), none, F32(D(2), 1, 1), F32(D(2), 0, 0), I32(D(1, 3), 1, 1, 0)};
    assert_ok(rig_op(MS "EmbedLayerNormalization", 8, in, FY_NOATTR, 3, y, &e), e);
    assert_int_equal(fy_get_i64(&y[1], 0), 2);
    rig_expect(&y[2], D(1, 3, 2), RIG_D(1, 3, 1, 1, 1, 5));
    rig_expect(&y[0], D(1, 3, 2), RIG_D(-1, 1, 0, 0, -1, 1));
    for (int i = 0; i < 3; i++) fy_tensor_free(&y[i]);
}

static void test_attentions(void **state) {
    (void)state;
    ferry_error e = {0};
    fy_tensor y[3];
    /* equal scores: the mean of the values seen */
    fy_tensor q = F32(D(1, 2, 2), 0, 0, 0, 0), k = F32(D(1, 3, 2), 1, 2, 3, 4, 5, 6), v = F32(D(1, 3, 2), 1, 0, 2, 0, 6, 3);
    GIVES("MultiHeadAttention", FY_A(fy_int("num_heads", 1)), D(1, 2, 2), RIG_D(3, 1, 3, 1), q, k, v);
    GIVES("MultiHeadAttention", FY_A(fy_int("num_heads", 1)), D(1, 2, 2), RIG_D(1.5, 0, 1.5, 0), q, k, v, none, I32(D(1), 2));
    GIVES("MultiHeadAttention", FY_A(fy_int("num_heads", 2), fy_float("scale", 1)), D(1, 1, 2), RIG_D(2, 0), F32(D(1, 1, 2), 0, 0), F32(D(1, 2, 2), 0, 0, 0, 0),
          F32(D(1, 2, 2), 1, 0, 3, 0));
    /* one token after two: the cache grows by it, the window sees the last two */
    fy_tensor past = F32(D(1, 1, 4, 2), 1, 1, 2, 2, 9, 9, 9, 9), now = F32(D(1, 1, 2), 3, 5);
    fy_tensor in[] = {F32(D(1, 1, 2), 0, 0), now, now, past, past, I32(D(1), 2), I32(D(1), 4)};
    assert_ok(rig_op(MS "GroupQueryAttention", 7, in, FY_A(fy_int("num_heads", 1), fy_int("kv_num_heads", 1), fy_int("local_window_size", 2)), 3, y, &e), e);
    rig_expect(&y[0], D(1, 1, 2), RIG_D(2.5, 3.5));
    rig_expect(&y[1], D(1, 1, 4, 2), RIG_D(1, 1, 2, 2, 3, 5, 0, 0));
    for (int i = 0; i < 3; i++) fy_tensor_free(&y[i]);
    /* a sink of score 0 beside two keys of score 0 takes a third */
    fy_tensor first[] = {F32(D(1, 2, 2), 0, 0, 0, 0), F32(D(1, 2, 2), 0, 0, 0, 0), F32(D(1, 2, 2), 2, 4, 4, 8), none, none, I32(D(1), 1), I32(D(1), 2)};
    gives(MS "GroupQueryAttention", 7, first, FY_A(fy_int("num_heads", 1), fy_int("kv_num_heads", 1), fy_int("smooth_softmax", 1)), D(1, 2, 2), RIG_D(1, 2, 2, 4));
    GIVES("RotaryEmbedding", FY_NOATTR, D(1, 1, 2), RIG_D(-2, 1), F32(D(1, 1, 2), 1, 2), rig_i64(D(1), RIG_I(1)), F32(D(2, 1), 1, 0), F32(D(2, 1), 0, 1));
}

static void test_quantised(void **state) {
    (void)state;
    fy_tensor half = ONE(0.5f), one = ONE(1.0f), two = ONE(2.0f), zero = U8S(10);
    GIVES("QLinearAdd", FY_NOATTR, D(3), RIG_D(10, 14, 255), U8(D(3), 10, 12, 255), one, zero, U8(D(1), 20), half, U8S(20), half, U8S(10));
    GIVES("QLinearMul", FY_NOATTR, D(2), RIG_D(0, 6), U8(D(2), 0, 6), one, none, U8(D(1), 2), one, none, two);
    GIVES("QLinearLeakyRelu", FY_A(fy_float("alpha", 0.25)), D(2), RIG_D(9, 14), U8(D(2), 6, 14), one, zero, one, zero);
    GIVES("QLinearGlobalAveragePool", FY_NOATTR, D(1, 1, 1), RIG_D(4), U8(D(1, 1, 3), 2, 4, 6), one, U8S(0), one, U8S(0));
    GIVES("QLinearConcat", FY_A(fy_int("axis", 0)), D(3), RIG_D(4, 1, 255), one, U8S(0), U8(D(1), 2), two, U8S(0), U8(D(2), 1, 255), one, U8S(0));
    GIVES("QLinearSoftmax", FY_A(fy_int("opset", 13)), D(2), RIG_D(128, 128), U8(D(2), 7, 7), one, U8S(0), ONE(1.0f / 256), U8S(0));
    /* (1 2)(3 4)' = 11, halved; float without an output scale */
    GIVES("QGemm", FY_NOATTR, D(1, 1), RIG_D(5.5), U8(D(1, 2), 11, 12), half, zero, I8(D(2, 1), 3, 4), one, I8S(0));
    GIVES("QGemm", FY_NOATTR, D(1, 1), RIG_D(6), U8(D(1, 2), 11, 12), half, zero, I8(D(2, 1), 3, 4), one, I8S(0), none, one, U8S(0));       /* 5.5 to even */
    GIVES("MatMulIntegerToFloat", FY_NOATTR, D(1, 1), RIG_D(6.5), U8(D(1, 2), 11, 12), I8(D(2, 1), 3, 4), half, F32(D(1), 1), zero, none, F32(D(1), 1));
    GIVES("ReduceSumInteger", FY_A(((fy_attr){.name = "axes", .kind = FY_ATTR_INTS, .n = 1, .ints = RIG_I(0)}), fy_int("keepdims", 0)), SCALAR, RIG_D(510), U8(D(2), 255, 255));
    /* nibbles 1 2 3 .. from the low half; zero point 8 of its own, scale 2 */
    uint8_t b[8] = {0x21, 0x43};
    GIVES("MatMulNBits", FY_A(fy_int("K", 4), fy_int("N", 1), fy_int("block_size", 16)), D(1, 1), RIG_D(2 * (-7 - 6 - 5 - 4)), F32(D(1, 4), 1, 1, 1, 1), of(FERRY_UINT8, D(1, 1, 8), b),
          F32(D(1, 1), 2));
    GIVES("MatMulNBits", FY_A(fy_int("K", 4), fy_int("N", 1), fy_int("block_size", 16)), D(1, 1), RIG_D(2 * (1 + 2 + 3 + 4)), F32(D(1, 4), 1, 1, 1, 1), of(FERRY_UINT8, D(1, 1, 8), b),
          F32(D(1, 1), 2), U8(D(1, 1), 0));
    GIVES("MatMulNBits", FY_A(fy_int("K", 4), fy_int("N", 2), fy_int("block_size", 16)), D(1, 2), RIG_D(3, 4), F32(D(1, 4), 1, 1, 1, 1), of(FERRY_UINT8, D(2, 0, 8), b),
          of(FERRY_FLOAT, D(2, 0), b), none, none, F32(D(2), 3, 4));      /* a projection left out */
    GIVES("GatherBlockQuantized", FY_A(fy_int("block_size", 16)), D(2, 4), RIG_D(-14, -12, -10, -8, 0, 0, 0, 0), of(FERRY_UINT8, D(1, 2), b), rig_i64(D(2), RIG_I(-1, 1)), F32(D(1, 1), 2));
}

static void test_forms(void **state) {
    (void)state;
    ferry_error e = {0};
    fy_tensor y[3], x = F32(D(6), 2, 1, 1, 3, 4, 3);
    GIVES("Range", FY_NOATTR, D(3), RIG_D(2, 3, 4), I32S(2), I32(D(1), 5));
    GIVES("ExpandDims", FY_NOATTR, D(6, 1), RIG_D(2, 1, 1, 3, 4, 3), x, I32S(-1));
    assert_ok(rig_op(MS "Unique", 1, &x, FY_NOATTR, 3, y, &e), e);
    rig_expect(&y[0], D(4), RIG_D(2, 1, 3, 4));
    rig_expect(&y[1], D(6), RIG_D(0, 1, 1, 2, 3, 2));
    rig_expect(&y[2], D(4), RIG_D(1, 2, 2, 1));
    for (int i = 0; i < 3; i++) fy_tensor_free(&y[i]);
    GIVES("CropAndResize", FY_NOATTR, D(1, 1, 1, 2), RIG_D(1.5, 2.5), F32(D(1, 1, 2, 2), 0, 1, 3, 4), F32(D(1, 4), 0, 0, 1, 1), I32(D(1), 0), I32(D(2), 1, 2));
    GIVES("Pad", FY_NOATTR, D(3), RIG_D(7, 1, 2), F32(D(2), 1, 2), rig_i64(D(1, 2), RIG_I(1, 0)), F32(D(1), 7));
}

/* ---- refused ------------------------------------------------------------------------------------------------------- */

static void test_refused(void **state) {
    (void)state;
    fy_tensor q = F32(D(1, 1, 2), 0, 0), past = F32(D(1, 1, 2, 2), 0, 0, 0, 0), one = ONE(1);
#define GQA FY_A(fy_int("num_heads", 1), fy_int("kv_num_heads", 1))
    REFUSED("GroupQueryAttention", VALUE, GQA, q, q, q, past, past, I32(D(1), 3), I32(D(1), 3));           /* 4 tokens of 3 */
    REFUSED("GroupQueryAttention", VALUE, GQA, q, q, q, past, past, I32(D(1), -1), I32(D(1), 3));
    REFUSED("GroupQueryAttention", VALUE, GQA, q, q, q, past, past, I32(D(1), INT32_MAX), I32(D(1), INT32_MAX));
    REFUSED("GroupQueryAttention", VALUE, GQA, q, q, q, past, past, I32(D(1), 4), I32(D(1), 5));           /* 4 before; the past holds 2 */
    REFUSED("GroupQueryAttention", VALUE, GQA, q, q, q, none, none, I32(D(1), 0), I32(D(1), 0));
    REFUSED("GroupQueryAttention", SHAPE, GQA, q, q, q, past, past, I32(D(2), 1, 1), I32(D(1), 2));
    REFUSED("GroupQueryAttention", ATTR, FY_A(fy_int("num_heads", 3), fy_int("kv_num_heads", 2)), q, q, q, none, none, I32(D(1), 0), I32(D(1), 1));
    REFUSED("GroupQueryAttention", GRAPH, FY_A(fy_int("num_heads", 1), fy_int("kv_num_heads", 1), fy_int("do_rotary", 1)), q, q, q, none, none, I32(D(1), 0), I32(D(1), 1));
    REFUSED("GroupQueryAttention", VALUE, GQA, q, q, q, past, past, I32(D(1), 1), I32(D(1), 2), none, none, none, none, none, none, none, none, none, I32(D(1), 2));
#define MHA FY_A(fy_int("num_heads", 1))
    REFUSED("MultiHeadAttention", SHAPE, MHA, q, q, q, none, I32(D(1, 3), 1, 1, 1));
    REFUSED("MultiHeadAttention", SHAPE, MHA, q, q, q, none, none, F32(D(1, 1, 1, 2), 0, 0));
    REFUSED("MultiHeadAttention", GRAPH, MHA, q, q);
    REFUSED("MultiHeadAttention", ATTR, FY_A(fy_int("num_heads", 0)), q, q, q);
    REFUSED("MultiHeadAttention", VALUE, MHA, q, q, q, none, none, none, past, past, I32(D(1), 2));        /* no room for one more */
    REFUSED("DecoderMaskedMultiHeadAttention", INDEX, FY_A(fy_int("num_heads", 1), fy_int("past_present_share_buffer", 1)), q, q, q, none, none, past, past, I32(D(1), 1), none,
            I32(D(1, 1, 2), 7, 0));
    REFUSED("Attention", SHAPE, MHA, q, F32(D(2, 6), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), none, I32(D(4), 0, 0, 0, 0));
    REFUSED("Attention", UNSUPPORTED, FY_A(fy_int("num_heads", 1), fy_int("do_rotary", 1)), q, F32(D(2, 6), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    REFUSED("RotaryEmbedding", INDEX, FY_NOATTR, q, rig_i64(D(1), RIG_I(1)), F32(D(1, 1), 1), F32(D(1, 1), 1));
    REFUSED("RotaryEmbedding", INDEX, FY_NOATTR, q, rig_i64(D(1), RIG_I(INT64_MIN)), F32(D(1, 1), 1), F32(D(1, 1), 1));
    fy_tensor table = F32(D(2, 2), 0, 0, 0, 0), vector = F32(D(2), 0, 0);
    for (int id = -1; id < 3; id += 3)
        REFUSED("EmbedLayerNormalization", INDEX, FY_NOATTR, I32(D(1, 1), id), none, table, table, none, vector, vector);
    REFUSED("EmbedLayerNormalization", INDEX, FY_NOATTR, I32(D(1, 3), 0, 0, 0), none, table, table, none, vector, vector);                        /* three places of two */
    static const int64_t blocks[] = {0, -16, 8, 24, INT64_MIN, (int64_t)1 << 40};
    uint8_t bytes[64] = {0};
    for (int i = 0; i < FY_COUNT(blocks); i++) {
        REFUSED("MatMulNBits", ATTR, FY_A(fy_int("K", 4), fy_int("N", 1), fy_int("block_size", blocks[i])), F32(D(1, 4), 1, 1, 1, 1), of(FERRY_UINT8, D(1, 1, 8), bytes), F32(D(1, 1), 1));
        REFUSED("GatherBlockQuantized", ATTR, FY_A(fy_int("block_size", blocks[i])), of(FERRY_UINT8, D(1, 8), bytes), rig_i64(D(1), RIG_I(0)), F32(D(1, 1), 1));
    }
    REFUSED("MatMulNBits", SHAPE, FY_A(fy_int("K", 4), fy_int("N", 2), fy_int("block_size", 16)), F32(D(1, 4), 1, 1, 1, 1), of(FERRY_UINT8, D(1, 1, 8), bytes), F32(D(1, 1), 1));
    REFUSED("MatMulNBits", INDEX, FY_A(fy_int("K", 4), fy_int("N", 1), fy_int("block_size", 16)), F32(D(1, 4), 1, 1, 1, 1), of(FERRY_UINT8, D(1, 1, 8), bytes), F32(D(1, 1), 1), none,
            I32(D(4), 0, 1, 0, 0));
    REFUSED("MatMulNBits", ATTR, FY_A(fy_int("K", INT64_MAX), fy_int("N", INT64_MAX), fy_int("block_size", 16)), F32(D(1, 4), 1, 1, 1, 1), of(FERRY_UINT8, D(1, 1, 8), bytes),
            F32(D(1, 1), 1));
    REFUSED("MatMulNBits", SHAPE, FY_A(fy_int("K", 4), fy_int("N", INT32_MAX), fy_int("block_size", 16)), F32(D(0, 4), 1), of(FERRY_UINT8, D(1, 1, 8), bytes), F32(D(1, 1), 1),
            none, none, F32(D(1), 1));
    REFUSED("FusedConv", ATTR, FY_A(fy_text("activation", "Shape")), F32(D(1, 1, 2), 1, 2), F32(D(1, 1, 1), 3));
    REFUSED("QLinearAdd", SHAPE, FY_NOATTR, U8(D(1), 1), F32(D(2), 1, 1), none, U8(D(1), 1), one, none, one);
    REFUSED("QLinearSoftmax", VALUE, FY_A(fy_int("opset", 13)), U8(D(2), 7, 7), one, none, ONE(0));
    REFUSED("QLinearConcat", GRAPH, FY_A(fy_int("axis", 0)), one, U8S(0), U8(D(1), 2), one, U8S(0), U8(D(1), 2));
    REFUSED("CropAndResize", INDEX, FY_NOATTR, F32(D(1, 1, 2, 2), 0, 1, 3, 4), F32(D(1, 4), 0, 0, 1, 1), I32(D(1), 1), I32(D(2), 1, 2));
    REFUSED("CropAndResize", VALUE, FY_NOATTR, F32(D(1, 1, 2, 2), 0, 1, 3, 4), F32(D(1, 4), 0, 0, 1, 1), I32(D(1), 0), I32(D(2), 0, 2));
}

/* ---- samples ------------------------------------------------------------------------------------------------------- */

static fy_attr read_attr(fy_arena *a, const fy_op *op, const char *text, size_t n) {
    const char *eq = memchr(text, '=', n);
    assert_non_null(eq);
    fy_attr at = {.name = fy_arena_strn(a, text, (size_t)(eq - text)), .n = 1};
    for (const fy_attr_spec *s = op->attrs; s && s->name; s++) if (!strcmp(s->name, at.name)) at.kind = s->kind;
    char *v = fy_arena_strn(a, eq + 1, n - (size_t)(eq + 1 - text)), *end;
    int64_t *ints = FY_NEWN(a, int64_t, 8);
    double *floats = FY_NEWN(a, double, 8);
    at.i = strtoll(v, NULL, 10);
    at.f = strtod(v, NULL);
    at.s = (fy_str){v, strlen(v)};
    at.ints = ints;
    at.floats = floats;
    if (at.kind != FY_ATTR_INTS && at.kind != FY_ATTR_FLOATS) return at;
    at.n = 0;
    for (char *p = v + 1; *p && *p != ']'; p = *end == ',' ? end + 1 : end) {
        floats[at.n] = strtod(p, &end);
        ints[at.n] = (int64_t)floats[at.n];
        at.n++;
        assert_true(end != p && at.n <= 8);
    }
    return at;
}

/* Builds the sample in r->m; the node, or NULL with the reason in r->e. `mutate`: one thing about it is changed at random. */
static fy_node *build(rig *r, const sample *s, bool mutate) {
    static const int64_t odd[] = {0, 1, -1, 2, -2, 3, 7, 16, INT64_MAX, INT64_MIN, INT32_MAX, INT32_MIN, (int64_t)1 << 40};
    char name[80];
    fy_value *v[20] = {NULL};
    fy_attr attr[20];
    int nin = 0, nattr = 0, victim = mutate ? (int)rig_range(r, 0, 4) : -1, target = (int)rig_range(r, 0, 8);
    snprintf(name, sizeof name, MS "%s", s->op);
    const fy_op *op = fy_op_find(fy_registry_builtin(), "com.microsoft", s->op);
    assert_non_null(op);
    for (const char *p = s->in; *p; nin++) {
        size_t n = strcspn(p, ";");
        const char *eq = memchr(p, '=', n), *stop = eq ? eq : p + n;
        while (*p == ' ') p++;
        char text[60] = "";
        size_t word = strcspn(p, " ;=");
        fy_dtype t = fy_dtype_find(p, word);
        snprintf(text, sizeof text, "%.*s", (int)(stop - p - (ptrdiff_t)word > 0 ? stop - p - (ptrdiff_t)word : 0), p + word);
        bool mine = mutate && nin == target;
        if (*p == '-' || (mine && victim == 0)) v[nin] = NULL;
        else {
            static const fy_dtype kinds[] = {FERRY_FLOAT, FERRY_INT32, FERRY_UINT8, FERRY_INT8, FERRY_FLOAT16, FERRY_INT64};
            if (mine && victim == 1) t = kinds[rig_range(r, 0, FY_COUNT(kinds) - 1)];
            const fy_dim *d[FY_MAX_RANK];
            int64_t known[FY_MAX_RANK], count = 1;
            int rank = 0;
            for (const char *w = text; *w;) {
                size_t len = strcspn(w, " ");
                if (len) {
                    assert_non_null(d[rank] = fy_dim_parse(r->m->dims, w, len));
                    if (!fy_dim_known(d[rank], &known[rank])) known[rank] = 0;
                    if (mine && victim == 2 && rig_range(r, 0, 1)) d[rank] = fy_dim_const(r->m->dims, known[rank] = rig_range(r, 0, 9));
                    count *= known[rank++];
                }
                w += len + (w[len] == ' ');
            }
            if (mine && victim == 2 && rank && rig_range(r, 0, 3) == 0) rank--;
            if (eq) {
                fy_tensor c;
                count = 1;
                for (int i = 0; i < rank; i++) count *= known[i];
                assert_ok(fy_tensor_new(&c, t, rank, known, &r->e), r->e);
                char *end = NULL;
                const char *at = eq + 1;
                for (int64_t i = 0; i < count; i++, at = end) {
                    double x = strtod(at, &end);
                    if (end == at) x = 0;
                    if (mine && victim == 3) x = (double)odd[rig_range(r, 0, FY_COUNT(odd) - 1)];
                    fy_put_f64(&c, i, x);
                }
                assert_non_null(v[nin] = fy_graph_add_const(r->m->graph, NULL, fy_const_from(&r->m->arena, &c)));
                fy_tensor_free(&c);
            } else {
                fy_type type = fy_tensor_type(r->m, t, rank, d);
                assert_non_null(v[nin] = fy_graph_add_input(r->m->graph, fy_arena_fmt(&r->m->arena, "in%d", nin), &type));
            }
        }
        p += strcspn(p, ";");
        p += *p == ';';
    }
    for (const char *p = s->attrs; *p;) {
        size_t n = strcspn(p, " ");
        attr[nattr++] = read_attr(&r->m->arena, op, p, n);
        p += n + (p[n] == ' ');
    }
    for (int i = 0; mutate && victim == 4 && i < nattr; i++)
        if (rig_range(r, 0, 1)) {
            attr[i].i = odd[rig_range(r, 0, FY_COUNT(odd) - 1)];
            attr[i].f = (double)rig_range(r, -4, 4) / 2;
            if (attr[i].kind == FY_ATTR_INTS) attr[i].n = rig_range(r, 0, attr[i].n);
        }
    if (mutate && victim == 4 && op->attrs && nattr < 20) {
        int k = (int)rig_range(r, 0, 20);
        for (const fy_attr_spec *a = op->attrs; a->name; a++)
            if (k-- == 0 && (a->kind == FY_ATTR_INT || a->kind == FY_ATTR_FLOAT)) {
                attr[nattr] = (fy_attr){.name = a->name, .kind = a->kind, .n = 1, .i = odd[rig_range(r, 0, FY_COUNT(odd) - 1)], .f = (double)rig_range(r, -4, 4)};
                nattr++;
            }
    }
    fy_node *node = fy_emit_n(&r->b, name, s->nout, nin, v, nattr, attr);
    for (int i = 0; node && i < s->nout; i++) assert_true(fy_graph_add_output(r->m->graph, node->out[i]));
    return node;
}

static void test_property(void **state) {
    (void)state;
    const fy_registry *reg = fy_registry_builtin();
    for (int i = 0; i < fy_registry_count(reg); i++) {                  /* each operator has a sample */
        const fy_op *op = fy_registry_at(reg, i);
        bool found = strcmp(op->domain, "com.microsoft") != 0;
        for (int k = 0; k < FY_COUNT(samples) && !found; k++) found = !strcmp(samples[k].op, op->name);
        if (!found) print_error("%s has no sample\n", op->name);
        assert_true(found);
    }
    for (int i = 0; i < FY_COUNT(samples); i++) {
        rig r;
        rig_new(&r);
        r.seed += (uint64_t)i * 7919;
        fy_node *n = build(&r, &samples[i], false);
        if (!n) print_error("%s (%d): error[%s]: %s\n", samples[i].op, i, r.e.code, r.e.text);
        assert_non_null(n);
        bool range = !strcmp(samples[i].op, "Range");
        if (!range || samples[i].in[0] == 'i') rig_property(&r, 1, 6);
        rig_free(&r);
    }
}

/* Random tensors for the inputs of r's graph; frees nothing. */
static int fill(rig *r, fy_rval *val, fy_rval **in, bool wild) {
    static const double floats[] = {0, -0.0, 1, -1, 0.5, 1e30, -1e30, 1e-30, (double)INFINITY, (double)NAN};
    fy_graph *g = r->m->graph;
    for (int i = 0; i < g->in.n; i++) {
        const fy_type *t = &g->in.at[i]->type;
        int64_t dim[FY_MAX_RANK];
        for (int a = 0; a < t->rank; a++) assert_true(fy_dim_eval(t->dim[a], rig_value, r, &dim[a]));
        val[i] = (fy_rval){.kind = FY_TENSOR};
        in[i] = &val[i];
        assert_ok(fy_tensor_new(&val[i].t, t->dtype, t->rank, dim, &r->e), r->e);
        for (int64_t k = 0; k < fy_count(&val[i].t); k++) {
            bool odd = wild && rig_range(r, 0, 15) == 0;
            if (fy_dtype_class(t->dtype) == FY_CLASS_F) fy_put_f64(&val[i].t, k, odd ? floats[rig_range(r, 0, FY_COUNT(floats) - 1)] : (double)rig_range(r, -8, 8) / 4);
            else fy_put_i64(&val[i].t, k, odd && t->dtype != FERRY_BOOL ? rig_range(r, 0, 1) ? INT64_MAX : -1 : rig_range(r, 0, t->dtype == FERRY_BOOL ? 1 : 2));
        }
    }
    return (int)g->in.n;
}

/* The same bits without threads and with three. */
static void test_threads(void **state) {
    (void)state;
    fy_pool *pool = fy_pool_new(3);
    for (int i = 0; i < FY_COUNT(samples); i++) {
        rig r;
        rig_new(&r);
        r.seed += (uint64_t)i * 7919;
        assert_non_null(build(&r, &samples[i], false));
        for (int a = 0; a < r.m->graph->in.n; a++)
            for (int d = 0; d < r.m->graph->in.at[a]->type.rank; d++) rig_symbols(&r, r.m->graph->in.at[a]->type.dim[d], 4, 5);
        fy_rval val[20], *in[20], out[2][8] = {{{0}}};
        int nin = fill(&r, val, in, false);
        for (int k = 0; k < 2; k++) {
            fy_interp it = {.pool = k ? pool : NULL};
            assert_ok(fy_interp_run(&it, r.m->graph, in, out[k], &r.e), r.e);
        }
        for (int a = 0; a < samples[i].nout; a++) {
            fy_tensor *x = &out[0][a].t, *y = &out[1][a].t;
            assert_true(fy_same_dims(x, y));
            if (fy_count(x)) assert_memory_equal(x->data, y->data, (size_t)fy_count(x) * (size_t)fy_elem_bytes(x->dtype));
            fy_rval_free(&out[0][a]);
            fy_rval_free(&out[1][a]);
        }
        for (int a = 0; a < nin; a++) fy_rval_free(&val[a]);
        rig_free(&r);
    }
    fy_pool_free(pool);
}

/* Everything about a valid node is changed at random: each run ends with a status that is no bug. FERRY_HOSTILE=N: N trials each. */
static void test_hostile(void **state) {
    (void)state;
    const char *often = getenv("FERRY_HOSTILE");
    int trials = often ? (int)strtol(often, NULL, 10) : 60, good = 0;
    for (int i = 0; i < FY_COUNT(samples); i++)
        for (int k = 0; k < trials; k++) {
            rig r;
            rig_new(&r);
            r.seed += (uint64_t)(i * 100003 + k) * 7919;
            for (int n = 0; n < 5; n++) (void)rig_random(&r);
            fy_node *n = build(&r, &samples[i], k > 0);
            fy_rval val[20], *in[20], out[8] = {{0}};
            if (n) {
                for (int a = 0; a < r.m->graph->in.n; a++)
                    for (int d = 0; d < r.m->graph->in.at[a]->type.rank; d++) rig_symbols(&r, r.m->graph->in.at[a]->type.dim[d], 0, 5);
                int nin = fill(&r, val, in, true);
                fy_interp it = {.max_bytes = 1 << 22};
                fy_status s = fy_interp_run(&it, r.m->graph, in, out, &r.e);
                good += s == FY_OK;
                for (int a = 0; s == FY_OK && a < samples[i].nout; a++) fy_rval_free(&out[a]);
                for (int a = 0; a < nin; a++) fy_rval_free(&val[a]);
                if (s != FY_OK && r.e.kind == FERRY_BUG) { print_error("%s: error[%s]: %s\n", samples[i].op, r.e.code, r.e.text); fail(); }
            } else if (r.e.kind == FERRY_BUG) { print_error("%s: error[%s]: %s\n", samples[i].op, r.e.code, r.e.text); fail(); }
            rig_free(&r);
        }
    assert_true(good > FY_COUNT(samples) * trials / 4);
}

/* Every allocation of inferring and running fails once: NOMEM, or the failure did not matter. */
static void test_no_memory(void **state) {
    (void)state;
    for (int i = 0; i < FY_COUNT(samples); i++) {
        int64_t calls = 1;
        for (int64_t k = -1; k < calls; k++) {
            rig r;
            rig_new(&r);
            r.seed += (uint64_t)i * 7919;
            fy_node *n = build(&r, &samples[i], false);
            assert_non_null(n);
            for (int a = 0; a < r.m->graph->in.n; a++)
                for (int d = 0; d < r.m->graph->in.at[a]->type.rank; d++) rig_symbols(&r, r.m->graph->in.at[a]->type.dim[d], 2, 3);
            fy_rval val[20], *in[20], out[8] = {{0}};
            int nin = fill(&r, val, in, false);
            fy_interp it = {.max_bytes = 1 << 26};
            fy_os_fail_at(k, false);
            fy_status s = fy_infer_node(n, &r.e);
            if (s == FY_OK) s = fy_interp_run(&it, r.m->graph, in, out, &r.e);
            if (k < 0) calls = fy_os_calls();
            fy_os_fail_at(-1, false);
            if (s != FY_OK && s != FY_E_NOMEM) print_error("%s at %lld: error[%s]: %s\n", samples[i].op, (long long)k, r.e.code, r.e.text);
            assert_true(k < 0 ? s == FY_OK : s == FY_OK || s == FY_E_NOMEM);
            for (int a = 0; s == FY_OK && a < samples[i].nout; a++) fy_rval_free(&out[a]);
            for (int a = 0; a < nin; a++) fy_rval_free(&val[a]);
            rig_free(&r);
        }
        assert_true(calls > 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_norms), cmocka_unit_test(test_attentions), cmocka_unit_test(test_quantised),
                                       cmocka_unit_test(test_forms), cmocka_unit_test(test_refused), cmocka_unit_test(test_property), cmocka_unit_test(test_threads), cmocka_unit_test(test_hostile),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
