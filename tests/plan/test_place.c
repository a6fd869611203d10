/* SPDX-License-Identifier: Apache-2.0
 * test_place.c - what a Concat joins is made in the whole, and the parts of a Split are seen in its input: which bytes are still copied, and that results are those of
 * the reference kernels, whoever else reads, writes over or hands out a part. */
#include "engines/both.h"

/* Bytes of parts that lie elsewhere than in the whole that a step joins or cuts. */
static void count(void *ctx, const fy_step *s, const fy_exec *x, bool after) {
    int64_t *moved = ctx;
    bool joins = s->impl->flags & FY_IMPL_JOINS;
    if (!after || !(s->impl->flags & (FY_IMPL_JOINS | FY_IMPL_CUTS)) || x->spec->skip[s->index]) return;
    const fy_tensor *whole = joins ? fy_step_out(s, x, 0) : fy_step_in(s, x, 0);
    const char *at = whole->data;
    for (int i = 0; i < (joins ? s->nin : s->nout); i++) {
        const fy_tensor *part = joins ? fy_step_in(s, x, i) : fy_step_out(s, x, i);
        int64_t bytes = fy_layout_count(x->plan->layout[joins ? s->in[i]->id : s->out[i]->id], part->rank, part->dim) * fy_elem_bytes(part->dtype);
        if (part->data != at) *moved += bytes;
        at += bytes;
    }
}

static int64_t moved(const char *body, int64_t n) {
    both_rig r;
    ferry_error e;
    int64_t bytes = 0;
    fy_rval in[BOTH_MOST] = {{0}}, out[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
    both(body);
    both_open(&r, body, "ferry");
    both_fill(in, r.m, n, 0);
    for (int i = 0; i < BOTH_MOST; i++) at[i] = &in[i];
    r.engine->watch(r.s, count, &bytes);
    assert_ok(r.engine->run(r.s, at, out, &e), e);
    for (int i = 0; i < BOTH_MOST; i++) { fy_rval_free(&in[i]); fy_rval_free(&out[i]); }
    both_close(&r);
    return bytes;
}

static void test_joined(void **state) {
    (void)state;
    assert_int_equal(moved("(float[n,4] x) => (y) { a = Exp (x) b = Neg (x) c = Concat <axis = 0> (a, b) y = Relu (c) }", 16), 0);
    assert_int_equal(moved("(float[1,n,4] x) => (y) { a = Exp (x) b = Neg (x) c = Concat <axis = 1> (a, b, a) y = Relu (c) }", 16), 256);        /* once only */
    assert_int_equal(moved("(float[n,4] x) => (y) { a = Exp (x) c = Concat <axis = 0> (a, x) y = Relu (c) }", 16), 256);                            /* an input of the model stays where it is */
    assert_int_equal(moved("(float[n,4] x) => (y) { a = Exp (x) b = Neg (x) c = Concat <axis = 1> (a, b) y = Relu (c) }", 16), 512);              /* rows lie apart */
    assert_int_equal(moved("(float[n,4] x) => (y, a) { a = Exp (x) b = Neg (x) c = Concat <axis = 0> (b, a) y = Relu (c) }", 16), 256);           /* what leaves the plan does not lie in something else */
    assert_int_equal(moved("(float[n,4] x) => (y) { a = Exp (x) b = Neg (x) y = Concat <axis = 0> (a, b) }", 16), 0);                             /* the whole leaves it */
    assert_int_equal(moved("(float[n,4] x) => (y, z) { a = Exp (x) b = Neg (a) y = Concat <axis = 0> (a, b) c = Abs (y) z = Add (c, y) }", 16), 0);
    /* at places that are no multiple of a line */
    assert_int_equal(moved("(float[n] x) => (y) { a = Exp (x) b = Neg (x) c = Concat <axis = 0> (a, b) y = Relu (c) }", 17), 68);
}

/* Parts are read, seen with other sizes and written over around the Concat. */
static void test_readers(void **state) {
    (void)state;
    assert_int_equal(moved("(float[n,4] x) => (y, z) { a = Exp (x) d = Abs (a) b = Neg (d) c = Concat <axis = 0> (a, b) y = Relu (c) e = Relu (b) z = Add (e, a) }", 16), 0);
    assert_int_equal(moved("(float[n,4] x) => (y) <int64[1] k = {0}> { a = Exp (x) b = Neg (a) p = Unsqueeze (a, k) q = Unsqueeze (b, k) c = Concat <axis = 0> (p, q) d = Neg (a) y = Add (c, d) }", 16), 0);
    assert_int_equal(moved("(float[n,4] x) => (y) <int64[1] k = {-1}> { a = Exp (x) b = Reshape (a, k) d = Neg (b) e = Concat <axis = 0> (b, d) y = Relu (e) }", 16), 0);
    /* two wholes want the same part */
    assert_int_equal(moved("(float[n,4] x) => (y, z) { a = Exp (x) b = Neg (x) c = Concat <axis = 0> (a, b) d = Concat <axis = 0> (b, a) y = Relu (c) z = Relu (d) }", 16), 512);
    /* what a step makes of all of the whole may take its place, after its last reader */
    assert_int_equal(moved("(float[n,4] x) => (y) { a = Exp (x) b = Neg (x) c = Concat <axis = 0> (a, b) d = Relu (c) e = Abs (d) y = Add (e, d) }", 16), 0);
}

/* DenseNet: every layer sees all that were before. */
static void test_stretches(void **state) {
    (void)state;
    assert_int_equal(moved("(float[n,4] x) => (y) { a = Exp (x) b = Neg (a) c = Concat <axis = 0> (a, b) d = Relu (c) e = Concat <axis = 0> (a, b, d) f = Abs (e) g = Concat <axis = 0> (a, b, d, f) y = Sigmoid (g) }", 16), 0);
    /* one Concat of a, b, a, b, a */
    assert_int_equal(moved("(float[n,4] x) => (y) { a = Exp (x) b = Neg (a) c = Concat <axis = 0> (b, a) d = Concat <axis = 0> (a, c) e = Concat <axis = 0> (d, c) y = Sigmoid (e) }", 16), 768);
}

static void test_cut(void **state) {
    (void)state;
    assert_int_equal(moved("(float[8,n] x) => (y) <int64[2] s = {3, 5}> { a = Exp (x) p, q = Split <axis = 0> (a, s) b = Neg (p) c = Abs (q) y = Concat <axis = 0> (b, c) }", 16), 0);
    /* parts joined again, in the same order and in another */
    assert_int_equal(moved("(float[8,n] x) => (y) <int64[2] s = {3, 5}> { a = Exp (x) p, q = Split <axis = 0> (a, s) b = Neg (q) c = Concat <axis = 0> (p, q, b) y = Relu (c) }", 16), 0);
    assert_int_equal(moved("(float[8,n] x) => (y) <int64[2] s = {3, 5}> { a = Exp (x) p, q = Split <axis = 0> (a, s) c = Concat <axis = 0> (q, p) y = Relu (c) }", 16), 512);
    assert_int_equal(moved("(float[8,n] x) => (y, p) <int64[2] s = {3, 5}> { a = Exp (x) p, q = Split <axis = 0> (a, s) y = Neg (q) }", 16), 192);
    assert_int_equal(moved("(float[8,n] x) => (y) <int64[2] s = {3, 5}> { p, q = Split <axis = 0> (x, s) a = Neg (p) b = Neg (q) y = Concat <axis = 0> (a, b) }", 16), 512);
    /* the whole leaves the plan, its parts are cut from it */
    assert_int_equal(moved("(float[4,n] x) => (y, z) <int64[2] s = {3, 5}> { a = Exp (x) b = Neg (x) y = Concat <axis = 0> (a, b) p, q = Split <axis = 0> (y, s) c = Abs (p) d = Abs (q) z = Concat <axis = 0> (c, d) }", 16), 0);
}

/* Blocks of 16 channels between convolutions. */
static void test_blocks(void **state) {
    (void)state;
    fy_buf t = {0};
    fy_buf_fmt(&t, "(float[1,16,n,8] x) => (y) <float[32,16,1,1] w = {");
    for (int i = 0; i < 512; i++) fy_buf_fmt(&t, "%s%.3f", i ? ", " : "", sin(i * 1.3) / 8);
    fy_buf_fmt(&t, "}, float[16,16,1,1] u = {");
    for (int i = 0; i < 256; i++) fy_buf_fmt(&t, "%s%.3f", i ? ", " : "", sin(i * 0.7) / 8);
    fy_buf_fmt(&t, "}, int64[2] s = {16, 16}> { a = Conv (x, w) r = Relu (a) p, q = Split <axis = 1> (r, s) b = Conv (q, u) c = Add (b, q) j = Concat <axis = 1> (p, q, c) k = Relu (j) "
                   "l, m, o = Split <axis = 1, num_outputs = 3> (k) f = Conv (l, u) g = Conv (m, u) h = Conv (o, u) v = Add (f, g) y = Add (v, h) }");
    assert_false(t.oom);
    assert_int_equal(moved(t.at, 16), 0);
    fy_buf_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_joined), cmocka_unit_test(test_readers), cmocka_unit_test(test_stretches), cmocka_unit_test(test_cut), cmocka_unit_test(test_blocks)};
    return both_main(tests, FY_COUNT(tests), "place");
}
