/* SPDX-License-Identifier: Apache-2.0
 * zip.c - a bounded reader of zip's central directory. Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
 *
 * Why not minizip: it has no check for overlap and duplicates, and opens entries by seeking through callbacks; here each
 * entry must be known as a range of the mapping before anything is believed. */
#include "formats/zip.h"

#include "base/checked.h"
#include "base/os.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MAX_ENTRIES 1000000
#define MAX_NAME 4096
#define END 22                           /* bytes of the end record without its comment */

static uint16_t u16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t u32(const unsigned char *p) { return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16; }
static uint64_t u64(const unsigned char *p) { return u32(p) | (uint64_t)u32(p + 4) << 32; }

bool fy_zip_is(const void *data, size_t n) { return n >= 4 && (!memcmp(data, "PK\3\4", 4) || !memcmp(data, "PK\5\6", 4)); }

/* Sizes and offset that do not fit 32 bits stand in the zip64 extra field, in this order, each only if its short field is
 * all ones (4.5.3). */
static bool zip64_extra(const unsigned char *extra, size_t n, uint64_t **want, int nwant) {
    if (!nwant) return true;
    for (size_t k = 0; k + 4 <= n;) {
        size_t len = u16(extra + k + 2);
        if (len > n - k - 4) return false;
        if (u16(extra + k) == 1) {
            if (len < (size_t)nwant * 8) return false;
            for (int i = 0; i < nwant; i++) *want[i] = u64(extra + k + 4 + 8 * (size_t)i);
            return true;
        }
        k += 4 + len;
    }
    return false;
}

typedef struct directory { uint64_t at, bytes, count, end; } directory;  /* end: where the first end record starts */

static fy_status find_directory(directory *d, const unsigned char *p, size_t n, ferry_error *e) {
    FY_NEED(e, n >= END, TRUNCATED, "a zip archive of %zu bytes is too short", n);
    size_t lowest = n - END > 65535 ? n - END - 65535 : 0, at = n - END;
    while (memcmp(p + at, "PK\5\6", 4) || u16(p + at + 20) != n - at - END) {
        FY_NEED(e, at > lowest, TRUNCATED, "the zip archive has no directory at its end (%zu bytes): was the copy interrupted?", n);
        at--;
    }
    const unsigned char *r = p + at;
    d->count = u16(r + 10); d->bytes = u32(r + 12); d->at = u32(r + 16); d->end = at;
    FY_NEED(e, u16(r + 4) == u16(r + 6) && (u16(r + 4) == 0 || u16(r + 4) == 0xFFFF), UNSUPPORTED, "a zip archive of several disks");
    if (at >= 20 && !memcmp(p + at - 20, "PK\6\7", 4)) {     /* zip64 locator */
        uint64_t z = u64(p + at - 20 + 8);
        FY_NEED(e, z <= at - 20 && at - 20 - z >= 56 && !memcmp(p + z, "PK\6\6", 4), CORRUPT,
                "the zip64 directory record is not where the locator says (byte %llu)", (unsigned long long)z);
        FY_NEED(e, u64(p + z + 4) == at - 20 - z - 12, CORRUPT, "the zip64 directory record has a wrong length");
        uint64_t count = u64(p + z + 32), bytes = u64(p + z + 40), off = u64(p + z + 48);
        FY_NEED(e, u32(p + z + 16) == 0 && u32(p + z + 20) == 0 && u64(p + z + 24) == count, UNSUPPORTED, "a zip archive of several disks");
        FY_NEED(e,
                (d->count == 0xFFFF || d->count == count) && (d->bytes == 0xFFFFFFFFu || d->bytes == bytes) &&
                    (d->at == 0xFFFFFFFFu || d->at == off),
                CORRUPT, "the zip and zip64 directory records disagree");
        d->count = count; d->bytes = bytes; d->at = off; d->end = z;
    } else FY_NEED(e, u16(r + 8) == u16(r + 10), UNSUPPORTED, "a zip archive of several disks");
    uint64_t end;
    FY_NEED(e, !__builtin_add_overflow(d->at, d->bytes, &end) && end == d->end, CORRUPT,
            "the zip directory (%llu bytes at %llu) does not end where its record starts (%llu)", (unsigned long long)d->bytes,
            (unsigned long long)d->at, (unsigned long long)d->end);
    FY_NEED(e, d->count <= MAX_ENTRIES, LIMIT, "a zip archive of %llu entries; at most %d", (unsigned long long)d->count, MAX_ENTRIES);
    FY_NEED(e, d->count <= d->bytes / 46, CORRUPT, "the zip directory counts %llu entries in %llu bytes", (unsigned long long)d->count,
            (unsigned long long)d->bytes);
    return FY_OK;
}

/* Checks the local header of `f` (whose `at` is the header's offset) and sets `at` to the data. */
static fy_status local(fy_zip *z, fy_zip_entry *f, uint16_t flags, uint64_t dir, ferry_error *e) {
    uint64_t at = f->at;
    FY_NEED(e, at <= dir && dir - at >= 30, CORRUPT, "zip entry %s lies outside the archive", f->name);
    const unsigned char *h = z->at + at;
    FY_NEED(e, !memcmp(h, "PK\3\4", 4), CORRUPT, "zip entry %s has no header at byte %llu", f->name, (unsigned long long)at);
    size_t nname = u16(h + 26), nextra = u16(h + 28);
    FY_NEED(e, dir - at - 30 >= nname + nextra, CORRUPT, "zip entry %s lies outside the archive", f->name);
    FY_NEED(e, nname == strlen(f->name) && !memcmp(h + 30, f->name, nname), CORRUPT, "zip entry %s has another name in its header",
            f->name);
    FY_NEED(e, u16(h + 8) == f->method && ((u16(h + 6) ^ flags) & 0x9) == 0, CORRUPT,
            "zip entry %s: header and directory disagree on method or flags", f->name);
    uint64_t packed = u32(h + 18), size = u32(h + 22), *want[2];
    uint32_t crc = u32(h + 14);
    int nwant = 0;
    if (size == 0xFFFFFFFFu) want[nwant++] = &size;          /* in the local field both stand there, original size first */
    if (packed == 0xFFFFFFFFu) want[nwant++] = &packed;
    FY_NEED(e, zip64_extra(h + 30 + nname, nextra, want, nwant), CORRUPT, "zip entry %s: header without its 64-bit sizes", f->name);
    bool later = flags & 8 && !packed && !size && !crc;      /* a data descriptor follows; the directory has the sizes */
    FY_NEED(e,
            later || (packed == f->packed && size == f->size && (crc == f->crc || flags & 8)) ||
                (flags & 8 && (!packed || packed == f->packed) && (!size || size == f->size)),
            CORRUPT, "zip entry %s: header says %llu bytes, directory %llu", f->name, (unsigned long long)size,
            (unsigned long long)f->size);
    f->at = at + 30 + nname + nextra;
    FY_NEED(e, dir - f->at >= f->packed, CORRUPT, "zip entry %s of %llu bytes reaches into the directory", f->name,
            (unsigned long long)f->packed);
    return FY_OK;
}

typedef struct span { uint64_t from, to; const char *name; } span;
static int by_start(const void *a, const void *b) {
    const span *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

static fy_status read_directory(fy_zip *z, const directory *d, span *spans, ferry_error *e) {
    uint64_t at = d->at, end = d->at + d->bytes;
    for (int64_t i = 0; i < z->count; i++) {
        fy_zip_entry *f = &z->entry[i];
        const unsigned char *c = z->at + at;
        FY_NEED(e, end - at >= 46 && !memcmp(c, "PK\1\2", 4), CORRUPT, "zip directory entry %lld is damaged", (long long)i);
        size_t nname = u16(c + 28), nextra = u16(c + 30), ncomment = u16(c + 32);
        FY_NEED(e, end - at - 46 >= nname + nextra + ncomment, CORRUPT, "zip directory entry %lld is damaged", (long long)i);
        FY_NEED(e, nname >= 1 && nname <= MAX_NAME && !memchr(c + 46, 0, nname), CORRUPT, "zip directory entry %lld has no usable name",
                (long long)i);
        char *name = fy_arena_strn(&z->arena, (const char *)c + 46, nname);
        FY_NOMEM(e, name);
        f->name = name;
        uint16_t flags = u16(c + 8);
        f->method = u16(c + 10); f->crc = u32(c + 16); f->packed = u32(c + 20); f->size = u32(c + 24); f->at = u32(c + 42);
        uint64_t *want[3];
        int nwant = 0;
        if (f->size == 0xFFFFFFFFu) want[nwant++] = &f->size;
        if (f->packed == 0xFFFFFFFFu) want[nwant++] = &f->packed;
        if (f->at == 0xFFFFFFFFu) want[nwant++] = &f->at;
        FY_NEED(e, zip64_extra(c + 46 + nname, nextra, want, nwant), CORRUPT, "zip entry %s: no 64-bit sizes in the directory", name);
        FY_NEED(e, !(flags & 0x2041), UNSUPPORTED, "zip entry %s is encrypted", name);
        FY_NEED(e, f->method == 0 || f->method == 8, UNSUPPORTED, "zip entry %s is compressed by method %d; known are stored and deflate",
                name, f->method);
        FY_NEED(e, f->method || f->packed == f->size, CORRUPT, "zip entry %s is stored but has two sizes", name);
        FY_NEED(e, !fy_map_has(&z->by_name, name, nname), CORRUPT, "two zip entries are named %s", name);
        FY_NOMEM(e, fy_map_put(&z->by_name, name, nname, f));
        spans[i].from = f->at; spans[i].name = name;
        FY_TRY(local(z, f, flags, d->at, e));
        spans[i].to = f->at + f->packed;
        at += 46 + nname + nextra + ncomment;
    }
    FY_NEED(e, at == end, CORRUPT, "the zip directory has %llu bytes too many", (unsigned long long)(end - at));
    qsort(spans, (size_t)z->count, sizeof *spans, by_start);
    for (int64_t i = 1; i < z->count; i++)
        FY_NEED(e, spans[i].from >= spans[i - 1].to, CORRUPT, "zip entries %s and %s overlap", spans[i - 1].name, spans[i].name);
    FY_NEED(e, !z->count || spans[0].from == 0, FORMAT, "the zip archive has %llu bytes in front of its first entry",
            (unsigned long long)spans[0].from);
    return FY_OK;
}

fy_status fy_zip_open(fy_zip *z, const void *data, size_t n, ferry_error *e) {
    *z = (fy_zip){ .at = data, .n = n };
    directory d = {0};
    FY_TRY(find_directory(&d, data, n, e));
    z->count = (int64_t)d.count;
    z->entry = FY_NEWN(&z->arena, fy_zip_entry, z->count);
    span *spans = fy_malloc(d.count + 1, sizeof *spans);
    fy_status s = z->entry && spans ? read_directory(z, &d, spans, e) : fy_nomem(e);
    fy_free(spans);
    if (s) fy_zip_close(z);
    return s;
}

void fy_zip_close(fy_zip *z) {
    fy_map_free(&z->by_name);
    fy_arena_free(&z->arena);
    *z = (fy_zip){0};
}

const fy_zip_entry *fy_zip_find(const fy_zip *z, const char *name) { return fy_map_gets(&z->by_name, name); }

fy_status fy_zip_stored(const fy_zip *z, const fy_zip_entry *f, const unsigned char **p, ferry_error *e) {
    FY_NEED(e, f->method == 0, UNSUPPORTED, "%s is compressed", f->name);
    *p = z->at + f->at;
    return FY_OK;
}

static void *zlib_alloc(void *ctx, unsigned n, unsigned size) { (void)ctx; return fy_malloc(n, size); }
static void zlib_free(void *ctx, void *p) { (void)ctx; fy_free(p); }

fy_status fy_zip_read(const fy_zip *z, const fy_zip_entry *f, fy_arena *a, uint64_t max, const unsigned char **p, ferry_error *e) {
    FY_NEED(e, f->size <= max, LIMIT, "%s is %llu bytes long; at most %llu", f->name, (unsigned long long)f->size, (unsigned long long)max);
    if (!f->method) { *p = z->at + f->at; return FY_OK; }
    /* Deflate cannot shrink to less than 1/1032: a directory that claims more is a lie, found before memory is taken. */
    FY_NEED(e, f->size / 1032 <= f->packed, CORRUPT, "%s claims to grow from %llu to %llu bytes", f->name, (unsigned long long)f->packed,
            (unsigned long long)f->size);
    unsigned char *out = fy_arena_alloc(a, (size_t)f->size + 1, 1);
    FY_NOMEM(e, out);
    z_stream s = { .zalloc = zlib_alloc, .zfree = zlib_free };
    FY_NOMEM(e, inflateInit2(&s, -MAX_WBITS) == Z_OK);
    uint64_t in = 0, done = 0;
    int r = Z_OK;
    while (r == Z_OK) {                  /* zlib counts in 32 bits: feed it in pieces */
        uint64_t feed = f->packed - in < 1u << 30 ? f->packed - in : 1u << 30,
                 room = f->size + 1 - done < 1u << 30 ? f->size + 1 - done : 1u << 30;
        unsigned char *next = z->at ? (unsigned char *)(uintptr_t)(z->at + f->at + in) : NULL;
        s.next_in = next; s.avail_in = (unsigned)feed; s.next_out = out + done; s.avail_out = (unsigned)room;
        r = inflate(&s, Z_NO_FLUSH);
        uint64_t ate = feed - s.avail_in, made = room - s.avail_out;
        in += ate; done += made;
        if (r == Z_OK && !ate && !made) r = Z_BUF_ERROR;
        if (done > f->size) break;
    }
    inflateEnd(&s);
    FY_NOMEM(e, r != Z_MEM_ERROR);
    FY_NEED(e, r == Z_STREAM_END && done == f->size && in == f->packed, CORRUPT, "%s cannot be inflated to its %llu bytes", f->name,
            (unsigned long long)f->size);
    FY_NEED(e, fy_zip_crc_ok(f, out), CORRUPT, "%s: its checksum is wrong", f->name);
    *p = out;
    return FY_OK;
}

bool fy_zip_crc_ok(const fy_zip_entry *f, const unsigned char *p) {
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), p, (size_t)f->size) == f->crc;
}
