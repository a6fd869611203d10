#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ferry.export on modules: needs torch and torchvision (tests/python/package_export.sh runs it where FERRY_TORCH names a Python that has
them)."""

import contextlib
import io
import os
import sys
import tempfile
import unittest
import warnings

import numpy as np
import onnx
import torch
import torchvision
from torch import nn

import ferry

warnings.simplefilter("ignore")
torch.manual_seed(0)
TORCH = tuple(int(n) for n in torch.__version__.split(".")[:2])


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder.name)

    def agrees(self, model, path, *samples, tolerance=1e-4):
        """The file computes what the module computes, for each sample of inputs."""
        session = ferry.InferenceSession(path)
        names = [i.name for i in session.get_inputs()]
        for sample in samples:
            with torch.no_grad():
                wanted = [t for t in torch.utils._pytree.tree_leaves(model(*sample)) if isinstance(t, torch.Tensor)]
            flat = [t for t in torch.utils._pytree.tree_leaves(sample) if isinstance(t, torch.Tensor)]
            got = session.run(None, dict(zip(names, flat)))
            self.assertEqual(len(got), len(wanted))
            for g, w in zip(got, wanted):
                np.testing.assert_allclose(g, w.numpy(), rtol=0, atol=tolerance)
        return session


class Scripts(Folder):
    """torch.jit's modules and functions go the road of their archives, and through the same gate."""

    def setUp(self):
        super().setUp()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
        self.x, self.y = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 8, 8)

    def test_modules(self):
        for made in (torch.jit.script(self.model), torch.jit.trace(self.model, self.x)):
            program = ferry.export(made, (self.x,), "m.onnx", input_names=["picture"], output_names=["scores"], dynamic_axes={"picture": {0: "n"}, "scores": {0: "n"}})
            self.assertTrue(program.report.ok)
            session = self.agrees(self.model, "m.onnx", (self.x,), (self.y,))
            self.assertEqual(session.get_inputs()[0].shape, ["n", 3, 8, 8])
            self.assertEqual(sorted(os.listdir(".")), ["m.onnx"])

    def test_function(self):
        @torch.jit.script
        def f(x, k: int):
            y = x
            for i in range(k):
                y = torch.sin(y) + i
            return y

        ferry.export(f, (self.x, 3), "f.onnx")
        self.agrees(lambda x: f(x, 3), "f.onnx", (self.x,))

    def test_refused(self):
        with self.assertRaises(ferry.ExportError) as caught:
            ferry.export(torch.jit.script(self.model.train()), (self.x,), "m.onnx")
        self.assertEqual(caught.exception.code, "TRAINING")
        with self.assertRaises(ferry.VerificationError):
            ferry.export(torch.jit.script(self.model.eval()), (self.x,), "m.onnx", tolerance=1e-12)
        self.assertFalse(os.path.exists("m.onnx"))


class Recipe(Folder):
    """The classic recipe, unchanged but for its imports."""

    def recipe(self, eval_forgotten):
        import ferry as ort

        model = torchvision.models.resnet50(weights=None)
        model.fc.weight.data *= 0.05  # random weights: outputs of order one, as trained ones give
        if not eval_forgotten:
            model.eval()
        dummy_input = torch.randn(1, 3, 224, 224)
        ferry.export(
            model,
            (dummy_input,),
            "resnet50.onnx",
            export_params=True,
            opset_version=13,
            do_constant_folding=True,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch_size"}, "output": {0: "batch_size"}},
        )
        session = ort.InferenceSession("resnet50.onnx", providers=["CPUExecutionProvider"])
        with torch.no_grad():
            torch_out = model(dummy_input).numpy()
        ort_out = session.run(["output"], {"input": dummy_input.numpy()})[0]
        max_error = np.max(np.abs(torch_out - ort_out))
        self.assertLess(max_error, 1e-4)
        return model, session

    def test_recipe(self):
        model, session = self.recipe(eval_forgotten=False)
        self.assertEqual(
            [(p.name, p.type, p.shape) for p in session.get_inputs() + session.get_outputs()],
            [("input", "tensor(float)", ["batch_size", 3, 224, 224]), ("output", "tensor(float)", ["batch_size", 1000])],
        )
        onnx.checker.check_model("resnet50.onnx", full_check=True)
        self.assertEqual(onnx.load("resnet50.onnx").opset_import[0].version, 13)
        self.assertEqual(os.listdir("."), ["resnet50.onnx"])
        self.agrees(model, "resnet50.onnx", (torch.randn(1, 3, 224, 224),), (torch.randn(4, 3, 224, 224),))

    def test_eval_forgotten(self):
        with self.assertRaises(ferry.ExportError) as problem:
            self.recipe(eval_forgotten=True)
        text = str(problem.exception)
        self.assertIn("model.eval()", text)
        self.assertIn("bn1 (BatchNorm2d)", text)
        self.assertIn("53 of its layers", text)
        self.assertEqual(os.listdir("."), [])


class Training(Folder):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(self.fc(x))

    def test_modes(self):
        model = self.Net()
        with self.assertRaisesRegex(ferry.ExportError, r"drop \(Dropout\)"):
            ferry.export(model, (torch.randn(2, 4),), "m.onnx")
        ferry.export(model, (torch.randn(2, 4),), "m.onnx", training=torch.onnx.TrainingMode.EVAL)
        self.assertTrue(model.training and model.drop.training)
        self.agrees(model.eval(), "m.onnx", (torch.randn(2, 4),))
        model.drop.train()  # one layer alone
        with self.assertRaisesRegex(ferry.ExportError, "1 of its layers"):
            ferry.export(model, (torch.randn(2, 4),), "m.onnx")

    def test_harmless(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0), nn.ReLU()).train()
        ferry.export(model, (torch.randn(2, 4),), "m.onnx")
        self.agrees(model, "m.onnx", (torch.randn(2, 4),))

    def test_functional(self):
        """Dropout that is no layer, in a model that is in training mode: the archive says so."""

        class F(nn.Module):
            def forward(self, x):
                return torch.nn.functional.dropout(x, 0.5, self.training)

        with self.assertRaisesRegex(ferry.ExportError, r"model\.eval\(\)"):
            ferry.export(F(), (torch.randn(2, 4),), "m.onnx")
        self.assertEqual(os.listdir("."), [])
        ferry.export(F().eval(), (torch.randn(2, 4),), "m.onnx")

    def test_meant(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).train()
        before = {k: v.clone() for k, v in model.state_dict().items()}
        with self.assertRaises(ferry.ExportError):
            ferry.export(model, (torch.randn(3, 4),), "m.onnx")
        for name, value in model.state_dict().items():
            self.assertTrue(torch.equal(value, before[name]), name)


class Gate(Folder):
    def test_disagreement(self):
        model = torchvision.models.squeezenet1_1().eval()
        with self.assertRaises(ferry.ExportError) as problem:
            ferry.export(model, (torch.randn(1, 3, 64, 64),), "m.onnx", tolerance=1e-12)
        text = str(problem.exception)
        self.assertIn("values part first at", text)
        self.assertRegex(text, r"squeezenet\.py:\d+")
        self.assertIsInstance(problem.exception, ferry.VerificationError)
        self.assertEqual(os.listdir("."), [])

    def test_no_oracle(self):
        """What nothing can be compared with is written, and said not to be verified."""
        model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
        with self.assertWarnsRegex(UserWarning, "m.onnx is not verified in full: .*random"):
            p = ferry.export(model, (torch.randn(2, 4),), "m.onnx", training=torch.onnx.TrainingMode.PRESERVE)
        self.assertEqual(p.report.data["verdict"], "unverified")
        self.assertTrue(model.training)

    def test_capture_is_judged(self):
        """A branch on a value: torch.export captures the sample's side or refuses; a file that computes something else never appears."""

        class Counted(nn.Module):
            calls = 0

            def forward(self, x):
                self.calls += 1
                return x * self.calls  # a number that the capture takes for a constant

        with self.assertRaises(ferry.ExportError) as problem:
            ferry.export(Counted(), (torch.ones(3),), "m.onnx")
        self.assertIn("module", str(problem.exception))
        self.assertEqual(os.listdir("."), [])
        ferry.export(Counted(), (torch.ones(3),), "m.onnx", verify=False)


class Dynamic(Folder):
    def test_axes(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        x = torch.randn(1, 3, 16, 16)
        ferry.export(model, x, "m.onnx", input_names=["x"], dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}})
        s = self.agrees(model, "m.onnx", (x,), (torch.randn(5, 3, 9, 31),))
        self.assertEqual(s.get_inputs()[0].shape, ["n", 3, "h", "w"])
        ferry.export(model, (x,), "m.onnx", input_names=["x"], dynamic_axes={"x": [0]})
        s = self.agrees(model, "m.onnx", (x,), (torch.randn(5, 3, 16, 16),))
        self.assertEqual(s.get_inputs()[0].shape[1:], [3, 16, 16])
        self.assertIsInstance(s.get_inputs()[0].shape[0], str)

    def test_shared_name(self):
        class Two(nn.Module):
            def forward(self, a, b):
                return a.sum(1), b.mean(1)  # nothing says that the batches are one

        a, b = torch.randn(1, 3), torch.randn(1, 5)
        ferry.export(Two(), (a, b), "m.onnx", dynamic_axes={"a": {0: "batch"}, "b": {0: "batch"}})
        s = self.agrees(Two(), "m.onnx", (a, b), (torch.randn(4, 3), torch.randn(4, 5)))
        self.assertEqual([p.shape[0] for p in s.get_inputs() + s.get_outputs()], ["batch"] * 4)

    def test_sequence(self):
        class Encoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed, self.layer = nn.Embedding(50, 16), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

            def forward(self, ids, mask=None):
                return self.layer(self.embed(ids), src_key_padding_mask=mask)

        model = Encoder().eval()
        torch.backends.mha.set_fastpath_enabled(False)
        ids = torch.randint(0, 50, (1, 7))
        ferry.export(model, (ids,), "m.onnx", dynamic_axes={"ids": {0: "batch", 1: "sequence"}})
        self.agrees(model, "m.onnx", (ids,), (torch.randint(0, 50, (3, 20)),))
        ferry.export(
            model,
            (ids, {"mask": torch.zeros(1, 7, dtype=torch.bool)}),
            "m.onnx",
            dynamic_axes={k: {0: "batch", 1: "sequence"} for k in ("ids", "mask")},
        )
        mask = torch.zeros(3, 20, dtype=torch.bool)
        mask[1, 15:] = True
        s = self.agrees(model, "m.onnx", (torch.randint(0, 50, (3, 20)), mask))
        self.assertEqual([p.shape for p in s.get_inputs()], [["batch", "sequence"]] * 2)

    def test_dynamic_shapes(self):
        model = nn.Linear(4, 2)
        x = torch.randn(1, 4)
        for shapes in ({"input": {0: torch.export.Dim("rows")}}, ({0: "rows"},), {"input": {0: "rows"}}):
            ferry.export(model, (x,), "m.onnx", dynamic_shapes=shapes)
            s = self.agrees(model, "m.onnx", (x,), (torch.randn(6, 4),))
            self.assertEqual(s.get_inputs()[0].shape, ["rows", 4])
        ferry.export(model, (x,), "m.onnx", dynamic_shapes={"input": {0: torch.export.Dim.DYNAMIC}})
        self.agrees(model, "m.onnx", (x,), (torch.randn(6, 4),))

    def test_mistakes(self):
        model, x = nn.Linear(4, 2), torch.randn(1, 4)
        for axes, says in (({"inpt": {0: "b"}}, "did you mean 'input'"), ({"input": {2: "b"}}, "axis 2")):
            with self.assertRaisesRegex(ferry.InvalidArgument, says):
                ferry.export(model, (x,), "m.onnx", output_names=["y"], dynamic_axes=axes)
        with self.assertRaisesRegex(ferry.InvalidArgument, "there is no input or output 'z'"):
            ferry.export(model, (x,), "m.onnx", dynamic_axes={"input": {0: "b"}, "z": {0: "b"}})
        with self.assertRaisesRegex(ferry.InvalidArgument, "args"):
            ferry.export(model, (x, x, x), "m.onnx")
        with self.assertRaises(TypeError):
            ferry.export(lambda x: x, (x,), "m.onnx")
        self.assertEqual(os.listdir("."), [])

    def test_fixed_by_the_model(self):
        """An axis that the model's code takes for a constant is refused, with the reason."""

        class Fixed(nn.Module):
            def __init__(self):
                super().__init__()
                self.table = nn.Parameter(torch.randn(6, 4))

            def forward(self, x):
                return x + self.table

        with self.assertRaises(ferry.ExportError):
            ferry.export(Fixed(), (torch.randn(6, 4),), "m.onnx", dynamic_axes={"x": {0: "rows"}})
        self.assertEqual(os.listdir("."), [])


class Arguments(Folder):
    def test_nested(self):
        class Dicts(nn.Module):
            def forward(self, batch, scale):
                return {"sum": batch["a"] + batch["b"][0], "scaled": batch["a"] * scale}

        batch, scale = {"a": torch.randn(2, 3), "b": [torch.randn(2, 3)]}, torch.tensor(2.0)
        ferry.export(Dicts(), (batch, scale), "m.onnx", dynamic_axes={"batch_a": {0: "n"}, "batch_b_0": {0: "n"}})
        s = self.agrees(Dicts(), "m.onnx", (batch, scale), ({"a": torch.randn(5, 3), "b": [torch.randn(5, 3)]}, scale))
        self.assertEqual(len(s.get_inputs()), 3)
        ferry.export(
            Dicts(), (), "m.onnx", kwargs={"scale": scale, "batch": batch}, input_names=["a", "b", "s"], output_names=["total", "product"]
        )
        s = self.agrees(Dicts(), "m.onnx", (batch, scale))
        self.assertEqual([p.name for p in s.get_inputs() + s.get_outputs()], ["a", "b", "s", "total", "product"])

    def test_programs(self):
        model, x = nn.Linear(4, 2), torch.randn(3, 4)
        program = torch.export.export(model, (x,))
        p = ferry.export(program, f="m.onnx", dynamic_axes={"input": {0: "batch"}})
        self.agrees(model, "m.onnx", (x,), (torch.randn(7, 4),))
        self.assertIs(p.exported_program, program)
        torch.export.save(program, "m.pt2")
        ferry.export("m.pt2", f="n.onnx")
        self.agrees(model, "n.onnx", (x,))

    def test_asserts(self):
        class Checked(nn.Module):
            def forward(self, x, i):
                n = i.item()
                torch._check(n <= 3)
                torch._check(n >= 0)
                return x * n

        model, args = Checked().eval(), (torch.randn(2, 3), torch.tensor(2))
        for how in ({}, {"asserts": "drop"}):
            ferry.export(model, args, "dropped.onnx", **how)
            self.assertEqual(len(ferry.InferenceSession("dropped.onnx").get_outputs()), 1)
        ferry.export(model, args, "kept.onnx", asserts="keep")
        session = ferry.InferenceSession("kept.onnx")
        names = [o.name for o in session.get_outputs()]
        self.assertIn("assert", names)
        for n, holds in ((3, True), (5, False)):
            results = session.run(names[1:], dict(zip([i.name for i in session.get_inputs()], (args[0].numpy(), np.array(n)))))
            self.assertEqual(all(bool(r) for r in results), holds)
        with self.assertRaisesRegex(ferry.Error, "neither keep nor drop"):
            ferry.export(model, args, "kept.onnx", asserts="perhaps")

    def test_results(self):
        model, x = nn.Linear(4, 2), torch.randn(3, 4)
        p = ferry.export(model, (x,))
        p.save("m.onnx")
        self.agrees(model, "m.onnx", (x,))
        np.testing.assert_allclose(p(x)[0], model(x).detach().numpy(), atol=1e-6)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            ferry.export(model, (x,), "m.onnx")
        self.assertEqual(out.getvalue(), "")
        with contextlib.redirect_stdout(out):
            ferry.export(model, (x,), "m.onnx", verbose=True, report="r.md", dump_exported_program=True)
        self.assertIn("verified", out.getvalue())
        self.assertNotIn(".ferry-", out.getvalue())
        self.assertEqual(sorted(os.listdir(".")), ["m.onnx", "m.pt2", "r.md"])

    def test_opsets(self):
        class Gelu(nn.Module):
            def forward(self, x):
                return torch.nn.functional.gelu(x)

        for opset in (13, 16, 18, 20, 23):
            ferry.export(Gelu(), (torch.randn(3, 4),), "m.onnx", opset_version=opset)
            self.assertEqual(onnx.load("m.onnx").opset_import[0].version, opset)
            self.agrees(Gelu(), "m.onnx", (torch.randn(3, 4),))

    def test_tensors_go_in_as_they_are(self):
        """DLPack: tensors of torch as inputs, results as tensors of torch, without copies."""
        model, x = nn.Identity(), torch.randn(500, 100)
        ferry.export(model, (x,), "m.onnx")
        s = ferry.InferenceSession("m.onnx")
        (y,) = s.run(None, {s.get_inputs()[0].name: x})
        self.assertEqual(torch.from_dlpack(y).data_ptr(), y.ctypes.data)
        self.assertTrue(torch.equal(torch.from_dlpack(y), x))
        self.assertEqual(ferry.from_dlpack(x).data_ptr(), x.data_ptr())
        with self.assertRaisesRegex(ferry.InvalidArgument, "no tensor in memory of the CPU"):
            s.run(None, {s.get_inputs()[0].name: torch.empty(500, 100, device="meta")})
        half = torch.randn(3, 4).to(torch.bfloat16)
        ferry.export(model, (half,), "m.onnx")
        s = ferry.InferenceSession("m.onnx")
        (y,) = s.run(None, {s.get_inputs()[0].name: half})
        self.assertTrue(torch.equal(torch.from_numpy(y.view(np.int16)).view(torch.bfloat16), half))
        self.assertEqual(torch.from_dlpack(ferry.from_dlpack(x)).data_ptr(), x.data_ptr())

    def test_no_operator(self):
        class Odd(nn.Module):
            def forward(self, x):
                return torch.linalg.eigvals(x).real

        with self.assertRaisesRegex(ferry.ExportError, "linalg"):
            ferry.export(Odd(), (torch.randn(3, 3),), "m.onnx")


if __name__ == "__main__":
    print(f"torch {torch.__version__}, ferry {ferry.__version__}", file=sys.stderr)
    unittest.main()
