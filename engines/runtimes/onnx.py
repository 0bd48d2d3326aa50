"""ONNX Runtime on the CPU: the runtime that is there on every platform."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import EngineError
from engines.runtimes import Array, CheckedGraph, Graph, TensorSpec, check_threads, one_line

_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int64)": np.dtype(np.int64),
}
_LOG_ERRORS_ONLY = 3


class OnnxRuntime:
    """ONNX Runtime's CPU execution provider."""

    name = "onnx"
    title = "ONNX Runtime CPU"

    def available(self) -> str | None:
        if importlib.util.find_spec("onnxruntime") is None:
            return "the package onnxruntime is not installed (pip install onnxruntime)"
        return None

    def version(self) -> str:
        try:
            return importlib.metadata.version("onnxruntime")
        except importlib.metadata.PackageNotFoundError:
            return ""

    def open(self, path: Path, threads: int) -> Graph:
        """Raises EngineError where onnxruntime or the file does not load."""
        label = f"{self.title}, {path.name}"
        check_threads(label, threads)
        try:
            import onnxruntime

            onnxruntime.disable_telemetry_events()  # On by default in the Windows builds.
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            options.log_severity_level = _LOG_ERRORS_ONLY
            # Waiting threads sleep: the capture and face threads need these cores between two crops.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            return _OnnxGraph(label, session)
        except EngineError:
            raise
        except Exception as error:  # ImportError of a broken install, or one of the library's own types.
            raise EngineError(f"{label}: cannot be opened: {one_line(error)}") from error


class _OnnxGraph(CheckedGraph):
    def __init__(self, label: str, session: Any) -> None:
        inputs = tuple(_spec(label, tensor) for tensor in session.get_inputs())
        super().__init__(label, inputs, tuple(tensor.name for tensor in session.get_outputs()))
        self._session = session

    def _run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        outputs = self._session.run(list(self._output_names), inputs)
        return dict(zip(self._output_names, outputs, strict=True))

    def _release(self) -> None:
        self._session = None


def _spec(label: str, tensor: Any) -> TensorSpec:
    if tensor.type not in _DTYPES:
        raise EngineError(f"{label}: input {tensor.name}: found {tensor.type}, expected one of {', '.join(_DTYPES)}")
    return TensorSpec(
        name=tensor.name,
        dtype=_DTYPES[tensor.type],
        shape=tuple(n if isinstance(n, int) else None for n in tensor.shape),
    )
