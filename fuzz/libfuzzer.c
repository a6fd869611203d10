/* SPDX-License-Identifier: Apache-2.0
 * libfuzzer.c - beside a fuzz target under libFuzzer: our edits in turn with its own. */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int64_t fy_reached[4];

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    if (seed & 1) return LLVMFuzzerMutate(data, size, max_size);
    fy_bytes b = {data, size, max_size};
    fy_mutator m = {.rng = seed, .grammar = fy_target.grammar, .words = fy_target.words};
    while (m.words && m.words[m.nwords]) m.nwords++;
    fy_mutate(&m, &b);
    return b.n;
}

void fy_fuzz_fault(const char *what) { fprintf(stderr, "%s\n", what); abort(); }

const char *fy_fuzz_file(const uint8_t *data, size_t size, const char *suffix) {
    static char path[64];
    snprintf(path, sizeof path, "fuzz-%ld%s", (long)getpid(), suffix);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd)) abort();
    return path;
}
