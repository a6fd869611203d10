/* SPDX-License-Identifier: Apache-2.0
 * arena.c - blocks of zeroed memory, each twice as large as the one before up to 1 MiB; a large request has its own. */
#include "base/arena.h"

#include "base/checked.h"
#include "base/os.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ALIGN 16u
#define FIRST ((size_t)4096)
#define LARGEST ((size_t)1 << 20)

typedef struct fy_arena_block { struct fy_arena_block *next; size_t used, size, unused; } block;   /* bytes follow */
_Static_assert(sizeof(block) % ALIGN == 0, "what follows a block's head must be aligned");

void *fy_arena_alloc(fy_arena *a, size_t count, size_t size) {
    size_t bytes;
    if (!fy_mul_size(&bytes, count, size) || bytes > SIZE_MAX / 2) return NULL;
    if (fy_os_armed() && fy_os_fails(ENOMEM)) return NULL;      /* under test every request may fail, not only those for a block */
    size_t exact = bytes;
    bool guarded = fy_os_guarded();
    bytes = bytes ? (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    block *b = a->head;
    if (guarded || !b || b->size - b->used < bytes) {
        size_t room = b ? b->size * 2 : FIRST - sizeof(block);
        if (room > LARGEST) room = LARGEST;
        bool alone = guarded || bytes > room / 4;
        if (alone) room = guarded && exact ? exact : bytes;
        block *fresh = fy_calloc(1, sizeof(block) + room);
        if (!fresh) return NULL;
        fresh->size = room;
        if (alone && b) {                   /* behind the head, whose rest stays in use */
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            a->head = fresh;
        }
        b = fresh;
    }
    void *p = (char *)(b + 1) + b->used;
    b->used += guarded ? b->size : bytes;
    a->bytes += bytes;
    return p;
}

void *fy_arena_copy(fy_arena *a, const void *src, size_t count, size_t size) {
    void *p = fy_arena_alloc(a, count, size);
    if (p && count && size) memcpy(p, src, count * size);
    return p;
}

char *fy_arena_strn(fy_arena *a, const char *s, size_t n) {
    if (!s || n == SIZE_MAX) return NULL;
    char *p = fy_arena_alloc(a, n + 1, 1);
    if (p && n) memcpy(p, s, n);
    return p;
}

char *fy_arena_str(fy_arena *a, const char *s) { return s ? fy_arena_strn(a, s, strlen(s)) : NULL; }

char *fy_arena_fmt(fy_arena *a, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n < 0 ? NULL : fy_arena_alloc(a, (size_t)n + 1, 1);
    if (p) (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}

void fy_arena_free(fy_arena *a) {
    for (block *b = a->head, *next; b; b = next) {
        next = b->next;
        fy_free(b);
    }
    *a = (fy_arena){ 0 };
}

void fy_arena_reset(fy_arena *a) {
    block *keep = a->head;
    if (!keep || fy_os_guarded()) { fy_arena_free(a); return; }
    for (block *b = keep->next, *next; b; b = next) {
        next = b->next;
        fy_free(b);
    }
    memset(keep + 1, 0, keep->used);
    keep->next = NULL;
    keep->used = 0;
    a->bytes = 0;
}

bool fy_vec_grow(void **at, int64_t *cap, int64_t need, size_t size) {
    if (need <= *cap) return true;
    if (need > INT64_MAX / 4) return false;
    int64_t room = *cap < 8 ? 8 : *cap + *cap / 2;
    if (room < need) room = need;
    void *p = fy_realloc(*at, (size_t)room, size);
    if (!p) return false;
    *at = p;
    *cap = room;
    return true;
}
