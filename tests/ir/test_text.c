/* SPDX-License-Identifier: Apache-2.0
 * test_text.c - models as text: what is printed reads back as the same text; what is wrong is refused with its line. */
#include "ir/op.h"
#include "test.h"

static const fy_op op_add = { .name = "Add", .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .flags = FY_PURE };
static const fy_op *const list[] = { &op_add };
static const fy_registry toys = { NULL, list, 1 };

static const char whole[] =
    "<\n  ir_version: 10,\n  opset_import: [\"\" : 18, \"com.x\" : 1],\n  producer_name: \"me \\\"too\\\"\",\n  metadata_props: [\"a\" : \"b\", \"c\" : \"d\\x01\"],\n"
    "  state: [\"past\" : \"y\"]\n>\n"
    "main (float[batch,\"2*seq + 1\",3] x, float16[] past, seq(float[N]) s, map(int64, string) m, bool flag) => (float[batch,3] y, z)\n"
    "<float[2,2] w = {1, 2.5, -inf, nan},\n int64[3] k = {-9223372036854775808, 0, 9223372036854775807},\n string[2] names = {\"a\", \"b\\n\"},\n"
    " float16 half = {0.5},\n uint4[3] nib = {15, 0, 7},\n bool[2] b = {1, 0},\n uint64[1] u = {18446744073709551615}>\n"
    "{\n"
    "  [first] t = Add (x, w)\n"
    "  y, \"\", \"odd name\" = com.x.Strange <f = 0.5, i = -3, s = \"text\", fs = [1.0, 2.0], is = [1, 2], none: ints = [], v = float[2] {1, 2}, ty = float[4,N]> "
    "(t, \"\", k)\n"
    "  z = If <then_branch = body () => (p)\n"
    "    {\n"
    "      p = Add (t, t)\n"
    "    }, else_branch = body () => (q)\n"
    "    <float[1] inner = {3}>\n"
    "    {\n"
    "      q = Add (t, inner)\n"
    "    }> (flag)\n"
    "}\n"
    "<domain: \"com.x\", opset_import: [\"\" : 18]>\n"
    "fun <alpha, beta = 2> (a, b2) => (c)\n"
    "{\n"
    "  c = Add <g: float = @alpha> (a, b2)\n"
    "}\n";

static void reads_what_it_prints(void **state) {
    (void)state;
    ferry_error e;
    fy_model *m = NULL, *again = NULL;
    assert_ok(fy_model_parse(&m, whole, sizeof whole - 1, &toys, &e), e);
    assert_ok(fy_model_verify(m, &e), e);
    assert_int_equal(m->opset, 18);
    assert_int_equal(m->graph->state.n, 1);
    const fy_node *n = m->graph->first->next;
    assert_ptr_equal(m->graph->first->op, &op_add);
    assert_true(n->op->flags & FY_OPAQUE_OP);
    assert_string_equal(n->op->domain, "com.x");
    assert_null(n->out[1]);
    assert_null(n->in[1].value);
    assert_int_equal(fy_attr_get(n, "none")->kind, FY_ATTR_INTS);
    assert_int_equal(n->next->ncap, 1);                      /* t */
    fy_buf a = { 0 }, b = { 0 };
    fy_model_print(&a, m, 100);
    if (fy_model_parse(&again, a.at, a.n, &toys, &e) != FY_OK) print_error("%s\n%s\n", e.text, a.at);
    assert_non_null(again);
    fy_model_print(&b, again, 100);
    assert_string_equal(a.at, b.at);
    assert_non_null(strstr(a.at, "float[batch,\"2*seq + 1\",3] x"));
    assert_non_null(strstr(a.at, "{-9223372036854775808, 0, 9223372036854775807}"));
    fy_buf_free(&b);
    fy_buf dot = { 0 };
    fy_model_dot(&dot, m);
    assert_non_null(strstr(dot.at, "cluster"));
    fy_buf_free(&dot);
    fy_buf_free(&a);
    fy_model_free(again);
    /* every cut of the text is read or refused, and never more than that */
    for (size_t k = 0; k < sizeof whole - 1; k++) {
        fy_status s = fy_model_parse(&again, whole, k, &toys, &e);
        assert_true(s == FY_OK ? again != NULL : again == NULL);
        if (s == FY_OK) fy_model_free(again);
    }
    uint64_t rng = 12345;
    char text[sizeof whole];
    for (int round = 0; round < 3000; round++) {
        memcpy(text, whole, sizeof whole);
        for (int hits = 0; hits < 3; hits++) {
            rng = rng * 6364136223846793005u + 1442695040888963407u;
            text[(rng >> 33) % (sizeof whole - 1)] = "<>{}[](),=:\"@#%0a-. \n\\"[(rng >> 20) % 22];
        }
        if (fy_model_parse(&again, text, sizeof text - 1, &toys, &e) == FY_OK) fy_model_free(again);
    }
    fy_model_free(m);
}

static void refuses(void **state) {
    (void)state;
    static const struct { const char *text; fy_code code; } bad[] = {
        { "", FY_E_FORMAT }, { "g (x) => (y) { }", FY_E_GRAPH }, { "g (x) => (y) { y = Add (x, w) }", FY_E_GRAPH }, { "g (x, x) => () { }", FY_E_GRAPH },
        { "g (x) => (x) { x = Add (x, x) }", FY_E_GRAPH }, { "g (x) => (y) <float[2] w = {1}> { y = Add (x, w) }", FY_E_FORMAT },
        { "g (x) => (y) <float[2] w = {...}> { y = Add (x, w) }", FY_E_FORMAT }, { "g (float[-1] x) => (x) { }", FY_E_FORMAT }, { "g (x) => (x) { } trailing", FY_E_FORMAT },
        { "g (x) => (y) <float[4611686018427387904,4] w = {1}> { y = Add (x, w) }", FY_E_FORMAT }, { "g (x) => (y) { y = Add <a = 1, a = 2> (x, x) }", FY_E_ATTR },
        { "g (float[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1] x) => (x) { }", FY_E_LIMIT }, { "<speed: 3> g (x) => (x) { }", FY_E_FORMAT },
    };
    for (int i = 0; i < FY_COUNT(bad); i++) {
        ferry_error e;
        fy_model *m = NULL;
        fy_status s = fy_model_parse(&m, bad[i].text, strlen(bad[i].text), &toys, &e);
        if (s != bad[i].code) print_error("%s: %s\n", bad[i].text, s ? e.text : "accepted");
        assert_int_equal(s, bad[i].code);
        assert_null(m);
    }
    fy_buf deep = { 0 };
    fy_buf_str(&deep, "g () => () { ");
    for (int i = 0; i < 1000; i++) fy_buf_str(&deep, "y = If <b = g () => () { ");
    fy_model *m = NULL;
    assert_fails(fy_model_parse(&m, deep.at, deep.n, &toys, NULL), LIMIT);
    fy_buf_free(&deep);
    deep = (fy_buf){ 0 };
    fy_buf_str(&deep, "g (");
    for (int i = 0; i < 1000; i++) fy_buf_str(&deep, "seq(");
    assert_true(fy_model_parse(&m, deep.at, deep.n, &toys, NULL) != FY_OK);
    fy_buf_free(&deep);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(reads_what_it_prints), cmocka_unit_test(refuses) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
