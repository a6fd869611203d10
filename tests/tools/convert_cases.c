/* SPDX-License-Identifier: Apache-2.0
 * convert_cases.c - ferry-convert-cases [-v] [--opset N,M,...] [--keep DIR] [--every K] FOLDER...: takes cases of onnx.backend.test to other
 * opsets. Each model is raised, lowered to each target, written, read back, raised again and run on the case's inputs; the outputs must be
 * the case's. A refusal (OPSET) is counted by its reason. Cases that do not pass as they are, are left out. With --keep, DIR/CASE.N.onnx
 * stay for other checkers. Prints how many pairs of case and target converted, were refused, failed; exit 1 if any failed. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check/conform.h"
#include "formats/onnx.h"

enum { REASONS = 1024 };
typedef struct reason { char text[200]; int n; char first[120]; } reason;

typedef struct job {
    int    target[32], ntargets, every;
    int    converted, refused, failed, left_out, seen;
    bool   verbose;
    const char *keep, *dir;
    reason reason[REASONS];
    int    nreasons;
} job;

static fy_status load(fy_model **m, const char *path, ferry_error *e) {
    FY_TRY(fy_onnx_read(m, path, fy_registry_builtin(), e));
    FY_TRY(fy_opset_raise(*m, e));
    return fy_infer_model(*m, e);
}

/* Loads the file and runs it on the case; words in `why` on any failure. */
static bool passes(const char *file, const char *folder, bool stepwise, fy_buf *why) {
    const fy_conform_options one = {.threads = 1, .stepwise = stepwise};
    ferry_error e = {0};
    fy_model *m = NULL;
    fy_status s = load(&m, file, &e);
    if (!s) s = fy_conform_model(m, folder, file, &one, why, &e);
    if (s) {
        fy_buf_fmt(why, "%s: %s", e.code, e.text);
        for (int i = 0; i < e.nframes; i++) fy_buf_fmt(why, " | %s", e.frame[i]);
    }
    fy_model_free(m);
    return !why->n;
}

/* Operator and cause: what the refusals of many cases have in common. */
static void refuse(job *j, const char *text, const char *name, int target) {
    char key[200];
    const char *open = strchr(text, '('), *close = open ? strchr(open, ')') : NULL, *cause = close ? strstr(close, ": ") : NULL;
    snprintf(key, sizeof key, "%.*s: %.140s", close ? (int)(close - open) - 1 : 0, open ? open + 1 : "", cause ? cause + 2 : text);
    j->refused++;
    int i = 0;
    while (i < j->nreasons && strcmp(j->reason[i].text, key)) i++;
    if (i == REASONS) return;
    if (i == j->nreasons) {
        j->nreasons++;
        memcpy(j->reason[i].text, key, sizeof key);
        snprintf(j->reason[i].first, sizeof j->reason[i].first, "%.90s at %d", name, target);
    }
    j->reason[i].n++;
}

static void convert_one(job *j, const char *folder, const char *name, int target) {
    char path[1100], file[1100];
    ferry_error e = {0};
    fy_model *m = NULL;
    fy_buf why = {0};
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    snprintf(file, sizeof file, "%s/%s.%d.onnx", j->dir, j->keep ? name : "case", target);
    fy_status s = load(&m, path, &e);
    if (!s) s = fy_opset_lower(m, target, &e);
    if (!s) s = fy_onnx_write(m, file, NULL, &e);
    fy_model_free(m);
    if (s == FY_E_OPSET) refuse(j, e.text, name, target);
    else if (s) fy_buf_fmt(&why, "%s: %s", e.code, e.text);
    else if (passes(file, folder, true, &why)) {
        j->converted++;
        if (j->verbose) printf("ok   %s at %d\n", name, target);
    }
    if (why.n) {
        j->failed++;
        printf("FAIL %s at %d: %s\n", name, target, why.at);
    }
    fflush(stdout);
    fy_buf_free(&why);
    if (!j->keep) remove(file);
}

static void convert_case(job *j, const char *folder) {
    char path[1100];
    fy_buf why = {0};
    const char *name = strrchr(folder, '/') ? strrchr(folder, '/') + 1 : folder;
    if (j->seen++ % j->every) return;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (passes(path, folder, false, &why))
        for (int i = 0; i < j->ntargets; i++) convert_one(j, folder, name, j->target[i]);
    else {
        j->left_out++;
        if (j->verbose) printf("left out %s: %s\n", name, why.at);
    }
    fy_buf_free(&why);
}

static void convert_folder(job *j, const char *folder) {
    char path[1000];
    struct stat st;
    struct dirent **list = NULL;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (!stat(path, &st)) {
        convert_case(j, folder);
        return;
    }
    int n = scandir(folder, &list, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s/model.onnx", folder, list[i]->d_name);
        if (!stat(path, &st)) {
            snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
            convert_case(j, path);
        }
        free(list[i]);
    }
    free(list);
}

static int by_number(const void *a, const void *b) {
    const reason *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : strcmp(x->text, y->text);
}

int main(int argc, char **argv) {
    static job j = {.target = {13, 15, 17, 19, 21, 23, 25, 28}, .ntargets = 8, .every = 1};
    char own[] = "convert_cases_XXXXXX";
    if (!mkdtemp(own)) return 2;
    j.dir = own;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-v")) j.verbose = true;
        else if (!strcmp(argv[i], "--keep") && i + 1 < argc) j.dir = j.keep = argv[++i];
        else if (!strcmp(argv[i], "--every") && i + 1 < argc) j.every = (int)strtol(argv[++i], NULL, 10) > 0 ? (int)strtol(argv[i], NULL, 10) : 1;
        else if (!strcmp(argv[i], "--opset") && i + 1 < argc) {
            j.ntargets = 0;
            for (char *p = argv[++i]; *p && j.ntargets < FY_COUNT(j.target); p += *p == ',') j.target[j.ntargets++] = (int)strtol(p, &p, 10);
        } else convert_folder(&j, argv[i]);
    }
    rmdir(own);
    qsort(j.reason, (size_t)j.nreasons, sizeof *j.reason, by_number);
    for (int i = 0; i < j.nreasons; i++) printf("refused %5d  %s  [%s]\n", j.reason[i].n, j.reason[i].text, j.reason[i].first);
    printf("%d pairs converted, %d refused, %d failed; %d cases left out\n", j.converted, j.refused, j.failed, j.left_out);
    return j.failed != 0;
}
