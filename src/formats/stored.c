/* SPDX-License-Identifier: Apache-2.0
 * stored.c - inflating what the build has deflated, with zlib's state on the stack. */
#include "formats/stored.h"

#include "base/status.h"

#include <stdint.h>
#include <zlib.h>

/* What zlib keeps: 7 KB where all is inflated by one call, which needs no window; zlib-ng takes one of 32 KB all the same. */
typedef struct scratch { _Alignas(64) unsigned char at[48 << 10]; size_t n; } scratch;

static void *take(void *ctx, unsigned n, unsigned size) {
    scratch *s = ctx;
    size_t from = s->n, bytes = ((size_t)n * size + 63) / 64 * 64;
    if (bytes > sizeof s->at - from) return NULL;
    s->n += bytes;
    return s->at + from;
}

static void give(void *ctx, void *p) { (void)ctx; (void)p; }

void fy_stored_read(char *to, size_t size, const unsigned char *packed, size_t npacked) {
    scratch room;
    room.n = 0;
    z_stream s = {.zalloc = take, .zfree = give, .opaque = &room, .next_out = (unsigned char *)to, .avail_out = (unsigned)size, .avail_in = (unsigned)npacked};
    s.next_in = (unsigned char *)(uintptr_t)packed;              /* zlib only reads it */
    bool done = inflateInit2(&s, -MAX_WBITS) == Z_OK && inflate(&s, Z_FINISH) == Z_STREAM_END && !s.avail_out;
    FY_ASSERT(done && "what the build has stored inflates");
    (void)done;
}
