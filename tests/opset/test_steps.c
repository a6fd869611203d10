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

int main(int argc, char **argv) {
    if (argc == 4) return convert(argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(versions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
