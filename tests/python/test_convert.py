"""Every case of onnx.backend.test taken to several opsets, judged by others than ferry:

    python tests/python/test_convert.py build/tests/ferry-convert-cases FOLDER_OF_CASES [--every K] [--opset N,M,...]

ferry-convert-cases converts, and runs what it wrote with the reference kernels (its own count is printed). Then each file must pass
onnx.checker with full_check, and where onnxruntime has the operators it must give the outputs that the case has, at the case's tolerance.
A file that onnxruntime runs to other values counts as failed, unless it runs the case's own model to just these values.
Prints the pairs that were checked, run, and failed; exit code 1 if any failed. Needs onnx, onnxruntime, numpy.
"""
import argparse
import collections
import glob
import multiprocessing
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

ort.set_default_logger_severity(4)
NO_KERNEL = ("NOT_IMPLEMENTED", "not implemented", "is not a registered function/op", "is under development", "Could not find an implementation", "unsupported data type",
             "Unsupported model IR version", "not supported", "Unsupported", "is not supported", "No Op registered for")


def read_value(path, kind):
    with open(path, "rb") as f:
        data = f.read()
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind == "optional_type":
        return None
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def run(model, folder):
    """-> list of (got, wanted) over all data sets, or words why not."""
    try:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as e:
        text = str(e)
        return ("none " if any(w in text for w in NO_KERNEL) else "load: ") + text[:300]
    weights = {w.name for w in model.graph.initializer}
    pairs = []
    for data in sorted(glob.glob(os.path.join(folder, "test_data_set_*"))):
        feeds = {}
        try:
            for i, v in enumerate([v for v in model.graph.input if v.name not in weights]):
                feeds[v.name] = read_value(os.path.join(data, f"input_{i}.pb"), v.type.WhichOneof("value"))
            want = [read_value(os.path.join(data, f"output_{i}.pb"), v.type.WhichOneof("value")) for i, v in enumerate(model.graph.output)]
            if any(v is None for v in list(feeds.values()) + want) or any(str(getattr(v, "dtype", "")) in ("bfloat16",) or "float8" in str(getattr(v, "dtype", "")) for v in feeds.values()):
                return "none a type that numpy lacks"
            got = session.run(None, feeds)
        except Exception as e:
            text = str(e)
            return ("none " if any(w in text for w in NO_KERNEL) or "incompatible" in text or "numpy_type" in text.lower() else "run: ") + text[:300]
        pairs += list(zip(got, want))
    return pairs


def same(got, want, rtol, atol):
    if isinstance(want, list):
        return len(got) == len(want) and all(same(g, w, rtol, atol) for g, w in zip(got, want))
    got, want = np.asarray(got), np.asarray(want)
    if got.dtype != want.dtype or got.shape != want.shape:
        return got.dtype.kind == "O" and got.shape == want.shape and [str(v) for v in got.ravel()] == [str(v) for v in want.ravel()]
    if got.dtype.kind in "OSU":
        return [str(v) for v in got.ravel()] == [str(v) for v in want.ravel()]
    if got.dtype == np.float16:
        rtol, atol = max(rtol, 2.0 ** -8), max(atol, 2.0 ** -10)       # rounded after every step of what was written out
    with np.errstate(all="ignore"):
        if got.dtype.kind == "b":
            return bool((got == want).all())
        return np.allclose(got.astype(np.complex128), want.astype(np.complex128), rtol=rtol, atol=max(atol, 1e-6), equal_nan=True)


def fails_alone(path, text):
    """Does the checker say the same of the case's own model?"""
    try:
        onnx.checker.check_model(onnx.load(path), full_check=True)
    except Exception as e:
        return str(e)[:60] == text[:60]
    return False


DRAWN = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


def judge(job):
    path, folder = job
    model = onnx.load(path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as e:
        if fails_alone(os.path.join(folder, "model.onnx"), str(e)):
            return path, "onnx", ""
        return path, "fail", "checker: " + str(e).strip()[:400]
    if sum(i.version > 26 for i in model.opset_import if not i.domain):
        return path, "checked", ""
    if any(n.op_type in DRAWN for n in model.graph.node):       # each implementation draws its own numbers: ferry judges their law
        return path, "checked", ""
    rtol, atol = 1e-3, 1e-7
    if os.path.exists(os.path.join(folder, "tolerance")):
        rtol, atol = map(float, open(os.path.join(folder, "tolerance")).read().split())
    pairs = run(model, folder)
    if isinstance(pairs, str):
        if pairs.startswith("none "):
            return path, "checked", ""
        original = run(onnx.load(os.path.join(folder, "model.onnx")), folder)
        return path, "checked" if isinstance(original, str) and original[:40] == pairs[:40] else "fail", "onnxruntime " + pairs
    if all(same(g, w, rtol, atol) for g, w in pairs):
        return path, "ran", ""
    original = run(onnx.load(os.path.join(folder, "model.onnx")), folder)
    if not isinstance(original, str) and all(same(g, o, rtol, atol) for (g, _), (o, _) in zip(pairs, original)):
        return path, "checked", ""
    return path, "fail", "onnxruntime: %s instead of %s" % (str(pairs[0][0]).replace("\n", " ")[:150], str(pairs[0][1]).replace("\n", " ")[:150])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("tool")
    p.add_argument("folders", nargs="+")
    p.add_argument("--every", default="1")
    p.add_argument("--opset")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as out:
        t = subprocess.run([a.tool, "--keep", out, "--every", a.every] + (["--opset", a.opset] if a.opset else []) + a.folders, capture_output=True, text=True)
        print("\n".join(line for line in t.stdout.splitlines() if not line.startswith("refused")))
        where = {}
        for folder in a.folders:
            for model in [os.path.join(folder, "model.onnx")] + glob.glob(os.path.join(folder, "*", "model.onnx")):
                where[os.path.basename(os.path.dirname(model))] = os.path.dirname(model)
        jobs = [(f, where[os.path.basename(f).rsplit(".", 2)[0]]) for f in sorted(glob.glob(os.path.join(out, "*.onnx")))]
        count = collections.Counter()
        with multiprocessing.Pool(2) as pool:
            for path, verdict, text in pool.imap_unordered(judge, jobs, 32):
                count[verdict] += 1
                if verdict == "fail":
                    print("FAIL", os.path.basename(path), text)
    print("%d files pass onnx.checker, %d of them run by onnxruntime as well, %d are refused by it as the case's own model is, %d failed"
          % (count["checked"] + count["ran"], count["ran"], count["onnx"], count["fail"]))
    return 1 if t.returncode or count["fail"] or not count["ran"] else 0


if __name__ == "__main__":
    sys.exit(main())
