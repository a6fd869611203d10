/* SPDX-License-Identifier: Apache-2.0
 * test_map.c - the hash map against an array; nearest names. */
#include "test.h"

#include "base/map.h"
#include "base/os.h"

#define N 100000
static char text[N][12];
static int  value[N];

static void hundred_thousand_keys(void **state) {
    (void)state;
    fy_map m = { 0 };
    assert_null(fy_map_gets(&m, "x"));
    assert_false(fy_map_del(&m, "x", 1));
    for (int i = 0; i < N; i++) {
        (void)snprintf(text[i], sizeof text[i], "n%d", i * 7);
        assert_true(fy_map_puts(&m, text[i], &value[i]));
    }
    assert_int_equal(m.n, N);
    for (int i = 0; i < N; i++) assert_ptr_equal(fy_map_gets(&m, text[i]), &value[i]);
    assert_false(fy_map_has(&m, "n1", 2));
    for (int i = 0; i < N; i += 3) assert_true(fy_map_del(&m, text[i], strlen(text[i])));
    for (int i = 0; i < N; i += 3) assert_false(fy_map_del(&m, text[i], strlen(text[i])));
    for (int i = 0; i < N; i++) assert_ptr_equal(fy_map_gets(&m, text[i]), i % 3 ? &value[i] : NULL);
    for (int i = 0; i < N; i += 3) assert_true(fy_map_puts(&m, text[i], &value[N - 1 - i]));
    for (int i = 0; i < N; i++) assert_ptr_equal(fy_map_gets(&m, text[i]), i % 3 ? &value[i] : &value[N - 1 - i]);
    assert_int_equal(m.n, N);
    fy_map_free(&m);
    assert_int_equal(m.n, 0);
}

static void keys_are_bytes(void **state) {
    (void)state;
    fy_map m = { 0 };
    int a, b, c;
    assert_true(fy_map_put(&m, "x\0y", 3, &a) && fy_map_put(&m, "x\0z", 3, &b) && fy_map_put(&m, "", 0, &c));
    assert_ptr_equal(fy_map_get(&m, "x\0y", 3), &a);
    assert_ptr_equal(fy_map_get(&m, "x\0z", 3), &b);
    assert_null(fy_map_get(&m, "x", 1));
    assert_ptr_equal(fy_map_get(&m, NULL, 0), &c);
    assert_true(fy_map_put(&m, "x\0y", 3, NULL));      /* a value may be NULL: only fy_map_has tells */
    assert_true(fy_map_has(&m, "x\0y", 3));
    assert_int_equal(m.n, 3);
    fy_map_free(&m);
}

static void random_puts_and_dels_match_an_array(void **state) {
    (void)state;
    static char name[64][4];
    bool has[64] = { false };
    fy_map m = { 0 };
    uint32_t seed = 7;
    size_t n = 0;
    for (int i = 0; i < 64; i++) (void)snprintf(name[i], sizeof name[i], "%d", i);
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1664525u + 1013904223u;
        int i = (int)(seed >> 20 & 63);
        if (seed >> 30) {
            n += !has[i];
            has[i] = true;
            assert_true(fy_map_puts(&m, name[i], &has[i]));
        } else {
            assert_int_equal(fy_map_del(&m, name[i], strlen(name[i])), has[i]);
            n -= has[i];
            has[i] = false;
        }
        assert_int_equal(m.n, n);
        int j = (int)(seed >> 10 & 63);
        assert_ptr_equal(fy_map_gets(&m, name[j]), has[j] ? &has[j] : NULL);
    }
    fy_map_free(&m);
}

static void out_of_memory_keeps_what_is_there(void **state) {
    (void)state;
    fy_map m = { 0 };
    int got = 0;
    fy_os_fail_at(2, true);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(text[i], sizeof text[i], "k%d", i);
        got += fy_map_puts(&m, text[i], &value[i]);
    }
    fy_os_fail_at(-1, false);
    assert_true(got > 10 && got < 100);
    assert_int_equal(m.n, got);
    for (int i = 0; i < got; i++) assert_ptr_equal(fy_map_gets(&m, text[i]), &value[i]);
    fy_map_free(&m);
}

static void near_names_are_found(void **state) {
    (void)state;
    const char *const names[] = { "softmax", "relu", "conv_transpose", "matmul", "input_ids", "attention_mask" };
    assert_string_equal(fy_nearest("sofmax", names, 6), "softmax");
    assert_string_equal(fy_nearest("SoftMax", names, 6), "softmax");
    assert_string_equal(fy_nearest("matmlu", names, 6), "matmul");
    assert_string_equal(fy_nearest("conv-transpose", names, 6), "conv_transpose");
    assert_string_equal(fy_nearest("input_id", names, 6), "input_ids");
    assert_string_equal(fy_nearest("atten", names, 6), "attention_mask");
    assert_null(fy_nearest("zzzzzz", names, 6));
    assert_null(fy_nearest("", names, 6));
    assert_null(fy_nearest(NULL, names, 6));
    char huge[200];
    memset(huge, 'a', 199);
    huge[199] = 0;
    assert_null(fy_nearest(huge, names, 6));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hundred_thousand_keys), cmocka_unit_test(keys_are_bytes), cmocka_unit_test(random_puts_and_dels_match_an_array),
        cmocka_unit_test(out_of_memory_keeps_what_is_there), cmocka_unit_test(near_names_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
