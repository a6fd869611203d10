/* SPDX-License-Identifier: Apache-2.0
 * cmd_verify.c - ferry verify: does the model compute what its source computes? */
#include "cli.h"

static const cli_flag flags[] = {
    {"--against", "REF", ".pt2, .npz of recorded inputs and outputs, or .onnx; else the .pt2 whose hash the model carries"},
    {"--reference", "torch", "run the .pt2 by an installed PyTorch instead of ferry's evaluator"},
    {"--engine", "NAME", "who runs the model: reference (default; double sums), ferry, onnxruntime, openvino"},
    {"--reference-engine", "NAME", "who runs a reference that is .onnx; default reference"},
    {"--precision", "P", "f32 (default), or bf16 (--engine ferry): products with constant operands round them to bfloat16"},
    {"--tolerance", "X|NAME:X", "largest absolute error, for all outputs or one; may be repeated; default 1e-4; with --precision bf16: 2e-2 of the output's range"},
    {"--relative-to-range", NULL, "accept an error below the tolerance times the output's range"},
    {"--seed", "N", "seed of the generated inputs; default 1"},
    {"--sizes", "N", "further sizes tried for dynamic axes; default 2"},
    {"--threads", "N", "default: the cores allowed to us"},
    {"--cache", "DIR", "with --engine ferry: keep packed weights there for the next start (docs/memory.md)"},
    CLI_SHAPE,
    {"--junit", "FILE", "also write JUnit XML, one case for each output and size"},
    CLI_PLUGIN,
    {0},
};

static int run(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = ferry_verify(a->at[0], &job, &r, &e);
    return cli_finish(a, kind, r, &e);
}

const cli_command cli_verify = {
    "verify", "use", "verify MODEL.onnx [--against REF] [FLAGS]", "compare a model with its source, number by number", flags,
    "  ferry verify resnet50.onnx                         # against resnet50.pt2 beside it\n"
    "  ferry verify m.onnx --against recorded.npz --tolerance logits:1e-5\n"
    "  ferry verify m.onnx --engine onnxruntime --junit verify.xml\n",
    1, 1, run,
};
