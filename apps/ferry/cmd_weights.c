/* SPDX-License-Identifier: Apache-2.0
 * cmd_weights.c - ferry weights: the weights of a model or checkpoint as .safetensors. */
#include "cli.h"

static const cli_flag flags[] = {
    {"--output", "OUT.safetensors", "where to write (also -o)"},
    {"--section", "PATH", "where in a checkpoint the weights are; else the usual places (state_dict, model ...)"},
    {"--once", NULL, "of tied weights write one tensor, and name the others in the metadata"},
    {0},
};

static int run(const cli_args *a) { return cli_make(a, ferry_weights); }

const cli_command cli_weights = {
    "weights", "make", "weights FILE -o OUT.safetensors [FLAGS]", "take the weights out of a .pt2, .onnx or checkpoint, names as in PyTorch", flags,
    "  ferry weights model.pt2 -o model.safetensors\n"
    "  ferry weights checkpoint.pth -o ema.safetensors --section ema\n"
    "  ferry weights pickled_module.pt -o model.safetensors     # read as data, nothing is run\n",
    1, 2, run,
};
