/* SPDX-License-Identifier: Apache-2.0
 * test_bodies.c - If, Loop, Scan, SequenceMap: their graphs run as plans of their own, with the results, errors and budgets of the reference
 * interpreter; iterations of sizes that have been seen allocate nothing. */
#include "engines/both.h"

#define W "float[4,4] w = {0.5, -0.25, 1, 0, 0.25, 0.5, -1, 0.125, 1, 0, 0.5, -0.5, 0, 0.25, -0.125, 1}"
#define TEN "int64 ten = {10}"

static void test_loop(void **state) {
    (void)state;
    both("(float[n,4] x) => (y, rows) <" W ", " TEN "> { y, rows = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t, r) { d = Identity (c) m = MatMul (s, w) t = Tanh (m) r = Neg (t) }> (ten, , x) }");
    /* trips and condition from outside: none, some, all */
    both("(float[n,4] x, int64 trips) => (y, rows) <" W "> { y, rows = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t, r) { d = Identity (c) t = MatMul (s, w) r = ReduceMax <keepdims = 0> (t) }> (trips, , x) }");
    both("(float[n,4] x, bool c0) => (y) <" TEN "> { y = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t) { t = Neg (s) three = Constant <value_int = 3> () d = Less (i, three) }> (ten, c0, x) }");
    /* no trip count; the body decides */
    both("(float[n,4] x) => (y, rows) { t0 = Constant <value = bool {1}> () y, rows = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t, r) { t = Exp (s) r = Identity (i) three = Constant <value_int = 6> () d = Less (i, three) }> (, t0, x) }");
    /* states that are swapped, kept, made of constants, of what comes from outside; the iteration's number as a state */
    both("(float[n,4] x, float[n,4] z) => (a, b, k, o, i) <" TEN ", float[2] two = {1, 2}, float[2] other = {3, 4}> { e = Exp (z) j = Constant <value_int = 7> () a, b, k, o, i = Loop <body = g (int64 it, bool c, float[n,4] p, float[n,4] q, float[2] r, u, int64 v) => (d, q, p, l, m, w2) "
         "{ d = Identity (c) l = Identity (other) m = Identity (e) w2 = Identity (it) }> (ten, , x, z, two, x, j) }");
    both("(float[n,4] x) => (y, z) <" TEN "> { y, z = Loop <body = b (int64 i, bool c, float[n,4] s, float[n,4] r) => (c, s, s) { q = Neg (s) }> (ten, , x, x) }");
}

static void test_growing(void **state) {
    (void)state;
    both("(float[1,4] x) => (y) <" W ", " TEN ", int64[1] last = {-1}, int64[1] end = {4611686018427387904}> { y = Loop <body = b (int64 i, bool c, s) => (d, t) { d = Identity (c) q = MatMul (s, w) k = Transpose <perm = [1, 0]> (s) m = MatMul (q, k) "
         "p = Softmax (m) a = MatMul (p, s) l = Slice (a, last, end) t = Concat <axis = 0> (s, l) }> (ten, , x) }");
    both("(float[n,4] x) => (y) <" TEN "> { y = Loop <body = b (int64 i, bool c, s) => (d, t) { d = Identity (c) q = Neg (s) t = Concat <axis = 1> (s, q) }> (ten, , x) }");
    /* another rank each time */
    both("(float[n] x) => (y) <int64 ten = {3}, int64[1] zero = {0}> { y = Loop <body = b (int64 i, bool c, s) => (d, t) { d = Identity (c) q = Unsqueeze (s, zero) t = Exp (q) }> (ten, , x) }");
    /* sizes that contents tell, inside */
    both("(float[n,4] x) => (y) <" TEN ", float half = {0.1}, int64[1] flat = {-1}> { f = Reshape (x, flat) y = Loop <body = b (int64 i, bool c, s) => (d, t) { d = Identity (c) a = Abs (s) g = Greater (a, half) m = Compress (s, g) t = Mul (m, m) }> (ten, , f) }");
}

static void test_nested(void **state) {
    (void)state;
    both("(float[n,4] x, bool k) => (y) <" W ", " TEN "> { e = Exp (x) y = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t) { d = Identity (c) two = Constant <value_int = 2> () r = Mod (i, two) o = Cast <to = 9> (r) "
         "t = If <then_branch = h () => (p) { m = MatMul (s, w) p = Tanh (m) }, else_branch = l () => (q) { u = Add (s, e) q = Relu (u) }> (o) }> (ten, , x) }");
    both("(float[n,4] x) => (y, rows) <" W ", int64 three = {3}> { e = Neg (x) y, rows = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t, r) { d = Identity (c) "
         "t, r = Loop <body = b2 (int64 i2, bool c2, float[n,4] s2) => (d2, t2, r2) { d2 = Identity (c2) m = MatMul (s2, w) a = Add (m, e) f = Cast <to = 1> (i) t2 = Sub (a, f) r2 = ReduceMax <keepdims = 0> (t2) }> (three, , s) }> (three, , x) }");
    both("(float[n,4] x, bool k) => (y) { y = If <then_branch = a () => (p) { p = If <then_branch = a2 () => (q) { q = Neg (x) }, else_branch = b2 () => (r) { r = Identity (x) }> (k) }, else_branch = b () => (s) { s = Exp (x) }> (k) }");
    /* a branch that does not fit these sizes is not taken */
    both("(float[n,4] x, bool k) => (y) <float[7,4] no = {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4}> { s = Shape (x) z = ReduceSum <keepdims = 0> (s) m = Constant <value_int = 11> () o = Equal (z, m) "
         "y = If <then_branch = a () => (p) { p = Add (x, no) }, else_branch = b () => (q) { q = Exp (x) }> (o) }");
}

static void test_scan(void **state) {
    (void)state;
    const char *cell = "both = Concat <axis = 1> (v, h) g = Gemm (both, w2, k) i, f, o, c = Split <axis = 1, num_outputs = 4> (g) si = Sigmoid (i) sf = Sigmoid (f) so = Sigmoid (o) tc = Tanh (c) m = Mul (sf, e) p = Mul (si, tc) e2 = Add (m, p) te = Tanh (e2) h2 = Mul (so, te) r = Identity (h2)";
    static const char *const attrs[] = {"", ", scan_input_directions = [1]", ", scan_output_directions = [1]", ", scan_input_axes = [1], scan_output_axes = [1]", ", scan_output_axes = [2], scan_output_directions = [1]"};
    for (int a = 0; a < FY_COUNT(attrs); a++) {
        fy_buf t = {0};
        fy_buf_fmt(&t, "(float[2,3] h0, float[2,3] c0, float[%s,5] x) => (y, z, rows) <float[8,12] w2 = {", strstr(attrs[a], "input_axes") ? "2,n" : "n,2");
        for (int i = 0; i < 96; i++) fy_buf_fmt(&t, "%s%.3f", i ? ", " : "", sin(i * 1.7));
        fy_buf_fmt(&t, "}, float[12] k = {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}> { y, z, rows = Scan <num_scan_inputs = 1, body = b (float[2,3] h, float[2,3] e, float[2,5] v) => (h2, e2, r) { %s }%s> (h0, c0, x) }", cell, attrs[a]);
        both(t.at);
        fy_buf_free(&t);
    }
}

static void test_sequence_map(void **state) {
    (void)state;
    both("(float[n,4] x) => (y) <" W ", int64 one = {1}> { a = Neg (x) s = SequenceConstruct (x, a, x) q = SequenceMap <body = b (float[n,4] v) => (r) { m = MatMul (v, w) r = Relu (m) }> (s) y = SequenceAt (q, one) }");
    both("(float[n,4] x) => (q) { s = SplitToSequence <axis = 1> (x) q = SequenceMap <body = b (v, u) => (r) { m = Mul (v, u) r = Exp (m) }> (s, x) }");
}

static void test_convolutions(void **state) {
    fy_buf t = {0};
    (void)state;
    fy_buf_str(&t, "(float[2,17,n,6] x) => (y, rows) <int64 four = {4}, float[17,17,3,3] k = {");
    for (int i = 0; i < 17 * 17 * 9; i++) fy_buf_fmt(&t, "%s%.4f", i ? ", " : "", sin(i * 1.7) / 50);
    fy_buf_str(&t, "}> { y, rows = Loop <body = b (int64 i, bool c, float[2,17,n,6] s) => (d, t, r) { d = Identity (c) a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (s, k) e = Relu (a) t = Add (e, s) r = GlobalAveragePool (t) }> (four, , x) }");
    both(t.at);
    fy_buf_free(&t);
}

static void test_strings(void **state) {
    (void)state;
    both("(string[n] x) => (y, rows) <int64 ten = {3}> { y, rows = Loop <body = b (int64 i, bool c, string[n] s) => (d, t, r) { d = Identity (c) t = StringConcat (s, x) r = Identity (t) }> (ten, , x) }");
    both("(float[n,4] x) => (y) <int64 ten = {3}> { e = SequenceEmpty () y = Loop <body = b (int64 i, bool c, seq(float[n,4]) s) => (d, t) { d = Identity (c) f = Cast <to = 1> (i) v = Add (x, f) t = SequenceInsert (s, v) }> (ten, , e) }");
}

/* ---- what is refused ------------------------------------------------------------------------------------------------------- */

static void test_refused(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "(float[n,4] x, float[m,2] u) => (y, z) <int64 ten = {9}> { y, z = Loop <body = b (int64 i, bool c, s) => (d, t, q) { d = Identity (c) t = Concat <axis = 1> (s, s) q = MatMul (t, u) }> (ten, , x) }",
        "(float[n,4] x) => (y, rows) <int64 ten = {9}> { y, rows = Loop <body = b (int64 i, bool c, s) => (d, t, r) { d = Identity (c) t = Concat <axis = 0> (s, s) r = Neg (t) }> (ten, , x) }",
        "(float[n,4] x) => (y, z) <int64 ten = {9}> { y, z = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t, g) { d = Identity (c) g = Gather <axis = 1> (s, i) t = Add (s, s) }> (ten, , x) }",
        "(float[n,4] x) => (y) { t0 = Constant <value = bool {1}> () y = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t) { d = Identity (c) t = Neg (s) }> (, t0, x) }"};
    for (int i = 0; i < FY_COUNT(bodies); i++) {
        ferry_error e[2];
        for (int k = 0; k < 2; k++) {
            both_rig r = {.m = model_of(bodies[i]), .engine = fy_engine_find(k ? "ferry" : "reference")};
            fy_rval in[BOTH_MOST] = {{0}}, out[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
            assert_ok(r.engine->compile(&r.c, r.m, &(fy_engine_options){.threads = 1, .max_steps = 1000}, &e[k]), e[k]);
            assert_ok(r.engine->session(&r.s, r.c, &e[k]), e[k]);
            both_fill(in, r.m, 3, 1);
            for (int q = 0; q < BOTH_MOST; q++) at[q] = &in[q];
            for (int again = 0; again < 2; again++)
                if (!r.engine->run(r.s, at, out, &e[k])) fail_msg("%s runs %s", r.engine->name, bodies[i]);
            for (int q = 0; q < BOTH_MOST; q++) fy_rval_free(&in[q]);
            both_close(&r);
        }
        if (e[0].code != e[1].code || strcmp(e[0].text, e[1].text)) fail_msg("\"%s\" instead of \"%s\" in %s", e[1].text, e[0].text, bodies[i]);
    }
}

/* Where nothing is known of a body's sizes, since one of its steps cannot be, parts of a blocked value have the memory of whole blocks all the same. */
static void test_blocks_unknown(void **state) {
    fy_buf t = {0};
    ferry_error e = {0};
    (void)state;
    fy_buf_str(&t, "(float[1,16,n,6] x, float[m,2] u) => (y, z) <int64 two = {2}, int64[2] parts = {32, 13}, float[45,16,1,1] k = {");
    for (int i = 0; i < 45 * 16; i++) fy_buf_fmt(&t, "%s%.4f", i ? ", " : "", sin(i * 1.7) / 9);
    fy_buf_str(&t, "}> { y, z = Loop <body = b (int64 i, bool c, float[1,16,n,6] s) => (d, t, q) { d = Identity (c) t = Relu (s) v = Conv <kernel_shape = [1, 1]> (s, k) r = Relu (v) a, b = Split <axis = 1> (r, parts) "
                   "g = GlobalAveragePool (a) h = GlobalAveragePool (b) j = Concat <axis = 1> (g, h) f = Flatten (j) q = MatMul (f, u) }> (two, , x) }");
    both_rig r = {.m = model_of(t.at), .engine = fy_engine_find("ferry")};
    fy_rval in[BOTH_MOST] = {{0}}, out[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
    fy_os_guard(FY_GUARD_END);
    assert_ok(r.engine->compile(&r.c, r.m, &(fy_engine_options){.threads = 1}, &e), e);
    assert_ok(r.engine->session(&r.s, r.c, &e), e);
    both_fill(in, r.m, 5, 1);
    for (int q = 0; q < BOTH_MOST; q++) at[q] = &in[q];
    assert_fails(r.engine->run(r.s, at, out, &e), SHAPE);
    for (int q = 0; q < BOTH_MOST; q++) fy_rval_free(&in[q]);
    both_close(&r);
    fy_os_guard(FY_GUARD_OFF);
    fy_buf_free(&t);
}

/* ---- what is allocated ----------------------------------------------------------------------------------------------------- */

static int64_t calls_of(const char *body, int64_t trips) {
    both_rig r;
    ferry_error e;
    fy_rval in[BOTH_MOST] = {{0}}, out[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
    int64_t calls = 0;
    both_open(&r, body, "ferry");
    both_fill(in, r.m, 5, 1);
    fy_put_i64(&in[1].t, 0, trips);
    for (int i = 0; i < BOTH_MOST; i++) at[i] = &in[i];
    fy_os_fail_at(-1, false);
    for (int run = 0; run < 4; run++) {
        int64_t before = fy_os_calls();
        assert_ok(r.engine->run(r.s, at, out, &e), e);
        calls = fy_os_calls() - before;
        for (int i = 0; i < BOTH_MOST; i++) fy_rval_free(&out[i]);
    }
    for (int i = 0; i < BOTH_MOST; i++) fy_rval_free(&in[i]);
    both_close(&r);
    return calls;
}

static void test_allocations(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "(float[n,4] x, int64 trips) => (y) <" W "> { y = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t) { d = Identity (c) m = MatMul (s, w) t = Tanh (m) }> (trips, , x) }",
        "(float[n,4] x, int64 trips) => (y, rows) <" W "> { y, rows = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t, r) { d = Identity (c) m = MatMul (s, w) t = Tanh (m) r = Neg (m) }> (trips, , x) }",
        "(float[n,4] x, int64 trips) => (y) <" W "> { y = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t) { d = Identity (c) t = If <then_branch = h () => (p) { m = MatMul (s, w) p = Tanh (m) }, else_branch = l () => (q) { q = Relu (x) }> (c) }> (trips, , x) }"};
    for (int i = 0; i < FY_COUNT(bodies); i++) {
        int64_t few = calls_of(bodies[i], 10), many = calls_of(bodies[i], 200);
        if (few != many) fail_msg("%lld allocations in 10 iterations, %lld in 200 of %s", (long long)few, (long long)many, bodies[i]);
    }
}

/* Every allocation of compiling and running fails once: out of memory is said, or nothing was lost; no byte leaks. */
static void test_faults(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "(float[n,4] x) => (y, rows) <" W ", " TEN "> { e = Exp (x) y, rows = Loop <body = b (int64 i, bool c, float[n,4] s) => (d, t, r) { d = Identity (c) m = MatMul (s, w) t = If <then_branch = h () => (p) { p = Tanh (m) }, else_branch = l () => (q) { q = Relu (e) }> (c) r = Mish (t) }> (ten, , x) }",
        "(float[n,4] x) => (y) <" TEN "> { y = Loop <body = b (int64 i, bool c, s) => (d, t) { d = Identity (c) q = Neg (s) t = Concat <axis = 1> (s, q) }> (ten, , x) }",
        "(float[n,4] x) => (y) <int64[2] s = {-1, 4}, " W "> { f = Flatten (x) p = NonZero (f) t = Transpose (p) g = GatherND (f, t) r = Reshape (g, s) m = MatMul (r, w) a = Softmax (m) y = Mish (a) }",
        "(string[n] x) => (y) { q = SequenceConstruct (x, x) y = SequenceMap <body = b (string[n] v) => (r) { r = StringConcat (v, v) }> (q) }"};
    for (int i = 0; i < FY_COUNT(bodies); i++) {
        fy_model *m = model_of(bodies[i]);
        fy_rval in[1] = {{0}}, *at = in;
        both_fill(in, m, 3, 1);
        size_t bytes = fy_os_bytes();
        bool whole = false;
        for (int64_t k = 0; !whole; k += k < 300 ? 1 : 7) {
            both_rig r = {.m = m, .engine = fy_engine_find("ferry")};
            fy_rval out[2][BOTH_MOST] = {{{0}}};
            ferry_error e = {0};
            fy_os_fail_at(k, false);
            fy_status s = r.engine->compile(&r.c, m, &(fy_engine_options){.threads = 1}, &e);
            if (!s) s = r.engine->session(&r.s, r.c, &e);
            for (int run = 0; !s && run < 2; run++) s = r.engine->run(r.s, &at, out[run], &e);
            whole = fy_os_calls() <= k;
            fy_os_fail_at(-1, false);
            if (s && s != FY_E_NOMEM) fail_msg("\"%s\" where call %lld fails in %s", e.text, (long long)k, bodies[i]);
            if (r.s) r.engine->session_free(r.s);
            if (r.c) r.engine->compiled_free(r.c);
            for (int q = 0; q < 2 * BOTH_MOST; q++) fy_rval_free(&out[q / BOTH_MOST][q % BOTH_MOST]);
            if (fy_os_bytes() != bytes) fail_msg("%lld bytes leak where call %lld fails in %s", (long long)(fy_os_bytes() - bytes), (long long)k, bodies[i]);
        }
        fy_rval_free(in);
        fy_model_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop), cmocka_unit_test(test_growing), cmocka_unit_test(test_nested), cmocka_unit_test(test_scan), cmocka_unit_test(test_sequence_map),
        cmocka_unit_test(test_convolutions), cmocka_unit_test(test_strings), cmocka_unit_test(test_refused), cmocka_unit_test(test_blocks_unknown), cmocka_unit_test(test_allocations), cmocka_unit_test(test_faults),
    };
    return both_main(tests, FY_COUNT(tests), "bodies");
}
