/* SPDX-License-Identifier: Apache-2.0
 * cmd_convert.c - ferry convert: a .onnx at another opset, verified against the original before it is put in place. */
#include "cli.h"

static const cli_flag flags[] = {
    {"--output", "OUT.onnx", "where to write (also -o)"},
    {"--opset", "N", "opset of ai.onnx to write, 13 to the newest; required"},
    CLI_REWRITE,
    CLI_PLUGIN,
    {0},
};

static int run(const cli_args *a) { return cli_make(a, ferry_convert); }

const cli_command cli_convert = {
    "convert", "make", "convert MODEL.onnx -o OUT.onnx --opset N [FLAGS]", "write a .onnx at another opset, and verify it", flags,
    "  ferry convert old.onnx -o new.onnx --opset 21           # opset 1 and up is read\n"
    "  ferry convert model.onnx -o m13.onnx --opset 13         # newer operators are written out\n"
    "  ferry convert model.onnx -o m17.onnx --opset 17 --engine onnxruntime --json\n",
    1, 2, run,
};
