/* SPDX-License-Identifier: Apache-2.0
 * mutate_proto.c - edits of protobuf fields. The fields of all messages are found by trial (a byte field that parses as a message
 * counts as one); the lengths around an edit are put right unless the edit is a false length. */
#include "mutate.h"

#include <string.h>

#define MAX_FIELDS 4096
#define MAX_DEPTH 12

/* tag at `at`; for length-delimited fields the length is at `len` and the body at `body`. */
typedef struct field { size_t at, len, body, end; int up, wire; } field;
typedef struct fields { field f[MAX_FIELDS]; int n; } fields;

static bool varint(const unsigned char *p, size_t *at, size_t end, uint64_t *v) {
    *v = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        unsigned char c = p[(*at)++];
        *v |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) return true;
    }
    return false;
}

static size_t put_varint(unsigned char out[10], uint64_t v) {
    size_t n = 0;
    do { out[n] = (unsigned char)((v & 0x7F) | (v > 0x7F ? 0x80 : 0)); n++; } while (v >>= 7);
    return n;
}

static bool scan(fields *l, const unsigned char *p, size_t at, size_t end, int up, int depth) {
    int start = l->n;
    while (at < end) {
        uint64_t tag, v;
        if (l->n == MAX_FIELDS) return true;
        field *f = &l->f[l->n];
        *f = (field){.at = at, .up = up};
        if (!varint(p, &at, end, &tag) || !(tag >> 3) || tag >> 3 > 64) break;
        f->wire = (int)(tag & 7);
        f->len = f->body = at;
        if (f->wire == 0) { if (!varint(p, &at, end, &v)) break; }
        else if (f->wire == 1 || f->wire == 5) { if (end - at < (f->wire == 1 ? 8u : 4u)) break; at += f->wire == 1 ? 8 : 4; }
        else if (f->wire == 2) { if (!varint(p, &at, end, &v) || v > end - at) break; f->body = at; at += (size_t)v; }
        else break;
        f->end = at;
        int me = l->n++;
        if (f->wire == 2 && depth < MAX_DEPTH && f->end - f->body >= 2) (void)scan(l, p, f->body, f->end, me, depth + 1);
    }
    if (at < end || (at == end && l->n == start)) { if (at < end) l->n = start; return at == end; }
    return true;
}

/* Puts the lengths of the messages around field `k` right after the file grew by `delta` there. */
static bool fix(const fields *l, fy_bytes *b, int k, size_t old_n) {
    for (int up = l->f[k].up; up >= 0; up = l->f[up].up) {
        const field *f = &l->f[up];
        unsigned char raw[10];
        size_t n = put_varint(raw, (uint64_t)(f->end - f->body) + b->n - old_n);
        if (!fy_mut_replace(b, f->len, f->body - f->len, raw, n)) return false;
    }
    return true;
}

bool fy_mut_proto(fy_mutator *m, fy_bytes *b) {
    static fields l;
    l.n = 0;
    (void)scan(&l, b->at, 0, b->n, -1, 0);
    if (!l.n) return fy_mut_bytes(m, b);
    int k = (int)fy_mut_below(m, (size_t)l.n), k2 = (int)fy_mut_below(m, (size_t)l.n);
    const field *f = &l.f[k], *g = &l.f[k2];
    size_t old = b->n;
    unsigned char raw[128];
    switch (fy_mut_below(m, 12)) {
    case 0: case 1: case 2:                                             /* the value */
        if (f->wire == 0) { size_t n = put_varint(raw, fy_mut_extreme(m, b->n)); return fy_mut_replace(b, f->body, f->end - f->body, raw, n) && fix(&l, b, k, old); }
        if (f->wire == 2) {
            if (fy_mut_one_in(m, 3)) {                                  /* packed numbers */
                size_t n = 0, count = 1 + fy_mut_below(m, 8);
                for (size_t i = 0; i < count; i++) n += put_varint(raw + n, fy_mut_extreme(m, b->n));
                if (!fy_mut_replace(b, f->body, f->end - f->body, raw, n)) return false;
            } else {
                const char *w = fy_mut_word(m);
                if (!fy_mut_replace(b, f->body, f->end - f->body, w, strlen(w))) return false;
            }
            size_t body = b->n - old + f->end - f->body, n = put_varint(raw, body);
            return fy_mut_replace(b, f->len, f->body - f->len, raw, n) && fix(&l, b, k, old);
        }
        { uint64_t v = fy_mut_one_in(m, 2) ? fy_mut_next(m) : fy_mut_extreme(m, b->n); memcpy(b->at + f->body, &v, f->end - f->body); return true; }
    case 3: {                                                           /* a false length */
        if (f->wire != 2) return false;
        size_t n = put_varint(raw, fy_mut_one_in(m, 2) ? fy_mut_extreme(m, b->n) : f->end - f->body + fy_mut_below(m, 9) - 4);
        return fy_mut_replace(b, f->len, f->body - f->len, raw, n) && (fy_mut_one_in(m, 4) || fix(&l, b, k, old));
    }
    case 4: return fy_mut_replace(b, f->at, f->end - f->at, NULL, 0) && fix(&l, b, k, old);
    case 5: return fy_mut_copy(b, f->end, 0, f->at, f->end - f->at) && fix(&l, b, k, old);
    case 6: case 7: return fy_mut_copy(b, f->at, f->end - f->at, g->at, g->end - g->at) && fix(&l, b, k, old);
    case 8: return fy_mut_copy(b, f->at, 0, g->at, g->end - g->at) && fix(&l, b, k, old);
    case 9: {                                                           /* another field number or wire type */
        size_t n = put_varint(raw, fy_mut_one_in(m, 4) ? fy_mut_extreme(m, 64) : (1 + fy_mut_below(m, 30)) << 3 | (fy_mut_one_in(m, 3) ? fy_mut_below(m, 8) : (size_t)f->wire));
        return fy_mut_replace(b, f->at, f->len - f->at, raw, n) && fix(&l, b, k, old);
    }
    case 10: {                                                          /* a number of more bytes than it needs, or without an end */
        size_t n = 8 + fy_mut_below(m, 5);
        memset(raw, 0x80, n);
        if (fy_mut_one_in(m, 2)) raw[n - 1] = 0;
        return fy_mut_replace(b, f->body, f->wire ? 0 : f->end - f->body, raw, n) && fix(&l, b, k, old);
    }
    default:                                                            /* one body for another of the same kind */
        if (f->wire != 2 || g->wire != 2) return false;
        if (!fy_mut_copy(b, f->body, f->end - f->body, g->body, g->end - g->body)) return false;
        { size_t n = put_varint(raw, g->end - g->body); return fy_mut_replace(b, f->len, f->body - f->len, raw, n) && fix(&l, b, k, old); }
    }
}
