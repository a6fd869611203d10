# SPDX-License-Identifier: Apache-2.0
"""Model-local functions: the node cases of every operator that ONNX defines by a function body, with the body put into the model.

    python tests/python/test_functions.py build/ferry build/conformance/node

The node's operator becomes domain "local", the schema's own body the function, its attributes' defaults the function's. ferry must give
the case's outputs, so inlining (attribute references, defaults, left-out inputs, opsets of its own) is judged by the official cases.
"""
import os
import subprocess
import sys
import tempfile

import onnx
from onnx import defs, helper


def function_of(schema, opset):
    body = schema.get_function_with_opset_version(opset) if opset in schema.function_opset_versions else schema.function_body
    function = onnx.FunctionProto()
    function.CopyFrom(body if isinstance(body, onnx.FunctionProto) else onnx.FunctionProto.FromString(body))
    function.name, function.domain = "The" + schema.name, "local"
    with_default = [a for a in schema.attributes.values() if a.default_value.name]
    del function.attribute[:]
    function.attribute.extend(a.name for a in schema.attributes.values() if not a.default_value.name)
    function.attribute_proto.extend(a.default_value for a in with_default)
    if not any(o.domain == "" for o in function.opset_import):
        function.opset_import.append(helper.make_opsetid("", opset))
    return function


def main():
    ferry, cases = sys.argv[1:3]
    made, operators = 0, set()
    with tempfile.TemporaryDirectory() as out:
        for name in sorted(os.listdir(cases)):
            path = os.path.join(cases, name, "model.onnx")
            if not os.path.exists(path):
                continue
            model = onnx.load(path)
            if len(model.graph.node) != 1 or model.functions:
                continue
            node = model.graph.node[0]
            opset = next((o.version for o in model.opset_import if o.domain == node.domain), 0)
            try:
                schema = defs.get_schema(node.op_type, opset, node.domain)
            except defs.SchemaError:
                continue
            if not schema.has_function or node.domain:
                continue
            function = function_of(schema, opset)
            node.op_type, node.domain = function.name, "local"
            model.functions.append(function)
            model.opset_import.append(helper.make_opsetid("local", 1))
            model.ir_version = max(model.ir_version, 10)
            folder = os.path.join(out, name)
            os.makedirs(folder)
            onnx.save(model, os.path.join(folder, "model.onnx"))
            for part in os.listdir(os.path.join(cases, name)):
                if part != "model.onnx":
                    os.symlink(os.path.abspath(os.path.join(cases, name, part)), os.path.join(folder, part))
            made += 1
            operators.add(schema.name)
        run = subprocess.run([ferry, "selftest", "onnx", out], capture_output=True, text=True)
        print(run.stdout, run.stderr, sep="", end="")
        print(f"{made} cases of {len(operators)} operators: {', '.join(sorted(operators))}")
        sys.exit(run.returncode or made < 100)


main()
