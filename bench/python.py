#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a call costs in Python: one small operator, by ferry's package and by onnxruntime, alternating; with torch and torchvision installed also
ferry.export beside torch.onnx.export, on ResNet-18 in one process. Needs the wheel (make wheel), onnx, onnxruntime.

    python bench/python.py"""

import importlib.util
import os
import tempfile
import time
import warnings

import numpy as np
from onnx import TensorProto, helper

import ferry

warnings.simplefilter("ignore")


def best(call, times=20000, rounds=5):
    """Microseconds a call, in the best of some rounds."""
    call()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(times):
            call()
        found.append((time.perf_counter() - start) / times * 1e6)
    return min(found)


def calls():
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 16]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    x = np.random.default_rng(0).standard_normal((1, 16), np.float32)
    engines = [("ferry", ferry)]
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        engines.append(("onnxruntime", onnxruntime))
    for turn in range(2):
        for name, engine in engines:
            options = engine.SessionOptions()
            options.intra_op_num_threads = 1
            session = engine.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            print(f"run of one Relu of f32[1,16]: {name} {best(lambda: session.run(None, {'x': x})):.2f} us")


def exports():
    import torch
    import torchvision

    model, x = torchvision.models.resnet18(weights=None).eval(), torch.randn(1, 3, 224, 224)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.onnx")
        ways = {
            "torch.export.export alone": lambda: torch.export.export(model, (x,)),
            "ferry.export (verified)": lambda: ferry.export(model, (x,), path),
            "ferry.export verify=False": lambda: ferry.export(model, (x,), path, verify=False),
            "torch.onnx.export (not verified)": lambda: torch.onnx.export(model, (x,), path, verbose=False),
        }
        for name, way in ways.items():
            print(f"ResNet-18, torch {torch.__version__}: {name} {best(way, times=1, rounds=3) / 1e6:.2f} s")


calls()
if importlib.util.find_spec("torchvision"):
    exports()
