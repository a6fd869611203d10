#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""special_values.py [--check] CASES DOC: docs/special-values.md from tests/ops/special.cases, beside what onnxruntime and onnx's reference
(numpy) give. Needs the packages of tests/requirements.txt. --check: is DOC current? onnxruntime's column is not compared (it depends on the CPU)."""
import multiprocessing
import re
import sys
import warnings

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

NAMES = {TensorProto.FLOAT: "f32", TensorProto.DOUBLE: "f64", TensorProto.FLOAT16: "f16", TensorProto.BFLOAT16: "bf16", TensorProto.INT8: "i8", TensorProto.INT16: "i16",
         TensorProto.INT32: "i32", TensorProto.INT64: "i64", TensorProto.UINT8: "u8", TensorProto.UINT16: "u16", TensorProto.UINT32: "u32", TensorProto.UINT64: "u64",
         TensorProto.BOOL: "bool", TensorProto.STRING: "str", TensorProto.FLOAT8E4M3FN: "f8e4m3", TensorProto.FLOAT8E4M3FNUZ: "f8e4m3uz", TensorProto.FLOAT8E5M2: "f8e5m2",
         TensorProto.FLOAT8E5M2FNUZ: "f8e5m2uz", TensorProto.INT4: "i4", TensorProto.UINT4: "u4"}


def number(v):
    """As ferry prints: %.6g, -0 and nan told apart."""
    if isinstance(v, (bool, np.bool_)):
        return "true" if v else "false"
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    if isinstance(v, (bytes, str)):
        return '"' + (v.decode() if isinstance(v, bytes) else v) + '"'
    v = float(v)
    return "nan" if v != v else ("-inf" if v < 0 else "inf") if v in (np.inf, -np.inf) else "%.6g" % v


def show(a):
    a = np.asarray(a)
    kind = "str" if a.dtype.kind in "OSU" else NAMES.get(helper.np_dtype_to_tensor_dtype(a.dtype), str(a.dtype))
    return f"{kind}[{','.join(map(str, a.shape))}] {{{', '.join(number(v) for v in a.ravel().tolist())}}}"


def model_of(node, opset):
    left, right = node.split(" => ", 1)
    outs = right.split(" = ", 1)[0]
    text = f'<ir_version: 10, opset_import: ["" : {opset}, "ai.onnx.ml" : 5, "ai.onnx.preview.training" : 1]>\ng {left} => ({outs}) {{\n{right}\n}}\n'
    m = onnx.parser.parse_model(text)
    feeds = {t.name: numpy_helper.to_array(t) for t in m.graph.initializer}
    del m.graph.initializer[:]
    return m, feeds


def by_reference(node):
    try:
        m, feeds = model_of(node, 28)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return [show(x) for x in ReferenceEvaluator(m).run(None, feeds)]
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        return ["error"]


def by_onnxruntime(node):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    for opset in (23, 22, 21, 18, 15):
        try:
            m, feeds = model_of(node, opset)
            m = onnx.shape_inference.infer_shapes(m, data_prop=True)
            s = ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception:  # noqa: BLE001 - an older form may be known
            continue
        try:
            return [show(x) for x in s.run(None, feeds)]
        except Exception:  # noqa: BLE001
            return ["error"]
    return ["-"]


def worker(inbox, outbox):
    for node in iter(inbox.get, None):
        outbox.put(by_onnxruntime(node))


class Mortal:
    """onnxruntime in a process of its own: some cases end it."""

    def __init__(self):
        self.process = None

    def ask(self, node):
        if not self.process or not self.process.is_alive():
            ctx = multiprocessing.get_context("spawn")
            self.inbox, self.outbox = ctx.Queue(), ctx.Queue()
            self.process = ctx.Process(target=worker, args=(self.inbox, self.outbox), daemon=True)
            self.process.start()
        self.inbox.put(node)
        while True:
            try:
                return self.outbox.get(timeout=1)
            except Exception:  # noqa: BLE001 - queue.Empty
                if not self.process.is_alive():
                    return ["the process dies"]

    def end(self):
        if self.process and self.process.is_alive():
            self.inbox.put(None)
            self.process.join()


def read(path):
    """[(section, title, node, outputs, remark)]"""
    section, title, rows = "", "", []
    for line in open(path, encoding="utf-8"):
        line = line.rstrip("\n")
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("("):
            rows.append([section, title, line, [], ""])
        elif line.startswith("> "):
            rows[-1][3].append(line[2:])
        elif line.startswith("# "):
            rows[-1][4] = line[2:]
        elif line:
            title = line
    return rows


def cell(theirs, ours):
    if theirs == ours:
        return "same"
    if len(theirs) == 1 and len(ours) == 1 and theirs[0].startswith("error") and ours[0].startswith("error"):
        return "error too"
    if theirs == ["error"] or theirs == ["-"] or theirs == ["the process dies"]:
        return {"error": "error", "-": "does not have it"}.get(theirs[0], theirs[0])
    return "<br>".join(f"`{re.sub(r'^[^{]*', '', t)}`" if t != o else "same" for t, o in zip(theirs, ours))


def operands(node):
    left = node.split(" => ", 1)[0].strip("()")
    return "`" + re.sub(r"(\w+\[?[\d,]*\]?) (\w+) = ", r"\2 = ", left).replace("|", "\\|") + "`"


def page(rows):
    mortal = Mortal()
    out = ["# Special values", "",
           "<!-- made by tools/special_values.py from tests/ops/special.cases -->", "",
           "What ferry's operators give for NaN, infinities, signed zeros, denormals, divisors of zero, reductions of nothing and the like. Each row is a case of",
           "`tests/ops/special.cases`, which `ctest -R ops/special` runs, with operands as inputs and as constants. The last columns say where",
           f"onnxruntime {__import__('onnxruntime').__version__} (CPU) and the reference of onnx {onnx.__version__} (numpy) differ. ferry computes in double, int64 or uint64 and rounds once; it never",
           "sets flush-to-zero; what is undefined in C (a float out of an integer's range, a shift by the width, the least integer divided by -1) is defined here.", ""]
    section = None
    for where, title, node, ours, remark in rows:
        if where != section:
            out += ["", f"## {where}", "", "| | operands | ferry | onnxruntime | numpy |", "|---|---|---|---|---|"]
            section = where
        ferry = "<br>".join(f"`{o}`" for o in ours) + (f"<br>{remark}" if remark else "")
        out.append(f"| {title} | {operands(node)} | {ferry} | {cell(mortal.ask(node), ours)} | {cell(by_reference(node), ours)} |")
    mortal.end()
    return "\n".join(out).replace("\n\n\n", "\n\n") + "\n"


def mask(text):
    return [re.sub(r"(?<!\\)\|[^|]*\|([^|]*)\|$", r"|\1|", line) for line in re.sub(r"onnxruntime [\d.]+", "onnxruntime", text).splitlines()]


def main():
    check = "--check" in sys.argv
    cases, doc = [a for a in sys.argv[1:] if not a.startswith("--")]
    text = page(read(cases))
    if not check:
        open(doc, "w", encoding="utf-8").write(text)
        return
    old = mask(open(doc, encoding="utf-8").read())
    for a, b in zip(old + [""] * len(text), mask(text)):
        if a != b:
            sys.exit(f"{doc} is old: tools/special_values.py {cases} {doc}\n- {a}\n+ {b}")


if __name__ == "__main__":
    main()
