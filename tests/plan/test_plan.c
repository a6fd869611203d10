/* SPDX-License-Identifier: Apache-2.0
 * test_plan.c - models run by the plan and by the reference kernels: aliases, values written over, fusion, layouts and their conversion,
 * sizes that change, sizes that contents tell, bodies that read from outside, state. Equal up to the rounding of f32 sums. */
#include "test.h"

#include "engines/engine.h"

#include <math.h>
#include <stdlib.h>

typedef struct rig { fy_model *m; const fy_engine *engine; fy_compiled *c; fy_session *s; } rig;

static void rig_open(rig *r, const char *body, const char *engine) {
    ferry_error e;
    fy_buf text = {0};
    fy_buf_fmt(&text, "<ir_version: 10, opset_import: [\"\" : %d]>\nmain %s", FY_CANONICAL_OPSET, body);
    assert_ok(fy_model_parse(&r->m, text.at, text.n, fy_registry_builtin(), &e), e);
    fy_buf_free(&text);
    assert_ok(fy_infer_model(r->m, &e), e);
    assert_ok(fy_model_verify(r->m, &e), e);
    r->engine = fy_engine_find(engine);
    assert_non_null(r->engine);
    assert_ok(r->engine->compile(&r->c, r->m, &(fy_engine_options){.threads = 2}, &e), e);
    assert_ok(r->engine->session(&r->s, r->c, &e), e);
}

static void rig_close(rig *r) {
    r->engine->session_free(r->s);
    r->engine->compiled_free(r->c);
    fy_model_free(r->m);
}

#define MOST 8

/* Inputs of these sizes (symbols get `n`), a pattern of signs and sizes that no two places share. */
static void fill(fy_rval *in, const fy_model *m, int64_t n, int salt) {
    ferry_error e;
    for (int64_t i = 0; i < m->graph->in.n; i++) {
        const fy_type *t = &m->graph->in.at[i]->type;
        int64_t dim[FY_MAX_RANK];
        for (int d = 0; d < t->rank; d++)
            if (!fy_dim_known(t->dim[d], &dim[d])) dim[d] = n;
        in[i] = (fy_rval){.kind = FY_TENSOR};
        assert_ok(fy_tensor_new(&in[i].t, t->dtype, t->rank, dim, &e), e);
        for (int64_t k = 0; k < fy_count(&in[i].t); k++)
            if (t->dtype == FERRY_BOOL) fy_put_i64(&in[i].t, k, (k + salt) % 2);
            else if (t->dtype == FERRY_STRING) ((fy_str *)in[i].t.data)[k] = (fy_str){"ferry" + k % 4, 2};
            else if (t->dtype == FERRY_INT64) fy_put_i64(&in[i].t, k, (k + salt) % n);
            else fy_put_f64(&in[i].t, k, sin((double)(k * 7 + i * 3 + salt) + 0.5) * 2);
    }
}

static void same(const fy_rval *a, const fy_rval *b, const char *body, int64_t n) {
    if (a->kind != b->kind) fail_msg("kinds %d and %d in %s", a->kind, b->kind, body);
    if (a->kind != FY_TENSOR) {
        assert_int_equal(a->n, b->n);
        for (int64_t i = 0; i < a->n; i++) same(&a->item[i], &b->item[i], body, n);
        return;
    }
    assert_int_equal(a->t.dtype, b->t.dtype);
    if (!fy_same_dims(&a->t, &b->t)) fail_msg("sizes differ in %s", body);
    for (int64_t i = 0; i < fy_count(&a->t); i++) {
        if (a->t.dtype == FERRY_STRING) {
            const fy_str *s = (const fy_str *)a->t.data + i, *t = (const fy_str *)b->t.data + i;
            if (s->n != t->n || memcmp(s->at, t->at, s->n)) fail_msg("string %lld differs", (long long)i);
            continue;
        }
        double x = fy_get_f64(&a->t, i), y = fy_get_f64(&b->t, i);
        if (x != y && !(fabs(x - y) <= 2e-5 * (1 + fabs(y))) && !(isnan(x) && isnan(y))) fail_msg("element %lld: %.9g, the reference has %.9g; size %lld of %s", (long long)i, x, y, (long long)n, body);
    }
}

/* Both engines at several sizes, one after the other and back again, with inputs that must not be written to. */
static void both(const char *body) {
    static const int64_t sizes[] = {3, 1, 5, 3, 17};
    rig fast, ref;
    rig_open(&fast, body, "ferry");
    rig_open(&ref, body, "reference");
    for (int round = 0; round < FY_COUNT(sizes); round++) {
        ferry_error e;
        fy_rval in[MOST] = {{0}}, kept[MOST] = {{0}}, out[MOST] = {{0}}, want[MOST] = {{0}}, *at[MOST];
        fill(in, fast.m, sizes[round], round);
        fill(kept, fast.m, sizes[round], round);
        for (int i = 0; i < MOST; i++) at[i] = &in[i];
        assert_ok(fast.engine->run(fast.s, at, out, &e), e);
        assert_ok(ref.engine->run(ref.s, at, want, &e), e);
        for (int64_t i = 0; i < fast.m->graph->out.n; i++) same(&out[i], &want[i], body, sizes[round]);
        for (int64_t i = 0; i < fast.m->graph->in.n; i++) same(&in[i], &kept[i], body, sizes[round]);
        for (int i = 0; i < MOST; i++) { fy_rval_free(&in[i]); fy_rval_free(&kept[i]); fy_rval_free(&out[i]); fy_rval_free(&want[i]); }
    }
    rig_close(&fast);
    rig_close(&ref);
}

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
    rig r;
    fy_rval x = {.kind = FY_TENSOR}, out[MOST] = {{0}}, *at = &x;
    (void)state;
    rig_open(&r, "(float[\"2*k + 1\",3] x) => (y) { y = Neg (x) }", "ferry");
    for (int64_t n = 1; n < 8; n++) {
        assert_ok(fy_tensor_new(&x.t, FERRY_FLOAT, 2, (int64_t[]){n, 3}, &e), e);
        memset(x.t.data, 0, (size_t)(n * 3) * sizeof(float));
        if (n % 2) assert_ok(r.engine->run(r.s, &at, out, &e), e);
        fy_rval_free(&out[0]);
        fy_rval_free(&x);
        x.kind = FY_TENSOR;
    }
    rig_close(&r);
}

/* More combinations of sizes than are kept, from the first again. */
static void test_many_sizes(void **state) {
    rig r;
    (void)state;
    rig_open(&r, "(float[n,4] x) => (y) { a = Exp (x) b = Neg (a) y = Add (a, b) }", "ferry");
    for (int round = 0; round < 2; round++)
        for (int64_t n = 1; n < 150; n++) {
            ferry_error e;
            fy_rval in[1] = {{0}}, out[1] = {{0}}, *at = in;
            fill(in, r.m, n, round);
            assert_ok(r.engine->run(r.s, &at, out, &e), e);
            assert_int_equal(out[0].t.dim[0], n);
            assert_true(fy_get_f64(&out[0].t, 4 * n - 1) == 0);
            fy_rval_free(in);
            fy_rval_free(out);
        }
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aliases), cmocka_unit_test(test_written_over), cmocka_unit_test(test_fusion), cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_layouts), cmocka_unit_test(test_contents), cmocka_unit_test(test_expressions), cmocka_unit_test(test_many_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
