/* SPDX-License-Identifier: Apache-2.0
 * test_onnx_hostile.c - damaged .onnx files, in process: every truncation and 16 extreme values at each byte of small seeds,
 * deep nesting, counts that lie. Each gives a status; nothing leaks; memory stays in proportion to the file. */
#include "test.h"

#include "formats/onnx.h"
#include "ops/ops.h"

#include <stdlib.h>

#define DIR FERRY_FIXTURES "/onnx/"

static fy_status try_it(const unsigned char *p, size_t n, ferry_error *e) {
    unsigned char *copy = malloc(n ? n : 1);             /* exactly as long, so that a read beyond the end shows */
    memcpy(copy, p, n);
    fy_model *m;
    fy_status s = fy_onnx_read_memory(&m, copy, n, "seed", fy_registry_builtin(), e);
    if (!s) {
        fy_buf out = {0};
        (void)!fy_onnx_write_memory(m, &out, e);
        fy_buf_free(&out);
        fy_model_free(m);
    } else assert_true(e->text[0] != 0);
    free(copy);
    return s;
}

static void seed(const char *name, size_t step) {
    static const unsigned char extreme[16] = {0, 1, 2, 3, 5, 8, 10, 0x12, 0x1a, 0x22, 0x40, 0x7f, 0x80, 0x81, 0xfe, 0xff};
    ferry_error e;
    fy_map_file f;
    char path[512];
    snprintf(path, sizeof path, DIR "%s", name);
    assert_ok(fy_file_open(&f, path, &e), e);
    size_t before = fy_os_bytes();
    fy_os_peak_bytes(true);
    int64_t ok = 0, tried = 0;
    for (size_t n = 0; n < f.n; n++) {
        ok += try_it(f.at, n, &e) == FY_OK;
        tried++;
    }
    unsigned char *copy = malloc(f.n);
    memcpy(copy, f.at, f.n);
    for (size_t i = 0; i < f.n; i += step)
        for (int k = 0; k < 16; k++) {
            copy[i] = extreme[k];
            ok += try_it(copy, f.n, &e) == FY_OK;
            tried++;
            copy[i] = f.at[i];
        }
    free(copy);
    assert_int_equal(fy_os_bytes(), before);
    assert_true(fy_os_peak_bytes(false) < before + 4000 * f.n + (8u << 20));
    print_message("%s: %lld damaged files, %lld still read\n", name, (long long)tried, (long long)ok);
    assert_true(ok < tried);
    fy_file_close(&f);
}

static void damaged_network(void **state) { (void)state; seed("mlp.onnx", 1); }
static void damaged_bodies(void **state) { (void)state; seed("control.onnx", 1); }
static void damaged_types(void **state) { (void)state; seed("types.onnx", 5); }
static void damaged_function(void **state) { (void)state; seed("function.onnx", 1); seed("sparse.onnx", 1); }

/* ---- made by hand ------------------------------------------------------------------------------------------------ */

typedef struct bytes { unsigned char at[1 << 20]; size_t n; } bytes;

static void wrap(bytes *b, int field) {                  /* b becomes field { b } */
    unsigned char head[12];
    size_t k = 0, n = b->n;
    head[k++] = (unsigned char)(field << 3 | 2);
    do { head[k++] = (unsigned char)((n & 127) | (n > 127 ? 128 : 0)); } while (n >>= 7);
    memmove(b->at + k, b->at, b->n);
    memcpy(b->at, head, k);
    b->n += k;
}

static void prepend(bytes *b, const char *p, size_t n) {
    memmove(b->at + n, b->at, b->n);
    memcpy(b->at, p, n);
    b->n += n;
}

static void deep(void **state) {
    ferry_error e;
    (void)state;
    bytes *b = calloc(1, sizeof *b);
    for (int depth = 10; depth < 2000; depth *= 6) {     /* graphs in graphs */
        b->n = 0;
        for (int i = 0; i < depth; i++) {
            wrap(b, 6);                                  /* AttributeProto.g */
            prepend(b, "\x0a\x01g\xa0\x01\x05", 6);      /* name "g", type GRAPH */
            wrap(b, 5);                                  /* NodeProto.attribute */
            prepend(b, "\x22\x02Op", 4);                 /* op_type */
            wrap(b, 1);                                  /* GraphProto.node */
        }
        wrap(b, 7);
        prepend(b, "\x08\x08", 2);
        fy_status s = try_it(b->at, b->n, &e);
        if (depth <= 60) assert_int_equal(s, FY_OK);
        else assert_int_equal(s, FY_E_LIMIT);
    }
    b->n = 0;
    for (int i = 0; i < 3000; i++) wrap(b, i & 1 ? 4 : 1);   /* a sequence of sequences ... as type of an input */
    wrap(b, 2);
    prepend(b, "\x0a\x01x", 3);
    wrap(b, 11);
    wrap(b, 7);
    prepend(b, "\x08\x08", 2);
    assert_int_equal(try_it(b->at, b->n, &e), FY_E_LIMIT);
    free(b);
}

/* An initialiser with the given dims, type and payload. */
static fy_status initialiser(const uint64_t *dims, int rank, int type, int field, size_t payload) {
    ferry_error e;
    static bytes b;
    b.n = 0;
    for (int i = 0; i < rank; i++) {
        uint64_t v = dims[i];
        b.at[b.n++] = 0x08;
        do { b.at[b.n++] = (unsigned char)((v & 127) | (v > 127 ? 128 : 0)); } while (v >>= 7);
    }
    b.at[b.n++] = 0x10; b.at[b.n++] = (unsigned char)type;
    b.at[b.n++] = 0x42; b.at[b.n++] = 1; b.at[b.n++] = 'w';
    b.at[b.n++] = (unsigned char)(field << 3 | 2);
    size_t n = payload;
    do { b.at[b.n++] = (unsigned char)((n & 127) | (n > 127 ? 128 : 0)); } while (n >>= 7);
    memset(b.at + b.n, 0, payload);
    b.n += payload;
    wrap(&b, 5);
    wrap(&b, 7);
    prepend(&b, "\x08\x08", 2);
    return try_it(b.at, b.n, &e);
}

static void lying_tensors(void **state) {
    (void)state;
    assert_int_equal(initialiser((uint64_t[]){2, 3}, 2, FERRY_FLOAT, 9, 24), FY_OK);
    static const size_t near[] = {0, 1, 5, 6, 7, 20, 23, 25, 48};
    for (int i = 0; i < FY_COUNT(near); i++) assert_int_equal(initialiser((uint64_t[]){2, 3}, 2, FERRY_FLOAT, 9, near[i]), FY_E_CORRUPT);
    static const uint64_t top[] = {1ull << 31, 1ull << 32, 1ull << 48, (1ull << 48) + 1, 1ull << 61, 1ull << 62, INT64_MAX, 1ull << 63, UINT64_MAX};
    for (int i = 0; i < FY_COUNT(top); i++)
        for (int k = 0; k < FY_COUNT(top); k++)
            for (int t = 0; t < 32; t++) {
                assert_true(initialiser((uint64_t[]){top[i], top[k]}, 2, t, 9, 16) != FY_OK);
                assert_true(initialiser((uint64_t[]){top[i], 1, 1}, 3, t, 9, 4) != FY_OK);
            }
    assert_int_equal(initialiser((uint64_t[]){0, INT64_MAX}, 2, FERRY_FLOAT, 9, 0), FY_OK);      /* no element */
    for (int t = 0; t < 32; t++)
        for (int field = 4; field <= 11; field++)
            for (size_t n = 0; n < 40; n++) {
                fy_status s = initialiser((uint64_t[]){4}, 1, t, field, n);
                if (n == 0) assert_true(s != FY_OK);
            }
    uint64_t many[20];
    for (int i = 0; i < 20; i++) many[i] = 1;
    assert_int_equal(initialiser(many, 16, FERRY_FLOAT, 9, 4), FY_OK);
    assert_int_equal(initialiser(many, 17, FERRY_FLOAT, 9, 4), FY_E_LIMIT);
}

static void graphs(void **state) {
    ferry_error e;
    (void)state;
    static const struct { const char *p; size_t n; fy_code want; } cases[] = {
        {"", 0, FY_E_FORMAT}, {"\x08\x08", 2, FY_E_FORMAT}, {"PK\3\4 not this", 13, FY_CODE_COUNT},
        {"\x08\x08\x3a\x0c\x0a\x0a\x0a\x01x\x12\x01y\x22\x02Op", 16, FY_E_GRAPH},                                           /* used, never made */
        {"\x08\x08\x3a\x12\x0a\x07\x12\x01y\x22\x02Op\x0a\x07\x12\x01y\x22\x02Op", 22, FY_E_GRAPH},                         /* made twice */
        {"\x08\x08\x3a\x05\x62\x03\x0a\x01q", 9, FY_E_GRAPH},                                                               /* output never made */
        {"\x08\x08\x3a\x05\x0a\x03\x12\x01y", 9, FY_E_GRAPH},                                                               /* no operator */
    };
    for (int i = 0; i < FY_COUNT(cases); i++) {
        fy_status s = try_it((const unsigned char *)cases[i].p, cases[i].n, &e);
        if (cases[i].want == FY_CODE_COUNT) assert_true(s != FY_OK);
        else { if (s != cases[i].want) print_error("case %d: %s\n", i, e.text); assert_int_equal(s, cases[i].want); }
    }
    assert_int_equal(try_it((const unsigned char *)cases[3].p, cases[3].n, &e), FY_E_GRAPH);
    assert_non_null(strstr(e.text, "seed: graph.node[0].input[0], byte "));
    assert_non_null(strstr(e.text, "\"x\" is used before it is made"));
}

/* Each allocation fails in turn: NOMEM, nothing leaks. */
static void no_memory(void **state) {
    static const char *const files[] = {"mlp.onnx", "control.onnx", "function.onnx", "sparse.onnx", "sequence.onnx"};
    ferry_error e;
    (void)state;
    (void)fy_registry_builtin();
    for (int f = 0; f < FY_COUNT(files); f++) {
        char path[512];
        snprintf(path, sizeof path, DIR "%s", files[f]);
        size_t before = fy_os_bytes();
        for (int64_t k = 0; k < 100000; k++) {
            fy_model *m;
            fy_os_fail_at(k, false);
            fy_status s = fy_onnx_read(&m, path, fy_registry_builtin(), &e);
            bool reached = fy_os_calls() > k;
            fy_os_fail_at(-1, false);
            if (!s) fy_model_free(m);
            assert_int_equal(fy_os_bytes(), before);
            if (!reached) { assert_int_equal(s, FY_OK); break; }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(damaged_network), cmocka_unit_test(damaged_bodies), cmocka_unit_test(damaged_types), cmocka_unit_test(damaged_function),
                                       cmocka_unit_test(deep), cmocka_unit_test(lying_tensors), cmocka_unit_test(graphs), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
