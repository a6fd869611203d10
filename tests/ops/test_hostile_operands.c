/* SPDX-License-Identifier: Apache-2.0
 * test_hostile_operands.c - every operator of the table on hostile operands, attributes, shapes, dtypes and strides, between guard pages: each run
 * ends with a status, never with a crash, a hang, a leak or a wrong type. An operator is covered by being listed.
 *
 * FERRY_HOSTILE=N: N random combinations for each base, and every single change; FERRY_HOSTILE_OP=NAME: one operator;
 * FERRY_HOSTILE_SEED=N. What does not survive is named on stderr. */
#include "test.h"

#include "check/hostile.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static fy_hostile hostile;

static void say(const char *text) {
    if (write(2, text, strlen(text)) < 0) _exit(3);
}

static void caught(int number) {
    say(number == SIGALRM ? "\nHANG in " : "\nCRASH in ");
    say(hostile.now);
    say("\n");
    signal(number, SIG_DFL);
    raise(number);
}

static void found(void *ctx, const fy_hostile *h, const char *what) {
    (void)ctx;
    print_error("FAULT %s (case %lld): %s\n", h->now, (long long)h->number, what);
}

/* No verdict by the clock, but a hang is to be named. */
static void each(void *ctx, const fy_hostile *h) {
    (void)ctx, (void)h;
    alarm(120);
}

static int64_t setting(const char *name, int64_t fallback) { return getenv(name) ? strtoll(getenv(name), NULL, 10) : fallback; }

static void test_all(void **state) {
    (void)state;
    ferry_error e = {0};
    bool long_run = getenv("FERRY_HOSTILE") != NULL;
    hostile = (fy_hostile){.seed = (uint64_t)setting("FERRY_HOSTILE_SEED", 1), .only = getenv("FERRY_HOSTILE_OP"), .guard = true, .found = found, .each = each,
        .trials = setting("FERRY_HOSTILE", 24), .most = long_run ? 0 : 150, .folder = getenv("FERRY_ONNX_CASES")};
    signal(SIGSEGV, caught);
    signal(SIGBUS, caught);
    signal(SIGFPE, caught);
    signal(SIGABRT, caught);
    signal(SIGALRM, caught);
    assert_ok(fy_hostile_run(&hostile, &e), e);
    print_message("%lld operators, %lld bases, %lld cases, %lld ran to the end, %lld faults\n", (long long)hostile.nops, (long long)hostile.nbases,
        (long long)hostile.ncases, (long long)hostile.nran, (long long)hostile.nfaults);
    if (hostile.nbare) print_message("no base for %lld: %s\n", (long long)hostile.nbare, hostile.bare);
    assert_int_equal(hostile.nfaults, 0);
    assert_true(hostile.only || hostile.nran > hostile.ncases / 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
