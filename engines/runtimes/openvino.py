"""OpenVINO on the CPU: the fastest of the CPU runtimes on most x86-64 machines.

The batch stays dynamic: compiling once for every batch of 1 to 8 crops was no faster and took 20 MB for each.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import Unfit
from engines.runtimes import Array, CheckedGraph, Graph, Precision, TensorSpec
from engines.runtimes.packages import missing, opening, version

_HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16"}


def import_openvino() -> Any:
    """The module openvino, silenced: by itself its import posts an event to Google Analytics, keeps a client id in
    the user's home and leaves a thread. Without its telemetry package it uses a stub. Raises ImportError.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: "cannot be imported".
    import openvino

    return openvino


class OpenVinoRuntime:
    """OpenVINO's CPU plug-in, tuned for latency, in single precision."""

    name = "openvino"
    title = "OpenVINO CPU"
    precision = Precision.FP32

    def available(self) -> str | None:
        return missing("openvino")

    def version(self) -> str:
        return version("openvino")

    def open(self, path: Path, threads: int) -> Graph:
        """Raises EngineError where openvino or the file does not load, or the processor lacks the precision."""
        label = f"{self.title}, {path.name}"
        with opening(label, threads):
            openvino = import_openvino()
            core = openvino.Core()
            if self.precision is Precision.BF16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise Unfit("this processor has no instructions for bfloat16")
            config = {
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": "1",
                "INFERENCE_NUM_THREADS": str(threads),
                "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
                # The capture and face threads share these cores: a pinned thread waits behind them (p95 31 -> 20 ms).
                "ENABLE_CPU_PINNING": "NO",
            }
            return _OpenVinoGraph(label, core.compile_model(core.read_model(str(path)), "CPU", config))


class OpenVinoBf16Runtime(OpenVinoRuntime):
    """The same in bfloat16, for processors that have it (AVX512-BF16, AMX). Eight bits of mantissa are few: whether
    the detector survives them is for the proof on pictures to say (`engines.picture_proof`)."""

    name = "openvino-bf16"
    title = "OpenVINO CPU bf16"
    precision = Precision.BF16


class _OpenVinoGraph(CheckedGraph):
    def __init__(self, label: str, compiled: Any) -> None:
        super().__init__(
            label,
            tuple(_spec(port) for port in compiled.inputs),
            tuple(_output_name(port) for port in compiled.outputs),
        )
        self._request = compiled.create_infer_request()

    def _run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        results = self._request.infer(inputs, share_inputs=True)
        return {name: results[i] for i, name in enumerate(self._output_names)}

    def _release(self) -> None:
        self._request = None


def _spec(port: Any) -> TensorSpec:
    shape = tuple(n.get_length() if n.is_static else None for n in port.partial_shape)
    return TensorSpec(name=port.any_name, dtype=np.dtype(port.element_type.to_dtype()), shape=shape)


def _output_name(port: Any) -> str:
    """The ONNX name of an output: a port that was merged with another tensor has more names than that one."""
    own = str(port.node.friendly_name).partition("/sink_port_")[0]
    return own if own in port.names else str(port.any_name)
