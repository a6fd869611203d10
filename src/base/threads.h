/* SPDX-License-Identifier: Apache-2.0
 * threads.h - the workers of the process, shared by all pools. Work is split by the problem, never by the number of threads, so that
 * results do not depend on it. */
#ifndef FY_THREADS_H
#define FY_THREADS_H

#include "base/status.h"

typedef struct fy_pool fy_pool;

/* Cores that this process may use: affinity mask and cgroup quota; at least 1. */
int fy_cores(void);
/* The quota part of it: cores granted by the cgroups that the text of /proc/self/cgroup names, below `sys` (the mount
 * point /sys/fs/cgroup); 0 when there is no limit. */
int fy_cgroup_cores(const char *self, const char *sys);
/* How many threads, the caller among them, may work on one fy_for. `threads` <= 0 means FERRY_THREADS, else fy_cores(). NULL when out of
 * memory; fewer workers than asked for is not an error. Workers are started for the largest pool and end with the last one; idle ones
 * sleep after 50 us. Pools are usable from several threads at once, and in a child after fork (unless a job forks). */
fy_pool *fy_pool_new(int threads);
void     fy_pool_free(fy_pool *p);
int      fy_pool_threads(const fy_pool *p);                  /* 1 for NULL */

/* Calls fn(arg, begin, end) for pieces of [0, n), each at most `grain` long, from any worker; returns when all are done.
 * The pieces are the same for every thread count. A NULL pool runs them in order, as does a call from inside fn. */
void fy_for(fy_pool *p, int64_t n, int64_t grain, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg);

/* The same, but pieces that one thread takes together come as one call: for what gains from doing neighbours at once, and gives the same however they
 * are cut. back: each thread begins with the last of those that it is to do. */
void fy_for_runs(fy_pool *p, int64_t n, int64_t grain, bool back, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg);

/* One thing done beside the caller: fn(arg) runs on a thread of its own, or at once where there is no thread to be had.
 * fy_task_join waits for it; every started task must be joined. */
typedef struct fy_task { void (*fn)(void *arg); void *arg; void *thread; } fy_task;
void fy_task_start(fy_task *t, void (*fn)(void *arg), void *arg);
void fy_task_join(fy_task *t);

#endif
