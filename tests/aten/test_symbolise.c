/* Opening the batch of a static archive: the model at twice the batch gives, for the sample's inputs stacked on themselves,
 * PyTorch's outputs stacked on themselves. */
#include "test.h"

#include <stdlib.h>

#include "aten/aten.h"
#include "formats/npz.h"
#include "formats/pt2.h"
#include "tensor/compare.h"

static fy_tensor twice(const fy_tensor *t) {
    ferry_error e = {0};
    fy_tensor r = {0}, half = {0};
    int64_t dim[FY_MAX_RANK];
    memcpy(dim, t->dim, sizeof dim);
    dim[0] *= 2;
    assert_ok(fy_tensor_new(&r, t->dtype, t->rank, dim, &e), e);
    for (int k = 0; k < 2; k++) {
        half = fy_tensor_view(t->dtype, t->rank, t->dim, (char *)r.data + (size_t)k * (size_t)fy_count(t) * (size_t)fy_elem_bytes(t->dtype));
        fy_tensor_copy(&half, t);
    }
    return r;
}

static void open_batch(const char *file) {
    char path[600];
    ferry_error e = {0};
    fy_program *p = NULL;
    fy_model *m = NULL;
    fy_named_list z = {0};
    snprintf(path, sizeof path, "%s/pt2/%s.npz", FERRY_FIXTURES, file);
    assert_ok(fy_npz_read(&z, path, &e), e);
    snprintf(path, sizeof path, "%s/pt2/%s.pt2", FERRY_FIXTURES, file);
    assert_ok(fy_pt2_read(&p, path, &e), e);
    assert_ok(fy_aten_inline(p, &e), e);
    fy_axis_name axes[8];
    int n = 0;
    for (int i = 0; i < p->nin; i++)
        if (p->in[i].kind == FY_PIN_USER && p->in[i].value) axes[n++] = (fy_axis_name){p->in[i].user_name, 0, "n"};
    assert_ok(fy_aten_symbolise(p, n, axes, &e), e);
    assert_ok(fy_aten_functionalise(p, &e), e);
    fy_status s = fy_aten_lower(&m, p, NULL, &e);
    if (s != FY_OK) print_error("%s\n", file);
    assert_ok(s, e);
    assert_ok(fy_model_verify(m, &e), e);
    fy_rval in[8] = {{0}}, *at[8], out[8] = {{0}};
    assert_true(m->graph->in.n == n && m->graph->out.n <= 8);
    for (int i = 0; i < n; i++) {
        char key[16];
        snprintf(key, sizeof key, "in%d", i);
        assert_string_equal(m->graph->in.at[i]->type.dim[0]->name, "n");
        in[i] = (fy_rval){.kind = FY_TENSOR, .t = twice(fy_named_find(&z, key))};
        at[i] = &in[i];
    }
    fy_interp it = {0};
    assert_ok(fy_interp_run(&it, m->graph, at, out, &e), e);
    for (int i = 0; i < (int)m->graph->out.n; i++) {
        char key[16];
        snprintf(key, sizeof key, "out%d", i);
        fy_tensor want = twice(fy_named_find(&z, key));
        fy_diff d;
        fy_compare(&d, &out[i].t, &want, false);
        if (d.shape_differs || d.max_abs > 1e-4) print_error("%s %s: max abs %g\n", file, key, d.max_abs);
        assert_false(d.shape_differs || d.max_abs > 1e-4 || d.nan_differs);
        fy_tensor_free(&want);
        fy_rval_free(&out[i]);
    }
    for (int i = 0; i < n; i++) fy_rval_free(&in[i]);
    fy_named_free(&z);
    fy_model_free(m);
    fy_program_free(p);
}

static void batches(void **state) {
    (void)state;
    static const char *const files[] = {"t27/cnn", "t215/cnn", "t27/cnn_dec", "t27/resnet18", "t215/resnet18", "t215/mobilenet_v2_dec", "t27/vit_b_16", "t215/vit_b_16",
        "t27/bert", "t215/bert", "t27/bert1_dec", "t27/gpt2", "t215/gpt2", "t27/llama", "t215/llama"};
    for (int i = 0; i < FY_COUNT(files); i++) open_batch(files[i]);
}

static void refusals(void **state) {
    (void)state;
    ferry_error e = {0};
    fy_program *p = NULL;
    assert_ok(fy_pt2_read(&p, FERRY_FIXTURES "/pt2/t27/cnn.pt2", &e), e);
    assert_fails(fy_aten_symbolise(p, 1, &(fy_axis_name){"nobody", 0, "n"}, &e), NAME);
    assert_fails(fy_aten_symbolise(p, 1, &(fy_axis_name){p->in[p->nin - 1].user_name, 4, "n"}, &e), AXIS);
    fy_model *m = NULL;                                  /* the width feeds a classifier of fixed size */
    assert_ok(fy_aten_symbolise(p, 1, &(fy_axis_name){p->in[p->nin - 1].user_name, 3, "w"}, &e), e);
    assert_fails(fy_aten_lower(&m, p, NULL, &e), FROZEN);
    assert_non_null(strstr(e.text, "w = 28"));
    assert_non_null(strstr(e.help, "dynamic_shapes"));
    fy_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(batches), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
