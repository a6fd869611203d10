/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_cover.c - no operator is run by its reference kernel for dtypes that have an implementation of ours (cover.def), and every built-in
 * operator is in that table. */
#include "test.h"

#include "engines/cover.h"

static void test_fast(void **state) {
    (void)state;
    const fy_engine *ferry = fy_engine_find("ferry");
    int bad = 0;
    for (int i = 0; i < FY_COUNT(cover_cases); i++) {
        const cover_case *c = &cover_cases[i];
        fy_dtype t;
        for (const char *list = c->fast; (t = cover_dtype(&list));) {
            ferry_error e = {0};
            fy_model *m = NULL;
            fy_compiled *k = NULL;
            fy_status s = cover_model(&m, c, t, &e);
            if (!s) s = ferry->compile(&k, m, &(fy_engine_options){.threads = 1}, &e);
            if (s) print_error("%s of %s: %s\n", c->op, fy_dtype_name(t), e.text);
            else if (!strcmp(cover_taken(ferry->plan(k), c->op), fy_impl_reference.name)) print_error("%s of %s is run by the reference kernel: %s\n", c->op, fy_dtype_name(t), c->body);
            else bad--;
            bad++;
            ferry->compiled_free(k);
            fy_model_free(m);
        }
        assert_true(!*c->reference == !*c->why);
    }
    assert_int_equal(bad, 0);
}

static bool listed(const fy_op *op) {
    char name[120];
    snprintf(name, sizeof name, "%s%s%s", op->domain, *op->domain ? "." : "", op->name);
    for (int i = 0; i < FY_COUNT(cover_cases); i++)
        if (!strcmp(cover_cases[i].op, name)) return true;
    for (int i = 0; i < FY_COUNT(cover_none); i++)
        if (!strcmp(cover_none[i].op, name)) return true;
    return false;
}

static void test_all_listed(void **state) {
    (void)state;
    const fy_registry *r = fy_registry_builtin();
    int missing = 0;
    for (int i = 0; i < fy_registry_count(r); i++) {
        const fy_op *op = fy_registry_at(r, i);
        if (listed(op)) continue;
        print_error("%s%s%s is not in cover.def\n", op->domain, *op->domain ? "." : "", op->name);
        missing++;
    }
    assert_int_equal(missing, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fast), cmocka_unit_test(test_all_listed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
