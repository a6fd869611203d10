# SPDX-License-Identifier: Apache-2.0
"""ferry.export: torch.onnx.export's arguments, torch.export's capture, libferry's writing and judging."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
import weakref
from typing import Any, Callable, Collection, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from . import _capture
from ._commands import Path, Report, VerificationError, command, failures
from ._lib import BAD_MODEL, Error, InvalidArgument
from ._session import InferenceSession


class ExportError(Error):
    """The model cannot be exported, with the reason."""


class ExportMismatch(ExportError, VerificationError):
    """What would be written does not compute what the model computes. Nothing was written. `report` has the figures."""


class ONNXProgram:
    """What was exported: `report`; `exported_program`, which torch.export captured (None for a path); calling it runs the model."""

    def __init__(self, path: str, report: Report, program: Any, folder: Optional[str]) -> None:
        self._path, self._session = path, None  # type: Tuple[str, Optional[InferenceSession]]
        if folder:  # a temporary one, which goes with this object
            weakref.finalize(self, shutil.rmtree, folder, True)
        self.report, self.exported_program = report, program

    @property
    def model_proto(self) -> Any:
        """An onnx.ModelProto."""
        import onnx

        return onnx.load(self._path)

    def save(self, destination: Path, **ignored: Any) -> None:
        """Writes the .onnx; a second file with weights, if there is one, keeps its name and goes beside it."""
        for name in ignored:
            warnings.warn(f"save: {name} has no effect; it is an argument of ferry.export", UserWarning, stacklevel=2)
        _move(self._path, os.fspath(destination), shutil.copyfile)

    def __call__(self, *args: Any, **kwargs: Any) -> List[Any]:
        """Runs the model on tensors or arrays, in the order of its inputs and by their names."""
        if self._session is None:
            self._session = InferenceSession(self._path)
        names = [i.name for i in self._session.get_inputs()]
        if len(args) > len(names):
            raise InvalidArgument(f"{len(args)} inputs are given; the model takes {len(names)}", "USAGE")
        return self._session.run(None, {**dict(zip(names, args)), **kwargs})

    def __repr__(self) -> str:
        return f"<ferry.ONNXProgram {self._path}>\n{self.report}"


def _move(source: str, to: str, how: Callable[[str, str], Any]) -> None:
    """A .onnx and the file with its weights, which comes first: the model is there last."""
    folder = os.path.dirname(source)
    for name in sorted(os.listdir(folder)):
        if name.startswith(os.path.basename(source)) and name != os.path.basename(source):
            how(os.path.join(folder, name), os.path.join(os.path.dirname(to), name))
    how(source, to)


def export(
    model: Any,
    args: Any = (),
    f: Union[Path, Any, None] = None,
    *,
    kwargs: Optional[Mapping[str, Any]] = None,
    export_params: bool = True,
    verbose: Optional[bool] = None,
    input_names: Optional[Sequence[str]] = None,
    output_names: Optional[Sequence[str]] = None,
    opset_version: Optional[int] = None,
    dynamic_axes: Optional[Mapping[str, Union[Mapping[int, str], Sequence[int]]]] = None,
    keep_initializers_as_inputs: bool = False,
    dynamo: bool = True,
    external_data: Optional[bool] = None,
    dynamic_shapes: Any = None,
    custom_translation_table: Optional[Mapping[Any, Any]] = None,
    report: Union[bool, Path] = False,
    optimize: bool = True,
    verify: bool = True,
    profile: bool = False,
    dump_exported_program: bool = False,
    artifacts_dir: Path = ".",
    fallback: bool = False,
    training: Any = None,
    operator_export_type: Any = None,
    do_constant_folding: bool = True,
    custom_opsets: Optional[Mapping[str, int]] = None,
    export_modules_as_functions: Union[bool, Collection[Any]] = False,
    autograd_inlining: bool = True,
    tolerance: float = 1e-4,
    relative_to_range: bool = False,
    engine: Optional[str] = None,
    threads: Optional[int] = None,
    asserts: Optional[str] = None,
) -> ONNXProgram:
    """Writes `model` as ONNX to `f`, if what is written computes what the model computes.

    model: a torch.nn.Module, a torch.export.ExportedProgram, a torch.jit.ScriptModule or ScriptFunction (which goes the road of its archive), or
        the path of a .pt2 or of such an archive (for which torch is not needed).
    args, kwargs: a sample of the inputs; a dict at the end of args is taken for kwargs, as torch.onnx.export does.
    f: a path, a file object, or None: the program that comes back has save().
    dynamic_axes: {"x": {0: "batch"}} or {"x": [0]}; or dynamic_shapes as for torch.export.export, with names in place of Dims if you like.
    opset_version: 13 to the newest; None: 17. It is honoured, or an error names the operator and the lowest opset that can.
    external_data: None: weights in the same file, beyond 2 GiB in a second one; True: in a second file.
    verify: compares with the program in double precision, at the sample and at another size of each dynamic axis, and with the module on
        the sample; beyond `tolerance` (of the range of an output with relative_to_range) ExportMismatch is raised, with the first node
        whose values part and its source line, and nothing is written. engine: who runs what was written ("ferry", "onnxruntime").
    training: None: a model with layers in training mode is refused, and they are named. torch.onnx.TrainingMode.EVAL puts the model into
        eval mode for the export; PRESERVE and TRAINING accept training mode.
    report: True or a path: all that is known about the export, as a text file (True: <name>.report.md in artifacts_dir).
    asserts: "keep": the program's own checks (torch._check, sizes that data decides) become outputs of bool, "assert", "assert_2" ..., that have to be
        true, also in the comparison; None or "drop": they are left out, and the report counts them.
    verbose: prints the summary.
    dump_exported_program: keeps <name>.pt2 in artifacts_dir.

    What has no counterpart warns when it is set: export_params=False, keep_initializers_as_inputs, dynamo=False, fallback, profile,
    operator_export_type, custom_opsets, export_modules_as_functions, autograd_inlining=False. custom_translation_table is refused.
    """
    _warn(
        {
            "export_params=False: weights are written": not export_params,
            "keep_initializers_as_inputs: weights are no inputs": keep_initializers_as_inputs,
            "dynamo=False: modules are captured by torch.export, not traced": not dynamo,
            "fallback: there is no other exporter to fall back to": fallback,
            "profile: nothing is recorded": profile,
            "operator_export_type: operators of ai.onnx are written": operator_export_type is not None
            and getattr(operator_export_type, "value", operator_export_type) != 0,
            "custom_opsets: no operators of other domains are written": bool(custom_opsets),
            "export_modules_as_functions: modules are inlined": bool(export_modules_as_functions),
            "autograd_inlining=False: autograd functions are captured by torch.export": not autograd_inlining,
        }
    )
    if custom_translation_table:
        raise InvalidArgument("custom_translation_table: operators of your own cannot be written out", "USAGE")
    mode = _capture.training_name(training)
    stem = _stem(model, f)
    pairs: List[Tuple[str, str]] = [
        (key, ",".join(names)) for key, names in (("input-names", input_names), ("output-names", output_names)) if names
    ]
    values = (("opset", opset_version), ("engine", engine), ("threads", threads), ("asserts", asserts))
    pairs += [(key, str(value)) for key, value in values if value is not None]
    flags = {
        "external-data": external_data,
        "no-verify": not verify,
        "no-fold": not do_constant_folding or not optimize,
        "no-fold-bn": not optimize,
        "training": mode in ("PRESERVE", "TRAINING"),
        "relative-to-range": relative_to_range,
    }
    pairs += [(key, "") for key, on in flags.items() if on] + [("tolerance", repr(float(tolerance)))]
    to: Optional[str] = os.fspath(f) if isinstance(f, (str, os.PathLike)) else None
    # beside f: what is finished is renamed into place
    folder = tempfile.mkdtemp(prefix=".ferry-", dir=None if to is None else os.path.dirname(os.path.abspath(to)))
    kept = False
    try:
        written = os.path.join(folder, f"{stem}.onnx" if to is None else os.path.basename(to))
        program: Any = None
        sample: Any = None
        leaves: Optional[List[Any]] = None  # tensors of the sample of a script
        others: List[str] = []
        if isinstance(model, (str, os.PathLike)):
            source = os.fspath(model)
            for name, which in (dynamic_axes or {}).items():
                pairs += _dynamic(name, which, output_names)
        elif _is_script(model):
            source = os.path.join(folder, f"{stem}.pt")
            leaves, options = _script(model, args, kwargs, mode, source, input_names, output_names, dynamic_axes, dynamic_shapes)
            pairs += options
        else:
            program, sample, axes, others = _program(model, args, kwargs, mode, input_names, output_names, dynamic_axes, dynamic_shapes)
            pairs += axes
            source = os.path.join(folder, f"{stem}.pt2")
            _save(program, source)
            if dump_exported_program:
                os.makedirs(artifacts_dir, exist_ok=True)
                shutil.copyfile(source, os.path.join(artifacts_dir, f"{stem}.pt2"))
        result = _write(source, written, pairs)
        shown = f"{stem}.onnx" if to is None else to
        result._text, result.full = (
            t.replace(written, shown).replace(source, os.path.basename(source)) for t in (result._text, result.full)
        )
        result.data["output"] = shown
        if report:
            _write_report(result, report, artifacts_dir, stem)
        if verbose:
            print(result, end="")
        if not result.ok:
            raise ExportMismatch(
                f"{shown} would not compute what {stem} computes; nothing was written\n{failures(result) or result}", result
            )
        if leaves is not None and verify:
            _against(model, args if isinstance(args, tuple) else (args,), dict(kwargs or {}), leaves, written, tolerance, mode, result, shown)
        if program is not None and verify:
            _compare(model, program, sample, written, tolerance, mode, result, shown)
        if verify and result.data.get("verdict") == "unverified":
            if sample is not None and sample.big is not sample:  # another size at least, by the module itself
                _compare(model, program, sample.big, written, tolerance, mode, result, shown)
            warnings.warn(f"{shown} is not verified in full: {result.data.get('unverified')}", UserWarning, stacklevel=2)
        if others:
            _check_outputs(others, written)
        if program is not None or leaves is not None:
            os.unlink(source)
        if to is not None:
            _move(written, to, os.replace)
            return ONNXProgram(to, result, program, None)
        if f is not None:
            with open(written, "rb") as finished:
                f.write(finished.read())  # type: ignore[union-attr]
        kept = True
        return ONNXProgram(written, result, program, folder)
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _warn(said: Dict[str, Any]) -> None:
    for text, wrong in said.items():
        if wrong:
            warnings.warn(text, UserWarning, stacklevel=3)


def _stem(model: Any, f: Any) -> str:
    name = f if isinstance(f, (str, os.PathLike)) else model if isinstance(model, (str, os.PathLike)) else type(model).__name__
    return os.path.splitext(os.path.basename(os.fspath(name)))[0] or "model"


def _dynamic(name: str, which: Any, output_names: Optional[Sequence[str]]) -> List[Tuple[str, str]]:
    if name in (output_names or ()):
        return []
    items = which.items() if isinstance(which, Mapping) else ((a, f"{name}_dynamic_axes_{i + 1}") for i, a in enumerate(which))
    return [("dynamic", f"{name}:{axis}={symbol}") for axis, symbol in items]


def _program(
    model: Any, args: Any, kwargs: Any, mode: Optional[str], input_names: Any, output_names: Any, dynamic_axes: Any, dynamic_shapes: Any
) -> Tuple[Any, Any, List[Tuple[str, str]], List[str]]:
    """The program, the sample it was captured from (None if it was there before), options for its dynamic axes, names that may be
    outputs."""
    try:
        import torch
    except ImportError:
        raise ExportError("torch is needed to export a module; a .pt2 is exported without", "USAGE", 2) from None
    if isinstance(model, torch.export.ExportedProgram):
        return model, None, [p for name, which in (dynamic_axes or {}).items() for p in _dynamic(name, which, output_names)], []
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"a torch.nn.Module, an ExportedProgram or the path of a .pt2 is meant, not {type(model).__name__}")
    if mode is None:
        _refuse_training(torch, model)
    args = (args,) if isinstance(args, torch.Tensor) or not isinstance(args, (tuple, list)) else tuple(args)
    if not kwargs and args and isinstance(args[-1], dict):
        args, kwargs = args[:-1], args[-1]
    try:
        sample = _capture.Sample(torch, model, args, kwargs or {})
    except TypeError as problem:
        raise InvalidArgument(f"args, kwargs: {problem}", "USAGE") from None
    others: List[str] = []
    if dynamic_shapes is not None:
        axes = _capture.from_dynamic_shapes(sample, dynamic_shapes)
    else:
        axes, others = _capture.from_dynamic_axes(sample, dynamic_axes or {}, list(input_names or ()), output_names)
    sample.big = _capture.grown(sample, axes)
    with _capture.training_mode(torch, model, mode):
        try:
            program = _capture.capture(torch, model, sample, axes, dynamic_shapes)
        except Exception as problem:
            raise ExportError(f"torch.export cannot capture the model: {problem}", "CAPTURE", BAD_MODEL) from problem
    names = [input_names[i] if i < len(input_names or ()) else name for i, name in enumerate(sample.names)]
    options = [("dynamic", f"{names[a.leaf]}:{a.axis}={a.name}") for a in axes if a.name]
    return program, sample, options, others


def _is_script(model: Any) -> bool:
    import sys

    torch = sys.modules.get("torch")  # who has such a module has imported it
    return torch is not None and isinstance(model, (torch.jit.ScriptModule, torch.jit.ScriptFunction))


def _shapes(name: str, x: Any, pairs: List[Tuple[str, str]], leaves: List[Any]) -> None:
    """--shape for one argument, and the tensors in it."""
    import torch

    if isinstance(x, torch.Tensor):
        leaves.append(x)
        pairs.append(("shape", f"{name}={'x'.join(map(str, x.shape))}:{str(x.dtype)[6:]}"))
    elif isinstance(x, (bool, int, float)):
        pairs.append(("shape", f"{name}={x}"))
    elif isinstance(x, (list, tuple)):
        for i, y in enumerate(x):
            _shapes(f"{name}.{i}", y, pairs, leaves)
    elif isinstance(x, Mapping):
        for key, y in x.items():
            _shapes(f"{name}.{key}", y, pairs, leaves)
    elif x is not None:
        raise InvalidArgument(f"args, kwargs: {name}: {type(x).__name__} is no input of a script", "USAGE")


def _script(
    model: Any, args: Any, kwargs: Any, mode: Optional[str], path: str, input_names: Any, output_names: Any, dynamic_axes: Any, dynamic_shapes: Any
) -> Tuple[List[Any], List[Tuple[str, str]]]:
    """Saves the script; the tensors of the sample, and options for its shapes and dynamic axes."""
    import torch

    if dynamic_shapes is not None:
        raise InvalidArgument("dynamic_shapes: a script takes dynamic_axes", "USAGE")
    module = isinstance(model, torch.jit.ScriptModule)
    if module and mode is None and model.training:
        _refuse_training(torch, model)
    args = (args,) if not isinstance(args, tuple) else args
    names = [a.name for a in (model.forward.schema if module else model.schema).arguments][1 if module else 0 :]
    if len(args) > len(names):
        raise InvalidArgument(f"args: {len(args)} arguments are given; forward takes {len(names)}", "USAGE")
    pairs: List[Tuple[str, str]] = []
    leaves: List[Any] = []
    for name, x in [*zip(names, args), *(kwargs or {}).items()]:
        _shapes(name, x, pairs, leaves)
    ports = [text.split("=")[0] for _, text in pairs if ":" in text]  # the tensors, in order
    renamed = dict(zip(input_names or (), ports))
    for name, which in (dynamic_axes or {}).items():
        pairs += _dynamic(renamed.get(name, name), which, output_names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(model, path)
    return leaves, pairs


def _refuse_training(torch: Any, model: Any) -> None:
    layers = _capture.layers_in_training(torch, model)
    if layers:
        shown = ", ".join(layers[:8]) + (f" and {len(layers) - 8} more" if len(layers) > 8 else "")
        raise ExportError(
            f"the model is in training mode, in which {len(layers)} of its layers compute something else than in inference: {shown}",
            "TRAINING",
            BAD_MODEL,
            "Call model.eval() before ferry.export; if training mode is meant, pass training=torch.onnx.TrainingMode.PRESERVE.",
        )


def _save(program: Any, path: str) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)


def _write(source: str, to: str, pairs: List[Tuple[str, str]]) -> Report:
    try:
        return command("ferry_export", (source, to), pairs)
    except Error as e:
        if e.kind != BAD_MODEL or isinstance(e, InvalidArgument):
            raise
        help = (
            "Call model.eval() before ferry.export; if training mode is meant, pass training=torch.onnx.TrainingMode.PRESERVE."
            if e.code == "TRAINING"
            else e.help
        )
        raise ExportError(e.args[0], e.code, e.kind, help, e.frames) from None


def _write_report(result: Report, report: Union[bool, Path], artifacts_dir: Path, stem: str) -> None:
    path = os.path.join(artifacts_dir, f"{stem}.report.md") if isinstance(report, bool) else os.fspath(report)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as out:
        out.write(f"# Export of {stem}\n\n```\n{result.full}```\n")


def _check_outputs(names: Sequence[str], written: str) -> None:
    ports = InferenceSession(written)
    outputs = [o.name for o in ports.get_outputs()]
    for name in names:
        if name not in outputs:
            raise InvalidArgument(
                f"dynamic_axes: there is no input or output '{name}'{_capture._near(name, [i.name for i in ports.get_inputs()] + outputs)}",
                "NAME",
            )


def _compare(
    model: Any, program: Any, sample: Any, written: str, tolerance: float, mode: Optional[str], result: Report, shown: str
) -> None:
    """The module itself on the caller's sample: the program was judged already, but not whether it is what the module does. Float32 rounds
    in PyTorch too, so an error counts if it is large beside the range of the output as well."""
    import torch

    signature = program.graph_signature
    if (
        sample is None
        or mode in ("PRESERVE", "TRAINING")
        or signature.buffers_to_mutate
        or getattr(signature, "user_inputs_to_mutate", None)
    ):
        return
    _against(model, sample.args, sample.kwargs, sample.tensors, written, tolerance, mode, result, shown)


def _against(
    model: Any, args: Any, kwargs: Any, tensors: List[Any], written: str, tolerance: float, mode: Optional[str], result: Report, shown: str
) -> None:
    """What the model itself computes from the arguments, whose tensors are `tensors`, against what was written."""
    import torch

    state = model.state_dict().values() if isinstance(model, torch.nn.Module) else ()
    copies = {id(t): t.detach().clone() for t in tensors}
    args, kwargs = torch.utils._pytree.tree_map(lambda x: copies.get(id(x), x), (args, kwargs))
    wide = (torch.float32, torch.float64)
    if any(
        t.is_floating_point() and t.dtype not in wide
        for t in [*tensors, *state]
        if isinstance(t, torch.Tensor)
    ):
        return
    session = InferenceSession(written)
    if len(session.get_inputs()) != len(tensors):
        return
    with torch.no_grad(), _capture.training_mode(torch, model, mode) if isinstance(model, torch.nn.Module) else contextlib.nullcontext():
        wanted = [t for t in torch.utils._pytree.tree_leaves(model(*args, **kwargs)) if isinstance(t, torch.Tensor)]
    checks = session.get_modelmeta().custom_metadata_map  # outputs that stand for the program's own checks come last
    ports = [o for o in session.get_outputs() if f"ferry.assert:{o.name}" not in checks]
    got = session.run([o.name for o in ports], {p.name: t.detach().cpu().contiguous().numpy() for p, t in zip(session.get_inputs(), tensors)})
    for port, y, ours in zip(ports, wanted, got):
        if y.dtype not in wide or len(wanted) != len(got):
            continue
        theirs = y.cpu().numpy()
        worst = (
            float("inf")
            if theirs.shape != ours.shape
            else float(np.abs(np.where((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)), 0, ours - theirs)).max(initial=0))
        )
        span = float(np.ptp(theirs[np.isfinite(theirs)])) if np.isfinite(theirs).any() else 0.0
        if not worst <= tolerance and not worst <= max(tolerance, 1e-4) * span:
            raise ExportMismatch(
                f"{shown} does not compute what the module computes on the sample: {port.name}: "
                f"max abs error {worst:.3g}, tolerance {tolerance:.0e}. "
                "torch.export captured something else (a branch that depends on values, a size taken for a constant, random numbers?); "
                "nothing was written",
                result,
            )
