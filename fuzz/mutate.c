/* SPDX-License-Identifier: Apache-2.0
 * mutate.c - edits of bytes and of words; the choice among the grammars. */
#include "mutate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t fy_mut_next(fy_mutator *m) {                        /* splitmix64 */
    uint64_t z = m->rng += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

size_t fy_mut_below(fy_mutator *m, size_t n) { return n ? (size_t)(fy_mut_next(m) % n) : 0; }
bool fy_mut_one_in(fy_mutator *m, size_t n) { return fy_mut_below(m, n) == 0; }

uint64_t fy_mut_extreme(fy_mutator *m, size_t size) {
    static const uint64_t fixed[] = {
        0, 1, 2, 3, 7, 8, 16, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFFu, 0x100000000u,
        0x100000001u, (uint64_t)1 << 40, (uint64_t)1 << 62, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX / 2 + 2,
        UINT64_MAX / 4 + 1, UINT64_MAX / 8 + 1, (uint64_t)-2, (uint64_t)-8, (uint64_t)INT32_MIN,
    };
    size_t k = fy_mut_below(m, sizeof fixed / sizeof *fixed + 12);
    if (k < sizeof fixed / sizeof *fixed) return fixed[k];
    return k & 1 ? fy_mut_below(m, 64) : size + fy_mut_below(m, 5) - 2;
}

size_t fy_mut_number(fy_mutator *m, char *text, size_t n) {
    static const char *const odd[] = {"-0", "1e309", "-1e309", "NaN", "Infinity", "-Infinity", "1e-400", "0.1", "01", "+1", "1.", ".5", "0x1",
        "9007199254740993", "18446744073709551616", "-9223372036854775809", "99999999999999999999999999999999999999999", "1e", "--1", "1e99999999999"};
    if (fy_mut_one_in(m, 3)) return (size_t)snprintf(text, n, "%s", odd[fy_mut_below(m, sizeof odd / sizeof *odd)]);
    return (size_t)snprintf(text, n, "%lld", (long long)fy_mut_extreme(m, 64));
}

const char *fy_mut_word(fy_mutator *m) { return m->nwords ? m->words[fy_mut_below(m, (size_t)m->nwords)] : ""; }

bool fy_mut_replace(fy_bytes *b, size_t at, size_t del, const void *p, size_t n) {
    if (at > b->n || del > b->n - at || n > b->cap - (b->n - del)) return false;
    memmove(b->at + at + n, b->at + at + del, b->n - at - del);
    if (n) memcpy(b->at + at, p, n);
    b->n += n - del;
    return true;
}

bool fy_mut_copy(fy_bytes *b, size_t at, size_t del, size_t from, size_t n) {
    unsigned char *copy = malloc(n + 1);
    if (!copy || from > b->n || n > b->n - from) { free(copy); return false; }
    memcpy(copy, b->at + from, n);
    bool ok = fy_mut_replace(b, at, del, copy, n);
    free(copy);
    return ok;
}

/* Bytes [at, at + n) of another seed in place of as many here, or all of it from there on. */
static bool splice(fy_mutator *m, fy_bytes *b) {
    const fy_bytes *s = &m->seed[fy_mut_below(m, (size_t)m->nseed)];
    if (!s->n) return false;
    size_t from = fy_mut_below(m, s->n), n = 1 + fy_mut_below(m, s->n - from), at = fy_mut_below(m, b->n + 1), left = b->n - at;
    if (fy_mut_one_in(m, 3)) return fy_mut_replace(b, at, left, s->at + from, s->n - from);
    return fy_mut_replace(b, at, fy_mut_one_in(m, 2) ? 0 : n < left ? n : left, s->at + from, n);
}

bool fy_mut_bytes(fy_mutator *m, fy_bytes *b) {
    if (!b->n) return fy_mut_replace(b, 0, 0, "\x80", 1);
    size_t at = fy_mut_below(m, b->n), left = b->n - at;
    unsigned char raw[8];
    switch (fy_mut_below(m, 11)) {
    case 0: case 1: b->at[at] = (unsigned char)(b->at[at] ^ 1u << fy_mut_below(m, 8)); return true;
    case 2: b->at[at] = (unsigned char)fy_mut_extreme(m, b->n); return true;
    case 3: b->n = at; return true;                                     /* cut off */
    case 4: case 5: {                                                   /* an extreme number of 1 to 8 bytes, either order */
        size_t width = (size_t)1 << fy_mut_below(m, 4);
        uint64_t v = fy_mut_extreme(m, b->n);
        bool big = fy_mut_one_in(m, 4);
        if (width > left) return false;
        for (size_t i = 0; i < width; i++) raw[i] = (unsigned char)(v >> 8 * (big ? width - 1 - i : i));
        memcpy(b->at + at, raw, width);
        return true;
    }
    case 6: return fy_mut_replace(b, at, 1 + fy_mut_below(m, left < 16 ? left : 16), NULL, 0);
    case 7: {                                                           /* insert or overwrite with noise */
        size_t n = 1 + fy_mut_below(m, 8);
        uint64_t noise = fy_mut_next(m);
        return fy_mut_replace(b, at, fy_mut_one_in(m, 2) || n > left ? 0 : n, &noise, n);
    }
    case 8: return fy_mut_copy(b, fy_mut_below(m, b->n + 1), 0, at, 1 + fy_mut_below(m, left));
    case 9: { const char *w = fy_mut_word(m); return fy_mut_replace(b, at, fy_mut_one_in(m, 2) ? 0 : 1 + fy_mut_below(m, left < 16 ? left : 16), w, strlen(w)); }
    default: return m->nseed && splice(m, b);
    }
}

static bool word_char(unsigned char c) { return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c == '.' || c >= 0x80; }

/* The word, or the single sign, around a random place. */
static size_t pick_word(fy_mutator *m, const fy_bytes *b, size_t *n) {
    size_t at = fy_mut_below(m, b->n), end = at + 1;
    if (word_char(b->at[at])) {
        while (at && word_char(b->at[at - 1])) at--;
        while (end < b->n && word_char(b->at[end])) end++;
    }
    *n = end - at;
    return at;
}

bool fy_mut_text(fy_mutator *m, fy_bytes *b) {
    if (!b->n) { const char *w = fy_mut_word(m); return fy_mut_replace(b, 0, 0, w, strlen(w)); }
    size_t n, n2, at = pick_word(m, b, &n), at2 = pick_word(m, b, &n2);
    char text[64];
    switch (fy_mut_below(m, 9)) {
    case 0: case 1: { const char *w = fy_mut_word(m); return fy_mut_replace(b, at, n, w, strlen(w)); }
    case 2: { const char *w = fy_mut_word(m); return fy_mut_replace(b, at, 0, w, strlen(w)); }
    case 3: { size_t k = fy_mut_number(m, text, sizeof text); return fy_mut_replace(b, at, n, text, k); }
    case 4: return fy_mut_replace(b, at, n, NULL, 0);
    case 5: return fy_mut_copy(b, at, n, at2, n2);
    case 6: return fy_mut_copy(b, at, 0, at2 < at ? at2 : at, at2 < at ? at - at2 : n);      /* a stretch once more */
    case 7: {                                                           /* deep nesting */
        static const char open[] = "([{(", close[] = ")]})";
        size_t k = fy_mut_below(m, 4), deep = (size_t)1 << fy_mut_below(m, 12);
        bool ok = true;
        for (size_t i = 0; i < deep && ok; i++) ok = fy_mut_replace(b, at + i, 0, open + k, 1) && fy_mut_replace(b, at + n + i + 1, 0, close + k, 1);
        return ok;
    }
    default: return fy_mut_bytes(m, b);
    }
}

void fy_mutate(fy_mutator *m, fy_bytes *b) {
    static bool (*const by_grammar[])(fy_mutator *, fy_bytes *) = {
        [FY_G_BYTES] = fy_mut_bytes, [FY_G_PROTO] = fy_mut_proto, [FY_G_JSON] = fy_mut_json, [FY_G_PICKLE] = fy_mut_pickle, [FY_G_ZIP] = fy_mut_zip,
        [FY_G_TEXT] = fy_mut_text,
    };
    int edits = 1 + (int)fy_mut_below(m, 4);
    if (fy_mut_one_in(m, 2)) edits = 1;
    for (int k = 0, tries = 0; k < edits && tries < 32; tries++)
        k += fy_mut_one_in(m, m->grammar == FY_G_ZIP ? 20 : 8) ? fy_mut_bytes(m, b) : by_grammar[m->grammar](m, b);
}
