/* SPDX-License-Identifier: Apache-2.0
 * test_types.c - every element type that the schemas of ONNX allow for an input is taken by the operator's table: both lists are held
 * against each other, the schemas' as opset/types.def has them. tests/python/test_dtypes.py runs them. */
#include "infer_property.h"

typedef struct row { const char *op; int version; const char *in, *out; uint32_t mask[8]; } row;
static const row rows[] = {
#define TYPES(op_, version_, in_, out_, ...) {op_, version_, in_, out_, {__VA_ARGS__}},
#include "opset/types.def"
#undef TYPES
};

static const row *newest(const char *op) {
    const row *best = NULL;
    for (int i = 0; i < FY_COUNT(rows); i++)
        if (!strcmp(rows[i].op, op) && rows[i].version <= FY_CANONICAL_OPSET) best = &rows[i];
    return best;
}

static fy_dtype usual(uint32_t mask) {
    if (mask >> FERRY_FLOAT & 1) return FERRY_FLOAT;
    for (int t = 1; t < 32; t++)
        if (mask >> t & 1) return (fy_dtype)t;
    return 0;
}

static fy_attr some(const fy_attr_spec *s) { return (fy_attr){.name = s->name, .kind = s->kind, .n = 1, .i = 1, .s = {"", 0}}; }

/* A node of `op` whose ports of variable `var` are `t`. */
static fy_status taken(const fy_op *op, const row *w, int var, fy_dtype t, ferry_error *e) {
    fy_model *m = fy_model_new(fy_registry_builtin());
    fy_value *in[12];
    int n = 0;
    for (const char *p = w->in; *p && n < 10; p++) {
        bool more = *p == '*' || *p == '+';
        int v = more ? p[-1] - 'a' : *p - 'a';
        if (more && n >= 2) continue;
        fy_type type = {.kind = FY_TENSOR, .dtype = v == var ? t : usual(w->mask[v]), .rank = -1};
        in[n++] = fy_graph_add_input(m->graph, NULL, &type);
    }
    while (n < op->min_in) { in[n] = in[n - 1]; n++; }
    fy_node *node = fy_node_new(m->graph, NULL, op, n, in, op->min_out > 0 ? op->min_out : 1);
    for (const fy_attr_spec *s = op->attrs; s && s->name; s++)
        if (s->def && !strcmp(s->def, FY_REQUIRED)) {
            fy_attr a = some(s);
            assert_true(fy_node_set_attr(node, &a));
        }
    fy_status st = fy_node_check(node, e);
    fy_model_free(m);
    return st;
}

static void test_all(void **state) {
    (void)state;
    const fy_registry *reg = fy_registry_builtin();
    int wrong = 0, pairs = 0;
    for (int i = 0; i < fy_registry_count(reg); i++) {
        const fy_op *op = fy_registry_at(reg, i);
        const row *w = *op->domain ? NULL : newest(op->name);
        if (!w || (op->flags & FY_CONTROL)) continue;
        for (int var = 0; var < 8; var++)
            for (int t = 1; t < 32; t++) {
                ferry_error e = {0};
                if (!(w->mask[var] >> t & 1) || !strchr(w->in, 'a' + var)) continue;
                pairs++;
                if (taken(op, w, var, (fy_dtype)t, &e) != FY_E_TYPE) continue;
                print_error("%s, variable %c: %s\n", op->name, 'a' + var, e.text);
                wrong++;
            }
    }
    print_message("%d pairs of operator and type\n", pairs);
    assert_true(pairs > 500);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
