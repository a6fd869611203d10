/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_matmul.c - products of our engine against the reference kernels, on each instruction set: vectors, batches that spread, Gemm in full;
 * under precision=bf16 against the reference kernels on operands that casts have rounded. */
#include "engines/both.h"

/* Weights made of sines: folded to constants when the model is compiled. */
#define WEIGHTS(name, count, dims) \
    name "_s = Constant <value_ints = [" dims "]> () " name "_0 = Constant <value = float {0}> () " name "_n = Constant <value = float {" count "}> () " name "_1 = Constant <value = float {1}> () " \
    name "_r = Range (" name "_0, " name "_n, " name "_1) " name "_f = Sin (" name "_r) " name " = Reshape (" name "_f, " name "_s) "

static void test_constants(void **state) {
    (void)state;
    both("(float[n,37] x) => (y) { " WEIGHTS("w", "1221", "37, 33") "y = MatMul (x, w) }");
    both("(float[37] x) => (y) { " WEIGHTS("w", "1221", "37, 33") WEIGHTS("b", "33", "33") "p = MatMul (x, w) q = Add (p, b) y = Relu (q) }");
    both("(float[n,2,37] x, float[n,2,33] r) => (y) { " WEIGHTS("w", "1221", "37, 33") WEIGHTS("b", "33", "33") "p = MatMul (x, w) q = Add (p, b) s = Add (q, r) y = Gelu (s) }");
    both("(float[n,1] x) => (y) { " WEIGHTS("w", "3", "1, 3") "y = MatMul (x, w) }");
    both("(float[n,600] x) => (y) { " WEIGHTS("w", "1800", "600, 3") "p = MatMul (x, w) y = Tanh (p) }");                                 /* two pieces of k */
    both("(float[n,1024] x) => (y) { " WEIGHTS("w", "71680", "1024, 70") "y = MatMul (x, w) }");                                           /* rows that are copied together */
    both("(float[n,9] x) => (y) { " WEIGHTS("w", "6003", "9, 667") "p = MatMul (x, w) y = Sigmoid (p) }");                                 /* more panels than a piece has */
}

static void test_computed(void **state) {
    (void)state;
    both("(float[n,7] a, float[7,n] b) => (y) { y = MatMul (a, b) }");
    both("(float[n] a, float[n] b) => (y) { y = MatMul (a, b) }");
    both("(float[n] a, float[n,5] b) => (y) { p = MatMul (a, b) y = Relu (p) }");
    both("(float[5,n] a, float[n] b) => (y) { y = MatMul (a, b) }");
    both("(float[n] a, float[2,3,n,5] b) => (y) { y = MatMul (a, b) }");
    both("(float[2,3,5,n] a, float[n] b, float[2,3,5] c) => (y) { p = MatMul (a, b) y = Add (p, c) }");
    both("(float[2,1,n,5] a, float[3,5,n] b) => (y) { y = MatMul (a, b) }");
    both("(float[1,3,4,n] a, float[2,1,n,6] b) => (y) { p = MatMul (a, b) y = Swish (p) }");
    both("(float[2,n,5] a) => (y) { t = Transpose <perm = [0, 2, 1]> (a) y = MatMul (a, t) }");
    both_at("(float[n,3] a, float[3,n] b) => (y) { y = MatMul (a, b) }", (const int64_t[]){0, 2, 0}, 3);
    both_at("(float[3,n] a, float[n,3] b) => (y) { y = MatMul (a, b) }", (const int64_t[]){0, 2, 0}, 3);
    both_at("(float[n,3,4] a, float[4] b) => (y) { y = MatMul (a, b) }", (const int64_t[]){0, 2, 0}, 3);
}

static void test_gemm(void **state) {
    static const char *const c[] = {"float[1]", "float[17]", "float[1,17]", "float[n,1]", "float[n,17]"};
    char body[400];
    (void)state;
    for (int i = 0; i < FY_COUNT(c); i++)
        for (int t = 0; t < 4; t++) {
            (void)snprintf(body, sizeof body, "(float[%s] a, float[%s] b, %s c) => (y) { p = Gemm <transA = %d, transB = %d, alpha = 0.75, beta = %s> (a, b, c) y = Relu (p) }",
                           t & 1 ? "21, n" : "n, 21", t & 2 ? "17, 21" : "21, 17", c[i], t & 1, t >> 1, i == 3 ? "0.0" : i == 1 ? "1.0" : "-1.5");
            both(body);
        }
    both("(float[n,21] a, float[21,17] b) => (y) { p = Gemm <alpha = 2.0> (a, b) y = Gelu (p) }");
    both("(float[n,21] a, float[n,17] b, float[17] c) => (y) { y = Gemm <transA = 1> (a, b, c) }");
    both("(float[n,21] a, float[17] c) => (y) { " WEIGHTS("w", "357", "17, 21") "y = Gemm <transB = 1> (a, w, c) }");
    both("(float[21,n] a, float[n,17] c) => (y) { " WEIGHTS("w", "357", "21, 17") "y = Gemm <transA = 1, alpha = 0.5> (a, w, c) }");
    both_at("(float[n,3] a, float[n,4] b, float[3,4] c) => (y) { y = Gemm <transA = 1, beta = 2.0> (a, b, c) }", (const int64_t[]){0, 2, 0, 40}, 4);
    both_at("(float[n,3] a, float[3,4] b, float[4] c) => (y) { y = Gemm <alpha = 2.0> (a, b, c) }", (const int64_t[]){0, 2, 0, 40}, 4);
}

/* ---- precision=bf16 -------------------------------------------------------------------------------------------------------- */

/* `body` by our engine in bf16; `rounded`: the same with casts that round the operands, by the reference kernels. */
static void both_bf16(const char *body, const char *rounded) {
    static const int64_t sizes[] = {3, 1, 5, 19, 64, 3};
    both_rig fast, ref;
    ferry_error e;
    fast.m = model_of(body);
    fast.engine = fy_engine_find("ferry");
    if (fast.engine->compile(&fast.c, fast.m, &(fy_engine_options){.threads = 2, .bf16 = true}, &e)) fail_msg("%s in %s", e.text, body);
    assert_ok(fast.engine->session(&fast.s, fast.c, &e), e);
    both_open(&ref, rounded, "reference");
    for (int round = 0; round < FY_COUNT(sizes); round++) {
        fy_rval in[BOTH_MOST] = {{0}}, out[BOTH_MOST] = {{0}}, want[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
        both_fill(in, fast.m, sizes[round], round);
        for (int i = 0; i < BOTH_MOST; i++) at[i] = &in[i];
        if (fast.engine->run(fast.s, at, out, &e)) fail_msg("%s in %s", e.text, body);
        if (ref.engine->run(ref.s, at, want, &e)) fail_msg("%s in %s", e.text, rounded);
        for (int64_t i = 0; i < fast.m->graph->out.n; i++) both_same(&out[i], &want[i], body, sizes[round]);
        for (int i = 0; i < BOTH_MOST; i++) { fy_rval_free(&in[i]); fy_rval_free(&out[i]); fy_rval_free(&want[i]); }
    }
    both_close(&fast);
    both_close(&ref);
}

#define ROUND(to, from) to "_b = Cast <to = 16> (" from ") " to " = Cast <to = 1> (" to "_b) "

static void test_bf16(void **state) {
    (void)state;
    both_bf16("(float[n,37] x) => (y) { " WEIGHTS("w", "1221", "37, 33") "y = MatMul (x, w) }",
              "(float[n,37] x) => (y) { " WEIGHTS("w", "1221", "37, 33") ROUND("p", "x") ROUND("q", "w") "y = MatMul (p, q) }");
    both_bf16("(float[37] x) => (y) { " WEIGHTS("w", "1221", "37, 33") "y = MatMul (x, w) }",
              "(float[37] x) => (y) { " WEIGHTS("w", "1221", "37, 33") ROUND("p", "x") ROUND("q", "w") "y = MatMul (p, q) }");
    both_bf16("(float[n,600] x, float[n,70] r) => (y) { " WEIGHTS("w", "42000", "600, 70") WEIGHTS("b", "70", "70") "m = MatMul (x, w) a = Add (m, b) s = Add (a, r) y = Relu (s) }",
              "(float[n,600] x, float[n,70] r) => (y) { " WEIGHTS("w", "42000", "600, 70") WEIGHTS("b", "70", "70") ROUND("p", "x") ROUND("q", "w")
              "m = MatMul (p, q) a = Add (m, b) s = Add (a, r) y = Relu (s) }");
    both_bf16("(float[n,21] x, float[17] c) => (y) { " WEIGHTS("w", "357", "17, 21") "g = Gemm <transB = 1> (x, w, c) y = Gelu (g) }",
              "(float[n,21] x, float[17] c) => (y) { " WEIGHTS("w", "357", "17, 21") ROUND("p", "x") ROUND("q", "w") "g = Gemm <transB = 1> (p, q, c) y = Gelu (g) }");
    /* what is computed, and other operators, stay f32 */
    both_bf16("(float[n,7] a, float[7,n] b) => (y) { y = MatMul (a, b) }", "(float[n,7] a, float[7,n] b) => (y) { y = MatMul (a, b) }");
}

/* The level of AVX-512 BF16 as well: its dot products are for CPUs where they pay, or where they are asked for. */
static int on_bf16(const struct CMUnitTest *tests, size_t n) {
    int status = 1;
    pid_t child = fork();
    if (!child) {
        setenv("FERRY_CPU", "avx512bf16", 1);
        exit(_cmocka_run_group_tests("matmul avx512bf16", tests, n, NULL, NULL) != 0);
    }
    return child < 0 || waitpid(child, &status, 0) != child || status != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_constants), cmocka_unit_test(test_computed), cmocka_unit_test(test_gemm), cmocka_unit_test(test_bf16)};
    return both_main(tests, FY_COUNT(tests), "matmul") + on_bf16(tests, FY_COUNT(tests));
}
