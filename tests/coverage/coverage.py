#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""coverage.py FERRY [--only NAME,...] [--jobs N] [--redo capture|rival|judged|ferry] [--torch TAG] [--report]

Takes every architecture of zoo.MODELS from PyTorch to ONNX by ferry: captured static and dynamic by each PyTorch at hand, exported with the gates on,
checked by onnx, run by onnxruntime and by ferry's engine at every size, compared with what PyTorch computed; beside it torch.onnx.export and onnxslim.
Results stay in build/coverage/TAG/NAME.*.json, so that a run goes on where it stopped; docs/coverage.md is written from them.

Run by a Python with onnx, onnxruntime, numpy. FERRY_TORCH names one with torch, torchvision, timm, transformers, onnxscript, onnxslim; FERRY_TORCH_OLD,
if set, another with an older torch; both need diffusers too, and torchao where torch has no XNNPACK quantiser itself. Detectors with NMS inside, which torch.export cannot take, come as TorchScript traces."""
import argparse
import concurrent.futures
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime

from stages import Stages

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.append(os.path.join(ROOT, "bench"))
from nodes import count
OPSET = 20                                              # what torch.onnx.export writes by default
TOLERANCE = 1e-4
WRONG = 1e-2                                            # a file of the official exporter that is further off does not compute the model
LARGE = 3.0                                             # outputs beyond are compared relative to their range


def run(command, timeout, **kw):
    """(exit code, seconds, seconds of CPU, peak MB, output) of a process of its own."""
    started = time.time()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=dict(os.environ, OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES=""), **kw)
        deadline, code = started + timeout, None
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                child.returncode = code
                break
            if time.time() > deadline:
                child.kill()
                deadline = math.inf
            time.sleep(0.002)
        out.seek(0)
        text = out.read().decode(errors="replace")
    return code, time.time() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def last(text):
    """The line that says what went wrong."""
    lines = [x for x in text.strip().splitlines() if x.strip()]
    errors = [x for x in lines if x.startswith("error[")]
    return (errors[0] if errors else lines[-1] if lines else "?").strip()[:300]


def error_of(got, want, relative):
    """Largest difference; relative to the range where outputs are not of order one. inf where shapes, kinds or NaNs differ."""
    worst = 0.0
    if len(got) != len(want):
        return math.inf
    for g, w in zip(got, want):
        if g.shape != w.shape or g.dtype != w.dtype:
            return math.inf
        if w.dtype.kind != "f":
            worst = max(worst, 0.0 if np.array_equal(g, w) else math.inf)
            continue
        if not w.size:
            continue
        d = np.abs(g.astype(np.float64) - w.astype(np.float64))
        d = np.where((g == w) | (np.isnan(g) & np.isnan(w)), 0, d)
        scale = max(1.0, float(np.nanmax(np.where(np.isfinite(w), w, np.nan)) - np.nanmin(np.where(np.isfinite(w), w, np.nan)))) if relative else 1.0
        worst = max(worst, math.inf if np.isnan(d).any() else float(d.max()) / scale)
    return worst


class Job(Stages):
    def __init__(self, options, tag, python, name):
        super().__init__(options, os.path.join(options.folder, tag), name)
        self.tag, self.python = tag, python

    def capture(self):
        code, wall, _, _, text = run([*self.o.through, self.python, os.path.join(HERE, "capture.py"), self.folder, self.name], self.o.timeout)
        if code:
            return {"error": "no answer in %d s" % self.o.timeout if code < 0 else last(text)}
        return json.load(open(self.path(".json")))

    def rival(self, variant):
        out = {}
        code, out["wall"], out["cpu"], out["peak"], text = run([*self.o.through, self.python, os.path.join(HERE, "rival.py"), self.path("-%s.pt2" % variant), self.path(".rival.onnx")], self.o.timeout)
        if code:
            return dict(out, error=last(text))
        out["nodes"] = count(self.path(".rival.onnx"))
        code, _, _, _, text = run([self.python, "-c", "import onnxslim, sys; onnxslim.slim(sys.argv[1], sys.argv[2])", self.path(".rival.onnx"), self.path(".slim.onnx")], self.o.timeout)
        if code:
            out["slim_error"] = last(text)
        else:
            out["slim"] = count(self.path(".slim.onnx"))
        return out

    def judged(self, variant, info):
        """The sizes at which the official exporter's file does not run, or gives something else than PyTorch."""
        session, record, failing = self.session(self.path(".rival.onnx"), info), np.load(self.path(".npz")), []
        for k in range(len(info["sizes"])) if variant == "dynamic" else [0]:
            feed = {i.name: record["%d.in%d" % (k, j)] for j, i in enumerate(session.get_inputs()) if "%d.in%d" % (k, j) in record.files}
            want = [record["%d.out%d" % (k, i)] for i in range(sum(x.startswith("%d.out" % k) for x in record.files))]
            try:
                if not error_of(session.run(None, feed), want, True) <= WRONG:
                    failing.append(k)
            except Exception:
                failing.append(k)
        return {"failing": failing}

    def session(self, path, info):
        options = onnxruntime.SessionOptions()
        if info.get("literal"):
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def ferry(self, variant, info):
        pt2, model, small = self.path("-%s.pt2" % variant), self.path("-%s.onnx" % variant), self.path("-%s.small.onnx" % variant)
        out = {"relative": info["relative"]}
        flags = ["--relative-to-range"] if info["relative"] else []
        code, out["wall"], out["cpu"], out["peak"], text = run([self.o.ferry, "export", pt2, "-o", model, "--opset", str(OPSET), "--threads", "1", *flags], self.o.timeout)
        if code:
            return dict(out, error="export: " + last(text))
        out["nodes"] = count(model)
        code, _, _, _, text = run([self.o.ferry, "optimize", model, "-o", small, "--threads", "1", *flags], self.o.timeout)
        if code:
            return dict(out, error="optimize: " + last(text))
        out["small"] = count(small)
        onnx.checker.check_model(onnx.load(model), full_check=True)
        onnx.checker.check_model(onnx.load(small), full_check=True)
        record = np.load(self.path(".npz"))
        sizes = range(len(info["sizes"])) if variant == "dynamic" else [0]
        worst = {"ferry": 0.0, "onnxruntime": 0.0, "ferry, optimised": 0.0}
        session = self.session(model, info)
        names, frozen = [i.name for i in session.get_inputs()], []
        for k in sizes:
            feed = {}
            every = [record["%d.in%d" % (k, i)] for i in range(sum(x.startswith("%d.in" % k) for x in record.files))]
            for i, a in zip(session.get_inputs(), every):
                feed[i.name] = a
            if any(isinstance(d, int) and d != n for i in session.get_inputs() for d, n in zip(i.shape, feed[i.name].shape)):
                frozen.append(k)                        # torch closed an axis that was asked for
                continue
            want = [record["%d.out%d" % (k, i)] for i in range(sum(x.startswith("%d.out" % k) for x in record.files))]
            worst["onnxruntime"] = max(worst["onnxruntime"], error_of(session.run(None, feed), want, info["relative"]))
            order = [o.name for o in session.get_outputs()]
            np.savez(self.path(".feed.npz"), **feed)
            for who, file in (("ferry", model), ("ferry, optimised", small)):
                code, _, _, _, text = run([self.o.ferry, "run", file, "--inputs", self.path(".feed.npz"), "--outputs", self.path(".got.npz"), "--threads", "1", "--quiet"], self.o.timeout)
                if code:
                    return dict(out, error="run: " + last(text))
                got = np.load(self.path(".got.npz"))
                worst[who] = max(worst[who], error_of([got[n] for n in order], want, info["relative"]))
        out.update(errors=worst, frozen=frozen, inputs=len(names), sizes=len(sizes) - len(frozen))
        bad = {k: v for k, v in worst.items() if not v <= TOLERANCE}
        if bad:
            out["error"] = "differs: " + ", ".join("%s %.2g" % x for x in bad.items())
        return out

    def guarded(self, variant, info):
        if any(np.abs(a[np.isfinite(a)]).max(initial=0) > LARGE for k, a in np.load(self.path(".npz")).items() if ".out" in k and a.dtype.kind == "f"):
            info["relative"] = True
        try:
            return self.ferry(variant, info)
        except Exception as error:
            return {"error": ("%s: %s" % (type(error).__name__, error)).splitlines()[0][:300]}

    def all(self):
        info = self.stage("capture", self.capture)
        made = [v for v in ("static", "dynamic") if "error" not in info.get("variants", {}).get(v, {"error": 1})]
        out = {"name": self.name, "tag": self.tag, "capture": info}
        if made:
            out["ferry"] = self.stage("ferry", lambda: {v: self.guarded(v, info) for v in made})
            if self.tag == "new" and not self.o.no_rival:
                out["rival"] = self.stage("rival", lambda: {"variant": made[-1], **self.rival(made[-1])})
                if "nodes" in out["rival"]:
                    out["rival"].update(self.stage("judged", lambda: self.judged(out["rival"]["variant"], info)))
        return out


def say(r):
    text = ["%-4s %-28s" % (r["tag"], r["name"])]
    if "error" in r["capture"]:
        text.append("not captured: " + r["capture"]["error"])
    for v, x in r.get("ferry", {}).items():
        text.append("%s %s" % (v, "FAILED " + x["error"] if "error" in x else "%.1e" % max(x["errors"].values())))
        if x.get("frozen"):
            text.append("(closed for sizes %s)" % x["frozen"])
    for v, x in r["capture"].get("variants", {}).items():
        if "error" in x:
            text.append("%s not captured: %s" % (v, x["error"][:120]))
    if "rival" in r and r.get("ferry"):
        mine, theirs = r["ferry"].get(r["rival"]["variant"], {}), r["rival"]
        least = min([theirs[k] for k in ("nodes", "slim") if k in theirs], default=None)
        text.append("nodes %s/%s against %s/%s%s, %.2f s against %.1f" % (mine.get("nodes"), mine.get("small"), theirs.get("nodes", "-"), theirs.get("slim", "-"),
                    " MORE" if least is not None and mine.get("small", 0) > least else "", mine.get("wall", 0), theirs["wall"]))
    return "  ".join(text)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("ferry")
    p.add_argument("--only", default="")
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--redo", action="append", default=[])
    p.add_argument("--torch", choices=("new", "old"))
    p.add_argument("--no-rival", action="store_true", help="without torch.onnx.export and onnxslim")
    p.add_argument("--through", default="", help="a command in front of those that take long (nice)")
    p.add_argument("--timeout", type=int, default=300)
    p.add_argument("--folder", default=os.path.join(ROOT, "build", "coverage"))
    p.add_argument("--report", action="store_true", help="only write docs/coverage.md from what there is")
    o = p.parse_args()
    o.ferry, o.through = os.path.abspath(o.ferry), o.through.split()
    pythons = {"new": os.environ.get("FERRY_TORCH", "python3"), "old": os.environ.get("FERRY_TORCH_OLD")}
    names = subprocess.run([pythons["new"], os.path.join(HERE, "capture.py"), "--list"], capture_output=True, text=True, check=True).stdout.split()[1::2]
    wanted = [n for n in names if not o.only or n in o.only.split(",")]
    jobs = [Job(o, tag, python, n) for tag, python in pythons.items() if python and o.torch in (None, tag) for n in wanted]
    if not o.report:
        with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
            for r in pool.map(lambda j: j.all(), jobs):
                print(say(r), flush=True)
    import report
    print(report.write(o.folder, names, os.path.join(ROOT, "docs", "coverage.md")))


if __name__ == "__main__":
    main()
