/* SPDX-License-Identifier: Apache-2.0
 * cmd_diff.c - ferry diff: what is different between two models. */
#include "cli.h"

static const cli_flag flags[] = {
    {"--no-weights", NULL, "structure only"},
    {"--no-metadata", NULL, "leave out metadata_props"},
    {"--tolerance", "X", "weights within this absolute difference count as the same; default 0"},
    {"--threads", "N", "default: the cores allowed to us"},
    CLI_PLUGIN,
    {0},
};

static int run(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = ferry_diff(a->at[0], a->at[1], &job, &r, &e);
    return cli_finish(a, kind, r, &e);
}

const cli_command cli_diff = {
    "diff", "look", "diff A B [--no-weights] [--tolerance X] [--json]", "what is different between two models: interface, nodes, weights", flags,
    "  ferry diff model.onnx tuned.onnx          # exit code 0: the same; 1: they differ\n"
    "  ferry diff model.pt2 model.onnx --no-metadata\n"
    "  ferry diff a.onnx b.onnx -v               # every difference, not the first 30 of a kind\n",
    2, 2, run,
};
