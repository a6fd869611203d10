/* SPDX-License-Identifier: Apache-2.0
 * fuzz.h - what a fuzz target says of itself: seeds, grammar, words. The same file serves driver.c (a fixed number of mutants) and
 * libFuzzer (fuzz/run.sh). */
#ifndef FY_FUZZ_H
#define FY_FUZZ_H

#include "mutate.h"

typedef struct fy_fuzz {
    const char        *name;
    fy_grammar         grammar;
    const char *const *files;            /* seeds below tests/fixtures; ends with NULL */
    const char *const *texts;            /* seeds as they stand; ends with NULL; may be NULL */
    const char *const *words;            /* ends with NULL; may be NULL */
    size_t             max_bytes;        /* memory that one input may take */
} fy_fuzz;

extern const fy_fuzz fy_target;
extern int64_t fy_reached[4];            /* how many inputs got past the reader, past each later stage: says that mutants go deep */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* For readers that take a path: writes the input to a file of this process and gives its name. */
const char *fy_fuzz_file(const uint8_t *data, size_t size, const char *suffix);
/* A target that sees a wrong result ends the process: libFuzzer and the driver both note the input. */
void fy_fuzz_fault(const char *what);

#endif
