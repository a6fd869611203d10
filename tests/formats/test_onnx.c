/* SPDX-License-Identifier: Apache-2.0
 * test_onnx.c - .onnx files made by the onnx package (fixtures/make_onnx.py): contents, round trips, refusals, external data. */
#include "test.h"

#include "formats/onnx.h"
#include "ops/ops.h"

#include <stdlib.h>
#include <unistd.h>

#define DIR FERRY_FIXTURES "/onnx/"
#define TMP FERRY_BINARY_DIR "/test_onnx"

static fy_model *read_it(const char *file) {
    ferry_error e;
    char path[512];
    fy_model *m;
    snprintf(path, sizeof path, DIR "%s", file);
    assert_ok(fy_onnx_read(&m, path, fy_registry_builtin(), &e), e);
    return m;
}

static const fy_value *find_const(const fy_model *m, const char *name) {
    for (int64_t i = 0; i < m->graph->constants.n; i++)
        if (!strcmp(m->graph->constants.at[i]->name, name)) return m->graph->constants.at[i];
    fail_msg("no constant %s", name);
    return NULL;
}

static void network(void **state) {
    ferry_error e;
    (void)state;
    fy_model *m = read_it("mlp.onnx");
    assert_int_equal(m->opset, 17);
    assert_int_equal(m->ir_version, 8);
    assert_string_equal(m->producer, "make_onnx");
    assert_int_equal(m->graph->nnodes, 3);
    assert_int_equal(m->graph->in.n, 1);
    const fy_value *x = m->graph->in.at[0];
    assert_string_equal(x->name, "x");
    assert_int_equal(x->type.rank, 3);
    assert_ptr_equal(x->type.dim[0], fy_dim_sym(m->dims, "batch"));
    assert_ptr_equal(x->type.dim[1], fy_dim_parse(m->dims, "1 + seq*2", 9));
    assert_true(fy_dim_is(x->type.dim[2], 3));
    const fy_node *mm = m->graph->first;
    assert_string_equal(mm->op->name, "MatMul");
    assert_string_equal(mm->name, "mm");
    assert_ptr_equal(mm->in[0].value, x);
    assert_int_equal(mm->out[0]->type.rank, 3);          /* from value_info */
    const fy_const *w = find_const(m, "w")->constant;
    assert_non_null(fy_const_direct(w));                 /* still in the file */
    double v;
    assert_true(fy_const_f64(w, 11, &v));
    assert_true(v == (double)1.1f);
    assert_true(fy_const_f64(find_const(m, "b")->constant, 1, &v) && v == -1);
    assert_int_equal(fy_attr_get(m->graph->last, "axis")->i, -1);
    assert_ok(fy_model_verify(m, &e), e);
    fy_model_free(m);
}

static void every_type(void **state) {
    (void)state;
    fy_model *m = read_it("types.onnx");
    static const int want[] = {0, 1, 1, 0, 1};
    char name[40];
    for (fy_dtype t = FERRY_FLOAT; t <= FERRY_FLOAT6E3M2; t++) {
        if (t == FERRY_STRING) continue;
        for (int raw = 0; raw < 2; raw++) {
            snprintf(name, sizeof name, "%s_%s", raw ? "r" : "t", fy_dtype_onnx(t));
            for (char *p = name; *p; p++) if (*p >= 'A' && *p <= 'Z') *p = (char)(*p - 'A' + 'a');
            const fy_const *c = find_const(m, name)->constant;
            assert_int_equal(c->dtype, t);
            assert_int_equal(c->count, 5);
            fy_tensor x;
            ferry_error e;
            assert_ok(fy_const_tensor(&x, c, &e), e);
            for (int i = 0; i < 5; i++)
                if (t == FERRY_COMPLEX64) { assert_true(((float *)x.data)[2 * i] == (float)want[i]); assert_true(((float *)x.data)[2 * i + 1] == -(float)want[i]); }
                else if (t == FERRY_COMPLEX128) { assert_true(((double *)x.data)[2 * i] == want[i]); assert_true(((double *)x.data)[2 * i + 1] == -want[i]); }
                else if (t != FERRY_FLOAT8E8M0) assert_true(fy_get_f64(&x, i) == want[i]);     /* has no zero */
            fy_tensor_free(&x);
        }
    }
    const fy_str *s = find_const(m, "t_string")->constant->strings->data;
    assert_int_equal(s[0].n, 0);
    assert_int_equal(s[4].n, 3);
    assert_memory_equal(s[4].at, "x y", 3);
    int64_t i;
    double d;
    assert_true(fy_const_i64(find_const(m, "neg8")->constant, 0, &i) && i == -128);
    assert_true(fy_const_i64(find_const(m, "i64")->constant, 0, &i) && i == INT64_MIN);
    assert_true(fy_const_f64(find_const(m, "half")->constant, 2, &d) && d == 65504);
    fy_tensor u;
    ferry_error e;
    assert_ok(fy_const_tensor(&u, find_const(m, "u64")->constant, &e), e);
    assert_true(fy_get_u64(&u, 0) == UINT64_MAX);
    fy_tensor_free(&u);
    assert_int_equal(find_const(m, "empty")->constant->count, 0);
    const fy_node *n = m->graph->first;
    assert_true(n->op->flags & FY_OPAQUE_OP);
    assert_string_equal(n->op->domain, "test");
    assert_true(fy_attr_get(n, "f")->f == 1.5);
    assert_int_equal(fy_attr_get(n, "i")->i, -7);
    assert_int_equal(fy_attr_get(n, "s")->s.n, 4);
    assert_int_equal(fy_attr_get(n, "ints")->n, 3);
    assert_int_equal(fy_attr_get(n, "ints")->ints[1], -2);
    assert_true(fy_attr_get(n, "floats")->floats[1] == -1);
    assert_int_equal(fy_attr_get(n, "strings")->strings[1].at[0], 'b');
    assert_int_equal(fy_attr_get(n, "tensors")->tensors[0]->dtype, FERRY_BOOL);
    assert_int_equal(fy_attr_get(n, "tp")->type->rank, 2);
    fy_model_free(m);
}

static void subgraphs(void **state) {
    ferry_error e;
    (void)state;
    fy_model *m = read_it("control.onnx");
    const fy_node *n = m->graph->first;
    assert_string_equal(n->op->name, "If");
    fy_graph *then = fy_attr_graph(n, "then_branch");
    assert_non_null(then);
    assert_ptr_equal(then->owner, n);
    assert_true(n->ncap >= 2);           /* x, flag, c are read inside */
    assert_null(n->next->in[1].value);   /* the condition that Loop leaves out */
    assert_ok(fy_model_verify(m, &e), e);
    fy_model_free(m);
    m = read_it("sequence.onnx");
    assert_int_equal(m->graph->in.at[2]->type.kind, FY_SEQUENCE);
    assert_int_equal(m->graph->in.at[3]->type.kind, FY_OPTIONAL);
    assert_int_equal(m->graph->in.at[3]->type.elem->dtype, FERRY_INT64);
    assert_null(m->graph->last->out[0]);
    fy_model_free(m);
    m = read_it("function.onnx");
    assert_int_equal(m->functions.n, 1);
    assert_string_equal(m->functions.at[0].name, "ScaledAdd");
    assert_int_equal(m->functions.at[0].body->nnodes, 3);
    assert_string_equal(fy_attr_get(m->functions.at[0].body->first, "value_float")->ref, "alpha");
    assert_true(m->functions.at[0].defaults.at[0].f == 2.0);
    fy_model_free(m);
    m = read_it("ir3.onnx");
    assert_int_equal(m->opset, 7);
    assert_int_equal(m->graph->in.n, 1);
    assert_int_equal(m->graph->constants.n, 1);
    fy_model_free(m);
    m = read_it("sparse.onnx");
    int64_t i;
    assert_true(fy_const_i64(find_const(m, "sw")->constant, 5, &i) && i == 7);
    assert_true(fy_const_i64(find_const(m, "sw")->constant, 4, &i) && i == 0);
    const fy_attr *a = fy_attr_get(m->graph->first, "value");
    assert_non_null(a);
    assert_true(fy_const_i64(a->tensor, 5, &i) && i == 2);
    fy_model_free(m);
}

/* read, write, read, write: the same bytes, and the same number of everything. */
static void round_trips(void **state) {
    static const char *const files[] = {"mlp.onnx", "types.onnx", "control.onnx", "sequence.onnx", "function.onnx", "ir3.onnx", "sparse.onnx", "external.onnx"};
    (void)state;
    for (int k = 0; k < FY_COUNT(files); k++) {
        ferry_error e;
        fy_buf bytes = {0}, again = {0};
        fy_model *m = read_it(files[k]), *back;
        assert_ok(fy_onnx_write_memory(m, &bytes, &e), e);
        assert_ok(fy_onnx_read_memory(&back, bytes.at, bytes.n, "memory", fy_registry_builtin(), &e), e);
        assert_ok(fy_onnx_write_memory(back, &again, &e), e);
        assert_int_equal(bytes.n, again.n);
        assert_memory_equal(bytes.at, again.at, bytes.n);
        assert_int_equal(m->graph->nnodes, back->graph->nnodes);
        assert_int_equal(m->nnodes, back->nnodes);
        assert_int_equal(m->nvalues, back->nvalues);
        assert_int_equal(m->graph->constants.n, back->graph->constants.n);
        fy_model_free(back);
        fy_model_free(m);
        fy_buf_free(&bytes); fy_buf_free(&again);
    }
}

static void external_data(void **state) {
    ferry_error e;
    (void)state;
    double v;
    fy_model *m = read_it("external.onnx"), *back;
    assert_true(fy_const_f64(find_const(m, "a")->constant, 599, &v) && v == 599);
    assert_true(fy_const_f64(find_const(m, "b")->constant, 2, &v) && v == 599);
    fy_onnx_options o = {.external_data = true};
    assert_ok(fy_onnx_write(m, TMP ".onnx", &o, &e), e);
    assert_ok(fy_onnx_read(&back, TMP ".onnx", fy_registry_builtin(), &e), e);
    assert_int_equal(back->files.n, 2);
    assert_true(fy_const_f64(find_const(back, "a")->constant, 598, &v) && v == 598);
    assert_true(fy_const_f64(find_const(back, "b")->constant, 0, &v) && v == 597);
    assert_int_equal((uintptr_t)fy_const_direct(find_const(back, "a")->constant) % 64, 0);
    fy_model_free(back);
    /* over itself: the files that are mapped stay whole until they are closed */
    assert_ok(fy_onnx_read(&back, TMP ".onnx", fy_registry_builtin(), &e), e);
    assert_ok(fy_onnx_write(back, TMP ".onnx", NULL, &e), e);
    fy_model_free(back);
    assert_ok(fy_onnx_read(&back, TMP ".onnx", fy_registry_builtin(), &e), e);
    assert_int_equal(back->files.n, 1);
    assert_true(fy_const_f64(find_const(back, "a")->constant, 598, &v) && v == 598);
    fy_model_free(back);
    fy_model_free(m);
    static const fy_code codes[] = {FY_E_PATH, FY_E_PATH, FY_E_NOFILE, FY_E_TRUNCATED, FY_E_CORRUPT, FY_E_CORRUPT, FY_E_TRUNCATED, FY_E_PATH, FY_E_NOFILE};
    for (int i = 0; i < FY_COUNT(codes); i++) {
        char path[512];
        snprintf(path, sizeof path, DIR "bad_external_%d.onnx", i);
        fy_status s = fy_onnx_read(&m, path, fy_registry_builtin(), &e);
        if (s != codes[i]) print_error("bad_external_%d: %s\n", i, s ? e.text : "read");
        assert_int_equal(s, codes[i]);
        assert_null(m);
    }
}

static void no_memory_for_weights(void **state) {
    ferry_error e;
    (void)state;
    fy_model *m = fy_model_new(fy_registry_builtin());
    assert_non_null(m);
    int64_t dim[] = {64 << 20};
    const fy_const *c = fy_const_splat(&m->arena, FERRY_FLOAT, 1, dim, 0.5);     /* 256 MiB when written */
    assert_non_null(c);
    fy_value *w = fy_graph_add_const(m->graph, "w", c);
    assert_true(w && fy_graph_add_output(m->graph, w));
    fy_onnx_options o = {.external_data = true};
    size_t before = fy_os_peak_bytes(true);
    (void)before;
    assert_ok(fy_onnx_write(m, TMP "_big.onnx", &o, &e), e);
    assert_true(fy_os_peak_bytes(false) < fy_os_bytes() + (16u << 20));
    fy_model_free(m);
    unlink(TMP "_big.onnx");
    unlink(TMP "_big.onnx.data");
}

static void values(void **state) {
    ferry_error e;
    fy_rval v;
    (void)state;
    assert_ok(fy_onnx_read_value(&v, DIR "tensor.pb", &e), e);
    assert_int_equal(v.kind, FY_TENSOR);
    assert_int_equal(fy_get_i64(&v.t, 5), 5);
    assert_ok(fy_onnx_write_tensor(TMP ".pb", &v.t, "t", &e), e);
    fy_rval_free(&v);
    assert_ok(fy_onnx_read_value(&v, TMP ".pb", &e), e);
    assert_int_equal(fy_get_i64(&v.t, 5), 5);
    assert_int_equal(v.t.rank, 2);
    fy_rval_free(&v);
    assert_ok(fy_onnx_read_value(&v, DIR "sequence.pb", &e), e);
    assert_int_equal(v.kind, FY_SEQUENCE);
    assert_int_equal(v.n, 2);
    assert_int_equal(fy_count(&v.item[1].t), 3);
    fy_rval_free(&v);
    assert_ok(fy_onnx_read_value_as(&v, DIR "optional.pb", FY_OPTIONAL, &e), e);
    assert_int_equal(v.kind, FY_OPTIONAL);
    assert_int_equal(v.n, 1);
    fy_rval_free(&v);
}

/* With IN OUT [external]: reads and writes, for tests/python/test_onnx.py. */
static int copy(int argc, char **arg) {
    ferry_error e = {0};
    fy_model *m = NULL;
    fy_onnx_options o = {.external_data = argc > 3, .traces = true};
    fy_status s = fy_onnx_read(&m, arg[1], fy_registry_builtin(), &e);
    if (!s) s = fy_onnx_write(m, arg[2], &o, &e);
    if (s) printf("error[%s]: %s\n", e.code, e.text);
    if (m) fy_model_free(m);
    return s != FY_OK;
}

int main(int argc, char **argv) {
    if (argc > 2) return copy(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(network), cmocka_unit_test(every_type), cmocka_unit_test(subgraphs), cmocka_unit_test(round_trips),
                                       cmocka_unit_test(external_data), cmocka_unit_test(no_memory_for_weights), cmocka_unit_test(values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
