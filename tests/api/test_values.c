/* SPDX-License-Identifier: Apache-2.0
 * test_values.c - named tensors: set, get, read, write, random, conversion that loses nothing; images against Pillow and torchvision. */
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "ferry/tools.h"

#define IMAGES FERRY_FIXTURES "/image/"

static ferry_tensor view(int32_t dtype, const void *data, int64_t n) {
    ferry_tensor t = {.bytes = ferry_dtype_bytes(dtype, n), .dtype = dtype, .rank = 1, .dim = {n}};
    memcpy(&t.data, &data, sizeof data);                     /* ferry only reads it */
    return t;
}

static ferry_port port1(const char *name, int32_t dtype) {
    static const int64_t any[1] = {-1};
    static const char *const sym[1] = {"n"};
    return (ferry_port){.name = name, .dtype = dtype, .rank = 1, .dim = any, .sym = sym};
}

static void test_set_get(void **state) {
    ferry_error e;
    ferry_values *v = ferry_values_new();
    float x[3] = {1, 2, 3};
    ferry_tensor t = view(FERRY_FLOAT, x, 3), got;
    (void)state;
    assert_int_equal(ferry_values_count(v), 0);
    assert_int_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
    x[0] = 9;                                                /* it was copied */
    assert_int_equal(ferry_values_get(v, 0, &got, &e), FERRY_OK);
    assert_true(((float *)got.data)[0] == 1 && got.rank == 1 && got.dim[0] == 3 && got.bytes == 12);
    assert_int_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);        /* replaces */
    assert_int_equal(ferry_values_count(v), 1);
    assert_int_equal(ferry_values_find(v, "x"), 0);
    assert_int_equal(ferry_values_find(v, "y"), -1);
    assert_null(ferry_values_name(v, 1));
    assert_int_equal(ferry_values_get(v, 1, &got, &e), FERRY_USAGE);
    assert_string_equal(e.code, "NAME");
    ferry_values_free(v);
    ferry_values_free(NULL);
}

static void test_set_refuses(void **state) {
    ferry_error e;
    ferry_values *v = ferry_values_new();
    float x[4] = {1, 2, 3, 4};
    ferry_tensor t = view(FERRY_FLOAT, x, 3);
    (void)state;
    t.bytes = 11;
    assert_int_not_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
    t = view(FERRY_FLOAT, NULL, 3);
    assert_int_not_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
    t = view(FERRY_FLOAT, x, 3);
    t.dim[0] = -3;
    assert_int_not_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
    t = view(FERRY_FLOAT, x, 3);
    t.rank = 17;
    assert_int_not_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
    t = view(99, x, 3);
    assert_int_not_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
    t = view(FERRY_STRING, x, 1);
    assert_int_not_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
    t = view(FERRY_FLOAT, (const char *)x + 1, 3);
    assert_int_not_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
    t = view(FERRY_FLOAT, NULL, 0);
    assert_int_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
    ferry_values_free(v);
}

static void test_fit(void **state) {
    static const int64_t small[2] = {5, -7}, large[2] = {5, (int64_t)1 << 40}, negative[1] = {-1};
    static const uint64_t top[1] = {UINT64_MAX};
    static const double fine[2] = {0.1, -3}, huge[1] = {1e300}, infinite[1] = {HUGE_VAL};
    static const float single[1] = {70000};
    static const unsigned char yes[2] = {1, 0};
    static const struct { int32_t from; const void *data; int64_t n; int32_t to; const char *code; } table[] = {
        {FERRY_INT64, small, 2, FERRY_INT32, NULL}, {FERRY_INT64, small, 2, FERRY_INT8, NULL}, {FERRY_INT64, large, 2, FERRY_INT32, "VALUE"},
        {FERRY_INT64, negative, 1, FERRY_UINT64, "VALUE"}, {FERRY_UINT64, top, 1, FERRY_INT64, "VALUE"}, {FERRY_INT64, small, 2, FERRY_UINT8, "VALUE"},
        {FERRY_INT64, small, 2, FERRY_FLOAT, NULL}, {FERRY_DOUBLE, fine, 2, FERRY_FLOAT, NULL}, {FERRY_DOUBLE, fine, 2, FERRY_FLOAT16, NULL},
        {FERRY_DOUBLE, huge, 1, FERRY_FLOAT, "VALUE"}, {FERRY_DOUBLE, infinite, 1, FERRY_FLOAT, NULL}, {FERRY_FLOAT, single, 1, FERRY_FLOAT16, "VALUE"},
        {FERRY_FLOAT, single, 1, FERRY_DOUBLE, NULL}, {FERRY_DOUBLE, fine, 2, FERRY_INT64, "TYPE"}, {FERRY_BOOL, yes, 2, FERRY_INT64, NULL},
        {FERRY_BOOL, yes, 2, FERRY_FLOAT, NULL}, {FERRY_INT64, small, 2, FERRY_BOOL, "TYPE"}, {FERRY_INT64, small, 2, FERRY_INT64, NULL}};
    (void)state;
    for (int i = 0; i < (int)(sizeof table / sizeof *table); i++) {
        ferry_error e;
        ferry_values *v = ferry_values_new();
        ferry_tensor t = view(table[i].from, table[i].data, table[i].n), got;
        ferry_port p = port1("x", table[i].to);
        assert_int_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
        int kind = ferry_values_fit(v, &p, &e);
        if ((kind == 0) != !table[i].code || (kind && strcmp(e.code, table[i].code))) fail_msg("row %d: kind %d", i, kind);
        assert_int_equal(ferry_values_get(v, 0, &got, &e), FERRY_OK);
        assert_int_equal(got.dtype, kind ? table[i].from : table[i].to);          /* a refusal changes nothing */
        for (int64_t k = 0; !kind && k < table[i].n; k++)
            if (isfinite(ferry_tensor_at(&t, k))) assert_true(fabs(ferry_tensor_at(&got, k) - ferry_tensor_at(&t, k)) < 1e-4);
        ferry_port other = port1("y", table[i].to);
        assert_int_equal(ferry_values_fit(v, &other, &e), FERRY_USAGE);
        ferry_values_free(v);
    }
}

static void test_files(void **state) {
    ferry_error e;
    ferry_values *v = ferry_values_new(), *w = ferry_values_new();
    float x[3] = {1, 2, 3};
    int64_t n[2] = {7, -1};
    ferry_tensor t = view(FERRY_FLOAT, x, 3), u = view(FERRY_INT64, n, 2), got;
    (void)state;
    assert_int_equal(ferry_values_set(v, "x", &t, &e), FERRY_OK);
    assert_int_equal(ferry_values_set(v, "odd name/1", &u, &e), FERRY_OK);
    assert_int_equal(ferry_values_write(v, "values_test.npz", &e), FERRY_OK);
    assert_int_equal(ferry_values_read(w, "values_test.npz", "ignored", &e), FERRY_OK);
    unlink("values_test.npz");
    assert_int_equal(ferry_values_count(w), 2);
    assert_int_equal(ferry_values_get(w, (size_t)ferry_values_find(w, "odd name/1"), &got, &e), FERRY_OK);
    assert_int_equal(((int64_t *)got.data)[0], 7);
    assert_int_equal(ferry_values_read(w, FERRY_FIXTURES "/npz/f4.npy", "f", &e), FERRY_OK);
    assert_int_equal(ferry_values_read(w, FERRY_FIXTURES "/npz/fortran.npy", "g", &e), FERRY_OK);
    assert_int_equal(ferry_values_read(w, FERRY_FIXTURES "/onnx/tensor.pb", "p", &e), FERRY_OK);
    assert_int_equal(ferry_values_count(w), 5);
    assert_int_equal(ferry_values_read(w, FERRY_FIXTURES "/npz/object.npy", "o", &e), FERRY_BAD_MODEL);
    assert_int_equal(ferry_values_read(w, FERRY_FIXTURES "/npz/none.npy", "o", &e), FERRY_IO);
    assert_int_equal(ferry_values_read(w, FERRY_FIXTURES "/onnx/sequence.pb", "o", &e), FERRY_OK);
    assert_int_equal(ferry_value_kind(ferry_values_value(w, (size_t)ferry_values_find(w, "o"))), FERRY_SEQUENCE);
    assert_int_equal(ferry_values_get(w, (size_t)ferry_values_find(w, "o"), &got, &e), FERRY_BAD_MODEL);
    assert_string_equal(e.code, "TYPE");
    assert_int_equal(ferry_values_write(v, "no/such/folder/x.npz", &e), FERRY_IO);
    ferry_values_free(v);
    ferry_values_free(w);
}

static void test_random(void **state) {
    ferry_error e;
    ferry_option good[] = {{"sizes", "batch=2,seq=3"}, {"seed", "5"}};
    ferry_job job = {good, 2, NULL, NULL};
    ferry_model *m = ferry_open(FERRY_FIXTURES "/onnx/mlp.onnx", NULL, &e);
    ferry_values *v = ferry_values_new(), *w = ferry_values_new();
    ferry_tensor a, b;
    (void)state;
    assert_non_null(m);
    assert_int_equal(ferry_values_random(v, m, &job, &e), FERRY_OK);
    assert_int_equal(ferry_values_random(w, m, &job, &e), FERRY_OK);
    assert_int_equal(ferry_values_get(v, 0, &a, &e), FERRY_OK);
    assert_int_equal(ferry_values_get(w, 0, &b, &e), FERRY_OK);
    assert_true(a.rank == 3 && a.dim[0] == 2 && a.dim[1] == 7 && a.dim[2] == 3);
    assert_memory_equal(a.data, b.data, a.bytes);            /* the same seed, the same numbers */
    static const char *const bad[] = {"batch", "batch=", "batch=x", "=3", "batch=-1", "batch=2,seq=", "batch=99999999999999"};
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
        good[0].value = bad[i];
        ferry_values *u = ferry_values_new();
        if (ferry_values_random(u, m, &job, &e) != FERRY_USAGE) fail_msg("sizes=%s was taken", bad[i]);
        ferry_values_free(u);
    }
    ferry_values_free(v);
    ferry_values_free(w);
    ferry_close(m);
}

/* ---- images ------------------------------------------------------------------------------------------------------- */

typedef struct oracle { ferry_values *known; } oracle;

static int load_known(void **state) {
    ferry_error e;
    oracle *o = calloc(1, sizeof *o);
    o->known = ferry_values_new();
    *state = o;
    return ferry_values_read(o->known, IMAGES "known.npz", "", &e);
}

static int drop_known(void **state) {
    oracle *o = *state;
    ferry_values_free(o->known);
    free(o);
    return 0;
}

static ferry_port image_port(int32_t dtype, const int64_t *dim) {
    static const char *const sym[4] = {"a", "b", "c", "d"};
    return (ferry_port){.name = "image", .dtype = dtype, .rank = 4, .dim = dim, .sym = sym};
}

static int make(ferry_tensor *t, ferry_values *v, const ferry_port *p, const char *file, const ferry_option *o, size_t n, ferry_error *e) {
    char path[600];
    const char *paths[1] = {path};
    ferry_job job = {o, n, NULL, NULL};
    snprintf(path, sizeof path, "%s%s", IMAGES, file);
    int kind = ferry_values_image(v, p, paths, 1, &job, e);
    return kind ? kind : ferry_values_get(v, (size_t)ferry_values_find(v, "image"), t, e);
}

/* Bytes as Pillow has them: decoding within one step for JPEG (libraries round differently), resizing within one step (which direction
 * comes first, with its rounding to bytes, has changed between versions of Pillow). */
static void test_bytes(void **state) {
    static const char *const file[] = {"rgb.png", "gray.png", "alpha.png", "palette.png", "rgb.jpg", "progressive.jpg", "gray.jpg"};
    static const char *const how[] = {"rgb", "11x17", "50x61"};
    static const int64_t nhwc[4] = {1, -1, -1, 3};
    const oracle *o = *state;
    ferry_port p = image_port(FERRY_UINT8, nhwc);
    for (int i = 0; i < (int)(sizeof file / sizeof *file); i++)
        for (int k = 0; k < 3; k++) {
            char key[64];
            ferry_error e = {0};
            ferry_tensor want, got;
            ferry_option resize[] = {{"resize", how[k]}};
            ferry_values *v = ferry_values_new();
            snprintf(key, sizeof key, "%s %s", file[i], how[k]);
            assert_int_equal(ferry_values_get(o->known, (size_t)ferry_values_find(o->known, key), &want, &e), FERRY_OK);
            if (make(&got, v, &p, file[i], resize, k ? 1 : 0, &e)) fail_msg("%s: %s", key, e.text);
            assert_true(got.rank == 4 && got.dim[1] == want.dim[0] && got.dim[2] == want.dim[1] && got.dim[3] == 3);
            int worst = 0, differ = 0;
            for (size_t j = 0; j < want.bytes; j++) {
                int d = abs(((unsigned char *)got.data)[j] - ((unsigned char *)want.data)[j]);
                worst = d > worst ? d : worst;
                differ += d > 0;
            }
            bool jpeg = strstr(file[i], ".jpg") != NULL;
            if (worst > (k || jpeg ? 1 : 0) || differ > (int)(want.bytes / 4)) fail_msg("%s: %d of %zu bytes differ, by up to %d", key, differ, want.bytes, worst);
            ferry_values_free(v);
        }
}

static void test_gray_and_crop(void **state) {
    static const int64_t nchw1[4] = {1, 1, -1, -1}, nhwc[4] = {1, -1, -1, 3};
    static const char *const file[] = {"rgb.png", "gray.png", "rgb.jpg"}, *const crop[] = {"9x12", "8x13", "10x11"};
    const oracle *o = *state;
    for (int i = 0; i < 6; i++) {
        char key[64];
        ferry_error e = {0};
        ferry_tensor want, got;
        ferry_option option[] = {{"crop", i < 3 ? "" : crop[i - 3]}};
        ferry_port p = image_port(FERRY_UINT8, i < 3 ? nchw1 : nhwc);
        ferry_values *v = ferry_values_new();
        snprintf(key, sizeof key, i < 3 ? "%s gray" : "rgb.png crop %s", i < 3 ? file[i] : crop[i - 3]);
        assert_int_equal(ferry_values_get(o->known, (size_t)ferry_values_find(o->known, key), &want, &e), FERRY_OK);
        if (make(&got, v, &p, i < 3 ? file[i] : "rgb.png", option, i < 3 ? 0 : 1, &e)) fail_msg("%s: %s", key, e.text);
        assert_int_equal(got.bytes, want.bytes);
        for (size_t j = 0; j < want.bytes; j++)
            if (abs(((unsigned char *)got.data)[j] - ((unsigned char *)want.data)[j]) > (strstr(key, ".jpg") ? 1 : 0)) fail_msg("%s: byte %zu differs", key, j);
        ferry_values_free(v);
    }
}

/* Resize(256), CenterCrop(224), ToTensor, Normalize: every seventh pixel was recorded. One step of a byte is 1 / 255 / 0.224. */
static void test_imagenet(void **state) {
    static const char *const file[] = {"rgb.png", "large.jpg"};
    static const int64_t nchw[4] = {-1, 3, 224, 224};
    const oracle *o = *state;
    ferry_option option[] = {{"preset", "imagenet"}};
    ferry_port p = image_port(FERRY_FLOAT, nchw);
    for (int i = 0; i < 2; i++) {
        char key[64];
        ferry_error e = {0};
        ferry_tensor want, got;
        ferry_values *v = ferry_values_new();
        snprintf(key, sizeof key, "%s imagenet", file[i]);
        assert_int_equal(ferry_values_get(o->known, (size_t)ferry_values_find(o->known, key), &want, &e), FERRY_OK);
        if (make(&got, v, &p, file[i], option, 1, &e)) fail_msg("%s: %s", key, e.text);
        int far = 0;
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < 32; y++)
                for (int x = 0; x < 32; x++) {
                    double a = ((float *)got.data)[(c * 224 + 7 * y) * 224 + 7 * x], b = ((float *)want.data)[(c * 32 + y) * 32 + x];
                    if (fabs(a - b) > 1e-5) far++;
                    if (fabs(a - b) > 2.1 / 255 / 0.224) fail_msg("%s: channel %d, %d, %d: %g, not %g", key, c, y, x, a, b);
                }
        assert_true(far < 3 * 32 * 32 / 10);
        ferry_values_free(v);
    }
}

static void test_image_options(void **state) {
    static const int64_t nchw[4] = {-1, 3, -1, -1}, five[4] = {1, 5, 8, 8}, three[4] = {3, 3, -1, -1};
    static const struct { ferry_option o; const char *part; } bad[] = {{{"resize", "0x4"}, "resize"}, {{"resize", "4x"}, "resize"}, {{"resize", "axb"}, "resize"}, {{"resize", "4x4x4"}, "resize"},
        {{"crop", "500x500"}, "crop"}, {{"mean", "1,2"}, "mean"}, {{"mean", "1x"}, "mean"}, {{"std", "0"}, "std"}, {{"layout", "chw"}, "layout"}, {{"preset", "coco"}, "preset"},
        {{"resize", "99999x99999"}, "limit"}};
    ferry_error e;
    ferry_tensor t;
    ferry_values *v = ferry_values_new();
    ferry_port p = image_port(FERRY_FLOAT, nchw);
    ferry_job none = {NULL, 0, NULL, NULL};
    (void)state;
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++)
        if (!make(&t, v, &p, "rgb.png", &bad[i].o, 1, &e) || !strstr(e.text, bad[i].part)) fail_msg("%s=%s: %s", bad[i].o.key, bad[i].o.value, e.text);
    assert_int_equal(ferry_values_count(v), 0);
    assert_int_equal(ferry_values_image(v, &p, NULL, 0, &none, &e), FERRY_USAGE);
    assert_int_equal(make(&t, v, &p, "missing.png", NULL, 0, &e), FERRY_IO);
    assert_int_equal(make(&t, v, &p, "known.npz", NULL, 0, &e), FERRY_BAD_MODEL);
    p = image_port(FERRY_INT64, nchw);
    assert_int_not_equal(make(&t, v, &p, "rgb.png", NULL, 0, &e), FERRY_OK);
    p = image_port(FERRY_FLOAT, five);
    assert_int_not_equal(make(&t, v, &p, "rgb.png", NULL, 0, &e), FERRY_OK);
    p = image_port(FERRY_FLOAT, three);
    assert_int_not_equal(make(&t, v, &p, "rgb.png", NULL, 0, &e), FERRY_OK);
    /* a batch of two sizes needs --resize */
    const char *paths[2] = {IMAGES "rgb.png", IMAGES "gray.png"};
    ferry_option resize[] = {{"resize", "8"}, {"mean", "0.5"}, {"std", "0.5,0.5,0.5"}};
    ferry_job job = {resize, 3, NULL, NULL};
    p = image_port(FERRY_FLOAT, nchw);
    assert_int_not_equal(ferry_values_image(v, &p, paths, 2, &none, &e), FERRY_OK);
    assert_int_equal(ferry_values_image(v, &p, paths, 2, &job, &e), FERRY_OK);
    assert_int_equal(ferry_values_get(v, 0, &t, &e), FERRY_OK);
    assert_true(t.dim[0] == 2 && t.dim[1] == 3 && t.dim[2] == 8 && t.dim[3] == 8);
    ferry_stats s;
    assert_int_equal(ferry_tensor_stats(&t, &s), FERRY_OK);
    assert_true(s.min >= -1 && s.max <= 1 && s.count == 2 * 3 * 64 && s.nan == 0);
    ferry_values_free(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_set_get), cmocka_unit_test(test_set_refuses), cmocka_unit_test(test_fit), cmocka_unit_test(test_files), cmocka_unit_test(test_random),
        cmocka_unit_test_setup_teardown(test_bytes, load_known, drop_known), cmocka_unit_test_setup_teardown(test_gray_and_crop, load_known, drop_known),
        cmocka_unit_test_setup_teardown(test_imagenet, load_known, drop_known), cmocka_unit_test(test_image_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
