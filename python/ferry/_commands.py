# SPDX-License-Identifier: Apache-2.0
"""What the program `ferry` does, as functions: options by the names of its flags, a report back."""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any, Dict, List, Mapping, Tuple, Union

from ._lib import ErrorRecord, Error, Job, Option, fail, lib, raw, text

Path = Union[str, "os.PathLike[str]"]


class Report:
    """What a command found: `data` (the JSON document), `full` (all that is known, in plain text), `ok` (did every gate say yes?); str()
    is what the program prints."""

    def __init__(self, handle: int, kind: int) -> None:
        self.ok = kind == 0
        self.data: Dict[str, Any] = json.loads(text(lib.ferry_report_json(handle)))
        self.full = text(lib.ferry_report_full(handle))
        self._text = text(lib.ferry_report_text(handle, 0))

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<ferry.Report {'ok' if self.ok else 'NO'}>"


class VerificationError(Error):
    """A gate said no. `report` has the figures."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message, "GATE", 1)
        self.report = report


def options_of(options: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """Keywords as flags: `_` is `-`; True is a flag, False and None are left out; lists repeat."""
    pairs = []
    for key, value in options.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is not None and one is not False:
                pairs.append((key.replace("_", "-"), "" if one is True else str(one)))
    return pairs


def command(name: str, paths: Tuple[Any, ...], pairs: List[Tuple[str, str]]) -> Report:
    record, report = ErrorRecord(), ctypes.c_void_p()
    options = (Option * max(len(pairs), 1))(*[Option(raw(k), raw(v)) for k, v in pairs])
    job = Job(options, len(pairs), None, None)
    kind = getattr(lib, name)(*[None if p is None else raw(os.fspath(p)) for p in paths], job, report, ctypes.addressof(record))
    if not report.value:
        fail(record)
    try:
        return Report(report.value, kind)
    finally:
        lib.ferry_report_free(report)


def failures(report: Report) -> str:
    """One line for each output that differs, and where values part first."""
    lines = []
    for case in report.data.get("cases", []):
        lines += [f"{case['label']}: {o['name']}: {o['why']}" for o in case["outputs"] if not o["ok"]]
    first = report.data.get("first_node")
    return "\n".join(lines + ([f"values part first at {first}"] if first else []))


def _gate(report: Report, what: str) -> Report:
    if not report.ok:
        raise VerificationError(f"{what}\n{failures(report) or report}", report)
    return report


def verify(model: Path, against: Union[Path, None] = None, **options: Any) -> Report:
    """Does the .onnx compute what `against` (.pt2, .npz, .onnx) does? Options: those of `ferry verify`, e.g. tolerance=1e-4,
    engine="onnxruntime", sizes=2. Raises VerificationError, with the first node whose values part, if not."""
    against = None if against is None else os.fspath(against)
    return _gate(
        command("ferry_verify", (model,), options_of({"against": against, **options})),
        f"{os.fspath(model)} does not compute what it should",
    )


def optimize(model: Path, to: Path, **options: Any) -> Report:
    """Writes the .onnx with fewer nodes, verified. Options: those of `ferry optimize`, e.g. level="basic"."""
    return _gate(command("ferry_optimize", (model, to), options_of(options)), f"{os.fspath(to)} is not written: it would differ")


def convert(model: Path, to: Path, opset: int, **options: Any) -> Report:
    """Writes the .onnx at another opset, 13 and up, verified. Options: those of `ferry convert`."""
    return _gate(
        command("ferry_convert", (model, to), options_of({"opset": opset, **options})), f"{os.fspath(to)} is not written: it would differ"
    )


def info(model: Path, **options: Any) -> Report:
    """Inputs, outputs, operators, parameters of a .onnx or .pt2. Options: shapes=True for every value."""
    return command("ferry_info", (model,), options_of(options))


def check(model: Path, **options: Any) -> Report:
    """Is the file valid, and does it hold a known pitfall? `ok` is False if there is an error (with strict=True: a warning)."""
    return command("ferry_check", (model,), options_of(options))
