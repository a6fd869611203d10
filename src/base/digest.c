/* SPDX-License-Identifier: Apache-2.0
 * digest.c - eight lanes of 64 bits, each taking every eighth word: xor, multiplication by an odd number, xor of the high bits into the low ones.
 * Every step of a lane is a bijection, of its state as of the word, so that no single change of a word is ever lost; the lanes, being independent,
 * keep the multiplier busy. At the end they are folded by the finaliser of MurmurHash3 (A. Appleby, public domain). */
#include "base/digest.h"

#include "base/os.h"

#include <string.h>

#define LANES 8
#define PIECE ((size_t)1 << 20)

static uint64_t final(uint64_t h) {
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

/* The words of 64 bytes, little-endian. */
static void take(uint64_t lane[LANES], const unsigned char *p) {
    for (int i = 0; i < LANES; i++) {
        uint64_t w;
        memcpy(&w, p + 8 * i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        w = __builtin_bswap64(w);
#endif
        lane[i] = (lane[i] ^ w) * 0x9e3779b97f4a7c15u;
        lane[i] ^= lane[i] >> 29;
    }
}

fy_digest fy_digest_of(const void *data, size_t n) {
    const unsigned char *p = data;
    uint64_t lane[LANES];
    size_t left = n;
    for (int i = 0; i < LANES; i++) lane[i] = final((uint64_t)i + 1);
    for (; left >= 8 * LANES; left -= 8 * LANES, p += 8 * LANES) take(lane, p);
    if (left) {
        unsigned char rest[8 * LANES] = {0};
        memcpy(rest, p, left);
        take(lane, rest);
    }
    fy_digest d = {{final(n), final(~(uint64_t)n)}};
    for (int i = 0; i < LANES; i++) {
        d.at[0] = final(d.at[0] ^ lane[i]) + lane[i];
        d.at[1] = final(d.at[1] + lane[i]) ^ (lane[i] << 32 | lane[i] >> 32);
    }
    return d;
}

typedef struct piece { const unsigned char *at; size_t n; } piece;
typedef struct hashing { const piece *in; fy_digest *out; } hashing;

static void hash_pieces(void *arg, int64_t begin, int64_t end) {
    const hashing *h = arg;
    for (int64_t i = begin; i < end; i++) {
        fy_os_populate(h->in[i].at, h->in[i].n);
        h->out[i] = fy_digest_of(h->in[i].at, h->in[i].n);
    }
}

bool fy_digest_ranges(fy_digest *d, fy_pool *pool, const fy_range *r, int64_t n) {
    size_t count = 0, at = 0;
    for (int64_t i = 0; i < n; i++) count += r[i].n / PIECE + 1;
    piece *in = fy_malloc(count + 1, sizeof *in);
    fy_digest *out = fy_malloc(count + 1, sizeof *out);
    if (in && out) {
        for (int64_t i = 0; i < n; i++)
            for (size_t from = 0; from <= r[i].n / PIECE * PIECE; from += PIECE)
                in[at++] = (piece){(const unsigned char *)r[i].at + from, r[i].n - from < PIECE ? r[i].n - from : PIECE};
        fy_for(pool, (int64_t)count, 1, hash_pieces, &(hashing){in, out});
        *d = fy_digest_of(out, count * sizeof *out);
    }
    bool done = in && out;
    fy_free(in);
    fy_free(out);
    return done;
}
