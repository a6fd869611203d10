/* SPDX-License-Identifier: Apache-2.0
 * test_golden.c - the graphs that export makes of small programs, as text, against tests/golden/graph: at the canonical opset after
 * the passes, and for one at opset 13. FERRY_UPDATE_GOLDEN=1 (`make update-golden`) writes them anew; the diff is the review. */
#include "test.h"

#include "aten/aten.h"
#include "base/file.h"
#include "formats/pt2.h"
#include "opset/opset.h"
#include "passes/passes.h"

#include <stdlib.h>

static const struct { const char *name; int opset; } cases[] = {
    {"t215/cnn", 0}, {"t215/cnn", 13}, {"t27/cnn_dyn", 0}, {"t215/edge_dyn", 0}, {"t215/mutation", 0}, {"t27/inplace", 0}, {"t215/blocks", 0},
    {"t215/bert1_dec", 0}, {"t215/sizes_dyn", 0}, {"t27/llama", 0},
};

static void print_graph(fy_buf *out, const char *name, int opset) {
    ferry_error e = {0};
    fy_program *p = NULL;
    fy_model *m = NULL;
    fy_lower_options lower = {0};
    fy_pass_options passes = {.fold = true, .fold_bn = true};
    char path[600];
    snprintf(path, sizeof path, "%s/pt2/%s.pt2", FERRY_FIXTURES, name);
    assert_ok(fy_pt2_read(&p, path, &e), e);
    assert_ok(fy_aten_inline(p, &e), e);
    assert_ok(fy_aten_functionalise(p, &e), e);
    assert_ok(fy_aten_lower(&m, p, &lower, &e), e);
    assert_ok(fy_passes_run(m, &passes, &e), e);
    if (opset) {
        assert_ok(fy_opset_lower(m, opset, &e), e);
        assert_ok(fy_passes_run(m, &passes, &e), e);
    }
    assert_ok(fy_model_name_all(m, &e), e);
    fy_model_print(out, m, 8);
    assert_false(out->oom);
    fy_model_free(m);
    fy_program_free(p);
}

static void write_golden(const char *path, const fy_buf *text) {
    ferry_error e = {0};
    fy_out o = {.fd = -1};
    assert_ok(fy_out_open(&o, path, &e), e);
    assert_ok(fy_out_write(&o, text->at, text->n, &e), e);
    assert_ok(fy_out_commit(&o, &e), e);
}

/* First line that differs, for a message that says more than "differs". */
static int first_difference(const char *a, const char *b) {
    int line = 1;
    for (; *a && *a == *b; a++, b++) line += *a == '\n';
    return line;
}

static void graphs(void **state) {
    (void)state;
    for (int i = 0; i < FY_COUNT(cases); i++) {
        fy_buf text = {0};
        char path[600], file[80];
        ferry_error e = {0};
        fy_map_file f;
        snprintf(file, sizeof file, "%s", cases[i].name);
        for (char *p = file; *p; p++) *p = *p == '/' ? '_' : *p;
        snprintf(path, sizeof path, "%s/../golden/graph/%s%s.onnxtxt", FERRY_FIXTURES, file, cases[i].opset ? "_13" : "");
        print_graph(&text, cases[i].name, cases[i].opset);
        if (getenv("FERRY_UPDATE_GOLDEN")) write_golden(path, &text);
        assert_ok(fy_file_open(&f, path, &e), e);
        if (f.n != text.n || memcmp(f.at, text.at, f.n)) {
            char *want = test_calloc(f.n + 1, 1);
            memcpy(want, f.at, f.n);
            print_error("%s differs from line %d on; `make update-golden` rewrites it\n", path, first_difference(want, text.at));
            test_free(want);
            fail();
        }
        fy_file_close(&f);
        fy_buf_free(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(graphs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
