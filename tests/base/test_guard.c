/* SPDX-License-Identifier: Apache-2.0
 * test_guard.c - elements between pages that fault: one byte outside ends the process, all inside may be used; arenas with guards. */
#include "test.h"

#include "base/arena.h"
#include "base/os.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Does touching `p` end a process? */
static bool faults(volatile unsigned char *p) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGSEGV, SIG_DFL);                             /* cmocka's handler would go on with the tests */
        signal(SIGBUS, SIG_DFL);
        *p = (unsigned char)(*p + 1);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_pages(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 12, 4095, 4096, 4097, 10000};
    size_t before = fy_os_bytes();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int side = FY_GUARD_END; side <= FY_GUARD_START; side++) {
            bool guarded;
            size_t n = sizes[i];
            fy_os_guard((fy_guard)side);
            unsigned char *p = fy_malloc_data(n, &guarded);
            fy_os_guard(FY_GUARD_OFF);                        /* what was made keeps its guards */
            assert_true(p && guarded);
            assert_int_equal(fy_os_bytes(), before + n);
            for (size_t k = 0; k < n; k++) p[k] = (unsigned char)k;
            assert_true(faults(side == FY_GUARD_END ? p + n : p - 1));
            if (n) assert_false(faults(p + n - 1) || faults(p));
            fy_free_data(p, n, guarded);
            assert_int_equal(fy_os_bytes(), before);
        }
    bool guarded;
    void *p = fy_malloc_data(100, &guarded);
    assert_true(p && !guarded && (uintptr_t)p % 64 == 0);
    fy_free_data(p, 100, guarded);
    fy_os_guard(FY_GUARD_END);
    fy_os_fail_at(0, true);
    assert_null(fy_malloc_data(100, &guarded));
    fy_os_fail_at(-1, false);
    assert_null(fy_malloc_data(SIZE_MAX - 10, &guarded));
    fy_os_guard(FY_GUARD_OFF);
}

static void test_arena(void **state) {
    (void)state;
    fy_arena a = {0};
    size_t before = fy_os_bytes();
    for (int i = 0; i < 50; i++) {
        fy_os_guard(i % 3 ? FY_GUARD_END : FY_GUARD_OFF);
        char *p = fy_arena_alloc(&a, (size_t)i, 1);
        assert_non_null(p);
        for (int k = 0; k < i; k++) { assert_int_equal(p[k], 0); p[k] = 1; }
    }
    fy_os_guard(FY_GUARD_OFF);
    fy_arena_free(&a);
    assert_int_equal(fy_os_bytes(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages), cmocka_unit_test(test_arena)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
