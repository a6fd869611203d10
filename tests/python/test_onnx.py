"""Reading and writing .onnx against the onnx package:

    python tests/python/test_onnx.py build/tests/test_formats_onnx tests/fixtures/onnx [MORE.onnx ...]

Every file is copied by ferry, with and without external data; the copy must hold the same nodes, attributes, tensors and
types, and pass onnx.checker if the original did. Needs onnx, numpy.
"""
import glob
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper as nh

FIELDS = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}


def tensor(t, base):
    a = nh.to_array(t, base)
    return a.shape, t.data_type, a.tobytes() if a.dtype != object else tuple(a.ravel())


def dense(s, base):
    v, i = nh.to_array(s.values, base), nh.to_array(s.indices, base)
    out = np.zeros(list(s.dims), v.dtype)
    for k in range(len(v)):
        out[tuple(i[k]) if i.ndim == 2 else np.unravel_index(i[k], out.shape)] = v[k]
    return out.shape, s.values.data_type, out.tobytes()


def attribute(a, base):
    if a.ref_attr_name:
        return a.name, "ref", a.ref_attr_name, a.type
    if a.type in FIELDS:
        v = getattr(a, FIELDS[a.type])
        return a.name, a.type, repr(tuple(v) if a.type > 5 else v)    # as text: NaN is not equal to itself
    if a.type == 4:
        return a.name, 4, tensor(a.t, base)
    if a.type == 9:
        return a.name, 9, tuple(tensor(t, base) for t in a.tensors)
    if a.type == 5:
        return a.name, 5, graph(a.g, base)
    if a.type == 11:
        return "value" if a.name == "sparse_value" else a.name, 4, dense(a.sparse_tensor, base)
    return a.name, a.type, a.tp.SerializeToString(deterministic=True)


def node(n, base):
    out = list(n.output)
    while out and not out[-1]:
        out.pop()
    return n.domain, n.op_type, tuple(n.input), tuple(out), tuple(sorted((attribute(a, base) for a in n.attribute), key=lambda x: x[0])), n.name


def shape(t):
    """Types as text with expressions in one spelling."""
    return str(t).replace(" ", "").replace("1+2*seq", "2*seq+1")


def graph(g, base):
    init = {t.name: tensor(t, base) for t in g.initializer}
    init.update({s.values.name: dense(s, base) for s in g.sparse_initializer})
    return (tuple(node(n, base) for n in g.node), tuple(sorted(init.items())), tuple((v.name, shape(v.type)) for v in g.input if v.name not in init),
            tuple(v.name for v in g.output))


def model(path):
    m, base = onnx.load(path, load_external_data=False), os.path.dirname(path)
    return m, (graph(m.graph, base), sorted((o.domain, o.version) for o in m.opset_import), m.ir_version,
               [(f.domain, f.name, tuple(f.input), tuple(f.output), tuple(f.attribute), tuple(node(n, base) for n in f.node)) for f in m.functions])


def passes(path):
    try:
        onnx.checker.check_model(path)
        return True
    except Exception:
        return False


def main():
    tool, files = sys.argv[1], sorted(glob.glob(os.path.join(sys.argv[2], "*.onnx"))) + sys.argv[3:]
    files = [f for f in files if not os.path.basename(f).startswith("bad_")]
    failed = 0
    for path in files:
        for extra in ([], ["external"]):
            out = os.path.join(tempfile.mkdtemp(), "copy.onnx")
            p = subprocess.run([tool, path, out] + extra, capture_output=True, text=True)
            why = p.stdout.strip() if p.returncode else ""
            if not why:
                (_, a), (_, b) = model(path), model(out)
                for what, x, y in zip(("graph", "imports", "IR version", "functions"), a, b):
                    if x != y:
                        why = what + " differs"
                        if what == "graph":
                            why += ": " + ", ".join(w for w, p_, q in zip(("nodes", "constants", "inputs", "outputs"), x, y) if p_ != q)
                if not why and passes(path) and not passes(out):
                    why = "the checker does not like the copy"
            if why:
                failed += 1
                print("FAIL", os.path.basename(path), extra, why)
    print("%d files, each copied twice, %d failed" % (len(files), failed))
    return 1 if failed or not files else 0


sys.exit(main())
