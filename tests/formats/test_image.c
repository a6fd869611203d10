/* SPDX-License-Identifier: Apache-2.0
 * test_image.c - images of every format against the bytes that Pillow makes of them; cut, damaged and lying files; no memory. */
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "formats/image.h"
#include "formats/npz.h"

#define IMAGES FERRY_FIXTURES "/image/"

static fy_named_list known;

static int load_known(void **state) {
    ferry_error e;
    (void)state;
    return fy_npz_read(&known, IMAGES "formats.npz", &e);
}
static int drop_known(void **state) {
    (void)state;
    fy_named_free(&known);
    return 0;
}

/* A build may lack a library: then the error says which. */
static bool lacking(const char *file, fy_status s, const ferry_error *e) {
    if (s != FY_E_UNSUPPORTED) return false;
    if (!strstr(e->text, "-dev")) fail_msg("%s: %s", file, e->text);
    return true;
}

static void same(const char *key, const char *file, const fy_tensor *want, int most) {
    ferry_error e = {0};
    fy_image im;
    char path[600];
    bool gray = want->dim[2] == 1;
    snprintf(path, sizeof path, "%s%s", IMAGES, file);
    fy_status s = fy_image_read(&im, path, gray, &e);
    if (lacking(file, s, &e)) return;
    if (s) fail_msg("%s: error[%s] %s", key, e.code, e.text);
    if (im.height != want->dim[0] || im.width != want->dim[1] || im.channels != want->dim[2]) fail_msg("%s: %d x %d x %d", key, im.height, im.width, im.channels);
    const unsigned char *w = want->data;
    for (int64_t i = 0; i < fy_count(want); i++)
        if (abs(im.pixel[i] - w[i]) > most) fail_msg("%s: byte %lld is %d, not %d", key, (long long)i, im.pixel[i], w[i]);
    fy_image_free(&im);
}

/* Lossy formats may be one or two steps off: libraries round differently. */
static void test_known(void **state) {
    (void)state;
    assert_true(known.n >= 35);
    for (int64_t i = 0; i < known.n; i++) {
        char file[200];
        const char *key = known.at[i].name;
        snprintf(file, sizeof file, "%.*s", (int)strcspn(key, " "), key);
        bool lossy = strstr(key, "jpeg") || strstr(key, "lossy") || strstr(key, "cmyk.jpg");
        same(key, file, &known.at[i].t, lossy ? 2 : 0);
    }
}

/* ---- from memory --------------------------------------------------------------------------------------------------- */

static fy_status decode(const void *bytes, size_t n, ferry_error *e) {
    fy_image im;
    fy_status s = fy_image_decode(&im, bytes, n, "it", false, e);
    if (!s) fy_image_free(&im);
    return s;
}
#define TEXT(s) decode((s), sizeof(s) - 1, &e)

static void test_words(void **state) {
    ferry_error e = {0};
    char text[200];
    (void)state;
    assert_fails(TEXT(""), FORMAT);
    assert_fails(TEXT("GIF89a"), FORMAT);
    assert_fails(TEXT("P8 1 1 255 x"), FORMAT);
    assert_fails(TEXT("\x89PNG\r\n\x1a\n"), TRUNCATED);
    assert_fails(TEXT("P5 1 1 255\n"), TRUNCATED);
    assert_fails(TEXT("P5 1 1 0\nx"), CORRUPT);
    assert_fails(TEXT("P5 1 1 65536\nx"), CORRUPT);
    assert_fails(TEXT("P5 -1 1 255\nx"), CORRUPT);
    assert_fails(TEXT("P5 99999999999 1 255\nx"), CORRUPT);
    assert_fails(TEXT("P5 99999 1 255\nx"), LIMIT);
    assert_fails(TEXT("P5 0 1 255\nx"), LIMIT);
    assert_fails(TEXT("P3 1 1 255 1 2"), TRUNCATED);
    assert_fails(TEXT("P1 2 1 12"), CORRUPT);
    assert_fails(TEXT("P7\nWIDTH 1\n"), TRUNCATED);
    assert_fails(TEXT("P7\nWIDTH 1\nHEIGHT 1\nDEPTH 5\nMAXVAL 255\nENDHDR\nabcde"), CORRUPT);
    assert_ok(TEXT("P7\nWIDTH 1\nHEIGHT 1\nDEPTH 2\nMAXVAL 255\nENDHDR\nab"), e);
    assert_fails(TEXT("BM"), FORMAT);
    assert_fails(TEXT("BMxxxxxxxxxxxxxxxxxxxxxxxxx"), CORRUPT);
    assert_int_not_equal(TEXT("II*\0\xff\xff\xff\xff"), FY_OK);
    assert_int_not_equal(TEXT("RIFF\4\0\0\0WEBPVP8 "), FY_OK);
    assert_int_not_equal(TEXT("\xff\x4f\xff\x51\0\x29"), FY_OK);
    fy_image_formats(text, sizeof text, false);
    assert_non_null(strstr(text, "PNG, JPEG, BMP"));
    fy_image_formats(text, 8, false);
    assert_true(strlen(text) < 8);
}

/* Sizes that a header claims without the data behind them: refused before memory is taken. */
static void test_claims(void **state) {
    static const unsigned char bmp[54] = {'B', 'M', 0, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0, 0, 0x40, 0, 0, 0, 0x80, 0, 0, 1, 0, 24, 0};
    static const unsigned char siz[] = {0xff, 0x4f, 0xff, 0x51, 0, 47, 0, 0, 0, 0, 0x20, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 7, 1, 1, 7, 1, 1, 7, 1, 1, 0, 0, 0, 0, 0, 0};
    ferry_error e = {0};
    (void)state;
    fy_os_peak_bytes(true);
    size_t before = fy_os_bytes();
    assert_fails(decode(bmp, sizeof bmp, &e), LIMIT);
    unsigned char tall[54];
    memcpy(tall, bmp, sizeof tall);
    tall[19] = 0;
    tall[18] = 1;                                            /* 1 x INT32_MIN, top down */
    tall[22] = tall[23] = tall[24] = 0;
    tall[25] = 0x80;
    assert_fails(decode(tall, sizeof tall, &e), LIMIT);
    fy_status s = decode(siz, sizeof siz, &e);               /* 2^26 tiles of one pixel */
    if (!lacking("siz", s, &e)) assert_int_equal(s, FY_E_LIMIT);
    assert_non_null(strstr(e.text, s == FY_E_LIMIT ? "tiles" : "-dev"));
    unsigned char coded[sizeof siz + 40] = {0};
    memcpy(coded, siz, sizeof siz);
    coded[26] = coded[30] = 0x7f;                            /* one tile */
    static const unsigned char cod[] = {0xff, 0x52, 0, 13, 1, 0, 0xff, 0xff, 0, 0, 4, 4, 0, 0, 0, 0xff, 0x90, 0, 10};       /* 65,535 layers, precincts of one pixel */
    memcpy(coded + 51, cod, sizeof cod);
    s = decode(coded, sizeof coded, &e);
    if (!lacking("cod", s, &e)) assert_int_equal(s, FY_E_LIMIT);
    assert_non_null(strstr(e.text, s == FY_E_LIMIT ? "packets" : "-dev"));
    coded[52] = 0x59;                                        /* a marker that nobody knows */
    s = decode(coded, sizeof coded, &e);
    if (!lacking("unknown", s, &e)) assert_int_equal(s, FY_E_CORRUPT);
    assert_true(fy_os_peak_bytes(false) < before + 4096);
}

/* ---- cut and damaged files ----------------------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252u;
static uint64_t next(uint64_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed * 0x2545F4914F6CDD1DULL >> 16) % n;
}

/* Whatever the bytes are, a status comes back, nothing is printed, nothing leaks. */
static void test_damage(void **state) {
    FILE *heard = tmpfile();
    int saved = dup(2);
    size_t before = fy_os_bytes();
    (void)state;
    assert_true(heard && saved >= 0);
    fflush(stderr);
    dup2(fileno(heard), 2);
    int64_t good = 0, bad = 0;
    for (int64_t i = 0; i < known.n; i++) {
        char path[600];
        fy_map_file f;
        ferry_error e = {0};
        snprintf(path, sizeof path, "%s%.*s", IMAGES, (int)strcspn(known.at[i].name, " "), known.at[i].name);
        assert_ok(fy_file_open(&f, path, &e), e);
        unsigned char *copy = malloc(f.n + 1);
        for (size_t n = 0; n < f.n; n += 1 + f.n / 200) {    /* an exact copy of the beginning: reads past its end would show */
            unsigned char *cut = malloc(n + 1);
            memcpy(cut, f.at, n);
            fy_status s = decode(cut, n, &e);
            if (s) bad++;
            else good++;
            if (s && !e.text[0]) fail_msg("%s cut to %zu: no words", known.at[i].name, n);
            free(cut);
        }
        for (int k = 0; k < 150; k++) {
            memcpy(copy, f.at, f.n);
            for (uint64_t m = 1 + next(4); m; m--) copy[next(next(2) ? f.n : f.n < 64 ? f.n : 64)] = (unsigned char)next(256);
            fy_status s = decode(copy, f.n, &e);
            if (s) bad++;
            else good++;
            if (s == FY_E_INTERNAL) fail_msg("%s: %s", known.at[i].name, e.text);
        }
        free(copy);
        fy_file_close(&f);
    }
    fflush(stderr);
    dup2(saved, 2);
    off_t printed = lseek(fileno(heard), 0, SEEK_END);
    close(saved);
    fclose(heard);
    assert_int_equal(printed, 0);
    assert_int_equal(fy_os_bytes(), before);
    assert_true(good > 100 && bad > 1000);
}

/* Every allocation of ours fails in turn, libpng's among them. */
static void test_no_memory(void **state) {
    static const char *const file[] = {"rgb.png", "b24.bmp", "gray.pgm", "raw.tiff", "lossless.webp", "anim.webp", "rgb.jp2", "rgb.jpg"};
    (void)state;
    for (int i = 0; i < FY_COUNT(file); i++) {
        char path[600];
        fy_map_file f;
        ferry_error e = {0};
        fy_tensor t;
        snprintf(path, sizeof path, "%s%s", IMAGES, file[i]);
        assert_ok(fy_file_open(&f, path, &e), e);
        size_t before = fy_os_bytes();
        for (int64_t k = 0;; k++) {
            assert_true(k < 100);
            fy_os_fail_at(k, true);
            fy_status s = fy_image_decode_tensor(&t, f.at, f.n, false, 1 << 20, &e);
            fy_os_fail_at(-1, false);
            if (!s) fy_tensor_free(&t);
            if (fy_os_bytes() != before) fail_msg("%s: a leak at %lld", file[i], (long long)k);
            if (!s || lacking(file[i], s, &e)) break;
            if (s != FY_E_NOMEM) fail_msg("%s: error[%s] %s at %lld", file[i], e.code, e.text, (long long)k);
        }
        fy_status s = fy_image_decode_tensor(&t, f.at, f.n, false, 100, &e);
        if (!lacking(file[i], s, &e)) assert_int_equal(s, FY_E_LIMIT);
        fy_file_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_words), cmocka_unit_test(test_claims), cmocka_unit_test(test_damage),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, load_known, drop_known);
}
