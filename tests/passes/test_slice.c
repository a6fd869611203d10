/* SPDX-License-Identifier: Apache-2.0
 * test_slice.c - slices of slices, slices that become a Split, concatenations. */
#include "pass_text.h"

#define I(name, v) "int64[1] " name " = {" v "}"

static void test_chain(void **state) {
    (void)state;
    assert_becomes("slice", "(float[9,8] x) => (y) <" I("a", "1") ", " I("b", "7") ", " I("c", "2") ", " I("d", "4") ", " I("zero", "0") "> { s = Slice (x, a, b, zero) y = Slice (s, c, d, zero) }",
        "(float[9,8] x) => (y) <" I("p", "3") ", " I("q", "5") ", " I("zero", "0") "> { y = Slice (x, p, q, zero) }");
    assert_becomes("slice", "(float[9,8] x) => (y) <" I("a", "1") ", " I("b", "-1") ", " I("zero", "0") ", " I("three", "3") "> { s = Slice (x, a, b, zero) y = Slice (s, b, zero, a, b) }",
        "(float[9,8] x) => (y) <int64[2] p = {1, -1}, int64[2] q = {-1, 0}, int64[2] r = {0, 1}, int64[2] s = {1, -1}> { y = Slice (x, p, q, r, s) }");
    /* from the end, by another step, with a reader in the middle: left */
    assert_left("slice", "(float[9,8] x) => (y) <" I("a", "1") ", " I("b", "-1") ", " I("zero", "0") "> { s = Slice (x, a, b, zero) y = Slice (s, a, b, zero) }", 0);
    assert_left("slice", "(float[9,8] x) => (y) <" I("a", "1") ", " I("b", "7") ", " I("zero", "0") ", " I("two", "2") "> { s = Slice (x, a, b, zero, two) y = Slice (s, a, two, zero) }", 0);
    assert_left("slice", "(float[9,8] x) => (y, z) <" I("a", "1") ", " I("b", "7") ", " I("zero", "0") "> { s = Slice (x, a, b, zero) y = Slice (s, a, b, a) z = Relu (s) }", 0);
    assert_left("slice", "(float[9,8] x, int64[1] a) => (y) <" I("b", "7") ", " I("zero", "0") "> { s = Slice (x, a, b, zero) y = Slice (s, a, b, zero) }", 0);
}

static void test_split(void **state) {
    (void)state;
    assert_becomes("slice", "(float[2,8] x) => (y) <" I("zero", "0") ", " I("three", "3") ", " I("five", "5") ", " I("end", "9223372036854775807") ", " I("axis", "-1") "> "
        "{ b = Slice (x, three, five, axis) a = Slice (x, zero, three, axis) c = Slice (x, five, end, axis) y = Concat <axis = 1> (c, a, b) }",
        "(float[2,8] x) => (y) <int64[3] s = {3, 2, 3}> { a, b, c = Split <axis = 1> (x, s) y = Concat <axis = 1> (c, a, b) }");
    assert_becomes("slice", "(float[n,8] x) => (y, b) <" I("zero", "0") ", " I("three", "3") ", " I("eight", "8") ", " I("axis", "1") "> "
        "{ r = Relu (x) b = Slice (r, three, eight, axis) a = Slice (r, zero, three, axis) y = Exp (a) }",
        "(float[n,8] x) => (y, b) <int64[2] s = {3, 5}> { r = Relu (x) a, b = Split <axis = 1> (r, s) y = Exp (a) }");
    /* a gap, an overlap, a size that is not known, two axes, one slice alone */
    assert_left("slice", "(float[2,8] x) => (y) <" I("z", "0") ", " I("a", "3") ", " I("b", "4") ", " I("e", "8") ", " I("k", "1") "> { p = Slice (x, z, a, k) q = Slice (x, b, e, k) y = Concat <axis = 1> (p, q) }", 0);
    assert_left("slice", "(float[2,8] x) => (y) <" I("z", "0") ", " I("a", "3") ", " I("b", "4") ", " I("e", "8") ", " I("k", "1") "> { p = Slice (x, z, b, k) q = Slice (x, a, e, k) y = Concat <axis = 1> (p, q) }", 0);
    assert_left("slice", "(float[2,n] x) => (y) <" I("z", "0") ", " I("a", "3") ", " I("e", "9999") ", " I("k", "1") "> { p = Slice (x, z, a, k) q = Slice (x, a, e, k) y = Concat <axis = 1> (p, q) }", 0);
    assert_left("slice", "(float[8,8] x) => (p, q) <" I("z", "0") ", " I("a", "3") ", " I("e", "8") ", " I("k", "1") "> { p = Slice (x, z, a, k) q = Slice (x, a, e, z) }", 0);
    assert_left("slice", "(float[8,8] x) => (p) <" I("z", "0") ", " I("a", "3") "> { p = Slice (x, z, a, z) }", 0);
}

static void test_concat(void **state) {
    (void)state;
    assert_becomes("slice", "(float[2,3] a, float[2,3] b, float[2,3] c) => (y) { t = Concat <axis = 1> (a, b) y = Concat <axis = -1> (t, c, a) }",
        "(float[2,3] a, float[2,3] b, float[2,3] c) => (y) { y = Concat <axis = 1> (a, b, c, a) }");
    assert_becomes("slice", "(float[2,6] x) => (y) <int64[2] s = {2, 4}> { a, b = Split <axis = 1> (x, s) t = Concat <axis = 1> (a, b) y = Relu (t) }", "(float[2,6] x) => (y) { y = Relu (x) }");
    assert_left("slice", "(float[2,6] x) => (y) <int64[2] s = {2, 4}> { a, b = Split <axis = 1> (x, s) t = Concat <axis = 1> (b, a) y = Relu (t) }", 0);
    assert_left("slice", "(float[2,3] a, float[4,3] c) => (y) { t = Concat <axis = 0> (a, a) y = Concat <axis = 1> (t, c) }", 0);
    assert_left("slice", "(float[2,3] a, float[2,3] b) => (y, z) { t = Concat <axis = 1> (a, b) y = Concat <axis = 1> (t, b) z = Relu (t) }", 0);
}

static void test_one(void **state) {
    (void)state;
    assert_becomes("slice", "(float[2,8] x) => (y) <" I("a", "-2") ", " I("b", "-1") ", " I("k", "1") "> { s = Slice (x, a, b, k) y = Squeeze (s, k) }",
        "(float[2,8] x) => (y) <int64 i = {-2}> { y = Gather <axis = 1> (x, i) }");
    assert_becomes("slice", "(float[3,4] x) => (y) <int64[3] c = {1, 1, 1}, " I("z", "0") "> { p, q, r = Split <axis = 0> (x, c) a = Squeeze (p, z) b = Squeeze (q, z) d = Squeeze (r, z) e = Add (a, b) y = Mul (d, e) }",
        "(float[3,4] x) => (y) <int64 i = {0}, int64 j = {1}, int64 k = {2}> { a = Gather <axis = 0> (x, i) b = Gather <axis = 0> (x, j) d = Gather <axis = 0> (x, k) e = Add (a, b) y = Mul (d, e) }");
    assert_left("slice", "(float[2,8] x) => (y, s) <" I("a", "2") ", " I("b", "3") ", " I("k", "1") "> { s = Slice (x, a, b, k) y = Squeeze (s, k) }", 0);
    assert_left("slice", "(float[1,8] x) => (y) <" I("a", "2") ", " I("b", "3") ", " I("k", "1") ", " I("z", "0") "> { s = Slice (x, a, b, k) y = Squeeze (s, z) }", 0);       /* another axis */
    assert_left("slice", "(float[3,4] x) => (y) <int64[2] c = {1, 2}, " I("z", "0") "> { p, q = Split <axis = 0> (x, c) a = Squeeze (p, z) y = Add (q, a) }", 0);
}

/* An empty piece (half a head that is not rotated) is cut from the same axis as those that fill it. */
static void test_empty(void **state) {
    (void)state;
    assert_becomes("slice",
        "(float[2,8] x) => (y, e) <" I("z", "0") ", " I("a", "4") ", " I("b", "8") ", " I("k", "1") "> { e = Slice (x, b, b, k) p = Slice (x, z, a, k) q = Slice (x, a, b, k) y = Add (p, q) }",
        "(float[2,8] x) => (y, e) <" I("b", "8") ", " I("k", "1") ", int64[2] n = {4, 4}> { p, q = Split <axis = 1> (x, n) e = Slice (x, b, b, k) y = Add (p, q) }");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chain), cmocka_unit_test(test_split), cmocka_unit_test(test_concat), cmocka_unit_test(test_one), cmocka_unit_test(test_empty)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
