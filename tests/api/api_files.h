/* SPDX-License-Identifier: Apache-2.0
 * api_files.h - what tests of the public functions share: a private folder that is the working directory, fixtures copied into it, reports. */
#ifndef API_FILES_H
#define API_FILES_H

#include "test.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ferry/tools.h"

#define PT2 FERRY_FIXTURES "/pt2/t215/"

static inline int enter_folder(void **state) {
    static char dir[] = "api_XXXXXX";
    memcpy(dir, "api_XXXXXX", sizeof dir);
    if (!mkdtemp(dir) || chdir(dir)) return -1;
    *state = dir;
    return 0;
}

static inline int leave_folder(void **state) {
    DIR *d = opendir(".");
    for (struct dirent *f; d && (f = readdir(d));)
        if (strcmp(f->d_name, ".") && strcmp(f->d_name, "..")) unlink(f->d_name);
    if (d) closedir(d);
    return chdir("..") || rmdir(*state);
}

static inline void copy_file(const char *from, const char *to) {
    char  block[4096];
    FILE *a = fopen(from, "rb"), *b = fopen(to, "wb");
    assert_non_null(a);
    assert_non_null(b);
    for (size_t n; (n = fread(block, 1, sizeof block, a)) > 0;) assert_int_equal(fwrite(block, 1, n, b), n);
    fclose(a);
    assert_int_equal(fclose(b), 0);
}

static inline bool exists(const char *path) {
    struct stat st;
    return !stat(path, &st);
}

/* One call with options as key, value, key, value ..., NULL. */
typedef int (*file_call)(const char *path, const ferry_job *job, ferry_report **r, ferry_error *e);
#define OPTIONS(...) (const char *const[]){__VA_ARGS__, NULL}
#define NONE (const char *const[]){NULL}

static inline ferry_job job_of(ferry_option *o, const char *const *words) {
    size_t n = 0;
    for (; words[2 * n]; n++) o[n] = (ferry_option){words[2 * n], words[2 * n + 1]};
    return (ferry_job){o, n, NULL, NULL};
}

static inline int export_to(const char *pt2, const char *onnx, const char *const *words, ferry_report **r, ferry_error *e) {
    ferry_option o[16];
    ferry_job    job = job_of(o, words);
    memset(e, 0, sizeof *e);
    *r = NULL;
    return ferry_export(pt2, onnx, &job, r, e);
}

static inline int call(file_call f, const char *path, const char *const *words, ferry_report **r, ferry_error *e) {
    ferry_option o[16];
    ferry_job    job = job_of(o, words);
    memset(e, 0, sizeof *e);
    *r = NULL;
    return f(path, &job, r, e);
}

/* Export that has to work. */
static inline void exported(const char *pt2, const char *onnx, const char *const *words) {
    ferry_error   e;
    ferry_report *r;
    if (export_to(pt2, onnx, words, &r, &e)) fail_msg("%s: %s", pt2, e.text);
    ferry_report_free(r);
}

#endif
