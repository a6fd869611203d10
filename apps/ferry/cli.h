/* SPDX-License-Identifier: Apache-2.0
 * cli.h - the frame of the program: commands and flags as tables, parsing, help, output. A command is one file cmd_*.c. */
#ifndef CLI_H
#define CLI_H

#include "ferry/ferry.h"
#include "ferry/tools.h"

#include <stdbool.h>
#include <stdio.h>

/* One flag. `arg` NULL: takes no value. `key` NULL: the name without dashes is the option's key in the job. */
typedef struct cli_flag { const char *name; const char *arg; const char *help; } cli_flag;

/* For the commands that read a model. */
#define CLI_PLUGIN {"--plugin", "PATH", "operators from a shared object (docs/plugins.md); may be repeated"}

/* For the commands that read a program. */
#define CLI_SHAPE {"--shape", "NAME=1x3x224x224[:DTYPE]", "sizes of an input of a TorchScript archive, or NAME=NUMBER (docs/torchscript.md); may be repeated"}

/* For the commands that run one. */
#define CLI_CACHE \
    {"--cache", "DIR", "keep packed weights there for the next start (docs/memory.md)"}, \
    {"--memory", "low", "as little private memory as will do"}

/* For the commands that write a model and compare it with the one before. */
#define CLI_REWRITE \
    {"--no-verify", NULL, "write without running both models"}, \
    {"--tolerance", "X", "largest absolute error accepted; default 1e-4"}, \
    {"--relative-to-range", NULL, "accept an error below the tolerance times the output's range"}, \
    {"--seed", "N", "seed of the generated inputs; default 1"}, \
    {"--sizes", "N", "further sizes tried for dynamic axes; default 1"}, \
    {"--engine", "NAME", "who runs the written model for verification: reference (default), ferry, onnxruntime, openvino"}, \
    {"--threads", "N", "threads for verification; default: the cores allowed to us"}, \
    {"--external-data", NULL, "weights in OUT.onnx.data; automatic above 2 GiB"}

typedef struct cli_args {
    const char  **at;                    /* positional arguments */
    size_t        n;
    ferry_option *option;                /* all flags given, in order; key without dashes, '-' for '_' */
    size_t        noption;
    bool          json, quiet, verbose, colour;
} cli_args;

typedef struct cli_command {
    const char     *name, *group, *usage, *summary;
    const cli_flag *flags;               /* ends with {0} */
    const char     *examples;            /* lines */
    int             min_args, max_args;  /* max -1: any number */
    int           (*run)(const cli_args *a);      /* returns the exit code */
} cli_command;

/* Value of the last flag `key`, or NULL. */
const char *cli_get(const cli_args *a, const char *key);
bool        cli_has(const cli_args *a, const char *key);
/* A job from the flags given, with progress shown on a terminal. Drops the frame's own flags (json, quiet ...). */
ferry_job   cli_job(const cli_args *a);
/* Prints the error on stderr and returns its exit code. */
int         cli_fail(const cli_args *a, const ferry_error *e);
/* Prints the report on stdout (--json: the document) and frees it; then the error, if kind is a failure. Returns kind. */
int         cli_finish(const cli_args *a, int kind, ferry_report *r, const ferry_error *e);
/* A command that makes a file of a file: IN [OUT], or --output OUT. */
typedef int cli_maker(const char *in, const char *out, const ferry_job *job, ferry_report **r, ferry_error *e);
int         cli_make(const cli_args *a, cli_maker *make);
#if defined(__GNUC__) || defined(__clang__)
__attribute__((format(printf, 2, 3)))
#endif
int         cli_usage(const char *command, const char *fmt, ...);

#define COMMAND(name) extern const cli_command cli_##name;
#include "commands.def"
#undef COMMAND

#endif
