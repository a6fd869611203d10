/* SPDX-License-Identifier: Apache-2.0
 * main.c - the program `ferry`: finds the command, parses its flags, prints help. Exit codes are ferry_kind. */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_command *const commands[] = {
#define COMMAND(name) &cli_##name,
#include "commands.def"
#undef COMMAND
};
#define NCOMMANDS (sizeof commands / sizeof commands[0])

static const cli_flag common[] = {
    {"--json", NULL, "print one JSON document instead of text"},
    {"--quiet", NULL, "print nothing but errors (also -q)"},
    {"--verbose", NULL, "say more (also -v)"},
    {"--help", NULL, "show this"},
    {0},
};

static const struct { const char *key, *title; } groups[] = {
    {"look", "look"}, {"make", "make"}, {"use", "use"}, {"ferry", "ferry itself"},
};

static void print_overview(FILE *f) {
    fprintf(f, "ferry carries a trained model from PyTorch to wherever it runs.\n\nusage: ferry COMMAND [ARGUMENTS] [FLAGS]\n");
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        fprintf(f, "\n%s\n", groups[g].title);
        for (size_t i = 0; i < NCOMMANDS; i++)
            if (!strcmp(commands[i]->group, groups[g].key)) fprintf(f, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    }
    fprintf(f, "\n`ferry help COMMAND` shows its flags with examples. A first run:\n  ferry export model.pt2 && ferry run model.onnx --random\n");
}

static void print_flags(FILE *f, const cli_flag *flags) {
    for (; flags->name; flags++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", flags->name, flags->arg ? " " : "", flags->arg ? flags->arg : "");
        fprintf(f, "  %-28s %s\n", left, flags->help);
    }
}

static void print_help(FILE *f, const cli_command *c) {
    fprintf(f, "ferry %s - %s\n\nusage: ferry %s\n\nflags\n", c->name, c->summary, c->usage);
    print_flags(f, c->flags);
    print_flags(f, common);
    fprintf(f, "\nexamples\n%s\nexit codes: 0 yes, 1 no (a gate failed), 2 usage, 3 bad or unsupported model, 4 input/output, 5 a bug of ferry\n", c->examples);
}

static const cli_command *find_command(const char *name) {
    for (size_t i = 0; i < NCOMMANDS; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

int cli_usage(const char *command, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "ferry%s%s: ", command ? " " : "", command ? command : "");
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n  help: ferry help%s%s\n", command ? " " : "", command ? command : "");
    return FERRY_USAGE;
}

const char *cli_get(const cli_args *a, const char *key) {
    for (size_t i = a->noption; i-- > 0;)
        if (!strcmp(a->option[i].key, key)) return a->option[i].value;
    return NULL;
}

bool cli_has(const cli_args *a, const char *key) { return cli_get(a, key) != NULL; }

static void show_progress(void *ctx, const char *what, double share) {
    (void)ctx;
    if (share >= 0) fprintf(stderr, "\r\033[K%s %3.0f%%", what, 100 * share);
    else fprintf(stderr, "\r\033[K%s", what);
    if (share >= 1) fprintf(stderr, "\r\033[K");
    fflush(stderr);
}

static bool talks(const cli_args *a) { return !a->quiet && !a->json && isatty(2); }

ferry_job cli_job(const cli_args *a) { return (ferry_job){a->option, a->noption, talks(a) ? show_progress : NULL, NULL}; }

/* Nothing of the progress stays in front of what comes next. */
static void end_progress(const cli_args *a) {
    if (talks(a)) fprintf(stderr, "\r\033[K");
}

int cli_fail(const cli_args *a, const ferry_error *e) {
    const char *red = isatty(2) ? "\033[31m" : "", *off = *red ? "\033[0m" : "";
    end_progress(a);
    fprintf(stderr, "%serror[%s]%s: %s\n", red, e->code ? e->code : "INTERNAL", off, e->text);
    for (int i = 0; i < e->nframes; i++) fprintf(stderr, "  %s\n", e->frame[i]);
    if (e->help[0]) fprintf(stderr, "  help: %s\n", e->help);
    else if (e->code) fprintf(stderr, "  help: ferry explain %s\n", e->code);
    return e->kind ? e->kind : FERRY_BUG;
}

int cli_finish(const cli_args *a, int kind, ferry_report *r, const ferry_error *e) {
    end_progress(a);
    if (r) {
        if (a->json) fputs(ferry_report_json(r), stdout);
        else if (a->verbose) fputs(ferry_report_full(r), stdout);
        else if (!a->quiet || kind == FERRY_NO) fputs(ferry_report_text(r, a->colour), stdout);
        ferry_report_free(r);
    }
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "error[WRITE]: standard output: %s\n", strerror(errno));
        return FERRY_IO;
    }
    return kind == FERRY_OK || kind == FERRY_NO ? kind : cli_fail(a, e);
}

int cli_make(const cli_args *a, cli_maker *make) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = make(a->at[0], a->n > 1 ? a->at[1] : cli_get(a, "output"), &job, &r, &e);
    return cli_finish(a, kind, r, &e);
}

/* ---- parsing ------------------------------------------------------------------------------------------------------ */

/* "--per_channel" and "--per-channel" are the same. */
static bool same_flag(const char *given, size_t n, const char *name) {
    if (strlen(name) != n) return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] != (given[i] == '_' ? '-' : given[i])) return false;
    return true;
}

static const cli_flag *find_flag(const cli_flag *flags, const char *given, size_t n) {
    for (; flags->name; flags++)
        if (same_flag(given, n, flags->name)) return flags;
    return NULL;
}

static int unknown_flag(const cli_command *c, const char *given, size_t n) {
    const char *names[128];
    size_t count = 0;
    char word[64];
    for (const cli_flag *f = c->flags; f->name && count < 120; f++) names[count++] = f->name;
    for (const cli_flag *f = common; f->name; f++) names[count++] = f->name;
    snprintf(word, sizeof word, "%.*s", (int)n, given);
    const char *near = ferry_nearest(word, names, count);
    return near ? cli_usage(c->name, "there is no flag %s; did you mean %s?", word, near) : cli_usage(c->name, "there is no flag %s", word);
}

static int parse(const cli_command *c, int argc, char **argv, cli_args *a) {
    for (int i = 0; i < argc; i++) {
        const char *s = argv[i];
        if (s[0] != '-' || !s[1]) { a->at[a->n++] = s; continue; }
        if (!strcmp(s, "--")) { while (++i < argc) a->at[a->n++] = argv[i]; break; }
        if (!strcmp(s, "-o")) s = "--output";
        if (!strcmp(s, "-q")) s = "--quiet";
        if (!strcmp(s, "-v")) s = "--verbose";
        if (!strcmp(s, "-h")) s = "--help";
        size_t n = strcspn(s, "=");
        const char *value = s[n] ? s + n + 1 : NULL;
        const cli_flag *f = find_flag(c->flags, s, n);
        if (!f) f = find_flag(common, s, n);
        if (!f && same_flag(s, n, "--input") && c->max_args != 0) {      /* people paste --input FILE from other tools */
            if (!value && ++i >= argc) return cli_usage(c->name, "--input needs a file");
            a->at[a->n++] = value ? value : argv[i];
            continue;
        }
        if (!f) return unknown_flag(c, s, n);
        if (f->arg && !value) {
            if (++i >= argc) return cli_usage(c->name, "%s needs a value: %s", f->name, f->arg);
            value = argv[i];
        }
        if (!f->arg && value) return cli_usage(c->name, "%s takes no value", f->name);
        const char *key = f->name + 2;
        if (!strcmp(key, "help")) { print_help(stdout, c); return -1; }
        if (!strcmp(key, "json")) a->json = true;
        else if (!strcmp(key, "quiet")) a->quiet = true;
        else if (!strcmp(key, "verbose")) a->verbose = true;
        else a->option[a->noption++] = (ferry_option){key, value ? value : ""};
    }
    if ((int)a->n < c->min_args) return cli_usage(c->name, "too few arguments\n  usage: ferry %s", c->usage);
    if (c->max_args >= 0 && (int)a->n > c->max_args) return cli_usage(c->name, "unexpected argument '%s'\n  usage: ferry %s", a->at[c->max_args], c->usage);
    return 0;
}

static int unknown_command(const char *name) {
    const char *names[NCOMMANDS];
    for (size_t i = 0; i < NCOMMANDS; i++) names[i] = commands[i]->name;
    const char *near = ferry_nearest(name, names, NCOMMANDS);
    return near ? cli_usage(NULL, "there is no command '%s'; did you mean '%s'?", name, near) : cli_usage(NULL, "there is no command '%s'", name);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);                                /* a closed pipe and a file size limit are write errors, with words */
    signal(SIGXFSZ, SIG_IGN);
    if (argc < 2) {
        print_overview(stdout);
        return FERRY_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("ferry %s\n%scpu: %s\n", ferry_version(), ferry_build_info(), ferry_cpu());
        return FERRY_OK;
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        const cli_command *c = argc > 2 ? find_command(argv[2]) : NULL;
        if (argc > 2 && !c) return unknown_command(argv[2]);
        if (c) print_help(stdout, c);
        else print_overview(stdout);
        return FERRY_OK;
    }
    const cli_command *c = find_command(argv[1]);
    if (!c) return unknown_command(argv[1]);
    cli_args a = {.at = calloc((size_t)argc, sizeof *a.at), .option = calloc((size_t)argc, sizeof *a.option), .colour = isatty(1) && !getenv("NO_COLOR")};
    int code = a.at && a.option ? parse(c, argc - 2, argv + 2, &a) : FERRY_IO;
    code = code < 0 ? FERRY_OK : code ? code : c->run(&a);
    free(a.at);
    free(a.option);
    return code;
}
