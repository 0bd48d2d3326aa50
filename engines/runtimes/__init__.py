"""Inference runtimes behind one Protocol: an ONNX file goes in, an open `Graph` comes out, arrays flow through it.

Every graph checks what it is given, so that a wrong name, dtype, shape or batch is one clear line and not a crash
inside a native library, and every graph has a life: open, infer, close.
"""

from __future__ import annotations

import enum
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from engines.errors import EngineError, RuntimeFault

Array = npt.NDArray[Any]

MAX_BATCH = 256
"""Largest first dimension that a graph takes at once."""
MAX_THREADS = 64


class Precision(enum.Enum):
    """What a runtime computes in. One that is not single must also agree with a single one on pictures."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input of a graph. `shape` has None where a dimension is free."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


class Graph(Protocol):
    """An open graph. `infer` and `close` may be called from different threads."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def input_names(self) -> tuple[str, ...]: ...

    @property
    def output_names(self) -> tuple[str, ...]: ...

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, owned by the caller. Raises EngineError for wrong inputs or a closed graph, and
        RuntimeFault where the library fails on inputs that are right."""
        ...

    def close(self) -> None:
        """Free the native memory. Closing twice is harmless."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Runtime(Protocol):
    """A way to run graphs on this machine."""

    @property
    def name(self) -> str:
        """The short name used in settings, such as `openvino`."""
        ...

    @property
    def title(self) -> str:
        """What users read, such as `OpenVINO CPU`."""
        ...

    @property
    def precision(self) -> Precision:
        """What it computes in."""
        ...

    def available(self) -> str | None:
        """None where it can be tried here, else the reason why not. Does not import the library."""
        ...

    def version(self) -> str:
        """The library's version, or an empty string where it is not installed."""
        ...

    def open(self, path: Path, threads: int) -> Graph:
        """Load an ONNX file. Raises EngineError where the library or the file does not load."""
        ...


Progress = Callable[[float, str], None]
"""How far, 0..1, and what is done now."""


@runtime_checkable
class BuiltRuntime(Runtime, Protocol):
    """A runtime whose graphs are compiled for this machine before they can be opened."""

    def needs_building(self, paths: Sequence[Path]) -> bool:
        """Whether building would help: it can run here, and at least one graph is not compiled and not given up."""
        ...

    def build(self, paths: Sequence[Path], progress: Progress, cancel: threading.Event) -> None:
        """Compile what is not yet, in a process of its own at low priority; takes minutes.

        Raises EngineError where that fails, and where `cancel` is set.
        """
        ...


class CheckedGraph(ABC):
    """The part of a Graph that is the same for every runtime: checked inputs, one call at a time, a life."""

    def __init__(self, label: str, inputs: tuple[TensorSpec, ...], output_names: tuple[str, ...]) -> None:
        self._label = label
        self._inputs = inputs
        self._output_names = output_names
        self._lock = threading.Lock()
        self._closed = False

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._inputs

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self._inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        return self._output_names

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        checked = check_inputs(self._label, self._inputs, inputs)
        with self._lock:
            if self._closed:
                raise EngineError(f"{self._label}: the graph is closed; open it again before asking it")
            try:
                return self._run(checked)
            except Exception as error:  # Native libraries raise types of their own.
                raise RuntimeFault(f"{self._label}: inference failed: {one_line(error)}") from error

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    @abstractmethod
    def _run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Outputs for inputs that have been checked and are contiguous."""

    @abstractmethod
    def _release(self) -> None:
        """Drop the native objects."""


def all_runtimes() -> tuple[Runtime, ...]:
    """Every runtime that this version knows of, usable here or not."""
    from engines.runtimes.onnx import CoreMlRuntime, DirectMlRuntime, OnnxRuntime
    from engines.runtimes.openvino import OpenVinoBf16Runtime, OpenVinoRuntime
    from engines.runtimes.tensorrt import TensorRtRuntime
    from engines.runtimes.tensorrt_kind import RTX, TENSORRT
    from engines.runtimes.torch_cuda import TorchRuntime

    return (
        OpenVinoRuntime(),
        OpenVinoBf16Runtime(),
        OnnxRuntime(),
        CoreMlRuntime(),
        DirectMlRuntime(),
        TensorRtRuntime(TENSORRT),
        TensorRtRuntime(RTX),
        TorchRuntime(),
    )


def check_inputs(label: str, specs: tuple[TensorSpec, ...], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs, contiguous, or EngineError saying what was found and what was expected."""
    wanted = [spec.name for spec in specs]
    if set(inputs) != set(wanted):
        raise EngineError(f"{label}: found inputs {sorted(inputs)}, expected {sorted(wanted)}")
    checked = {}
    for spec in specs:
        array = inputs[spec.name]
        shape = ", ".join("?" if n is None else str(n) for n in spec.shape)
        expected = f"expected {spec.dtype.name} of shape ({shape})"
        if not isinstance(array, np.ndarray):
            raise EngineError(f"{label}: input {spec.name}: found {type(array).__name__}, {expected}")
        fits = array.ndim == len(spec.shape) and all(
            n is None or n == m for n, m in zip(spec.shape, array.shape, strict=True)
        )
        if not fits or array.dtype != spec.dtype:
            raise EngineError(
                f"{label}: input {spec.name}: found {array.dtype.name} of shape {array.shape}, {expected}"
            )
        if array.ndim and not 1 <= array.shape[0] <= MAX_BATCH:
            raise EngineError(
                f"{label}: input {spec.name}: found a batch of {array.shape[0]}, expected 1 to {MAX_BATCH}"
            )
        checked[spec.name] = np.ascontiguousarray(array)
    return checked


def check_threads(label: str, threads: int) -> None:
    """Raises EngineError unless 1 <= threads <= 64."""
    if not 1 <= threads <= MAX_THREADS:
        raise EngineError(f"{label}: found threads = {threads}, expected 1 to {MAX_THREADS}")


def one_line(error: BaseException) -> str:
    """The first 200 characters of an error's text, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
