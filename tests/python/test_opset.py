"""Raising and lowering against onnx's checker and reference, and onnxruntime:

    python tests/python/test_opset.py build/tests/test_opset_steps [NAME ...]

Each case is a small model. It is converted to every opset from 13 to 27; each result must pass onnx.checker (full) and
compute what the original computes, or be refused with OPSET. Prints tried, refused, failed. Needs onnx, numpy; uses
onnxruntime where it has the operators, else onnx's reference evaluator.
"""
import itertools
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from onnx.reference import ReferenceEvaluator

try:
    import onnxruntime as ort
    ort.set_default_logger_severity(4)
except ImportError:
    ort = None

rng = np.random.default_rng(7)
cases = []
NP = {T.FLOAT: np.float32, T.DOUBLE: np.float64, T.FLOAT16: np.float16, T.INT8: np.int8, T.INT16: np.int16, T.INT32: np.int32, T.INT64: np.int64, T.UINT8: np.uint8,
      T.UINT16: np.uint16, T.UINT32: np.uint32, T.UINT64: np.uint64, T.BOOL: np.bool_}


def f(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def i64(*v):
    return np.array(v, np.int64)


def case(name, opset, nodes, inputs, outputs, consts=None, dynamic=(), lowest=None, want=None, tol=1e-6):
    """inputs: name -> array; outputs: name -> (type, rank); dynamic: inputs whose sizes are symbols. lowest: the opset below
    which it must be refused."""
    ins = []
    for k, v in inputs.items():
        t = h.np_dtype_to_tensor_dtype(v.dtype)
        ins.append(h.make_tensor_value_info(k, t, (dynamic[k] if isinstance(dynamic, dict) else ["%s%d" % (k, i) for i in range(v.ndim)]) if k in dynamic else list(v.shape)))
    outs = [h.make_tensor_value_info(k, t, None if r is None else ["o%d_%s" % (i, k) for i in range(r)]) for k, (t, r) in outputs.items()]
    g = h.make_graph(nodes, name, ins, outs, [nh.from_array(v, k) for k, v in (consts or {}).items()])
    ir = max(r[1] for r in h.VERSION_TABLE if r[2] <= opset)
    cases.append((name, h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=ir), inputs, lowest, want, tol))


n = h.make_node
x234 = f(2, 3, 4)
for approx in ("none", "tanh"):
    case("gelu_" + approx, 20, [n("Gelu", ["x"], ["y"], approximate=approx)], {"x": f(3, 50) * 3}, {"y": (1, 2)})
case("gelu_f16", 20, [n("Gelu", ["x"], ["y"])], {"x": f(3, 5).astype(np.float16)}, {"y": (10, 2)}, tol=2e-3)
case("mish", 18, [n("Mish", ["x"], ["y"])], {"x": f(3, 50)}, {"y": (1, 2)})
case("hardswish", 14, [n("HardSwish", ["x"], ["y"])], {"x": f(3, 50) * 4}, {"y": (1, 2)})
case("swish", 24, [n("Swish", ["x"], ["y"], alpha=1.5)], {"x": f(3, 50)}, {"y": (1, 2)})
case("swiglu", 28, [n("SwiGLU", ["a", "b"], ["y"], alpha=0.5)], {"a": f(3, 5), "b": f(3, 5)}, {"y": (1, 2)})
for ax in (-1, 1, -2):
    case("layernorm%d" % ax, 17, [n("LayerNormalization", ["x", "s", "b"], ["y", "m", "i"], axis=ax, epsilon=1e-5)],
         {"x": x234}, {"y": (1, 3), "m": (1, 3), "i": (1, 3)}, {"s": f(4) if ax == -1 else f(3, 4), "b": f(4) if ax == -1 else f(3, 4)}, dynamic=["x"])
case("rmsnorm", 23, [n("RMSNormalization", ["x", "s"], ["y"], axis=-1)], {"x": x234}, {"y": (1, 3)}, {"s": f(4)}, dynamic=["x"])
case("rmsnorm_f16", 23, [n("RMSNormalization", ["x", "s"], ["y"], axis=1)], {"x": x234.astype(np.float16)}, {"y": (10, 3)}, {"s": f(3, 4).astype(np.float16)}, tol=2e-3)
case("groupnorm", 21, [n("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=3)], {"x": f(2, 6, 5, 4)}, {"y": (1, 4)}, {"s": f(6), "b": f(6)})
case("groupnorm_dynamic", 21, [n("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)], {"x": f(2, 6, 5)}, {"y": (1, 3)}, {"s": f(6), "b": f(6)}, dynamic=["x"])

# attention: 4-D, 3-D, grouped, causal, masks, caches
for b, hq, hk, s, t, causal, mask, scale, dyn in [
        (2, 4, 4, 5, 5, 0, None, None, 0), (2, 4, 4, 5, 5, 1, None, None, 0), (2, 4, 2, 5, 5, 1, None, 0.3, 1), (1, 4, 1, 3, 7, 0, "bool", None, 0),
        (2, 4, 4, 5, 6, 0, "float", None, 1), (2, 4, 2, 5, 5, 1, "bool", None, 0), (2, 4, 4, 5, 5, 1, "float", None, 0), (1, 2, 2, 3, 4, 0, "none_row", None, 0)]:
    d = 8
    q, k_, v = f(b, hq, s, d), f(b, hk, t, d), f(b, hk, t, d)
    inputs, names = {"q": q, "k": k_, "v": v}, ["q", "k", "v"]
    if mask:
        inputs["m"] = f(b, 1, s, t) if mask == "float" else rng.random((s, t)) > 0.3
        if mask == "none_row":
            inputs["m"][1, :] = False
        elif mask == "bool":
            inputs["m"][:, 0] = True
        names.append("m")
    kw = {"is_causal": causal} if causal else {}
    if scale:
        kw["scale"] = scale
    case("attention4_%d%d%d%d%d%s" % (b, hq, hk, s, causal, mask or ""), 23, [n("Attention", names, ["y"], **kw)], inputs, {"y": (1, 4)},
         dynamic={"q": ["B", hq, "S", d], "k": ["B", hk, "S" if s == t else "T", d], "v": ["B", hk, "S" if s == t else "T", d]} if dyn else (), tol=2e-6)
    inputs3 = dict(inputs)
    for name, hh in (("q", hq), ("k", hk), ("v", hk)):
        inputs3[name] = np.ascontiguousarray(inputs[name].transpose(0, 2, 1, 3)).reshape(b, -1, hh * d)
    case("attention3_%d%d%d%d%d%s" % (b, hq, hk, s, causal, mask or ""), 23, [n("Attention", names, ["y"], q_num_heads=hq, kv_num_heads=hk, **kw)], inputs3, {"y": (1, 3)}, tol=2e-6,
         dynamic={"q": ["B", "S", hq * d], "k": ["B", "T", hk * d], "v": ["B", "T", hk * d]} if dyn else ())
case("attention_cache", 23, [n("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "ok", "ov"], is_causal=1)],
     {"q": f(1, 2, 3, 4), "k": f(1, 2, 3, 4), "v": f(1, 2, 3, 4), "pk": f(1, 2, 5, 4), "pv": f(1, 2, 5, 4)}, {"y": (1, 4), "ok": (1, 4), "ov": (1, 4)}, tol=2e-6)
case("attention_softcap", 23, [n("Attention", ["q", "k", "v"], ["y", "", "", "qk"], softcap=2.0, qk_matmul_output_mode=1)], {"q": f(1, 2, 3, 4), "k": f(1, 2, 3, 4), "v": f(1, 2, 3, 4)},
     {"y": (1, 4), "qk": (1, 4)}, tol=2e-6)

case("attention_cache_dynamic", 23, [n("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "ok", "ov"], is_causal=1)],
     {"q": f(1, 2, 3, 4), "k": f(1, 2, 3, 4), "v": f(1, 2, 3, 4), "pk": f(1, 2, 5, 4), "pv": f(1, 2, 5, 4)}, {"y": (1, 4), "ok": (1, 4), "ov": (1, 4)}, tol=2e-6,
     dynamic={"q": ["B", 2, "S", 4], "k": ["B", 2, "S", 4], "v": ["B", 2, "S", 4], "pk": ["B", 2, "P", 4], "pv": ["B", 2, "P", 4]})
case("attention_window", 25, [n("Attention", ["q", "k", "v"], ["y"], left_window_size=1, right_window_size=2)], {"q": f(1, 2, 6, 4), "k": f(1, 2, 6, 4), "v": f(1, 2, 6, 4)}, {"y": (1, 4)}, tol=2e-6)

for inter in (0, 1):
    for part in (0, 4):
        r = (part or 8) // 2
        case("rotary4_%d%d" % (inter, part), 23, [n("RotaryEmbedding", ["x", "c", "s", "p"], ["y"], interleaved=inter, rotary_embedding_dim=part, num_heads=3)],
             {"x": f(2, 3, 5, 8), "p": rng.integers(0, 10, (2, 5))}, {"y": (1, 4)}, {"c": f(10, r), "s": f(10, r)})
        case("rotary3_%d%d" % (inter, part), 23, [n("RotaryEmbedding", ["x", "c", "s"], ["y"], interleaved=inter, rotary_embedding_dim=part, num_heads=3)],
             {"x": f(2, 5, 24), "c": f(2, 5, r), "s": f(2, 5, r)}, {"y": (1, 3)})
case("castlike", 19, [n("CastLike", ["x", "t"], ["y"])], {"x": f(3), "t": i64(1)}, {"y": (7, 1)})
for up in (0, 1):
    case("trilu%d" % up, 14, [n("Trilu", ["x", "k"], ["y"], upper=up)], {"x": f(2, 4, 5)}, {"y": (1, 3)}, {"k": np.array(-1 + 2 * up, np.int64)}, dynamic=["x"])
case("trilu_bool", 14, [n("Trilu", ["x"], ["y"])], {"x": rng.random((4, 4)) > 0.2}, {"y": (9, 2)})
case("trilu_int", 14, [n("Trilu", ["x"], ["y"], upper=0)], {"x": rng.integers(-9, 9, (4, 4))}, {"y": (7, 2)})
for t in (np.int64, np.int32, np.uint8, np.int8, np.uint32, np.int16):
    lim = np.iinfo(t)
    a, c = (rng.integers(lim.min, lim.max, 20, dtype=t, endpoint=True) for _ in range(2))
    for op in ("And", "Or", "Xor"):
        case("bitwise%s_%s" % (op, t.__name__), 18, [n("Bitwise" + op, ["a", "b"], ["y"])], {"a": a, "b": c}, {"y": (h.np_dtype_to_tensor_dtype(np.dtype(t)), 1)}, want=None)
    case("bitwiseNot_" + t.__name__, 18, [n("BitwiseNot", ["a"], ["y"])], {"a": a}, {"y": (h.np_dtype_to_tensor_dtype(np.dtype(t)), 1)})
for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare", "ReduceSum"):
    case(op, 18, [n(op, ["x", "a"], ["y"], keepdims=0)], {"x": x234}, {"y": (1, 1)}, {"a": i64(0, -1)}, tol=2e-6)
    case(op + "_all", 18, [n(op, ["x"], ["y"], keepdims=0)], {"x": x234}, {"y": (1, 0)}, tol=5e-6)
case("ReduceMean_noop", 18, [n("ReduceMean", ["x"], ["y"], noop_with_empty_axes=1)], {"x": x234}, {"y": (1, 3)})
case("ReduceMax_bool", 20, [n("ReduceMax", ["x", "a"], ["y"])], {"x": rng.random((3, 4)) > 0.6}, {"y": (9, 2)}, {"a": i64(1)})
case("ReduceMean_dynamic_axes", 18, [n("ReduceMean", ["x", "a"], ["y"])], {"x": x234, "a": i64(1)}, {"y": (1, 3)})
case("pad_axes", 18, [n("Pad", ["x", "p", "", "a"], ["y"])], {"x": x234}, {"y": (1, 3)}, {"p": i64(1, 2, 0, 3), "a": i64(-1, 0)})
case("pad_axes_dynamic", 18, [n("Pad", ["x", "p", "", "a"], ["y"])], {"x": x234, "p": i64(1, 2, 0, 3)}, {"y": (1, 3)}, {"a": i64(-1, 0)})
case("pad_wrap", 19, [n("Pad", ["x", "p"], ["y"], mode="wrap")], {"x": x234}, {"y": (1, 3)}, {"p": i64(0, 1, 2, 0, 2, 1)})
case("split_num", 18, [n("Split", ["x"], ["a", "b"], num_outputs=2, axis=1)], {"x": x234}, {"a": (1, 3), "b": (1, 3)})
case("split_even", 18, [n("Split", ["x"], ["a", "b"], num_outputs=2, axis=2)], {"x": x234}, {"a": (1, 3), "b": (1, 3)})
case("split_dynamic", 18, [n("Split", ["x"], ["a", "b"], num_outputs=2, axis=1)], {"x": x234}, {"a": (1, 3), "b": (1, 3)}, dynamic=["x"])
case("shape_slice", 15, [n("Shape", ["x"], ["y"], start=1, end=-1)], {"x": f(2, 3, 4, 5)}, {"y": (7, 1)}, dynamic=["x"])
case("reshape_allowzero", 14, [n("Reshape", ["x", "s"], ["y"], allowzero=1)], {"x": x234}, {"y": (1, 2)}, {"s": i64(6, -1)})
case("reshape_zero", 14, [n("Reshape", ["x", "s"], ["y"], allowzero=1)], {"x": f(2, 0, 3)}, {"y": (1, 2)}, {"s": i64(0, 6)})
case("resize_axes", 18, [n("Resize", ["x", "", "s"], ["y"], axes=[2, 3], mode="linear")], {"x": f(1, 2, 4, 5)}, {"y": (1, 4)}, {"s": np.array([2, 1.5], np.float32)})
case("resize_axes_sizes", 18, [n("Resize", ["x", "", "", "s"], ["y"], axes=[3, 2], mode="nearest")], {"x": f(1, 2, 4, 5)}, {"y": (1, 4)}, {"s": i64(7, 8)}, dynamic=["x"])
case("resize_antialias", 18, [n("Resize", ["x", "", "s"], ["y"], antialias=1, mode="linear")], {"x": f(1, 2, 4, 6)}, {"y": (1, 4)}, {"s": np.array([1, 1, 0.5, 0.5], np.float32)})
case("scatter_add", 16, [n("ScatterElements", ["x", "i", "u"], ["y"], reduction="add")], {"x": f(3, 3)}, {"y": (1, 2)}, {"i": np.zeros((1, 3), np.int64), "u": f(1, 3)})
case("scatter_max", 18, [n("ScatterND", ["x", "i", "u"], ["y"], reduction="max")], {"x": f(3)}, {"y": (1, 1)}, {"i": np.array([[0], [2]]), "u": f(2)})
case("scatter_none", 18, [n("ScatterElements", ["x", "i", "u"], ["y"], reduction="none")], {"x": f(3, 3)}, {"y": (1, 2)}, {"i": np.zeros((1, 3), np.int64), "u": f(1, 3)})
case("gridsample", 20, [n("GridSample", ["x", "g"], ["y"], mode="linear", align_corners=1)], {"x": f(1, 2, 4, 4), "g": (rng.random((1, 3, 3, 2)) * 2 - 1).astype(np.float32)}, {"y": (1, 4)},
     tol=1e-5)
case("add_int8", 14, [n("Add", ["a", "b"], ["y"])], {"a": np.arange(-5, 5, dtype=np.int8), "b": np.arange(10, dtype=np.int8) * 10}, {"y": (3, 1)})
case("mul_uint8", 14, [n("Mul", ["a", "b"], ["y"])], {"a": np.arange(10, dtype=np.uint8), "b": np.arange(10, dtype=np.uint8)}, {"y": (2, 1)})
case("relu_int32", 14, [n("Relu", ["a"], ["y"])], {"a": np.arange(-5, 5, dtype=np.int32)}, {"y": (6, 1)})
case("relu_int64", 14, [n("Relu", ["a"], ["y"])], {"a": np.arange(-5, 5, dtype=np.int64)}, {"y": (7, 1)}, lowest=14)
case("batchnorm", 15, [n("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], training_mode=0)], {"x": f(2, 3, 4)}, {"y": (1, 3)}, {"s": f(3), "b": f(3), "m": f(3), "v": f(3) ** 2})
case("avgpool", 19, [n("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[1, 1], ceil_mode=1)], {"x": f(1, 2, 5, 5)}, {"y": (1, 4)})
case("avgpool_dilated", 19, [n("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 2])], {"x": f(1, 2, 5, 5)}, {"y": (1, 4)})
case("quantize", 21, [n("QuantizeLinear", ["x", "s"], ["q"], output_dtype=T.INT8), n("DequantizeLinear", ["q", "s"], ["y"])], {"x": f(2, 3)}, {"y": (1, 2)}, {"s": np.array(0.05, np.float32)})
case("gru", 14, [n("GRU", ["x", "w", "r"], ["y", "yh"], hidden_size=4, layout=0)], {"x": f(5, 2, 3)}, {"y": (1, 4), "yh": (1, 3)}, {"w": f(1, 12, 3), "r": f(1, 12, 4)})
case("dft", 20, [n("DFT", ["x", "", "a"], ["y"])], {"x": f(1, 8, 1)}, {"y": (1, 3)}, {"a": np.array(1, np.int64)}, tol=1e-5)
case("cast_bf16", 13, [n("Cast", ["x"], ["b"], to=T.BFLOAT16), n("Mul", ["b", "b"], ["c"]), n("Cast", ["c"], ["y"], to=T.FLOAT)], {"x": f(4)}, {"y": (1, 1)})
case("hann", 17, [n("HannWindow", ["n"], ["y"])], {}, {"y": (1, 1)}, {"n": np.array(8, np.int64)})

for ex, rev in itertools.product((0, 1), (0, 1)):
    case("cumprod%d%d" % (ex, rev), 26, [n("CumProd", ["x", "a"], ["y"], exclusive=ex, reverse=rev)], {"x": x234}, {"y": (1, 3)}, {"a": np.array(1, np.int64)}, dynamic=["x"] if ex else ())
case("col2im", 18, [n("Col2Im", ["x", "i", "b"], ["y"])], {"x": f(2, 12, 12)}, {"y": (1, 4)}, {"i": i64(4, 5), "b": i64(2, 2)})
case("col2im_all", 18, [n("Col2Im", ["x", "i", "b"], ["y"], strides=[2, 3], dilations=[2, 1], pads=[1, 0, 1, 2])], {"x": f(1, 12, 20)}, {"y": (1, 4)}, {"i": i64(9, 10), "b": i64(2, 3)})
case("col2im_1d", 18, [n("Col2Im", ["x", "i", "b"], ["y"], strides=[2])], {"x": f(1, 6, 3)}, {"y": (1, 3)}, {"i": i64(8), "b": i64(3)})

# ---- old forms ----
case("old_softmax", 11, [n("Softmax", ["x"], ["y"], axis=1)], {"x": f(2, 3, 4)}, {"y": (1, 3)})
case("old_logsoftmax", 11, [n("LogSoftmax", ["x"], ["y"])], {"x": f(2, 3, 4)}, {"y": (1, 3)}, dynamic=["x"])
case("old_squeeze", 11, [n("Unsqueeze", ["x"], ["u"], axes=[0, 2]), n("Squeeze", ["u"], ["y"], axes=[0])], {"x": f(2, 3)}, {"y": (1, 3)})
case("old_split", 11, [n("Split", ["x"], ["a", "b"], split=[1, 2], axis=1)], {"x": x234}, {"a": (1, 3), "b": (1, 3)})
case("old_split_even", 11, [n("Split", ["x"], ["a", "b"], axis=2)], {"x": x234}, {"a": (1, 3), "b": (1, 3)})
case("old_reduce", 11, [n("ReduceSum", ["x"], ["s"], axes=[1]), n("ReduceMean", ["s"], ["y"], axes=[-1], keepdims=0)], {"x": x234}, {"y": (1, 2)})
case("old_pad", 10, [n("Pad", ["x"], ["y"], pads=[0, 1, 1, 0, 0, 2], value=1.5)], {"x": x234}, {"y": (1, 3)})
case("old_slice", 9, [n("Slice", ["x"], ["y"], starts=[0, 1], ends=[2, -1], axes=[1, 2])], {"x": x234}, {"y": (1, 3)})
case("old_topk", 9, [n("TopK", ["x"], ["y", "i"], k=2, axis=-1)], {"x": x234}, {"y": (1, 3), "i": (7, 3)})
case("old_clip", 10, [n("Clip", ["x"], ["y"], min=-0.5, max=0.25)], {"x": x234}, {"y": (1, 3)})
case("old_clip1", 7, [n("Clip", ["x"], ["y"], max=0.25)], {"x": x234}, {"y": (1, 3)})
case("old_dropout", 10, [n("Dropout", ["x"], ["y"], ratio=0.3)], {"x": x234}, {"y": (1, 3)})
case("old_upsample7", 7, [n("Upsample", ["x"], ["y"], mode="nearest", scales=[1.0, 1.0, 2.0, 3.0])], {"x": f(1, 2, 3, 4)}, {"y": (1, 4)})
case("old_upsample9", 9, [n("Upsample", ["x", "s"], ["y"], mode="linear")], {"x": f(1, 2, 3, 4)}, {"y": (1, 4)}, {"s": np.array([1, 1, 2, 2], np.float32)})
case("old_resize10", 10, [n("Resize", ["x", "s"], ["y"], mode="nearest")], {"x": f(1, 2, 4, 6)}, {"y": (1, 4)}, {"s": np.array([1, 1, 0.6, 0.6], np.float32)})
case("old_resize11", 11, [n("Resize", ["x", "e", "e", "z"], ["y"], mode="linear", coordinate_transformation_mode="align_corners")], {"x": f(1, 2, 4, 6)}, {"y": (1, 4)},
     {"e": np.zeros(0, np.float32), "z": i64(1, 2, 7, 9)})
case("old_batchnorm", 7, [n("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], spatial=1)], {"x": f(2, 3, 4)}, {"y": (1, 3)}, {"s": f(3), "b": f(3), "m": f(3), "v": f(3) ** 2})
case("old_scatter", 9, [n("Scatter", ["x", "i", "u"], ["y"], axis=1)], {"x": f(2, 3)}, {"y": (1, 2)}, {"i": np.array([[0, 2], [1, 0]]), "u": f(2, 2)})
case("old_groupnorm", 18, [n("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)], {"x": f(2, 6, 5)}, {"y": (1, 3)}, {"s": f(2), "b": f(2)})
case("old_gridsample", 16, [n("GridSample", ["x", "g"], ["y"], mode="bicubic")], {"x": f(1, 2, 4, 4), "g": (rng.random((1, 3, 3, 2)) * 2 - 1).astype(np.float32)}, {"y": (1, 4)}, tol=1e-5)
case("old_dft", 17, [n("DFT", ["x"], ["y"], axis=1)], {"x": f(1, 8, 1)}, {"y": (1, 3)}, tol=1e-5)
body = h.make_graph([n("ReduceSum", ["x"], ["s"], axes=[0], keepdims=0), n("Unsqueeze", ["s"], ["t"], axes=[0])], "b", [], [h.make_tensor_value_info("t", 1, None)])
other = h.make_graph([n("Slice", ["x", "z", "o"], ["t2"])], "b2", [], [h.make_tensor_value_info("t2", 1, None)])
case("old_in_if", 11, [n("If", ["c"], ["y"], then_branch=body, else_branch=other)], {"x": f(3, 4), "c": np.array(True)}, {"y": (1, None)}, {"z": i64(0), "o": i64(1)})


def run(m, inputs):
    if ort:
        try:
            return ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)
        except Exception as e:
            last = e
    try:
        return ReferenceEvaluator(m).run(None, inputs)
    except Exception as e:
        return e


def main():
    tool, names = sys.argv[1], sys.argv[2:]
    tried = refused = 0
    failed = []
    unrun = set()
    dir_ = tempfile.mkdtemp()
    src, dst = os.path.join(dir_, "a.onnx"), os.path.join(dir_, "b.onnx")
    for name, model, inputs, lowest, want, tol in cases:
        if names and name not in names:
            continue
        onnx.save(model, src)
        ref = run(model, inputs)
        for opset in range(13, 29):
            tried += 1
            if os.path.exists(dst):
                os.remove(dst)
            p = subprocess.run([tool, src, dst, str(opset)], capture_output=True, text=True)
            if p.returncode:
                if lowest and opset < lowest and "error[OPSET]" in p.stdout and "is %d." % lowest in p.stdout:
                    refused += 1
                else:
                    failed.append((name, opset, "rc %d %s" % (p.returncode, p.stdout.strip()[-300:])))
                continue
            if lowest and opset < lowest:
                failed.append((name, opset, "was not refused"))
                continue
            m = onnx.load(dst)
            try:
                onnx.checker.check_model(m, full_check=True)
            except Exception as e:
                failed.append((name, opset, "checker: " + str(e).strip()[:300]))
                continue
            if m.opset_import[0].version != opset:
                failed.append((name, opset, "wrong opset"))
            got = run(m, inputs)
            if isinstance(ref, Exception) or isinstance(got, Exception):
                if isinstance(got, Exception) and not isinstance(ref, Exception):
                    failed.append((name, opset, "does not run: " + str(got)[:300]))
                else:
                    unrun.add(name)
                continue
            for a, b in zip(ref, got):
                a, b = np.asarray(a), np.asarray(b)
                d = 0 if a.size == 0 else np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)))
                if a.shape != b.shape or a.dtype != b.dtype or not d <= tol * max(1, np.max(np.abs(a), initial=0)):
                    failed.append((name, opset, "differs: %s %s %s %s max %g" % (a.shape, b.shape, a.dtype, b.dtype, d)))
                    break
    print("%d tried, %d refused as expected, %d failed; without a reference: %s" % (tried, refused, len(failed), ", ".join(sorted(unrun)) or "none"))
    for k, group in itertools.groupby(failed, lambda x: (x[0], x[2])):
        print("FAIL", k[0], "opset", ",".join(str(g[1]) for g in group), k[1])
    return 1 if failed else 0


sys.exit(main())
