/* SPDX-License-Identifier: Apache-2.0
 * test_element.c - random strided views against one element at a time; conversions at their edges; copies, casts, text. */
#include "test.h"

#include <math.h>
#include <stdlib.h>

#include "base/half.h"
#include "tensor/tensor.h"

static uint64_t seed = 1;
static uint32_t rnd(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return n ? (uint32_t)(seed >> 33) % n : 0;
}

static const fy_dtype numeric[] = {
    FERRY_FLOAT, FERRY_UINT8, FERRY_INT8, FERRY_UINT16, FERRY_INT16, FERRY_INT32, FERRY_INT64, FERRY_BOOL, FERRY_FLOAT16, FERRY_DOUBLE,
    FERRY_UINT32, FERRY_UINT64, FERRY_COMPLEX64, FERRY_COMPLEX128, FERRY_BFLOAT16, FERRY_FLOAT8E4M3FN, FERRY_FLOAT8E4M3FNUZ,
    FERRY_FLOAT8E5M2, FERRY_FLOAT8E5M2FNUZ,
    FERRY_UINT4, FERRY_INT4, FERRY_FLOAT4E2M1, FERRY_FLOAT8E8M0, FERRY_UINT2, FERRY_INT2, FERRY_FLOAT6E2M3, FERRY_FLOAT6E3M2
};

/* A view with random dims and strides (also 0, negative, overlapping) into a block of 4096 elements of small integers. */
#define BLOCK 4096
static fy_tensor random_view(fy_dtype t, void *block, bool may_overlap) {
    fy_tensor v = { .dtype = t, .rank = (int)rnd(6) };
    int64_t lo = 0, hi = 0, step = 1 + rnd(2);
    int order[6] = { 0, 1, 2, 3, 4, 5 };
    for (int i = v.rank - 1; i > 0; i--) { int j = (int)rnd((uint32_t)i + 1), k = order[i]; order[i] = order[j]; order[j] = k; }
    if (rnd(3) == 0) for (int i = 0; i < v.rank; i++) order[i] = v.rank - 1 - i;         /* row-major order, perhaps with gaps */
    for (int i = 0; i < v.rank; i++) {
        int d = order[i];
        v.dim[d] = rnd(20) == 0 ? 1 : 1 + rnd(4);
        v.stride[d] = may_overlap && rnd(8) == 0 ? 0 : rnd(4) == 0 ? -step : step;
        (v.stride[d] < 0 ? &lo : &hi)[0] += v.stride[d] * (v.dim[d] - 1);
        step *= v.dim[d];
        if (rnd(5) == 0) step += rnd(3);
    }
    assert_true(hi - lo < BLOCK);
    v.data = (char *)block - lo * fy_elem_bytes(t);
    return v;
}

static int64_t naive_offset(const fy_tensor *t, int64_t i) {
    int64_t at = 0;
    for (int d = t->rank - 1; d >= 0; d--) { at += i % t->dim[d] * t->stride[d]; i /= t->dim[d]; }
    return at;
}

static void views_match_single_elements(void **state) {
    (void)state;
    static double block[2 * BLOCK];
    static double f[2 * BLOCK], f2[2 * BLOCK];
    static int64_t s[BLOCK];
    static uint64_t u[BLOCK];
    for (int round = 0; round < 3000; round++) {
        fy_dtype t = numeric[rnd(FY_COUNT(numeric))];
        int bytes = fy_elem_bytes(t);
        bool real = fy_dtype_class(t) != FY_CLASS_C;
        fy_tensor flat = fy_tensor_view(t, 1, (int64_t[]){ BLOCK }, block);
        for (int i = 0; i < BLOCK; i++) fy_put_f64(&flat, i, (double)(1 + i % 2));
        fy_tensor v = random_view(t, block, true);
        int64_t n = fy_count(&v), first = rnd((uint32_t)n), k = 1 + rnd((uint32_t)(n - first));
        fy_load_f64(f, &v, first, k);
        fy_load_i64(s, &v, first, k);
        fy_load_u64(u, &v, first, k);
        fy_load_c128(f2, &v, first, k);
        for (int64_t i = 0; i < k; i++) {
            int64_t at = naive_offset(&v, first + i);
            fy_tensor one = fy_tensor_view(t, 0, NULL, (char *)v.data + at * bytes);
            double want = fy_get_f64(&one, 0);
            assert_true(f[i] == want && fy_get_f64(&v, first + i) == want && f2[2 * i] == want && f2[2 * i + 1] == 0);
            assert_true(s[i] == fy_get_i64(&one, 0) && fy_get_i64(&v, first + i) == s[i]);
            assert_true(u[i] == fy_get_u64(&one, 0) && fy_get_u64(&v, first + i) == u[i]);
        }
        v = random_view(t, block, false);              /* stores: what is stored is read, and nothing else changes */
        n = fy_count(&v);
        first = rnd((uint32_t)n);
        k = 1 + rnd((uint32_t)(n - first));
        static unsigned char before[sizeof block];
        memcpy(before, block, sizeof block);
        switch (rnd(4)) {
        case 0: for (int64_t i = 0; i < k; i++) f[i] = 1.0; fy_store_f64(&v, first, k, f); break;
        case 1: for (int64_t i = 0; i < k; i++) s[i] = 1; fy_store_i64(&v, first, k, s); break;
        case 2: for (int64_t i = 0; i < k; i++) u[i] = 1; fy_store_u64(&v, first, k, u); break;
        default: for (int64_t i = 0; i < k; i++) { f2[2 * i] = 1.0; f2[2 * i + 1] = real ? 9 : 0; } fy_store_c128(&v, first, k, f2); break;
        }
        for (int64_t i = 0; i < n; i++) {
            int64_t at = naive_offset(&v, i);
            char *p = (char *)v.data + at * bytes;
            fy_tensor one = fy_tensor_view(t, 0, NULL, p);
            if (i >= first && i < first + k) {
                assert_true(fy_get_f64(&one, 0) == 1.0);
                memcpy(before + (p - (char *)block), p, (size_t)bytes);
            }
        }
        assert_memory_equal(before, block, sizeof block);
    }
}

static void copies_match(void **state) {
    (void)state;
    static double from[2 * BLOCK], to[2 * BLOCK];
    for (int round = 0; round < 3000; round++) {
        fy_dtype a = numeric[rnd(FY_COUNT(numeric))], b = rnd(2) ? a : numeric[rnd(FY_COUNT(numeric))];
        fy_tensor flat = fy_tensor_view(a, 1, (int64_t[]){ BLOCK }, from);
        for (int i = 0; i < BLOCK; i++) fy_put_f64(&flat, i, (double)(1 + (i * 7 % 11 > 5)));
        fy_tensor src = random_view(a, from, true), dst;
        do dst = random_view(b, to, false); while (dst.rank != src.rank);
        memcpy(dst.dim, src.dim, sizeof dst.dim);
        fy_strides(dst.rank, dst.dim, dst.stride);
        if (dst.rank > 1 && rnd(2)) {                  /* a transposed target */
            int64_t inner = dst.dim[dst.rank - 1];
            for (int i = 0; i < dst.rank - 1; i++) dst.stride[i] /= inner;
            dst.stride[dst.rank - 1] = fy_count(&dst) / inner;
        }
        dst.data = to;
        fy_tensor_copy(&dst, &src);
        for (int64_t i = 0; i < fy_count(&src); i++) {
            double got = fy_get_f64(&dst, i), want = fy_dtype_class(b) == FY_CLASS_B ? 1.0 : fy_get_f64(&src, i);
            assert_true(got == want || (b == FERRY_INT2 && want == 2));        /* 2 does not fit: see the tests of casts */
        }
    }
}

static double cast1(double v, fy_dtype to) {
    double out[2] = { 0 };
    fy_tensor t = fy_tensor_view(to, 0, NULL, out);
    fy_put_f64(&t, 0, v);
    return fy_get_f64(&t, 0);
}

static void floats_to_integers_saturate(void **state) {
    (void)state;
    const double inf = (double)INFINITY, nan = (double)NAN;
    const struct { fy_dtype t; double lo, hi; } range[] = {
        { FERRY_INT8, -128, 127 }, { FERRY_UINT8, 0, 255 }, { FERRY_INT16, -32768, 32767 }, { FERRY_UINT16, 0, 65535 },
        { FERRY_INT32, -0x1p31, 0x1p31 - 1 }, { FERRY_UINT32, 0, 0x1p32 - 1 }, { FERRY_INT4, -8, 7 }, { FERRY_UINT4, 0, 15 },
        { FERRY_INT2, -2, 1 }, { FERRY_UINT2, 0, 3 },
        { FERRY_INT64, -0x1p63, 0x1p63 }, { FERRY_UINT64, 0, 0x1p64 },
    };
    for (int i = 0; i < FY_COUNT(range); i++) {
        fy_dtype t = range[i].t;
        double lo = range[i].lo, hi = range[i].hi;
        assert_true(cast1(lo - 1, t) == lo && cast1(-inf, t) == lo && cast1(-1e300, t) == lo && cast1(lo, t) == lo);
        assert_true(cast1(hi + 1, t) == hi && cast1(inf, t) == hi && cast1(1e300, t) == hi && cast1(hi, t) == hi);
        assert_true(cast1(nan, t) == 0 && cast1(0.99, t) == 0 && cast1(-0.99, t) == 0 && cast1(1.99, t) == 1);
    }
    assert_true(cast1(nan, FERRY_BOOL) == 1 && cast1(-0.0, FERRY_BOOL) == 0 && cast1(0.1, FERRY_BOOL) == 1);
    double d = nan;
    fy_tensor t = fy_tensor_view(FERRY_DOUBLE, 0, NULL, &d);
    assert_true(fy_get_i64(&t, 0) == 0 && fy_get_u64(&t, 0) == 0);
    d = 1e19;
    assert_true(fy_get_i64(&t, 0) == INT64_MAX && fy_get_u64(&t, 0) == 10000000000000000000u);
    d = -5.5;
    assert_true(fy_get_i64(&t, 0) == -5 && fy_get_u64(&t, 0) == 0);
}

static void integers_wrap(void **state) {
    (void)state;
    for (int i = 0; i < 20000; i++) {
        int64_t v = (int64_t)(((uint64_t)rnd(0x80000000u) << 33 ^ (uint64_t)rnd(0x80000000u) << 11 ^ rnd(2048)) >> rnd(60));
        if (rnd(2)) v = -v;
        int64_t cell = 0;
        const struct { fy_dtype t; int64_t want; } wrap[] = {
            { FERRY_INT8, (int8_t)v }, { FERRY_UINT8, (uint8_t)v }, { FERRY_INT16, (int16_t)v }, { FERRY_UINT16, (uint16_t)v },
            { FERRY_INT32, (int32_t)v }, { FERRY_UINT32, (uint32_t)v }, { FERRY_INT64, v }, { FERRY_UINT64, v },
            { FERRY_BOOL, v != 0 }, { FERRY_UINT4, v & 15 },
            { FERRY_INT4, ((v & 15) ^ 8) - 8 }, { FERRY_UINT2, v & 3 }, { FERRY_INT2, ((v & 3) ^ 2) - 2 },
        };
        for (int j = 0; j < FY_COUNT(wrap); j++) {
            fy_tensor t = fy_tensor_view(wrap[j].t, 0, NULL, &cell);
            fy_put_i64(&t, 0, v);
            assert_int_equal(fy_get_i64(&t, 0), wrap[j].want);
            fy_put_u64(&t, 0, (uint64_t)v);
            assert_int_equal(fy_get_i64(&t, 0), wrap[j].want);
        }
        float single = 0;
        fy_tensor t = fy_tensor_view(FERRY_FLOAT, 0, NULL, &single);
        fy_put_i64(&t, 0, v);
        assert_true(single == (float)v);
    }
    uint16_t half = 0;                                 /* 2^62 + 2^54 is half way between two bfloat16; one more must go up */
    fy_tensor t = fy_tensor_view(FERRY_BFLOAT16, 0, NULL, &half);
    fy_put_i64(&t, 0, ((int64_t)1 << 62) + ((int64_t)1 << 54));
    assert_true((double)fy_bf16_to_f32(half) == 0x1p62);
    fy_put_i64(&t, 0, ((int64_t)1 << 62) + ((int64_t)1 << 54) + 1);
    assert_true((double)fy_bf16_to_f32(half) == 0x1p62 + 0x1p55);
    fy_put_i64(&t, 0, -((int64_t)1 << 62) - ((int64_t)1 << 54) - 1);
    assert_true((double)fy_bf16_to_f32(half) == -0x1p62 - 0x1p55);
    fy_put_u64(&t, 0, UINT64_MAX);
    assert_true((double)fy_bf16_to_f32(half) == 0x1p64);
}

static void casts_and_clones(void **state) {
    (void)state;
    ferry_error e;
    size_t before = fy_os_bytes();
    int64_t dim[2] = { 3, 1000 };
    fy_tensor a, b, c;
    assert_ok(fy_tensor_new(&a, FERRY_INT64, 2, dim, &e), e);
    for (int64_t i = 0; i < 3000; i++) fy_put_i64(&a, i, ((int64_t)1 << 60) + i);
    assert_ok(fy_tensor_cast(&b, &a, FERRY_INT32, &e), e);
    for (int64_t i = 0; i < 3000; i++) assert_int_equal(fy_get_i64(&b, i), i);
    fy_tensor_free(&b);
    assert_ok(fy_tensor_cast(&b, &a, FERRY_COMPLEX64, &e), e);
    assert_true(fy_get_f64(&b, 5) == 0x1p60);
    assert_ok(fy_tensor_cast(&c, &b, FERRY_COMPLEX128, &e), e);
    assert_true(fy_get_f64(&c, 5) == 0x1p60);
    fy_tensor_free(&c);
    assert_fails(fy_tensor_cast(&c, &b, FERRY_STRING, &e), TYPE);
    assert_ok(fy_tensor_clone(&c, &a, &e), e);
    fy_tensor d = fy_tensor_ref(&c);
    fy_tensor_free(&c);
    assert_int_equal(fy_get_i64(&d, 2999), ((int64_t)1 << 60) + 2999);
    fy_tensor_free(&d);
    fy_tensor_free(&a);
    assert_fails(fy_tensor_new(&a, FERRY_FLOAT, 2, ((int64_t[]){ 1 << 30, 1 << 30 }), &e), LIMIT);
    assert_fails(fy_tensor_new(&a, FERRY_FLOAT, 1, ((int64_t[]){ -1 }), &e), LIMIT);
    assert_fails(fy_tensor_new(&a, FERRY_FLOAT, 17, NULL, &e), LIMIT);
    assert_fails(fy_tensor_new(&a, FERRY_UNDEFINED, 0, NULL, &e), TYPE);
    assert_fails(fy_tensor_new(&a, (fy_dtype)99, 0, NULL, &e), TYPE);
    for (int64_t k = 0; k < 2; k++) {
        fy_os_fail_at(k, false);
        fy_status s = fy_tensor_new(&a, FERRY_FLOAT, 2, dim, &e);
        fy_os_fail_at(-1, false);
        assert_int_equal(s, FY_E_NOMEM);
    }
    fy_tensor_free(&b);
    int x = 5;
    fy_storage *s = fy_storage_borrow(&x, sizeof x);
    fy_storage_unref(fy_storage_ref(s));
    fy_storage_unref(s);
    assert_int_equal(x, 5);
    assert_int_equal(fy_os_bytes(), before);
}

static void sub_byte_types_pack(void **state) {
    (void)state;
    const fy_dtype small[] = { FERRY_UINT4, FERRY_INT4, FERRY_FLOAT4E2M1, FERRY_UINT2, FERRY_INT2, FERRY_FLOAT6E2M3, FERRY_FLOAT6E3M2 };
    for (int i = 0; i < FY_COUNT(small); i++) {
        unsigned char packed[56] = { 0 };
        int8_t src[64], dst[64];
        int bits = fy_dtype_bits(small[i]), half = 1 << (bits - 1);
        bool sign = fy_dtype_class(small[i]) == FY_CLASS_I;
        for (int j = 0; j < 64; j++) { int v = (int)rnd(2u * (unsigned)half); src[j] = (int8_t)(sign ? (v ^ half) - half : v); }
        fy_pack_bits(small[i], packed, 0, src, 5);     /* in pieces that split bytes */
        fy_pack_bits(small[i], packed, 5, src + 5, 58);
        fy_pack_bits(small[i], packed, 63, src + 63, 1);
        assert_int_equal(packed[fy_dtype_bytes(small[i], 64)], 0);
        fy_unpack_bits(small[i], dst, packed, 0, 64);
        assert_memory_equal(src, dst, 64);
        fy_unpack_bits(small[i], dst, packed, 7, 50);
        assert_memory_equal(src + 7, dst, 50);
    }
    unsigned char two = 0;
    fy_pack_bits(FERRY_UINT4, &two, 0, (uint8_t[]){ 1, 2 }, 2);
    assert_int_equal(two, 0x21);                       /* onnx.proto: the first element in the low half */
}

static void dtypes_have_names_and_sizes(void **state) {
    (void)state;
    for (int i = 1; i <= FERRY_FLOAT6E3M2; i++) {
        fy_dtype t = (fy_dtype)i;
        assert_int_equal(fy_dtype_find(fy_dtype_name(t), strlen(fy_dtype_name(t))), t);
        assert_int_equal(fy_dtype_find(fy_dtype_onnx(t), strlen(fy_dtype_onnx(t))), t);
    }
    assert_int_equal(fy_dtype_find("float32", 7), FERRY_FLOAT);
    assert_int_equal(fy_dtype_find("float3", 6), FERRY_UNDEFINED);
    assert_int_equal(fy_dtype_find("float8_e4m3fn", 13), FERRY_FLOAT8E4M3FN);
    assert_int_equal(fy_dtype_find("", 0), FERRY_UNDEFINED);
    assert_string_equal(fy_dtype_name((fy_dtype)0), "?");
    assert_string_equal(ferry_dtype_name(-1), "?");
    assert_int_equal(ferry_dtype_bytes(FERRY_UINT4, 5), 3);
    assert_int_equal(ferry_dtype_bytes(FERRY_UINT2, 5), 2);
    assert_int_equal(ferry_dtype_bytes(FERRY_COMPLEX128, 2), 32);
    assert_int_equal(ferry_dtype_bytes(FERRY_STRING, 5), 0);
    assert_int_equal(ferry_dtype_bytes(FERRY_FLOAT, -1), 0);
    assert_int_equal(ferry_dtype_bytes(FERRY_COMPLEX128, INT64_MAX), 0);
    assert_int_equal(ferry_dtype_bytes(FERRY_INT4, INT64_MAX), (size_t)1 << 62);
    float x[6] = { 0 };
    ferry_tensor t = ferry_f32(x, 2, (int64_t[]){ 2, 3 });
    assert_true(t.bytes == 24 && t.rank == 2 && t.dtype == FERRY_FLOAT && t.data == x);
    assert_int_equal(ferry_f32(x, 17, NULL).dtype, 0);
    assert_int_equal(ferry_i64(NULL, 1, (int64_t[]){ -1 }).dtype, 0);
    assert_int_equal(ferry_view(99, x, 0, NULL).dtype, 0);
    assert_true(fy_round_to(FERRY_FLOAT16, 1.0 / 3) == 0x1.554p-2 && fy_round_to(FERRY_INT8, 0.5) == 0.5);
}

static void text_of(const fy_tensor *t, int64_t max, const char *want) {
    fy_buf b = { 0 };
    fy_tensor_print(&b, t, max);
    assert_string_equal(b.at, want);
    fy_buf_free(&b);
}

static void printing(void **state) {
    (void)state;
    float f[4] = { 1, -0.5f, NAN, -INFINITY };
    fy_tensor t = fy_tensor_view(FERRY_FLOAT, 2, (int64_t[]){ 2, 2 }, f);
    text_of(&t, 0, "f32[2,2]");
    text_of(&t, 9, "f32[2,2] {1, -0.5, nan, -inf}");
    text_of(&t, 2, "f32[2,2] {1, -0.5, ...}");
    float c[4] = { 1, -2, 0, 0 };
    t = fy_tensor_view(FERRY_COMPLEX64, 1, (int64_t[]){ 2 }, c);
    text_of(&t, 9, "c64[2] {1-2j, 0+0j}");
    fy_str s[2] = { { "a\"\n", 3 }, { NULL, 0 } };
    t = fy_tensor_view(FERRY_STRING, 1, (int64_t[]){ 2 }, s);
    text_of(&t, 9, "str[2] {\"a\\x22\\x0a\", \"\"}");
    uint64_t u = UINT64_MAX;
    t = fy_tensor_view(FERRY_UINT64, 0, NULL, &u);
    text_of(&t, 1, "u64[] {18446744073709551615}");
    t = fy_tensor_view(FERRY_BOOL, 1, (int64_t[]){ 2 }, (uint8_t[]){ 0, 3 });
    text_of(&t, 2, "bool[2] {false, true}");
    t = fy_tensor_view(FERRY_INT8, 1, (int64_t[]){ 0 }, NULL);
    text_of(&t, 2, "i8[0]");
}

static void contiguity(void **state) {
    (void)state;
    fy_tensor t = fy_tensor_view(FERRY_FLOAT, 3, (int64_t[]){ 2, 1, 3 }, NULL);
    assert_true(fy_contiguous(&t));
    t.stride[1] = 77;                                  /* of a dim of one: never used */
    assert_true(fy_contiguous(&t));
    t.stride[0] = 4;
    assert_false(fy_contiguous(&t));
    t.dim[0] = 0;
    assert_true(fy_contiguous(&t) && fy_count(&t) == 0);
    fy_tensor u = fy_tensor_view(FERRY_FLOAT, 2, (int64_t[]){ 2, 3 }, NULL);
    assert_false(fy_same_dims(&t, &u));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_match_single_elements), cmocka_unit_test(copies_match), cmocka_unit_test(floats_to_integers_saturate),
        cmocka_unit_test(integers_wrap), cmocka_unit_test(casts_and_clones), cmocka_unit_test(sub_byte_types_pack),
        cmocka_unit_test(dtypes_have_names_and_sizes), cmocka_unit_test(printing), cmocka_unit_test(contiguity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
