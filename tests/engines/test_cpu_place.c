/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_place.c - gathering and scattering by indices, TopK, padding by reflection and wrapping, blocks of depth and space, triangles and elementwise
 * quantisation of our engine against the reference kernels, every dtype. */
#include "engines/both.h"

static const char *const dtypes[] = {"float", "double", "int64", "int32", "uint8", "bool", "float16", "int8", "int16", "bfloat16", "uint64"};

/* %: the dtype. */
static void each(const char *body, int most) {
    for (int i = 0; i < most; i++) {
        fy_buf t = {0};
        for (const char *p = body; *p; p++)
            if (*p == '%') fy_buf_str(&t, dtypes[i]);
            else fy_buf_char(&t, *p);
        both_at(t.at, (const int64_t[]){3, 1, 17, 40}, 4);
        fy_buf_free(&t);
    }
}
#define ALL FY_COUNT(dtypes)

static void test_gather(void **state) {
    (void)state;
    each("(%[2,n,5] x, int64[2,3,5] i) => (a) { a = GatherElements <axis = 1> (x, i) }", ALL);
    each("(%[n,5] x, int32[n,3] j) => (a) <int32[1] o = {-1}, int32[1] f = {5}> { k = Mod (j, f) m = Add (k, o) a = GatherElements <axis = -1> (x, m) }", ALL);
    each("(%[n,4,3] x, int64[6,1] i) => (a, b) <int64[2,2] k = {0, 1, -1, 3}> { a = GatherND (x, i) b = GatherND (x, k) }", ALL);
    each("(%[2,n,3] x, int64[2,4,1] i) => (a) { a = GatherND <batch_dims = 1> (x, i) }", ALL);
}

static void test_scatter(void **state) {
    (void)state;
    each("(%[2,n,5] x, int64[2,3,4] i, %[2,3,4] u) => (a) { a = ScatterElements <axis = 1> (x, i, u) }", ALL);
    each("(%[n,5] x, int64[n,3] i, %[n,3] u) => (a) <int64[1] f = {5}> { k = Mod (i, f) a = ScatterElements <axis = 1> (x, k, u) }", ALL);
    each("(%[n,5] x, int32[7,3] i, %[7,3] u) => (a) { a = Scatter (x, i, u) }", ALL);
    static const char *const how[] = {"add", "mul", "min", "max"};
    for (int i = 0; i < FY_COUNT(how); i++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(%%[n,5] x, int64[7,3] i, %%[7,3] u, int64[4,1] k, %%[4,5] w) => (a, b) { a = ScatterElements <reduction = \"%s\"> (x, i, u) b = ScatterND <reduction = \"%s\"> (x, k, w) }", how[i], how[i]);
        each(t.at, ALL);
        fy_buf_free(&t);
    }
    each("(%[n,4] x, int64[6,1] i, %[6,4] u, %[2] w) => (a, b) <int64[2,2] k = {0, 1, -1, 3}> { a = ScatterND (x, i, u) b = ScatterND (x, k, w) }", ALL);
}

static void test_top(void **state) {
    (void)state;
    each("(%[2,n,7] x) => (a, i, b, j, c, k) <int64[1] one = {1}, int64[1] four = {4}, int64[1] all = {7}> { a, i = TopK (x, four) b, j = TopK <axis = 1, largest = 0> (x, one) c, k = TopK <largest = 0> (x, all) }", 5);
    each("(%[3,600] x) => (a, i) <int64[1] k = {300}> { a, i = TopK (x, k) }", 5);
    each("(%[2,n,900] x) => (a, i, b, j) <int64[1] k = {7}, int64[1] m = {40}> { a, i = TopK (x, k) b, j = TopK <largest = 0> (x, k) c, l = TopK <largest = 0> (x, m) }", 5);
    both("(float[2,n,900] x) => (a, i, b, j) <int64[1] k = {7}, int64[1] m = {500}> { y = Sqrt (x) a, i = TopK (y, m) b, j = TopK <largest = 0> (y, k) }");
    both("(float16[2,n,70] x) => (a, i) <int64[1] k = {9}> { a, i = TopK (x, k) }");
    both("(float[n,6] x) => (a, i, b, j) <float[6] z = {0, 0, -0, 1, 0, -1}, int64[1] k = {5}> { y = Mul (x, z) q = Sub (x, x) r = Div (q, y) w = Add (r, z) a, i = TopK (w, k) b, j = TopK <largest = 0> (w, k) }");
}

static void test_pad(void **state) {
    (void)state;
    static const char *const modes[] = {"reflect", "edge", "wrap"};
    for (int i = 0; i < FY_COUNT(modes); i++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(%%[n,4,5] x) => (a, b, c) <int64[6] p = {0, 2, 3, 1, 1, 0}, int64[2] q = {-1, 9}, int64[1] k = {2}, int64[6] r = {5, 0, 0, 4, -2, -3}> "
                       "{ a = Pad <mode = \"%s\"> (x, p) b = Pad <mode = \"%s\"> (x, q, , k) c = Pad <mode = \"%s\"> (x, r) }", modes[i], modes[i], modes[i]);
        each(t.at, ALL);
        fy_buf_free(&t);
    }
}

static void test_blocks(void **state) {
    (void)state;
    each("(%[2,12,n,3] x) => (a, b) { a = DepthToSpace <blocksize = 2> (x) b = DepthToSpace <blocksize = 2, mode = \"CRD\"> (x) }", ALL);
    each("(%[n,3,6,4] x) => (a, b) { a = SpaceToDepth <blocksize = 2> (x) b = SpaceToDepth <blocksize = 1> (x) }", ALL);
    each("(%[2,n,7] x) => (a, b, c, d) <int64 k = {2}, int64 m = {-3}, int64 far = {-900}> { a = Trilu (x) b = Trilu <upper = 0> (x) c = Trilu (x, k) e = Trilu <upper = 0> (x, m) d = Trilu <upper = 0> (x, far) }", ALL);
}

static void test_quantize(void **state) {
    (void)state;
    static const char *const to[] = {"uint8", "int8", "uint16", "int16"}, *const from[] = {"float", "float16", "bfloat16"};
    for (int i = 0; i < FY_COUNT(to); i++)
        for (int k = 0; k < FY_COUNT(from); k++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(%s[2,n,7] x, %s[2] z2, %s[7] z7, %s[2,n,7] q) => (a, b, c, d, f, g) <float s = {0.013}, %s z = {3}, float[2] s2 = {0.02, 0.7}, float[7] s7 = {0.1, 0.2, 0.3, 1, 0.05, 0.004, 2}> "
                           "{ a = QuantizeLinear (x, s, z) b = QuantizeLinear <axis = 0> (x, s2, z2) c = QuantizeLinear <axis = 2> (x, s7, z7) "
                           "d = DequantizeLinear (q, s, z) f = DequantizeLinear <axis = 0> (q, s2, z2) g = DequantizeLinear <axis = -1> (q, s7, z7) }", from[k], to[i], to[i], to[i], to[i]);
            both(t.at);
            fy_buf_free(&t);
        }
    both("(int32[2,n,7] x) => (a) <float s = {0.013}, int32[1] k = {2100000011}> { y = Mul (x, k) a = DequantizeLinear (y, s) }");
    both("(float16[2,n,7] x, uint8[2,n,7] q, int8[7] z) => (a, b, c, d) <float h = {0.013}, float[7] i = {0.1, 0.2, 0.3, 1, 0.05, 0.004, 2}> { s = CastLike (h, x) t = CastLike (i, x) "
         "a = QuantizeLinear (x, s) b = QuantizeLinear <axis = 2> (x, t, z) c = DequantizeLinear (q, s) d = DequantizeLinear <axis = 2> (b, t, z) }");
    both("(bfloat16[2,n,7] x) => (a, c) <float h = {0.013}> { s = CastLike (h, x) a = QuantizeLinear (x, s) c = DequantizeLinear (a, s) }");
    both("(float[2,n,70] x) => (a, s, b, t) <float v = {1e-37}, float w = {0}> { y = Mul (x, v) a, s, z = DynamicQuantizeLinear (y) q = Div (x, w) r = Sqrt (x) b, t, u = DynamicQuantizeLinear (r) }");
    both("(float[2,n,70] x) => (a, s, z, b, t, y) { a, s, z = DynamicQuantizeLinear (x) w = Sub (x, x) b, t, y = DynamicQuantizeLinear (w) }");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gather), cmocka_unit_test(test_scatter), cmocka_unit_test(test_top), cmocka_unit_test(test_pad), cmocka_unit_test(test_blocks), cmocka_unit_test(test_quantize)};
    return both_main(tests, FY_COUNT(tests), "place");
}
