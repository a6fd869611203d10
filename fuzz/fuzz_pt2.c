/* SPDX-License-Identifier: Apache-2.0
 * fuzz_pt2.c - .pt2 archives: read, printed, inlined, functionalised, lowered, cleaned up, lowered to opset 17, written. */
#include "export.h"

#include "formats/pt2.h"

static const char *const files[] = {"pt2/t27/blocks.pt2", "pt2/t215/blocks.pt2", "pt2/t27/nest.pt2", "pt2/t215/nest.pt2", "pt2/t215/inplace.pt2", "pt2/t27/edge.pt2",
    "pt2/t28/edge_dyn.pt2", "pt2/t215/mutation.pt2", NULL};
static const char *const words[] = {"torch.ops.aten.add.Tensor", "torch.ops.aten.view.default", "torch.ops.aten.slice.Tensor", "torch.ops.aten.select.int", "torch.ops.aten.permute.default",
    "torch.ops.aten.copy_.default", "torch.ops.aten.add_.Tensor", "torch.ops.aten.index_put_.default", "torch.ops.aten.split.Tensor", "torch.ops.aten.chunk.default",
    "torch.ops.aten.conv2d.default", "torch.ops.aten.embedding.default", "torch.ops.aten.expand.default", "torch.ops.aten.as_strided.default", "torch.ops.aten.arange.start_step",
    "torch.ops.aten.full.default", "torch.ops.aten.sym_size.int", "torch.ops.aten.cat.default", "torch.ops.aten.unbind.int", "torch.ops.aten.index.Tensor",
    "torch.ops.higher_order.cond", "torch.ops.higher_order.wrap_with_set_grad_enabled", "_operator.mul", "_operator.getitem", "s0", "s0 + 1", "Symbol('s0', positive=True, integer=True)",
    "x", "add", "self", "other", "dim", "target", "arg", "inputs", "outputs", "nodes", "name", "as_tensor", "as_int", "as_ints", "as_tensors", "as_sym_int", "as_none", "as_float", "as_graph", "as_optional_tensors", "as_bool", "as_string", "as_expr", "expr_str", "sizes", "dtype", "input_specs", "output_specs",
    "tensor_values", "in_spec", "range_constraints", "min_val", "max_val", "as_sym_ints", "as_scalar_type", "as_bools", "as_floats", "as_sym_bool", "as_name",
    "archive_format", "byteorder", "serialized_exported_program.json", "serialized_state_dict.pt", "torch\nFloatStorage\n", NULL};
const fy_fuzz fy_target = {"pt2", FY_G_ZIP, files, NULL, words, (size_t)256 << 20};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ferry_error e;
    fy_program *p;
    if (fy_pt2_read_memory(&p, data, size, "x.pt2", &e)) return 0;
    fy_fuzz_export(p);
    return 0;
}
