/* SPDX-License-Identifier: Apache-2.0
 * arena.h - memory that lives and dies together: a graph, a program, a plan owns one; nothing inside is freed singly. */
#ifndef FY_ARENA_H
#define FY_ARENA_H

#include "base/status.h"

#include <stdarg.h>

typedef struct fy_arena { struct fy_arena_block *head; size_t bytes; } fy_arena;   /* {0} is ready to use */

/* NULL when out of memory. Zero bytes give a valid, distinct pointer. Memory is zeroed; 16-byte aligned. */
void *fy_arena_alloc(fy_arena *a, size_t count, size_t size);
void *fy_arena_copy(fy_arena *a, const void *src, size_t count, size_t size);
char *fy_arena_str(fy_arena *a, const char *s);                       /* NULL in: NULL out */
char *fy_arena_strn(fy_arena *a, const char *s, size_t n);
char *fy_arena_fmt(fy_arena *a, const char *fmt, ...) FY_PRINTF(2, 3);
void  fy_arena_free(fy_arena *a);                                     /* frees all; the arena is {0} again */
void  fy_arena_reset(fy_arena *a);                                    /* the same, but a block stays for the next use */

#define FY_NEW(arena, T)     ((T *)fy_arena_alloc(arena, 1, sizeof(T)))
#define FY_NEWN(arena, T, n) ((T *)fy_arena_alloc(arena, (size_t)(n), sizeof(T)))

/* A growing array: FY_VEC(int) v = {0}; FY_PUSH(e, v, 3); v.at[i]; fy_free(v.at). Fails with NOMEM in a status function. */
#define FY_VEC(T) struct { T *at; int64_t n, cap; }
bool fy_vec_grow(void **at, int64_t *cap, int64_t need, size_t size);
#define FY_RESERVE(v, need) fy_vec_grow((void **)&(v).at, &(v).cap, (need), sizeof(*(v).at))
#define FY_PUSH(e, v, ...) do { FY_NOMEM(e, FY_RESERVE(v, (v).n + 1)); (v).at[(v).n++] = __VA_ARGS__; } while (0)

#endif
