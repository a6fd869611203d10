# SPDX-License-Identifier: Apache-2.0
"""ferry as a backend of ONNX (onnx.backend.base): prepare, run_model, run_node, supports_device.

    import ferry.backend
    outputs = ferry.backend.run_model(onnx.load("model.onnx"), [x])

Options of ferry_open (ferry/run.h) go in as `options`: prepare(model, options="threads=1 engine=reference")."""

from __future__ import annotations

from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from . import _values
from ._lib import Error
from ._session import InferenceSession, SessionOptions

_PROTOS = (onnx.TensorProto, onnx.SequenceProto, onnx.OptionalProto, onnx.MapProto)


def _plain(x: Any) -> Any:
    """What a message holds; anything else as it is."""
    if isinstance(x, onnx.TensorProto):
        return numpy_helper.to_array(x)
    if isinstance(x, onnx.SequenceProto):
        return numpy_helper.to_list(x)
    if isinstance(x, onnx.OptionalProto):
        return numpy_helper.to_optional(x)
    if isinstance(x, onnx.MapProto):
        return numpy_helper.to_dict(x)
    return x


class FerryBackendRep(BackendRep):
    """A model that is ready to run."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session
        self._result = namedtupledict("Outputs", [o.name for o in session.get_outputs()])

    def run(self, inputs: Any, **kwargs: Any) -> Tuple[Any, ...]:
        """`inputs`: a list in the order of the model's inputs, or a dict by name; arrays, lists, dicts, None, or messages of ONNX."""
        ports = self.session.get_inputs()
        if not isinstance(inputs, dict):
            if isinstance(inputs, (np.ndarray, *_PROTOS)):
                inputs = [inputs]
            if len(inputs) > len(ports):
                raise Error(f"{len(inputs)} inputs are given; the model takes {len(ports)}", "USAGE", 2)
            inputs = {p.name: x for p, x in zip(ports, inputs)}
        return self._result(*self.session.run(None, {name: _plain(x) for name, x in inputs.items()}))


class FerryBackend(Backend):
    """The class that onnx.backend.test.BackendTest takes; this module serves as well."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: Union[onnx.ModelProto, bytes, str], device: str = "CPU", **kwargs: Any) -> FerryBackendRep:
        if not cls.supports_device(device):
            raise Error(f"device {device}: ferry runs on the CPU", "USAGE", 2)
        settings = SessionOptions()
        settings.add_session_config_entry("ferry.options", kwargs.get("options", ""))
        return FerryBackendRep(InferenceSession(model.SerializeToString() if isinstance(model, onnx.ModelProto) else model, settings))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> Tuple[Any, ...]:
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Optional[Sequence[Tuple[Any, Any]]] = None, **kwargs: Any
    ) -> Tuple[Any, ...]:
        """Runs one operator. `inputs`: one for each input that the node has (not for those left out by an empty name). `opset_version`: of
        the node's domain, the newest unless given."""
        names = [n for n in node.input if n]
        if isinstance(inputs, (np.ndarray, *_PROTOS)):
            inputs = [inputs]
        values = [_plain(inputs[n]) for n in names] if isinstance(inputs, dict) else [_plain(x) for x in inputs]
        values = [np.asarray(x) if not isinstance(x, (list, dict, type(None))) else x for x in values]
        version = kwargs.pop("opset_version", onnx.defs.onnx_opset_version() if node.domain in ("", "ai.onnx") else 1)
        outputs = [helper.make_empty_tensor_value_info(n) for n in node.output if n]
        graph = helper.make_graph([node], "node", [helper.make_value_info(n, _type_of(x)) for n, x in zip(names, values)], outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        return cls.prepare(model, device, **kwargs).run(dict(zip(names, values)))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.partition(":")[0].upper() == "CPU"


def _type_of(x: Any) -> onnx.TypeProto:
    if isinstance(x, list):
        return helper.make_sequence_type_proto(_type_of(x[0]) if x else helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None))
    if x is None:
        return helper.make_optional_type_proto(helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None))
    return helper.make_tensor_type_proto(_values.number_of(x.dtype), x.shape)


is_compatible = FerryBackend.is_compatible
prepare = FerryBackend.prepare
run_model = FerryBackend.run_model
run_node = FerryBackend.run_node
supports_device = FerryBackend.supports_device
