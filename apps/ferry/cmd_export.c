/* SPDX-License-Identifier: Apache-2.0
 * cmd_export.c - ferry export: .pt2 or TorchScript -> .onnx, verified before it is put in place. */
#include "cli.h"

#include <string.h>

static const cli_flag flags[] = {
    {"--output", "OUT.onnx", "where to write (also -o); else the source's name with .onnx"},
    {"--opset", "N", "opset of ai.onnx, 13 to the newest; default 17"},
    {"--input-names", "A,B", "names of the inputs; else from the program's signature"},
    {"--output-names", "A,B", "names of the outputs; else from the program's signature"},
    CLI_SHAPE,
    {"--dynamic", "NAME:AXIS=SYMBOL", "make one axis of an input dynamic; may be repeated"},
    {"--dynamic-batch", NULL, "make axis 0 of every input dynamic, as \"batch\""},
    {"--dim-names", "OLD=NEW,...", "rename the program's symbols (s77=batch)"},
    {"--no-fold", NULL, "keep arithmetic on constants as nodes"},
    {"--no-fold-bn", NULL, "keep batch norm as nodes"},
    {"--external-data", NULL, "weights in OUT.onnx.data; automatic above 2 GiB"},
    {"--no-verify", NULL, "write without checking the numbers"},
    {"--tolerance", "X", "largest absolute error accepted; default 1e-4"},
    {"--relative-to-range", NULL, "accept an error below the tolerance times the output's range"},
    {"--engine", "NAME", "who runs the written model for verification: reference (default), ferry, onnxruntime, openvino"},
    {"--threads", "N", "threads for verification; default: the cores allowed to us"},
    {"--plugin", "PATH", "custom operators: a text of mappings or a shared object (docs/plugins.md); may be repeated"},
    {"--training", NULL, "accept layers in training mode (active dropout, batch statistics)"},
    {"--asserts", "keep|drop", "the program's own checks: keep as outputs of bool that verify asks to be true, or leave out (default)"},
    {"--report", "FILE", "also write the report, readable or (FILE.json) as JSON"},
    {"--keep-traces", NULL, "keep file paths of the exporting machine in the model"},
    {"--no-provenance", NULL, "leave out metadata_props (source, hash, verdict)"},
    {"--weights", "FILE", "put these weights in, by name: .safetensors, .pth, .pt2, .onnx (docs/weights.md); the source may be a .onnx then"},
    {"--section", "PATH", "where in a checkpoint the weights are; else the usual places"},
    {"--partial", NULL, "take the weights that match, keep the model's own for the rest"},
    {"--cast", NULL, "convert weights between floating-point types"},
    {"--stop-after", "PASS", "stop the clean-up after this pass"},
    {"--skip-pass", "PASS,...", "leave out these passes"},
    {"--dump", "DIR", "write the graph after each pass as text (also FERRY_DUMP=DIR)"},
    {0},
};

static int run(const cli_args *a) {
    ferry_error e = {0};
    ferry_report *r = NULL;
    ferry_job job = cli_job(a);
    const char *end = a->n > 1 ? strrchr(a->at[1], '.') : NULL;
    if (end && !strcmp(end, ".pt2")) return cli_usage("export", "one model at a time: '%s' is not an output", a->at[1]);    /* *.pt2 would overwrite it */
    int kind = ferry_export(a->at[0], a->n > 1 ? a->at[1] : cli_get(a, "output"), &job, &r, &e);
    return cli_finish(a, kind, r, &e);
}

const cli_command cli_export = {
    "export", "make", "export MODEL [-o OUT.onnx] [FLAGS]", "write a .pt2 (torch.export.save) or TorchScript archive (torch.jit.save) as ONNX, and verify it", flags,
    "  ferry export resnet50.pt2                               # -> resnet50.onnx, opset 17, verified\n"
    "  ferry export m.pt2 -o m13.onnx --opset 13 --dynamic-batch\n"
    "  ferry export bert.pt2 --dynamic input_ids:1=sequence --output-names logits\n"
    "  ferry export script.pt --shape x=1x16000 --shape rate=16000 --dynamic x:0=batch\n"
    "  ferry export m.pt2 --engine onnxruntime --report m.json # judged by ONNX Runtime\n"
    "  ferry export m.onnx --weights tuned.safetensors -o tuned.onnx    # the same graph, other weights\n",
    1, 2, run,
};
