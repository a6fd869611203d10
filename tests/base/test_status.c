/* SPDX-License-Identifier: Apache-2.0
 * test_status.c - errors, arenas, buffers, logs, knobs. */
#include "test.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/cpu.h"
#include "base/knobs.h"
#include "base/log.h"
#include "base/os.h"

static fy_status inner(ferry_error *e, int rank) {
    FY_NEED(e, rank == 4, SHAPE, "rank is %d", rank);
    return FY_OK;
}

static void error_carries_code_text_help_frames(void **state) {
    (void)state;
    ferry_error e;
    memset(&e, 0x5A, sizeof e);                        /* never initialised by its owner */
    fy_status s = inner(&e, 3);
    assert_int_equal(s, FY_E_SHAPE);
    assert_string_equal(e.text, "rank is 3");
    assert_string_equal(e.code, "SHAPE");
    assert_int_equal(e.kind, FERRY_BAD_MODEL);
    assert_string_equal(e.help, "");
    assert_int_equal(e.nframes, 0);
    assert_int_equal(fy_help(&e, s, "do %s", "this"), FY_E_SHAPE);
    for (int i = 0; i < 12; i++) assert_int_equal(fy_frame(&e, s, "node %d", i), FY_E_SHAPE);
    assert_int_equal(e.nframes, FERRY_FRAMES);
    assert_string_equal(e.frame[7], "node 7");
    assert_string_equal(e.help, "do this");
    assert_int_equal(inner(&e, 2), FY_E_SHAPE);        /* a new failure forgets the old frames */
    assert_int_equal(e.nframes, 0);
    assert_string_equal(e.help, "");
    assert_int_equal(fy_frame(&e, FY_OK, "x"), FY_OK);
    assert_int_equal(e.nframes, 0);
    assert_int_equal(inner(NULL, 3), FY_E_SHAPE);
    assert_int_equal(fy_frame(NULL, FY_E_SHAPE, "x"), FY_E_SHAPE);
}

static void long_texts_are_cut_between_characters(void **state) {
    (void)state;
    ferry_error e;
    char text[1200];
    for (size_t pad = 0; pad < 4; pad++) {
        memset(text, 'a', pad);
        for (size_t i = pad; i + 3 < sizeof text; i += 3) memcpy(text + i, "\xE2\x82\xAC", 4);
        (void)fy_fail(&e, FY_E_NAME, "%s", text);
        size_t n = strlen(e.text);
        assert_true(n < sizeof e.text && n + 3 >= sizeof e.text - 1);
        assert_int_equal((n - pad) % 3, 0);
        assert_memory_equal(e.text, text, n);
    }
    (void)fy_fail(&e, FY_E_NAME, "%s", "once");
    (void)fy_fail(&e, FY_E_NAME, "%s, twice", e.text); /* an argument that lies in the error itself */
    assert_string_equal(e.text, "once, twice");
}

static void codes_are_found_by_name(void **state) {
    (void)state;
    for (int i = 1; i < FY_CODE_COUNT; i++) {
        const fy_code_info *c = fy_code_get((fy_code)i);
        assert_int_equal(fy_code_find(c->name), i);
        assert_true(c->text[0] && c->help[0] && c->kind > FERRY_OK && c->kind <= FERRY_BUG);
    }
    assert_int_equal(fy_code_find("NO_SUCH"), FY_OK);
    assert_int_equal(fy_code_find(NULL), FY_OK);
    assert_string_equal(fy_code_get((fy_code)9999)->name, "INTERNAL");
}

static void arena_memory_is_zeroed_aligned_apart(void **state) {
    (void)state;
    size_t before = fy_os_bytes();
    fy_arena a = { 0 };
    unsigned char *kept[400];
    size_t len[400];
    uint32_t seed = 1;
    for (int i = 0; i < 400; i++) {
        seed = seed * 1664525u + 1013904223u;
        len[i] = i % 50 == 0 ? 0 : i % 77 == 0 ? 300000 : seed >> 8 & 1023;
        kept[i] = fy_arena_alloc(&a, len[i], 1);
        assert_non_null(kept[i]);
        assert_int_equal((uintptr_t)kept[i] % 16, 0);
        for (size_t j = 0; j < len[i]; j++) assert_int_equal(kept[i][j], 0);
        memset(kept[i], i & 255, len[i]);
        for (int j = 0; j < i; j++) assert_ptr_not_equal(kept[j], kept[i]);
    }
    for (int i = 0; i < 400; i++)
        for (size_t j = 0; j < len[i]; j++) assert_int_equal(kept[i][j], i & 255);
    assert_null(fy_arena_alloc(&a, SIZE_MAX, 2));
    assert_null(fy_arena_alloc(&a, SIZE_MAX / 2, 1));
    assert_string_equal(fy_arena_fmt(&a, "%s-%d", "x", 42), "x-42");
    assert_string_equal(fy_arena_strn(&a, "abcdef", 3), "abc");
    assert_null(fy_arena_str(&a, NULL));
    assert_memory_equal(fy_arena_copy(&a, "hello", 5, 1), "hello", 5);
    fy_arena_free(&a);
    assert_null(a.head);
    assert_int_equal(fy_os_bytes(), before);
}

/* Allocates a lot; NOMEM must come out whichever allocation fails, without a leak. */
static fy_status build(ferry_error *e, fy_arena *a, int64_t *sum) {
    FY_VEC(int) v = { 0 };
    fy_buf b = { 0 };
    fy_status s = FY_OK;
    for (int i = 0; i < 300 && s == FY_OK; i++) {
        char *t = fy_arena_fmt(a, "text number %d", i);
        if (!t || !FY_RESERVE(v, v.n + 1)) { s = fy_nomem(e); break; }
        v.at[v.n++] = i;
        fy_buf_fmt(&b, "%s;", t);
    }
    if (s == FY_OK && b.oom) s = fy_nomem(e);
    *sum = 0;
    for (int64_t i = 0; i < v.n; i++) *sum += v.at[i];
    fy_free(v.at);
    fy_buf_free(&b);
    return s;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    size_t before = fy_os_bytes();
    int failures = 0;
    for (int forever = 0; forever < 2; forever++)
        for (int64_t k = 0;; k++) {
            ferry_error e;
            fy_arena a = { 0 };
            int64_t sum;
            fy_os_fail_at(k, forever);
            fy_status s = build(&e, &a, &sum);
            int64_t calls = fy_os_calls();
            fy_os_fail_at(-1, false);
            fy_arena_free(&a);
            assert_int_equal(fy_os_bytes(), before);
            if (s == FY_OK) {
                assert_true(calls <= k);
                assert_int_equal(sum, 299 * 300 / 2);
                break;
            }
            assert_int_equal(s, FY_E_NOMEM);
            failures++;
        }
    assert_true(failures > 20);
}

static void peak_bytes_are_known(void **state) {
    (void)state;
    size_t before = fy_os_bytes();
    (void)fy_os_peak_bytes(true);
    void *p = fy_malloc_aligned(1 << 20), *q = fy_malloc(3, 1000);
    assert_int_equal((uintptr_t)p % 64, 0);
    q = fy_realloc(q, 5, 1000);
    assert_true(fy_os_bytes() >= before + (1 << 20) + 5000);
    fy_free_aligned(p);
    fy_free(q);
    fy_free(NULL);
    fy_free_aligned(NULL);
    assert_int_equal(fy_os_bytes(), before);
    assert_true(fy_os_peak_bytes(true) >= before + (1 << 20) + 5000);
    assert_int_equal(fy_os_peak_bytes(false), before);
    assert_null(fy_malloc(SIZE_MAX / 2, 3));
    assert_null(fy_calloc(SIZE_MAX, SIZE_MAX));
    assert_null(fy_malloc_aligned(SIZE_MAX - 10));
}

static void buffers_grow_and_pad(void **state) {
    (void)state;
    fy_buf b = { 0 };
    fy_buf_fmt(&b, "%s", "");
    assert_string_equal(b.at, "");
    fy_buf_str(&b, "first\n\xC3\xA4");                 /* a-umlaut: two bytes, one column */
    fy_buf_pad(&b, 4);
    fy_buf_char(&b, '|');
    assert_string_equal(b.at, "first\n\xC3\xA4   |");
    fy_buf_pad(&b, 2);
    assert_int_equal(b.n, 12);
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    fy_buf_fmt(&b, "%s%d", big, 7);
    assert_int_equal(b.n, 12 + 4999 + 1);
    assert_int_equal(b.at[b.n - 1], '7');
    for (int i = 0; i < 20000; i++) fy_buf_char(&b, (char)('a' + i % 26));
    assert_int_equal(strlen(b.at), b.n);
    fy_buf_free(&b);
    fy_os_fail_at(0, false);
    fy_buf_str(&b, "lost");
    fy_os_fail_at(-1, false);
    fy_buf_str(&b, "ignored after that");
    assert_true(b.oom);
    assert_int_equal(b.n, 0);
    fy_buf_free(&b);
}

static void sizes_do_not_wrap(void **state) {
    (void)state;
    int64_t r = 7;
    assert_true(fy_count_dims(&r, 0, NULL) && r == 1);
    assert_true(fy_count_dims(&r, 3, (int64_t[]){ 2, 0, 5 }) && r == 0);
    r = 7;
    assert_false(fy_count_dims(&r, 2, (int64_t[]){ 2, -1 }));
    assert_false(fy_count_dims(&r, 4, (int64_t[]){ 1 << 20, 1 << 20, 1 << 20, 1 << 20 }));
    assert_int_equal(r, 7);
}

typedef struct seen { int n; char last[64]; } seen;
static void take(void *ctx, fy_level level, const char *topic, const char *line) {
    seen *s = ctx;
    s->n++;
    (void)snprintf(s->last, sizeof s->last, "%d %s %s", (int)level, topic, line);
}

static void log_rules_choose_by_topic(void **state) {
    (void)state;
    seen s = { 0 };
    fy_log log = { take, &s, "info,passes=debug, onnx=off,nonsense=1,,plan=loud" };
    assert_int_equal(fy_log_level(&log, "plan"), FY_LOG_INFO);
    assert_int_equal(fy_log_level(&log, "passes"), FY_LOG_DEBUG);
    assert_int_equal(fy_log_level(&log, "pass"), FY_LOG_INFO);
    assert_int_equal(fy_log_level(&log, "onnx"), FY_LOG_OFF);
    assert_int_equal(fy_log_level(NULL, "plan"), FY_LOG_OFF);
    log.rules = NULL;
    assert_int_equal(fy_log_level(&log, "plan"), FY_LOG_WARN);
    log.rules = "passes=trace";
    fy_log_line(&log, FY_LOG_TRACE, "passes", "%s: %d nodes", "fold", 3);
    fy_log_line(&log, FY_LOG_INFO, "plan", "hidden");
    fy_log_line(NULL, FY_LOG_ERROR, "plan", "hidden");
    assert_int_equal(s.n, 1);
    assert_string_equal(s.last, "5 passes fold: 3 nodes");
}

static void knobs_fall_back(void **state) {
    (void)state;
    int n;
    const fy_knob *k = fy_knobs(&n);
    assert_true(n >= 4);
    for (int i = 0; i < n; i++) assert_true(k[i].name[0] && k[i].text[0]);
    assert_int_equal(setenv("FERRY_THREADS", "3", 1), 0);
    assert_int_equal(fy_knob_int("FERRY_THREADS"), 3);
    assert_int_equal(setenv("FERRY_THREADS", "3x", 1), 0);
    assert_int_equal(fy_knob_int("FERRY_THREADS"), 0);
    assert_int_equal(unsetenv("FERRY_THREADS"), 0);
    assert_string_equal(fy_knob_str("FERRY_THREADS"), "0");
}

static void cpu_levels_have_names(void **state) {
    (void)state;
    char name[64];
    fy_isa isa;
    assert_true(fy_cpu_isa() <= fy_cpu_has());
    for (int i = 0; i < FY_ISA_COUNT; i++) assert_true(fy_isa_find(fy_isa_name((fy_isa)i), &isa) && (int)isa == i);
    assert_false(fy_isa_find("avx9", &isa));
    fy_cpu_name(name);
    assert_true(memchr(name, 0, sizeof name) != NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_carries_code_text_help_frames), cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(codes_are_found_by_name), cmocka_unit_test(arena_memory_is_zeroed_aligned_apart),
            cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(peak_bytes_are_known), cmocka_unit_test(buffers_grow_and_pad), cmocka_unit_test(sizes_do_not_wrap),
        cmocka_unit_test(log_rules_choose_by_topic), cmocka_unit_test(knobs_fall_back), cmocka_unit_test(cpu_levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
