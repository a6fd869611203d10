/* SPDX-License-Identifier: Apache-2.0
 * packed.c - memory for packed weights, and the file that keeps them for the next start: DIR/KEY.packed.
 *
 *   0    "FERRYPK" and a byte 0, u32 format, u32 0
 *   16   key, u64 x 2
 *   32   parts: how many, u64;   bytes of the file, u64
 *   48   digest of the parts' bytes, u64 x 2
 *   64   digest of the bytes before it and of the table, u64 x 2
 *   80   table: offset, bytes of each part, u64 x 2
 *   then the parts, each at a multiple of 64, those of one chunk of memory from a page on
 *
 * Written beside its place, flushed, renamed: nobody sees half of it, and of several writers the last one wins with the same contents. All of it is
 * checked before any of it is used, the weights too, unless this very file is known to be good (packed_key.c). Native byte order: the key of another
 * machine's file does not fit. */
#include "plan/plan.h"

#include "base/checked.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ALIGN ((size_t)64)
#define FILE_PAGE ((size_t)65536)        /* a multiple of every machine's page */
#define FIRST ((size_t)256 << 10)        /* the first chunk; each is as large as all before it */
#define LARGEST ((size_t)64 << 20)
#define TOUCHED ((int64_t)1 << 20)       /* pages made at a time */

typedef struct head { char magic[8]; uint32_t format, zero; fy_digest key; uint64_t parts, bytes; fy_digest contents, check; } head;
_Static_assert(sizeof(head) == 80, "the head has no holes");

/* ---- memory ---------------------------------------------------------------------------------------------------------------- */

static char *cut(fy_packed *k, size_t bytes) {
    fy_packed_chunk *c = k->chunks.n ? &k->chunks.at[k->chunks.n - 1] : NULL;
    if (!c || c->bytes - c->used < bytes || fy_os_guarded()) {
        size_t room = k->bytes < FIRST ? FIRST : k->bytes > LARGEST ? LARGEST : k->bytes;
        if (room < bytes) room = bytes;
        if (!FY_RESERVE(k->chunks, k->chunks.n + 1)) return NULL;
        c = &k->chunks.at[k->chunks.n];
        *c = (fy_packed_chunk){.at = fy_os_pages(room), .bytes = room};
        if (!c->at) return NULL;
        fy_os_huge(c->at, room / FY_HUGE * FY_HUGE);         /* before they are touched: those that are there already stay small for minutes */
        k->chunks.n++;
        k->bytes += room;
    }
    char *at = c->at + c->used;
    c->used += bytes;
    return at;
}

static void touch(void *arg, int64_t begin, int64_t end) { fy_os_populate_write((char *)arg + begin, (size_t)(end - begin)); }

void *fy_plan_packed(fy_plan *p, size_t bytes, bool *filled) {
    fy_packed *k = &p->packed;
    int64_t i = k->parts.n;
    size_t room;
    *filled = false;
    if (!fy_add_size(&room, bytes, 2 * ALIGN - 1) || !FY_RESERVE(k->parts, i + 1)) return NULL;
    room = room / ALIGN * ALIGN - ALIGN;
    if (!room) room = ALIGN;
    if (k->file.at && !k->strange && i < k->nfile && k->table[2 * i + 1] == bytes) {
        union { const unsigned char *in; char *out; } at = {k->file.at + k->table[2 * i]};          /* nobody writes there: it is filled */
        *filled = true;
        k->parts.at[k->parts.n++] = (fy_packed_part){at.out, bytes};
        return at.out;
    }
    k->strange |= k->file.at != NULL;
    char *at = cut(k, room);
    if (!at) return NULL;
    k->parts.at[k->parts.n++] = (fy_packed_part){at, bytes};
    fy_for(p->o.pool, (int64_t)bytes, TOUCHED, touch, at);
    return at;
}

void fy_packed_free(fy_packed *k) {
    for (int64_t i = 0; i < k->chunks.n; i++) fy_os_pages_free(k->chunks.at[i].at, k->chunks.at[i].bytes);
    fy_free(k->chunks.at);
    fy_free(k->parts.at);
    fy_file_close(&k->file);
    *k = (fy_packed){0};
}

/* ---- reading --------------------------------------------------------------------------------------------------------------- */

static bool digest_parts(fy_digest *d, const fy_plan *p, const fy_packed_part *part, int64_t n) {
    fy_range *r = fy_malloc((size_t)n + 1, sizeof *r);
    for (int64_t i = 0; r && i < n; i++) r[i] = (fy_range){part[i].at, part[i].bytes};
    bool ok = r && fy_digest_ranges(d, p->o.pool, r, n);
    fy_free(r);
    return ok;
}

/* Of the head before its check, and the table. */
static bool digest_head(fy_digest *d, const head *h, const uint64_t *table) {
    return fy_digest_ranges(d, NULL, (fy_range[]){{h, offsetof(head, check)}, {table, h->parts * 2 * sizeof *table}}, 2);
}

static bool good(const fy_plan *p, const fy_map_file *f) {
    const fy_packed *k = &p->packed;
    head h;
    fy_digest d;
    if (f->n < sizeof h) return false;
    memcpy(&h, f->at, sizeof h);
    if (memcmp(h.magic, "FERRYPK", 8) || h.format != FY_PACKED_FORMAT || h.zero || !fy_digest_same(h.key, k->key) || h.bytes != f->n) return false;
    if (h.parts > (f->n - sizeof h) / (2 * sizeof *k->table)) return false;
    const uint64_t *table = (const uint64_t *)(const void *)(f->at + sizeof h);
    if (!digest_head(&d, &h, table) || !fy_digest_same(d, h.check)) return false;
    for (uint64_t i = 0; i < h.parts; i++)
        if (table[2 * i] % ALIGN || table[2 * i] > f->n || table[2 * i + 1] > f->n - table[2 * i]) return false;
    if (fy_packed_checked(p, f->fd)) return true;
    fy_range *r = fy_malloc((size_t)h.parts + 1, sizeof *r);
    for (uint64_t i = 0; r && i < h.parts; i++) r[i] = (fy_range){f->at + table[2 * i], (size_t)table[2 * i + 1]};
    bool ok = r && fy_digest_ranges(&d, p->o.pool, r, (int64_t)h.parts) && fy_digest_same(d, h.contents);
    fy_free(r);
    return ok;
}

static bool packs(const fy_plan *p) {
    for (int64_t i = 0; i < p->steps.n; i++)
        if (p->steps.at[i]->impl->prepare) return true;
    return false;
}

void fy_packed_open(fy_plan *p) {
    fy_packed *k = &p->packed;
    if (!p->o.cache || !*p->o.cache || !packs(p)) return;
    k->state = FY_PACKED_FAILED;
    int n = snprintf(k->path, sizeof k->path, "%s/", p->o.cache);
    if (n < 0 || (size_t)n + 48 > sizeof k->path) {
        (void)snprintf(k->why, sizeof k->why, "the path of the folder is too long");
        return;
    }
    if (!fy_packed_key(p)) {
        (void)snprintf(k->why, sizeof k->why, "out of memory");
        return;
    }
    (void)snprintf(k->path + n, sizeof k->path - (size_t)n, "%016llx%016llx.packed", (unsigned long long)k->key.at[0], (unsigned long long)k->key.at[1]);
    if (fy_file_open(&k->file, k->path, NULL)) {
        k->file = (fy_map_file){0};
        return;
    }
    if (!good(p, &k->file)) {            /* damaged, or another's: written anew */
        fy_file_close(&k->file);
        k->file = (fy_map_file){0};
        return;
    }
    head h;
    memcpy(&h, k->file.at, sizeof h);
    if (!fy_packed_checked(p, k->file.fd)) fy_packed_remember(p);
    else if (!p->o.lean) fy_os_populate(k->file.at, k->file.n);
    k->nfile = (int64_t)h.parts;
    k->table = (const uint64_t *)(const void *)(k->file.at + sizeof h);
}

/* ---- writing --------------------------------------------------------------------------------------------------------------- */

static size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Where chunk i begins in the file. */
static size_t chunk_offset(const fy_packed *k, int64_t chunk) {
    size_t at = up(sizeof(head) + (size_t)k->parts.n * 2 * sizeof(uint64_t), FILE_PAGE);
    for (int64_t i = 0; i < chunk; i++) at = up(at + k->chunks.at[i].used, FILE_PAGE);
    return at;
}

static void fill_table(uint64_t *table, const fy_packed *k) {
    int64_t chunk = 0;
    size_t from = chunk_offset(k, 0);
    for (int64_t i = 0; i < k->parts.n; i++) {
        const char *at = k->parts.at[i].at;
        while ((uintptr_t)at - (uintptr_t)k->chunks.at[chunk].at >= k->chunks.at[chunk].used) {
            from = up(from + k->chunks.at[chunk].used, FILE_PAGE);
            chunk++;
        }
        table[2 * i] = from + (size_t)(at - k->chunks.at[chunk].at);
        table[2 * i + 1] = k->parts.at[i].bytes;
    }
}

static fy_status pad_to(fy_out *o, size_t at, ferry_error *e) {
    static const char zero[1024];
    while (o->written < at) FY_TRY(fy_out_write(o, zero, at - o->written < sizeof zero ? at - o->written : sizeof zero, e));
    return FY_OK;
}

static fy_status write_file(fy_plan *p, ferry_error *e) {
    fy_packed *k = &p->packed;
    int64_t last = k->chunks.n - 1;
    head h = {.magic = "FERRYPK", .format = FY_PACKED_FORMAT, .key = k->key, .parts = (uint64_t)k->parts.n, .bytes = chunk_offset(k, last) + k->chunks.at[last].used};
    uint64_t *table = fy_malloc((size_t)k->parts.n * 2, sizeof *table);
    FY_NOMEM(e, table);
    fill_table(table, k);
    fy_out o;
    fy_status s = digest_parts(&h.contents, p, k->parts.at, k->parts.n) && digest_head(&h.check, &h, table) ? FY_OK : fy_nomem(e);
    if (!s) {
        (void)fy_os_mkdir(p->o.cache, 0777);                 /* one that is there already, or cannot be made: opening tells */
        s = fy_out_open(&o, k->path, e);
        if (!s) s = fy_out_write(&o, &h, sizeof h, e);
        if (!s) s = fy_out_write(&o, table, (size_t)k->parts.n * 2 * sizeof *table, e);
        for (int64_t i = 0; !s && i <= last; i++) {
            s = pad_to(&o, chunk_offset(k, i), e);
            if (!s) s = fy_out_write(&o, k->chunks.at[i].at, k->chunks.at[i].used, e);
        }
        if (!s) s = fy_out_commit(&o, e);
        fy_out_abort(&o);
    }
    fy_free(table);
    return s;
}

/* The pages of the file that was written in the place of the memory that it was written from. */
static void map_over(fy_packed *k) {
    fy_map_file f;
    if (fy_file_open(&f, k->path, NULL)) return;
    for (int64_t i = 0; i < k->chunks.n; i++) {
        const fy_packed_chunk *c = &k->chunks.at[i];
        size_t from = chunk_offset(k, i), whole = c->used / fy_os_page() * fy_os_page();
        bool same = from <= f.n && c->used <= f.n - from && !memcmp(f.at + from, c->at, c->used);       /* another writer's is the same; let us see */
        if (same && whole && fy_os_map_over(c->at, whole, f.fd, (int64_t)from)) break;
    }
    fy_file_close(&f);
}

void fy_packed_save(fy_plan *p, bool lean) {
    fy_packed *k = &p->packed;
    ferry_error e = {0};
    for (int64_t i = 0; i < k->chunks.n; i++) fy_os_unused(k->chunks.at[i].at + k->chunks.at[i].used, k->chunks.at[i].bytes - k->chunks.at[i].used);
    if (k->state == FY_PACKED_OFF || *k->why) return;
    if (!k->parts.n) k->state = FY_PACKED_OFF;
    else if (k->file.at && !k->strange && k->parts.n == k->nfile) k->state = FY_PACKED_USED;
    else if (k->file.at) {               /* cannot be, as the key has all that prepare() goes by; if it is, the next start begins anew */
        (void)fy_os_unlink(k->path);
        (void)snprintf(k->why, sizeof k->why, "'%.200s' does not fit and was removed", k->path);
    } else if (write_file(p, &e)) (void)snprintf(k->why, sizeof k->why, "%.290s", e.text);
    else {
        k->state = FY_PACKED_MADE;
        if (lean) map_over(k);
    }
}
