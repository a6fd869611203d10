#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the cases of onnx.backend.test as folders of cases, by kind: node, simple, pytorch-operator, pytorch-converted, light.

    python tools/onnx_cases.py build/conformance            # needs the onnx package
    build/ferry selftest onnx build/conformance/node        # runs them

A case is a folder: model.onnx, tolerance ("rtol atol"), test_data_set_N/input_I.pb and output_I.pb. The node cases exist in the memory of the
package only; the others are copied from its data. Nothing of this is kept in the repository: the cases belong to onnx.
"""
import glob
import os
import shutil
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.model import collect_testcases as collect_models
from onnx.backend.test.case.node import collect_testcases as collect_nodes
from onnx.backend.test.loader import DATA_DIR, load_model_tests


def message(value, info):
    if isinstance(value, (onnx.TensorProto, onnx.SequenceProto, onnx.OptionalProto)):
        return value
    kind = info.type.WhichOneof("value")
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    if kind == "sequence_type" or isinstance(value, (list, tuple)):
        return numpy_helper.from_list(value, info.name)
    if kind == "map_type" or isinstance(value, dict):
        return numpy_helper.from_dict(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def put(folder, name, proto):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(proto.SerializeToString())


def put_tolerance(folder, case):
    with open(os.path.join(folder, "tolerance"), "w") as f:
        f.write(f"{case.rtol} {case.atol}\n")


def nodes(target):
    for case in {c.name: c for c in reversed(collect_nodes())}.values():
        folder = os.path.join(target, case.name)
        put(folder, "model.onnx", case.model)
        put_tolerance(folder, case)
        for k, (inputs, outputs) in enumerate(case.data_sets):
            for what, values, infos in (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output)):
                for i, value in enumerate(values):
                    put(os.path.join(folder, f"test_data_set_{k}"), f"{what}_{i}.pb", message(value, infos[i]))


def stored(target, kind):
    for case in load_model_tests(kind=kind):
        folder = os.path.join(target, case.name)
        shutil.copytree(case.model_dir, folder, dirs_exist_ok=True)
        put_tolerance(folder, case)


def light(target):
    """The light models come with their outputs; the input is 0 .. 1 in equal steps, as onnx.backend.test.runner makes it."""
    for case in collect_models():
        if not case.url or "/data/light/" not in case.url:
            continue
        path = os.path.join(DATA_DIR, "light", os.path.basename(case.url))
        folder = os.path.join(target, case.name)
        data = os.path.join(folder, "test_data_set_0")
        os.makedirs(data, exist_ok=True)
        shutil.copy(path, os.path.join(folder, "model.onnx"))
        put_tolerance(folder, case)
        for output in glob.glob(path.replace(".onnx", "_output_*.pb")):
            shutil.copy(output, os.path.join(data, output[output.rindex("output_"):]))
        graph = onnx.load(path).graph
        weights = {w.name for w in graph.initializer}
        for i, x in enumerate([x for x in graph.input if x.name not in weights]):
            shape = [d.dim_value or 1 for d in x.type.tensor_type.shape.dim]
            values = (np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32)
            put(data, f"input_{i}.pb", numpy_helper.from_array(values, x.name))


def main():
    target = sys.argv[1]
    nodes(os.path.join(target, "node"))
    for kind in ("simple", "pytorch-operator", "pytorch-converted"):
        stored(os.path.join(target, kind), kind)
    light(os.path.join(target, "light"))
    for kind in sorted(os.listdir(target)):
        if os.path.isdir(os.path.join(target, kind)):
            print(f"{kind}: {len(os.listdir(os.path.join(target, kind)))} cases")


main()
