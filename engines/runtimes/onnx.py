"""ONNX Runtime: on the CPU the runtime that is there on every platform; on macOS and Windows a way to CoreML, DirectML.

CoreML and DirectML have never been run by the makers of unmask, and say so in their titles. They are proved and
timed like any other where they are found; what they do not know of a graph runs on ONNX Runtime's CPU provider.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import EngineError, Unfit
from engines.runtimes import Array, CheckedGraph, Graph, Precision, TensorSpec
from engines.runtimes.packages import missing, opening, version

_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int64)": np.dtype(np.int64),
}
_LOG_ERRORS_ONLY = 3
_CPU = "CPUExecutionProvider"


class OnnxRuntime:
    """ONNX Runtime's CPU execution provider."""

    name = "onnx"
    title = "ONNX Runtime CPU"
    precision = Precision.FP32
    provider = _CPU

    def available(self) -> str | None:
        return missing("onnxruntime")

    def version(self) -> str:
        return version("onnxruntime")

    def open(self, path: Path, threads: int) -> Graph:
        """Raises EngineError where onnxruntime or the file does not load, or the provider is not part of it."""
        label = f"{self.title}, {path.name}"
        with opening(label, threads):
            import onnxruntime

            onnxruntime.disable_telemetry_events()  # On by default in the Windows builds.
            if self.provider not in onnxruntime.get_available_providers():
                raise Unfit(f"the installed onnxruntime was built without {self.provider}")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            options.log_severity_level = _LOG_ERRORS_ONLY
            # Waiting threads sleep: the capture and face threads need these cores between two crops.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            self._adjust(options)
            session = onnxruntime.InferenceSession(str(path), options, providers=self._providers())
            if self.provider not in session.get_providers():
                raise Unfit(f"{self.provider} did not take the graph")
            return _OnnxGraph(label, session)

    def _providers(self) -> list[str]:
        return [self.provider, _CPU] if self.provider != _CPU else [_CPU]

    def _adjust(self, options: Any) -> None:
        """What this provider wants of the session's options."""


class CoreMlRuntime(OnnxRuntime):
    """Apple's CoreML (CPU, GPU and neural engine), which may compute in half precision."""

    name = "coreml"
    title = "CoreML, never run by us"
    precision = Precision.FP16
    provider = "CoreMLExecutionProvider"

    def available(self) -> str | None:
        return super().available() if sys.platform == "darwin" else "CoreML is part of macOS"


class DirectMlRuntime(OnnxRuntime):
    """Any DirectX 12 GPU on Windows."""

    name = "directml"
    title = "DirectML, never run by us"
    provider = "DmlExecutionProvider"

    def available(self) -> str | None:
        if sys.platform != "win32":
            return "DirectML is part of Windows"
        if not version("onnxruntime-directml"):
            return "the package onnxruntime-directml is not installed (pip install onnxruntime-directml)"
        return None

    def version(self) -> str:
        return version("onnxruntime-directml")

    def _adjust(self, options: Any) -> None:
        options.enable_mem_pattern = False  # DirectML refuses sessions that have it.


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
