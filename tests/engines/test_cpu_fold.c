/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_fold.c - reductions of every dtype along any axes, and Resize of the last two axes, of our engine against the reference kernels. */
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
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reductions), cmocka_unit_test(test_resize)};
    return both_main(tests, FY_COUNT(tests), "fold");
}
