"""Every fixture archive: exported by the program, checked by onnx (full_check), run by onnxruntime and by ferry against what PyTorch recorded.

usage: test_export.py FERRY FIXTURES [--opset N ...] [NAME ...]      (prints one line per failure, and a count)
Files: FIXTURES/<torch>/NAME.pt2 with NAME.npz (in0.., out0.., and other_in0.., other_out0.. for dynamic models).
"""
import argparse, pathlib, subprocess, sys, tempfile

import numpy as np
import onnx
import onnxruntime as ort

TOLERANCE = 1e-4


def feeds_of(names, recorded, prefix):
    """Graph inputs are the tensor leaves in order; literals that the export bound are not inputs."""
    given = [recorded[k] for k in sorted((k for k in recorded.files if k.startswith(prefix + "in") and k[len(prefix) + 2:].isdigit()), key=lambda k: int(k[len(prefix) + 2:]))]
    if len(given) != len(names):
        given = [g for g in given if g.ndim > 0][:len(names)]
    given = [np.stack([g.real, g.imag], -1) if g.dtype.kind == "c" else g for g in given]      # complex numbers are pairs
    return dict(zip(names, given))


# What other engines compute differently, by (fixture, output): the bound, and why.
WIDER = {
    ("onnxruntime", "edge", "l.0"): (4e-3, "goes through float16; onnxruntime drops the rounding of the float16 casts"),
}


# Programs of operators that onnxruntime runs at every dtype that is in them.
OPERATORS = ("complex", "complex_in", "control", "counts", "index", "layers", "losses", "odd", "products", "quant", "rare", "reduce", "sensitive", "smooth", "views", "vision")


def compare(got, want, what, wider=0.0):
    if got.shape != want.shape:
        return f"{what}: shape {got.shape}, PyTorch {want.shape}"
    if got.dtype != want.dtype:
        return f"{what}: dtype {got.dtype}, PyTorch {want.dtype}"
    if want.dtype.kind == "f":
        worst = float(np.max(np.abs(got.astype(np.float64) - want.astype(np.float64)), initial=0.0))
        bound = TOLERANCE if want.dtype != np.float16 else 8 * np.finfo(np.float16).eps * max(1.0, float(np.abs(want).max(initial=0)))
        if not worst < max(bound, wider) and not np.array_equal(got, want, equal_nan=True):
            return f"{what}: max abs error {worst:.3g}"
    elif not np.array_equal(got, want):
        return f"{what}: differs"
    return None


def run_ferry(ferry, model, feed, folder):
    np.savez(folder / "in.npz", **feed)
    done = subprocess.run([ferry, "run", str(model), "--inputs", str(folder / "in.npz"), "--outputs", str(folder / "out.npz"), "-q"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    out = np.load(folder / "out.npz")
    return [out[k] for k in out.files]


def check_one(ferry, pt2, opset, folder, verify):
    model = folder / "m.onnx"
    command = [ferry, "export", str(pt2), "-o", str(model), "--opset", str(opset), "-q"] + ([] if verify else ["--no-verify"])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return ["export: " + (done.stderr.strip() or done.stdout.strip())]
    faults = []
    loaded = onnx.load(str(model))
    try:
        onnx.checker.check_model(loaded, full_check=True)
    except Exception as e:
        faults.append(f"onnx.checker: {str(e)[:300]}")
    if loaded.opset_import[0].version != opset:
        faults.append(f"opset {loaded.opset_import[0].version} instead of {opset}")
    recorded = np.load(pt2.with_suffix(".npz"))
    names, outs = [i.name for i in loaded.graph.input], [o.name for o in loaded.graph.output]
    for prefix in ("", "other_", "third_"):
        feed = feeds_of(names, recorded, prefix)
        for i in loaded.graph.input:                         # declared state: starts as the buffer was exported, zeros here
            if i.name not in feed and any(p.key.startswith("ferry.state") for p in loaded.metadata_props):
                feed[i.name] = np.zeros([d.dim_value for d in i.type.tensor_type.shape.dim], onnx.helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type))
        if len(feed) != len(names):
            if not prefix:
                faults.append(f"inputs {names}, recorded {len(feed)}")
            continue
        want = [recorded[f"{prefix}out{i}"] for i in range(1000) if f"{prefix}out{i}" in recorded.files]
        for who in ("onnxruntime", "ferry"):
            try:
                if who == "ferry":
                    got = run_ferry(ferry, model, feed, folder)
                else:
                    options = ort.SessionOptions()
                    options.log_severity_level = 3
                    options.intra_op_num_threads = 1
                    got = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]).run(None, feed)
            except Exception as e:
                faults.append(f"{who} {prefix}: {str(e)[:400]}")
                continue
            named = [(g, n) for g, n in zip(got, outs) if len(got) == len(want) or g.ndim or g.dtype.kind not in "if"]     # ints that are outputs are not recorded
            if len(named) > len(want):
                named = named[:len(want)]                    # state comes last
            got, these = [g for g, _ in named], [n for _, n in named]
            if len(got) < len(want):
                faults.append(f"{who} {prefix}: {len(got)} outputs, PyTorch {len(want)}")
            faults += [f for f in (compare(g, w, f"{who} {prefix}{n}", WIDER.get((who, pt2.stem.split("_")[0], n), (0, ""))[0]) for g, w, n in zip(got, want, these)) if f]
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ferry")
    parser.add_argument("fixtures", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--opset", type=int, nargs="*", default=[17])
    parser.add_argument("--verify", action="store_true", help="let export verify, too")
    a = parser.parse_args()
    passed = failed = 0
    for pt2 in sorted([*a.fixtures.glob("t*/*.pt2"), *a.fixtures.glob("zoo/*.pt2"), *a.fixtures.glob("quantised/*.pt2"), *(a.fixtures / "ops" / f"{n}.pt2" for n in OPERATORS)]):
        if a.names and pt2.stem not in a.names:
            continue
        for opset in a.opset:
            with tempfile.TemporaryDirectory() as folder:
                faults = check_one(a.ferry, pt2, opset, pathlib.Path(folder), a.verify)
            passed += not faults
            failed += bool(faults)
            for f in faults:
                print(f"FAIL {pt2.parent.name}/{pt2.stem} opset {opset}: {f}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
