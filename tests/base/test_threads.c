/* SPDX-License-Identifier: Apache-2.0
 * test_threads.c - every piece is run once; pools that share workers, from several threads and after fork; quotas of control groups. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"
#include "base/threads.h"

#define N 5000
typedef struct tally { _Atomic int count[N]; _Atomic int pieces, too_long; int64_t grain; } tally;

static void mark(void *arg, int64_t begin, int64_t end) {
    tally *t = arg;
    atomic_fetch_add(&t->pieces, 1);
    if (end - begin > t->grain || end <= begin) atomic_fetch_add(&t->too_long, 1);
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&t->count[i], 1);
}

static void check(fy_pool *p, int64_t n, int64_t grain) {
    static tally t;
    memset(&t, 0, sizeof t);
    t.grain = grain < 1 ? 1 : grain;
    fy_for(p, n, grain, mark, &t);
    assert_int_equal(t.too_long, 0);
    assert_int_equal(t.pieces, n <= 0 ? 0 : (n - 1) / t.grain + 1);
    for (int64_t i = 0; i < N; i++) assert_int_equal(t.count[i], i < n);
}

static void mark_run(void *arg, int64_t begin, int64_t end) {
    tally *t = arg;
    atomic_fetch_add(&t->pieces, 1);
    if (begin % t->grain || (end % t->grain && end != N)) atomic_fetch_add(&t->too_long, 1);
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&t->count[i], 1);
}

static void runs_are_whole_pieces(void **state) {
    static tally t;
    (void)state;
    for (int threads = 0; threads <= 16; threads += threads < 3 ? 1 : 13) {
        fy_pool *p = threads ? fy_pool_new(threads) : NULL;
        for (int i = 0; i < 300; i++) {
            memset(&t, 0, sizeof t);
            t.grain = (const int64_t[]){1, 3, 7, 1000, N}[i % 5];
            fy_for_runs(p, N, t.grain, i % 2, mark_run, &t);
            assert_int_equal(t.too_long, 0);
            if (threads < 2) assert_int_equal(t.pieces, 1);
            for (int64_t k = 0; k < N; k++) assert_int_equal(t.count[k], 1);
        }
        fy_for_runs(p, 0, 1, true, mark_run, NULL);
        fy_pool_free(p);
    }
}

static void each_piece_runs_once(void **state) {
    (void)state;
    const int threads[] = { 1, 2, 3, 5, 16 };
    const int64_t grains[] = { 0, 1, 2, 7, 1000, N, N + 1 };
    check(NULL, N, 3);
    for (int i = 0; i < FY_COUNT(threads); i++) {
        fy_pool *p = fy_pool_new(threads[i]);
        assert_non_null(p);
        assert_int_equal(fy_pool_threads(p), threads[i]);
        for (int j = 0; j < FY_COUNT(grains); j++) {
            check(p, N, grains[j]);
            check(p, 1, grains[j]);
            check(p, 0, grains[j]);
            check(p, -5, grains[j]);
        }
        for (int j = 0; j < 2000; j++) check(p, j % 17, 1);            /* many short jobs: late and early wakers */
        fy_pool_free(p);
    }
    fy_pool_free(NULL);
    assert_int_equal(fy_pool_threads(NULL), 1);
}

static fy_pool *shared;
static void nested(void *arg, int64_t begin, int64_t end) { fy_for(shared, end - begin, 1, mark, arg); }

static void *caller(void *arg) {
    for (int i = 0; i < 300; i++) fy_for(shared, N, 100, mark, arg);
    return NULL;
}

static void callers_share_a_pool(void **state) {
    (void)state;
    static tally a, b, c;
    a.grain = b.grain = 100;
    c.grain = 1;
    shared = fy_pool_new(3);
    assert_non_null(shared);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, caller, &a), 0);
    (void)caller(&b);
    assert_int_equal(pthread_join(t, NULL), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(a.count[i], 300);
        assert_int_equal(b.count[i], 300);
    }
    fy_for(shared, 10, 1, nested, &c);                                 /* inside a piece: done by the same thread */
    assert_int_equal(c.count[0], 10);
    fy_pool_free(shared);
}

static _Atomic int inside_now, inside_most;
static void count_inside(void *arg, int64_t begin, int64_t end) {
    int now = atomic_fetch_add(&inside_now, 1) + 1, most = atomic_load(&inside_most);
    while (now > most && !atomic_compare_exchange_weak(&inside_most, &most, now)) {}
    mark(arg, begin, end);
    atomic_fetch_sub(&inside_now, 1);
}

/* Opens and ends pools of its own all the while: workers come and go. */
static void *opener(void *arg) {
    tally *t = arg;
    for (int i = 0; i < 200; i++) {
        fy_pool *p = fy_pool_new(1 + i % 6);
        if (!p) abort();
        for (int k = 0; k < 20; k++) fy_for(p, N, 100, mark, t);
        fy_pool_free(p);
    }
    return NULL;
}

static void pools_share_workers(void **state) {
    (void)state;
    static tally t[4], c;
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) {
        t[i].grain = 100;
        assert_int_equal(pthread_create(&thread[i], NULL, opener, &t[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        for (int k = 0; k < N; k++) assert_int_equal(t[i].count[k], 4000);
        assert_int_equal(t[i].too_long, 0);
    }
    fy_pool *large = fy_pool_new(8), *small = fy_pool_new(2);          /* no more than its own number, though there are workers */
    c.grain = 1;
    for (int i = 0; i < 200; i++) fy_for(small, 64, 1, count_inside, &c);
    assert_true(inside_most <= 2);
    fy_pool_free(large);
    check(small, N, 7);
    fy_pool_free(small);
}

/* The child has no workers: it starts its own, and ends with them. */
static void pool_survives_fork(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__                                             /* it lets no child start threads */
    skip();
#endif
    fy_pool *p = fy_pool_new(4);
    check(p, N, 3);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        check(p, N, 3);
        fy_pool *q = fy_pool_new(6);
        bool good = q && fy_pool_threads(q) == 6;
        check(q, N, 3);
        fy_pool_free(q);
        fy_pool_free(p);
        _exit(good ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    check(p, N, 3);
    fy_pool_free(p);
}

static void pool_survives_failures(void **state) {
    (void)state;
    fy_os_fail_at(0, false);
    assert_null(fy_pool_new(4));
    fy_os_fail_at(2, true);                                            /* the pool's memory and one thread are granted */
    fy_pool *p = fy_pool_new(4);
    fy_os_fail_at(-1, false);
    assert_non_null(p);
    assert_int_equal(fy_pool_threads(p), 2);
    check(p, 100, 3);
    fy_pool_free(p);
    assert_true(fy_cores() >= 1);
}

static void put(const char *dir, const char *name, const char *text) {
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void quotas_bound_the_cores(void **state) {
    (void)state;
    char dir[] = FERRY_BINARY_DIR "/cgroup-XXXXXX", path[1024];
    assert_non_null(mkdtemp(dir));
    const char *const folders[] = { "a", "a/b", "cpu", "cpu/c" };
    for (int i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    put(dir, "a/cpu.max", "250000 100000\n");
    put(dir, "a/b/cpu.max", "max 100000\n");
    put(dir, "cpu/c/cpu.cfs_quota_us", "100000\n");
    put(dir, "cpu/c/cpu.cfs_period_us", "50000\n");
    put(dir, "cpu/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(fy_cgroup_cores("0::/a/b\n", dir), 3);            /* 2.5 rounded up, from the parent */
    assert_int_equal(fy_cgroup_cores("0::/\n", dir), 0);
    assert_int_equal(fy_cgroup_cores("0::/no/such\n", dir), 0);
    assert_int_equal(fy_cgroup_cores("5:memory:/c\n4:cpu,cpuacct:/c\n", dir), 2);
    assert_int_equal(fy_cgroup_cores("4:cpu:/\n0::/a\n", dir), 3);
    assert_int_equal(fy_cgroup_cores("", dir), 0);
    assert_int_equal(fy_cgroup_cores("nonsense\n:\n::\n\n1:cpu:", dir), 0);
    put(dir, "a/cpu.max", "1000 100000\n");
    assert_int_equal(fy_cgroup_cores("0::/a/b", dir), 1);
    const char *const files[] = { "a/cpu.max", "a/b/cpu.max", "cpu/c/cpu.cfs_quota_us", "cpu/c/cpu.cfs_period_us", "cpu/cpu.cfs_quota_us" };
    for (int i = 0; i < 5; i++) { (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]); (void)unlink(path); }
    for (int i = 3; i >= 0; i--) { (void)snprintf(path, sizeof path, "%s/%s", dir, folders[i]); (void)rmdir(path); }
    (void)rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_piece_runs_once), cmocka_unit_test(runs_are_whole_pieces), cmocka_unit_test(callers_share_a_pool), cmocka_unit_test(pools_share_workers), cmocka_unit_test(pool_survives_fork), cmocka_unit_test(pool_survives_failures),
        cmocka_unit_test(quotas_bound_the_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
