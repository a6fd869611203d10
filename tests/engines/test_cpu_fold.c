/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_fold.c - reductions of every dtype along any axes, Resize of the last two axes, GridSample, of our engine against the reference kernels. */
#include "engines/both.h"

static const char *const dtypes[] = {"float", "double", "int64", "int32", "float16", "bfloat16", "uint32", "uint64", "int8", "uint8"};

static void test_reductions(void **state) {
    (void)state;
    static const struct { const char *op; int most; } ops[] = {{"ReduceSum", 8}, {"ReduceMean", 8}, {"ReduceMax", 10}, {"ReduceMin", 10}, {"ReduceL1", 8}, {"ReduceL2", 8}, {"ReduceSumSquare", 8}};
    static const char *const axes[] = {"int64[1] s = {-1}", "int64[1] s = {0}", "int64[1] s = {1}", "int64[2] s = {1, 2}", "int64[2] s = {0, 2}", "int64[2] s = {1, 3}", "int64[3] s = {0, 1, 3}", "int64[4] s = {0, 1, 2, 3}"};
    for (int i = 0; i < FY_COUNT(ops); i++)
        for (int d = 0; d < ops[i].most; d++)
            for (int k = 0; k < FY_COUNT(axes); k++) {
                fy_buf t = {0};
                fy_buf_fmt(&t, "(%s[3,n,2,17] x) => (a, b) <%s> { y = Add (x, x) a = %s (y, s) b = %s <keepdims = 0> (x, s) }", dtypes[d], axes[k], ops[i].op, ops[i].op);
                both_at(t.at, (const int64_t[]){3, 1, 90}, 3);
                fy_buf_free(&t);
            }
    both_at("(float[3,n,300] x) => (a, b, c) <int64[1] s = {-1}, int64[2] t = {0, 2}, float k = {0.9}> { y = Cos (x) a = ReduceProd (y, s) z = Abs (x) b = ReduceLogSum (z, s) c = ReduceLogSum (z, t) }", (const int64_t[]){3, 1, 9}, 3);
    both_at("(double[3,n,5] x, int32[3,n,5] q) => (a, b, c) <int64[1] s = {1}> { a = ReduceProd (x, s) z = Abs (x) b = ReduceLogSum (z, s) c = ReduceProd (q, s) }", (const int64_t[]){3, 1, 9}, 3);
    both_at("(float[3,n,1500] x) => (a, b, c, d) <int64[1] s = {0}, int64[2] t = {0, 2}> { a = ReduceSum (x, s) b = ReduceMax (x, t) c = ReduceMean (x, t) d = ReduceMin (x, s) }", (const int64_t[]){3, 9}, 2);
}

static void test_resize(void **state) {
    (void)state;
    static const char *const types[] = {"float", "double", "float16", "uint8", "int32", "bfloat16"}, *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const how[] = {"half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"};
    for (int m = 0; m < FY_COUNT(modes); m++)
        for (int d = 0; d < (m ? 1 : FY_COUNT(types)); d++)
            for (int h = 0; h < FY_COUNT(how); h++) {
                fy_buf t = {0};
                fy_buf_fmt(&t, "(%s[2,n,5,7] x) => (a, b, c) <float[4] s = {1, 1, 2, 2}, float[4] r = {1, 1, 0.6, 1.7}, int64[2] z = {9, 4}> { a = Resize <mode = \"%s\", coordinate_transformation_mode = \"%s\"> (x, , s) "
                               "b = Resize <mode = \"%s\", coordinate_transformation_mode = \"%s\"> (x, , r) c = Resize <mode = \"%s\", axes = [2, 3], coordinate_transformation_mode = \"%s\"> (x, , , z) }",
                           types[d], modes[m], how[h], modes[m], how[h], modes[m], how[h]);
                both_at(t.at, (const int64_t[]){3, 1, 5}, 3);
                fy_buf_free(&t);
            }
    both("(float[2,n,5,7] x) => (a, b, c, d) <float[4] s = {1, 1, 0.5, 0.3}, float[4] t = {1, 2, 2, 1}, float[4] r = {1, 1, 3, 1}> { a = Resize <mode = \"linear\", antialias = 1> (x, , s) b = Resize <mode = \"linear\"> (x, , t) "
         "c = Resize <mode = \"cubic\", exclude_outside = 1> (x, , r) d = Resize <nearest_mode = \"floor\"> (x, , s) }");
    both("(float[4,n] x) => (a) <float[2] s = {1.5, 3}> { a = Resize <mode = \"linear\"> (x, , s) }");
    for (int m = 0; m < FY_COUNT(modes); m++)               /* axes before the last two; whole numbers are rounded */
        for (int d = 0; d < FY_COUNT(types); d++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(%s[2,3,n,5,4] x) => (a, b, c, d) <float[5] s = {1, 1, 2, 1.7, 2}, float[5] r = {1, 2, 0.6, 1, 1}, float[5] q = {3, 1, 1, 1, 0.5}, float[5] p = {1, 1, 1, 2, 1}> { ", types[d]);
            for (int i = 0; i < 4; i++) fy_buf_fmt(&t, "%c = Resize <mode = \"%s\"> (x, , %c) ", "abcd"[i], modes[m], "srqp"[i]);
            fy_buf_str(&t, "}");
            both_at(t.at, (const int64_t[]){3, 1, 5}, 3);
            fy_buf_free(&t);
        }
    both("(uint8[1,2,n,9000] x) => (a) <float[4] s = {1, 2, 2, 1}> { a = Resize <mode = \"linear\"> (x, , s) }");
}

/* Rows of every length, with what is no number among them: short ones are joined many at once, of long ones block by block. */
static void test_rows(void **state) {
    (void)state;
    static const char *const ops[] = {"ReduceMax", "ReduceMin", "ReduceSum", "ReduceProd"};
    for (int i = 0; i < FY_COUNT(ops); i++)
        for (int d = 0; d < (i < 2 ? FY_COUNT(dtypes) : 8); d++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(%s[7,2,n] x) => (a, b) <int64[1] s = {-1}, int64[2] u = {0, 2}> { a = %s (x, s) b = %s <keepdims = 0> (x, u) }", dtypes[d], ops[i], ops[i]);
            both_at(t.at, (const int64_t[]){1, 2, 3, 4, 5, 31, 64, 1023, 1025, 2500}, i < 3 ? 10 : 5);
            fy_buf_free(&t);
        }
    both("(float[9,n] x, double[9,n] d) => (a, b, c, e, f, g) <int64[1] s = {-1}, float z = {0}> { y = Sqrt (x) a = ReduceMax (y, s) b = ReduceMin (y, s) k = Div (x, z) c = ReduceMax (k, s) e = ReduceMin (k, s) q = Sqrt (d) f = ReduceMax (q, s) g = ReduceMin (q, s) }");
}

/* Along one axis: sums and products of all before, the greatest and the least, with equal ones, ends of blocks and NaN. */
static void test_along(void **state) {
    (void)state;
    static const char *const axis[] = {"-1", "0", "1"}, *const how[] = {"", "<exclusive = 1>", "<reverse = 1>", "<reverse = 1, exclusive = 1>"};
    for (int d = 0; d < FY_COUNT(dtypes); d++)
        for (int a = 0; a < FY_COUNT(axis); a++) {
            const bool floats = strstr(dtypes[d], "loat") || !strcmp(dtypes[d], "double"), scans = strcmp(dtypes[d], "uint8") && strcmp(dtypes[d], "int8");
            fy_buf t = {0};
            for (int h = 0; scans && h < FY_COUNT(how); h++) {
                fy_buf_fmt(&t, "(%s[3,n,17] x) => (a, b) <int64 s = {%s}> { a = CumSum %s (x, s) b = CumProd %s (x, s) }", dtypes[d], axis[a], how[h], how[h]);
                both_at(t.at, (const int64_t[]){3, 1, 19}, 3);
                fy_buf_free(&t);
            }
            fy_buf_fmt(&t, "(%s[3,n,700] x) => (a, b, c%s) { a = ArgMax <axis = %s> (x) b = ArgMin <axis = %s, keepdims = 0> (x) c = ArgMax <axis = %s, select_last_index = 1> (x) %s", dtypes[d], floats ? ", d" : "", axis[a], axis[a], axis[a], floats ? "d = Hardmax <axis = " : "}");
            if (floats) fy_buf_fmt(&t, "%s> (x) }", axis[a]);
            both_at(t.at, (const int64_t[]){3, 1, 9}, 3);
            fy_buf_free(&t);
        }
    both("(float[3,n,17] x) => (a, b, c) { y = Sqrt (x) a = ArgMax <axis = 1> (y) b = ArgMin <axis = 2> (y) c = Hardmax <axis = 2> (y) }");
    both("(float[3,n,1030] x) => (a, b, c) <int64[1] s = {-1}, int64[1] t = {1}, int64[2] u = {0, 1}> { a = ReduceLogSumExp (x, s) b = ReduceLogSumExp <keepdims = 0> (x, t) c = ReduceLogSumExp (x, u) }");
    both("(float[3,n,5] x) => (a, b) <int64[1] s = {-1}, int64[1] t = {1}, float z = {0}> { y = Div (x, z) a = ReduceLogSumExp (y, s) b = ReduceLogSumExp (y, t) }");
    both("(float[2,n,5,7] x) => (a, b, c) { a = LRN <size = 5> (x) b = LRN <size = 2, alpha = 0.5, beta = 1.25, bias = 2.0> (x) c = LRN <size = 9> (x) }");
    both("(int64[2,n] i, float[2] v, int32[n,3] k, uint8[2] w) => (a, b, c) <int64 d = {9}, int64[1] f = {4}, int64 o = {3}> { j = Sub (i, o) a = OneHot (j, d, v) b = OneHot <axis = 0> (k, f, v) c = OneHot <axis = 1> (i, d, w) }");
}

/* Positions reach beyond the ends; no elements along an axis, too. */
static void test_grid(void **state) {
    (void)state;
    static const char *const modes[] = {"nearest", "linear", "cubic"}, *const pads[] = {"zeros", "border", "reflection"};
    for (int i = 0; i < 18; i++) {
        static const char *const nodes[] = {"(float[2,19,n,5] x, float[2,4,3,2] g, float[1,3,n] u, float[1,7,1] h, float[2,3,2,n,4] v, float[2,2,2,3,3] f) => (y, z, w) { y", "(x, g) z", "(u, h) w"};
        fy_buf t = {0};
        for (int k = 0; k < 3; k++) fy_buf_fmt(&t, "%s = GridSample <mode = \"%s\", padding_mode = \"%s\", align_corners = %d> ", nodes[k], modes[i % 3], pads[i / 3 % 3], i / 9);
        fy_buf_str(&t, "(v, f) }");
        both_at(t.at, (const int64_t[]){3, 1, 17, 0}, 4);
        fy_buf_free(&t);
    }
    both("(float16[1,3,6,n] x, float16[1,n,2,2] g) => (y) { y = GridSample (x, g) }");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reductions), cmocka_unit_test(test_rows), cmocka_unit_test(test_resize), cmocka_unit_test(test_along), cmocka_unit_test(test_grid)};
    return both_main(tests, FY_COUNT(tests), "fold");
}
