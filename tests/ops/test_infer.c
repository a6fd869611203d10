/* SPDX-License-Identifier: Apache-2.0
 * test_infer.c - what inference keeps: known sizes beside unknown ones, upper bounds of data-dependent sizes, what a loop may and may not
 * say of its values, items of sequences, equalities found on the way. Each model is also run: all that is inferred must hold. */
#include "infer_property.h"
#include "model_text.h"

static const fy_value *find(const fy_model *m, const char *name) {
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g)) {
        for (int64_t i = 0; i < g->in.n; i++)
            if (!strcmp(g->in.at[i]->name, name)) return g->in.at[i];
        for (const fy_node *n = g->first; n; n = n->next)
            for (int i = 0; i < n->nout; i++)
                if (n->out[i] && !strcmp(n->out[i]->name, name)) return n->out[i];
    }
    fail_msg("no value %s", name);
    return NULL;
}

static const fy_dim *size(const fy_model *m, const char *name, int axis) {
    const fy_value *v = find(m, name);
    assert_true(v->type.rank > axis);
    return v->type.dim[axis];
}

/* The size as text, its upper bound after "<=" if it has one. */
static void size_is(const fy_model *m, const char *name, int axis, const char *text) {
    fy_buf b = {0};
    const fy_dim *d = size(m, name, axis);
    if (d->kind != FY_DIM_OPAQUE) fy_dim_print(&b, d);
    else fy_buf_str(&b, "?");
    if (d->most) {
        fy_buf_str(&b, " <= ");
        fy_dim_print(&b, d->most);
    }
    assert_string_equal(b.at, text);
    fy_buf_free(&b);
}

static void test_parts(void **state) {
    (void)state;
    fy_model *m = model_of("(float[b, s, 6] x, int64[1] k) => (y, z, e) <int64[1] two = {2}, int64[1] minus = {-1}> {"
                        "  n = Shape <start = 0, end = 1> (x)"
                        "  t = Concat <axis = 0> (n, k, two)"
                        "  y = Reshape (x, t)"
                        "  u = Concat <axis = 0> (n, minus, k)"
                        "  z = Reshape (x, u)"
                        "  f = ConstantOfShape (t)"
                        "  e = Add (f, f) }");
    size_is(m, "y", 0, "b");
    size_is(m, "y", 2, "2");
    size_is(m, "y", 1, "3*s");                                   /* the count of elements tells it, whatever k is */
    size_is(m, "z", 0, "b");
    assert_int_equal(size(m, "z", 2)->kind, FY_DIM_OPAQUE);      /* k may be 0, and mean the size that was there: not the size itself */
    assert_true(size(m, "z", 2) != size(m, "e", 1));
    assert_int_equal(find(m, "t")->nelem, 3);
    assert_ptr_equal(size(m, "e", 1), find(m, "t")->elem[1]);    /* here it is: a negative one would be an error */
    assert_true(size(m, "e", 1)->lo == 0);
    fy_model_free(m);
}

static void test_bounds(void **state) {
    (void)state;
    fy_model *m = model_of("(float[b, 5] x, bool[7] c, float[n, 3, 4] boxes, float[n, 2, 3] scores, int64[1] at) => (i, q, u, p, s) <int64 most = {10}, int64[1] zero = {0}> {"
                        "  t = Cast <to = 9> (x)"
                        "  i = NonZero (t)"
                        "  q = Compress <axis = 1> (x, c)"
                        "  u = Unique <axis = 0> (x)"
                        "  p = NonMaxSuppression (boxes, scores, most)"
                        "  s = Slice (x, zero, at, zero) }");
    size_is(m, "i", 1, "? <= 5*b");
    size_is(m, "q", 1, "? <= 5");
    size_is(m, "u", 0, "? <= b");
    size_is(m, "p", 0, "? <= 6*n");                              /* 2 classes of 3 boxes, fewer than the 10 allowed */
    size_is(m, "s", 0, "? <= b");
    assert_true(fy_dim_le(m->dims, size(m, "u", 0), size(m, "x", 0)));
    assert_ptr_equal(fy_dim_min(m->dims, size(m, "u", 0), size(m, "x", 0)), size(m, "u", 0));
    assert_ptr_equal(fy_dim_max(m->dims, size(m, "u", 0), size(m, "x", 0)), size(m, "x", 0));
    fy_model_free(m);
}

static void test_equalities(void **state) {
    (void)state;
    fy_model *m = model_of("(float[b, 5] x, float[b, 4] y, float[p, 1] l, float[q, 1] r) => (m, w, s, t) {"
                        "  u = Unique <axis = 0> (x)"
                        "  m = Relu (u)"
                        "  w = Concat <axis = 1> (u, y)"
                        "  s = Add (l, r)"
                        "  t = Mul (r, l) }");
    size_is(m, "m", 0, "b");                                     /* it must be, or the Concat would fail */
    size_is(m, "u", 0, "b");
    assert_ptr_equal(size(m, "s", 0), size(m, "t", 0));          /* the same two meet */
    size_is(m, "s", 0, "? <= max(p, q)");
    fy_model_free(m);
}

/* In a branch that is not taken nothing need hold. */
static void test_not_in_branches(void **state) {
    (void)state;
    fy_model *m = model_of("(float[b, 5] x, float[c, 5] y, bool k) => (z, u) {"
                        "  u = Unique <axis = 0> (x)"
                        "  z = If <then_branch = t () => (tz) { tz = Concat <axis = 1> (u, y) }, else_branch = e () => (ez) { ez = Concat <axis = 1> (x, x) }> (k) }");
    size_is(m, "u", 0, "? <= b");
    assert_true(size(m, "z", 0)->kind == FY_DIM_OPAQUE);
    size_is(m, "z", 1, "10");
    fy_model_free(m);
}

static void test_loop(void **state) {
    (void)state;
    fy_model *m = model_of("(float[b] x, float[b] still, int64 n) => (last, same, rows, lens) {"
                        "  last, same, rows, lens = Loop <body = g (int64 i, bool go, float[b] v, float[b] w) => (go2, grown, w2, row, len) {"
                        "    go2 = Identity (go)"
                        "    grown = Concat <axis = 0> (v, w)"
                        "    w2 = Relu (w)"
                        "    row = ReduceSum <keepdims = 1> (v)"
                        "    len = Shape (v) }> (n, , x, still) }");
    size_is(m, "same", 0, "b");
    assert_int_equal(size(m, "last", 0)->kind, FY_DIM_OPAQUE);
    assert_true(size(m, "last", 0) != size(m, "v", 0));          /* the end of the last iteration is not its beginning */
    assert_ptr_equal(size(m, "rows", 0), size(m, "lens", 0));
    assert_int_equal(size(m, "rows", 0)->kind, FY_DIM_OPAQUE);
    size_is(m, "rows", 1, "1");
    size_is(m, "lens", 1, "1");
    fy_model_free(m);
}

static void test_scan_keeps_shapes(void **state) {
    (void)state;
    fy_model *m = model_of("(float[p] h, float[t, q] x) => (last, all) {"
                        "  last, all = Scan <num_scan_inputs = 1, body = g (float[p] v, float[q] r) => (w, y) { w = Add (v, r) y = Relu (w) }> (h, x) }");
    size_is(m, "last", 0, "p");
    size_is(m, "all", 0, "t");
    fy_model_free(m);
}

static void test_items(void **state) {
    (void)state;
    fy_model *m = model_of("(float[b, 4] x, float[c, 4] y, int64 i, int64 j) => (u, v, w, n) {"
                        "  l = SequenceConstruct (x, y)"
                        "  u = SequenceAt (l, i)"
                        "  v = SequenceAt (l, j)"
                        "  w = ConcatFromSequence <axis = 0> (l)"
                        "  e = SequenceEmpty ()"
                        "  f = SequenceInsert (e, x)"
                        "  n = SequenceAt (f, i) }");
    size_is(m, "u", 1, "4");
    assert_true(size(m, "u", 0) != size(m, "v", 0));             /* two items, two sizes */
    size_is(m, "u", 0, "? <= max(b, c)");
    size_is(m, "w", 1, "4");
    size_is(m, "n", 0, "b");                                     /* the only item */
    fy_model_free(m);
}

static void test_symbolic_kernels(void **state) {
    (void)state;
    fy_model *m = model_of("(float[b, 3, h, w] x, float[o, 3, k, k] f, float[b2, 2, 3] p, float[b3, 3, 5] q) => (y, z) {"
                        "  y = Conv <strides = [2, 1], pads = [1, 0, 1, 0]> (x, f)"
                        "  z = MatMul (p, q) }");
    size_is(m, "y", 1, "o");
    size_is(m, "y", 2, "floor((h + k)/2) - k + 2");
    size_is(m, "y", 3, "w - k + 1");
    size_is(m, "z", 0, "? <= max(b2, b3)");                      /* one of them may be 1 */
    fy_model_free(m);
}

static void test_names_of_outputs(void **state) {
    (void)state;
    fy_model *m = model_of("(float[b] x) => (int64[1, found] i, float[found] u) { t = Cast <to = 9> (x) i = NonZero (t) u = Unique (x) }");
    assert_true(size(m, "i", 1) != size(m, "u", 0));             /* files give one name to sizes that are not equal */
    fy_model_free(m);
}

static void test_constant_nodes(void **state) {
    (void)state;
    fy_model *m = model_of("(float[b, 2, 8] x) => (y) { s = Constant <value_floats = [1.0, 1.0, 1.5]> () y = Resize (x, , s) }");
    size_is(m, "y", 2, "12");
    fy_model_free(m);
}

/* Random sizes: what is inferred holds in every run. */
static void test_property(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s 6"), *k = rig_in(&r, FERRY_INT64, "1"), *two = RIG_K(&r, 2), *minus = RIG_K(&r, -1);
    fy_value *n = fy_emit(&r.b, "Shape", FY_V(x), FY_NOATTR), *zero = RIG_K(&r, 0);
    fy_value *b = fy_emit(&r.b, "Gather", FY_V(n, zero), FY_NOATTR);
    fy_value *t = fy_emit(&r.b, "Concat", FY_V(b, minus, two), FY_A(fy_int("axis", 0)));
    fy_value *y = fy_emit(&r.b, "Reshape", FY_V(x, t), FY_NOATTR);
    fy_value *s = fy_emit(&r.b, "Slice", FY_V(y, zero, k, zero), FY_NOATTR);
    fy_value *nz = fy_emit(&r.b, "NonZero", FY_V(s), FY_NOATTR);
    rig_out(&r, nz);
    rig_out(&r, fy_emit(&r.b, "Concat", FY_V(nz, nz), FY_A(fy_int("axis", 1))));
    rig_property(&r, 1, 5);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts), cmocka_unit_test(test_bounds), cmocka_unit_test(test_equalities), cmocka_unit_test(test_not_in_branches),
        cmocka_unit_test(test_loop), cmocka_unit_test(test_scan_keeps_shapes), cmocka_unit_test(test_items), cmocka_unit_test(test_symbolic_kernels),
        cmocka_unit_test(test_names_of_outputs), cmocka_unit_test(test_constant_nodes), cmocka_unit_test(test_property)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
