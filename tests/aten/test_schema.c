/* Schemas: every line of aten.def parses and prints back to itself in essence; defaults, aliases, lists. */
#include "test.h"

#include "aten/aten.h"

static const fy_schema_arg *arg(const fy_schema *s, const char *name) {
    for (int i = 0; i < s->narg; i++)
        if (strcmp(s->arg[i].name, name) == 0) return &s->arg[i];
    return NULL;
}

static void all_parse(void **state) {
    (void)state;
    fy_arena a = {0};
    ferry_error e = {0};
    const char *last = "";
    for (int i = 0; i < fy_aten_count(); i++) {
        const fy_aten_op *op = fy_aten_at(i);
        const fy_schema *s = NULL;
        assert_ok(fy_schema_parse(&s, &a, op->schema, &e), e);
        assert_ptr_equal(fy_aten_find(s->name), op);
        assert_true(strcmp(last, s->name) < 0);          /* sorted, no name twice */
        last = s->name;
        for (int k = 0; k < s->narg; k++)
            if (s->arg[k].type == FY_ST_OTHER) assert_non_null(strstr(op->schema, "Generator"));
    }
    assert_null(fy_aten_find("aten.no_such_thing.default"));
    assert_null(fy_aten_find(NULL));
    fy_arena_free(&a);
}

/* What the build stores is aten.def to the letter. */
static void all_there(void **state) {
    (void)state;
    static const char *const schemas[] = {
#define ATEN(schema) schema,
#include "aten/aten.def"
#undef ATEN
    };
    assert_int_equal(fy_aten_count(), FY_COUNT(schemas));
    for (int i = 0; i < FY_COUNT(schemas); i++) {
        bool there = false;
        for (int k = 0; k < fy_aten_count() && !there; k++) there = !strcmp(fy_aten_at(k)->schema, schemas[i]);
        assert_true(there);
    }
}

static void details(void **state) {
    (void)state;
    fy_arena a = {0};
    ferry_error e = {0};
    const fy_schema *s = NULL;
    assert_ok(fy_schema_parse(&s, &a, fy_aten_find("aten.avg_pool2d.default")->schema, &e), e);
    assert_int_equal(arg(s, "padding")->def.kind, FY_ARG_INTS);
    assert_int_equal(arg(s, "padding")->def.n, 2);
    assert_int_equal(arg(s, "stride")->def.n, 0);
    assert_int_equal(arg(s, "kernel_size")->fixed_n, 2);
    assert_false(arg(s, "kernel_size")->has_default);
    assert_int_equal(arg(s, "count_include_pad")->def.i, 1);
    assert_ok(fy_schema_parse(&s, &a, fy_aten_find("aten.split.Tensor")->schema, &e), e);
    assert_true(s->arg[0].alias_list && s->arg[0].alias == 'a' && !s->arg[0].written);
    assert_int_equal(s->ret[0].type, FY_ST_TENSORS);
    assert_ok(fy_schema_parse(&s, &a, fy_aten_find("aten.atan2.out")->schema, &e), e);
    assert_true(arg(s, "out")->written && arg(s, "out")->keyword_only);
    assert_ok(fy_schema_parse(&s, &a, fy_aten_find("aten.layer_norm.default")->schema, &e), e);
    assert_true(arg(s, "eps")->def.kind == FY_ARG_FLOAT && arg(s, "eps")->def.f == 1e-5);
    assert_true(arg(s, "weight")->optional && arg(s, "weight")->def.kind == FY_ARG_NONE);
    assert_ok(fy_schema_parse(&s, &a, fy_aten_find("aten.index.Tensor")->schema, &e), e);
    assert_true(arg(s, "indices")->type == FY_ST_TENSORS && !arg(s, "indices")->optional);
    assert_ok(fy_schema_parse(&s, &a, fy_aten_find("aten.randperm.default")->schema, &e), e);
    assert_int_equal(arg(s, "dtype")->def.i, FERRY_INT64);
    assert_ok(fy_schema_parse(&s, &a, fy_aten_find("aten._assert_scalar.default")->schema, &e), e);
    assert_int_equal(s->nret, 0);
    fy_arena_free(&a);
}

static void broken(void **state) {
    (void)state;
    static const char *const bad[] = {"", "aten", "aten::x", "aten::x(", "aten::x(Tensor", "aten::x(Tensor a", "aten::x(Tensor a)", "aten::x(Tensor a) ->",
        "aten::x(Tensor(a a) -> Tensor", "aten::x(int[2 a) -> Tensor", "aten::x(int[] a=1) -> Tensor", "aten::x(str a=\"b) -> Tensor", "aten::x(Tensor a) -> Tensor y z"};
    fy_arena a = {0};
    ferry_error e = {0};
    const fy_schema *s = NULL;
    for (int i = 0; i < FY_COUNT(bad); i++) assert_fails(fy_schema_parse(&s, &a, bad[i], &e), VALUE);
    fy_arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_parse), cmocka_unit_test(all_there), cmocka_unit_test(details), cmocka_unit_test(broken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
