/* SPDX-License-Identifier: Apache-2.0
 * errors.c - what a failure tells: the kind (the exit code), the stable code, one sentence, the places it came through, and what to
 * do next. Nothing prints or exits behind your back. */
#include <ferry/ferry.h>
#include <stdio.h>

static int report(const char *what, const ferry_error *e) {
    printf("%s: kind %d, code %s\n  %s\n", what, e->kind, e->code, e->text);
    for (int i = 0; i < e->nframes; i++) printf("  in %s\n", e->frame[i]);
    if (e->help[0]) printf("  help: %s\n", e->help);
    return e->kind;
}

int main(int argc, char **argv) {
    ferry_error e;
    ferry_option wrong[] = {{"opest", "17"}};
    ferry_job job = {wrong, 1, NULL, NULL};
    ferry_report *r = NULL;
    int ok = 1;
    if (!ferry_open("no such file.onnx", NULL, &e)) ok &= report("a missing file", &e) == FERRY_IO;
    if (!ferry_open(argc > 1 ? argv[1] : argv[0], "treads=2", &e)) ok &= report("an unknown option", &e) == FERRY_USAGE;
    if (ferry_export("model.pt2", NULL, &job, &r, &e)) ok &= report("a mistyped flag", &e) == FERRY_USAGE;
    ferry_report_free(r);
    if (!ferry_open(argv[0], NULL, &e)) ok &= report("a program instead of a model", &e) == FERRY_BAD_MODEL;
    return ok ? 0 : 1;
}
