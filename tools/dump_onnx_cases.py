#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the node cases of onnx.backend.test as folders: model.onnx, tolerance ("rtol atol"), test_data_set_0/*.pb.

    python tools/dump_onnx_cases.py build/onnx-cases            # needs the onnx package
    build/tests/ferry-cases build/onnx-cases                    # runs them with the reference kernels

Nothing of this is kept in the repository: the cases belong to onnx and come with its package.
"""
import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases


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


def main():
    target = sys.argv[1]
    seen, skipped = set(), 0
    for case in collect_testcases():
        if case.name in seen:
            continue
        seen.add(case.name)
        folder = os.path.join(target, case.name)
        data = os.path.join(folder, "test_data_set_0")
        os.makedirs(data, exist_ok=True)
        try:
            onnx.save(case.model, os.path.join(folder, "model.onnx"))
            with open(os.path.join(folder, "tolerance"), "w") as f:
                f.write(f"{case.rtol} {case.atol}\n")
            for inputs, outputs in case.data_sets:
                for what, values, infos in (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output)):
                    for i, value in enumerate(values):
                        with open(os.path.join(data, f"{what}_{i}.pb"), "wb") as f:
                            f.write(message(value, infos[i]).SerializeToString())
        except Exception as fault:  # a dtype that numpy lacks here
            print(f"{case.name}: {fault}", file=sys.stderr)
            skipped += 1
    print(f"{len(seen)} cases, {skipped} skipped, in {target}")


main()
