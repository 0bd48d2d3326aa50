"""The detector as two open graphs: crops -> features once per frame, windows of features -> logits.

It knows arrays only. Calibration, quality and what a score means live in `monitor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from engines.card import EncoderSpec, HeadSpec, ModelCard
from engines.errors import EngineError, RuntimeFault
from engines.runtimes import Graph, Runtime

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class EncoderOutput:
    """What the encoder says of N crops."""

    features: Float32Array
    """float32 (N, feature_dim); the last column is the frame logit."""
    logits: Float32Array
    """float32 (N,) raw frame logits."""
    where: Float32Array
    """float32 (N, w, w) 0..1: where the picture may be forged."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadOutput:
    """What the head says of B windows. Raw, not calibrated."""

    logit: Float32Array
    """float32 (B,)."""
    frame_logits: Float32Array
    """float32 (B, T)."""


class Engine(Protocol):
    """What the detector needs of an engine: one runtime's (`DetectorEngine`), one that outlives its runtime, or one
    call's share of a device."""

    @property
    def name(self) -> str: ...

    def encode(self, crops: UInt8Array) -> EncoderOutput: ...

    def judge(self, windows: Float32Array) -> HeadOutput: ...

    def close(self) -> None: ...


class DetectorEngine:
    """Both graphs on one runtime. `encode` and `judge` may be called from different threads."""

    def __init__(self, encoder: Graph, head: Graph, encoder_spec: EncoderSpec, head_spec: HeadSpec, name: str) -> None:
        """Raises EngineError where a graph does not have the inputs and outputs that its spec implies."""
        self.encoder_spec = encoder_spec
        self.head_spec = head_spec
        self.name = name
        """What users read: the runtime and its threads."""
        self._encoder = encoder
        self._head = head
        _check_names(name, encoder_spec.file, encoder, "crops", {"feature", "logit", "where"})
        _check_names(name, head_spec.file, head, "window", {"logit", "frame_logits"})

    def encode(self, crops: UInt8Array) -> EncoderOutput:
        """uint8 (N, S, S, 3) RGB, N 1..256 -> EncoderOutput. Raises EngineError for anything else."""
        side, dim, where = self.encoder_spec.crop_px, self.encoder_spec.feature_dim, self.encoder_spec.where_px
        _check_input(self.name, "crops", crops, (side, side, 3), np.uint8)
        out = self._encoder.infer({"crops": crops})
        n = len(crops)
        return EncoderOutput(
            features=_output(self.name, "feature", out["feature"], (n, dim)),
            logits=_output(self.name, "logit", out["logit"], (n,)),
            where=_output(self.name, "where", out["where"], (n, where, where)),
        )

    def judge(self, windows: Float32Array) -> HeadOutput:
        """float32 (B, T, feature_dim + aux_dim), B 1..256 -> HeadOutput. Raises EngineError for anything else."""
        steps, dim = self.head_spec.steps, self.encoder_spec.feature_dim + self.head_spec.aux_dim
        _check_input(self.name, "windows", windows, (steps, dim), np.float32)
        out = self._head.infer({"window": windows})
        n = len(windows)
        return HeadOutput(
            logit=_output(self.name, "logit", out["logit"], (n,)),
            frame_logits=_output(self.name, "frame_logits", out["frame_logits"], (n, steps)),
        )

    def close(self) -> None:
        """Free both graphs. Closing twice is harmless."""
        self._encoder.close()
        self._head.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def open_graphs(
    runtime: Runtime, folder: Path, encoder: EncoderSpec, head: HeadSpec, threads: int = 2
) -> DetectorEngine:
    """Open both graphs of `folder` on a runtime, without a card. Raises EngineError."""
    name = f"{runtime.title} ({threads} thread{'s' if threads != 1 else ''})"
    encoder_graph = runtime.open(folder / encoder.file, threads)
    try:
        head_graph = runtime.open(folder / head.file, threads)
    except BaseException:
        encoder_graph.close()
        raise
    try:
        return DetectorEngine(encoder_graph, head_graph, encoder, head, name)
    except BaseException:
        encoder_graph.close()
        head_graph.close()
        raise


def open_engine(runtime: Runtime, card: ModelCard, threads: int = 2) -> DetectorEngine:
    """Open the card's graphs on a runtime. Raises EngineError. The golden output is not checked here."""
    return open_graphs(runtime, card.folder, card.encoder, card.head, threads)


def _check_names(name: str, file: str, graph: Graph, wanted_input: str, wanted_outputs: set[str]) -> None:
    found = (sorted(graph.input_names), sorted(graph.output_names))
    if found[0] != [wanted_input] or not wanted_outputs <= set(found[1]):
        raise EngineError(
            f"{name}: graph {file}: found inputs {found[0]} and outputs {found[1]}, "
            f"expected ['{wanted_input}'] and {sorted(wanted_outputs)}"
        )


def _check_input(name: str, what: str, array: npt.NDArray[Any], tail: tuple[int, ...], dtype: type) -> None:
    """The card's shape is stricter than the graph's, which may have free dimensions."""
    if array.shape[1:] != tail or array.dtype != dtype:
        shape = ", ".join(("N", *(str(n) for n in tail)))
        raise EngineError(
            f"{name}: {what}: found {array.dtype.name} of shape {array.shape}, "
            f"expected {np.dtype(dtype).name} of shape ({shape})"
        )


def _output(name: str, what: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> Float32Array:
    if array.shape != shape or array.dtype != np.float32:
        raise RuntimeFault(
            f"{name}: output {what}: found {array.dtype.name} of shape {array.shape}, expected float32 of shape {shape}"
        )
    if not np.isfinite(array).all():
        raise RuntimeFault(f"{name}: output {what}: found values that are not finite; this runtime cannot be trusted")
    return array
