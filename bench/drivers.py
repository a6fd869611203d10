"""drivers.py ENGINE MODEL.onnx INPUTS.npz THREADS SECONDS OUTPUTS.npz - one engine on one model: prints one JSON document.

Each engine runs with the settings that its documentation gives for latency on a CPU, in single precision (lower precisions that some choose by
themselves are turned off: the comparison is of the same numbers). Settings are in the document. Run by the Python of the benchmark, pinned from
outside. Timings: after a first run and a fifth of the time to warm up, each run by itself; the quantiles are of these.
"""
import json
import os
import re
import subprocess
import sys
import time

import numpy as np


def measure(run, seconds):
    begin = time.perf_counter()
    outputs = run()
    first = time.perf_counter() - begin
    begin = time.perf_counter()
    run()
    while time.perf_counter() - begin < seconds / 5:
        run()
    times, spent = [], 0.0
    while spent < seconds or len(times) < 5:
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
        spent += times[-1]
        if spent > 4 * seconds + 1:
            break
    q1, median, q3 = np.quantile(times, [0.25, 0.5, 0.75])
    return {"runs": len(times), "median": median, "min": min(times), "noise": (q3 - q1) / 2 / median, "first_run": first}, outputs


def last_words(done):
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in (done.stdout + done.stderr).splitlines()]
    return f"ended with {done.returncode}: " + " ".join([line for line in lines if line][-2:])[-150:]


def order_of(model):
    import onnx
    g = onnx.load(model, load_external_data=False).graph
    constants = {t.name for t in g.initializer}
    return [i.name for i in g.input if i.name not in constants], [o.name for o in g.output]


def run_onnxruntime(model, inputs, threads, seconds):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads = threads, 1
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    o.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    o.log_severity_level = 3
    begin = time.perf_counter()
    s = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])
    start = time.perf_counter() - begin
    r, out = measure(lambda: s.run(None, inputs), seconds)
    return r, out, start, "ONNX Runtime " + ort.__version__, f"CPUExecutionProvider, intra_op_num_threads={threads}, inter_op_num_threads=1, ORT_ENABLE_ALL, sequential"


def run_openvino(model, inputs, threads, seconds):
    import openvino as ov
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    begin = time.perf_counter()
    core = ov.Core()
    c = core.compile_model(core.read_model(model), "CPU", settings)
    start = time.perf_counter() - begin
    q = c.create_infer_request()
    names, _ = order_of(model)
    feed = {i: inputs[n] for i, n in enumerate(names)}
    r, _ = measure(lambda: q.infer(feed, share_inputs=True, share_outputs=True), seconds)
    out = [np.array(q.get_output_tensor(i).data) for i in range(len(c.outputs))]
    return r, out, start, "OpenVINO " + ov.__version__.split("-")[0], ", ".join(f"{k}={v}" for k, v in settings.items())


def run_mnn(model, inputs, threads, seconds):
    import MNN
    import MNN.expr as expr
    import MNN.nn as nn
    made = model + ".mnn"
    if not os.path.exists(made):
        # The converter itself, not the script mnnconvert: that one installs a logging package by whatever pip is on the path, and reports each use.
        convert = "import sys, _tools; _tools.mnnconvert(['mnnconvert'] + sys.argv[1:])"
        done = subprocess.run([sys.executable, "-c", convert, "-f", "ONNX", "--modelFile", model, "--MNNModel", made, "--bizCode", "bench"], capture_output=True, text=True)
        if done.returncode or not os.path.exists(made):
            raise RuntimeError("converter: " + last_words(done))
    names, outputs = order_of(model)
    begin = time.perf_counter()
    runtime = nn.create_runtime_manager(({"backend": 0, "numThread": threads, "precision": "high", "memory": "normal", "power": "high"},))
    net = nn.load_module_from_file(made, names, outputs, runtime_manager=runtime)
    start = time.perf_counter() - begin
    held = []
    for n in names:
        a = inputs[n]
        v = expr.placeholder(list(a.shape), expr.NCHW, expr.int if a.dtype.kind == "i" else expr.float)
        v.write(np.ascontiguousarray(a.astype(np.int32 if a.dtype.kind == "i" else np.float32)).ravel().tolist())
        held.append(v)

    def once():
        out = net.forward(held)
        return [o.read() for o in (out if isinstance(out, (list, tuple)) else [out])]
    r, _ = measure(once, seconds)
    out = [np.array(expr.convert(o, expr.NCHW).read()) if len(o.shape) == 4 else np.array(o.read()) for o in net.forward(held)]
    return r, out, start, "MNN " + MNN.version(), f"CPU, numThread={threads}, precision=high (single), power=high, converted by its own converter"


def run_ncnn(model, inputs, threads, seconds):
    import ncnn
    base = model[:-5]
    param = base + ".ncnn.param"
    names, outputs = order_of(model)
    if any(len(a) != 1 for a in inputs.values()):
        raise RuntimeError("an ncnn.Mat has no batch")
    if not os.path.exists(param):
        tool = os.path.join(os.path.dirname(sys.executable), "pnnx")
        shapes = ",".join(f"[{','.join(map(str, inputs[n].shape))}]" + {"f": "f32", "i": "i64"}[inputs[n].dtype.kind] for n in names)
        done = subprocess.run([tool, model, "fp16=0", "inputshape=" + shapes], capture_output=True, text=True, cwd=os.path.dirname(model))
        if not os.path.exists(param):
            raise RuntimeError("pnnx: " + last_words(done))
    if any(inputs[n].dtype.kind == "i" for n in names):
        raise RuntimeError("integer inputs are not carried to ncnn here")
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    begin = time.perf_counter()
    if net.load_param(param) or net.load_model(base + ".ncnn.bin"):
        raise RuntimeError("ncnn cannot load what pnnx made")
    start = time.perf_counter() - begin
    feed = [(f"in{i}", ncnn.Mat(np.ascontiguousarray(inputs[n][0])).clone()) for i, n in enumerate(names)]

    def once():
        x = net.create_extractor()
        for name, mat in feed:
            x.input(name, mat)
        got = []
        for i in range(len(outputs)):
            code, mat = x.extract(f"out{i}")
            if code:
                raise RuntimeError(f"ncnn: extract gives {code}")
            got.append(mat)
        return got
    r, out = measure(once, seconds)
    return r, [np.array(m)[None] for m in out], start, "ncnn " + ncnn.__version__, f"num_threads={threads}, single precision (fp16 and bf16 off), Winograd on, converted by pnnx"


def main():
    engine, model, inputs, threads, seconds, outputs = sys.argv[1:7]
    feed = dict(np.load(inputs))
    try:
        r, out, start, about, settings = globals()["run_" + engine](os.path.abspath(model), feed, int(threads), float(seconds))
        np.savez(outputs, **{str(i): o for i, o in enumerate(out)})
        r.update(about=about, settings=settings, start=start)
    except Exception as e:                                  # an engine that cannot is a result as well
        r = {"failed": (type(e).__name__ + ": " + str(e)).split("\n")[0][:200]}
    print("\n" + json.dumps(r))


if __name__ == "__main__":
    main()
