"""Writes large graphs as .onnx, node by node, without the onnx package's objects:

    python tests/large/make_graph.py KIND N OUT.onnx

    chain    N nodes one after the other (Relu, Add with a constant, Sigmoid)
    fan      one value with N uses, joined by Sum nodes of 1,000 inputs each
    init     N initialisers, each added once
    concat   one Concat of N inputs of the graph
    wide     N independent nodes, N outputs
    shape    N/8 times Shape, Gather, Concat, Reshape on a symbolic input
    nest     N/10 If nodes whose branches read the values around them; every tenth holds another If
    same     N nodes in pairs that compute the same (for the pass that merges them)
"""
import struct
import sys

FLOAT, INT64, BOOL = 1, 7, 9


def varint(n):
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(num, data):
    if isinstance(data, int):
        return varint(num << 3) + varint(data)
    if isinstance(data, str):
        data = data.encode()
    return varint(num << 3 | 2) + varint(len(data)) + data


def node(op, ins, outs, attrs=b""):
    return b"".join([field(1, i) for i in ins] + [field(2, o) for o in outs] + [field(4, op), attrs])


def attr_int(name, v):
    return field(5, field(1, name) + field(3, v) + field(20, 2))


def attr_graph(name, g):
    return field(5, field(1, name) + field(6, g) + field(20, 5))


def value(name, dtype, dims):
    shape = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, dtype) + field(2, shape)))


def tensor(name, dtype, dims, raw):
    return b"".join(field(1, d) for d in dims) + field(2, dtype) + field(8, name) + field(9, raw)


class Graph:
    """Parts are collected as bytes; the whole is joined once."""

    def __init__(self, name="g"):
        self.parts = [field(2, name)]

    def node(self, op, ins, outs, attrs=b""):
        self.parts.append(field(1, node(op, ins, outs, attrs)))

    def init(self, name, dtype, dims, raw):
        self.parts.append(field(5, tensor(name, dtype, dims, raw)))

    def input(self, name, dtype, dims):
        self.parts.append(field(11, value(name, dtype, dims)))

    def output(self, name, dtype, dims):
        self.parts.append(field(12, value(name, dtype, dims)))

    def bytes(self):
        return b"".join(self.parts)


ONE = struct.pack("<f", 1.0)


def chain(g, n):
    g.input("x", FLOAT, ["batch", 4])
    g.init("c", FLOAT, [], ONE)
    last = "x"
    for i in range(n):
        v = "v%d" % i
        g.node(("Relu", "Add", "Sigmoid")[i % 3], [last, "c"] if i % 3 == 1 else [last], [v])
        last = v
    g.output(last, FLOAT, ["batch", 4])


def fan(g, n):
    g.input("x", FLOAT, ["batch", 4])
    parts = []
    for i in range(n):
        g.node("Relu" if i % 2 else "Sigmoid", ["x"], ["v%d" % i])
    for i in range(0, n, 1000):
        parts.append("s%d" % i)
        g.node("Sum", ["v%d" % k for k in range(i, min(i + 1000, n))], [parts[-1]])
    g.node("Sum", parts, ["y"])
    g.output("y", FLOAT, ["batch", 4])


def init(g, n):
    g.input("x", FLOAT, ["batch", 4])
    last = "x"
    for i in range(n):
        g.init("w%d" % i, FLOAT, [4], struct.pack("<4f", i, 1, 2, 3))
        g.node("Add", [last, "w%d" % i], ["v%d" % i])
        last = "v%d" % i
    g.output(last, FLOAT, ["batch", 4])


def concat(g, n):
    for i in range(n):
        g.input("x%d" % i, FLOAT, ["batch", "n%d" % (i % 100)])
    g.node("Concat", ["x%d" % i for i in range(n)], ["y"], attr_int("axis", 1))
    g.output("y", FLOAT, ["batch", "total"])


def wide(g, n):
    g.input("x", FLOAT, ["batch", 4])
    for i in range(n):
        g.init("w%d" % i, FLOAT, [4], struct.pack("<4f", i, 1, 2, 3))
        g.node("Mul", ["x", "w%d" % i], ["y%d" % i])
        g.output("y%d" % i, FLOAT, ["batch", 4])


def shape(g, n):
    g.input("x", FLOAT, ["batch", "seq", 8])
    for name, v in (("zero", 0), ("two", 2), ("minus", -1)):
        g.init(name, INT64, [1], struct.pack("<q", v))
    last = "x"
    for i in range(n // 8):
        p = "b%d_" % i
        g.node("Shape", [last], [p + "s"])
        g.node("Gather", [p + "s", "zero"], [p + "b"])
        g.node("Gather", [p + "s", "two"], [p + "c"])
        g.node("Concat", [p + "b", "minus", p + "c"], [p + "t"], attr_int("axis", 0))
        g.node("Reshape", [last, p + "t"], [p + "r"])
        g.node("Relu", [p + "r"], [p + "u"])
        g.node("Add", [p + "u", last], [p + "a"])
        g.node("Sigmoid", [p + "a"], [p + "y"])
        last = p + "y"
    g.output(last, FLOAT, ["batch", "seq", 8])


def branch(name, read, inner=None):
    b = Graph(name)
    b.node("Relu", [read], [name + "_r"])
    b.node("Add", [name + "_r", read], [name + "_a"])
    last = name + "_a"
    if inner:
        b.node("If", ["cond"], [name + "_i"], inner)
        last = name + "_i"
    b.node("Sigmoid", [last], [name + "_y"])
    b.output(name + "_y", FLOAT, ["batch", 4])
    return b.bytes()


def nest(g, n):
    g.input("x", FLOAT, ["batch", 4])
    g.input("cond", BOOL, [])
    last = "x"
    for i in range(n // 10):
        inner = None
        if i % 10 == 9:
            inner = attr_graph("then_branch", branch("it%d" % i, last)) + attr_graph("else_branch", branch("ie%d" % i, last))
        a = attr_graph("then_branch", branch("t%d" % i, last, inner)) + attr_graph("else_branch", branch("e%d" % i, last))
        g.node("If", ["cond"], ["v%d" % i], a)
        last = "v%d" % i
    g.output(last, FLOAT, ["batch", 4])


def same(g, n):
    g.input("x", FLOAT, ["batch", 4])
    last = "x"
    for i in range(n // 4):
        g.node("Relu", [last], ["a%d" % i])
        g.node("Relu", [last], ["b%d" % i])
        g.node("Identity", ["b%d" % i], ["c%d" % i])
        g.node("Add", ["a%d" % i, "c%d" % i], ["d%d" % i])
        last = "d%d" % i
    g.output(last, FLOAT, ["batch", 4])


KINDS = {f.__name__: f for f in (chain, fan, init, concat, wide, shape, nest, same)}


def main():
    kind, n, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    g = Graph()
    KINDS[kind](g, n)
    body = g.bytes()
    with open(path, "wb") as f:
        f.write(field(1, 9) + varint(7 << 3 | 2) + varint(len(body)))
        f.write(body)
        f.write(field(8, field(2, 17)))


if __name__ == "__main__":
    main()
