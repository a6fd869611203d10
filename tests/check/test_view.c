/* SPDX-License-Identifier: Apache-2.0
 * test_view.c - the page of a model: statistics of weights, modules of nodes, text that stays text, one file that asks for nothing. Leaves two
 * pages for tests/view/run.sh, which opens them in a browser where there is one. */
#include "model_text.h"

#include "check/html.h"
#include "check/view.h"
#include "formats/json.h"

#include <math.h>

#define EVIL "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>]]>&quot;"

static fy_model *model(const char *text) {
    ferry_error e;
    fy_model *m = model_of(text);
    assert_ok(fy_model_name_all(m, &e), e);
    return m;
}

static void page_of(fy_buf *page, const char *text, const char *name) {
    ferry_error e;
    fy_model *m = model(text);
    fy_view_options o = {.name = name, .about = name, .weights = true, .threads = 2};
    assert_ok(fy_view_page(page, m, &o, &e), e);
    fy_model_free(m);
}

static void keep(const fy_buf *page, const char *name) {
    char path[500];
    snprintf(path, sizeof path, "%s/tests/%s", FERRY_BINARY_DIR, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(page->at, 1, page->n, f), page->n);
    fclose(f);
}

/* The JSON of the page, parsed by our own reader. */
static const fy_json *data_of(const fy_buf *page, fy_arena *a) {
    const char *from = strstr(page->at, "id=\"data\">"), *end = from ? strstr(from, "</script>") : NULL;
    const fy_json *doc;
    ferry_error e;
    assert_non_null(end);
    from += 10;
    assert_ok(fy_json_parse(&doc, a, from, (size_t)(end - from), &e), e);
    return doc;
}

static int times(const char *s, const char *word) {
    int n = 0;
    for (s = strstr(s, word); s; s = strstr(s + 1, word)) n++;
    return n;
}

static void text_stays_text(void **state) {
    (void)state;
    fy_buf page = {0};
    fy_arena a = {0};
    page_of(&page, "(float[2] x, bool p) => (float[2] y) <float[2] \"" EVIL "w\" = {1,2}> { \"" EVIL "\" = Add(x, \"" EVIL "w\") "
            "y = If(p) <then_branch = a () => (float[2] t) { t = Relu(\"" EVIL "\") }, else_branch = b () => (float[2] u) { v = Neg(x) u = Abs(v) }> }", EVIL);
    assert_int_equal(times(page.at, "<script"), 2);          /* the data and the page's own */
    assert_int_equal(times(page.at, "</script>"), 2);
    assert_null(strstr(page.at, "<img"));
    const fy_json *doc = data_of(&page, &a), *graphs = fy_json_get(doc, "graphs"), *nodes = fy_json_get(doc, "nodes");
    assert_true(fy_json_is(fy_json_get(doc, "model"), EVIL));
    assert_true(fy_json_is(fy_json_get(graphs->child->next, "name"), "then_branch"));
    assert_int_equal(fy_json_get(graphs->child->next, "at")->i, 2);
    int n = 0;
    for (const fy_json *j = nodes->child; j; j = j->next) n++;
    assert_int_equal(n, 5);
    /* one file: nothing is fetched, nothing is run that is not ours */
    static const char *const words[] = {"http://", "https://", "@import", "url(", "src=", "href=", "eval(", "innerHTML", "fetch(", "import(", "document.write"};
    for (int i = 0; i < FY_COUNT(words); i++) {
        const char *at = strstr(page.at, words[i]);
        if (at && strncmp(at, "http://www.w3.org/2000/svg", 26) && strncmp(at, "url(#arrow)", 11) && !(i == 4 && !strncmp(at, "src=x onerror", 13))) fail_msg("%.60s", at);
    }
    keep(&page, "hostile.html");
    fy_buf_free(&page);
    fy_arena_free(&a);
}

static void large(void **state) {
    (void)state;
    fy_buf text = {0}, page = {0};
    fy_buf_str(&text, "(float[2] x) => (float[2] y) { v0 = Identity(x)");
    for (int i = 1; i < 4999; i++) fy_buf_fmt(&text, i % 50 == 49 ? " v%d = Add(v%d, v%d)" : " v%d = Relu(v%d)", i, i - 1, i - 40);
    fy_buf_str(&text, " y = Exp(v4998) }");
    page_of(&page, text.at, "flat");
    assert_true(page.n < 2000000);
    keep(&page, "flat.html");
    fy_buf_free(&page);
    fy_buf_free(&text);
}

static void statistics(void **state) {
    (void)state;
    fy_arena a = {0};
    ferry_error e;
    fy_weight_stats s;
    int64_t n = 6;
    const float v[] = {0, -1, 3, NAN, INFINITY, 2};
    assert_ok(fy_weight_statistics(&s, fy_const_copy(&a, FERRY_FLOAT, 1, &n, v), &e), e);
    assert_true(s.min == -1 && s.max == 3 && s.mean == 1 && s.zeros == 1 && s.nan == 1 && s.inf == 1);
    assert_true(fabs(s.std - sqrt(2.5)) < 1e-12);
    assert_true(s.bins[0] == 1 && s.bins[FY_BINS - 1] == 1 && s.bins[8] == 1 && s.bins[24] == 1);
    n = 20000;                                               /* pieces */
    int64_t *big = fy_arena_alloc(&a, (size_t)n, sizeof *big), sum = 0;
    for (int64_t i = 0; i < n; i++) big[i] = i;
    assert_ok(fy_weight_statistics(&s, fy_const_copy(&a, FERRY_INT64, 1, &n, big), &e), e);
    for (int k = 0; k < FY_BINS; k++) sum += s.bins[k];
    assert_true(s.min == 0 && s.max == 19999 && s.mean == 9999.5 && sum == n);
    n = 0;
    assert_ok(fy_weight_statistics(&s, fy_const_copy(&a, FERRY_FLOAT, 1, &n, v), &e), e);
    assert_true(s.min > s.max);
    fy_arena_free(&a);
}

static void modules(void **state) {
    (void)state;
    static const struct { const char *scope, *name, *want; } cases[] = {
        {"layer1.0.conv1", "layer1.0.conv1/Conv", "layer1.0|conv1"},
        {NULL, "encoder.layers.3.fc/MatMul", "encoder|layers.3|fc"},
        {NULL, "/encoder/layer.0/attention/MatMul", "encoder|layer.0|attention"},
        {"pkg.Net: Net/layer1: torch.nn.Sequential/layer1.0: Block/node_conv: aten.conv2d", "node_conv", "layer1|layer1.0|node_conv"},
        {NULL, "Relu_3", ""},
        {"", "", ""},
        {"0.1", "", "0.1"},
    };
    for (int i = 0; i < FY_COUNT(cases); i++) {
        fy_buf b = {0};
        fy_node n = {.scope = cases[i].scope, .name = cases[i].name};
        fy_module_path(&b, &n);
        for (size_t k = 0; k < b.n; k++)
            if (b.at[k] == 1) b.at[k] = '|';
        assert_string_equal(b.n ? b.at : "", cases[i].want);
        fy_buf_free(&b);
    }
    fy_model *m = model("(float[2] x) => (float[2] y) <float[2] \"blocks.2.norm.weight\" = {1,2}> { y = Mul(x, \"blocks.2.norm.weight\") }");
    fy_buf b = {0};
    fy_node *n = m->graph->first;
    n->name = NULL;
    fy_module_path(&b, n);
    assert_string_equal(b.at, "blocks.2\001norm");
    fy_buf_free(&b);
    fy_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(text_stays_text), cmocka_unit_test(large), cmocka_unit_test(statistics), cmocka_unit_test(modules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
