/* SPDX-License-Identifier: Apache-2.0
 * test_control.c - If, Loop, Scan with captures and carried values; sequences and optionals; hostile counts. */
#include "infer_property.h"

static fy_type scalar(rig *r, fy_dtype t) { return fy_tensor_type(r->m, t, 0, NULL); }

static fy_build body(rig *r) {
    fy_build b = {.g = fy_graph_new(r->m, r->m->graph), .e = &r->e};
    assert_non_null(b.g);
    return b;
}

static fy_attr graph_attr(const char *name, fy_graph *g) { return (fy_attr){.name = name, .kind = FY_ATTR_GRAPH, .n = 1, .graph = g}; }

/* y = x (captured) doubled or its first row, as the condition says; both have a symbolic size. */
static void test_if(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s"), *cond = rig_in(&r, FERRY_BOOL, "");
    fy_build then = body(&r), other = body(&r);
    assert_true(fy_graph_add_output(then.g, fy_emit(&then, "Add", FY_V(x, x), FY_NOATTR)));
    assert_true(fy_graph_add_output(other.g, fy_emit(&other, "Slice", FY_V(x, fy_k_ints(&other, 1, RIG_I(0)), fy_k_ints(&other, 1,
            RIG_I(1))), FY_NOATTR)));
    fy_value *y = fy_emit(&r.b, "If", FY_V(cond), FY_A(graph_attr("then_branch", then.g), graph_attr("else_branch", other.g)));
    rig_out(&r, y);
    assert_int_equal(y->type.rank, 2);
    assert_int_equal(y->type.dim[0]->kind, FY_DIM_OPAQUE);
    assert_ptr_equal(y->type.dim[1], x->type.dim[1]);
    rig_property(&r, 1, 4);
    rig_free(&r);
}

/* for i in range(n): acc = concat(acc, x); rows.append(acc + i); the concatenation makes the carried size unknown. */
static void test_loop(void **state) {
    (void)state;
    for (int grow = 0; grow < 2; grow++) {
        rig r;
        rig_new(&r);
        fy_value *x = rig_in(&r, FERRY_INT64, "b s"), *m = rig_in(&r, FERRY_INT64, "");
        r.ints = 5;
        fy_build l = body(&r);
        fy_type ti = scalar(&r, FERRY_INT64), tb = scalar(&r, FERRY_BOOL), tx = {.rank = -1};
        fy_value *i = fy_graph_add_input(l.g, "i", &ti), *c = fy_graph_add_input(l.g, "c", &tb), *acc = fy_graph_add_input(l.g, "acc", &tx);
        acc->type = x->type;                                    /* as a file would declare it */
        fy_value *next = grow ? fy_emit(&l, "Concat", FY_V(acc, x), FY_A(fy_int("axis", 0))) : fy_emit(&l, "Add", FY_V(acc, x), FY_NOATTR);
        fy_value *row = fy_emit(&l, "Add", FY_V(x, i), FY_NOATTR);
        assert_non_null(row);
        assert_true(fy_graph_add_output(l.g, c) && fy_graph_add_output(l.g, next) && fy_graph_add_output(l.g, row));
        fy_node *n = fy_emit_n(&r.b, "Loop", 2, FY_V(fy_emit(&r.b, "Add", FY_V(m, fy_k_i64(&r.b, 1)), FY_NOATTR), NULL, x),
                FY_A(graph_attr("body", l.g)));
        if (!n) print_error("%s\n", r.e.text);
        assert_non_null(n);
        assert_int_equal(n->out[0]->type.rank, 2);
        assert_int_equal(n->out[0]->type.dim[0] == x->type.dim[0], !grow);
        assert_ptr_equal(n->out[0]->type.dim[1], x->type.dim[1]);
        assert_int_equal(n->out[1]->type.rank, 3);
        assert_ptr_equal(n->out[1]->type.dim[2], x->type.dim[1]);
        rig_out(&r, n->out[0]);
        rig_out(&r, n->out[1]);
        rig_property(&r, 1, 3);
        rig_free(&r);
    }
}

/* The iteration number itself as a scan output: each row must keep its own value. Then a loop without an end. */
static void test_loop_values(void **state) {
    (void)state;
    for (int endless = 0; endless < 2; endless++) {
        rig r;
        rig_new(&r);
        fy_build l = body(&r);
        fy_type ti = scalar(&r, FERRY_INT64), tb = scalar(&r, FERRY_BOOL);
        fy_value *i = fy_graph_add_input(l.g, "i", &ti), *c = fy_graph_add_input(l.g, "c", &tb);
        fy_value *go = fy_emit(&l, "Less", FY_V(i, fy_k_i64(&l, endless ? -1 : 3)), FY_NOATTR);
        if (endless) go = c;
        assert_true(fy_graph_add_output(l.g, go) && fy_graph_add_output(l.g, i));
        fy_value *y = fy_emit(&r.b, "Loop", FY_V(fy_k_i64(&r.b, endless ? -5 : 100), NULL), FY_A(graph_attr("body", l.g)));
        rig_out(&r, y);
        fy_rval out[1] = {{0}};
        fy_interp it = {0};
        assert_ok(fy_interp_run(&it, r.m->graph, NULL, out, &r.e), r.e);
        if (endless) assert_int_equal(fy_count(&out[0].t), 0);
        else rig_expect(&out[0].t, RIG_DIMS(4), RIG_D(0, 1, 2, 3));
        fy_rval_free(&out[0]);
        rig_free(&r);
    }
}

/* s = s + row, over the columns of x from the end; rows stacked as columns, in reverse. */
static void test_scan(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *s0 = rig_in(&r, FERRY_FLOAT, "b"), *x = rig_in(&r, FERRY_FLOAT, "b s");
    fy_build l = body(&r);
    fy_value *s = fy_graph_add_input(l.g, "s", &s0->type), *row = fy_graph_add_input(l.g, "row", &s0->type);
    fy_value *sum = fy_emit(&l, "Add", FY_V(s, row), FY_NOATTR);
    assert_true(fy_graph_add_output(l.g, sum) && fy_graph_add_output(l.g, sum));
    fy_node *n = fy_emit_n(&r.b, "Scan", 2, FY_V(s0, x), FY_A(graph_attr("body", l.g), fy_int("num_scan_inputs", 1),
            fy_ints("scan_input_axes", 1, RIG_I(1)),
        fy_ints("scan_input_directions", 1, RIG_I(1)), fy_ints("scan_output_axes", 1, RIG_I(-1)), fy_ints("scan_output_directions", 1,
                RIG_I(1))));
    if (!n) print_error("%s\n", r.e.text);
    assert_non_null(n);
    rig_type_is(n->out[0], "f32[b]");
    rig_type_is(n->out[1], "f32[b,s]");
    rig_out(&r, n->out[0]);
    rig_out(&r, n->out[1]);
    rig_property(&r, 1, 4);
    float vs[] = {10, 20}, vx[] = {1, 2, 3, 4, 5, 6};
    fy_rval in[2] = {{.kind = FY_TENSOR, .t = rig_f32(RIG_DIMS(2), vs)}, {.kind = FY_TENSOR, .t = rig_f32(RIG_DIMS(2, 3), vx)}},
            out[2] = {{0}, {0}};
    fy_rval *inp[2] = {&in[0], &in[1]};
    fy_interp it = {0};
    assert_ok(fy_interp_run(&it, r.m->graph, inp, out, &r.e), r.e);
    rig_expect(&out[0].t, RIG_DIMS(2), RIG_D(16, 35));
    rig_expect(&out[1].t, RIG_DIMS(2, 3), RIG_D(16, 15, 13, 35, 31, 26));
    for (int i = 0; i < 2; i++) fy_rval_free(&out[i]);
    rig_free(&r);
}

static void test_sequences(void **state) {
    (void)state;
    rig r;
    rig_new(&r);
    fy_value *x = rig_in(&r, FERRY_FLOAT, "b s"), *one = fy_k_i64(&r.b, -1);
    fy_value *seq = fy_emit(&r.b, "SequenceConstruct", FY_V(x, x), FY_NOATTR), *z = fy_emit(&r.b, "Add", FY_V(x, x), FY_NOATTR), *y;
    seq = fy_emit(&r.b, "SequenceInsert", FY_V(seq, z, one), FY_NOATTR);         /* x z x */
    rig_out(&r, y = fy_emit(&r.b, "SequenceAt", FY_V(seq, fy_k_i64(&r.b, 1)), FY_NOATTR));
    rig_type_is(y, "f32[b,s]");
    rig_out(&r, fy_emit(&r.b, "Sub", FY_V(y, z), FY_NOATTR));
    rig_out(&r, fy_emit(&r.b, "SequenceLength", FY_V(fy_emit(&r.b, "SequenceErase", FY_V(seq), FY_NOATTR)), FY_NOATTR));
    rig_out(&r, y = fy_emit(&r.b, "ConcatFromSequence", FY_V(seq), FY_A(fy_int("axis", -1), fy_int("new_axis", 1))));
    assert_int_equal(y->type.rank, 3);
    fy_value *parts = fy_emit(&r.b, "SplitToSequence", FY_V(x, fy_k_i64(&r.b, 2)), FY_A(fy_int("axis", 1)));
    rig_out(&r, y = fy_emit(&r.b, "ConcatFromSequence", FY_V(parts), FY_A(fy_int("axis", 1))));
    rig_out(&r, fy_emit(&r.b, "Sub", FY_V(x, y), FY_NOATTR));
    fy_value *opt = fy_emit(&r.b, "Optional", FY_V(x), FY_NOATTR);
    rig_out(&r, fy_emit(&r.b, "OptionalHasElement", FY_V(opt), FY_NOATTR));
    rig_out(&r, y = fy_emit(&r.b, "OptionalGetElement", FY_V(opt), FY_NOATTR));
    rig_type_is(y, "f32[b,s]");
    rig_property(&r, 1, 4);
    rig_out(&r, fy_emit(&r.b, "SequenceAt", FY_V(seq, fy_k_i64(&r.b, 3)), FY_NOATTR));
    fy_rval out[16] = {{0}};
    assert_int_equal(rig_run(&r, out), FY_E_INDEX);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_if), cmocka_unit_test(test_loop), cmocka_unit_test(test_loop_values),
            cmocka_unit_test(test_scan),
        cmocka_unit_test(test_sequences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
