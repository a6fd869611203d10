/* SPDX-License-Identifier: Apache-2.0
 * test_build.c - inference into the graph (merging, broadcasting, checks) and the builder; sizes built as nodes are run and
 * compared with what the size evaluates to. */
#include "ops/ops.h"
#include "test.h"

static fy_model *M;
static ferry_error E;
static const fy_dim *D(const char *s) { return fy_dim_parse(M->dims, s, strlen(s)); }

static fy_value *input(const char *name, fy_dtype t, int rank, const char *const *dim) {
    const fy_dim *d[FY_MAX_RANK];
    for (int i = 0; i < rank; i++) d[i] = D(dim[i]);
    fy_type ty = fy_tensor_type(M, t, rank, d);
    return fy_graph_add_input(M->graph, name, &ty);
}
#define INPUT(name, t, ...) input(name, t, FY_COUNT(((const char *[]){ __VA_ARGS__ })), (const char *[]){ __VA_ARGS__ })

static void is_type(const fy_value *v, const char *want) {
    fy_buf b = { 0 };
    assert_non_null(v);
    fy_type_print(&b, &v->type);
    assert_string_equal(b.at, want);
    fy_buf_free(&b);
}

static void broadcasting(void **state) {
    (void)state;
    M = fy_model_new(fy_registry_builtin());
    fy_build b = { .g = M->graph, .e = &E };
    fy_value *x = INPUT("x", FERRY_FLOAT, "batch", "1", "8"), *y = INPUT("y", FERRY_FLOAT, "seq", "8"), *z = INPUT("z", FERRY_FLOAT, "batch", "4", "1");
    is_type(fy_emit(&b, "Add", FY_V(x, y), FY_NOATTR), "f32[batch,seq,8]");
    is_type(fy_emit(&b, "Mul", FY_V(x, z), FY_NOATTR), "f32[batch,4,8]");
    fy_value *five = INPUT("five", FERRY_FLOAT, "5", "8");
    is_type(fy_emit(&b, "Add", FY_V(y, five), FY_NOATTR), "f32[5,8]");
    fy_dim_bound(M->dims, D("p"), 2, INT64_MAX);
    fy_value *p = INPUT("p", FERRY_FLOAT, "p"), *q = INPUT("q", FERRY_FLOAT, "q");
    is_type(fy_emit(&b, "Add", FY_V(q, p), FY_NOATTR), "f32[p]");
    fy_value *u = fy_emit(&b, "Add", FY_V(q, INPUT("r", FERRY_FLOAT, "r")), FY_NOATTR);
    assert_int_equal(u->type.dim[0]->kind, FY_DIM_OPAQUE);
    fy_value *six = INPUT("six", FERRY_FLOAT, "6", "8");
    assert_null(fy_emit(&b, "Add", FY_V(five, six), FY_NOATTR));
    assert_int_equal(b.status, FY_E_SHAPE);
    assert_true(E.nframes >= 1 && strstr(E.frame[0], "Add"));
    assert_null(fy_emit(&b, "Add", FY_V(x, y), FY_NOATTR));  /* failure is sticky */
    assert_int_equal(M->graph->nnodes, 5);                   /* and leaves no node behind */
    b.status = FY_OK;
    fy_value *i = INPUT("i", FERRY_INT64, "8");
    assert_null(fy_emit(&b, "Add", FY_V(x, i), FY_NOATTR));
    assert_int_equal(b.status, FY_E_TYPE);
    b.status = FY_OK;
    assert_null(fy_emit(&b, "Add", FY_V(x), FY_NOATTR));
    assert_int_equal(b.status, FY_E_GRAPH);
    b.status = FY_OK;
    assert_null(fy_emit(&b, "NoSuch", FY_V(x), FY_NOATTR));
    assert_int_equal(b.status, FY_E_OP);
    b.status = FY_OK;
    fy_attr wrong = fy_float("axis", 1);
    assert_null(fy_emit(&b, "Softmax", FY_V(x), 1, &wrong));
    assert_int_equal(b.status, FY_E_ATTR);
    assert_ok(fy_model_verify(M, &E), E);
    fy_model_free(M);
}

static void recorded_and_derived(void **state) {
    (void)state;
    M = fy_model_new(fy_registry_builtin());
    fy_value *x = INPUT("x", FERRY_FLOAT, "n", "8");
    fy_node *n = fy_node_new(M->graph, NULL, fy_op_find(M->registry, "", "Relu"), 1, &x, 1);
    n->out[0]->type = fy_tensor_type(M, FERRY_FLOAT, 2, (const fy_dim *[]){ fy_dim_const(M->dims, 3), D("w") });
    assert_ok(fy_infer_node(n, &E), E);
    is_type(n->out[0], "f32[3,8]");                          /* the more exact of each */
    size_t before = M->arena.bytes;
    assert_ok(fy_infer_node(n, &E), E);
    assert_int_equal(before, M->arena.bytes);                /* nothing new: nothing kept */
    n->out[0]->type = fy_tensor_type_i64(M, FERRY_FLOAT, 2, (int64_t[]){ 3, 9 });
    assert_fails(fy_infer_node(n, &E), SHAPE);
    n->out[0]->type = fy_tensor_type_i64(M, FERRY_FLOAT, 1, (int64_t[]){ 3 });
    assert_fails(fy_infer_node(n, &E), SHAPE);
    n->out[0]->type = fy_tensor_type_i64(M, FERRY_INT64, 2, (int64_t[]){ 3, 8 });
    assert_fails(fy_infer_node(n, &E), TYPE);
    n->out[0]->type = (fy_type){ .kind = FY_SEQUENCE };
    assert_fails(fy_infer_node(n, &E), TYPE);
    fy_model_free(M);
}

static const char *const names[] = { "h", "w", "batch", "n" };
static bool value_of(void *ctx, const fy_dim *s, int64_t *v) {
    for (int i = 0; i < 4; i++)
        if (strcmp(s->name, names[i]) == 0) { *v = ((int64_t *)ctx)[i]; return true; }
    return false;
}

static void sizes_as_values(void **state) {
    (void)state;
    static const char *const exprs[] = { "h", "batch", "h*w", "3*h - w + 2", "(h + 1)//2", "(h - w)//3", "h % 4", "mod(h - 9, w + 1)", "min(h, w)", "max(h*batch, 7)", "h//(w + 1)",
                                         "CeilDiv(h - 5, w + 1)", "pow(w, h % 3)", "n", "n*h + n", "2*n + 3", "5", "-h + 2*w*batch - 1" };
    M = fy_model_new(fy_registry_builtin());
    fy_value *x = INPUT("x", FERRY_FLOAT, "batch", "3", "h", "w"), *y = INPUT("y", FERRY_FLOAT, "2*n + 3");    /* n only follows from 2*n + 3 */
    fy_build b = { .g = M->graph, .e = &E };
    fy_value *z = fy_emit(&b, "Relu", FY_V(x), FY_NOATTR);
    assert_non_null(z);
    for (int i = 0; i < FY_COUNT(exprs); i++) {
        b.before = i % 2 ? z->def : NULL;
        fy_value *v = fy_b_dim(&b, D(exprs[i]));
        if (!v) print_error("%s: %s\n", exprs[i], E.text);
        assert_non_null(v);
        is_type(v, "i64[1]");
        assert_ptr_equal(v->elem[0], D(exprs[i]));           /* inference stays symbolic */
        assert_ptr_equal(v, fy_b_dim(&b, D(exprs[i])));      /* built once */
        assert_true(fy_graph_add_output(M->graph, v));
    }
    b.before = NULL;
    const fy_dim *all[] = { D("2"), D("h"), D("3"), D("4"), D("n") };
    fy_value *joined = fy_b_dims(&b, 5, all);
    assert_non_null(joined);
    for (int i = 0; i < 5; i++) assert_ptr_equal(joined->elem[i], all[i]);
    assert_true(fy_graph_add_output(M->graph, joined));
    assert_ok(fy_model_verify(M, &E), E);
    for (int64_t h = 0; h < 14; h += 3)
        for (int64_t w = 0; w < 5; w++) {
            int64_t sym[4] = { h, w, 2, h + 1 };
            fy_rval in[2] = { { .kind = FY_TENSOR }, { .kind = FY_TENSOR } }, out[FY_COUNT(exprs) + 1];
            memset(out, 0, sizeof out);
            assert_ok(fy_tensor_new(&in[0].t, FERRY_FLOAT, 4, (int64_t[]){ 2, 3, h, w }, &E), E);
            assert_ok(fy_tensor_new(&in[1].t, FERRY_FLOAT, 1, (int64_t[]){ 2 * sym[3] + 3 }, &E), E);
            fy_interp it = { 0 };
            assert_ok(fy_interp_run(&it, M->graph, (fy_rval *[]){ &in[0], &in[1] }, out, &E), E);
            for (int i = 0; i < FY_COUNT(exprs); i++) {
                int64_t want;
                assert_true(fy_dim_eval(D(exprs[i]), value_of, sym, &want));
                if (fy_get_i64(&out[i].t, 0) != want) print_error("%s at h %lld w %lld\n", exprs[i], (long long)h, (long long)w);
                assert_int_equal(fy_get_i64(&out[i].t, 0), want);
            }
            assert_int_equal(fy_get_i64(&out[FY_COUNT(exprs)].t, 4), sym[3]);
            for (int i = 0; i <= FY_COUNT(exprs); i++) fy_rval_free(&out[i]);
            fy_rval_free(&in[0]);
            fy_rval_free(&in[1]);
        }
    (void)y;
    assert_null(fy_b_dim(&b, D("nowhere")));
    assert_int_equal(b.status, FY_E_GRAPH);
    fy_model_free(M);
}

static void data_dependent_sizes(void **state) {
    (void)state;
    M = fy_model_new(fy_registry_builtin());
    fy_value *x = INPUT("x", FERRY_FLOAT, "h", "4");
    fy_build b = { .g = M->graph, .e = &E };
    fy_value *nz = fy_emit(&b, "NonZero", FY_V(x), FY_NOATTR);
    assert_non_null(nz);
    const fy_dim *count = nz->type.dim[1];
    assert_int_equal(count->kind, FY_DIM_OPAQUE);
    fy_value *v = fy_b_dim(&b, fy_dim_addi(M->dims, count, 1));
    assert_non_null(v);
    assert_false(v->def->head);                              /* cannot be at the start */
    assert_true(fy_graph_add_output(M->graph, v));
    assert_ok(fy_model_verify(M, &E), E);
    b.before = nz->def;                                      /* before it is known */
    assert_null(fy_b_dim(&b, count));
    assert_int_equal(b.status, FY_E_GRAPH);
    fy_model_free(M);
}

static int count_ops(const char *op) {
    int n = 0;
    for (const fy_node *k = M->graph->first; k; k = k->next) n += strcmp(k->op->name, op) == 0;
    return n;
}

static void reshape_needs_few_nodes(void **state) {
    (void)state;
    M = fy_model_new(fy_registry_builtin());
    fy_value *x = INPUT("x", FERRY_FLOAT, "batch", "seq", "12");
    fy_build b = { .g = M->graph, .e = &E };
    const fy_dim *heads[] = { D("batch"), D("seq"), D("3"), D("4") }, *flat[] = { D("batch*seq"), D("12") }, *odd[] = { D("seq"), D("batch"), D("12") };
    fy_value *y = fy_b_reshape(&b, x, 4, heads);
    is_type(y, "f32[batch,seq,3,4]");
    assert_ptr_equal(fy_b_reshape(&b, y, 4, heads), y);      /* nothing to do */
    is_type(fy_b_reshape(&b, y, 2, flat), "f32[batch*seq,12]");
    assert_int_equal(count_ops("Shape"), 0);
    assert_int_equal(M->graph->nnodes, 2);
    is_type(fy_b_reshape(&b, x, 3, odd), "f32[seq,batch,12]");
    assert_int_equal(count_ops("Shape"), 1);                 /* one is -1, the other needs its value */
    const fy_dim *wide[] = { D("5"), D("batch"), D("seq"), D("12") };
    is_type(fy_b_expand(&b, x, 4, wide), "f32[5,batch,seq,12]");
    assert_int_equal(count_ops("Shape"), 1);
    const fy_dim *none[] = { D("0"), D("batch"), D("12") };
    fy_value *e = INPUT("e", FERRY_FLOAT, "batch", "0");
    y = fy_b_reshape(&b, e, 3, none);
    is_type(y, "f32[0,batch,12]");
    assert_int_equal(fy_attr_i(y->def, "allowzero"), 1);
    assert_ptr_equal(fy_b_transpose(&b, x, (int[]){ 0, 1, 2 }), x);
    is_type(fy_b_transpose(&b, x, (int[]){ 2, 0, 1 }), "f32[12,batch,seq]");
    is_type(fy_b_unsqueeze(&b, x, 1), "f32[batch,1,seq,12]");
    is_type(fy_b_squeeze(&b, fy_b_unsqueeze(&b, x, 1), 1), "f32[batch,seq,12]");
    is_type(fy_b_slice(&b, x, 2, fy_k_ints(&b, 1, (int64_t[]){ 2 }), fy_k_ints(&b, 1, (int64_t[]){ 8 }), NULL), "f32[batch,seq,6]");
    is_type(fy_b_concat(&b, 2, (fy_value *[]){ x, x }, 1), "f32[batch,2*seq,12]");
    assert_ptr_equal(fy_b_cast(&b, x, FERRY_FLOAT), x);
    is_type(fy_b_cast(&b, x, FERRY_INT8), "i8[batch,seq,12]");
    assert_ok(b.status, E);
    assert_ok(fy_model_verify(M, &E), E);
    fy_model_free(M);
}

static void constants_are_merged(void **state) {
    (void)state;
    M = fy_model_new(fy_registry_builtin());
    fy_build b = { .g = M->graph, .e = &E };
    fy_value *x = INPUT("x", FERRY_FLOAT, "4"), *k = fy_k_scalar(&b, FERRY_FLOAT, 2);
    fy_value *y = fy_emit(&b, "Mul", FY_V(x, k), FY_NOATTR);
    assert_ptr_equal(fy_k_scalar(&b, FERRY_FLOAT, 2), k);
    assert_ptr_not_equal(fy_k_scalar(&b, FERRY_DOUBLE, 2), k);
    assert_ptr_not_equal(fy_k_scalar(&b, FERRY_FLOAT, 3), k);
    fy_value *i = fy_k_i64(&b, INT64_MAX);
    int64_t v;
    assert_true(fy_const_i64(i->constant, 0, &v) && v == INT64_MAX);
    is_type(i, "i64[]");
    fy_value *e = fy_k_ints(&b, 0, &v);
    is_type(e, "i64[0]");
    assert_int_equal(e->nelem, 0);
    assert_non_null(y);
    fy_graph *body = fy_graph_new(M, M->graph);
    fy_build inner = { .g = body, .e = &E };
    assert_ptr_equal(fy_k_scalar(&inner, FERRY_FLOAT, 2), k);        /* bodies see the outermost graph's */
    fy_model_free(M);
}

/* Whatever allocation fails: an error, nothing broken, nothing leaked. */
static void without_memory(void **state) {
    (void)state;
    for (int64_t k = 0; k < 400; k++) {
        M = fy_model_new(fy_registry_builtin());
        fy_value *x = INPUT("x", FERRY_FLOAT, "batch", "seq", "12");
        fy_build b = { .g = M->graph, .e = &E };
        fy_os_fail_at(k, false);
        fy_value *y = fy_b_reshape(&b, x, 3, (const fy_dim *[]){ fy_dim_sym(M->dims, "seq"), fy_dim_sym(M->dims, "batch"), fy_dim_const(M->dims, 12) });
        fy_value *z = fy_b_dim(&b, fy_dim_muli(M->dims, fy_dim_sym(M->dims, "seq"), 3));
        fy_os_fail_at(-1, false);
        assert_true((y && z) || b.status == FY_E_NOMEM);
        assert_ok(fy_model_verify(M, &E), E);
        fy_model_free(M);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(broadcasting), cmocka_unit_test(recorded_and_derived), cmocka_unit_test(sizes_as_values),
                                        cmocka_unit_test(data_dependent_sizes), cmocka_unit_test(reshape_needs_few_nodes), cmocka_unit_test(constants_are_merged),
                                        cmocka_unit_test(without_memory) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
