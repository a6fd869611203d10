/* SPDX-License-Identifier: Apache-2.0
 * os.c - allocation and system calls, counted, so that tests can make each one fail in turn.
 *
 * Every allocation carries a head that holds its size: the bytes in use are known at any time. */
#define _GNU_SOURCE 1                      /* sync_file_range, madvise, dl_iterate_phdr */
#include "base/os.h"

#include "base/checked.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD 16u                           /* keeps the alignment of malloc */
#define ALIGNED 64u

static _Atomic int64_t calls, fail_call = -1;
static _Atomic bool    fail_forever;
static _Atomic size_t  bytes_now, bytes_peak;
static _Atomic int     guard;

void fy_os_fail_at(int64_t k, bool forever) {
    atomic_store(&calls, 0);
    atomic_store(&fail_call, k);
    atomic_store(&fail_forever, forever);
}

bool fy_os_armed(void) { return atomic_load_explicit(&fail_call, memory_order_relaxed) >= 0; }

int64_t fy_os_calls(void) { return atomic_load(&calls); }

bool fy_os_fails(int error) {
    int64_t mine = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    int64_t k = atomic_load_explicit(&fail_call, memory_order_relaxed);
    if (FY_LIKELY(k < 0) || mine < k || (mine > k && !atomic_load_explicit(&fail_forever, memory_order_relaxed))) return false;
    errno = error;
    return true;
}

size_t fy_os_bytes(void) { return atomic_load(&bytes_now); }

size_t fy_os_peak_bytes(bool reset) {
    size_t peak = atomic_load(&bytes_peak);
    if (reset) atomic_store(&bytes_peak, atomic_load(&bytes_now));
    return peak;
}

static void account(size_t more, size_t less) {
    size_t now = atomic_fetch_add_explicit(&bytes_now, more - less, memory_order_relaxed) + (more - less);
    size_t peak = atomic_load_explicit(&bytes_peak, memory_order_relaxed);
    while (more > less && now > peak && !atomic_compare_exchange_weak(&bytes_peak, &peak, now)) { }
}

/* Bytes with the head; false if no machine has that much. */
static bool total(size_t *r, size_t count, size_t size, size_t head) {
    size_t n;
    if (!fy_mul_size(&n, count, size) || n > PTRDIFF_MAX - 2 * ALIGNED) { errno = ENOMEM; return false; }
    *r = n + head;
    return true;
}

static void *claim(void *block, size_t n) {
    if (!block) return NULL;
    memcpy(block, &n, sizeof n);
    account(n, 0);
    return (char *)block + HEAD;
}

void *fy_malloc(size_t count, size_t size) {
    size_t n;
    return total(&n, count, size, HEAD) && !fy_os_fails(ENOMEM) ? claim(malloc(n), n) : NULL;
}

void *fy_calloc(size_t count, size_t size) {
    size_t n;
    return total(&n, count, size, HEAD) && !fy_os_fails(ENOMEM) ? claim(calloc(n, 1), n) : NULL;
}

void *fy_realloc(void *p, size_t count, size_t size) {
    if (!p) return fy_malloc(count, size);
    size_t n, old;
    char *block = (char *)p - HEAD;
    memcpy(&old, block, sizeof old);
    if (!total(&n, count, size, HEAD) || fy_os_fails(ENOMEM)) return NULL;
    block = realloc(block, n);
    if (!block) return NULL;
    memcpy(block, &n, sizeof n);
    account(n, old);
    return block + HEAD;
}

void fy_free(void *p) {
    if (!p) return;
    size_t n;
    char *block = (char *)p - HEAD;
    memcpy(&n, block, sizeof n);
    account(0, n);
    free(block);
}

void *fy_malloc_aligned(size_t bytes) {
    size_t n;
    if (!total(&n, bytes, 1, ALIGNED) || fy_os_fails(ENOMEM)) return NULL;
    n = (n + ALIGNED - 1) & ~(size_t)(ALIGNED - 1);
    char *block = aligned_alloc(ALIGNED, n);
    if (!block) return NULL;
    memcpy(block, &n, sizeof n);
    account(n, 0);
    return block + ALIGNED;
}

void fy_free_aligned(void *p) {
    if (!p) return;
    size_t n;
    char *block = (char *)p - ALIGNED;
    memcpy(&n, block, sizeof n);
    account(0, n);
    free(block);
}

/* ---- guard pages -------------------------------------------------------------------------------------------------- */

void fy_os_guard(fy_guard g) { atomic_store(&guard, (int)g); }
bool fy_os_guarded(void) { return atomic_load_explicit(&guard, memory_order_relaxed) != FY_GUARD_OFF; }

size_t fy_os_page(void) {
    long n = sysconf(_SC_PAGESIZE);
    return n > 0 ? (size_t)n : 4096;
}

void *fy_malloc_data(size_t bytes, bool *guarded) {
    int g = atomic_load_explicit(&guard, memory_order_relaxed);
    *guarded = g != FY_GUARD_OFF;
    if (FY_LIKELY(g == FY_GUARD_OFF)) return fy_malloc_aligned(bytes);
    size_t page = fy_os_page(), room, n;
    if (!total(&n, bytes, 1, 4 * page) || fy_os_fails(ENOMEM)) return NULL;
    room = (bytes + page - 1) / page * page;
    char *map = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return NULL;
    if (room && mprotect(map + page, room, PROT_READ | PROT_WRITE)) {
        (void)munmap(map, room + 2 * page);
        return NULL;
    }
    if (room) memset(map + page, 0xA5, room);       /* what nobody wrote shows */
    account(bytes, 0);
    return map + page + (g == FY_GUARD_END ? room - bytes : 0);
}

void fy_free_data(void *p, size_t bytes, bool guarded) {
    if (!guarded) fy_free_aligned(p);
    if (!p || !guarded) return;
    size_t page = fy_os_page(), room = (bytes + page - 1) / page * page;
    account(0, bytes);
    (void)munmap((char *)p - (uintptr_t)p % page - page, room + 2 * page);
}

/* ---- pages -------------------------------------------------------------------------------------------------------- */

static size_t whole_pages(size_t bytes, size_t page) { return (bytes + page - 1) / page * page; }

void *fy_os_pages(size_t bytes) {
    size_t page = bytes >= FY_HUGE ? FY_HUGE : fy_os_page(), n, room;
    if (!total(&n, bytes, 1, 0) || fy_os_fails(ENOMEM)) return NULL;
    n = whole_pages(n ? n : 1, page);
    room = n + (page == FY_HUGE ? FY_HUGE : 0);              /* to cut an aligned range from */
    char *map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return NULL;
    size_t skip = (page - (uintptr_t)map % page) % page;
    if (skip) (void)munmap(map, skip);
    if (room - skip - n) (void)munmap(map + skip + n, room - skip - n);
    account(n, 0);
    return map + skip;
}

void fy_os_pages_free(void *p, size_t bytes) {
    if (!p) return;
    size_t n = whole_pages(bytes ? bytes : 1, bytes >= FY_HUGE ? FY_HUGE : fy_os_page());
    account(0, n);
    (void)munmap(p, n);
}

void fy_os_populate(const void *p, size_t bytes) {
#ifdef MADV_POPULATE_READ
    uintptr_t page = fy_os_page(), from = (uintptr_t)p / page * page;
    if (bytes) (void)madvise((void *)from, (uintptr_t)p + bytes - from, MADV_POPULATE_READ);
#else
    (void)p, (void)bytes;
#endif
}

void fy_os_populate_write(void *p, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
    uintptr_t page = fy_os_page(), from = (uintptr_t)p / page * page;
    if (bytes) (void)madvise((void *)from, (uintptr_t)p + bytes - from, MADV_POPULATE_WRITE);
#else
    (void)p, (void)bytes;
#endif
}

void fy_os_unused(void *p, size_t bytes) {
#ifdef MADV_DONTNEED
    uintptr_t page = fy_os_page(), from = ((uintptr_t)p + page - 1) / page * page, end = (uintptr_t)p + bytes;
    if (from < end) (void)madvise((void *)from, end - from, MADV_DONTNEED);
#else
    (void)p, (void)bytes;
#endif
}

void fy_os_huge(void *p, size_t bytes) {
#ifdef MADV_HUGEPAGE
    if (bytes >= FY_HUGE) (void)madvise(p, bytes, MADV_HUGEPAGE);
#else
    (void)p, (void)bytes;
#endif
}

int fy_os_map_over(void *at, size_t bytes, int fd, int64_t from) {
    if (fy_os_fails(ENOMEM)) return -1;
    return mmap(at, bytes, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, from) == MAP_FAILED ? -1 : 0;
}

int fy_os_openat(int dir, const char *name, int flags, int mode) {
    if (fy_os_fails(EIO)) return -1;
    int fd;
    do fd = openat(dir, name, flags | O_CLOEXEC, (mode_t)mode); while (fd < 0 && errno == EINTR);
    return fd;
}

int fy_os_open(const char *path, int flags, int mode) { return fy_os_openat(AT_FDCWD, path, flags, mode); }

int fy_os_close(int fd) {
    bool fails = fy_os_fails(EIO);
    int r = close(fd);                     /* never again after EINTR: the number may be another file's by then */
    if (fails) errno = EIO;
    return fails || (r < 0 && errno != EINTR) ? -1 : 0;
}

ssize_t fy_os_read(int fd, void *buf, size_t n) {
    if (fy_os_fails(EIO)) return -1;
    size_t got = 0;
    while (got < n) {
        size_t piece = n - got < ((size_t)1 << 30) ? n - got : (size_t)1 << 30;
        ssize_t r = read(fd, (char *)buf + got, piece);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        if (r == 0) break;
        got += (size_t)r;
    }
    return (ssize_t)got;
}

int fy_os_write_all(int fd, const void *buf, size_t n) {
    if (fy_os_fails(ENOSPC)) return -1;
    size_t done = 0;
    while (done < n) {
        size_t piece = n - done < ((size_t)1 << 30) ? n - done : (size_t)1 << 30;
        ssize_t r = write(fd, (const char *)buf + done, piece);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        if (r == 0) { errno = ENOSPC; return -1; }
        done += (size_t)r;
    }
    return 0;
}

/* Not repeated after a failure: the kernel may have dropped the pages and would report success. */
int fy_os_fsync(int fd) { return fy_os_fails(EIO) ? -1 : fsync(fd); }

void fy_os_writeback(int fd, int64_t from, int64_t n) {
#ifdef SYNC_FILE_RANGE_WRITE
    (void)sync_file_range(fd, from, n, SYNC_FILE_RANGE_WRITE);
#else
    (void)fd, (void)from, (void)n;
#endif
}

int fy_os_rename(const char *from, const char *to) { return fy_os_fails(EIO) ? -1 : rename(from, to); }

int fy_os_unlink(const char *path) { return fy_os_fails(EIO) ? -1 : unlink(path); }

int fy_os_mkdir(const char *path, int mode) { return fy_os_fails(EACCES) ? -1 : mkdir(path, (mode_t)mode); }

int fy_os_chmod(int fd, unsigned mode) { return fy_os_fails(EPERM) ? -1 : fchmod(fd, (mode_t)mode); }

static int info_of(int r, const struct stat *st, fy_os_info *info) {
    if (r < 0) return -1;
    *info = (fy_os_info){ .size = (int64_t)st->st_size, .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec, .device = (uint64_t)st->st_dev, .inode = (uint64_t)st->st_ino, .links = (uint64_t)st->st_nlink, .mode = (unsigned)st->st_mode & 07777u, .regular = S_ISREG(st->st_mode),
        .folder = S_ISDIR(st->st_mode), .link = S_ISLNK(st->st_mode) };
    return 0;
}

int fy_os_stat(int fd, fy_os_info *info) {
    struct stat st;
    return fy_os_fails(EIO) ? -1 : info_of(fstat(fd, &st), &st, info);
}

int fy_os_stat_path(const char *path, bool follow, fy_os_info *info) {
    struct stat st;
    return fy_os_fails(EIO) ? -1 : info_of(follow ? stat(path, &st) : lstat(path, &st), &st, info);
}

bool fy_os_same_file(const char *a, const char *b) {
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int64_t fy_os_size(int fd) {
    fy_os_info info;
    if (fy_os_stat(fd, &info) < 0) return -1;
    if (!info.regular) { errno = EINVAL; return -1; }
    return info.size;
}

void *fy_os_map(int fd, size_t bytes) {
    if (fy_os_fails(ENOMEM)) return NULL;
    void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

void fy_os_unmap(void *p, size_t bytes) { if (p && bytes) (void)munmap(p, bytes); }

/* ---- the build ---------------------------------------------------------------------------------------------------- */

typedef struct build_id { unsigned char *id; size_t most, n; uintptr_t here; } build_id;

/* Notes follow each other: sizes of name and contents, type, then both, each on 4 bytes (elf(5)). */
static void look_for_id(build_id *b, const char *at, size_t bytes) {
    while (bytes >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) n;
        memcpy(&n, at, sizeof n);
        size_t name = ((size_t)n.n_namesz + 3) & ~(size_t)3, all = sizeof n + name + (((size_t)n.n_descsz + 3) & ~(size_t)3);
        if (all > bytes) return;
        if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && !memcmp(at + sizeof n, "GNU", 4)) {
            b->n = n.n_descsz < b->most ? n.n_descsz : b->most;
            memcpy(b->id, at + sizeof n + name, b->n);
            return;
        }
        at += all;
        bytes -= all;
    }
}

static int look_at_object(struct dl_phdr_info *info, size_t size, void *ctx) {
    build_id *b = ctx;
    bool ours = false;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        ours |= p->p_type == PT_LOAD && b->here - (info->dlpi_addr + p->p_vaddr) < p->p_memsz;
    }
    for (int i = 0; ours && !b->n && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_NOTE) look_for_id(b, (const char *)(info->dlpi_addr + p->p_vaddr), p->p_memsz);
    }
    return ours;
}

size_t fy_os_build_id(unsigned char *id, size_t most) {
    static const char here = 0;
    build_id b = {.id = id, .most = most, .here = (uintptr_t)&here};
    (void)dl_iterate_phdr(look_at_object, &b);
    return b.n;
}

void *fy_os_dlopen(const char *path, char *why, size_t n) {
    void *lib = fy_os_fails(ENOENT) ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *text = lib ? NULL : dlerror();
    if (!lib) snprintf(why, n, "%s", text ? text : strerror(errno));
    return lib;
}

bool fy_os_dlsym(void *lib, const char *name, void (**fn)(void)) {
    void *p = dlsym(lib, name);
    if (p) memcpy(fn, &p, sizeof p);
    return p != NULL;
}

void fy_os_dlclose(void *lib) { if (lib) (void)dlclose(lib); }

double fy_os_thread_seconds(void) {
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int64_t fy_os_time_ns(void) {
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

double fy_os_seconds(void) {
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
