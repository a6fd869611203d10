/* SPDX-License-Identifier: Apache-2.0
 * test_zip.c - the zip reader on archives built here byte by byte, and on each way in which they can lie. */
#include "test.h"

#include "base/buf.h"
#include "base/os.h"
#include "formats/zip.h"

#include <zlib.h>

typedef struct file { const char *name; const void *data; size_t n; bool deflate, later, zip64; } file;
typedef struct at { size_t local[8], central[8], end, dir; } at;

static void u(fy_buf *b, uint64_t v, int bytes) { for (int i = 0; i < bytes; i++) fy_buf_char(b, (char)(v >> 8 * i & 255)); }

/* Data descriptors (`later`) and 64-bit fields as PyTorch's and Python's writers make them. */
static void build(fy_buf *b, const file *f, int n, bool zip64_end, at *a) {
    uint32_t crc[8];
    size_t packed[8];
    unsigned char tmp[8192];
    for (int i = 0; i < n; i++) {
        z_stream s = {0};
        crc[i] = (uint32_t)crc32(0, f[i].data, (unsigned)f[i].n);
        packed[i] = f[i].n;
        const void *body = f[i].data;
        if (f[i].deflate) {
            unsigned char copy[4096];
            memcpy(copy, f[i].data, f[i].n);
            assert_int_equal(deflateInit2(&s, 9, Z_DEFLATED, -15, 8, 0), Z_OK);
            s.next_in = copy; s.avail_in = (unsigned)f[i].n; s.next_out = tmp; s.avail_out = sizeof tmp;
            assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
            packed[i] = s.total_out;
            deflateEnd(&s);
            body = tmp;
        }
        a->local[i] = b->n;
        u(b, 0x04034b50, 4); u(b, 45, 2); u(b, f[i].later ? 0x0808 : 0, 2); u(b, f[i].deflate ? 8 : 0, 2); u(b, 0, 4);
        u(b, f[i].later ? 0 : crc[i], 4);
        u(b, f[i].later ? 0 : f[i].zip64 ? 0xFFFFFFFFu : packed[i], 4);
        u(b, f[i].later ? 0 : f[i].zip64 ? 0xFFFFFFFFu : f[i].n, 4);
        u(b, strlen(f[i].name), 2); u(b, f[i].zip64 ? 20 : 6, 2);
        fy_buf_str(b, f[i].name);
        if (f[i].zip64) { u(b, 1, 2); u(b, 16, 2); u(b, f[i].n, 8); u(b, packed[i], 8); }
        else { u(b, 0x4246, 2); u(b, 2, 2); u(b, 0, 2); }
        fy_buf_add(b, body, packed[i]);
        if (f[i].later) { u(b, 0x08074b50, 4); u(b, crc[i], 4); u(b, packed[i], 4); u(b, f[i].n, 4); }
    }
    a->dir = b->n;
    for (int i = 0; i < n; i++) {
        a->central[i] = b->n;
        u(b, 0x02014b50, 4);
        u(b, 45, 2);
        u(b, 45, 2);
        u(b, f[i].later ? 0x0808 : 0, 2);
        u(b, f[i].deflate ? 8 : 0, 2);
        u(b, 0, 4);
        u(b, crc[i], 4);
        u(b, f[i].zip64 ? 0xFFFFFFFFu : packed[i], 4);
        u(b, f[i].zip64 ? 0xFFFFFFFFu : f[i].n, 4);
        u(b, strlen(f[i].name), 2);
        u(b, f[i].zip64 ? 28 : 0, 2);
        u(b, 0, 2); u(b, 0, 2); u(b, 0, 2); u(b, 0, 4); u(b, f[i].zip64 ? 0xFFFFFFFFu : a->local[i], 4);
        fy_buf_str(b, f[i].name);
        if (f[i].zip64) { u(b, 1, 2); u(b, 24, 2); u(b, f[i].n, 8); u(b, packed[i], 8); u(b, a->local[i], 8); }
    }
    size_t bytes = b->n - a->dir, at64 = b->n;
    if (zip64_end) {
        u(b, 0x06064b50, 4); u(b, 44, 8); u(b, 45, 2); u(b, 45, 2); u(b, 0, 8); u(b, n, 8); u(b, n, 8); u(b, bytes, 8); u(b, a->dir, 8);
        u(b, 0x07064b50, 4); u(b, 0, 4); u(b, at64, 8); u(b, 1, 4);
    }
    a->end = b->n;
    u(b, 0x06054b50, 4);
    u(b, 0, 4);
    u(b, zip64_end ? 0xFFFF : n, 2);
    u(b, zip64_end ? 0xFFFF : n, 2);
    u(b, zip64_end ? 0xFFFFFFFFu : bytes, 4);
    u(b, zip64_end ? 0xFFFFFFFFu : a->dir, 4); u(b, 0, 2);
    assert_false(b->oom);
}

static const file three[] = {{"a/x.json", "hello hello hello hello", 23, false, true, false},
                             {"b", "0123456789", 10, false, false, true},
                             {"c", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 40, true, false, false}};

static fy_status open(const fy_buf *b) {
    fy_zip z;
    ferry_error e = {0};
    fy_status s = fy_zip_open(&z, b->at, b->n, &e);
    if (!s) fy_zip_close(&z);
    return s;
}

static void reads(void **state) {
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        fy_buf b = {0};
        at a;
        fy_zip z;
        fy_arena arena = {0};
        ferry_error e = {0};
        build(&b, three, 3, zip64, &a);
        assert_ok(fy_zip_open(&z, b.at, b.n, &e), e);
        assert_int_equal(z.count, 3);
        for (int i = 0; i < 3; i++) {
            const fy_zip_entry *f = fy_zip_find(&z, three[i].name);
            const unsigned char *p;
            assert_non_null(f);
            assert_int_equal(f->size, three[i].n);
            assert_ok(fy_zip_read(&z, f, &arena, 1000, &p, &e), e);
            assert_memory_equal(p, three[i].data, three[i].n);
            assert_true(fy_zip_crc_ok(f, p));
            assert_int_equal(fy_zip_stored(&z, f, &p, &e), three[i].deflate ? FY_E_UNSUPPORTED : FY_OK);
            assert_fails(fy_zip_read(&z, f, &arena, 9, &p, &e), LIMIT);
        }
        assert_null(fy_zip_find(&z, "d"));
        fy_zip_close(&z);
        fy_arena_free(&arena);
        fy_buf_free(&b);
    }
}

/* Each changes one thing that makes header, directory and file contradict each other. */
static void refuses_lies(void **state) {
    (void)state;
    typedef struct lie { int where; size_t off; int bytes; uint64_t v; fy_code code; } lie;     /* where: 0-2 local, 3-5 central, 6 end */
    const lie lies[] = {
        {0, 26, 2, 7, FY_E_CORRUPT},          {0, 30, 1, 'z', FY_E_CORRUPT},       {0, 8, 2, 8, FY_E_CORRUPT},
        {0, 6, 2, 0x0809, FY_E_CORRUPT},      {0, 0, 4, 0, FY_E_CORRUPT},          {1, 18, 4, 11, FY_E_CORRUPT},
        {2, 22, 4, 41, FY_E_CORRUPT},         {3, 8, 2, 0x0809, FY_E_UNSUPPORTED}, {3, 10, 2, 9, FY_E_UNSUPPORTED},
        {3, 20, 4, 24, FY_E_CORRUPT},         {3, 24, 4, 0, FY_E_CORRUPT},         {3, 28, 2, 0, FY_E_CORRUPT},
        {3, 28, 2, 65535, FY_E_CORRUPT},      {3, 42, 4, 1, FY_E_CORRUPT},         {3, 42, 4, 0x7FFFFFFF, FY_E_CORRUPT},
        {5, 20, 4, 0x7FFFFFFF, FY_E_CORRUPT}, {3, 46, 1, 0, FY_E_CORRUPT},         {6, 8, 2, 2, FY_E_UNSUPPORTED},
        {6, 12, 4, 1, FY_E_CORRUPT},          {6, 16, 4, 1, FY_E_CORRUPT},         {6, 20, 2, 1, FY_E_TRUNCATED},
        {6, 4, 2, 1, FY_E_UNSUPPORTED},
    };
    for (int i = 0; i < FY_COUNT(lies); i++) {
        fy_buf b = {0};
        at a;
        build(&b, three, 3, false, &a);
        size_t p = (lies[i].where < 3 ? a.local[lies[i].where] : lies[i].where < 6 ? a.central[lies[i].where - 3] : a.end) + lies[i].off;
        for (int k = 0; k < lies[i].bytes; k++) b.at[p + (size_t)k] = (char)(lies[i].v >> 8 * k & 255);
        fy_status s = open(&b);
        if (s != (fy_status)lies[i].code) fail_msg("lie %d gives %s", i, fy_code_get(s)->name);
        fy_buf_free(&b);
    }
}

static void refuses_duplicates_and_overlap(void **state) {
    (void)state;
    const file twice[] = { { "a", "x", 1, false, false, false }, { "a", "y", 1, false, false, false } };
    fy_buf b = {0};
    at a;
    build(&b, twice, 2, false, &a);
    assert_fails(open(&b), CORRUPT);
    b.n = 0;
    /* a second directory entry that points at the first one's data: quine-like growth */
    const file two[] = { { "a", "xxxx", 4, false, false, false }, { "b", "yyyy", 4, false, false, false } };
    build(&b, two, 2, false, &a);
    for (int i = 0; i < 4; i++) b.at[a.central[1] + 42 + (size_t)i] = b.at[a.central[0] + 42 + (size_t)i];
    b.at[a.central[1] + 46] = 'a';
    assert_fails(open(&b), CORRUPT);
    b.n = 0;
    fy_buf_str(&b, "junk in front");
    at shifted;
    build(&b, two, 2, false, &shifted);
    assert_fails(open(&b), FORMAT);
    fy_buf_free(&b);
}

static void a_lie_about_growth_takes_no_memory(void **state) {
    (void)state;
    fy_buf b = {0};
    at a;
    build(&b, three, 3, false, &a);
    for (int i = 0; i < 4; i++) b.at[a.central[2] + 24 + (size_t)i] = b.at[a.local[2] + 22 + (size_t)i] = i < 3 ? (char)0xFF : 0x7E;
    fy_zip z;
    fy_arena arena = {0};
    ferry_error e = {0};
    const unsigned char *p;
    assert_ok(fy_zip_open(&z, b.at, b.n, &e), e);
    size_t before = fy_os_peak_bytes(true);
    assert_fails(fy_zip_read(&z, fy_zip_find(&z, "c"), &arena, (uint64_t)1 << 40, &p, &e), CORRUPT);
    assert_true(fy_os_peak_bytes(false) < before + 100000);
    fy_zip_close(&z);
    fy_arena_free(&arena);
    fy_buf_free(&b);
}

/* Every prefix is refused; every flipped bit is refused or leaves ranges inside the file. */
static void damage(void **state) {
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        fy_buf b = {0};
        at a;
        build(&b, three, 3, zip64, &a);
        char *exact = fy_malloc(b.n, 1);
        for (size_t n = 0; n < b.n; n++) {
            fy_buf cut = { .at = exact, .n = n };
            memcpy(exact, b.at, n);
            assert_int_not_equal(open(&cut), FY_OK);
        }
        for (size_t i = 0; i < 8 * b.n; i++) {
            fy_zip z;
            fy_arena arena = {0};
            ferry_error e = {0};
            memcpy(exact, b.at, b.n);
            exact[i / 8] ^= (char)(1 << i % 8);
            if (fy_zip_open(&z, exact, b.n, &e)) continue;
            for (int64_t k = 0; k < z.count; k++) {
                const unsigned char *p;
                if (fy_zip_read(&z, &z.entry[k], &arena, 100000, &p, &e)) continue;
                unsigned sum = 0;
                for (uint64_t q = 0; q < z.entry[k].size; q++) sum += p[q];
                assert_true(sum < 1u << 30);
            }
            fy_zip_close(&z);
            fy_arena_free(&arena);
        }
        fy_free(exact);
        fy_buf_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads), cmocka_unit_test(refuses_lies),
                                       cmocka_unit_test(refuses_duplicates_and_overlap),
                                       cmocka_unit_test(a_lie_about_growth_takes_no_memory), cmocka_unit_test(damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
