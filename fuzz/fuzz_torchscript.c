/* SPDX-License-Identifier: Apache-2.0
 * fuzz_torchscript.c - TorchScript archives: read with made-up shapes, inlined, functionalised, lowered, cleaned up, written. */
#include "export.h"

#include "aten/typer.h"
#include "formats/torchscript.h"

static const char *const files[] = {"torchscript/while.pt", "torchscript/branches.pt", "torchscript/early0.pt", "torchscript/gru_loop.pt", "torchscript/greedy.pt", "torchscript/state_script.pt",
    "torchscript/shapes_trace.pt", "torchscript/containers.pt", "torchscript/cells_loop.pt", "torchscript/offsets_trace.pt", "torchscript/dynamic_script.pt", NULL};
static const char *const words[] = {"def forward(self, x: Tensor) -> Tensor:\n", "class M(Module):\n", "    return x\n", "if ", "else:\n", "while ", "for i in range(", "pass\n", "torch.add(", "torch.mul(",
    "torch.size(x)", "torch.append(", "torch.stack(", "torch.cat(", "torch.len(", "torch.format(", "annotate(List[Tensor], [])", "annotate(int, ", "unchecked_cast(Tensor, ", "uninitialized(Tensor)",
    "ops.prim.NumToTensor(", "ops.prim.RaiseException(\"no\")", "ops.prim.dtype(", "int(", "bool(", "float(", "CONSTANTS.c0", "__torch__.", "self.", "(self).forward(x, )", "getattr(self, \"0\")", "None", "True",
    "False", "9223372036854775807", "-1", "0.5", "inf", "[1, 2]", "(1, )", "{\"a\": x}", "x[0]", "torch.__is__(", "torch.pop(", "torch.select(", "torch.slice(", "torch.add_(x, ", "ops.quantized.linear_dynamic(", "ops.quantized.linear_prepack(", "torch.quantize_per_tensor(x, 0.1, 3, 13)", "torch.dequantize(", "torch.chunk(", "torch.to(", "\n  ", "\n    ",
    "data.pkl", "constants.pkl", "version", "code/__torch__.py", "__torch__\nM\n", "\x81", "}b", NULL};
const fy_fuzz fy_target = {"torchscript", FY_G_ZIP, files, NULL, words, (size_t)1 << 30};

static fy_status make_typer(void *ctx, fy_ts_typer *t, fy_program *p, ferry_error *e) {
    fy_typer **made = ctx;
    FY_TRY(fy_typer_new(made, p, NULL, e));
    *t = (fy_ts_typer){*made, fy_typer_node, fy_typer_value, fy_typer_missing};
    return FY_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const fy_ts_input in[] = {{.name = "x", .is_tensor = true, .rank = 2, .dim = {2, 3}, .symbol = {"batch"}}, {.name = "y", .is_tensor = true, .rank = 2, .dim = {2, 3}},
        {.name = "h", .is_tensor = true, .rank = 2, .dim = {2, 8}}};
    static const fy_ts_input sequence[] = {{.name = "x", .is_tensor = true, .rank = 3, .dim = {2, 5, 4}, .symbol = {"batch", "time"}}};
    for (int k = 0; k < 4; k++) {
        ferry_error e = {0};
        fy_program *p = NULL;
        fy_typer *t = NULL;
        fy_ts_options o = {.typer = make_typer, .ctx = &t, .input = k == 3 ? sequence : &in[k == 2 ? 2 : 0], .ninput = k == 1 ? 2 : 1};
        fy_status s = fy_ts_read_memory(&p, data, size, "x.pt", &o, &e);
        fy_typer_free(t);
        if (s) continue;
        fy_fuzz_export(p);
    }
    return 0;
}
