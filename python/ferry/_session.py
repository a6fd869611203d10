# SPDX-License-Identifier: Apache-2.0
"""InferenceSession and what belongs to it, as scripts written for onnxruntime use them."""

from __future__ import annotations

import ctypes
import difflib
import os
import threading
import warnings
from ctypes import c_char, c_char_p, c_void_p
from enum import IntEnum
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

import numpy as np

from . import _values
from ._lib import TENSOR, ErrorRecord, Error, InvalidArgument, Tensor, fail, lib, quick, raw, text

_CPU = "CPUExecutionProvider"
_COPY = 1 << 15  # results of at most so many bytes are copied: cheaper than an owner
_SMALL = 1 << 12  # and inputs: cheaper than asking for their address
_run = lib.ferry_run
_AFTER_DATA = Tensor.bytes.offset


class GraphOptimizationLevel(IntEnum):
    """Accepted; ferry plans every model the same way, and results do not depend on it."""

    ORT_DISABLE_ALL, ORT_ENABLE_BASIC, ORT_ENABLE_EXTENDED, ORT_ENABLE_LAYOUT, ORT_ENABLE_ALL = 0, 1, 2, 3, 99


class ExecutionMode(IntEnum):
    """Accepted; a run works on one operator at a time, with all its threads."""

    ORT_SEQUENTIAL, ORT_PARALLEL = 0, 1


class SessionOptions:
    """Settings of a session. These change something: `intra_op_num_threads` (0: all cores allowed), `optimized_model_filepath` (the model
    is written there with fewer nodes, as `ferry optimize` does), and `add_session_config_entry("ferry.options", "memory=low cache=DIR")`
    with the options of ferry_open in ferry/run.h. The others are kept and have no effect; `enable_profiling` warns."""

    __slots__ = (
        "intra_op_num_threads",
        "inter_op_num_threads",
        "graph_optimization_level",
        "execution_mode",
        "execution_order",
        "enable_profiling",
        "profile_file_prefix",
        "optimized_model_filepath",
        "log_severity_level",
        "log_verbosity_level",
        "logid",
        "enable_mem_pattern",
        "enable_mem_reuse",
        "enable_cpu_mem_arena",
        "use_deterministic_compute",
        "use_per_session_threads",
        "_entries",
    )

    def __init__(self) -> None:
        self.intra_op_num_threads = 0
        self.inter_op_num_threads = 0
        self.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
        self.execution_mode = ExecutionMode.ORT_SEQUENTIAL
        self.execution_order = 0
        self.enable_profiling = False
        self.profile_file_prefix = "ferry_profile_"
        self.optimized_model_filepath = ""
        self.log_severity_level, self.log_verbosity_level, self.logid = -1, 0, ""
        self.enable_mem_pattern = self.enable_mem_reuse = self.enable_cpu_mem_arena = True
        self.use_deterministic_compute = False
        self.use_per_session_threads = True
        self._entries: Dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self._entries[key] = value

    def get_session_config_entry(self, key: str) -> str:
        if key not in self._entries:
            raise InvalidArgument(f"there is no entry '{key}'", "NAME")
        return self._entries[key]

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Accepted: sizes are known when a run begins, and are planned then."""

    def add_free_dimension_override_by_denotation(self, name: str, size: int) -> None:
        """Accepted, as above."""

    def register_custom_ops_library(self, path: str) -> None:
        """Operators from a shared object that ferry/plugin.h describes."""
        self._entries["ferry.options"] = f"{self._entries.get('ferry.options', '')} plugin={_quoted(path)}".strip()

    def _words(self) -> str:
        threads = f"threads={self.intra_op_num_threads} " if self.intra_op_num_threads > 0 else ""
        return threads + self._entries.get("ferry.options", "")


def _quoted(path: str) -> str:
    if "'" in path:
        raise InvalidArgument(f"a path with ' cannot be an option: {path}", "USAGE")
    return f"'{path}'"


class RunOptions:
    """Settings of a run. `terminate = True`, from any thread, ends the runs that use these options."""

    def __init__(self) -> None:
        self.log_severity_level, self.log_verbosity_level, self.logid = 2, 0, ""
        self.only_execute_path_to_fetches = False
        self._running: set = set()
        self._terminate = False
        self._lock = threading.Lock()

    @property
    def terminate(self) -> bool:
        return self._terminate

    @terminate.setter
    def terminate(self, stop: bool) -> None:
        with self._lock:
            self._terminate = stop
            for handle in self._running if stop else ():
                quick.ferry_session_stop(handle)

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Accepted; no entry means anything to ferry."""

    def _begin(self, handle: int) -> None:
        with self._lock:
            self._running.add(handle)
            if self._terminate:
                quick.ferry_session_stop(handle)

    def _end(self, handle: int) -> None:
        with self._lock:
            self._running.discard(handle)


class NodeArg:
    """An input or output: `name`, `type` ("tensor(float)"), `shape` (a list; a size that is not fixed is its name, or None)."""

    __slots__ = ("name", "type", "shape", "_number", "_text", "_view")

    def __init__(self, port: Any) -> None:
        p = port.contents
        self.name, self._text = text(p.name), text(p.type)
        self.type = _values.port_type(self._text)
        self.shape = [p.dim[i] if p.dim[i] >= 0 else text(p.sym[i]) or None for i in range(max(p.rank, 0))]
        self._number = p.dtype
        self._view = p.kind == TENSOR and _values.is_view(p.dtype)

    def __repr__(self) -> str:
        return f"NodeArg(name='{self.name}', type='{self.type}', shape={self.shape})"


class ModelMetadata:
    """What the file says of itself: producer_name, graph_name, domain, description, graph_description, version, custom_metadata_map."""

    def __init__(self, model: int) -> None:
        def about(what: bytes) -> str:
            return text(quick.ferry_about(model, what))

        self.producer_name, self.graph_name, self.domain = about(b"producer"), about(b"graph"), about(b"domain")
        self.description, self.graph_description, self.version = about(b"description"), "", quick.ferry_model_version(model)
        self.custom_metadata_map: Dict[str, str] = {}
        key, value, i = c_char_p(), c_char_p(), 0
        while quick.ferry_metadata_at(model, i, key, value):
            self.custom_metadata_map[text(key.value)] = text(value.value)
            i += 1


class OrtValue:
    """A value in memory of the CPU: a tensor, over an array without a copy, or a sequence of arrays."""

    def __init__(self, value: Any) -> None:
        self._value = value

    @staticmethod
    def ortvalue_from_numpy(array: np.ndarray, device_type: str = "cpu", device_id: int = 0) -> "OrtValue":
        _on_cpu(device_type)
        return OrtValue(_values.as_array(array, "", 0))

    @staticmethod
    def ortvalue_from_shape_and_type(shape: Sequence[int], element_type: Any, device_type: str = "cpu", device_id: int = 0) -> "OrtValue":
        _on_cpu(device_type)
        return OrtValue(np.zeros(tuple(shape), _element(element_type)))

    @staticmethod
    def ort_value_from_sparse_tensor(value: Any) -> "OrtValue":
        raise InvalidArgument("ferry has no sparse tensors", "UNSUPPORTED")

    @staticmethod
    def from_dlpack(tensor: Any, is_bool_tensor: bool = False) -> "OrtValue":
        array = _of_dlpack(tensor)
        return OrtValue(_values.as_array(array.view(np.bool_) if is_bool_tensor and array.dtype == np.uint8 else array, "", 0))

    def __dlpack__(self, **how: Any) -> Any:
        return self._value.__dlpack__(**how)

    def __dlpack_device__(self) -> Any:
        return self._value.__dlpack_device__()

    def numpy(self) -> np.ndarray:
        return self._value

    def shape(self) -> List[int]:
        return list(self._value.shape)

    def data_ptr(self) -> int:
        return self._value.ctypes.data

    def element_type(self) -> int:
        return _values.number_of(self._value.dtype)

    def data_type(self) -> str:
        if self.is_tensor():
            return f"tensor({_values.type_name(self.element_type())})"
        return f"seq({OrtValue(self._value[0]).data_type() if self._value else 'tensor(undefined)'})"

    def device_name(self) -> str:
        return "cpu"

    def has_value(self) -> bool:
        return self._value is not None

    def is_tensor(self) -> bool:
        return isinstance(self._value, np.ndarray)

    def is_tensor_sequence(self) -> bool:
        return isinstance(self._value, list)

    def is_sparse_tensor(self) -> bool:
        return False

    def tensor_size_in_bytes(self) -> int:
        return self._value.nbytes

    def update_inplace(self, array: np.ndarray) -> None:
        if array.shape != self._value.shape or array.dtype != self._value.dtype:
            raise InvalidArgument(f"{array.dtype}{list(array.shape)} into {self._value.dtype}{list(self._value.shape)}", "SHAPE")
        self._value[...] = array


def from_dlpack(tensor: Any) -> OrtValue:
    """A tensor of any library that has __dlpack__, in memory of the CPU, without a copy."""
    return OrtValue.from_dlpack(tensor.detach() if hasattr(tensor, "detach") else tensor)


def _of_dlpack(tensor: Any) -> np.ndarray:
    """An array over the tensor's memory. NumPy takes what comes by the first protocol, which cannot say, for read-only: such memory is the
    producer's to be written to, as by every other library."""
    array = np.from_dlpack(tensor)
    if array.flags.writeable or not array.flags.c_contiguous or not array.nbytes:
        return array
    try:
        tensor.__dlpack__(max_version=(1, 0))
        return array  # it is read-only
    except TypeError:
        memory: Any = (c_char * array.nbytes).from_address(array.ctypes.data)
        memory.ferry_array = array
        return np.ndarray(array.shape, array.dtype, memory)


def _on_cpu(device: str) -> None:
    if str(device).lower() != "cpu":
        raise InvalidArgument(f"device '{device}': ferry runs on the CPU", "USAGE")


def _element(element: Any) -> np.dtype:
    """A NumPy type, a number of TensorProto.DataType, or "float", "tensor(float)"."""
    if isinstance(element, str) and _known(element):
        return _values.numpy_dtype(_values.number_of_type(element))
    if isinstance(element, int) and not isinstance(element, bool):
        return _values.numpy_dtype(element)
    return np.dtype(element)


def _known(name: str) -> bool:
    try:
        return bool(_values.number_of_type(name))
    except InvalidArgument:
        return False


class _Model:
    """A ferry_model; goes with the last object that refers to it."""

    def __init__(self, source: Any, options: str) -> None:
        record = ErrorRecord()
        self._bytes = None
        if isinstance(source, (bytes, bytearray, memoryview)):
            self._bytes = bytes(source)  # must outlive the model
            self.handle = lib.ferry_open_memory(self._bytes, len(self._bytes), raw(options), ctypes.addressof(record))
        else:
            self.handle = lib.ferry_open(raw(os.fspath(source)), raw(options), ctypes.addressof(record))
        if not self.handle:
            fail(record)

    def __del__(self, close=lib.ferry_close) -> None:
        if getattr(self, "handle", None):
            close(self.handle)


class _Runner:
    """A ferry_session with the structures of its calls. One thread at a time has it."""

    def __init__(self, model: _Model, inputs: int, outputs: int) -> None:
        self.model = model  # outlives the session
        self.stopped = False
        self.error = ErrorRecord()
        self.at_error = ctypes.addressof(self.error)
        self.handle = lib.ferry_session_new(model.handle, self.at_error)
        if not self.handle:
            fail(self.error)
        self.inputs, self.outputs = (Tensor * max(inputs, 1))(), (Tensor * max(outputs, 1))()
        self.input = [self.inputs[i] for i in range(inputs)]
        self.output = [self.outputs[i] for i in range(outputs)]
        self.shape: List[Any] = [None] * inputs
        self.small: List[Any] = [None] * inputs  # arrays of ours that small inputs are copied to: cheaper than asking for their address
        self.seen = [memoryview(t).cast("B")[_AFTER_DATA:] for t in self.output]
        self.last: List[Any] = [(None, None, None, None)] * outputs  # what `seen` held, and the shape, dtype and memory that go with it
        self.at_inputs, self.at_outputs = ctypes.addressof(self.inputs), ctypes.addressof(self.outputs)
        self.values = (c_void_p * max(inputs, 1))()
        self.results = (c_void_p * max(outputs, 1))()

    def __del__(self, free=lib.ferry_session_free) -> None:
        if getattr(self, "handle", None):
            free(self.handle)

    def give(self, i: int, x: np.ndarray, name: str, number: int) -> None:
        """Input i becomes `x`, of another shape than before."""
        if x.ndim > _values.MAX_RANK:
            raise InvalidArgument(f"input '{name}' has rank {x.ndim}; at most {_values.MAX_RANK}", "SHAPE")
        self.shape[i] = None
        own = x.copy("C") if x.nbytes <= _SMALL else None
        _values.fill(self.input[i], x if own is None else own, number)
        self.shape[i], self.small[i] = x.shape, own

    def result(self, i: int) -> np.ndarray:
        """Output i of the run that has just been, in memory of its own."""
        t = self.output[i]
        seen, (last, shape, dtype, memory) = self.seen[i].tobytes(), self.last[i]
        if seen != last:
            shape, dtype = tuple(t.dim[: t.rank]), _values.numpy_dtype(t.dtype)
            memory = c_char * t.bytes if 0 < t.bytes <= _COPY else None
            self.last[i] = (seen, shape, dtype, memory)
        if memory is not None:
            return np.ndarray(shape, dtype, bytearray(memory.from_address(t.data)))
        if not t.bytes:
            return np.empty(shape, dtype)
        return _values.array_owning(_values.Owned(quick.ferry_session_take(self.handle, i, self.at_error), self.error))


class IOBinding:
    """Inputs and outputs of a session, bound to memory. Everything is on the CPU."""

    def __init__(self, session: "InferenceSession") -> None:
        self._session = session
        self._inputs: Dict[str, Any] = {}
        self._outputs: Dict[str, Optional[np.ndarray]] = {}
        self._results: List[OrtValue] = []

    def bind_cpu_input(self, name: str, array: np.ndarray) -> None:
        self._inputs[name] = array

    def bind_ortvalue_input(self, name: str, value: OrtValue) -> None:
        self._inputs[name] = value.numpy()

    def bind_input(self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int) -> None:
        _on_cpu(device_type)
        self._inputs[name] = _at(buffer_ptr, shape, element_type)

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Optional[Sequence[int]] = None,
        buffer_ptr: Optional[int] = None,
    ) -> None:
        """Without `buffer_ptr` the memory is made by the run."""
        _on_cpu(device_type)
        self._outputs[name] = None if buffer_ptr is None else _at(buffer_ptr, shape or (), element_type)

    def bind_ortvalue_output(self, name: str, value: OrtValue) -> None:
        self._outputs[name] = value.numpy()

    def synchronize_inputs(self) -> None:
        """Nothing to wait for."""

    def synchronize_outputs(self) -> None:
        """Nothing to wait for."""

    def get_outputs(self) -> List[OrtValue]:
        """One for each bound output, in the order in which they were bound."""
        return self._results

    def copy_outputs_to_cpu(self) -> List[Any]:
        return [v.numpy() for v in self._results]

    def clear_binding_inputs(self) -> None:
        self._inputs.clear()

    def clear_binding_outputs(self) -> None:
        self._outputs.clear()


def _at(address: int, shape: Sequence[int], element_type: Any) -> np.ndarray:
    dtype = _element(element_type)
    n = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory: Any = (c_char * n).from_address(address) if n else None
    return np.ndarray(tuple(shape), dtype, memory)


class InferenceSession:
    """A model that is ready to run; any number of threads may run it at the same time. `path_or_bytes`: a .onnx or .pt2, or the bytes of a
        .onnx. `providers` may be what it is for onnxruntime: ferry runs on the CPU, and warns about others as onnxruntime does where it lacks
    them.

        Runs release the GIL. Results are arrays of their own: they stay as they are whatever the session does next. A model that declares state
    (a KV cache) keeps it from run to run; runs at the same time have a state each, so run such a model from one thread."""

    def __init__(
        self,
        path_or_bytes: Union[str, bytes, os.PathLike],
        sess_options: Optional[SessionOptions] = None,
        providers: Optional[Sequence[Any]] = None,
        provider_options: Optional[Sequence[Dict[Any, Any]]] = None,
        **kwargs: Any,
    ) -> None:
        for name in kwargs:
            if name not in ("disabled_optimizers", "enable_fallback", "read_config_from_model"):
                raise TypeError(f"InferenceSession has no argument '{name}'")
        self._options = sess_options or SessionOptions()
        self.set_providers(providers)
        if self._options.enable_profiling:
            warnings.warn(
                "enable_profiling: no profile is written; `ferry profile MODEL --trace FILE` makes one", UserWarning, stacklevel=2
            )
        self._model = _Model(path_or_bytes, self._options._words())
        handle = self._model.handle
        self._inputs = [NodeArg(quick.ferry_input(handle, i)) for i in range(quick.ferry_inputs(handle))]
        self._outputs = [NodeArg(quick.ferry_output(handle, i)) for i in range(quick.ferry_outputs(handle))]
        self._output_at = {o.name: i for i, o in enumerate(self._outputs)}
        self._input_names = {i.name for i in self._inputs}
        self._plain = all(p._view for p in self._inputs + self._outputs)
        self._ports = [(i, p.name, p._number, _values.numpy_dtype(p._number)) for i, p in enumerate(self._inputs)] if self._plain else []
        self._all = list(range(len(self._outputs)))
        self._idle: List[_Runner] = []
        if self._options.optimized_model_filepath:
            self._write_optimized(path_or_bytes)

    def _write_optimized(self, source: Any) -> None:
        from ._commands import optimize

        to = self._options.optimized_model_filepath
        if isinstance(source, (bytes, bytearray, memoryview)):
            import tempfile

            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "model.onnx")
                with open(path, "wb") as f:
                    f.write(source)
                optimize(path, to)
        else:
            optimize(source, to)

    # ---- looking

    def get_inputs(self) -> List[NodeArg]:
        return self._inputs

    def get_outputs(self) -> List[NodeArg]:
        return self._outputs

    def get_overridable_initializers(self) -> List[NodeArg]:
        return []

    def get_modelmeta(self) -> ModelMetadata:
        return ModelMetadata(self._model.handle)

    def get_providers(self) -> List[str]:
        return [_CPU]

    def get_provider_options(self) -> Dict[str, Dict[str, str]]:
        return {_CPU: {}}

    def set_providers(self, providers: Optional[Sequence[Any]] = None, provider_options: Optional[Sequence[Dict[Any, Any]]] = None) -> None:
        for p in providers or ():
            name = p if isinstance(p, str) else p[0]
            if name != _CPU:
                warnings.warn(
                    f"Specified provider '{name}' is not in available provider names. Available providers: '{_CPU}'",
                    UserWarning,
                    stacklevel=3,
                )

    def get_session_options(self) -> SessionOptions:
        return self._options

    def disable_fallback(self) -> None:
        """Accepted: there is nothing to fall back to."""

    def enable_fallback(self) -> None:
        """Accepted, as above."""

    def end_profiling(self) -> str:
        raise Error("no profile is written; `ferry profile MODEL --trace FILE` makes one", "UNSUPPORTED")

    # ---- running

    def run(
        self, output_names: Optional[Sequence[str]], input_feed: Mapping[str, Any], run_options: Optional[RunOptions] = None
    ) -> List[Any]:
        """The outputs named (None: all), for inputs by name: arrays, anything with __dlpack__ in memory of the CPU, lists for sequences."""
        which = self._which(output_names) if output_names else self._all
        if not self._plain:
            return self._run_values(which, input_feed, run_options)
        r = self._take()
        try:
            keep = []  # what the views point into
            for i, name, number, dtype in self._ports:
                x = input_feed.get(name)
                if type(x) is not np.ndarray or x.dtype is not dtype:
                    x = self._convert(x, name, number, input_feed)
                if x.shape != r.shape[i]:
                    r.give(i, x, name, number)
                own = r.small[i]
                if own is not None:
                    own[...] = x
                else:
                    if not x.flags.c_contiguous or not x.flags.aligned:
                        x = x.copy("C")
                    r.input[i].data = x.ctypes.data
                keep.append(x)
            if len(input_feed) != len(keep):
                self._check_names(input_feed)
            for t in r.output:
                t.data = None
            if run_options is not None:
                self._call(lib.ferry_run, r, r.at_inputs, r.at_outputs, run_options)
            elif _run(r.handle, r.at_inputs, len(r.input), r.at_outputs, len(r.output), r.at_error):
                fail(r.error)
            return [r.result(i) for i in which]
        finally:
            self._leave(r)

    def _call(self, function: Any, r: _Runner, inputs: Any, outputs: Any, run_options: Optional[RunOptions]) -> None:
        if run_options is not None:
            run_options._begin(r.handle)
        try:
            if function(r.handle, inputs, len(self._inputs), outputs, len(self._outputs), r.at_error):
                fail(r.error)
        finally:
            if run_options is not None:
                run_options._end(r.handle)
                r.stopped = run_options.terminate

    def _take(self) -> _Runner:
        try:
            return self._idle.pop()
        except IndexError:
            return _Runner(self._model, len(self._inputs), len(self._outputs))

    def _leave(self, r: _Runner) -> None:
        """For the next run; unless it was stopped, perhaps too late for this run, and would stop the next."""
        if not r.stopped:
            self._idle.append(r)

    def _run_values(self, which: Sequence[int], feed: Mapping[str, Any], run_options: Optional[RunOptions]) -> List[Any]:
        r = self._take()
        try:
            self._check_names(feed)
            keep = []
            for i, p in enumerate(self._inputs):
                x = feed[p.name]
                keep.append(_values.to_value(x._value if isinstance(x, OrtValue) else x, p.name, p._text))
                r.values[i] = keep[-1].handle
            self._call(lib.ferry_run_values, r, r.values, r.results, run_options)
            return [_values.from_value(r.results[i]) for i in which]
        finally:
            self._leave(r)

    def _which(self, names: Sequence[str]) -> List[int]:
        unknown = [n for n in names if n not in self._output_at]
        if unknown:
            raise InvalidArgument(f"there is no output '{unknown[0]}'{_nearest(unknown[0], self._output_at)}", "NAME")
        return [self._output_at[n] for n in names]

    def _convert(self, x: Any, name: str, number: int, feed: Mapping[str, Any]) -> np.ndarray:
        if x is None:
            self._check_names(feed)
            raise InvalidArgument(f"input '{name}' is None; the model takes {self._wanted(name)}", "TYPE")
        return _values.as_array(x, name, number)

    def _wanted(self, name: str) -> str:
        p = next(p for p in self._inputs if p.name == name)
        return f"{p.type} {p.shape}"

    def _check_names(self, feed: Mapping[str, Any]) -> None:
        for name in feed:
            if name not in self._input_names:
                raise InvalidArgument(f"there is no input '{name}'{_nearest(name, self._input_names)}", "NAME")
        missing = [p.name for p in self._inputs if p.name not in feed]
        if missing:
            raise InvalidArgument(
                "input " + ", ".join(f"'{n}' ({self._wanted(n)})" for n in missing) + (" is" if len(missing) == 1 else " are") + " missing",
                "NAME",
            )

    def run_async(
        self,
        output_names: Optional[Sequence[str]],
        input_feed: Mapping[str, Any],
        callback: Callable[[Any, Any, str], None],
        user_data: Any,
        run_options: Optional[RunOptions] = None,
    ) -> None:
        """Runs in a thread of its own; then callback(results, user_data, error), where error is "" unless it failed."""

        def work() -> None:
            try:
                results, error = self.run(output_names, input_feed, run_options), ""
            except Exception as problem:
                results, error = [], str(problem)
            callback(results, user_data, error)

        threading.Thread(target=work, daemon=True).start()

    def run_with_ort_values(
        self, output_names: Optional[Sequence[str]], input_dict_ort_values: Mapping[str, OrtValue], run_options: Optional[RunOptions] = None
    ) -> List[OrtValue]:
        return [OrtValue(x) for x in self.run(output_names, input_dict_ort_values, run_options)]

    def io_binding(self) -> IOBinding:
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: Optional[RunOptions] = None) -> None:
        """Runs on what is bound. Outputs bound to memory are written there."""
        names = list(iobinding._outputs)
        which = self._which(names)
        if not self._plain or not any(m is not None for m in iobinding._outputs.values()):
            results = self.run(names, iobinding._inputs, run_options) if names else []
            for name, x in zip(names, results):
                into = iobinding._outputs[name]
                if into is not None:
                    OrtValue(into).update_inplace(x)
            iobinding._results = [OrtValue(x if iobinding._outputs[n] is None else iobinding._outputs[n]) for n, x in zip(names, results)]
            return
        self._check_names(iobinding._inputs)
        r = self._take()
        try:
            keep = []
            for i, name, number, _ in self._ports:
                keep.append(_values.as_array(iobinding._inputs[name], name, number))
                _values.fill(r.input[i], keep[-1], number)
                r.shape[i] = r.small[i] = None
            for t in r.output:
                t.data = None
            for i in which:
                into = iobinding._outputs[self._outputs[i].name]
                if into is not None:
                    if not into.flags.c_contiguous or not into.flags.writeable:
                        raise InvalidArgument(
                            f"output '{self._outputs[i].name}' is bound to an array that is not contiguous, or is read-only", "VALUE"
                        )
                    _values.fill(r.output[i], into, _values.number_of(into.dtype))
            self._call(lib.ferry_run, r, r.at_inputs, r.at_outputs, run_options)
            iobinding._results = [
                OrtValue(r.result(i) if iobinding._outputs[n] is None else iobinding._outputs[n]) for n, i in zip(names, which)
            ]
        finally:
            self._leave(r)


def _nearest(word: str, names: Any) -> str:
    near = difflib.get_close_matches(word, list(names), 1)
    return f"; did you mean '{near[0]}'?" if near else "; there are: " + ", ".join(sorted(names))


def get_available_providers() -> List[str]:
    return [_CPU]


def get_all_providers() -> List[str]:
    return [_CPU]


def get_device() -> str:
    return "CPU"


def set_default_logger_severity(severity: int) -> None:
    """Accepted: ferry logs nothing."""


def set_default_logger_verbosity(verbosity: int) -> None:
    """Accepted: ferry logs nothing."""
