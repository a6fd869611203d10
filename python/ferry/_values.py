# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays and Python objects to values of libferry, and back."""

from __future__ import annotations

import ctypes
import sys
from typing import Any, List, Optional, Tuple

import numpy as np

from ._lib import MAP, MAX_RANK, OPTIONAL, SEQUENCE, TENSOR, ErrorRecord, InvalidArgument, Tensor, fail, quick, raw

STRING = 8
# ferry_dtype (numbered as ONNX numbers them): short name, name in tensor(...), NumPy's name. What NumPy lacks comes from ml_dtypes.
_DTYPES = {
    1: ("f32", "float", "float32"),
    2: ("u8", "uint8", "uint8"),
    3: ("i8", "int8", "int8"),
    4: ("u16", "uint16", "uint16"),
    5: ("i16", "int16", "int16"),
    6: ("i32", "int32", "int32"),
    7: ("i64", "int64", "int64"),
    8: ("str", "string", "object"),
    9: ("bool", "bool", "bool"),
    10: ("f16", "float16", "float16"),
    11: ("f64", "double", "float64"),
    12: ("u32", "uint32", "uint32"),
    13: ("u64", "uint64", "uint64"),
    14: ("c64", "complex64", "complex64"),
    15: ("c128", "complex128", "complex128"),
    16: ("bf16", "bfloat16", "bfloat16"),
    17: ("f8e4m3fn", "float8e4m3fn", "float8_e4m3fn"),
    18: ("f8e4m3fnuz", "float8e4m3fnuz", "float8_e4m3fnuz"),
    19: ("f8e5m2", "float8e5m2", "float8_e5m2"),
    20: ("f8e5m2fnuz", "float8e5m2fnuz", "float8_e5m2fnuz"),
    21: ("u4", "uint4", "uint4"),
    22: ("i4", "int4", "int4"),
    23: ("f4e2m1", "float4e2m1", "float4_e2m1fn"),
    24: ("f8e8m0", "float8e8m0", "float8_e8m0fnu"),
    25: ("u2", "uint2", "uint2"),
    26: ("i2", "int2", "int2"),
    27: ("f6e2m3", "float6e2m3", "float6_e2m3fn"),
    28: ("f6e3m2", "float6e3m2", "float6_e3m2fn"),
}
_NARROW = (21, 22, 23, 25, 26, 27, 28)  # less than a byte: a byte each in values, views of ferry_run cannot carry them
_numpy_of: dict = {}
_number_of: dict = {}
_number_of_short = {names[0]: number for number, names in _DTYPES.items()}


def is_view(number: int) -> bool:
    """Can ferry_run carry tensors of this dtype?"""
    return number in _DTYPES and number != STRING and number not in _NARROW


def type_name(number: int) -> str:
    return _DTYPES[number][1] if number in _DTYPES else "undefined"


def number_of_type(name: str) -> int:
    for number, names in _DTYPES.items():
        if name in (names[1], f"tensor({names[1]})"):
            return number
    raise InvalidArgument(f"'{name}' is no element type", "TYPE")


def numpy_dtype(number: int) -> np.dtype:
    found = _numpy_of.get(number)
    if found is None:
        name = _DTYPES[number][2]
        try:
            found = np.dtype(name)
        except TypeError:
            try:
                import ml_dtypes
            except ImportError:
                raise InvalidArgument(f"NumPy has no {name} of its own: install ml_dtypes", "TYPE") from None
            found = np.dtype(getattr(ml_dtypes, name))
        _numpy_of[number] = found
    return found


def number_of(dtype: np.dtype) -> int:
    """The ferry_dtype of a NumPy dtype; 0: there is none."""
    found = _number_of.get(dtype)
    if found is None:
        name = "object" if dtype.kind in "OSUT" else dtype.name
        found = next((number for number, names in _DTYPES.items() if names[2] == name), 0)
        _number_of[dtype] = found
    return found


def port_type(text: str) -> str:
    """A type as libferry prints it, "seq(map(str, f32[]))", as onnxruntime does: "seq(map(string,tensor(float)))"."""
    for word in ("seq(", "optional("):
        if text.startswith(word):
            return word + port_type(text[len(word) : -1]) + ")"
    if text.startswith("map("):
        key, _, value = text[4:-1].partition(", ")
        return f"map({type_name(_number_of_short.get(key, 0))},{port_type(value)})"
    return f"tensor({type_name(_number_of_short.get(text.partition('[')[0], 0))})"


def as_array(x: Any, name: str, number: int) -> np.ndarray:
    """`x` as an array of that dtype (0: any), without a copy where it is in memory of the CPU already; objects with __dlpack__ too."""
    if not isinstance(x, np.ndarray):
        if hasattr(x, "numpy") and hasattr(x, "is_tensor"):  # OrtValue
            x = x.numpy()
        elif hasattr(x, "__dlpack__") and not isinstance(x, np.generic):
            x = _from_other(x, name)
        else:
            plain = isinstance(x, (bool, int, float, list, tuple))  # have no dtype of their own
            x = np.asarray(x, numpy_dtype(number) if plain and number else None)
    if x.dtype.byteorder == ">":
        x = x.astype(x.dtype.newbyteorder("="))
    have = number_of(x.dtype)
    if not have or (number and have != number):
        wanted = f"; the model takes tensor({type_name(number)})" if number else ""
        raise InvalidArgument(f"input '{name}' is {'tensor(' + type_name(have) + ')' if have else x.dtype.name}{wanted}", "TYPE")
    if x.ndim > MAX_RANK:
        raise InvalidArgument(f"input '{name}' has rank {x.ndim}; at most {MAX_RANK}", "SHAPE")
    return x if x.flags.c_contiguous and x.flags.aligned else x.copy("C")


def _from_other(x: Any, name: str) -> np.ndarray:
    """A tensor of another library, without a copy."""
    try:
        x = x.detach() if hasattr(x, "detach") else x
        if str(getattr(x, "dtype", "")) == "torch.bfloat16":  # which NumPy does not take as it is
            return np.from_dlpack(x.view(sys.modules["torch"].int16)).view(numpy_dtype(16))
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError) as problem:
        raise InvalidArgument(f"input '{name}' is no tensor in memory of the CPU that NumPy takes: {problem}", "VALUE") from None


class Owned:
    """A ferry_value that goes with this object. Freed under the GIL: values may share memory that is counted without locks."""

    __slots__ = ("handle",)

    def __init__(self, handle: Optional[int], record: ErrorRecord) -> None:
        self.handle = handle
        if not handle:
            fail(record)

    def __del__(self, free=quick.ferry_value_free) -> None:
        if self.handle:
            free(self.handle)


def fill(t: Tensor, x: np.ndarray, number: int) -> None:
    t.data, t.bytes, t.dtype, t.rank = x.ctypes.data, x.nbytes, number, x.ndim
    t.dim[: x.ndim] = x.shape


def _strings(x: np.ndarray, record: ErrorRecord) -> Owned:
    words = [w if isinstance(w, bytes) else raw(w) for w in x.ravel().tolist()]
    texts = (ctypes.c_char_p * max(len(words), 1))(*words)
    lengths = (ctypes.c_size_t * max(len(words), 1))(*[len(w) for w in words])
    return Owned(quick.ferry_value_strings(texts, lengths, x.ndim, (ctypes.c_int64 * MAX_RANK)(*x.shape), ctypes.addressof(record)), record)


def _tensor(x: Any, name: str, number: int, record: ErrorRecord) -> Owned:
    x = as_array(x, name, number)
    number = number or number_of(x.dtype)
    if number == STRING:
        return _strings(x, record)
    t = Tensor()
    fill(t, x, number)
    return Owned(quick.ferry_value_tensor(t, ctypes.addressof(record)), record)


def _handles(values: List[Owned]) -> Any:
    return (ctypes.c_void_p * max(len(values), 1))(*[v.handle for v in values])


def to_value(x: Any, name: str, text: str) -> Owned:
    """`x` as a value of the type that libferry prints as `text`."""
    record = ErrorRecord()
    at = ctypes.addressof(record)
    if text.startswith("optional("):
        item = None if x is None else to_value(x, name, text[9:-1])
        return Owned(quick.ferry_value_optional(item.handle if item else None, at), record)
    if text.startswith("seq("):
        items = [to_value(i, name, text[4:-1]) for i in x]
        return Owned(quick.ferry_value_sequence(_handles(items), len(items), at), record)
    if text.startswith("map("):
        key, _, value = text[4:-1].partition(", ")
        keys = _tensor(list(x.keys()), name, _number_of_short.get(key, 0), record)
        scalars = [np.asarray(v).ndim == 0 for v in x.values()]
        if all(scalars) and not value.startswith(("seq(", "map(")):
            values = _tensor(list(x.values()), name, _number_of_short.get(value.partition("[")[0], 0), record)
        else:
            items = [to_value(v, name, value) for v in x.values()]
            values = Owned(quick.ferry_value_sequence(_handles(items), len(items), at), record)
        return Owned(quick.ferry_value_map(keys.handle, values.handle, at), record)
    if x is None:
        raise InvalidArgument(f"input '{name}' is None; the model takes {port_type(text)}", "TYPE")
    return _tensor(x, name, _number_of_short.get(text.partition("[")[0], 0), record)


def _shape(t: Tensor) -> Tuple[int, ...]:
    return tuple(t.dim[: t.rank])


def array_of(t: Tensor) -> np.ndarray:
    """A view of libferry's memory, copied."""
    dtype, shape, n = numpy_dtype(t.dtype), _shape(t), t.bytes
    return np.ndarray(shape, dtype, bytearray((ctypes.c_char * n).from_address(t.data))) if n else np.empty(shape, dtype)


def array_owning(value: Owned) -> np.ndarray:
    """The memory of a tensor of numbers as an array, without a copy; the value goes with the array."""
    t, record = Tensor(), ErrorRecord()
    if quick.ferry_value_view(value.handle, t, ctypes.addressof(record)):
        fail(record)
    if not t.bytes:
        return np.empty(_shape(t), numpy_dtype(t.dtype))
    memory = (ctypes.c_char * t.bytes).from_address(t.data)
    memory.ferry_value = value
    return np.ndarray(_shape(t), numpy_dtype(t.dtype), memory)


def _strings_of(handle: int, t: Tensor) -> np.ndarray:
    n = ctypes.c_size_t()
    out = np.empty(quick.ferry_value_count(handle), object)
    for i in range(out.size):
        at = quick.ferry_value_string(handle, i, n)
        out[i] = ctypes.string_at(at, n.value).decode("utf-8", "surrogateescape")
    return out.reshape(_shape(t))


def from_value(handle: Any) -> Any:
    """A value as Python has it: array, list, dict; None for an optional without contents."""
    kind = quick.ferry_value_kind(handle)
    if kind == TENSOR:
        t, record = Tensor(), ErrorRecord()
        if quick.ferry_value_view(handle, t, ctypes.addressof(record)):
            fail(record)
        return _strings_of(handle, t) if t.dtype == STRING else array_of(t)
    if kind == MAP:
        keys, values = (from_value(quick.ferry_value_item(handle, i)) for i in (0, 1))
        return dict(zip(keys.tolist(), values.tolist() if isinstance(values, np.ndarray) else values))
    items = [from_value(quick.ferry_value_item(handle, i)) for i in range(quick.ferry_value_count(handle))]
    if kind == OPTIONAL:
        return items[0] if items else None
    return items if kind == SEQUENCE else None
