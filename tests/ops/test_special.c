/* SPDX-License-Identifier: Apache-2.0
 * test_special.c - what operators give for NaN, infinities, signed zeros, denormals, zero divisors, empty reductions and the like is fixed in
 * special.cases. A case is a title, a node in ONNX text, its outputs (or the error) after ">", and perhaps a remark after "#". Each is run
 * with its operands as inputs, and as constants. FERRY_UPDATE_GOLDEN=1 rewrites the outputs; docs/special-values.md is made from the file. */
#include "test.h"

#include "base/buf.h"
#include "base/os.h"
#include "ops/ops.h"

#include <stdlib.h>

#define CASES FERRY_FIXTURES "/../ops/special.cases"

static void print_error_code(fy_buf *out, const ferry_error *e) { fy_buf_fmt(out, "> error %s\n", e->code ? e->code : "?"); }

/* Runs the node and prints each output as the file has it. */
static void run_case(fy_buf *out, const char *line, size_t n, bool constant) {
    const char *arrow = strstr(line, " => "), *eq = arrow ? strstr(arrow + 4, " = ") : NULL;
    fy_model *m = NULL;
    ferry_error e = {0};
    fy_buf text = {0};
    fy_rval in[16] = {{0}}, *inp[16] = {NULL}, res[8] = {{0}};
    assert_true(eq && eq < line + n);
    fy_buf_fmt(&text, "<ir_version: 10, opset_import: [\"\" : %d, \"ai.onnx.ml\" : 5, \"ai.onnx.preview.training\" : 1]>\ng %.*s => (%.*s) {\n%.*s\n}\n", FY_CANONICAL_OPSET,
        (int)(arrow - line), line, (int)(eq - arrow - 4), arrow + 4, (int)(line + n - arrow - 4), arrow + 4);
    if (fy_model_parse(&m, text.at, text.n, fy_registry_builtin(), &e)) print_error("%s\n%s\n", text.at, e.text);
    assert_non_null(m);
    fy_graph *g = m->graph;
    g->constants.n = 0;
    for (int i = 0; i < g->in.n; i++) {
        fy_value *v = g->in.at[i];
        const fy_const *k = v->constant;
        assert_non_null(k);                                               /* every operand has its value in the file */
        v->constant = NULL;
        in[i].kind = FY_TENSOR;
        inp[i] = &in[i];
        assert_ok(fy_const_tensor(&in[i].t, k, &e), e);
        if (constant) fy_value_replace(v, fy_graph_add_const(g, NULL, k));
    }
    fy_interp it = {.max_bytes = 1 << 24};
    fy_status s = fy_infer_model(m, &e);
    if (!s) s = fy_interp_run(&it, g, inp, res, &e);
    if (s) print_error_code(out, &e);
    for (int i = 0; !s && i < g->out.n; i++) {
        fy_buf_str(out, "> ");
        fy_tensor_print(out, &res[i].t, 64);
        fy_buf_char(out, '\n');
        fy_rval_free(&res[i]);
    }
    for (int i = 0; i < g->in.n; i++) fy_rval_free(&in[i]);
    fy_model_free(m);
    fy_buf_free(&text);
}

static char *read_all(const char *path) {
    FILE *f = fopen(path, "rb");
    fy_buf b = {0};
    char block[4096];
    assert_non_null(f);
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) fy_buf_add(&b, block, n);
    fclose(f);
    assert_false(b.oom);
    return b.at;
}

static void test_cases(void **state) {
    (void)state;
    bool update = getenv("FERRY_UPDATE_GOLDEN") != NULL;
    char *file = read_all(CASES);
    fy_buf fresh = {0};
    int ran = 0, failed = 0;
    for (const char *line = file, *next; *line; line = next) {
        size_t n = strcspn(line, "\n");
        next = line + n + (line[n] == '\n');
        if (*line == '>') continue;                                       /* told anew below */
        fy_buf_fmt(&fresh, "%.*s\n", (int)n, line);
        if (*line != '(') continue;
        fy_buf got = {0}, again = {0};
        run_case(&got, line, n, false);
        run_case(&again, line, n, true);
        ran++;
        size_t want = 0;                                                  /* the lines that the file has */
        while (next[want] == '>') want += strcspn(next + want, "\n") + 1;
        if (!update && (want != got.n || memcmp(next, got.at, want))) {
            print_error("%.*s\nfile:\n%.*sferry:\n%s", (int)n, line, (int)want, next, got.at);
            failed++;
        }
        if (strcmp(got.at, again.at)) {
            print_error("%.*s\nas inputs:\n%sas constants:\n%s", (int)n, line, got.at, again.at);
            failed++;
        }
        fy_buf_str(&fresh, got.at);
        fy_buf_free(&got);
        fy_buf_free(&again);
    }
    if (update) {
        FILE *f = fopen(CASES, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(fresh.at, 1, fresh.n, f), fresh.n);
        assert_int_equal(fclose(f), 0);
    }
    print_message("%d cases\n", ran);
    assert_true(ran > 100);
    assert_int_equal(failed, 0);
    fy_buf_free(&fresh);
    fy_free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
