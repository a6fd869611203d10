/* SPDX-License-Identifier: Apache-2.0
 * map.c - open addressing with linear probing; deletion shifts the run back, so that no tombstones pile up. */
#include "base/map.h"

#include "base/os.h"

#include <stdatomic.h>
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

/* A file's author must not be able to choose names that all fall into one slot: the seed differs from run to run. */
static uint64_t seed(void) {
    static _Atomic uint64_t kept;
    uint64_t s = atomic_load_explicit(&kept, memory_order_relaxed);
    if (s) return s;
    s = (uint64_t)(uintptr_t)&kept * 0x9E3779B97F4A7C15u;
#if defined(__linux__)
    const unsigned char *noise = (const unsigned char *)getauxval(AT_RANDOM);   /* 16 bytes from the kernel, once a process */
    uint64_t r = 0;
    if (noise) memcpy(&r, noise, sizeof r);
    s ^= r;
#endif
    s |= 1;
    uint64_t none = 0;
    return atomic_compare_exchange_strong(&kept, &none, s) ? s : none;
}

uint64_t fy_hash(const void *p, size_t n) {
    const unsigned char *c = p;
    uint64_t h = 0xCBF29CE484222325u ^ seed();
    for (size_t i = 0; i < n; i++) h = (h ^ c[i]) * 0x100000001B3u;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    h ^= h >> 29;
    h *= 0xD6E8FEB86659FD93u;
    return h ^ (h >> 32);
}

/* The slot that holds the key, or the empty one where it belongs. cap is a power of two and never full. */
static size_t find(const fy_map *m, const char *key, size_t n, uint64_t hash) {
    size_t i = (size_t)hash & (m->cap - 1);
    for (;; i = (i + 1) & (m->cap - 1)) {
        const fy_map_slot *s = &m->slot[i];
        if (!s->key || (s->hash == hash && s->n == n && memcmp(s->key, key, n) == 0)) return i;
    }
}

static bool grow(fy_map *m) {
    fy_map bigger = { NULL, m->cap ? m->cap * 2 : 16, m->n };
    bigger.slot = fy_calloc(bigger.cap, sizeof(fy_map_slot));
    if (!bigger.slot) return false;
    for (size_t i = 0; i < m->cap; i++) {
        if (!m->slot[i].key) continue;
        size_t j = (size_t)m->slot[i].hash & (bigger.cap - 1);
        while (bigger.slot[j].key) j = (j + 1) & (bigger.cap - 1);
        bigger.slot[j] = m->slot[i];
    }
    fy_free(m->slot);
    *m = bigger;
    return true;
}

bool fy_map_put(fy_map *m, const char *key, size_t n, void *val) {
    if (!key) { key = ""; n = 0; }
    uint64_t hash = fy_hash(key, n);
    if (m->cap) {
        size_t i = find(m, key, n, hash);
        if (m->slot[i].key) { m->slot[i].val = val; return true; }
    }
    if (m->n + m->n / 2 >= m->cap && !grow(m)) return false;        /* at most two thirds full */
    m->slot[find(m, key, n, hash)] = (fy_map_slot){ key, n, hash, val };
    m->n++;
    return true;
}

static const fy_map_slot *lookup(const fy_map *m, const char *key, size_t n) {
    if (!m->n) return NULL;
    if (!key) { key = ""; n = 0; }
    const fy_map_slot *s = &m->slot[find(m, key, n, fy_hash(key, n))];
    return s->key ? s : NULL;
}

void *fy_map_get(const fy_map *m, const char *key, size_t n) {
    const fy_map_slot *s = lookup(m, key, n);
    return s ? s->val : NULL;
}

bool fy_map_has(const fy_map *m, const char *key, size_t n) { return lookup(m, key, n) != NULL; }

bool fy_map_del(fy_map *m, const char *key, size_t n) {
    const fy_map_slot *s = lookup(m, key, n);
    if (!s) return false;
    size_t hole = (size_t)(s - m->slot), mask = m->cap - 1;
    for (size_t i = (hole + 1) & mask; m->slot[i].key; i = (i + 1) & mask) {
        size_t home = (size_t)m->slot[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {           /* its home is at or before the hole: it may move there */
            m->slot[hole] = m->slot[i];
            hole = i;
        }
    }
    m->slot[hole] = (fy_map_slot){ 0 };
    m->n--;
    return true;
}

void fy_map_free(fy_map *m) {
    fy_free(m->slot);
    *m = (fy_map){ 0 };
}

bool  fy_map_puts(fy_map *m, const char *key, void *val) { return fy_map_put(m, key, key ? strlen(key) : 0, val); }
void *fy_map_gets(const fy_map *m, const char *key) { return fy_map_get(m, key, key ? strlen(key) : 0); }

static char fold(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c == '-' ? '_' : c; }

#define WORD 64
/* Edit distance (insert, delete, replace, swap of neighbours) of two words of at most WORD bytes, case folded. */
static int distance(const char *a, int n, const char *b, int m) {
    int row[3][WORD + 1];
    for (int j = 0; j <= m; j++) row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3], *up = row[(i - 1) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            char x = fold(a[i - 1]), y = fold(b[j - 1]);
            int best = up[j - 1] + (x != y);
            if (up[j] + 1 < best) best = up[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && x == fold(b[j - 2]) && fold(a[i - 2]) == y && up2[j - 2] + 1 < best) best = up2[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

const char *fy_nearest(const char *word, const char *const *names, int n) {
    size_t len = word ? strlen(word) : 0;
    if (len == 0 || len > WORD) return NULL;
    const char *best = NULL;
    int best_distance = len <= 2 ? 1 : len <= 5 ? 2 : 1 + (int)len / 3;       /* one past what still counts as near */
    best_distance += len > 2 && len <= 5 ? 0 : 1;
    for (int i = 0; i < n; i++) {
        size_t other = names[i] ? strlen(names[i]) : 0;
        if (other == 0 || other > WORD) continue;
        int d = distance(word, (int)len, names[i], (int)other);
        if (d < best_distance) { best_distance = d; best = names[i]; }
    }
    if (best) return best;
    for (int i = 0; i < n && len >= 3; i++) {                                  /* else: a name that begins with the word */
        size_t k = 0;
        while (names[i] && k < len && names[i][k] && fold(names[i][k]) == fold(word[k])) k++;
        if (k == len) return names[i];
    }
    return NULL;
}
