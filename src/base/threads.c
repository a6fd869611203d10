/* SPDX-License-Identifier: Apache-2.0
 * threads.c - the workers of the process, shared by all pools; who may help whom; what cores are ours.
 *
 * A pool is a number: how many threads may work on one call of it. The workers stand in one row, as many as the largest pool has asked
 * for, and end with the last pool. A caller offers its job to idle workers, works itself, takes back what nobody has begun and waits
 * for the rest: a worker that wakes late costs nothing. Callers on several threads have workers of their own as long as all together
 * are no more than the cores (or the caller's own number), else they work alone. Calls from inside a job are done by the thread
 * itself. Pieces do not depend on who runs them, but each thread begins with the same share of every job: what it wrote in one, or read of
 * weights, is in its own cache for the next; only who has done its share takes from the others. */
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

#define SPIN_SECONDS 50e-6                 /* before an idle worker, or a caller that waits for one, sleeps */
#define MOST_THREADS 1024

#define MOST_SHARES 64

/* Pieces that nobody has taken yet: the first one, and the one behind the last. */
typedef struct share { _Alignas(64) _Atomic uint64_t left; } share;

typedef struct job {
    void   (*fn)(void *, int64_t, int64_t);
    void    *arg;
    int64_t  n, grain;
    bool     runs, back;                   /* what is taken together is one call; owners begin at the end */
    int      shares;
    share    share[MOST_SHARES];
} job;

/* A worker's slot: 0 idle; a job's address, offered; that plus 1, being worked on; STOP. Only an idle slot can be given something. */
#define STOP ((uintptr_t)2)

typedef struct worker {
    _Alignas(128) _Atomic uintptr_t slot;
    _Atomic bool    parked;                /* asleep until somebody sets it to false */
    _Atomic int     awaited;               /* callers asleep until the slot is free */
    pthread_mutex_t lock;
    pthread_cond_t  wake, done;
    pthread_t       thread;
} worker;

struct fy_pool { int threads; };

static struct crew {
    pthread_mutex_t lock;                  /* of what changes with pools: refs, growth */
    int             refs, cores;
    bool            forks;                 /* pthread_atfork has been called */
    _Atomic int     workers;               /* those below it run */
    _Atomic int     wanted;                /* above `workers` in a child after fork: they are to be started anew */
    _Atomic int     running;               /* threads inside jobs, callers among them */
    _Atomic bool    spin;                  /* no more threads than cores */
    worker          worker[MOST_THREADS - 1];
} crew = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local bool inside;          /* a job */

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Until the slot holds something else than `value`, or the time is over: true if it does. */
static bool spin_while(worker *w, uintptr_t value) {
    if (!atomic_load_explicit(&crew.spin, memory_order_relaxed)) return atomic_load(&w->slot) != value;
    double start = 0;
    for (int round = 0;; round++) {
        for (int i = 0; i < 16; i++) {
            if (atomic_load_explicit(&w->slot, memory_order_acquire) != value) return true;
            relax();
        }
        double now = fy_os_seconds();
        if (!round) start = now;
        if (now - start > SPIN_SECONDS) return false;
    }
}

/* Half of what is left: pieces side by side read the same weights. The owner takes from the one side, others from the other. */
static bool take(share *s, bool front, int64_t *begin, int64_t *end) {
    uint64_t left = atomic_load_explicit(&s->left, memory_order_relaxed), rest, n;
    do {
        *begin = (int64_t)(left >> 32);
        *end = (int64_t)(left & UINT32_MAX);
        if (*begin >= *end) return false;
        n = 1 + (uint64_t)(*end - *begin - 1) / 2;
        rest = front ? left + (n << 32) : left - n;
    } while (!atomic_compare_exchange_weak_explicit(&s->left, &left, rest, memory_order_relaxed, memory_order_relaxed));
    if (front) *end = *begin + (int64_t)n;
    else *begin = *end - (int64_t)n;
    return true;
}

static void work(job *j, int who) {
    int64_t i, end;
    for (int k = 0; k < j->shares; k++)
        while (take(&j->share[(who + k) % j->shares], (k == 0) != j->back, &i, &end))
            for (int64_t next; i < end; i = next) {
                next = j->runs ? end : i + 1;
                j->fn(j->arg, i * j->grain, next * j->grain < j->n ? next * j->grain : j->n);
            }
}

static void park(worker *w) {
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->parked, true);        /* before the last look at the slot; who fills it looks here afterwards */
    if (atomic_load(&w->slot)) atomic_store(&w->parked, false);
    while (atomic_load(&w->parked)) pthread_cond_wait(&w->wake, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    inside = true;
    for (;;) {
        if (!spin_while(w, 0)) park(w);
        uintptr_t offer = atomic_load(&w->slot);
        if (offer == STOP) return NULL;
        if (!offer || !atomic_compare_exchange_strong(&w->slot, &offer, offer + 1)) continue;      /* taken back */
        work((job *)offer, (int)(w - crew.worker) + 1);
        atomic_store(&w->slot, 0);         /* the job is its caller's again */
        if (atomic_load(&w->awaited)) {
            pthread_mutex_lock(&w->lock);
            pthread_cond_broadcast(&w->done);
            pthread_mutex_unlock(&w->lock);
        }
    }
}

static bool give(worker *w, uintptr_t what) {
    uintptr_t idle = 0;
    if (atomic_load_explicit(&w->slot, memory_order_relaxed) || !atomic_compare_exchange_strong(&w->slot, &idle, what)) return false;
    if (atomic_load(&w->parked) && atomic_exchange(&w->parked, false)) {
        pthread_mutex_lock(&w->lock);
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
    }
    return true;
}

/* Takes the job back from a worker that has not begun, else waits until it has done its part. */
static void settle(worker *w, job *j) {
    uintptr_t offered = (uintptr_t)j;
    if (atomic_compare_exchange_strong(&w->slot, &offered, 0) || spin_while(w, (uintptr_t)j + 1)) return;
    pthread_mutex_lock(&w->lock);
    atomic_fetch_add(&w->awaited, 1);
    while (atomic_load(&w->slot) == (uintptr_t)j + 1) pthread_cond_wait(&w->done, &w->lock);
    atomic_fetch_sub(&w->awaited, 1);
    pthread_mutex_unlock(&w->lock);
}

/* ---- the row of workers ------------------------------------------------------------------------------------------- */

/* As many as `threads` need, or as the system grants. Under crew.lock. */
static void grow(int threads) {
    int n = atomic_load(&crew.workers);
    sigset_t all, before;                  /* signals are the caller's business: workers take none */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; n < threads - 1; n++) {
        worker *w = &crew.worker[n];
        atomic_store(&w->slot, 0);
        atomic_store(&w->parked, false);
        atomic_store(&w->awaited, 0);
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->wake, NULL);
        pthread_cond_init(&w->done, NULL);
        if (!fy_os_fails(0) && pthread_create(&w->thread, NULL, worker_main, w) == 0) continue;
        pthread_cond_destroy(&w->wake);
        pthread_cond_destroy(&w->done);
        pthread_mutex_destroy(&w->lock);
        break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    atomic_store(&crew.workers, n);
    atomic_store(&crew.wanted, n);
}

static void end_workers(void) {
    int n = atomic_load(&crew.workers);
    for (int i = 0; i < n; i++) (void)give(&crew.worker[i], STOP);
    for (int i = 0; i < n; i++) {
        worker *w = &crew.worker[i];
        pthread_join(w->thread, NULL);
        pthread_cond_destroy(&w->wake);
        pthread_cond_destroy(&w->done);
        pthread_mutex_destroy(&w->lock);
    }
    atomic_store(&crew.workers, 0);
    atomic_store(&crew.wanted, 0);
}

/* A child has the thread that called fork and no other: its pools start workers of their own when they are next used. */
static void before_fork(void) { pthread_mutex_lock(&crew.lock); }
static void after_fork(void) { pthread_mutex_unlock(&crew.lock); }
static void in_child(void) {
    atomic_store(&crew.workers, 0);
    atomic_store(&crew.running, 0);
    pthread_mutex_unlock(&crew.lock);
}

static void start_anew(void) {
    pthread_mutex_lock(&crew.lock);
    if (atomic_load(&crew.workers) < atomic_load(&crew.wanted)) grow(atomic_load(&crew.wanted) + 1);
    pthread_mutex_unlock(&crew.lock);
}

fy_pool *fy_pool_new(int threads) {
    fy_pool *p = fy_calloc(1, sizeof *p);
    if (!p) return NULL;
    pthread_mutex_lock(&crew.lock);
    if (!crew.forks) crew.forks = pthread_atfork(before_fork, after_fork, in_child) == 0;
    if (!crew.refs++) crew.cores = 0;
    if (threads <= 0) {
        int64_t asked = fy_knob_int("FERRY_THREADS");
        threads = asked > 0 ? (int)(asked < MOST_THREADS ? asked : MOST_THREADS) : fy_cores();
    }
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    int before = atomic_load(&crew.wanted);
    if (threads - 1 > before || atomic_load(&crew.workers) < before) grow(threads - 1 > before ? threads : before + 1);
    int there = atomic_load(&crew.workers) + 1;
    if (!crew.cores) crew.cores = fy_cores();
    atomic_store(&crew.spin, there <= crew.cores);
    p->threads = threads < there ? threads : there;
    pthread_mutex_unlock(&crew.lock);
    return p;
}

void fy_pool_free(fy_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&crew.lock);
    if (!--crew.refs) end_workers();
    pthread_mutex_unlock(&crew.lock);
    fy_free(p);
}

int fy_pool_threads(const fy_pool *p) { return p ? p->threads : 1; }

/* ---- a job -------------------------------------------------------------------------------------------------------- */

static void alone(const job *j) {
    const int64_t grain = j->runs ? j->n : j->grain;
    for (int64_t begin = 0; begin < j->n; begin += grain) j->fn(j->arg, begin, j->n - begin < grain ? j->n : begin + grain);
}

/* Offers the job to at most `most` workers, those in front first: they are the ones awake. The last one asked, plus 1. */
static int offer(job *j, int most, int *given) {
    int i = 0, n = atomic_load_explicit(&crew.workers, memory_order_acquire);
    for (*given = 0; i < n && *given < most; i++) *given += give(&crew.worker[i], (uintptr_t)j);
    return i;
}

static void run(fy_pool *p, job *j) {
    const int64_t pieces = (j->n - 1) / j->grain + 1;
    if (!p || p->threads < 2 || pieces < 2 || pieces > UINT32_MAX || inside) {
        alone(j);
        return;
    }
    if (atomic_load_explicit(&crew.workers, memory_order_relaxed) < atomic_load_explicit(&crew.wanted, memory_order_relaxed)) start_anew();
    int given = 0, asked = 0, most = p->threads > crew.cores ? p->threads : crew.cores;
    int room = most - atomic_fetch_add(&crew.running, 1) - 1, want = p->threads - 1;
    if (want > pieces - 1) want = (int)(pieces - 1);
    if (want > room) want = room;
    inside = true;
    if (want > 0) {
        j->shares = want + 1 < MOST_SHARES ? want + 1 : MOST_SHARES;
        for (int64_t i = 0; i < j->shares; i++) atomic_init(&j->share[i].left, (uint64_t)(pieces * i / j->shares) << 32 | (uint64_t)(pieces * (i + 1) / j->shares));
        asked = offer(j, want, &given);
        atomic_fetch_add(&crew.running, given);
        work(j, 0);
        for (int i = 0; i < asked; i++) {
            uintptr_t slot = atomic_load_explicit(&crew.worker[i].slot, memory_order_acquire);
            if (slot == (uintptr_t)j || slot == (uintptr_t)j + 1) settle(&crew.worker[i], j);
        }
    } else alone(j);
    inside = false;
    atomic_fetch_sub(&crew.running, given + 1);
}

static void start(fy_pool *p, int64_t n, int64_t grain, bool runs, bool back, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg) {
    job j;                                 /* the shares are filled in where there are any */
    j.fn = fn, j.arg = arg, j.n = n, j.grain = grain < 1 ? 1 : grain, j.runs = runs, j.back = back;
    if (n > 0) run(p, &j);
}

void fy_for(fy_pool *p, int64_t n, int64_t grain, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg) { start(p, n, grain, false, false, fn, arg); }

void fy_for_runs(fy_pool *p, int64_t n, int64_t grain, bool back, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg) { start(p, n, grain, true, back, fn, arg); }

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
