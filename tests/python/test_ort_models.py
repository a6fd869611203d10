#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_ort_models.py FERRY [--keep FOLDER] [--show]: models as onnxruntime rewrites them.

Random transformer, convolutional and recurrent models are written, then optimised by onnxruntime at each level (SessionOptions.
optimized_model_filepath), by onnxruntime.transformers.optimizer, and quantised: quantize_dynamic, quantize_static in the QOperator and QDQ
formats, MatMulNBits. What comes out must pass `ferry check`, ferry must compute what onnxruntime computes of it, and onnxruntime must
compute the same of what `ferry convert` writes of it."""
import argparse
import collections
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_contrib import Suite, run  # noqa: E402

warnings.filterwarnings("ignore")
LEVELS = {"basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
          "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL}


class Graph:
    """Nodes by calls: g.MatMul(x, w) -> name."""
    def __init__(self, seed):
        self.nodes, self.inits, self.r, self.n = [], [], np.random.default_rng(seed), 0

    def const(self, value, name=None):
        self.n += 1
        name = name or f"c{self.n}"
        self.inits.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape, scale=None, name=None):
        return self.const(np.asarray(self.r.standard_normal(shape) * (scale or 1 / np.sqrt(max(shape[0], 1))), np.float32), name)

    def __getattr__(self, op):
        def add(*inputs, outputs=1, **attrs):
            self.n += 1
            names = [f"{op}_{self.n}_{i}" for i in range(outputs)] if outputs > 1 else [f"{op}_{self.n}"]
            self.nodes.append(helper.make_node(op, list(inputs), names, name=f"{op}_{self.n}", **attrs))
            return names[0] if outputs == 1 else names
        return add

    def model(self, inputs, outputs, opset=14):
        graph = helper.make_graph(self.nodes, "g", inputs, [helper.make_tensor_value_info(o, t, s) for o, t, s in outputs], self.inits)
        return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9))


def norm(g, x, d):
    """LayerNormalization as exporters wrote it before opset 17."""
    diff = g.Sub(x, g.ReduceMean(x, axes=[-1]))
    var = g.ReduceMean(g.Pow(diff, g.const(np.float32(2))), axes=[-1])
    y = g.Div(diff, g.Sqrt(g.Add(var, g.const(np.float32(1e-5)))))
    return g.Add(g.Mul(y, g.const(np.abs(g.r.standard_normal(d)).astype("f4"))), g.weight(d, scale=0.1))


def gelu(g, x):
    inner = g.Add(g.Erf(g.Div(x, g.const(np.float32(2 ** 0.5)))), g.const(np.float32(1)))
    return g.Mul(g.Mul(x, inner), g.const(np.float32(0.5)))


def fast_gelu(g, x):
    cube = g.Mul(g.Pow(x, g.const(np.float32(3))), g.const(np.float32(0.044715)))
    t = g.Tanh(g.Mul(g.Add(x, cube), g.const(np.float32((2 / np.pi) ** 0.5))))
    return g.Mul(g.Mul(x, g.Add(t, g.const(np.float32(1)))), g.const(np.float32(0.5)))


def dense(g, x, i, o):
    return g.Add(g.MatMul(x, g.weight(i, o)), g.weight(o, scale=0.1))


def transformer(seed, b=2, s=6, n=2, h=8, layers=2, activation=gelu, vocab=20):
    """BERT's encoder, in the nodes of PyTorch's first exporter."""
    g, d = Graph(seed), n * h
    mask = g.Mul(g.Sub(g.const(np.float32(1)), g.Cast(g.Unsqueeze(g.Unsqueeze("mask", g.const(np.array([1]))), g.const(np.array([2]))), to=TensorProto.FLOAT)),
                 g.const(np.float32(-10000)))
    x = g.Add(g.Add(g.Gather(g.weight(vocab, d), "ids"), g.Gather(g.weight(2, d), "segments")), g.Gather(g.weight(s, d), g.const(np.arange(s)[None])))
    x = norm(g, x, d)
    heads, flat = np.array([0, 0, n, h]), np.array([0, 0, d])
    for _ in range(layers):
        q, k, v = (g.Reshape(dense(g, x, d, d), g.const(heads)) for _ in range(3))
        q, k, v = g.Transpose(q, perm=[0, 2, 1, 3]), g.Transpose(k, perm=[0, 2, 3, 1]), g.Transpose(v, perm=[0, 2, 1, 3])
        p = g.Softmax(g.Add(g.Div(g.MatMul(q, k), g.const(np.float32(h ** 0.5))), mask), axis=-1)
        y = g.Reshape(g.Transpose(g.MatMul(p, v), perm=[0, 2, 1, 3]), g.const(flat))
        x = norm(g, g.Add(dense(g, y, d, d), x), d)
        x = norm(g, g.Add(dense(g, activation(g, dense(g, x, d, 4 * d)), 4 * d, d), x), d)
    ids = [helper.make_tensor_value_info(i, TensorProto.INT64, ["batch", s]) for i in ("ids", "segments", "mask")]
    feeds = {"ids": g.r.integers(0, vocab, (b, s)), "segments": g.r.integers(0, 2, (b, s)), "mask": (g.r.random((b, s)) < 0.8).astype("i8")}
    feeds["mask"][:, 0] = 1
    return g.model(ids, [(x, TensorProto.FLOAT, ["batch", s, d])]), feeds


def cnn(seed):
    g = Graph(seed)

    def conv(x, i, o, k, group=1, **attrs):
        y = g.Conv(x, g.weight(o, i // group, k, k, scale=1 / np.sqrt(i * k * k / group)), g.weight(o, scale=0.1), kernel_shape=[k, k], pads=[k // 2] * 4, group=group, **attrs)
        return g.BatchNormalization(y, g.const(np.abs(g.r.standard_normal(o)).astype("f4") + 0.5), g.weight(o, scale=0.1), g.weight(o, scale=0.1),
                                    g.const(np.abs(g.r.standard_normal(o)).astype("f4") + 0.5))
    x = g.Relu(conv("x", 3, 8, 3, strides=[2, 2]))
    y = g.Relu(conv(x, 8, 8, 3, group=8))
    x = g.Relu(g.Add(conv(y, 8, 8, 1), x))
    y = g.LeakyRelu(conv(x, 8, 8, 3), alpha=0.1)
    gate = g.Sigmoid(conv(x, 8, 8, 1))
    x = g.Mul(y, gate)
    x = g.Concat(g.MaxPool(x, kernel_shape=[2, 2], strides=[2, 2]), g.AveragePool(x, kernel_shape=[2, 2], strides=[2, 2]), axis=1)
    x = g.Clip(conv(x, 16, 16, 3), g.const(np.float32(0)), g.const(np.float32(6)))
    x = g.Flatten(g.GlobalAveragePool(x))
    x = g.Relu(g.Gemm(x, g.weight(16, 12), g.weight(12, scale=0.1)))
    x = g.Softmax(g.Gemm(x, g.weight(5, 12, scale=0.3), g.weight(5, scale=0.1), transB=1), axis=-1)
    return g.model([helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 12, 12])], [(x, TensorProto.FLOAT, ["batch", 5])]), \
        {"x": g.r.standard_normal((2, 3, 12, 12)).astype("f4")}


def recurrent(seed, h=6):
    g = Graph(seed)
    y = g.LSTM("x", g.weight(2, 4 * h, 5, scale=0.3), g.weight(2, 4 * h, h, scale=0.3), g.weight(2, 8 * h, scale=0.1), outputs=3, hidden_size=h, direction="bidirectional")
    x = g.MatMul(g.Reshape(g.Transpose(y[0], perm=[0, 2, 1, 3]), g.const(np.array([0, 0, -1]))), g.weight(2 * h, 4))
    return g.model([helper.make_tensor_value_info("x", TensorProto.FLOAT, [7, 2, 5])], [(x, TensorProto.FLOAT, None)]), {"x": g.r.standard_normal((7, 2, 5)).astype("f4")}


class Feeds:
    def __init__(self, feeds):
        self.left = [feeds]

    def get_next(self):
        return self.left.pop() if self.left else None


def made(folder, name, model, feeds):
    """(name, path, loose): the model and everything that onnxruntime makes of it."""
    from onnxruntime import quantization as q
    path = os.path.join(folder, f"{name}.onnx")
    onnx.save(model, path)
    bases = [(name, path, False)]
    small = os.path.join(folder, f"{name}-dynamic.onnx")
    q.quantize_dynamic(path, small, weight_type=q.QuantType.QInt8, per_channel=name != "lstm", op_types_to_quantize=["MatMul", "Gather", "LSTM", "Attention", "EmbedLayerNormalization"]
                       if name != "cnn" else ["MatMul", "Conv", "Gemm"])
    bases.append((f"{name}-dynamic", small, True))
    for fmt in ("QOperator", "QDQ"):
        if name == "lstm":
            break
        out = os.path.join(folder, f"{name}-{fmt}.onnx")
        q.quantize_static(path, out, Feeds(feeds), quant_format=q.QuantFormat[fmt], activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8)
        bases.append((f"{name}-{fmt}", out, True))
    for base, source, loose in bases:
        yield base, source, loose
        for level, value in LEVELS.items():
            if base == "cnn" and level == "all":
                continue                # layouts for the machine that it was written on (com.microsoft.nchwc): not for others to run
            out = os.path.join(folder, f"{base}-{level}.onnx")
            so = ort.SessionOptions()
            so.graph_optimization_level, so.optimized_model_filepath, so.log_severity_level = value, out, 4
            ort.InferenceSession(source, so, providers=["CPUExecutionProvider"])
            yield f"{base}-{level}", out, loose


def few_bits(folder, name):
    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    except ImportError as e:
        print(f"skipped, {e}: {name} by MatMulNBitsQuantizer")
        return
    for symmetric in (False, True):
        bits = MatMulNBitsQuantizer(onnx.load(os.path.join(folder, f"{name}.onnx")), block_size=16, is_symmetric=symmetric)
        bits.process()
        out = os.path.join(folder, f"{name}-{'symmetric' if symmetric else 'few'}-bits.onnx")
        bits.model.save_model_to_file(out)
        yield f"{name}-{'symmetric' if symmetric else 'few'}-bits", out, False


def by_script(folder, name):
    """By the script that people run on exported transformers."""
    try:
        import sympy  # noqa: F401  what the script wants
    except ImportError:
        print(f"skipped, for want of sympy: {name} by onnxruntime.transformers.optimizer")
        return
    from onnxruntime import quantization as q
    from onnxruntime.transformers import optimizer
    path, small = (os.path.join(folder, f"{name}-script{kind}.onnx") for kind in ("", "-dynamic"))
    optimizer.optimize_model(os.path.join(folder, f"{name}.onnx"), model_type="bert", num_heads=2, hidden_size=16, opt_level=0, only_onnxruntime=False).save_model_to_file(path)
    yield f"{name}-script", path, False
    q.quantize_dynamic(path, small, weight_type=q.QuantType.QInt8, extra_options={"MatMulConstBOnly": True})
    yield f"{name}-script-dynamic", small, True


def main():
    p = argparse.ArgumentParser()
    p.add_argument("ferry")
    p.add_argument("--keep")
    p.add_argument("--show", action="store_true")
    a = p.parse_args()
    import logging
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as scratch:
        models, cases = os.path.join(a.keep or scratch, "models"), os.path.join(a.keep or scratch, "cases")
        os.makedirs(models, exist_ok=True)
        os.makedirs(cases, exist_ok=True)
        s = Suite(cases, "", 0, 0)
        bad, seen = 0, collections.Counter()
        for name, (model, feeds) in (("bert", transformer(1)), ("gpt", transformer(2, activation=fast_gelu)), ("cnn", cnn(3)), ("lstm", recurrent(4))):
            all_of = list(made(models, name, model, feeds))
            if name in ("bert", "gpt"):
                all_of += list(few_bits(models, name)) + list(by_script(models, name))
            for variant, path, loose in all_of:
                written = onnx.load(path)
                ops = collections.Counter(f"{n.domain}.{n.op_type}" if n.domain else n.op_type for n in written.graph.node)
                seen += ops
                if a.show:
                    print(variant, dict(ops))
                names = [i.name for i in written.graph.input]
                fed = {i.name: feeds[i.name].astype("i4") if i.type.tensor_type.elem_type == TensorProto.INT32 else feeds[i.name] for i in written.graph.input}
                want = run(path, fed)
                # quantised: where a float falls on the other side of a tie the rest follows, a step or two of the last scale
                top = max(float(np.abs(y).max()) for y in want)
                s.write(variant, written, [fed[i] for i in names], want, 1e-4, 0.02 * top if loose else 2e-5 * max(top, 1))
                for opset in ("14", "21"):
                    if not os.path.basename(path).endswith(("-extended.onnx", "-script.onnx", "-bits.onnx")):
                        continue
                    back = path[:-5] + f"-{opset}.onnx.out"
                    done = subprocess.run([a.ferry, "convert", path, "-o", back, "--opset", opset, "--no-verify"], capture_output=True, text=True)
                    again = run(back, fed) if done.returncode == 0 else None
                    if again is None or max(float(np.abs(y - z).max()) for y, z in zip(want, again)) > (0.02 if loose else 2e-5) * max(top, 1):
                        bad += 1
                        print("CONVERT", variant, opset, done.stderr[-300:])
                checked = subprocess.run([a.ferry, "check", path], capture_output=True, text=True)
                if checked.returncode not in (0, 1) or "is not known" in checked.stdout:
                    bad += 1
                    print("CHECK", variant, checked.stdout[-300:], checked.stderr[-300:])
        done = subprocess.run([a.ferry, "selftest", "onnx", cases], capture_output=True, text=True)
        print("\n".join(line for line in done.stdout.splitlines() if line.startswith("FAIL")))
        print(done.stdout.splitlines()[-1] if done.stdout else done.stderr)
        contrib = sorted(op for op in seen if op.startswith("com.microsoft"))
        print(len(contrib), "operators of com.microsoft among them:", ", ".join(op[14:] for op in contrib))
        return 1 if bad or done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
