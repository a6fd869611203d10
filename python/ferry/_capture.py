# SPDX-License-Identifier: Apache-2.0
"""A module and a sample of its inputs, as torch.export captures them: which layers are in training mode, which axes are to stay open.

torch is imported by whoever calls; nothing here is needed to run models."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import logging
import re
import warnings
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ._lib import InvalidArgument


class Axis(NamedTuple):
    """An axis that is to be dynamic: leaf number among the tensors of the sample, axis, name of its size."""

    leaf: int
    axis: int
    name: str


class Sample:
    """Arguments in the order of forward's parameters, and the tensors among them with the names that torch.export gives them."""

    def __init__(self, torch: Any, model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.tree = torch.utils._pytree
        bound = inspect.signature(model.forward).bind(*args, **kwargs)
        self.args = tuple(args)
        self.kwargs = {name: kwargs[name] for name in bound.signature.parameters if name in kwargs}
        self.kwargs.update({name: x for name, x in kwargs.items() if name not in self.kwargs})  # those that **kwargs takes
        self.arguments = dict(bound.arguments)
        leaves, _ = self.tree.tree_flatten_with_path(self.arguments)
        self.tensors = [x for _, x in leaves if isinstance(x, torch.Tensor)]
        loose = {n for n, p in bound.signature.parameters.items() if p.kind is inspect.Parameter.VAR_KEYWORD}
        self.names = [
            _join(path[1:] if str(getattr(path[0], "key", "")) in loose else path) for path, x in leaves if isinstance(x, torch.Tensor)
        ]
        self.torch = torch
        self.big = self  # the same, grown along axes that are to be dynamic

    def mapped(self, change: Dict[int, Any]) -> "Sample":
        """The sample with tensors replaced, by the number of their leaf."""
        new = object.__new__(Sample)
        new.__dict__.update(self.__dict__)
        by_id = {id(self.tensors[i]): x for i, x in change.items()}

        def replace(tree: Any) -> Any:
            return self.tree.tree_map(lambda x: by_id.get(id(x), x) if isinstance(x, self.torch.Tensor) else x, tree)

        new.args, new.kwargs, new.arguments = replace(self.args), replace(self.kwargs), replace(self.arguments)
        new.tensors = [change.get(i, x) for i, x in enumerate(self.tensors)]
        return new

    def spec(self, of: Any) -> Dict[str, Any]:
        """dynamic_shapes by parameter; of(leaf) gives {axis: dim} or None."""
        count = iter(range(len(self.tensors)))
        return self.tree.tree_map(lambda x: of(next(count)) if isinstance(x, self.torch.Tensor) else None, self.arguments)


def _join(path: Sequence[Any]) -> str:
    words = []
    for key in path:
        part = next((getattr(key, a) for a in ("key", "idx", "name") if hasattr(key, a)), key)
        words.append(str(part))
    return ".".join(words)


# ---- training mode


def layers_in_training(torch: Any, model: Any) -> List[str]:
    """The layers that compute something else in training mode, and are in it: "layer1.0.bn1 (BatchNorm2d)"."""
    nn = torch.nn
    norms = (nn.modules.batchnorm._BatchNorm,)
    found = []
    for name, layer in model.named_modules():
        if not layer.training:
            continue
        different = isinstance(layer, norms) and not (layer.running_mean is None and layer.running_var is None)
        different |= isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        different |= isinstance(layer, nn.RReLU)
        different |= isinstance(layer, nn.RNNBase) and layer.dropout > 0 and layer.num_layers > 1
        different |= isinstance(layer, nn.MultiheadAttention) and layer.dropout > 0
        if different:
            found.append(f"{name or 'the model itself'} ({type(layer).__name__})")
    return found


@contextlib.contextmanager
def training_mode(torch: Any, model: Any, training: Optional[str]) -> Any:
    """`training` as torch.onnx.TrainingMode names it: "EVAL" and "TRAINING" put the model into that mode for the export."""
    if training in (None, "PRESERVE"):
        yield
        return
    modes = {m: m.training for m in model.modules()}
    model.train(training == "TRAINING")
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode


def training_name(training: Any) -> Optional[str]:
    if training is None:
        return None
    name = getattr(training, "name", None) or {0: "EVAL", 1: "PRESERVE", 2: "TRAINING"}.get(training, training)
    if name not in ("EVAL", "PRESERVE", "TRAINING"):
        raise InvalidArgument(f"training: {training!r} is none of EVAL, PRESERVE, TRAINING", "USAGE")
    return name


# ---- dynamic axes


def from_dynamic_axes(
    sample: Sample, axes: Mapping[str, Any], input_names: Sequence[str], outputs: Optional[Sequence[str]]
) -> Tuple[List[Axis], List[str]]:
    """The axes of inputs, and the names that are of no input: outputs, whose sizes follow from those of the inputs."""
    names = [input_names[i] if i < len(input_names) else name for i, name in enumerate(sample.names)]
    found, others = [], []
    for key, which in axes.items():
        flat = [re.sub(r"\W", "_", name) for name in sample.names]  # as torch.export has them
        known = next((n for n in (names, sample.names, flat) if key in n), None)
        if known is not None:
            leaf = known.index(key)
        elif outputs is None or key in outputs:
            others.append(key)
            continue
        else:
            raise InvalidArgument(f"dynamic_axes: there is no input or output '{key}'{_near(key, names + list(outputs))}", "NAME")
        pairs = which.items() if isinstance(which, Mapping) else ((a, f"{key}_dynamic_axes_{i + 1}") for i, a in enumerate(which))
        for axis, name in pairs:
            rank = sample.tensors[leaf].dim()
            if not isinstance(axis, int) or not -rank <= axis < rank:
                raise InvalidArgument(f"dynamic_axes: input '{key}' has rank {rank}; axis {axis} is outside", "AXIS")
            found.append(Axis(leaf, axis % rank, str(getattr(name, "__name__", name))))
    return found, others


def _near(word: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, names, 1)
    return f"; did you mean '{near[0]}'?" if near else "; there are: " + ", ".join(names)


def from_dynamic_shapes(sample: Sample, shapes: Any) -> List[Axis]:
    """The axes that dynamic_shapes opens; named by strings and by Dims, else by ""."""
    params = list(sample.arguments)
    if isinstance(shapes, (list, tuple)):
        shapes = dict(zip(params, shapes))
    found: List[Axis] = []
    count = iter(range(len(sample.tensors)))

    def walk(value: Any, spec: Any) -> None:
        if isinstance(value, sample.torch.Tensor):
            leaf = next(count)
            pairs = spec.items() if isinstance(spec, Mapping) else enumerate(spec) if isinstance(spec, (list, tuple)) else ()
            for axis, dim in pairs:
                if dim is not None and not isinstance(dim, int) and "STATIC" not in str(dim):
                    found.append(Axis(leaf, axis % max(value.dim(), 1), _dim_name(dim)))
        elif isinstance(value, Mapping):
            for key, x in value.items():
                walk(x, spec.get(key) if isinstance(spec, Mapping) else None)
        elif isinstance(value, (list, tuple)):
            for i, x in enumerate(value):
                walk(x, spec[i] if isinstance(spec, (list, tuple)) and i < len(spec) else None)
        else:
            for _ in range(sum(isinstance(x, sample.torch.Tensor) for x in sample.tree.tree_leaves(value))):
                next(count)

    for name, value in sample.arguments.items():
        walk(value, (shapes or {}).get(name))
    return found


def _dim_name(dim: Any) -> str:
    """Of a Dim that is a symbol of its own: derived ones (2*batch) and hints have no name to give."""
    name = dim if isinstance(dim, str) else getattr(dim, "__name__", "")
    return name if name.isidentifier() and not hasattr(dim, "root") else ""


def grown(sample: Sample, axes: Sequence[Axis]) -> Sample:
    """Axes of size 1 repeated: torch.export takes 0 and 1 for constants. Each name gets a size that the sample does not have yet."""
    taken = {int(n) for t in sample.tensors for n in t.shape}
    sizes: Dict[str, int] = {}
    for a in axes:
        n = int(sample.tensors[a.leaf].shape[a.axis])
        if n > 1 and a.name:
            sizes.setdefault(a.name, n)
    change: Dict[int, Any] = {}
    for a in axes:
        t = change.get(a.leaf, sample.tensors[a.leaf])
        if int(t.shape[a.axis]) != 1:
            continue
        size = sizes.get(a.name) if a.name else None
        if size is None:
            size = next(n for n in range(2, len(taken) + 3) if n not in taken)
            taken.add(size)
            if a.name:
                sizes[a.name] = size
        change[a.leaf] = t.detach().repeat_interleave(size, dim=a.axis)
    return sample.mapped(change) if change else sample


# ---- capture


def _symbols(program: Any, sample: Sample) -> List[Any]:
    """Shapes of the program's user inputs that are tensors, in order."""
    wanted = list(program.graph_signature.user_inputs)
    by_name = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    return [by_name[n].shape for n in wanted if isinstance(n, str) and hasattr(by_name.get(n), "shape")]


def _split(program: Any, sample: Sample, axes: Sequence[Axis]) -> List[str]:
    """Names whose axes got more than one symbol."""
    shapes = _symbols(program, sample)
    seen: Dict[str, set] = {}
    for a in axes:
        if a.name and a.leaf < len(shapes):
            seen.setdefault(a.name, set()).add(str(shapes[a.leaf][a.axis]))
    return [name for name, symbols in seen.items() if len(symbols) > 1]


def _export(torch: Any, model: Any, sample: Sample, shapes: Any, oblivious: bool = False, **how: Any) -> Any:
    context: Any = contextlib.nullcontext()
    if oblivious:
        from torch.fx.experimental import _config

        if not hasattr(_config, "backed_size_oblivious"):
            raise NotImplementedError("this torch has no backed_size_oblivious")
        context = _config.patch(backed_size_oblivious=True)
    with context, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)  # what goes wrong comes as an exception, and other ways are tried
        try:
            return torch.export.export(model, sample.args, sample.kwargs, dynamic_shapes=shapes, **how)
        finally:
            logging.disable(before)


def capture(torch: Any, model: Any, sample: Sample, axes: Sequence[Axis], shapes: Any) -> Any:
    """The program. `axes` are to be dynamic; `shapes`: dynamic_shapes of the caller's, which are used as they are, or None.

    With dynamic axes the sample is grown first, so that a batch of 1 is not taken for a constant. What torch.export cannot keep open comes
    back fixed: libferry opens it, or says why it cannot."""
    big = sample.big
    dims = {"DYNAMIC": getattr(torch.export.Dim, "DYNAMIC", None), "AUTO": getattr(torch.export.Dim, "AUTO", None)}
    given = {id(a): dims["DYNAMIC"] for a in axes}

    def spec(choice: Any) -> Any:
        if shapes is not None:
            return _without_strings(shapes, sample.tree, dims["DYNAMIC"])
        if not axes:
            return None
        return sample.spec(lambda leaf: {a.axis: choice(a) for a in axes if a.leaf == leaf} or None)

    first: Optional[Exception] = None
    tries: List[Tuple[Sample, Any, Dict[str, Any]]] = [(big, lambda a: given[id(a)], {"strict": False})]
    if axes:
        tries += [
            (big, lambda a: given[id(a)], {"strict": False, "prefer_deferred_runtime_asserts_over_guards": True}),
            (sample, lambda a: given[id(a)], {"strict": False, "oblivious": True}),
        ]
    tries.append((big, lambda a: given[id(a)], {"strict": True}))
    if axes and shapes is None:
        tries.append((big, lambda a: dims["AUTO"], {"strict": False}))
    for s, choice, how in tries:
        try:
            program = _export(torch, model, s, spec(choice), **how)
        except Exception as problem:
            first = first or problem
            continue
        if shapes is None:
            program = _joined(torch, model, s, axes, program, spec, how)
        return program
    assert first is not None
    raise first


def _joined(torch: Any, model: Any, sample: Sample, axes: Sequence[Axis], program: Any, spec: Any, how: Dict[str, Any]) -> Any:
    """Axes of one name are one size: captured again with a shared Dim where torch.export saw no reason for that."""
    names = _split(program, sample, axes)
    if not names:
        return program
    shared = {name: torch.export.Dim(re.sub(r"\W", "_", f"d_{name}")) for name in names}
    dynamic = torch.export.Dim.DYNAMIC
    try:
        return _export(torch, model, sample, spec(lambda a: shared.get(a.name, dynamic)), **how)
    except Exception:
        return program


def _without_strings(shapes: Any, tree: Any, dynamic: Any) -> Any:
    """dynamic_shapes with names in place of Dims, as torch.onnx.export takes them too."""
    if isinstance(shapes, str):
        return dynamic
    if isinstance(shapes, Mapping):
        return {k: _without_strings(v, tree, dynamic) for k, v in shapes.items()}
    if isinstance(shapes, (list, tuple)):
        return type(shapes)(_without_strings(v, tree, dynamic) for v in shapes)
    return shapes
