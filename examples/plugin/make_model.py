# SPDX-License-Identifier: Apache-2.0
"""make_model.py OUT.onnx - nearest.onnx: which centre is nearest to each point, by example.PairDistance. Needs the onnx package."""
import sys

import onnx
from onnx import TensorProto, helper

nodes = [
    helper.make_node("PairDistance", ["points", "centres"], ["distance"], domain="example", p=1.0),
    helper.make_node("ArgMin", ["distance"], ["nearest"], axis=1, keepdims=0),
]
graph = helper.make_graph(
    nodes, "nearest",
    [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["n", 2]), helper.make_tensor_value_info("centres", TensorProto.FLOAT, ["m", 2])],
    [helper.make_tensor_value_info("nearest", TensorProto.INT64, ["n"]), helper.make_tensor_value_info("distance", TensorProto.FLOAT, ["n", "m"])])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("example", 1)], ir_version=8, producer_name="make_model.py")
onnx.save(model, sys.argv[1])
