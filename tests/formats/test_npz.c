/* SPDX-License-Identifier: Apache-2.0
 * test_npz.c - .npy and .npz against files that numpy wrote (fixtures/make_npz.py), round trips, and damaged files. */
#include "test.h"

#include "formats/npz.h"

#include "base/file.h"

#include <stdlib.h>

#define DIR FERRY_FIXTURES "/npz/"
#define TMP FERRY_BINARY_DIR "/test_npz"

static void ramp(const fy_tensor *t, double scale) {
    assert_int_equal(t->rank, 3);
    assert_int_equal(t->dim[0], 2); assert_int_equal(t->dim[1], 3); assert_int_equal(t->dim[2], 4);
    assert_true(fy_contiguous(t));
    for (int i = 0; i < 24; i++) assert_true(fy_get_f64(t, i) == (i / 8.0 - 1) * scale);
}

static void reads_arrays(void **state) {
    ferry_error e; fy_tensor t;
    (void)state;
    assert_ok(fy_npy_read(&t, DIR "f4.npy", &e), e); assert_int_equal(t.dtype, FERRY_FLOAT); ramp(&t, 1); fy_tensor_free(&t);
    assert_ok(fy_npy_read(&t, DIR "fortran.npy", &e), e); assert_int_equal(t.dtype, FERRY_DOUBLE); ramp(&t, 1); fy_tensor_free(&t);
    assert_ok(fy_npy_read(&t, DIR "big.npy", &e), e); ramp(&t, 1); fy_tensor_free(&t);
    assert_ok(fy_npy_read(&t, DIR "bigc.npy", &e), e);
    assert_int_equal(t.dtype, FERRY_COMPLEX64);
    float *c = t.data;
    for (int i = 0; i < 12; i++) { assert_true(c[2 * i] == (float)i / 8 - 1); assert_true(c[2 * i + 1] == 2 * ((float)(i + 12) / 8 - 1)); }
    fy_tensor_free(&t);
    assert_ok(fy_npy_read(&t, DIR "scalar.npy", &e), e); assert_int_equal(t.rank, 0); assert_int_equal(fy_get_i64(&t, 0), -7); fy_tensor_free(&t);
    assert_ok(fy_npy_read(&t, DIR "empty.npy", &e), e); assert_int_equal(fy_count(&t), 0); assert_int_equal(t.dim[0], 3); fy_tensor_free(&t);
    assert_ok(fy_npy_read(&t, DIR "v2.npy", &e), e); assert_int_equal(fy_get_i64(&t, 4), 4); fy_tensor_free(&t);
    assert_fails(fy_npy_read(&t, DIR "object.npy", &e), PICKLE);
    assert_fails(fy_npy_read(&t, DIR "record.npy", &e), UNSUPPORTED);
    assert_fails(fy_npy_read(&t, DIR "stored.npz", &e), FORMAT);
    assert_fails(fy_npy_read(&t, DIR "absent.npy", &e), NOFILE);
}

static void reads_strings(void **state) {
    ferry_error e; fy_tensor t;
    (void)state;
    const char *want[] = {"a", "\xc3\xa9\xe4\xb8\xad", "", "\xf0\x9f\x98\x80x"};
    assert_ok(fy_npy_read(&t, DIR "text.npy", &e), e);
    const fy_str *s = t.data;
    for (int i = 0; i < 4; i++) { assert_int_equal(s[i].n, strlen(want[i])); assert_memory_equal(s[i].at, want[i], s[i].n); }
    fy_tensor_free(&t);
    assert_ok(fy_npy_read(&t, DIR "bytes.npy", &e), e);
    s = t.data;
    assert_int_equal(s[0].n, 2); assert_int_equal(s[1].n, 1); assert_int_equal(s[2].n, 0);
    assert_ok(fy_npy_write(&t, TMP ".npy", &e), e);
    fy_tensor_free(&t);
    assert_ok(fy_npy_read(&t, TMP ".npy", &e), e);
    s = t.data;
    assert_int_equal(s[0].n, 2); assert_memory_equal(s[0].at, "ab", 2); assert_int_equal(s[2].n, 0);
    fy_tensor_free(&t);
}

static void reads_archives(void **state) {
    ferry_error e; fy_named_list l;
    (void)state;
    for (int k = 0; k < 2; k++) {
        assert_ok(fy_npz_read(&l, k ? DIR "deflated.npz" : DIR "stored.npz", &e), e);
        assert_int_equal(l.n, 4 + k);
        ramp(fy_named_find(&l, "x"), 1);
        assert_int_equal(fy_named_find(&l, "mask")->dtype, FERRY_BOOL);
        assert_int_equal(fy_get_i64(fy_named_find(&l, "mask"), 1), 0);
        assert_true(fy_get_f64(fy_named_find(&l, "h"), 2) == 65504);
        assert_true(fy_get_i64(fy_named_find(&l, "n"), 1) == (int64_t)1 << 62);
        assert_null(fy_named_find(&l, "none"));
        if (k) assert_int_equal(fy_count(fy_named_find(&l, "zeros")), 5000);
        fy_named_free(&l);
    }
    assert_fails(fy_npz_read(&l, DIR "f4.npy", &e), FORMAT);
}

/* Every dtype written and read again; the same list gives the same bytes. */
static void round_trip(void **state) {
    ferry_error e; fy_named_list l = {0}, back; fy_map_file a, b;
    (void)state;
    for (fy_dtype t = FERRY_FLOAT; t <= FERRY_FLOAT6E3M2; t++) {
        fy_tensor x;
        if (t == FERRY_STRING) continue;
        assert_ok(fy_tensor_new(&x, t, 2, (int64_t[]){2, 3}, &e), e);
        memset(x.data, 0, 6 * (size_t)fy_elem_bytes(t));
        for (int i = 0; i < 6; i++) if (fy_dtype_class(t) != FY_CLASS_C) fy_put_f64(&x, i, i & 1);
        assert_ok(fy_named_add(&l, fy_dtype_name(t), &x, &e), e);
        fy_tensor_free(&x);
    }
    assert_ok(fy_npz_write(&l, TMP "1.npz", &e), e);
    assert_ok(fy_npz_write(&l, TMP "2.npz", &e), e);
    assert_ok(fy_file_open(&a, TMP "1.npz", &e), e);
    assert_ok(fy_file_open(&b, TMP "2.npz", &e), e);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.at, b.at, a.n);
    fy_file_close(&a); fy_file_close(&b);
    assert_ok(fy_npz_read(&back, TMP "1.npz", &e), e);
    assert_int_equal(back.n, l.n);
    for (int64_t i = 0; i < l.n; i++) {
        fy_tensor *x = &l.at[i].t, *y = fy_named_find(&back, l.at[i].name);
        assert_non_null(y);
        assert_true(fy_same_dims(x, y));
        for (int k = 0; k < 6; k++) assert_true(fy_get_f64(x, k) == fy_get_f64(y, k));
    }
    fy_named_free(&l);
    fy_named_free(&back);
}

static void write_file(const char *path, const unsigned char *p, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

/* Truncated anywhere, any byte changed: a status, never a crash; memory is freed. */
static void damaged(void **state) {
    ferry_error e; fy_map_file f;
    (void)state;
    const char *arrays[] = {DIR "f4.npy", DIR "text.npy", DIR "v2.npy"};
    for (int k = 0; k < 3; k++) {
        assert_ok(fy_file_open(&f, arrays[k], &e), e);
        size_t before = fy_os_bytes();
        for (size_t n = 0; n <= f.n; n++) {
            unsigned char *copy = malloc(n ? n : 1);
            fy_tensor t;
            memcpy(copy, f.at, n);
            fy_status s = fy_npy_read_memory(&t, copy, n, "x", &e);
            assert_true((s == FY_OK) == (n == f.n));
            if (!s) fy_tensor_free(&t);
            static const unsigned char values[] = {0, 1, 9, 39, 40, 41, 48, 57, 127, 128, 255};
            for (size_t v = 0; n && n == f.n && v < sizeof values; v++)
                for (size_t i = 0; i < n && i < 140; i++) {
                    unsigned char was = copy[i];
                    copy[i] = values[v];
                    if (fy_npy_read_memory(&t, copy, n, "x", &e) == FY_OK) fy_tensor_free(&t);
                    copy[i] = was;
                }
            free(copy);
        }
        assert_int_equal(fy_os_bytes(), before);
        fy_file_close(&f);
    }
    assert_ok(fy_file_open(&f, DIR "deflated.npz", &e), e);
    unsigned char *copy = malloc(f.n);
    for (size_t i = 0; i < f.n; i += 3) {
        fy_named_list l;
        memcpy(copy, f.at, f.n);
        copy[i] ^= 0xff;
        write_file(TMP "bad.npz", copy, f.n);
        if (fy_npz_read(&l, TMP "bad.npz", &e) == FY_OK) fy_named_free(&l);
        write_file(TMP "bad.npz", f.at, i);
        assert_true(fy_npz_read(&l, TMP "bad.npz", &e) != FY_OK);
    }
    free(copy);
    fy_file_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_arrays), cmocka_unit_test(reads_strings), cmocka_unit_test(reads_archives),
                                       cmocka_unit_test(round_trip), cmocka_unit_test(damaged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
