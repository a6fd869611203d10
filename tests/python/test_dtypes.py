# SPDX-License-Identifier: Apache-2.0
"""Every element type that the schemas allow: official node cases run with their inputs in each other type of each type variable.

    python tests/python/test_dtypes.py build/ferry build/conformance/node [PATTERN]

For each operator the smallest cases are taken as templates; the values of one type variable are converted (integers: scaled, clipped), the
others stay. Expected: onnx's reference evaluator, for narrow floats in float64 and rounded once; onnxruntime where the reference cannot; where neither
can, the case must still run (JUST RUN). Run by `ferry selftest onnx`. Needs onnx, numpy, ml_dtypes; onnxruntime if there.
"""
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

import ml_dtypes
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

warnings.filterwarnings("ignore")
TEMPLATES = 2
# Random numbers, control flow, other values than tensors, text and pictures.
SKIP = {"Optional", "OptionalHasElement", "OptionalGetElement", "Bernoulli", "Multinomial", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "If", "Loop", "Scan", "SequenceMap", "BitCast", "ImageDecoder",
        "TfIdfVectorizer", "RegexFullMatch"}
# The schemas allow every type here; arithmetic on these has no meaning, and is refused.
IMPOSSIBLE = re.compile(r"TYPE: (strings can|reduction \w+ is not defined for (str|c64|c128)\b)")
# The oracles differ here for reasons of their own: casts out of range, interpolation in integers, zero points of float8 read as integers.
JUST_RUN = {("CastLike", None), ("GridSample", "T1"), ("QLinearMatMul", None)}
# A type variable of an output that is bound by an input's where no input has it.
FOLLOWS = {("DequantizeLinear", "T2"): "T3", ("EyeLike", "T1"): "T2", ("LinearAttention", "T"): "S"}
STEP = {T.FLOAT16: 2e-3, T.BFLOAT16: 1.6e-2, T.FLOAT8E4M3FN: 0.13, T.FLOAT8E4M3FNUZ: 0.13, T.FLOAT8E5M2: 0.26, T.FLOAT8E5M2FNUZ: 0.26, T.FLOAT4E2M1: 0.5, T.FLOAT8E8M0: 1}


def elem(type_str):
    m = re.fullmatch(r"tensor\((\w+)\)", type_str)
    name = {"float": "FLOAT", "double": "DOUBLE"}.get(m.group(1), m.group(1).upper()) if m else None
    return T.DataType.Value(name) if name else None


def is_int(t):
    return t in (T.INT8, T.INT16, T.INT32, T.INT64, T.UINT8, T.UINT16, T.UINT32, T.UINT64, T.INT4, T.UINT4, T.INT2, T.UINT2)


def convert(a, t):
    """The values of a in element type t, in its range."""
    d = h.tensor_dtype_to_np_dtype(t)
    if t == T.STRING:
        return np.array([str(v) for v in a.flat], object).reshape(a.shape)
    if a.dtype == object or a.dtype.kind in "UT":
        a = np.array([len(str(v)) for v in a.flat]).reshape(a.shape)
    if t == T.BOOL:
        return a.astype(np.float64) > 0
    if is_int(t):
        v = a.astype(np.float64) if a.dtype.kind not in "iub" else a.astype(np.int64)
        if a.dtype.kind not in "iub":
            v = np.rint(np.nan_to_num(v) * 3)
        i = ml_dtypes.iinfo(d) if t in (T.INT4, T.UINT4, T.INT2, T.UINT2) else np.iinfo(d)
        if i.min == 0:
            v = np.abs(v)
        return np.clip(v, max(i.min, -2 ** 40), min(i.max, 2 ** 40)).astype(d)
    if t == T.FLOAT8E8M0:
        return np.abs(a.astype(np.float32)).astype(d)
    return a.astype(np.float64).astype(d) if a.dtype.kind != "c" or d.kind != "c" else a.astype(d)


def load(path):
    t = onnx.TensorProto()
    with open(path, "rb") as f:
        t.ParseFromString(f.read())
    return nh.to_array(t)


def retype(model, changes, outs):
    """The model with graph inputs and outputs of other element types."""
    m = onnx.ModelProto()
    m.CopyFrom(model)
    for v in list(m.graph.input) + list(m.graph.output):
        t = changes.get(v.name) or outs.get(v.name)
        if t:
            v.type.tensor_type.elem_type = t
    for v in m.graph.output:
        v.type.tensor_type.ClearField("shape")                                 # contents may be other sizes now
    del m.opset_import[:]
    m.opset_import.append(h.make_opsetid("", OPSET[m.graph.node[0].op_type]))
    return m


OPSET = {}


def in_reference(model, feeds):
    wide = {k: v.astype(np.float64) if v.dtype in (np.float16, ml_dtypes.bfloat16) or v.dtype.name.startswith("float8") or v.dtype.name.startswith("float4") else v for k, v in feeds.items()}
    return ReferenceEvaluator(model).run(None, wide)


def in_runtime(model, feeds):
    if not ort:
        raise ValueError
    if any(v.dtype.name in ("bfloat16", "int4", "uint4", "int2", "uint2") or v.dtype.name.startswith("float8") for v in feeds.values()):
        raise ValueError
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)


folder, made, oracle = tempfile.mkdtemp(), 0, {}


def write(where, model, inputs, outputs, tol):
    os.makedirs(where + "/test_data_set_0")
    onnx.save(model, where + "/model.onnx")
    with open(where + "/tolerance", "w") as f:
        f.write("%g %g\n" % tol)
    for what, values in (("input", inputs), ("output", outputs)):
        for i, (k, a) in enumerate(values):
            if a is not None:
                with open("%s/test_data_set_0/%s_%d.pb" % (where, what, i), "wb") as f:
                    f.write(nh.from_array(np.asarray(a), k).SerializeToString())


def cases_of(path, schema):
    global made
    model = onnx.load(path + "/model.onnx")
    node = model.graph.node[0]
    kinds = {v.name: v.type.WhichOneof("value") for v in list(model.graph.input) + list(model.graph.output)}
    if any(k != "tensor_type" for k in kinds.values()):
        return
    formal = lambda group, i: group[min(i, len(group) - 1)].type_str
    var_in = {name: formal(schema.inputs, i) for i, name in enumerate(node.input) if name}
    var_out = {name: formal(schema.outputs, i) for i, name in enumerate(node.output) if name}
    data = {v.name: load("%s/test_data_set_0/input_%d.pb" % (path, i)) for i, v in enumerate(model.graph.input)}
    given = {a.name for a in node.attribute}
    for c in schema.type_constraints:
        ports = [k for k, v in var_in.items() if v == c.type_param_str]
        now = {v.type.tensor_type.elem_type for v in model.graph.input if v.name in ports}
        if not ports or len(now) != 1 or given & {"dtype", "to", "output_dtype"}:
            continue
        for type_str in c.allowed_type_strs:
            t = elem(type_str)
            if t is None or t in now:
                continue
            feeds = dict(data)
            try:
                for k in ports:
                    feeds[k] = convert(data[k], t)
            except (ValueError, TypeError):
                continue
            changes = {k: t for k in ports}
            other = FOLLOWS.get((node.op_type, c.type_param_str))
            outs = {k: T.FLOAT if t == T.FLOAT8E8M0 and v == other else t for k, v in var_out.items() if v == c.type_param_str or (v == other and other not in var_in.values())}
            m = retype(model, changes, outs)
            want, by = None, "nobody"
            blind = {(node.op_type, None), (node.op_type, c.type_param_str)} & JUST_RUN
            for name, run in () if blind else (("reference", in_reference), ("onnxruntime", in_runtime)):
                try:
                    want, by = run(m, feeds), name
                    break
                except Exception:
                    continue
            types = [v.type.tensor_type.elem_type for v in m.graph.output]
            if want is not None:
                try:
                    want = [np.asarray(w) if h.np_dtype_to_tensor_dtype(np.asarray(w).dtype) == k or k == T.STRING else np.asarray(w).astype(h.tensor_dtype_to_np_dtype(k))
                            for w, k in zip(want, types)]
                    for w in want:
                        nh.from_array(w, "")
                except (ValueError, TypeError, KeyError, NotImplementedError):
                    want, by = None, "nobody"
            if want is None:
                want = [np.zeros([1], h.tensor_dtype_to_np_dtype(k)) if k != T.STRING else np.array([""], object) for k in types]
            name = "%04d_%s_%s" % (made, node.op_type, type_str[7:-1])
            made += 1
            rtol = max(STEP.get(k, 1e-5) for k in types)
            write(os.path.join(folder, name), m, [(v.name, feeds[v.name]) for v in m.graph.input], zip([v.name for v in m.graph.output], want), (rtol, max(rtol / 10, 1e-6)))
            oracle[name] = by


def main():
    ferry, cases, pattern = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
    by_op = collections.defaultdict(list)
    for name in sorted(os.listdir(cases)):
        path = os.path.join(cases, name)
        if not os.path.exists(path + "/model.onnx") or "_expanded" in name or os.path.exists(path + "/test_data_set_1"):
            continue
        model = onnx.load(path + "/model.onnx")
        if len(model.graph.node) != 1 or model.graph.node[0].domain or model.graph.initializer:
            continue
        op = model.graph.node[0].op_type
        version = max((o.version for o in model.opset_import if not o.domain), default=0)
        if op in SKIP or not re.search(pattern, op) or not onnx.defs.has(op):
            continue
        try:
            newest, own = onnx.defs.get_schema(op), onnx.defs.get_schema(op, version)
        except onnx.defs.SchemaError:
            continue
        if newest.deprecated or {a for a in own.attributes} != {a for a in newest.attributes} or len(own.inputs) != len(newest.inputs):
            continue
        size = sum(os.path.getsize(os.path.join(path, "test_data_set_0", f)) for f in os.listdir(path + "/test_data_set_0"))
        by_op[op].append((size, name, path))
    for op, found in by_op.items():
        schema = onnx.defs.get_schema(op)
        OPSET[op] = max(schema.since_version, 22)
        for _, _, path in sorted(found)[:TEMPLATES]:
            cases_of(path, schema)
    r = subprocess.run([ferry, "selftest", "onnx", folder, "--json"], capture_output=True, text=True)
    if r.returncode not in (0, 1):
        sys.exit(r.stdout + r.stderr)
    bad, just_ran, refused, without = 0, 0, 0, set()
    for c in json.loads(r.stdout)["cases"]:
        if c["verdict"] == "passed":
            continue
        why, by = c["why"], oracle[c["name"]]
        ran = " instead of " in why
        if by == "nobody" and ran:
            just_ran += 1
            continue
        if IMPOSSIBLE.match(why):
            refused += 1
            continue
        if "no kernel for operator" in why:
            without.add(why.split("operator ")[1].split()[0])
            continue
        bad += 1
        print("FAIL %s (%s): %s" % (c["name"], by, why[:220]))
    tally = collections.Counter(oracle.values())
    print("%d cases of %d operators: %d against the reference, %d against onnxruntime, %d of the others just ran, %d have no meaning; %d failed"
          % (made, len(by_op), tally["reference"], tally["onnxruntime"], just_ran, refused, bad))
    if without:
        print("no kernel: " + " ".join(sorted(without)))
    shutil.rmtree(folder)
    sys.exit(bad != 0)


main()
