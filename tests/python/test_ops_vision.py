"""Operators of signal processing, linear algebra and vision against ONNX Runtime and onnx's reference, over random configurations:

    python tests/python/test_ops_vision.py build/ferry FOLDER [SEED]

Each configuration becomes a case folder as onnx.backend.test lays them out, with what the oracle computes as its output;
`ferry selftest onnx` judges them all. ONNX Runtime is the oracle where it computes in double or loses nothing; where it
lacks the operator, or computes a transform in f32, it is onnx's reference on the same numbers in double. Half precision is judged
by the double oracle on the rounded inputs, within one step of the dtype.
"""
import pathlib
import shutil
import subprocess
import sys

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from onnx.reference import ReferenceEvaluator

ort.set_default_logger_severity(4)
ferry, folder = sys.argv[1], pathlib.Path(sys.argv[2])
rng = np.random.default_rng(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
shutil.rmtree(folder, ignore_errors=True)
ort_runs = 0
count, compared, skipped = {}, {"onnxruntime": 0, "in double": 0}, {}
FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
STEP = {"float32": (1e-5, 1e-6), "float64": (1e-9, 1e-11), "float16": (2e-3, 1e-3), "bfloat16": (2e-2, 8e-3)}


def onnx_type(x):
    return h.np_dtype_to_tensor_dtype(x.dtype)


def model(op, inputs, attrs, opset, out):
    """Inputs that are left out are None."""
    names = ["" if x is None else f"in{i}" for i, x in enumerate(inputs)]
    vi = [h.make_tensor_value_info(f"in{i}", onnx_type(x), x.shape) for i, x in enumerate(inputs) if x is not None]
    g = h.make_graph([h.make_node(op, names, ["y"], **attrs)], op, vi, [h.make_tensor_value_info("y", out, None)])
    return h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=10)


def run_ort(m, inputs):
    global ort_runs
    ort_runs += 1
    feed = {f"in{i}": x for i, x in enumerate(inputs) if x is not None}
    return ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)[0]


def run_reference(m, inputs):
    return ReferenceEvaluator(m).run(None, {f"in{i}": x for i, x in enumerate(inputs) if x is not None})[0]


def widen(x, wide):
    return x.astype(np.float64) if wide and x is not None and x.dtype.name in STEP else x


def case(op, inputs, attrs=None, opset=22, out=None, oracle="onnxruntime", tol=None):
    """Writes one case. `out`: dtype of y, default that of input 0. oracle: "onnxruntime", "reference", or a function of the inputs."""
    attrs, dtype = attrs or {}, out or onnx_type(inputs[0])
    name = h.tensor_dtype_to_np_dtype(dtype).name
    wide, before = name in STEP and out is None, ort_runs
    m = model(op, inputs, attrs, opset, dtype)
    try:
        given = [widen(x, wide) for x in inputs]
        if callable(oracle):
            want = oracle(*given)
        else:
            wm = model(op, given, attrs, opset, T.DOUBLE if wide else dtype)
            want = (run_ort if oracle == "onnxruntime" else run_reference)(wm, given)
    except Exception as e:                                   # the oracle lacks it: said at the end
        skipped[op] = (skipped.get(op, (0, ""))[0] + 1, str(e).split("\n")[0][:150])
        return
    compared["onnxruntime" if ort_runs > before else "in double"] += 1
    k = count[op] = count.get(op, 0) + 1
    at = folder / f"{op}_{k:03d}"
    data = at / "test_data_set_0"
    data.mkdir(parents=True)
    onnx.save(m, at / "model.onnx")
    rtol, atol = tol or STEP.get(name, (0, 0))
    (at / "tolerance").write_text(f"{rtol} {atol}\n")
    for i, x in enumerate(x for x in inputs if x is not None):
        (data / f"input_{i}.pb").write_bytes(nh.from_array(x).SerializeToString())
    want = np.asarray(want).astype(h.tensor_dtype_to_np_dtype(dtype))
    (data / "output_0.pb").write_bytes(nh.from_array(want).SerializeToString())


def normal(*shape, kind=np.float32):
    return rng.standard_normal(shape).astype(np.float32).astype(kind)


def pick(*of):
    return of[rng.integers(len(of))]


def scalar(v):
    return np.array(v, pick(np.int32, np.int64))


# ---- signal ----------------------------------------------------------------------------------------------------------

for _ in range(120):
    kind, inverse, onesided = pick(*FLOATS), int(rng.integers(2)), int(rng.integers(2))
    rank = int(rng.integers(2, 5))
    axis = int(rng.integers(rank - 1))
    shape = [int(v) for v in rng.integers(1, 4, rank)]
    shape[axis] = int(pick(rng.integers(2, 40), rng.integers(2, 300), 127, 128, 211))
    shape[-1] = (2 if inverse else 1) if onesided else pick(1, 2)
    length = scalar(int(rng.integers(1, 2 * shape[axis] + 2))) if rng.integers(2) else None
    x = normal(*shape, kind=kind)

    def dft(v, n=None, a=None, inverse=inverse, onesided=onesided, axis=axis):
        z = v[..., 0] + (1j * v[..., 1] if v.shape[-1] == 2 else 0)
        n = None if n is None else int(n)
        if onesided and inverse:
            return np.fft.irfft(z, n, axis)[..., None]
        r = np.fft.ifft(z, n, axis) if inverse else np.fft.rfft(z.real, n, axis) if onesided else np.fft.fft(z, n, axis)
        return np.stack([r.real, r.imag], -1)

    at = np.array(pick(axis, axis - rank), np.int64)
    attrs = {"inverse": inverse, "onesided": onesided}
    grows = 1e-6 * (1 if inverse else shape[axis])           # sums of n terms: rounding of the result alone, at its size
    tol = {"float32": (1e-5, grows), "float64": (1e-10, 1e-11)}.get(np.dtype(kind).name)
    case("DFT", [x, length, at], attrs, 20, oracle=dft, tol=tol)
    if length is None and kind in (np.float32, np.float64) and not (inverse and onesided):
        case("DFT", [x, length, at], attrs, 20, tol=(1e-3, 1e-3))            # ONNX Runtime sums in the dtype itself
    if np.dtype(kind).name.startswith("float"):
        case("DFT", [x, length], dict(attrs, axis=axis), 17, oracle=dft, tol=tol)

for _ in range(60):
    kind, n = pick(np.float32, np.float64), int(rng.integers(4, 60))
    frame = int(rng.integers(1, n + 1))
    how = int(rng.integers(3))
    window, length = normal(frame, kind=kind) if how != 1 else None, np.array(frame, np.int64) if how != 0 else None
    inputs = [normal(2, n, 1, kind=kind), np.array(rng.integers(1, 9), np.int64), window, length]
    case("STFT", inputs, {"onesided": int(rng.integers(2))}, 17, oracle="reference", tol=(1e-5, 1e-5) if kind is np.float32 else None)
    case("STFT", inputs, {"onesided": int(rng.integers(2))}, 17, tol=(1e-3, 1e-3))

for op in ("HannWindow", "HammingWindow", "BlackmanWindow"):
    for _ in range(12):
        n, periodic = int(rng.integers(2, 200)), int(rng.integers(2))
        for out, tol in ((T.FLOAT, (1e-5, 1e-6)), (T.DOUBLE, (1e-5, 1e-6))):
            case(op, [scalar(n)], {"periodic": periodic, "output_datatype": out}, 17, out, tol=tol)

for _ in range(40):
    bands, length, rate = int(rng.integers(1, 20)), int(rng.integers(16, 512)), int(pick(8000, 16000, 22050))
    low, high = np.float32(rng.integers(0, 300)), np.float32(rng.integers(400, rate // 2))
    inputs = [np.array(v, np.int64) for v in (bands, length, rate)] + [np.array(v, np.float64) for v in (low, high)]
    case("MelWeightMatrix", inputs, {"output_datatype": T.FLOAT}, 17, T.FLOAT, oracle="reference", tol=(1e-6, 0))

# ---- linear algebra --------------------------------------------------------------------------------------------------

for _ in range(60):
    n, kind = int(rng.integers(1, 9)), pick(*FLOATS)
    x = normal(*[int(v) for v in rng.integers(1, 4, rng.integers(0, 4))], n, n, kind=kind)
    if rng.integers(5) == 0:
        x[..., 0, :] = x[..., -1, :] if n > 1 else 0
    case("Det", [x], opset=22, oracle=np.linalg.det, tol={"float32": (1e-5, 1e-6), "float64": (1e-9, 1e-12)}.get(np.dtype(kind).name))
    if kind is np.float32 and n < 5:
        case("Det", [x], opset=11, oracle=lambda v: run_ort(model("Det", [v.astype(np.float32)], {}, 11, T.FLOAT), [v.astype(np.float32)]), tol=(1e-4, 1e-4))

# ---- vision ----------------------------------------------------------------------------------------------------------

for _ in range(60):
    group, offsets, kind = int(rng.integers(1, 3)), int(rng.integers(1, 3)), pick(np.float32, np.float64)
    c, m = group * offsets * int(rng.integers(1, 3)), group * int(rng.integers(1, 3))
    k, stride, dilation = rng.integers(1, 4, 2), rng.integers(1, 3, 2), rng.integers(1, 3, 2)
    pads, extent = rng.integers(0, 3, 4), dilation * (k - 1) + 1
    size = extent + rng.integers(1, 5, 2)                    # onnx's reference divides by size - 1
    out = (size + pads[:2] + pads[2:] - extent) // stride + 1
    n = int(rng.integers(1, 3))
    taps = int(k[0] * k[1])
    offset = (normal(n, offsets * taps * 2, *out) * 2).astype(kind)
    bias = normal(m, kind=kind) if rng.integers(2) else None
    mask = normal(n, offsets * taps, *out, kind=kind) if rng.integers(2) else None
    inputs = [normal(n, c, *size, kind=kind), normal(m, c // group, *k, kind=kind), offset, bias, mask]
    while inputs[-1] is None:
        inputs.pop()
    attrs = {"kernel_shape": k.tolist(), "strides": stride.tolist(), "dilations": dilation.tolist(), "pads": pads.tolist(), "group": group, "offset_group": offsets}
    case("DeformConv", inputs, attrs, pick(19, 22), oracle="reference", tol=(1e-5, 1e-5))  # its GridSample runs in f32
    if kind is np.float32:
        ort_inputs = lambda *v: run_ort(model("DeformConv", [None if x is None else x.astype(np.float32) for x in v], attrs, 19, T.FLOAT),
                                        [None if x is None else x.astype(np.float32) for x in v])
        case("DeformConv", inputs, attrs, 19, oracle=ort_inputs, tol=(1e-4, 1e-4))

for _ in range(40):
    nd, kind = int(rng.integers(1, 4)), np.float32
    k = rng.integers(1, 4, nd)
    stride = rng.integers(1, 4, nd)
    pads = np.minimum(rng.integers(0, 2, 2 * nd), np.concatenate([k, k]) - 1)
    shape = [int(v) for v in rng.integers(1, 3, 2)] + [int(v) for v in rng.integers(2, 5, nd)]
    full = shape[:2] + [int(v) for v in (np.array(shape[2:]) - 1) * stride + k - pads[:nd] - pads[nd:]]
    values = normal(*shape)
    index = rng.permutation(int(np.prod(full)))
    if min(full) < 1 or index.size < values.size:
        continue
    index = index[:values.size].reshape(shape).astype(np.int64)
    attrs = {"kernel_shape": k.tolist(), "strides": stride.tolist(), "pads": pads.tolist()}
    exact = lambda *v: run_ort(model("MaxUnpool", [v[0].astype(np.float32), *v[1:]], attrs, 11, T.FLOAT), [v[0].astype(np.float32), *v[1:]])
    case("MaxUnpool", [values, index], attrs, 11, oracle=exact, tol=(0, 0))
    larger = np.array(full[:2] + [v + int(rng.integers(0, 3)) for v in full[2:]], np.int64)
    case("MaxUnpool", [values, index, larger], attrs, 22, oracle="reference", tol=(0, 0))

for _ in range(60):
    shape = [int(v) for v in rng.integers(1, 3, 2)] + [int(v) for v in rng.integers(2, 20, 2)]
    count_ = int(rng.integers(0, 5)) if rng.integers(4) == 0 else int(rng.integers(1, 5))
    rois = np.concatenate([rng.integers(0, shape[0], (count_, 1)), rng.integers(-4, 50, (count_, 4))], 1).astype(np.float32)
    pooled = [int(v) for v in 2 ** rng.integers(0, 4, 2)]    # powers of two: ONNX Runtime's f32 bins are exact
    scale = pick(1.0, 0.5, 0.25)
    roi_pool = lambda x, r: run_ort(model("MaxRoiPool", [x.astype(np.float32), r.astype(np.float32)], {"pooled_shape": pooled, "spatial_scale": scale}, 1, T.FLOAT),
                                    [x.astype(np.float32), r.astype(np.float32)])
    case("MaxRoiPool", [normal(*shape), rois], {"pooled_shape": pooled, "spatial_scale": scale}, pick(11, 22), oracle=roi_pool, tol=(0, 0))

for _ in range(30):
    shape, kind = [int(v) for v in rng.integers(1, 5, 4)], pick(np.float32, np.int32, np.uint8)
    scales = np.array([1, 1, pick(1.0, 1.5, 2.0, 2.5, 3.0), pick(1.0, 1.5, 2.0, 4.0)], np.float32)
    x = (normal(*shape) * 20).astype(kind) if kind is not np.uint8 else rng.integers(0, 256, shape, dtype=np.uint8)
    mode = "nearest" if kind not in (np.float32,) else pick("nearest", "linear")
    upsample = lambda *v: run_ort(model("Upsample", [x, scales], {"mode": mode}, 9, onnx_type(x)), [x, scales])
    case("Upsample", [x, scales], {"mode": mode}, 9, oracle=upsample, tol=(1e-5, 1e-6))
    if kind is np.float32:
        case("Upsample", [x], {"mode": mode, "scales": [float(s) for s in scales]}, 7, oracle=upsample, tol=(1e-5, 1e-6))

print(", ".join(f"{op} {n}" for op, n in sorted(count.items())))
print("oracles:", ", ".join(f"{k} {n}" for k, n in compared.items() if n))
for op, (n, why) in sorted(skipped.items()):
    print(f"{op}: {n} configurations that the oracle refuses, e.g. {why}")
assert set(count) == {"DFT", "STFT", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix", "Det", "DeformConv", "MaxUnpool", "MaxRoiPool", "Upsample"}
sys.exit(subprocess.run([ferry, "selftest", "onnx", str(folder)]).returncode)
