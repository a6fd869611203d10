/* SPDX-License-Identifier: Apache-2.0
 * cmd_info.c - the commands that look: info, check, ops, doctor, explain. Each is one call and one report. */
#include "cli.h"

static int info(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = ferry_info(a->at[0], &job, &r, &e);
    return cli_finish(a, kind, r, &e);
}
static const cli_flag info_flags[] = {{"--shapes", NULL, "list every value (every weight) with its type"}, {"--section", "PATH", "of a checkpoint: the weights there"}, CLI_SHAPE, CLI_PLUGIN, {0}};
const cli_command cli_info = {
    "info", "look", "info FILE [--shapes] [--json]", "inputs, outputs, operators, parameters, MACs, memory; what a file of weights holds", info_flags,
    "  ferry info resnet50.onnx\n  ferry info model.pt2 --json\n  ferry info checkpoint.pth --section ema\n", 1, 1, info,
};

static int check(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = ferry_check(a->at[0], &job, &r, &e);
    return cli_finish(a, kind, r, &e);
}
static const cli_flag check_flags[] = {{"--strict", NULL, "warnings count as errors"}, CLI_SHAPE, CLI_PLUGIN, {0}};
const cli_command cli_check = {
    "check", "look", "check MODEL [--strict] [--json]", "is the model valid, and which pitfalls does it hold?", check_flags,
    "  ferry check resnet50.onnx\n  ferry check --strict --json m.onnx\n", 1, 1, check,
};

static int ops(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = ferry_ops(&job, &r, &e);
    return cli_finish(a, kind, r, &e);
}
static const cli_flag ops_flags[] = {{"--onnx", NULL, "ONNX operators only"}, {"--aten", NULL, "ATen operators only"}, {0}};
const cli_command cli_ops = {
    "ops", "look", "ops [--onnx | --aten] [--json]", "which operators are supported", ops_flags, "  ferry ops --aten\n", 0, 0, ops,
};

static int doctor(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = ferry_doctor(&job, &r, &e);
    return cli_finish(a, kind, r, &e);
}
static const cli_flag doctor_flags[] = {{"--require", "LIST", "exit 1 unless all hold: torch==2.7.0,cuda>=11.8,shm>=8g,cores>=2"}, {0}};
const cli_command cli_doctor = {
    "doctor", "look", "doctor [--require LIST] [--json]", "this machine: CPU, memory, GPUs, CUDA, engines, PyTorch", doctor_flags,
    "  ferry doctor\n  ferry doctor --require 'torch>=2.7,shm>=8g'\n", 0, 0, doctor,
};

static int explain(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    int kind = ferry_explain(a->n ? a->at[0] : "", &job, &r, &e);
    return cli_finish(a, kind, r, &e);
}
static const cli_flag explain_flags[] = {
    {"--node", "N|NAME", "of MODEL: how this node is run (the number of a step in `ferry profile`, or a node's name), and why not otherwise"},
    {"--engine", "NAME", "for --node: ferry (default)"},
    {"--exact", NULL, "for --node: as under --exact"},
    {"--precision", "P", "for --node: as under --precision"},
    CLI_SHAPE,
    CLI_PLUGIN,
    {0},
};
const cli_command cli_explain = {
    "explain", "ferry", "explain CODE|OPERATOR|PASS|KNOB, explain MODEL --node N|NAME", "what an error code, operator, pass or setting means; how a node is run", explain_flags,
    "  ferry explain FROZEN\n  ferry explain Conv\n  ferry explain resnet50.onnx --node 12\n", 0, 1, explain,
};
