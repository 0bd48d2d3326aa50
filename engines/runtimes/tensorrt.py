"""TensorRT and TensorRT for RTX: an engine from our own cache, run on an NVIDIA GPU.

    ONNX file -> recipe of this GPU -> engine from the cache (hashed) -> one context and CUDA graph a batch size

Opening never builds: that takes a minute and happens in a child process (`engines.build`). Batches are filled up to
the next size that has a CUDA graph. Written against the API and tested on a stand-in of it; never run on a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engines.errors import EngineError
from engines.runtimes import Array, CheckedGraph, Graph, Precision, Progress, TensorSpec, check_threads, one_line
from engines.runtimes.tensorrt_device import Queue, find_gpu, missing_gpu
from engines.runtimes.tensorrt_kind import Kind

if TYPE_CHECKING:
    from engines.build.recipe import Recipe

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes that have a CUDA graph; larger batches run in parts."""


class TensorRtRuntime:
    """One of the two TensorRTs on the first GPU."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = kind.name
        self.title = kind.title
        self.precision = Precision.FP16

    def available(self) -> str | None:
        return self.kind.missing() or missing_gpu()

    def version(self) -> str:
        return self.kind.version()

    def needs_building(self, paths: Sequence[Path]) -> bool:
        from engines.build.cache import EngineCache

        if self.available() is not None:
            return False
        try:
            cache = EngineCache()
            return any(cache.wants_building(recipe) for recipe in self._recipes(paths))
        except (EngineError, OSError):
            return False  # Opening it says why.

    def build(self, paths: Sequence[Path], progress: Progress, cancel: threading.Event) -> None:
        from engines.build.builder import ensure
        from engines.build.cache import EngineCache

        for index, (recipe, path) in enumerate(zip(self._recipes(paths), paths, strict=True)):

            def said(done: float, text: str, index: int = index, path: Path = path) -> None:
                progress((index + done) / len(paths), f"{path.stem}, {text}")

            ensure(recipe, path, EngineCache(), progress=said, cancel=cancel, background=True)

    def _recipes(self, paths: Sequence[Path]) -> list[Recipe]:
        from engines.build.recipe import recipe_of

        gpu = find_gpu()
        return [recipe_of(path, self.kind, gpu.capability, gpu) for path in paths]

    def open(self, path: Path, threads: int) -> Graph:
        """Raises EngineError where the library, the GPU or an engine for it is not there, or does not load."""
        from engines.build.cache import EngineCache

        label = f"{self.title}, {path.name}"
        check_threads(label, threads)
        try:
            library = self.kind.load()
            (recipe,) = self._recipes([path])
            cache = EngineCache()
            content = cache.load(recipe)
            try:
                return _open(label, library, content)
            except Exception as error:
                cache.refuse(recipe, one_line(error))
                raise
        except Exception as error:  # ImportError of a broken install, or one of the library's own types.
            raise EngineError(f"{label}: cannot be opened: {one_line(error)}") from error


@dataclass(frozen=True, slots=True, eq=False)
class _Port:
    """An input or output with its buffers, which hold the largest batch."""

    name: str
    dtype: np.dtype[Any]
    item_shape: tuple[int, ...]
    host: npt.NDArray[np.uint8]
    device: int

    @property
    def item_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.item_shape))

    def rows(self, count: int) -> Array:
        """The host buffer's first `count` items."""
        return self.host[: count * self.item_bytes].view(self.dtype).reshape(count, *self.item_shape)


def _open(label: str, library: Any, content: bytes) -> Graph:
    runtime = library.Runtime(library.Logger(library.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise EngineError("the library did not take the engine")
    queue = Queue()
    try:
        inputs: list[_Port] = []
        outputs: list[_Port] = []
        context = _context(library, engine)
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        given = [name for name in names if engine.get_tensor_mode(name) == library.TensorIOMode.INPUT]
        for name in given:
            context.set_input_shape(name, engine.get_tensor_profile_shape(name, 0)[2])
        for name in names:
            dtype = np.dtype(library.nptype(engine.get_tensor_dtype(name)))
            shape = tuple(int(n) for n in context.get_tensor_shape(name))
            if shape[0] != SIZES[-1] or min(shape) < 1:
                raise EngineError(f"tensor {name}: found the shape {shape}, expected a largest batch of {SIZES[-1]}")
            size = dtype.itemsize * int(np.prod(shape))
            port = _Port(name, dtype, shape[1:], queue.host_buffer(size), queue.device_buffer(size))
            (inputs if name in given else outputs).append(port)
        return _TensorRtGraph(label, library, runtime, engine, queue, inputs, outputs)
    except BaseException:
        queue.close()
        raise


class _TensorRtGraph(CheckedGraph):
    def __init__(
        self,
        label: str,
        library: Any,
        runtime: Any,
        engine: Any,
        queue: Queue,
        inputs: list[_Port],
        outputs: list[_Port],
    ) -> None:
        specs = tuple(TensorSpec(port.name, port.dtype, (None, *port.item_shape)) for port in inputs)
        super().__init__(label, specs, tuple(port.name for port in outputs))
        self._library = library
        self._native: list[Any] = [runtime, engine]
        self._queue = queue
        self._ports_in, self._ports_out = inputs, outputs
        self._replays: dict[int, Callable[[], None]] = {}

    def _run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        self._queue.enter()
        total = len(next(iter(inputs.values())))
        found = {port.name: np.empty((total, *port.item_shape), port.dtype) for port in self._ports_out}
        for start in range(0, total, SIZES[-1]):
            count = min(SIZES[-1], total - start)
            for port in self._ports_in:
                port.rows(count)[:] = inputs[port.name][start : start + count]
            self._replay(next(size for size in SIZES if size >= count))
            for port in self._ports_out:
                found[port.name][start : start + count] = port.rows(count)
        return found

    def _replay(self, size: int) -> None:
        if size not in self._replays:
            self._replays[size] = self._prepared(size)
        self._replays[size]()
        self._queue.wait()

    def _prepared(self, size: int) -> Callable[[], None]:
        """Copies and engine for one batch size, as a CUDA graph where the engine can be recorded."""
        _, engine = self._native[:2]
        context = _context(self._library, engine)
        self._native.append(context)
        for port in self._ports_in:
            if not context.set_input_shape(port.name, (size, *port.item_shape)):
                raise EngineError(f"the engine does not take a batch of {size}")
        for port in (*self._ports_in, *self._ports_out):
            context.set_tensor_address(port.name, port.device)

        def work() -> None:
            for port in self._ports_in:
                self._queue.upload(port.device, port.host, size * port.item_bytes)
            if not context.execute_async_v3(self._queue.handle):
                raise EngineError("the engine could not be queued")
            for port in self._ports_out:
                self._queue.download(port.host, port.device, size * port.item_bytes)

        work()  # The first run compiles and allocates, which no recording may contain.
        self._queue.wait()
        capturable = getattr(context, "is_stream_capturable", None)
        if capturable is not None and not capturable(self._queue.handle):
            return work
        return self._queue.record(work)

    def _release(self) -> None:
        self._replays.clear()
        while self._native:
            self._native.pop()  # Contexts before their engine, the engine before its runtime.
        self._queue.close()


def _context(library: Any, engine: Any) -> Any:
    """A context; in TensorRT for RTX its kernels are compiled for its one shape at the first run, not later behind."""
    strategies = getattr(library, "DynamicShapesKernelSpecializationStrategy", None)
    if strategies is None:
        context = engine.create_execution_context()
    else:
        config = engine.create_runtime_config()
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        context = engine.create_execution_context(config)
    if context is None:
        raise EngineError("the GPU has no room for the engine")
    return context
