/* SPDX-License-Identifier: Apache-2.0
 * test_plan.c - models run by the plan and by the reference kernels: aliases, values written over, fusion, layouts and their conversion,
 * sizes that change, sizes that contents tell, bodies that read from outside, state. Equal up to the rounding of f32 sums. */
#include "engines/both.h"

static void test_aliases(void **state) {
    (void)state;
    both("(float[n,4] x) => (y) { a = Neg (x) b = Identity (a) y = Exp (b) }");
    both("(float[n,4] x) => (y) { y = Identity (x) }");
    both("(float[n,4] x) => (x, y) { y = Neg (x) }");
    both("(float[n,4] x) => (y, z) { y = Neg (x) z = Identity (y) }");
    both("(float[n,4] x) => (y, z) <int64[1] s = {-1}> { y = Reshape (x, s) z = Relu (y) }");
    both("(float[n,4] x) => (c, y) <float[2] c = {1, 2}> { y = Neg (x) }");
    /* the input seen through an alias must not be written over */
    both("(float[n,4] x) => (y, z) <int64[1] s = {-1}> { a = Reshape (x, s) b = Exp (a) y = Neg (b) z = Abs (a) }");
    both("(float[n,4] x) => (y) <int64[1] s = {-1}> { a = Exp (x) b = Reshape (a, s) c = Neg (b) d = Abs (a) e = Reshape (d, s) y = Add (c, e) }");
}

static void test_written_over(void **state) {
    (void)state;
    both("(float[n,4] x) => (y) { a = Exp (x) b = Neg (a) c = Add (a, b) d = Mul (c, a) y = Sub (d, b) }");
    both("(float[n,4] x) => (y) { a = Exp (x) y = Add (a, a) }");
    both("(float[n,1] x, float[1,n] z) => (y) { a = Exp (x) b = Exp (z) y = Mul (a, b) }");
    both("(float[n,4] x) => (y) { a = Exp (x) m = ReduceMax <keepdims = 1> (a) y = Sub (a, m) }");
    both("(float[n,4] x, float[1] k) => (y) { a = Exp (x) b = Exp (k) y = Mul (b, a) }");
}

static void test_fusion(void **state) {
    (void)state;
    const char *w = "float[4,5] w = {1, 2, 3, 4, 5, -1, -2, -3, -4, -5, 0.5, 0.25, 1, 2, 1, 3, 2, 1, 0, -1}, float[5] b = {1, -1, 2, -2, 3}";
    static const char *const bodies[] = {
        "(float[n,4] x) => (y) <%s> { a = MatMul (x, w) c = Add (a, b) y = Relu (c) }",
        "(float[n,4] x) => (y) <%s> { a = MatMul (x, w) c = Add (b, a) d = Mul (c, c) y = Tanh (d) }",
        "(float[n,4] x, float[n,5] r) => (y) <%s> { a = MatMul (x, w) c = Add (a, b) d = Add (r, c) y = Sigmoid (d) }",
        "(float[n,4] x, float[n,5] r) => (y, a) <%s> { a = MatMul (x, w) c = Add (a, r) y = Relu (c) }",
        /* the other operand is made later */
        "(float[n,4] x) => (y) <%s> { a = MatMul (x, w) l = Neg (x) k = MatMul (l, w) y = Add (a, k) }",
        "(float[n,4] x) => (y) <%s> { y = Gemm (x, w, b) }",
        "(float[n,4] x) => (y) <%s, float lo = {-1}, float hi = {2}> { a = Gemm (x, w) y = Clip (a, lo, hi) }",
        "(float[2,n,4] x) => (y) <%s> { a = MatMul (x, w) s = Softmax (a) y = Transpose <perm = [0, 2, 1]> (s) }",
        "(float[2,n,4] x, float[2,4,n] z) => (y) { a = MatMul (x, z) y = Softmax (a) }",
        "(float[3,1,n,4] x, float[2,4,n] z) => (y) { y = MatMul (x, z) }"};
    for (int i = 0; i < FY_COUNT(bodies); i++) {
        fy_buf t = {0};
        const char *at = strstr(bodies[i], "%s");
        if (at) fy_buf_fmt(&t, "%.*s%s%s", (int)(at - bodies[i]), bodies[i], w, at + 2);
        else fy_buf_str(&t, bodies[i]);
        both(t.at);
        fy_buf_free(&t);
    }
}

/* Convolutions over many shapes of kernel, stride, padding, group and channels, alone and in a small network. */
static void conv(int cin, int cout, int kernel, int stride, int pad, int dilation, int group, const char *after) {
    fy_buf t = {0};
    fy_buf_fmt(&t, "(float[2,%d,n,9] xx) => (y) <float[%d,%d,%d,%d] w = {", cin, cout, cin / group, kernel, kernel);
    for (int i = 0; i < cout * cin / group * kernel * kernel; i++) fy_buf_fmt(&t, "%s%.4f", i ? ", " : "", sin(i * 1.7) / (double)(kernel * cin));
    fy_buf_fmt(&t, "}, float[%d] b = {", cout);
    for (int i = 0; i < cout; i++) fy_buf_fmt(&t, "%s%d", i ? ", " : "", i % 5 - 2);
    fy_buf_fmt(&t, "}, int64[8] more = {0, 0, 12, 0, 0, 0, 0, 0}> { x = Pad (xx, more) c = Conv <kernel_shape = [%d, %d], strides = [%d, %d], pads = [%d, %d, %d, %d], dilations = [%d, %d], group = %d> (x, w, b) %s }",
               kernel, kernel, stride, stride, pad, pad, pad, pad, dilation, dilation, group, after);
    both(t.at);
    fy_buf_free(&t);
}

static void test_convolutions(void **state) {
    (void)state;
    static const struct { int cin, cout, kernel, stride, pad, dilation, group; } table[] = {
        {3, 8, 3, 1, 1, 1, 1}, {3, 20, 7, 2, 3, 1, 1}, {1, 16, 5, 1, 0, 1, 1}, {16, 16, 1, 1, 0, 1, 1}, {20, 33, 1, 1, 0, 1, 1}, {17, 40, 1, 2, 0, 1, 1},
        {16, 32, 3, 1, 1, 1, 1}, {24, 48, 3, 1, 1, 1, 1}, {33, 17, 3, 2, 1, 1, 1}, {16, 16, 3, 1, 2, 2, 1}, {16, 16, 3, 1, 1, 1, 16}, {20, 20, 3, 2, 1, 1, 20},
        {24, 24, 5, 1, 2, 1, 24}, {3, 8, 3, 1, 2, 2, 1}, {5, 17, 3, 2, 1, 2, 1}, {16, 16, 3, 1, 2, 2, 16}, {16, 32, 3, 1, 1, 1, 4}, {12, 12, 3, 1, 1, 1, 1}};
    for (int i = 0; i < FY_COUNT(table); i++) {
        conv(table[i].cin, table[i].cout, table[i].kernel, table[i].stride, table[i].pad, table[i].dilation, table[i].group, "y = Relu (c)");
        conv(table[i].cin, table[i].cout, table[i].kernel, table[i].stride, table[i].pad, table[i].dilation, table[i].group, "s = Sigmoid (c) y = Mul (c, s)");
        conv(table[i].cin, table[i].cout, table[i].kernel, table[i].stride, table[i].pad, table[i].dilation, table[i].group,
             "r = Neg (c) a = Add (c, r) p = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (c) g = GlobalAveragePool (c) q = Mul (c, g) s = Add (q, a) y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (s)");
    }
}

static void test_layouts(void **state) {
    (void)state;
    /* a blocked value that is an output, that plain readers want, that a body reads */
    conv(16, 20, 3, 1, 1, 1, 1, "y = Identity (c)");
    conv(16, 20, 3, 1, 1, 1, 1, "a = Relu (c) t = Transpose <perm = [0, 2, 3, 1]> (a) y = Neg (t)");
    conv(16, 20, 3, 1, 1, 1, 1, "a = Exp (c) l = Log (a) y = Div (l, a)");
    conv(16, 20, 3, 1, 1, 1, 1, "a = Relu (c) k = Constant <value = bool {1}> () y = If <then_branch = t () => (p) { p = Neg (a) }, else_branch = f () => (q) { q = Abs (a) }> (k)");
    conv(16, 20, 3, 1, 1, 1, 1, "a = Relu (c) m = Constant <value_int = 3> () l = Loop <body = t (int64 i, bool u, float[2,20,h,9] p) => (v, q) { v = Identity (u) q = Neg (p) }> (m, , a) y = Add (l, a)");
    conv(16, 20, 3, 1, 1, 1, 1, "a = Relu (c) d = Concat <axis = 1> (a, c) y = Sigmoid (d)");
}

static void test_contents(void **state) {
    (void)state;
    both("(float[n,4] x, int64[n] i) => (y) { g = Gather (x, i) y = Relu (g) }");
    both("(float[n] x) => (y, z) { p = NonZero (x) t = Transpose (p) g = GatherND (x, t) y = Relu (g) z = Exp (y) }");
    both("(float[n,4] x) => (y) <float[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}> { f = Flatten (x) p = NonZero (f) t = Transpose (p) g = GatherND (f, t) s = Shape (x) r = Reshape (g, s) m = MatMul (r, w) y = Relu (m) }");
    both("(float[n,4] x, bool[1] c) => (y) <int64[0] s = {}> { b = Reshape (c, s) a = Exp (x) y = If <then_branch = t () => (p) { p = Neg (a) }, else_branch = f () => (q) { u = Abs (a) q = Add (u, x) }> (b) }");
    both("(float[n,4] x) => (y) { s = SequenceConstruct (x, x) i = Constant <value = int64 {1}> () e = SequenceAt (s, i) y = Neg (e) }");
    both("(float[n,4] x) => (y) { s = Shape (x) y = ConstantOfShape (s) }");
    /* memory of a value whose sizes only the run tells, seen through an alias after its last reader */
    both("(float[n,4] x) => (y) <float[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}, int64[1] k = {0}> { f = Flatten (x) p = NonZero (f) t = Transpose (p) g = GatherND (f, t) s = Shape (x) r = Reshape (g, s) u = Unsqueeze (r, k) a = Exp (x) b = Neg (a) c = Add (u, b) y = MatMul (c, w) }");
    both("(string[n] x) => (y) { y = Identity (x) }");
}

/* Sizes that are expressions of a symbol: the symbol is found, and what contradicts is refused. */
static void test_expressions(void **state) {
    ferry_error e;
    both_rig r;
    fy_rval x = {.kind = FY_TENSOR}, out[BOTH_MOST] = {{0}}, *at = &x;
    (void)state;
    both_open(&r, "(float[\"2*k + 1\",3] x) => (y) { y = Neg (x) }", "ferry");
    for (int64_t n = 1; n < 8; n++) {
        assert_ok(fy_tensor_new(&x.t, FERRY_FLOAT, 2, (int64_t[]){n, 3}, &e), e);
        memset(x.t.data, 0, (size_t)(n * 3) * sizeof(float));
        if (n % 2) assert_ok(r.engine->run(r.s, &at, out, &e), e);
        fy_rval_free(&out[0]);
        fy_rval_free(&x);
        x.kind = FY_TENSOR;
    }
    both_close(&r);
}

/* More combinations of sizes than are kept, from the first again. */
static void test_many_sizes(void **state) {
    both_rig r;
    (void)state;
    both_open(&r, "(float[n,4] x) => (y) { a = Exp (x) b = Neg (a) y = Add (a, b) }", "ferry");
    for (int round = 0; round < 2; round++)
        for (int64_t n = 1; n < 150; n++) {
            ferry_error e;
            fy_rval in[1] = {{0}}, out[1] = {{0}}, *at = in;
            both_fill(in, r.m, n, round);
            assert_ok(r.engine->run(r.s, &at, out, &e), e);
            assert_int_equal(out[0].t.dim[0], n);
            assert_true(fy_get_f64(&out[0].t, 4 * n - 1) == 0);
            fy_rval_free(in);
            fy_rval_free(out);
        }
    both_close(&r);
}

/* Symbols that are one letter get its place in the alphabet; all integers are 7. */
static fy_status run_by_letters(both_rig *r, fy_rval *out, ferry_error *e) {
    fy_rval in[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
    for (int64_t i = 0; i < r->m->graph->in.n; i++) {
        const fy_type *t = &r->m->graph->in.at[i]->type;
        int64_t dim[FY_MAX_RANK];
        for (int d = 0; d < t->rank; d++)
            if (!fy_dim_known(t->dim[d], &dim[d])) dim[d] = *t->dim[d]->name - 'a' + 1;
        in[i].kind = FY_TENSOR;
        assert_ok(fy_tensor_new(&in[i].t, t->dtype, t->rank, dim, e), *e);
        for (int64_t k = 0; k < fy_count(&in[i].t); k++) fy_put_f64(&in[i].t, k, fy_dtype_float(t->dtype) ? sin((double)(k + i)) : 7);
    }
    for (int i = 0; i < BOTH_MOST; i++) at[i] = &in[i];
    fy_status s = r->engine->run(r->s, at, out, e);
    for (int i = 0; i < BOTH_MOST; i++) fy_rval_free(&in[i]);
    return s;
}

/* Sizes that only the run tells do not fit: both say so, with the same code, each time, and naming the node. */
static void refused(const char *body) {
    ferry_error e[3];
    fy_rval out[BOTH_MOST] = {{0}};
    both_rig fast, ref;
    both_open(&fast, body, "ferry");
    both_open(&ref, body, "reference");
    if (!run_by_letters(&ref, out, &e[0])) fail_msg("the reference runs %s", body);
    for (int i = 1; i < 3; i++) {
        if (!run_by_letters(&fast, out, &e[i])) fail_msg("our engine runs %s", body);
        if (e[i].code != e[0].code) fail_msg("\"%s\" instead of \"%s\" in %s", e[i].text, e[0].text, body);
        assert_true(e[i].nframes > 0);
    }
    both_close(&fast);
    both_close(&ref);
}

static void test_refused(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "(float[c,b] x) => (y) <float[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}> { y = MatMul (x, w) }",
        "(float[c,b] x) => (y) <float[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}> { a = MatMul (x, w) y = Relu (a) }",
        "(float[c,b] x, float[d,e] z) => (y) { y = MatMul (x, z) }",
        "(float[b,c,d] x, float[e,d,c] z) => (y) { y = MatMul (x, z) }",
        "(double[c,b] x, double[d,e] z) => (y) { y = MatMul (x, z) }",
        "(float[c,b] x) => (y) <float[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}> { y = Gemm (x, w) }",
        "(float[c,b] x, float[d,e] z) => (y) { y = Gemm (x, z) }",
        "(double[c,b] x, double[d,e] z, double[g] k) => (y) { y = Gemm <transB = 1> (x, z, k) }",
        "(float[c,b] x, float[e] k) => (y) <float[2,4] w = {1, 2, 3, 4, 5, 6, 7, 8}> { m = MatMul (x, w) y = Add (m, k) }",
        "(float[a,b,i,i] x, float[d,c,3,3] w) => (y) { y = Conv (x, w) }",
        "(float[a,b,i,i] x) => (y) <float[2,3,1,1] w = {1, 2, 3, 4, 5, 6}> { y = Conv (x, w) }",
        "(float[a,p,i,i] x, float[p,p,3,3] w, float[c] k) => (y) { c = Conv (x, w, k) y = Relu (c) }",
        "(float[a,b,c,d] x, float[c,b,3,3] w) => (y) { y = ConvTranspose (x, w) }",
        "(float[a,b] x, float[c,d] z) => (y) { y = Concat <axis = 0> (x, z) }",
        "(float[b,c] x, float[d,c] z) => (y) { y = Add (x, z) }",
        "(double[b,c] x, double[d,c] z) => (y) { y = Sub (x, z) }",
        "(int64[b,c] x, int64[d,c] z) => (y) { y = Mod (x, z) }",
        "(float[b,c] x, float[d,c] z) => (y) { l = Less (x, z) y = Where (l, x, z) }",
        "(float[b,c] x, int64 k) => (y) { y = CumSum (x, k) }",
        "(float[b,c] x, float[d] s) => (y) { y = LayerNormalization (x, s) }",
        "(float[b,c] x, float[d] s) => (y) { y = RMSNormalization (x, s) }",
        "(float[b,c,d] x, float[d] s, float[d] k, float[d] m, float[d] v) => (y) { y = BatchNormalization (x, s, k, m, v) }",
        "(float[b,c,d] x, float[e] s, float[e] k) => (y) { y = InstanceNormalization (x, s, k) }",
        "(float[b,c,d] x, float[e] s, float[e] k) => (y) { y = GroupNormalization <num_groups = 1> (x, s, k) }",
        "(float[a,b,c,d] q, float[a,b,c,e] k, float[a,b,c,d] v) => (y) { y = Attention (q, k, v) }",
        "(float[a,b,c,d] q, float[a,b,c,d] k, float[a,b,g,d] v) => (y) { y = Attention (q, k, v) }",
        "(float[b,c,d] q, float[b,e,c] k, float[b,c,d] v) => (y) { m = MatMul (q, k) s = Softmax (m) y = MatMul (s, v) }",
        "(float[c,b,e] x, float[1,h,d] w, float[1,h,b] r) => (y) { y, h, c = LSTM <hidden_size = 2> (x, w, r) }",
        "(float[c,b,e] x, float[1,f,d] w, float[1,f,b] r) => (y) { y, h = GRU <hidden_size = 2> (x, w, r) }",
        "(float[b,c] x) => (y) <int64[1] s = {7}> { y = Reshape (x, s) }",
        "(float[b,c] x) => (y) <int64[1] s = {0}> { y = Squeeze (x, s) }",
        "(float[b,c] x) => (y) <int64[2] s = {2, 5}> { y = Expand (x, s) }",
        "(float[b,c] x) => (y, z) <int64[2] s = {2, 5}> { y, z = Split <axis = 1> (x, s) }",
        "(float[a,c,d,d] x) => (y) { y = DepthToSpace <blocksize = 2> (x) }",
        "(float[b,c] x, int64[d,c] i) => (y) { y = GatherElements (x, i) }",
        "(float[b,c] x, float[d,e] z) => (y) { y = Einsum <equation = \"ij,jk->ik\"> (x, z) }"};
    for (int i = 0; i < FY_COUNT(bodies); i++) refused(bodies[i]);
}

/* What a file declares of a size that the inputs or contents tell is not believed. */
static void test_declared(void **state) {
    (void)state;
    both("(float[n,4] x) => (float[1,4] y) { y = Neg (x) }");
    both("(float[n,4] x) => (y) <float[3,4] a, float[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}> { a = Exp (x) y = MatMul (a, w) }");
    both("(float[n] x) => (y) <int64[1,3] p> { a = Exp (x) p = NonZero (a) y = Neg (p) }");
}

/* More than one value may take. */
static void test_budget(void **state) {
    (void)state;
    refused("(float[a] x) => (y) <int64[2] s = {1048576, 1048576}> { b = Expand (x, s) y = Neg (b) }");
    refused("(float[a] x) => (y) <int64[2] s = {1048576, 1048576}> { b = Expand (x, s) y = ReduceMax (b) }");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aliases), cmocka_unit_test(test_written_over), cmocka_unit_test(test_fusion), cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_layouts), cmocka_unit_test(test_contents), cmocka_unit_test(test_expressions), cmocka_unit_test(test_many_sizes),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_declared), cmocka_unit_test(test_budget),
    };
    return both_main(tests, FY_COUNT(tests), "plan");
}
