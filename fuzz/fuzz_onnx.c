/* SPDX-License-Identifier: Apache-2.0
 * fuzz_onnx.c - .onnx files: read, raised, inferred, verified, cleaned up, run by the interpreter on small inputs, lowered, written.
 *
 * Loops are not run: a file may rightly ask for 2^62 trips. */
#include "fuzz.h"

#include "formats/onnx.h"
#include "opset/opset.h"
#include "passes/passes.h"

#include <string.h>

static const char *const files[] = {"onnx/mlp.onnx", "onnx/control.onnx", "onnx/function.onnx", "onnx/sequence.onnx", "onnx/sparse.onnx", "onnx/types.onnx", "onnx/ir3.onnx",
    "onnx/external.onnx", NULL};
static const char *const words[] = {"Conv", "MatMul", "Gemm", "Reshape", "Gather", "GatherND", "Slice", "Pad", "Concat", "Split", "Transpose", "Resize", "TopK", "Tile", "Expand",
    "Range", "OneHot", "ConstantOfShape", "If", "Loop", "Scan", "Cast", "Softmax", "LayerNormalization", "BatchNormalization", "MaxPool", "AveragePool", "LSTM", "GRU", "Einsum",
    "ScatterND", "ScatterElements", "NonZero", "Unique", "QuantizeLinear", "DequantizeLinear", "QLinearMatMul", "Attention", "RoiAlign", "NonMaxSuppression", "GridSample",
    "CumSum", "DepthToSpace", "SpaceToDepth", "ReduceSum", "ArgMax", "Squeeze", "Unsqueeze", "Shape", "Size", "Where", "Trilu", "STFT", "DFT", "SequenceAt", "Upsample", "Identity",
    "axis", "axes", "kernel_shape", "strides", "pads", "dilations", "group", "perm", "to", "mode", "value", "body", "then_branch", "else_branch", "equation", "", "x", "batch",
    "ij,jk->ik", "bhwc,hkc->bhwk", "linear", "reflect", "SAME_UPPER", "location", "offset", "length", NULL};
const fy_fuzz fy_target = {"onnx", FY_G_PROTO, files, NULL, words, (size_t)256 << 20};

#define MAX_PORTS 16
#define MAX_ELEMENTS 4096

static bool has_loop(const fy_model *m) {
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *n = g->first; n; n = n->next)
            if (!strcmp(n->op->name, "Loop") || !strcmp(n->op->name, "Scan")) return true;
    return false;
}

/* Zeros and ones for every input; symbols are 2. False if an input has no such value. */
static bool make_inputs(fy_rval *in, const fy_graph *g) {
    ferry_error e;
    for (int64_t i = 0; i < g->in.n; i++) {
        const fy_type *t = &g->in.at[i]->type;
        int64_t dim[FY_MAX_RANK], count = 1;
        if (t->kind != FY_TENSOR || t->rank < 0 || t->rank > FY_MAX_RANK || t->dtype == FERRY_UNDEFINED || t->dtype == FERRY_STRING) return false;
        for (int k = 0; k < t->rank; k++) {
            if (!fy_dim_known(t->dim[k], &dim[k])) dim[k] = 2;
            if (dim[k] < 0 || dim[k] > MAX_ELEMENTS || (count *= dim[k]) > MAX_ELEMENTS) return false;
        }
        in[i].kind = FY_TENSOR;
        if (fy_tensor_new(&in[i].t, t->dtype, t->rank, dim, &e)) return false;
        for (int64_t k = 0; k < count; k++) fy_put_f64(&in[i].t, k, (double)(k & 1));
    }
    return true;
}

static void run(const fy_model *m) {
    ferry_error e;
    fy_graph *g = m->graph;
    fy_rval in[MAX_PORTS] = {0}, *at[MAX_PORTS], out[MAX_PORTS] = {0};
    if (g->in.n > MAX_PORTS || g->out.n > MAX_PORTS || has_loop(m)) return;
    for (int i = 0; i < MAX_PORTS; i++) at[i] = &in[i];
    fy_interp it = {.max_bytes = 1 << 20};
    if (make_inputs(in, g) && fy_interp_run(&it, g, at, out, &e) == FY_OK) {
        fy_reached[2]++;
        for (int64_t i = 0; i < g->out.n; i++) fy_rval_free(&out[i]);
    }
    for (int i = 0; i < MAX_PORTS; i++) fy_rval_free(&in[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ferry_error e;
    fy_model *m;
    if (fy_onnx_read_memory(&m, data, size, "x.onnx", fy_registry_builtin(), &e)) return 0;
    fy_buf out = {0};
    fy_reached[0]++;
    if (fy_opset_raise(m, &e) == FY_OK && fy_infer_model(m, &e) == FY_OK && fy_model_verify(m, &e) == FY_OK) {
        fy_pass_options o = {.fold = true, .fold_bn = true, .fold_bytes = 1 << 16};
        fy_reached[1]++;
        run(m);
        if (fy_passes_run(m, &o, &e) == FY_OK && fy_opset_lower(m, 17, &e) == FY_OK && fy_model_name_all(m, &e) == FY_OK)
            fy_reached[3] += fy_onnx_write_memory(m, &out, &e) == FY_OK;
    } else (void)!fy_onnx_write_memory(m, &out, &e);
    fy_buf_free(&out);
    fy_model_free(m);
    return 0;
}
