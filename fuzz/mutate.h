/* SPDX-License-Identifier: Apache-2.0
 * mutate.h - damages files on purpose: edits of bytes, and of what the bytes mean (protobuf fields, zip entries, JSON values,
 * pickle opcodes, words of text).
 *
 * Mutant number k of a seed set depends on k alone, so that any one can be made again. */
#ifndef FY_MUTATE_H
#define FY_MUTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum fy_grammar { FY_G_BYTES, FY_G_PROTO, FY_G_JSON, FY_G_PICKLE, FY_G_ZIP, FY_G_TEXT } fy_grammar;

typedef struct fy_bytes { unsigned char *at; size_t n, cap; } fy_bytes;

typedef struct fy_mutator {
    uint64_t           rng;
    fy_grammar         grammar;
    const char *const *words;            /* of the format: operator names, keys, keywords; ends with NULL */
    int                nwords;
    const fy_bytes    *seed;             /* to splice with */
    int                nseed;
    int                depth;            /* zip archives within zip archives */
} fy_mutator;

/* One mutant in place: 1 to 4 edits. What would not fit into b->cap is left out. */
void fy_mutate(fy_mutator *m, fy_bytes *b);

/* ---- for the grammars ---------------------------------------------------------------------------------------------- */

uint64_t fy_mut_next(fy_mutator *m);
size_t   fy_mut_below(fy_mutator *m, size_t n);             /* [0, n); 0 for n == 0 */
bool     fy_mut_one_in(fy_mutator *m, size_t n);
uint64_t fy_mut_extreme(fy_mutator *m, size_t size);        /* 0, 1, 2^31, SIZE_MAX, near `size` ... */
size_t   fy_mut_number(fy_mutator *m, char *text, size_t n); /* a hostile number as text */
const char *fy_mut_word(fy_mutator *m);                      /* "" if there are none */
/* b[at, at + del) becomes p[0, n). False, and nothing happens, if it does not fit. */
bool     fy_mut_replace(fy_bytes *b, size_t at, size_t del, const void *p, size_t n);
/* The same where p may lie inside b. */
bool     fy_mut_copy(fy_bytes *b, size_t at, size_t del, size_t from, size_t n);

bool fy_mut_bytes(fy_mutator *m, fy_bytes *b);
bool fy_mut_text(fy_mutator *m, fy_bytes *b);
bool fy_mut_proto(fy_mutator *m, fy_bytes *b);
bool fy_mut_json(fy_mutator *m, fy_bytes *b);
bool fy_mut_pickle(fy_mutator *m, fy_bytes *b);
bool fy_mut_zip(fy_mutator *m, fy_bytes *b);

#endif
