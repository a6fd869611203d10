# SPDX-License-Identifier: Apache-2.0
"""ferry: PyTorch models to ONNX, verified, and ONNX models run, with the names that people know from torch.onnx and onnxruntime.

    import ferry
    ferry.export(model.eval(), (x,), "model.onnx", dynamic_axes={"x": {0: "batch"}})
    session = ferry.InferenceSession("model.onnx")
    y, = session.run(None, {"x": x.numpy()})

torch is needed to export modules and programs, and for nothing else; onnx for `ferry.backend` alone."""

from ._commands import Report, VerificationError, check, convert, info, optimize, verify
from ._export import ExportError, ONNXProgram, export
from ._lib import Error, InvalidArgument, NoSuchFile
from ._lib import version as __version__
from ._session import (
    ExecutionMode,
    GraphOptimizationLevel,
    InferenceSession,
    IOBinding,
    ModelMetadata,
    NodeArg,
    OrtValue,
    RunOptions,
    SessionOptions,
    from_dlpack,
    get_all_providers,
    get_available_providers,
    get_device,
    set_default_logger_severity,
    set_default_logger_verbosity,
)

__all__ = [
    "Error",
    "ExecutionMode",
    "ExportError",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "InvalidArgument",
    "ModelMetadata",
    "NoSuchFile",
    "NodeArg",
    "ONNXProgram",
    "OrtValue",
    "Report",
    "RunOptions",
    "SessionOptions",
    "VerificationError",
    "__version__",
    "check",
    "convert",
    "export",
    "from_dlpack",
    "get_all_providers",
    "get_available_providers",
    "get_device",
    "info",
    "optimize",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "verify",
]
