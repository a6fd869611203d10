"""ferry optimize against onnxruntime: random models of the patterns that the passes rewrite, at many opsets.

    python tests/python/test_optimize.py build/ferry [PATTERN ...]

Each model is optimised; the result must pass onnx.checker (full), keep its opset and the names of inputs and outputs, have no more nodes, give what the original gives in
onnxruntime (at the sizes of the inputs and at others where an axis is dynamic), and not change when it is optimised again."""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

FERRY = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "build/ferry"


class Graph:
    """Nodes by name: g("Mul", x, 0.5) is the name of a new value; numbers and arrays become constants."""

    def __init__(self, rng, opset):
        self.rng, self.opset, self.nodes, self.consts, self.inputs, self.n = rng, opset, [], [], [], 0

    def name(self):
        self.n += 1
        return "v%d" % self.n

    def const(self, value, dtype=np.float32):
        name = self.name()
        value = np.asarray(value)
        if value.dtype == np.float64:
            value = value.astype(dtype)
        if self.rng.random() < 0.3:                          # as an initialiser or as a node
            self.nodes.append(h.make_node("Constant", [], [name], value=numpy_helper.from_array(value)))
        else:
            self.consts.append(numpy_helper.from_array(value, name))
        return name

    def __call__(self, op, *inputs, outputs=1, **attrs):
        names = [x if isinstance(x, str) else self.const(x) for x in inputs]
        out = [self.name() for _ in range(outputs)]
        self.nodes.append(h.make_node(op, names, out, **attrs))
        return out[0] if outputs == 1 else out

    def input(self, shape, dtype=T.FLOAT, dynamic=()):
        name = "in%d" % len(self.inputs)
        self.inputs.append((name, list(shape), dtype))
        self.nodes_input = getattr(self, "nodes_input", [])
        self.nodes_input.append(h.make_tensor_value_info(name, dtype, [("n%d" % i if i in dynamic else d) for i, d in enumerate(shape)]))
        return name

    def random(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    def maybe(self, a, b):
        """Operands of a commutative node, in either order."""
        return (a, b) if self.rng.random() < 0.5 else (b, a)

    def axes(self, op, x, axes, **attrs):
        """A reduction, whose axes became an input with opset 18 (ReduceSum: 13)."""
        if self.opset >= (13 if op == "ReduceSum" else 18):
            return self(op, x, np.array(axes, np.int64), **attrs)
        return self(op, x, axes=list(axes), **attrs)

    def model(self, outputs):
        graph = h.make_graph(self.nodes, "g", self.nodes_input, [h.make_tensor_value_info(o, t, None) for o, t in outputs], self.consts)
        m = h.make_model(graph, opset_imports=[h.make_opsetid("", self.opset)])
        m.ir_version = min(m.ir_version, 10)
        return m


def gelu(g, r):
    x = g.input([3, int(r.integers(1, 9))], dynamic=(0,))
    u = g("Div", x, np.sqrt(2.0)) if r.random() < 0.5 else g("Mul", *g.maybe(x, np.sqrt(0.5)))
    s = g("Add", *g.maybe(g("Erf", u), 1.0))
    return g("Mul", g("Mul", *g.maybe(x, s)), 0.5) if r.random() < 0.5 else g("Mul", *g.maybe(s, g("Mul", *g.maybe(x, 0.5))))


def gelu_tanh(g, r):
    x = g.input([2, 5], dynamic=(0,))
    cube = g("Pow", x, 3.0) if r.random() < 0.5 else g("Mul", x, g("Mul", x, x))
    u = g("Mul", *g.maybe(g("Add", *g.maybe(x, g("Mul", *g.maybe(cube, 0.044715)))), np.sqrt(2 / np.pi)))
    return g("Mul", g("Mul", x, 0.5), g("Add", *g.maybe(g("Tanh", u), 1.0)))


def swish(g, r):
    x = g.input([2, 5])
    y = g("Mul", *g.maybe(x, g("Sigmoid", g("Mul", x, 1.702) if r.random() < 0.5 else x)))
    return y if r.random() < 0.7 else g("Add", y, x)


def hard_swish(g, r):
    x = g.input([2, 7])
    c = g("Clip", g("Add", *g.maybe(x, 3.0)), np.float32(0), np.float32(6))
    return g("Div", g("Mul", *g.maybe(x, c)), 6.0) if r.random() < 0.5 else g("Mul", x, g("Div", c, 6.0))


def mish(g, r):
    x = g.input([2, 7])
    return g("Mul", x, g("Tanh", g("Softplus", x) if r.random() < 0.5 else g("Log", g("Add", g("Exp", x), 1.0))))


def layer_norm(g, r):
    k = int(r.integers(2, 9))
    x = g.input([2, 3, k], dynamic=(0, 1))
    m = g.axes("ReduceMean", x, [-1])
    d = g("Sub", x, m)
    v = g.axes("ReduceMean", g("Pow", d, 2.0) if r.random() < 0.5 else g("Mul", d, d), [2])
    y = g("Div", d, g("Sqrt", g("Add", v, 1e-5)))
    if r.random() < 0.8:
        y = g("Mul", *g.maybe(y, g.random(k)))
    return g("Add", *g.maybe(y, g.random(k))) if r.random() < 0.8 else y


def rms_norm(g, r):
    k = int(r.integers(2, 9))
    x = g.input([2, 3, k], dynamic=(0,))
    s = g("Add", g.axes("ReduceMean", g("Mul", x, x), [-1]), 1e-6)
    y = g("Div", x, g("Sqrt", s)) if r.random() < 0.5 else g("Mul", x, g("Reciprocal", g("Sqrt", s)))
    return g("Mul", *g.maybe(y, g.random(k)))


def group_norm(g, r):
    c = int(r.integers(1, 4)) * 2
    x = g.input([2, c, 3, 4], dynamic=(0,))
    i = g("InstanceNormalization", g("Reshape", x, np.array([0, 2, -1])), np.ones(2, np.float32), np.zeros(2, np.float32), epsilon=1e-5)
    y = g("Reshape", i, g("Shape", x))
    return g("Add", g("Mul", y, g.random(c, 1, 1)), g.random(c, 1, 1))


def attention(g, r):
    s, t, d = int(r.integers(2, 6)), int(r.integers(2, 6)), int(r.integers(1, 5)) * 2
    q, k, v = g.input([2, 3, s, d]), g.input([2, 3, t, d]), g.input([2, 3, t, d + 1])
    scale = d ** -0.5
    kt = g("Transpose", k, perm=[0, 1, 3, 2])
    way = r.integers(3)
    p = g("Mul", g("MatMul", q, kt), scale) if way == 0 else g("Div", g("MatMul", q, kt), 1 / scale) if way == 1 else g("MatMul", g("Mul", q, scale ** 0.5), g("Mul", kt, scale ** 0.5))
    if r.random() < 0.5:
        p = g("Add", *g.maybe(p, g.random(*[(s, t), (1, 1, s, t), (2, 1, 1, t)][int(r.integers(3))])))
    return g("MatMul", g("Softmax", p, axis=-1), v)


def heads(g, r):
    """Projections, heads, attention and back, as exporters write it."""
    e, n = 8, 2
    x = g.input([2, 5, e], dynamic=(0, 1))
    shape = np.array([0, 0, n, e // n])

    def head():
        y = g("MatMul", x, g.random(e, e))
        if r.random() < 0.7:
            y = g("Add", *g.maybe(y, g.random(e)))
        return g("Transpose", g("Reshape", y, shape), perm=[0, 2, 1, 3])
    q, k, v = head(), head(), head()
    p = g("MatMul", g("Mul", q, 0.5), g("Transpose", k, perm=[0, 1, 3, 2]))
    y = g("Transpose", g("MatMul", g("Softmax", p, axis=-1), v), perm=[0, 2, 1, 3])
    return g("Reshape", y, np.array([0, 0, e]))


def conv_chain(g, r):
    c, o = int(r.integers(1, 4)), int(r.integers(1, 5))
    x = g.input([2, c, 7, 8], dynamic=(0,))
    if r.random() < 0.5:
        p = [0, 0] + [int(v) for v in r.integers(0, 3, 2)] + [0, 0] + [int(v) for v in r.integers(0, 3, 2)]
        x = g("Pad", x, np.array(p, np.int64))
    y = g("Conv", x, g.random(o, c, 3, 3), *([g.random(o)] if r.random() < 0.5 else []), pads=[int(v) for v in r.integers(0, 2, 4)], strides=[int(v) for v in r.integers(1, 3, 2)])
    for _ in range(int(r.integers(0, 4))):
        way = r.integers(4)
        if way == 0:
            y = g("BatchNormalization", y, g.random(o), g.random(o), g.random(o), np.abs(g.random(o)) + 0.5)
        else:
            k = g.random(o, 1, 1) if r.random() < 0.5 else np.float32(r.uniform(0.5, 2))
            y = g(["Mul", "Add", "Sub"][way - 1], *g.maybe(y, k))
    return g("Relu", y)


def learned_affine(g, r):
    """Blocks of small networks for text: conv, hard swish, a number times it and another added, conv."""
    x = g.input([1, 2, 9, 9], dynamic=(0,))
    for _ in range(int(r.integers(1, 4))):
        group = 2 if r.random() < 0.5 else 1
        x = g("Conv", x, g.random(2, 2 // group, 3, 3), g.random(2), group=group, pads=[1, 1, 1, 1] if r.random() < 0.6 else [0, 0, 0, 0])
        if r.random() < 0.6:
            x = g("Mul", *g.maybe(x, g("Clip", g("Add", *g.maybe(x, 3.0)), np.float32(0), np.float32(6))))
        if r.random() < 0.8:
            x = g("Mul", *g.maybe(x, np.float32(r.uniform(0.1, 2)) if r.random() < 0.5 else np.array([r.uniform(0.1, 2)], np.float32)))
        if r.random() < 0.8:
            x = g("Add", *g.maybe(x, np.float32(r.uniform(-1, 1))))
    return g("Conv", x, g.random(1, 2, 1, 1))


def packed(g, r):
    """Queries, keys and values in one product, taken apart by Gather, by Slice and Squeeze, or by Split and Squeeze."""
    e, n = 8, 2
    x = g.input([2, 5, e], dynamic=(0, 1))
    y = g("Add", g("MatMul", x, g.random(e, 3 * e)), g.random(3 * e))
    y = g("Transpose", g("Reshape", y, np.array([0, 0, 3, n, e // n])), perm=[2, 0, 3, 1, 4])
    way = r.integers(3)
    if way == 0:
        q, k, v = (g("Gather", y, np.array(i), axis=0) for i in range(3))
    elif way == 1:
        q, k, v = (g("Squeeze", g("Slice", y, np.array([i]), np.array([i + 1]), np.array([0])), np.array([0])) for i in range(3))
    else:
        q, k, v = (g("Squeeze", s, np.array([0])) for s in g("Split", y, np.array([1, 1, 1]), outputs=3, axis=0))
    p = g("Softmax", g("MatMul", g("Mul", q, 0.5), g("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    return g("Reshape", g("Transpose", g("MatMul", p, v), perm=[0, 2, 1, 3]), np.array([0, 0, e]))


def picture(g, r):
    """Open height and width, of which one size works: the comparison with the original has to find it."""
    x = g.input([2, 1, 48, 48], dynamic=(0, 2, 3))
    y = g("AveragePool", g("Identity", x), kernel_shape=[8, 8], strides=[8, 8])
    return g("MatMul", g("Reshape", y, np.array([0, 36])), g.random(36, 2))


def question_marks(g, r):
    """Sizes that some tools all call "?" are not equal for that."""
    x = g.input([2, 1, 6, 4], dynamic=(2, 3))
    for d in g.nodes_input[0].type.tensor_type.shape.dim[2:]:
        d.dim_param = ["?", "None", "-1", "*"][int(r.integers(4))] if r.random() < 0.3 else "?"
    y = g("Reshape", g("Transpose", x, perm=[0, 1, 3, 2]), g("Identity", g("Shape", x)))
    return g("Add", y, y)


def pools(g, r):
    x = g.input([1, 2, 6, 6])
    largest = r.random() < 0.5
    p = [0, 0] + [int(v) for v in r.integers(0, 3, 2)] + [0, 0] + [int(v) for v in r.integers(0, 3, 2)]
    y = g("Pad", x, np.array(p, np.int64), *([np.float32(-np.inf)] if largest and r.random() < 0.8 else []))
    attrs = {"pads": [int(v) for v in r.integers(0, 2, 4)]} if r.random() < 0.5 else {}
    if not largest and r.random() < 0.5:
        attrs["count_include_pad"] = 1
    return g("MaxPool" if largest else "AveragePool", y, kernel_shape=[3, 3], **attrs, **({"ceil_mode": 1} if r.random() < 0.2 else {}))


def linear(g, r):
    k, n = int(r.integers(1, 6)), int(r.integers(1, 6))
    rank3 = r.random() < 0.4
    x = g.input([2, 3, k] if rank3 else [4, k], dynamic=(0,))
    w = g.random(n, k)
    y = g("MatMul", x, g("Transpose", w, perm=[1, 0]))
    for _ in range(int(r.integers(1, 4))):
        y = g(["Mul", "Add", "Sub", "Div"][int(r.integers(4))], y, np.abs(g.random(n)) + 0.5 if r.random() < 0.5 else np.float32(1.5))
    return y


def rows(g, r):
    x = g.input([2, 3, 4], dynamic=(0,))
    y = g("Gemm", g("Reshape", x, np.array([-1, 4])), g.random(5, 4), g.random(5), transB=1)
    return g("Reshape", y, np.array([-1, 3, 5]))


def views(g, r):
    """A random walk of reshapes, transposes, squeezes."""
    dims = [2, 3, 4, 1]
    x = g.input(dims, dynamic=(0,) if r.random() < 0.3 else ())
    open_ = g.nodes_input[0].type.tensor_type.shape.dim[0].dim_param != ""
    y = g("Relu", x)
    for _ in range(int(r.integers(2, 7))):
        way = r.integers(4)
        if way == 0 and len(dims) > 1:
            p = [int(v) for v in r.permutation(len(dims))]
            y, dims = g("Transpose", y, perm=p), [dims[i] for i in p]
        elif way == 1 and not open_:
            if len(dims) > 1:
                i = int(r.integers(len(dims) - 1))
                dims = dims[:i] + [dims[i] * dims[i + 1]] + dims[i + 2:]
            y = g("Reshape", y, np.array(dims, np.int64))
        elif way == 2 and len(dims) < 7:
            i = int(r.integers(len(dims) + 1))
            y, dims = g("Unsqueeze", y, np.array([i])), dims[:i] + [1] + dims[i:]
        elif way == 3 and 1 in dims and len(dims) > 1:
            i = dims.index(1)
            y, dims = g("Squeeze", y, np.array([i])), dims[:i] + dims[i + 1:]
        if r.random() < 0.2:
            y = g("Exp", g("Neg", g("Abs", y)))
    return y


def elementwise_tree(g, r):
    x, z = g.input([2, 3, 4]), g.input([2, 3, 4])
    p = [int(v) for v in r.permutation(3)]
    back = [p.index(i) for i in range(3)] if r.random() < 0.6 else [int(v) for v in r.permutation(3)]
    a, b = g("Transpose", x, perm=p), g("Transpose", z, perm=p)
    y = g(["Add", "Mul", "Sub"][int(r.integers(3))], g("Relu", a), g("Mul", b, 2.0))
    if r.random() < 0.5:
        y = g("Softmax", y, axis=int(r.integers(-3, 3)))
    if r.random() < 0.4:
        y = g("Concat", y, a, axis=int(r.integers(3)))
    return g("Transpose", y, perm=back)


def slices(g, r):
    x = g.input([3, 10], dynamic=(0,))
    cuts = sorted({0, 10} | {int(v) for v in r.integers(1, 10, 2)})
    parts = [g("Slice", x, np.array([a]), np.array([b]), np.array([1 if r.random() < 0.5 else -1])) for a, b in zip(cuts, cuts[1:])]
    parts = [g("Slice", p, np.array([0]), np.array([int(r.integers(1, 3))]), np.array([0])) if r.random() < 0.2 else p for p in parts[:1]] + parts[1:] if r.random() < 0.2 and len(parts) == 1 else parts
    r.shuffle(parts)
    y = g("Concat", *parts, axis=1)
    return g("Slice", y, np.array([int(r.integers(0, 3)), 0]), np.array([int(r.integers(5, 12)), 2]), np.array([1, 0]), np.array([int(r.integers(1, 3)), 1]))


def scalars(g, r):
    y = x = g.input([4], dynamic=(0,))
    for _ in range(int(r.integers(2, 7))):
        op = ["Mul", "Div", "Add", "Sub", "Neg", "Max", "Min", "Relu", "Clip"][int(r.integers(9))]
        c = np.float32(np.round(r.uniform(0.25, 3) * (1 if r.random() < 0.7 else -1), 2))
        y = g(op, y) if op in ("Neg", "Relu") else g("Clip", y, np.float32(-2), np.float32(abs(c))) if op == "Clip" else g(op, *(g.maybe(y, c) if op in ("Add", "Mul", "Max", "Min") else (y, c)))
    return y if r.random() < 0.5 else g("Add", y, x)


def reductions(g, r):
    x = g.input([2, 3, 4], dynamic=(0,))
    keep, axis = int(r.integers(2)), int(r.integers(-3, 3))
    way = r.integers(5)
    if way == 0:
        return g("Sqrt", g.axes("ReduceSum", g("Pow", x, 2.0), [axis], keepdims=keep))
    if way == 1:
        return g("Log", g.axes("ReduceSum", g("Exp", x), [axis], keepdims=keep))
    if way == 2:
        return g.axes("ReduceSum", g("Abs", x), [axis], keepdims=keep)
    if way == 3:
        e = g("Exp", g("Sub", x, g.axes("ReduceMax", x, [axis])))
        return g("Log", g("Div", e, g.axes("ReduceSum", e, [axis])))
    return g("Squeeze", g.axes("ReduceMean", x, [axis]), np.array([axis]))


def shape_arithmetic(g, r):
    x = g.input([2, 3, 8], dynamic=(0, 1))
    s = g("Shape", x)
    part = [g("Unsqueeze", g("Gather", s, np.array(i)), np.array([0])) for i in range(2)]
    y = g("Reshape", x, g("Concat", part[0], part[1], np.array([2, 4]), axis=0))
    y = g("Transpose", y, perm=[0, 2, 1, 3])
    if r.random() < 0.5:
        y = g("Add", y, g("Expand", g.random(1, 2, 1, 4), g("Shape", y)))
    return g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), g("Concat", part[0], part[1], g("Mul", np.array([4]), np.array([2])), axis=0))


def space(g, r):
    b, c = 2, 3
    if r.random() < 0.5:
        x = g.input([1, c * b * b, 2, 3])
        dcr = r.random() < 0.5
        y = g("Transpose", g("Reshape", x, np.array([-1, b, b, c, 2, 3] if dcr else [-1, c, b, b, 2, 3])), perm=[0, 3, 4, 1, 5, 2] if dcr else [0, 1, 4, 2, 5, 3])
        return g("Reshape", y, np.array([-1, c, 4, 6]))
    x = g.input([1, c, 4, 6])
    y = g("Transpose", g("Reshape", x, np.array([-1, c, 2, b, 3, b])), perm=[0, 3, 5, 1, 2, 4] if r.random() < 0.5 else [0, 1, 3, 5, 2, 4])
    return g("Reshape", y, np.array([-1, c * 4, 2, 3]))


def branches(g, r):
    x = g.input([3])

    def body(op, name):
        return h.make_graph([h.make_node(op, [x], [name + "1"]), h.make_node("Neg", [name + "1"], [name])], name + "g", [], [h.make_tensor_value_info(name, T.FLOAT, [3])])
    cond = g("Equal", g("Shape", x), np.array([3 if r.random() < 0.5 else 4]))
    y = g("If", g("Squeeze", cond), then_branch=body("Exp", "t"), else_branch=body("Abs", "e"))
    return g("Add", y, x)


def casts(g, r):
    y = g.input([4], [T.FLOAT, T.INT32, T.FLOAT16][int(r.integers(3))])
    for _ in range(int(r.integers(2, 5))):
        y = g("Cast", y, to=[T.FLOAT, T.DOUBLE, T.INT64, T.INT32, T.FLOAT16][int(r.integers(5))])
    return g("Cast", y, to=T.FLOAT)


PATTERNS = [gelu, gelu_tanh, swish, hard_swish, mish, layer_norm, rms_norm, group_norm, attention, heads, packed, conv_chain, learned_affine, picture, question_marks, pools, linear, rows, views, elementwise_tree, slices, scalars,
            reductions, shape_arithmetic, space, branches, casts]
OPSETS = [13, 15, 17, 18, 20, 21, 23, 24]


def session(model):
    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    o.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), o, providers=["CPUExecutionProvider"])


def count(graph):
    return sum(1 + sum(count(a.g) for a in n.attribute if a.type == onnx.AttributeProto.GRAPH) for n in graph.node if n.op_type != "Constant")


def feeds(g, rng, extra):
    out = {}
    for (name, shape, dtype), info in zip(g.inputs, g.nodes_input):
        dims = [d + extra if info.type.tensor_type.shape.dim[i].dim_param else d for i, d in enumerate(shape)]
        value = rng.standard_normal(dims) * 2
        out[name] = value.astype({T.FLOAT: np.float32, T.INT32: np.int32, T.FLOAT16: np.float16}[dtype])
    return out


def optimise(path, target):
    p = subprocess.run([FERRY, "optimize", path, "-o", target, "--tolerance", "1e-3"], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr + p.stdout


def check_pattern(pattern, folder):
    source, target, again = (os.path.join(folder, n) for n in ("a.onnx", "b.onnx", "c.onnx"))
    fewer = compared = 0
    for seed in range(int(os.environ.get("FERRY_CASES", "24"))):
        rng = np.random.default_rng(1000 * PATTERNS.index(pattern) + seed)
        opset = OPSETS[seed % len(OPSETS)]
        g = Graph(rng, opset)
        y = pattern(g, rng)
        model = g.model([(y, T.FLOAT)])
        onnx.save(model, source)
        try:
            before = session(model)
        except Exception:                                     # the runtime has no kernel for it: nothing to compare with
            continue
        optimise(source, target)
        result = onnx.load(target)
        onnx.checker.check_model(result, full_check=True)
        where = "%s, seed %d, opset %d" % (pattern.__name__, seed, opset)
        assert [i.version for i in result.opset_import if i.domain == ""] == [opset], where
        assert [i.name for i in result.graph.input] == [i.name for i in model.graph.input] and [o.name for o in result.graph.output] == [y], where
        assert count(result.graph) <= count(model.graph), where
        fewer += count(result.graph) < count(model.graph)
        try:
            after = session(result)
        except Exception as error:
            if "NOT_IMPLEMENTED" in str(error) or "Could not find an implementation" in str(error):
                continue
            raise AssertionError("%s: %s" % (where, error))
        for extra in (0, 2):
            feed = feeds(g, rng, extra)
            try:
                want = before.run(None, feed)[0]
            except Exception:
                continue
            got = after.run(None, feed)[0]
            compared += 1
            assert want.shape == got.shape and want.dtype == got.dtype, where
            np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5, err_msg=where)
        optimise(target, again)
        assert [n.op_type for n in onnx.load(again).graph.node] == [n.op_type for n in result.graph.node], where
    print("%-18s %3d made smaller, %3d runs compared" % (pattern.__name__, fewer, compared))
    assert fewer and compared > 8, "too little was tried"


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for pattern in PATTERNS:
            if sys.argv[2:] and pattern.__name__ not in sys.argv[2:]:
                continue
            try:
                check_pattern(pattern, folder)
            except Exception as error:
                failed += 1
                print("FAIL %s: %s" % (pattern.__name__, str(error)[:1500]))
    print("%d patterns, %d failed" % (len(PATTERNS), failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
