/* SPDX-License-Identifier: Apache-2.0
 * cmd_bench.c - the commands about speed: bench and profile. */
#include "cli.h"

#define SHARED \
    {"--seconds", "S", "how long to measure; default 2"}, \
    {"--threads", "N", "default: the cores allowed to us"}, \
    {"--batch", "N", "size of every dynamic first axis; default 1"}, \
    {"--sizes", "SYMBOL=N,...", "sizes of dynamic axes; default 1"}, \
    {"--exact", NULL, "no algorithm whose rounding differs from the direct one (Winograd)"}, \
    {"--precision", "P", "f32 (default), or bf16: products with constant operands round them to bfloat16, sums stay f32; engine ferry"}, \
    {"--seed", "N", "seed of the inputs; default 1"}, \
    CLI_CACHE, \
    CLI_PLUGIN

static int bench(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = ferry_bench(a->at[0], &job, &r, &e);
    return cli_finish(a, kind, r, &e);
}
static const cli_flag bench_flags[] = {
    SHARED,
    {"--engine", "NAME", "ferry (default), onnxruntime, openvino, reference"},
    {"--cycle", "SYMBOL=A..B:STEP", "sizes of one axis by turns: what a new size costs, and what another size each time"},
    {"--save", "FILE", "write the report as JSON, for --against"},
    {"--against", "FILE", "an earlier report: faster, slower or the same? exit 1 if slower"},
    {0},
};
const cli_command cli_bench = {
    "bench", "use", "bench MODEL [--threads N] [--batch N] [--sizes SYMBOL=N,...] [--save FILE] [--against FILE] [FLAGS]", "how long a run takes, and is that another speed than before?",
    bench_flags,
    "  ferry bench resnet50.onnx --threads 1\n"
    "  ferry bench m.onnx --batch 8 --save before.json\n"
    "  ferry bench m.onnx --batch 8 --against before.json     same unless the medians differ by more than the noise of both runs and 2 %\n"
    "  ferry bench bert.onnx --cycle sequence=4..256:4           64 lengths by turns\n"
    "  ferry bench m.onnx --engine onnxruntime --json\n", 1, 1, bench,
};

static int profile(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = ferry_profile(a->at[0], &job, &r, &e);
    return cli_finish(a, kind, r, &e);
}
static const cli_flag profile_flags[] = {
    SHARED,
    {"--engine", "NAME", "ferry (default); others cannot be watched"},
    {"--html", "FILE", "one page with the graph coloured by time"},
    {"--trace", "FILE", "the last run, for chrome://tracing and Perfetto"},
    {0},
};
const cli_command cli_profile = {
    "profile", "use", "profile MODEL [--html FILE] [--trace FILE] [FLAGS]", "where the time of a run goes, node by node", profile_flags,
    "  ferry profile resnet50.onnx --threads 1\n"
    "  ferry profile bert.onnx --sizes seq=128 --html bert.html --trace bert.json\n", 1, 1, profile,
};
