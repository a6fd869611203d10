"""nodes.py - how many nodes a model has, in bodies and functions too; constants are none."""
import onnx


def count(path):
    def graph(g):
        n = 0
        for node in g.node:
            n += node.op_type != "Constant"
            for a in node.attribute:
                n += graph(a.g) if a.type == onnx.AttributeProto.GRAPH else sum(graph(x) for x in a.graphs)
        return n
    model = onnx.load(path, load_external_data=False)
    return graph(model.graph) + sum(sum(n.op_type != "Constant" for n in f.node) for f in model.functions)
