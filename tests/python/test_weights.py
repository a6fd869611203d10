#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_weights.py FERRY MODEL.pt2 - .safetensors between ferry and the safetensors package: what one writes the other reads, value by value; weights
that the package wrote get into a model."""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

ferry, model = sys.argv[1:3]


def call(*words):
    done = subprocess.run([ferry, *words], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def same(a, b):
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    for k in a:
        assert a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes(), k


with tempfile.TemporaryDirectory() as folder:
    path = lambda name: os.path.join(folder, name)
    r = np.random.default_rng(0)
    every = {np.dtype(t).name: (r.standard_normal((3, 5)) * 50).astype(t) for t in (np.float64, np.float32, np.float16, np.int8, np.int16, np.int32, np.int64, np.bool_)}
    every.update({np.dtype(t).name: r.integers(0, 200, (2, 3, 4)).astype(t) for t in (np.uint8, np.uint16, np.uint32, np.uint64)})
    every.update({"one": np.array(3.5, np.float32), "none": np.zeros((0, 4), np.float32), "a.long/name": np.arange(7)})
    save_file(every, path("theirs.safetensors"), metadata={"format": "np"})
    call("weights", path("theirs.safetensors"), "-o", path("ours.safetensors"))
    same(every, load_file(path("ours.safetensors")))

    call("weights", model, "-o", path("w.safetensors"))
    weights = load_file(path("w.safetensors"))
    changed = {k: (v * 0.5 if v.dtype.kind == "f" else v) for k, v in weights.items()}
    save_file(changed, path("changed.safetensors"))
    call("export", model, "--weights", path("changed.safetensors"), "-o", path("changed.onnx"))
    call("weights", path("changed.onnx"), "-o", path("back.safetensors"))
    back = load_file(path("back.safetensors"))
    common = [k for k in back if k in changed and back[k].shape == changed[k].shape]
    assert common, (list(back), list(changed))
    inside = {t.name: numpy_helper.to_array(t) for t in onnx.load(path("changed.onnx")).graph.initializer}
    for k in common:
        assert back[k].tobytes() == changed[k].tobytes(), k
        assert k not in inside or inside[k].tobytes() == changed[k].tobytes(), k
    print(f"{len(every)} tensors there and back, {len(common)} of {len(weights)} weights by name in the model")
