/* SPDX-License-Identifier: Apache-2.0
 * test_constant.c - recipes: random chains of them hold what the same steps on plain tensors give, and reading any range
 * equals the slice of the whole. */
#include "ir/constant.h"
#include "test.h"

static uint64_t rng = 0x2545F4914F6CDD1Du;
static int64_t rnd(int64_t lo, int64_t hi) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return lo + (int64_t)(rng % (uint64_t)(hi - lo + 1));
}

static bool same_bytes(const fy_tensor *a, const fy_tensor *b) {      /* both dense */
    return a->dtype == b->dtype && fy_same_dims(a, b) && (fy_count(a) == 0 || memcmp(a->data, b->data, (size_t)fy_count(a) * (size_t)fy_elem_bytes(a->dtype)) == 0);
}

/* The constant against the truth, whole and in random pieces. */
static void check(const fy_const *c, const fy_tensor *want) {
    ferry_error e;
    fy_tensor whole = { 0 };
    assert_int_equal(c->count, fy_count(want));
    assert_true(c->depth <= 16);
    assert_ok(fy_const_tensor(&whole, c, &e), e);
    assert_true(same_bytes(&whole, want));
    size_t size = (size_t)fy_elem_bytes(c->dtype);
    for (int i = 0; i < 8; i++) {
        int64_t first = rnd(0, c->count), n = rnd(0, c->count - first);
        unsigned char *buf = fy_malloc((size_t)n + 1, size);
        assert_ok(fy_const_read(c, first, n, buf, &e), e);
        assert_true(n == 0 || memcmp(buf, (char *)want->data + (size_t)first * size, (size_t)n * size) == 0);
        fy_free(buf);
    }
    if (c->count) {
        int64_t k = rnd(0, c->count - 1);
        double v, w = fy_get_f64(want, k);
        assert_true(fy_const_f64(c, k, &v) && (v == w || (v != v && w != w)));
    }
    assert_false(fy_const_f64(c, c->count, &(double){ 0 }));
    fy_tensor_free(&whole);
}

static void view(fy_tensor *t, const fy_tensor *as) {            /* t becomes a dense copy of the strided view `as` of it */
    ferry_error e;
    fy_tensor fresh = { 0 };
    assert_ok(fy_tensor_clone(&fresh, as, &e), e);
    fy_tensor_free(t);
    *t = fresh;
}

static void random_recipes(void **state) {
    (void)state;
    static const fy_dtype types[] = { FERRY_FLOAT, FERRY_DOUBLE, FERRY_INT64, FERRY_INT32, FERRY_UINT8, FERRY_INT8, FERRY_FLOAT16, FERRY_BFLOAT16, FERRY_BOOL,
                                      FERRY_INT4, FERRY_UINT4, FERRY_INT2, FERRY_UINT2, FERRY_FLOAT6E2M3, FERRY_FLOAT6E3M2, FERRY_COMPLEX64 };
    ferry_error e;
    for (int round = 0; round < 1500; round++) {
        fy_arena a = { 0 };
        int64_t dim[FY_MAX_RANK];
        int rank = (int)rnd(0, 4);
        for (int i = 0; i < rank; i++) dim[i] = rnd(round % 7 ? 1 : 0, 5);
        fy_tensor t = { 0 };
        assert_ok(fy_tensor_new(&t, types[round % FY_COUNT(types)], rank, dim, &e), e);
        for (int64_t i = 0; i < fy_count(&t); i++) fy_put_i64(&t, i, rnd(-8, 7));
        const fy_const *c;
        if (round % 2 && fy_dtype_bits(t.dtype) >= 8 && fy_count(&t)) {      /* unaligned bytes of a file */
            size_t n = (size_t)fy_count(&t) * (size_t)fy_elem_bytes(t.dtype);
            unsigned char *raw = fy_arena_alloc(&a, n + 1, 1);
            memcpy(raw + 1, t.data, n);
            c = fy_const_bytes(&a, t.dtype, rank, dim, raw + 1, n);
        } else c = fy_const_from(&a, &t);
        assert_non_null(c);
        check(c, &t);
        for (int step = 0, steps = (int)rnd(0, 24); step < steps; step++) {
            fy_tensor v = t;
            int perm[FY_MAX_RANK];
            switch (rnd(0, 5)) {
            case 0: {                                        /* cast */
                fy_dtype to = types[rnd(0, t.dtype == FERRY_COMPLEX64 ? 13 : 12)];
                fy_tensor out = { 0 };
                assert_ok(fy_tensor_cast(&out, &t, to, &e), e);
                c = fy_const_cast(&a, c, to);
                fy_tensor_free(&t);
                t = out;
                break;
            }
            case 1:                                          /* transpose */
                for (int i = 0; i < t.rank; i++) perm[i] = i;
                for (int i = t.rank - 1; i > 0; i--) {
                    int j = (int)rnd(0, i), k = perm[i];
                    perm[i] = perm[j];
                    perm[j] = k;
                }
                for (int i = 0; i < t.rank; i++) {
                    v.dim[i] = t.dim[perm[i]];
                    v.stride[i] = t.stride[perm[i]];
                }
                c = fy_const_transpose(&a, c, perm);
                view(&t, &v);
                break;
            case 2:                                          /* reshape: to one axis, or split off an axis of 1 */
                v.rank = t.rank > 2 ? 1 : t.rank + 1;
                if (v.rank == 1) v.dim[0] = fy_count(&t);
                else v.dim[t.rank] = 1;
                fy_strides(v.rank, v.dim, v.stride);
                c = fy_const_reshape(&a, c, v.rank, v.dim);
                view(&t, &v);
                break;
            case 3: {                                        /* a window, backwards along one axis */
                int64_t off = 0;
                for (int i = 0; i < t.rank; i++) {
                    if (v.dim[i] == 0) continue;
                    int64_t from = rnd(0, v.dim[i] - 1), by = rnd(1, 2);
                    bool back = rnd(0, 2) == 0;
                    v.dim[i] = back ? from / by + 1 : (v.dim[i] - from + by - 1) / by;
                    off += from * v.stride[i];
                    v.stride[i] *= back ? -by : by;
                }
                v.data = (char *)t.data + off * fy_elem_bytes(t.dtype);
                c = fy_const_strided(&a, c, t.rank, v.dim, v.stride, off);
                view(&t, &v);
                break;
            }
            case 4: {                                        /* scale along an axis */
                if (!t.rank || !fy_dtype_float(t.dtype)) continue;
                int axis = (int)rnd(0, t.rank - 1);
                double f[2048];
                if (t.dim[axis] > FY_COUNT(f)) continue;
                int64_t inner = 1;
                for (int i = axis + 1; i < t.rank; i++) inner *= t.dim[i];
                for (int i = 0; i < t.dim[axis]; i++) f[i] = (double)rnd(-4, 4) / 2;
                c = fy_const_scale(&a, c, axis, f);
                for (int64_t i = 0; i < fy_count(&t); i++) fy_put_f64(&t, i, fy_get_f64(&t, i) * f[i / inner % t.dim[axis]]);
                break;
            }
            default: {                                       /* itself beside a part of itself */
                if (!t.rank || fy_count(&t) > 2000) continue;
                int axis = (int)rnd(0, t.rank - 1);
                int64_t part = rnd(0, t.dim[axis]);
                v.dim[axis] = part;
                const fy_const *p = fy_const_strided(&a, c, t.rank, v.dim, v.stride, 0);
                c = fy_const_concat(&a, 3, (const fy_const *[]){ c, p, c }, axis);
                fy_tensor out = { 0 };
                int64_t d[FY_MAX_RANK];
                memcpy(d, t.dim, sizeof d);
                d[axis] = 2 * t.dim[axis] + part;
                assert_ok(fy_tensor_new(&out, t.dtype, t.rank, d, &e), e);
                for (int k = 0; k < 3; k++) {
                    fy_tensor to = out;
                    to.dim[axis] = k == 1 ? part : t.dim[axis];
                    to.data = (char *)out.data + (k == 0 ? 0 : k == 1 ? t.dim[axis] : t.dim[axis] + part) * out.stride[axis] * fy_elem_bytes(t.dtype);
                    fy_tensor_copy(&to, k == 1 ? &v : &t);
                }
                fy_tensor_free(&t);
                t = out;
            }
            }
            assert_non_null(c);
            check(c, &t);
        }
        fy_tensor_free(&t);
        fy_arena_free(&a);
    }
}

static void special_kinds(void **state) {
    (void)state;
    ferry_error e;
    fy_arena a = { 0 };
    fy_tensor t = { 0 };
    const fy_const *c = fy_const_splat(&a, FERRY_FLOAT16, 3, (int64_t[]){ 2, 3, 4 }, 1.5);
    assert_ok(fy_const_tensor(&t, c, &e), e);
    for (int i = 0; i < 24; i++) assert_true(fy_get_f64(&t, i) == 1.5);
    fy_tensor_free(&t);
    fy_str words[] = { { "one", 3 }, { "", 0 }, { "three", 5 }, { "4", 1 } };
    const fy_const *s = fy_const_copy(&a, FERRY_STRING, 2, (int64_t[]){ 2, 2 }, words);
    s = fy_const_transpose(&a, s, (int[]){ 1, 0 });
    assert_ok(fy_const_tensor(&t, s, &e), e);
    assert_memory_equal(((fy_str *)t.data)[1].at, "three", 5);
    assert_int_equal(((fy_str *)t.data)[2].n, 0);
    fy_tensor_free(&t);
    assert_null(fy_const_direct(s));
    static const _Alignas(8) int64_t wide[] = { INT64_MIN, -1, INT64_MAX };
    c = fy_const_bytes(&a, FERRY_INT64, 1, (int64_t[]){ 3 }, wide, sizeof wide);
    assert_ptr_equal(fy_const_direct(c), wide);
    assert_ok(fy_const_tensor(&t, c, &e), e);
    assert_ptr_equal(t.data, wide);                          /* aligned and dense: no copy */
    int64_t v;
    assert_true(fy_const_i64(c, 0, &v) && v == INT64_MIN);
    /* signed nibbles, low one first */
    c = fy_const_bytes(&a, FERRY_INT4, 1, (int64_t[]){ 3 }, "\xf1\x08", 2);
    static const int64_t want[] = { 1, -1, -8 };
    for (int i = 0; i < 3; i++) assert_true(fy_const_i64(c, i, &v) && v == want[i]);
    /* nothing larger than 2^48 elements is made */
    assert_null(fy_const_splat(&a, FERRY_INT8, 2, (int64_t[]){ INT64_MAX, 4 }, 0));
    /* without memory: an error, no crash */
    c = fy_const_cast(&a, fy_const_splat(&a, FERRY_FLOAT, 1, (int64_t[]){ 10000 }, 2), FERRY_INT8);
    fy_os_fail_at(0, true);
    assert_fails(fy_const_tensor(&t, c, &e), NOMEM);
    fy_os_fail_at(-1, false);
    fy_arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(random_recipes), cmocka_unit_test(special_kinds) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
