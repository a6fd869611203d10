# SPDX-License-Identifier: Apache-2.0
"""Losses, optimisers, recurrent attention, quantised products and random operators against their oracles, over random configurations:

    python tests/python/test_ops_train.py build/ferry [PATTERN]

Oracles: onnxruntime where it has the operator and dtype (losses in f32 and f64, QLinearConv, QLinearMatMul on 8-bit integers); else onnx's
reference implementation, given the inputs as float64 so that its own rounding does not count; numpy.random.RandomState for random numbers.
Cases are written as onnx.backend.test lays them out and run by `ferry selftest onnx`. Needs onnx, numpy, ml_dtypes, onnxruntime.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from onnx.reference.ops.aionnx_preview.op_flex_attention import _compute_flex_attention
from onnx.reference.ops.aionnx_preview_training.op_adagrad import _apply_adagrad
from onnx.reference.ops.aionnx_preview_training.op_adam import _apply_adam
from onnx.reference.ops.aionnx_preview_training.op_momentum import _apply_momentum, _apply_nesterov
from onnx.reference.ops.op_causal_conv_with_state import CausalConvWithState
from onnx.reference.ops.op_linear_attention import LinearAttention
from onnx.reference.ops.op_negative_log_likelihood_loss import _compute_negative_log_likelihood_loss
from onnx.reference.ops.op_softmax_cross_entropy_loss import softmaxcrossentropy

ort.set_default_logger_severity(4)
rng = np.random.default_rng(11)
BF16 = ml_dtypes.bfloat16
FLOATS = [np.float32, np.float64, np.float16, BF16]
F8 = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz]
folder = tempfile.mkdtemp()
count = 0


def pick(*v):
    return v[rng.integers(len(v))]


def size(lo=1, hi=5):
    return int(rng.integers(lo, hi + 1))


def tensor_type(a):
    return h.np_dtype_to_tensor_dtype(a.dtype)


def f(t, *shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(t)


def model(node, inputs, outputs, opset, domain=""):
    """inputs: name -> array; outputs: name -> array (dtype and rank count)."""
    ins = [h.make_tensor_value_info(k, tensor_type(v), v.shape) for k, v in inputs.items()]
    outs = [h.make_tensor_value_info(k, tensor_type(v), ["%s%d" % (k, i) for i in range(v.ndim)]) for k, v in outputs.items()]
    imports = [h.make_opsetid("", opset)] + ([h.make_opsetid(domain, 1)] if domain else [])
    return h.make_model(h.make_graph([node], "case", ins, outs), opset_imports=imports, ir_version=10 if opset < 23 else 13)


def write(path, a, name):
    with open(path, "wb") as out:
        out.write(nh.from_array(np.asarray(a), name).SerializeToString())


def case(name, node, inputs, outputs, opset=28, domain="", rtol=None, atol=None):
    global count
    first = next(iter(outputs.values())).dtype
    if rtol is None:
        rtol = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12, np.dtype(np.float16): 2e-3}.get(first, 2e-2)
    if atol is None:
        atol = 1e-12 if first == np.float64 else 1e-6 if first == np.float32 else 1e-3
    where = os.path.join(folder, "%s_%d" % (name, count))
    count += 1
    os.makedirs(where + "/test_data_set_0")
    onnx.save(model(node, inputs, outputs, opset, domain), where + "/model.onnx")
    with open(where + "/tolerance", "w") as out:
        out.write("%g %g\n" % (rtol, atol))
    for what, values in (("input", inputs), ("output", outputs)):
        for i, (k, v) in enumerate(values.items()):
            write("%s/test_data_set_0/%s_%d.pb" % (where, what, i), v, k)


def runtime(node, inputs, outputs, opset):
    """What onnxruntime computes, as outputs' dtypes; None if it does not have it."""
    try:
        s = ort.InferenceSession(model(node, inputs, outputs, opset).SerializeToString(), providers=["CPUExecutionProvider"])
        return dict(zip(outputs, s.run(None, {k: np.asarray(v) for k, v in inputs.items()})))
    except Exception:
        return None


seen = {"onnxruntime": 0, "reference": 0}


def oracle(name, node, inputs, outputs, opset, **more):
    """A case whose outputs are onnxruntime's where it gives some, else `outputs`."""
    got = runtime(node, inputs, outputs, opset)
    seen["onnxruntime" if got else "reference"] += 1
    case(name, node, inputs, got or outputs, opset, **more)


# ---- losses -----------------------------------------------------------------------------------------------------------

def losses():
    for trial in range(160):
        t, ti = FLOATS[trial % 4], pick(np.int64, np.int32)
        n, c, spatial = size(), size(1, 7), [size(1, 4) for _ in range(size(0, 3))]
        soft, log_prob, reduction = trial % 8 >= 4, rng.random() < 0.5, pick("none", "sum", "mean")
        ignore = pick(None, None, 0, -1, 100, c - 1)
        x = f(t, n, c, *spatial, scale=3)
        target = rng.integers(0, c, (n, *spatial)).astype(ti)
        if ignore is not None:
            target[rng.random(target.shape) < 0.3] = ignore
            if reduction == "mean" and (target == ignore).all():
                target.flat[0] = 0 if ignore else c - 1
                if target.flat[0] == ignore:
                    continue
        w = rng.random(c).astype(t) + t(0.1) if rng.random() < 0.5 else None
        attrs = {"reduction": reduction}
        if ignore is not None:
            attrs["ignore_index"] = ignore
        # the reference does not see -1 as an index to ignore unless there are weights
        wide = dict(weight=w.astype(np.float64) if w is not None else np.ones(c) if ignore == -1 else None, reduction=reduction, ignore_index=ignore)
        if soft:
            res = softmaxcrossentropy(x.astype(np.float64), target, get_log_prob=True, **wide)
        else:
            res = _compute_negative_log_likelihood_loss(x.astype(np.float64), target, **wide)
        outputs = {"y": np.asarray(res[0]).astype(t)}
        if soft and log_prob:
            outputs["p"] = res[1].astype(t)
        inputs = {"x": x, "t": target} | ({} if w is None else {"w": w})
        node = h.make_node("SoftmaxCrossEntropyLoss" if soft else "NegativeLogLikelihoodLoss", list(inputs), list(outputs), **attrs)
        if t in (np.float32, np.float64):
            oracle("loss", node, inputs, outputs, 13, rtol=1e-5 if t == np.float32 else 1e-9)
        else:
            case("loss", node, inputs, outputs, 22)


# ---- optimisers --------------------------------------------------------------------------------------------------------

def optimisers():
    for trial in range(60):
        kind, n = trial % 4, size(1, 4)
        ts = [pick(np.float32, np.float64) for _ in range(n)]
        shapes = [[size(0 if rng.random() < 0.1 else 1, 4) for _ in range(size(0, 3))] for _ in range(n)]
        r, t = np.array(rng.random(), pick(np.float32, np.float64)), np.array(pick(0, 1, 2, 37), np.int64)
        x, g, v = ([f(k, *s) for k, s in zip(ts, shapes)] for _ in range(3))
        hs = [np.abs(f(k, *s)) for k, s in zip(ts, shapes)]
        a = {k: float(np.float32(rng.random())) for k in ("norm_coefficient", "epsilon", "decay_factor", "alpha", "beta", "norm_coefficient_post")}
        wide = [[np.asarray(b, np.float64) for b in group] for group in (x, g, v, hs)]
        if kind == 0:
            state, keys = [hs], ("norm_coefficient", "epsilon", "decay_factor")
            res = [_apply_adagrad(float(r), int(t), X, G, H, *(a[k] for k in keys)) for X, G, _, H in zip(*wide)]
        elif kind == 1:
            state, keys = [v, hs], ("norm_coefficient", "norm_coefficient_post", "alpha", "beta", "epsilon")
            res = [_apply_adam(float(r), int(t), X, G, V, H, *(a[k] for k in keys)) for X, G, V, H in zip(*wide)]
        else:
            state, keys = [v], ("norm_coefficient", "alpha", "beta")
            res = [(_apply_momentum if kind == 2 else _apply_nesterov)(float(r), int(t), X, G, V, *(a[k] for k in keys)) for X, G, V, _ in zip(*wide)]
        attrs = {k: a[k] for k in keys}
        if kind >= 2:
            attrs["mode"] = "standard" if kind == 2 else "nesterov"
        flat = [b for group in [x, g, *state] for b in group]
        inputs = {"r": r, "t": t} | {"i%d" % i: b for i, b in enumerate(flat)}
        outputs = {"o%d" % (k * n + i): np.asarray(res[i][k]).astype(ts[i]) for k in range(len(res[0])) for i in range(n)}
        node = h.make_node(("Adagrad", "Adam", "Momentum", "Momentum")[kind], list(inputs), list(outputs), domain="ai.onnx.preview.training", **attrs)
        case("optim", node, inputs, outputs, 28, "ai.onnx.preview.training", rtol=1e-5, atol=1e-6)


# ---- attention and its kin ---------------------------------------------------------------------------------------------

def wide_op(cls, *args, **attrs):
    """A reference operator on float64: its own casts to float32 are taken out."""
    real = np.float32
    try:
        np.float32 = np.float64
        return cls._run(None, *args, **attrs)
    finally:
        np.float32 = real


def linear_attention():
    for trial in range(60):
        t, s = pick(np.float32, np.float16, BF16), pick(np.float32, np.float16, BF16)
        rule, b, n, hk, group, dk, dv = ("linear", "gated", "delta", "gated_delta")[trial % 4], size(1, 3), size(1, 6), size(1, 3), size(1, 3), size(1, 5), size(1, 5)
        inputs = {"q": f(t, b, n, hk * group * dk), "k": f(t, b, n, hk * dk, scale=0.4), "v": f(t, b, n, hk * dv)}
        names = ["q", "k", "v", "", "", ""]
        past = f(s, b, hk, dk, dv) if rng.random() < 0.5 else None
        decay = -np.abs(f(t, b, n, hk * pick(1, dk))) if "gated" in rule else None
        beta = rng.random((b, n, pick(1, hk))).astype(t) if "delta" in rule else None
        for i, (k, a) in enumerate((("past", past), ("decay", decay), ("beta", beta))):
            if a is not None:
                inputs[k] = a
                names[3 + i] = k
        scale = pick(None, 0.0, 0.5)
        w = lambda a: None if a is None else a.astype(np.float64)
        o, state = wide_op(LinearAttention, w(inputs["q"]), w(inputs["k"]), w(inputs["v"]), w(past), w(decay), w(beta), q_num_heads=hk * group, kv_num_heads=hk, scale=scale,
                           update_rule=rule)
        attrs = {"q_num_heads": hk * group, "kv_num_heads": hk, "update_rule": rule, "chunk_size": pick(1, 64)} | ({} if scale is None else {"scale": scale})
        outputs = {"y": o.astype(t), "s": state.astype(t if past is None else s)}
        narrow = {t, outputs["s"].dtype.type} - {np.float32}
        case("linear", h.make_node("LinearAttention", names, ["y", "s"], **attrs), inputs, outputs, rtol=2e-2 if BF16 in narrow else 2e-3 if narrow else 1e-5)


def causal_conv():
    for trial in range(40):
        t = pick(np.float32, np.float16, BF16)
        b, c, n, k = size(1, 3), size(1, 4), size(1, 7), size(1, 5)
        inputs, names, act = {"x": f(t, b, c, n), "w": f(t, c, 1, k)}, ["x", "w", "", ""], pick("none", "silu", "swish")
        bias, past = f(t, c) if rng.random() < 0.5 else None, f(t, b, c, k - 1) if rng.random() < 0.5 else None
        for i, (name, a) in enumerate((("b", bias), ("p", past))):
            if a is not None:
                inputs[name] = a
                names[2 + i] = name
        w = lambda a: None if a is None else a.astype(np.float64)
        y, s = wide_op(CausalConvWithState, w(inputs["x"]), w(inputs["w"]), w(bias), w(past), activation=act)
        case("causal", h.make_node("CausalConvWithState", names, ["y", "s"], activation=act), inputs, {"y": y.astype(t), "s": s.astype(t)})


def mod_graph(kind, t, name):
    io = [h.make_tensor_value_info(v, t, ["B", "H", "L", "S"]) for v in (name, name + "_out")]
    k = lambda v: h.make_tensor("k", t, [], [v])
    if kind == "add":
        return h.make_graph([h.make_node("Add", [name, "k"], [name + "_out"])], name, io[:1], io[1:], [k(0.5)])
    if kind == "mask":
        return h.make_graph([h.make_node("Trilu", [name, "one"], ["up"], upper=1), h.make_node("Sub", [name, "up"], ["low"]), h.make_node("Add", ["low", "k"], [name + "_out"])],
                            name, io[:1], io[1:], [k(-0.25), h.make_tensor("one", T.INT64, [], [1])])
    return h.make_graph([h.make_node("Tanh", [name], [name + "_out"])], name, io[:1], io[1:])


MODS = {"add": lambda a: a + 0.5, "mask": lambda a: a - np.triu(a, 1) - 0.25, "tanh": np.tanh}


class Mod:
    def __init__(self, kind):
        self.input_names, self.kind = ["x"], kind

    def run(self, _, feeds, attributes=None):
        return [MODS[self.kind](feeds["x"])]


def flex_attention():
    for trial in range(48):
        t, b, hk, group, n, s, e, ev = FLOATS[trial % 4], size(1, 2), size(1, 2), size(1, 3), size(1, 5), size(1, 6), size(1, 6), size(1, 6)
        inputs = {"q": f(t, b, hk * group, n, e), "k": f(t, b, hk, s, e), "v": f(t, b, hk, s, ev)}
        scale, score, prob, precision = pick(None, 0.3), pick(None, *MODS), pick(None, *MODS), pick(None, T.FLOAT, T.DOUBLE)
        kind = precision or (T.DOUBLE if t == np.float64 else T.FLOAT)
        q, k, v = (a.astype(np.float64) for a in inputs.values())
        # the reference takes the root of the scale in f32: fold the exact one into q
        q = q * (1 / np.sqrt(e) if scale is None else float(np.float32(scale)))
        (y,) = _compute_flex_attention(q, k, v, 1.0, score and Mod(score), prob and Mod(prob))
        attrs = {} if scale is None else {"scale": scale}
        if precision:
            attrs["softmax_precision"] = precision
        for name, mod in (("score_mod", score), ("prob_mod", prob)):
            if mod:
                attrs[name] = mod_graph(mod, kind, name)
        case("flex", h.make_node("FlexAttention", ["q", "k", "v"], ["y"], domain="ai.onnx.preview", **attrs), inputs, {"y": y.astype(t)}, 28, "ai.onnx.preview",
             rtol=1e-5 if t in (np.float32, np.float64) else None, atol=1e-6 if t in (np.float32, np.float64) else None)


def swiglu():
    for trial in range(16):
        t, shape, alpha = FLOATS[trial % 4], [size(1, 4) for _ in range(size(0, 4))], pick(None, 1.0, 1.702, -0.5)
        a, b = f(t, *shape, scale=2), f(t, *shape)
        w, k = a.astype(np.float64), 1.0 if alpha is None else float(np.float32(alpha))
        y = w / (1 + np.exp(-k * w)) * b.astype(np.float64)
        case("swiglu", h.make_node("SwiGLU", ["a", "b"], ["y"], **({} if alpha is None else {"alpha": alpha})), {"a": a, "b": b}, {"y": np.asarray(y).astype(t)})


# ---- quantised ---------------------------------------------------------------------------------------------------------

def whole(t, *shape):
    i = np.iinfo(t)
    return rng.integers(i.min, i.max + 1, shape).astype(t)


def scales(t, *shape):
    return (rng.random(shape) * 0.05 + 0.002).astype(t)


def qlinear_conv():
    for trial in range(60):
        t, u, v = (pick(np.int8, np.uint8) for _ in range(3)) if trial % 2 else [pick(np.int8, np.uint8)] * 3     # what onnxruntime takes
        nd, group, cin, mout = trial % 3 + 1, size(1, 3), size(1, 3), size(1, 3)
        spatial, kernel = [size(5, 7) for _ in range(nd)], [size(1, 3) for _ in range(nd)]
        m = group * mout
        per = rng.random() < 0.5
        x, w = whole(t, size(1, 2), group * cin, *spatial), whole(u, m, cin, *kernel)
        inputs = {"x": x, "xs": scales(np.float32), "xz": whole(t), "w": w, "ws": scales(np.float32, *([m] if per else [])), "wz": whole(u, *([m] if per else [])),
                  "ys": scales(np.float32) * 40, "yz": whole(v)}
        if rng.random() < 0.5:
            inputs["b"] = rng.integers(-3000, 3000, m).astype(np.int32)
        attrs = {"group": group, "strides": [size(1, 2) for _ in range(nd)], "dilations": [1 if k == 1 else size(1, 2) for k in kernel]}
        auto = pick("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
        if auto == "NOTSET":
            attrs["pads"] = [size(0, 1) for _ in range(2 * nd)]
        else:
            attrs["auto_pad"] = auto
        if auto.startswith("SAME"):
            attrs["dilations"] = [1] * nd
        # the formula in integers, through a float64 Conv of the reference
        xc = x.astype(np.float64) - float(inputs["xz"])
        wc = w.astype(np.float64) - inputs["wz"].astype(np.float64).reshape(-1, *([1] * (nd + 1)))
        from onnx.reference.ops.op_conv import _conv_implementation
        acc = _conv_implementation(xc, wc, inputs["b"].astype(np.float64) if "b" in inputs else None, auto, attrs["dilations"], group, list(kernel), attrs.get("pads"), attrs["strides"])
        k = (inputs["xs"] * inputs["ws"] / inputs["ys"]).astype(np.float64).reshape(-1, *([1] * nd))
        i = np.iinfo(v)
        y = np.clip(np.rint(np.float32(acc * k)) + float(inputs["yz"]), i.min, i.max).astype(v)
        node = h.make_node("QLinearConv", list(inputs), ["y"], **attrs)
        case("qconv", node, inputs, {"y": y}, 10, rtol=0, atol=0)
        got = runtime(node, inputs, {"y": y}, 10)
        if got:
            seen["onnxruntime"] += 1
            case("qconv_ort", node, inputs, got, 10, rtol=0, atol=1)


def qlinear_matmul():
    for trial in range(120):
        f8 = trial % 3 == 0
        t, u, v = (pick(*F8) if f8 and rng.random() < 0.7 else pick(np.int8, np.uint8) for _ in range(3)) if trial % 3 < 2 else [pick(np.int8, np.uint8)] * 3
        ts = pick(np.float32, np.float16, BF16) if trial % 2 else np.float32
        batch = [size(1, 3) for _ in range(size(0, 2))]
        n, k, m = size(), size(1, 6), size()
        small = lambda d, *s: f(d, *s) if d in F8 else whole(d, *s)
        a, b = small(t, *batch, n, k), small(u, *(batch if rng.random() < 0.5 else []), k, m)
        rows = trial % 4
        row = [[], [1], [n], [*batch, n, 1]][rows] if rows != 2 or not batch else []
        col = [[], [1], [m], [*b.shape[:-2], 1, m]][rows] if rows != 2 or b.ndim == 2 else []
        inputs = {"a": a, "as": scales(ts, *row), "az": small(t, *row), "b": b, "bs": scales(ts, *col), "bz": small(u, *col), "ys": scales(ts) * ts(5), "yz": small(v)}
        wide = {key: val.astype(np.float64) for key, val in inputs.items()}
        up = lambda p: p[:, None] if rows == 2 and p.ndim == 1 else p
        acc = np.matmul(wide["a"] - up(wide["az"]), wide["b"] - wide["bz"])
        f32 = {key: inputs[key].astype(np.float32) for key in ("as", "bs", "ys")}
        q = np.float32(acc * (up(f32["as"]) * f32["bs"] / f32["ys"]).astype(np.float64)).astype(np.float64)
        if v in F8:
            top = float(ml_dtypes.finfo(v).max)
            y = np.clip(q + wide["yz"], -top, top).astype(v)
        else:
            i = np.iinfo(v)
            y = np.clip(np.rint(q) + wide["yz"], i.min, i.max).astype(v)
        node = h.make_node("QLinearMatMul", list(inputs), ["y"])
        case("qmatmul", node, inputs, {"y": y}, 21, rtol=0, atol=0)
        got = runtime(node, inputs, {"y": y}, 10) if ts == np.float32 and not f8 else None
        if got:
            seen["onnxruntime"] += 1
            case("qmatmul_ort", node, inputs, got, 21, rtol=0, atol=1)


# ---- random ------------------------------------------------------------------------------------------------------------

def random():
    for trial in range(40):
        seed = int(pick(0, 1, 77, 123456, 2 ** 24))
        r, shape, t = np.random.RandomState(seed), [size(1, 40) for _ in range(size(1, 3))], FLOATS[trial % 4]
        lo, hi = (float(np.float32(a)) for a in (rng.normal(), rng.normal() + 4))
        dtype = h.np_dtype_to_tensor_dtype(np.dtype(t))
        kind = trial % 5
        if kind < 2:
            y = (r.uniform(lo, hi, shape) if kind == 0 else r.normal(lo, hi, shape)).astype(t)
            attrs = dict(zip(("low", "high") if kind == 0 else ("mean", "scale"), (lo, hi)))
            if trial % 2:
                case("random", h.make_node(("RandomUniform", "RandomNormal")[kind], [], ["y"], shape=shape, seed=float(seed), dtype=dtype, **attrs), {}, {"y": y}, 22)
            else:
                x = np.zeros(shape, pick(np.float32, np.int64, np.bool_))
                case("random", h.make_node(("RandomUniformLike", "RandomNormalLike")[kind], ["x"], ["y"], seed=float(seed), dtype=dtype, **attrs), {"x": x}, {"y": y}, 22)
        elif kind == 2:
            x = rng.random(shape).astype(t)
            to = pick(np.float32, np.int64, np.uint8, np.bool_, np.float16)
            y = r.binomial(1, x.astype(np.float64)).astype(to)
            case("random", h.make_node("Bernoulli", ["x"], ["y"], seed=float(seed), dtype=h.np_dtype_to_tensor_dtype(np.dtype(to))), {"x": x}, {"y": y}, 22, rtol=0, atol=0)
        elif kind == 3:
            x, n = f(t, size(1, 4), size(1, 9)), size(1, 50)
            p = np.exp(x.astype(np.float64) - x.astype(np.float64).max(1, keepdims=True))
            y = np.stack([r.choice(x.shape[1], n, p=row / row.sum()) for row in p]).astype(np.int32)
            case("random", h.make_node("Multinomial", ["x"], ["y"], seed=float(seed), sample_size=n), {"x": x}, {"y": y}, 22, rtol=0, atol=0)
        else:
            x, ratio = f(t, *shape), np.float32(rng.random() * 0.9)
            mask = r.uniform(0, 1, shape) >= ratio
            y = (mask * x.astype(np.float64) / (1 - float(ratio))).astype(t)
            case("random", h.make_node("Dropout", ["x", "r", "t"], ["y", "m"], seed=seed), {"x": x, "r": ratio, "t": np.array(True)}, {"y": y, "m": mask}, 22)


def main():
    ferry, pattern = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    for make in (losses, optimisers, linear_attention, causal_conv, flex_attention, swiglu, qlinear_conv, qlinear_matmul, random):
        if re.search(pattern, make.__name__):
            make()
    r = subprocess.run([ferry, "selftest", "onnx", folder], capture_output=True, text=True)
    print(r.stdout[-6000:], r.stderr[-2000:], sep="")
    print("%d cases, %d of them against onnxruntime" % (count, seen["onnxruntime"]))
    shutil.rmtree(folder)
    sys.exit(r.returncode)


main()
