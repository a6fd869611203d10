# SPDX-License-Identifier: Apache-2.0
"""Gradient (ai.onnx.preview.training) against central differences of the same model, run by onnx's reference evaluator in float64:

    python tests/python/test_gradient.py build/ferry [PATTERN]

Each case is a small graph y = f(x...) with a Gradient node; the expected outputs are (f(x + h) - f(x - h)) / 2h. Run by `ferry selftest onnx`.
Needs onnx, numpy.
"""
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops.op_erf import Erf

rng = np.random.default_rng(3)
folder = tempfile.mkdtemp()
n = h.make_node
cases = 0


def f(*shape, lo=-1.5, hi=1.5):
    return rng.uniform(lo, hi, shape)


def i64(*v):
    return np.array(v, np.int64)


# the reference's own rounds to float32
Erf._run = lambda self, x: (np.vectorize(math.erf)(x).astype(x.dtype),)


def build(nodes, inputs, consts, xs, fed, weight, gradient, fixed=False):
    """y = sum(out * weight): a weighted sum, so that elements are told apart."""
    nodes = list(nodes) + [n("Mul", ["out", "weight"], ["weighed"]), n("ReduceSum", ["weighed"], ["y"], keepdims=0)]
    infos = lambda d: [h.make_tensor_value_info(k, h.np_dtype_to_tensor_dtype(v.dtype), v.shape if fixed else ["%s_%d" % (k, i) for i in range(v.ndim)]) for k, v in d.items()]
    outs = [h.make_tensor_value_info("y", T.DOUBLE, [])]
    if gradient:
        names = [k for k in inputs if k not in xs]
        where = [fed.get(k, k) for k in list(xs) + names]
        more = {"zs": names} if names else {}
        # first in the list: what it differentiates may stand behind it
        nodes.insert(0, n("Gradient", where, ["d_" + k for k in xs], domain="ai.onnx.preview.training", xs=list(xs), y="y", **more))
        outs += [h.make_tensor_value_info("d_" + k, T.DOUBLE, None) for k in xs]
    g = h.make_graph(nodes, "g", infos(inputs), outs, [nh.from_array(v, k) for k, v in (consts | {"weight": weight}).items()])
    return h.make_model(g, opset_imports=[h.make_opsetid("", 22), h.make_opsetid("ai.onnx.preview.training", 1)], ir_version=10)


def case(name, nodes, inputs, consts=None, xs=None, fed=None, step=1e-6):
    """fed: input of the Gradient node -> another graph input that is fed in its place."""
    global cases
    if not re.search(sys.argv[2] if len(sys.argv) > 2 else "", name):
        return
    consts, fed = consts or {}, fed or {}
    inputs = {k: np.asarray(v) for k, v in inputs.items()}
    xs = xs or [k for k, v in inputs.items() if v.dtype == np.float64 and k not in fed.values()]
    own = {k: v for k, v in inputs.items() if k not in fed.values()}
    out = ReferenceEvaluator(h.make_model(h.make_graph(nodes, "g", [h.make_tensor_value_info(k, h.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in own.items()],
                             [h.make_tensor_value_info("out", T.DOUBLE, None)], [nh.from_array(v, k) for k, v in consts.items()]), opset_imports=[h.make_opsetid("", 22)])).run(None, own)[0]
    weight = f(*out.shape)
    forward = ReferenceEvaluator(build(nodes, own, consts, xs, {}, weight, False))
    at = {k: inputs[fed.get(k, k)] for k in own}
    want = {"y": np.asarray(forward.run(None, own)[0])}
    for k in xs:
        d = np.zeros_like(at[k])
        for i in np.ndindex(*at[k].shape):
            both = []
            for sign in (1, -1):
                moved = at[k].copy()
                moved[i] += sign * step
                both.append(float(forward.run(None, at | {k: moved})[0]))
            d[i] = (both[0] - both[1]) / (2 * step)
        want["d_" + k] = d
    m = build(nodes, own, consts, xs, fed, weight, True, bool(re.match("Conv|Average", name)))
    for k in fed.values():
        m.graph.input.append(h.make_tensor_value_info(k, T.DOUBLE, ["%s_%d" % (k, i) for i in range(inputs[k].ndim)]))
    where = os.path.join(folder, "%03d_%s" % (cases, name))
    cases += 1
    os.makedirs(where + "/test_data_set_0")
    onnx.save(m, where + "/model.onnx")
    with open(where + "/tolerance", "w") as o:
        o.write("1e-6 1e-6\n")
    for what, values in (("input", own | {k: inputs[k] for k in fed.values()}), ("output", want)):
        for i, (k, v) in enumerate(values.items()):
            with open("%s/test_data_set_0/%s_%d.pb" % (where, what, i), "wb") as o:
                o.write(nh.from_array(np.asarray(v), k).SerializeToString())


def one(op, x, name=None, **attrs):
    case(name or op, [n(op, ["x"], ["out"], **attrs)], {"x": x})


def many(op, *inputs, consts=None, name=None, xs=None, **attrs):
    names = ["a%d" % i for i in range(len(inputs))]
    case(name or op, [n(op, names + list(consts or {}), ["out"], **attrs)], dict(zip(names, inputs)), consts, xs)


away = rng.permutation(np.concatenate([np.linspace(-3.4, -0.13, 6), np.linspace(0.17, 3.3, 6)])).reshape(3, 4)        # no corner near
for op in ("Neg", "Abs", "Exp", "Erf", "Sin", "Cos", "Tanh", "Sinh", "Cosh", "Asinh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "HardSwish", "Mish",
           "HardSigmoid", "Identity", "Celu", "ThresholdedRelu"):
    one(op, away)
for op in ("Asin", "Acos", "Atan", "Atanh", "Tan"):
    one(op, f(3, 4, lo=-0.9, hi=0.9))
for op in ("Sqrt", "Log", "Reciprocal"):
    one(op, f(3, 4, lo=0.3, hi=2))
one("Acosh", f(5, lo=1.3, hi=3))
for a in ("none", "tanh"):
    one("Gelu", away, "Gelu_" + a, approximate=a)
one("Floor", away)
case("Cast", [n("Cast", ["x"], ["z"], to=T.DOUBLE), n("Mul", ["z", "z"], ["out"])], {"x": f(3)})
for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"):
    many(op, f(2, 3), f(2, 3), name=op)
    many(op, f(4, 2, 3), f(2, 1) + 3, name=op + "_broadcast")
    if op != "Mean":                                                            # the reference cannot
        many(op, f(1), f(2, 3) + 3, name=op + "_left")
many("Pow", f(2, 3, lo=0.4, hi=2), f(3))
many("PRelu", away, f(4))
case("Where", [n("Where", ["c", "a", "b"], ["out"])], {"c": np.array([[True], [False]]), "a": f(3), "b": f(2, 3)})
case("Clip", [n("Clip", ["x", "lo", "hi"], ["out"])], {"x": away}, {"lo": np.array(-1.0), "hi": np.array(2.0)})
many("MatMul", f(2, 3), f(3, 4))
many("MatMul", f(5, 2, 3), f(3, 4), name="MatMul_shared")
many("MatMul", f(2, 1, 2, 3), f(5, 3, 4), name="MatMul_broadcast")
many("MatMul", f(3), f(3), name="MatMul_vectors")
many("MatMul", f(3), f(2, 3, 4), name="MatMul_left")
many("MatMul", f(2, 2, 3), f(3), name="MatMul_right")
for ta in (0, 1):
    for tb in (0, 1):
        many("Gemm", f(*((3, 2) if ta else (2, 3))), f(*((4, 3) if tb else (3, 4))), f(4), name="Gemm_%d%d" % (ta, tb), transA=ta, transB=tb, alpha=0.5, beta=2.0)
for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"):
    for keep in (0, 1):
        many(op, f(2, 3, 4), consts={"axes": i64(-1, 0)}, name="%s_%d" % (op, keep), keepdims=keep)
    case(op + "_all", [n(op, ["x"], ["out"], keepdims=0)], {"x": f(2, 3)})
many("ReduceLogSum", f(2, 3, lo=0.3), consts={"axes": i64(1)})
case("Reshape", [n("Reshape", ["x", "s"], ["z"]), n("Mul", ["z", "z"], ["out"])], {"x": f(2, 6)}, {"s": i64(3, -1)})
one("Flatten", f(2, 3, 2))
case("Squeeze", [n("Squeeze", ["x", "a"], ["z"]), n("Unsqueeze", ["z", "b"], ["out"])], {"x": f(2, 1, 3)}, {"a": i64(1), "b": i64(0, 3)})
one("Transpose", f(2, 3, 4), "Transpose_perm", perm=[2, 0, 1])
one("Transpose", f(2, 3, 4))
case("Expand", [n("Expand", ["x", "s"], ["out"])], {"x": f(2, 1)}, {"s": i64(4, 2, 3)})
many("Concat", f(2, 1), f(2, 3), f(2, 2), axis=-1)
case("Slice", [n("Slice", ["x", "b", "e", "a", "s"], ["out"])], {"x": f(5, 4)}, {"b": i64(4, 0), "e": i64(0, 3), "a": i64(0, 1), "s": i64(-2, 2)})
case("Split", [n("Split", ["x", "s"], ["p", "q"], axis=0), n("Mul", ["p", "q"], ["out"])], {"x": f(3, 2)}, {"s": i64(1, 2)})
case("Gather", [n("Gather", ["x", "i"], ["out"], axis=1)], {"x": f(2, 4)}, {"i": i64(3, 0, 3, -1)})
case("GatherElements", [n("GatherElements", ["x", "i"], ["out"], axis=1)], {"x": f(2, 3)}, {"i": np.array([[0, 0], [2, 1]], np.int64)})
case("GatherND", [n("GatherND", ["x", "i"], ["out"])], {"x": f(3, 2)}, {"i": np.array([[2], [0], [2]], np.int64)})
case("Tile", [n("Tile", ["x", "r"], ["out"])], {"x": f(2, 3)}, {"r": i64(2, 3)})
for mode in ("constant", "reflect", "edge", "wrap"):
    case("Pad_" + mode, [n("Pad", ["x", "p"], ["out"], mode=mode)], {"x": f(3, 4)}, {"p": i64(1, 0, 0, 2)})
case("Pad_value", [n("Pad", ["x", "p", "v"], ["out"])], {"x": f(3)}, {"p": i64(1, 2), "v": np.array(7.0)})
one("Trilu", f(3, 4))
one("DepthToSpace", f(1, 4, 2, 2), blocksize=2)
one("SpaceToDepth", f(1, 1, 4, 2), blocksize=2)
one("MaxPool", rng.permutation(25).reshape(1, 1, 5, 5) / 7.0, kernel_shape=[2, 3], strides=[2, 1], pads=[0, 1, 1, 1])
one("AveragePool", f(1, 2, 5, 6), kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 1])
one("AveragePool", f(1, 2, 5), "AveragePool_include", kernel_shape=[3], strides=[2], pads=[1, 1], count_include_pad=1)
one("GlobalAveragePool", f(2, 3, 2, 2))
many("Conv", f(2, 3, 6), f(4, 3, 3), f(4), strides=[2], pads=[1, 2])
many("Conv", f(1, 2, 6, 5), f(3, 2, 2, 3), name="Conv_2d", strides=[2, 1], dilations=[2, 1], pads=[1, 0, 0, 1])
many("Conv", f(2, 4, 5), f(6, 2, 2), f(6), name="Conv_group", group=2, strides=[3])
many("Conv", f(1, 2, 3, 4, 3), f(2, 1, 2, 2, 2), name="Conv_depthwise_3d", group=2)
many("Conv", f(1, 1, 7), f(1, 1, 4), name="Conv_same", auto_pad="SAME_LOWER", strides=[2])
for op in ("Softmax", "LogSoftmax"):
    one(op, f(2, 3, 2), axis=1)
many("LayerNormalization", f(2, 3, 4), f(3, 4), f(3, 4), axis=1)
many("LayerNormalization", f(2, 5), f(5), name="LayerNormalization_plain")
many("BatchNormalization", f(2, 3, 4), f(3), f(3), f(3), f(3, lo=0.5))
for red in ("none", "sum", "mean"):
    for op in ("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"):
        case("%s_%s" % (op, red), [n(op, ["x", "t", "w"], ["out"], reduction=red, ignore_index=-3)], {"x": f(3, 4, 2)}, {"t": np.array([[0, 3], [-3, 1], [2, 2]], np.int64), "w": f(4, lo=0.2)})
        case("%s_%s_plain" % (op, red), [n(op, ["x", "t"], ["out"], reduction=red)], {"x": f(3, 4)}, {"t": i64(0, 3, 1)})
case("SoftmaxCrossEntropyLoss_both", [n("SoftmaxCrossEntropyLoss", ["x", "t"], ["l", "p"]), n("Mul", ["l", "p"], ["out"])], {"x": f(3, 4)}, {"t": i64(0, 3, 1)})
case("Dropout", [n("Dropout", ["x"], ["out"])], {"x": f(3, 4)})
mlp = [n("MatMul", ["x", "w"], ["h"]), n("Tanh", ["h"], ["t"]), n("Mul", ["t", "t"], ["s"]), n("Add", ["s", "h"], ["out"])]
case("chain", mlp, {"x": f(2, 3), "w": f(3, 4)})
case("held", mlp, {"x": f(2, 3), "w": f(3, 4)}, xs=["w"])
case("fed", mlp, {"x": f(2, 3), "w": f(3, 4), "other": f(2, 3)}, fed={"x": "other"})
case("unrelated", [n("Exp", ["x"], ["out"])], {"x": f(3), "w": f(2)})
r = subprocess.run([sys.argv[1], "selftest", "onnx", folder], capture_output=True, text=True)
print(r.stdout[-6000:], r.stderr[-2000:], sep="")
shutil.rmtree(folder)
sys.exit(r.returncode)
