/* SPDX-License-Identifier: Apache-2.0
 * map.h - hash map from string to pointer. Keys are borrowed, must outlive the map, and need no terminating 0. */
#ifndef FY_MAP_H
#define FY_MAP_H

#include "base/status.h"

typedef struct fy_map_slot { const char *key; size_t n; uint64_t hash; void *val; } fy_map_slot;
typedef struct fy_map { fy_map_slot *slot; size_t cap, n; } fy_map;   /* {0} is ready to use */

bool  fy_map_put(fy_map *m, const char *key, size_t n, void *val);    /* replaces; false when out of memory */
void *fy_map_get(const fy_map *m, const char *key, size_t n);         /* NULL if absent */
bool  fy_map_has(const fy_map *m, const char *key, size_t n);
bool  fy_map_del(fy_map *m, const char *key, size_t n);               /* whether it was there */
void  fy_map_free(fy_map *m);
uint64_t fy_hash(const void *p, size_t n);                            /* FNV-1a finished by a mixer, seeded per process */

/* The same for 0-terminated keys. */
bool  fy_map_puts(fy_map *m, const char *key, void *val);
void *fy_map_gets(const fy_map *m, const char *key);

/* Nearest of `n` names to `word` by edit distance, or NULL if none is near: for "did you mean". */
const char *fy_nearest(const char *word, const char *const *names, int n);

#endif
