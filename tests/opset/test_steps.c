/* SPDX-License-Identifier: Apache-2.0
 * test_steps.c - raising and lowering. With arguments IN OUT OPSET it converts one file (tests/python/test_opset.py compares
 * many with onnx's checker and onnxruntime); without, the unit tests. */
#include "test.h"

#include "formats/onnx.h"
#include "opset/opset.h"

#include <stdlib.h>

static int convert(char **arg) {
    ferry_error e = {0};
    fy_model *m = NULL;
    fy_status s = fy_onnx_read(&m, arg[1], fy_registry_builtin(), &e);
    if (!s) s = fy_opset_raise(m, &e);
    if (!s) s = fy_infer_model(m, &e);
    if (!s) s = fy_model_verify(m, &e);
    if (!s) printf("lowest %d\n", (int)fy_opset_lowest(m));
    if (!s) s = fy_opset_lower(m, strtol(arg[3], NULL, 10), &e);
    if (!s) s = fy_onnx_write(m, arg[2], NULL, &e);
    if (s) {
        printf("error[%s]: %s\n%s\n", e.code, e.text, e.help);
        for (int i = 0; i < e.nframes; i++) printf("  %s\n", e.frame[i]);
    }
    if (m) fy_model_free(m);
    return s != FY_OK;
}

static void versions(void **state) {
    (void)state;
    assert_int_equal(fy_ir_version(7), 3);
    assert_int_equal(fy_ir_version(13), 7);
    assert_int_equal(fy_ir_version(18), 8);
    assert_int_equal(fy_ir_version(19), 9);
    assert_int_equal(fy_ir_version(21), 10);
    assert_int_equal(fy_ir_version(23), 11);
    assert_int_equal(fy_ir_version(24), 12);
    assert_int_equal(fy_ir_version(25), 13);
    assert_int_equal(fy_ir_version(28), 14);
    assert_int_equal(fy_ir_version(40), 14);
}

/* x f32[batch,seq,8] -> op -> y, at the canonical opset. */
static fy_model *one(const char *op, int rank, fy_dtype t, int nattr, const fy_attr *attr) {
    ferry_error e;
    fy_model *m = fy_model_new(fy_registry_builtin());
    assert_non_null(m);
    const fy_dim *dim[] = {fy_dim_sym(m->dims, "batch"), fy_dim_sym(m->dims, "seq"), fy_dim_const(m->dims, 8), fy_dim_const(m->dims, 8)};
    fy_type type = fy_tensor_type(m, t, rank, dim);
    fy_value *x = fy_graph_add_input(m->graph, "x", &type);
    fy_build b = {.g = m->graph, .e = &e, .scope = "block.0", .source = "model.py:7"};
    fy_value *y = fy_emit(&b, op, FY_V(x), nattr, attr);
    assert_ok(b.status, e);
    y->name = fy_arena_str(&m->arena, "y");
    assert_true(fy_graph_add_output(m->graph, y));
    return m;
}

static void run_on_ramp(fy_tensor *y, const fy_model *m, ferry_error *e) {
    fy_rval x = {.kind = FY_TENSOR}, out = {0}, *in = &x;
    fy_interp it = {0};
    assert_ok(fy_tensor_new(&x.t, FERRY_FLOAT, 3, (int64_t[]){2, 3, 8}, e), *e);
    for (int i = 0; i < 48; i++) fy_put_f64(&x.t, i, (i - 20) / 7.0);
    assert_ok(fy_interp_run(&it, m->graph, &in, &out, e), *e);
    assert_ok(fy_tensor_clone(y, &out.t, e), *e);
    fy_rval_free(&out);
    fy_rval_free(&x);
}

/* Written out or not, the reference kernels give the same; names, types and traces of the node stay with the result. */
static void same_results(void **state) {
    static const char *const ops[] = {"Gelu", "Mish", "HardSwish", "Swish", "Trilu"};
    (void)state;
    for (int k = 0; k < FY_COUNT(ops); k++) {
        ferry_error e;
        fy_tensor want, got;
        fy_model *m = one(ops[k], 3, FERRY_FLOAT, FY_NOATTR);
        run_on_ramp(&want, m, &e);
        assert_true(fy_opset_lowest(m) == 13);
        assert_int_equal(m->graph->nnodes, 1);           /* asking changes nothing */
        assert_ok(fy_opset_lower(m, 13, &e), e);
        assert_int_equal(m->opset, 13);
        assert_int_equal(m->ir_version, 7);
        assert_true(m->graph->nnodes > 1);
        const fy_value *y = m->graph->out.at[0];
        assert_string_equal(y->name, "y");
        assert_int_equal(y->type.rank, 3);
        assert_string_equal(y->def->scope, "block.0");
        assert_ok(fy_model_verify(m, &e), e);
        run_on_ramp(&got, m, &e);
        for (int i = 0; i < 48; i++) {
            double d = fy_get_f64(&want, i) - fy_get_f64(&got, i);
            assert_true(d < 1e-6 && d > -1e-6);
        }
        fy_tensor_free(&want);
        fy_tensor_free(&got);
        fy_model_free(m);
    }
}

/* What cannot be expressed is refused before anything changes, with the node and the lowest opset that can. */
static void refusals(void **state) {
    ferry_error e;
    (void)state;
    fy_model *m = one("Relu", 3, FERRY_INT64, FY_NOATTR);
    assert_int_equal(fy_opset_lowest(m), 14);
    assert_int_equal(fy_opset_lower(m, 13, &e), FY_E_OPSET);
    assert_non_null(strstr(e.text, "Relu of i64"));
    assert_non_null(strstr(e.text, "opset 13"));
    assert_non_null(strstr(e.help, "14"));
    assert_int_equal(m->graph->nnodes, 1);
    assert_ok(fy_opset_lower(m, 14, &e), e);
    fy_model_free(m);
    m = one("Relu", 3, FERRY_INT8, FY_NOATTR);           /* in i32, exactly */
    assert_int_equal(fy_opset_lowest(m), 13);
    assert_ok(fy_opset_lower(m, 13, &e), e);
    assert_int_equal(m->graph->nnodes, 3);
    assert_int_equal(m->graph->out.at[0]->type.dtype, FERRY_INT8);
    assert_ok(fy_model_verify(m, &e), e);
    fy_model_free(m);
    m = one("Relu", 3, FERRY_FLOAT, FY_NOATTR);
    assert_int_equal(fy_opset_lower(m, 12, &e), FY_E_USAGE);
    assert_int_equal(fy_opset_lower(m, 29, &e), FY_E_USAGE);
    m->opset = -1;
    assert_int_equal(fy_opset_raise(m, &e), FY_E_OPSET);
    m->opset = 29;
    assert_int_equal(fy_opset_raise(m, &e), FY_E_OPSET);
    fy_model_free(m);
}

/* Each allocation fails in turn while a layer is written out: a status, no leak. */
static void no_memory(void **state) {
    ferry_error e;
    (void)state;
    for (int64_t k = 0; k < 10000; k++) {
        size_t before = fy_os_bytes();
        fy_model *m = one("Gelu", 3, FERRY_FLOAT, FY_NOATTR);
        fy_os_fail_at(k, false);
        fy_status s = fy_opset_lower(m, 13, &e);
        bool reached = fy_os_calls() > k;
        fy_os_fail_at(-1, false);
        fy_model_free(m);
        assert_int_equal(fy_os_bytes(), before);
        if (!reached) { assert_int_equal(s, FY_OK); return; }
        assert_int_equal(s, FY_E_NOMEM);
    }
    fail_msg("never done");
}

int main(int argc, char **argv) {
    if (argc == 4) return convert(argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(versions), cmocka_unit_test(same_results), cmocka_unit_test(refusals), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
