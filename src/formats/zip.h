/* SPDX-License-Identifier: Apache-2.0
 * zip.h - reads zip archives (.pt2, .pt, .npz) that lie in memory: entries are ranges of the mapped file.
 *
 * Only the central directory is believed, and local headers must agree with it. Refused: prepended data, duplicate names,
 * overlapping entries, encryption, several disks. Methods: stored and deflate. */
#ifndef FY_ZIP_H
#define FY_ZIP_H

#include "base/arena.h"
#include "base/map.h"

typedef struct fy_zip_entry {
    const char *name;                    /* 0-terminated, in the archive's arena */
    uint64_t    at, packed, size;        /* offset of the data in the range, its bytes there, its bytes when inflated */
    uint32_t    crc;
    uint16_t    method;                  /* 0 stored, 8 deflate */
} fy_zip_entry;

typedef struct fy_zip { const unsigned char *at; size_t n; int64_t count; fy_zip_entry *entry; fy_map by_name; fy_arena arena; } fy_zip;

bool fy_zip_is(const void *data, size_t n);                  /* starts with a local header? */
/* `data` must outlive the archive. Errors CORRUPT, TRUNCATED, LIMIT, UNSUPPORTED. On failure nothing is to be closed. */
FY_CHECKED fy_status fy_zip_open(fy_zip *z, const void *data, size_t n, ferry_error *e);
void fy_zip_close(fy_zip *z);
const fy_zip_entry *fy_zip_find(const fy_zip *z, const char *name);      /* NULL if absent */
/* The bytes of a stored entry, in place; UNSUPPORTED if it is compressed. */
FY_CHECKED fy_status fy_zip_stored(const fy_zip *z, const fy_zip_entry *f, const unsigned char **p, ferry_error *e);
/* The bytes of any entry: in place if stored, else inflated into `a`. LIMIT above `max` bytes; CORRUPT if the checksum
 * or the inflated size is not as the directory says (checked for inflated data). */
FY_CHECKED fy_status fy_zip_read(const fy_zip *z, const fy_zip_entry *f, fy_arena *a, uint64_t max, const unsigned char **p,
                                 ferry_error *e);
/* Is the stored or inflated data `p` as its CRC-32 says? Python may be told to write a false one, so it is for the caller
 * to judge. */
bool fy_zip_crc_ok(const fy_zip_entry *f, const unsigned char *p);

#endif
