/* SPDX-License-Identifier: Apache-2.0
 * packed.h - where packed weights live: memory of the plan, or a file of an earlier start, mapped and shared by the processes that have it open.
 *
 * prepare() asks for memory in the same order and sizes each time that a model is prepared with the same options on the same instruction set;
 * what it gets is either fresh, and prepare() packs into it, or filled already. The file is found by its key: a digest of the graph, of the steps
 * made from it, of the contents of the constants that they may pack, of the instruction set, and of the program's build. Who can write to the
 * folder can change results: it is trusted as the program is. */
#ifndef FY_PACKED_H
#define FY_PACKED_H

#include "base/file.h"
#include "base/digest.h"

typedef struct fy_plan fy_plan;

typedef enum fy_packed_state {
    FY_PACKED_OFF,                       /* no folder was named, or nothing is packed */
    FY_PACKED_USED,                      /* all was read from a file */
    FY_PACKED_MADE,                      /* packed, and written */
    FY_PACKED_FAILED                     /* packed; `why` says why no file could be written. No reason not to run */
} fy_packed_state;

#define FY_PACKED_FORMAT 1               /* of the files; how weights are packed is the build id's to tell, or else this number's as well */
#define FY_PACKED_PATH 4200
#define FY_PACKED_SMALL ((size_t)1 << 20)

typedef struct fy_file_mark { uint64_t device, inode, size; int64_t mtime_ns, ctime_ns; } fy_file_mark;
typedef struct fy_packed_part { char *at; size_t bytes; } fy_packed_part;
typedef struct fy_packed_chunk { char *at; size_t bytes, used; } fy_packed_chunk;
typedef struct fy_packed {
    FY_VEC(fy_packed_part)  parts;       /* what was asked for, in order */
    FY_VEC(fy_packed_chunk) chunks;      /* memory that parts were cut from */
    size_t          bytes;               /* of all chunks */
    fy_map_file     file;                /* the file that parts are taken from, or {0} */
    int64_t         nfile;               /* parts in it */
    const uint64_t *table;               /* its (offset, bytes) of each */
    bool            strange;             /* something else was asked for than it has */
    fy_digest       key, quick;          /* quick: the same with places of contents instead of contents */
    bool            placed;              /* quick may be gone by */
    fy_file_mark    checked;             /* the file that was found good at an earlier start, or {0} */
    fy_packed_state state;
    char            path[FY_PACKED_PATH], why[300];
} fy_packed;

/* For prepare(): 64-byte aligned, zeroed where it is fresh, as long as the plan lives. *filled: the contents are there, and nothing is to be
 * written. NULL: out of memory. */
void *fy_plan_packed(fy_plan *p, size_t bytes, bool *filled);

/* Before the first prepare(): looks for the file in o.cache. After the last: writes it if there was none; `lean`: and gives the memory back, for the
 * file's pages. Neither fails: without a file, weights are packed. */
void fy_packed_open(fy_plan *p);
void fy_packed_save(fy_plan *p, bool lean);
void fy_packed_free(fy_packed *k);

/* packed_key.c: finds the key; false: out of memory. Is this open file the one that was found good? Remembers that p->packed.file is. */
FY_WARN_UNUSED bool fy_packed_key(fy_plan *p);
bool fy_packed_checked(const fy_plan *p, int fd);
void fy_packed_remember(const fy_plan *p);

#endif
