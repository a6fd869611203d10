/* SPDX-License-Identifier: Apache-2.0
 * cmd_selftest.c - ferry selftest: the tests that ship with the program. */
#include "cli.h"

static const cli_flag flags[] = {
    {"--strict", NULL, "onnx: f32 and f64 outputs within rtol 1e-5, atol 1e-7 instead of the suite's own tolerances"},
    {"--exceptions", "FILE", "onnx: cases that may fail, a line each: NAME and the reason; one that passes is a failure; may be repeated"},
    {"--engine", "NAME", "onnx: who runs the cases: ferry (default), reference, onnxruntime, openvino"},
    {"--threads", "N", "onnx: default: the cores allowed to us"},
    {"--op", "NAME", "hostile: one operator; default all"},
    {"--seed", "N", "hostile: of the random combinations; default 1"},
    {"--trials", "N", "hostile: random combinations for each node tried, beside every single change; default 100"},
    {"--isa", "NAME", "kernels: this instruction set alone: generic, avx2, avx512 ...; default: all that this CPU has"},
    {"--kernel", "NAME", "kernels: those whose names hold NAME"},
    {"--stride", "N", "kernels: functions of one value are measured at every Nth of all floats (default 257; 1: at each one, which takes long)"},
    {"--bench", NULL, "kernels: their speed instead, as a share of what this CPU can do"},
    CLI_PLUGIN,
    {0},
};

static int run(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = ferry_selftest(a->at[0], a->at + 1, a->n - 1, &job, &r, &e);
    return cli_finish(a, kind, r, &e);
}

const cli_command cli_selftest = {
    "selftest", "ferry", "selftest (onnx FOLDER... | hostile [FOLDER] | kernels) [FLAGS]", "run the official ONNX cases, hostile operands, or test the kernels, on this machine", flags,
    "  ferry selftest onnx build/conformance/node         # a folder of cases: model.onnx, test_data_set_0/*.pb\n"
    "  ferry selftest onnx cases --strict --json\n"
    "  ferry selftest onnx cases --engine onnxruntime     # another engine on the same cases\n"
    "  ferry selftest hostile --trials 1000               # every operator on operands that no model should have\n"
    "  ferry selftest hostile --op Affine --plugin ./mine.so\n"
    "  ferry selftest kernels                             # every kernel on every instruction set of this CPU\n"
    "  ferry selftest kernels --bench --kernel gemm_f32\n",
    1, -1, run,
};
