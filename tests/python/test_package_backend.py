#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""onnx.backend.test.BackendTest, whole, on ferry.backend. Every case must pass but for those below, which no backend can pass or whose own
data is rounding noise; they are compared here in their own way. The runner downloads nothing: its nine "real" models come with the
package."""

import os
import sys
import tempfile
import unittest
import warnings

import numpy as np
import onnx
import onnx.backend.test
from onnx.backend.test.loader import load_model_tests

import ferry.backend

warnings.simplefilter("ignore")
os.environ.setdefault("ONNX_HOME", tempfile.mkdtemp())  # where the runner puts its light models

APART = {
    "test_bernoulli": "the outputs are numpy's random numbers of the moment",
    "test_bernoulli_double": "as above",
    "test_bernoulli_seed": "as above",
    "test_bernoulli_expanded": "as above",
    "test_bernoulli_double_expanded": "as above",
    "test_bernoulli_seed_expanded": "as above",
    "test_loop16_seq_none": "the runner takes len() of a scalar in a sequence, which fails for every backend",
    "test_dft_inverse": "its zeros are the rounding noise of a single-precision FFT: tests/conformance/exceptions.txt",
    "test_dft_inverse_opset19": "as above",
}

with np.errstate(all="ignore"):
    runner = onnx.backend.test.BackendTest(ferry.backend, __name__)
for name in APART:
    runner.exclude(f"^{name}_cpu$")
globals().update(runner.test_cases)


class Apart(unittest.TestCase):
    def test_them(self):
        seen = set()
        for case in load_model_tests(kind="node"):
            if case.name not in APART:
                continue
            seen.add(case.name)
            for inputs, wanted in case.data_sets:
                got = ferry.backend.run_model(case.model, inputs)
                self.assertEqual(len(got), len(wanted))
                for g, w in zip(got, wanted):
                    if "bernoulli" in case.name:
                        self.assertEqual((g.shape, g.dtype), (w.shape, w.dtype))
                        self.assertTrue(np.isin(g, (0, 1)).all())
                    elif "dft" in case.name:
                        np.testing.assert_allclose(g, w, rtol=1e-3, atol=1e-6)
                    else:
                        self.assertEqual([x.shape for x in g], [x.shape for x in w])
                        for a, b in zip(g, w):
                            np.testing.assert_array_equal(a, b)
        self.assertEqual(seen, set(APART))


class Module(unittest.TestCase):
    def test_functions(self):
        x = np.array([[-1, 2]], np.float32)
        node = onnx.helper.make_node("Clip", ["x", "", "hi"], ["y"])
        (y,) = ferry.backend.run_node(node, [x, np.float32(1)])
        self.assertEqual(y.tolist(), [[-1, 1]])
        self.assertEqual(ferry.backend.run_node(onnx.helper.make_node("SequenceLength", ["s"], ["n"]), [[x, x]])[0], 2)
        self.assertEqual(
            ferry.backend.run_node(onnx.helper.make_node("ReduceSum", ["x"], ["y"], axes=[1]), x, opset_version=11).y.tolist(), [[1]]
        )
        self.assertTrue(ferry.backend.supports_device("CPU") and not ferry.backend.supports_device("CUDA"))
        model = onnx.helper.make_model(
            onnx.helper.make_graph(
                [onnx.helper.make_node("Neg", ["x"], ["y"])],
                "g",
                [onnx.helper.make_tensor_value_info("x", 1, None)],
                [onnx.helper.make_tensor_value_info("y", 1, None)],
            )
        )
        rep = ferry.backend.prepare(model, "CPU", options="engine=reference")
        self.assertEqual(rep.run([x])["y"].tolist(), [[1, -2]])
        self.assertEqual(rep.run({"x": onnx.numpy_helper.from_array(x)}).y.tolist(), [[1, -2]])
        with self.assertRaises(ferry.Error):
            ferry.backend.prepare(model, "CUDA")
        with self.assertRaises(ferry.Error):
            rep.run([x, x])


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=0)
    ran = program.result.testsRun - len(program.result.skipped)
    print(f"{ran} cases ran")
    sys.exit(not program.result.wasSuccessful() or ran < 2000)
