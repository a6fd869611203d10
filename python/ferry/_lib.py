# SPDX-License-Identifier: Apache-2.0
"""libferry by ctypes: the functions of ferry/run.h and ferry/ferry.h that this package uses, and their errors as exceptions.

Calls through `lib` release the GIL. Calls through `quick` do not: they take less than a microsecond, or must not run at the same time."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p
from typing import Any, Iterable, NoReturn, Optional

MAX_RANK = 16
TENSOR, SEQUENCE, OPTIONAL, MAP = 1, 2, 3, 4
OK, NO, USAGE, BAD_MODEL, IO, BUG = range(6)


class ErrorRecord(ctypes.Structure):
    """struct ferry_error"""

    _fields_ = [
        ("kind", c_int32),
        ("nframes", c_int32),
        ("code", c_char_p),
        ("text", c_char * 512),
        ("help", c_char * 256),
        ("frame", (c_char * 200) * 8),
    ]


class Tensor(ctypes.Structure):
    """struct ferry_tensor"""

    _fields_ = [("data", c_void_p), ("bytes", c_size_t), ("dtype", c_int32), ("rank", c_int32), ("dim", c_int64 * MAX_RANK)]


class Port(ctypes.Structure):
    """struct ferry_port"""

    _fields_ = [
        ("name", c_char_p),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("dim", POINTER(c_int64)),
        ("sym", POINTER(c_char_p)),
        ("kind", c_int32),
        ("type", c_char_p),
    ]


class Option(ctypes.Structure):
    """struct ferry_option"""

    _fields_ = [("key", c_char_p), ("value", c_char_p)]


class Job(ctypes.Structure):
    """struct ferry_job"""

    _fields_ = [("option", POINTER(Option)), ("noption", c_size_t), ("progress", c_void_p), ("ctx", c_void_p)]


class Error(RuntimeError):
    """What libferry says when it cannot: one sentence, with a stable code (`ferry explain CODE` tells more).

    Attributes: code, kind (1 no, 2 usage, 3 model or input, 4 input/output, 5 a defect of ferry), help, frames."""

    def __init__(self, text: str, code: str = "", kind: int = BUG, help: str = "", frames: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.code, self.kind, self.help, self.frames = code, kind, help, list(frames)

    def __str__(self) -> str:
        lines = [f"[{self.code}] {self.args[0]}" if self.code else str(self.args[0])]
        lines += [f"  in {frame}" for frame in self.frames]
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)


class InvalidArgument(Error, ValueError):
    """A name, dtype, shape or value that does not fit the model."""


class NoSuchFile(Error):
    """The file is not there."""


_CLASSES = {
    "USAGE": InvalidArgument,
    "NAME": InvalidArgument,
    "TYPE": InvalidArgument,
    "SHAPE": InvalidArgument,
    "VALUE": InvalidArgument,
    "INDEX": InvalidArgument,
    "AXIS": InvalidArgument,
    "NOFILE": NoSuchFile,
}


def error_of(record: ErrorRecord) -> Error:
    code = text(record.code)
    return _CLASSES.get(code, Error)(
        text(record.text), code, record.kind, text(record.help), [text(record.frame[i].value) for i in range(min(record.nframes, 8))]
    )


def fail(record: ErrorRecord) -> NoReturn:
    raise error_of(record)


def text(raw: Optional[bytes]) -> str:
    return "" if raw is None else raw.decode("utf-8", "surrogateescape")


def raw(text: Any) -> bytes:
    return os.fsencode(text) if isinstance(text, os.PathLike) else str(text).encode("utf-8", "surrogateescape")


def _path() -> str:
    """FERRY_LIBRARY, or the library that came with the package."""
    return os.environ.get("FERRY_LIBRARY") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "libferry.so")


lib = ctypes.CDLL(_path())
quick = ctypes.PyDLL(_path())


def _declare(name: str, result: Any, *arguments: Any) -> None:
    for library in (lib, quick):
        function = getattr(library, name)
        function.restype, function.argtypes = result, list(arguments)


_P = c_void_p  # handles, and addresses of structures that are kept
_declare("ferry_version", c_char_p)
_declare("ferry_open", _P, c_char_p, c_char_p, _P)
_declare("ferry_open_memory", _P, c_char_p, c_size_t, c_char_p, _P)
_declare("ferry_close", None, _P)
for _name in ("ferry_inputs", "ferry_outputs"):
    _declare(_name, c_size_t, _P)
for _name in ("ferry_input", "ferry_output"):
    _declare(_name, POINTER(Port), _P, c_size_t)
_declare("ferry_metadata_at", c_int, _P, c_size_t, POINTER(c_char_p), POINTER(c_char_p))
_declare("ferry_about", c_char_p, _P, c_char_p)
_declare("ferry_model_version", c_int64, _P)
_declare("ferry_session_new", _P, _P, _P)
_declare("ferry_session_free", None, _P)
_declare("ferry_session_stop", c_int, _P)
_declare("ferry_session_take", _P, _P, c_size_t, _P)
_declare("ferry_run", c_int, _P, _P, c_size_t, _P, c_size_t, _P)
_declare("ferry_run_values", c_int, _P, _P, c_size_t, _P, c_size_t, _P)
_declare("ferry_value_tensor", _P, POINTER(Tensor), _P)
_declare("ferry_value_strings", _P, POINTER(c_char_p), POINTER(c_size_t), c_int32, POINTER(c_int64), _P)
_declare("ferry_value_sequence", _P, _P, c_size_t, _P)
_declare("ferry_value_optional", _P, _P, _P)
_declare("ferry_value_map", _P, _P, _P, _P)
_declare("ferry_value_free", None, _P)
_declare("ferry_value_kind", c_int32, _P)
_declare("ferry_value_count", c_size_t, _P)
_declare("ferry_value_item", _P, _P, c_size_t)
_declare("ferry_value_view", c_int, _P, POINTER(Tensor), _P)
_declare("ferry_value_string", _P, _P, c_size_t, POINTER(c_size_t))
for _name in ("ferry_export", "ferry_convert", "ferry_optimize"):
    _declare(_name, c_int, c_char_p, c_char_p, POINTER(Job), POINTER(_P), _P)
for _name in ("ferry_verify", "ferry_info", "ferry_check"):
    _declare(_name, c_int, c_char_p, POINTER(Job), POINTER(_P), _P)
_declare("ferry_report_json", c_char_p, _P)
_declare("ferry_report_text", c_char_p, _P, c_int)
_declare("ferry_report_full", c_char_p, _P)
_declare("ferry_report_free", None, _P)

version = text(lib.ferry_version())
