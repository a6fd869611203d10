#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Python package as scripts written for onnxruntime use it. Needs numpy, onnx, ml_dtypes; compares with onnxruntime where it is
installed.

python test_package_session.py FIXTURES"""

import gc
import io
import os
import resource
import sys
import tempfile
import threading
import unittest
import warnings

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h

import ferry

FIXTURES = sys.argv.pop(1)
PT2 = os.path.join(FIXTURES, "pt2", "t215")


def model(nodes, inputs, outputs, opset=21, weights=(), domains=()):
    graph = h.make_graph(nodes, "g", inputs, outputs, list(weights))
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset), *(h.make_opsetid(*d) for d in domains)], ir_version=10)


def tensor(name, dtype, shape):
    return h.make_tensor_value_info(name, dtype, shape)


def relu(shape=("n", 16)):
    return model([h.make_node("Relu", ["x"], ["y"])], [tensor("x", T.FLOAT, shape)], [tensor("y", T.FLOAT, shape)]).SerializeToString()


def two():
    m = model(
        [h.make_node("Add", ["a", "b"], ["sum"]), h.make_node("Sub", ["a", "b"], ["difference"])],
        [tensor("a", T.FLOAT, ["n", 3]), tensor("b", T.FLOAT, ["n", 3])],
        [tensor("sum", T.FLOAT, ["n", 3]), tensor("difference", T.FLOAT, ["n", 3])],
    )
    m.producer_name, m.doc_string, m.model_version = "a test", "two outputs", 3
    h.set_model_props(m, {"colour": "blue"})
    return m.SerializeToString()


A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float32)


class Looking(unittest.TestCase):
    def test_ports(self):
        s = ferry.InferenceSession(two(), providers=["CPUExecutionProvider"])
        self.assertEqual(
            [(i.name, i.type, i.shape) for i in s.get_inputs()], [("a", "tensor(float)", ["n", 3]), ("b", "tensor(float)", ["n", 3])]
        )
        self.assertEqual([o.name for o in s.get_outputs()], ["sum", "difference"])
        about = s.get_modelmeta()
        self.assertEqual(
            (about.producer_name, about.description, about.version, about.graph_name, about.custom_metadata_map),
            ("a test", "two outputs", 3, "g", {"colour": "blue"}),
        )
        self.assertEqual(s.get_providers(), ["CPUExecutionProvider"])
        self.assertIn("CPUExecutionProvider", ferry.get_available_providers())

    def test_types(self):
        seq = h.make_tensor_sequence_value_info("s", T.INT64, None)
        m = model(
            [h.make_node("Cast", ["x"], ["y"], to=T.BFLOAT16), h.make_node("Identity", ["s"], ["t"])],
            [tensor("x", T.DOUBLE, [2]), seq],
            [tensor("y", T.BFLOAT16, [2]), h.make_tensor_sequence_value_info("t", T.INT64, None)],
        )
        s = ferry.InferenceSession(m.SerializeToString())
        self.assertEqual(
            [p.type for p in s.get_inputs() + s.get_outputs()],
            ["tensor(double)", "seq(tensor(int64))", "tensor(bfloat16)", "seq(tensor(int64))"],
        )

    def test_options(self):
        o = ferry.SessionOptions()
        o.intra_op_num_threads, o.graph_optimization_level = 1, ferry.GraphOptimizationLevel.ORT_ENABLE_ALL
        o.add_session_config_entry("ferry.options", "engine=reference")
        with self.assertRaises(AttributeError):
            o.intra_op_num_thread = 1
        s = ferry.InferenceSession(two(), o)
        np.testing.assert_array_equal(s.run(None, {"a": A, "b": B})[0], A + B)
        o.add_session_config_entry("ferry.options", "thread=2")
        with self.assertRaisesRegex(ferry.InvalidArgument, "threads"):
            ferry.InferenceSession(two(), o)
        with self.assertWarnsRegex(UserWarning, "CUDAExecutionProvider"):
            ferry.InferenceSession(two(), providers=["CUDAExecutionProvider", ("CPUExecutionProvider", {})])
        with self.assertRaises(TypeError):
            ferry.InferenceSession(two(), session_options=o)
        o = ferry.SessionOptions()
        o.enable_profiling = True
        with self.assertWarnsRegex(UserWarning, "ferry profile"):
            ferry.InferenceSession(two(), o)

    def test_optimized_model(self):
        m = model(
            [h.make_node("Identity", ["x"], ["t"]), h.make_node("Relu", ["t"], ["y"])],
            [tensor("x", T.FLOAT, ["n"])],
            [tensor("y", T.FLOAT, ["n"])],
        )
        with tempfile.TemporaryDirectory() as folder:
            o = ferry.SessionOptions()
            o.optimized_model_filepath = os.path.join(folder, "o.onnx")
            ferry.InferenceSession(m.SerializeToString(), o)
            self.assertEqual([n.op_type for n in onnx.load(o.optimized_model_filepath).graph.node], ["Relu"])

    def test_files(self):
        with self.assertRaises(ferry.NoSuchFile):
            ferry.InferenceSession("no/such.onnx")
        with self.assertRaises(ferry.Error) as problem:
            ferry.InferenceSession(b"this is no model")
        self.assertTrue(problem.exception.code and str(problem.exception))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "två.onnx")
            with open(path, "wb") as f:
                f.write(two())
            self.assertEqual(len(ferry.InferenceSession(path).get_inputs()), 2)


class Running(unittest.TestCase):
    def test_names(self):
        s = ferry.InferenceSession(two())
        for names, wanted in (
            (None, [A + B, A - B]),
            ([], [A + B, A - B]),
            (["difference"], [A - B]),
            (["difference", "sum"], [A - B, A + B]),
        ):
            got = s.run(names, {"a": A, "b": B})
            self.assertEqual(len(got), len(wanted))
            for g, w in zip(got, wanted):
                np.testing.assert_array_equal(g, w)

    def test_mistakes(self):
        s = ferry.InferenceSession(two())
        for feed, names, says in (
            ({"a": A}, None, r"'b' \(tensor\(float\) \['n', 3\]\) is missing"),
            ({"a": A, "b": B, "sums": A}, None, "no input 'sums'"),
            ({"a": A, "b": B.astype(np.float64)}, None, r"'b' is tensor\(double\); the model takes tensor\(float\)"),
            ({"a": A, "b": B[:, :2]}, None, r"'b'.*axis 1 is 2.*n,3"),
            ({"a": A, "b": B[0]}, None, "'b'.*rank 1"),
            ({"a": A, "b": B[:1]}, None, "b"),
            ({"a": A, "b": None}, None, "'b' is None"),
            ({"a": A, "b": B}, ["som"], "did you mean 'sum'"),
            ({"a": A, "b": np.zeros((1,) * 17, np.float32)}, None, "'b' has rank 17"),
            ({"a": A, "b": np.array([["x"] * 3])}, None, "string"),
        ):
            with self.assertRaisesRegex(ferry.InvalidArgument, says):
                s.run(names, feed)
            np.testing.assert_array_equal(s.run(["sum"], {"a": A, "b": B})[0], A + B)  # and the session is as good as before
        self.assertTrue(issubclass(ferry.InvalidArgument, ValueError))

    def test_results_stay(self):
        for shape in ((2, 16), (4000, 16)):  # copied, handed over
            s = ferry.InferenceSession(relu())
            x = np.random.default_rng(0).standard_normal(shape, np.float32)
            (first,) = s.run(None, {"x": x})
            (second,) = s.run(None, {"x": -x})
            del s
            gc.collect()
            np.testing.assert_array_equal(first, np.maximum(x, 0))
            np.testing.assert_array_equal(second, np.maximum(-x, 0))
            first += 1  # it is the caller's
            np.testing.assert_array_equal(second, np.maximum(-x, 0))

    def test_inputs_stay(self):
        s = ferry.InferenceSession(relu())
        for n in (3, 3000, 3):
            x = np.random.default_rng(1).standard_normal((n, 16), np.float32)
            keep = x.copy()
            (y,) = s.run(None, {"x": x})
            y *= 7
            np.testing.assert_array_equal(x, keep)
            for odd in (
                np.asfortranarray(x),
                np.repeat(x, 2, 0)[::2],
                x.astype(">f4"),
                np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
                x.tolist(),
            ):
                np.testing.assert_array_equal(s.run(None, {"x": odd})[0], np.maximum(x, 0))

    def test_empty_and_scalar(self):
        s = ferry.InferenceSession(relu())
        self.assertEqual(s.run(None, {"x": np.empty((0, 16), np.float32)})[0].shape, (0, 16))
        s = ferry.InferenceSession(relu(()))
        self.assertEqual(s.run(None, {"x": np.float32(-2)})[0].shape, ())
        self.assertEqual(float(s.run(None, {"x": 3.0})[0]), 3)

    def test_memory_goes(self):
        s = ferry.InferenceSession(relu(("n",)))
        x = np.zeros(1 << 20, np.float32)
        s.run(None, {"x": x})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(200):
            s.run(None, {"x": x})
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 100 << 10)  # KiB; 200 results are 800 MiB

    def test_threads(self):
        s = ferry.InferenceSession(relu())
        wrong = []

        def work(seed):
            for i in range(100):
                x = np.random.default_rng(seed * 1000 + i).standard_normal((1 + (seed + i) % 700, 16), np.float32)
                if not np.array_equal(s.run(None, {"x": x})[0], np.maximum(x, 0)):
                    wrong.append((seed, i))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        self.assertEqual(wrong, [])

    def test_gil_is_released(self):
        """A run that would not end in a lifetime is ended from another thread, which can only be if that one may work meanwhile."""
        body = h.make_graph(
            [h.make_node("Identity", ["c"], ["d"]), h.make_node("Add", ["v", "v"], ["w"])],
            "body",
            [tensor("i", T.INT64, []), tensor("c", T.BOOL, []), tensor("v", T.FLOAT, [])],
            [tensor("d", T.BOOL, []), tensor("w", T.FLOAT, [])],
        )
        m = model(
            [h.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
            [tensor("n", T.INT64, []), tensor("x", T.FLOAT, [])],
            [tensor("y", T.FLOAT, [])],
        )
        s = ferry.InferenceSession(m.SerializeToString())
        how = ferry.RunOptions()
        started, ended = threading.Event(), []

        def work():
            started.set()
            try:
                s.run(None, {"n": np.int64(1 << 60), "x": np.float32(1)}, how)
            except ferry.Error as e:
                ended.append(e.code)

        t = threading.Thread(target=work)
        t.start()
        started.wait()
        how.terminate = True
        t.join()
        self.assertEqual(ended, ["STOPPED"])
        how.terminate = False
        self.assertEqual(float(s.run(None, {"n": np.int64(3), "x": np.float32(1)}, how)[0]), 8)

    def test_stop_that_comes_late(self):
        """Ends no run but those that use the options."""
        s = ferry.InferenceSession(relu())
        x = np.ones((2, 16), np.float32)
        how = ferry.RunOptions()
        how.terminate = True
        for _ in range(3):
            with self.assertRaisesRegex(ferry.Error, "STOPPED"):
                s.run(None, {"x": x}, how)
            np.testing.assert_array_equal(s.run(None, {"x": x})[0], x)
        late = ferry.RunOptions()
        end = late._end

        def set_and_end(handle):  # between the end of the run and that of the call
            late.terminate = True
            end(handle)

        late._end = set_and_end
        np.testing.assert_array_equal(s.run(None, {"x": x}, late)[0], x)
        for _ in range(3):
            np.testing.assert_array_equal(s.run(None, {"x": x})[0], x)

    def test_async(self):
        s = ferry.InferenceSession(two())
        done, got = threading.Event(), []
        s.run_async(["sum"], {"a": A, "b": B}, lambda results, data, error: (got.append((results, data, error)), done.set()), "mine")
        done.wait()
        np.testing.assert_array_equal(got[0][0][0], A + B)
        self.assertEqual(got[0][1:], ("mine", ""))

    def test_pt2(self):
        s = ferry.InferenceSession(os.path.join(PT2, "cnn.pt2"))
        self.assertEqual(s.get_inputs()[0].type, "tensor(float)")


class Values(unittest.TestCase):
    def test_strings(self):
        m = model(
            [h.make_node("StringConcat", ["a", "b"], ["c"])],
            [tensor("a", T.STRING, ["n"]), tensor("b", T.STRING, ["n"])],
            [tensor("c", T.STRING, ["n"])],
        )
        s = ferry.InferenceSession(m.SerializeToString())
        (c,) = s.run(None, {"a": np.array(["Füße", ""], object), "b": np.array(["!", "x\0y"])})
        self.assertEqual((c.dtype, c.tolist()), (object, ["Füße!", "x\0y"]))
        self.assertEqual(s.run(None, {"a": ["p"], "b": np.array([b"q"])})[0].tolist(), ["pq"])
        self.assertEqual(s.run(None, {"a": [], "b": []})[0].shape, (0,))
        with self.assertRaisesRegex(ferry.InvalidArgument, "'a'.*tensor.int64.*tensor.string"):
            s.run(None, {"a": np.array([1]), "b": ["q"]})

    def test_sequences(self):
        m = model(
            [h.make_node("SequenceInsert", ["s", "x"], ["t"])],
            [h.make_tensor_sequence_value_info("s", T.FLOAT, None), tensor("x", T.FLOAT, None)],
            [h.make_tensor_sequence_value_info("t", T.FLOAT, None)],
        )
        s = ferry.InferenceSession(m.SerializeToString())
        (got,) = s.run(None, {"s": [A, B[0]], "x": np.float32(7)})
        self.assertEqual([g.shape for g in got], [(2, 3), (3,), ()])
        self.assertEqual(len(s.run(None, {"s": [], "x": A})[0]), 1)

    def test_optionals(self):
        kind = h.make_optional_type_proto(h.make_tensor_type_proto(T.FLOAT, ["n"]))
        m = model(
            [h.make_node("OptionalHasElement", ["o"], ["there"]), h.make_node("Identity", ["o"], ["p"])],
            [h.make_value_info("o", kind)],
            [tensor("there", T.BOOL, []), h.make_value_info("p", kind)],
        )
        s = ferry.InferenceSession(m.SerializeToString())
        self.assertEqual(s.get_inputs()[0].type, "optional(tensor(float))")
        there, same = s.run(None, {"o": np.ones(2, np.float32)})
        self.assertTrue(there and same.tolist() == [1, 1])
        there, same = s.run(None, {"o": None})
        self.assertTrue(not there and same is None)

    def test_maps(self):
        m = model(
            [h.make_node("ZipMap", ["x"], ["z"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"])],
            [tensor("x", T.FLOAT, ["n", 2])],
            [
                h.make_value_info(
                    "z",
                    h.make_sequence_type_proto(
                        onnx.TypeProto(map_type=onnx.TypeProto.Map(key_type=T.STRING, value_type=h.make_tensor_type_proto(T.FLOAT, [])))
                    ),
                )
            ],
            domains=[("ai.onnx.ml", 3)],
        )
        s = ferry.InferenceSession(m.SerializeToString())
        self.assertEqual(s.get_outputs()[0].type, "seq(map(string,tensor(float)))")
        self.assertEqual(s.run(None, {"x": np.array([[0.25, 0.75]], np.float32)})[0], [{"no": 0.25, "yes": 0.75}])
        m = model(
            [h.make_node("DictVectorizer", ["d"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "b", "c"])],
            [
                h.make_value_info(
                    "d", onnx.TypeProto(map_type=onnx.TypeProto.Map(key_type=T.STRING, value_type=h.make_tensor_type_proto(T.FLOAT, [])))
                )
            ],
            [tensor("y", T.FLOAT, None)],
            domains=[("ai.onnx.ml", 3)],
        )
        s = ferry.InferenceSession(m.SerializeToString())
        self.assertEqual(np.ravel(s.run(None, {"d": {"c": 3.0, "a": 1.0}})[0]).tolist(), [1, 0, 3])

    def test_every_dtype(self):
        for number in range(1, 29):
            if number == T.STRING:
                continue
            m = model([h.make_node("Identity", ["x"], ["y"])], [tensor("x", number, ["n"])], [tensor("y", number, ["n"])], opset=25)
            m.ir_version = 13
            s = ferry.InferenceSession(m.SerializeToString())
            dtype = ferry._values.numpy_dtype(number)
            x = np.zeros(5, dtype) if number == T.FLOAT8E8M0 else np.array([0, 1, 1, 0, 1]).astype(dtype)
            (y,) = s.run(None, {"x": x})
            self.assertEqual((y.dtype, y.tobytes()), (x.dtype, x.tobytes()), number)
        x = np.array([-8, -1, 0, 7], ml_dtypes.int4)
        m = model([h.make_node("Cast", ["x"], ["y"], to=T.INT64)], [tensor("x", T.INT4, [4])], [tensor("y", T.INT64, [4])])
        self.assertEqual(ferry.InferenceSession(m.SerializeToString()).run(None, {"x": x})[0].tolist(), [-8, -1, 0, 7])


class Memory(unittest.TestCase):
    def test_ort_values(self):
        v = ferry.OrtValue.ortvalue_from_numpy(A)
        self.assertTrue(
            v.data_ptr() == A.ctypes.data
            and v.shape() == [2, 3]
            and v.data_type() == "tensor(float)"
            and v.device_name() == "cpu"
            and v.is_tensor()
        )
        s = ferry.InferenceSession(two())
        got = s.run_with_ort_values(["sum"], {"a": v, "b": ferry.OrtValue.ortvalue_from_numpy(B)})
        np.testing.assert_array_equal(got[0].numpy(), A + B)
        w = ferry.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
        w.update_inplace(A)
        np.testing.assert_array_equal(w.numpy(), A)
        with self.assertRaises(ferry.InvalidArgument):
            w.update_inplace(A[:1])
        with self.assertRaisesRegex(ferry.InvalidArgument, "cuda"):
            ferry.OrtValue.ortvalue_from_numpy(A, "cuda", 0)

    def test_dlpack(self):
        x = A.copy()
        v = ferry.from_dlpack(x)
        self.assertEqual(v.data_ptr(), x.ctypes.data)
        self.assertEqual(np.from_dlpack(v).ctypes.data, x.ctypes.data)

        class Other:  # a tensor of some library
            def __init__(self, array):
                self.array = array

            def __dlpack__(self, **how):
                return self.array.__dlpack__(**how)

            def __dlpack_device__(self):
                return self.array.__dlpack_device__()

        s = ferry.InferenceSession(two())
        np.testing.assert_array_equal(s.run(["sum"], {"a": Other(x), "b": v})[0], x + x)

    def test_binding(self):
        s = ferry.InferenceSession(two())
        b = s.io_binding()
        b.bind_cpu_input("a", A)
        b.bind_input("b", "cpu", 0, np.float32, B.shape, B.ctypes.data)
        mine = np.full((2, 3), -1, np.float32)
        b.bind_output("difference", "cpu", 0, np.float32, mine.shape, mine.ctypes.data)
        b.bind_output("sum")
        s.run_with_iobinding(b)
        np.testing.assert_array_equal(mine, A - B)
        difference, total = b.copy_outputs_to_cpu()
        np.testing.assert_array_equal(total, A + B)
        self.assertEqual(b.get_outputs()[0].data_ptr(), mine.ctypes.data)
        np.testing.assert_array_equal(s.run(None, {"a": B, "b": B})[1], B - B)  # the next run is not bound
        np.testing.assert_array_equal(mine, A - B)
        b.clear_binding_outputs()
        b.bind_ortvalue_output("sum", ferry.OrtValue.ortvalue_from_numpy(np.zeros((5, 3), np.float32)))
        with self.assertRaisesRegex(ferry.InvalidArgument, "'sum'"):
            s.run_with_iobinding(b)
        b.clear_binding_outputs()
        b.bind_output("sum")
        s.run_with_iobinding(b)
        np.testing.assert_array_equal(b.copy_outputs_to_cpu()[0], A + B)

    def test_same_script(self):
        """One script, two imports."""
        try:
            import onnxruntime
        except ImportError:
            self.skipTest("onnxruntime is not installed")

        def script(rt):
            options = rt.SessionOptions()
            options.intra_op_num_threads = 1
            options.graph_optimization_level = rt.GraphOptimizationLevel.ORT_ENABLE_ALL
            options.execution_mode = rt.ExecutionMode.ORT_SEQUENTIAL
            session = rt.InferenceSession(two(), sess_options=options, providers=rt.get_available_providers()[-1:])
            feed = {
                i.name: np.full([2 if isinstance(d, str) else d for d in i.shape], k, np.float32)
                for k, i in enumerate(session.get_inputs())
            }
            results = session.run([o.name for o in session.get_outputs()], feed, rt.RunOptions())
            binding = session.io_binding()
            for name, x in feed.items():
                binding.bind_ortvalue_input(name, rt.OrtValue.ortvalue_from_numpy(x, "cpu", 0))
            binding.bind_output("sum", "cpu")
            session.run_with_iobinding(binding)
            about = session.get_modelmeta()
            return (
                results,
                binding.copy_outputs_to_cpu(),
                [(p.name, p.type, p.shape) for p in session.get_inputs() + session.get_outputs()],
                about.custom_metadata_map,
                about.producer_name,
                about.version,
                about.graph_name,
                about.description,
            )

        ours, theirs = script(ferry), script(onnxruntime)
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
        self.assertEqual(ours[2:], theirs[2:])


class Archives(unittest.TestCase):
    """ferry.export of a .pt2, and the other commands: no torch."""

    def setUp(self):
        self.assertNotIn("torch", sys.modules)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.onnx = os.path.join(self.folder.name, "cnn.onnx")
        self.pt2 = os.path.join(PT2, "cnn.pt2")

    def test_export(self):
        p = ferry.export(
            self.pt2,
            f=self.onnx,
            opset_version=13,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch_size"}, "output": {0: "batch_size"}},
        )
        self.assertTrue(p.report.ok and p.report.data["verdict"] == "pass" and "verified" in str(p))
        self.assertEqual(os.listdir(self.folder.name), ["cnn.onnx"])
        m = onnx.load(self.onnx)
        onnx.checker.check_model(m, full_check=True)
        self.assertEqual(m.opset_import[0].version, 13)
        s = ferry.InferenceSession(self.onnx)
        self.assertEqual(
            (s.get_inputs()[0].name, s.get_inputs()[0].shape[0], s.get_outputs()[0].shape[0]), ("input", "batch_size", "batch_size")
        )
        recorded = np.load(self.pt2.replace(".pt2", ".npz"))
        self.assertTrue(recorded.files)

    def test_gate(self):
        with open(self.onnx, "w") as f:
            f.write("before")
        with self.assertRaises(ferry.ExportError) as problem:
            ferry.export(self.pt2, f=self.onnx, tolerance=1e-12)
        self.assertIsInstance(problem.exception, ferry.VerificationError)
        self.assertIn("values part first at", str(problem.exception))
        self.assertRegex(str(problem.exception), r"\.py:\d+")
        self.assertFalse(problem.exception.report.ok)
        with open(self.onnx) as f:
            self.assertEqual(f.read(), "before")
        self.assertEqual(os.listdir(self.folder.name), ["cnn.onnx"])
        ferry.export(self.pt2, f=self.onnx, tolerance=1e-12, verify=False)
        self.assertGreater(os.path.getsize(self.onnx), 100)

    def test_targets(self):
        p = ferry.export(self.pt2)
        p.save(self.onnx)
        out = io.BytesIO()
        ferry.export(self.pt2, f=out)
        with open(self.onnx, "rb") as f:
            self.assertEqual(f.read(), out.getvalue())
        x = np.zeros([1 if isinstance(d, str) else d for d in ferry.InferenceSession(self.onnx).get_inputs()[0].shape], np.float32)
        np.testing.assert_array_equal(
            p(x)[0], ferry.InferenceSession(self.onnx).run(None, {ferry.InferenceSession(self.onnx).get_inputs()[0].name: x})[0]
        )
        self.assertEqual(p.model_proto.graph.name, onnx.load(self.onnx).graph.name)
        ferry.export(self.pt2, f=self.onnx, external_data=True)
        self.assertEqual(len(os.listdir(self.folder.name)), 2)
        ferry.InferenceSession(self.onnx)

    def test_reports(self):
        ferry.export(self.pt2, f=self.onnx, report=True, artifacts_dir=self.folder.name)
        with open(os.path.join(self.folder.name, "cnn.report.md")) as f:
            text = f.read()
        self.assertTrue(text.startswith("# Export of cnn") and "verification" in text and ".ferry-" not in text, text)

    def test_refusals(self):
        for wrong, error, says in (
            ({"opset_version": 12}, ferry.InvalidArgument, "13"),
            ({"dynamic_axes": {"nothing": {0: "b"}}}, ferry.InvalidArgument, "nothing"),
            ({"custom_translation_table": {1: 2}}, ferry.InvalidArgument, "custom_translation_table"),
            ({"training": "SOMETIMES"}, ferry.InvalidArgument, "EVAL"),
        ):
            with self.assertRaisesRegex(error, says):
                ferry.export(self.pt2, f=self.onnx, **wrong)
        with self.assertRaises(ferry.Error):
            ferry.export(os.path.join(FIXTURES, "other", "checkpoint.pth"), f=self.onnx)
        self.assertEqual(os.listdir(self.folder.name), [])
        for said in (
            {"dynamo": False},
            {"export_params": False},
            {"keep_initializers_as_inputs": True},
            {"fallback": True},
            {"profile": True},
            {"custom_opsets": {"a": 1}},
        ):
            with self.assertWarnsRegex(UserWarning, next(iter(said))):
                ferry.export(self.pt2, f=self.onnx, **said)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ferry.export(
                self.pt2,
                f=self.onnx,
                export_params=True,
                do_constant_folding=True,
                keep_initializers_as_inputs=False,
                training=0,
                dynamo=True,
            )

    def test_commands(self):
        ferry.export(self.pt2, f=self.onnx)
        self.assertTrue(ferry.check(self.onnx).ok)
        self.assertIn("operators", ferry.info(self.onnx).data)
        self.assertTrue(ferry.verify(self.onnx, self.pt2).ok)
        with self.assertRaisesRegex(ferry.VerificationError, "values part first at"):
            ferry.verify(self.onnx, self.pt2, tolerance=1e-12)
        with self.assertRaisesRegex(ferry.InvalidArgument, "tolerance"):
            ferry.verify(self.onnx, self.pt2, tolerence=1e-4)
        other = os.path.join(self.folder.name, "other.onnx")
        self.assertTrue(ferry.convert(self.onnx, other, 21).ok and onnx.load(other).opset_import[0].version == 21)
        self.assertTrue(ferry.optimize(self.onnx, other).ok)


unittest.main()
