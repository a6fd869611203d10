#!/usr/bin/env python3
"""How ferry optimize compares with onnxsim, onnxslim and ONNX Runtime's basic level: bench/optimize.py FERRY FOLDER [--tools ferry,onnxsim,...] [--models SUBSTRING] [--counts]

Every .onnx in FOLDER (bench/optimize_models.py writes them; PP-OCRv4 comes with the wheel rapidocr-onnxruntime) goes through each tool in a process of its own.
Printed for each: nodes without Constant (bodies counted), seconds of the whole process, seconds of the simplification alone, and the largest difference of the outputs
before and after, by onnxruntime without its own optimisation on the same random inputs. Without --counts each tool runs three times and the least time counts.
Needs onnx, onnxruntime, numpy; onnxsim and onnxslim where they are to be compared."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime

from nodes import count

TOOLS = {
    "onnxsim": "import onnx, onnxsim, sys, time; t = time.time(); m, ok = onnxsim.simplify(onnx.load(sys.argv[1])); print('inner', time.time() - t); onnx.save(m, sys.argv[2])",
    "onnxslim": "import onnx, onnxslim, sys, time; t = time.time(); m = onnxslim.slim(onnx.load(sys.argv[1])); print('inner', time.time() - t); onnx.save(m, sys.argv[2])",
    "ort-basic": "import onnxruntime as o, sys, time; s = o.SessionOptions(); s.graph_optimization_level = o.GraphOptimizationLevel.ORT_ENABLE_BASIC; "
                 "s.optimized_model_filepath = sys.argv[2]; s.log_severity_level = 4; t = time.time(); o.InferenceSession(sys.argv[1], s, providers=['CPUExecutionProvider']); "
                 "print('inner', time.time() - t)",
}


def session(path):
    o = onnxruntime.SessionOptions()
    o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    o.log_severity_level = 4
    return onnxruntime.InferenceSession(path, o, providers=["CPUExecutionProvider"])


SIZES = {"sequence": 24, "seq": 24, "DynamicDimension.1": 64, "DynamicDimension.2": 96}


def inputs(s):
    rng = np.random.default_rng(0)
    feed = {}
    for i in s.get_inputs():
        shape = []
        for axis, d in enumerate(i.shape):
            image = len(i.shape) == 4
            shape.append(d if isinstance(d, int) and d > 0 else SIZES.get(d, 2 if axis == 0 else 3 if image and axis == 1 else 64 if image else 24))
        if "float" in i.type:
            feed[i.name] = rng.standard_normal(shape).astype(np.float32)
        elif "mask" in i.name:
            feed[i.name] = np.ones(shape, np.int64)
        else:
            feed[i.name] = rng.integers(0, 1000, shape)
    return feed


def difference(before, after):
    try:
        a, b = session(before), session(after)
        feed = inputs(a)
        worst = 0.0
        for x, y in zip(a.run(None, feed), b.run(None, feed)):
            if x.shape != y.shape:
                return "shape %s %s" % (x.shape, y.shape)
            worst = max(worst, float(np.max(np.abs(x.astype(np.float64) - y.astype(np.float64)), initial=0)))
        return "%.1e" % worst
    except Exception as error:
        return "fails: " + str(error).splitlines()[0][:80]


def run(tool, ferry, source, target, repeat):
    if tool == "ferry":
        command = [ferry, "optimize", source, "-o", target, "--no-verify", "--json"]
    else:
        command = [sys.executable, "-c", TOOLS[tool], source, target]
    whole, inner, said = [], [], ""
    for _ in range(repeat):
        start = time.time()
        p = subprocess.run(command, capture_output=True, text=True, errors="replace")
        whole.append(time.time() - start)
        if p.returncode or not os.path.exists(target):
            return None, None, (p.stderr or p.stdout).strip().splitlines()[-1][:100] if (p.stderr or p.stdout).strip() else "exit %d" % p.returncode
        for line in p.stdout.splitlines():
            if line.startswith("inner "):
                inner.append(float(line.split()[1]))
        said = p.stdout
    return min(whole), min(inner) if inner else min(whole), said


def main():
    p = argparse.ArgumentParser()
    p.add_argument("ferry")
    p.add_argument("folder")
    p.add_argument("--tools", default="ferry,onnxsim,onnxslim,ort-basic")
    p.add_argument("--models", default="")
    p.add_argument("--counts", action="store_true", help="each tool once: counts and errors, times are rough")
    p.add_argument("--json", help="also write the rows to this file")
    p.add_argument("--keep", help="folder for the results, which are thrown away otherwise")
    a = p.parse_args()
    tools, rows = a.tools.split(","), []
    ferry = os.path.abspath(a.ferry)
    keep = a.keep or tempfile.mkdtemp()
    for pt2 in sorted(os.listdir(a.folder)):                  # what ferry itself exports
        target = os.path.join(a.folder, pt2[:-4] + "-ferry.onnx")
        if pt2.endswith(".pt2") and not os.path.exists(target):
            subprocess.run([ferry, "export", os.path.join(a.folder, pt2), "-o", target, "--no-verify", "-q"], stdout=subprocess.DEVNULL)
    print("%-36s %6s  %s" % ("model", "nodes", "  ".join("%-34s" % t for t in tools)))
    for name in sorted(os.listdir(a.folder)):
        if not name.endswith(".onnx") or a.models not in name:
            continue
        source = os.path.join(a.folder, name)
        row = {"model": name, "nodes": count(source)}
        cells = []
        for tool in tools:
            target = os.path.join(keep, "%s.%s.onnx" % (name[:-5], tool))
            whole, inner, said = run(tool, ferry, source, target, 1 if a.counts else 3)
            if whole is None:
                row[tool] = {"failed": said}
                cells.append("failed: " + said[:26])
                continue
            row[tool] = {"nodes": count(target), "seconds": whole, "inner": inner, "difference": difference(source, target), "bytes": os.path.getsize(target)}
            cells.append("%5d %7.2fs %7.2fs %s" % (row[tool]["nodes"], whole, inner, row[tool]["difference"]))
            if not a.keep:
                os.unlink(target)
        rows.append(row)
        print("%-36s %6d  %s" % (name, row["nodes"], "  ".join("%-34s" % c for c in cells)), flush=True)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(rows, f, indent=1)


main()
