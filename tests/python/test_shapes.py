"""Shape inference against onnx.shape_inference and onnxruntime's symbolic_shape_infer, and against execution:

    python tests/python/test_shapes.py FERRY FERRY_SHAPES [--fast] [-v] [--only PATTERN] CASES_OR_MODELS...

CASES_OR_MODELS are folders with model.onnx (tools/onnx_cases.py makes them), .onnx files, .pt2 files (exported by ferry first),
or folders of those. Each model is looked at twice: as it
is, and with every input size that nothing forces replaced by a symbol of its own. What a peer knows of a value (dtype, rank, a size,
the equality of two sizes), `ferry info --shapes --json` must know too: never weaker, never in contradiction. Then the case is run by
the reference interpreter (FERRY_SHAPES; models without test data on made-up inputs), and all that was inferred, expressions and upper bounds included, must hold of every value.

What a peer knows wrongly stands in shapes_peers_wrong.txt: `MODEL VALUE PEER  reason`, with * for any text. Needs onnx, numpy, and for
the second peer onnxruntime with sympy. --fast: every eighth model.
"""
import argparse
import fnmatch
import glob
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction

import numpy as np
import onnx

try:
    import sympy  # noqa: F401  (symbolic_shape_infer needs it)
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
except ImportError:
    SymbolicShapeInference = None

HERE = os.path.dirname(os.path.abspath(__file__))
KIND = {"tensor_type": "tensor", "sequence_type": "sequence", "optional_type": "optional", "map_type": "map", "sparse_tensor_type": "sparse"}
DTYPE = {1: "f32", 2: "u8", 3: "i8", 4: "u16", 5: "i16", 6: "i32", 7: "i64", 8: "str", 9: "bool", 10: "f16", 11: "f64", 12: "u32", 13: "u64",
         14: "c64", 15: "c128", 16: "bf16", 17: "f8e4m3", 18: "f8e4m3uz", 19: "f8e5m2", 20: "f8e5m2uz", 21: "u4", 22: "i4", 23: "f4e2m1",
         24: "f8e8m0", 25: "u2", 26: "i2"}


# ---- models --------------------------------------------------------------------------------------------------------------

def innermost(t):
    while True:
        kind = t.WhichOneof("value")
        if kind in ("sequence_type", "optional_type"):
            t = getattr(t, kind).elem_type
        else:
            return t


def graphs(g, path=""):
    """Every graph with its path, as ferry names it."""
    yield path, g
    for n in g.node:
        for a in n.attribute:
            for k, body in enumerate([a.g] if a.type == 5 else a.graphs):
                first = next((o for o in n.output if o), n.name)
                yield from graphs(body, "%s%s%s.%s" % (path, "/" if path else "", first, a.name))


def forget(m):
    """Without the types that the file declares for anything but inputs: those would hold for the old sizes only."""
    for path, g in graphs(m.graph):
        del g.value_info[:]
        for v in list(g.output) + (list(g.input) if path else []):
            t = innermost(v.type)
            if t.WhichOneof("value") == "tensor_type":
                t.tensor_type.ClearField("shape")
    return m


def free_dims(m):
    known = {t.name for t in m.graph.initializer}
    for i, v in enumerate(m.graph.input):
        t = innermost(v.type)
        if v.name not in known and v.type.WhichOneof("value") == "tensor_type" and t.tensor_type.HasField("shape"):
            for k, d in enumerate(t.tensor_type.shape.dim):
                if d.HasField("dim_value"):
                    yield "s%d_%d" % (i, k), d


def symbolise(m, keep=()):
    s = onnx.ModelProto()
    s.CopyFrom(m)
    forget(s)
    for name, d in list(free_dims(s)):
        if name not in keep:
            d.dim_param = name
    return s


# ---- what is known of a value: kind, dtype, dims (None: rank unknown); a dim is an int, a text or None ---------------------

def of_proto(t):
    kind = t.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        return (KIND[kind],) + (of_proto(getattr(t, kind).elem_type) or ("?", None, None),)
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return (KIND[kind], None, None) if kind else None
    x = getattr(t, kind)
    dims = None
    if x.HasField("shape"):
        dims = [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in x.shape.dim]
    return KIND[kind], DTYPE.get(x.elem_type), dims


def of_peer(m):
    r = {}
    for path, g in graphs(m.graph):
        for v in list(g.input) + list(g.value_info) + list(g.output):
            t = of_proto(v.type)
            if t:
                r[path, v.name] = t
    return r


def split_dims(text):
    parts, depth, quote, at = [], 0, False, ""
    for c in text:
        quote ^= c == "`"
        depth += (c == "(") - (c == ")") if not quote else 0
        if c == "," and depth == 0 and not quote:
            parts.append(at)
            at = ""
        else:
            at += c
    return parts + [at]


def of_text(s):
    """ "f32[batch,3]", "seq(f32[*])" """
    for word, kind in (("seq(", "sequence"), ("optional(", "optional")):
        if s.startswith(word):
            return kind, of_text(s[len(word):-1]) or ("?", None, None)
    if s.startswith("map("):
        return "map", None, None
    kind = "tensor"
    if s.startswith("sparse "):
        kind, s = "sparse", s[7:]
    if not s.endswith("]"):
        return None
    dtype, dims = s[:-1].split("[", 1)
    if dims == "*":
        dims = None
    else:
        dims = [int(d) if re.fullmatch(r"-?\d+", d) else d for d in split_dims(dims)] if dims else []
    return kind, None if dtype in ("?", "undefined") else dtype, dims


def ferry_info(ferry, path):
    p = subprocess.run([ferry, "info", "--shapes", "--json", path], capture_output=True)
    if p.returncode:
        return None, p.stderr.decode(errors="replace").strip()
    doc = json.loads(p.stdout)
    opaque = {s["name"] for s in doc["symbols"] if s["kind"] == "data"}
    return ({(v["graph"], v["name"]): of_text(v["type"]) for v in doc["values"]}, opaque), ""


# ---- expressions ------------------------------------------------------------------------------------------------------------

def floor(x):
    return x.numerator // x.denominator if isinstance(x, Fraction) else x


def ceil(x):
    return -floor(-x)


FUNCTIONS = {"floor": floor, "ceil": ceil, "ceiling": ceil, "min": min, "max": max, "Min": min, "Max": max, "mod": lambda a, b: a % b,
             "Mod": lambda a, b: a % b, "pow": lambda a, b: a ** int(b), "Abs": abs}
WORD = re.compile(r"`(?:[^`\\]|\\.)*`|[A-Za-z_][\w.]*")


def names(e):
    return {w.strip("`") for w in WORD.findall(e) if w not in FUNCTIONS}


def compute(e, env):
    """The value of an expression, its names given; None where it has none."""
    if isinstance(e, int):
        return Fraction(e)
    local, text = dict(FUNCTIONS), e

    def swap(match):
        w = match.group(0)
        if w in FUNCTIONS:
            return w
        k = "n%d" % len(local)
        local[k] = env[w.strip("`")]
        return k
    try:
        text = WORD.sub(swap, e)
        text = re.sub(r"(?<![\w.])(\d+(?:\.\d+)?)(?![\w.])", r"Fraction('\1')", text)
        return Fraction(eval(text, {"__builtins__": {}, "Fraction": Fraction}, local))
    except (SyntaxError, KeyError, ZeroDivisionError, TypeError, NameError, ValueError):
        return None


def assignments(symbols):
    """Sizes that are large, differ, and are divisible by much: (12, 24, 36 ...) and without any common divisor."""
    order = sorted(symbols)
    yield {s: Fraction(zlib.crc32(s.encode()) % 89 + 60) for s in order}
    yield {s: Fraction(zlib.crc32((s + "'").encode()) % 97 + 211) for s in order}
    yield {s: Fraction(720 * (k + 2)) for k, s in enumerate(order)}


def same_expression(a, b, symbols):
    if str(a).replace(" ", "") == str(b).replace(" ", ""):
        return True
    for env in assignments(symbols):
        x, y = compute(a, env), compute(b, env)
        if x is None or y is None or x != y:
            return False
    return True


# ---- the comparison -----------------------------------------------------------------------------------------------------------

def compare(peer, ours, symbols, items, real):
    """Yields (value, what is wrong). peer, ours: {(graph, name): type}; symbols: of the inputs, items: names for sizes of items of
    sequences, which differ from item to item; real: sizes of the case as it is."""
    sequences = set()
    same = {}                                   # the peer's own symbols: where they stood first
    for key, t in peer.items():
        o = ours.get(key)
        label = "/".join(k for k in key if k)
        if key not in ours:
            yield label, "missing"
            continue
        if t and t[0] == "sequence":
            sequences.add(key[1])
        while t and t[0] in ("sequence", "optional"):
            if o is None or o[0] == "?":
                break
            if o[0] != t[0]:
                break
            t, o = (t[1:] if len(t) == 2 else t), (o[1:] if len(o) == 2 else o)
            t, o = t[0], o[0]
        if not t or t[0] == "?":
            continue
        if o is None or o[0] == "?":
            yield label, "unknown, is %s" % (t,)
            continue
        if o[0] != t[0]:
            yield label, "CONFLICT %s, is %s" % (o[0], t[0])
            continue
        if t[0] not in ("tensor", "sparse"):
            continue
        if t[1] and o[1] != t[1]:
            yield label, "%sdtype %s, is %s" % ("CONFLICT " if o[1] else "", o[1], t[1])
        if t[2] is None:
            continue
        if o[2] is None:
            yield label, "rank unknown, is %s" % (t[2],)
            continue
        if len(o[2]) != len(t[2]):
            yield label, "CONFLICT rank %d, is %d" % (len(o[2]), len(t[2]))
            continue
        for k, (p, q) in enumerate(zip(t[2], o[2])):
            where = "axis %d: %s, is %s" % (k, q, p)
            if p is None:
                continue
            if isinstance(p, int):
                if isinstance(q, int):
                    if p != q:
                        yield label, "CONFLICT " + where
                elif p >= 0:
                    yield label, where
                continue
            used = names(p)
            if used & items or key[1] in sequences:
                continue
            if used <= symbols:
                if isinstance(q, int) or not names(q) - symbols:    # equal at the sizes of the case, where symbols are forced to be equal
                    if used <= real.keys() and compute(p, real) == compute(q, real):
                        continue
                if isinstance(q, int):
                    yield label, "CONFLICT " + where
                elif names(q) - symbols:
                    yield label, where
                elif not same_expression(p, q, symbols):
                    yield label, "CONFLICT " + where
                continue
            first = same.setdefault(p.replace(" ", ""), (q, label, k))
            if first[0] != q:
                yield label, "axis %d: %s, equals %s (axis %d of %s) as %s" % (k, q, first[0], first[2], first[1], p)


def unnamed(m, symbols):
    """Without the names of sizes that no input has: torch.onnx.export repeats them for sizes that are not equal."""
    r = onnx.ModelProto()
    r.CopyFrom(m)
    for _, g in graphs(r.graph):
        for v in list(g.value_info) + list(g.output) + (list(g.input) if g is not r.graph else []):
            t = innermost(v.type)
            for d in t.tensor_type.shape.dim if t.WhichOneof("value") == "tensor_type" else []:
                if d.dim_param and d.dim_param not in symbols:
                    d.ClearField("dim_param")
    return r


def peers(m):
    try:
        yield "onnx", of_peer(onnx.shape_inference.infer_shapes(m, check_type=True, strict_mode=True, data_prop=True))
    except Exception:
        pass
    if SymbolicShapeInference:
        try:
            r = SymbolicShapeInference.infer_shapes(m)
            yield "onnxruntime", of_peer(r)
        except Exception:
            pass


class Wrong:
    """The committed list of what peers know wrongly."""

    def __init__(self, path):
        self.rules = []
        for line in open(path, encoding="utf-8"):
            if line.strip() and not line.startswith("#"):
                model, value, peer, reason = line.split(None, 3)
                self.rules.append([model, value, peer, reason.strip(), 0])

    def has(self, model, value, peer):
        for r in self.rules:
            if fnmatch.fnmatchcase(model, r[0]) and fnmatch.fnmatchcase(value, r[1]) and fnmatch.fnmatchcase(peer, r[2]):
                r[4] += 1
                return True
        return False


def invent(m, folder, real):
    """Inputs for a run: each symbol its real size, else a small one; integers 0 and 1. None if an input is no tensor of known rank."""
    rng, size = np.random.default_rng(len(folder)), {k: int(v) for k, v in real.items()}
    os.makedirs(folder)
    known = {t.name for t in m.graph.initializer}
    for i, v in enumerate(v for v in m.graph.input if v.name not in known):
        if not v.type.HasField("tensor_type") or not v.type.tensor_type.HasField("shape"):
            return None
        dims = [d.dim_value if d.HasField("dim_value") else size.setdefault(d.dim_param, 2 + len(size) % 5) for d in v.type.tensor_type.shape.dim]
        try:
            t = onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type)
            x = rng.standard_normal(dims) if np.issubdtype(t, np.floating) else rng.integers(0, 2, dims)
            x = onnx.numpy_helper.from_array(np.asarray(x).astype(t))
        except (TypeError, KeyError, ValueError, NotImplementedError):      # strings and other types without numbers
            return None
        with open(os.path.join(folder, "input_%d.pb" % i), "wb") as f:
            f.write(x.SerializeToString())
    return folder


def variants(ferry, m, folder, name):
    """(suffix, model, path, what ferry knows) of a model as it is and with symbolic sizes."""
    path = os.path.join(folder, os.path.basename(name) + ".onnx")
    onnx.save(m, path)
    known, why = ferry_info(ferry, path)
    yield "", m, path, known, why
    if not any(True for _ in free_dims(m)):
        return
    path = os.path.join(folder, os.path.basename(name) + ".symbolic.onnx")
    s = symbolise(m)
    onnx.save(s, path)
    known, why = ferry_info(ferry, path)
    if known is None:                           # some sizes are forced: free them one by one
        keep = [n for n, _ in free_dims(m)]
        for n in list(keep):
            s = symbolise(m, [k for k in keep if k != n])
            onnx.save(s, path)
            if ferry_info(ferry, path)[0] is not None:
                keep.remove(n)
        s = symbolise(m, keep)
        onnx.save(s, path)
        known, why = ferry_info(ferry, path)
    yield "~", s, path, known, why


def known_ops(ferry):
    doc = json.loads(subprocess.run([ferry, "ops", "--onnx", "--json"], capture_output=True).stdout)
    return {o["name"] for o in doc["onnx"]}


def lacking(m, ops):
    """Operators of the model that ferry does not have, and versions that it does not read."""
    bad = {n.op_type for _, g in graphs(m.graph) for n in g.node if n.op_type not in ops}
    local = {f.name for f in m.functions}
    version = {o.domain: o.version for o in m.opset_import}.get("", 99)
    return (bad - local) | ({"opset %d" % version} if version < 7 else set())


def look(args, folder, source):
    """One model: [(label, value, peer, what)], models to run, counts."""
    case = os.path.isdir(source)
    name = os.path.basename(source.rstrip("/")) if case else os.path.splitext(os.path.basename(source))[0]
    if source.endswith(".pt2"):
        folder = tempfile.mkdtemp(dir=folder)
        source, archive = os.path.join(folder, "exported.onnx"), source
        p = subprocess.run([args.ferry, "export", archive, "-o", source, "--no-verify"], capture_output=True)
        if p.returncode:
            return [], [], -1
        name = os.path.basename(os.path.dirname(archive)) + "/" + name
    m = onnx.load(os.path.join(source, "model.onnx") if case else source, load_external_data=False)
    if lacking(m, args.ops) or any(t.data_location == onnx.TensorProto.EXTERNAL for t in m.graph.initializer):
        return [], [], -1
    bad, runs, facts = [], [], 0
    for suffix, model, path, known, why in variants(args.ferry, m, folder, name):
        if known is None:
            bad.append((name + suffix, "-", "ferry", why.splitlines()[0] if why else "failed"))
            continue
        ours, _ = known
        symbols, items, real = set(), set(), {}
        for v in model.graph.input:
            t = innermost(v.type)
            if t.WhichOneof("value") == "tensor_type":
                (symbols if v.type.HasField("tensor_type") else items).update(d.dim_param for d in t.tensor_type.shape.dim if d.dim_param)
        for n, d in free_dims(m):
            real[n] = Fraction(d.dim_value)
        for peer, theirs in peers(unnamed(model, symbols)):
            facts += len(theirs)
            bad += [(name + suffix, value, peer, what) for value, what in compare(theirs, ours, symbols, items, real)]
        if case:
            runs += [(path, d) for d in sorted(glob.glob(os.path.join(source, "test_data_set_*")))]
        else:
            data = invent(model, path + ".data", real) if os.path.getsize(path) < 20e6 else None       # a run would take minutes
            runs += [(path, data)] if data else []
    return bad, runs, facts


def quietly(folder):
    """The peer writes files into the working folder when it fails."""
    os.chdir(tempfile.mkdtemp(dir=folder))
    logging.disable(logging.CRITICAL)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("ferry")
    ap.add_argument("runner")
    ap.add_argument("models", nargs="+")
    ap.add_argument("--fast", action="store_true")
    ap.add_argument("--only", default="*")
    ap.add_argument("-v", action="store_true")
    args = ap.parse_args()
    args.ferry, args.runner = os.path.abspath(args.ferry), os.path.abspath(args.runner)
    sources = []
    for p in args.models:
        p = os.path.abspath(p)
        if p.endswith((".onnx", ".pt2")) or os.path.exists(os.path.join(p, "model.onnx")):
            sources.append(p)
        else:
            sources += sorted(os.path.dirname(f) for f in glob.glob(os.path.join(p, "*", "model.onnx")))
            sources += sorted(f for f in glob.glob(os.path.join(p, "*.onnx")) if not os.path.basename(f).startswith("bad_"))
            sources += sorted(glob.glob(os.path.join(p, "**", "*.pt2"), recursive=True))
    sources = [s for s in sources if fnmatch.fnmatchcase(os.path.basename(s.rstrip("/")), args.only)]
    if args.fast:
        sources = sources[::8]
    wrong = Wrong(os.path.join(HERE, "shapes_peers_wrong.txt"))
    if not SymbolicShapeInference:
        print("skipped without sympy: the comparison with onnxruntime's symbolic_shape_infer")
    failed, facts, listed, skipped, runs = 0, 0, 0, 0, []
    args.ops = known_ops(args.ferry)
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(2, initializer=quietly, initargs=(folder,)) as pool:
            for bad, more, n in pool.map(look, [args] * len(sources), [folder] * len(sources), sources, chunksize=8):
                facts += max(n, 0)
                skipped += n < 0
                runs += more
                for label, value, peer, what in bad:
                    if wrong.has(label, value, peer):
                        listed += 1
                        continue
                    failed += 1
                    print("FAIL %s %s %s: %s" % (label, value, peer, what))
        p = subprocess.run([args.runner] + ["-v"] * args.v, input="".join("%s\t%s\n" % r for r in runs), text=True, stdout=subprocess.PIPE)
        sys.stdout.write(p.stdout.replace(folder + "/", ""))
        failed += p.returncode != 0
    if args.v and not args.fast and args.only == "*":
        for r in wrong.rules:
            if not r[4]:
                print("note: nothing meets the rule", *r[:3])
    if skipped:
        print("skipped: %d models with operators that ferry does not have, of an opset below 7, or with external data" % skipped)
    print("%d models, %d values known to peers, %d known wrongly (listed), %d failed" % (len(sources) - skipped, facts, listed, failed))
    return 1 if failed or not facts else 0


if __name__ == "__main__":
    sys.exit(main())
