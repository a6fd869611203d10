/* SPDX-License-Identifier: Apache-2.0
 * cmd_optimize.c - ferry optimize: a .onnx with fewer nodes, verified against the original before it is put in place. */
#include "cli.h"

static const cli_flag flags[] = {
    {"--output", "OUT.onnx", "where to write (also -o)"},
    {"--level", "basic|extended", "basic: no operator is put in place of several others; default extended"},
    {"--fold-budget", "SIZE", "bytes that computed constants may add to the file (64K, 1M); default 1M"},
    {"--no-fold", NULL, "keep arithmetic on constants as nodes"},
    {"--no-fold-bn", NULL, "keep batch norm and factors of channels as nodes"},
    {"--keep-weights", NULL, "do not join or scale the weights of products: parameters stay as named"},
    CLI_REWRITE,
    CLI_PLUGIN,
    {"--stop-after", "PASS", "stop after this pass"},
    {"--skip-pass", "PASS,...", "leave out these passes"},
    {"--dump", "DIR", "write the graph after each pass as text (also FERRY_DUMP=DIR)"},
    {0},
};

static int run(const cli_args *a) { return cli_make(a, ferry_optimize); }

const cli_command cli_optimize = {
    "optimize", "make", "optimize MODEL.onnx -o OUT.onnx [FLAGS]", "write a .onnx with fewer nodes, and verify it", flags,
    "  ferry optimize model.onnx -o small.onnx                 # names, opset and results stay\n"
    "  ferry optimize model.onnx -o small.onnx --level basic\n"
    "  ferry optimize model.onnx -o small.onnx --skip-pass transpose,norm --json\n",
    1, 2, run,
};
