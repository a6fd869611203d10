#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_contrib.py FERRY [-k WORD] [--seed N] [--rounds N] [--keep FOLDER]: operators of com.microsoft against onnxruntime.

Each operator is run by onnxruntime's CPU provider over random configurations (attributes, optional inputs, dtypes, odd sizes); the
models and their results are written as case folders, which one process of `ferry selftest onnx` runs.

Float results agree within 1e-5 relative and 1e-6 of the largest value absolute: products and sums are taken in float there and in
double here. Exceptions are named where they are made. Quantised results agree within one step where onnxruntime computes in float,
and to the last bit where it computes in integers.

With the program FERRY, its table of operators is compared with onnxruntime's schemas as well."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

try:
    import ml_dtypes
    BF16 = np.dtype(ml_dtypes.bfloat16)
except ImportError:
    BF16 = None

ort.set_default_logger_severity(4)
F32, F64, F16 = np.dtype("f4"), np.dtype("f8"), np.dtype("f2")
SMALL = {"u4": TensorProto.UINT4, "i4": TensorProto.INT4, "f8e4m3": TensorProto.FLOAT8E4M3FN, "f8e4m3uz": TensorProto.FLOAT8E4M3FNUZ, "f8e5m2": TensorProto.FLOAT8E5M2,
         "f4e2m1": TensorProto.FLOAT4E2M1}


class Packed:
    """A tensor of a dtype that numpy lacks, as an initialiser, since onnxruntime is fed none."""
    def __init__(self, values, kind):
        self.values, self.kind = np.asarray(values), kind

    def proto(self, name):
        return helper.make_tensor(name, SMALL[self.kind], self.values.shape, self.values.reshape(-1).astype(float if self.kind[0] == "f" else int))


def onnx_dtype(a):
    return helper.np_dtype_to_tensor_dtype(a.dtype)


def proto(a, name=None):
    if BF16 is not None and a.dtype == BF16:
        t = helper.make_tensor(name or "", TensorProto.BFLOAT16, a.shape, a.tobytes(), raw=True)
        return t
    return numpy_helper.from_array(np.ascontiguousarray(a).reshape(a.shape), name)


class Suite:
    def __init__(self, folder, word, seed, rounds):
        self.folder, self.word, self.seed, self.rounds = folder, word, seed, rounds
        self.n, self.skipped, self.family = 0, [], ""

    def model(self, op, inputs, outputs, attrs, domain="com.microsoft", onnx_opset=21, constant=()):
        """inputs: arrays, Packed or None; outputs: how many, or a list of which are wanted."""
        wanted = [True] * outputs if isinstance(outputs, int) else outputs
        names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
        inits = [a.proto(names[i]) if isinstance(a, Packed) else proto(a, names[i]) for i, a in enumerate(inputs)
                 if isinstance(a, Packed) or (a is not None and i in constant)]
        fed = [i for i, a in enumerate(inputs) if a is not None and not isinstance(a, Packed) and i not in constant]
        node = helper.make_node(op, names, [f"y{i}" if w else "" for i, w in enumerate(wanted)], domain=domain, **attrs)
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info(names[i], onnx_dtype(inputs[i]), inputs[i].shape) for i in fed],
                                  [onnx.ValueInfoProto(name=f"y{i}") for i, w in enumerate(wanted) if w], inits)
        imports = [helper.make_opsetid("", onnx_opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
        return helper.make_model(graph, opset_imports=imports, ir_version=10), {names[i]: inputs[i] for i in fed}

    def case(self, op, inputs, outputs=1, rtol=1e-5, atol=None, expect=None, through=None, **attrs):
        """expect: the results instead of onnxruntime's. through: a dtype in which onnxruntime computes instead (it lacks the kernel)."""
        options = {k: attrs.pop(k) for k in ("domain", "onnx_opset", "constant") if k in attrs}
        attrs = {k: v for k, v in attrs.items() if v is not None}
        model, feeds = self.model(op, inputs, outputs, attrs, **options)
        if expect is None:
            other = inputs if through is None else [a.astype(through) if a is not None and not isinstance(a, Packed) and
                                                    (a.dtype.kind == "f" or a.dtype == BF16) else a for a in inputs]
            their, fed = (model, feeds) if through is None else self.model(op, other, outputs, attrs, **options)
            try:
                expect = run(their, fed)
            except Exception as e:
                self.skipped.append((op, str(e).split("\n")[0][-160:]))
                return None
            if through is not None:
                expect = [y.astype(next(a for a in inputs if a is not None and (a.dtype.kind == "f" or a.dtype == BF16)).dtype) if y.dtype == through else y
                          for y in expect]
        self.write(f"{op}_{self.n}", model, list(feeds.values()), expect, rtol, atol)
        return expect

    def write(self, name, model, inputs, outputs, rtol, atol):
        if atol is None:
            top = max([float(np.abs(y[np.isfinite(y.astype(F64))].astype(F64)).max(initial=0)) for y in outputs if y.dtype.kind in "f" or y.dtype == BF16] + [0])
            atol = 1e-6 * max(top, 1)
        if any(y.dtype == np.float16 for y in outputs):                     # onnxruntime rounds to f16 after some steps, ferry once: two units in the last place
            rtol = max(rtol, 2.0**-9)
        folder = os.path.join(self.folder, name)
        os.makedirs(os.path.join(folder, "test_data_set_0"))
        onnx.save(model, os.path.join(folder, "model.onnx"))
        with open(os.path.join(folder, "tolerance"), "w") as f:
            f.write(f"{rtol} {atol}\n")
        for kind, values in (("input", inputs), ("output", outputs)):
            for i, a in enumerate(values):
                with open(os.path.join(folder, "test_data_set_0", f"{kind}_{i}.pb"), "wb") as f:
                    f.write(proto(a).SerializeToString())
        self.n += 1


def run(model, feeds, level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
    so = ort.SessionOptions()
    so.graph_optimization_level = level
    so.intra_op_num_threads = 1
    so.log_severity_level = 4
    data = model if isinstance(model, str) else model.SerializeToString()
    return ort.InferenceSession(data, so, providers=["CPUExecutionProvider"]).run(None, feeds)


class Random:
    def __init__(self, seed):
        self.r = np.random.default_rng(seed)

    def size(self, lo=1, hi=7):
        return int(self.r.integers(lo, hi + 1))

    def shape(self, lo=1, hi=4, most=6):
        return tuple(self.size(1, most) for _ in range(self.size(lo, hi)))

    def pick(self, *options):
        return options[int(self.r.integers(len(options)))]

    def yes(self, p=0.5):
        return bool(self.r.random() < p)

    def f(self, *shape, dtype=F32, scale=1.0):
        return np.asarray(self.r.standard_normal(shape) * scale, dtype=F32).astype(dtype)

    def i(self, lo, hi, *shape, dtype="i8"):
        return np.asarray(self.r.integers(lo, hi, shape), dtype=dtype)

    def q(self, signed, *shape):
        return self.i(-128, 128, *shape, dtype="i1") if signed else self.i(0, 256, *shape, dtype="u1")

    def broadcast(self, shape):
        """A shape that broadcasts to `shape`."""
        s = [1 if self.yes(0.3) else d for d in shape]
        return tuple(s[self.size(0, len(s)):] if self.yes(0.3) else s)


FAMILIES = []


def family(f):
    FAMILIES.append(f)
    return f


# ---- activations ---------------------------------------------------------------------------------------------------------------------------

@family
def activations(s, r):
    for dtype, through in [(F32, None), (F16, None), (F64, F32)] + ([(BF16, F32)] if BF16 is not None else []):
        shape = r.shape()
        # MLAS approximates erf and tanh by rational functions: up to about 1e-6 absolute
        soft = dict(through=through, atol=2e-6 * 4)
        s.case("Gelu", [r.f(*shape, dtype=dtype, scale=2)], **soft)
        s.case("FastGelu", [r.f(*shape, dtype=dtype, scale=2)], **soft)
        s.case("FastGelu", [r.f(*shape, dtype=dtype, scale=2), r.f(shape[-1], dtype=dtype)], **soft)
        s.case("BiasGelu", [r.f(*shape, dtype=dtype, scale=2), r.f(shape[-1], dtype=dtype)], **soft)
        s.case("QuickGelu", [r.f(*shape, dtype=dtype, scale=2)], alpha=r.pick(None, 0.5, 1.0, 1.702, -1.0), **soft)
    x, b = r.f(2, 3, 8), r.f(8)
    v = (x + b).astype(F64)
    gelu = np.vectorize(lambda t: 0.5 * t * (1 + __import__("math").erf(t / 2 ** 0.5)))
    s.case("BiasSplitGelu", [x, b], expect=[(v[..., :4] * gelu(v[..., 4:])).astype(F32)])
    skip = r.f(2, 3, 8)
    s.case("BiasAdd", [x, b, skip], expect=[x + b + skip])
    axis = r.size(1, 3)
    scores, bias = r.f(2, 3, 4, 5), r.f(*((2,) + (1,) * (axis - 1) + (2, 3, 4, 5)[axis:]))
    e = (scores + bias).reshape(int(np.prod(scores.shape[:axis])), -1)
    e = np.exp(e - e.max(1, keepdims=True))
    s.case("BiasSoftmax", [scores, bias], axis=axis, is_inner_broadcast=1, expect=[(e / e.sum(1, keepdims=True)).reshape(scores.shape)])


# ---- products ------------------------------------------------------------------------------------------------------------------------------

@family
def fused_conv(s, r):
    group = r.pick(1, 1, 2)
    nd = r.pick(1, 2, 2, 3)
    cin, cout, n = group * r.size(1, 3), group * r.size(1, 3), r.size(1, 3)
    k = [r.size(1, 3) for _ in range(nd)]
    d = [r.size(5, 9) for _ in range(nd)]
    attrs = dict(group=group, kernel_shape=k if r.yes() else None, strides=[r.size(1, 2) for _ in range(nd)], dilations=[r.size(1, 2) for _ in range(nd)])
    if r.yes(0.7):
        attrs["pads"] = [r.size(0, 2) for _ in range(2 * nd)]
    else:
        attrs["auto_pad"] = r.pick("VALID", "SAME_UPPER")
        attrs["dilations"] = [1] * nd
    act, par = r.pick((None, None), ("Relu", None), ("Tanh", None), ("Sigmoid", None), ("LeakyRelu", [0.3]), ("Clip", [-0.5, 0.75]), ("HardSigmoid", [0.3, 0.6]))
    x, w = r.f(n, cin, *d), r.f(cout, cin // group, *k)
    b = r.f(cout) if r.yes() else None
    # sums of up to 81 products of either sign, in float there
    base = s.case("FusedConv", [x, w] + ([b] if b is not None else []), atol=5e-6, activation=act, activation_params=par, **attrs)
    if base is not None and act in (None, "Relu", "Tanh"):
        s.case("FusedConv", [x, w, r.f(cout) if b is None else b, r.f(*base[0].shape)], atol=5e-6, activation=act, activation_params=par, **attrs)
    if base is not None and act is None and nd == 2:
        last = lambda a: np.moveaxis(a, 1, -1)
        s.case("NhwcFusedConv", [last(x), w] + ([b] if b is not None else []), activation="Relu", atol=5e-6, expect=[last(np.maximum(base[0], 0))], **attrs)
        s.case("FusedConv", [a.astype(F64) for a in ([x, w] + ([b] if b is not None else []))], atol=5e-6, expect=[base[0].astype(F64)], **attrs)


@family
def fused_gemm(s, r):
    m, n, k, ta, tb = r.size(), r.size(), r.size(1, 20), r.size(0, 1), r.size(0, 1)
    a, b = r.f(*((k, m) if ta else (m, k))), r.f(*((n, k) if tb else (k, n)))
    c = r.f(*r.pick((n,), (m, n), (1, n), (m, 1), (1,), ())) if r.yes(0.7) else None
    act = r.pick({}, {"activation": "Relu"}, {"activation": "Tanh"}, {"activation": "Sigmoid"}, {"activation": "LeakyRelu", "activation_alpha": 0.2},
                 {"activation": "Elu", "activation_alpha": 0.7}, {"activation": "Softplus"}, {"activation": "Softsign"},
                 {"activation": "HardSigmoid", "activation_alpha": 0.3, "activation_beta": 0.4}, {"activation": "Selu", "activation_alpha": 1.5, "activation_gamma": 1.1},
                 {"activation": "ThresholdedRelu", "activation_alpha": 0.5})
    if not act:
        act = {"activation": "Relu"}
    s.case("FusedGemm", [a, b] + ([c] if c is not None else []), transA=ta, transB=tb, alpha=r.pick(None, 0.5, -2.0), beta=r.pick(None, 0.25), **act)


@family
def fused_matmul(s, r):
    ba, bb = r.pick(((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((2, 3), (3,)), ((1, 3), (2, 1)), ((2,), ()), ((), (2,)))
    m, n, k = r.size(), r.size(), r.size(1, 9)
    attrs = dict(transA=r.size(0, 1), transB=r.size(0, 1), transBatchA=int(len(ba) > 0 and r.yes(0.3)), transBatchB=int(len(bb) > 0 and r.yes(0.3)))

    def stored(batch, rows, cols, trans, tbatch):
        d = (cols, rows) if trans else (rows, cols)
        return (d[0],) + batch + (d[1],) if tbatch else batch + d
    if ba != bb:
        attrs["transBatchA"] = attrs["transBatchB"] = 0
    a, b = stored(ba, m, k, attrs["transA"], attrs["transBatchA"]), stored(bb, k, n, attrs["transB"], attrs["transBatchB"])
    dtype = r.pick(F32, F64, F16)
    s.case("FusedMatMul", [r.f(*a, dtype=dtype), r.f(*b, dtype=dtype)], alpha=r.pick(None, 0.5, -1.5, 0.0), **attrs)
    if not attrs["transBatchA"] and not attrs["transBatchB"]:
        s.case("TransposeMatMul", [r.f(*a), r.f(*b)], alpha=r.pick(None, 0.125), transA=attrs["transA"], transB=attrs["transB"])
        x, w = r.f(*a), r.f(*b)
        y = s.case("FusedMatMul", [x, w], transA=attrs["transA"], transB=attrs["transB"], alpha=0.5)
        if y is not None:
            s.case("FusedMatMulActivation", [x, w], transA=attrs["transA"], transB=attrs["transB"], alpha=0.5, activation="LeakyRelu", activation_alpha=0.25,
                   expect=[np.where(y[0] < 0, y[0] * F32.type(0.25), y[0])])
    for shapes in (((k,), (k, n)), ((m, k), (k,)), ((k,), (k,))):
        s.case("FusedMatMul", [r.f(*shapes[0]), r.f(*shapes[1])], transA=int(len(shapes[0]) == 1), transB=int(len(shapes[1]) == 1))


# ---- norms ---------------------------------------------------------------------------------------------------------------------------------

@family
def layer_norms(s, r):
    dtype = r.pick(F32, F32, F64, F16)
    shape = r.shape(2, 4)
    axis = r.size(-1, len(shape) - 1) if r.yes() else -1
    tail = shape[axis:] if axis < 0 else shape[axis:]
    eps = r.pick(None, 1e-5, 1e-3, 0.1)
    for opset in (11, 21):
        s.case("LayerNormalization", [r.f(*shape, dtype=dtype), r.f(*tail, dtype=dtype)] + ([r.f(*tail, dtype=dtype)] if r.yes() else []), domain="", onnx_opset=opset,
               axis=axis, epsilon=eps, stash_type=1)
        s.case("SimplifiedLayerNormalization", [r.f(*shape, dtype=dtype), r.f(*tail, dtype=dtype)], domain="", onnx_opset=opset, axis=axis, epsilon=eps)
    b, w, d = r.size(1, 3), r.size(1, 5), r.size(1, 33)
    full = (b, w, d) if r.yes(0.8) else (w, d)
    skip = r.pick(full, (w, d), (1, w, d) if len(full) == 3 else full)
    x, k, g = r.f(*full, dtype=dtype, scale=3), r.f(*skip, dtype=dtype), r.f(d, dtype=dtype)
    beta, bias = r.f(d, dtype=dtype) if r.yes(0.7) else None, r.f(d, dtype=dtype) if r.yes() else None
    # f16: onnxruntime sums in f16 before it normalises
    loose = dict(rtol=2e-3, atol=4e-3) if dtype == F16 else dict(atol=1e-5, through=F32 if dtype == F64 else None)
    s.case("SkipLayerNormalization", [x, k, g] + ([beta, bias] if bias is not None else [beta] if beta is not None else []),
           r.pick(1, [True, False, False, True]), epsilon=eps, **loose)
    s.case("SkipSimplifiedLayerNormalization", [x, k, g] + ([bias] if bias is not None else []), r.pick(1, [True, False, False, True]), epsilon=eps, **loose)


@family
def embed_norms(s, r):
    b, w, d, vocab, places, kinds = r.size(1, 3), r.size(1, 6), r.size(5, 17), 11, 9, 3      # few values can be almost equal: then floats cancel
    ids, seg = r.i(0, vocab, b, w, dtype="i4"), r.i(0, kinds, b, w, dtype="i4") if r.yes(0.7) else None
    tables = [r.f(vocab, d), r.f(places, d), r.f(kinds, d) if seg is not None else None, r.f(d), r.f(d)]
    mask = r.i(0, 2, b, w, dtype="i4") if r.yes() else None
    pos = r.i(0, places, r.pick(1, b), w, dtype="i4") if r.yes(0.4) else None
    ins = [ids, seg] + tables + ([mask, pos] if pos is not None else [mask] if mask is not None else [])
    s.case("EmbedLayerNormalization", ins, r.pick([True, True], [True, True, True]), mask_index_type=1, epsilon=r.pick(1e-12, 1e-5, 0.1))
    signed = r.yes()
    zp = lambda: r.q(signed).reshape(())
    sc = lambda: np.asarray(abs(r.f()) * 0.02 + 0.001, F32)
    q = [ids, seg, r.q(signed, vocab, d), r.q(signed, places, d), r.q(signed, kinds, d) if seg is not None else None, r.q(signed, d), r.q(signed, d), mask]
    has = seg is not None
    q += [sc(), sc(), sc() if has else None, sc(), sc(), zp(), zp(), zp() if has else None, zp(), zp()]
    s.case("QEmbedLayerNormalization", q, 2, epsilon=r.pick(1e-12, 1e-5, 0.1), rtol=2e-5)


@family
def group_norms(s, r):
    """The CPU provider has none: the formula of the documentation."""
    groups, last, act = r.size(1, 3), r.size(0, 1), r.size(0, 1)
    n, c, h, w = r.size(1, 2), groups * r.size(1, 3), r.size(1, 4), r.size(1, 4)
    x, g, b = r.f(n, h, w, c), r.f(c), r.f(c)
    skip = r.f(*r.pick((n, h, w, c), (n, 1, 1, c), (n, c)))
    bias = r.f(c) if r.yes() else None
    first = lambda a: a if last or a.ndim == 2 else np.ascontiguousarray(np.moveaxis(a, -1, 1))

    def norm(v):
        v = v.astype(F64).reshape(n, h * w, groups, c // groups)
        v = ((v - v.mean((1, 3), keepdims=True)) / np.sqrt(v.var((1, 3), keepdims=True) + 1e-3)).reshape(n, h, w, c) * g + b
        return (v / (1 + np.exp(-v)) if act else v).astype(F32)
    s.case("GroupNorm", [first(x), g, b], channels_last=last, activation=act, groups=groups, epsilon=1e-3, expect=[first(norm(x))])
    total = x + (skip if skip.ndim == 4 else skip[:, None, None, :]) + (0 if bias is None else bias)
    s.case("SkipGroupNorm", [first(x), g, b, first(skip)] + ([bias] if bias is not None else []), 2, channels_last=last, activation=act, groups=groups, epsilon=1e-3,
           expect=[first(norm(total)), first(total)])


# ---- attentions ----------------------------------------------------------------------------------------------------------------------------

def padding(r, b, s, l, t, kinds):
    """A mask of one of the kinds, or None."""
    kind = r.pick(*kinds)
    keep = lambda m: np.concatenate([np.ones_like(m[..., :1]), m[..., 1:]], -1)     # -10000 + x in float has no digits left of x, were all masked
    ends = r.i(1, t + 1, b, dtype="i4")
    return {"none": None, "ends": ends, "range": np.concatenate([ends, np.minimum(ends - 1, r.i(0, t, b, dtype="i4"))]).astype("i4"), "keys": keep(r.i(0, 2, b, t, dtype="i4")),
            "queries": keep(r.i(0, 2, b, s, t, dtype="i4")), "dummy": np.ones((b, 1), "i4")}[kind]


def scores_bias(r, b, n, s, t):
    return r.f(r.pick(1, b), r.pick(1, n), s, t)


@family
def attention(s, r):
    b, w, n, h, d = r.size(1, 3), r.size(1, 6), r.size(1, 3), r.size(1, 9), r.size(1, 12)
    past = r.pick(None, None, 0, 1, 4)
    hv = h if past is not None or r.yes() else r.size(1, 7)
    weights, x = r.f(d, n * (2 * h + hv), scale=0.5), r.f(b, w, d)
    t = w + (past or 0)
    kv = r.f(2, b, n, past, h) if past is not None else None
    causal = r.size(0, 1)
    mask = padding(r, b, w, w, t, ["none", "ends", "keys", "queries", "dummy"] + ["range"] * (not causal))
    bias = scores_bias(r, b, n, w, t) if kv is None and r.yes(0.4) else None
    attrs = dict(num_heads=n, unidirectional=causal, scale=r.pick(None, 0.3), mask_filter_value=r.pick(None, None, -3.4028234663852886e38, -5.0),
                 qkv_hidden_sizes=[n * h, n * h, n * hv] if hv != h or r.yes(0.3) else None)
    ins = [x, weights, r.f(n * (2 * h + hv)), mask, kv, bias]
    dtype = r.pick(F32, F32, F16)
    if dtype == F16:
        ins = [a.astype(F16) if a is not None and a.dtype == F32 else a for a in ins]
    while ins[-1] is None:
        ins.pop()
    s.case("Attention", ins, 2 if hv == h else 1, atol=None if dtype == F32 else 2e-3, **attrs)
    # one buffer for past and present, which the CPU provider has not: the same numbers without
    m, p = w + 5, r.size(0, 5)
    buffer = r.f(2, b, n, m, h)
    ins = [x, r.f(d, 3 * n * h), r.f(3 * n * h), padding(r, b, w, w, w + p, ["none", "keys"])]
    want = s.case("Attention", ins + [np.ascontiguousarray(buffer[:, :, :, :p])], 2, num_heads=n, unidirectional=1)
    if want is not None:
        after = buffer.copy()
        after[:, :, :, :p + w] = want[1]
        s.case("Attention", ins + [buffer, None, np.asarray([p], "i4")], 2, num_heads=n, unidirectional=1, past_present_share_buffer=1, expect=[want[0], after])
    qx, qw, signed = r.q(False, b, w, d), r.q(True, d, 3 * n * h), r.yes()
    if not signed:
        qw = r.q(False, d, 3 * n * h)
    per_column = r.yes()
    wz = (np.zeros(3 * n * h, qw.dtype) if per_column else np.asarray(r.size(0, 3), qw.dtype)) if r.yes(0.7) else None
    ws = np.abs(r.f(3 * n * h)) * 0.01 + 0.001 if per_column else np.asarray(0.01, F32)
    past2 = r.f(2, b, n, past, h) if past is not None else None
    ins = [qx, qw, r.f(3 * n * h), np.asarray(0.02, F32), ws.astype(F32), padding(r, b, w, w, t, ["none", "ends", "keys"]), np.asarray(r.size(0, 255), "u1"), wz, past2]
    while ins[-1] is None:
        ins.pop()
    # without a constant weight onnxruntime reads zero points of int8 weights as uint8
    s.case("QAttention", ins, 2, num_heads=n, unidirectional=r.size(0, 1), rtol=2e-5, constant=(1, 4, 7))


@family
def multi_head(s, r):
    b, w, n, h = r.size(1, 3), r.size(1, 6), r.size(1, 3), r.size(1, 9)
    hv = h if r.yes(0.6) else r.size(1, 7)
    form = r.pick("self", "self", "cross", "cache")
    hv = h if form == "cache" else hv
    l = w if form == "self" else r.size(1, 7)
    past = r.pick(None, None, 1, 4) if form == "self" and hv == h else None
    t = l + (past or 0)
    q = r.f(b, w, n * h)
    k, v = (r.f(b, n, l, h), r.f(b, n, l, hv)) if form == "cache" else (r.f(b, l, n * h), r.f(b, l, n * hv))
    bias = r.f(n * (2 * h + hv)) if r.yes() and form != "cache" else None
    mask = padding(r, b, w, l, t, ["none", "ends", "keys", "queries"])
    ab = scores_bias(r, b, n, w, t) if r.yes(0.4) else None
    pk, pv = (r.f(b, n, past, h), r.f(b, n, past, hv)) if past is not None else (None, None)
    ins = [q, k, v, bias, mask, ab, pk, pv]
    while ins[-1] is None:
        ins.pop()
    outs = 3 if form != "cache" and (past is not None or r.yes(0.3)) else 1
    s.case("MultiHeadAttention", ins, outs, num_heads=n, scale=r.pick(None, 0.4), unidirectional=r.size(0, 1), mask_filter_value=r.pick(None, -3.4028234663852886e38))
    want = s.case("MultiHeadAttention", [q, k, v], 3, num_heads=n, scale=0.3) if form == "self" else None
    if want is not None:
        qk = 0.3 * np.einsum("bsnh,btnh->bnst", q.reshape(b, w, n, h), k.reshape(b, l, n, h))       # onnxruntime finds no type for this output
        s.case("MultiHeadAttention", [q, k, v], 4, num_heads=n, scale=0.3, expect=want + [qk.astype(F32)])
    # packed layouts, which the CPU provider refuses: the same numbers unpacked
    q3, bias3 = r.f(b, w, n, 3, h), r.f(3 * n * h)
    flat = [np.ascontiguousarray(q3[:, :, :, i]).reshape(b, w, n * h) for i in range(3)]
    want = s.case("MultiHeadAttention", flat + [bias3], num_heads=n)
    if want is not None:
        s.case("MultiHeadAttention", [q3, None, None, bias3], num_heads=n, expect=want)
    kv = r.f(b, l, n, 2, h)
    want = s.case("MultiHeadAttention", [q] + [np.ascontiguousarray(kv[:, :, :, i]).reshape(b, l, n * h) for i in range(2)], num_heads=n)
    if want is not None:
        s.case("MultiHeadAttention", [q, kv], num_heads=n, expect=want)


@family
def decoder_masked(s, r):
    beams, groups, n, h = r.size(1, 3), r.size(1, 2), r.size(1, 3), r.size(1, 8)
    b, m, p = beams * groups, 7, r.size(0, 6)
    q, k, v, pk, pv = r.f(b, 1, n * h), r.f(b, 1, n * h), r.f(b, 1, n * h), r.f(b, n, m, h), r.f(b, n, m, h)
    mask = padding(r, b, 1, 1, p + 1, ["none", "keys"])
    bias = r.f(3 * n * h) if r.yes() else None
    ab = scores_bias(r, b, n, 1, p + 1) if beams == 1 and r.yes(0.4) else None          # with beams onnxruntime takes the bias of another beam
    indir = r.i(0, beams, groups, beams, m, dtype="i4") if beams > 1 else None
    ins = [q, k, v, mask, ab, pk, pv, np.asarray([p], "i4"), np.asarray([beams], "i4") if beams > 1 else None, indir, bias]
    while ins[-1] is None:
        ins.pop()
    want = s.case("DecoderMaskedMultiHeadAttention", ins, 3, num_heads=n, past_present_share_buffer=1, scale=r.pick(None, 0.2))
    if want is not None and mask is None and bias is None and ab is None and beams == 1:
        want = s.case("DecoderMaskedMultiHeadAttention", ins, 3, num_heads=n, past_present_share_buffer=1, scale=0.2)
        qk = 0.2 * np.einsum("bnsh,bnth->bnst", q.reshape(b, n, 1, h), want[1][:, :, :p + 1])       # onnxruntime infers f16 for this output and refuses
        s.case("DecoderMaskedMultiHeadAttention", ins, 4, num_heads=n, past_present_share_buffer=1, output_qk=1, scale=0.2, expect=want + [qk.astype(F32)])
    l = r.size(1, 6)
    s.case("DecoderMaskedMultiHeadAttention", [q, r.f(b, n, l, h), r.f(b, n, l, h), padding(r, b, 1, l, l, ["none", "keys"])], num_heads=n)


@family
def rotary(s, r):
    b, w, n, h, m = r.size(1, 3), r.size(1, 5), r.size(1, 3), 2 * r.size(1, 8), 12
    part = 2 * r.size(1, h // 2) if r.yes(0.4) else 0
    four = r.yes()
    dtype = r.pick(F32, F16)
    half = (part or h) // 2
    angle = r.f(m, half)
    x = r.f(b, n, w, h, dtype=dtype) if four else r.f(b, w, n * h, dtype=dtype)
    ids = r.i(0, m, b, w) if r.yes() else np.asarray([r.size(0, m - w)], "i8")
    s.case("RotaryEmbedding", [x, ids, np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)], num_heads=n if part or r.yes() else None, rotary_embedding_dim=part or None,
           interleaved=r.size(0, 1), atol=2e-3 if dtype == F16 else None)


def rows_seen(y, counts):
    """Padding rows are unspecified: 0 here."""
    y = y.copy()
    for b, n in enumerate(counts):
        y[b, n:] = 0
    return y


def cache_kept(c, counts):
    c = c.copy()
    for b, n in enumerate(counts):
        c[b, :, n:] = 0
    return c


@family
def group_query(s, r):
    b, nk, h = r.size(1, 3), r.size(1, 2), r.pick(8, 16, 16, 32)
    n = nk * r.size(1, 3)
    step = r.pick("prompt", "decode", "decode", "chunk")
    b = 1 if step == "chunk" else b
    w = 1 if step == "decode" else r.size(2, 6)
    before = 0 if step == "prompt" else r.size(1, 6)
    total = w + before
    lens = r.i(1, total + 1, b) if step == "prompt" else r.i(w, total + 1, b)
    lens[r.size(0, b - 1)] = total
    if step == "chunk":
        lens[:] = total
    dtype = r.pick(F32, F32, F16)
    past = None
    if step != "prompt" or r.yes(0.3):
        room = before + r.pick(0, 0, 3) if step != "prompt" else total + 2
        past = [r.f(b, nk, room, h, dtype=dtype), r.f(b, nk, room, h, dtype=dtype)]
    packed = r.yes(0.3)
    qkv = [r.f(b, w, (n + 2 * nk) * h, dtype=dtype), None, None] if packed else [r.f(b, w, n * h, dtype=dtype), r.f(b, w, nk * h, dtype=dtype), r.f(b, w, nk * h, dtype=dtype)]
    rotary_on = h % 16 == 0 and r.yes()
    angle = r.f(total + 3, r.pick(h // 2, 8))
    trig = [np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)] if rotary_on else [None, None]
    ids = r.i(0, total + 3, b, w) if rotary_on and r.yes(0.3) else None
    bias = r.f(r.pick(1, b), r.pick(1, n), w, total, dtype=dtype) if r.yes(0.3) else None
    sink = r.f(n, dtype=dtype) if r.yes(0.3) else None
    ins = qkv + (past or [None, None]) + [(lens - 1).astype("i4"), np.asarray(total, "i4")] + trig + [ids, bias, sink]
    while ins[-1] is None:
        ins.pop()
    attrs = dict(num_heads=n, kv_num_heads=nk, scale=r.pick(None, 0.25), softcap=r.pick(None, None, 5.0), local_window_size=r.pick(None, None, 1, 2, 3),
                 do_rotary=int(rotary_on), rotary_interleaved=r.size(0, 1) if rotary_on else None, smooth_softmax=r.pick(None, None, 1) if sink is None else None)
    loose = dict(atol=1e-2) if dtype == F16 else {}           # f16 sums there
    model, feeds = s.model("GroupQueryAttention", ins, 3, {k: v for k, v in attrs.items() if v is not None})
    try:
        y = run(model, feeds)
    except Exception as e:
        s.skipped.append(("GroupQueryAttention", str(e).split("\n")[0][-160:]))
        return
    new = np.minimum(lens, w) if step == "prompt" else np.full(b, w)
    s.case("GroupQueryAttention", ins, 3, expect=[rows_seen(y[0], new), cache_kept(y[1], lens), cache_kept(y[2], lens)], **attrs, **loose)


@family
def group_query_more(s, r):
    """What the CPU provider has of the rest: scores as an output, no causal mask, norms of heads, quantised caches, windows as caches, padded chunks."""
    b, nk, h, w, before = r.size(1, 2), r.size(1, 2), 16, 1, r.size(1, 6)
    n, total = nk * r.size(1, 2), before + 1
    lens = r.i(1, total + 1, b)
    lens[0] = total

    def inputs(w, b=b):
        return [r.f(b, w, n * h), r.f(b, w, nk * h), r.f(b, w, nk * h)]
    past = [r.f(b, nk, before, h), r.f(b, nk, before, h)]
    tail = [(lens - 1).astype("i4"), np.asarray(total, "i4")]
    base = dict(num_heads=n, kv_num_heads=nk)
    for stage in (1, 2):
        s.case("GroupQueryAttention", inputs(w)[:3] + [None, None, np.full(b, w - 1, "i4"), np.asarray(w, "i4")], 4, qk_output=stage, **base)
        ins = inputs(w) + past + tail + r.pick([], [None, None, None, r.f(1, n, 1, total)], [None, None, None, None, r.f(n)])
        more = dict(base, softcap=r.pick(0.0, 2.0), local_window_size=r.pick(-1, 2))
        want = run(*s.model("GroupQueryAttention", ins, 4, dict(more, qk_output=stage)))
        s.case("GroupQueryAttention", ins, 4, qk_output=stage, expect=[want[0], cache_kept(want[1], lens), cache_kept(want[2], lens), want[3]], **more)
    p = r.size(2, 5)
    s.case("GroupQueryAttention", inputs(p) + [None, None, np.full(b, p - 1, "i4"), np.asarray(p, "i4")], 4, qk_output=r.size(1, 2), **base)
    s.case("GroupQueryAttention", inputs(p) + [None, None, np.full(b, p - 1, "i4"), np.asarray(p, "i4")], 3, causal=0, **base)
    # norms of heads, which the CPU provider refuses: of normalised heads without
    ins, gain, rest = inputs(p), [r.f(h), r.f(h)], [None, None, np.full(b, p - 1, "i4"), np.asarray(p, "i4")]

    def normal(x, heads, g):
        v = x.reshape(b, p, heads, h).astype(F64)
        return (v / np.sqrt((v * v).mean(-1, keepdims=True) + 0.1) * g).astype(F32).reshape(x.shape)
    want = run(*s.model("GroupQueryAttention", [normal(ins[0], n, gain[0]), normal(ins[1], nk, gain[1]), ins[2]] + rest, 3, base))
    s.case("GroupQueryAttention", ins + rest + [None] * 7 + gain, 3, qk_norm_epsilon=0.1, expect=want, **base)


@family
def group_query_quantised(s, r):
    b, nk, h, bits = r.size(1, 2), r.size(1, 2), 16, r.pick(8, 8, 4)
    n, before = nk * r.size(1, 2), r.size(1, 5)
    w = r.pick(1, 1, 3)
    b = 1 if w > 1 else b
    total = before + w
    stored = (lambda: r.i(-128, 128, b, nk, before, h, dtype="i1")) if bits == 8 else (lambda: r.i(0, 256, b, nk, before, h // 2, dtype="u1"))
    lens = np.full(b, total)
    kind = r.pick("PER_TENSOR", "PER_CHANNEL")
    scale = lambda: (np.abs(r.f(1, nk, 1, h)) * 0.01 + 0.01).astype(F32) * (1 if bits == 8 else 20) if kind == "PER_CHANNEL" else np.asarray([0.02 if bits == 8 else 0.4], F32)
    ins = [r.f(b, w, n * h), r.f(b, w, nk * h), r.f(b, w, nk * h), stored(), stored(), (lens - 1).astype("i4"), np.asarray(total, "i4"), None, None, None, None, None, scale(), scale()]
    s.case("GroupQueryAttention", ins, 3, num_heads=n, kv_num_heads=nk, k_quant_type=kind, v_quant_type=kind, kv_cache_bit_width=bits, rtol=1e-4, atol=1e-4)


@family
def group_query_windows(s, r):
    nk, h = r.size(1, 2), 16
    n = nk * r.size(1, 2)
    base = dict(num_heads=n, kv_num_heads=nk)
    # a window as the cache: C rows of the last L positions
    window = r.size(1, 4)
    room, before, w = window + r.size(0, 3), r.size(0, 12), r.pick(1, 1, 3)
    total = before + w
    past = [r.f(1, nk, room, h), r.f(1, nk, room, h)]
    ins = [r.f(1, w, n * h), r.f(1, w, nk * h), r.f(1, w, nk * h)] + past + [np.asarray([total - 1], "i4"), np.asarray(total, "i4")]
    try:
        want = run(*s.model("GroupQueryAttention", ins, 3, dict(base, local_window_size=window, sliding_window_cache=1)))
        step = room - window + 1
        left = total if total <= room else total - step * -(-(total - room) // step)
        s.case("GroupQueryAttention", ins, 3, local_window_size=window, sliding_window_cache=1, expect=[want[0], cache_kept(want[1], [left]), cache_kept(want[2], [left])], **base)
    except Exception as e:
        s.skipped.append(("GroupQueryAttention", str(e).split("\n")[0][-160:]))
    # right-padded chunks
    b, w, room = r.size(1, 3), r.size(1, 4), 12
    lens = r.i(1, room - w + 1, b)
    new = np.asarray([r.size(0, min(w, int(t))) for t in lens], "i4")
    past = [r.f(b, nk, room, h), r.f(b, nk, room, h)]
    ins = [r.f(b, w, n * h), r.f(b, w, nk * h), r.f(b, w, nk * h)] + past + [(lens - 1).astype("i4"), np.asarray(room, "i4")] + [None] * 9 + [new]
    try:
        want = run(*s.model("GroupQueryAttention", ins, 3, base))
        s.case("GroupQueryAttention", ins, 3, expect=[rows_seen(want[0], new), cache_kept(want[1], lens), cache_kept(want[2], lens)], **base)
    except Exception as e:
        s.skipped.append(("GroupQueryAttention", str(e).split("\n")[0][-160:]))


# ---- quantised -----------------------------------------------------------------------------------------------------------------------------

class Quantised:
    """Scales and zero points; every other time scales are powers of two, so that float arithmetic is exact and no step may differ."""
    def __init__(self, r):
        self.r, self.exact, self.signed = r, r.yes(), r.yes()
        self.loose = dict(rtol=0, atol=0 if self.exact else 1)

    def scale(self):
        return np.asarray(2.0 ** self.r.size(-7, -3) if self.exact else abs(self.r.f()) * 0.05 + 0.004, F32)

    def zero(self):
        return self.r.q(self.signed).reshape(())

    def x(self, *shape):
        return self.r.q(self.signed, *shape)


@family
def qlinear(s, r):
    q = Quantised(r)
    shape = r.shape()
    for op in ("QLinearAdd", "QLinearMul"):
        a, b = (shape, r.broadcast(shape)) if r.yes() else (r.broadcast(shape), shape)
        s.case(op, [q.x(*a), q.scale(), q.zero(), q.x(*b), q.scale(), q.zero(), q.scale(), q.zero()], **q.loose)
    one = lambda x: [x, q.scale(), q.zero(), q.scale(), q.zero()]
    s.case("QLinearLeakyRelu", one(q.x(*shape)), alpha=0.25 if q.exact else r.pick(None, 0.3), **q.loose)
    s.case("QLinearSigmoid", one(q.x(*shape)), rtol=0, atol=1)
    axis = r.size(-len(shape), len(shape) - 1)
    p = one(q.x(*shape))
    p[3] = np.asarray(1 / 256 if r.yes() else 0.01, F32)
    p[4] = np.asarray(-128 if q.signed else 0, p[0].dtype)
    opset = r.pick(11, 12, 13, 17)
    if q.signed:       # onnxruntime wraps 128 to -128
        p[3] = np.asarray(1 / 255, F32)
    s.case("QLinearSoftmax", p, axis=r.pick(None, axis) if len(shape) > 1 else axis, opset=opset, rtol=0, atol=1)
    parts = [shape[:1] + (r.size(1, 4),) + shape[2:] if len(shape) > 1 else (r.size(1, 4),) for _ in range(r.size(1, 3))]
    ins = [q.scale(), q.zero()]
    for d in parts:
        ins += [q.x(*d), q.scale(), q.zero()]
    s.case("QLinearConcat", ins, axis=1 if len(shape) > 1 else 0, **q.loose)
    c, a, b = r.i(0, 2, *r.broadcast(shape), dtype="bool"), q.x(*shape), q.x(*r.broadcast(shape))
    s.case("QLinearWhere", [c, a, q.scale(), q.zero(), b, q.scale(), q.zero(), q.scale(), q.zero()], constant=(2, 3, 5, 6, 7, 8), **q.loose)
    x, xs, xz, ys, yz = one(q.x(*shape))
    keep, axes = r.size(0, 1), [axis]
    y = np.rint(((x.astype(F64) - xz) * xs).mean(axis, keepdims=bool(keep)) / ys) + yz
    lo, hi = (-128, 127) if q.signed else (0, 255)
    s.case("QLinearReduceMean", [x, xs, xz, ys, yz], axes=axes, keepdims=keep, rtol=0, atol=1, expect=[np.asarray(np.clip(y, lo, hi)).astype(x.dtype)])
    s.case("ReduceSumInteger", [x], axes=axes, keepdims=keep, expect=[np.asarray(x.astype("i8").sum(axis, keepdims=bool(keep))).astype("i4" if q.signed else "u4")])


@family
def qlinear_pools(s, r):
    q = Quantised(r)
    nd, last = r.pick(1, 2, 2, 3), r.size(0, 1)
    n, c, d = r.size(1, 2), r.size(1, 5), [r.size(3, 7) for _ in range(nd)]
    shape = (n, *d, c) if last else (n, c, *d)
    one = [q.x(*shape), q.scale(), q.zero(), q.scale(), q.zero()]
    k = [r.size(1, 3) for _ in range(nd)]
    s.case("QLinearAveragePool", one, kernel_shape=k, strides=[r.size(1, 2) for _ in range(nd)], pads=[r.size(0, i - 1) for i in k] * 2, channels_last=last,
           count_include_pad=r.size(0, 1), rtol=0, atol=1)
    s.case("QLinearGlobalAveragePool", one, channels_last=last, rtol=0, atol=1)
    group = r.pick(1, 2)
    cin, cout = group * r.size(1, 3), group * r.size(1, 3)
    shape = (n, *d, cin) if last else (n, cin, *d)
    each = r.yes()
    wq = r.q(q.signed or r.yes(), cout, cin // group, *k)
    ws = np.asarray([q.scale() for _ in range(cout)], F32) if each else q.scale()
    wz = np.zeros(cout, wq.dtype) if each else r.i(0, 9, dtype=wq.dtype).reshape(())
    s.case("QLinearConv", [q.x(*shape), q.scale(), q.zero(), wq, ws, wz, np.asarray(q.scale() * 64, F32), q.zero()] + ([r.i(-999, 999, cout, dtype="i4")] if r.yes() else []),
           group=group, kernel_shape=k, pads=[r.size(0, 1) for _ in range(2 * nd)], strides=[r.size(1, 2) for _ in range(nd)], channels_last=last, constant=(3, 4, 5), **q.loose)


@family
def quantised_products(s, r):
    batch = r.pick((), (), (2,), (2, 3))
    m, k, n = r.size(1, 6), r.size(1, 20), r.size(1, 9)
    a_signed, b_signed = r.yes(), r.yes()
    b_signed = b_signed or a_signed                     # onnxruntime has no i8 times u8
    a, b = r.q(a_signed, *batch, m, k), r.q(b_signed, k, n)
    per = r.yes()
    bs = (np.abs(r.f(n)) * 0.02 + 0.001).astype(F32) if per else np.asarray(0.013, F32)
    bz = (r.q(b_signed, n) if per else r.q(b_signed).reshape(())) if r.yes(0.7) else None
    az, bias = r.q(a_signed).reshape(()) if r.yes(0.7) else None, r.f(n) if r.yes() else None
    ins = [a, b, np.asarray(0.02, F32), bs, az, bz, bias]
    while ins[-1] is None:
        ins.pop()
    s.case("MatMulIntegerToFloat", ins, constant=(1, 5))
    ins = [r.f(*batch, m, k), b, bs, bz, bias]
    while ins[-1] is None:
        ins.pop()
    s.case("DynamicQuantizeMatMul", ins, constant=(1, 3))
    s.case("MatMulInteger16", [r.i(-500, 500, *batch, m, k, dtype="i2"), r.i(-500, 500, *batch, k, n, dtype="i2")])
    ta, tb = r.size(0, 1), r.size(0, 1)
    a2, b2 = r.q(a_signed, *((k, m) if ta else (m, k))), r.q(b_signed, *((n, k) if tb else (k, n)))
    c = r.i(-3000, 3000, *r.pick((n,), (1, n), (m, n), (m, 1), (1, 1)), dtype="i4") if r.yes(0.7) else None
    ins = [a2, np.asarray(0.02, F32), r.q(a_signed).reshape(()), b2, bs, r.q(b_signed, n) if per else r.q(b_signed).reshape(()), c]
    if r.yes():
        ins += [np.asarray(0.5, F32), r.q(a_signed).reshape(())]
    while ins[-1] is None:
        ins.pop()
    s.case("QGemm", ins, transA=ta, transB=tb, alpha=r.pick(None, 0.5), rtol=1e-5 if len(ins) < 8 else 0, atol=None if len(ins) < 8 else 0, constant=(3, 4, 5))


@family
def quantised_lstm(s, r):
    way = r.pick("forward", "reverse", "bidirectional")
    d, t, b, i, h = 2 if way == "bidirectional" else 1, r.size(1, 5), r.size(1, 3), r.size(1, 6), r.size(1, 5)
    signed, per = r.yes(), r.yes()

    def weight(k):
        w = r.q(signed, d, k, 4 * h)
        shape = (d, 4 * h) if per else (d,)
        z = np.zeros(shape, w.dtype) if per else r.i(0, 9, *shape, dtype=w.dtype)
        return w, (np.abs(r.f(*shape)) * 0.005 + 0.002).astype(F32), z
    w, ws, wz = weight(i)
    q, rs, rz = weight(h)
    ins = [r.f(t, b, i), w, q, r.f(d, 8 * h) if r.yes() else None, r.i(1, t + 1, b, dtype="i4") if r.yes(0.4) else None, r.f(d, b, h) if r.yes() else None, r.f(d, b, h) if r.yes() else None,
           r.f(d, 3 * h, scale=0.3) if r.yes(0.4) else None, ws, wz, rs, rz]
    # sigmoid and tanh are approximations there: a state may fall into the next of 256 steps
    s.case("DynamicQuantizeLSTM", ins, 3, direction=way, hidden_size=h, input_forget=int(r.yes(0.2)), constant=(1, 2), rtol=0, atol=4e-3)


def packed(values, bits):
    """The last axis packed from the low end."""
    per = 8 // bits
    v = np.concatenate([values, np.zeros(values.shape[:-1] + (-values.shape[-1] % per,), values.dtype)], -1).astype("u1")
    v = v.reshape(v.shape[:-1] + (-1, per))
    return np.bitwise_or.reduce(v << (np.arange(per) * bits).astype("u1"), axis=-1).astype("u1")


@family
def few_bits(s, r):
    bits, block = r.pick(2, 4, 4, 8), r.pick(16, 32, 64)
    n, k = r.size(1, 9), r.size(1, 100)
    blocks = -(-k // block)
    dtype = r.pick(F32, F32, F16)
    b = packed(r.i(0, 1 << bits, n, blocks, block), bits)
    scale = ((np.abs(r.f(n, blocks)) * 0.1 + 0.01) * 16 / (1 << bits)).astype(dtype)
    zero = r.pick(None, packed(r.i(0, 1 << bits, n, blocks), bits), (r.f(n, blocks) + (1 << (bits - 1))).astype(dtype))
    if bits == 8 and zero is not None and zero.dtype != "u1":
        zero = None
    group = r.i(0, blocks, k, dtype="i4") if bits == 4 and zero is None and r.yes(0.4) else None        # with g_idx zero points are not read there
    bias = r.f(n, dtype=dtype) if r.yes(0.4) else None
    ins = [r.f(*r.pick((3,), (2, 2), ()), r.size(1, 4), k, dtype=dtype), b, scale, zero, group, bias]
    while ins[-1] is None:
        ins.pop()
    # f16 is computed in f16 there; 8 bits at level 4 would quantise A too
    s.case("MatMulNBits", ins, K=k, N=n, bits=bits, block_size=block, accuracy_level=r.pick(None, 0, 1), constant=(1, 2, 3) if r.yes() else (),
           rtol=1e-2 if dtype == F16 else 1e-5, atol=None if dtype == F32 else 0.1)
    y = s.case("MatMulNBits", ins[:2] + [scale], K=k, N=n, bits=bits, block_size=block, accuracy_level=4, constant=(1, 2), rtol=0.05, atol=0.5)
    if bits == 4:
        q, zs, g = r.i(0, 16, n, blocks, block), r.i(0, 16, n, blocks), r.i(0, blocks, k)
        w, x = (q.reshape(n, -1)[:, :k] - zs[:, g]) * scale[:, g].astype(F64), r.f(3, k)
        s.case("MatMulNBits", [x, packed(q, 4), scale.astype(F32), packed(zs, 4), g.astype("i4")], K=k, N=n, block_size=block, expect=[(x @ w.T).astype(F32)])
        kind, w = r.size(0, 1), r.i(0, 256, (n * k + 1) // 2, dtype="u1")
        absmax = np.abs(r.f(-(-n * k // block))) + F32.type(0.1)
        s.case("MatMulBnb4", [r.f(2, k), w, absmax], K=k, N=n, block_size=block, quant_type=kind, transB=r.pick(None, 1), constant=(1, 2))
        try:
            y = run(*s.model("MatMulBnb4", [np.eye(k, dtype=F32), w, absmax], 1, dict(K=k, N=n, block_size=block, quant_type=kind), constant=(1, 2)))[0]
            x = r.f(3, n)
            s.case("MatMulBnb4", [x, w, absmax], K=k, N=n, block_size=block, quant_type=kind, transB=0, expect=[x @ y.T])
        except Exception as e:
            s.skipped.append(("MatMulBnb4", str(e)[-160:]))


@family
def gathered_blocks(s, r):
    kind = r.pick("u4", "i4", "u8", "u8")
    rank = r.size(2, 3)
    shape = [r.size(1, 5) for _ in range(rank)]
    gather = 0 if kind == "u8" else r.size(0, rank - 1)
    quant = rank - 1 if kind == "u8" else r.size(0, rank - 1)
    shape[quant] = r.pick(8, 16, 24, 40)
    dtype = r.pick(F32, F32, F16)
    blocks = list(shape)
    blocks[quant] = -(-shape[quant] // 16)
    bits = r.pick(2, 4, 8) if kind == "u8" else 4
    scale = (np.abs(r.f(*blocks)) + 0.1).astype(dtype)
    index = r.i(-shape[gather], shape[gather], *r.shape(0, 2, 4), dtype=r.pick("i4", "i8"))
    if r.yes(0.3) and index.size:
        index.reshape(-1)[0] = shape[gather] + 3                        # outside: zeros
    if kind == "u8":
        data = packed(r.i(0, 1 << bits, *shape), bits)
        zero = packed(r.i(0, 1 << bits, *blocks), bits) if r.yes() else None
    else:
        lo, hi = (0, 16) if kind == "u4" else (-8, 8)
        data = Packed(r.i(lo, hi, *shape), kind)
        zero = Packed(r.i(lo, hi, *blocks), kind) if r.yes() else None
    s.case("GatherBlockQuantized", [data, index, scale] + ([zero] if zero is not None else []), gather_axis=gather, quantize_axis=quant, block_size=16,
           bits=bits if kind == "u8" else None)
    kind, block = r.pick("f8e4m3", "f8e4m3uz", "f8e5m2", "f4e2m1"), r.pick(0, 16)
    scale = np.abs(r.f(r.pick(1, 5), 1 if block == 0 else 3)) + F32.type(0.1)
    s.case("GatherBlockQuantized", [Packed(r.f(5, 40), kind), r.i(-5, 5, 3), scale], block_size=block, gather_axis=0, quantize_axis=1)


# ---- forms of their own --------------------------------------------------------------------------------------------------------------------

@family
def quantize(s, r):
    shape = r.shape(1, 4)
    axis = r.size(-len(shape), len(shape) - 1)
    kind = r.pick("i1", "u1", "i2", "u2")
    each = r.yes()
    n = (shape[axis],) if each else ()
    lo, hi = np.iinfo(kind).min, np.iinfo(kind).max
    scale, zero = np.asarray(np.abs(r.f(*n)) * 0.1 + 0.01, F32), r.i(lo, hi, *n, dtype=kind)
    attrs = dict(axis=axis) if each else {}
    s.case("QuantizeLinear", [r.f(*shape, scale=5), scale] + ([zero] if kind != "u1" or r.yes() else []), rtol=0, atol=0, **attrs)
    s.case("DequantizeLinear", [r.i(lo, hi, *shape, dtype=kind), scale] + ([zero] if r.yes() else []), **attrs)
    four = Packed(r.i(-8, 8, *shape), "i4")
    s.case("DequantizeLinear", [four, scale, Packed(r.i(-8, 8, *n), "i4")], **attrs)


@family
def own_forms(s, r):
    x = r.f(*r.shape(2, 4))
    s.case("Trilu", [x] + ([np.asarray(r.size(-7, 7), "i8")] if r.yes() else []), upper=r.pick(None, 0, 1))
    for t in ("f4", "f8", "i2", "i4", "i8"):
        one = r.pick((), (1,))
        lo, step = r.size(-5, 5), r.pick(1, 2, 3, -1, -2)
        s.case("Range", [np.full(one, lo, t), np.full(one, lo + step * r.size(-1, 6), t)] + ([np.full(one, step, t)] if step != 1 or r.yes() else []))
    s.case("ExpandDims", [x, np.asarray(r.size(-x.ndim - 1, x.ndim), "i4")])
    s.case("Unique", [r.i(0, 5, r.size(1, 12)).astype(F32)], 3)
    pads = np.concatenate([r.i(0, min(d, 3), 1) for d in x.shape] * 2)
    mode = r.pick("constant", "reflect", "edge")
    s.case("Pad", [x, pads if r.yes() else pads[None]] + ([r.f(*r.pick((), (1,)))] if mode == "constant" and r.yes() else []), mode=mode)
    if mode == "constant":
        s.case("Pad", [r.f(4, 5), np.asarray([-1, 2, 0, -3], "i8")], mode=mode)
    img = r.f(r.size(1, 2), r.size(1, 3), r.size(2, 6), r.size(2, 6))
    s.case("GridSample", [img, r.f(img.shape[0], r.size(1, 4), r.size(1, 4), 2)], mode=r.pick(None, "bilinear", "nearest", "bicubic"), align_corners=r.size(0, 1),
           padding_mode=r.pick(None, "zeros", "border", "reflection"), rtol=1e-4, atol=1e-5)
    q = r.q(r.yes(), 2, r.size(3, 6), r.size(3, 6), r.size(1, 4))
    k = [r.size(1, 3), r.size(1, 3)]
    s.case("NhwcMaxPool", [q], kernel_shape=k, strides=[r.size(1, 2)] * 2, pads=[r.size(0, i - 1) for i in k] * 2, dilations=r.pick(None, [1, 1]))
    data = r.f(3, 4, 5)
    s.case("GatherND", [data, np.stack([r.i(0, 3, 2, 2), r.i(0, 4, 2, 2)], -1).astype(r.pick("i4", "i8"))])
    n = r.size(1, 6)
    a = r.f(*r.pick((), (2,), (2, 3)), n, n) + 3 * np.eye(n, dtype=F32)
    s.case("Inverse", [a], rtol=1e-4, atol=1e-5)
    s.case("Inverse", [a.astype(F64)])
    group = r.pick(1, 2)
    cin, cout = group * r.size(1, 3), r.size(1, 3)
    k = [r.size(2, 4), r.size(2, 4)]
    pads = np.asarray([r.size(0, i - 1) for i in k] * 2, "i8")
    s.case("ConvTransposeWithDynamicPads", [r.f(2, cin, r.size(2, 5), r.size(2, 5)), r.f(cin, cout, *k), pads] + ([r.f(cout * group)] if r.yes() else []), group=group,
           strides=[2, 2] if r.yes() else [1, 1], kernel_shape=k, output_padding=[1, 0] if r.yes(0) else None)
    boxes = np.sort(r.r.uniform(-0.3, 1.3, (3, 2, 2)), 1).reshape(3, 4).astype(F32)
    s.case("CropAndResize", [img, boxes, r.i(0, img.shape[0], 3, dtype="i4"), np.asarray([r.size(1, 5), r.size(1, 5)], "i4")], mode=r.pick(None, "bilinear", "nearest"),
           extrapolation_value=r.pick(None, -1.5), rtol=1e-4, atol=1e-5)


# ---- schemas -------------------------------------------------------------------------------------------------------------------------------

def schemas(ferry):
    """Arity, attributes (name, type, required, default) and dtypes of each operator as onnxruntime has them: what it writes must be known."""
    import onnxruntime.capi.onnxruntime_pybind11_state as state
    from test_schema import SHORT, table
    faults = []
    ours = {o["name"]: o for o in json.loads(subprocess.run([ferry, "ops", "--json"], capture_output=True, text=True, check=True).stdout)["onnx"]
            if o["domain"] == "com.microsoft"}
    for theirs in state.get_all_operator_schema():
        if theirs.domain != "com.microsoft" or theirs.name not in ours:
            continue
        o = ours.pop(theirs.name)
        most = theirs.max_input if theirs.max_input < 2**31 - 1 else -1
        if (o["max_inputs"], o["min_outputs"], o["max_outputs"]) != (most, theirs.min_output, theirs.max_output):
            faults.append(f"{theirs.name}: arity differs")
        have = {a["name"]: a for a in o["attributes"]}
        for name, a in theirs.attributes.items():
            h = have.pop(name, None)
            if h is None:
                faults.append(f"{theirs.name}: lacks {name}")
                continue
            if h["type"] != str(a.type).split(".")[-1].lower() or h["required"] != a.required:
                faults.append(f"{theirs.name}: {name} has another type, or is required on one side")
            default = onnx.AttributeProto.FromString(a._default_value) if a._default_value else None
            if default is not None and default.type in (1, 2, 3):
                v = helper.get_attribute_value(default)
                same = h["default"] == v.decode() if default.type == 3 else h["default"] is not None and abs(float(h["default"]) - v) <= 1e-6 * abs(v)
                if not same:
                    faults.append(f"{theirs.name}: {name} defaults to {h['default']} instead of {v}")
        faults += [f"{theirs.name}: {name} is not theirs" for name in have]
        ins, outs = table(o["types"])
        allowed = {c.type_param_str: {SHORT[t[7:-1]] for t in c.allowed_type_strs if t[7:-1] in SHORT} for c in theirs.type_constraints}
        for formal, of in ((theirs.inputs, ins), (theirs.outputs, outs)):
            for i, f in enumerate(formal):
                want = allowed.get(f.typeStr) or {SHORT[f.typeStr[7:-1]]}
                if want - of(i) and theirs.name != "GridSample":        # whose schema allows grids of strings
                    faults.append(f"{theirs.name}: {f.name} may be {sorted(want - of(i))}")
    return faults + [f"{name}: onnxruntime has no such operator" for name in ours]


# ---- the command ---------------------------------------------------------------------------------------------------------------------------

def main():
    p = argparse.ArgumentParser()
    p.add_argument("ferry")
    p.add_argument("-k", default="")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--keep")
    a = p.parse_args()
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    faults = schemas(a.ferry)
    for line in faults:
        print("schema:", line)
    with tempfile.TemporaryDirectory() as scratch:
        folder = a.keep or scratch
        os.makedirs(folder, exist_ok=True)
        s = Suite(folder, a.k, a.seed, a.rounds)
        for k, f in enumerate(FAMILIES):
            if a.k and a.k not in f.__name__:
                continue
            for i in range(a.rounds):
                f(s, Random(1000003 * a.seed + 1009 * k + i))
        done = subprocess.run([a.ferry, "selftest", "onnx", folder], capture_output=True, text=True)
        bad = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
        print("\n".join(bad[:40]))
        print(done.stdout.splitlines()[-1] if done.stdout else done.stderr)
        reasons = {}
        for op, why in s.skipped:
            reasons.setdefault((op, why), 0)
            reasons[op, why] += 1
        for (op, why), n in sorted(reasons.items()):
            print(f"onnxruntime refused {n} of {op}: {why}")
        return 1 if done.returncode or faults or len(s.skipped) * 10 > s.n else 0


if __name__ == "__main__":
    sys.exit(main())
