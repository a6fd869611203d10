/* SPDX-License-Identifier: Apache-2.0
 * threads.c - the worker pool: pieces are claimed from one counter; a worker spins briefly, then sleeps.
 *
 * One caller at a time has the workers; another thread that calls fy_for meanwhile (or a nested call) does its pieces
 * alone, which gives the same result since pieces do not depend on who runs them. */
#define _GNU_SOURCE 1                      /* sched_getaffinity, CPU_ALLOC */
#include "base/threads.h"

#include "base/knobs.h"
#include "base/os.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPINS 4000                         /* some tens of microseconds */
#define MOST_THREADS 1024

struct fy_pool {
    int       nworkers;
    pthread_t worker[MOST_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t  wake, done;
    _Atomic bool     busy;                 /* some caller has the workers */
    _Atomic uint64_t epoch;                /* changes with every job, and at the end */
    _Atomic int      active;               /* workers inside the job */
    int      sleeping;                     /* under lock, as are the rest */
    bool     open, stop;
    void   (*fn)(void *, int64_t, int64_t);
    void    *arg;
    int64_t  n, grain, pieces;
    _Atomic int64_t next;
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void work(fy_pool *p) {
    for (;;) {
        int64_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->pieces) return;
        int64_t begin = i * p->grain;
        p->fn(p->arg, begin, p->n - begin < p->grain ? p->n : begin + p->grain);
    }
}

static void *worker_main(void *arg) {
    fy_pool *p = arg;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        if (atomic_load(&p->epoch) == seen) {
            pthread_mutex_unlock(&p->lock);
            for (int i = 0; i < SPINS && atomic_load_explicit(&p->epoch, memory_order_relaxed) == seen; i++) relax();
            pthread_mutex_lock(&p->lock);
            p->sleeping++;
            while (atomic_load(&p->epoch) == seen) pthread_cond_wait(&p->wake, &p->lock);
            p->sleeping--;
        }
        seen = atomic_load(&p->epoch);
        if (p->stop) break;
        if (!p->open) continue;
        atomic_fetch_add(&p->active, 1);
        pthread_mutex_unlock(&p->lock);
        work(p);
        pthread_mutex_lock(&p->lock);
        if (atomic_fetch_sub(&p->active, 1) == 1) pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

fy_pool *fy_pool_new(int threads) {
    if (threads <= 0) {
        int64_t asked = fy_knob_int("FERRY_THREADS");
        threads = asked > 0 ? (int)(asked < MOST_THREADS ? asked : MOST_THREADS) : fy_cores();
    }
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    fy_pool *p = fy_calloc(1, sizeof *p);
    if (!p) return NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    sigset_t all, before;                  /* signals are the caller's business: workers take none */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (p->nworkers < threads - 1) {
        if (fy_os_fails(0) || pthread_create(&p->worker[p->nworkers], NULL, worker_main, p) != 0) break;
        p->nworkers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return p;
}

void fy_pool_free(fy_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    atomic_fetch_add(&p->epoch, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->nworkers; i++) pthread_join(p->worker[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    fy_free(p);
}

int fy_pool_threads(const fy_pool *p) { return p ? p->nworkers + 1 : 1; }

void fy_for(fy_pool *p, int64_t n, int64_t grain, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg) {
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    if (!p || p->nworkers == 0 || n <= grain || atomic_exchange(&p->busy, true)) {
        for (int64_t begin = 0; begin < n; begin += grain) fn(arg, begin, n - begin < grain ? n : begin + grain);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->arg = arg;
    p->n = n;
    p->grain = grain;
    p->pieces = (n - 1) / grain + 1;
    atomic_store(&p->next, 0);
    p->open = true;
    atomic_fetch_add(&p->epoch, 1);
    if (p->sleeping) {
        if (p->pieces == 2) pthread_cond_signal(&p->wake);
        else pthread_cond_broadcast(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
    work(p);
    pthread_mutex_lock(&p->lock);
    p->open = false;                       /* a worker that comes late finds nothing */
    while (atomic_load(&p->active) > 0) {
        pthread_mutex_unlock(&p->lock);
        for (int i = 0; i < SPINS && atomic_load_explicit(&p->active, memory_order_relaxed) > 0; i++) relax();
        pthread_mutex_lock(&p->lock);
        if (atomic_load(&p->active) > 0) pthread_cond_wait(&p->done, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    atomic_store(&p->busy, false);
}

/* The first bytes of a small system file, 0-terminated; false if it cannot be read. */
static bool slurp(const char *path, char *dst, size_t size) {
    int fd = fy_os_open(path, O_RDONLY, 0);
    if (fd < 0) return false;
    ssize_t n = fy_os_read(fd, dst, size - 1);
    (void)fy_os_close(fd);
    dst[n < 0 ? 0 : n] = 0;
    return n > 0;
}

/* ceil(quota / period), 0 when unlimited or not readable. */
static int quota(long long q, long long period) {
    if (q <= 0 || period <= 0) return 0;
    long long cores = (q - 1) / period + 1;
    return cores > MOST_THREADS ? MOST_THREADS : (int)cores;
}

static int least(int a, int b) { return a == 0 ? b : b == 0 ? a : a < b ? a : b; }

/* The tightest limit from `path` below `root` up to root itself: a parent's limit holds for its children. */
static int walk(const char *root, const char *path, size_t n, bool v2) {
    int best = 0;
    for (;;) {
        char file[1024], text[128];
        while (n && path[n - 1] == '/') n--;
        if (v2) {
            (void)snprintf(file, sizeof file, "%s%.*s/cpu.max", root, (int)n, path);
            if (slurp(file, text, sizeof text) && strncmp(text, "max", 3) != 0) {
                char *end;
                long long q = strtoll(text, &end, 10);
                best = least(best, quota(q, strtoll(end, NULL, 10)));
            }
        } else {
            long long q = 0;
            (void)snprintf(file, sizeof file, "%s%.*s/cpu.cfs_quota_us", root, (int)n, path);
            if (slurp(file, text, sizeof text)) q = strtoll(text, NULL, 10);
            (void)snprintf(file, sizeof file, "%s%.*s/cpu.cfs_period_us", root, (int)n, path);
            if (q > 0 && slurp(file, text, sizeof text)) best = least(best, quota(q, strtoll(text, NULL, 10)));
        }
        if (n == 0) return best;
        while (n && path[n - 1] != '/') n--;
    }
}

/* Lines of /proc/self/cgroup: "0::/path" (version 2) or "4:cpu,cpuacct:/path" (version 1). */
int fy_cgroup_cores(const char *self, const char *sys) {
    int best = 0;
    for (const char *line = self; *line; ) {
        size_t n = strcspn(line, "\n");
        const char *a = memchr(line, ':', n), *b = a ? memchr(a + 1, ':', n - (size_t)(a + 1 - line)) : NULL;
        if (b) {
            char root[512];
            const char *path = b + 1;
            size_t rest = n - (size_t)(path - line), names = (size_t)(b - a - 1);
            if (rest > 400) rest = 0;
            if (names == 0) best = least(best, walk(sys, path, rest, true));
            for (const char *w = a + 1; names && w < b; ) {
                const char *end = memchr(w, ',', (size_t)(b - w));
                if (!end) end = b;
                if (end - w == 3 && memcmp(w, "cpu", 3) == 0) {
                    (void)snprintf(root, sizeof root, "%s/cpu", sys);
                    best = least(best, walk(root, path, rest, false));
                    (void)snprintf(root, sizeof root, "%s/%.*s", sys, (int)names, a + 1);
                    best = least(best, walk(root, path, rest, false));
                }
                w = end + 1;
            }
        }
        line += n + (line[n] == '\n');
    }
    return best;
}

int fy_cores(void) {
    int cores = 1;
    for (size_t cpus = 1024; cpus <= 65536; cpus *= 4) {             /* the mask must have room for every CPU of the machine */
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set) break;
        size_t bytes = CPU_ALLOC_SIZE(cpus);
        bool ok = sched_getaffinity(0, bytes, set) == 0;
        if (ok) cores = CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (ok) break;
    }
    char self[4096];
    int limit = slurp("/proc/self/cgroup", self, sizeof self) ? fy_cgroup_cores(self, "/sys/fs/cgroup") : 0;
    cores = limit ? least(cores, limit) : cores;
    return cores < 1 ? 1 : cores;
}

/* ---- one task beside the caller --------------------------------------------------------------------------------- */

static void *task_main(void *arg) {
    fy_task *t = arg;
    t->fn(t->arg);
    return NULL;
}

void fy_task_start(fy_task *t, void (*fn)(void *arg), void *arg) {
    *t = (fy_task){ fn, arg, fy_malloc(1, sizeof(pthread_t)) };
    if (t->thread && pthread_create(t->thread, NULL, task_main, t) == 0) return;
    fy_free(t->thread);
    t->thread = NULL;
    fn(arg);
}

void fy_task_join(fy_task *t) {
    if (t->thread) (void)pthread_join(*(pthread_t *)t->thread, NULL);
    fy_free(t->thread);
    t->thread = NULL;
}
