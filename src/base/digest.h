/* SPDX-License-Identifier: Apache-2.0
 * digest.h - 128 bits that tell contents apart, at the speed of memory: for keys and checksums of our own files. The same on every machine. It is
 * no cryptographic hash: who means to can make two contents of one digest. */
#ifndef FY_DIGEST_H
#define FY_DIGEST_H

#include "base/threads.h"

typedef struct fy_digest { uint64_t at[2]; } fy_digest;

fy_digest fy_digest_of(const void *p, size_t n);
static inline bool fy_digest_same(fy_digest a, fy_digest b) { return a.at[0] == b.at[0] && a.at[1] == b.at[1]; }

/* Of several ranges one after the other, by all threads of a pool (NULL: one); how they are cut is part of the result, the number of threads is
 * not. false: out of memory. */
typedef struct fy_range { const void *at; size_t n; } fy_range;
FY_WARN_UNUSED bool fy_digest_ranges(fy_digest *d, fy_pool *pool, const fy_range *r, int64_t n);

#endif
