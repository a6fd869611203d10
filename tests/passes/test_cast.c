/* SPDX-License-Identifier: Apache-2.0
 * test_cast.c - a detour through a dtype that holds every value goes; one that loses something stays. */
#include "pass_text.h"

static void test_exact(void **state) {
    (void)state;
    assert_becomes("cast", "(float[3] x) => (y) { a = Cast <to = 11> (x) y = Cast <to = 1> (a) }", "(float[3] x) => (y) { y = Cast <to = 1> (x) }");
    assert_becomes("cast", "(int32[3] x) => (y) { a = Cast <to = 7> (x) y = Cast <to = 1> (a) }", "(int32[3] x) => (y) { y = Cast <to = 1> (x) }");
    assert_becomes("cast", "(float16[3] x) => (y) { a = Cast <to = 1> (x) y = Cast <to = 11> (a) }", "(float16[3] x) => (y) { y = Cast <to = 11> (x) }");
    /* the middle is used elsewhere too: it stays, the detour does not */
    assert_becomes("cast", "(int8[3] x) => (y, z) { a = Cast <to = 1> (x) y = Cast <to = 7> (a) z = Relu (a) }",
        "(int8[3] x) => (y, z) { a = Cast <to = 1> (x) y = Cast <to = 7> (x) z = Relu (a) }");
}

static void test_lossy(void **state) {
    (void)state;
    assert_left("cast", "(float[3] x) => (y) { a = Cast <to = 10> (x) y = Cast <to = 1> (a) }", 0);      /* f16 */
    assert_left("cast", "(float[3] x) => (y) { a = Cast <to = 7> (x) y = Cast <to = 1> (a) }", 0);       /* integers cut */
    assert_left("cast", "(int64[3] x) => (y) { a = Cast <to = 6> (x) y = Cast <to = 7> (a) }", 0);
    assert_left("cast", "(int64[3] x) => (y) { a = Cast <to = 11> (x) y = Cast <to = 7> (a) }", 0);      /* 53 bits */
    assert_left("cast", "(int32[3] x) => (y) { a = Cast <to = 12> (x) y = Cast <to = 7> (a) }", 0);      /* signs */
    assert_left("cast", "(float[3] x) => (y) { a = Cast <to = 9> (x) y = Cast <to = 1> (a) }", 0);       /* bool */
    assert_left("cast", "(int16[3] x) => (y) { a = Cast <to = 10> (x) y = Cast <to = 6> (a) }", 0);
    assert_left("cast", "(bfloat16[3] x) => (y) { a = Cast <to = 10> (x) y = Cast <to = 1> (a) }", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exact), cmocka_unit_test(test_lossy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
