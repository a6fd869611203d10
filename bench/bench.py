"""bench.py FERRY [--quick] [--models A,B] [--threads 1,2] [--rounds N] [--seconds S] [--out DIR] - ferry against its peers, in one run.

What it does: a Python environment of its own with the peers from PyPI (those that install), the models by PyTorch (FERRY_TORCH names a Python with
torch and torchvision), export by ferry, int8 models by onnxruntime.quantization, then rounds in which every engine runs every model in turn, each
in a process of its own pinned to as many cores as it has threads; medians over the rounds; every engine's outputs against double precision.
Writes bench/results.json, docs/performance.md and docs/performance.svg (--out DIR: all three there; --quick: ResNet-18 alone, into
build/bench/quick). Run it on a machine that does nothing else.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(here)
PEERS = {"onnxruntime": ["onnxruntime"], "openvino": ["openvino"], "mnn": ["MNN"], "ncnn": ["ncnn", "pnnx"]}
MODELS = ["resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "vit_b_16", "minilm", "yolov8n", "gpt2_step", "lstm", "unet"]
INT8 = ["resnet50", "mobilenet_v2", "minilm"]
SIZED = [m + b for m in ("resnet50", "mobilenet_v2", "minilm") for b in (".b8", ".b32")] + ["minilm.t" + str(t) for t in (16, 32, 64, 256, 512)]

QUANTISE = """
import sys
import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
source, target, inputs = sys.argv[1:]
given = dict(np.load(inputs))
r = np.random.default_rng(0)
class Reader(CalibrationDataReader):
    def __init__(self):
        rows = [given]
        for i in range(7):
            rows.append({k: r.standard_normal(v.shape).astype(v.dtype) if v.dtype.kind == 'f' else v if v.max() < 2 else r.integers(0, v.max() + 1, v.shape, v.dtype) for k, v in given.items()})
        self.rows = iter(rows)
    def get_next(self):
        return next(self.rows, None)
quant_pre_process(source, target + '.pre', skip_symbolic_shape=True)
quantize_static(target + '.pre', target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
"""


def say(*words):
    print(*words, flush=True)


def call(command, **more):
    return subprocess.run(command, capture_output=True, text=True, **more)


def environment(folder, missing):
    """A Python with the peers; what does not install is said and left out."""
    python = os.path.join(folder, "venv", "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", os.path.join(folder, "venv")], check=True)
    for what in [["numpy", "onnx"]] + list(PEERS.values()):
        have = call([python, "-m", "pip", "show", "-q"] + what)
        done = have if have.returncode == 0 else call([python, "-m", "pip", "install", "-q", "--disable-pip-version-check"] + what)
        if done.returncode == 0:
            continue
        if what[0] == "numpy":
            sys.exit("numpy and onnx do not install: " + done.stderr.strip()[-300:])
        for name, packages in PEERS.items():
            if packages == what:
                missing[name] = "does not install: " + (done.stderr.strip().splitlines() or ["pip failed"])[-1][:150]
    return python


def prepare(ferry, python, folder, models, torch):
    """[(name, int8, .onnx, inputs, expected)], made once and kept in the folder."""
    todo = [m for m in models if not os.path.exists(os.path.join(folder, m + ".expected.npz"))]
    if todo:
        say("making", ", ".join(todo))
        done = call([torch, "-W", "ignore", os.path.join(here, "models.py"), folder] + todo)
        if done.returncode:
            sys.exit("models.py failed (FERRY_TORCH names a Python with torch and torchvision): " + done.stderr.strip()[-400:])
    out = []
    for m in models:
        base = os.path.join(folder, m)
        if not os.path.exists(base + ".onnx"):
            done = call([ferry, "export", base + ".pt2", "-o", base + ".onnx", "--relative-to-range"])     # boxes are in pixels
            if done.returncode:
                say(f"  {m}: ferry export failed: {(done.stderr or done.stdout).strip()[-300:]}")
                continue
        out.append((m, False, base + ".onnx", base + ".inputs.npz", base + ".expected.npz"))
        if m not in INT8:
            continue
        q = base + ".int8"
        if not os.path.exists(q + ".onnx"):
            done = call([python, "-W", "ignore", "-c", QUANTISE, base + ".onnx", q + ".onnx", base + ".inputs.npz"])
            if done.returncode:
                say(f"  {m} int8: quantisation failed: {done.stderr.strip()[-300:]}")
                continue
        if not os.path.exists(q + ".expected.npz"):
            done = call([ferry, "run", q + ".onnx", "--engine", "reference", "--inputs", base + ".inputs.npz", "-o", q + ".expected.npz", "-q"])
            if done.returncode:
                say(f"  {m} int8: the reference failed: {done.stderr.strip()[:300]}")
                continue
        out.append((m, True, q + ".onnx", base + ".inputs.npz", q + ".expected.npz"))
    return out


def last_json(text):
    return json.loads(text[text.rindex("\n{") if "\n{" in text else text.index("{"):])


def run_ferry(ferry, model, inputs, threads, seconds, outputs, exact):
    more = ["--exact"] if exact else []
    done = call([ferry, "bench", model, "--threads", str(threads), "--seconds", str(seconds), "--json"] + more)
    if done.returncode:
        return {"failed": done.stderr.strip()[:200]}
    d = json.loads(done.stdout)
    call([ferry, "run", model, "--inputs", inputs, "--threads", str(threads), "-o", outputs, "-q"] + more)
    return {"runs": d["runs"], "median": d["seconds"]["median"], "min": d["seconds"]["min"], "noise": d["noise"], "first_run": d["first_run_seconds"],
            "start": d["load_seconds"] + d["compile_seconds"], "about": d["about"], "settings": f"threads={threads}{', exact' if exact else ''}", "gflops": d["gflops"],
            "share_of_peak": d["share_of_peak"], "memory": d["memory"]}


def run_one(engine, ferry, python, case, threads, seconds, cores, outputs):
    _, _, model, inputs, _ = case
    os.sched_setaffinity(0, cores[:threads])                 # children inherit it
    if os.path.exists(outputs):
        os.unlink(outputs)
    try:
        if engine.startswith("ferry"):
            return run_ferry(ferry, model, inputs, threads, seconds, outputs, engine == "ferry-exact")
        # Whatever a peer's tools start finds the Python of the benchmark, and installs nothing.
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), PATH=os.path.dirname(python) + os.pathsep + os.environ.get("PATH", ""), PIP_NO_INDEX="1")
        done = call([python, "-W", "ignore", os.path.join(here, "drivers.py"), engine, model, inputs, str(threads), str(seconds), outputs], env=env, timeout=900)
        return last_json(done.stdout) if "{" in done.stdout else {"failed": f"ended with {done.returncode}: " + done.stderr.strip()[-150:]}
    except subprocess.TimeoutExpired:
        return {"failed": "took more than 15 minutes"}
    finally:
        os.sched_setaffinity(0, cores)


COMPARE = """
import sys
import numpy as np
want, got = np.load(sys.argv[1]), np.load(sys.argv[2])
a, b = [want[k] for k in want.files], [got[k] for k in got.files]
worst = 0.0
for x, y in zip(a, b):
    y = np.asarray(y, np.float64).reshape(-1)
    x = np.asarray(x, np.float64).reshape(-1)
    if x.shape != y.shape or not np.isfinite(y).all():
        worst = float('inf')
        break
    worst = max(worst, float(np.abs(x - y).max() / max(np.abs(x).max(), 1e-30))) if x.size else worst
print(worst if len(a) == len(b) else float('inf'))
"""


def error_of(python, expected, outputs):
    if not os.path.exists(outputs):
        return None
    done = call([python, "-c", COMPARE, expected, outputs])
    return float(done.stdout) if done.returncode == 0 else None


def machine(ferry):
    doctor = json.loads(call([ferry, "doctor", "--json"]).stdout)
    version = call([ferry, "--version"]).stdout
    with open("/proc/cpuinfo") as f:
        names = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    commit = call(["git", "-C", root, "describe", "--always", "--dirty"]).stdout.strip()
    return {"cpu": names[0] if names else platform.processor(), "cores": len(os.sched_getaffinity(0)), "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
            "kernel": platform.release(), "load": os.getloadavg()[0], "isa": version.rsplit("cpu: ", 1)[-1].strip(), "commit": f"{doctor['ferry']} ({commit})" if commit else doctor["ferry"]}


def measure(a, ferry, python, cases, engines, cores, folder, missing):
    rows, results = [], {}
    for r in range(a.rounds):
        for threads in a.threads:
            for case in cases:
                for e in engines[r % len(engines):] + engines[:r % len(engines)]:     # nobody is always first
                    key = (case[0], case[1], threads, e)
                    if results.get(key) and "failed" in results[key][-1]:
                        continue
                    outputs = os.path.join(folder, f"out.{e}.npz")
                    got = run_one(e, ferry, python, case, threads, a.seconds, cores, outputs)
                    if r == 0 and "median" in got:
                        got["error"] = error_of(python, case[4], outputs)
                        if got["error"] is not None and not got["error"] < 0.5:
                            got = {"failed": f"outputs are wrong: {got['error']:.2g} of their range"}
                    results.setdefault(key, []).append(got)
                    say(f"  round {r + 1}, {threads} thread(s), {case[0]}{' int8' if case[1] else ''}, {e}: " + (f"{got['median'] * 1e3:.2f} ms" if "median" in got else got["failed"]))
    for threads in a.threads:
        for case in cases:
            row = {"model": case[0], "int8": case[1], "threads": threads, "engines": {}}
            for e in engines:
                got = results[(case[0], case[1], threads, e)]
                if "failed" in got[-1]:
                    row["engines"][e] = got[-1]
                    continue
                one = dict(got[0], median=statistics.median(g["median"] for g in got), noise=statistics.median(g["noise"] for g in got), rounds=[g["median"] for g in got])
                row["engines"][e] = one
            rows.append(row)
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("ferry")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--models", type=lambda s: s.split(","))
    p.add_argument("--threads", type=lambda s: [int(t) for t in s.split(",")])
    p.add_argument("--rounds", type=int)
    p.add_argument("--seconds", type=float)
    p.add_argument("--out")
    a = p.parse_args()
    ferry, cores, missing = os.path.abspath(a.ferry), sorted(os.sched_getaffinity(0)), {}
    a.models = a.models or (["resnet18"] if a.quick else MODELS + SIZED)
    a.threads = [t for t in a.threads or [1, 2] if t <= len(cores)]
    a.rounds, a.seconds = a.rounds or (1 if a.quick else 5), a.seconds or (0.5 if a.quick else 2)
    unknown = [m for m in a.models if m not in MODELS + SIZED]
    if unknown:
        sys.exit(f"there is no model {unknown[0]}; there are: {', '.join(MODELS + SIZED)}")
    folder = os.environ.get("FERRY_BENCH_DIR", os.path.join(root, "build", "bench"))
    os.makedirs(folder, exist_ok=True)
    python = environment(folder, missing)
    cases = prepare(ferry, python, folder, a.models, os.environ.get("FERRY_TORCH", "python3"))
    if not cases:
        sys.exit("no model could be made")
    engines = ["ferry", "ferry-exact"] + [e for e in PEERS if e not in missing]
    result = {"machine": machine(ferry), "rounds": a.rounds, "seconds": a.seconds, "missing": missing}
    result["rows"] = measure(a, ferry, python, cases, engines, cores, folder, missing)
    sys.path.insert(0, here)
    import report
    out = a.out or (os.path.join(folder, "quick") if a.quick else None)
    os.makedirs(out or here, exist_ok=True)
    with open(os.path.join(out or here, "results.json"), "w") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    report.write(result, out or os.path.join(root, "docs"))
    with open(os.path.join(out or os.path.join(root, "docs"), "performance.md")) as f:
        say(f.read())


if __name__ == "__main__":
    main()
