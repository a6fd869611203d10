/* SPDX-License-Identifier: Apache-2.0
 * os.h - every allocation and system call of ferry goes through here, so that tests can make each one fail in turn. */
#ifndef FY_OS_H
#define FY_OS_H

#include "base/status.h"

#include <sys/types.h>

/* malloc, calloc, realloc with an overflow-checked count; NULL when memory is out or fy_os_fail_at says so. */
void *fy_malloc(size_t count, size_t size);
void *fy_calloc(size_t count, size_t size);
void *fy_realloc(void *p, size_t count, size_t size);
void  fy_free(void *p);
/* 64-byte aligned; freed with fy_free_aligned. */
void *fy_malloc_aligned(size_t bytes);
void  fy_free_aligned(void *p);
/* What tensors keep their elements in: as fy_malloc_aligned, unless fy_os_guard is set; then the bytes end (or start) at a page that
 * faults when it is touched, and are aligned for elements whose size divides `bytes` only. */
void *fy_malloc_data(size_t bytes, bool *guarded);
void  fy_free_data(void *p, size_t bytes, bool guarded);
/* Zeroed pages for what is large and lives long, from FY_HUGE bytes on aligned for huge ones. Those that nobody touches cost nothing. */
#define FY_HUGE ((size_t)2 << 20)
void *fy_os_pages(size_t bytes);
void  fy_os_pages_free(void *p, size_t bytes);
size_t fy_os_page(void);                                    /* bytes of a page */

/* Thin wrappers with errno kept. They retry EINTR and finish short transfers. */
int     fy_os_open(const char *path, int flags, int mode);
int     fy_os_close(int fd);
ssize_t fy_os_read(int fd, void *buf, size_t n);            /* up to n bytes; 0 at the end; -1 */
int     fy_os_write_all(int fd, const void *buf, size_t n); /* 0 or -1 */
int     fy_os_fsync(int fd);
void    fy_os_writeback(int fd, int64_t from, int64_t n);   /* a hint: start writing these bytes to the device now */
int     fy_os_rename(const char *from, const char *to);
int     fy_os_unlink(const char *path);
int64_t fy_os_size(int fd);                                 /* regular files only, else -1 */
int     fy_os_openat(int dir, const char *name, int flags, int mode);
typedef struct fy_os_info { int64_t size, mtime_ns, ctime_ns; uint64_t device, inode, links; unsigned mode; bool regular, folder, link; } fy_os_info;
int     fy_os_stat(int fd, fy_os_info *info);               /* 0 or -1 */
int     fy_os_stat_path(const char *path, bool follow, fy_os_info *info);
bool    fy_os_same_file(const char *a, const char *b);      /* both there (links followed), and one file? */
int     fy_os_chmod(int fd, unsigned mode);
void   *fy_os_map(int fd, size_t bytes);                    /* read-only, private; NULL on failure */
void    fy_os_unmap(void *p, size_t bytes);
/* Hints: these bytes will be read, written now, all of them (one call is cheaper than a fault for each page); huge pages may
 * stand there once they are written, of a range that is as many of them (said later, the system puts those in the place of small ones in its own time, 16 MiB
 * in ten seconds); what lies there is no longer wanted. */
void    fy_os_populate(const void *p, size_t bytes);
void    fy_os_populate_write(void *p, size_t bytes);
void    fy_os_huge(void *p, size_t bytes);
void    fy_os_unused(void *p, size_t bytes);
/* Puts a read-only mapping of the file in the place of pages of fy_os_pages, all or none of them; at, from: multiples of the page. */
int     fy_os_map_over(void *at, size_t bytes, int fd, int64_t from);
int     fy_os_mkdir(const char *path, int mode);
/* The build id that the linker gave the object (program or library) that ferry's code is in; 0 bytes where there is none. */
size_t  fy_os_build_id(unsigned char *id, size_t most);
/* Shared objects. `why` says in words what failed. A function's address is copied into *fn (ISO C has no cast for it); false: not there. */
void   *fy_os_dlopen(const char *path, char *why, size_t n);
bool    fy_os_dlsym(void *lib, const char *name, void (**fn)(void));
void    fy_os_dlclose(void *lib);
double  fy_os_thread_seconds(void);                         /* CPU time of the calling thread */

int64_t fy_os_time_ns(void);                                /* the clock of file times: since 1970 */
double  fy_os_seconds(void);                                /* a clock that only goes forward */

/* Test hooks. Calls are counted from 0 since the last reset; the call numbered `k` fails (k < 0: none; `forever`: all
 * from k on). Not thread safe: set while one thread runs. */
void     fy_os_fail_at(int64_t k, bool forever);
bool     fy_os_fails(int error);                            /* counts one call; true (errno = error) if it is to fail */
bool     fy_os_armed(void);                                 /* is a failure set (k >= 0), even one never reached? */
int64_t  fy_os_calls(void);
/* Guards behind (END) or in front of (START) the elements of tensors made from now on; arenas then give every request memory of its own,
 * so that AddressSanitizer sees its ends. Not thread safe: set while one thread runs. */
typedef enum fy_guard { FY_GUARD_OFF, FY_GUARD_END, FY_GUARD_START } fy_guard;
void     fy_os_guard(fy_guard g);
bool     fy_os_guarded(void);
/* Bytes allocated through this file now, and at most since the last reset. */
size_t   fy_os_bytes(void);
size_t   fy_os_peak_bytes(bool reset);

#endif
