/* SPDX-License-Identifier: Apache-2.0
 * test_graph.c - use lists, replacing, removing, captures, naming, verification. */
#include "ir/op.h"
#include "test.h"

static const fy_attr_spec toy_attrs[] = { { "alpha", FY_ATTR_FLOAT, "0.01" }, { "k", FY_ATTR_INT, "-3" }, { "mode", FY_ATTR_STRING, "constant" },
                                          { "axes", FY_ATTR_INTS, NULL }, { "body", FY_ATTR_GRAPH, NULL }, { 0 } };
static const fy_op op_add = { .name = "Add", .domain = "", .attrs = toy_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .types = "T=f32,i64|T,T|T", .flags = FY_PURE };
static const fy_op op_many = { .name = "Many", .domain = "", .attrs = toy_attrs, .min_in = 0, .max_in = -1, .min_out = 0, .max_out = -1, .flags = FY_PURE };
static const fy_op *const list[] = { &op_add, &op_many };
static const fy_registry toys = { NULL, list, 2 };
static const fy_op other = { .name = "Add", .domain = "my.domain" };
static const fy_op *const more_list[] = { &other };
static const fy_registry more = { &toys, more_list, 1 };

static void uses_follow_changes(void **state) {
    (void)state;
    ferry_error e;
    fy_model *m = fy_model_new(&toys);
    fy_graph *g = m->graph;
    fy_type t = fy_tensor_type_i64(m, FERRY_FLOAT, 1, (int64_t[]){ 4 });
    fy_value *x = fy_graph_add_input(g, "x", &t), *y = fy_graph_add_input(g, "y", &t);
    fy_node *a = fy_node_new(g, NULL, &op_add, 2, (fy_value *[]){ x, x }, 1);
    fy_node *b = fy_node_new(g, NULL, &op_add, 2, (fy_value *[]){ a->out[0], y }, 1);
    assert_true(fy_graph_add_output(g, b->out[0]));
    assert_true(fy_graph_add_output(g, b->out[0]));
    assert_int_equal(x->nuses, 2);
    assert_int_equal(b->out[0]->nuses, 2);
    assert_ok(fy_model_verify(m, &e), e);
    fy_value_replace(x, y);
    assert_int_equal(x->nuses, 0);
    assert_int_equal(y->nuses, 3);
    assert_ok(fy_model_verify(m, &e), e);
    fy_value_replace(b->out[0], a->out[0]);                  /* graph outputs follow */
    assert_ptr_equal(g->out.at[0], a->out[0]);
    assert_ptr_equal(g->out.at[1], a->out[0]);
    assert_true(a->out[0]->is_output);
    assert_false(b->out[0]->is_output);
    fy_node_remove(b);
    assert_int_equal(g->nnodes, 1);
    assert_int_equal(a->out[0]->nuses, 2);
    fy_graph_set_output(g, 1, y);
    assert_int_equal(a->out[0]->nuses, 1);
    assert_ok(fy_model_verify(m, &e), e);
    fy_node *c = fy_node_new(g, a, &op_add, 2, (fy_value *[]){ a->out[0], y }, 1);      /* before what it reads */
    assert_fails(fy_model_verify(m, &e), GRAPH);
    fy_node_move(c, NULL);
    assert_ok(fy_model_verify(m, &e), e);
    fy_node_set_input(c, 0, NULL);                           /* a required input left out */
    assert_fails(fy_model_verify(m, &e), GRAPH);
    fy_model_free(m);
}

static void inputs_grow(void **state) {
    (void)state;
    ferry_error e;
    fy_model *m = fy_model_new(&toys);
    fy_value *x = fy_graph_add_input(m->graph, "x", NULL);
    fy_node *n = fy_node_new(m->graph, NULL, &op_many, 0, NULL, 1);
    for (int i = 0; i < 100; i++) {
        assert_true(fy_node_add_input(n, i % 3 ? x : NULL));
        assert_ok(fy_model_verify(m, &e), e);
    }
    assert_int_equal(x->nuses, 66);
    for (int i = 0; i < 20; i++) {
        char name[8];
        snprintf(name, sizeof name, "a%d", i);
        fy_attr a = { .name = name, .kind = FY_ATTR_INT, .n = 1, .i = i };
        assert_true(fy_node_set_attr(n, &a));
    }
    fy_node_del_attr(n, "a3");
    assert_int_equal(n->nattr, 19);
    assert_null(fy_attr_get(n, "a3"));
    for (int i = 4; i < 20; i++) {
        char name[8];
        snprintf(name, sizeof name, "a%d", i);
        assert_int_equal(fy_attr_get(n, name)->i, i);
    }
    fy_model_free(m);
}

static void attributes_and_defaults(void **state) {
    (void)state;
    fy_model *m = fy_model_new(&toys);
    fy_node *n = fy_node_new(m->graph, NULL, &op_many, 0, NULL, 1);
    int64_t k;
    assert_true(fy_attr_f(n, "alpha") == (double)0.01f);
    assert_int_equal(fy_attr_i(n, "k"), -3);
    assert_true(fy_attr_is(n, "mode", "constant"));
    assert_null(fy_attr_ints(n, "axes", &k));
    int64_t axes[] = { 3, -1 };
    fy_attr set[] = { { .name = "k", .kind = FY_ATTR_INT, .n = 1, .i = 7 }, { .name = "axes", .kind = FY_ATTR_INTS, .n = 2, .ints = axes },
                      { .name = "mode", .kind = FY_ATTR_STRING, .n = 1, .s = { "edge", 4 } } };
    for (int i = 0; i < 3; i++) assert_true(fy_node_set_attr(n, &set[i]));
    axes[0] = 99;                                            /* contents were copied */
    assert_int_equal(fy_attr_i(n, "k"), 7);
    assert_int_equal(fy_attr_ints(n, "axes", &k)[0], 3);
    assert_int_equal(k, 2);
    assert_true(fy_attr_is(n, "mode", "edge"));
    fy_node_del_attr(n, "k");
    assert_int_equal(fy_attr_i(n, "k"), -3);
    assert_ptr_equal(fy_op_find(&more, "ai.onnx", "Add"), &op_add);
    assert_ptr_equal(fy_op_find(&more, "my.domain", "Add"), &other);
    assert_null(fy_op_find(&more, "", "Sub"));
    assert_int_equal(fy_registry_count(&more), 3);
    assert_ptr_equal(fy_registry_at(&more, 0), &other);
    assert_ptr_equal(fy_registry_at(&more, 2), &op_many);
    assert_null(fy_registry_at(&more, 3));
    const fy_op *o = fy_op_opaque(m, "x.y", "Strange");
    assert_ptr_equal(o, fy_op_opaque(m, "x.y", "Strange"));
    assert_string_equal(o->name, "Strange");
    assert_string_equal(o->domain, "x.y");
    fy_model_free(m);
}

static void bodies_capture(void **state) {
    (void)state;
    ferry_error e;
    fy_model *m = fy_model_new(&toys);
    fy_value *x = fy_graph_add_input(m->graph, "x", NULL), *y = fy_graph_add_input(m->graph, "y", NULL);
    fy_node *outer = fy_node_new(m->graph, NULL, &op_many, 0, NULL, 1);
    fy_graph *body = fy_graph_new(m, m->graph);
    fy_attr attr = { .name = "body", .kind = FY_ATTR_GRAPH, .n = 1, .graph = body };
    assert_true(fy_node_set_attr(outer, &attr));
    assert_int_equal(outer->ncap, 0);
    fy_value *i = fy_graph_add_input(body, "i", NULL);
    fy_node *mid = fy_node_new(body, NULL, &op_many, 1, &i, 1);
    fy_graph *deep = fy_graph_new(m, body);
    attr.graph = deep;
    assert_true(fy_node_set_attr(mid, &attr));
    fy_node *in = fy_node_new(deep, NULL, &op_add, 2, (fy_value *[]){ x, i }, 1);
    assert_true(fy_graph_add_output(deep, in->out[0]));
    assert_true(fy_graph_add_output(body, y));               /* an outer value passed on */
    assert_fails(fy_model_verify(m, &e), GRAPH);             /* captures are not listed yet */
    assert_true(fy_node_collect_captures(mid));
    assert_true(fy_node_collect_captures(outer));
    assert_ok(fy_model_verify(m, &e), e);
    assert_int_equal(mid->ncap, 2);                          /* x, i */
    assert_int_equal(outer->ncap, 2);                        /* x, y */
    assert_int_equal(x->nuses, 3);
    fy_value_replace(x, y);
    assert_int_equal(x->nuses, 0);
    assert_ptr_equal(in->in[0].value, y);
    assert_ok(fy_model_verify(m, &e), e);
    int graphs = 0;
    for (fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g)) graphs++;
    assert_int_equal(graphs, 3);
    fy_node_remove(outer);                                   /* bodies let go of outer values */
    assert_int_equal(y->nuses, 0);
    assert_ok(fy_model_verify(m, &e), e);
    fy_model_free(m);
}

static void names_are_unique(void **state) {
    (void)state;
    ferry_error e;
    fy_model *m = fy_model_new(&toys);
    fy_value *x = fy_graph_add_input(m->graph, "x", NULL);
    fy_node *a = fy_node_new(m->graph, NULL, &op_add, 2, (fy_value *[]){ x, x }, 1), *b = fy_node_new(m->graph, NULL, &op_add, 2, (fy_value *[]){ x, x }, 1);
    fy_node *c = fy_node_new(m->graph, NULL, &op_add, 2, (fy_value *[]){ x, x }, 1);
    a->out[0]->name = "y";
    b->out[0]->name = "y";
    c->scope = "block.0";
    fy_node_new(m->graph, NULL, &op_many, 0, NULL, 3);
    assert_true(fy_graph_add_output(m->graph, b->out[0]));   /* an output chooses first */
    assert_ok(fy_model_name_all(m, &e), e);
    assert_string_equal(b->out[0]->name, "y");
    assert_string_equal(a->out[0]->name, "y_2");
    assert_string_equal(c->name, "block.0/Add");
    assert_string_equal(a->name, "Add");
    assert_string_equal(b->name, "Add_2");
    fy_map seen = { 0 };
    for (fy_node *n = m->graph->first; n; n = n->next)
        for (int i = 0; i < n->nout; i++) {
            assert_false(fy_map_has(&seen, n->out[i]->name, strlen(n->out[i]->name)));
            assert_true(fy_map_puts(&seen, n->out[i]->name, n));
        }
    fy_map_free(&seen);
    assert_ok(fy_model_set_meta(m, "k", "1", &e), e);
    assert_ok(fy_model_set_meta(m, "k", "2", &e), e);
    assert_string_equal(fy_model_meta(m, "k"), "2");
    assert_null(fy_model_meta(m, "q"));
    fy_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(uses_follow_changes), cmocka_unit_test(inputs_grow), cmocka_unit_test(attributes_and_defaults),
                                        cmocka_unit_test(bodies_capture), cmocka_unit_test(names_are_unique) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
