/* SPDX-License-Identifier: Apache-2.0
 * mutate_zip.c - edits of zip archives: header fields in place, and whole archives packed anew around damaged entries, so that the damage
 * lies behind checksums and sizes that agree. */
#include "mutate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MAX_ENTRIES 64
#define MAX_BYTES ((size_t)1 << 20)      /* of an entry when inflated */

typedef struct entry { size_t head, central; char name[256]; size_t nname; unsigned method; fy_bytes data; } entry;
typedef struct archive { entry e[MAX_ENTRIES]; int n; size_t end; } archive;

static unsigned u16(const unsigned char *p) { return (unsigned)(p[0] | p[1] << 8); }
static uint32_t u32(const unsigned char *p) { return u16(p) | (uint32_t)u16(p + 2) << 16; }
static unsigned char *put(unsigned char *p, uint64_t v, int width) {
    for (int i = 0; i < width; i++) *p++ = (unsigned char)(i < 8 ? v >> 8 * i : 0);
    return p;
}

static void inflate_entry(entry *e, const unsigned char *p, size_t n, size_t size) {
    e->data.at = calloc(size + 1, 1);
    if (!e->data.at) return;
    z_stream s = {.next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)n, .next_out = e->data.at, .avail_out = (uInt)size};
    if (inflateInit2(&s, -MAX_WBITS) == Z_OK) { (void)inflate(&s, Z_FINISH); (void)inflateEnd(&s); }
    e->data.n = (size_t)s.total_out;
}

/* What can be found of the archive; false if it has no directory. Entries hold copies. */
static bool open_archive(archive *a, const fy_bytes *b) {
    a->n = 0;
    if (b->n < 22) return false;
    size_t end = b->n - 22;
    while (memcmp(b->at + end, "PK\5\6", 4)) if (!end--) return false;
    a->end = end;
    size_t at = u32(b->at + end + 16);
    while (a->n < MAX_ENTRIES && at <= b->n && b->n - at >= 46 && !memcmp(b->at + at, "PK\1\2", 4)) {
        const unsigned char *c = b->at + at;
        entry *e = &a->e[a->n];
        size_t packed = u32(c + 20), size = u32(c + 24), head = u32(c + 42), nname = u16(c + 28);
        *e = (entry){.head = head, .central = at, .nname = nname, .method = u16(c + 10)};
        if (nname >= sizeof e->name || nname > b->n - at - 46 || head > b->n || b->n - head < 30) break;
        memcpy(e->name, c + 46, nname);
        size_t data = head + 30 + u16(b->at + head + 26) + u16(b->at + head + 28);
        at += 46 + nname + u16(c + 30) + u16(c + 32);
        if (data > b->n || packed > b->n - data || size > MAX_BYTES) continue;
        if (e->method == 8) inflate_entry(e, b->at + data, packed, size);
        else {
            e->data.at = malloc(packed + 1);
            if (e->data.at) { memcpy(e->data.at, b->at + data, packed); e->data.n = packed; }
        }
        a->n++;
    }
    return true;
}

static void close_archive(archive *a) { for (int i = 0; i < a->n; i++) free(a->e[i].data.at); }

/* All entries stored, with true sizes and checksums. */
static bool pack(const archive *a, fy_bytes *b) {
    size_t need = 22;
    for (int i = 0; i < a->n; i++) need += 76 + 2 * a->e[i].nname + a->e[i].data.n;
    if (need > b->cap) return false;
    unsigned char *p = b->at;
    size_t head[MAX_ENTRIES];
    for (int i = 0; i < a->n; i++) {
        const entry *e = &a->e[i];
        head[i] = (size_t)(p - b->at);
        uint32_t crc = (uint32_t)crc32(0, e->data.at, (uInt)e->data.n);
        memcpy(p, "PK\3\4\24\0\0\0\0\0\0\0\0\0", 14);
        p = put(put(put(put(p + 14, crc, 4), e->data.n, 4), e->data.n, 4), e->nname, 4);
        memcpy(p, e->name, e->nname);
        if (e->data.n) memcpy(p + e->nname, e->data.at, e->data.n);
        p += e->nname + e->data.n;
    }
    size_t dir = (size_t)(p - b->at);
    for (int i = 0; i < a->n; i++) {
        const entry *e = &a->e[i];
        memcpy(p, "PK\1\2\24\0\24\0\0\0\0\0\0\0\0\0", 16);
        memcpy(p + 16, b->at + head[i] + 14, 12);
        p = put(put(put(p + 28, e->nname, 4), 0, 10), head[i], 4);
        memcpy(p, e->name, e->nname);
        p += e->nname;
    }
    size_t bytes = (size_t)(p - b->at) - dir;
    memcpy(p, "PK\5\6\0\0\0\0", 8);
    p = put(put(put(put(put(p + 8, (uint64_t)a->n, 2), (uint64_t)a->n, 2), bytes, 4), dir, 4), 0, 2);
    b->n = (size_t)(p - b->at);
    return true;
}

/* The format of the bytes, by the first of them. */
static fy_grammar grammar_of(fy_mutator *m, const fy_bytes *b) {
    if (b->n > 4 && !memcmp(b->at, "PK\3\4", 4)) return FY_G_ZIP;
    if (b->n > 6 && !memcmp(b->at, "\x93NUMPY", 6)) return fy_mut_one_in(m, 2) ? FY_G_TEXT : FY_G_BYTES;
    if (b->n > 2 && b->at[0] == 0x80 && b->at[1] < 6) return FY_G_PICKLE;
    return b->n && (b->at[0] == '{' || b->at[0] == '[') ? FY_G_JSON : FY_G_BYTES;
}

static bool damage_entry(fy_mutator *m, entry *e) {
    size_t cap = e->data.n + 16384;
    unsigned char *room = malloc(cap);
    if (!room) return false;
    if (e->data.n) memcpy(room, e->data.at, e->data.n);
    free(e->data.at);
    e->data = (fy_bytes){room, e->data.n, cap};
    fy_mutator inner = *m;
    inner.grammar = grammar_of(m, &e->data);
    inner.nseed = 0;
    inner.depth = m->depth + 1;
    if (inner.grammar == FY_G_ZIP && inner.depth > 2) inner.grammar = FY_G_BYTES;
    fy_mutate(&inner, &e->data);
    m->rng = inner.rng;
    return true;
}

/* One number of a local header, a directory entry or the end record; with `both`, header and directory alike. */
static bool edit_field(fy_mutator *m, fy_bytes *b, const archive *a) {
    static const struct { uint8_t local, central, width; } pair[] = {{4, 6, 2}, {6, 8, 2}, {8, 10, 2}, {14, 16, 4}, {18, 20, 4}, {22, 24, 4}, {26, 28, 2}, {28, 30, 2}};
    static const struct { uint8_t at, width; } central[] = {{32, 2}, {34, 2}, {42, 4}, {42, 4}, {38, 4}}, end[] = {{4, 2}, {6, 2}, {8, 2}, {10, 2}, {12, 4}, {16, 4}, {20, 2}};
    uint64_t v = fy_mut_extreme(m, b->n);
    size_t kind = fy_mut_below(m, 8);
    if (kind == 0 || !a->n) {
        size_t k = fy_mut_below(m, sizeof end / sizeof *end);
        (void)put(b->at + a->end + end[k].at, v, end[k].width);
        return true;
    }
    const entry *e = &a->e[fy_mut_below(m, (size_t)a->n)];
    if (kind == 1) {
        size_t k = fy_mut_below(m, sizeof central / sizeof *central);
        (void)put(b->at + e->central + central[k].at, fy_mut_one_in(m, 2) ? a->e[fy_mut_below(m, (size_t)a->n)].head : v, central[k].width);
        return true;
    }
    size_t k = fy_mut_below(m, sizeof pair / sizeof *pair);
    if (fy_mut_one_in(m, 2)) v = u32(b->at + e->central + pair[k].central) + fy_mut_below(m, 5) - 2;
    if (kind > 2) (void)put(b->at + e->head + pair[k].local, v, pair[k].width);
    if (kind != 3) (void)put(b->at + e->central + pair[k].central, v, pair[k].width);
    return true;
}

bool fy_mut_zip(fy_mutator *m, fy_bytes *b) {
    archive *a = malloc(sizeof *a);
    if (!a) return false;
    if (!open_archive(a, b)) {
        free(a);
        fy_grammar g = grammar_of(m, b);
        return g == FY_G_TEXT ? fy_mut_text(m, b) : g == FY_G_PICKLE ? fy_mut_pickle(m, b) : g == FY_G_JSON ? fy_mut_json(m, b) : fy_mut_bytes(m, b);
    }
    bool ok = false;
    if (!a->n || fy_mut_one_in(m, 8)) ok = edit_field(m, b, a);
    else {
        size_t k = fy_mut_below(m, (size_t)a->n), j = fy_mut_below(m, (size_t)a->n);
        bool main_entry = !fy_mut_one_in(m, 3);                         /* the largest: a program's graph, an array's data */
        for (int i = 0; main_entry && i < a->n; i++)
            if (a->e[i].data.n > a->e[k].data.n) k = (size_t)i;
        entry swap, *e = &a->e[k];
        switch (main_entry ? 99 : fy_mut_below(m, 12)) {
        case 0: free(e->data.at); memmove(e, e + 1, ((size_t)a->n - k - 1) * sizeof *e); a->n--; ok = true; break;
        case 1: swap = *e; *e = a->e[j]; a->e[j] = swap; ok = true; break;                       /* another order */
        case 2:                                                                                 /* each other's contents */
            swap.data = e->data; e->data = a->e[j].data; a->e[j].data = swap.data; ok = true; break;
        case 3: memcpy(e->name, a->e[j].name, sizeof e->name); e->nname = a->e[j].nname; ok = true; break;
        case 4: if (e->nname) { e->name[fy_mut_below(m, e->nname)] = (char)fy_mut_next(m); ok = true; } break;
        case 5: { const char *w = fy_mut_word(m); size_t n = strlen(w) < 255 ? strlen(w) : 255; memcpy(e->name, w, n); e->nname = n; ok = true; break; }
        default:                                                                                /* contents; small entries are as likely as large ones */
            ok = damage_entry(m, e);
        }
        ok = ok && pack(a, b);
    }
    close_archive(a);
    free(a);
    return ok;
}
