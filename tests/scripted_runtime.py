"""A runtime made of numpy, for tests of what stands on runtimes: it needs no library and takes the time it is told to.

ScriptedRuntime("fast", encoder_ms=5) -> open -> the tiny detector of `onnx_graphs`, on a clock that tests own
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphs
from onnx_graphs import CROP_PX, STEPS, WINDOW_DIM

from engines.card import ModelCard
from engines.errors import EngineError
from engines.runtimes import Array, CheckedGraph, Graph, Precision, TensorSpec


@dataclass
class Stopwatch:
    """The timer given to `choose`: it moves only when a scripted graph works."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class ScriptedRuntime:
    """`missing` is why it is not available, `broken` why it does not open; `shift` is added to every answer,
    `picture_shift` to those for pictures only, which are smoother than noise. After `lasts` more inferences every
    further one fails."""

    name: str
    encoder_ms: float = 10.0
    head_ms: float = 1.0
    missing: str | None = None
    broken: str | None = None
    shift: float = 0.0
    picture_shift: float = 0.0
    lasts: int | None = None
    precision: Precision = Precision.FP32
    library_version: str = "1.0"
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    graphs: list[ScriptedGraph] = field(default_factory=list)
    """Every graph that was ever opened."""

    @property
    def title(self) -> str:
        return f"Scripted {self.name}"

    def available(self) -> str | None:
        return self.missing

    def version(self) -> str:
        return self.library_version

    def open(self, path: Path, threads: int) -> Graph:
        if self.broken is not None:
            raise EngineError(self.broken)
        is_encoder = path.name == "encoder.onnx"
        graph = ScriptedGraph(
            f"{self.title}, {path.name}",
            _encoder_input() if is_encoder else _head_input(),
            self._encode if is_encoder else self._judge,
        )
        self.graphs.append(graph)
        return graph

    @property
    def open_graphs(self) -> int:
        return sum(not graph.closed for graph in self.graphs)

    def _work(self) -> None:
        if self.lasts is not None:
            if self.lasts == 0:
                raise OSError("the device was lost")
            self.lasts -= 1

    def _encode(self, inputs: dict[str, Array]) -> dict[str, Array]:
        self._work()
        self.stopwatch.now_s += self.encoder_ms * 1e-3 * len(inputs["crops"])
        answer = onnx_graphs.expected_encoder(inputs["crops"])
        shift = np.full((len(inputs["crops"]), 1), self.shift, np.float32)
        shift[_smooth(inputs["crops"])] += np.float32(self.picture_shift)
        return {"feature": answer.feature + shift, "logit": answer.logit + shift[:, 0], "where": answer.where}

    def _judge(self, inputs: dict[str, Array]) -> dict[str, Array]:
        self._work()
        self.stopwatch.now_s += self.head_ms * 1e-3
        logit, frame_logits = onnx_graphs.expected_head(inputs["window"])
        return {"logit": logit, "frame_logits": frame_logits}


class ScriptedGraph(CheckedGraph):
    """One open graph; `batches` are the sizes it was asked for."""

    def __init__(self, label: str, spec: TensorSpec, answer: Callable[[dict[str, Array]], dict[str, Array]]) -> None:
        names = ("feature", "logit", "where") if spec.name == "crops" else ("logit", "frame_logits")
        super().__init__(label, (spec,), names)
        self._answer = answer
        self.batches: list[int] = []
        self.closed = False

    def _run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        self.batches.append(len(next(iter(inputs.values()))))
        return self._answer(inputs)

    def _release(self) -> None:
        self.closed = True


def write_scripted_detector(folder: Path) -> ModelCard:
    """Two files that stand for the graphs (no runtime reads them) and their card."""
    (folder / "encoder.onnx").write_bytes(b"an encoder")
    (folder / "head.onnx").write_bytes(b"a head")
    return onnx_graphs.make_card(folder)


def _smooth(crops: Array) -> Array:
    """bool (N,): crops whose neighbouring pixels are much alike."""
    steps = np.abs(np.diff(crops.astype(np.int16), axis=2)).mean(axis=(1, 2, 3))
    return np.asarray(steps < 12)


def _encoder_input() -> TensorSpec:
    return TensorSpec("crops", _dtype(np.uint8), (None, CROP_PX, CROP_PX, 3))


def _head_input() -> TensorSpec:
    return TensorSpec("window", _dtype(np.float32), (None, STEPS, WINDOW_DIM))


def _dtype(kind: type) -> np.dtype[Any]:
    return np.dtype(kind)
