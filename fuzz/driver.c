/* SPDX-License-Identifier: Apache-2.0
 * driver.c - runs a fuzz target on a fixed number of mutants: `fuzz_NAME [COUNT] [--only N] [--save DIR] [--seeds DIR] [FILE ...]`.
 *
 * First come the inputs that once failed (tests/corpus/NAME), then the seeds, then the mutants; mutant N is the same on every machine.
 * A crash, a leak, memory above the target's bound and more than 20 s for one input are failures; they end the run with the number of the
 * mutant, and --save writes the input to DIR. FILE runs that input alone; --seeds writes the seeds as files, for libFuzzer. */
#include "fuzz.h"

#include "base/os.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SEEDS 64
#define ROOM ((size_t)1 << 19)
#define SECONDS 20

int64_t fy_reached[4];

static fy_bytes     seeds[MAX_SEEDS];
static int          nseeds;
static const char  *save_dir;
static char         current[160];          /* which input runs */
static const uint8_t *current_data;
static size_t       current_size;

extern void __sanitizer_set_death_callback(void (*)(void)) __attribute__((weak));

static void say(const char *s) { (void)!write(2, s, strlen(s)); }

static void note(void) {
    say("\n"); say(fy_target.name); say(": failed on "); say(current); say("\n");
    if (!save_dir || !current_data) return;
    char path[512];
    snprintf(path, sizeof path, "%s/%s-failure.bin", save_dir, fy_target.name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) return;
    (void)!write(fd, current_data, current_size);
    (void)close(fd);
    say("its bytes: "); say(path); say("\n");
}

static void on_signal(int sig) {
    if (sig == SIGALRM) say("more than 20 s for one input");
    if (sig == SIGALRM || !__sanitizer_set_death_callback) note();
    signal(SIGABRT, SIG_DFL);
    if (sig == SIGALRM) abort();
    signal(sig, SIG_DFL);
    (void)raise(sig);
}

void fy_fuzz_fault(const char *what) { say(what); note(); exit(1); }

const char *fy_fuzz_file(const uint8_t *data, size_t size, const char *suffix) {
    static char path[64];
    snprintf(path, sizeof path, "fuzz-%ld%s", (long)getpid(), suffix);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd)) { say("cannot write the input to a file\n"); exit(2); }
    return path;
}

/* In a block of exactly its size, so that a read beyond the end shows. */
static void run_one(const unsigned char *p, size_t n) {
    unsigned char *copy = malloc(n ? n : 1);
    if (!copy) exit(2);
    if (n) memcpy(copy, p, n);
    current_data = copy;
    current_size = n;
    size_t before = fy_os_bytes();
    (void)fy_os_peak_bytes(true);
    (void)alarm(SECONDS);
    (void)LLVMFuzzerTestOneInput(copy, n);
    (void)alarm(0);
    char text[160];
    if (fy_os_bytes() != before) {
        snprintf(text, sizeof text, "%zu bytes leaked", fy_os_bytes() - before);
        fy_fuzz_fault(text);
    }
    if (fy_os_peak_bytes(false) - before > fy_target.max_bytes) {
        snprintf(text, sizeof text, "%zu bytes of memory taken for %zu bytes of input", fy_os_peak_bytes(false) - before, n);
        fy_fuzz_fault(text);
    }
    current_data = NULL;
    free(copy);
}

static bool read_file(fy_bytes *b, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    b->at = malloc(ROOM);
    b->n = b->at ? fread(b->at, 1, ROOM, f) : 0;
    b->cap = b->n;
    fclose(f);
    return b->at != NULL;
}

static void run_file(const char *path) {
    fy_bytes b;
    if (!read_file(&b, path)) { fprintf(stderr, "%s: cannot be read\n", path); exit(2); }
    snprintf(current, sizeof current, "%.150s", path);
    run_one(b.at, b.n);
    free(b.at);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The inputs that failed once. */
static int run_corpus(void) {
    char dir[512], path[1024], *names[512];
    int n = 0;
    snprintf(dir, sizeof dir, "%s/%s", FERRY_CORPUS, fy_target.name);
    DIR *d = opendir(dir);
    if (!d) return 0;
    for (struct dirent *f; n < 512 && (f = readdir(d));)
        if (f->d_name[0] != '.') {
            names[n] = malloc(strlen(f->d_name) + 1);
            if (!names[n]) exit(2);
            memcpy(names[n], f->d_name, strlen(f->d_name) + 1);
            n++;
        }
    closedir(d);
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        run_file(path);
        free(names[i]);
    }
    return n;
}

static void load_seeds(void) {
    char path[1024];
    for (const char *const *f = fy_target.files; f && *f && nseeds < MAX_SEEDS; f++) {
        snprintf(path, sizeof path, "%s/%s", FERRY_FIXTURES, *f);
        if (!read_file(&seeds[nseeds++], path)) { fprintf(stderr, "%s: cannot be read\n", path); exit(2); }
    }
    for (const char *const *t = fy_target.texts; t && *t && nseeds < MAX_SEEDS; t++) {
        fy_bytes *b = &seeds[nseeds++];
        b->n = b->cap = strlen(*t);
        b->at = malloc(b->n + 1);
        if (!b->at) exit(2);
        memcpy(b->at, *t, b->n + 1);
    }
}

static void write_seeds(const char *dir) {
    char path[1024];
    for (int i = 0; i < nseeds; i++) {
        snprintf(path, sizeof path, "%s/seed-%02d", dir, i);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(seeds[i].at, 1, seeds[i].n, f) != seeds[i].n || fclose(f)) { fprintf(stderr, "%s: cannot be written\n", path); exit(2); }
    }
}

static void run_mutant(int64_t k) {
    static unsigned char room[ROOM];
    const fy_bytes *s = &seeds[k % nseeds];
    fy_bytes b = {room, s->n, ROOM};
    fy_mutator m = {.rng = (uint64_t)k * 0xD1B54A32D192ED03u + 20240229, .grammar = fy_target.grammar, .words = fy_target.words, .seed = seeds, .nseed = nseeds};
    while (m.words && m.words[m.nwords]) m.nwords++;
    memcpy(room, s->at, s->n);
    fy_mutate(&m, &b);
    snprintf(current, sizeof current, "mutant %lld", (long long)k);
    run_one(room, b.n);
}

int main(int argc, char **argv) {
    int64_t count = 50000, only = -1;
    int files = 0;
    const int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        if (caught[i] == SIGALRM || !__sanitizer_set_death_callback) (void)signal(caught[i], on_signal);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(note);
    load_seeds();
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--only")) { only = strtoll(value, NULL, 10); i++; }
        else if (!strcmp(argv[i], "--save")) { save_dir = value; i++; }
        else if (!strcmp(argv[i], "--seeds")) { write_seeds(value); return 0; }
        else if (argv[i][0] >= '0' && argv[i][0] <= '9' && !strchr(argv[i], '.') && !strchr(argv[i], '/')) count = strtoll(argv[i], NULL, 10);
        else { run_file(argv[i]); files++; }
    }
    if (files) { printf("%s: %d files, 0 failures\n", fy_target.name, files); return 0; }
    if (only >= 0) { run_mutant(only); printf("%s: mutant %lld, 0 failures\n", fy_target.name, (long long)only); return 0; }
    int again = run_corpus();
    for (int i = 0; i < nseeds; i++) {
        snprintf(current, sizeof current, "seed %d", i);
        run_one(seeds[i].at, seeds[i].n);
    }
    for (int64_t k = 0; k < count; k++) run_mutant(k);
    printf("%s: %lld mutants, 0 failures (%d seeds, %d earlier failures; past each stage: ", fy_target.name, (long long)count, nseeds, again);
    for (int i = 0; i < 4; i++) printf("%s%lld", i ? ", " : "", (long long)fy_reached[i]);
    printf(")\n");
    char path[64];
    snprintf(path, sizeof path, "fuzz-%ld.tmp", (long)getpid());
    (void)unlink(path);
    for (int i = 0; i < nseeds; i++) free(seeds[i].at);
    return 0;
}
